// SPDX-License-Identifier: GPL-2.0

//! Slab caches: memory for many objects of one size.
//!
//! A [`KmemCache`] is a `struct kmem_cache` with a name of its own in `/proc/slabinfo`. It hands
//! out [`SlabSlot`]s, in which a reference-counted object is then constructed in place.
//!
//! Why not [`Arc`](crate::sync::Arc): its memory comes from `kmalloc()` and goes back there with
//! the last reference. [`Allocator`](crate::alloc::Allocator) has no place for a cache either: its
//! functions have no `self`, and free with a layout only. A [`SlabArc`] differs in three ways: the
//! memory comes from a named cache of exactly this size, the last reference can be taken apart
//! ([`UniqueSlabArc::dismantle()`]), so that parts of the object outlive it without being copied to
//! the heap, and the memory can be kept for the next object ([`SlabPool`]). The count itself is
//! upstream's [`Refcount`].
//!
//! C header: [`include/linux/slab.h`](srctree/include/linux/slab.h)

use crate::{
    alloc::{
        AllocError,
        Flags, //
    },
    bindings,
    error::Result,
    prelude::*,
    sync::{
        atomic::{
            Acquire,
            Atomic,
            Relaxed,
            Release, //
        },
        Refcount, //
    },
};
use core::{
    marker::PhantomData,
    mem::{
        align_of,
        size_of,
        ManuallyDrop, //
    },
    ops::Deref,
    ptr::{
        null_mut,
        NonNull, //
    },
};

mod dismantle;
mod fifo;
mod jobs;
mod pool;
mod work;

pub use dismantle::{
    impl_dismantle,
    Dismantle, //
};
pub use fifo::{
    impl_has_fifo_links,
    Fifo,
    FifoLinks,
    HasFifoLinks,
    Hire, //
};
pub use jobs::{
    impl_has_job_links,
    AnyJob,
    HasJobLinks,
    Job,
    JobLinks,
    JobList, //
};
pub use pool::{
    SlabBatch,
    SlabPool, //
};

/// Names a [`KmemCache`], as a type: so a [`SlabSlot`] knows where its memory comes from without
/// saying so.
pub trait Backing: Sized + 'static {
    /// As large and as aligned as any object that is constructed in memory of the cache.
    type Largest;

    /// The cache.
    const CACHE: &'static KmemCache<Self>;
}

/// A slab cache.
///
/// Meant to be the `static` that a [`Backing`] names; allocations fail until [`init()`](Self::init)
/// has been called.
///
/// # Invariants
///
/// `cache` is null, or a `kmem_cache` for objects of the size and alignment of `B::Largest`, which
/// is never destroyed.
///
/// # Examples
///
/// ```
/// use kernel::slab::{Backing, KmemCache, Cached, SlabArcInner, SlabSlot};
///
/// struct Node(u32);
///
/// enum Nodes {}
///
/// static NODES: KmemCache<Nodes> = KmemCache::new(c"rust_doctest_node");
///
/// impl Backing for Nodes {
///     type Largest = SlabArcInner<Node>;
///     const CACHE: &'static KmemCache<Self> = &NODES;
/// }
///
/// impl Cached for Node {
///     type Backing = Nodes;
/// }
///
/// assert!(SlabSlot::<Nodes>::alloc(GFP_KERNEL).is_err());
/// NODES.init()?;
///
/// let node = SlabSlot::alloc(GFP_KERNEL)?.init(Node(7))?.share();
/// let other = node.clone();
/// assert_eq!(other.0, 7);
/// // Somebody else still has a reference.
/// assert!(node.into_unique().is_none());
/// assert_eq!(other.into_unique().map(|n| n.0), Some(7));
/// # Ok::<(), Error>(())
/// ```
pub struct KmemCache<B: Backing> {
    name: &'static CStr,
    cache: Atomic<*mut bindings::kmem_cache>,
    _p: PhantomData<fn() -> B>,
}

impl<B: Backing> KmemCache<B> {
    /// Describes a cache.
    ///
    /// The objects are aligned to cache lines besides, where they fill one (`SLAB_HWCACHE_ALIGN`).
    pub const fn new(name: &'static CStr) -> Self {
        // INVARIANT: `cache` is null.
        Self {
            name,
            cache: Atomic::new(null_mut()),
            _p: PhantomData,
        }
    }

