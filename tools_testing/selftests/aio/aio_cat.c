// SPDX-License-Identifier: GPL-2.0
/*
 * Write a file to the standard output, by way of a context of io_setup2(): the
 * example of Documentation/admin-guide/aio.rst.
 *
 *   aio_cat [-p] FILE
 *
 * -p: poll for completions. The file must be on a device that can be polled.
 */
#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_ext.h>
#include <linux/aio_abi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef __NR_io_setup2
#define __NR_io_setup2	510
#endif

#define DEPTH	8		/* reads in flight */
#define SIZE	65536		/* of each */

static struct iocb *iocbs;
static long long result[DEPTH];
static aio_context_t ctx;
static unsigned int flags = IOCTX_FLAG_USERIOCB | IOCTX_FLAG_FIXEDBUFS;

/*
 * The buffers must be in the iocbs before. Where the kernel does not know the call
 * (ENOSYS), or a filter does not (EPERM), a plain context does the same, slower.
 */
static void set_up(void)
{
	if (!syscall(__NR_io_setup2, DEPTH, flags, iocbs, &ctx))
		return;
	if (errno != ENOSYS && errno != EPERM)
		err(1, "io_setup2");
	warn("io_setup2, falling back to io_setup");
	flags = 0;
	if (syscall(__NR_io_setup, DEPTH, &ctx))
		err(1, "io_setup");
}

static void submit(unsigned int i, long long offset)
{
	/* The iocb's index in place of its address. */
	unsigned long slot = flags & IOCTX_FLAG_USERIOCB ? i : (unsigned long)&iocbs[i];

	iocbs[i].aio_offset = offset;
	result[i] = -1;
	if (syscall(__NR_io_submit, ctx, 1L, &slot) != 1)
		err(1, "io_submit");
}

/* Wait until the read of this buffer is over; others may end before. */
static void wait_for(unsigned int i)
{
	struct io_event events[DEPTH];
	long n, k;

	while (result[i] < 0) {
		n = syscall(__NR_io_getevents, ctx, 1L, (long)DEPTH, events, NULL);
		if (n < 0)
			err(1, "io_getevents");
		for (k = 0; k < n; k++) {
			if (events[k].res < 0) {
				errno = -events[k].res;
				err(1, "read");
			}
			/* aio_data is the program's own; obj would do as well. */
			result[events[k].data] = events[k].res;
		}
	}
}

int main(int argc, char **argv)
{
	unsigned int i;
	long long next;
	char *buffers;
	int fd;

	if (argc > 2 && !strcmp(argv[1], "-p")) {
		flags |= IOCTX_FLAG_IOPOLL;
		argv++;
		argc--;
	}
	if (argc != 2)
		errx(2, "usage: aio_cat [-p] FILE");
	fd = open(argv[1], O_RDONLY | O_DIRECT);
	if (fd < 0)
		err(1, "%s", argv[1]);
	buffers = aligned_alloc(4096, DEPTH * SIZE);
	/* The array that the kernel maps is at a multiple of 64 bytes. */
	iocbs = aligned_alloc(64, DEPTH * sizeof(*iocbs));
	if (!buffers || !iocbs)
		err(1, "no memory");
	memset(iocbs, 0, DEPTH * sizeof(*iocbs));
	for (i = 0; i < DEPTH; i++) {
		iocbs[i].aio_lio_opcode = IOCB_CMD_PREAD;
		iocbs[i].aio_fildes = fd;
		iocbs[i].aio_data = i;
		iocbs[i].aio_buf = (unsigned long)(buffers + i * SIZE);
		iocbs[i].aio_nbytes = SIZE;
	}
	set_up();
	for (i = 0; i < DEPTH; i++)
		submit(i, i * SIZE);
	/* A read of less than SIZE is the last one; those behind it read nothing. */
	for (i = 0, next = DEPTH;; i = (i + 1) % DEPTH, next++) {
		wait_for(i);
		if (result[i] && fwrite(buffers + i * SIZE, result[i], 1, stdout) != 1)
			err(1, "write");
		if (result[i] < SIZE)
			break;
		submit(i, next * SIZE);
	}
	if (fflush(stdout))
		err(1, "write");
	/* Unpins everything, after the reads that are still in flight. */
	syscall(__NR_io_destroy, ctx);
	return 0;
}
