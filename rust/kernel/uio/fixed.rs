// SPDX-License-Identifier: GPL-2.0

//! Buffers of a process that stay pinned from one operation to the next.
//!
//! For an operation on memory that is not pinned, the pages have to be looked up, pinned, marked
//! dirty and released, each time. Here that is done once, and an operation names the buffer.
//!
//! C header: [`include/linux/bvec.h`](srctree/include/linux/bvec.h)

use super::{
    Direction,
    IterSpace, //
};
use crate::{
    bindings,
    mm::pinned::{
        PinnedFolios,
        PinnedPages, //
    },
    page::{
        PAGE_SHIFT,
        PAGE_SIZE, //
    },
    prelude::*,
    task::cond_resched,
    uaccess::UserPtr, //
};

/// A piece of a buffer that is contiguous in memory.
///
/// # Invariants
///
/// All pages that it touches are in one folio, which has a pin for it; that belongs to the
/// [`FixedBuffers`] that it is in.
#[repr(transparent)]
struct Segment(bindings::bio_vec);

// SAFETY: A pin belongs to nobody in particular: any task may use and release it.
unsafe impl Send for Segment {}

// SAFETY: Nothing is changed through a shared reference.
unsafe impl Sync for Segment {}

/// One buffer.
///
/// # Invariants
///
/// It consists of `nr_segments` segments of the vector that it belongs to, from `first` on, whose
/// sizes add up to `len`. All but the first and the last are of `1 << shift` bytes.
struct Buffer {
    addr: usize,
    len: usize,
    first: usize,
    nr_segments: usize,
    shift: u32,
}

/// Buffers of a process that are pinned, with numbers from 0.
///
/// The pins are released when it is dropped, in a context that may sleep; the pages are marked
/// dirty then, whether something was written to them or not.
pub struct FixedBuffers {
    segments: KVVec<Segment>,
    buffers: KVVec<Buffer>,
}

/// A part of a buffer, as segments.
///
/// # Invariants
///
/// The segments have at least `skip + len` bytes, and the first has more than `skip`, or there are
/// none and `len` is 0.
pub struct FixedRange<'a> {
    segments: &'a [Segment],
    skip: usize,
    len: usize,
}

impl FixedBuffers {
    /// No buffers yet, with room for so many.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn with_capacity(nr: usize) -> Result<Self> {
        Ok(Self {
            segments: KVVec::new(),
            buffers: KVVec::with_capacity(nr, GFP_KERNEL_ACCOUNT)?,
        })
    }

    /// Pins one more buffer of the current process, which gets the next number.
    ///
    /// One of no bytes pins nothing. The memory is not charged to anybody; what is pinned is added
    /// to `folios`. May sleep for long, see [`PinnedUser::pin()`](crate::mm::pinned::PinnedUser),
    /// and has the same errors; there is no buffer more then.
    ///
    /// # Examples
    ///
    /// ```
    /// use kernel::{mm::pinned::PinnedFolios, uaccess::UserPtr, uio::FixedBuffers};
    ///
    /// let mut buffers = FixedBuffers::with_capacity(1)?;
    /// let mut folios = PinnedFolios::new();
    ///
    /// assert_eq!(buffers.add(UserPtr::from_addr(usize::MAX), 1, &mut folios), Err(EFAULT));
    /// buffers.add(UserPtr::from_addr(usize::MAX), 0, &mut folios)?;
    /// assert_eq!(buffers.len(), 1);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn add(&mut self, addr: UserPtr, len: usize, folios: &mut PinnedFolios) -> Result {
        let pages = PinnedPages::pin(addr, len, folios)?;
        let piece_size = pages.piece_size();
        let addr = addr.as_const_ptr() as usize;
        let first = self.segments.len();
        let mut left = len;
        let mut offset = addr & (PAGE_SIZE - 1);

        self.segments
            .reserve(pages.nr_pieces(piece_size), GFP_KERNEL_ACCOUNT)?;
        let buffer = Buffer {
            addr,
            len,
            first,
            nr_segments: pages.nr_pieces(piece_size),
            shift: PAGE_SHIFT as u32 + piece_size.unwrap_or(1).trailing_zeros(),
        };

        self.buffers.push(buffer, GFP_KERNEL_ACCOUNT)?;
        let segments = &mut self.segments;

        pages.into_pieces(piece_size, |page, nr_pages| {
            let size = left.min(nr_pages * PAGE_SIZE - offset);

            // INVARIANT: The pages were just handed over, with a pin of their folio.
            let segment = Segment(bindings::bio_vec {
                bv_page: page,
                bv_len: size as u32,
                bv_offset: offset as u32,
            });

            // There is room.
            let _ = segments.push_within_capacity(segment);
            left -= size;
            offset = 0;
        });
        Ok(())
    }

    /// Returns how many buffers there are.
    pub fn len(&self) -> usize {
        self.buffers.len()
    }

    /// Returns whether there are none.
    pub fn is_empty(&self) -> bool {
        self.buffers.is_empty()
    }

    /// Returns the part of a buffer that is at these addresses of the process.
    ///
    /// # Errors
    ///
    /// `EFAULT` if there is no such buffer, or not all of the range is in it.
    #[inline]
    pub fn range(&self, index: usize, addr: UserPtr, len: usize) -> Result<FixedRange<'_>> {
        let buffer = self.buffers.get(index).ok_or(EFAULT)?;
        // OVERFLOW: What is below the buffer is far above its size.
        let offset = (addr.as_const_ptr() as usize).wrapping_sub(buffer.addr);

        if offset > buffer.len || len > buffer.len - offset {
            return Err(EFAULT);
        }
        let segments = self
            .segments
            .get(buffer.first..buffer.first + buffer.nr_segments)
            .ok_or(EFAULT)?;
        let (Some(head), true) = (segments.first(), len != 0) else {
            return Ok(FixedRange {
                segments: &[],
                skip: 0,
                len: 0,
            });
        };
        if segments.len() == 1 {
            // Most buffers are no larger than a page, or a folio.
            //
            // INVARIANT: It is all of the buffer, and the range is in that.
            return Ok(FixedRange {
                segments,
                skip: offset,
                len,
            });
        }
        let place = |offset| place(head.0.bv_len as usize, buffer.shift, segments.len(), offset);
        let (first, skip) = place(offset);
        let (last, _) = place(offset + len - 1);

        // INVARIANT: So much is in the segments that are left, see `Buffer`.
        Ok(FixedRange {
            segments: segments.get(first..=last).ok_or(EFAULT)?,
            skip,
            len,
        })
    }
}

