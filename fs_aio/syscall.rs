// SPDX-License-Identifier: GPL-2.0

//! The system calls: arguments are checked, contexts looked up, results returned.
//!
//! The entries themselves are in `syscalls/`.

use crate::{
    cancel,
    context::Context,
    events,
    extension::{
        Extension,
        Wanted, //
    },
    submit,
    table, //
};
use kernel::{
    aio::{
        abi::Abi,
        mm::{
            ContextUser,
            CurrentMm, //
        },
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
    task::try_to_freeze,
    uaccess::{
        UserPtr,
        UserScalar, //
    },
};

kernel::export_c! {
    /// `io_setup(2)`.
    pub fn aio_setup_context(nr_events: u32, ctxp: *mut c_void, abi: c_int) -> isize = io_setup;

    /// `io_setup2(2)`.
    pub fn aio_setup2_context(
        nr_events: u32,
        flags: u32,
        iocbs: *mut c_void,
        ctxp: *mut c_void,
        abi: c_int,
    ) -> isize = io_setup2;

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

#[cfg(CONFIG_AIO_THREAD)]
kernel::export_c! {
    /// A thread of a process with contexts exits.
    pub fn aio_thread_exits() = table::task_exits;
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
    io_setup2(nr_events, 0, core::ptr::null_mut(), ctxp, abi)
}

fn io_setup2(
    nr_events: u32,
    flags: u32,
    iocbs: *mut c_void,
    ctxp: *mut c_void,
    abi: c_int,
) -> isize {
    let ctxp = UserPtr::from_ptr(ctxp);
    let abi = Abi::from(abi);

    with_mm(|mm| {
        let wanted = Wanted::new(nr_events, flags, UserPtr::from_ptr(iocbs))?;
        let old = match abi {
            Abi::Native => usize::get_user(ctxp)?,
            Abi::Compat => u32::get_user(ctxp)? as usize,
        };
        if old != 0 || nr_events == 0 {
            return Err(EINVAL);
        }

        let context = Context::create(mm, nr_events, wanted)?;
        let id = context.user_id();
        let result = match abi {
            Abi::Native => id.put_user(ctxp),
            // It is an address of a 32-bit program.
            Abi::Compat => (id as u32).put_user(ctxp),
        };

        if result.is_err() {
            // Somebody may have guessed its name and killed it already.
            let _ = destroy(mm, context);
        }
        result.map(|()| 0)
    })
}

pub(crate) fn io_destroy(ctx_id: usize) -> isize {
    with_mm(|mm| {
        let context = table::lookup(mm, ctx_id)?;

        destroy(mm, context)?;
        Ok(0)
    })
}

/// Ends a context.
///
/// Does not return before all requests are complete: until then the kernel uses the buffers of the
/// process.
///
/// The task may be frozen meanwhile: threads that have the requests may be frozen before it.
fn destroy(mm: CurrentMm<'_>, context: ContextUser<'_, Context>) -> Result {
    let polled = context.polled();
    let kill = |group: &WaitGroup| table::kill(mm, context, Some(group.token()));
    let locked = match polled {
        None => WaitGroup::freezable_scope(kill),
        Some(polled) => WaitGroup::scope_and_work(kill, || polled.work() || try_to_freeze()),
    }?;

    drop(locked);
    Ok(())
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
        let context = table::lookup(mm, ctx_id);
        let extension = context
            .as_ref()
            .ok()
            .and_then(|context| context.extension());
        let obj = match extension {
            Some(extension) if extension.has_indices() => {
                extension.cancel_name(iocb.as_const_ptr() as usize)?
            }
            _ => {
                cancel::check(iocb)?;
                extension.map_or(Ok(()), Extension::check_cancel)?;
                iocb.as_const_ptr() as u64
            }
        };

        cancel::cancel(&*context?, obj)?;
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

#[kunit_tests(aio_syscall)]
mod tests {
    use super::*;
    use crate::kunit::{
        Process,
        EVENTS, //
    };
    use kernel::{
        bindings::{
            AIO_ABI_NATIVE,
            AIO_TIME64, //
        },
        kunit::user::UserMemory, //
    };

    const NATIVE: c_int = AIO_ABI_NATIVE as c_int;
    const TIME: c_int = AIO_TIME64 as c_int;

    fn errno(error: Error) -> isize {
        error.to_errno() as isize
    }

    fn null() -> *mut c_void {
        core::ptr::null_mut()
    }

    #[test]
    fn setup_and_destroy() -> Result {
        let memory = UserMemory::new(1)?;
        let setup = |nr, offset| io_setup(nr, memory.at(offset).as_mut_ptr(), NATIVE);

        assert_eq!(setup(1, memory.len()), errno(EFAULT));
        assert_eq!(setup(0, 0), errno(EINVAL));
        memory.write(0, &1usize)?;
        assert_eq!(setup(1, 0), errno(EINVAL));
        memory.write(0, &0usize)?;
        // An error leaves the number alone.
        assert_eq!(setup(u32::MAX, 0), errno(EINVAL));
        assert_eq!(memory.read::<usize>(0)?, 0);

        assert_eq!(setup(1, 0), 0);
        let id = memory.read::<usize>(0)?;

        assert_eq!(io_destroy(id + 1), errno(EINVAL));
        assert_eq!(io_destroy(id), 0);
        assert_eq!(io_destroy(id), errno(EINVAL));
        assert_eq!(io_destroy(0), errno(EINVAL));
        Ok(())
    }

    #[cfg(CONFIG_COMPAT)]
    #[test]
    fn setup_of_a_32_bit_program() -> Result {
        let memory = UserMemory::new(1)?;
        let end = memory.len();

        // Four bytes are enough; what lies behind them is not touched.
        memory.write(end - 8, &(u64::from(u32::MAX) << 32))?;
        let addr = memory.at(end - 8).as_mut_ptr();

        assert_eq!(
            io_setup(1, addr, kernel::bindings::AIO_ABI_COMPAT as c_int),
            0
        );
        let value = memory.read::<u64>(end - 8)?;

        assert!(value as u32 != 0);
        assert_eq!(value >> 32, u64::from(u32::MAX));
        let addr = memory.at(end - 3).as_mut_ptr();

        assert_eq!(
            io_setup(1, addr, kernel::bindings::AIO_ABI_COMPAT as c_int),
            errno(EFAULT)
        );
        Ok(())
    }

    #[test]
    fn submit_and_get_the_events() -> Result {
        let process = Process::new(4)?;
        let id = process.id();
        let iocb = process.read_iocb(8);
        let array = process.write_all(&[iocb, iocb])?.as_mut_ptr();
        let events = process.memory.at(EVENTS).as_mut_ptr();

        assert_eq!(io_submit(id, -1, array, NATIVE), errno(EINVAL));
        assert_eq!(io_submit(id + 4096, 1, array, NATIVE), errno(EINVAL));
        assert_eq!(io_submit(id, 0, null(), NATIVE), 0);
        assert_eq!(io_submit(id, 1, null(), NATIVE), errno(EFAULT));
        assert_eq!(io_submit(id, 2, array, NATIVE), 2);

        // Numbers that can't be.
        for (min_nr, nr) in [(-1, 1), (0, -1), (2, 1), (isize::MIN, isize::MIN)] {
            assert_eq!(
                io_getevents(id, min_nr, nr, events, null(), TIME),
                errno(EINVAL)
            );
        }
        assert_eq!(io_getevents(id, 1, 1, events, null(), TIME), 1);
        assert_eq!(process.event(0)?[2], 8);
        assert_eq!(io_getevents(id, 1, 10, events, null(), TIME), 1);
        Ok(())
    }

    #[test]
    fn times_and_masks_come_first() -> Result {
        let process = Process::new(4)?;
        let bad = process.memory.at(process.memory.len()).as_mut_ptr();
        let zero = process.memory.at(64);
        let get = |id, timeout| io_getevents(id, 1, 1, null(), timeout, TIME);
        let pget =
            |id, timeout, sigset| io_pgetevents(id, 1, 1, null(), timeout, TIME, sigset, NATIVE);

        process.memory.write(64, &[0u64; 4])?;
        assert_eq!(get(0, bad), errno(EFAULT));
        assert_eq!(get(0, zero.as_mut_ptr()), errno(EINVAL));
        assert_eq!(get(process.id(), zero.as_mut_ptr()), 0);
        assert_eq!(pget(0, bad, null()), errno(EFAULT));
        assert_eq!(pget(0, zero.as_mut_ptr(), bad), errno(EFAULT));
        assert_eq!(pget(0, zero.as_mut_ptr(), null()), errno(EINVAL));
        assert_eq!(pget(process.id(), zero.as_mut_ptr(), null()), 0);
        // A size without a mask is no error, a mask of a wrong size is one.
        process.memory.write(128, &[0usize, 3])?;
        let sigset = process.memory.at(128).as_mut_ptr();

        assert_eq!(pget(process.id(), zero.as_mut_ptr(), sigset), 0);
        process
            .memory
            .write(128, &[zero.as_mut_ptr() as usize, 3])?;
        assert_eq!(pget(process.id(), zero.as_mut_ptr(), sigset), errno(EINVAL));
        Ok(())
    }

    #[test]
    fn cancel_looks_at_the_iocb_first() -> Result {
        let process = Process::new(4)?;
        let iocb = process.read_iocb(8);
        let array = process.write_all(&[iocb])?.as_mut_ptr();
        let addr = process.write(0, &iocb)?.as_mut_ptr();

        assert_eq!(io_cancel(0, null()), errno(EFAULT));
        assert_eq!(io_cancel(0, addr), errno(EINVAL));
        assert_eq!(io_cancel(process.id(), addr), errno(EINVAL));
        process.file.hold(true);
        assert_eq!(io_submit(process.id(), 1, array, NATIVE), 1);
        assert_eq!(io_cancel(0, addr), errno(EINVAL));
        // The event comes through the ring.
        assert_eq!(io_cancel(process.id(), addr), errno(EINPROGRESS));
        assert_eq!(io_cancel(process.id(), addr), errno(EINVAL));
        Ok(())
    }
}