    /// Creates the cache.
    ///
    /// May sleep. Must be called once, before anybody allocates; a second call changes nothing.
    ///
    /// # Errors
    ///
    /// `ENOMEM` where there is no memory for the cache's own structures.
    pub fn init(&'static self) -> Result {
        // C has 32 bits for the size.
        const {
            let size = size_of::<B::Largest>();
            assert!(size != 0 && size <= u32::MAX as usize);
        };

        // Two caches of one name are a mistake.
        if !self.cache.load(Acquire).is_null() {
            return Ok(());
        }

        let mut args = bindings::kmem_cache_args {
            align: align_of::<B::Largest>() as u32,
            ..pin_init::zeroed()
        };
        // SAFETY: `name` lives forever and `args` for the duration of the call.
        let cache = unsafe {
            bindings::__kmem_cache_create_args(
                self.name.as_char_ptr(),
                size_of::<B::Largest>() as u32,
                &mut args,
                bindings::SLAB_HWCACHE_ALIGN,
            )
        };
        if cache.is_null() {
            return Err(ENOMEM);
        }

        // INVARIANT: The cache was just created, with this size and alignment.
        if self.cache.cmpxchg(null_mut(), cache, Release).is_err() {
            // SAFETY: This cache has never been used.
            unsafe { bindings::kmem_cache_destroy(cache) };
        }
        Ok(())
    }
}

/// Memory for one object of a [`KmemCache`], without an object in it.
///
/// # Invariants
///
/// `ptr` is an allocation of `B::CACHE` that belongs to this value.
pub struct SlabSlot<B: Backing> {
    ptr: NonNull<u8>,
    _p: PhantomData<B>,
}

// SAFETY: A slot is just memory; it can be given back on any thread.
unsafe impl<B: Backing> Send for SlabSlot<B> {}

impl<B: Backing> SlabSlot<B> {
    /// Allocates the memory of one object.
    ///
    /// # Errors
    ///
    /// `ENOMEM` without memory, and before [`KmemCache::init()`].
    #[inline]
    pub fn alloc(flags: Flags) -> Result<Self, AllocError> {
        // An object reaches other CPUs only by way of somebody who has seen the cache.
        let cache = B::CACHE.cache.load(Relaxed);
        if cache.is_null() {
            return Err(AllocError);
        }

        // SAFETY: By the type invariants this is a valid cache.
        let ptr = unsafe { bindings::kmem_cache_alloc(cache, flags.as_raw()) };

        // INVARIANT: This is an object of the cache, and ours.
        Ok(Self {
            ptr: NonNull::new(ptr.cast()).ok_or(AllocError)?,
            _p: PhantomData,
        })
    }

    /// Takes the memory of an object back, after the object in it is gone.
    ///
    /// # Safety
    ///
    /// `ptr` must come from a slot of this type that was forgotten, and not be used again.
    #[inline]
    pub(crate) unsafe fn from_raw(ptr: NonNull<u8>) -> Self {
        // INVARIANT: By the requirements of this function.
        Self {
            ptr,
            _p: PhantomData,
        }
    }

    /// Returns a pointer to the memory, which is large enough and aligned for an `O`.
    #[inline]
    pub(crate) fn as_ptr_for<O>(&self) -> NonNull<O> {
        const {
            assert!(size_of::<O>() <= size_of::<B::Largest>());
            assert!(align_of::<O>() <= align_of::<B::Largest>());
        }
        self.ptr.cast()
    }

    /// Constructs a `T` in this memory.
    ///
    /// Where the initialiser fails, the memory goes back to the cache.
    ///
    /// # Errors
    ///
    /// What the initialiser returns.
    #[inline]
    pub fn init<T: Cached<Backing = B>, E>(
        self,
        init: impl PinInit<T, E>,
    ) -> Result<UniqueSlabArc<T>, E> {
        let obj = self.as_ptr_for::<SlabArcInner<T>>();

        // SAFETY: The allocation is large enough, aligned, and ours.
        unsafe { (&raw mut (*obj.as_ptr()).refcount).write(Refcount::new(1)) };
        // SAFETY: The allocation is large enough, aligned, and ours; on failure the place is not
        // used again. It stays where it is until the destructor has run, so it is pinned.
        unsafe { pin_init::raw_try_init(&raw mut (*obj.as_ptr()).data, init) }?;

        // The object has the memory now.
        core::mem::forget(self);

        // INVARIANT: The object is initialised, and nobody else knows it.
        Ok(UniqueSlabArc(SlabArc { ptr: obj }))
    }
}

