// SPDX-License-Identifier: GPL-2.0

#include <linux/compat.h>
#include <linux/ktime.h>
#include <linux/sched/signal.h>

__rust_helper ktime_t rust_helper_ktime_set(s64 secs, unsigned long nsecs)
{
	return ktime_set(secs, nsecs);
}

__rust_helper void rust_helper_restore_saved_sigmask_unless(bool interrupted)
{
	restore_saved_sigmask_unless(interrupted);
}

__rust_helper bool rust_helper_in_compat_syscall(void)
{
	return in_compat_syscall();
}
