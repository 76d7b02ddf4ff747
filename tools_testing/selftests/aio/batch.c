// SPDX-License-Identifier: GPL-2.0
/*
 * The iocbs of one io_submit() are independent of each other: each descriptor is
 * looked up when its turn comes, a file is held by the operations on it alone, and an
 * iocb that is refused takes nothing away from those after it.
 */
#include <poll.h>
#include "../kselftest_harness.h"
#include "aio_test.h"

enum { SIZE = 64 };

/* A thread that submits several iocbs at once. */
struct batch {
	struct aio_caller caller;
	struct iocb *list[4];
	long nr;
};

static void *submit_batch(void *arg)
{
	struct batch *b = arg;

	b->caller.tid = aio_gettid();
	b->caller.ret = io_submit(b->caller.ctx, b->nr, b->list);
	b->caller.done = true;
	return NULL;
}

FIXTURE(batch) {
	struct batch b;
	struct iocb iocb[4];
	aio_context_t ctx;
	/* Whose reader the submitter waits in, in the middle of a batch. */
	int gate[2];
	char buf[SIZE];
	char in[SIZE];
};

FIXTURE_SETUP(batch)
{
	int i;

	FOR_PLAIN("io_submit() does not wait");
	ASSERT_EQ(0, io_setup(16, &self->ctx));
	ASSERT_EQ(0, pipe(self->gate));
	memset(&self->b, 0, sizeof(self->b));
	self->b.caller.ctx = self->ctx;
	for (i = 0; i < 4; i++)
		self->b.list[i] = &self->iocb[i];
	aio_pattern(self->buf, SIZE, 1);
}

FIXTURE_TEARDOWN(batch)
{
	io_destroy(self->ctx);
	close(self->gate[0]);
	close(self->gate[1]);
}

/* Submits three iocbs, the second of which waits at the gate. */
static bool start(struct _test_data_batch *self)
{
	aio_prep(&self->iocb[1], IOCB_CMD_PREAD, self->gate[0], self->in, 1, 0);
	self->b.nr = 3;
	return aio_start_blocked(&self->b.caller, submit_batch, SYS_io_submit);
}

static long go_on(struct _test_data_batch *self)
{
	if (write(self->gate[1], "x", 1) != 1)
		return -1;
	return aio_join(&self->b.caller);
}

/* What dup2() has put in the place of a descriptor is what the next iocb uses. */
TEST_F(batch, descriptor_is_replaced)
{
	int a = aio_mem_file(), b = aio_mem_file(), fd = dup(a);
	char buf[SIZE] = "";

	ASSERT_GE(fd, 0);
	aio_prep(&self->iocb[0], IOCB_CMD_PWRITE, fd, self->buf, SIZE, 0);
	aio_prep(&self->iocb[2], IOCB_CMD_PWRITE, fd, self->buf, SIZE, SIZE);
	ASSERT_TRUE(start(self));
	EXPECT_EQ(fd, dup2(b, fd));
	EXPECT_EQ(3, go_on(self));
	EXPECT_EQ(3, aio_drain(self->ctx));
	EXPECT_EQ(SIZE, lseek(a, 0, SEEK_END));
	EXPECT_EQ(2 * SIZE, lseek(b, 0, SEEK_END));
	EXPECT_EQ(SIZE, pread(b, buf, SIZE, SIZE));
	EXPECT_EQ(0, memcmp(buf, self->buf, SIZE));
	close(fd);
	close(a);
	close(b);
}

/* The same with an operation that is still in flight, and holds the file of before. */
TEST_F(batch, descriptor_of_a_poll_is_replaced)
{
	int a = eventfd(0, 0), b = eventfd(1, 0), fd = dup(a);
	struct io_event events[3];

	ASSERT_GE(fd, 0);
	aio_prep(&self->iocb[0], IOCB_CMD_POLL, fd, (void *)POLLIN, 0, 0);
	aio_prep(&self->iocb[2], IOCB_CMD_POLL, fd, (void *)POLLIN, 0, 0);
	ASSERT_TRUE(start(self));
	EXPECT_EQ(fd, dup2(b, fd));
	EXPECT_EQ(3, go_on(self));
	EXPECT_EQ(2, io_getevents(self->ctx, 2, 3, events, NULL));
	EXPECT_EVENT(&events[1], &self->iocb[2], POLLIN);
	/* The first waits for the other file. */
	EXPECT_EQ(0, aio_reap(self->ctx, events, 1));
	EXPECT_EQ(8, write(a, &(__u64){ 1 }, 8));
	EXPECT_EQ(1, io_getevents(self->ctx, 1, 1, events, NULL));
	EXPECT_EVENT(&events[0], &self->iocb[0], POLLIN);
	close(fd);
	close(a);
	close(b);
}

