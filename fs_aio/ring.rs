// SPDX-License-Identifier: GPL-2.0

//! The completion ring, as memory that is shared with an untrusted reader and writer.
//!
//! The process can read and write all of it at any time. So each number is read once, and brought
//! into its range before it is used; what the kernel itself needs to know is kept outside.
//!
//! C header: [`include/uapi/linux/aio_abi.h`](srctree/include/uapi/linux/aio_abi.h); the header of
//! the ring is known to libaio and others only by convention.

use crate::{
    ring_file::{
        RingFile,
        RingOwner, //
    },
    slots::Slots, //
};
use kernel::{
    aio::abi::IoEvent,
    fs::File,
    mm::{
        locked_vm::LockedVm,
        shared_pages::{
            Mapping,
            NewSharedPages,
            SharedPages, //
        }, //
    },
    page::PAGE_SIZE,
    prelude::*,
    sync::barrier::{
        smp_mb,
        Read,
        Write, //
    },
    uaccess::UserPtr, //
};

/// What programs recognise a ring by; also the magic number of the file system.
pub(crate) const MAGIC: u32 = 0xa10a10a1;

/// What all rings have.
const COMPAT_FEATURES: u32 = 1;
const INCOMPAT_FEATURES: u32 = 0;

/// What the header of a ring says of its context.
#[derive(Clone, Copy)]
pub(crate) struct Features {
    /// More than all rings have.
    pub(crate) compat: u32,
    /// Programs may read the events out of the ring.
    pub(crate) readable: bool,
}

/// The header of the ring: offsets of its 32-bit numbers. The events follow.
pub(crate) mod header {
    /// The index of the context in the table of its address space.
    pub(crate) const ID: usize = 0;
    /// The number of events there is room for.
    pub(super) const NR: usize = 4;
    /// Where the next event will be read: written by user space, and by the kernel as the consumer.
    pub(super) const HEAD: usize = 8;
    /// Where the next event will be written: written by the kernel as the producer.
    pub(super) const TAIL: usize = 12;
    pub(super) const MAGIC: usize = 16;
    pub(super) const COMPAT_FEATURES: usize = 20;
    pub(super) const INCOMPAT_FEATURES: usize = 24;
    pub(super) const HEADER_LENGTH: usize = 28;
    /// The size of the header.
    pub(super) const SIZE: usize = 32;
}

// An event never crosses a page.
const _: () = assert!(header::SIZE % IoEvent::SIZE == 0 && PAGE_SIZE % IoEvent::SIZE == 0);

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

/// What the kernel knows for itself of the events.
pub(crate) struct Progress<D> {
    /// Where the next event will be written; less than the number of events.
    tail: u32,
    /// How many events were written whose slots were not found free since.
    completed: u32,
    /// What else there is to do for a completion.
    more: D,
}

/// A completion ring, with data `D` that belong to its producer.
#[pin_data]
pub(crate) struct Ring<D> {
    #[pin]
    pages: SharedPages<Progress<D>>,
    /// How many events there is room for, the one that must stay free included.
    nr_events: u32,
}

impl<D: Send> Ring<D> {
    fn write_header(&self, features: Features) {
        self.pages.with_producer(|ring| {
            let pages = ring.pages();

            pages.write_u32(header::NR, self.nr_events);
            pages.write_u32(header::ID, u32::MAX);
            pages.write_u32(header::HEAD, 0);
            pages.write_u32(header::TAIL, 0);
            pages.write_u32(header::MAGIC, if features.readable { MAGIC } else { 0 });
            pages.write_u32(header::COMPAT_FEATURES, COMPAT_FEATURES | features.compat);
            pages.write_u32(header::INCOMPAT_FEATURES, INCOMPAT_FEATURES);
            pages.write_u32(header::HEADER_LENGTH, header::SIZE as u32);
            pages.flush(0);
        });
    }

