// SPDX-License-Identifier: GPL-2.0

//! Buffers of a process that an operation keeps until it has ended.

use super::{
    Buffers,
    Direction,
    FixedBuffers,
    IterSpace,
    UserIter, //
};
use crate::{
    bindings,
    error::{
        to_result,
        Error, //
    },
    prelude::*,
    uaccess::UserPtr, //
};
use core::{
    mem::{
        replace,
        MaybeUninit, //
    },
    ptr::null_mut, //
};

/// Buffers of a process, described once: what the process does with the description afterwards
/// makes no difference.
///
/// They are to be used by threads of that process.
pub struct OwnedBuffers(Inner);

enum Inner {
    User(UserBuffers),
    Fixed {
        index: usize,
        addr: UserPtr,
        len: usize,
    },
}

/// # Invariants
///
/// `iter` is an iterator over user memory that was imported. `allocated` is null, or the array that
/// it iterates over, which is of `kmalloc()` and belongs to this value.
struct UserBuffers {
    iter: bindings::iov_iter,
    allocated: *mut bindings::iovec,
}

// SAFETY: What the iterator refers to belongs to the value. Addresses of user memory are nothing
// but numbers.
unsafe impl Send for OwnedBuffers {}

// SAFETY: A shared value is only copied from.
unsafe impl Sync for OwnedBuffers {}

impl Drop for UserBuffers {
    fn drop(&mut self) {
        if !self.allocated.is_null() {
            // SAFETY: By the type invariants it was allocated with `kmalloc()`, for this value.
            unsafe { bindings::kfree(self.allocated.cast()) };
        }
    }
}

impl OwnedBuffers {
    /// Imports buffers of the current process.
    ///
    /// May sleep.
    ///
    /// # Errors
    ///
    /// `EFAULT` if the addresses, or the array, are not those of a process; `EINVAL` if the array
    /// has too many elements or a negative length; `ENOMEM`.
    pub fn import(dir: Direction, buffers: Buffers) -> Result<Self> {
        let mut space = IterSpace::uninit();
        let iter = space.as_mut_ptr();
        let mut allocated = null_mut();
        let mut one = MaybeUninit::<bindings::iovec>::uninit();
        let ret = match buffers {
            Buffers::One { addr, len } => {
                // SAFETY: The iterator is valid for writes; any address is checked.
                unsafe { bindings::import_ubuf(dir.iter(), addr.as_mut_ptr(), len, iter) as isize }
            }
            Buffers::Vector {
                addr,
                count,
                compat,
            } => {
                let (rw, addr) = (dir.iter(), addr.as_const_ptr().cast());
                // C takes the number as an `unsigned int`, as `preadv(2)` does with its own.
                let count = count as u32;

                // A single element is copied there, and not needed any longer then.
                if count == 1 {
                    allocated = one.as_mut_ptr();
                }
                // SAFETY: Longer arrays are allocated, since there is no room for short ones;
                // `iter` is valid for writes.
                unsafe {
                    bindings::__import_iovec(rw, addr, count, 0, &mut allocated, iter, compat)
                }
            }
        };

        if ret < 0 {
            // There is no array of its own then.
            return Err(Error::from_errno(ret as i32));
        }
        // INVARIANT: Both ways have initialised the iterator, and allocated the array if there is
        // one.
        Ok(Self(Inner::User(UserBuffers {
            // SAFETY: `import_ubuf()` or `__import_iovec()` has succeeded, and so initialised it.
            iter: unsafe { space.assume_init() },
            allocated,
        })))
    }

    /// A part of one of some pinned buffers: that at these addresses.
    ///
    /// # Errors
    ///
    /// `EFAULT` if there is no such buffer, or not all of the part is in it.
    pub fn part_of(
        buffers: Option<&FixedBuffers>,
        index: usize,
        addr: UserPtr,
        len: usize,
    ) -> Result<Self> {
        buffers.ok_or(EFAULT)?.range(index, addr, len)?;
        Ok(Self::fixed(index, addr, len))
    }

    /// The same for a part that was found to be in it, or will be looked for when it is used.
    pub fn fixed(index: usize, addr: UserPtr, len: usize) -> Self {
        Self(Inner::Fixed { index, addr, len })
    }

    /// Returns how many bytes they have.
    pub fn len(&self) -> usize {
        match &self.0 {
            // SAFETY: By the type invariants the iterator is initialised.
            Inner::User(user) => unsafe { super::len(&user.iter) },
            Inner::Fixed { len, .. } => *len,
        }
    }

    /// Returns the part of a pinned buffer that it is, if it is one.
    pub fn fixed_part(&self) -> Option<(UserPtr, usize)> {
        match self.0 {
            Inner::User(_) => None,
            Inner::Fixed { addr, len, .. } => Some((addr, len)),
        }
    }

