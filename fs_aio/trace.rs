// SPDX-License-Identifier: GPL-2.0

//! Who observes submissions, waits and completions: the tracepoints, and `fs.aio-stats`.
//!
//! While nobody does, `io_submit(2)` has one `nop` for each call, and each completion outside of it
//! one. A submission that is observed is an instance of its own of the code ([`Observing`]).

use crate::{
    batch::Batch,
    context::Context,
    kind::Kind,
    ops::rw::Shape,
    request::{
        Head,
        Prepared,
        Request, //
    },
};
use core::mem::MaybeUninit;
use kernel::{
    aio::{
        abi::{
            Abi,
            Iocb, //
        },
        trace, //
    },
    fs::FileId,
    prelude::*,
    sync::threshold::Timeout,
    uaccess::UserPtr,
    uio::Direction, //
};

/// The observer that is told of each request of a submission.
pub(crate) trait Observer {
    /// Whether it is anybody: what would be shown to nobody need not be in memory.
    const THERE: bool;

    /// Returns what [`Request::started()`] will.
    fn now() -> isize;

    /// A request is about to be started.
    fn prepared(prepared: &Prepared, iocb: &Iocb);

    /// An operation has ended at once.
    fn completed<O: Observed>(request: &Request<O>, result: isize);
}

/// Nobody.
pub(crate) enum Nobody {}

impl Observer for Nobody {
    const THERE: bool = false;

    #[inline(always)]
    fn now() -> isize {
        0
    }

    #[inline(always)]
    fn prepared(_: &Prepared, _: &Iocb) {}

    #[inline(always)]
    fn completed<O: Observed>(_: &Request<O>, _: isize) {}
}

/// The tracepoints.
pub(crate) enum Somebody {}

impl Observer for Somebody {
    const THERE: bool = true;

    /// On 32-bit systems that is what fits: latencies above two seconds are wrong.
    #[inline(never)]
    fn now() -> isize {
        trace::now() as isize
    }

    #[inline(never)]
    fn prepared(prepared: &Prepared, iocb: &Iocb) {
        trace::request(
            prepared.context().user_id(),
            prepared.obj(),
            iocb.opcode(),
            FileId::of(prepared.file()),
            iocb.offset(),
            iocb.nbytes(),
        );
    }

    fn completed<O: Observed>(request: &Request<O>, result: isize) {
        completed(request, result);
    }
}

/// An operation that can be told of.
pub(crate) trait Observed {
    /// Returns what it is.
    fn opcode(&self) -> u16;

    /// Returns on which file.
    fn file_id(&self) -> FileId;

    /// Returns when it was started, in place of [`Request::started()`], if it knows.
    fn started(&self) -> Option<isize> {
        None
    }
}

/// An operation is complete; its result is not yet stored.
///
/// May be called in any context.
#[cold]
#[inline(never)]
pub(crate) fn completed<O: Observed>(request: &Request<O>, result: isize) {
    let nanos = nanos_since(request.op.started().unwrap_or(request.started()));

    trace::completed(
        request.context().user_id(),
        request.obj(),
        request.op.opcode(),
        request.op.file_id(),
        result,
        nanos,
    );
}

/// The same in a place that does not know whether somebody observes.
#[inline]
pub(crate) fn ended_at_once<O: Observed>(request: &Request<O>, result: isize) {
    if trace::completions_on() {
        completed(request, result);
    }
}

/// Returns what [`Request::started()`] will, in such a place.
#[inline]
pub(crate) fn now() -> isize {
    match trace::submissions_on() {
        true => Somebody::now(),
        false => 0,
    }
}

