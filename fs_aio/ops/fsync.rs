// SPDX-License-Identifier: GPL-2.0

//! Flushing files.

use crate::{
    batch::Batch,
    flushes::Flushes,
    request::{
        Prepared,
        Request, //
    },
    table,
    trace::{
        Observed,
        Observer, //
    }, //
};
use kernel::{
    aio::{
        abi::{
            opcode,
            Iocb, //
        },
        cancel::{
            impl_has_cancel_node,
            CancelNode,
            CancellableArc, //
        },
    },
    cred::Credential,
    fs::{
        FileId,
        FsyncFile, //
    },
    prelude::*,
    slab::{
        impl_dismantle,
        impl_has_fifo_links,
        FifoLinks,
        SlabArc,
        UniqueSlabArc, //
    },
    sync::{
        aref::ARef,
        Arc, //
    },
};

/// Whether metadata are flushed that are not needed to read the data.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    All,
    Data,
}

/// A flush, which a worker does in the name of the submitter.
#[pin_data]
pub(crate) struct Fsync {
    file: FsyncFile,
    what: What,
    creds: ARef<Credential>,
    /// Those of the process.
    flushes: Arc<Flushes>,
    /// The place among them, before it has begun.
    #[pin]
    waiting: FifoLinks,
    /// The place among what can be cancelled, before it has begun.
    #[pin]
    node: CancelNode,
}

impl_dismantle! {
    impl Dismantle for Fsync {
        taken { waiting: FifoLinks, node: CancelNode }
        moved { file: FsyncFile }
        dropped { what, creds, flushes }
    }
}

impl Observed for Fsync {
    fn opcode(&self) -> u16 {
        match self.what {
            What::All => opcode::FSYNC,
            What::Data => opcode::FDSYNC,
        }
    }

    fn file_id(&self) -> FileId {
        self.file.file_id()
    }
}

impl_has_fifo_links! {
    impl HasFifoLinks for Request<Fsync> { self.op.waiting }
}

impl_has_cancel_node! {
    impl HasCancelNode for Request<Fsync> { self.op.node }
}

impl CancellableArc for Request<Fsync> {
    fn cancel(this: SlabArc<Self>) -> Result {
        let waiting = this.op.flushes.take_back(&this);
        let result = match &waiting {
            Some(_) => Ok(()),
            // Somebody has begun, and it ends when it ends.
            None => Err(EINVAL),
        };

        if let Some(waiting) = waiting {
            Self::complete(waiting, EINTR.to_errno() as isize);
        }
        Self::put(this);
        result
    }
}

impl Request<Fsync> {
    /// Executes a flush, which nobody can cancel any longer.
    ///
    /// May sleep, for as long as the file system likes.
    pub(crate) fn flush(this: SlabArc<Self>) {
        if let Some(listed) = this.context().cancel.leave_arc(&*this) {
            Self::put(listed);
        }

        let op = &this.op;
        let result = op.creds.scoped(|| op.file.sync(op.what == What::Data));

        Self::complete(this, result as isize);
    }
}

/// Checks the fields of an iocb that flushes don't have.
///
/// # Errors
///
/// `EINVAL`.
pub(super) fn check(iocb: &Iocb) -> Result {
    if iocb.buf() != 0 || iocb.offset() != 0 || iocb.nbytes() != 0 || iocb.rw_flags() != 0 {
        return Err(EINVAL);
    }
    Ok(())
}

/// Starts a flush.
///
/// # Errors
///
/// In this order: `EINVAL` for a field of the iocb that flushes don't have, `EINVAL` for a file
/// that can't be flushed, `ENOMEM`.
pub(crate) fn start<O: Observer>(
    prepared: Prepared,
    iocb: &Iocb,
    what: What,
    batch: &mut Batch<'_>,
) -> Result {
    let request = prepare(prepared, iocb, what, O::now(), batch)?;

    batch.queued(queue(request));
    Ok(())
}

