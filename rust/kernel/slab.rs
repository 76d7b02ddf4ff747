// SPDX-License-Identifier: GPL-2.0

//! Slab caches: memory for many objects of one size.
//!
//! A [`Cache`] is a `struct kmem_cache` with a name of its own in `/proc/slabinfo`. It hands out
//! [`Slot`]s, in which a reference-counted object is then constructed in place.
//!
//! C header: [`include/linux/slab.h`](srctree/include/linux/slab.h)

use crate::{
    alloc::{
        AllocError,
        Flags, //
    },
    bindings,
    error::{
        Error,
        Result, //
    },
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed,
            Release, //
        },
        Refcount, //
    },
};
use core::{
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

mod work;

/// A slab cache.
///
/// Meant to be a `static`; allocations fail until [`init()`](Self::init) has been called.
///
/// # Invariants
///
/// `cache` is null, or a `kmem_cache` for objects of `size` bytes aligned to `align`, which is
/// never destroyed.
///
/// # Examples
///
/// ```
/// use kernel::slab::{self, Cache, Cached};
///
/// struct Node(u32);
///
/// static NODES: Cache = Cache::new::<slab::Counted<Node>>(c"rust_doctest_node");
///
/// impl Cached for Node {
///     const CACHE: &'static Cache = &NODES;
/// }
///
/// assert!(NODES.alloc(GFP_KERNEL).is_err());
/// NODES.init()?;
///
/// let node = NODES.alloc(GFP_KERNEL)?.init(Node(7))?.share();
/// let other = node.clone();
/// assert_eq!(other.0, 7);
/// // Somebody else still has a reference.
/// assert!(node.into_unique().is_none());
/// assert_eq!(other.into_unique().map(|n| n.0), Some(7));
/// # Ok::<(), Error>(())
/// ```
pub struct Cache {
    name: &'static CStr,
    size: usize,
    align: usize,
    cache: Atomic<*mut bindings::kmem_cache>,
}

impl Cache {
    /// Describes a cache whose objects have the size and alignment of a `T`.
    ///
    /// The objects are aligned to cache lines besides, where they fill one (`SLAB_HWCACHE_ALIGN`).
    pub const fn new<T>(name: &'static CStr) -> Self {
        // INVARIANT: `cache` is null.
        Self {
            name,
            size: size_of::<T>(),
            align: align_of::<T>(),
            cache: Atomic::new(null_mut()),
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
        let mut args = bindings::kmem_cache_args {
            align: self.align as u32,
            ..pin_init::zeroed()
        };
        // SAFETY: `name` lives forever and `args` for the duration of the call.
        let cache = unsafe {
            bindings::__kmem_cache_create_args(
                self.name.as_char_ptr(),
                self.size as u32,
                &mut args,
                bindings::SLAB_HWCACHE_ALIGN,
            )
        };
        if cache.is_null() {
            return Err(ENOMEM);
        }

        // INVARIANT: The cache was just created, with the size and the alignment of `self`.
        if self.cache.cmpxchg(null_mut(), cache, Release).is_err() {
            // SAFETY: This cache has never been used.
            unsafe { bindings::kmem_cache_destroy(cache) };
        }
        Ok(())
    }

    /// Allocates the memory of one object.
    #[inline]
    pub fn alloc(&'static self, flags: Flags) -> Result<Slot, AllocError> {
        // An object reaches other CPUs only by way of somebody who has seen the cache.
        let cache = self.cache.load(Relaxed);
        if cache.is_null() {
            return Err(AllocError);
        }

        // SAFETY: By the type invariants this is a valid cache.
        let ptr = unsafe { bindings::kmem_cache_alloc(cache, flags.as_raw()) };

        // INVARIANT: This is an object of the cache, and ours.
        Ok(Slot {
            ptr: NonNull::new(ptr.cast()).ok_or(AllocError)?,
            cache: self,
        })
    }

    /// Gives the memory of one object back.
    ///
    /// # Safety
    ///
    /// `ptr` must come from [`alloc()`](Self::alloc) on this cache and not be used again.
    #[inline]
    unsafe fn free(&'static self, ptr: NonNull<u8>) {
        // SAFETY: By the requirements of this function something was allocated from the cache, so
        // it is not null, and `ptr` may be freed.
        unsafe { bindings::kmem_cache_free(self.cache.load(Relaxed), ptr.as_ptr().cast()) };
    }
}

/// Memory for one object of a [`Cache`], without an object in it.
///
/// # Invariants
///
/// `ptr` is an allocation of `cache` that belongs to this value.
pub struct Slot {
    ptr: NonNull<u8>,
    cache: &'static Cache,
}

// SAFETY: A slot is just memory; it can be given back on any thread.
unsafe impl Send for Slot {}

impl Slot {
    /// Takes the memory of an object back, after the object in it is gone.
    ///
    /// # Safety
    ///
    /// `ptr` must come from a slot of this cache that was forgotten, and not be used again.
    pub(crate) unsafe fn from_raw(ptr: *mut u8, cache: &'static Cache) -> Self {
        // INVARIANT: By the requirements of this function.
        Self {
            // SAFETY: It comes from a slot, so it is not null.
            ptr: unsafe { NonNull::new_unchecked(ptr) },
            cache,
        }
    }

    /// Returns a pointer to the memory, if it is large enough and aligned for an `O`.
    ///
    /// # Errors
    ///
    /// `EINVAL` if it is not.
    #[inline]
    pub(crate) fn as_ptr_for<O>(&self) -> Result<NonNull<O>> {
        if size_of::<O>() > self.cache.size || align_of::<O>() > self.cache.align {
            return Err(EINVAL);
        }
        Ok(self.ptr.cast())
    }

    /// Constructs a `T` in this memory.
    ///
    /// Where the initialiser fails, the memory goes back to the cache.
    ///
    /// # Errors
    ///
    /// `EINVAL` if the slot belongs to another cache than `T`, else what the initialiser returns.
    #[inline]
    pub fn init<T: Cached, E>(self, init: impl PinInit<T, E>) -> Result<Unique<T>, Error>
    where
        Error: From<E>,
    {
        if !core::ptr::eq(self.cache, T::CACHE) {
            return Err(EINVAL);
        }

        let obj = self.as_ptr_for::<Counted<T>>()?;
        // SAFETY: The allocation is large enough, aligned, and ours.
        unsafe { (&raw mut (*obj.as_ptr()).refcount).write(Refcount::new(1)) };
        // SAFETY: As above; on failure the place is not used again. It stays where it is until the
        // destructor has run, so it is pinned.
        unsafe { pin_init::raw_try_init(&raw mut (*obj.as_ptr()).data, init) }?;

        // The object has the memory now.
        core::mem::forget(self);

        // INVARIANT: The object is initialised, and nobody else knows it.
        Ok(Unique(Shared { ptr: obj }))
    }
}

impl Drop for Slot {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: By the type invariants, the allocation is from this cache and ours.
        unsafe { self.cache.free(self.ptr) };
    }
}

/// Types whose reference-counted instances live in a [`Cache`].
pub trait Cached: Sized {
    /// The cache for this type, made for the size of a [`Counted<Self>`] or more.
    const CACHE: &'static Cache;
}

/// What lies in the memory behind a [`Shared<T>`]: for the size of the [`Cache`].
#[repr(C)]
pub struct Counted<T> {
    refcount: Refcount,
    data: T,
}

/// A reference to a reference-counted `T` in its [`Cache`].
///
/// The counterpart of [`Arc`](crate::sync::Arc) for objects that do not come from `kmalloc()`.
///
/// # Invariants
///
/// `ptr` points to an initialised object in the cache of `T`, and this value owns one count of its
/// reference count.
pub struct Shared<T: Cached> {
    ptr: NonNull<Counted<T>>,
}

// SAFETY: As for `Arc`: sharing a `Shared` shares `&T`, and the last one drops the `T`.
unsafe impl<T: Cached + Send + Sync> Send for Shared<T> {}

// SAFETY: As for `Arc`: a `&Shared` can be cloned, so it is as good as a `Shared`.
unsafe impl<T: Cached + Send + Sync> Sync for Shared<T> {}

impl<T: Cached> Shared<T> {
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
        let offset = core::mem::offset_of!(Counted<T>, data);
        // SAFETY: By the requirements of this function, `ptr` points to the `data` of a
        // `Counted<T>`.
        let obj = unsafe { ptr.byte_sub(offset) }
            .cast::<Counted<T>>()
            .cast_mut();

        // INVARIANT: `into_raw()` has given up the count that this value owns.
        Self {
            // SAFETY: It points to an object.
            ptr: unsafe { NonNull::new_unchecked(obj) },
        }
    }

    /// Drops this reference; the last one gets the object for itself.
    ///
    /// Of all references to an object that are given up by this function exactly one call returns
    /// [`Some`], and all that the others did before is visible to it.
    #[inline]
    pub fn into_unique(self) -> Option<Unique<T>> {
        let this = ManuallyDrop::new(self);
        // SAFETY: By the type invariants the object is alive.
        let refcount = unsafe { &(*this.ptr.as_ptr()).refcount };

        if !refcount.dec_and_test() {
            return None;
        }
        // Nobody else has a reference, so nobody else can look at the count.
        refcount.set(1);

        // INVARIANT: The count is one, and it belongs to this value.
        Some(Unique(Shared { ptr: this.ptr }))
    }
}

