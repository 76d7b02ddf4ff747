// SPDX-License-Identifier: GPL-2.0

//! The kinds of contexts: where their iocbs are, and how reads and writes are started.
//!
//! This is decided once for a submission, and by types: the loop over the iocbs of contexts of
//! `io_setup(2)` is an instance of its own, which asks nothing about the others.

use crate::{
    batch::Batch,
    ops::{
        self,
        rw::{
            self,
            Shape, //
        }, //
    },
    request::{
        Prepared,
        KEY, //
    },
    trace::{
        Nobody,
        Observer, //
    },
};
use core::mem::MaybeUninit;
use kernel::{
    aio::abi::{
        Abi,
        Iocb, //
    },
    prelude::*,
    uaccess::{
        UserPtr,
        UserScalar, //
    },
    uio::Direction, //
};

/// How user space calls an iocb.
pub(crate) trait IocbName: Copy {
    /// Returns what is in `obj` of the event, and what `io_cancel(2)` finds the request by.
    fn obj(self) -> u64;

    /// Returns the name as one of any kind, so that code need not be there for each.
    fn any(self) -> AnyName;

    /// The iocb is about to be submitted.
    ///
    /// # Errors
    ///
    /// `EFAULT` if that can't be noted.
    fn submitted(self) -> Result;
}

/// By its address.
impl IocbName for UserPtr {
    #[inline(always)]
    fn obj(self) -> u64 {
        self.as_const_ptr() as u64
    }

    #[inline(always)]
    fn any(self) -> AnyName {
        AnyName {
            number: self.as_const_ptr() as usize,
            is_index: false,
        }
    }

    #[inline(always)]
    fn submitted(self) -> Result {
        KEY.put_user(self.wrapping_byte_add(Iocb::KEY_OFFSET))
    }
}

/// By its index in the array that the kernel has mapped.
#[derive(Clone, Copy)]
pub(crate) struct Index(pub(crate) usize);

impl IocbName for Index {
    #[inline(always)]
    fn obj(self) -> u64 {
        self.0 as u64
    }

    #[inline(always)]
    fn any(self) -> AnyName {
        AnyName {
            number: self.0,
            is_index: true,
        }
    }

    #[inline(always)]
    fn submitted(self) -> Result {
        Ok(())
    }
}

/// The name of an iocb in a context with or without an array of them.
#[derive(Clone, Copy)]
pub(crate) struct AnyName {
    /// An index in the array, or an address.
    pub(crate) number: usize,
    pub(crate) is_index: bool,
}

impl IocbName for AnyName {
    #[inline(always)]
    fn obj(self) -> u64 {
        self.number as u64
    }

    #[inline(always)]
    fn any(self) -> AnyName {
        self
    }

    #[inline(always)]
    fn submitted(self) -> Result {
        if self.is_index {
            return Ok(());
        }
        UserPtr::from_addr(self.number).submitted()
    }
}

/// A kind of contexts.
pub(crate) trait Kind: Copy {
    /// How user space calls an iocb.
    type Name: IocbName;

    /// The observer that is told of each request.
    type Observer: Observer;

    /// Reads the name of an iocb, from the array that was passed to `io_submit(2)`.
    ///
    /// # Errors
    ///
    /// `EFAULT` if it can't be read, `EINVAL` if there is no such iocb.
    fn name(self, array: UserPtr, nr: usize, abi: Abi) -> Result<Self::Name>;

    /// Copies an iocb.
    ///
    /// # Errors
    ///
    /// `EFAULT` if it can't be read.
    fn iocb(self, name: Self::Name, to: &mut MaybeUninit<Iocb>) -> Result<&Iocb>;

    /// Checks what contexts of this kind don't take.
    ///
    /// # Errors
    ///
    /// `EINVAL`.
    #[inline(always)]
    fn check(self, _iocb: &Iocb) -> Result {
        Ok(())
    }

    /// Starts a read or write, of which `O` is told.
    ///
    /// # Errors
    ///
    /// See [`rw::start()`].
    fn start_rw<O: Observer>(
        self,
        prepared: Prepared,
        iocb: &Iocb,
        name: Self::Name,
        how: (Direction, Shape),
        batch: &mut Batch<'_>,
    ) -> Result;

    /// Starts an operation that is no read or write, of which `O` is told.
    ///
    /// # Errors
    ///
    /// Those of [`Batch::prepare()`]; `EINVAL` if there is no such operation, or what keeps it from
    /// being started.
    #[inline(always)]
    fn start_other<O: Observer>(
        self,
        iocb: &Iocb,
        name: Self::Name,
        _compat: bool,
        batch: &mut Batch<'_>,
    ) -> Result {
        ops::start_other::<O>(iocb, name.any(), batch)
    }
}

/// A context of `io_setup(2)`: iocbs are anywhere in the memory of the process.
#[derive(Clone, Copy)]
pub(crate) struct Plain;

/// Reads a pointer or a number of the size of one, from an array.
#[inline(always)]
pub(crate) fn word(array: UserPtr, nr: usize, abi: Abi) -> Result<usize> {
    let size = match abi {
        Abi::Native => size_of::<usize>(),
        Abi::Compat => size_of::<u32>(),
    };
    // OVERFLOW: `nr` is less than the number of events of a ring, which is in memory.
    let word = array.wrapping_byte_add(nr.wrapping_mul(size));

    match abi {
        Abi::Native => usize::get_user(word),
        Abi::Compat => Ok(u32::get_user(word)? as usize),
    }
}

impl Kind for Plain {
    type Name = UserPtr;
    type Observer = Nobody;

    #[inline(always)]
    fn name(self, array: UserPtr, nr: usize, abi: Abi) -> Result<UserPtr> {
        Ok(UserPtr::from_addr(word(array, nr, abi)?))
    }

    #[inline(always)]
    fn iocb(self, name: UserPtr, to: &mut MaybeUninit<Iocb>) -> Result<&Iocb> {
        Iocb::from_user(name, to)
    }

    #[inline(always)]
    fn start_rw<O: Observer>(
        self,
        prepared: Prepared,
        iocb: &Iocb,
        _name: UserPtr,
        (dir, shape): (Direction, Shape),
        batch: &mut Batch<'_>,
    ) -> Result {
        rw::start::<O>(prepared, iocb, dir, shape, None, batch)
    }
}
