// SPDX-License-Identifier: GPL-2.0
/*
 * Contexts of io_setup2() with IOCTX_FLAG_IOPOLL: completions are found by those
 * who wait for them. Every program gets on: with one thread or several, more
 * requests than the disk has room for, several contexts, files that grow.
 *
 * Needs root, configfs and null_blk; some need mkfs.ext4 or mkfs.xfs.
 */
#include <poll.h>
#include <sys/wait.h>
#include "../kselftest_harness.h"
#include "aio_ext_test.h"

#define NR	64

FIXTURE(iopoll) {
	struct iocb *iocbs;
	struct aio_balance before;
	struct aio_slow_disk disk;
	struct io_event events[NR];
	unsigned long all[NR];
	aio_context_t ctx;
	size_t page;
	char *buf;
	int fd;
};

FIXTURE_VARIANT(iopoll) {
	unsigned int flags;
	unsigned int depth;
};

FIXTURE_VARIANT_ADD(iopoll, alone) { .flags = IOPOLL, .depth = 256 };
FIXTURE_VARIANT_ADD(iopoll, useriocb) { .flags = IOPOLL | USERIOCB, .depth = 256 };
FIXTURE_VARIANT_ADD(iopoll, all) {
	.flags = IOPOLL | USERIOCB | FIXEDBUFS, .depth = 256
};

FIXTURE_VARIANT_ADD(iopoll, little_room) {
	.flags = IOPOLL | USERIOCB | FIXEDBUFS, .depth = 4
};

FIXTURE_SETUP(iopoll)
{
	int i;

	NEED_SETUP2();
	self->page = getpagesize();
	self->before = aio_balance();
	if (!aio_poll_disk_make(&self->disk, variant->depth))
		SKIP(return, "no null_blk disk (needs root and configfs)");
	self->fd = open(self->disk.dev, O_RDWR | O_DIRECT);
	ASSERT_LE(0, self->fd);
	self->iocbs = aio_iocbs(NR);
	self->buf = aio_pages(NR * self->page, PROT_READ | PROT_WRITE);
	for (i = 0; i < NR; i++) {
		aio_pattern(self->buf + i * self->page, self->page, i);
		aio_prep(&self->iocbs[i], IOCB_CMD_PWRITE, self->fd,
			 self->buf + i * self->page, self->page,
			 i * self->page);
		self->all[i] = variant->flags & USERIOCB ?
			i : (unsigned long)&self->iocbs[i];
	}
	ASSERT_EQ(0, io_setup2(NR, variant->flags,
			       variant->flags & USERIOCB ? self->iocbs : NULL,
			       &self->ctx));
}

FIXTURE_TEARDOWN(iopoll)
{
	EXPECT_EQ(0, io_destroy(self->ctx));
	close(self->fd);
	aio_slow_disk_remove(&self->disk);
	EXPECT_BALANCE(self->before);
}

/* Gets all of them done, as a program does that knows EAGAIN. */
static int run_all(aio_context_t ctx, unsigned long *all, int nr, size_t want)
{
	struct io_event events[NR];
	int submitted = 0, ended = 0, i;
	long ret;

	while (ended < nr) {
		if (submitted < nr) {
			ret = aio_submit_indices(ctx, nr - submitted,
						 all + submitted);
			if (ret > 0)
				submitted += ret;
			else if (ret != -EAGAIN || submitted == ended)
				return -1000 + ret;
		}
		ret = io_getevents(ctx, 1, NR, events, NULL);
		if (ret < 1)
			return ret;
		for (i = 0; i < ret; i++)
			if (events[i].res != (__s64)want)
				return (__s64)events[i].res;
		ended += ret;
	}
	return ended;
}

TEST_F(iopoll, bytes)
{
	int i;

	for (i = 0; i < 20; i++)
		ASSERT_EQ(NR, run_all(self->ctx, self->all, NR, self->page));
	memset(self->buf, 0, NR * self->page);
	for (i = 0; i < NR; i++)
		self->iocbs[i].aio_lio_opcode = IOCB_CMD_PREAD;
	ASSERT_EQ(NR, run_all(self->ctx, self->all, NR, self->page));
	for (i = 0; i < NR; i++) {
		char want[self->page];

		aio_pattern(want, self->page, i);
		EXPECT_EQ(0, memcmp(want, self->buf + i * self->page, self->page));
	}
}