/// Returns the index of the segment that a byte is in, and where in it. There are `nr` segments,
/// at least two, of which the first has `head` bytes, and all but the last `1 << shift`.
#[inline]
fn place(head: usize, shift: u32, nr: usize, offset: usize) -> (usize, usize) {
    match offset.checked_sub(head) {
        Some(offset) => {
            // The last may be larger.
            let index = (offset >> shift).min(nr - 2);

            (1 + index, offset - (index << shift))
        }
        None => (0, offset),
    }
}

impl Drop for FixedBuffers {
    fn drop(&mut self) {
        for segment in &self.segments {
            let page = segment.0.bv_page;

            // SAFETY: By the type invariants the page's folio has a pin, as if for this page; it
            // belongs to this value, which is gone then.
            unsafe { bindings::unpin_user_page_range_dirty_lock(page, 1, true) };
            cond_resched();
        }
    }
}

impl FixedRange<'_> {
    /// Makes an iterator over the range. It has a pointer to the segments.
    #[inline]
    pub fn init_iter(&self, space: &mut IterSpace, dir: Direction) {
        let iter = space.as_mut_ptr();
        let segments = self.segments.as_ptr().cast::<bindings::bio_vec>();
        let (nr, dir) = (self.segments.len(), dir.iter() as u32);

        // SAFETY: The iterator is valid for writes; a segment is a `bio_vec`, and there are so
        // many of them.
        unsafe { bindings::iov_iter_bvec(iter, dir, segments, nr, self.len) };
        // SAFETY: It was just initialised; by the type invariants so much may be skipped.
        unsafe { (*iter).iov_offset = self.skip };
    }
}

#[kunit_tests(rust_uio_fixed)]
mod tests {
    use super::*;
    use crate::{
        kunit::user::UserMemory,
        uio, //
    };

    const PAGES: usize = 4;

    fn buffers(memory: &UserMemory, offset: usize, len: usize) -> Result<FixedBuffers> {
        let mut buffers = FixedBuffers::with_capacity(1)?;

        buffers.add(memory.at(offset), len, &mut PinnedFolios::new())?;
        Ok(buffers)
    }

    /// Reads a range by the iterator, as a file would that is written to.
    fn read(range: &FixedRange<'_>, to: &mut [u8]) -> usize {
        let mut space = IterSpace::uninit();

        range.init_iter(&mut space, Direction::Write);
        let (iter, max) = (space.as_mut_ptr(), to.len());

        // SAFETY: The iterator was initialised, and there is room for so many bytes.
        assert_eq!(unsafe { uio::len(iter) }, range.len);
        // SAFETY: The iterator was initialised, and there is room for `max` bytes.
        unsafe { bindings::_copy_from_iter(to.as_mut_ptr().cast(), max, iter) }
    }