/// Prepares a flush, which was started when [`Request::started()`] says.
///
/// # Errors
///
/// Those of [`start()`].
fn prepare(
    prepared: Prepared,
    iocb: &Iocb,
    what: What,
    started: isize,
    batch: &Batch<'_>,
) -> Result<UniqueSlabArc<Request<Fsync>>> {
    check(iocb)?;

    let obj = prepared.obj();

    prepared.into_request(started, |file| {
        let file = FsyncFile::new(file)?;
        let creds = Credential::prepare()?;
        let flushes = table::flushes(batch.context())?;

        Ok(pin_init!(Fsync {
            file,
            what,
            creds,
            flushes,
            waiting <- FifoLinks::new(),
            node <- CancelNode::new(obj),
        }))
    })
}

/// Has a flush executed that was prepared, behind those of the process that wait already.
///
/// Returns the submitter's reference, to be given up by [`Request::put()`]. May sleep.
pub(crate) fn queue(request: UniqueSlabArc<Request<Fsync>>) -> SlabArc<Request<Fsync>> {
    let (submission, completion) = request.share_two();
    // It is new, so this can't fail. Before it is queued: who executes it takes it out.
    let added = submission.context().cancel.enter_arc(&submission);

    debug_assert!(added.is_ok());
    submission.op.flushes.push(completion);
    submission
}

#[kunit_tests(aio_ops_fsync)]
mod tests {
    use super::*;
    use crate::{
        cancel,
        context::Context,
        extension::Wanted,
        flushes::MAX_AT_A_TIME,
        kunit::{
            destroy,
            with_mm,
            Process, //
        },
    };
    use kernel::{
        kunit::user::ScriptedFile,
        sync::threshold::Timeout,
        time::{
            delay::fsleep,
            Delta, //
        },
    };

    #[test]
    fn everything_or_data() -> Result {
        let process = Process::new(4)?;

        assert_eq!(process.run(&process.iocb(opcode::FSYNC, 0, 0)), Ok(0));
        assert_eq!(process.file.flushes(), (1, 0));
        assert_eq!(process.run(&process.iocb(opcode::FDSYNC, 0, 0)), Ok(0));
        assert_eq!(process.file.flushes(), (1, 1));
        process.file.set_fsync(EIO.to_errno());
        assert_eq!(process.run(&process.iocb(opcode::FSYNC, 0, 0)), Ok(-5));
        Ok(())
    }

    /// What a file system returns is in the event, even if it is no error number.
    #[test]
    fn results_are_passed_on() -> Result {
        let process = Process::new(4)?;

        for result in [-4095, -4096, i32::MIN, 7] {
            process.file.set_fsync(result);
            assert_eq!(
                process.run(&process.iocb(opcode::FSYNC, 0, 0)),
                Ok(result.into())
            );
        }
        Ok(())
    }

    #[test]
    fn refused() -> Result {
        let process = Process::new(4)?;
        let other = ScriptedFile::without_operations()?;
        let (fd, other_fd) = (process.file.open().fd(), other.open().fd());

        for opcode in [opcode::FSYNC, opcode::FDSYNC] {
            let bad = [
                Iocb::new(opcode, fd, 1, 0, 0),
                Iocb::new(opcode, fd, 0, 1, 0),
                Iocb::new(opcode, fd, 0, 0, 1),
                Iocb::new(opcode, fd, 0, 0, 0).with_rw_flags(1),
                Iocb::new(opcode, other_fd, 0, 0, 0),
            ];

            process.often(|| {
                for iocb in &bad {
                    assert_eq!(process.start(iocb), Err(EINVAL));
                }
                Ok(())
            })?;
        }
        assert_eq!(process.file.flushes(), (0, 0));
        Ok(())
    }

    /// The end of the context waits for what a worker has, and cancels the rest.
    #[test]
    fn before_the_end_of_the_context() -> Result {
        let process = Process::new(32)?;

        for _ in 0..20 {
            process.start(&process.iocb(opcode::FSYNC, 0, 0))?;
        }
        assert_eq!(process.destroy(), Ok(()));
        let (flushes, _) = process.file.flushes();

        assert!(flushes <= 20);
        fsleep(Delta::from_millis(10));
        assert_eq!(process.file.flushes(), (flushes, 0));
        Ok(())
    }

