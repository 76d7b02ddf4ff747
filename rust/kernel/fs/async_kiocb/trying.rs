// SPDX-License-Identifier: GPL-2.0

//! Reads and writes that the file is asked to do without waiting.
//!
//! C header: [`include/linux/fs.h`](srctree/include/linux/fs.h)

use super::{
    carry::{
        is_storage,
        write_waits, //
    },
    AsyncKiocb,
    AsyncRw,
    HasFixedBuffers,
    Issued, //
};
use crate::{
    bindings,
    prelude::*,
    slab::UniqueSlabArc,
    uaccess::UserPtr,
    uio::{
        Direction,
        ImportedBuffers,
        IterSpace, //
    },
};

pub(super) const NOT_WAITING: i32 =
    bindings::IOCB_NOWAIT | bindings::IOCB_NOIO as i32 | bindings::IOCB_WAITQ as i32;

/// How a file is asked not to wait, see [`How::Try`](super::How::Try).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Trying(pub(super) i32);

impl Trying {
    #[inline(always)]
    pub(super) fn new(dir: Direction, storage: bool, direct: bool) -> Self {
        // To begin to read what is not in the page cache may sleep.
        Self(if dir == Direction::Read && storage && !direct {
            bindings::IOCB_NOWAIT | bindings::IOCB_NOIO as i32
        } else {
            bindings::IOCB_NOWAIT
        })
    }
}

impl AsyncKiocb {
    /// Returns how the file is tried, if it is open for the operation, can be tried, does not
    /// bypass the page cache, and the program has not asked for `EAGAIN`: what most operations are.
    ///
    /// To be asked before the file is called.
    #[inline(always)]
    pub fn trying(&self, dir: Direction) -> Option<Trying> {
        let file = self.file().as_ptr();
        // SAFETY: The file is valid; neither field changes.
        let (mode, ops) = unsafe { ((*file).f_mode, &*(*file).f_op) };
        // SAFETY: The structure is valid, and nobody changes the flags now.
        let flags = unsafe { (*self.inner.get()).ki_flags };
        let (needed, there) = match dir {
            Direction::Read => (bindings::FMODE_READ, ops.read_iter.is_some()),
            Direction::Write => (bindings::FMODE_WRITE, ops.write_iter.is_some()),
        };
        let needed = needed | bindings::FMODE_NOWAIT;
        let asked = bindings::IOCB_NOWAIT | bindings::IOCB_DIRECT as i32;

        if mode & needed != needed || !there || flags & asked != 0 {
            return None;
        }
        // SAFETY: The file is valid. The type of its inode never changes.
        let i_mode = u32::from(unsafe { (*bindings::file_inode(file)).i_mode });
        let kind = i_mode & bindings::S_IFMT;
        let storage = is_storage(kind);

        if !storage {
            // SAFETY: The file is valid; the field is read once.
            let f_flags = unsafe { (&raw const (*file).f_flags).read_volatile() };

            if f_flags & bindings::O_NONBLOCK != 0 {
                return None;
            }
        } else if dir == Direction::Write && write_waits(kind, ops) {
            return None;
        }
        Some(Trying::new(dir, storage, false))
    }

    /// Takes back that the file was asked not to wait.
    pub fn set_waiting(self: Pin<&mut Self>) {
        // SAFETY: By the type invariants, `&mut self` is exclusive.
        unsafe { (*self.inner.get()).ki_flags &= !NOT_WAITING };
    }

    /// A write of a regular file holds off a freeze of the file system, if there is none. Other
    /// operations need nothing.
    ///
    /// Returns whether the operation may begin; then it must be ended with `end_write()`.
    ///
    /// # Safety
    ///
    /// `kiocb` must be valid, with a valid file.
    #[inline(always)]
    pub(super) unsafe fn try_start(kiocb: *mut bindings::kiocb, dir: Direction) -> bool {
        // SAFETY: The caller guarantees that `kiocb` is valid and has a valid file.
        let holds_off = dir == Direction::Write && unsafe { Self::is_regular(kiocb) };

        // SAFETY: The caller guarantees that `kiocb` is valid and has a valid file.
        !holds_off || unsafe { bindings::kiocb_start_write_trylock(kiocb) }
    }

