// SPDX-License-Identifier: GPL-2.0

//! Objects that are shut down in two stages.
//!
//! Many kernel objects end like this: first nobody may start new work on them any longer, and one
//! waits for those who just do; then the work that they had started earlier comes to its end;
//! then the object is freed. Each stage is a per-CPU reference count here, so that in normal
//! operation taking and giving back a reference touches no memory that CPUs share:
//!
//! ```text
//! Owner --shutdown()--> no users --> users_gone() --> nothing in flight --> drained()
//! User<T> --------------^                             ^                         |
//! InFlight<T> ----------------------------------------+          grace period, drop(T)
//! ```
//!
//! C header: [`include/linux/percpu-refcount.h`](srctree/include/linux/percpu-refcount.h)

use crate::{
    bindings,
    error::{
        to_result,
        Error,
        Result, //
    },
    prelude::*,
    slab::{
        Cache,
        Slot, //
    },
    sync::{
        rcu,
        rcu_table::RcuPointer, //
    },
    types::Opaque, //
};
use core::{
    ffi::c_void,
    marker::PhantomData,
    mem::ManuallyDrop,
    ops::Deref,
    ptr::NonNull, //
};

/// An object that is shut down in two stages.
pub trait Staged: Send + Sync + Sized + 'static {
    /// The cache that the object's memory comes from, made for the size of a [`Counts<Self>`].
    const CACHE: &'static Cache;

    /// There are no users any longer, and there never will be.
    ///
    /// Called once, after [`Owner::shutdown()`], when the last [`User`] is gone; nobody can start
    /// new work. Meant to cancel what would otherwise not end by itself. May be called in any
    /// context, hard interrupts included.
    fn users_gone(&self);

    /// Nothing is in flight any longer.
    ///
    /// Called once, after [`users_gone()`](Self::users_gone), when the last [`InFlight`] is
    /// gone. The object itself is dropped later, by a work item that may sleep, after an RCU grace
    /// period. May be called in any context, hard interrupts included.
    fn drained(&self);
}

/// A `struct percpu_ref`.
///
/// # Invariants
///
/// The count was initialised.
#[repr(transparent)]
#[pin_data(PinnedDrop)]
struct PercpuRef {
    #[pin]
    inner: Opaque<bindings::percpu_ref>,
}

