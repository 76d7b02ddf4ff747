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
        self.has_room_at(Instant::now)
    }

    #[inline]
    fn has_room_at(&self, now: impl FnOnce() -> Instant<Monotonic>) -> bool {
        self.since.len() - self.free.len() < self.max || self.counted(now()) < self.max
    }

    /// Returns how many are not stuck.
    #[cold]
    fn counted(&self, now: Instant<Monotonic>) -> usize {
        let stuck = Delta::from_millis(STUCK_MSECS.into());

        self.since
            .iter()
            .flatten()
            .filter(|since| now - **since < stuck)
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

#[kunit_tests(aio_workers_running)]
mod tests {
    use super::*;

    impl Running {
        /// As many as there are places; `max` of them may.
        fn begin_many(&mut self, nr: usize) -> Result<KVec<Place>> {
            let mut places = KVec::with_capacity(nr, GFP_KERNEL)?;

            for _ in 0..nr {
                places.push(self.begin().ok_or(EINVAL)?, GFP_KERNEL)?;
            }
            Ok(places)
        }

        /// All that run have begun at this time.
        fn set_since(&mut self, when: Instant<Monotonic>) {
            for since in self.since.iter_mut().flatten() {
                *since = when;
            }
        }
    }

    const STUCK_FOR: Delta = Delta::from_millis(1000);

    #[test]
    fn as_many_as_may() -> Result {
        // Nothing that begins from now on is stuck now.
        let now = Instant::now();
        let mut running = Running::new()?;
        let max = running.max;

        assert_eq!(max, num_possible_cpus() as usize * 4);
        for _ in 0..3 {
            let mut places = KVec::with_capacity(max, GFP_KERNEL)?;

            for _ in 0..max {
                assert!(running.has_room_at(|| now));
                places.push(running.begin().ok_or(EINVAL)?, GFP_KERNEL)?;
            }
            assert!(!running.has_room_at(|| now));
            // One goes, and one comes.
            running.end(places.pop().ok_or(EINVAL)?);
            assert!(running.has_room_at(|| now));
            places.push(running.begin().ok_or(EINVAL)?, GFP_KERNEL)?;
            assert!(!running.has_room_at(|| now));
            for place in places {
                running.end(place);
            }
            assert_eq!(running.counted(now), 0);
        }
        Ok(())
    }

    #[test]
    fn what_is_stuck_does_not_count() -> Result {
        let begun = Instant::now();
        let mut running = Running::new()?;
        let max = running.max;
        let stuck = running.begin_many(max)?;

        running.set_since(begun);
        // Not before the time.
        assert!(!running.has_room_at(|| begun + STUCK_FOR - Delta::from_nanos(1)));
        assert!(running.has_room_at(|| begun + STUCK_FOR));

        // As many more may.
        let later = begun + STUCK_FOR;
        let others = running.begin_many(max - 1)?;

        assert!(running.has_room_at(|| later));
        let last = running.begin().ok_or(EINVAL)?;

        assert_eq!(running.counted(begun), 2 * max);
        // Those that are stuck are gone: what has begun since may be stuck as well.
        for place in stuck {
            running.end(place);
        }
        running.set_since(later);
        assert!(!running.has_room_at(|| later));
        assert!(running.has_room_at(|| later + STUCK_FOR));
        running.end(last);
        assert!(running.has_room_at(|| later));
        for place in others {
            running.end(place);
        }
        Ok(())
    }

    #[test]
    fn no_place() -> Result {
        let begun = Instant::now();
        let mut running = Running::new()?;
        let all = running.max + STUCK;

        for _ in 0..2 {
            let mut places = running.begin_many(all)?;

            running.set_since(begun);
            // One more is not counted.
            assert!(running.begin().is_none());
            assert!(running.has_room_at(|| begun + STUCK_FOR));
            // Each has a place of its own.
            places.sort_unstable_by_key(|place| place.0);
            assert!(places.iter().map(|place| place.0).eq(0..all));
            for place in places {
                running.end(place);
            }
        }
        Ok(())
    }
}
