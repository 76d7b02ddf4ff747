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
    /// Those of an operation on `file` that nobody has said more of: the flags of the file.
    ///
    /// `eventfd` tells whether an eventfd will be signalled when the operation is complete.
    #[inline]
    pub fn new(file: &LocalFile, eventfd: bool) -> Self {
        let extra = if eventfd {
            bindings::IOCB_EVENTFD as i32
        } else {
            0
        };
        // SAFETY: The file is valid. Its field is read as C does.
        let flags = unsafe { (*file.as_ptr()).f_iocb_flags } as i32 | extra;

        Self { flags, ioprio: 0 }
    }

    /// Returns them, which must be those of an operation on `file`, to be changed.
    #[inline]
    pub fn as_mut<'a>(&'a mut self, file: &'a LocalFile) -> SettingsMut<'a> {
        SettingsMut {
            file,
            flags: &mut self.flags,
            ioprio: &mut self.ioprio,
        }
    }
}

/// [`Settings`] that are changed, wherever they are.
pub struct SettingsMut<'a> {
    file: &'a LocalFile,
    flags: &'a mut i32,
    ioprio: &'a mut u16,
}

impl SettingsMut<'_> {
    /// Sets the I/O priority.
    ///
    /// # Errors
    ///
    /// `EPERM` if the current task may not use it, `EINVAL` if there is no such priority.
    #[doc(alias = "ioprio_check_cap")]
    #[inline]
    pub fn set_ioprio(&mut self, prio: u16) -> Result {
        // The C code passes what user space gives as a signed 16-bit number.
        //
        // SAFETY: There are no requirements.
        to_result(unsafe { bindings::ioprio_check_cap(i32::from(prio as i16)) })?;
        *self.ioprio = prio;
        Ok(())
    }

    /// Sets the I/O priority to that of the current task, see
    /// [`current_ioprio()`](super::current_ioprio).
    #[inline]
    pub fn inherit_ioprio(&mut self, current: u16) {
        *self.ioprio = current;
    }

    /// Sets the `RWF_*` flags.
    ///
    /// A request to poll for the completion is accepted and ignored, since nobody does; see
    /// [`AsyncKiocb::set_polled()`].
    ///
    /// # Errors
    ///
    /// `EOPNOTSUPP` or `EINVAL` if the flags are unknown or the file does not support them, `EPERM`
    /// for a write that does not append to a file that only allows that.
    #[doc(alias = "kiocb_set_rw_flags")]
    #[inline]
    pub fn set_rw_flags(&mut self, rw_flags: i32, dir: Direction) -> Result {
        // Without flags there is nothing to do, and nobody else asks for a poll.
        if rw_flags == 0 {
            return Ok(());
        }
        let mut kiocb = MaybeUninit::<bindings::kiocb>::uninit();
        let kiocb = kiocb.as_mut_ptr();

        // SAFETY: The structure is valid for writes.
        unsafe { (&raw mut (*kiocb).ki_filp).write(self.file.as_ptr()) };
        // SAFETY: The structure is valid for writes.
        unsafe { (&raw mut (*kiocb).ki_flags).write(*self.flags) };
        // SAFETY: The function uses these two fields alone, and the file is valid.
        to_result(unsafe { bindings::kiocb_set_rw_flags(kiocb, rw_flags, dir.rw()) })?;
        // SAFETY: The field was initialised.
        *self.flags = unsafe { (*kiocb).ki_flags } & !bindings::IOCB_HIPRI;
        Ok(())
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

    /// Returns flags and priority, of an operation that the file does not have, to be changed.
    #[inline]
    pub fn settings_mut(self: Pin<&mut Self>) -> SettingsMut<'_> {
        let kiocb = self.inner.get();
        // SAFETY: By the type invariants, `&mut self` is exclusive, and the file valid.
        let (file, flags, ioprio) = unsafe {
            (
                LocalFile::from_raw_file((*kiocb).ki_filp),
                &mut (*kiocb).ki_flags,
                &mut (*kiocb).ki_ioprio,
            )
        };

        SettingsMut {
            file,
            flags,
            ioprio,
        }
    }
}
