// SPDX-License-Identifier: GPL-2.0

//! Contexts: what `io_setup(2)` creates and `io_destroy(2)` ends.
//!
//! # Locks
//!
//! From the outside in; a lock is taken only after those above it. Lockdep agrees.
//!
//! | lock | kind | taken in |
//! |------|------|----------|
//! | consumer of the ring: events are taken out | mutex | process |
//! | mmap lock, for faults in user memory, `mremap()` and [`LockedVm`] | semaphore | process |
//! | inode of the ring: its pages may be migrated | spinlock | process |
//! | `mm->ioctx_lock`: changes of the table | spinlock | process |
//! | [`Context::registration`] | spinlock | process |
//! | the pools that a threaded context uses, in [`Threads`] | spinlock | process |
//! | [`Context::cancel`] | spinlock, interrupts off | any |
//! | the wait queue of a file that is polled | spinlock, C's | any |
//! | a pool's lists; a [carried](crate::carried) one's thread | spinlock, interrupts off | any |
//! | [`ALL`]: a context is created, freed, or gives memory back | spinlock | process |
//! | producer of the ring: events are put in | spinlock, interrupts off | any |
//! | [`Context::waiters`] | spinlock, interrupts off | any |
//! | [`Context::drain_waiter`] | spinlock, interrupts off | any |
//!
//! Two go against the order, and only *try* to take the lock: the page migration holds the lock of
//! the inode when it wants that of the consumer, and the wake-up of a file that is polled holds the
//! lock of the wait queue when it wants [`Context::cancel`].
//!
//! # Tear-down
//!
//! 1. [`Context::begin_end()`]: the context is taken out of the table, waiters are woken, the quota
//!    of the system goes back and the ring is unmapped. The context is shut down.
//! 2. [`Staged::users_gone()`]: the last system call that used the context has left; that is at
//!    once in a process with one thread, or without any, and otherwise takes a grace period. What
//!    can be cancelled is cancelled.
//! 3. [`Staged::drained()`]: the last request is complete. The task that waits for that is woken,
//!    and gives back the locked memory.
//! 4. After a grace period: all parts are dropped, the ring with its file among them.

use crate::{
    extension::{
        Extension,
        Wanted, //
    },
    flushes::Flushes,
    limits::{
        self,
        Charge,
        GroupCharge, //
    },
    polled::Polled,
    request,
    ring::{
        Features,
        NewRing,
        Ring,
        Size, //
    },
    slots::Slots,
    stats::Stats,
    table::{
        self,
        Table, //
    },
    workers::Threads, //
};
use kernel::{
    aio::{
        cancel::CancelList,
        mm::{
            ContextUser,
            CurrentMm,
            RemovedContext, //
        },
        trace,
    },
    mm::{
        locked_vm::LockedVm,
        shared_pages::Mapping, //
    },
    percpu::num_possible_cpus,
    prelude::*,
    slab::{
        Backing,
        KmemCache,
        SlabPool, //
    },
    sync::{
        atomic::{
            Atomic,
            AtomicFlag,
            Full,
            Relaxed, //
        },
        new_spinlock,
        new_spinlock_irqsave,
        new_threshold_queue,
        staged::{
            EndedWork,
            Staged,
            StagedInner,
            StagedList,
            StagedOwner, //
        },
        Arc,
        SetOnce,
        SpinLock,
        SpinLockIrqSave,
        ThresholdQueue,
        WaitToken, //
    },
};

mod pools;
pub(crate) use pools::Pools;

/// Where contexts live.
pub(crate) enum Memory {}

pub(crate) static CACHE: KmemCache<Memory> = KmemCache::new(c"kioctx");

impl Backing for Memory {
    type Largest = StagedInner<Context>;
    const CACHE: &'static KmemCache<Self> = &CACHE;
}

/// All contexts, whatever process they belong to.
pub(crate) static ALL: StagedList<Context> = StagedList::new();

/// What a context has while it is in the table of its address space.
pub(crate) struct Registration {
    charge: Charge,
    mapping: Mapping,
    /// What the ring takes of the locked memory of the process.
    locked: LockedVm,
}