impl PercpuRef {
    /// Initialises a count of one, in per-CPU mode.
    fn new(release: unsafe extern "C" fn(*mut bindings::percpu_ref)) -> impl PinInit<Self, Error> {
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
    unsafe fn get(&self) {
        // SAFETY: By the type invariants and the requirements of this function.
        unsafe { bindings::percpu_ref_get(self.as_raw()) };
    }

    /// Takes a reference, unless the initial one has been dropped.
    #[inline]
    fn try_get_live(&self, _rcu: &rcu::Guard) -> bool {
        // SAFETY: By the type invariants the count is initialised; RCU is read-locked.
        unsafe { bindings::percpu_ref_tryget_live_rcu(self.as_raw()) }
    }

    /// Drops a reference that is not the initial one.
    ///
    /// # Safety
    ///
    /// The caller must own the reference. What keeps `this` alive may be gone afterwards.
    #[inline]
    unsafe fn put(this: *const Self) {
        // SAFETY: By the requirements of this function.
        unsafe { bindings::percpu_ref_put(this.cast_mut().cast()) };
    }

    /// Drops the initial reference.
    ///
    /// # Safety
    ///
    /// The caller must own it. What keeps `this` alive may be gone afterwards.
    #[inline]
    unsafe fn kill(this: *const Self) {
        // SAFETY: By the requirements of this function.
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

/// What lies in the memory behind the references: for the size of the [`Cache`].
#[repr(C)]
#[pin_data]
pub struct Counts<T> {
    #[pin]
    users: PercpuRef,
    #[pin]
    in_flight: PercpuRef,
    #[pin]
    free_work: Opaque<bindings::rcu_work>,
    #[pin]
    data: T,
}

impl<T: Staged> Counts<T> {
    /// The last user is gone: end of the first stage.
    ///
    /// # Safety
    ///
    /// `users` must be the `users` of a `Counts<T>` whose `users_release()` was not called before.
    unsafe extern "C" fn users_release(users: *mut bindings::percpu_ref) {
        // SAFETY: By the requirements of this function.
        let this = unsafe { crate::container_of!(users.cast::<PercpuRef>(), Self, users) };

        // SAFETY: The second stage has not begun, so its initial reference keeps the object.
        unsafe { &(*this).data }.users_gone();

        // SAFETY: As above; this is the only place that drops the initial reference.
        unsafe { PercpuRef::kill(&raw const (*this).in_flight) };
    }

    /// Nothing is in flight any longer: end of the second stage.
    ///
    /// # Safety
    ///
    /// `in_flight` must be that of a `Counts<T>` whose `in_flight_release()` was not called before.
    unsafe extern "C" fn in_flight_release(in_flight: *mut bindings::percpu_ref) {
        static NAME: &CStr = c"kernel::sync::staged";

        // SAFETY: By the requirements of this function.
        let this = unsafe { crate::container_of!(in_flight.cast::<PercpuRef>(), Self, in_flight) };

        // SAFETY: The object is freed by the work that is queued below.
        unsafe { &(*this).data }.drained();

        // Those who look for the object under RCU may still be looking at it, and freeing it may
        // sleep.
        //
        // SAFETY: The work item lies in the object and nobody else uses it. `free()` is its
        // function, which gets the object.
        unsafe {
            let rwork = Opaque::cast_into(&raw const (*this).free_work);

            bindings::init_work_with_key(
                &raw mut (*rwork).work,
                Some(Self::free),
                false,
                NAME.as_char_ptr(),
                crate::static_lock_class!().as_ptr(),
            );
            bindings::queue_rcu_work(bindings::system_percpu_wq, rwork);
        }
    }

    /// Frees the object.
    ///
    /// # Safety
    ///
    /// `work` must be the `free_work` of a `Counts<T>` that nobody refers to any longer.
    unsafe extern "C" fn free(work: *mut bindings::work_struct) {
        // SAFETY: By the requirements of this function, this is the `work` of an `rcu_work`, which
        // is the `free_work` of a `Counts<T>`.
        let this = unsafe {
            let rwork = crate::container_of!(work, bindings::rcu_work, work);
            crate::container_of!(rwork.cast::<Opaque<bindings::rcu_work>>(), Self, free_work)
        };

        // SAFETY: Nobody refers to the object, and it is not used again.
        unsafe { core::ptr::drop_in_place(this) };
        // SAFETY: The memory is a slot of this cache (see `Owner::new()`).
        drop(unsafe { Slot::from_raw(this.cast(), T::CACHE) });
    }
}

/// The right to end an object: its first and unique reference.
///
/// # Invariants
///
/// `ptr` points to an initialised object. Neither of its stages has ended, and nobody but this
/// value will end them.
#[must_use = "an object whose owner is forgotten is never freed"]
pub struct Owner<T: Staged> {
    ptr: NonNull<Counts<T>>,
    _p: PhantomData<T>,
}

// SAFETY: `T: Send + Sync`, and the owner can be used and shut down from anywhere.
unsafe impl<T: Staged> Send for Owner<T> {}

// SAFETY: As above; a shared owner only gives out `&T`.
unsafe impl<T: Staged> Sync for Owner<T> {}

impl<T: Staged> Owner<T> {
    /// Allocates an object and constructs it in place.
    ///
    /// May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, or what the initialiser returns; whatever the initialiser holds is dropped then.
    pub fn new<E>(init: impl PinInit<T, E>) -> Result<Self>
    where
        Error: From<E>,
    {
        let slot = T::CACHE.alloc(GFP_KERNEL)?;
        let ptr = slot.as_ptr_for::<Counts<T>>()?;

        let init = try_pin_init!(Counts {
            users <- PercpuRef::new(Counts::<T>::users_release),
            in_flight <- PercpuRef::new(Counts::<T>::in_flight_release),
            free_work: Opaque::uninit(),
            data <- init,
        }? Error);

        // SAFETY: The slot is large enough, aligned, and ours. It stays where it is.
        unsafe { pin_init::raw_try_init(ptr.as_ptr(), init) }?;
        core::mem::forget(slot);

        // INVARIANT: The object was just initialised.
        Ok(Self {
            ptr,
            _p: PhantomData,
        })
    }

    /// Returns a new user of the object.
    #[inline]
    pub fn user(&self) -> User<T> {
        // SAFETY: By the type invariants the object is alive and its first stage has not ended.
        unsafe { self.counts().users.get() };

        // INVARIANT: The reference was just taken.
        User { ptr: self.ptr }
    }

    /// Begins the end: no new [`User`] can come to be, and as soon as the last one is gone
    /// [`Staged::users_gone()`] is called.
    ///
    /// Does not wait for anything. May be called in any context.
    #[inline]
    pub fn shutdown(self) {}

    #[inline]
    fn counts(&self) -> &Counts<T> {
        // SAFETY: By the type invariants the object is alive.
        unsafe { self.ptr.as_ref() }
    }
}

impl<T: Staged> Deref for Owner<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.counts().data
    }
}

impl<T: Staged> Drop for Owner<T> {
    /// Shuts the object down, see [`shutdown()`](Owner::shutdown).
    fn drop(&mut self) {
        // SAFETY: By the type invariants the object is alive, and the initial reference of this
        // count belongs to this value.
        unsafe { PercpuRef::kill(&raw const (*self.ptr.as_ptr()).users) };
    }
}

// SAFETY: The memory is freed after an RCU grace period that begins after `Owner` was consumed.
unsafe impl<T: Staged> RcuPointer for Owner<T> {
    type Borrowed<'a> = Found<'a, T>;

