// SPDX-License-Identifier: GPL-2.0

//! Waiting until a file is ready, without a task that waits.
//!
//! [`sync::poll`](crate::sync::poll) is for those who implement `->poll()`: they are given a table,
//! and name a wait queue to it. This is the other side, which calls `vfs_poll()` with a table of
//! its own and has an entry in the wait queue, so the two share nothing but the C structure.
//!
//! An operation puts an entry into the wait queue that the file names. When it is woken it either
//! completes at once, in the context of the wake-up, or leaves that to a work item, which asks the
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
//!
//! # Examples
//!
//! ```
//! use kernel::{
//!     aio::poll::{
//!         AsyncPoll,
//!         PollOwner,
//!         Polled, //
//!     },
//!     slab::UniqueSlabArc,
//! };
//!
//! /// Returns the events that are there, if there are some. Otherwise `T::complete()` will be
//! /// called.
//! fn start<T: PollOwner>(operation: UniqueSlabArc<T>) -> Result<Option<u16>> {
//!     match AsyncPoll::start(operation, true)? {
//!         Polled::Ready(_operation, events) => Ok(Some(events)),
//!         Polled::Waiting(_submission) => Ok(None),
//!     }
//! }
//! ```

use super::cancel::{
    CancelList,
    CancelNode, //
};
use crate::{
    bindings,
    error::Result,
    fs::{
        FileId,
        LocalFile, //
    },
    prelude::*,
    slab::{
        Cached,
        Dismantle,
        SlabArc,
        UniqueSlabArc, //
    },
    sync::{
        aref::ARef,
        atomic::{
            Atomic,
            AtomicFlag,
            Relaxed, //
        },
    },
    types::Opaque, //
};
use core::{
    cell::UnsafeCell,
    marker::PhantomPinned,
    mem::MaybeUninit,
    ptr::null_mut, //
};

mod queue;
#[cfg(CONFIG_KUNIT = "y")]
mod tests;
mod work;

use queue::{
    LockedQueue,
    PollTable,
    Wakeups, //
};

/// An operation that waits until a file is ready.
///
/// # Invariants
///
/// * `head` is null, or the wait queue that `entry` is in, or is about to be put into. It is set to
///   null when the entry is removed, so that the queue is there for an RCU grace period after
///   `head` was seen not to be null.
/// * `wakeups` is accessed with the lock of the wait queue held.
/// * `submitter` is set when the operation is started, and not changed before it has ended.
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
    /// The thread that has started the operation, and its process.
    submitter: UnsafeCell<MaybeUninit<[bindings::pid_t; 2]>>,
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

// SAFETY: The node is taken apart and the file moved out. The pattern below, which has all fields,
// does not compile when there is a new one; the other fields have no destructor. Nobody refers to
// an operation that has ended: its entry is in no queue, and its work item is not scheduled.
unsafe impl Dismantle for AsyncPoll {
    /// The file.
    type Parts = ARef<LocalFile>;

