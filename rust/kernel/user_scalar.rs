// SPDX-License-Identifier: GPL-2.0

//! Single numbers in the memory of the current process.
//!
//! C header: [`include/linux/uaccess.h`](srctree/include/linux/uaccess.h)

use crate::{
    bindings,
    error::{
        to_result,
        Result, //
    },
    uaccess::UserPtr, //
};

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
