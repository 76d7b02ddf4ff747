// SPDX-License-Identifier: GPL-2.0
/*
 * The switch fs.aio-auto-threads, the contexts that are made under it, and the threads
 * of a process.
 *
 * Held here: who may write what to the switch; which contexts are threaded, that
 * their rings say so, and that they stay what they are; that there is no thread where
 * there is no threaded context; that one thread serves 1,000 reads of empty pipes;
 * that threads have a name, are there as long as something waits, are gone some time
 * after it does not, and come back; how many there are when much has to wait, on a disk
 * and elsewhere; and that a process has as many rights to change its namespaces as one
 * with other threads.
 */
#include "../kselftest_harness.h"
#include "aio_thread_test.h"

#define NR	1000

FIXTURE(threads) {
	char saved[64];
};

FIXTURE_SETUP(threads)
{
	NEED_THREADS();
	aio_read_text(AUTO_THREADS, self->saved, sizeof(self->saved));
}

/* Also when a test has crashed or has given up its rights. */
FIXTURE_TEARDOWN_PARENT(threads)
{
	if (!geteuid() && self->saved[0])
		EXPECT_EQ(0, aio_write_text(AUTO_THREADS, self->saved));
}

/* ------------------------------------------------------ the switch */

TEST_F(threads, switch_values)
{
	static const char * const good[] = { "0", "1", "1\n", " 1\n", "0\n" };
	static const char * const bad[] = {
		"2", "-1", "x", "3", "255", "256", "257", "65536", "4294967296", "4294967297",
		"18446744073709551616", "-", "1x",
	};
	const char *on = getenv("AIO_THREADS");
	char text[64], before[64];
	struct stat st;
	size_t i;

	ASSERT_EQ(0, stat(AUTO_THREADS, &st));
	EXPECT_EQ(S_IFREG | 0644, st.st_mode);
	EXPECT_EQ(0, st.st_uid);
	/* Unless who runs the tests has switched it on. */
	if (!on || strcmp(on, "1"))
		EXPECT_STREQ("0\n", self->saved);
	for (i = 0; i < ARRAY_SIZE(good); i++) {
		EXPECT_EQ(0, aio_write_text(AUTO_THREADS, good[i]));
		ASSERT_LT(0, aio_read_text(AUTO_THREADS, text, sizeof(text)));
		snprintf(before, sizeof(before), "%d\n", atoi(good[i]));
		EXPECT_STREQ(before, text);
	}
	for (i = 0; i < 2 * ARRAY_SIZE(bad); i++) {
		ASSERT_EQ(0, aio_write_text(AUTO_THREADS, i % 2 ? "1" : "0"));
		EXPECT_EQ(-EINVAL, aio_write_text(AUTO_THREADS, bad[i / 2])) {
			TH_LOG("written: '%s'", bad[i / 2]);
		}
		EXPECT_EQ((long long)i % 2, aio_read_number(AUTO_THREADS));
	}
}

TEST_F(threads, switch_as_user)
{
	char text[64];

	if (geteuid())
		SKIP(return, "is for root");
	ASSERT_EQ(0, setresuid(NOBODY, NOBODY, NOBODY));
	EXPECT_EQ(-EACCES, aio_write_text(AUTO_THREADS, "1"));
	EXPECT_EQ(-EACCES, aio_write_text(AUTO_THREADS, "0"));
	ASSERT_LT(0, aio_read_text(AUTO_THREADS, text, sizeof(text)));
	EXPECT_STREQ(self->saved, text);
}

