// SPDX-License-Identifier: GPL-2.0

//! Operations that know themselves how they are cancelled.

use super::{
    CancelList,
    CancelNode, //
};
use crate::{
    bindings,
    prelude::*, //
};
use core::ffi::c_int;

/// Types that have a [`CancelNode`] in them.
///
/// # Safety
///
/// `OFFSET` must be the offset of a field of this type, which is a `CancelNode`. To be implemented
/// with [`impl_has_cancel_node!`](crate::impl_has_cancel_node).
pub unsafe trait HasCancelNode {
    /// The offset of the field.
    const OFFSET: usize;
}

/// Implements [`HasCancelNode`] for a type with such a field.
#[macro_export]
macro_rules! impl_has_cancel_node {
    (
        impl $(<$param:ident: $bound:path>)? HasCancelNode for $self:ty { self.$($field:ident).+ }
    ) => {
        // SAFETY: The compiler computes the offset, and checks the type of the field below.
        unsafe impl $(<$param: $bound>)? $crate::aio::cancel::HasCancelNode for $self {
            const OFFSET: usize = {
                let _ = |this: &Self| -> *const $crate::aio::cancel::CancelNode {
                    &raw const this.$($field).+
                };

                ::core::mem::offset_of!(Self, $($field).+)
            };
        }
    };
}
pub use impl_has_cancel_node;

/// An operation that can be cancelled.
pub trait Cancellable: HasCancelNode + Sync + 'static {
    /// Begins to cancel the operation, which is out of the list then.
    ///
    /// Called at most once for each time that it is added, with the lock of the list held and
    /// interrupts disabled: so the operation does not end meanwhile if who ends it calls
    /// [`CancelList::leave()`] before.
    fn cancel(&self);
}

impl CancelList {
    /// Adds an operation, which is in no list.
    ///
    /// It must leave the list with [`leave()`](Self::leave) before it goes: otherwise the kernel
    /// stops. One that is in a list already stays there.
    ///
    /// May be called in any context.
    pub fn enter<T: Cancellable>(&self, operation: Pin<&T>) {
        let ptr = core::ptr::from_ref::<T>(operation.get_ref());
        // SAFETY: `OFFSET` is that of a `CancelNode` in a `T`, see `HasCancelNode`.
        let node = unsafe { &*ptr.byte_add(T::OFFSET).cast::<CancelNode>() };
        // SAFETY: The guard lives until this returns; nothing else disables interrupts meanwhile.
        let _guard = unsafe { self.lock.lock() };

        if node.is_linked() {
            return;
        }
        // SAFETY: The lock is held, and the node in no list. It is pinned, and does not go without
        // leaving the list, which its destructor checks. Until then `call` may use the operation.
        unsafe { self.add_locked(node, ptr.cast_mut().cast(), Some(call::<T>)) };
    }

    /// Takes an operation out, if it is in this list.
    ///
    /// When this returns, nobody is cancelling it. Returns whether it was not cancelled. May be
    /// called in any context.
    pub fn leave<T: Cancellable>(&self, operation: &T) -> bool {
        // SAFETY: `OFFSET` is that of a `CancelNode` in a `T`, see `HasCancelNode`.
        let node = unsafe {
            &*core::ptr::from_ref(operation)
                .byte_add(T::OFFSET)
                .cast::<CancelNode>()
        };

        // The lock is held already if the function of another operation ends this one.
        self.remove_linked(node).is_some()
    }

    /// Calls `f` while nobody can be cancelled.
    ///
    /// Interrupts are disabled meanwhile. May be called in any context.
    pub fn hold<R: Send>(&self, f: impl FnOnce() -> R + Send) -> R {
        // SAFETY: The guard lives until this returns. As `f` and what it returns are `Send`, all
        // that disables interrupts in it ends in it, and nothing that was there before does.
        let _guard = unsafe { self.lock.lock() };

        f()
    }
}

/// Cancels an operation.
///
/// # Safety
///
/// To be called with what [`CancelList::enter()`] has passed, with the lock of the list held that
/// the operation is in.
unsafe extern "C" fn call<T: Cancellable>(operation: *mut bindings::kiocb) -> c_int {
    // SAFETY: The caller passes a pointer to the `T` that is in the list, and so valid.
    unsafe { &*operation.cast_const().cast::<T>() }.cancel();
    0
}
