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

SYSCALL_DEFINE2(io_setup, unsigned int, nr_events, aio_context_t __user *, ctxp)
{
	return aio_setup_context(nr_events, ctxp, AIO_ABI_NATIVE);
}

SYSCALL_DEFINE1(io_destroy, aio_context_t, ctx)
{
	return aio_destroy_context(ctx);
}

SYSCALL_DEFINE3(io_submit, aio_context_t, ctx_id, long, nr,
		struct iocb __user * __user *, iocbpp)
{
	return aio_submit(ctx_id, nr, iocbpp, AIO_ABI_NATIVE);
}

SYSCALL_DEFINE3(io_cancel, aio_context_t, ctx_id, struct iocb __user *, iocb,
		struct io_event __user *, result)
{
	return aio_cancel(ctx_id, iocb);
}

#ifdef CONFIG_64BIT
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
