// SPDX-License-Identifier: GPL-2.0

#include <linux/percpu-refcount.h>
#include <linux/rcupdate.h>

__rust_helper void rust_helper_percpu_ref_get(struct percpu_ref *ref)
{
	percpu_ref_get(ref);
}

__rust_helper bool rust_helper_percpu_ref_tryget_live_rcu(struct percpu_ref *ref)
{
	return percpu_ref_tryget_live_rcu(ref);
}

__rust_helper void rust_helper_percpu_ref_put(struct percpu_ref *ref)
{
	percpu_ref_put(ref);
}

__rust_helper void rust_helper_percpu_ref_kill(struct percpu_ref *ref)
{
	percpu_ref_kill(ref);
}

/*
 * Whether there is no reference but the initial one. Exact if nobody takes or
 * drops any at the same time; a count that is not in per-CPU mode is not looked
 * at.
 */
__rust_helper bool rust_helper_percpu_ref_is_unused(struct percpu_ref *ref)
{
	unsigned long __percpu *count;
	unsigned long sum = 0;
	int cpu;

	if (!__ref_is_percpu(ref, &count))
		return false;
	for_each_possible_cpu(cpu)
		sum += READ_ONCE(*per_cpu_ptr(count, cpu));
	return sum == 0;
}

/*
 * The end of a count that is_unused() was told of, without the initial reference
 * being dropped: who would take one finds it dead. percpu_ref_exit() may follow.
 */
__rust_helper void rust_helper_percpu_ref_abandon(struct percpu_ref *ref)
{
	WRITE_ONCE(ref->percpu_count_ptr,
		   ref->percpu_count_ptr | __PERCPU_REF_DEAD);
}

__rust_helper void rust_helper_rcu_read_lock_sched(void)
{
	rcu_read_lock_sched();
}

__rust_helper void rust_helper_rcu_read_unlock_sched(void)
{
	rcu_read_unlock_sched();
}
