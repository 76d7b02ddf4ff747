// SPDX-License-Identifier: GPL-2.0

//! How a context finds the threads of a process.

use super::{
    Key,
    Pool, //
};
use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        new_spinlock,
        Arc,
        SpinLock, //
    },
    task::io_thread::Identity,
};

/// What a threaded context knows of the threads.
#[pin_data]
pub(crate) struct Threads {
    /// The pools that were used last: there is more than one only if processes share the address
    /// space.
    #[pin]
    pools: SpinLock<[Option<Arc<Pool>>; Self::POOLS]>,
    /// How many orders there are, see [`Pool::enqueue_behind()`]; perhaps some are not there any
    /// longer.
    pub(super) orders: Atomic<isize>,
}

impl Threads {
    const POOLS: usize = 4;

    /// There are none.
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            pools <- new_spinlock!([const { None }; Self::POOLS], "aio::threads"),
            orders: Atomic::new(0),
        })
    }

    /// Returns the pool of the process with this identity, if it was used.
    pub(crate) fn pool(&self, identity: Identity) -> Option<Arc<Pool>> {
        let pools = self.pools.lock();
        let pool = pools.iter().flatten().find(|pool| pool.serves(identity));

        pool.cloned()
    }

    /// A pool is used.
    pub(crate) fn set_pool(&self, pool: Arc<Pool>) {
        let mut pools = self.pools.lock();
        let gone = pools
            .iter()
            .position(|pool| pool.as_ref().is_none_or(|pool| pool.is_dead()));
        // The one that was used first may be found by way of another context still.
        let place = gone.unwrap_or(0);
        let old = pools[place].replace(pool);

        drop(pools);
        drop(old);
    }

    /// Counts orders. One that begins is counted with the lock of its pool held, one that has ended
    /// after that.
    pub(crate) fn count_order(&self, by: isize) {
        self.orders.fetch_add(by, Relaxed);
    }

    /// Returns whether operations with this key have to wait for others.
    #[inline]
    pub(crate) fn is_behind(&self, key: impl FnOnce() -> Key) -> bool {
        self.orders.load(Relaxed) != 0 && self.look_behind(key())
    }

    #[cold]
    #[inline(never)]
    fn look_behind(&self, key: Key) -> bool {
        let pools = self.pools.lock();
        let mut pools = pools.iter().flatten();

        pools.any(|pool| pool.is_behind(key))
    }
}
