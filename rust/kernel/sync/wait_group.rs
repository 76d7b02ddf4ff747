// SPDX-License-Identifier: GPL-2.0

//! Waiting until a number of things have happened elsewhere, without allocating memory.
//!
//! C header: [`include/linux/completion.h`](srctree/include/linux/completion.h)

use crate::{
    prelude::*,
    sync::{
        atomic::Relaxed,
        Completion,
        Refcount, //
    },
    task::cond_resched,
    time::{
        delay::fsleep,
        Delta, //
    },
};
use core::ptr::NonNull;

/// Counts the [`WaitToken`]s that are left.
#[pin_data]
pub struct WaitGroup {
    left: Refcount,
    #[pin]
    done: Completion,
}

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
        Self::scope_with_wait(f, Completion::wait_for_completion)
    }

    /// The same, but the task may be frozen while it waits, as in a suspend. No lock may be held.
    ///
    /// # Examples
    ///
    /// ```
    /// use kernel::sync::WaitGroup;
    ///
    /// assert_eq!(WaitGroup::freezable_scope(|group| drop(group.token())), ());
    /// ```
    #[doc(alias = "TASK_FREEZABLE")]
    pub fn freezable_scope<R>(f: impl FnOnce(&WaitGroup) -> R) -> R {
        Self::scope_with_wait(f, Completion::wait_for_completion_freezable)
    }

    fn scope_with_wait<R>(f: impl FnOnce(&WaitGroup) -> R, wait: impl FnOnce(&Completion)) -> R {
        pin_init::stack_pin_init!(let group = pin_init!(WaitGroup {
            left: Refcount::new(1),
            done <- Completion::new(),
        }));

        let result = f(&group);

        // The first count is this function's.
        if !group.left.dec_and_test() {
            wait(&group.done);
        }
        result
    }

    /// The same, but as long as there are tokens, `work` is called, which may help them to be
    /// dropped.
    ///
    /// It returns whether it was of any use. If not, the task sleeps for a short time.
    pub fn scope_and_work<R>(f: impl FnOnce(&WaitGroup) -> R, mut work: impl FnMut() -> bool) -> R {
        Self::scope(|group| {
            let result = f(group);

            // One is that of `scope()`, which waits for the others.
            while group.left.as_atomic().load(Relaxed) > 1 {
                if !work() {
                    fsleep(Delta::from_millis(1));
                }
                cond_resched();
            }
            result
        })
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
        // SAFETY: By the type invariants the group is valid until this count is given up.
        let group = unsafe { self.group.as_ref() };

        if group.left.dec_and_test() {
            // `scope()` returns only after this, and this does not touch the group after that:
            // waking is done under the lock of the completion, which `scope()` takes, too.
            group.done.complete_all();
        }
    }
}
