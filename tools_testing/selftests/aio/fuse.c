// SPDX-License-Identifier: GPL-2.0
/*
 * Requests that end when the test wants them to.
 *
 * The test is the server of a FUSE file: reads and flushes of it reach the test
 * as messages, and are over when it answers. So nothing here depends on how fast
 * anything is.
 *
 * Held here: a flush is done with the credentials of whoever has submitted it,
 * and by somebody else; what the file system answers is what the event says; a
 * request that is not answered keeps its context and its process, but no one
 * else; flushes that have not begun can be cancelled, and are at the end of the
 * context and of the process, and those that hang keep no worker of others;
 * events come in the order in which requests end; a reader is woken by the
 * request that makes its number full.
 *
 * Needs root and FUSE.
 */
#include <linux/fuse.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/fsuid.h>
#include <sys/wait.h>
#include "../kselftest_harness.h"
#include "aio_thread_test.h"

#define NR		8
#define BLOCK		4096
#define FILE_SIZE	(NR * BLOCK)
#define USER		12345

/* The server. Messages other than these are answered at once, by a thread. */
struct message {
	struct fuse_in_header head;
	union {
		struct fuse_fsync_in fsync;
		struct fuse_read_in read;
		struct fuse_write_in write;
		struct fuse_interrupt_in interrupt;
		char rest[8192];
	};
};

struct server {
	int fd;
	/* Where reads, writes and flushes are passed on. */
	int queue[2];
	/* The one that is not waited for any longer with patience. */
	volatile __u64 interrupted;
	pthread_t thread;
};

static long server_reply(struct server *s, const struct message *m, int error,
			 const void *data, size_t len)
{
	struct fuse_out_header head = {
		.len = sizeof(head) + len, .error = error,
		.unique = m->head.unique,
	};
	struct iovec iov[2] = {
		{ &head, sizeof(head) }, { (void *)data, len },
	};

	return aio_result(writev(s->fd, iov, 2));
}

/* All that was asked for. */
static long server_done(struct server *s, const struct message *m,
			const void *data)
{
	size_t len = m->head.opcode == FUSE_READ ? m->read.size : 0;
	struct fuse_write_out written = { 0 };

	if (m->head.opcode == FUSE_WRITE) {
		written.size = m->write.size;
		return server_reply(s, m, 0, &written, sizeof(written));
	}
	return server_reply(s, m, 0, data, len);
}

static void server_answer(struct server *s, const struct message *m)
{
	struct fuse_init_out init = {
		.major = FUSE_KERNEL_VERSION, .minor = 31,
		.flags = FUSE_ASYNC_DIO, .max_write = BLOCK,
		.max_background = 64, .congestion_threshold = 64,
	};
	struct fuse_attr_out attr = {
		.attr_valid = 1000000,
		.attr = {
			.ino = 1, .size = FILE_SIZE, .mode = S_IFREG | 0666,
			.nlink = 1, .blksize = BLOCK,
		},
	};
	struct fuse_open_out open = { .fh = 1, .open_flags = FOPEN_DIRECT_IO };

	switch (m->head.opcode) {
	case FUSE_INIT:
		server_reply(s, m, 0, &init, sizeof(init));
		break;
	case FUSE_GETATTR:
		server_reply(s, m, 0, &attr, sizeof(attr));
		break;
	case FUSE_OPEN:
		server_reply(s, m, 0, &open, sizeof(open));
		break;
	case FUSE_RELEASE:
	case FUSE_FLUSH:
		server_reply(s, m, 0, NULL, 0);
		break;
	case FUSE_READ:
	case FUSE_WRITE:
	case FUSE_FSYNC:
		if (write(s->queue[1], m, 512) != 512)
			abort();
		break;
	case FUSE_INTERRUPT:
		s->interrupted = m->interrupt.unique;
		break;
	case FUSE_FORGET:
	case FUSE_BATCH_FORGET:
		break;
	default:
		server_reply(s, m, -EOPNOTSUPP, NULL, 0);
	}
}

static void *server_thread(void *arg)
{
	struct server *s = arg;
	struct message m;
	ssize_t len;

	/* Ends with ENODEV when the file system is gone. */
	while ((len = read(s->fd, &m, sizeof(m))) > 0 || errno == EINTR)
		if (len > 0)
			server_answer(s, &m);
	return NULL;
}

/*
 * A process that is killed has its files until its requests have ended. So that a test which is
 * stopped does not keep its own server, and wait for ever for its answers, this is done then.
 */
static void end_connection(const char *path)
{
	umount2(path, MNT_FORCE);
	umount2(path, MNT_DETACH);
	unlink(path);
}

