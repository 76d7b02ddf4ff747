// SPDX-License-Identifier: GPL-2.0
/*
 * The cancellation of what a threaded context has in hand: by io_cancel(), by
 * io_destroy(), and by the end of a process.
 *
 * Held here: io_cancel() says EINPROGRESS for a request that waits or runs, and EINVAL
 * if there is none; a cancelled request has exactly one event, which says EINTR, or
 * what has been done before; nothing that was read is lost; what is queued or parked
 * ends at once, also behind what can't be ended; no other request is hit;
 * io_destroy() and exit() don't wait for anybody to write to a pipe; and a thread group
 * that ends takes what it has parked at a page with it, and nothing of another group.
 */
#include <sched.h>
#include "../kselftest_harness.h"
#include "aio_thread_test.h"

#define NR	1000
#define BLOCK	4096

FIXTURE(cancel) {
	aio_context_t ctx;
	struct iocb *iocb, **list;
	struct io_event *events;
	char *buf;
};

FIXTURE_SETUP(cancel)
{
	int i;

	NEED_THREADS();
	signal(SIGPIPE, SIG_IGN);
	ASSERT_EQ(0, setup_threaded(NR, &self->ctx));
	self->iocb = calloc(NR, sizeof(*self->iocb));
	self->list = calloc(NR, sizeof(*self->list));
	self->events = calloc(NR, sizeof(*self->events));
	self->buf = calloc(NR, 1);
	for (i = 0; i < NR; i++)
		self->list[i] = &self->iocb[i];
}

FIXTURE_TEARDOWN(cancel)
{
	if (!self->ctx)
		return;
	EXPECT_EQ(0, aio_drain(self->ctx));
	EXPECT_EQ(0, io_destroy(self->ctx));
}

/* ------------------------------------------------------ io_cancel() */

FIXTURE(kind) {
	aio_context_t ctx;
	struct ends e;
	struct iocb iocb;
	char buf[512];
};

FIXTURE_VARIANT(kind) {
	enum ends_kind kind;
};

FIXTURE_VARIANT_ADD(kind, pipe) { .kind = ENDS_PIPE };
FIXTURE_VARIANT_ADD(kind, stream) { .kind = ENDS_STREAM };
FIXTURE_VARIANT_ADD(kind, seqpacket) { .kind = ENDS_SEQPACKET };
FIXTURE_VARIANT_ADD(kind, eventfd) { .kind = ENDS_EVENTFD };
FIXTURE_VARIANT_ADD(kind, pty) { .kind = ENDS_PTY };
FIXTURE_VARIANT_ADD(kind, timerfd) { .kind = ENDS_TIMERFD };
FIXTURE_VARIANT_ADD(kind, inotify) { .kind = ENDS_INOTIFY };

FIXTURE_SETUP(kind)
{
	NEED_THREADS();
	ASSERT_EQ(0, setup_threaded(8, &self->ctx));
	ASSERT_TRUE(ends_open(&self->e, variant->kind, 0));
	aio_prep(&self->iocb, IOCB_CMD_PREAD, self->e.in, self->buf, ends_room(&self->e), 0);
}

FIXTURE_TEARDOWN(kind)
{
	EXPECT_EQ(0, aio_drain(self->ctx));
	EXPECT_EQ(0, io_destroy(self->ctx));
	ends_close(&self->e);
}

TEST_F(kind, once)
{
	struct io_event untouched;
	int i;

	for (i = 0; i < (aio_long() ? 20 : 6); i++) {
		ASSERT_EQ(1, aio_submit_one(self->ctx, &self->iocb));
		/* Before it has come to wait, and after that. */
		if (i & 1)
			aio_sleep_ms(10);
		memset(&untouched, 0x55, sizeof(untouched));
		EXPECT_EQ(-EINPROGRESS, io_cancel(self->ctx, &self->iocb, &untouched));
		EXPECT_EQ(0x5555555555555555ULL, untouched.obj);
		EXPECT_NEXT(self->ctx, &self->iocb, -EINTR);
		EXPECT_EQ(-EINVAL, io_cancel(self->ctx, &self->iocb, &untouched));
		EXPECT_EQ(0, aio_drain(self->ctx));
	}
	/* It has not become somebody else's. */
	ASSERT_EQ(1, aio_submit_one(self->ctx, &self->iocb));
	EXPECT_NO_EVENT(self->ctx);
	ASSERT_TRUE(ends_feed(&self->e));
	EXPECT_NEXT(self->ctx, &self->iocb, self->e.len);
	EXPECT_EQ(-EINVAL, io_cancel(self->ctx, &self->iocb, &untouched));
}

