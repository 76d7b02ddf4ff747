// SPDX-License-Identifier: GPL-2.0

//! Reads and writes.

use crate::{
    batch::Batch,
    context::Context,
    request::{
        HasFile,
        Prepared,
        Request, //
    },
    trace::{
        Observed,
        Observer, //
    }, //
};
use kernel::{
    aio::{
        abi::{
            opcode,
            Iocb,
            IOCB_FLAG_IOPRIO,
            IOCB_FLAG_RESFD, //
        },
        cancel::{
            CancelList,
            CancelNode,
            CancellableRw, //
        },
    },
    fs::{
        AsyncKiocb,
        AsyncRw,
        FileId,
        HasFixedBuffers,
        Issued,
        LocalFile,
        Settings,
        SettingsMut,
        Trying, //
    },
    prelude::*,
    slab::{
        impl_dismantle,
        SlabArc,
        UniqueSlabArc, //
    },
    sync::aref::ARef,
    uaccess::UserPtr,
    uio::{
        Buffers,
        Direction,
        FixedBuffers,
        OwnedBuffers, //
    },
};

/// A read or write.
#[pin_data]
pub(crate) struct Rw {
    #[pin]
    pub(super) kiocb: AsyncKiocb,
    /// Some drivers can cancel it.
    #[pin]
    cancel: CancelNode,
}

impl_dismantle! {
    impl Dismantle for Rw {
        taken { kiocb: AsyncKiocb, cancel: CancelNode }
        moved {}
        dropped {}
    }
}

impl HasFile for Rw {
    #[inline]
    fn file((file, ()): Self::Parts) -> ARef<LocalFile> {
        file
    }
}

impl Observed for Rw {
    fn opcode(&self) -> u16 {
        match self.kiocb.direction() {
            Direction::Read => opcode::PREAD,
            Direction::Write => opcode::PWRITE,
        }
    }

    fn file_id(&self) -> FileId {
        self.kiocb.file_id()
    }
}

kernel::kiocb_set_cancel_fn! {
    impl TheAioRw for Request<Rw> { self.op.kiocb, self.op.cancel }
}

impl CancellableRw for Request<Rw> {
    fn cancel_list(&self) -> &CancelList {
        &self.context().cancel
    }
}

impl AsyncRw for Request<Rw> {
    #[inline]
    fn complete(this: SlabArc<Self>, res: isize) {
        Request::complete(this, res);
    }
}

impl<O> HasFixedBuffers for Request<O> {
    #[inline]
    fn fixed_buffers(&self) -> Option<&FixedBuffers> {
        self.context().extension()?.buffers()
    }
}

/// How the buffers are described in an iocb.
#[derive(Clone, Copy)]
pub(crate) enum Shape {
    /// `aio_buf` and `aio_nbytes` are one buffer.
    One,
    /// They are the address and the length of an array of buffers.
    Vector {
        /// Of a 32-bit program on a 64-bit kernel.
        compat: bool,
    },
}

/// Starts a read or write, on the pinned buffer with the number `fixed` if there is one.
///
/// # Errors
///
/// In this order: `EPERM` and `EINVAL` for the priority, those of the `RWF_*` flags, `EBADF` and
/// `EINVAL` for the file, those of the buffers, and those of the range in the file.
#[inline(always)]
pub(crate) fn start<O: Observer>(
    prepared: Prepared,
    iocb: &Iocb,
    dir: Direction,
    shape: Shape,
    fixed: Option<u32>,
    batch: &mut Batch<'_>,
) -> Result {
    let request = prepare(prepared, iocb, dir, O::now(), batch)?;

    match Transfer::new(iocb, dir, shape, fixed).issue(request)? {
        Issued::Complete(request, res) => {
            if O::THERE {
                O::completed(&request, res);
            }
            batch.complete(request, res)
        }
        Issued::Queued(submission) => batch.queued(submission.into_inner()),
    }
    Ok(())
}

