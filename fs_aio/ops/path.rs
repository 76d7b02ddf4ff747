// SPDX-License-Identifier: GPL-2.0

//! Opening, removing and renaming files.
//!
//! These are jobs: what is asked for is copied by the submitter, and done by a thread of its
//! process, or by itself.

use core::ffi::c_int;
use kernel::{
    aio::abi::{
        opcode,
        Iocb,
        RenameatInfo, //
    },
    cred::Credential,
    fs::path::{
        self,
        audited,
        AuditedCall,
        DelayedName,
        Name,
        OpenHow, //
    },
    prelude::*,
    seccomp,
    uaccess::UserPtr,
};

/// A path, and where the program has it: audit tells that of the arguments of a call.
pub(crate) struct At<N> {
    name: N,
    addr: usize,
}

impl At<DelayedName> {
    /// Copies a path.
    fn copy_in(addr: u64, name: impl FnOnce(UserPtr) -> Result<DelayedName>) -> Result<Self> {
        let addr = usize::try_from(addr)?;

        Ok(Self {
            name: name(UserPtr::from_addr(addr))?,
            addr,
        })
    }
}

impl<N> At<N> {
    fn try_map<M>(self, f: impl FnOnce(N) -> Result<M>) -> Result<At<M>> {
        Ok(At {
            name: f(self.name)?,
            addr: self.addr,
        })
    }
}

/// An operation on a path. `N` tells whether the paths wait, or are used by the current task.
pub(crate) enum PathJob<N = DelayedName> {
    Open {
        dir: c_int,
        path: At<N>,
        how: OpenHow,
    },
    Unlink {
        dir: c_int,
        path: At<N>,
    },
    Rename {
        old_dir: c_int,
        old: At<N>,
        new_dir: c_int,
        new: At<N>,
        flags: u32,
    },
}

impl PathJob {
    /// Returns whether it is one of these that an iocb with this opcode asks for.
    pub(crate) fn is_opcode(opcode: u16) -> bool {
        matches!(opcode, opcode::OPENAT | opcode::UNLINKAT | opcode::RENAMEAT)
    }

    /// Copies what an iocb asks for.
    ///
    /// `compat` tells whether the iocb is that of a 32-bit program on a 64-bit kernel.
    ///
    /// May sleep.
    ///
    /// # Errors
    ///
    /// In this order: `EINVAL` if the filters of the task could not be asked whether it may do this
    /// ([`seccomp::is_active()`]), `EINVAL` for fields that have to be zero or do not fit,
    /// `EFAULT`, `ENOENT`, `ENAMETOOLONG` and `ENOMEM` for the paths.
    pub(crate) fn copy_in(iocb: &Iocb, compat: bool) -> Result<Self> {
        if seccomp::is_active() || iocb.rw_flags() != 0 {
            return Err(EINVAL);
        }

        // `AT_FDCWD` and others are negative.
        let dir = iocb.fildes() as c_int;

        match iocb.opcode() {
            opcode::OPENAT if iocb.nbytes() == 0 => {
                let offset = iocb.offset();
                let how = OpenHow::new(offset as c_int, (offset >> 32) as u16, compat);

                Ok(Self::Open {
                    dir,
                    path: At::copy_in(iocb.buf(), |path| how.name_from_user(path))?,
                    how,
                })
            }
            opcode::UNLINKAT if iocb.nbytes() == 0 && iocb.offset() == 0 => Ok(Self::Unlink {
                dir,
                path: At::copy_in(iocb.buf(), DelayedName::from_user)?,
            }),
            opcode::RENAMEAT
                if iocb.nbytes() == RenameatInfo::SIZE as u64 && iocb.offset() == 0 =>
            {
                let info = usize::try_from(iocb.buf())?;

                Self::copy_rename(RenameatInfo::from_user(UserPtr::from_addr(info))?)
            }
            _ => Err(EINVAL),
        }
    }

    fn copy_rename(info: RenameatInfo) -> Result<Self> {
        let old_dir = c_int::try_from(info.old_dir())?;
        let new_dir = c_int::try_from(info.new_dir())?;
        let flags = u32::try_from(info.flags())?;

        // The numbers before the names.
        usize::try_from(info.new_path())?;
        Ok(Self::Rename {
            old_dir,
            old: At::copy_in(info.old_path(), DelayedName::from_user)?,
            new_dir,
            new: At::copy_in(info.new_path(), DelayedName::from_user)?,
            flags,
        })
    }

