// SPDX-License-Identifier: GPL-2.0

#include <linux/audit.h>
#include <linux/fcntl.h>
#include <linux/sched.h>
#include <linux/unistd.h>

/*
 * The number that a call has in audit records of the current task: a thread that the kernel
 * has created for a 32-bit process is one of that architecture, as its creator was.
 */
#if defined(CONFIG_X86) && defined(__NR_ia32_openat)
#define audit_nr(call) (in_ia32_syscall() ? __NR_ia32_##call : __NR_##call)
#elif defined(CONFIG_ARM64) && defined(CONFIG_COMPAT)
#include <asm/unistd_compat_32.h>
#define audit_nr(call) (is_compat_task() ? __NR_compat32_##call : __NR_##call)
#else
#define audit_nr(call) __NR_##call
#endif

__rust_helper int rust_helper_audit_nr_openat(void)
{
	return audit_nr(openat);
}

__rust_helper int rust_helper_audit_nr_unlinkat(void)
{
	return audit_nr(unlinkat);
}

__rust_helper int rust_helper_audit_nr_renameat2(void)
{
	return audit_nr(renameat2);
}

#undef audit_nr

/* Inline stub without CONFIG_AUDITSYSCALL. */
__rust_helper void rust_helper_audit_syscall_entry(int major, unsigned long a0,
						   unsigned long a1,
						   unsigned long a2,
						   unsigned long a3)
{
	audit_syscall_entry(major, a0, a1, a2, a3);
}

/* audit_syscall_exit() for a call that is not in registers. */
__rust_helper void rust_helper_audit_syscall_exit_result(bool success, long result)
{
#ifdef CONFIG_AUDITSYSCALL
	if (unlikely(audit_context()))
		__audit_syscall_exit(success, result);
#endif
}

__rust_helper bool rust_helper_force_o_largefile(void)
{
	return force_o_largefile();
}
