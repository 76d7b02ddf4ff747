// SPDX-License-Identifier: GPL-2.0

//! Reads and writes that are started once more.

use super::{
    AsyncKiocb,
    AsyncRw,
    HasFixedBuffers,
    Issued, //
};
use crate::{
    prelude::*,
    slab::UniqueSlabArc,
    uaccess::UserPtr,
    uio::{
        Buffers,
        Direction,
        FastArray,
        IterSpace,
        UserIter, //
    },
};

impl AsyncKiocb {
    /// Starts an operation once more that has ended without having done anything.
    ///
    /// What would keep it from being started is its outcome here: it was started before.
    pub fn issue_again<T: AsyncRw>(
        this: UniqueSlabArc<T>,
        dir: Direction,
        buffers: Buffers,
    ) -> Issued<T> {
        let mut fast = FastArray::uninit();
        let mut space = IterSpace::uninit();
        let me = Self::of(&*this);
        let iter = me
            .check_access(dir)
            .and_then(|()| UserIter::import(&mut space, dir, buffers, &mut fast))
            .and_then(|iter| me.verify_area(dir, iter.len()).map(|()| iter));

        match iter {
            // SAFETY: `iter` was imported; what it refers to lives until the end of this function,
            // and so beyond the call.
            Ok(mut iter) => unsafe { Self::call(this, dir, iter.as_raw(), true) },
            Err(error) => Issued::Complete(this, error.to_errno() as isize),
        }
    }

    /// The same for an operation on a part of a pinned buffer.
    pub fn issue_fixed_again<T: AsyncRw + HasFixedBuffers>(
        this: UniqueSlabArc<T>,
        dir: Direction,
        index: usize,
        addr: UserPtr,
        len: usize,
    ) -> Issued<T> {
        let mut space = IterSpace::uninit();
        let me = Self::of(&*this);
        let imported = me
            .check_access(dir)
            .and_then(|()| this.fixed_buffers().ok_or(EFAULT))
            .and_then(|buffers| buffers.range(index, addr, len))
            .map(|range| range.init_iter(&mut space, dir))
            .and_then(|()| me.verify_area(dir, len))
            .and_then(|()| me.is_aligned(addr, len).then_some(()).ok_or(EINVAL));

        match imported {
            // SAFETY: The iterator was initialised, and lives until the end of this function. Its
            // segments are borrowed from the operation, which stays until it is complete.
            Ok(()) => unsafe { Self::call(this, dir, space.as_mut_ptr(), true) },
            Err(error) => Issued::Complete(this, error.to_errno() as isize),
        }
    }
}
