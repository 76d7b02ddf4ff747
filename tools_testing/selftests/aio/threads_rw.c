// SPDX-License-Identifier: GPL-2.0
/*
 * Reads and writes of threaded contexts.
 *
 * Held here: io_submit() does not wait, whatever kind of file it is, and the event comes
 * when the file is ready; who did not ask for it does not see EAGAIN, and who did
 * does; what is cut short goes on where C's blocking call would, and is a result
 * where it would not; files that have only ->read and ->write; files on overlayfs; the
 * priority of what a thread does is that of the request; what is refused, and what
 * fails, is as on a plain context.
 */
#include <sys/sysmacros.h>
#include "../kselftest_harness.h"
#include "aio_thread_test.h"

#define BLOCK	4096
#define NR	32

/* ------------------------------------------------------ files that wait */

FIXTURE(wait) {
	aio_context_t ctx, plain;
	struct ends e;
	struct iocb iocb[NR];
	char buf[NR][512];
};

FIXTURE_VARIANT(wait) {
	enum ends_kind kind;
	/* Each read takes what one ends_feed() has brought. */
	bool counts;
	/* Plain contexts cannot read it. */
	bool only_read;
};

FIXTURE_VARIANT_ADD(wait, pipe) { .kind = ENDS_PIPE, .counts = true };
FIXTURE_VARIANT_ADD(wait, fifo) { .kind = ENDS_FIFO, .counts = true };
FIXTURE_VARIANT_ADD(wait, stream) { .kind = ENDS_STREAM, .counts = true };
FIXTURE_VARIANT_ADD(wait, seqpacket) { .kind = ENDS_SEQPACKET, .counts = true };
FIXTURE_VARIANT_ADD(wait, eventfd) { .kind = ENDS_EVENTFD, .counts = true };
FIXTURE_VARIANT_ADD(wait, pty) { .kind = ENDS_PTY, .counts = true };
FIXTURE_VARIANT_ADD(wait, timerfd) { .kind = ENDS_TIMERFD };
FIXTURE_VARIANT_ADD(wait, inotify) { .kind = ENDS_INOTIFY, .only_read = true };

FIXTURE_SETUP(wait)
{
	int i;

	NEED_THREADS();
	ASSERT_EQ(0, setup_threaded(NR, &self->ctx));
	ASSERT_EQ(0, setup_plain(NR, &self->plain));
	ASSERT_TRUE(ends_open(&self->e, variant->kind, 0));
	for (i = 0; i < NR; i++)
		aio_prep(&self->iocb[i], IOCB_CMD_PREAD, self->e.in, self->buf[i],
			 ends_room(&self->e), 0);
}

FIXTURE_TEARDOWN(wait)
{
	EXPECT_EQ(0, aio_drain(self->ctx));
	EXPECT_EQ(0, io_destroy(self->ctx));
	ends_close(&self->e);
}

TEST_F(wait, read)
{
	struct iocb *cb = &self->iocb[0];
	struct iovec iov[2];
	int i;

	for (i = 0; i < 4; i++) {
		if (i == 3 && !variant->only_read && variant->kind != ENDS_SEQPACKET) {
			iov[0] = (struct iovec){ self->buf[0], 0 };
			iov[1] = (struct iovec){ self->buf[0], ends_room(&self->e) };
			aio_prep(cb, IOCB_CMD_PREADV, self->e.in, iov, 2, 0);
		}
		ASSERT_EQ(1, aio_submit_one(self->ctx, cb));
		/* It is taken in by value. */
		memset(iov, 0xff, sizeof(iov));
		EXPECT_NO_EVENT(self->ctx);
		ASSERT_TRUE(ends_feed(&self->e));
		EXPECT_NEXT(self->ctx, cb, self->e.len);
		/* What is there already. */
		ASSERT_TRUE(ends_feed(&self->e));
		if (i != 3)
			EXPECT_DONE(self->ctx, cb, self->e.len);
	}
}

/* The eventfd of a request is signalled when it is done, and not before. */
TEST_F(wait, resfd)
{
	int efd = eventfd(0, EFD_NONBLOCK);
	struct iocb *cb = &self->iocb[0];
	__u64 count = 0;

	cb->aio_flags = IOCB_FLAG_RESFD;
	cb->aio_resfd = efd;
	ASSERT_EQ(1, aio_submit_one(self->ctx, cb));
	EXPECT_NO_EVENT(self->ctx);
	EXPECT_EQ(-1, read(efd, &count, 8));
	ASSERT_TRUE(ends_feed(&self->e));
	EXPECT_NEXT(self->ctx, cb, self->e.len);
	EXPECT_TRUE(EVENTUALLY(read(efd, &count, 8) == 8));
	EXPECT_EQ(1, count);
	close(efd);
}

/*
 * When one thing comes all that wait are awake, and all but one have to wait again:
 * they see no EAGAIN.
 */
TEST_F(wait, many)
{
	struct iocb *list[NR];
	int i;

	if (!variant->counts)
		return;
	for (i = 0; i < NR; i++)
		list[i] = &self->iocb[i];
	ASSERT_EQ(NR, io_submit(self->ctx, NR, list));
	EXPECT_NO_EVENT(self->ctx);
	for (i = 0; i < NR; i++) {
		struct io_event event = { 0 };
		struct iocb *cb;

		ASSERT_TRUE(ends_feed(&self->e));
		ASSERT_EQ(1, await_events(self->ctx, &event, 1));
		cb = (struct iocb *)(uintptr_t)event.obj;
		ASSERT_TRUE(cb >= self->iocb && cb < self->iocb + NR);
		EXPECT_EVENT(&event, cb, self->e.len);
		/* Each only once. */
		EXPECT_NE(0, cb->aio_data);
		cb->aio_data = 0;
		EXPECT_EQ(0, aio_drain(self->ctx));
	}
}

/* In competition with a thread of the program that reads the same, and gets most of it. */
static void *read_the_others(void *arg)
{
	struct ends *e = arg;
	char buf[512];
	int i;

	for (i = 0; i < 90; i++)
		if (read(e->in, buf, ends_room(e)) != e->len)
			return (void *)1;
	return NULL;
}

