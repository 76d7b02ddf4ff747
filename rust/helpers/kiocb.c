// SPDX-License-Identifier: GPL-2.0

#include <linux/fdtable.h>
#include <linux/fs.h>
#include <linux/ioprio.h>
#include <linux/uaccess.h>
#include <linux/uio.h>

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

/* Inline stub without CONFIG_BLOCK. */
__rust_helper int rust_helper_ioprio_check_cap(int ioprio)
{
	return ioprio_check_cap(ioprio);
}

__rust_helper struct file *rust_helper_files_lookup_fd_raw(struct files_struct *files,
							   unsigned int fd)
{
	return files_lookup_fd_raw(files, fd);
}

__rust_helper bool rust_helper_access_ok(const void __user *ptr, unsigned long size)
{
	return access_ok(ptr, size);
}

__rust_helper void rust_helper_iov_iter_ubuf(struct iov_iter *i, unsigned int direction,
					     void __user *buf, size_t count)
{
	iov_iter_ubuf(i, direction, buf, count);
}
