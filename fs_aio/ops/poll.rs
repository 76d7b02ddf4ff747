// SPDX-License-Identifier: GPL-2.0

//! Waiting until files are ready.

use crate::request::{
    Batch,
    HasFile,
    Prepared,
    Request, //
};
use kernel::{
    aio::{
        abi::Iocb,
        cancel::CancelList,
        poll::{
            impl_has_async_poll,
            AsyncPoll,
            PollOwner,
            Polled, //
        },
    },
    fs::LocalFile,
    prelude::*,
    slab::{
        impl_dismantle,
        Shared, //
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

    fn complete(this: Shared<Self>, events: u16) {
        Request::complete(this, usize::from(events) as isize);
    }
}

/// Starts to wait for the events in `aio_buf`.
///
/// # Errors
///
/// `EINVAL` for events that don't exist, for a field of the iocb that this operation does not have,
/// and for a file that can't be waited for in this way.
#[inline]
pub(crate) fn start(prepared: Prepared, iocb: &Iocb, batch: &mut Batch<'_>) -> Result {
    let events = u16::try_from(iocb.buf()).map_err(|_| EINVAL)?;

    if iocb.offset() != 0 || iocb.nbytes() != 0 || iocb.rw_flags() != 0 {
        return Err(EINVAL);
    }

    let obj = prepared.obj();
    let request = prepared.into_request(|file| {
        Ok(pin_init!(Poll {
            poll <- AsyncPoll::new(file, events, obj),
        }))
    })?;

    match AsyncPoll::start(request, batch.ready)? {
        Polled::Ready(request, events) => {
            batch.ready = true;
            batch.complete(request, usize::from(events) as isize);
        }
        Polled::Waiting(submission) => {
            batch.ready = false;
            batch.queued(submission);
        }
    }
    Ok(())
}