TEST_F(threads, kinds)
{
	const unsigned int base = 1, threaded = AIO_RING_COMPAT_THREADED;
	static const struct { unsigned int flags, compat; } kinds[] = {
		{ 0, 0 },
		{ USERIOCB, AIO_RING_COMPAT_USERIOCB },
		{ USERIOCB | FIXEDBUFS, AIO_RING_COMPAT_USERIOCB | AIO_RING_COMPAT_FIXEDBUFS },
		{ IOPOLL, AIO_RING_COMPAT_IOPOLL },
		{ IOPOLL | USERIOCB, AIO_RING_COMPAT_IOPOLL | AIO_RING_COMPAT_USERIOCB },
	};
	static char buf[64];
	aio_context_t ctx = 0, other = 0;
	struct iocb *iocbs;
	unsigned int i, on;

	for (on = 0; on < 2; on++) {
		ASSERT_EQ(0, aio_write_text(AUTO_THREADS, on ? "1" : "0"));
		ctx = 0;
		ASSERT_EQ(0, io_setup(4, &ctx));
		EXPECT_EQ(base | (on ? threaded : 0), aio_ring(ctx)->compat_features);
		EXPECT_EQ(0, aio_ring(ctx)->incompat_features);
		/* CRIU does not know threaded ones. */
		EXPECT_EQ(!on, aio_criu_dumps(ctx));
		/* What it is it stays. */
		ASSERT_EQ(0, aio_write_text(AUTO_THREADS, on ? "0" : "1"));
		other = 0;
		ASSERT_EQ(0, io_setup(4, &other));
		EXPECT_EQ(base | (on ? 0 : threaded), aio_ring(other)->compat_features);
		EXPECT_EQ(base | (on ? threaded : 0), aio_ring(ctx)->compat_features);
		EXPECT_EQ(0, io_destroy(other));
		EXPECT_EQ(0, io_destroy(ctx));
		if (!aio_has_setup2())
			continue;
		ASSERT_EQ(0, aio_write_text(AUTO_THREADS, on ? "1" : "0"));
		for (i = 0; i < ARRAY_SIZE(kinds); i++) {
			unsigned int want = base | kinds[i].compat;
			int k;

			if (on && !(kinds[i].flags & IOPOLL))
				want |= threaded;
			iocbs = aio_iocbs(4);
			for (k = 0; k < 4; k++)
				aio_prep(&iocbs[k], IOCB_CMD_PREAD, 0, buf, sizeof(buf), 0);
			ctx = 0;
			ASSERT_EQ(0, io_setup2(4, kinds[i].flags,
					       kinds[i].flags & USERIOCB ? iocbs : NULL, &ctx));
			EXPECT_EQ(want, aio_ring(ctx)->compat_features) {
				TH_LOG("flags %x, switch %u", kinds[i].flags, on);
			}
			EXPECT_EQ(0, io_destroy(ctx));
		}
	}
	EXPECT_EQ(1, tasks_of(getpid()).all);
}

/* ------------------------------------------------------ no thread */

/* What is done at once in any context. */
static void do_much(struct __test_metadata *_metadata, aio_context_t ctx)
{
	int fd = aio_disk_file(O_RDWR), mem = aio_mem_file(), null = open("/dev/null", O_RDWR);
	static char buf[4096];
	struct io_event event;
	struct iocb iocb;
	struct ends e;
	int i;

	ASSERT_TRUE(fd >= 0 && mem >= 0 && null >= 0);
	for (i = 0; i < 20; i++) {
		aio_prep(&iocb, IOCB_CMD_PWRITE, fd, buf, sizeof(buf), i * 4096);
		EXPECT_DONE(ctx, &iocb, 4096);
		aio_prep(&iocb, IOCB_CMD_PREAD, fd, buf, sizeof(buf), i * 4096);
		EXPECT_DONE(ctx, &iocb, 4096);
		aio_prep(&iocb, IOCB_CMD_PWRITE, mem, buf, sizeof(buf), i * 4096);
		EXPECT_DONE(ctx, &iocb, 4096);
		aio_prep(&iocb, IOCB_CMD_PREAD, mem, buf, sizeof(buf), i * 4096);
		EXPECT_DONE(ctx, &iocb, 4096);
		aio_prep(&iocb, IOCB_CMD_PWRITE, null, buf, sizeof(buf), 0);
		EXPECT_DONE(ctx, &iocb, 4096);
		aio_prep(&iocb, IOCB_CMD_FSYNC, fd, NULL, 0, 0);
		EXPECT_DONE(ctx, &iocb, 0);
	}
	ASSERT_TRUE(ends_open(&e, ENDS_PIPE, 0));
	aio_prep(&iocb, IOCB_CMD_POLL, e.in, (void *)POLLIN, 0, 0);
	ASSERT_EQ(1, aio_submit_one(ctx, &iocb));
	ASSERT_TRUE(ends_feed(&e));
	ASSERT_EQ(1, await_events(ctx, &event, 1));
	EXPECT_EQ(POLLIN, event.res & POLLIN);
	aio_prep(&iocb, IOCB_CMD_PREAD, e.in, buf, 1, 0);
	EXPECT_DONE(ctx, &iocb, 1);
	ends_close(&e);
	close(fd);
	close(mem);
	close(null);
}

