// SPDX-License-Identifier: GPL-2.0

//! What contexts of `io_setup2(2)` have beyond those of `io_setup(2)`.

use crate::{
    kind::AnyName,
    limits,
    ops::rw::Shape,
    polled::Polled,
    ring::{
        Features,
        Size, //
    },
    workers::{
        self,
        Threads, //
    },
};
use core::mem::MaybeUninit;
use kernel::{
    aio::{
        abi::{
            setup2,
            Iocb, //
        },
        mm::CurrentMm,
    },
    mm::{
        locked_vm::LockedVm,
        pinned::{
            self,
            PinnedFolios,
            PinnedUser, //
        },
    },
    nospec::array_index_nospec,
    prelude::*,
    sync::{
        new_spinlock,
        Arc,
        SpinLock,
        WaitToken, //
    },
    uaccess::UserPtr,
    uio::FixedBuffers, //
};

mod kinds;

pub(crate) use kinds::{
    Indexed,
    Threaded, //
};

/// What was asked for, and was not found to be wrong.
pub(crate) struct Wanted {
    flags: u32,
    iocbs: UserPtr,
    nr: usize,
    threaded: bool,
}

impl Wanted {
    /// Checks the flags, and whether there may be iocbs.
    ///
    /// # Errors
    ///
    /// `EINVAL`.
    pub(crate) fn new(nr_events: u32, flags: u32, iocbs: UserPtr) -> Result<Self> {
        let has = |flag| flags & flag != 0;

        if flags & !(setup2::USERIOCB | setup2::IOPOLL | setup2::FIXEDBUFS) != 0
            || has(setup2::FIXEDBUFS) && !has(setup2::USERIOCB)
            || !iocbs.as_const_ptr().is_null() && !has(setup2::USERIOCB)
        {
            return Err(EINVAL);
        }
        Ok(Self {
            flags,
            iocbs,
            nr: nr_events as usize,
            threaded: !has(setup2::IOPOLL) && workers::is_wanted(),
        })
    }

    /// What `io_setup(2)` gives.
    #[cfg(CONFIG_KUNIT = "y")]
    pub(crate) fn plain() -> Self {
        Self {
            flags: 0,
            iocbs: UserPtr::from_addr(0),
            nr: 1,
            threaded: false,
        }
    }

    /// What `io_setup(2)` gives with `fs.aio-auto-threads` set.
    #[cfg(all(CONFIG_KUNIT = "y", CONFIG_AIO_THREAD))]
    pub(crate) fn threaded() -> Self {
        Self {
            threaded: true,
            ..Self::plain()
        }
    }

    /// What `io_setup2(2)` gives with `IOCTX_FLAG_IOPOLL`.
    #[cfg(all(CONFIG_KUNIT = "y", CONFIG_AIO_SETUP2))]
    pub(crate) fn polled() -> Self {
        Self {
            flags: setup2::IOPOLL,
            ..Self::plain()
        }
    }

    fn has(&self, flag: u32) -> bool {
        self.flags & flag != 0
    }

    /// Returns whether that is more than `io_setup(2)` gives.
    fn is_plain(&self) -> bool {
        self.flags == 0 && !self.threaded
    }

    /// Returns how a program can tell what kind of context it is.
    pub(crate) fn features(&self) -> Features {
        let mut compat = 0;

        for (flag, feature) in [
            (setup2::USERIOCB, setup2::COMPAT_USERIOCB),
            (setup2::FIXEDBUFS, setup2::COMPAT_FIXEDBUFS),
            (setup2::IOPOLL, setup2::COMPAT_IOPOLL),
        ] {
            if self.has(flag) {
                compat |= feature;
            }
        }
        if self.threaded {
            compat |= setup2::COMPAT_THREADED;
        }
        Features {
            compat,
            // A program that reads the ring by itself would wait indefinitely for events that come
            // only when the kernel is asked for them.
            readable: !self.has(setup2::IOPOLL),
        }
    }

