// SPDX-License-Identifier: GPL-2.0
/*
 * The example of aio(7): a file is read in blocks, several of them at the same time.
 * The events are taken with io_getevents(), or, if it has some, out of the ring.
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/aio_abi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define BLOCK	65536
#define DEPTH	8

/* What an aio_context_t is the address of. */
struct ring {
	__u32 id, nr, head, tail;
	__u32 magic, compat_features, incompat_features, header_length;
	struct io_event events[];
};

/* One event, without a system call if there is one in the ring. */
static struct io_event next_event(aio_context_t ctx)
{
	struct ring *ring = (struct ring *)ctx;
	struct io_event event;
	__u32 head;

	if (ring->magic == 0xa10a10a1 && !ring->incompat_features &&
	    ring->header_length == sizeof(*ring)) {
		head = ring->head;
		if (head != __atomic_load_n(&ring->tail, __ATOMIC_ACQUIRE)) {
			event = ring->events[head];
			__atomic_store_n(&ring->head, (head + 1) % ring->nr,
					 __ATOMIC_RELEASE);
			return event;
		}
	}
	while (syscall(SYS_io_getevents, ctx, 1, 1, &event, NULL) != 1)
		if (errno != EINTR)
			err(1, "io_getevents");
	return event;
}

static void start(aio_context_t ctx, struct iocb *iocb)
{
	long n = syscall(SYS_io_submit, ctx, 1, &iocb);

	if (n != 1)
		err(1, "io_submit");
}

int main(int argc, char *argv[])
{
	const char *path = argc > 1 ? argv[1] : argv[0];
	static char buf[DEPTH][BLOCK];
	struct iocb iocbs[DEPTH], *iocb;
	off_t offset = 0, sum = 0;
	aio_context_t ctx = 0;
	struct io_event event;
	int fd, i, running = 0;
	struct stat st;

	fd = open(path, O_RDONLY);
	if (fd < 0 || fstat(fd, &st))
		err(1, "%s", path);
	if (syscall(SYS_io_setup, DEPTH, &ctx))
		err(1, "io_setup");

	memset(iocbs, 0, sizeof(iocbs));
	for (i = 0; i < DEPTH && offset < st.st_size; i++) {
		iocb = &iocbs[i];
		iocb->aio_lio_opcode = IOCB_CMD_PREAD;
		iocb->aio_fildes = fd;
		iocb->aio_buf = (uintptr_t)buf[i];
		iocb->aio_nbytes = BLOCK;
		iocb->aio_offset = offset;
		start(ctx, iocb);
		offset += BLOCK;
		running++;
	}
	while (running) {
		event = next_event(ctx);
		/* A negative number is an error of this operation. */
		if (event.res < 0)
			errx(1, "%s: %s", path, strerror(-event.res));
		sum += event.res;
		/* The iocb, and the buffer with the data, can be used again. */
		iocb = (struct iocb *)(uintptr_t)event.obj;
		if (offset < st.st_size) {
			iocb->aio_offset = offset;
			start(ctx, iocb);
			offset += BLOCK;
		} else {
			running--;
		}
	}
	if (syscall(SYS_io_destroy, ctx))
		err(1, "io_destroy");
	printf("%jd of %jd bytes\n", (intmax_t)sum, (intmax_t)st.st_size);
	exit(sum == st.st_size ? EXIT_SUCCESS : EXIT_FAILURE);
}
