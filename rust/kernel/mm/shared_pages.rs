// SPDX-License-Identifier: GPL-2.0

//! Memory that the kernel shares with a process.
//!
//! [`SharedPages`] are the pages of an anonymous file. They are mapped into the process, which may
//! write anything there at any time, and stay in memory until the file goes; the kernel reads
//! and writes them as well. They can still be migrated, so that they don't fragment memory: for
//! that both of the locks under which the kernel accesses them are taken.
//!
//! C headers: [`include/linux/pseudo_fs.h`](srctree/include/linux/pseudo_fs.h),
//! [`include/linux/pagemap.h`](srctree/include/linux/pagemap.h),
//! [`include/linux/migrate.h`](srctree/include/linux/migrate.h)

use crate::{
    bindings,
    error::{
        from_err_ptr,
        to_result, //
    },
    fs::File,
    mm::{
        locked_vm::LockedVm,
        mmap_write::MmapWriteGuard,
        virt::VmaRef,
        Mm,
        MmWithUser, //
    },
    page::PAGE_SIZE,
    prelude::*,
    static_lock_class,
    sync::{
        aref::ARef,
        atomic::{
            Atomic,
            Relaxed,
            Release, //
        },
        new_spinlock,
        Mutex,
        MutexGuard,
        SpinLock,
        SpinLockIrqSave,
        SpinLockIrqSaveGuard, //
    },
    task::Task,
    types::Opaque,
    uaccess::UserPtr, //
};
use core::{
    cell::UnsafeCell,
    ffi::{
        c_int,
        c_void, //
    },
    marker::PhantomData,
    mem::{
        align_of,
        size_of, //
    },
    ops::{
        Deref,
        DerefMut, //
    },
    ptr::{
        null_mut,
        NonNull, //
    },
};

/// A kind of anonymous files that share pages with processes: a pseudo file system.
pub trait SharedPagesType: Sized + 'static {
    /// Returns the file system; a `static`.
    fn fs() -> &'static PseudoFs;

    /// A mapping of the file was moved to another address of its address space by `mremap()`.
    ///
    /// It may be a mapping of a part of the file only: its size in bytes is `len`. Called with the
    /// mmap lock of `mm` held for writing. An error undoes the move.
    fn moved(mm: &MmWithUser, file: &File, start: usize, len: usize) -> Result;
}

/// A pseudo file system for the files behind [`SharedPages`].
///
/// # Invariants
///
/// * `mount` and `inodes` are null, or valid for good.
/// * All inodes of this file system are the first field of an [`Inode`].
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
struct Inode {
    vfs_inode: Opaque<bindings::inode>,
    core: SpinLock<CorePtr>,
}

/// The core of [`SharedPages`], as their inode knows it.
struct CorePtr(Option<NonNull<Core>>);

