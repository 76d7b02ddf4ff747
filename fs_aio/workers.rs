// SPDX-License-Identifier: GPL-2.0

//! The threads of a process that carry on what would block it.
//!
//! A process has one [`Pool`] of them, for all its contexts: it is made when the first operation
//! has to be carried on, and its threads leave when nothing has been there for them for some time.
//! Another process that shares the address space has a pool of its own.
//!
//! # Who runs what
//!
//! Operations on regular files and block devices share a number of threads that is bounded by the
//! number of CPUs; one that takes longer than a second does not count, and what goes to its device
//! lets others go first, so that a disk that hangs stops nobody else. All others get a thread as
//! soon as there is one. A thread that begins something makes sure that another one waits: so there
//! is always somebody for what comes next.
//!
//! # Order
//!
//! Operations wait behind a buffered write of the same data, in the order in which they were
//! submitted to their context, see [`Pool::enqueue_behind()`].

use crate::{
    carried,
    ops::threaded, //
};
use kernel::{
    prelude::*,
    slab::{
        AnyJob,
        Job,
        JobLinks,
        JobList,
        SlabArc, //
    },
    sync::{
        atomic::{
            Acquire,
            Atomic,
            AtomicFlag,
            Relaxed,
            Release, //
        },
        new_spinlock_irqsave,
        new_wait_queue,
        Arc,
        SpinLockIrqSave,
        WaitQueue, //
    },
    sysctl::{
        Entry,
        Table, //
    },
    task::{
        cond_resched,
        io_thread::{
            self,
            Identity, //
        },
    },
    workqueue::{
        self,
        impl_has_work,
        new_work,
        Work,
        WorkItem, //
    },
};

mod lists;
mod running;
mod storage;
mod submitter;
#[cfg(all(CONFIG_KUNIT = "y", CONFIG_AIO_THREAD))]
mod tests;
mod thread;
mod threads;
pub(crate) use self::lists::{
    Class,
    Key,
    Order,
    Reservation, //
};
pub(crate) use self::submitter::{
    Submission,
    Submitter, //
};
pub(crate) use self::threads::Threads;
use lists::{
    State,
    Waiting, //
};

/// `fs.aio-auto-threads`: whether contexts that are made are threaded.
static AUTO: Atomic<i32> = Atomic::new(0);

static SYSCTLS: Table<1> = Table::new([Entry::int(c"aio-auto-threads", &AUTO, 0o644, &(0..=1))]);

/// Returns whether a context that is made now is threaded.
pub(crate) fn is_wanted() -> bool {
    cfg!(CONFIG_AIO_THREAD) && AUTO.load(Relaxed) != 0
}

/// Whether a process has had a pool since the system was booted.
static USED: AtomicFlag = AtomicFlag::new(false);

/// Returns whether there may be a pool of the process of the current task, which exits.
///
/// If this is `false`, and another task of the process makes one at the same time, that task sees
/// in [`Pool::task_exits()`] that the current one exits: the latter has said so with the lock held
/// under which the former looks, and has asked here afterwards.
#[inline]
pub(crate) fn were_used() -> bool {
    USED.load(Relaxed)
}

/// Creates the caches of what is carried on.
///
/// # Errors
///
/// `ENOMEM`.
pub(crate) fn init_caches() -> Result {
    if !cfg!(CONFIG_AIO_THREAD) {
        return Ok(());
    }
    carried::CACHE.init()?;
    threaded::CACHE.init()
}

/// Registers the kernel parameter.
///
/// # Errors
///
/// `ENOMEM`.
pub(crate) fn init(module: &'static ThisModule) -> Result {
    if !cfg!(CONFIG_AIO_THREAD) {
        return Ok(());
    }
    SYSCTLS.register(c"fs", module)
}

/// The threads of a process.
#[pin_data]
pub(crate) struct Pool {
    identity: Identity,
    #[pin]
    state: SpinLockIrqSave<State>,
    /// [`State::dead`], for code that does not have the lock.
    dead: AtomicFlag,
    /// Threads that wait for something to do.
    #[pin]
    idle: WaitQueue,
    /// Ends what was cancelled.
    #[pin]
    work: Work<Pool>,
}

impl_has_work! {
    impl HasWork<Self> for Pool { self.work }
}

impl WorkItem for Pool {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>) {
        while let Some(job) = this.state.with(|s| s.cancelled.pop_front()) {
            // It is abandoned.
            drop(job);
            cond_resched();
        }
    }
}

impl Pool {
    /// A pool for the process of the current task, without threads.
    fn new(identity: Identity) -> Result<Arc<Self>> {
        let state = State::new()?;

        USED.store(true, Relaxed);
        Arc::pin_init(
            pin_init!(Self {
                identity,
                state <- new_spinlock_irqsave!(state, "aio::pool"),
                dead: AtomicFlag::new(false),
                idle <- new_wait_queue!("aio::idle"),
                work <- new_work!("aio::pool"),
            }),
            GFP_KERNEL,
        )
    }

    /// Returns whether this is the pool of the process with this identity, and can be used.
    pub(crate) fn serves(&self, identity: Identity) -> bool {
        self.identity.group == identity.group && !self.is_dead()
    }

    /// Returns whether its threads have the files, directories and namespaces of the current task.
    pub(crate) fn has_view_of_current(&self) -> bool {
        self.identity == Identity::current()
    }

