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
        Dismantle,
        SlabArc,
        UniqueSlabArc, //
    },
    sync::aref::ARef,
    types::Opaque,
    uio::{
        Buffers,
        Direction,
        FastArray,
        UserIter, //
    },
};
use core::ptr::{
    null_mut,
    NonNull, //
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
                let _ = |this: &Self| -> *const $crate::fs::AsyncKiocb { &this.$($field).+ };

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
    Queued(SlabArc<T>),
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

impl AsyncKiocb {
    /// Initialises a control block for `file`: position zero, the flags of the file.
    ///
    /// `eventfd` tells whether an eventfd will be signalled when the operation is complete.
    #[inline]
    pub fn new(file: ARef<LocalFile>, eventfd: bool) -> impl PinInit<Self> {
        // INVARIANT: The reference goes over to `ki_filp`.
        pin_init!(Self {
            inner <- Opaque::ffi_init(move |slot: *mut bindings::kiocb| {
                let file = ARef::into_raw(file).as_ptr().cast::<bindings::file>();
                let flags = if eventfd { bindings::IOCB_EVENTFD as i32 } else { 0 };

                // What is left out is written by `issue()`, or belongs to the file.
                //
                // SAFETY: `slot` is valid for writes; the file is valid. Its field is read as C
                // does.
                unsafe {
                    (&raw mut (*slot).ki_filp).write(file);
                    (&raw mut (*slot).ki_pos).write(0);
                    (&raw mut (*slot).ki_flags).write((*file).f_iocb_flags as i32 | flags);
                    (&raw mut (*slot).ki_ioprio).write(0);
                    (&raw mut (*slot).ki_write_stream).write(0);
                }
            }),
        })
    }

    /// Returns the file.
    #[inline]
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

    /// Sets the I/O priority to that of the current task, see [`current_ioprio()`].
    #[inline]
    pub fn inherit_ioprio(self: Pin<&mut Self>, current: u16) {
        // SAFETY: By the type invariants, `&mut self` is exclusive.
        unsafe { (*self.inner.get()).ki_ioprio = current };
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

        // Without flags there is nothing to do, and nobody else asks for a poll.
        if flags == 0 {
            return Ok(());
        }
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
    #[inline]
    pub fn issue<T: AsyncRw>(
        this: UniqueSlabArc<T>,
        dir: Direction,
        buffers: Buffers,
    ) -> Result<Issued<T>> {
        // SAFETY: By the requirements of `HasAsyncKiocb`.
        let me = unsafe {
            &*core::ptr::from_ref::<T>(&this)
                .byte_add(T::OFFSET)
                .cast::<Self>()
        };
        let mut fast = FastArray::uninit();
        let mut iter = UserIter::uninit();

        me.check_access(dir)?;
        // Lives until the file has returned, as `fast` does.
        let _allocated = iter.import(dir, buffers, &mut fast)?;
        // SAFETY: It was just imported.
        me.verify_area(dir, unsafe { iter.len() })?;

        let (submission, completion) = this.share_two();
        // The reference belongs to `ki_complete()`.
        //
        // SAFETY: By the requirements of `HasAsyncKiocb`.
        let kiocb: *mut bindings::kiocb =
            unsafe { completion.into_raw().cast_mut().byte_add(T::OFFSET).cast() };

        // SAFETY: Nobody else uses the structure before the file is called; the file is valid.
        let call = unsafe {
            let ops = &*(*(*kiocb).ki_filp).f_op;

            (*kiocb).ki_complete = Some(Self::ki_complete::<T>);
            (*kiocb).private = null_mut();
            (*kiocb).ki_flags |= T::FLAGS;
            match dir {
                Direction::Read => {
                    (*kiocb).ki_flags &= !(bindings::IOCB_WRITE as i32);
                    ops.read_iter
                }
                Direction::Write => {
                    if Self::is_regular(kiocb) {
                        bindings::kiocb_start_write(kiocb);
                    }
                    (*kiocb).ki_flags |= bindings::IOCB_WRITE as i32;
                    ops.write_iter
                }
            }
        };

        let ret = match call {
            // SAFETY: The file is valid, and so is the structure: `submission` keeps both.
            Some(call) => unsafe { call(kiocb, iter.as_raw()) },
            // `check_access()` has seen it.
            None => EINVAL.to_errno() as isize,
        };

        if ret == EIOCBQUEUED.to_errno() as isize {
            return Ok(Issued::Queued(submission));
        }

        // SAFETY: The file has not called `ki_complete()` and won't, so its reference is ours
        // again. These two are all there are.
        let this = unsafe {
            submission.ended();
            Self::end_write(kiocb);
            submission.reunite(SlabArc::from_raw(kiocb.byte_sub(T::OFFSET).cast::<T>()))
        };

        Ok(Issued::Complete(this, Self::no_restart(ret)))
    }

    /// Checks that the file allows an operation of `len` bytes at the position.
    ///
    /// To be called before the operation is issued.
    #[inline]
    fn verify_area(&self, dir: Direction, len: usize) -> Result {
        let kiocb = self.inner.get();

        // SAFETY: The file is valid; nobody changes the position yet.
        to_result(unsafe {
            bindings::rw_verify_area(dir.rw(), (*kiocb).ki_filp, &raw const (*kiocb).ki_pos, len)
        })
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
        // SAFETY: By the requirements of `HasAsyncKiocb` this is the `T`, whose reference belongs
        // to this function.
        let this = unsafe { SlabArc::from_raw(kiocb.byte_sub(T::OFFSET).cast::<T>()) };

        this.ended();
        // SAFETY: By the requirements of this function; the reference keeps it.
        unsafe { Self::end_write(kiocb) };
        T::complete(this, res);
    }

    /// Lets a freeze of the file system go on, that a write has held off.
    ///
    /// # Safety
    ///
    /// `kiocb` must be that of an operation that was issued and has ended. To be called once.
    #[inline]
    unsafe fn end_write(kiocb: *mut bindings::kiocb) {
        // SAFETY: By the requirements of this function.
        unsafe {
            if (*kiocb).ki_flags & bindings::IOCB_WRITE as i32 != 0 && Self::is_regular(kiocb) {
                bindings::kiocb_end_write(kiocb);
            }
        }
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

// SAFETY: The file is the only thing that is to be given back.
unsafe impl Dismantle for AsyncKiocb {
    /// The file.
    type Parts = ARef<LocalFile>;

    #[inline]
    unsafe fn dismantle(this: *mut Self) -> ARef<LocalFile> {
        // SAFETY: By the type invariants, this owns a reference to the file; by the requirements of
        // this function nobody else takes it over.
        unsafe {
            let file = (*(*this).inner.get()).ki_filp;

            ARef::from_raw(NonNull::new_unchecked(file.cast()))
        }
    }
}

#[kunit_tests(rust_fs_async_kiocb)]
mod tests {
    use super::*;
    use crate::{
        kunit::user::{
            ScriptedFile,
            UserMemory, //
        },
        slab::{
            Backing,
            KmemCache,
            SlabArcInner,
            SlabSlot, //
        },
        sync::{
            atomic::{
                Atomic,
                Relaxed, //
            },
            Arc, //
        },
        uaccess::UserPtr,
    };

    enum Ops {}

    static OPS: KmemCache<Ops> = KmemCache::new(c"rust_kunit_rw");

    impl Backing for Ops {
        type Largest = SlabArcInner<Op>;
        const CACHE: &'static KmemCache<Self> = &OPS;
    }

    /// How operations have completed that did not do so at once.
    struct Log {
        times: Atomic<u32>,
        res: Atomic<isize>,
    }

    #[pin_data]
    struct Op {
        #[pin]
        kiocb: AsyncKiocb,
        log: Arc<Log>,
    }

    impl Cached for Op {
        type Backing = Ops;
    }

    impl_has_async_kiocb! {
        impl HasAsyncKiocb for Op { self.kiocb }
    }

    impl AsyncRw for Op {
        fn complete(this: SlabArc<Self>, res: isize) {
            this.log.times.fetch_add(1, Relaxed);
            this.log.res.store(res, Relaxed);
        }
    }

    /// A file, and memory for the buffers.
    struct Setup {
        file: ScriptedFile,
        memory: UserMemory,
        log: Arc<Log>,
    }

    impl Setup {
        fn new(file: Result<ScriptedFile>) -> Result<Self> {
            OPS.init()?;
            Ok(Self {
                file: file?,
                memory: UserMemory::new(1)?,
                log: Arc::new(
                    Log {
                        times: Atomic::new(0),
                        res: Atomic::new(0),
                    },
                    GFP_KERNEL,
                )?,
            })
        }

        fn op(&self) -> Result<UniqueSlabArc<Op>> {
            let file = self.file.open().local()?;

            Ok(SlabSlot::alloc(GFP_KERNEL)?.init(pin_init!(Op {
                kiocb <- AsyncKiocb::new(file, false),
                log: self.log.clone(),
            }))?)
        }

        fn buffer(&self, len: usize) -> Buffers {
            Buffers::One {
                addr: self.memory.at(0),
                len,
            }
        }

        /// Issues an operation that completes at once, and returns its result.
        fn at_once(&self, dir: Direction, buffers: Buffers) -> Result<isize> {
            match AsyncKiocb::issue(self.op()?, dir, buffers)? {
                Issued::Complete(_, res) => Ok(res),
                Issued::Queued(_) => Err(EALREADY),
            }
        }

        /// How many operations have completed later, and the last result.
        fn log(&self) -> (u32, isize) {
            (self.log.times.load(Relaxed), self.log.res.load(Relaxed))
        }
    }

    use Direction::{
        Read,
        Write, //
    };

    #[test]
    fn complete_at_once() -> Result {
        let setup = Setup::new(ScriptedFile::new())?;

        setup.memory.write(0, &[u64::MAX; 2])?;
        assert_eq!(setup.at_once(Read, setup.buffer(8)), Ok(8));
        // As many bytes were read as were asked for.
        assert_eq!(setup.memory.read::<[u64; 2]>(0)?, [0, u64::MAX]);
        assert_eq!(setup.at_once(Write, setup.buffer(100)), Ok(100));
        assert_eq!(setup.at_once(Write, setup.buffer(0)), Ok(0));

        setup.file.set_rw(EIO.to_errno() as isize);
        assert_eq!(
            setup.at_once(Read, setup.buffer(8)),
            Ok(EIO.to_errno() as isize)
        );
        // Nobody was told in the other way.
        assert_eq!(setup.log(), (0, 0));
        Ok(())
    }

    #[test]
    fn faults_are_results() -> Result {
        let setup = Setup::new(ScriptedFile::new())?;
        let addr = setup.memory.at(setup.memory.len());

        assert_eq!(
            setup.at_once(Read, Buffers::One { addr, len: 8 }),
            Ok(EFAULT.to_errno() as isize)
        );
        Ok(())
    }

    #[test]
    fn a_restart_is_an_interruption() -> Result {
        let setup = Setup::new(ScriptedFile::new())?;
        let eintr = EINTR.to_errno() as isize;

        for restart in [
            ERESTARTSYS,
            ERESTARTNOINTR,
            ERESTARTNOHAND,
            ERESTART_RESTARTBLOCK,
        ] {
            setup.file.set_rw(restart.to_errno() as isize);
            assert_eq!(setup.at_once(Write, setup.buffer(8)), Ok(eintr));
        }
        // The numbers around them are not.
        for other in [511, 515, 517] {
            setup.file.set_rw(-other);
            assert_eq!(setup.at_once(Write, setup.buffer(8)), Ok(-other));
        }
        Ok(())
    }

    #[test]
    fn complete_later() -> Result {
        let setup = Setup::new(ScriptedFile::new())?;

        setup.file.hold(false);
        for (dir, res) in [(Read, 5), (Write, EIO.to_errno() as isize)] {
            let (times, _) = setup.log();
            let issued = AsyncKiocb::issue(setup.op()?, dir, setup.buffer(8))?;

            assert!(matches!(issued, Issued::Queued(_)));
            // The operation does not need the submitter's reference.
            drop(issued);
            assert_eq!(setup.log().0, times);
            assert_eq!(setup.file.held(), 1);
            assert!(setup.file.end(res));
            assert_eq!(setup.log(), (times + 1, res));
        }
        assert!(!setup.file.end(0));
        // All operations are gone: nobody else knows the log.
        assert!(Arc::into_unique_or_drop(setup.log).is_some());
        Ok(())
    }

    #[test]
    fn complete_before_the_submitter_leaves() -> Result {
        let setup = Setup::new(ScriptedFile::new())?;

        setup.file.hold(false);
        let issued = AsyncKiocb::issue(setup.op()?, Read, setup.buffer(8))?;

        assert!(setup.file.end(3));
        match issued {
            // The object is there as long as the submitter's reference.
            Issued::Queued(op) => assert_eq!(op.log.res.load(Relaxed), 3),
            Issued::Complete(..) => return Err(EINVAL),
        }
        assert!(Arc::into_unique_or_drop(setup.log).is_some());
        Ok(())
    }

    #[test]
    fn refused() -> Result {
        let setup = Setup::new(ScriptedFile::read_only())?;
        let kernel = Buffers::One {
            addr: UserPtr::from_addr(usize::MAX - 99),
            len: 8,
        };

        // Whether the file is open for it is found out before the buffers.
        assert_eq!(setup.at_once(Write, kernel), Err(EBADF));
        assert_eq!(setup.at_once(Read, kernel), Err(EFAULT));
        assert_eq!(setup.at_once(Read, setup.buffer(8)), Ok(8));

        let nothing = Setup::new(ScriptedFile::without_operations())?;

        assert_eq!(nothing.at_once(Read, kernel), Err(EINVAL));
        assert_eq!(nothing.at_once(Write, kernel), Err(EINVAL));
        assert!(Arc::into_unique_or_drop(setup.log).is_some());
        assert!(Arc::into_unique_or_drop(nothing.log).is_some());
        Ok(())
    }

    #[test]
    fn positions() -> Result {
        let setup = Setup::new(ScriptedFile::new())?;

        for (pos, result) in [
            (0, Ok(8)),
            (i64::MAX - 8, Ok(8)),
            (i64::MAX - 7, Err(EINVAL)),
            (-1, Err(EINVAL)),
            (i64::MIN, Err(EINVAL)),
        ] {
            let mut op = setup.op()?;

            op.as_mut().project().kiocb.set_pos(pos);
            let issued = AsyncKiocb::issue(op, Read, setup.buffer(8)).map(|issued| match issued {
                Issued::Complete(_, res) => res,
                Issued::Queued(_) => 0,
            });

            assert_eq!(issued, result);
        }
        Ok(())
    }

    #[test]
    fn flags_and_priorities() -> Result {
        const RWF_HIPRI: i32 = 1;

        let setup = Setup::new(ScriptedFile::new())?;
        let mut op = setup.op()?;
        let mut kiocb = op.as_mut().project().kiocb;

        assert_eq!(kiocb.as_mut().set_rw_flags(0, Read), Ok(()));
        // No such flag.
        assert_eq!(kiocb.as_mut().set_rw_flags(1 << 30, Read), Err(EOPNOTSUPP));
        // A poll for the completion is accepted, but nobody does it.
        assert_eq!(kiocb.as_mut().set_rw_flags(RWF_HIPRI, Read), Ok(()));
        // SAFETY: The operation is ours.
        let flags = unsafe { (*kiocb.inner.get()).ki_flags };

        assert_eq!(flags & bindings::IOCB_HIPRI, 0);

        // Best effort, level 3; then a class that there is not.
        assert_eq!(kiocb.as_mut().set_ioprio(2 << 13 | 3), Ok(()));
        if cfg!(CONFIG_BLOCK) {
            assert_eq!(kiocb.as_mut().set_ioprio(5 << 13), Err(EINVAL));
        }
        // SAFETY: As above.
        let ioprio = |kiocb: &AsyncKiocb| unsafe { (*kiocb.inner.get()).ki_ioprio };

        assert_eq!(ioprio(&kiocb), 2 << 13 | 3);
        kiocb.as_mut().inherit_ioprio(7);
        assert_eq!(ioprio(&kiocb), 7);
        Ok(())
    }

    crate::slab::impl_dismantle! {
        impl Dismantle for Op {
            taken { kiocb: AsyncKiocb }
            moved { log: Arc<Log> }
            dropped {}
        }
    }

    /// An operation that was not issued gives back what it has.
    #[test]
    fn dropped() -> Result {
        let setup = Setup::new(ScriptedFile::new())?;

        drop(setup.op()?);
        let ((file, log), slot) = setup.op()?.dismantle();

        assert!(core::ptr::eq(
            file.as_ptr(),
            setup.file.open().local()?.as_ptr()
        ));
        drop((file, log, slot));
        assert!(Arc::into_unique_or_drop(setup.log).is_some());
        Ok(())
    }
}