/* A descriptor that was closed is an error, and those before it count. */
TEST_F(batch, descriptor_is_closed)
{
	int a = aio_mem_file(), fd = dup(a);

	ASSERT_GE(fd, 0);
	aio_prep(&self->iocb[0], IOCB_CMD_PWRITE, fd, self->buf, SIZE, 0);
	aio_prep(&self->iocb[2], IOCB_CMD_PWRITE, fd, self->buf, SIZE, SIZE);
	ASSERT_TRUE(start(self));
	close(fd);
	EXPECT_EQ(2, go_on(self));
	EXPECT_EQ(2, aio_drain(self->ctx));
	EXPECT_EQ(SIZE, lseek(a, 0, SEEK_END));
	close(a);
}

/*
 * While the submitter sleeps in one file, it does not keep open another one, of which
 * the operations have ended: the end of a pipe is seen.
 */
TEST_F(batch, file_is_not_held)
{
	char buf[SIZE + 1];
	int other[2];

	ASSERT_EQ(0, pipe(other));
	aio_prep(&self->iocb[0], IOCB_CMD_PWRITE, other[1], self->buf, SIZE, 0);
	aio_prep(&self->iocb[2], IOCB_CMD_PREAD, self->gate[0], self->in, 1, 0);
	ASSERT_TRUE(start(self));
	close(other[1]);
	EXPECT_EQ(SIZE, read(other[0], buf, sizeof(buf)));
	/* Would block if there were a writer. */
	EXPECT_EQ(0, fcntl(other[0], F_SETFL, O_NONBLOCK));
	EXPECT_EQ(0, read(other[0], buf, sizeof(buf)));
	EXPECT_EQ(1, write(self->gate[1], "x", 1));
	EXPECT_EQ(3, go_on(self));
	EXPECT_EQ(3, aio_drain(self->ctx));
	close(other[0]);
}

/* The same if the operation before was not complete at once. */
TEST_F(batch, file_of_a_poll_is_not_held)
{
	char buf[SIZE];
	int other[2];

	ASSERT_EQ(0, pipe(other));
	/* The pipe is full. */
	EXPECT_EQ(0, fcntl(other[1], F_SETFL, O_NONBLOCK));
	while (write(other[1], self->buf, SIZE) == SIZE)
		;
	aio_prep(&self->iocb[0], IOCB_CMD_POLL, other[1], (void *)POLLOUT, 0, 0);
	aio_prep(&self->iocb[2], IOCB_CMD_PREAD, self->gate[0], self->in, 1, 0);
	ASSERT_TRUE(start(self));
	close(other[1]);
	/* Emptying it ends the poll, which has the last reference. */
	EXPECT_EQ(0, fcntl(other[0], F_SETFL, O_NONBLOCK));
	while (read(other[0], buf, SIZE) > 0)
		;
	for (int i = 0; i < 5000 * aio_slow() && read(other[0], buf, SIZE) != 0; i++)
		aio_sleep_ms(1);
	EXPECT_EQ(0, read(other[0], buf, SIZE));
	EXPECT_EQ(1, write(self->gate[1], "x", 1));
	EXPECT_EQ(3, go_on(self));
	EXPECT_EQ(3, aio_drain(self->ctx));
	close(other[0]);
}

/* Returns how many requests the context takes before it is full. */
static long room(aio_context_t ctx, int null_fd)
{
	struct iocb iocb;

	return aio_fill(ctx, &iocb, null_fd);
}

