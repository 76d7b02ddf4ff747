// SPDX-License-Identifier: GPL-2.0

//! Operations that can be cancelled.
//!
//! The code that executes an operation which may take indefinitely registers a function that
//! cancels it. That function is called, at most once, by `io_cancel(2)` or at the end of the
//! context; the operation then completes as it always does, only sooner.
//!
//! The function is called with the lock of the list held: so the operation, if it ends meanwhile,
//! waits before its memory goes. The function itself may complete it nevertheless, or others of
//! the list, before it returns: what a list holds for its task, that task does not wait for.
//!
//! C header: [`include/linux/aio.h`](srctree/include/linux/aio.h)
//!
//! # Examples
//!
//! ```
//! use kernel::{
//!     aio::cancel::{
//!         impl_has_cancel_node,
//!         CancelList,
//!         CancelNode,
//!         Cancellable, //
//!     },
//!     sync::atomic::{
//!         AtomicFlag,
//!         Relaxed, //
//!     },
//! };
//!
//! #[pin_data]
//! struct Operation {
//!     #[pin]
//!     node: CancelNode,
//!     stop: AtomicFlag,
//! }
//!
//! impl_has_cancel_node! {
//!     impl HasCancelNode for Operation { self.node }
//! }
//!
//! impl Cancellable for Operation {
//!     fn cancel(&self) {
//!         self.stop.store(true, Relaxed);
//!     }
//! }
//!
//! let list = KBox::pin_init(CancelList::new(), GFP_KERNEL)?;
//! let init = pin_init!(Operation {
//!     node <- CancelNode::new(7),
//!     stop: AtomicFlag::new(false),
//! });
//! let operation = KBox::pin_init(init, GFP_KERNEL)?;
//!
//! list.enter(operation.as_ref());
//! assert_eq!(list.cancel(8, 1), Err(EINVAL));
//! assert_eq!(list.cancel(7, 1), Ok(()));
//! assert!(operation.stop.load(Relaxed));
//! // It is out of the list by now.
//! assert!(!list.leave(&*operation));
//! # Ok::<(), Error>(())
//! ```

use crate::{
    bindings,
    error::{
        to_result,
        Result, //
    },
    prelude::*,
    slab::Dismantle,
    static_lock_class,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        SpinLockIrqSave,
        SpinLockIrqSaveGuard, //
    },
    types::Opaque, //
};
use core::{
    cell::{
        Cell,
        UnsafeCell, //
    },
    marker::PhantomPinned,
    mem::MaybeUninit,
    ptr::{
        null,
        null_mut, //
    },
};

mod operation;
pub use self::operation::{
    impl_has_cancel_node,
    Cancellable,
    HasCancelNode, //
};

mod owned;
pub use self::owned::CancellableArc;

mod index;
use index::Index;

#[cfg(CONFIG_KUNIT = "y")]
mod tests;

mod rw;
pub use self::rw::{
    ended,
    set_cancel_fn,
    CancellableRw,
    TheAioRw, //
};

/// What a search for a node has led to.
enum NodeSearch {
    Found(*const CancelNode),
    NotFound,
    /// It was not among those that were looked at.
    Unfinished,
}

impl NodeSearch {
    fn node(self) -> Option<*const CancelNode> {
        match self {
            NodeSearch::Found(node) => Some(node),
            _ => None,
        }
    }
}

/// The operations of a context that can be cancelled.
///
/// # Invariants
///
/// * `head` is the head of a list of [`CancelNode`]s, which is accessed with `lock` held, except
///   that anybody may look whether a node is in a list. So are the lists of `index`, if there is
///   one; what is in them was added before all that is in the list.
/// * `caller` is the task that holds the lock and calls the function of a node, or null.
/// * `called` is that node as long as it is in the list, or null. It is accessed with `lock` held.
#[pin_data(PinnedDrop)]
pub struct CancelList {
    #[pin]
    pub(super) lock: SpinLockIrqSave<()>,
    #[pin]
    head: Opaque<bindings::list_head>,
    caller: Atomic<*mut bindings::task_struct>,
    called: Cell<*const CancelNode>,
    index: UnsafeCell<Option<Index>>,
}

