// SPDX-License-Identifier: GPL-2.0
/*
 * What threaded operations mean for the threads of the program.
 *
 * Held here: signals of writes reach the thread that has submitted them, or its process
 * if that is gone, and RLIMIT_FSIZE is the process's; a signal that is pending when a
 * thread has to be made ends io_submit() with the count so far; no system call of the
 * program is interrupted by what completes; and credentials are those of the submission.
 */
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include "../kselftest_harness.h"
#include "aio_thread_test.h"

#define BLOCK	4096

FIXTURE(own) {
	aio_context_t ctx;
	struct ends e;
	struct iocb iocb;
	struct io_event event;
	char c;
};

FIXTURE_SETUP(own)
{
	NEED_THREADS();
	ASSERT_EQ(0, setup_threaded(64, &self->ctx));
	ASSERT_TRUE(ends_open(&self->e, ENDS_PIPE, 0));
	aio_prep(&self->iocb, IOCB_CMD_PREAD, self->e.in, &self->c, 1, 0);
}

FIXTURE_TEARDOWN(own)
{
	EXPECT_EQ(0, aio_drain(self->ctx));
	ends_close(&self->e);
}

/* ------------------------------------------------------ signals that are read */

/* What is sent to the process, before and after the submission. */
TEST_F(own, signalfd)
{
	struct signalfd_siginfo info;
	sigset_t set;
	int sfd, i;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	ASSERT_EQ(0, sigprocmask(SIG_BLOCK, &set, NULL));
	sfd = signalfd(-1, &set, SFD_CLOEXEC);
	if (sfd < 0)
		SKIP(return, "no signalfd");
	aio_prep(&self->iocb, IOCB_CMD_PREAD, sfd, &info, sizeof(info), 0);
	for (i = 0; i < 10; i++) {
		memset(&info, 0, sizeof(info));
		if (i & 1)
			ASSERT_EQ(0, kill(getpid(), SIGUSR1));
		ASSERT_EQ(1, aio_submit_one(self->ctx, &self->iocb));
		if (!(i & 1)) {
			if (i & 2)
				EXPECT_NO_EVENT(self->ctx);
			ASSERT_EQ(0, kill(getpid(), SIGUSR1));
		}
		EXPECT_NEXT(self->ctx, &self->iocb, sizeof(info));
		EXPECT_EQ(SIGUSR1, info.ssi_signo);
		EXPECT_EQ(getpid(), info.ssi_pid);
	}
	/* One that has nothing to read can be cancelled. */
	ASSERT_EQ(1, aio_submit_one(self->ctx, &self->iocb));
	EXPECT_EQ(-EINPROGRESS, io_cancel(self->ctx, &self->iocb, NULL));
	EXPECT_NEXT(self->ctx, &self->iocb, -EINTR);
	close(sfd);
}

/* ------------------------------------------------------ signals of writes */

static volatile pid_t got_tid;
static volatile int got_signals;

static void on_signal(int sig)
{
	got_tid = aio_gettid();
	got_signals++;
}

struct submitter {
	pthread_t thread;
	volatile pid_t tid;
	aio_context_t ctx;
	struct iocb *iocb;
	volatile bool leave;
	volatile long ret;
};

static void *submitter_thread(void *arg)
{
	struct submitter *s = arg;

	s->ret = aio_submit_one(s->ctx, s->iocb);
	s->tid = aio_gettid();
	while (!s->leave)
		aio_sleep_ms(1);
	return NULL;
}