/* A mark that comes late must not be on the thread when it does the next thing. */
TEST_F(kind, not_the_next)
{
	struct iocb next;
	char buf[512];
	int i;

	for (i = 0; i < (aio_long() ? 100 : 24); i++) {
		ASSERT_EQ(1, aio_submit_one(self->ctx, &self->iocb));
		if (i & 1)
			sched_yield();
		EXPECT_EQ(-EINPROGRESS, io_cancel(self->ctx, &self->iocb, NULL));
		aio_prep(&next, IOCB_CMD_PREAD, self->e.in, buf, ends_room(&self->e), 0);
		ASSERT_EQ(1, aio_submit_one(self->ctx, &next));
		EXPECT_NEXT(self->ctx, &self->iocb, -EINTR);
		aio_sleep_ms(i % 4);
		EXPECT_EQ(0, aio_drain(self->ctx));
		ASSERT_TRUE(ends_feed(&self->e));
		EXPECT_NEXT(self->ctx, &next, self->e.len);
	}
}

/* Cancelled as it becomes ready: one of both, and what was not read is there still. */
TEST_F(kind, race)
{
	struct pollfd pfd = { self->e.in, POLLIN, 0 };
	struct io_event event;
	int i, done = 0, rounds = aio_long() ? 500 : 100;
	long ret;

	if (variant->kind == ENDS_TIMERFD || variant->kind == ENDS_INOTIFY)
		return;
	for (i = 0; i < rounds; i++) {
		ASSERT_EQ(1, aio_submit_one(self->ctx, &self->iocb));
		if (i & 1)
			sched_yield();
		ASSERT_TRUE(ends_feed(&self->e));
		ret = io_cancel(self->ctx, &self->iocb, NULL);
		ASSERT_TRUE(ret == -EINPROGRESS || ret == -EINVAL) {
			TH_LOG("io_cancel: %ld", ret);
		}
		ASSERT_EQ(1, await_events(self->ctx, &event, 1));
		EXPECT_EQ(0, aio_drain(self->ctx));
		if (event.res == self->e.len) {
			done++;
			EXPECT_EQ(0, poll(&pfd, 1, 0));
			continue;
		}
		ASSERT_EQ(-EINTR, event.res);
		EXPECT_EQ(-EINPROGRESS, ret);
		/* A terminal's data take a way of their own. */
		ASSERT_EQ(1, poll(&pfd, 1, variant->kind == ENDS_PTY ? patience() * 1000 : 0));
		ASSERT_EQ(self->e.len, read(self->e.in, self->buf, ends_room(&self->e)));
	}
	TH_LOG("%d of %d were read", done, rounds);
}

TEST_F(cancel, no_such_request)
{
	aio_context_t other = 0;
	struct ends e;

	ASSERT_TRUE(ends_open(&e, ENDS_PIPE, 0));
	ASSERT_EQ(0, setup_threaded(4, &other));
	aio_prep(&self->iocb[0], IOCB_CMD_PREAD, e.in, self->buf, 1, 0);
	aio_prep(&self->iocb[1], IOCB_CMD_PREAD, e.in, self->buf, 1, 0);
	EXPECT_EQ(-EINVAL, io_cancel(self->ctx, &self->iocb[0], NULL));
	ASSERT_EQ(1, aio_submit_one(self->ctx, &self->iocb[0]));
	EXPECT_EQ(-EINVAL, io_cancel(self->ctx, &self->iocb[1], NULL));
	EXPECT_EQ(-EINVAL, io_cancel(other, &self->iocb[0], NULL));
	EXPECT_EQ(-EFAULT, io_cancel(self->ctx, aio_unmapped(), NULL));
	EXPECT_NO_EVENT(self->ctx);
	EXPECT_EQ(-EINPROGRESS, io_cancel(self->ctx, &self->iocb[0], NULL));
	EXPECT_NEXT(self->ctx, &self->iocb[0], -EINTR);
	EXPECT_EQ(0, io_destroy(other));
	ends_close(&e);
}

