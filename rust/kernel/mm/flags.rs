// SPDX-License-Identifier: GPL-2.0

//! Flags of address spaces.
//!
//! C header: [`include/linux/mm_types.h`](srctree/include/linux/mm_types.h)

use crate::{
    bindings,
    mm::Mm, //
};
use core::ffi::c_int;

/// A flag of an address space, which is clear in a new one, and after `fork(2)`.
///
/// # Examples
///
/// ```
/// use kernel::mm::{
///     flags::MmFlag,
///     Mm, //
/// };
///
/// /// Says something once for each address space.
/// fn warn_once(mm: &Mm) {
///     // Most calls find it set, and write nothing.
///     if !MmFlag::AIO_MEMLOCK.test(mm) && !MmFlag::AIO_MEMLOCK.test_and_set(mm) {
///         pr_warn!("more memory is locked than RLIMIT_MEMLOCK allows\n");
///     }
/// }
/// ```
#[derive(Clone, Copy)]
pub struct MmFlag(c_int);

impl MmFlag {
    /// `MMF_AIO_MEMLOCK`: AIO has let the process exceed `RLIMIT_MEMLOCK`, and has said so.
    pub const AIO_MEMLOCK: Self = Self(bindings::MMF_AIO_MEMLOCK as c_int);

    /// Returns whether the flag is set.
    ///
    /// May be called in any context.
    #[doc(alias = "mm_flags_test")]
    pub fn test(self, mm: &Mm) -> bool {
        // SAFETY: The address space is valid, and the number is that of a flag.
        unsafe { bindings::mm_flags_test(self.0, mm.as_raw()) }
    }

    /// Sets the flag, and returns whether it was set before.
    ///
    /// May be called in any context.
    #[doc(alias = "mm_flags_test_and_set")]
    pub fn test_and_set(self, mm: &Mm) -> bool {
        // SAFETY: The address space is valid, and the number is that of a flag.
        unsafe { bindings::mm_flags_test_and_set(self.0, mm.as_raw()) }
    }
}
