// SPDX-License-Identifier: GPL-2.0

//! Reads and writes that are polled for.

use super::rw::{
    self,
    Transfer, //
};
use crate::{
    batch::Batch,
    polled::Polled,
    request::{
        HasFile,
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
    aio::abi::{
        opcode,
        Iocb,
        RWF_NOWAIT, //
    },
    fs::{
        AsyncKiocb,
        AsyncRw,
        FileId,
        Issued,
        LocalFile,
        Settings,
        Submitted, //
    },
    prelude::*,
    slab::{
        impl_dismantle,
        SlabArc,
        UniqueSlabArc, //
    },
    sync::{
        aref::ARef,
        ReadSection, //
    },
    uio::Direction, //
};

/// A read or write that is polled for.
#[pin_data]
pub(crate) struct PolledRw {
    #[pin]
    kiocb: AsyncKiocb,
    /// To be issued once more.
    transfer: Transfer,
    /// That may be, if it is refused: then its result is another one.
    may_retry: bool,
    /// When it was started, if somebody observes that, or 0.
    started: isize,
}

impl_dismantle! {
    impl Dismantle for PolledRw {
        taken { kiocb: AsyncKiocb }
        moved {}
        dropped { transfer, may_retry, started }
    }
}

impl HasFile for PolledRw {
    #[inline]
    fn file((file,): Self::Parts) -> ARef<LocalFile> {
        file
    }
}

impl Observed for PolledRw {
    fn opcode(&self) -> u16 {
        match self.kiocb.direction() {
            Direction::Read => opcode::PREAD,
            Direction::Write => opcode::PWRITE,
        }
    }

    fn file_id(&self) -> FileId {
        self.kiocb.file_id()
    }

    /// The request may have been refused, and so have had a result, since.
    fn started(&self) -> Option<isize> {
        Some(self.started)
    }
}

kernel::fs::impl_has_async_kiocb! {
    impl HasAsyncKiocb for Request<PolledRw> { self.op.kiocb }
}

impl AsyncRw for Request<PolledRw> {
    /// The event is posted by the task that finds the request complete, and has the other
    /// reference; that task may sleep now.
    #[inline]
    fn complete(this: SlabArc<Self>, res: isize) {
        let section = ReadSection::new();
        let context = this.context_under_rcu(&section);

        // This is not traced here: the task that posts the event does that.
        Request::ended(this, res);
        context.waiters.wake(usize::MAX);
    }
}

/// Starts a read or write, to be polled for.
///
/// # Errors
///
/// Those of [`rw::start()`]; after those of the `RWF_*` flags: `EOPNOTSUPP` if
/// the file can't be polled. `EAGAIN` if the device has no room now, but others of the context are
/// in flight.
#[inline(always)]
pub(crate) fn start<O: Observer>(
    prepared: Prepared,
    iocb: &Iocb,
    transfer: Transfer,
    polled: &Polled,
    batch: &mut Batch<'_>,
) -> Result {
    // A program that asks not to wait gets that as an outcome.
    let may_retry = iocb.rw_flags() & RWF_NOWAIT == 0;
    let mut request = prepared.into_request(0, |file| {
        let settings = Settings::new(&file, false);

        Ok(pin_init!(PolledRw {
            kiocb <- AsyncKiocb::new(file, settings, transfer.pos),
            transfer,
            may_retry,
            started: O::now(),
        }))
    })?;
    let mut kiocb = Request::op_mut(&mut request).project().kiocb;

    rw::set_up(kiocb.as_mut().settings_mut(), iocb, transfer.dir(), batch)?;
    kiocb.set_polled()?;

    let outcome = match outcome(transfer.issue(request)?) {
        // When the others are complete, there will be room.
        Outcome::Ended(request, res) if request.is_refused(res) => match polled.in_flight() {
            0 => start_unpolled(request, polled),
            _ => return Err(EAGAIN),
        },
        outcome => outcome,
    };

    match outcome {
        Outcome::InFlight(submitted) => {
            polled.push(submitted);
            batch.started();
        }
        Outcome::Ended(request, res) => {
            O::completed(&request, res);
            batch.complete(request, res)
        }
    }
    Ok(())
}

/// A request was refused, and nothing of its context is in flight, so that no poll would make room
/// for it: it is issued once more, as one that may sleep.
///
/// May sleep.
#[inline(never)]
pub(crate) fn start_unpolled(
    mut request: UniqueSlabArc<Request<PolledRw>>,
    polled: &Polled,
) -> Outcome {
    let transfer = request.op.transfer;
    let op = Request::op_mut(&mut request).project();
    let mut kiocb = op.kiocb;

    // What is refused although it may sleep is refused for good.
    *op.may_retry = false;
    kiocb.as_mut().set_pos(transfer.pos);
    kiocb.as_mut().set_unpolled();
    // What it waits for may be what this task should poll for.
    table::end_polled(polled);
    match transfer.owned(request.context()) {
        Ok(buffers) => outcome(AsyncKiocb::issue_again(
            request,
            transfer.dir(),
            &buffers,
            0,
        )),
        Err(e) => Outcome::Ended(request, e.to_errno() as isize),
    }
}

impl Request<PolledRw> {
    /// Returns whether the device, or a file system, had no room, so that the request is to be
    /// issued once more.
    #[inline]
    pub(crate) fn is_refused(&self, result: isize) -> bool {
        result == EAGAIN.to_errno() as isize && self.op.may_retry
    }
}

/// What has become of a request.
pub(crate) enum Outcome {
    /// It is complete.
    Ended(UniqueSlabArc<Request<PolledRw>>, isize),
    /// It was taken, and may be polled for.
    InFlight(Submitted<Request<PolledRw>>),
}

#[inline(always)]
fn outcome(issued: Issued<Request<PolledRw>>) -> Outcome {
    match issued {
        Issued::Complete(request, res) => Outcome::Ended(request, res),
        Issued::Queued(submitted) => match submitted.into_last() {
            Ok(request) => {
                let res = request.result();

                Outcome::Ended(request, res)
            }
            Err(submitted) => Outcome::InFlight(submitted),
        },
    }
}
