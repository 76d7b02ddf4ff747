// SPDX-License-Identifier: GPL-2.0

//! Starting reads and writes that never block who submits them.

use super::{
    goes_on,
    RwJob,
    AGAIN, //
};
use crate::{
    batch::Batch,
    carried::{
        self,
        Carried,
        Perform, //
    },
    context::Context,
    ops::rw::{
        self,
        Rw,
        Shape,
        Transfer, //
    },
    request::{
        HasFile,
        Head,
        Prepared,
        Request, //
    },
    trace::{
        self,
        Observer, //
    },
    workers::{
        Class,
        Key,
        Reservation,
        Submission,
        Submitter,
        Threads, //
    },
};
use kernel::{
    aio::abi::Iocb,
    fs::{
        data_id,
        device_of,
        is_direct,
        verify_rw,
        Abilities,
        AsyncKiocb,
        How,
        Issued,
        LocalFile,
        Progress,
        Settings,
        SharedKiocb,
        Submitted,
        Trying, //
    },
    prelude::*,
    slab::{
        SlabArc,
        SlabSlot,
        UniqueSlabArc, //
    },
    sync::{
        aref::ARef,
        atomic::{
            Atomic,
            AtomicFlag,
            Relaxed, //
        },
        Arc, //
    },
    uio::{
        BufferSpace,
        Direction,
        ImportedBuffers,
        OwnedBuffers, //
    },
};

/// Where a read or write comes from.
#[derive(Clone, Copy)]
pub(crate) struct Origin<'a> {
    pub(crate) threads: &'a Threads,
    pub(crate) submission: &'a Submission,
}

/// Starts a read or write in a threaded context, on the pinned buffer with the number `fixed` if
/// there is one.
///
/// What ends at once, as most do, is no more than a read or write in a plain context.
///
/// # Errors
///
/// Those of [`rw::start()`], but that files need not have more than the simple functions; what is
/// said at [`carry()`].
#[inline(always)]
pub(crate) fn start<O: Observer>(
    origin: Origin<'_>,
    prepared: Prepared,
    iocb: &Iocb,
    (dir, shape): (Direction, Shape),
    fixed: Option<u32>,
    batch: &mut Batch<'_>,
) -> Result {
    if is_direct(prepared.file()) {
        // Only a copy of its own has to be in memory.
        let iocb = *iocb;

        return start_direct(origin, prepared, &iocb, (dir, shape), fixed, batch);
    }
    let transfer = Transfer::new(iocb, dir, shape, fixed);
    let request = rw::prepare(prepared, iocb, dir, O::now(), batch)?;
    let trying = match request.op.kiocb.trying(dir) {
        Some(trying) if fixed.is_none() && !origin.threads.is_behind(|| key_of(&request)) => trying,
        _ => return start_any(origin, request, transfer, batch),
    };
    let mut space = BufferSpace::uninit();
    let mut buffers = ImportedBuffers::new(&mut space, dir, transfer.buffers())?;

    match AsyncKiocb::try_issue(request, trying, &mut buffers)? {
        Issued::Complete(request, res) if res >= buffers.len() as isize => {
            if O::THERE {
                O::completed(&request, res);
            }
            batch.complete(request, res);
        }
        Issued::Complete(request, res) => {
            return stopped(
                origin,
                request,
                transfer,
                (res, buffers.into_owned()),
                batch,
            );
        }
        Issued::Queued(submission) => batch.queued(submission.into_inner()),
    }
    Ok(())
}

/// What has become of a read or write that was tried.
enum Tried {
    /// It has ended, and has done all that it was asked for.
    Complete(UniqueSlabArc<Request<Rw>>, isize),
    /// It has ended as well, but with fewer bytes, or a negative errno. These are its buffers, as
    /// they were when it was tried; there may have been no memory to keep that.
    Stopped(UniqueSlabArc<Request<Rw>>, isize, Result<OwnedBuffers>),
    /// It ends later.
    Queued(Submitted<Request<Rw>>),
}

