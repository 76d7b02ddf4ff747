// SPDX-License-Identifier: GPL-2.0

#include <linux/mm.h>
#include <linux/mmap_lock.h>

__rust_helper void rust_helper_mmap_write_lock(struct mm_struct *mm)
{
	mmap_write_lock(mm);
}

__rust_helper int rust_helper_mmap_write_lock_killable(struct mm_struct *mm)
{
	return mmap_write_lock_killable(mm);
}

__rust_helper void rust_helper_mmap_write_unlock(struct mm_struct *mm)
{
	mmap_write_unlock(mm);
}

__rust_helper void rust_helper_vma_desc_set_flags_mask(struct vm_area_desc *desc,
						       vma_flags_t flags)
{
	vma_desc_set_flags_mask(desc, flags);
}

__rust_helper vma_flags_t rust_helper_legacy_to_vma_flags(vm_flags_t flags)
{
	return legacy_to_vma_flags(flags);
}