/* A batch that breaks off takes no room away from others. */
TEST(room_of_broken_batches)
{
	enum { N = 32 };
	struct iocb iocb[N], *list[N];
	int null_fd = open("/dev/null", O_WRONLY), i, round;
	aio_context_t ctx = 0;
	long before;

	ASSERT_GE(null_fd, 0);
	ASSERT_EQ(0, aio_pin_cpu());
	ASSERT_EQ(0, io_setup(N, &ctx));
	before = room(ctx, null_fd);
	EXPECT_GE(before, N);
	EXPECT_EQ(before, aio_drain(ctx));
	for (i = 0; i < N; i++) {
		aio_prep(&iocb[i], IOCB_CMD_PWRITE, null_fd, "x", 1, 0);
		list[i] = &iocb[i];
	}
	for (round = 0; round < 500; round++) {
		int bad = round % N;

		switch (round % 4) {
		case 0:
			iocb[bad].aio_fildes = -1;
			break;
		case 1:
			iocb[bad].aio_reserved2 = 1;
			break;
		case 2:
			iocb[bad].aio_lio_opcode = 77;
			break;
		case 3:
			list[bad] = (void *)1;
			break;
		}
		EXPECT_EQ(bad ? bad : round % 4 == 0 ? -EBADF :
			  round % 4 == 3 ? -EFAULT : -EINVAL, io_submit(ctx, N, list));
		aio_prep(&iocb[bad], IOCB_CMD_PWRITE, null_fd, "x", 1, 0);
		list[bad] = &iocb[bad];
		EXPECT_EQ(bad, aio_drain(ctx));
	}
	EXPECT_EQ(before, room(ctx, null_fd));
	EXPECT_EQ(0, io_destroy(ctx));
	close(null_fd);
}

/*
 * Requests that use the memory of others, of another kind, have nothing of them. A
 * disk refuses a write with a write stream that it does not have, such as one that
 * nobody has set.
 */
TEST(memory_is_used_again)
{
	enum { N = 48 };
	static const long results[] = { POLLIN, 1, 0, 4096 };
	struct iocb iocb[N], *list[N];
	struct io_event events[N];
	int efd = eventfd(0, 0), file = aio_mem_file(), i, round, kinds = 3, disk_fd = -1;
	char *page = aio_pages(4096, PROT_READ | PROT_WRITE);
	struct aio_slow_disk disk;
	aio_context_t ctx = 0;
	char buf[N];

	if (aio_slow_disk_make(&disk, 1)) {
		disk_fd = open(disk.dev, O_RDWR | O_DIRECT);
		ASSERT_GE(disk_fd, 0);
		kinds = 4;
	}
	ASSERT_GE(efd, 0);
	ASSERT_EQ(0, io_setup(N, &ctx));
	for (round = 0; round < 50; round++) {
		__u64 one = 1;

		for (i = 0; i < N; i++) {
			list[i] = &iocb[i];
			switch ((i + round) % kinds) {
			case 0:
				aio_prep(&iocb[i], IOCB_CMD_POLL, efd, (void *)POLLIN, 0, 0);
				break;
			case 1:
				aio_prep(&iocb[i], IOCB_CMD_PWRITE, file, &buf[i], 1, i);
				break;
			case 2:
				aio_prep(&iocb[i], IOCB_CMD_FDSYNC, file, NULL, 0, 0);
				break;
			case 3:
				aio_prep(&iocb[i], IOCB_CMD_PWRITE, disk_fd, page, 4096, 0);
				break;
			}
			iocb[i].aio_data = round * N + i;
		}
		ASSERT_EQ(N, io_submit(ctx, N, list));
		EXPECT_EQ(8, write(efd, &one, 8));
		ASSERT_EQ(N, io_getevents(ctx, N, N, events, NULL));
		for (i = 0; i < N; i++) {
			unsigned int n = events[i].data - round * N;

			ASSERT_LT(n, N);
			EXPECT_EQ((uintptr_t)&iocb[n], events[i].obj);
			EXPECT_EQ(results[(n + round) % kinds], events[i].res);
			EXPECT_EQ(0, events[i].res2);
			/* Each once. */
			iocb[n].aio_data = ~0ULL;
		}
		for (i = 0; i < N; i++)
			EXPECT_EQ(~0ULL, iocb[i].aio_data);
		EXPECT_EQ(8, read(efd, &one, 8));
	}
	EXPECT_EQ(0, io_destroy(ctx));
	close(efd);
	close(file);
	if (disk_fd >= 0) {
		close(disk_fd);
		aio_slow_disk_remove(&disk);
	}
}

TEST_HARNESS_MAIN
