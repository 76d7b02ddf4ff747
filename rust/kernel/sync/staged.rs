// SPDX-License-Identifier: GPL-2.0

//! Objects that are shut down in two stages.
//!
//! Many kernel objects end like this: first nobody may start new work on them any longer, and one
//! waits for those who just do; then the work that they had started earlier comes to its end;
//! then the object is freed:
//!
//! ```text
//! Owner --shutdown()--> no users --> users_gone() --> nothing in flight --> drained()
//! StagedUser<T> --------------^                             ^                         |
//! InFlight<T> ----------------------------------------+          grace period, drop(T)
//! ```
//!
//! In normal operation, taking and giving back a reference touches no memory that CPUs share, and
//! needs no locked instruction. Users are counted by a `struct percpu_ref`. Work is counted when it
//! is started by a counter of each CPU, and when it has ended by a plain number, [`EndedWork`],
//! which belongs to whatever lock those who end work hold anyway. The two are compared only after
//! the last user has gone, when no new work can be started.
//!
//! C header: [`include/linux/percpu-refcount.h`](srctree/include/linux/percpu-refcount.h)
//!
//! # Examples
//!
//! ```
//! use kernel::{
//!     slab::{
//!         Backing,
//!         KmemCache, //
//!     },
//!     sync::{
//!         new_spinlock_irqsave,
//!         staged::{
//!             EndedWork,
//!             InFlight,
//!             Staged,
//!             StagedInner,
//!             StagedList,
//!             StagedOwner,
//!             StagedUser, //
//!         },
//!         SpinLockIrqSave, //
//!     },
//! };
//!
//! /// Something that requests are sent to.
//! #[pin_data]
//! struct Session {
//!     #[pin]
//!     ended: SpinLockIrqSave<EndedWork<Session>>,
//! }
//!
//! enum Sessions {}
//!
//! static CACHE: KmemCache<Sessions> = KmemCache::new(c"doc_sessions");
//! static ALL: StagedList<Session> = StagedList::new();
//!
//! impl Backing for Sessions {
//!     type Largest = StagedInner<Session>;
//!     const CACHE: &'static KmemCache<Self> = &CACHE;
//! }
//!
//! impl Staged for Session {
//!     type Backing = Sessions;
//!     const ALL: &'static StagedList<Self> = &ALL;
//!
//!     fn with_ended<R: Send>(&self, f: impl FnOnce(&mut EndedWork<Self>) -> R + Send) -> R {
//!         self.ended.with(f)
//!     }
//!
//!     fn users_gone(&self) {
//!         // Here requests would be cancelled.
//!     }
//!
//!     fn drained(&self) {
//!         // Here somebody would be told.
//!     }
//! }
//!
//! /// The caches and lists are made when the system boots.
//! fn open() -> Result<StagedOwner<Session>> {
//!     StagedOwner::new(|ended| {
//!         pin_init!(Session {
//!             ended <- new_spinlock_irqsave!(ended),
//!         })
//!     })
//! }
//!
//! /// What this returns keeps the session until the answer has come.
//! fn send(session: &StagedUser<Session>) -> InFlight<Session> {
//!     session.start_work()
//! }
//!
//! fn close(session: StagedOwner<Session>) {
//!     session.shutdown();
//! }
//! ```

// AIO is the only user of some of it.
#![cfg_attr(not(CONFIG_AIO_RUST), allow(dead_code))]

use crate::{
    prelude::*,
    slab::Backing, //
};

mod count;
mod list;
mod refs;

pub use count::{
    EndedWork,
    StagedInner, //
};
pub use list::StagedList;
pub use refs::{
    InFlight,
    StagedOwner,
    StagedRef,
    StagedUser, //
};

/// An object that is shut down in two stages.
pub trait Staged: Send + Sync + Sized + 'static {
    /// Names the cache that the object's memory comes from, made for the size of a
    /// [`StagedInner<Self>`].
    type Backing: Backing;

    /// Where all objects of this type are found.
    const ALL: &'static StagedList<Self>;

    /// Calls `f` with the object's own [`EndedWork`], whose lock is held for the time of the call.
    ///
    /// The lock must be one that may be taken in any context that gives up an [`InFlight`], and
    /// must not sleep: it is taken under RCU, with preemption disabled.
    fn with_ended<R: Send>(&self, f: impl FnOnce(&mut EndedWork<Self>) -> R + Send) -> R;

    /// A reference [`InFlight`] was dropped, instead of given up by [`InFlight::end()`].
    ///
    /// Called by the code that drops it, with preemption disabled. The lock of [`EndedWork`] is not
    /// held.
    fn work_dropped(&self) {}

    /// There are no users any longer, and there never will be.
    ///
    /// Called once, after [`StagedOwner::shutdown()`], when the last [`StagedUser`] is gone; nobody
    /// can start new work. Meant to cancel what would otherwise not end by itself. May be called in
    /// any context, hard interrupts included.
    fn users_gone(&self);

    /// Nothing is in flight any longer.
    ///
    /// Called once, after [`users_gone()`](Self::users_gone), when the last [`InFlight`] is
    /// gone. The object itself is dropped later, by a work item that may sleep, after an RCU grace
    /// period. May be called in any context, hard interrupts included, and with the lock of
    /// [`EndedWork`] held.
    fn drained(&self);
}