    #[inline]
    fn into_raw(self) -> *mut c_void {
        ManuallyDrop::new(self).ptr.as_ptr().cast()
    }

    #[inline]
    unsafe fn from_raw(ptr: *mut c_void) -> Self {
        // INVARIANT: `into_raw()` has given up what this value takes over.
        Self {
            // SAFETY: It comes from `into_raw()`, so it is not null.
            ptr: unsafe { NonNull::new_unchecked(ptr.cast()) },
            _p: PhantomData,
        }
    }

    #[inline]
    unsafe fn borrow<'a>(ptr: *mut c_void) -> Found<'a, T> {
        // INVARIANT: By the requirements of this function.
        Found {
            // SAFETY: It comes from `into_raw()`, so it is not null.
            ptr: unsafe { NonNull::new_unchecked(ptr.cast()) },
            _p: PhantomData,
        }
    }
}

/// An object that was found under RCU or a lock, and which may be about to end.
///
/// # Invariants
///
/// `ptr` points to an object whose memory stays valid for `'a`.
pub struct Found<'a, T: Staged> {
    ptr: NonNull<Counts<T>>,
    _p: PhantomData<&'a T>,
}

impl<'a, T: Staged> Found<'a, T> {
    /// Becomes a user of the object, unless its shutdown has begun.
    #[doc(alias = "percpu_ref_tryget_live")]
    #[inline]
    pub fn try_use(&self, rcu: &rcu::Guard) -> Option<User<T>> {
        // SAFETY: By the type invariants the object is there.
        if !unsafe { &(*self.ptr.as_ptr()).users }.try_get_live(rcu) {
            return None;
        }
        // INVARIANT: The reference was just taken.
        Some(User { ptr: self.ptr })
    }
}

impl<T: Staged> Deref for Found<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: By the type invariants the object is there.
        unsafe { &self.ptr.as_ref().data }
    }
}

/// The right to start work on an object.
///
/// # Invariants
///
/// `ptr` points to an object, and this value owns a reference of its first stage.
pub struct User<T: Staged> {
    ptr: NonNull<Counts<T>>,
}

// SAFETY: `T: Send + Sync`, and the reference can be given back from anywhere.
unsafe impl<T: Staged> Send for User<T> {}

// SAFETY: As above.
unsafe impl<T: Staged> Sync for User<T> {}

impl<T: Staged> User<T> {
    /// Returns a reference for work that outlives this user.
    ///
    /// May be called in any context.
    #[inline]
    pub fn start_work(&self) -> InFlight<T> {
        // SAFETY: By the type invariants the object is alive, and while there is a user the second
        // stage cannot end.
        unsafe { self.counts().in_flight.get() };

        // INVARIANT: The reference was just taken.
        InFlight { ptr: self.ptr }
    }

    #[inline]
    fn counts(&self) -> &Counts<T> {
        // SAFETY: By the type invariants the object is alive.
        unsafe { self.ptr.as_ref() }
    }
}

impl<T: Staged> Deref for User<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.counts().data
    }
}

