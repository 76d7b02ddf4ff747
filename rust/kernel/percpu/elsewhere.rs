// SPDX-License-Identifier: GPL-2.0

//! The instances of other CPUs.
//!
//! A CPU changes its own instance by loading and storing it, which nobody else must do meanwhile.
//! So who wants to change that of another has to ask the CPU, by an interrupt; only if it is
//! offline there is nobody to ask.
//!
//! C header: [`include/linux/smp.h`](srctree/include/linux/smp.h)

use super::{
    IrqsOff,
    PerCpu, //
};
use crate::{
    bindings,
    sync::atomic::{
        Atomic,
        AtomicType, //
    },
    types::NotThreadSafe, //
};
use core::ffi::{
    c_int,
    c_void, //
};

/// What the CPUs are told.
struct Call<'a, T: AtomicType, W, F> {
    instances: &'a PerCpu<T>,
    wanted: W,
    f: F,
}

impl<T, W, F> Call<'_, T, W, F>
where
    T: AtomicType,
    W: Fn(&Atomic<T>) -> bool + Sync,
    F: Fn(&Atomic<T>, &IrqsOff) + Sync,
{
    /// Returns whether a CPU is to be asked.
    ///
    /// # Safety
    ///
    /// `info` must point to a call, and `cpu` be a possible one.
    unsafe extern "C" fn is_wanted(cpu: c_int, info: *mut c_void) -> bool {
        // SAFETY: The caller guarantees that `info` points to a `Call` of this type.
        let call = unsafe { &*info.cast::<Self>() };

        // SAFETY: The caller guarantees that `cpu` is the number of a possible CPU.
        (call.wanted)(unsafe { call.instances.of_cpu(cpu) })
    }

    /// # Safety
    ///
    /// `info` must point to a call, and interrupts be disabled until this has returned.
    unsafe extern "C" fn call(info: *mut c_void) {
        // SAFETY: The caller guarantees that `info` points to a `Call` of this type.
        let call = unsafe { &*info.cast::<Self>() };
        // INVARIANT: Interrupts are disabled for as long as this is lent.
        let irqs_off = IrqsOff(NotThreadSafe);

        (call.f)(call.instances.this_cpu(&irqs_off), &irqs_off);
    }
}

impl<T: AtomicType> PerCpu<T> {
    /// Returns the instance of a CPU, which that may change at any time.
    ///
    /// # Safety
    ///
    /// `cpu` must be the number of a possible CPU.
    unsafe fn of_cpu(&self, cpu: c_int) -> &Atomic<T> {
        // SAFETY: By the type invariants `ptr` is a per-CPU allocation, and the caller guarantees
        // that `cpu` is the number of a possible CPU.
        let ptr = unsafe { bindings::per_cpu_ptr(self.ptr.as_ptr().cast(), cpu) };

        // SAFETY: By the type invariants there is a valid `T` for this CPU, which is only accessed
        // atomically.
        unsafe { &*ptr.cast::<Atomic<T>>() }
    }