TEST_F(wait, competition)
{
	struct io_event events[20];
	struct iocb *list[20];
	pthread_t thread;
	void *bad;
	int i;

	if (!variant->counts)
		return;
	for (i = 0; i < 20; i++)
		list[i] = &self->iocb[i];
	ASSERT_EQ(20, io_submit(self->ctx, 20, list));
	ASSERT_EQ(0, pthread_create(&thread, NULL, read_the_others, &self->e));
	for (i = 0; i < 110; i++)
		ASSERT_TRUE(ends_feed(&self->e));
	ASSERT_EQ(20, await_events(self->ctx, events, 20));
	for (i = 0; i < 20; i++)
		EXPECT_EQ(self->e.len, events[i].res);
	pthread_join(thread, &bad);
	EXPECT_EQ(NULL, bad);
}

/* Ready, submitted by another thread at the same time: no wake-up is lost. */
static void *feed_200(void *arg)
{
	int i;

	for (i = 0; i < 200; i++)
		if (!ends_feed(arg))
			return (void *)1;
	return NULL;
}

TEST_F(wait, wake_ups)
{
	struct io_event event;
	pthread_t thread;
	void *bad;
	int i;

	if (!variant->counts)
		return;
	ASSERT_EQ(0, pthread_create(&thread, NULL, feed_200, &self->e));
	for (i = 0; i < 200; i++) {
		ASSERT_EQ(1, aio_submit_one(self->ctx, &self->iocb[0]));
		ASSERT_EQ(1, await_events(self->ctx, &event, 1));
		ASSERT_EQ(self->e.len, event.res);
	}
	pthread_join(thread, &bad);
	EXPECT_EQ(NULL, bad);
}

/* O_NONBLOCK at the descriptor asks for EAGAIN. */
TEST_F(wait, nonblocking)
{
	struct iocb iocb;
	struct ends e;
	char buf[512];

	ASSERT_TRUE(ends_open(&e, variant->kind, O_NONBLOCK));
	aio_prep(&iocb, IOCB_CMD_PREAD, e.in, buf, ends_room(&e), 0);
	EXPECT_DONE(self->ctx, &iocb, -EAGAIN);
	if (!variant->only_read)
		EXPECT_DONE(self->plain, &iocb, -EAGAIN);
	ASSERT_TRUE(ends_feed(&e));
	EXPECT_TRUE(EVENTUALLY(poll(&(struct pollfd){ e.in, POLLIN, 0 }, 1, 0) == 1));
	EXPECT_DONE(self->ctx, &iocb, e.len);
	ends_close(&e);
}

/* RWF_NOWAIT does, too, or is refused, as on a plain context. */
TEST_F(wait, nowait)
{
	struct io_event event = { 0 }, want = { 0 };
	struct iocb *cb = &self->iocb[0];
	long ret;

	cb->aio_rw_flags = RWF_NOWAIT;
	if (variant->only_read) {
		ret = aio_submit_one(self->ctx, cb);
		if (ret == 1 && await_events(self->ctx, &event, 1) == 1)
			ret = event.res;
		EXPECT_TRUE(ret == -EOPNOTSUPP || ret == -EAGAIN || ret == -EINVAL) {
			TH_LOG("RWF_NOWAIT: %ld", ret);
		}
		return;
	}
	ret = aio_run(self->plain, cb, &want);
	EXPECT_EQ(ret, aio_submit_one(self->ctx, cb));
	if (ret == 1) {
		EXPECT_EQ(1, await_events(self->ctx, &event, 1));
		EXPECT_EQ(want.res, event.res);
	}
	if (variant->kind == ENDS_PIPE) {
		EXPECT_EQ(1, ret);
		EXPECT_EQ(-EAGAIN, event.res);
	}
}

/* The file is the request's own, and given back with it: then the reader sees the end. */
TEST_F(wait, file_is_given_back)
{
	int pair[2], i;
	char c;

	if (variant->kind != ENDS_PIPE)
		return;
	signal(SIGPIPE, SIG_IGN);
	for (i = 0; i < 20; i++) {
		ASSERT_EQ(0, pipe(pair));
		aio_prep(&self->iocb[0], IOCB_CMD_PREAD, pair[0], &c, 1, 0);
		ASSERT_EQ(1, aio_submit_one(self->ctx, &self->iocb[0]));
		close(pair[0]);
		ASSERT_EQ(1, write(pair[1], "x", 1));
		EXPECT_NEXT(self->ctx, &self->iocb[0], 1);
		ASSERT_TRUE(EVENTUALLY(write(pair[1], "x", 1) < 0 && errno == EPIPE));
		close(pair[1]);
		/* As for a writer. */
		ASSERT_EQ(0, pipe(pair));
		ASSERT_LT(0, fill_pipe(pair[1]));
		aio_prep(&self->iocb[0], IOCB_CMD_PWRITE, pair[1], &c, 1, 0);
		ASSERT_EQ(1, aio_submit_one(self->ctx, &self->iocb[0]));
		close(pair[1]);
		ASSERT_LE(0, fcntl(pair[0], F_SETFL, O_NONBLOCK));
		/* 0 is the end of the file, which is not before the event. */
		ASSERT_TRUE(EVENTUALLY(!read(pair[0], self->buf, sizeof(self->buf))));
		EXPECT_NEXT(self->ctx, &self->iocb[0], 1);
		close(pair[0]);
	}
}

/* The other side hangs up: that is what a blocking read would return then. */
TEST_F(wait, hang_up)
{
	struct io_event event = { 0 };

	if (variant->kind != ENDS_PIPE && variant->kind != ENDS_STREAM &&
	    variant->kind != ENDS_PTY)
		return;
	ASSERT_EQ(1, aio_submit_one(self->ctx, &self->iocb[0]));
	EXPECT_NO_EVENT(self->ctx);
	close(self->e.out);
	self->e.out = -1;
	ASSERT_EQ(1, await_events(self->ctx, &event, 1));
	/* A terminal says the one or the other, as it happens. */
	if (event.res != -EIO || variant->kind != ENDS_PTY)
		EXPECT_EQ(0, event.res);
}

/* ------------------------------------------------------ writes that wait, parts */

FIXTURE(part) {
	aio_context_t ctx, plain;
	struct iocb iocb;
	char *buf, *back;
};

#define MUCH	300000

FIXTURE_SETUP(part)
{
	NEED_THREADS();
	ASSERT_EQ(0, setup_threaded(8, &self->ctx));
	ASSERT_EQ(0, setup_plain(8, &self->plain));
	self->buf = malloc(MUCH);
	self->back = calloc(1, MUCH);
	aio_pattern(self->buf, MUCH, 7);
}