impl<T: Staged> Drop for User<T> {
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
/// `ptr` points to an object, and this value owns a reference of its second stage.
pub struct InFlight<T: Staged> {
    ptr: NonNull<Counts<T>>,
}

// SAFETY: `T: Send + Sync`, and the reference can be given back from anywhere.
unsafe impl<T: Staged> Send for InFlight<T> {}

// SAFETY: As above.
unsafe impl<T: Staged> Sync for InFlight<T> {}

impl<T: Staged> Deref for InFlight<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: By the type invariants the object is alive.
        unsafe { &self.ptr.as_ref().data }
    }
}

impl<T: Staged> Drop for InFlight<T> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: By the type invariants this value owns the reference.
        unsafe { PercpuRef::put(&raw const (*self.ptr.as_ptr()).in_flight) };
    }
}

#[kunit_tests(rust_sync_staged)]
mod tests {
    use super::*;
    use crate::{
        slab::Cache,
        sync::{
            atomic::{
                Atomic,
                Relaxed, //
            },
            Arc,
            Completion, //
        },
    };

    /// What has happened to an object.
    #[pin_data]
    struct Log {
        users_gone: Atomic<u32>,
        drained: Atomic<u32>,
        #[pin]
        dropped: Completion,
    }

    impl Log {
        fn new() -> Result<Arc<Self>> {
            Arc::pin_init(
                pin_init!(Self {
                    users_gone: Atomic::new(0),
                    drained: Atomic::new(0),
                    dropped <- Completion::new(),
                }),
                GFP_KERNEL,
            )
        }

        /// Returns how often the first and the second stage have ended.
        fn stages(&self) -> (u32, u32) {
            (self.users_gone.load(Relaxed), self.drained.load(Relaxed))
        }
    }

    struct Object(Arc<Log>);

    static CACHE: Cache = Cache::new::<Counts<Object>>(c"rust_kunit_staged");

    impl Staged for Object {
        const CACHE: &'static Cache = &CACHE;

        fn users_gone(&self) {
            self.0.users_gone.add(1, Relaxed);
        }

        fn drained(&self) {
            self.0.drained.add(1, Relaxed);
        }
    }

    impl Drop for Object {
        fn drop(&mut self) {
            self.0.dropped.complete_all();
        }
    }

    fn object() -> Result<(Owner<Object>, Arc<Log>)> {
        CACHE.init()?;
        let log = Log::new()?;

        Ok((Owner::new(Object(log.clone()))?, log))
    }

    #[test]
    fn stages_end_in_order() -> Result {
        let (owner, log) = object()?;
        let user = owner.user();
        let work = user.start_work();

        owner.shutdown();
        rcu::rcu_barrier();
        assert_eq!(log.stages(), (0, 0));

        drop(user);
        assert_eq!(log.stages(), (1, 0));
        rcu::rcu_barrier();
        assert_eq!(log.stages(), (1, 0));

        drop(work);
        assert_eq!(log.stages(), (1, 1));
        log.dropped.wait_for_completion();
        assert_eq!(log.stages(), (1, 1));
        Ok(())
    }

    #[test]
    fn work_that_ends_first() -> Result {
        let (owner, log) = object()?;
        let user = owner.user();

        drop(user.start_work());
        drop(user);
        rcu::rcu_barrier();
        assert_eq!(log.stages(), (0, 0));

        drop(owner);
        log.dropped.wait_for_completion();
        assert_eq!(log.stages(), (1, 1));
        Ok(())
    }

    #[test]
    fn no_new_users_after_shutdown() -> Result {
        let (owner, log) = object()?;
        let user = owner.user();
        let found = Found {
            ptr: owner.ptr,
            _p: PhantomData,
        };

        assert!(found.try_use(&rcu::read_lock()).is_some());
        owner.shutdown();
        assert!(found.try_use(&rcu::read_lock()).is_none());
        drop(user);
        log.dropped.wait_for_completion();
        Ok(())
    }

    #[test]
    fn failing_initialiser_leaves_nothing() -> Result {
        CACHE.init()?;
        let log = Log::new()?;
        let object = Object(log.clone());
        // SAFETY: Nothing is initialised.
        let init = unsafe {
            pin_init::pin_init_from_closure(move |_: *mut Object| {
                let _object = object;

                Err::<(), Error>(EBUSY)
            })
        };

        assert_eq!(Owner::new(init).err(), Some(EBUSY));
        log.dropped.wait_for_completion();
        assert_eq!(log.stages(), (0, 0));
        Ok(())
    }
}
