// SPDX-License-Identifier: GPL-2.0

//! Batches: what goes from one iocb of a submission to the next.
//!
//! What one request leaves behind, the next one uses, and what many need is taken once: memory,
//! slots of the ring, the file, the I/O priority.

use crate::{
    context::Context,
    kind::IocbName,
    request::{
        HasFile,
        Head,
        Memory,
        Prepared,
        Request, //
    }, //
};
use kernel::{
    aio::{
        abi::{
            Iocb,
            IOCB_FLAG_RESFD, //
        },
        trace, //
    },
    blk_plug::{
        AllocateAhead,
        Plug, //
    },
    eventfd::EventFd,
    fs::{
        current_ioprio,
        is_open_as,
        table_is_shared,
        LocalFile, //
    },
    prelude::*,
    slab::{
        Dismantle,
        SlabArc,
        SlabBatch,
        SlabSlot,
        UniqueSlabArc, //
    },
    sync::{
        aref::ARef,
        atomic::Relaxed,
        staged::{
            InFlight,
            StagedUser, //
        }, //
    },
};

/// So many requests of a batch get their memory from the pool of the context.
const MAX_BATCH: usize = 32;

/// What goes from one iocb of a submission to the next.
pub(crate) struct Batch<'a> {
    context: &'a StagedUser<Context>,
    /// How many iocbs are left, the present one included.
    left: usize,
    /// Slots of the ring that were taken.
    slots: u32,
    /// Memory of requests.
    memory: SlabBatch<Memory, MAX_BATCH>,
    /// The context has no more memory.
    pool_is_empty: bool,
    /// The last file and its descriptor.
    ///
    /// No longer than the descriptor refers to it and the iocbs do as well: otherwise it would be
    /// closed later than its user can expect.
    file: Option<ARef<LocalFile>>,
    fd: u32,
    /// Nobody else can change what the descriptor refers to.
    alone: bool,
    /// There was an operation that did not complete at once.
    queued: bool,
    /// The last file that was polled was ready at once.
    pub(crate) ready: bool,
    /// The I/O priority of the task, when it was first asked for.
    ioprio: Option<u16>,
    /// What the block layer is told of the operations to come, if they are plugged.
    ahead: Option<AllocateAhead<'a>>,
    /// With fewer iocbs left it is told.
    tell_below: usize,
}

impl<'a> Batch<'a> {
    /// Begins a submission of `nr` iocbs, whose block requests are held back if there is a plug.
    #[inline]
    pub(crate) fn new(context: &'a StagedUser<Context>, nr: usize, plug: Option<&'a Plug>) -> Self {
        let mut batch = Self {
            context,
            left: nr,
            slots: 0,
            memory: SlabBatch::new(),
            pool_is_empty: false,
            file: None,
            fd: 0,
            alone: !table_is_shared(),
            queued: false,
            ready: false,
            ioprio: None,
            ahead: None,
            tell_below: 0,
        };

        if let Some(plug) = plug {
            let of_use = context.unmerged.load(Relaxed);

            // A batch of which nothing is seen, since all of it ends at once, does not say so
            // again.
            if of_use {
                context.unmerged.store(false, Relaxed);
            }
            let (ahead, left) = AllocateAhead::new(plug, nr, of_use);

            batch.ahead = Some(ahead);
            batch.tell_below = left + 1;
        }
        batch
    }

    /// Returns the context.
    #[inline]
    pub(crate) fn context(&self) -> &Context {
        self.context
    }

    /// Gathers what the next operation needs, whatever it is.
    ///
    /// # Errors
    ///
    /// In this order: `EAGAIN` without memory or room in the ring, `EBADF` without the file, the
    /// errors of the eventfd, `EFAULT` if `aio_key` can't be written.
    #[inline(always)]
    pub(crate) fn prepare(&mut self, iocb: &Iocb, name: impl IocbName) -> Result<Prepared> {
        let memory = self.memory()?;
        let context = self.reserve()?;
        let file = self.file(iocb.fildes())?;
        let eventfd = match iocb.flags() & IOCB_FLAG_RESFD {
            0 => None,
            _ => Some(EventFd::from_fd(iocb.resfd())?),
        };

        name.submitted()?;

        Ok(Prepared::new(
            memory,
            file,
            context,
            eventfd,
            iocb.data(),
            name.obj(),
        ))
    }

    /// Gathers what an operation needs that has no file, see [`prepare()`](Self::prepare).
    ///
    /// # Errors
    ///
    /// Those of [`prepare()`](Self::prepare) that have nothing to do with the file.
    #[cfg(CONFIG_AIO_THREAD)]
    pub(crate) fn prepare_head(&mut self, iocb: &Iocb, name: impl IocbName) -> Result<Head> {
        let context = self.reserve()?;
        let eventfd = match iocb.flags() & IOCB_FLAG_RESFD {
            0 => None,
            _ => Some(EventFd::from_fd(iocb.resfd())?),
        };

        name.submitted()?;
        Ok(Head::new(eventfd, iocb.data(), name.obj(), context))
    }

