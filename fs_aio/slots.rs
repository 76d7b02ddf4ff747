// SPDX-License-Identifier: GPL-2.0

//! Free slots of a completion ring.
//!
//! A request takes a slot when it is prepared, so that there is room for its event. The slot is
//! free again when the event was taken from the ring. To keep CPUs from contending for one number,
//! each moves slots in batches between the common number and a number of its own. Before a
//! submission is refused, what is in the numbers of other CPUs is gathered.

use kernel::{
    percpu::{
        with_irqs_off,
        PerCpu, //
    },
    prelude::*,
    sync::atomic::{
        Acquire,
        Atomic,
        Full,
        Relaxed,
        Release, //
    },
};

/// What many CPUs write, apart from what they only read.
// The size of a cache line on most machines (`SMP_CACHE_BYTES`); the attribute wants a literal.
#[repr(align(64))]
struct CacheLine<T>(T);

/// The free slots of one ring.
///
/// # Invariants
///
/// The slots of the ring are those in `common`, those in `local`, those of the requests, and those
/// of the events in the ring.
pub(crate) struct Slots {
    common: CacheLine<Atomic<u32>>,
    /// How many are moved between `common` and `local` at a time; at least one.
    batch: u32,
    local: PerCpu<u32>,
}

impl Slots {
    /// All `capacity` slots are free, in a system with this many possible CPUs.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new(capacity: u32, possible_cpus: u32) -> Result<Self> {
        Ok(Self {
            common: CacheLine(Atomic::new(capacity)),
            batch: Self::batch(capacity, possible_cpus),
            local: PerCpu::new_zeroed()?,
        })
    }

    /// Up to half of the slots may be in the numbers of other CPUs, each up to two batches.
    const fn batch(capacity: u32, possible_cpus: u32) -> u32 {
        match capacity / possible_cpus.saturating_mul(4) {
            0 => 1,
            batch => batch,
        }
    }

    /// Takes up to `max` slots, and returns how many.
    ///
    /// There may be more if it is less than `max`, but not if there are none.
    #[inline]
    pub(crate) fn take(&self, max: usize) -> u32 {
        with_irqs_off(|irqs_off| {
            let local = self.local.this_cpu(irqs_off);

            let available = match local.load(Relaxed) {
                0 if !self.take_batch() => return 0,
                0 => self.batch,
                n => n,
            };
            let taken = (available as usize).min(max) as u32;

            local.store(available - taken, Relaxed);
            taken
        })
    }

    /// Returns how many are free: in the common number, and in those of the CPUs.
    pub(crate) fn free(&self) -> (u32, u32) {
        (self.common.0.load(Relaxed), self.local.sum())
    }

    /// Moves a batch out of `common`, if it has one.
    fn take_batch(&self) -> bool {
        let mut old = self.common.0.load(Relaxed);

        while old >= self.batch {
            match self.common.0.cmpxchg(old, old - self.batch, Full) {
                Ok(_) => return true,
                Err(current) => old = current,
            }
        }
        false
    }

    /// Takes up to `max` slots, which may be anywhere, and returns how many.
    ///
    /// If there are none, all were in use at some time during the call, but for those that another
    /// task was just about to take, had given back since, or was moving from a CPU that is offline.
    /// May sleep.
    ///
    /// Other CPUs are interrupted, each that has slots, and once: then it has none before it gives
    /// some back.
    #[cold]
    pub(crate) fn gather(&self, max: usize) -> u32 {
        self.local.call_online(
            // A task that sees that there are none sees those in `common`: pairs with the release
            // below, in another call.
            |local| local.load(Acquire) != 0,
            |local, _irqs_off| {
                self.common.0.add(local.load(Relaxed), Relaxed);
                local.store(0, Release);
            },
        );
        self.local.for_each_offline(
            |local| local.load(Relaxed) != 0,
            |local| self.common.0.add(local.xchg(0, Relaxed), Relaxed),
        );
        self.take_common(max)
    }

    /// Takes up to `max` slots out of `common`, and returns how many.
    fn take_common(&self, max: usize) -> u32 {
        let mut old = self.common.0.load(Relaxed);

        loop {
            let taken = (old as usize).min(max) as u32;

            if taken == 0 {
                return 0;
            }
            match self.common.0.cmpxchg(old, old - taken, Full) {
                Ok(_) => return taken,
                Err(current) => old = current,
            }
        }
    }

    /// Gives slots back.
    ///
    /// May be called in any context.
    #[inline(never)]
    pub(crate) fn put(&self, nr: u32) {
        with_irqs_off(|irqs_off| {
            let local = self.local.this_cpu(irqs_off);
            let mut available = local.load(Relaxed) + nr;

            while available >= self.batch * 2 {
                available -= self.batch;
                self.common.0.add(self.batch, Relaxed);
            }
            local.store(available, Relaxed);
        });
    }
}

