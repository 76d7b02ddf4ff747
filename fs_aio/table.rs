// SPDX-License-Identifier: GPL-2.0

//! The contexts of an address space.

use crate::{
    context::Context,
    flushes::Flushes,
    polled::{
        IopollOutcome,
        Polled, //
    },
    ring::header,
    ring_file::RingOwner,
    workers::{
        self,
        Pool, //
    },
};
use kernel::{
    aio::{
        mm::{
            self,
            ContextUser,
            Contexts,
            CurrentMm,
            LastTable,
            LockedTable, //
        },
        trace, //
    },
    fs::File,
    mm::{
        locked_vm::LockedVm,
        MmWithUser, //
    },
    prelude::*,
    sync::{
        staged::{
            StagedOwner,
            StagedRef, //
        },
        Arc,
        ReadSection,
        WaitGroup,
        WaitToken, //
    },
    task::{
        cond_resched,
        fatal_signal_pending,
        io_thread::Identity, //
    },
    time::{
        delay::fsleep,
        Delta, //
    },
    uaccess::{
        UserPtr,
        UserScalar, //
    },
};

/// What the tables hold.
pub(crate) enum Table {}

kernel::exit_aio!(Table);

impl Contexts for Table {
    type Context = Context;

    fn exit(table: LastTable<'_, Context>) {
        // The contexts end all at once, not one after the other.
        WaitGroup::scope(|group| {
            table.drain(|context| {
                if let Some(registration) = context.kill() {
                    trace::destroy(context.user_id(), true);
                    let registration = registration.leave_mapping();
                    let polled = context.polled();

                    let end = |group: &WaitGroup| {
                        // Nobody can lock memory in this address space any longer.
                        drop(Context::begin_end(
                            context,
                            registration,
                            Some(group.token()),
                        ));
                    };

                    match polled {
                        None => end(group),
                        // There is nobody else who could poll.
                        Some(polled) => WaitGroup::scope_and_work(end, || polled.work()),
                    }
                }
            })
        });
    }
}

/// Enters a context at the lowest free index, and becomes a user of it; `added` is called with
/// `mm->ioctx_lock` held.
///
/// # Errors
///
/// `ENOMEM`.
pub(crate) fn insert(
    mm: CurrentMm<'_>,
    owner: StagedOwner<Context>,
    added: impl FnOnce(usize, StagedRef<'_, Context>),
) -> Result<ContextUser<'_, Context>> {
    mm::table::<Table>(mm)
        .insert(owner, added)
        .map_err(|_| ENOMEM)
}

