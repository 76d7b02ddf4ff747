// SPDX-License-Identifier: GPL-2.0

//! Starting reads and writes that end later.
//!
//! The counterpart of [`Kiocb`](super::Kiocb), which is for those who implement files: an
//! [`AsyncKiocb`] is the `struct kiocb` of those who call them.
//!
//! C header: [`include/linux/fs.h`](srctree/include/linux/fs.h)
//!
//! # Examples
//!
//! ```
//! use kernel::{fs::*, slab::UniqueSlabArc, uaccess::UserPtr, uio::*};
//!
//! /// Returns the result, if it is there. Otherwise `T::complete()` will be called with it.
//! fn read<T: AsyncRw>(op: UniqueSlabArc<T>, addr: UserPtr, len: usize) -> Result<Option<isize>> {
//!     match AsyncKiocb::issue(op, Direction::Read, Buffers::One { addr, len })? {
//!         Issued::Complete(_op, result) => Ok(Some(result)),
//!         Issued::Queued(_submission) => Ok(None),
//!     }
//! }
//! ```

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
        Dismantle,
        SlabArc,
        UniqueSlabArc, //
    },
    sync::aref::ARef,
    types::Opaque,
    uaccess::UserPtr,
    uio::{
        Buffers,
        Direction,
        FastArray,
        FixedBuffers,
        IterSpace,
        UserIter, //
    },
};
use core::ptr::{
    null_mut,
    NonNull, //
};

mod again;
mod aligned;

mod settings;
pub use self::settings::{
    Settings,
    SettingsMut, //
};

mod carry;
pub use self::carry::{
    data_id,
    device_of,
    is_direct,
    verify_rw,
    Abilities,
    How, //
};

mod trying;
pub use self::trying::Trying;

mod shared;
pub use self::shared::{
    impl_has_shared_kiocb,
    HasSharedKiocb,
    Progress,
    SharedKiocb,
    SharedRw, //
};

mod seen;
#[cfg(CONFIG_KUNIT = "y")]
mod tests;

mod poll;
pub use self::poll::{
    CompBatch,
    Look,
    Submitted, //
};

/// The I/O control block of one read or write of a file.
///
/// # Invariants
///
/// * `ki_filp` is valid and owns a reference to the file.
/// * Before [`issue()`](Self::issue) nobody else refers to the structure. From then on it belongs
///   to the file, until the completion is called.
#[pin_data(PinnedDrop)]
#[repr(transparent)]
pub struct AsyncKiocb {
    #[pin]
    inner: Opaque<bindings::kiocb>,
}

// SAFETY: A kiocb may be completed and released on any thread. That is no problem for the file
// either, since asynchronous operations use the position in the kiocb, never that of the file.
unsafe impl Send for AsyncKiocb {}

// SAFETY: The shared methods only read what does not change.
unsafe impl Sync for AsyncKiocb {}

/// Types that have an [`AsyncKiocb`] in them.
///
/// # Safety
///
/// `OFFSET` must be the offset of a field of this type, which is an `AsyncKiocb`. `FLAGS` must be
/// zero, or what is allowed for this type. To be implemented with
/// [`impl_has_async_kiocb!`](crate::impl_has_async_kiocb) or
/// [`kiocb_set_cancel_fn!`](crate::kiocb_set_cancel_fn).
pub unsafe trait HasAsyncKiocb {
    /// The offset of the field.
    const OFFSET: usize;
    /// `IOCB_*` flags that all operations of this type have.
    const FLAGS: i32;

    /// Whether it may be asked to be polled for, see [`AsyncKiocb::set_polled()`]. Otherwise
    /// nothing is found by polling.
    const MAY_POLL: bool = true;

    /// The file has ended the operation: nobody may cancel it any longer.
    #[doc(hidden)]
    #[inline]
    fn ended(&self) {}
}

/// Implements [`HasAsyncKiocb`] for a type with such a field.
#[macro_export]
macro_rules! impl_has_async_kiocb {
    (impl HasAsyncKiocb for $self:ty { self.$($field:ident).+ }) => {
        // SAFETY: The compiler computes the offset, and checks the type of the field below.
        unsafe impl $crate::fs::HasAsyncKiocb for $self {
            const OFFSET: usize = {
                let _ = |this: &Self| -> *const $crate::fs::AsyncKiocb {
                    &raw const this.$($field).+
                };

                ::core::mem::offset_of!(Self, $($field).+)
            };
            const FLAGS: i32 = 0;
        }
    };
}
pub use impl_has_async_kiocb;

/// What happens at the end of a read or write.
pub trait AsyncRw: HasAsyncKiocb + Cached + Send + Sync + 'static {
    /// The operation has ended, with a number of bytes or a negative errno.
    ///
    /// Called exactly once for each [`AsyncKiocb::issue()`] that has returned [`Issued::Queued`],
    /// in any context, hard interrupts included; perhaps while `issue()` has not returned yet.
    fn complete(this: SlabArc<Self>, res: isize);
}