TEST_F(cancel, thousand)
{
	struct ends e[10];
	int i;

	for (i = 0; i < 10; i++)
		ASSERT_TRUE(ends_open(&e[i], ENDS_PIPE, 0));
	for (i = 0; i < NR; i++)
		aio_prep(&self->iocb[i], IOCB_CMD_PREAD, e[i % 10].in, &self->buf[i], 1, 0);
	for (i = 0; i < NR; i += 100)
		ASSERT_EQ(100, io_submit(self->ctx, 100, self->list + i));
	EXPECT_NO_EVENT(self->ctx);
	/* In another order than that of their submission. */
	for (i = 0; i < NR; i++)
		ASSERT_EQ(-EINPROGRESS, io_cancel(self->ctx, &self->iocb[i * 7 % NR], NULL));
	ASSERT_EQ(NR, await_events(self->ctx, self->events, NR));
	for (i = 0; i < NR; i++) {
		struct iocb *cb = (struct iocb *)(uintptr_t)self->events[i].obj;

		EXPECT_EVENT(&self->events[i], cb, -EINTR);
		/* Each once. */
		EXPECT_NE(0, cb->aio_data);
		cb->aio_data = 0;
	}
	EXPECT_NO_EVENT(self->ctx);
	for (i = 0; i < 10; i++) {
		/* Nobody is there any more who would read it. */
		ASSERT_TRUE(ends_feed(&e[i]));
		aio_sleep_ms(1);
		EXPECT_EQ(1, read(e[i].in, self->buf, 10));
		ends_close(&e[i]);
	}
}

/* What has been done stays the result. */
TEST_F(cancel, partial)
{
	static char much[300000];
	int pair[2], i;

	for (i = 0; i < 4; i++) {
		struct io_event event = { 0 };
		long in = 0, n;

		ASSERT_EQ(0, i & 1 ? socketpair(AF_UNIX, SOCK_STREAM, 0, pair) : pipe(pair));
		aio_prep(&self->iocb[0], IOCB_CMD_PWRITE, pair[1], much, sizeof(much), 0);
		ASSERT_EQ(1, aio_submit_one(self->ctx, &self->iocb[0]));
		EXPECT_NO_EVENT(self->ctx);
		EXPECT_EQ(-EINPROGRESS, io_cancel(self->ctx, &self->iocb[0], NULL));
		ASSERT_EQ(1, await_events(self->ctx, &event, 1));
		fcntl(pair[0], F_SETFL, O_NONBLOCK);
		while ((n = read(pair[0], much, sizeof(much))) > 0)
			in += n;
		EXPECT_LT(0, in);
		EXPECT_EQ(in, (long)event.res);
		close(pair[0]);
		close(pair[1]);
	}
}

/* POLL is what it was. */
TEST_F(cancel, poll)
{
	struct ends e;

	ASSERT_TRUE(ends_open(&e, ENDS_PIPE, 0));
	aio_prep(&self->iocb[0], IOCB_CMD_POLL, e.in, (void *)POLLIN, 0, 0);
	ASSERT_EQ(1, aio_submit_one(self->ctx, &self->iocb[0]));
	EXPECT_EQ(-EINPROGRESS, io_cancel(self->ctx, &self->iocb[0], NULL));
	ASSERT_EQ(1, await_events(self->ctx, self->events, 1));
	EXPECT_EQ((uintptr_t)&self->iocb[0], self->events[0].obj);
	ends_close(&e);
}

/* ------------------------------------------------------ what cannot be ended */

FIXTURE(frozen) {
	struct thread_fs fs;
	int fd;
	aio_context_t ctx;
	struct iocb iocb[8];
	char *buf;
};

FIXTURE_SETUP(frozen)
{
	NEED_THREADS();
	if (!thread_fs_make(&self->fs, 1))
		SKIP(return, "no null_blk disk with ext4 (needs root, configfs, mkfs.ext4)");
	self->fd = thread_fs_open(&self->fs, "file", O_RDWR);
	self->buf = aio_pages(8 * BLOCK, PROT_READ | PROT_WRITE);
	ASSERT_EQ(0, setup_threaded(64, &self->ctx));
}

FIXTURE_TEARDOWN_PARENT(frozen)
{
	thread_fs_remove(&self->fs);
}

/* The first waits for the thaw. Those behind it need not. */
TEST_F(frozen, queued)
{
	struct iocb *cb = self->iocb, *left[] = { &cb[0], &cb[1], &cb[3], &cb[4] };
	int i;

	ASSERT_EQ(0, ioctl(self->fs.dir, FIFREEZE, 0));
	for (i = 0; i < 6; i++) {
		memset(self->buf + i * BLOCK, 'a' + i, BLOCK);
		aio_prep(&self->iocb[i], i == 4 ? IOCB_CMD_PREAD : IOCB_CMD_PWRITE, self->fd,
			 self->buf + i * BLOCK, BLOCK, 0);
		ASSERT_EQ(1, aio_submit_one(self->ctx, &self->iocb[i]));
	}
	EXPECT_NO_EVENT(self->ctx);
	EXPECT_EQ(-EINPROGRESS, io_cancel(self->ctx, &self->iocb[2], NULL));
	EXPECT_NEXT(self->ctx, &self->iocb[2], -EINTR);
	EXPECT_EQ(-EINPROGRESS, io_cancel(self->ctx, &self->iocb[5], NULL));
	EXPECT_NEXT(self->ctx, &self->iocb[5], -EINTR);
	EXPECT_EQ(-EINVAL, io_cancel(self->ctx, &self->iocb[5], NULL));
	EXPECT_NO_EVENT(self->ctx);
	ASSERT_EQ(0, ioctl(self->fs.dir, FITHAW, 0));
	EXPECT_ALL(self->ctx, 4, left, BLOCK);
	/* The read has found the fourth write. */
	EXPECT_EQ('d', self->buf[4 * BLOCK]);
	EXPECT_EQ(0, io_destroy(self->ctx));
}

