// SPDX-License-Identifier: GPL-2.0

//! Reading files into the page cache ahead of their use.
//!
//! C headers: [`include/linux/fadvise.h`](srctree/include/linux/fadvise.h),
//! [`include/linux/pagemap.h`](srctree/include/linux/pagemap.h)

use super::LocalFile;
use crate::{
    bindings,
    error::{
        from_err_ptr,
        to_result, //
    },
    page::{
        PAGE_SHIFT,
        PAGE_SIZE, //
    },
    prelude::*,
    sizes::SZ_2M,
    sync::aref::ARef,
    task::cond_resched,
};
use core::ptr::{
    self,
    NonNull, //
};

/// A file that can be read ahead, by any thread.
///
/// # Invariants
///
/// The file is open for reading, is a regular file or a block device, and has a page cache.
///
/// # Examples
///
/// ```
/// use kernel::fs::{
///     LocalFile,
///     Pending,
///     ReadaheadFile, //
/// };
///
/// /// Reads the beginning of a file ahead, and returns how much of it is there already.
/// fn begin(fd: u32) -> Result<i64> {
///     let file = ReadaheadFile::new(LocalFile::fget(fd)?)?;
///     let len = file.size().min(file.chunk() as i64);
///
///     file.start(0, len)?;
///     Ok(file.cached_to(0, len, Pending::Skip))
/// }
/// # assert_eq!(begin(u32::MAX), Err(EBADF));
/// ```
pub struct ReadaheadFile(ARef<LocalFile>);

// SAFETY: What is read is told by the caller: the position of the file is not used, so it is no
// problem that the thread that has opened the file may use that without a lock.
unsafe impl Send for ReadaheadFile {}

// SAFETY: A shared `ReadaheadFile` can only read the file ahead, and look into its page cache,
// which any thread may do that has a descriptor.
unsafe impl Sync for ReadaheadFile {}

/// Whether folios that are being read are waited for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Pending {
    /// Yes, unless the current task is killed.
    Wait,
    /// No: they count as not cached.
    Skip,
}

impl ReadaheadFile {
    /// Checks that the file can be read ahead.
    ///
    /// # Errors
    ///
    /// Those of `readahead()`: `EBADF` if it is not open for reading, `EINVAL` if it has no page
    /// cache.
    #[doc(alias = "ksys_readahead")]
    pub fn new(file: ARef<LocalFile>) -> Result<Self> {
        let ptr = file.as_ptr();

        // SAFETY: The file is valid, because `file` is a reference to it; the mode of an open file
        // is only changed in other bits.
        if unsafe { (*ptr).f_mode } & bindings::FMODE_READ == 0 {
            return Err(EBADF);
        }

        // SAFETY: The file is valid, and the mapping of an open file does not change.
        let mapping = unsafe { (*ptr).f_mapping };

        // SAFETY: If there is a mapping, it is valid as long as the file.
        if mapping.is_null() || unsafe { (*mapping).a_ops }.is_null() {
            return Err(EINVAL);
        }

        // SAFETY: The file is valid.
        let inode = unsafe { bindings::file_inode(ptr) };
        // SAFETY: An open file has an inode, whose type and whose flag never change.
        let (mode, flags) = unsafe { ((*inode).i_mode, (*inode).i_flags) };
        let format = u32::from(mode) & bindings::S_IFMT;

        if format != bindings::S_IFREG && format != bindings::S_IFBLK
            || flags & bindings::S_ANON_INODE != 0
        {
            return Err(EINVAL);
        }
        // INVARIANT: All of it was checked.
        Ok(Self(file))
    }