// SAFETY: `Core` is `Sync`.
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

        let fs_type = self.fs_type.get();
        // SAFETY: Nobody else uses the structure yet, since only one call comes here.
        unsafe {
            (*fs_type).name = self.name.as_char_ptr();
            (*fs_type).init_fs_context = Some(Self::init_fs_context);
            (*fs_type).kill_sb = Some(bindings::kill_anon_super);
        }
        // SAFETY: The structure is complete, and static.
        let mount = from_err_ptr(unsafe { bindings::kern_mount(fs_type) })?;

        self.mount.store(mount, Release);
        Ok(())
    }

    /// # Safety
    ///
    /// To be called by the slab allocator with memory for an [`Inode`].
    unsafe extern "C" fn init_once(obj: *mut c_void) {
        let inode = obj.cast::<Inode>();

        // SAFETY: By the requirements of this function.
        unsafe {
            bindings::inode_init_once(inode.cast());
            let lock = new_spinlock!(CorePtr(None), "SharedPages::inode");
            let Ok(()) = pin_init::raw_try_init::<_, core::convert::Infallible>(
                &raw mut (*inode).core,
                lock,
            );
        }
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

        // SAFETY: By the requirements of this function, `fs_type` is the field of a `PseudoFs`.
        let this = unsafe { Self::from_type((*fc).fs_type) };
        // SAFETY: `fc` is valid.
        let pfc = unsafe { bindings::init_pseudo(fc, this.magic) };

        if pfc.is_null() {
            return ENOMEM.to_errno();
        }
        // SAFETY: It was just allocated.
        unsafe { (*pfc).ops = OPS };
        0
    }

    /// # Safety
    ///
    /// `fs_type` must be the field of a `PseudoFs`.
    unsafe fn from_type(fs_type: *mut bindings::file_system_type) -> &'static Self {
        // SAFETY: By the requirements of this function; a `PseudoFs` with inodes is static.
        unsafe { &*crate::container_of!(Opaque::cast_from(fs_type), Self, fs_type) }
    }

    /// # Safety
    ///
    /// To be called by the VFS for a super block of one of these file systems.
    unsafe extern "C" fn alloc_inode(sb: *mut bindings::super_block) -> *mut bindings::inode {
        // SAFETY: By the requirements of this function. The constructor has initialised the inode,
        // and `core` is none in memory that was freed.
        unsafe {
            let this = Self::from_type((*sb).s_type);

            bindings::alloc_inode_sb(sb, this.inodes.load(Relaxed), bindings::GFP_KERNEL).cast()
        }
    }

    /// # Safety
    ///
    /// To be called by the VFS with an inode of one of these file systems.
    unsafe extern "C" fn free_inode(inode: *mut bindings::inode) {
        // SAFETY: By the requirements of this function.
        unsafe {
            let this = Self::from_type((*(*inode).i_sb).s_type);

            bindings::kmem_cache_free(this.inodes.load(Relaxed), inode.cast());
        }
    }

    /// Creates a file of `nr_pages` pages.
    fn create_file<T: SharedPagesType>(&'static self, nr_pages: usize) -> Result<ARef<File>> {
        let mount = self.mount.load(Relaxed);
        if mount.is_null() {
            return Err(ENOMEM);
        }

        // SAFETY: The mount is valid.
        let inode = from_err_ptr(unsafe { bindings::alloc_anon_inode((*mount).mnt_sb) })?;
        // SAFETY: The inode is new, and ours.
        unsafe {
            (*(*inode).i_mapping).a_ops = Callbacks::<T>::ASPACE_OPS;
            (*inode).i_size = (nr_pages * PAGE_SIZE) as i64;
        }

        // SAFETY: All are valid, and the operations static.
        let file = unsafe {
            bindings::alloc_file_pseudo(
                inode,
                mount,
                self.file_name.as_char_ptr(),
                bindings::O_RDWR as c_int,
                Callbacks::<T>::FILE_OPS,
            )
        };
        match from_err_ptr(file) {
            // SAFETY: The reference is new; nobody uses the file position of such a file.
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

        // SAFETY: By the requirements of this function, `desc` is valid.
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
        // SAFETY: By the requirements of this function; the mmap lock is held for writing.
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
        // SAFETY: By the requirements of this function.
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
        // SAFETY: By the requirements of this function; the mapping is that of an inode of ours.
        let inode = unsafe { &*(*mapping).host.cast::<Inode>() };
        // The pages don't go away while this lock is held.
        let core = inode.core.lock();

        let result = match core.0 {
            // SAFETY: By the invariants of `Inode`.
            Some(core) => unsafe { core.as_ref().migrate(mapping, dst, src) },
            None => Err(EINVAL),
        };
        match result {
            Ok(()) => 0,
            Err(e) => e.to_errno(),
        }
    }
}

/// Pages that are not in use yet: they can be moved around, and mapped.
///
/// Dropping them may sleep.
///
/// # Invariants
///
/// `cache` is a file of `T`'s file system with all of its pages. The `core` of its inode is none.
pub struct NewSharedPages<T: SharedPagesType> {
    cache: PageCache,
    _p: PhantomData<T>,
}

