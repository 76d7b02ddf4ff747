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

/// A group that had no room for an amount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full {
    /// What is charged to it, and to those below it.
    pub used: u64,
    /// `misc.max` of it.
    pub allowed: u64,
}

#[cfg(CONFIG_CGROUP_MISC)]
impl Full {
    fn room(&self) -> u64 {
        self.allowed.saturating_sub(self.used)
    }

    /// Of a group and those above it, returns the first that has no room for an amount.
    ///
    /// If all have it by now, the one that refused is most likely that with the least.
    fn refuser(groups: impl Iterator<Item = Self>, amount: u64) -> Option<Self> {
        let mut least: Option<Self> = None;

        for group in groups {
            if group.room() < amount {
                return Some(group);
            }
            if least.is_none_or(|least| group.room() < least.room()) {
                least = Some(group);
            }
        }
        least
    }
}

/// An amount was not charged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotCharged {
    error: Error,
    /// The group that has refused it, or seems to have, since by now it may have room again.
    ///
    /// [`None`] if there are no groups.
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
            let full = unsafe { refuser(resource, group, amount) };

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

/// Returns which of a group and those above it has refused an amount.
///
/// # Safety
///
/// `group` must be what `get_current_misc_cg()` has returned, with its reference.
#[cfg(CONFIG_CGROUP_MISC)]
#[cold]
unsafe fn refuser(
    resource: MiscResource,
    group: *mut bindings::misc_cg,
    amount: u64,
) -> Option<Full> {
    let mut css = group.cast::<bindings::cgroup_subsys_state>();

    // The state that all controllers have is what a group of this one begins with.
    const { assert!(core::mem::offset_of!(bindings::misc_cg, css) == 0) };
    let groups = core::iter::from_fn(|| {
        if css.is_null() {
            return None;
        }
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

        // SAFETY: As above; that one does not change.
        css = unsafe { (*css).parent };
        Some(Full {
            used: used as u64,
            allowed,
        })
    });

    Full::refuser(groups, amount)
}

/// The same where there are no groups.
///
/// # Safety
///
/// There are no requirements.
#[cfg(not(CONFIG_CGROUP_MISC))]
unsafe fn refuser(_: MiscResource, _: *mut bindings::misc_cg, _: u64) -> Option<Full> {
    None
}

#[cfg(CONFIG_CGROUP_MISC)]
#[macros::kunit_tests(rust_kernel_misc_cgroup)]
mod tests {
    use super::*;

    fn refuser(groups: &[(u64, u64)], amount: u64) -> Option<(u64, u64)> {
        let groups = groups.iter().map(|&(used, allowed)| Full { used, allowed });

        Full::refuser(groups, amount).map(|full| (full.used, full.allowed))
    }

    #[test]
    fn which_group_has_refused() {
        let max = u64::MAX;

        // The first one that has no room, as the C code asks them.
        assert_eq!(refuser(&[(1, max), (9, 10), (10, 10)], 2), Some((9, 10)));
        // The limit may have become less than what is used.
        assert_eq!(refuser(&[(5, 0), (5, max)], 1), Some((5, 0)));
        // There is room again.
        assert_eq!(refuser(&[(0, 10), (6, 10), (6, max)], 4), Some((6, 10)));
        assert_eq!(refuser(&[(0, max)], 4), Some((0, max)));
        assert_eq!(refuser(&[], 4), None);
    }
}
