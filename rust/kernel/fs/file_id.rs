// SPDX-License-Identifier: GPL-2.0

//! What identifies a file for those who observe.

use super::LocalFile;
use crate::bindings;

/// The file system and the inode of an open file.
///
/// # Examples
///
/// ```
/// use kernel::fs::{
///     FileId,
///     LocalFile, //
/// };
///
/// /// Whether two descriptions are of one file.
/// fn same_file(a: &LocalFile, b: &LocalFile) -> bool {
///     let (a, b) = (FileId::of(a), FileId::of(b));
///
///     a.dev == b.dev && a.ino == b.ino
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileId {
    /// The device number of the file system, as the kernel writes it (`MKDEV()`).
    pub dev: u32,
    /// The number of the inode.
    pub ino: u64,
}

impl FileId {
    /// What stands for no file that is open, such as a path.
    pub const NONE: Self = Self { dev: 0, ino: 0 };

    /// Returns that of an open file.
    ///
    /// May be called in any context.
    pub fn of(file: &LocalFile) -> Self {
        // SAFETY: The file is valid, and has an inode.
        let inode = unsafe { bindings::file_inode(file.as_ptr()) };
        // SAFETY: The inode stays as long as the file, and its number does not change.
        let ino = unsafe { (*inode).i_ino };
        // SAFETY: An inode has a super block, which stays as long, and the number of which does not
        // change.
        let dev = unsafe { (*(*inode).i_sb).s_dev };

        Self { dev, ino }
    }
}
