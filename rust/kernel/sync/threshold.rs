// SPDX-License-Identifier: GPL-2.0

//! Sleeping until there is enough of something.
//!
//! C headers: [`include/linux/wait.h`](srctree/include/linux/wait.h),
//! [`include/linux/hrtimer.h`](srctree/include/linux/hrtimer.h)

use crate::{
    bindings,
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        barrier::{
            smp_mb,
            Full, //
        },
        LockClassKey, //
    },
    task::{
        Task,
        TASK_INTERRUPTIBLE, //
    },
    types::Opaque, //
};
use core::ptr;

/// How long to wait.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Timeout {
    /// For this many nanoseconds of `CLOCK_MONOTONIC`, from now on.
    ///
    /// The timer takes any value: what C programs pass to relative timers is not checked there.
    Nanos(i64),
    /// Until woken.
    Never,
}

impl Timeout {
    /// Returns whether the time is over at once, so that there is no need to wait.
    #[inline]
    pub fn is_zero(self) -> bool {
        self == Timeout::Nanos(0)
    }
}

/// What [`ThresholdQueue::wait()`] is told by the code that looks for what is waited for.
pub enum WaitStep {
    /// There is enough.
    Done,
    /// This much is still missing, and some was found: look again before sleeping.
    Again(usize),
    /// This much is still missing.
    Sleep(usize),
}

/// Tasks that wait, each for an amount of its own.
///
/// The task that provides what they wait for passes how much there is; only those waiters are woken
/// for which that is enough.
///
/// # Examples
///
/// ```
/// use kernel::sync::{
///     atomic::{
///         Atomic,
///         Relaxed, //
///     },
///     new_threshold_queue,
///     threshold::{
///         Timeout,
///         WaitStep, //
///     },
/// };
///
/// let queue = KBox::pin_init(new_threshold_queue!(), GFP_KERNEL)?;
/// let there = Atomic::new(2usize);
///
/// there.fetch_add(1, Relaxed);
/// queue.wake(there.load(Relaxed));
/// // Three are wanted, and three are there.
/// queue.wait(Timeout::Never, 3, || match there.load(Relaxed) {
///     n if n >= 3 => WaitStep::Done,
///     n => WaitStep::Sleep(3 - n),
/// });
/// # Ok::<(), Error>(())
/// ```
#[pin_data]
pub struct ThresholdQueue {
    #[pin]
    head: Opaque<bindings::wait_queue_head>,
}

// SAFETY: A wait queue can be used from any context.
unsafe impl Send for ThresholdQueue {}

// SAFETY: A wait queue synchronises itself.
unsafe impl Sync for ThresholdQueue {}

/// Creates a [`ThresholdQueue`] initialiser with the given name and a newly-created lock class.
#[macro_export]
macro_rules! new_threshold_queue {
    ($($name:literal)?) => {
        $crate::sync::ThresholdQueue::new(
            $crate::optional_name!($($name)?), $crate::static_lock_class!())
    };
}
pub use new_threshold_queue;

/// A task in the queue.
///
/// # Invariants
///
/// Lies on the stack of the task that waits, and is pinned.
#[repr(C)]
#[pin_data(PinnedDrop)]
struct Waiter<'a> {
    #[pin]
    entry: Opaque<bindings::wait_queue_entry>,
    /// Written by the task that waits. The one that wakes it may see an older value, until the
    /// waiter has been through `prepare_to_wait_event()`.
    threshold: Atomic<usize>,
    queue: &'a ThresholdQueue,
}

#[pinned_drop]
impl PinnedDrop for Waiter<'_> {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: Both were initialised, and this is the task that waits.
        unsafe { bindings::finish_wait(self.queue.head.get(), self.entry.get()) };
    }
}

/// A timer that wakes the current task.
#[pin_data(PinnedDrop)]
struct Sleeper {
    #[pin]
    inner: Opaque<bindings::hrtimer_sleeper>,
}

impl Sleeper {
    fn new(timeout: Timeout) -> impl PinInit<Self> {
        pin_init!(Self {
            inner <- Opaque::ffi_init(move |slot: *mut bindings::hrtimer_sleeper| {
                let clock = bindings::CLOCK_MONOTONIC as i32;
                let mode = bindings::hrtimer_mode_HRTIMER_MODE_REL;

                // SAFETY: `slot` is valid for writes and on the stack of the current task, see
                // `ThresholdQueue::wait()`.
                unsafe { bindings::hrtimer_setup_sleeper_on_stack(slot, clock, mode) };
                if let Timeout::Nanos(nanos) = timeout {
                    // SAFETY: `slot` is valid.
                    let timer = unsafe { &raw mut (*slot).timer };
                    // SAFETY: The current task is valid.
                    let slack = unsafe { (*Task::current_raw()).timer_slack_ns };

                    // SAFETY: The timer was just set up, and has not been started.
                    unsafe { bindings::hrtimer_set_expires_range_ns(timer, nanos, slack) };
                    // SAFETY: The sleeper was just set up. It is cancelled before it is gone, in
                    // the destructor.
                    unsafe { bindings::hrtimer_sleeper_start_expires(slot, mode) };
                }
            }),
        })
    }