FIXTURE_TEARDOWN(part)
{
	EXPECT_EQ(0, aio_drain(self->ctx));
}

static long read_all(int fd, char *buf, long len)
{
	struct pollfd pfd = { fd, POLLIN, 0 };
	long sum = 0, n;

	/* What does not come is not waited for. */
	while (sum < len && poll(&pfd, 1, patience() * 250) == 1 &&
	       (n = read(fd, buf + sum, len - sum < 5000 ? len - sum : 5000)) > 0)
		sum += n;
	return sum;
}

/* A pipe takes in what fits, and the write goes on from there. */
TEST_F(part, write_to_pipe)
{
	struct iovec iov[3] = {
		{ self->buf, 1000 }, { self->buf + 1000, 199000 },
		{ self->buf + 200000, MUCH - 200000 },
	};
	int pair[2], i, filled;

	for (i = 0; i < 4; i++) {
		ASSERT_EQ(0, pipe(pair));
		filled = i & 2 ? fill_pipe(pair[1]) : 0;
		if (i & 1)
			aio_prep(&self->iocb, IOCB_CMD_PWRITEV, pair[1], iov, 3, 0);
		else
			aio_prep(&self->iocb, IOCB_CMD_PWRITE, pair[1], self->buf, MUCH, 0);
		ASSERT_EQ(1, aio_submit_one(self->ctx, &self->iocb));
		EXPECT_NO_EVENT(self->ctx);
		if (filled)
			EXPECT_EQ(filled, read_all(pair[0], self->back, filled));
		memset(self->back, 0, MUCH);
		EXPECT_EQ(MUCH, read_all(pair[0], self->back, MUCH));
		EXPECT_EQ(0, memcmp(self->buf, self->back, MUCH));
		EXPECT_NEXT(self->ctx, &self->iocb, MUCH);
		close(pair[0]);
		close(pair[1]);
	}
}

TEST_F(part, write_to_stream)
{
	int pair[2], size = 8192;

	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	ASSERT_EQ(0, setsockopt(pair[1], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)));
	aio_prep(&self->iocb, IOCB_CMD_PWRITE, pair[1], self->buf, MUCH, 0);
	ASSERT_EQ(1, aio_submit_one(self->ctx, &self->iocb));
	EXPECT_NO_EVENT(self->ctx);
	EXPECT_EQ(MUCH, read_all(pair[0], self->back, MUCH));
	EXPECT_EQ(0, memcmp(self->buf, self->back, MUCH));
	EXPECT_NEXT(self->ctx, &self->iocb, MUCH);
	close(pair[0]);
	close(pair[1]);
}

/* Who asked for it gets the part, and EAGAIN where there is none. */
TEST_F(part, nonblocking_write)
{
	struct io_event want = { 0 };
	int pair[2], i;

	for (i = 0; i < 2; i++) {
		aio_context_t ctx = i ? self->ctx : self->plain;

		ASSERT_EQ(0, pipe2(pair, O_NONBLOCK));
		aio_prep(&self->iocb, IOCB_CMD_PWRITE, pair[1], self->buf, MUCH, 0);
		if (!i) {
			ASSERT_EQ(1, aio_run(ctx, &self->iocb, &want));
			EXPECT_LT(0, want.res);
			EXPECT_GT(MUCH, want.res);
		} else {
			EXPECT_DONE(ctx, &self->iocb, want.res);
		}
		EXPECT_DONE(ctx, &self->iocb, -EAGAIN);
		close(pair[0]);
		close(pair[1]);
	}
	/* By flag. */
	ASSERT_EQ(0, pipe(pair));
	ASSERT_LT(0, fill_pipe(pair[1]));
	self->iocb.aio_fildes = pair[1];
	self->iocb.aio_rw_flags = RWF_NOWAIT;
	EXPECT_DONE(self->plain, &self->iocb, -EAGAIN);
	EXPECT_DONE(self->ctx, &self->iocb, -EAGAIN);
	close(pair[0]);
	close(pair[1]);
}

/* What is there is a result, if it is not what was asked for. */
TEST_F(part, short_read)
{
	int pair[2], i;

	for (i = 0; i < 4; i++) {
		ASSERT_EQ(0, i & 1 ? socketpair(AF_UNIX, SOCK_STREAM, 0, pair) : pipe(pair));
		aio_prep(&self->iocb, IOCB_CMD_PREAD, pair[0], self->back, 1000, 0);
		if (i & 2)
			ASSERT_EQ(1, aio_submit_one(self->ctx, &self->iocb));
		ASSERT_EQ(10, write(pair[1], self->buf, 10));
		if (!(i & 2))
			ASSERT_EQ(1, aio_submit_one(self->ctx, &self->iocb));
		EXPECT_NEXT(self->ctx, &self->iocb, 10);
		EXPECT_EQ(0, memcmp(self->buf, self->back, 10));
		close(pair[0]);
		close(pair[1]);
	}
}

/*
 * Asked not to wait, /dev/zero stops when others want the CPU. That nobody else has asked
 * for: the read goes on.
 */
TEST_F_TIMEOUT(part, zero_in_full, 300)
{
	enum { SIZE = 16 << 20, BURNERS = 4, ROUNDS = 10 };
	int fd = open("/dev/zero", O_RDONLY), i;
	pid_t burner[BURNERS];
	char *buf;

	ASSERT_LE(0, fd);
	buf = aio_pages(SIZE, PROT_READ | PROT_WRITE);
	ASSERT_NE(MAP_FAILED, (void *)buf);
	for (i = 0; i < BURNERS; i++) {
		burner[i] = fork();
		ASSERT_LE(0, burner[i]);
		if (!burner[i]) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			for (;;)
				;
		}
	}
	for (i = 0; i < ROUNDS; i++) {
		memset(buf, 1, SIZE);
		aio_prep(&self->iocb, IOCB_CMD_PREAD, fd, buf, SIZE, 0);
		EXPECT_DONE(self->ctx, &self->iocb, SIZE);
		EXPECT_EQ(0, buf[SIZE - 1]);
		EXPECT_EQ(NULL, memchr(buf, 1, SIZE));
	}
	for (i = 0; i < BURNERS; i++) {
		kill(burner[i], SIGKILL);
		waitpid(burner[i], NULL, 0);
	}
	close(fd);
}

/* ------------------------------------------------------ the same as ever */

