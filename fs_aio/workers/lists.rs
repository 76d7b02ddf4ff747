// SPDX-License-Identifier: GPL-2.0

//! What waits for the threads of a process, and which of it may run.

use crate::context::Context;
use kernel::{
    percpu::num_possible_cpus,
    prelude::*,
    rbtree::{
        RBTree,
        RBTreeNodeReservation, //
    },
    slab::JobList,
    time::{
        Delta,
        Instant,
        Monotonic, //
    },
};

/// An operation that takes longer does not count as running.
pub(super) const STUCK_MSECS: u32 = 1000;

/// So many operations on storage run at a time, for each CPU.
const PER_CPU: usize = 4;

/// Returns how many operations on storage run at a time.
pub(super) fn max_running() -> usize {
    num_possible_cpus() as usize * PER_CPU
}

/// So many more may be stuck, and not count.
pub(super) const STUCK: usize = 256;

/// Who runs an operation.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// One of the threads for regular files and block devices.
    Storage,
    /// Any thread.
    Other,
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

/// Where an operation on storage runs.
pub(super) type Slot = Option<Instant<Monotonic>>;

pub(super) struct State {
    pub(super) storage: JobList,
    pub(super) others: JobList,
    /// What waits for an operation on the same data.
    pub(super) behind: RBTree<Key, Waiting>,
    /// Operations that wait until their files are ready. These are second references.
    pub(super) parked: JobList,
    /// Operations that were cancelled.
    pub(super) cancelled: JobList,
    /// Since when operations on storage run.
    pub(super) running: KVec<Slot>,
    /// How many there are, those included that are being made.
    pub(super) threads: usize,
    /// How many of them are being made; some may be there already, or have left.
    pub(super) spawning: usize,
    pub(super) idle: usize,
    /// The last attempt to make one has failed.
    pub(super) short: bool,
    /// How many operations there are, wherever they are.
    pub(super) users: usize,
    /// Its threads leave, or have left.
    pub(super) dead: bool,
}

impl State {
    /// Returns whether an operation on storage may run, and where it is then counted.
    pub(super) fn slot(&mut self) -> Option<Option<usize>> {
        let max = max_running();
        let occupied = self.running.iter().filter(|slot| slot.is_some()).count();

        if occupied >= max {
            let stuck = Delta::from_millis(STUCK_MSECS.into());
            let counts = |slot: &&Slot| slot.is_some_and(|since| since.elapsed() < stuck);

            if self.running.iter().filter(counts).count() >= max {
                return None;
            }
        }
        // If there is no place left, nearly all are stuck, and one more need not be counted.
        Some(self.running.iter().position(Option::is_none))
    }

    pub(super) fn has_work(&mut self) -> bool {
        !self.others.is_empty() || (!self.storage.is_empty() && self.slot().is_some())
    }
}

/// Whether an operation is a part of an order.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// It is not.
    None,
    /// It is the first.
    First,
    /// It waits for others.
    Behind,
}