    /// Returns whether the threads leave, or have left.
    ///
    /// A thread that was interrupted because of that sees it.
    #[inline]
    pub(crate) fn is_dead(&self) -> bool {
        self.dead.load(Acquire)
    }

    /// With the lock held.
    fn set_dead(&self, s: &mut State) {
        s.dead = true;
        s.creds = None;
        self.dead.store(true, Release);
    }

    /// Adds an operation.
    ///
    /// It is abandoned if the threads have left. May be called in any context.
    pub(crate) fn enqueue<T: Job>(self: &Arc<Self>, job: SlabArc<T>, class: Class) {
        let refused = self.state.with(|s| {
            if s.dead {
                return Some(job);
            }
            match class {
                Class::Storage(_) => s.storage.push(job),
                Class::Other => s.others.push_back(job),
            }
            self.wake(s);
            None
        });

        if let Some(job) = refused {
            self.abandon(job);
        }
    }

    /// Adds an operation behind all that were added with this key and have not ended, see
    /// [`next_behind()`](Self::next_behind). If there is none, that is done only with `begin`: then
    /// the next ones wait for it. `id` is [`JobLinks::id()`] of the operation.
    ///
    /// If there is such an order now, `mark` is told which part of it the operation is, before
    /// anybody else has that. It is called with the lock held.
    pub(crate) fn enqueue_behind<T: Job>(
        self: &Arc<Self>,
        job: SlabArc<T>,
        id: usize,
        key: Key,
        begin: Option<Reservation>,
        mark: impl FnOnce(&T, Order) + Send,
    ) {
        let refused = self.state.with(|s| {
            if s.dead {
                return Some(job);
            }
            if let Some(waiting) = s.behind.get_mut(&key) {
                mark(&job, Order::Behind);
                waiting.list.push_back(job);
                return None;
            }
            if let Some(memory) = begin {
                mark(&job, Order::First);
                let waiting = Waiting {
                    head: id,
                    list: JobList::new(),
                };

                s.behind.insert(memory.into_node(key, waiting));
            }
            s.storage.push(job);
            self.wake(s);
            None
        });

        if let Some(job) = refused {
            self.abandon(job);
        }
    }

    /// An operation that was added with this key has ended, that with links of this number: if it
    /// was the one that others wait for, the next one may begin.
    ///
    /// Returns whether there is none. May be called in any context.
    pub(crate) fn next_behind(&self, id: usize, key: Key) -> bool {
        self.state.with(|s| {
            let waiting = s.behind.get_mut(&key).filter(|waiting| waiting.head == id);
            // Others may be cancelled while they wait.
            let Some(waiting) = waiting else {
                return false;
            };

            match waiting.list.pop_front() {
                Some(job) => {
                    waiting.head = job.id();
                    s.storage.push_any(job);
                    self.wake(s);
                    false
                }
                None => {
                    s.behind.remove(&key);
                    true
                }
            }
        })
    }

    /// Returns whether operations with this key have to wait.
    pub(crate) fn is_behind(&self, key: Key) -> bool {
        self.state.with(|s| s.behind.get(&key).is_some())
    }

    /// Notes that an operation waits until its file is ready; `job` is a second reference.
    ///
    /// Returns whether that is possible: not if the threads leave.
    pub(crate) fn park<T: Job>(&self, job: SlabArc<T>) -> Result<(), SlabArc<T>> {
        self.state.with(|s| {
            if s.dead {
                return Err(job);
            }
            s.parked.push_back(job);
            Ok(())
        })
    }

    /// The operation does not wait any longer: returns the second reference, if it was not taken by
    /// the task that cancels the operation.
    pub(crate) fn unpark(&self, links: &JobLinks) -> Option<AnyJob> {
        self.state.with(|s| s.parked.remove(links))
    }

    /// Has an operation abandoned by somebody else.
    ///
    /// May be called in any context, with any lock held.
    pub(crate) fn abandon<T: Job>(self: &Arc<Self>, job: SlabArc<T>) {
        self.state.with(|s| s.cancelled.push_back(job));
        self.end_cancelled();
    }

    /// Has an operation abandoned that waits in one of the lists; returns whether it was there.
    /// `key` is that of its data: so not all that wait for others have to be looked at.
    ///
    /// May be called in any context, with any lock held.
    pub(crate) fn cancel(self: &Arc<Self>, links: &JobLinks, key: Option<Key>) -> bool {
        let found = self.state.with(|s| {
            let job = s
                .others
                .remove(links)
                .or_else(|| s.storage.remove(links))
                .or_else(|| s.parked.remove(links))
                .or_else(|| s.behind.get_mut(&key?)?.list.remove(links));

            match job {
                Some(job) => {
                    s.cancelled.push_back_any(job);
                    true
                }
                None => false,
            }
        });

        if found {
            self.end_cancelled();
        }
        found
    }

    fn end_cancelled(self: &Arc<Self>) {
        // If that is refused, it is queued already, and has not begun.
        let _ = workqueue::system_percpu().enqueue(self.clone());
    }

    /// The current task exits, and is none of the threads: if nobody else is left, they leave.
    pub(crate) fn task_exits(&self) {
        if io_thread::are_alone() {
            self.die();
        }
    }
}
