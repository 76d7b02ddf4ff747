// SPDX-License-Identifier: GPL-2.0

//! Event notification through file descriptors.
//!
//! C header: [`include/linux/eventfd.h`](srctree/include/linux/eventfd.h)

use crate::{
    bindings,
    error::{
        from_err_ptr,
        Result, //
    },
};
use core::ptr::NonNull;

/// A reference to the counter behind an eventfd.
///
/// # Invariants
///
/// `ptr` is valid, and this value owns a reference of it.
///
/// # Examples
///
/// ```
/// use kernel::eventfd::EventFd;
///
/// // This is no descriptor of anything.
/// assert_eq!(EventFd::from_fd(-1).err(), Some(EBADF));
///
/// /// Wakes the tasks that wait for an eventfd of the current process.
/// fn tell(fd: i32) -> Result {
///     EventFd::from_fd(fd)?.signal();
///     Ok(())
/// }
/// # assert_eq!(tell(-1), Err(EBADF));
/// ```
pub struct EventFd {
    ptr: NonNull<bindings::eventfd_ctx>,
}

// SAFETY: An eventfd can be signalled and released from any context.
unsafe impl Send for EventFd {}

// SAFETY: An eventfd synchronises itself.
unsafe impl Sync for EventFd {}

impl EventFd {
    /// Gets the counter behind a file descriptor of the current process.
    ///
    /// # Errors
    ///
    /// `EBADF` if there is no such file, `EINVAL` if it is no eventfd, `ENOSYS` without
    /// `CONFIG_EVENTFD`.
    #[doc(alias = "eventfd_ctx_fdget")]
    #[inline]
    pub fn from_fd(fd: i32) -> Result<Self> {
        // SAFETY: There are no requirements on `fd`.
        let ptr = from_err_ptr(unsafe { bindings::eventfd_ctx_fdget(fd) })?;

        // INVARIANT: The reference was just taken.
        Ok(Self {
            ptr: NonNull::new(ptr).ok_or(crate::error::code::EINVAL)?,
        })
    }

    /// Adds one to the counter.
    ///
    /// May be called in any context, though not from the wake-up callback of a wait queue: what
    /// waits for the eventfd might need the lock of that queue.
    #[doc(alias = "eventfd_signal")]
    #[inline]
    pub fn signal(&self) {
        // SAFETY: By the type invariants this value owns a reference, so the eventfd is valid. It
        // has a lock of its own, and may be signalled in any context.
        unsafe { bindings::eventfd_signal(self.ptr.as_ptr()) };
    }
}

impl Drop for EventFd {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: By the type invariants this value owns the reference.
        unsafe { bindings::eventfd_ctx_put(self.ptr.as_ptr()) };
    }
}

#[macros::kunit_tests(rust_eventfd)]
mod tests {
    use super::*;
    use crate::{
        error::code::*,
        kunit::user::ScriptedFile, //
    };

    #[test]
    fn descriptors_of_nothing_and_of_other_files() -> Result {
        let file = ScriptedFile::new()?;
        let fd = file.open().fd() as i32;

        assert_eq!(EventFd::from_fd(fd).err(), Some(EINVAL));
        drop(file);
        assert_eq!(EventFd::from_fd(fd).err(), Some(EBADF));
        for fd in [-1, i32::MAX, i32::MIN] {
            assert_eq!(EventFd::from_fd(fd).err(), Some(EBADF));
        }
        Ok(())
    }
}
