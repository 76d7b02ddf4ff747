// SPDX-License-Identifier: GPL-2.0

//! What the KUnit cases of the sources do not do: C's pointers, and threads that meet. A thread is
//! a CPU.

use crate::{
    aio::cancel::{CancelList, CancelNode, CancellableRw},
    bindings,
    fs::{AsyncKiocb, HasAsyncKiocb},
    prelude::*,
    slab::*,
    slots::Slots,
    sync::{
        atomic::{Atomic, Relaxed},
        rcu_table::{RcuPointer, RcuTable},
        staged::{EndedWork, InFlight, Staged, StagedInner, StagedList, StagedOwner, StagedRef},
        ReadSection, SpinLock,
    },
    types::Opaque,
};
use core::ffi::c_void;
use pin_init::stack_pin_init;
use std::{sync::Arc, thread};

/// Pointers to memory that is shared by rules the compiler does not know.
#[derive(Clone, Copy)]
struct Shared<T>(T);

unsafe impl<T> Send for Shared<T> {}

impl<T> Shared<T> {
    fn get(self) -> T {
        self.0
    }
}

// A read or write that a driver makes cancellable.

#[pin_data]
struct Rw {
    before: u64,
    #[pin]
    kiocb: AsyncKiocb,
    #[pin]
    node: CancelNode,
    list: Arc<Pin<Box<CancelList>>>,
}

impl CancellableRw for Rw {
    fn cancel_list(&self) -> &CancelList {
        &self.list
    }
}

crate::kiocb_set_cancel_fn! {
    impl TheAioRw for Rw { self.kiocb, self.node }
}

unsafe extern "C" fn cancel_it(kiocb: *mut bindings::kiocb) -> i32 {
    // A driver uses the structure that it knows.
    unsafe { (*kiocb).private = core::ptr::null_mut() };
    0
}

#[cfg(test)]
fn boxed<T, E: core::fmt::Debug>(init: impl PinInit<T, E>) -> *mut T {
    let place = Box::into_raw(Box::<T>::new_uninit()).cast::<T>();

    unsafe { pin_init::raw_try_init(place, init) }.expect("an object");
    place
}

#[test]
fn a_driver_cancels() {
    let list = Arc::new(unsafe { Pin::new_unchecked(Box::from_raw(boxed(CancelList::new()))) });

    for way in 0..3 {
        let its_list = list.clone();
        let rw = boxed(pin_init!(Rw {
            before: 1,
            kiocb <- pin_init!(AsyncKiocb {
                kiocb: Opaque::new(bindings::kiocb {
                    ki_flags: Rw::FLAGS,
                    ..pin_init::zeroed()
                }),
            }),
            node <- CancelNode::new(7),
            list: its_list,
        }));

        // The driver has the pointer that ->read_iter() was called with.
        let kiocb = unsafe { rw.byte_add(Rw::OFFSET) }.cast::<bindings::kiocb>();
        unsafe { bindings::kiocb_set_cancel_fn(kiocb, Some(cancel_it)) };

        match way {
            0 => assert_eq!(list.cancel(7, 8), Ok(())),
            1 => list.cancel_all(),
            _ => crate::aio::cancel::ended(unsafe { &*rw }),
        }
        assert_eq!(list.cancel(7, 8), Err(EINVAL));
        drop(unsafe { Box::from_raw(rw) });
    }
}

// Slots of a ring, which several CPUs take and give back.

#[test]
fn slots_of_many_cpus() {
    let slots = Arc::new(Slots::new(126, 4).expect("slots"));
    let threads: Vec<_> = (0..3)
        .map(|n| {
            let slots = slots.clone();

            thread::spawn(move || {
                for i in 0..10 {
                    let taken = slots.take(1 + (n + i) % 20);

                    assert!(taken <= 126);
                    if taken != 0 {
                        slots.put(taken);
                    }
                }
                0
            })
        })
        .collect();

    for thread in threads {
        thread.join().expect("a thread");
    }
    assert!((0..1000).take_while(|_| slots.take(1) == 1).count() <= 126);
}

// Objects that are counted, taken apart, and whose memory is used again.

struct Counted {
    value: Box<u32>,
    result: Atomic<isize>,
}

enum CountedMemory {}

static COUNTED: KmemCache<CountedMemory> = KmemCache::new(c"counted");

impl Backing for CountedMemory {
    type Largest = SlabArcInner<Counted>;
    const CACHE: &'static KmemCache<Self> = &COUNTED;
}

impl Cached for Counted {
    type Backing = CountedMemory;
}

crate::impl_dismantle! {
    impl Dismantle for Counted {
        taken {}
        moved { value: Box<u32> }
        dropped { result }
    }
}

