// SPDX-License-Identifier: GPL-2.0

//! What may be used: `fs.aio-nr` and `fs.aio-max-nr`, and `RLIMIT_MEMLOCK`.

use kernel::{
    mm::{
        locked_vm::{
            ChargeError,
            Exceeded,
            Limit,
            LockedVm, //
        },
        Mm, //
    },
    page::PAGE_SIZE,
    prelude::*,
    ratelimit::RateLimit,
    sync::atomic::{
        Atomic,
        Relaxed, //
    },
    sysctl::{
        Entry,
        Table,
        Watch, //
    },
    task::Comm,
    time::msecs_to_jiffies, //
};

/// `fs.aio-nr`: the number of events that all contexts of the system were asked for.
static NR: Atomic<usize> = Atomic::new(0);

/// `fs.aio-max-nr`: how many that may be.
static MAX_NR: Atomic<usize> = Atomic::new(0x10000);

/// `fs.aio-memlock`: whether `RLIMIT_MEMLOCK` is a limit (1), or pages are only counted (0).
static MEMLOCK: Atomic<i32> = Atomic::new(cfg!(CONFIG_AIO_MEMLOCK) as i32);

static SYSCTLS: Table<3> = Table::new([
    Entry::ulong(c"aio-nr", &NR, 0o444),
    Entry::ulong_watched::<MaxNrWritten>(c"aio-max-nr", &MAX_NR, 0o644),
    Entry::int(c"aio-memlock", &MEMLOCK, 0o644, &(0..=1)),
]);

/// Messages on `io_setup()` that was refused for one of the limits; one does not silence the other.
static NR_MESSAGES: RateLimit = RateLimit::new(c"aio: fs.aio-max-nr");
static MEMLOCK_MESSAGES: RateLimit = RateLimit::new(c"aio: RLIMIT_MEMLOCK");

/// No more than ten messages in five seconds, as is usual.
const MESSAGES_MSECS: u32 = 5000;
const MESSAGES_BURST: i32 = 10;

/// Registers the kernel parameters.
///
/// # Errors
///
/// `ENOMEM`.
pub(crate) fn init(module: &'static ThisModule) -> Result {
    for messages in [&NR_MESSAGES, &MEMLOCK_MESSAGES] {
        messages.init(msecs_to_jiffies(MESSAGES_MSECS), MESSAGES_BURST);
    }
    SYSCTLS.register(c"fs", module)
}

/// Tells whoever sets `fs.aio-max-nr` that there is a better limit; once, it is not an error.
struct MaxNrWritten;

impl Watch for MaxNrWritten {
    fn written() {
        let task = current!();

        kernel::pr_warn_once!(
            "{}[{}] has set fs.aio-max-nr. The limit for the memory of AIO is RLIMIT_MEMLOCK of \
             each process (ulimit -l, LimitMEMLOCK=): see Documentation/admin-guide/aio.rst\n",
            Comm::of(task),
            task.pid()
        );
    }
}

fn refuse_nr(nr_events: usize) -> Error {
    if NR_MESSAGES.allows() {
        let task = current!();

        pr_notice!(
            "{}[{}]: io_setup() refused: fs.aio-max-nr: {} events asked, {} in use, {} allowed\n",
            Comm::of(task),
            task.pid(),
            nr_events,
            NR.load(Relaxed),
            MAX_NR.load(Relaxed)
        );
    }
    EAGAIN
}

/// Checks whether a single context of this size is below the limit of the system.
///
/// # Errors
///
/// `EAGAIN`, with a message in the kernel log.
pub(crate) fn check_alone(nr_events: u32) -> Result {
    if nr_events as usize > MAX_NR.load(Relaxed) {
        return Err(refuse_nr(nr_events as usize));
    }
    Ok(())
}

/// Charges pages that stay in memory for AIO to the process.
///
/// To be called before they are allocated. May sleep, and takes the mmap lock.
///
/// # Errors
///
/// `EAGAIN` if that would be above the limit of the process, with a message in the kernel log;
/// `EINTR` if it was killed.
pub(crate) fn charge_pages(mm: &Mm, nr_pages: usize) -> Result<LockedVm> {
    let limit = match MEMLOCK.load(Relaxed) {
        0 => Limit::None,
        _ => Limit::Rlimit,
    };

    LockedVm::charge(mm, nr_pages, limit).map_err(|error| match error {
        ChargeError::Exceeded(exceeded) => refuse_pages(exceeded),
        ChargeError::Killed => EINTR,
    })
}

fn refuse_pages(exceeded: Exceeded) -> Error {
    if MEMLOCK_MESSAGES.allows() {
        let task = current!();
        let kib = |nr_pages: usize| nr_pages.saturating_mul(PAGE_SIZE / 1024);

        pr_notice!(
            "{}[{}]: io_setup() refused: RLIMIT_MEMLOCK: {} KiB asked, {} KiB locked, {} KiB \
             allowed\n",
            Comm::of(task),
            task.pid(),
            kib(exceeded.asked),
            kib(exceeded.locked),
            kib(exceeded.limit)
        );
    }
    EAGAIN
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
    /// `EAGAIN` if that would be above the limit, with a message in the kernel log.
    pub(crate) fn new(nr_events: u32) -> Result<Self> {
        let nr_events = nr_events as usize;

        Self::take(&NR, MAX_NR.load(Relaxed), nr_events).map_err(|_| refuse_nr(nr_events))?;
        Ok(Self { nr_events })
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