/// Finds the context that user space calls so.
///
/// The index of a context stands in its ring, which user space may have changed; it is right if the
/// context that is found has this name.
///
/// # Errors
///
/// `EINVAL` if there is none, or its end has begun.
#[inline(always)]
pub(crate) fn lookup(mm: CurrentMm<'_>, user_id: usize) -> Result<ContextUser<'_, Context>> {
    let ring = UserPtr::from_addr(user_id).wrapping_byte_add(header::ID);
    let index = u32::get_user(ring).map_err(|_| EINVAL)?;

    let section = ReadSection::new();
    let context = mm::table::<Table>(mm)
        .get(index as usize, &section)
        .ok_or(EINVAL)?;

    if context.user_id() != user_id {
        return Err(EINVAL);
    }
    context.try_use(&section).ok_or(EINVAL)
}

/// Returns the flushes of the current process, whose context this is: they are those of all its
/// contexts.
///
/// # Errors
///
/// `ENOMEM`.
#[inline]
pub(crate) fn flushes(context: &Context) -> Result<Arc<Flushes>> {
    match context.flushes.as_ref() {
        Some(flushes) => Ok(flushes.clone()),
        None => first_flushes(context),
    }
}

/// The same for the first of the context.
#[cold]
fn first_flushes(context: &Context) -> Result<Arc<Flushes>> {
    let new = Flushes::new()?;

    if let Some(mm) = CurrentMm::of(current!()) {
        let table = mm::table::<Table>(mm).lock();
        let found = table
            .iter()
            .find_map(|context| context.flushes.as_ref().cloned());

        // With the lock held nobody else does that.
        context
            .flushes
            .populate(found.unwrap_or_else(|| new.clone()));
    }
    Ok(context.flushes.as_ref().cloned().unwrap_or(new))
}

/// So many contexts are seen to at a time.
const AT_A_TIME: usize = 8;

/// Polls for what is in flight in the contexts of the current process, but for one, until there is
/// nothing to poll for, or it takes too long: somebody else may go on to submit.
///
/// May sleep.
pub(crate) fn end_polled(except: &Polled) {
    const ROUNDS: usize = 1000;

    let mut skip = 0;

    for _ in 0..ROUNDS {
        let mut all: [Option<Arc<Polled>>; AT_A_TIME] = [const { None }; AT_A_TIME];
        let mut places = all.iter_mut();
        let mut nr = 0;

        for_each_polled(except, |_, polled| {
            if nr >= skip {
                if let Some(place) = places.next() {
                    *place = Some(polled.clone());
                }
            }
            nr += 1;
        });
        if all[0].is_none() || fatal_signal_pending() {
            break;
        }

        let (mut looked, mut posted) = (false, 0);

        // All of them, whichever is of use.
        for polled in all.iter().flatten() {
            let (found, n) = polled.make_room();

            looked |= found != IopollOutcome::Nothing;
            posted += n;
        }
        match (looked, posted) {
            // What they have in flight completes by itself, or waits for somebody else.
            (false, _) => skip += AT_A_TIME,
            (true, 0) => fsleep(Delta::from_millis(1)),
            (true, _) => {}
        }
        cond_resched();
    }
    // A task that has found that another one polls, sleeps.
    for_each_polled(except, |context, _| context.waiters.wake(usize::MAX));
}

/// Calls `f` with the contexts of the current process, but for one, in which something is in flight
/// that is polled for, and `mm->ioctx_lock` held.
fn for_each_polled(except: &Polled, mut f: impl FnMut(&Context, &Arc<Polled>)) {
    let task = current!();
    let Some(mm) = CurrentMm::of(task) else {
        return;
    };
    let table = mm::table::<Table>(mm).lock();

    for context in table.iter() {
        if let Some(polled) = context.polled() {
            if !core::ptr::eq::<Polled>(&*polled, except) && polled.in_flight() != 0 {
                f(&context, &polled);
            }
        }
    }
}

/// Returns the pool of the current process, which has this identity, if there is one; it is the one
/// that the context uses from now on.
pub(crate) fn find_pool(context: &Context, identity: Identity) -> Option<Arc<Pool>> {
    let threads = context.threads()?;

    if let Some(pool) = threads.pool(identity) {
        return Some(pool);
    }
    let task = current!();
    let pool = pool_in(&mm::table::<Table>(CurrentMm::of(task)?).lock(), identity)?;

    threads.set_pool(pool.clone());
    Some(pool)
}

/// Has a context use a new pool, unless there is one meanwhile, which is then returned.
pub(crate) fn set_pool(context: &Context, identity: Identity, pool: Arc<Pool>) -> Arc<Pool> {
    let task = current!();
    let Some(mm) = CurrentMm::of(task) else {
        return pool;
    };
    let table = mm::table::<Table>(mm).lock();
    let pool = pool_in(&table, identity).unwrap_or(pool);

    if let Some(threads) = context.threads() {
        threads.set_pool(pool.clone());
    }
    pool
}

fn pool_in(table: &LockedTable<'_, Table>, identity: Identity) -> Option<Arc<Pool>> {
    table
        .iter()
        .find_map(|context| context.threads()?.pool(identity))
}

/// The current task, which is none of AIO's threads, exits: if the others are all AIO's, they
/// leave.
pub(crate) fn task_exits() {
    if !workers::were_used() {
        return;
    }
    let task = current!();
    let pool = CurrentMm::of(task)
        .and_then(|mm| pool_in(&mm::table::<Table>(mm).lock(), Identity::current()));

    if let Some(pool) = pool {
        pool.task_exits();
    }
}

/// Begins the end of a context, which the caller does not use any longer; `waiter` is dropped when
/// no request is in flight.
///
/// Returns the locked memory, to be given back after that.
///
/// # Errors
///
/// `EINVAL` if somebody else has done so.
pub(crate) fn kill(
    mm: CurrentMm<'_>,
    context: ContextUser<'_, Context>,
    waiter: Option<WaitToken>,
) -> Result<LockedVm> {
    let (removed, registration) = {
        let mut table = mm::table::<Table>(mm).lock();
        let registration = context.kill().ok_or(EINVAL)?;

        (table.remove(context.index()), registration)
    };
    // Who has the registration is the only one to remove the context.
    let removed = removed.ok_or(EINVAL)?;

    trace::destroy(removed.user_id(), false);
    // Perhaps there is no other user.
    drop(context);
    Ok(Context::begin_end(removed, registration, waiter))
}

impl RingOwner for Table {
    fn ring_moved(mm: &MmWithUser, file: &File, start: usize, len: usize) -> Result {
        // A process moves its own mappings only.
        let current = current!();
        let mm = CurrentMm::of(current)
            .filter(|current| core::ptr::eq::<MmWithUser>(&**current, mm))
            .ok_or(EINVAL)?;
        let table = mm::table::<Table>(mm).lock();
        let context = table.iter().find(|context| context.ring.is_file(file));

        context.ok_or(EINVAL)?.ring_moved(start, len)
    }
}

#[kunit_tests(aio_table)]
mod tests {
    use super::*;
    use crate::{
        extension::Wanted,
        kunit::{
            destroy,
            with_mm,
            Process, //
        },
    };
    use kernel::kunit::user::{
        ScriptedFile,
        UserMemory, //
    };

    fn find(id: usize) -> Result<usize> {
        with_mm(|mm| Ok(lookup(mm, id)?.index()))
    }

    fn create() -> Result<usize> {
        with_mm(|mm| Ok(Context::create(mm, 1, Wanted::plain())?.user_id()))
    }

    #[test]
    fn found_by_name() -> Result {
        let process = Process::new(1)?;
        let other = create()?;

        assert_eq!(find(process.id()), Ok(0));
        assert_eq!(find(other), Ok(1));
        // The lowest index is used again, and names are addresses of rings.
        assert_eq!(process.destroy(), Ok(()));
        assert_eq!(find(process.id()), Err(EINVAL));
        assert_eq!(find(other), Ok(1));
        let third = create()?;

        assert_eq!(find(third), Ok(0));
        assert_eq!(destroy(third), Ok(()));
        assert_eq!(destroy(third), Err(EINVAL));
        destroy(other)
    }

    /// Names that programs make up.
    #[test]
    fn names_of_nothing() -> Result {
        let process = Process::new(1)?;
        let memory = UserMemory::new(1)?;
        let addr = |offset| memory.at(offset).as_const_ptr() as usize;

        // The index of a context, at a place that is no ring; then one that is not in the table.
        for index in [0u32, 1, 1 << 31, u32::MAX] {
            memory.write(header::ID, &index)?;
            assert_eq!(find(addr(0)), Err(EINVAL));
        }
        for id in [
            0,
            1,
            process.id() + 4,
            process.id() - 4,
            addr(memory.len()),
            usize::MAX,
        ] {
            assert_eq!(find(id), Err(EINVAL));
        }
        assert_eq!(find(process.id()), Ok(0));
        Ok(())
    }

    /// The index stands in the ring, where the program can write.
    #[test]
    fn indices_that_were_changed() -> Result {
        let process = Process::new(1)?;
        let other = create()?;
        let index = |id: usize| UserPtr::from_addr(id + header::ID);

        1u32.put_user(index(process.id()))?;
        assert_eq!(find(process.id()), Err(EINVAL));
        0u32.put_user(index(other))?;
        assert_eq!(find(other), Err(EINVAL));
        for made_up in [2, 3, 4, 1 << 20, u32::MAX] {
            made_up.put_user(index(other))?;
            assert_eq!(find(other), Err(EINVAL));
        }
        0u32.put_user(index(process.id()))?;
        1u32.put_user(index(other))?;
        assert_eq!(find(process.id()), Ok(0));
        destroy(other)
    }

    #[test]
    fn many() -> Result {
        let _process = Process::new(1)?;
        let mut ids = KVec::new();

        for i in 1..40 {
            let id = create()?;

            assert_eq!(find(id), Ok(i));
            ids.push(id, GFP_KERNEL)?;
        }
        for (i, id) in ids.iter().enumerate().rev() {
            assert_eq!(find(*id), Ok(i + 1));
            assert_eq!(destroy(*id), Ok(()));
        }
        Ok(())
    }

    #[test]
    fn files_that_are_no_rings() -> Result {
        let process = Process::new(1)?;
        let file = ScriptedFile::new()?;
        let task = current!();
        let mm = task.mm().ok_or(EINVAL)?;

        assert_eq!(
            Table::ring_moved(mm, file.open().file(), process.id(), 4096),
            Err(EINVAL)
        );
        assert_eq!(find(process.id()), Ok(0));
        Ok(())
    }
}
