// SPDX-License-Identifier: GPL-2.0

//! Flags and priorities of reads and writes.
//!
//! C headers: [`include/linux/fs.h`](srctree/include/linux/fs.h),
//! [`include/linux/ioprio.h`](srctree/include/linux/ioprio.h)

use super::AsyncKiocb;
use crate::{
    bindings,
    error::to_result,
    fs::LocalFile,
    prelude::*,
    uio::Direction, //
};
use core::mem::MaybeUninit;

/// Flags and priority of a read or write of a file.
#[derive(Clone, Copy)]
pub struct Settings {
    pub(super) flags: i32,
    pub(super) ioprio: u16,
}

impl Settings {
    /// Those of an operation on `file`, with this priority, and these `RWF_*` flags beside the
    /// flags of the file.
    ///
    /// `eventfd` tells whether an eventfd will be signalled when the operation is complete. A
    /// request to poll for the completion is accepted and ignored, since nobody does; see
    /// [`AsyncKiocb::set_polled()`].
    ///
    /// # Errors
    ///
    /// `EOPNOTSUPP` or `EINVAL` if the flags are unknown or the file does not support them, `EPERM`
    /// for a write that does not append to a file that only allows that.
    #[inline]
    pub fn new(
        file: &LocalFile,
        eventfd: bool,
        ioprio: u16,
        rw_flags: i32,
        dir: Direction,
    ) -> Result<Self> {
        let extra = if eventfd {
            bindings::IOCB_EVENTFD as i32
        } else {
            0
        };
        // SAFETY: The file is valid. Its field is read as C does.
        let flags = unsafe { (*file.as_ptr()).f_iocb_flags } as i32 | extra;

        Ok(Self {
            flags: match rw_flags {
                // There is nothing to do, and nobody else asks for a poll.
                0 => flags,
                _ => Self::with_rw_flags(file, flags, rw_flags, dir)?,
            },
            ioprio,
        })
    }

    #[doc(alias = "kiocb_set_rw_flags")]
    #[inline]
    fn with_rw_flags(file: &LocalFile, flags: i32, rw_flags: i32, dir: Direction) -> Result<i32> {
        let mut kiocb = MaybeUninit::<bindings::kiocb>::uninit();
        let kiocb = kiocb.as_mut_ptr();

        // SAFETY: The structure is valid for writes.
        unsafe { (&raw mut (*kiocb).ki_filp).write(file.as_ptr()) };
        // SAFETY: The structure is valid for writes.
        unsafe { (&raw mut (*kiocb).ki_flags).write(flags) };
        // SAFETY: The function uses these two fields alone, and the file is valid.
        to_result(unsafe { bindings::kiocb_set_rw_flags(kiocb, rw_flags, dir.rw()) })?;
        // SAFETY: The field was initialised.
        Ok(unsafe { (*kiocb).ki_flags } & !bindings::IOCB_HIPRI)
    }

    /// Returns this I/O priority, if the current task may use it.
    ///
    /// # Errors
    ///
    /// `EPERM` if it may not, `EINVAL` if there is no such priority.
    #[doc(alias = "ioprio_check_cap")]
    #[inline]
    pub fn checked_ioprio(prio: u16) -> Result<u16> {
        // The C code passes what user space gives as a signed 16-bit number.
        //
        // SAFETY: There are no requirements.
        to_result(unsafe { bindings::ioprio_check_cap(i32::from(prio as i16)) })?;
        Ok(prio)
    }
}

impl AsyncKiocb {
    /// Returns flags and priority, of an operation that the file does not have.
    pub fn settings(&self) -> Settings {
        let kiocb = self.inner.get();

        // SAFETY: The structure is valid, and nobody changes these now.
        unsafe {
            Settings {
                // The one that says in what type the structure is, see `TheAioRw`, stays there.
                flags: (*kiocb).ki_flags & !(bindings::IOCB_AIO_RW as i32),
                ioprio: (*kiocb).ki_ioprio,
            }
        }
    }
}
