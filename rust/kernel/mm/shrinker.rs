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
pub trait Shrink: Sync + 'static {
    /// Returns about how many objects could be freed.
    ///
    /// Called often when memory is short, so it should be fast. Must not sleep for long, nor take
    /// locks with which held memory is allocated.
    fn count(&self) -> usize;

    /// Looks at about `nr` objects, and returns how many of them were freed.
    ///
    /// As for [`count()`](Self::count).
    fn scan(&self, nr: usize) -> usize;
}

/// Asks `who` to free objects when memory is short, for ever. `name` is for debugging.
///
/// May sleep.
///
/// # Errors
///
/// `ENOMEM`.
#[doc(alias = "shrinker_register")]
pub fn register<S: Shrink>(name: &'static CStr, who: &'static S) -> Result {
    // SAFETY: The name is a string without conversions.
    let shrinker = unsafe { bindings::shrinker_alloc(0, name.as_char_ptr()) };
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
    // SAFETY: By the requirements of this function.
    unsafe { &*(*shrinker).private_data.cast::<S>() }
}

/// # Safety
///
/// As for [`who()`].
unsafe extern "C" fn count<S: Shrink>(
    shrinker: *mut bindings::shrinker,
    _control: *mut bindings::shrink_control,
) -> c_ulong {
    // SAFETY: By the requirements of this function. No objects is zero, too.
    unsafe { who::<S>(shrinker) }.count() as c_ulong
}

/// # Safety
///
/// As for [`who()`]; `control` must be valid.
unsafe extern "C" fn scan<S: Shrink>(
    shrinker: *mut bindings::shrinker,
    control: *mut bindings::shrink_control,
) -> c_ulong {
    // SAFETY: By the requirements of this function.
    unsafe { who::<S>(shrinker).scan((*control).nr_to_scan) as c_ulong }
}
