// SPDX-License-Identifier: GPL-2.0

//! Growing tables of pointers that are read under RCU.
//!
//! The head of such a table is a pointer and a spinlock that lie in a structure of C's, both zero
//! or initialised by C. Entries are found by their index without a lock; they are added and
//! removed with the lock held. A table that is full is replaced by a larger copy.
//!
//! C header: [`include/linux/rcupdate.h`](srctree/include/linux/rcupdate.h)
//!
//! # Examples
//!
//! ```
//! use kernel::sync::{
//!     rcu,
//!     rcu_table::{
//!         RcuPointer,
//!         RcuTable, //
//!     },
//! };
//!
//! /// Adds a value, and returns its index.
//! fn add<P: RcuPointer>(table: &RcuTable<'_, P>, value: P) -> Result<usize> {
//!     let mut at = 0;
//!
//!     table
//!         .insert(value, |index, _value| at = index)
//!         .map_err(|_value| ENOMEM)?;
//!     Ok(at)
//! }
//!
//! /// Looks a value up, without a lock.
//! fn with<P: RcuPointer, R>(
//!     table: &RcuTable<'_, P>,
//!     index: usize,
//!     f: impl FnOnce(P::Borrowed<'_>) -> R,
//! ) -> Option<R> {
//!     let rcu = rcu::read_lock();
//!     let found = table.get(index, &rcu)?;
//!
//!     Some(f(found))
//! }
//!
//! /// Removes it. Who has found it before may use it until a grace period has passed.
//! fn remove<P: RcuPointer>(table: &RcuTable<'_, P>, index: usize) -> Option<P> {
//!     table.lock().remove(index)
//! }
//! ```

use crate::{
    alloc::{
        allocator::Kmalloc,
        Allocator,
        NumaNode, //
    },
    bindings,
    nospec::array_index_nospec,
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed,
            Release, //
        },
        ReadSide,
        SpinLock,
        SpinLockGuard, //
    },
    types::Opaque, //
};
use core::{
    alloc::Layout,
    ffi::c_void,
    marker::PhantomData,
    ptr::{
        null_mut,
        NonNull, //
    },
};

/// Owning pointers whose target may still be looked at by RCU readers after it was given up.
///
/// # Safety
///
/// From the time that a value is dropped or otherwise consumed, the target of the pointer that
/// [`into_raw()`](Self::into_raw) had returned for it must stay valid for an RCU grace period.
pub unsafe trait RcuPointer: Send + Sync + Sized {
    /// A reference to the target, for readers.
    type Borrowed<'a>
    where
        Self: 'a;

    /// Turns the value into a pointer, which is not null.
    fn into_raw(self) -> *mut c_void;

    /// Turns the pointer back into the value.
    ///
    /// # Safety
    ///
    /// `ptr` must come from [`into_raw()`](Self::into_raw), and be turned back only once.
    unsafe fn from_raw(ptr: *mut c_void) -> Self;

    /// Borrows the target.
    ///
    /// # Safety
    ///
    /// `ptr` must come from [`into_raw()`](Self::into_raw), and the target must stay valid for
    /// `'a`: because of an RCU read-side critical section that has begun while the pointer was in
    /// the table, or because the pointer is not turned back into the value.
    unsafe fn borrow<'a>(ptr: *mut c_void) -> Self::Borrowed<'a>;
}

/// A table in memory.
///
/// # Invariants
///
/// `slots` continues behind the structure with `nr` slots. Each of them is null or a pointer from
/// [`RcuPointer::into_raw()`] that has not been turned back.
#[repr(C)]
struct Block {
    rcu: Opaque<bindings::kvfree_rcu_head>,
    nr: usize,
    slots: [Atomic<*mut c_void>; 0],
}

impl Block {
    fn layout(nr: usize) -> Result<Layout> {
        let slots = Layout::array::<Atomic<*mut c_void>>(nr).map_err(|_| ENOMEM)?;

        Ok(Layout::new::<Self>().extend(slots).map_err(|_| ENOMEM)?.0)
    }

    /// Allocates a table of `nr` empty slots.
    fn new(nr: usize) -> Result<NonNull<Self>> {
        let layout = Self::layout(nr)?;
        let block =
            Kmalloc::alloc(layout, GFP_KERNEL | __GFP_ZERO, NumaNode::NO_NODE)?.cast::<Self>();

        // INVARIANT: The memory is zeroed: all slots are null.
        //
        // SAFETY: The memory is ours.
        unsafe { (*block.as_ptr()).nr = nr };
        Ok(block)
    }

    /// Frees a table.
    ///
    /// # Safety
    ///
    /// Nobody may use the table any longer.
    unsafe fn free(this: NonNull<Self>) {
        // SAFETY: The table is valid until it is freed here, and nobody else uses it.
        if let Ok(layout) = Self::layout(unsafe { this.as_ref() }.nr) {
            // SAFETY: It was allocated by `new()` with this layout.
            unsafe { Kmalloc::free(this.cast(), layout) };
        }
    }

