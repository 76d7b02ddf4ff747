// SPDX-License-Identifier: GPL-2.0

//! Buffers that a process has passed for I/O.
//!
//! [`iov`](crate::iov) has iterators that somebody else has made, for those who copy data from or
//! to them. This is the other side: who makes one, of the buffers that a system call names, and
//! hands it to a file.
//!
//! C header: [`include/linux/uio.h`](srctree/include/linux/uio.h)

use crate::{
    bindings,
    error::{
        code::EFAULT,
        Error,
        Result, //
    },
    uaccess::UserPtr, //
};
use core::{
    mem::MaybeUninit,
    ptr::null_mut, //
};

mod fixed;
mod imported;
mod owned;
pub use self::{
    fixed::{
        FixedBuffers,
        FixedRange, //
    },
    imported::{
        BufferSpace,
        ImportedBuffers, //
    },
    owned::OwnedBuffers, //
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
    pub fn rw(self) -> i32 {
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

/// The number of elements of an array for which no memory is allocated.
const FAST: usize = bindings::UIO_FASTIOV as usize;

/// Room for a short array of buffers, on the stack.
pub(crate) type FastArray = MaybeUninit<[bindings::iovec; FAST]>;

/// Room for an iterator of buffers, on the stack.
pub type IterSpace = MaybeUninit<bindings::iov_iter>;

/// Buffers of the current process, as an iterator that files understand.
///
/// # Invariants
///
/// `iter` is initialised. `allocated` is null, or an array of `kmalloc()` that belongs to this
/// value. If it is null, and the buffers were described by an array, that is in `fast`. Nobody
/// changes either: who uses the iterator moves that over the array.
pub(crate) struct UserIter<'a> {
    iter: &'a mut IterSpace,
    fast: &'a FastArray,
    allocated: *mut bindings::iovec,
}

impl Drop for UserIter<'_> {
    #[inline]
    fn drop(&mut self) {
        if !self.allocated.is_null() {
            // SAFETY: By the type invariants it was allocated with `kmalloc()`, for this value.
            unsafe { bindings::kfree(self.allocated.cast()) };
        }
    }
}

impl<'a> UserIter<'a> {
    /// Makes an iterator of these buffers, in `space`; `fast` is room for a short array of them.
    ///
    /// These are the caller's, and not parts of the value, because the compiler would set all of
    /// that to zero.
    ///
    /// May sleep. The addresses are checked to be those of a process, but nothing more: faults
    /// turn up when data is copied.
    ///
    /// # Errors
    ///
    /// `EFAULT` if the addresses, or the array, are not those of a process; `EINVAL` if the array
    /// has too many elements or a negative length; `ENOMEM`.
    #[inline(always)]
    pub(crate) fn import(
        space: &'a mut IterSpace,
        dir: Direction,
        buffers: Buffers,
        fast: &'a mut FastArray,
    ) -> Result<Self> {
        let allocated = match buffers {
            Buffers::One { addr, len } => {
                // This is `import_ubuf()`, without a call.
                let len = len.min(bindings::MAX_RW_COUNT);

                // SAFETY: Nothing is accessed.
                if !unsafe { bindings::access_ok(addr.as_const_ptr(), len) } {
                    return Err(EFAULT);
                }
                let (iter, dir) = (space.as_mut_ptr(), dir.iter() as u32);

                // SAFETY: The iterator is valid for writes; the address was checked.
                unsafe { bindings::iov_iter_ubuf(iter, dir, addr.as_mut_ptr(), len) };
                null_mut()
            }
            Buffers::Vector {
                addr,
                count,
                compat,
            } => Self::import_vector(space, dir, addr, count, compat, fast)?,
        };

        // INVARIANT: Both ways have initialised the iterator; an array is where C has put it.
        Ok(Self {
            iter: space,
            fast,
            allocated,
        })
    }

    /// Imports an array of buffers, into `fast` or an array of its own, which is returned: null, if
    /// it was not needed.
    #[inline(never)]
    fn import_vector(
        space: &mut IterSpace,
        dir: Direction,
        addr: UserPtr,
        count: usize,
        compat: bool,
        fast: &mut FastArray,
    ) -> Result<*mut bindings::iovec> {
        let fast = fast.as_mut_ptr().cast::<bindings::iovec>();
        let iter = space.as_mut_ptr();
        let (rw, addr) = (dir.iter(), addr.as_const_ptr().cast());
        let (count, max) = (count as u32, bindings::UIO_FASTIOV);
        let mut array = fast;

        // C takes the number as an `unsigned int`, as `preadv(2)` does with its own; a larger one
        // is cut in the same way.
        //
        // SAFETY: `array` has room for `FAST` elements; `iter` is valid for writes.
        let ret =
            unsafe { bindings::__import_iovec(rw, addr, count, max, &mut array, iter, compat) };
        if ret < 0 {
            // There is no array of its own then.
            return Err(Error::from_errno(ret as i32));
        }
        // Afterwards this is null, or an array of its own.
        Ok(if core::ptr::eq(array, fast) {
            null_mut()
        } else {
            array
        })
    }

    /// Returns the number of bytes that are left.
    #[doc(alias = "iov_iter_count")]
    #[inline]
    pub(crate) fn len(&self) -> usize {
        // SAFETY: By the type invariants the iterator is initialised.
        unsafe { len(self.iter.as_ptr()) }
    }

    /// Returns the C structure, which is valid as long as this value.
    #[inline]
    pub(crate) fn as_raw(&mut self) -> *mut bindings::iov_iter {
        self.iter.as_mut_ptr()
    }
}

