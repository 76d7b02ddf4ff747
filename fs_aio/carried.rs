// SPDX-License-Identifier: GPL-2.0

//! Operations that the threads of a process carry on.
//!
//! Such an operation is one of those in flight, like a [`Request`](crate::request::Request), and
//! always in one place: in a list of the [`Pool`], with a thread, with the file, or waiting until
//! that is ready. The code that has it there ends it, or hands it on. It can be cancelled from its
//! beginning to its end.
//!
//! # Cancelling
//!
//! That is done with the lock of the context's list held, so nothing ends there: what waits is
//! taken out of its list, or from its page, and a work item of the pool abandons it; what a thread
//! does is interrupted; everything else is only marked, for the code that has it.

use crate::{
    ops::threaded::RwJob,
    request::Head,
    trace,
    workers::{
        Class,
        Key,
        Order,
        Pool,
        Reservation,
        Submitter, //
    },
};
use kernel::{
    aio::cancel::{
        impl_has_cancel_node,
        CancelNode,
        Cancellable, //
    },
    fs::FileId,
    prelude::*,
    slab::{
        impl_dismantle,
        impl_has_job_links,
        Backing,
        Cached,
        Job,
        JobLinks,
        KmemCache,
        SlabArc,
        SlabArcInner,
        SlabSlot,
        UniqueSlabArc, //
    },
    sync::{
        aref::ARef,
        atomic::{
            Atomic,
            AtomicFlag,
            Full,
            Relaxed, //
        },
        new_spinlock_irqsave,
        Arc,
        SpinLockIrqSave, //
    },
    task::{
        io_thread,
        IoThread,
        Task, //
    },
};

/// Where such operations live.
pub(crate) enum Memory {}

pub(crate) static CACHE: KmemCache<Memory> = KmemCache::new(c"aio_carried");

impl Backing for Memory {
    type Largest = SlabArcInner<Carried<RwJob>>;
    const CACHE: &'static KmemCache<Self> = &CACHE;
}

/// What is done in an operation.
pub(crate) trait Perform: Sized + Send + Sync + 'static {
    /// Does it, in the name of the submitter, see [`Carried::submitter()`]. To be ended with
    /// [`Carried::end()`], or handed on.
    fn perform(this: SlabArc<Carried<Self>>, thread: &IoThread);

    /// The operation is abandoned; returns it, unless somebody else ends it then.
    fn abandoned(this: SlabArc<Carried<Self>>) -> Option<SlabArc<Carried<Self>>> {
        Some(this)
    }

    /// Takes it back from where the file has parked it, if it is there.
    ///
    /// Called with locks held.
    fn take_back(_this: &Carried<Self>) -> Option<SlabArc<Carried<Self>>> {
        None
    }

    /// Returns what there is of a result if the operation is given up.
    fn partial(&self) -> Option<isize> {
        None
    }

    /// Returns which operation it is, and on which file, if somebody is to be told of that.
    fn seen(&self) -> (u16, FileId);
}

/// An operation that the threads of a process carry on.
#[pin_data]
pub(crate) struct Carried<J> {
    // It has the file, which goes first.
    #[pin]
    pub(crate) job: J,
    head: Head,
    #[pin]
    links: JobLinks,
    #[pin]
    cancel: CancelNode,
    submitter: Arc<Submitter>,
    class: Class,
    /// What operations on the same data have in common.
    key: Option<Key>,
    /// It is a part of an order.
    ordered: AtomicFlag,
    cancelled: AtomicFlag,
    /// Who is doing it, to be interrupted.
    #[pin]
    thread: SpinLockIrqSave<Option<ARef<Task>>>,
    /// The same, as a number, which is changed with that lock held: for code that asks whether it
    /// is the current task.
    doer: Atomic<usize>,
    /// What will be in the event; before the operation has ended, when it was started, if somebody
    /// observes.
    result: Atomic<isize>,
}

impl_dismantle! {
    impl<J: Send> Dismantle for Carried<J> {
        taken {}
        moved { head: Head }
        dropped {
            job,
            links,
            cancel,
            submitter,
            class,
            key,
            ordered,
            cancelled,
            thread,
            doer,
            result
        }
    }
}

impl<J> Cached for Carried<J> {
    type Backing = Memory;
}

