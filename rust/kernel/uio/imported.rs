// SPDX-License-Identifier: GPL-2.0

//! Buffers of a process that a file is called with, and that may have to be kept afterwards.

use super::{
    Buffers,
    Direction,
    FastArray,
    IterSpace,
    OwnedBuffers,
    UserIter, //
};
use crate::{
    bindings,
    prelude::*, //
};

/// Room for [`ImportedBuffers`], on the stack.
pub struct BufferSpace {
    iter: IterSpace,
    fast: FastArray,
}

impl BufferSpace {
    /// Nothing is in it.
    #[inline(always)]
    pub const fn uninit() -> Self {
        Self {
            iter: IterSpace::uninit(),
            fast: FastArray::uninit(),
        }
    }
}

/// Buffers of the current process, as they were when they were imported: of an array of them the
/// process may have changed every word since.
///
/// # Invariants
///
/// `iter` was imported of `buffers`, for `dir`, and had `len` bytes.
pub struct ImportedBuffers<'a> {
    iter: UserIter<'a>,
    dir: Direction,
    buffers: Buffers,
    len: usize,
}

impl<'a> ImportedBuffers<'a> {
    /// Imports buffers of the current process.
    ///
    /// May sleep.
    ///
    /// # Errors
    ///
    /// Those of [`OwnedBuffers::import()`].
    ///
    /// # Examples
    ///
    /// ```
    /// use kernel::{uaccess::UserPtr, uio::*};
    ///
    /// /// Describes a buffer on the stack, and keeps that.
    /// fn keep(addr: UserPtr, len: usize) -> Result<OwnedBuffers> {
    ///     let mut space = BufferSpace::uninit();
    ///     let one = Buffers::One { addr, len };
    ///     let buffers = ImportedBuffers::new(&mut space, Direction::Read, one)?;
    ///
    ///     buffers.into_owned()
    /// }
    ///
    /// assert_eq!(keep(UserPtr::from_addr(1 << 20), 10)?.len(), 10);
    /// assert!(keep(UserPtr::from_addr(usize::MAX), 10).is_err());
    /// # Ok::<(), Error>(())
    /// ```
    #[inline(always)]
    pub fn new(space: &'a mut BufferSpace, dir: Direction, buffers: Buffers) -> Result<Self> {
        let iter = UserIter::import(&mut space.iter, dir, buffers, &mut space.fast)?;
        let len = iter.len();

        // INVARIANT: It was imported of these, and has so many bytes.
        Ok(Self {
            iter,
            dir,
            buffers,
            len,
        })
    }

    /// Returns how many bytes they have.
    #[inline(always)]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Returns whether they have none.
    #[inline(always)]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns which way the data goes.
    #[inline(always)]
    pub fn dir(&self) -> Direction {
        self.dir
    }

    /// Returns the C structure, which is valid as long as this value.
    #[inline(always)]
    pub fn as_raw(&mut self) -> *mut bindings::iov_iter {
        self.iter.as_raw()
    }

    /// Keeps them, whatever was used of them.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    #[cold]
    #[inline(never)]
    pub fn into_owned(self) -> Result<OwnedBuffers> {
        // SAFETY: By the type invariants this is what it was imported of. `as_raw()` borrows this
        // value, so nobody uses the iterator any longer.
        unsafe { self.iter.into_owned(self.dir, self.buffers, self.len) }
    }
}