/// What has become of a read or write that was started.
pub enum Issued<T: Cached> {
    /// It has ended already, with a number of bytes or a negative errno.
    Complete(UniqueSlabArc<T>, isize),
    /// It ends later, or has ended meanwhile: with [`AsyncRw::complete()`]. The reference has kept
    /// the object while the file was called.
    Queued(Submitted<T>),
}

/// Operations that may use buffers that stay pinned.
pub trait HasFixedBuffers {
    /// Returns the buffers, which the operation keeps, or belongs to something that it keeps.
    fn fixed_buffers(&self) -> Option<&FixedBuffers>;
}

/// Returns the I/O priority of the current task.
#[doc(alias = "get_current_ioprio")]
#[inline]
pub fn current_ioprio() -> u16 {
    // SAFETY: May be called by any task.
    unsafe { bindings::get_current_ioprio() as u16 }
}

/// A field that is new does not compile: [`AsyncKiocb::new()`] or [`AsyncKiocb::issue()`] has to
/// write it, unless it belongs to the file.
const _: fn(bindings::kiocb) = |kiocb| {
    let bindings::kiocb {
        ki_filp: _,
        ki_pos: _,
        ki_complete: _,
        private: _,
        ki_flags: _,
        ki_ioprio: _,
        ki_write_stream: _,
        // The file's.
        ki_waitq: _,
    } = kiocb;
};

/// `->read_iter()` or `->write_iter()` of a file.
type RwIter = Option<
    unsafe extern "C" fn(*mut bindings::kiocb, *mut bindings::iov_iter) -> crate::ffi::c_long,
>;

impl AsyncKiocb {
    /// Initialises a control block for an operation on `file`, with settings for that file, at this
    /// position, which [`issue()`](Self::issue) checks.
    #[inline]
    pub fn new(file: ARef<LocalFile>, settings: Settings, pos: i64) -> impl PinInit<Self> {
        // INVARIANT: The reference goes over to `ki_filp`.
        pin_init!(Self {
            inner <- Opaque::ffi_init(move |slot: *mut bindings::kiocb| {
                let file = ARef::into_raw(file).as_ptr().cast::<bindings::file>();

                // What is left out is written by the caller of the file, or belongs to the file.
                //
                // SAFETY: `slot` is valid for writes.
                unsafe {
                    (&raw mut (*slot).ki_filp).write(file);
                    (&raw mut (*slot).ki_pos).write(pos);
                    (&raw mut (*slot).ki_flags).write(settings.flags);
                    (&raw mut (*slot).ki_ioprio).write(settings.ioprio);
                    (&raw mut (*slot).ki_write_stream).write(0);
                }
            }),
        })
    }

    /// Returns the file.
    #[inline(always)]
    fn file(&self) -> &LocalFile {
        // SAFETY: By the type invariants; nobody changes `ki_filp`. This reference is not handed
        // on.
        unsafe { LocalFile::from_raw_file((*self.inner.get()).ki_filp) }
    }

    /// Sets the position in the file, which [`issue()`](Self::issue) checks.
    #[inline]
    pub fn set_pos(self: Pin<&mut Self>, pos: i64) {
        // SAFETY: By the type invariants, `&mut self` is exclusive.
        unsafe { (*self.inner.get()).ki_pos = pos };
    }

