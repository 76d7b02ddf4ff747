// SPDX-License-Identifier: GPL-2.0

#include <linux/freezer.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/wait.h>

__rust_helper void rust_helper_sched_annotate_sleep(void)
{
	sched_annotate_sleep();
}

__rust_helper int rust_helper_waitqueue_active(struct wait_queue_head *wq_head)
{
	/* The barrier before it is up to the caller: see waitqueue_active(). */
	return waitqueue_active(wq_head);
}

__rust_helper void rust_helper_list_del_init_careful(struct list_head *entry)
{
	list_del_init_careful(entry);
}

__rust_helper void rust_helper_list_del_init(struct list_head *entry)
{
	list_del_init(entry);
}

__rust_helper void rust_helper_list_splice_init(struct list_head *list,
						struct list_head *head)
{
	list_splice_init(list, head);
}

__rust_helper void rust_helper_list_splice_tail_init(struct list_head *list,
						     struct list_head *head)
{
	list_splice_tail_init(list, head);
}

__rust_helper bool rust_helper_list_empty_careful(const struct list_head *head)
{
	return list_empty_careful(head);
}

__rust_helper void rust_helper_cond_resched(void)
{
	cond_resched();
}

__rust_helper int rust_helper_fatal_signal_pending(struct task_struct *p)
{
	return fatal_signal_pending(p);
}

__rust_helper bool rust_helper_try_to_freeze(void)
{
	return try_to_freeze();
}
