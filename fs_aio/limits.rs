// SPDX-License-Identifier: GPL-2.0

//! What may be used: `fs.aio-nr` and `fs.aio-max-nr`, the `misc` controller of control groups, and
//! `RLIMIT_MEMLOCK`.

use kernel::{
    aio::{
        abi::DEFAULT_MAX_NR,
        trace, //
    },
    misc_cgroup::{
        Full,
        MiscCharge,
        MiscResource, //
    },
    mm::{
        flags::MmFlag,
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
static MAX_NR: Atomic<usize> = Atomic::new(DEFAULT_MAX_NR);

/// `fs.aio-memlock`: what happens where the pages of a ring would exceed `RLIMIT_MEMLOCK`.
static MEMLOCK: Atomic<i32> = Atomic::new(if cfg!(CONFIG_AIO_MEMLOCK_REFUSE) {
    MEMLOCK_REFUSE
} else if cfg!(CONFIG_AIO_MEMLOCK_WARN) {
    MEMLOCK_WARN
} else {
    MEMLOCK_COUNT
});

/// Values of `fs.aio-memlock`: pages are only counted; `io_setup()` fails; it does not, but the
/// kernel log tells, once for each address space.
const MEMLOCK_COUNT: i32 = 0;
const MEMLOCK_REFUSE: i32 = 1;
const MEMLOCK_WARN: i32 = 2;

static SYSCTLS: Table<3> = Table::new([
    Entry::ulong(c"aio-nr", &NR, 0o444),
    Entry::ulong_watched::<MaxNrWritten>(c"aio-max-nr", &MAX_NR, 0o644),
    Entry::int(
        c"aio-memlock",
        &MEMLOCK,
        0o644,
        &(MEMLOCK_COUNT..=MEMLOCK_WARN),
    ),
]);

/// Messages on `io_setup()` that met one of the limits; one does not silence the other.
static NR_MESSAGES: RateLimit = RateLimit::new(c"aio: fs.aio-max-nr");
static CGROUP_MESSAGES: RateLimit = RateLimit::new(c"aio: misc.max");
static MEMLOCK_MESSAGES: RateLimit = RateLimit::new(c"aio: RLIMIT_MEMLOCK");
static PINNED_MESSAGES: RateLimit = RateLimit::new(c"aio: RLIMIT_MEMLOCK, pinned");
static WARNINGS: RateLimit = RateLimit::new(c"aio: above RLIMIT_MEMLOCK");

/// No more than ten messages in five seconds, as is usual.
const MESSAGES_MSECS: u32 = 5000;
const MESSAGES_BURST: i32 = 10;

/// Registers the kernel parameters, and the resource of the `misc` controller.
///
/// # Errors
///
/// `ENOMEM`.
pub(crate) fn init(module: &'static ThisModule) -> Result {
    for messages in [
        &NR_MESSAGES,
        &CGROUP_MESSAGES,
        &MEMLOCK_MESSAGES,
        &PINNED_MESSAGES,
        &WARNINGS,
    ] {
        messages.init(msecs_to_jiffies(MESSAGES_MSECS), MESSAGES_BURST);
    }
    // The limit of the whole system is `fs.aio-max-nr`.
    MiscResource::AIO.set_capacity(u64::MAX)?;
    SYSCTLS.register(c"fs", module)
}

/// Tells the administrator who sets `fs.aio-max-nr` that there is a better limit; once, it is not
/// an error.
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

#[cold]
fn refuse_nr(nr_events: usize) -> Error {
    let (used, allowed) = (NR.load(Relaxed) as u64, MAX_NR.load(Relaxed) as u64);

    trace::refused(0, trace::Limit::MaxNr, nr_events as u64, used, allowed);
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
    let mode = MEMLOCK.load(Relaxed);
    let limit = match mode {
        MEMLOCK_COUNT => Limit::None,
        _ => Limit::Rlimit,
    };

    match LockedVm::charge(mm, nr_pages, limit) {
        Err(ChargeError::Exceeded(exceeded)) if mode == MEMLOCK_WARN => {
            warn_of_pages(mm, &exceeded);
            LockedVm::charge(mm, nr_pages, Limit::None)
        }
        result => result,
    }
    .map_err(|error| match error {
        ChargeError::Exceeded(exceeded) => refuse_pages(&exceeded),
        ChargeError::Killed => EINTR,
    })
}

/// Charges pages of the process that are to be pinned.
///
/// To be called before they are. Here `RLIMIT_MEMLOCK` is always a limit. May sleep, and takes the
/// mmap lock.
///
/// # Errors
///
/// See [`charge_pages()`].
pub(crate) fn charge_pinned(mm: &Mm, nr_pages: usize) -> Result<LockedVm> {
    LockedVm::charge(mm, nr_pages, Limit::Rlimit).map_err(refuse_pinned)
}

/// Changes how many pinned pages are charged.
///
/// # Errors
///
/// See [`charge_pages()`].
pub(crate) fn recharge_pinned(charge: &mut LockedVm, nr_pages: usize) -> Result {
    charge
        .resize(nr_pages, Limit::Rlimit)
        .map_err(refuse_pinned)
}

#[cold]
fn refuse_pinned(error: ChargeError) -> Error {
    match error {
        ChargeError::Exceeded(exceeded) => {
            trace_pages(trace::Limit::Pinned, &exceeded);
            if PINNED_MESSAGES.allows() {
                tell_of_pages("io_setup2() refused: RLIMIT_MEMLOCK", &exceeded);
            }
            EAGAIN
        }
        ChargeError::Killed => EINTR,
    }
}

fn trace_pages(limit: trace::Limit, exceeded: &Exceeded) {
    trace::refused(
        0,
        limit,
        exceeded.asked as u64,
        exceeded.locked as u64,
        exceeded.limit as u64,
    );
}

#[cold]
fn refuse_pages(exceeded: &Exceeded) -> Error {
    trace_pages(trace::Limit::Locked, exceeded);
    if MEMLOCK_MESSAGES.allows() {
        tell_of_pages("io_setup() refused: RLIMIT_MEMLOCK", exceeded);
    }
    EAGAIN
}

/// The process may exceed its limit, but the administrator wants to know.
///
/// A process that the log has no room for now is named the next time.
fn warn_of_pages(mm: &Mm, exceeded: &Exceeded) {
    let warned = MmFlag::AIO_MEMLOCK;

    if !warned.test(mm) && WARNINGS.allows() && !warned.test_and_set(mm) {
        tell_of_pages("io_setup() let pass above RLIMIT_MEMLOCK", exceeded);
    }
}

fn tell_of_pages(what: &str, exceeded: &Exceeded) {
    let task = current!();
    let kib = |nr_pages: usize| nr_pages.saturating_mul(PAGE_SIZE / 1024);

    pr_notice!(
        "{}[{}]: {}: {} KiB asked, {} KiB locked, {} KiB allowed\n",
        Comm::of(task),
        task.pid(),
        what,
        kib(exceeded.asked),
        kib(exceeded.locked),
        kib(exceeded.limit)
    );
}

/// A share of what the control group of a process may have, see [`Charge`].
#[must_use = "the share is given back when it is dropped"]
pub(crate) struct GroupCharge {
    _charge: MiscCharge,
}

impl GroupCharge {
    /// Takes a share for a context that was asked to have this many events.
    ///
    /// # Errors
    ///
    /// `EAGAIN` if that would be above `misc.max` of the group, or of one above it, with a message
    /// in the kernel log.
    pub(crate) fn new(nr_events: u32) -> Result<Self> {
        match MiscCharge::try_new(MiscResource::AIO, nr_events.into()) {
            Ok(charge) => Ok(Self { _charge: charge }),
            Err(refusal) => Err(refuse_group(nr_events, refusal.full)),
        }
    }
}

#[cold]
fn refuse_group(nr_events: u32, full: Option<Full>) -> Error {
    // That of the group which has refused.
    let (used, allowed) = full.map_or((0, 0), |full| (full.used, full.allowed));

    trace::refused(0, trace::Limit::Group, nr_events.into(), used, allowed);
    if CGROUP_MESSAGES.allows() {
        let task = current!();

        pr_notice!(
            "{}[{}]: io_setup() refused: misc.max of its control group: {} events asked, {} in \
             use, {} allowed\n",
            Comm::of(task),
            task.pid(),
            nr_events,
            used,
            allowed
        );
    }
    EAGAIN
}

/// A share of `fs.aio-max-nr`, which is given back when it is dropped, with that of the group.
#[must_use = "the share is given back when it is dropped"]
pub(crate) struct Charge {
    nr_events: usize,
    _group: GroupCharge,
}

impl Charge {
    /// Takes a share for a context that was asked to have this many events.
    ///
    /// # Errors
    ///
    /// `EAGAIN` if that would be above the limit, with a message in the kernel log.
    pub(crate) fn new(nr_events: u32, group: GroupCharge) -> Result<Self> {
        let nr_events = nr_events as usize;

        Self::take(&NR, MAX_NR.load(Relaxed), nr_events).map_err(|_| refuse_nr(nr_events))?;
        Ok(Self {
            nr_events,
            _group: group,
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
        let charge = Charge::new(1, GroupCharge::new(1)?)?;

        // Other contexts come and go at the same time, but at boot there are none.
        assert_eq!(NR.load(Relaxed), before + 1);
        drop(charge);
        assert_eq!(NR.load(Relaxed), before);
        Ok(())
    }
}