/* Nor do other children have it. */
static int server_fd = -1;

static void close_server(void)
{
	close(server_fd);
}

static bool server_start(struct server *s, const char *path)
{
	char options[64];

	s->fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	server_fd = s->fd;
	if (s->fd < 0 || pthread_atfork(NULL, NULL, close_server) ||
	    !aio_guard(end_connection, path))
		return false;
	snprintf(options, sizeof(options),
		 "fd=%d,rootmode=100666,user_id=0,group_id=0,allow_other",
		 s->fd);
	if (pipe(s->queue) || mount("aio", path, "fuse", 0, options)) {
		close(s->fd);
		return false;
	}
	return !pthread_create(&s->thread, NULL, server_thread, s);
}

/* The next read, write or flush. */
static struct message server_next(struct server *s)
{
	struct message m = { 0 };

	if (read(s->queue[0], &m, 512) != 512)
		abort();
	return m;
}

static bool server_has_next(struct server *s)
{
	struct pollfd pfd = { .fd = s->queue[0], .events = POLLIN };

	return poll(&pfd, 1, 0) == 1;
}

FIXTURE(fuse) {
	struct server server;
	char path[32];
	int fd;
	aio_context_t ctx;
	struct io_event event;
	struct iocb iocb[NR];
	char *buf;
	char data[BLOCK];
};

static void take_down(struct _test_data_fuse *self)
{
	/* Ends what is unanswered, with ECONNABORTED. */
	umount2(self->path, MNT_FORCE);
	close(self->fd);
	umount2(self->path, MNT_DETACH);
	unlink(self->path);
}

FIXTURE_SETUP(fuse)
{
	struct stat st;
	bool ok;
	int i;

	snprintf(self->path, sizeof(self->path), "/tmp/aio_fuse_XXXXXX");
	self->fd = mkstemp(self->path);
	ASSERT_LE(0, self->fd);
	close(self->fd);
	if (!server_start(&self->server, self->path)) {
		unlink(self->path);
		SKIP(return, "no FUSE, or not root");
	}
	self->fd = open(self->path, O_RDWR | O_CLOEXEC);
	/* Nothing is read before the kernel has asked how much there is. */
	ok = self->fd >= 0 && !fstat(self->fd, &st) &&
		st.st_size == FILE_SIZE && !io_setup(NR, &self->ctx);
	ASSERT_TRUE(ok) {
		take_down(self);
	}
	self->buf = aio_pages(FILE_SIZE, PROT_READ | PROT_WRITE);
	aio_pattern(self->data, BLOCK, 1);
	for (i = 0; i < NR; i++)
		aio_prep(&self->iocb[i], IOCB_CMD_PREAD, self->fd,
			 self->buf + i * BLOCK, BLOCK, i * BLOCK);
}

FIXTURE_TEARDOWN(fuse)
{
	umount2(self->path, MNT_FORCE);
	if (self->ctx)
		EXPECT_EQ(0, io_destroy(self->ctx));
	take_down(self);
}

#define SUBMIT(i)							\
	ASSERT_EQ(1, aio_submit_one(self->ctx, &self->iocb[i]))
#define NEXT()		server_next(&self->server)
#define ANSWER(m, error)						\
	ASSERT_LT(0, server_reply(&self->server, &(m), error, NULL, 0))
#define ANSWER_ALL(m)							\
	ASSERT_LT(0, server_done(&self->server, &(m), self->data))
#define EXPECT_NEXT_EVENT(i, result) do {				\
	ASSERT_EQ(1, io_getevents(self->ctx, 1, 1, &self->event, NULL)); \
	EXPECT_EVENT(&self->event, &self->iocb[i], result);		\
} while (0)

static void prep_fsync(struct iocb *iocb, int opcode, int fd)
{
	aio_prep(iocb, opcode, fd, NULL, 0, 0);
}

/* ------------------------------------------------------ flushes */

