// SPDX-License-Identifier: GPL-2.0

//! The operations: one file for each family.

use crate::request::{
    Prepared,
    Request, //
};
use core::mem::ManuallyDrop;
use kernel::{
    aio::abi::{
        opcode,
        Iocb, //
    },
    prelude::*,
    slab::Counted,
    uio::Direction, //
};

pub(crate) mod fsync;
pub(crate) mod poll;
pub(crate) mod rw;

/// As large as any operation.
///
/// Never constructed: requests for all operations share a cache, whose objects have to be as large
/// as the largest.
pub(crate) union Any {
    _fsync: ManuallyDrop<fsync::Fsync>,
    _poll: ManuallyDrop<poll::Poll>,
    _rw: ManuallyDrop<rw::Rw>,
}

/// Returns how much memory a request for an operation takes.
const fn size<O>() -> usize {
    size_of::<Counted<Request<O>>>()
}

const _: () = assert!(size::<fsync::Fsync>() <= size::<Any>());
const _: () = assert!(size::<poll::Poll>() <= size::<Any>());
const _: () = assert!(size::<rw::Rw>() <= size::<Any>());

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
        opcode::FSYNC => fsync::start(request, iocb, fsync::What::All),
        opcode::FDSYNC => fsync::start(request, iocb, fsync::What::Data),
        opcode::POLL => poll::start(request, iocb),
        _ => Err(EINVAL),
    }
}