/* One in the middle is cancelled: what is behind it is still behind what is before it. */
TEST_F(frozen, in_the_middle)
{
	struct iocb *cb = self->iocb, *left[] = { &cb[0], &cb[3], &cb[4] };
	int i;

	memset(self->buf + 4 * BLOCK, 'o', BLOCK);
	ASSERT_EQ(BLOCK, pwrite(self->fd, self->buf + 4 * BLOCK, BLOCK, 0));
	ASSERT_EQ(0, ioctl(self->fs.dir, FIFREEZE, 0));
	for (i = 0; i < 4; i++) {
		memset(self->buf + i * BLOCK, 'a' + i, BLOCK);
		aio_prep(&self->iocb[i], i == 3 ? IOCB_CMD_PREAD : IOCB_CMD_PWRITE, self->fd,
			 self->buf + i * BLOCK, BLOCK, 0);
		ASSERT_EQ(1, aio_submit_one(self->ctx, &self->iocb[i]));
	}
	for (i = 1; i < 3; i++) {
		EXPECT_EQ(-EINPROGRESS, io_cancel(self->ctx, &self->iocb[i], NULL));
		EXPECT_NEXT(self->ctx, &self->iocb[i], -EINTR);
		/* The read could be done, if it were not behind the first write. */
		EXPECT_NO_EVENT(self->ctx);
	}
	/* What comes now is, too. */
	aio_prep(&self->iocb[4], IOCB_CMD_PREAD, self->fd, self->buf + 5 * BLOCK, BLOCK, 0);
	ASSERT_EQ(1, aio_submit_one(self->ctx, &self->iocb[4]));
	EXPECT_NO_EVENT(self->ctx);
	ASSERT_EQ(0, ioctl(self->fs.dir, FITHAW, 0));
	EXPECT_ALL(self->ctx, 3, left, BLOCK);
	EXPECT_EQ('a', self->buf[3 * BLOCK]);
	EXPECT_EQ('a', self->buf[5 * BLOCK]);
	EXPECT_EQ(0, io_destroy(self->ctx));
}

/* The one that runs ends by itself, done or not, but only once. */
TEST_F(frozen, running)
{
	struct io_event event = { 0 };
	char c = 0;

	self->buf[0] = 'n';
	ASSERT_EQ(1, pwrite(self->fd, "o", 1, 0));
	ASSERT_EQ(0, fsync(self->fd));
	ASSERT_EQ(0, ioctl(self->fs.dir, FIFREEZE, 0));
	aio_prep(&self->iocb[0], IOCB_CMD_PWRITE, self->fd, self->buf, BLOCK, 0);
	ASSERT_EQ(1, aio_submit_one(self->ctx, &self->iocb[0]));
	aio_sleep_ms(20);
	EXPECT_EQ(-EINPROGRESS, io_cancel(self->ctx, &self->iocb[0], NULL));
	aio_sleep_ms(20);
	ASSERT_EQ(0, ioctl(self->fs.dir, FITHAW, 0));
	ASSERT_EQ(1, await_events(self->ctx, &event, 1));
	EXPECT_NO_EVENT(self->ctx);
	ASSERT_EQ(1, pread(self->fd, &c, 1, 0));
	EXPECT_TRUE((event.res == -EINTR && c == 'o') || (event.res == BLOCK && c == 'n')) {
		TH_LOG("result %lld, contents '%c'", (long long)event.res, c);
	}
	EXPECT_EQ(0, io_destroy(self->ctx));
}

