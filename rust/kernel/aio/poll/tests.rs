// SPDX-License-Identifier: GPL-2.0

//! Operations that wait for files whose readiness the test decides.

use crate::prelude::*;

#[kunit_tests(rust_aio_poll)]
mod cases {
    use super::super::*;
    use crate::{
        kunit::user::ScriptedFile,
        slab::{
            Backing,
            KmemCache,
            SlabArcInner,
            SlabSlot, //
        },
        sync::{
            Arc,
            Completion, //
        },
    };

    const IN: u32 = bindings::POLLIN;
    const OUT: u32 = bindings::POLLOUT;

    enum Ops {}

    static OPS: KmemCache<Ops> = KmemCache::new(c"rust_kunit_poll");

    impl Backing for Ops {
        type Largest = SlabArcInner<Op>;
        const CACHE: &'static KmemCache<Self> = &OPS;
    }

    /// What operations have in common.
    #[pin_data]
    struct Group {
        #[pin]
        list: CancelList,
        not_inline: bool,
        times: Atomic<u32>,
        events: Atomic<u32>,
        #[pin]
        done: Completion,
    }

    #[pin_data]
    struct Op {
        #[pin]
        poll: AsyncPoll,
        group: Arc<Group>,
    }

    impl Cached for Op {
        type Backing = Ops;
    }

    impl_has_async_poll! {
        impl HasAsyncPoll for Op { self.poll }
    }

    impl PollOwner for Op {
        fn cancel_list(&self) -> &CancelList {
            &self.group.list
        }

        fn must_not_complete_inline(&self) -> bool {
            self.group.not_inline
        }

        fn complete(this: SlabArc<Self>, events: u16) {
            let group = this.group.clone();

            drop(this);
            group.times.fetch_add(1, Relaxed);
            group.events.store(events.into(), Relaxed);
            group.done.complete_all();
        }
    }

    struct Setup {
        file: ScriptedFile,
        group: Arc<Group>,
    }

    impl Setup {
        fn new(not_inline: bool) -> Result<Self> {
            OPS.init()?;
            Ok(Self {
                file: ScriptedFile::new()?,
                group: Arc::pin_init(
                    pin_init!(Group {
                        list <- CancelList::new(),
                        not_inline,
                        times: Atomic::new(0),
                        events: Atomic::new(0),
                        done <- Completion::new(),
                    }),
                    GFP_KERNEL,
                )?,
            })
        }

        fn op(&self, file: &ScriptedFile, events: u32) -> Result<UniqueSlabArc<Op>> {
            let file = file.open().local()?;

            Ok(SlabSlot::alloc(GFP_KERNEL)?.init(pin_init!(Op {
                poll <- AsyncPoll::new(file, events as u16, 1),
                group: self.group.clone(),
            }))?)
        }

        fn start(&self, file: &ScriptedFile, events: u32, ask_first: bool) -> Result<Polled<Op>> {
            AsyncPoll::start(self.op(file, events)?, ask_first)
        }

        /// Starts an operation that is to wait.
        fn wait_for(&self, events: u32) -> Result {
            match self.start(&self.file, events, false)? {
                Polled::Waiting(_) => Ok(()),
                Polled::Ready(..) => Err(EALREADY),
            }
        }

        fn times(&self) -> u32 {
            self.group.times.load(Relaxed)
        }

        /// Waits until an operation has completed, and returns the events that it was told.
        fn done(&self) -> u32 {
            self.group.done.wait_for_completion();
            self.group.events.load(Relaxed)
        }
    }

    /// The events of an operation that was ready, or nothing if it waits.
    fn ready(polled: Result<Polled<Op>>) -> Result<Option<u16>> {
        match polled? {
            Polled::Ready(_, events) => Ok(Some(events)),
            Polled::Waiting(_) => Ok(None),
        }
    }

