// SPDX-License-Identifier: GPL-2.0

//! Numbers in the memory of the current process.
//!
//! C header: [`include/linux/uaccess.h`](srctree/include/linux/uaccess.h)

use crate::{
    bindings,
    error::{
        to_result,
        Result, //
    },
    transmute::FromBytes,
    uaccess::UserPtr, //
};
use core::mem::MaybeUninit;

/// Numbers that can be read and written in one piece.
pub trait UserScalar: Sized {
    /// Reads a number.
    ///
    /// # Errors
    ///
    /// `EFAULT` if there is no readable memory.
    fn get_user(ptr: UserPtr) -> Result<Self>;

    /// Writes a number.
    ///
    /// # Errors
    ///
    /// `EFAULT` if there is no writable memory.
    fn put_user(self, ptr: UserPtr) -> Result;
}

macro_rules! impl_user_scalar {
    ($ty:ty, $get:ident, $put:ident) => {
        impl UserScalar for $ty {
            #[inline]
            fn get_user(ptr: UserPtr) -> Result<Self> {
                let mut value = 0;

                // SAFETY: `value` is valid for writes; any address is checked.
                to_result(unsafe { bindings::$get(&mut value, ptr.as_const_ptr().cast()) })?;
                Ok(value)
            }

            #[inline]
            fn put_user(self, ptr: UserPtr) -> Result {
                // SAFETY: Any address is checked.
                to_result(unsafe { bindings::$put(self, ptr.as_mut_ptr().cast()) })
            }
        }
    };
}

impl_user_scalar!(u32, get_user_u32, put_user_u32);
impl_user_scalar!(usize, get_user_ulong, put_user_ulong);

/// Reads a small structure that consists of 64-bit words, without calling a function for it.
///
/// May sleep.
///
/// # Errors
///
/// `EFAULT` if not all of it can be read.
#[doc(alias = "unsafe_get_user")]
#[inline]
pub fn read_words<T: FromBytes>(ptr: UserPtr, to: &mut MaybeUninit<T>) -> Result<&T> {
    const { assert!(size_of::<T>() % size_of::<u64>() == 0) };
    const { assert!(size_of::<T>() <= 64) };

    // SAFETY: `to` is valid for writes of this many words; any address is checked.
    to_result(unsafe {
        bindings::get_user_words(
            to.as_mut_ptr().cast(),
            ptr.as_const_ptr().cast(),
            size_of::<T>() / size_of::<u64>(),
        )
    })?;
    // SAFETY: All bytes were written, and any bytes are valid by `T: FromBytes`.
    Ok(unsafe { to.assume_init_ref() })
}