    /// Checks that the file is open for this operation, and has it.
    ///
    /// # Errors
    ///
    /// `EBADF` if it is not open for it, `EINVAL` if it can't do it.
    #[inline(always)]
    fn check_access(&self, dir: Direction) -> Result {
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

    /// Starts the operation, on these buffers of the current process.
    ///
    /// From here on the operation has an outcome, which may be an immediate error of the file: it
    /// is returned, or told to [`AsyncRw::complete()`], see [`Issued`].
    ///
    /// A write of a regular file holds off a freeze of the file system until it is complete.
    ///
    /// May sleep.
    ///
    /// # Errors
    ///
    /// The operation was not started, and the object is gone. In this order: `EBADF` if the file is
    /// not open for it, `EINVAL` if it can't do it; `EFAULT` if the addresses of the buffers are
    /// not those of a process, `EINVAL` if there are too many or their length is negative,
    /// `ENOMEM`; `EINVAL` if the position is negative or the end of the range is, what the security
    /// module says, and others.
    #[inline(always)]
    pub fn issue<T: AsyncRw>(
        this: UniqueSlabArc<T>,
        dir: Direction,
        buffers: Buffers,
    ) -> Result<Issued<T>> {
        let mut fast = FastArray::uninit();
        let mut space = IterSpace::uninit();
        let me = Self::of(&*this);

        me.check_access(dir)?;
        let mut iter = UserIter::import(&mut space, dir, buffers, &mut fast)?;
        me.verify_area(dir, iter.len())?;

        // SAFETY: `iter` was imported. It and what it refers to, `space`, `fast` and the array that
        // it may have allocated, are borrowed by or belong to this value, which lives until the end
        // of this function, and so beyond the call.
        Ok(unsafe { Self::call(this, dir, iter.as_raw(), true) })
    }

    /// Returns the structure in an operation.
    #[inline(always)]
    fn of<T: HasAsyncKiocb>(this: &T) -> &Self {
        // SAFETY: `OFFSET` is that of an `AsyncKiocb` in a `T`, see `HasAsyncKiocb`.
        unsafe { &*core::ptr::from_ref::<T>(this).byte_add(T::OFFSET).cast() }
    }

    /// Calls the file.
    ///
    /// Unless `hold_off` is set, the caller has held off a freeze of the file system, if this is a
    /// write of a regular file.
    ///
    /// # Safety
    ///
    /// `iter` is valid, with all that it refers to, for the time of the call; if it is an iterator
    /// over segments, those are valid until the operation is complete.
    #[inline(always)]
    unsafe fn call<T: AsyncRw>(
        this: UniqueSlabArc<T>,
        dir: Direction,
        iter: *mut bindings::iov_iter,
        hold_off: bool,
    ) -> Issued<T> {
        let (submission, completion) = this.share_two();
        // The reference belongs to `ki_complete()`.
        let owner = completion.into_raw().cast_mut();
        // SAFETY: `OFFSET` is that of an `AsyncKiocb` in a `T`, see `HasAsyncKiocb`.
        let kiocb: *mut bindings::kiocb = unsafe { owner.byte_add(T::OFFSET).cast() };

        // SAFETY: `kiocb` is that of a `T`, and the file has not been called.
        let call = unsafe { Self::begin::<T>(kiocb, dir, hold_off) };
        // SAFETY: The structure is valid, and the file has not been called.
        let polled = T::MAY_POLL && unsafe { (*kiocb).ki_flags } & bindings::IOCB_HIPRI != 0;
        let ret = match call {
            // SAFETY: These are the arguments that the function wants:
            // - `kiocb` was completed by `begin()`. The file may keep it until it calls
            //   `ki_complete()`, to which a reference of the operation belongs; `submission` is
            //   another one, which keeps the operation, and the file in it, until the call is over.
            // - The caller guarantees that `iter` is valid. The file does not keep it any longer
            //   than the call, but may keep segments until it calls `ki_complete()`.
            Some(call) => unsafe { call(kiocb, iter) },
            // `check_access()` has seen it.
            None => EINVAL.to_errno() as isize,
        };

        if ret == EIOCBQUEUED.to_errno() as isize {
            return Issued::Queued(Submitted::new(submission, polled));
        }

        submission.ended();
        // SAFETY: The operation has ended: the file has not called `ki_complete()`, and won't.
        unsafe { Self::end_write(kiocb) };
        // SAFETY: So the reference of `completion` is ours again.
        let completion = unsafe { SlabArc::from_raw(owner) };
        // SAFETY: These two are all the references there are.
        let this = unsafe { submission.reunite(completion) };

        Issued::Complete(this, Self::no_restart(ret))
    }

    /// Starts the operation, on a part of one of its pinned buffers: that at these addresses.
    ///
    /// Otherwise this is [`issue()`](Self::issue). A disk's `EINVAL` for an address is an outcome.
    ///
    /// # Errors
    ///
    /// `EFAULT` for the buffer, if there is no such buffer, or not all of the part is in it.
    #[inline(always)]
    pub fn issue_fixed<T: AsyncRw + HasFixedBuffers>(
        this: UniqueSlabArc<T>,
        dir: Direction,
        index: usize,
        addr: UserPtr,
        len: usize,
    ) -> Result<Issued<T>> {
        let mut space = IterSpace::uninit();
        let me = Self::of(&*this);

        me.check_access(dir)?;
        this.fixed_buffers()
            .ok_or(EFAULT)?
            .range(index, addr, len)?
            .init_iter(&mut space, dir);
        me.verify_area(dir, len)?;
        if !me.is_aligned(addr, len) {
            return Ok(Issued::Complete(this, EINVAL.to_errno() as isize));
        }

        // SAFETY: The iterator was initialised, and lives until the end of this function. Its
        // segments are borrowed from the operation, which nobody can move or change as long as it
        // has references; one of them is dropped only when it is complete.
        Ok(unsafe { Self::call(this, dir, space.as_mut_ptr(), true) })
    }

    /// Writes what the file wants to find in the structure, and returns the function to call; with
    /// `hold_off`, a write of a regular file holds off a freeze of the file system.
    ///
    /// # Safety
    ///
    /// `kiocb` must be that of a `T` at its `OFFSET`, which the file has not been called with.
    #[inline(always)]
    unsafe fn begin<T: AsyncRw>(
        kiocb: *mut bindings::kiocb,
        dir: Direction,
        hold_off: bool,
    ) -> RwIter {
        // SAFETY: The caller guarantees that `kiocb` is that of an `AsyncKiocb`, which owns a
        // reference to its file; so that and its `f_op` are valid.
        let ops = unsafe { &*(*(*kiocb).ki_filp).f_op };
        // SAFETY: The caller guarantees that `kiocb` is valid, and that the file has not been
        // called with it, so that nobody else uses it.
        unsafe { (&raw mut (*kiocb).ki_complete).write(Some(Self::ki_complete::<T>)) };
        // SAFETY: The caller guarantees that `kiocb` is valid, and that the file has not been
        // called with it, so that nobody else uses it.
        unsafe { (&raw mut (*kiocb).private).write(null_mut()) };
        // SAFETY: The caller guarantees that `kiocb` is valid, and that the file has not been
        // called with it, so that nobody else uses it; `new()` has initialised the flags.
        let flags = unsafe { &mut (*kiocb).ki_flags };

        *flags |= T::FLAGS;
        match dir {
            Direction::Read => {
                *flags &= !(bindings::IOCB_WRITE as i32);
                ops.read_iter
            }
            Direction::Write => {
                *flags |= bindings::IOCB_WRITE as i32;
                // SAFETY: The structure has a valid file.
                if hold_off && unsafe { Self::is_regular(kiocb) } {
                    // SAFETY: This is a write of a regular file; `end_write()` is called when it
                    // has ended.
                    unsafe { bindings::kiocb_start_write(kiocb) };
                }
                ops.write_iter
            }
        }
    }

    /// Checks that the file allows an operation of `len` bytes at the position.
    ///
    /// To be called before the operation is issued.
    #[inline(always)]
    fn verify_area(&self, dir: Direction, len: usize) -> Result {
        let kiocb = self.inner.get();

        // SAFETY: The file is valid; nobody changes the position yet.
        to_result(unsafe {
            bindings::rw_verify_area(dir.rw(), (*kiocb).ki_filp, &raw const (*kiocb).ki_pos, len)
        })
    }

    /// Other operations may be running already, so the system call can't be restarted.
    #[inline(always)]
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
        // SAFETY: The caller passes the structure in a `T`, at its `OFFSET`, whose reference
        // belongs to this function since `issue()` has given it away.
        let this = unsafe { SlabArc::from_raw(kiocb.byte_sub(T::OFFSET).cast::<T>()) };

        this.ended();
        // SAFETY: The operation has ended, and the reference keeps it; this is the only call.
        unsafe { Self::end_write(kiocb) };
        T::complete(this, res);
    }