/// Returns the number of bytes that an iterator has left.
///
/// # Safety
///
/// `iter` must be valid.
#[inline]
pub(crate) unsafe fn len(iter: *const bindings::iov_iter) -> usize {
    // SAFETY: The caller guarantees that `iter` is valid. Its kinds all have `count` at this place.
    unsafe { (*iter).__bindgen_anon_1.__bindgen_anon_1.as_ref().count }
}

#[macros::kunit_tests(rust_uio)]
mod tests {
    use super::*;
    use crate::{
        error::{
            code::*,
            to_result, //
        },
        kunit::user::UserMemory,
        page::PAGE_SIZE, //
    };

    /// Imports buffers, and returns how many bytes they have and whether memory was allocated.
    fn import(buffers: Buffers) -> Result<(usize, bool)> {
        let mut results = [Direction::Read, Direction::Write].map(|dir| {
            let mut fast = FastArray::uninit();
            let mut space = IterSpace::uninit();
            let iter = UserIter::import(&mut space, dir, buffers, &mut fast)?;

            Ok((iter.len(), !iter.allocated.is_null()))
        });
        let [read, write] = &mut results;

        // The direction makes no difference.
        assert_eq!(read, write);
        *read
    }

    fn one(addr: UserPtr, len: usize) -> Result<(usize, bool)> {
        import(Buffers::One { addr, len })
    }

    #[test]
    fn one_buffer() {
        // What is there turns up when data is copied; all addresses far above it are a process's.
        let addr = UserPtr::from_addr(PAGE_SIZE + 5);
        // `MAX_RW_COUNT`.
        let most = i32::MAX as usize & !(PAGE_SIZE - 1);

        assert_eq!(one(addr, 100), Ok((100, false)));
        assert_eq!(one(addr, 0), Ok((0, false)));
        if cfg!(CONFIG_64BIT) {
            assert_eq!(one(addr, most), Ok((most, false)));
            assert_eq!(one(addr, most + 1), Ok((most, false)));
            assert_eq!(one(addr, usize::MAX), Ok((most, false)));
        }
        assert_eq!(one(UserPtr::from_addr(usize::MAX - 9), 1), Err(EFAULT));
    }

    #[test]
    fn one_buffer_as_c_imports_it() {
        const MAX: usize = bindings::MAX_RW_COUNT;

        for addr in [
            0,
            1,
            PAGE_SIZE,
            usize::MAX / 2,
            1 << (usize::BITS - 1),
            usize::MAX,
        ] {
            let addr = UserPtr::from_addr(addr);

            for len in [0, 1, MAX, MAX + 1, usize::MAX] {
                let mut space = IterSpace::uninit();
                let (rw, iter) = (Direction::Read.iter(), space.as_mut_ptr());
                // SAFETY: The iterator is valid for writes; any address is checked.
                let ret = unsafe { bindings::import_ubuf(rw, addr.as_mut_ptr(), len, iter) };
                // SAFETY: The iterator was initialised, if that has succeeded.
                let c = to_result(ret).map(|()| (unsafe { super::len(iter) }, false));

                assert_eq!(one(addr, len), c);
            }
        }
    }

    fn vector(addr: UserPtr, count: usize, compat: bool) -> Result<(usize, bool)> {
        import(Buffers::Vector {
            addr,
            count,
            compat,
        })
    }

    #[test]
    fn arrays() -> Result {
        let memory = UserMemory::new(8)?;
        let base = memory.at(0).as_const_ptr() as usize;

        for i in 0..1024 {
            memory.write(i * 16, &[base, 3])?;
        }
        assert_eq!(vector(memory.at(0), 0, false), Ok((0, false)));
        assert_eq!(vector(memory.at(0), 1, false), Ok((3, false)));
        assert_eq!(vector(memory.at(0), FAST, false), Ok((3 * FAST, false)));
        let more = FAST + 1;

        assert_eq!(vector(memory.at(0), more, false), Ok((3 * more, true)));
        assert_eq!(vector(memory.at(0), 1024, false), Ok((3 * 1024, true)));
        assert_eq!(vector(memory.at(0), 1025, false), Err(EINVAL));
        assert_eq!(vector(memory.at(0), usize::MAX, false), Err(EINVAL));
        Ok(())
    }

    #[test]
    fn arrays_that_are_wrong() -> Result {
        let memory = UserMemory::new(1)?;
        let base = memory.at(0).as_const_ptr() as usize;

        // The second element lies outside.
        memory.write(memory.len() - 16, &[base, 3])?;
        assert_eq!(vector(memory.at(memory.len() - 16), 2, false), Err(EFAULT));
        assert_eq!(vector(UserPtr::from_addr(0), 1, false), Err(EFAULT));
        // A negative length, and an address of the kernel.
        memory.write(0, &[base, 3, base, usize::MAX])?;
        assert_eq!(vector(memory.at(0), 1, false), Ok((3, false)));
        assert_eq!(vector(memory.at(0), 2, false), Err(EINVAL));
        memory.write(0, &[base, 3, usize::MAX - 99, 3])?;
        assert_eq!(vector(memory.at(0), 2, false), Err(EFAULT));
        Ok(())
    }

    #[cfg(CONFIG_COMPAT)]
    #[test]
    fn arrays_of_32_bit_programs() -> Result {
        let memory = UserMemory::new(1)?;

        memory.write(0, &[1u32 << 20, 5, 1 << 20, 6])?;
        assert_eq!(vector(memory.at(0), 2, true), Ok((11, false)));
        memory.write(0, &[1u32 << 20, 5, 1 << 20, u32::MAX])?;
        assert_eq!(vector(memory.at(0), 2, true), Err(EINVAL));
        Ok(())
    }
}
