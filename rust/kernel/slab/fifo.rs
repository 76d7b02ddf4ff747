// SPDX-License-Identifier: GPL-2.0

//! Queues of objects of slab caches, for a bounded number of workers.

use super::{
    Cached,
    Dismantle,
    SlabArc, //
};
use crate::{
    bindings,
    prelude::*,
    static_lock_class,
    sync::{
        atomic::{
            Acquire,
            Atomic,
            Relaxed,
            Release, //
        },
        SpinLockIrqSave, //
    },
    types::Opaque, //
};
use core::{
    marker::{
        PhantomData,
        PhantomPinned, //
    },
    ptr::null_mut, //
};

/// The place of an object in a [`Fifo`].
///
/// # Invariants
///
/// `fifo` is the queue that the object is in, or null. `links` is in the list of that queue, and
/// accessed with its lock held; otherwise it is not used.
#[pin_data(PinnedDrop)]
pub struct FifoLinks {
    #[pin]
    links: Opaque<bindings::list_head>,
    fifo: Atomic<*mut ()>,
    #[pin]
    _pin: PhantomPinned,
}

// SAFETY: By the type invariants `links` is accessed with the lock of a queue held.
unsafe impl Sync for FifoLinks {}

// SAFETY: The links belong to no thread; they are pinned, so that the queue finds them.
unsafe impl Send for FifoLinks {}

impl FifoLinks {
    /// The object is in no queue.
    #[inline]
    pub fn new() -> impl PinInit<Self> {
        // INVARIANT: It is in no queue.
        pin_init!(Self {
            links <- Opaque::ffi_init(|slot| {
                // SAFETY: `slot` is valid for writes.
                unsafe { bindings::INIT_LIST_HEAD(slot) }
            }),
            fifo: Atomic::new(null_mut()),
            _pin: PhantomPinned,
        })
    }

    /// An object in a queue has a reference, which is the queue's, and so does not end.
    #[inline]
    fn assert_alone(&self) {
        debug_assert!(self.fifo.load(Relaxed).is_null());
    }
}

#[pinned_drop]
impl PinnedDrop for FifoLinks {
    fn drop(self: Pin<&mut Self>) {
        self.assert_alone();
    }
}

// SAFETY: There is nothing to be given back. What ends is in no queue, which would have a
// reference.
unsafe impl Dismantle for FifoLinks {
    type Parts = ();

    #[inline]
    unsafe fn dismantle(this: *mut Self) {
        // SAFETY: By the contract of `Dismantle::dismantle()`, `this` points to valid `FifoLinks`.
        unsafe { &*this }.assert_alone();
    }
}

/// Types that have [`FifoLinks`] in them.
///
/// # Safety
///
/// `OFFSET` must be the offset of a field of this type, which is a `FifoLinks`. To be implemented
/// with [`impl_has_fifo_links!`](crate::impl_has_fifo_links).
pub unsafe trait HasFifoLinks {
    /// The offset of the field.
    const OFFSET: usize;
}

/// Implements [`HasFifoLinks`] for a type with such a field.
#[macro_export]
macro_rules! impl_has_fifo_links {
    (impl HasFifoLinks for $self:ty { self.$($field:ident).+ }) => {
        // SAFETY: The compiler computes the offset, and checks the type of the field below, which a
        // raw pointer shows as it is.
        unsafe impl $crate::slab::HasFifoLinks for $self {
            const OFFSET: usize = {
                let _ = |this: &Self| -> *const $crate::slab::FifoLinks {
                    &raw const this.$($field).+
                };

                ::core::mem::offset_of!(Self, $($field).+)
            };
        }
    };
}
pub use impl_has_fifo_links;

/// The worker that is needed for what is in a [`Fifo`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "what is in the queue waits for a worker"]
pub enum Hire {
    /// There are workers enough.
    Nobody,
    /// A worker, which is the only one.
    First,
    /// A worker, one of several.
    Another,
}

/// The workers of a queue.
struct Workers {
    /// How many there are.
    nr: usize,
    /// One of them has not called [`Fifo::pop()`] yet.
    coming: bool,
}

/// A queue of objects that a bounded number of workers takes them from, in the order in which they
/// were put there.
///
/// A worker is a task that calls [`pop()`](Self::pop) until there is nothing left. The queue counts
/// them, and says when there has to be one more: when something is in it, all workers are busy, and
/// no other has been asked for. So there are two for many objects that take a short time each, and
/// up to the maximum for objects that take long.
///
/// The queue has a reference to each object that is in it.
///
/// # Invariants
///
/// `head` is the head of a list of the [`FifoLinks`] of objects `T`, whose `fifo` is this queue,
/// and one reference of each belongs to the queue. It is accessed with `lock` held.
#[pin_data(PinnedDrop)]
pub struct Fifo<T: Cached + HasFifoLinks> {
    #[pin]
    lock: SpinLockIrqSave<Workers>,
    #[pin]
    head: Opaque<bindings::list_head>,
    max_workers: usize,
    _p: PhantomData<SlabArc<T>>,
}