/// Makes a request of it, which has not called the file; [`Request::started()`] will say that it
/// was started then.
///
/// # Errors
///
/// Of those of [`start()`], the ones for the priority and the flags.
#[inline(always)]
pub(super) fn prepare(
    prepared: Prepared,
    iocb: &Iocb,
    dir: Direction,
    started: isize,
    batch: &mut Batch<'_>,
) -> Result<UniqueSlabArc<Request<Rw>>> {
    let eventfd = has_eventfd(iocb);
    let (obj, pos) = (prepared.obj(), iocb.offset());
    let mut request = prepared.into_request(started, |file| {
        let settings = Settings::new(&file, eventfd);

        Ok(pin_init!(Rw {
            kiocb <- AsyncKiocb::new(file, settings, pos),
            cancel <- CancelNode::new(obj),
        }))
    })?;
    let kiocb = Request::op_mut(&mut request).project().kiocb;

    set_up(kiocb.settings_mut(), iocb, dir, batch)?;
    Ok(request)
}

/// Returns the settings of an operation on `file`, for which there is no request yet.
///
/// # Errors
///
/// Those of [`prepare()`].
pub(super) fn settings(
    file: &LocalFile,
    iocb: &Iocb,
    dir: Direction,
    batch: &mut Batch<'_>,
) -> Result<Settings> {
    let mut settings = Settings::new(file, has_eventfd(iocb));

    set_up(settings.as_mut(file), iocb, dir, batch)?;
    Ok(settings)
}

#[inline(always)]
fn has_eventfd(iocb: &Iocb) -> bool {
    iocb.flags() & IOCB_FLAG_RESFD != 0
}

/// Sets what an iocb says of the priority and the flags.
///
/// What they are set in, should be where they stay: to keep all that is gathered for a request
/// until they are known costs more than it saves.
#[inline(always)]
pub(super) fn set_up(
    mut settings: SettingsMut<'_>,
    iocb: &Iocb,
    dir: Direction,
    batch: &mut Batch<'_>,
) -> Result {
    match iocb.flags() & IOCB_FLAG_IOPRIO {
        0 => settings.inherit_ioprio(batch.ioprio()),
        _ => settings.set_ioprio(iocb.reqprio())?,
    }
    settings.set_rw_flags(iocb.rw_flags(), dir)
}

/// What is read or written, and where.
#[derive(Clone, Copy)]
pub(crate) struct Transfer {
    /// The position in the file.
    pub(super) pos: i64,
    /// `aio_buf` and `aio_nbytes`, which were checked to fit.
    addr: usize,
    pub(super) len: usize,
    dir: Direction,
    shape: Shape,
    /// The number of the pinned buffer that it is a part of.
    pub(super) fixed: Option<u32>,
}

impl Transfer {
    #[inline(always)]
    pub(crate) fn new(iocb: &Iocb, dir: Direction, shape: Shape, fixed: Option<u32>) -> Self {
        Self {
            pos: iocb.offset(),
            addr: iocb.buf() as usize,
            len: iocb.nbytes() as usize,
            dir,
            shape,
            fixed,
        }
    }

    pub(super) fn dir(&self) -> Direction {
        self.dir
    }

    /// Calls the file.
    #[inline(always)]
    pub(super) fn issue<O>(self, request: UniqueSlabArc<Request<O>>) -> Result<Issued<Request<O>>>
    where
        Request<O>: AsyncRw + HasFixedBuffers,
    {
        match self.fixed {
            None => AsyncKiocb::issue(request, self.dir, self.buffers()),
            Some(index) => {
                let addr = UserPtr::from_addr(self.addr);

                AsyncKiocb::issue_fixed(request, self.dir, index as usize, addr, self.len)
            }
        }
    }

    /// Calls the file, which is asked not to wait, with a part of a pinned buffer.
    pub(super) fn try_issue_fixed<O>(
        self,
        request: UniqueSlabArc<Request<O>>,
        trying: Trying,
        index: u32,
    ) -> Result<Issued<Request<O>>>
    where
        Request<O>: AsyncRw + HasFixedBuffers,
    {
        let (index, addr) = (index as usize, UserPtr::from_addr(self.addr));

        AsyncKiocb::try_issue_fixed(request, self.dir, trying, index, addr, self.len)
    }

