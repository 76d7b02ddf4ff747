// SPDX-License-Identifier: GPL-2.0
/*
 * IOCB_CMD_FSYNC and IOCB_CMD_FDSYNC.
 *
 * Held here: the fields that have to be zero, that a file without fsync is
 * refused by io_submit() and that the result of the file system's fsync is told
 * by the event, whatever the file was opened for; eventfds; many at once; that
 * io_destroy() and the end of the process wait for them; and that one that is
 * cancelled has one event. What has begun, and what has not, is in fuse.c.
 */
#include <sys/epoll.h>
#include <sys/wait.h>
#include "../kselftest_harness.h"
#include "aio_test.h"

#define NR	64

FIXTURE(fsync) {
	aio_context_t ctx;
	int fd;
	struct iocb iocb;
	struct io_event event;
};

FIXTURE_VARIANT(fsync) {
	int opcode;
	bool disk;
};

FIXTURE_VARIANT_ADD(fsync, fsync_file) {
	.opcode = IOCB_CMD_FSYNC, .disk = true,
};

FIXTURE_VARIANT_ADD(fsync, fdsync_file) {
	.opcode = IOCB_CMD_FDSYNC, .disk = true,
};

FIXTURE_VARIANT_ADD(fsync, fsync_tmpfs) {
	.opcode = IOCB_CMD_FSYNC, .disk = false,
};

FIXTURE_VARIANT_ADD(fsync, fdsync_tmpfs) {
	.opcode = IOCB_CMD_FDSYNC, .disk = false,
};

FIXTURE_SETUP(fsync)
{
	ASSERT_EQ(0, io_setup(NR, &self->ctx));
	self->fd = variant->disk ? aio_disk_file(0) : aio_mem_file();
	ASSERT_GE(self->fd, 0);
	ASSERT_EQ(5, write(self->fd, "dirty", 5));
	aio_prep(&self->iocb, variant->opcode, self->fd, NULL, 0, 0);
}

FIXTURE_TEARDOWN(fsync)
{
	EXPECT_EQ(0, aio_drain(self->ctx));
}

TEST_F(fsync, completes)
{
	int i;

	for (i = 0; i < 5; i++) {
		ASSERT_EQ(5, write(self->fd, "dirty", 5));
		EXPECT_RES(self->ctx, &self->iocb, 0);
	}
}

TEST_F(fsync, any_open_mode)
{
	int mode[] = { O_RDONLY, O_WRONLY, O_RDWR };
	size_t i;

	for (i = 0; i < ARRAY_SIZE(mode); i++) {
		self->iocb.aio_fildes = aio_reopen(self->fd, mode[i]);
		EXPECT_RES(self->ctx, &self->iocb, 0);
		close(self->iocb.aio_fildes);
	}
}

TEST_F(fsync, fields_must_be_zero)
{
	struct iocb *cb = &self->iocb;
	struct iocb good = *cb;

	cb->aio_buf = 1;
	EXPECT_REFUSED(self->ctx, cb, -EINVAL);
	*cb = good;
	cb->aio_nbytes = 1;
	EXPECT_REFUSED(self->ctx, cb, -EINVAL);
	*cb = good;
	cb->aio_offset = 1;
	EXPECT_REFUSED(self->ctx, cb, -EINVAL);
	cb->aio_offset = -1;
	EXPECT_REFUSED(self->ctx, cb, -EINVAL);
	*cb = good;
	cb->aio_rw_flags = RWF_DSYNC;
	EXPECT_REFUSED(self->ctx, cb, -EINVAL);
	cb->aio_rw_flags = 1U << 31;
	EXPECT_REFUSED(self->ctx, cb, -EINVAL);
	*cb = good;
	cb->aio_reserved2 = 1;
	EXPECT_REFUSED(self->ctx, cb, -EINVAL);
	*cb = good;
	cb->aio_nbytes = ~0ULL;
	EXPECT_REFUSED(self->ctx, cb, -EINVAL);
	/* These mean nothing here. */
	*cb = good;
	cb->aio_reqprio = -1;
	cb->aio_flags = IOCB_FLAG_IOPRIO | 1U << 31;
	cb->aio_resfd = -1;
	cb->aio_key = 99;
	EXPECT_RES(self->ctx, cb, 0);
	EXPECT_EQ(0, cb->aio_key);
}