TEST_F(threads, none_while_off)
{
	aio_context_t ctx = 0;

	ASSERT_EQ(0, setup_plain(64, &ctx));
	do_much(_metadata, ctx);
	EXPECT_EQ(1, tasks_of(getpid()).all);
	/* It is a matter of the context, not of the time. */
	ASSERT_EQ(0, aio_write_text(AUTO_THREADS, "1"));
	do_much(_metadata, ctx);
	EXPECT_EQ(1, tasks_of(getpid()).all);
	EXPECT_EQ(0, io_destroy(ctx));
	EXPECT_EQ(1, tasks_of(getpid()).all);
}

/* A plain context next to a threaded one waits in io_submit(), as ever. */
TEST_F(threads, plain_waits)
{
	struct aio_caller reader = { 0 };
	aio_context_t ctx = 0, plain = 0;
	struct iocb iocb;
	struct ends e;
	char c;

	ASSERT_EQ(0, setup_threaded(4, &ctx));
	ASSERT_EQ(0, setup_plain(4, &plain));
	ASSERT_TRUE(ends_open(&e, ENDS_PIPE, 0));
	aio_prep(&iocb, IOCB_CMD_PREAD, e.in, &c, 1, 0);
	reader.ctx = plain;
	reader.iocb = &iocb;
	ASSERT_TRUE(aio_start_blocked(&reader, aio_submit_thread, __NR_io_submit));
	EXPECT_EQ(0, workers());
	ASSERT_TRUE(ends_feed(&e));
	EXPECT_EQ(1, aio_join(&reader));
	EXPECT_NEXT(plain, &iocb, 1);
	EXPECT_EQ(0, workers());
}

/* Contexts are only made, and there is a read that is refused. */
TEST_F(threads, none_for_nothing)
{
	aio_context_t ctx[8] = { 0 };
	struct iocb iocb;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(ctx); i++)
		ASSERT_EQ(0, setup_threaded(8, &ctx[i]));
	EXPECT_EQ(1, tasks_of(getpid()).all);
	aio_prep(&iocb, IOCB_CMD_PREAD, -1, &iocb, 1, 0);
	EXPECT_REFUSED(ctx[0], &iocb, -EBADF);
	EXPECT_EQ(0, io_submit(ctx[0], 0, NULL));
	EXPECT_EQ(1, tasks_of(getpid()).all);
	for (i = 0; i < ARRAY_SIZE(ctx); i++)
		EXPECT_EQ(0, io_destroy(ctx[i]));
	EXPECT_EQ(1, tasks_of(getpid()).all);
}

/* A child has its own, and none from its parent. */
TEST_F(threads, none_by_fork)
{
	aio_context_t ctx = 0;
	struct iocb iocb;
	struct ends e;
	pid_t pid;
	char c;

	ASSERT_EQ(0, setup_threaded(4, &ctx));
	ASSERT_TRUE(ends_open(&e, ENDS_PIPE, 0));
	aio_prep(&iocb, IOCB_CMD_PREAD, e.in, &c, 1, 0);
	ASSERT_EQ(1, aio_submit_one(ctx, &iocb));
	EXPECT_LE(1, workers());
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid)
		_exit(tasks_of(getpid()).all != 1);
	EXPECT_EQ(0, await_child(pid));
	ASSERT_TRUE(ends_feed(&e));
	EXPECT_NEXT(ctx, &iocb, 1);
}

/* ------------------------------------------------------ few threads */

