// SPDX-License-Identifier: GPL-2.0

//! Indices that user space chooses.
//!
//! C header: [`include/linux/nospec.h`](srctree/include/linux/nospec.h)

use crate::bindings;

/// Brings an index, which was compared with the size of an array, into its range for speculation,
/// too: the processor may go on with one that is not.
///
/// # Examples
///
/// ```
/// use kernel::nospec::array_index_nospec;
///
/// assert_eq!(array_index_nospec(3, 8), 3);
/// assert_eq!(array_index_nospec(8, 8), 0);
/// ```
#[inline(always)]
pub fn array_index_nospec(index: usize, size: usize) -> usize {
    // SAFETY: A computation.
    unsafe { bindings::array_index_nospec(index, size) }
}
