// SPDX-License-Identifier: GPL-2.0

use core::{
    alloc::Layout,
    ops::{Deref, DerefMut},
    ptr::NonNull,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AllocError;

#[derive(Clone, Copy)]
pub struct Flags(u32);

impl Flags {
    pub fn as_raw(self) -> u32 {
        self.0
    }
}

impl core::ops::BitOr for Flags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

pub mod flags {
    pub const GFP_KERNEL: super::Flags = super::Flags(1);
    pub const GFP_KERNEL_ACCOUNT: super::Flags = super::Flags(4);
    pub const __GFP_ZERO: super::Flags = super::Flags(2);
}

pub struct NumaNode;

impl NumaNode {
    pub const NO_NODE: Self = Self;
}

pub trait Allocator {
    fn alloc(layout: Layout, flags: Flags, node: NumaNode) -> Result<NonNull<[u8]>, AllocError>;

    /// # Safety
    ///
    /// `ptr` must come from `alloc()`.
    unsafe fn free(ptr: NonNull<u8>, layout: Layout);
}

pub mod allocator {
    use super::*;

    pub struct Kmalloc;

    impl Allocator for Kmalloc {
        fn alloc(layout: Layout, flags: Flags, _: NumaNode) -> Result<NonNull<[u8]>, AllocError> {
            // kfree() is not told the size.
            let ptr = crate::bindings::kmalloc(layout, flags.as_raw() & 2 != 0);

            Ok(NonNull::slice_from_raw_parts(ptr, layout.size()))
        }

        unsafe fn free(ptr: NonNull<u8>, _layout: Layout) {
            // SAFETY: By the requirements of this function.
            unsafe { crate::bindings::kfree(ptr.as_ptr()) };
        }
    }
}

/// From kmalloc(), so that any structure can be put into a box of bytes.
pub struct KBox<T>(NonNull<T>);

impl<T> KBox<T> {
    pub fn new(value: T, _: Flags) -> Result<Self, AllocError> {
        let ptr = crate::bindings::kmalloc(Layout::new::<T>(), false).cast::<T>();

        unsafe { ptr.as_ptr().write(value) };
        Ok(Self(ptr))
    }

    pub fn into_raw(this: Self) -> *mut T {
        core::mem::ManuallyDrop::new(this).0.as_ptr()
    }

    /// # Safety
    ///
    /// `ptr` must come from `into_raw()`.
    pub unsafe fn from_raw(ptr: *mut T) -> Self {
        Self(unsafe { NonNull::new_unchecked(ptr) })
    }
}

impl<T> Drop for KBox<T> {
    fn drop(&mut self) {
        unsafe {
            self.0.as_ptr().drop_in_place();
            crate::bindings::kfree(self.0.as_ptr().cast());
        }
    }
}

impl<T> Deref for KBox<T> {
    type Target = T;

    fn deref(&self) -> &T {
        unsafe { self.0.as_ref() }
    }
}

impl<T> DerefMut for KBox<T> {
    fn deref_mut(&mut self) -> &mut T {
        unsafe { self.0.as_mut() }
    }
}

pub struct KVec<T> {
    vec: Vec<T>,
    capacity: usize,
}

pub type KVVec<T> = KVec<T>;

impl<'a, T> IntoIterator for &'a KVec<T> {
    type Item = &'a T;
    type IntoIter = core::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.vec.iter()
    }
}

impl<T> KVec<T> {
    pub fn new() -> Self {
        Self { vec: Vec::new(), capacity: 0 }
    }

    pub fn with_capacity(capacity: usize, _: Flags) -> Result<Self, AllocError> {
        Ok(Self { vec: Vec::with_capacity(capacity), capacity })
    }

    pub fn capacity(&self) -> usize {
        self.capacity.max(self.vec.len())
    }

    pub fn push(&mut self, value: T, _: Flags) -> Result<(), AllocError> {
        self.vec.push(value);
        Ok(())
    }

    pub fn push_within_capacity(&mut self, value: T) -> Result<(), T> {
        if self.vec.len() == self.capacity {
            return Err(value);
        }
        self.vec.push(value);
        Ok(())
    }

    pub fn pop(&mut self) -> Option<T> {
        self.vec.pop()
    }

    pub fn truncate(&mut self, len: usize) {
        self.vec.truncate(len);
    }
}

impl<T> Deref for KVec<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.vec
    }
}

impl<T> DerefMut for KVec<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.vec
    }
}
