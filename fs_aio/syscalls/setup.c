// SPDX-License-Identifier: GPL-2.0
/*
 * The entries of the system calls that make and end contexts, and what ends
 * with a thread. Each hands its arguments on to Rust, see ../syscall.rs.
 */
#include <linux/compat.h>
#include <linux/syscalls.h>

#include "../aio.h"

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
 *   evidence: freeze.kill_during_setup
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
 *   evidence: setup_destroy.ring_header_and_size
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
 *   desc: For writing, to map the ring and, by the implementation in Rust, to charge its
 *     pages; the wait for it ends with a fatal signal.
 *   evidence: code fs/aio.c aio_setup_ring: mmap_write_lock_killable(mm)
 *   evidence: code rust/kernel/mm/shared_pages/mapping.rs map:
 *     MmapWriteGuard::lock_killable(mm)
 *   evidence: code rust/kernel/mm/locked_vm.rs charge_up_to: MmapWriteGuard::lock_killable(mm)
 *   evidence: lockdep freeze.kill_during_setup
 *
 * lock: mm->ioctx_lock
 *   type: KAPI_LOCK_SPINLOCK
 *   acquired: yes
 *   released: yes
 *   desc: While the context is entered in the table of the address space.
 *   evidence: code fs/aio.c ioctx_add_table: spin_lock(&mm->ioctx_lock)
 *   evidence: code rust/kernel/aio/mm.rs table_of: ioctx_lock
 *   evidence: lockdep setup_destroy.table_growth_by_threads
 *
 * signal: SIGKILL
 *   direction: KAPI_SIGNAL_RECEIVE
 *   action: KAPI_SIGNAL_ACTION_RETURN
 *   condition: The caller waits for the mmap lock.
 *   error: -EINTR
 *   timing: KAPI_SIGNAL_TIME_DURING
 *   restartable: no
 *   evidence: killed freeze.kill_during_setup
 *
 * side-effect: KAPI_EFFECT_ALLOC_MEMORY
 *   target: context, completion ring and its file
 *   reversible: yes
 *   desc: The pages of the ring stay in memory. They are charged to the memory control
 *     group and, by the implementation in Rust, to the locked memory of the process.
 *   evidence: memcg.charge_comes_and_goes
 *   evidence: memcg.no_room
 *   evidence: ring.locked_memory
 *
 * side-effect: KAPI_EFFECT_MODIFY_STATE
 *   target: address space, table of contexts, fs.aio-nr
 *   reversible: yes
 *   desc: A mapping named /[aio] appears; fs.aio-nr grows by nr_events.
 *   evidence: setup_destroy.ring_in_proc_maps
 *   evidence: sysctl.nr_counts_what_was_asked
 *
 * state-trans: context
 *   from: none
 *   to: live
 *   condition: success
 *   desc: Until io_destroy(), or until the last process that uses the address space
 *     ends or calls execve().
 *   evidence: setup_destroy.lives_as_long_as_the_memory
 *   evidence: setup_destroy.destroy_bad_id
 *   evidence: ring.execve
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
 *   evidence: pinned.fault_in_the_array
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
 *   evidence: setup_destroy.rings_of_other_kinds
 *   evidence: setup2.no_flags
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
 *   evidence: code rust/kernel/mm/shared_pages/mapping.rs map:
 *     MmapWriteGuard::lock_killable(mm)
 *   evidence: code rust/kernel/mm/locked_vm.rs charge_up_to: MmapWriteGuard::lock_killable(mm)
 *   evidence: lockdep pinned.every_limit
 *
 * lock: mm->ioctx_lock
 *   type: KAPI_LOCK_SPINLOCK
 *   acquired: yes
 *   released: yes
 *   desc: While the context is entered in the table of the address space.
 *   evidence: code rust/kernel/aio/mm.rs table_of: ioctx_lock
 *   evidence: lockdep setup_destroy.rings_of_other_kinds
 *
 * signal: SIGKILL
 *   direction: KAPI_SIGNAL_RECEIVE
 *   action: KAPI_SIGNAL_ACTION_RETURN
 *   condition: The caller waits for the mmap lock or for a page.
 *   error: -EINTR
 *   timing: KAPI_SIGNAL_TIME_DURING
 *   restartable: no
 *   evidence: killed pinned.killed_in_a_fault
 *
 * side-effect: KAPI_EFFECT_ALLOC_MEMORY
 *   target: context, completion ring and its file, pinned pages
 *   reversible: yes
 *   desc: Pinned pages count as locked memory of the process, those of a huge page all
 *     together. They are given back when io_destroy() returns.
 *   evidence: setup2.locked_memory
 *   evidence: setup2.huge_pages_count_as_a_whole
 *   evidence: memcg.pinned_memory
 *
 * side-effect: KAPI_EFFECT_MODIFY_STATE
 *   target: address space, table of contexts, fs.aio-nr
 *   reversible: yes
 *   desc: As for io_setup().
 *   evidence: setup_destroy.rings_of_other_kinds
 *
 * state-trans: context
 *   from: none
 *   to: live
 *   condition: success
 *   desc: Until io_destroy(), or until the last process that uses the address space
 *     ends or calls execve().
 *   evidence: setup_destroy.other_kinds_live_as_long
 *   evidence: setup2.what_the_ring_says
 *   evidence: useriocb.processes_that_end
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
 *   evidence: setup_destroy.destroy_waits_for_submitter
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
 *   evidence: setup_destroy.destroy_waits_for_disk
 *   evidence: setup_destroy.is_left_of_a_request_when_destroy_returns
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
 *   evidence: code fs/aio.c kill_ioctx: spin_lock(&mm->ioctx_lock)
 *   evidence: code fs/aio/table.rs kill: mm::table::<Table>(mm).lock()
 *   evidence: code rust/kernel/aio/mm.rs table_of: ioctx_lock
 *   evidence: lockdep setup_destroy.destroy_race_has_one_winner
 *
 * lock: mm->mmap_lock
 *   type: KAPI_LOCK_SEMAPHORE
 *   acquired: yes
 *   released: yes
 *   desc: For writing, while the ring is unmapped, and, by the implementation in Rust, its
 *     pages are given back.
 *   evidence: code fs/aio.c kill_ioctx: vm_munmap(ctx->mmap_base, ctx->mmap_size)
 *   evidence: code rust/kernel/mm/shared_pages/mapping.rs drop: bindings::vm_munmap(
 *   evidence: code rust/kernel/mm/locked_vm.rs drop: MmapWriteGuard::lock(&self.mm)
 *   evidence: lockdep setup_destroy.destroy_unmaps
 *
 * lock: cancel list of the context
 *   type: KAPI_LOCK_SPINLOCK
 *   acquired: yes
 *   released: yes
 *   desc: With interrupts off, while what can be cancelled is. By whoever gives up the last
 *     use of the context, which may be an RCU callback; this call waits for it.
 *   evidence: code fs/aio.c free_ioctx_users: spin_lock_irq(&ctx->ctx_lock)
 *   evidence: code rust/kernel/aio/cancel.rs cancel_all: self.lock.lock()
 *   evidence: lockdep poll.destroy
 *
 * signal: any
 *   direction: KAPI_SIGNAL_RECEIVE
 *   action: KAPI_SIGNAL_ACTION_DEFAULT
 *   condition: Operations are in flight that can't be cancelled.
 *   desc: The wait is not interrupted, not even by SIGKILL.
 *   timing: KAPI_SIGNAL_TIME_DURING
 *   interruptible: no
 *   restartable: no
 *   evidence: setup_destroy.destroy_gives_back_before_it_waits
 *   evidence: killed setup_destroy.destroy_is_not_killed
 *
 * side-effect: KAPI_EFFECT_FREE_MEMORY
 *   target: context, completion ring and its file
 *   reversible: no
 *   desc: The ring is unmapped before the wait. fs.aio-nr goes back at once.
 *   evidence: setup_destroy.destroy_gives_back_before_it_waits
 *   evidence: setup_destroy.destroy_unmaps
 *
 * side-effect: KAPI_EFFECT_MODIFY_STATE
 *   target: operations in flight
 *   reversible: no
 *   desc: Polls, and operations of drivers that can cancel them, are cancelled. With the
 *     implementation in Rust, so are flushes that have not begun, and in threaded contexts
 *     all that is carried on.
 *   evidence: poll.destroy
 *   evidence: usb_cancel.destroy
 *   evidence: fuse.destroy_with_what_waits
 *   evidence: threads_cancel.destroy
 *
 * state-trans: context
 *   from: live
 *   to: gone
 *   condition: success
 *   desc: Who waits in io_getevents() gets the events that were there, or EINVAL.
 *   evidence: setup_destroy.destroy_wakes_readers
 *   evidence: setup_destroy.destroy_keeps_what_a_reader_took
 *   evidence: setup_destroy.destroy_bad_id
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
#endif
