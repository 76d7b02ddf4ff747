// SPDX-License-Identifier: GPL-2.0

//! The kinds of contexts that have an extension, and of submissions to them.

use super::Extension;
use crate::{
    batch::Batch,
    kind::{
        word,
        AnyName,
        Index,
        Kind, //
    },
    ops::{
        polled as polled_rw,
        rw::{
            self,
            Shape,
            Transfer, //
        },
        threaded::{
            self,
            Origin, //
        },
    },
    polled::Polled,
    request::Prepared,
    trace::{
        Nobody,
        Observer, //
    },
    workers::{
        Submission,
        Threads, //
    },
};
use core::mem::MaybeUninit;
use kernel::{
    aio::abi::{
        opcode,
        Abi,
        Iocb,
        IOCB_FLAG_RESFD, //
    },
    mm::pinned::PinnedUser,
    prelude::*,
    sync::Arc,
    uaccess::UserPtr,
    uio::Direction, //
};

#[cfg(CONFIG_AIO_THREAD)]
use crate::ops::jobs;

/// Checks what can't be polled for.
///
/// # Errors
///
/// `EINVAL`.
#[inline(always)]
fn check_polled(iocb: &Iocb) -> Result {
    if iocb.flags() & IOCB_FLAG_RESFD != 0
        || matches!(iocb.opcode(), opcode::FSYNC | opcode::FDSYNC | opcode::POLL)
    {
        return Err(EINVAL);
    }
    Ok(())
}

/// Starts a read or write, to be polled for if there is a place for that.
///
/// # Errors
///
/// Those of [`rw::start()`] or [`polled_rw::start()`].
#[inline(always)]
fn start<O: Observer>(
    prepared: Prepared,
    iocb: &Iocb,
    (dir, shape): (Direction, Shape),
    fixed: Option<u32>,
    polled: Option<&Arc<Polled>>,
    batch: &mut Batch<'_>,
) -> Result {
    match polled {
        None => rw::start::<O>(prepared, iocb, dir, shape, fixed, batch),
        Some(polled) => {
            let transfer = Transfer::new(iocb, dir, shape, fixed);

            polled_rw::start::<O>(prepared, iocb, transfer, polled, batch)
        }
    }
}

/// A context with an array of iocbs, without threads: `FIXED` with pinned buffers, `POLLED` if
/// completions are polled for.
///
/// Those that are used most have a loop of their own, which asks for nothing of this.
#[derive(Clone, Copy)]
pub(crate) struct Indexed<'a, const FIXED: bool, const POLLED: bool> {
    extension: &'a Extension,
    iocbs: &'a PinnedUser,
}

impl<'a, const FIXED: bool, const POLLED: bool> Indexed<'a, FIXED, POLLED> {
    /// Returns the kind, if it is that of the context.
    #[inline(always)]
    pub(crate) fn new(extension: &'a Extension) -> Option<Self> {
        let iocbs = extension.iocbs.as_ref()?;
        let fits = FIXED == extension.buffers.is_some() && POLLED == extension.polled.is_some();

        fits.then_some(Self { extension, iocbs })
    }
}

impl<const FIXED: bool, const POLLED: bool> Kind for Indexed<'_, FIXED, POLLED> {
    type Name = Index;
    type Observer = Nobody;

    #[inline(always)]
    fn name(self, array: UserPtr, nr: usize, abi: Abi) -> Result<Index> {
        Ok(Index(self.extension.index(word(array, nr, abi)?)?))
    }

    #[inline(always)]
    fn iocb(self, Index(index): Index, to: &mut MaybeUninit<Iocb>) -> Result<&Iocb> {
        self.iocbs.read(index, to)
    }

    #[inline(always)]
    fn check(self, iocb: &Iocb) -> Result {
        match POLLED {
            true => check_polled(iocb),
            false => Ok(()),
        }
    }

    #[inline(always)]
    fn start_rw<O: Observer>(
        self,
        prepared: Prepared,
        iocb: &Iocb,
        Index(index): Index,
        how: (Direction, Shape),
        batch: &mut Batch<'_>,
    ) -> Result {
        let fixed = match (FIXED, how.1) {
            (false, _) => None,
            (true, Shape::One) => Some(index as u32),
            (true, Shape::Vector { .. }) => return Err(EINVAL),
        };

        let polled = match POLLED {
            // `new()` has found it.
            true => Some(self.extension.polled().ok_or(EINVAL)?),
            false => None,
        };

        start::<O>(prepared, iocb, how, fixed, polled, batch)
    }
}

