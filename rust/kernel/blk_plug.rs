// SPDX-License-Identifier: GPL-2.0

//! Holding back block requests, in order to submit a batch of them at once.
//!
//! C header: [`include/linux/blk_plug.h`](srctree/include/linux/blk_plug.h)

use crate::{
    bindings,
    types::Opaque, //
};

/// Calls `f` with the block requests of the current task plugged.
///
/// What `f` submits reaches the devices at the end, or when the task sleeps. Without
/// `CONFIG_BLOCK` just calls `f`. Must be called by a task, and may sleep at the end.
///
/// # Examples
///
/// ```
/// assert_eq!(kernel::blk_plug::plugged(|| 3), 3);
/// ```
#[doc(alias = "blk_start_plug")]
#[inline]
pub fn plugged<R>(f: impl FnOnce() -> R) -> R {
    let plug = Opaque::<bindings::blk_plug>::uninit();

    // SAFETY: The plug stays where it is until it is finished below.
    unsafe { bindings::blk_start_plug(plug.get()) };
    let result = f();
    // SAFETY: It was started above, by this task.
    unsafe { bindings::blk_finish_plug(plug.get()) };
    result
}
