// SPDX-License-Identifier: GPL-2.0

//! What system calls that wait have in common: times and signal masks from user space.
//!
//! C headers: [`include/linux/time.h`](srctree/include/linux/time.h),
//! [`include/linux/sched/signal.h`](srctree/include/linux/sched/signal.h)

use crate::{
    bindings,
    error::{
        code::EFAULT,
        to_result,
        Result, //
    },
    sync::threshold::Timeout,
    types::{
        NotThreadSafe,
        Opaque, //
    },
    uaccess::UserPtr,
    user_scalar::read_words, //
};
use core::mem::MaybeUninit;

/// The layout of a time in user space.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum TimeLayout {
    /// `struct __kernel_timespec`.
    Time64,
    /// `struct old_timespec32`.
    Time32,
}

/// Reads a relative time; a null pointer means for ever.
///
/// Negative times and nanoseconds of a second and more are accepted.
///
/// # Errors
///
/// `EFAULT` if there is no readable memory.
#[doc(alias = "get_timespec64")]
#[inline]
pub fn timeout_from_user(ptr: UserPtr, layout: TimeLayout) -> Result<Timeout> {
    if ptr.as_const_ptr().is_null() {
        return Ok(Timeout::Never);
    }

    let nanos = match layout {
        TimeLayout::Time64 => {
            let mut time = MaybeUninit::uninit();
            let [seconds, nanos]: &[i64; 2] = read_words(ptr, &mut time)?;

            // SAFETY: There are no requirements.
            unsafe { bindings::kernel_timespec_to_ktime(*seconds, *nanos) }
        }
        TimeLayout::Time32 => time32_from_user(ptr)?,
    };

    Ok(match nanos {
        bindings::KTIME_MAX => Timeout::Never,
        nanos => Timeout::Nanos(nanos),
    })
}

#[inline(never)]
fn time32_from_user(ptr: UserPtr) -> Result<i64> {
    let ts = Opaque::<bindings::timespec64>::uninit();

    // SAFETY: `ts` is valid for writes; any address is checked.
    if unsafe { bindings::get_old_timespec32(ts.get(), ptr.as_const_ptr()) } != 0 {
        return Err(EFAULT);
    }
    // SAFETY: It was just written.
    Ok(unsafe { bindings::timespec64_to_ktime(*ts.get()) })
}

/// A signal mask of the current task that replaces its own for the time of a system call.
///
/// # Invariants
///
/// `set_user_sigmask()` has succeeded in this system call.
#[must_use = "the mask must be restored at the end of the system call"]
pub struct UserSigmask(NotThreadSafe);

impl UserSigmask {
    /// Installs the mask that a `struct { sigset_t *mask; size_t size; }` at `ptr` describes; a
    /// null pointer, or a null `mask`, changes nothing.
    ///
    /// `compat` tells whether these are those of a 32-bit program on a 64-bit kernel.
    ///
    /// # Errors
    ///
    /// `EFAULT` if there is no readable memory, `EINVAL` if the size is wrong.
    #[doc(alias = "set_user_sigmask")]
    pub fn from_user(ptr: UserPtr, compat: bool) -> Result<Self> {
        use crate::user_scalar::UserScalar;

        let (mut mask, mut size) = (0, 0);

        if !ptr.as_const_ptr().is_null() {
            if compat {
                mask = u32::get_user(ptr)? as usize;
                size = u32::get_user(ptr.wrapping_byte_add(size_of::<u32>()))? as usize;
            } else {
                mask = usize::get_user(ptr)?;
                size = usize::get_user(ptr.wrapping_byte_add(size_of::<usize>()))?;
            }
        }
        Self::set(UserPtr::from_addr(mask), size, compat)
    }

    fn set(mask: UserPtr, size: usize, compat: bool) -> Result<Self> {
        #[cfg(CONFIG_COMPAT)]
        if compat {
            // SAFETY: Any address is checked.
            to_result(unsafe {
                bindings::set_compat_user_sigmask(mask.as_const_ptr().cast(), size)
            })?;
            // INVARIANT: It has succeeded.
            return Ok(Self(NotThreadSafe));
        }
        let _ = compat;
        // SAFETY: Any address is checked.
        to_result(unsafe { bindings::set_user_sigmask(mask.as_const_ptr().cast(), size) })?;
        // INVARIANT: It has succeeded.
        Ok(Self(NotThreadSafe))
    }

    /// Restores the mask of before, unless a signal has `interrupted` the call: then that is done
    /// after the signal was delivered.
    #[doc(alias = "restore_saved_sigmask_unless")]
    pub fn restore_unless(self, interrupted: bool) {
        // SAFETY: By the type invariants.
        unsafe { bindings::restore_saved_sigmask_unless(interrupted) };
    }
}
