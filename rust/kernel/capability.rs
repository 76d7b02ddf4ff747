// SPDX-License-Identifier: GPL-2.0

//! What privileged tasks may do.
//!
//! C header: [`include/linux/capability.h`](srctree/include/linux/capability.h)

use crate::bindings;

/// Something that a privileged task may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capability(u32);

impl Capability {
    /// To lock memory beyond `RLIMIT_MEMLOCK`.
    #[doc(alias = "CAP_IPC_LOCK")]
    pub const IPC_LOCK: Self = Self(bindings::CAP_IPC_LOCK);
}

/// Returns whether the current task has a capability in the initial user namespace.
///
/// May sleep. If it has, the task is marked to have used it; if not, this may be audited: so ask
/// only when the answer matters.
///
/// # Examples
///
/// ```
/// use kernel::capability::{
///     capable,
///     Capability, //
/// };
///
/// // Tasks of the kernel have all.
/// assert!(capable(Capability::IPC_LOCK));
/// ```
pub fn capable(capability: Capability) -> bool {
    // SAFETY: May be called by any task, and the number is that of a capability.
    unsafe { bindings::capable(capability.0 as i32) }
}