// SAFETY: By the type invariants the list is accessed with `lock` held, by any thread.
unsafe impl Sync for CancelList {}

// SAFETY: The list belongs to no thread; it is pinned, so that its nodes find it where it is.
unsafe impl Send for CancelList {}

/// The place of an operation in a [`CancelList`].
///
/// # Invariants
///
/// `links` is initialised: alone, or in the list `list`, in which case `call` and `kiocb` are set
/// and valid; or in one of its index, in which case `seq` is set as well. `call`, `kiocb` and `seq`
/// are accessed with the lock of the list held.
#[pin_data(PinnedDrop)]
pub struct CancelNode {
    #[pin]
    links: Opaque<bindings::list_head>,
    list: Atomic<*mut CancelList>,
    call: UnsafeCell<MaybeUninit<bindings::kiocb_cancel_fn>>,
    kiocb: UnsafeCell<MaybeUninit<*mut bindings::kiocb>>,
    seq: UnsafeCell<MaybeUninit<u64>>,
    id: u64,
    #[pin]
    _pin: PhantomPinned,
}

// SAFETY: By the type invariants `links`, `call`, `kiocb` and `seq` are accessed with the lock of
// the list held, except that anybody may look whether `links` is in a list, which C allows.
unsafe impl Sync for CancelNode {}

// SAFETY: A node belongs to no thread; it is pinned, so that the list finds it where it is.
unsafe impl Send for CancelNode {}

impl CancelNode {
    /// Initialises a node, which is in no list; `id` is how user space names the operation.
    #[inline]
    pub fn new(id: u64) -> impl PinInit<Self> {
        pin_init!(Self {
            links <- Opaque::ffi_init(|slot| {
                // SAFETY: `slot` is valid for writes.
                unsafe { bindings::INIT_LIST_HEAD(slot) }
            }),
            list: Atomic::new(null_mut()),
            call: UnsafeCell::new(MaybeUninit::uninit()),
            kiocb: UnsafeCell::new(MaybeUninit::uninit()),
            seq: UnsafeCell::new(MaybeUninit::uninit()),
            id,
            _pin: PhantomPinned,
        })
    }

    /// Returns whether the node is in a list.
    ///
    /// The operation is registered by the code that executes it, and removed by the code that
    /// completes it or cancels it: the answer "no" is final for the code that completes it. It then
    /// sees all that was done before the removal: pairs with `list_del_init_careful()`.
    #[doc(alias = "list_empty_careful")]
    #[inline]
    pub fn is_linked(&self) -> bool {
        // SAFETY: By the type invariants `links` is initialised, and anybody may look at it so.
        !unsafe { bindings::list_empty_careful(self.links.get()) }
    }

    /// Sets the list that the node will be added to.
    #[inline]
    pub(super) fn set_list(&self, list: &CancelList) {
        self.list
            .store(core::ptr::from_ref(list).cast_mut(), Relaxed);
    }

    /// Returns the list that the node was, or will be, added to.
    #[inline]
    pub(super) fn list(&self) -> *const CancelList {
        self.list.load(Relaxed)
    }

    /// An operation must not end without being removed: its memory would be used by the list.
    #[inline]
    fn assert_alone(&self) {
        if self.is_linked() {
            // SAFETY: Does not return.
            unsafe { bindings::BUG() };
        }
    }
}

#[pinned_drop]
impl PinnedDrop for CancelNode {
    fn drop(self: Pin<&mut Self>) {
        self.assert_alone();
    }
}

// SAFETY: There is nothing to be given back, and the list does not refer to it.
unsafe impl Dismantle for CancelNode {
    type Parts = ();

    #[inline]
    unsafe fn dismantle(this: *mut Self) {
        // SAFETY: By the contract of `Dismantle::dismantle()`, `this` points to a valid
        // `CancelNode`.
        unsafe { &*this }.assert_alone();
    }
}

