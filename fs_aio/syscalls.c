// SPDX-License-Identifier: GPL-2.0
/*
 * The entries of the AIO system calls, and what else only C can say. Each
 * hands its arguments on to Rust, see syscall.rs.
 */
#include <linux/compat.h>
#include <linux/export.h>
#include <linux/syscalls.h>

#include "aio.h"

struct __aio_sigset;
struct __compat_aio_sigset;

#ifdef CONFIG_AIO_THREAD
/*
 * Called by do_exit(), before the task gives up anything. Threads that AIO has
 * made end by themselves.
 */
void aio_exit_thread(void)
{
	struct mm_struct *mm = current->mm;

	if (mm && !(current->flags & PF_IO_WORKER) && rcu_access_pointer(mm->ioctx_table))
		aio_thread_exits();
}
#endif

/**
 * sys_io_setup - Create an asynchronous I/O context
 * @nr_events: Number of operations that the context is to have room for
 * @ctxp: Where the id of the context is stored; must hold zero before the call
 *
 * long-desc: Creates a context for at least nr_events operations that are in
 *   flight or whose events have not been taken, maps its completion ring into the
 *   address space of the caller, and stores the address of the ring, which is the
 *   id of the context, in *ctxp. The ring has 2 * max(nr_events, 4 * C) + 2 places
 *   at least, with C the number of possible CPUs, and as many as fill its last page.
 *   A context belongs to the address space: all threads may use it, a child of
 *   fork() has none of its parent's, and execve() leaves all behind: they end with
 *   the last process that uses the address space.
 *
 * context-flags: KAPI_CTX_PROCESS | KAPI_CTX_SLEEPABLE
 *
 * param: nr_events
 *   type: KAPI_TYPE_UINT
 *   flags: KAPI_PARAM_IN
 *   constraint-type: KAPI_CONSTRAINT_RANGE
 *   range: 1, 4194304
 *   constraint: The number is doubled, in 32 bits, and must then be no larger than
 *     0x10000000 / sizeof(struct io_event) = 8388608. From 0x80000000 to 0x80400000
 *     the doubled number wraps round, and passes this check.
 *   evidence: setup_destroy.setup_number_limits
 *
 * param: ctxp
 *   type: KAPI_TYPE_USER_PTR
 *   flags: KAPI_PARAM_INOUT | KAPI_PARAM_USER
 *   size: sizeof(aio_context_t)
 *   constraint-type: KAPI_CONSTRAINT_USER_PTR
 *   constraint: *ctxp is read and must be zero. It is written on success only.
 *   evidence: setup_destroy.setup_used_pointer
 *
 * return:
 *   type: KAPI_TYPE_INT
 *   check-type: KAPI_RETURN_EXACT
 *   success: 0
 *   desc: Zero, and *ctxp is the id of the new context.
 *
 * error: EFAULT, ctxp can't be read
 *   desc: Before nr_events is looked at.
 *   evidence: setup_destroy.setup_result_pointer_first
 *
 * error: EFAULT, ctxp can't be written
 *   desc: The context was created, and has been destroyed again.
 *   evidence: setup_destroy.setup_readonly_result
 *
 * error: EINVAL, *ctxp is not zero
 *   evidence: setup_destroy.setup_used_pointer
 *
 * error: EINVAL, nr_events is zero or too large
 *   desc: nr_events is 0, or the doubled number, in 32 bits, is above 8388608.
 *   evidence: setup_destroy.setup_number_limits
 *
 * error: EAGAIN, fs.aio-max-nr would be exceeded
 *   desc: nr_events is larger than fs.aio-max-nr, or fs.aio-nr + nr_events is; or
 *     nr_events is 0x80000000, which is 0 when it is doubled.
 *   evidence: setup_destroy.setup_quota
 *
 * error: EAGAIN, misc.max of a control group would be exceeded
 *   desc: Of the resource "aio", in the control group of the caller or one above. Only
 *     with the implementation in Rust.
 *   evidence: memcg.limit
 *
 * error: EAGAIN, RLIMIT_MEMLOCK would be exceeded
 *   desc: With fs.aio-memlock 1, the pages of the ring and what the process has
 *     locked are more than RLIMIT_MEMLOCK, and the caller has no CAP_IPC_LOCK. Only
 *     with the implementation in Rust.
 *   evidence: memlock.no_memory_at_all
 *
 * error: EAGAIN, mlockall() is in effect and the ring is too large to be locked
 *   desc: After mlockall(MCL_FUTURE), with the ring above RLIMIT_MEMLOCK, no
 *     CAP_IPC_LOCK and fs.aio-memlock 1. Otherwise this is ENOMEM.
 *   evidence: memlock.with_mlockall
 *
 * error: ENOMEM, no memory, or the ring can't be mapped
 *   desc: For the context, the ring, its file or the table of contexts; or the
 *     mapping would exceed RLIMIT_AS, or the number of mappings of a process.
 *   evidence: ring.address_space_limit
 *
 * error: EINTR, the caller was killed
 *   desc: While it waited for the mmap lock. No handler and no parent sees the
 *     number, because only a fatal signal ends that wait.
 *   evidence: killed freeze.kill_during_setup
 *
 * error: ENOSYS, the kernel was built without CONFIG_AIO
 *   evidence: config CONFIG_AIO=n
 *
 * lock: mm->mmap_lock
 *   type: KAPI_LOCK_SEMAPHORE
 *   acquired: yes
 *   released: yes
 *   desc: For writing, to map the ring and to charge its pages; the wait for it ends
 *     with a fatal signal.
 *
 * lock: mm->ioctx_lock
 *   type: KAPI_LOCK_SPINLOCK
 *   acquired: yes
 *   released: yes
 *   desc: While the context is entered in the table of the address space.
 *
 * signal: SIGKILL
 *   direction: KAPI_SIGNAL_RECEIVE
 *   action: KAPI_SIGNAL_ACTION_RETURN
 *   condition: The caller waits for the mmap lock.
 *   error: -EINTR
 *   timing: KAPI_SIGNAL_TIME_DURING
 *   restartable: no
 *
 * side-effect: KAPI_EFFECT_ALLOC_MEMORY
 *   target: context, completion ring and its file
 *   reversible: yes
 *   desc: The pages of the ring stay in memory. They are charged to the memory control
 *     group and, by the implementation in Rust, to the locked memory of the process.
 *
 * side-effect: KAPI_EFFECT_MODIFY_STATE
 *   target: address space, table of contexts, fs.aio-nr
 *   reversible: yes
 *   desc: A mapping named /[aio] appears; fs.aio-nr grows by nr_events.
 *
 * state-trans: context
 *   from: none
 *   to: live
 *   condition: success
 *   desc: Until io_destroy(), or until the last process that uses the address space
 *     ends or calls execve().
 *
 * capability: CAP_IPC_LOCK
 *   type: KAPI_CAP_BYPASS_CHECK
 *   allows: A ring above RLIMIT_MEMLOCK.
 *   without: EAGAIN with fs.aio-memlock 1.
 *   condition: In the initial user namespace.
 *   evidence: memlock.capable
 *
 * constraint: Quota of the system
 *   desc: Each context counts with the nr_events that was asked for.
 *   expr: fs.aio-nr + nr_events <= fs.aio-max-nr
 *   evidence: sysctl.nr_counts_what_was_asked
 *
 * constraint: Size of the ring
 *   desc: ring->nr is (pages * PAGE_SIZE - 32) / 32, where pages is the least that
 *     holds a header of 32 bytes and 2 * max(nr_events, 4 * C) + 2 events.
 *   expr: ring->nr >= 2 * max(nr_events, 4 * num_possible_cpus()) + 2
 *   evidence: setup_destroy.ring_header_and_size
 *
 * since-version: 2.5
 *
 * examples: aio_context_t ctx = 0;
 *   if (syscall(SYS_io_setup, 128, &ctx))
 *           err(1, "io_setup");
 *
 * notes: One place of the ring always stays empty: no more than ring->nr - 1 operations
 *   fit. With the implementation in Rust as many fit; with that in C, where CPUs keep free
 *   places in batches, nr_events do, from whichever CPU they are submitted, and more may.
 *   With fs.aio-auto-threads 1, the context is threaded. The header of the ring, and
 *   threaded contexts, are described in aio(7).
 */
