// SPDX-License-Identifier: GPL-2.0

//! Waiting until a file is ready, without a task that waits.
//!
//! An operation puts an entry into the wait queue that the file names. When it is woken it either
//! completes at once, in the context of who wakes it, or leaves that to a work item, which asks the
//! file once more. It can be cancelled meanwhile, and the wait queue may go away.
//!
//! # Locks and lifetimes
//!
//! The lock of the [`CancelList`] is taken before that of the wait queue. The wake-up callback
//! holds the latter already, so it can only try to take the former, and leaves the rest to the work
//! item if that fails.
//!
//! The wait queue may be freed while an entry is in it; then its users are woken with `POLLFREE`
//! first, and it is freed after an RCU grace period. So who wants its lock reads `head` under RCU,
//! takes the lock if that is not null, and checks that the entry is in the queue still.
//!
//! One reference of the operation belongs to whatever will complete it: the entry in the wait
//! queue, and from the moment on that the entry has scheduled it, the work item. Both the
//! callback and the work item decide that with the lock of the queue held.
//!
//! C header: [`include/linux/poll.h`](srctree/include/linux/poll.h)

use super::cancel::{
    CancelList,
    CancelNode, //
};
use crate::{
    bindings,
    error::{
        code::EINVAL,
        Error,
        Result, //
    },
    fs::LocalFile,
    prelude::*,
    slab::{
        Cached,
        Dismantle,
        SlabArc,
        UniqueSlabArc, //
    },
    str::CStrExt as _,
    sync::{
        aref::ARef,
        atomic::{
            Acquire,
            Atomic,
            AtomicFlag,
            Relaxed,
            Release, //
        },
        rcu,
    },
    types::Opaque, //
};
use core::{
    cell::{
        Cell,
        UnsafeCell, //
    },
    ffi::{
        c_int,
        c_uint,
        c_void, //
    },
    marker::PhantomPinned,
    ptr::null_mut, //
};

/// An operation that waits until a file is ready.
///
/// # Invariants
///
/// * `head` is null, or the wait queue that `entry` is in, or is about to be put into. It is set to
///   null when the entry is removed, so that the queue is there for an RCU grace period after
///   `head` was seen not to be null.
/// * `wakeups` is accessed with the lock of the wait queue held.
/// * Once the operation was started, the list of `node` is that of its owner, which is there as
///   long as the operation.
#[pin_data]
pub struct AsyncPoll {
    file: ARef<LocalFile>,
    /// The events that are waited for.
    events: bindings::__poll_t,
    /// The events that are there, for an operation that was to complete and leaves that to a work
    /// item.
    result: Atomic<bindings::__poll_t>,
    head: Atomic<*mut bindings::wait_queue_head>,
    cancelled: AtomicFlag,
    wakeups: UnsafeCell<Wakeups>,
    #[pin]
    entry: Opaque<bindings::wait_queue_entry>,
    #[pin]
    work: Opaque<bindings::work_struct>,
    #[pin]
    node: CancelNode,
    #[pin]
    _pin: PhantomPinned,
}

// SAFETY: Of the other fields, only the node has a destructor.
unsafe impl Dismantle for AsyncPoll {
    /// The file.
    type Parts = ARef<LocalFile>;

    #[inline]
    unsafe fn dismantle(this: *mut Self) -> ARef<LocalFile> {
        // SAFETY: By the requirements of this function, each is used for the last time.
        unsafe {
            CancelNode::dismantle(&raw mut (*this).node);
            (&raw mut (*this).file).read()
        }
    }
}

/// What has become of an operation that was started.
pub enum Polled<T: Cached> {
    /// The file is ready: these events are there.
    Ready(UniqueSlabArc<T>, u16),
    /// It completes later, or has completed meanwhile: with [`PollOwner::complete()`]. The
    /// reference has kept the object while it was started.
    Waiting(SlabArc<T>),
}

/// What the wake-ups have led to.
struct Wakeups {
    /// The work item was scheduled.
    scheduled: Cell<bool>,
    /// There was another wake-up since.
    again: Cell<bool>,
}

// SAFETY: Polling a file does not use its position, so it is no problem that the thread that has
// opened it may use that without a lock. For the rest see the type invariants.
unsafe impl Send for AsyncPoll {}