    /// Returns the slots of a table.
    ///
    /// # Safety
    ///
    /// The table must stay for `'a`.
    unsafe fn slots<'a>(this: NonNull<Self>) -> &'a [Atomic<*mut c_void>] {
        // SAFETY: The caller guarantees that `this` points to a table that stays for `'a`. The
        // pointer is one to all of the table, not only to the structure.
        let slots = unsafe { &raw const (*this.as_ptr()).slots };
        // SAFETY: The number does not change after the table was made.
        let nr = unsafe { (*this.as_ptr()).nr };

        // SAFETY: By the type invariants `nr` slots are behind the structure, which are atomic and
        // stay for `'a`.
        unsafe { core::slice::from_raw_parts(slots.cast(), nr) }
    }
}

/// A table, as found in a structure of C's.
///
/// # Invariants
///
/// `head` is null or points to a `Block` whose pointers are of `P`. It is changed only with
/// `lock` held, and a block that was replaced is freed after a grace period.
pub struct RcuTable<'a, P: RcuPointer> {
    head: &'a Atomic<*mut c_void>,
    lock: &'a SpinLock<()>,
    _p: PhantomData<P>,
}

impl<'a, P: RcuPointer> RcuTable<'a, P> {
    /// Borrows a table.
    ///
    /// # Safety
    ///
    /// * `head` and `lock` must be valid for `'a`, `lock` initialised.
    /// * `head` was null when it was initialised, and has since been used only through this type,
    ///   with the same `lock` and the same `P`.
    #[inline]
    pub unsafe fn from_raw(head: *mut *mut c_void, lock: *mut bindings::spinlock_t) -> Self {
        // INVARIANT: The caller guarantees that only values of this type have changed `head`, from
        // null on.
        Self {
            // SAFETY: `head` is valid for `'a`, and all accesses are atomic.
            head: unsafe { Atomic::from_ptr(head) },
            // SAFETY: `lock` is valid for `'a` and initialised.
            lock: unsafe { SpinLock::from_raw(lock) },
            _p: PhantomData,
        }
    }