impl CancelList {
    /// Initialises an empty list.
    pub fn new() -> impl PinInit<Self> {
        // Other crates may have copies of this function, but lockdep wants one name for one key.
        static NAME: &CStr = c"CancelList::lock";

        pin_init!(Self {
            lock <- SpinLockIrqSave::new((), NAME, static_lock_class!()),
            head <- Opaque::ffi_init(|slot| {
                // SAFETY: `slot` is valid for writes.
                unsafe { bindings::INIT_LIST_HEAD(slot) }
            }),
            caller: Atomic::new(null_mut()),
            called: Cell::new(null()),
            index: UnsafeCell::new(None),
        })
    }

    /// Removes a node whose operation is complete, if it is still in this list. Then the argument
    /// of its function is returned.
    ///
    /// When this returns, nobody is cancelling the operation, but for the caller itself. May be
    /// called in any context.
    #[cold]
    fn remove_linked(&self, node: &CancelNode) -> Option<*mut bindings::kiocb> {
        // The function that cancels it, or another, has completed it: this is called by it. Then
        // the lock is held already; what the current task has stored, it sees.
        let _guard = match self.is_called_by_current() {
            true => None,
            // SAFETY: The guard lives until this returns; nothing else disables interrupts
            // meanwhile.
            false => Some(unsafe { self.lock.lock() }),
        };

        // The task that has cancelled it may have removed it meanwhile.
        if !core::ptr::eq(node.list(), self) || !node.is_linked() {
            return None;
        }
        if core::ptr::eq(self.called.get(), node) {
            self.called.set(null());
        }
        // SAFETY: The lock is held, and the node is in this list.
        unsafe { self.remove_locked(node) };
        // SAFETY: The lock is held, and it was set when the node was added.
        Some(unsafe { (*node.kiocb.get()).assume_init() })
    }

    /// Returns whether the current task holds the lock, and calls the function of a node.
    ///
    /// Interrupts are disabled then. (Where they aren't, on PREEMPT_RT, their handlers are tasks of
    /// their own.)
    fn is_called_by_current(&self) -> bool {
        // SAFETY: May be called in any context.
        let current = unsafe { bindings::get_current() };

        core::ptr::eq(self.caller.load(Relaxed), current)
    }

    /// So many operations are looked at one after the other before there is an index.
    const FEW: usize = 32;
    /// So many are moved to the index before the lock is released for a moment.
    const AT_A_TIME: usize = 1024;

    /// Cancels the operation with this name: of several, that which was added first.
    ///
    /// There are no more than `max` in the list, most often. May sleep.
    ///
    /// # Errors
    ///
    /// `EINVAL` if there is none that can be cancelled, or what its function returns.
    pub fn cancel(&self, id: u64, max: usize) -> Result {
        // SAFETY: The guard lives until this returns, or goes to `cancel_by_index()`, which drops
        // it before it takes another. The functions of operations that are called meanwhile end
        // what they begin: guards are not `Send`, so that they can't stay in an operation.
        let guard = unsafe { self.lock.lock() };

        // SAFETY: The lock is held.
        if unsafe { (*self.index.get()).is_none() } {
            // SAFETY: The lock is held.
            match unsafe { Self::find_in(self.head.get(), id, Self::FEW) } {
                // SAFETY: The node is in the list, and the lock held.
                NodeSearch::Found(node) => return unsafe { self.call_node(node) },
                NodeSearch::NotFound => return Err(EINVAL),
                NodeSearch::Unfinished => (),
            }
        }
        self.cancel_by_index(guard, id, max)
    }

