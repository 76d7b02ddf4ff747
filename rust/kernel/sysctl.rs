// SPDX-License-Identifier: GPL-2.0

//! Kernel parameters under `/proc/sys`.
//!
//! C header: [`include/linux/sysctl.h`](srctree/include/linux/sysctl.h)

use crate::{
    bindings,
    prelude::*,
    sync::atomic::Atomic, //
};
use core::{
    ffi::{
        c_int,
        c_void, //
    },
    mem::size_of,
    ops::RangeInclusive,
    ptr, //
};

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

    /// Returns the same as [`ulong()`](Self::ulong), but `W` is told of writes.
    pub const fn ulong_watched<W: Watch>(
        name: &'static CStr,
        value: &'static Atomic<usize>,
        mode: u16,
    ) -> Self {
        let mut entry = Self::ulong(name, value, mode);

        // INVARIANT: This is the same handler as before, with a call after it.
        entry.0.proc_handler = Some(watched_ulong::<W>);
        entry
    }

    /// Returns an entry for an `int` in a range.
    ///
    /// Numbers outside of it can't be written: that fails with `EINVAL`.
    #[doc(alias = "proc_dointvec_minmax")]
    pub const fn int(
        name: &'static CStr,
        value: &'static Atomic<i32>,
        mode: u16,
        range: &'static RangeInclusive<i32>,
    ) -> Self {
        let mut table: bindings::ctl_table = pin_init::zeroed();

        table.procname = name.to_bytes_with_nul().as_ptr().cast();
        table.data = value.as_ptr().cast();
        table.maxlen = size_of::<i32>() as i32;
        table.mode = mode;
        table.extra1 = ptr::from_ref(range.start()).cast_mut().cast();
        table.extra2 = ptr::from_ref(range.end()).cast_mut().cast();
        table.proc_handler = Some(bindings::proc_dointvec_minmax);
        // INVARIANT: All are static. The handler reads and writes an `int` in one piece, as
        // `Atomic<i32>` allows, and only reads the range.
        Self(table)
    }
}

/// Somebody who wants to know when a kernel parameter is written.
pub trait Watch: 'static {
    /// The current task has written a value.
    ///
    /// May sleep.
    fn written();
}

/// # Safety
///
/// To be called by the sysctl code, as the handler of an entry of [`Entry::ulong_watched()`].
unsafe extern "C" fn watched_ulong<W: Watch>(
    table: *const bindings::ctl_table,
    write: c_int,
    buffer: *mut c_void,
    lenp: *mut usize,
    ppos: *mut bindings::loff_t,
) -> c_int {
    // SAFETY: These are the arguments that the sysctl code has called this handler with, which has
    // the type of this function. The entry was made by `Entry::ulong_watched()`, so its data are
    // an unsigned long.
    let ret = unsafe { bindings::proc_doulongvec_minmax(table, write, buffer, lenp, ppos) };
    // SAFETY: The sysctl code passes a pointer to a length that is its own, and valid for the call.
    let len = unsafe { *lenp };

    // Nothing is written beyond the start of the file.
    if write != 0 && ret == 0 && len != 0 {
        W::written();
    }
    ret
}

/// A table of kernel parameters.
///
/// # Examples
///
/// ```
/// use kernel::{
///     sync::atomic::{Atomic, Relaxed},
///     sysctl::{Entry, Table, Watch},
/// };
///
/// struct Log;
///
/// impl Watch for Log {
///     fn written() {
///         pr_info!("the limit was changed\n");
///     }
/// }
///
/// static USED: Atomic<usize> = Atomic::new(0);
/// static LIMIT: Atomic<usize> = Atomic::new(10);
/// static STRICT: Atomic<i32> = Atomic::new(1);
/// static TABLE: Table<3> = Table::new([
///     Entry::ulong(c"rust_doctest_used", &USED, 0o444),
///     Entry::ulong_watched::<Log>(c"rust_doctest_limit", &LIMIT, 0o644),
///     Entry::int(c"rust_doctest_strict", &STRICT, 0o644, &(0..=1)),
/// ]);
///
/// TABLE.register(c"kernel", kernel::module::this_module::<LocalModule>())?;
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
    /// `EINVAL` if `module` can be unloaded, whose table this is; `ENOMEM` if there is no memory,
    /// or an entry has the name of another one; the kernel log tells.
    #[doc(alias = "register_sysctl")]
    pub fn register(&'static self, path: &'static CStr, module: &'static ThisModule) -> Result {
        if !module.as_ptr().is_null() {
            return Err(EINVAL);
        }
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
