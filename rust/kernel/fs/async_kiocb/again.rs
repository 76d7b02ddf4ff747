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
    uio::{
        Direction,
        IterSpace,
        OwnedBuffers, //
    },
};

impl AsyncKiocb {
    /// Starts an operation once more that has ended, on what is behind the first `done` bytes of
    /// its buffers, which it has done.
    ///
    /// The outcome does not count these.
    /// What would keep it from being started is its outcome here: it was started before.
    pub fn issue_again<T: AsyncRw + HasFixedBuffers>(
        this: UniqueSlabArc<T>,
        dir: Direction,
        buffers: &OwnedBuffers,
        done: usize,
    ) -> Issued<T> {
        let mut space = IterSpace::uninit();
        let me = Self::of(&*this);
        let ready = me
            .check_access(dir)
            .and_then(|()| buffers.init_iter(&mut space, dir, this.fixed_buffers(), done))
            .and_then(|()| me.verify_area(dir, buffers.len().saturating_sub(done)))
            .and_then(|()| match buffers.fixed_part() {
                Some((addr, len)) if !me.is_aligned(addr, len) => Err(EINVAL),
                _ => Ok(()),
            });

        match ready {
            // SAFETY: The iterator was initialised; it lives until the end of this function, and
            // what it refers to, in `buffers`, beyond that. Segments are borrowed from the
            // operation, which stays until it is complete.
            Ok(()) => unsafe { Self::call(this, dir, space.as_mut_ptr(), true) },
            Err(error) => Issued::Complete(this, error.to_errno() as isize),
        }
    }
}
