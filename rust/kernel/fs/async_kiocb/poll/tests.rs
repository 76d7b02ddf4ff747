// SPDX-License-Identifier: GPL-2.0

//! Reads and writes of files whose `->iopoll()` does what the test says.

#[macros::kunit_tests(rust_fs_async_kiocb_poll)]
mod cases {
    use super::super::*;
    use crate::{
        fs::{
            async_kiocb::impl_has_async_kiocb,
            AsyncRw,
            Issued,
            Settings, //
        },
        kunit::user::{
            Poll,
            ScriptedFile,
            UserMemory, //
        },
        slab::{
            Backing,
            KmemCache,
            SlabArcInner,
            SlabSlot, //
        },
        sync::{
            atomic::{
                Atomic,
                Relaxed, //
            },
            Arc, //
        },
        uio::{
            Buffers,
            Direction, //
        },
    };

    enum Ops {}

    static OPS: KmemCache<Ops> = KmemCache::new(c"rust_kunit_iopoll");

    impl Backing for Ops {
        type Largest = SlabArcInner<Op>;
        const CACHE: &'static KmemCache<Self> = &OPS;
    }

    /// How operations have completed.
    struct Log {
        times: Atomic<u32>,
        res: Atomic<isize>,
    }

    #[pin_data]
    struct Op {
        #[pin]
        kiocb: AsyncKiocb,
        log: Arc<Log>,
    }

    impl Cached for Op {
        type Backing = Ops;
    }

    impl_has_async_kiocb! {
        impl HasAsyncKiocb for Op { self.kiocb }
    }

    impl AsyncRw for Op {
        fn complete(this: SlabArc<Self>, res: isize) {
            let log = this.log.clone();

            drop(this);
            log.times.fetch_add(1, Relaxed);
            log.res.store(res, Relaxed);
        }
    }

    /// A file, and memory for the buffers.
    struct Setup {
        file: ScriptedFile,
        memory: UserMemory,
        log: Arc<Log>,
    }

    const POLLED: i32 = bindings::IOCB_HIPRI | bindings::IOCB_NOWAIT;

    impl Setup {
        fn new(file: Result<ScriptedFile>) -> Result<Self> {
            OPS.init()?;
            Ok(Self {
                file: file?,
                memory: UserMemory::new(1)?,
                log: Arc::new(
                    Log {
                        times: Atomic::new(0),
                        res: Atomic::new(0),
                    },
                    GFP_KERNEL,
                )?,
            })
        }

        /// With a file that can be polled, and holds what it is called with.
        fn held() -> Result<Self> {
            let this = Self::new(ScriptedFile::pollable(true, true, true))?;

            this.file.hold(false);
            Ok(this)
        }

        fn op(&self) -> Result<UniqueSlabArc<Op>> {
            let file = self.file.open().local()?;
            let settings = Settings::new(&file, false);

            Ok(SlabSlot::alloc(GFP_KERNEL)?.init(pin_init!(Op {
                kiocb <- AsyncKiocb::new(file, settings, 0),
                log: self.log.clone(),
            }))?)
        }

        fn polled_op(&self) -> Result<UniqueSlabArc<Op>> {
            let mut op = self.op()?;

            op.as_mut().project().kiocb.set_polled()?;
            Ok(op)
        }

        /// Issues an operation that does not complete at once.
        fn issue(&self, op: UniqueSlabArc<Op>) -> Result<Submitted<Op>> {
            let buffers = Buffers::One {
                addr: self.memory.at(0),
                len: 8,
            };

            match AsyncKiocb::issue(op, Direction::Read, buffers)? {
                Issued::Complete(..) => Err(EALREADY),
                Issued::Queued(submitted) => Ok(submitted),
            }
        }

        /// How many operations have completed, and the last result.
        fn log(&self) -> (u32, isize) {
            (self.log.times.load(Relaxed), self.log.res.load(Relaxed))
        }
    }

    #[test]
    fn files_that_can_be_polled() -> Result {
        for bits in 0..8 {
            let [direct, iopoll, nowait] = [0, 1, 2].map(|bit| bits & 1 << bit != 0);
            let setup = Setup::new(ScriptedFile::pollable(direct, iopoll, nowait))?;
            let mut op = setup.op()?;
            let before = op.kiocb.settings().flags;

            let has_it = before & bindings::IOCB_DIRECT as i32 != 0;

            assert_eq!(has_it, direct);
            let result = op.as_mut().project().kiocb.set_polled();
            let after = op.kiocb.settings().flags;

            match bits {
                7 => assert_eq!((result, after), (Ok(()), before | POLLED)),
                _ => assert_eq!((result, after), (Err(EOPNOTSUPP), before)),
            }
            op.as_mut().project().kiocb.set_unpolled();
            assert_eq!(op.kiocb.settings().flags, before);
        }
        // One that has no `->read_iter()` either.
        let nothing = Setup::new(ScriptedFile::without_operations())?;

        assert!(matches!(nothing.polled_op(), Err(EOPNOTSUPP)));
        Ok(())
    }

