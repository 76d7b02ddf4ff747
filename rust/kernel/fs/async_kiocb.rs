// SPDX-License-Identifier: GPL-2.0

//! Starting reads and writes that end later.
//!
//! The counterpart of [`Kiocb`](super::Kiocb), which is for those who implement files: an
//! [`AsyncKiocb`] is the `struct kiocb` of those who call them.
//!
//! C header: [`include/linux/fs.h`](srctree/include/linux/fs.h)

use crate::{
    bindings,
    error::{
        code::*,
        to_result,
        Result, //
    },
    fs::LocalFile,
    prelude::*,
    slab::{
        Cached,
        Shared,
        Unique, //
    },
    sync::aref::ARef,
    types::Opaque,
    uio::{
        Direction,
        UserIter, //
    },
};
use core::ffi::c_long;

/// The I/O control block of one read or write of a file.
///
/// # Invariants
///
/// * `ki_filp` is valid and owns a reference to the file.
/// * Before [`issue()`](Self::issue) nobody else refers to the structure. From then on it belongs to
///   the file, until the completion is called.
#[pin_data(PinnedDrop)]
#[repr(transparent)]
pub struct AsyncKiocb {
    #[pin]
    inner: Opaque<bindings::kiocb>,
}

// SAFETY: A kiocb may be completed and released on any thread. That is no problem for the file either,
// since asynchronous operations use the position in the kiocb, never that of the file.
unsafe impl Send for AsyncKiocb {}

// SAFETY: The shared methods only read what does not change.
unsafe impl Sync for AsyncKiocb {}

/// Types that have an [`AsyncKiocb`] in them.
///
/// # Safety
///
/// `OFFSET` must be the offset of a field of this type, which is an `AsyncKiocb`. To be implemented
/// with [`impl_has_async_kiocb!`](crate::impl_has_async_kiocb).
pub unsafe trait HasAsyncKiocb {
    /// The offset of the field.
    const OFFSET: usize;
}

/// Implements [`HasAsyncKiocb`] for a type with such a field.
#[macro_export]
macro_rules! impl_has_async_kiocb {
    (impl$({$($generics:tt)*})? HasAsyncKiocb for $self:ty { self.$($field:ident).+ }) => {
        // SAFETY: The compiler computes the offset, and checks the type of the field below.
        unsafe impl$(<$($generics)*>)? $crate::fs::HasAsyncKiocb for $self {
            const OFFSET: usize = {
                let _ = |this: &Self| -> *const $crate::fs::AsyncKiocb { &this.$($field).+ };

                ::core::mem::offset_of!(Self, $($field).+)
            };
        }
    };
}
pub use impl_has_async_kiocb;

/// What happens at the end of a read or write.
pub trait AsyncRw: HasAsyncKiocb + Cached + Send + Sync {
    /// The operation has ended, with a number of bytes or a negative errno.
    ///
    /// Called exactly once for each [`AsyncKiocb::issue()`], in any context, hard interrupts
    /// included; perhaps while `issue()` has not returned yet.
    fn complete(this: Shared<Self>, res: isize);
}

impl AsyncKiocb {
    /// Initialises a control block for `file`: position zero, the flags of the file.
    ///
    /// `flags` are further `IOCB_*` flags.
    #[inline]
    pub fn new(file: ARef<LocalFile>, flags: i32) -> impl PinInit<Self> {
        let file = ARef::into_raw(file).as_ptr().cast::<bindings::file>();

        // INVARIANT: The reference goes over to `ki_filp`.
        pin_init!(Self {
            inner: Opaque::new(bindings::kiocb {
                ki_filp: file,
                // SAFETY: The file is valid. `f_iocb_flags` is read as C does.
                ki_flags: unsafe { (*file).f_iocb_flags } as i32 | flags,
                ..pin_init::zeroed()
            }),
        })
    }

    /// Returns the file.
    #[inline]
    fn file(&self) -> &LocalFile {
        // SAFETY: By the type invariants; nobody changes `ki_filp`. This reference is not handed on.
        unsafe { LocalFile::from_raw_file((*self.inner.get()).ki_filp) }
    }

