// SPDX-License-Identifier: GPL-2.0

//! File descriptors of the current task.
//!
//! C header: [`include/linux/fdtable.h`](srctree/include/linux/fdtable.h)

use crate::{
    bindings,
    fs::LocalFile, //
};

/// Returns whether a file descriptor of the current task is that of this file.
///
/// If so, [`LocalFile::fget()`] would return the same file, unless it was opened with `O_PATH`;
/// this takes no reference. Somebody who shares the table may close the descriptor at any time.
#[doc(alias = "files_lookup_fd_raw")]
#[inline]
pub fn is_open_as(file: &LocalFile, fd: u32) -> bool {
    // SAFETY: May be called by any task. The file is only compared.
    unsafe { bindings::fd_is_file(fd, file.as_ptr()) }
}

/// Returns whether somebody else may change the file descriptors of the current task.
///
/// If not, that stays so until the current task has returned to user space, or has created another.
#[inline]
pub fn table_is_shared() -> bool {
    // SAFETY: May be called by any task.
    unsafe { bindings::fd_table_is_shared() }
}

#[macros::kunit_tests(rust_fs_fd)]
mod tests {
    use super::*;
    use crate::{
        kunit::user::ScriptedFile,
        prelude::*, //
    };

    #[test]
    fn descriptors_are_told_apart() -> Result {
        let (one, other) = (ScriptedFile::new()?, ScriptedFile::new()?);
        let file = one.open().local()?;
        let fd = one.open().fd();

        assert!(is_open_as(&file, fd));
        assert!(!is_open_as(&file, other.open().fd()));
        assert!(!is_open_as(&file, u32::MAX));
        // The file is there still, but has lost its descriptor.
        drop(one);
        assert!(!is_open_as(&file, fd));
        Ok(())
    }

    #[test]
    fn threads_of_the_kernel_share_a_table() {
        assert!(table_is_shared());
    }
}