TEST_F(iopoll, what_it_is_not_for)
{
	int efd = eventfd(0, EFD_NONBLOCK), plain = open(self->disk.dev, O_RDWR);
	int null = open("/dev/null", O_RDWR), mem = aio_mem_file();
	struct iocb *iocb = &self->iocbs[0];

	iocb->aio_flags = IOCB_FLAG_RESFD;
	iocb->aio_resfd = efd;
	EXPECT_EQ(-EINVAL, aio_submit_index(self->ctx, self->all[0]));
	iocb->aio_flags = 0;
	iocb->aio_fildes = plain;
	EXPECT_EQ(-EOPNOTSUPP, aio_submit_index(self->ctx, self->all[0]));
	iocb->aio_fildes = null;
	EXPECT_EQ(-EOPNOTSUPP, aio_submit_index(self->ctx, self->all[0]));
	iocb->aio_fildes = mem;
	EXPECT_EQ(-EOPNOTSUPP, aio_submit_index(self->ctx, self->all[0]));
	aio_prep(iocb, IOCB_CMD_FSYNC, self->fd, NULL, 0, 0);
	EXPECT_EQ(-EINVAL, aio_submit_index(self->ctx, self->all[0]));
	aio_prep(iocb, IOCB_CMD_FDSYNC, self->fd, NULL, 0, 0);
	EXPECT_EQ(-EINVAL, aio_submit_index(self->ctx, self->all[0]));
	aio_prep(iocb, IOCB_CMD_POLL, efd, (void *)POLLIN, 0, 0);
	EXPECT_EQ(-EINVAL, aio_submit_index(self->ctx, self->all[0]));
	EXPECT_EQ(-EINVAL, io_cancel(self->ctx, (void *)self->all[1], NULL));
	EXPECT_EQ(0, aio_drain(self->ctx));
	close(efd);
	close(plain);
	close(null);
	close(mem);
}

TEST_F(iopoll, times)
{
	struct timespec zero = { 0 }, soon = { 0, 5000000 };
	long long start;
	long ret;

	/* Nothing is in flight. */
	EXPECT_EQ(0, io_getevents(self->ctx, 0, NR, self->events, NULL));
	EXPECT_EQ(0, io_getevents(self->ctx, 1, NR, self->events, &zero));
	start = aio_now_ns();
	EXPECT_EQ(0, io_getevents(self->ctx, 1, NR, self->events, &soon));
	EXPECT_LE(start + 5000000, aio_now_ns());
	/* More is asked for than there is. */
	ret = aio_submit_indices(self->ctx, 4, self->all);
	ASSERT_LT(0, ret);
	EXPECT_EQ(ret, io_getevents(self->ctx, ret + 1, NR, self->events, &soon));
	/* One look is enough for what is complete. */
	ASSERT_EQ(1, aio_submit_index(self->ctx, self->all[0]));
	while (!(ret = io_getevents(self->ctx, 0, NR, self->events, NULL)))
		;
	EXPECT_EQ(1, ret);
}

static void no_handler(int sig)
{
}

TEST_F(iopoll, signals)
{
	struct sigaction act = { .sa_handler = no_handler };
	struct aio_caller caller = { .ctx = self->ctx, .min_nr = 1, .nr = NR,
				     .events = self->events };

	sigaction(SIGUSR1, &act, NULL);
	ASSERT_TRUE(aio_start_blocked(&caller, aio_getevents_thread,
				      __NR_io_getevents));
	pthread_kill(caller.thread, SIGUSR1);
	EXPECT_EQ(-EINTR, aio_join(&caller));
}

/* A thread that waits finds what another one submits. */
TEST_F(iopoll, submitted_while_somebody_waits)
{
	struct aio_caller caller = { .ctx = self->ctx, .min_nr = 4, .nr = 4,
				     .events = self->events };
	int i;

	ASSERT_TRUE(aio_start_blocked(&caller, aio_getevents_thread,
				      __NR_io_getevents));
	for (i = 0; i < 4; ) {
		long ret = aio_submit_index(self->ctx, self->all[i]);

		ASSERT_TRUE(ret == 1 || ret == -EAGAIN);
		i += ret == 1;
	}
	EXPECT_EQ(4, aio_join(&caller));
	EXPECT_EQ((__s64)self->page, (__s64)self->events[3].res);
}

