// SPDX-License-Identifier: GPL-2.0

//! Reads and writes that are carried on by whoever can: tried without waiting, parked until a page
//! is there, or done by a task that may sleep.
//!
//! C headers: [`include/linux/fs.h`](srctree/include/linux/fs.h),
//! [`include/linux/pagemap.h`](srctree/include/linux/pagemap.h)

use super::{
    AsyncKiocb,
    AsyncRw,
    HasFixedBuffers,
    Issued, //
};
use crate::{
    bindings,
    fs::LocalFile,
    prelude::*,
    slab::{
        SlabArc,
        UniqueSlabArc, //
    },
    sync::{
        aref::ARef,
        atomic::{
            Atomic,
            AtomicFlag,
            Full,
            Relaxed, //
        },
    },
    types::Opaque,
    uaccess::UserPtr,
    uio::{
        Buffers,
        Direction,
        FastArray,
        IterSpace,
        OwnedBuffers,
        UserIter, //
    },
};
use core::{
    ffi::{
        c_int,
        c_uint,
        c_void, //
    },
    ptr::null_mut, //
};

/// How far a file goes to do what it is asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// It does not wait: the outcome is `EAGAIN` if it would have to.
    Try,
    /// A read that would have to wait for a page is parked there: [`SharedRw::unparked()`] is
    /// called when it should be carried on.
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
    /// `O_NONBLOCK`, or `RWF_NOWAIT`: the program wants to be told if it would have to wait.
    pub nonblock: bool,
}

/// Flags and priority of an operation.
#[derive(Clone, Copy)]
pub struct Settings {
    flags: i32,
    ioprio: u16,
}

