// SPDX-License-Identifier: GPL-2.0

#include <linux/ktime.h>
#include <linux/sched/signal.h>

__rust_helper ktime_t rust_helper_timespec64_to_ktime(struct timespec64 ts)
{
	return timespec64_to_ktime(ts);
}

__rust_helper void rust_helper_restore_saved_sigmask_unless(bool interrupted)
{
	restore_saved_sigmask_unless(interrupted);
}

/* What get_timespec64() makes of a struct __kernel_timespec, as a time. */
__rust_helper ktime_t rust_helper_kernel_timespec_to_ktime(s64 tv_sec, s64 tv_nsec)
{
	struct timespec64 ts;

	ts.tv_sec = tv_sec;
	/* Zero out the padding in compat mode. */
	if (in_compat_syscall())
		tv_nsec &= 0xFFFFFFFFUL;
	/* In 32-bit mode, this drops the padding. */
	ts.tv_nsec = tv_nsec;
	return timespec64_to_ktime(ts);
}
