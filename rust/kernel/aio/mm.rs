// SPDX-License-Identifier: GPL-2.0

//! The table of AIO contexts that each address space has.
//!
//! `struct mm_struct` has the head of the table, `mm_init_aio()` in `kernel/fork.c` initialises it,
//! and `exit_aio()` is called for its end.
//!
//! # Examples
//!
//! ```
//! use kernel::{
//!     aio::mm::{
//!         table,
//!         ContextUser,
//!         CurrentMm,
//!         TheContexts, //
//!     },
//!     sync::rcu,
//! };
//!
//! /// Finds a context of the current process, and keeps its end from being completed.
//! fn find<T: TheContexts>(
//!     mm: CurrentMm<'_>,
//!     index: usize,
//! ) -> Option<ContextUser<'_, T::Context>> {
//!     let rcu = rcu::read_lock();
//!     let found = table::<T>(mm).get(index, &rcu)?;
//!
//!     found.try_use(&rcu)
//! }
//!
//! /// Takes it out of the table, so that nobody finds it any longer, and begins its end.
//! fn end<T: TheContexts>(mm: CurrentMm<'_>, index: usize) {
//!     let removed = table::<T>(mm).lock().remove(index);
//!
//!     if let Some(context) = removed {
//!         context.shutdown();
//!     }
//! }
//! ```

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
            Staged,
            StagedOwner,
            StagedRef,
            StagedUser, //
        },
        ReadSide, //
    },
    task::CurrentTask,
    types::NotThreadSafe, //
};
use core::{
    ffi::c_void,
    marker::PhantomData,
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

        // A task that leaves drops its reference in `mmput()`, which is ordered.
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
            // SAFETY: `mmput()` calls this with a valid address space that has no users any longer,
            // and this is `exit_aio()`.
            unsafe { $crate::aio::mm::exit::<$ty>(mm) };
        }
    };
}

/// A context in a table.
///
/// Private, so that contexts that were put into these tables are in no other.
struct StoredContext<T: Staged>(StagedOwner<T>);

// SAFETY: `T: Send + Sync`. Code that takes the owner out of the table gets a `RemovedContext`,
// which does not hand out users.
unsafe impl<T: Staged> Send for StoredContext<T> {}

// SAFETY: `T: Sync`. A shared owner only gives out `&T`, and users by `StagedRef`.
unsafe impl<T: Staged> Sync for StoredContext<T> {}

// SAFETY: The memory is freed after an RCU grace period that begins after `StagedOwner` was
// consumed.
unsafe impl<T: Staged> RcuPointer for StoredContext<T> {
    type Borrowed<'a> = StagedRef<'a, T>;

    #[inline]
    fn into_raw(self) -> *mut c_void {
        self.0.into_raw()
    }

    #[inline]
    unsafe fn from_raw(ptr: *mut c_void) -> Self {
        // SAFETY: The caller guarantees that `ptr` comes from `into_raw()`, which got it from
        // `StagedOwner::into_raw()`, and that `ptr` is turned back once.
        Self(unsafe { StagedOwner::from_raw(ptr) })
    }

    #[inline]
    unsafe fn borrow<'a>(ptr: *mut c_void) -> StagedRef<'a, T> {
        // SAFETY: The caller guarantees that `ptr` comes from `into_raw()`, which got it from
        // `StagedOwner::into_raw()`, and that for `'a` the owner is not made of `ptr` again, or RCU
        // is read-locked since before that.
        unsafe { StagedRef::from_raw(ptr) }
    }
}

/// The table of the current address space.
///
/// Only who runs in an address space can become a user of its contexts. So, where a task is alone,
/// nobody else can, see [`RemovedContext::shutdown()`].
pub struct Table<'a, T: TheContexts> {
    inner: RcuTable<'a, StoredContext<T::Context>>,
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
    ) -> Option<FoundContext<'a, 'g, T::Context>> {
        Some(FoundContext {
            context: self.inner.get(index, rcu)?,
            _mm: PhantomData,
        })
    }

    /// Locks the table for changes.
    #[inline]
    pub fn lock(&self) -> LockedTable<'a, T> {
        LockedTable {
            inner: self.inner.lock(),
            mm: self.mm,
        }
    }

    /// Adds a context at the lowest free index, see [`RcuTable::insert()`], and becomes a user of
    /// it.
    ///
    /// # Errors
    ///
    /// Gives the context back where there is no memory for a larger table.
    pub fn insert(
        &self,
        context: StagedOwner<T::Context>,
        added: impl FnOnce(usize, StagedRef<'_, T::Context>),
    ) -> Result<ContextUser<'a, T::Context>, StagedOwner<T::Context>> {
        // INVARIANT: The user is given out with the lifetime of the borrowed address space.
        let user = ContextUser {
            user: context.user(),
            _mm: PhantomData,
        };

        self.inner
            .insert(StoredContext(context), added)
            .map(|()| user)
            .map_err(|stored| stored.0)
    }
}

