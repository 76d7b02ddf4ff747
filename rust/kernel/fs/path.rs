// SPDX-License-Identifier: GPL-2.0

//! Operations on paths, with names that were copied earlier, maybe by another task.
//!
//! A name is copied from user space when something is asked for ([`DelayedName`]), and looked up
//! when that is done ([`Name`]): with the credentials, the root and working directory, the umask
//! and the descriptors of the task that does it then.
//!
//! C headers: [`include/linux/fs.h`](srctree/include/linux/fs.h),
//! [`fs/internal.h`](srctree/fs/internal.h),
//! [`include/linux/audit.h`](srctree/include/linux/audit.h)
//!
//! # Examples
//!
//! ```
//! use kernel::{
//!     error::to_result,
//!     fs::path::{
//!         unlinkat,
//!         DelayedName, //
//!     },
//!     uaccess::UserPtr,
//! };
//!
//! /// The first half of `unlinkat(2)`, in the task that asks for it.
//! fn prepare(path: UserPtr) -> Result<DelayedName> {
//!     DelayedName::from_user(path)
//! }
//!
//! /// The second half, in the task that does it.
//! fn unlink(dir: i32, path: DelayedName) -> Result {
//!     to_result(unlinkat(dir, &path.complete()))
//! }
//! ```

use crate::{
    bindings,
    error::{
        from_err_ptr,
        to_result, //
    },
    ffi::c_int,
    prelude::*,
    task::Task,
    types::{
        NotThreadSafe,
        ScopeGuard, //
    },
    uaccess::UserPtr,
};
use core::{
    mem::ManuallyDrop,
    ptr::{
        null_mut,
        NonNull, //
    },
};

/// A copy of a path, for a task that will use it later.
///
/// Audit is told of it when it is used.
///
/// # Invariants
///
/// It contains a valid `struct filename`. This owns the only reference to it.
#[doc(alias = "delayed_filename")]
pub struct DelayedName(bindings::delayed_filename);

// SAFETY: By the type invariants nobody else refers to the name, and what belongs to a task, its
// entry in the audit context, it has not got yet.
unsafe impl Send for DelayedName {}

impl DelayedName {
    /// Copies a path from the memory of the current process.
    ///
    /// May sleep.
    ///
    /// # Errors
    ///
    /// `EFAULT` if it can't be read, `ENOENT` if it is empty, `ENAMETOOLONG`, `ENOMEM`.
    #[doc(alias = "delayed_getname")]
    pub fn from_user(path: UserPtr) -> Result<Self> {
        Self::from_user_with(path, 0)
    }

    /// Likewise, but the path may be empty.
    ///
    /// # Errors
    ///
    /// `EFAULT` if it can't be read, `ENAMETOOLONG`, `ENOMEM`.
    #[doc(alias = "delayed_getname_uflags")]
    pub fn from_user_maybe_empty(path: UserPtr) -> Result<Self> {
        Self::from_user_with(path, bindings::AT_EMPTY_PATH as c_int)
    }

    fn from_user_with(path: UserPtr, flags: c_int) -> Result<Self> {
        let mut name = bindings::delayed_filename {
            __incomplete_filename: null_mut(),
        };

        // SAFETY: `name` is valid for writes; any address is checked.
        to_result(unsafe {
            bindings::delayed_getname_uflags(&mut name, path.as_const_ptr().cast(), flags)
        })?;
        // INVARIANT: On success, the function has stored a name with one reference.
        Ok(Self(name))
    }

    /// The current task is going to use it: audit is told, if it wants to know what the task does.
    #[doc(alias = "complete_getname")]
    pub fn complete(self) -> Name {
        let mut this = ManuallyDrop::new(self);
        // SAFETY: By the type invariants there is a name. It is taken out of `this`, which is not
        // dropped.
        let name = unsafe { bindings::complete_getname(&mut this.0) };

        Name {
            // INVARIANT: It is the name that was in `this`, and its reference.
            //
            // SAFETY: By the type invariants it is valid, so that it is not null.
            name: unsafe { NonNull::new_unchecked(name) },
            _not_send: NotThreadSafe,
        }
    }
}

impl Drop for DelayedName {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: By the type invariants there is a name, whose only reference is given up.
        unsafe { bindings::dismiss_delayed_filename(&mut self.0) };
    }
}

/// A path that the current task uses.
///
/// # Invariants
///
/// `name` is valid, and this owns a reference to it. If audit has others, these belong to the
/// current task.
#[doc(alias = "filename")]
pub struct Name {
    name: NonNull<bindings::filename>,
    _not_send: NotThreadSafe,
}