TEST_F(fuse, fsync_credentials)
{
	struct message m;
	int i;

	for (i = 0; i < 3; i++)
		prep_fsync(&self->iocb[i], IOCB_CMD_FSYNC, self->fd);
	SUBMIT(0);
	m = NEXT();
	EXPECT_EQ(FUSE_FSYNC, m.head.opcode);
	EXPECT_EQ(0, m.head.uid);
	/* By a worker, not in io_submit(), which has returned. */
	EXPECT_NE(aio_gettid(), m.head.pid);
	EXPECT_EQ(0, aio_drain(self->ctx));
	/*
	 * While the first is under way another cannot begin: it will, when the
	 * submitter is somebody else already.
	 */
	setfsgid(USER + 1);
	setfsuid(USER);
	SUBMIT(1);
	setfsuid(0);
	setfsgid(0);
	SUBMIT(2);
	EXPECT_FALSE(server_has_next(&self->server));
	ANSWER(m, 0);
	EXPECT_NEXT_EVENT(0, 0);
	for (i = 0; i < 2; i++) {
		m = NEXT();
		if (m.head.uid)
			EXPECT_EQ(USER, m.head.uid);
		EXPECT_EQ(m.head.uid ? USER + 1 : 0, m.head.gid);
		ANSWER(m, 0);
		ASSERT_EQ(1, io_getevents(self->ctx, 1, 1, &self->event, NULL));
		EXPECT_EVENT(&self->event, &self->iocb[m.head.uid ? 1 : 2], 0);
	}
	/* The workers are themselves again. */
	SUBMIT(2);
	m = NEXT();
	EXPECT_EQ(0, m.head.uid);
	EXPECT_EQ(0, m.head.gid);
	ANSWER(m, 0);
	EXPECT_NEXT_EVENT(2, 0);
}

TEST_F(fuse, fsync_and_fdsync)
{
	struct message m;
	int i;

	for (i = 0; i < 2; i++) {
		prep_fsync(&self->iocb[i], i ? IOCB_CMD_FDSYNC : IOCB_CMD_FSYNC,
			   self->fd);
		SUBMIT(i);
		m = NEXT();
		EXPECT_EQ(i ? FUSE_FSYNC_FDATASYNC : 0, m.fsync.fsync_flags);
		ANSWER(m, 0);
		EXPECT_NEXT_EVENT(i, 0);
	}
}

TEST_F(fuse, fsync_result)
{
	int error[] = { -EIO, -ENOSPC, -EDQUOT, -EINVAL, -EINTR, -EAGAIN };
	struct message m;
	size_t i;

	prep_fsync(&self->iocb[0], IOCB_CMD_FSYNC, self->fd);
	for (i = 0; i < ARRAY_SIZE(error); i++) {
		SUBMIT(0);
		m = NEXT();
		ANSWER(m, error[i]);
		EXPECT_NEXT_EVENT(0, error[i]);
	}
}

/* It keeps the file. */
TEST_F(fuse, fsync_and_close)
{
	struct message m;

	prep_fsync(&self->iocb[0], IOCB_CMD_FSYNC, self->fd);
	SUBMIT(0);
	close(self->fd);
	m = NEXT();
	EXPECT_EQ(-EINVAL, io_cancel(self->ctx, &self->iocb[0], NULL));
	ANSWER(m, 0);
	EXPECT_NEXT_EVENT(0, 0);
	self->fd = open(self->path, O_RDWR | O_CLOEXEC);
}

/* ------------------------------------- flushes that have not begun */

/* So many of a process are executed at a time (MAX_AT_A_TIME). */
#define BUSY	64
#define WAITING	10
#define ALL	(BUSY + WAITING)

#define NOT_IN_C "flushes of the C implementation can't be cancelled"

/* Their ends are told by an eventfd, if there is one. */
static bool submit_flushes(aio_context_t *ctx, struct iocb *iocb, int nr, int fd,
			   int efd)
{
	int i;

	*ctx = 0;
	if (io_setup(nr, ctx))
		return false;
	for (i = 0; i < nr; i++) {
		prep_fsync(&iocb[i], IOCB_CMD_FSYNC, fd);
		if (efd >= 0) {
			iocb[i].aio_flags = IOCB_FLAG_RESFD;
			iocb[i].aio_resfd = efd;
		}
		if (aio_submit_one(*ctx, &iocb[i]) != 1)
			return false;
	}
	return true;
}

/*
 * As many have ended as can't have begun; not always the last ones, since who comes
 * to execute some may find the first ones cancelled. In C none does before somebody
 * answers.
 */
static bool waiting_have_ended(int efd)
{
	__u64 count, sum = 0;

	while (aio_is_rust() && sum < WAITING) {
		if (read(efd, &count, sizeof(count)) != sizeof(count))
			return false;
		sum += count;
	}
	return true;
}

/* Answers flushes until the file system is told to stop; how many? */
struct answers {
	struct server *server;
	int nr;
};

static void *answer_thread(void *arg)
{
	struct answers *a = arg;

	for (;;) {
		struct message m = server_next(a->server);

		if (m.head.opcode != FUSE_FSYNC)
			return NULL;
		a->nr++;
		server_reply(a->server, &m, 0, NULL, 0);
	}
}

static void answer_end(struct server *s)
{
	struct message m = { .head.opcode = FUSE_DESTROY };

	if (write(s->queue[1], &m, 512) != 512)
		abort();
}

