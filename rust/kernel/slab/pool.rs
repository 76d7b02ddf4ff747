// SPDX-License-Identifier: GPL-2.0

//! Free memory that is kept for the next objects.
//!
//! Taking a [`SlabSlot`] from a pool costs less than a round trip to the slab allocator, and where
//! the pool lies behind a lock that is taken anyway, it costs next to nothing. What a pool keeps is
//! lost to others, so it should be small, and be emptied when memory is short.
//!
//! KASAN takes memory in a pool as freed: a use of it is reported.

use super::{
    Backing,
    SlabSlot, //
};
use crate::{
    bindings,
    prelude::*, //
};
use core::{
    marker::PhantomData,
    mem::MaybeUninit,
    ptr::NonNull, //
};

impl<B: Backing> SlabSlot<B> {
    /// Gives the memory up for a pool, as a pointer that is not to be used.
    ///
    /// Returns [`None`] if KASAN has found out that it must not be used again.
    #[inline]
    fn into_pool(self) -> Option<NonNull<u8>> {
        let ptr = self.ptr;

        core::mem::forget(self);
        // SAFETY: The memory was allocated from a slab cache, and nobody uses it.
        unsafe { bindings::kasan_mempool_poison_object(ptr.as_ptr().cast()) }.then_some(ptr)
    }

    /// Takes the memory back.
    ///
    /// # Safety
    ///
    /// `ptr` must come from [`into_pool()`](Self::into_pool) of a slot of this type, and be taken
    /// back only once.
    #[inline]
    unsafe fn from_pool(ptr: NonNull<u8>) -> Self {
        let size = size_of::<B::Largest>();

        // SAFETY: The memory was poisoned in `into_pool()`, and has this size.
        unsafe { bindings::kasan_mempool_unpoison_object(ptr.as_ptr().cast(), size) };
        // SAFETY: It was that of a slot, which was forgotten.
        unsafe { Self::from_raw(ptr) }
    }
}

/// Keeps slots of one cache, up to a number that is set at the beginning.
///
/// # Invariants
///
/// What is in `free` comes from `SlabSlot::into_pool()` of a `SlabSlot<B>`, and was not taken
/// back.
///
/// # Examples
///
/// ```
/// use kernel::slab::{Backing, KmemCache, SlabSlot, SlabBatch, SlabPool};
///
/// enum Numbers {}
///
/// static NUMBERS: KmemCache<Numbers> = KmemCache::new(c"rust_doctest_pool");
///
/// impl Backing for Numbers {
///     type Largest = u64;
///     const CACHE: &'static KmemCache<Self> = &NUMBERS;
/// }
///
/// NUMBERS.init()?;
/// let mut pool = SlabPool::<Numbers>::new(2)?;
///
/// assert!(pool.put(SlabSlot::alloc(GFP_KERNEL)?).is_none());
/// assert!(pool.put(SlabSlot::alloc(GFP_KERNEL)?).is_none());
/// // There is no more room.
/// assert!(pool.put(SlabSlot::alloc(GFP_KERNEL)?).is_some());
///
/// let mut batch = SlabBatch::<Numbers, 4>::new();
/// pool.take_batch(&mut batch, 4);
/// assert_eq!((pool.len(), batch.len()), (0, 2));
/// assert!(batch.pop().is_some());
/// pool.put_batch(&mut batch);
/// assert_eq!((pool.len(), batch.len()), (1, 0));
/// # Ok::<(), Error>(())
/// ```
pub struct SlabPool<B: Backing> {
    free: KVec<NonNull<u8>>,
    _p: PhantomData<B>,
}

// SAFETY: It is just memory; it can be given back on any thread.
unsafe impl<B: Backing> Send for SlabPool<B> {}

