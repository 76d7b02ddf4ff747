// SPDX-License-Identifier: GPL-2.0

//! The operations: one file for each family.

use crate::request::Prepared;
use kernel::{
    aio::abi::{
        opcode,
        Iocb, //
    },
    prelude::*,
    uio::Direction, //
};

pub(crate) mod rw;

/// The operation that needs the most memory.
pub(crate) type Largest = rw::Rw;

/// Starts the operation that an iocb asks for.
///
/// `compat` tells whether the iocb is that of a 32-bit program on a 64-bit kernel.
///
/// # Errors
///
/// `EINVAL` if there is no such operation, or what keeps it from being started. Otherwise its
/// outcome will be in an event.
#[inline]
pub(crate) fn start(request: Prepared, iocb: &Iocb, compat: bool) -> Result {
    use Direction::{
        Read,
        Write, //
    };

    match iocb.opcode() {
        opcode::PREAD => rw::start(request, iocb, Read, rw::Shape::One),
        opcode::PWRITE => rw::start(request, iocb, Write, rw::Shape::One),
        opcode::PREADV => rw::start(request, iocb, Read, rw::Shape::Vector { compat }),
        opcode::PWRITEV => rw::start(request, iocb, Write, rw::Shape::Vector { compat }),
        _ => Err(EINVAL),
    }
}