/* Files of both kinds of way: one that a thread writes, and one that need not be. */
TEST_F(own, limit_of_file_size)
{
	struct rlimit limit = { 10000, RLIM_INFINITY };
	int fd[2] = { aio_mem_file(), aio_disk_file(O_RDWR) }, i;
	static char buf[BLOCK];
	struct iocb iocb;

	signal(SIGXFSZ, on_signal);
	ASSERT_EQ(0, setrlimit(RLIMIT_FSIZE, &limit));
	for (i = 0; i < 2; i++) {
		struct submitter s = { .ctx = self->ctx, .iocb = &iocb };

		got_signals = 0;
		/* Up to there. */
		aio_prep(&iocb, IOCB_CMD_PWRITE, fd[i], buf, BLOCK, 8000);
		EXPECT_DONE(self->ctx, &iocb, 2000);
		aio_sleep_ms(10);
		EXPECT_EQ(0, got_signals);
		/* And not beyond. */
		iocb.aio_offset = 10000;
		ASSERT_EQ(0, pthread_create(&s.thread, NULL, submitter_thread, &s));
		EXPECT_NEXT(self->ctx, &iocb, -EFBIG);
		EXPECT_TRUE(EVENTUALLY(got_signals == 1 && s.tid));
		EXPECT_EQ(s.tid, got_tid);
		EXPECT_EQ(1, s.ret);
		s.leave = true;
		pthread_join(s.thread, NULL);
		/* By the main thread: the limit is that of the process, as it is now. */
		limit.rlim_cur = 20000;
		ASSERT_EQ(0, setrlimit(RLIMIT_FSIZE, &limit));
		EXPECT_DONE(self->ctx, &iocb, BLOCK);
		iocb.aio_offset = 20000;
		EXPECT_DONE(self->ctx, &iocb, -EFBIG);
		EXPECT_TRUE(EVENTUALLY(got_signals == 2));
		EXPECT_EQ(aio_gettid(), got_tid);
		limit.rlim_cur = 10000;
		ASSERT_EQ(0, setrlimit(RLIMIT_FSIZE, &limit));
	}
	aio_sleep_ms(10);
	EXPECT_EQ(2, got_signals);
}

/*
 * A write that appends is at the end of its file, whatever its offset says: cut short by
 * the limit, it does not go on. On XFS and Btrfs it is tried in io_submit() first.
 */
TEST_F(own, limit_of_file_size_append)
{
	struct rlimit limit = { 10000, RLIM_INFINITY };
	int fd[2] = { aio_mem_file(), aio_disk_file(O_RDWR) }, i;
	static char buf[BLOCK];
	struct iocb iocb;

	signal(SIGXFSZ, on_signal);
	ASSERT_EQ(0, setrlimit(RLIMIT_FSIZE, &limit));
	for (i = 0; i < 2; i++) {
		ASSERT_EQ(0, ftruncate(fd[i], 8000));
		ASSERT_EQ(0, fcntl(fd[i], F_SETFL, O_APPEND));
		got_signals = 0;
		aio_prep(&iocb, IOCB_CMD_PWRITE, fd[i], buf, BLOCK, 0);
		EXPECT_DONE(self->ctx, &iocb, 2000);
		aio_sleep_ms(10);
		EXPECT_EQ(0, got_signals);
		EXPECT_DONE(self->ctx, &iocb, -EFBIG);
		EXPECT_TRUE(EVENTUALLY(got_signals == 1));
	}
}

/* A write waits for room in a pipe; then its readers go. */
static int pipe_breaks(struct __test_metadata *_metadata, aio_context_t ctx, struct submitter *s,
		       bool gone, bool socket)
{
	struct io_event event = { 0 };
	static struct iocb iocb;
	int pair[2];

	if (socket ? socketpair(AF_UNIX, SOCK_STREAM, 0, pair) : pipe(pair))
		return -1;
	if (fill_pipe(pair[1]) <= 0)
		return -1;
	aio_prep(&iocb, IOCB_CMD_PWRITE, pair[1], "x", 1, 0);
	*s = (struct submitter){ .ctx = ctx, .iocb = &iocb, .leave = gone };
	got_signals = 0;
	got_tid = 0;
	if (pthread_create(&s->thread, NULL, submitter_thread, s))
		return -1;
	EXPECT_TRUE(EVENTUALLY(s->tid));
	if (gone)
		pthread_join(s->thread, NULL);
	EXPECT_NO_EVENT(ctx);
	close(pair[0]);
	if (await_events(ctx, &event, 1) != 1)
		return -2;
	EXPECT_EQ(-EPIPE, event.res);
	close(pair[1]);
	return 0;
}

