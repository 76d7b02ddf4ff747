// SPDX-License-Identifier: GPL-2.0

//! Locked memory: pages that an address space keeps in memory, and `RLIMIT_MEMLOCK`.
//!
//! What is charged here is the `VmLck` of `/proc/PID/status`, together with what was locked by
//! `mlock(2)`: both count against the limit for either.
//!
//! C source: [`mm/util.c`](srctree/mm/util.c)

use crate::{
    bindings,
    capability::{
        capable,
        Capability, //
    },
    mm::{
        mmap_write::MmapWriteGuard,
        Mm, //
    },
    page::PAGE_SHIFT,
    prelude::*,
    sync::aref::ARef,
    types::ScopeGuard, //
};

/// What a charge is checked against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// `RLIMIT_MEMLOCK` of the current task, unless it has `CAP_IPC_LOCK`.
    ///
    /// The capability is asked for only if the limit would be exceeded. It is wanted in the initial
    /// user namespace, as `mlock(2)` wants it: the memory is the machine's, not the namespace's.
    Rlimit,
    /// Nothing: the pages are only counted.
    None,
}

/// A charge was refused. All numbers are in pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exceeded {
    /// What should have been charged.
    pub asked: usize,
    /// What the address space had locked already.
    pub locked: usize,
    /// What it may have locked.
    pub limit: usize,
}

/// Why pages were not charged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChargeError {
    /// That would be above the limit.
    Exceeded(Exceeded),
    /// The current task was killed while it waited for the mmap lock.
    Killed,
}

impl From<Exceeded> for ChargeError {
    fn from(exceeded: Exceeded) -> Self {
        Self::Exceeded(exceeded)
    }
}

/// A number of pages that are charged to the locked memory of an address space.
///
/// They are given back when it is dropped, which may sleep, and takes the mmap lock for writing.
///
/// # Invariants
///
/// `nr_pages` are counted in the `locked_vm` of `mm` for this value.
///
/// # Examples
///
/// ```
/// use kernel::mm::{
///     locked_vm::{
///         ChargeError,
///         Limit,
///         LockedVm, //
///     },
///     Mm, //
/// };
///
/// /// Charges 16 pages; they are given back when the value is dropped.
/// fn charge(mm: &Mm) -> Result<LockedVm> {
///     LockedVm::charge(mm, 16, Limit::Rlimit).map_err(|error| match error {
///         ChargeError::Exceeded(_) => EAGAIN,
///         ChargeError::Killed => EINTR,
///     })
/// }
/// ```
#[must_use = "the pages are given back when it is dropped"]
pub struct LockedVm {
    mm: ARef<Mm>,
    nr_pages: usize,
}

/// Returns how many pages are locked with these.
///
/// `limit` is in pages; there is none with `None`, but the number of pages can't overflow.
fn add(locked: usize, nr_pages: usize, limit: Option<usize>) -> Result<usize, Exceeded> {
    let limit = limit.unwrap_or(usize::MAX);

    locked
        .checked_add(nr_pages)
        .filter(|&sum| sum <= limit)
        .ok_or(Exceeded {
            asked: nr_pages,
            locked,
            limit,
        })
}

/// Returns `RLIMIT_MEMLOCK` of the current task, in bytes.
fn rlimit_memlock() -> usize {
    // SAFETY: May be called by any task.
    unsafe { bindings::rlimit(bindings::RLIMIT_MEMLOCK) }
}

impl LockedVm {
    /// Charges pages that are about to be allocated for an address space.
    ///
    /// May sleep, and takes the mmap lock for writing.
    ///
    /// # Errors
    ///
    /// See [`ChargeError`]. Nothing is charged then.
    #[doc(alias = "account_locked_vm")]
    pub fn charge(mm: &Mm, nr_pages: usize, limit: Limit) -> Result<Self, ChargeError> {
        let limit = match limit {
            Limit::Rlimit => Some(rlimit_memlock() >> PAGE_SHIFT),
            Limit::None => None,
        };

        match Self::charge_up_to(mm, nr_pages, limit) {
            // What does not fit in the number is above any limit.
            Err(ChargeError::Exceeded(_)) if limit.is_some() && capable(Capability::IPC_LOCK) => {
                Self::charge_up_to(mm, nr_pages, None)
            }
            result => result,
        }
    }

