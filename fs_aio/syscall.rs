// SPDX-License-Identifier: GPL-2.0

//! The system calls: arguments are checked, contexts looked up, results returned.
//!
//! The entries themselves are in `syscalls.c`.

use crate::{
    cancel,
    context::Context,
    events,
    submit,
    table, //
};
use kernel::{
    aio::{
        abi::Abi,
        mm::CurrentMm, //
    },
    ffi::{
        c_int,
        c_void, //
    },
    prelude::*,
    sync::{
        threshold::Timeout,
        WaitGroup, //
    },
    syscall::{
        timeout_from_user,
        TimeLayout,
        UserSigmask, //
    },
    uaccess::UserPtr,
    user_scalar::UserScalar, //
};

kernel::export_c! {
    /// `io_setup(2)`.
    pub fn aio_setup_context(nr_events: u32, ctxp: *mut c_void, abi: c_int) -> isize = io_setup;

    /// `io_destroy(2)`.
    pub fn aio_destroy_context(ctx_id: usize) -> isize = io_destroy;

    /// `io_submit(2)`.
    pub fn aio_submit(ctx_id: usize, nr: isize, iocbpp: *mut c_void, abi: c_int) -> isize
        = io_submit;

    /// `io_cancel(2)`.
    pub fn aio_cancel(ctx_id: usize, iocb: *mut c_void) -> isize = io_cancel;

    /// `io_getevents(2)`.
    pub fn aio_getevents(
        ctx_id: usize,
        min_nr: isize,
        nr: isize,
        events: *mut c_void,
        timeout: *mut c_void,
        time_layout: c_int,
    ) -> isize = io_getevents;

    /// `io_pgetevents(2)`.
    pub fn aio_pgetevents(
        ctx_id: usize,
        min_nr: isize,
        nr: isize,
        events: *mut c_void,
        timeout: *mut c_void,
        time_layout: c_int,
        sigset: *mut c_void,
        abi: c_int,
    ) -> isize = io_pgetevents;
}

/// Returns what a system call returns: a number or a negative errno.
#[inline]
fn to_ret(result: Result<usize>) -> isize {
    match result {
        Ok(n) => n as isize,
        Err(e) => e.to_errno() as isize,
    }
}

/// Calls `f` with the address space of the current task.
#[inline(always)]
fn with_mm(f: impl FnOnce(CurrentMm<'_>) -> Result<usize>) -> isize {
    // Threads of the kernel have none, but don't call us.
    to_ret(CurrentMm::of(current!()).ok_or(EINVAL).and_then(f))
}

fn io_setup(nr_events: u32, ctxp: *mut c_void, abi: c_int) -> isize {
    let ctxp = UserPtr::from_ptr(ctxp);
    let abi = Abi::from(abi);

    with_mm(|mm| {
        let old = match abi {
            Abi::Native => usize::get_user(ctxp)?,
            Abi::Compat => u32::get_user(ctxp)? as usize,
        };
        if old != 0 || nr_events == 0 {
            return Err(EINVAL);
        }

        let context = Context::create(mm, nr_events)?;
        let id = context.user_id();
        let result = match abi {
            Abi::Native => id.put_user(ctxp),
            // It is an address of a 32-bit program.
            Abi::Compat => (id as u32).put_user(ctxp),
        };

        if result.is_err() {
            // Somebody may have guessed its name and killed it already.
            let _ = table::kill(mm, context, None);
        }
        result.map(|()| 0)
    })
}

fn io_destroy(ctx_id: usize) -> isize {
    with_mm(|mm| {
        let context = table::lookup(mm, ctx_id)?;

        // Does not return before all requests are complete: until then the kernel uses the buffers
        // of the process.
        let locked = WaitGroup::scope(|group| table::kill(mm, context, Some(group.token())))?;

        drop(locked);
        Ok(0)
    })
}

fn io_submit(ctx_id: usize, nr: isize, iocbpp: *mut c_void, abi: c_int) -> isize {
    with_mm(|mm| {
        let nr = usize::try_from(nr).map_err(|_| EINVAL)?;
        let context = table::lookup(mm, ctx_id)?;

        submit::submit(&context, nr, UserPtr::from_ptr(iocbpp), Abi::from(abi))
    })
}

fn io_cancel(ctx_id: usize, iocb: *mut c_void) -> isize {
    let iocb = UserPtr::from_ptr(iocb);

    with_mm(|mm| {
        cancel::check(iocb)?;
        cancel::cancel(&*table::lookup(mm, ctx_id)?, iocb)?;
        // The event will come through the ring.
        Err(EINPROGRESS)
    })
}

#[inline(always)]
fn getevents(
    ctx_id: usize,
    min_nr: isize,
    nr: isize,
    events: *mut c_void,
    timeout: Timeout,
) -> isize {
    with_mm(|mm| {
        let context = table::lookup(mm, ctx_id)?;
        let (Ok(min), Ok(max)) = (usize::try_from(min_nr), usize::try_from(nr)) else {
            return Err(EINVAL);
        };
        if min > max {
            return Err(EINVAL);
        }

        events::read(&context, min, max, UserPtr::from_ptr(events), timeout)
    })
}

fn io_getevents(
    ctx_id: usize,
    min_nr: isize,
    nr: isize,
    events: *mut c_void,
    timeout: *mut c_void,
    layout: c_int,
) -> isize {
    let timeout = match timeout_from_user(UserPtr::from_ptr(timeout), TimeLayout::from(layout)) {
        Ok(timeout) => timeout,
        Err(e) => return e.to_errno() as isize,
    };

    match getevents(ctx_id, min_nr, nr, events, timeout) {
        0 if current!().signal_pending() => EINTR.to_errno() as isize,
        ret => ret,
    }
}

#[expect(clippy::too_many_arguments)]
fn io_pgetevents(
    ctx_id: usize,
    min_nr: isize,
    nr: isize,
    events: *mut c_void,
    timeout: *mut c_void,
    layout: c_int,
    sigset: *mut c_void,
    abi: c_int,
) -> isize {
    let arguments = || -> Result<_> {
        let timeout = timeout_from_user(UserPtr::from_ptr(timeout), TimeLayout::from(layout))?;
        let compat = Abi::from(abi) == Abi::Compat;

        Ok((
            timeout,
            UserSigmask::from_user(UserPtr::from_ptr(sigset), compat)?,
        ))
    };
    let (timeout, sigmask) = match arguments() {
        Ok(arguments) => arguments,
        Err(e) => return e.to_errno() as isize,
    };

    let ret = getevents(ctx_id, min_nr, nr, events, timeout);
    let interrupted = current!().signal_pending();

    sigmask.restore_unless(interrupted);
    match ret {
        0 if interrupted => ERESTARTNOHAND.to_errno() as isize,
        ret => ret,
    }
}
