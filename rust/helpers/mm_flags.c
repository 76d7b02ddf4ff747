// SPDX-License-Identifier: GPL-2.0

#include <linux/mm.h>

__rust_helper bool rust_helper_mm_flags_test(int flag, const struct mm_struct *mm)
{
	return mm_flags_test(flag, mm);
}

__rust_helper bool rust_helper_mm_flags_test_and_set(int flag, struct mm_struct *mm)
{
	return mm_flags_test_and_set(flag, mm);
}