    /// Returns how many events there is room for, the one that must stay free included.
    #[inline]
    pub(crate) fn nr_events(&self) -> u32 {
        self.nr_events
    }

    /// Returns how many pages it takes: they are full of events.
    pub(crate) fn nr_pages(&self) -> usize {
        Self::offset(self.nr_events).div_ceil(PAGE_SIZE)
    }

    /// Returns whether the ring is in this file.
    pub(crate) fn is_file(&self, file: &File) -> bool {
        self.pages.is_file(file)
    }

    /// Writes the index under which the context can be found.
    pub(crate) fn set_id(&self, id: u32) {
        self.pages.with_producer(|ring| {
            ring.pages().write_u32(header::ID, id);
            ring.pages().flush(header::ID);
        });
    }

    /// Brings a number that user space may have written into the range of the indices.
    #[inline]
    fn clamp(nr_events: u32, index: u32) -> u32 {
        if index < nr_events {
            index
        } else {
            index % nr_events
        }
    }

    /// Returns where an event lies.
    #[inline]
    fn offset(index: u32) -> usize {
        header::SIZE + index as usize * IoEvent::SIZE
    }

    /// Returns how many events are from `head` up to `tail`, both in the range.
    #[inline]
    fn distance(nr_events: u32, head: u32, tail: u32) -> u32 {
        if head <= tail {
            tail - head
        } else {
            nr_events - (head - tail)
        }
    }

    /// Returns how many events there are when one has just been appended.
    ///
    /// `head` is what user space has written, and is not brought into the range: who is woken then
    /// is woken by the C code, too. With the head at the tail the ring counts as full.
    #[inline]
    fn available(nr_events: u32, head: u32, tail: u32) -> u32 {
        if tail > head {
            tail - head
        } else {
            tail.wrapping_add(nr_events).wrapping_sub(head)
        }
    }

    /// Appends an event, whose slot goes over to the ring, and gives back to `slots` what user
    /// space has taken out meanwhile.
    ///
    /// Calls `more` with the data of the producer.
    ///
    /// Returns how many events there are now, as far as user space tells the truth; any number if
    /// it does not. May be called in any context.
    #[inline]
    pub(crate) fn push(
        &self,
        event: IoEvent,
        slots: &Slots,
        more: impl FnOnce(&mut D) + Send,
    ) -> u32 {
        let nr_events = self.nr_events;

        self.pages.with_producer(
            #[inline(always)]
            |ring| {
                let offset = Self::offset(ring.tail);
                // OVERFLOW: Both numbers are far below the largest, since the ring is in memory.
                let tail = match ring.tail.wrapping_add(1) {
                    tail if tail < nr_events => tail,
                    _ => 0,
                };

                ring.write_words(offset, event.words());
                ring.pages().flush(offset);

                // The event before the tail. Pairs with the barrier of who reads the ring, in
                // `pop()` or in user space.
                smp_mb(Write);

                ring.tail = tail;
                let head = ring.pages().read_u32(header::HEAD);
                ring.pages().write_u32(header::TAIL, tail);
                ring.pages().flush(header::TAIL);

                ring.completed = ring.completed.wrapping_add(1);
                if ring.completed > 1 {
                    let head = Self::clamp(nr_events, head);

                    Self::refill(ring, nr_events, head, slots);
                }
                more(&mut ring.more);

                Self::available(nr_events, head, tail)
            },
        )
    }

    /// Gives back the slots of events that are not in the ring any longer.
    #[inline(always)]
    fn refill(progress: &mut Progress<D>, nr_events: u32, head: u32, slots: &Slots) {
        let in_ring = Self::distance(nr_events, head, progress.tail);
        let free = progress.completed.saturating_sub(in_ring);

        if free != 0 {
            progress.completed -= free;
            slots.put(free);
        }
    }

