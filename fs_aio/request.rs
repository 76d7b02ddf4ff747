// SPDX-License-Identifier: GPL-2.0

//! Requests: operations in flight.
//!
//! A request is *prepared*, which may fail; then it belongs to one value, and dropping that gives
//! everything back. It is *started* by an operation. From there on it may be shared between who
//! submits it and who completes it, in whatever order they end; whoever is last posts the event.
//! So an operation that was started always ends in an event, and one that was not never does.
//!
//! A submission with many iocbs is a [`Batch`]: what one request leaves behind, the next one uses.

use crate::{
    context::Context,
    ops, //
};
use kernel::{
    aio::abi::{
        IoEvent,
        Iocb,
        IOCB_FLAG_RESFD, //
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
        impl_dismantle,
        Backing,
        Cached,
        Dismantle,
        KmemCache,
        SlabArc,
        SlabArcInner,
        SlabBatch,
        SlabPool,
        SlabSlot,
        UniqueSlabArc, //
    },
    sync::{
        aref::ARef,
        atomic::{
            Atomic,
            Relaxed, //
        },
        staged::{
            InFlight,
            StagedUser, //
        },
        ReadSection, //
    },
    uaccess::UserPtr,
    user_scalar::UserScalar, //
};

/// Where requests live.
pub(crate) enum Memory {}

pub(crate) static CACHE: KmemCache<Memory> = KmemCache::new(c"aio_kiocb");

impl Backing for Memory {
    type Largest = SlabArcInner<Request<ops::Any>>;
    const CACHE: &'static KmemCache<Self> = &CACHE;
}

/// `aio_key` of every iocb that was submitted.
pub(crate) const KEY: u32 = 0;

/// For so many requests a context keeps the memory after their end.
pub(crate) const MAX_POOL: usize = 128;

/// So many requests of a batch get their memory from there.
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
    /// The context was asked for memory.
    asked: bool,
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
}

impl<'a> Batch<'a> {
    /// Begins a submission of `nr` iocbs.
    #[inline]
    pub(crate) fn new(context: &'a StagedUser<Context>, nr: usize) -> Self {
        Self {
            context,
            left: nr,
            slots: 0,
            memory: SlabBatch::new(),
            asked: false,
            file: None,
            fd: 0,
            alone: !table_is_shared(),
            queued: false,
            ready: false,
            ioprio: None,
        }
    }

    /// Gathers what the next operation needs, whatever it is.
    ///
    /// # Errors
    ///
    /// In this order: `EAGAIN` without memory or room in the ring, `EBADF` without the file, the
    /// errors of the eventfd, `EFAULT` if `aio_key` can't be written.
    #[inline(always)]
    pub(crate) fn prepare(&mut self, iocb: &Iocb, user_iocb: UserPtr) -> Result<Prepared> {
        let memory = self.memory()?;
        let context = self.reserve()?;
        let file = self.file(iocb.fildes())?;
        let eventfd = match iocb.flags() & IOCB_FLAG_RESFD {
            0 => None,
            _ => Some(EventFd::from_fd(iocb.resfd())?),
        };

        KEY.put_user(user_iocb.wrapping_byte_add(Iocb::KEY_OFFSET))?;

        Ok(Prepared {
            memory,
            file,
            head: Head {
                eventfd,
                data: iocb.data(),
                obj: user_iocb.as_const_ptr() as u64,
                context,
            },
        })
    }

    /// Returns memory for a request.
    #[inline(always)]
    fn memory(&mut self) -> Result<SlabSlot<Memory>> {
        match self.memory.pop() {
            Some(memory) => Ok(memory),
            None => self.more_memory(),
        }
    }