// SAFETY: By the type invariants the list is accessed with the lock held. A shared queue hands
// references of objects from one thread to another.
unsafe impl<T: Cached + HasFifoLinks + Send + Sync> Sync for Fifo<T> {}

// SAFETY: The queue belongs to no thread, and its objects may go to another.
unsafe impl<T: Cached + HasFifoLinks + Send + Sync> Send for Fifo<T> {}

impl<T: Cached + HasFifoLinks> Fifo<T> {
    /// Initialises an empty queue for so many workers.
    pub fn new(max_workers: usize) -> impl PinInit<Self> {
        // Other crates may have copies of this function, but lockdep wants one name for one key.
        static NAME: &CStr = c"Fifo::lock";

        pin_init!(Self {
            lock <- SpinLockIrqSave::new(
                Workers { nr: 0, coming: false },
                NAME,
                static_lock_class!(),
            ),
            head <- Opaque::ffi_init(|slot| {
                // SAFETY: `slot` is valid for writes.
                unsafe { bindings::INIT_LIST_HEAD(slot) }
            }),
            max_workers: max_workers.max(1),
            _p: PhantomData,
        })
    }

    /// Returns the links of an object.
    #[inline]
    fn links(this: &T) -> &FifoLinks {
        // SAFETY: `OFFSET` is that of a `FifoLinks` in a `T`, see `HasFifoLinks`.
        unsafe { &*core::ptr::from_ref(this).byte_add(T::OFFSET).cast() }
    }

    #[inline]
    fn name(&self) -> *mut () {
        core::ptr::from_ref(self).cast_mut().cast()
    }

    /// Puts an object into the queue, as the last one. The caller has to make sure that the worker
    /// comes that is asked for, which is counted already.
    ///
    /// May be called in any context.
    ///
    /// # Errors
    ///
    /// The reference, if the object is in a queue.
    pub fn push(&self, object: SlabArc<T>) -> Result<Hire, SlabArc<T>> {
        // SAFETY: The guard lives until this returns; nothing else disables interrupts meanwhile.
        let mut workers = unsafe { self.lock.lock() };
        let fifo = &Self::links(&*object).fifo;

        // The acquire pairs with the release in `take()`, which has taken it out of another queue.
        if fifo.cmpxchg(null_mut(), self.name(), Acquire).is_err() {
            return Err(object);
        }
        // The queue finds its way back from the links to the object, so this pointer must be made
        // from one to the object, not from a reference to its field.
        let object: *const T = object.into_raw();
        // SAFETY: `OFFSET` is that of a `FifoLinks` in a `T`, see `HasFifoLinks`; the reference
        // keeps the object.
        let links: *const FifoLinks = unsafe { object.byte_add(T::OFFSET).cast() };
        // SAFETY: This stays within the links, which are valid.
        let links = Opaque::cast_into(unsafe { &raw const (*links).links });

        // INVARIANT: The object was in no queue, and is in this one; its reference is the queue's.
        //
        // SAFETY: The lock is held. The links are initialised and in no list; the reference keeps
        // them.
        unsafe { bindings::list_add_tail(links, self.head.get()) };
        Ok(self.hire(&mut workers))
    }

    /// Takes the object that has been in the queue longest. To be called by a worker, which is no
    /// longer counted as one when there is no object; `first` is whether this is its first call.
    ///
    /// The caller has to make sure that the worker comes that is asked for, before it begins with
    /// the object. May be called in any context.
    pub fn pop(&self, first: bool) -> Option<(SlabArc<T>, Hire)> {
        // SAFETY: The guard lives until this returns; nothing else disables interrupts meanwhile.
        let mut workers = unsafe { self.lock.lock() };
        let head = self.head.get();
        // SAFETY: The lock is held.
        let links = unsafe { (*head).next };

        if first {
            workers.coming = false;
        }
        if links == head {
            workers.nr = workers.nr.saturating_sub(1);
            return None;
        }
        // SAFETY: By the type invariants the list consists of the links of objects.
        let links: *const FifoLinks =
            unsafe { crate::container_of!(Opaque::cast_from(links), FifoLinks, links) };
        // SAFETY: The lock is held, and the links are in the list.
        let object = unsafe { self.take(links) };

        Some((object, self.hire(&mut workers)))
    }

