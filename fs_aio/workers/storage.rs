// SPDX-License-Identifier: GPL-2.0

//! Which operation on storage is the next.
//!
//! They begin in the order in which they came, but for those on devices where one is stuck: these
//! are put aside, and what goes to others overtakes them. As soon as none is stuck any longer it is
//! their turn again, before what came later. As long as one is, they are begun if there is nothing
//! else to do, and now and then if there is: what is stuck need not be the device, but one file on
//! it, or all writes to a file system that is frozen. They use no more than half of the room, so
//! that there is some for what comes to other devices.

use super::running::{
    Place,
    Running, //
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
    time::{
        Instant,
        Monotonic, //
    },
};

/// For so many devices there are lists of what was put aside. Operations on others share the last
/// one.
const LISTS: usize = 8;

/// So many operations are put aside at a time, with the lock of the pool held.
const AT_A_TIME: usize = 64;

/// If so many on other devices have overtaken what was put aside, one of that is begun.
const PATIENCE: u32 = 16;

/// What there is to do.
pub(super) enum Found {
    /// This, in this place if it has one.
    Job(AnyJob, Option<Place>),
    /// Something may be found by looking again.
    More,
    /// Nothing that may begin now.
    Nothing,
}

/// The operations on storage that have not begun, and how many run.
pub(super) struct Storage {
    pub(super) running: Running,
    queue: JobList,
    /// What was put aside, by device.
    aside: [JobList; LISTS],
    /// There is something in these lists.
    has_aside: bool,
    /// Which of these is looked at first.
    turn: usize,
    /// So many have overtaken what is there.
    overtaken: u32,
}

impl Storage {
    /// There are none.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(super) fn new() -> Result<Self> {
        Ok(Self {
            running: Running::new()?,
            queue: JobList::new(),
            aside: core::array::from_fn(|_| JobList::new()),
            has_aside: false,
            turn: 0,
            overtaken: 0,
        })
    }

    /// Adds one.
    pub(super) fn push<T: Job>(&mut self, job: SlabArc<T>) {
        self.queue.push_back(job);
    }

    /// Adds one that was in another list.
    pub(super) fn push_any(&mut self, job: AnyJob) {
        self.queue.push_back_any(job);
    }

    /// Takes one out, if it is here.
    pub(super) fn remove(&mut self, links: &JobLinks) -> Option<AnyJob> {
        self.queue
            .remove(links)
            .or_else(|| self.take_aside(|list| list.remove(links)))
    }

    /// Takes any of them out.
    pub(super) fn pop(&mut self) -> Option<AnyJob> {
        self.queue
            .pop_front()
            .or_else(|| self.take_aside(|list| list.pop_front()))
    }

    /// Takes one of those that were put aside out.
    fn take_aside(&mut self, take: impl FnMut(&mut JobList) -> Option<AnyJob>) -> Option<AnyJob> {
        if !self.has_aside {
            return None;
        }
        let job = self.aside.iter_mut().find_map(take);

        self.has_aside = self.aside.iter().any(|list| !list.is_empty());
        job
    }

    /// Returns whether there are none.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty() && !self.has_aside
    }

    /// Returns whether [`next()`](Self::next) finds something.
    #[inline]
    pub(super) fn has_next(&self) -> bool {
        !self.is_empty() && (self.running.are_few() || self.has_next_at(Instant::now()))
    }

    #[cold]
    pub(super) fn has_next_at(&self, now: Instant<Monotonic>) -> bool {
        let running = &self.running;
        let mut devices = self.aside.iter().filter_map(|list| list.first_group());

        running.has_room(now)
            && (!self.queue.is_empty()
                || running.has_room_for_stuck(now)
                || devices.any(|device| !running.is_stuck(device, now)))
    }

    /// Takes out what is to be done next, and counts it as running.
    #[inline]
    pub(super) fn next(&mut self) -> Found {
        if self.is_empty() {
            return Found::Nothing;
        }
        if !self.running.are_few() {
            return self.next_at(Instant::now());
        }
        let job = match self.has_aside {
            // What came first goes first.
            true => self.pop_aside(|_, _| true),
            false => self.queue.pop_front(),
        };

        self.begin(job, Instant::now())
    }

    #[cold]
    pub(super) fn next_at(&mut self, now: Instant<Monotonic>) -> Found {
        if !self.running.has_room(now) {
            return Found::Nothing;
        }
        let again = self.pop_aside(|running, device| !running.is_stuck(device, now));

        if again.is_some() {
            return self.begin(again, now);
        }
        if self.overtaken >= PATIENCE && self.running.has_room_for_stuck(now) {
            let stuck = self.pop_aside(|_, _| true);

            if stuck.is_some() {
                return self.begin(stuck, now);
            }
        }
        for _ in 0..AT_A_TIME {
            let Some(device) = self.queue.first_group() else {
                break;
            };
            let job = self.queue.pop_front();

            if !self.running.is_stuck(device, now) {
                self.overtaken = self.overtaken.saturating_add(self.has_aside.into());
                return self.begin(job, now);
            }
            if let Some(job) = job {
                self.put_aside(device, job);
            }
        }
        if !self.queue.is_empty() {
            return Found::More;
        }
        let stuck = match self.running.has_room_for_stuck(now) {
            true => self.pop_aside(|_, _| true),
            false => None,
        };

        self.begin(stuck, now)
    }

    fn begin(&mut self, job: Option<AnyJob>, now: Instant<Monotonic>) -> Found {
        match job {
            Some(job) => {
                let place = self.running.begin(job.group(), now);

                Found::Job(job, place)
            }
            None => Found::Nothing,
        }
    }

    fn put_aside(&mut self, device: u32, job: AnyJob) {
        let own = self
            .aside
            .iter()
            .position(|list| list.first_group() == Some(device));
        let list = own
            .or_else(|| self.aside.iter().position(|list| list.is_empty()))
            .unwrap_or(LISTS - 1);

        self.aside[list].push_back_any(job);
        self.has_aside = true;
    }

    /// Takes out one that was put aside, of a device for which `may` returns `true`; of the next
    /// such device each time.
    fn pop_aside(&mut self, may: impl Fn(&Running, u32) -> bool) -> Option<AnyJob> {
        let mut lists = (0..LISTS).map(|i| (self.turn + i) % LISTS);
        let list = lists.find(|list| {
            let device = self.aside[*list].first_group();

            device.is_some_and(|device| may(&self.running, device))
        })?;

        let job = self.aside[list].pop_front();

        self.turn = (list + 1) % LISTS;
        self.overtaken = 0;
        self.has_aside = self.aside.iter().any(|list| !list.is_empty());
        job
    }
}
