// SPDX-License-Identifier: GPL-2.0

//! Reads and writes that never block who submits them.
//!
//! Each is tried first, as a plain one that is asked not to wait. What would have to wait becomes a
//! [`Carried`] operation, and goes on where it belongs: to the wait queue of a file that can be
//! polled, to the page that it waits for, or to a thread.

use crate::{
    cancel,
    carried::{
        Carried,
        Perform, //
    },
};
use kernel::{
    aio::{
        abi::opcode,
        cancel::CancelList,
        poll::{
            impl_has_async_poll,
            AsyncPoll,
            PollOwner,
            Polled, //
        },
    },
    fs::{
        impl_has_shared_kiocb,
        Abilities,
        AsyncKiocb,
        AsyncRw,
        FileId,
        HasFixedBuffers,
        How,
        Progress,
        SharedKiocb,
        SharedRw, //
    },
    prelude::*,
    slab::{
        Backing,
        Cached,
        KmemCache,
        SlabArc,
        SlabArcInner,
        SlabSlot, //
    },
    sync::{
        atomic::{
            Atomic,
            AtomicFlag,
            Relaxed, //
        }, //
    },
    task::IoThread,
    uio::{
        Direction,
        FixedBuffers, //
    },
};

mod start;
pub(crate) use self::start::{
    start,
    Origin, //
};

const AGAIN: isize = -(kernel::bindings::EAGAIN as isize);

/// A read or write.
#[pin_data]
pub(crate) struct RwJob {
    #[pin]
    shared: SharedKiocb,
    /// It is not tried or parked again: a thread waits for it. What the file says is the result.
    waits: AtomicFlag,
    /// How often the file was ready at once, and then was not.
    misled: Atomic<u32>,
}

impl_has_shared_kiocb! {
    impl HasSharedKiocb for Carried<RwJob> { self.job.shared }
}

impl HasFixedBuffers for Carried<RwJob> {
    fn fixed_buffers(&self) -> Option<&FixedBuffers> {
        self.context().extension()?.buffers()
    }
}

impl AsyncRw for Carried<RwJob> {
    /// The file has ended what it was given.
    fn complete(this: SlabArc<Self>, res: isize) {
        if res == AGAIN && !this.job.waits.load(Relaxed) {
            // It was refused late. One that may wait is refused for good.
            this.job.waits.store(true, Relaxed);
            return Self::enqueue(this);
        }
        let result = this.job.total(res);

        Self::end(this, result);
    }
}

impl SharedRw for Carried<RwJob> {
    fn unparked(this: SlabArc<Self>) {
        Self::enqueue(this);
    }
}

impl RwJob {
    /// Returns the outcome of all of the operation, if this is that of its last part.
    fn total(&self, last: isize) -> isize {
        let done = self.shared.done() as isize;

        match last {
            more if more > 0 => done + more,
            _ if done > 0 => done,
            other => other,
        }
    }

    /// Returns whether an operation whose outcome is `res` goes on.
    fn goes_on(&self, res: isize) -> bool {
        let shared = &self.shared;
        let end = shared.pos_now();

        res > 0
            && shared.left() != 0
            && goes_on(shared.dir(), shared.abilities(), shared.kiocb(), end)
    }

    /// Returns how the file is to be called in a thread.
    fn how(&self) -> How {
        let abilities = self.shared.abilities();

        if self.waits.load(Relaxed) {
            How::Wait
        } else if abilities.polls {
            How::Try
        } else if abilities.parks {
            How::Park
        } else {
            How::Wait
        }
    }
}

/// Returns whether an operation that has done less than it was asked for goes on; `end` is how far
/// it has come, unless it appends.
fn goes_on(dir: Direction, abilities: &Abilities, kiocb: &AsyncKiocb, end: i64) -> bool {
    match dir {
        Direction::Write if abilities.storage => kiocb.may_be_larger(match abilities.simple {
            true => end,
            // One that appends is at the end of the file.
            false => kiocb.pos_left(),
        }),
        Direction::Write => abilities.pipe && !abilities.nonblock,
        // At the end of the file there is no more.
        Direction::Read if abilities.storage => end < kiocb.size(),
        // Files that are polled have no more now. One that is not, and has begun, did not want to
        // keep the CPU: /dev/zero.
        Direction::Read => {
            abilities.tries
                && !(abilities.polls || abilities.pipe || abilities.stream || abilities.nonblock)
        }
    }
}

impl Perform for RwJob {
    fn perform(mut this: SlabArc<Carried<Self>>, thread: &IoThread) {
        loop {
            let how = this.job.how();

            if how == How::Wait {
                this.job.waits.store(true, Relaxed);
            }
            // It may be gone when it is no longer used.
            let submitter = this.submitter().clone();

            submitter.lend_ioprio(thread);
            this = match submitter
                .creds()
                .scoped(|| SharedKiocb::carry_on(this, how))
            {
                Progress::InFlight(this) => {
                    this.handing_on();
                    // A task that has cancelled it may have been too early to find it at its page.
                    if this.is_given_up() {
                        if let Some(parked) = Self::take_back(&this) {
                            Carried::give_up(parked);
                        }
                    }
                    return Carried::put(this);
                }
                Progress::Interrupted(this) => {
                    // Perhaps the process was only stopped, or frozen.
                    if thread.should_leave() {
                        this.pool().die();
                    }
                    thread.work();
                    if this.is_given_up() {
                        return Carried::give_up(this);
                    }
                    this
                }
                Progress::Ended(this, AGAIN) if how == How::Try => match Self::park(this) {
                    None => return,
                    Some(this) => this,
                },
                Progress::Ended(this, AGAIN) if how == How::Park => {
                    this.job.waits.store(true, Relaxed);
                    this
                }
                Progress::Ended(this, res) => {
                    this.forward_signals(thread);

                    // A call that may wait does all that can be done, but for a signal.
                    let cut = how != How::Wait || current!().signal_pending();

                    if !cut || this.is_given_up() || !this.job.goes_on(res) {
                        let result = this.job.partial().unwrap_or(res);

                        return Carried::end_in_thread(this, result, thread);
                    }
                    this
                }
            };
        }
    }

