// SPDX-License-Identifier: GPL-2.0

//! Operations that a list has a reference to, and that know themselves how they are cancelled.

use super::{
    CancelList,
    CancelNode,
    HasCancelNode, //
};
use crate::{
    bindings,
    error::from_result,
    prelude::*,
    slab::{
        Cached,
        SlabArc, //
    },
    sync::atomic::Relaxed, //
};
use core::{
    ffi::c_int,
    ptr::null_mut, //
};

/// An operation that a list has a reference to while it can be cancelled.
pub trait CancellableArc: HasCancelNode + Cached + Send + Sync + 'static {
    /// The operation is to be cancelled, and is in the list no longer.
    ///
    /// Called at most once for each time that it has entered the list, in any context, with the
    /// lock of the list held and interrupts disabled: it must not use the list, but may complete
    /// the operation. The reference is that of the list.
    ///
    /// # Errors
    ///
    /// For the caller: the operation is not cancelled, and ends as it would have.
    fn cancel(this: SlabArc<Self>) -> Result;
}

/// Returns the node of an operation.
#[inline]
fn node<T: HasCancelNode>(this: &T) -> &CancelNode {
    // SAFETY: `OFFSET` is that of a `CancelNode` in a `T`, see `HasCancelNode`.
    unsafe { &*core::ptr::from_ref(this).byte_add(T::OFFSET).cast() }
}

impl CancelList {
    /// Adds an operation, and a reference of it.
    ///
    /// It has to leave the list again, with [`leave_arc()`](Self::leave_arc), unless it is
    /// cancelled. May be called in any context, without the lock of a list.
    ///
    /// # Errors
    ///
    /// `EBUSY` if it is in a list, or was in another one.
    pub fn enter_arc<T: CancellableArc>(&self, this: &SlabArc<T>) -> Result {
        let node = node(&**this);
        let list = core::ptr::from_ref(self).cast_mut();

        // So it is this list whose lock protects the node, now and later.
        if let Err(other) = node.list.cmpxchg(null_mut(), list, Relaxed) {
            if other != list {
                return Err(EBUSY);
            }
        }
        // SAFETY: The guard lives until this returns; nothing else disables interrupts meanwhile.
        let _guard = unsafe { self.lock.lock() };

        if node.is_linked() {
            return Err(EBUSY);
        }
        let owner = this.clone().into_raw().cast_mut();

        // SAFETY: The lock is held, and the node is in no list. The reference, which is the list's
        // now, keeps it; `cancel()` takes it, or `leave_arc()` takes it back.
        unsafe { self.add_locked(node, owner.cast(), Some(cancel::<T>)) };
        Ok(())
    }

    /// Takes an operation out, and returns the reference that the list has had.
    ///
    /// `None` if it is not in this list: somebody has cancelled it, or is about to. May be called
    /// in any context.
    pub fn leave_arc<T: CancellableArc>(&self, this: &T) -> Option<SlabArc<T>> {
        let node = node(this);

        if !node.is_linked() {
            return None;
        }
        let owner = self.remove_linked(node)?;

        // SAFETY: It was in the list, and had a reference that `enter_arc()` has given to it. This
        // function takes it out, and so has the reference.
        Some(unsafe { SlabArc::from_raw(owner.cast::<T>()) })
    }
}

/// Takes an operation out of its list, and cancels it.
///
/// # Safety
///
/// To be called by the list with what [`CancelList::enter_arc()`] has told it.
unsafe extern "C" fn cancel<T: CancellableArc>(owner: *mut bindings::kiocb) -> c_int {
    // SAFETY: The caller passes what `enter_arc()` has made of the reference of the list, once: the
    // node is taken out below, with the lock held.
    let this = unsafe { SlabArc::from_raw(owner.cast::<T>()) };
    let node = node(&*this);

    // The caller is the current task, and holds the lock.
    //
    // SAFETY: The node is in the list, which calls this function.
    unsafe { &*node.list() }.remove_linked(node);
    from_result(|| T::cancel(this).map(|()| 0))
}

