// SPDX-License-Identifier: GPL-2.0
/*
 * The entries of io_submit() and io_cancel(), and what drivers call so that
 * operations can be cancelled. Each hands its arguments on to Rust, see
 * ../syscall.rs.
 */
#include <linux/compat.h>
#include <linux/export.h>
#include <linux/syscalls.h>

#include "../aio.h"

/**
 * sys_io_submit - Start asynchronous I/O operations
 * @ctx_id: Id of the context, from io_setup()
 * @nr: Number of elements of iocbpp
 * @iocbpp: Array of pointers to iocbs, each of which describes an operation
 *
 * long-desc: Starts the operations one after the other, up to the first that is
 *   refused. How much of an operation is over when the call returns is up to the
 *   file: direct I/O to disks usually goes on, I/O through the page cache is complete
 *   already, and the call takes the time for it. Each operation that was started ends
 *   in one event. Opcodes are IOCB_CMD_PREAD (0), PWRITE (1), FSYNC (2), FDSYNC (3),
 *   POLL (5), PREADV (7) and PWRITEV (8); IOCB_CMD_NOOP (6) is not implemented. On
 *   threaded contexts, which only the implementation in Rust has, there are OPENAT (9),
 *   UNLINKAT (10), READAHEAD (12) and RENAMEAT (13) as well, and a read or write that
 *   would have to wait goes on when the call has returned, unless a limit keeps the
 *   process from being given a thread.
 *
 * context-flags: KAPI_CTX_PROCESS | KAPI_CTX_SLEEPABLE
 *   evidence: submit_rw.signal_while_submitting
 *
 * param: ctx_id
 *   type: KAPI_TYPE_UINT
 *   flags: KAPI_PARAM_IN
 *   constraint-type: KAPI_CONSTRAINT_CUSTOM
 *   constraint: The id of a live context of this address space.
 *   evidence: submit_rw.bad_list
 *
 * param: nr
 *   type: KAPI_TYPE_INT
 *   flags: KAPI_PARAM_IN
 *   constraint-type: KAPI_CONSTRAINT_RANGE
 *   range: 0, LONG_MAX
 *   constraint: More than the ring has places (ring->nr) counts as that many. With 0
 *     the array is not looked at, but the context must exist.
 *   evidence: submit_rw.bad_list
 *   evidence: submit_rw.number_is_clamped
 *
 * param: iocbpp
 *   type: KAPI_TYPE_USER_PTR
 *   flags: KAPI_PARAM_IN | KAPI_PARAM_USER
 *   size-param: nr
 *   constraint-type: KAPI_CONSTRAINT_BUFFER
 *   constraint: Element i is read only after operation i - 1 was started. The iocbs
 *     may be used again when the call returns; the kernel has copied them.
 *   evidence: submit_rw.bad_list
 *
 * return:
 *   type: KAPI_TYPE_INT
 *   check-type: KAPI_RETURN_RANGE
 *   success: 0, nr
 *   desc: The number of operations that were started. It is smaller than nr if a later
 *     one than the first was refused, or nr exceeds ring->nr. Why is told by
 *     submitting the rest.
 *   evidence: submit_rw.partial_submission
 *   evidence: submit_rw.number_is_clamped
 *   evidence: submit_rw.the_rest_tells_why
 *
 * error: EINVAL, nr is negative
 *   evidence: submit_rw.bad_list
 *
 * error: EINVAL, no such context
 *   evidence: submit_rw.bad_list
 *
 * error: EINVAL, a field of the iocb is reserved or too large
 *   desc: aio_reserved2 is not zero, aio_nbytes is negative as ssize_t, or aio_buf or
 *     aio_nbytes does not fit a pointer or a size_t.
 *   evidence: submit_rw.reserved_field
 *   evidence: submit_rw.bad_length
 *
 * error: EINVAL, no such opcode
 *   desc: aio_lio_opcode is none of the above. Checked last of what is common to all.
 *   evidence: submit_rw.unknown_opcode
 *
 * error: EINVAL, the file has no such operation
 *   desc: It has no read_iter(), write_iter() or fsync(), and, in a threaded context, no
 *     read() or write() either; or, for a poll, it is not ready and has no wait queue,
 *     or more than one.
 *   evidence: submit_rw.file_without_iter
 *   evidence: fsync.file_without_fsync
 *   evidence: poll.two_wait_queues
 *
 * error: EINVAL, a field that the opcode does not have is not zero
 *   desc: For a flush aio_buf, aio_offset, aio_nbytes and aio_rw_flags; for a poll the
 *     last three, and aio_buf, which has the events, is no larger than 16 bits. For
 *     OPENAT aio_nbytes and aio_rw_flags; for UNLINKAT aio_offset, too; for RENAMEAT
 *     aio_offset and aio_rw_flags; for READAHEAD aio_buf and aio_rw_flags.
 *   evidence: fsync.fields_must_be_zero
 *   evidence: poll.arguments
 *
 * error: EINVAL, not of a threaded context
 *   desc: An operation on paths, or READAHEAD, on another context.
 *   evidence: paths.plain_context
 *
 * error: EINVAL, the task is under seccomp
 *   desc: Its filters can't be asked about operations on paths.
 *   evidence: paths.seccomp
 *
 * error: EINVAL, a structure has not the right size, or a number does not fit
 *   desc: Of struct renameat_info.
 *   evidence: paths.rename_info
 *
 * error: EINVAL, the file can't be read ahead
 *   desc: It is no regular file and no block device, or has no page cache of its own.
 *   evidence: paths.refused
 *
 * error: EFAULT, a path or a struct renameat_info can't be read
 *   evidence: paths.names
 *
 * error: ENOENT, a path is empty
 *   evidence: paths.names
 *
 * error: ENAMETOOLONG, a path is too long
 *   evidence: paths.names
 *
 * error: EINVAL, an array of buffers is not well-formed
 *   desc: More than UIO_MAXIOV (1024) elements, or a negative length among them.
 *   evidence: submit_rw.bad_vectors
 *
 * error: EINVAL, aio_offset is negative
 *   desc: Or the sum of offset and length is, of which no more than MAX_RW_COUNT (INT_MAX
 *     rounded down to a page) counts: longer reads and writes are cut, not refused.
 *   evidence: submit_rw.bad_offset
 *
 * error: EINVAL, aio_resfd is not an eventfd
 *   desc: With IOCB_FLAG_RESFD.
 *   evidence: submit_rw.resfd_bad
 *
 * error: EINVAL, aio_reqprio is no I/O priority
 *   desc: With IOCB_FLAG_IOPRIO.
 *   evidence: submit_rw.ioprio
 *
 * error: EINVAL, both RWF_APPEND and RWF_NOAPPEND
 *   evidence: submit_rw.rwf_append
 *
 * error: EINVAL, not for this kind of context
 *   desc: Of io_setup2(): no iocb has this index; a flush, a poll or IOCB_FLAG_RESFD
 *     where completions are polled for; an array of buffers where buffers are pinned.
 *   evidence: useriocb.indices
 *   evidence: iopoll.what_it_is_not_for
 *
 * error: EFAULT, the array, an iocb or a buffer can't be used
 *   desc: An element of iocbpp or the iocb can't be read, aio_key can't be written, an
 *     array of buffers can't be read, or a buffer is not in the address range of
 *     programs. A buffer that is not mapped is told of by the event.
 *   evidence: submit_rw.bad_list
 *   evidence: submit_rw.bad_iocb_memory
 *   evidence: submit_rw.bad_vectors
 *
 * error: EBADF, no such file, or not open for this
 *   desc: aio_fildes is not open or is O_PATH, aio_resfd is not open, or the file is
 *     not open for reading or for writing. A flush needs neither. Not for operations on
 *     paths: there it is told by res of the event.
 *   evidence: submit_rw.bad_descriptor
 *   evidence: submit_rw.open_mode
 *   evidence: submit_rw.resfd_bad
 *
 * error: EAGAIN, no room for the event, or no memory for the request
 *   desc: As many operations are in flight, or events not taken, as fit. In a threaded
 *     context also, if only a thread can do it, or it has to go behind a buffered write,
 *     and none can be made, or without memory to carry it on; with IOCTX_FLAG_IOPOLL, if
 *     the device has no room.
 *   evidence: submit_rw.ring_full
 *
 * error: EPERM, a real-time priority without the right to it
 *   desc: With IOCB_FLAG_IOPRIO, and without CAP_SYS_ADMIN and CAP_SYS_NICE.
 *   evidence: submit_rw.ioprio_realtime_as_user
 *
 * error: EPERM, RWF_NOAPPEND with O_APPEND on an append-only file
 *   evidence: submit_rw.rwf_noappend_on_append_only
 *
 * error: EOPNOTSUPP, aio_rw_flags has a flag that is unknown or not supported
 *   desc: By the kernel, or by this file.
 *   evidence: submit_rw.each_rwf_flag
 *
 * error: EFAULT, the buffer is outside of the one that is pinned
 *   desc: With IOCTX_FLAG_FIXEDBUFS of io_setup2().
 *   evidence: useriocb.parts_of_a_buffer
 *
 * error: EOPNOTSUPP, completions of this file can't be polled for
 *   desc: With IOCTX_FLAG_IOPOLL of io_setup2(): the file is not open with O_DIRECT, or
 *     its driver can't.
 *   evidence: iopoll.what_it_is_not_for
 *
 * error: ENOMEM, no memory for an array of buffers, a path, credentials or a queue
 *   desc: By the implementation in Rust, the queue of the flushes of the process.
 *   evidence: fault fault_injection
 *
 * error: EINTR, the caller was killed
 *   desc: In a threaded context, while the process was given a thread.
 *   evidence: killed threads_life.of_process
 *
 * error: ENOTBLK, the kernel has no block layer
 *   desc: With IOCB_FLAG_IOPRIO.
 *   evidence: config CONFIG_BLOCK=n
 *
 * error: ENOSYS, the kernel was built without CONFIG_AIO
 *   desc: Or, with IOCB_FLAG_RESFD, without CONFIG_EVENTFD.
 *   evidence: config CONFIG_AIO=n
 *
 * lock: lock of the producer of the ring
 *   type: KAPI_LOCK_SPINLOCK
 *   acquired: yes
 *   released: yes
 *   desc: With interrupts off, when an event is posted or no free place is known of; by
 *     the implementation in Rust also for memory of requests.
 *   evidence: code fs/aio.c aio_complete: spin_lock_irqsave(&ctx->completion_lock, flags)
 *   evidence: code fs/aio.c user_refill_reqs_available:
 *     spin_lock_irq(&ctx->completion_lock)
 *   evidence: code rust/kernel/mm/shared_pages.rs with_producer: self.core.producer.lock()
 *   evidence: code fs/aio/context.rs with_ended: self.ring.with_producer(
 *   evidence: lockdep submit_rw.ring_full
 *
 * lock: cancel list of the context
 *   type: KAPI_LOCK_SPINLOCK
 *   acquired: yes
 *   released: yes
 *   desc: With interrupts off, for polls and for drivers that can cancel; by the
 *     implementation in Rust also for flushes and for what is carried on.
 *   evidence: code fs/aio.c aio_poll: spin_lock_irq(&ctx->ctx_lock)
 *   evidence: code fs/aio.c kiocb_set_cancel_fn: spin_lock_irqsave(&ctx->ctx_lock, flags)
 *   evidence: code rust/kernel/aio/poll.rs start: list.lock.lock()
 *   evidence: code rust/kernel/aio/cancel/rw.rs set_cancel_fn: list.lock.lock()
 *   evidence: lockdep poll.many_on_one_file
 *
 * signal: any
 *   direction: KAPI_SIGNAL_RECEIVE
 *   action: KAPI_SIGNAL_ACTION_TRANSFORM
 *   condition: The file's own read or write is interrupted while it blocks.
 *   desc: The operation ends with EINTR in its event; the call itself goes on. In a
 *     threaded context, a signal that is pending when a thread has to be made ends the
 *     call: it is restarted, or returns how many operations were started before.
 *   timing: KAPI_SIGNAL_TIME_DURING
 *   restartable: no
 *   evidence: submit_rw.signal_while_submitting
 *   evidence: submit_rw.signal_does_not_end_the_call
 *   evidence: submit_rw.signal_before_a_thread_is_made
 *   evidence: threads_life.signal_while_submitting
 *
 * side-effect: KAPI_EFFECT_SCHEDULE
 *   target: operations
 *   reversible: no
 *   desc: Each holds its file, if it has one, and, with IOCB_FLAG_RESFD, the eventfd until
 *     it has ended, and a place of the ring until its event has been taken. aio_key of
 *     the iocb is set to zero, unless that is in pinned memory.
 *   evidence: poll.close_after_submit
 *   evidence: submit_rw.resfd_closed_after_submit
 *   evidence: submit_rw.ring_full
 *   evidence: submit_rw.aio_key
 *   evidence: useriocb.indices
 *
 * state-trans: operation
 *   from: none
 *   to: in flight, or complete
 *   condition: It is among the first that are counted by the return value.
 *   desc: Each ends in exactly one event.
 *   evidence: submit_rw.batch
 *   evidence: submit_rw.partial_submission
 *
 * capability: CAP_SYS_NICE
 *   type: KAPI_CAP_GRANT_PERMISSION
 *   allows: The real-time class with IOCB_FLAG_IOPRIO.
 *   without: EPERM
 *   condition: CAP_SYS_ADMIN does as well.
 *   evidence: submit_rw.ioprio_capabilities
 *
 * constraint: Order of the checks
 *   desc: iocb, reserved fields, memory and place, aio_fildes, aio_resfd, aio_key,
 *     opcode; then those of the opcode. Not aio_fildes for operations on paths.
 *   evidence: submit_rw.order_of_checks
 *
 * constraint: Capacity
 *   desc: nr_events operations fit, from whichever CPU they are submitted.
 *   expr: nr_events <= capacity < ring->nr
 *   evidence: submit_rw.capacity_is_constant
 *
 * constraint: Unknown bits of aio_flags are ignored
 *   evidence: submit_rw.unknown_aio_flags
 *
 * since-version: 2.5
 *
 * examples: struct iocb iocb = {
 *           .aio_lio_opcode = IOCB_CMD_PREAD,
 *           .aio_fildes = fd,
 *           .aio_buf = (uintptr_t)buf,
 *           .aio_nbytes = sizeof(buf),
 *   }, *list[] = { &iocb };
 *   long n = syscall(SYS_io_submit, ctx, 1, list);
 *
 * notes: What goes wrong after these checks is told by res of the event: a buffer that
 *   is not mapped, a full disk, EAGAIN for RWF_NOWAIT. A security module or a
 *   listener for file access may refuse a read or write with an error of its own, and
 *   a file that allows negative offsets with EOVERFLOW; none of 7.3 that does has
 *   read_iter() or write_iter(). In threaded contexts, where a file that has only read()
 *   or write() does, all of this, and a negative aio_offset, is told by res of the event.
 *   Reads and writes that a disk has been given can't be stopped; io_cancel() refuses
 *   them, or, in threaded contexts, may say EINPROGRESS for them.
 */
