// SPDX-License-Identifier: GPL-2.0

//! Flushes that wait for a worker.
//!
//! A disk that hangs keeps who flushes it, for as long as it hangs. So flushes have workers of
//! their own, on a queue of which there is one in the system; and of one process no more than
//! [`MAX_AT_A_TIME`] have a worker, so that it takes more than one process to have none left.
//!
//! The others wait, in the order in which they were submitted, and can be cancelled.

use crate::{
    ops::fsync::Fsync,
    request::Request, //
};
use kernel::{
    prelude::*,
    slab::{
        Fifo,
        Hire,
        SlabArc, //
    },
    sync::{
        Arc,
        SetOnce, //
    },
    task::cond_resched,
    workqueue::{
        self,
        impl_has_work,
        new_work,
        Queue,
        Work,
        WorkItem, //
    },
};

/// So many flushes of a process are executed at a time.
pub(crate) const MAX_AT_A_TIME: usize = 64;

/// So many are in the system, which is as many as a queue can have (`WQ_MAX_ACTIVE`).
const MAX_IN_SYSTEM: u32 = 2048;

/// The queue of the workers, once there is one.
static QUEUE: SetOnce<&'static Queue> = SetOnce::new();

/// Makes the queue, when the system boots.
///
/// # Errors
///
/// `ENOMEM`. Flushes are left to a queue of the system then.
pub(crate) fn init() -> Result {
    QUEUE.populate(workqueue::alloc_unbound(c"aio_fsync", MAX_IN_SYSTEM)?);
    Ok(())
}

/// The flushes of a process that wait for a worker.
#[pin_data]
pub(crate) struct Flushes {
    #[pin]
    waiting: Fifo<Request<Fsync>>,
    /// The first worker. The others come and go with the need for them.
    #[pin]
    work: Work<Flushes>,
}

impl_has_work! {
    impl HasWork<Self> for Flushes { self.work }
}

impl WorkItem for Flushes {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>) {
        this.work_off();
    }
}

impl Flushes {
    /// There are none.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new() -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                waiting <- Fifo::new(MAX_AT_A_TIME),
                work <- new_work!("aio::flushes"),
            }),
            GFP_KERNEL_ACCOUNT,
        )
    }

    /// Has a flush executed, which waits nowhere yet.
    ///
    /// May sleep.
    pub(crate) fn push(self: &Arc<Self>, request: SlabArc<Request<Fsync>>) {
        match self.waiting.push(request) {
            Ok(hire) => self.hire(hire),
            Err(_) => debug_assert!(false, "a flush is queued twice"),
        }
    }

    /// Finds a worker.
    fn hire(self: &Arc<Self>, mut hire: Hire) {
        while hire != Hire::Nobody {
            let queue = QUEUE.copy().unwrap_or_else(workqueue::system_percpu);
            let this = self.clone();

            if hire == Hire::First {
                // This can't fail: if it were queued, there would be a worker.
                let _ = queue.enqueue(this);
                return;
            }
            if queue.try_spawn(GFP_KERNEL, move || this.work_off()).is_ok() {
                return;
            }
            // Others will do it, as long as there are some.
            hire = self.waiting.dismiss();
        }
    }

    /// Takes back a flush that nobody has begun to execute.
    ///
    /// May be called in any context.
    pub(crate) fn take_back(&self, request: &Request<Fsync>) -> Option<SlabArc<Request<Fsync>>> {
        self.waiting.remove(request)
    }

    /// Executes what waits.
    fn work_off(self: &Arc<Self>) {
        let mut first = true;

        while let Some((request, hire)) = self.waiting.pop(first) {
            first = false;
            // This one may keep us.
            self.hire(hire);
            Request::flush(request);
            cond_resched();
        }
    }
}