/// Calls the file, which is asked not to wait, with buffers of any kind.
///
/// # Errors
///
/// Those of [`start()`] that have nothing to do with the file.
fn try_any(
    request: UniqueSlabArc<Request<Rw>>,
    transfer: &Transfer,
    trying: Trying,
) -> Result<Tried> {
    let mut space = BufferSpace::uninit();
    let (issued, len, buffers) = match transfer.fixed {
        None => {
            let mut buffers = ImportedBuffers::new(&mut space, transfer.dir(), transfer.buffers())?;
            let issued = AsyncKiocb::try_issue(request, trying, &mut buffers)?;

            (issued, buffers.len(), Some(buffers))
        }
        Some(index) => (
            transfer.try_issue_fixed(request, trying, index)?,
            transfer.len,
            None,
        ),
    };

    Ok(match issued {
        Issued::Queued(submission) => Tried::Queued(submission),
        Issued::Complete(request, res) if res >= len as isize => Tried::Complete(request, res),
        Issued::Complete(request, res) => {
            let buffers = match buffers {
                Some(buffers) => buffers.into_owned(),
                None => transfer.owned(request.context()),
            };

            Tried::Stopped(request, res, buffers)
        }
    })
}

fn key_of(request: &Request<Rw>) -> Key {
    Key::new(request.context(), request.op.kiocb.data_id())
}

/// The same for any file.
#[cold]
#[inline(never)]
fn start_any(
    origin: Origin<'_>,
    request: UniqueSlabArc<Request<Rw>>,
    transfer: Transfer,
    batch: &mut Batch<'_>,
) -> Result {
    let dir = transfer.dir();
    let abilities = request.op.kiocb.abilities(dir)?;
    let in_order = abilities.storage && origin.threads.is_behind(|| key_of(&request));

    if abilities.nonblock && !abilities.simple {
        // The program wants to know.
        if in_order {
            end_at_once(request, AGAIN, batch);
            return Ok(());
        }
        if dir == Direction::Write && abilities.storage {
            // For a frozen file system it does not wait, either.
            return match try_any(request, &transfer, abilities.trying(dir))? {
                Tried::Complete(request, res) | Tried::Stopped(request, res, _) => {
                    end_at_once(request, res, batch);
                    Ok(())
                }
                Tried::Queued(submission) => in_place(Issued::Queued(submission), batch),
            };
        }
        return in_place(transfer.issue(request)?, batch);
    }
    if abilities.driver {
        // In a thread it could be neither cancelled nor queued behind others.
        return in_place(transfer.issue(request)?, batch);
    }
    if !abilities.tries || abilities.direct || in_order {
        return carry(origin, request, transfer, &abilities, None, batch);
    }
    match try_any(request, &transfer, abilities.trying(dir))? {
        Tried::Complete(request, res) => in_place(Issued::Complete(request, res), batch),
        Tried::Stopped(request, res, buffers) => {
            stopped(origin, request, transfer, (res, buffers), batch)
        }
        Tried::Queued(submission) => in_place(Issued::Queued(submission), batch),
    }
}

/// An operation has ended at once, and has not done all that it was asked for.
#[cold]
#[inline(never)]
fn stopped(
    origin: Origin<'_>,
    mut request: UniqueSlabArc<Request<Rw>>,
    transfer: Transfer,
    (res, buffers): (isize, Result<OwnedBuffers>),
    batch: &mut Batch<'_>,
) -> Result {
    let dir = transfer.dir();

    Request::op_mut(&mut request).project().kiocb.set_waiting();
    // It has them, or would not have been called; what was started ends in an event in any case.
    let Ok(abilities) = request.op.kiocb.abilities(dir) else {
        end_at_once(request, res, batch);
        return Ok(());
    };
    let end = transfer.pos.wrapping_add(res as i64);
    let short = res > 0 && goes_on(dir, &abilities, &request.op.kiocb, end);
    let refused = res == AGAIN || res == EOPNOTSUPP.to_errno() as isize;

    if short || refused {
        let done = if short { res as usize } else { 0 };

        return carry(
            origin,
            request,
            transfer,
            &abilities,
            Some((done, buffers)),
            batch,
        );
    }
    end_at_once(request, res, batch);
    Ok(())
}

fn end_at_once(request: UniqueSlabArc<Request<Rw>>, res: isize, batch: &mut Batch<'_>) {
    trace::ended_at_once(&request, res);
    batch.complete(request, res);
}