/* Whatever waits for readiness needs one between them. */
TEST_F(threads, one_for_a_thousand)
{
	struct io_event *events = calloc(NR, sizeof(*events));
	struct iocb *iocb = calloc(NR, sizeof(*iocb));
	struct ends *e = calloc(NR / 10, sizeof(*e));
	aio_context_t ctx = 0;
	struct tasks t;
	static char buf[NR];
	int i;

	ASSERT_EQ(0, setup_threaded(NR, &ctx));
	for (i = 0; i < NR / 10; i++)
		ASSERT_TRUE(ends_open(&e[i], i % 3 ? ENDS_PIPE : ENDS_STREAM, 0));
	for (i = 0; i < NR; i++) {
		aio_prep(&iocb[i], IOCB_CMD_PREAD, e[i / 10].in, &buf[i], 1, 0);
		ASSERT_EQ(1, aio_submit_one(ctx, &iocb[i]));
	}
	EXPECT_NO_EVENT(ctx);
	t = tasks_of(getpid());
	EXPECT_EQ(2, t.all);
	EXPECT_EQ(1, t.workers);
	for (i = 0; i < NR; i++)
		ASSERT_TRUE(ends_feed(&e[i / 10]));
	ASSERT_EQ(NR, await_events(ctx, events, NR));
	for (i = 0; i < NR; i++) {
		EXPECT_EQ(1, events[i].res);
		/* Each once. */
		EXPECT_EQ('x', buf[(struct iocb *)(uintptr_t)events[i].obj - iocb]);
		buf[(struct iocb *)(uintptr_t)events[i].obj - iocb] = 0;
	}
	EXPECT_EQ(0, aio_drain(ctx));
	for (i = 0; i < NR / 10; i++)
		ends_close(&e[i]);
}

TEST_F(threads, name)
{
	char own[32] = "", line[64];
	aio_context_t ctx = 0;
	struct iocb iocb;
	struct ends e;
	struct tasks t;
	char c;

	ASSERT_EQ(0, setup_threaded(4, &ctx));
	ASSERT_TRUE(ends_open(&e, ENDS_PIPE, 0));
	aio_prep(&iocb, IOCB_CMD_PREAD, e.in, &c, 1, 0);
	ASSERT_EQ(1, aio_submit_one(ctx, &iocb));
	t = tasks_of(getpid());
	ASSERT_LE(1, t.workers);
	ASSERT_LT(0, aio_read_text("/proc/self/comm", own, sizeof(own)));
	own[strcspn(own, "\n")] = '\0';
	/* A thread that has not begun to run yet has the name of who made it. */
	EXPECT_TRUE(EVENTUALLY(strcmp(own, tasks_of(getpid()).comm)));
	snprintf(line, sizeof(line), "/proc/self/task/%d/comm", t.worker);
	ASSERT_LT(0, aio_read_text(line, own, sizeof(own)));
	EXPECT_NE(NULL, strstr(own, "aio")) {
		TH_LOG("its name is '%s'", own);
	}
	ASSERT_TRUE(ends_feed(&e));
	EXPECT_NEXT(ctx, &iocb, 1);
}

/* As long as something waits, however long, and not much longer. */
static int idle_child(unsigned int nr, unsigned int ms)
{
	aio_context_t ctx[2] = { 0 };
	struct io_event event;
	struct iocb iocb;
	unsigned int i;
	struct ends e;
	char c;

	if (setup_threaded(4, &ctx[0]) || setup_threaded(4, &ctx[1]) ||
	    !ends_open(&e, ENDS_PIPE, 0))
		return 1;
	for (i = 0; i < nr; i++) {
		aio_prep(&iocb, IOCB_CMD_PREAD, e.in, &c, 1, 0);
		if (aio_submit_one(ctx[i], &iocb) != 1)
			return 2;
		if (!workers())
			return 3;
		aio_sleep_ms(ms);
		if (!workers())
			return 4;
		if (!ends_feed(&e) || await_events(ctx[i], &event, 1) != 1 || event.res != 1)
			return 5;
		/* Contexts may live on. */
		if (!AWAIT_NO_WORKERS() || tasks_of(getpid()).all != 1)
			return 6;
	}
	return 0;
}