SYSCALL_DEFINE2(io_setup, unsigned int, nr_events, aio_context_t __user *, ctxp)
{
	return aio_setup_context(nr_events, ctxp, AIO_ABI_NATIVE);
}

#ifdef CONFIG_AIO_SETUP2
/**
 * sys_io_setup2 - Create an asynchronous I/O context of another kind
 * @nr_events: Number of operations that the context is to have room for
 * @flags: Kind of the context, IOCTX_FLAG_*; zero for that of io_setup()
 * @iocbs: Array of nr_events iocbs with IOCTX_FLAG_USERIOCB, otherwise NULL
 * @ctxp: Where the id of the context is stored; must hold zero before the call
 *
 * long-desc: As io_setup(), for contexts that save work for each operation. With
 *   IOCTX_FLAG_USERIOCB the iocbs are in an array that stays pinned: what is passed to
 *   io_submit() and io_cancel(), and found in obj of the events, is an index in it. With
 *   IOCTX_FLAG_FIXEDBUFS, too, the buffer of each iocb is pinned now, and reads and
 *   writes use a part of it. With IOCTX_FLAG_IOPOLL reads and writes are polled for:
 *   they complete in io_getevents(), and the ring can't be read by the program. The
 *   flags can be combined. Only the implementation in Rust has this call.
 *
 * context-flags: KAPI_CTX_PROCESS | KAPI_CTX_SLEEPABLE
 *
 * param: nr_events
 *   type: KAPI_TYPE_UINT
 *   flags: KAPI_PARAM_IN
 *   constraint-type: KAPI_CONSTRAINT_RANGE
 *   range: 1, 4194304
 *   constraint: As for io_setup(). With IOCTX_FLAG_FIXEDBUFS no more than
 *     AIO_FIXEDBUFS_MAX_EVENTS (65536).
 *   evidence: setup2.numbers
 *   evidence: setup2.too_many_buffers
 *
 * param: flags
 *   type: KAPI_TYPE_UINT
 *   flags: KAPI_PARAM_IN
 *   constraint-type: KAPI_CONSTRAINT_MASK
 *   valid-mask: IOCTX_FLAG_USERIOCB | IOCTX_FLAG_IOPOLL | IOCTX_FLAG_FIXEDBUFS
 *   constraint: IOCTX_FLAG_FIXEDBUFS needs IOCTX_FLAG_USERIOCB. compat_features in the
 *     header of the ring tells the kind.
 *   evidence: setup2.flags
 *   evidence: setup2.what_the_ring_says
 *
 * param: iocbs
 *   type: KAPI_TYPE_USER_PTR
 *   flags: KAPI_PARAM_IN | KAPI_PARAM_USER | KAPI_PARAM_OPTIONAL
 *   size-param: nr_events
 *   constraint-type: KAPI_CONSTRAINT_BUFFER
 *   constraint: A multiple of sizeof(struct iocb), in memory that can be written and
 *     pinned for long. NULL without IOCTX_FLAG_USERIOCB.
 *   evidence: setup2.order
 *   evidence: setup2.flags
 *
 * param: ctxp
 *   type: KAPI_TYPE_USER_PTR
 *   flags: KAPI_PARAM_INOUT | KAPI_PARAM_USER
 *   size: sizeof(aio_context_t)
 *   constraint-type: KAPI_CONSTRAINT_USER_PTR
 *   constraint: *ctxp is read and must be zero. It is written on success only.
 *   evidence: setup2.order
 *
 * return:
 *   type: KAPI_TYPE_INT
 *   check-type: KAPI_RETURN_EXACT
 *   success: 0
 *   desc: Zero, and *ctxp is the id of the new context.
 *
 * error: EINVAL, flags or iocbs can't be
 *   desc: flags has an unknown bit, or IOCTX_FLAG_FIXEDBUFS without IOCTX_FLAG_USERIOCB,
 *     or iocbs is not NULL without the latter. Before ctxp is read.
 *   evidence: setup2.flags
 *
 * error: EFAULT, ctxp can't be read
 *   evidence: setup2.order
 *
 * error: EINVAL, *ctxp is not zero
 *   evidence: setup2.order
 *
 * error: EINVAL, nr_events is zero or too large
 *   evidence: setup2.numbers
 *
 * error: EAGAIN, fs.aio-max-nr would be exceeded
 *   evidence: setup2.order
 *
 * error: EINVAL, more than 65536 buffers
 *   desc: With IOCTX_FLAG_FIXEDBUFS.
 *   evidence: setup2.too_many_buffers
 *
 * error: EINVAL, iocbs is no multiple of sizeof(struct iocb)
 *   evidence: setup2.order
 *
 * error: EFAULT, iocbs or a buffer can't be pinned
 *   desc: iocbs is NULL, or it or a buffer is not in memory that can be written and
 *     pinned for long; or a buffer is larger than AIO_FIXEDBUF_MAX (4 MiB), or has the
 *     address 0. An iocb with aio_nbytes 0 has no buffer.
 *   evidence: setup2.order
 *   evidence: setup2.buffers_that_are_refused
 *
 * error: EAGAIN, misc.max of a control group would be exceeded
 *   desc: As for io_setup(); before anything is pinned.
 *   evidence: memcg.limit_of_io_setup2
 *
 * error: EAGAIN, RLIMIT_MEMLOCK would be exceeded
 *   desc: By what is pinned, whatever fs.aio-memlock says, and the caller has no
 *     CAP_IPC_LOCK. Or, with fs.aio-memlock 1, by the ring as well, as for io_setup().
 *     Or a page is pinned too often.
 *   evidence: setup2.locked_memory
 *   evidence: setup2.locked_memory_whatever_the_sysctl_says
 *
 * error: EFAULT, ctxp can't be written
 *   desc: The context was created, and has been destroyed again.
 *   evidence: setup2.address_that_cannot_be_written
 *
 * error: ENOMEM, no memory, or the ring can't be mapped
 *   evidence: fault fault_injection
 *
 * error: EINTR, the caller was killed
 *   desc: While it waited for the mmap lock or for a page.
 *   evidence: killed pinned.killed_in_a_fault
 *
 * error: ENOSYS, the kernel was built without CONFIG_AIO_SETUP2
 *   desc: With the implementation in C always.
 *   evidence: config CONFIG_AIO_SETUP2=n
 *
 * lock: mm->mmap_lock
 *   type: KAPI_LOCK_SEMAPHORE
 *   acquired: yes
 *   released: yes
 *   desc: To charge and to pin pages, and for writing to map the ring.
 *
 * lock: mm->ioctx_lock
 *   type: KAPI_LOCK_SPINLOCK
 *   acquired: yes
 *   released: yes
 *   desc: While the context is entered in the table of the address space.
 *
 * signal: SIGKILL
 *   direction: KAPI_SIGNAL_RECEIVE
 *   action: KAPI_SIGNAL_ACTION_RETURN
 *   condition: The caller waits for the mmap lock or for a page.
 *   error: -EINTR
 *   timing: KAPI_SIGNAL_TIME_DURING
 *   restartable: no
 *
 * side-effect: KAPI_EFFECT_ALLOC_MEMORY
 *   target: context, completion ring and its file, pinned pages
 *   reversible: yes
 *   desc: Pinned pages count as locked memory of the process, those of a huge page all
 *     together. They are given back when io_destroy() returns.
 *
 * side-effect: KAPI_EFFECT_MODIFY_STATE
 *   target: address space, table of contexts, fs.aio-nr
 *   reversible: yes
 *   desc: As for io_setup().
 *
 * state-trans: context
 *   from: none
 *   to: live
 *   condition: success
 *   desc: Until io_destroy(), or until the last process that uses the address space
 *     ends or calls execve().
 *
 * capability: CAP_IPC_LOCK
 *   type: KAPI_CAP_BYPASS_CHECK
 *   allows: More pinned memory than RLIMIT_MEMLOCK.
 *   without: EAGAIN
 *   condition: In the initial user namespace.
 *   evidence: setup2.locked_memory
 *
 * constraint: Nothing is left of a call that fails
 *   desc: No pinned page, no locked memory, no share of fs.aio-nr.
 *   evidence: setup2.many_that_fail
 *
 * since-version: 7.3
 *
 * examples: struct iocb *iocbs = aligned_alloc(64, 128 * sizeof(*iocbs));
 *   aio_context_t ctx = 0;
 *   memset(iocbs, 0, 128 * sizeof(*iocbs));
 *   if (syscall(SYS_io_setup2, 128, IOCTX_FLAG_USERIOCB, iocbs, &ctx))
 *           err(1, "io_setup2");
 *
 * notes: Pinned anonymous memory is copied by fork() at once: the pages that are pinned
 *   stay with the parent. The call has the number 510, on architectures that can have Rust
 *   code in the kernel.
 */
