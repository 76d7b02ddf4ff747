// SPDX-License-Identifier: GPL-2.0

//! What can be expected of a file.
//!
//! C header: [`include/linux/fs.h`](srctree/include/linux/fs.h)

use super::{
    AsyncKiocb,
    Settings,
    Trying, //
};
use crate::{
    bindings,
    error::to_result,
    fs::LocalFile,
    prelude::*,
    sync::aref::ARef,
    uio::Direction, //
};

/// How far a file goes to do what it is asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// It does not wait: the outcome is `EAGAIN` if it would have to.
    Try,
    /// A read that would have to wait for a page is parked there: [`SharedRw::unparked()`] is
    /// called when it should be carried on.
    ///
    /// [`SharedRw::unparked()`]: super::SharedRw::unparked
    Park,
    /// It may sleep.
    Wait,
}

/// What can be expected of a file, for one direction.
#[derive(Clone, Copy)]
pub struct Abilities {
    /// It can be tried, see [`How::Try`].
    pub tries: bool,
    /// Reads can be parked, see [`How::Park`].
    pub parks: bool,
    /// It can be polled.
    pub polls: bool,
    /// It bypasses the page cache.
    pub direct: bool,
    /// It is a regular file or a block device: what is short is cut short.
    pub storage: bool,
    /// It is a pipe or a socket.
    pub pipe: bool,
    /// Its data come as they come: there are no positions.
    pub stream: bool,
    /// It has only the simple functions, which take one buffer and sleep.
    pub simple: bool,
    /// It is a stream of a driver that looks like a regular file (FunctionFS). The driver queues
    /// operations by itself, in the order of the calls, and says how to cancel them.
    pub driver: bool,
    /// `O_NONBLOCK`, or `RWF_NOWAIT`: the program wants to be told if it would have to wait.
    pub nonblock: bool,
}

impl Abilities {
    /// Returns what can be expected of a file, for an operation with these settings.
    ///
    /// # Errors
    ///
    /// `EBADF` if it is not open for this, `EINVAL` if it can't do it in any way.
    pub fn of(file: &LocalFile, settings: Settings, dir: Direction) -> Result<Self> {
        let flags = settings.flags;
        let file = file.as_ptr();
        // SAFETY: The file is valid; none of these change, but `f_flags`, which is read once.
        let (mode, ops, f_flags) = unsafe {
            (
                (*file).f_mode,
                &*(*file).f_op,
                (&raw const (*file).f_flags).read_volatile(),
            )
        };
        // SAFETY: The file is valid. The type of its inode never changes.
        let i_mode = u32::from(unsafe { (*bindings::file_inode(file)).i_mode });
        let kind = i_mode & bindings::S_IFMT;
        let storage = is_storage(kind);
        let direct = storage && flags & bindings::IOCB_DIRECT as i32 != 0;
        let (needed, iter, simple) = match dir {
            Direction::Read => (
                bindings::FMODE_READ,
                ops.read_iter.is_some(),
                ops.read.is_some(),
            ),
            Direction::Write => (
                bindings::FMODE_WRITE,
                ops.write_iter.is_some(),
                ops.write.is_some(),
            ),
        };

        if mode & needed == 0 {
            return Err(EBADF);
        }
        if !iter && !simple {
            return Err(EINVAL);
        }
        let nowait = mode & bindings::FMODE_NOWAIT != 0;
        let waits = dir == Direction::Write && storage && !direct && write_waits(kind, ops);

        Ok(Self {
            tries: iter && nowait && !waits,
            parks: iter
                && dir == Direction::Read
                && storage
                && !direct
                && ops.fop_flags & bindings::FOP_BUFFER_RASYNC != 0,
            polls: nowait && !storage && ops.poll.is_some(),
            direct,
            storage,
            pipe: kind == bindings::S_IFIFO || kind == bindings::S_IFSOCK,
            stream: mode & bindings::FMODE_STREAM != 0,
            simple: !iter,
            driver: iter
                && kind == bindings::S_IFREG
                && mode & bindings::FMODE_STREAM != 0
                && mode & (bindings::FMODE_NOWAIT | bindings::FMODE_CAN_ODIRECT) == 0,
            nonblock: flags & bindings::IOCB_NOWAIT != 0
                || (!storage && f_flags & bindings::O_NONBLOCK != 0),
        })
    }

    /// Returns how a file with these is tried.
    pub fn trying(&self, dir: Direction) -> Trying {
        Trying::new(dir, self.storage, self.direct)
    }
}

/// Returns whether it is a regular file or a block device.
#[inline(always)]
pub(super) fn is_storage(kind: u32) -> bool {
    kind == bindings::S_IFREG || kind == bindings::S_IFBLK
}