/* At the same time: nor has the last to leave taken what came meanwhile with it. */
TEST_F_TIMEOUT(threads, idle, 200)
{
	int rounds = aio_long() ? 80 : 20, round, status;
	aio_context_t ctx = 0;
	struct iocb iocb;
	struct ends e;
	pid_t pid;
	char c;

	/* Both create threaded contexts at the same time: none is to switch that off meanwhile. */
	if (!access(AUTO_THREADS, W_OK))
		ASSERT_EQ(0, aio_write_text(AUTO_THREADS, "1"));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid)
		_exit(aio_long() ? idle_child(2, 8000) : idle_child(1, 5500));
	ASSERT_EQ(0, setup_threaded(4, &ctx));
	ASSERT_TRUE(ends_open(&e, ENDS_PIPE, 0));
	for (round = 0; round < rounds; round++) {
		aio_prep(&iocb, IOCB_CMD_PREAD, e.in, &c, 1, 0);
		ASSERT_EQ(1, aio_submit_one(ctx, &iocb));
		ASSERT_TRUE(ends_feed(&e));
		EXPECT_NEXT(ctx, &iocb, 1);
		/* Around the fifth second. */
		if (round % 20 == 0)
			aio_sleep_ms(4950);
		aio_sleep_ms(5);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
}

/* ------------------------------------------------------ many threads */

#define MANY	200

FIXTURE(many) {
	struct thread_fs fs;
	aio_context_t ctx;
	struct iocb iocb[MANY], *list[MANY];
	struct io_event events[MANY];
	int fd[MANY];
	/* Busy with files at a time. */
	int most;
};

FIXTURE_SETUP(many)
{
	char name[16];
	int i;

	NEED_THREADS();
	if (!thread_fs_make(&self->fs, 5))
		SKIP(return, "no null_blk disk with ext4 (needs root, configfs, mkfs.ext4)");
	ASSERT_EQ(0, setup_threaded(MANY, &self->ctx));
	self->most = 4 * aio_possible_cpus();
	ASSERT_LT(0, self->most);
	if (self->most >= MANY / 2)
		SKIP(return, "so many processors that it can't be seen");
	for (i = 0; i < MANY; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		self->fd[i] = thread_fs_open(&self->fs, name, O_WRONLY | O_DSYNC);
		ASSERT_LE(0, self->fd[i]);
		aio_prep(&self->iocb[i], IOCB_CMD_PWRITE, self->fd[i], name, 4, 0);
		self->list[i] = &self->iocb[i];
	}
}

FIXTURE_TEARDOWN_PARENT(many)
{
	thread_fs_remove(&self->fs);
}

/*
 * One more waits for what comes; and each processor may be about to make one, since it has seen
 * that there was none.
 */
static int most_threads(int most)
{
	return most + 1 + aio_possible_cpus();
}

/* Files of their own, which have not to go behind each other, on a disk that takes its time. */
TEST_F_TIMEOUT(many, writes, 120)
{
	int most = 0, seen = 0, now, round;
	long got, ret;
	long long begun;

	for (round = 0; round < (aio_long() ? 10 : 3); round++) {
		/* Those that were created because others were stuck leave when they were idle. */
		ASSERT_TRUE(EVENTUALLY(workers() <= most_threads(self->most)));
		begun = aio_now_ns();
		ASSERT_EQ(MANY, io_submit(self->ctx, MANY, self->list));
		for (got = 0; got < MANY; got += ret) {
			struct timespec zero = { 0 };

			ASSERT_GT(patience() * 1000000000LL, aio_now_ns() - begun);
			now = workers();
			if (now > seen)
				seen = now;
			/* Before one has taken a second, and does not count any longer. */
			if (now > most && aio_now_ns() - begun < 1000000000)
				most = now;
			ret = io_getevents(self->ctx, 0, MANY - got, self->events + got, &zero);
			ASSERT_LE(0, ret);
		}
		for (got = 0; got < MANY; got++)
			EXPECT_EQ(4, self->events[got].res);
	}
	EXPECT_LT(2, seen);
	EXPECT_GE(most_threads(self->most), most);
}

