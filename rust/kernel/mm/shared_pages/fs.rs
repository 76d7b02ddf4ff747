// SPDX-License-Identifier: GPL-2.0

//! The pseudo file system that the files belong to, and what C calls of it.

use super::{
    migrate::Core,
    SharedPagesType, //
};
use crate::{
    bindings,
    error::from_err_ptr,
    fs::File,
    mm::virt::VmaRef,
    page::PAGE_SIZE,
    prelude::*,
    sync::{
        aref::ARef,
        atomic::{
            Atomic,
            Relaxed,
            Release, //
        },
        new_spinlock,
        SpinLock, //
    },
    types::Opaque, //
};
use core::{
    convert::Infallible,
    ffi::{
        c_int,
        c_void, //
    },
    marker::PhantomData,
    mem::{
        align_of,
        size_of, //
    },
    ptr::{
        self,
        null_mut,
        NonNull, //
    },
};
use pin_init::raw_try_init;

/// A pseudo file system for the files behind [`SharedPages`](super::SharedPages).
///
/// # Invariants
///
/// * `mount` and `inodes` are null, or valid for good.
/// * All inodes of this file system are the first field of an `Inode`.
pub struct PseudoFs {
    fs_type: Opaque<bindings::file_system_type>,
    name: &'static CStr,
    file_name: &'static CStr,
    inode_cache_name: &'static CStr,
    magic: usize,
    mount: Atomic<*mut bindings::vfsmount>,
    inodes: Atomic<*mut bindings::kmem_cache>,
}

// SAFETY: The type is written by `init()`; then it belongs to the VFS, which synchronises itself.
unsafe impl Sync for PseudoFs {}

/// An inode of such a file.
///
/// # Invariants
///
/// `core` is that of the [`SharedPages`] whose file this is, while they are there.
#[repr(C)]
pub(super) struct Inode {
    vfs_inode: Opaque<bindings::inode>,
    pub(super) core: SpinLock<CorePtr>,
}

/// The core of [`SharedPages`], as their inode knows it.
pub(super) struct CorePtr(pub(super) Option<NonNull<Core>>);

// SAFETY: `Core` is `Sync`, so that a pointer to it may be used by any thread.
unsafe impl Send for CorePtr {}

impl PseudoFs {
    /// Describes a pseudo file system.
    ///
    /// `file_name` is what its files are called in `/proc/PID/maps`, with a slash before it, and
    /// `magic` what `statfs(2)` gives as its type.
    pub const fn new(
        name: &'static CStr,
        file_name: &'static CStr,
        inode_cache_name: &'static CStr,
        magic: usize,
    ) -> Self {
        // INVARIANT: Both pointers are null, and there are no inodes.
        Self {
            fs_type: Opaque::zeroed(),
            name,
            file_name,
            inode_cache_name,
            magic,
            mount: Atomic::new(null_mut()),
            inodes: Atomic::new(null_mut()),
        }
    }

    /// Creates the inode cache and mounts the file system, for the kernel only.
    ///
    /// May sleep. To be called once, at boot.
    ///
    /// # Errors
    ///
    /// `EINVAL` if `module` can be unloaded, whose file system this is; `EBUSY` if this was called
    /// before, whatever came of it; `ENOMEM`, and others that mounting it may have.
    pub fn init(&'static self, module: &'static ThisModule) -> Result {
        if !module.as_ptr().is_null() {
            return Err(EINVAL);
        }
        // Two caches of one name are a mistake.
        if !self.inodes.load(Relaxed).is_null() {
            return Err(EBUSY);
        }

        let mut args = bindings::kmem_cache_args {
            align: align_of::<Inode>() as u32,
            ctor: Some(Self::init_once),
            ..pin_init::zeroed()
        };
        // SAFETY: The name is static, and `args` valid for the call.
        let inodes = unsafe {
            bindings::__kmem_cache_create_args(
                self.inode_cache_name.as_char_ptr(),
                size_of::<Inode>() as u32,
                &mut args,
                bindings::SLAB_RECLAIM_ACCOUNT | bindings::SLAB_ACCOUNT,
            )
        };
        if inodes.is_null() {
            return Err(ENOMEM);
        }
        if self.inodes.cmpxchg(null_mut(), inodes, Release).is_err() {
            // SAFETY: It was never used.
            unsafe { bindings::kmem_cache_destroy(inodes) };
            return Err(EBUSY);
        }

        // The VFS hands this pointer back, and `from_type()` leaves the field: so it has to be one
        // to all of `self`.
        //
        // SAFETY: `self` is valid.
        let fs_type = Opaque::cast_into(unsafe { &raw const (*ptr::from_ref(self)).fs_type });
        // SAFETY: Nobody else uses the structure yet, since only one call comes here.
        unsafe {
            (*fs_type).name = self.name.as_char_ptr();
            (*fs_type).init_fs_context = Some(Self::init_fs_context);
            (*fs_type).kill_sb = Some(bindings::kill_anon_super);
        }
        // SAFETY: The structure is complete, and static. It stays registered for good, since
        // nothing unmounts it.
        let mount = from_err_ptr(unsafe { bindings::kern_mount(fs_type) })?;

        self.mount.store(mount, Release);
        Ok(())
    }