/// One of any kind without threads.
impl Kind for &Extension {
    type Name = AnyName;
    type Observer = Nobody;

    #[inline(always)]
    fn name(self, array: UserPtr, nr: usize, abi: Abi) -> Result<AnyName> {
        let number = word(array, nr, abi)?;

        Ok(match self.iocbs {
            Some(_) => AnyName {
                number: self.index(number)?,
                is_index: true,
            },
            None => AnyName {
                number,
                is_index: false,
            },
        })
    }

    #[inline(always)]
    fn iocb(self, name: AnyName, to: &mut MaybeUninit<Iocb>) -> Result<&Iocb> {
        match &self.iocbs {
            Some(array) => array.read(name.number, to),
            None => Iocb::from_user(UserPtr::from_addr(name.number), to),
        }
    }

    #[inline(always)]
    fn check(self, iocb: &Iocb) -> Result {
        match self.polled {
            Some(_) => check_polled(iocb),
            None => Ok(()),
        }
    }

    #[inline(always)]
    fn start_rw<O: Observer>(
        self,
        prepared: Prepared,
        iocb: &Iocb,
        name: AnyName,
        how: (Direction, Shape),
        batch: &mut Batch<'_>,
    ) -> Result {
        let fixed = self.fixed(name, how.1)?;

        start::<O>(prepared, iocb, how, fixed, self.polled(), batch)
    }
}

/// A submission to a threaded context; without `ARRAY`, one whose iocbs are anywhere in the memory
/// of the process, as those of most are.
#[derive(Clone, Copy)]
pub(crate) struct Threaded<'a, const ARRAY: bool> {
    extension: &'a Extension,
    origin: Origin<'a>,
}

impl<'a, const ARRAY: bool> Threaded<'a, ARRAY> {
    #[inline(always)]
    pub(crate) fn new(
        extension: &'a Extension,
        threads: &'a Threads,
        submission: &'a Submission,
    ) -> Self {
        Self {
            extension,
            origin: Origin {
                threads,
                submission,
            },
        }
    }
}

impl<const ARRAY: bool> Kind for Threaded<'_, ARRAY> {
    type Name = AnyName;
    type Observer = Nobody;

    #[inline(always)]
    fn name(self, array: UserPtr, nr: usize, abi: Abi) -> Result<AnyName> {
        if ARRAY {
            return self.extension.name(array, nr, abi);
        }
        Ok(AnyName {
            number: word(array, nr, abi)?,
            is_index: false,
        })
    }

    #[inline(always)]
    fn iocb(self, name: AnyName, to: &mut MaybeUninit<Iocb>) -> Result<&Iocb> {
        if ARRAY {
            return self.extension.iocb(name, to);
        }
        Iocb::from_user(UserPtr::from_addr(name.number), to)
    }

    #[inline(always)]
    fn start_rw<O: Observer>(
        self,
        prepared: Prepared,
        iocb: &Iocb,
        name: AnyName,
        how: (Direction, Shape),
        batch: &mut Batch<'_>,
    ) -> Result {
        let fixed = match ARRAY {
            true => self.extension.fixed(name, how.1)?,
            false => None,
        };

        threaded::start::<O>(self.origin, prepared, iocb, how, fixed, batch)
    }

    #[cfg(CONFIG_AIO_THREAD)]
    #[inline(always)]
    fn start_other<O: Observer>(
        self,
        iocb: &Iocb,
        name: AnyName,
        compat: bool,
        batch: &mut Batch<'_>,
    ) -> Result {
        jobs::start::<O>(self.origin, iocb, name, compat, batch)
    }
}
