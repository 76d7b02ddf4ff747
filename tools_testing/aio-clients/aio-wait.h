/* SPDX-License-Identifier: GPL-2.0 */
#ifndef AIO_WAIT_H
#define AIO_WAIT_H

#include <linux/types.h>

/* What aio-wait.so counts, as it is in the file AIO_WAIT_REPORT. */
struct counters {
	__u64 contexts;		/* made */
	__u64 submitted;		/* requests */
	__u64 own_eventfd;		/* those with an eventfd of the program's own */
	__u64 collected;		/* events from system calls */
	__u64 waits;			/* calls that may wait */
	__u64 signalled;		/* sum of what was read from eventfds */
	__u64 balanced;		/* contexts with a signal for each request */
	__u64 signals;		/* of the timer, handled */
	__u64 signals_in_call;	/* those handled in io_pgetevents() */
	__u64 interrupted;		/* calls that returned EINTR */
	__u64 failures;
};

#endif