TEST_F(fuse, cancel_what_waits)
{
	struct iocb iocb[ALL];
	struct message m;
	aio_context_t ctx;
	int i;

	if (!aio_is_rust())
		SKIP(return, NOT_IN_C);
	ASSERT_TRUE(submit_flushes(&ctx, iocb, ALL, self->fd, -1));
	m = NEXT();
	/* They begin in order, so the last ones have not. */
	for (i = ALL - 1; i >= BUSY; i--) {
		EXPECT_EQ(-EINPROGRESS, io_cancel(ctx, &iocb[i], NULL));
		EXPECT_EQ(-EINVAL, io_cancel(ctx, &iocb[i], NULL));
		/* Nobody has to answer. */
		ASSERT_EQ(1, io_getevents(ctx, 1, 1, &self->event, NULL));
		EXPECT_EVENT(&self->event, &iocb[i], -EINTR);
	}
	/* One has. */
	for (i = 0; i < BUSY; i++) {
		ANSWER(m, 0);
		ASSERT_EQ(1, io_getevents(ctx, 1, 1, &self->event, NULL));
		EXPECT_EQ(0, self->event.res);
		if (i < BUSY - 1)
			m = NEXT();
	}
	EXPECT_FALSE(server_has_next(&self->server));
	EXPECT_EQ(0, aio_drain(ctx));
	EXPECT_EQ(0, io_destroy(ctx));
}

/* What is executed already is waited for, and no other. */
TEST_F(fuse, destroy_with_what_waits)
{
	struct answers answers = { .server = &self->server };
	struct aio_caller destroyer = { 0 };
	int efd = eventfd(0, EFD_CLOEXEC);
	struct iocb iocb[ALL];
	pthread_t thread;

	ASSERT_TRUE(submit_flushes(&destroyer.ctx, iocb, ALL, self->fd, efd));
	/* One is executed. Otherwise all are cancelled, and there is nothing to wait for. */
	ASSERT_TRUE(EVENTUALLY(server_has_next(&self->server)));
	ASSERT_TRUE(aio_start_blocked(&destroyer, aio_destroy_thread,
				      __NR_io_destroy));
	EXPECT_TRUE(waiting_have_ended(efd));
	EXPECT_FALSE(destroyer.done);
	ASSERT_EQ(0, pthread_create(&thread, NULL, answer_thread, &answers));
	EXPECT_EQ(0, aio_join(&destroyer));
	answer_end(&self->server);
	pthread_join(thread, NULL);
	/* Not all of those that could have begun need have. */
	EXPECT_GE(aio_is_rust() ? BUSY : ALL, answers.nr);
	if (!aio_is_rust())
		EXPECT_EQ(ALL, answers.nr);
}

/* The same at the end of the process. */
TEST_F(fuse, exit_with_what_waits)
{
	struct answers answers = { .server = &self->server };
	int efd = eventfd(0, EFD_CLOEXEC);
	struct iocb iocb[ALL];
	aio_context_t ctx;
	pthread_t thread;
	int status;
	pid_t pid;

	pid = fork();
	if (!pid)
		_exit(!submit_flushes(&ctx, iocb, ALL, self->fd, efd));
	EXPECT_TRUE(waiting_have_ended(efd));
	ASSERT_EQ(0, pthread_create(&thread, NULL, answer_thread, &answers));
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	answer_end(&self->server);
	pthread_join(thread, NULL);
	/* Not all of those that could have begun need have. */
	EXPECT_GE(aio_is_rust() ? BUSY : ALL, answers.nr);
	if (!aio_is_rust())
		EXPECT_EQ(ALL, answers.nr);
}

/*
 * A file system that does not answer keeps the workers that the process may
 * have, and no other: not those of another process, nor those that polls need.
 * The C code takes them from the queue of all the system, 1,024 on a CPU.
 */