    fn charge_up_to(mm: &Mm, nr_pages: usize, limit: Option<usize>) -> Result<Self, ChargeError> {
        let mmap = MmapWriteGuard::lock_killable(mm).map_err(|_| ChargeError::Killed)?;

        add(mmap.locked_vm(), nr_pages, limit)?;
        mmap.account_locked_vm(nr_pages, true);
        // INVARIANT: They were just counted.
        Ok(Self {
            mm: mm.into(),
            nr_pages,
        })
    }

    /// Changes how many pages are charged.
    ///
    /// May sleep, and takes the mmap lock for writing.
    ///
    /// # Errors
    ///
    /// See [`ChargeError`]. The charge stays what it was then.
    pub fn resize(&mut self, nr_pages: usize, limit: Limit) -> Result<(), ChargeError> {
        match nr_pages.checked_sub(self.nr_pages) {
            Some(0) => {}
            Some(more) => {
                let mut more = Self::charge(&self.mm, more, limit)?;

                // INVARIANT: The pages go from the one to the other.
                self.nr_pages += core::mem::take(&mut more.nr_pages);
            }
            None => {
                let less = self.nr_pages - nr_pages;

                MmapWriteGuard::lock(&self.mm).account_locked_vm(less, false);
                // INVARIANT: They were just given back.
                self.nr_pages = nr_pages;
            }
        }
        Ok(())
    }

    /// Returns how many pages are charged.
    pub fn nr_pages(&self) -> usize {
        self.nr_pages
    }

    /// Calls `f`, for which these pages are not counted.
    ///
    /// To be used around something that counts the same pages against the limit by itself. Nobody
    /// else can take their place meanwhile, since the lock is held.
    pub fn uncounted<R>(&self, mmap: &MmapWriteGuard<'_>, f: impl FnOnce() -> R) -> R {
        if !core::ptr::eq(mmap.mm().as_raw(), self.mm.as_raw()) {
            return f();
        }

        mmap.account_locked_vm(self.nr_pages, false);
        // INVARIANT: They are counted again before anybody can look.
        let _count = ScopeGuard::new(|| mmap.account_locked_vm(self.nr_pages, true));

        f()
    }
}

impl Drop for LockedVm {
    fn drop(&mut self) {
        // By the type invariants, they are counted.
        MmapWriteGuard::lock(&self.mm).account_locked_vm(self.nr_pages, false);
    }
}

#[kunit_tests(rust_mm_locked_vm)]
mod tests {
    use super::*;
    use crate::mm::MmWithUser;
    use core::ptr::NonNull;

    const INFINITY: usize = usize::MAX >> PAGE_SHIFT;

    fn exceeded(asked: usize, locked: usize, limit: usize) -> Result<usize, Exceeded> {
        Err(Exceeded {
            asked,
            locked,
            limit,
        })
    }

    #[test]
    fn limit_met_exactly() {
        assert_eq!(add(0, 16, Some(16)), Ok(16));
        assert_eq!(add(15, 1, Some(16)), Ok(16));
        assert_eq!(add(16, 0, Some(16)), Ok(16));
        assert_eq!(add(0, 17, Some(16)), exceeded(17, 0, 16));
        assert_eq!(add(16, 1, Some(16)), exceeded(1, 16, 16));
        assert_eq!(add(0, 1, Some(0)), exceeded(1, 0, 0));
    }

    #[test]
    fn limit_lowered_below_what_is_charged() {
        assert_eq!(add(20, 1, Some(16)), exceeded(1, 20, 16));
        assert_eq!(add(20, 0, Some(16)), exceeded(0, 20, 16));
        assert_eq!(add(20, usize::MAX, Some(16)), exceeded(usize::MAX, 20, 16));
    }

    #[test]
    fn no_limit() {
        assert_eq!(add(0, INFINITY, Some(INFINITY)), Ok(INFINITY));
        assert_eq!(
            add(INFINITY, 1, Some(INFINITY)),
            exceeded(1, INFINITY, INFINITY)
        );
        assert_eq!(add(INFINITY, 1, None), Ok(INFINITY + 1));
    }

    #[test]
    fn overflow() {
        assert_eq!(add(0, usize::MAX, None), Ok(usize::MAX));
        assert_eq!(
            add(1, usize::MAX, None),
            exceeded(usize::MAX, 1, usize::MAX)
        );
        assert_eq!(
            add(usize::MAX, 1, None),
            exceeded(1, usize::MAX, usize::MAX)
        );
        assert_eq!(
            add(1, usize::MAX, Some(INFINITY)),
            exceeded(usize::MAX, 1, INFINITY)
        );
    }

