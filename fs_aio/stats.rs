// SPDX-License-Identifier: GPL-2.0

//! What is counted of a context only for those who look at it.
//!
//! Submissions and completions are not here: the context counts them anyway, to find its end.

use kernel::{
    prelude::*,
    sync::atomic::{
        Atomic,
        Relaxed, //
    },
    time::{
        Instant,
        Monotonic, //
    },
};

/// What is counted of a context.
pub(crate) struct Stats {
    /// The number of events that it was asked for.
    asked: u32,
    created: Instant<Monotonic>,
    /// Requests that were counted, and were not started after all.
    not_started: Atomic<usize>,
    /// Submissions that found no room.
    refused: Atomic<usize>,
    /// The longest submission, in microseconds.
    longest: Atomic<usize>,
}

impl Stats {
    /// Of a context that was just created.
    pub(crate) fn new(asked: u32) -> Self {
        Self {
            asked,
            created: Instant::now(),
            not_started: Atomic::new(0),
            refused: Atomic::new(0),
            longest: Atomic::new(0),
        }
    }

    /// Returns the number of events that it was asked for.
    pub(crate) fn asked(&self) -> u32 {
        self.asked
    }

    /// Returns the age in seconds.
    pub(crate) fn age(&self) -> i64 {
        self.created.elapsed().as_millis() / 1000
    }

    /// A request was counted, and is not started after all.
    #[cold]
    pub(crate) fn not_started(&self) {
        self.not_started.add(1, Relaxed);
    }

    /// Returns how many those are.
    pub(crate) fn nr_not_started(&self) -> usize {
        self.not_started.load(Relaxed)
    }

    /// A submission has found no room.
    #[cold]
    pub(crate) fn refused(&self) {
        self.refused.add(1, Relaxed);
    }

    /// Returns how many those are.
    pub(crate) fn nr_refused(&self) -> usize {
        self.refused.load(Relaxed)
    }

    /// A submission has taken so many nanoseconds.
    pub(crate) fn submitted(&self, nanos: u64) {
        let micros = (nanos / 1000) as usize;
        let mut longest = self.longest.load(Relaxed);

        while micros > longest {
            match self.longest.cmpxchg(longest, micros, Relaxed) {
                Ok(_) => return,
                Err(other) => longest = other,
            }
        }
    }

    /// Returns how many microseconds the longest of them has taken.
    pub(crate) fn longest(&self) -> usize {
        self.longest.load(Relaxed)
    }
}

#[kunit_tests(aio_stats)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_counts() {
        let stats = Stats::new(1);

        assert_eq!(stats.longest(), 0);
        for (nanos, longest) in [(999, 0), (5_000, 5), (4_999, 5), (6_500, 6), (0, 6)] {
            stats.submitted(nanos);
            assert_eq!(stats.longest(), longest);
        }
    }
}