fn in_place(issued: Issued<Request<Rw>>, batch: &mut Batch<'_>) -> Result {
    match issued {
        Issued::Complete(request, res) => end_at_once(request, res, batch),
        Issued::Queued(submission) => batch.queued(submission.into_inner()),
    }
    Ok(())
}

/// What an operation needs to be carried on.
struct Gathered {
    submitter: Arc<Submitter>,
    memory: SlabSlot<carried::Memory>,
    reservation: Option<Reservation>,
}

impl Gathered {
    /// `orders` tells whether others may have to wait for it.
    fn new(submission: &Submission, context: &Context, orders: bool) -> Result<Self> {
        Ok(Self {
            submitter: submission.submitter(context)?,
            memory: SlabSlot::alloc(GFP_KERNEL_ACCOUNT)?,
            reservation: match orders {
                true => Some(Reservation::new(GFP_KERNEL_ACCOUNT)?),
                false => None,
            },
        })
    }
}

/// What becomes an operation that is carried on.
struct Parts {
    file: ARef<LocalFile>,
    head: Head,
    settings: Settings,
    buffers: OwnedBuffers,
    /// So many bytes are done.
    done: usize,
    /// [`Request::started()`].
    started: isize,
}

impl Parts {
    /// Makes it one.
    fn into_operation(
        self,
        submitter: Arc<Submitter>,
        memory: SlabSlot<carried::Memory>,
        transfer: &Transfer,
        abilities: &Abilities,
    ) -> SlabArc<Carried<RwJob>> {
        let key = Key::new(self.head.context(), data_id(&self.file));
        let class = match abilities.storage {
            true => Class::Storage(device_of(&self.file)),
            false => Class::Other,
        };
        let shared = SharedKiocb::new(
            self.file,
            self.settings,
            *abilities,
            transfer.dir(),
            transfer.pos,
            self.buffers,
            self.done,
        );
        let job = pin_init!(RwJob {
            shared <- shared,
            waits: AtomicFlag::new(false),
            misled: Atomic::new(0),
        });
        let key = abilities.storage.then_some(key);

        Carried::new(memory, self.head, submitter, class, key, self.started, job)
    }
}

/// Starts an operation on a file that bypasses the page cache.
///
/// If it can be tried, it is carried on from the beginning: what the device does by itself stays
/// with it, but may be refused late.
///
/// # Errors
///
/// Those of [`start()`].
#[inline(never)]
fn start_direct(
    origin: Origin<'_>,
    prepared: Prepared,
    iocb: &Iocb,
    (dir, shape): (Direction, Shape),
    fixed: Option<u32>,
    batch: &mut Batch<'_>,
) -> Result {
    let transfer = Transfer::new(iocb, dir, shape, fixed);
    let settings = rw::settings(prepared.file(), iocb, dir, batch)?;
    let abilities = Abilities::of(prepared.file(), settings, dir)?;
    let (context, file) = (prepared.context(), prepared.file());
    let by_itself = abilities.direct
        && abilities.tries
        && !abilities.nonblock
        && !origin
            .threads
            .is_behind(|| Key::new(context, data_id(file)));

    if by_itself {
        let buffers = transfer.owned(context)?;

        verify_rw(file, dir, transfer.pos, buffers.len(), &abilities)?;
        if let Ok(gathered) = Gathered::new(origin.submission, context, false) {
            let (slot, file, head) = prepared.into_parts();
            let parts = Parts {
                file,
                head,
                settings,
                buffers,
                done: 0,
                started: trace::now(),
            };
            let (submitter, memory) = (gathered.submitter, gathered.memory);
            let operation = parts.into_operation(submitter, memory, &transfer, &abilities);

            batch.give_back(slot);
            go_by_itself(operation);
            batch.started();
            return Ok(());
        }
    }
    // What else there may be, and errors.
    let request = rw::prepare(prepared, iocb, dir, trace::now(), batch)?;

    start_any(origin, request, transfer, batch)
}

