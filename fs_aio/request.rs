// SPDX-License-Identifier: GPL-2.0

//! Requests: operations in flight.
//!
//! A request is *prepared*, which may fail; then it belongs to one value, and dropping that gives
//! everything back. It is *started* by an operation. From there on it may be shared between the
//! submitter and the code that completes it, in whatever order they end; the last of the two posts
//! the event. So an operation that was started always ends in an event, and one that was not never
//! does.

use crate::{
    context::Context,
    ops,
    trace::{
        self,
        Observed, //
    }, //
};
use kernel::{
    aio::{
        abi::IoEvent,
        trace::completions_on, //
    },
    eventfd::EventFd,
    fs::LocalFile,
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
        staged::InFlight,
        ReadSection, //
    }, //
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
    /// `data` and `obj` will be in the event.
    #[inline(always)]
    pub(crate) fn new(
        eventfd: Option<EventFd>,
        data: u64,
        obj: u64,
        context: InFlight<Context>,
    ) -> Self {
        Self {
            eventfd,
            data,
            obj,
            context,
        }
    }

    /// Returns how user space calls the operation.
    pub(crate) fn obj(&self) -> u64 {
        self.obj
    }

    /// Returns the context.
    pub(crate) fn context(&self) -> &Context {
        &self.context
    }

    /// Returns whether an eventfd will be signalled.
    pub(crate) fn has_eventfd(&self) -> bool {
        self.eventfd.is_some()
    }

    /// Posts the event of an operation that is not a [`Request`].
    ///
    /// May be called in any context.
    #[inline(never)]
    pub(crate) fn post_late(self, result: isize) {
        match self.eventfd {
            None => self.post(result, |_| ()),
            Some(_) => self.post_and_signal(result, |_| ()),
        }
    }

    /// Posts the event; `more` is called with the memory that the context keeps.
    ///
    /// With it the request is counted as ended. So then `io_destroy()` may return, whose caller
    /// expects that the request holds no reference any longer: that to its file, above all, must
    /// have been put before, and there must be no eventfd, unless there is a user of the context.
    /// See [`post_and_signal()`](Self::post_and_signal).
    ///
    /// May be called in any context.
    #[inline(always)]
    pub(crate) fn post(self, result: isize, more: impl FnOnce(&mut SlabPool<Memory>) + Send) {
        let event = IoEvent::new(self.data, self.obj, result as i64);
        let in_flight = self.context;
        let section = ReadSection::new();
        // It may come to its end as soon as the event is there.
        let context = in_flight.under_rcu(&section);

        let available = context.ring.push(
            event,
            &context.slots,
            #[inline(always)]
            |finished| {
                more(&mut finished.pool);
                in_flight.end(&mut finished.ended);
            },
        );

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
    fn post_and_signal(self, result: isize, more: impl FnOnce(&mut SlabPool<Memory>) + Send) {
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
    /// Puts together what an operation needs: memory, the file, room for the event in the ring of
    /// the context, the eventfd if there is one, and what will be in the event: `aio_data`, and how
    /// user space calls the operation.
    #[inline(always)]
    pub(crate) fn new(
        memory: SlabSlot<Memory>,
        file: ARef<LocalFile>,
        context: InFlight<Context>,
        eventfd: Option<EventFd>,
        data: u64,
        obj: u64,
    ) -> Self {
        Self {
            memory,
            file,
            head: Head::new(eventfd, data, obj, context),
        }
    }

    /// Takes it apart, for an operation that is no [`Request`].
    pub(crate) fn into_parts(self) -> (SlabSlot<Memory>, ARef<LocalFile>, Head) {
        (self.memory, self.file, self.head)
    }

    /// Returns the file.
    pub(crate) fn file(&self) -> &LocalFile {
        &self.file
    }

    /// Makes this a request for an operation, which `init` makes of the file.
    ///
    /// `started` is what [`Request::started()`] will return.
    ///
    /// # Errors
    ///
    /// What `init` returns.
    #[inline]
    pub(crate) fn into_request<O, I: PinInit<O>>(
        self,
        started: isize,
        init: impl FnOnce(ARef<LocalFile>) -> Result<I>,
    ) -> Result<UniqueSlabArc<Request<O>>> {
        let Self { memory, file, head } = self;
        let op = init(file)?;

        let init = pin_init!(Request {
            op <- op,
            head,
            result: Atomic::new(started),
        });

        memory.init(init).map_err(|never| match never {})
    }

    /// Returns the context.
    pub(crate) fn context(&self) -> &Context {
        self.head.context()
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
    /// What will be in the event; before the operation is complete, when it was started, if
    /// somebody observes that, or 0.
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

    /// Returns the context, which may stay longer than the request.
    #[inline]
    pub(crate) fn context_under_rcu<'a>(&self, section: &'a ReadSection) -> &'a Context {
        self.head.context.under_rcu(section)
    }

    /// Returns what will be in the event, once the operation is complete.
    #[inline]
    pub(crate) fn result(&self) -> isize {
        self.result.load(Relaxed)
    }

    /// Returns when the operation was started, for one that is not complete; 0 if it was not
    /// observed.
    #[inline]
    pub(crate) fn started(&self) -> isize {
        self.result.load(Relaxed)
    }

    /// Returns how user space calls the operation.
    #[inline]
    pub(crate) fn obj(&self) -> u64 {
        self.head.obj
    }

    /// Returns whether an eventfd will be signalled.
    #[inline]
    pub(crate) fn has_eventfd(&self) -> bool {
        self.head.eventfd.is_some()
    }
}