TEST_F(fuse, flushes_that_hang)
{
	int mem = aio_mem_file(), nr = 1100, fds[2], status;
	struct iocb *iocb = calloc(nr, sizeof(*iocb)), poll;
	aio_context_t ctx, other = 0;
	pid_t pid;

	if (!aio_is_rust())
		SKIP(return, "the C implementation stops the system's queue");
	ASSERT_NE(NULL, iocb);
	ASSERT_LE(0, mem);
	ASSERT_EQ(0, pipe(fds));
	ASSERT_EQ(0, io_setup(1, &other));
	ASSERT_EQ(0, aio_pin_cpu());
	ASSERT_TRUE(submit_flushes(&ctx, iocb, nr, self->fd, -1));
	NEXT();
	/* The event of a poll that is cancelled comes by a work item. */
	aio_prep(&poll, IOCB_CMD_POLL, fds[0], (void *)POLLIN, 0, 0);
	ASSERT_EQ(1, aio_submit_one(other, &poll));
	EXPECT_EQ(-EINPROGRESS, io_cancel(other, &poll, NULL));
	ASSERT_EQ(1, io_getevents(other, 1, 1, &self->event, NULL));
	EXPECT_EVENT(&self->event, &poll, 0);
	pid = fork();
	if (!pid) {
		other = 0;
		if (io_setup(1, &other))
			_exit(1);
		prep_fsync(&poll, IOCB_CMD_FSYNC, mem);
		if (aio_run(other, &poll, &self->event) != 1)
			_exit(2);
		_exit(self->event.res ? 3 : 0);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	/* In this process they wait, the one of the other file among them. */
	prep_fsync(&poll, IOCB_CMD_FSYNC, mem);
	ASSERT_EQ(1, aio_submit_one(other, &poll));
	EXPECT_EQ(-EINPROGRESS, io_cancel(other, &poll, NULL));
	ASSERT_EQ(1, io_getevents(other, 1, 1, &self->event, NULL));
	EXPECT_EVENT(&self->event, &poll, -EINTR);
	umount2(self->path, MNT_FORCE);
	EXPECT_EQ(0, io_destroy(ctx));
	free(iocb);
}

/* ------------------------------------- flushes that a thread runs */

/* A write, which a thread has to do, and a flush. */
static long submit_behind(aio_context_t ctx, struct iocb *iocb, int opcode, int fd, char *buf)
{
	struct iocb *list[] = { &iocb[0], &iocb[1] };

	aio_prep(&iocb[0], IOCB_CMD_PWRITE, fd, buf, BLOCK, 0);
	prep_fsync(&iocb[1], opcode, fd);
	return io_submit(ctx, 2, list);
}

/* The file system is told that it may give up the flush, and has the last word. */
TEST_F(fuse, cancel_what_a_thread_runs)
{
	static const int answer[] = { 0, -EINTR, -EIO };
	struct iocb *cb = self->iocb;
	aio_context_t ctx = 0;
	struct message m;
	size_t i;

	NEED_THREADS();
	ASSERT_EQ(0, setup_threaded(NR, &ctx));
	for (i = 0; i < 2 * ARRAY_SIZE(answer); i++) {
		int error = answer[i / 2];

		ASSERT_EQ(2, submit_behind(ctx, cb, i & 1 ? IOCB_CMD_FDSYNC : IOCB_CMD_FSYNC,
					   self->fd, self->buf));
		m = NEXT();
		EXPECT_EQ(FUSE_WRITE, m.head.opcode);
		EXPECT_NO_EVENT(ctx);
		EXPECT_FALSE(server_has_next(&self->server));
		ANSWER_ALL(m);
		EXPECT_NEXT(ctx, &cb[0], BLOCK);
		m = NEXT();
		EXPECT_EQ(FUSE_FSYNC, m.head.opcode);
		EXPECT_EQ(-EINPROGRESS, io_cancel(ctx, &cb[1], NULL));
		EXPECT_TRUE(EVENTUALLY(self->server.interrupted == m.head.unique));
		EXPECT_NO_EVENT(ctx);
		ANSWER(m, error);
		EXPECT_NEXT(ctx, &cb[1], error);
		EXPECT_EQ(-EINVAL, io_cancel(ctx, &cb[1], NULL));
		/* It is not done again, and there is one event. */
		EXPECT_NO_EVENT(ctx);
		EXPECT_FALSE(server_has_next(&self->server));
	}
	/* One without a write to go behind is none of theirs. */
	ASSERT_EQ(1, aio_submit_one(ctx, &cb[1]));
	m = NEXT();
	EXPECT_EQ(-EINVAL, io_cancel(ctx, &cb[1], NULL));
	ANSWER(m, 0);
	EXPECT_NEXT(ctx, &cb[1], 0);
	EXPECT_EQ(0, io_destroy(ctx));
}

/* A stop interrupts the flush as well. It is done again, and nobody has to know. */
TEST_F(fuse, stop_while_a_thread_flushes)
{
	struct io_event event[2];
	aio_context_t ctx = 0;
	struct message m;
	int status;
	pid_t pid;

	NEED_THREADS();
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		if (setup_threaded(NR, &ctx) ||
		    submit_behind(ctx, self->iocb, IOCB_CMD_FSYNC, self->fd, self->buf) != 2)
			_exit(1);
		if (await_events(ctx, event, 2) != 2)
			_exit(2);
		_exit(event[0].res != BLOCK || event[1].res);
	}
	m = NEXT();
	EXPECT_EQ(FUSE_WRITE, m.head.opcode);
	ANSWER_ALL(m);
	m = NEXT();
	EXPECT_EQ(FUSE_FSYNC, m.head.opcode);
	ASSERT_EQ(0, kill(pid, SIGSTOP));
	EXPECT_TRUE(EVENTUALLY(self->server.interrupted == m.head.unique));
	ANSWER(m, -EINTR);
	EXPECT_EQ(pid, waitpid(pid, &status, WUNTRACED));
	EXPECT_TRUE(WIFSTOPPED(status));
	ASSERT_EQ(0, kill(pid, SIGCONT));
	ASSERT_TRUE(EVENTUALLY(server_has_next(&self->server) ||
			       waitpid(pid, &status, WNOHANG) == pid));
	/* What has ended already has not done it again. */
	ASSERT_TRUE(server_has_next(&self->server));
	m = NEXT();
	EXPECT_EQ(FUSE_FSYNC, m.head.opcode);
	ANSWER(m, 0);
	EXPECT_EQ(0, await_child(pid));
}

