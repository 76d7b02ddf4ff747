// SPDX-License-Identifier: GPL-2.0

//! Limits on how often something is done, for messages that a user could provoke without end.
//!
//! C header: [`include/linux/ratelimit.h`](srctree/include/linux/ratelimit.h)

use crate::{
    bindings,
    prelude::*,
    sync::atomic::{
        Acquire,
        AtomicFlag,
        Release, //
    },
    time::Jiffies,
    types::Opaque, //
};

/// A limit: no more than a burst in an interval.
///
/// # Invariants
///
/// `state` is initialised, and used by [`___ratelimit()`] only, from when `ready` is set.
///
/// [`___ratelimit()`]: srctree/lib/ratelimit.c
///
/// # Examples
///
/// ```
/// use kernel::ratelimit::RateLimit;
///
/// static MESSAGES: RateLimit = RateLimit::new(c"example");
///
/// // Three in an hour.
/// MESSAGES.init(kernel::time::msecs_to_jiffies(3_600_000), 3);
/// assert_eq!((0..100).filter(|_| MESSAGES.allows()).count(), 3);
/// ```
pub struct RateLimit {
    name: &'static CStr,
    state: Opaque<bindings::ratelimit_state>,
    taken: AtomicFlag,
    ready: AtomicFlag,
}

// SAFETY: `init()` is done by one task, and `___ratelimit()` synchronises itself.
unsafe impl Sync for RateLimit {}

impl RateLimit {
    /// Creates a limit that allows everything until [`init()`](Self::init) was called.
    ///
    /// The kernel log tells under this name how often it did not allow something.
    pub const fn new(name: &'static CStr) -> Self {
        // INVARIANT: It is not ready.
        Self {
            name,
            state: Opaque::uninit(),
            taken: AtomicFlag::new(false),
            ready: AtomicFlag::new(false),
        }
    }

    /// Sets the limit: `burst` times in an interval. Only the first call has an effect.
    #[doc(alias = "ratelimit_state_init")]
    pub fn init(&'static self, interval: Jiffies, burst: i32) {
        if self.taken.xchg(true, Acquire) {
            return;
        }
        // INVARIANT: This is the only task that comes here, and the state is not used before it is
        // initialised.
        //
        // SAFETY: The state is static, and nobody else uses it.
        unsafe {
            bindings::ratelimit_state_init(
                self.state.get(),
                interval.try_into().unwrap_or(i32::MAX),
                burst,
            )
        };
        self.ready.store(true, Release);
    }

    /// Returns whether it may be done now, and counts that it was.
    ///
    /// May be called in any context.
    #[doc(alias = "__ratelimit")]
    pub fn allows(&self) -> bool {
        if !self.ready.load(Acquire) {
            return true;
        }
        // SAFETY: By the type invariants; the name is static.
        unsafe { bindings::___ratelimit(self.state.get(), self.name.as_char_ptr()) != 0 }
    }
}