/* One that is busy for a second does not count any longer: so others can go on. */
TEST_F_TIMEOUT(many, stuck_writes, 120)
{
	int most = 0, now, i;
	long long begun;

	ASSERT_EQ(0, ioctl(self->fs.dir, FIFREEZE, 0));
	begun = aio_now_ns();
	EXPECT_EQ(MANY, io_submit(self->ctx, MANY, self->list));
	for (;;) {
		now = workers();
		if (aio_now_ns() - begun >= 1000000000)
			break;
		if (now > most)
			most = now;
	}
	EXPECT_GE(most_threads(self->most), most);
	EXPECT_TRUE(EVENTUALLY(workers() > most_threads(self->most)));
	EXPECT_EQ(0, aio_drain(self->ctx));
	ASSERT_EQ(0, ioctl(self->fs.dir, FITHAW, 0));
	ASSERT_EQ(MANY, await_events(self->ctx, self->events, MANY));
	for (i = 0; i < MANY; i++)
		EXPECT_EQ(4, self->events[i].res);
}

/* Those that open what nobody writes are no more than a user may have, and no fewer. */
static int fifo_child(const char *fifo, int limit)
{
	struct iocb *iocb = calloc(MANY, sizeof(*iocb)), *list[MANY];
	struct rlimit lim = { limit, limit };
	struct io_event *events = calloc(MANY, sizeof(*events));
	aio_context_t ctx = 0;
	int i, fd, most = 0, now;

	if (setup_threaded(MANY, &ctx))
		return 1;
	if (setrlimit(RLIMIT_NPROC, &lim) || setresgid(54324, 54324, 54324) ||
	    setresuid(54324, 54324, 54324))
		return 2;
	for (i = 0; i < MANY; i++) {
		aio_prep(&iocb[i], IOCB_CMD_OPENAT, AT_FDCWD, fifo, 0, O_RDONLY);
		list[i] = &iocb[i];
	}
	if (io_submit(ctx, MANY, list) != MANY)
		return 3;
	if (!EVENTUALLY(tasks_of(getpid()).all >= limit))
		return 4;
	for (i = 0; i < 50; i++) {
		aio_sleep_ms(1);
		now = tasks_of(getpid()).all;
		most = now > most ? now : most;
	}
	if (most > limit)
		return 5;
	if (aio_drain(ctx))
		return 6;
	/* All of them, also those that have not begun. */
	fd = open(fifo, O_RDWR | O_NONBLOCK);
	if (fd < 0 || await_events(ctx, events, MANY) != MANY)
		return 7;
	for (i = 0; i < MANY; i++)
		if (events[i].res <= 0)
			return 8;
	return 0;
}

TEST_F_TIMEOUT(threads, many_opens, 120)
{
	char dir[] = "/tmp/aio_threads_XXXXXX", fifo[64];
	static const int limits[] = { 3, 40 };
	unsigned int i;
	pid_t pid;

	if (geteuid())
		SKIP(return, "is for root");
	ASSERT_NE(NULL, mkdtemp(dir));
	ASSERT_EQ(0, chmod(dir, 0755));
	snprintf(fifo, sizeof(fifo), "%s/fifo", dir);
	ASSERT_EQ(0, mkfifo(fifo, 0666));
	ASSERT_EQ(0, chmod(fifo, 0666));
	for (i = 0; i < ARRAY_SIZE(limits); i++) {
		pid = fork();
		ASSERT_LE(0, pid);
		if (!pid)
			_exit(fifo_child(fifo, limits[i]));
		EXPECT_EQ(0, await_child(pid));
	}
	unlink(fifo);
	rmdir(dir);
}

/* ------------------------------------------------------ namespaces */