/// A page, and where the kernel sees it.
///
/// Both change only when the page is migrated.
struct PageRef {
    folio: Atomic<*mut bindings::folio>,
    addr: Atomic<*mut c_void>,
}

/// A file and its pages, which go when this does.
///
/// # Invariants
///
/// `pages` are the first pages of `file`, with a reference each.
struct PageCache {
    file: ARef<File>,
    pages: KVVec<PageRef>,
}

impl PageCache {
    fn inode(&self) -> *mut bindings::inode {
        // SAFETY: The file is valid.
        unsafe { bindings::file_inode(self.file.as_ptr()) }
    }
}

impl Drop for PageCache {
    fn drop(&mut self) {
        // Takes the pages out of the mappings, wherever they are.
        //
        // SAFETY: The inode is valid, and nobody else changes its size.
        unsafe { bindings::truncate_setsize(self.inode(), 0) };

        for page in &self.pages {
            // SAFETY: By the type invariants.
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
            // SAFETY: The mapping of the file is valid.
            let folio = from_err_ptr(unsafe {
                bindings::__filemap_get_folio(
                    (*cache.file.as_ptr()).f_mapping,
                    index,
                    bindings::FGP_LOCK | bindings::FGP_ACCESSED | bindings::FGP_CREAT,
                    bindings::GFP_USER | bindings::__GFP_ZERO,
                )
            })
            .map_err(|_| ENOMEM)?;

            // SAFETY: The folio is new, and locked; its memory was allocated for kernel addresses,
            // so it has one.
            let addr = unsafe {
                bindings::folio_end_read(folio, true);
                bindings::folio_address(folio)
            };
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
            let mut populate = 0;

            // SAFETY: The lock is held, and the file valid.
            unsafe {
                bindings::do_mmap(
                    self.cache.file.as_ptr(),
                    0,
                    len,
                    (bindings::PROT_READ | bindings::PROT_WRITE) as usize,
                    bindings::MAP_SHARED as usize,
                    pin_init::zeroed(),
                    0,
                    &mut populate,
                    null_mut(),
                )
            }
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
            // SAFETY: The current task has an address space. Whether the process has unmapped the
            // range itself does not matter.
            unsafe { bindings::vm_munmap(self.addr, self.len) };
        }
    }
}

/// Pages that the kernel shares with a process, and data that belongs to them.
///
/// The kernel accesses the pages as one of two parties: as the *consumer*, who may sleep, or as the
/// *producer*, who may be an interrupt handler and has the data `P`.
///
/// Dropping them may sleep.
///
/// # Invariants
///
/// The inode of the file has a pointer to `core`.
#[pin_data(PinnedDrop)]
pub struct SharedPages<P> {
    #[pin]
    core: Core,
    /// Belongs to who holds `core.producer`.
    data: UnsafeCell<P>,
}

// SAFETY: The data is only reached with the lock held.
unsafe impl<P: Send> Sync for SharedPages<P> {}

// SAFETY: All parts may be dropped on any thread.
unsafe impl<P: Send> Send for SharedPages<P> {}

/// # Invariants
///
/// The pages are accessed only by those who hold one of the locks, and changed only by those who
/// hold both.
#[pin_data]
struct Core {
    cache: PageCache,
    #[pin]
    consumer: Mutex<()>,
    #[pin]
    producer: SpinLockIrqSave<()>,
}