    /// Has each online CPU whose instance is `wanted` call `f` with it, and waits until they have.
    ///
    /// No other CPU is interrupted. `wanted` is called by this CPU. Whether a CPU is wanted may
    /// change until it calls `f`, which it does with interrupts disabled; several may at the same
    /// time.
    ///
    /// Must not be called with interrupts disabled.
    ///
    /// # Examples
    ///
    /// ```
    /// use kernel::{
    ///     percpu::{with_irqs_off, PerCpu},
    ///     sync::atomic::{Atomic, Relaxed},
    /// };
    ///
    /// let parts = PerCpu::<u32>::new_zeroed()?;
    /// let sum = Atomic::<u32>::new(0);
    ///
    /// with_irqs_off(|irqs_off| parts.this_cpu(irqs_off).store(3, Relaxed));
    /// parts.call_online(
    ///     |part| part.load(Relaxed) != 0,
    ///     |part, _irqs_off| {
    ///         sum.add(part.load(Relaxed), Relaxed);
    ///         part.store(0, Relaxed);
    ///     },
    /// );
    /// assert_eq!(sum.load(Relaxed), 3);
    /// # Ok::<(), Error>(())
    /// ```
    #[doc(alias = "on_each_cpu_cond")]
    pub fn call_online<W, F>(&self, wanted: W, f: F)
    where
        W: Fn(&Atomic<T>) -> bool + Sync,
        F: Fn(&Atomic<T>, &IrqsOff) + Sync,
    {
        let call = Call {
            instances: self,
            wanted,
            f,
        };
        let info = (&raw const call).cast_mut().cast();

        // SAFETY: The functions get a pointer to `call`, which is not used any longer when this
        // returns: it waits for all. They may be called by any CPU, since what is in it is `Sync`.
        // The first gets the numbers of CPUs, the second is called with interrupts disabled.
        unsafe {
            bindings::on_each_cpu_cond(
                Some(Call::<'_, T, W, F>::is_wanted),
                Some(Call::<'_, T, W, F>::call),
                info,
                true,
            )
        };
    }

    /// Calls `f` with the instance of each CPU that is offline, if one of them is `wanted`.
    ///
    /// No CPU goes online or offline meanwhile, so the instances don't change; but others may call
    /// this at the same time, so that `f` must not rely on that.
    ///
    /// May sleep.
    pub fn for_each_offline<W, F>(&self, wanted: W, f: F)
    where
        W: Fn(&Atomic<T>) -> bool,
        F: Fn(&Atomic<T>),
    {
        // Most often there is none, and no need for the lock.
        if !self.offline().any(wanted) {
            return;
        }
        // SAFETY: May be called by any task.
        unsafe { bindings::cpus_read_lock() };
        self.offline().for_each(f);
        // SAFETY: The lock was taken above.
        unsafe { bindings::cpus_read_unlock() };
    }

    /// Returns the instances of the CPUs that are offline; without the lock they need not stay so.
    fn offline(&self) -> impl Iterator<Item = &Atomic<T>> {
        // SAFETY: May be called in any context, with any number.
        let next = |cpu: &c_int| match unsafe { bindings::next_possible_cpu(*cpu) } {
            cpu if cpu < 0 => None,
            cpu => Some(cpu),
        };

        core::iter::successors(next(&-1), next)
            // SAFETY: This is the number of a possible CPU.
            .filter(|cpu| !unsafe { bindings::cpu_online(*cpu) })
            // SAFETY: This is the number of a possible CPU.
            .map(|cpu| unsafe { self.of_cpu(cpu) })
    }
}

#[macros::kunit_tests(rust_percpu_elsewhere)]
mod tests {
    use super::*;
    use crate::{
        percpu::with_irqs_off,
        prelude::*,
        sync::atomic::Relaxed, //
    };

    #[test]
    fn only_those_that_are_wanted() -> Result {
        let numbers = PerCpu::<u32>::new_zeroed()?;
        let (calls, sum) = (Atomic::<u32>::new(0), Atomic::<u32>::new(0));
        let gather = || {
            numbers.call_online(
                |number| number.load(Relaxed) != 0,
                |number, irqs_off| {
                    assert!(core::ptr::eq(number, numbers.this_cpu(irqs_off)));
                    calls.add(1, Relaxed);
                    sum.add(number.load(Relaxed), Relaxed);
                    number.store(0, Relaxed);
                },
            );
        };

        gather();
        assert_eq!(calls.load(Relaxed), 0);
        // On all CPUs there is something, and then on one.
        numbers.call_online(|_| true, |number, _| number.store(5, Relaxed));
        gather();
        let cpus = calls.load(Relaxed);

        assert!(cpus >= 1);
        assert_eq!(sum.load(Relaxed), 5 * cpus);
        gather();
        assert_eq!(calls.load(Relaxed), cpus);
        with_irqs_off(|irqs_off| numbers.this_cpu(irqs_off).store(1, Relaxed));
        gather();
        assert_eq!(calls.load(Relaxed), cpus + 1);
        assert_eq!(sum.load(Relaxed), 5 * cpus + 1);
        Ok(())
    }

    #[test]
    fn what_is_online_is_not_offline() -> Result {
        let numbers = PerCpu::<u32>::new_zeroed()?;

        numbers.call_online(|_| true, |number, _| number.store(1, Relaxed));
        // The rest.
        numbers.for_each_offline(|_| true, |number| number.add(2, Relaxed));
        numbers.call_online(|_| true, |number, _| assert_eq!(number.load(Relaxed), 1));
        numbers.for_each_offline(|_| false, |_| assert!(false));
        Ok(())
    }
}
