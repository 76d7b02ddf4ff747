// SPDX-License-Identifier: GPL-2.0

//! What is counted of an object, and how its stages end.

#[cfg(doc)]
use super::InFlight;
use super::Staged;
use crate::{
    bindings,
    error::{
        to_result,
        Error, //
    },
    percpu::PerCpuCount,
    prelude::*,
    slab::SlabSlot,
    sync::{
        rcu,
        ReadSide, //
    },
    types::Opaque, //
};
use core::ptr::NonNull;

/// Counts the work on an object that has ended.
///
/// An object gets it when it is constructed, and keeps it behind a lock, see
/// [`Staged::with_ended()`].
///
/// # Invariants
///
/// `count` is the number of references [`InFlight`] of `object` that were given up, and `goal`,
/// once the first stage has ended, that of all there ever were. `object` dangles once the second
/// stage has ended.
pub struct EndedWork<T: Staged> {
    pub(super) object: NonNull<StagedInner<T>>,
    pub(super) count: usize,
    pub(super) goal: Option<usize>,
}

// SAFETY: It is a number, and the object it belongs to can be freed by anybody.
unsafe impl<T: Staged> Send for EndedWork<T> {}

impl<T: Staged> EndedWork<T> {
    /// Returns how much work has ended, modulo what fits.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The first stage has ended, and this much work was started in it.
    ///
    /// # Safety
    ///
    /// To be called once, when nobody starts work any longer, with the number of references
    /// [`InFlight`] that there ever were.
    unsafe fn set_goal(&mut self, started: usize) {
        // INVARIANT: The caller guarantees that the first stage has ended, and that `started`
        // references were ever made in it.
        self.goal = Some(started);
        self.check();
    }

    /// Ends the second stage when there is nothing left.
    ///
    /// Inlined, since each end of work calls it.
    #[inline(always)]
    pub(super) fn check(&mut self) {
        if self.goal == Some(self.count) {
            // INVARIANT: There will be no other reference, and no goal. Memory is used again, so
            // this must not count for the object that comes after this one.
            self.goal = None;
            let object = core::mem::replace(&mut self.object, NonNull::dangling());
            // SAFETY: The first stage has ended, and by the type invariants all work as well. It
            // does so once, since there is no object any longer.
            unsafe { StagedInner::drained(object) };
        }
    }
}

/// A `struct percpu_ref`.
///
/// # Invariants
///
/// The count was initialised.
#[repr(transparent)]
#[pin_data(PinnedDrop)]
pub(super) struct PercpuRef {
    #[pin]
    inner: Opaque<bindings::percpu_ref>,
}

impl PercpuRef {
    /// Initialises a count of one, in per-CPU mode.
    pub(super) fn new(
        release: unsafe extern "C" fn(*mut bindings::percpu_ref),
    ) -> impl PinInit<Self, Error> {
        // INVARIANT: On success, the count is initialised.
        try_pin_init!(Self {
            inner <- Opaque::try_ffi_init(move |slot| {
                // SAFETY: `slot` is valid for writes.
                to_result(unsafe {
                    bindings::percpu_ref_init(slot, Some(release), 0, bindings::GFP_KERNEL)
                })
            }),
        }? Error)
    }

    #[inline]
    fn as_raw(&self) -> *mut bindings::percpu_ref {
        self.inner.get()
    }

    /// Takes a reference.
    ///
    /// # Safety
    ///
    /// There must be a reference already, which stays for the time of the call.
    #[inline]
    pub(super) unsafe fn get(&self) {
        // SAFETY: By the type invariants the count is initialised. A reference is held, so that it
        // has not been freed.
        unsafe { bindings::percpu_ref_get(self.as_raw()) };
    }

    /// Takes a reference, unless the initial one has been dropped.
    #[inline]
    pub(super) fn try_get_live(&self, _rcu: &impl ReadSide) -> bool {
        // SAFETY: By the type invariants the count is initialised; RCU is read-locked.
        unsafe { bindings::percpu_ref_tryget_live_rcu(self.as_raw()) }
    }

    /// Drops a reference that is not the initial one.
    ///
    /// # Safety
    ///
    /// The caller must own the reference. What keeps `this` alive may be gone afterwards. `this`
    /// must be a pointer to all of the object, which is what the release function gets.
    #[inline]
    pub(super) unsafe fn put(this: *const Self) {
        // SAFETY: The caller owns a reference, which it gives up.
        unsafe { bindings::percpu_ref_put(this.cast_mut().cast()) };
    }

    /// Returns whether there is no reference but the initial one.
    ///
    /// The answer is right if nobody takes or drops a reference at the same time; it may be "no"
    /// where there is none.
    pub(super) fn is_unused(&self) -> bool {
        // SAFETY: By the type invariants the count is initialised.
        unsafe { bindings::percpu_ref_is_unused(self.as_raw()) }
    }

    /// From now on [`try_get_live()`](Self::try_get_live) fails, on this CPU at once.
    ///
    /// The initial reference is neither dropped nor needed any longer.
    ///
    /// # Safety
    ///
    /// There must be no other reference, and nobody may take or drop one at the same time.
    pub(super) unsafe fn abandon(&self) {
        // SAFETY: By the type invariants the count is initialised. The caller guarantees that there
        // is no reference but the initial one, and that nobody takes or drops one at the same time.
        unsafe { bindings::percpu_ref_abandon(self.as_raw()) };
    }

    /// Drops the initial reference.
    ///
    /// # Safety
    ///
    /// The caller must own it. What keeps `this` alive may be gone afterwards. `this` must be a
    /// pointer to all of the object, which is what the release function gets.
    #[inline]
    pub(super) unsafe fn kill(this: *const Self) {
        // SAFETY: The caller owns the initial reference, which it gives up.
        unsafe { bindings::percpu_ref_kill(this.cast_mut().cast()) };
    }
}