/// What the requests of a context leave behind, with the lock of the producer of the ring.
pub(crate) struct Finished {
    /// Counts them.
    pub(crate) ended: EndedWork<Context>,
    /// Their memory, for others.
    pub(crate) pool: SlabPool<request::Memory>,
}

/// An AIO context.
#[pin_data]
pub(crate) struct Context {
    /// How user space calls it: the address of the ring. Changed with `mm->ioctx_lock` held.
    user_id: Atomic<usize>,
    /// Its index in the table. Set once, when it is put there.
    index: Atomic<usize>,
    /// Its end has begun.
    dead: AtomicFlag,
    /// That, or its requests are polled for: there is more to do than to look at the ring.
    special: AtomicFlag,
    /// The last batch of I/Os was not merged by the block layer, as far as is known.
    pub(crate) unmerged: AtomicFlag,
    /// For new requests.
    pub(crate) slots: Slots,
    /// For completions.
    #[pin]
    pub(crate) ring: Ring<Finished>,
    /// Those who wait for completions.
    #[pin]
    pub(crate) waiters: ThresholdQueue,
    /// The requests that can be cancelled.
    #[pin]
    pub(crate) cancel: CancelList,
    #[pin]
    registration: SpinLock<Option<Registration>>,
    /// Somebody waits for the end of the last request.
    #[pin]
    drain_waiter: SpinLockIrqSave<Option<WaitToken>>,
    /// What only contexts of `io_setup2(2)` have.
    extension: Option<Pin<KBox<Extension>>>,
    /// The flushes of the process, once there was one in this context.
    pub(crate) flushes: SetOnce<Arc<Flushes>>,
    /// What is counted for those who look at it.
    pub(crate) stats: Stats,
}

impl Context {
    /// Creates a context for `nr_events` events in the address space of the current process, and
    /// enters it in the table.
    ///
    /// # Errors
    ///
    /// `EINVAL` if the number is too large, `EAGAIN` if it is above the limit of the system, of the
    /// control group or of the process, `ENOMEM`, `EINTR` if the process was killed; those of what
    /// else is wanted, see [`Wanted`].
    pub(crate) fn create(
        mm: CurrentMm<'_>,
        nr_events: u32,
        wanted: Wanted,
    ) -> Result<ContextUser<'_, Self>> {
        let cpus = num_possible_cpus();
        let size = Size::new(nr_events, cpus)?;

        limits::check_alone(nr_events)?;
        wanted.check()?;
        let group = GroupCharge::new(nr_events)?;
        let features = wanted.features();
        let extension = wanted.build(mm, size)?;
        let slots = Slots::new(size.capacity(), cpus)?;
        let locked = limits::charge_pages(&mm, size.nr_pages())?;
        let ring = NewRing::<Table>::new(size)?;
        let mapping = ring.map(&locked)?;
        let charge = Charge::new(nr_events, group)?;
        let pool = SlabPool::new((nr_events as usize).min(request::MAX_POOL))?;
        let (addr, stats) = (mapping.addr(), Stats::new(nr_events));
        let owner = Self::new(addr, slots, ring, features, pool, extension, stats)?;