    /// Returns the page cache that the file is read from.
    ///
    /// That of a stacked file system (overlayfs) is that of the file below: its own is empty.
    ///
    /// The result is valid as long as `self`.
    fn mapping(&self) -> *mut bindings::address_space {
        let file = self.0.as_ptr();
        // SAFETY: The file is valid, and so is the inode below as long as the file is open.
        let (inode, real) =
            unsafe { (bindings::file_inode(file), bindings::file_real_inode(file)) };

        if real.is_null() || ptr::eq(real, inode) {
            // SAFETY: The file is valid.
            unsafe { (*file).f_mapping }
        } else {
            // SAFETY: The inode is valid.
            unsafe { (*real).i_mapping }
        }
    }

    /// Returns the size of the file, or of the device.
    pub fn size(&self) -> i64 {
        // SAFETY: The mapping is valid, and has an inode.
        unsafe { bindings::i_size_read((*self.mapping()).host) }
    }

    /// Returns how many bytes [`start()`](Self::start) reads at most, a multiple of the page size.
    #[doc(alias = "force_page_cache_ra")]
    pub fn chunk(&self) -> usize {
        // SAFETY: The mapping is valid, has an inode, and that has a `backing_dev_info`, which may
        // only change the numbers that are read here.
        let (io_pages, bdi_pages) = unsafe {
            let bdi = bindings::inode_to_bdi((*self.mapping()).host);

            ((*bdi).io_pages, (*bdi).ra_pages)
        };
        // SAFETY: The file is valid. `fadvise()` may change the number at any time.
        let file_pages = unsafe { bindings::file_ra_pages(self.0.as_ptr()) };
        // Of a stacked file the limit is that of the file below, which is not known here.
        let pages = io_pages.max(bdi_pages.min(file_pages as usize));

        pages.saturating_mul(PAGE_SIZE).clamp(PAGE_SIZE, SZ_2M)
    }

    /// Starts to read, from `pos` on, no more than [`chunk()`](Self::chunk) bytes and up to a page
    /// boundary or the end of the file, what is not in the page cache.
    ///
    /// Does not wait until it has been read, but may sleep.
    ///
    /// # Errors
    ///
    /// Those of `posix_fadvise()` for this file. That the device has an error is not told.
    #[doc(alias = "vfs_fadvise")]
    pub fn start(&self, pos: i64, len: i64) -> Result {
        let advice = bindings::POSIX_FADV_WILLNEED as i32;

        // A length of 0 would be all of the file.
        if len <= 0 {
            return Ok(());
        }
        // SAFETY: The file is valid, because `self` has a reference to it.
        to_result(unsafe { bindings::vfs_fadvise(self.0.as_ptr(), pos, len, advice) })
    }

    /// Returns how far from `pos` on, and no farther than `end`, all of the file is in the page
    /// cache with what is on the disk, or newer data.
    ///
    /// So it ends before a page that is missing, that could not be read, or that was written in
    /// part and never read. What is told may have changed already when it is.
    ///
    /// May sleep with [`Pending::Wait`] only.
    #[doc(alias = "mincore")]
    pub fn cached_to(&self, pos: i64, end: i64, pending: Pending) -> i64 {
        let mapping = self.mapping();
        let mut at = pos.max(0);

        while at < end {
            // SAFETY: The mapping is valid as long as `self`.
            let Some(folio) = (unsafe { CachedFolio::find(mapping, at >> PAGE_SHIFT) }) else {
                break;
            };

            if pending == Pending::Wait {
                cond_resched();
                if folio.wait().is_err() {
                    break;
                }
            }
            if !folio.is_uptodate() {
                break;
            }
            // It may have been split meanwhile, into others that are like it.
            let page_end = (at | (PAGE_SIZE as i64 - 1)).saturating_add(1);

            at = folio.end().max(page_end);
        }
        at.min(end)
    }
}

/// A folio that was found in a page cache.
///
/// # Invariants
///
/// The folio is valid, and this owns a reference to it.
struct CachedFolio(NonNull<bindings::folio>);

