// SPDX-License-Identifier: GPL-2.0

//! Reads and writes that are polled for: only a task that polls the device learns of their
//! completion.
//!
//! Of those who wait for events of a context one asks, and posts the events; the others sleep
//! until there are enough, or it is their turn.

use crate::{
    ops::polled::{
        start_unpolled,
        Outcome,
        PolledRw, //
    },
    request::Request,
    trace, //
};
use kernel::{
    aio::trace::completions_on,
    fs::{
        CompBatch,
        Look,
        Submitted, //
    },
    prelude::*,
    slab::UniqueSlabArc,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        new_mutex,
        new_spinlock,
        Arc,
        Mutex,
        SpinLock, //
    },
};

type InFlight = Submitted<Request<PolledRw>>;

/// What a look has found.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum IopollOutcome {
    /// Somebody else looks.
    Busy,
    /// There is nothing to poll for: what is in flight, if anything is, completes by itself, with
    /// a wake-up.
    Nothing,
    /// There is, or events were posted.
    Something,
}

/// What becomes of requests that were refused, late.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Refused {
    /// They are issued once more, if nothing else is in flight.
    Again,
    /// They are left to the tasks that wait for the context.
    Left,
    /// That is their result.
    Posted,
}

/// The events of so many requests are posted together, at most.
const TOGETHER: usize = 32;

/// What belongs to the task that polls.
struct Seen {
    /// Those that are in flight. There is room for all that there can be.
    all: KVVec<Option<InFlight>>,
    /// Those that are complete, for as long as it takes to post their events. There is room for as
    /// many as are posted together.
    complete: KVec<UniqueSlabArc<Request<PolledRw>>>,
}

/// The reads and writes of a context that are polled for.
#[pin_data]
pub(crate) struct Polled {
    /// Those that nobody has looked at. There is room for all that there can be.
    #[pin]
    new: SpinLock<KVVec<InFlight>>,
    /// The others; the task that polls has the lock.
    #[pin]
    seen: Mutex<Seen>,
    /// How many have no event yet.
    in_flight: Atomic<usize>,
}

impl Polled {
    /// None; no more than so many will be in flight.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new(capacity: usize) -> Result<Arc<Self>> {
        let new = KVVec::with_capacity(capacity, GFP_KERNEL_ACCOUNT)?;
        let seen = Seen {
            all: KVVec::with_capacity(capacity, GFP_KERNEL_ACCOUNT)?,
            complete: KVec::with_capacity(TOGETHER.min(capacity), GFP_KERNEL_ACCOUNT)?,
        };