        let user = table::insert(mm, owner, |index, context| {
            context.index.store(index, Relaxed);
            *context.registration.lock() = Some(Registration {
                charge,
                mapping,
                locked,
            });
        })?;
        // Now it can be found.
        user.ring.set_id(user.index() as u32);
        trace::setup(user.user_id(), nr_events, size.capacity(), user.flags());
        Ok(user)
    }

    fn new(
        user_id: usize,
        slots: Slots,
        ring: NewRing<Table>,
        features: Features,
        pool: SlabPool<request::Memory>,
        extension: Option<Pin<KBox<Extension>>>,
        stats: Stats,
    ) -> Result<StagedOwner<Self>> {
        StagedOwner::new(|ended| {
            try_pin_init!(Self {
                user_id: Atomic::new(user_id),
                index: Atomic::new(0),
                dead: AtomicFlag::new(false),
                special: AtomicFlag::new(
                    extension.as_ref().is_some_and(|extension| extension.polled().is_some()),
                ),
                unmerged: AtomicFlag::new(false),
                slots,
                ring <- ring.start(features, Finished { ended, pool }),
                waiters <- new_threshold_queue!("aio::waiters"),
                cancel <- CancelList::new(),
                registration <- new_spinlock!(None, "aio::registration"),
                drain_waiter <- new_spinlock_irqsave!(None, "aio::drain_waiter"),
                extension,
                flushes: SetOnce::new(),
                stats,
            }? Error)
        })
    }

    /// Returns how user space calls the context.
    #[inline]
    pub(crate) fn user_id(&self) -> usize {
        self.user_id.load(Relaxed)
    }

    /// Returns what only contexts of `io_setup2(2)` have.
    #[inline(always)]
    pub(crate) fn extension(&self) -> Option<&Extension> {
        if !cfg!(any(CONFIG_AIO_SETUP2, CONFIG_AIO_THREAD)) {
            return None;
        }
        self.extension.as_deref()
    }

    /// Returns what it knows of the threads that carry on what would block, if they do.
    pub(crate) fn threads(&self) -> Option<&Threads> {
        self.extension()?.threads()
    }

    /// Returns what kind of context it is, see [`Extension::flags()`].
    pub(crate) fn flags(&self) -> u32 {
        self.extension().map_or(0, Extension::flags)
    }

    /// Returns the reads and writes that are polled for, for use when this context has ended, too.
    pub(crate) fn polled(&self) -> Option<Arc<Polled>> {
        self.extension()?.polled().cloned()
    }

    /// Returns the index in the table.
    #[inline]
    pub(crate) fn index(&self) -> usize {
        self.index.load(Relaxed)
    }

    /// Returns whether the end of the context has begun.
    #[inline]
    pub(crate) fn is_dead(&self) -> bool {
        self.dead.load(Relaxed)
    }

    /// Returns whether it is dead, or its requests are polled for.
    #[inline]
    pub(crate) fn is_special(&self) -> bool {
        self.special.load(Relaxed)
    }

    /// Decides who ends the context: returns what it is registered with to the first who asks.
    ///
    /// To be called with `mm->ioctx_lock` held.
    pub(crate) fn kill(&self) -> Option<Registration> {
        if self.dead.xchg(true, Full) {
            return None;
        }
        self.special.store(true, Relaxed);
        self.registration.lock().take()
    }

    /// The process has moved the ring.
    ///
    /// To be called with `mm->ioctx_lock` held.
    ///
    /// # Errors
    ///
    /// `EINVAL` if that was a part of the ring only, or the context is dead.
    pub(crate) fn ring_moved(&self, start: usize, len: usize) -> Result {
        let mut registration = self.registration.lock();
        let Some(registration) = &mut *registration else {
            return Err(EINVAL);
        };

        if registration.mapping.len() != len {
            return Err(EINVAL);
        }
        registration.mapping.moved(start);
        self.user_id.store(start, Relaxed);
        Ok(())
    }

    /// Begins the end of a context that was killed; `waiter` is dropped when no request is in
    /// flight any longer.
    ///
    /// Returns the locked memory, to be given back after that. May sleep.
    pub(crate) fn begin_end(
        context: RemovedContext<'_, Self>,
        registration: Registration,
        waiter: Option<WaitToken>,
    ) -> LockedVm {
        let Registration {
            charge,
            mapping,
            locked,
        } = registration;

        context.waiters.wake_all();

        // The quota goes back before anybody can know that the context is gone, so that the next
        // `io_setup()` finds it.
        drop(charge);
        drop(mapping);

        match context.extension() {
            // There is more to wait for than the requests.
            Some(extension) if extension.keeps_memory() => extension.set_waiter(waiter),
            _ => context.drain_waiter.with(|place| *place = waiter),
        }
        context.shutdown();
        locked
    }
}

impl Registration {
    /// Leaves the ring mapped: the address space is about to go, and perhaps not that of the
    /// current task.
    pub(crate) fn leave_mapping(self) -> Self {
        Self {
            mapping: self.mapping.leave(),
            ..self
        }
    }
}

