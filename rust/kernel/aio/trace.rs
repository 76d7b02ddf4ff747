// SPDX-License-Identifier: GPL-2.0

//! The tracepoints `aio:*`, and whether somebody observes what is submitted.
//!
//! Each costs a `nop` while it is off. What it takes to know the arguments should be done in a cold
//! function, called where one of the `*_on()` says so.
//!
//! C header: [`include/trace/events/aio.h`](srctree/include/trace/events/aio.h)
//!
//! # Examples
//!
//! ```
//! use kernel::aio::trace;
//!
//! /// Does something for `asked` iocbs, and tells who wants to know how long it took.
//! fn observed(ctx: usize, asked: usize, f: impl FnOnce() -> isize) -> isize {
//!     if !trace::submissions_on() {
//!         return f();
//!     }
//!     let begun = trace::now();
//!     let ret = f();
//!
//!     trace::submit(ctx, asked, ret, trace::now().wrapping_sub(begun) as u64);
//!     ret
//! }
//! # assert_eq!(observed(0, 2, || 1), 1);
//! ```

use crate::{
    fs::FileId,
    jump_label::static_branch_unlikely,
    sync::atomic::{
        Atomic,
        Relaxed, //
    },
    time::{
        Instant,
        Monotonic, //
    },
    tracepoint::declare_trace, //
};

/// What has refused a context or a request.
#[derive(Clone, Copy)]
#[repr(u32)]
pub enum Limit {
    /// `fs.aio-max-nr`.
    MaxNr = 0,
    /// `misc.max` of the control group.
    Group = 1,
    /// `RLIMIT_MEMLOCK`, for the ring.
    Locked = 2,
    /// `RLIMIT_MEMLOCK`, for memory of the process.
    Pinned = 3,
    /// There is no room in the ring.
    Ring = 4,
}

declare_trace! {
    /// # Safety
    ///
    /// None: these are numbers.
    unsafe fn aio_setup(ctx: usize, asked: u32, room: u32, flags: u32);

    /// # Safety
    ///
    /// None: these are numbers.
    unsafe fn aio_destroy(ctx: usize, exit: bool);

    /// # Safety
    ///
    /// None: these are numbers.
    unsafe fn aio_submit(ctx: usize, asked: usize, ret: isize, ns: u64);

    /// # Safety
    ///
    /// None: these are numbers.
    unsafe fn aio_request(
        ctx: usize, iocb: u64, opcode: u16, dev: u32, ino: u64, offset: i64, length: u64,
    );

    /// # Safety
    ///
    /// None: these are numbers.
    unsafe fn aio_complete(
        ctx: usize, iocb: u64, opcode: u16, dev: u32, ino: u64, res: isize, ns: u64,
    );

    /// # Safety
    ///
    /// None: these are numbers.
    unsafe fn aio_wait(ctx: usize, missing: usize, timeout: i64);

    /// # Safety
    ///
    /// None: these are numbers.
    unsafe fn aio_wake(ctx: usize, got: usize, ns: u64);

    /// # Safety
    ///
    /// None: these are numbers.
    unsafe fn aio_cancel(ctx: usize, iocb: u64, ret: i32);

    /// # Safety
    ///
    /// None: these are numbers.
    unsafe fn aio_refused(ctx: usize, limit: u32, asked: u64, used: u64, allowed: u64);
}

/// Returns whether somebody observes what `io_submit(2)` does: by the tracepoints of it, or because
/// `fs.aio-stats` is 1.
#[inline(always)]
pub fn submissions_on() -> bool {
    // SAFETY: It is a static key that C defines.
    unsafe {
        static_branch_unlikely!(
            crate::bindings::aio_observers,
            crate::bindings::aio_observers,
            key
        )
    }
}

macro_rules! is_on {
    ($(#[$meta:meta])* $name:ident, $tracepoint:ident) => {
        $(#[$meta])*
        #[inline(always)]
        pub fn $name() -> bool {
            // SAFETY: It is the static key of a tracepoint.
            #[cfg(CONFIG_TRACEPOINTS)]
            return unsafe {
                static_branch_unlikely!(
                    crate::bindings::$tracepoint,
                    crate::bindings::tracepoint,
                    key
                )
            };
            #[cfg(not(CONFIG_TRACEPOINTS))]
            false
        }
    };
}

is_on! {
    /// Returns whether [`completed()`] does something.
    completions_on, __tracepoint_aio_complete
}

is_on! {
    /// Returns whether [`wait()`] does something.
    waits_on, __tracepoint_aio_wait
}

is_on! {
    /// Returns whether [`wake()`] does something.
    wakes_on, __tracepoint_aio_wake
}

/// Returns whether `fs.aio-stats` is 1.
#[inline]
pub fn stats_on() -> bool {
    // SAFETY: It is a static `int` of C's, which is read and written in one piece.
    unsafe { Atomic::<i32>::from_ptr(&raw mut crate::bindings::aio_stats) }.load(Relaxed) != 0
}

/// Returns the time, in nanoseconds since the system was booted.
///
/// May be called in any context.
#[inline]
pub fn now() -> i64 {
    Instant::<Monotonic>::now().as_nanos()
}

/// A context was created.
#[inline(always)]
pub fn setup(ctx: usize, asked: u32, room: u32, flags: u32) {
    // SAFETY: There are no requirements.
    unsafe { aio_setup(ctx, asked, room, flags) };
}

/// The end of a context has begun, by that of its address space or otherwise.
#[inline(always)]
pub fn destroy(ctx: usize, exit: bool) {
    // SAFETY: There are no requirements.
    unsafe { aio_destroy(ctx, exit) };
}

/// `asked` iocbs were submitted, with this result.
#[inline(always)]
pub fn submit(ctx: usize, asked: usize, ret: isize, ns: u64) {
    // SAFETY: There are no requirements.
    unsafe { aio_submit(ctx, asked, ret, ns) };
}

/// A request is about to be started.
#[inline(always)]
pub fn request(ctx: usize, iocb: u64, opcode: u16, file: FileId, offset: i64, length: u64) {
    // SAFETY: There are no requirements.
    unsafe { aio_request(ctx, iocb, opcode, file.dev, file.ino, offset, length) };
}

/// A request is complete.
#[inline(always)]
pub fn completed(ctx: usize, iocb: u64, opcode: u16, file: FileId, res: isize, ns: u64) {
    // SAFETY: There are no requirements.
    unsafe { aio_complete(ctx, iocb, opcode, file.dev, file.ino, res, ns) };
}

/// A reader goes to sleep.
#[inline(always)]
pub fn wait(ctx: usize, missing: usize, timeout: i64) {
    // SAFETY: There are no requirements.
    unsafe { aio_wait(ctx, missing, timeout) };
}

/// It goes on.
#[inline(always)]
pub fn wake(ctx: usize, got: usize, ns: u64) {
    // SAFETY: There are no requirements.
    unsafe { aio_wake(ctx, got, ns) };
}

/// A request was asked to be cancelled.
#[inline(always)]
pub fn cancel(ctx: usize, iocb: u64, ret: i32) {
    // SAFETY: There are no requirements.
    unsafe { aio_cancel(ctx, iocb, ret) };
}

/// Something was refused; `ctx` is 0 without a context.
#[inline(always)]
pub fn refused(ctx: usize, limit: Limit, asked: u64, used: u64, allowed: u64) {
    // SAFETY: There are no requirements.
    unsafe { aio_refused(ctx, limit as u32, asked, used, allowed) };
}
