// SPDX-License-Identifier: GPL-2.0

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Error(i32);

pub type Result<T = (), E = Error> = core::result::Result<T, E>;

impl Error {
    pub const fn to_errno(self) -> i32 {
        -self.0
    }
}

impl From<core::convert::Infallible> for Error {
    fn from(never: core::convert::Infallible) -> Self {
        match never {}
    }
}

impl From<crate::alloc::AllocError> for Error {
    fn from(_: crate::alloc::AllocError) -> Self {
        code::ENOMEM
    }
}

pub fn to_result(err: i32) -> Result {
    if err < 0 {
        Err(Error(-err))
    } else {
        Ok(())
    }
}

pub fn from_result<T: From<i16>>(f: impl FnOnce() -> Result<T>) -> T {
    f().unwrap_or_else(|e| T::from(e.to_errno() as i16))
}

pub mod code {
    use super::Error;

    pub const EAGAIN: Error = Error(11);
    pub const ENOMEM: Error = Error(12);
    pub const EBUSY: Error = Error(16);
    pub const EINVAL: Error = Error(22);
}