TEST_F(fsync, bad_descriptor)
{
	int closed = dup(self->fd), path = aio_reopen(self->fd, O_PATH);

	close(closed);
	self->iocb.aio_fildes = closed;
	EXPECT_REFUSED(self->ctx, &self->iocb, -EBADF);
	self->iocb.aio_fildes = -1;
	EXPECT_REFUSED(self->ctx, &self->iocb, -EBADF);
	self->iocb.aio_fildes = path;
	EXPECT_REFUSED(self->ctx, &self->iocb, -EBADF);
	/* It is told before the fields. */
	self->iocb.aio_buf = 1;
	EXPECT_REFUSED(self->ctx, &self->iocb, -EBADF);
}

/* Files that have no fsync. */
TEST_F(fsync, file_without_fsync)
{
	int p[2], fd[5];
	size_t i;

	ASSERT_EQ(0, pipe(p));
	fd[0] = p[0];
	fd[1] = p[1];
	fd[2] = eventfd(0, 0);
	fd[3] = epoll_create1(0);
	fd[4] = open("/dev/null", O_RDWR);
	for (i = 0; i < ARRAY_SIZE(fd); i++) {
		self->iocb.aio_fildes = fd[i];
		EXPECT_REFUSED(self->ctx, &self->iocb, -EINVAL);
	}
}

TEST_F(fsync, resfd)
{
	int efd = eventfd(0, EFD_NONBLOCK);
	struct io_event events[NR];
	struct iocb *list[NR];
	__u64 count;
	int i;

	self->iocb.aio_flags = IOCB_FLAG_RESFD;
	self->iocb.aio_resfd = -1;
	EXPECT_REFUSED(self->ctx, &self->iocb, -EBADF);
	self->iocb.aio_resfd = self->fd;
	EXPECT_REFUSED(self->ctx, &self->iocb, -EINVAL);
	self->iocb.aio_resfd = efd;
	/* Refused: no signal. */
	self->iocb.aio_buf = 1;
	EXPECT_REFUSED(self->ctx, &self->iocb, -EINVAL);
	EXPECT_EQ(-1, read(efd, &count, sizeof(count)));
	self->iocb.aio_buf = 0;
	/* The same iocb, many times at once. */
	for (i = 0; i < NR; i++)
		list[i] = &self->iocb;
	ASSERT_EQ(NR, io_submit(self->ctx, NR, list));
	ASSERT_EQ(NR, io_getevents(self->ctx, NR, NR, events, NULL));
	for (i = 0; i < NR; i++)
		EXPECT_EVENT(&events[i], &self->iocb, 0);
	/* The signal comes after the event; the destruction waits for it. */
	ASSERT_EQ(0, io_destroy(self->ctx));
	EXPECT_EQ(sizeof(count), read(efd, &count, sizeof(count)));
	EXPECT_EQ(NR, count);
	self->ctx = 0;
	ASSERT_EQ(0, io_setup(1, &self->ctx));
}

/* The request keeps the file, and lasts while the context is destroyed. */
TEST_F(fsync, close_and_destroy)
{
	int efd = eventfd(0, EFD_NONBLOCK);
	struct iocb iocb[NR], *list[NR];
	__u64 count;
	int i;

	for (i = 0; i < NR; i++) {
		aio_prep(&iocb[i], variant->opcode, self->fd, NULL, 0, 0);
		iocb[i].aio_flags = IOCB_FLAG_RESFD;
		iocb[i].aio_resfd = efd;
		list[i] = &iocb[i];
	}
	ASSERT_EQ(NR, io_submit(self->ctx, NR, list));
	close(self->fd);
	EXPECT_EQ(0, io_destroy(self->ctx));
	EXPECT_EQ(sizeof(count), read(efd, &count, sizeof(count)));
	EXPECT_EQ(NR, count);
	self->ctx = 0;
	ASSERT_EQ(0, io_setup(1, &self->ctx));
}