    /// Starts the operation as [`issue()`](Self::issue), but asks the file not to wait: the outcome
    /// is `EAGAIN` if it would have to, for a file system that is frozen above all. `trying` is
    /// that of this operation.
    ///
    /// If the operation ends at once with fewer bytes than the buffers have, or with an error, they
    /// can be kept for what is left.
    ///
    /// # Errors
    ///
    /// Those of [`issue()`](Self::issue) that have nothing to do with the file or the buffers.
    #[inline(always)]
    pub fn try_issue<T: AsyncRw>(
        this: UniqueSlabArc<T>,
        trying: Trying,
        buffers: &mut ImportedBuffers<'_>,
    ) -> Result<Issued<T>> {
        let (dir, len) = (buffers.dir(), buffers.len());

        // SAFETY: The iterator was imported; it and what it refers to are borrowed by or belong to
        // `buffers`, and so live beyond the call.
        unsafe { Self::try_call(this, dir, trying, buffers.as_raw(), len) }
    }

    /// The same for a part of a pinned buffer, as
    /// [`issue_fixed()`](Self::issue_fixed).
    #[inline(never)]
    pub fn try_issue_fixed<T: AsyncRw + HasFixedBuffers>(
        this: UniqueSlabArc<T>,
        dir: Direction,
        trying: Trying,
        index: usize,
        addr: UserPtr,
        len: usize,
    ) -> Result<Issued<T>> {
        let mut space = IterSpace::uninit();
        let me = Self::of(&*this);

        this.fixed_buffers()
            .ok_or(EFAULT)?
            .range(index, addr, len)?
            .init_iter(&mut space, dir);
        if !me.is_aligned(addr, len) {
            me.verify_area(dir, len)?;
            return Ok(Issued::Complete(this, EINVAL.to_errno() as isize));
        }
        // SAFETY: The iterator was initialised, and lives until the end of this function. Its
        // segments are borrowed from the operation, which stays until it is complete.
        unsafe { Self::try_call(this, dir, trying, space.as_mut_ptr(), len) }
    }

    /// Calls the file, which is asked not to wait, with an iterator of `len` bytes.
    ///
    /// # Safety
    ///
    /// `iter` is valid, with all that it refers to, for the time of the call; if it is an iterator
    /// over segments, those are valid until the operation is complete.
    #[inline(always)]
    unsafe fn try_call<T: AsyncRw>(
        this: UniqueSlabArc<T>,
        dir: Direction,
        trying: Trying,
        iter: *mut bindings::iov_iter,
        len: usize,
    ) -> Result<Issued<T>> {
        let me = Self::of(&*this);

        me.verify_area(dir, len)?;
        // SAFETY: The structure is valid, and nobody else uses it.
        unsafe { (*me.inner.get()).ki_flags |= trying.0 };
        // SAFETY: The structure is valid, and so is its file.
        if !unsafe { Self::try_start(me.inner.get(), dir) } {
            return Ok(Issued::Complete(this, EAGAIN.to_errno() as isize));
        }
        // SAFETY: The caller guarantees that `iter` and all that it refers to are valid for the
        // time of the call, and segments until the operation is complete. A write was started by
        // `try_start()`.
        Ok(unsafe { Self::call(this, dir, iter, false) })
    }
}

#[macros::kunit_tests(rust_fs_trying)]
mod tests {
    use super::{
        super::{
            Abilities,
            RwIter, //
        },
        *,
    };
    use crate::{
        fs::LocalFile,
        types::Opaque, //
    };
    use core::mem::ManuallyDrop;

    /// What a file is asked for here; nobody opens it, and nothing else is in it.
    struct Looks {
        file: KBox<Opaque<bindings::file>>,
        inode: KBox<Opaque<bindings::inode>>,
        ops: KBox<Opaque<bindings::file_operations>>,
    }

    impl Looks {
        fn new() -> Result<Self> {
            let this = Self {
                file: KBox::new(Opaque::zeroed(), GFP_KERNEL)?,
                inode: KBox::new(Opaque::zeroed(), GFP_KERNEL)?,
                ops: KBox::new(Opaque::zeroed(), GFP_KERNEL)?,
            };

            // SAFETY: The file is the test's, and zero everywhere.
            unsafe { (*this.file.get()).f_inode = this.inode.get() };
            // SAFETY: The file is the test's, and zero everywhere.
            unsafe { (*this.file.get()).f_op = this.ops.get() };
            Ok(this)
        }

