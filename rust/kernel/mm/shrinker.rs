// SPDX-License-Identifier: GPL-2.0

//! Giving memory back when it is short.
//!
//! C header: [`include/linux/shrinker.h`](srctree/include/linux/shrinker.h)

use crate::{
    bindings,
    error::{
        code::ENOMEM,
        Result, //
    },
    ffi::c_ulong,
    prelude::*, //
};

/// Something that keeps memory which it can do without.
///
/// # Examples
///
/// ```
/// use kernel::{
///     mm::shrinker::Shrink,
///     sync::atomic::{
///         Atomic,
///         Relaxed, //
///     },
/// };
///
/// /// A number of things that could be made again.
/// struct Store(Atomic<usize>);
///
/// impl Shrink for Store {
///     fn count(&self) -> usize {
///         self.0.load(Relaxed)
///     }
///
///     fn scan(&self, nr: usize) -> usize {
///         let freed = nr.min(self.0.load(Relaxed));
///
///         self.0.fetch_sub(freed, Relaxed);
///         freed
///     }
/// }
///
/// let store = Store(Atomic::new(5));
/// assert_eq!(store.scan(2), 2);
/// assert_eq!(store.count(), 3);
/// ```
pub trait Shrink: Sync + 'static {
    /// Returns about how many objects could be freed; 0 if there are none.
    ///
    /// Called often when memory is short, so it should be fast. Must not sleep for long, nor take
    /// locks with which held memory is allocated.
    fn count(&self) -> usize;

    /// Looks at about `nr` objects, and returns how many of them were freed.
    ///
    /// As for [`count()`](Self::count).
    fn scan(&self, nr: usize) -> usize;
}

/// Has `who` asked to free objects when memory is short, indefinitely: it is never unregistered.
/// `name` is for debugging.
///
/// May sleep.
///
/// # Errors
///
/// `EINVAL` if `module` can be unloaded, whose shrinker this is; `ENOMEM`.
#[doc(alias = "shrinker_register")]
pub fn register<S: Shrink>(
    name: &'static CStr,
    who: &'static S,
    module: &'static ThisModule,
) -> Result {
    if !module.as_ptr().is_null() {
        return Err(EINVAL);
    }
    // SAFETY: The conversion is that of a string, which the name is.
    let shrinker = unsafe { bindings::shrinker_alloc(0, c"%s".as_char_ptr(), name.as_char_ptr()) };
    if shrinker.is_null() {
        return Err(ENOMEM);
    }

    // SAFETY: The shrinker was just allocated, and nobody else knows it. The callbacks find `who`,
    // which lives forever.
    unsafe {
        (*shrinker).count_objects = Some(count::<S>);
        (*shrinker).scan_objects = Some(scan::<S>);
        (*shrinker).private_data = core::ptr::from_ref(who).cast_mut().cast();
        bindings::shrinker_register(shrinker);
    }
    Ok(())
}

/// # Safety
///
/// `shrinker` must be one that [`register()`] has registered for an `S`.
unsafe fn who<'a, S: Shrink>(shrinker: *mut bindings::shrinker) -> &'a S {
    // SAFETY: The caller guarantees that `register()` has registered `shrinker` for an `S`, and so
    // stored a `&'static S` in `private_data`.
    unsafe { &*(*shrinker).private_data.cast::<S>() }
}

/// # Safety
///
/// As for [`who()`].
unsafe extern "C" fn count<S: Shrink>(
    shrinker: *mut bindings::shrinker,
    _control: *mut bindings::shrink_control,
) -> c_ulong {
    // SAFETY: The caller guarantees that `register()` has registered `shrinker` for an `S`.
    match unsafe { who::<S>(shrinker) }.count() {
        0 => bindings::SHRINK_EMPTY as c_ulong,
        nr => nr as c_ulong,
    }
}

/// # Safety
///
/// As for [`who()`]; `control` must be valid.
unsafe extern "C" fn scan<S: Shrink>(
    shrinker: *mut bindings::shrinker,
    control: *mut bindings::shrink_control,
) -> c_ulong {
    // SAFETY: The caller guarantees that `control` is valid.
    let nr = unsafe { (*control).nr_to_scan };

    // SAFETY: The caller guarantees that `register()` has registered `shrinker` for an `S`.
    unsafe { who::<S>(shrinker) }.scan(nr) as c_ulong
}

#[kunit_tests(rust_mm_shrinker)]
mod tests {
    use super::*;
    use crate::sync::atomic::{
        Atomic,
        Relaxed, //
    };
    use core::ptr::null_mut;

    struct Store(Atomic<usize>);

    impl Shrink for Store {
        fn count(&self) -> usize {
            self.0.load(Relaxed)
        }

        fn scan(&self, nr: usize) -> usize {
            let freed = nr.min(self.0.load(Relaxed));

            self.0.fetch_sub(freed, Relaxed);
            freed
        }
    }

    static STORE: Store = Store(Atomic::new(5));

    #[test]
    fn is_asked_for_its_objects() {
        // As `register()` fills it in, but not registered, since that can't be undone.
        let mut shrinker = bindings::shrinker {
            private_data: core::ptr::from_ref(&STORE).cast_mut().cast(),
            ..pin_init::zeroed()
        };
        let mut control = bindings::shrink_control {
            nr_to_scan: 2,
            ..pin_init::zeroed()
        };

        // SAFETY: The shrinker is one for a `Store`.
        let count = |shrinker: &mut _| unsafe { count::<Store>(shrinker, null_mut()) };
        let mut scan = |nr| {
            control.nr_to_scan = nr;
            // SAFETY: As above, and `control` is valid.
            unsafe { scan::<Store>(&mut shrinker, &mut control) }
        };

        assert_eq!(STORE.0.load(Relaxed), 5);
        assert_eq!(scan(2), 2);
        assert_eq!(STORE.0.load(Relaxed), 3);
        assert_eq!(scan(100), 3);
        // There is nothing left, which is no error.
        assert_eq!(scan(1), 0);
        assert_eq!(count(&mut shrinker), bindings::SHRINK_EMPTY as c_ulong);
        STORE.0.store(7, Relaxed);
        assert_eq!(count(&mut shrinker), 7);
    }
}
