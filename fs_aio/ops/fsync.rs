// SPDX-License-Identifier: GPL-2.0

//! Flushing files.

use crate::{
    batch::Batch,
    request::{
        Prepared,
        Request, //
    },
    trace::{
        Observed,
        Observer, //
    }, //
};
use kernel::{
    aio::abi::{
        opcode,
        Iocb, //
    },
    cred::Credential,
    fs::{
        FileId,
        FsyncFile, //
    },
    prelude::*,
    slab::{
        impl_dismantle,
        SlabArc, //
    },
    sync::aref::ARef,
    workqueue::{
        self,
        impl_has_work,
        new_work,
        Work,
        WorkItem, //
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
    #[pin]
    work: Work<Request<Fsync>>,
}

impl_dismantle! {
    impl Dismantle for Fsync {
        taken {}
        moved { file: FsyncFile }
        dropped { what, creds, work }
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

impl_has_work! {
    impl HasWork<Self> for Request<Fsync> { self.op.work }
}

impl WorkItem for Request<Fsync> {
    type Pointer = SlabArc<Self>;

    fn run(this: SlabArc<Self>) {
        let op = &this.op;
        let result = op.creds.scoped(|| op.file.sync(op.what == What::Data));

        Request::complete(this, result as isize);
    }
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
    if iocb.buf() != 0 || iocb.offset() != 0 || iocb.nbytes() != 0 || iocb.rw_flags() != 0 {
        return Err(EINVAL);
    }

    let request = prepared.into_request(O::now(), |file| {
        let file = FsyncFile::new(file)?;
        let creds = Credential::prepare()?;

        Ok(pin_init!(Fsync {
            file,
            what,
            creds,
            work <- new_work!("aio::fsync"),
        }))
    })?;
    let (submission, completion) = request.share_two();

    // The queue is that of the polls, as in the C code: so the order in which two operations end
    // that were left to workers is the same. It was not queued before, so this can't fail.
    let _ = workqueue::system_percpu().enqueue(completion);
    batch.queued(submission);
    Ok(())
}

#[kunit_tests(aio_ops_fsync)]
mod tests {
    use super::*;
    use crate::kunit::Process;
    use kernel::kunit::user::ScriptedFile;

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

    /// The end of the context waits for what a worker has.
    #[test]
    fn before_the_end_of_the_context() -> Result {
        let process = Process::new(32)?;

        for _ in 0..20 {
            process.start(&process.iocb(opcode::FSYNC, 0, 0))?;
        }
        assert_eq!(process.destroy(), Ok(()));
        assert_eq!(process.file.flushes(), (20, 0));
        Ok(())
    }
}