/* What the kernel refuses to a process with threads, and only while it has them. */
TEST_F_TIMEOUT(threads, unshare, 120)
{
	aio_context_t ctx = 0;
	struct iocb iocb;
	struct ends e;
	int mnt;
	char c;

	mnt = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
	ASSERT_LE(0, mnt);
	ASSERT_EQ(0, setup_threaded(4, &ctx));
	ASSERT_TRUE(ends_open(&e, ENDS_PIPE, 0));
	aio_prep(&iocb, IOCB_CMD_PREAD, e.in, &c, 1, 0);
	ASSERT_EQ(1, aio_submit_one(ctx, &iocb));
	ASSERT_LE(1, workers());
	errno = 0;
	EXPECT_EQ(-1, unshare(CLONE_NEWUSER));
	EXPECT_EQ(EINVAL, errno);
	errno = 0;
	EXPECT_EQ(-1, unshare(CLONE_VM));
	EXPECT_EQ(EINVAL, errno);
	if (!geteuid()) {
		errno = 0;
		EXPECT_EQ(-1, setns(mnt, CLONE_NEWNS));
		EXPECT_EQ(EINVAL, errno);
	}
	ASSERT_TRUE(ends_feed(&e));
	EXPECT_NEXT(ctx, &iocb, 1);
	ASSERT_TRUE(AWAIT_NO_WORKERS());
	if (!geteuid())
		EXPECT_EQ(0, setns(mnt, CLONE_NEWNS));
	/* Now it has threads as long as that waits, in the new one. */
	if (unshare(CLONE_NEWUSER | CLONE_NEWNS)) {
		EXPECT_NE(EINVAL, errno);
		SKIP(return, "no user namespaces");
	}
	aio_prep(&iocb, IOCB_CMD_PREAD, e.in, &c, 1, 0);
	ASSERT_EQ(1, aio_submit_one(ctx, &iocb));
	ASSERT_TRUE(ends_feed(&e));
	EXPECT_NEXT(ctx, &iocb, 1);
}

/* A thread that has its own files, root or namespaces can do I/O all the same. */
TEST_F(threads, unshare_of_one_thread)
{
	aio_context_t ctx = 0;
	struct iocb first, iocb;
	struct ends e, own;
	char c, d;

	ASSERT_EQ(0, setup_threaded(4, &ctx));
	ASSERT_TRUE(ends_open(&e, ENDS_PIPE, 0));
	aio_prep(&first, IOCB_CMD_PREAD, e.in, &c, 1, 0);
	ASSERT_EQ(1, aio_submit_one(ctx, &first));
	ASSERT_LE(1, workers());
	ASSERT_EQ(0, unshare(CLONE_FILES | CLONE_FS));
	/* Descriptors that the pool's threads have not got. */
	ASSERT_TRUE(ends_open(&own, ENDS_PIPE, 0));
	aio_prep(&iocb, IOCB_CMD_PREAD, own.in, &d, 1, 0);
	ASSERT_EQ(1, aio_submit_one(ctx, &iocb));
	EXPECT_NO_EVENT(ctx);
	ASSERT_TRUE(ends_feed(&own));
	EXPECT_NEXT(ctx, &iocb, 1);
	ASSERT_TRUE(ends_feed(&e));
	EXPECT_NEXT(ctx, &first, 1);
	if (!geteuid() && !unshare(CLONE_NEWNS | CLONE_NEWNET)) {
		aio_prep(&iocb, IOCB_CMD_PREAD, own.in, &d, 1, 0);
		ASSERT_EQ(1, aio_submit_one(ctx, &iocb));
		EXPECT_NO_EVENT(ctx);
		ASSERT_TRUE(ends_feed(&own));
		EXPECT_NEXT(ctx, &iocb, 1);
	}
}

/*
 * Whose children go to another PID namespace can have no thread: what it wants is done
 * as on a plain context.
 */
