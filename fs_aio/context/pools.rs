// SPDX-License-Identifier: GPL-2.0

//! The memory that contexts keep for requests, which the system can have back.

use super::{
    Context,
    ALL, //
};
use kernel::{
    mm::shrinker::Shrink,
    prelude::*,
    slab::SlabBatch, //
};

/// The memory that contexts keep for requests, as something that can be given back.
pub(crate) struct Pools;

impl Pools {
    /// So many contexts are asked what they have, and that is taken for what the others have.
    const SAMPLE: usize = 64;
}

impl Shrink for Pools {
    fn count(&self) -> usize {
        let (mut asked, mut found) = (0, 0);

        ALL.visit(Self::SAMPLE, |context| {
            asked += 1;
            found += context.memory_kept();
        });
        match asked {
            0 => 0,
            // Of those that are visited less often no more is known.
            _ => found * ALL.len().max(asked) / asked,
        }
    }

    fn scan(&self, nr: usize) -> usize {
        let mut freed = 0;

        // Most have something, or `count()` would have said so.
        ALL.visit(nr.div_ceil(Context::GIVE_BACK), |context| {
            freed += context.give_back_memory()
        });
        freed
    }
}

impl Context {
    /// At most so many requests' memory is freed at a time.
    const GIVE_BACK: usize = 32;

    /// Returns for how many requests memory is kept.
    fn memory_kept(&self) -> usize {
        self.ring.with_producer(|finished| finished.pool.len())
    }

    /// Frees memory that is kept for requests, and returns for how many.
    ///
    /// One portion, no more, since others may put memory there at the same time: the caller has
    /// disabled preemption, and asks again if it wants more.
    fn give_back_memory(&self) -> usize {
        // It is freed after the lock was released.
        let mut some = SlabBatch::<_, { Self::GIVE_BACK }>::new();

        self.ring
            .with_producer(|finished| finished.pool.take_batch(&mut some, Self::GIVE_BACK));
        some.len()
    }
}

#[kunit_tests(aio_context_pools)]
mod tests {
    use super::*;
    use crate::{
        kunit::Process,
        submit::submit, //
    };
    use kernel::aio::abi::Abi;

    #[test]
    fn memory_is_given_back() -> Result {
        let process = Process::new(64)?;
        let iocbs = [process.read_iocb(8); 10];
        let pointers = process.write_all(&iocbs)?;

        process.with_context(|context| {
            // The requests have completed, and left their memory behind.
            assert_eq!(submit(context, 10, pointers, Abi::Native), Ok(10));
            let kept = context.memory_kept();

            assert!((1..=10).contains(&kept));
            // Other contexts may have some, too.
            assert!(Pools.count() >= kept / ALL.len());
            assert_eq!(context.give_back_memory(), kept);
            assert_eq!(context.memory_kept(), 0);
            assert_eq!(context.give_back_memory(), 0);
            Ok(())
        })
    }

    /// However much there is, or comes while it is freed, a visit is short.
    #[test]
    fn memory_is_given_back_in_portions() -> Result {
        let process = Process::new(256)?;
        let iocbs = [process.read_iocb(8); 50];
        let pointers = process.write_all(&iocbs)?;

        process.with_context(|context| {
            // They are in flight all at once, so that each has memory of its own.
            process.file.hold(false);
            assert_eq!(submit(context, 50, pointers, Abi::Native), Ok(50));
            assert_eq!(context.memory_kept(), 0);
            while process.file.end(8) {}
            assert_eq!(context.memory_kept(), 50);
            assert_eq!(context.give_back_memory(), Context::GIVE_BACK);
            assert_eq!(context.memory_kept(), 50 - Context::GIVE_BACK);
            Ok(())
        })
    }
}