#[pinned_drop]
impl PinnedDrop for PercpuRef {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: By the type invariants the count is initialised.
        unsafe { bindings::percpu_ref_exit(self.as_raw()) };
    }
}

/// What lies in the memory behind the references: for the size of the [`KmemCache`].
///
/// [`KmemCache`]: crate::slab::KmemCache
#[repr(C)]
#[pin_data]
pub struct StagedInner<T> {
    #[pin]
    pub(super) users: PercpuRef,
    pub(super) started: PerCpuCount,
    #[pin]
    pub(super) free_work: Opaque<bindings::rcu_work>,
    /// In the list of all objects.
    #[pin]
    pub(super) node: Opaque<bindings::list_head>,
    #[pin]
    pub(super) data: T,
}

// SAFETY: `T` is `Sync`. The other fields are shared by design: the counts synchronise themselves,
// the node is accessed with the lock of the list held, and the work item only by the task that ends
// the object.
unsafe impl<T: Staged> Sync for StagedInner<T> {}

impl<T: Staged> StagedInner<T> {
    /// The last user is gone.
    ///
    /// # Safety
    ///
    /// `users` must be the `users` of a `StagedInner<T>` whose first stage has not ended, and a
    /// pointer to all of it.
    pub(super) unsafe extern "C" fn users_release(users: *mut bindings::percpu_ref) {
        // SAFETY: The caller guarantees that `users` is the field of a `StagedInner<T>`, and a
        // pointer to all of it.
        let this = unsafe { crate::container_of!(users.cast::<PercpuRef>(), Self, users) };
        // SAFETY: `this` points to an object, so it is not null.
        let this = unsafe { NonNull::new_unchecked(this) };

        // SAFETY: The count releases the object once, when the last user is gone; it was killed, so
        // that there will be no other.
        unsafe { Self::end_of_first_stage(this) };
    }

    /// End of the first stage.
    ///
    /// # Safety
    ///
    /// To be called once, when there are no users and will be none. The object may be gone
    /// afterwards.
    pub(super) unsafe fn end_of_first_stage(this: NonNull<Self>) {
        // What may be the last thing in flight must not take the object away before its lock was
        // released.
        let _rcu = rcu::read_lock();
        // SAFETY: The second stage has not ended, and RCU keeps the object when it does.
        let this = unsafe { this.as_ref() };

        this.data.users_gone();

        // Nobody starts work any longer.
        let started = this.started.sum();

        // SAFETY: This is called once, and all work that was ever started has been counted: the
        // caller guarantees that there are no users, who alone start some.
        this.data
            .with_ended(|ended| unsafe { this.own(ended).set_goal(started) });
    }

    /// Returns the counter, if it is that of this object.
    #[inline]
    pub(super) fn own<'a>(&self, ended: &'a mut EndedWork<T>) -> &'a mut EndedWork<T> {
        if !core::ptr::eq(ended.object.as_ptr(), self) {
            // Somebody's object would be freed too early.
            //
            // SAFETY: Does not return.
            unsafe { bindings::BUG() };
        }
        ended
    }

    /// Nothing is in flight any longer: end of the second stage.
    ///
    /// # Safety
    ///
    /// To be called once. The object is gone after an RCU grace period.
    unsafe fn drained(this: NonNull<Self>) {
        static NAME: &CStr = c"kernel::sync::staged";

        let this = this.as_ptr();

        // SAFETY: The object is freed by the work that is queued below.
        unsafe { &(*this).data }.drained();

        // Those who look for the object under RCU may still be looking at it, and freeing it may
        // sleep.
        //
        // SAFETY: The object is there until the work that is queued below frees it.
        let rwork = Opaque::cast_into(unsafe { &raw const (*this).free_work });
        // SAFETY: As `rwork` is valid, so is its field.
        let work = unsafe { &raw mut (*rwork).work };
        let free: bindings::work_func_t = Some(Self::free);
        let name = NAME.as_char_ptr();
        let key = crate::static_lock_class!().as_ptr();

        // SAFETY: Nobody else uses the work item, which stays where it is. Name and key are static.
        unsafe { bindings::init_work_with_key(work, free, false, name, key) };
        // SAFETY: The work item was just initialised. Its function gets a pointer to all of the
        // object, which nobody refers to after the grace period.
        unsafe { bindings::queue_rcu_work(bindings::system_percpu_wq, rwork) };
    }

    /// Frees the object.
    ///
    /// # Safety
    ///
    /// `work` must be the `free_work` of a `StagedInner<T>` that nobody refers to any longer, and a
    /// pointer to all of it.
    unsafe extern "C" fn free(work: *mut bindings::work_struct) {
        // SAFETY: This is the `work` of an `rcu_work`.
        let rwork = unsafe { crate::container_of!(work, bindings::rcu_work, work) };
        let rwork = rwork.cast::<Opaque<bindings::rcu_work>>();
        // SAFETY: The `rcu_work` is the `free_work` of a `StagedInner<T>`, and the pointer may be
        // used for all of that.
        let this = unsafe { crate::container_of!(rwork, Self, free_work) };

        // SAFETY: The object was added when it was made, and is valid still.
        unsafe { T::ALL.remove(NonNull::new_unchecked(this)) };
        // SAFETY: Nobody else refers to the object, and it is not used again.
        unsafe { core::ptr::drop_in_place(this) };
        // SAFETY: The memory is a slot of this cache (see `StagedOwner::new()`).
        drop(unsafe { SlabSlot::<T::Backing>::from_raw(NonNull::new_unchecked(this.cast())) });
    }
}