    /// Returns whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Makes an iterator over what is behind the first `done` bytes. It refers to this value, and
    /// to the pinned buffers.
    ///
    /// # Errors
    ///
    /// `EFAULT` if the pinned buffer is not there, or not all of the part is in it.
    pub fn init_iter(
        &self,
        space: &mut IterSpace,
        dir: Direction,
        fixed: Option<&FixedBuffers>,
        done: usize,
    ) -> Result {
        match &self.0 {
            Inner::User(user) => {
                // SAFETY: `user.iter` and `space` are valid and distinct; an `iov_iter` of user
                // memory is a plain structure, which does not refer to itself.
                unsafe { core::ptr::copy_nonoverlapping(&user.iter, space.as_mut_ptr(), 1) };
            }
            Inner::Fixed { index, addr, len } => fixed
                .ok_or(EFAULT)?
                .range(*index, *addr, *len)?
                .init_iter(space, dir),
        }
        // SAFETY: The iterator was initialised above. Nothing beyond its end is skipped.
        unsafe { bindings::iov_iter_advance(space.as_mut_ptr(), done.min(self.len())) };
        Ok(())
    }

    /// Calls `f` with the address and the length of each buffer, behind the first `done` bytes, as
    /// long as it uses all of it; returns how many bytes that were.
    ///
    /// # Errors
    ///
    /// What `f` returns for the first.
    pub fn each(&self, done: usize, mut f: impl FnMut(UserPtr, usize) -> isize) -> isize {
        let mut sum = 0;
        let mut one = |addr, len: usize| {
            let n = f(addr, len);

            if n > 0 {
                sum += n;
            } else if sum == 0 {
                sum = n;
            }
            n == len as isize
        };

        match &self.0 {
            Inner::Fixed { addr, len, .. } => {
                one(addr.wrapping_byte_add(done), len - done);
            }
            Inner::User(user) => {
                let mut space = MaybeUninit::<bindings::iov_iter>::uninit();
                let iter = space.as_mut_ptr();

                // SAFETY: `user.iter` and `iter` are valid and distinct; an `iov_iter` of user
                // memory is a plain structure, which does not refer to itself.
                unsafe { core::ptr::copy_nonoverlapping(&user.iter, iter, 1) };
                // SAFETY: The iterator was initialised above. Nothing beyond its end is skipped.
                unsafe { bindings::iov_iter_advance(iter, done.min(self.len())) };
                // SAFETY: The iterator is valid.
                while unsafe { super::len(iter) } != 0 {
                    // SAFETY: The iterator is valid, and of user memory, with something left.
                    let addr = unsafe { bindings::iter_iov_addr(iter) };
                    // SAFETY: The iterator is valid, and of user memory, with something left.
                    let len = unsafe { bindings::iter_iov_len(iter) };

                    if len != 0 && !one(UserPtr::from_ptr(addr), len) {
                        break;
                    }
                    if len == 0 {
                        break;
                    }
                    // SAFETY: `iter_iov_len()` has returned `len`, which is not more than the
                    // iterator has left.
                    unsafe { bindings::iov_iter_advance(iter, len) };
                }
            }
        }
        sum
    }
}

/// Copies an array of buffers to memory of `kmalloc()`: null, if there are none.
///
/// # Safety
///
/// The array must have `count` elements.
unsafe fn copy_array(array: *const bindings::iovec, count: usize) -> Result<*mut bindings::iovec> {
    if count == 0 {
        return Ok(null_mut());
    }
    let (copy, ..) = KVec::with_capacity(count, GFP_KERNEL)?.into_raw_parts();

    // SAFETY: The caller guarantees that `array` has `count` elements; `copy` was just allocated
    // with room for `count`.
    unsafe { core::ptr::copy_nonoverlapping(array, copy, count) };
    Ok(copy)
}

impl UserIter<'_> {
    /// Keeps the buffers as they were imported: what was used of them makes no difference, and an
    /// array of them is not read again.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    ///
    /// # Safety
    ///
    /// They were imported of `buffers`, for `dir`, and had `len` bytes. Nobody uses the iterator
    /// any longer.
    #[cold]
    #[inline(never)]
    pub(crate) unsafe fn into_owned(
        mut self,
        dir: Direction,
        buffers: Buffers,
        len: usize,
    ) -> Result<OwnedBuffers> {
        let Buffers::Vector { count, .. } = buffers else {
            return OwnedBuffers::import(dir, buffers);
        };
        // As C takes it, see `UserIter::import()`.
        let count = count as u32 as usize;
        let mut space = IterSpace::uninit();
        let iter = space.as_mut_ptr();
        let allocated = if count == 1 {
            // SAFETY: C copies a single element there, which needs no memory.
            let one = unsafe { self.fast.as_ptr().cast::<bindings::iovec>().read() };

            // SAFETY: The iterator is valid for writes; any address is checked.
            to_result(unsafe {
                bindings::import_ubuf(dir.iter(), one.iov_base, one.iov_len, iter)
            })?;
            null_mut()
        } else {
            let array = if self.allocated.is_null() {
                // SAFETY: By the type invariants these are the elements, as many as were asked for.
                unsafe { copy_array(self.fast.as_ptr().cast(), count) }?
            } else {
                replace(&mut self.allocated, null_mut())
            };

            // SAFETY: The iterator is valid for writes. The array has so many elements, which C has
            // checked, and so many bytes.
            unsafe { bindings::iov_iter_init(iter, dir.iter() as u32, array, count, len) };
            array
        };

        // INVARIANT: Both ways have initialised the iterator, of buffers that were imported. The
        // array is no longer that of `self`.
        Ok(OwnedBuffers(Inner::User(UserBuffers {
            // SAFETY: `import_ubuf()` has succeeded, or `iov_iter_init()` was called: either has
            // initialised the iterator.
            iter: unsafe { space.assume_init() },
            allocated,
        })))
    }
}