impl Core {
    /// Puts `dst` in the place of `src`.
    ///
    /// # Safety
    ///
    /// As for [`Callbacks::migrate_folio()`].
    #[cfg(CONFIG_MIGRATION)]
    unsafe fn migrate(
        &self,
        mapping: *mut bindings::address_space,
        dst: *mut bindings::folio,
        src: *mut bindings::folio,
    ) -> Result {
        // A consumer may hold its lock for long.
        let _consumer = self.consumer.try_lock().ok_or(EAGAIN)?;

        // SAFETY: `src` is locked, so it stays where it is in the file.
        let index = unsafe { bindings::folio_pos(src) } as usize / PAGE_SIZE;
        let page = self.cache.pages.get(index).ok_or(EINVAL)?;

        // It may have been migrated already.
        if page.folio.load(Relaxed) != src {
            return Err(EAGAIN);
        }

        // SAFETY: By the requirements of this function. The one extra reference that the source is
        // expected to have is that of `page`.
        unsafe {
            if bindings::folio_test_writeback(src) {
                return Err(EAGAIN);
            }
            bindings::folio_get(dst);
            if let Err(e) = to_result(bindings::folio_migrate_mapping(mapping, dst, src, 1)) {
                bindings::folio_put(dst);
                return Err(e);
            }
        }

        let producer = self.producer.lock();
        // INVARIANT: Both locks are held; the new page has a reference and the contents of the old
        // one, to which nobody can write now: its mappings were removed before.
        //
        // SAFETY: By the requirements of this function.
        unsafe {
            bindings::folio_copy(dst, src);
            bindings::folio_migrate_flags(dst, src);
            page.folio.store(dst, Relaxed);
            page.addr.store(bindings::folio_address(dst), Relaxed);
        }
        drop(producer);

        // SAFETY: This was the reference of `page`.
        unsafe { bindings::folio_put(src) };
        Ok(())
    }
}

impl<P> SharedPages<P> {
    /// Puts pages to use, with this data for the producer.
    pub fn new<T: SharedPagesType>(pages: NewSharedPages<T>, data: P) -> impl PinInit<Self> {
        // Each crate has its own copy of this function, but lockdep wants one name for one key.
        static CONSUMER: &CStr = c"SharedPages::consumer";
        static PRODUCER: &CStr = c"SharedPages::producer";

        let init = pin_init!(Self {
            core <- pin_init!(Core {
                cache: pages.cache,
                consumer <- Mutex::new((), CONSUMER, static_lock_class!()),
                producer <- SpinLockIrqSave::new((), PRODUCER, static_lock_class!()),
            }),
            data: UnsafeCell::new(data),
        });

        init.pin_chain(|this| {
            // INVARIANT: The inode gets the pointer; it is taken back before the pages go, in the
            // destructor, and until then they are pinned.
            this.set_in_inode(Some(NonNull::from(&this.core)));
            Ok(())
        })
    }

    fn set_in_inode(&self, core: Option<NonNull<Core>>) {
        // SAFETY: The inode is one of `PseudoFs`.
        let inode = unsafe { &*self.core.cache.inode().cast::<Inode>() };

        inode.core.lock().0 = core;
    }

    /// Returns whether these are the pages of `file`.
    pub fn is_file(&self, file: &File) -> bool {
        core::ptr::eq(self.core.cache.file.as_ptr(), file.as_ptr())
    }

    /// Locks the pages as the consumer.
    ///
    /// May sleep.
    #[inline]
    pub fn consumer(&self) -> Consumer<'_> {
        let guard = self.core.consumer.lock();

        Consumer {
            pages: Pages::new(&self.core),
            _guard: guard,
        }
    }

    /// Locks the pages as the producer.
    ///
    /// May be called in any context. Interrupts are disabled until the guard is dropped.
    #[inline]
    pub fn producer(&self) -> Producer<'_, P> {
        let guard = self.core.producer.lock();

        Producer {
            pages: Pages::new(&self.core),
            data: &self.data,
            _guard: guard,
        }
    }
}

#[pinned_drop]
impl<P> PinnedDrop for SharedPages<P> {
    fn drop(self: Pin<&mut Self>) {
        // From here on the pages are not migrated any longer.
        self.set_in_inode(None);
    }
}

