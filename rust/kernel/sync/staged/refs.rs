// SPDX-License-Identifier: GPL-2.0

//! The kinds of references to an object.

use super::{
    count::PercpuRef,
    EndedWork,
    Staged,
    StagedInner, //
};
use crate::{
    bindings,
    error::Error,
    percpu::PerCpuCount,
    prelude::*,
    slab::SlabSlot,
    sync::{
        ReadSection,
        ReadSide, //
    },
    types::{
        NotThreadSafe,
        Opaque, //
    },
};
use core::{
    ffi::c_void,
    marker::PhantomData,
    mem::ManuallyDrop,
    ops::Deref,
    ptr::NonNull, //
};

/// The right to end an object: its first and unique reference.
///
/// Stays with the task that has made the object, as do the users that it hands out, until it is
/// given to a table.
///
/// # Invariants
///
/// `ptr` points to an initialised object. Neither of its stages has ended, and nobody but this
/// value will end them.
#[must_use = "an object whose owner is forgotten is never freed"]
pub struct StagedOwner<T: Staged> {
    pub(super) ptr: NonNull<StagedInner<T>>,
    pub(super) _p: PhantomData<T>,
}

impl<T: Staged> StagedOwner<T> {
    /// Allocates an object and constructs it in place, with the initialiser that `init` returns.
    ///
    /// The object keeps what `init` gets, see [`Staged::with_ended()`]. May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, or what the initialiser returns; whatever the initialiser holds is dropped then.
    pub fn new<E, I: PinInit<T, E>>(init: impl FnOnce(EndedWork<T>) -> I) -> Result<Self>
    where
        Error: From<E>,
    {
        let slot = SlabSlot::<T::Backing>::alloc(GFP_KERNEL)?;
        let ptr = slot.as_ptr_for::<StagedInner<T>>();
        // INVARIANT: There is no reference yet.
        let init = init(EndedWork {
            object: ptr,
            count: 0,
            goal: None,
        });

        let init = try_pin_init!(StagedInner {
            users <- PercpuRef::new(StagedInner::<T>::users_release),
            started: PerCpuCount::new()?,
            free_work: Opaque::uninit(),
            node <- Opaque::ffi_init(|slot| {
                // SAFETY: `slot` is valid for writes.
                unsafe { bindings::INIT_LIST_HEAD(slot) }
            }),
            data <- init,
        }? Error);

        // SAFETY: The slot is large enough, aligned, and ours. It stays where it is.
        unsafe { pin_init::raw_try_init(ptr.as_ptr(), init) }?;

        // SAFETY: The object was just initialised; `StagedInner::free()` removes it.
        if let Err(e) = unsafe { T::ALL.add(ptr) } {
            // SAFETY: Nobody knows it. The memory goes with the slot.
            unsafe { core::ptr::drop_in_place(ptr.as_ptr()) };
            return Err(e);
        }
        core::mem::forget(slot);

        // INVARIANT: The object was just initialised.
        Ok(Self {
            ptr,
            _p: PhantomData,
        })
    }

    /// Returns a new user of the object.
    #[inline]
    pub(crate) fn user(&self) -> StagedUser<T> {
        // SAFETY: By the type invariants the object is alive and its first stage has not ended.
        unsafe { self.counts().users.get() };

        // INVARIANT: The reference was just taken.
        StagedUser {
            ptr: self.ptr,
            _not_send: NotThreadSafe,
        }
    }

    /// Begins the end: no new [`StagedUser`] can be made, and as soon as the last one is dropped
    /// [`Staged::users_gone()`] is called, though not before an RCU grace period has passed.
    ///
    /// Does not wait for anything. May be called in any context.
    #[inline]
    pub fn shutdown(self) {}

