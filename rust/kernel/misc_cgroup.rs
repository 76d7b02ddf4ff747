// SPDX-License-Identifier: GPL-2.0

//! The `misc` controller of control groups: limits on countable resources.
//!
//! An administrator limits a resource for a control group and those below it in `misc.max`, and
//! sees in `misc.current` how much of it is used. Without `CONFIG_CGROUP_MISC` nothing is counted,
//! and everything is allowed.
//!
//! C header: [`include/linux/misc_cgroup.h`](srctree/include/linux/misc_cgroup.h)

use crate::{
    bindings,
    error::{
        to_result,
        Result, //
    }, //
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
    pub fn try_new(resource: MiscResource, amount: u64) -> Result<Self> {
        // SAFETY: The current task belongs to a control group.
        let group = unsafe { bindings::get_current_misc_cg() };

        // SAFETY: The reference that was just taken keeps the group.
        let charged = to_result(unsafe { bindings::misc_cg_try_charge(resource.0, group, amount) });

        if let Err(error) = charged {
            // SAFETY: The reference was taken above, and is not used any longer.
            unsafe { bindings::put_misc_cg(group) };
            return Err(error);
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