    #[test]
    fn ready_at_once() -> Result {
        let setup = Setup::new(false)?;

        setup.file.set_ready(IN | OUT);
        for ask_first in [false, true] {
            let start = |events| ready(setup.start(&setup.file, events, ask_first));

            assert_eq!(start(IN), Ok(Some(IN as u16)));
            assert_eq!(start(IN | OUT), Ok(Some((IN | OUT) as u16)));
        }
        // Errors are told whether they were asked for or not.
        setup.file.set_ready(bindings::POLLERR);
        assert_eq!(
            ready(setup.start(&setup.file, IN, false)),
            Ok(Some(bindings::POLLERR as u16))
        );
        // Nothing has stayed in the queue.
        setup.file.wake(IN);
        setup.file.wake(0);
        assert_eq!(setup.times(), 0);
        Ok(())
    }

    #[test]
    fn files_that_cannot_be_waited_for() -> Result {
        let setup = Setup::new(false)?;
        let start = || ready(setup.start(&setup.file, IN, false));

        // Not ready, and never will be.
        setup.file.set_queues(0);
        assert_eq!(start(), Err(EINVAL));
        setup.file.set_ready(IN);
        assert_eq!(start(), Ok(Some(IN as u16)));
        // One entry can't be in two queues.
        setup.file.set_queues(2);
        assert_eq!(start(), Ok(Some(IN as u16)));
        setup.file.set_ready(0);
        assert_eq!(start(), Err(EINVAL));
        setup.file.wake(IN);
        assert_eq!(setup.times(), 0);
        // A file that has nothing to say is ready for everything.
        let other = ScriptedFile::without_operations()?;

        assert_eq!(
            ready(setup.start(&other, IN | OUT, false)),
            Ok(Some((IN | OUT) as u16))
        );
        Ok(())
    }

    #[test]
    fn woken_with_events() -> Result {
        for not_inline in [false, true] {
            let setup = Setup::new(not_inline)?;

            setup.wait_for(IN)?;
            // Not what is waited for.
            setup.file.wake(OUT);
            assert_eq!(setup.times(), 0);
            setup.file.wake(IN);
            if !not_inline {
                assert_eq!(setup.times(), 1);
            }
            assert_eq!(setup.done(), IN);
            // Once only.
            setup.file.wake(IN);
            assert_eq!(setup.group.list.cancel(1, 8), Err(EINVAL));
            assert_eq!(setup.times(), 1);
        }
        Ok(())
    }

    #[test]
    fn woken_without_events() -> Result {
        let setup = Setup::new(false)?;

        setup.wait_for(IN)?;
        // The file is asked, and not ready.
        setup.file.wake(0);
        setup.file.wake(0);
        // SAFETY: May be called by anybody who may sleep.
        unsafe { bindings::__flush_workqueue(bindings::system_percpu_wq) };
        assert_eq!(setup.times(), 0);
        setup.file.set_ready(IN | OUT);
        setup.file.wake(0);
        assert_eq!(setup.done(), IN);
        assert_eq!(setup.times(), 1);
        Ok(())
    }

    #[test]
    fn cancelled() -> Result {
        let setup = Setup::new(false)?;

        setup.wait_for(IN)?;
        assert_eq!(setup.group.list.cancel(2, 8), Err(EINVAL));
        assert_eq!(setup.group.list.cancel(1, 8), Ok(()));
        assert_eq!(setup.done(), 0);
        assert_eq!(setup.group.list.cancel(1, 8), Err(EINVAL));
        setup.file.wake(IN);
        assert_eq!(setup.times(), 1);
        Ok(())
    }

    #[test]
    fn all_cancelled() -> Result {
        let setup = Setup::new(false)?;

        for _ in 0..10 {
            setup.wait_for(IN)?;
        }
        setup.group.list.cancel_all();
        // SAFETY: May be called by anybody who may sleep.
        unsafe { bindings::__flush_workqueue(bindings::system_percpu_wq) };
        assert_eq!(setup.times(), 10);
        Ok(())
    }

    /// How an operation comes to its end.
    #[derive(Clone, Copy, PartialEq)]
    enum End {
        AtOnce,
        Woken,
        /// By a wake-up without events, the second: at the first the file was not ready.
        Asked,
        Cancelled,
        QueueFreed,
    }

