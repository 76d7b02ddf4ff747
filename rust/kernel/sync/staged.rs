// SPDX-License-Identifier: GPL-2.0

//! Objects that are shut down in two stages.
//!
//! Many kernel objects end like this: first nobody may start new work on them any longer, and one
//! waits for those who just do; then the work that they had started earlier comes to its end;
//! then the object is freed:
//!
//! ```text
//! Owner --shutdown()--> no users --> users_gone() --> nothing in flight --> drained()
//! StagedUser<T> --------------^                             ^                         |
//! InFlight<T> ----------------------------------------+          grace period, drop(T)
//! ```
//!
//! In normal operation, taking and giving back a reference touches no memory that CPUs share, and
//! needs no locked instruction. Users are counted by a `struct percpu_ref`. Work is counted when it
//! is started by a counter of each CPU, and when it has ended by a plain number, [`EndedWork`],
//! which belongs to whatever lock those who end work hold anyway. The two are compared only after
//! the last user has gone, when no new work can be started.
//!
//! C header: [`include/linux/percpu-refcount.h`](srctree/include/linux/percpu-refcount.h)

use crate::{
    bindings,
    error::{
        to_result,
        Error,
        Result, //
    },
    percpu::PerCpuCount,
    prelude::*,
    slab::{
        Backing,
        SlabSlot, //
    },
    sync::{
        atomic::{
            Acquire,
            Atomic,
            AtomicFlag,
            Full,
            Relaxed,
            Release, //
        },
        rcu,
        ReadSection,
        ReadSide,
        SpinLock,
        SpinLockGuard, //
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

/// An object that is shut down in two stages.
pub trait Staged: Send + Sync + Sized + 'static {
    /// Names the cache that the object's memory comes from, made for the size of a
    /// [`StagedInner<Self>`].
    type Backing: Backing;

    /// Where all objects of this type are found.
    const ALL: &'static StagedList<Self>;

    /// Calls `f` with the object's own [`EndedWork`], whose lock is held for the time of the call.
    ///
    /// The lock must be one that may be taken in any context that gives up an [`InFlight`], and
    /// must not sleep: it is taken under RCU, with preemption disabled.
    fn with_ended<R: Send>(&self, f: impl FnOnce(&mut EndedWork<Self>) -> R + Send) -> R;

    /// A reference [`InFlight`] was dropped, instead of given up by [`InFlight::end()`].
    ///
    /// Called by whoever does so, with preemption disabled. The lock of [`EndedWork`] is not held.
    fn work_dropped(&self) {}

    /// There are no users any longer, and there never will be.
    ///
    /// Called once, after [`StagedOwner::shutdown()`], when the last [`StagedUser`] is gone; nobody
    /// can start new work. Meant to cancel what would otherwise not end by itself. May be called in
    /// any context, hard interrupts included.
    fn users_gone(&self);

    /// Nothing is in flight any longer.
    ///
    /// Called once, after [`users_gone()`](Self::users_gone), when the last [`InFlight`] is
    /// gone. The object itself is dropped later, by a work item that may sleep, after an RCU grace
    /// period. May be called in any context, hard interrupts included, and with the lock of
    /// [`EndedWork`] held.
    fn drained(&self);
}

/// All objects of a type.
///
/// Meant to be a `static`; objects can be made after [`init()`](Self::init) was called.
///
/// # Invariants
///
/// Once `ready`, `lock` and `head` are initialised, and the latter is the head of a list of the
/// `node`s of objects, which are all there until they are removed with the lock held.
pub struct StagedList<T: Staged> {
    begun: AtomicFlag,
    ready: AtomicFlag,
    lock: Opaque<bindings::spinlock_t>,
    head: Opaque<bindings::list_head>,
    /// Of the list; changed with the lock held.
    len: Atomic<usize>,
    _p: PhantomData<fn(T)>,
}

// SAFETY: The list is accessed with the lock held, and `T: Sync`.
unsafe impl<T: Staged> Sync for StagedList<T> {}

impl<T: Staged> Default for StagedList<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Staged> StagedList<T> {
    /// There are none.
    pub const fn new() -> Self {
        // INVARIANT: It is not ready.
        Self {
            begun: AtomicFlag::new(false),
            ready: AtomicFlag::new(false),
            lock: Opaque::uninit(),
            head: Opaque::uninit(),
            len: Atomic::new(0),
            _p: PhantomData,
        }
    }

    /// Prepares the list.
    ///
    /// Must be called once, before anybody makes an object; a second call changes nothing.
    pub fn init(&'static self) {
        static NAME: &CStr = c"kernel::sync::staged::All";

        if self.begun.xchg(true, Full) {
            return;
        }
        // INVARIANT: Both are initialised before the flag is set.
        //
        // SAFETY: This is done once, and nobody uses them before.
        unsafe {
            bindings::__spin_lock_init(
                self.lock.get(),
                NAME.as_char_ptr(),
                crate::static_lock_class!().as_ptr(),
            );
            bindings::INIT_LIST_HEAD(self.head.get());
        }
        self.ready.store(true, Release);
    }

    /// Returns how many there are.
    #[inline]
    pub fn len(&self) -> usize {
        self.len.load(Relaxed)
    }

    /// Returns whether there are none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Calls `f` with up to `nr` objects: those that it was not called with for the longest time.
    ///
    /// Some of them may have ended already. A spinlock is held meanwhile, so `f` must not sleep,
    /// nor make or use up objects. Must not be called by interrupt handlers.
    pub fn visit(&self, nr: usize, mut f: impl FnMut(&T)) {
        if !self.ready.load(Acquire) {
            return;
        }
        for _ in 0..nr.min(self.len()) {
            let _guard = self.lock();
            let head = self.head.get();

            // SAFETY: The lock is held. By the type invariants, a node is that of an object, which
            // stays while the lock is held.
            unsafe {
                let node = (*head).next;
                if node == head {
                    return;
                }
                bindings::list_del_init(node);
                bindings::list_add_tail(node, head);

                let object = crate::container_of!(Opaque::cast_from(node), StagedInner<T>, node);
                f(&(*object).data);
            }
        }
    }

    /// To be called when it is ready.
    fn lock(&self) -> SpinLockGuard<'_, ()> {
        // SAFETY: By the type invariants it is initialised.
        unsafe { SpinLock::<()>::from_raw(self.lock.get()) }.lock()
    }

    /// Adds an object.
    ///
    /// # Errors
    ///
    /// `ENOMEM` if the list was not initialised.
    ///
    /// # Safety
    ///
    /// The object must be valid, and its node initialised and in no list. It must be
    /// [removed](Self::remove) before it goes.
    unsafe fn add(&self, object: NonNull<StagedInner<T>>) -> Result {
        if !self.ready.load(Acquire) {
            return Err(ENOMEM);
        }
        let _guard = self.lock();

        // INVARIANT: It is removed before it goes.
        //
        // SAFETY: The lock is held, and the node in no list.
        unsafe { bindings::list_add_tail((*object.as_ptr()).node.get(), self.head.get()) };
        self.len.store(self.len() + 1, Relaxed);
        Ok(())
    }

    /// Removes an object.
    ///
    /// # Safety
    ///
    /// It must have been [added](Self::add), and not yet removed.
    unsafe fn remove(&self, object: NonNull<StagedInner<T>>) {
        let _guard = self.lock();

        // SAFETY: The lock is held, and the node in the list.
        unsafe { bindings::list_del_init((*object.as_ptr()).node.get()) };
        self.len.store(self.len() - 1, Relaxed);
    }
}

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
    object: NonNull<StagedInner<T>>,
    count: usize,
    goal: Option<usize>,
}