/* Only ->read and ->write: a plain context refuses them. */
TEST_F(part, only_read_and_write)
{
	char text[64] = "", name[32] = "";
	struct iovec iov[2] = { { text, 2 }, { text + 2, sizeof(text) - 2 } };
	int fd = open("/proc/self/comm", O_RDWR);

	ASSERT_LE(0, fd);
	aio_prep(&self->iocb, IOCB_CMD_PREAD, fd, text, sizeof(text), 0);
	EXPECT_REFUSED(self->plain, &self->iocb, -EINVAL);
	ASSERT_LT(1, aio_read_text("/proc/self/comm", name, sizeof(name)));
	EXPECT_DONE(self->ctx, &self->iocb, strlen(name));
	EXPECT_STREQ(name, text);
	/* From a place in it, and by a vector. */
	memset(text, 0, sizeof(text));
	self->iocb.aio_offset = 2;
	EXPECT_DONE(self->ctx, &self->iocb, strlen(name) - 2);
	EXPECT_STREQ(name + 2, text);
	memset(text, 0, sizeof(text));
	aio_prep(&self->iocb, IOCB_CMD_PREADV, fd, iov, 2, 0);
	EXPECT_DONE(self->ctx, &self->iocb, strlen(name));
	EXPECT_STREQ(name, text);
	/* Each is the name of its own thread: the one that is open is ours. */
	aio_prep(&self->iocb, IOCB_CMD_PWRITE, fd, "other", 5, 0);
	EXPECT_DONE(self->ctx, &self->iocb, 5);
	ASSERT_LT(0, aio_read_text("/proc/self/comm", name, sizeof(name)));
	EXPECT_STREQ("other\n", name);
	/* And it is wrong what is always wrong. */
	aio_prep(&self->iocb, IOCB_CMD_PREAD, fd, aio_unmapped(), 10, 0);
	EXPECT_DONE(self->ctx, &self->iocb, -EFAULT);
	close(fd);
	fd = open("/proc/self/comm", O_RDONLY);
	aio_prep(&self->iocb, IOCB_CMD_PWRITE, fd, "x", 1, 0);
	EXPECT_REFUSED(self->ctx, &self->iocb, -EBADF);
	close(fd);
}

/*
 * A file without positions takes any, and looks at each buffer by itself: what is read
 * is more than there is from the position on.
 */
TEST_F(part, largest_position)
{
	char path[] = "/tmp/aio_largest_XXXXXX";
	struct inotify_event events[2] = { 0 };
	struct iovec iov[2] = {
		{ &events[0], sizeof(events[0]) }, { &events[1], sizeof(events[1]) },
	};
	int file = mkstemp(path), fd = inotify_init1(IN_CLOEXEC);

	ASSERT_LE(0, file);
	ASSERT_LE(0, fd);
	ASSERT_LE(0, inotify_add_watch(fd, path, IN_MODIFY | IN_ATTRIB));
	ASSERT_EQ(1, write(file, "x", 1));
	ASSERT_EQ(0, fchmod(file, 0644));
	aio_prep(&self->iocb, IOCB_CMD_PREADV, fd, iov, 2, LLONG_MAX - sizeof(events[0]));
	EXPECT_DONE(self->ctx, &self->iocb, sizeof(events));
	EXPECT_EQ(IN_MODIFY, events[0].mask);
	EXPECT_EQ(IN_ATTRIB, events[1].mask);
	unlink(path);
	close(fd);
	close(file);
}

/* A terminal, in both directions, that nobody waits at. */
TEST_F(part, terminal)
{
	struct ends e;
	char line[64];
	struct termios tio;

	ASSERT_TRUE(ends_open(&e, ENDS_PTY, 0));
	/* By lines. */
	ASSERT_EQ(0, tcgetattr(e.in, &tio));
	tio.c_lflag |= ICANON;
	ASSERT_EQ(0, tcsetattr(e.in, TCSANOW, &tio));
	aio_prep(&self->iocb, IOCB_CMD_PREAD, e.in, line, sizeof(line), 0);
	ASSERT_EQ(1, aio_submit_one(self->ctx, &self->iocb));
	ASSERT_EQ(3, write(e.out, "abc", 3));
	EXPECT_NO_EVENT(self->ctx);
	ASSERT_EQ(2, write(e.out, "d\n", 2));
	EXPECT_NEXT(self->ctx, &self->iocb, 5);
	EXPECT_EQ(0, memcmp("abcd\n", line, 5));
	/* More than it has room for. */
	aio_prep(&self->iocb, IOCB_CMD_PWRITE, e.in, self->buf, 100000, 0);
	ASSERT_EQ(1, aio_submit_one(self->ctx, &self->iocb));
	EXPECT_EQ(100000, read_all(e.out, self->back, 100000));
	EXPECT_NEXT(self->ctx, &self->iocb, 100000);
	EXPECT_EQ(0, memcmp(self->buf, self->back, 100000));
	ends_close(&e);
}

