// SPDX-License-Identifier: GPL-2.0

//! How the kernel reads and writes the pages, with one of the locks held.

use super::migrate::Core;
use crate::{
    bindings,
    error::to_result,
    page::PAGE_SIZE,
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed,
            Release, //
        },
        MutexGuard,
        SpinLockIrqSaveGuard, //
    },
    uaccess::UserPtr, //
};
use core::{
    cell::UnsafeCell,
    mem::{
        align_of,
        size_of, //
    },
    ops::{
        Deref,
        DerefMut, //
    },
};

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
    pub(super) fn new(core: &'a Core) -> Self {
        Self {
            core,
            first: core.cache.pages[0].addr.load(Relaxed).cast(),
        }
    }

    /// Returns the address of a range within one page.
    #[inline(always)]
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
    pub(super) pages: Pages<'a>,
    pub(super) _guard: MutexGuard<'a, ()>,
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
            // SAFETY: So many groups lie within a page, which stays where it is while the lock is
            // held. Any address of the process is checked.
            return to_result(unsafe {
                bindings::put_user_groups(to.as_mut_ptr(), from.cast(), len / GROUP)
            });
        }
        // SAFETY: The range lies within a page, which stays where it is while the lock is held. Any
        // address of the process is checked.
        if unsafe { bindings::copy_to_user(to.as_mut_ptr(), from.cast(), len) } != 0 {
            return Err(EFAULT);
        }
        Ok(())
    }
}

/// The pages, locked for the producer, with its data.
#[must_use = "the lock unlocks immediately when the guard is unused"]
pub struct Producer<'a, P> {
    pub(super) pages: Pages<'a>,
    pub(super) data: &'a UnsafeCell<P>,
    pub(super) _guard: SpinLockIrqSaveGuard<'a, ()>,
}

impl<'a, P> Producer<'a, P> {
    /// Returns the pages.
    #[inline]
    pub fn pages(&self) -> &Pages<'a> {
        &self.pages
    }

    /// Writes words, in pieces of any size.
    ///
    /// A reader of the pages must not read them before it is told that the value is there; if a
    /// process makes the consumer believe so, that copies a mixture of old and new to the process.
    #[inline(always)]
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
        // SAFETY: The lock of the producer is held, to which the data belongs, and it is borrowed
        // as long as `self` is.
        unsafe { &*self.data.get() }
    }
}

impl<P> DerefMut for Producer<'_, P> {
    #[inline]
    fn deref_mut(&mut self) -> &mut P {
        // SAFETY: The lock of the producer is held, to which the data belongs, and it is borrowed
        // mutably as `self` is.
        unsafe { &mut *self.data.get() }
    }
}