/* ------------------------------------------------------ reads */

TEST_F(fuse, order_of_events)
{
	static const int order[NR] = { 3, 0, 7, 1, 2, 6, 5, 4 };
	struct iocb *list[NR];
	struct message m[NR], got;
	int i;

	for (i = 0; i < NR; i++)
		list[i] = &self->iocb[i];
	ASSERT_EQ(NR, io_submit(self->ctx, NR, list));
	for (i = 0; i < NR; i++) {
		got = NEXT();
		ASSERT_EQ(FUSE_READ, got.head.opcode);
		ASSERT_LT(got.read.offset / BLOCK, NR);
		m[got.read.offset / BLOCK] = got;
		/* A thread that waits for the answer could be interrupted. */
		if (!aio_auto_threads())
			EXPECT_EQ(-EINVAL, io_cancel(self->ctx, list[i], NULL));
	}
	EXPECT_EQ(0, aio_drain(self->ctx));
	for (i = 0; i < NR; i++) {
		self->data[0] = i;
		ANSWER_ALL(m[order[i]]);
		ASSERT_EQ(1, io_getevents(self->ctx, 1, NR, &self->event,
					  NULL));
		EXPECT_EVENT(&self->event, list[order[i]], BLOCK);
		EXPECT_EQ(0, memcmp(self->buf + order[i] * BLOCK, self->data,
				    BLOCK));
	}
	/* Collected at the end, they are in the same order. */
	ASSERT_EQ(NR, io_submit(self->ctx, NR, list));
	for (i = 0; i < NR; i++) {
		got = NEXT();
		m[got.read.offset / BLOCK] = got;
	}
	for (i = 0; i < NR; i++)
		ANSWER_ALL(m[order[i]]);
	for (i = 0; i < NR; i++)
		EXPECT_NEXT_EVENT(order[i], BLOCK);
}

TEST_F(fuse, read_result)
{
	int error[] = { -EIO, -EINTR, -EAGAIN, -ENODATA };
	struct message m;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(error); i++) {
		SUBMIT(0);
		m = NEXT();
		ANSWER(m, error[i]);
		EXPECT_NEXT_EVENT(0, error[i]);
	}
	SUBMIT(0);
	m = NEXT();
	ASSERT_LT(0, server_reply(&self->server, &m, 0, self->data, 100));
	EXPECT_NEXT_EVENT(0, 100);
	EXPECT_EQ(0, memcmp(self->buf, self->data, 100));
	EXPECT_EQ(0, self->buf[100]);
}

/* What was issued to wait may be refused all the same, and is not asked for again. */
TEST_F(fuse, result_in_a_thread)
{
	static const int opcode[] = { IOCB_CMD_PREAD, IOCB_CMD_PWRITE };
	static const int error[] = { -EAGAIN, -EOPNOTSUPP, -EINTR, -EIO };
	struct iocb *cb = self->iocb;
	aio_context_t ctx = 0;
	struct message m;
	size_t i, j;

	NEED_THREADS();
	ASSERT_EQ(0, setup_threaded(NR, &ctx));
	for (i = 0; i < ARRAY_SIZE(opcode); i++) {
		for (j = 0; j < ARRAY_SIZE(error); j++) {
			aio_prep(cb, opcode[i], self->fd, self->buf, BLOCK, 0);
			ASSERT_EQ(1, aio_submit_one(ctx, cb));
			m = NEXT();
			ANSWER(m, error[j]);
			ASSERT_TRUE(EVENTUALLY(server_has_next(&self->server) ||
					       io_getevents(ctx, 0, 1, &self->event, NULL)));
			ASSERT_FALSE(server_has_next(&self->server));
			EXPECT_EVENT(&self->event, cb, error[j]);
			EXPECT_NO_EVENT(ctx);
		}
	}
	EXPECT_EQ(0, io_destroy(ctx));
}

