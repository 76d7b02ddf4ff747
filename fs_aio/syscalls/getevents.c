// SPDX-License-Identifier: GPL-2.0
/*
 * The entries of io_getevents() and io_pgetevents(), in every layout of the
 * timeout and of the mask. Each hands its arguments on to Rust, see
 * ../syscall.rs.
 */
#include <linux/compat.h>
#include <linux/syscalls.h>

#include "../aio.h"

struct __aio_sigset;
struct __compat_aio_sigset;

#ifdef CONFIG_64BIT
/**
 * sys_io_getevents - Wait for asynchronous I/O events, and take them
 * @ctx_id: Id of the context, from io_setup()
 * @min_nr: Number of events to wait for
 * @nr: Number of events to take at most
 * @events: Array of nr elements in which the events are stored
 * @timeout: How long to wait; NULL for ever
 *
 * long-desc: Takes up to nr events out of the ring, in the order in which the
 *   operations ended, and waits until there were at least min_nr, the time is over,
 *   a signal is pending, or the context is destroyed.
 *
 * context-flags: KAPI_CTX_PROCESS | KAPI_CTX_SLEEPABLE
 *   evidence: getevents.woken_by_completion
 *
 * param: ctx_id
 *   type: KAPI_TYPE_UINT
 *   flags: KAPI_PARAM_IN
 *   constraint-type: KAPI_CONSTRAINT_CUSTOM
 *   constraint: The id of a live context of this address space.
 *   evidence: getevents.bad_context
 *
 * param: min_nr
 *   type: KAPI_TYPE_INT
 *   flags: KAPI_PARAM_IN
 *   constraint-type: KAPI_CONSTRAINT_RANGE
 *   range: 0, LONG_MAX
 *   constraint: No larger than nr. More than can be in the ring may never be there.
 *   evidence: getevents.bad_numbers
 *
 * param: nr
 *   type: KAPI_TYPE_INT
 *   flags: KAPI_PARAM_IN
 *   constraint-type: KAPI_CONSTRAINT_RANGE
 *   range: 0, LONG_MAX
 *   constraint: No smaller than min_nr.
 *   evidence: getevents.bad_numbers
 *
 * param: events
 *   type: KAPI_TYPE_USER_PTR
 *   flags: KAPI_PARAM_OUT | KAPI_PARAM_USER
 *   size-param: nr
 *   constraint-type: KAPI_CONSTRAINT_BUFFER
 *   constraint: Only as much is written as there are events.
 *   evidence: getevents.array_beyond_is_untouched
 *
 * param: timeout
 *   type: KAPI_TYPE_USER_PTR
 *   flags: KAPI_PARAM_IN | KAPI_PARAM_USER | KAPI_PARAM_OPTIONAL
 *   size: sizeof(struct __kernel_timespec)
 *   constraint-type: KAPI_CONSTRAINT_USER_PTR
 *   constraint: Relative. NULL is for ever, zero not to wait. The fields are not
 *     checked; if their sum is negative, the time is never over. It is not written.
 *   evidence: getevents.odd_timeouts
 *
 * return:
 *   type: KAPI_TYPE_INT
 *   check-type: KAPI_RETURN_RANGE
 *   success: 0, nr
 *   desc: The number of events that were stored. Fewer than min_nr, or 0, if the time
 *     was over; fewer than min_nr, if a signal or an error came after some events.
 *   evidence: getevents.number_and_order
 *   evidence: getevents.timeout_elapses
 *   evidence: getevents.signal
 *   evidence: getevents.array_faults_while_waiting
 *
 * error: EFAULT, timeout can't be read
 *   desc: Before the context is looked up.
 *   evidence: getevents.bad_timeout_pointer
 *
 * error: EINVAL, no such context
 *   evidence: getevents.bad_context
 *
 * error: EINVAL, min_nr or nr is negative, or min_nr is larger than nr
 *   evidence: getevents.bad_numbers
 *
 * error: EINVAL, the context was destroyed meanwhile
 *   desc: And no event had been stored.
 *   evidence: setup_destroy.destroy_wakes_readers
 *
 * error: EFAULT, events can't be written
 *   desc: And none was taken by an earlier look at the ring. All stay in the ring, though
 *     some may have been written to the array.
 *   evidence: getevents.array_faults
 *
 * error: EINTR, a signal is pending and no event was stored
 *   desc: With a timeout of zero, too. Not restarted, with SA_RESTART neither. Also if
 *     the task is stopped, traced or frozen, or has other work to do that counts as a
 *     signal.
 *   evidence: getevents.signal
 *
 * error: ENOSYS, the kernel was built without CONFIG_AIO
 *   evidence: config CONFIG_AIO=n
 *
 * lock: lock of the consumer of the ring
 *   type: KAPI_LOCK_MUTEX
 *   acquired: yes
 *   released: yes
 *   desc: While events are copied; not while the caller waits.
 *   evidence: code fs/aio.c aio_read_events_ring: mutex_lock(&ctx->ring_lock)
 *   evidence: code rust/kernel/mm/shared_pages.rs consumer: self.core.consumer.lock()
 *   evidence: lockdep getevents.array_faults
 *   evidence: getevents.waiters_for_different_numbers
 *
 * lock: wait queue of the context
 *   type: KAPI_LOCK_SPINLOCK
 *   acquired: yes
 *   released: yes
 *   desc: With interrupts off, when the caller begins and ends to wait.
 *   evidence: code fs/aio.c read_events: prepare_to_wait_event(&ctx->wait, &w.w,
 *     TASK_INTERRUPTIBLE)
 *   evidence: code rust/kernel/sync/threshold.rs wait:
 *     bindings::prepare_to_wait_event(head, entry,
 *   evidence: lockdep getevents.many_waiters
 *
 * signal: any
 *   direction: KAPI_SIGNAL_RECEIVE
 *   action: KAPI_SIGNAL_ACTION_RETURN
 *   condition: The caller waits, or no event was stored.
 *   desc: EINTR, or the number of events that were stored before.
 *   error: -EINTR
 *   timing: KAPI_SIGNAL_TIME_DURING
 *   interruptible: yes
 *   restartable: no
 *   evidence: getevents.signal
 *
 * side-effect: KAPI_EFFECT_MODIFY_STATE
 *   target: completion ring
 *   reversible: no
 *   desc: The events that were stored are taken out, which makes room for operations.
 *   evidence: getevents.number_and_order
 *   evidence: submit_rw.ring_full
 *
 * state-trans: event
 *   from: in the ring
 *   to: taken
 *   condition: It is among those that are counted by the return value.
 *   desc: In the order in which the operations ended.
 *   evidence: getevents.number_and_order
 *   evidence: getevents.waits_for_min_nr
 *
 * constraint: Numbers
 *   expr: 0 <= min_nr && min_nr <= nr
 *   evidence: getevents.bad_numbers
 *
 * constraint: An error counts only if no event was stored
 *   desc: Otherwise their number is returned.
 *   evidence: setup_destroy.destroy_keeps_what_a_reader_took
 *
 * since-version: 2.5
 *
 * examples: struct io_event events[32];
 *   struct timespec second = { .tv_sec = 1 };
 *   long n = syscall(SYS_io_getevents, ctx, 1, 32, events, &second);
 *
 * notes: A program may take events out of the ring itself, see aio(7); not with
 *   IOCTX_FLAG_IOPOLL, where this call asks the device for completions. A caller whose
 *   min_nr is larger than the number of operations that can be in flight may sleep
 *   although the ring is full: with the implementation in Rust until io_submit() is
 *   refused for that, with that in C until something else ends the wait.
 */