SYSCALL_DEFINE4(io_setup2, u32, nr_events, u32, flags,
		struct iocb __user *, iocbs, aio_context_t __user *, ctxp)
{
	return aio_setup2_context(nr_events, flags, iocbs, ctxp, AIO_ABI_NATIVE);
}
#endif

/**
 * sys_io_destroy - End an asynchronous I/O context
 * @ctx: Id of the context, from io_setup()
 *
 * long-desc: Takes the context out of the table of the address space, so that no
 *   call finds it any longer, wakes those who wait for its events, unmaps the ring,
 *   cancels what can be cancelled, and waits until all operations have ended. Only
 *   then are the buffers of the operations the caller's again. Events that were not
 *   taken are lost.
 *
 * context-flags: KAPI_CTX_PROCESS | KAPI_CTX_SLEEPABLE
 *
 * param: ctx
 *   type: KAPI_TYPE_UINT
 *   flags: KAPI_PARAM_IN
 *   constraint-type: KAPI_CONSTRAINT_CUSTOM
 *   constraint: The address of the ring of a live context of this address space,
 *     where the ring has its header.
 *   evidence: setup_destroy.destroy_bad_id
 *
 * return:
 *   type: KAPI_TYPE_INT
 *   check-type: KAPI_RETURN_EXACT
 *   success: 0
 *   desc: Zero; no operation of the context is in flight.
 *
 * error: EINVAL, no such context
 *   desc: There is no ring at this address, its id field is not that of a context, or
 *     the context has another address. Never EFAULT: what can't be read is no context.
 *   evidence: setup_destroy.destroy_bad_id
 *
 * error: EINVAL, another thread destroys the context
 *   desc: Of several that try at the same time one succeeds; the others don't wait.
 *   evidence: setup_destroy.destroy_race_has_one_winner
 *
 * error: ENOSYS, the kernel was built without CONFIG_AIO
 *   evidence: config CONFIG_AIO=n
 *
 * lock: mm->ioctx_lock
 *   type: KAPI_LOCK_SPINLOCK
 *   acquired: yes
 *   released: yes
 *   desc: While the context is taken out of the table.
 *
 * lock: mm->mmap_lock
 *   type: KAPI_LOCK_SEMAPHORE
 *   acquired: yes
 *   released: yes
 *   desc: For writing, while the ring is unmapped.
 *
 * lock: cancel list of the context
 *   type: KAPI_LOCK_SPINLOCK
 *   acquired: yes
 *   released: yes
 *   desc: With interrupts off, while what can be cancelled is.
 *
 * signal: any
 *   direction: KAPI_SIGNAL_RECEIVE
 *   action: KAPI_SIGNAL_ACTION_DEFAULT
 *   condition: Operations are in flight that can't be cancelled.
 *   desc: The wait is not interrupted, not even by SIGKILL.
 *   timing: KAPI_SIGNAL_TIME_DURING
 *   interruptible: no
 *   restartable: no
 *
 * side-effect: KAPI_EFFECT_FREE_MEMORY
 *   target: context, completion ring and its file
 *   reversible: no
 *   desc: The ring is unmapped before the wait. fs.aio-nr goes back at once.
 *
 * side-effect: KAPI_EFFECT_MODIFY_STATE
 *   target: operations in flight
 *   reversible: no
 *   desc: Polls, and operations of drivers that can cancel them, are cancelled. With the
 *     implementation in Rust, so are flushes that have not begun, and in threaded contexts
 *     all that is carried on.
 *
 * state-trans: context
 *   from: live
 *   to: gone
 *   condition: success
 *   desc: Who waits in io_getevents() gets the events that were there, or EINVAL.
 *
 * constraint: All operations have ended
 *   desc: When the call returns 0, the kernel uses no buffer of the context.
 *   evidence: setup_destroy.destroy_waits_for_disk
 *
 * since-version: 2.5
 *
 * examples: syscall(SYS_io_destroy, ctx);
 *
 * notes: The end of the last process that uses the address space, or its execve(), does
 *   the same for each context.
 */
