// SPDX-License-Identifier: GPL-2.0

//! User memory that stays pinned for a long time.
//!
//! A page that is pinned stays where it is, whatever the process does with its address space: the
//! kernel can use it at any time and in any context. The process can write to it at the same time,
//! so nothing here hands out a reference to its content.
//!
//! C header: [`include/linux/mm.h`](srctree/include/linux/mm.h);
//! `Documentation/core-api/pin_user_pages.rst`

use crate::{
    bindings,
    error::Error,
    page::{
        PAGE_SHIFT,
        PAGE_SIZE, //
    },
    prelude::*,
    task::{
        cond_resched,
        fatal_signal_pending, //
    },
    transmute::FromBytes,
    uaccess::UserPtr, //
};
use core::mem::MaybeUninit;

/// So many pages are pinned between two looks for a fatal signal.
const AT_A_TIME: usize = 512;

/// A page is pinned no more often than this, by all users together.
///
/// Each pin takes many references to a page (`GUP_PIN_COUNTING_BIAS`), or one to a larger folio:
/// their number would overflow.
const MAX_PINS: usize = 1 << 20;

/// A pinned page.
///
/// # Invariants
///
/// The page has a pin, which belongs to whoever has this value.
#[derive(Clone, Copy)]
#[repr(transparent)]
struct PinnedPage(*mut bindings::page);

// SAFETY: A pin belongs to nobody in particular: any task may use and release it.
unsafe impl Send for PinnedPage {}

// SAFETY: There are only loads of what does not change while the page is pinned.
unsafe impl Sync for PinnedPage {}

impl PinnedPage {
    fn folio(self) -> *mut bindings::folio {
        // SAFETY: By the type invariants the page is valid, and pinned: it stays in its folio.
        unsafe { bindings::page_folio(self.0) }
    }

    /// Returns the size of the folio, in pages.
    fn folio_pages(self) -> usize {
        // SAFETY: The folio is that of a pinned page.
        unsafe { bindings::folio_nr_pages(self.folio()) }
    }

    /// Returns the index in the folio.
    fn index_in_folio(self) -> usize {
        self.pfn() - Self(self.folio().cast()).pfn()
    }

    fn pfn(self) -> usize {
        // SAFETY: By the type invariants the page is valid; so is the first one of its folio.
        unsafe { bindings::page_to_pfn(self.0) }
    }

    /// Returns how often the page, or its folio, is pinned; other references to a larger folio are
    /// counted, too.
    fn pins(self) -> usize {
        // SAFETY: The folio is that of a pinned page.
        let references = unsafe { bindings::folio_ref_count(self.folio()) } as usize;

        match self.folio_pages() {
            1 => references / bindings::GUP_PIN_COUNTING_BIAS as usize,
            _ => references,
        }
    }
}

/// How much memory pinned pages keep: a page of a larger folio keeps all of the folio.
pub struct PinnedFolios {
    /// Pages that are no part of a larger folio, each as often as it was pinned.
    single: usize,
    /// Larger folios: the number of the first page, and their size in pages.
    large: KVVec<(usize, usize)>,
}

impl PinnedFolios {
    /// None.
    pub fn new() -> Self {
        Self {
            single: 0,
            large: KVVec::new(),
        }
    }

    fn add(&mut self, page: PinnedPage) -> Result {
        let nr_pages = page.folio_pages();

        if nr_pages == 1 {
            self.single += 1;
            return Ok(());
        }
        let folio = (page.pfn() - page.index_in_folio(), nr_pages);

        // Neighbours are in the same one, most often.
        if self.large.last() != Some(&folio) {
            self.large.push(folio, GFP_KERNEL_ACCOUNT)?;
        }
        Ok(())
    }

    /// Returns how many pages are kept; a larger folio counts once, as a whole.
    pub fn nr_pages(&mut self) -> usize {
        let mut last = None;
        let mut sum = self.single;

        self.large.sort_unstable();
        for folio in &self.large {
            if last != Some(folio) {
                sum += folio.1;
            }
            last = Some(folio);
        }
        sum
    }
}

impl Default for PinnedFolios {
    fn default() -> Self {
        Self::new()
    }
}

