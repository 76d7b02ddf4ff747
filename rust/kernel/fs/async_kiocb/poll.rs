// SPDX-License-Identifier: GPL-2.0

//! Reads and writes whose completion is polled for.
//!
//! The device raises no interrupt: the task that waits for the outcome polls it, by `->iopoll()`. A
//! read or write may be polled from the time at which the file was called and has returned, which
//! is when there is a [`Submitted`].
//!
//! C headers: [`include/linux/fs.h`](srctree/include/linux/fs.h),
//! [`include/linux/blkdev.h`](srctree/include/linux/blkdev.h)

use super::{
    AsyncKiocb,
    HasAsyncKiocb, //
};
use crate::{
    bindings,
    prelude::*,
    slab::{
        Cached,
        SlabArc,
        UniqueSlabArc, //
    }, //
};
use core::ops::Deref;

#[cfg(CONFIG_KUNIT = "y")]
mod tests;

/// Requests of block devices that a poll has found complete, to be ended all at once.
///
/// That is done when it is dropped.
#[doc(alias = "io_comp_batch")]
pub struct CompBatch(bindings::io_comp_batch);

impl CompBatch {
    /// None yet.
    #[inline]
    pub fn new() -> Self {
        Self(pin_init::zeroed())
    }

    /// Returns whether there are none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.0.req_list.head.is_null()
    }
}

impl Default for CompBatch {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for CompBatch {
    #[inline]
    fn drop(&mut self) {
        if self.is_empty() {
            return;
        }
        if let Some(complete) = self.0.complete {
            // SAFETY: The driver that has added the requests has set the function, which wants the
            // batch.
            unsafe { complete(&mut self.0) };
        }
    }
}

/// How long a poll looks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// Once.
    Once,
    /// Until something is complete, for a short time, or until the task should do something else.
    Spin,
}

/// An operation whose file was called, and has returned; it may have ended since.
#[must_use = "the reference may be the last one"]
///
/// # Invariants
///
/// If `polled` is set, the file was called with `IOCB_HIPRI`: so `private` in the structure is
/// null, or what its `->iopoll()` looks for.
pub struct Submitted<T: Cached> {
    op: SlabArc<T>,
    polled: bool,
}

impl<T: Cached> Submitted<T> {
    /// The file was called for the operation with [`AsyncKiocb::issue()`], or
    /// [`issue_fixed()`](AsyncKiocb::issue_fixed), and has returned `EIOCBQUEUED`; `polled` tells
    /// whether that was with `IOCB_HIPRI`.
    #[inline(always)]
    pub(super) fn new(op: SlabArc<T>, polled: bool) -> Self {
        // INVARIANT: The caller has called the file for `op`, which has returned `EIOCBQUEUED`, and
        // with `IOCB_HIPRI` if `polled` is set.
        Self { op, polled }
    }

    /// Returns the reference that has kept the operation while the file was called.
    #[inline(always)]
    pub fn into_inner(self) -> SlabArc<T> {
        self.op
    }

    /// Returns whether this is the last reference, and so the operation complete, unless somebody
    /// keeps what [`AsyncRw::complete()`](super::AsyncRw::complete) was given.
    ///
    /// What was written before the other reference was dropped can be seen then.
    #[inline]
    pub fn is_last(&self) -> bool {
        self.op.is_unique()
    }

    /// Returns the operation if this is the last reference to it.
    ///
    /// # Errors
    ///
    /// The reference, if it is not.
    #[inline]
    pub fn into_last(self) -> Result<UniqueSlabArc<T>, Self> {
        let Self { op, polled } = self;

        // INVARIANT: It is the same operation.
        op.try_into_unique().map_err(|op| Self { op, polled })
    }
}

impl<T: Cached> Deref for Submitted<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.op
    }
}

impl<T: HasAsyncKiocb + Cached> Submitted<T> {
    #[inline]
    fn kiocb(&self) -> *mut bindings::kiocb {
        AsyncKiocb::of(&*self.op).inner.get()
    }

    /// Returns whether there is something to poll for: the block layer does not poll for all that
    /// it was asked to.
    ///
    /// This is a hint; it may change at any time if the operation is complete.
    #[inline]
    pub fn is_polled(&self) -> bool {
        // SAFETY: The structure is valid, and `issue()` has initialised the field. The file may
        // change it at any time.
        self.polled && !unsafe { (&raw const (*self.kiocb()).private).read_volatile() }.is_null()
    }

    /// Asks the device for completions, not only that of this operation. What is found is complete
    /// when `batch` is dropped, at the latest.
    ///
    /// Returns whether something was found, or a signal is pending. May sleep, and flushes the
    /// current task's plug.
    #[doc(alias = "iopoll")]
    #[inline]
    pub fn poll(&self, batch: &mut CompBatch, look: Look) -> bool {
        let kiocb = self.kiocb();
        let flags = match look {
            Look::Once => bindings::BLK_POLL_ONESHOT,
            Look::Spin => 0,
        };

        if !self.is_polled() {
            return false;
        }
        // SAFETY: The file is valid as long as the operation is, and so are its functions.
        let poll = unsafe { (*(*(*kiocb).ki_filp).f_op).iopoll };

        match poll {
            // SAFETY: By the type invariants the file was called with this structure, to be polled;
            // it has returned. The reference keeps it and its file. That the operation may have
            // ended meanwhile is no problem for the function, which looks at `private` under RCU.
            // The batch is valid.
            Some(poll) => unsafe { poll(kiocb, &mut batch.0, flags) > 0 },
            None => false,
        }
    }
}

impl AsyncKiocb {
    /// Asks the file to let the completion be polled for, and not to sleep where it would have to
    /// wait for what a poll might bring.
    ///
    /// Such an operation may end with `EAGAIN`.
    ///
    /// # Errors
    ///
    /// `EOPNOTSUPP` if the file is not open with `O_DIRECT`, or can't poll, or can't keep from
    /// sleeping.
    pub fn set_polled(self: Pin<&mut Self>) -> Result {
        let kiocb = self.inner.get();
        let file = self.file().as_ptr();
        // SAFETY: The file is valid; neither field changes.
        let (mode, ops) = unsafe { ((*file).f_mode, &*(*file).f_op) };
        // SAFETY: By the type invariants, `&mut self` is exclusive.
        let flags = unsafe { &mut (*kiocb).ki_flags };

        if *flags & bindings::IOCB_DIRECT as i32 == 0
            || ops.iopoll.is_none()
            || mode & bindings::FMODE_NOWAIT == 0
        {
            return Err(EOPNOTSUPP);
        }
        *flags |= bindings::IOCB_HIPRI | bindings::IOCB_NOWAIT;
        Ok(())
    }

    /// Takes [`set_polled()`](Self::set_polled) back, for an operation that is issued once more.
    pub fn set_unpolled(self: Pin<&mut Self>) {
        // SAFETY: By the type invariants, `&mut self` is exclusive.
        unsafe { (*self.inner.get()).ki_flags &= !(bindings::IOCB_HIPRI | bindings::IOCB_NOWAIT) };
    }
}
