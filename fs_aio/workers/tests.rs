// SPDX-License-Identifier: GPL-2.0

//! Orders of operations, in a pool without threads: the test is who takes them, and ends them.

use kernel::prelude::*;

#[kunit_tests(aio_workers)]
mod cases {
    use super::super::*;
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
        slab::SlabSlot,
        sync::{
            aref::ARef,
            threshold::Timeout, //
        },
        task::IoThread,
    };

    /// What is done in an operation here.
    struct Nothing;

    impl Perform for Nothing {
        fn perform(this: SlabArc<Carried<Self>>, _thread: &IoThread) {
            Carried::end(this, 0);
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

        /// An operation with the first key.
        fn op(&self) -> Result<Op> {
            let iocb = self.process.read_iocb(8);
            let user_iocb = self.process.write(0, &iocb)?;

            self.process.with_context(|context| {
                let prepared = Batch::new(context, 1, None).prepare(&iocb, user_iocb)?;
                let (_, _, head) = prepared.into_parts();

                Ok(Carried::new(
                    SlabSlot::alloc(GFP_KERNEL)?,
                    head,
                    self.submitter.clone(),
                    Class::Storage,
                    Some(self.key),
                    Nothing,
                ))
            })
        }

        /// Adds one to the pool; with `begins`, others are to wait for it.
        fn enqueue(&self, begins: bool) -> Result<Op> {
            let op = self.op()?;
            let begin = match begins {
                true => Some(Reservation::new(GFP_KERNEL)?),
                false => None,
            };

            Carried::enqueue_in_order(op.clone(), begin);
            Ok(op)
        }

        /// Returns whether this is the one that may be done first, and takes it out.
        fn is_first(&self, op: &Op) -> bool {
            let first = self.submitter.pool.state.with(|s| s.storage.pop_front());
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
}