    fn abandoned(this: SlabArc<Carried<Self>>) -> Option<SlabArc<Carried<Self>>> {
        if this.job.shared.abilities().polls {
            // If it is parked, the other reference goes when the file is not waited for any longer.
            let _ = cancel::cancel_inner(this.context(), this.inner_name());
        }
        Some(this)
    }

    fn take_back(this: &Carried<Self>) -> Option<SlabArc<Carried<Self>>> {
        SharedKiocb::take_back(this)
    }

    fn partial(&self) -> Option<isize> {
        match self.shared.done() {
            0 => None,
            done => Some(done as isize),
        }
    }

    fn seen(&self) -> (u16, FileId) {
        let opcode = match self.shared.dir() {
            Direction::Read => opcode::PREAD,
            Direction::Write => opcode::PWRITE,
        };

        (opcode, self.shared.kiocb().file_id())
    }
}

impl RwJob {
    /// The file was not ready so often although it had said that it is: from then on a thread waits
    /// for it.
    const MISLED: u32 = 3;

    /// Waits until the file is ready, without a thread.
    ///
    /// Returns the operation if that is not possible, or the file is ready now. May sleep.
    fn park(this: SlabArc<Carried<Self>>) -> Option<SlabArc<Carried<Self>>> {
        const POLLIN: u16 = 1;
        const POLLOUT: u16 = 4;

        let shared = &this.job.shared;
        let events = match shared.dir() {
            Direction::Read => POLLIN,
            Direction::Write => POLLOUT,
        };
        let Ok(memory) = SlabSlot::<Memory>::alloc(GFP_KERNEL_ACCOUNT) else {
            this.job.waits.store(true, Relaxed);
            return Some(this);
        };
        let (file, name) = (shared.kiocb().file_ref(), this.inner_name());

        // A second reference is in the list of those that are parked. A task that cancels the
        // operation takes that, and ends the operation with it.
        if let Err(second) = this.pool().park(this.clone()) {
            drop(second);
            Carried::give_up(this);
            return None;
        }
        this.handing_on();

        let third = this.clone();
        let readiness = memory.init(pin_init!(Readiness {
            poll <- AsyncPoll::new(file, events, name),
            operation: this,
        }));
        let readiness = readiness.unwrap_or_else(|never| match never {});

        match AsyncPoll::start(readiness, false) {
            Ok(Polled::Waiting(readiness)) => {
                drop(readiness);
                // A task that has cancelled the operation may have been too early to find this.
                if third.is_given_up() {
                    let _ = cancel::cancel_inner(third.context(), name);
                }
                Carried::put(third);
                return None;
            }
            Ok(Polled::Ready(..)) => {
                if third.job.misled.fetch_add(1, Relaxed) >= Self::MISLED {
                    third.job.waits.store(true, Relaxed);
                }
            }
            Err(_) => third.job.waits.store(true, Relaxed),
        }
        Self::unpark(third)
    }

    /// The operation does not wait for its file any longer. Returns it, unless it was cancelled:
    /// then somebody else ends it.
    ///
    /// May be called in any context.
    fn unpark(this: SlabArc<Carried<Self>>) -> Option<SlabArc<Carried<Self>>> {
        match this.pool().unpark(this.links()) {
            Some(second) => {
                second.release();
                Some(this)
            }
            None => {
                Carried::put(this);
                None
            }
        }
    }
}

/// Where those that wait for files live.
pub(crate) enum Memory {}

pub(crate) static CACHE: KmemCache<Memory> = KmemCache::new(c"aio_readiness");

impl Backing for Memory {
    type Largest = SlabArcInner<Readiness>;
    const CACHE: &'static KmemCache<Self> = &CACHE;
}

/// Waits until a file is ready for an operation.
#[pin_data]
pub(crate) struct Readiness {
    #[pin]
    poll: AsyncPoll,
    /// Which waits. The code that drops this has another reference, and gives that up afterwards.
    operation: SlabArc<Carried<RwJob>>,
}

impl Cached for Readiness {
    type Backing = Memory;
}

impl_has_async_poll! {
    impl HasAsyncPoll for Readiness { self.poll }
}

impl PollOwner for Readiness {
    fn cancel_list(&self) -> &CancelList {
        &self.operation.context().cancel
    }

    /// If it was cancelled, this may be what posts the event.
    fn must_not_complete_inline(&self) -> bool {
        self.operation.has_eventfd()
    }

    fn complete(this: SlabArc<Self>, _events: u16) {
        let operation = this.operation.clone();

        drop(this);
        if let Some(operation) = RwJob::unpark(operation) {
            Carried::enqueue(operation);
        }
    }
}
