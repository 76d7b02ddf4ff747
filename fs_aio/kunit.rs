// SPDX-License-Identifier: GPL-2.0

//! What the tests of this crate have in common: a process that has memory, a file, and a context.

use crate::{
    batch::Batch,
    context::Context,
    events,
    extension::Wanted,
    kind::Plain,
    ops,
    submit,
    syscall::io_destroy,
    table, //
};
use kernel::{
    aio::{
        abi::{
            Abi,
            IoEvent,
            Iocb, //
        },
        mm::CurrentMm, //
    },
    error::to_result,
    kunit::user::{
        ScriptedFile,
        UserMemory, //
    },
    page::PAGE_SIZE,
    prelude::*,
    sync::{
        staged::StagedUser,
        threshold::Timeout, //
    },
    uaccess::{
        UserPtr,
        UserScalar, //
    },
};

/// Where the array of pointers to iocbs is in the memory.
const POINTERS: usize = 0;
/// Where the iocbs are.
pub(crate) const IOCBS: usize = 1024;
/// The size of an iocb.
const IOCB_SIZE: usize = size_of::<Iocb>();
/// Where events are read to, and where buffers may be.
pub(crate) const EVENTS: usize = 16384;
pub(crate) const BUFFER: usize = 32768;
const PAGES: usize = 12;

/// A process with a context, which ends when this is dropped.
pub(crate) struct Process {
    pub(crate) memory: UserMemory,
    pub(crate) file: ScriptedFile,
    id: usize,
}

impl Process {
    /// `nr_events` is what the context is asked to have room for.
    pub(crate) fn new(nr_events: u32) -> Result<Self> {
        Self::with(nr_events, Wanted::plain(), ScriptedFile::new()?)
    }

    /// The same, with a threaded context.
    #[cfg(CONFIG_AIO_THREAD)]
    pub(crate) fn threaded(nr_events: u32) -> Result<Self> {
        Self::with(nr_events, Wanted::threaded(), ScriptedFile::new()?)
    }

    /// The same, with a context and a file whose completions are polled for.
    #[cfg(CONFIG_AIO_SETUP2)]
    pub(crate) fn polled(nr_events: u32) -> Result<Self> {
        let file = ScriptedFile::pollable(true, true, true)?;

        Self::with(nr_events, Wanted::polled(), file)
    }

    fn with(nr_events: u32, wanted: Wanted, file: ScriptedFile) -> Result<Self> {
        let memory = UserMemory::new(PAGES)?;
        let id = with_mm(|mm| Ok(Context::create(mm, nr_events, wanted)?.user_id()))?;

        Ok(Self { memory, file, id })
    }

    /// How the process calls the context.
    pub(crate) fn id(&self) -> usize {
        self.id
    }

    /// Calls `f` with the context.
    pub(crate) fn with_context<R>(
        &self,
        f: impl FnOnce(&StagedUser<Context>) -> Result<R>,
    ) -> Result<R> {
        with_mm(|mm| f(&*table::lookup(mm, self.id)?))
    }

    /// Ends the context, and waits for what is in flight.
    pub(crate) fn destroy(&self) -> Result {
        destroy(self.id)
    }

    /// Calls `f` so often that there would be no slots left if it lost one each time.
    pub(crate) fn often(&self, f: impl Fn() -> Result) -> Result {
        let nr = self.with_context(|context| Ok(context.ring.nr_events()))?;

        (0..2 * nr).try_for_each(|_| f())
    }

    /// Writes the iocb with this number, and returns its address.
    pub(crate) fn write(&self, nr: usize, iocb: &Iocb) -> Result<UserPtr> {
        let offset = IOCBS + nr * IOCB_SIZE;

        self.memory.write(offset, iocb)?;
        Ok(self.memory.at(offset))
    }

    /// Writes iocbs and the array of their addresses, which is returned.
    pub(crate) fn write_all(&self, iocbs: &[Iocb]) -> Result<UserPtr> {
        for (nr, iocb) in iocbs.iter().enumerate() {
            let addr = self.write(nr, iocb)?.as_const_ptr() as usize;

            self.memory
                .write(POINTERS + nr * size_of::<usize>(), &addr)?;
        }
        Ok(self.memory.at(POINTERS))
    }