    /// Takes an object out of the queue, whatever its place; `None` if it is not in this queue.
    ///
    /// May be called in any context.
    pub fn remove(&self, object: &T) -> Option<SlabArc<T>> {
        // SAFETY: The guard lives until this returns; nothing else disables interrupts meanwhile.
        let _workers = unsafe { self.lock.lock() };
        let links = Self::links(object);

        // As long as the lock is held nobody puts it into this queue, or takes it out.
        if links.fifo.load(Relaxed) != self.name() {
            return None;
        }
        // The pointer to it that the list has may be used for all of the object.
        //
        // SAFETY: The lock is held, and the links are in the list.
        let this = unsafe { (*(*links.links.get()).prev).next };
        // SAFETY: By the type invariants the list consists of the links of objects.
        let links: *const FifoLinks =
            unsafe { crate::container_of!(Opaque::cast_from(this), FifoLinks, links) };

        // SAFETY: The lock is held, and the links are in the list.
        Some(unsafe { self.take(links) })
    }

    /// A worker that was asked for could not be made. Returns which one is asked for instead, if
    /// there is no other.
    pub fn dismiss(&self) -> Hire {
        // SAFETY: The guard lives until this returns; nothing else disables interrupts meanwhile.
        let mut workers = unsafe { self.lock.lock() };

        workers.coming = false;
        workers.nr = workers.nr.saturating_sub(1);
        match workers.nr {
            0 => self.hire(&mut workers),
            _ => Hire::Nobody,
        }
    }

    /// Counts one more worker, if there has to be one. The lock is held.
    fn hire(&self, workers: &mut Workers) -> Hire {
        let head = self.head.get();

        // SAFETY: The caller holds the lock.
        if workers.coming || workers.nr >= self.max_workers || unsafe { (*head).next } == head {
            return Hire::Nobody;
        }
        workers.coming = true;
        workers.nr += 1;
        match workers.nr {
            1 => Hire::First,
            _ => Hire::Another,
        }
    }

    /// Takes an object out of the queue.
    ///
    /// # Safety
    ///
    /// The lock must be held, and the links be in the list, as that has them.
    unsafe fn take(&self, links: *const FifoLinks) -> SlabArc<T> {
        // SAFETY: The caller guarantees that the links are in the list: they are those of an
        // object that the reference of the queue keeps.
        let (list, fifo) = unsafe { ((*links).links.get(), &(*links).fifo) };

        // SAFETY: The caller holds the lock, and the links are in the list.
        unsafe { bindings::list_del_init(list) };
        // INVARIANT: It is in no queue. Pairs with the acquire in `push()`, which puts it into
        // another.
        fifo.store(null_mut(), Release);
        // SAFETY: These are the links in a `T`, made from a pointer of `into_raw()`, whose
        // reference was the queue's.
        unsafe { SlabArc::from_raw(links.byte_sub(T::OFFSET).cast::<T>()) }
    }
}

#[pinned_drop]
impl<T: Cached + HasFifoLinks> PinnedDrop for Fifo<T> {
    fn drop(self: Pin<&mut Self>) {
        // No worker is left that would take these.
        while self.pop(false).is_some() {}
    }
}

#[macros::kunit_tests(rust_slab_fifo)]
mod tests {
    use super::*;
    use crate::slab::{
        Backing,
        KmemCache,
        SlabArcInner,
        SlabSlot, //
    };
    use pin_init::stack_pin_init;

    enum Objects {}

    static OBJECTS: KmemCache<Objects> = KmemCache::new(c"rust_kunit_fifo");

    impl Backing for Objects {
        type Largest = SlabArcInner<Object>;
        const CACHE: &'static KmemCache<Self> = &OBJECTS;
    }

    #[pin_data]
    struct Object {
        nr: u32,
        #[pin]
        links: FifoLinks,
    }

    impl Cached for Object {
        type Backing = Objects;
    }

    impl_has_fifo_links! {
        impl HasFifoLinks for Object { self.links }
    }

    fn object(nr: u32) -> Result<SlabArc<Object>> {
        OBJECTS.init()?;
        Ok(SlabSlot::alloc(GFP_KERNEL)?
            .init(pin_init!(Object { nr, links <- FifoLinks::new() }))?
            .share())
    }

    fn push(fifo: &Fifo<Object>, nr: u32) -> Result<Hire> {
        fifo.push(object(nr)?).map_err(|_| EBUSY)
    }

    /// Returns the number of the next object, and who is to be found.
    fn pop(fifo: &Fifo<Object>, first: bool) -> Option<(u32, Hire)> {
        fifo.pop(first).map(|(object, hire)| (object.nr, hire))
    }

