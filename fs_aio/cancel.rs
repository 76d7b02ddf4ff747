// SPDX-License-Identifier: GPL-2.0

//! `io_cancel(2)`.

use crate::{
    context::Context,
    request, //
};
use kernel::{
    aio::{
        abi::Iocb,
        trace, //
    },
    prelude::*,
    uaccess::{
        UserPtr,
        UserScalar, //
    },
};

/// Checks that an iocb was submitted, for all that can be seen in it.
///
/// # Errors
///
/// `EFAULT` if it can't be read, `EINVAL` if it was not.
pub(crate) fn check(user_iocb: UserPtr) -> Result {
    let key = u32::get_user(user_iocb.wrapping_byte_add(Iocb::KEY_OFFSET))?;

    if key != request::KEY {
        return Err(EINVAL);
    }
    Ok(())
}

/// Begins to cancel a request that user space calls so, `io_event.obj`. It will end in an event.
///
/// # Errors
///
/// `EINVAL` if there is none that can be cancelled, or what the driver says.
pub(crate) fn cancel(context: &Context, obj: u64) -> Result {
    let result = cancel_inner(context, obj);
    let ret = result.err().map_or(0, |e| e.to_errno());

    trace::cancel(context.user_id(), obj, ret);
    result
}

/// The same for what no program has a name for, so that nobody is told of it.
pub(crate) fn cancel_inner(context: &Context, name: u64) -> Result {
    context
        .cancel
        .cancel(name, context.ring.nr_events() as usize)
}

#[kunit_tests(aio_cancel)]
mod tests {
    use super::*;
    use crate::{
        kunit::Process,
        submit, //
    };
    use kernel::{
        aio::abi::{
            opcode,
            Abi, //
        },
        kunit::user::UserMemory,
        sync::threshold::Timeout, //
    };

    #[test]
    fn iocbs_that_were_not_submitted() -> Result {
        let memory = UserMemory::new(1)?;
        let end = memory.len();

        assert_eq!(check(memory.at(0)), Ok(()));
        memory.write(Iocb::KEY_OFFSET, &1u32)?;
        assert_eq!(check(memory.at(0)), Err(EINVAL));
        memory.write(Iocb::KEY_OFFSET, &u32::MAX)?;
        assert_eq!(check(memory.at(0)), Err(EINVAL));
        // Only the key is looked at.
        assert_eq!(check(memory.at(end - Iocb::KEY_OFFSET - 4)), Ok(()));
        assert_eq!(check(memory.at(end - Iocb::KEY_OFFSET - 3)), Err(EFAULT));
        assert_eq!(check(UserPtr::from_addr(0)), Err(EFAULT));
        assert_eq!(check(UserPtr::from_addr(usize::MAX - 63)), Err(EFAULT));
        Ok(())
    }

    #[test]
    fn a_read_whose_file_has_a_way() -> Result {
        let process = Process::new(8)?;
        let pointers = process.write_all(&[process.read_iocb(8)])?;
        let iocb = process.write(0, &process.read_iocb(8))?;

        for (cancellable, result) in [(false, Err(EINVAL)), (true, Ok(()))] {
            process.file.hold(cancellable);
            process.with_context(|context| {
                assert_eq!(submit::submit(context, 1, pointers, Abi::Native), Ok(1));
                assert_eq!(cancel(context, iocb.as_const_ptr() as u64), result);
                // Once only, and by the right name.
                assert_eq!(cancel(context, iocb.as_const_ptr() as u64), Err(EINVAL));
                assert_eq!(
                    cancel(context, iocb.as_const_ptr() as u64 + 64),
                    Err(EINVAL)
                );
                Ok(())
            })?;
            assert_eq!(process.file.cancelled(), cancellable.into());
            assert!(process.file.end(0));
        }
        Ok(())
    }

    /// A driver may complete what it cancels before its function returns, and more than that.
    #[test]
    fn ended_by_who_cancels_it() -> Result {
        let process = Process::new(8)?;
        let read = process.read_iocb(8);
        let pointers = process.write_all(&[read, read, read])?;
        let iocb = process.write(1, &read)?;

        process.file.hold(true);
        process.file.end_when_cancelled(EINTR.to_errno() as isize);
        process.with_context(|context| {
            assert_eq!(submit::submit(context, 3, pointers, Abi::Native), Ok(3));
            assert_eq!(cancel(context, iocb.as_const_ptr() as u64), Ok(()));
            assert_eq!(cancel(context, iocb.as_const_ptr() as u64), Err(EINVAL));
            assert_eq!(process.file.held(), 0);
            // The lock is nobody's.
            assert_eq!(submit::submit(context, 2, pointers, Abi::Native), Ok(2));
            context.cancel.cancel_all();
            assert_eq!(process.file.held(), 0);
            Ok(())
        })?;
        assert_eq!(process.file.cancelled(), 2);
        assert_eq!(process.read_events(5, 8, Timeout::Never), Ok(5));
        for nr in 0..5 {
            assert_eq!(process.event(nr)?[2] as i64, -4);
        }
        Ok(())
    }

    #[test]
    fn a_read_that_has_ended() -> Result {
        let process = Process::new(8)?;
        let pointers = process.write_all(&[process.read_iocb(8)])?;
        let iocb = process.write(0, &process.read_iocb(8))?;

        process.file.hold(true);
        process.with_context(|context| {
            assert_eq!(submit::submit(context, 1, pointers, Abi::Native), Ok(1));
            assert!(process.file.end(8));
            assert_eq!(cancel(context, iocb.as_const_ptr() as u64), Err(EINVAL));
            Ok(())
        })?;
        assert_eq!(process.file.cancelled(), 0);
        Ok(())
    }

    #[test]
    fn a_poll() -> Result {
        const POLLIN: u64 = 1;

        let process = Process::new(8)?;
        let poll = process.iocb(opcode::POLL, POLLIN, 0);
        let pointers = process.write_all(&[poll])?;
        let iocb = process.write(0, &poll)?;

        process.with_context(|context| {
            assert_eq!(submit::submit(context, 1, pointers, Abi::Native), Ok(1));
            assert_eq!(cancel(context, iocb.as_const_ptr() as u64), Ok(()));
            assert_eq!(cancel(context, iocb.as_const_ptr() as u64), Err(EINVAL));
            Ok(())
        })
    }

    /// What can be cancelled is, when the context ends.
    #[test]
    fn at_the_end_of_the_context() -> Result {
        const POLLIN: u64 = 1;

        let process = Process::new(8)?;
        let poll = process.iocb(opcode::POLL, POLLIN, 0);
        let pointers = process.write_all(&[poll, poll, poll])?;

        process.with_context(|context| {
            assert_eq!(submit::submit(context, 3, pointers, Abi::Native), Ok(3));
            Ok(())
        })?;
        // Otherwise this would wait indefinitely.
        process.destroy()
    }
}