// SAFETY: As above.
unsafe impl Sync for AsyncPoll {}

/// Types that have an [`AsyncPoll`] in them.
///
/// # Safety
///
/// `OFFSET` must be the offset of a field of this type, which is an `AsyncPoll`. To be implemented
/// with [`impl_has_async_poll!`](crate::impl_has_async_poll).
pub unsafe trait HasAsyncPoll {
    /// The offset of the field.
    const OFFSET: usize;
}

/// Implements [`HasAsyncPoll`] for a type with such a field.
#[macro_export]
macro_rules! impl_has_async_poll {
    (impl HasAsyncPoll for $self:ty { self.$($field:ident).+ }) => {
        // SAFETY: The compiler computes the offset, and checks the type of the field below.
        unsafe impl $crate::aio::poll::HasAsyncPoll for $self {
            const OFFSET: usize = {
                let _ = |this: &Self| -> *const $crate::aio::poll::AsyncPoll { &this.$($field).+ };

                ::core::mem::offset_of!(Self, $($field).+)
            };
        }
    };
}
pub use impl_has_async_poll;

/// The operation that an [`AsyncPoll`] is a part of.
pub trait PollOwner: HasAsyncPoll + Cached + Send + Sync + 'static {
    /// Returns the list in which the operation can be found in order to cancel it.
    ///
    /// Called once, when the operation is started.
    fn cancel_list(&self) -> &CancelList;

    /// Returns whether completing the operation may take locks that who makes files ready may hold.
    fn must_not_complete_inline(&self) -> bool;

    /// The operation has ended: with the events that are there, or with none if it was cancelled.
    ///
    /// Called exactly once for each [`AsyncPoll::start()`] that has returned [`Polled::Waiting`],
    /// in any context; perhaps while `start()` has not returned yet.
    fn complete(this: SlabArc<Self>, events: u16);
}

/// The wait queue of an operation, whose entry is in it: the lock is held, and RCU read-locked.
struct LockedQueue<'a> {
    poll: &'a AsyncPoll,
    head: *mut bindings::wait_queue_head,
    // Dropped last: when the queue is unlocked, only RCU may keep it.
    _rcu: rcu::Guard,
}

