// SPDX-License-Identifier: GPL-2.0

//! Lists of objects of any type that somebody is to do something with.

use super::{
    Cached,
    SlabArc, //
};
use crate::{
    prelude::*,
    sync::atomic::{
        Atomic,
        Relaxed, //
    },
    task::IoThread, //
};
use core::{
    cell::Cell,
    marker::PhantomPinned,
    mem::ManuallyDrop,
    ptr::null, //
};

/// The place of an object in a [`JobList`].
///
/// # Invariants
///
/// `list` is the number of the list that this is in, or 0. While it is in a list, the other fields
/// belong to that, and a reference to the object does.
#[pin_data]
pub struct JobLinks {
    list: Atomic<u64>,
    group: u32,
    next: Cell<*const JobLinks>,
    prev: Cell<*const JobLinks>,
    calls: Cell<Option<&'static Calls>>,
    #[pin]
    _pin: PhantomPinned,
}

// SAFETY: By the type invariants what is no atomic is only accessed by the owner of the list.
unsafe impl Sync for JobLinks {}

// SAFETY: The links belong to no thread.
unsafe impl Send for JobLinks {}

impl JobLinks {
    /// Initialises links, which are in no list. `group` is for the owner of the lists, see
    /// [`JobList::first_group()`].
    #[inline]
    pub fn new(group: u32) -> impl PinInit<Self> {
        pin_init!(Self {
            list: Atomic::new(0),
            group,
            next: Cell::new(null()),
            prev: Cell::new(null()),
            calls: Cell::new(None),
            _pin: PhantomPinned,
        })
    }

    /// Returns a number that no other object has that is there at the same time.
    #[inline]
    pub fn id(&self) -> usize {
        core::ptr::from_ref(self) as usize
    }
}

/// What can be done with an object, whatever its type is.
struct Calls {
    run: unsafe fn(*const JobLinks, &IoThread),
    abandon: unsafe fn(*const JobLinks),
    release: unsafe fn(*const JobLinks),
}

/// Types that have [`JobLinks`] in them.
///
/// # Safety
///
/// `OFFSET` must be the offset of a field of this type, which is a `JobLinks`. To be implemented
/// with [`impl_has_job_links!`](crate::impl_has_job_links).
pub unsafe trait HasJobLinks {
    /// The offset of the field.
    const OFFSET: usize;
}

/// Implements [`HasJobLinks`] for a type with such a field.
#[macro_export]
macro_rules! impl_has_job_links {
    (impl $(<$param:ident: $bound:path>)? HasJobLinks for $self:ty { self.$($field:ident).+ }) => {
        // SAFETY: The compiler computes the offset, and checks the type of the field below.
        unsafe impl $(<$param: $bound>)? $crate::slab::HasJobLinks for $self {
            const OFFSET: usize = {
                let _ = |this: &Self| -> *const $crate::slab::JobLinks {
                    &raw const this.$($field).+
                };

                ::core::mem::offset_of!(Self, $($field).+)
            };
        }
    };
}
pub use impl_has_job_links;

/// Something to be done by a thread of a process.
pub trait Job: HasJobLinks + Cached + Send + Sync + 'static {
    /// Does it.
    fn run(this: SlabArc<Self>, thread: &IoThread);

    /// There is nobody who would do it.
    ///
    /// May sleep.
    fn abandon(this: SlabArc<Self>);

    /// The reference is not needed any longer.
    ///
    /// May be called in any context.
    fn release(this: SlabArc<Self>);
}

/// The calls of a type.
struct Of<T>(core::marker::PhantomData<T>);

impl<T: Job> Of<T> {
    const CALLS: &'static Calls = &Calls {
        run: Self::run,
        abandon: Self::abandon,
        release: Self::release,
    };

    /// # Safety
    ///
    /// `links` must come from a list to which a `T` was added, and own the reference.
    unsafe fn take(links: *const JobLinks) -> SlabArc<T> {
        // SAFETY: The caller guarantees that `links` come from a list to which a `T` was added, and
        // own its reference: `push_back()` has made them of the pointer to all of the `T` that
        // `into_raw()` has returned.
        unsafe { SlabArc::from_raw(links.byte_sub(T::OFFSET).cast::<T>()) }
    }

    /// # Safety
    ///
    /// As for [`take()`](Self::take).
    unsafe fn run(links: *const JobLinks, thread: &IoThread) {
        // SAFETY: The caller guarantees that `links` come from a list to which a `T` was added, and
        // own its reference.
        T::run(unsafe { Self::take(links) }, thread);
    }

    /// # Safety
    ///
    /// As for [`take()`](Self::take).
    unsafe fn abandon(links: *const JobLinks) {
        // SAFETY: The caller guarantees that `links` come from a list to which a `T` was added, and
        // own its reference.
        T::abandon(unsafe { Self::take(links) });
    }

    /// # Safety
    ///
    /// As for [`take()`](Self::take).
    unsafe fn release(links: *const JobLinks) {
        // SAFETY: The caller guarantees that `links` come from a list to which a `T` was added, and
        // own its reference.
        T::release(unsafe { Self::take(links) });
    }
}

/// An object that was taken out of a [`JobList`].
///
/// If it is dropped, it is abandoned.
///
/// # Invariants
///
/// `links` are those of an object that was in a list, and own its reference.
pub struct AnyJob {
    links: *const JobLinks,
    calls: &'static Calls,
}

