// SPDX-License-Identifier: GPL-2.0

#include <linux/fs.h>
#include <linux/pagemap.h>
#include <linux/uio.h>

/* As kiocb_start_write(), but where that would wait, this returns false. */
__rust_helper bool rust_helper_kiocb_start_write_trylock(struct kiocb *iocb)
{
	struct super_block *sb = file_inode(iocb->ki_filp)->i_sb;

	if (!sb_start_write_trylock(sb))
		return false;
	__sb_writers_release(sb, SB_FREEZE_WRITE);
	return true;
}

__rust_helper bool rust_helper_wake_page_match(struct wait_page_queue *wait_page,
					       struct wait_page_key *key)
{
	return wake_page_match(wait_page, key);
}

__rust_helper void __user *rust_helper_iter_iov_addr(const struct iov_iter *iter)
{
	return iter_iov_addr(iter);
}

/* Of what is left, which may be less than the element. */
__rust_helper size_t rust_helper_iter_iov_len(const struct iov_iter *iter)
{
	return min(iter_iov_len(iter), iter->count);
}
