// SPDX-License-Identifier: GPL-2.0

//! The work item of an operation, which completes it or asks the file, and cancelling.

use super::{
    AsyncPoll,
    LockedQueue,
    PollOwner, //
};
use crate::{
    bindings,
    prelude::*,
    sync::atomic::Relaxed,
    types::Opaque, //
};
use core::ffi::c_int;

impl AsyncPoll {
    /// Sets the function of the work item.
    ///
    /// # Safety
    ///
    /// `this` must point to a valid operation, whose work item is not scheduled.
    #[inline]
    pub(super) unsafe fn init_work(
        this: *const Self,
        func: unsafe extern "C" fn(*mut bindings::work_struct),
    ) {
        // Each crate has its own copy of this function, but lockdep wants one name for one key.
        static NAME: &CStr = c"kernel::aio::poll";

        // SAFETY: The caller guarantees that `this` points to a valid operation, in which this
        // stays.
        let work = Opaque::cast_into(unsafe { &raw const (*this).work });
        let key = crate::static_lock_class!().as_ptr();

        // SAFETY: The caller guarantees that the work item of `this` is not scheduled; name and key
        // are static.
        unsafe { bindings::init_work_with_key(work, Some(func), false, NAME.as_char_ptr(), key) };
    }

    /// Schedules the work item, to which the reference of the entry goes over.
    ///
    /// # Safety
    ///
    /// `this` must point to a valid operation, made from a pointer to all of its owner. The work
    /// item must be initialised and not scheduled, and the operation stay until it has run.
    pub(super) unsafe fn schedule(this: *const Self) {
        // SAFETY: The caller guarantees that `this` points to a valid operation, in which this
        // stays.
        let work = Opaque::cast_into(unsafe { &raw const (*this).work });
        let cpu = bindings::wq_misc_consts_WORK_CPU_UNBOUND as c_int;

        // SAFETY: The caller guarantees that `work` is initialised and not scheduled, and that its
        // operation stays until it has run. The queue is there since early in the boot.
        unsafe { bindings::queue_work_on(cpu, bindings::system_percpu_wq, work) };
    }

    /// An operation that could not complete inline completes.
    ///
    /// # Safety
    ///
    /// To be called by the work queue; the reference of the entry belongs to this function.
    pub(super) unsafe extern "C" fn complete_work<T: PollOwner>(work: *mut bindings::work_struct) {
        // SAFETY: The caller passes what `schedule()` has queued: the work item in an operation.
        let this: *const Self =
            unsafe { crate::container_of!(Opaque::cast_from(work), Self, work) };
        // SAFETY: The reference of the entry, which is this function's, keeps the operation.
        let mask = unsafe { (*this).result.load(Relaxed) };

        // SAFETY: The operation is in a `T`, and the reference this function's.
        unsafe { Self::complete::<T>(this, mask) };
    }

    /// Asks a signalfd, whose answer depends on who asks, in the place of the thread that has
    /// submitted the operation, or if that is gone, of its process.
    ///
    /// Its wake-ups don't tell what they are about, and it looks at the signals of the current
    /// task. To be called by the work item.
    #[cfg(CONFIG_SIGNALFD)]
    #[cold]
    fn ask_signalfd(&self) -> bindings::__poll_t {
        // SAFETY: The work item was scheduled, so the operation has been started and has not ended.
        let [thread, process] = unsafe { (*self.submitter.get()).assume_init() };
        let head = self.head.load(Relaxed);
        // SAFETY: The file is valid. The queue is only compared, and any number will do.
        let ask = |nr| unsafe { bindings::signalfd_poll_thread(self.file.as_ptr(), head, nr) };
        let found = match ask(thread) {
            // The first thread of a process stays until all are gone.
            gone if gone < 0 => ask(process),
            found => found,
        };

        if found > 0 {
            bindings::POLLIN & self.events
        } else {
            0
        }
    }

    /// An operation was woken: ask the file whether it is ready.
    ///
    /// # Safety
    ///
    /// To be called by the work queue; the reference of the entry belongs to this function if it
    /// completes the operation.
    pub(super) unsafe extern "C" fn work<T: PollOwner>(work: *mut bindings::work_struct) {
        // SAFETY: The caller passes what `schedule()` has queued: the work item in an operation.
        let this: *const Self =
            unsafe { crate::container_of!(Opaque::cast_from(work), Self, work) };
        // SAFETY: The operation is alive until it is completed, which is left to this function
        // since the work item was scheduled.
        let poll = unsafe { &*this };
        let list = poll.list();
        let mut mask = 0;

        if !poll.cancelled.load(Relaxed) {
            mask = poll.ask();
            #[cfg(CONFIG_SIGNALFD)]
            if mask == 0 {
                mask = poll.ask_signalfd();
            }
        }

        // The task that cancels the operation has this lock, and uses the operation until it is
        // released.
        //
        // SAFETY: The guard lives until this returns, or is dropped below before the operation
        // ends. The lock of the queue, which is dropped before, does not change whether there are
        // interrupts.
        let guard = unsafe { list.lock.lock() };

        if let Some(queue) = LockedQueue::lock(poll) {
            if mask == 0 && !poll.cancelled.load(Relaxed) {
                // It is not ready after all. The entry is still in the queue.
                let wakeups = queue.wakeups();

                if wakeups.again.get() {
                    wakeups.again.set(false);
                    // SAFETY: The work item runs, so it is not scheduled. The entry in the queue
                    // keeps the operation until it has run.
                    unsafe { Self::schedule(this) };
                } else {
                    wakeups.scheduled.set(false);
                }
                return;
            }
            queue.remove_entry();
        }
        // SAFETY: The lock is held, and the node is in this list or in none.
        unsafe { list.remove_locked(&poll.node) };
        drop(guard);

        // SAFETY: The operation is in a `T`. The entry is in no queue, so its reference is ours.
        unsafe { Self::complete::<T>(this, mask) };
    }

    /// Cancels an operation: it completes soon.
    ///
    /// # Safety
    ///
    /// To be called with the lock of the list held that the operation is in, and with what it was
    /// put there with.
    pub(super) unsafe extern "C" fn cancel(kiocb: *mut bindings::kiocb) -> c_int {
        let this: *const Self = kiocb.cast();
        // SAFETY: The operation was put into the list with a pointer to itself. It leaves the list
        // before it ends, for which the lock is taken that the caller holds.
        let poll = unsafe { &*this };

        // Otherwise the queue has gone away, and the work item is scheduled already.
        if let Some(queue) = LockedQueue::lock(poll) {
            poll.cancelled.store(true, Relaxed);
            if !queue.wakeups().scheduled.get() {
                queue.wakeups().scheduled.set(true);
                // SAFETY: The work item was initialised by `start()` and is not scheduled. The
                // entry in the queue keeps the operation until it has run.
                unsafe { Self::schedule(this) };
            }
        }
        0
    }
}
