// SPDX-License-Identifier: GPL-2.0

//! As much of the kernel crate as the sources need that run.sh copies beside this file: they are
//! compiled as they are, and their KUnit cases run as tests, under Miri.
//!
//! What is C in the kernel is replaced by Rust that does the same with memory: lists link raw
//! pointers, caches allocate each object by itself, a per-CPU variable has one instance for each
//! thread. So what Miri finds is a mistake in the sources, or in what C may do with their pointers.

#![allow(
    clippy::all,
    dead_code,
    missing_docs,
    non_camel_case_types,
    non_snake_case,
    non_upper_case_globals,
    unused_imports,
    unused_macros,
    unused_unsafe
)]

extern crate self as kernel;

pub mod alloc;
pub mod bindings;
pub mod error;
pub mod ffi;
pub mod prelude;
pub mod sync;
pub mod time;
pub mod types;

// The sources.
pub mod aio {
    pub mod cancel;
}
pub mod nospec;
pub mod percpu;
pub mod slab;
pub mod slots;

/// What `cancel.rs` wants to know of reads and writes.
pub mod fs {
    use crate::{bindings, types::Opaque};

    #[pin_init::pin_data]
    pub struct AsyncKiocb {
        #[pin]
        pub kiocb: Opaque<bindings::kiocb>,
    }

    pub unsafe trait HasAsyncKiocb: Sized {
        const OFFSET: usize;
        const FLAGS: i32;
        const MAY_POLL: bool = true;

        fn ended(&self) {}
    }
}

/// What `slab/jobs.rs` wants to know of threads: here nobody runs jobs.
pub mod task {
    pub struct IoThread(());
}

mod tests;

#[macro_export]
macro_rules! container_of {
    ($field_ptr:expr, $Container:ty, $($fields:tt)*) => {{
        let offset: usize = ::core::mem::offset_of!($Container, $($fields)*);
        let field_ptr = $field_ptr;
        let container_ptr = field_ptr.byte_sub(offset).cast::<$Container>();

        if false {
            let real = ::core::ptr::addr_of!((*container_ptr).$($fields)*);
            [field_ptr, real.cast_mut().cast()];
        }
        container_ptr
    }};
}

#[macro_export]
macro_rules! static_lock_class {
    () => {
        $crate::sync::LockClassKey
    };
}

#[macro_export]
macro_rules! optional_name {
    ($($name:literal)?) => {
        c""
    };
}

#[macro_export]
macro_rules! warn_on {
    ($cond:expr) => {{
        let cond = $cond;
        assert!(!cond, "WARN_ON");
        cond
    }};
}

#[macro_export]
macro_rules! try_pin_init {
    ($($args:tt)*) => {
        ::pin_init::pin_init!(
            #[default_error($crate::error::Error)]
            $($args)*
        )
    }
}
