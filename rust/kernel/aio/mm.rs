// SPDX-License-Identifier: GPL-2.0

//! The table of AIO contexts that each address space has.
//!
//! `struct mm_struct` has the head of the table, `mm_init_aio()` in `kernel/fork.c` initialises it,
//! and `exit_aio()` is called for its end.

use crate::{
    bindings,
    mm::{
        Mm,
        MmWithUser, //
    },
    sync::rcu_table::{
        RcuPointer,
        RcuTable, //
    },
};

/// What the tables hold, and what happens to it at the end.
pub trait Contexts {
    /// Owns a context.
    type Owner: RcuPointer;

    /// An address space has no users any longer, and is about to go.
    ///
    /// May sleep. The current task is not necessarily one that used the address space.
    fn exit(table: LastTable<'_, Self::Owner>);
}

/// The implementation of [`Contexts`].
///
/// # Safety
///
/// There must be one implementation in the kernel. To be implemented by
/// [`exit_aio!`](crate::exit_aio), which defines a symbol of C's, so that a second one does not
/// link.
pub unsafe trait TheContexts: Contexts {}

/// Implements [`TheContexts`] for a type, and C's `exit_aio()`, which calls it.
#[macro_export]
macro_rules! exit_aio {
    ($ty:ty) => {
        // SAFETY: This defines `exit_aio()`, of which there can be only one.
        unsafe impl $crate::aio::mm::TheContexts for $ty {}

        const _: () = {
            // Both branches of an `if` have the same type.
            if true {
                $crate::bindings::exit_aio
            } else {
                exit_aio
            };
        };

        /// `exit_aio()`: an address space is about to go.
        ///
        /// # Safety
        ///
        /// To be called by `mmput()` with an address space that has no users any longer.
        #[no_mangle]
        pub unsafe extern "C" fn exit_aio(mm: *mut $crate::bindings::mm_struct) {
            // SAFETY: By the requirements of this function.
            unsafe { $crate::aio::mm::exit::<$ty>(mm) };
        }
    };
}

/// Returns the table of an address space that has users.
#[inline]
pub fn table<T: TheContexts>(mm: &MmWithUser) -> RcuTable<'_, T::Owner> {
    table_of::<T>(mm)
}

#[inline]
fn table_of<T: TheContexts>(mm: &Mm) -> RcuTable<'_, T::Owner> {
    let mm = mm.as_raw();

    // SAFETY: `mm` is valid. Both fields were initialised by `mm_init_aio()` when it was created,
    // and since there is one implementation of `TheContexts` they are always used with the same
    // type.
    unsafe {
        RcuTable::from_raw(
            (&raw mut (*mm).__bindgen_anon_1.ioctx_table).cast(),
            &raw mut (*mm).__bindgen_anon_1.ioctx_lock,
        )
    }
}

/// The table of an address space without users: nobody else can look at it.
pub struct LastTable<'a, P: RcuPointer>(RcuTable<'a, P>);

impl<P: RcuPointer> LastTable<'_, P> {
    /// Takes all contexts out and frees the table.
    pub fn drain(self, f: impl FnMut(P)) {
        // SAFETY: `table()` wants an address space with users, and this one has none.
        unsafe { self.0.drain(f) };
    }
}

/// Ends the table of an address space.
///
/// # Safety
///
/// `mm` must be valid and have no users any longer. To be called by `exit_aio()` only.
#[doc(hidden)]
pub unsafe fn exit<T: TheContexts>(mm: *mut bindings::mm_struct) {
    // SAFETY: By the requirements of this function.
    let mm = unsafe { Mm::from_raw(mm) };

    T::exit(LastTable(table_of::<T>(mm)));
}
