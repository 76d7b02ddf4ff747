// SPDX-License-Identifier: GPL-2.0

//! The names of tasks.

use super::Task;
use crate::{
    bindings,
    fmt,
    str::BStr, //
};

const LEN: usize = bindings::TASK_COMM_LEN as usize;

/// The name that a task had when it was asked for: that of its program, or one it has taken.
///
/// Displayed with everything escaped that is not printable, since the task may have chosen any
/// bytes.
///
/// C header: [`include/linux/sched.h`](srctree/include/linux/sched.h)
///
/// # Examples
///
/// ```
/// use kernel::task::Comm;
///
/// let comm = Comm::of(current!());
/// assert!(!comm.as_bytes().is_empty() && comm.as_bytes().len() < 16);
/// pr_info!("this is {comm}\n");
/// ```
#[derive(Clone, Copy)]
pub struct Comm([u8; LEN]);

impl Comm {
    /// Returns the name of a task.
    ///
    /// May be called in any context. The name may change at the same time; then it is a mixture.
    #[doc(alias = "get_task_comm")]
    pub fn of(task: &Task) -> Self {
        let mut name = [0u8; LEN];

        // SAFETY: The task is valid, and there is room for the name.
        unsafe { bindings::get_task_comm((&raw mut name).cast(), task.as_ptr()) };
        Self(name)
    }

    /// Returns the bytes of the name.
    pub fn as_bytes(&self) -> &[u8] {
        let len = self.0.iter().position(|&c| c == 0).unwrap_or(LEN);

        &self.0[..len]
    }
}

impl fmt::Display for Comm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(BStr::from_bytes(self.as_bytes()), f)
    }
}