/// Returns whether a buffered write of a regular file or a block device may wait in spite of
/// `IOCB_NOWAIT`: it needs more than others.
#[inline(always)]
pub(super) fn write_waits(kind: u32, ops: &bindings::file_operations) -> bool {
    kind == bindings::S_IFBLK || ops.fop_flags & bindings::FOP_BUFFER_WASYNC == 0
}

impl AsyncKiocb {
    /// Returns what can be expected of the file.
    ///
    /// # Errors
    ///
    /// Those of [`Abilities::of()`].
    pub fn abilities(&self, dir: Direction) -> Result<Abilities> {
        Abilities::of(self.file(), self.settings(), dir)
    }

    /// Checks that the file allows the operation, on so many bytes at this position.
    ///
    /// To be called before it is carried on for the first time, if it was not tried before.
    ///
    /// # Errors
    ///
    /// `EINVAL` if the position is negative or the end of the range is, what the security module
    /// says, and others.
    pub fn verify(&self, dir: Direction, pos: i64, len: usize, abilities: &Abilities) -> Result {
        verify_rw(self.file(), dir, pos, len, abilities)
    }

    /// Returns whether the current process may write beyond this position of a file.
    pub fn may_be_larger(&self, end: i64) -> bool {
        let task = crate::task::Task::current_raw();
        // SAFETY: The current task has a valid `signal`; limits are read in one piece.
        let limit = unsafe {
            (&raw const (*(*task).signal).rlim[bindings::RLIMIT_FSIZE as usize].rlim_cur)
                .read_volatile()
        };

        u64::try_from(end).is_ok_and(|end| end < limit as u64)
    }

    /// Returns the position that the file has left, of an operation that it has ended at once.
    ///
    /// Of a write that appends nobody else knows it.
    pub fn pos_left(&self) -> i64 {
        // SAFETY: The structure is valid, and its position was initialised. The file is done with
        // it, and nobody changes this now.
        unsafe { (&raw const (*self.inner.get()).ki_pos).read_volatile() }
    }

    /// Returns what names the data of the file, see [`data_id()`].
    pub fn data_id(&self) -> usize {
        data_id(self.file())
    }

    /// Returns the size of the file, or the block device.
    pub fn size(&self) -> i64 {
        // SAFETY: The file is valid, and so is the inode of its data.
        unsafe { bindings::i_size_read((*(*self.file().as_ptr()).f_mapping).host) }
    }

    /// Returns another reference to the file.
    pub fn file_ref(&self) -> ARef<LocalFile> {
        self.file().into()
    }
}

/// Checks that a file allows an operation, see [`AsyncKiocb::verify()`].
///
/// # Errors
///
/// Those of [`AsyncKiocb::verify()`].
pub fn verify_rw(
    file: &LocalFile,
    dir: Direction,
    pos: i64,
    len: usize,
    abilities: &Abilities,
) -> Result {
    if abilities.simple {
        // The function that is called does it.
        return Ok(());
    }
    // SAFETY: The file is valid.
    to_result(unsafe { bindings::rw_verify_area(dir.rw(), file.as_ptr(), &pos, len) })
}

/// Returns whether a file bypasses the page cache, if it has one.
#[inline]
pub fn is_direct(file: &LocalFile) -> bool {
    // SAFETY: The file is valid. Its field is read as C does.
    let flags = unsafe { (*file.as_ptr()).f_iocb_flags };

    flags & bindings::IOCB_DIRECT != 0
}

/// Returns what names the data of a file: the same for two files only if they are the same data, as
/// long as both are open.
pub fn data_id(file: &LocalFile) -> usize {
    // SAFETY: The file is valid; neither field changes.
    unsafe { (*(*file.as_ptr()).f_mapping).host as usize }
}

/// Returns what names the device that the data of a regular file or a block device are on: its
/// number, or that of the file system.
///
/// Files of one device may have other numbers: those of a file system and of a partition that it
/// does not call its own.
pub fn device_of(file: &LocalFile) -> u32 {
    // SAFETY: The file is valid; its mapping, the inode of that and what is read of it do not
    // change while it is open. An inode has a super block, the number of which does not change.
    let (mode, rdev, sb_dev) = unsafe {
        let host = (*(*file.as_ptr()).f_mapping).host;

        ((*host).i_mode, (*host).i_rdev, (*(*host).i_sb).s_dev)
    };

    match u32::from(mode) & bindings::S_IFMT {
        bindings::S_IFBLK => rdev,
        _ => sb_dev,
    }
}
