// SPDX-License-Identifier: GPL-2.0

#include <linux/blk_plug.h>

/* Inline stubs without CONFIG_BLOCK. */

__rust_helper void rust_helper_blk_start_plug(struct blk_plug *plug)
{
	blk_start_plug(plug);
}

__rust_helper void rust_helper_blk_finish_plug(struct blk_plug *plug)
{
	blk_finish_plug(plug);
}