TEST_F(own, broken_pipe)
{
	struct submitter s;
	int i;

	signal(SIGPIPE, on_signal);
	for (i = 0; i < 10; i++) {
		ASSERT_EQ(0, pipe_breaks(_metadata, self->ctx, &s, false, i & 1));
		EXPECT_TRUE(EVENTUALLY(got_signals == 1));
		EXPECT_EQ(s.tid, got_tid);
		s.leave = true;
		pthread_join(s.thread, NULL);
		/* It is gone: so it is for anybody of its process. */
		ASSERT_EQ(0, pipe_breaks(_metadata, self->ctx, &s, true, i & 1));
		EXPECT_TRUE(EVENTUALLY(got_signals == 1));
		EXPECT_EQ(aio_gettid(), got_tid);
	}
	aio_sleep_ms(10);
	EXPECT_EQ(1, got_signals);
	/* One that does not want it has the error alone. */
	signal(SIGPIPE, SIG_IGN);
	ASSERT_EQ(0, pipe_breaks(_metadata, self->ctx, &s, true, false));
}

/* The main thread has submitted it, and has left: it can be seen still, but gets no signals. */
static volatile int reader_end;

static void *last_thread(void *arg)
{
	aio_context_t ctx = *(aio_context_t *)arg;
	struct io_event event;

	if (!EVENTUALLY(state_of(getpid(), getpid()) == 'Z'))
		_exit(5);
	close(reader_end);
	if (await_events(ctx, &event, 1) != 1 || event.res != -EPIPE)
		_exit(3);
	_exit(EVENTUALLY(got_signals == 1) && got_tid == aio_gettid() ? 0 : 4);
}

TEST_F(own, submitter_is_a_zombie)
{
	pthread_t thread;
	int pair[2];
	pid_t pid;

	signal(SIGPIPE, on_signal);
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		self->ctx = 0;
		if (pipe(pair) || fill_pipe(pair[1]) <= 0 || setup_threaded(4, &self->ctx))
			_exit(1);
		reader_end = pair[0];
		aio_prep(&self->iocb, IOCB_CMD_PWRITE, pair[1], "x", 1, 0);
		if (aio_submit_one(self->ctx, &self->iocb) != 1 ||
		    pthread_create(&thread, NULL, last_thread, &self->ctx))
			_exit(2);
		syscall(__NR_exit, 0);
	}
	EXPECT_EQ(0, await_child(pid));
}

/* At the instant of io_submit(), too, and what it does by default. */
TEST_F(own, broken_already)
{
	int pair[2], i;
	pid_t pid;

	for (i = 0; i < 2; i++) {
		ASSERT_EQ(0, pipe(pair));
		ASSERT_LT(0, fill_pipe(pair[1]));
		pid = fork();
		ASSERT_LE(0, pid);
		if (!pid) {
			close(pair[0]);
			signal(SIGPIPE, SIG_DFL);
			self->ctx = 0;
			if (setup_threaded(4, &self->ctx))
				_exit(1);
			aio_prep(&self->iocb, IOCB_CMD_PWRITE, pair[1], "x", 1, 0);
			/* In the second round its parent is still a reader for a time. */
			if (aio_submit_one(self->ctx, &self->iocb) != 1)
				_exit(2);
			for (;;)
				pause();
		}
		close(pair[1]);
		if (i)
			aio_sleep_ms(20);
		close(pair[0]);
		EXPECT_EQ(SIGPIPE, await_child(pid));
	}
}

/*
 * A batch has its signal itself: a write to a pipe that nobody reads. What comes behind it
 * and needs the first thread is not submitted; with a thread, or without the signal, all is.
 */