impl<T: Cached> Deref for Shared<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: By the type invariants the object is alive while this reference is, and shared.
        unsafe { &(*self.ptr.as_ptr()).data }
    }
}

impl<T: Cached> Clone for Shared<T> {
    #[inline]
    fn clone(&self) -> Self {
        // SAFETY: By the type invariants the object is alive.
        unsafe { &(*self.ptr.as_ptr()).refcount }.inc();

        // INVARIANT: The count was just taken.
        Self { ptr: self.ptr }
    }
}

impl<T: Cached> Drop for Shared<T> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: By the type invariants the object is alive.
        if !unsafe { &(*self.ptr.as_ptr()).refcount }.dec_and_test() {
            return;
        }
        // SAFETY: This was the last reference.
        unsafe { core::ptr::drop_in_place(&raw mut (*self.ptr.as_ptr()).data) };
        // SAFETY: The object came from this cache and is gone.
        unsafe { T::CACHE.free(self.ptr.cast()) };
    }
}

/// The only reference to a `T` in its [`Cache`].
///
/// # Invariants
///
/// The reference count is one.
pub struct Unique<T: Cached>(Shared<T>);

impl<T: Cached> Unique<T> {
    /// Makes this reference one that can be cloned.
    #[inline]
    pub fn share(self) -> Shared<T> {
        self.0
    }

    /// Makes this reference two at once, which is cheaper than cloning.
    #[inline]
    pub fn share_two(self) -> (Shared<T>, Shared<T>) {
        // SAFETY: By the type invariants the object is alive.
        unsafe { &(*self.0.ptr.as_ptr()).refcount }.set(2);

        // INVARIANT: The count is two, one for each.
        let second = Shared { ptr: self.0.ptr };

        (self.0, second)
    }

    /// Returns a mutable reference to the object.
    #[inline]
    pub fn as_mut(&mut self) -> Pin<&mut T> {
        // SAFETY: By the type invariants nobody else has a reference. The object is never moved.
        unsafe { Pin::new_unchecked(&mut (*self.0.ptr.as_ptr()).data) }
    }
}

impl<T: Cached> Deref for Unique<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.0
    }
}
