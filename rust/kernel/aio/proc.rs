// SPDX-License-Identifier: GPL-2.0

//! `/proc/PID/aio`: a line for each context of an address space.
//!
//! The file itself is C's, in `fs/aio/observe.c`. It has a reference to the `mm_struct`, but none
//! that keeps the address space: the reader never ends it.
//!
//! # Examples
//!
//! ```
//! use kernel::{
//!     aio::{
//!         mm,
//!         proc::ShownContexts, //
//!     },
//!     mm::Mm,
//!     seq_file::SeqFile,
//!     sync::rcu,
//! };
//!
//! /// What is read from the file while no context comes or goes.
//! fn show_all<T: ShownContexts>(mm: &Mm, seq: &SeqFile) {
//!     let rcu = rcu::read_lock();
//!     let mut from = 0;
//!
//!     T::show_header(seq);
//!     while let Some((index, context)) = mm::next::<T>(mm, from, &rcu) {
//!         T::show(&context, false, seq);
//!         from = index + 1;
//!     }
//! }
//! ```

use super::mm::{
    self,
    TheContexts, //
};
use crate::{
    bindings,
    mm::Mm,
    seq_file::SeqFile,
    sync::{
        rcu,
        staged::StagedRef, //
    }, //
};

/// Contexts that tell of themselves.
pub trait ShownContexts: TheContexts {
    /// Writes the first line.
    fn show_header(seq: &SeqFile);

    /// Writes the line of a context, which may be about to end.
    ///
    /// Called under RCU: must not sleep. `stats` tells whether `fs.aio-stats` is 1.
    fn show(context: &StagedRef<'_, Self::Context>, stats: bool, seq: &SeqFile);
}

/// Defines what C calls to read `/proc/PID/aio`, for an implementation of [`ShownContexts`].
#[macro_export]
macro_rules! proc_pid_aio {
    ($ty:ty) => {
        const _: () = {
            // Both branches of an `if` have the same type.
            if true {
                $crate::bindings::aio_proc_next
            } else {
                aio_proc_next
            };
            if true {
                $crate::bindings::aio_proc_show
            } else {
                aio_proc_show
            };
        };

        /// Returns the index of the first context that is not below `from`, or -1.
        ///
        /// # Safety
        ///
        /// To be called by C, with a reference to `mm`.
        #[no_mangle]
        pub unsafe extern "C" fn aio_proc_next(
            mm: *mut $crate::bindings::mm_struct,
            from: usize,
        ) -> isize {
            // SAFETY: C calls this with a reference to the address space.
            unsafe { $crate::aio::proc::next::<$ty>(mm, from) }
        }

        /// Writes the line of the context with this index, if it is there still; or the first line,
        /// if `index` is negative.
        ///
        /// # Safety
        ///
        /// To be called by C, with a reference to `mm`, and by the task that reads `seq`.
        #[no_mangle]
        pub unsafe extern "C" fn aio_proc_show(
            seq: *mut $crate::bindings::seq_file,
            mm: *mut $crate::bindings::mm_struct,
            index: isize,
            stats: bool,
        ) {
            // SAFETY: C calls this with a reference to the address space, and with a file that
            // nobody else uses meanwhile.
            unsafe { $crate::aio::proc::show::<$ty>(seq, mm, index, stats) };
        }
    };
}

/// # Safety
///
/// `mm` must be valid.
#[doc(hidden)]
pub unsafe fn next<T: ShownContexts>(mm: *mut bindings::mm_struct, from: usize) -> isize {
    // SAFETY: The caller guarantees that `mm` is valid for the time of the call.
    let mm = unsafe { Mm::from_raw(mm) };
    let rcu = rcu::read_lock();

    match mm::next::<T>(mm, from, &rcu) {
        // A table is in memory.
        Some((index, _)) => index as isize,
        None => -1,
    }
}

/// # Safety
///
/// `mm` must be valid, and so must `seq` be, which nobody else may use.
#[doc(hidden)]
pub unsafe fn show<T: ShownContexts>(
    seq: *mut bindings::seq_file,
    mm: *mut bindings::mm_struct,
    index: isize,
    stats: bool,
) {
    // SAFETY: The caller guarantees that `seq` is valid and used by nobody else.
    let seq = unsafe { SeqFile::from_raw(seq) };
    // SAFETY: The caller guarantees that `mm` is valid for the time of the call.
    let mm = unsafe { Mm::from_raw(mm) };
    let Ok(index) = usize::try_from(index) else {
        return T::show_header(seq);
    };
    let rcu = rcu::read_lock();

    match mm::next::<T>(mm, index, &rcu) {
        Some((found, context)) if found == index => T::show(&context, stats, seq),
        // It has ended since it was found.
        _ => {}
    }
}
