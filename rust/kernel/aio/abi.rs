// SPDX-License-Identifier: GPL-2.0

//! The structures and numbers that programs know.
//!
//! C headers: [`include/uapi/linux/aio_abi.h`](srctree/include/uapi/linux/aio_abi.h),
//! [`include/uapi/linux/aio_ext.h`](srctree/include/uapi/linux/aio_ext.h)
//!
//! # Examples
//!
//! ```
//! use core::mem::MaybeUninit;
//! use kernel::{
//!     aio::abi::{
//!         opcode,
//!         Iocb, //
//!     },
//!     uaccess::UserPtr,
//! };
//!
//! /// How many bytes a program wants to be read.
//! fn wanted(iocb: UserPtr) -> Result<u64> {
//!     let mut copy = MaybeUninit::uninit();
//!     let iocb = Iocb::from_user(iocb, &mut copy)?;
//!
//!     match iocb.opcode() {
//!         opcode::PREAD => Ok(iocb.nbytes()),
//!         _ => Err(EINVAL),
//!     }
//! }
//! ```

use crate::{
    bindings,
    error::Result,
    ffi::c_int,
    syscall::TimeLayout,
    transmute::{
        AsBytes,
        FromBytes, //
    },
    uaccess::{
        read_words,
        UserPtr, //
    },
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
    /// Open a file (`include/uapi/linux/aio_ext.h`, as those that follow).
    pub const OPENAT: u16 = bindings::IOCB_CMD_OPENAT as u16;
    /// Remove the name of a file.
    pub const UNLINKAT: u16 = bindings::IOCB_CMD_UNLINKAT as u16;
    /// Read a file into the page cache.
    pub const READAHEAD: u16 = bindings::IOCB_CMD_READAHEAD as u16;
    /// Rename a file.
    pub const RENAMEAT: u16 = bindings::IOCB_CMD_RENAMEAT as u16;
}

/// What `fs.aio-max-nr` is at boot, by the configuration.
pub const DEFAULT_MAX_NR: usize = bindings::CONFIG_AIO_MAX_NR as usize;

/// `aio_flags`: the eventfd `aio_resfd` is to be signalled.
pub const IOCB_FLAG_RESFD: u32 = bindings::IOCB_FLAG_RESFD;
/// `aio_flags`: `aio_reqprio` is valid.
pub const IOCB_FLAG_IOPRIO: u32 = bindings::IOCB_FLAG_IOPRIO;

/// `RWF_NOWAIT`, of `aio_rw_flags`: the outcome is `EAGAIN` if the operation would have to wait.
// Of which `IOCB_NOWAIT` is defined to be the same bit.
pub const RWF_NOWAIT: i32 = bindings::IOCB_NOWAIT;

/// What `io_setup2(2)` takes, and what the rings of its contexts say.
///
/// C header: [`include/uapi/linux/aio_ext.h`](srctree/include/uapi/linux/aio_ext.h)
pub mod setup2 {
    use crate::bindings;

    /// Iocbs are in an array.
    pub const USERIOCB: u32 = bindings::IOCTX_FLAG_USERIOCB;
    /// Reads and writes are polled for.
    pub const IOPOLL: u32 = bindings::IOCTX_FLAG_IOPOLL;
    /// Buffers are pinned.
    pub const FIXEDBUFS: u32 = bindings::IOCTX_FLAG_FIXEDBUFS;
    /// The largest buffer that can be pinned, in bytes.
    pub const FIXEDBUF_MAX: u32 = bindings::AIO_FIXEDBUF_MAX;
    /// The largest number of events of a context with pinned buffers.
    pub const FIXEDBUFS_MAX_EVENTS: u32 = bindings::AIO_FIXEDBUFS_MAX_EVENTS;
    /// In `compat_features` of the ring: threads carry on what would block.
    pub const COMPAT_THREADED: u32 = bindings::AIO_RING_COMPAT_THREADED;
    /// Likewise: iocbs are in an array.
    pub const COMPAT_USERIOCB: u32 = bindings::AIO_RING_COMPAT_USERIOCB;
    /// Likewise: buffers are pinned.
    pub const COMPAT_FIXEDBUFS: u32 = bindings::AIO_RING_COMPAT_FIXEDBUFS;
    /// Likewise: reads and writes are polled for.
    pub const COMPAT_IOPOLL: u32 = bindings::AIO_RING_COMPAT_IOPOLL;
}

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

