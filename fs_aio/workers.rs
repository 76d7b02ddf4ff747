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
//! number of CPUs; one that takes longer than a second does not count, so that a disk that hangs
//! stops nobody else. All others get a thread as soon as there is one. A thread that begins
//! something makes sure that another one waits: so there is always somebody for what comes next.
//!
//! # Order
//!
//! Operations wait behind a buffered write of the same data, in the order in which they were
//! submitted to their context, see [`Pool::enqueue_behind()`].

use crate::{
    carried,
    context::Context,
    ops::threaded,
    table, //
};
use kernel::{
    prelude::*,
    rbtree::RBTree,
    slab::{
        AnyJob,
        Job,
        JobLinks,
        JobList,
        SlabArc, //
    },
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
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
        io_thread::{
            self,
            Identity, //
        },
        IoThread, //
    },
    time::{
        msecs_to_jiffies,
        Instant,
        Jiffies, //
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
mod threads;
pub(crate) use self::lists::{
    Class,
    Key,
    Order,
    Reservation, //
};
pub(crate) use self::threads::Threads;
use lists::{
    max_running,
    State,
    Waiting,
    STUCK,
    STUCK_MSECS, //
};

/// So long a thread waits for something to do before it leaves.
const IDLE_MSECS: u32 = 5000;

/// `fs.aio-auto-threads`: whether contexts that are made are threaded.
static AUTO: Atomic<i32> = Atomic::new(0);

static SYSCTLS: Table<1> = Table::new([Entry::int(c"aio-auto-threads", &AUTO, 0o644, &(0..=1))]);

/// Returns whether a context that is made now is threaded.
pub(crate) fn is_wanted() -> bool {
    cfg!(CONFIG_AIO_THREAD) && AUTO.load(Relaxed) != 0
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

/// What a thread is to do.
enum Next {
    /// This, in this slot if it has one; perhaps there should be another thread, or one should be
    /// woken.
    Run {
        job: AnyJob,
        slot: Option<usize>,
        spawn: bool,
        wake: bool,
    },
    /// Nothing, for now.
    Wait(Jiffies),
    /// It leaves.
    Leave,
}

/// The threads of a process.
#[pin_data]
pub(crate) struct Pool {
    identity: Identity,
    #[pin]
    state: SpinLockIrqSave<State>,
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
        }
    }
}

/// An operation that a pool is to carry on.
pub(crate) struct Ticket(Arc<Pool>);

impl Ticket {
    /// Returns the pool.
    pub(crate) fn pool(&self) -> &Arc<Pool> {
        &self.0
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.0.state.with(|s| {
            s.users -= 1;
            // What has never had a thread may be of use for nobody else, see `ticket()`.
            s.dead |= s.users == 0 && s.threads == 0;
        });
    }
}

impl Pool {
    /// A pool for the process of the current task, without threads.
    fn new(identity: Identity) -> Result<Arc<Self>> {
        let mut running = KVec::new();

        for _ in 0..max_running() + STUCK {
            running.push(None, GFP_KERNEL)?;
        }
        let state = State {
            storage: JobList::new(),
            others: JobList::new(),
            behind: RBTree::new(),
            parked: JobList::new(),
            cancelled: JobList::new(),
            running,
            threads: 0,
            spawning: 0,
            idle: 0,
            short: false,
            users: 0,
            dead: false,
        };

        Arc::pin_init(
            pin_init!(Self {
                identity,
                state <- new_spinlock_irqsave!(state, "aio::pool"),
                idle <- new_wait_queue!("aio::idle"),
                work <- new_work!("aio::pool"),
            }),
            GFP_KERNEL,
        )
    }