    /// Finds the entry with this index.
    ///
    /// May be called in any context. A processor that speculates past the check of the index stays
    /// in the table (`array_index_nospec()`).
    #[inline]
    pub fn get<'g>(&self, index: usize, rcu: &'g impl ReadSide) -> Option<P::Borrowed<'g>> {
        let slots = self.slots(rcu);

        if index >= slots.len() {
            return None;
        }
        let index = array_index_nospec(index, slots.len());

        // What the pointer refers to was written before the pointer (see `insert()`); reading it is
        // ordered by the address dependency.
        let ptr = slots[index].load(Relaxed);
        if ptr.is_null() {
            return None;
        }
        // SAFETY: By the type invariants; the pointer was seen in the table under RCU.
        Some(unsafe { P::borrow(ptr) })
    }

    /// Finds the first entry whose index is not below `from`, and returns both.
    ///
    /// May be called in any context.
    pub fn next<'g>(
        &self,
        from: usize,
        rcu: &'g impl ReadSide,
    ) -> Option<(usize, P::Borrowed<'g>)> {
        let slots = self.slots(rcu);

        (from..slots.len()).find_map(|index| Some((index, self.get(index, rcu)?)))
    }

    #[inline]
    fn slots<'g>(&self, _rcu: &'g impl ReadSide) -> &'g [Atomic<*mut c_void>] {
        match NonNull::new(self.head.load(Relaxed).cast::<Block>()) {
            // SAFETY: By the type invariants; the block is not freed while RCU is read-locked.
            Some(block) => unsafe { Block::slots(block) },
            None => &[],
        }
    }

    /// Locks the table for changes.
    #[inline]
    pub fn lock(&self) -> LockedRcuTable<'a, P> {
        LockedRcuTable {
            head: self.head,
            _guard: self.lock.lock(),
            _p: PhantomData,
        }
    }

    /// Adds an entry at the lowest free index, and calls `added` with the index while the lock is
    /// held.
    ///
    /// May sleep.
    ///
    /// # Errors
    ///
    /// Gives the value back where a larger table is needed and there is no memory for it.
    pub fn insert(&self, value: P, added: impl FnOnce(usize, P::Borrowed<'_>)) -> Result<(), P> {
        loop {
            let nr = {
                let table = self.lock();
                let free = table.slots().iter().position(|s| s.load(Relaxed).is_null());

                if let Some(index) = free {
                    let ptr = value.into_raw();

                    // SAFETY: The pointer can't be removed while the lock is held.
                    added(index, unsafe { P::borrow(ptr) });
                    // Readers who see the pointer see what it refers to.
                    table.slots()[index].store(ptr, Release);
                    return Ok(());
                }
                table.slots().len()
            };

            // 4, 16, 64 ...: the lock was dropped, so somebody else may be doing the same.
            let Ok(larger) = Block::new(core::cmp::max(nr, 1).saturating_mul(4)) else {
                return Err(value);
            };
            self.replace(larger);
        }
    }

    /// Puts a larger table in the place of the present one, unless it is no larger.
    fn replace(&self, larger: NonNull<Block>) {
        let table = self.lock();
        let old = self.head.load(Relaxed).cast::<Block>();
        // SAFETY: It was just allocated, and is freed below if it is not used.
        let new = unsafe { Block::slots(larger) };

        if new.len() <= table.slots().len() {
            drop(table);
            // SAFETY: Nobody has seen it.
            unsafe { Block::free(larger) };
            return;
        }
        for (to, from) in new.iter().zip(table.slots()) {
            to.store(from.load(Relaxed), Relaxed);
        }
        // INVARIANT: The new block has the pointers of the old one, which is freed after a grace
        // period. Readers who see the block see what is in it.
        self.head.store(larger.as_ptr().cast(), Release);
        drop(table);

        if !old.is_null() {
            // SAFETY: It was allocated by `Block::new()` with `kmalloc()`, and nobody can find it
            // any longer.
            unsafe { bindings::kvfree_call_rcu((*old).rcu.get(), old.cast()) };
        }
    }

    /// Calls `f` with each entry, in the order of the indices, and frees the table.
    ///
    /// For the end of the structure that the table belongs to. Others may still be looking for
    /// entries under RCU.
    ///
    /// # Safety
    ///
    /// Nobody else may lock the table, or add to it.
    pub unsafe fn drain(&self, mut f: impl FnMut(P)) {
        let Some(block) = NonNull::new(self.head.load(Relaxed).cast::<Block>()) else {
            return;
        };

        // SAFETY: Nobody else changes the table, so nobody replaces or frees the block.
        for slot in unsafe { Block::slots(block) } {
            let ptr = slot.load(Relaxed);

            if !ptr.is_null() {
                slot.store(null_mut(), Relaxed);
                // SAFETY: By the type invariants, it comes from `into_raw()`.
                f(unsafe { P::from_raw(ptr) });
            }
        }
        // INVARIANT: Null is an empty table. The block is freed after a grace period.
        self.head.store(null_mut(), Relaxed);
        let block = block.as_ptr();

        // SAFETY: It was allocated by `Block::new()` with `kmalloc()`, and nobody can find it any
        // longer.
        unsafe { bindings::kvfree_call_rcu((*block).rcu.get(), block.cast()) };
    }
}

/// A locked [`RcuTable`].
pub struct LockedRcuTable<'a, P: RcuPointer> {
    head: &'a Atomic<*mut c_void>,
    _guard: SpinLockGuard<'a, ()>,
    _p: PhantomData<P>,
}

impl<P: RcuPointer> LockedRcuTable<'_, P> {
    fn slots(&self) -> &[Atomic<*mut c_void>] {
        match NonNull::new(self.head.load(Relaxed).cast::<Block>()) {
            // SAFETY: By the type invariants of `RcuTable`; while the lock is held nobody replaces
            // the block.
            Some(block) => unsafe { Block::slots(block) },
            None => &[],
        }
    }

    /// Removes the entry with this index.
    pub fn remove(&mut self, index: usize) -> Option<P> {
        let slot = self.slots().get(index)?;
        let ptr = slot.load(Relaxed);

        if ptr.is_null() {
            return None;
        }
        slot.store(null_mut(), Relaxed);

        // SAFETY: By the type invariants of `RcuTable`, it comes from `into_raw()`, and it can't be
        // found any longer.
        Some(unsafe { P::from_raw(ptr) })
    }

    /// Iterates over the entries.
    pub fn iter(&self) -> impl Iterator<Item = P::Borrowed<'_>> {
        self.slots()
            .iter()
            .map(|slot| slot.load(Relaxed))
            .filter(|ptr| !ptr.is_null())
            // SAFETY: The entry can't be removed while the table is locked and borrowed.
            .map(|ptr| unsafe { P::borrow(ptr) })
    }
}

#[kunit_tests(rust_sync_rcu_table)]
mod tests {
    use super::*;
    use crate::sync::{
        new_spinlock,
        rcu, //
    };

    /// A number on the heap.
    struct Number(*mut u32);

    impl Number {
        fn new(n: u32) -> Result<Self> {
            Ok(Self(KBox::into_raw(KBox::new(n, GFP_KERNEL)?)))
        }
    }

