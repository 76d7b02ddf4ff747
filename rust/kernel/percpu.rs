// SPDX-License-Identifier: GPL-2.0

//! Dynamically allocated per-CPU variables.
//!
//! C header: [`include/linux/percpu.h`](srctree/include/linux/percpu.h)

use crate::{
    alloc::AllocError,
    bindings,
    sync::atomic::{
        Atomic,
        AtomicType, //
    },
    types::NotThreadSafe, //
};
use core::{
    marker::PhantomData,
    mem::{
        align_of,
        size_of, //
    },
    ptr::NonNull, //
};
use pin_init::Zeroable;

mod elsewhere;

/// Evidence that interrupts of the local CPU are disabled, for as long as it is borrowed.
///
/// # Invariants
///
/// Interrupts are disabled on the local CPU as long as a reference to a value of this type is
/// valid.
pub struct IrqsOff(NotThreadSafe);

/// Calls `f` with the interrupts of the local CPU disabled by `local_irq_save()`.
///
/// Cheaper than [`local_interrupt_disable()`](crate::interrupt::local_interrupt_disable), which
/// counts its nesting: that costs about ten instructions more. What makes up for the missing count
/// is that this is a function, whose sections can only be nested, and that neither `f` nor what it
/// returns can have a guard in it that is alive beyond one end of the section: such guards,
/// [`LocalInterruptDisabled`](crate::interrupt::LocalInterruptDisabled) among them, are not `Send`.
///
/// May be called in any context.
///
/// # Examples
///
/// ```
/// use kernel::percpu::with_irqs_off;
///
/// assert_eq!(with_irqs_off(|_irqs_off| 7), 7);
/// ```
#[doc(alias = "local_irq_save")]
#[inline(always)]
pub fn with_irqs_off<R: Send>(f: impl FnOnce(&IrqsOff) -> R + Send) -> R {
    // SAFETY: May be called in any context.
    let flags = unsafe { bindings::local_irq_save() };

    // INVARIANT: Interrupts were just disabled. They are enabled again after `f` has returned, to
    // which the reference is lent. `f` can't enable them: other sections like this one, and those
    // of `SpinLockIrqSave`, begin and end within it, and guards that were there before are not
    // `Send`.
    let result = f(&IrqsOff(NotThreadSafe));

    // SAFETY: The flags come from `local_irq_save()` on this CPU, which the task has not left.
    unsafe { bindings::local_irq_restore(flags) };
    result
}

/// One `T` for each possible CPU.
///
/// Every instance starts out zeroed. A CPU only touches its own instance, with interrupts disabled,
/// so that loading and storing it is enough to change it, even if interrupt handlers do so as well:
/// there is no need for locked operations.
///
/// # Invariants
///
/// `ptr` is a per-CPU allocation that holds a valid `T` for every possible CPU.
///
/// # Examples
///
/// ```
/// use kernel::{
///     percpu::{with_irqs_off, PerCpu},
///     sync::atomic::Relaxed,
/// };
///
/// let hits = PerCpu::<u32>::new_zeroed()?;
///
/// with_irqs_off(|irqs_off| {
///     let here = hits.this_cpu(irqs_off);
///
///     assert_eq!(here.load(Relaxed), 0);
///     here.store(here.load(Relaxed) + 3, Relaxed);
///     assert_eq!(hits.this_cpu(irqs_off).load(Relaxed), 3);
/// });
/// # Ok::<(), Error>(())
/// ```
pub struct PerCpu<T: AtomicType> {
    ptr: NonNull<Atomic<T>>,
    _p: PhantomData<Atomic<T>>,
}

// SAFETY: The memory may be freed on any CPU.
unsafe impl<T: AtomicType> Send for PerCpu<T> {}

// SAFETY: A shared `PerCpu` gives out references to atomic variables.
unsafe impl<T: AtomicType> Sync for PerCpu<T> {}

impl<T: AtomicType + Zeroable> PerCpu<T> {
    /// Allocates a zeroed `T` for every possible CPU.
    ///
    /// May sleep.
    #[doc(alias = "alloc_percpu")]
    pub fn new_zeroed() -> Result<Self, AllocError> {
        // SAFETY: There are no requirements on size and alignment; failure is reported as null.
        let ptr = unsafe { bindings::__alloc_percpu(size_of::<T>(), align_of::<T>()) };

        // INVARIANT: The allocation is zeroed, which is a valid `T` since `T: Zeroable`.
        Ok(Self {
            ptr: NonNull::new(ptr.cast()).ok_or(AllocError)?,
            _p: PhantomData,
        })
    }
}