    /// Starts as many flushes as are executed at a time, and waits until they are.
    fn hold_all(process: &Process) -> Result {
        process.file.hold_flushes(true);
        for _ in 0..MAX_AT_A_TIME {
            process.start(&process.iocb(opcode::FSYNC, 0, 0))?;
        }
        while process.file.flushes().0 < MAX_AT_A_TIME as u32 {
            fsleep(Delta::from_millis(1));
        }
        Ok(())
    }

    /// Takes all events that there are, and returns how many results were zero, and `EINTR`.
    fn results(process: &Process, min: usize) -> Result<(usize, usize)> {
        const AT_A_TIME: usize = 32;

        let (mut zero, mut eintr) = (0, 0);

        while zero + eintr < min {
            let nr = process.read_events(1, AT_A_TIME, Timeout::Never)?;

            for i in 0..nr {
                match process.event(i)?[2] as i64 {
                    0 => zero += 1,
                    -4 => eintr += 1,
                    other => assert_eq!(other, 0),
                }
            }
        }
        Ok((zero, eintr))
    }

    #[test]
    fn cancelled_before_it_has_begun() -> Result {
        let process = Process::new(2 * MAX_AT_A_TIME as u32)?;
        let fdsync = process.iocb(opcode::FDSYNC, 0, 0);
        let obj = process.write(0, &fdsync)?.as_const_ptr() as u64;
        let cancel = || process.with_context(|context| cancel::cancel(context, obj));

        hold_all(&process)?;
        // They have begun.
        assert_eq!(cancel(), Err(EINVAL));
        for _ in 0..3 {
            process.start(&fdsync)?;
        }
        assert_eq!(cancel(), Ok(()));
        assert_eq!(results(&process, 1), Ok((0, 1)));
        assert_eq!(cancel(), Ok(()));
        assert_eq!(results(&process, 1), Ok((0, 1)));
        process.file.hold_flushes(false);
        assert_eq!(
            results(&process, MAX_AT_A_TIME + 1),
            Ok((MAX_AT_A_TIME + 1, 0))
        );
        assert_eq!(process.file.flushes(), (MAX_AT_A_TIME as u32, 1));
        assert_eq!(cancel(), Err(EINVAL));
        // The worker is there again.
        assert_eq!(process.run(&fdsync), Ok(0));
        Ok(())
    }

    /// What waits is cancelled with the context.
    #[test]
    fn all_that_wait_are_cancelled() -> Result {
        let process = Process::new(2 * MAX_AT_A_TIME as u32)?;

        hold_all(&process)?;
        for _ in 0..10 {
            process.start(&process.iocb(opcode::FDSYNC, 0, 0))?;
        }
        process.with_context(|context| {
            context.cancel.cancel_all();
            Ok(())
        })?;
        assert_eq!(results(&process, 10), Ok((0, 10)));
        process.file.hold_flushes(false);
        assert_eq!(results(&process, MAX_AT_A_TIME), Ok((MAX_AT_A_TIME, 0)));
        assert_eq!(process.file.flushes(), (MAX_AT_A_TIME as u32, 0));
        Ok(())
    }

    /// The flushes of a process are those of all its contexts.
    #[test]
    fn contexts_share_the_workers() -> Result {
        let process = Process::new(4)?;

        process.run(&process.iocb(opcode::FSYNC, 0, 0))?;
        let id = with_mm(|mm| Ok(Context::create(mm, 1, Wanted::plain())?.user_id()))?;
        let (one, two) = with_mm(|mm| {
            let other = table::lookup(mm, id)?;

            Ok((
                process.with_context(|context| table::flushes(context))?,
                table::flushes(&other)?,
            ))
        })?;

        assert!(Arc::ptr_eq(&one, &two));
        destroy(id)
    }
}