        /// Asks in both ways; returns what each answer is.
        fn ask(&self, flags: i32, dir: Direction) -> [Option<i32>; 2] {
            let mut kiocb: bindings::kiocb = pin_init::zeroed();

            kiocb.ki_filp = self.file.get();
            kiocb.ki_flags = flags;
            // Its file has no references that could be given back.
            let kiocb = ManuallyDrop::new(AsyncKiocb {
                inner: Opaque::new(kiocb),
            });
            // SAFETY: The file stays as long as `self`, and has all the fields that
            // `Abilities::of()` reads.
            let file = unsafe { LocalFile::from_raw_file(self.file.get()) };
            let direct = flags & bindings::IOCB_DIRECT as i32 != 0;
            let long = Abilities::of(file, kiocb.settings(), dir)
                .ok()
                .filter(|a| a.tries && !a.nonblock && !direct)
                .map(|a| a.trying(dir).0);

            [kiocb.trying(dir).map(|trying| trying.0), long]
        }
    }

    extern "C" fn iter(_: *mut bindings::kiocb, _: *mut bindings::iov_iter) -> isize {
        0
    }

    extern "C" fn read(
        _: *mut bindings::file,
        _: *mut crate::ffi::c_char,
        _: usize,
        _: *mut bindings::loff_t,
    ) -> isize {
        0
    }

    extern "C" fn write(
        _: *mut bindings::file,
        _: *const crate::ffi::c_char,
        _: usize,
        _: *mut bindings::loff_t,
    ) -> isize {
        0
    }

    const KINDS: [u32; 7] = [
        0,
        bindings::S_IFREG,
        bindings::S_IFBLK,
        bindings::S_IFCHR,
        bindings::S_IFIFO,
        bindings::S_IFSOCK,
        bindings::S_IFDIR,
    ];

    /// What can be there or not.
    const BITS: u32 = 12;

    /// The short answer is that of the long one, for every file.
    #[test]
    fn as_abilities() -> Result {
        const ITER: RwIter = Some(iter);

        let looks = Looks::new()?;
        let (file, inode, ops) = (looks.file.get(), looks.inode.get(), looks.ops.get());
        let mut yes = 0;

        for kind in KINDS {
            for number in 0u32..1 << BITS {
                let mut left = number;
                let mut is_set = || {
                    left = left.rotate_right(1);
                    left >> 31 != 0
                };
                let mut flag = |flag| if is_set() { flag } else { 0 };
                let f_mode = flag(bindings::FMODE_READ)
                    | flag(bindings::FMODE_WRITE)
                    | flag(bindings::FMODE_NOWAIT);
                let f_flags = flag(bindings::O_NONBLOCK);
                let fop_flags =
                    flag(bindings::FOP_BUFFER_RASYNC) | flag(bindings::FOP_BUFFER_WASYNC);
                let flags = flag(bindings::IOCB_NOWAIT as u32) | flag(bindings::IOCB_DIRECT);
                let (reads, writes, simple) = (is_set(), is_set(), is_set());
                let dir = match is_set() {
                    false => Direction::Read,
                    true => Direction::Write,
                };

                // SAFETY: The inode is the test's.
                unsafe { (*inode).i_mode = (kind | 0o600) as bindings::umode_t };
                // SAFETY: The file is the test's.
                unsafe {
                    (*file).f_mode = f_mode;
                    (*file).f_flags = f_flags;
                }
                // SAFETY: The functions are the test's.
                unsafe {
                    (*ops).fop_flags = fop_flags;
                    (*ops).read_iter = ITER.filter(|_| reads);
                    (*ops).write_iter = ITER.filter(|_| writes);
                    (*ops).read = if simple { Some(read) } else { None };
                    (*ops).write = if simple { Some(write) } else { None };
                }
                let [short, long] = looks.ask(flags as i32, dir);

                assert_eq!(short, long);
                yes += u32::from(short.is_some());
            }
        }
        assert!(yes > 0);
        Ok(())
    }
}