/* What is refused and what fails: the same in both kinds, and when. */
TEST_F(part, errors_as_plain)
{
	int file = aio_disk_file(O_RDWR), mem = aio_mem_file(), dir = open("/", O_RDONLY);
	int rd = open("/dev/zero", O_RDONLY), wr = open("/dev/null", O_WRONLY), pair[2], full;
	struct iovec bad_iov[2] = { { self->buf, -1 }, { self->buf, 1 } };
	struct iovec half[2] = { { self->buf, 100 }, { aio_unmapped(), 100 } };
	struct {
		int op, fd;
		void *buf;
		size_t len;
		long long at;
		int flags;
	} c[] = {
		{ IOCB_CMD_PREAD, -1, self->back, 1, 0 },
		{ IOCB_CMD_PREAD, wr, self->back, 1, 0 },
		{ IOCB_CMD_PWRITE, rd, self->back, 1, 0 },
		{ IOCB_CMD_PWRITE, dir, self->back, 1, 0 },
		{ IOCB_CMD_PREAD, file, self->back, 1, -1 },
		{ IOCB_CMD_PWRITE, file, self->back, 1, -1 },
		{ IOCB_CMD_PREAD, mem, self->back, 1, -1 },
		{ IOCB_CMD_PREAD, file, self->back, 100, LLONG_MAX - 10 },
		{ IOCB_CMD_PWRITE, mem, self->back, 100, LLONG_MAX - 10 },
		{ IOCB_CMD_PREAD, file, (void *)-4096L, 100, 0 },
		{ IOCB_CMD_PREAD, file, aio_unmapped(), 100, 0 },
		{ IOCB_CMD_PREAD, mem, aio_unmapped(), 100, 0 },
		{ IOCB_CMD_PWRITE, file, aio_unmapped(), 100, 0 },
		{ IOCB_CMD_PWRITE, mem, aio_unmapped(), 100, 0 },
		{ IOCB_CMD_PREADV, file, aio_unmapped(), 2, 0 },
		{ IOCB_CMD_PREADV, mem, bad_iov, 2, 0 },
		{ IOCB_CMD_PREADV, mem, bad_iov, 1025, 0 },
		{ IOCB_CMD_PWRITEV, mem, half, 2, 0 },
		{ IOCB_CMD_PWRITEV, file, half, 2, 0 },
		{ IOCB_CMD_PREADV, mem, half, 2, 0 },
		{ IOCB_CMD_PREAD, mem, self->back, 0, 0 },
		{ IOCB_CMD_PREAD, mem, self->back, 10, 1LL << 40 },
		{ IOCB_CMD_PREAD, file, self->back, 10, 1LL << 40 },
		{ IOCB_CMD_PREAD, file, self->back, 10, 0, 1 << 30 },
		{ IOCB_CMD_PREAD, mem, self->back, 10, 0, RWF_NOWAIT },
		{ IOCB_CMD_PWRITE, mem, self->buf, 10, 0, RWF_NOWAIT },
		{ IOCB_CMD_PWRITE, mem, self->buf, 10, 0, RWF_DSYNC },
		{ IOCB_CMD_PWRITE, mem, self->buf, 10, 0, RWF_APPEND },
		{ IOCB_CMD_PWRITE, mem, self->buf, 10, 0, RWF_APPEND | RWF_NOAPPEND },
		{ IOCB_CMD_FSYNC, file, NULL, 0, 0 },
		{ IOCB_CMD_FSYNC, mem, NULL, 0, 0 },
		{ IOCB_CMD_FSYNC, dir, NULL, 0, 0 },
		{ IOCB_CMD_FDSYNC, file, NULL, 1, 0 },
		{ 4, file, NULL, 0, 0 }, { 6, file, NULL, 0, 0 }, { 11, file, NULL, 0, 0 },
		{ 14, file, NULL, 0, 0 }, { 65535, file, NULL, 0, 0 },
	};
	size_t i;

	ASSERT_EQ(0, pipe(pair));
	full = pair[1];
	ASSERT_LT(0, fill_pipe(full));
	ASSERT_EQ(1000, write(file, self->buf, 1000));
	ASSERT_EQ(1000, write(mem, self->buf, 1000));
	for (i = 0; i < ARRAY_SIZE(c); i++) {
		struct io_event want = { 0 }, event = { 0 };
		long ret;

		aio_prep(&self->iocb, c[i].op, c[i].fd, c[i].buf, c[i].len, c[i].at);
		self->iocb.aio_rw_flags = c[i].flags;
		ret = aio_run(self->plain, &self->iocb, &want);
		EXPECT_EQ(ret, aio_submit_one(self->ctx, &self->iocb)) {
			TH_LOG("case %zu: opcode %d, length %zu, at %lld, flags %x", i, c[i].op,
			       c[i].len, c[i].at, c[i].flags);
		}
		if (ret == 1)
			EXPECT_EQ(1, await_events(self->ctx, &event, 1));
		EXPECT_EQ(want.res, event.res) {
			TH_LOG("case %zu: opcode %d, length %zu, at %lld, flags %x", i, c[i].op,
			       c[i].len, c[i].at, c[i].flags);
		}
		EXPECT_EQ(0, aio_drain(self->ctx));
	}
}

/* Contexts of io_setup2() are threaded as well, fixed buffers and all. */
TEST_F(part, io_setup2)
{
	struct iocb *iocbs = aio_iocbs(4);
	unsigned int flags[] = { 0, USERIOCB, USERIOCB | FIXEDBUFS }, i;
	char *buf = aio_pages(4 * BLOCK, PROT_READ | PROT_WRITE);
	struct io_event event;
	aio_context_t ctx;
	long long old;
	int mem = aio_mem_file();
	struct ends e;
	long ret;

	if (!aio_has_setup2() || threads_plain())
		SKIP(return, "no io_setup2()");
	for (i = 0; i < ARRAY_SIZE(flags); i++) {
		bool index = flags[i] & USERIOCB;

		ASSERT_TRUE(ends_open(&e, ENDS_PIPE, 0));
		aio_prep(&iocbs[0], IOCB_CMD_PREAD, e.in, buf, 2, 0);
		aio_prep(&iocbs[1], IOCB_CMD_PWRITE, mem, buf + BLOCK, BLOCK, 5);
		aio_prep(&iocbs[2], IOCB_CMD_PREAD, mem, buf + 2 * BLOCK, BLOCK, 5);
		aio_prep(&iocbs[3], IOCB_CMD_PREAD, e.in, buf + 3 * BLOCK, 2, 0);
		aio_pattern(buf + BLOCK, BLOCK, i);
		ctx = 0;
		old = aio_read_number(AUTO_THREADS);
		ASSERT_EQ(0, aio_write_text(AUTO_THREADS, "1"));
		ret = io_setup2(4, flags[i], index ? iocbs : NULL, &ctx);
		aio_write_text(AUTO_THREADS, old ? "1" : "0");
		ASSERT_EQ(0, ret);
		ASSERT_EQ(1, index ? aio_submit_index(ctx, 0) : aio_submit_one(ctx, &iocbs[0]));
		ASSERT_EQ(1, index ? aio_submit_index(ctx, 3) : aio_submit_one(ctx, &iocbs[3]));
		/* What was submitted is what it was. */
		iocbs[0].aio_nbytes = 1;
		EXPECT_NO_EVENT(ctx);
		ASSERT_EQ(1, index ? aio_submit_index(ctx, 1) : aio_submit_one(ctx, &iocbs[1]));
		ASSERT_EQ(1, await_events(ctx, &event, 1));
		EXPECT_EQ(BLOCK, event.res);
		EXPECT_EQ(index ? 1 : (uintptr_t)&iocbs[1], event.obj);
		ASSERT_EQ(1, index ? aio_submit_index(ctx, 2) : aio_submit_one(ctx, &iocbs[2]));
		ASSERT_EQ(1, await_events(ctx, &event, 1));
		EXPECT_EQ(BLOCK, event.res);
		EXPECT_EQ(0, memcmp(buf + BLOCK, buf + 2 * BLOCK, BLOCK));
		ASSERT_EQ(2, write(e.out, "xy", 2));
		ASSERT_EQ(1, await_events(ctx, &event, 1));
		EXPECT_EQ(2, event.res);
		ret = event.obj == (index ? 0 : (uintptr_t)&iocbs[0]) ? 0 : 3;
		EXPECT_EQ(0, memcmp("xy", buf + ret * BLOCK, 2));
		/* The other one. */
		ret = 3 - ret;
		EXPECT_EQ(-EINPROGRESS, io_cancel(ctx, index ? (struct iocb *)ret : &iocbs[ret],
						  NULL));
		ASSERT_EQ(1, await_events(ctx, &event, 1));
		EXPECT_EQ(-EINTR, event.res);
		EXPECT_EQ(0, io_destroy(ctx));
		ends_close(&e);
	}
}

