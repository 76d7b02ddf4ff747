// SPDX-License-Identifier: GPL-2.0

//! `io_cancel(2)`.

use crate::{
    context::Context,
    request, //
};
use kernel::{
    aio::abi::Iocb,
    prelude::*,
    uaccess::UserPtr,
    user_scalar::UserScalar, //
};

/// Checks that an iocb was submitted, for all that can be seen in it.
///
/// # Errors
///
/// `EFAULT` if it can't be read, `EINVAL` if it was not.
pub(crate) fn check(user_iocb: UserPtr) -> Result {
    let key = u32::get_user(user_iocb.wrapping_byte_add(Iocb::KEY_OFFSET))?;

    if key != request::KEY {
        return Err(EINVAL);
    }
    Ok(())
}

/// Begins to cancel the request that was submitted with this iocb. It will end in an event.
///
/// # Errors
///
/// `EINVAL` if there is none that can be cancelled, or what the driver says.
pub(crate) fn cancel(context: &Context, user_iocb: UserPtr) -> Result {
    context.cancel.cancel(user_iocb.as_const_ptr() as u64)
}