// SAFETY: There is no padding: these are eight 64-bit words.
unsafe impl AsBytes for Iocb {}

const _: () = assert!(size_of::<Iocb>() == 64);

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
        read_words(ptr, to)
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

/// What only tests need: the kernel makes no iocbs.
#[cfg(CONFIG_KUNIT = "y")]
impl Iocb {
    /// Makes an iocb, as a program does: all other fields are zero.
    #[inline]
    pub const fn new(opcode: u16, fildes: u32, buf: u64, nbytes: u64, offset: i64) -> Self {
        Self(bindings::iocb {
            aio_lio_opcode: opcode,
            aio_fildes: fildes,
            aio_buf: buf,
            aio_nbytes: nbytes,
            aio_offset: offset,
            ..pin_init::zeroed()
        })
    }

    /// Sets `aio_data`.
    #[inline]
    pub const fn with_data(mut self, data: u64) -> Self {
        self.0.aio_data = data;
        self
    }

    /// Sets `aio_reserved2`.
    #[inline]
    pub const fn with_reserved2(mut self, value: u64) -> Self {
        self.0.aio_reserved2 = value;
        self
    }

    /// Sets `aio_rw_flags`.
    #[inline]
    pub const fn with_rw_flags(mut self, flags: i32) -> Self {
        self.0.aio_rw_flags = flags;
        self
    }

    /// Sets `aio_flags` and what they make valid: `aio_resfd`, `aio_reqprio`.
    #[inline]
    pub const fn with_flags(mut self, flags: u32, resfd: u32, reqprio: i16) -> Self {
        self.0.aio_flags = flags;
        self.0.aio_resfd = resfd;
        self.0.aio_reqprio = reqprio;
        self
    }
}

/// A copy of a `struct renameat_info`: what is renamed, and to what.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub struct RenameatInfo(bindings::renameat_info);

// SAFETY: All fields are integers, for which any value is valid.
unsafe impl FromBytes for RenameatInfo {}

// SAFETY: There is no padding: these are five 64-bit words.
unsafe impl AsBytes for RenameatInfo {}

const _: () = assert!(size_of::<RenameatInfo>() == 40);

impl RenameatInfo {
    /// The size in bytes, which `aio_nbytes` has to tell.
    pub const SIZE: usize = size_of::<Self>();

    /// Copies the structure from the memory of the current process.
    ///
    /// May sleep.
    ///
    /// # Errors
    ///
    /// `EFAULT` if not all of it can be read.
    pub fn from_user(ptr: UserPtr) -> Result<Self> {
        let mut to = MaybeUninit::uninit();

        read_words(ptr, &mut to).copied()
    }

    /// Returns `olddirfd`.
    #[inline]
    pub fn old_dir(&self) -> i64 {
        self.0.olddirfd
    }

    /// Returns `oldpath`, an address.
    #[inline]
    pub fn old_path(&self) -> u64 {
        self.0.oldpath
    }

    /// Returns `newdirfd`.
    #[inline]
    pub fn new_dir(&self) -> i64 {
        self.0.newdirfd
    }

    /// Returns `newpath`, an address.
    #[inline]
    pub fn new_path(&self) -> u64 {
        self.0.newpath
    }