/// Returns how many pages a range of user memory touches.
///
/// Returns nothing if it wraps.
pub fn span(addr: UserPtr, len: usize) -> Option<usize> {
    if len == 0 {
        return Some(0);
    }
    let addr = untagged(addr);
    let last = addr.checked_add(len - 1)?;

    Some((last >> PAGE_SHIFT) - (addr >> PAGE_SHIFT) + 1)
}

/// Returns the address without the tag that some architectures allow in it.
fn untagged(addr: UserPtr) -> usize {
    // SAFETY: A computation.
    unsafe { bindings::untagged_addr(addr.as_const_ptr() as usize) }
}

/// Pages that were pinned one after the other.
///
/// # Invariants
///
/// Each is pinned, and the pin belongs to this value.
pub struct PinnedPages(KVVec<PinnedPage>);

impl PinnedPages {
    /// Pins the pages of a range, for writing; see [`PinnedUser::pin()`].
    pub fn pin(addr: UserPtr, len: usize, folios: &mut PinnedFolios) -> Result<Self> {
        let nr_pages = span(addr, len).ok_or(EFAULT)?;
        let start = untagged(addr) & !(PAGE_SIZE - 1);
        let mut pages = Self(KVVec::with_capacity(nr_pages, GFP_KERNEL_ACCOUNT)?);

        while pages.0.len() < nr_pages {
            let done = pages.0.len();
            let wanted = (nr_pages - done).min(AT_A_TIME);

            pages.pin_some(start + (done << PAGE_SHIFT), wanted)?;
            for page in &pages.0[done..] {
                if page.pins() > MAX_PINS {
                    return Err(EAGAIN);
                }
                folios.add(*page)?;
            }
            cond_resched();
        }
        Ok(pages)
    }

    /// Pins up to `wanted` pages more, of which there is room for as many, at least one.
    fn pin_some(&mut self, addr: usize, wanted: usize) -> Result {
        const FLAGS: u32 = bindings::FOLL_WRITE | bindings::FOLL_LONGTERM;

        if current!().mm().is_none() {
            // A thread of the kernel.
            return Err(EFAULT);
        }
        if fatal_signal_pending() {
            return Err(EINTR);
        }
        let space = &mut self.0.spare_capacity_mut()[..wanted];
        let space = space.as_mut_ptr().cast::<*mut bindings::page>();

        // SAFETY: There is room for the pages, which are of the same type as far as memory is
        // concerned. Any address is checked.
        let ret = unsafe { bindings::pin_user_pages_fast(addr, wanted as i32, FLAGS, space) };

        if ret <= 0 {
            return Err(Self::error(ret));
        }
        // INVARIANT: These pages were just pinned, for this value.
        //
        // SAFETY: So many were written, and there was room for them.
        unsafe { self.0.inc_len(ret as usize) };
        Ok(())
    }

    /// What pinning refuses is memory that can't be used, but for two reasons.
    ///
    /// So is `EOPNOTSUPP`, which `check_vma_flags()` says of fsdax files because of
    /// `FOLL_LONGTERM`, and zero, which is no page at all.
    fn error(ret: i32) -> Error {
        match ret.checked_neg().map(|errno| Error::from_errno(-errno)) {
            Some(ENOMEM) => ENOMEM,
            Some(error) if error == EINTR || error == ERESTARTSYS => EINTR,
            _ if fatal_signal_pending() => EINTR,
            _ => EFAULT,
        }
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns the pieces that are each in one folio, one page after the other.
    fn pieces(&self) -> impl Iterator<Item = Piece> + '_ {
        let mut start = 0;

        core::iter::from_fn(move || {
            let first = *self.0.get(start)?;
            let (folio_pages, index) = (first.folio_pages(), first.index_in_folio());
            let nr_pages = (1..(folio_pages - index).min(self.0.len() - start))
                .take_while(|&i| self.0[start + i].pfn() == first.pfn() + i)
                .count()
                + 1;

            start += nr_pages;
            Some(Piece {
                first,
                nr_pages,
                folio_pages,
            })
        })
    }

    /// Returns the size in pages that all pieces but the first and the last have, if they have.
    pub fn piece_size(&self) -> Option<usize> {
        common_size(
            self.pieces()
                .map(|piece| (piece.nr_pages, piece.folio_pages)),
        )
    }