    /// Sets the position in the file, which is checked by [`verify_area()`](Self::verify_area).
    #[inline]
    pub fn set_pos(self: Pin<&mut Self>, pos: i64) {
        // SAFETY: By the type invariants, `&mut self` is exclusive.
        unsafe { (*self.inner.get()).ki_pos = pos };
    }

    /// Sets the I/O priority.
    ///
    /// # Errors
    ///
    /// `EPERM` if the current task may not use it, `EINVAL` if there is no such priority.
    #[doc(alias = "ioprio_check_cap")]
    #[inline]
    pub fn set_ioprio(self: Pin<&mut Self>, prio: u16) -> Result {
        // The C code passes what user space gives as a signed 16-bit number.
        //
        // SAFETY: There are no requirements.
        to_result(unsafe { bindings::ioprio_check_cap(i32::from(prio as i16)) })?;
        // SAFETY: By the type invariants, `&mut self` is exclusive.
        unsafe { (*self.inner.get()).ki_ioprio = prio };
        Ok(())
    }

    /// Sets the I/O priority to that of the current task.
    #[doc(alias = "get_current_ioprio")]
    #[inline]
    pub fn inherit_ioprio(self: Pin<&mut Self>) {
        // SAFETY: By the type invariants, `&mut self` is exclusive; this is a task.
        unsafe { (*self.inner.get()).ki_ioprio = bindings::get_current_ioprio() as u16 };
    }

    /// Sets the `RWF_*` flags of this operation.
    ///
    /// A request to poll for the completion is accepted and ignored, since nobody does.
    ///
    /// # Errors
    ///
    /// `EOPNOTSUPP` or `EINVAL` if the flags are unknown or the file does not support them, `EPERM`
    /// for a write that does not append to a file that only allows that.
    #[doc(alias = "kiocb_set_rw_flags")]
    #[inline]
    pub fn set_rw_flags(self: Pin<&mut Self>, flags: i32, dir: Direction) -> Result {
        let kiocb = self.inner.get();

        // SAFETY: By the type invariants, `&mut self` is exclusive and the file valid.
        unsafe {
            to_result(bindings::kiocb_set_rw_flags(kiocb, flags, dir.rw()))?;
            (*kiocb).ki_flags &= !(bindings::IOCB_HIPRI);
        }
        Ok(())
    }

    /// Checks that the file is open for this operation, and has it.
    ///
    /// # Errors
    ///
    /// `EBADF` if it is not open for it, `EINVAL` if it can't do it.
    #[inline]
    pub fn check_access(&self, dir: Direction) -> Result {
        let file = self.file().as_ptr();
        // SAFETY: The file is valid; neither field changes.
        let (mode, ops) = unsafe { ((*file).f_mode, &*(*file).f_op) };
        let (needed, there) = match dir {
            Direction::Read => (bindings::FMODE_READ, ops.read_iter.is_some()),
            Direction::Write => (bindings::FMODE_WRITE, ops.write_iter.is_some()),
        };

        if mode & needed == 0 {
            return Err(EBADF);
        }
        if !there {
            return Err(EINVAL);
        }
        Ok(())
    }

    /// Checks that the file allows an operation of `len` bytes at the position.
    ///
    /// # Errors
    ///
    /// `EINVAL` if the position is negative or the end of the range is, what the security module
    /// says, and others.
    #[doc(alias = "rw_verify_area")]
    #[inline]
    pub fn verify_area(&self, dir: Direction, len: usize) -> Result {
        let kiocb = self.inner.get();

        // SAFETY: The file is valid; nobody changes the position before the operation is issued.
        to_result(unsafe {
            bindings::rw_verify_area(dir.rw(), (*kiocb).ki_filp, &raw const (*kiocb).ki_pos, len)
        })
    }