impl<B: Backing> SlabPool<B> {
    /// Creates an empty pool for up to `max` slots.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn new(max: usize) -> Result<Self> {
        // INVARIANT: There are none.
        Ok(Self {
            free: KVec::with_capacity(max, GFP_KERNEL)?,
            _p: PhantomData,
        })
    }

    /// Returns how many slots there are.
    #[inline]
    pub fn len(&self) -> usize {
        self.free.len()
    }

    /// Returns whether there are no slots.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.free.is_empty()
    }

    /// Keeps a slot, or returns it if the pool is full.
    #[must_use = "what is returned goes back to the slab allocator"]
    #[inline]
    pub fn put(&mut self, slot: SlabSlot<B>) -> Option<SlabSlot<B>> {
        if self.free.len() == self.free.capacity() {
            return Some(slot);
        }
        if let Some(ptr) = slot.into_pool() {
            // There is room.
            //
            // INVARIANT: See above.
            let _ = self.free.push_within_capacity(ptr);
        }
        None
    }

    /// Moves up to `nr` slots to a batch, as many as it has room for.
    #[inline]
    pub fn take_batch<const N: usize>(&mut self, batch: &mut SlabBatch<B, N>, nr: usize) {
        let len = self.free.len();
        let nr = nr.min(len).min(N - batch.len);

        // SAFETY: There are `len` elements.
        let from = unsafe { self.free.as_ptr().add(len - nr) };
        // SAFETY: By the type invariants of the batch, it has no more than `N` elements.
        let to = unsafe { batch.slots.as_mut_ptr().add(batch.len) };

        // SAFETY: The last `nr` elements are there, and there is room for them in the batch, which
        // is another object.
        unsafe { core::ptr::copy_nonoverlapping(from, to.cast(), nr) };
        self.free.truncate(len - nr);
        // INVARIANT: They come from here.
        batch.len += nr;
    }

    /// Moves slots of a batch into the pool, as many as there is room for.
    #[inline]
    pub fn put_batch<const N: usize>(&mut self, batch: &mut SlabBatch<B, N>) {
        while self.free.len() < self.free.capacity() {
            let Some(ptr) = batch.pop_raw() else { return };

            // INVARIANT: It comes from there.
            let _ = self.free.push_within_capacity(ptr);
        }
    }
}

impl<B: Backing> Drop for SlabPool<B> {
    fn drop(&mut self) {
        while let Some(ptr) = self.free.pop() {
            // SAFETY: By the type invariants it comes from `into_pool()`; it was just taken out, so
            // that it is taken back once.
            drop(unsafe { SlabSlot::<B>::from_pool(ptr) });
        }
    }
}

/// Up to `N` slots of one cache, for somebody who will soon need them.
///
/// Lies on the stack.
///
/// # Invariants
///
/// The first `len` of `slots`, which are no more than `N`, come from `SlabSlot::into_pool()` of a
/// `SlabSlot<B>`, and were not taken back.
pub struct SlabBatch<B: Backing, const N: usize> {
    len: usize,
    slots: [MaybeUninit<NonNull<u8>>; N],
    _p: PhantomData<B>,
}

// SAFETY: A batch is memory without objects in it; it can be given back on any thread.
unsafe impl<B: Backing, const N: usize> Send for SlabBatch<B, N> {}

impl<B: Backing, const N: usize> Default for SlabBatch<B, N> {
    #[inline]
    fn default() -> Self {
        Self::new()
    }
}

impl<B: Backing, const N: usize> SlabBatch<B, N> {
    /// Creates an empty batch.
    #[inline]
    pub fn new() -> Self {
        // INVARIANT: There are none.
        Self {
            len: 0,
            slots: [const { MaybeUninit::uninit() }; N],
            _p: PhantomData,
        }
    }

    /// Returns how many slots there are.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Returns whether there are no slots.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds a slot, or returns it if there is no room.
    #[must_use = "what is returned goes back to the slab allocator"]
    #[inline(always)]
    pub fn push(&mut self, slot: SlabSlot<B>) -> Option<SlabSlot<B>> {
        if self.len == N {
            return Some(slot);
        }
        if let Some(ptr) = slot.into_pool() {
            // INVARIANT: See above.
            self.push_raw(ptr);
        }
        None
    }

    /// Takes a slot.
    #[inline]
    pub fn pop(&mut self) -> Option<SlabSlot<B>> {
        let ptr = self.pop_raw()?;

        // SAFETY: By the type invariants it comes from `into_pool()`; it was just taken out, so
        // that it is taken back once.
        Some(unsafe { SlabSlot::from_pool(ptr) })
    }

    #[inline]
    fn push_raw(&mut self, ptr: NonNull<u8>) {
        if let Some(place) = self.slots.get_mut(self.len) {
            place.write(ptr);
            self.len += 1;
        }
    }

    #[inline]
    fn pop_raw(&mut self) -> Option<NonNull<u8>> {
        let last = self.len.checked_sub(1)?;
        let place = self.slots.get(last)?;

        self.len = last;
        // SAFETY: By the type invariants it was written.
        Some(unsafe { place.assume_init() })
    }

    /// Gives everything back to the slab allocator.
    #[cold]
    fn free(&mut self) {
        while let Some(slot) = self.pop() {
            drop(slot);
        }
    }
}

impl<B: Backing, const N: usize> Drop for SlabBatch<B, N> {
    #[inline]
    fn drop(&mut self) {
        if self.len != 0 {
            self.free();
        }
    }
}
