// SPDX-License-Identifier: GPL-2.0

//! A spinlock that saves and restores the local interrupt state.
//!
//! C header: [`include/linux/spinlock.h`](srctree/include/linux/spinlock.h)

use crate::{
    bindings,
    prelude::*,
    sync::{
        lock::{
            Backend,
            Guard,
            Lock, //
        },
        LockClassKey, //
    }, //
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
/// sections, this is the classic `spin_lock_irqsave()`, which holds the interrupt state of the time
/// before: it is about ten instructions cheaper, for paths where that counts. What makes up for the
/// missing count is that the lock is taken by [`with()`](Self::with): its sections can only be
/// nested, and nothing can be alive beyond one end of them that relies on interrupts being
/// disabled, since such guards are not `Send`. To have a guard is `unsafe`.
///
/// # Examples
///
/// ```
/// use kernel::sync::{new_spinlock_irqsave, SpinLockIrqSave};
/// use pin_init::stack_pin_init;
///
/// stack_pin_init!(let counter: SpinLockIrqSave<u32> = new_spinlock_irqsave!(10));
///
/// counter.with(|counter| *counter += 5);
/// assert_eq!(counter.with(|counter| *counter), 15);
/// ```
#[pin_data]
pub struct SpinLockIrqSave<T: ?Sized> {
    #[pin]
    lock: Lock<T, SpinLockIrqSaveBackend>,
}

/// A [`Guard`] acquired from locking a [`SpinLockIrqSave`].
pub type SpinLockIrqSaveGuard<'a, T> = Guard<'a, T, SpinLockIrqSaveBackend>;

impl<T> SpinLockIrqSave<T> {
    /// Initialises a lock around `data`.
    #[inline]
    pub fn new(
        data: T,
        name: &'static CStr,
        key: Pin<&'static LockClassKey>,
    ) -> impl PinInit<Self> {
        pin_init!(Self { lock <- Lock::new(data, name, key) })
    }
}

impl<T: ?Sized> SpinLockIrqSave<T> {
    /// Calls `f` with what the lock protects.
    ///
    /// Interrupts of the local CPU are disabled meanwhile, so `f` must not sleep. May be called in
    /// any context.
    #[doc(alias = "spin_lock_irqsave")]
    #[inline(always)]
    pub fn with<R: Send>(&self, f: impl FnOnce(&mut T) -> R + Send) -> R
    where
        T: Unpin,
    {
        // `f` can't leave interrupts in another state: it is given no guard that was there before,
        // and leaves none behind, since they are not `Send`.
        f(&mut self.lock.lock())
    }

    /// Takes the lock, where [`with()`](Self::with) is not enough.
    ///
    /// # Safety
    ///
    /// When the guard is dropped, interrupts are what they were before. So all that has disabled
    /// them since must be gone by then, and what had disabled them before must be there still:
    /// guards are dropped in the reverse order of their creation.
    #[inline]
    pub unsafe fn lock(&self) -> SpinLockIrqSaveGuard<'_, T> {
        self.lock.lock()
    }

    /// Takes the lock if nobody has it.
    ///
    /// # Safety
    ///
    /// As for [`lock()`](Self::lock), if there is a guard.
    #[inline]
    pub unsafe fn try_lock(&self) -> Option<SpinLockIrqSaveGuard<'_, T>> {
        self.lock.try_lock()
    }
}

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

        // SAFETY: The safety requirements of this function ensure that `ptr` is valid and has been
        // initialised.
        unsafe { bindings::spin_trylock_irqsave(ptr, &mut flags) }.then_some(flags)
    }

    #[inline]
    unsafe fn assert_is_held(ptr: *mut Self::State) {
        // SAFETY: The safety requirements of this function ensure that `ptr` is valid and has been
        // initialised.
        unsafe { bindings::spin_assert_is_held(ptr) }
    }
}

/// What is not `Send` can't get out of, or into, a section of [`SpinLockIrqSave::with()`] or
/// [`with_irqs_off()`](crate::percpu::with_irqs_off): this does not compile if guards that rely on
/// disabled interrupts are `Send`, since then both implementations apply.
const _: () = {
    trait IsNotSend<A> {
        const OK: () = ();
    }
    impl<T: ?Sized> IsNotSend<()> for T {}
    impl<T: ?Sized + Send> IsNotSend<u8> for T {}

    let () = <crate::interrupt::LocalInterruptDisabled as IsNotSend<_>>::OK;
    let () = <SpinLockIrqSaveGuard<'static, ()> as IsNotSend<_>>::OK;
    let () = <crate::percpu::IrqsOff as IsNotSend<_>>::OK;
};