/* io_destroy() waits for it, and ends the others. */
TEST_F(frozen, destroy)
{
	struct aio_caller destroyer = { .ctx = self->ctx };
	int efd = eventfd(0, EFD_NONBLOCK), i;
	struct stat before, after;
	__u64 count, ended = 0;

	ASSERT_EQ(0, ioctl(self->fs.dir, FIFREEZE, 0));
	for (i = 0; i < 4; i++) {
		memset(self->buf + i * BLOCK, 'a' + i, BLOCK);
		aio_prep(&self->iocb[i], IOCB_CMD_PWRITE, self->fd, self->buf + i * BLOCK, BLOCK,
			 i * BLOCK);
		self->iocb[i].aio_flags = IOCB_FLAG_RESFD;
		self->iocb[i].aio_resfd = efd;
		ASSERT_EQ(1, aio_submit_one(self->ctx, &self->iocb[i]));
	}
	/* The first one has begun. */
	ASSERT_TRUE(EVENTUALLY(worker_waits()));
	ASSERT_TRUE(aio_start_blocked(&destroyer, aio_destroy_thread, __NR_io_destroy));
	/* Those that have not begun end although the first one goes on. */
	EXPECT_TRUE(EVENTUALLY((ended += read(efd, &count, 8) == 8 ? count : 0) == 3));
	EXPECT_FALSE(destroyer.done);
	ASSERT_EQ(0, ioctl(self->fs.dir, FITHAW, 0));
	EXPECT_EQ(0, aio_join(&destroyer));
	/* Nothing is written afterwards. */
	ASSERT_EQ(0, fstat(self->fd, &before));
	aio_sleep_ms(100);
	ASSERT_EQ(0, fstat(self->fd, &after));
	EXPECT_EQ(before.st_size, after.st_size);
	EXPECT_GE(BLOCK, after.st_size);
}

/* ------------------------------------------------------ reads that wait for a page */

#define PAGES	16

FIXTURE(page) {
	struct aio_slow_disk disk;
	int fd;
	aio_context_t ctx;
	struct iocb iocb[PAGES], *list[PAGES];
	char *buf;
	long long pos;
	long reads;
};

FIXTURE_VARIANT(page) {
	/* How long the disk takes, and how often it is tried. */
	int ms, rounds;
};

FIXTURE_VARIANT_ADD(page, slow) { .ms = 1000, .rounds = 12 };
FIXTURE_VARIANT_ADD(page, fast) { .ms = 2, .rounds = 100 };

FIXTURE_SETUP(page)
{
	int i;

	NEED_THREADS();
	if (!aio_slow_disk_make(&self->disk, variant->ms))
		SKIP(return, "no null_blk disk (needs root and configfs)");
	self->fd = open(self->disk.dev, O_RDONLY);
	ASSERT_LE(0, self->fd);
	self->buf = aio_pages(PAGES * BLOCK, PROT_READ | PROT_WRITE);
	for (i = 0; i < PAGES; i++)
		self->list[i] = &self->iocb[i];
	ASSERT_EQ(0, setup_threaded(PAGES, &self->ctx));
}

FIXTURE_TEARDOWN_PARENT(page)
{
	aio_slow_disk_remove(&self->disk);
}

static void page_prep(struct _test_data_page *self, int nr)
{
	int i;

	/* Each page is read once. */
	posix_fadvise(self->fd, 0, 0, POSIX_FADV_DONTNEED);
	posix_fadvise(self->fd, 0, 0, POSIX_FADV_RANDOM);
	memset(self->buf, 0xee, PAGES * BLOCK);
	for (i = 0; i < nr; i++) {
		self->pos = self->pos >= 60 << 20 ? 4 << 20 : self->pos + 16 * BLOCK;
		aio_prep(&self->iocb[i], IOCB_CMD_PREAD, self->fd, self->buf + i * BLOCK, BLOCK,
			 self->pos);
	}
	self->reads = aio_disk_stat(self->disk.dev, "stat", 0);
}

/* Whether what was asked for has come meanwhile. */
static bool page_is_there(struct _test_data_page *self, int i)
{
	char c;
	struct iovec iov = { &c, 1 };

	return preadv2(self->fd, &iov, 1, self->iocb[i].aio_offset, RWF_NOWAIT) == 1;
}

/* The disk is at it, or has done it. */
static bool page_is_asked_for(struct _test_data_page *self)
{
	return EVENTUALLY(aio_disk_stat(self->disk.dev, "inflight", 0) > 0 ||
			  aio_disk_stat(self->disk.dev, "stat", 0) > self->reads);
}

