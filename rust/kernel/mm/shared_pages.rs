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
//!
//! # Examples
//!
//! ```
//! use kernel::{
//!     fs::File,
//!     mm::{
//!         shared_pages::{
//!             NewSharedPages,
//!             PseudoFs,
//!             SharedPages,
//!             SharedPagesType, //
//!         },
//!         MmWithUser, //
//!     },
//! };
//!
//! static FS: PseudoFs = PseudoFs::new(c"counters", c"[counter]", c"counters_inode", 0x636f756e);
//!
//! /// A number that a process and the kernel share.
//! enum Counter {}
//!
//! impl SharedPagesType for Counter {
//!     fn fs() -> &'static PseudoFs {
//!         &FS
//!     }
//!
//!     fn moved(_mm: &MmWithUser, _file: &File, _start: usize, _len: usize) -> Result {
//!         Ok(())
//!     }
//! }
//!
//! /// A page for the current process, and its address there.
//! fn counter() -> Result<(Pin<KBox<SharedPages<()>>>, usize)> {
//!     let pages = NewSharedPages::<Counter>::new(1)?;
//!     // It stays until the process unmaps it.
//!     let addr = pages.map(None)?.leave().addr();
//!
//!     Ok((KBox::pin_init(SharedPages::new(pages, ()), GFP_KERNEL)?, addr))
//! }
//!
//! /// Sets the number, which the process may change as well.
//! fn set(counter: &SharedPages<()>, number: u32) {
//!     counter.with_producer(|producer| producer.pages().write_u32_release(0, number));
//! }
//! # // The file system was not mounted.
//! # assert_eq!(counter().err(), Some(ENOMEM));
//! ```

use crate::{
    fs::File,
    mm::MmWithUser,
    prelude::*,
    static_lock_class,
    sync::{
        Mutex,
        SpinLockIrqSave, //
    },
};
use core::{
    cell::UnsafeCell,
    ptr::NonNull, //
};

mod access;
mod fs;
mod mapping;
mod migrate;

use fs::Inode;
use migrate::Core;

pub use access::{
    Consumer,
    Pages,
    Producer, //
};
pub use fs::PseudoFs;
pub use mapping::{
    Mapping,
    NewSharedPages, //
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
    /// Belongs to the holder of `core.producer`.
    data: UnsafeCell<P>,
}

// SAFETY: The data is only reached with the lock of the producer held.
unsafe impl<P: Send> Sync for SharedPages<P> {}

// SAFETY: All parts may be dropped on any thread.
unsafe impl<P: Send> Send for SharedPages<P> {}

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
        // SAFETY: The file keeps its inode, which is one of a `PseudoFs`: the first field of an
        // `Inode`.
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

    /// Calls `f` with the pages, locked for the producer, and with its data.
    ///
    /// May be called in any context. Interrupts are disabled meanwhile, so `f` must not sleep; what
    /// it has and returns is `Send`, see [`SpinLockIrqSave::with()`].
    #[inline(always)]
    pub fn with_producer<R: Send>(&self, f: impl FnOnce(&mut Producer<'_, P>) -> R + Send) -> R {
        // SAFETY: The guard lives as long as the value that is lent to `f`. As `f` and what it
        // returns are `Send`, all that disables interrupts in it ends in it, and nothing that was
        // there before does.
        let guard = unsafe { self.core.producer.lock() };

        f(&mut Producer {
            pages: Pages::new(&self.core),
            data: &self.data,
            _guard: guard,
        })
    }
}

#[pinned_drop]
impl<P> PinnedDrop for SharedPages<P> {
    fn drop(self: Pin<&mut Self>) {
        // From here on the pages are not migrated any longer.
        self.set_in_inode(None);
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
        page::PAGE_SIZE,
        uaccess::{
            UserPtr,
            UserScalar, //
        },
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
        pages.with_producer(|producer| {
            producer.write_words(second - 16, [1, 2]);
            producer.write_words(second, [3]);
            producer.pages().write_u32(second + 8, 4);
            producer.pages().flush(second);
            // The data that belong to the pages.
            assert_eq!(**producer, 5);
            **producer = 6;
        });
        pages.with_producer(|producer| assert_eq!(**producer, 6));

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
        pages.with_producer(|producer| producer.pages().write_u32(PAGE_SIZE + 4, 77));
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
