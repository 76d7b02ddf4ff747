// SPDX-License-Identifier: GPL-2.0

#include <linux/poll.h>

__rust_helper __poll_t rust_helper_vfs_poll(struct file *file,
					    struct poll_table_struct *pt)
{
	return vfs_poll(file, pt);
}

__rust_helper __u16 rust_helper_mangle_poll(__poll_t val)
{
	return mangle_poll(val);
}

__rust_helper __poll_t rust_helper_demangle_poll(u16 val)
{
	return demangle_poll(val);
}

__rust_helper void rust_helper_init_waitqueue_func_entry(struct wait_queue_entry *wq_entry,
							 wait_queue_func_t func)
{
	init_waitqueue_func_entry(wq_entry, func);
}
