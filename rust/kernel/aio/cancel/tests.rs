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
        // SAFETY: The guard lives until this returns; nothing else disables interrupts meanwhile.
        let _guard = unsafe { list.lock.lock() };

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

        assert_eq!(list.cancel(1, 8), Err(EINVAL));
        add(&list, &one, Some(count));
        add(&list, &two, Some(count));
        assert!(one.is_linked() && two.is_linked());
        assert_eq!(calls(|| assert_eq!(list.cancel(3, 8), Err(EINVAL))), 0);
        assert_eq!(calls(|| assert_eq!(list.cancel(2, 8), Ok(()))), 1);
        assert!(one.is_linked() && !two.is_linked());
        assert_eq!(calls(|| assert_eq!(list.cancel(2, 8), Err(EINVAL))), 0);
        list.remove_linked(&one);
        // It may be in no list by then.
        list.remove_linked(&one);
        assert!(!one.is_linked());
        assert_eq!(calls(|| assert_eq!(list.cancel(1, 8), Err(EINVAL))), 0);
    }

    #[test]
    fn the_oldest_of_one_name() {
        stack_pin_init!(let list = CancelList::new());
        stack_pin_init!(let first = CancelNode::new(1));
        stack_pin_init!(let second = CancelNode::new(1));

        add(&list, &first, Some(count));
        add(&list, &second, Some(count));
        assert_eq!(list.cancel(1, 8), Ok(()));
        assert!(!first.is_linked() && second.is_linked());
        assert_eq!(list.cancel(1, 8), Ok(()));
        assert!(!second.is_linked());
    }

    #[test]
    fn errors_are_told_and_final() {
        stack_pin_init!(let list = CancelList::new());
        stack_pin_init!(let one = CancelNode::new(1));
        stack_pin_init!(let two = CancelNode::new(2));

        add(&list, &one, Some(refuse));
        add(&list, &two, None);
        assert_eq!(list.cancel(1, 8), Err(EBUSY));
        assert_eq!(list.cancel(1, 8), Err(EINVAL));
        assert_eq!(list.cancel(2, 8), Err(EINVAL));
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

    /// What `record()` was called with: the numbers in order, in decimal.
    static RECORD: Atomic<u64> = Atomic::new(0);

    /// # Safety
    ///
    /// None: the argument is a number.
    unsafe extern "C" fn record(nr: *mut bindings::kiocb) -> i32 {
        RECORD.store(RECORD.load(Relaxed) * 10 + nr as u64, Relaxed);
        0
    }

    /// So many that there is an index.
    const MANY: u64 = 3000;

    /// Nodes with the names 0 to `MANY - 1`, in a list.
    fn many(list: &CancelList) -> Result<KVVec<Pin<KBox<CancelNode>>>> {
        let mut nodes = KVVec::new();

        for id in 0..MANY {
            let node = KBox::pin_init(CancelNode::new(id), GFP_KERNEL)?;

            add(list, &node, Some(count));
            nodes.push(node, GFP_KERNEL)?;
        }
        Ok(nodes)
    }

    #[test]
    fn one_of_many() -> Result {
        stack_pin_init!(let list = CancelList::new());
        let nodes = many(&list)?;
        let cancel = |id| list.cancel(id, MANY as usize);

        assert_eq!(cancel(MANY), Err(EINVAL));
        // From here on there is an index, in which all are that were there.
        for id in [MANY - 1, 0, 1, MANY / 2] {
            assert_eq!(calls(|| assert_eq!(cancel(id), Ok(()))), 1);
            assert_eq!(calls(|| assert_eq!(cancel(id), Err(EINVAL))), 0);
            assert!(!nodes[id as usize].is_linked());
        }
        // Those that end by themselves are gone from it.
        list.remove_linked(&nodes[7]);
        assert_eq!(cancel(7), Err(EINVAL));
        // What is added later is found as well.
        add(&list, &nodes[7], Some(refuse));
        assert_eq!(cancel(7), Err(EBUSY));
        assert_eq!(calls(|| list.cancel_all()), MANY as u32 - 5);
        assert!(nodes.iter().all(|node| !node.is_linked()));
        Ok(())
    }

    /// Those of one name, and all in the end, are cancelled in the order of C, whether they are in
    /// the index or not.
    #[test]
    fn order_of_many() -> Result {
        stack_pin_init!(let list = CancelList::new());
        let nodes = many(&list)?;
        let mut same = KVVec::new();
        let add_same = |same: &mut KVVec<Pin<KBox<CancelNode>>>, nr: usize, id| -> Result {
            let node = KBox::pin_init(CancelNode::new(id), GFP_KERNEL)?;
            // SAFETY: The guard is dropped below; nothing else disables interrupts until then.
            let guard = unsafe { list.lock.lock() };

            // SAFETY: The lock is held, and the node is new. The test removes it.
            unsafe { list.add_locked(&node, nr as *mut bindings::kiocb, Some(record)) };
            drop(guard);
            same.push(node, GFP_KERNEL)?;
            Ok(())
        };

        for nr in 1..4 {
            add_same(&mut same, nr, MANY + 1)?;
        }
        RECORD.store(0, Relaxed);
        assert_eq!(list.cancel(MANY + 1, MANY as usize), Ok(()));
        add_same(&mut same, 4, MANY + 1)?;
        assert_eq!(list.cancel(MANY + 1, MANY as usize), Ok(()));
        assert_eq!(RECORD.load(Relaxed), 12);
        // Others, in other buckets.
        for nr in 5..8 {
            add_same(&mut same, nr, 1000 - nr as u64)?;
        }
        assert_eq!(list.cancel(MANY + 2, MANY as usize), Err(EINVAL));
        for nr in 8..10 {
            add_same(&mut same, nr, nr as u64)?;
        }
        assert_eq!(calls(|| list.cancel_all()), MANY as u32);
        assert_eq!(RECORD.load(Relaxed), 123_456_789);
        assert!(nodes.iter().all(|node| !node.is_linked()));
        Ok(())
    }
}