    #[test]
    fn first_in_first_out() -> Result {
        stack_pin_init!(let fifo = Fifo::new(1));

        assert_eq!(push(&fifo, 0), Ok(Hire::First));
        for nr in 1..5 {
            assert_eq!(push(&fifo, nr), Ok(Hire::Nobody));
        }
        for nr in 0..5 {
            assert_eq!(pop(&fifo, nr == 0), Some((nr, Hire::Nobody)));
        }
        assert_eq!(pop(&fifo, false), None);
        // The worker has left.
        assert_eq!(push(&fifo, 7), Ok(Hire::First));
        // What is in it goes with it.
        Ok(())
    }

    /// One that was asked for is enough until it has come.
    #[test]
    fn workers_when_they_are_needed() -> Result {
        stack_pin_init!(let fifo = Fifo::new(3));

        assert_eq!(push(&fifo, 0), Ok(Hire::First));
        for nr in 1..6 {
            assert_eq!(push(&fifo, nr), Ok(Hire::Nobody));
        }
        // The first sends for the second, and goes on while that comes.
        assert_eq!(pop(&fifo, true), Some((0, Hire::Another)));
        assert_eq!(pop(&fifo, false), Some((1, Hire::Nobody)));
        assert_eq!(pop(&fifo, true), Some((2, Hire::Another)));
        assert_eq!(pop(&fifo, true), Some((3, Hire::Nobody)));
        assert_eq!(pop(&fifo, false), Some((4, Hire::Nobody)));
        assert_eq!(pop(&fifo, false), Some((5, Hire::Nobody)));
        // All three are busy.
        assert_eq!(push(&fifo, 6), Ok(Hire::Nobody));
        assert_eq!(pop(&fifo, false), Some((6, Hire::Nobody)));
        assert_eq!(pop(&fifo, false), None);
        // One has left, and the others are busy.
        assert_eq!(push(&fifo, 7), Ok(Hire::Another));
        assert_eq!(pop(&fifo, true), Some((7, Hire::Nobody)));
        for _ in 0..3 {
            assert_eq!(pop(&fifo, false), None);
        }
        assert_eq!(push(&fifo, 8), Ok(Hire::First));
        Ok(())
    }

    #[test]
    fn workers_who_cannot_be_had() -> Result {
        stack_pin_init!(let fifo = Fifo::new(3));

        assert_eq!(push(&fifo, 0), Ok(Hire::First));
        assert_eq!(push(&fifo, 1), Ok(Hire::Nobody));
        assert_eq!(push(&fifo, 2), Ok(Hire::Nobody));
        assert_eq!(pop(&fifo, true), Some((0, Hire::Another)));
        // There is one, and another is tried to be had with the next object.
        assert_eq!(fifo.dismiss(), Hire::Nobody);
        assert_eq!(pop(&fifo, false), Some((1, Hire::Another)));
        assert_eq!(pop(&fifo, false), Some((2, Hire::Nobody)));
        assert_eq!(pop(&fifo, false), None);
        assert_eq!(push(&fifo, 3), Ok(Hire::Nobody));
        // If there is nobody else, somebody has to be found.
        assert_eq!(fifo.dismiss(), Hire::First);
        assert_eq!(pop(&fifo, true), Some((3, Hire::Nobody)));
        assert_eq!(fifo.dismiss(), Hire::Nobody);
        Ok(())
    }

    #[test]
    fn any_can_be_taken_out() -> Result {
        stack_pin_init!(let fifo = Fifo::new(1));
        stack_pin_init!(let other = Fifo::new(1));
        let objects = [object(0)?, object(1)?, object(2)?];

        for object in &objects {
            assert!(fifo.push(object.clone()).is_ok());
            assert!(!object.is_unique());
        }
        // Once only, and it is in this queue and in no other.
        assert!(other.push(objects[1].clone()).is_err());
        assert!(other.remove(&objects[1]).is_none());
        assert_eq!(fifo.remove(&objects[1]).map(|object| object.nr), Some(1));
        assert!(fifo.remove(&objects[1]).is_none());
        assert!(objects[1].is_unique());
        assert!(other.push(objects[1].clone()).is_ok());
        assert_eq!(fifo.remove(&objects[0]).map(|object| object.nr), Some(0));
        assert_eq!(fifo.remove(&objects[2]).map(|object| object.nr), Some(2));
        assert_eq!(pop(&fifo, true), None);
        assert_eq!(pop(&other, true), Some((1, Hire::Nobody)));
        assert!(objects.iter().all(SlabArc::is_unique));
        Ok(())
    }
}
