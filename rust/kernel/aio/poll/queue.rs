// SPDX-License-Identifier: GPL-2.0

//! The wait queue of an operation: the entry in it, and what happens when it is woken.

use super::{
    AsyncPoll,
    PollOwner, //
};
use crate::{
    bindings,
    error::{
        code::EINVAL,
        Error, //
    },
    sync::{
        atomic::{
            Acquire,
            Relaxed,
            Release, //
        },
        rcu, //
    },
    types::Opaque, //
};
use core::{
    cell::Cell,
    ffi::{
        c_int,
        c_uint,
        c_void, //
    },
    ptr::null_mut, //
};

/// What the wake-ups have led to.
pub(super) struct Wakeups {
    /// The work item was scheduled.
    pub(super) scheduled: Cell<bool>,
    /// There was another wake-up since.
    pub(super) again: Cell<bool>,
}

impl Wakeups {
    #[inline]
    pub(super) fn new() -> Self {
        Self {
            scheduled: Cell::new(false),
            again: Cell::new(false),
        }
    }
}

/// The wait queue of an operation, whose entry is in it: the lock is held, and RCU read-locked.
pub(super) struct LockedQueue<'a> {
    poll: &'a AsyncPoll,
    head: *mut bindings::wait_queue_head,
    // Dropped last: when the queue is unlocked, only RCU may keep it.
    _rcu: rcu::Guard,
}

impl<'a> LockedQueue<'a> {
    /// Locks the queue, unless the entry was removed from it.
    ///
    /// To be called with interrupts disabled.
    #[inline(always)]
    pub(super) fn lock(poll: &'a AsyncPoll) -> Option<Self> {
        let rcu = rcu::read_lock();
        // Pairs with the release in `leave_queue()`.
        let head = poll.head.load(Acquire);

        if head.is_null() {
            return None;
        }
        // SAFETY: By the type invariants of `AsyncPoll` a queue that `head` names stays for a grace
        // period; RCU was read-locked before.
        unsafe { bindings::spin_lock(&raw mut (*head).lock) };

        let queue = Self {
            poll,
            head,
            _rcu: rcu,
        };
        // Dropping it unlocks the queue.
        queue.has_entry().then_some(queue)
    }

    #[inline]
    fn has_entry(&self) -> bool {
        let links = self.poll.links();

        // SAFETY: The entry is initialised, and the lock held.
        !core::ptr::eq(unsafe { (*links).next }, links)
    }

    /// Removes the entry.
    #[inline]
    pub(super) fn remove_entry(&self) {
        // SAFETY: The lock of the queue that the entry is in is held.
        unsafe { self.poll.leave_queue() };
    }

    /// Returns what belongs to the holder of the lock.
    #[inline]
    pub(super) fn wakeups(&self) -> &Wakeups {
        // SAFETY: The lock is held, for as long as `self` is.
        unsafe { self.poll.wakeups() }
    }
}

impl Drop for LockedQueue<'_> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: The lock is held, and RCU keeps the queue.
        unsafe { bindings::spin_unlock(&raw mut (*self.head).lock) };
    }
}

/// What `vfs_poll()` hands to [`AsyncPoll::queue()`].
#[repr(C)]
pub(super) struct PollTable {
    table: bindings::poll_table_struct,
    /// The operation, which is valid as long as `vfs_poll()` is called with this.
    poll: *const AsyncPoll,
    /// The file has named a queue.
    pub(super) queued: bool,
    pub(super) error: Option<Error>,
}

impl PollTable {
    /// `poll` is the operation that waits for `events`.
    #[inline]
    pub(super) fn new(poll: *const AsyncPoll, events: bindings::__poll_t) -> Self {
        Self {
            table: bindings::poll_table_struct {
                _qproc: Some(AsyncPoll::queue),
                _key: events,
            },
            poll,
            queued: false,
            // What a file without a wait queue gets that is not ready.
            error: Some(EINVAL),
        }
    }
}

impl AsyncPoll {
    /// Returns what belongs to the holder of the lock of the wait queue.
    ///
    /// # Safety
    ///
    /// The lock must be held for as long as the reference is used.
    unsafe fn wakeups(&self) -> &Wakeups {
        // SAFETY: By the type invariants `wakeups` is accessed with the lock of the wait queue
        // held, which the caller holds for as long as the reference is used.
        unsafe { &*self.wakeups.get() }
    }

    #[inline]
    fn links(&self) -> *mut bindings::list_head {
        // SAFETY: This stays within the entry.
        unsafe { &raw mut (*self.entry.get()).entry }
    }

    /// Removes the entry from its queue, which may go away then: nobody told us that it does.
    ///
    /// # Safety
    ///
    /// The lock of the queue that the entry is in must be held.
    #[inline]
    unsafe fn leave_queue(&self) {
        // SAFETY: The caller holds the lock of the queue that the entry is in.
        unsafe { bindings::list_del_init(self.links()) };
        // A task that sees this may use the operation without the lock of the queue. Pairs with the
        // acquire in `LockedQueue::lock()`.
        self.head.store(null_mut(), Release);
    }

