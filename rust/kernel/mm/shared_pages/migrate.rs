// SPDX-License-Identifier: GPL-2.0

//! Pages can be replaced by others while they are in use, so that they don't fragment memory.

use super::mapping::PageCache;
#[cfg(CONFIG_MIGRATION)]
use crate::{
    bindings,
    error::to_result,
    page::PAGE_SIZE,
    sync::atomic::Relaxed, //
};
use crate::{
    prelude::*,
    sync::{
        Mutex,
        SpinLockIrqSave, //
    },
};

/// Pages that are in use, and the two locks under which they are accessed.
///
/// # Invariants
///
/// The pages are accessed only by those who hold one of the locks, and changed only by those who
/// hold both.
#[pin_data]
pub(super) struct Core {
    pub(super) cache: PageCache,
    #[pin]
    pub(super) consumer: Mutex<()>,
    #[pin]
    pub(super) producer: SpinLockIrqSave<()>,
}

impl Core {
    /// Puts `dst` in the place of `src`.
    ///
    /// # Safety
    ///
    /// `src` and `dst` must be valid and locked, `src` a folio of `mapping`, which must be that of
    /// the file, and `dst` one that nobody else uses.
    #[cfg(CONFIG_MIGRATION)]
    pub(super) unsafe fn migrate(
        &self,
        mapping: *mut bindings::address_space,
        dst: *mut bindings::folio,
        src: *mut bindings::folio,
    ) -> Result {
        // A consumer may hold its lock for long.
        let _consumer = self.consumer.try_lock().ok_or(EAGAIN)?;

        // SAFETY: `src` is locked, so it stays where it is in the file.
        let index = unsafe { bindings::folio_pos(src) } as usize / PAGE_SIZE;
        let page = self.cache.pages.get(index).ok_or(EINVAL)?;

        // It may have been migrated already.
        if page.folio.load(Relaxed) != src {
            return Err(EAGAIN);
        }

        // SAFETY: `src` is valid.
        if unsafe { bindings::folio_test_writeback(src) } {
            return Err(EAGAIN);
        }
        // SAFETY: `dst` is valid. This is the reference of `page`.
        unsafe { bindings::folio_get(dst) };
        // SAFETY: Both folios are locked, and `src` is one of `mapping`. The one extra reference
        // that it is expected to have is that of `page`.
        let result = unsafe { bindings::folio_migrate_mapping(mapping, dst, src, 1) };
        if let Err(e) = to_result(result) {
            // SAFETY: The reference was taken above.
            unsafe { bindings::folio_put(dst) };
            return Err(e);
        }

        // SAFETY: The guard is dropped below; nothing disables interrupts until then but functions
        // of C, which enable them again.
        let producer = unsafe { self.producer.lock() };
        // INVARIANT: Both locks are held; the new page has a reference and the contents of the old
        // one, to which nobody can write now: its mappings were removed before.
        //
        // SAFETY: Both folios are locked and of one size; `dst` is nobody else's yet.
        unsafe { bindings::folio_copy(dst, src) };
        // SAFETY: Both folios are locked, and `src` was replaced in the mapping.
        unsafe { bindings::folio_migrate_flags(dst, src) };
        page.folio.store(dst, Relaxed);
        // SAFETY: `dst` is valid. It is allocated as `src` was, so that its memory has an address.
        let addr = unsafe { bindings::folio_address(dst) };
        page.addr.store(addr, Relaxed);
        drop(producer);

        // SAFETY: This was the reference of `page`, which refers to `dst` now.
        unsafe { bindings::folio_put(src) };
        Ok(())
    }
}
