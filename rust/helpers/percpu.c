// SPDX-License-Identifier: GPL-2.0

#include <linux/cpu.h>
#include <linux/cpumask.h>
#include <linux/percpu.h>
#include <linux/smp.h>

__rust_helper void __percpu *rust_helper___alloc_percpu(size_t size, size_t align)
{
	return __alloc_percpu(size, align);
}

__rust_helper void *rust_helper_this_cpu_ptr(void __percpu *ptr)
{
	return this_cpu_ptr(ptr);
}

__rust_helper void *rust_helper_per_cpu_ptr(void __percpu *ptr, int cpu)
{
	return per_cpu_ptr(ptr, cpu);
}

__rust_helper void rust_helper_this_cpu_inc_ulong(unsigned long __percpu *ptr)
{
	this_cpu_inc(*ptr);
}

/*
 * The sum of a per-CPU counter. C has no function for it, and neither
 * for_each_possible_cpu() nor per_cpu_ptr() can be called from Rust.
 */
__rust_helper unsigned long rust_helper_percpu_sum_ulong(unsigned long __percpu *ptr)
{
	unsigned long sum = 0;
	int cpu;

	for_each_possible_cpu(cpu)
		sum += READ_ONCE(*per_cpu_ptr(ptr, cpu));
	return sum;
}

/* The next one after @cpu, or a negative number. */
__rust_helper int rust_helper_next_possible_cpu(int cpu)
{
	unsigned int next = cpumask_next(cpu, cpu_possible_mask);

	return next < nr_cpu_ids ? next : -1;
}

__rust_helper bool rust_helper_cpu_online(int cpu)
{
	return cpu_online(cpu);
}

__rust_helper void rust_helper_cpus_read_lock(void)
{
	cpus_read_lock();
}

__rust_helper void rust_helper_cpus_read_unlock(void)
{
	cpus_read_unlock();
}

__rust_helper void rust_helper_on_each_cpu_cond(smp_cond_func_t cond_func,
						smp_call_func_t func,
						void *info, bool wait)
{
	on_each_cpu_cond(cond_func, func, info, wait);
}

/* The same for numbers of 32 bits. */
__rust_helper u32 rust_helper_percpu_sum_u32(u32 __percpu *ptr)
{
	u32 sum = 0;
	int cpu;

	for_each_possible_cpu(cpu)
		sum += READ_ONCE(*per_cpu_ptr(ptr, cpu));
	return sum;
}

__rust_helper unsigned int rust_helper_num_possible_cpus(void)
{
	return num_possible_cpus();
}