    /// # Safety
    ///
    /// To be called by the slab allocator with memory for an [`Inode`].
    unsafe extern "C" fn init_once(obj: *mut c_void) {
        let inode = obj.cast::<Inode>();

        // SAFETY: The allocator passes memory for an `Inode`, whose first field this is.
        unsafe { bindings::inode_init_once(inode.cast()) };

        let init = new_spinlock!(CorePtr(None), "SharedPages::inode");
        // SAFETY: The memory is valid for writes, and an object of a slab is not moved.
        let Ok(()) = unsafe { raw_try_init::<_, Infallible>(&raw mut (*inode).core, init) };
    }

    /// # Safety
    ///
    /// To be called by the VFS for a context of one of these file systems.
    unsafe extern "C" fn init_fs_context(fc: *mut bindings::fs_context) -> c_int {
        const OPS: &bindings::super_operations = &bindings::super_operations {
            alloc_inode: Some(PseudoFs::alloc_inode),
            free_inode: Some(PseudoFs::free_inode),
            statfs: Some(bindings::simple_statfs),
            ..pin_init::zeroed()
        };

        // SAFETY: `fc` is valid, and its type is the field of a `PseudoFs`, given to
        // `kern_mount()`.
        let this = unsafe { Self::from_type((*fc).fs_type) };
        // SAFETY: `fc` is valid.
        let pfc = unsafe { bindings::init_pseudo(fc, this.magic) };

        if pfc.is_null() {
            return ENOMEM.to_errno();
        }
        // SAFETY: `init_pseudo()` has just allocated `pfc`, and it belongs to `fc`, which nobody
        // else uses yet.
        unsafe { (*pfc).ops = OPS };
        0
    }

    /// # Safety
    ///
    /// `fs_type` must be the field of a static `PseudoFs`, made from a pointer to all of it.
    unsafe fn from_type(fs_type: *mut bindings::file_system_type) -> &'static Self {
        // SAFETY: The caller guarantees that `fs_type` is the field of a static `PseudoFs`, and
        // made from a pointer to all of it.
        unsafe { &*crate::container_of!(Opaque::cast_from(fs_type), Self, fs_type) }
    }

    /// # Safety
    ///
    /// To be called by the VFS for a super block of one of these file systems.
    unsafe extern "C" fn alloc_inode(sb: *mut bindings::super_block) -> *mut bindings::inode {
        // SAFETY: `sb` is valid, and its type is the field of a `PseudoFs`, given to
        // `kern_mount()`.
        let this = unsafe { Self::from_type((*sb).s_type) };
        let inodes = this.inodes.load(Relaxed);

        // The constructor has initialised the inode, and `core` is none in memory that was freed.
        //
        // SAFETY: `sb` is valid, and by the type invariants so is the cache: it is there before the
        // file system is mounted.
        unsafe { bindings::alloc_inode_sb(sb, inodes, bindings::GFP_KERNEL).cast() }
    }

    /// # Safety
    ///
    /// To be called by the VFS with an inode of one of these file systems.
    unsafe extern "C" fn free_inode(inode: *mut bindings::inode) {
        // SAFETY: `inode` is valid, and has a super block whose type is the field of a `PseudoFs`.
        let this = unsafe { Self::from_type((*(*inode).i_sb).s_type) };

        // SAFETY: It was allocated in `alloc_inode()`, from this cache, and nobody uses it: the VFS
        // frees it after a grace period.
        unsafe { bindings::kmem_cache_free(this.inodes.load(Relaxed), inode.cast()) };
    }

    /// Creates a file of `nr_pages` pages.
    pub(super) fn create_file<T: SharedPagesType>(
        &'static self,
        nr_pages: usize,
    ) -> Result<ARef<File>> {
        let mount = self.mount.load(Relaxed);
        if mount.is_null() {
            return Err(ENOMEM);
        }

        // SAFETY: By the type invariants the mount is valid for good.
        let inode = from_err_ptr(unsafe { bindings::alloc_anon_inode((*mount).mnt_sb) })?;
        // SAFETY: The inode is new, and ours.
        unsafe {
            (*(*inode).i_mapping).a_ops = Callbacks::<T>::ASPACE_OPS;
            (*inode).i_size = (nr_pages * PAGE_SIZE) as i64;
        }

        let (name, flags) = (self.file_name.as_char_ptr(), bindings::O_RDWR as c_int);
        let ops = Callbacks::<T>::FILE_OPS;
        // SAFETY: The mount is valid for good, and the inode one of its file system; the name and
        // the operations are static.
        let file = unsafe { bindings::alloc_file_pseudo(inode, mount, name, flags, ops) };

        match from_err_ptr(file) {
            // SAFETY: It is not null, since it is no error, and the only reference to a new file;
            // nobody uses the position of such a file.
            Ok(file) => Ok(unsafe { ARef::from_raw(NonNull::new_unchecked(file.cast())) }),
            Err(e) => {
                // SAFETY: The inode is still ours.
                unsafe { bindings::iput(inode) };
                Err(e)
            }
        }
    }
}

