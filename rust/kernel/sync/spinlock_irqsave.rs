// SPDX-License-Identifier: GPL-2.0

//! A spinlock that saves and restores the local interrupt state.
//!
//! C header: [`include/linux/spinlock.h`](srctree/include/linux/spinlock.h)

use crate::{
    bindings,
    sync::lock::{
        Backend,
        Guard,
        Lock, //
    },
};

/// Creates a [`SpinLockIrqSave`] initialiser with the given name and a newly-created lock class.
///
/// It uses the name if one is given, otherwise it generates one based on the file name and line
/// number.
#[macro_export]
macro_rules! new_spinlock_irqsave {
    ($inner:expr $(, $name:literal)? $(,)?) => {
        $crate::sync::SpinLockIrqSave::new(
            $inner, $crate::optional_name!($($name)?), $crate::static_lock_class!())
    };
}
pub use new_spinlock_irqsave;

/// A spinlock that may be taken in any context, hard interrupts included.
///
/// Unlike [`SpinLockIrq`](crate::sync::SpinLockIrq), which counts nested interrupt-disabled
/// sections, this is the classic `spin_lock_irqsave()`: the guard holds the interrupt state of the
/// time before. It is the cheaper of the two, for paths where that counts, at a price: guards
/// must be dropped in the reverse order of their creation, or interrupts are enabled while an
/// outer lock is still held (which lockdep reports).
///
/// # Examples
///
/// ```
/// use kernel::sync::{new_spinlock_irqsave, SpinLockIrqSave};
/// use pin_init::stack_pin_init;
///
/// stack_pin_init!(let counter: SpinLockIrqSave<u32> = new_spinlock_irqsave!(10));
///
/// *counter.lock() += 5;
/// assert_eq!(*counter.lock(), 15);
///
/// let held = counter.lock();
/// assert!(counter.try_lock().is_none());
/// drop(held);
/// assert!(counter.try_lock().is_some());
/// ```
pub type SpinLockIrqSave<T> = Lock<T, SpinLockIrqSaveBackend>;

/// A [`Guard`] acquired from locking a [`SpinLockIrqSave`].
pub type SpinLockIrqSaveGuard<'a, T> = Guard<'a, T, SpinLockIrqSaveBackend>;

/// A kernel `spinlock_t` lock backend that saves and restores the interrupt state.
pub struct SpinLockIrqSaveBackend;

// SAFETY: The underlying kernel `spinlock_t` object ensures mutual exclusion. `relock` uses the
// default implementation that always calls the same locking method.
unsafe impl Backend for SpinLockIrqSaveBackend {
    type State = bindings::spinlock_t;
    /// The interrupt state of before.
    type GuardState = usize;

    #[inline]
    unsafe fn init(
        ptr: *mut Self::State,
        name: *const crate::ffi::c_char,
        key: *mut bindings::lock_class_key,
    ) {
        // SAFETY: The safety requirements ensure that `ptr` is valid for writes, and `name` and
        // `key` are valid for read indefinitely.
        unsafe { bindings::__spin_lock_init(ptr, name, key) }
    }

    #[inline]
    unsafe fn lock(ptr: *mut Self::State) -> Self::GuardState {
        // SAFETY: The safety requirements of this function ensure that `ptr` points to valid
        // memory, and that it has been initialised before.
        unsafe { bindings::spin_lock_irqsave(ptr) }
    }

    #[inline]
    unsafe fn unlock(ptr: *mut Self::State, guard_state: &Self::GuardState) {
        // SAFETY: The safety requirements of this function ensure that `ptr` is valid and that the
        // caller is the owner of the spinlock; the state comes from the matching `lock`.
        unsafe { bindings::spin_unlock_irqrestore(ptr, *guard_state) }
    }

    #[inline]
    unsafe fn try_lock(ptr: *mut Self::State) -> Option<Self::GuardState> {
        let mut flags = 0;

        // SAFETY: The `ptr` pointer is guaranteed to be valid and initialized before use.
        unsafe { bindings::spin_trylock_irqsave(ptr, &mut flags) }.then_some(flags)
    }

    #[inline]
    unsafe fn assert_is_held(ptr: *mut Self::State) {
        // SAFETY: The `ptr` pointer is guaranteed to be valid and initialized before use.
        unsafe { bindings::spin_assert_is_held(ptr) }
    }
}