    /// An address space of no process.
    fn new_mm() -> Result<ARef<MmWithUser>> {
        // SAFETY: May be called by any task.
        let mm = NonNull::new(unsafe { bindings::mm_alloc() }).ok_or(ENOMEM)?;

        // SAFETY: It is new, and ours.
        Ok(unsafe { ARef::from_raw(mm.cast()) })
    }

    fn locked_vm(mm: &Mm) -> usize {
        MmapWriteGuard::lock(mm).locked_vm()
    }

    #[test]
    fn charges_change() -> Result {
        let mm = new_mm()?;
        let mut charge = LockedVm::charge_up_to(&mm, 10, None).map_err(|_| EINVAL)?;

        for nr_pages in [10, 16, 0, 3] {
            assert_eq!(charge.resize(nr_pages, Limit::None), Ok(()));
            assert_eq!(charge.nr_pages(), nr_pages);
            assert_eq!(locked_vm(&mm), nr_pages);
        }
        assert!(charge.resize(usize::MAX, Limit::None).is_ok());
        assert!(charge.resize(3, Limit::None).is_ok());
        let other = LockedVm::charge_up_to(&mm, 1, None).map_err(|_| EINVAL)?;

        // The sum does not fit.
        assert!(charge.resize(usize::MAX, Limit::None).is_err());
        assert_eq!((charge.nr_pages(), locked_vm(&mm)), (3, 4));
        drop(charge);
        assert_eq!(locked_vm(&mm), 1);
        drop(other);
        Ok(())
    }

    #[test]
    fn charges_are_counted_and_given_back() -> Result {
        let mm = new_mm()?;
        let first = LockedVm::charge_up_to(&mm, 10, Some(16)).map_err(|_| EINVAL)?;
        let second = LockedVm::charge_up_to(&mm, 6, Some(16)).map_err(|_| EINVAL)?;

        assert_eq!(first.nr_pages(), 10);
        assert_eq!(locked_vm(&mm), 16);
        assert_eq!(
            LockedVm::charge_up_to(&mm, 1, Some(16)).err(),
            exceeded(1, 16, 16).err().map(ChargeError::from)
        );
        assert_eq!(locked_vm(&mm), 16);
        drop(first);
        assert_eq!(locked_vm(&mm), 6);
        // The limit was lowered.
        assert!(LockedVm::charge_up_to(&mm, 1, Some(6)).is_err());
        assert!(LockedVm::charge_up_to(&mm, 0, Some(5)).is_err());
        assert_eq!(locked_vm(&mm), 6);
        drop(second);
        assert_eq!(locked_vm(&mm), 0);
        Ok(())
    }

    #[test]
    fn uncounted_for_a_while() -> Result {
        let (mm, other) = (new_mm()?, new_mm()?);
        let charge = LockedVm::charge(&mm, 5, Limit::None).map_err(|_| EINVAL)?;

        {
            let mmap = MmapWriteGuard::lock(&mm);

            assert_eq!(charge.uncounted(&mmap, || mmap.locked_vm()), 0);
            assert_eq!(mmap.locked_vm(), 5);
        }
        {
            let mmap = MmapWriteGuard::lock(&other);

            assert_eq!(charge.uncounted(&mmap, || mmap.locked_vm()), 0);
        }
        assert_eq!(locked_vm(&mm), 5);
        assert_eq!(locked_vm(&other), 0);
        Ok(())
    }

    #[test]
    fn capable_tasks_are_counted_too() -> Result {
        let mm = new_mm()?;
        // The test's task is one of the kernel's, which have all capabilities.
        let above = (rlimit_memlock() >> PAGE_SHIFT).saturating_add(1);
        let charge = LockedVm::charge(&mm, above, Limit::Rlimit).map_err(|_| EINVAL)?;

        assert_eq!(locked_vm(&mm), above);
        // Nobody can lock more than a number can say.
        assert!(LockedVm::charge(&mm, usize::MAX, Limit::Rlimit).is_err());
        assert!(LockedVm::charge(&mm, usize::MAX, Limit::None).is_err());
        drop(charge);
        assert_eq!(locked_vm(&mm), 0);
        Ok(())
    }

    #[test]
    fn a_charge_may_outlive_the_users() -> Result {
        let mm = new_mm()?;
        let charge = LockedVm::charge(&mm, 3, Limit::None).map_err(|_| EINVAL)?;
        let without_users: ARef<Mm> = (&**mm).into();

        drop(mm);
        assert_eq!(locked_vm(&without_users), 3);
        drop(charge);
        assert_eq!(locked_vm(&without_users), 0);
        Ok(())
    }
}
