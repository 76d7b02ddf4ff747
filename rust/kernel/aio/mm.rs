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
    sync::{
        atomic::{
            Acquire,
            Atomic, //
        },
        rcu_table::{
            LockedRcuTable,
            RcuPointer,
            RcuTable, //
        },
        staged::{
            Staged, //
            StagedOwner,
            StagedRef,
        },
        ReadSide, //
    },
    task::CurrentTask,
    types::NotThreadSafe, //
};
use core::{
    ffi::c_void,
    ops::Deref, //
};

/// What the tables hold, and what happens to it at the end.
pub trait Contexts {
    /// A context.
    type Context: Staged;

    /// An address space has no users any longer, and is about to go.
    ///
    /// May sleep. The current task is not necessarily one that used the address space.
    fn exit(table: LastTable<'_, Self::Context>);
}

/// The address space of the current task.
#[derive(Clone, Copy)]
pub struct CurrentMm<'a> {
    mm: &'a MmWithUser,
    _not_send: NotThreadSafe,
}

impl<'a> CurrentMm<'a> {
    /// Returns the address space of a task; threads of the kernel have none.
    #[inline]
    pub fn of(current: &'a CurrentTask) -> Option<Self> {
        Some(Self {
            mm: current.mm()?,
            _not_send: NotThreadSafe,
        })
    }

    /// Returns whether no other task runs in this address space.
    ///
    /// Then none will before the current task has returned to user space, or has created one. All
    /// that others did in the address space before they left it has happened before.
    fn is_alone(self) -> bool {
        let mm = self.mm.as_raw();
        // SAFETY: `mm` is valid; the number is an `atomic_t`.
        let users =
            unsafe { Atomic::<i32>::from_ptr(&raw mut (*mm).__bindgen_anon_1.mm_users.counter) };

        // Whoever leaves drops a reference, in `mmput()`, which is ordered.
        users.load(Acquire) == 1
    }
}

impl Deref for CurrentMm<'_> {
    type Target = MmWithUser;

    #[inline]
    fn deref(&self) -> &MmWithUser {
        self.mm
    }
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
        #[cfg(MODULE)]
        compile_error!("C calls the kernel's exit_aio(), not that of a module");

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

/// A context in a table.
///
/// Private, so that contexts that were put into these tables are in no other.
struct Stored<T: Staged>(StagedOwner<T>);

// SAFETY: `T: Send + Sync`. Whoever takes the owner out of the table gets a `Removed`, which does
// not hand out users.
unsafe impl<T: Staged> Send for Stored<T> {}

// SAFETY: As above; a shared owner only gives out `&T`, and users by `StagedRef`.
unsafe impl<T: Staged> Sync for Stored<T> {}

// SAFETY: The memory is freed after an RCU grace period that begins after `StagedOwner` was
// consumed.
unsafe impl<T: Staged> RcuPointer for Stored<T> {
    type Borrowed<'a> = StagedRef<'a, T>;

    #[inline]
    fn into_raw(self) -> *mut c_void {
        self.0.into_raw()
    }

    #[inline]
    unsafe fn from_raw(ptr: *mut c_void) -> Self {
        // SAFETY: By the requirements of this function.
        Self(unsafe { StagedOwner::from_raw(ptr) })
    }

    #[inline]
    unsafe fn borrow<'a>(ptr: *mut c_void) -> StagedRef<'a, T> {
        // SAFETY: By the requirements of this function.
        unsafe { StagedRef::from_raw(ptr) }
    }
}

/// The table of the current address space.
///
/// Only who runs in an address space can look at its table. So, where a task is alone, nobody else
/// can find a context, see [`Removed::shutdown()`].
pub struct Table<'a, T: TheContexts> {
    inner: RcuTable<'a, Stored<T::Context>>,
    mm: CurrentMm<'a>,
}

/// Returns the table of the current address space.
#[inline]
pub fn table<T: TheContexts>(mm: CurrentMm<'_>) -> Table<'_, T> {
    Table {
        inner: table_of::<T>(mm.mm),
        mm,
    }
}

impl<'a, T: TheContexts> Table<'a, T> {
    /// Finds the context with this index, see [`RcuTable::get()`].
    #[inline]
    pub fn get<'g>(
        &self,
        index: usize,
        rcu: &'g impl ReadSide,
    ) -> Option<StagedRef<'g, T::Context>> {
        self.inner.get(index, rcu)
    }

    /// Locks the table for changes.
    #[inline]
    pub fn lock(&self) -> LockedTable<'a, T> {
        LockedTable {
            inner: self.inner.lock(),
            mm: self.mm,
        }
    }

    /// Adds a context at the lowest free index, see [`RcuTable::insert()`].
    ///
    /// # Errors
    ///
    /// Gives the context back where there is no memory for a larger table.
    pub fn insert(
        &self,
        context: StagedOwner<T::Context>,
        added: impl FnOnce(usize, StagedRef<'_, T::Context>),
    ) -> Result<(), StagedOwner<T::Context>> {
        self.inner
            .insert(Stored(context), added)
            .map_err(|stored| stored.0)
    }
}

/// A locked [`Table`].
pub struct LockedTable<'a, T: TheContexts> {
    inner: LockedRcuTable<'a, Stored<T::Context>>,
    mm: CurrentMm<'a>,
}

impl<'a, T: TheContexts> LockedTable<'a, T> {
    /// Removes the context with this index.
    pub fn remove(&mut self, index: usize) -> Option<Removed<'a, T::Context>> {
        let Stored(owner) = self.inner.remove(index)?;

        Some(Removed {
            owner,
            mm: Some(self.mm),
        })
    }

    /// Iterates over the contexts.
    pub fn iter(&self) -> impl Iterator<Item = StagedRef<'_, T::Context>> {
        self.inner.iter()
    }
}

#[inline]
fn table_of<T: TheContexts>(mm: &Mm) -> RcuTable<'_, Stored<T::Context>> {
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
pub struct LastTable<'a, T: Staged>(RcuTable<'a, Stored<T>>);

impl<T: Staged> LastTable<'_, T> {
    /// Takes all contexts out and frees the table.
    pub fn drain(self, mut f: impl FnMut(Removed<'_, T>)) {
        let f = |Stored(owner)| f(Removed { owner, mm: None });

        // SAFETY: `table()` wants an address space with users, and this one has none.
        unsafe { self.0.drain(f) };
    }
}

/// A context that was taken out of its table.
#[must_use = "nobody else can end the context"]
pub struct Removed<'a, T: Staged> {
    owner: StagedOwner<T>,
    /// The address space, if it has users still.
    mm: Option<CurrentMm<'a>>,
}

impl<T: Staged> Removed<'_, T> {
    /// Begins the end of the context, see [`StagedOwner::shutdown()`].
    ///
    /// If nobody uses the context, and nobody else could just be looking it up, then no new work
    /// can be started on it when this returns, and all that is in flight is known: there is no
    /// need to wait for a grace period. That is so for a process with one thread, and for a process
    /// that has ended.
    ///
    /// May be called in a context that can't sleep.
    pub fn shutdown(self) {
        if self.mm.is_none_or(CurrentMm::is_alone) {
            // SAFETY: It was taken out of the table, and has never been in another, and only who
            // finds it there can become a user. Either nobody but the current task could look at
            // the table, or nobody at all. Users stay with the task that has found the context, or
            // has had its owner before it was in the table.
            unsafe { self.owner.shutdown_alone() };
        }
    }
}

impl<T: Staged> Deref for Removed<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.owner
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