    /// The context is asked for memory once, then the allocator.
    #[inline(never)]
    fn more_memory(&mut self) -> Result<SlabSlot<Memory>> {
        if !self.asked {
            let (memory, left) = (&mut self.memory, self.left);

            self.asked = true;
            self.context
                .ring
                .with_producer(|finished| finished.pool.take_batch(memory, left));
            if let Some(memory) = self.memory.pop() {
                return Ok(memory);
            }
        }
        SlabSlot::alloc(GFP_KERNEL).map_err(|_| EAGAIN)
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

    /// User space may have taken events out of the ring by itself.
    #[cold]
    fn reclaim(&self) -> Result<u32> {
        let context = self.context;

        context.ring.reclaim(&context.slots);
        match context.slots.take(self.left) {
            0 => {
                // There may be somebody who waits for more events than can ever be in the ring.
                // They have to be taken out before there can be more.
                context.waiters.wake(usize::MAX);
                Err(EAGAIN)
            }
            n => Ok(n),
        }
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

    /// An operation has begun: gives up the submitter's reference.
    #[inline]
    pub(crate) fn queued<O: Dismantle>(&mut self, submission: SlabArc<Request<O>>) {
        self.queued = true;
        self.left -= 1;
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
            let memory = &mut self.memory;

            self.context
                .ring
                .with_producer(|finished| finished.pool.put_batch(memory));
        }
    }
}

/// What an operation needs to be started.
pub(crate) struct Prepared {
    memory: SlabSlot<Memory>,
    file: ARef<LocalFile>,
    head: Head,
}

/// What all requests have.
pub(crate) struct Head {
    eventfd: Option<EventFd>,
    /// `aio_data`.
    data: u64,
    /// The address of the iocb.
    obj: u64,
    /// The context, with room for the event in its ring.
    context: InFlight<Context>,
}

impl Head {
    /// Posts the event; `more` is called with the memory that the context keeps.
    ///
    /// With it the request is counted as ended. So then `io_destroy()` may return, whose caller
    /// expects that nothing is left of the request: whatever user space could still see of it, its
    /// file above all, must have been given up before, and there must be no eventfd, unless there
    /// is a user of the context. See [`post_and_signal()`](Self::post_and_signal).
    ///
    /// May be called in any context.
    #[inline]
    fn post(self, result: isize, more: impl FnOnce(&mut SlabPool<Memory>)) {
        let event = IoEvent::new(self.data, self.obj, result as i64);
        let in_flight = self.context;
        let section = ReadSection::new();
        // It may come to its end as soon as the event is there.
        let context = in_flight.under_rcu(&section);

        let available = context.ring.push(event, &context.slots, |finished| {
            more(&mut finished.pool);
            in_flight.end(&mut finished.ended);
        });

        if let Some(eventfd) = self.eventfd {
            eventfd.signal();
        }
        // After the tail of the ring was stored, see there.
        context.waiters.wake(available as usize);
    }

    /// The same, but the request is counted as ended after its eventfd was signalled.
    ///
    /// For that the lock of the producer is taken once more.
    #[inline]
    fn post_and_signal(self, result: isize, more: impl FnOnce(&mut SlabPool<Memory>)) {
        let event = IoEvent::new(self.data, self.obj, result as i64);
        let in_flight = self.context;
        let section = ReadSection::new();
        let context = in_flight.under_rcu(&section);

        let available = context
            .ring
            .push(event, &context.slots, |finished| more(&mut finished.pool));

        if let Some(eventfd) = self.eventfd {
            eventfd.signal();
        }
        context.waiters.wake(available as usize);
        context
            .ring
            .with_producer(|finished| in_flight.end(&mut finished.ended));
    }
}

impl Prepared {
    /// Makes this a request for an operation, which `init` makes of the file.
    ///
    /// # Errors
    ///
    /// What `init` returns.
    #[inline]
    pub(crate) fn into_request<O, I: PinInit<O>>(
        self,
        init: impl FnOnce(ARef<LocalFile>) -> Result<I>,
    ) -> Result<UniqueSlabArc<Request<O>>> {
        let Self { memory, file, head } = self;
        let op = init(file)?;

        let init = pin_init!(Request {
            op <- op,
            head,
            result: Atomic::new(0),
        });

        memory.init(init).map_err(|never| match never {})
    }

    /// Returns how user space calls the operation: the address of the iocb.
    #[inline]
    pub(crate) fn obj(&self) -> u64 {
        self.head.obj
    }
}

/// Operations that leave nothing behind but their file.
pub(crate) trait HasFile: Dismantle {
    /// Returns it.
    fn file(parts: Self::Parts) -> ARef<LocalFile>;
}

/// A request for an operation `O`.
#[pin_data]
pub(crate) struct Request<O> {
    // The operation has the file, which goes first.
    #[pin]
    pub(crate) op: O,
    head: Head,
    /// What will be in the event.
    result: Atomic<isize>,
}

impl_dismantle! {
    impl<O: Dismantle> Dismantle for Request<O> {
        taken { op: O }
        moved { head: Head }
        dropped { result }
    }
}

impl<O> Cached for Request<O> {
    type Backing = Memory;
}

impl<O> Request<O> {
    /// Returns the operation of a request that was not started.
    #[inline]
    pub(crate) fn op_mut(this: &mut UniqueSlabArc<Self>) -> Pin<&mut O> {
        this.as_mut().project().op
    }

    /// Returns the context.
    #[inline]
    pub(crate) fn context(&self) -> &Context {
        &self.head.context
    }

    /// Returns whether an eventfd will be signalled.
    #[inline]
    pub(crate) fn has_eventfd(&self) -> bool {
        self.head.eventfd.is_some()
    }
}

impl<O: Dismantle> Request<O> {
    /// The operation is complete.
    ///
    /// May be called in any context.
    #[inline]
    pub(crate) fn complete(this: SlabArc<Self>, result: isize) {
        // Whoever posts the event sees it, because the reference is given up after it.
        this.result.store(result, Relaxed);
        Self::put(this);
    }

    /// Gives up a reference of a request that was started. The last one posts the event.
    ///
    /// May be called in any context.
    #[inline]
    pub(crate) fn put(this: SlabArc<Self>) {
        if let Some(request) = this.into_unique() {
            Self::finish(request);
        }
    }

