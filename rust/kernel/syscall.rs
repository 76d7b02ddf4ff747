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
    ffi::c_ulong,
    sync::threshold::Timeout,
    types::{
        NotThreadSafe,
        Opaque, //
    },
    uaccess::{
        read_words,
        UserPtr,
        UserScalar, //
    },
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

/// Reads a relative time; a null pointer means without a limit.
///
/// Negative times and nanoseconds of a second and more are accepted.
///
/// # Errors
///
/// `EFAULT` if there is no readable memory.
///
/// # Examples
///
/// ```
/// use kernel::{
///     sync::threshold::Timeout,
///     syscall::{
///         timeout_from_user,
///         TimeLayout, //
///     },
///     uaccess::UserPtr,
/// };
///
/// let never = timeout_from_user(UserPtr::from_addr(0), TimeLayout::Time64)?;
/// assert!(never == Timeout::Never);
/// # Ok::<(), Error>(())
/// ```
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

            time64_to_ktime(*seconds, *nanos)
        }
        TimeLayout::Time32 => time32_from_user(ptr)?,
    };

    Ok(match nanos {
        bindings::KTIME_MAX => Timeout::Never,
        nanos => Timeout::Nanos(nanos),
    })
}

/// Returns what `get_timespec64()` makes of a `struct __kernel_timespec`, in nanoseconds.
#[inline]
fn time64_to_ktime(seconds: i64, mut nanos: i64) -> i64 {
    // SAFETY: May be called by any task.
    if unsafe { bindings::in_compat_syscall() } {
        // The upper half is padding in the structure of a 32-bit program.
        nanos &= 0xffff_ffff;
    }

    // On a 32-bit kernel, the conversion leaves the padding out.
    //
    // SAFETY: There are no requirements.
    unsafe { bindings::ktime_set(seconds, nanos as c_ulong) }
}

#[inline(never)]
fn time32_from_user(ptr: UserPtr) -> Result<i64> {
    let ts = Opaque::<bindings::timespec64>::uninit();

    // SAFETY: `ts` is valid for writes; any address is checked.
    if unsafe { bindings::get_old_timespec32(ts.get(), ptr.as_const_ptr()) } != 0 {
        return Err(EFAULT);
    }
    // SAFETY: `get_old_timespec32()` has succeeded, and so has written `ts`.
    let ts = unsafe { &*ts.get() };

    // SAFETY: There are no requirements.
    Ok(unsafe { bindings::ktime_set(ts.tv_sec, ts.tv_nsec as c_ulong) })
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
        // SAFETY: By the type invariants the current task has saved its mask in this system call,
        // and it is the same task, since `self` is not `Send`. Without a saved mask this does
        // nothing.
        unsafe { bindings::restore_saved_sigmask_unless(interrupted) };
    }
}

#[macros::kunit_tests(rust_syscall)]
mod tests {
    use super::*;
    use crate::{
        error::code::EINVAL,
        kunit::user::UserMemory,
        task::Task, //
    };
    use TimeLayout::{
        Time32,
        Time64, //
    };

    const SECOND: i64 = 1_000_000_000;

    #[test]
    fn times_of_64_bits() -> Result {
        let memory = UserMemory::new(1)?;
        let time = |seconds: i64, nanos: i64| {
            memory.write(0, &[seconds, nanos])?;
            timeout_from_user(memory.at(0), Time64)
        };

        assert!(time(0, 0)?.is_zero());
        assert!(time(2, 5)? == Timeout::Nanos(2 * SECOND + 5));
        assert!(time(-2, 0)? == Timeout::Nanos(-2 * SECOND));
        assert!(time(0, 3 * SECOND)? == Timeout::Nanos(3 * SECOND));
        assert!(time(i64::MAX, 0)? == Timeout::Never);
        Ok(())
    }

    #[test]
    fn times_of_64_bits_as_c_reads_them() -> Result {
        let memory = UserMemory::new(1)?;

        for seconds in [0, 1, -1, 1 << 32, -1 << 32, i64::MAX] {
            for nanos in [0, 1, -1, SECOND - 1, SECOND, 1 << 32, -1 << 32] {
                let time = Opaque::<bindings::timespec64>::uninit();

                memory.write(0, &[seconds, nanos])?;
                // SAFETY: `time` is valid for writes; any address is checked.
                to_result(unsafe {
                    bindings::get_timespec64(time.get(), memory.at(0).as_const_ptr().cast())
                })?;
                // SAFETY: `get_timespec64()` has succeeded, and so has written `time`.
                let time = unsafe { &*time.get() };
                // SAFETY: There are no requirements.
                let c = unsafe { bindings::ktime_set(time.tv_sec, time.tv_nsec as c_ulong) };

                assert_eq!(time64_to_ktime(seconds, nanos), c);
            }
        }
        Ok(())
    }