// SAFETY: It is a number, and the object it belongs to can be freed by anybody.
unsafe impl<T: Staged> Send for EndedWork<T> {}

impl<T: Staged> EndedWork<T> {
    /// The first stage has ended, and this much work was started in it.
    ///
    /// # Safety
    ///
    /// To be called once, with the right number.
    unsafe fn set_goal(&mut self, started: usize) {
        // INVARIANT: By the requirements of this function.
        self.goal = Some(started);
        self.check();
    }

    /// Ends the second stage when there is nothing left.
    #[inline]
    fn check(&mut self) {
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
    fn try_get_live(&self, _rcu: &impl ReadSide) -> bool {
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

    /// Returns whether there is no reference but the initial one.
    ///
    /// The answer is right if nobody takes or drops a reference at the same time; it may be "no"
    /// where there is none.
    fn is_unused(&self) -> bool {
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
    unsafe fn abandon(&self) {
        // SAFETY: By the type invariants, and the requirements of this function.
        unsafe { bindings::percpu_ref_abandon(self.as_raw()) };
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

/// What lies in the memory behind the references: for the size of the [`KmemCache`].
#[repr(C)]
#[pin_data]
pub struct StagedInner<T> {
    #[pin]
    users: PercpuRef,
    started: PerCpuCount,
    #[pin]
    free_work: Opaque<bindings::rcu_work>,
    /// In the list of all objects.
    #[pin]
    node: Opaque<bindings::list_head>,
    #[pin]
    data: T,
}

// SAFETY: `T` is `Sync`. The other fields are shared by design: the counts synchronise themselves, the
// node is accessed with the lock of the list held, and the work item only by who ends the object.
unsafe impl<T: Staged> Sync for StagedInner<T> {}

impl<T: Staged> StagedInner<T> {
    /// The last user is gone.
    ///
    /// # Safety
    ///
    /// `users` must be the `users` of a `StagedInner<T>` whose first stage has not ended.
    unsafe extern "C" fn users_release(users: *mut bindings::percpu_ref) {
        // SAFETY: By the requirements of this function.
        unsafe {
            let this = crate::container_of!(users.cast::<PercpuRef>(), Self, users);

            Self::end_of_first_stage(NonNull::new_unchecked(this));
        }
    }

    /// End of the first stage.
    ///
    /// # Safety
    ///
    /// To be called once, when there are no users and will be none. The object may be gone
    /// afterwards.
    unsafe fn end_of_first_stage(this: NonNull<Self>) {
        // What may be the last thing in flight must not take the object away before its lock was
        // released.
        let _rcu = rcu::read_lock();
        // SAFETY: The second stage has not ended, and RCU keeps the object when it does.
        let this = unsafe { this.as_ref() };

        this.data.users_gone();

        // Nobody starts work any longer.
        let started = this.started.sum();

        // SAFETY: By the requirements of this function.
        this.data
            .with_ended(|ended| unsafe { this.own(ended).set_goal(started) });
    }

    /// Returns the counter, if it is that of this object.
    #[inline]
    fn own<'a>(&self, ended: &'a mut EndedWork<T>) -> &'a mut EndedWork<T> {
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
    /// `work` must be the `free_work` of a `StagedInner<T>` that nobody refers to any longer.
    unsafe extern "C" fn free(work: *mut bindings::work_struct) {
        // SAFETY: By the requirements of this function, this is the `work` of an `rcu_work`, which
        // is the `free_work` of a `StagedInner<T>`.
        let this = unsafe {
            let rwork = crate::container_of!(work, bindings::rcu_work, work);
            crate::container_of!(rwork.cast::<Opaque<bindings::rcu_work>>(), Self, free_work)
        };

        // SAFETY: The object was added when it was made. Nobody else refers to it, and it is not
        // used again.
        unsafe {
            T::ALL.remove(NonNull::new_unchecked(this));
            core::ptr::drop_in_place(this);
        }
        // SAFETY: The memory is a slot of this cache (see `StagedOwner::new()`).
        drop(unsafe { SlabSlot::<T::Backing>::from_raw(NonNull::new_unchecked(this.cast())) });
    }
}

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
    ptr: NonNull<StagedInner<T>>,
    _p: PhantomData<T>,
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
    pub fn user(&self) -> StagedUser<T> {
        // SAFETY: By the type invariants the object is alive and its first stage has not ended.
        unsafe { self.counts().users.get() };

        // INVARIANT: The reference was just taken.
        StagedUser {
            ptr: self.ptr,
            _not_send: NotThreadSafe,
        }
    }

    /// Begins the end: no new [`StagedUser`] can come to be, and as soon as the last one is gone
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
    /// and all its users must be in the hands of the current task.
    pub(crate) unsafe fn shutdown_alone(self) {
        let users = &self.counts().users;

        // The users that there were are seen to be gone: nobody takes or drops a reference now, by
        // the requirements of this function.
        if users.is_unused() {
            // The count is not used any longer; it is freed with the object.
            //
            // SAFETY: See above. What the current task has found leads to no user any longer.
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
    ptr: NonNull<StagedInner<T>>,
    _p: PhantomData<&'a T>,
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

    /// Becomes a user of the object, unless its shutdown has begun.
    #[doc(alias = "percpu_ref_tryget_live")]
    #[inline]
    pub fn try_use(&self, rcu: &impl ReadSide) -> Option<StagedUser<T>> {
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
        // Seen by who compares it with what has ended, which is not before this user is gone.
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

// SAFETY: As above.
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
    #[inline]
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

#[kunit_tests(rust_sync_staged)]
mod tests {
    use super::*;
    use crate::{
        slab::KmemCache,
        sync::{
            new_spinlock_irqsave,
            Arc,
            Completion,
            SpinLockIrqSave, //
        },
        time::{
            delay::udelay,
            Delta, //
        },
    };

    /// What has happened to an object.
    #[pin_data]
    struct Log {
        users_gone: Atomic<u32>,
        drained: Atomic<u32>,
        gone: Atomic<u32>,
        #[pin]
        dropped: Completion,
    }

    impl Log {
        fn new() -> Result<Arc<Self>> {
            Arc::pin_init(
                pin_init!(Self {
                    users_gone: Atomic::new(0),
                    drained: Atomic::new(0),
                    gone: Atomic::new(0),
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

    #[pin_data(PinnedDrop)]
    struct Object {
        log: Arc<Log>,
        #[pin]
        ended: SpinLockIrqSave<EndedWork<Object>>,
    }

    impl Object {
        fn new(log: Arc<Log>, ended: EndedWork<Self>) -> impl PinInit<Self> {
            pin_init!(Self {
                log,
                ended <- new_spinlock_irqsave!(ended),
            })
        }
    }

    enum Objects {}

    static CACHE: KmemCache<Objects> = KmemCache::new(c"rust_kunit_staged");

    impl Backing for Objects {
        type Largest = StagedInner<Object>;
        const CACHE: &'static KmemCache<Self> = &CACHE;
    }

    static ALL: StagedList<Object> = StagedList::new();

    impl Staged for Object {
        type Backing = Objects;
        const ALL: &'static StagedList<Self> = &ALL;

        fn with_ended<R: Send>(&self, f: impl FnOnce(&mut EndedWork<Self>) -> R + Send) -> R {
            self.ended.with(f)
        }

        fn users_gone(&self) {
            self.log.users_gone.add(1, Relaxed);
        }

        fn drained(&self) {
            self.log.drained.add(1, Relaxed);
        }
    }

    #[pinned_drop]
    impl PinnedDrop for Object {
        fn drop(self: Pin<&mut Self>) {
            self.log.gone.add(1, Relaxed);
            self.log.dropped.complete_all();
        }
    }

    fn object() -> Result<(StagedOwner<Object>, Arc<Log>)> {
        CACHE.init()?;
        ALL.init();
        let log = Log::new()?;

        let owner = StagedOwner::new(|ended| Object::new(log.clone(), ended))?;

        Ok((owner, log))
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
    fn ends_at_once_without_users() -> Result {
        let (owner, log) = object()?;
        let user = owner.user();

        drop(user.start_work());
        let work = user.start_work();
        drop(user);
        // SAFETY: Nobody else knows the object.
        unsafe { owner.shutdown_alone() };
        // There was no need to wait.
        assert_eq!(log.stages(), (1, 0));
        drop(work);
        assert_eq!(log.stages(), (1, 1));
        log.dropped.wait_for_completion();

        let (owner, log) = object()?;
        // SAFETY: As above.
        unsafe { owner.shutdown_alone() };
        assert_eq!(log.stages(), (1, 1));
        log.dropped.wait_for_completion();
        assert_eq!(log.stages(), (1, 1));
        Ok(())
    }

    #[test]
    fn does_not_end_at_once_with_a_user() -> Result {
        let (owner, log) = object()?;
        let user = owner.user();

        // SAFETY: Nobody else knows the object, and this is the task of the user.
        unsafe { owner.shutdown_alone() };
        rcu::rcu_barrier();
        assert_eq!(log.stages(), (0, 0));
        drop(user);
        assert_eq!(log.stages(), (1, 1));
        log.dropped.wait_for_completion();
        Ok(())
    }

    #[test]
    fn all_are_visited_in_turn() -> Result {
        let (first, first_log) = object()?;
        let (second, second_log) = object()?;
        let mut seen = (0, 0);

        // Others may be on their way out, of the cases before.
        for _ in 0..4 {
            ALL.visit(ALL.len(), |object| {
                if core::ptr::eq(&*object.log, &*first_log) {
                    seen.0 += 1;
                } else if core::ptr::eq(&*object.log, &*second_log) {
                    seen.1 += 1;
                }
            });
        }
        assert!(seen.0 >= 3 && seen.1 >= 3);
        drop(first);
        drop(second);
        first_log.dropped.wait_for_completion();
        second_log.dropped.wait_for_completion();
        ALL.visit(ALL.len(), |object| {
            assert!(!core::ptr::eq(&*object.log, &*first_log));
        });
        Ok(())
    }

    #[test]
    fn work_of_many_cpus() -> Result {
        let (owner, log) = object()?;
        let user = owner.user();
        let mut all = KVec::new();

        for _ in 0..1000 {
            all.push(user.start_work(), GFP_KERNEL)?;
        }
        drop(user);
        owner.shutdown();
        rcu::rcu_barrier();
        assert_eq!(log.stages(), (1, 0));
        // Some in the one way, some in the other.
        while all.len() > 1 {
            let Some(work) = all.pop() else { break };

            if all.len() % 2 == 0 {
                let section = ReadSection::new();
                let object = work.under_rcu(&section);

                object.with_ended(|ended| work.end(ended));
            }
        }
        assert_eq!(log.stages(), (1, 0));
        drop(all);
        assert_eq!(log.stages(), (1, 1));
        log.dropped.wait_for_completion();
        Ok(())
    }

    #[test]
    fn lives_on_for_readers() -> Result {
        let (owner, log) = object()?;
        let user = owner.user();
        let work = user.start_work();

        drop(user);
        owner.shutdown();
        rcu::rcu_barrier();
        {
            let guard = rcu::read_lock();
            let object = work.under_rcu(&guard);

            drop(work);
            assert_eq!(log.stages(), (1, 1));
            // Time enough for whoever would free it.
            for _ in 0..20 {
                udelay(Delta::from_millis(1));
                assert_eq!(log.gone.load(Relaxed), 0);
            }
            assert!(core::ptr::eq(&*object.log, &*log));
        }
        log.dropped.wait_for_completion();
        assert_eq!(log.gone.load(Relaxed), 1);
        Ok(())
    }

    #[test]
    fn no_new_users_after_shutdown_alone() -> Result {
        let (owner, log) = object()?;
        let guard = rcu::read_lock();
        let found = StagedRef {
            ptr: owner.ptr,
            _p: PhantomData,
        };

        assert!(found.try_use(&guard).is_some());
        // SAFETY: This task has found it, and nobody else does.
        unsafe { owner.shutdown_alone() };
        assert_eq!(log.stages(), (1, 1));
        assert!(found.try_use(&guard).is_none());
        drop(guard);
        log.dropped.wait_for_completion();
        Ok(())
    }

    #[test]
    fn no_new_users_after_shutdown() -> Result {
        let (owner, log) = object()?;
        let user = owner.user();
        let found = StagedRef {
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
        ALL.init();
        let log = Log::new()?;
        let failure: Result = Err(EBUSY);
        let kept = log.clone();
        let init = move |ended| {
            try_pin_init!(Object {
                log,
                ended <- new_spinlock_irqsave!({
                    failure?;
                    ended
                }),
            }? Error)
        };

        assert_eq!(StagedOwner::new(init).err(), Some(EBUSY));
        assert_eq!(kept.stages(), (0, 0));
        // Nobody else has it.
        assert!(Arc::into_unique_or_drop(kept).is_some());
        Ok(())
    }
}