    /// Begins the end of an object that only the caller can still look up or use.
    ///
    /// As [`shutdown()`](Self::shutdown), but if there is no [`StagedUser`] the first stage ends at
    /// once, without a grace period.
    ///
    /// # Safety
    ///
    /// Nobody but the current task may become a user of the object, with what it has found before,
    /// and all its users must belong to the current task.
    pub(crate) unsafe fn shutdown_alone(self) {
        let users = &self.counts().users;

        // The users that there were are seen to be gone: nobody takes or drops a reference now, by
        // the requirements of this function.
        if users.is_unused() {
            // The count is not used any longer; it is freed with the object.
            //
            // SAFETY: `is_unused()` has seen that there is no reference but the initial one, and by
            // the requirements of this function nobody else takes one. What the current task has
            // found leads to no user any longer.
            unsafe { users.abandon() };

            let ptr = ManuallyDrop::new(self).ptr;

            // SAFETY: The owner is gone. There are no users, and nobody can become one.
            unsafe { StagedInner::end_of_first_stage(ptr) };
        }
    }

    /// Hands the ownership over to a table, see [`StagedRef::from_raw()`].
    #[inline]
    pub(crate) fn into_raw(self) -> *mut c_void {
        ManuallyDrop::new(self).ptr.as_ptr().cast()
    }

    /// Takes the ownership back.
    ///
    /// # Safety
    ///
    /// `ptr` must come from [`into_raw()`](Self::into_raw), and be taken back only once.
    #[inline]
    pub(crate) unsafe fn from_raw(ptr: *mut c_void) -> Self {
        // INVARIANT: `into_raw()` has given up what this value takes over.
        Self {
            // SAFETY: It comes from `into_raw()`, so it is not null.
            ptr: unsafe { NonNull::new_unchecked(ptr.cast()) },
            _p: PhantomData,
        }
    }

    #[inline]
    fn counts(&self) -> &StagedInner<T> {
        // SAFETY: By the type invariants the object is alive.
        unsafe { self.ptr.as_ref() }
    }
}

impl<T: Staged> Deref for StagedOwner<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.counts().data
    }
}

impl<T: Staged> Drop for StagedOwner<T> {
    /// Shuts the object down, see [`shutdown()`](StagedOwner::shutdown).
    fn drop(&mut self) {
        // SAFETY: By the type invariants the object is alive, and the initial reference of this
        // count belongs to this value.
        unsafe { PercpuRef::kill(&raw const (*self.ptr.as_ptr()).users) };
    }
}

/// An object that was found under RCU or a lock, and which may be about to end.
///
/// # Invariants
///
/// `ptr` points to an object whose memory stays valid for `'a`.
pub struct StagedRef<'a, T: Staged> {
    pub(super) ptr: NonNull<StagedInner<T>>,
    pub(super) _p: PhantomData<&'a T>,
}

impl<T: Staged> StagedRef<'_, T> {
    /// Borrows an object from its owner in a table.
    ///
    /// # Safety
    ///
    /// `ptr` must come from [`StagedOwner::into_raw()`]. For the lifetime of this value, it must
    /// not be turned back into the owner, or RCU must be read-locked since before that.
    #[inline]
    pub(crate) unsafe fn from_raw(ptr: *mut c_void) -> Self {
        // INVARIANT: By the requirements of this function: the memory stays for a grace period
        // after the owner was consumed.
        Self {
            // SAFETY: It comes from `into_raw()`, so it is not null.
            ptr: unsafe { NonNull::new_unchecked(ptr.cast()) },
            _p: PhantomData,
        }
    }

    /// Returns how much work was ever started on the object, modulo what fits.
    ///
    /// If the number of what has ended, [`EndedWork::count()`], was read before, this is not less.
    pub fn started(&self) -> usize {
        // SAFETY: By the type invariants the object is there.
        unsafe { &(*self.ptr.as_ptr()).started }.sum()
    }

    /// Becomes a user of the object, unless its shutdown has begun.
    #[doc(alias = "percpu_ref_tryget_live")]
    #[inline]
    pub(crate) fn try_use(&self, rcu: &impl ReadSide) -> Option<StagedUser<T>> {
        // SAFETY: By the type invariants the object is there.
        if !unsafe { &(*self.ptr.as_ptr()).users }.try_get_live(rcu) {
            return None;
        }
        // INVARIANT: The reference was just taken.
        Some(StagedUser {
            ptr: self.ptr,
            _not_send: NotThreadSafe,
        })
    }
}