    /// Returns whether the timer has expired.
    fn expired(&self) -> bool {
        // The timer writes null when it goes off: `READ_ONCE()`.
        //
        // SAFETY: The sleeper was set up.
        unsafe { (&raw const (*self.inner.get()).task).read_volatile() }.is_null()
    }
}

#[pinned_drop]
impl PinnedDrop for Sleeper {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: The sleeper is valid.
        let timer = unsafe { &raw mut (*self.inner.get()).timer };

        // SAFETY: The timer was set up, and this is a task, which may wait for its function.
        unsafe { bindings::hrtimer_cancel(timer) };
        // SAFETY: The timer was set up on this stack, and does not run.
        unsafe { bindings::destroy_hrtimer_on_stack(timer) };
    }
}

impl ThresholdQueue {
    /// Constructs an initialiser, see [`new_threshold_queue!`].
    pub fn new(name: &'static CStr, key: Pin<&'static LockClassKey>) -> impl PinInit<Self> {
        pin_init!(Self {
            // SAFETY: `slot` is valid for writes; name and key are static.
            head <- Opaque::ffi_init(|slot| unsafe {
                bindings::__init_waitqueue_head(slot, name.as_char_ptr(), key.as_ptr())
            }),
        })
    }

    /// Waits until `look` says that it is done, a signal comes, or the time is over.
    ///
    /// `threshold` is what is missing now; `look` then tells each time it is called. It is called
    /// at least once after the last thing that could have woken the task, so that what came
    /// together with a signal or with the end of the time is not overlooked. It may sleep, though
    /// it had better not do so often: it runs when the task is already marked as sleeping.
    ///
    /// Must be called by a task, in a context that may sleep.
    #[doc(alias = "wait_event_interruptible_hrtimeout")]
    pub fn wait(&self, timeout: Timeout, mut threshold: usize, mut look: impl FnMut() -> WaitStep) {
        pin_init::stack_pin_init!(let sleeper = Sleeper::new(timeout));
        pin_init::stack_pin_init!(let waiter = pin_init!(Waiter {
            entry <- Opaque::ffi_init(|slot| {
                // SAFETY: `slot` is valid for writes.
                unsafe { bindings::init_wait(slot) }
            }),
            threshold: Atomic::new(threshold),
            queue: self,
        }));
        let waiter = waiter.into_ref().get_ref();
        // What is put into the queue is a pointer to all of the waiter: `wake_slow()` gets from the
        // entry to the threshold.
        //
        // SAFETY: The waiter is valid.
        let entry = Opaque::cast_into(unsafe { &raw const (*ptr::from_ref(waiter)).entry });
        let head = self.head.get();

        loop {
            waiter.threshold.store(threshold, Relaxed);

            // SAFETY: Both were initialised. The entry leaves the queue before its memory is used
            // again, in the destructor of `Waiter`.
            let signal =
                unsafe { bindings::prepare_to_wait_event(head, entry, TASK_INTERRUPTIBLE) } != 0;
            let over = signal || sleeper.expired();

            // SAFETY: May be called by any task.
            unsafe { bindings::sched_annotate_sleep() };
            let step = look();

            if over {
                return;
            }
            match step {
                WaitStep::Done => return,
                WaitStep::Again(left) => threshold = left,
                WaitStep::Sleep(left) => {
                    threshold = left;
                    // SAFETY: This is a context that may sleep.
                    unsafe { bindings::schedule() };
                }
            }
        }
    }

    /// Wakes those for whom `amount` is enough.
    ///
    /// What they wait for must have been made visible before. May be called in any context. Costs a
    /// full barrier when nobody waits.
    #[inline]
    pub fn wake(&self, amount: usize) {
        // Orders what the caller has stored before the look at the queue. Pairs with the barrier of
        // `set_current_state()` in `prepare_to_wait_event()`: either the waiter sees what was
        // stored, or it is seen here.
        smp_mb(Full);

        // SAFETY: The queue was initialised.
        if unsafe { bindings::waitqueue_active(self.head.get()) } != 0 {
            self.wake_slow(amount);
        }
    }