    /// Calls `f` with the data of the producer, whose lock is held.
    ///
    /// May be called in any context.
    #[inline]
    pub(crate) fn with_producer<R: Send>(&self, f: impl FnOnce(&mut D) -> R + Send) -> R {
        self.pages.with_producer(|ring| f(&mut ring.more))
    }

    /// Gives back to `slots` what user space has taken out.
    ///
    /// A head that user space makes up can free no more slots than there were events.
    pub(crate) fn reclaim(&self, slots: &Slots) {
        self.pages.with_producer(|ring| {
            if ring.completed != 0 {
                let head = Self::clamp(self.nr_events, ring.pages().read_u32(header::HEAD));

                Self::refill(ring, self.nr_events, head, slots);
            }
        });
    }

    /// Returns how many events were not read, as far as user space tells the truth.
    pub(crate) fn unread(&self) -> u32 {
        self.pages.with_producer(|ring| {
            let head = Self::clamp(self.nr_events, ring.pages().read_u32(header::HEAD));

            Self::distance(self.nr_events, head, ring.tail)
        })
    }

    /// Moves up to `nr` events to user space, and returns how many.
    ///
    /// May sleep.
    ///
    /// # Errors
    ///
    /// `EFAULT` if the events could not be copied; then all of them stay in the ring.
    #[inline(always)]
    pub(crate) fn pop(&self, events: UserPtr, nr: usize) -> Result<usize> {
        let ring = self.pages.consumer();
        let head = ring.read_u32(header::HEAD);
        let tail = ring.read_u32(header::TAIL);

        // The tail before the events. Pairs with the barrier in `push()`.
        smp_mb(Read);

        if head == tail {
            return Ok(0);
        }

        let mut head = Self::clamp(self.nr_events, head);
        let tail = Self::clamp(self.nr_events, tail);
        let mut copied = 0;

        while copied < nr && head != tail {
            let piece = Self::piece(self.nr_events, head, tail, nr - copied);

            ring.copy_to_user(
                Self::offset(head),
                events.wrapping_byte_add(copied * IoEvent::SIZE),
                piece as usize * IoEvent::SIZE,
            )?;
            copied += piece as usize;
            head = Self::clamp(self.nr_events, head + piece);
        }

        // The events before the head: once it is seen, their places may be written again. Pairs
        // with the load of the head in `push()` or `reclaim()`, on which it depends whether a slot
        // is given back, and so whether a later event is stored.
        ring.write_u32_release(header::HEAD, head);
        ring.flush(header::HEAD);
        Ok(copied)
    }

    /// Returns how many events from `head` on, up to `max`, lie together in one page.
    fn piece(nr_events: u32, head: u32, tail: u32, max: usize) -> u32 {
        let end = if head <= tail { tail } else { nr_events };
        let in_page = (PAGE_SIZE - Self::offset(head) % PAGE_SIZE) / IoEvent::SIZE;

        ((end - head) as usize).min(in_page).min(max) as u32
    }
}

#[kunit_tests(aio_ring)]
mod tests {
    use super::*;
    use crate::table::Table;
    use kernel::percpu::with_irqs_off;

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

    #[test]
    fn any_head_is_brought_into_range() {
        for nr in [1u32, 2, 127, 255, 8388735] {
            for head in [0, 1, nr - 1, nr, nr + 1, 1 << 31, u32::MAX - 1, u32::MAX] {
                assert!(Ring::<()>::clamp(nr, head) < nr);
            }
        }
    }

    #[test]
    fn distances_and_pieces() {
        assert_eq!(Ring::<()>::distance(127, 0, 0), 0);
        assert_eq!(Ring::<()>::distance(127, 3, 10), 7);
        assert_eq!(Ring::<()>::distance(127, 126, 0), 1);
        assert_eq!(Ring::<()>::distance(127, 1, 0), 126);

        // The first page has room for one event less than the others.
        let first = (PAGE_SIZE / IoEvent::SIZE) as u32 - 1;
        let nr = 2 * first + 1;

        assert_eq!(Ring::<()>::piece(nr, 0, nr - 5, 100_000), first);
        assert_eq!(Ring::<()>::piece(nr, first, first + 73, 100_000), 73);
        assert_eq!(Ring::<()>::piece(nr, first, first + 73, 5), 5);
        assert_eq!(Ring::<()>::piece(nr, nr - 55, 10, 100_000), 55);
    }

