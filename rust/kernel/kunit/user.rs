// SPDX-License-Identifier: GPL-2.0

//! What tests of system calls need: the memory and the files of a process.
//!
//! The task of a KUnit test is a thread of the kernel, with no memory and no files of its own. Here
//! it gets both: an address space, for as long as the test case runs, and descriptors of files that
//! do what the test says.
//!
//! C header: [`include/kunit/test.h`](srctree/include/kunit/test.h)

use crate::{
    bindings,
    error::{
        from_err_ptr,
        to_result, //
    },
    fs::{
        file::FileDescriptorReservation,
        File,
        LocalFile, //
    },
    kunit::in_kunit_test,
    page::PAGE_SIZE,
    prelude::*,
    sync::aref::ARef,
    types::NotThreadSafe,
    uaccess::{
        UserPtr,
        UserSlice, //
    },
};
use core::{
    ffi::c_void,
    ptr::null_mut, //
};

mod memory_file;
pub use memory_file::MemoryFile;

mod scripted_file;
pub use scripted_file::{
    Poll,
    ScriptedFile, //
};

/// Memory of the test's process; behind it is a page that can't be accessed.
///
/// It is unmapped when this is dropped.
///
/// # Invariants
///
/// The current task has an address space, which stays until the task ends, and `len` bytes are
/// mapped at `addr` in it, followed by a page without access.
///
/// # Examples
///
/// ```
/// use kernel::{kunit::user::UserMemory, uaccess::UserSlice};
///
/// let memory = UserMemory::new(1)?;
///
/// memory.write(8, &7u32)?;
/// assert_eq!(memory.read::<u32>(8)?, 7);
/// assert_eq!(memory.read::<u64>(0)?, 0);
/// // One byte too far.
/// assert_eq!(memory.read::<u64>(memory.len() - 7), Err(EFAULT));
/// # Ok::<(), Error>(())
/// ```
pub struct UserMemory {
    addr: usize,
    len: usize,
    _not_send: NotThreadSafe,
}

impl UserMemory {
    /// Maps `nr_pages` zeroed pages, into an address space that is created if there is none.
    ///
    /// May sleep.
    ///
    /// # Errors
    ///
    /// `EPERM` outside of a test, `ENOMEM`.
    #[doc(alias = "kunit_attach_mm")]
    pub fn new(nr_pages: usize) -> Result<Self> {
        let len = nr_pages * PAGE_SIZE;

        if !in_kunit_test() {
            return Err(EPERM);
        }
        // SAFETY: This is the task of a test: a thread of the kernel, which keeps the address space
        // until it ends.
        to_result(unsafe { bindings::kunit_attach_mm() })?;

        let addr = Self::map(0, len + PAGE_SIZE, bindings::PROT_NONE, 0)?;
        // INVARIANT: It is mapped; the last page stays without access.
        let this = Self {
            addr,
            len,
            _not_send: NotThreadSafe,
        };

        Self::map(
            addr,
            len,
            bindings::PROT_READ | bindings::PROT_WRITE,
            bindings::MAP_FIXED,
        )?;
        Ok(this)
    }

    fn map(addr: usize, len: usize, prot: u32, flags: u32) -> Result<usize> {
        let flags = bindings::MAP_PRIVATE | bindings::MAP_ANONYMOUS | flags;
        // SAFETY: The current task has an address space.
        let addr =
            unsafe { bindings::vm_mmap(null_mut(), addr, len, prot as usize, flags as usize, 0) };

        Ok(from_err_ptr(addr as *mut c_void)? as usize)
    }

    /// Returns the size in bytes.
    #[expect(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Returns the address of a byte.
    pub fn at(&self, offset: usize) -> UserPtr {
        UserPtr::from_addr(self.addr + offset)
    }

    /// Writes a value.
    ///
    /// # Errors
    ///
    /// `EFAULT` if that is not all within the memory.
    pub fn write<T: crate::transmute::AsBytes>(&self, offset: usize, value: &T) -> Result {
        UserSlice::new(self.at(offset), size_of::<T>())
            .writer()
            .write(value)
    }

    /// Reads a value.
    ///
    /// # Errors
    ///
    /// `EFAULT` if that is not all within the memory.
    pub fn read<T: crate::transmute::FromBytes>(&self, offset: usize) -> Result<T> {
        UserSlice::new(self.at(offset), size_of::<T>())
            .reader()
            .read()
    }
}

impl Drop for UserMemory {
    fn drop(&mut self) {
        // SAFETY: By the type invariants the current task has an address space, in which these
        // pages are mapped by this value. Nothing of the kernel points into them.
        unsafe { bindings::vm_munmap(self.addr, self.len + PAGE_SIZE) };
    }
}

/// A file with a descriptor, which is closed when this is dropped.
pub struct OpenFile {
    file: ARef<File>,
    fd: u32,
    _not_send: NotThreadSafe,
}

impl OpenFile {
    /// Gives a file a descriptor.
    ///
    /// # Errors
    ///
    /// `EMFILE`, `ENOMEM`.
    pub fn new(file: ARef<File>) -> Result<Self> {
        let reservation = FileDescriptorReservation::get_unused_fd_flags(0)?;
        let fd = reservation.reserved_fd();

        reservation.fd_install(file.clone());
        Ok(Self {
            file,
            fd,
            _not_send: NotThreadSafe,
        })
    }

    /// Returns the descriptor.
    pub fn fd(&self) -> u32 {
        self.fd
    }

    /// Returns the file.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Returns a reference to the file, as the one who has opened it gets it.
    ///
    /// # Errors
    ///
    /// `EBADF` if somebody else has closed the descriptor.
    pub fn local(&self) -> Result<ARef<LocalFile>> {
        Ok(LocalFile::fget(self.fd)?)
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        // SAFETY: May be called by any task; a descriptor that is not open is refused.
        unsafe { bindings::close_fd(self.fd) };
    }
}