TEST_F(own, signal_in_a_batch)
{
	int null = open("/dev/null", O_WRONLY), broken[2], silent[2], round, i;
	struct iocb iocb[6], *list[6];
	struct io_event events[5];
	sigset_t set;
	char c;
	long ret;

	signal(SIGPIPE, on_signal);
	sigemptyset(&set);
	sigaddset(&set, SIGPIPE);
	ASSERT_LE(0, null);
	ASSERT_EQ(0, pipe(broken));
	close(broken[0]);
	ASSERT_EQ(0, pipe(silent));
	aio_prep(&iocb[0], IOCB_CMD_PWRITE, null, "x", 1, 0);
	aio_prep(&iocb[1], IOCB_CMD_PWRITE, null, "x", 1, 0);
	aio_prep(&iocb[2], IOCB_CMD_PWRITE, broken[1], "x", 1, 0);
	for (i = 3; i < 5; i++)
		iocb[i] = self->iocb;
	aio_prep(&iocb[5], IOCB_CMD_PREAD, silent[0], &c, 1, 0);
	for (i = 0; i < 6; i++) {
		iocb[i].aio_data = i;
		list[i] = &iocb[i];
	}
	ASSERT_EQ(0, workers());
	for (round = 0; round < 2; round++) {
		/* As long as something waits the thread does not leave, however long this takes. */
		if (round)
			ASSERT_EQ(1, aio_submit_one(self->ctx, list[5]));
		got_signals = 0;
		ret = io_submit(self->ctx, 5, list);
		/* The handler has run when the call returns. */
		EXPECT_EQ(1, got_signals);
		EXPECT_EQ(aio_gettid(), got_tid);
		/* In the first round there is no thread, in the second there is one. */
		EXPECT_EQ(round ? 5 : 3, ret);
		ASSERT_LE(3, ret);
		EXPECT_EQ(3, await_events(self->ctx, events, 3));
		for (i = 0; i < 3; i++)
			EXPECT_EVENT(&events[i], list[i], i < 2 ? 1 : -EPIPE);
		if (ret == 3) {
			/* They are not in flight, nor is there a thread. */
			EXPECT_EQ(0, workers());
			EXPECT_EQ(-EINVAL, io_cancel(self->ctx, list[3], NULL));
			/* From there on, as programs do that are told of a part. */
			EXPECT_EQ(2, io_submit(self->ctx, 2, list + 3));
			EXPECT_EQ(1, got_signals);
		}
		EXPECT_LE(1, workers());
		EXPECT_NO_EVENT(self->ctx);
		EXPECT_TRUE(ends_feed(&self->e));
		EXPECT_TRUE(ends_feed(&self->e));
		EXPECT_ALL(self->ctx, 2, list + 3, 1);
	}
	EXPECT_EQ(-EINPROGRESS, io_cancel(self->ctx, list[5], NULL));
	EXPECT_NEXT(self->ctx, list[5], -EINTR);
	/* There is none again, but the signal is blocked. */
	ASSERT_TRUE(AWAIT_NO_WORKERS());
	ASSERT_EQ(0, sigprocmask(SIG_BLOCK, &set, NULL));
	got_signals = 0;
	EXPECT_EQ(5, io_submit(self->ctx, 5, list));
	EXPECT_EQ(0, got_signals);
	EXPECT_TRUE(ends_feed(&self->e));
	EXPECT_TRUE(ends_feed(&self->e));
	EXPECT_EQ(5, await_events(self->ctx, events, 5));
	ASSERT_EQ(0, sigprocmask(SIG_UNBLOCK, &set, NULL));
	EXPECT_EQ(1, got_signals);
	close(silent[0]);
	close(silent[1]);
	close(broken[1]);
	close(null);
}

/* ------------------------------------------------------ what the program is in */

struct sleeper {
	pthread_t thread;
	volatile pid_t tid;
	int how, fd;
	volatile bool done;
	long ret;
	int err;
};

/* Calls that tell when they are interrupted, also without a handler. */
static void *sleeper_thread(void *arg)
{
	struct sleeper *s = arg;
	struct timespec ts = { 3600, 0 };
	struct epoll_event ev;
	sigset_t set;
	char c;

	s->tid = aio_gettid();
	switch (s->how) {
	case 0:
		s->ret = read(s->fd, &c, 1);
		break;
	case 1:
		s->ret = poll(&(struct pollfd){ s->fd, POLLIN, 0 }, 1, 3600000);
		break;
	case 2:
		s->fd = epoll_create1(0);
		s->ret = epoll_wait(s->fd, &ev, 1, 3600000);
		break;
	case 3:
		s->ret = nanosleep(&ts, NULL);
		break;
	case 4:
		sigemptyset(&set);
		sigaddset(&set, SIGUSR1);
		s->ret = sigtimedwait(&set, NULL, &ts);
		break;
	case 5:
		s->ret = pause();
		break;
	}
	s->err = errno;
	s->done = true;
	return NULL;
}

