// SPDX-License-Identifier: GPL-2.0

//! Requests: operations in flight.
//!
//! A request is *prepared*, which may fail; then it belongs to one value, and dropping that gives
//! everything back. It is *started* by an operation. From there on it is shared between who
//! submits it and who completes it, in whatever order they end; whoever is last posts the event.
//! So an operation that was started always ends in an event, and one that was not never does.

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
    fs::LocalFile,
    prelude::*,
    slab::{
        Cache,
        Cached,
        Counted,
        Shared,
        Slot,
        Unique, //
    },
    sync::{
        aref::ARef,
        atomic::{
            Atomic,
            Relaxed, //
        },
        staged::{
            InFlight,
            User, //
        },
    },
    uaccess::UserPtr,
    user_scalar::UserScalar, //
};

/// Where requests live.
pub(crate) static CACHE: Cache = Cache::new::<Counted<Request<ops::Any>>>(c"aio_kiocb");

/// `aio_key` of every iocb that was submitted.
pub(crate) const KEY: u32 = 0;

/// Room for one event in the ring of a context, which it keeps alive.
pub(crate) struct Reservation {
    context: InFlight<Context>,
    has_slot: bool,
}

impl Reservation {
    /// # Errors
    ///
    /// `EAGAIN` if the ring is full.
    #[inline]
    fn new(context: &User<Context>) -> Result<Self> {
        if !context.slots.take() {
            Self::take_slowly(context)?;
        }
        Ok(Self {
            context: context.start_work(),
            has_slot: true,
        })
    }

    /// User space may have taken events out of the ring by itself.
    #[cold]
    fn take_slowly(context: &Context) -> Result {
        context.ring.reclaim(&context.slots);

        if context.slots.take() {
            return Ok(());
        }
        // There may be somebody who waits for more events than can ever be in the ring. They
        // have to be taken out before there can be more.
        context.waiters.wake(usize::MAX);
        Err(EAGAIN)
    }

    /// Posts the event; its slot goes over to the ring.
    ///
    /// May be called in any context.
    fn post(&mut self, event: IoEvent, eventfd: Option<&EventFd>) {
        let context = &self.context;

        self.has_slot = false;
        let available = context.ring.push(event, &context.slots);

        if let Some(eventfd) = eventfd {
            eventfd.signal();
        }
        // After the tail of the ring was stored, see there.
        context.waiters.wake(available as usize);
    }
}

impl Drop for Reservation {
    #[inline]
    fn drop(&mut self) {
        if self.has_slot {
            self.context.slots.put(1);
        }
    }
}

/// What an operation needs to be started.
pub(crate) struct Prepared {
    memory: Slot,
    file: ARef<LocalFile>,
    head: Head,
}

/// What all requests have.
struct Head {
    eventfd: Option<EventFd>,
    /// `aio_data`.
    data: u64,
    /// The address of the iocb.
    obj: u64,
    reservation: Reservation,
}

impl Prepared {
    /// Gathers what any operation needs.
    ///
    /// # Errors
    ///
    /// In this order: `EAGAIN` without memory or room in the ring, `EBADF` without the file, the
    /// errors of the eventfd, `EFAULT` if `aio_key` can't be written.
    pub(crate) fn new(context: &User<Context>, iocb: &Iocb, user_iocb: UserPtr) -> Result<Self> {
        let memory = CACHE.alloc(GFP_KERNEL).map_err(|_| EAGAIN)?;
        let reservation = Reservation::new(context)?;
        let file = LocalFile::fget(iocb.fildes())?;
        let eventfd = match iocb.flags() & IOCB_FLAG_RESFD {
            0 => None,
            _ => Some(EventFd::from_fd(iocb.resfd())?),
        };

        KEY.put_user(user_iocb.wrapping_byte_add(Iocb::KEY_OFFSET))?;

        Ok(Self {
            memory,
            file,
            head: Head {
                eventfd,
                data: iocb.data(),
                obj: user_iocb.as_const_ptr() as u64,
                reservation,
            },
        })
    }

    /// Makes this a request for an operation, which `init` makes of the file.
    ///
    /// # Errors
    ///
    /// What `init` returns.
    #[inline]
    pub(crate) fn into_request<O, I: PinInit<O>>(
        self,
        init: impl FnOnce(ARef<LocalFile>) -> Result<I>,
    ) -> Result<Unique<Request<O>>> {
        let Self { memory, file, head } = self;
        let op = init(file)?;

        memory.init(pin_init!(Request {
            op <- op,
            head,
            result: Atomic::new(0),
        }))
    }

    /// Returns how user space calls the operation: the address of the iocb.
    #[inline]
    pub(crate) fn obj(&self) -> u64 {
        self.head.obj
    }
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

impl<O> Cached for Request<O> {
    const CACHE: &'static Cache = &CACHE;
}

impl<O> Request<O> {
    /// Returns the operation of a request that was not started.
    #[inline]
    pub(crate) fn op_mut(this: &mut Unique<Self>) -> Pin<&mut O> {
        this.as_mut().project().op
    }

    /// Returns the context.
    #[inline]
    pub(crate) fn context(&self) -> &Context {
        &self.head.reservation.context
    }

    /// Returns whether an eventfd will be signalled.
    #[inline]
    pub(crate) fn has_eventfd(&self) -> bool {
        self.head.eventfd.is_some()
    }

    /// The operation is complete.
    ///
    /// May be called in any context.
    #[inline]
    pub(crate) fn complete(this: Shared<Self>, result: isize) {
        // Whoever posts the event sees it, because the reference is given up after it.
        this.result.store(result, Relaxed);
        Self::put(this);
    }

    /// Gives up a reference of a request that was started. The last one posts the event.
    ///
    /// May be called in any context.
    #[inline]
    pub(crate) fn put(this: Shared<Self>) {
        if let Some(mut request) = this.into_unique() {
            let this = request.as_mut().project();
            let head = this.head;
            let event = IoEvent::new(head.data, head.obj, this.result.load(Relaxed) as i64);

            head.reservation.post(event, head.eventfd.as_ref());
        }
    }
}
