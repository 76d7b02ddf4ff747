// SPDX-License-Identifier: GPL-2.0

#include <linux/mm.h>
#include <linux/page_ref.h>
#include <linux/uaccess.h>

__rust_helper struct folio *rust_helper_page_folio(struct page *page)
{
	return page_folio(page);
}

__rust_helper unsigned long rust_helper_folio_nr_pages(const struct folio *folio)
{
	return folio_nr_pages(folio);
}

__rust_helper int rust_helper_folio_ref_count(const struct folio *folio)
{
	return folio_ref_count(folio);
}

__rust_helper unsigned long rust_helper_page_to_pfn(const struct page *page)
{
	return page_to_pfn(page);
}

__rust_helper unsigned long rust_helper_untagged_addr(unsigned long addr)
{
	return untagged_addr(addr);
}
