// SPDX-License-Identifier: GPL-2.0

//! Reads and writes of files whose answers the test decides.

#[macros::kunit_tests(rust_fs_async_kiocb)]
mod cases {
    use super::super::*;
    use crate::{
        kunit::user::{
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
        uaccess::UserPtr,
        uio::{
            BufferSpace,
            ImportedBuffers, //
        },
    };

    enum Ops {}

    static OPS: KmemCache<Ops> = KmemCache::new(c"rust_kunit_rw");

    impl Backing for Ops {
        type Largest = SlabArcInner<Op>;
        const CACHE: &'static KmemCache<Self> = &OPS;
    }

    /// How operations have completed that did not do so at once.
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
            this.log.times.fetch_add(1, Relaxed);
            this.log.res.store(res, Relaxed);
        }
    }

    /// A file, and memory for the buffers.
    struct Setup {
        file: ScriptedFile,
        memory: UserMemory,
        log: Arc<Log>,
    }

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

        fn op(&self) -> Result<UniqueSlabArc<Op>> {
            self.op_at(0)
        }

        fn op_at(&self, pos: i64) -> Result<UniqueSlabArc<Op>> {
            let file = self.file.open().local()?;
            let settings = Settings::new(&file, false);

            Ok(SlabSlot::alloc(GFP_KERNEL)?.init(pin_init!(Op {
                kiocb <- AsyncKiocb::new(file, settings, pos),
                log: self.log.clone(),
            }))?)
        }

        fn buffer(&self, len: usize) -> Buffers {
            Buffers::One {
                addr: self.memory.at(0),
                len,
            }
        }

        /// Issues an operation that completes at once, and returns its result.
        fn at_once(&self, dir: Direction, buffers: Buffers) -> Result<isize> {
            match AsyncKiocb::issue(self.op()?, dir, buffers)? {
                Issued::Complete(_, res) => Ok(res),
                Issued::Queued(_) => Err(EALREADY),
            }
        }

        /// How many operations have completed later, and the last result.
        fn log(&self) -> (u32, isize) {
            (self.log.times.load(Relaxed), self.log.res.load(Relaxed))
        }
    }

    use Direction::{
        Read,
        Write, //
    };

    #[test]
    fn complete_at_once() -> Result {
        let setup = Setup::new(ScriptedFile::new())?;

        setup.memory.write(0, &[u64::MAX; 2])?;
        assert_eq!(setup.at_once(Read, setup.buffer(8)), Ok(8));
        // As many bytes were read as were asked for.
        assert_eq!(setup.memory.read::<[u64; 2]>(0)?, [0, u64::MAX]);
        assert_eq!(setup.at_once(Write, setup.buffer(100)), Ok(100));
        assert_eq!(setup.at_once(Write, setup.buffer(0)), Ok(0));

        setup.file.set_rw(EIO.to_errno() as isize);
        assert_eq!(
            setup.at_once(Read, setup.buffer(8)),
            Ok(EIO.to_errno() as isize)
        );
        // Nobody was told in the other way.
        assert_eq!(setup.log(), (0, 0));
        Ok(())
    }

    #[test]
    fn faults_are_results() -> Result {
        let setup = Setup::new(ScriptedFile::new())?;
        let addr = setup.memory.at(setup.memory.len());

        assert_eq!(
            setup.at_once(Read, Buffers::One { addr, len: 8 }),
            Ok(EFAULT.to_errno() as isize)
        );
        Ok(())
    }

    #[test]
    fn a_restart_is_an_interruption() -> Result {
        let setup = Setup::new(ScriptedFile::new())?;
        let eintr = EINTR.to_errno() as isize;

        for restart in [
            ERESTARTSYS,
            ERESTARTNOINTR,
            ERESTARTNOHAND,
            ERESTART_RESTARTBLOCK,
        ] {
            setup.file.set_rw(restart.to_errno() as isize);
            assert_eq!(setup.at_once(Write, setup.buffer(8)), Ok(eintr));
        }
        // The numbers around them are not.
        for other in [511, 515, 517] {
            setup.file.set_rw(-other);
            assert_eq!(setup.at_once(Write, setup.buffer(8)), Ok(-other));
        }
        Ok(())
    }

    #[test]
    fn complete_later() -> Result {
        let setup = Setup::new(ScriptedFile::new())?;

        setup.file.hold(false);
        for (dir, res) in [(Read, 5), (Write, EIO.to_errno() as isize)] {
            let (times, _) = setup.log();
            let issued = AsyncKiocb::issue(setup.op()?, dir, setup.buffer(8))?;

            assert!(matches!(issued, Issued::Queued(_)));
            // The operation does not need the submitter's reference.
            drop(issued);
            assert_eq!(setup.log().0, times);
            assert_eq!(setup.file.held(), 1);
            assert!(setup.file.end(res));
            assert_eq!(setup.log(), (times + 1, res));
        }
        assert!(!setup.file.end(0));
        // All operations are gone: nobody else knows the log.
        assert!(Arc::into_unique_or_drop(setup.log).is_some());
        Ok(())
    }

    #[test]
    fn complete_before_the_submitter_leaves() -> Result {
        let setup = Setup::new(ScriptedFile::new())?;

        setup.file.hold(false);
        let issued = AsyncKiocb::issue(setup.op()?, Read, setup.buffer(8))?;

        assert!(setup.file.end(3));
        match issued {
            // The object is there as long as the submitter's reference.
            Issued::Queued(op) => assert_eq!(op.log.res.load(Relaxed), 3),
            Issued::Complete(..) => return Err(EINVAL),
        }
        assert!(Arc::into_unique_or_drop(setup.log).is_some());
        Ok(())
    }

    /// What has become of a read that was tried.
    #[derive(Debug, PartialEq)]
    enum Tried {
        /// It has done all.
        Complete,
        /// It has done so much, and these are its buffers.
        Stopped(isize, KVec<(usize, usize)>),
        Queued,
    }

    impl Setup {
        fn tried(&self, buffers: Buffers) -> Result<Tried> {
            let mut space = BufferSpace::uninit();
            let mut buffers = ImportedBuffers::new(&mut space, Read, buffers)?;
            let trying = Trying::new(Read, false, false);

            Ok(
                match AsyncKiocb::try_issue(self.op()?, trying, &mut buffers)? {
                    Issued::Complete(_, res) if res == buffers.len() as isize => Tried::Complete,
                    Issued::Complete(_, res) => {
                        let mut found = KVec::new();

                        buffers.into_owned()?.each(0, |addr, len| {
                            let _ = found.push((addr.as_const_ptr() as usize, len), GFP_KERNEL);
                            len as isize
                        });
                        Tried::Stopped(res, found)
                    }
                    Issued::Queued(_) => Tried::Queued,
                },
            )
        }
    }

    #[test]
    fn tried() -> Result {
        let setup = Setup::new(ScriptedFile::new())?;
        let addr = setup.memory.at(0).as_const_ptr() as usize;

        assert_eq!(setup.tried(setup.buffer(8)), Ok(Tried::Complete));
        setup.file.hold(false);
        assert_eq!(setup.tried(setup.buffer(8)), Ok(Tried::Queued));
        assert!(setup.file.end(3));
        assert_eq!(setup.log(), (1, 3));
        for res in [0, 7, EAGAIN.to_errno() as isize] {
            setup.file.set_rw(res);
            match setup.tried(setup.buffer(8))? {
                Tried::Stopped(found, buffers) => {
                    assert_eq!((found, &buffers[..]), (res, &[(addr, 8)][..]));
                }
                _ => return Err(EINVAL),
            }
        }
        Ok(())
    }

    /// The data have gone where the array of the buffers was: which they are, is known.
    #[test]
    fn tried_over_the_array() -> Result {
        let setup = Setup::new(ScriptedFile::new())?;
        let memory = &setup.memory;
        let array = [
            (memory.at(0).as_const_ptr() as usize, 32),
            // There the attempt ends.
            (memory.at(memory.len()).as_const_ptr() as usize, 8),
        ];
        let [(first, len), (second, rest)] = array;

        memory.write(0, &[first, len, second, rest])?;
        let tried = setup.tried(Buffers::Vector {
            addr: memory.at(0),
            count: 2,
            compat: false,
        })?;
        let Tried::Stopped(32, found) = tried else {
            return Err(EINVAL);
        };

        assert_eq!(memory.read::<[usize; 4]>(0)?, [0; 4]);
        assert_eq!(found[..], array);
        Ok(())
    }

    #[test]
    fn refused() -> Result {
        let setup = Setup::new(ScriptedFile::read_only())?;
        let kernel = Buffers::One {
            addr: UserPtr::from_addr(usize::MAX - 99),
            len: 8,
        };

        // Whether the file is open for it is found out before the buffers.
        assert_eq!(setup.at_once(Write, kernel), Err(EBADF));
        assert_eq!(setup.at_once(Read, kernel), Err(EFAULT));
        assert_eq!(setup.at_once(Read, setup.buffer(8)), Ok(8));

        let nothing = Setup::new(ScriptedFile::without_operations())?;

        assert_eq!(nothing.at_once(Read, kernel), Err(EINVAL));
        assert_eq!(nothing.at_once(Write, kernel), Err(EINVAL));
        assert!(Arc::into_unique_or_drop(setup.log).is_some());
        assert!(Arc::into_unique_or_drop(nothing.log).is_some());
        Ok(())
    }

    #[test]
    fn positions() -> Result {
        let setup = Setup::new(ScriptedFile::new())?;

        for (pos, result) in [
            (0, Ok(8)),
            (i64::MAX - 8, Ok(8)),
            (i64::MAX - 7, Err(EINVAL)),
            (-1, Err(EINVAL)),
            (i64::MIN, Err(EINVAL)),
        ] {
            let mut moved = setup.op()?;

            moved.as_mut().project().kiocb.set_pos(pos);
            for op in [setup.op_at(pos)?, moved] {
                let issued = AsyncKiocb::issue(op, Read, setup.buffer(8));
                let issued = issued.map(|issued| match issued {
                    Issued::Complete(_, res) => res,
                    Issued::Queued(_) => 0,
                });

                assert_eq!(issued, result);
            }
        }
        Ok(())
    }

    #[test]
    fn flags_and_priorities() -> Result {
        const RWF_HIPRI: i32 = 1;
        const RWF_DSYNC: i32 = 2;

        let setup = Setup::new(ScriptedFile::new())?;
        let file = setup.file.open().local()?;
        let plain = Settings::new(&file, false);
        let with = |rw_flags| {
            let mut settings = plain;

            settings.as_mut(&file).set_rw_flags(rw_flags, Write)?;
            Ok(settings.flags)
        };

        assert_eq!(with(0), Ok(plain.flags));
        // No such flag.
        assert_eq!(with(1 << 30), Err(EOPNOTSUPP));
        // The numbers are the same.
        assert_eq!(with(RWF_DSYNC), Ok(plain.flags | RWF_DSYNC));
        // A poll for the completion is accepted, but nobody does it.
        assert_eq!(with(RWF_HIPRI), Ok(plain.flags));
        assert_eq!(
            Settings::new(&file, true).flags,
            plain.flags | bindings::IOCB_EVENTFD as i32
        );

        // In a request it is the same.
        let mut op = setup.op()?;
        let mut settings = op.as_mut().project().kiocb.settings_mut();

        assert_eq!(settings.set_rw_flags(RWF_DSYNC, Write), Ok(()));
        // Best effort, level 3; then a class that there is not.
        assert_eq!(settings.set_ioprio(2 << 13 | 3), Ok(()));
        if cfg!(CONFIG_BLOCK) {
            assert_eq!(settings.set_ioprio(5 << 13), Err(EINVAL));
        }
        let found = op.kiocb.settings();

        assert_eq!(
            (found.flags, found.ioprio),
            (plain.flags | RWF_DSYNC, 2 << 13 | 3)
        );
        op.as_mut().project().kiocb.settings_mut().inherit_ioprio(7);
        assert_eq!(op.kiocb.settings().ioprio, 7);
        Ok(())
    }

    crate::slab::impl_dismantle! {
        impl Dismantle for Op {
            taken { kiocb: AsyncKiocb }
            moved { log: Arc<Log> }
            dropped {}
        }
    }

    /// An operation that was not issued gives back what it has.
    #[test]
    fn dropped() -> Result {
        let setup = Setup::new(ScriptedFile::new())?;

        drop(setup.op()?);
        let ((file, log), slot) = setup.op()?.dismantle();

        assert!(core::ptr::eq(
            file.as_ptr(),
            setup.file.open().local()?.as_ptr()
        ));
        drop((file, log, slot));
        assert!(Arc::into_unique_or_drop(setup.log).is_some());
        Ok(())
    }
}
