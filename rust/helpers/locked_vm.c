// SPDX-License-Identifier: GPL-2.0

#include <linux/mmap_lock.h>
#include <linux/sched/signal.h>

__rust_helper void rust_helper_mmap_write_lock(struct mm_struct *mm)
{
	mmap_write_lock(mm);
}

__rust_helper unsigned long rust_helper_rlimit(unsigned int limit)
{
	return rlimit(limit);
}