impl Name {
    /// Keeps it for later, maybe for another task.
    ///
    /// May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`: as long as audit refers to it as well, there has to be a copy.
    #[doc(alias = "putname_to_delayed")]
    pub fn delay(self) -> Result<DelayedName> {
        let this = ManuallyDrop::new(self);
        let mut name = bindings::delayed_filename {
            __incomplete_filename: null_mut(),
        };

        // SAFETY: By the type invariants the name is valid. Its reference goes to `name` or is
        // given up: `this` is not dropped.
        to_result(unsafe { bindings::putname_to_delayed(&mut name, this.name.as_ptr()) })?;
        // INVARIANT: On success, the function has stored a name with one reference.
        Ok(DelayedName(name))
    }
}

impl Drop for Name {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: By the type invariants this owns a reference, and the others belong to this task,
        // so that nobody else counts at the same time.
        unsafe { bindings::putname(self.name.as_ptr()) };
    }
}

/// How a file is opened.
///
/// This is about what depends on the task that asks for it; see [`openat()`] for what depends on
/// the one that does it.
#[derive(Clone, Copy)]
pub struct OpenHow {
    /// As they were asked for.
    flags: c_int,
    /// Those that nobody has to ask for.
    implied: c_int,
    mode: u16,
    /// `RLIMIT_NOFILE`.
    nofile: usize,
}

impl OpenHow {
    /// What `openat()` of the current task does with these flags and this mode.
    ///
    /// `compat` tells that it is a 32-bit program on a 64-bit kernel, which has to say itself that
    /// it knows of large files.
    ///
    /// `RLIMIT_NOFILE` is what it is now. Flags that there are not are ignored, as `openat()` does.
    pub fn new(flags: c_int, mode: u16, compat: bool) -> Self {
        // SAFETY: May be called by any task.
        let force = !compat && unsafe { bindings::force_o_largefile() };
        let implied = if force { bindings::O_LARGEFILE } else { 0 };

        Self {
            flags,
            implied: implied as c_int,
            mode,
            // SAFETY: May be called by any task, and the number is that of a limit.
            nofile: unsafe { bindings::rlimit(bindings::RLIMIT_NOFILE) },
        }
    }

    /// Returns the flags, as they were asked for.
    #[inline]
    pub fn flags(&self) -> c_int {
        self.flags
    }

    /// Returns the mode that a file gets that is created.
    #[inline]
    pub fn mode(&self) -> u16 {
        self.mode
    }

    /// Returns whether an empty path is that of the directory itself.
    #[doc(alias = "O_EMPTYPATH")]
    #[inline]
    pub fn allows_empty_path(&self) -> bool {
        self.flags & bindings::O_EMPTYPATH as c_int != 0
    }

    /// Copies the path that is to be opened.
    ///
    /// # Errors
    ///
    /// Those of [`DelayedName::from_user()`]; it may be empty if the flags say so.
    pub fn name_from_user(&self, path: UserPtr) -> Result<DelayedName> {
        if self.allows_empty_path() {
            DelayedName::from_user_maybe_empty(path)
        } else {
            DelayedName::from_user(path)
        }
    }
}

/// Opens a file, and gives the current process a descriptor of it, which is returned.
///
/// `dir` is the descriptor of a directory, or `AT_FDCWD`. The path, `dir`, and the permissions are
/// looked at now, with the credentials, file system context and descriptors of the current task.
///
/// May sleep.
///
/// # Errors
///
/// Those of `openat()` but for the name's, and -`ERESTARTSYS` and its like if a signal has come.
#[doc(alias = "do_sys_openat2")]
pub fn openat(dir: c_int, name: &Name, how: &OpenHow) -> Result<u32> {
    // SAFETY: May be called with any numbers.
    let open_how = unsafe { bindings::build_open_how(how.flags | how.implied, how.mode) };
    let mut op = pin_init::zeroed();

    // SAFETY: Both structures are valid, and the second may be written.
    to_result(unsafe { bindings::build_open_flags(&open_how, &mut op) })?;

    // SAFETY: May be called by any task.
    let fd = unsafe { bindings::__get_unused_fd_flags(open_how.flags as u32, how.nofile) };

    to_result(fd)?;

    let fd = fd as u32;
    let reserved = ScopeGuard::new(|| {
        // SAFETY: `fd` was reserved above by this task, and nothing was installed there.
        unsafe { bindings::put_unused_fd(fd) };
    });
    // SAFETY: By the type invariants the name is valid, and `build_open_flags()` has written `op`.
    let file = from_err_ptr(unsafe { bindings::do_file_open(dir, name.name.as_ptr(), &op) })?;

    reserved.dismiss();
    // SAFETY: `fd` was reserved above by this task. The reference to the file is handed over.
    unsafe { bindings::fd_install(fd, file) };
    Ok(fd)
}

