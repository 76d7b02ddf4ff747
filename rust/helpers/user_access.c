// SPDX-License-Identifier: GPL-2.0

#include <linux/uaccess.h>

__rust_helper int rust_helper_get_user_u32(u32 *val, const u32 __user *ptr)
{
	might_fault();
	return get_user_inline(*val, ptr);
}

__rust_helper int rust_helper_get_user_ulong(unsigned long *val,
					     const unsigned long __user *ptr)
{
	might_fault();
	return get_user_inline(*val, ptr);
}

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

/* Copies @n words, which should be a small constant. */
__rust_helper int rust_helper_get_user_words(void *to, const void __user *from, size_t n)
{
	const u64 __user *src = from;
	u64 *dst = to;
	size_t i;

	if (!IS_ENABLED(CONFIG_HAVE_EFFICIENT_UNALIGNED_ACCESS))
		return copy_from_user(to, from, n * sizeof(*src)) ? -EFAULT : 0;

	might_fault();
	if (can_do_masked_user_access())
		src = masked_user_read_access_begin(src);
	else if (!user_read_access_begin(src, n * sizeof(*src)))
		return -EFAULT;
	for (i = 0; i < n; i++)
		unsafe_get_user(dst[i], src + i, fault);
	user_read_access_end();
	return 0;

fault:
	user_read_access_end();
	return -EFAULT;
}

/*
 * Copies a few groups of four words, which are not more than the object that @from
 * is in: there is no check of that, unlike in copy_to_user().
 */
__rust_helper int rust_helper_put_user_groups(void __user *to, const void *from, size_t n)
{
	u64 __user *dst = to;
	const u64 *src = from;

	might_fault();
	if (can_do_masked_user_access())
		dst = masked_user_write_access_begin(dst);
	else if (!user_write_access_begin(dst, n * 4 * sizeof(*dst)))
		return -EFAULT;
	for (; n; n--, dst += 4, src += 4) {
		unsafe_put_user(src[0], dst, fault);
		unsafe_put_user(src[1], dst + 1, fault);
		unsafe_put_user(src[2], dst + 2, fault);
		unsafe_put_user(src[3], dst + 3, fault);
	}
	user_write_access_end();
	return 0;

fault:
	user_write_access_end();
	return -EFAULT;
}
