// SPDX-License-Identifier: GPL-2.0

//! Flushing files.
//!
//! C header: [`include/linux/fs.h`](srctree/include/linux/fs.h)

use super::LocalFile;
use crate::{
    bindings,
    error::{
        code::EINVAL,
        to_result,
        Result, //
    },
    sync::aref::ARef,
};

/// A file that can be flushed, by any thread.
///
/// # Invariants
///
/// The file has an `fsync` operation.
pub struct FsyncFile(ARef<LocalFile>);

// SAFETY: Flushing a file does not use its position, so it is no problem that the thread that has
// opened it may use that without a lock.
unsafe impl Send for FsyncFile {}

// SAFETY: As above.
unsafe impl Sync for FsyncFile {}

impl FsyncFile {
    /// Checks that the file can be flushed.
    ///
    /// # Errors
    ///
    /// `EINVAL` if it can't.
    pub fn new(file: ARef<LocalFile>) -> Result<Self> {
        // SAFETY: The file is valid, and its operations don't change.
        if unsafe { (*(*file.as_ptr()).f_op).fsync }.is_none() {
            return Err(EINVAL);
        }
        // INVARIANT: It has the operation.
        Ok(Self(file))
    }

    /// Writes all changes to the device; with `datasync` without the metadata that are not needed
    /// to read the data.
    ///
    /// May sleep.
    ///
    /// # Errors
    ///
    /// What the file system says.
    #[doc(alias = "vfs_fsync")]
    pub fn sync(&self, datasync: bool) -> Result {
        // SAFETY: The file is valid.
        to_result(unsafe { bindings::vfs_fsync(self.0.as_ptr(), datasync.into()) })
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

        assert_eq!(flush.sync(false), Ok(()));
        assert_eq!(file.flushes(), (1, 0));
        assert_eq!(flush.sync(true), Ok(()));
        assert_eq!(file.flushes(), (1, 1));
        file.set_fsync(ENOSPC.to_errno());
        assert_eq!(flush.sync(false), Err(ENOSPC));
        Ok(())
    }
}
