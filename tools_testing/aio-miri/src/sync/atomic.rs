// SPDX-License-Identifier: GPL-2.0

//! The interface of the kernel's `Atomic`, on the atomics of the language.

use core::{cell::UnsafeCell, sync::atomic::Ordering as Order};

pub struct Relaxed;
pub struct Acquire;
pub struct Release;
pub struct Full;

pub trait Ordering {
    const ORDER: Order;
    /// Of what fails.
    const FAILED: Order;
}

impl Ordering for Relaxed {
    const ORDER: Order = Order::Relaxed;
    const FAILED: Order = Order::Relaxed;
}

impl Ordering for Acquire {
    const ORDER: Order = Order::Acquire;
    const FAILED: Order = Order::Acquire;
}

impl Ordering for Release {
    const ORDER: Order = Order::Release;
    const FAILED: Order = Order::Relaxed;
}

impl Ordering for Full {
    const ORDER: Order = Order::SeqCst;
    const FAILED: Order = Order::Relaxed;
}

pub trait AtomicType: Copy {
    unsafe fn load(ptr: *mut Self, order: Order) -> Self;
    unsafe fn store(ptr: *mut Self, value: Self, order: Order);
    unsafe fn xchg(ptr: *mut Self, value: Self, order: Order) -> Self;
    unsafe fn cmpxchg(ptr: *mut Self, old: Self, new: Self, order: Order, failed: Order)
        -> Result<Self, Self>;
}

pub trait AtomicNumber: AtomicType {
    unsafe fn fetch_add(ptr: *mut Self, value: Self, order: Order) -> Self;
    unsafe fn fetch_sub(ptr: *mut Self, value: Self, order: Order) -> Self;
}

macro_rules! atomic_type {
    ($ty:ty, $atomic:ty $(, $t:ident, $relaxed:expr)?) => {
        impl $(<$t>)? AtomicType for $ty {
            unsafe fn load(ptr: *mut Self, order: Order) -> Self {
                $(let order = if let Order::Relaxed = order { $relaxed } else { order };)?
                unsafe { <$atomic>::from_ptr(ptr) }.load(order)
            }

            unsafe fn store(ptr: *mut Self, value: Self, order: Order) {
                unsafe { <$atomic>::from_ptr(ptr) }.store(value, order);
            }

            unsafe fn xchg(ptr: *mut Self, value: Self, order: Order) -> Self {
                unsafe { <$atomic>::from_ptr(ptr) }.swap(value, order)
            }

            unsafe fn cmpxchg(ptr: *mut Self, old: Self, new: Self, order: Order, failed: Order)
                -> Result<Self, Self> {
                unsafe { <$atomic>::from_ptr(ptr) }.compare_exchange(old, new, order, failed)
            }
        }
    };
}

macro_rules! atomic_number {
    ($($ty:ty, $atomic:ty;)*) => {$(
        atomic_type!($ty, $atomic);

        impl AtomicNumber for $ty {
            unsafe fn fetch_add(ptr: *mut Self, value: Self, order: Order) -> Self {
                unsafe { <$atomic>::from_ptr(ptr) }.fetch_add(value, order)
            }

            unsafe fn fetch_sub(ptr: *mut Self, value: Self, order: Order) -> Self {
                unsafe { <$atomic>::from_ptr(ptr) }.fetch_sub(value, order)
            }
        }
    )*};
}

atomic_number! {
    u32, core::sync::atomic::AtomicU32;
    i32, core::sync::atomic::AtomicI32;
    u64, core::sync::atomic::AtomicU64;
    usize, core::sync::atomic::AtomicUsize;
    isize, core::sync::atomic::AtomicIsize;
}
// What is reached through a pointer is ordered after the load of the pointer, by an address
// dependency. The language does not know that, but all processors and the kernel do.
atomic_type!(*mut T, core::sync::atomic::AtomicPtr<T>, T, Order::Acquire);
atomic_type!(bool, core::sync::atomic::AtomicBool);

#[repr(transparent)]
pub struct Atomic<T>(UnsafeCell<T>);

unsafe impl<T> Send for Atomic<T> {}
unsafe impl<T> Sync for Atomic<T> {}

impl<T: AtomicType> Atomic<T> {
    pub const fn new(value: T) -> Self {
        Self(UnsafeCell::new(value))
    }

    /// # Safety
    ///
    /// `ptr` must be valid for `'a`, and be accessed atomically.
    pub unsafe fn from_ptr<'a>(ptr: *mut T) -> &'a Self {
        unsafe { &*ptr.cast() }
    }

    pub const fn as_ptr(&self) -> *mut T {
        self.0.get()
    }

    pub fn load<O: Ordering>(&self, _: O) -> T {
        unsafe { T::load(self.0.get(), O::ORDER) }
    }

    pub fn store<O: Ordering>(&self, value: T, _: O) {
        unsafe { T::store(self.0.get(), value, O::ORDER) };
    }

    pub fn xchg<O: Ordering>(&self, value: T, _: O) -> T {
        unsafe { T::xchg(self.0.get(), value, O::ORDER) }
    }

    pub fn cmpxchg<O: Ordering>(&self, old: T, new: T, _: O) -> Result<T, T> {
        unsafe { T::cmpxchg(self.0.get(), old, new, O::ORDER, O::FAILED) }
    }
}

impl<T: AtomicNumber> Atomic<T> {
    pub fn add<O: Ordering>(&self, value: T, _: O) {
        unsafe { T::fetch_add(self.0.get(), value, O::ORDER) };
    }

    pub fn fetch_add<O: Ordering>(&self, value: T, _: O) -> T {
        unsafe { T::fetch_add(self.0.get(), value, O::ORDER) }
    }

    pub fn fetch_sub<O: Ordering>(&self, value: T, _: O) -> T {
        unsafe { T::fetch_sub(self.0.get(), value, O::ORDER) }
    }
}

pub type AtomicFlag = Atomic<bool>;