    #[test]
    fn available_events() {
        assert_eq!(Ring::<()>::available(127, 0, 1), 1);
        assert_eq!(Ring::<()>::available(127, 126, 0), 1);
        assert_eq!(Ring::<()>::available(127, 100, 26), 53);
        // There was just one appended, so this is not empty.
        assert_eq!(Ring::<()>::available(127, 5, 5), 127);
        // Heads that no honest program writes.
        assert_eq!(Ring::<()>::available(127, 127, 3), 3);
        assert_eq!(Ring::<()>::available(127, 130, 3), 0);
        assert_eq!(Ring::<()>::available(127, 131, 3), u32::MAX);
        assert_eq!(Ring::<()>::available(127, u32::MAX, 3), 131);
    }

    /// A ring of one page that no process has mapped.
    fn new_ring() -> Result<(Pin<KBox<Ring<()>>>, Slots)> {
        let size = Size::new(1, 1)?;
        let ring = KBox::pin_init(
            NewRing::<Table>::new(size)?.start(
                Features {
                    compat: 0,
                    readable: true,
                },
                (),
            ),
            GFP_KERNEL,
        )?;

        Ok((ring, Slots::new(size.capacity(), 1)?))
    }

    /// User space has taken events out.
    fn set_head(ring: &Ring<()>, head: u32) {
        ring.pages
            .with_producer(|ring| ring.pages().write_u32(header::HEAD, head));
    }

    fn event(data: u64) -> IoEvent {
        IoEvent::new(data, 0, 0)
    }

    #[test]
    fn slots_come_back_when_the_head_moves() -> Result {
        let (ring, slots) = new_ring()?;
        let capacity = ring.nr_events() - 1;
        let mut taken = 0;

        // Elsewhere, what another CPU has in its number would be missing.
        with_irqs_off(|_| {
            while slots.take(1) == 1 {
                taken += 1;
            }
            for i in 0..taken {
                ring.push(event(i.into()), &slots, |()| ());
            }
            assert_eq!(slots.take(1), 0);
            ring.reclaim(&slots);
            assert_eq!(slots.take(1), 0);
            assert!(taken <= capacity);

            // User space takes ten events out.
            set_head(&ring, 10);
            ring.reclaim(&slots);
            assert_eq!((0..100).take_while(|_| slots.take(1) == 1).count(), 10);
        });
        Ok(())
    }

    #[test]
    fn a_made_up_head_frees_no_more_than_there_is() -> Result {
        let (ring, slots) = new_ring()?;
        let mut taken = 0u32;

        while slots.take(1) == 1 {
            taken += 1;
        }
        for i in 0..20 {
            ring.push(event(i), &slots, |()| ());
        }
        for head in [u32::MAX, 1 << 31, 0xdead_beef, 20, 19, 126, 127] {
            set_head(&ring, head);
            ring.reclaim(&slots);
        }
        assert!((0..1000).take_while(|_| slots.take(1) == 1).count() <= 20);
        assert!(taken >= ring.nr_events() / 2);
        Ok(())
    }

    #[test]
    fn tail_wraps_around() -> Result {
        let (ring, slots) = new_ring()?;

        for i in 0..1000u32 {
            assert_eq!(slots.take(1), 1);
            let available = ring.push(event(i.into()), &slots, |()| ());
            let next = (i + 1) % ring.nr_events();

            assert_eq!(available, 1);
            assert_eq!(ring.pages.consumer().read_u32(header::TAIL), next);
            set_head(&ring, next);
        }
        Ok(())
    }
}
