// SPDX-License-Identifier: GPL-2.0

//! Acting with the credentials of somebody else.
//!
//! C header: [`include/linux/cred.h`](srctree/include/linux/cred.h)

use crate::{
    bindings,
    cred::Credential,
    error::{
        code::ENOMEM,
        Result, //
    },
    sync::aref::ARef,
    types::ScopeGuard, //
};
use core::ptr::NonNull;

/// Returns a copy of the credentials of the current task.
///
/// May sleep.
///
/// # Errors
///
/// `ENOMEM`.
///
/// # Examples
///
/// ```
/// use kernel::creds;
///
/// let creds = creds::prepare()?;
/// let euid = creds::with(&creds, || kernel::task::Kuid::current_euid());
/// assert!(euid == creds.euid());
/// # Ok::<(), Error>(())
/// ```
#[doc(alias = "prepare_creds")]
pub fn prepare() -> Result<ARef<Credential>> {
    // SAFETY: May be called by any task.
    let creds = NonNull::new(unsafe { bindings::prepare_creds() }).ok_or(ENOMEM)?;

    // SAFETY: The reference is new, and ours.
    Ok(unsafe { ARef::from_raw(creds.cast()) })
}

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
/// use kernel::creds::{capable, Capability};
///
/// // Tasks of the kernel have all.
/// assert!(capable(Capability::IPC_LOCK));
/// ```
pub fn capable(capability: Capability) -> bool {
    // SAFETY: May be called by any task.
    unsafe { bindings::capable(capability.0 as i32) }
}

/// Calls `f` with these credentials in the place of those of the current task.
#[doc(alias = "scoped_with_creds")]
pub fn with<R>(creds: &Credential, f: impl FnOnce() -> R) -> R {
    // SAFETY: The credentials are valid for the call of `f`, after which they are replaced.
    let old = unsafe { bindings::override_creds(creds.as_ptr()) };
    let _restore = ScopeGuard::new(|| {
        // SAFETY: These are the credentials of before, whose reference is still the task's.
        unsafe { bindings::revert_creds(old) };
    });

    f()
}
