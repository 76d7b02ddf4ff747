// SPDX-License-Identifier: GPL-2.0

//! Waiting for completions, and reading them.

use crate::{
    context::Context,
    extension::Extension,
    polled::{
        IopollOutcome,
        Polled, //
    },
    trace::Waiting, //
};
use kernel::{
    aio::abi::IoEvent,
    fs::Look,
    prelude::*,
    sync::threshold::{
        Timeout, //
        WaitStep,
    },
    task::cond_resched,
    time::{
        Instant,
        Monotonic, //
    },
    uaccess::UserPtr, //
};

/// What a call has read so far.
struct Reader<'a> {
    context: &'a Context,
    events: UserPtr,
    min_nr: usize,
    nr: usize,
    got: usize,
    error: Option<Error>,
}

impl Reader<'_> {
    /// Reads what is in the ring.
    #[inline(always)]
    fn pop(&mut self) {
        let to = self.events.wrapping_byte_add(self.got * IoEvent::SIZE);

        match self.context.ring.pop(to, self.nr - self.got) {
            Ok(n) => self.got += n,
            Err(e) => self.error = Some(e),
        }
    }

    /// Reads what is in the ring; returns whether that is all that is wanted or can be had.
    fn read(&mut self) -> bool {
        self.pop();
        if self.context.is_dead() {
            self.error = Some(EINVAL);
        }
        self.is_done()
    }

    /// Goes on with a context that has come to its end, or whose requests are polled for.
    #[cold]
    #[inline(never)]
    fn special(mut self, timeout: Timeout) -> Result<usize> {
        match self.context.extension().and_then(Extension::polled) {
            Some(polled) => self.poll(polled, timeout),
            // What is in the ring counts still.
            None => {
                self.read();
            }
        }
        self.result()
    }

    /// Returns what is missing, as a threshold for those who post events.
    ///
    /// That may be more than the ring has room for. Then it is woken when a submission finds no
    /// room.
    fn missing(&self) -> usize {
        self.min_nr - self.got
    }

    /// Waits until there is enough, or it is no use.
    #[inline(never)]
    fn wait(mut self, timeout: Timeout) -> Result<usize> {
        let (context, missing) = (self.context, self.missing());
        let waiting = Waiting::begin(context, missing, timeout);

        context.waiters.wait(timeout, missing, || self.look());
        waiting.end(context, self.got);
        self.result()
    }

    fn look(&mut self) -> WaitStep {
        let before = self.got;

        if self.read() {
            WaitStep::Done
        } else if self.got != before {
            WaitStep::Again(self.missing())
        } else {
            WaitStep::Sleep(self.missing())
        }
    }

    /// Reads events of requests that are polled for: asks the devices until there is enough, or it
    /// is no use; or sleeps while somebody else asks, or there is nothing to ask for.
    #[inline(never)]
    fn poll(&mut self, polled: &Polled, timeout: Timeout) {
        let context = self.context;
        // Without a wait there is one look.
        let wait = self.min_nr != 0 && !timeout.is_zero();
        // What is complete, or was found by others, is not to be waited for.
        let mut found = polled.look(Look::Once);

        if !self.read() && wait {
            let remaining = Remaining::new(timeout);

            loop {
                let left = remaining.get();

                if current!().signal_pending() || left.is_zero() {
                    break;
                }
                if found == IopollOutcome::Something {
                    cond_resched();
                } else {
                    context
                        .waiters
                        .wait(left, self.missing(), || match self.look() {
                            WaitStep::Sleep(_) if polled.wants_look() => WaitStep::Done,
                            step => step,
                        });
                    if self.is_done() {
                        break;
                    }
                }
                found = polled.look(Look::Spin);
                if self.read() {
                    break;
                }
            }
        }
        if polled.in_flight() != 0 {
            // Somebody else has to look now.
            context.waiters.wake(usize::MAX);
        }
    }

    /// Returns whether there is enough, or it is no use to wait.
    fn is_done(&self) -> bool {
        self.error.is_some() || self.got >= self.min_nr
    }

    /// An error only counts if nothing was read.
    fn result(self) -> Result<usize> {
        match self.error {
            Some(e) if self.got == 0 => Err(e),
            _ => Ok(self.got),
        }
    }
}

/// Reads up to `nr` events, and waits until there were at least `min_nr`, a signal comes, or the
/// time is over.
///
/// Returns how many there were: perhaps fewer than `min_nr`, perhaps none.
///
/// # Errors
///
/// `EFAULT` if the events can't be written, `EINVAL` if the end of the context has begun.
#[inline]
pub(crate) fn read(
    context: &Context,
    min_nr: usize,
    nr: usize,
    events: UserPtr,
    timeout: Timeout,
) -> Result<usize> {
    let mut reader = Reader {
        context,
        events,
        min_nr,
        nr,
        got: 0,
        error: None,
    };

    if context.is_special() {
        return reader.special(timeout);
    }
    reader.pop();
    if reader.is_done() || timeout.is_zero() {
        return reader.result();
    }
    reader.wait(timeout)
}

