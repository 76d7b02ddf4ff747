// SPDX-License-Identifier: GPL-2.0

//! Objects that are taken apart at their end.

/// Types whose values are taken apart rather than dropped: parts of them outlive them.
///
/// So the memory of an object can be given back, or kept for another, before its parts are.
///
/// # Safety
///
/// After [`dismantle()`](Self::dismantle) nothing may be left to be dropped, and if the value was
/// pinned, nobody may refer to it any longer, as after its destructor.
pub unsafe trait Dismantle {
    /// What is left.
    type Parts;

    /// Takes the value apart.
    ///
    /// # Safety
    ///
    /// `this` must point to a valid value, which is not used again.
    unsafe fn dismantle(this: *mut Self) -> Self::Parts;
}

/// Implements [`Dismantle`] for a structure without a destructor of its own.
///
/// All fields have to be listed: first those that are `taken` apart themselves, then those that are
/// `moved` out, which must not be pinned, then those that are `dropped`. The parts are those of the
/// first, then the second, in this order.
///
/// # Examples
///
/// ```
/// use kernel::slab::{impl_dismantle, Backing, KmemCache, Cached, SlabArcInner, SlabSlot};
///
/// struct Named<T> {
///     name: KBox<u32>,
///     value: T,
/// }
///
/// impl_dismantle! {
///     impl<T: Send> Dismantle for Named<T> {
///         taken {}
///         moved { name: KBox<u32> }
///         dropped { value }
///     }
/// }
///
/// enum Names {}
///
/// static NAMES: KmemCache<Names> = KmemCache::new(c"rust_doctest_dismantle");
///
/// impl Backing for Names {
///     type Largest = SlabArcInner<Named<u8>>;
///     const CACHE: &'static KmemCache<Self> = &NAMES;
/// }
///
/// impl Cached for Named<u8> {
///     type Backing = Names;
/// }
///
/// NAMES.init()?;
/// let named = Named { name: KBox::new(7, GFP_KERNEL)?, value: 1 };
/// let ((name,), memory) = SlabSlot::alloc(GFP_KERNEL)?.init(named)?.dismantle();
/// // The object is gone, and the name is still there.
/// drop(memory);
/// assert_eq!(*name, 7);
/// # Ok::<(), Error>(())
/// ```
#[macro_export]
macro_rules! impl_dismantle {
    (impl $(<$param:ident: $bound:path>)? Dismantle for $self:ty {
        taken { $($taken:ident: $taken_ty:ty),* }
        moved { $($moved:ident: $moved_ty:ty),* }
        dropped { $($dropped:ident),* }
    }) => {
        const _: () = {
            // Does not compile for what has a destructor, which would not run.
            #[allow(dead_code)]
            trait HasNoDestructor {}
            #[allow(drop_bounds)]
            impl<T: ::core::ops::Drop + ?Sized> HasNoDestructor for T {}
            impl $(<$param: $bound>)? HasNoDestructor for $self {}
        };

        // SAFETY: Each field is used once below: taken apart, moved out or dropped. The compiler
        // sees that none is missing, and that none that is pinned is moved.
        unsafe impl $(<$param: $bound>)? $crate::slab::Dismantle for $self {
            type Parts = (
                $(<$taken_ty as $crate::slab::Dismantle>::Parts,)*
                $($moved_ty,)*
            );

            #[inline]
            unsafe fn dismantle(this: *mut Self) -> Self::Parts {
                fn may_be_moved<T: ::core::marker::Unpin>(_: *mut T) {}

                // Each is bound, which is not possible with those of unions and packed structures.
                let _ = |all: &Self| {
                    let Self { $($taken,)* $($moved,)* $($dropped,)* } = all;

                    let _ = ($($taken,)* $($moved,)* $($dropped,)*);
                };

                $(
                    // SAFETY: By the contract of `Dismantle::dismantle()`, `this` points to a valid
                    // value, in which the field stays.
                    may_be_moved::<$moved_ty>(unsafe { &raw mut (*this).$moved });
                )*

                // SAFETY: The object is valid and the caller's, who does not use it afterwards.
                // These are different fields, and each is read once.
                let parts = unsafe {
                    (
                        $(<$taken_ty as $crate::slab::Dismantle>::dismantle(
                            &raw mut (*this).$taken,
                        ),)*
                        $((&raw mut (*this).$moved).read(),)*
                    )
                };
                $(
                    // SAFETY: This is one of the remaining fields, each of which is dropped once.
                    unsafe { ::core::ptr::drop_in_place(&raw mut (*this).$dropped) };
                )*
                parts
            }
        }
    };
}
pub use impl_dismantle;
