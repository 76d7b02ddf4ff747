// SPDX-License-Identifier: GPL-2.0

//! How large a ring is, and how one is made.

use super::{
    header,
    Features,
    Progress,
    Ring, //
};
use crate::ring_file::{
    RingFile,
    RingOwner, //
};
use kernel::{
    aio::abi::IoEvent,
    mm::{
        locked_vm::LockedVm,
        shared_pages::{
            Mapping,
            NewSharedPages,
            SharedPages, //
        }, //
    },
    page::PAGE_SIZE,
    prelude::*, //
};

/// No more than this many bytes of events can be asked for.
const MAX_BYTES: u32 = 0x1000_0000;

/// How large a ring is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size {
    nr_pages: usize,
    nr_events: u32,
}

impl Size {
    /// Returns the size for a context that is asked to have `nr_events` events.
    ///
    /// Programs compute it as well, and CRIU wants it to be the same after a restore.
    ///
    /// # Errors
    ///
    /// `EINVAL` if it is too large, `EAGAIN` if it overflows to nothing.
    pub(crate) fn new(nr_events: u32, possible_cpus: u32) -> Result<Self> {
        // Half of the slots may be out of reach in the numbers of other CPUs, see `Slots`.
        //
        // OVERFLOW: Programs rely on the errors for all numbers, those that wrap included.
        let wanted = nr_events
            .max(possible_cpus.saturating_mul(4))
            .wrapping_mul(2);

        if wanted > MAX_BYTES / IoEvent::SIZE as u32 {
            return Err(EINVAL);
        }
        if wanted == 0 {
            return Err(EAGAIN);
        }

        // One more because head and tail must differ when the ring is full, and one for luck.
        let bytes = header::SIZE + IoEvent::SIZE * (wanted as usize + 2);
        let nr_pages = bytes.div_ceil(PAGE_SIZE);

        Ok(Self {
            nr_pages,
            nr_events: ((nr_pages * PAGE_SIZE - header::SIZE) / IoEvent::SIZE) as u32,
        })
    }

    /// Returns how many pages the ring takes.
    pub(crate) fn nr_pages(self) -> usize {
        self.nr_pages
    }

    /// Returns how many events can be in the ring.
    pub(crate) fn capacity(self) -> u32 {
        self.nr_events - 1
    }
}

/// Memory for a ring that is not in use yet; `O` will know which context it belongs to.
pub(crate) struct NewRing<O: RingOwner> {
    pages: NewSharedPages<RingFile<O>>,
    size: Size,
}

impl<O: RingOwner> NewRing<O> {
    /// Allocates it.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new(size: Size) -> Result<Self> {
        Ok(Self {
            pages: NewSharedPages::new(size.nr_pages)?,
            size,
        })
    }

    /// Maps it into the current process, which has been charged for it.
    ///
    /// # Errors
    ///
    /// `EINTR` if the process was killed, `ENOMEM`.
    pub(crate) fn map(&self, charge: &LockedVm) -> Result<Mapping> {
        self.pages.map(Some(charge))
    }

    /// Puts it to use.
    pub(crate) fn start<D: Send>(self, features: Features, more: D) -> impl PinInit<Ring<D>> {
        let size = self.size;
        let pages = SharedPages::new(
            self.pages,
            Progress {
                tail: 0,
                completed: 0,
                more,
            },
        );

        pin_init!(Ring {
            pages <- pages,
            nr_events: size.nr_events,
        })
        .pin_chain(move |ring| {
            ring.write_header(features);
            Ok(())
        })
    }
}

#[kunit_tests(aio_ring_size)]
mod tests {
    use super::*;

    #[test]
    fn sizes() -> Result {
        // The header takes the place of one event.
        let in_page = (PAGE_SIZE / IoEvent::SIZE) as u32;
        // The most for which a page is enough.
        let most = (in_page - 1 - 2) / 2;

        assert_eq!(Size::new(1, 2)?.nr_events, in_page - 1);
        assert_eq!(Size::new(1, 2)?.nr_pages, 1);
        assert_eq!(Size::new(most, 2)?.nr_events, in_page - 1);
        assert_eq!(Size::new(most + 1, 2)?.nr_events, 2 * in_page - 1);
        // The least is four for each CPU.
        assert_eq!(Size::new(1, in_page)?, Size::new(4 * in_page, 1)?);
        assert!(Size::new(4194304, 2)?.capacity() >= 8388608);
        Ok(())
    }

    #[test]
    fn sizes_that_are_refused() {
        assert_eq!(Size::new(4194305, 2).err(), Some(EINVAL));
        assert_eq!(Size::new(0x7fff_ffff, 2).err(), Some(EINVAL));
        assert_eq!(Size::new(0x8000_0000, 2).err(), Some(EAGAIN));
        assert!(Size::new(0x8000_0001, 2).is_ok());
        assert_eq!(Size::new(0xffff_ffff, 2).err(), Some(EINVAL));
    }

    #[test]
    fn criu_gets_the_size_it_asks_for() -> Result {
        for nr in [1u32, 31, 32, 100, 1000, 65536] {
            let size = Size::new(nr, 2)?;

            assert_eq!(Size::new((size.nr_events - 2) / 2, 2)?, size);
        }
        Ok(())
    }
}
