// SPDX-License-Identifier: GPL-2.0

//! What may be used: `fs.aio-nr` and `fs.aio-max-nr`.

use kernel::{
    prelude::*,
    sync::atomic::{
        Atomic,
        Relaxed, //
    },
    sysctl::{
        Entry,
        Table, //
    },
};

/// `fs.aio-nr`: the number of events that all contexts of the system were asked for.
static NR: Atomic<usize> = Atomic::new(0);

/// `fs.aio-max-nr`: how many that may be.
static MAX_NR: Atomic<usize> = Atomic::new(0x10000);

static SYSCTLS: Table<2> = Table::new([
    Entry::ulong(c"aio-nr", &NR, 0o444),
    Entry::ulong(c"aio-max-nr", &MAX_NR, 0o644),
]);

/// Registers the kernel parameters.
///
/// # Errors
///
/// `ENOMEM`.
pub(crate) fn init() -> Result {
    SYSCTLS.register(c"fs")
}

/// Returns whether a single context of this size is above the limit.
pub(crate) fn is_above_max(nr_events: u32) -> bool {
    nr_events as usize > MAX_NR.load(Relaxed)
}

/// A share of `fs.aio-max-nr`, which is given back when it is dropped.
#[must_use = "the share is given back when it is dropped"]
pub(crate) struct Charge {
    nr_events: usize,
}

impl Charge {
    /// Takes a share for a context that was asked to have this many events.
    ///
    /// # Errors
    ///
    /// `EAGAIN` if that would be above the limit.
    pub(crate) fn new(nr_events: u32) -> Result<Self> {
        Self::take(&NR, MAX_NR.load(Relaxed), nr_events as usize)?;

        Ok(Self {
            nr_events: nr_events as usize,
        })
    }

    /// Adds to a number unless the sum is above a limit.
    fn take(number: &Atomic<usize>, max: usize, nr: usize) -> Result {
        let mut old = number.load(Relaxed);

        loop {
            let new = old
                .checked_add(nr)
                .filter(|&new| new <= max)
                .ok_or(EAGAIN)?;

            match number.cmpxchg(old, new, Relaxed) {
                Ok(_) => return Ok(()),
                Err(current) => old = current,
            }
        }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        NR.fetch_sub(self.nr_events, Relaxed);
    }
}

#[kunit_tests(aio_limits)]
mod tests {
    use super::*;

    #[test]
    fn takes_up_to_the_limit() {
        let number = Atomic::new(5usize);

        assert!(Charge::take(&number, 10, 5).is_ok());
        assert_eq!(number.load(Relaxed), 10);
        assert_eq!(Charge::take(&number, 10, 1), Err(EAGAIN));
        assert_eq!(number.load(Relaxed), 10);
        assert!(Charge::take(&number, 10, 0).is_ok());
    }

    #[test]
    fn does_not_wrap() {
        let number = Atomic::new(usize::MAX - 1);

        assert_eq!(Charge::take(&number, usize::MAX, 2), Err(EAGAIN));
        assert!(Charge::take(&number, usize::MAX, 1).is_ok());
    }

    #[test]
    fn lowered_limit() {
        let number = Atomic::new(20usize);

        assert_eq!(Charge::take(&number, 10, 1), Err(EAGAIN));
        assert_eq!(Charge::take(&number, 10, 0), Err(EAGAIN));
        assert_eq!(number.load(Relaxed), 20);
    }

    #[test]
    fn gives_back() -> Result {
        let before = NR.load(Relaxed);
        let charge = Charge::new(1)?;

        // Other contexts come and go at the same time, but at boot there are none.
        assert_eq!(NR.load(Relaxed), before + 1);
        drop(charge);
        assert_eq!(NR.load(Relaxed), before);
        Ok(())
    }
}