/// The pages, for somebody who holds one of the locks.
///
/// Offsets are in bytes from the start of the first page.
///
/// # Panics
///
/// All methods panic on ranges that are not aligned, or not within one page of those there are.
/// Never take an offset from the pages themselves without bringing it into the range first.
pub struct Pages<'a> {
    core: &'a Core,
    /// Where the first page is.
    first: *mut u8,
}

impl<'a> Pages<'a> {
    /// To be called with one of the locks held.
    #[inline]
    fn new(core: &'a Core) -> Self {
        Self {
            core,
            first: core.cache.pages[0].addr.load(Relaxed).cast(),
        }
    }

    /// Returns the address of a range within one page.
    #[inline]
    fn at(&self, offset: usize, len: usize) -> *mut u8 {
        let in_page = offset % PAGE_SIZE;

        assert!(len <= PAGE_SIZE - in_page);
        match offset / PAGE_SIZE {
            0 => self.first,
            index => self.core.cache.pages[index].addr.load(Relaxed).cast(),
        }
        .wrapping_add(in_page)
    }

    /// Returns a number in the pages, for one access: user space may change it at any time.
    #[inline]
    fn number(&self, offset: usize) -> &Atomic<u32> {
        let ptr = self.at(offset, size_of::<u32>()).cast::<u32>();

        // Pages are aligned.
        assert!(offset % align_of::<u32>() == 0);
        // SAFETY: The pages stay where they are while the lock is held. Other accesses are atomic,
        // or those of user space, which can't do more harm than to change the value.
        unsafe { Atomic::from_ptr(ptr) }
    }

    /// Reads a number, once.
    #[doc(alias = "READ_ONCE")]
    #[inline]
    pub fn read_u32(&self, offset: usize) -> u32 {
        self.number(offset).load(Relaxed)
    }

    /// Writes a number, in one piece.
    #[doc(alias = "WRITE_ONCE")]
    #[inline]
    pub fn write_u32(&self, offset: usize, value: u32) {
        self.number(offset).store(value, Relaxed);
    }

    /// Writes a number, in one piece, after all that was read and written before.
    #[doc(alias = "smp_store_release")]
    #[inline]
    pub fn write_u32_release(&self, offset: usize, value: u32) {
        self.number(offset).store(value, Release);
    }

    /// Makes what was written in the page at this offset visible to user space, where caches are
    /// not coherent.
    #[inline]
    pub fn flush(&self, offset: usize) {
        if let Some(page) = self.core.cache.pages.get(offset / PAGE_SIZE) {
            // SAFETY: The folio stays while the lock is held.
            unsafe { bindings::flush_dcache_folio_at(page.folio.as_ptr()) };
        }
    }
}

/// The pages, locked for the consumer.
#[must_use = "the lock unlocks immediately when the guard is unused"]
pub struct Consumer<'a> {
    pages: Pages<'a>,
    _guard: MutexGuard<'a, ()>,
}

impl<'a> Deref for Consumer<'a> {
    type Target = Pages<'a>;

    #[inline]
    fn deref(&self) -> &Pages<'a> {
        &self.pages
    }
}

impl Consumer<'_> {
    /// Copies a range within one page to the current process.
    ///
    /// # Errors
    ///
    /// `EFAULT` if not all of it could be copied.
    #[inline]
    pub fn copy_to_user(&self, offset: usize, to: UserPtr, len: usize) -> Result {
        /// As much is copied without a call: that is faster for little, and slower for much.
        const FEW: usize = 256;
        const GROUP: usize = 4 * size_of::<u64>();

        let from = self.pages.at(offset, len);

        if cfg!(CONFIG_HAVE_EFFICIENT_UNALIGNED_ACCESS)
            && len <= FEW
            && len % GROUP == 0
            && offset % size_of::<u64>() == 0
        {
            // SAFETY: As below.
            return to_result(unsafe {
                bindings::put_user_groups(to.as_mut_ptr(), from.cast(), len / GROUP)
            });
        }
        // SAFETY: The range lies within a page, which stays where it is while the lock is held.
        if unsafe { bindings::copy_to_user(to.as_mut_ptr(), from.cast(), len) } != 0 {
            return Err(EFAULT);
        }
        Ok(())
    }
}

