// SPDX-License-Identifier: GPL-2.0

#include <linux/fs.h>
#include <linux/ioprio.h>

__rust_helper void rust_helper_kiocb_start_write(struct kiocb *iocb)
{
	kiocb_start_write(iocb);
}

__rust_helper void rust_helper_kiocb_end_write(struct kiocb *iocb)
{
	kiocb_end_write(iocb);
}

__rust_helper int rust_helper_kiocb_set_rw_flags(struct kiocb *ki, rwf_t flags,
						 int rw_type)
{
	return kiocb_set_rw_flags(ki, flags, rw_type);
}

__rust_helper int rust_helper_get_current_ioprio(void)
{
	return get_current_ioprio();
}

/* Inline stub without CONFIG_BLOCK. */
__rust_helper int rust_helper_ioprio_check_cap(int ioprio)
{
	return ioprio_check_cap(ioprio);
}
