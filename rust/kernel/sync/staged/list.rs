// SPDX-License-Identifier: GPL-2.0

//! All objects of a type, for code that has to look at each of them.

use super::{
    Staged, //
    StagedInner,
};
use crate::{
    bindings,
    prelude::*,
    sync::{
        atomic::{
            Acquire,
            Atomic,
            AtomicFlag,
            Full,
            Relaxed,
            Release, //
        },
        SpinLock,
        SpinLockGuard, //
    },
    types::Opaque, //
};
use core::{
    marker::PhantomData,
    ptr::NonNull, //
};

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
        static NAME: &CStr = c"StagedList::lock";

        if self.begun.xchg(true, Full) {
            return;
        }
        let key = crate::static_lock_class!().as_ptr();
        // SAFETY: This is done once, and nobody uses the lock before. Name and key are static.
        unsafe { bindings::__spin_lock_init(self.lock.get(), NAME.as_char_ptr(), key) };
        // SAFETY: This is done once, and nobody uses the list before.
        unsafe { bindings::INIT_LIST_HEAD(self.head.get()) };
        // INVARIANT: Both were just initialised.
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

            // SAFETY: The lock is held, and by the type invariants the list is initialised.
            let node = unsafe { (*head).next };
            if node == head {
                return;
            }
            // SAFETY: The lock is held, and the node in the list.
            unsafe { bindings::list_del_init(node) };
            // SAFETY: The lock is held, and the node in no list.
            unsafe { bindings::list_add_tail(node, head) };

            // SAFETY: By the type invariants the node is that of an object, which stays while the
            // lock is held. `add()` has put a pointer to all of the object into the list.
            let object: *const StagedInner<T> =
                unsafe { crate::container_of!(Opaque::cast_from(node), StagedInner<T>, node) };
            // SAFETY: As `node`, the object is there while the lock is held.
            f(unsafe { &(*object).data });
        }
    }

    /// Locks the list, which must be ready.
    fn lock(&self) -> SpinLockGuard<'_, ()> {
        // SAFETY: By the type invariants the lock is initialised, and stays: the list is static.
        unsafe { SpinLock::<()>::from_raw(self.lock.get()) }.lock()
    }

    /// Returns the node of an object, as a pointer with which [`visit()`](Self::visit) gets back to
    /// the object.
    ///
    /// # Safety
    ///
    /// The object must be valid.
    unsafe fn node(object: NonNull<StagedInner<T>>) -> *mut bindings::list_head {
        // SAFETY: The caller guarantees that `object` points to a valid object, in which this
        // stays.
        Opaque::cast_into(unsafe { &raw const (*object.as_ptr()).node })
    }

    /// Adds an object.
    ///
    /// # Errors
    ///
    /// `ENOMEM` if the list was not initialised.
    ///
    /// # Safety
    ///
    /// The object must be valid, `object` a pointer to all of it, and its node initialised and in
    /// no list. It must be [removed](Self::remove) before it is freed.
    pub(super) unsafe fn add(&self, object: NonNull<StagedInner<T>>) -> Result {
        if !self.ready.load(Acquire) {
            return Err(ENOMEM);
        }
        let _guard = self.lock();

        // INVARIANT: The caller guarantees that `object` is removed from the list before it is
        // freed.
        //
        // SAFETY: The lock is held, and the node in no list.
        unsafe { bindings::list_add_tail(Self::node(object), self.head.get()) };
        self.len.store(self.len() + 1, Relaxed);
        Ok(())
    }

    /// Removes an object.
    ///
    /// # Safety
    ///
    /// It must have been [added](Self::add), and not yet removed.
    pub(super) unsafe fn remove(&self, object: NonNull<StagedInner<T>>) {
        let _guard = self.lock();

        // SAFETY: The lock is held, and the node in the list.
        unsafe { bindings::list_del_init(Self::node(object)) };
        self.len.store(self.len() - 1, Relaxed);
    }
}