    /// Checks what does not depend on memory.
    ///
    /// # Errors
    ///
    /// `EINVAL`, or `EFAULT` without iocbs.
    pub(crate) fn check(&self) -> Result {
        if self.has(setup2::FIXEDBUFS) && self.nr > setup2::FIXEDBUFS_MAX_EVENTS as usize {
            return Err(EINVAL);
        }
        if self.has(setup2::USERIOCB) {
            let addr = self.iocbs.as_const_ptr() as usize;

            if addr % size_of::<Iocb>() != 0 {
                return Err(EINVAL);
            }
            if addr == 0 {
                return Err(EFAULT);
            }
        }
        Ok(())
    }

    /// Charges and pins what has to be, and makes the extension of the context, whose ring will
    /// have this size.
    ///
    /// May sleep for long; no lock may be held.
    ///
    /// # Errors
    ///
    /// `EAGAIN` if the process may not lock so much memory, with a message in the kernel log, or
    /// memory is pinned too often. Those of [`PinnedUser::pin()`] for the iocbs and for the
    /// buffers; `EFAULT` for a buffer that is too large, or whose address is 0 or wraps. `ENOMEM`.
    pub(crate) fn build(
        self,
        mm: CurrentMm<'_>,
        size: Size,
    ) -> Result<Option<Pin<KBox<Extension>>>> {
        if self.is_plain() {
            return Ok(None);
        }
        let mut folios = PinnedFolios::new();
        let mut locked = None;
        let mut iocbs = None;
        let mut buffers = None;

        if self.has(setup2::USERIOCB) {
            let bytes = self.nr.checked_mul(size_of::<Iocb>()).ok_or(EFAULT)?;
            let span = pinned::span(self.iocbs, bytes).ok_or(EFAULT)?;
            let mut charge = limits::charge_pinned(&mm, span)?;
            let array = PinnedUser::pin(self.iocbs, bytes, &mut folios)?;

            if self.has(setup2::FIXEDBUFS) {
                buffers = Some(self.pin_buffers(&array, span, &mut charge, &mut folios)?);
            }
            // Pages of larger folios keep more than was charged, or the same as others do.
            limits::recharge_pinned(&mut charge, folios.nr_pages())?;
            locked = Some(charge);
            iocbs = Some(array);
        }
        let polled = match self.has(setup2::IOPOLL) {
            true => Some(Polled::new(size.capacity() as usize)?),
            false => None,
        };

        KBox::pin_init(
            pin_init!(Extension {
                buffers,
                iocbs,
                nr: self.nr,
                polled,
                threaded: self.threaded,
                threads <- Threads::new(),
                locked,
                waiter <- new_spinlock!(None, "aio::extension"),
            }),
            GFP_KERNEL_ACCOUNT,
        )
        .map(Some)
    }

    fn pin_buffers(
        &self,
        array: &PinnedUser,
        mut span: usize,
        charge: &mut LockedVm,
        folios: &mut PinnedFolios,
    ) -> Result<FixedBuffers> {
        let mut wanted = KVVec::with_capacity(self.nr, GFP_KERNEL)?;

        // The process may change all of it at any time: what is pinned is what was checked here.
        for i in 0..self.nr {
            let mut iocb = MaybeUninit::uninit();
            let iocb: &Iocb = array.read(i, &mut iocb)?;
            let len = iocb.nbytes();

            if len > u64::from(setup2::FIXEDBUF_MAX) || (len != 0 && iocb.buf() == 0) {
                return Err(EFAULT);
            }
            // One without bytes may be anywhere.
            let (addr, len) = match (usize::try_from(iocb.buf()), len as usize) {
                (Ok(addr), len) => (addr, len),
                (Err(_), 0) => (0, 0),
                (Err(_), _) => return Err(EFAULT),
            };
            let pages = pinned::span(UserPtr::from_addr(addr), len).ok_or(EFAULT)?;

            span = span.checked_add(pages).ok_or(EAGAIN)?;
            // There is room.
            let _ = wanted.push_within_capacity((addr, len));
        }

        let mut buffers = FixedBuffers::with_capacity(self.nr)?;
        limits::recharge_pinned(charge, span)?;
        for (addr, len) in &wanted {
            buffers.add(UserPtr::from_addr(*addr), *len, folios)?;
        }
        Ok(buffers)
    }
}

