// SPDX-License-Identifier: GPL-2.0

#include <linux/misc_cgroup.h>

__rust_helper struct misc_cg *rust_helper_get_current_misc_cg(void)
{
	return get_current_misc_cg();
}

__rust_helper void rust_helper_put_misc_cg(struct misc_cg *cg)
{
	put_misc_cg(cg);
}

#ifndef CONFIG_CGROUP_MISC
__rust_helper int rust_helper_misc_cg_set_capacity(enum misc_res_type type, u64 capacity)
{
	return misc_cg_set_capacity(type, capacity);
}

__rust_helper int rust_helper_misc_cg_try_charge(enum misc_res_type type, struct misc_cg *cg,
						 u64 amount)
{
	return misc_cg_try_charge(type, cg, amount);
}

__rust_helper void rust_helper_misc_cg_uncharge(enum misc_res_type type, struct misc_cg *cg,
						u64 amount)
{
	misc_cg_uncharge(type, cg, amount);
}
#endif