SYSCALL_DEFINE1(io_destroy, aio_context_t, ctx)
{
	return aio_destroy_context(ctx);
}

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
 *
 * lock: cancel list of the context
 *   type: KAPI_LOCK_SPINLOCK
 *   acquired: yes
 *   released: yes
 *   desc: With interrupts off, for polls and for drivers that can cancel; by the
 *     implementation in Rust also for flushes and for what is carried on.
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
 *
 * side-effect: KAPI_EFFECT_SCHEDULE
 *   target: operations
 *   reversible: no
 *   desc: Each holds its file, if it has one, and, with IOCB_FLAG_RESFD, the eventfd until
 *     it has ended, and a place of the ring until its event has been taken. aio_key of
 *     the iocb is set to zero, unless that is in pinned memory.
 *
 * state-trans: operation
 *   from: none
 *   to: in flight, or complete
 *   condition: It is among the first that are counted by the return value.
 *   desc: Each ends in exactly one event.
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
 *
 * signal: any
 *   direction: KAPI_SIGNAL_RECEIVE
 *   action: KAPI_SIGNAL_ACTION_DEFAULT
 *   condition: never
 *   desc: The call does not wait for anything but a page fault.
 *   timing: KAPI_SIGNAL_TIME_DURING
 *   interruptible: no
 *   restartable: no
 *
 * side-effect: KAPI_EFFECT_MODIFY_STATE
 *   target: the operation
 *   reversible: no
 *   desc: It can't be cancelled a second time.
 *
 * state-trans: operation
 *   from: in flight
 *   to: being cancelled
 *   condition: EINPROGRESS
 *   desc: res of the event is 0 for a poll, or the events, if the file became ready at
 *     the same time; -EINTR for a flush; or what the driver says. Of what is carried on
 *     in a threaded context it is -EINTR, what was done before, or the whole result, if
 *     it could not be stopped: what a disk has been given is not taken back.
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
 *
 * lock: wait queue of the context
 *   type: KAPI_LOCK_SPINLOCK
 *   acquired: yes
 *   released: yes
 *   desc: With interrupts off, when the caller begins and ends to wait.
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
 *
 * state-trans: event
 *   from: in the ring
 *   to: taken
 *   condition: It is among those that are counted by the return value.
 *   desc: In the order in which the operations ended.
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
 *
 * lock: wait queue of the context
 *   type: KAPI_LOCK_SPINLOCK
 *   acquired: yes
 *   released: yes
 *   desc: With interrupts off, when the caller begins and ends to wait.
 *
 * signal: any that the mask lets through
 *   direction: KAPI_SIGNAL_RECEIVE
 *   action: KAPI_SIGNAL_ACTION_RETURN
 *   condition: No event was stored.
 *   desc: The handler runs with the mask of the call, and EINTR is returned. If there is
 *     no handler, the call is restarted.
 *   error: -EINTR
 *   timing: KAPI_SIGNAL_TIME_DURING
 *   interruptible: yes
 *   restartable: yes
 *   evidence: pgetevents.signal_while_waiting
 *
 * side-effect: KAPI_EFFECT_MODIFY_STATE
 *   target: signal mask of the caller
 *   reversible: yes
 *   desc: Restored when the call returns, or after the handlers have run.
 *
 * side-effect: KAPI_EFFECT_MODIFY_STATE
 *   target: completion ring
 *   reversible: no
 *   desc: The events that were stored are taken out, which makes room for operations.
 *
 * state-trans: event
 *   from: in the ring
 *   to: taken
 *   condition: It is among those that are counted by the return value.
 *   desc: In the order in which the operations ended.
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
COMPAT_SYSCALL_DEFINE2(io_setup, unsigned int, nr_events, u32 __user *, ctx32p)
{
	return aio_setup_context(nr_events, ctx32p, AIO_ABI_COMPAT);
}

#ifdef CONFIG_AIO_SETUP2
COMPAT_SYSCALL_DEFINE4(io_setup2, u32, nr_events, u32, flags,
		       compat_uptr_t, iocbs, u32 __user *, ctx32p)
{
	return aio_setup2_context(nr_events, flags, compat_ptr(iocbs), ctx32p,
				  AIO_ABI_COMPAT);
}
#endif

COMPAT_SYSCALL_DEFINE3(io_submit, compat_aio_context_t, ctx_id,
		       int, nr, compat_uptr_t __user *, iocbpp)
{
	return aio_submit(ctx_id, nr, iocbpp, AIO_ABI_COMPAT);
}

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

void kiocb_set_cancel_fn(struct kiocb *iocb, kiocb_cancel_fn *cancel)
{
	aio_set_cancel_fn(iocb, cancel);
}
EXPORT_SYMBOL(kiocb_set_cancel_fn);