/* The event is there before the page; if a machine is too slow to see that, it has more tries. */
TEST_F_TIMEOUT(page, cancelled, 300)
{
	struct io_event event;
	int round, early = 0;
	long ret;

	if (variant->ms < 100)
		return;
	for (round = 0; round < variant->rounds && !early; round++) {
		page_prep(self, 1);
		ASSERT_EQ(1, io_submit(self->ctx, 1, self->list));
		ASSERT_TRUE(page_is_asked_for(self));
		aio_sleep_ms(20);
		ret = io_cancel(self->ctx, &self->iocb[0], NULL);
		if (ret == -EINVAL) {
			EXPECT_NEXT(self->ctx, &self->iocb[0], BLOCK);
			continue;
		}
		EXPECT_EQ(-EINPROGRESS, ret);
		ASSERT_EQ(1, await_events(self->ctx, &event, 1));
		if (event.res == BLOCK) {
			/* The page has come first. */
			EXPECT_EVENT(&event, &self->iocb[0], BLOCK);
			continue;
		}
		EXPECT_EVENT(&event, &self->iocb[0], -EINTR);
		early = !page_is_there(self, 0);
		EXPECT_EQ(-EINVAL, io_cancel(self->ctx, &self->iocb[0], NULL));
		/* The page comes, and nobody is there who would take it. */
		EXPECT_TRUE(EVENTUALLY(page_is_there(self, 0)));
		EXPECT_NO_EVENT(self->ctx);
		EXPECT_EQ((char)0xee, self->buf[0]);
	}
	EXPECT_EQ(1, early);
	EXPECT_EQ(0, io_destroy(self->ctx));
}

TEST_F_TIMEOUT(page, destroyed, 300)
{
	int round, early = 0;

	if (variant->ms < 100)
		return;
	for (round = 0; round < variant->rounds && !early; round++) {
		page_prep(self, 4);
		ASSERT_EQ(4, io_submit(self->ctx, 4, self->list));
		ASSERT_TRUE(page_is_asked_for(self));
		aio_sleep_ms(20);
		EXPECT_EQ(0, io_destroy(self->ctx));
		early = !page_is_there(self, 3);
		self->ctx = 0;
		ASSERT_EQ(0, setup_threaded(PAGES, &self->ctx));
	}
	EXPECT_EQ(1, early);
}

TEST_F_TIMEOUT(page, end_of_process, 300)
{
	int round, early = 0, status;
	pid_t pid;

	if (variant->ms < 100)
		return;
	for (round = 0; round < variant->rounds && early < 2; round++) {
		page_prep(self, 4);
		pid = fork();
		ASSERT_LE(0, pid);
		if (!pid) {
			self->ctx = 0;
			if (setup_threaded(PAGES, &self->ctx) ||
			    io_submit(self->ctx, 4, self->list) != 4 || !page_is_asked_for(self))
				_exit(1);
			aio_sleep_ms(20);
			if (round & 1)
				_exit(0);
			kill(getpid(), SIGKILL);
		}
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		EXPECT_EQ(round & 1 ? 0 : SIGKILL, status);
		early += !page_is_there(self, 3);
	}
	EXPECT_EQ(2, early);
}

/* A process on the same memory that submits one read, and ends. */
struct group {
	struct _test_data_page *self;
	volatile long ret;
};

static int group_child(void *arg)
{
	struct group *group = arg;

	group->ret = io_submit(group->self->ctx, 1, &group->self->list[1]);
	/* By then it is parked; what waits for a thread ends with the group. */
	aio_sleep_ms(200);
	syscall(__NR_exit_group, 0);
	return 0;
}

/*
 * What the process that has ended has parked ends when its page comes, or as soon as the other
 * process cancels it. The other's reads, of a page and of a pipe, go on.
 */