/* Whoever waits for three is woken by the third. */
TEST_F(fuse, min_nr)
{
	struct io_event events[2][NR];
	struct aio_caller reader[2] = {
		{ .ctx = self->ctx, .min_nr = 3, .nr = 3 },
		{ .ctx = self->ctx, .min_nr = 2, .nr = NR },
	};
	struct message m[5];
	int i;

	for (i = 0; i < 5; i++) {
		SUBMIT(i);
		m[i] = NEXT();
	}
	for (i = 0; i < 2; i++)
		reader[i].events = events[i];
	ASSERT_TRUE(aio_start_blocked(&reader[0], aio_getevents_thread,
				      __NR_io_getevents));
	ANSWER_ALL(m[2]);
	ANSWER_ALL(m[0]);
	EXPECT_FALSE(reader[0].done);
	EXPECT_TRUE(aio_wait_blocked(&reader[0].tid, __NR_io_getevents));
	ANSWER_ALL(m[4]);
	EXPECT_EQ(3, aio_join(&reader[0]));
	EXPECT_EVENT(&events[0][0], &self->iocb[2], BLOCK);
	EXPECT_EVENT(&events[0][1], &self->iocb[0], BLOCK);
	EXPECT_EVENT(&events[0][2], &self->iocb[4], BLOCK);
	ASSERT_TRUE(aio_start_blocked(&reader[1], aio_getevents_thread,
				      __NR_io_getevents));
	ANSWER_ALL(m[1]);
	EXPECT_TRUE(aio_wait_blocked(&reader[1].tid, __NR_io_getevents));
	ANSWER_ALL(m[3]);
	EXPECT_EQ(2, aio_join(&reader[1]));
	EXPECT_EVENT(&events[1][0], &self->iocb[1], BLOCK);
	EXPECT_EVENT(&events[1][1], &self->iocb[3], BLOCK);
}

/* ------------------------------------------------------ the end */

/* A read and a flush; the context goes when both have been answered. */
TEST_F(fuse, destroy_waits)
{
	int efd = eventfd(0, EFD_NONBLOCK), last;

	for (last = 0; last < 2; last++) {
		struct aio_caller destroyer = { .ctx = self->ctx };
		long long nr = aio_nr();
		struct message m[2];
		__u64 count = 0;
		int i;

		prep_fsync(&self->iocb[1], IOCB_CMD_FSYNC, self->fd);
		for (i = 0; i < 2; i++) {
			self->iocb[i].aio_flags = IOCB_FLAG_RESFD;
			self->iocb[i].aio_resfd = efd;
			SUBMIT(i);
			m[i] = NEXT();
		}
		ASSERT_TRUE(aio_start_blocked(&destroyer, aio_destroy_thread,
					      __NR_io_destroy));
		/* For all others it is gone. */
		EXPECT_EQ(-EINVAL, aio_submit_one(self->ctx, &self->iocb[2]));
		EXPECT_EQ(-EINVAL, io_destroy(self->ctx));
		EXPECT_EQ(nr - NR, aio_nr());
		ANSWER_ALL(m[!last]);
		while (read(efd, &count, sizeof(count)) < 0)
			aio_sleep_ms(1);
		EXPECT_EQ(1, count);
		EXPECT_TRUE(aio_wait_blocked(&destroyer.tid, __NR_io_destroy));
		ANSWER_ALL(m[last]);
		EXPECT_EQ(0, aio_join(&destroyer));
		EXPECT_EQ(sizeof(count), read(efd, &count, sizeof(count)));
		EXPECT_EQ(1, count);
		self->ctx = 0;
		ASSERT_EQ(0, io_setup(NR, &self->ctx));
	}
}

/* Of the control groups of version 1; it freezes tasks as a suspend does. */
#define FREEZER		"/tmp/aio_freezer"

