// SPDX-License-Identifier: GPL-2.0

//! The pages of a file, and where a process has them mapped.

use super::SharedPagesType;
use crate::{
    bindings,
    error::from_err_ptr,
    fs::File,
    mm::{
        locked_vm::LockedVm,
        mmap_write::MmapWriteGuard,
        Mm, //
    },
    page::PAGE_SIZE,
    prelude::*,
    sync::{
        aref::ARef,
        atomic::{
            Atomic,
            Relaxed, //
        },
    },
    task::Task, //
};
use core::{
    ffi::c_void,
    marker::PhantomData,
    ptr::null_mut, //
};

/// Pages that are not in use yet: they can be moved around, and mapped.
///
/// Dropping them may sleep.
///
/// # Invariants
///
/// `cache` is a file of `T`'s file system with all of its pages. The `core` of its inode is none.
pub struct NewSharedPages<T: SharedPagesType> {
    pub(super) cache: PageCache,
    _p: PhantomData<T>,
}

/// A page, and where the kernel sees it.
///
/// Both change only when the page is migrated.
pub(super) struct PageRef {
    pub(super) folio: Atomic<*mut bindings::folio>,
    pub(super) addr: Atomic<*mut c_void>,
}

/// A file and its pages, which go when this does.
///
/// # Invariants
///
/// `pages` are the first pages of `file`, with a reference each.
pub(super) struct PageCache {
    pub(super) file: ARef<File>,
    pub(super) pages: KVVec<PageRef>,
}

impl PageCache {
    pub(super) fn inode(&self) -> *mut bindings::inode {
        // SAFETY: The file is valid, and keeps its inode.
        unsafe { bindings::file_inode(self.file.as_ptr()) }
    }
}

impl Drop for PageCache {
    fn drop(&mut self) {
        // Takes the pages out of the mappings, wherever they are.
        //
        // SAFETY: The inode is valid as long as the file, and nobody else changes its size.
        unsafe { bindings::truncate_setsize(self.inode(), 0) };

        for page in &self.pages {
            // SAFETY: By the type invariants this is a reference of ours, and nobody accesses the
            // pages any longer.
            unsafe { bindings::folio_put(page.folio.load(Relaxed)) };
        }
    }
}

impl<T: SharedPagesType> NewSharedPages<T> {
    /// Allocates `nr_pages` zeroed pages, charged to the memory cgroup of the current task.
    ///
    /// May sleep.
    ///
    /// # Errors
    ///
    /// `EINVAL` if there are to be none, or more than a file can have; `ENOMEM`.
    pub fn new(nr_pages: usize) -> Result<Self> {
        if nr_pages == 0 || nr_pages > i64::MAX as usize / PAGE_SIZE {
            return Err(EINVAL);
        }

        let file = T::fs().create_file::<T>(nr_pages).map_err(|_| ENOMEM)?;
        let mut cache = PageCache {
            file,
            pages: KVVec::with_capacity(nr_pages, GFP_KERNEL)?,
        };

        for index in 0..nr_pages {
            let fgp = bindings::FGP_LOCK | bindings::FGP_ACCESSED | bindings::FGP_CREAT;
            let gfp = bindings::GFP_USER | bindings::__GFP_ZERO;
            // SAFETY: The file is valid, and its mapping as well.
            let folio = from_err_ptr(unsafe {
                bindings::__filemap_get_folio((*cache.file.as_ptr()).f_mapping, index, fgp, gfp)
            })
            .map_err(|_| ENOMEM)?;

            // SAFETY: The folio is locked, and ours; this unlocks it.
            unsafe { bindings::folio_end_read(folio, true) };
            // SAFETY: The folio is referenced. Without `__GFP_HIGHMEM` its memory has an address.
            let addr = unsafe { bindings::folio_address(folio) };
            // INVARIANT: This is the next page, and its reference is ours.
            cache.pages.push(
                PageRef {
                    folio: Atomic::new(folio),
                    addr: Atomic::new(addr),
                },
                GFP_KERNEL,
            )?;
        }
        // INVARIANT: These are all pages.
        Ok(Self {
            cache,
            _p: PhantomData,
        })
    }

    /// Maps all pages into the address space of the current process, readable and writable.
    ///
    /// May sleep. `charge` is what they are charged to, if anything. The mapping itself counts
    /// nothing, but where new mappings have to be locked (`mlockall(2)`) the memory management
    /// checks whether they could be: then the pages don't count twice.
    ///
    /// # Errors
    ///
    /// `EINTR` if the process was killed meanwhile, `ENOMEM` if the mapping is not possible.
    #[doc(alias = "do_mmap")]
    pub fn map(&self, charge: Option<&LockedVm>) -> Result<Mapping> {
        let len = self.cache.pages.len() * PAGE_SIZE;
        let task = current!();
        let mm: &Mm = task.mm().ok_or(ENOMEM)?;
        let mmap = MmapWriteGuard::lock_killable(mm)?;
        let do_mmap = || {
            let file = self.cache.file.as_ptr();
            let prot = (bindings::PROT_READ | bindings::PROT_WRITE) as usize;
            let (flags, vma_flags) = (bindings::MAP_SHARED as usize, pin_init::zeroed());
            let (populate, uf) = (&mut 0, null_mut());

            // SAFETY: The mmap lock of the current address space is held for writing. The file is
            // valid, `populate` for the call; without a list `userfaultfd` is not told.
            unsafe { bindings::do_mmap(file, 0, len, prot, flags, vma_flags, 0, populate, uf) }
        };
        let addr = match charge {
            Some(charge) => charge.uncounted(&mmap, do_mmap),
            None => do_mmap(),
        };

        drop(mmap);
        Ok(Mapping {
            addr: from_err_ptr(addr as *mut c_void).map_err(|_| ENOMEM)? as usize,
            len,
            mm: Some(mm.into()),
        })
    }
}

fn current_mm() -> *mut bindings::mm_struct {
    // SAFETY: `current` is valid, and its `mm` changes only in the task itself.
    unsafe { (*Task::current_raw()).mm }
}

/// A mapping of [`SharedPages`] in a process. It is removed when this is dropped by that process.
///
/// [`SharedPages`]: super::SharedPages
#[must_use = "the mapping is removed when this is dropped"]
pub struct Mapping {
    /// The address space, unless the mapping is to stay.
    mm: Option<ARef<Mm>>,
    addr: usize,
    len: usize,
}

impl Mapping {
    /// Returns the address.
    pub fn addr(&self) -> usize {
        self.addr
    }

    /// Returns the size in bytes.
    #[expect(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.len
    }

    /// The process has moved the mapping.
    pub fn moved(&mut self, addr: usize) {
        self.addr = addr;
    }

    /// From now on the mapping is left where it is: its address space is about to go.
    pub fn leave(mut self) -> Self {
        self.mm = None;
        self
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        let Some(mm) = &self.mm else {
            return;
        };

        if core::ptr::eq(current_mm(), mm.as_raw()) {
            // SAFETY: The current task has an address space, in which nothing of the kernel points
            // to the range. Whether the process has unmapped it itself does not matter.
            unsafe { bindings::vm_munmap(self.addr, self.len) };
        }
    }
}
