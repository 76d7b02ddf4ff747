// SPDX-License-Identifier: GPL-2.0

//! `io_submit(2)`: a batch of iocbs becomes requests, and requests become operations.

use crate::{
    batch::Batch,
    context::Context,
    extension::{
        Extension,
        Indexed,
        Threaded, //
    },
    kind::{
        Kind,
        Plain, //
    },
    ops,
    trace::{
        self,
        Observing, //
    },
    workers::{
        Submission,
        Threads, //
    },
};
use core::mem::MaybeUninit;
use kernel::{
    aio::{
        abi::{
            Abi,
            Iocb, //
        },
        trace::submissions_on, //
    },
    blk_plug::{
        plugged,
        Plug, //
    },
    prelude::*,
    sync::staged::StagedUser,
    uaccess::UserPtr,
};

/// Smaller batches are not worth holding back block requests.
const PLUG_THRESHOLD: usize = 2;

/// Submits `nr` iocbs, whose addresses are in an array, and returns how many were.
///
/// # Errors
///
/// That of the first iocb, if it could not be submitted.
#[inline(always)]
pub(crate) fn submit(
    context: &StagedUser<Context>,
    nr: usize,
    iocbs: UserPtr,
    abi: Abi,
) -> Result<usize> {
    if submissions_on() {
        return submit_observed(context, nr, iocbs, abi);
    }
    // No more can be in flight.
    let nr = nr.min(context.ring.nr_events() as usize);

    if let Some(extension) = context.extension() {
        return submit_to_extended(extension, context, nr, iocbs, abi);
    }
    if nr > PLUG_THRESHOLD {
        plugged(|plug| submit_plain(context, nr, iocbs, abi, Some(plug)))
    } else {
        submit_plain(context, nr, iocbs, abi, None)
    }
}

/// Submits to a context of `io_setup(2)`.
#[inline(never)]
fn submit_plain(
    context: &StagedUser<Context>,
    nr: usize,
    iocbs: UserPtr,
    abi: Abi,
    plug: Option<&Plug>,
) -> Result<usize> {
    submit_batch(Plain, context, nr, iocbs, abi, plug)
}

#[inline(always)]
fn submit_batch<K: Kind>(
    kind: K,
    context: &StagedUser<Context>,
    nr: usize,
    iocbs: UserPtr,
    abi: Abi,
    plug: Option<&Plug>,
) -> Result<usize> {
    let mut batch = Batch::new(context, nr, plug);

    for i in 0..nr {
        let result = kind
            .name(iocbs, i, abi)
            .and_then(|name| submit_one(kind, &mut batch, name, abi == Abi::Compat));

        if let Err(e) = result {
            return if i == 0 { Err(e) } else { Ok(i) };
        }
    }
    Ok(nr)
}

/// Submits to a context of another kind.
#[cold]
#[inline(never)]
fn submit_to_extended(
    extension: &Extension,
    context: &StagedUser<Context>,
    nr: usize,
    iocbs: UserPtr,
    abi: Abi,
) -> Result<usize> {
    let submit = |plug: Option<&Plug>| match extension.threads() {
        None => submit_unthreaded(extension, context, nr, iocbs, abi, plug),
        Some(threads) if extension.has_array() => {
            submit_threaded::<true>(extension, threads, context, nr, iocbs, abi, plug)
        }
        Some(threads) => {
            submit_threaded::<false>(extension, threads, context, nr, iocbs, abi, plug)
        }
    };

    if nr > PLUG_THRESHOLD {
        plugged(|plug| submit(Some(plug)))
    } else {
        submit(None)
    }
}

/// Submits to a context without threads.
#[inline(always)]
fn submit_unthreaded(
    extension: &Extension,
    context: &StagedUser<Context>,
    nr: usize,
    iocbs: UserPtr,
    abi: Abi,
    plug: Option<&Plug>,
) -> Result<usize> {
    if let Some(kind) = Indexed::<true, true>::new(extension) {
        return submit_extended(extension, kind, context, nr, iocbs, abi, plug);
    }
    if let Some(kind) = Indexed::<true, false>::new(extension) {
        return submit_extended(extension, kind, context, nr, iocbs, abi, plug);
    }
    if let Some(kind) = Indexed::<false, false>::new(extension) {
        return submit_extended(extension, kind, context, nr, iocbs, abi, plug);
    }
    submit_extended(extension, extension, context, nr, iocbs, abi, plug)
}

/// Submits to a threaded context, which has an array of iocbs, or not.
#[inline(never)]
fn submit_threaded<const ARRAY: bool>(
    extension: &Extension,
    threads: &Threads,
    context: &StagedUser<Context>,
    nr: usize,
    iocbs: UserPtr,
    abi: Abi,
    plug: Option<&Plug>,
) -> Result<usize> {
    let submission = Submission::new();
    let kind = Threaded::<ARRAY>::new(extension, threads, &submission);

    submit_batch(kind, context, nr, iocbs, abi, plug)
}

#[inline(never)]
fn submit_extended<K: Kind>(
    extension: &Extension,
    kind: K,
    context: &StagedUser<Context>,
    nr: usize,
    iocbs: UserPtr,
    abi: Abi,
    plug: Option<&Plug>,
) -> Result<usize> {
    let result = submit_batch(kind, context, nr, iocbs, abi, plug);

    if extension.polled().is_some() {
        // Whoever waits, and had nothing to poll for, has now.
        context.waiters.wake(usize::MAX);
    }
    result
}

