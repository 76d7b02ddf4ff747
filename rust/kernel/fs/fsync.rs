// SPDX-License-Identifier: GPL-2.0

//! Flushing files.
//!
//! C header: [`include/linux/fs.h`](srctree/include/linux/fs.h)

use super::{
    FileId,
    LocalFile, //
};
use crate::{
    bindings,
    error::{
        code::EINVAL,
        Result, //
    },
    ffi::c_int,
    sync::aref::ARef,
};

/// A file that can be flushed, by any thread.
///
/// # Invariants
///
/// The file has an `fsync` operation.
///
/// # Examples
///
/// ```
/// use kernel::{
///     error::to_result,
///     fs::{
///         FsyncFile,
///         LocalFile, //
///     },
/// };
///
/// /// What `fdatasync(2)` does.
/// fn fdatasync(fd: u32) -> Result {
///     let file = FsyncFile::new(LocalFile::fget(fd)?)?;
///
///     to_result(file.sync(true))
/// }
/// # assert_eq!(fdatasync(u32::MAX), Err(EBADF));
/// ```
pub struct FsyncFile(ARef<LocalFile>);

// SAFETY: Flushing a file does not use its position, so it is no problem that the thread that has
// opened it may use that without a lock.
unsafe impl Send for FsyncFile {}

// SAFETY: A shared `FsyncFile` can only flush the file. File systems allow that to several threads
// at a time, since any thread that has a descriptor may call `fsync()`.
unsafe impl Sync for FsyncFile {}

impl FsyncFile {
    /// Checks that the file can be flushed.
    ///
    /// # Errors
    ///
    /// `EINVAL` if it can't.
    pub fn new(file: ARef<LocalFile>) -> Result<Self> {
        // SAFETY: The file is valid, because `file` is a reference to it. An open file has a table
        // of operations, which does not change.
        if unsafe { (*(*file.as_ptr()).f_op).fsync }.is_none() {
            return Err(EINVAL);
        }
        // INVARIANT: It has the operation.
        Ok(Self(file))
    }

    /// Returns which file it is.
    pub fn file_id(&self) -> FileId {
        FileId::of(&self.0)
    }

    /// Writes all changes to the device; with `datasync` without the metadata that are not needed
    /// to read the data.
    ///
    /// Returns what the file system returns: 0, or an error number, which is negative.
    ///
    /// That is not checked. A caller who passes it on to user space, as `fsync()` does, must not
    /// change what a file system returns that keeps to other rules; others may use [`to_result()`].
    ///
    /// May sleep.
    ///
    /// [`to_result()`]: crate::error::to_result
    #[doc(alias = "vfs_fsync")]
    pub fn sync(&self, datasync: bool) -> c_int {
        // SAFETY: The file is valid, because `self` has a reference to it; by the type invariants
        // it has the operation.
        unsafe { bindings::vfs_fsync(self.0.as_ptr(), datasync.into()) }
    }
}

#[macros::kunit_tests(rust_fs_fsync)]
mod tests {
    use super::*;
    use crate::{
        error::code::*,
        kunit::user::ScriptedFile, //
    };

    #[test]
    fn files_without_the_operation() -> Result {
        let file = ScriptedFile::without_operations()?;

        assert_eq!(FsyncFile::new(file.open().local()?).err(), Some(EINVAL));
        Ok(())
    }

    #[test]
    fn what_the_file_says() -> Result {
        let file = ScriptedFile::new()?;
        let flush = FsyncFile::new(file.open().local()?)?;

        assert_eq!(flush.sync(false), 0);
        assert_eq!(file.flushes(), (1, 0));
        assert_eq!(flush.sync(true), 0);
        assert_eq!(file.flushes(), (1, 1));
        // The last three are no error numbers.
        for result in [ENOSPC.to_errno(), -4096, i32::MIN, 7] {
            file.set_fsync(result);
            assert_eq!(flush.sync(false), result);
        }
        Ok(())
    }
}