/* ------------------------------------------------------ overlayfs */

/* It can't be asked not to wait. */
FIXTURE(overlay) {
	struct thread_fs fs;
	char mnt[32];
	bool mounted;
	aio_context_t ctx;
	/* Of the upper layer, and of the lower one. */
	int fd, lower;
	struct iocb iocb[NR], *list[NR];
	struct io_event events[NR];
	char *buf, *back;
};

FIXTURE_SETUP(overlay)
{
	char layer[3][64], options[256];
	int i, fd;

	NEED_THREADS();
	self->fd = -1;
	self->lower = -1;
	if (!thread_fs_make(&self->fs, 5))
		SKIP(return, "no null_blk disk with ext4 (needs root, configfs, mkfs.ext4)");
	for (i = 0; i < 3; i++) {
		snprintf(layer[i], sizeof(layer[i]), "%s/layer%d", self->fs.mnt, i);
		ASSERT_EQ(0, mkdir(layer[i], 0755));
	}
	self->buf = aio_pages(NR * BLOCK, PROT_READ | PROT_WRITE);
	self->back = aio_pages(NR * BLOCK, PROT_READ | PROT_WRITE);
	aio_pattern(self->buf, NR * BLOCK, 11);
	fd = thread_fs_open(&self->fs, "layer0/lower", O_RDWR);
	ASSERT_EQ(NR * BLOCK, pwrite(fd, self->buf, NR * BLOCK, 0));
	ASSERT_EQ(0, fsync(fd));
	close(fd);
	snprintf(options, sizeof(options), "lowerdir=%s,upperdir=%s,workdir=%s", layer[0],
		 layer[1], layer[2]);
	strcpy(self->mnt, "/tmp/aio_overlay_XXXXXX");
	ASSERT_NE(NULL, mkdtemp(self->mnt));
	if (mount("none", self->mnt, "overlay", 0, options))
		SKIP(return, "no overlayfs");
	self->mounted = true;
	snprintf(options, sizeof(options), "%s/lower", self->mnt);
	self->lower = open(options, O_RDONLY | O_CLOEXEC);
	snprintf(options, sizeof(options), "%s/upper", self->mnt);
	self->fd = open(options, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	ASSERT_LE(0, self->lower);
	ASSERT_LE(0, self->fd);
	for (i = 0; i < NR; i++)
		self->list[i] = &self->iocb[i];
	ASSERT_EQ(0, setup_threaded(NR, &self->ctx));
}

FIXTURE_TEARDOWN_PARENT(overlay)
{
	if (self->mounted && !EVENTUALLY(!umount(self->mnt)))
		umount2(self->mnt, MNT_DETACH);
	if (self->mnt[0])
		rmdir(self->mnt);
	thread_fs_remove(&self->fs);
}

static int forget(int fd)
{
	return fsync(fd) || posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) ||
		posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM);
}

TEST_F(overlay, right_data)
{
	char *tail = self->buf + (NR - 1) * BLOCK;
	struct iovec iov[2] = { { self->back, 100 }, { self->back + 100, 3 * BLOCK } };
	int i, round;

	/* Blocks, not in order. */
	for (i = 0; i < NR; i++) {
		int at = i * 7 % NR;

		aio_prep(&self->iocb[i], IOCB_CMD_PWRITE, self->fd, self->buf + at * BLOCK, BLOCK,
			 at * BLOCK);
	}
	ASSERT_EQ(NR, io_submit(self->ctx, NR, self->list));
	EXPECT_LE(1, workers());
	EXPECT_ALL(self->ctx, NR, self->list, BLOCK);
	ASSERT_EQ(NR * BLOCK, pread(self->fd, self->back, NR * BLOCK, 0));
	EXPECT_EQ(0, memcmp(self->buf, self->back, NR * BLOCK));

	/* Cached and not, of both layers. */
	for (round = 0; round < 4; round++) {
		int fd = round & 1 ? self->lower : self->fd;

		if (round & 2)
			ASSERT_EQ(0, forget(fd));
		memset(self->back, 0, NR * BLOCK);
		for (i = 0; i < NR; i++)
			aio_prep(&self->iocb[i], IOCB_CMD_PREAD, fd, self->back + i * BLOCK, BLOCK,
				 i * BLOCK);
		ASSERT_EQ(NR, io_submit(self->ctx, NR, self->list));
		EXPECT_ALL(self->ctx, NR, self->list, BLOCK);
		EXPECT_EQ(0, memcmp(self->buf, self->back, NR * BLOCK));
	}

	/* Over the end, and in parts. */
	aio_prep(&self->iocb[0], IOCB_CMD_PREADV, self->lower, iov, 2, (NR - 1) * BLOCK + 1);
	EXPECT_DONE(self->ctx, self->list[0], BLOCK - 1);
	EXPECT_EQ(0, memcmp(tail + 1, self->back, BLOCK - 1));
	self->iocb[0].aio_offset = NR * BLOCK;
	EXPECT_DONE(self->ctx, self->list[0], 0);

	/* At the end, one behind the other, and a read and a flush behind them. */
	for (i = 0; i < 4; i++) {
		aio_prep(&self->iocb[i], IOCB_CMD_PWRITE, self->fd, self->buf + i * BLOCK, BLOCK,
			 0);
		self->iocb[i].aio_rw_flags = RWF_APPEND;
	}
	memset(self->back, 0, 5 * BLOCK);
	aio_prep(&self->iocb[4], IOCB_CMD_PREAD, self->fd, self->back, 5 * BLOCK, NR * BLOCK);
	aio_prep(&self->iocb[5], IOCB_CMD_FSYNC, self->fd, NULL, 0, 0);
	ASSERT_EQ(6, io_submit(self->ctx, 6, self->list));
	ASSERT_EQ(6, await_events(self->ctx, self->events, 6));
	for (i = 0; i < 6; i++) {
		long n = (struct iocb *)(uintptr_t)self->events[i].obj - self->iocb;

		EXPECT_EVENT(&self->events[i], &self->iocb[n],
			     n < 4 ? BLOCK : n == 4 ? 4 * BLOCK : 0);
	}
	EXPECT_EQ(0, memcmp(self->buf, self->back, 4 * BLOCK));
	/* Only one layer can be written. */
	aio_prep(&self->iocb[0], IOCB_CMD_PWRITE, self->lower, self->buf, 1, 0);
	EXPECT_REFUSED(self->ctx, self->list[0], -EBADF);
}