/// The tables of C callbacks for files of a type.
struct Callbacks<T>(PhantomData<T>);

impl<T: SharedPagesType> Callbacks<T> {
    const FILE_OPS: &'static bindings::file_operations = &bindings::file_operations {
        mmap_prepare: Some(Self::mmap_prepare),
        ..pin_init::zeroed()
    };

    const VM_OPS: &'static bindings::vm_operations_struct = &bindings::vm_operations_struct {
        mremap: Some(Self::mremap),
        #[cfg(CONFIG_MMU)]
        fault: Some(bindings::filemap_fault),
        #[cfg(CONFIG_MMU)]
        map_pages: Some(bindings::filemap_map_pages),
        #[cfg(CONFIG_MMU)]
        page_mkwrite: Some(bindings::filemap_page_mkwrite),
        ..pin_init::zeroed()
    };

    const ASPACE_OPS: &'static bindings::address_space_operations =
        &bindings::address_space_operations {
            read_folio: Some(Self::read_folio),
            dirty_folio: Some(bindings::noop_dirty_folio),
            #[cfg(CONFIG_MIGRATION)]
            migrate_folio: Some(Self::migrate_folio),
            ..pin_init::zeroed()
        };

    /// The mapping can't grow, and a child doesn't inherit it.
    ///
    /// # Safety
    ///
    /// To be called by the memory management.
    unsafe extern "C" fn mmap_prepare(desc: *mut bindings::vm_area_desc) -> c_int {
        let flags = (bindings::VM_DONTEXPAND | bindings::VM_DONTCOPY) as bindings::vm_flags_t;

        // SAFETY: The memory management passes a valid `desc`, which is the callee's for the call.
        unsafe {
            bindings::vma_desc_set_flags_mask(desc, bindings::legacy_to_vma_flags(flags));
            (*desc).vm_ops = Self::VM_OPS;
        }
        0
    }

    /// # Safety
    ///
    /// To be called by the memory management with a mapping of such a file.
    unsafe extern "C" fn mremap(vma: *mut bindings::vm_area_struct) -> c_int {
        // SAFETY: The mapping is valid, and stays as it is: the mmap lock is held for writing.
        let area = unsafe { VmaRef::from_raw(vma) };
        // SAFETY: The mapping keeps its file, whose position nobody uses.
        let file = unsafe { File::from_raw_file((*vma).vm_file) };

        match T::moved(area.mm(), file, area.start(), area.end() - area.start()) {
            Ok(()) => 0,
            Err(e) => e.to_errno(),
        }
    }

    /// All pages are in memory as long as the file is, so one that has to be read was truncated
    /// while somebody tried to access it.
    ///
    /// # Safety
    ///
    /// To be called by the page cache with a locked folio.
    unsafe extern "C" fn read_folio(
        _file: *mut bindings::file,
        folio: *mut bindings::folio,
    ) -> c_int {
        // SAFETY: The page cache passes a folio that is locked, which is to be unlocked here.
        unsafe { bindings::folio_unlock(folio) };
        EIO.to_errno()
    }

    /// # Safety
    ///
    /// To be called by the memory management, with both folios locked.
    #[cfg(CONFIG_MIGRATION)]
    unsafe extern "C" fn migrate_folio(
        mapping: *mut bindings::address_space,
        dst: *mut bindings::folio,
        src: *mut bindings::folio,
        _mode: bindings::migrate_mode,
    ) -> c_int {
        // SAFETY: The mapping belongs to an inode of this file system, which is the first field of
        // an `Inode`. It stays, since a folio of it is locked.
        let inode = unsafe { &*(*mapping).host.cast::<Inode>() };
        // The pages don't go away while this lock is held.
        let core = inode.core.lock();

        let result = match core.0 {
            // SAFETY: By the invariants of `Inode` the pages are there as long as the pointer is,
            // which is not removed while the lock is held. Both folios are locked.
            Some(core) => unsafe { core.as_ref().migrate(mapping, dst, src) },
            None => Err(EINVAL),
        };
        match result {
            Ok(()) => 0,
            Err(e) => e.to_errno(),
        }
    }
}