/*
 * The event comes as it would have, unless a worker has not begun: the C code
 * has nothing to cancel.
 */
TEST_F(fsync, cancelled_or_not)
{
	struct io_event event;
	int i;

	for (i = 0; i < (aio_long() ? 100 : 25); i++) {
		long cancelled;

		ASSERT_EQ(1, aio_submit_one(self->ctx, &self->iocb));
		cancelled = io_cancel(self->ctx, &self->iocb, &event);
		if (cancelled != -EINVAL) {
			EXPECT_EQ(-EINPROGRESS, cancelled);
			EXPECT_TRUE(aio_is_rust());
		}
		EXPECT_EQ(-EINVAL, io_cancel(self->ctx, &self->iocb, &event));
		ASSERT_EQ(1, io_getevents(self->ctx, 1, 1, &self->event, NULL));
		EXPECT_EVENT(&self->event, &self->iocb,
			     cancelled == -EINPROGRESS ? -EINTR : 0);
	}
	EXPECT_EQ(0, aio_drain(self->ctx));
}

/* Among other requests, none is lost or doubled. */
TEST_F(fsync, among_writes)
{
	struct iocb iocb[NR], *list[NR];
	struct io_event events[NR];
	int round, i;

	for (round = 0; round < 20; round++) {
		for (i = 0; i < NR; i++) {
			if (i % 3 == 2)
				aio_prep(&iocb[i], variant->opcode, self->fd,
					 NULL, 0, 0);
			else
				aio_prep(&iocb[i], IOCB_CMD_PWRITE, self->fd,
					 "data", 4, i * 100);
			list[i] = &iocb[i];
		}
		ASSERT_EQ(NR, io_submit(self->ctx, NR, list));
		ASSERT_EQ(NR, io_getevents(self->ctx, NR, NR, events, NULL));
		for (i = 0; i < NR; i++) {
			struct iocb *cb = (void *)(uintptr_t)events[i].obj;

			ASSERT_TRUE(cb >= iocb && cb < iocb + NR);
			EXPECT_EVENT(&events[i], cb,
				     (cb - iocb) % 3 == 2 ? 0 : 4);
			cb->aio_data = 0;
		}
	}
}

/* A process that ends at once leaves nothing. */
TEST_F(fsync, exit_in_flight)
{
	long long before = aio_nr();
	int round;

	for (round = 0; round < 20; round++) {
		int status = -1;
		pid_t pid = fork();

		if (!pid) {
			aio_context_t ctx = 0;
			int i;

			if (io_setup(NR, &ctx))
				_exit(1);
			for (i = 0; i < NR; i++)
				if (aio_submit_one(ctx, &self->iocb) != 1)
					_exit(2);
			_exit(0);
		}
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		EXPECT_EQ(0, status);
		EXPECT_EQ(before, aio_nr());
	}
}

/* The file system's answer is in the event. */
TEST(result_of_fsync)
{
	int fd = open("/proc/self", O_RDONLY | O_DIRECTORY);
	int dir = open("/dev/shm", O_RDONLY | O_DIRECTORY);
	int ops[] = { IOCB_CMD_FSYNC, IOCB_CMD_FDSYNC };
	struct io_event event = { 0 };
	aio_context_t ctx = 0;
	struct iocb iocb;
	size_t i, k;
	int file[2] = { fd, dir };

	ASSERT_EQ(0, io_setup(1, &ctx));
	for (i = 0; i < ARRAY_SIZE(ops); i++) {
		for (k = 0; k < ARRAY_SIZE(file); k++) {
			long want, got;

			if (file[k] < 0)
				continue;
			want = aio_result(i ? fdatasync(file[k]) :
					  fsync(file[k]));
			aio_prep(&iocb, ops[i], file[k], NULL, 0, 0);
			got = aio_run(ctx, &iocb, &event);
			/* Without fsync both say EINVAL. */
			EXPECT_EQ(want, got == 1 ? event.res : got);
		}
	}
}

TEST_HARNESS_MAIN