    /// Returns how many pieces there are, of one page each if they have no `piece_size`.
    pub fn nr_pieces(&self, piece_size: Option<usize>) -> usize {
        match piece_size {
            None => self.len(),
            Some(_) => self.pieces().count(),
        }
    }

    /// Calls `f` with the first page of each piece, and how many pages it has; `piece_size` is what
    /// [`piece_size()`](Self::piece_size) has returned.
    ///
    /// The caller has one pin of each piece then, which is enough to keep all of its folio.
    pub fn into_pieces(
        mut self,
        piece_size: Option<usize>,
        mut f: impl FnMut(*mut bindings::page, usize),
    ) {
        if piece_size.is_none() {
            self.0.iter().for_each(|page| f(page.0, 1));
        } else {
            self.pieces().for_each(|piece| {
                if let Some(others) = piece.nr_pages.checked_sub(1).filter(|nr| *nr != 0) {
                    // SAFETY: The pages of a piece have a pin each, in one folio. All but one of
                    // these pins are released, and none is used any longer through this value.
                    unsafe { bindings::unpin_user_folio(piece.first.folio(), others) };
                }
                f(piece.first.0, piece.nr_pages);
            });
        }
        self.0.clear();
    }
}

/// Pages that are one after the other in one folio.
struct Piece {
    first: PinnedPage,
    nr_pages: usize,
    folio_pages: usize,
}

/// Of pieces, of which the sizes in pages and those of their folios are given, returns the size of
/// all but the first and the last, if they are whole folios of one size.
///
/// If there are none between these two, it is the size of a folio that is there.
fn common_size(mut pieces: impl Iterator<Item = (usize, usize)>) -> Option<usize> {
    let (_, first_folio) = pieces.next()?;
    let mut current = pieces.next();
    let size = current.map_or(first_folio, |(_, folio)| folio);

    for next in pieces {
        if current != Some((size, size)) {
            return None;
        }
        current = Some(next);
    }
    Some(size)
}

impl Drop for PinnedPages {
    fn drop(&mut self) {
        let pages = self.0.as_mut_ptr().cast::<*mut bindings::page>();

        // SAFETY: By the type invariants these pages are pinned, for this value.
        unsafe { bindings::unpin_user_pages(pages, self.0.len()) };
    }
}

/// A range of user memory that is pinned.
///
/// The pins are released when it is dropped, in a context that may sleep.
pub struct PinnedUser {
    pages: PinnedPages,
    /// Where the range begins in the first page.
    offset: usize,
    len: usize,
}

impl PinnedUser {
    /// Pins a range of the memory of the current process, for as long as this value lives.
    ///
    /// The memory must be writable: otherwise, what the process writes later could go to another
    /// page. What is pinned is added to `folios`. The memory is not charged to anybody, see
    /// [`LockedVm`](crate::mm::locked_vm::LockedVm). May sleep for long, in a fault that a handler
    /// in user space answers; no lock may be held that this needs, the mmap lock above all.
    ///
    /// # Errors
    ///
    /// `EFAULT` if the range wraps, or not all of it is memory that can be pinned and written for
    /// a long time: shared mappings of files of most file systems can't, nor can those of devices.
    /// `ENOMEM` without memory, also for the pages that would have to be moved first. `EAGAIN` if
    /// a page has too many pins. `EINTR` if the task was killed.
    ///
    /// # Examples
    ///
    /// ```
    /// use kernel::{mm::pinned::{PinnedFolios, PinnedUser}, uaccess::UserPtr};
    ///
    /// let mut folios = PinnedFolios::new();
    /// // There is no memory at the end of the address space.
    /// let result = PinnedUser::pin(UserPtr::from_addr(usize::MAX - 4095), 4096, &mut folios);
    ///
    /// assert_eq!(result.err(), Some(EFAULT));
    /// assert_eq!(folios.nr_pages(), 0);
    /// ```
    #[doc(alias = "pin_user_pages_fast")]
    pub fn pin(addr: UserPtr, len: usize, folios: &mut PinnedFolios) -> Result<Self> {
        Ok(Self {
            pages: PinnedPages::pin(addr, len, folios)?,
            offset: untagged(addr) & (PAGE_SIZE - 1),
            len,
        })
    }

