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
    static_lock_class,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
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

mod operation;
pub use self::operation::{
    impl_has_cancel_node,
    Cancellable,
    HasCancelNode, //
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

// SAFETY: By the type invariants the list is accessed with the lock held, whoever does it.
unsafe impl Sync for CancelList {}

// SAFETY: The list belongs to no thread; it is pinned, so that its nodes find it where it is.
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

// SAFETY: By the type invariants `links`, `call` and `kiocb` are accessed with the lock of the list
// held, except that anybody may look whether `links` is in a list, which C allows.
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
        // SAFETY: The caller guarantees that `this` points to a valid node.
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
        })
    }

    /// Removes a node whose operation is complete, if it is still in this list.
    ///
    /// When this returns, nobody is cancelling the operation. May be called in any context.
    #[cold]
    fn remove_linked(&self, node: &CancelNode) {
        let _guard = self.lock.lock();

        // Whoever has cancelled it may have removed it meanwhile.
        if core::ptr::eq(node.list(), self) {
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

            // SAFETY: A node that is in the list is valid while the lock is held.
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
        // SAFETY: The caller guarantees that the node is in the list, and so valid.
        let node = unsafe { &*node };
        // SAFETY: The caller holds the lock, and `call` of a node in a list is set.
        let call = unsafe { (*node.call.get()).assume_init() };
        // SAFETY: The caller holds the lock, and `kiocb` of a node in a list is set.
        let kiocb = unsafe { (*node.kiocb.get()).assume_init() };

        let result = match call {
            // SAFETY: By the type invariants the function accepts this argument as long as the node
            // is in the list, where the lock keeps it.
            Some(call) => to_result(unsafe { call(kiocb) }),
            None => Err(EINVAL),
        };
        // SAFETY: The caller holds the lock of the list that the node is in.
        unsafe { bindings::list_del_init_careful(node.links.get()) };
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
/// * There must be one implementation in the kernel: for the type that has all the `struct kiocb`
///   with the flag `IOCB_AIO_RW`. To be implemented by
///   [`kiocb_set_cancel_fn!`](crate::kiocb_set_cancel_fn), which defines a symbol of C's, so that a
///   second one does not link.
/// * `node()` must return a field of the operation, always the same, and
///   [`HasAsyncKiocb::ended()`] call [`ended()`].
pub unsafe trait TheAioRw: CancellableRw + HasAsyncKiocb + 'static {
    /// Returns the operation's place in a list.
    #[doc(hidden)]
    fn node(&self) -> &CancelNode;
}

/// A read or write that can be in a list.
pub trait CancellableRw {
    /// Returns the list in which the operation can be found in order to cancel it.
    ///
    /// Called when a driver makes the operation cancellable.
    fn cancel_list(&self) -> &CancelList;
}

/// An operation has ended: it leaves the list, if it is in one.
#[doc(hidden)]
#[inline(always)]
pub fn ended<T: TheAioRw>(operation: &T) {
    let node = operation.node();

    if node.is_linked() {
        // SAFETY: The list was borrowed from the operation, which is shared still.
        unsafe { &*node.list() }.remove_linked(node);
    }
}

/// Implements [`HasAsyncKiocb`] and [`TheAioRw`] for a type with such fields, an
/// [`AsyncKiocb`](crate::fs::AsyncKiocb) and a [`CancelNode`], and `aio_set_cancel_fn()`, which C's
/// `kiocb_set_cancel_fn()` calls.
///
/// Operations of this type, and of no other, have the flag `IOCB_AIO_RW`. They leave the list when
/// they have ended, before [`AsyncRw::complete()`](crate::fs::AsyncRw::complete) is called, or
/// [`AsyncKiocb::issue()`](crate::fs::AsyncKiocb::issue) returns.
#[macro_export]
macro_rules! kiocb_set_cancel_fn {
    (impl TheAioRw for $ty:ty { self.$($kiocb:ident).+, self.$($node:ident).+ }) => {
        #[cfg(MODULE)]
        compile_error!("C calls the kernel's aio_set_cancel_fn(), not that of a module");

        // SAFETY: The compiler computes the offset, and checks the type of the field below. The
        // flag is allowed for the one type that is `TheAioRw`.
        unsafe impl $crate::fs::HasAsyncKiocb for $ty {
            const OFFSET: usize = {
                let _ = |this: &Self| -> *const $crate::fs::AsyncKiocb { &this.$($kiocb).+ };

                ::core::mem::offset_of!(Self, $($kiocb).+)
            };
            const FLAGS: i32 = $crate::bindings::IOCB_AIO_RW as i32;
            const MAY_POLL: bool = false;

            #[inline(always)]
            fn ended(&self) {
                $crate::aio::cancel::ended(self);
            }
        }

        // SAFETY: This defines `aio_set_cancel_fn()`, of which there can be only one. The node is a
        // field of the operation: what is behind a pointer has no offset, and a field of another
        // type, which could be dereferenced to a node, does not compile below.
        unsafe impl $crate::aio::cancel::TheAioRw for $ty {
            #[inline]
            fn node(&self) -> &$crate::aio::cancel::CancelNode {
                const _: usize = ::core::mem::offset_of!($ty, $($node).+);
                // A raw pointer is not converted by way of `Deref`.
                let _ = |this: &Self| -> *const $crate::aio::cancel::CancelNode {
                    &raw const this.$($node).+
                };

                &self.$($node).+
            }
        }

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
        /// `kiocb` must be valid and its operation not complete. `cancel` must accept it until
        /// then.
        #[no_mangle]
        pub unsafe extern "C" fn aio_set_cancel_fn(
            kiocb: *mut $crate::bindings::kiocb,
            cancel: $crate::bindings::kiocb_cancel_fn,
        ) {
            // SAFETY: The caller guarantees what this function wants, which is the same.
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
    // SAFETY: The caller guarantees that `kiocb` is valid.
    if unsafe { (*kiocb).ki_flags } & bindings::IOCB_AIO_RW as i32 == 0 {
        return;
    }

    // SAFETY: The flag says that this is the `AsyncKiocb` of a `T`, at `OFFSET`, see `TheAioRw`. It
    // is alive until the operation is complete, which it is not, as the caller guarantees.
    let this = unsafe { &*kiocb.byte_sub(T::OFFSET).cast::<T>() };
    let (list, node) = (this.cancel_list(), this.node());

    if crate::warn_on!(node.is_linked()) {
        return;
    }
    let _guard = list.lock.lock();

    // SAFETY: The lock is held. The node is in no list, and leaves this one when the operation has
    // ended, see `TheAioRw`. The caller guarantees that the function accepts the argument until
    // then.
    unsafe { list.add_locked(node, kiocb, cancel) };
}

#[kunit_tests(rust_aio_cancel)]
mod tests {
    use super::*;
    use pin_init::stack_pin_init;

    static CALLS: Atomic<u32> = Atomic::new(0);

    /// # Safety
    ///
    /// None.
    unsafe extern "C" fn count(_kiocb: *mut bindings::kiocb) -> i32 {
        CALLS.fetch_add(1, Relaxed);
        0
    }

    /// # Safety
    ///
    /// None.
    unsafe extern "C" fn refuse(_kiocb: *mut bindings::kiocb) -> i32 {
        EBUSY.to_errno()
    }

    /// Makes an operation cancellable by a function that does not use its argument.
    fn add(list: &CancelList, node: &CancelNode, call: bindings::kiocb_cancel_fn) {
        let _guard = list.lock.lock();

        // SAFETY: The lock is held. The tests remove their nodes, which are new.
        unsafe { list.add_locked(node, null_mut(), call) };
    }

    /// Calls of `count()` during `f`.
    fn calls(f: impl FnOnce()) -> u32 {
        let before = CALLS.load(Relaxed);

        f();
        CALLS.load(Relaxed) - before
    }

    #[test]
    fn cancelled_by_name_and_once() {
        stack_pin_init!(let list = CancelList::new());
        stack_pin_init!(let one = CancelNode::new(1));
        stack_pin_init!(let two = CancelNode::new(2));

        assert_eq!(list.cancel(1), Err(EINVAL));
        add(&list, &one, Some(count));
        add(&list, &two, Some(count));
        assert!(one.is_linked() && two.is_linked());
        assert_eq!(calls(|| assert_eq!(list.cancel(3), Err(EINVAL))), 0);
        assert_eq!(calls(|| assert_eq!(list.cancel(2), Ok(()))), 1);
        assert!(one.is_linked() && !two.is_linked());
        assert_eq!(calls(|| assert_eq!(list.cancel(2), Err(EINVAL))), 0);
        list.remove_linked(&one);
        // It may be in no list by then.
        list.remove_linked(&one);
        assert!(!one.is_linked());
        assert_eq!(calls(|| assert_eq!(list.cancel(1), Err(EINVAL))), 0);
    }

    #[test]
    fn the_oldest_of_one_name() {
        stack_pin_init!(let list = CancelList::new());
        stack_pin_init!(let first = CancelNode::new(1));
        stack_pin_init!(let second = CancelNode::new(1));

        add(&list, &first, Some(count));
        add(&list, &second, Some(count));
        assert_eq!(list.cancel(1), Ok(()));
        assert!(!first.is_linked() && second.is_linked());
        assert_eq!(list.cancel(1), Ok(()));
        assert!(!second.is_linked());
    }

    #[test]
    fn errors_are_told_and_final() {
        stack_pin_init!(let list = CancelList::new());
        stack_pin_init!(let one = CancelNode::new(1));
        stack_pin_init!(let two = CancelNode::new(2));

        add(&list, &one, Some(refuse));
        add(&list, &two, None);
        assert_eq!(list.cancel(1), Err(EBUSY));
        assert_eq!(list.cancel(1), Err(EINVAL));
        assert_eq!(list.cancel(2), Err(EINVAL));
        assert!(!one.is_linked() && !two.is_linked());
    }

    #[test]
    fn all_are_cancelled() {
        stack_pin_init!(let list = CancelList::new());
        stack_pin_init!(let one = CancelNode::new(1));
        stack_pin_init!(let two = CancelNode::new(1));
        stack_pin_init!(let three = CancelNode::new(3));

        add(&list, &one, Some(count));
        add(&list, &two, Some(refuse));
        add(&list, &three, Some(count));
        assert_eq!(calls(|| list.cancel_all()), 2);
        assert!(!one.is_linked() && !two.is_linked() && !three.is_linked());
        assert_eq!(calls(|| list.cancel_all()), 0);
    }

    /// CVE-2024-35815: whoever has a `struct kiocb` may call `kiocb_set_cancel_fn()`, and there is
    /// not always a request of AIO's around it.
    #[test]
    fn a_kiocb_of_somebody_else() -> Result {
        const AROUND: usize = 512;

        // SAFETY: May be called by anybody.
        let warned = || unsafe { bindings::test_taint(bindings::TAINT_WARN) };
        let before = warned();

        // What lies around it would be taken for pointers.
        let mut memory = KBox::new([0xffu8; 2 * AROUND], GFP_KERNEL)?;
        let kiocb = memory[AROUND..].as_mut_ptr().cast::<bindings::kiocb>();

        for flags in [0, !(bindings::IOCB_AIO_RW as i32)] {
            // SAFETY: There is room for the structure, and `AROUND` is a multiple of its alignment.
            // The function does not use it.
            let after = unsafe {
                kiocb.write(bindings::kiocb {
                    ki_flags: flags,
                    ..pin_init::zeroed()
                });
                bindings::kiocb_set_cancel_fn(kiocb, Some(count));
                kiocb.read()
            };

            assert_eq!(after.ki_flags, flags);
            assert!(after.private.is_null() && after.ki_filp.is_null());
        }

        let end = AROUND + size_of::<bindings::kiocb>();

        // What is around it would look like a request that can be cancelled already.
        assert_eq!(warned(), before);
        assert!(memory[..AROUND].iter().all(|byte| *byte == 0xff));
        assert!(memory[end..].iter().all(|byte| *byte == 0xff));
        Ok(())
    }
}
