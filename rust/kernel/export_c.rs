// SPDX-License-Identifier: GPL-2.0

//! Functions that C calls by their name.

/// Defines functions that C calls, and whose bodies are safe Rust functions.
///
/// Each function must be declared in a C header that is included by
/// `rust/bindings/bindings_helper.h`; that the two agree is checked when this is compiled. A Rust
/// function whose arguments are raw pointers can't do anything with them but hand them on, so that
/// it is safe to call with any.
///
/// For crates that deny `unsafe_code`, in which `#[no_mangle]` and `unsafe extern "C" fn` can't be
/// written. See also [`#[export]`](macro@crate::prelude::export).
///
/// # Examples
///
/// ```ignore
/// // C: long aio_destroy(aio_context_t ctx);
/// kernel::export_c! {
///     /// `io_destroy(2)`.
///     pub fn aio_destroy(ctx: usize) -> isize = syscall::io_destroy;
/// }
/// ```
#[macro_export]
macro_rules! export_c {
    ($(
        $(#[$meta:meta])*
        pub fn $name:ident($($arg:ident: $ty:ty),* $(,)?) $(-> $ret:ty)? = $body:path;
    )*) => {
        $(
            const _: () = {
                // Both branches of an `if` have the same type.
                if true {
                    $crate::bindings::$name
                } else {
                    $name
                };
            };

            $(#[$meta])*
            ///
            /// # Safety
            ///
            /// None: the body is safe. To be called by C.
            #[no_mangle]
            pub unsafe extern "C" fn $name($($arg: $ty),*) $(-> $ret)? {
                // An `unsafe fn` is not converted to that.
                let body: fn($($ty),*) $(-> $ret)? = $body;

                body($($arg),*)
            }
        )*
    };
}
