// SPDX-License-Identifier: GPL-2.0

//! Holding back block requests, in order to submit a batch of them at once.
//!
//! C header: [`include/linux/blk_plug.h`](srctree/include/linux/blk_plug.h)

use crate::{
    bindings,
    prelude::*,
    types::Opaque, //
};

#[cfg(CONFIG_BLOCK)]
use crate::task::Task;

/// Block requests of the current task that are held back.
///
/// If the task had one before, that is used, and this one is not.
pub struct Plug(Opaque<bindings::blk_plug>);

/// Calls `f` with the block requests of the current task plugged.
///
/// What `f` submits reaches the devices at the end, or when the task sleeps. Without
/// `CONFIG_BLOCK` just calls `f`. Must be called by a task, and may sleep at the end.
///
/// # Examples
///
/// ```
/// assert_eq!(kernel::blk_plug::plugged(|_| 3), 3);
/// ```
#[doc(alias = "blk_start_plug")]
#[inline]
pub fn plugged<R>(f: impl FnOnce(&Plug) -> R) -> R {
    let plug = Plug(Opaque::uninit());

    // SAFETY: The plug stays where it is until it is finished below.
    unsafe { bindings::blk_start_plug(plug.0.get()) };
    let result = f(&plug);
    // SAFETY: It was started above, by this task.
    unsafe { bindings::blk_finish_plug(plug.0.get()) };
    result
}

/// What the block layer knows of a plug.
#[derive(Clone, Copy, Default)]
struct State {
    /// How many requests are held back.
    nr_requests: u16,
    /// They are not all for the same device.
    several_devices: bool,
    /// How many are allocated with the next one that is needed.
    nr_ios: u16,
    /// Some are left of those that were allocated together.
    has_cached: bool,
}

#[cfg(CONFIG_BLOCK)]
impl Plug {
    /// Returns the plug if it is that of the current task, which has initialised it then, and whose
    /// fields but for the time nobody else writes.
    fn current(&self) -> Option<*mut bindings::blk_plug> {
        let plug = self.0.get();

        // SAFETY: The current task is valid, and nobody else changes the field.
        (unsafe { (*Task::current_raw()).plug } == plug).then_some(plug)
    }

    fn state(&self) -> State {
        let Some(plug) = self.current() else {
            return State::default();
        };

        // SAFETY: `current()` has found that it is initialised. Only this task writes these fields,
        // and none of them refers to memory that is read here.
        unsafe {
            State {
                nr_requests: (*plug).rq_count,
                several_devices: (*plug).multiple_queues,
                nr_ios: (*plug).nr_ios,
                has_cached: !(*plug).cached_rqs.head.is_null(),
            }
        }
    }

    /// When the next request is needed, up to `nr` are allocated together.
    fn set_nr_ios(&self, nr: u16) {
        if let Some(plug) = self.current() {
            // SAFETY: `current()` has found that it is initialised; the block layer uses it only
            // when this task calls it.
            unsafe { (*plug).nr_ios = nr };
        }
    }
}

#[cfg(not(CONFIG_BLOCK))]
impl Plug {
    fn state(&self) -> State {
        State::default()
    }

    fn set_nr_ios(&self, _nr: u16) {}
}

/// Has the block layer allocate requests ahead, several together, while a batch of I/Os is
/// submitted: that costs about a third of what it does one by one.
///
/// But those that are not needed, because I/Os were merged, have to be freed, which costs more than
/// is saved, and nobody else has their tags meanwhile. So this begins when the first I/Os of the
/// batch have brought as many requests, all for one device, or with the first I/O if the last batch
/// was like that; and it goes on as long as all that were allocated together are held back in the
/// plug.
///
/// # Examples
///
/// ```
/// use kernel::blk_plug::{plugged, AllocateAhead};
///
/// plugged(|plug| {
///     let (mut ahead, left) = AllocateAhead::new(plug, 32, false);
///     // Two of 32 were submitted, and were no block I/O: there is no need to tell of others.
///     assert_eq!(left, 30);
///     assert_eq!(ahead.submitted(30), None);
///     // The next batch should not begin with it.
///     assert!(!ahead.is_of_use());
/// });
/// ```
#[doc(alias = "blk_start_plug_nr_ios")]
pub struct AllocateAhead<'a> {
    plug: &'a Plug,
    /// How many were allocated together the last time, or as many I/Os are looked at first.
    nr: u16,
    /// How many should be held back when they are used up.
    goal: u16,
    /// As far as is known.
    of_use: bool,
}