TEST_F(overlay, does_not_wait)
{
	int i, slept = 0;
	long sleeps;

	aio_prep(&self->iocb[0], IOCB_CMD_PWRITE, self->fd, self->buf, BLOCK, 0);
	EXPECT_DONE(self->ctx, self->list[0], BLOCK);
	for (i = 0; i < 20; i++) {
		ASSERT_EQ(0, forget(self->lower));
		memset(self->back, 0, BLOCK);
		aio_prep(&self->iocb[0], IOCB_CMD_PREAD, self->lower, self->back, BLOCK,
			 i * BLOCK);
		sleeps = aio_sleeps(aio_gettid());
		ASSERT_EQ(1, aio_submit_one(self->ctx, self->list[0]));
		slept += aio_sleeps(aio_gettid()) != sleeps;
		EXPECT_NEXT(self->ctx, self->list[0], BLOCK);
		EXPECT_EQ(0, memcmp(self->buf + i * BLOCK, self->back, BLOCK));
	}
	/* It may have to, for a lock or for memory. */
	EXPECT_GT(5, slept);

	/* Nor while the file system below is frozen. */
	ASSERT_EQ(0, ioctl(self->fs.dir, FIFREEZE, 0));
	aio_prep(&self->iocb[0], IOCB_CMD_PWRITE, self->fd, self->buf + BLOCK, BLOCK, 0);
	EXPECT_EQ(1, aio_submit_one(self->ctx, self->list[0]));
	aio_prep(&self->iocb[1], IOCB_CMD_PREAD, self->lower, self->back, BLOCK, 3 * BLOCK);
	EXPECT_DONE(self->ctx, self->list[1], BLOCK);
	EXPECT_EQ(0, memcmp(self->buf + 3 * BLOCK, self->back, BLOCK));
	EXPECT_NO_EVENT(self->ctx);
	EXPECT_TRUE(EVENTUALLY(worker_waits()));
	ASSERT_EQ(0, ioctl(self->fs.dir, FITHAW, 0));
	EXPECT_NEXT(self->ctx, self->list[0], BLOCK);
	ASSERT_EQ(BLOCK, pread(self->fd, self->back, BLOCK, 0));
	EXPECT_EQ(0, memcmp(self->buf + BLOCK, self->back, BLOCK));
}

/* ------------------------------------------------------ priorities */

/* They are seen where the block layer hands requests to the driver. */
#define TRACEFS		"/sys/kernel/tracing"
#define RQ_ISSUE	"events/block/block_rq_issue"

#define PRIO(class, level)	((class) << 13 | (level))
#define CLASS_RT		1
#define CLASS_BE		2
#define CLASS_IDLE		3

/* A size that nothing else has that is written. */
#define PRIO_SIZE		(5 * BLOCK)

FIXTURE(prio) {
	struct thread_fs fs;
	char dir[64];
	aio_context_t ctx;
	struct iocb iocb;
	char *buf;
	int fd;
};

FIXTURE_VARIANT(prio) {
	int opcode, flags;
};

FIXTURE_VARIANT_ADD(prio, direct) { .opcode = IOCB_CMD_PWRITE, .flags = O_DIRECT };
FIXTURE_VARIANT_ADD(prio, buffered_read) { .opcode = IOCB_CMD_PREAD };
FIXTURE_VARIANT_ADD(prio, buffered_write) { .opcode = IOCB_CMD_PWRITE, .flags = O_DSYNC };

static int prio_set(const char *dir, const char *name, const char *text)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return aio_write_text(path, text);
}

FIXTURE_SETUP(prio)
{
	char text[4096] = "", filter[64];
	struct stat st;

	NEED_THREADS();
	self->fd = -1;
	if (geteuid())
		SKIP(return, "is for root");
	if (access(TRACEFS "/events", F_OK))
		mount("tracefs", TRACEFS, "tracefs", 0, NULL);
	if (access(TRACEFS "/" RQ_ISSUE, F_OK))
		SKIP(return, "no " TRACEFS "/" RQ_ISSUE);
	aio_read_text(TRACEFS "/" RQ_ISSUE "/format", text, sizeof(text));
	if (!strstr(text, "ioprio"))
		SKIP(return, "block_rq_issue does not tell priorities");
	if (!thread_fs_make(&self->fs, 5))
		SKIP(return, "no null_blk disk with ext4 (needs root, configfs, mkfs.ext4)");
	ASSERT_EQ(0, stat(self->fs.disk.dev, &st));
	snprintf(self->dir, sizeof(self->dir), TRACEFS "/instances/aio-prio-%d", getpid());
	ASSERT_EQ(0, mkdir(self->dir, 0700));
	snprintf(filter, sizeof(filter), "dev == %u", major(st.st_rdev) << 20 | minor(st.st_rdev));
	ASSERT_EQ(0, prio_set(self->dir, RQ_ISSUE "/filter", filter));
	ASSERT_EQ(0, prio_set(self->dir, RQ_ISSUE "/enable", "1"));
	self->fd = thread_fs_open(&self->fs, "file", O_RDWR | variant->flags);
	self->buf = aio_pages(PRIO_SIZE, PROT_READ | PROT_WRITE);
	ASSERT_EQ(PRIO_SIZE, pwrite(self->fd, self->buf, PRIO_SIZE, 0));
	ASSERT_EQ(0, fsync(self->fd));
	aio_prep(&self->iocb, variant->opcode, self->fd, self->buf, PRIO_SIZE, 0);
	ASSERT_EQ(0, setup_threaded(8, &self->ctx));
}

