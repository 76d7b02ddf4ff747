// SPDX-License-Identifier: GPL-2.0

//! Where in memory direct I/O may begin.
//!
//! For buffers of user space the block layer checks that. For segments it relies on their creator:
//! what is skipped in the first one is not checked.
//!
//! C headers: [`include/linux/blkdev.h`](srctree/include/linux/blkdev.h)

use super::AsyncKiocb;
use crate::{
    bindings,
    page::PAGE_SIZE,
    uaccess::UserPtr, //
};

impl AsyncKiocb {
    /// Returns whether the device of the file, if it has one and is accessed without the page
    /// cache, takes memory that begins there.
    #[inline(always)]
    pub(super) fn is_aligned(&self, addr: UserPtr, len: usize) -> bool {
        let addr = addr.as_const_ptr() as usize;

        // No device wants more than that.
        addr % PAGE_SIZE == 0 || len == 0 || self.is_aligned_for(addr)
    }

    #[cold]
    #[inline(never)]
    fn is_aligned_for(&self, addr: usize) -> bool {
        // SAFETY: By the type invariants the structure is valid, and no file has it now.
        if unsafe { (*self.inner.get()).ki_flags } & bindings::IOCB_DIRECT as i32 == 0 {
            return true;
        }
        addr & self.dma_alignment() == 0
    }

    /// Returns the bits of an address that must not be set.
    #[cfg(CONFIG_BLOCK)]
    fn dma_alignment(&self) -> usize {
        // SAFETY: The file is valid, and has an inode, that of the block device if it is one.
        let inode = unsafe { (*(*self.file().as_ptr()).f_mapping).host };
        // SAFETY: The inode is valid as long as the file is.
        let is_disk = unsafe { u32::from((*inode).i_mode) } & bindings::S_IFMT == bindings::S_IFBLK;
        let bdev = match is_disk {
            // SAFETY: It is the inode of a block device.
            true => unsafe { bindings::I_BDEV(inode) },
            // SAFETY: An inode belongs to a file system, which is mounted as long as the file is
            // open. One on several devices checks by itself.
            false => unsafe { (*(*inode).i_sb).s_bdev },
        };

        if bdev.is_null() {
            return 0;
        }
        // SAFETY: The device is open as long as the file is, or the file system is mounted. The
        // limit may change at any time, for another one that has been right.
        unsafe { (&raw const (*(*bdev).bd_queue).limits.dma_alignment).read_volatile() as usize }
    }

    #[cfg(not(CONFIG_BLOCK))]
    fn dma_alignment(&self) -> usize {
        0
    }
}