    #[cold]
    fn wake_slow(&self, amount: usize) {
        let head = self.head.get();

        // SAFETY: The queue is valid.
        let (lock, list) = unsafe { (&raw mut (*head).lock, &raw mut (*head).head) };

        // SAFETY: The lock was initialised with the queue.
        let flags = unsafe { bindings::spin_lock_irqsave(lock) };
        // SAFETY: Entries are added and removed with the lock held.
        let mut node = unsafe { (*list).next };

        while node != list {
            // SAFETY: The node is in the list, and the lock held: the task of a waiter can't return
            // while its entry is in the queue, because `finish_wait()` takes the lock, too, unless
            // it sees the entry removed.
            let next = unsafe { (*node).next };
            // SAFETY: A node of the list is that of an entry.
            let entry = unsafe { crate::container_of!(node, bindings::wait_queue_entry, entry) };
            let waiter = entry.cast::<Waiter<'_>>();

            // SAFETY: The entry is the first field of a `Waiter`, and the pointer is one to all of
            // it, see `wait()`. As the node, the waiter is there.
            if amount >= unsafe { (*waiter).threshold.load(Relaxed) } {
                // SAFETY: `init_wait()` has set `private` to the task, which waits still.
                unsafe { bindings::wake_up_process((*entry).private.cast()) };
                // The last access: the waiter may be gone as soon as it sees this.
                //
                // SAFETY: The node is in the list, and the lock held.
                unsafe { bindings::list_del_init_careful(node) };
            }
            node = next;
        }
        // SAFETY: The lock was taken above, with these flags.
        unsafe { bindings::spin_unlock_irqrestore(lock, flags) };
    }

    /// Wakes everybody.
    ///
    /// May be called in any context.
    #[doc(alias = "wake_up_all")]
    pub fn wake_all(&self) {
        let (head, mode) = (self.head.get(), bindings::TASK_NORMAL);

        // SAFETY: The queue was initialised.
        unsafe { bindings::__wake_up(head, mode, 0, ptr::null_mut()) };
    }
}

#[kunit_tests(rust_sync_threshold)]
mod tests {
    use super::*;
    use crate::{
        sync::Arc,
        workqueue::{
            self,
            impl_has_work,
            new_work,
            Work,
            WorkItem, //
        },
    };

    /// Something that a work item provides one by one.
    #[pin_data]
    struct Source {
        amount: Atomic<usize>,
        rounds: usize,
        #[pin]
        queue: ThresholdQueue,
        #[pin]
        work: Work<Source>,
    }

    impl_has_work! {
        impl HasWork<Self> for Source { self.work }
    }

    impl WorkItem for Source {
        type Pointer = Arc<Self>;

        fn run(this: Arc<Self>) {
            for _ in 0..this.rounds {
                let amount = this.amount.fetch_add(1, Relaxed) + 1;

                this.queue.wake(amount);
            }
        }
    }

    impl Source {
        fn new(rounds: usize) -> Result<Arc<Self>> {
            Arc::pin_init(
                pin_init!(Self {
                    amount: Atomic::new(0),
                    rounds,
                    queue <- new_threshold_queue!(),
                    work <- new_work!(),
                }),
                GFP_KERNEL,
            )
        }
    }

    #[test]
    fn woken_when_there_is_enough() -> Result {
        let source = Source::new(100)?;
        let missing = |source: &Source| 100 - source.amount.load(Relaxed);

        let _ = workqueue::system_percpu().enqueue(source.clone());
        source.queue.wait(Timeout::Never, missing(&source), || {
            match missing(&source) {
                0 => WaitStep::Done,
                // What it had when the wait began: the amount that is told is that of all.
                _ => WaitStep::Sleep(100),
            }
        });
        assert_eq!(missing(&source), 0);
        Ok(())
    }

    #[test]
    fn time_is_over() -> Result {
        let source = Source::new(0)?;
        let mut looks = 0;

        source.queue.wait(Timeout::Nanos(1), 1, || {
            looks += 1;
            WaitStep::Sleep(1)
        });
        // The last look is after the time was over.
        assert!(looks >= 1);
        Ok(())
    }

    #[test]
    fn looks_again_without_sleeping() -> Result {
        let source = Source::new(0)?;
        let mut looks = 0;

        source.queue.wait(Timeout::Never, 3, || {
            looks += 1;
            if looks == 3 {
                WaitStep::Done
            } else {
                WaitStep::Again(3 - looks)
            }
        });
        assert_eq!(looks, 3);
        Ok(())
    }
}
