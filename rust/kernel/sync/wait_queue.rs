// SPDX-License-Identifier: GPL-2.0

//! Tasks that wait until there is something to do, of which one is woken for each thing.
//!
//! [`CondVar`](crate::sync::CondVar) is made of the same C structure, but its waits unlock and lock
//! again a guard that the caller has. A [`SpinLockIrqSave`](crate::sync::SpinLockIrqSave) hands out
//! none to other crates, so here the caller passes a condition, which takes what locks it needs.
//!
//! C header: [`include/linux/wait.h`](srctree/include/linux/wait.h)

use crate::{
    bindings,
    prelude::*,
    str::CStrExt,
    sync::LockClassKey,
    time::Jiffies,
    types::Opaque, //
};
use core::{
    ffi::c_int,
    mem::MaybeUninit,
    ptr::null_mut, //
};

/// Creates a [`WaitQueue`] initialiser with a newly-created lock class.
#[macro_export]
macro_rules! new_wait_queue {
    ($name:literal) => {
        $crate::sync::WaitQueue::new($crate::c_str!($name), $crate::static_lock_class!())
    };
}
pub use new_wait_queue;

/// A queue of waiting tasks.
///
/// Unlike with [`CondVar`](crate::sync::CondVar), no lock belongs to it: a waiter passes its
/// condition, a closure that takes the locks it needs; and tasks may be woken in any context, with
/// any lock held.
///
/// # Examples
///
/// ```
/// use kernel::sync::{new_wait_queue, WaitQueue};
/// use pin_init::stack_pin_init;
///
/// stack_pin_init!(let queue = new_wait_queue!("doctest::queue"));
///
/// // There is something to do already.
/// assert_ne!(queue.wait_interruptible(10, || true), 0);
/// // Nobody waits.
/// queue.wake_one();
/// ```
#[pin_data]
pub struct WaitQueue {
    #[pin]
    head: Opaque<bindings::wait_queue_head>,
}

// SAFETY: All accesses are made by C's functions, which take the lock of the queue.
unsafe impl Sync for WaitQueue {}

// SAFETY: The queue belongs to no thread; it is pinned.
unsafe impl Send for WaitQueue {}

impl WaitQueue {
    /// Initialises an empty queue.
    pub fn new(name: &'static CStr, key: Pin<&'static LockClassKey>) -> impl PinInit<Self> {
        pin_init!(Self {
            head <- Opaque::ffi_init(move |slot| {
                // SAFETY: `slot` is valid for writes; name and key are static.
                unsafe { bindings::__init_waitqueue_head(slot, name.as_char_ptr(), key.as_ptr()) }
            }),
        })
    }

    /// Wakes the task that waits longest.
    ///
    /// May be called in any context. The task that is woken sees what was done before.
    #[doc(alias = "wake_up")]
    pub fn wake_one(&self) {
        // SAFETY: The queue is initialised.
        unsafe { bindings::__wake_up(self.head.get(), bindings::TASK_NORMAL, 1, null_mut()) };
    }

    /// Wakes all tasks.
    ///
    /// May be called in any context.
    #[doc(alias = "wake_up_all")]
    pub fn wake_all(&self) {
        // SAFETY: The queue is initialised.
        unsafe { bindings::__wake_up(self.head.get(), bindings::TASK_NORMAL, 0, null_mut()) };
    }

    /// Waits until `ready` returns true, a signal is pending, or `timeout` is over; returns what is
    /// left of that, and 0 if it is over.
    ///
    /// A task that was woken may find that another one was faster; then it goes on waiting. One
    /// that gives up has to wake another, if there is something to do. `ready` must not sleep.
    ///
    /// May sleep.
    pub fn wait_interruptible(&self, timeout: Jiffies, mut ready: impl FnMut() -> bool) -> Jiffies {
        let mut entry = MaybeUninit::<bindings::wait_queue_entry>::uninit();
        let (head, entry) = (self.head.get(), entry.as_mut_ptr());
        let mut left = timeout as isize;

        // SAFETY: The entry is valid for writes.
        unsafe { bindings::init_wait_entry(entry, 0) };
        loop {
            // SAFETY: The queue and the entry are initialised; the latter is removed below.
            unsafe {
                bindings::prepare_to_wait_exclusive(
                    head,
                    entry,
                    bindings::TASK_INTERRUPTIBLE as c_int,
                )
            };
            if ready() || left == 0 || crate::current!().signal_pending() {
                break;
            }
            // SAFETY: May be called by any task.
            left = unsafe { bindings::schedule_timeout(left) };
        }
        // SAFETY: This is the queue that the entry is in, if it is in one.
        unsafe { bindings::finish_wait(head, entry) };
        left as Jiffies
    }
}
