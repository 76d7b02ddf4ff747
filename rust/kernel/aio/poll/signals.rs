// SPDX-License-Identifier: GPL-2.0

//! Waiting for a signalfd, whose answer depends on who asks.
//!
//! The file looks at the signals of the current task, and its wake-ups don't tell what they are
//! about. So the work item, which asks again, has to say for whom it does: for the thread that has
//! submitted the operation, or if that is gone, for its process.
//!
//! C header: [`include/linux/signalfd.h`](srctree/include/linux/signalfd.h)

use super::{
    AsyncPoll,
    LockedQueue, //
};
use crate::{
    bindings,
    sync::atomic::Relaxed, //
};
use core::ptr::eq;

impl AsyncPoll {
    /// Returns whether the wait queue is that of the signals of the current task.
    #[inline]
    pub(super) fn waits_for_signals(&self) -> bool {
        // SAFETY: May be called by any task.
        eq(self.head.load(Relaxed), unsafe {
            bindings::current_signalfd_wqh()
        })
    }

    /// From now on the work item asks for the current task. What it has missed before is asked for
    /// here. May sleep.
    ///
    /// # Safety
    ///
    /// `this` must point to a valid operation that was started, made from a pointer to all of its
    /// owner, and the caller have a reference of that.
    #[cold]
    pub(super) unsafe fn asks_for_current(this: *const Self) {
        // SAFETY: The caller guarantees that it is valid.
        let poll = unsafe { &*this };
        // SAFETY: May be called by any task, which is there and has these numbers as long as it
        // runs.
        let (thread, process) = unsafe {
            let task = bindings::get_current();

            ((*task).pid, (*task).tgid)
        };

        poll.process.store(process, Relaxed);
        poll.thread.store(thread, Relaxed);

        // A signal that comes after this sees to it that the work item runs, which sees the
        // numbers: to ask, and to send one, the lock of the signals is taken.
        if poll.ask() == 0 {
            return;
        }

        let _guard = poll.list().lock.lock();

        if let Some(queue) = LockedQueue::lock(poll) {
            let wakeups = queue.wakeups();

            if wakeups.scheduled.get() {
                wakeups.again.set(true);
            } else {
                wakeups.scheduled.set(true);
                // SAFETY: The work item was initialised by `start()` and is not scheduled. The
                // entry in the queue keeps the operation until it has run.
                unsafe { Self::schedule(this) };
            }
        }
    }

    /// Asks the file for who has submitted the operation; `None` if any task may ask.
    #[inline]
    pub(super) fn ask_for_thread(&self) -> Option<bindings::__poll_t> {
        match self.thread.load(Relaxed) {
            0 => None,
            thread => Some(self.ask_signalfd(thread)),
        }
    }

    #[cold]
    fn ask_signalfd(&self, thread: bindings::pid_t) -> bindings::__poll_t {
        let head = self.head.load(Relaxed);
        // SAFETY: The file is valid. The queue is only compared, and any number will do.
        let ask = |nr| unsafe { bindings::signalfd_poll_thread(self.file.as_ptr(), head, nr) };
        let found = match ask(thread) {
            // The thread is gone. The first one of a process stays until all are.
            gone if gone < 0 => ask(self.process.load(Relaxed)),
            found => found,
        };

        if found > 0 {
            bindings::POLLIN & self.events
        } else {
            0
        }
    }
}