SYSCALL_DEFINE3(io_submit, aio_context_t, ctx_id, long, nr,
		struct iocb __user * __user *, iocbpp)
{
	return aio_submit(ctx_id, nr, iocbpp, AIO_ABI_NATIVE);
}

/**
 * sys_io_cancel - Ask for an asynchronous I/O operation to end early
 * @ctx_id: Id of the context, from io_setup()
 * @iocb: Address of the iocb that the operation was submitted with
 * @result: Not used
 *
 * long-desc: Begins to cancel an operation that is in flight. Its event comes by way
 *   of the ring in any case. The call never returns zero: EINPROGRESS is success.
 *   IOCB_CMD_POLL can be cancelled as long as the file is not ready, and reads and
 *   writes where the driver has registered how, with kiocb_set_cancel_fn(): those of
 *   USB gadgets have, disks have not. With the implementation in Rust, flushes can be
 *   cancelled until they begin, and in threaded contexts all that is carried on after
 *   io_submit() can be.
 *
 * context-flags: KAPI_CTX_PROCESS | KAPI_CTX_SLEEPABLE
 *   evidence: cancel.fault_in_the_key
 *
 * param: ctx_id
 *   type: KAPI_TYPE_UINT
 *   flags: KAPI_PARAM_IN
 *   constraint-type: KAPI_CONSTRAINT_CUSTOM
 *   constraint: The id of a live context of this address space.
 *   evidence: cancel.arguments
 *
 * param: iocb
 *   type: KAPI_TYPE_USER_PTR
 *   flags: KAPI_PARAM_IN | KAPI_PARAM_USER
 *   size: sizeof(struct iocb)
 *   constraint-type: KAPI_CONSTRAINT_USER_PTR
 *   constraint: Only the address and aio_key, which must be zero, matter. That aio_key
 *     can't be read or is not zero counts before a missing context, so this call may
 *     sleep for a fault. With IOCTX_FLAG_USERIOCB it is an index, and aio_key is not
 *     read.
 *   evidence: cancel.iocb_may_change
 *
 * param: result
 *   type: KAPI_TYPE_USER_PTR
 *   flags: KAPI_PARAM_OUT | KAPI_PARAM_USER | KAPI_PARAM_OPTIONAL
 *   size: sizeof(struct io_event)
 *   constraint-type: KAPI_CONSTRAINT_NONE
 *   constraint: Neither read nor written; any value does.
 *   evidence: cancel.result_is_not_used
 *
 * return:
 *   type: KAPI_TYPE_INT
 *   check-type: KAPI_RETURN_EXACT
 *   success: -EINPROGRESS
 *   desc: The operation is being cancelled; its event will be in the ring. By way of
 *     syscall(2) that is -1, and errno is EINPROGRESS.
 *   evidence: cancel.one_event
 *
 * error: EINPROGRESS, the operation is being cancelled
 *   desc: This is success.
 *   evidence: cancel.one_event
 *
 * error: EFAULT, aio_key of the iocb can't be read
 *   evidence: cancel.arguments
 *
 * error: EINVAL, aio_key is not zero
 *   evidence: cancel.arguments
 *
 * error: EINVAL, no such context
 *   evidence: cancel.arguments
 *
 * error: EINVAL, no such operation, or it can't be cancelled
 *   desc: None that was submitted with this iocb is in flight, it is one that can't be
 *     cancelled, or it has been cancelled already.
 *   evidence: cancel.nothing_to_cancel
 *
 * error: EINVAL, not for this kind of context
 *   desc: Of io_setup2(): completions are polled for, or no iocb has this index.
 *   evidence: iopoll.what_it_is_not_for
 *
 * error: ENOSYS, the kernel was built without CONFIG_AIO
 *   evidence: config CONFIG_AIO=n
 *
 * lock: cancel list of the context
 *   type: KAPI_LOCK_SPINLOCK
 *   acquired: yes
 *   released: yes
 *   desc: With interrupts off. The cancel function of the driver is called with it. With
 *     the implementation in Rust it may complete the operation itself; with that in C
 *     this would wait for the lock for ever.
 *   evidence: code fs/aio.c io_cancel: spin_lock_irq(&ctx->ctx_lock)
 *   evidence: code fs/aio.c aio_remove_iocb: spin_lock_irqsave(&ctx->ctx_lock, flags)
 *   evidence: code rust/kernel/aio/cancel.rs cancel: self.lock.lock()
 *   evidence: lockdep cancel.races_with_completion
 *   evidence: lockdep usb_cancel.races_with_completion
 *   evidence: kunit aio_cancel.ended_by_who_cancels_it
 *
 * signal: any
 *   direction: KAPI_SIGNAL_RECEIVE
 *   action: KAPI_SIGNAL_ACTION_DEFAULT
 *   condition: never
 *   desc: The call does not wait for anything but a page fault.
 *   timing: KAPI_SIGNAL_TIME_DURING
 *   interruptible: no
 *   restartable: no
 *   evidence: cancel.signals_do_not_matter
 *   evidence: cancel.fault_in_the_key
 *
 * side-effect: KAPI_EFFECT_MODIFY_STATE
 *   target: the operation
 *   reversible: no
 *   desc: It can't be cancelled a second time.
 *   evidence: cancel.one_event
 *   evidence: usb_cancel.twice
 *
 * state-trans: operation
 *   from: in flight
 *   to: being cancelled
 *   condition: EINPROGRESS
 *   desc: res of the event is 0 for a poll, or the events, if the file became ready at
 *     the same time; -EINTR for a flush; or what the driver says. Of what is carried on
 *     in a threaded context it is -EINTR, what was done before, or the whole result, if
 *     it could not be stopped: what a disk has been given is not taken back.
 *   evidence: cancel.one_event
 *   evidence: cancel.races_with_completion
 *   evidence: fsync.cancelled_or_not
 *   evidence: usb_cancel.out
 *   evidence: threads_cancel.once
 *   evidence: threads_cancel.partial
 *   evidence: threads_cancel.running
 *
 * constraint: One event
 *   desc: An operation that was cancelled has one event, like any other.
 *   evidence: cancel.one_event
 *
 * since-version: 2.5
 *
 * examples: if (syscall(SYS_io_cancel, ctx, &iocb, NULL) && errno == EINPROGRESS)
 *           puts("its event will come");
 *
 * notes: A driver may refuse; then its error is returned. Before Linux 3.12 the event
 *   was stored in *result, and zero returned.
 */
SYSCALL_DEFINE3(io_cancel, aio_context_t, ctx_id, struct iocb __user *, iocb,
		struct io_event __user *, result)
{
	return aio_cancel(ctx_id, iocb);
}

#ifdef CONFIG_COMPAT
COMPAT_SYSCALL_DEFINE3(io_submit, compat_aio_context_t, ctx_id,
		       int, nr, compat_uptr_t __user *, iocbpp)
{
	return aio_submit(ctx_id, nr, iocbpp, AIO_ABI_COMPAT);
}
#endif

void kiocb_set_cancel_fn(struct kiocb *iocb, kiocb_cancel_fn *cancel)
{
	aio_set_cancel_fn(iocb, cancel);
}
EXPORT_SYMBOL(kiocb_set_cancel_fn);