impl<T: AtomicType> PerCpu<T> {
    /// Returns the instance of the local CPU.
    ///
    /// As long as interrupts are disabled nobody else changes it between a load and a store.
    #[doc(alias = "this_cpu_ptr")]
    #[inline]
    pub fn this_cpu<'a>(&'a self, _irqs_off: &'a IrqsOff) -> &'a Atomic<T> {
        // SAFETY: By the type invariants, `ptr` is a per-CPU allocation.
        let ptr = unsafe { bindings::this_cpu_ptr(self.ptr.as_ptr().cast()) };

        // SAFETY: By the type invariants there is a valid `T` for this CPU, which is only accessed
        // atomically.
        unsafe { &*ptr.cast::<Atomic<T>>() }
    }
}

impl PerCpu<u32> {
    /// Returns the sum of what all CPUs have, modulo what fits.
    ///
    /// They may be changing it meanwhile.
    ///
    /// # Examples
    ///
    /// ```
    /// use kernel::{
    ///     percpu::{with_irqs_off, PerCpu},
    ///     sync::atomic::Relaxed,
    /// };
    ///
    /// let hits = PerCpu::<u32>::new_zeroed()?;
    ///
    /// assert_eq!(hits.sum(), 0);
    /// with_irqs_off(|irqs_off| hits.this_cpu(irqs_off).store(7, Relaxed));
    /// assert_eq!(hits.sum(), 7);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn sum(&self) -> u32 {
        // SAFETY: By the type invariants this is a per-CPU variable of this type, which is only
        // accessed atomically.
        unsafe { bindings::percpu_sum_u32(self.ptr.as_ptr().cast()) }
    }
}

impl<T: AtomicType> Drop for PerCpu<T> {
    fn drop(&mut self) {
        // SAFETY: By the type invariants, `ptr` is a per-CPU allocation, which nobody uses any
        // longer.
        unsafe { bindings::free_percpu(self.ptr.as_ptr().cast()) };
    }
}

/// A number of things that have happened, counted by each CPU for itself.
///
/// Counting one costs an addition, without a locked instruction and with interrupts on. Computing
/// the sum is expensive: it reads the instance of every possible CPU.
///
/// # Invariants
///
/// `ptr` is a per-CPU allocation that holds a valid `usize` for every possible CPU.
///
/// # Examples
///
/// ```
/// use kernel::percpu::PerCpuCount;
///
/// let count = PerCpuCount::new()?;
///
/// count.inc();
/// count.inc();
/// assert_eq!(count.sum(), 2);
/// # Ok::<(), Error>(())
/// ```
pub struct PerCpuCount {
    ptr: NonNull<usize>,
}

// SAFETY: The memory may be freed on any CPU.
unsafe impl Send for PerCpuCount {}

// SAFETY: The numbers are only accessed as per-CPU variables.
unsafe impl Sync for PerCpuCount {}

impl PerCpuCount {
    /// Allocates a count of zero.
    ///
    /// May sleep.
    pub fn new() -> Result<Self, AllocError> {
        // SAFETY: There are no requirements on size and alignment; failure is reported as null.
        let ptr = unsafe { bindings::__alloc_percpu(size_of::<usize>(), align_of::<usize>()) };

        // INVARIANT: The allocation is zeroed, which is a valid `usize`.
        Ok(Self {
            ptr: NonNull::new(ptr.cast()).ok_or(AllocError)?,
        })
    }

    /// Counts one.
    ///
    /// May be called in any context. Orders nothing.
    #[doc(alias = "this_cpu_inc")]
    #[inline]
    pub fn inc(&self) {
        // SAFETY: By the type invariants this is a per-CPU variable of this type.
        unsafe { bindings::this_cpu_inc_ulong(self.ptr.as_ptr()) };
    }

    /// Returns how often [`inc()`](Self::inc) was called, modulo what fits.
    ///
    /// Calls that nothing orders before this one may be missing.
    pub fn sum(&self) -> usize {
        // SAFETY: By the type invariants this is a per-CPU variable of this type.
        unsafe { bindings::percpu_sum_ulong(self.ptr.as_ptr()) }
    }
}

impl Drop for PerCpuCount {
    fn drop(&mut self) {
        // SAFETY: By the type invariants this is a per-CPU allocation, which nobody uses any
        // longer.
        unsafe { bindings::free_percpu(self.ptr.as_ptr().cast()) };
    }
}

/// Returns the number of CPUs that may ever be present in this system.
///
/// Not the same as [`nr_cpu_ids()`](crate::cpu::nr_cpu_ids), which is one more than the highest
/// number that such a CPU has.
#[inline]
pub fn num_possible_cpus() -> u32 {
    // SAFETY: May be called in any context.
    unsafe { bindings::num_possible_cpus() }
}