    /// Returns memory for a request.
    #[inline(always)]
    fn memory(&mut self) -> Result<SlabSlot<Memory>> {
        match self.memory.pop() {
            Some(memory) => Ok(memory),
            None => self.more_memory(),
        }
    }

    /// The context is asked for memory until it has none, then the allocator.
    #[inline(never)]
    fn more_memory(&mut self) -> Result<SlabSlot<Memory>> {
        if !self.pool_is_empty {
            let (memory, left) = (&mut self.memory, self.left);

            self.context
                .ring
                .with_producer(|finished| finished.pool.take_batch(memory, left));
            if let Some(memory) = self.memory.pop() {
                return Ok(memory);
            }
            self.pool_is_empty = true;
        }
        // The memory control group is charged once, not each time that the memory is used again.
        SlabSlot::alloc(GFP_KERNEL_ACCOUNT).map_err(|_| EAGAIN)
    }

    /// Reserves room for an event in the ring.
    ///
    /// # Errors
    ///
    /// `EAGAIN` if the ring is full.
    #[inline]
    fn reserve(&mut self) -> Result<InFlight<Context>> {
        if self.slots == 0 {
            self.slots = self.context.slots.take(self.left);
            if self.slots == 0 {
                self.slots = self.reclaim()?;
            }
        }
        self.slots -= 1;
        Ok(self.context.start_work())
    }

    /// User space may have taken events out of the ring by itself, and other CPUs have slots.
    #[cold]
    fn reclaim(&self) -> Result<u32> {
        let context = self.context;

        context.ring.reclaim(&context.slots);
        let taken = match context.slots.take(self.left) {
            0 => context.slots.gather(self.left),
            n => n,
        };

        match taken {
            0 => {
                // There may be somebody who waits for more events than can ever be in the ring.
                // They have to be taken out before there can be more.
                context.waiters.wake(usize::MAX);
                context.stats.refused();
                self.trace_refused();
                Err(EAGAIN)
            }
            n => Ok(n),
        }
    }

    #[cold]
    fn trace_refused(&self) {
        let context = self.context;
        let room = u64::from(context.ring.nr_events() - 1);
        let (common, local) = context.slots.free();

        trace::refused(
            context.user_id(),
            trace::Limit::Ring,
            self.left as u64,
            room.saturating_sub(common.into())
                .saturating_sub(local.into()),
            room,
        );
    }

    /// Returns the file of a descriptor, as `fget()` does.
    #[inline]
    fn file(&mut self, fd: u32) -> Result<ARef<LocalFile>> {
        let last = self.file.take();
        let file = match last {
            Some(file) if self.fd == fd && (self.alone || is_open_as(&file, fd)) => file,
            last => {
                drop(last);
                LocalFile::fget(fd)?
            }
        };

        self.fd = fd;
        // The operation will keep its reference, most likely.
        if self.queued && self.left > 1 {
            self.file = Some(file.clone());
        }
        Ok(file)
    }

    /// Returns the I/O priority of the task.
    #[inline]
    pub(crate) fn ioprio(&mut self) -> u16 {
        *self.ioprio.get_or_insert_with(current_ioprio)
    }

    /// An operation has ended at once: posts its event.
    #[inline(always)]
    pub(crate) fn complete<O: HasFile>(
        &mut self,
        request: UniqueSlabArc<Request<O>>,
        result: isize,
    ) {
        let ((parts, head), slot) = request.dismantle();
        let file = O::file(parts);
        let memory = &mut self.memory;
        let extra = memory.push(slot);
        let last = self.left <= 1;

        // This is a user of the context.
        head.post(result, |pool| {
            if last {
                pool.put_batch(memory);
            }
        });
        if !last && self.file.is_none() {
            self.file = Some(file);
        }
        drop(extra);
        self.left -= 1;
    }

    /// An operation has ended at once, and was no request.
    #[cfg(CONFIG_AIO_THREAD)]
    pub(crate) fn ended(&mut self) {
        self.left -= 1;
    }

    /// Memory of a request is not needed any longer.
    pub(crate) fn give_back(&mut self, memory: SlabSlot<Memory>) {
        drop(self.memory.push(memory));
    }

    /// Memory was not used: the context may have it.
    #[cold]
    #[inline(never)]
    fn put_memory(&mut self) {
        let memory = &mut self.memory;

        self.context
            .ring
            .with_producer(|finished| finished.pool.put_batch(memory));
    }

    /// An operation has begun, and belongs to somebody else.
    #[inline]
    pub(crate) fn started(&mut self) {
        self.queued = true;
        self.left -= 1;
        if self.left < self.tell_below {
            self.tell_block_layer();
        }
    }

