// SPDX-License-Identifier: GPL-2.0

//! Files in memory, with a page cache.

use super::OpenFile;
use crate::{
    bindings,
    error::from_err_ptr,
    fs::File,
    prelude::*,
    sync::aref::ARef, //
};
use core::ptr::NonNull;

/// A file of tmpfs that has no name, open for reading and writing.
pub struct MemoryFile(OpenFile);

impl MemoryFile {
    /// Creates a file of this size, nothing of which was written.
    ///
    /// May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, `EMFILE`.
    #[doc(alias = "shmem_kernel_file_setup")]
    pub fn new(size: i64) -> Result<Self> {
        // SAFETY: The name is a string with an end, and no flags are valid flags.
        let file = from_err_ptr(unsafe {
            bindings::shmem_kernel_file_setup(c"kunit".as_char_ptr(), size, pin_init::zeroed())
        })?;
        // SAFETY: The function returns a valid file, and a reference to it that is handed over.
        // Nobody else has it, so that there is no call of `fdget_pos()`.
        let file = unsafe { ARef::<File>::from_raw(NonNull::new_unchecked(file).cast()) };

        Ok(Self(OpenFile::new(file)?))
    }

    /// Returns the file with its descriptor.
    pub fn open(&self) -> &OpenFile {
        &self.0
    }

    /// Writes to the file.
    ///
    /// May sleep.
    ///
    /// # Errors
    ///
    /// `ENOSPC`, `EIO` if not all could be written.
    #[doc(alias = "kernel_write")]
    pub fn write(&self, mut pos: i64, data: &[u8]) -> Result {
        let file = self.0.file().as_ptr();
        // SAFETY: The file is valid, and so are the data.
        let ret =
            unsafe { bindings::kernel_write(file, data.as_ptr().cast(), data.len(), &mut pos) };

        match usize::try_from(ret) {
            Ok(len) if len == data.len() => Ok(()),
            Ok(_) => Err(EIO),
            Err(_) => Err(Error::from_errno(ret as i32)),
        }
    }
}