    /// Does it with these credentials, and with the root, working directory, umask, and descriptors
    /// of the current task. Returns the result.
    ///
    /// If a signal interrupts it so that a system call would be restarted, `again` is called, which
    /// tells whether to do it once more; if not, the result is -`EINTR`. It is called with the
    /// credentials of the task, as the work is to be that may have come with the signal, which may
    /// change them: `landlock_restrict_self()` does so in all threads of a process.
    ///
    /// A thread that the kernel has created for the process has it audited as the system call that
    /// it stands for; in a system call it belongs to that.
    ///
    /// May sleep.
    pub(crate) fn run(self, creds: &Credential, mut again: impl FnMut() -> bool) -> isize {
        let mut job = self;

        loop {
            let (call, args) = job.call();
            let mut used = None;
            let result = creds.scoped(|| {
                audited(call, args, || {
                    job.try_map(|name| Ok(name.complete()))
                        .map_or_else(errno, |job| used.insert(job).execute())
                })
            });

            if !is_restart(result) {
                return result;
            }

            let Some(interrupted) = used.filter(|_| current!().signal_pending() && again()) else {
                return errno(EINTR);
            };

            // Audit has forgotten the names: so this needs no memory.
            job = match interrupted.try_map(Name::delay) {
                Ok(job) => job,
                Err(e) => return errno(e),
            };
        }
    }
}

impl PathJob<Name> {
    fn execute(&self) -> isize {
        match self {
            Self::Open { dir, path, how } => {
                path::openat(*dir, &path.name, how).map_or_else(errno, |fd| fd as isize)
            }
            Self::Unlink { dir, path } => path::unlinkat(*dir, &path.name) as isize,
            Self::Rename {
                old_dir,
                old,
                new_dir,
                new,
                flags,
            } => path::renameat2(*old_dir, &old.name, *new_dir, &new.name, *flags) as isize,
        }
    }
}

impl<N> PathJob<N> {
    fn try_map<M>(self, f: impl Fn(N) -> Result<M>) -> Result<PathJob<M>> {
        Ok(match self {
            Self::Open { dir, path, how } => PathJob::Open {
                dir,
                path: path.try_map(f)?,
                how,
            },
            Self::Unlink { dir, path } => PathJob::Unlink {
                dir,
                path: path.try_map(f)?,
            },
            Self::Rename {
                old_dir,
                old,
                new_dir,
                new,
                flags,
            } => PathJob::Rename {
                old_dir,
                old: old.try_map(&f)?,
                new_dir,
                new: new.try_map(&f)?,
                flags,
            },
        })
    }

    /// Returns the system call that this stands for, and its first four arguments: as they are in
    /// registers, where an `int` is half of one.
    fn call(&self) -> (AuditedCall, [usize; 4]) {
        let int = |n: c_int| n as u32 as usize;

        match self {
            Self::Open { dir, path, how } => (
                AuditedCall::Openat,
                [int(*dir), path.addr, int(how.flags()), how.mode().into()],
            ),
            Self::Unlink { dir, path } => (AuditedCall::Unlinkat, [int(*dir), path.addr, 0, 0]),
            Self::Rename {
                old_dir,
                old,
                new_dir,
                new,
                flags: _,
            } => (
                AuditedCall::Renameat2,
                [int(*old_dir), old.addr, int(*new_dir), new.addr],
            ),
        }
    }
}

fn errno(e: Error) -> isize {
    e.to_errno() as isize
}

/// Returns whether a system call with this result is restarted after a signal.
pub(super) fn is_restart(result: isize) -> bool {
    use kernel::error::code::{
        ERESTARTNOHAND,
        ERESTARTNOINTR,
        ERESTARTSYS,
        ERESTART_RESTARTBLOCK, //
    };

    [
        ERESTARTSYS,
        ERESTARTNOINTR,
        ERESTARTNOHAND,
        ERESTART_RESTARTBLOCK,
    ]
    .into_iter()
    .any(|e| errno(e) == result)
}

