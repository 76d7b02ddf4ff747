// SPDX-License-Identifier: GPL-2.0

//! Files that do what a test says.

use super::OpenFile;
use crate::{
    bindings,
    error::from_err_ptr,
    fs::File,
    new_poll_condvar,
    prelude::*,
    sync::{
        aref::ARef,
        atomic::{
            Atomic,
            Relaxed, //
        },
        new_spinlock_irqsave,
        poll::{
            PollCondVar,
            PollTable, //
        },
        rcu::synchronize_rcu,
        Arc,
        SpinLockIrqSave, //
    },
    time::{
        delay::fsleep,
        Delta, //
    },
    uio,
};
use core::{
    ffi::{
        c_int,
        c_void, //
    },
    ptr::{
        null_mut,
        NonNull, //
    },
};

mod polled;
pub use polled::Poll;

/// What a file is to do, and what it has been asked for.
#[pin_data]
struct Script {
    /// What a read or write returns; [`ALL`] is as much as was asked for, [`HOLD`] that it ends
    /// later, [`PARK`] that it waits for a page.
    rw: Atomic<isize>,
    /// What a flush returns.
    fsync: Atomic<i32>,
    /// The flushes that were asked for: those of data in the upper half, all others in the lower.
    flushes: Atomic<u32>,
    /// Flushes do not end.
    hold_flushes: Atomic<bool>,
    /// The events that are there, `EPOLL*`.
    ready: Atomic<u32>,
    /// In how many queues one can wait for them.
    queues: Atomic<u32>,
    #[pin]
    queue: PollCondVar,
    #[pin]
    second_queue: PollCondVar,
    #[pin]
    held: SpinLockIrqSave<KVec<Held>>,
    /// Whether what is held can be cancelled.
    cancellable: Atomic<bool>,
    /// What who cancels it ends it with, from within, or [`ALL`].
    end_within: Atomic<isize>,
    cancelled: Atomic<u32>,
    /// The page that a read waits for comes before its task has left the file.
    page_comes_at_once: Atomic<bool>,
    /// What the read waits with that was parked last.
    parked: Atomic<*mut bindings::wait_page_queue>,
    polling: polled::Polling,
}

/// A read or write that has not ended.
struct Held(*mut bindings::kiocb);

// SAFETY: A `kiocb` may be completed by any task, and is not accessed otherwise.
unsafe impl Send for Held {}

const ALL: isize = isize::MAX;
const HOLD: isize = isize::MAX - 1;
const PARK: isize = isize::MAX - 2;
/// So many reads and writes can be held.
const MAX_HELD: usize = 64;

/// A file that does what a test says.
///
/// # Examples
///
/// ```
/// use kernel::{fs::FsyncFile, kunit::user::ScriptedFile};
///
/// let file = ScriptedFile::new()?;
/// let flush = FsyncFile::new(file.open().local()?)?;
///
/// file.set_fsync(EIO.to_errno());
/// assert_eq!(flush.sync(true), EIO.to_errno());
/// assert_eq!(file.flushes(), (0, 1));
/// # Ok::<(), Error>(())
/// ```
pub struct ScriptedFile {
    open: OpenFile,
    script: Arc<Script>,
}

