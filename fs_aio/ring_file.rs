// SPDX-License-Identifier: GPL-2.0

//! The files behind the rings: `/[aio] (deleted)` in `/proc/PID/maps`.

use crate::ring::MAGIC;
use core::marker::PhantomData;
use kernel::{
    fs::File,
    mm::{
        shared_pages::{
            PseudoFs,
            SharedPagesType, //
        },
        MmWithUser, //
    },
    prelude::*, //
};

static FS: PseudoFs = PseudoFs::new(c"aio", c"[aio]", c"aio_inode_cache", MAGIC as usize);

/// Mounts the file system.
pub(crate) fn init(module: &'static ThisModule) -> Result {
    FS.init(module)
}

/// What knows which context a ring belongs to.
pub(crate) trait RingOwner: 'static {
    /// The process has moved a mapping of this file, with `mremap(2)`.
    ///
    /// # Errors
    ///
    /// `EINVAL` if it is not the whole ring of a live context; then it is not moved.
    fn ring_moved(mm: &MmWithUser, file: &File, start: usize, len: usize) -> Result;
}

/// The type of these files; moves of their mappings are the business of `O`.
pub(crate) struct RingFile<O>(PhantomData<O>);

impl<O: RingOwner> SharedPagesType for RingFile<O> {
    fn fs() -> &'static PseudoFs {
        &FS
    }

    fn moved(mm: &MmWithUser, file: &File, start: usize, len: usize) -> Result {
        O::ring_moved(mm, file, start, len)
    }
}

#[kunit_tests(aio_ring_file)]
mod tests {
    use super::*;
    use crate::{
        kunit::Process,
        table::Table, //
    };
    use kernel::{
        kunit::user::ScriptedFile,
        mm::shared_pages::NewSharedPages,
        page::PAGE_SIZE, //
    };

    #[test]
    fn mounted_at_boot() {
        // A second time is refused.
        assert_eq!(
            init(kernel::module::this_module::<crate::LocalModule>()),
            Err(EBUSY)
        );
        assert!(NewSharedPages::<RingFile<Table>>::new(1).is_ok());
    }

    /// `mremap()` of a file that is no ring of a live context.
    #[test]
    fn moved() -> Result {
        let process = Process::new(1)?;
        let file = ScriptedFile::new()?;
        let task = current!();
        let mm = task.mm().ok_or(EINVAL)?;
        let moved = || RingFile::<Table>::moved(mm, file.open().file(), process.id(), PAGE_SIZE);

        assert_eq!(moved(), Err(EINVAL));
        process.destroy()?;
        assert_eq!(moved(), Err(EINVAL));
        Ok(())
    }
}