struct worker {
	pthread_t thread;
	aio_context_t ctx;
	unsigned long *all;
	size_t page;
	long events;
	int rounds;
};

/* Submits some, and takes as many events, whoever's. */
static void *work(void *arg)
{
	struct worker *w = arg;
	struct io_event events[4];
	long ret;
	int i;

	for (i = 0; i < w->rounds; i++) {
		ret = aio_submit_indices(w->ctx, 4, w->all);
		if (ret == -EAGAIN) {
			w->events += aio_reap(w->ctx, events, 4);
			continue;
		}
		if (ret < 1)
			return (void *)ret;
		w->events -= ret;
		ret = io_getevents(w->ctx, ret, ret, events, NULL);
		if (ret < 1)
			return (void *)ret;
		w->events += ret;
	}
	return NULL;
}

TEST_F(iopoll, several_threads)
{
	struct worker w[4] = { };
	struct timespec zero = { 0 };
	long left = 0;
	void *ret;
	int i;

	for (i = 0; i < 4; i++) {
		w[i] = (struct worker){ .ctx = self->ctx, .page = self->page,
					.all = self->all + 8 * i,
					.rounds = aio_long() ? 200 : 50 };
		ASSERT_EQ(0, pthread_create(&w[i].thread, NULL, work, &w[i]));
	}
	for (i = 0; i < 4; i++) {
		struct io_event *events = self->events;
		int tries = 0;

		/* Who has taken events of others lets them wait: help. */
		while (pthread_tryjoin_np(w[i].thread, &ret)) {
			aio_sleep_ms(1);
			if (++tries > 200 &&
			    aio_submit_index(self->ctx, self->all[40]) == 1)
				left--;
		}
		EXPECT_EQ(NULL, ret);
		left += w[i].events;
		(void)events;
	}
	while (left < 0) {
		long n = io_getevents(self->ctx, 1, NR, self->events, NULL);

		ASSERT_LT(0, n);
		left += n;
	}
	EXPECT_EQ(0, left);
	EXPECT_EQ(0, io_getevents(self->ctx, 0, NR, self->events, &zero));
}

/* One thread that has two of them, on the same disk. */
TEST_F(iopoll, two_contexts)
{
	aio_context_t other = 0;
	int i;

	ASSERT_EQ(0, io_setup2(NR, IOPOLL, NULL, &other));
	for (i = 0; i < 20; i++) {
		unsigned long addresses[NR];
		long first, second, j;

		for (j = 0; j < NR; j++)
			addresses[j] = (unsigned long)&self->iocbs[j];
		first = aio_submit_indices(self->ctx, 32, self->all);
		second = aio_submit_indices(other, 32, addresses);
		ASSERT_LT(0, first);
		ASSERT_LT(0, second);
		ASSERT_EQ(second, io_getevents(other, second, NR, self->events,
					       NULL));
		ASSERT_EQ(first, io_getevents(self->ctx, first, NR, self->events,
					      NULL));
	}
	EXPECT_EQ(0, io_destroy(other));
}

/* Nobody looks, and yet it ends. */
TEST_F(iopoll, ends_by_itself)
{
	int how, status;

	for (how = 0; how < 3; how++) {
		pid_t pid = fork();

		ASSERT_LE(0, pid);
		if (!pid) {
			aio_context_t ctx = 0;
			unsigned long all[NR];
			int i;

			for (i = 0; i < NR; i++)
				all[i] = (unsigned long)&self->iocbs[i];
			if (io_setup2(NR, IOPOLL, NULL, &ctx))
				_exit(1);
			if (aio_submit_indices(ctx, NR, all) < 1)
				_exit(2);
			if (how == 0)
				raise(SIGKILL);
			if (how == 1 && io_destroy(ctx))
				_exit(3);
			_exit(0);
		}
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		EXPECT_EQ(how ? 0 : SIGKILL, status);
	}
}