/// The time that is left.
struct Remaining {
    timeout: Timeout,
    start: Instant<Monotonic>,
}

impl Remaining {
    fn new(timeout: Timeout) -> Self {
        Self {
            timeout,
            start: Instant::now(),
        }
    }

    fn get(&self) -> Timeout {
        match self.timeout {
            Timeout::Never => Timeout::Never,
            Timeout::Nanos(nanos) => {
                let left = nanos.saturating_sub(self.start.elapsed().as_nanos());

                Timeout::Nanos(left.max(0))
            }
        }
    }
}

#[kunit_tests(aio_events)]
mod tests {
    use super::*;
    use crate::{
        kunit::{
            with_mm,
            Process,
            EVENTS,
            IOCBS, //
        },
        table, //
    };

    const NOW: Timeout = Timeout::Nanos(0);
    const SOON: Timeout = Timeout::Nanos(1000);

    #[test]
    fn as_many_as_there_are() -> Result {
        let process = Process::new(16)?;

        process.submit_reads(5)?;
        // None was asked for.
        assert_eq!(process.read_events(0, 0, Timeout::Never), Ok(0));
        assert_eq!(process.read_events(0, 2, Timeout::Never), Ok(2));
        assert_eq!(process.event(0)?[0], 0);
        assert_eq!(process.event(1)?[0], 1);
        assert_eq!(process.read_events(1, 100, Timeout::Never), Ok(3));
        assert_eq!(process.event(0)?[0], 2);
        let iocb = process.memory.at(IOCBS).as_const_ptr() as u64;

        assert_eq!(process.event(2)?, [4, iocb, 8, 0]);
        assert_eq!(process.read_events(0, 100, Timeout::Never), Ok(0));
        Ok(())
    }

    #[test]
    fn fewer_when_the_time_is_over() -> Result {
        let process = Process::new(16)?;

        for timeout in [NOW, SOON] {
            assert_eq!(process.read_events(1, 2, timeout), Ok(0));
            process.submit_reads(1)?;
            assert_eq!(process.read_events(2, 2, timeout), Ok(1));
        }
        Ok(())
    }

    /// What can't be written stays in the ring.
    #[test]
    fn memory_that_is_not_there() -> Result {
        let process = Process::new(16)?;

        process.submit_reads(3)?;
        process.with_context(|context| {
            let memory = &process.memory;
            let read = |offset, nr| read(context, 1, nr, memory.at(offset), NOW);

            assert_eq!(read(memory.len(), 3), Err(EFAULT));
            assert_eq!(read(memory.len() - IoEvent::SIZE, 3), Err(EFAULT));
            // Where the events go is not asked for if there are none to be read.
            assert_eq!(read(memory.len(), 0), Ok(0));
            assert_eq!(read(EVENTS, 3), Ok(3));
            assert_eq!(read(memory.len(), 3), Ok(0));
            Ok(())
        })
    }

    #[test]
    fn the_end_of_the_context() -> Result {
        let process = Process::new(16)?;

        process.submit_reads(1)?;
        process.with_context(|context| {
            let read = |min_nr| {
                read(
                    context,
                    min_nr,
                    2,
                    process.memory.at(EVENTS),
                    Timeout::Never,
                )
            };

            drop(with_mm(|mm| {
                table::kill(mm, table::lookup(mm, process.id())?, None)
            })?);

            // What was read counts; nobody waits for more.
            assert_eq!(read(2), Ok(1));
            assert_eq!(read(1), Err(EINVAL));
            assert_eq!(read(0), Err(EINVAL));
            Ok(())
        })
    }

    /// A reader has slept before the event comes.
    #[test]
    fn woken_by_a_completion() -> Result {
        let process = Process::new(16)?;

        process.file.hold(false);
        process.submit_reads(2)?;
        assert_eq!(process.read_events(1, 2, SOON), Ok(0));
        assert!(process.file.end(7));
        assert_eq!(process.read_events(1, 2, Timeout::Never), Ok(1));
        assert_eq!(process.event(0)?[2], 7);
        assert!(process.file.end(-5));
        assert_eq!(process.read_events(1, 2, Timeout::Never), Ok(1));
        assert_eq!(process.event(0)?[2], -5i64 as u64);
        Ok(())
    }
}
