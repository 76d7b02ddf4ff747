// SPDX-License-Identifier: GPL-2.0

//! Reads that are parked at a page, in each order in which those can come who want them: the task
//! that has parked one, who has the page, and who takes the read back.

use crate::prelude::*;

#[kunit_tests(rust_fs_shared_kiocb)]
mod cases {
    use super::super::*;
    use crate::{
        kunit::user::{
            ScriptedFile,
            UserMemory, //
        },
        slab::{
            Backing,
            Cached,
            KmemCache,
            SlabArcInner,
            SlabSlot, //
        },
        sync::Arc,
        uio::{
            Buffers,
            FixedBuffers, //
        },
    };

    enum Ops {}

    static OPS: KmemCache<Ops> = KmemCache::new(c"rust_kunit_shared_rw");

    impl Backing for Ops {
        type Largest = SlabArcInner<Op>;
        const CACHE: &'static KmemCache<Self> = &OPS;
    }

    #[pin_data]
    struct Op {
        #[pin]
        shared: SharedKiocb,
        /// How often it was said that it may be carried on. Others have it as long as the operation
        /// is there.
        unparked: Arc<Atomic<u32>>,
    }

    impl Cached for Op {
        type Backing = Ops;
    }

    impl_has_shared_kiocb! {
        impl HasSharedKiocb for Op { self.shared }
    }

    impl HasFixedBuffers for Op {
        fn fixed_buffers(&self) -> Option<&FixedBuffers> {
            None
        }
    }

    impl AsyncRw for Op {
        fn complete(_this: SlabArc<Self>, _res: isize) {}
    }

    impl SharedRw for Op {
        fn unparked(this: SlabArc<Self>) {
            this.unparked.fetch_add(1, Relaxed);
        }
    }

    /// A file on whose pages reads can be parked, and memory for a buffer.
    struct Setup {
        file: ScriptedFile,
        memory: UserMemory,
        unparked: Arc<Atomic<u32>>,
    }

    impl Setup {
        fn new() -> Result<Self> {
            OPS.init()?;
            Ok(Self {
                file: ScriptedFile::new()?,
                memory: UserMemory::new(1)?,
                unparked: Arc::new(Atomic::new(0), GFP_KERNEL)?,
            })
        }

        /// A read of eight bytes.
        fn op(&self) -> Result<SlabArc<Op>> {
            let file = self.file.open().local()?;
            let settings = Settings::new(&file, false);
            let abilities = Abilities {
                parks: true,
                storage: true,
                ..Abilities::of(&file, settings, Direction::Read)?
            };
            let buffers = Buffers::One {
                addr: self.memory.at(0),
                len: 8,
            };
            let shared = SharedKiocb::new(
                file,
                settings,
                abilities,
                Direction::Read,
                0,
                OwnedBuffers::import(Direction::Read, buffers)?,
                0,
            );

            let op = SlabSlot::alloc(GFP_KERNEL)?.init(pin_init!(Op {
                shared <- shared,
                unparked: self.unparked.clone(),
            }))?;

            Ok(op.share())
        }

        /// A read that was parked, or nothing if it was not.
        fn parked(&self) -> Result<SlabArc<Op>> {
            match SharedKiocb::carry_on(self.op()?, How::Park) {
                Progress::InFlight(op) => Ok(op),
                _ => Err(EINVAL),
            }
        }

        fn unparked(&self) -> u32 {
            self.unparked.load(Relaxed)
        }

        /// Returns whether it can be carried on, and that it is the last one.
        fn ends(self, op: SlabArc<Op>) -> bool {
            self.file.set_rw(8);
            let ended = matches!(
                SharedKiocb::carry_on(op, How::Park),
                Progress::Ended(op, 8) if op.shared.left() == 0
            );

            ended && Arc::into_unique_or_drop(self.unparked).is_some()
        }
    }

    #[test]
    fn the_page_comes() -> Result {
        let setup = Setup::new()?;

        setup.file.park(false);
        let op = setup.parked()?;

        assert_eq!(setup.unparked(), 0);
        // Nobody else may carry it on meanwhile.
        assert!(matches!(
            SharedKiocb::carry_on(op.clone(), How::Try),
            Progress::Ended(_, res) if res == EBUSY.to_errno() as isize
        ));
        // SAFETY: The operation is there.
        unsafe { setup.file.page_comes() };
        assert_eq!(setup.unparked(), 1);
        // That was its reference.
        assert!(SharedKiocb::take_back(&*op).is_none());
        assert!(setup.ends(op));
        Ok(())
    }

    /// The page is there before the task has left the file.
    #[test]
    fn the_page_comes_at_once() -> Result {
        let setup = Setup::new()?;

        setup.file.park(true);
        let op = setup.parked()?;

        assert_eq!(setup.unparked(), 1);
        assert!(SharedKiocb::take_back(&*op).is_none());
        assert!(setup.ends(op));
        Ok(())
    }

    #[test]
    fn taken_back() -> Result {
        let setup = Setup::new()?;

        setup.file.park(false);
        let op = setup.parked()?;
        let reference = SharedKiocb::take_back(&*op);

        assert!(reference.is_some_and(|other| core::ptr::eq(&*other, &*op)));
        // Only once.
        assert!(SharedKiocb::take_back(&*op).is_none());
        // Who was about to wake it leaves it alone.
        //
        // SAFETY: The operation is there.
        unsafe { setup.file.page_comes() };
        assert_eq!(setup.unparked(), 0);
        assert!(setup.ends(op));
        Ok(())
    }

    /// What was not parked can't be taken back, and what is parked again can.
    #[test]
    fn parked_twice() -> Result {
        let setup = Setup::new()?;
        let op = setup.op()?;

        assert!(SharedKiocb::take_back(&*op).is_none());
        drop(op);
        setup.file.park(false);
        let op = setup.parked()?;

        // SAFETY: The operation is there.
        unsafe { setup.file.page_comes() };
        let Progress::InFlight(op) = SharedKiocb::carry_on(op, How::Park) else {
            return Err(EINVAL);
        };

        assert_eq!(setup.unparked(), 1);
        assert!(SharedKiocb::take_back(&*op).is_some());
        assert!(setup.ends(op));
        Ok(())
    }

    /// Without a place to be parked at it would have to wait.
    #[test]
    fn tried() -> Result {
        let setup = Setup::new()?;

        setup.file.park(false);
        let Progress::Ended(op, res) = SharedKiocb::carry_on(setup.op()?, How::Try) else {
            return Err(EINVAL);
        };

        assert_eq!(res, EAGAIN.to_errno() as isize);
        assert!(setup.ends(op));
        Ok(())
    }

    /// There is no signal: it would be the same the next time.
    #[test]
    fn interrupted_by_nobody() -> Result {
        let setup = Setup::new()?;

        for error in [ERESTARTSYS, ERESTARTNOINTR, ERESTARTNOHAND, EINTR] {
            setup.file.set_rw(error.to_errno() as isize);
            assert!(matches!(
                SharedKiocb::carry_on(setup.op()?, How::Wait),
                Progress::Ended(_, res) if res == EINTR.to_errno() as isize
            ));
        }
        Ok(())
    }
}
