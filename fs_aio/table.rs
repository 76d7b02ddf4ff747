// SPDX-License-Identifier: GPL-2.0

//! The contexts of an address space.

use crate::{
    context::Context,
    ring::header, //
};
use kernel::{
    aio::mm::{
        self,
        Contexts,
        CurrentMm,
        LastTable, //
    },
    fs::File,
    mm::{
        locked_vm::LockedVm,
        MmWithUser, //
    },
    prelude::*,
    sync::{
        staged::{
            Found,
            Owner,
            User, //
        },
        ReadSection,
        WaitGroup,
        WaitToken, //
    },
    uaccess::UserPtr,
    user_scalar::UserScalar, //
};

/// What the tables hold.
pub(crate) enum Table {}

kernel::exit_aio!(Table);

impl Contexts for Table {
    type Context = Context;

    fn exit(table: LastTable<'_, Context>) {
        // The contexts end all at once, not one after the other.
        WaitGroup::scope(|group| {
            table.drain(|context| {
                if let Some(registration) = context.kill() {
                    let registration = registration.leave_mapping();

                    // Nobody can lock memory in this address space any longer.
                    drop(Context::begin_end(
                        context,
                        registration,
                        Some(group.token()),
                    ));
                }
            })
        });
    }
}

/// Enters a context at the lowest free index; `added` is called with `mm->ioctx_lock` held.
///
/// # Errors
///
/// `ENOMEM`.
pub(crate) fn insert(
    mm: CurrentMm<'_>,
    owner: Owner<Context>,
    added: impl FnOnce(usize, Found<'_, Context>),
) -> Result {
    mm::table::<Table>(mm)
        .insert(owner, added)
        .map_err(|_| ENOMEM)
}

/// Finds the context that user space calls so.
///
/// The index of a context stands in its ring, which user space may have changed; it is right if the
/// context that is found has this name.
///
/// # Errors
///
/// `EINVAL` if there is none, or its end has begun.
#[inline(always)]
pub(crate) fn lookup(mm: CurrentMm<'_>, user_id: usize) -> Result<User<Context>> {
    let ring = UserPtr::from_addr(user_id).wrapping_byte_add(header::ID);
    let index = u32::get_user(ring).map_err(|_| EINVAL)?;

    let section = ReadSection::new();
    let context = mm::table::<Table>(mm)
        .get(index as usize, &section)
        .ok_or(EINVAL)?;

    if context.user_id() != user_id {
        return Err(EINVAL);
    }
    context.try_use(&section).ok_or(EINVAL)
}

/// Begins the end of a context, which the caller does not use any longer; `waiter` is dropped when
/// no request is in flight.
///
/// Returns the locked memory, to be given back after that.
///
/// # Errors
///
/// `EINVAL` if somebody else has done so.
pub(crate) fn kill(
    mm: CurrentMm<'_>,
    context: User<Context>,
    waiter: Option<WaitToken>,
) -> Result<LockedVm> {
    let (removed, registration) = {
        let mut table = mm::table::<Table>(mm).lock();
        let registration = context.kill().ok_or(EINVAL)?;

        (table.remove(context.index()), registration)
    };
    // Who has the registration is the only one to remove the context.
    let removed = removed.ok_or(EINVAL)?;

    // Perhaps there is no other user.
    drop(context);
    Ok(Context::begin_end(removed, registration, waiter))
}

/// The process has moved a mapping of this file.
///
/// # Errors
///
/// `EINVAL` if it is not the whole ring of a live context.
pub(crate) fn ring_moved(mm: &MmWithUser, file: &File, start: usize, len: usize) -> Result {
    // A process moves its own mappings only.
    let current = current!();
    let mm = CurrentMm::of(current)
        .filter(|current| core::ptr::eq::<MmWithUser>(&**current, mm))
        .ok_or(EINVAL)?;
    let table = mm::table::<Table>(mm).lock();
    let context = table.iter().find(|context| context.ring.is_file(file));

    context.ok_or(EINVAL)?.ring_moved(start, len)
}