/// The pages, locked for the producer, with its data.
#[must_use = "the lock unlocks immediately when the guard is unused"]
pub struct Producer<'a, P> {
    pages: Pages<'a>,
    data: &'a UnsafeCell<P>,
    _guard: SpinLockIrqSaveGuard<'a, ()>,
}

impl<'a, P> Producer<'a, P> {
    /// Returns the pages.
    #[inline]
    pub fn pages(&self) -> &Pages<'a> {
        &self.pages
    }

    /// Writes words, in pieces of any size.
    ///
    /// Who reads the pages must not do so before it is told that the value is there; if a process
    /// makes the consumer believe so, that copies a mixture of old and new to the process.
    #[inline]
    pub fn write_words<const N: usize>(&self, offset: usize, words: [u64; N]) {
        let to = self.pages.at(offset, N * size_of::<u64>()).cast::<u64>();

        // Pages are aligned.
        assert!(offset % align_of::<u64>() == 0);
        for (i, word) in words.into_iter().enumerate() {
            // SAFETY: The range lies within a page, which stays where it is while the lock is held.
            // There is one producer at a time, and the others who may access the range copy it to
            // user space, or are user space.
            unsafe { to.add(i).write_volatile(word) };
        }
    }
}

impl<P> Deref for Producer<'_, P> {
    type Target = P;

    #[inline]
    fn deref(&self) -> &P {
        // SAFETY: The lock is held.
        unsafe { &*self.data.get() }
    }
}

impl<P> DerefMut for Producer<'_, P> {
    #[inline]
    fn deref_mut(&mut self) -> &mut P {
        // SAFETY: The lock is held.
        unsafe { &mut *self.data.get() }
    }
}

#[kunit_tests(rust_mm_shared_pages)]
mod tests {
    use super::*;
    use crate::{
        kunit::user::{
            OpenFile,
            UserMemory, //
        },
        module::this_module,
        uaccess::UserScalar,
        LocalModule, //
    };

    static FS: PseudoFs = PseudoFs::new(c"kunit", c"[kunit]", c"rust_kunit_inode", 0x4b55);

    enum TestFile {}

    impl SharedPagesType for TestFile {
        fn fs() -> &'static PseudoFs {
            &FS
        }

