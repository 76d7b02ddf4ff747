// SPDX-License-Identifier: GPL-2.0

//! Waiting until a number of things have happened elsewhere, without allocating memory.
//!
//! C header: [`include/linux/completion.h`](srctree/include/linux/completion.h)

use crate::{
    bindings,
    prelude::*,
    sync::Refcount,
    types::Opaque, //
};
use core::ptr::NonNull;

/// Counts the [`WaitToken`]s that are left.
#[pin_data]
pub struct WaitGroup {
    left: Refcount,
    #[pin]
    done: Opaque<bindings::completion>,
}

// SAFETY: The count is atomic and the completion synchronises itself.
unsafe impl Sync for WaitGroup {}

impl WaitGroup {
    /// Calls `f` with a new group, then waits until all tokens of the group are dropped.
    ///
    /// The wait is uninterruptible. The group lives on the caller's stack, so this works where no
    /// memory may be allocated. Must be called in a context that may sleep.
    ///
    /// # Examples
    ///
    /// ```
    /// use kernel::sync::WaitGroup;
    ///
    /// let mut tokens = KVec::new();
    /// let n = WaitGroup::scope(|group| {
    ///     for _ in 0..3 {
    ///         tokens.push(group.token(), GFP_KERNEL)?;
    ///     }
    ///     let n = tokens.len();
    ///     // Usually somebody else does this, and later.
    ///     tokens.clear();
    ///     Ok::<_, Error>(n)
    /// })?;
    /// assert_eq!(n, 3);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn scope<R>(f: impl FnOnce(&WaitGroup) -> R) -> R {
        pin_init::stack_pin_init!(let group = pin_init!(WaitGroup {
            left: Refcount::new(1),
            done <- Opaque::ffi_init(|slot| {
                // SAFETY: `slot` is valid for writes.
                unsafe { bindings::init_completion(slot) }
            }),
        }));

        let result = f(&group);

        // The first count is this function's.
        if !group.left.dec_and_test() {
            // SAFETY: The completion was initialised above.
            unsafe { bindings::wait_for_completion(group.done.get()) };
        }
        result
    }

    /// Returns a token; [`scope()`](Self::scope) doesn't return before it is dropped.
    pub fn token(&self) -> WaitToken {
        self.left.inc();

        // INVARIANT: The count was just taken.
        WaitToken {
            group: NonNull::from(self),
        }
    }
}

/// Something that somebody waits for the end of.
///
/// May be dropped in any context.
///
/// # Invariants
///
/// `group` is valid: it has a count that belongs to this value, and [`WaitGroup::scope()`] waits
/// for it.
#[must_use = "the token counts as done when it is dropped"]
pub struct WaitToken {
    group: NonNull<WaitGroup>,
}

// SAFETY: `WaitGroup` is `Sync`.
unsafe impl Send for WaitToken {}

// SAFETY: A shared token gives access to nothing.
unsafe impl Sync for WaitToken {}

impl Drop for WaitToken {
    fn drop(&mut self) {
        // SAFETY: By the type invariants.
        let group = unsafe { self.group.as_ref() };

        if group.left.dec_and_test() {
            // SAFETY: `scope()` returns only after this call has signalled the completion, and
            // `complete()` does not touch it afterwards: waking is done under its lock.
            unsafe { bindings::complete(group.done.get()) };
        }
    }
}
