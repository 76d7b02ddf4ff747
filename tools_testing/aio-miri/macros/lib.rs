// SPDX-License-Identifier: GPL-2.0

//! The macros of the kernel that the sources use.

use proc_macro::TokenStream;

/// KUnit suites are ordinary test modules here.
#[proc_macro_attribute]
pub fn kunit_tests(_name: TokenStream, module: TokenStream) -> TokenStream {
    let mut out: TokenStream = "#[cfg(test)]".parse().expect("an attribute");

    out.extend(module);
    out
}
