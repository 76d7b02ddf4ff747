// SPDX-License-Identifier: GPL-2.0

//! Kernel parameters under `/proc/sys`.
//!
//! C header: [`include/linux/sysctl.h`](srctree/include/linux/sysctl.h)

use crate::{
    bindings,
    prelude::*,
    sync::atomic::Atomic, //
};
use core::mem::size_of;

/// An entry of a [`Table`].
///
/// # Invariants
///
/// What `data` and the strings point to lives forever, and may be accessed by the handler at any
/// time.
#[repr(transparent)]
pub struct Entry(bindings::ctl_table);

impl Entry {
    /// Returns an entry for an `unsigned long`.
    ///
    /// Reads and writes take any value of the type; `mode` holds the permission bits, like `0o644`.
    #[doc(alias = "proc_doulongvec_minmax")]
    pub const fn ulong(name: &'static CStr, value: &'static Atomic<usize>, mode: u16) -> Self {
        // `pin_init::zeroed()` is `const`.
        let mut table: bindings::ctl_table = pin_init::zeroed();

        table.procname = name.to_bytes_with_nul().as_ptr().cast();
        table.data = value.as_ptr().cast();
        table.maxlen = size_of::<usize>() as i32;
        table.mode = mode;
        table.proc_handler = Some(bindings::proc_doulongvec_minmax);
        // INVARIANT: Both are static. The handler reads and writes an `unsigned long` in one piece,
        // as `Atomic<usize>` allows.
        Self(table)
    }
}

/// A table of kernel parameters.
///
/// # Examples
///
/// ```
/// use kernel::{
///     sync::atomic::{Atomic, Relaxed},
///     sysctl::{Entry, Table},
/// };
///
/// static LIMIT: Atomic<usize> = Atomic::new(10);
/// static TABLE: Table<1> = Table::new([Entry::ulong(c"rust_doctest_limit", &LIMIT, 0o444)]);
///
/// TABLE.register(c"kernel")?;
/// assert_eq!(LIMIT.load(Relaxed), 10);
/// # Ok::<(), Error>(())
/// ```
pub struct Table<const N: usize>([Entry; N]);

// SAFETY: The entries are never changed, and what they refer to may be accessed from anywhere.
unsafe impl<const N: usize> Sync for Table<N> {}

impl<const N: usize> Table<N> {
    /// Makes a table of these entries.
    pub const fn new(entries: [Entry; N]) -> Self {
        Self(entries)
    }

    /// Registers the table for good below this directory, like `fs` for `/proc/sys/fs`.
    ///
    /// May sleep. Does nothing without `CONFIG_SYSCTL`.
    ///
    /// # Errors
    ///
    /// `ENOMEM` if there is no memory, or an entry has the name of another one; the kernel log
    /// tells.
    #[doc(alias = "register_sysctl")]
    pub fn register(&'static self, path: &'static CStr) -> Result {
        #[cfg(CONFIG_SYSCTL)]
        // SAFETY: The path and the table are static; `Entry` is transparent.
        if unsafe { bindings::register_sysctl_sz(path.as_char_ptr(), self.0.as_ptr().cast(), N) }
            .is_null()
        {
            return Err(ENOMEM);
        }
        #[cfg(not(CONFIG_SYSCTL))]
        let _ = (&self.0, path);

        Ok(())
    }
}