const _: () = {
    const fn is_send<T: Send>() {}

    is_send::<PathJob>();
};

#[kunit_tests(aio_ops_path)]
mod tests {
    use super::*;
    use kernel::{
        bindings,
        kunit::user::UserMemory, //
    };

    const CWD: u32 = bindings::AT_FDCWD as u32;
    /// Where the test has an empty path, a path, and a structure.
    const EMPTY: usize = 0;
    const PATH: usize = 8;
    const INFO: usize = 64;

    fn memory() -> Result<UserMemory> {
        let memory = UserMemory::new(1)?;

        memory.write(PATH, b"missing\0")?;
        Ok(memory)
    }

    fn addr(memory: &UserMemory, offset: usize) -> u64 {
        memory.at(offset).as_const_ptr() as u64
    }

    fn refused(iocb: Iocb) -> Option<Error> {
        PathJob::copy_in(&iocb, false).err()
    }

    #[test]
    fn opcodes() -> Result {
        let memory = memory()?;
        let path = addr(&memory, PATH);

        for opcode in 0..20 {
            let iocb = Iocb::new(opcode, CWD, path, 0, 0);
            let known = matches!(opcode, opcode::OPENAT | opcode::UNLINKAT);

            assert_eq!(PathJob::copy_in(&iocb, false).is_ok(), known);
            assert_eq!(
                PathJob::is_opcode(opcode),
                known || opcode == opcode::RENAMEAT
            );
        }
        Ok(())
    }

    #[test]
    fn fields_that_must_be_zero() -> Result {
        let memory = memory()?;
        let path = addr(&memory, PATH);

        for opcode in [opcode::OPENAT, opcode::UNLINKAT] {
            let good = Iocb::new(opcode, CWD, path, 0, 0);

            assert_eq!(refused(good), None);
            assert_eq!(refused(good.with_rw_flags(1)), Some(EINVAL));
            assert_eq!(refused(Iocb::new(opcode, CWD, path, 1, 0)), Some(EINVAL));
            assert_eq!(refused(Iocb::new(opcode, CWD, 0, 1, 0)), Some(EINVAL));
        }
        for offset in [1, -1, 1 << 32, i64::MIN, 0x200] {
            let iocb = Iocb::new(opcode::UNLINKAT, CWD, path, 0, offset);

            assert_eq!(refused(iocb), Some(EINVAL));
        }
        Ok(())
    }

    #[test]
    fn paths() -> Result {
        let memory = memory()?;
        let empty_path = i64::from(bindings::O_EMPTYPATH);

        for opcode in [opcode::OPENAT, opcode::UNLINKAT] {
            let at = |path| Iocb::new(opcode, CWD, path, 0, 0);

            assert_eq!(refused(at(0)), Some(EFAULT));
            assert_eq!(refused(at(addr(&memory, memory.len()))), Some(EFAULT));
            assert_eq!(refused(at(addr(&memory, EMPTY))), Some(ENOENT));
        }
        let iocb = Iocb::new(opcode::OPENAT, CWD, addr(&memory, EMPTY), 0, empty_path);

        assert_eq!(refused(iocb), None);
        Ok(())
    }

    #[test]
    fn flags_and_mode() -> Result {
        let memory = memory()?;
        let path = addr(&memory, PATH);

        for (offset, flags, mode) in [
            (0x0000_01a4_0000_0041, 0x41, 0o644),
            (-1, -1, 0xffff),
            (0x0001_0000_ffff_fff0, -16, 0),
        ] {
            let iocb = Iocb::new(opcode::OPENAT, 5, path, 0, offset);
            let PathJob::Open { dir, path, how } = PathJob::copy_in(&iocb, true)? else {
                return Err(EINVAL);
            };

            assert_eq!((dir, how.flags(), how.mode()), (5, flags, mode));
            assert_eq!(path.addr, addr(&memory, PATH) as usize);
        }
        Ok(())
    }