impl<'a> AllocateAhead<'a> {
    /// So many I/Os are looked at before requests are allocated ahead.
    const FIRST: u16 = 2;
    /// So many times as many are allocated each time, so that those that are not used are not too
    /// many either.
    const GROWTH: u16 = 4;
    /// `BLK_MAX_REQUEST_COUNT`: the most that `blk_start_plug_nr_ios()` allows, and that a plug
    /// holds back.
    const MAX: u16 = 32;

    /// For a batch of so many I/Os, at least two, that begins with this plug;
    /// `of_use` if the last one has said that it is.
    ///
    /// Returns also how many will be left when [`submitted()`](Self::submitted) is to be called.
    #[inline]
    pub fn new(plug: &'a Plug, nr_ios: usize, of_use: bool) -> (Self, usize) {
        let mut nr = Self::FIRST;

        if of_use {
            nr = nr_ios.min((Self::FIRST * Self::GROWTH).into()) as u16;
            plug.set_nr_ios(nr);
        }
        let ahead = Self {
            plug,
            nr,
            goal: nr,
            of_use,
        };

        (ahead, nr_ios.saturating_sub(nr.into()))
    }

    /// I/Os were submitted, and `left` are to come.
    ///
    /// Returns how many will be left, or fewer, when this is to be called again, if it is.
    pub fn submitted(&mut self, left: usize) -> Option<usize> {
        let state = self.plug.state();
        let used_up = state.nr_ios == 1 && !state.has_cached && state.nr_requests == self.goal;

        self.of_use = used_up && !state.several_devices;
        if !self.of_use || left < Self::FIRST.into() {
            // What the next request is, nobody knows.
            self.plug.set_nr_ios(1);
            return None;
        }
        self.nr = left.min((self.nr * Self::GROWTH).min(Self::MAX).into()) as u16;
        // A plug that is full is flushed by the next request.
        self.goal = (self.goal + self.nr - 1) % Self::MAX + 1;
        self.plug.set_nr_ios(self.nr);
        Some(left - usize::from(self.nr))
    }

    /// Returns whether there was a request for each I/O, as far as has been seen.
    #[inline]
    pub fn is_of_use(&self) -> bool {
        self.of_use
    }
}

#[cfg(CONFIG_BLOCK)]
#[kunit_tests(rust_blk_plug)]
mod tests {
    use super::*;

    /// What the block layer would do: there are so many requests.
    fn pretend(plug: &Plug, nr_requests: u16, several_devices: bool) {
        if let Some(plug) = plug.current() {
            // SAFETY: It is that of this task, and there are no requests.
            unsafe {
                (*plug).rq_count = nr_requests;
                (*plug).multiple_queues = several_devices;
            }
        }
    }

    /// Returns what was asked for, and, if it is `taken`, lets the block layer do it.
    fn nr_ios(plug: &Plug, taken: bool) -> u16 {
        let nr = plug.state().nr_ios;

        if taken {
            plug.set_nr_ios(1);
        }
        nr
    }

    #[test]
    fn more_each_time() {
        let mut seen = [(None, 0); 5];

        plugged(|plug| {
            let (mut ahead, mut left) = AllocateAhead::new(plug, 100, false);

            assert_eq!((left, nr_ios(plug, true)), (98, 1));
            for (seen, requests) in seen.iter_mut().zip([2, 10, 10, 10, 10]) {
                pretend(plug, requests, false);
                let next = ahead.submitted(left);

                *seen = (next, nr_ios(plug, true));
                left = next.unwrap_or(0);
            }
            pretend(plug, 0, false);
        });
        // The plug was full once, and twice; the last time there were too few.
        assert_eq!(
            seen,
            [
                (Some(90), 8),
                (Some(58), 32),
                (Some(26), 32),
                (Some(0), 26),
                (None, 1)
            ]
        );
    }

