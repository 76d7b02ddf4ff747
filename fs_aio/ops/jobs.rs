// SPDX-License-Identifier: GPL-2.0

//! What threaded contexts have besides reads and writes: operations on paths, reading ahead, and
//! flushes that wait behind a write.

use super::{
    fsync::{
        self,
        What, //
    },
    path::{
        is_restart,
        PathJob, //
    },
    readahead::Readahead,
    threaded::Origin, //
};
use crate::{
    batch::Batch,
    carried::{
        self,
        Carried,
        Perform, //
    },
    context::Context,
    kind::AnyName,
    request::Head,
    trace::{
        self,
        Observer, //
    },
    workers::{
        Class,
        Key,
        Submission,
        Submitter, //
    },
};
use kernel::{
    aio::abi::{
        opcode,
        Iocb, //
    },
    cred::Credential,
    fs::{
        data_id,
        device_of,
        FileId,
        FsyncFile,
        LocalFile, //
    },
    prelude::*,
    slab::{
        SlabArc,
        SlabArcInner,
        SlabSlot, //
    },
    sync::{
        new_spinlock,
        Arc,
        SpinLock, //
    },
    task::IoThread,
};

/// Something that is done once, in one piece.
trait Simple: Sized + Send + Unpin + 'static {
    /// It has to do with the files, directories or namespaces of the submitter.
    const NEEDS_VIEW: bool = false;

    /// Does it, with these credentials. `again` tells, after a signal, whether to go on.
    fn run(self, creds: &Credential, again: &mut dyn FnMut() -> bool) -> isize;
}

/// That, as an operation.
#[pin_data]
struct Once<T> {
    #[pin]
    job: SpinLock<Option<T>>,
    seen: Seen,
}

/// What observers are told of it: which operation, and on which file. A path is none.
type Seen = (u16, FileId);

const _: () = {
    const fn fits<T: Simple>() -> bool {
        size_of::<SlabArcInner<Carried<Once<T>>>>()
            <= size_of::<<carried::Memory as kernel::slab::Backing>::Largest>()
    }

    assert!(fits::<PathJob>() && fits::<Readahead>() && fits::<Flush>());
};

impl<T: Simple> Perform for Once<T> {
    fn perform(this: SlabArc<Carried<Self>>, thread: &IoThread) {
        let job = this.job.job.lock().take();

        this.submitter().lend_ioprio(thread);
        let result = match job {
            Some(job) => job.run(this.submitter().creds(), &mut || {
                if thread.should_leave() {
                    this.pool().die();
                }
                thread.work();
                !this.is_given_up()
            }),
            None => EINTR.to_errno() as isize,
        };

        this.forward_signals(thread);
        Carried::end_in_thread(this, result, thread);
    }

    fn seen(&self) -> Seen {
        self.seen
    }
}

/// Where such an operation belongs.
struct Place {
    class: Class,
    key: Option<Key>,
    seen: Seen,
    /// [`Observer::now()`] of its submission.
    started: isize,
}

impl Simple for PathJob {
    const NEEDS_VIEW: bool = true;

    fn run(self, creds: &Credential, again: &mut dyn FnMut() -> bool) -> isize {
        PathJob::run(self, creds, again)
    }
}

impl Simple for Readahead {
    fn run(self, creds: &Credential, again: &mut dyn FnMut() -> bool) -> isize {
        let again = core::cell::RefCell::new(again);

        Readahead::run(&self, creds, || !(again.borrow_mut())())
    }
}

/// A flush.
struct Flush {
    file: FsyncFile,
    what: What,
}

impl Simple for Flush {
    fn run(self, creds: &Credential, again: &mut dyn FnMut() -> bool) -> isize {
        let eintr = EINTR.to_errno() as isize;

        loop {
            let result = creds.scoped(|| self.file.sync(self.what == What::Data)) as isize;

            if result != eintr && !is_restart(result) {
                return result;
            }
            // Perhaps the process was only stopped, or frozen.
            if !current!().signal_pending() || !again() {
                return eintr;
            }
        }
    }
}

