// SPDX-License-Identifier: GPL-2.0

//! The completion ring, as memory that is shared with an untrusted reader and writer.
//!
//! The process can read and write all of it at any time. So each number is read once, and brought
//! into its range before it is used; what the kernel itself needs to know is kept outside.
//!
//! C header: [`include/uapi/linux/aio_abi.h`](srctree/include/uapi/linux/aio_abi.h); the header of
//! the ring is known to libaio and others only by convention.

use crate::slots::Slots;
use kernel::{
    aio::abi::IoEvent,
    fs::File,
    mm::shared_pages::{
        Producer,
        SharedPages, //
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

mod new;

pub(crate) use new::{
    NewRing,
    Size, //
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

/// What the kernel knows for itself of the events.
pub(crate) struct Progress<D> {
    /// Where the next event will be written; less than the number of events.
    tail: u32,
    /// How many events were written whose slots were not found free since.
    completed: u32,
    /// What else there is to do for a completion.
    more: D,
}

/// Stores events that nobody sees before all of them are there, see [`Ring::push_all()`].
pub(crate) struct Appender<'a, 'b, D> {
    ring: &'a mut Producer<'b, Progress<D>>,
    nr_events: u32,
    tail: u32,
    nr: u32,
}

impl<D: Send> Appender<'_, '_, D> {
    /// Stores one more.
    #[inline]
    pub(crate) fn append(&mut self, event: IoEvent) {
        self.tail = Ring::store(self.ring, self.nr_events, self.tail, event);
        self.nr += 1;
    }

    /// Returns the data of the producer.
    #[inline]
    pub(crate) fn more(&mut self) -> &mut D {
        &mut self.ring.more
    }
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
                let tail = Self::store(ring, nr_events, ring.tail, event);
                let head = Self::publish(ring, nr_events, tail, 1, slots);

                more(&mut ring.more);
                Self::available(nr_events, head, tail)
            },
        )
    }

    /// Appends the events that `f` has, as [`push()`](Self::push) does one; they are there all at
    /// once. Then calls `more`, with what `f` has returned, too.
    ///
    /// There must be at least one, and each must have a slot. `f` is called with the lock of the
    /// producer held.
    #[inline]
    pub(crate) fn push_all<R: Send>(
        &self,
        slots: &Slots,
        f: impl FnOnce(&mut Appender<'_, '_, D>) -> R + Send,
        more: impl FnOnce(&mut D, R) + Send,
    ) -> u32 {
        let nr_events = self.nr_events;

        self.pages.with_producer(|ring| {
            let mut events = Appender {
                tail: ring.tail,
                ring,
                nr_events,
                nr: 0,
            };
            let outcome = f(&mut events);
            let Appender { ring, tail, nr, .. } = events;
            let head = Self::publish(ring, nr_events, tail, nr, slots);

            more(&mut ring.more, outcome);
            Self::available(nr_events, head, tail)
        })
    }

    /// Stores an event behind the last, where nobody looks yet, and returns the tail behind it.
    #[inline(always)]
    fn store(ring: &Producer<'_, Progress<D>>, nr_events: u32, tail: u32, event: IoEvent) -> u32 {
        let offset = Self::offset(tail);

        ring.write_words(offset, event.words());
        ring.pages().flush(offset);
        // OVERFLOW: Both numbers are far below the largest, since the ring is in memory.
        match tail.wrapping_add(1) {
            tail if tail < nr_events => tail,
            _ => 0,
        }
    }

    /// Moves the tail behind `nr` events that were stored, gives back the slots of those that user
    /// space has taken out, and returns the head.
    #[inline(always)]
    fn publish(
        ring: &mut Producer<'_, Progress<D>>,
        nr_events: u32,
        tail: u32,
        nr: u32,
        slots: &Slots,
    ) -> u32 {
        // The events before the tail. Pairs with the barrier of the reader of the ring, in `pop()`
        // or in user space.
        smp_mb(Write);

        ring.tail = tail;
        let head = ring.pages().read_u32(header::HEAD);
        ring.pages().write_u32(header::TAIL, tail);
        ring.pages().flush(header::TAIL);

        ring.completed = ring.completed.wrapping_add(nr);
        if ring.completed > 1 {
            let head = Self::clamp(nr_events, head);

            Self::refill(ring, nr_events, head, slots);
        }
        head
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

    /// Nobody sees the first before the last is there, and all their slots come back.
    #[test]
    fn many_at_once() -> Result {
        let (ring, _) = new_ring()?;
        let nr_events = ring.nr_events();
        // They can be taken one by one, to the last.
        let slots = Slots::new(nr_events - 1, nr_events)?;
        let mut tail = 0;

        with_irqs_off(|_| {
            for nr in [1, 2, 31, nr_events - 1, 50, nr_events - 1] {
                assert_eq!(
                    (0..nr).take_while(|_| slots.take(1) == 1).count(),
                    nr as usize
                );
                let mut called = 0;
                let available = ring.push_all(
                    &slots,
                    |events| {
                        for i in 0..nr {
                            events.append(event((tail + i).into()));
                            *events.more() = ();
                        }
                        assert_eq!(events.ring.pages().read_u32(header::TAIL), tail);
                        assert_eq!(events.ring.tail, tail);
                        nr
                    },
                    |(), outcome| called = outcome,
                );

                assert_eq!((available, called), (nr, nr));
                let first = tail;

                tail = (tail + nr) % nr_events;
                ring.pages.with_producer(|ring| {
                    assert_eq!(ring.pages().read_u32(header::TAIL), tail);
                    for i in 0..nr {
                        let at = Ring::<()>::offset((first + i) % nr_events);

                        assert_eq!(ring.pages().read_u32(at), first + i);
                    }
                });
                // User space takes all of them.
                set_head(&ring, tail);
                ring.reclaim(&slots);
            }
            assert_eq!(slots.free().0 + slots.free().1, nr_events - 1);
        });
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
