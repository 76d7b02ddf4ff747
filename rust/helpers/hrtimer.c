// SPDX-License-Identifier: GPL-2.0

#include <linux/hrtimer.h>

__rust_helper void rust_helper_hrtimer_set_expires_range_ns(struct hrtimer *timer,
							    ktime_t time,
							    u64 delta)
{
	hrtimer_set_expires_range_ns(timer, time, delta);
}

/* Inline stub without CONFIG_DEBUG_OBJECTS_TIMERS. */
__rust_helper void rust_helper_destroy_hrtimer_on_stack(struct hrtimer *timer)
{
	destroy_hrtimer_on_stack(timer);
}
