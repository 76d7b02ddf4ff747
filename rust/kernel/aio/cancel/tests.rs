// SPDX-License-Identifier: GPL-2.0

//! A list whose operations do nothing.

use crate::prelude::*;

#[kunit_tests(rust_aio_cancel)]
mod cases {
    use super::super::*;
    use pin_init::stack_pin_init;

    static CALLS: Atomic<u32> = Atomic::new(0);

    /// # Safety
    ///
    /// None.
    unsafe extern "C" fn count(_kiocb: *mut bindings::kiocb) -> i32 {
        CALLS.fetch_add(1, Relaxed);
        0
    }

    /// # Safety
    ///
    /// None.
    unsafe extern "C" fn refuse(_kiocb: *mut bindings::kiocb) -> i32 {
        EBUSY.to_errno()
    }

    /// Makes an operation cancellable by a function that does not use its argument.
    fn add(list: &CancelList, node: &CancelNode, call: bindings::kiocb_cancel_fn) {
        let _guard = list.lock.lock();

        // SAFETY: The lock is held. The tests remove their nodes, which are new.
        unsafe { list.add_locked(node, null_mut(), call) };
    }

    /// Calls of `count()` during `f`.
    fn calls(f: impl FnOnce()) -> u32 {
        let before = CALLS.load(Relaxed);

        f();
        CALLS.load(Relaxed) - before
    }

    #[test]
    fn cancelled_by_name_and_once() {
        stack_pin_init!(let list = CancelList::new());
        stack_pin_init!(let one = CancelNode::new(1));
        stack_pin_init!(let two = CancelNode::new(2));

        assert_eq!(list.cancel(1), Err(EINVAL));
        add(&list, &one, Some(count));
        add(&list, &two, Some(count));
        assert!(one.is_linked() && two.is_linked());
        assert_eq!(calls(|| assert_eq!(list.cancel(3), Err(EINVAL))), 0);
        assert_eq!(calls(|| assert_eq!(list.cancel(2), Ok(()))), 1);
        assert!(one.is_linked() && !two.is_linked());
        assert_eq!(calls(|| assert_eq!(list.cancel(2), Err(EINVAL))), 0);
        list.remove_linked(&one);
        // It may be in no list by then.
        list.remove_linked(&one);
        assert!(!one.is_linked());
        assert_eq!(calls(|| assert_eq!(list.cancel(1), Err(EINVAL))), 0);
    }

    #[test]
    fn the_oldest_of_one_name() {
        stack_pin_init!(let list = CancelList::new());
        stack_pin_init!(let first = CancelNode::new(1));
        stack_pin_init!(let second = CancelNode::new(1));

        add(&list, &first, Some(count));
        add(&list, &second, Some(count));
        assert_eq!(list.cancel(1), Ok(()));
        assert!(!first.is_linked() && second.is_linked());
        assert_eq!(list.cancel(1), Ok(()));
        assert!(!second.is_linked());
    }

    #[test]
    fn errors_are_told_and_final() {
        stack_pin_init!(let list = CancelList::new());
        stack_pin_init!(let one = CancelNode::new(1));
        stack_pin_init!(let two = CancelNode::new(2));

        add(&list, &one, Some(refuse));
        add(&list, &two, None);
        assert_eq!(list.cancel(1), Err(EBUSY));
        assert_eq!(list.cancel(1), Err(EINVAL));
        assert_eq!(list.cancel(2), Err(EINVAL));
        assert!(!one.is_linked() && !two.is_linked());
    }

    #[test]
    fn all_are_cancelled() {
        stack_pin_init!(let list = CancelList::new());
        stack_pin_init!(let one = CancelNode::new(1));
        stack_pin_init!(let two = CancelNode::new(1));
        stack_pin_init!(let three = CancelNode::new(3));

        add(&list, &one, Some(count));
        add(&list, &two, Some(refuse));
        add(&list, &three, Some(count));
        assert_eq!(calls(|| list.cancel_all()), 2);
        assert!(!one.is_linked() && !two.is_linked() && !three.is_linked());
        assert_eq!(calls(|| list.cancel_all()), 0);
    }
}
