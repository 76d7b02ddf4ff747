// SPDX-License-Identifier: GPL-2.0

//! For `unsafe-audit --self-test`. A mark at the end of a line says that something fails there.
//! With a plus sign it says that clippy is content with it and the audit is not.

#![crate_type = "lib"]
#![allow(dead_code, unused_unsafe, unused_variables, clippy::all)]
#![warn(clippy::undocumented_unsafe_blocks, clippy::missing_safety_doc)]

unsafe extern "C" { //~+
    fn foreign(arg: u32) -> u32;
}

/// Not one of these is an unsafe block: unsafe { }.
pub fn words<'a>(text: &'a str) -> bool {
    /* unsafe { /* nested: unsafe { } */ unsafe { } */
    let raw = r##"a "# unsafe { } "##;
    let bytes = b"unsafe { \" unsafe { }";
    let quote = '"'; // unsafe { }
    let quote = '\''; // unsafe { }
    let quote = b'\'';
    let brace = '{';
    let r#unsafe = "unsafe { \
        unsafe { }";
    let c = c"unsafe {";
    'unsafe_loop: loop {
        break 'unsafe_loop;
    }
    raw == text
}

pub fn above() -> u32 {
    // SAFETY: Anyone may.
    let a = unsafe { foreign(0) };

    // Safety: any case, and an empty line or an attribute in between.

    #[allow(unused)]
    let b = unsafe { foreign(0) };

    /* SAFETY: A comment of the other kind. */
    let c = unsafe { foreign(0) };

    // Something else first.
    //
    // SAFETY: Then this.
    // - A list.
    // - Of two.
    let d = unsafe { foreign(0) };

    a + b + c + d
}

pub fn not_above() -> u32 {
    let a = unsafe { foreign(0) }; //~
    let b = unsafe { foreign(0) }; // SAFETY: Behind it. //~

    // SAFETY: Of something else.
    let c = 0;
    let d = unsafe { foreign(0) }; //~

    let e = unsafe { //~
        // SAFETY: Inside.
        foreign(0)
    };

    // Safe, since it is.
    let f = unsafe { foreign(0) }; //~

    let g = 0; // SAFETY: Behind something else.
    let h = unsafe { foreign(0) }; //~+

    let text = "
    // SAFETY: In a string.
    "; let i = unsafe { foreign(0) }; //~+

    a + b + c + d + e + f + g + h + i
}

pub fn elsewhere() -> u32 {
    // SAFETY: As above.
    let a = unsafe { foreign(0) }; //~+

    // SAFETY: By the requirements of this function,
    // and the type invariants.
    let b = unsafe { foreign(0) }; //~+

    // SAFETY: See `above()`. Anyone may.
    let c = unsafe { foreign(0) };

    a + b + c
}

pub fn nameless() -> u32 {
    // SAFETY: The caller guarantees that it is valid, and nobody
    // else uses it.
    let a = unsafe { foreign(0) }; //~+

    // SAFETY: There is so much.
    let b = unsafe { foreign(0) }; //~+

    // SAFETY: It was initialised.
    let c = unsafe { foreign(0) }; //~+

    // SAFETY: The caller guarantees that `foreign()` accepts zero.
    let d = unsafe { foreign(0) };

    a + b + c + d
}

pub fn long() -> u32 {
    // SAFETY: There are eight lines of it.
    unsafe {
        foreign(0)
            + foreign(1)
            + foreign(2)
            + foreign(3)
            + foreign(4)
            + foreign(5)
    };

    // SAFETY: There are nine lines of it.
    unsafe { //~+
        foreign(0)
            + foreign(1)
            + foreign(2)
            + foreign(3)
            + foreign(4)
            + foreign(5)
            + foreign(6)
    }
}

pub fn groups() -> u32 {
    // SAFETY: One for both: they are in one statement, but this holds
    // for two in a line as well.
    let a = unsafe { foreign(0) } + unsafe { foreign(0) };

    // SAFETY: Only for the first of these.
    let b = unsafe { foreign(0) };
    let c = unsafe { foreign(0) }; //~

    a + b + c
}