impl_has_job_links! {
    impl<J: Perform> HasJobLinks for Carried<J> { self.links }
}

impl_has_cancel_node! {
    impl<J: Perform> HasCancelNode for Carried<J> { self.cancel }
}

impl<J: Perform> Cancellable for Carried<J> {
    fn cancel(&self) {
        self.cancelled.store(true, Relaxed);
        if self.pool().cancel(&self.links, self.key) {
            return;
        }
        // A thread that takes it after this sees the mark, since it takes this lock afterwards.
        self.thread.with(|thread| {
            if let Some(thread) = thread {
                io_thread::interrupt(thread);
            }
        });
        // A thread that parks it has done so before it took the lock, or looks for the mark
        // afterwards.
        if let Some(this) = J::take_back(self) {
            self.pool().abandon(this);
        }
    }
}

impl<J: Perform> Job for Carried<J> {
    fn run(this: SlabArc<Self>, thread: &IoThread) {
        let current = ARef::from(&**current!());

        this.thread.with(|place| {
            this.doer.store(current.as_ptr() as usize, Relaxed);
            *place = Some(current);
        });
        if this.is_given_up() {
            return Self::give_up(this);
        }
        J::perform(this, thread);
    }

    fn abandon(this: SlabArc<Self>) {
        this.cancelled.store(true, Relaxed);
        if let Some(this) = J::abandoned(this) {
            Self::give_up(this);
        }
    }

    fn release(this: SlabArc<Self>) {
        Self::put(this);
    }
}

impl<J: Perform> Carried<J> {
    /// Makes an operation of what a request had; `key` is that of its data, if it may have to wait
    /// for others or others for it. `started` is what
    /// [`Request::started()`](crate::request::Request::started) was, or 0.
    ///
    /// # Errors
    ///
    /// What `job` returns.
    pub(crate) fn new<I: PinInit<J>>(
        memory: SlabSlot<Memory>,
        head: Head,
        submitter: Arc<Submitter>,
        class: Class,
        key: Option<Key>,
        started: isize,
        job: I,
    ) -> SlabArc<Self> {
        let obj = head.obj();
        let init = pin_init!(Self {
            job <- job,
            head,
            links <- JobLinks::new(class.group()),
            cancel <- CancelNode::new(obj),
            submitter,
            class,
            key,
            ordered: AtomicFlag::new(false),
            cancelled: AtomicFlag::new(false),
            thread <- new_spinlock_irqsave!(None, "aio::thread"),
            doer: Atomic::new(0),
            result: Atomic::new(started),
        });
        let this = memory
            .init(init)
            .unwrap_or_else(|never| match never {})
            .share();

        // It leaves in `end()`.
        this.context().cancel.enter(this.as_pin());
        this
    }

    /// Returns whether an eventfd will be signalled.
    pub(crate) fn has_eventfd(&self) -> bool {
        self.head.has_eventfd()
    }

    /// Returns whether nobody waits for operations on the same data, so that it need not; and
    /// nobody is to wait for it, if not `begins`.
    pub(crate) fn may_begin(&self, begins: bool) -> bool {
        let (Some(key), Some(threads)) = (self.key, self.context().threads()) else {
            return !begins;
        };

        !begins && !threads.is_behind(|| key)
    }

    /// Returns the pool.
    pub(crate) fn pool(&self) -> &Arc<Pool> {
        self.submitter.pool()
    }

    /// Returns the context.
    pub(crate) fn context(&self) -> &crate::context::Context {
        self.head.context()
    }

    /// Returns a name that no program has for an operation.
    pub(crate) fn inner_name(&self) -> u64 {
        core::ptr::from_ref(self) as u64
    }

    /// Returns the submitter.
    ///
    /// Its credentials are to be used for each attempt alone: what a thread does for itself in
    /// between, task work above all, it has to do with its own.
    pub(crate) fn submitter(&self) -> &Arc<Submitter> {
        &self.submitter
    }

    /// Returns the links, for lists of the pool.
    pub(crate) fn links(&self) -> &JobLinks {
        &self.links
    }

    /// Returns whether the operation was cancelled, or nobody is there who could go on.
    pub(crate) fn is_given_up(&self) -> bool {
        self.cancelled.load(Relaxed) || self.pool().is_dead()
    }