FIXTURE_TEARDOWN_PARENT(prio)
{
	if (self->dir[0])
		rmdir(self->dir);
	thread_fs_remove(&self->fs);
}

/* Of the only request of that size since the last call; -1 if there is none. */
static int traced_prio(const char *dir)
{
	static const char * const classes[] = { "none", "rt", "be", "idle" };
	unsigned int sectors, hint, level, i;
	static char text[65536];
	char path[128], class[8], *line, *at;
	int found = -1;

	snprintf(path, sizeof(path), "%s/trace", dir);
	if (aio_read_text(path, text, sizeof(text)) <= 0)
		return -2;
	/* To open it so empties it. */
	close(open(path, O_WRONLY | O_TRUNC | O_CLOEXEC));
	for (line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
		at = strstr(line, "block_rq_issue: ");
		at = at ? strstr(at, " + ") : NULL;
		if (!at || sscanf(at, " + %u %7[^,],%u,%u", &sectors, class, &hint, &level) != 4 ||
		    sectors * 512 != PRIO_SIZE)
			continue;
		for (i = 0; i < ARRAY_SIZE(classes) && strcmp(class, classes[i]); i++)
			;
		if (found >= 0)
			return -3;
		found = PRIO(i, level);
	}
	return found;
}

/* Of the calling thread. */
static long ioprio_set(int prio)
{
	return aio_result(syscall(__NR_ioprio_set, 1, 0, prio));
}

/* The file system is frozen when it is submitted: so a thread does it, later. */
#define EXPECT_PRIO(self, later, want) do {				\
	traced_prio((self)->dir);					\
	ASSERT_EQ(0, ioctl((self)->fs.dir, FIFREEZE, 0));		\
	EXPECT_EQ(1, aio_submit_one((self)->ctx, &(self)->iocb));	\
	EXPECT_TRUE(EVENTUALLY(worker_waits()));			\
	/* What it is by then does not matter. */			\
	EXPECT_EQ(0, ioprio_set(later));				\
	ASSERT_EQ(0, ioctl((self)->fs.dir, FITHAW, 0));			\
	EXPECT_NEXT((self)->ctx, &(self)->iocb, PRIO_SIZE);		\
	EXPECT_EQ((int)(want), traced_prio((self)->dir));		\
} while (0)

TEST_F(prio, of_request)
{
	static const int prios[] = {
		PRIO(CLASS_BE, 6), PRIO(CLASS_BE, 0), PRIO(CLASS_IDLE, 0), PRIO(CLASS_RT, 3),
	};
	unsigned int i;

	if (!(variant->flags & O_DIRECT))
		return;
	self->iocb.aio_flags = IOCB_FLAG_IOPRIO;
	for (i = 0; i < ARRAY_SIZE(prios); i++) {
		self->iocb.aio_reqprio = prios[i];
		EXPECT_PRIO(self, PRIO(CLASS_BE, 5), prios[i]);
	}
}

TEST_F(prio, of_submitter)
{
	static const int prios[] = {
		PRIO(CLASS_BE, 3), PRIO(CLASS_IDLE, 0), PRIO(CLASS_RT, 1), PRIO(CLASS_BE, 7),
	};
	unsigned int i;

	if (!(variant->flags & O_DIRECT))
		return;
	for (i = 0; i < ARRAY_SIZE(prios); i++) {
		ASSERT_EQ(0, ioprio_set(prios[i]));
		EXPECT_PRIO(self, PRIO(CLASS_BE, 1), prios[i]);
	}
}

struct prio_thread {
	aio_context_t ctx;
	struct iocb *iocb;
	int prio;
	long ret;
};

static void *prio_submits(void *arg)
{
	struct prio_thread *t = arg;

	t->ret = ioprio_set(t->prio);
	if (!t->ret)
		t->ret = aio_submit_one(t->ctx, t->iocb);
	return NULL;
}

/* A thread of the program that has another one than that for which AIO's threads were made. */
TEST_F(prio, of_another_thread)
{
	struct prio_thread t = { self->ctx, &self->iocb, .prio = PRIO(CLASS_BE, 2) };
	pthread_t thread;

	if (!(variant->flags & O_DIRECT))
		return;
	ASSERT_EQ(0, ioprio_set(PRIO(CLASS_BE, 6)));
	EXPECT_PRIO(self, PRIO(CLASS_BE, 6), PRIO(CLASS_BE, 6));
	ASSERT_EQ(0, ioctl(self->fs.dir, FIFREEZE, 0));
	EXPECT_EQ(0, pthread_create(&thread, NULL, prio_submits, &t));
	EXPECT_EQ(0, pthread_join(thread, NULL));
	ASSERT_EQ(0, ioctl(self->fs.dir, FITHAW, 0));
	EXPECT_EQ(1, t.ret);
	EXPECT_NEXT(self->ctx, &self->iocb, PRIO_SIZE);
	EXPECT_EQ(PRIO(CLASS_BE, 2), traced_prio(self->dir));
}

/*
 * On both kinds of context the same. Without O_DIRECT the block layer asks what the caller has:
 * so the thread would have to have the priority of the submitter.
 */
TEST_F(prio, as_plain)
{
	static const int prios[] = { PRIO(CLASS_BE, 3), PRIO(CLASS_IDLE, 0), PRIO(CLASS_BE, 6) };
	aio_context_t plain = 0;
	unsigned int i;

	ASSERT_EQ(0, setup_plain(4, &plain));
	/* The first thread is made for one that has none. */
	EXPECT_DONE(self->ctx, &self->iocb, PRIO_SIZE);
	for (i = 0; i < 2 * ARRAY_SIZE(prios); i++) {
		struct prio_thread t = {
			i & 1 ? self->ctx : plain, &self->iocb, .prio = prios[i / 2],
		};
		pthread_t thread;

		ASSERT_EQ(0, forget(self->fd));
		traced_prio(self->dir);
		EXPECT_EQ(0, pthread_create(&thread, NULL, prio_submits, &t));
		EXPECT_EQ(0, pthread_join(thread, NULL));
		EXPECT_EQ(1, t.ret);
		EXPECT_NEXT(t.ctx, &self->iocb, PRIO_SIZE);
		EXPECT_EQ(prios[i / 2], traced_prio(self->dir)) {
			TH_LOG("%s context", i & 1 ? "threaded" : "plain");
		}
	}
	EXPECT_EQ(0, io_destroy(plain));
}

TEST_HARNESS_MAIN
