// SPDX-License-Identifier: GPL-2.0

//! Operations that can be cancelled.
//!
//! Who executes an operation that may take for ever registers a function that cancels it. That
//! function is called, at most once, by `io_cancel(2)` or at the end of the context; the
//! operation then completes as it always does, only sooner.
//!
//! C header: [`include/linux/aio.h`](srctree/include/linux/aio.h)

use crate::{
    bindings,
    error::{
        to_result,
        Result, //
    },
    fs::HasAsyncKiocb,
    prelude::*,
    slab::Dismantle,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        new_spinlock_irqsave,
        SpinLockIrqSave, //
    },
    types::Opaque, //
};
use core::{
    cell::UnsafeCell,
    marker::PhantomPinned,
    mem::MaybeUninit,
    ptr::null_mut, //
};

/// The operations of a context that can be cancelled.
///
/// # Invariants
///
/// `head` is the head of a list of [`CancelNode`]s, which is accessed with `lock` held, except that
/// anybody may look whether a node is in a list.
#[pin_data(PinnedDrop)]
pub struct CancelList {
    #[pin]
    pub(super) lock: SpinLockIrqSave<()>,
    #[pin]
    head: Opaque<bindings::list_head>,
}

// SAFETY: The list is accessed with the lock held.
unsafe impl Sync for CancelList {}

// SAFETY: As above; it is pinned.
unsafe impl Send for CancelList {}

/// The place of an operation in a [`CancelList`].
///
/// # Invariants
///
/// `links` is initialised: alone, or in the list `list`, in which case `call` and `kiocb` are set
/// and valid. `call` and `kiocb` are accessed with the lock of the list held.
#[pin_data(PinnedDrop)]
pub struct CancelNode {
    #[pin]
    links: Opaque<bindings::list_head>,
    list: Atomic<*mut CancelList>,
    call: UnsafeCell<MaybeUninit<bindings::kiocb_cancel_fn>>,
    kiocb: UnsafeCell<MaybeUninit<*mut bindings::kiocb>>,
    id: u64,
    #[pin]
    _pin: PhantomPinned,
}

// SAFETY: See the type invariants.
unsafe impl Sync for CancelNode {}

// SAFETY: As above; it is pinned.
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
            id,
            _pin: PhantomPinned,
        })
    }

    /// Returns whether the node is in a list.
    ///
    /// The operation is registered by who executes it, and removed by who completes it or cancels
    /// it: the answer "no" is final for the one who completes it. It then sees all that was done
    /// by who has removed it: pairs with `list_del_init_careful()`.
    #[doc(alias = "list_empty_careful")]
    #[inline]
    pub fn is_linked(&self) -> bool {
        // SAFETY: By the type invariants.
        !unsafe { bindings::list_empty_careful(self.links.get()) }
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
        // SAFETY: By the requirements of this function.
        unsafe { &*this }.assert_alone();
    }
}

impl CancelList {
    /// Initialises an empty list.
    pub fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            lock <- new_spinlock_irqsave!((), "CancelList::lock"),
            head <- Opaque::ffi_init(|slot| {
                // SAFETY: `slot` is valid for writes.
                unsafe { bindings::INIT_LIST_HEAD(slot) }
            }),
        })
    }

    /// Removes a node whose operation is complete, if it is in this list.
    ///
    /// When this returns, nobody is cancelling the operation. May be called in any context.
    #[inline]
    pub fn remove(&self, node: &CancelNode) {
        if node.is_linked() {
            self.remove_linked(node);
        }
    }

    #[cold]
    fn remove_linked(&self, node: &CancelNode) {
        let _guard = self.lock.lock();

        // Whoever has cancelled it may have removed it meanwhile.
        if core::ptr::eq(node.list.load(Relaxed), self) {
            // SAFETY: The lock is held, and the node is in this list or in none.
            unsafe { self.remove_locked(node) };
        }
    }

    /// Cancels the operation with this name.
    ///
    /// # Errors
    ///
    /// `EINVAL` if there is none that can be cancelled, or what its function returns.
    pub fn cancel(&self, id: u64) -> Result {
        let _guard = self.lock.lock();
        let head = self.head.get();
        // SAFETY: The lock is held.
        let mut links = unsafe { (*head).next };

        while links != head {
            // SAFETY: By the type invariants, the list consists of nodes.
            let node = unsafe { crate::container_of!(Opaque::cast_from(links), CancelNode, links) };

            // SAFETY: As above.
            if unsafe { (*node).id } == id {
                // SAFETY: The node is in the list, and the lock held.
                return unsafe { Self::cancel_node(node) };
            }
            // SAFETY: The lock is held.
            links = unsafe { (*links).next };
        }
        Err(EINVAL)
    }

    /// Cancels all operations.
    ///
    /// May be called in any context.
    pub fn cancel_all(&self) {
        let _guard = self.lock.lock();
        let head = self.head.get();

        loop {
            // SAFETY: The lock is held.
            let links = unsafe { (*head).next };
            if links == head {
                return;
            }
            // SAFETY: By the type invariants this is a node; it is in the list, and the lock held.
            let _ = unsafe {
                Self::cancel_node(crate::container_of!(
                    Opaque::cast_from(links),
                    CancelNode,
                    links
                ))
            };
        }
    }

    /// Calls the function of a node and removes it.
    ///
    /// # Safety
    ///
    /// The node must be in the list, whose lock must be held. That lock keeps its operation from
    /// ending.
    unsafe fn cancel_node(node: *const CancelNode) -> Result {
        // SAFETY: By the type invariants of `CancelNode`, and the requirements of this function.
        unsafe {
            let result = match (*(*node).call.get()).assume_init() {
                Some(call) => to_result(call((*(*node).kiocb.get()).assume_init())),
                None => Err(EINVAL),
            };
            bindings::list_del_init_careful((*node).links.get());
            result
        }
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
        // INVARIANT: The function and its argument are set while the lock is held.
        //
        // SAFETY: As above; the node is in no list.
        unsafe {
            node.list
                .store(core::ptr::from_ref(self).cast_mut(), Relaxed);
            (*node.call.get()).write(call);
            (*node.kiocb.get()).write(kiocb);
            bindings::list_add_tail(node.links.get(), self.head.get());
        }
    }

    /// Removes a node, if it is in the list.
    ///
    /// # Safety
    ///
    /// The lock of the list must be held, and the node be in this list or in none.
    pub(super) unsafe fn remove_locked(&self, node: &CancelNode) {
        // SAFETY: By the requirements of this function.
        unsafe { bindings::list_del_init_careful(node.links.get()) };
    }
}