    /// The current thread is about to hand the operation on: it is not interrupted for that any
    /// longer.
    #[inline]
    pub(crate) fn handing_on(&self) {
        // What the current task has stored there, it sees. If somebody else has, that has the lock,
        // or had it: nobody interrupts the current task any longer.
        if self.doer.load(Relaxed) == current!().as_ptr() as usize {
            self.hand_on();
        }
    }

    #[cold]
    fn hand_on(&self) {
        let current = current!().as_ptr() as usize;
        // It is dropped without the lock.
        let _task = self.thread.with(|thread| {
            // Somebody else may have it already.
            let task = thread.take_if(|task| task.as_ptr() as usize == current);

            if task.is_some() {
                self.doer.store(0, Relaxed);
            }
            task
        });
    }

    /// Hands the operation to a thread.
    ///
    /// May be called in any context.
    pub(crate) fn enqueue(this: SlabArc<Self>) {
        let (pool, class) = (this.pool().clone(), this.class);

        pool.enqueue(this, class);
    }

    /// Hands the operation to a thread, when all before it on the same data have ended; with
    /// `begin`, those that come wait for it.
    pub(crate) fn enqueue_in_order(this: SlabArc<Self>, begin: Option<Reservation>) {
        let Some(key) = this.key else {
            return Self::enqueue(this);
        };
        let (pool, id) = (this.pool().clone(), this.links.id());

        pool.enqueue_behind(this, id, key, begin, |this, order| {
            this.ordered.store(true, Relaxed);
            // Nobody ends it yet, so it is counted before that is taken back.
            if order == Order::First {
                this.count_order(1);
            }
        });
    }

    /// Sends the signals that the current thread has got for the operation to the task that has
    /// submitted it.
    pub(crate) fn forward_signals(&self, thread: &IoThread) {
        const SIGPIPE: u32 = 13;
        const SIGXFSZ: u32 = 25;

        for signal in [SIGPIPE, SIGXFSZ] {
            thread.forward_signal(signal, self.submitter.task());
        }
    }

    /// Ends an operation that was cancelled.
    pub(crate) fn give_up(this: SlabArc<Self>) {
        let result = this.job.partial().unwrap_or(EINTR.to_errno() as isize);

        Self::end(this, result);
    }

    /// The operation has ended.
    ///
    /// May be called in any context, but not with the lock of a wait queue held.
    pub(crate) fn end(this: SlabArc<Self>, result: isize) {
        Self::conclude(&this, result);
        Self::put(this);
    }

    fn conclude(&self, result: isize) {
        trace::carried_on(|| {
            (
                &self.head,
                self.job.seen(),
                self.result.load(Relaxed),
                result,
            )
        });
        // Afterwards nobody is cancelling it.
        self.context().cancel.leave(self);
        self.handing_on();
        // It was set before anybody could take the operation out of a list.
        if self.ordered.load(Relaxed) {
            self.ended_in_order();
        }
        // The task that posts the event sees it, because the reference is given up after it.
        self.result.store(result, Relaxed);
    }

    #[cold]
    fn ended_in_order(&self) {
        if let (true, Some(key)) = (self.ordered.xchg(false, Full), self.key) {
            if self.pool().next_behind(self.links.id(), key) {
                self.count_order(-1);
            }
        }
    }

    /// Counts the orders that there are in the context.
    fn count_order(&self, by: isize) {
        if let Some(threads) = self.context().threads() {
            threads.count_order(by);
        }
    }

    /// The same, in a thread of the pool: its file is closed before the event is there.
    pub(crate) fn end_in_thread(this: SlabArc<Self>, result: isize, _thread: &IoThread) {
        Self::conclude(&this, result);
        if let Some(this) = this.into_unique() {
            Self::finish(this, io_thread::work);
        }
    }

    /// Gives up a reference. The last one posts the event, so the operation must have been ended,
    /// or somebody else be about to.
    pub(crate) fn put(this: SlabArc<Self>) {
        if let Some(this) = this.into_unique() {
            Self::finish(this, || ());
        }
    }

    fn finish(this: UniqueSlabArc<Self>, closed: impl FnOnce()) {
        let result = this.result.load(Relaxed);
        let ((head,), slot) = this.dismantle();

        drop(slot);
        closed();
        head.post_late(result);
    }
}