/// A request would have to wait: it becomes an operation that is carried on. `tried` is how many
/// bytes are done, and what the buffers are, if the file was called: the description that the
/// process has given is read once.
///
/// Without a thread it is done as on a plain context.
///
/// # Errors
///
/// If nothing is done, those of [`rw::start()`] for the buffers and the range in the file.
/// `EAGAIN` if there is no memory, or no thread, and only a thread could do it, or it has to go
/// behind another; `ERESTARTNOINTR` or `EINTR` if a signal keeps a thread from being made.
#[cold]
#[inline(never)]
fn carry(
    origin: Origin<'_>,
    mut request: UniqueSlabArc<Request<Rw>>,
    transfer: Transfer,
    abilities: &Abilities,
    tried: Option<(usize, Result<OwnedBuffers>)>,
    batch: &mut Batch<'_>,
) -> Result {
    let dir = transfer.dir();
    let was_tried = tried.is_some();
    let (done, buffers) = tried.unwrap_or_else(|| (0, transfer.owned(request.context())));
    let buffers = match buffers {
        Ok(buffers) => buffers,
        // There is no memory for an array; what was read or written is the result.
        Err(_) if done > 0 => {
            end_at_once(request, done as isize, batch);
            return Ok(());
        }
        Err(e) => return Err(e),
    };

    if !was_tried {
        request
            .op
            .kiocb
            .verify(dir, transfer.pos, buffers.len(), abilities)?;
    }
    Request::op_mut(&mut request).project().kiocb.set_waiting();

    let buffered_write = dir == Direction::Write && abilities.storage && !abilities.direct;
    let gathered = match Gathered::new(origin.submission, request.context(), buffered_write) {
        Ok(gathered) => gathered,
        Err(_) if done > 0 => {
            // It has begun, and was not direct: what is left ends here as well.
            return match AsyncKiocb::issue_again(request, dir, &buffers, done) {
                Issued::Complete(request, rest) => {
                    end_at_once(request, done as isize + rest.max(0), batch);
                    Ok(())
                }
                queued => in_place(queued, batch),
            };
        }
        Err(e) if e == ERESTARTNOINTR || e == EINTR => return Err(e),
        // As without memory for a request: to wait here, perhaps indefinitely, would be worse.
        Err(e) if e == ENOMEM => return Err(EAGAIN),
        Err(_) if abilities.simple => return Err(EAGAIN),
        // Here it would overtake what it has to go behind.
        Err(_) if abilities.storage && origin.threads.is_behind(|| key_of(&request)) => {
            return Err(EAGAIN);
        }
        Err(_) => {
            return in_place(AsyncKiocb::issue_again(request, dir, &buffers, 0), batch);
        }
    };

    let settings = request.op.kiocb.settings();
    let started = request.started();
    let ((parts, head), slot) = request.dismantle();
    let parts = Parts {
        file: Rw::file(parts),
        head,
        settings,
        buffers,
        done,
        started,
    };
    let operation = parts.into_operation(gathered.submitter, gathered.memory, &transfer, abilities);

    batch.give_back(slot);
    begin(operation, was_tried, gathered.reservation);
    batch.started();
    Ok(())
}

/// Sends an operation on its way.
fn begin(operation: SlabArc<Carried<RwJob>>, tried: bool, reservation: Option<Reservation>) {
    let abilities = operation.job.shared.abilities();

    if abilities.polls && tried {
        if let Some(operation) = RwJob::park(operation) {
            Carried::enqueue(operation);
        }
    } else if abilities.storage && !operation.may_begin(reservation.is_some()) {
        Carried::enqueue_in_order(operation, reservation);
    } else if abilities.direct && abilities.tries {
        go_by_itself(operation);
    } else {
        Carried::enqueue(operation);
    }
}

/// Has a device do what it does by itself.
fn go_by_itself(operation: SlabArc<Carried<RwJob>>) {
    match SharedKiocb::carry_on(operation, How::Try) {
        Progress::InFlight(operation) => Carried::put(operation),
        Progress::Interrupted(operation) => Carried::enqueue(operation),
        Progress::Ended(operation, res) => {
            let refused = res == AGAIN || res == EOPNOTSUPP.to_errno() as isize;

            if refused || operation.job.goes_on(res) {
                operation.job.waits.store(true, Relaxed);
                return Carried::enqueue(operation);
            }
            let result = operation.job.partial().unwrap_or(res);

            Carried::end(operation, result);
        }
    }
}
