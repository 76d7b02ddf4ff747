// SPDX-License-Identifier: GPL-2.0

//! The tasks that have submitted what is carried on.

use super::Pool;
use crate::{
    context::Context,
    table, //
};
use core::cell::Cell;
use kernel::{
    cred::Credential,
    fs::current_ioprio,
    prelude::*,
    sync::{
        aref::ARef,
        Arc, //
    },
    task::{
        io_thread::Identity,
        IoThread,
        Task, //
    },
};

/// What operations need of the task that has submitted them.
///
/// As long as it is there, its pool is used: the threads don't leave because there is nothing to
/// do.
pub(crate) struct Submitter {
    pub(super) pool: Arc<Pool>,
    pub(super) creds: ARef<Credential>,
    pub(super) task: ARef<Task>,
    /// The I/O priority that it had.
    pub(super) ioprio: u16,
}

impl Submitter {
    /// The current task, whose process has a thread then.
    ///
    /// May sleep.
    ///
    /// # Errors
    ///
    /// Those of [`IoThread::spawn()`](kernel::task::IoThread::spawn) if there is no thread, and
    /// none can be made; `ENOMEM`. `EAGAIN` if the first one is just being made for somebody who
    /// has other files or directories.
    fn new(context: &Context) -> Result<Arc<Self>> {
        let (identity, creds) = (Identity::current(), Credential::current());

        loop {
            let pool = match table::find_pool(context, identity) {
                Some(pool) => pool,
                None => table::set_pool(context, identity, Pool::new(identity)?),
            };
            let found = pool.state.with(|s| {
                if s.dead {
                    return None;
                }
                s.add_user(&creds);
                // One that is being made may turn out not to be possible.
                Some((
                    s.threads > s.spawning,
                    s.short && s.idle == 0 && s.coming <= 0,
                ))
            });
            let Some((has_thread, short)) = found else {
                continue;
            };
            // From here on its threads don't leave because there is nothing to do.
            let this = Self {
                pool,
                creds,
                task: ARef::from(&**current!()),
                ioprio: current_ioprio(),
            };

            if !has_thread {
                // All threads of a pool are the same.
                if !this.pool.has_view_of_current() {
                    return Err(EAGAIN);
                }
                this.pool.spawn()?;
            } else if short && this.pool.has_view_of_current() {
                // The threads that there are may stay busy indefinitely, and making one may be
                // possible now.
                let _ = this.pool.spawn();
            }
            return Ok(Arc::new(this, GFP_KERNEL_ACCOUNT)?);
        }
    }

    /// Returns the pool of its process.
    pub(crate) fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    /// Returns its credentials.
    pub(crate) fn creds(&self) -> &ARef<Credential> {
        &self.creds
    }

    /// Lets a thread do I/O with the priority of the task; if that is not possible, with its own.
    pub(crate) fn lend_ioprio(&self, thread: &IoThread) {
        let _ = thread.set_ioprio(self.ioprio);
    }

    /// Returns the task.
    pub(crate) fn task(&self) -> &Task {
        &self.task
    }
}

impl Drop for Submitter {
    fn drop(&mut self) {
        let pool = &self.pool;

        pool.state.with(|s| {
            s.users -= 1;
            // What has never had a thread may be of use for nobody else, see `new()`.
            if s.users == 0 && s.threads == 0 {
                pool.set_dead(s);
            }
        });
    }
}

/// A call of `io_submit(2)`, all of whose operations have one submitter.
pub(crate) struct Submission(Cell<Option<Arc<Submitter>>>);

impl Submission {
    /// One in which nothing had to be carried on.
    #[inline]
    pub(crate) fn new() -> Self {
        Self(Cell::new(None))
    }

    /// Returns the submitter, which is the current task.
    ///
    /// May sleep.
    ///
    /// # Errors
    ///
    /// If there is no thread, and none can be made, what keeps it from that: `ERESTARTNOINTR` or
    /// `EINTR` if it is a signal. `ENOMEM`.
    pub(crate) fn submitter(&self, context: &Context) -> Result<Arc<Submitter>> {
        let submitter = match self.0.take() {
            Some(submitter) if !submitter.pool.is_dead() => submitter,
            _ => Submitter::new(context)?,
        };

        self.0.set(Some(submitter.clone()));
        Ok(submitter)
    }
}