    /// Returns `flags`, the `RENAME_*` flags.
    #[inline]
    pub fn flags(&self) -> u64 {
        self.0.flags
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

#[macros::kunit_tests(rust_aio_abi)]
mod tests {
    use super::*;
    use crate::{
        error::code::EFAULT,
        kunit::user::UserMemory, //
    };

    /// The fields lie where `include/uapi/linux/aio_abi.h` has them.
    #[test]
    fn fields_of_an_iocb() -> Result {
        let memory = UserMemory::new(1)?;
        let mut copy = MaybeUninit::uninit();
        let (key, rw_flags) = match cfg!(target_endian = "little") {
            true => (8, 12),
            false => (12, 8),
        };

        memory.write(0, &0x0102_0304_0506_0708u64)?;
        memory.write(key, &0x1112_1314u32)?;
        memory.write(rw_flags, &0x2122_2324u32)?;
        memory.write(16, &0x3132u16)?;
        memory.write(18, &0xc142u16)?;
        memory.write(20, &0x5152_5354u32)?;
        memory.write(24, &0x6162_6364_6566_6768u64)?;
        memory.write(32, &0x7172_7374_7576_7778u64)?;
        memory.write(40, &-2i64)?;
        memory.write(48, &0x9192u64)?;
        memory.write(56, &0xa1a2_a3a4u32)?;
        memory.write(60, &u32::MAX)?;

        let iocb = Iocb::from_user(memory.at(0), &mut copy)?;

        assert_eq!(iocb.data(), 0x0102_0304_0506_0708);
        assert_eq!(Iocb::KEY_OFFSET, key);
        assert_eq!(iocb.rw_flags(), 0x2122_2324);
        assert_eq!(iocb.opcode(), 0x3132);
        assert_eq!(iocb.reqprio(), 0xc142);
        assert_eq!(iocb.fildes(), 0x5152_5354);
        assert_eq!(iocb.buf(), 0x6162_6364_6566_6768);
        assert_eq!(iocb.nbytes(), 0x7172_7374_7576_7778);
        assert_eq!(iocb.offset(), -2);
        assert_eq!(iocb.reserved2(), 0x9192);
        assert_eq!(iocb.flags(), 0xa1a2_a3a4);
        assert_eq!(iocb.resfd(), -1);
        Ok(())
    }

    #[test]
    fn an_iocb_that_is_made_is_read_back() -> Result {
        let memory = UserMemory::new(1)?;
        let mut copy = MaybeUninit::uninit();
        let iocb = Iocb::new(opcode::PREADV, 3, 4, 5, -6)
            .with_data(7)
            .with_rw_flags(8)
            .with_reserved2(9)
            .with_flags(IOCB_FLAG_RESFD | IOCB_FLAG_IOPRIO, 10, -11);

        memory.write(0, &iocb)?;
        assert!(Iocb::from_user(memory.at(0), &mut copy)?.as_bytes() == iocb.as_bytes());
        Ok(())
    }

    #[test]
    fn an_iocb_must_be_all_there() -> Result {
        let memory = UserMemory::new(1)?;
        let end = memory.len();
        let mut copy = MaybeUninit::uninit();

        assert!(Iocb::from_user(memory.at(end - 64), &mut copy).is_ok());
        for missing in [1, 8, 63, 64] {
            let ptr = memory.at(end - 64 + missing);

            assert_eq!(Iocb::from_user(ptr, &mut copy).err(), Some(EFAULT));
        }
        Ok(())
    }

    /// The fields lie where `include/uapi/linux/aio_ext.h` has them.
    #[test]
    fn fields_of_a_rename() -> Result {
        let memory = UserMemory::new(1)?;
        let end = memory.len();

        memory.write(0, &[-100i64, 0x1112, -3, 0x3132, 0x4142])?;

        let info = RenameatInfo::from_user(memory.at(0))?;

        assert_eq!((info.old_dir(), info.old_path()), (-100, 0x1112));
        assert_eq!((info.new_dir(), info.new_path()), (-3, 0x3132));
        assert_eq!(info.flags(), 0x4142);
        assert!(RenameatInfo::from_user(memory.at(end - 40)).is_ok());
        for missing in [1, 8, 40] {
            let ptr = memory.at(end - 40 + missing);

            assert_eq!(RenameatInfo::from_user(ptr).err(), Some(EFAULT));
        }
        Ok(())
    }

    #[test]
    fn words_of_an_event() {
        assert_eq!(IoEvent::SIZE, 32);
        assert_eq!(IoEvent::new(1, 2, -3).words(), [1, 2, -3i64 as u64, 0]);
    }

    #[test]
    fn numbers_of_the_entries() {
        assert!(Abi::from(bindings::AIO_ABI_COMPAT as c_int) == Abi::Compat);
        assert!(Abi::from(bindings::AIO_ABI_NATIVE as c_int) == Abi::Native);
        assert!(TimeLayout::from(bindings::AIO_TIME32 as c_int) == TimeLayout::Time32);
        assert!(TimeLayout::from(bindings::AIO_TIME64 as c_int) == TimeLayout::Time64);
    }
}
