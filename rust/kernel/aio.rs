// SPDX-License-Identifier: GPL-2.0

//! What the asynchronous I/O subsystem in `fs/aio` needs and nobody else would.
//!
//! C headers: [`include/linux/aio.h`](srctree/include/linux/aio.h),
//! [`include/uapi/linux/aio_abi.h`](srctree/include/uapi/linux/aio_abi.h)

pub mod abi;
pub mod cancel;
pub mod mm;
pub mod poll;
pub mod proc;
pub mod trace;