    /// Lets a freeze of the file system go on, that a write has held off.
    ///
    /// # Safety
    ///
    /// `kiocb` must be that of an operation that was issued and has ended. To be called once.
    #[inline(always)]
    unsafe fn end_write(kiocb: *mut bindings::kiocb) {
        // SAFETY: The caller guarantees that the operation of `kiocb` was issued and has ended: the
        // structure is valid, and nobody changes the flag any longer.
        let write = unsafe { (*kiocb).ki_flags } & bindings::IOCB_WRITE as i32 != 0;

        // SAFETY: The caller guarantees that `kiocb` is that of an operation, which owns a
        // reference to its file.
        if write && unsafe { Self::is_regular(kiocb) } {
            // SAFETY: For this write of a regular file, `begin()` has called the counterpart.
            unsafe { bindings::kiocb_end_write(kiocb) };
        }
    }

    /// # Safety
    ///
    /// `kiocb` must have a valid file.
    #[inline(always)]
    unsafe fn is_regular(kiocb: *mut bindings::kiocb) -> bool {
        // SAFETY: The caller guarantees that `kiocb` has a valid file, which keeps its inode, whose
        // type never changes.
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

// SAFETY: The file is the only thing that is to be given back.
unsafe impl Dismantle for AsyncKiocb {
    /// The file.
    type Parts = ARef<LocalFile>;

    #[inline]
    unsafe fn dismantle(this: *mut Self) -> ARef<LocalFile> {
        // SAFETY: By the contract of `Dismantle::dismantle()`, `this` is valid; its file is not
        // null.
        let file = unsafe { NonNull::new_unchecked((*(*this).inner.get()).ki_filp) };

        // SAFETY: By the type invariants `this` owns a reference to the file; by the contract of
        // `Dismantle::dismantle()`, `this` is not used again, so that the reference is this
        // function's.
        unsafe { ARef::from_raw(file.cast()) }
    }
}
