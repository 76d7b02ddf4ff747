// SPDX-License-Identifier: GPL-2.0

//! Short RCU read-side critical sections.
//!
//! C header: [`include/linux/rcupdate.h`](srctree/include/linux/rcupdate.h)

#[cfg(not(CONFIG_PREEMPT_RT))]
use crate::bindings;
use crate::{
    sync::rcu,
    types::NotThreadSafe, //
};

/// Evidence of an RCU read-side critical section.
///
/// # Safety
///
/// Grace periods that begin during the lifetime of a value must not end before it does.
pub unsafe trait ReadSide {}

// SAFETY: The guard stands for `rcu_read_lock()`.
unsafe impl ReadSide for rcu::Guard {}

/// An RCU read-side critical section of a few instructions, in which spinlocks may be taken.
///
/// Not [`rcu::Guard`]: `rcu_read_lock()` and `rcu_read_unlock()` are calls of functions in
/// preemptible kernels, and there is a section for each request that completes; disabling
/// preemption, for which grace periods wait as well, is one instruction, and enabling it two. Where
/// C's code checks that RCU is read-locked (`DEBUG_LOCK_ALLOC`) a section is both, so that what is
/// checked is what runs elsewhere; where spinlocks sleep (`PREEMPT_RT`) it is [`rcu::read_lock()`]
/// alone. It is not `rcu_read_lock_sched()`: lockdep believes of that, wherever it is used, that no
/// lock may be taken in it that would sleep elsewhere.
///
/// # Examples
///
/// ```
/// use kernel::sync::ReadSection;
///
/// let section = ReadSection::new();
/// // Look at something.
/// drop(section);
/// ```
pub struct ReadSection {
    #[cfg(any(CONFIG_PREEMPT_RT, CONFIG_DEBUG_LOCK_ALLOC))]
    _guard: rcu::Guard,
    _not_send: NotThreadSafe,
}

impl ReadSection {
    /// Begins a section, which ends when the value is dropped.
    ///
    /// May be called in any context.
    #[inline]
    pub fn new() -> Self {
        // SAFETY: Pairs with the call in the destructor, by the same task, since this is not
        // `Send`.
        #[cfg(not(CONFIG_PREEMPT_RT))]
        unsafe {
            bindings::preempt_disable()
        };

        Self {
            #[cfg(any(CONFIG_PREEMPT_RT, CONFIG_DEBUG_LOCK_ALLOC))]
            _guard: rcu::read_lock(),
            _not_send: NotThreadSafe,
        }
    }
}

impl Default for ReadSection {
    #[inline]
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for ReadSection {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: The section was begun by `new()`.
        #[cfg(not(CONFIG_PREEMPT_RT))]
        unsafe {
            bindings::preempt_enable()
        };
    }
}

// SAFETY: RCU is read-locked, or preemption is disabled, for the lifetime of the value.
unsafe impl ReadSide for ReadSection {}
