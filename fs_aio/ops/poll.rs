// SPDX-License-Identifier: GPL-2.0

//! Waiting until files are ready.

use crate::{
    batch::Batch,
    request::{
        HasFile,
        Prepared,
        Request, //
    },
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
        cancel::CancelList,
        poll::{
            impl_has_async_poll,
            AsyncPoll,
            PollOwner,
            Polled, //
        },
    },
    fs::{
        FileId,
        LocalFile, //
    },
    prelude::*,
    slab::{
        impl_dismantle,
        SlabArc, //
    },
    sync::aref::ARef, //
};

/// Waits until a file is ready, once.
#[pin_data]
pub(crate) struct Poll {
    #[pin]
    poll: AsyncPoll,
}

impl_dismantle! {
    impl Dismantle for Poll { taken { poll: AsyncPoll } moved {} dropped {} }
}

impl HasFile for Poll {
    #[inline]
    fn file((file,): Self::Parts) -> ARef<LocalFile> {
        file
    }
}

impl Observed for Poll {
    fn opcode(&self) -> u16 {
        opcode::POLL
    }

    fn file_id(&self) -> FileId {
        self.poll.file_id()
    }
}

impl_has_async_poll! {
    impl HasAsyncPoll for Request<Poll> { self.op.poll }
}

impl PollOwner for Request<Poll> {
    fn cancel_list(&self) -> &CancelList {
        &self.context().cancel
    }

    /// Signalling an eventfd may wake somebody who then takes the lock that who completes us
    /// holds.
    fn must_not_complete_inline(&self) -> bool {
        self.has_eventfd()
    }

    fn complete(this: SlabArc<Self>, events: u16) {
        Request::complete(this, usize::from(events) as isize);
    }
}

/// Starts to wait for the events in `aio_buf`.
///
/// # Errors
///
/// `EINVAL` for events that don't exist, for a field of the iocb that this operation does not have,
/// and for a file that can't be waited for in this way.
#[inline(always)]
pub(crate) fn start<O: Observer>(prepared: Prepared, iocb: &Iocb, batch: &mut Batch<'_>) -> Result {
    let events = u16::try_from(iocb.buf()).map_err(|_| EINVAL)?;

    if iocb.offset() != 0 || iocb.nbytes() != 0 || iocb.rw_flags() != 0 {
        return Err(EINVAL);
    }

    let obj = prepared.obj();
    let request = prepared.into_request(O::now(), |file| {
        Ok(pin_init!(Poll {
            poll <- AsyncPoll::new(file, events, obj),
        }))
    })?;

    match AsyncPoll::start(request, batch.ready)? {
        Polled::Ready(request, events) => {
            batch.ready = true;
            if O::THERE {
                O::completed(&request, usize::from(events) as isize);
            }
            batch.complete(request, usize::from(events) as isize);
        }
        Polled::Waiting(submission) => {
            batch.ready = false;
            batch.queued(submission);
        }
    }
    Ok(())
}

#[kunit_tests(aio_ops_poll)]
mod tests {
    use super::*;
    use crate::kunit::Process;
    use kernel::kunit::user::ScriptedFile;

    const IN: u32 = 1;
    const OUT: u32 = 4;
    const ERR: u32 = 8;
    const HUP: u32 = 16;

    #[test]
    fn ready_at_once_and_later() -> Result {
        let process = Process::new(4)?;
        let poll = process.iocb(opcode::POLL, IN.into(), 0);

        // It is asked first from the second time on, if it was ready.
        for ready in [IN, IN | OUT, IN] {
            process.file.set_ready(ready);
            assert_eq!(process.run(&poll), Ok(IN.into()));
        }
        process.file.set_ready(ERR);
        assert_eq!(process.run(&poll), Ok(ERR.into()));
        process.file.set_ready(0);
        assert_eq!(process.start(&poll), Ok(()));
        process.file.wake(OUT);
        process.file.wake(IN);
        assert_eq!(process.result(), Ok(IN.into()));
        Ok(())
    }

    #[test]
    fn a_queue_that_goes_away() -> Result {
        let process = Process::new(4)?;

        process.start(&process.iocb(opcode::POLL, IN.into(), 0))?;
        process.file.free_queue();
        assert!(process.result()? & i64::from(HUP) != 0);
        Ok(())
    }

    #[test]
    fn refused() -> Result {
        let process = Process::new(4)?;
        let fd = process.file.open().fd();
        let poll = |events, nbytes, offset| Iocb::new(opcode::POLL, fd, events, nbytes, offset);
        let bad = [
            poll(0x10000, 0, 0),
            poll(1 << 32 | 1, 0, 0),
            poll(u64::MAX, 0, 0),
            poll(1, 1, 0),
            poll(1, 0, 1),
            poll(1, 0, 0).with_rw_flags(1),
        ];

        process.often(|| {
            for iocb in &bad {
                assert_eq!(process.start(iocb), Err(EINVAL));
            }
            // Files that can't be waited for.
            for queues in [0, 2] {
                process.file.set_queues(queues);
                assert_eq!(process.start(&poll(1, 0, 0)), Err(EINVAL));
            }
            Ok(())
        })
    }

    /// It is ready for all that can be asked for.
    #[test]
    fn a_file_without_an_opinion() -> Result {
        let process = Process::new(4)?;
        let other = ScriptedFile::without_operations()?;
        let poll = Iocb::new(opcode::POLL, other.open().fd(), (IN | OUT).into(), 0, 0);

        assert_eq!(process.run(&poll), Ok((IN | OUT).into()));
        Ok(())
    }
}