    /// The same with an index.
    #[cold]
    #[inline(never)]
    fn cancel_by_index<'a>(
        &'a self,
        guard: SpinLockIrqSaveGuard<'a, ()>,
        id: u64,
        max: usize,
    ) -> Result {
        let mut new = None;
        // In this order they are dropped: an index that is not needed after all is freed without
        // the lock.
        let mut guard = guard;

        loop {
            // SAFETY: The lock is held, and no other reference to it is alive.
            let index = unsafe { &mut *self.index.get() };

            if index.is_none() {
                *index = new.take();
            }
            if let Some(index) = index {
                // SAFETY: The lock is held; the list is that of the index.
                if unsafe { index.absorb(self.head.get(), Self::AT_A_TIME) } {
                    // SAFETY: The lock is held.
                    let found = unsafe { index.find(id) };

                    // SAFETY: The node is in the list, and the lock held.
                    return found.map_or(Err(EINVAL), |node| unsafe { self.cancel_node(node) });
                }
                // Others may want the lock.
                drop(guard);
            } else {
                drop(guard);
                match Index::new(max) {
                    Ok(index) => new = Some(index),
                    Err(_) => return self.cancel_one_of_many(id),
                }
            }
            // SAFETY: The guard before was dropped. This one lives until this returns, or is
            // dropped above. The functions of operations that are called meanwhile end what they
            // begin: guards are not `Send`, so that they can't stay in an operation.
            guard = unsafe { self.lock.lock() };
        }
    }

    /// The same, without memory for an index.
    #[cold]
    fn cancel_one_of_many(&self, id: u64) -> Result {
        // SAFETY: The guard lives until this returns. The functions of operations that are called
        // meanwhile end what they begin: guards are not `Send`, so that they can't stay in an
        // operation.
        let _guard = unsafe { self.lock.lock() };
        // SAFETY: The lock is held.
        if let Some(index) = unsafe { &mut *self.index.get() } {
            // Somebody else had some.
            //
            // SAFETY: The lock is held; the list is that of the index.
            unsafe { index.give_back(self.head.get()) };
        }
        // SAFETY: The lock is held.
        let found = unsafe { Self::find_in(self.head.get(), id, usize::MAX) };

        // SAFETY: The node is in the list, and the lock held.
        found
            .node()
            .map_or(Err(EINVAL), |node| unsafe { self.cancel_node(node) })
    }

    /// Looks for the first node with this name among the first `max` of a list.
    ///
    /// # Safety
    ///
    /// The lock must be held, and `head` be that of the list, or of one of its index.
    unsafe fn find_in(head: *mut bindings::list_head, id: u64, max: usize) -> NodeSearch {
        // SAFETY: The lock is held.
        let mut links = unsafe { (*head).next };

        for _ in 0..max {
            if links == head {
                return NodeSearch::NotFound;
            }
            // SAFETY: By the type invariants, the list consists of nodes.
            let node = unsafe { crate::container_of!(Opaque::cast_from(links), CancelNode, links) };

            // SAFETY: A node that is in the list is valid while the lock is held.
            if unsafe { (*node).id } == id {
                return NodeSearch::Found(node);
            }
            // SAFETY: The lock is held.
            links = unsafe { (*links).next };
        }
        if links == head {
            NodeSearch::NotFound
        } else {
            NodeSearch::Unfinished
        }
    }

    /// Cancels all operations, in the order in which they were added.
    ///
    /// May be called in any context.
    pub fn cancel_all(&self) {
        // SAFETY: The guard lives until this returns. The functions of operations that are called
        // meanwhile end what they begin: guards are not `Send`, so that they can't stay in an
        // operation.
        let _guard = unsafe { self.lock.lock() };
        let head = self.head.get();

        // SAFETY: The lock is held.
        if let Some(index) = unsafe { &mut *self.index.get() } {
            // SAFETY: The lock is held; the list is that of the index.
            unsafe { index.give_back(head) };
        }
        loop {
            // SAFETY: The lock is held.
            let links = unsafe { (*head).next };
            if links == head {
                return;
            }
            // SAFETY: By the type invariants this is a node; it is in the list, and the lock held.
            let _ = unsafe {
                self.cancel_node(crate::container_of!(
                    Opaque::cast_from(links),
                    CancelNode,
                    links
                ))
            };
        }
    }

    /// The same as [`call_node()`](Self::call_node), where it need not be fast.
    ///
    /// # Safety
    ///
    /// As for [`call_node()`](Self::call_node).
    #[inline(never)]
    unsafe fn cancel_node(&self, node: *const CancelNode) -> Result {
        // SAFETY: The caller passes a node of this list, and holds its lock, which keeps the
        // operation of the node.
        unsafe { self.call_node(node) }
    }

    /// Calls the function of a node, and removes it unless the function has.
    ///
    /// # Safety
    ///
    /// The node must be in the list, whose lock must be held. That lock keeps its operation from
    /// ending, unless the function ends it.
    #[inline(always)]
    unsafe fn call_node(&self, node: *const CancelNode) -> Result {
        // SAFETY: The caller passes a node in the list, and holds its lock: `node` is valid until
        // it is removed.
        let call = unsafe { (*node).call.get() };
        // SAFETY: The caller holds the lock, and `call` of a node in a list is set.
        let call = unsafe { (*call).assume_init() };
        // SAFETY: The caller passes a node in the list, and holds its lock: `node` is valid until
        // it is removed.
        let kiocb = unsafe { (*node).kiocb.get() };
        // SAFETY: The caller holds the lock, and `kiocb` of a node in a list is set.
        let kiocb = unsafe { (*kiocb).assume_init() };

        // INVARIANT: The node is in the list, and this task holds the lock.
        self.called.set(node);
        // SAFETY: May be called in any context.
        self.caller
            .store(unsafe { bindings::get_current() }, Relaxed);

        let result = match call {
            // SAFETY: By the type invariants the function accepts this argument as long as the node
            // is in the list, where the lock keeps it, or the function has removed it.
            Some(call) => to_result(unsafe { call(kiocb) }),
            None => Err(EINVAL),
        };

        self.caller.store(null_mut(), Relaxed);
        // If it was removed meanwhile, it may be gone.
        if !self.called.replace(null()).is_null() {
            // SAFETY: By the type invariants it is in the list, and so valid; the lock is held.
            unsafe { self.remove_locked(&*node) };
        }
        result
    }

    /// Adds a node, and the function that cancels its operation.
    ///
    /// # Safety
    ///
    /// * The lock of the list must be held.
    /// * The node must be in no list, and be removed from this one before it or `kiocb` goes.
    /// * `call` must accept `kiocb` for as long as the node is in the list.
    pub(super) unsafe fn add_locked(
        &self,
        node: &CancelNode,
        kiocb: *mut bindings::kiocb,
        call: bindings::kiocb_cancel_fn,
    ) {
        // The list finds its way back from the links to the node, so this pointer must be made from
        // one to the node, not from a reference to its field.
        let this = core::ptr::from_ref(node);
        // SAFETY: This stays within the node, which is valid.
        let links = Opaque::cast_into(unsafe { &raw const (*this).links });

        // INVARIANT: The list, the function and its argument are set while the lock is held, before
        // the node is in the list.
        node.set_list(self);
        // SAFETY: The caller holds the lock, and the node is in no list: nobody else uses this.
        unsafe { (*node.call.get()).write(call) };
        // SAFETY: The lock is held, and the node is in no list: nobody else uses this.
        unsafe { (*node.kiocb.get()).write(kiocb) };
        // SAFETY: The caller holds the lock. The node is initialised, in no list, and stays until
        // it is removed.
        unsafe { bindings::list_add_tail(links, self.head.get()) };
    }

    /// Removes a node, if it is in the list.
    ///
    /// # Safety
    ///
    /// The lock of the list must be held, and the node be in this list or in none.
    pub(super) unsafe fn remove_locked(&self, node: &CancelNode) {
        // SAFETY: The caller holds the lock of the list that the node is in, if it is in one.
        unsafe { bindings::list_del_init_careful(node.links.get()) };
    }
}

#[pinned_drop]
impl PinnedDrop for CancelList {
    fn drop(self: Pin<&mut Self>) {
        let head = self.head.get();

        // SAFETY: Nobody else uses the index.
        let index = unsafe { &*self.index.get() };
        let indexed = index
            .as_ref()
            // SAFETY: Nobody else uses the list.
            .is_some_and(|index| !unsafe { index.is_empty() });

        // SAFETY: Nobody else uses the list.
        if indexed || unsafe { (*head).next } != head {
            // The nodes would go on using the memory of the list.
            //
            // SAFETY: Does not return.
            unsafe { bindings::BUG() };
        }
    }
}
