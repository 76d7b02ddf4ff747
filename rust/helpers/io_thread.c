// SPDX-License-Identifier: GPL-2.0

#include <linux/ioprio.h>
#include <linux/resume_user_mode.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>
#include <linux/signal.h>
#include <linux/task_work.h>

__rust_helper int rust_helper_get_current_ioprio(void)
{
	return get_current_ioprio();
}

/* The structure is too large for what its caller needs of it: nothing. */
__rust_helper bool rust_helper_io_thread_get_signal(void)
{
	struct ksignal ksig;

	return get_signal(&ksig);
}

/* What a task does that is about to return to user mode, which such a thread never does. */
__rust_helper void rust_helper_io_thread_work(void)
{
	if (!(current->flags & PF_IO_WORKER))
		return;
	if (test_thread_flag(TIF_NOTIFY_SIGNAL))
		clear_notify_signal();
	if (test_thread_flag(TIF_NOTIFY_RESUME))
		resume_user_mode_work(NULL);
	if (task_work_pending(current))
		task_work_run();
}

__rust_helper void rust_helper_set_notify_signal(struct task_struct *task)
{
	set_notify_signal(task);
}

/* Those of the current process. */
__rust_helper void rust_helper_io_threads_interrupt(void)
{
	struct task_struct *task;

	rcu_read_lock();
	for_each_thread(current, task)
		if (task->flags & PF_IO_WORKER)
			set_notify_signal(task);
	rcu_read_unlock();
}

/*
 * Whether there are no other threads in the current process, but for those that have begun to exit.
 * They say so with this lock held, so of the last two one sees the other.
 */
__rust_helper bool rust_helper_io_threads_alone(void)
{
	struct task_struct *task;
	bool alone = true;

	rcu_read_lock();
	spin_lock_irq(&current->sighand->siglock);
	for_each_thread(current, task) {
		if (!(task->flags & (PF_IO_WORKER | PF_POSTCOREDUMP))) {
			alone = false;
			break;
		}
	}
	spin_unlock_irq(&current->sighand->siglock);
	rcu_read_unlock();
	return alone;
}

/*
 * A signal that the current thread has got for what it did is sent on to a task of its process, or
 * to the process, if that task is gone.
 */
__rust_helper void rust_helper_io_thread_forward_signal(int sig, struct task_struct *to)
{
	struct kernel_siginfo info;
	enum pid_type type;
	sigset_t others;
	int got;

	if (!sigismember(&current->pending.signal, sig))
		return;
	sigfillset(&others);
	sigdelset(&others, sig);
	spin_lock_irq(&current->sighand->siglock);
	got = dequeue_signal(&others, &info, &type);
	spin_unlock_irq(&current->sighand->siglock);
	if (got != sig)
		return;
	/* One that exits takes no signal, but does not say so. */
	if ((to->flags & PF_EXITING) || send_sig(sig, to, 0))
		do_send_sig_info(sig, SEND_SIG_NOINFO, current, PIDTYPE_TGID);
}