impl<O: Dismantle + Observed> Request<O> {
    /// The operation is complete.
    ///
    /// May be called in any context.
    #[inline]
    pub(crate) fn complete(this: SlabArc<Self>, result: isize) {
        if completions_on() {
            trace::completed(&this, result);
        }
        Self::ended(this, result);
    }
}

impl<O: Dismantle> Request<O> {
    /// The same, but nobody is told.
    #[inline]
    pub(crate) fn ended(this: SlabArc<Self>, result: isize) {
        // The task that posts the event sees it, because the reference is given up after it.
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

    /// Posts the events of requests that have ended, all of one context, and without eventfds; none
    /// is left.
    ///
    /// The price of the lock, and of looking for who waits, is that of one.
    #[inline]
    pub(crate) fn finish_all(requests: &mut KVec<UniqueSlabArc<Self>>)
    where
        Self: Send + Sync,
    {
        let Some(first) = requests.first() else {
            return;
        };
        let section = ReadSection::new();
        let context = first.context_under_rcu(&section);
        let mut surplus = SlabBatch::<Memory, 32>::new();

        let available = context.ring.push_all(
            &context.slots,
            |events| {
                let mut last: Option<InFlight<Context>> = None;

                for request in requests.drain_all() {
                    debug_assert!(!request.has_eventfd());
                    let (result, head, slot) = Self::take_apart(request);

                    events.append(IoEvent::new(head.data, head.obj, result as i64));
                    if let Some(extra) = events.more().pool.put(slot) {
                        // It goes back to the allocator, without the lock if there is room.
                        drop(surplus.push(extra));
                    }
                    if let Some(before) = last.replace(head.context) {
                        before.end(&mut events.more().ended);
                    }
                }
                last
            },
            // With it the context may come to its end, which should find the events there.
            |finished, last| {
                if let Some(last) = last {
                    last.end(&mut finished.ended);
                }
            },
        );

        context.waiters.wake(available as usize);
    }

    /// Drops what the operation has, before the event is posted.
    ///
    /// The reference to the file is a part of it. If it is the last one, `fput()` may close the
    /// file later: in interrupt context it leaves that to a work item. So the file system may
    /// still be busy when user space has seen the event, or the end of the context.
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
        batch::Batch,
        kunit::{
            Process,
            EVENTS, //
        }, //
    };
    use kernel::{
        aio::abi::{
            opcode,
            Iocb,
            IOCB_FLAG_RESFD, //
        },
        uaccess::{
            UserPtr,
            UserScalar, //
        },
    };

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
                let result = Batch::new(context, 1, None).prepare(&good, nowhere);

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

            drop(Batch::new(context, 1, None).prepare(&iocb, user_iocb)?);
            assert_eq!(u32::get_user(key), Ok(KEY));
            Ok(())
        })
    }
}