/// Starts an operation that is no read or write.
///
/// # Errors
///
/// Those of [`Batch::prepare()`]; `EINVAL` if there is no such operation, or what keeps it from
/// being started; `ERESTARTNOINTR` or `EINTR` if a signal keeps a thread from being made.
#[inline(never)]
pub(crate) fn start<O: Observer>(
    origin: Origin<'_>,
    iocb: &Iocb,
    name: AnyName,
    compat: bool,
    batch: &mut Batch<'_>,
) -> Result {
    if PathJob::is_opcode(iocb.opcode()) {
        let head = batch.prepare_head(iocb, name)?;
        let job = PathJob::copy_in(iocb, compat)?;
        let place = Place {
            class: Class::Other,
            key: None,
            seen: (iocb.opcode(), FileId::NONE),
            started: O::now(),
        };

        return carry(origin.submission, head, place, job, batch);
    }

    let what = match iocb.opcode() {
        opcode::FSYNC => Some(What::All),
        opcode::FDSYNC => Some(What::Data),
        opcode::READAHEAD => None,
        _ => return super::start_other::<O>(iocb, name, batch),
    };
    let prepared = batch.prepare(iocb, name)?;

    O::prepared(&prepared, iocb);
    match what {
        Some(what) => {
            let key = Key::new(prepared.context(), data_id(prepared.file()));

            if !origin.threads.is_behind(|| key) {
                return fsync::start::<O>(prepared, iocb, what, batch);
            }
            fsync::check(iocb)?;
            let place = Place::on::<O>(prepared.file(), Some(key), iocb);
            let (memory, file, head) = prepared.into_parts();
            let file = FsyncFile::new(file)?;

            batch.give_back(memory);
            let flush = Flush { file, what };

            carry(origin.submission, head, place, flush, batch)
        }
        None => {
            let place = Place::on::<O>(prepared.file(), None, iocb);
            let (memory, file, head) = prepared.into_parts();
            let job = Readahead::new(file, iocb)?;

            batch.give_back(memory);
            match job.cached() {
                Some(result) => {
                    drop(job);
                    batch.ended();
                    ended_here(head, place.seen, place.started, result);
                    Ok(())
                }
                None => carry(origin.submission, head, place, job, batch),
            }
        }
    }
}

impl Place {
    /// That of an operation on a file.
    fn on<O: Observer>(file: &LocalFile, key: Option<Key>, iocb: &Iocb) -> Self {
        Self {
            class: Class::Storage(device_of(file)),
            key,
            seen: (iocb.opcode(), FileId::of(file)),
            started: O::now(),
        }
    }
}

/// Has a thread do it, if there is one, and if that matters, its files and directories are those of
/// the submitter; otherwise it is done here.
///
/// # Errors
///
/// `EAGAIN` if there is no memory, or no thread for what has to go behind something else, which a
/// key says; `ERESTARTNOINTR` or `EINTR` if a signal keeps one from being made.
fn carry<T: Simple>(
    submission: &Submission,
    head: Head,
    place: Place,
    job: T,
    batch: &mut Batch<'_>,
) -> Result {
    let Place {
        class,
        key,
        seen,
        started,
    } = place;

    match gather::<T>(submission, head.context()) {
        Ok((submitter, memory)) => {
            let once = pin_init!(Once {
                job <- new_spinlock!(Some(job), "aio::once"),
                seen,
            });
            let operation = Carried::new(memory, head, submitter, class, key, started, once);

            batch.started();
            Carried::enqueue_in_order(operation, None);
        }
        Err(e) if e == ERESTARTNOINTR || e == EINTR => return Err(e),
        // As without memory for a request.
        Err(e) if e == ENOMEM => return Err(EAGAIN),
        // Here it would overtake what it has to go behind.
        Err(_) if key.is_some() => return Err(EAGAIN),
        Err(_) => {
            let result = job.run(&Credential::current(), &mut || false);

            batch.ended();
            ended_here(head, seen, started, result);
        }
    }
    Ok(())
}

/// It was done without a thread.
fn ended_here(head: Head, seen: Seen, started: isize, result: isize) {
    trace::carried_on(|| (&head, seen, started, result));
    head.post_late(result);
}

fn gather<T: Simple>(
    submission: &Submission,
    context: &Context,
) -> Result<(Arc<Submitter>, SlabSlot<carried::Memory>)> {
    let submitter = submission.submitter(context)?;

    if T::NEEDS_VIEW && !submitter.pool().has_view_of_current() {
        return Err(EXDEV);
    }
    Ok((submitter, SlabSlot::alloc(GFP_KERNEL_ACCOUNT)?))
}
