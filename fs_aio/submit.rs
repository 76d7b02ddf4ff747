// SPDX-License-Identifier: GPL-2.0

//! `io_submit(2)`: a batch of iocbs becomes requests, and requests become operations.

use crate::{
    context::Context,
    ops,
    request::Batch, //
};
use core::mem::MaybeUninit;
use kernel::{
    aio::abi::{
        Abi,
        Iocb, //
    },
    blk_plug::plugged,
    prelude::*,
    sync::staged::User,
    uaccess::UserPtr,
    user_scalar::UserScalar, //
};

/// Smaller batches are not worth holding back block requests.
const PLUG_THRESHOLD: usize = 2;

/// Submits `nr` iocbs, whose addresses are in an array, and returns how many were.
///
/// # Errors
///
/// That of the first iocb, if it could not be submitted.
pub(crate) fn submit(
    context: &User<Context>,
    nr: usize,
    iocbs: UserPtr,
    abi: Abi,
) -> Result<usize> {
    // No more can be in flight.
    let nr = nr.min(context.ring.nr_events() as usize);

    if nr > PLUG_THRESHOLD {
        plugged(|| submit_batch(context, nr, iocbs, abi))
    } else {
        submit_batch(context, nr, iocbs, abi)
    }
}

#[inline]
fn submit_batch(context: &User<Context>, nr: usize, iocbs: UserPtr, abi: Abi) -> Result<usize> {
    let mut batch = Batch::new(context, nr);

    for i in 0..nr {
        let result = address(iocbs, i, abi)
            .and_then(|user_iocb| submit_one(&mut batch, user_iocb, abi == Abi::Compat));

        if let Err(e) = result {
            return if i == 0 { Err(e) } else { Ok(i) };
        }
    }
    Ok(nr)
}

/// Reads the address of an iocb from the array.
#[inline]
fn address(iocbs: UserPtr, index: usize, abi: Abi) -> Result<UserPtr> {
    let addr = match abi {
        Abi::Native => usize::get_user(iocbs.wrapping_byte_add(index * size_of::<usize>()))?,
        Abi::Compat => u32::get_user(iocbs.wrapping_byte_add(index * size_of::<u32>()))? as usize,
    };

    Ok(UserPtr::from_addr(addr))
}

/// Submits one iocb.
///
/// # Errors
///
/// In this order: `EFAULT` if it can't be read, `EINVAL` for what is reserved or does not fit,
/// those of [`ops::start()`].
#[inline]
fn submit_one(batch: &mut Batch<'_>, user_iocb: UserPtr, compat: bool) -> Result {
    let mut iocb = MaybeUninit::uninit();
    let iocb = Iocb::from_user(user_iocb, &mut iocb)?;

    check(iocb)?;
    ops::start(iocb, user_iocb, compat, batch)
}

/// Checks what is common to all operations.
#[inline]
fn check(iocb: &Iocb) -> Result {
    // Kept for what is to come.
    if iocb.reserved2() != 0 {
        return Err(EINVAL);
    }
    // The fields are larger than a pointer or a size of a 32-bit kernel.
    if usize::try_from(iocb.buf()).is_err() || isize::try_from(iocb.nbytes()).is_err() {
        return Err(EINVAL);
    }
    Ok(())
}