/// A context that was found in the table of the current address space.
pub struct FoundContext<'a, 'g, T: Staged> {
    context: StagedRef<'g, T>,
    _mm: PhantomData<CurrentMm<'a>>,
}

impl<'a, T: Staged> FoundContext<'a, '_, T> {
    /// Becomes a user of the context, see `StagedRef::try_use()`.
    #[inline]
    pub fn try_use(&self, rcu: &impl ReadSide) -> Option<ContextUser<'a, T>> {
        // INVARIANT: The user is given out with the lifetime of the borrowed address space.
        Some(ContextUser {
            user: self.context.try_use(rcu)?,
            _mm: PhantomData,
        })
    }
}

impl<T: Staged> Deref for FoundContext<'_, '_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.context
    }
}

/// A user of a context, see [`StagedUser`].
///
/// # Invariants
///
/// The current task has a reference to the address space, in whose table the context is or was, for
/// `'a`, and this value does not outlive `'a`.
pub struct ContextUser<'a, T: Staged> {
    user: StagedUser<T>,
    _mm: PhantomData<CurrentMm<'a>>,
}

impl<T: Staged> Deref for ContextUser<'_, T> {
    type Target = StagedUser<T>;

    #[inline]
    fn deref(&self) -> &StagedUser<T> {
        &self.user
    }
}

/// A locked [`Table`].
pub struct LockedTable<'a, T: TheContexts> {
    inner: LockedRcuTable<'a, StoredContext<T::Context>>,
    mm: CurrentMm<'a>,
}

impl<'a, T: TheContexts> LockedTable<'a, T> {
    /// Removes the context with this index.
    pub fn remove(&mut self, index: usize) -> Option<RemovedContext<'a, T::Context>> {
        let StoredContext(owner) = self.inner.remove(index)?;

        Some(RemovedContext {
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
fn table_of<T: TheContexts>(mm: &Mm) -> RcuTable<'_, StoredContext<T::Context>> {
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

/// Finds the first context in the table of any address space whose index is not below `from`, and
/// returns its index, too.
///
/// The context may be about to end; nobody becomes a user of it by this. The address space need not
/// have users: nothing keeps it from its end, where the contexts are taken out of the table.
pub fn next<'g, T: TheContexts>(
    mm: &Mm,
    from: usize,
    rcu: &'g impl ReadSide,
) -> Option<(usize, StagedRef<'g, T::Context>)> {
    table_of::<T>(mm).next(from, rcu)
}

/// The table of an address space without users: nobody else can add to it, or lock it.
pub struct LastTable<'a, T: Staged>(RcuTable<'a, StoredContext<T>>);

impl<T: Staged> LastTable<'_, T> {
    /// Takes all contexts out and frees the table.
    pub fn drain(self, mut f: impl FnMut(RemovedContext<'_, T>)) {
        let f = |StoredContext(owner)| f(RemovedContext { owner, mm: None });

        // SAFETY: All others that lock the table, or add to it, borrow the address space from a
        // task that has a reference to it (see `table()`), and no task has one.
        unsafe { self.0.drain(f) };
    }
}

/// A context that was taken out of its table.
#[must_use = "nobody else can end the context"]
pub struct RemovedContext<'a, T: Staged> {
    owner: StagedOwner<T>,
    /// The address space, if it has users still.
    mm: Option<CurrentMm<'a>>,
}

impl<T: Staged> RemovedContext<'_, T> {
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
            // SAFETY:
            // - Only a `FoundContext` leads to a new user (what `next()` returns does not: outside
            //   of this crate nobody can make a user of it). The context is in no table any longer,
            //   and other tasks that have found it there borrow the address space, by the lifetime
            //   of `FoundContext`. So there are none: the current task is the only one that has a
            //   reference to the address space, or no task has one.
            // - For the same reason no other task has a user: by its type invariants a
            //   `ContextUser` does not outlive the borrow of the address space, and a `StagedUser`
            //   stays with its task. What was forgotten (`mem::forget()`) is never dropped, and
            //   stays counted.
            unsafe { self.owner.shutdown_alone() };
        }
    }
}

impl<T: Staged> Deref for RemovedContext<'_, T> {
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
    // SAFETY: The caller guarantees that `mm` is valid for the time of the call.
    let mm = unsafe { Mm::from_raw(mm) };

    T::exit(LastTable(table_of::<T>(mm)));
}
