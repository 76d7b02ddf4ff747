// SPDX-License-Identifier: GPL-2.0

//! The mmap lock, held for writing.
//!
//! The guards in `mm.rs` are for reading, and lead to VMAs of an address space that has users
//! ([`MmWithUser`](crate::mm::MmWithUser)). This one leads to none, and takes an [`Mm`], since what
//! was counted as locked is also given back when there are no users any longer.
//!
//! C header: [`include/linux/mmap_lock.h`](srctree/include/linux/mmap_lock.h)

use crate::{
    bindings,
    error::to_result,
    mm::Mm,
    prelude::*,
    task::Task,
    types::NotThreadSafe, //
};

/// A guard for the mmap write lock.
///
/// # Invariants
///
/// This guard owns the lock.
///
/// # Examples
///
/// ```
/// use kernel::mm::{
///     mmap_write::MmapWriteGuard,
///     Mm, //
/// };
///
/// /// How much is locked, when nobody can change it.
/// fn locked(mm: &Mm) -> Result<usize> {
///     let guard = MmapWriteGuard::lock_killable(mm)?;
///
///     Ok(guard.locked_vm())
/// }
/// ```
#[must_use = "the lock unlocks immediately when the guard is unused"]
pub struct MmapWriteGuard<'a> {
    mm: &'a Mm,
    // It must be unlocked by the task that locked it.
    _nts: NotThreadSafe,
}

impl<'a> MmapWriteGuard<'a> {
    /// Takes the mmap write lock of an address space, which need not have users any longer.
    ///
    /// May sleep.
    #[doc(alias = "mmap_write_lock")]
    pub fn lock(mm: &'a Mm) -> Self {
        // SAFETY: The address space is valid.
        unsafe { bindings::mmap_write_lock(mm.as_raw()) };
        // INVARIANT: It was just locked.
        Self {
            mm,
            _nts: NotThreadSafe,
        }
    }

    /// Takes the mmap write lock of an address space unless the current task is killed meanwhile.
    ///
    /// May sleep.
    ///
    /// # Errors
    ///
    /// `EINTR`.
    #[doc(alias = "mmap_write_lock_killable")]
    pub fn lock_killable(mm: &'a Mm) -> Result<Self> {
        // SAFETY: The address space is valid.
        to_result(unsafe { bindings::mmap_write_lock_killable(mm.as_raw()) })?;
        // INVARIANT: It was just locked.
        Ok(Self {
            mm,
            _nts: NotThreadSafe,
        })
    }

    /// Returns the address space.
    pub fn mm(&self) -> &'a Mm {
        self.mm
    }

    /// Returns how many pages of the address space are locked: `VmLck`.
    pub fn locked_vm(&self) -> usize {
        // SAFETY: By the type invariants, nobody changes the number.
        unsafe { (*self.mm.as_raw()).__bindgen_anon_1.locked_vm }
    }

    /// Counts pages as locked, or no longer.
    ///
    /// Limits are up to the caller, as is that no more are taken away than were added.
    #[doc(alias = "__account_locked_vm")]
    pub fn account_locked_vm(&self, nr_pages: usize, more: bool) {
        let (mm, task) = (self.mm.as_raw(), Task::current_raw());

        // SAFETY: The lock is held, and the current task is valid. Without a check against a limit
        // it does not fail.
        unsafe { bindings::__account_locked_vm(mm, nr_pages, more, task, true) };
    }
}

impl Drop for MmapWriteGuard<'_> {
    fn drop(&mut self) {
        // SAFETY: By the type invariants the current task holds the lock, which belongs to this
        // value.
        unsafe { bindings::mmap_write_unlock(self.mm.as_raw()) };
    }
}

#[kunit_tests(rust_mm_mmap_write)]
mod tests {
    use super::*;
    use crate::kunit::user::UserMemory;

    #[test]
    fn nobody_else_has_the_lock() -> Result {
        let _memory = UserMemory::new(1)?;
        let task = current!();
        let mm = task.mm().ok_or(EINVAL)?;

        for killable in [false, true] {
            let guard = match killable {
                false => MmapWriteGuard::lock(mm),
                true => MmapWriteGuard::lock_killable(mm)?,
            };

            assert!(core::ptr::eq::<Mm>(guard.mm(), &**mm));
            assert!(mm.mmap_read_trylock().is_none());
            drop(guard);
            assert!(mm.mmap_read_trylock().is_some());
        }
        Ok(())
    }

    #[test]
    fn locked_pages_are_counted() -> Result {
        let _memory = UserMemory::new(1)?;
        let task = current!();
        let guard = MmapWriteGuard::lock(task.mm().ok_or(EINVAL)?);

        assert_eq!(guard.locked_vm(), 0);
        guard.account_locked_vm(7, true);
        assert_eq!(guard.locked_vm(), 7);
        guard.account_locked_vm(3, false);
        assert_eq!(guard.locked_vm(), 4);
        guard.account_locked_vm(4, false);
        assert_eq!(guard.locked_vm(), 0);
        Ok(())
    }
}