SYSCALL_DEFINE5(io_getevents, aio_context_t, ctx_id,
		long, min_nr,
		long, nr,
		struct io_event __user *, events,
		struct __kernel_timespec __user *, timeout)
{
	return aio_getevents(ctx_id, min_nr, nr, events, timeout, AIO_TIME64);
}
#endif

#ifdef CONFIG_COMPAT_32BIT_TIME
SYSCALL_DEFINE5(io_getevents_time32, __u32, ctx_id,
		__s32, min_nr,
		__s32, nr,
		struct io_event __user *, events,
		struct old_timespec32 __user *, timeout)
{
	return aio_getevents(ctx_id, min_nr, nr, events, timeout, AIO_TIME32);
}
#endif

/**
 * sys_io_pgetevents - Wait for asynchronous I/O events with a signal mask
 * @ctx_id: Id of the context, from io_setup()
 * @min_nr: Number of events to wait for
 * @nr: Number of events to take at most
 * @events: Array of nr elements in which the events are stored
 * @timeout: How long to wait; NULL for ever
 * @usig: Address and size of the signal mask for the time of the call; NULL for none
 *
 * long-desc: As io_getevents(), with the signal mask of the caller replaced for the
 *   time of the call, at once and without a gap on either side. If the call ends
 *   because of a signal, its handler runs before the mask is restored.
 *
 * context-flags: KAPI_CTX_PROCESS | KAPI_CTX_SLEEPABLE
 *   evidence: pgetevents.signal_while_waiting
 *
 * param: ctx_id
 *   type: KAPI_TYPE_UINT
 *   flags: KAPI_PARAM_IN
 *   constraint-type: KAPI_CONSTRAINT_CUSTOM
 *   constraint: The id of a live context of this address space.
 *   evidence: pgetevents.without_mask
 *
 * param: min_nr
 *   type: KAPI_TYPE_INT
 *   flags: KAPI_PARAM_IN
 *   constraint-type: KAPI_CONSTRAINT_RANGE
 *   range: 0, LONG_MAX
 *   constraint: No larger than nr. More than can be in the ring may never be there.
 *   evidence: pgetevents.numbers_and_memory
 *
 * param: nr
 *   type: KAPI_TYPE_INT
 *   flags: KAPI_PARAM_IN
 *   constraint-type: KAPI_CONSTRAINT_RANGE
 *   range: 0, LONG_MAX
 *   constraint: No smaller than min_nr.
 *   evidence: pgetevents.numbers_and_memory
 *
 * param: events
 *   type: KAPI_TYPE_USER_PTR
 *   flags: KAPI_PARAM_OUT | KAPI_PARAM_USER
 *   size-param: nr
 *   constraint-type: KAPI_CONSTRAINT_BUFFER
 *   constraint: Only as much is written as there are events.
 *   evidence: pgetevents.numbers_and_memory
 *
 * param: timeout
 *   type: KAPI_TYPE_USER_PTR
 *   flags: KAPI_PARAM_IN | KAPI_PARAM_USER | KAPI_PARAM_OPTIONAL
 *   size: sizeof(struct __kernel_timespec)
 *   constraint-type: KAPI_CONSTRAINT_USER_PTR
 *   constraint: Relative. NULL is for ever, zero not to wait. The fields are not
 *     checked; if their sum is negative, the time is never over. It is not written.
 *   evidence: pgetevents.numbers_and_memory
 *
 * param: usig
 *   type: KAPI_TYPE_USER_PTR
 *   flags: KAPI_PARAM_IN | KAPI_PARAM_USER | KAPI_PARAM_OPTIONAL
 *   size: sizeof(struct __aio_sigset)
 *   constraint-type: KAPI_CONSTRAINT_USER_PTR
 *   constraint: A structure of a pointer to the mask and its size, which must be
 *     sizeof(sigset_t) of the kernel. With a null pointer in it the size does not
 *     matter, and the mask stays as it is.
 *   evidence: pgetevents.bad_mask
 *
 * return:
 *   type: KAPI_TYPE_INT
 *   check-type: KAPI_RETURN_RANGE
 *   success: 0, nr
 *   desc: The number of events that were stored, as for io_getevents().
 *   evidence: pgetevents.taken_in_order
 *   evidence: pgetevents.event_beats_signal
 *
 * error: EFAULT, timeout can't be read
 *   desc: Before usig is looked at.
 *   evidence: pgetevents.numbers_and_memory
 *
 * error: EFAULT, usig or the mask can't be read
 *   desc: Before the context is looked up.
 *   evidence: pgetevents.bad_mask
 *
 * error: EINVAL, the size of the mask is wrong
 *   desc: Before the context is looked up.
 *   evidence: pgetevents.bad_mask
 *
 * error: EINVAL, no such context
 *   evidence: pgetevents.without_mask
 *
 * error: EINVAL, min_nr or nr is negative, or min_nr is larger than nr
 *   evidence: pgetevents.numbers_and_memory
 *
 * error: EINVAL, the context was destroyed meanwhile
 *   desc: And no event had been stored.
 *   evidence: pgetevents.destroy_wakes
 *
 * error: EFAULT, events can't be written
 *   desc: And none was taken by an earlier look at the ring. All stay in the ring, though
 *     some may have been written to the array.
 *   evidence: pgetevents.numbers_and_memory
 *
 * error: EINTR, a signal that the mask lets through was handled
 *   desc: And no event had been stored. Without a handler the call is restarted, and the
 *     time begins anew.
 *   evidence: pgetevents.signal_while_waiting
 *
 * error: ENOSYS, the kernel was built without CONFIG_AIO
 *   evidence: config CONFIG_AIO=n
 *
 * lock: lock of the consumer of the ring
 *   type: KAPI_LOCK_MUTEX
 *   acquired: yes
 *   released: yes
 *   desc: While events are copied; not while the caller waits.
 *   evidence: code fs/aio.c aio_read_events_ring: mutex_lock(&ctx->ring_lock)
 *   evidence: code rust/kernel/mm/shared_pages.rs consumer: self.core.consumer.lock()
 *   evidence: lockdep pgetevents.taken_in_order
 *
 * lock: wait queue of the context
 *   type: KAPI_LOCK_SPINLOCK
 *   acquired: yes
 *   released: yes
 *   desc: With interrupts off, when the caller begins and ends to wait.
 *   evidence: code fs/aio.c read_events: prepare_to_wait_event(&ctx->wait, &w.w,
 *     TASK_INTERRUPTIBLE)
 *   evidence: code rust/kernel/sync/threshold.rs wait:
 *     bindings::prepare_to_wait_event(head, entry,
 *   evidence: lockdep pgetevents.signal_while_waiting
 *
 * signal: any that the mask lets through
 *   direction: KAPI_SIGNAL_RECEIVE
 *   action: KAPI_SIGNAL_ACTION_RETURN
 *   condition: No event was stored.
 *   desc: The handler runs with the mask of the call, and EINTR is returned. If there is
 *     no handler, the call is restarted, and the time begins anew.
 *   error: -EINTR
 *   timing: KAPI_SIGNAL_TIME_DURING
 *   interruptible: yes
 *   restartable: yes
 *   evidence: pgetevents.signal_while_waiting
 *   evidence: pgetevents.handler_has_the_mask
 *   evidence: pgetevents.stopped
 *   evidence: pgetevents.time_begins_anew
 *
 * side-effect: KAPI_EFFECT_MODIFY_STATE
 *   target: signal mask of the caller
 *   reversible: yes
 *   desc: Restored when the call returns, or after the handlers have run.
 *   evidence: pgetevents.mask_comes_back
 *   evidence: pgetevents.pending_signal
 *
 * side-effect: KAPI_EFFECT_MODIFY_STATE
 *   target: completion ring
 *   reversible: no
 *   desc: The events that were stored are taken out, which makes room for operations.
 *   evidence: pgetevents.taken_in_order
 *
 * state-trans: event
 *   from: in the ring
 *   to: taken
 *   condition: It is among those that are counted by the return value.
 *   desc: In the order in which the operations ended.
 *   evidence: pgetevents.taken_in_order
 *
 * constraint: Numbers
 *   expr: 0 <= min_nr && min_nr <= nr
 *   evidence: pgetevents.numbers_and_memory
 *
 * constraint: An error counts only if no event was stored
 *   desc: Otherwise their number is returned.
 *   evidence: pgetevents.event_beats_signal
 *
 * since-version: 4.18
 *
 * examples: sigset_t none;
 *   struct { const sigset_t *mask; size_t size; } sig = { &none, _NSIG / 8 };
 *   sigemptyset(&none);
 *   long n = syscall(SYS_io_pgetevents, ctx, 1, 32, events, NULL, &sig);
 *
 * notes: Programs of 32 bits have two calls, io_pgetevents and io_pgetevents_time64,
 *   which differ in the form of the timeout.
 */
