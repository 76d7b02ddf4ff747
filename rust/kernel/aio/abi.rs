// SPDX-License-Identifier: GPL-2.0

//! The structures and numbers that programs know.
//!
//! C header: [`include/uapi/linux/aio_abi.h`](srctree/include/uapi/linux/aio_abi.h)

use crate::{
    bindings,
    error::Result,
    ffi::c_int,
    syscall::TimeLayout,
    transmute::FromBytes,
    uaccess::UserPtr,
    user_scalar, //
};
use core::mem::{
    offset_of,
    size_of,
    MaybeUninit, //
};

/// `IOCB_CMD_*`: what an [`Iocb`] asks for.
pub mod opcode {
    use crate::bindings;

    /// Read into one buffer.
    pub const PREAD: u16 = bindings::IOCB_CMD_PREAD as u16;
    /// Write from one buffer.
    pub const PWRITE: u16 = bindings::IOCB_CMD_PWRITE as u16;
    /// Flush data and metadata.
    pub const FSYNC: u16 = bindings::IOCB_CMD_FSYNC as u16;
    /// Flush data.
    pub const FDSYNC: u16 = bindings::IOCB_CMD_FDSYNC as u16;
    /// Wait until a file is ready.
    pub const POLL: u16 = bindings::IOCB_CMD_POLL as u16;
    /// Read into an array of buffers.
    pub const PREADV: u16 = bindings::IOCB_CMD_PREADV as u16;
    /// Write from an array of buffers.
    pub const PWRITEV: u16 = bindings::IOCB_CMD_PWRITEV as u16;
}

/// `aio_flags`: the eventfd `aio_resfd` is to be signalled.
pub const IOCB_FLAG_RESFD: u32 = bindings::IOCB_FLAG_RESFD;
/// `aio_flags`: `aio_reqprio` is valid.
pub const IOCB_FLAG_IOPRIO: u32 = bindings::IOCB_FLAG_IOPRIO;

/// The word size of the calling program.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Abi {
    /// That of the kernel.
    Native,
    /// 32 bits, on a 64-bit kernel.
    Compat,
}

impl From<c_int> for Abi {
    /// Converts an `AIO_ABI_*` number of `fs/aio/aio.h`.
    #[inline]
    fn from(abi: c_int) -> Self {
        if abi == bindings::AIO_ABI_COMPAT as c_int {
            Abi::Compat
        } else {
            Abi::Native
        }
    }
}

impl From<c_int> for TimeLayout {
    /// Converts an `AIO_TIME*` number of `fs/aio/aio.h`.
    #[inline]
    fn from(layout: c_int) -> Self {
        if layout == bindings::AIO_TIME32 as c_int {
            TimeLayout::Time32
        } else {
            TimeLayout::Time64
        }
    }
}

/// A copy of a `struct iocb`.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub struct Iocb(bindings::iocb);

// SAFETY: All fields are integers, for which any value is valid.
unsafe impl FromBytes for Iocb {}

impl Iocb {
    /// Copies an iocb from the memory of the current process to `to`.
    ///
    /// May sleep.
    ///
    /// # Errors
    ///
    /// `EFAULT` if not all of it can be read.
    #[inline]
    pub fn from_user(ptr: UserPtr, to: &mut MaybeUninit<Self>) -> Result<&Self> {
        user_scalar::read_words(ptr, to)
    }

    /// The offset of `aio_key`, the one field that the kernel writes.
    pub const KEY_OFFSET: usize = offset_of!(bindings::iocb, aio_key);

    /// Returns `aio_data`, which the event repeats.
    #[inline]
    pub fn data(&self) -> u64 {
        self.0.aio_data
    }

    /// Returns `aio_rw_flags`, the `RWF_*` flags.
    #[inline]
    pub fn rw_flags(&self) -> i32 {
        self.0.aio_rw_flags
    }

    /// Returns `aio_lio_opcode`, see [`opcode`].
    #[inline]
    pub fn opcode(&self) -> u16 {
        self.0.aio_lio_opcode
    }

    /// Returns `aio_reqprio`, the I/O priority.
    #[inline]
    pub fn reqprio(&self) -> u16 {
        self.0.aio_reqprio as u16
    }

    /// Returns `aio_fildes`.
    #[inline]
    pub fn fildes(&self) -> u32 {
        self.0.aio_fildes
    }

    /// Returns `aio_buf`, usually an address.
    #[inline]
    pub fn buf(&self) -> u64 {
        self.0.aio_buf
    }

    /// Returns `aio_nbytes`, usually a size.
    #[inline]
    pub fn nbytes(&self) -> u64 {
        self.0.aio_nbytes
    }

    /// Returns `aio_offset`.
    #[inline]
    pub fn offset(&self) -> i64 {
        self.0.aio_offset
    }

    /// Returns `aio_reserved2`, which must be zero.
    #[inline]
    pub fn reserved2(&self) -> u64 {
        self.0.aio_reserved2
    }

    /// Returns `aio_flags`, the `IOCB_FLAG_*` flags.
    #[inline]
    pub fn flags(&self) -> u32 {
        self.0.aio_flags
    }

    /// Returns `aio_resfd`, the file descriptor of an eventfd.
    #[inline]
    pub fn resfd(&self) -> i32 {
        self.0.aio_resfd as i32
    }
}

/// A `struct io_event`: the outcome of an operation.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub struct IoEvent(bindings::io_event);

impl IoEvent {
    /// The size in bytes.
    pub const SIZE: usize = size_of::<bindings::io_event>();

    /// Returns the words that it consists of.
    #[inline]
    pub const fn words(self) -> [u64; 4] {
        const { assert!(Self::SIZE == size_of::<[u64; 4]>()) };

        [
            self.0.data,
            self.0.obj,
            self.0.res as u64,
            self.0.res2 as u64,
        ]
    }

    /// Makes an event from `aio_data`, the address of the iocb, and the result.
    #[inline]
    pub const fn new(data: u64, obj: u64, res: i64) -> Self {
        Self(bindings::io_event {
            data,
            obj,
            res,
            res2: 0,
        })
    }
}