    /// Returns the pool of the current process, which has a thread, for one operation.
    ///
    /// May sleep.
    ///
    /// # Errors
    ///
    /// Those of [`IoThread::spawn()`] if there is no thread, and none can be made; `ENOMEM`. `EAGAIN`
    /// if the first one is just being made for somebody who has other files or directories.
    pub(crate) fn ticket(context: &Context) -> Result<Ticket> {
        let identity = Identity::current();

        loop {
            let pool = match table::find_pool(context, identity) {
                Some(pool) => pool,
                None => table::set_pool(context, identity, Self::new(identity)?),
            };
            let found = pool.state.with(|s| {
                if s.dead {
                    return None;
                }
                s.users += 1;
                // One that is being made may turn out not to be possible.
                Some((s.threads > s.spawning, s.short && s.idle == 0))
            });
            let Some((has_thread, short)) = found else {
                continue;
            };
            // From here on its threads don't leave because there is nothing to do.
            let ticket = Ticket(pool);

            if !has_thread {
                // All threads of a pool are the same.
                if !ticket.0.has_view_of_current() {
                    return Err(EAGAIN);
                }
                ticket.0.spawn()?;
            } else if short && ticket.0.has_view_of_current() {
                // Those that there are may be busy for ever, and it may be possible now.
                let _ = ticket.0.spawn();
            }
            return Ok(ticket);
        }
    }

    /// Returns whether this is the pool of who has this identity, and can be used.
    pub(crate) fn serves(&self, identity: Identity) -> bool {
        self.identity.group == identity.group && !self.is_dead()
    }

    /// Returns whether its threads have the files, directories and namespaces of the current task.
    pub(crate) fn has_view_of_current(&self) -> bool {
        self.identity == Identity::current()
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.state.with(|s| s.dead)
    }

