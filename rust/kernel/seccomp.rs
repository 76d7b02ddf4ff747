// SPDX-License-Identifier: GPL-2.0

//! Sandboxes that filter system calls.
//!
//! C header: [`include/linux/seccomp.h`](srctree/include/linux/seccomp.h)

use crate::{
    bindings,
    task::Task, //
};

/// Returns whether not all system calls are open to the current task: it is in strict mode, or has
/// filters.
///
/// Filters are asked at the entry of a system call, and can't be asked about another one. So what
/// stands for another system call, and that is not said to the filters, has to be refused.
///
/// # Examples
///
/// ```
/// // Threads of the kernel are not filtered.
/// assert!(!kernel::seccomp::is_active());
/// ```
#[doc(alias = "seccomp_mode")]
#[inline]
pub fn is_active() -> bool {
    // SAFETY: The current task is valid. Another thread of the process may set the mode at any
    // time; it is one number, which never goes back to 0.
    unsafe { bindings::seccomp_mode(&raw mut (*Task::current_raw()).seccomp) != 0 }
}
