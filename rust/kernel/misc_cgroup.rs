// SPDX-License-Identifier: GPL-2.0

//! The `misc` controller of control groups: limits on countable resources.
//!
//! An administrator limits a resource for a control group and those below it in `misc.max`, and
//! sees in `misc.current` how much of it is used. Without `CONFIG_CGROUP_MISC` nothing is counted,
//! and everything is allowed.
//!
//! C header: [`include/linux/misc_cgroup.h`](srctree/include/linux/misc_cgroup.h)

#[cfg(CONFIG_CGROUP_MISC)]
use crate::sync::atomic::{
    Atomic,
    Relaxed, //
};
use crate::{
    bindings,
    error::{
        to_result,
        Error,
        Result, //
    },
};

/// A resource of the `misc` controller.
#[derive(Clone, Copy)]
pub struct MiscResource(bindings::misc_res_type);

impl MiscResource {
    /// `aio`: the events that AIO contexts were asked to have room for.
    #[cfg(CONFIG_AIO_RUST)]
    pub const AIO: Self = Self(bindings::misc_res_type_MISC_CG_RES_AIO);

    /// Sets how much there is of the resource in the whole system.
    ///
    /// With 0, which is the value at boot, nothing can be charged, and the files of the controller
    /// do not show the resource. May be called in any context.
    ///
    /// # Errors
    ///
    /// `EINVAL` if there is no such resource.
    #[doc(alias = "misc_cg_set_capacity")]
    pub fn set_capacity(self, capacity: u64) -> Result {
        // SAFETY: The function may be called with any arguments.
        to_result(unsafe { bindings::misc_cg_set_capacity(self.0, capacity) })
    }
}

/// A group that has no room for an amount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full {
    /// What is charged to it, and to those below it.
    pub used: u64,
    /// `misc.max` of it.
    pub allowed: u64,
}

/// An amount was not charged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotCharged {
    error: Error,
    /// The group that has refused it, if that can be told: by now it may have room.
    pub full: Option<Full>,
}

impl From<NotCharged> for Error {
    fn from(refusal: NotCharged) -> Self {
        refusal.error
    }
}

/// An amount of a resource that is charged to a control group.
///
/// It is given back, to the group that was charged, when it is dropped. Until then the group's
/// memory stays, even if the group is removed.
///
/// # Invariants
///
/// `group` is what `get_current_misc_cg()` has returned; its reference belongs to this value, and
/// `amount` of `resource` is charged to it for this value.
///
/// # Examples
///
/// ```
/// # #[cfg(CONFIG_AIO_RUST)]
/// # {
/// use kernel::misc_cgroup::{MiscCharge, MiscResource};
///
/// // Charged to the control group of the current task for as long as `charge` lives.
/// let charge = MiscCharge::try_new(MiscResource::AIO, 32)?;
/// drop(charge);
/// # }
/// # Ok::<(), Error>(())
/// ```
#[must_use = "the amount is given back when it is dropped"]
pub struct MiscCharge {
    resource: MiscResource,
    group: *mut bindings::misc_cg,
    amount: u64,
}

// SAFETY: A charge may be cancelled by any task.
unsafe impl Send for MiscCharge {}

// SAFETY: There is nothing that can be done with a shared reference.
unsafe impl Sync for MiscCharge {}

impl MiscCharge {
    /// Charges an amount to the control group of the current task, and to those above it.
    ///
    /// Must be called in process context; does not sleep.
    ///
    /// # Errors
    ///
    /// `EBUSY` if that would be above the limit of one of the groups, which is counted in its
    /// `misc.events`; `EINVAL` if the resource has no capacity.
    #[doc(alias = "misc_cg_try_charge")]
    pub fn try_new(resource: MiscResource, amount: u64) -> Result<Self, NotCharged> {
        // SAFETY: The current task belongs to a control group.
        let group = unsafe { bindings::get_current_misc_cg() };

        // SAFETY: The reference that was just taken keeps the group.
        let charged = to_result(unsafe { bindings::misc_cg_try_charge(resource.0, group, amount) });

        if let Err(error) = charged {
            // SAFETY: The reference that was taken above keeps the group.
            let full = unsafe { first_full(resource, group, amount) };

            // SAFETY: The reference was taken above, and is not used any longer.
            unsafe { bindings::put_misc_cg(group) };
            return Err(NotCharged { error, full });
        }
        // INVARIANT: The amount was just charged to the group, whose reference was taken above.
        Ok(Self {
            resource,
            group,
            amount,
        })
    }
}

impl Drop for MiscCharge {
    fn drop(&mut self) {
        // SAFETY: By the type invariants, this amount is charged to the group, which is valid.
        unsafe { bindings::misc_cg_uncharge(self.resource.0, self.group, self.amount) };
        // SAFETY: By the type invariants, the reference belongs to this value, which ends here.
        unsafe { bindings::put_misc_cg(self.group) };
    }
}

/// Returns the first of a group and those above it that has no room for an amount.
///
/// # Safety
///
/// `group` must be what `get_current_misc_cg()` has returned, with its reference.
#[cfg(CONFIG_CGROUP_MISC)]
#[cold]
unsafe fn first_full(
    resource: MiscResource,
    group: *mut bindings::misc_cg,
    amount: u64,
) -> Option<Full> {
    let mut css = group.cast::<bindings::cgroup_subsys_state>();

    // The state that all controllers have is what a group of this one begins with.
    const { assert!(core::mem::offset_of!(bindings::misc_cg, css) == 0) };
    while !css.is_null() {
        let group = css.cast::<bindings::misc_cg>();
        // SAFETY: It is the group of the caller or one above it, which lives as long as that.
        let res = unsafe { &raw mut (*group).res }.cast::<bindings::misc_res>();
        // SAFETY: `resource` is one of those that the array is for; a kernel that has none has no
        // array, and nobody who has a `MiscResource`.
        let res = unsafe { res.add(resource.0 as usize) };
        // SAFETY: As above. It is changed by atomic operations only.
        let used = unsafe { Atomic::<i64>::from_ptr(&raw mut (*res).usage.counter) }.load(Relaxed);
        // SAFETY: As above. It is written in one piece.
        let allowed = unsafe { Atomic::<u64>::from_ptr(&raw mut (*res).max) }.load(Relaxed);
        let used = used as u64;

        if used.saturating_add(amount) > allowed {
            return Some(Full { used, allowed });
        }
        // SAFETY: As above; that one does not change.
        css = unsafe { (*css).parent };
    }
    None
}

/// The same where there are no groups.
///
/// # Safety
///
/// There are no requirements.
#[cfg(not(CONFIG_CGROUP_MISC))]
unsafe fn first_full(_: MiscResource, _: *mut bindings::misc_cg, _: u64) -> Option<Full> {
    None
}
