// SPDX-License-Identifier: GPL-2.0

//! What long work in a system call has to ask the scheduler.
//!
//! C header: [`include/linux/sched.h`](srctree/include/linux/sched.h)

use crate::{
    bindings,
    task::Task, //
};

/// Lets other tasks run, if it is time for that.
///
/// Must be called in a context that may sleep.
///
/// # Examples
///
/// ```
/// use kernel::task::{
///     cond_resched,
///     fatal_signal_pending, //
/// };
///
/// /// Does something long, unless the task is killed.
/// fn each(n: usize, mut step: impl FnMut(usize)) -> Result {
///     for i in 0..n {
///         if fatal_signal_pending() {
///             return Err(EINTR);
///         }
///         step(i);
///         cond_resched();
///     }
///     Ok(())
/// }
/// # each(3, |_| ())?;
/// # Ok::<(), Error>(())
/// ```
#[inline]
pub fn cond_resched() {
    // SAFETY: May be called by any task; in a context that may not sleep it would warn.
    unsafe { bindings::cond_resched() };
}

/// Freezes the current task if that is asked for, as in a suspend, until it is thawed.
///
/// Returns whether it was frozen. For loops that wait for something by looking. Must be called in
/// a context that may sleep, without locks.
///
/// C header: [`include/linux/freezer.h`](srctree/include/linux/freezer.h)
#[inline]
pub fn try_to_freeze() -> bool {
    // SAFETY: May be called by any task that may sleep.
    unsafe { bindings::try_to_freeze() }
}

/// Returns whether the current task was killed.
#[inline]
pub fn fatal_signal_pending() -> bool {
    // SAFETY: The current task is valid.
    unsafe { bindings::fatal_signal_pending(Task::current_raw()) != 0 }
}