impl<T: Staged> Deref for StagedRef<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: By the type invariants the object is there.
        unsafe { &self.ptr.as_ref().data }
    }
}

/// The right to start work on an object.
///
/// Stays with the task that has it.
///
/// # Invariants
///
/// `ptr` points to an object, and this value owns a reference of its first stage.
pub struct StagedUser<T: Staged> {
    ptr: NonNull<StagedInner<T>>,
    _not_send: NotThreadSafe,
}

impl<T: Staged> StagedUser<T> {
    /// Returns a reference for work that outlives this user.
    #[inline]
    pub fn start_work(&self) -> InFlight<T> {
        // Seen by the task that compares it with what has ended, which is not before this user is
        // dropped.
        self.counts().started.inc();

        // INVARIANT: By the type invariants the first stage has not ended, and this reference was
        // just counted.
        InFlight { ptr: self.ptr }
    }

    #[inline]
    fn counts(&self) -> &StagedInner<T> {
        // SAFETY: By the type invariants the object is alive.
        unsafe { self.ptr.as_ref() }
    }
}

impl<T: Staged> Deref for StagedUser<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.counts().data
    }
}

impl<T: Staged> Drop for StagedUser<T> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: By the type invariants this value owns the reference.
        unsafe { PercpuRef::put(&raw const (*self.ptr.as_ptr()).users) };
    }
}

/// Keeps an object for work that has been started and has not ended.
///
/// # Invariants
///
/// `ptr` points to an object. This reference was counted when the work was started, and will be
/// when it is given up; the second stage does not end before that.
pub struct InFlight<T: Staged> {
    ptr: NonNull<StagedInner<T>>,
}

// SAFETY: `T: Send + Sync`, and the reference can be given back from anywhere.
unsafe impl<T: Staged> Send for InFlight<T> {}

// SAFETY: All that can be done with a shared reference is to reach the object, and `T: Sync`.
unsafe impl<T: Staged> Sync for InFlight<T> {}

impl<T: Staged> InFlight<T> {
    /// Returns the object, for use after this reference was given up.
    ///
    /// Nobody can become a user of it by that: where its users are found tells when there are none
    /// any longer.
    #[inline]
    pub fn under_rcu<'a>(&self, _rcu: &'a impl ReadSide) -> &'a T {
        // SAFETY: The object is alive now, and its memory is freed a grace period after its end.
        unsafe { &self.ptr.as_ref().data }
    }

    /// Gives the reference up, with the lock held that [`Staged::with_ended()`] takes.
    ///
    /// Does the same as dropping it, at the price of an addition. If this was the last one,
    /// [`Staged::drained()`] is called.
    #[inline(always)]
    pub fn end(self, ended: &mut EndedWork<T>) {
        let this = ManuallyDrop::new(self);
        // SAFETY: By the type invariants the object is alive.
        let ended = unsafe { this.ptr.as_ref() }.own(ended);

        // INVARIANT: This is one more.
        ended.count = ended.count.wrapping_add(1);
        ended.check();
    }
}

impl<T: Staged> Deref for InFlight<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: By the type invariants the object is alive.
        unsafe { &self.ptr.as_ref().data }
    }
}

impl<T: Staged> Drop for InFlight<T> {
    /// Gives the reference up.
    ///
    /// Takes the lock of [`Staged::with_ended()`], which must not be held.
    fn drop(&mut self) {
        let section = ReadSection::new();
        let object = self.under_rcu(&section);
        // INVARIANT: The reference is given up in the place of `self`, which is not used again.
        let reference = Self { ptr: self.ptr };

        object.work_dropped();
        object.with_ended(|ended| reference.end(ended));
    }
}