    /// Returns the buffers, to be kept until the operation has ended.
    ///
    /// # Errors
    ///
    /// Those of [`OwnedBuffers::import()`] and [`OwnedBuffers::part_of()`].
    pub(super) fn owned(&self, context: &Context) -> Result<OwnedBuffers> {
        match self.fixed {
            None => OwnedBuffers::import(self.dir, self.buffers()),
            Some(index) => {
                let buffers = context.extension().and_then(|e| e.buffers());
                let addr = UserPtr::from_addr(self.addr);

                OwnedBuffers::part_of(buffers, index as usize, addr, self.len)
            }
        }
    }

    /// Returns how the process has described the buffers, unless they are pinned.
    #[inline(always)]
    pub(super) fn buffers(&self) -> Buffers {
        let (addr, len) = (UserPtr::from_addr(self.addr), self.len);

        match self.shape {
            Shape::One => Buffers::One { addr, len },
            Shape::Vector { compat } => Buffers::Vector {
                addr,
                count: len,
                compat,
            },
        }
    }
}

#[kunit_tests(aio_ops_rw)]
mod tests {
    use super::*;
    use crate::kunit::Process;
    use kernel::aio::abi::opcode;

    #[test]
    fn data_go_where_they_should() -> Result {
        let process = Process::new(4)?;
        let addr = process.buffer();
        let memory = &process.memory;

        memory.write(crate::kunit::BUFFER, &[u64::MAX; 8])?;
        // The file is full of zeroes.
        let read = process.iocb(opcode::PREAD, addr, 8);

        assert_eq!(process.run(&read), Ok(8));
        assert_eq!(
            memory.read::<[u64; 2]>(crate::kunit::BUFFER)?,
            [0, u64::MAX]
        );
        assert_eq!(process.run(&process.iocb(opcode::PWRITE, addr, 9)), Ok(9));

        // The third word and the fifth; then the first two of the array only.
        let array = crate::kunit::BUFFER + 1024;

        memory.write(array, &[addr + 16, 8, addr + 32, 8, addr, 0, addr, 64])?;
        let array = memory.at(array).as_const_ptr() as u64;

        assert_eq!(process.run(&process.iocb(opcode::PREADV, array, 2)), Ok(16));
        assert_eq!(
            memory.read::<[u64; 6]>(crate::kunit::BUFFER)?,
            [0, u64::MAX, 0, u64::MAX, 0, u64::MAX]
        );
        assert_eq!(
            process.run(&process.iocb(opcode::PWRITEV, array, 4)),
            Ok(80)
        );
        assert_eq!(process.run(&process.iocb(opcode::PWRITEV, array, 0)), Ok(0));
        Ok(())
    }

    #[test]
    fn refused_in_this_order() -> Result {
        let process = Process::new(4)?;
        let fd = process.file.open().fd();
        let buffer = process.iocb(opcode::PREAD, u64::MAX - 4095, 8);
        let flags = buffer.with_rw_flags(1 << 30);
        let priority = flags.with_flags(IOCB_FLAG_IOPRIO, 0, 5 << 13);
        let position = Iocb::new(opcode::PREAD, fd, process.buffer(), 8, -1);

        process.often(|| {
            if cfg!(CONFIG_BLOCK) {
                assert_eq!(process.start(&priority), Err(EINVAL));
            }
            assert_eq!(process.start(&flags), Err(EOPNOTSUPP));
            assert_eq!(process.start(&buffer), Err(EFAULT));
            assert_eq!(process.start(&position), Err(EINVAL));
            Ok(())
        })?;
        assert_eq!(process.run(&process.read_iocb(8)), Ok(8));
        Ok(())
    }

    /// Once it was started, an error is a result.
    #[test]
    fn results() -> Result {
        let process = Process::new(4)?;
        let read = process.read_iocb(8);

        for result in [0, 1, -5, -512, i64::from(i32::MAX)] {
            let expected = if result == -512 { -4 } else { result };

            process.file.set_rw(result as isize);
            assert_eq!(process.run(&read), Ok(expected));
            process.file.hold(false);
            assert_eq!(process.start(&read), Ok(()));
            assert!(process.file.end(result as isize));
            assert_eq!(process.result(), Ok(result));
        }
        Ok(())
    }
}
