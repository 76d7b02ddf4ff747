// SPDX-License-Identifier: GPL-2.0

#include <linux/highmem.h>
#include <linux/pagemap.h>

__rust_helper struct folio *
rust_helper___filemap_get_folio(struct address_space *mapping, pgoff_t index,
				fgf_t fgf_flags, gfp_t gfp)
{
	return __filemap_get_folio(mapping, index, fgf_flags, gfp);
}

__rust_helper void rust_helper_folio_get(struct folio *folio)
{
	folio_get(folio);
}

__rust_helper void rust_helper_folio_put(struct folio *folio)
{
	folio_put(folio);
}

__rust_helper void *rust_helper_folio_address(const struct folio *folio)
{
	return folio_address(folio);
}

__rust_helper loff_t rust_helper_folio_pos(const struct folio *folio)
{
	return folio_pos(folio);
}

__rust_helper bool rust_helper_folio_test_writeback(const struct folio *folio)
{
	return folio_test_writeback(folio);
}

/*
 * Where there is nothing to do, not even the pointer is to be read: the macro tells,
 * which is not a number on all architectures.
 */
__rust_helper void rust_helper_flush_dcache_folio_at(struct folio **folio)
{
#if ARCH_IMPLEMENTS_FLUSH_DCACHE_PAGE
	flush_dcache_folio(READ_ONCE(*folio));
#endif
}

__rust_helper struct inode *rust_helper_file_inode(const struct file *f)
{
	return file_inode(f);
}

__rust_helper void *rust_helper_alloc_inode_sb(struct super_block *sb,
					       struct kmem_cache *cache,
					       gfp_t gfp)
{
	return alloc_inode_sb(sb, cache, gfp);
}