    /// Returns the size of the range, in bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Returns whether the range is empty.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Copies an element of the array of structures that the range is, and returns the copy.
    ///
    /// A structure consists of 64-bit words, each of which is read once. The process may write at
    /// the same time, so that the words may be of different times. May be called in any context.
    ///
    /// # Errors
    ///
    /// `EFAULT` if it is not inside of the range, or the elements don't lie at multiples of their
    /// size.
    #[inline(always)]
    pub fn read<'a, T: FromBytes>(
        &self,
        index: usize,
        to: &'a mut MaybeUninit<T>,
    ) -> Result<&'a T> {
        let size = const {
            assert!(size_of::<T>() % size_of::<u64>() == 0);
            assert!(align_of::<T>() % align_of::<u64>() == 0);
            // None is in two pages.
            assert!(size_of::<T>() != 0 && PAGE_SIZE % size_of::<T>() == 0);
            size_of::<T>()
        };

        if index >= self.len / size || self.offset % size != 0 {
            return Err(EFAULT);
        }
        // OVERFLOW: The sum is no more than fits into the pages that are pinned.
        let index = index.wrapping_add(self.offset / size);
        let (page, offset) = (
            index / (PAGE_SIZE / size),
            index % (PAGE_SIZE / size) * size,
        );
        let page = self.pages.0.get(page).ok_or(EFAULT)?.0;
        // SAFETY: The page is valid, since it is pinned.
        let base = unsafe { bindings::kmap_local_page(page) }.cast::<u8>();
        let words = to.as_mut_ptr().cast::<u64>();

        for i in 0..size_of::<T>() / size_of::<u64>() {
            // SAFETY: The word is in the page, which is mapped, and aligned. User space may write
            // it at the same time, as it may the memory behind a `UserPtr`: a volatile load of one
            // word is what `READ_ONCE()` is.
            let word = unsafe { base.add(offset).cast::<u64>().add(i).read_volatile() };

            // SAFETY: There is room for so many words.
            unsafe { words.add(i).write(word) };
        }
        // SAFETY: The page was mapped above, last of all.
        unsafe { bindings::kunmap_local(base.cast()) };
        // SAFETY: All bytes were written, and any bytes are valid by `T: FromBytes`.
        Ok(unsafe { to.assume_init_ref() })
    }
}

#[kunit_tests(rust_mm_pinned)]
mod tests {
    use super::*;
    use crate::kunit::user::UserMemory;

    #[test]
    fn spans() {
        let span = |addr, len| super::span(UserPtr::from_addr(addr), len);

        assert_eq!(span(0, 0), Some(0));
        assert_eq!(span(PAGE_SIZE - 1, 1), Some(1));
        assert_eq!(span(PAGE_SIZE - 1, 2), Some(2));
        assert_eq!(span(PAGE_SIZE, PAGE_SIZE), Some(1));
        assert_eq!(span(PAGE_SIZE, PAGE_SIZE + 1), Some(2));
        assert_eq!(span(usize::MAX, 0), Some(0));
        assert_eq!(span(usize::MAX, 1), Some(1));
        assert_eq!(span(usize::MAX, 2), None);
        assert_eq!(span(PAGE_SIZE, usize::MAX), None);
    }

    #[test]
    fn what_is_written_later_is_read() -> Result {
        let memory = UserMemory::new(3)?;
        let mut folios = PinnedFolios::new();
        let mut words = MaybeUninit::<[u64; 2]>::uninit();
        let pinned = PinnedUser::pin(memory.at(64), 2 * PAGE_SIZE, &mut folios)?;

        assert!(folios.nr_pages() >= 3);
        for offset in [0, PAGE_SIZE - 64, 2 * PAGE_SIZE - 16] {
            memory.write(64 + offset, &[1u64, offset as u64])?;
            assert_eq!(
                pinned.read(offset / 16, &mut words),
                Ok(&[1, offset as u64])
            );
            memory.write(64 + offset, &[2u64, 3])?;
            assert_eq!(pinned.read(offset / 16, &mut words), Ok(&[2, 3]));
        }
        Ok(())
    }