/// Removes the name of a file that is no directory.
///
/// Returns 0, or an error number as `unlinkat()` does, which is negative, or -`ERESTARTSYS` and its
/// like if a signal has come. As for [`FsyncFile::sync()`], it is what the file system returns.
///
/// May sleep.
///
/// [`FsyncFile::sync()`]: super::FsyncFile::sync
#[doc(alias = "filename_unlinkat")]
pub fn unlinkat(dir: c_int, name: &Name) -> c_int {
    // SAFETY: By the type invariants the name is valid.
    unsafe { bindings::filename_unlinkat(dir, name.name.as_ptr()) }
}

/// Renames a file.
///
/// Returns 0 or an error number as `renameat2()` does, else like [`unlinkat()`].
///
/// May sleep.
#[doc(alias = "filename_renameat2")]
pub fn renameat2(old_dir: c_int, old: &Name, new_dir: c_int, new: &Name, flags: u32) -> c_int {
    let (old, new) = (old.name.as_ptr(), new.name.as_ptr());

    // SAFETY: By the type invariants the names are valid.
    unsafe { bindings::filename_renameat2(old_dir, old, new_dir, new, flags) }
}

/// A system call as audit knows it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum AuditedCall {
    /// `openat()`.
    Openat,
    /// `unlinkat()`.
    Unlinkat,
    /// `renameat2()`.
    Renameat2,
}

impl AuditedCall {
    /// Returns the number, which depends on the architecture that the current task is of.
    fn number(self) -> c_int {
        // SAFETY: These may be called by any task.
        unsafe {
            match self {
                Self::Openat => bindings::audit_nr_openat(),
                Self::Unlinkat => bindings::audit_nr_unlinkat(),
                Self::Renameat2 => bindings::audit_nr_renameat2(),
            }
        }
    }
}

/// Calls `f`, and has audit record it as a system call with these arguments, and what `f` returns
/// as the result of that.
///
/// That is so in a thread that the kernel has created for a process (`PF_USER_WORKER`): what it
/// does is no system call by itself. Other tasks are in a system call already if they do this for a
/// process, which is what audit records; then this calls `f` only.
///
/// `f` must not do the same.
pub fn audited(call: AuditedCall, args: [usize; 4], f: impl FnOnce() -> isize) -> isize {
    // SAFETY: The current task is valid; this flag of it never changes.
    if unsafe { (*Task::current_raw()).flags } & bindings::PF_USER_WORKER == 0 {
        return f();
    }

    let [a0, a1, a2, a3] = args;

    // SAFETY: This thread is in no system call: it never comes from user space.
    unsafe { bindings::audit_syscall_entry(call.number(), a0, a1, a2, a3) };

    let ret = f();

    // SAFETY: This is the end of what has begun above.
    unsafe { bindings::audit_syscall_exit_result(ret >= 0, ret) };
    ret
}

#[macros::kunit_tests(rust_fs_path)]
mod tests {
    use super::*;
    use crate::{
        kunit::user::{
            ScriptedFile,
            UserMemory, //
        },
        page::PAGE_SIZE,
    };

    const CWD: c_int = bindings::AT_FDCWD;

    /// Names of all lengths that are treated in different ways.
    #[test]
    fn names() -> Result {
        let memory = UserMemory::new(4096usize.div_ceil(PAGE_SIZE) + 1)?;
        let end = memory.len();

        assert_eq!(DelayedName::from_user(memory.at(0)).err(), Some(ENOENT));
        drop(DelayedName::from_user_maybe_empty(memory.at(0))?);
        for i in 0..end {
            memory.write(i, &b'x')?;
        }
        for len in [1, 100, 200, 4094, 4095] {
            memory.write(end - 1, &0u8)?;
            drop(DelayedName::from_user(memory.at(end - 1 - len))?);
            drop(DelayedName::from_user_maybe_empty(memory.at(end - 1 - len))?.complete());
        }
        for len in [4096, 4097] {
            let name = DelayedName::from_user(memory.at(end - 1 - len));

            assert_eq!(name.err(), Some(ENAMETOOLONG));
        }
        // Without an end.
        memory.write(end - 1, &b'x')?;
        for len in [0, 1, 100, 1000] {
            let name = DelayedName::from_user(memory.at(end - len));

            assert_eq!(name.err(), Some(EFAULT));
        }
        assert_eq!(
            DelayedName::from_user(UserPtr::from_addr(0)).err(),
            Some(EFAULT)
        );
        Ok(())
    }

    /// A name goes there and back, and what it is of stays the same.
    #[test]
    fn names_that_are_used_again() -> Result {
        let memory = UserMemory::new(1)?;
        let how = OpenHow::new(0, 0, false);

        memory.write(0, b"missing\0")?;

        let mut name = DelayedName::from_user(memory.at(0))?;

        memory.write(0, b"\0\0\0\0\0\0\0\0")?;
        for _ in 0..3 {
            let complete = name.complete();

            assert_eq!(openat(CWD, &complete, &how), Err(ENOENT));
            name = complete.delay()?;
        }
        Ok(())
    }