TEST_F(threads, no_thread_to_be_had)
{
	int mem = aio_mem_file();
	aio_context_t ctx = 0;
	struct iocb iocb;
	struct ends e;
	char c = 'y';

	ASSERT_EQ(0, setup_threaded(4, &ctx));
	ASSERT_TRUE(ends_open(&e, ENDS_PIPE, 0));
	if (unshare(CLONE_NEWUSER | CLONE_NEWPID))
		SKIP(return, "no user and PID namespaces");
	aio_prep(&iocb, IOCB_CMD_PWRITE, mem, &c, 1, 0);
	EXPECT_DONE(ctx, &iocb, 1);
	ASSERT_TRUE(ends_feed(&e));
	aio_prep(&iocb, IOCB_CMD_PREAD, e.in, &c, 1, 0);
	EXPECT_DONE(ctx, &iocb, 1);
	EXPECT_EQ('x', c);
	EXPECT_EQ(1, tasks_of(getpid()).all);
}

/* ------------------------------------------------------ anybody */

FIXTURE(as) {
	char saved[64];
	aio_context_t ctx;
};

FIXTURE_VARIANT(as) {
	enum { ROOT, AS_NOBODY, IN_CHROOT, IN_NAMESPACES } who;
};

FIXTURE_VARIANT_ADD(as, root) { .who = ROOT };
FIXTURE_VARIANT_ADD(as, nobody) { .who = AS_NOBODY };
FIXTURE_VARIANT_ADD(as, chroot) { .who = IN_CHROOT };
FIXTURE_VARIANT_ADD(as, namespaces) { .who = IN_NAMESPACES };

FIXTURE_SETUP(as)
{
	NEED_THREADS();
	if (geteuid())
		SKIP(return, "is for root");
	aio_read_text(AUTO_THREADS, self->saved, sizeof(self->saved));
	/* It can't be switched on from there. */
	if (!threads_plain())
		ASSERT_EQ(0, aio_write_text(AUTO_THREADS, "1"));
	switch (variant->who) {
	case ROOT:
		break;
	case AS_NOBODY:
		ASSERT_EQ(0, setresgid(NOBODY, NOBODY, NOBODY));
		ASSERT_EQ(0, setresuid(NOBODY, NOBODY, NOBODY));
		break;
	case IN_CHROOT:
		ASSERT_EQ(0, chroot("/tmp"));
		ASSERT_EQ(0, chdir("/"));
		break;
	case IN_NAMESPACES:
		if (unshare(CLONE_NEWUSER | CLONE_NEWNS))
			SKIP(return, "no user namespaces");
		break;
	}
	ASSERT_EQ(0, io_setup(64, &self->ctx));
}

FIXTURE_TEARDOWN_PARENT(as)
{
	if (self->saved[0])
		EXPECT_EQ(0, aio_write_text(AUTO_THREADS, self->saved));
}

TEST_F(as, reads_and_writes)
{
	int mem = aio_mem_file(), i;
	struct iocb iocb, wait;
	char buf[4096], back[4096], c;
	struct ends e;

	ASSERT_TRUE(ends_open(&e, ENDS_PIPE, 0));
	for (i = 0; i < 10; i++) {
		aio_prep(&wait, IOCB_CMD_PREAD, e.in, &c, 1, 0);
		ASSERT_EQ(1, aio_submit_one(self->ctx, &wait));
		EXPECT_NO_EVENT(self->ctx);
		aio_pattern(buf, sizeof(buf), i);
		aio_prep(&iocb, IOCB_CMD_PWRITE, mem, buf, sizeof(buf), i * 4000);
		EXPECT_DONE(self->ctx, &iocb, sizeof(buf));
		aio_prep(&iocb, IOCB_CMD_PREAD, mem, back, sizeof(back), i * 4000);
		EXPECT_DONE(self->ctx, &iocb, sizeof(back));
		EXPECT_EQ(0, memcmp(buf, back, sizeof(buf)));
		ASSERT_EQ(1, write(e.out, "x", 1));
		EXPECT_NEXT(self->ctx, &wait, 1);
	}
	aio_prep(&wait, IOCB_CMD_PREAD, e.in, &c, 1, 0);
	ASSERT_EQ(1, aio_submit_one(self->ctx, &wait));
	EXPECT_EQ(-EINPROGRESS, io_cancel(self->ctx, &wait, NULL));
	EXPECT_NEXT(self->ctx, &wait, -EINTR);
}

TEST_HARNESS_MAIN