    /// Initialises the entry, which is in no queue.
    ///
    /// # Safety
    ///
    /// `this` must point to a valid operation that nobody else refers to.
    #[inline]
    pub(super) unsafe fn init_entry<T: PollOwner>(this: *const Self) {
        // SAFETY: The caller guarantees that `this` points to a valid operation, in which this
        // stays.
        let entry = Opaque::cast_into(unsafe { &raw const (*this).entry });

        // SAFETY: The caller guarantees that nobody else refers to the operation, and so to its
        // entry.
        unsafe { bindings::init_waitqueue_func_entry(entry, Some(Self::wake::<T>)) };
        // SAFETY: The caller guarantees that nobody else refers to the operation, and so to its
        // entry.
        unsafe { bindings::INIT_LIST_HEAD(&raw mut (*entry).entry) };
    }

    /// The file names a wait queue.
    ///
    /// # Safety
    ///
    /// To be called by `vfs_poll()` in [`start()`](Self::start), with its table.
    unsafe extern "C" fn queue(
        _file: *mut bindings::file,
        head: *mut bindings::wait_queue_head,
        table: *mut bindings::poll_table_struct,
    ) {
        // SAFETY: The caller hands on the pointer of `start()`, which is to a `PollTable` that
        // nobody else uses meanwhile.
        let table = unsafe { &mut *table.cast::<PollTable>() };

        if table.queued {
            // There would have to be an entry for each.
            table.error = Some(EINVAL);
            return;
        }
        table.queued = true;
        table.error = None;
        // INVARIANT: The entry is put into this queue.
        //
        // SAFETY: `start()` keeps the operation while it calls the file.
        unsafe { (*table.poll).head.store(head, Relaxed) };
        // The queue finds its way back from the entry to the operation, so this pointer is made
        // from one to the operation.
        //
        // SAFETY: `start()` keeps the operation; this stays within it.
        let entry = Opaque::cast_into(unsafe { &raw const (*table.poll).entry });

        // SAFETY: The file keeps its queue for now; the entry is initialised and in no queue.
        unsafe { bindings::add_wait_queue(head, entry) };
    }

    /// The queue is woken.
    ///
    /// # Safety
    ///
    /// To be called with the lock of the queue held that the entry of an operation is in.
    unsafe extern "C" fn wake<T: PollOwner>(
        entry: *mut bindings::wait_queue_entry,
        _mode: c_uint,
        _sync: c_int,
        key: *mut c_void,
    ) -> c_int {
        // SAFETY: The caller passes the entry of an operation, as it was put into the queue: a
        // pointer that was made from one to all of the operation.
        let this: *const Self =
            unsafe { crate::container_of!(Opaque::cast_from(entry), Self, entry) };
        // SAFETY: An entry that is in a queue has a reference of its operation.
        let poll = unsafe { &*this };
        // A plain wake-up says nothing about the events.
        let mask = key as usize as bindings::__poll_t;

        if mask != 0 && mask & poll.events == 0 {
            return 0;
        }

        // SAFETY: The caller holds the lock of the queue.
        let wakeups = unsafe { poll.wakeups() };

        if mask != 0 && !wakeups.scheduled.get() {
            let list = poll.list();

            // SAFETY: The guard is dropped below, before the operation ends. Interrupts are off all
            // the time: the caller has the lock of the queue.
            if let Some(guard) = unsafe { list.lock.try_lock() } {
                // From here on the reference of the entry is this function's, and the queue may go
                // away before the submitter looks whether the entry is in it.
                //
                // SAFETY: The caller holds the lock of the queue that the entry is in.
                unsafe { poll.leave_queue() };
                // SAFETY: The lock of the list is held; the node is in no other.
                unsafe { list.remove_locked(&poll.node) };
                // SAFETY: The operation is in a `T`, and its reference is this function's.
                if unsafe { Self::owner::<T>(this) }.must_not_complete_inline() {
                    poll.result.store(mask, Relaxed);
                    // SAFETY: The operation is valid, and its work item not scheduled.
                    unsafe { Self::init_work(this, Self::complete_work::<T>) };
                    // The list may be a part of what the work item frees.
                    drop(guard);
                    // SAFETY: The work item was just initialised, and gets the reference.
                    unsafe { Self::schedule(this) };
                } else {
                    drop(guard);
                    // SAFETY: The operation is in a `T`, and its reference is this function's.
                    unsafe { Self::complete::<T>(this, mask) };
                }
                return 1;
            }
        }

        // Leave it to the work item. The entry stays in the queue, since the file may turn out not
        // to be ready, and no wake-up must be missed.
        if wakeups.scheduled.get() {
            wakeups.again.set(true);
        } else {
            wakeups.scheduled.set(true);
            // SAFETY: The work item was initialised by `start()` and is not scheduled; it shares
            // the reference of the entry until it has removed that from the queue.
            unsafe { Self::schedule(this) };
        }

        if mask & bindings::POLLFREE != 0 {
            // The queue goes away, and the work item must not touch it any longer.
            poll.cancelled.store(true, Relaxed);
            // The last touch: as soon as this is seen, the work item completes the operation
            // without the lock of the queue.
            //
            // SAFETY: The caller holds the lock of the queue that the entry is in.
            unsafe { poll.leave_queue() };
        }
        1
    }
}