    /// Opens and returns the descriptor, which is closed.
    fn open(path: &DelayedNameOf<'_>, dir: c_int, how: &OpenHow) -> Result<u32> {
        let fd = openat(dir, &path.name()?.complete(), how)?;

        // SAFETY: May be called by any task.
        to_result(unsafe { bindings::close_fd(fd) })?;
        Ok(fd)
    }

    /// The path in the memory of the test, which the next one takes the place of.
    struct DelayedNameOf<'a>(&'a UserMemory);

    impl<'a> DelayedNameOf<'a> {
        fn new<const N: usize>(memory: &'a UserMemory, path: &[u8; N]) -> Result<Self> {
            memory.write(0, path)?;
            memory.write(N, &0u8)?;
            Ok(Self(memory))
        }

        fn name(&self) -> Result<DelayedName> {
            DelayedName::from_user(self.0.at(0))
        }
    }

    #[test]
    fn opening() -> Result {
        let memory = UserMemory::new(1)?;
        let file = ScriptedFile::new()?;
        let how = |flags| OpenHow::new(flags as c_int, 0, false);
        let nofile = |mut how: OpenHow, nofile| {
            how.nofile = nofile;
            how
        };
        let root = DelayedNameOf::new(&memory, b"/")?;
        let fd = open(&root, CWD, &how(bindings::O_DIRECTORY))?;

        // No descriptor is lost, whatever happens.
        assert_eq!(open(&root, CWD, &how(bindings::O_CLOEXEC)), Ok(fd));
        assert_eq!(open(&root, CWD, &how(bindings::O_WRONLY)), Err(EISDIR));
        assert_eq!(open(&root, CWD, &nofile(how(0), fd as usize)), Err(EMFILE));
        assert_eq!(open(&root, CWD, &nofile(how(0), fd as usize + 1)), Ok(fd));
        // What is wrong by itself is told before.
        let bad = how(bindings::O_CREAT | bindings::O_DIRECTORY);

        assert_eq!(open(&root, CWD, &nofile(bad, 0)), Err(EINVAL));
        // An absolute path does not need the directory, others do.
        assert_eq!(open(&root, -1, &how(0)), Ok(fd));

        let relative = DelayedNameOf::new(&memory, b"x")?;

        assert_eq!(open(&relative, -1, &how(0)), Err(EBADF));
        assert_eq!(
            open(&relative, file.open().fd() as c_int, &how(0)),
            Err(ENOTDIR)
        );
        assert_eq!(open(&relative, CWD, &how(0)), Err(ENOENT));

        let root = DelayedNameOf::new(&memory, b"/")?;

        assert_eq!(open(&root, CWD, &how(0)), Ok(fd));
        Ok(())
    }

    #[test]
    fn what_is_implied() {
        let large = bindings::O_LARGEFILE as c_int;

        // SAFETY: May be called by any task.
        if unsafe { bindings::force_o_largefile() } {
            assert_eq!(OpenHow::new(0, 0, false).implied, large);
        }
        assert_eq!(OpenHow::new(0, 0, false).flags(), 0);
        assert_eq!(OpenHow::new(0, 0, true).implied, 0);
        assert_eq!(OpenHow::new(large, 0o644, true).flags(), large);
        assert_eq!(OpenHow::new(0, 0o644, true).mode(), 0o644);
        assert!(!OpenHow::new(0, 0, false).allows_empty_path());
        assert!(OpenHow::new(bindings::O_EMPTYPATH as c_int, 0, false).allows_empty_path());
    }

    #[test]
    fn errors_of_the_others() -> Result {
        let memory = UserMemory::new(1)?;
        let relative = DelayedNameOf::new(&memory, b"x")?;
        let name = || Ok::<_, Error>(relative.name()?.complete());
        let (ebadf, einval) = (EBADF.to_errno(), EINVAL.to_errno());

        assert_eq!(unlinkat(-1, &name()?), ebadf);
        assert!(unlinkat(CWD, &name()?) < 0);
        assert_eq!(renameat2(-1, &name()?, CWD, &name()?, 0), ebadf);
        assert_eq!(renameat2(CWD, &name()?, -1, &name()?, 0), ebadf);
        assert_eq!(renameat2(CWD, &name()?, CWD, &name()?, 1 << 31), einval);
        Ok(())
    }

    /// This thread is none of a process, so it is as if audit was not there.
    #[test]
    fn audited_calls() {
        for call in [
            AuditedCall::Openat,
            AuditedCall::Unlinkat,
            AuditedCall::Renameat2,
        ] {
            assert!(call.number() > 0);
            assert_eq!(audited(call, [0; 4], || -2), -2);
        }
    }
}