impl CachedFolio {
    /// Looks a page up.
    ///
    /// # Safety
    ///
    /// `mapping` must be valid.
    unsafe fn find(mapping: *mut bindings::address_space, index: i64) -> Option<Self> {
        // SAFETY: By the requirements of this function the mapping is valid. Without flags nothing
        // is created or locked.
        let folio = unsafe { bindings::__filemap_get_folio(mapping, index as usize, 0, 0) };

        // INVARIANT: It comes with a reference.
        Some(Self(NonNull::new(from_err_ptr(folio).ok()?)?))
    }

    /// Waits until it is not being read.
    ///
    /// # Errors
    ///
    /// `EINTR` if the current task is killed.
    fn wait(&self) -> Result {
        // SAFETY: By the type invariants the folio is valid.
        to_result(unsafe { bindings::folio_wait_locked_killable(self.0.as_ptr()) })
    }

    fn is_uptodate(&self) -> bool {
        // SAFETY: By the type invariants the folio is valid.
        unsafe { bindings::folio_test_uptodate(self.0.as_ptr()) }
    }

    /// Returns where it ends in the file.
    fn end(&self) -> i64 {
        let folio = self.0.as_ptr();
        // SAFETY: By the type invariants the folio is valid. It may be split by others; then these
        // are numbers of before or after.
        let (pos, size) = unsafe { (bindings::folio_pos(folio), bindings::folio_size(folio)) };

        pos.saturating_add(size as i64)
    }
}

impl Drop for CachedFolio {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: By the type invariants this owns a reference.
        unsafe { bindings::folio_put(self.0.as_ptr()) };
    }
}

#[macros::kunit_tests(rust_fs_readahead)]
mod tests {
    use super::*;
    use crate::kunit::user::{
        MemoryFile,
        ScriptedFile, //
    };

    #[test]
    fn files_without_a_page_cache() -> Result {
        for file in [ScriptedFile::new()?, ScriptedFile::read_only()?] {
            let file = ReadaheadFile::new(file.open().local()?);

            assert_eq!(file.err(), Some(EINVAL));
        }
        Ok(())
    }

    /// Nothing can be read ahead of files in memory, but what is there is found.
    #[test]
    fn what_is_cached() -> Result {
        let page = PAGE_SIZE as i64;
        let file = MemoryFile::new(8 * page)?;
        let cached = ReadaheadFile::new(file.open().local()?)?;
        let cached_to = |pos, end| {
            let to = cached.cached_to(pos, end, Pending::Skip);

            assert_eq!(to, cached.cached_to(pos, end, Pending::Wait));
            to
        };

        assert_eq!(cached.size(), 8 * page);
        assert_eq!(cached_to(0, 8 * page), 0);
        file.write(page, b"one")?;
        file.write(2 * page, b"two")?;
        file.write(4 * page, b"four")?;

        for (pos, end, to) in [
            (0, 8 * page, 0),
            (page, 8 * page, 3 * page),
            (page + 1, 8 * page, 3 * page),
            (page, 3 * page, 3 * page),
            (page, 3 * page - 1, 3 * page - 1),
            (page, 3 * page + 1, 3 * page),
            (3 * page - 1, 8 * page, 3 * page),
            (3 * page, 8 * page, 3 * page),
            (4 * page, 4 * page, 4 * page),
            (4 * page, i64::MAX, 5 * page),
            (i64::MAX - 1, i64::MAX, i64::MAX - 1),
        ] {
            assert_eq!(cached_to(pos, end), to);
        }
        Ok(())
    }

    #[test]
    fn nothing_is_read_into_memory_files() -> Result {
        let file = MemoryFile::new(PAGE_SIZE as i64)?;
        let cached = ReadaheadFile::new(file.open().local()?)?;

        assert_eq!(cached.chunk() % PAGE_SIZE, 0);
        assert!((PAGE_SIZE..=SZ_2M).contains(&cached.chunk()));
        cached.start(0, PAGE_SIZE as i64)?;
        cached.start(0, 0)?;
        assert_eq!(cached.cached_to(0, 1, Pending::Wait), 0);
        Ok(())
    }
}