#[pinned_drop]
impl PinnedDrop for CancelList {
    fn drop(self: Pin<&mut Self>) {
        let head = self.head.get();

        // SAFETY: Nobody else uses the list.
        if unsafe { (*head).next } != head {
            // The nodes would go on using the memory of the list.
            //
            // SAFETY: Does not return.
            unsafe { bindings::BUG() };
        }
    }
}

/// Reads and writes that drivers can make cancellable.
///
/// # Safety
///
/// There must be one implementation in the kernel: for the type that has all the `struct kiocb`
/// with the flag `IOCB_AIO_RW`. To be implemented by
/// [`kiocb_set_cancel_fn!`](crate::kiocb_set_cancel_fn), which defines a symbol of C's, so that a
/// second one does not link.
pub unsafe trait TheAioRw: CancellableRw {}

/// A read or write with a place in a list.
pub trait CancellableRw: HasAsyncKiocb {
    /// Returns the list and the place in it.
    ///
    /// The operation must remove itself from the list when it completes.
    fn cancellation(&self) -> (&CancelList, &CancelNode);
}

/// Implements [`HasAsyncKiocb`] and [`TheAioRw`] for a type, and `aio_set_cancel_fn()`, which C's
/// `kiocb_set_cancel_fn()` calls.
///
/// Operations of this type, and of no other, have the flag `IOCB_AIO_RW`.
#[macro_export]
macro_rules! kiocb_set_cancel_fn {
    (impl TheAioRw for $ty:ty { self.$($field:ident).+ }) => {
        // The flag is allowed for the one type that is `TheAioRw`.
        $crate::impl_has_async_kiocb!(
            @flags $crate::bindings::IOCB_AIO_RW as i32, $ty, $($field).+
        );

        // SAFETY: This defines `aio_set_cancel_fn()`, of which there can be only one.
        unsafe impl $crate::aio::cancel::TheAioRw for $ty {}

        const _: () = {
            // Both branches of an `if` have the same type.
            if true {
                $crate::bindings::aio_set_cancel_fn
            } else {
                aio_set_cancel_fn
            };
        };

        /// `kiocb_set_cancel_fn()`: who executes a read or write has a way to cancel it.
        ///
        /// # Safety
        ///
        /// To be called by who executes it, before it is complete.
        #[no_mangle]
        pub unsafe extern "C" fn aio_set_cancel_fn(
            kiocb: *mut $crate::bindings::kiocb,
            cancel: $crate::bindings::kiocb_cancel_fn,
        ) {
            // SAFETY: By the requirements of this function.
            unsafe { $crate::aio::cancel::set_cancel_fn::<$ty>(kiocb, cancel) };
        }
    };
}

/// Makes a read or write cancellable, unless it is none of AIO's.
///
/// # Safety
///
/// `kiocb` must be valid and its operation not complete. `cancel` must accept it until then.
#[doc(hidden)]
pub unsafe fn set_cancel_fn<T: TheAioRw>(
    kiocb: *mut bindings::kiocb,
    cancel: bindings::kiocb_cancel_fn,
) {
    // Nothing but the flags may be looked at before it is known whose this is.
    //
    // SAFETY: By the requirements of this function.
    if unsafe { (*kiocb).ki_flags } & bindings::IOCB_AIO_RW as i32 == 0 {
        return;
    }

    // SAFETY: By the requirements of `TheAioRw` and `HasAsyncKiocb`, this is in a `T`, which is
    // alive until the operation is complete.
    let this = unsafe { &*kiocb.byte_sub(T::OFFSET).cast::<T>() };
    let (list, node) = this.cancellation();

    if crate::warn_on!(node.is_linked()) {
        return;
    }
    let _guard = list.lock.lock();

    // SAFETY: The lock is held. The node is in no list, and by the requirements of `CancellableRw`
    // it leaves this one before the operation ends. The function accepts the argument by the
    // requirements of this function.
    unsafe { list.add_locked(node, kiocb, cancel) };
}
