// SPDX-License-Identifier: GPL-2.0

//! Waiting for completions, and reading them.

use crate::context::Context;
use kernel::{
    aio::abi::IoEvent,
    prelude::*,
    sync::threshold::{
        Step,
        Timeout, //
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
    /// Reads what there is; returns whether that is all that is wanted or can be had.
    #[inline(always)]
    fn read(&mut self) -> bool {
        let to = self.events.wrapping_byte_add(self.got * IoEvent::SIZE);

        match self.context.ring.pop(to, self.nr - self.got) {
            Ok(n) => self.got += n,
            Err(e) => self.error = Some(e),
        }
        if self.context.is_dead() {
            self.error = Some(EINVAL);
        }
        self.error.is_some() || self.got >= self.min_nr
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
    fn wait(&mut self, timeout: Timeout) {
        let (context, missing) = (self.context, self.missing());

        context.waiters.wait(timeout, missing, || self.look());
    }

    fn look(&mut self) -> Step {
        let before = self.got;

        if self.read() {
            Step::Done
        } else if self.got != before {
            Step::Again(self.missing())
        } else {
            Step::Sleep(self.missing())
        }
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

    if !reader.read() && !timeout.is_zero() {
        reader.wait(timeout);
    }
    reader.result()
}