#[kunit_tests(rust_sync_staged)]
mod tests {
    use super::*;
    use crate::{
        slab::KmemCache,
        sync::{
            atomic::{
                Atomic,
                Relaxed, //
            },
            new_spinlock_irqsave,
            rcu,
            Arc,
            Completion,
            ReadSection,
            SpinLockIrqSave, //
        },
        time::{
            delay::udelay,
            Delta, //
        },
    };
    use core::marker::PhantomData;

    /// What has happened to an object.
    #[pin_data]
    struct Log {
        users_gone: Atomic<u32>,
        drained: Atomic<u32>,
        gone: Atomic<u32>,
        #[pin]
        dropped: Completion,
    }

    impl Log {
        fn new() -> Result<Arc<Self>> {
            Arc::pin_init(
                pin_init!(Self {
                    users_gone: Atomic::new(0),
                    drained: Atomic::new(0),
                    gone: Atomic::new(0),
                    dropped <- Completion::new(),
                }),
                GFP_KERNEL,
            )
        }

        /// Returns how often the first and the second stage have ended.
        fn stages(&self) -> (u32, u32) {
            (self.users_gone.load(Relaxed), self.drained.load(Relaxed))
        }
    }

    #[pin_data(PinnedDrop)]
    struct Object {
        log: Arc<Log>,
        #[pin]
        ended: SpinLockIrqSave<EndedWork<Object>>,
    }

    impl Object {
        fn new(log: Arc<Log>, ended: EndedWork<Self>) -> impl PinInit<Self> {
            pin_init!(Self {
                log,
                ended <- new_spinlock_irqsave!(ended),
            })
        }
    }

    enum Objects {}

    static CACHE: KmemCache<Objects> = KmemCache::new(c"rust_kunit_staged");

    impl Backing for Objects {
        type Largest = StagedInner<Object>;
        const CACHE: &'static KmemCache<Self> = &CACHE;
    }

    static ALL: StagedList<Object> = StagedList::new();

    impl Staged for Object {
        type Backing = Objects;
        const ALL: &'static StagedList<Self> = &ALL;

        fn with_ended<R: Send>(&self, f: impl FnOnce(&mut EndedWork<Self>) -> R + Send) -> R {
            self.ended.with(f)
        }

        fn users_gone(&self) {
            self.log.users_gone.add(1, Relaxed);
        }

        fn drained(&self) {
            self.log.drained.add(1, Relaxed);
        }
    }

    #[pinned_drop]
    impl PinnedDrop for Object {
        fn drop(self: Pin<&mut Self>) {
            self.log.gone.add(1, Relaxed);
            self.log.dropped.complete_all();
        }
    }

    fn object() -> Result<(StagedOwner<Object>, Arc<Log>)> {
        CACHE.init()?;
        ALL.init();
        let log = Log::new()?;

        let owner = StagedOwner::new(|ended| Object::new(log.clone(), ended))?;

        Ok((owner, log))
    }

    #[test]
    fn stages_end_in_order() -> Result {
        let (owner, log) = object()?;
        let user = owner.user();
        let work = user.start_work();

        owner.shutdown();
        rcu::rcu_barrier();
        assert_eq!(log.stages(), (0, 0));

        drop(user);
        assert_eq!(log.stages(), (1, 0));
        rcu::rcu_barrier();
        assert_eq!(log.stages(), (1, 0));

        drop(work);
        assert_eq!(log.stages(), (1, 1));
        log.dropped.wait_for_completion();
        assert_eq!(log.stages(), (1, 1));
        Ok(())
    }

    #[test]
    fn work_that_ends_first() -> Result {
        let (owner, log) = object()?;
        let user = owner.user();

        drop(user.start_work());
        drop(user);
        rcu::rcu_barrier();
        assert_eq!(log.stages(), (0, 0));

        drop(owner);
        log.dropped.wait_for_completion();
        assert_eq!(log.stages(), (1, 1));
        Ok(())
    }

    #[test]
    fn ends_at_once_without_users() -> Result {
        let (owner, log) = object()?;
        let user = owner.user();

        drop(user.start_work());
        let work = user.start_work();
        drop(user);
        // SAFETY: Nobody else knows the object.
        unsafe { owner.shutdown_alone() };
        // There was no need to wait.
        assert_eq!(log.stages(), (1, 0));
        drop(work);
        assert_eq!(log.stages(), (1, 1));
        log.dropped.wait_for_completion();

        let (owner, log) = object()?;
        // SAFETY: Nobody else knows the object, and it has no user.
        unsafe { owner.shutdown_alone() };
        assert_eq!(log.stages(), (1, 1));
        log.dropped.wait_for_completion();
        assert_eq!(log.stages(), (1, 1));
        Ok(())
    }