#[kunit_tests(rust_aio_cancel_owned)]
mod tests {
    use super::*;
    use crate::{
        aio::cancel::impl_has_cancel_node,
        slab::{
            Backing,
            KmemCache,
            SlabArcInner,
            SlabSlot, //
        },
        sync::{
            atomic::Atomic,
            Arc, //
        },
    };
    use pin_init::stack_pin_init;

    enum Ops {}

    static OPS: KmemCache<Ops> = KmemCache::new(c"rust_kunit_cancel");

    impl Backing for Ops {
        type Largest = SlabArcInner<Op>;
        const CACHE: &'static KmemCache<Self> = &OPS;
    }

    #[pin_data]
    struct Group {
        #[pin]
        list: CancelList,
        cancelled: Atomic<u32>,
        dropped: Atomic<u32>,
    }

    #[pin_data(PinnedDrop)]
    struct Op {
        #[pin]
        node: CancelNode,
        group: Arc<Group>,
        refuse: bool,
    }

    #[pinned_drop]
    impl PinnedDrop for Op {
        fn drop(self: Pin<&mut Self>) {
            self.group.dropped.fetch_add(1, Relaxed);
        }
    }

    impl Cached for Op {
        type Backing = Ops;
    }

    impl_has_cancel_node! {
        impl HasCancelNode for Op { self.node }
    }

    impl CancellableArc for Op {
        fn cancel(this: SlabArc<Self>) -> Result {
            assert!(!this.node.is_linked());
            this.group.cancelled.fetch_add(1, Relaxed);
            if this.refuse {
                Err(EBUSY)
            } else {
                Ok(())
            }
        }
    }

    impl Group {
        fn new() -> Result<Arc<Self>> {
            OPS.init()?;
            Arc::pin_init(
                pin_init!(Self {
                    list <- CancelList::new(),
                    cancelled: Atomic::new(0),
                    dropped: Atomic::new(0),
                }),
                GFP_KERNEL,
            )
        }

        /// Returns how many were cancelled, and how many are gone.
        fn counts(&self) -> (u32, u32) {
            (self.cancelled.load(Relaxed), self.dropped.load(Relaxed))
        }
    }

    fn op(group: &Arc<Group>, id: u64, refuse: bool) -> Result<SlabArc<Op>> {
        Ok(SlabSlot::alloc(GFP_KERNEL)?
            .init(pin_init!(Op {
                node <- CancelNode::new(id),
                group: group.clone(),
                refuse,
            }))?
            .share())
    }

    #[test]
    fn the_list_has_a_reference() -> Result {
        let group = Group::new()?;
        let one = op(&group, 1, false)?;

        assert_eq!(group.list.enter_arc(&one), Ok(()));
        assert_eq!(group.list.enter_arc(&one), Err(EBUSY));
        assert!(!one.is_unique());
        assert!(group.list.leave_arc(&*one).is_some());
        assert!(group.list.leave_arc(&*one).is_none());
        assert!(one.is_unique());
        assert_eq!(group.list.cancel(1, 8), Err(EINVAL));
        assert_eq!(group.counts(), (0, 0));
        // Into another list it can't come, but into this again.
        stack_pin_init!(let other = CancelList::new());
        assert_eq!(other.enter_arc(&one), Err(EBUSY));
        assert_eq!(group.list.enter_arc(&one), Ok(()));
        drop(one);
        assert_eq!(group.counts(), (0, 0));
        assert_eq!(group.list.cancel(1, 8), Ok(()));
        // That of the list was the last one: it has gone while its function was called.
        assert_eq!(group.counts(), (1, 1));
        assert_eq!(group.list.cancel(1, 8), Err(EINVAL));
        Ok(())
    }

    #[test]
    fn all_go_while_they_are_cancelled() -> Result {
        let group = Group::new()?;

        for id in 0..5 {
            let op = op(&group, id, id % 2 == 0)?;

            assert_eq!(group.list.enter_arc(&op), Ok(()));
        }
        assert_eq!(group.list.cancel(2, 8), Err(EBUSY));
        assert_eq!(group.counts(), (1, 1));
        group.list.cancel_all();
        assert_eq!(group.counts(), (5, 5));
        Ok(())
    }
}