        Arc::pin_init(
            pin_init!(Self {
                new <- new_spinlock!(new, "aio::polled.new"),
                seen <- new_mutex!(seen, "aio::polled.seen"),
                in_flight: Atomic::new(0),
            }),
            GFP_KERNEL_ACCOUNT,
        )
    }

    /// Returns how many are in flight.
    #[inline]
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.load(Relaxed)
    }

    /// Adds one that was submitted.
    #[inline(always)]
    pub(crate) fn push(&self, request: InFlight) {
        self.in_flight.add(1, Relaxed);
        // There is room: each has a slot of the ring.
        let refused = self.new.lock().push_within_capacity(request);

        debug_assert!(refused.is_ok());
    }

    /// Looks for completions, unless somebody else does, and posts their events.
    ///
    /// May sleep. May be called by anybody: memory of the process is not needed.
    pub(crate) fn look(&self, look: Look) -> IopollOutcome {
        self.look_and(look, Refused::Again).0
    }

    /// Returns how many events were posted, too.
    fn look_and(&self, look: Look, refused: Refused) -> (IopollOutcome, usize) {
        let Some(mut seen) = self.seen.try_lock() else {
            return (IopollOutcome::Busy, 0);
        };

        for request in self.new.lock().drain_all() {
            // As above.
            let _ = seen.all.push_within_capacity(Some(request));
        }
        if seen.all.is_empty() {
            return (IopollOutcome::Nothing, 0);
        }

        let found = Self::ask(&seen.all, look);
        let mut posted = self.post(&mut seen, refused);

        // Others may have ended since: those have been executed.
        if refused == Refused::Again
            && posted == 0
            && seen.all.iter().flatten().all(Self::waits_for_room)
        {
            posted = self.start_again(&mut seen.all);
        }
        match posted {
            0 => (found, 0),
            _ => (IopollOutcome::Something, posted),
        }
    }

    /// The same, for somebody who waits until there are none; returns whether it was of use.
    pub(crate) fn work(&self) -> bool {
        self.look_and(Look::Once, Refused::Posted).1 != 0
    }

    /// The same, for a caller that needs room in the device for another context.
    ///
    /// If what was found is not [`IopollOutcome::Nothing`], a task that waits for this context may
    /// have been told that somebody polls, and should be woken.
    pub(crate) fn make_room(&self) -> (IopollOutcome, usize) {
        self.look_and(Look::Once, Refused::Left)
    }

    /// Returns whether somebody who sleeps should look.
    pub(crate) fn wants_look(&self) -> bool {
        // The holder of the lock polls, and wakes others when it stops.
        let Some(seen) = self.seen.try_lock() else {
            return false;
        };
        let all = &seen.all;

        let of_use = |request: &InFlight| {
            request.is_polled() || (request.is_last() && !Self::is_refused(request))
        };
        // Those that were refused wait for the others, and so does who would look at them.
        let room = !all.is_empty() && all.iter().flatten().all(Self::waits_for_room);

        room || all.iter().flatten().any(of_use) || !self.new.lock().is_empty()
    }

    /// Asks the devices.
    fn ask(all: &[Option<InFlight>], mut look: Look) -> IopollOutcome {
        let mut batch = CompBatch::new();
        let mut found = IopollOutcome::Nothing;

        for request in all.iter().flatten() {
            if request.is_last() && !Self::is_refused(request) {
                break;
            }
            if !request.is_polled() {
                continue;
            }
            found = IopollOutcome::Something;
            if request.poll(&mut batch, look) {
                // From here on it would be a waste of time to wait.
                look = Look::Once;
            }
            if !batch.is_empty() {
                break;
            }
        }
        found
    }

    /// Returns whether a request that is complete was refused.
    fn is_refused(request: &InFlight) -> bool {
        request.is_refused(request.result())
    }

    /// Returns whether a request was refused, and is to be issued once more.
    fn waits_for_room(request: &InFlight) -> bool {
        request.is_last() && Self::is_refused(request)
    }

    /// All were refused, late, and nothing is in flight: issues one once more. Returns how many
    /// events were posted.
    #[cold]
    fn start_again(&self, all: &mut KVVec<Option<InFlight>>) -> usize {
        let Some(Ok(request)) = all.pop().flatten().map(Submitted::into_last) else {
            return 0;
        };

        match start_unpolled(request, self) {
            Outcome::InFlight(submitted) => {
                // There is the room of the one that was taken out.
                let _ = all.push_within_capacity(Some(submitted));
                0
            }
            Outcome::Ended(request, result) => {
                self.ended(1);
                Request::complete(request.share(), result);
                1
            }
        }
    }

    /// Some are about to have their events.
    ///
    /// Not after that: a task that reads them may submit at once, and if the device has no room
    /// then it makes a difference whether something is in flight.
    #[inline]
    fn ended(&self, nr: usize) {
        self.in_flight.fetch_sub(nr, Relaxed);
    }

    /// Posts the events of all that are complete, and returns how many. Those that were refused are
    /// left, unless that is their result.
    fn post(&self, Seen { all, complete }: &mut Seen, refused: Refused) -> usize {
        let (mut left, mut posted) = (0, 0);

        // The result counts if it is complete.
        let has_event = |request: &InFlight| {
            request.is_last() && (refused == Refused::Posted || !Self::is_refused(request))
        };

        for i in 0..all.len() {
            let request = match &all[i] {
                Some(request) if has_event(request) => all[i].take().map(Submitted::into_last),
                _ => None,
            };

            match request {
                Some(Ok(request)) => {
                    if complete.len() == complete.capacity() {
                        self.post_together(complete);
                    }
                    // There is room.
                    let _ = complete.push_within_capacity(request);
                    posted += 1;
                    continue;
                }
                Some(Err(request)) => all[i] = Some(request),
                None => (),
            }
            if left != i {
                all.swap(left, i);
            }
            left += 1;
        }
        if posted != 0 {
            self.post_together(complete);
        }
        all.truncate(left);
        posted
    }

    #[inline]
    fn post_together(&self, complete: &mut KVec<UniqueSlabArc<Request<PolledRw>>>) {
        if completions_on() {
            for request in &*complete {
                trace::completed(request, request.result());
            }
        }
        self.ended(complete.len());
        Request::finish_all(complete);
    }
}

#[cfg(CONFIG_AIO_SETUP2)]
#[kunit_tests(aio_polled)]
mod tests {
    use crate::kunit::Process;
    use kernel::{
        prelude::*,
        sync::threshold::Timeout, //
    };

    /// Reads from a device that refuses each time, late. Returns how often it was asked, up to five
    /// times, and how many events there were, of which the result of the last is the third.
    fn refused(process: &Process) -> Result<(u32, usize, isize)> {
        let eagain = EAGAIN.to_errno() as isize;
        let (mut asked, mut events) = (0, 0);

        process.file.hold(false);
        process.submit(&[process.read_iocb(8)])?;
        while asked < 5 && process.file.end(eagain) {
            asked += 1;
            // One look.
            events += process.read_events(0, 1, Timeout::Never)?;
        }
        Ok((asked, events, process.event(0)?[2] as isize))
    }

    #[test]
    fn issued_once_more() -> Result {
        let process = Process::polled(16)?;

        // There is room for the next one each time.
        for _ in 0..40 {
            assert_eq!(refused(&process)?, (2, 1, EAGAIN.to_errno() as isize));
        }
        Ok(())
    }
}
