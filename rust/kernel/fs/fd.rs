// SPDX-License-Identifier: GPL-2.0

//! File descriptors of the current task.
//!
//! What is in `fs/file.rs` takes, has or installs a reference to a file: [`LocalFile::fget()`] does
//! for each descriptor that is looked up. These functions only look at the table of descriptors and
//! take none, which needs nothing of that file, and another C header.
//!
//! C header: [`include/linux/fdtable.h`](srctree/include/linux/fdtable.h)

use crate::{
    bindings,
    fs::LocalFile,
    sync::rcu,
    task::Task, //
};
use core::ptr;

/// Returns the table of file descriptors of the current task, which is null in some threads of the
/// kernel.
#[inline]
fn current_table() -> *mut bindings::files_struct {
    // SAFETY: The current task is valid, and nobody else changes this field of it.
    unsafe { (*Task::current_raw()).files }
}

/// Returns whether a file descriptor of the current task is that of this file.
///
/// If so, [`LocalFile::fget()`] would return the same file, unless it was opened with `O_PATH`;
/// this takes no reference. Somebody who shares the table may close the descriptor at any time.
///
/// # Examples
///
/// ```
/// use kernel::{
///     fs::{
///         is_open_as,
///         LocalFile, //
///     },
///     sync::aref::ARef,
/// };
///
/// /// The file of a descriptor, which is looked up only if it is another than the last one.
/// fn file_of(fd: u32, last: ARef<LocalFile>) -> Result<ARef<LocalFile>> {
///     if is_open_as(&last, fd) {
///         return Ok(last);
///     }
///     Ok(LocalFile::fget(fd)?)
/// }
/// ```
#[doc(alias = "files_lookup_fd_raw")]
#[inline]
pub fn is_open_as(file: &LocalFile, fd: u32) -> bool {
    let table = current_table();

    if table.is_null() {
        return false;
    }

    let _rcu = rcu::read_lock();
    // SAFETY: The current task has a reference to its table. RCU is read-locked, so that the array
    // in which the descriptor is looked up stays, even if the table grows meanwhile.
    let found = unsafe { bindings::files_lookup_fd_raw(table, fd) };

    // What was found is only compared: without a reference it may be freed at any time, but then
    // it is not `file`, which is referenced.
    ptr::eq(found, file.as_ptr())
}

/// Returns whether somebody else may change the file descriptors of the current task.
///
/// If not, that stays so until the current task has returned to user space, or has created another.
#[doc(alias = "fdget")]
#[inline]
pub fn table_is_shared() -> bool {
    let table = current_table();

    // As `fdget()` does: the acquire pairs with the release in `put_files_struct()` of another task
    // that has shared the table, so that what it has closed is seen to be closed.
    //
    // SAFETY: The current task has a reference to its table, if it has one.
    table.is_null() || unsafe { bindings::atomic_read_acquire(&raw const (*table).count) } != 1
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
