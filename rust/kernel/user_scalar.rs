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
    const { assert!(align_of::<T>() % align_of::<u64>() == 0) };
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

#[macros::kunit_tests(rust_user_scalar)]
mod tests {
    use super::*;
    use crate::{
        error::code::EFAULT,
        kunit::user::UserMemory, //
    };

    /// Addresses that no process can use: that of nothing, and some of the kernel's.
    fn bad() -> [UserPtr; 3] {
        [0, usize::MAX & !63, 1 << (usize::BITS - 1)].map(UserPtr::from_addr)
    }

    #[test]
    fn numbers_go_there_and_back() -> Result {
        let memory = UserMemory::new(1)?;

        0x1234_5678u32.put_user(memory.at(4))?;
        assert_eq!(u32::get_user(memory.at(4))?, 0x1234_5678);
        assert_eq!(u32::get_user(memory.at(0))?, 0);
        assert_eq!(u32::get_user(memory.at(8))?, 0);
        (usize::MAX - 1).put_user(memory.at(16))?;
        assert_eq!(usize::get_user(memory.at(16))?, usize::MAX - 1);
        Ok(())
    }

    #[test]
    fn up_to_the_end_and_no_further() -> Result {
        let memory = UserMemory::new(1)?;
        let end = memory.len();
        let mut words = MaybeUninit::<[u64; 8]>::uninit();

        7u32.put_user(memory.at(end - 4))?;
        assert_eq!(u32::get_user(memory.at(end - 4))?, 7);
        assert_eq!(u32::get_user(memory.at(end - 3)), Err(EFAULT));
        assert_eq!(7u32.put_user(memory.at(end - 3)), Err(EFAULT));
        assert_eq!(7usize.put_user(memory.at(end)), Err(EFAULT));

        // Where it is copied byte by byte, a part of what fails has been written.
        7u32.put_user(memory.at(end - 4))?;
        assert_eq!(read_words(memory.at(end - 64), &mut words)?[7] >> 32, 7);
        for beyond in [1, 8, 56, 64] {
            let ptr = memory.at(end - 64 + beyond);

            assert_eq!(read_words(ptr, &mut words).err(), Some(EFAULT));
        }
        Ok(())
    }

    #[test]
    fn addresses_that_are_not_the_process_s() -> Result {
        // There is an address space, so that the address alone is what is wrong.
        let _memory = UserMemory::new(1)?;

        for ptr in bad() {
            let mut words = MaybeUninit::<[u64; 8]>::uninit();

            assert_eq!(u32::get_user(ptr), Err(EFAULT));
            assert_eq!(usize::get_user(ptr), Err(EFAULT));
            assert_eq!(0u32.put_user(ptr), Err(EFAULT));
            assert_eq!(0usize.put_user(ptr), Err(EFAULT));
            assert_eq!(read_words(ptr, &mut words).err(), Some(EFAULT));
        }
        Ok(())
    }
}