#[macros::kunit_tests(rust_uio_owned)]
mod tests {
    use super::*;
    use crate::{
        kunit::user::UserMemory,
        uio::FastArray, //
    };

    fn lengths(buffers: &OwnedBuffers, done: usize) -> Result<(isize, KVec<usize>)> {
        let mut all = KVec::new();
        let n = buffers.each(done, |_, len| {
            let _ = all.push(len, GFP_KERNEL);
            len as isize
        });

        Ok((n, all))
    }

    #[test]
    fn one() -> Result {
        let memory = UserMemory::new(1)?;
        let (addr, len) = (memory.at(8), 100);
        let buffers = OwnedBuffers::import(Direction::Read, Buffers::One { addr, len })?;

        assert_eq!(buffers.len(), 100);
        let (n, all) = lengths(&buffers, 30)?;

        assert_eq!((n, &all[..]), (70, &[70][..]));
        Ok(())
    }

    /// The array is not looked at again.
    #[test]
    fn vector() -> Result {
        let memory = UserMemory::new(1)?;
        let base = memory.at(0).as_const_ptr() as usize;
        let vector = |count| Buffers::Vector {
            addr: memory.at(0),
            count,
            compat: false,
        };

        memory.write(0, &[base, 3, base, 5, base, 7])?;
        let buffers = OwnedBuffers::import(Direction::Write, vector(3))?;
        let single = OwnedBuffers::import(Direction::Write, vector(1))?;

        memory.write(0, &[0usize; 6])?;
        assert_eq!((buffers.len(), single.len()), (15, 3));
        for (done, n, expected) in [
            (0, 15, &[3, 5, 7][..]),
            (2, 13, &[1, 5, 7][..]),
            (3, 12, &[5, 7][..]),
            (9, 6, &[6][..]),
            (15, 0, &[][..]),
        ] {
            let (sum, all) = lengths(&buffers, done)?;

            assert_eq!((sum, &all[..]), (n, expected));
        }
        // A short one is the last, and an error counts only if it is the first.
        let mut calls = 0;
        let n = buffers.each(0, |_, len| {
            calls += 1;
            if calls == 2 {
                -5
            } else {
                len as isize
            }
        });

        assert_eq!((n, calls), (3, 2));
        assert_eq!(buffers.each(0, |_, _| -5), -5);
        Ok(())
    }

    /// What was imported for an attempt, however far that has come.
    #[test]
    fn of_an_iterator() -> Result {
        const ELEMENT: usize = size_of::<[usize; 2]>();
        const MOST: usize = super::super::FAST + 1;

        let memory = UserMemory::new(1)?;
        let buffer = |i| memory.at(1024 + 64 * i).as_const_ptr() as usize;

        // None, one, as many as there is room for, and more.
        for count in [0, 1, 2, MOST - 1, MOST] {
            for used in [0, 5, usize::MAX] {
                let (mut space, mut fast) = (IterSpace::uninit(), FastArray::uninit());
                let buffers = Buffers::Vector {
                    addr: memory.at(0),
                    count,
                    compat: false,
                };

                for i in 0..count {
                    memory.write(i * ELEMENT, &[buffer(i), 3 + i])?;
                }
                let mut iter = UserIter::import(&mut space, Direction::Read, buffers, &mut fast)?;
                let len = iter.len();

                // SAFETY: The iterator is valid. Nothing beyond its end is skipped.
                unsafe { bindings::iov_iter_advance(iter.as_raw(), used.min(len)) };
                memory.write(0, &[0usize; 2 * MOST])?;
                // SAFETY: These are what was imported, and the iterator is not used any longer.
                let owned = unsafe { iter.into_owned(Direction::Read, buffers, len) }?;
                let mut i = 0;

                assert_eq!(owned.len(), len);
                owned.each(0, |addr, len| {
                    assert_eq!((addr.as_const_ptr() as usize, len), (buffer(i), 3 + i));
                    i += 1;
                    len as isize
                });
                assert_eq!(i, count);
            }
        }
        Ok(())
    }

    #[test]
    fn refused() -> Result {
        let bad = UserPtr::from_addr(usize::MAX - 9);
        let one = Buffers::One { addr: bad, len: 1 };
        let vector = Buffers::Vector {
            addr: bad,
            count: 2,
            compat: false,
        };

        assert_eq!(
            OwnedBuffers::import(Direction::Read, one).err(),
            Some(EFAULT)
        );
        assert_eq!(
            OwnedBuffers::import(Direction::Read, vector).err(),
            Some(EFAULT)
        );
        Ok(())
    }
}