SYSCALL_DEFINE6(io_pgetevents,
		aio_context_t, ctx_id,
		long, min_nr,
		long, nr,
		struct io_event __user *, events,
		struct __kernel_timespec __user *, timeout,
		const struct __aio_sigset __user *, usig)
{
	return aio_pgetevents(ctx_id, min_nr, nr, events, timeout, AIO_TIME64,
			      (void __user *)usig, AIO_ABI_NATIVE);
}

#if defined(CONFIG_COMPAT_32BIT_TIME) && !defined(CONFIG_64BIT)
SYSCALL_DEFINE6(io_pgetevents_time32,
		aio_context_t, ctx_id,
		long, min_nr,
		long, nr,
		struct io_event __user *, events,
		struct old_timespec32 __user *, timeout,
		const struct __aio_sigset __user *, usig)
{
	return aio_pgetevents(ctx_id, min_nr, nr, events, timeout, AIO_TIME32,
			      (void __user *)usig, AIO_ABI_NATIVE);
}
#endif

#ifdef CONFIG_COMPAT
#ifdef CONFIG_COMPAT_32BIT_TIME
COMPAT_SYSCALL_DEFINE6(io_pgetevents,
		       compat_aio_context_t, ctx_id,
		       compat_long_t, min_nr,
		       compat_long_t, nr,
		       struct io_event __user *, events,
		       struct old_timespec32 __user *, timeout,
		       const struct __compat_aio_sigset __user *, usig)
{
	return aio_pgetevents(ctx_id, min_nr, nr, events, timeout, AIO_TIME32,
			      (void __user *)usig, AIO_ABI_COMPAT);
}
#endif

COMPAT_SYSCALL_DEFINE6(io_pgetevents_time64,
		       compat_aio_context_t, ctx_id,
		       compat_long_t, min_nr,
		       compat_long_t, nr,
		       struct io_event __user *, events,
		       struct __kernel_timespec __user *, timeout,
		       const struct __compat_aio_sigset __user *, usig)
{
	return aio_pgetevents(ctx_id, min_nr, nr, events, timeout, AIO_TIME64,
			      (void __user *)usig, AIO_ABI_COMPAT);
}
#endif
