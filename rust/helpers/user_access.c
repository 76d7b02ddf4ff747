// SPDX-License-Identifier: GPL-2.0

#include <linux/uaccess.h>

__rust_helper int rust_helper_get_user_u32(u32 *val, const u32 __user *ptr)
{
	return get_user(*val, ptr);
}

__rust_helper int rust_helper_get_user_ulong(unsigned long *val,
					     const unsigned long __user *ptr)
{
	return get_user(*val, ptr);
}

__rust_helper int rust_helper_put_user_u32(u32 val, u32 __user *ptr)
{
	return put_user(val, ptr);
}

__rust_helper int rust_helper_put_user_ulong(unsigned long val,
					     unsigned long __user *ptr)
{
	return put_user(val, ptr);
}