        fn moved(_mm: &MmWithUser, _file: &File, _start: usize, _len: usize) -> Result {
            Ok(())
        }
    }

    /// The file system is mounted by the first who wants it.
    fn new_pages(nr: usize) -> Result<NewSharedPages<TestFile>> {
        match FS.init(this_module::<LocalModule>()) {
            Err(e) if e != EBUSY => Err(e),
            _ => NewSharedPages::new(nr),
        }
    }

    #[test]
    fn numbers_that_are_wrong() -> Result {
        drop(new_pages(1)?);
        for nr_pages in [0, usize::MAX / PAGE_SIZE, usize::MAX] {
            assert_eq!(new_pages(nr_pages).err(), Some(EINVAL));
        }
        Ok(())
    }

    #[test]
    fn initialised_once() -> Result {
        let _pages = new_pages(1)?;

        assert_eq!(FS.init(this_module::<LocalModule>()), Err(EBUSY));
        Ok(())
    }

    #[test]
    fn what_the_producer_writes_the_consumer_reads() -> Result {
        let memory = UserMemory::new(1)?;
        let pages = KBox::pin_init(SharedPages::new(new_pages(2)?, 5u32), GFP_KERNEL)?;
        let second = PAGE_SIZE;

        for offset in (0..2 * PAGE_SIZE).step_by(4) {
            assert_eq!(pages.consumer().read_u32(offset), 0);
        }
        {
            let mut producer = pages.producer();

            producer.write_words(second - 16, [1, 2]);
            producer.write_words(second, [3]);
            producer.pages().write_u32(second + 8, 4);
            producer.pages().flush(second);
            // The data that belong to the pages.
            assert_eq!(*producer, 5);
            *producer = 6;
        }
        assert_eq!(*pages.producer(), 6);

        let consumer = pages.consumer();

        assert_eq!(consumer.read_u32(second), 3);
        assert_eq!(consumer.read_u32(second + 8), 4);
        // In groups of words, in words, in bytes, and all at once.
        consumer.copy_to_user(second - 32, memory.at(0), 32)?;
        assert_eq!(memory.read::<[u64; 4]>(0)?, [0, 0, 1, 2]);
        consumer.copy_to_user(second - 40, memory.at(0), 40)?;
        assert_eq!(memory.read::<[u64; 5]>(0)?, [0, 0, 0, 1, 2]);
        consumer.copy_to_user(second - 13, memory.at(0), 13)?;
        assert_eq!(memory.read::<u64>(5)?, 2);
        consumer.copy_to_user(0, memory.at(0), PAGE_SIZE)?;
        assert_eq!(memory.read::<u64>(PAGE_SIZE - 8)?, 2);
        for len in [32, PAGE_SIZE] {
            let to = memory.at(memory.len() - len + 8);

            assert_eq!(consumer.copy_to_user(0, to, len), Err(EFAULT));
        }
        Ok(())
    }

    #[test]
    fn shared_with_the_process() -> Result {
        // So that there is an address space.
        let _memory = UserMemory::new(1)?;
        let new = new_pages(2)?;
        let mapping = new.map(None)?;
        let other = new.map(None)?;
        let at = |mapping: &Mapping, offset| UserPtr::from_addr(mapping.addr() + offset);
        let pages = KBox::pin_init(SharedPages::new(new, ()), GFP_KERNEL)?;

        assert_eq!(mapping.len(), 2 * PAGE_SIZE);
        pages.producer().pages().write_u32(PAGE_SIZE + 4, 77);
        assert_eq!(u32::get_user(at(&mapping, PAGE_SIZE + 4)), Ok(77));
        88u32.put_user(at(&mapping, 8))?;
        assert_eq!(pages.consumer().read_u32(8), 88);
        assert_eq!(u32::get_user(at(&other, 8)), Ok(88));

        // A mapping goes with its value, and no other does.
        let ptr = at(&mapping, 0);

        drop(mapping);
        assert_eq!(u32::get_user(ptr), Err(EFAULT));
        assert_eq!(u32::get_user(at(&other, 8)), Ok(88));

        // One that is left stays, but not the pages.
        let ptr = at(&other, 8);

        drop(other.leave());
        assert_eq!(u32::get_user(ptr), Ok(88));
        drop(pages);
        assert_eq!(u32::get_user(ptr), Err(EFAULT));
        Ok(())
    }

    #[test]
    fn mappings_that_were_moved() -> Result {
        let _memory = UserMemory::new(1)?;
        let new = new_pages(1)?;
        let (mut one, other) = (new.map(None)?, new.map(None)?);
        let (old, new) = (one.addr(), other.addr());

        // As if the process had moved it there.
        one.moved(new);
        assert_eq!(one.addr(), new);
        drop(one);
        assert_eq!(u32::get_user(UserPtr::from_addr(new)), Err(EFAULT));
        assert_eq!(u32::get_user(UserPtr::from_addr(old)), Ok(0));
        Ok(())
    }

    #[test]
    fn files_are_told_apart() -> Result {
        let (one, other) = (new_pages(1)?, new_pages(1)?);
        let file = OpenFile::new(other.cache.file.clone())?;
        let one = KBox::pin_init(SharedPages::new(one, ()), GFP_KERNEL)?;
        let other = KBox::pin_init(SharedPages::new(other, ()), GFP_KERNEL)?;

        assert!(other.is_file(file.file()));
        assert!(!one.is_file(file.file()));
        Ok(())
    }
}