static bool freezer_is(const char *state)
{
	char text[32] = "";
	int fd = open(FREEZER "/aio/freezer.state", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return false;
	if (read(fd, text, sizeof(text) - 1) < 0)
		text[0] = '\0';
	close(fd);
	return !strncmp(text, state, strlen(state));
}

/* What io_destroy() waits for may be in the hands of a thread that was frozen first. */
TEST_F_TIMEOUT(fuse, destroy_is_frozen, 120)
{
	struct message m;
	char text[32];
	bool frozen = false;
	int begun[2], status, i;
	pid_t pid;
	char c;

	if (!aio_is_rust())
		SKIP(return, "with the C implementation a suspend fails");
	mkdir(FREEZER, 0700);
	if (mount("none", FREEZER, "cgroup", 0, "freezer"))
		SKIP(return, "no freezer of version 1");
	mkdir(FREEZER "/aio", 0700);
	ASSERT_EQ(0, pipe(begun));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		aio_context_t ctx = 0;

		if (io_setup(NR, &ctx) || aio_submit_one(ctx, &self->iocb[0]) != 1)
			_exit(1);
		/* What a thread has not begun would be cancelled. */
		_exit(read(begun[0], &c, 1) != 1 || io_destroy(ctx));
	}
	m = NEXT();
	ASSERT_EQ(1, write(begun[1], "x", 1));
	snprintf(text, sizeof(text), "%d", pid);
	EXPECT_EQ(0, aio_write_text(FREEZER "/aio/cgroup.procs", text));
	for (i = 0; i < 20000 && !aio_is_blocked(pid, pid, __NR_io_destroy); i++)
		aio_sleep_ms(1);
	EXPECT_GT(20000, i);
	EXPECT_EQ(0, aio_write_text(FREEZER "/aio/freezer.state", "FROZEN"));
	for (i = 0; i < 1000 * aio_slow() && !frozen; i++) {
		frozen = freezer_is("FROZEN");
		aio_sleep_ms(!frozen * 10);
	}
	EXPECT_TRUE(frozen);
	/* It is woken in vain, and looks when it is thawed. */
	ANSWER_ALL(m);
	aio_sleep_ms(50);
	EXPECT_EQ(0, waitpid(pid, &status, WNOHANG));
	EXPECT_EQ(0, aio_write_text(FREEZER "/aio/freezer.state", "THAWED"));
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	rmdir(FREEZER "/aio");
	umount(FREEZER);
	rmdir(FREEZER);
	close(begun[0]);
	close(begun[1]);
}

/* A process that ends is not over before its requests are. */
TEST_F(fuse, end_of_process)
{
	static const char *const way[] = { "exit", "kill", "exec", "fsync" };
	long long nr = aio_nr();
	struct message m;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(way); i++) {
		struct message held[3];
		int begun[2], status = -1, k;
		pid_t pid;
		char c;

		ASSERT_EQ(0, pipe(begun));
		pid = fork();
		ASSERT_LE(0, pid);
		if (!pid) {
			aio_context_t ctx = 0;

			if (io_setup(NR, &ctx))
				_exit(1);
			if (i == 3)
				prep_fsync(&self->iocb[2], IOCB_CMD_FSYNC,
					   self->fd);
			for (k = 0; k < 3; k++)
				if (aio_submit_one(ctx, &self->iocb[k]) != 1)
					_exit(2);
			if (read(begun[0], &c, 1) != 1)
				_exit(3);
			if (i == 0)
				_exit(0);
			if (i == 2)
				execl("/bin/true", "true", NULL);
			pause();
			_exit(4);
		}
		/* A flush that has not begun would be cancelled; in a threaded context, a read. */
		for (k = 0; k < 3; k++)
			held[k] = NEXT();
		ASSERT_EQ(1, write(begun[1], "x", 1));
		if (i % 2)
			kill(pid, SIGKILL);
		for (k = 0; k < 3; k++) {
			EXPECT_EQ(0, waitpid(pid, &status, WNOHANG))
				TH_LOG("%s", way[i]);
			ANSWER_ALL(held[k]);
		}
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		EXPECT_EQ(i % 2 ? SIGKILL : 0, status);
		EXPECT_EQ(nr, aio_nr());
		close(begun[0]);
		close(begun[1]);
	}
	/* The others' requests are not touched by that. */
	SUBMIT(0);
	m = NEXT();
	ANSWER_ALL(m);
	EXPECT_NEXT_EVENT(0, BLOCK);
}

/* The server goes away. */
TEST_F(fuse, connection_ends)
{
	int i;

	prep_fsync(&self->iocb[1], IOCB_CMD_FSYNC, self->fd);
	for (i = 0; i < 2; i++) {
		SUBMIT(i);
		NEXT();
	}
	ASSERT_EQ(-1, umount2(self->path, MNT_FORCE));
	for (i = 0; i < 2; i++) {
		ASSERT_EQ(1, io_getevents(self->ctx, 1, 1, &self->event, NULL));
		EXPECT_EQ(-ECONNABORTED, (__s64)self->event.res);
	}
	EXPECT_EQ(0, aio_drain(self->ctx));
}

TEST_HARNESS_MAIN