impl<B: Backing> Drop for SlabSlot<B> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: By the type invariants, the allocation is from this cache, which is not null
        // then, and ours.
        unsafe {
            bindings::kmem_cache_free(B::CACHE.cache.load(Relaxed), self.ptr.as_ptr().cast())
        };
    }
}

/// Types whose reference-counted instances live in a [`KmemCache`].
pub trait Cached: Sized {
    /// Names the cache, whose objects must have the size of a [`SlabArcInner<Self>`] or more.
    type Backing: Backing;
}

/// What lies in the memory behind a [`SlabArc<T>`]: for the size of the [`KmemCache`].
#[repr(C)]
pub struct SlabArcInner<T> {
    refcount: Refcount,
    data: T,
}

/// A reference to a reference-counted `T` in its [`KmemCache`].
///
/// The counterpart of [`Arc`](crate::sync::Arc) for objects that do not come from `kmalloc()`.
///
/// # Invariants
///
/// `ptr` points to an initialised object in the cache of `T`, and this value owns one count of its
/// reference count.
pub struct SlabArc<T: Cached> {
    ptr: NonNull<SlabArcInner<T>>,
}

// SAFETY: As for `Arc`: sharing a `SlabArc` shares `&T`, and the last one drops the `T`.
unsafe impl<T: Cached + Send + Sync> Send for SlabArc<T> {}

// SAFETY: As for `Arc`: a `&SlabArc` can be cloned, so it is as good as a `SlabArc`.
unsafe impl<T: Cached + Send + Sync> Sync for SlabArc<T> {}

impl<T: Cached> SlabArc<T> {
    /// Hands the reference over to C, as a pointer to the `T`.
    #[inline]
    pub fn into_raw(self) -> *const T {
        let this = ManuallyDrop::new(self);

        // SAFETY: By the type invariants this stays within the object.
        unsafe { &raw const (*this.ptr.as_ptr()).data }
    }

    /// Takes a reference back from C.
    ///
    /// # Safety
    ///
    /// `ptr` must come from [`into_raw()`](Self::into_raw), and each such pointer may be taken
    /// back once.
    #[inline]
    pub unsafe fn from_raw(ptr: *const T) -> Self {
        let offset = core::mem::offset_of!(SlabArcInner<T>, data);
        // SAFETY: The caller guarantees that `ptr` comes from `into_raw()`, so it points to the
        // `data` of a `SlabArcInner<T>`, and may be used for all of it.
        let obj = unsafe { ptr.byte_sub(offset) }
            .cast::<SlabArcInner<T>>()
            .cast_mut();

        // INVARIANT: `into_raw()` has given up the count that this value owns.
        Self {
            // SAFETY: It points to an object.
            ptr: unsafe { NonNull::new_unchecked(obj) },
        }
    }

    /// Returns a pinned reference to the object, which is never moved.
    #[inline]
    pub fn as_pin(&self) -> Pin<&T> {
        // SAFETY: The object stays where it was constructed until its destructor has run, or it is
        // taken apart, which promises the same.
        unsafe { Pin::new_unchecked(&**self) }
    }

    /// Makes two references one again.
    ///
    /// # Safety
    ///
    /// Both must be to the same object, and there must be no other.
    #[inline]
    pub unsafe fn reunite(self, other: Self) -> UniqueSlabArc<T> {
        // By the requirements of this function nobody else looks at the count.
        //
        // SAFETY: By the type invariants the object is alive.
        unsafe { &(*self.ptr.as_ptr()).refcount }.set(1);
        core::mem::forget(other);

        // INVARIANT: The count is one.
        UniqueSlabArc(self)
    }

    /// Returns the object for exclusive use, if this is the only reference.
    ///
    /// # Errors
    ///
    /// The reference, if it is not.
    #[inline]
    pub fn try_into_unique(self) -> Result<UniqueSlabArc<T>, Self> {
        if !self.is_unique() {
            return Err(self);
        }
        // INVARIANT: The count is one, and it belongs to this value.
        Ok(UniqueSlabArc(self))
    }

