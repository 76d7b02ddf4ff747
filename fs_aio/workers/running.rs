// SPDX-License-Identifier: GPL-2.0

//! How many operations on storage run.

use kernel::{
    percpu::num_possible_cpus,
    prelude::*,
    time::{
        Delta,
        Instant,
        Monotonic, //
    },
};

/// An operation that takes longer does not count as running.
pub(super) const STUCK_MSECS: u32 = 1000;

/// So many operations on storage run at a time, for each CPU.
const PER_CPU: usize = 4;

/// So many more may be stuck, and not count.
const STUCK: usize = 256;

/// Where an operation is counted.
pub(super) struct Place(usize);

/// The operations on storage that run.
///
/// As long as there are few, none of them is looked at.
pub(super) struct Running {
    /// So many may.
    max: usize,
    /// Since when each of them does, in its place.
    since: KVec<Option<Instant<Monotonic>>>,
    /// The places where there is none.
    free: KVec<usize>,
}

impl Running {
    /// None do.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(super) fn new() -> Result<Self> {
        let max = num_possible_cpus() as usize * PER_CPU;
        let places = max + STUCK;
        let mut since = KVec::with_capacity(places, GFP_KERNEL)?;
        let mut free = KVec::with_capacity(places, GFP_KERNEL)?;

        for place in 0..places {
            since.push(None, GFP_KERNEL)?;
            free.push(place, GFP_KERNEL)?;
        }
        Ok(Self { max, since, free })
    }

    /// Returns whether one more may.
    #[inline]
    pub(super) fn has_room(&self) -> bool {
        self.since.len() - self.free.len() < self.max || self.counted() < self.max
    }

    /// Returns how many are not stuck.
    #[cold]
    fn counted(&self) -> usize {
        let stuck = Delta::from_millis(STUCK_MSECS.into());

        self.since
            .iter()
            .flatten()
            .filter(|since| since.elapsed() < stuck)
            .count()
    }

    /// One begins. If there is no place left, nearly all are stuck, and one more need not be
    /// counted.
    pub(super) fn begin(&mut self) -> Option<Place> {
        let place = self.free.pop()?;

        if let Some(since) = self.since.get_mut(place) {
            *since = Some(Instant::now());
        }
        Some(Place(place))
    }

    /// One has ended.
    pub(super) fn end(&mut self, Place(place): Place) {
        if let Some(since) = self.since.get_mut(place) {
            *since = None;
        }
        // There is room: it was taken from there.
        let _ = self.free.push_within_capacity(place);
    }
}