#[test]
fn the_last_reference_sees_all() {
    COUNTED.init().expect("a cache");
    let mut pool = SlabPool::new(2).expect("a pool");

    for n in 0..20u32 {
        let mut batch = SlabBatch::<_, 4>::new();
        pool.take_batch(&mut batch, 1);
        let slot = batch.pop().unwrap_or_else(|| SlabSlot::alloc(GFP_KERNEL).expect("memory"));
        let (submission, completion) = slot
            .init(Counted { value: Box::new(n), result: Atomic::new(0) })
            .unwrap_or_else(|never| match never {})
            .share_two();

        let put = move |this: SlabArc<Counted>| {
            this.into_unique().map(|unique| {
                assert_eq!(unique.result.load(Relaxed), 5);
                unique.dismantle()
            })
        };
        let other = thread::spawn(move || {
            completion.result.store(5, Relaxed);
            put(completion)
        });
        let mine = put(submission);
        let theirs = other.join().expect("a thread");

        assert!(mine.is_some() != theirs.is_some());
        let ((value,), slot) = mine.or(theirs).expect("the last one");
        drop(pool.put(slot));
        assert_eq!(*value, n);
    }
}

// Contexts in a table: found and used by one thread, ended by another.

#[pin_data(PinnedDrop)]
struct Object {
    id: usize,
    #[pin]
    ended: SpinLock<EndedWork<Object>>,
    drained: Arc<std::sync::atomic::AtomicBool>,
}

#[pinned_drop]
impl PinnedDrop for Object {
    fn drop(self: Pin<&mut Self>) {
        assert!(self.drained.load(std::sync::atomic::Ordering::Relaxed));
    }
}

enum ObjectMemory {}

static OBJECTS: KmemCache<ObjectMemory> = KmemCache::new(c"objects");
static ALL: StagedList<Object> = StagedList::new();

impl Backing for ObjectMemory {
    type Largest = StagedInner<Object>;
    const CACHE: &'static KmemCache<Self> = &OBJECTS;
}

impl Staged for Object {
    type Backing = ObjectMemory;
    const ALL: &'static StagedList<Self> = &ALL;

    fn with_ended<R>(&self, f: impl FnOnce(&mut EndedWork<Self>) -> R) -> R {
        f(&mut self.ended.lock())
    }

    fn users_gone(&self) {}

    fn drained(&self) {
        self.drained.store(true, std::sync::atomic::Ordering::Relaxed);
    }
}

struct Entry(StagedOwner<Object>);

unsafe impl Send for Entry {}
unsafe impl Sync for Entry {}

unsafe impl RcuPointer for Entry {
    type Borrowed<'a> = StagedRef<'a, Object>;

    fn into_raw(self) -> *mut c_void {
        self.0.into_raw()
    }

    unsafe fn from_raw(ptr: *mut c_void) -> Self {
        Self(unsafe { StagedOwner::from_raw(ptr) })
    }

    unsafe fn borrow<'a>(ptr: *mut c_void) -> Self::Borrowed<'a> {
        unsafe { StagedRef::from_raw(ptr) }
    }
}

#[test]
fn contexts_end_while_they_are_used() {
    OBJECTS.init().expect("a cache");
    ALL.init();

    struct Mm {
        head: Opaque<*mut c_void>,
        lock: bindings::spinlock_t,
    }

    for round in 0..4 {
        let mm = Box::into_raw(Box::new(Mm {
            head: Opaque::new(core::ptr::null_mut()),
            lock: bindings::spinlock_t::new(),
        }));
        let shared = Shared(mm);
        let table = move || unsafe {
            let mm = shared.get();

            RcuTable::<'static, Entry>::from_raw((*mm).head.get(), &raw mut (*mm).lock)
        };
        let all: Vec<_> = (0..6)
            .map(|_| Arc::new(std::sync::atomic::AtomicBool::new(false)))
            .collect();
        let insert = {
            let all = all.clone();

            move |id: usize| {
                let drained = all[id].clone();
                let owner = StagedOwner::new(|ended| {
                    pin_init!(Object {
                        id,
                        ended <- crate::new_spinlock!(ended),
                        drained,
                    })
                })
                .expect("an object");

                assert!(table().insert(Entry(owner), |_, _| ()).is_ok());
            }
        };

        insert(0);
        insert(1);
        let user = thread::spawn(move || {
            let mut works: Vec<InFlight<Object>> = Vec::new();

            for i in 0..12 {
                let section = ReadSection::new();
                let found = table().get(i % 6, &section);
                let user = found.and_then(|object| object.try_use(&section));

                drop(section);
                if let Some(user) = user {
                    assert!(user.id < 6);
                    works.push(user.start_work());
                }
                if i % 3 == 2 {
                    works.pop();
                }
            }
            for work in works {
                let section = ReadSection::new();
                let object = work.under_rcu(&section);

                object.with_ended(|ended| work.end(ended));
                assert!(object.id < 6);
            }
        });
        // The table is replaced by a larger one meanwhile.
        (2..6).for_each(insert);
        for id in 0..3 {
            drop(table().lock().remove((id + round) % 6));
            bindings::rcu_try_callbacks();
        }
        ALL.visit(3, |object| assert!(object.id < 6));
        user.join().expect("a thread");
        // The address space goes.
        unsafe {
            table().drain(|entry| entry.0.shutdown_alone());
            drop(Box::from_raw(mm));
        }
        bindings::rcu_barrier();
        assert!(all.iter().all(|drained| drained.load(std::sync::atomic::Ordering::Relaxed)));
        assert!(ALL.is_empty());
    }
}