TEST_F_TIMEOUT(page, end_of_group, 300)
{
	const size_t len = 1 << 16;
	char *stack = aio_pages(len, PROT_READ | PROT_WRITE), c;
	int round, i, early = 0;
	struct io_event event;
	struct ends e;
	long ret;

	if (variant->ms < 100)
		return;
	ASSERT_TRUE(ends_open(&e, ENDS_PIPE, 0));
	for (round = 0; round < variant->rounds && early != 3; round++) {
		struct group group = { .self = self };
		bool cancel = round & 1, first = true;
		int status = -1, seen = 0;
		pid_t pid;

		page_prep(self, 2);
		aio_prep(&self->iocb[2], IOCB_CMD_PREAD, e.in, &c, 1, 0);
		ASSERT_EQ(1, io_submit(self->ctx, 1, &self->list[0]));
		ASSERT_EQ(1, io_submit(self->ctx, 1, &self->list[2]));
		pid = clone(group_child, stack + len, CLONE_VM | SIGCHLD, &group);
		ASSERT_LE(0, pid);
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		EXPECT_EQ(0, status);
		EXPECT_EQ(1, group.ret);
		ret = cancel ? io_cancel(self->ctx, &self->iocb[1], NULL) : 0;
		if (!cancel && !page_is_there(self, 1))
			early |= 1;
		if (ret) {
			EXPECT_TRUE(ret == -EINPROGRESS || ret == -EINVAL) {
				TH_LOG("io_cancel: %ld", ret);
			}
		}
		for (i = 0; i < 2; i++) {
			bool own, all;

			ASSERT_EQ(1, await_events(self->ctx, &event, 1));
			own = event.obj == (uintptr_t)&self->iocb[0];
			all = event.res == BLOCK;
			if (first && !own && ret == -EINPROGRESS && !page_is_there(self, 1)) {
				EXPECT_EQ(-EINTR, (__s64)event.res);
				early |= 2;
			}
			first = false;
			seen |= own ? 1 : 2;
			EXPECT_EVENT(&event, self->list[!own], all || own ? BLOCK : -EINTR);
			/* All of the page was copied, or nothing. */
			EXPECT_EQ(all ? 0 : (char)0xee, self->buf[!own * BLOCK]);
			EXPECT_EQ(all ? 0 : (char)0xee, self->buf[!own * BLOCK + BLOCK - 1]);
		}
		EXPECT_EQ(3, seen);
		/* The page of what was cancelled comes, and finds nobody. */
		EXPECT_TRUE(EVENTUALLY(page_is_there(self, 1)));
		EXPECT_NO_EVENT(self->ctx);
		EXPECT_EQ(-EINVAL, io_cancel(self->ctx, &self->iocb[1], NULL));
		ASSERT_TRUE(ends_feed(&e));
		EXPECT_NEXT(self->ctx, &self->iocb[2], 1);
	}
	EXPECT_EQ(3, early);
	EXPECT_EQ(0, io_destroy(self->ctx));
	ends_close(&e);
}

/* Cancelled as the pages come: each has one event, and what that says is true. */
TEST_F_TIMEOUT(page, race, 300)
{
	int round, i, done = 0, rounds = variant->rounds * (aio_long() ? 10 : 1);
	struct io_event events[PAGES];

	if (variant->ms >= 100)
		return;
	for (round = 0; round < rounds; round++) {
		unsigned int seen = 0;

		page_prep(self, PAGES);
		ASSERT_EQ(PAGES, io_submit(self->ctx, PAGES, self->list));
		if (round % 4)
			aio_sleep_ms(round % 4);
		for (i = 0; i < PAGES; i++) {
			long ret = io_cancel(self->ctx, &self->iocb[i], NULL);

			ASSERT_TRUE(ret == -EINPROGRESS || ret == -EINVAL) {
				TH_LOG("io_cancel: %ld", ret);
			}
		}
		ASSERT_EQ(PAGES, await_events(self->ctx, events, PAGES));
		EXPECT_EQ(0, aio_drain(self->ctx));
		if (round % 8 == 0)
			aio_sleep_ms(5);
		for (i = 0; i < PAGES; i++) {
			int nr = (struct iocb *)(uintptr_t)events[i].obj - self->iocb;
			bool all = events[i].res == BLOCK;

			ASSERT_TRUE(all || events[i].res == -EINTR) {
				TH_LOG("result %lld", (long long)events[i].res);
			}
			EXPECT_EQ(all ? 0 : (char)0xee, self->buf[nr * BLOCK]);
			EXPECT_EQ(all ? 0 : (char)0xee, self->buf[nr * BLOCK + BLOCK - 1]);
			seen |= 1U << nr;
			done += all;
		}
		EXPECT_EQ((1U << PAGES) - 1, seen);
	}
	TH_LOG("%d of %d were read", done, rounds * PAGES);
	EXPECT_EQ(0, io_destroy(self->ctx));
}

/* ------------------------------------------------------ io_destroy() and exit */

static bool submit_thousand(aio_context_t ctx, struct iocb *iocb, char *buf, struct ends *e)
{
	int i;

	for (i = 0; i < NR; i++) {
		struct iocb *cb = &iocb[i];

		aio_prep(cb, IOCB_CMD_PREAD, e[i % 10].in, &buf[i], 1, 0);
		if (io_submit(ctx, 1, &cb) != 1)
			return false;
	}
	return true;
}

