// SPDX-License-Identifier: GPL-2.0

#include <linux/cpumask.h>
#include <linux/percpu.h>

__rust_helper void __percpu *rust_helper___alloc_percpu(size_t size, size_t align)
{
	return __alloc_percpu(size, align);
}

__rust_helper void *rust_helper_this_cpu_ptr(void __percpu *ptr)
{
	return this_cpu_ptr(ptr);
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