    /// What audit is told: what the program has asked for, and no more.
    #[test]
    fn arguments() -> Result {
        let memory = memory()?;
        let path = addr(&memory, PATH);
        let at = |opcode, dir, offset| Iocb::new(opcode, dir, path, 0, offset);

        for compat in [false, true] {
            let call = |iocb| Ok::<_, Error>(PathJob::copy_in(&iocb, compat)?.call());
            let open = call(at(opcode::OPENAT, CWD, 0x0000_01a4_8000_0041))?;
            let unlink = call(at(opcode::UNLINKAT, 5, 0))?;

            assert!(open.0 == AuditedCall::Openat && unlink.0 == AuditedCall::Unlinkat);
            assert_eq!(open.1, [CWD as usize, path as usize, 0x8000_0041, 0o644]);
            assert_eq!(unlink.1, [5, path as usize, 0, 0]);
        }
        memory.write(
            INFO,
            &[-1, path as i64, i64::from(CWD as i32), path as i64, 0],
        )?;

        let iocb = Iocb::new(opcode::RENAMEAT, 0, addr(&memory, INFO), 40, 0);
        let (call, args) = PathJob::copy_in(&iocb, false)?.call();
        let minus_one = u32::MAX as usize;

        assert!(call == AuditedCall::Renameat2);
        assert_eq!(
            args,
            [minus_one, path as usize, CWD as usize, path as usize]
        );
        Ok(())
    }

    #[test]
    fn renames() -> Result {
        let memory = memory()?;
        let (path, empty) = (addr(&memory, PATH) as i64, addr(&memory, EMPTY) as i64);
        let info = addr(&memory, INFO);
        let cwd = i64::from(bindings::AT_FDCWD);
        let iocb = |nbytes, offset| Iocb::new(opcode::RENAMEAT, 77, info, nbytes, offset);

        for (words, error) in [
            ([cwd, path, cwd, path, 0], None),
            ([i32::MAX.into(), path, -1, path, u32::MAX.into()], None),
            ([1 << 31, path, cwd, path, 0], Some(EINVAL)),
            ([cwd, path, -1 << 32, path, 0], Some(EINVAL)),
            ([cwd, path, cwd, path, 1 << 32], Some(EINVAL)),
            ([cwd, path, cwd, path, -1], Some(EINVAL)),
            ([cwd, empty, cwd, path, 0], Some(ENOENT)),
            ([cwd, path, cwd, empty, 0], Some(ENOENT)),
            ([cwd, 0, cwd, path, 0], Some(EFAULT)),
            ([cwd, path, cwd, 0, 0], Some(EFAULT)),
        ] {
            memory.write(INFO, &words)?;
            assert_eq!(refused(iocb(40, 0)), error);
        }
        memory.write(INFO, &[cwd, path, cwd, path, 0])?;
        for nbytes in [0, 39, 41, 80] {
            assert_eq!(refused(iocb(nbytes, 0)), Some(EINVAL));
        }
        assert_eq!(refused(iocb(40, 1)), Some(EINVAL));
        assert_eq!(refused(iocb(40, 0).with_rw_flags(1)), Some(EINVAL));
        let beyond = addr(&memory, memory.len() - 39);

        assert_eq!(
            refused(Iocb::new(opcode::RENAMEAT, 0, beyond, 40, 0)),
            Some(EFAULT)
        );
        Ok(())
    }

    #[test]
    fn results() -> Result {
        let memory = memory()?;
        let path = addr(&memory, PATH);
        let creds = Credential::prepare()?;
        let run = |iocb| Ok::<_, Error>(PathJob::copy_in(&iocb, false)?.run(&creds, || false));
        let (ebadf, enoent) = (errno(EBADF), errno(ENOENT));

        assert_eq!(run(Iocb::new(opcode::OPENAT, CWD, path, 0, 0))?, enoent);
        assert_eq!(run(Iocb::new(opcode::OPENAT, 0xffff, path, 0, 0))?, ebadf);
        assert_eq!(run(Iocb::new(opcode::UNLINKAT, 0xffff, path, 0, 0))?, ebadf);

        memory.write(INFO, &[0xffff, path, 0xffff, path, 0])?;
        let iocb = Iocb::new(opcode::RENAMEAT, 0, addr(&memory, INFO), 40, 0);

        assert_eq!(run(iocb)?, ebadf);
        Ok(())
    }

    #[test]
    fn restarts() {
        for result in [-512, -513, -514, -516] {
            assert!(is_restart(result));
        }
        for result in [0, 1, -4, -511, -515, -517, 512] {
            assert!(!is_restart(result));
        }
    }
}
