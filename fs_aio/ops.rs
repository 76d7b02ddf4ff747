// SPDX-License-Identifier: GPL-2.0

//! The operations: one file for each family.

use crate::request::{
    Batch,
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
/// All of them are inlined here, each in one place, and this into the loop over the iocbs: so what
/// was copied and gathered for an operation need not go through memory.
///
/// `compat` tells whether the iocb is that of a 32-bit program on a 64-bit kernel.
///
/// # Errors
///
/// `EINVAL` if there is no such operation, or what keeps it from being started. Otherwise its
/// outcome will be in an event.
#[inline]
pub(crate) fn start(request: Prepared, iocb: &Iocb, compat: bool, batch: &mut Batch<'_>) -> Result {
    use Direction::{
        Read,
        Write, //
    };

    let (dir, shape) = match iocb.opcode() {
        opcode::PREAD => (Read, rw::Shape::One),
        opcode::PWRITE => (Write, rw::Shape::One),
        opcode::PREADV => (Read, rw::Shape::Vector { compat }),
        opcode::PWRITEV => (Write, rw::Shape::Vector { compat }),
        opcode @ (opcode::FSYNC | opcode::FDSYNC) => {
            let what = match opcode {
                opcode::FSYNC => fsync::What::All,
                _ => fsync::What::Data,
            };

            return fsync::start(request, iocb, what, batch);
        }
        opcode::POLL => return poll::start(request, iocb, batch),
        _ => return Err(EINVAL),
    };

    rw::start(request, iocb, dir, shape, batch)
}