/// An operation that is no [`Request`] has ended: `what` returns its head, which it is, when it was
/// started, and its result, and is called if somebody observes.
///
/// May be called in any context.
#[inline(always)]
pub(crate) fn carried_on<'a>(what: impl FnOnce() -> (&'a Head, (u16, FileId), isize, isize)) {
    #[cold]
    #[inline(never)]
    fn tell(head: &Head, (opcode, file): (u16, FileId), started: isize, result: isize) {
        let nanos = nanos_since(started);

        trace::completed(
            head.context().user_id(),
            head.obj(),
            opcode,
            file,
            result,
            nanos,
        );
    }

    if trace::completions_on() {
        let (head, seen, started, result) = what();

        tell(head, seen, started, result);
    }
}

/// Returns what is told of an operation that was started then.
fn nanos_since(started: isize) -> u64 {
    match started {
        0 => 0,
        // 0 is for what is not known, and clocks may be coarse.
        started => (trace::now() as isize).wrapping_sub(started).max(1) as u64,
    }
}

/// Contexts of a kind, while somebody observes.
#[derive(Clone, Copy)]
pub(crate) struct Observing<K>(pub(crate) K);

impl<K: Kind> Kind for Observing<K> {
    type Name = K::Name;
    type Observer = Somebody;

    fn name(self, array: UserPtr, nr: usize, abi: Abi) -> Result<K::Name> {
        self.0.name(array, nr, abi)
    }

    fn iocb(self, name: K::Name, to: &mut MaybeUninit<Iocb>) -> Result<&Iocb> {
        self.0.iocb(name, to)
    }

    fn check(self, iocb: &Iocb) -> Result {
        self.0.check(iocb)
    }

    fn start_rw<O: Observer>(
        self,
        prepared: Prepared,
        iocb: &Iocb,
        name: K::Name,
        how: (Direction, Shape),
        batch: &mut Batch<'_>,
    ) -> Result {
        self.0.start_rw::<O>(prepared, iocb, name, how, batch)
    }

    fn start_other<O: Observer>(
        self,
        iocb: &Iocb,
        name: K::Name,
        compat: bool,
        batch: &mut Batch<'_>,
    ) -> Result {
        self.0.start_other::<O>(iocb, name, compat, batch)
    }
}

/// Submits `asked` iocbs by `f`, which is observed.
pub(crate) fn submission(
    context: &Context,
    asked: usize,
    f: impl FnOnce() -> Result<usize>,
) -> Result<usize> {
    let begun = trace::now();
    let result = f();
    let nanos = trace::now().wrapping_sub(begun) as u64;

    if trace::stats_on() {
        context.stats.submitted(nanos);
    }
    let ret = match result {
        Ok(submitted) => submitted as isize,
        Err(e) => e.to_errno() as isize,
    };

    trace::submit(context.user_id(), asked, ret, nanos);
    result
}

/// A reader that sleeps.
pub(crate) struct Waiting {
    /// 0 if nobody observes.
    begun: i64,
}

impl Waiting {
    /// It is about to: so many events are missing.
    #[inline]
    pub(crate) fn begin(context: &Context, missing: usize, timeout: Timeout) -> Self {
        let begun = if trace::waits_on() || trace::wakes_on() {
            Self::observe(context, missing, timeout)
        } else {
            0
        };

        Self { begun }
    }

    #[cold]
    #[inline(never)]
    fn observe(context: &Context, missing: usize, timeout: Timeout) -> i64 {
        let timeout = match timeout {
            Timeout::Never => -1,
            Timeout::Nanos(nanos) => nanos,
        };

        trace::wait(context.user_id(), missing, timeout);
        trace::now()
    }

    /// It goes on, with so many events.
    #[inline]
    pub(crate) fn end(self, context: &Context, got: usize) {
        if trace::wakes_on() {
            self.wake(context, got);
        }
    }

    #[cold]
    #[inline(never)]
    fn wake(self, context: &Context, got: usize) {
        let nanos = match self.begun {
            0 => 0,
            begun => trace::now().wrapping_sub(begun).max(1),
        };

        trace::wake(context.user_id(), got, nanos as u64);
    }
}
