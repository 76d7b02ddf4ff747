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

/// So many more, which are stuck and don't count, are known at a time.
const STUCK: usize = 256;

/// Of so many that are stuck the devices are looked at when another one takes the place of one.
const LOOKS: usize = 16;

/// An operation that runs.
#[derive(Clone, Copy)]
struct Entry {
    since: Instant<Monotonic>,
    device: u32,
}

impl Entry {
    fn is_stuck(&self, now: Instant<Monotonic>) -> bool {
        now - self.since >= Delta::from_millis(STUCK_MSECS.into())
    }
}

/// Where an operation is counted, and since when: one that is stuck loses its place to one that
/// begins later, if there is no other.
pub(super) struct Place(usize, Instant<Monotonic>);

/// The operations on storage that run.
///
/// As long as there are few, none of them is looked at.
pub(super) struct Running {
    /// So many may.
    max: usize,
    /// Each of them, in its place.
    entries: KVec<Option<Entry>>,
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
        let mut entries = KVec::with_capacity(places, GFP_KERNEL)?;
        let mut free = KVec::with_capacity(places, GFP_KERNEL)?;

        for place in 0..places {
            entries.push(None, GFP_KERNEL)?;
            free.push(place, GFP_KERNEL)?;
        }
        Ok(Self { max, entries, free })
    }

    /// Returns whether so few run that, whatever they do, one more may, and others after that.
    #[inline]
    pub(super) fn are_few(&self) -> bool {
        self.entries.len() - self.free.len() < self.max / 2
    }

    /// Returns whether one more may, of a device where none is stuck.
    pub(super) fn has_room(&self, now: Instant<Monotonic>) -> bool {
        self.entries.len() - self.free.len() < self.max || self.counted(now) < self.max
    }

    /// Returns whether one more may, of a device where one is stuck: half of the room is for
    /// others.
    pub(super) fn has_room_for_stuck(&self, now: Instant<Monotonic>) -> bool {
        self.counted(now) < self.max / 2
    }

    /// Returns whether an operation on this device is stuck.
    pub(super) fn is_stuck(&self, device: u32, now: Instant<Monotonic>) -> bool {
        let mut entries = self.entries.iter().flatten();

        entries.any(|entry| entry.device == device && entry.is_stuck(now))
    }

    /// Returns how many are not stuck.
    fn counted(&self, now: Instant<Monotonic>) -> usize {
        let entries = self.entries.iter().flatten();

        entries.filter(|entry| !entry.is_stuck(now)).count()
    }

    /// One begins, on this device. If there is no place left, nearly all are stuck, and it takes
    /// the place of one of these.
    pub(super) fn begin(&mut self, device: u32, now: Instant<Monotonic>) -> Option<Place> {
        let place = match self.free.pop() {
            Some(place) => place,
            None => self.place_of_stuck(now)?,
        };

        if let Some(entry) = self.entries.get_mut(place) {
            *entry = Some(Entry { since: now, device });
        }
        Some(Place(place, now))
    }

    /// Returns the place of one that is stuck: if possible not of the only one on its device, so
    /// that it is still known that one is.
    #[cold]
    fn place_of_stuck(&self, now: Instant<Monotonic>) -> Option<usize> {
        let mut found = None;
        let entries = self.entries.iter().enumerate();
        let stuck = entries.filter_map(|(place, entry)| {
            let entry = entry.filter(|entry| entry.is_stuck(now))?;

            Some((place, entry.device))
        });

        for (place, device) in stuck.take(LOOKS) {
            let mut others = self.entries[place + 1..].iter().flatten();

            found = Some(place);
            if others.any(|entry| entry.device == device && entry.is_stuck(now)) {
                break;
            }
        }
        found
    }

    /// One has ended.
    pub(super) fn end(&mut self, Place(place, since): Place) {
        // What has taken its place has begun a second later, or more.
        let own = |entry: &&mut Option<Entry>| {
            entry.is_some_and(|entry| entry.since - since == Delta::ZERO)
        };

        if let Some(entry) = self.entries.get_mut(place).filter(own) {
            *entry = None;
            // There is room: it was taken from there.
            let _ = self.free.push_within_capacity(place);
        }
    }

    /// Returns how many may run.
    #[cfg(CONFIG_KUNIT = "y")]
    pub(super) fn max(&self) -> usize {
        self.max
    }
}

#[kunit_tests(aio_workers_running)]
mod tests {
    use super::*;

    impl Running {
        /// As many begin.
        fn begin_many(&mut self, nr: usize, now: Instant<Monotonic>) -> Result<KVec<Place>> {
            let mut places = KVec::with_capacity(nr, GFP_KERNEL)?;

            for _ in 0..nr {
                places.push(self.begin(DEVICE, now).ok_or(EINVAL)?, GFP_KERNEL)?;
            }
            Ok(places)
        }

        fn end_all(&mut self, places: KVec<Place>) {
            for place in places {
                self.end(place);
            }
        }
    }