impl ScriptedFile {
    /// A file that is open for reading and writing.
    ///
    /// At first, reads give zeroes and writes lead nowhere, at once; flushes succeed; it is ready
    /// for nothing, and has one wait queue.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn new() -> Result<Self> {
        Self::with(Script::FILE_OPS, bindings::O_RDWR)
    }

    /// The same, but open for reading only.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn read_only() -> Result<Self> {
        Self::with(Script::FILE_OPS, bindings::O_RDONLY)
    }

    /// A file that is open for reading and writing, but can do neither, nor anything else.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn without_operations() -> Result<Self> {
        Self::with(Script::NO_OPS, bindings::O_RDWR)
    }

    fn with(ops: &'static bindings::file_operations, flags: u32) -> Result<Self> {
        let held = KVec::with_capacity(MAX_HELD, GFP_KERNEL)?;
        let script = Arc::pin_init(
            pin_init!(Script {
                rw: Atomic::new(ALL),
                fsync: Atomic::new(0),
                flushes: Atomic::new(0),
                hold_flushes: Atomic::new(false),
                ready: Atomic::new(0),
                queues: Atomic::new(1),
                queue <- new_poll_condvar!("ScriptedFile::queue"),
                second_queue <- new_poll_condvar!("ScriptedFile::second_queue"),
                held <- new_spinlock_irqsave!(held, "ScriptedFile::held"),
                cancellable: Atomic::new(false),
                end_within: Atomic::new(ALL),
                cancelled: Atomic::new(0),
                page_comes_at_once: Atomic::new(false),
                parked: Atomic::new(null_mut()),
                polling: polled::Polling::new(),
            }),
            GFP_KERNEL,
        )?;
        let private = Arc::into_raw(script.clone());
        // SAFETY: The name and the operations are static. The operations take the private data for
        // a pointer of `Arc::into_raw()`, which it is; `release()` gives it back.
        let file = from_err_ptr(unsafe {
            bindings::anon_inode_getfile(
                c"[kunit]".as_char_ptr(),
                ops,
                private.cast_mut().cast(),
                flags as c_int,
            )
        });
        let file = match file {
            // SAFETY: It is not null, since it is no error, and it is the only reference to a new
            // file. There is no `fdget_pos()` of it: it has no descriptor yet.
            Ok(file) => unsafe { ARef::from_raw(NonNull::new_unchecked(file.cast::<File>())) },
            Err(e) => {
                // SAFETY: It comes from `Arc::into_raw()`; without a file nobody else gives it
                // back.
                drop(unsafe { Arc::from_raw(private) });
                return Err(e);
            }
        };

        Ok(Self {
            open: OpenFile::new(file)?,
            script,
        })
    }

    /// Returns the file and its descriptor.
    pub fn open(&self) -> &OpenFile {
        &self.open
    }

    /// From now on, reads and writes return this: a number of bytes, or a negative errno.
    pub fn set_rw(&self, ret: isize) {
        self.script.rw.store(ret, Relaxed);
    }

    /// From now on, reads and writes end when [`end()`](Self::end) is called.
    ///
    /// With `cancellable`, they can be cancelled; that is counted and does nothing else, unless
    /// [`end_when_cancelled()`](Self::end_when_cancelled) says so.
    pub fn hold(&self, cancellable: bool) {
        self.script.cancellable.store(cancellable, Relaxed);
        self.script.rw.store(HOLD, Relaxed);
    }

    /// From now on, the function that cancels a read or write ends all that is held, with this,
    /// before it returns: the driver completes it from within that function.
    pub fn end_when_cancelled(&self, ret: isize) {
        self.script.end_within.store(ret, Relaxed);
    }

    /// Returns how many reads and writes have not ended.
    pub fn held(&self) -> usize {
        self.script.held.with(|held| held.len())
    }

    /// Ends the oldest read or write that is held, with a number of bytes or a negative errno.
    ///
    /// Returns whether there was one.
    pub fn end(&self, ret: isize) -> bool {
        self.script.end(ret)
    }

    /// From now on, reads that can be parked wait for a page; with `comes_at_once`, that is there
    /// before their task has left the file. What can't be parked would have to wait.
    pub fn park(&self, comes_at_once: bool) {
        self.script.page_comes_at_once.store(comes_at_once, Relaxed);
        self.script.rw.store(PARK, Relaxed);
    }

    /// The page comes that the last read waits for which was parked, or has waited for before it
    /// was taken back: then somebody was about to wake it.
    ///
    /// # Safety
    ///
    /// There must be such a read, and its operation be there still.
    pub unsafe fn page_comes(&self) {
        // SAFETY: The caller guarantees that the operation of the parked read is there, in which
        // the entry is.
        unsafe { self.script.page_comes() };
    }

    /// From now on, flushes don't end, or end again.
    pub fn hold_flushes(&self, hold: bool) {
        self.script.hold_flushes.store(hold, Relaxed);
    }

    /// Returns how often a read or write was cancelled.
    pub fn cancelled(&self) -> u32 {
        self.script.cancelled.load(Relaxed)
    }

    /// From now on, flushes return this.
    pub fn set_fsync(&self, ret: i32) {
        self.script.fsync.store(ret, Relaxed);
    }

    /// Returns how many flushes there were: of everything, and of data.
    pub fn flushes(&self) -> (u32, u32) {
        let flushes = self.script.flushes.load(Relaxed);

        (flushes & 0xffff, flushes >> 16)
    }

    /// From now on, the file has this many wait queues: none, one, or two.
    pub fn set_queues(&self, nr: u32) {
        self.script.queues.store(nr, Relaxed);
    }

    /// From now on, these events (`EPOLL*`) are there. Nobody is woken.
    pub fn set_ready(&self, events: u32) {
        self.script.ready.store(events, Relaxed);
    }

    /// Wakes who waits for the file, and tells these events; with none it is a wake-up that says
    /// nothing.
    pub fn wake(&self, events: u32) {
        // SAFETY: The queue was initialised with the script, which `self` has a reference to.
        unsafe {
            bindings::__wake_up(
                self.script.queue.wait_queue_head.get(),
                bindings::TASK_NORMAL,
                1,
                events as usize as *mut c_void,
            )
        };
    }

    /// Makes the wait queue go away, as far as those who wait can see.
    #[doc(alias = "wake_up_pollfree")]
    pub fn free_queue(&self) {
        // SAFETY: The queue was initialised with the script, which stays until `self` is dropped:
        // not before the grace period below has passed.
        unsafe { bindings::__wake_up_pollfree(self.script.queue.wait_queue_head.get()) };
        synchronize_rcu();
    }
}