    #[test]
    fn times_of_32_bits() -> Result {
        let memory = UserMemory::new(1)?;
        let time = |seconds: i32, nanos: i32| {
            memory.write(0, &[seconds, nanos])?;
            timeout_from_user(memory.at(0), Time32)
        };

        assert!(time(0, 0)?.is_zero());
        assert!(time(2, 5)? == Timeout::Nanos(2 * SECOND + 5));
        assert!(time(-1, 0)? == Timeout::Nanos(-SECOND));
        assert!(time(i32::MAX, 0)? == Timeout::Nanos(i64::from(i32::MAX) * SECOND));
        Ok(())
    }

    #[test]
    fn times_that_are_not_there() -> Result {
        let memory = UserMemory::new(1)?;
        let end = memory.len();

        for (layout, size) in [(Time64, 16), (Time32, 8)] {
            assert!(timeout_from_user(UserPtr::from_addr(0), layout)? == Timeout::Never);
            assert!(timeout_from_user(memory.at(end - size), layout)?.is_zero());
            for ptr in [
                memory.at(end - size + 1),
                UserPtr::from_addr(usize::MAX - 7),
            ] {
                assert_eq!(timeout_from_user(ptr, layout).err(), Some(EFAULT));
            }
        }
        Ok(())
    }

    fn blocked() -> u64 {
        // SAFETY: Only the task itself changes it.
        unsafe { (*Task::current_raw()).blocked.sig[0] as u64 }
    }

    #[test]
    fn masks_are_installed_and_restored() -> Result {
        const MASK: u64 = 1 << 11 | 1 << 40;

        let memory = UserMemory::new(1)?;
        let before = blocked();

        memory.write(64, &MASK)?;
        memory.write(0, &[memory.at(64).as_const_ptr() as usize, 8])?;
        let mask = UserSigmask::from_user(memory.at(0), false)?;

        assert_eq!(blocked(), MASK);
        mask.restore_unless(false);
        assert_eq!(blocked(), before);

        for nothing in [UserPtr::from_addr(0), memory.at(128)] {
            // The size does not matter where there is no mask.
            memory.write(128, &[0usize, 3])?;
            let mask = UserSigmask::from_user(nothing, false)?;

            assert_eq!(blocked(), before);
            mask.restore_unless(false);
        }
        assert_eq!(blocked(), before);
        Ok(())
    }

    #[test]
    fn masks_that_are_wrong() -> Result {
        let memory = UserMemory::new(1)?;
        let before = blocked();
        let error = |mask: usize, size: usize| {
            memory.write(0, &[mask, size])?;
            UserSigmask::from_user(memory.at(0), false).map(|mask| mask.restore_unless(false))
        };
        let good = memory.at(64).as_const_ptr() as usize;

        assert_eq!(error(good, 8), Ok(()));
        for size in [0, 4, 7, 9, usize::MAX] {
            assert_eq!(error(good, size), Err(EINVAL));
        }
        assert_eq!(error(good + memory.len() - 64, 8), Err(EFAULT));
        // Half of the argument is there, then nothing of it.
        for offset in [memory.len() - 8, memory.len()] {
            let mask = UserSigmask::from_user(memory.at(offset), false);

            assert_eq!(mask.err(), Some(EFAULT));
        }
        assert_eq!(blocked(), before);
        Ok(())
    }

    #[cfg(CONFIG_COMPAT)]
    #[test]
    fn masks_of_32_bit_programs() -> Result {
        let memory = UserMemory::new(1)?;
        let before = blocked();

        memory.write(0, &[0u32, 3])?;
        UserSigmask::from_user(memory.at(0), true)?.restore_unless(false);
        memory.write(0, &[1u32 << 20, 7])?;
        assert_eq!(
            UserSigmask::from_user(memory.at(0), true).err(),
            Some(EINVAL)
        );
        assert_eq!(blocked(), before);
        Ok(())
    }
}