#[kunit_tests(aio_slots)]
mod tests {
    use super::*;

    #[test]
    fn batch_is_never_zero() {
        let rings = [127u32, 128, 255, 1000, 8388607];

        for cpus in [1u32, 2, 3, 4, 16, 64, 1000, 4096] {
            for capacity in rings {
                let batch = Slots::batch(capacity, cpus);

                assert!(batch >= 1);
                // What all other CPUs can hold is no more than half.
                assert!(batch == 1 || batch * cpus * 2 <= capacity / 2);
            }
        }
    }

    #[test]
    fn all_are_taken_and_given_back() -> Result {
        let slots = Slots::new(126, 2)?;
        let taken = (0..1000).take_while(|_| slots.take(1) == 1).count() as u32;

        // This task may have moved between CPUs, each of which may hold less than two batches.
        assert!(taken <= 126);
        assert!(taken > 126 - 2 * slots.batch * kernel::percpu::num_possible_cpus());
        assert_eq!(slots.take(1), 0);

        let (common, local) = slots.free();

        assert_eq!(taken + common + local, 126);
        slots.put(taken);
        let (common, local) = slots.free();

        assert_eq!(common + local, 126);
        let again = (0..1000).take_while(|_| slots.take(1) == 1).count() as u32;
        assert!(again > 126 - 2 * slots.batch * kernel::percpu::num_possible_cpus());
        slots.put(again);
        Ok(())
    }

    #[test]
    fn many_at_a_time() -> Result {
        let slots = Slots::new(126, 2)?;
        let mut taken = 0;

        // Elsewhere, what another CPU has in its number would be missing.
        with_irqs_off(|_| {
            assert_eq!(slots.take(0), 0);
            assert_eq!(slots.take(1), 1);
            // What is left of the first batch.
            assert_eq!(slots.take(1000), slots.batch - 1);
            loop {
                match slots.take(7) {
                    0 => break,
                    n => taken += n,
                }
                assert!(taken <= 126);
            }
        });
        // Less than a batch may be left in the common number.
        assert!(taken + slots.batch > 126 - slots.batch);
        Ok(())
    }

    #[test]
    fn none_is_left_elsewhere() -> Result {
        for capacity in [127, 126, 5, 1] {
            let slots = Slots::new(capacity, 2)?;
            let mut taken = 0;

            // A few in the number of each CPU.
            slots
                .local
                .call_online(|_| true, |_, _| slots.put(slots.take(1)));
            while let n @ 1.. = slots.take(2) {
                taken += n;
            }
            while let n @ 1.. = slots.gather(3) {
                assert!(n <= 3);
                taken += n;
            }
            assert_eq!(taken, capacity);
            assert_eq!((slots.take(1), slots.gather(1)), (0, 0));
            // Others may come, to any CPU.
            slots.local.call_online(|_| true, |_, _| slots.put(0));
            slots.put(taken);
            assert_eq!(slots.gather(usize::MAX), capacity);
        }
        Ok(())
    }
}