impl Script {
    const NO_OPS: &'static bindings::file_operations = &bindings::file_operations {
        release: Some(Self::release),
        ..pin_init::zeroed()
    };

    const FILE_OPS: &'static bindings::file_operations = &bindings::file_operations {
        read_iter: Some(Self::read_iter),
        write_iter: Some(Self::write_iter),
        fsync: Some(Self::fsync),
        poll: Some(Self::poll),
        release: Some(Self::release),
        ..pin_init::zeroed()
    };

    /// Ends the oldest read or write that is held; returns whether there was one.
    fn end(&self, ret: isize) -> bool {
        let Ok(Held(kiocb)) = self.held.with(|held| held.remove(0)) else {
            return false;
        };

        // SAFETY: The `kiocb` is valid until it is completed, which is done by the one that takes
        // it out of `held`: this function.
        if let Some(complete) = unsafe { (*kiocb).ki_complete } {
            // SAFETY: `->read_iter()` or `->write_iter()` has returned `-EIOCBQUEUED` for it, so
            // that it is to be completed once: here, since it is not in `held` any longer.
            unsafe { complete(kiocb, ret) };
        }
        true
    }

    /// Calls the function of the entry that was parked last, as the unlocking of a folio does.
    ///
    /// # Safety
    ///
    /// The operation that the entry is in must be there.
    unsafe fn page_comes(&self) {
        let waitq = self.parked.load(Relaxed);
        // SAFETY: The caller guarantees that the operation that the entry is in is there, so that
        // `waitq` is valid.
        let folio = unsafe { (*waitq).folio };
        let mut key = bindings::wait_page_key {
            folio,
            bit_nr: 0,
            page_match: 0,
        };
        // SAFETY: The caller guarantees that the operation that the entry is in is there, so that
        // `waitq` is valid.
        let entry = unsafe { &raw mut (*waitq).wait };

        // SAFETY: The entry is valid, and who has parked it has set its function.
        if let Some(wake) = unsafe { (*entry).func } {
            // SAFETY: These are the entry, and a key of the kind that it wants. It is in no list.
            unsafe { wake(entry, bindings::TASK_NORMAL, 0, (&raw mut key).cast()) };
        }
    }

    /// Returns what a file is to do.
    ///
    /// # Safety
    ///
    /// `file` must be one of [`ScriptedFile`]s, and be valid for `'a`.
    unsafe fn of<'a>(file: *mut bindings::file) -> &'a Self {
        // SAFETY: `file` is valid. The private data of these files is a pointer of
        // `Arc::into_raw()` that is given back when the file is released, so that the script is
        // valid for `'a`.
        unsafe { &*(*file).private_data.cast() }
    }

    /// # Safety
    ///
    /// To be called by the VFS with one of these files, which is not used any longer.
    unsafe extern "C" fn release(_: *mut bindings::inode, file: *mut bindings::file) -> c_int {
        // SAFETY: `file` is valid, and its private data a pointer of `Arc::into_raw()`. The VFS
        // releases a file once, and calls no other operation of it afterwards.
        drop(unsafe { Arc::<Self>::from_raw((*file).private_data.cast()) });
        0
    }

    /// Does what is done with all reads and writes; `None` means that it is to be done now.
    ///
    /// # Safety
    ///
    /// `kiocb` must be valid, and its file one of these.
    unsafe fn rw(kiocb: *mut bindings::kiocb) -> Option<isize> {
        // SAFETY: `kiocb` is valid, and has a reference to its file, which is one of these.
        let this = unsafe { Self::of((*kiocb).ki_filp) };

        match this.rw.load(Relaxed) {
            ALL => None,
            HOLD => {
                // SAFETY: `kiocb` is valid, and only its owner has written this, before.
                if unsafe { (*kiocb).ki_complete.is_none() } {
                    // The task that reads or writes waits for the result.
                    return Some(-(bindings::EINVAL as isize));
                }
                // Without AIO there is nobody to cancel it.
                #[cfg(CONFIG_AIO)]
                if this.cancellable.load(Relaxed) {
                    // SAFETY: `kiocb` is valid and has not been completed, and `cancel()` may be
                    // called with a `kiocb` of one of these files.
                    unsafe { bindings::kiocb_set_cancel_fn(kiocb, Some(Self::cancel)) };
                }
                // SAFETY: `kiocb` is valid, and the file's until it is completed.
                unsafe { this.polling.issued(kiocb) };
                let held = Held(kiocb);

                match this.held.with(|all| all.push_within_capacity(held)) {
                    Ok(()) => Some(-(bindings::EIOCBQUEUED as isize)),
                    // A mistake of the test.
                    Err(_) => Some(-(bindings::ENOSPC as isize)),
                }
            }
            PARK => {
                // SAFETY: `kiocb` is valid, and only its owner has written these, before.
                let (flags, waitq) = unsafe { ((*kiocb).ki_flags, (*kiocb).ki_waitq) };

                if flags & bindings::IOCB_WAITQ as i32 == 0 {
                    return Some(-(bindings::EAGAIN as isize));
                }
                // SAFETY: With the flag there is an entry, which is the file's now. Of the folio
                // only the address is looked at.
                unsafe { (*waitq).folio = waitq.cast() };
                // SAFETY: The entry is the file's.
                unsafe { (*waitq).bit_nr = 0 };
                this.parked.store(waitq, Relaxed);
                if this.page_comes_at_once.load(Relaxed) {
                    // SAFETY: The owner of the operation keeps it until the call is over.
                    unsafe { this.page_comes() };
                }
                Some(-(bindings::EIOCBQUEUED as isize))
            }
            ret => Some(ret),
        }
    }

    /// # Safety
    ///
    /// To be called by `io_cancel()` with a read or write of one of these files.
    #[cfg(CONFIG_AIO)]
    unsafe extern "C" fn cancel(kiocb: *mut bindings::kiocb) -> c_int {
        // SAFETY: `kiocb` is valid, and has a reference to its file, which is one of these. The
        // test keeps the file, and with it the script, beyond the end of what is held.
        let this = unsafe { Self::of((*kiocb).ki_filp) };

        this.cancelled.fetch_add(1, Relaxed);
        match this.end_within.load(Relaxed) {
            ALL => {}
            ret => while this.end(ret) {},
        }
        0
    }

    /// # Safety
    ///
    /// To be called by the VFS with one of these files.
    unsafe extern "C" fn read_iter(
        kiocb: *mut bindings::kiocb,
        iter: *mut bindings::iov_iter,
    ) -> isize {
        // SAFETY: The VFS passes a valid `kiocb` of a file whose operation this is.
        if let Some(ret) = unsafe { Self::rw(kiocb) } {
            return ret;
        }
        // SAFETY: The VFS passes a valid iterator, which is the callee's until it returns.
        let len = unsafe { uio::len(iter) };

        // SAFETY: The iterator is valid, and that of a read can be written to.
        match unsafe { bindings::iov_iter_zero(len, iter) } {
            0 if len != 0 => EFAULT.to_errno() as isize,
            n => n as isize,
        }
    }

    /// # Safety
    ///
    /// To be called by the VFS with one of these files.
    unsafe extern "C" fn write_iter(
        kiocb: *mut bindings::kiocb,
        iter: *mut bindings::iov_iter,
    ) -> isize {
        // SAFETY: The VFS passes a valid `kiocb` of a file whose operation this is.
        if let Some(ret) = unsafe { Self::rw(kiocb) } {
            return ret;
        }
        // SAFETY: The VFS passes a valid iterator, which is the callee's until it returns.
        unsafe { uio::len(iter) as isize }
    }

    /// # Safety
    ///
    /// To be called by the VFS with one of these files.
    unsafe extern "C" fn fsync(
        file: *mut bindings::file,
        _start: i64,
        _end: i64,
        datasync: c_int,
    ) -> c_int {
        // SAFETY: The VFS passes a file whose operation this is, and which is valid during the
        // call.
        let this = unsafe { Self::of(file) };

        this.flushes
            .fetch_add(if datasync != 0 { 1 << 16 } else { 1 }, Relaxed);
        while this.hold_flushes.load(Relaxed) {
            fsleep(Delta::from_millis(1));
        }
        this.fsync.load(Relaxed)
    }

    /// # Safety
    ///
    /// To be called by the VFS with one of these files.
    unsafe extern "C" fn poll(
        file: *mut bindings::file,
        table: *mut bindings::poll_table_struct,
    ) -> bindings::__poll_t {
        // SAFETY: The VFS passes a file whose operation this is, and which is valid during the
        // call.
        let this = unsafe { Self::of(file) };
        // SAFETY: The VFS passes null or a poll table that is valid during the call.
        let table = unsafe { PollTable::from_raw(table) };
        // SAFETY: The file is valid during the call. Nobody uses the position of such a file, so
        // that there is no `fdget_pos()` without the lock.
        let file = unsafe { File::from_raw_file(file) };
        let queues = [&this.queue, &this.second_queue];

        for queue in queues.into_iter().take(this.queues.load(Relaxed) as usize) {
            table.register_wait(file, queue);
        }
        this.ready.load(Relaxed)
    }
}
