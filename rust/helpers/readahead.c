// SPDX-License-Identifier: GPL-2.0

#include <linux/dcache.h>
#include <linux/fs.h>
#include <linux/pagemap.h>

/* The inode that has the data: that of the file below, if there is one. */
__rust_helper struct inode *rust_helper_file_real_inode(const struct file *file)
{
	return d_real_inode(file_dentry(file));
}

/* It is in a union without a name. */
__rust_helper unsigned int rust_helper_file_ra_pages(const struct file *file)
{
	return READ_ONCE(file->f_ra.ra_pages);
}

__rust_helper loff_t rust_helper_i_size_read(const struct inode *inode)
{
	return i_size_read(inode);
}

__rust_helper size_t rust_helper_folio_size(const struct folio *folio)
{
	return folio_size(folio);
}

__rust_helper bool rust_helper_folio_test_uptodate(const struct folio *folio)
{
	return folio_test_uptodate(folio);
}

__rust_helper int rust_helper_folio_wait_locked_killable(struct folio *folio)
{
	return folio_wait_locked_killable(folio);
}