#define SLEEPERS	6

/* All of them sleep while requests of the main thread complete. */
TEST_F(own, calls_are_not_interrupted)
{
	static struct sleeper s[SLEEPERS];
	struct ends quiet;
	int i, k, efd = eventfd(0, 0);
	__u64 count;

	ASSERT_TRUE(ends_open(&quiet, ENDS_PIPE, 0));
	self->iocb.aio_flags = IOCB_FLAG_RESFD;
	self->iocb.aio_resfd = efd;
	for (i = 0; i < SLEEPERS; i++) {
		s[i].how = i;
		s[i].fd = quiet.in;
		ASSERT_EQ(0, pthread_create(&s[i].thread, NULL, sleeper_thread, &s[i]));
		ASSERT_TRUE(EVENTUALLY(s[i].tid && aio_sleeps(s[i].tid) > 0));
	}
	aio_sleep_ms(20);
	for (i = 0; i < (aio_long() ? 200 : 50); i++) {
		ASSERT_EQ(1, aio_submit_one(self->ctx, &self->iocb));
		ASSERT_TRUE(ends_feed(&self->e));
		ASSERT_EQ(8, read(efd, &count, 8));
		EXPECT_NEXT(self->ctx, &self->iocb, 1);
		if (i % 10)
			continue;
		ASSERT_EQ(1, aio_submit_one(self->ctx, &self->iocb));
		EXPECT_EQ(-EINPROGRESS, io_cancel(self->ctx, &self->iocb, NULL));
		ASSERT_EQ(8, read(efd, &count, 8));
		EXPECT_NEXT(self->ctx, &self->iocb, -EINTR);
	}
	for (k = 0; k < SLEEPERS; k++) {
		EXPECT_FALSE(s[k].done) {
			TH_LOG("call %d: %ld, errno %d", k, s[k].ret, s[k].err);
		}
	}
}

static struct ends *fed_later;

static void *feed_later(void *arg)
{
	int i;

	for (i = 0; i < 100; i++) {
		aio_sleep_ms(1);
		ends_feed(fed_later);
	}
	return NULL;
}

/* The submitter itself is in a call when its requests complete. */
TEST_F(own, submitter_is_not_interrupted)
{
	struct iocb iocb[100], *list[100];
	struct io_event events[100];
	struct epoll_event ev;
	pthread_t thread;
	static char buf[100];
	int i, ep = epoll_create1(0);

	io_destroy(self->ctx);
	self->ctx = 0;
	ASSERT_EQ(0, setup_threaded(100, &self->ctx));
	for (i = 0; i < 100; i++) {
		aio_prep(&iocb[i], IOCB_CMD_PREAD, self->e.in, &buf[i], 1, 0);
		list[i] = &iocb[i];
	}
	ASSERT_EQ(100, io_submit(self->ctx, 100, list));
	fed_later = &self->e;
	ASSERT_EQ(0, pthread_create(&thread, NULL, feed_later, NULL));
	errno = 0;
	while (aio_ring(self->ctx)->tail < 90) {
		int ret = epoll_wait(ep, &ev, 1, 50);

		ASSERT_EQ(0, ret) {
			TH_LOG("errno %d", errno);
		}
	}
	pthread_join(thread, NULL);
	ASSERT_EQ(100, await_events(self->ctx, events, 100));
}

/* ------------------------------------------------------ credentials */

/* A thread's own, without those of its process: what the C library does is more. */
static long set_uids(uid_t real, uid_t effective)
{
	return syscall(__NR_setresuid, real, effective, 0);
}