impl AsyncKiocb {
    /// Returns what can be expected of the file.
    ///
    /// # Errors
    ///
    /// `EBADF` if it is not open for this, `EINVAL` if it can't do it in any way.
    pub fn abilities(&self, dir: Direction) -> Result<Abilities> {
        let file = self.file().as_ptr();
        // SAFETY: The file is valid; none of these change, but `f_flags`, which is read once.
        let (mode, ops, f_flags) = unsafe {
            (
                (*file).f_mode,
                &*(*file).f_op,
                (&raw const (*file).f_flags).read_volatile(),
            )
        };
        // SAFETY: The structure is valid, and nobody changes the flags now.
        let flags = unsafe { (*self.inner.get()).ki_flags };
        // SAFETY: The file is valid. The type of its inode never changes.
        let i_mode = u32::from(unsafe { (*bindings::file_inode(file)).i_mode });
        let kind = i_mode & bindings::S_IFMT;
        let storage = kind == bindings::S_IFREG || kind == bindings::S_IFBLK;
        let direct = flags & bindings::IOCB_DIRECT as i32 != 0;
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
        // Buffered writes need more than others.
        let buffered_write = dir == Direction::Write && storage && !direct;
        let waits = buffered_write
            && (kind == bindings::S_IFBLK || ops.fop_flags & bindings::FOP_BUFFER_WASYNC == 0);

        Ok(Abilities {
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
            nonblock: flags & bindings::IOCB_NOWAIT != 0
                || (!storage && f_flags & bindings::O_NONBLOCK != 0),
        })
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
        match abilities.simple {
            // The function that is called does it.
            true => Ok(()),
            false => self.verify_area_at(dir, pos, len),
        }
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

    /// Returns flags and priority, for another one.
    pub fn settings(&self) -> Settings {
        let kiocb = self.inner.get();

        // SAFETY: The structure is valid, and nobody changes these now.
        unsafe {
            Settings {
                flags: (*kiocb).ki_flags,
                ioprio: (*kiocb).ki_ioprio,
            }
        }
    }

    /// Initialises a control block with these settings.
    fn like(file: ARef<LocalFile>, settings: Settings) -> impl PinInit<Self> {
        // INVARIANT: The reference goes over to `ki_filp`.
        pin_init!(Self {
            inner <- Opaque::ffi_init(move |slot: *mut bindings::kiocb| {
                let file = ARef::into_raw(file).as_ptr().cast::<bindings::file>();

                // What is left out is written by who calls the file.
                //
                // SAFETY: `slot` is valid for writes.
                unsafe {
                    (&raw mut (*slot).ki_filp).write(file);
                    (&raw mut (*slot).ki_flags).write(settings.flags);
                    (&raw mut (*slot).ki_ioprio).write(settings.ioprio);
                }
            }),
        })
    }

    /// Asks the file not to wait, see [`How::Try`].
    pub fn set_trying(self: Pin<&mut Self>, dir: Direction, abilities: &Abilities) {
        // SAFETY: By the type invariants, `&mut self` is exclusive.
        unsafe { (*self.inner.get()).ki_flags |= trying(dir, abilities.storage, abilities.direct) };
    }

    /// Takes [`set_trying()`](Self::set_trying) back.
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
    unsafe fn try_start(kiocb: *mut bindings::kiocb, dir: Direction) -> bool {
        // SAFETY: The caller guarantees that it is valid, and so is its file.
        let holds_off = dir == Direction::Write && unsafe { Self::is_regular(kiocb) };

        // SAFETY: The caller guarantees that it is valid, and so is its file.
        !holds_off || unsafe { bindings::kiocb_start_write_trylock(kiocb) }
    }

    /// Starts the operation as [`issue()`](Self::issue), but does not wait for a file system that
    /// is frozen: the outcome is `EAGAIN` then. To be called after
    /// [`set_trying()`](Self::set_trying).
    ///
    /// Returns how many bytes the buffers have, too.
    ///
    /// # Errors
    ///
    /// Those of [`issue()`](Self::issue).
    #[inline(never)]
    pub fn try_issue<T: AsyncRw>(
        this: UniqueSlabArc<T>,
        dir: Direction,
        buffers: Buffers,
    ) -> Result<(Issued<T>, usize)> {
        let mut fast = FastArray::uninit();
        let mut space = IterSpace::uninit();
        let me = Self::of(&*this);

        me.check_access(dir)?;
        let mut iter = UserIter::import(&mut space, dir, buffers, &mut fast)?;
        let len = iter.len();
        me.verify_area(dir, len)?;

        // SAFETY: The structure is valid, and so is its file.
        if !unsafe { Self::try_start(me.inner.get(), dir) } {
            return Ok((Issued::Complete(this, EAGAIN.to_errno() as isize), len));
        }
        // SAFETY: `iter` was imported; what it refers to lives until the end of this function, and
        // so beyond the call. A write was started.
        Ok((unsafe { Self::call(this, dir, iter.as_raw(), false) }, len))
    }

    /// The same for a part of a pinned buffer, as
    /// [`issue_fixed()`](Self::issue_fixed).
    #[inline(never)]
    pub fn try_issue_fixed<T: AsyncRw + HasFixedBuffers>(
        this: UniqueSlabArc<T>,
        dir: Direction,
        index: usize,
        addr: UserPtr,
        len: usize,
    ) -> Result<(Issued<T>, usize)> {
        let mut space = IterSpace::uninit();
        let me = Self::of(&*this);

        me.check_access(dir)?;
        this.fixed_buffers()
            .ok_or(EFAULT)?
            .range(index, addr, len)?
            .init_iter(&mut space, dir);
        me.verify_area(dir, len)?;

        // SAFETY: The structure is valid, and so is its file.
        if !unsafe { Self::try_start(me.inner.get(), dir) } {
            return Ok((Issued::Complete(this, EAGAIN.to_errno() as isize), len));
        }
        // SAFETY: The iterator was initialised. Its segments are borrowed from the operation, which
        // stays until it is complete. A write was started.
        Ok((unsafe { Self::call(this, dir, space.as_mut_ptr(), false) }, len))
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

/// Returns what names the data of a file: the same for two files only if they are the same data, as
/// long as both are open.
pub fn data_id(file: &LocalFile) -> usize {
    // SAFETY: The file is valid; neither field changes.
    unsafe { (*(*file.as_ptr()).f_mapping).host as usize }
}

const NOT_WAITING: i32 =
    bindings::IOCB_NOWAIT | bindings::IOCB_NOIO as i32 | bindings::IOCB_WAITQ as i32;

/// Returns the flags of an operation that does not wait.
fn trying(dir: Direction, storage: bool, direct: bool) -> i32 {
    // To begin to read what is not in the page cache may sleep.
    if dir == Direction::Read && storage && !direct {
        bindings::IOCB_NOWAIT | bindings::IOCB_NOIO as i32
    } else {
        bindings::IOCB_NOWAIT
    }
}

/// The parked read was parked: its task does not use it any longer.
const LEFT: u32 = 1;
/// The page that it was parked at is there.
const WOKEN: u32 = 2;

/// A read or write that is carried on.
///
/// # Invariants
///
/// Who has set `busy` is the only one to use `kiocb` and `waitq`, until it is cleared.
#[pin_data]
pub struct SharedKiocb {
    #[pin]
    kiocb: AsyncKiocb,
    #[pin]
    waitq: Opaque<bindings::wait_page_queue>,
    parked: Atomic<u32>,
    buffers: OwnedBuffers,
    dir: Direction,
    flags: i32,
    pos: i64,
    done: Atomic<usize>,
    busy: AtomicFlag,
    abilities: Abilities,
}

// SAFETY: By the type invariants one task at a time uses what is not `Sync`.
unsafe impl Sync for SharedKiocb {}

// SAFETY: It belongs to no thread.
unsafe impl Send for SharedKiocb {}

/// Types that have a [`SharedKiocb`] in them.
///
/// # Safety
///
/// `SHARED_OFFSET` must be the offset of a field of this type, which is a `SharedKiocb`, and that
/// of [`HasAsyncKiocb`](super::HasAsyncKiocb) the offset of its control block; `ended()` must call
/// [`SharedKiocb::ended()`]. To be implemented with
/// [`impl_has_shared_kiocb!`](crate::impl_has_shared_kiocb).
pub unsafe trait HasSharedKiocb {
    /// The offset of the field.
    const SHARED_OFFSET: usize;
}

/// Implements [`HasSharedKiocb`] and [`HasAsyncKiocb`](super::HasAsyncKiocb) for a type with such a
/// field.
#[macro_export]
macro_rules! impl_has_shared_kiocb {
    (impl HasSharedKiocb for $self:ty { self.$($field:ident).+ }) => {
        // SAFETY: The compiler computes the offset, and checks the type of the field below.
        unsafe impl $crate::fs::HasSharedKiocb for $self {
            const SHARED_OFFSET: usize = {
                let _ = |this: &Self| -> *const $crate::fs::SharedKiocb {
                    &raw const this.$($field).+
                };

                ::core::mem::offset_of!(Self, $($field).+)
            };
        }

        // SAFETY: The control block is in the field above.
        unsafe impl $crate::fs::HasAsyncKiocb for $self {
            const OFFSET: usize = <Self as $crate::fs::HasSharedKiocb>::SHARED_OFFSET
                + $crate::fs::SharedKiocb::KIOCB_OFFSET;
            const FLAGS: i32 = 0;
            const MAY_POLL: bool = false;

            #[inline]
            fn ended(&self) {
                self.$($field).+.ended();
            }
        }
    };
}
pub use impl_has_shared_kiocb;

/// A read or write that is carried on.
pub trait SharedRw: AsyncRw + HasFixedBuffers + HasSharedKiocb {
    /// The operation was parked, and may be carried on.
    ///
    /// May be called in any context.
    fn unparked(this: SlabArc<Self>);
}

/// What has become of an operation that was carried on.
pub enum Progress<T: SharedRw> {
    /// It has ended, with a number of bytes or a negative errno. A number is counted already, see
    /// [`SharedKiocb::done()`].
    Ended(SlabArc<T>, isize),
    /// A signal has interrupted it.
    Interrupted(SlabArc<T>),
    /// It ends later, with [`AsyncRw::complete()`], is parked, or both have happened meanwhile. The
    /// reference has kept it so far.
    InFlight(SlabArc<T>),
}

impl SharedKiocb {
    #[doc(hidden)]
    pub const KIOCB_OFFSET: usize = core::mem::offset_of!(Self, kiocb);

    /// Initialises an operation on `file`, of which `done` bytes are done.
    pub fn new(
        file: ARef<LocalFile>,
        settings: Settings,
        abilities: Abilities,
        dir: Direction,
        pos: i64,
        buffers: OwnedBuffers,
        done: usize,
    ) -> impl PinInit<Self> {
        pin_init!(Self {
            kiocb <- AsyncKiocb::like(file, settings),
            waitq: Opaque::uninit(),
            parked: Atomic::new(0),
            buffers,
            dir,
            // What the file was asked for by others is no longer wanted.
            flags: settings.flags & !NOT_WAITING,
            pos,
            done: Atomic::new(done),
            busy: AtomicFlag::new(false),
            abilities,
        })
    }

    /// Returns what can be expected of the file.
    pub fn abilities(&self) -> &Abilities {
        &self.abilities
    }

    /// Returns the direction.
    pub fn dir(&self) -> Direction {
        self.dir
    }

    /// Returns the position in the file of the first byte.
    pub fn pos(&self) -> i64 {
        self.pos
    }

    /// Returns the position in the file of what is left. Pipes and sockets have none.
    pub fn pos_now(&self) -> i64 {
        match self.abilities.pipe {
            true => self.pos,
            false => self.pos + self.done() as i64,
        }
    }

    /// Returns how many bytes are done.
    pub fn done(&self) -> usize {
        self.done.load(Relaxed)
    }

    /// Returns how many bytes are left.
    pub fn left(&self) -> usize {
        self.buffers.len().saturating_sub(self.done())
    }

    /// Returns the control block, for what does not change.
    pub fn kiocb(&self) -> &AsyncKiocb {
        &self.kiocb
    }

    /// The file has ended the operation.
    #[doc(hidden)]
    #[inline]
    pub fn ended(&self) {
        self.busy.store(false, crate::sync::atomic::Release);
    }

    fn of<T: HasSharedKiocb>(this: &T) -> &Self {
        // SAFETY: The offset is that of a `SharedKiocb` in a `T`, see `HasSharedKiocb`.
        unsafe { &*core::ptr::from_ref(this).byte_add(T::SHARED_OFFSET).cast() }
    }

    /// Counts what was done, and sorts the outcome.
    fn progress<T: SharedRw>(this: SlabArc<T>, ret: isize) -> Progress<T> {
        if ret >= 0 {
            let shared = Self::of(&*this);

            // Only who carries the operation on writes this.
            shared.done.store(shared.done() + ret as usize, Relaxed);
            return Progress::Ended(this, ret);
        }
        match AsyncKiocb::no_restart(ret) {
            // Some files say that the call can't be restarted, whatever the signal.
            same if same == ret
                && (ret != EINTR.to_errno() as isize || !crate::current!().signal_pending()) =>
            {
                Progress::Ended(this, ret)
            }
            _ => Progress::Interrupted(this),
        }
    }

    /// Calls the file for what is left.
    ///
    /// A write of a regular file holds off a freeze of the file system until it is complete; with
    /// [`How::Try`] the outcome is `EAGAIN` if there is one. If somebody else carries the operation
    /// on at the same time, that is `EBUSY`.
    ///
    /// May sleep, with [`How::Wait`] and [`How::Park`] for long.
    pub fn carry_on<T: SharedRw>(this: SlabArc<T>, how: How) -> Progress<T> {
        let shared = Self::of(&*this);

        if shared.busy.xchg(true, Full) {
            return Progress::Ended(this, EBUSY.to_errno() as isize);
        }
        if shared.abilities.simple {
            let ret = shared.call_simple();

            shared.ended();
            return Self::progress(this, ret);
        }

        let mut space = IterSpace::uninit();
        let done = shared.done();
        let imported = shared
            .buffers
            .init_iter(&mut space, shared.dir, this.fixed_buffers(), done);

        // Nobody else looks at that, see there.
        let aligned = shared
            .buffers
            .fixed_part()
            .is_none_or(|(addr, len)| shared.kiocb.is_aligned(addr, len));

        if let Err(e) = imported.and(aligned.then_some(()).ok_or(EINVAL)) {
            shared.ended();
            return Progress::Ended(this, e.to_errno() as isize);
        }

        let owner = SlabArc::into_raw(this.clone()).cast_mut();
        // SAFETY: `OFFSET` is that of an `AsyncKiocb` in a `T`, see `HasAsyncKiocb`.
        let kiocb: *mut bindings::kiocb = unsafe { owner.byte_add(T::OFFSET).cast() };

        // SAFETY: `kiocb` is that of a `T`, which is ours, since we have set `busy`.
        let ret = match unsafe { shared.begin::<T>(kiocb, how, owner) } {
            // SAFETY: These are the arguments that the function wants:
            // - `kiocb` was completed by `begin()`. The file may keep it until it calls
            //   `ki_complete()`, or until the parked read is woken, to which a reference of the
            //   operation belongs; `this` is another one, which keeps the operation, and the file
            //   in it, until the call is over.
            // - `space` was initialised; what it refers to belongs to the operation.
            Ok(Some(call)) => unsafe { call(kiocb, space.as_mut_ptr()) },
            // Another function was there when the file was looked at, and that does not change.
            Ok(None) => EINVAL.to_errno() as isize,
            Err(e) => {
                shared.ended();
                // SAFETY: The file was not called, so the reference is ours again.
                drop(unsafe { SlabArc::from_raw(owner) });
                return Progress::Ended(this, e.to_errno() as isize);
            }
        };

        if ret == EIOCBQUEUED.to_errno() as isize {
            // SAFETY: The wait queue entry was initialised by `begin()`; what is read here is
            // written by the file before it returns.
            if how == How::Park && !unsafe { (*shared.waitq.get()).folio }.is_null() {
                // Nobody may carry it on before this task has left the file.
                if shared.parked.fetch_add(LEFT, Full) & WOKEN != 0 {
                    shared.ended();
                    T::unparked(this);
                    // SAFETY: The reference of the entry: that was woken, and left it to us.
                    return Progress::InFlight(unsafe { SlabArc::from_raw(owner) });
                }
            }
            return Progress::InFlight(this);
        }

        // SAFETY: The operation has ended: the file has not called `ki_complete()`, and won't.
        unsafe { AsyncKiocb::end_write(kiocb) };
        shared.ended();
        // SAFETY: So the reference is ours again. It is not the last one.
        drop(unsafe { SlabArc::from_raw(owner) });
        Self::progress(this, ret)
    }

    /// Gets the structure ready for a call, and returns what to call.
    ///
    /// # Safety
    ///
    /// `kiocb` must be that of `owner`, and the caller have set `busy`. `owner` must own a
    /// reference.
    unsafe fn begin<T: SharedRw>(
        &self,
        kiocb: *mut bindings::kiocb,
        how: How,
        owner: *mut T,
    ) -> Result<super::RwIter> {
        let extra = match how {
            How::Try => trying(self.dir, self.abilities.storage, self.abilities.direct),
            How::Park if self.abilities.parks => bindings::IOCB_WAITQ as i32,
            _ => 0,
        };

        // SAFETY: The caller has set `busy`, so this is ours.
        unsafe {
            (*kiocb).ki_pos = self.pos_now();
            (*kiocb).ki_flags = self.flags | extra;
            (*kiocb).ki_write_stream = 0;
            (*kiocb).ki_waitq = null_mut();
        }
        if extra & bindings::IOCB_WAITQ as i32 != 0 {
            let waitq = self.waitq.get();

            self.parked.store(0, Relaxed);
            // SAFETY: The caller has set `busy`, so this is ours; the last wait is over.
            unsafe {
                (*waitq).folio = null_mut();
                bindings::init_waitqueue_func_entry(
                    &raw mut (*waitq).wait,
                    Some(Self::woken::<T>),
                );
                (*waitq).wait.private = owner.cast();
                bindings::INIT_LIST_HEAD(&raw mut (*waitq).wait.entry);
                (*kiocb).ki_waitq = waitq;
            }
        }
        // SAFETY: It is valid, and so is its file; the file does not use it now.
        let started = how != How::Try || unsafe { AsyncKiocb::try_start(kiocb, self.dir) };

        if !started {
            return Err(EAGAIN);
        }
        // SAFETY: The file does not use the structure now. A write that is tried was started.
        Ok(unsafe { AsyncKiocb::begin::<T>(kiocb, self.dir, how != How::Try) })
    }

    /// Calls the function of a file that has only the simple one.
    fn call_simple(&self) -> isize {
        let file = self.kiocb.file().as_ptr();
        let mut pos = self.pos_now();
        let ppos = match self.abilities.stream {
            true => null_mut(),
            false => &raw mut pos,
        };

        self.buffers.each(self.done(), |addr, len| {
            let addr = addr.as_mut_ptr().cast();

            // SAFETY: The file is valid. The address may be any: faults are results. The position
            // is this function's.
            unsafe {
                match self.dir {
                    Direction::Read => bindings::vfs_read(file, addr, len, ppos),
                    Direction::Write => bindings::vfs_write(file, addr, len, ppos),
                }
            }
        })
    }

    /// A page is there, perhaps that which the read is parked at.
    ///
    /// # Safety
    ///
    /// To be called as the function of the entry, by C's wait queues of folios.
    unsafe extern "C" fn woken<T: SharedRw>(
        entry: *mut bindings::wait_queue_entry,
        _mode: c_uint,
        _sync: c_int,
        key: *mut c_void,
    ) -> c_int {
        // SAFETY: The caller passes the entry that `begin()` has initialised.
        let waitq: *mut bindings::wait_page_queue =
            unsafe { crate::container_of!(entry, bindings::wait_page_queue, wait) };

        // SAFETY: The structure is valid while its entry is in the queue; the caller passes a key.
        if !unsafe { bindings::wake_page_match(waitq, key.cast()) } {
            return 0;
        }
        // SAFETY: `begin()` has set it.
        let owner: *mut T = unsafe { (*entry).private.cast() };

        // SAFETY: The caller holds the lock of the queue that the entry is in.
        unsafe { bindings::list_del_init(&raw mut (*entry).entry) };
        // SAFETY: The reference of the entry keeps the operation.
        let shared = Self::of(unsafe { &*owner });

        if shared.parked.fetch_add(WOKEN, Full) & LEFT != 0 {
            // SAFETY: The reference of the entry; who has parked it has left.
            let this = unsafe { SlabArc::from_raw(owner.cast_const()) };

            shared.ended();
            T::unparked(this);
        }
        1
    }
}