    #[test]
    fn outside_and_across() -> Result {
        let memory = UserMemory::new(2)?;
        let mut words = MaybeUninit::<[u64; 2]>::uninit();
        let mut folios = PinnedFolios::new();
        let pinned = PinnedUser::pin(memory.at(0), PAGE_SIZE + 72, &mut folios)?;
        let last = pinned.len() / 16 - 1;

        assert!(pinned.read(last, &mut words).is_ok());
        // Half of it is in the range, or nothing.
        for index in [last + 1, last + 2, usize::MAX / 16, usize::MAX] {
            assert_eq!(pinned.read(index, &mut words), Err(EFAULT));
        }
        // One would be in two pages.
        let pinned = PinnedUser::pin(memory.at(8), PAGE_SIZE + 64, &mut folios)?;

        for index in 0..=last {
            assert_eq!(pinned.read(index, &mut words), Err(EFAULT));
        }
        let mut word = MaybeUninit::<u64>::uninit();

        assert!(pinned.read(PAGE_SIZE / 8, &mut word).is_ok());
        Ok(())
    }

    #[test]
    fn memory_that_is_not_there() -> Result {
        let memory = UserMemory::new(1)?;
        let pin = |ptr, len| PinnedUser::pin(ptr, len, &mut PinnedFolios::new()).err();

        assert_eq!(pin(memory.at(0), PAGE_SIZE), None);
        assert_eq!(pin(memory.at(0), 0), None);
        // The end is missing; all is.
        assert_eq!(pin(memory.at(PAGE_SIZE - 1), 2), Some(EFAULT));
        assert_eq!(pin(memory.at(PAGE_SIZE), 1), Some(EFAULT));
        assert_eq!(pin(UserPtr::from_addr(0), 1), Some(EFAULT));
        assert_eq!(pin(memory.at(0), usize::MAX), Some(EFAULT));
        Ok(())
    }

    #[test]
    fn what_pinning_refuses() {
        let error = |error: Error| PinnedPages::error(error.to_errno());

        // The first is what a mapping of an fsdax file gets, the second one of a device.
        for refused in [EOPNOTSUPP, EFAULT, EINVAL, EAGAIN, EPERM] {
            assert_eq!(error(refused), EFAULT);
        }
        // No page, and a number that is no error.
        assert_eq!(PinnedPages::error(0), EFAULT);
        assert_eq!(PinnedPages::error(i32::MIN), EFAULT);
        // What is no fault of the memory.
        assert_eq!(error(ENOMEM), ENOMEM);
        assert_eq!(error(EINTR), EINTR);
        assert_eq!(error(ERESTARTSYS), EINTR);
    }

    #[test]
    fn sizes_of_pieces() {
        let size = |pieces: &[(usize, usize)]| common_size(pieces.iter().copied());

        assert_eq!(size(&[]), None);
        assert_eq!(size(&[(1, 1)]), Some(1));
        assert_eq!(size(&[(3, 16)]), Some(16));
        // Neither the first nor the last is compared with anything.
        assert_eq!(size(&[(1, 1), (5, 16)]), Some(16));
        assert_eq!(size(&[(5, 16), (1, 1)]), Some(1));
        assert_eq!(size(&[(5, 16), (1, 1), (1, 1), (2, 4)]), Some(1));
        assert_eq!(size(&[(1, 1), (16, 16), (16, 16), (2, 512)]), Some(16));
        assert_eq!(size(&[(7, 512), (16, 16), (1, 1)]), Some(16));
        // One of another size, and a part of one.
        assert_eq!(size(&[(16, 16), (16, 16), (4, 4), (16, 16)]), None);
        assert_eq!(size(&[(16, 16), (4, 4), (16, 16), (16, 16)]), None);
        assert_eq!(size(&[(16, 16), (15, 16), (16, 16)]), None);
    }

    #[test]
    fn pins_are_counted_and_released() -> Result {
        let memory = UserMemory::new(1)?;
        let pin = || PinnedPages::pin(memory.at(0), 1, &mut PinnedFolios::new());
        let first = pin()?;
        let page = first.0[0];
        let before = page.pins();

        assert!((1..MAX_PINS).contains(&before));
        let second = pin()?;

        assert_eq!(page.pins(), before + 1);
        drop(second);
        assert_eq!(page.pins(), before);
        Ok(())
    }
}