/* A socket tells who has written: the one who was to, not who it has become. */
TEST_F(own, credentials_of_socket)
{
	char control[256], data[65536];
	struct iovec iov = { data, sizeof(data) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control };
	struct ucred cred = { 0 };
	struct cmsghdr *cmsg;
	int pair[2], on = 1, round;
	ssize_t n;

	if (geteuid())
		SKIP(return, "is for root");
	for (round = 0; round < 2; round++) {
		ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair));
		ASSERT_EQ(0, setsockopt(pair[0], SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)));
		if (round)
			ASSERT_EQ(0, set_uids(NOBODY, -1));
		ASSERT_LT(0, fill_pipe(pair[1]));
		aio_prep(&self->iocb, IOCB_CMD_PWRITE, pair[1], "late", 4, 0);
		ASSERT_EQ(1, aio_submit_one(self->ctx, &self->iocb));
		EXPECT_NO_EVENT(self->ctx);
		ASSERT_EQ(0, set_uids(round ? 0 : NOBODY, -1));
		do {
			msg.msg_controllen = sizeof(control);
			n = recvmsg(pair[0], &msg, 0);
			ASSERT_LT(0, n);
		} while (n != 4);
		for (cmsg = CMSG_FIRSTHDR(&msg); cmsg; cmsg = CMSG_NXTHDR(&msg, cmsg))
			if (cmsg->cmsg_type == SCM_CREDENTIALS)
				memcpy(&cred, CMSG_DATA(cmsg), sizeof(cred));
		EXPECT_EQ(getpid(), cred.pid);
		EXPECT_EQ(round ? NOBODY : 0, cred.uid);
		EXPECT_NEXT(self->ctx, &self->iocb, 4);
		ASSERT_EQ(0, set_uids(0, 0));
		close(pair[0]);
		close(pair[1]);
	}
}

FIXTURE(cred) {
	struct thread_fs fs;
};

FIXTURE_SETUP(cred)
{
	NEED_THREADS();
	if (!thread_fs_make(&self->fs, 1))
		SKIP(return, "no null_blk disk with ext4 (needs root, configfs, mkfs.ext4)");
}

FIXTURE_TEARDOWN_PARENT(cred)
{
	thread_fs_remove(&self->fs);
}

/* Who may, keeps the set-user-id bit when he writes (CAP_FSETID). */
TEST_F(cred, of_submission)
{
	struct iocb iocb;
	aio_context_t ctx = 0;
	struct stat st;
	int fd, thaw[2], status, round;
	pid_t pid;
	char c;

	ASSERT_EQ(0, setup_threaded(8, &ctx));
	for (round = 0; round < 2; round++) {
		fd = thread_fs_open(&self->fs, round ? "b" : "a", O_RDWR);
		ASSERT_LE(0, fd);
		ASSERT_EQ(4, write(fd, "text", 4));
		ASSERT_EQ(0, fchmod(fd, 04777));
		ASSERT_EQ(0, fsync(fd));
		ASSERT_EQ(0, pipe(thaw));
		pid = fork();
		ASSERT_LE(0, pid);
		if (!pid)
			_exit(read(thaw[0], &c, 1) != 1 || ioctl(self->fs.dir, FITHAW, 0));
		ASSERT_EQ(0, ioctl(self->fs.dir, FIFREEZE, 0));
		if (round)
			ASSERT_EQ(0, set_uids(-1, NOBODY));
		aio_prep(&iocb, IOCB_CMD_PWRITE, fd, "TEXT", 4, 0);
		EXPECT_EQ(1, aio_submit_one(ctx, &iocb));
		aio_sleep_ms(20);
		EXPECT_EQ(0, set_uids(-1, round ? 0 : NOBODY));
		ASSERT_EQ(1, write(thaw[1], "x", 1));
		EXPECT_NEXT(ctx, &iocb, 4);
		ASSERT_EQ(0, set_uids(-1, 0));
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		EXPECT_EQ(0, status);
		ASSERT_EQ(0, fstat(fd, &st));
		EXPECT_EQ(round ? 0 : 04000, st.st_mode & 04000);
		close(fd);
	}
}

TEST_HARNESS_MAIN