    /// Posts the event of a request that has ended.
    #[inline(never)]
    fn finish(request: UniqueSlabArc<Self>) {
        if request.has_eventfd() {
            return Self::finish_and_signal(request);
        }
        let (result, head, slot) = Self::take_apart(request);
        let mut extra = None;

        head.post(result, |pool| extra = pool.put(slot));
        drop(extra);
    }

    /// The same with an eventfd.
    #[inline(never)]
    fn finish_and_signal(request: UniqueSlabArc<Self>) {
        let (result, head, slot) = Self::take_apart(request);
        let mut extra = None;

        head.post_and_signal(result, |pool| extra = pool.put(slot));
        drop(extra);
    }

    /// Gives up what the operation has.
    ///
    /// The file is part of it: who has seen the event, or the end of the context, can rely on it.
    #[inline(always)]
    fn take_apart(request: UniqueSlabArc<Self>) -> (isize, Head, SlabSlot<Memory>) {
        let result = request.result.load(Relaxed);
        let ((parts, head), slot) = request.dismantle();

        drop(parts);
        (result, head, slot)
    }
}

#[kunit_tests(aio_request)]
mod tests {
    use super::*;
    use crate::{
        kunit::{
            Process,
            EVENTS, //
        },
        ops, //
    };
    use kernel::{
        aio::abi::opcode,
        kunit::user::ScriptedFile, //
    };

    impl Process {
        /// Prepares a request for an iocb, and drops it.
        fn prepare(&self, iocb: &Iocb) -> Result {
            let user_iocb = self.write(0, iocb)?;

            self.with_context(|context| {
                let prepared = Batch::new(context, 1).prepare(iocb, user_iocb)?;

                assert_eq!(prepared.obj(), user_iocb.as_const_ptr() as u64);
                Ok(())
            })
        }
    }

    /// A request that was not started leaves no event, and nothing else.
    #[test]
    fn not_started() -> Result {
        let process = Process::new(4)?;
        let iocb = process.read_iocb(8);

        process.often(|| {
            assert_eq!(process.prepare(&iocb), Ok(()));
            Ok(())
        })?;
        process.with_context(|context| {
            let events = process.memory.at(EVENTS);

            assert_eq!(context.ring.pop(events, 1), Ok(0));
            Ok(())
        })
    }

    #[test]
    fn errors_give_everything_back() -> Result {
        let process = Process::new(4)?;
        let good = process.read_iocb(8);
        let no_file = Iocb::new(opcode::PREAD, u32::MAX, 0, 0, 0);
        let fd = process.file.open().fd();
        let flags = IOCB_FLAG_RESFD;

        process.often(|| {
            assert_eq!(process.prepare(&no_file), Err(EBADF));
            // The eventfd after the file, and the key after that.
            assert_eq!(
                process.prepare(&no_file.with_flags(flags, fd, 0)),
                Err(EBADF)
            );
            assert_eq!(process.prepare(&good.with_flags(flags, fd, 0)), Err(EINVAL));
            assert_eq!(
                process.prepare(&good.with_flags(flags, u32::MAX, 0)),
                Err(EBADF)
            );
            process.with_context(|context| {
                let nowhere = UserPtr::from_addr(usize::MAX - 63);
                let result = Batch::new(context, 1).prepare(&good, nowhere);

                assert_eq!(result.err(), Some(EFAULT));
                Ok(())
            })
        })
    }

    #[test]
    fn the_key_is_written() -> Result {
        let process = Process::new(4)?;
        let iocb = process.read_iocb(8);
        let key = process.write(0, &iocb)?.wrapping_byte_add(Iocb::KEY_OFFSET);

        process.with_context(|context| {
            77u32.put_user(key)?;
            let user_iocb = UserPtr::from_addr(key.as_const_ptr() as usize - Iocb::KEY_OFFSET);

            drop(Batch::new(context, 1).prepare(&iocb, user_iocb)?);
            assert_eq!(u32::get_user(key), Ok(KEY));
            Ok(())
        })
    }

    #[test]
    fn full() -> Result {
        let process = Process::new(4)?;
        let iocb = process.read_iocb(8);
        let user_iocb = process.write(0, &iocb)?;

        process.with_context(|context| {
            let start = || ops::start(&iocb, user_iocb, false, &mut Batch::new(context, 1));
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
            assert!(started >= nr_events / 2);
            assert_eq!(
                context.ring.pop(process.memory.at(EVENTS), nr_events),
                Ok(started)
            );
            // That there is room again is found out when some is needed.
            assert_eq!(start(), Ok(()));
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
            let mut batch = Batch::new(context, 6);

            // Three that complete later, and three that do at once.
            process.file.hold(false);
            for data in 0..3 {
                ops::start(&iocb.with_data(data), user_iocb, false, &mut batch)?;
            }
            process.file.set_rw(-9);
            for data in 3..6 {
                ops::start(&iocb.with_data(data), user_iocb, false, &mut batch)?;
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
            let mut batch = Batch::new(context, 8);
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