/* A request that has to be split, alone and behind others. */
TEST_F(iopoll, large_requests)
{
	size_t len = 4 << 20;
	char *big = aio_pages(len, PROT_READ | PROT_WRITE);
	struct iocb iocb;
	unsigned long addr = (unsigned long)&iocb;
	aio_context_t ctx = 0;
	struct timespec ts = { 10 * aio_slow(), 0 };
	long ret;

	ASSERT_EQ(0, io_setup2(NR, IOPOLL, NULL, &ctx));
	aio_prep(&iocb, IOCB_CMD_PREAD, self->fd, big, len, 0);
	ASSERT_EQ(1, aio_submit_index(ctx, addr));
	ASSERT_EQ(1, io_getevents(ctx, 1, 1, self->events, &ts));
	EXPECT_EQ((__s64)len, (__s64)self->events[0].res);
	self->iocbs[0].aio_lio_opcode = IOCB_CMD_PREAD;
	ret = aio_submit_index(ctx, (unsigned long)&self->iocbs[0]);
	ASSERT_EQ(1, ret);
	ret = aio_submit_index(ctx, addr);
	ASSERT_TRUE(ret == 1 || ret == -EAGAIN);
	if (ret == -EAGAIN) {
		ASSERT_EQ(1, io_getevents(ctx, 1, 1, self->events, &ts));
		ASSERT_EQ(1, aio_submit_index(ctx, addr));
		ASSERT_EQ(1, io_getevents(ctx, 1, 1, self->events, &ts));
	} else {
		ASSERT_EQ(2, io_getevents(ctx, 2, 2, self->events, &ts));
	}
	EXPECT_EQ(0, io_destroy(ctx));
	munmap(big, len);
}

static bool make_fs(const char *fs, const char *dev, char *dir)
{
	char cmd[256];

	snprintf(cmd, sizeof(cmd), "mkfs.%s -q %s >/dev/null 2>&1", fs, dev);
	return !system(cmd) && mkdtemp(dir) && !mount(dev, dir, fs, 0, NULL);
}

/* A file that grows, and then is read. */
static void file_that_grows(struct __test_metadata *_metadata,
			    struct _test_data_iopoll *self, const char *dir)
{
	char path[64];
	int fd, i;

	snprintf(path, sizeof(path), "%s/file", dir);
	fd = open(path, O_RDWR | O_CREAT | O_DIRECT, 0600);
	ASSERT_LE(0, fd) TH_LOG("%s", strerror(errno));
	for (i = 0; i < NR; i++)
		self->iocbs[i].aio_fildes = fd;
	EXPECT_EQ(NR, run_all(self->ctx, self->all, NR, self->page));
	EXPECT_EQ(NR, run_all(self->ctx, self->all, NR, self->page));
	memset(self->buf, 0, NR * self->page);
	for (i = 0; i < NR; i++)
		self->iocbs[i].aio_lio_opcode = IOCB_CMD_PREAD;
	EXPECT_EQ(NR, run_all(self->ctx, self->all, NR, self->page));
	for (i = 0; i < NR; i++) {
		char want[self->page];

		aio_pattern(want, self->page, i);
		EXPECT_EQ(0, memcmp(want, self->buf + i * self->page, self->page));
	}
	close(fd);
}

TEST_F(iopoll, ext4)
{
	char dir[] = "/tmp/aio_iopoll_XXXXXX";

	if (!aio_long() && variant->flags == (IOPOLL | USERIOCB))
		SKIP(return, "the other kinds do, without AIO_TEST_LONG");
	if (!make_fs("ext4", self->disk.dev, dir))
		SKIP(return, "no mkfs.ext4");
	file_that_grows(_metadata, self, dir);
	EXPECT_EQ(0, umount(dir)) TH_LOG("%s", strerror(errno));
	rmdir(dir);
}

/* It wants a larger disk. */
TEST_F(iopoll, xfs)
{
	char dir[] = "/tmp/aio_iopoll_XXXXXX";
	struct aio_slow_disk disk;

	if (!aio_long() && (variant->flags == IOPOLL || variant->depth == 4))
		SKIP(return, "the other kinds do, without AIO_TEST_LONG");
	ASSERT_TRUE(aio_poll_disk_make_mb(&disk, variant->depth, 512));
	if (!make_fs("xfs", disk.dev, dir)) {
		aio_slow_disk_remove(&disk);
		SKIP(return, "no mkfs.xfs, or no XFS");
	}
	file_that_grows(_metadata, self, dir);
	EXPECT_EQ(0, umount(dir)) TH_LOG("%s", strerror(errno));
	rmdir(dir);
	aio_slow_disk_remove(&disk);
}

TEST_HARNESS_MAIN
