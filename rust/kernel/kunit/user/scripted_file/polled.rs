// SPDX-License-Identifier: GPL-2.0

//! Files whose reads and writes can be polled for.

use super::{
    Script,
    ScriptedFile, //
};
use crate::{
    bindings,
    prelude::*,
    sync::atomic::{
        Atomic,
        Relaxed, //
    }, //
};
use core::ffi::{
    c_int,
    c_uint,
    c_void, //
};

/// What `->iopoll()` of a [`ScriptedFile`] does.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Poll {
    /// It finds nothing.
    Nothing,
    /// It fails: with a negative errno.
    Fails,
    /// It ends the oldest read or write that is held.
    Ends,
    /// It leaves all that are held to the batch of the caller, which ends them.
    Batches,
}

impl Poll {
    const ALL: [Self; 4] = [Self::Nothing, Self::Fails, Self::Ends, Self::Batches];
}

/// How a file is polled.
pub(super) struct Polling {
    /// An index into [`Poll::ALL`].
    what: Atomic<u32>,
    /// With what a poll ends a read or write.
    res: Atomic<isize>,
    /// What is held has nothing to poll for.
    dropped: Atomic<bool>,
    /// The polls, and the flags of the last.
    polls: Atomic<u32>,
    flags: Atomic<u32>,
    /// The batches that were ended.
    batches: Atomic<u32>,
    /// `IOCB_*` of the read or write that was held last.
    kiocb_flags: Atomic<i32>,
}

impl Polling {
    pub(super) fn new() -> Self {
        Self {
            what: Atomic::new(0),
            res: Atomic::new(0),
            dropped: Atomic::new(false),
            polls: Atomic::new(0),
            flags: Atomic::new(0),
            batches: Atomic::new(0),
            kiocb_flags: Atomic::new(0),
        }
    }

    /// A read or write is about to be held. Whether it is to be polled for or not, `private` is
    /// used, which is the file's.
    ///
    /// # Safety
    ///
    /// `kiocb` must be valid, and belong to the file.
    pub(super) unsafe fn issued(&self, kiocb: *mut bindings::kiocb) {
        // SAFETY: The caller guarantees that `kiocb` is valid and the file's.
        let flags = unsafe { (*kiocb).ki_flags };

        self.kiocb_flags.store(flags, Relaxed);
        if !self.dropped.load(Relaxed) {
            // SAFETY: The caller guarantees that `kiocb` is valid and the file's.
            unsafe { (&raw mut (*kiocb).private).write_volatile(kiocb.cast()) };
        }
    }
}

impl ScriptedFile {
    /// A file that is open for reading and writing, of which reads and writes can be polled for,
    /// if all of these are set: it is open with `O_DIRECT`, has `->iopoll()`, and supports
    /// `IOCB_NOWAIT`.
    ///
    /// At first, a poll finds nothing.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn pollable(direct: bool, iopoll: bool, nowait: bool) -> Result<Self> {
        let ops = match iopoll {
            true => Script::POLLED_OPS,
            false => Script::FILE_OPS,
        };
        let this = Self::with(ops, bindings::O_RDWR)?;
        let file = this.open.local()?.as_ptr();

        if direct {
            // SAFETY: The file is new: nobody else uses it. What the flags allow it does, which is
            // not to look at the page cache, since it has none.
            unsafe { (*file).f_flags |= bindings::O_DIRECT };
            // SAFETY: The file is new: nobody else uses it.
            unsafe { (*file).f_iocb_flags |= bindings::IOCB_DIRECT };
        }
        if nowait {
            // SAFETY: The file is new: nobody else uses it. Its operations do not sleep.
            unsafe { (*file).f_mode |= bindings::FMODE_NOWAIT };
        }
        Ok(this)
    }

    /// From now on, polls do this; what they end, ends with `res`.
    pub fn set_poll(&self, what: Poll, res: isize) {
        let polling = &self.script.polling;

        polling.what.store(what as u32, Relaxed);
        polling.res.store(res, Relaxed);
    }

    /// From now on, reads and writes that are held have nothing to poll for, whatever they were
    /// asked to.
    pub fn drop_polls(&self) {
        self.script.polling.dropped.store(true, Relaxed);
    }

    /// Returns how many polls there were, and how many batches have been ended.
    pub fn polls(&self) -> (u32, u32) {
        let polling = &self.script.polling;

        (polling.polls.load(Relaxed), polling.batches.load(Relaxed))
    }

    /// Returns the flags (`BLK_POLL_*`) of the last poll.
    pub fn poll_flags(&self) -> u32 {
        self.script.polling.flags.load(Relaxed)
    }

    /// Returns the flags (`IOCB_*`) of the read or write that was held last.
    pub fn kiocb_flags(&self) -> i32 {
        self.script.polling.kiocb_flags.load(Relaxed)
    }
}

impl Script {
    const POLLED_OPS: &'static bindings::file_operations = &bindings::file_operations {
        iopoll: Some(Self::iopoll),
        ..*Self::FILE_OPS
    };

    /// # Safety
    ///
    /// To be called with a read or write of one of these files, that the file was called with, and
    /// a valid batch.
    unsafe extern "C" fn iopoll(
        kiocb: *mut bindings::kiocb,
        batch: *mut bindings::io_comp_batch,
        flags: c_uint,
    ) -> c_int {
        // SAFETY: The caller passes a valid `kiocb`, which has a reference to its file, which is
        // one of these. The test keeps the file beyond the end of what is held.
        let this = unsafe { Self::of((*kiocb).ki_filp) };
        let polling = &this.polling;

        polling.polls.fetch_add(1, Relaxed);
        polling.flags.store(flags, Relaxed);
        match Poll::ALL[polling.what.load(Relaxed) as usize] {
            Poll::Nothing => 0,
            Poll::Fails => EIO.to_errno(),
            Poll::Ends => this.end(polling.res.load(Relaxed)).into(),
            Poll::Batches => {
                // What is in the list only the function knows that ends the batch, and there is
                // no need for it to be requests.
                let list = core::ptr::from_ref(this).cast_mut().cast();

                // SAFETY: The caller passes a valid batch, which is the callee's until it returns.
                unsafe { (*batch).req_list.head = list };
                // SAFETY: The caller passes a valid batch, which is the callee's until it returns.
                // The function finds in it what it wants.
                unsafe { (*batch).complete = Some(Self::end_batch) };
                1
            }
        }
    }

    /// # Safety
    ///
    /// To be called with a batch in which [`iopoll()`](Self::iopoll) has set this function, while
    /// the file is there.
    unsafe extern "C" fn end_batch(batch: *mut bindings::io_comp_batch) {
        // SAFETY: The caller passes a batch whose list `iopoll()` has set to the script of a file,
        // which the test keeps.
        let this = unsafe { &*(*batch).req_list.head.cast::<c_void>().cast::<Self>() };

        this.polling.batches.fetch_add(1, Relaxed);
        while this.end(this.polling.res.load(Relaxed)) {}
    }
}