    /// A read of the file into the buffer.
    pub(crate) fn read_iocb(&self, len: u64) -> Iocb {
        self.iocb(kernel::aio::abi::opcode::PREAD, self.buffer(), len)
    }

    /// An operation on the file.
    pub(crate) fn iocb(&self, opcode: u16, buf: u64, nbytes: u64) -> Iocb {
        Iocb::new(opcode, self.file.open().fd(), buf, nbytes, 0)
    }

    /// The address of the buffer.
    pub(crate) fn buffer(&self) -> u64 {
        self.memory.at(BUFFER).as_const_ptr() as u64
    }

    /// How many pages the ring has, as the process sees it.
    pub(crate) fn ring_pages(&self) -> Result<usize> {
        let nr = u32::get_user(UserPtr::from_addr(self.id() + 4))?;

        Ok(((nr as usize + 1) * 32).div_ceil(PAGE_SIZE))
    }

    /// Prepares a request for an iocb, and drops it.
    pub(crate) fn prepare(&self, iocb: &Iocb) -> Result {
        let user_iocb = self.write(0, iocb)?;

        self.with_context(|context| {
            let prepared = Batch::new(context, 1, None).prepare(iocb, user_iocb)?;

            assert_eq!(prepared.obj(), user_iocb.as_const_ptr() as u64);
            Ok(())
        })
    }

    /// Starts an operation.
    pub(crate) fn start(&self, iocb: &Iocb) -> Result {
        let user_iocb = self.write(0, iocb)?;

        self.with_context(|context| {
            ops::start(
                Plain,
                iocb,
                user_iocb,
                false,
                &mut Batch::new(context, 1, None),
            )
        })
    }

    /// Waits for the event of the only operation that was started, and returns the result.
    pub(crate) fn result(&self) -> Result<i64> {
        self.with_context(|context| {
            let events = self.memory.at(EVENTS);

            assert_eq!(events::read(context, 1, 2, events, Timeout::Never), Ok(1));
            Ok(self.event(0)?[2] as i64)
        })
    }

    /// Starts an operation, and returns its result.
    pub(crate) fn run(&self, iocb: &Iocb) -> Result<i64> {
        self.start(iocb)?;
        self.result()
    }

    /// Submits iocbs, and returns how many were.
    pub(crate) fn submit(&self, iocbs: &[Iocb]) -> Result<usize> {
        let pointers = self.write_all(iocbs)?;

        self.with_context(|context| submit::submit(context, iocbs.len(), pointers, Abi::Native))
    }

    /// Submits as many reads, which complete at once unless the file holds them.
    pub(crate) fn submit_reads(&self, nr: usize) -> Result {
        for data in 0..nr as u64 {
            let iocbs = self.write_all(&[self.read_iocb(8).with_data(data)])?;

            self.with_context(|context| {
                assert_eq!(submit::submit(context, 1, iocbs, Abi::Native), Ok(1));
                Ok(())
            })?;
        }
        Ok(())
    }

    /// Reads events to [`EVENTS`], and returns how many.
    pub(crate) fn read_events(&self, min_nr: usize, nr: usize, timeout: Timeout) -> Result<usize> {
        self.with_context(|context| {
            events::read(context, min_nr, nr, self.memory.at(EVENTS), timeout)
        })
    }

    /// Returns the words of an event that was read to [`EVENTS`].
    pub(crate) fn event(&self, nr: usize) -> Result<[u64; 4]> {
        self.memory.read(EVENTS + nr * IoEvent::SIZE)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // What is held would be waited for.
        while self.file.end(0) {}
        // The test may have done it.
        let _ = self.destroy();
    }
}

/// Calls `f` with the address space of the test.
pub(crate) fn with_mm<R>(f: impl FnOnce(CurrentMm<'_>) -> Result<R>) -> Result<R> {
    f(CurrentMm::of(current!()).ok_or(EINVAL)?)
}

/// `io_destroy()`.
pub(crate) fn destroy(id: usize) -> Result {
    to_result(io_destroy(id) as i32)
}