    /// The last batch has said that it is of use.
    #[test]
    fn from_the_first_on() {
        // How many are to come, how many requests there are then, and whether it is of use still.
        for (nr, requests, of_use) in [(32, 8, true), (32, 1, false), (8, 8, true), (3, 2, false)] {
            plugged(|plug| {
                let (mut ahead, left) = AllocateAhead::new(plug, nr, true);

                assert_eq!(left, nr - nr.min(8));
                assert_eq!(usize::from(nr_ios(plug, true)), nr.min(8));
                pretend(plug, requests, false);
                let next = ahead.submitted(left);

                pretend(plug, 0, false);
                assert_eq!(next, (of_use && left != 0).then_some(0));
                assert_eq!(nr_ios(plug, false), if next.is_some() { 24 } else { 1 });
                assert_eq!(ahead.is_of_use(), of_use);
            });
        }
    }

    /// A plug that is full at the end of the batch holds back as many as it can, not none.
    #[test]
    fn full_at_the_end() {
        let seen = plugged(|plug| {
            let (mut ahead, left) = AllocateAhead::new(plug, 32, true);

            nr_ios(plug, true);
            pretend(plug, 8, false);
            let next = ahead.submitted(left);

            nr_ios(plug, true);
            pretend(plug, 32, false);
            let end = ahead.submitted(0);

            pretend(plug, 0, false);
            (left, next, end, ahead.is_of_use())
        });

        assert_eq!(seen, (24, Some(0), None, true));
    }

    /// What is asked for, and returned, after two I/Os of 33.
    fn second(requests: u16, several_devices: bool) -> (u16, Option<usize>) {
        plugged(|plug| {
            let (mut ahead, left) = AllocateAhead::new(plug, 33, false);

            pretend(plug, requests, several_devices);
            let left = ahead.submitted(left);

            pretend(plug, 0, false);
            assert_eq!(ahead.is_of_use(), left.is_some());
            (nr_ios(plug, false), left)
        })
    }

    #[test]
    fn not_if_they_are_merged() {
        assert_eq!(second(2, false), (8, Some(23)));
        assert_eq!(second(1, false), (1, None));
        assert_eq!(second(0, false), (1, None));
        // One of them has become two.
        assert_eq!(second(3, false), (1, None));
        assert_eq!(second(2, true), (1, None));
    }

    /// There are as many requests as there should be, but not those that were allocated together.
    #[test]
    fn not_if_some_are_left() {
        let seen = plugged(|plug| {
            let (mut ahead, _) = AllocateAhead::new(plug, 33, false);
            let left = |some: *mut bindings::request| {
                if let Some(plug) = plug.current() {
                    // SAFETY: It is that of this task, which does not call the block layer before
                    // there are none again.
                    unsafe { (*plug).cached_rqs.head = some };
                }
            };

            pretend(plug, 2, false);
            ahead.submitted(31);
            let asked = nr_ios(plug, true);

            pretend(plug, 10, false);
            left(core::ptr::dangling_mut());
            let next = ahead.submitted(23);

            left(core::ptr::null_mut());
            pretend(plug, 0, false);
            (asked, next, nr_ios(plug, false))
        });

        assert_eq!(seen, (8, None, 1));
    }

    /// What was asked for was not needed: it is taken back.
    #[test]
    fn not_if_none_were_needed() {
        let seen = plugged(|plug| {
            let (mut ahead, _) = AllocateAhead::new(plug, 33, false);

            pretend(plug, 2, false);
            ahead.submitted(31);
            let asked = nr_ios(plug, false);
            let left = ahead.submitted(23);

            pretend(plug, 0, false);
            (asked, left, nr_ios(plug, false))
        });

        assert_eq!(seen, (8, None, 1));
    }

    /// The one that the task had before is used.
    #[test]
    fn one_in_another() {
        let seen = plugged(|outer| {
            let seen = plugged(|inner| {
                pretend(outer, 2, false);
                let (mut ahead, left) = AllocateAhead::new(inner, 33, true);

                (ahead.submitted(left), nr_ios(outer, false))
            });

            pretend(outer, 0, false);
            seen
        });

        assert_eq!(seen, (None, 1));
    }
}
