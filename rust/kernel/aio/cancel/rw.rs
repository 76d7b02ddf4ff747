// SPDX-License-Identifier: GPL-2.0

//! Reads and writes that drivers can make cancellable.

use super::{
    CancelList,
    CancelNode, //
};
use crate::{
    bindings,
    fs::HasAsyncKiocb,
    prelude::*, //
};

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

        /// `kiocb_set_cancel_fn()`: the driver that executes a read or write has a way to cancel
        /// it.
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
            // SAFETY: The caller guarantees that `kiocb` is valid and its operation not complete,
            // and that `cancel` accepts it until then.
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

    // SAFETY: The flag says that this is the `AsyncKiocb` of a `T`, at `OFFSET`, see `TheAioRw`.
    // That is alive until the operation is complete; the caller guarantees that the operation is
    // not.
    let this = unsafe { &*kiocb.byte_sub(T::OFFSET).cast::<T>() };
    let (list, node) = (this.cancel_list(), this.node());

    if crate::warn_on!(node.is_linked()) {
        return;
    }
    // SAFETY: The guard lives until this returns; nothing else disables interrupts meanwhile.
    let _guard = unsafe { list.lock.lock() };

    // SAFETY: The lock of `list` is held. `node` is in no list, and leaves this one when the
    // operation has ended, see `TheAioRw`. The caller guarantees that `cancel` accepts `kiocb`
    // until then.
    unsafe { list.add_locked(node, kiocb, cancel) };
}

#[kunit_tests(rust_aio_cancel_rw)]
mod tests {
    use super::*;

    /// # Safety
    ///
    /// None.
    unsafe extern "C" fn nothing(_kiocb: *mut bindings::kiocb) -> i32 {
        0
    }

    /// CVE-2024-35815: any code that has a `struct kiocb` may call `kiocb_set_cancel_fn()`, and
    /// there is not always a request of AIO's around it.
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
                bindings::kiocb_set_cancel_fn(kiocb, Some(nothing));
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