TEST_F(cancel, destroy)
{
	long long nr = aio_nr();
	struct ends e[10];
	int i, round;

	for (round = 0; round < 5; round++) {
		for (i = 0; i < 10; i++)
			ASSERT_TRUE(ends_open(&e[i], i % 2 ? ENDS_PIPE : ENDS_STREAM, 0));
		ASSERT_TRUE(submit_thousand(self->ctx, self->iocb, self->buf, e));
		/* Also while some of them are being read. */
		if (round > 2)
			for (i = 0; i < 50; i++)
				ends_feed(&e[i % 10]);
		EXPECT_EQ(0, io_destroy(self->ctx));
		self->ctx = 0;
		EXPECT_EQ(nr - NR, aio_nr());
		/* Their files are given back: nobody is left that reads. */
		for (i = 0; i < 10; i++) {
			close(e[i].in);
			EXPECT_TRUE(EVENTUALLY(write(e[i].out, "x", 1) < 0 && errno == EPIPE));
			close(e[i].out);
		}
		ASSERT_EQ(0, setup_threaded(NR, &self->ctx));
	}
}

/* Two that cancel the same, and one that destroys it all. */
static void *cancel_all(void *arg)
{
	struct _test_data_cancel *self = arg;
	int i;

	for (i = 0; i < NR; i++)
		io_cancel(self->ctx, &self->iocb[i], NULL);
	return NULL;
}

TEST_F(cancel, cancel_and_destroy)
{
	pthread_t thread[2];
	struct ends e[10];
	int i, round;

	for (i = 0; i < 10; i++)
		ASSERT_TRUE(ends_open(&e[i], ENDS_PIPE, 0));
	for (round = 0; round < (aio_long() ? 6 : 2); round++) {
		ASSERT_TRUE(submit_thousand(self->ctx, self->iocb, self->buf, e));
		for (i = 0; i < 2; i++)
			ASSERT_EQ(0, pthread_create(&thread[i], NULL, cancel_all, self));
		if (round & 1)
			aio_sleep_ms(1);
		EXPECT_EQ(0, io_destroy(self->ctx));
		for (i = 0; i < 2; i++)
			pthread_join(thread[i], NULL);
		self->ctx = 0;
		ASSERT_EQ(0, setup_threaded(NR, &self->ctx));
	}
}

/* Two cancel the same: one event each nevertheless. */
TEST_F(cancel, cancel_twice)
{
	pthread_t thread[2];
	struct ends e[10];
	int i;

	for (i = 0; i < 10; i++)
		ASSERT_TRUE(ends_open(&e[i], ENDS_PIPE, 0));
	ASSERT_TRUE(submit_thousand(self->ctx, self->iocb, self->buf, e));
	for (i = 0; i < 2; i++)
		ASSERT_EQ(0, pthread_create(&thread[i], NULL, cancel_all, self));
	ASSERT_EQ(NR, await_events(self->ctx, self->events, NR));
	for (i = 0; i < NR; i++)
		EXPECT_EQ(-EINTR, self->events[i].res);
	for (i = 0; i < 2; i++)
		pthread_join(thread[i], NULL);
	EXPECT_NO_EVENT(self->ctx);
}

/* A process ends, or is killed, with all that in hand. */
TEST_F(cancel, end_of_process)
{
	long long nr = aio_nr();
	struct ends e[10];
	int ready[2], i, round, status;
	pid_t pid;
	char c;

	for (round = 0; round < 4; round++) {
		for (i = 0; i < 10; i++)
			ASSERT_TRUE(ends_open(&e[i], i % 2 ? ENDS_PIPE : ENDS_STREAM, 0));
		ASSERT_EQ(0, pipe(ready));
		pid = fork();
		ASSERT_LE(0, pid);
		if (!pid) {
			aio_context_t ctx = 0;

			/* A thousand, and a terminal. */
			if (setup_threaded(NR + 1, &ctx) ||
			    !submit_thousand(ctx, self->iocb, self->buf, e) ||
			    write(ready[1], "x", 1) != 1)
				_exit(1);
			if (round & 1)
				_exit(0);
			for (;;)
				pause();
		}
		for (i = 0; i < 10; i++)
			close(e[i].in);
		ASSERT_EQ(1, read(ready[0], &c, 1));
		if (!(round & 1))
			kill(pid, SIGKILL);
		status = await_child(pid);
		EXPECT_EQ(round & 1 ? 0 : SIGKILL, status);
		EXPECT_TRUE(EVENTUALLY(aio_nr() == nr));
		for (i = 0; i < 10; i++) {
			EXPECT_TRUE(EVENTUALLY(write(e[i].out, "x", 1) < 0 && errno == EPIPE));
			close(e[i].out);
		}
		close(ready[0]);
		close(ready[1]);
	}
}

TEST_HARNESS_MAIN