    /// Returns whether this is the only reference.
    ///
    /// If so, it stays the only one unless it is cloned, and what was done before the others were
    /// dropped can be seen.
    #[inline]
    pub fn is_unique(&self) -> bool {
        // SAFETY: By the type invariants the object is alive.
        let refcount = unsafe { &(*self.ptr.as_ptr()).refcount };

        refcount.as_atomic().load(Acquire) == 1
    }

    /// Drops this reference; the last one gets the object for itself.
    ///
    /// Of all references to an object that are given up by this function exactly one call returns
    /// [`Some`], and all that the others did before is visible to it.
    #[inline(always)]
    pub fn into_unique(self) -> Option<UniqueSlabArc<T>> {
        // SAFETY: By the type invariants the object is alive.
        let refcount = unsafe { &(*self.ptr.as_ptr()).refcount };

        // The owner of the last reference does not contend with anybody for it.
        if refcount.as_atomic().load(Acquire) == 1 {
            // INVARIANT: The count is one, and it belongs to this value.
            return Some(UniqueSlabArc(self));
        }

        let this = ManuallyDrop::new(self);

        if !refcount.dec_and_test() {
            return None;
        }
        // Nobody else has a reference, so nobody else can look at the count.
        refcount.set(1);

        // INVARIANT: The count is one, and it belongs to this value.
        Some(UniqueSlabArc(SlabArc { ptr: this.ptr }))
    }
}

impl<T: Cached> Deref for SlabArc<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: By the type invariants the object is alive while this reference is, and shared.
        unsafe { &(*self.ptr.as_ptr()).data }
    }
}

impl<T: Cached> Clone for SlabArc<T> {
    #[inline]
    fn clone(&self) -> Self {
        // SAFETY: By the type invariants the object is alive.
        unsafe { &(*self.ptr.as_ptr()).refcount }.inc();

        // INVARIANT: The count was just taken.
        Self { ptr: self.ptr }
    }
}

impl<T: Cached> Drop for SlabArc<T> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: By the type invariants the object is alive.
        if !unsafe { &(*self.ptr.as_ptr()).refcount }.dec_and_test() {
            return;
        }
        // SAFETY: This was the last reference.
        unsafe { core::ptr::drop_in_place(&raw mut (*self.ptr.as_ptr()).data) };
        // SAFETY: The object came from this cache and is gone.
        drop(unsafe { SlabSlot::<T::Backing>::from_raw(self.ptr.cast()) });
    }
}

/// The only reference to a `T` in its [`KmemCache`].
///
/// # Invariants
///
/// The reference count is one.
pub struct UniqueSlabArc<T: Cached>(SlabArc<T>);

impl<T: Cached> UniqueSlabArc<T> {
    /// Makes this reference one that can be cloned.
    #[inline]
    pub fn share(self) -> SlabArc<T> {
        self.0
    }

    /// Makes this reference two at once, which is cheaper than cloning.
    #[inline]
    pub fn share_two(self) -> (SlabArc<T>, SlabArc<T>) {
        // SAFETY: By the type invariants the object is alive.
        unsafe { &(*self.0.ptr.as_ptr()).refcount }.set(2);

        // INVARIANT: The count is two, one for each.
        let second = SlabArc { ptr: self.0.ptr };

        (self.0, second)
    }

    /// Takes the object apart: returns what is left of it, and its memory.
    #[inline]
    pub fn dismantle(self) -> (T::Parts, SlabSlot<T::Backing>)
    where
        T: Dismantle,
    {
        let ptr = ManuallyDrop::new(self).0.ptr;
        // SAFETY: By the type invariants there is no other reference; this one is not used again.
        let parts = unsafe { T::dismantle(&raw mut (*ptr.as_ptr()).data) };

        // SAFETY: The object came from this cache, and is gone.
        (parts, unsafe { SlabSlot::from_raw(ptr.cast()) })
    }

    /// Returns a mutable reference to the object.
    #[inline]
    pub fn as_mut(&mut self) -> Pin<&mut T> {
        // SAFETY: By the type invariants nobody else has a reference. The object is never moved.
        unsafe { Pin::new_unchecked(&mut (*self.0.ptr.as_ptr()).data) }
    }
}

impl<T: Cached> Deref for UniqueSlabArc<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.0
    }
}
