// SPDX-License-Identifier: GPL-2.0

//! Objects of a slab cache as work items.

use super::{
    Cached,
    SlabArc, //
};
use crate::{
    bindings,
    workqueue::{
        HasWork,
        RawWorkItem,
        Work,
        WorkItem,
        WorkItemPointer, //
    },
};

// SAFETY: The `__enqueue` implementation below uses a `work_struct` initialised with the `run`
// method of this trait, because `T: HasWork<T, ID>` and `Work::new()` takes it from
// `T: WorkItem<ID, Pointer = Self>`.
unsafe impl<T, const ID: u64> WorkItemPointer<ID> for SlabArc<T>
where
    T: Cached + WorkItem<ID, Pointer = Self> + HasWork<T, ID>,
{
    unsafe extern "C" fn run(ptr: *mut bindings::work_struct) {
        // The `__enqueue` method always uses a `work_struct` stored in a `Work<T, ID>`.
        let ptr = ptr.cast::<Work<T, ID>>();
        // SAFETY: This computes the pointer that `__enqueue` got from `into_raw()`.
        let ptr = unsafe { T::work_container_of(ptr) };
        // SAFETY: This pointer comes from `into_raw()` and we've been given back ownership.
        let this = unsafe { SlabArc::from_raw(ptr) };

        T::run(this)
    }
}

// SAFETY: The reference keeps the object, and with it the `work_struct`, for the call of the
// closure. If that returns true the reference belongs to `run()`, and keeps it until then.
unsafe impl<T, const ID: u64> RawWorkItem<ID> for SlabArc<T>
where
    T: Cached + WorkItem<ID, Pointer = Self> + HasWork<T, ID>,
{
    type EnqueueOutput = Result<(), Self>;

    unsafe fn __enqueue<F>(self, queue_work_on: F) -> Self::EnqueueOutput
    where
        F: FnOnce(*mut bindings::work_struct) -> bool,
    {
        let ptr = SlabArc::into_raw(self).cast_mut();

        // SAFETY: `into_raw()` has returned a pointer to a valid `T`, whose reference is still
        // ours.
        let work_ptr = unsafe { Work::raw_get(T::raw_get_work(ptr)) };

        if queue_work_on(work_ptr) {
            Ok(())
        } else {
            // SAFETY: The work queue has not taken ownership of the pointer.
            Err(unsafe { SlabArc::from_raw(ptr) })
        }
    }
}

#[macros::kunit_tests(rust_slab_work)]
mod tests {
    use crate::{
        percpu::with_irqs_off,
        prelude::*,
        slab::{
            Backing,
            Cached,
            KmemCache,
            SlabArc,
            SlabArcInner,
            SlabSlot, //
        },
        sync::{
            atomic::{
                Atomic,
                Relaxed, //
            },
            WaitGroup,
            WaitToken, //
        },
        workqueue::{
            self,
            impl_has_work,
            new_work,
            Work,
            WorkItem, //
        },
    };

    enum Jobs {}

    static JOBS: KmemCache<Jobs> = KmemCache::new(c"rust_kunit_job");
    static RUNS: Atomic<u32> = Atomic::new(0);

    impl Backing for Jobs {
        type Largest = SlabArcInner<Job>;
        const CACHE: &'static KmemCache<Self> = &JOBS;
    }

    #[pin_data]
    struct Job {
        _token: WaitToken,
        #[pin]
        work: Work<Job>,
    }

    impl Cached for Job {
        type Backing = Jobs;
    }

    impl_has_work! {
        impl HasWork<Self> for Job { self.work }
    }

    impl WorkItem for Job {
        type Pointer = SlabArc<Self>;

        fn run(_this: SlabArc<Self>) {
            RUNS.fetch_add(1, Relaxed);
        }
    }

    #[test]
    fn an_object_is_queued_once() -> Result {
        JOBS.init()?;

        // Returns when the object has gone.
        WaitGroup::scope(|group| -> Result {
            let job = SlabSlot::alloc(GFP_KERNEL)?
                .init(pin_init!(Job {
                    _token: group.token(),
                    work <- new_work!(),
                }))?
                .share();
            let queue = workqueue::system_percpu();
            // The worker is one of this CPU, and can't run yet.
            with_irqs_off(|_| {
                assert!(queue.enqueue(job.clone()).is_ok());
                // The reference comes back.
                assert!(queue.enqueue(job).is_err());
            });
            Ok(())
        })?;
        assert_eq!(RUNS.load(Relaxed), 1);
        Ok(())
    }
}