pub fn statements(cond: bool) -> u32 {
    // SAFETY: Above the statement.
    let a = core::cmp::max(
        1,
        unsafe { foreign(0) },
    );

    // SAFETY: Above the statement, for all blocks in it.
    let b = [
        unsafe { foreign(0) },
        unsafe { foreign(1) },
    ];

    let c = [
        // SAFETY: For the first.
        unsafe { foreign(0) },
        unsafe { foreign(1) }, //~
    ];

    // SAFETY: Too far away: there is a branch in between.
    let d = if cond {
        unsafe { foreign(0) } //~
    } else {
        // SAFETY: Near enough.
        unsafe { foreign(1) }
    };

    // SAFETY: The condition is in this line.
    if unsafe { foreign(0) } == 0 {
        return unsafe { foreign(1) }; //~
    }

    // SAFETY: Too far away.
    let e = match d {
        0 => unsafe { foreign(0) }, //~
        // SAFETY: Near enough.
        1 => unsafe { foreign(1) },
        // SAFETY: Near enough.
        2 => {
            unsafe { foreign(2) } //~
        }
        _ => 3,
    };

    // SAFETY: Too far away.
    let f = || {
        unsafe { foreign(0) } //~
    };

    // SAFETY: Above the statement.
    let g = Some(0)
        .map(|n: u32| unsafe { foreign(n) })
        .unwrap_or(0);

    if cond {}
    unsafe { foreign(0) }; //~

    // SAFETY: Above the statement.
    a.checked_add(
        unsafe { foreign(0) },
    );

    // SAFETY: Above the statement.
    return a
        + unsafe { foreign(0) };
}

/// A pair.
pub struct Pair {
    a: u32,
    b: u32,
}

pub fn fields() -> Pair {
    // SAFETY: Above the whole of it.
    let pair = Pair {
        a: unsafe { foreign(0) }, //~
        b: 0,
    };

    // SAFETY: Above the whole of it.
    core::convert::identity(
        Pair { a: pair.b, b: unsafe { foreign(0) } } //~
    )
}

pub fn value() -> u32 {
    // SAFETY: Above the value of the block.
    core::convert::identity(
        unsafe { foreign(0) }
    )
}

pub fn near_fields() -> Pair {
    Pair {
        // SAFETY: For this.
        a: unsafe { foreign(0) },
        b: unsafe { foreign(0) }, //~
    }
}

// SAFETY: Above a constant.
const ONE: u32 = unsafe { core::mem::transmute(1i32) };
const TWO: u32 = unsafe { core::mem::transmute(2i32) }; //~
// SAFETY: Above a variable.
static THREE: u32 =
    unsafe { core::mem::transmute(3i32) };

// SAFETY: Above an implementation.
#[allow(clippy::non_send_fields_in_send_ty)]
unsafe impl Send for Pair {}

/// # Safety
///
/// This is not what an implementation has.
unsafe impl Sync for Pair {} //~

/// A trait.
///
/// # Safety
///
/// Whoever implements it must be careful.
pub unsafe trait Careful {
    /// A function.
    ///
    /// # Safety
    ///
    /// Whoever calls it must be careful. That is all.
    unsafe fn with_care(&self);

    /// Another.
    unsafe fn without_care(&self); //~
}

/// A trait.
// SAFETY: This is not what a trait has.
pub unsafe trait Careless {} //~

// SAFETY: It is careful.
unsafe impl Careful for Pair {
    unsafe fn with_care(&self) {}

    unsafe fn without_care(&self) {
        unsafe { foreign(0) }; //~
    }
}

unsafe impl Careless for Pair {} //~

impl Pair {
    /// A function.
    ///
    /// # Safety
    ///
    /// `for` is only a word.
    #[inline]
    pub const unsafe extern "C" fn documented() {}

    // # Safety
    pub unsafe extern "C" fn not_documented() {} //~
}

// SAFETY: There is no other of that name.
#[unsafe(no_mangle)]
fn unsafe_audit_one() {}

#[unsafe(no_mangle)] //~+
fn unsafe_audit_two() {}

/// The type of a function is no function: it has no text.
pub type Pointer = unsafe extern "C" fn(arg: unsafe fn(u32)) -> u32;

/// # Safety
///
/// The braces of a generic argument and the arrows of a `match`.
pub unsafe fn generic<const N: usize>(f: impl for<'a> Fn(&'a u32) -> u32) -> [u32; { 1 + 1 }] {
    [f(&1); 2]
}

/// Code in the documentation is code.
///
/// ```
/// // SAFETY: It is an example.
/// let a = unsafe { foreign(0) };
/// # let b = unsafe { foreign(0) }; //~+
/// ```
///
/// ```text
/// let c = unsafe { foreign(0) };
/// ```
pub fn example() {}

/// What a macro expands to is looked at where the macro is.
#[macro_export]
macro_rules! implement {
    ($type:ty, $(#[$meta:meta])* $($name:ident),*) => {
        // SAFETY: Sure.
        unsafe impl $crate::Careful for $type {
            unsafe fn with_care(&self) {}
            unsafe fn without_care(&self) {}
        }

        $(
            $(#[$meta])*
            pub unsafe extern "C" fn $name() {} //~+
        )*

        const _: u32 = {
            unsafe { $crate::foreign(0) } //~+
        };
    };
}

/// This one has nothing to hide, not even in its words: unsafe.
#[macro_export]
macro_rules! harmless {
    () => { "unsafe" };
}
