// SPDX-License-Identifier: GPL-2.0

//! `/proc/PID/aio`. Reads the others, is read by none.
//!
//! Format: `Documentation/admin-guide/aio.rst`. Columns are added at the end only.

use crate::{
    context::Context,
    extension::Extension,
    table::Table, //
};
use kernel::{
    aio::{
        abi::setup2,
        proc::ShownContexts, //
    },
    prelude::*,
    seq_file::{
        seq_print,
        SeqFile, //
    },
    sync::staged::StagedRef, //
};

kernel::proc_pid_aio!(Table);

/// What the line of a context says.
struct Line {
    id: usize,
    flags: u32,
    /// Events that it was asked for, and those for which there is room.
    asked: u32,
    room: u32,
    in_flight: usize,
    unread: u32,
    /// Free slots: the common ones, and those of the CPUs.
    free: (u32, u32),
    refused: usize,
    submits: usize,
    completions: usize,
    /// Pages of the ring, and of the process.
    locked: usize,
    pinned: usize,
    age: i64,
    /// Microseconds, if that is to be told.
    longest: Option<usize>,
}

impl Line {
    /// Looks at a context, which others use meanwhile: the numbers need not be of the same moment.
    fn new(context: &StagedRef<'_, Context>, stats: bool) -> Self {
        let counted = &context.stats;
        // In this order, so that no request is counted as ended, and not as started.
        let ended = context
            .ring
            .with_producer(|finished| finished.ended.count());
        let started = context.started();
        let not_started = counted.nr_not_started();

        Self {
            id: context.user_id(),
            flags: context.flags(),
            asked: counted.asked(),
            room: context.ring.nr_events() - 1,
            in_flight: started.wrapping_sub(ended),
            unread: context.ring.unread(),
            free: context.slots.free(),
            refused: counted.nr_refused(),
            submits: started.wrapping_sub(not_started),
            completions: ended.wrapping_sub(not_started),
            locked: context.ring.nr_pages(),
            pinned: context.extension().map_or(0, Extension::pinned_pages),
            age: counted.age(),
            longest: stats.then(|| counted.longest()),
        }
    }

    /// The names of the columns.
    const NAMES: &'static str = "id kind asked room inflight unread free cpufree eagain submits \
                                 completions locked pinned age maxus";

    /// The same names as in the tracepoints.
    fn kind(&self) -> &'static str {
        const IOCB: u32 = setup2::USERIOCB;
        const BUF: u32 = setup2::FIXEDBUFS;
        const POLL: u32 = setup2::IOPOLL;

        const THREAD: u32 = Extension::THREADED;

        match self.flags {
            POLL => "poll",
            IOCB => "iocb",
            THREAD => "thread",
            f if f == IOCB | POLL => "iocb+poll",
            f if f == IOCB | BUF => "iocb+buf",
            f if f == IOCB | THREAD => "iocb+thread",
            f if f == IOCB | BUF | POLL => "iocb+buf+poll",
            f if f == IOCB | BUF | THREAD => "iocb+buf+thread",
            _ => "plain",
        }
    }
}

impl ShownContexts for Table {
    fn show_header(seq: &SeqFile) {
        seq_print!(seq, "{}\n", Line::NAMES);
    }

    fn show(context: &StagedRef<'_, Context>, stats: bool, seq: &SeqFile) {
        let line = Line::new(context, stats);

        seq_print!(
            seq,
            "{:#x} {} {} {} {} {} {} {} {} {} {} {} {} {} ",
            line.id,
            line.kind(),
            line.asked,
            line.room,
            line.in_flight,
            line.unread,
            line.free.0,
            line.free.1,
            line.refused,
            line.submits,
            line.completions,
            line.locked,
            line.pinned,
            line.age,
        );
        match line.longest {
            Some(longest) => seq_print!(seq, "{}\n", longest),
            None => seq_print!(seq, "-\n"),
        }
    }
}

#[kunit_tests(aio_observe)]
mod tests {
    use super::*;
    use crate::kunit::{
        with_mm,
        Process,
        EVENTS, //
    };
    use kernel::{
        aio::mm,
        kunit::user::UserMemory,
        sync::{
            rcu,
            threshold::Timeout, //
        },
    };

    /// What the file would say of the only context.
    fn line() -> Result<Line> {
        with_mm(|mm| {
            let rcu = rcu::read_lock();
            let (index, context) = mm::next::<Table>(&mm, 0, &rcu).ok_or(ENOENT)?;

            assert_eq!(index, 0);
            Ok(Line::new(&context, true))
        })
    }

    fn free(line: &Line) -> u32 {
        line.free.0 + line.free.1
    }

    #[test]
    fn nothing_to_see() -> Result {
        let _memory = UserMemory::new(1)?;

        assert_eq!(line().err(), Some(ENOENT));
        let process = Process::new(1)?;

        assert!(line().is_ok());
        assert_eq!(process.destroy(), Ok(()));
        assert_eq!(line().err(), Some(ENOENT));
        Ok(())
    }

    #[test]
    fn a_request_on_its_way() -> Result {
        let process = Process::new(10)?;
        let new = line()?;

        assert_eq!((new.id, new.kind()), (process.id(), "plain"));
        assert_eq!((new.asked, new.locked), (10, process.ring_pages()?));
        assert_eq!((new.in_flight, new.unread), (0, 0));
        assert_eq!((new.submits, new.completions, new.refused), (0, 0, 0));
        assert_eq!((new.pinned, new.longest), (0, Some(0)));
        assert_eq!(free(&new), new.room);

        process.file.hold(false);
        process.submit_reads(3)?;
        let submitted = line()?;

        assert_eq!((submitted.in_flight, submitted.unread), (3, 0));
        assert_eq!((submitted.submits, submitted.completions), (3, 0));
        assert_eq!(free(&submitted), new.room - 3);

        assert!(process.file.end(0));
        assert!(process.file.end(0));
        let completed = line()?;

        assert_eq!((completed.in_flight, completed.unread), (1, 2));
        assert_eq!((completed.submits, completed.completions), (3, 2));
        assert_eq!(process.read_events(1, 1, Timeout::Never), Ok(1));
        assert_eq!(line()?.unread, 1);
        assert!(process.file.end(0));
        Ok(())
    }

    /// What was not submitted is not counted as if it had been.
    #[test]
    fn errors() -> Result {
        let process = Process::new(4)?;
        let iocb = process.read_iocb(8);

        assert_eq!(process.submit(&[iocb]), Ok(1));
        for _ in 0..5 {
            assert_eq!(process.prepare(&iocb), Ok(()));
        }
        let after = line()?;

        assert_eq!((after.submits, after.completions), (1, 1));
        assert_eq!((after.in_flight, after.refused), (0, 0));
        Ok(())
    }

    #[test]
    fn a_full_ring() -> Result {
        let process = Process::new(4)?;
        let iocb = process.read_iocb(8);
        let mut submitted = 0;

        while process.submit(&[iocb]).is_ok() {
            submitted += 1;
        }
        assert_eq!(process.submit(&[iocb]), Err(EAGAIN));
        let full = line()?;

        assert_eq!((full.refused, full.submits), (2, submitted));
        assert_eq!(full.unread as usize, submitted);
        // User space may write what it wants where the head is.
        process.with_context(|context| {
            assert_eq!(
                context.ring.pop(process.memory.at(EVENTS), submitted),
                Ok(submitted)
            );
            Ok(())
        })?;
        assert_eq!(line()?.unread, 0);
        Ok(())
    }
}
