// SPDX-License-Identifier: GPL-2.0

//! Reading files into the page cache ahead of their use.
//!
//! The result is how many bytes are there, from the position that was asked for on, without a gap,
//! and up to the end of the file at most. A byte is there when a read of it has nothing to wait
//! for: pages that are being read are waited for, and one that could not be read is where it ends.
//! For `readahead()` a page is there as soon as it is being read; who is told of the end by an
//! event wants to know when it has been.

use kernel::{
    aio::abi::Iocb,
    cred::Credential,
    fs::{
        LocalFile,
        Pending,
        ReadaheadFile, //
    },
    page::PAGE_SIZE,
    prelude::*,
    sizes::*,
    sync::aref::ARef,
    task::fatal_signal_pending,
};

/// So many bytes are looked at by the submitter, to find out whether there is nothing to do: a few
/// thousand pages, which are as many steps.
const AT_ONCE: i64 = SZ_16M as i64;

/// So many bytes are being read at a time, while the first of them are waited for. As many as can
/// be asked for without a wait on most devices, and few enough to be no burden if it is cancelled.
const WINDOW: i64 = SZ_4M as i64;

/// What is to be in the page cache.
pub(crate) struct Readahead {
    file: ReadaheadFile,
    pos: i64,
    /// `pos + len` can be represented.
    len: i64,
}

impl Readahead {
    /// What an iocb asks for.
    ///
    /// # Errors
    ///
    /// In this order: `EINVAL` for fields that have to be zero; `EBADF` and `EINVAL` for the file,
    /// as `readahead()`; `EINVAL` for a range that no file has.
    pub(crate) fn new(file: ARef<LocalFile>, iocb: &Iocb) -> Result<Self> {
        if iocb.buf() != 0 || iocb.rw_flags() != 0 {
            return Err(EINVAL);
        }

        let file = ReadaheadFile::new(file)?;
        let (pos, len) = (iocb.offset(), i64::try_from(iocb.nbytes())?);

        if pos < 0 || pos.checked_add(len).is_none() {
            return Err(EINVAL);
        }
        Ok(Self { file, pos, len })
    }

    /// Returns where it ends, which may be before it begins.
    fn end(&self) -> i64 {
        (self.pos + self.len).min(self.file.size())
    }

    /// Returns the result, if there is nothing to be read or waited for.
    ///
    /// If there is much to look at, it is not looked at.
    pub(crate) fn cached(&self) -> Option<isize> {
        let (pos, end) = (self.pos, self.end());

        if end <= pos {
            return Some(0);
        }
        if end - pos > AT_ONCE || self.file.cached_to(pos, end, Pending::Skip) != end {
            return None;
        }
        Some((end - pos) as isize)
    }

    /// Reads what is missing, waits for it, and returns the result. Once `cancelled` is true, that
    /// is what is there by then, or -`EINTR`.
    ///
    /// The file system sees these credentials; `cancelled` is called with those of the task, and so
    /// may do the work that has come with a signal.
    ///
    /// May sleep; that it waits for the device can only be interrupted by a fatal signal.
    pub(crate) fn run(&self, creds: &Credential, cancelled: impl Fn() -> bool) -> isize {
        let chunk = self.file.chunk() as i64;
        let mut end = self.end();
        // What has been asked for, from the start of a page: an additional page would be too much.
        let mut started = self.pos & !(PAGE_SIZE as i64 - 1);
        // What is there.
        let mut done = self.pos;

        while done < end && !cancelled() {
            if started < end && started - done < WINDOW {
                let len = chunk.min(end - started);

                match creds.scoped(|| self.file.start(started, len)) {
                    Ok(()) => started += len,
                    Err(e) if done == self.pos && started <= done => return e.to_errno() as isize,
                    Err(_) => end = started,
                }
                continue;
            }

            let next = started.min(done.saturating_add(chunk));

            done = self.file.cached_to(done, next, Pending::Wait);
            if done < next {
                break;
            }
        }

        // It may have become shorter.
        match done.min(self.end()) - self.pos {
            len if len > 0 => len as isize,
            _ if cancelled() || fatal_signal_pending() => EINTR.to_errno() as isize,
            _ => 0,
        }
    }
}

const _: () = {
    const fn is_send<T: Send>() {}

    is_send::<Readahead>();
};

#[kunit_tests(aio_ops_readahead)]
mod tests {
    use super::*;
    use kernel::{
        aio::abi::opcode,
        kunit::user::{
            MemoryFile,
            ScriptedFile, //
        },
    };

    const PAGE: i64 = PAGE_SIZE as i64;

    fn iocb(len: u64, pos: i64) -> Iocb {
        Iocb::new(opcode::READAHEAD, 0, 0, len, pos)
    }

    #[test]
    fn refused() -> Result {
        let file = MemoryFile::new(PAGE)?;
        let other = ScriptedFile::new()?;
        let error = |iocb| Ok::<_, Error>(Readahead::new(file.open().local()?, &iocb).err());

        assert_eq!(error(iocb(1, 0))?, None);
        assert_eq!(error(iocb(i64::MAX as u64, 0))?, None);
        assert_eq!(error(iocb(1, i64::MAX - 1))?, None);
        for bad in [
            iocb(1, i64::MAX),
            iocb(i64::MAX as u64, 1),
            iocb(1, -1),
            iocb(1 << 63, 0),
            iocb(0, 0).with_rw_flags(1),
            Iocb::new(opcode::READAHEAD, 0, 1, 1, 0),
        ] {
            assert_eq!(error(bad)?, Some(EINVAL));
        }
        assert_eq!(
            Readahead::new(other.open().local()?, &iocb(1, 0)).err(),
            Some(EINVAL)
        );
        Ok(())
    }

    /// What is in memory is all that there is of this file.
    #[test]
    fn results() -> Result {
        let file = MemoryFile::new(8 * PAGE)?;
        let creds = Credential::prepare()?;

        file.write(PAGE, b"one")?;
        file.write(2 * PAGE, b"two")?;
        file.write(7 * PAGE, b"seven")?;

        for (pos, len, result, at_once) in [
            (0, 0, 0, true),
            (0, 8 * PAGE, 0, false),
            (PAGE, 2 * PAGE, 2 * PAGE, true),
            (PAGE + 5, PAGE, PAGE, true),
            (PAGE + 5, 2 * PAGE, 2 * PAGE - 5, false),
            (7 * PAGE, PAGE, PAGE, true),
            (7 * PAGE + 1, 100 * PAGE, PAGE - 1, true),
            (8 * PAGE, PAGE, 0, true),
            (i64::MAX - PAGE, PAGE, 0, true),
        ] {
            let job = Readahead::new(file.open().local()?, &iocb(len as u64, pos))?;

            assert_eq!(job.cached(), at_once.then_some(result as isize));
            assert_eq!(job.run(&creds, || false), result as isize);
        }
        Ok(())
    }

    #[test]
    fn cancelled() -> Result {
        let file = MemoryFile::new(PAGE)?;
        let creds = Credential::prepare()?;

        file.write(0, b"x")?;

        let job = |len| Readahead::new(file.open().local()?, &iocb(len, 0));

        assert_eq!(job(1)?.run(&creds, || true), EINTR.to_errno() as isize);
        assert_eq!(job(1)?.run(&creds, || false), 1);
        Ok(())
    }
}
