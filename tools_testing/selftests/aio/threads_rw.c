// SPDX-License-Identifier: GPL-2.0
/*
 * Reads and writes of threaded contexts.
 *
 * Held here: io_submit() does not wait, whatever kind of file it is, and the event comes
 * when the file is ready; who did not ask for it does not see EAGAIN, and who did
 * does; what is cut short goes on where C's blocking call would, and is a result
 * where it would not; files that have only ->read and ->write; what is refused, and
 * what fails, is as on a plain context.
 */
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
		EXPECT_TRUE(EVENTUALLY(write(pair[1], "x", 1) < 0 && errno == EPIPE));
		close(pair[1]);
		/* As for a writer. */
		ASSERT_EQ(0, pipe(pair));
		ASSERT_LT(0, fill_pipe(pair[1]));
		aio_prep(&self->iocb[0], IOCB_CMD_PWRITE, pair[1], &c, 1, 0);
		ASSERT_EQ(1, aio_submit_one(self->ctx, &self->iocb[0]));
		close(pair[1]);
		ASSERT_LE(0, fcntl(pair[0], F_SETFL, O_NONBLOCK));
		/* 0 is the end of the file, which is not before the event. */
		EXPECT_TRUE(EVENTUALLY(!read(pair[0], self->buf, sizeof(self->buf))));
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

TEST_HARNESS_MAIN
