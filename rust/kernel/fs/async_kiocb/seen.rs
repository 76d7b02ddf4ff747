// SPDX-License-Identifier: GPL-2.0

//! What can be told of an operation while it is in flight, and when it has ended.

use super::AsyncKiocb;
use crate::{
    bindings,
    fs::FileId,
    uio::Direction, //
};

impl AsyncKiocb {
    /// Returns which file it is.
    #[inline]
    pub fn file_id(&self) -> FileId {
        FileId::of(self.file())
    }

    /// Returns the direction, of an operation that the file was called for.
    #[inline]
    pub fn direction(&self) -> Direction {
        // SAFETY: The structure is valid, and its flags were initialised. Nobody changes this one
        // after the file was called.
        let flags = unsafe { (&raw const (*self.inner.get()).ki_flags).read_volatile() };

        match flags & bindings::IOCB_WRITE as i32 {
            0 => Direction::Read,
            _ => Direction::Write,
        }
    }
}
