// SPDX-License-Identifier: GPL-2.0

//! The files behind the rings: `/[aio] (deleted)` in `/proc/PID/maps`.

use crate::{
    ring::MAGIC,
    table, //
};
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
pub(crate) fn init() -> Result {
    FS.init()
}

/// The type of these files.
pub(crate) enum RingFile {}

impl SharedPagesType for RingFile {
    fn fs() -> &'static PseudoFs {
        &FS
    }

    fn moved(mm: &MmWithUser, file: &File, start: usize, len: usize) -> Result {
        table::ring_moved(mm, file, start, len)
    }
}