    impl Setup {
        /// Starts an operation that waits for `IN`, and has it end in this way. Returns it, which
        /// is nobody else's then.
        fn run(&self, op: UniqueSlabArc<Op>, end: End) -> Result<UniqueSlabArc<Op>> {
            // SAFETY: May be called by anybody who may sleep.
            let flush = || unsafe { bindings::__flush_workqueue(bindings::system_percpu_wq) };
            let times = self.times();

            self.file.set_ready(if end == End::AtOnce { IN } else { 0 });
            let op = match AsyncPoll::start(op, false)? {
                Polled::Ready(op, _) if end == End::AtOnce => return Ok(op),
                Polled::Waiting(op) if end != End::AtOnce => op,
                _ => return Err(EINVAL),
            };

            match end {
                End::AtOnce => {}
                End::Woken => self.file.wake(IN),
                End::Asked => {
                    self.file.wake(0);
                    flush();
                    assert_eq!(self.times(), times);
                    self.file.set_ready(IN);
                    self.file.wake(0);
                }
                End::Cancelled => self.group.list.cancel(1, 8)?,
                End::QueueFreed => self.file.free_queue(),
            }
            flush();
            // Once, with what is there.
            let events = match end {
                End::Cancelled => 0,
                End::QueueFreed => bindings::POLLHUP,
                _ => IN,
            };
            let seen = self.group.events.load(Relaxed) & !bindings::POLLFREE;

            assert_eq!(self.times(), times + 1);
            assert_eq!(seen, events);
            assert_eq!(self.group.list.cancel(1, 8), Err(EINVAL));
            op.try_into_unique().map_err(|_| EBUSY)
        }
    }

    /// However an operation has ended, it can be started again, and nothing is left of the first
    /// time.
    #[test]
    fn started_again() -> Result {
        use End::{
            Asked,
            AtOnce,
            Cancelled,
            QueueFreed,
            Woken, //
        };

        const ENDS: [End; 5] = [AtOnce, Woken, Asked, Cancelled, QueueFreed];

        for not_inline in [false, true] {
            for (first, second) in ENDS.iter().flat_map(|a| ENDS.iter().map(move |b| (*a, *b))) {
                let setup = Setup::new(not_inline)?;
                let op = setup.op(&setup.file, IN)?;
                let op = setup.run(op, first)?;
                let op = setup.run(op, second)?;

                drop(op);
                assert!(Arc::into_unique_or_drop(setup.group).is_some());
            }
        }
        Ok(())
    }

    #[test]
    fn no_queue_is_remembered_after_the_end() -> Result {
        // As the entry leaves it, the queue may go away without a word.
        for (not_inline, end) in [(false, 0), (false, 1), (true, 1), (false, 2), (false, 3)] {
            let setup = Setup::new(not_inline)?;
            let Polled::Waiting(op) = setup.start(&setup.file, IN, false)? else {
                return Err(EALREADY);
            };

            assert!(!op.poll.head.load(Relaxed).is_null());
            setup.file.set_ready(IN);
            match end {
                0 => setup.file.wake(0),
                1 => setup.file.wake(IN),
                2 => setup.group.list.cancel(1, 8)?,
                _ => setup.file.free_queue(),
            }
            setup.done();
            assert!(op.poll.head.load(Relaxed).is_null());
        }
        Ok(())
    }

    #[test]
    fn the_queue_goes_away() -> Result {
        let setup = Setup::new(false)?;

        for _ in 0..8 {
            setup.wait_for(IN)?;
        }
        setup.file.free_queue();
        // SAFETY: May be called by anybody who may sleep.
        unsafe { bindings::__flush_workqueue(bindings::system_percpu_wq) };
        assert_eq!(setup.times(), 8);
        // Nobody touches the queue any longer.
        setup.file.wake(IN);
        setup.group.list.cancel_all();
        assert_eq!(setup.times(), 8);
        Ok(())
    }
}
