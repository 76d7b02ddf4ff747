// SPDX-License-Identifier: GPL-2.0

//! What waits for the threads of a process, and which of it may run.

use super::storage::Storage;
use crate::context::Context;
use kernel::{
    cred::Credential,
    prelude::*,
    rbtree::{
        RBTree,
        RBTreeNodeReservation, //
    },
    slab::JobList,
    sync::aref::ARef, //
};

/// Who runs an operation.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// One of the threads for regular files and block devices. This is what
    /// [`device_of()`](kernel::fs::device_of()) says of the file.
    Storage(u32),
    /// Any thread.
    Other,
}

impl Class {
    /// Returns the group of the operations in the lists.
    pub(crate) fn group(self) -> u32 {
        match self {
            Class::Storage(device) => device,
            Class::Other => 0,
        }
    }
}

/// Data of a file, for a context: operations on them wait for each other.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    context: usize,
    data: usize,
}

impl Key {
    /// `data` is [`AsyncKiocb::data_id()`](kernel::fs::AsyncKiocb::data_id()).
    pub(crate) fn new(context: &Context, data: usize) -> Self {
        Self {
            context: core::ptr::from_ref(context) as usize,
            data,
        }
    }
}

/// Operations that wait for another one.
pub(crate) struct Waiting {
    /// Which one, by the number of its links.
    pub(super) head: usize,
    pub(super) list: JobList,
}

/// Memory for what may be needed to put an operation in order.
pub(crate) type Reservation = RBTreeNodeReservation<Key, Waiting>;

pub(super) struct State {
    pub(super) storage: Storage,
    pub(super) others: JobList,
    /// What waits for an operation on the same data.
    pub(super) behind: RBTree<Key, Waiting>,
    /// Operations that wait until their files are ready. These are second references.
    pub(super) parked: JobList,
    /// Operations that were cancelled.
    pub(super) cancelled: JobList,
    /// How many there are, those included that are being made.
    pub(super) threads: usize,
    /// How many of them are being made; some may be there already, or have left.
    pub(super) spawning: usize,
    /// How many were made and have not looked for something to do yet. One that is faster than who
    /// has made it makes it -1.
    pub(super) coming: isize,
    pub(super) idle: usize,
    /// One of those that are idle is on its way, see [`thread`](super::thread).
    pub(super) waking: bool,
    /// The last attempt to make one has failed.
    pub(super) short: bool,
    /// How many submitters have operations, wherever those are.
    pub(super) users: usize,
    /// The credentials of the last one.
    pub(super) creds: Option<ARef<Credential>>,
    /// Its threads leave, or have left.
    pub(super) dead: bool,
}

impl State {
    /// There is nothing to do, and nobody who would do it.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(super) fn new() -> Result<Self> {
        Ok(Self {
            storage: Storage::new()?,
            others: JobList::new(),
            behind: RBTree::new(),
            parked: JobList::new(),
            cancelled: JobList::new(),
            threads: 0,
            spawning: 0,
            coming: 0,
            idle: 0,
            waking: false,
            short: false,
            users: 0,
            creds: None,
            dead: false,
        })
    }

    /// One more task submits something, with these credentials.
    pub(super) fn add_user(&mut self, creds: &ARef<Credential>) {
        let same = |last: &ARef<Credential>| core::ptr::eq::<Credential>(&**last, &**creds);

        self.users += 1;
        if !self.creds.as_ref().is_some_and(same) {
            self.creds = Some(creds.clone());
        }
    }

    /// Returns whether there is something that may be done now.
    #[inline]
    pub(super) fn has_work(&self) -> bool {
        !self.others.is_empty() || self.storage.has_next()
    }
}

/// Which part of an order an operation is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// It is the first.
    First,
    /// It waits for others.
    Behind,
}