    /// It does better if it knows that there will be more.
    #[cold]
    #[inline(never)]
    fn tell_block_layer(&mut self) {
        let Some(ahead) = &mut self.ahead else {
            return;
        };

        // When so many are left, no more, it is told again.
        self.tell_below = ahead.submitted(self.left).map_or(0, |left| left + 1);
        self.context.unmerged.store(ahead.is_of_use(), Relaxed);
    }

    /// An operation has begun: gives up the submitter's reference.
    #[inline(always)]
    pub(crate) fn queued<O: Dismantle>(&mut self, submission: SlabArc<Request<O>>) {
        self.started();
        Request::put(submission);
    }
}

impl Drop for Batch<'_> {
    #[inline]
    fn drop(&mut self) {
        if self.slots != 0 {
            self.context.slots.put(self.slots);
        }
        if !self.memory.is_empty() {
            self.put_memory();
        }
    }
}

#[kunit_tests(aio_batch)]
mod tests {
    use super::*;
    use crate::{
        kind::Plain,
        kunit::{
            Process,
            EVENTS, //
        },
        ops, //
    };
    use kernel::{
        blk_plug::plugged,
        kunit::user::ScriptedFile, //
    };

    #[test]
    fn full() -> Result {
        let process = Process::new(4)?;
        let iocb = process.read_iocb(8);
        let user_iocb = process.write(0, &iocb)?;

        process.with_context(|context| {
            let start = || {
                ops::start(
                    Plain,
                    &iocb,
                    user_iocb,
                    false,
                    &mut Batch::new(context, 1, None),
                )
            };
            let nr_events = context.ring.nr_events() as usize;
            let mut started = 0;
            // Those that are full of events, not of requests: they have all completed.
            let error = loop {
                match start() {
                    Ok(()) => started += 1,
                    Err(e) => break e,
                }
                assert!(started < nr_events);
            };

            assert_eq!(error, EAGAIN);
            // All but the one by which a full ring differs from an empty one.
            assert_eq!(started, nr_events - 1);
            assert_eq!(
                context.ring.pop(process.memory.at(EVENTS), nr_events),
                Ok(started)
            );
            // That there is room again is found out when some is needed.
            assert_eq!(start(), Ok(()));
            Ok(())
        })
    }

    /// What is known of the last batch is for one more, unless that says the same.
    #[test]
    fn nothing_is_known_for_long() -> Result {
        let process = Process::new(16)?;

        process.with_context(|context| {
            context.unmerged.store(true, Relaxed);
            plugged(|plug| drop(Batch::new(context, 8, Some(plug))));
            assert!(!context.unmerged.load(Relaxed));
            Ok(())
        })
    }

    #[test]
    fn one_event_each() -> Result {
        let process = Process::new(16)?;
        let iocb = process.read_iocb(8);
        let user_iocb = process.write(0, &iocb)?;
        let events = |context: &Context| context.ring.pop(process.memory.at(EVENTS), 100);

        process.with_context(|context| {
            let mut batch = Batch::new(context, 6, None);

            // Three that complete later, and three that do at once.
            process.file.hold(false);
            for data in 0..3 {
                ops::start(Plain, &iocb.with_data(data), user_iocb, false, &mut batch)?;
            }
            process.file.set_rw(-9);
            for data in 3..6 {
                ops::start(Plain, &iocb.with_data(data), user_iocb, false, &mut batch)?;
            }
            drop(batch);
            assert_eq!(events(context), Ok(3));
            for i in 0..3 {
                let event = process.event(i)?;

                assert_eq!((event[0], event[2] as i64), (3 + i as u64, -9));
            }
            for res in 10..13 {
                assert!(process.file.end(res));
            }
            assert_eq!(events(context), Ok(3));
            for i in 0..3 {
                let event = process.event(i)?;

                assert_eq!((event[0], event[2]), (i as u64, 10 + i as u64));
            }
            assert_eq!(events(context), Ok(0));
            Ok(())
        })
    }

    /// A batch keeps the last file, but not what its descriptor does not refer to any longer.
    #[test]
    fn files_of_a_batch() -> Result {
        let process = Process::new(16)?;
        let (one, other) = (ScriptedFile::new()?, ScriptedFile::new()?);
        let (fd, other_fd) = (one.open().fd(), other.open().fd());

        process.with_context(|context| {
            let mut batch = Batch::new(context, 8, None);
            let is = |file: &LocalFile, which: &ScriptedFile| {
                core::ptr::eq(file.as_ptr(), which.open().file().as_ptr())
            };

            // As if there had been an operation that has not ended.
            batch.queued = true;
            assert!(is(&*batch.file(fd)?, &one));
            assert!(batch.file.is_some());
            assert!(is(&*batch.file(fd)?, &one));
            assert!(is(&*batch.file(other_fd)?, &other));
            assert!(is(&*batch.file(fd)?, &one));
            drop(one);
            assert_eq!(batch.file(fd).err(), Some(EBADF));
            assert!(batch.file.is_none());
            assert!(is(&*batch.file(other_fd)?, &other));
            Ok(())
        })
    }
}
