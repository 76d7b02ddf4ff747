// SPDX-License-Identifier: GPL-2.0

//! Asynchronous I/O: `io_setup(2)`, `io_submit(2)`, `io_getevents(2)` and the rest of them.
//!
//! The floors, from the top down; calls go down, completions come up:
//!
//! * [`syscall`]: the entries, which know user pointers;
//! * [`submit`], [`events`], [`cancel`]: what the calls do;
//! * [`kind`], [`extension`]: the kinds of contexts, and what those of `io_setup2(2)` have;
//! * [`ops`]: the operations;
//! * [`carried`], [`workers`], [`polled`]: those that threads carry on, and those that are polled;
//! * [`batch`], [`request`], [`flushes`], [`context`], [`table`]: what is in flight, and in what;
//! * [`ring`], [`ring_file`], [`slots`], [`limits`]: where completions go, and what may be used;
//! * [`stats`], [`trace`], [`observe`]: what is counted and told of all that, and `/proc/PID/aio`.
//!
//! All memory safety rests on the abstractions of the `kernel` crate: there is no unsafe code here.
//! See `Documentation/filesystems/aio-rust.rst` for the design.

#![crate_name = "aio"]
#![deny(unsafe_code)]

mod batch;
mod cancel;
mod carried;
mod context;
mod events;
mod extension;
mod flushes;
mod kind;
#[cfg(CONFIG_KUNIT = "y")]
mod kunit;
mod limits;
mod observe;
mod ops;
mod polled;
mod request;
mod ring;
mod ring_file;
mod slots;
mod stats;
mod submit;
mod syscall;
mod table;
mod trace;
mod workers;

use kernel::{
    mm::shrinker,
    prelude::*, //
};

module! {
    type: Aio,
    name: "aio",
    authors: ["The AIO in Rust project"],
    description: "Asynchronous I/O",
    license: "GPL",
}

/// The subsystem, which is never unloaded.
struct Aio;

impl kernel::Module for Aio {
    /// Prepares the subsystem, while the kernel boots; without it the kernel can't go on.
    fn init(module: &'static ThisModule) -> Result<Self> {
        let ready = ring_file::init(module)
            .and_then(|()| request::CACHE.init())
            .and_then(|()| context::CACHE.init())
            .and_then(|()| workers::init_caches());

        context::ALL.init();

        if ready.is_err() {
            // As the C code does: this early there is memory, or something is very wrong.
            panic!("failed to create the aio file system mount or the slab caches");
        }
        if limits::init(module).is_err() {
            pr_err!("failed to register fs.aio-nr, fs.aio-max-nr and fs.aio-memlock\n");
        }

        if workers::init(module).is_err() {
            pr_err!("failed to register fs.aio-auto-threads\n");
        }
        if flushes::init().is_err() {
            pr_err!("flushes are left to a queue of the system\n");
        }

        if shrinker::register(c"aio", &context::Pools, module).is_err() {
            pr_err!("memory that is kept for requests won't be given back\n");
        }

        pr_info!("asynchronous I/O in Rust\n");
        Ok(Aio)
    }
}
