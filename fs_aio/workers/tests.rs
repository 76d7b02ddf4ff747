// SPDX-License-Identifier: GPL-2.0

//! Orders of operations, in a pool without threads: the test is who takes them, and ends them.

use kernel::prelude::*;

#[kunit_tests(aio_workers)]
mod cases {
    use super::super::{
        running::Place,
        storage::Found,
        *, //
    };
    use crate::{
        batch::Batch,
        carried::{
            Carried,
            Perform, //
        },
        kunit::Process,
        table, //
    };
    use kernel::{
        cred::Credential,
        fs::FileId,
        slab::SlabSlot,
        sync::{
            aref::ARef,
            threshold::Timeout, //
        },
        task::IoThread,
        time::{
            Delta,
            Instant,
            Monotonic, //
        },
    };

    /// What is done in an operation here.
    struct Nothing;

    impl Perform for Nothing {
        fn perform(this: SlabArc<Carried<Self>>, _thread: &IoThread) {
            Carried::end(this, 0);
        }

        fn seen(&self) -> (u16, FileId) {
            (0, FileId::NONE)
        }
    }

    type Op = SlabArc<Carried<Nothing>>;

    /// The pool of a process.
    struct Setup<'a> {
        process: &'a Process,
        submitter: Arc<Submitter>,
        key: Key,
        other: Key,
    }

    /// When what is stuck has begun, and a time when that is known.
    fn hang() -> (Instant<Monotonic>, Instant<Monotonic>) {
        let begun = Instant::now();

        (begun, begun + LONG)
    }

    impl<'a> Setup<'a> {
        fn new(process: &'a Process) -> Result<Self> {
            let identity = Identity::current();

            process.with_context(|context| {
                let pool = table::set_pool(context, identity, Pool::new(identity)?);

                // The submitter takes that back.
                pool.state.with(|s| s.users += 1);
                Ok(Self {
                    process,
                    submitter: Arc::new(
                        Submitter {
                            pool,
                            creds: Credential::current(),
                            task: ARef::from(&**current!()),
                            ioprio: 0,
                        },
                        GFP_KERNEL,
                    )?,
                    key: Key::new(context, 1),
                    other: Key::new(context, 2),
                })
            })
        }

        /// An operation with the first key, on a device of this number.
        fn op(&self, device: u32) -> Result<Op> {
            let iocb = self.process.read_iocb(8);
            let user_iocb = self.process.write(0, &iocb)?;

            self.process.with_context(|context| {
                let prepared = Batch::new(context, 1, None).prepare(&iocb, user_iocb)?;
                let (_, _, head) = prepared.into_parts();

                Ok(Carried::new(
                    SlabSlot::alloc(GFP_KERNEL)?,
                    head,
                    self.submitter.clone(),
                    Class::Storage(device),
                    Some(self.key),
                    0,
                    Nothing,
                ))
            })
        }

        /// Adds one to the pool; with `begins`, others are to wait for it.
        fn enqueue(&self, begins: bool) -> Result<Op> {
            let op = self.op(1)?;
            let begin = match begins {
                true => Some(Reservation::new(GFP_KERNEL)?),
                false => None,
            };

            Carried::enqueue_in_order(op.clone(), begin);
            Ok(op)
        }

        /// Adds one to the pool, on a device of this number.
        fn enqueue_on(&self, device: u32) -> Result<Op> {
            let op = self.op(device)?;

            Carried::enqueue(op.clone());
            Ok(op)
        }

        /// Returns whether this is what is found to be done next at this time, and begins it.
        fn is_next(&self, op: &Op, now: Instant<Monotonic>) -> bool {
            let found = self.submitter.pool.state.with(|s| {
                let has_next = s.storage.has_next_at(now);
                let found = s.storage.next_at(now);

                (has_next, found)
            });
            let (true, Found::Job(job, Some(_))) = found else {
                return false;
            };
            let id = job.id();

            job.release();
            id == op.links().id()
        }

        /// Returns whether nothing may begin at this time.
        fn is_nothing_next(&self, now: Instant<Monotonic>) -> bool {
            self.submitter.pool.state.with(|s| {
                !s.storage.has_next_at(now) && matches!(s.storage.next_at(now), Found::Nothing)
            })
        }

        /// So many may be done at a time.
        fn max(&self) -> usize {
            let pool = &self.submitter.pool;

            pool.state.with(|s| s.storage.running.max())
        }

        /// As many operations begin at this time, on a device of this number.
        fn begin_many(
            &self,
            nr: usize,
            device: u32,
            now: Instant<Monotonic>,
        ) -> Result<KVec<Place>> {
            let mut places = KVec::with_capacity(nr, GFP_KERNEL)?;

            for _ in 0..nr {
                let place = self
                    .submitter
                    .pool
                    .state
                    .with(|s| s.storage.running.begin(device, now));

                places.push(place.ok_or(EINVAL)?, GFP_KERNEL)?;
            }
            Ok(places)
        }

        fn end_all(&self, places: KVec<Place>) {
            for place in places {
                self.submitter
                    .pool
                    .state
                    .with(|s| s.storage.running.end(place));
            }
        }

        /// Returns whether this is the one that may be done first, and takes it out.
        fn is_first(&self, op: &Op) -> bool {
            let first = self.submitter.pool.state.with(|s| s.storage.pop());
            let Some(job) = first else {
                return false;
            };
            let id = job.id();

            job.release();
            id == op.links().id()
        }

        /// Returns whether none may be done.
        fn is_idle(&self) -> bool {
            self.submitter.pool.state.with(|s| s.storage.is_empty())
        }

        /// Returns how many orders are counted, and whether operations with the first key, and with
        /// another one, have to wait.
        fn orders(&self) -> Result<(isize, bool, bool)> {
            self.process.with_context(|context| {
                let threads = context.threads().ok_or(EINVAL)?;

                Ok((
                    threads.orders.load(Relaxed),
                    threads.is_behind(|| self.key),
                    threads.is_behind(|| self.other),
                ))
            })
        }

        /// Waits for the events of as many operations.
        fn events(&self, nr: usize) -> Result<usize> {
            self.process.read_events(nr, nr + 1, Timeout::Never)
        }
    }

    #[test]
    fn one_after_the_other() -> Result {
        let process = Process::threaded(8)?;
        let setup = Setup::new(&process)?;

        assert_eq!(setup.orders(), Ok((0, false, false)));
        let first = setup.enqueue(true)?;

        assert_eq!(setup.orders(), Ok((1, true, false)));
        // Others that could begin an order are a part of this one.
        let second = setup.enqueue(false)?;
        let third = setup.enqueue(true)?;

        assert_eq!(setup.orders(), Ok((1, true, false)));
        assert!(setup.is_first(&first));
        assert!(setup.is_idle());
        Carried::end(first, 0);
        assert!(setup.is_first(&second));
        assert!(setup.is_idle());
        assert_eq!(setup.orders(), Ok((1, true, false)));
        Carried::end(second, 0);
        assert!(setup.is_first(&third));
        assert_eq!(setup.orders(), Ok((1, true, false)));
        Carried::end(third, 0);
        assert_eq!(setup.orders(), Ok((0, false, false)));
        assert_eq!(setup.events(3), Ok(3));
        Ok(())
    }

    /// What nobody is to wait for is in no order if there is none.
    #[test]
    fn no_order() -> Result {
        let process = Process::threaded(8)?;
        let setup = Setup::new(&process)?;
        let ops = [setup.enqueue(false)?, setup.enqueue(false)?];

        assert_eq!(setup.orders(), Ok((0, false, false)));
        for op in ops {
            assert!(setup.is_first(&op));
            Carried::end(op, 0);
        }
        assert_eq!(setup.orders(), Ok((0, false, false)));
        assert_eq!(setup.events(2), Ok(2));
        Ok(())
    }

    /// Only the end of the first one lets the next begin.
    #[test]
    fn one_that_waits_is_cancelled() -> Result {
        let process = Process::threaded(8)?;
        let setup = Setup::new(&process)?;
        let first = setup.enqueue(true)?;
        let second = setup.enqueue(true)?;
        let third = setup.enqueue(false)?;

        assert!(setup.is_first(&first));
        assert!(setup.submitter.pool.cancel(second.links(), Some(setup.key)));
        Carried::put(second);
        assert_eq!(setup.events(1), Ok(1));
        assert_eq!(setup.orders(), Ok((1, true, false)));
        assert!(setup.is_idle());
        Carried::end(first, 0);
        assert!(setup.is_first(&third));
        Carried::end(third, 0);
        assert_eq!(setup.orders(), Ok((0, false, false)));
        assert_eq!(setup.events(2), Ok(2));
        Ok(())
    }

    /// A pool that is dead has no orders.
    #[test]
    fn nobody_is_there() -> Result {
        let process = Process::threaded(8)?;
        let setup = Setup::new(&process)?;
        let pool = &setup.submitter.pool;

        pool.state.with(|s| pool.set_dead(s));
        Carried::put(setup.enqueue(true)?);
        assert_eq!(setup.orders(), Ok((0, false, false)));
        assert_eq!(setup.events(1), Ok(1));
        Ok(())
    }

    const LONG: Delta = Delta::from_millis(1000);

    /// What goes to a device where all are stuck lets others go first, until it is not any longer.
    #[test]
    fn stuck_device() -> Result {
        let process = Process::threaded(16)?;
        let setup = Setup::new(&process)?;
        let (begun, later) = hang();
        let stuck = setup.begin_many(setup.max(), 1, begun)?;
        let first = setup.enqueue_on(1)?;
        let second = setup.enqueue_on(1)?;
        let other = setup.enqueue_on(2)?;

        // Before it is known that they are stuck.
        assert!(setup.is_nothing_next(later - Delta::from_nanos(1)));
        assert!(setup.is_next(&other, later));
        // Half of the room is for others.
        let half = setup.begin_many(setup.max() / 2 - 1, 1, later)?;

        assert!(setup.is_nothing_next(later));
        let another = setup.enqueue_on(2)?;

        assert!(setup.is_next(&another, later));
        assert!(setup.is_nothing_next(later));
        setup.end_all(half);
        // It answers again: they are done before what came after them.
        let last = setup.enqueue_on(2)?;

        setup.end_all(stuck);
        assert!(setup.is_next(&first, later));
        assert!(setup.is_next(&second, later));
        assert!(setup.is_first(&last));
        assert!(setup.is_idle());
        for op in [first, second, other, another, last] {
            Carried::end(op, 0);
        }
        assert_eq!(setup.events(5), Ok(5));
        Ok(())
    }

    /// There are more such devices than lists; each operation is found, and can be cancelled.
    #[test]
    fn many_stuck_devices() -> Result {
        const DEVICES: u32 = 12;

        let process = Process::threaded(32)?;
        let setup = Setup::new(&process)?;
        let pool = &setup.submitter.pool;
        let (begun, later) = hang();
        let mut stuck = setup.begin_many(setup.max(), 1, begun)?;

        for device in 2..=DEVICES {
            for place in setup.begin_many(1, device, begun)? {
                stuck.push(place, GFP_KERNEL)?;
            }
        }
        let mut ops = KVec::with_capacity(2 * DEVICES as usize, GFP_KERNEL)?;

        for _ in 0..2 {
            for device in 1..=DEVICES {
                ops.push(setup.enqueue_on(device)?, GFP_KERNEL)?;
            }
        }
        let half = setup.begin_many(setup.max() / 2, 1, later)?;

        // All are put aside.
        assert!(!setup.is_idle());
        assert!(matches!(
            pool.state.with(|s| s.storage.next_at(later)),
            Found::Nothing
        ));
        assert!(setup.is_nothing_next(later));
        for (i, op) in ops.into_iter().enumerate() {
            if i % 2 == 0 {
                assert!(pool.cancel(op.links(), None));
                Carried::put(op);
            } else {
                Carried::end(op, 0);
            }
        }
        setup.end_all(half);
        setup.end_all(stuck);
        // Those that were not cancelled are there.
        let mut left = 0;

        while let Some(job) = pool.state.with(|s| s.storage.pop()) {
            job.release();
            left += 1;
        }
        assert_eq!(left, DEVICES);
        assert!(setup.is_idle());
        assert_eq!(setup.events(24), Ok(24));
        Ok(())
    }

    /// What was put aside is begun when enough have overtaken it, not only when nothing else is
    /// left.
    #[test]
    fn not_left_for_ever() -> Result {
        let process = Process::threaded(32)?;
        let setup = Setup::new(&process)?;
        let pool = &setup.submitter.pool;
        let (begun, later) = hang();
        let stuck = setup.begin_many(setup.max(), 1, begun)?;
        let aside = setup.enqueue_on(1)?;
        let mut ops = KVec::with_capacity(17, GFP_KERNEL)?;
        let mut turn = None;

        for _ in 0..17 {
            ops.push(setup.enqueue_on(2)?, GFP_KERNEL)?;
        }
        for nr in 0..18 {
            let job = pool.state.with(|s| match s.storage.next_at(later) {
                Found::Job(job, Some(place)) => {
                    s.storage.running.end(place);
                    Some(job)
                }
                _ => None,
            });
            let job = job.ok_or(EINVAL)?;

            if job.id() == aside.links().id() {
                turn = Some(nr);
            }
            job.release();
        }
        assert_eq!(turn, Some(16));
        assert!(setup.is_idle());
        setup.end_all(stuck);
        for op in ops {
            Carried::end(op, 0);
        }
        Carried::end(aside, 0);
        assert_eq!(setup.events(18), Ok(18));
        Ok(())
    }

    /// No more than 64 are put aside with the lock held.
    #[test]
    fn looks_again() -> Result {
        let process = Process::threaded(128)?;
        let setup = Setup::new(&process)?;
        let pool = &setup.submitter.pool;
        let (begun, later) = hang();
        let stuck = setup.begin_many(setup.max(), 1, begun)?;
        let mut ops = KVec::with_capacity(65, GFP_KERNEL)?;

        for _ in 0..65 {
            ops.push(setup.enqueue_on(1)?, GFP_KERNEL)?;
        }
        let found = pool.state.with(|s| s.storage.next_at(later));

        assert!(matches!(found, Found::More));
        assert!(setup.is_next(&ops[0], later));
        setup.end_all(stuck);
        while let Some(job) = pool.state.with(|s| s.storage.pop()) {
            job.release();
        }
        for op in ops {
            Carried::end(op, 0);
        }
        assert_eq!(setup.events(65), Ok(65));
        Ok(())
    }
}
