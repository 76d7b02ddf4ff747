// SPDX-License-Identifier: GPL-2.0

//! Buffers that a process has passed for I/O.
//!
//! C header: [`include/linux/uio.h`](srctree/include/linux/uio.h)

use crate::{
    bindings,
    error::{
        to_result,
        Result, //
    },
    types::Opaque,
    uaccess::UserPtr, //
};
use core::{
    mem::MaybeUninit,
    pin::Pin,
    ptr::null_mut, //
};

/// Which way the data goes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the file to the buffers.
    Read,
    /// From the buffers to the file.
    Write,
}

impl Direction {
    /// Returns C's `READ` or `WRITE`.
    #[inline]
    pub(crate) fn rw(self) -> i32 {
        match self {
            Direction::Read => bindings::READ as i32,
            Direction::Write => bindings::WRITE as i32,
        }
    }

    /// Returns C's `ITER_DEST` or `ITER_SOURCE`.
    #[inline]
    fn iter(self) -> i32 {
        match self {
            Direction::Read => bindings::ITER_DEST as i32,
            Direction::Write => bindings::ITER_SOURCE as i32,
        }
    }
}

/// How a process has described its buffers.
#[derive(Clone, Copy)]
pub enum Buffers {
    /// One buffer of `len` bytes.
    One {
        /// The address.
        addr: UserPtr,
        /// The size in bytes; what is above `MAX_RW_COUNT` is cut off.
        len: usize,
    },
    /// An array of `count` `struct iovec`.
    Vector {
        /// The address of the array.
        addr: UserPtr,
        /// The number of its elements.
        count: usize,
        /// Whether the elements are those of a 32-bit program.
        compat: bool,
    },
}

/// Buffers of the current process, as an iterator that files understand.
///
/// # Invariants
///
/// `iter` is initialised; what it refers to is valid as long as this value, which is pinned, so
/// that it can't take the place of another.
pub struct UserIter {
    iter: Opaque<bindings::iov_iter>,
}

impl UserIter {
    /// Imports the buffers and calls `f` with them.
    ///
    /// May sleep. The addresses are checked to be those of a process, but nothing more: faults
    /// turn up when data is copied.
    ///
    /// # Errors
    ///
    /// `EFAULT` if the addresses, or the array, are not those of a process; `EINVAL` if the array
    /// has too many elements or a negative length; `ENOMEM`.
    #[inline]
    pub fn with<R>(
        dir: Direction,
        buffers: Buffers,
        f: impl FnOnce(Pin<&mut UserIter>) -> Result<R>,
    ) -> Result<R> {
        match buffers {
            Buffers::One { addr, len } => {
                let mut iter = UserIter {
                    iter: Opaque::uninit(),
                };

                // SAFETY: `iter` is valid for writes.
                //
                // INVARIANT: On success it is initialised, and refers to user memory only.
                to_result(unsafe {
                    bindings::import_ubuf(dir.iter(), addr.as_mut_ptr(), len, iter.iter.get())
                })?;
                // SAFETY: The iterator is not moved before it is gone.
                f(unsafe { Pin::new_unchecked(&mut iter) })
            }
            Buffers::Vector {
                addr,
                count,
                compat,
            } => Self::with_vector(dir, addr, count, compat, f),
        }
    }

    fn with_vector<R>(
        dir: Direction,
        addr: UserPtr,
        count: usize,
        compat: bool,
        f: impl FnOnce(Pin<&mut UserIter>) -> Result<R>,
    ) -> Result<R> {
        /// An array that `__import_iovec()` has allocated.
        struct Allocated(*mut bindings::iovec);

        impl Drop for Allocated {
            fn drop(&mut self) {
                // SAFETY: It is null or was allocated with `kmalloc()`.
                unsafe { bindings::kfree(self.0.cast()) };
            }
        }

        const FAST: usize = bindings::UIO_FASTIOV as usize;
        let mut fast = MaybeUninit::<[bindings::iovec; FAST]>::uninit();
        let mut vec = Allocated(null_mut());
        let mut iter = UserIter {
            iter: Opaque::uninit(),
        };
        let mut array = fast.as_mut_ptr().cast::<bindings::iovec>();

        // C takes the number as an `unsigned int`, as `preadv(2)` does with its own; a larger one
        // is cut in the same way.
        //
        // SAFETY: `array` has room for `FAST` elements; `iter` is valid for writes.
        let ret = unsafe {
            bindings::__import_iovec(
                dir.iter(),
                addr.as_const_ptr().cast(),
                count as u32,
                bindings::UIO_FASTIOV,
                &mut array,
                iter.iter.get(),
                compat,
            )
        };
        // Afterwards this is null, or an array of its own.
        if !core::ptr::eq(array, fast.as_ptr().cast()) {
            vec.0 = array;
        }
        if ret < 0 {
            return Err(crate::error::Error::from_errno(ret as i32));
        }

        // INVARIANT: `iter` is initialised, and what it refers to lies in user memory, in `fast`
        // and in `vec`, all of which outlive the call.
        // SAFETY: The iterator is not moved before it is gone.
        f(unsafe { Pin::new_unchecked(&mut iter) })
    }

    /// Returns the number of bytes that are left.
    #[doc(alias = "iov_iter_count")]
    #[inline]
    pub fn len(&self) -> usize {
        // SAFETY: By the type invariants.
        unsafe {
            (*self.iter.get())
                .__bindgen_anon_1
                .__bindgen_anon_1
                .as_ref()
                .count
        }
    }

    /// Returns whether no bytes are left.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the C structure.
    #[inline]
    pub(crate) fn as_raw(self: Pin<&mut Self>) -> *mut bindings::iov_iter {
        self.iter.get()
    }
}