// SAFETY: The object is one of a type that is `Send` and `Sync`, see `Job`.
unsafe impl Send for AnyJob {}

impl AnyJob {
    /// Does it.
    pub fn run(self, thread: &IoThread) {
        let this = ManuallyDrop::new(self);

        // SAFETY: By the type invariants these are the right links, and own the reference.
        unsafe { (this.calls.run)(this.links, thread) };
    }

    /// Returns the group of the object, see [`JobLinks::new()`].
    pub fn group(&self) -> u32 {
        // SAFETY: By the type invariants the object is there.
        unsafe { (*self.links).group }
    }

    /// Returns [`JobLinks::id()`] of the object.
    pub fn id(&self) -> usize {
        self.links as usize
    }

    /// Gives the reference back.
    pub fn release(self) {
        let this = ManuallyDrop::new(self);

        // SAFETY: By the type invariants these are the right links, and own the reference.
        unsafe { (this.calls.release)(this.links) };
    }
}

impl Drop for AnyJob {
    fn drop(&mut self) {
        // SAFETY: By the type invariants these are the right links, and own the reference.
        unsafe { (self.calls.abandon)(self.links) };
    }
}

/// A list of objects, first in, first out, from which any can be taken.
///
/// # Invariants
///
/// `first` and `last` are null, or the ends of a chain of links whose `list` is `number`. No other
/// list has that number.
///
/// # Examples
///
/// ```
/// use kernel::slab::JobList;
///
/// let mut list = JobList::new();
///
/// assert!(list.is_empty() && list.pop_front().is_none());
/// assert!(list.first_group().is_none());
/// ```
pub struct JobList {
    number: u64,
    first: *const JobLinks,
    last: *const JobLinks,
}

// SAFETY: The objects in the list are of types that are `Send` and `Sync`, see `Job`.
unsafe impl Send for JobList {}

impl JobList {
    /// An empty list.
    pub fn new() -> Self {
        static NUMBER: Atomic<u64> = Atomic::new(1);

        // INVARIANT: It has no objects. The number is new: 64 bits do not wrap in the time that a
        // machine is up.
        Self {
            number: NUMBER.fetch_add(1, Relaxed),
            first: null(),
            last: null(),
        }
    }

    /// Returns whether there are none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.first.is_null()
    }

    /// Returns the group of the first object.
    #[inline]
    pub fn first_group(&self) -> Option<u32> {
        // SAFETY: By the type invariants this is null, or in the list, which keeps the object.
        Some(unsafe { self.first.as_ref() }?.group)
    }

    /// Adds an object, which must be in no list, at the end.
    ///
    /// An object that is in a list already is abandoned.
    pub fn push_back<T: Job>(&mut self, object: SlabArc<T>) {
        let ptr = SlabArc::into_raw(object);
        // SAFETY: `OFFSET` is that of links in a `T`, see `HasJobLinks`.
        let links: *const JobLinks = unsafe { ptr.byte_add(T::OFFSET).cast() };
        // SAFETY: The reference keeps the object.
        let new = unsafe { &*links };

        if new.list.cmpxchg(0, self.number, Relaxed).is_err() {
            // SAFETY: The pointer is that of `into_raw()`.
            T::abandon(unsafe { SlabArc::from_raw(ptr) });
            return;
        }
        new.calls.set(Some(Of::<T>::CALLS));
        self.link(links, new);
    }

    /// Adds an object that was taken out of another list.
    pub fn push_back_any(&mut self, job: AnyJob) {
        let job = ManuallyDrop::new(job);
        // SAFETY: By its type invariants the job has a reference to the object.
        let links = unsafe { &*job.links };

        links.list.store(self.number, Relaxed);
        links.calls.set(Some(job.calls));
        self.link(job.links, links);
    }

    fn link(&mut self, ptr: *const JobLinks, links: &JobLinks) {
        links.next.set(null());
        links.prev.set(self.last);
        if self.last.is_null() {
            self.first = ptr;
        } else {
            // SAFETY: By the type invariants this is in the list, which keeps the object.
            unsafe { &*self.last }.next.set(ptr);
        }
        self.last = ptr;
    }

    /// Takes the first object out.
    pub fn pop_front(&mut self) -> Option<AnyJob> {
        let first = self.first;

        if first.is_null() {
            return None;
        }
        // SAFETY: By the type invariants this is in the list, which keeps the object.
        self.remove(unsafe { &*first })
    }

    /// Takes an object out, if it is in this list.
    pub fn remove(&mut self, links: &JobLinks) -> Option<AnyJob> {
        if links.list.load(Relaxed) != self.number {
            return None;
        }
        // It is in this list, so what its links say is this list's.
        let (prev, next) = (links.prev.get(), links.next.get());
        let ptr = if prev.is_null() {
            core::mem::replace(&mut self.first, next)
        } else {
            // SAFETY: By the type invariants this is in the list, which keeps the object.
            unsafe { &*prev }.next.replace(next)
        };

        if next.is_null() {
            self.last = prev;
        } else {
            // SAFETY: By the type invariants this is in the list, which keeps the object.
            unsafe { &*next }.prev.set(prev);
        }
        links.list.store(0, Relaxed);

        // INVARIANT: The reference of the list goes over. The pointer is the one that was put in,
        // which was made from one to all of the object.
        Some(AnyJob {
            links: ptr,
            calls: links.calls.get()?,
        })
    }
}

impl Default for JobList {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for JobList {
    fn drop(&mut self) {
        while self.pop_front().is_some() {}
    }
}
