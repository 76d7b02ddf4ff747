// SPDX-License-Identifier: GPL-2.0

pub use crate::{
    alloc::{flags::*, KBox, KVVec, KVec},
    error::{code::*, Error, Result},
    ffi::*,
    try_pin_init,
};
pub use core::{
    ffi::CStr,
    mem::{align_of, size_of},
    pin::Pin,
};
pub use macros::kunit_tests;
pub use pin_init::{init, pin_data, pin_init, pinned_drop, InPlaceWrite, Init, PinInit, Zeroable};

pub trait CStrExt {
    fn as_char_ptr(&self) -> *const c_char;
}

impl CStrExt for CStr {
    fn as_char_ptr(&self) -> *const c_char {
        self.as_ptr().cast()
    }
}