    #[test]
    fn every_part_is_found() -> Result {
        let memory = UserMemory::new(PAGES)?;
        let (start, len) = (100, 3 * PAGE_SIZE);

        for i in 0..PAGES * PAGE_SIZE / 2 {
            memory.write(2 * i, &(i as u16))?;
        }
        let buffers = buffers(&memory, start, len)?;
        let first = PAGE_SIZE - start;

        for offset in [0, 2, first - 2, first, first + 2, 2 * PAGE_SIZE, len - 8] {
            let mut bytes = [0; 8];
            let range = buffers.range(0, memory.at(start + offset), 8)?;

            assert_eq!(read(&range, &mut bytes), 8);
            for (i, word) in bytes.chunks(2).enumerate() {
                let number = ((start + offset) / 2 + i) as u16;

                assert_eq!(word, number.to_ne_bytes());
            }
        }
        // All of it.
        let mut bytes = KVec::from_elem(0u8, len, GFP_KERNEL)?;

        assert_eq!(
            read(&buffers.range(0, memory.at(start), len)?, &mut bytes),
            len
        );
        assert_eq!(
            bytes[len - 2..],
            (((start + len) / 2 - 1) as u16).to_ne_bytes()
        );
        Ok(())
    }

    #[test]
    fn places() {
        const FOLIO: usize = 16 * PAGE_SIZE;
        let shift = FOLIO.trailing_zeros();

        // Two: the second is of any size.
        assert_eq!(place(100, shift, 2, 99), (0, 99));
        assert_eq!(place(100, shift, 2, 100), (1, 0));
        assert_eq!(place(100, shift, 2, 100 + 2 * FOLIO), (1, 2 * FOLIO));
        // The first, larger than the others; two of the same size; the last, larger again.
        let head = 3 * FOLIO + 7;

        assert_eq!(place(head, shift, 4, head - 1), (0, head - 1));
        assert_eq!(place(head, shift, 4, head + FOLIO - 1), (1, FOLIO - 1));
        assert_eq!(place(head, shift, 4, head + FOLIO), (2, 0));
        assert_eq!(place(head, shift, 4, head + 2 * FOLIO), (3, 0));
        assert_eq!(place(head, shift, 4, head + 5 * FOLIO), (3, 3 * FOLIO));
    }

    #[test]
    fn nothing_outside() -> Result {
        let memory = UserMemory::new(PAGES)?;
        let (start, len) = (PAGE_SIZE / 2, 2 * PAGE_SIZE);
        let buffers = buffers(&memory, start, len)?;
        let range = |index, offset, len| buffers.range(index, memory.at(offset), len).map(|_| ());

        assert_eq!(range(0, start, len), Ok(()));
        assert_eq!(range(0, start, len + 1), Err(EFAULT));
        assert_eq!(range(0, start - 1, 1), Err(EFAULT));
        assert_eq!(range(0, start + 1, len), Err(EFAULT));
        assert_eq!(range(0, start, usize::MAX), Err(EFAULT));
        // Nothing, at the end, is in it.
        assert_eq!(range(0, start + len, 0), Ok(()));
        assert_eq!(range(0, start + len, 1), Err(EFAULT));
        assert_eq!(range(0, start + len + 1, 0), Err(EFAULT));
        assert_eq!(range(1, start, 1), Err(EFAULT));
        Ok(())
    }

    #[test]
    fn empty_buffers() -> Result {
        let memory = UserMemory::new(1)?;
        let mut buffers = FixedBuffers::with_capacity(3)?;
        let mut folios = PinnedFolios::new();

        // An address that could not be pinned.
        buffers.add(memory.at(PAGE_SIZE), 0, &mut folios)?;
        assert_eq!(folios.nr_pages(), 0);
        assert_eq!(
            buffers.add(memory.at(PAGE_SIZE), 1, &mut folios),
            Err(EFAULT)
        );
        assert_eq!(buffers.len(), 1);
        let range = buffers.range(0, memory.at(PAGE_SIZE), 0)?;

        assert_eq!(read(&range, &mut []), 0);
        assert!(buffers.range(0, memory.at(PAGE_SIZE), 1).is_err());
        buffers.add(memory.at(0), 8, &mut folios)?;
        assert!(buffers.range(1, memory.at(0), 8).is_ok());
        Ok(())
    }
}
