// SPDX-License-Identifier: GPL-2.0

//! Reads and writes that several tasks carry on, one after the other: they are tried without
//! waiting, parked until a page is there, or done by a task that may sleep.
//!
//! C headers: [`include/linux/fs.h`](srctree/include/linux/fs.h),
//! [`include/linux/pagemap.h`](srctree/include/linux/pagemap.h)

use super::{
    trying::NOT_WAITING,
    Abilities,
    AsyncKiocb,
    AsyncRw,
    HasFixedBuffers,
    How,
    Settings, //
};
use crate::{
    bindings,
    fs::LocalFile,
    prelude::*,
    slab::SlabArc,
    sync::{
        aref::ARef,
        atomic::{
            Atomic,
            AtomicFlag,
            Full,
            Relaxed,
            Release, //
        },
    },
    types::Opaque,
    uio::{
        Direction,
        IterSpace,
        OwnedBuffers, //
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

// What they call in C is there if AIO is.
#[cfg(all(CONFIG_KUNIT = "y", CONFIG_AIO_RUST))]
mod tests;

/// The parked read was parked: its task does not use it any longer.
const LEFT: u32 = 1;
/// The page that it was parked at is there.
const WOKEN: u32 = 2;
/// It was taken back.
const TAKEN: u32 = 4;

/// A read or write that is carried on.
///
/// # Invariants
///
/// The task that has set `busy` is the only one to use `kiocb` and `waitq`, until it is cleared.
/// While `parked` is `LEFT`, `waitq` is in the queue of its folio, or was taken out by the holder
/// of the lock of that queue.
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
            kiocb <- AsyncKiocb::new(file, settings, pos),
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
            // OVERFLOW: A file that checks the position itself, or has none, may have been asked
            // for any, and each of several buffers is checked by itself.
            false => self.pos.wrapping_add(self.done() as i64),
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
        self.busy.store(false, Release);
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
        let result = AsyncKiocb::no_restart(ret);

        // Some files say that a signal has interrupted the call, or that it can't be restarted,
        // although there is none.
        match result == EINTR.to_errno() as isize && crate::current!().signal_pending() {
            true => Progress::Interrupted(this),
            false => Progress::Ended(this, result),
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
                // Nobody may carry it on, or take it back, before this task has left the file.
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
            How::Try => self.abilities.trying(self.dir).0,
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
            unsafe { self.init_waitq::<T>(owner) };
            // SAFETY: The caller has set `busy`, so this is ours.
            unsafe { (*kiocb).ki_waitq = waitq };
        }
        // SAFETY: The caller passes the valid `kiocb` of `owner`, which keeps its file; the file
        // does not use the structure now.
        let started = how != How::Try || unsafe { AsyncKiocb::try_start(kiocb, self.dir) };

        if !started {
            return Err(EAGAIN);
        }
        // SAFETY: The file does not use the structure now. A write that is tried was started.
        Ok(unsafe { AsyncKiocb::begin::<T>(kiocb, self.dir, how != How::Try) })
    }

    /// Gets the entry for the wait queue of a page ready.
    ///
    /// # Safety
    ///
    /// The entry must be the caller's, and in no queue. `owner` must own a reference.
    unsafe fn init_waitq<T: SharedRw>(&self, owner: *mut T) {
        let waitq = self.waitq.get();
        // SAFETY: This stays within the structure.
        let entry = unsafe { &raw mut (*waitq).wait };

        // SAFETY: The caller guarantees that the entry is its own, and so the structure that it is
        // in.
        unsafe { (*waitq).folio = null_mut() };
        // SAFETY: The caller guarantees that the entry is its own, and in no queue.
        unsafe { bindings::init_waitqueue_func_entry(entry, Some(Self::woken::<T>)) };
        // SAFETY: The caller guarantees that the entry is its own, and in no queue: nobody else
        // reads the field.
        unsafe { (*entry).private = owner.cast() };
        // SAFETY: The caller guarantees that the entry is its own, and in no queue: its links are
        // in no list.
        unsafe { bindings::INIT_LIST_HEAD(&raw mut (*entry).entry) };
    }

    /// Takes back an operation that is parked: [`SharedRw::unparked()`] is not called then.
    ///
    /// Returns the reference that it has had there, or nothing if it is not parked: then it was not
    /// yet, or its page is there. A caller that wants it in these cases as well leaves a mark
    /// before, and looks for that after [`carry_on()`](Self::carry_on) and in `unparked()`. May be
    /// called in any context, without the lock of a wait queue.
    pub fn take_back<T: SharedRw>(this: &T) -> Option<SlabArc<T>> {
        let shared = Self::of(this);

        shared.parked.cmpxchg(LEFT, LEFT | TAKEN, Full).ok()?;
        let waitq = shared.waitq.get();

        // INVARIANT: It is in no queue any longer.
        //
        // SAFETY: By the type invariants the entry was queued. A wake-up from now on sees that it
        // was taken back, so nobody else clears `busy` and uses it. When this returns, it is out of
        // the queue, and its function is over.
        unsafe { bindings::folio_lock_async_cancel(waitq) };
        // SAFETY: `begin()` has set it, and nobody changes it.
        let owner: *mut T = unsafe { (*waitq).wait.private.cast() };

        shared.ended();
        // SAFETY: The reference of the entry: `woken()` leaves it to the task that has taken the
        // operation back.
        Some(unsafe { SlabArc::from_raw(owner.cast_const()) })
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

        if shared.parked.fetch_add(WOKEN, Full) == LEFT {
            // SAFETY: The reference of the entry; the task that has parked it has left, and nobody
            // has taken it back.
            let this = unsafe { SlabArc::from_raw(owner.cast_const()) };

            shared.ended();
            T::unparked(this);
        }
        1
    }
}