    /// Starts the operation.
    ///
    /// From here on its outcome, an immediate error included, is told to [`AsyncRw::complete()`].
    /// What this function returns is a second reference, which has kept the structure alive for the
    /// time of the call.
    ///
    /// A write of a regular file holds off a freeze of the file system until it is complete.
    ///
    /// May sleep. [`check_access()`](Self::check_access) must have succeeded, or the operation ends
    /// with `EINVAL`.
    pub fn issue<T: AsyncRw>(
        mut this: Unique<T>,
        dir: Direction,
        iter: &mut UserIter,
    ) -> Shared<T> {
        // SAFETY: By the requirements of `HasAsyncKiocb`. The object is not moved.
        let kiocb: *mut bindings::kiocb = unsafe {
            core::ptr::from_mut(this.as_mut().get_unchecked_mut())
                .byte_add(T::OFFSET)
                .cast()
        };

        // SAFETY: Nobody else refers to the structure yet; the file is valid.
        let call = unsafe {
            let ops = &*(*(*kiocb).ki_filp).f_op;

            (*kiocb).ki_complete = Some(Self::ki_complete::<T>);
            match dir {
                Direction::Read => ops.read_iter,
                Direction::Write => {
                    if Self::is_regular(kiocb) {
                        bindings::kiocb_start_write(kiocb);
                    }
                    (*kiocb).ki_flags |= bindings::IOCB_WRITE as i32;
                    ops.write_iter
                }
            }
        };

        let (submission, completion) = this.share_two();
        // The reference belongs to `ki_complete()`.
        let _ = completion.into_raw();

        let ret = match call {
            // SAFETY: The file is valid, and so is the structure: `submission` keeps both.
            Some(call) => unsafe { call(kiocb, iter.as_raw()) },
            None => EINVAL.to_errno() as isize,
        };

        if ret != EIOCBQUEUED.to_errno() as isize {
            // SAFETY: The file has not called it and won't.
            unsafe { Self::ki_complete::<T>(kiocb, Self::no_restart(ret) as c_long as _) };
        }
        submission
    }

    /// Other operations may be running already, so the system call can't be restarted.
    #[inline]
    fn no_restart(ret: isize) -> isize {
        const RESTARTS: [Error; 4] = [
            ERESTARTSYS,
            ERESTARTNOINTR,
            ERESTARTNOHAND,
            ERESTART_RESTARTBLOCK,
        ];

        if ret <= ERESTARTSYS.to_errno() as isize
            && RESTARTS.iter().any(|e| e.to_errno() as isize == ret)
        {
            EINTR.to_errno() as isize
        } else {
            ret
        }
    }

    /// # Safety
    ///
    /// `kiocb` must be that of a `T` whose reference [`issue()`](Self::issue) has given away, and
    /// this must be the only call for it.
    unsafe extern "C" fn ki_complete<T: AsyncRw>(
        kiocb: *mut bindings::kiocb,
        res: crate::ffi::c_long,
    ) {
        // SAFETY: By the requirements of this function.
        unsafe {
            if (*kiocb).ki_flags & bindings::IOCB_WRITE as i32 != 0 && Self::is_regular(kiocb) {
                bindings::kiocb_end_write(kiocb);
            }
        }
        // SAFETY: By the requirements of `HasAsyncKiocb` this is the `T`, whose reference belongs
        // to this function.
        let this = unsafe { Shared::from_raw(kiocb.byte_sub(T::OFFSET).cast::<T>()) };

        T::complete(this, res as isize);
    }

    /// # Safety
    ///
    /// `kiocb` must have a valid file.
    #[inline]
    unsafe fn is_regular(kiocb: *mut bindings::kiocb) -> bool {
        // SAFETY: By the requirements of this function. The type of an inode does not change.
        let mode = unsafe { (*bindings::file_inode((*kiocb).ki_filp)).i_mode };

        u32::from(mode) & bindings::S_IFMT == bindings::S_IFREG
    }
}

#[pinned_drop]
impl PinnedDrop for AsyncKiocb {
    #[inline]
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: By the type invariants this owns a reference to the file.
        unsafe { bindings::fput((*self.inner.get()).ki_filp) };
    }
}
