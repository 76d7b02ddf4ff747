// SPDX-License-Identifier: GPL-2.0

//! Finding one of many operations by its name.
//!
//! A list that is searched, and is long, gets an index: buckets, to which the search moves the
//! nodes. So adding and removing a node costs nothing more: a new node is put at the end of the
//! list as before, and one that is removed is unlinked from the list that it is in. Each node is
//! moved once.

use super::{
    CancelList,
    CancelNode, //
};
use crate::{
    bindings,
    prelude::*,
    types::Opaque, //
};
use core::ffi::{
    c_int,
    c_void, //
};

/// Buckets of nodes, by their names.
///
/// # Invariants
///
/// Each of `buckets`, of which there are two to the power of `bits`, is the head of a list of
/// nodes, whose `seq` is set. They are in the order of that number in each bucket; it is below
/// `seq`. The lists are accessed with the lock of the `CancelList` held.
pub(super) struct Index {
    buckets: KVVec<Opaque<bindings::list_head>>,
    bits: u32,
    /// The next number.
    seq: u64,
}

impl Index {
    const MIN_BITS: u32 = 4;
    const MAX_BITS: u32 = 16;

    /// An index for up to so many nodes, or more slowly more.
    ///
    /// May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(super) fn new(nodes: usize) -> Result<Self> {
        let bits =
            (usize::BITS - (nodes / 2).leading_zeros()).clamp(Self::MIN_BITS, Self::MAX_BITS);
        let mut buckets = KVVec::with_capacity(1 << bits, GFP_KERNEL_ACCOUNT)?;

        for _ in 0..1 << bits {
            buckets.push(Opaque::uninit(), GFP_KERNEL_ACCOUNT)?;
        }
        for bucket in &buckets {
            // SAFETY: It is valid for writes, and stays where it is: the vector does not grow.
            unsafe { bindings::INIT_LIST_HEAD(bucket.get()) };
        }
        // INVARIANT: All buckets are empty.
        Ok(Self {
            buckets,
            bits,
            seq: 0,
        })
    }

    /// Returns the bucket for a name.
    #[inline]
    fn bucket(&self, id: u64) -> *mut bindings::list_head {
        /// `GOLDEN_RATIO_64` of `include/linux/hash.h`.
        const GOLDEN_RATIO: u64 = 0x61c8_8646_80b5_83eb;

        self.buckets[(id.wrapping_mul(GOLDEN_RATIO) >> (u64::BITS - self.bits)) as usize].get()
    }

    /// Moves up to `max` nodes from the front of a list, and returns whether that is empty then.
    ///
    /// # Safety
    ///
    /// `head` must be that of the list of a [`CancelList`] whose index this is, and its lock be
    /// held.
    pub(super) unsafe fn absorb(&mut self, head: *mut bindings::list_head, max: usize) -> bool {
        for _ in 0..max {
            // SAFETY: The caller holds the lock.
            let links = unsafe { (*head).next };

            if links == head {
                return true;
            }
            // SAFETY: By the type invariants the list consists of nodes.
            let node = unsafe { crate::container_of!(Opaque::cast_from(links), CancelNode, links) };
            // SAFETY: A node that is in the list is valid while the lock is held; its name never
            // changes.
            let bucket = self.bucket(unsafe { (*node).id });

            // SAFETY: A node that is in the list is valid, and `seq` belongs to the holder of the
            // lock.
            unsafe { (*(*node).seq.get()).write(self.seq) };
            self.seq += 1;
            // SAFETY: The lock is held, and the node is in the list.
            unsafe { bindings::list_del_init(links) };
            // INVARIANT: It has the highest number, and is at the end.
            //
            // SAFETY: The lock is held, and the node is in no list.
            unsafe { bindings::list_add_tail(links, bucket) };
        }
        // SAFETY: The caller holds the lock.
        unsafe { (*head).next == head }
    }

    /// Returns the node with this name that was added first.
    ///
    /// # Safety
    ///
    /// The lock must be held.
    pub(super) unsafe fn find(&self, id: u64) -> Option<*const CancelNode> {
        // SAFETY: By the type invariants it is the head of a list of nodes; the caller holds the
        // lock.
        unsafe { CancelList::find_in(self.bucket(id), id, usize::MAX) }.node()
    }

    /// Moves all nodes back, to the front of the list, in the order in which they were there.
    ///
    /// # Safety
    ///
    /// As for [`absorb()`](Self::absorb).
    pub(super) unsafe fn give_back(&mut self, head: *mut bindings::list_head) {
        let mut all = bindings::list_head::default();
        let all = &raw mut all;

        // SAFETY: This is ours, and stays here until it is empty again.
        unsafe { bindings::INIT_LIST_HEAD(all) };
        for bucket in &self.buckets {
            // SAFETY: Both are heads of lists that nobody else uses, since the lock is held.
            unsafe { bindings::list_splice_tail_init(bucket.get(), all) };
        }
        // SAFETY: All that is in the list are links of nodes; it is ours alone.
        unsafe { bindings::list_sort(core::ptr::null_mut(), all, Some(Self::compare)) };
        // SAFETY: Both are heads of lists that nobody else uses, since the lock is held.
        unsafe { bindings::list_splice_init(all, head) };
    }

    /// # Safety
    ///
    /// To be called with the links of nodes that have been in buckets, with the lock held.
    unsafe extern "C" fn compare(
        _: *mut c_void,
        a: *const bindings::list_head,
        b: *const bindings::list_head,
    ) -> c_int {
        let [a, b] = [a, b].map(|links| {
            // SAFETY: The caller passes the links of a node.
            let node = unsafe { crate::container_of!(Opaque::cast_from(links), CancelNode, links) };

            // SAFETY: It is valid as long as it is in the list, and has been in a bucket, so that
            // this is set; the lock is held.
            unsafe { (*(*node).seq.get()).assume_init() }
        });

        c_int::from(a > b)
    }

    /// Returns whether there is no node.
    ///
    /// # Safety
    ///
    /// The lock must be held, or nobody else use the list.
    pub(super) unsafe fn is_empty(&self) -> bool {
        self.buckets.iter().all(|bucket| {
            let head = bucket.get();

            // SAFETY: It is the head of a list that nobody changes meanwhile.
            unsafe { (*head).next == head }
        })
    }
}