impl<'a> LockedQueue<'a> {
    /// Locks the queue, unless the entry was removed from it.
    ///
    /// To be called with interrupts disabled.
    #[inline]
    fn lock(poll: &'a AsyncPoll) -> Option<Self> {
        let rcu = rcu::read_lock();
        // Pairs with the release in `leave_queue()`.
        let head = poll.head.load(Acquire);

        if head.is_null() {
            return None;
        }
        // SAFETY: By the type invariants of `AsyncPoll`; RCU is read-locked.
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
    fn remove_entry(&self) {
        // SAFETY: The lock of the queue that the entry is in is held.
        unsafe { self.poll.leave_queue() };
    }

    /// Returns what belongs to who holds the lock.
    #[inline]
    fn wakeups(&self) -> &Wakeups {
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
struct PollTable<'a> {
    table: bindings::poll_table_struct,
    poll: &'a AsyncPoll,
    queued: bool,
    error: Option<Error>,
}

impl AsyncPoll {
    /// Initialises an operation that waits for `events` (`POLL*`, errors always among them); `id`
    /// is how user space calls it.
    #[inline]
    pub fn new(file: ARef<LocalFile>, events: u16, id: u64) -> impl PinInit<Self> {
        // SAFETY: There are no requirements.
        let events = unsafe { bindings::demangle_poll(events) };

        pin_init!(Self {
            file,
            events: events | bindings::EPOLLERR | bindings::EPOLLHUP,
            result: Atomic::new(0),
            head: Atomic::new(null_mut()),
            cancelled: AtomicFlag::new(false),
            wakeups: UnsafeCell::new(Wakeups {
                scheduled: Cell::new(false),
                again: Cell::new(false),
            }),
            entry: Opaque::uninit(),
            work: Opaque::uninit(),
            node <- CancelNode::new(id),
            _pin: PhantomPinned,
        })
    }

    /// Starts the operation.
    ///
    /// With `ask_first`, the file is asked whether it is ready before its wait queue is used: that
    /// costs less if it is, and more if it is not. May sleep.
    ///
    /// # Errors
    ///
    /// `EINVAL` if the file can't be waited for, or only in more than one queue. Then the operation
    /// was not started.
    pub fn start<T: PollOwner>(this: UniqueSlabArc<T>, ask_first: bool) -> Result<Polled<T>> {
        if ask_first {
            // SAFETY: By the requirements of `HasAsyncPoll`.
            let mask = unsafe { Self::within::<T>(&this) }.ask();

            if mask != 0 {
                return Ok(Polled::Ready(this, Self::mangle(mask)));
            }
        }

        let (submission, completion) = this.share_two();
        let list = submission.cancel_list();
        // SAFETY: By the requirements of `HasAsyncPoll`.
        let poll = unsafe { Self::within::<T>(&submission) };

        // INVARIANT: The list is borrowed from the object, which is only shared until it ends.
        poll.node.set_list(list);
        poll.init_callbacks::<T>();
        // The reference belongs to the entry.
        let completion = completion.into_raw();

        let mut table = PollTable {
            table: bindings::poll_table_struct {
                _qproc: Some(Self::queue),
                _key: poll.events,
            },
            poll,
            queued: false,
            // What a file without a wait queue gets that is not ready.
            error: Some(EINVAL),
        };
        // SAFETY: The file is valid. `queue()` finds the rest of the table behind its argument.
        let mut mask = unsafe { bindings::vfs_poll(poll.file.as_ptr(), (&raw mut table).cast()) }
            & poll.events;

        if table.queued {
            let _guard = list.lock.lock();
            let mut cancel = false;
            let queue = LockedQueue::lock(poll);

            // The callback has completed the operation, or has scheduled the work item to do so.
            if queue
                .as_ref()
                .is_none_or(|queue| queue.wakeups().scheduled.get())
            {
                // There was a second queue, which is not supported, but it's too late for that.
                cancel = table.error.is_some();
                table.error = None;
                mask = 0;
            }
            if mask != 0 || table.error.is_some() {
                // The operation belongs to us again.
                if let Some(queue) = &queue {
                    queue.remove_entry();
                }
            } else if cancel {
                poll.cancelled.store(true, Relaxed);
            } else if queue.is_some() {
                // SAFETY: The lock is held. The node is in no list; who completes the operation
                // removes it. The operation is alive until then.
                unsafe {
                    list.add_locked(
                        &poll.node,
                        core::ptr::from_ref(poll).cast_mut().cast(),
                        Some(Self::cancel),
                    )
                };
            }
        }

        let error = table.error;

        if mask == 0 && error.is_none() {
            return Ok(Polled::Waiting(submission));
        }

        // SAFETY: The reference was the entry's, which is in no queue: nobody has found it there,
        // and nobody can cancel the operation. These two are all there are.
        let this = unsafe { submission.reunite(SlabArc::from_raw(completion)) };

        match error {
            Some(e) if mask == 0 => Err(e),
            _ => Ok(Polled::Ready(this, Self::mangle(mask))),
        }
    }

    /// Returns the operation in an object.
    ///
    /// # Safety
    ///
    /// `OFFSET` must be right, see [`HasAsyncPoll`].
    #[inline]
    unsafe fn within<T: HasAsyncPoll>(this: &T) -> &Self {
        // SAFETY: By the requirements of this function.
        unsafe { &*core::ptr::from_ref(this).byte_add(T::OFFSET).cast() }
    }

    /// Asks the file which of the events there are.
    ///
    /// May sleep.
    #[inline]
    fn ask(&self) -> bindings::__poll_t {
        let mut table = bindings::poll_table_struct {
            _qproc: None,
            _key: self.events,
        };

        // SAFETY: The file is valid. Nothing is queued.
        unsafe { bindings::vfs_poll(self.file.as_ptr(), &mut table) & self.events }
    }

    /// Returns what belongs to who holds the lock of the wait queue.
    ///
    /// # Safety
    ///
    /// The lock must be held for as long as the reference is used.
    unsafe fn wakeups(&self) -> &Wakeups {
        // SAFETY: By the requirements of this function.
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
        // SAFETY: By the requirements of this function.
        unsafe { bindings::list_del_init(self.links()) };
        // Whoever sees it may use the operation without the lock of the queue. Pairs with the
        // acquire in `LockedQueue::lock()`.
        self.head.store(null_mut(), Release);
    }

    /// Returns the list of the operation, which must have been started.
    #[inline]
    fn list(&self) -> &CancelList {
        // SAFETY: By the type invariants.
        unsafe { &*self.node.list() }
    }

    #[inline]
    fn mangle(mask: bindings::__poll_t) -> u16 {
        // SAFETY: There are no requirements.
        unsafe { bindings::mangle_poll(mask) }
    }

    #[inline]
    fn init_callbacks<T: PollOwner>(&self) {
        // SAFETY: Nobody else refers to the operation.
        unsafe {
            bindings::INIT_LIST_HEAD(self.links());
            bindings::init_waitqueue_func_entry(self.entry.get(), Some(Self::wake::<T>));
        }
        self.init_work(Self::work::<T>);
    }

    /// Sets the function of the work item, which must not be scheduled.
    #[inline]
    fn init_work(&self, func: unsafe extern "C" fn(*mut bindings::work_struct)) {
        // Each crate has its own copy of this function, but lockdep wants one name for one key.
        static NAME: &CStr = c"kernel::aio::poll";

        // SAFETY: The work item is not scheduled, and name and key are static.
        unsafe {
            bindings::init_work_with_key(
                self.work.get(),
                Some(func),
                false,
                NAME.as_char_ptr(),
                crate::static_lock_class!().as_ptr(),
            )
        };
    }

    /// Schedules the work item, to which the reference of the entry goes over.
    fn schedule(&self) {
        // SAFETY: The work item was initialised, and the operation is alive until it has run.
        unsafe {
            bindings::queue_work_on(
                bindings::wq_misc_consts_WORK_CPU_UNBOUND as c_int,
                bindings::system_percpu_wq,
                self.work.get(),
            )
        };
    }

    /// Returns the operation around this.
    ///
    /// # Safety
    ///
    /// `this` must be in a `T` as [`HasAsyncPoll`] says, and be alive for `'a`.
    unsafe fn owner<'a, T: PollOwner>(this: *const Self) -> &'a T {
        // SAFETY: By the requirements of this function.
        unsafe { &*this.byte_sub(T::OFFSET).cast::<T>() }
    }

    /// Ends the operation with the reference that belongs to the caller.
    ///
    /// # Safety
    ///
    /// As for [`owner()`](Self::owner), and the reference of the entry must be the caller's.
    unsafe fn complete<T: PollOwner>(this: *const Self, mask: bindings::__poll_t) {
        // SAFETY: By the requirements of this function.
        let owner = unsafe { SlabArc::from_raw(this.byte_sub(T::OFFSET).cast::<T>()) };

        T::complete(owner, Self::mangle(mask));
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
        // SAFETY: By the requirements of this function.
        let table = unsafe { &mut *table.cast::<PollTable<'_>>() };

        if table.queued {
            // There would have to be an entry for each.
            table.error = Some(EINVAL);
            return;
        }
        table.queued = true;
        table.error = None;
        // INVARIANT: The entry is put into this queue.
        table.poll.head.store(head, Relaxed);
        // SAFETY: The file keeps its queue for now; the entry is initialised and in no queue.
        unsafe { bindings::add_wait_queue(head, table.poll.entry.get()) };
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
        // SAFETY: By the requirements of this function; the entry in the queue has a reference.
        let poll = unsafe { &*crate::container_of!(Opaque::cast_from(entry), Self, entry) };
        // SAFETY: As above.
        let owner = unsafe { Self::owner::<T>(poll) };
        // A plain wake-up says nothing about the events.
        let mask = key as usize as bindings::__poll_t;

        if mask != 0 && mask & poll.events == 0 {
            return 0;
        }

        // SAFETY: The lock of the queue is held.
        let wakeups = unsafe { poll.wakeups() };

        if mask != 0 && !wakeups.scheduled.get() {
            let list = poll.list();

            if let Some(guard) = list.lock.try_lock() {
                // SAFETY: The locks of the queue and of the list are held.
                unsafe {
                    poll.leave_queue();
                    list.remove_locked(&poll.node);
                }
                // The queue may go away before the submitter looks whether the entry is in it.
                poll.head.store(null_mut(), Release);
                // The entry is in no queue, so its reference is ours now.
                if owner.must_not_complete_inline() {
                    poll.result.store(mask, Relaxed);
                    poll.init_work(Self::complete_work::<T>);
                    // The list may be a part of what the work item frees.
                    drop(guard);
                    poll.schedule();
                } else {
                    drop(guard);
                    // SAFETY: See above.
                    unsafe { Self::complete::<T>(poll, mask) };
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
            poll.schedule();
        }

        if mask & bindings::POLLFREE != 0 {
            // The queue goes away, and the work item must not touch it any longer.
            poll.cancelled.store(true, Relaxed);
            // The last touch: as soon as this is seen, the work item completes the operation
            // without the lock of the queue.
            //
            // SAFETY: The lock of the queue that the entry is in is held.
            unsafe { poll.leave_queue() };
        }
        1
    }

    /// An operation that could not complete inline completes.
    ///
    /// # Safety
    ///
    /// To be called by the work queue; the reference of the entry belongs to this function.
    unsafe extern "C" fn complete_work<T: PollOwner>(work: *mut bindings::work_struct) {
        // SAFETY: By the requirements of this function.
        unsafe {
            let poll = crate::container_of!(Opaque::cast_from(work), Self, work);

            Self::complete::<T>(poll, (*poll).result.load(Relaxed));
        }
    }

    /// An operation was woken: ask the file whether it is ready.
    ///
    /// # Safety
    ///
    /// To be called by the work queue; the reference of the entry belongs to this function if it
    /// completes the operation.
    unsafe extern "C" fn work<T: PollOwner>(work: *mut bindings::work_struct) {
        // SAFETY: By the requirements of this function, the operation is alive until it is
        // completed below.
        let poll = unsafe { &*crate::container_of!(Opaque::cast_from(work), Self, work) };
        let list = poll.list();
        let mut mask = 0;

        if !poll.cancelled.load(Relaxed) {
            mask = poll.ask();
        }

        // Who cancels the operation has this lock, and uses the operation until it is released.
        let guard = list.lock.lock();

        if let Some(queue) = LockedQueue::lock(poll) {
            if mask == 0 && !poll.cancelled.load(Relaxed) {
                // It is not ready after all. The entry is still in the queue.
                let wakeups = queue.wakeups();

                if wakeups.again.get() {
                    wakeups.again.set(false);
                    poll.schedule();
                } else {
                    wakeups.scheduled.set(false);
                }
                return;
            }
            queue.remove_entry();
        }
        // SAFETY: The lock is held.
        unsafe { list.remove_locked(&poll.node) };
        drop(guard);

        // SAFETY: The entry is in no queue, so its reference is ours.
        unsafe { Self::complete::<T>(poll, mask) };
    }

    /// Cancels an operation: it completes soon.
    ///
    /// # Safety
    ///
    /// To be called with the lock of the list held that the operation is in, and with what it was
    /// put there with.
    unsafe extern "C" fn cancel(kiocb: *mut bindings::kiocb) -> c_int {
        // SAFETY: By the requirements of this function.
        let poll = unsafe { &*kiocb.cast::<Self>() };

        // Otherwise the queue has gone away, and the work item is scheduled already.
        if let Some(queue) = LockedQueue::lock(poll) {
            poll.cancelled.store(true, Relaxed);
            if !queue.wakeups().scheduled.get() {
                queue.wakeups().scheduled.set(true);
                poll.schedule();
            }
        }
        0
    }
}

#[kunit_tests(rust_aio_poll)]
mod tests {
    use super::*;
    use crate::{
        kunit::user::ScriptedFile,
        slab::{
            Backing,
            KmemCache,
            SlabArcInner,
            SlabSlot, //
        },
        sync::{
            Arc,
            Completion, //
        },
    };

    const IN: u32 = bindings::POLLIN;
    const OUT: u32 = bindings::POLLOUT;

    enum Ops {}

    static OPS: KmemCache<Ops> = KmemCache::new(c"rust_kunit_poll");

    impl Backing for Ops {
        type Largest = SlabArcInner<Op>;
        const CACHE: &'static KmemCache<Self> = &OPS;
    }

    /// What operations have in common.
    #[pin_data]
    struct Group {
        #[pin]
        list: CancelList,
        not_inline: bool,
        times: Atomic<u32>,
        events: Atomic<u32>,
        #[pin]
        done: Completion,
    }

    #[pin_data]
    struct Op {
        #[pin]
        poll: AsyncPoll,
        group: Arc<Group>,
    }

    impl Cached for Op {
        type Backing = Ops;
    }

    impl_has_async_poll! {
        impl HasAsyncPoll for Op { self.poll }
    }

    impl PollOwner for Op {
        fn cancel_list(&self) -> &CancelList {
            &self.group.list
        }

        fn must_not_complete_inline(&self) -> bool {
            self.group.not_inline
        }

        fn complete(this: SlabArc<Self>, events: u16) {
            let group = this.group.clone();

            drop(this);
            group.times.fetch_add(1, Relaxed);
            group.events.store(events.into(), Relaxed);
            group.done.complete_all();
        }
    }

    struct Setup {
        file: ScriptedFile,
        group: Arc<Group>,
    }

    impl Setup {
        fn new(not_inline: bool) -> Result<Self> {
            OPS.init()?;
            Ok(Self {
                file: ScriptedFile::new()?,
                group: Arc::pin_init(
                    pin_init!(Group {
                        list <- CancelList::new(),
                        not_inline,
                        times: Atomic::new(0),
                        events: Atomic::new(0),
                        done <- Completion::new(),
                    }),
                    GFP_KERNEL,
                )?,
            })
        }

        fn start(&self, file: &ScriptedFile, events: u32, ask_first: bool) -> Result<Polled<Op>> {
            let file = file.open().local()?;
            let op = SlabSlot::alloc(GFP_KERNEL)?.init(pin_init!(Op {
                poll <- AsyncPoll::new(file, events as u16, 1),
                group: self.group.clone(),
            }))?;

            AsyncPoll::start(op, ask_first)
        }

        /// Starts an operation that is to wait.
        fn wait_for(&self, events: u32) -> Result {
            match self.start(&self.file, events, false)? {
                Polled::Waiting(_) => Ok(()),
                Polled::Ready(..) => Err(EALREADY),
            }
        }

        fn times(&self) -> u32 {
            self.group.times.load(Relaxed)
        }

        /// Waits until an operation has completed, and returns the events that it was told.
        fn done(&self) -> u32 {
            self.group.done.wait_for_completion();
            self.group.events.load(Relaxed)
        }
    }

    /// The events of an operation that was ready, or nothing if it waits.
    fn ready(polled: Result<Polled<Op>>) -> Result<Option<u16>> {
        match polled? {
            Polled::Ready(_, events) => Ok(Some(events)),
            Polled::Waiting(_) => Ok(None),
        }
    }

    #[test]
    fn ready_at_once() -> Result {
        let setup = Setup::new(false)?;

        setup.file.set_ready(IN | OUT);
        for ask_first in [false, true] {
            let start = |events| ready(setup.start(&setup.file, events, ask_first));

            assert_eq!(start(IN), Ok(Some(IN as u16)));
            assert_eq!(start(IN | OUT), Ok(Some((IN | OUT) as u16)));
        }
        // Errors are told whether they were asked for or not.
        setup.file.set_ready(bindings::POLLERR);
        assert_eq!(
            ready(setup.start(&setup.file, IN, false)),
            Ok(Some(bindings::POLLERR as u16))
        );
        // Nothing has stayed in the queue.
        setup.file.wake(IN);
        setup.file.wake(0);
        assert_eq!(setup.times(), 0);
        Ok(())
    }

    #[test]
    fn files_that_cannot_be_waited_for() -> Result {
        let setup = Setup::new(false)?;
        let start = || ready(setup.start(&setup.file, IN, false));

        // Not ready, and never will be.
        setup.file.set_queues(0);
        assert_eq!(start(), Err(EINVAL));
        setup.file.set_ready(IN);
        assert_eq!(start(), Ok(Some(IN as u16)));
        // One entry can't be in two queues.
        setup.file.set_queues(2);
        assert_eq!(start(), Ok(Some(IN as u16)));
        setup.file.set_ready(0);
        assert_eq!(start(), Err(EINVAL));
        setup.file.wake(IN);
        assert_eq!(setup.times(), 0);
        // A file that has nothing to say is ready for everything.
        let other = ScriptedFile::without_operations()?;

        assert_eq!(
            ready(setup.start(&other, IN | OUT, false)),
            Ok(Some((IN | OUT) as u16))
        );
        Ok(())
    }

    #[test]
    fn woken_with_events() -> Result {
        for not_inline in [false, true] {
            let setup = Setup::new(not_inline)?;

            setup.wait_for(IN)?;
            // Not what is waited for.
            setup.file.wake(OUT);
            assert_eq!(setup.times(), 0);
            setup.file.wake(IN);
            if !not_inline {
                assert_eq!(setup.times(), 1);
            }
            assert_eq!(setup.done(), IN);
            // Once only.
            setup.file.wake(IN);
            assert_eq!(setup.group.list.cancel(1), Err(EINVAL));
            assert_eq!(setup.times(), 1);
        }
        Ok(())
    }

    #[test]
    fn woken_without_events() -> Result {
        let setup = Setup::new(false)?;

        setup.wait_for(IN)?;
        // The file is asked, and not ready.
        setup.file.wake(0);
        setup.file.wake(0);
        // SAFETY: May be called by anybody who may sleep.
        unsafe { bindings::__flush_workqueue(bindings::system_percpu_wq) };
        assert_eq!(setup.times(), 0);
        setup.file.set_ready(IN | OUT);
        setup.file.wake(0);
        assert_eq!(setup.done(), IN);
        assert_eq!(setup.times(), 1);
        Ok(())
    }

    #[test]
    fn cancelled() -> Result {
        let setup = Setup::new(false)?;

        setup.wait_for(IN)?;
        assert_eq!(setup.group.list.cancel(2), Err(EINVAL));
        assert_eq!(setup.group.list.cancel(1), Ok(()));
        assert_eq!(setup.done(), 0);
        assert_eq!(setup.group.list.cancel(1), Err(EINVAL));
        setup.file.wake(IN);
        assert_eq!(setup.times(), 1);
        Ok(())
    }

    #[test]
    fn all_cancelled() -> Result {
        let setup = Setup::new(false)?;

        for _ in 0..10 {
            setup.wait_for(IN)?;
        }
        setup.group.list.cancel_all();
        // SAFETY: As above.
        unsafe { bindings::__flush_workqueue(bindings::system_percpu_wq) };
        assert_eq!(setup.times(), 10);
        Ok(())
    }

    #[test]
    fn no_queue_is_remembered_after_the_end() -> Result {
        // As the entry leaves it, the queue may go away without a word.
        for (not_inline, end) in [(false, 0), (false, 1), (true, 1), (false, 2), (false, 3)] {
            let setup = Setup::new(not_inline)?;
            let Polled::Waiting(op) = setup.start(&setup.file, IN, false)? else {
                return Err(EALREADY);
            };

            assert!(!op.poll.head.load(Relaxed).is_null());
            setup.file.set_ready(IN);
            match end {
                0 => setup.file.wake(0),
                1 => setup.file.wake(IN),
                2 => setup.group.list.cancel(1)?,
                _ => setup.file.free_queue(),
            }
            setup.done();
            assert!(op.poll.head.load(Relaxed).is_null());
        }
        Ok(())
    }

    #[test]
    fn the_queue_goes_away() -> Result {
        let setup = Setup::new(false)?;

        for _ in 0..8 {
            setup.wait_for(IN)?;
        }
        setup.file.free_queue();
        // SAFETY: As above.
        unsafe { bindings::__flush_workqueue(bindings::system_percpu_wq) };
        assert_eq!(setup.times(), 8);
        // Nobody touches the queue any longer.
        setup.file.wake(IN);
        setup.group.list.cancel_all();
        assert_eq!(setup.times(), 8);
        Ok(())
    }
}
