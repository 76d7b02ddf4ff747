// SPDX-License-Identifier: GPL-2.0

pub use core::ffi::{c_int, c_long, c_uint, c_void};
pub type c_char = u8;
pub type c_ulong = usize;
