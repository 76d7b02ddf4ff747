// SPDX-License-Identifier: GPL-2.0

//! The operations: one file for each family.

use crate::{
    batch::Batch,
    kind::{
        AnyName,
        IocbName,
        Kind, //
    },
    request::{
        Prepared,
        Request, //
    },
    trace::Observer, //
};
use core::mem::ManuallyDrop;
use kernel::{
    aio::abi::{
        opcode,
        Iocb, //
    },
    prelude::*,
    slab::SlabArcInner,
    uio::Direction, //
};

pub(crate) mod fsync;
#[cfg(CONFIG_AIO_THREAD)]
pub(crate) mod jobs;
#[cfg(CONFIG_AIO_THREAD)]
pub(crate) mod path;
pub(crate) mod poll;
pub(crate) mod polled;
#[cfg(CONFIG_AIO_THREAD)]
pub(crate) mod readahead;
pub(crate) mod rw;
pub(crate) mod threaded;

/// As large as any operation.
///
/// Never constructed: requests for all operations share a cache, whose objects have to be as large
/// as the largest.
pub(crate) union Any {
    _fsync: ManuallyDrop<fsync::Fsync>,
    _poll: ManuallyDrop<poll::Poll>,
    _polled: ManuallyDrop<polled::PolledRw>,
    _rw: ManuallyDrop<rw::Rw>,
}

/// Returns how much memory a request for an operation takes.
const fn size<O>() -> usize {
    size_of::<SlabArcInner<Request<O>>>()
}

const _: () = assert!(size::<fsync::Fsync>() <= size::<Any>());
const _: () = assert!(size::<poll::Poll>() <= size::<Any>());
const _: () = assert!(size::<polled::PolledRw>() <= size::<Any>());
const _: () = assert!(size::<rw::Rw>() <= size::<Any>());

/// Starts the operation that an iocb asks for.
///
/// `compat` tells whether the iocb is that of a 32-bit program on a 64-bit kernel.
///
/// Reads and writes are inlined here, and this into the loop over the iocbs: so what was copied and
/// gathered for them need not go through memory. That the tests call this too must not keep the
/// compiler from it.
///
/// # Errors
///
/// Those of [`Batch::prepare()`]; `EINVAL` if there is no such operation, or what keeps it from
/// being started. Otherwise its outcome will be in an event.
#[inline(always)]
pub(crate) fn start<K: Kind>(
    kind: K,
    iocb: &Iocb,
    name: K::Name,
    compat: bool,
    batch: &mut Batch<'_>,
) -> Result {
    use Direction::{
        Read,
        Write, //
    };

    kind.check(iocb)?;
    let (dir, shape) = match iocb.opcode() {
        opcode::PREAD => (Read, rw::Shape::One),
        opcode::PWRITE => (Write, rw::Shape::One),
        opcode::PREADV => (Read, rw::Shape::Vector { compat }),
        opcode::PWRITEV => (Write, rw::Shape::Vector { compat }),
        _ => {
            // Only a copy of its own has to be in memory.
            let iocb = *iocb;

            return kind.start_other::<K::Observer>(&iocb, name, compat, batch);
        }
    };

    let prepared = prepare::<K::Observer>(iocb, name, batch)?;

    kind.start_rw::<K::Observer>(prepared, iocb, name, (dir, shape), batch)
}

/// Gathers what an operation needs that has a file, of which `O` is told.
///
/// # Errors
///
/// Those of [`Batch::prepare()`].
#[inline(always)]
fn prepare<O: Observer>(
    iocb: &Iocb,
    name: impl IocbName,
    batch: &mut Batch<'_>,
) -> Result<Prepared> {
    let prepared = batch.prepare(iocb, name)?;

    if O::THERE {
        O::prepared(&prepared, iocb);
    }
    Ok(prepared)
}

/// Starts an operation that is no read or write.
#[inline(never)]
pub(crate) fn start_other<O: Observer>(
    iocb: &Iocb,
    name: AnyName,
    batch: &mut Batch<'_>,
) -> Result {
    // By itself, so that what is gathered for it need not go through memory.
    if iocb.opcode() == opcode::POLL {
        let prepared = prepare::<O>(iocb, name, batch)?;

        return poll::start::<O>(prepared, iocb, batch);
    }

    let prepared = prepare::<O>(iocb, name, batch)?;

    match iocb.opcode() {
        opcode::FSYNC => fsync::start::<O>(prepared, iocb, fsync::What::All, batch),
        opcode::FDSYNC => fsync::start::<O>(prepared, iocb, fsync::What::Data, batch),
        // That there is no such operation is the last thing to be found out.
        _ => Err(EINVAL),
    }
}

#[kunit_tests(aio_ops)]
mod tests {
    use super::*;
    use crate::kunit::Process;

    #[test]
    fn operations_that_there_are() -> Result {
        let process = Process::new(4)?;

        // It is the last thing to be found out, so the file must be there.
        for opcode in Iterator::chain(0..20, [100, 0xffff]) {
            let iocb = process.iocb(opcode, 0, 0);
            let known = [
                opcode::PREAD,
                opcode::PWRITE,
                opcode::FSYNC,
                opcode::FDSYNC,
                opcode::POLL,
                opcode::PREADV,
                opcode::PWRITEV,
            ];

            process.file.set_ready(1);
            if opcode == opcode::POLL {
                assert_eq!(process.run(&process.iocb(opcode, 1, 0)), Ok(1));
            } else if known.contains(&opcode) {
                assert_eq!(process.run(&iocb), Ok(0));
            } else {
                let no_file = Iocb::new(opcode, u32::MAX, 0, 0, 0);

                process.often(|| {
                    assert_eq!(process.start(&iocb), Err(EINVAL));
                    assert_eq!(process.start(&no_file), Err(EBADF));
                    Ok(())
                })?;
            }
        }
        Ok(())
    }
}