    const DEVICE: u32 = 1;
    const STUCK_FOR: Delta = Delta::from_millis(1000);

    #[test]
    fn as_many_as_may() -> Result {
        let now = Instant::now();
        let mut running = Running::new()?;
        let max = running.max;

        assert_eq!(max, num_possible_cpus() as usize * 4);
        for _ in 0..3 {
            let mut places = KVec::with_capacity(max, GFP_KERNEL)?;

            for nr in 0..max {
                assert_eq!(running.are_few(), nr < max / 2);
                assert!(running.has_room(now));
                assert_eq!(running.has_room_for_stuck(now), nr < max / 2);
                places.push(running.begin(DEVICE, now).ok_or(EINVAL)?, GFP_KERNEL)?;
            }
            assert!(!running.has_room(now));
            // One goes, and one comes.
            running.end(places.pop().ok_or(EINVAL)?);
            assert!(running.has_room(now));
            places.push(running.begin(DEVICE, now).ok_or(EINVAL)?, GFP_KERNEL)?;
            assert!(!running.has_room(now));
            running.end_all(places);
            assert_eq!(running.counted(now), 0);
        }
        Ok(())
    }

    #[test]
    fn what_is_stuck_does_not_count() -> Result {
        let begun = Instant::now();
        let later = begun + STUCK_FOR;
        let mut running = Running::new()?;
        let max = running.max;
        let stuck = running.begin_many(max, begun)?;

        // Not before the time.
        assert!(!running.has_room(later - Delta::from_nanos(1)));
        assert!(!running.is_stuck(DEVICE, later - Delta::from_nanos(1)));
        assert!(running.has_room(later));

        // It is this device where that is so, and it may use half of the room.
        assert!(running.is_stuck(DEVICE, later));
        assert!(!running.is_stuck(DEVICE + 1, later));
        assert!(!running.are_few());
        let half = running.begin_many(max / 2 - 1, later)?;

        assert!(running.has_room_for_stuck(later));
        let last = running.begin(DEVICE, later).ok_or(EINVAL)?;

        assert!(!running.has_room_for_stuck(later));
        assert!(running.has_room(later));
        running.end(last);
        running.end_all(half);

        // As many more may.
        let others = running.begin_many(max - 1, later)?;

        assert!(running.has_room(later));
        let last = running.begin(DEVICE, later).ok_or(EINVAL)?;

        assert!(!running.has_room(later));
        // Those that are stuck are gone: what has begun since may be stuck as well.
        running.end_all(stuck);
        assert!(!running.has_room(later));
        assert!(!running.is_stuck(DEVICE, later));
        assert!(running.has_room(later + STUCK_FOR));
        running.end(last);
        assert!(running.has_room(later));
        running.end_all(others);
        Ok(())
    }

    #[test]
    fn no_place() -> Result {
        let begun = Instant::now();
        let later = begun + STUCK_FOR;
        let mut running = Running::new()?;
        let max = running.max;

        for _ in 0..2 {
            let mut places = running.begin_many(max + STUCK, begun)?;

            // None is stuck yet, so none can lose its place.
            assert!(running.begin(DEVICE, begun).is_none());
            assert!(running.has_room(later));
            assert!(running.has_room_for_stuck(later));
            // Each has a place of its own.
            places.sort_unstable_by_key(|place| place.0);
            assert!(places.iter().map(|place| place.0).eq(0..max + STUCK));
            running.end_all(places);
        }
        Ok(())
    }

    /// Also if there is no place left, those that are not stuck are counted, and it is known on
    /// which devices one is.
    #[test]
    fn places_of_those_that_are_stuck() -> Result {
        let begun = Instant::now();
        let later = begun + STUCK_FOR;
        let mut running = Running::new()?;
        let max = running.max;
        let only = running.begin(DEVICE + 1, begun).ok_or(EINVAL)?;
        let many = running.begin_many(max + STUCK - 2, begun)?;
        let last = running.begin(DEVICE + 2, begun).ok_or(EINVAL)?;
        let mut others = KVec::with_capacity(max, GFP_KERNEL)?;

        for nr in 0..max {
            assert!(running.has_room(later));
            assert_eq!(running.counted(later), nr);
            others.push(running.begin(DEVICE + 3, later).ok_or(EINVAL)?, GFP_KERNEL)?;
        }
        assert!(!running.has_room(later));
        assert!(!running.is_stuck(DEVICE + 3, later));
        assert!(running.is_stuck(DEVICE + 3, later + STUCK_FOR));
        for device in DEVICE..DEVICE + 3 {
            assert!(running.is_stuck(device, later));
        }

        // Those that have lost their places give none back.
        running.end_all(many);
        running.end(only);
        running.end(last);
        assert!(!running.is_stuck(DEVICE, later));
        assert_eq!(running.counted(later), max);
        assert_eq!(running.free.len(), STUCK);
        running.end_all(others);
        assert_eq!(running.counted(later), 0);
        running.free.sort_unstable();
        assert!(running.free.iter().copied().eq(0..max + STUCK));
        Ok(())
    }
}