    #[test]
    fn does_not_end_at_once_with_a_user() -> Result {
        let (owner, log) = object()?;
        let user = owner.user();

        // SAFETY: Nobody else knows the object, and this is the task of the user.
        unsafe { owner.shutdown_alone() };
        rcu::rcu_barrier();
        assert_eq!(log.stages(), (0, 0));
        drop(user);
        assert_eq!(log.stages(), (1, 1));
        log.dropped.wait_for_completion();
        Ok(())
    }

    #[test]
    fn all_are_visited_in_turn() -> Result {
        let (first, first_log) = object()?;
        let (second, second_log) = object()?;
        let mut seen = (0, 0);

        // Others may be on their way out, of the cases before.
        for _ in 0..4 {
            ALL.visit(ALL.len(), |object| {
                if core::ptr::eq(&*object.log, &*first_log) {
                    seen.0 += 1;
                } else if core::ptr::eq(&*object.log, &*second_log) {
                    seen.1 += 1;
                }
            });
        }
        assert!(seen.0 >= 3 && seen.1 >= 3);
        drop(first);
        drop(second);
        first_log.dropped.wait_for_completion();
        second_log.dropped.wait_for_completion();
        ALL.visit(ALL.len(), |object| {
            assert!(!core::ptr::eq(&*object.log, &*first_log));
        });
        Ok(())
    }

    #[test]
    fn work_of_many_cpus() -> Result {
        let (owner, log) = object()?;
        let user = owner.user();
        let mut all = KVec::new();

        for _ in 0..1000 {
            all.push(user.start_work(), GFP_KERNEL)?;
        }
        drop(user);
        owner.shutdown();
        rcu::rcu_barrier();
        assert_eq!(log.stages(), (1, 0));
        // Some in the one way, some in the other.
        while all.len() > 1 {
            let Some(work) = all.pop() else { break };

            if all.len() % 2 == 0 {
                let section = ReadSection::new();
                let object = work.under_rcu(&section);

                object.with_ended(|ended| work.end(ended));
            }
        }
        assert_eq!(log.stages(), (1, 0));
        drop(all);
        assert_eq!(log.stages(), (1, 1));
        log.dropped.wait_for_completion();
        Ok(())
    }

    #[test]
    fn lives_on_for_readers() -> Result {
        let (owner, log) = object()?;
        let user = owner.user();
        let work = user.start_work();

        drop(user);
        owner.shutdown();
        rcu::rcu_barrier();
        {
            let guard = rcu::read_lock();
            let object = work.under_rcu(&guard);

            drop(work);
            assert_eq!(log.stages(), (1, 1));
            // This is long enough for a work item that would free it too early.
            for _ in 0..20 {
                udelay(Delta::from_millis(1));
                assert_eq!(log.gone.load(Relaxed), 0);
            }
            assert!(core::ptr::eq(&*object.log, &*log));
        }
        log.dropped.wait_for_completion();
        assert_eq!(log.gone.load(Relaxed), 1);
        Ok(())
    }

    #[test]
    fn no_new_users_after_shutdown_alone() -> Result {
        let (owner, log) = object()?;
        let guard = rcu::read_lock();
        let found = StagedRef {
            ptr: owner.ptr,
            _p: PhantomData,
        };

        assert!(found.try_use(&guard).is_some());
        // SAFETY: This task has found it, and nobody else does.
        unsafe { owner.shutdown_alone() };
        assert_eq!(log.stages(), (1, 1));
        assert!(found.try_use(&guard).is_none());
        drop(guard);
        log.dropped.wait_for_completion();
        Ok(())
    }

    #[test]
    fn no_new_users_after_shutdown() -> Result {
        let (owner, log) = object()?;
        let user = owner.user();
        let found = StagedRef {
            ptr: owner.ptr,
            _p: PhantomData,
        };

        assert!(found.try_use(&rcu::read_lock()).is_some());
        drop((user.start_work(), user.start_work()));
        let work = user.start_work();

        assert_eq!(found.started(), 3);
        assert_eq!(found.with_ended(|ended| ended.count()), 2);
        drop(work);
        owner.shutdown();
        assert!(found.try_use(&rcu::read_lock()).is_none());
        drop(user);
        log.dropped.wait_for_completion();
        Ok(())
    }

    #[test]
    fn failing_initialiser_leaves_nothing() -> Result {
        CACHE.init()?;
        ALL.init();
        let log = Log::new()?;
        let failure: Result = Err(EBUSY);
        let kept = log.clone();
        let init = move |ended| {
            try_pin_init!(Object {
                log,
                ended <- new_spinlock_irqsave!({
                    failure?;
                    ended
                }),
            }? Error)
        };

        assert_eq!(StagedOwner::new(init).err(), Some(EBUSY));
        assert_eq!(kept.stages(), (0, 0));
        // Nobody else has it.
        assert!(Arc::into_unique_or_drop(kept).is_some());
        Ok(())
    }
}