    #[inline]
    unsafe fn dismantle(this: *mut Self) -> ARef<LocalFile> {
        let _ = |all: &Self| {
            let Self {
                file: _,
                node: _,
                events: _,
                result: _,
                head: _,
                cancelled: _,
                submitter: _,
                wakeups: _,
                entry: _,
                work: _,
                _pin: _,
            } = all;
        };
        const { assert!(!core::mem::needs_drop::<Wakeups>()) };

        // SAFETY: By the contract of `Dismantle::dismantle()`, `this` is valid and not used again,
        // so that its node may be taken apart.
        unsafe { CancelNode::dismantle(&raw mut (*this).node) };
        // SAFETY: By the contract of `Dismantle::dismantle()`, `this` is valid and not used again,
        // so that its file may be moved out.
        unsafe { (&raw mut (*this).file).read() }
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

// SAFETY: Polling a file does not use its position, so it is no problem that the thread that has
// opened it may use that without a lock. The other fields belong to no thread.
unsafe impl Send for AsyncPoll {}

// SAFETY: What changes is atomic, or accessed with a lock held, see the type invariants; polling a
// file, as all that is done with it here, may be done by several threads.
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
        // SAFETY: The compiler computes the offset, and checks the type of the field below, which a
        // raw pointer shows as it is.
        unsafe impl $crate::aio::poll::HasAsyncPoll for $self {
            const OFFSET: usize = {
                let _ = |this: &Self| -> *const $crate::aio::poll::AsyncPoll {
                    &raw const this.$($field).+
                };

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

impl AsyncPoll {
    /// Initialises an operation that waits for `events` (`POLL*`, errors always among them); `id`
    /// is how user space calls it.
    #[inline]
    pub fn new(file: ARef<LocalFile>, events: u16, id: u64) -> impl PinInit<Self> {
        // SAFETY: The function takes any number.
        let events = unsafe { bindings::demangle_poll(events) };

        pin_init!(Self {
            file,
            events: events | bindings::EPOLLERR | bindings::EPOLLHUP,
            result: Atomic::new(0),
            head: Atomic::new(null_mut()),
            cancelled: AtomicFlag::new(false),
            submitter: UnsafeCell::new(MaybeUninit::uninit()),
            wakeups: UnsafeCell::new(Wakeups::new()),
            entry: Opaque::uninit(),
            work: Opaque::uninit(),
            node <- CancelNode::new(id),
            _pin: PhantomPinned,
        })
    }

    /// Returns which file it is.
    #[inline]
    pub fn file_id(&self) -> FileId {
        FileId::of(&self.file)
    }

    /// Starts the operation.
    ///
    /// With `ask_first`, the file is asked whether it is ready before its wait queue is used: that
    /// costs less if it is, and more if it is not. An operation that has completed may be started
    /// again, by whoever has the last reference: it waits, is woken and cancelled as the first
    /// time. May sleep.
    ///
    /// # Errors
    ///
    /// `EINVAL` if the file can't be waited for, or only in more than one queue. Then the operation
    /// was not started.
    // Into each of the few callers, so that what it returns need not go through memory.
    #[inline(always)]
    pub fn start<T: PollOwner>(this: UniqueSlabArc<T>, ask_first: bool) -> Result<Polled<T>> {
        if ask_first {
            let mask = Self::within::<T>(&this).ask();

            if mask != 0 {
                return Ok(Polled::Ready(this, Self::mangle(mask)));
            }
        }

        let (submission, completion) = this.share_two();
        let list = submission.cancel_list();
        // The reference belongs to the entry. C keeps pointers that are made from this one, which
        // is to all of the object: what they lead to in the end is the whole of it.
        //
        // SAFETY: `OFFSET` is that of an `AsyncPoll` in a `T`, which is valid, see `HasAsyncPoll`.
        let ptr: *const Self = unsafe { completion.into_raw().byte_add(T::OFFSET).cast() };
        // SAFETY: `submission` keeps the object.
        let poll = unsafe { &*ptr };

        // INVARIANT: The list is borrowed from the object, which is only shared until it ends.
        poll.node.set_list(list);
        // SAFETY: The operation is valid and not started: nobody else has a pointer to it.
        unsafe { Self::prepare::<T>(ptr) };

        let mut table = PollTable::new(ptr, poll.events);
        // SAFETY: The file is valid. `queue()` finds the rest of the table behind its argument.
        let mut mask = unsafe { bindings::vfs_poll(poll.file.as_ptr(), (&raw mut table).cast()) }
            & poll.events;

        if table.queued {
            // SAFETY: The guard lives until the end of the block. The lock of the queue, which is
            // taken after it and dropped before it, does not change whether there are interrupts.
            let _guard = unsafe { list.lock.lock() };
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
                // SAFETY: The lock is held. The node is in no list; the code that completes the
                // operation removes it. The operation is alive until then.
                unsafe { list.add_locked(&poll.node, ptr.cast_mut().cast(), Some(Self::cancel)) };
            }
        }

        let error = table.error;

        if mask == 0 && error.is_none() {
            return Ok(Polled::Waiting(submission));
        }

        // SAFETY: This is the reference of `completion`, of the entry: that is in no queue, so
        // nobody has found it there, and nobody can cancel the operation.
        let completion = unsafe { SlabArc::from_raw(ptr.byte_sub(T::OFFSET).cast::<T>()) };
        // SAFETY: These two are all the references there are.
        let this = unsafe { submission.reunite(completion) };

        match error {
            Some(e) if mask == 0 => Err(e),
            _ => Ok(Polled::Ready(this, Self::mangle(mask))),
        }
    }

    /// Returns the operation in an object.
    #[inline]
    fn within<T: HasAsyncPoll>(this: &T) -> &Self {
        // SAFETY: `OFFSET` is that of an `AsyncPoll` in a `T`, see `HasAsyncPoll`.
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

    /// Returns the list of the operation, which must have been started.
    #[inline]
    fn list(&self) -> &CancelList {
        // SAFETY: By the type invariants the list is that of the owner, and there as long as the
        // operation.
        unsafe { &*self.node.list() }
    }

    #[inline]
    fn mangle(mask: bindings::__poll_t) -> u16 {
        // SAFETY: The function takes any number.
        unsafe { bindings::mangle_poll(mask) }
    }

    /// Gets the operation ready to be put into a queue.
    ///
    /// # Safety
    ///
    /// `this` must point to a valid operation that nobody else refers to, in a `T` at its `OFFSET`.
    #[inline(always)]
    unsafe fn prepare<T: PollOwner>(this: *const Self) {
        // SAFETY: The caller guarantees that `this` points to a valid operation.
        let poll = unsafe { &*this };

        // It may have been started, and have completed, before.
        poll.result.store(0, Relaxed);
        poll.cancelled.store(false, Relaxed);
        // SAFETY: The caller guarantees that nobody else refers to the operation, so nobody else
        // accesses this field.
        unsafe { poll.wakeups.get().write(Wakeups::new()) };
        // SAFETY: The current task has these numbers as long as it runs.
        let submitter = unsafe {
            let task = bindings::get_current();

            [(*task).pid, (*task).tgid]
        };
        // SAFETY: The caller guarantees that nobody else refers to the operation, so nobody else
        // accesses this field.
        unsafe { (*poll.submitter.get()).write(submitter) };
        // SAFETY: The caller guarantees that `this` points to a valid operation that nobody else
        // refers to, so that its entry is in no queue.
        unsafe { Self::init_entry::<T>(this) };
        // SAFETY: The caller guarantees that `this` points to a valid operation that nobody else
        // refers to, so that its work item is not scheduled.
        unsafe { Self::init_work(this, Self::work::<T>) };
    }

    /// Returns the owner of an operation.
    ///
    /// # Safety
    ///
    /// `this` must be in a `T` as [`HasAsyncPoll`] says, and be alive for `'a`.
    unsafe fn owner<'a, T: PollOwner>(this: *const Self) -> &'a T {
        // SAFETY: The caller guarantees that `this` is the `AsyncPoll` at `OFFSET` in a `T`, which
        // is alive for `'a`.
        unsafe { &*this.byte_sub(T::OFFSET).cast::<T>() }
    }

    /// Ends the operation with the reference that belongs to the caller.
    ///
    /// # Safety
    ///
    /// `this` must be in a `T` as [`HasAsyncPoll`] says, made from a pointer to all of it. The
    /// reference of the entry must be the caller's.
    unsafe fn complete<T: PollOwner>(this: *const Self, mask: bindings::__poll_t) {
        // SAFETY: The caller guarantees that `this` is the `AsyncPoll` at `OFFSET` in a `T`, and
        // owns the reference that `start()` has made of `completion` by `into_raw()`, which is
        // taken back here.
        let owner = unsafe { SlabArc::from_raw(this.byte_sub(T::OFFSET).cast::<T>()) };

        T::complete(owner, Self::mangle(mask));
    }
}
