// SPDX-License-Identifier: GPL-2.0

//! Short RCU read-side critical sections.
//!
//! C header: [`include/linux/rcupdate.h`](srctree/include/linux/rcupdate.h)

#[cfg(not(any(CONFIG_PREEMPT_RT, CONFIG_DEBUG_LOCK_ALLOC)))]
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
/// Cheaper than [`rcu::read_lock()`] where that is a function: preemption is disabled, for which
/// grace periods wait as well. Where spinlocks sleep (`PREEMPT_RT`), and where C's code checks that
/// RCU is read-locked (`DEBUG_LOCK_ALLOC`), it is [`rcu::read_lock()`].
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
    #[doc(alias = "rcu_read_lock_sched")]
    #[inline]
    pub fn new() -> Self {
        // SAFETY: Pairs with the call in the destructor, by the same task, since this is not
        // `Send`.
        #[cfg(not(any(CONFIG_PREEMPT_RT, CONFIG_DEBUG_LOCK_ALLOC)))]
        unsafe {
            bindings::rcu_read_lock_sched()
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
        #[cfg(not(any(CONFIG_PREEMPT_RT, CONFIG_DEBUG_LOCK_ALLOC)))]
        unsafe {
            bindings::rcu_read_unlock_sched()
        };
    }
}

// SAFETY: RCU is read-locked, or preemption is disabled, for the lifetime of the value.
unsafe impl ReadSide for ReadSection {}