/// Submits to a context of any kind, while somebody observes that.
#[cold]
#[inline(never)]
fn submit_observed(
    context: &StagedUser<Context>,
    asked: usize,
    iocbs: UserPtr,
    abi: Abi,
) -> Result<usize> {
    let nr = asked.min(context.ring.nr_events() as usize);
    let submit = |plug: Option<&Plug>| match context.extension() {
        None => submit_batch(Observing(Plain), context, nr, iocbs, abi, plug),
        Some(extension) => match extension.threads() {
            None => submit_extended(
                extension,
                Observing(extension),
                context,
                nr,
                iocbs,
                abi,
                plug,
            ),
            Some(threads) => {
                let submission = Submission::new();
                // Whether there is an array of iocbs or not.
                let kind = Threaded::<true>::new(extension, threads, &submission);

                submit_batch(Observing(kind), context, nr, iocbs, abi, plug)
            }
        },
    };

    trace::submission(context, asked, || {
        if nr > PLUG_THRESHOLD {
            plugged(|plug| submit(Some(plug)))
        } else {
            submit(None)
        }
    })
}

/// Submits one iocb.
///
/// # Errors
///
/// In this order: `EFAULT` if it can't be read, `EINVAL` for what is reserved or does not fit,
/// those of [`ops::start()`].
#[inline(always)]
fn submit_one<K: Kind>(kind: K, batch: &mut Batch<'_>, name: K::Name, compat: bool) -> Result {
    let mut iocb = MaybeUninit::uninit();
    let iocb = kind.iocb(name, &mut iocb)?;

    check(iocb)?;
    ops::start(kind, iocb, name, compat, batch)
}

/// Checks what is common to all operations.
#[inline]
fn check(iocb: &Iocb) -> Result {
    // Kept for what is to come.
    if iocb.reserved2() != 0 {
        return Err(EINVAL);
    }
    // The fields are larger than a pointer or a size of a 32-bit kernel.
    if usize::try_from(iocb.buf()).is_err() || isize::try_from(iocb.nbytes()).is_err() {
        return Err(EINVAL);
    }
    Ok(())
}

#[kunit_tests(aio_submit)]
mod tests {
    use super::*;
    use crate::kunit::Process;
    use kernel::{
        aio::abi::opcode,
        kunit::user::UserMemory, //
    };

    #[test]
    fn nothing() -> Result {
        let process = Process::new(8)?;

        process.with_context(|context| {
            // The array is not looked at.
            assert_eq!(
                submit(context, 0, UserPtr::from_addr(usize::MAX), Abi::Native),
                Ok(0)
            );
            Ok(())
        })
    }

    #[test]
    fn up_to_the_first_that_is_wrong() -> Result {
        let process = Process::new(8)?;
        let (good, bad) = (process.read_iocb(8), process.read_iocb(8).with_reserved2(1));

        assert_eq!(process.submit(&[bad, good]), Err(EINVAL));
        assert_eq!(process.submit(&[good, bad]), Ok(1));
        assert_eq!(process.submit(&[good, good, bad, good]), Ok(2));
        assert_eq!(process.submit(&[good]), Ok(1));
        Ok(())
    }

    #[test]
    fn what_is_reserved() -> Result {
        let process = Process::new(8)?;
        let buffer = process.buffer();
        let read = |nbytes| process.iocb(opcode::PREAD, buffer, nbytes);

        assert_eq!(process.submit(&[read(8)]), Ok(1));
        assert_eq!(process.submit(&[read(1 << 63)]), Err(EINVAL));
        assert_eq!(process.submit(&[read(u64::MAX)]), Err(EINVAL));
        for value in [1, 1 << 32, u64::MAX] {
            assert_eq!(
                process.submit(&[read(8).with_reserved2(value)]),
                Err(EINVAL)
            );
        }
        // Before the file is asked for.
        let no_file = Iocb::new(opcode::PREAD, u32::MAX, buffer, 8, 0);

        assert_eq!(process.submit(&[no_file]), Err(EBADF));
        assert_eq!(process.submit(&[no_file.with_reserved2(1)]), Err(EINVAL));
        Ok(())
    }

    #[test]
    fn addresses() -> Result {
        let process = Process::new(8)?;
        let memory = UserMemory::new(1)?;
        let end = memory.len();
        let addr = |offset| memory.at(offset).as_const_ptr() as usize;
        let submit = |array| process.with_context(|context| submit(context, 2, array, Abi::Native));

        // The array is not there, or half of it.
        assert_eq!(submit(memory.at(end)), Err(EFAULT));
        assert_eq!(submit(memory.at(end - 7)), Err(EFAULT));
        memory.write(end - 8, &addr(0))?;
        memory.write(0, &process.read_iocb(8))?;
        assert_eq!(submit(memory.at(end - 8)), Ok(1));
        // An iocb is not there, or not all of it.
        for iocb in [0, addr(end), addr(end - 63), usize::MAX - 63] {
            memory.write(128, &[iocb, iocb])?;
            assert_eq!(submit(memory.at(128)), Err(EFAULT));
            memory.write(128, &[addr(0), iocb])?;
            assert_eq!(submit(memory.at(128)), Ok(1));
        }
        Ok(())
    }

    /// No more than the ring has events.
    #[test]
    fn more_than_can_be_in_flight() -> Result {
        let process = Process::new(1)?;
        let memory = UserMemory::new(4)?;
        let iocb = process.write(0, &process.read_iocb(8))?.as_const_ptr() as usize;

        for i in 0..memory.len() / 8 {
            memory.write(i * 8, &iocb)?;
        }
        process.with_context(|context| {
            let submit = || submit(context, usize::MAX, memory.at(0), Abi::Native);
            let submitted = submit()?;

            // A full ring differs from an empty one.
            assert_eq!(submitted, context.ring.nr_events() as usize - 1);
            Ok(())
        })
    }
}