/// What a context of `io_setup2(2)` has.
///
/// It is dropped with its context: after the last request, and the last system call that has used
/// it, and a grace period.
#[pin_data]
pub(crate) struct Extension {
    // In this order they are dropped: pages are released before they are no longer charged, and
    // then it is told.
    buffers: Option<FixedBuffers>,
    iocbs: Option<PinnedUser>,
    /// How many iocbs there are.
    nr: usize,
    polled: Option<Arc<Polled>>,
    /// What would block is carried on by threads.
    threaded: bool,
    #[pin]
    threads: Threads,
    locked: Option<LockedVm>,
    /// Somebody waits for the end.
    #[pin]
    waiter: SpinLock<Option<WaitToken>>,
}

impl Extension {
    /// Returns the iocb that user space calls so, if it is in the array.
    ///
    /// # Errors
    ///
    /// `EINVAL` if it is not.
    #[inline(always)]
    fn index(&self, nr: usize) -> Result<usize> {
        if nr >= self.nr {
            return Err(EINVAL);
        }
        Ok(array_index_nospec(nr, self.nr))
    }

    /// In [`flags()`](Self::flags): none that a program can ask for.
    pub(crate) const THREADED: u32 = 1 << 3;

    /// Returns the flags that it was asked for with, and whether it is threaded.
    pub(crate) fn flags(&self) -> u32 {
        let flag = |flag, is_set| if is_set { flag } else { 0 };

        flag(setup2::USERIOCB, self.iocbs.is_some())
            | flag(setup2::IOPOLL, self.polled.is_some())
            | flag(setup2::FIXEDBUFS, self.buffers.is_some())
            | flag(Self::THREADED, self.threaded)
    }

    /// Returns how many pages of the process are pinned.
    pub(crate) fn pinned_pages(&self) -> usize {
        self.locked.as_ref().map_or(0, LockedVm::nr_pages)
    }

    /// Returns by what name a request is found that user space calls so.
    ///
    /// # Errors
    ///
    /// `EINVAL` if nothing can be cancelled, or there is no such iocb.
    pub(crate) fn cancel_name(&self, iocb: usize) -> Result<u64> {
        self.check_cancel()?;
        Ok(self.index(iocb)? as u64)
    }

    /// Checks whether requests can be cancelled.
    ///
    /// # Errors
    ///
    /// `EINVAL` if they can't.
    pub(crate) fn check_cancel(&self) -> Result {
        match self.polled {
            Some(_) => Err(EINVAL),
            None => Ok(()),
        }
    }

    /// Returns whether iocbs have indices.
    pub(crate) fn has_indices(&self) -> bool {
        self.iocbs.is_some()
    }

    /// Returns the buffers, if they are pinned.
    #[inline]
    pub(crate) fn buffers(&self) -> Option<&FixedBuffers> {
        self.buffers.as_ref()
    }

    /// Returns the number of the buffer that an iocb is about, if they are pinned.
    ///
    /// # Errors
    ///
    /// `EINVAL` for a vector of them.
    #[inline(always)]
    fn fixed(&self, name: AnyName, shape: Shape) -> Result<Option<u32>> {
        match (&self.buffers, shape) {
            (None, _) => Ok(None),
            (Some(_), Shape::One) => Ok(Some(name.number as u32)),
            (Some(_), Shape::Vector { .. }) => Err(EINVAL),
        }
    }

    /// Returns whether the iocbs are in an array that the kernel has mapped.
    #[inline]
    pub(crate) fn has_array(&self) -> bool {
        self.iocbs.is_some()
    }

    /// Returns the reads and writes that are polled for, if they are.
    #[inline]
    pub(crate) fn polled(&self) -> Option<&Arc<Polled>> {
        self.polled.as_ref()
    }

    /// Returns what it knows of the threads, if what would block is carried on by them.
    #[inline]
    pub(crate) fn threads(&self) -> Option<&Threads> {
        self.threaded.then_some(&self.threads)
    }

    /// Returns whether there is memory that is given back at the end.
    pub(crate) fn keeps_memory(&self) -> bool {
        self.iocbs.is_some() || self.polled.is_some()
    }

    /// Lets somebody wait until everything was given back.
    pub(crate) fn set_waiter(&self, waiter: Option<WaitToken>) {
        *self.waiter.lock() = waiter;
    }
}
