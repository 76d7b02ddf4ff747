// SPDX-License-Identifier: GPL-2.0

//! What the threads of a process do.
//!
//! # Who is woken
//!
//! If there is something to do, and a thread waits, one is *on its way*: it was woken, or has not
//! begun to wait, and looks at the lists before it sleeps again. As long as that is so, nobody
//! wakes another one; a thread that takes something, and leaves something, wakes the next one
//! before it begins. So a thread that does not have to sleep in what it does takes all there is,
//! and others are woken for none of it but the first.
//!
//! [`State::waking`] says that one is on its way. It is set with the lock of the pool held, and in
//! the same section a thread is woken: if none was in the queue, then those that count as idle have
//! not begun to wait. A thread that looks, and finds nothing, clears it with that lock held, as
//! does one that stops being idle. So it is never set when all that are idle sleep; and if it was
//! cleared too early, a thread is woken for nothing, and that is all.

use super::{
    lists::State,
    running::{
        Place,
        STUCK_MSECS, //
    },
    storage::Found,
    Pool,
};
use kernel::{
    prelude::*,
    slab::AnyJob,
    sync::Arc,
    task::{
        cond_resched,
        io_thread,
        IoThread, //
    },
    time::msecs_to_jiffies, //
};

/// So long a thread waits for something to do before it leaves.
const IDLE_MSECS: u32 = 5000;

/// What a thread has done before it looks for something to do.
enum Before {
    /// It was made.
    Made,
    /// It has waited, perhaps for long enough.
    Waited { over: bool },
    /// It has done something, in this place if it has one.
    Worked(Option<Place>),
}

/// What a thread is to do.
enum Next {
    /// This, in this place if it has one; perhaps there should be another thread.
    Run {
        job: AnyJob,
        place: Option<Place>,
        spawn: bool,
    },
    /// It looks again.
    Again,
    /// Nothing, for now; perhaps something can't be done yet.
    Wait { full: bool },
    /// It leaves.
    Leave,
}

impl Pool {
    pub(super) fn spawn(self: &Arc<Self>) -> Result {
        let pool = self.clone();

        self.state.with(|s| {
            s.threads += 1;
            s.spawning += 1;
        });
        let result = KBox::new(move |thread: &IoThread| pool.main(thread), GFP_KERNEL)
            .map_err(Error::from)
            .and_then(IoThread::spawn);

        self.state.with(|s| {
            s.threads -= usize::from(result.is_err());
            s.spawning -= 1;
            // It is the thread that takes this back.
            s.coming += isize::from(result.is_ok());
            s.short = result.is_err();
        });
        result
    }

    /// The same, in a thread: with the credentials of the task that has submitted last, since its
    /// own are those that the process had when the first one was made. Threads count as a user's.
    fn spawn_another(self: &Arc<Self>) -> Result {
        match self.state.with(|s| s.creds.clone()) {
            Some(creds) => creds.scoped(|| self.spawn()),
            None => self.spawn(),
        }
    }

    /// What a thread does.
    fn main(self: Arc<Self>, thread: &IoThread) {
        let mut before = Before::Made;

        thread.set_name_of_process("aio-wrk");
        loop {
            if current!().signal_pending() {
                // That may take long.
                before = self.away(before);
                if thread.should_leave() {
                    self.die();
                }
            }
            match self.next(before) {
                Next::Leave => break,
                Next::Again => before = Before::Worked(None),
                Next::Wait { full } => {
                    let timeout = msecs_to_jiffies(match full {
                        false => IDLE_MSECS,
                        // What is stuck, by then does not count.
                        true => STUCK_MSECS,
                    });
                    let left = self
                        .idle
                        .wait_interruptible(timeout, || self.state.with(|s| s.looks(full)));

                    before = Before::Waited {
                        over: left == 0 && !full,
                    };
                }
                Next::Run { job, place, spawn } => {
                    if spawn && self.spawn_another() == Err(ERESTARTNOINTR) {
                        // The process was stopped, or frozen: that comes first.
                        if thread.should_leave() {
                            self.die();
                        }
                        // If it is not possible, what comes next waits until this thread is back,
                        // or who submits something can make one.
                        let _ = self.spawn_another();
                    }
                    thread.work();
                    job.run(thread);
                    thread.work();
                    before = Before::Worked(place);
                }
            }
        }
    }

    /// A thread may not look for something to do for some time: others have to.
    fn away(&self, before: Before) -> Before {
        self.state.with(|s| {
            s.came(before);
            if s.has_work() {
                self.wake(s);
            }
        });
        Before::Worked(None)
    }

    /// Finds something to do for a thread.
    fn next(&self, before: Before) -> Next {
        self.state.with(|s| {
            let over = matches!(before, Before::Waited { over: true });
            let waited = matches!(before, Before::Waited { .. });

            s.came(before);
            if s.dead {
                s.threads -= 1;
                return Next::Leave;
            }
            let found = match s.others.pop_front() {
                Some(job) => Found::Job(job, None),
                None => s.storage.next(),
            };

            if let Found::More = found {
                // As below; the next time it is not known that this one has waited.
                if waited {
                    self.wake(s);
                }
                return Next::Again;
            }
            if let Found::Job(job, place) = found {
                let spawn = s.idle == 0 && s.coming <= 0;

                // Perhaps this was the one who was to look, soon, whether there is room.
                if s.has_work() || (waited && !s.storage.is_empty()) {
                    self.wake(s);
                }
                return Next::Run { job, place, spawn };
            }
            // One waits as long as there are operations anywhere.
            if over && s.storage.is_empty() && (s.users == 0 || s.idle > 0) {
                s.threads -= 1;
                if s.threads == 0 {
                    self.set_dead(s);
                }
                return Next::Leave;
            }
            s.idle += 1;
            Next::Wait {
                full: !s.storage.is_empty(),
            }
        })
    }

    /// Has a thread look for something to do, if one waits and none is on its way.
    ///
    /// May be called in any context.
    #[inline]
    pub(super) fn wake(&self, s: &mut State) {
        if s.idle > 0 && !s.waking {
            s.waking = true;
            self.idle.wake_one();
        }
    }

    /// The threads leave, and what they have not begun ends.
    ///
    /// May be called by any task of the process. May sleep.
    pub(crate) fn die(&self) {
        self.state.with(|s| self.set_dead(s));
        self.idle.wake_all();
        io_thread::interrupt_all();
        loop {
            let job = self.state.with(|s| {
                let any = s.storage.pop().or_else(|| s.others.pop_front());
                let any = any.or_else(|| s.parked.pop_front());

                any.or_else(|| s.behind.values_mut().find_map(|w| w.list.pop_front()))
            });

            match job {
                Some(job) => drop(job),
                None => break,
            }
            cond_resched();
        }
    }
}

impl State {
    /// A thread has done something else so far.
    fn came(&mut self, before: Before) {
        match before {
            Before::Made => self.coming -= 1,
            Before::Waited { .. } => {
                self.idle -= 1;
                self.waking = false;
            }
            Before::Worked(Some(place)) => self.storage.running.end(place),
            Before::Worked(None) => {}
        }
    }

    /// Returns whether a thread that waits has to do anything; `full` is how it came to that.
    fn looks(&mut self, full: bool) -> bool {
        let finds = self.dead
            || self.has_work()
            // It has to look again sooner.
            || (!full && !self.storage.is_empty());

        if !finds {
            self.waking = false;
        }
        finds
    }
}
