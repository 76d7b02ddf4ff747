// SPDX-License-Identifier: GPL-2.0
/*
 * Seeing into AIO, as far as only C can say it: the tracepoints, fs.aio-stats, and
 * the file /proc/PID/aio. What they tell is in observe.rs and trace.rs.
 */
#include <linux/fs.h>
#include <linux/init.h>
#include <linux/jump_label.h>
#include <linux/mutex.h>
#include <linux/proc_fs.h>
#include <linux/ptrace.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/seq_file.h>
#include <linux/sysctl.h>

#include "../proc/internal.h"
#include "aio.h"

#define CREATE_TRACE_POINTS
#define CREATE_RUST_TRACE_POINTS
#include <trace/events/aio.h>

struct aio_observers aio_observers = {
	.key = STATIC_KEY_FALSE_INIT,
};

/* A tracepoint that io_submit() feeds is switched on. */
int aio_observe(void)
{
	static_branch_inc(&aio_observers.key);
	return 0;
}

void aio_unobserve(void)
{
	static_branch_dec(&aio_observers.key);
}

int aio_stats;

#ifdef CONFIG_SYSCTL
static int aio_stats_handler(const struct ctl_table *table, int write,
			     void *buffer, size_t *lenp, loff_t *ppos)
{
	static DEFINE_MUTEX(lock);
	int old, ret;

	guard(mutex)(&lock);
	old = aio_stats;
	ret = proc_dointvec_minmax(table, write, buffer, lenp, ppos);
	if (aio_stats && !old)
		aio_observe();
	else if (!aio_stats && old)
		aio_unobserve();
	return ret;
}

static const struct ctl_table aio_observe_sysctls[] = {
	{
		.procname	= "aio-stats",
		.data		= &aio_stats,
		.maxlen		= sizeof(aio_stats),
		.mode		= 0644,
		.proc_handler	= aio_stats_handler,
		.extra1		= SYSCTL_ZERO,
		.extra2		= SYSCTL_ONE,
	},
};

static int __init aio_observe_init(void)
{
	register_sysctl_init("fs", aio_observe_sysctls);
	return 0;
}
fs_initcall(aio_observe_init);
#endif

#ifdef CONFIG_PROC_FS
/*
 * Positions in /proc/PID/aio: 0 is the first line, and i + 1 the context whose
 * index in the table is i. A context that ends while the file is read is left out,
 * and others stay where they are.
 */
static void *aio_seq_find(struct seq_file *m, loff_t *pos)
{
	long index;

	if (!*pos)
		return SEQ_START_TOKEN;
	if (*pos > LONG_MAX)
		return NULL;
	index = aio_proc_next(m->private, *pos - 1);
	if (index < 0)
		return NULL;
	*pos = index + 1;
	return pos;
}

static void *aio_seq_start(struct seq_file *m, loff_t *pos)
{
	return aio_seq_find(m, pos);
}

static void *aio_seq_next(struct seq_file *m, void *v, loff_t *pos)
{
	++*pos;
	return aio_seq_find(m, pos);
}

static void aio_seq_stop(struct seq_file *m, void *v)
{
}

static int aio_seq_show(struct seq_file *m, void *v)
{
	long index = v == SEQ_START_TOKEN ? -1 : *(loff_t *)v - 1;

	aio_proc_show(m, m->private, index, READ_ONCE(aio_stats));
	return 0;
}

static const struct seq_operations aio_seq_ops = {
	.start	= aio_seq_start,
	.next	= aio_seq_next,
	.stop	= aio_seq_stop,
	.show	= aio_seq_show,
};

/*
 * As proc_mem_open() with PTRACE_MODE_READ, which /proc/PID/maps is opened by; but
 * that has a reference that keeps the address space, for a moment, and if the
 * process ends in this moment, then the reader has to wait for the end of its requests.
 */
static struct mm_struct *aio_mm_open(struct inode *inode)
{
	struct task_struct *task = get_proc_task(inode);
	struct mm_struct *mm = NULL;
	int err;

	if (!task)
		return ERR_PTR(-ESRCH);

	err = down_read_killable(&task->signal->exec_update_lock);
	if (err)
		goto out_task;

	task_lock(task);
	if (task->mm && !(task->flags & PF_KTHREAD)) {
		mm = task->mm;
		mmgrab(mm);
	}
	task_unlock(task);

	err = -ESRCH;
	if (!mm)
		goto out_unlock;
	err = 0;
	if (mm != current->mm &&
	    !ptrace_may_access(task, PTRACE_MODE_READ_FSCREDS) &&
	    !perfmon_capable()) {
		mmdrop(mm);
		err = -EACCES;
	}
out_unlock:
	up_read(&task->signal->exec_update_lock);
out_task:
	put_task_struct(task);
	return err ? ERR_PTR(err) : mm;
}

static int proc_pid_aio_open(struct inode *inode, struct file *file)
{
	struct mm_struct *mm = aio_mm_open(inode);
	int err;

	if (IS_ERR(mm))
		return PTR_ERR(mm);

	err = seq_open(file, &aio_seq_ops);
	if (err) {
		mmdrop(mm);
		return err;
	}
	((struct seq_file *)file->private_data)->private = mm;
	return 0;
}

static int proc_pid_aio_release(struct inode *inode, struct file *file)
{
	struct seq_file *m = file->private_data;

	mmdrop(m->private);
	return seq_release(inode, file);
}

const struct file_operations proc_pid_aio_operations = {
	.open		= proc_pid_aio_open,
	.read		= seq_read,
	.llseek		= seq_lseek,
	.release	= proc_pid_aio_release,
};
#endif