    #[test]
    fn found_by_a_poll() -> Result {
        let setup = Setup::held()?;
        let submitted = setup.issue(setup.polled_op()?)?;
        let mut batch = CompBatch::new();

        // That is what the file was asked for.
        assert_eq!(setup.file.kiocb_flags() & POLLED, POLLED);
        assert!(submitted.is_polled() && !submitted.is_last());
        for (nr, (what, look)) in [
            (Poll::Nothing, Look::Once),
            (Poll::Nothing, Look::Spin),
            (Poll::Fails, Look::Once),
        ]
        .into_iter()
        .enumerate()
        {
            setup.file.set_poll(what, 0);
            assert!(!submitted.poll(&mut batch, look));
            assert_eq!(setup.file.polls(), (1 + nr as u32, 0));
            let oneshot = match look {
                Look::Once => bindings::BLK_POLL_ONESHOT,
                Look::Spin => 0,
            };

            assert_eq!(setup.file.poll_flags(), oneshot);
        }
        assert!(batch.is_empty() && submitted.is_polled() && !submitted.is_last());
        assert_eq!(setup.log().0, 0);

        setup.file.set_poll(Poll::Ends, 5);
        assert!(submitted.poll(&mut batch, Look::Once));
        assert_eq!(setup.file.polls(), (4, 0));
        assert!(batch.is_empty() && submitted.is_last());
        assert_eq!(setup.log(), (1, 5));
        assert!(submitted.into_last().is_ok());
        assert!(Arc::into_unique_or_drop(setup.log).is_some());
        Ok(())
    }

    /// One poll finds what others wait for, too.
    #[test]
    fn found_together() -> Result {
        const NR: u32 = 5;

        let setup = Setup::held()?;
        let mut all = KVec::new();

        for _ in 0..NR {
            all.push(setup.issue(setup.polled_op()?)?, GFP_KERNEL)?;
        }
        setup.file.set_poll(Poll::Batches, 7);
        // With nothing in it, a batch ends nothing.
        drop(CompBatch::new());
        let mut batch = CompBatch::new();

        assert!(batch.is_empty());
        assert!(all[1].poll(&mut batch, Look::Once));
        // It is complete when the batch is dropped, and not before.
        assert!(!batch.is_empty());
        assert_eq!(setup.file.polls(), (1, 0));
        assert_eq!(setup.log().0, 0);
        assert!(!all.iter().any(Submitted::is_last));

        drop(batch);
        assert_eq!(setup.file.polls(), (1, 1));
        assert_eq!(setup.log(), (NR, 7));
        assert!(all.iter().all(Submitted::is_last));
        drop(all);
        assert!(Arc::into_unique_or_drop(setup.log).is_some());
        Ok(())
    }

    /// The file is not asked for what it was not told that it would be.
    #[test]
    fn never_asked_to_be_polled() -> Result {
        let setup = Setup::held()?;
        let mut again = setup.polled_op()?;
        let mut batch = CompBatch::new();

        again.as_mut().project().kiocb.set_unpolled();
        setup.file.set_poll(Poll::Ends, 1);
        for op in [setup.op()?, again] {
            let (times, _) = setup.log();
            let submitted = setup.issue(op)?;

            assert_eq!(setup.file.kiocb_flags() & POLLED, 0);
            assert!(!submitted.is_polled());
            assert!(!submitted.poll(&mut batch, Look::Once));
            assert_eq!(setup.file.polls(), (0, 0));
            assert!(!submitted.is_last());
            // It completes by itself.
            assert!(setup.file.end(2));
            assert_eq!(setup.log(), (times + 1, 2));
            assert!(submitted.is_last());
        }
        Ok(())
    }

    /// The file has dropped the wish.
    #[test]
    fn nothing_to_poll_for() -> Result {
        let setup = Setup::held()?;
        let mut batch = CompBatch::new();

        setup.file.drop_polls();
        setup.file.set_poll(Poll::Ends, 1);
        let submitted = setup.issue(setup.polled_op()?)?;

        assert_eq!(setup.file.kiocb_flags() & POLLED, POLLED);
        assert!(!submitted.is_polled());
        assert!(!submitted.poll(&mut batch, Look::Spin));
        assert_eq!(setup.file.polls(), (0, 0));
        assert!(setup.file.end(2));
        assert!(submitted.is_last());
        Ok(())
    }

    /// What has ended late is issued once more, as one that was refused.
    #[test]
    fn issued_once_more() -> Result {
        let setup = Setup::held()?;
        let mut batch = CompBatch::new();
        let eagain = EAGAIN.to_errno() as isize;
        let submitted = setup.issue(setup.polled_op()?)?;

        // As long as it is in flight, it can be polled.
        let Err(submitted) = submitted.into_last() else {
            return Err(EINVAL);
        };

        assert!(submitted.is_polled());
        setup.file.set_poll(Poll::Ends, eagain);
        assert!(submitted.poll(&mut batch, Look::Once));
        assert_eq!(setup.log(), (1, eagain));
        let mut op = submitted.into_last().map_err(|_| EBUSY)?;

        // First as before, then without.
        for polled in [true, false] {
            let (times, _) = setup.log();

            if !polled {
                op.as_mut().project().kiocb.set_unpolled();
            }
            let submitted = setup.issue(op)?;

            assert_eq!(submitted.is_polled(), polled);
            assert_eq!(submitted.poll(&mut batch, Look::Once), polled);
            if !polled {
                assert!(setup.file.end(eagain));
            }
            assert_eq!(setup.log(), (times + 1, eagain));
            op = submitted.into_last().map_err(|_| EBUSY)?;
        }
        drop(op);
        assert!(Arc::into_unique_or_drop(setup.log).is_some());
        Ok(())
    }
}