impl Staged for Context {
    type Backing = Memory;
    const ALL: &'static StagedList<Self> = &ALL;

    fn with_ended<R: Send>(&self, f: impl FnOnce(&mut EndedWork<Self>) -> R + Send) -> R {
        self.ring.with_producer(|finished| f(&mut finished.ended))
    }

    /// There will be no event.
    fn work_dropped(&self) {
        self.slots.put(1);
        self.stats.not_started();
    }

    fn users_gone(&self) {
        self.cancel.cancel_all();
    }

    fn drained(&self) {
        let waiter = self.drain_waiter.with(Option::take);

        drop(waiter);
    }
}

#[kunit_tests(aio_context)]
mod tests {
    use super::*;
    use crate::kunit::{
        with_mm,
        Process, //
    };
    use kernel::{
        kunit::user::UserMemory,
        mm::mmap_write::MmapWriteGuard,
        page::PAGE_SIZE,
        uaccess::{
            UserPtr,
            UserScalar, //
        },
    };

    fn locked_pages() -> Result<usize> {
        with_mm(|mm| Ok(MmapWriteGuard::lock(&mm).locked_vm()))
    }

    #[test]
    fn what_a_context_takes_comes_back() -> Result {
        let _memory = UserMemory::new(1)?;

        assert_eq!(locked_pages(), Ok(0));
        let process = Process::new(100)?;
        let ring = process.id();

        assert_eq!(ring % PAGE_SIZE, 0);
        assert!(process.ring_pages()? > 1);
        assert_eq!(locked_pages(), Ok(process.ring_pages()?));
        assert!(!ALL.is_empty());
        assert_eq!(process.destroy(), Ok(()));
        assert_eq!(locked_pages(), Ok(0));
        assert_eq!(u32::get_user(UserPtr::from_addr(ring)), Err(EFAULT));
        assert_eq!(process.destroy(), Err(EINVAL));
        Ok(())
    }

    #[test]
    fn refused() -> Result {
        let _memory = UserMemory::new(1)?;
        let create = |nr| with_mm(|mm| Context::create(mm, nr, Wanted::plain()).map(|_| ()));

        // More than any ring has room for, and more than `aio-max-nr`.
        assert_eq!(create(u32::MAX), Err(EINVAL));
        assert_eq!(create(0x10001), Err(EAGAIN));
        assert_eq!(locked_pages(), Ok(0));
        Ok(())
    }

    #[test]
    fn only_one_ends_it() -> Result {
        let process = Process::new(1)?;

        with_mm(|mm| {
            let (first, second) = (
                table::lookup(mm, process.id())?,
                table::lookup(mm, process.id())?,
            );
            let len = process.ring_pages()? * PAGE_SIZE;

            assert!(!second.is_dead());
            drop(table::kill(mm, first, None)?);
            assert!(second.is_dead());
            // What is left of it can't be moved.
            assert_eq!(second.ring_moved(process.id(), len), Err(EINVAL));
            assert_eq!(table::kill(mm, second, None).err(), Some(EINVAL));
            Ok(())
        })?;
        // Somebody else has begun its end.
        assert_eq!(process.destroy(), Err(EINVAL));
        Ok(())
    }

    #[test]
    fn rings_are_moved_as_a_whole() -> Result {
        let process = Process::new(200)?;
        let len = process.ring_pages()? * PAGE_SIZE;

        assert!(len > PAGE_SIZE);
        process.with_context(|context| {
            let there = context.user_id();

            for part in [0, PAGE_SIZE, len - PAGE_SIZE, len + PAGE_SIZE] {
                assert_eq!(context.ring_moved(there + 4096, part), Err(EINVAL));
                assert_eq!(context.user_id(), there);
            }
            assert_eq!(context.ring_moved(there + len, len), Ok(()));
            assert_eq!(context.user_id(), there + len);
            assert_eq!(context.ring_moved(there, len), Ok(()));
            Ok(())
        })
    }
}