    fn spawn(self: &Arc<Self>) -> Result {
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
            s.short = result.is_err();
        });
        result
    }

    /// What a thread does.
    fn main(self: Arc<Self>, thread: &IoThread) {
        let mut was_idle = false;
        let mut waited = false;

        thread.set_name_of_process("aio-wrk");
        loop {
            if thread.should_leave() {
                self.die();
            }
            match self.next(was_idle, waited) {
                Next::Leave => break,
                Next::Wait(timeout) => {
                    was_idle = true;
                    waited = self.idle.wait_interruptible(timeout, || {
                        self.state.with(|s| s.dead || s.has_work())
                    }) == 0;
                    continue;
                }
                Next::Run {
                    job,
                    slot,
                    spawn,
                    wake,
                } => {
                    if spawn {
                        if self.spawn() == Err(ERESTARTNOINTR) {
                            // The process was stopped, or frozen: that comes first.
                            if thread.should_leave() {
                                self.die();
                            }
                            // If it is not possible, what comes next waits until this thread is
                            // back, or who submits something can make one.
                            let _ = self.spawn();
                        }
                    } else if wake {
                        self.idle.wake_one();
                    }
                    thread.work();
                    job.run(thread);
                    thread.work();
                    if let Some(slot) = slot {
                        self.state.with(|s| s.running[slot] = None);
                    }
                    (was_idle, waited) = (false, false);
                }
            }
        }
        // It may have been woken for what others can do.
        self.idle.wake_one();
    }

    /// Finds something to do for a thread, which has waited, perhaps for long enough.
    fn next(&self, was_idle: bool, waited: bool) -> Next {
        self.state.with(|s| {
            s.idle -= usize::from(was_idle);
            if s.dead {
                s.threads -= 1;
                return Next::Leave;
            }
            let mut slot = None;
            let mut job = s.others.pop_front();

            if job.is_none() && !s.storage.is_empty() {
                if let Some(place) = s.slot() {
                    slot = place;
                    job = s.storage.pop_front();
                    if let Some(place) = place {
                        s.running[place] = Some(Instant::now());
                    }
                }
            }
            if let Some(job) = job {
                return Next::Run {
                    job,
                    slot,
                    spawn: s.idle == 0,
                    wake: s.has_work(),
                };
            }
            // One waits as long as there are operations anywhere.
            if waited && s.storage.is_empty() && (s.users == 0 || s.idle > 0) {
                s.threads -= 1;
                s.dead = s.threads == 0;
                return Next::Leave;
            }
            s.idle += 1;
            Next::Wait(msecs_to_jiffies(match s.storage.is_empty() {
                true => IDLE_MSECS,
                // What is stuck, by then does not count.
                false => STUCK_MSECS,
            }))
        })
    }

    /// The threads leave, and what they have not begun ends.
    ///
    /// May be called by any task of the process.
    pub(crate) fn die(&self) {
        self.state.with(|s| s.dead = true);
        self.idle.wake_all();
        io_thread::interrupt_all();
        loop {
            let job = self.state.with(|s| {
                let any = s.storage.pop_front().or_else(|| s.others.pop_front());
                let any = any.or_else(|| s.parked.pop_front());

                any.or_else(|| s.behind.values_mut().find_map(|w| w.list.pop_front()))
            });

            match job {
                Some(job) => drop(job),
                None => break,
            }
        }
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
                Class::Storage => s.storage.push_back(job),
                Class::Other => s.others.push_back(job),
            }
            None
        });

        match refused {
            None => self.idle.wake_one(),
            Some(job) => self.abandon(job),
        }
    }

    /// Adds an operation behind all that were added with this key and have not ended, see
    /// [`next_behind()`](Self::next_behind). If there is none, that is done only with `begin`: then
    /// the next ones wait for it. `id` is [`JobLinks::id()`] of the operation.
    ///
    /// Returns whether there is such an order now, of which the operation is a part, and whether it
    /// is the first.
    pub(crate) fn enqueue_behind<T: Job>(
        self: &Arc<Self>,
        job: SlabArc<T>,
        id: usize,
        key: Key,
        begin: Option<Reservation>,
        mark: impl FnOnce(&T) + Send,
    ) -> Order {
        let (order, refused) = self.state.with(|s| {
            if s.dead {
                return (Order::None, Some(job));
            }
            if let Some(waiting) = s.behind.get_mut(&key) {
                mark(&job);
                waiting.list.push_back(job);
                return (Order::Behind, None);
            }
            let order = match begin {
                Some(memory) => {
                    mark(&job);
                    let waiting = Waiting {
                        head: id,
                        list: JobList::new(),
                    };

                    s.behind.insert(memory.into_node(key, waiting));
                    Order::First
                }
                None => Order::None,
            };
            s.storage.push_back(job);
            (order, None)
        });

        match refused {
            Some(job) => self.abandon(job),
            None if order != Order::Behind => self.idle.wake_one(),
            None => {}
        }
        order
    }

    /// An operation that was added with this key has ended, that with links of this number: if it
    /// was the one that others wait for, the next one may begin.
    ///
    /// Returns whether there is none. May be called in any context.
    pub(crate) fn next_behind(&self, id: usize, key: Key) -> bool {
        let (last, wake) = self.state.with(|s| {
            let waiting = s.behind.get_mut(&key).filter(|waiting| waiting.head == id);
            // Others may be cancelled while they wait.
            let Some(waiting) = waiting else {
                return (false, false);
            };

            match waiting.list.pop_front() {
                Some(job) => {
                    waiting.head = job.id();
                    s.storage.push_back_any(job);
                    (false, true)
                }
                None => {
                    s.behind.remove(&key);
                    (true, false)
                }
            }
        });

        if wake {
            self.idle.wake_one();
        }
        last
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
    /// who cancels the operation.
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
    ///
    /// May be called in any context, with any lock held.
    pub(crate) fn cancel(self: &Arc<Self>, links: &JobLinks) -> bool {
        let found = self.state.with(|s| {
            let job = s
                .others
                .remove(links)
                .or_else(|| s.storage.remove(links))
                .or_else(|| s.parked.remove(links))
                .or_else(|| s.behind.values_mut().find_map(|w| w.list.remove(links)));

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
