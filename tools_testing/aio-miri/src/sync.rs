// SPDX-License-Identifier: GPL-2.0

use crate::bindings;
use core::{
    cell::UnsafeCell,
    ops::{Deref, DerefMut},
};
use pin_init::PinInit;

pub mod atomic;
pub mod rcu_table;
mod read_section;
pub mod staged;

pub use read_section::{ReadSection, ReadSide};

pub struct LockClassKey;

impl LockClassKey {
    pub fn as_ptr(&self) -> *mut core::ffi::c_void {
        core::ptr::null_mut()
    }
}

/// All kinds of spinlocks are one: a thread is a CPU here, and there are no interrupts.
#[repr(C)]
pub struct SpinLock<T: ?Sized> {
    state: bindings::spinlock_t,
    _pin: core::marker::PhantomPinned,
    data: UnsafeCell<T>,
}

unsafe impl<T: ?Sized + Send> Send for SpinLock<T> {}
unsafe impl<T: ?Sized + Send> Sync for SpinLock<T> {}

pub struct SpinLockGuard<'a, T: ?Sized>(&'a SpinLock<T>);

impl<T> SpinLock<T> {
    pub fn new<E>(
        value: impl PinInit<T, E>,
        _name: &'static core::ffi::CStr,
        _key: LockClassKey,
    ) -> impl PinInit<Self, E> {
        unsafe {
            pin_init::pin_init_from_closure(move |slot: *mut Self| {
                (&raw mut (*slot).state).write(bindings::spinlock_t::new());
                pin_init::raw_try_init((&raw mut (*slot).data).cast::<T>(), value)
            })
        }
    }

    /// # Safety
    ///
    /// `ptr` must point to a lock that stays for `'a`.
    pub unsafe fn from_raw<'a>(ptr: *mut bindings::spinlock_t) -> &'a Self {
        unsafe { &*ptr.cast() }
    }
}

impl<T: ?Sized> SpinLock<T> {
    pub fn lock(&self) -> SpinLockGuard<'_, T> {
        self.state.lock();
        SpinLockGuard(self)
    }

    pub fn with<R: Send>(&self, f: impl FnOnce(&mut T) -> R + Send) -> R {
        f(&mut self.lock())
    }
}

impl<T: ?Sized> Deref for SpinLockGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        unsafe { &*self.0.data.get() }
    }
}

impl<T: ?Sized> DerefMut for SpinLockGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        unsafe { &mut *self.0.data.get() }
    }
}

impl<T: ?Sized> Drop for SpinLockGuard<'_, T> {
    fn drop(&mut self) {
        self.0.state.unlock();
    }
}

/// To have a guard is `unsafe`, as it is in the kernel.
#[repr(transparent)]
pub struct SpinLockIrqSave<T: ?Sized>(SpinLock<T>);

pub type SpinLockIrqSaveGuard<'a, T> = SpinLockGuard<'a, T>;

impl<T> SpinLockIrqSave<T> {
    pub fn new<E>(
        value: impl PinInit<T, E>,
        name: &'static core::ffi::CStr,
        key: LockClassKey,
    ) -> impl PinInit<Self, E> {
        unsafe {
            pin_init::pin_init_from_closure(move |slot: *mut Self| {
                pin_init::raw_try_init(slot.cast(), SpinLock::new(value, name, key))
            })
        }
    }
}

impl<T: ?Sized> SpinLockIrqSave<T> {
    /// # Safety
    ///
    /// None here.
    pub unsafe fn lock(&self) -> SpinLockGuard<'_, T> {
        self.0.lock()
    }

    pub fn with<R: Send>(&self, f: impl FnOnce(&mut T) -> R + Send) -> R {
        self.0.with(f)
    }
}

#[macro_export]
macro_rules! new_spinlock {
    ($inner:expr $(, $name:literal)? $(,)?) => {
        $crate::sync::SpinLock::new($inner, c"", $crate::sync::LockClassKey)
    };
}
pub use new_spinlock;

#[macro_export]
macro_rules! new_spinlock_irqsave {
    ($inner:expr $(, $name:literal)? $(,)?) => {
        $crate::sync::SpinLockIrqSave::new($inner, c"", $crate::sync::LockClassKey)
    };
}
pub use new_spinlock_irqsave;

pub struct Refcount(atomic::Atomic<i32>);

impl Refcount {
    pub fn new(value: i32) -> Self {
        Self(atomic::Atomic::new(value))
    }

    pub fn as_atomic(&self) -> &atomic::Atomic<i32> {
        &self.0
    }

    pub fn set(&self, value: i32) {
        self.0.store(value, atomic::Relaxed);
    }

    pub fn inc(&self) {
        self.0.fetch_add(1, atomic::Relaxed);
    }

    pub fn dec_and_test(&self) -> bool {
        let last = self.0.fetch_sub(1, atomic::Release) == 1;

        if last {
            core::sync::atomic::fence(core::sync::atomic::Ordering::Acquire);
        }
        last
    }
}

pub struct Arc<T>(std::sync::Arc<T>);

impl<T> Arc<T> {
    pub fn pin_init<E>(
        init: impl PinInit<T, E>,
        _: crate::alloc::Flags,
    ) -> Result<Self, crate::error::Error>
    where
        crate::error::Error: From<E>,
    {
        let mut place = std::sync::Arc::<T>::new_uninit();
        let slot = std::sync::Arc::get_mut(&mut place).expect("the only one").as_mut_ptr();

        // Where it stays: it is pinned.
        unsafe { pin_init::raw_try_init(slot, init) }?;
        Ok(Self(unsafe { place.assume_init() }))
    }

    pub fn into_unique_or_drop(this: Self) -> Option<T> {
        std::sync::Arc::into_inner(this.0)
    }
}

impl<T> Clone for Arc<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Deref for Arc<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

#[pin_init::pin_data]
pub struct Completion {
    done: core::sync::atomic::AtomicBool,
}

impl Completion {
    pub fn new() -> impl PinInit<Self> {
        pin_init::pin_init!(Self {
            done: core::sync::atomic::AtomicBool::new(false),
        })
    }

    pub fn complete_all(&self) {
        self.done.store(true, core::sync::atomic::Ordering::Release);
    }

    pub fn wait_for_completion(&self) {
        while !self.done.load(core::sync::atomic::Ordering::Acquire) {
            bindings::rcu_try_callbacks();
            std::thread::yield_now();
        }
    }
}

pub mod rcu {
    use crate::{bindings, types::NotThreadSafe};

    pub struct Guard(NotThreadSafe);

    impl Guard {
        pub fn new() -> Self {
            unsafe { bindings::rcu_read_lock() };
            Self(NotThreadSafe)
        }
    }

    impl Drop for Guard {
        fn drop(&mut self) {
            unsafe { bindings::rcu_read_unlock() };
        }
    }

    pub fn read_lock() -> Guard {
        Guard::new()
    }

    pub fn synchronize_rcu() {
        bindings::synchronize_rcu();
    }

    pub fn rcu_barrier() {
        bindings::rcu_barrier();
    }
}