    impl Drop for Number {
        fn drop(&mut self) {
            rcu::synchronize_rcu();
            // SAFETY: It comes from `new()`.
            drop(unsafe { KBox::from_raw(self.0) });
        }
    }

    // SAFETY: A number can be read and freed by anybody.
    unsafe impl Send for Number {}

    // SAFETY: With a shared reference, a number can only be read.
    unsafe impl Sync for Number {}

    // SAFETY: `drop()` waits for a grace period before it frees the number.
    unsafe impl RcuPointer for Number {
        type Borrowed<'a> = &'a u32;

        fn into_raw(self) -> *mut c_void {
            core::mem::ManuallyDrop::new(self).0.cast()
        }

        unsafe fn from_raw(ptr: *mut c_void) -> Self {
            Self(ptr.cast())
        }

        unsafe fn borrow<'a>(ptr: *mut c_void) -> &'a u32 {
            // SAFETY: The caller guarantees that `ptr` comes from `into_raw()`, and that its number
            // is not freed for `'a`.
            unsafe { &*ptr.cast() }
        }
    }

    fn with_table(f: impl FnOnce(&RcuTable<'_, Number>) -> Result) -> Result {
        pin_init::stack_pin_init!(let lock = new_spinlock!(()));
        let head = Opaque::new(null_mut());
        // SAFETY: Both live as long as the table, and `head` is null. A `SpinLock<()>` has the
        // layout of its lock.
        let table = unsafe {
            RcuTable::from_raw(
                head.get(),
                core::ptr::from_ref(&*lock)
                    .cast_mut()
                    .cast::<bindings::spinlock_t>(),
            )
        };
        let result = f(&table);

        // SAFETY: Nobody else uses the table.
        unsafe { table.drain(drop) };
        result
    }

    fn insert(table: &RcuTable<'_, Number>, n: u32) -> Result<usize> {
        let mut index = usize::MAX;

        table
            .insert(Number::new(n)?, |i, value| {
                assert_eq!(*value, n);
                index = i;
            })
            .map_err(|_| ENOMEM)?;
        Ok(index)
    }

    #[test]
    fn a_table_that_was_never_made() -> Result {
        with_table(|table| {
            assert_eq!(table.lock().iter().count(), 0);
            assert!(table.lock().remove(0).is_none());
            assert!(table.get(0, &rcu::read_lock()).is_none());
            Ok(())
        })
    }

    #[test]
    fn grows_and_reuses_the_lowest_index() -> Result {
        with_table(|table| {
            assert!(table.get(0, &rcu::read_lock()).is_none());

            for i in 0..20 {
                assert_eq!(insert(table, i)?, i as usize);
            }
            // 4, 16, 64.
            assert_eq!(table.lock().slots().len(), 64);
            for i in 0..20 {
                assert_eq!(table.get(i as usize, &rcu::read_lock()), Some(&i));
            }

            let removed = table.lock().remove(3);
            assert!(removed.is_some());
            assert!(table.get(3, &rcu::read_lock()).is_none());
            assert!(table.lock().remove(3).is_none());
            assert_eq!(insert(table, 77)?, 3);
            assert_eq!(table.get(3, &rcu::read_lock()), Some(&77));
            Ok(())
        })
    }

    #[test]
    fn one_after_the_other() -> Result {
        with_table(|table| {
            assert!(table.next(0, &rcu::read_lock()).is_none());
            for i in 0..6 {
                insert(table, i)?;
            }
            for index in [0, 3, 4] {
                // It is dropped without the lock.
                let removed = table.lock().remove(index);

                assert!(removed.is_some());
            }
            for (from, found) in [(0, 1), (1, 1), (2, 2), (3, 5), (5, 5)] {
                assert_eq!(
                    table.next(from, &rcu::read_lock()),
                    Some((found, &(found as u32)))
                );
            }
            for from in [6, 16, 17, usize::MAX] {
                assert!(table.next(from, &rcu::read_lock()).is_none());
            }
            Ok(())
        })
    }

    #[test]
    fn indices_out_of_range() -> Result {
        with_table(|table| {
            insert(table, 1)?;
            for index in [1, 3, 4, 5, 1 << 31, usize::MAX] {
                assert!(table.get(index, &rcu::read_lock()).is_none());
                assert!(table.lock().remove(index).is_none());
            }
            Ok(())
        })
    }

    #[test]
    fn drains_all() -> Result {
        with_table(|table| {
            let mut sum = 0;

            for i in 1..=5 {
                insert(table, i)?;
            }
            assert_eq!(table.lock().iter().count(), 5);
            // SAFETY: Nobody else uses the table.
            unsafe { table.drain(|n| sum += *Number::borrow(n.0.cast())) };
            assert_eq!(sum, 15);
            assert!(table.get(0, &rcu::read_lock()).is_none());
            Ok(())
        })
    }
}
