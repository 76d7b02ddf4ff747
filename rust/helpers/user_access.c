// SPDX-License-Identifier: GPL-2.0

#include <linux/uaccess.h>

/* get_user() without a call. */
__rust_helper int rust_helper_get_user_u32(u32 *val, const u32 __user *ptr)
{
	might_fault();
	return get_user_inline(*val, ptr);
}

/* get_user() without a call. */
__rust_helper int rust_helper_get_user_ulong(unsigned long *val,
					     const unsigned long __user *ptr)
{
	might_fault();
	return get_user_inline(*val, ptr);
}

/* put_user() without a call. */
__rust_helper int rust_helper_put_user_u32(u32 val, u32 __user *ptr)
{
	might_fault();
	return put_user_inline(val, ptr);
}

__rust_helper int rust_helper_put_user_ulong(unsigned long val,
					     unsigned long __user *ptr)
{
	return put_user(val, ptr);
}

/*
 * copy_from_user() of @n words, a small constant, without a call. The scope of a
 * user access can't be opened in one function and closed in another, so that the
 * loop has to be here.
 */
__rust_helper int rust_helper_get_user_words(u64 *to, const u64 __user *from, size_t n)
{
	if (!IS_ENABLED(CONFIG_HAVE_EFFICIENT_UNALIGNED_ACCESS))
		return copy_from_user(to, from, n * sizeof(*to)) ? -EFAULT : 0;

	might_fault();
	scoped_user_read_access_size(from, n * sizeof(*from), efault) {
		for (size_t i = 0; i < n; i++)
			unsafe_get_user(to[i], from + i, efault);
	}
	return 0;

efault:
	return -EFAULT;
}

/*
 * copy_to_user() of @n groups of four words, less than a page, without a call; the
 * loop is here for the same reason. Unlike copy_to_user() it does not check that
 * @from is within one object.
 */
__rust_helper int rust_helper_put_user_groups(void __user *to, const void *from, size_t n)
{
	const size_t group = 4 * sizeof(u64);

	might_fault();
	scoped_user_write_access_size(to, n * group, efault) {
		for (size_t i = 0; i < n; i++)
			unsafe_copy_to_user(to + i * group, from + i * group, group, efault);
	}
	return 0;

efault:
	return -EFAULT;
}
