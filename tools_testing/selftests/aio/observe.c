// SPDX-License-Identifier: GPL-2.0
/*
 * /proc/PID/aio, fs.aio-stats, and the tracepoints aio:*.
 *
 * Held here: the form of the file, and that its numbers are right; who may read
 * it; that a reader keeps nobody's address space or quota, and finds nothing in those
 * that have ended; that readers, io_setup(), io_destroy() and the end of processes can
 * meet; which events are traced, with what in them.
 *
 * Kernels without the file skip all of it.
 */
#include <ctype.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "../kselftest_harness.h"
#include "aio_ext_test.h"
#include "aio_thread_test.h"

#define FILE_NAME	"/proc/self/aio"
#define STATS		"/proc/sys/fs/aio-stats"
#define TRACEFS		"/sys/kernel/tracing"
#define HEADER		"id kind asked room inflight unread free cpufree eagain submits " \
			"completions locked pinned age maxus\n"
#define NOBODY		65534
#define NOT_ROOT	"needs root"

#define NUMBERS	12

/* A line of the file. */
struct line {
	unsigned long long id;
	char kind[32];
	union {
		struct {
			unsigned long long asked, room, inflight, unread, free, cpufree;
			unsigned long long eagain, submits, completions, locked, pinned, age;
		};
		unsigned long long number[NUMBERS];
	};
	char maxus[24];
};

/* Returns what follows the line, or NULL if it is not one, and nothing else. */
static const char *parse(const char *text, struct line *l)
{
	const char *end = strchr(text, '\n'), *p = text;
	char again[512], *to = again;
	int i, len = 0;

	memset(l, 0, sizeof(*l));
	if (!end || sscanf(p, "%llx %31s%n", &l->id, l->kind, &len) != 2)
		return NULL;
	p += len;
	to += sprintf(to, "0x%llx %s", l->id, l->kind);
	for (i = 0; i < NUMBERS; i++) {
		if (sscanf(p, " %llu%n", &l->number[i], &len) != 1)
			return NULL;
		p += len;
		to += sprintf(to, " %llu", l->number[i]);
	}
	if (sscanf(p, " %23s%n", l->maxus, &len) != 1 || p + len != end)
		return NULL;
	to += sprintf(to, " %s", l->maxus);
	/* One space, and no sign, zero, or other base. */
	if (to - again != end - text || strncmp(again, text, end - text))
		return NULL;
	return end + 1;
}

/* Reads an open file from the beginning; the number of lines behind the header, or -errno. */
static long lines_of(int fd, struct line *lines, long max)
{
	size_t size = 1 << 20;
	char *buf = malloc(size);
	const char *p = buf;
	ssize_t len, sum = 0;
	struct line l;
	long nr = 0;

	if (lseek(fd, 0, SEEK_SET))
		nr = -errno;
	while (!nr && (len = read(fd, buf + sum, size - 1 - sum)) > 0)
		sum += len;
	if (!nr && len < 0)
		nr = -errno;
	buf[sum] = '\0';
	if (!nr && strncmp(buf, HEADER, strlen(HEADER)))
		nr = -EBADMSG;
	if (!nr) {
		p += strlen(HEADER);
		while (*p) {
			p = parse(p, nr < max ? &lines[nr] : &l);
			if (!p) {
				nr = -EBADMSG;
				break;
			}
			nr++;
		}
	}
	free(buf);
	return nr;
}

static long lines_in(const char *path, struct line *lines, long max)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	long nr;

	if (fd < 0)
		return -errno;
	nr = lines_of(fd, lines, max);
	close(fd);
	return nr;
}

static int open_of(pid_t pid, const char *what)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, what);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

#define NO_FILE		"no " FILE_NAME

/* What would block is carried on by threads. */
static bool is_threaded(void)
{
	return aio_read_number(AUTO_THREADS) > 0;
}

FIXTURE(observe) {
	aio_context_t ctx;
	struct line l;
	int null;
	int pipe[2];
};

FIXTURE_SETUP(observe)
{
	if (access(FILE_NAME, F_OK))
		SKIP(return, NO_FILE);
	self->null = open("/dev/null", O_WRONLY);
	ASSERT_GE(self->null, 0);
	ASSERT_EQ(0, pipe(self->pipe));
	ASSERT_EQ(0, io_setup(10, &self->ctx));
}

FIXTURE_TEARDOWN(observe)
{
	if (self->ctx)
		io_destroy(self->ctx);
}

#define ONE_LINE()	ASSERT_EQ(1, lines_in(FILE_NAME, &self->l, 1))

TEST_F(observe, form)
{
	char buf[4096];
	struct stat st;

	ASSERT_EQ(0, stat(FILE_NAME, &st));
	EXPECT_EQ(S_IFREG | 0444, st.st_mode);
	ONE_LINE();
	EXPECT_EQ(self->ctx, self->l.id);
	EXPECT_STREQ(is_threaded() ? "thread" : "plain", self->l.kind);
	EXPECT_EQ(10, self->l.asked);
	EXPECT_EQ(aio_ring(self->ctx)->nr - 1, self->l.room);
	EXPECT_EQ(aio_ring_bytes(10) / getpagesize(), self->l.locked);
	EXPECT_EQ(self->l.room, self->l.free + self->l.cpufree);
	EXPECT_EQ(0, self->l.inflight + self->l.unread + self->l.eagain +
		  self->l.submits + self->l.completions + self->l.pinned);
	/* The header alone, where there is nothing. */
	ASSERT_EQ(0, io_destroy(self->ctx));
	self->ctx = 0;
	EXPECT_EQ(strlen(HEADER), aio_read_text(FILE_NAME, buf, sizeof(buf)));
	EXPECT_STREQ(HEADER, buf);
}

TEST_F(observe, read_only)
{
	EXPECT_EQ(-EACCES, geteuid() ? aio_write_text(FILE_NAME, "x") : -EACCES);
	if (!geteuid())
		EXPECT_GT(0, aio_write_text(FILE_NAME, "x"));
	ONE_LINE();
}

/* In flight, completed, collected. */
TEST_F(observe, a_request_on_its_way)
{
	struct iocb iocb[3], *list[3];
	struct io_event events[3];
	int i;

	for (i = 0; i < 3; i++) {
		aio_prep(&iocb[i], IOCB_CMD_POLL, self->pipe[0], (void *)POLLIN, 0, 0);
		list[i] = &iocb[i];
	}
	ASSERT_EQ(3, io_submit(self->ctx, 3, list));
	ONE_LINE();
	EXPECT_EQ(3, self->l.inflight);
	EXPECT_EQ(3, self->l.submits);
	EXPECT_EQ(0, self->l.completions);
	EXPECT_EQ(0, self->l.unread);
	EXPECT_EQ(self->l.room - 3, self->l.free + self->l.cpufree);

	ASSERT_EQ(1, write(self->pipe[1], "x", 1));
	for (i = 0; i < 10000 * aio_slow() && self->l.completions < 3; i++) {
		ONE_LINE();
		aio_sleep_ms(1);
	}
	EXPECT_EQ(3, self->l.completions);
	EXPECT_EQ(0, self->l.inflight);
	EXPECT_EQ(3, self->l.unread);

	ASSERT_EQ(2, io_getevents(self->ctx, 2, 2, events, NULL));
	ONE_LINE();
	EXPECT_EQ(1, self->l.unread);
	EXPECT_EQ(1, io_getevents(self->ctx, 1, 3, events, NULL));
	ONE_LINE();
	EXPECT_EQ(0, self->l.unread);
	EXPECT_EQ(3, self->l.submits);
}

/* What was refused is no submission; a submission that finds no room is an EAGAIN. */
TEST_F(observe, refusals)
{
	struct iocb iocb, *list[2] = { &iocb, &iocb };
	long filled;

	aio_prep(&iocb, IOCB_CMD_PWRITE, self->null, "x", 1, 0);
	ASSERT_EQ(2, io_submit(self->ctx, 2, list));
	iocb.aio_fildes = -1;
	EXPECT_EQ(-EBADF, io_submit(self->ctx, 2, list));
	aio_prep(&iocb, IOCB_CMD_POLL, self->pipe[0], (void *)POLLIN, 1, 0);
	EXPECT_EQ(-EINVAL, io_submit(self->ctx, 2, list));
	ONE_LINE();
	EXPECT_EQ(2, self->l.submits);
	EXPECT_EQ(2, self->l.completions);
	EXPECT_EQ(0, self->l.inflight);
	EXPECT_EQ(0, self->l.eagain);
	EXPECT_EQ(2, aio_drain(self->ctx));

	filled = aio_fill(self->ctx, &iocb, self->null);
	ASSERT_GT(filled, 0);
	ONE_LINE();
	EXPECT_EQ(2 + filled, self->l.submits);
	EXPECT_EQ(filled, self->l.unread);
	EXPECT_EQ(1, self->l.eagain);
	EXPECT_EQ(-EAGAIN, aio_submit_one(self->ctx, &iocb));
	ONE_LINE();
	EXPECT_EQ(2, self->l.eagain);
}

/* The sum of what the contexts were asked for is what this process has of fs.aio-nr. */
TEST_F(observe, who_holds_aio_nr)
{
	aio_context_t more[20] = { 0 };
	unsigned long long sum = 0;
	struct line lines[21];
	int i;

	for (i = 0; i < 20; i++)
		ASSERT_EQ(0, io_setup(i + 1, &more[i]));
	ASSERT_EQ(21, lines_in(FILE_NAME, lines, 21));
	for (i = 0; i < 21; i++)
		sum += lines[i].asked;
	EXPECT_EQ(10 + 20 * 21 / 2, sum);
	EXPECT_LE((long long)sum, aio_nr());
	for (i = 0; i < 20; i++)
		ASSERT_EQ(0, io_destroy(more[i]));
	ONE_LINE();
}

TEST_F(observe, kinds)
{
	static const struct {
		unsigned int flags;
		const char *name;
	} kinds[] = {
		{ 0, "plain" }, { USERIOCB, "iocb" }, { IOPOLL, "poll" },
		{ USERIOCB | IOPOLL, "iocb+poll" },
		{ USERIOCB | FIXEDBUFS, "iocb+buf" },
		{ USERIOCB | FIXEDBUFS | IOPOLL, "iocb+buf+poll" },
	};
	struct iocb *iocbs = aio_iocbs(64);
	struct line lines[2];
	unsigned int i;

	if (!aio_has_setup2())
		SKIP(return, "no io_setup2()");
	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		bool pinned = kinds[i].flags & USERIOCB;
		aio_context_t ctx = 0;

		ASSERT_EQ(0, io_setup2(64, kinds[i].flags, pinned ? iocbs : NULL, &ctx));
		ASSERT_EQ(2, lines_in(FILE_NAME, lines, 2));
		EXPECT_EQ(ctx, lines[1].id);
		if (!is_threaded())
			EXPECT_STREQ(kinds[i].name, lines[1].kind);
		EXPECT_EQ(pinned, !!lines[1].pinned);
		ASSERT_EQ(0, io_destroy(ctx));
	}
}

/* The last column, and the parameter that it depends on. */
TEST_F(observe, stats)
{
	struct iocb iocb;
	char old[64];
	char *end;

	ASSERT_GT(aio_read_text(STATS, old, sizeof(old)), 0);
	if (geteuid()) {
		EXPECT_EQ(-EACCES, aio_write_text(STATS, "1"));
		SKIP(return, NOT_ROOT);
	}
	EXPECT_EQ(-EINVAL, aio_write_text(STATS, "2"));
	EXPECT_EQ(-EINVAL, aio_write_text(STATS, "-1"));
	ASSERT_EQ(0, aio_write_text(STATS, "0"));
	ONE_LINE();
	EXPECT_STREQ("-", self->l.maxus);

	ASSERT_EQ(0, aio_write_text(STATS, "1"));
	EXPECT_EQ(0, aio_write_text(STATS, "1"));
	ONE_LINE();
	EXPECT_STREQ("0", self->l.maxus);
	/* A read that takes some time, in io_submit(). */
	aio_prep(&iocb, IOCB_CMD_PREAD, open("/dev/zero", O_RDONLY),
		 aio_pages(8 << 20, PROT_READ | PROT_WRITE), 8 << 20, 0);
	ASSERT_EQ(1, aio_submit_one(self->ctx, &iocb));
	ONE_LINE();
	EXPECT_LT(0, strtol(self->l.maxus, &end, 10));
	EXPECT_EQ('\0', *end);

	ASSERT_EQ(0, aio_write_text(STATS, "0"));
	ONE_LINE();
	EXPECT_STREQ("-", self->l.maxus);
	EXPECT_EQ(1, aio_drain_of(self->ctx, 1));
	EXPECT_EQ(0, aio_write_text(STATS, old));
}

TEST_F(observe, age)
{
	ONE_LINE();
	EXPECT_GT(60, self->l.age);
	aio_sleep_ms(1100);
	ONE_LINE();
	EXPECT_LE(1, self->l.age);
}

/* Programs read in pieces as they like. */
TEST_F(observe, many_contexts)
{
	enum { NR = 300 };
	static aio_context_t ctx[NR];
	static struct line lines[NR + 2];
	static char buf[NR * 128];
	ssize_t len, sum = 0;
	const char *p;
	int i, j, fd;

	for (i = 0; i < NR; i++)
		ASSERT_EQ(0, io_setup(1, &ctx[i]));
	/* Holes in the table. */
	for (i = 0; i < NR; i += 3) {
		ASSERT_EQ(0, io_destroy(ctx[i]));
		ctx[i] = 0;
	}
	ASSERT_EQ(1 + NR - NR / 3, lines_in(FILE_NAME, lines, NR + 2));

	fd = open(FILE_NAME, O_RDONLY);
	ASSERT_GE(fd, 0);
	while ((len = read(fd, buf + sum, 37)) > 0)
		sum += len;
	ASSERT_EQ(0, len);
	close(fd);
	ASSERT_EQ(0, strncmp(buf, HEADER, strlen(HEADER)));
	p = buf + strlen(HEADER);
	for (i = 0; *p; i++) {
		ASSERT_LT(i, NR + 1);
		p = parse(p, &lines[i]);
		ASSERT_NE(NULL, p);
	}
	EXPECT_EQ(1 + NR - NR / 3, i);
	EXPECT_EQ(self->ctx, lines[0].id);
	for (i = 0, j = 1; i < NR; i++) {
		if (!ctx[i])
			continue;
		EXPECT_EQ(ctx[i], lines[j++].id);
		EXPECT_EQ(0, io_destroy(ctx[i]));
	}
}

/* --------------------------------------------------- other processes */

struct child {
	pid_t pid;
	/* A byte comes when it is ready; then it waits for one. */
	int ready, go;
};

/* A process with a context and a request in flight that does not end. */
static int child_start(struct child *c, void (*first)(void), void (*then)(void))
{
	int ready[2], go[2];
	char byte;

	if (pipe2(ready, O_CLOEXEC) || pipe2(go, O_CLOEXEC))
		return -errno;
	c->pid = fork();
	if (c->pid < 0)
		return -errno;
	if (!c->pid) {
		aio_context_t ctx = 0;
		struct iocb iocb;
		int never[2];

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(ready[0]);
		close(go[1]);
		if (first)
			first();
		aio_prep(&iocb, IOCB_CMD_POLL, pipe(never) ? -1 : never[0], (void *)POLLIN, 0, 0);
		if (io_setup(77, &ctx) || aio_submit_one(ctx, &iocb) != 1 ||
		    write(ready[1], "x", 1) != 1)
			_exit(1);
		if (read(go[0], &byte, 1) < 0)
			_exit(1);
		if (then)
			then();
		_exit(0);
	}
	close(ready[1]);
	close(go[0]);
	c->ready = ready[0];
	c->go = go[1];
	return read(c->ready, &byte, 1) == 1 ? 0 : -EIO;
}

static int child_end(struct child *c)
{
	int status;

	/* Children that came later have the pipe, too. */
	if (write(c->go, "x", 1) != 1)
		return -errno;
	close(c->go);
	if (waitpid(c->pid, &status, 0) != c->pid)
		return -errno;
	close(c->ready);
	return status;
}

TEST_F(observe, of_another_process)
{
	struct child c;
	int fd;

	ASSERT_EQ(0, child_start(&c, NULL, NULL));
	fd = open_of(c.pid, "aio");
	ASSERT_GE(fd, 0);
	/* It has none of its parent's. */
	ASSERT_EQ(1, lines_of(fd, &self->l, 1));
	EXPECT_EQ(77, self->l.asked);
	EXPECT_EQ(1, self->l.inflight);
	EXPECT_EQ(0, child_end(&c));
	close(fd);
}

/* Who has the file open keeps neither the address space nor the quota. */
TEST_F(observe, of_a_process_that_ends)
{
	long long base = aio_nr();
	struct child c;
	int fd;

	ASSERT_EQ(0, child_start(&c, NULL, NULL));
	fd = open_of(c.pid, "aio");
	ASSERT_GE(fd, 0);
	ASSERT_EQ(1, lines_of(fd, &self->l, 1));
	EXPECT_EQ(0, child_end(&c));
	EXPECT_EQ(0, lines_of(fd, &self->l, 1));
	/* Other processes may have contexts, but the tests of this directory run one at a time. */
	EXPECT_EQ(base, aio_nr());
	EXPECT_EQ(-ENOENT, open_of(c.pid, "aio"));
	EXPECT_EQ(0, lines_of(fd, &self->l, 1));
	close(fd);
}

/* One that nobody has waited for has no address space. */
TEST_F(observe, of_a_zombie)
{
	struct child c;
	siginfo_t info;
	int fd;

	ASSERT_EQ(0, child_start(&c, NULL, NULL));
	fd = open_of(c.pid, "aio");
	ASSERT_GE(fd, 0);
	close(c.go);
	ASSERT_EQ(0, waitid(P_PID, c.pid, &info, WEXITED | WNOWAIT));
	EXPECT_EQ(-ESRCH, open_of(c.pid, "aio"));
	EXPECT_EQ(0, lines_of(fd, &self->l, 1));
	EXPECT_EQ(c.pid, waitpid(c.pid, NULL, 0));
	close(fd);
}

static void exec_sleep(void)
{
	execlp("sleep", "sleep", "1000", NULL);
}

TEST_F(observe, of_a_process_that_executes_another)
{
	long nr = -1;
	struct child c;
	int fd, i;

	ASSERT_EQ(0, child_start(&c, NULL, exec_sleep));
	fd = open_of(c.pid, "aio");
	ASSERT_GE(fd, 0);
	close(c.go);
	/* The other end of the pipe is closed by execve(); the old memory goes a little later. */
	EXPECT_EQ(0, read(c.ready, &i, 1));
	for (i = 0; i < 10000 * aio_slow() && nr; i++) {
		nr = lines_of(fd, &self->l, 1);
		aio_sleep_ms(1);
	}
	EXPECT_EQ(0, nr);
	close(fd);
	fd = open_of(c.pid, "aio");
	ASSERT_GE(fd, 0);
	EXPECT_EQ(0, lines_of(fd, &self->l, 1));
	close(fd);
	kill(c.pid, SIGKILL);
	EXPECT_EQ(c.pid, waitpid(c.pid, NULL, 0));
}

/* A thread of the kernel has no contexts. */
TEST_F(observe, of_a_kernel_thread)
{
	char comm[64];

	if (aio_read_text("/proc/2/comm", comm, sizeof(comm)) <= 0 ||
	    strcmp(comm, "kthreadd\n"))
		SKIP(return, "process 2 is none");
	EXPECT_EQ(-ESRCH, open_of(2, "aio"));
}

/* --------------------------------------------------- who may read */

static void become_nobody(void)
{
	if (setresgid(NOBODY, NOBODY, NOBODY) || setresuid(NOBODY, NOBODY, NOBODY))
		_exit(2);
	/* That is taken away by a change of the user. */
	prctl(PR_SET_DUMPABLE, 1);
}

static void hide(void)
{
	become_nobody();
	prctl(PR_SET_DUMPABLE, 0);
}

/* As whom another user may read /proc/PID/maps. */
TEST_F(observe, permissions)
{
	struct child own, hidden, other;
	int fd, kept;
	pid_t pid;
	int status;

	if (geteuid())
		SKIP(return, NOT_ROOT);
	ASSERT_EQ(0, child_start(&own, become_nobody, NULL));
	ASSERT_EQ(0, child_start(&hidden, hide, NULL));
	ASSERT_EQ(0, child_start(&other, NULL, NULL));
	kept = open_of(other.pid, "aio");
	ASSERT_GE(kept, 0);

	pid = fork();
	if (!pid) {
		become_nobody();
		fd = open_of(own.pid, "aio");
		if (fd < 0 || lines_of(fd, &self->l, 1) != 1 || self->l.asked != 77)
			_exit(3);
		if (open_of(hidden.pid, "aio") != -EACCES)
			_exit(4);
		if (open_of(other.pid, "aio") != -EACCES)
			_exit(5);
		if (open_of(other.pid, "maps") != -EACCES)
			_exit(6);
		/* The right is that of who has opened the file. */
		if (lines_of(kept, &self->l, 1) != 1)
			_exit(7);
		_exit(0);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_LE(0, open_of(hidden.pid, "aio"));
	EXPECT_EQ(0, child_end(&own));
	EXPECT_EQ(0, child_end(&hidden));
	EXPECT_EQ(0, child_end(&other));
}

/* --------------------------------------------------- all at once */

static volatile bool stop;
static volatile pid_t newest;

static void *reader(void *arg)
{
	struct line lines[16];
	long rounds = 0, nr;

	do {
		nr = lines_in(FILE_NAME, lines, 16);
		if (nr < 0)
			return (void *)nr;
		if (newest) {
			int fd = open_of(newest, "aio");

			if (fd >= 0) {
				nr = lines_of(fd, lines, 16);
				close(fd);
				if (nr < 0)
					return (void *)nr;
			} else if (fd != -ENOENT && fd != -ESRCH) {
				return (void *)(long)fd;
			}
		}
		rounds++;
	} while (!stop);
	return (void *)rounds;
}

static void *creator(void *arg)
{
	int null = open("/dev/null", O_WRONLY);
	struct iocb iocb, poll;
	int never[2];
	long rounds = 0;

	if (pipe(never))
		return (void *)-1L;
	aio_prep(&iocb, IOCB_CMD_PWRITE, null, "x", 1, 0);
	aio_prep(&poll, IOCB_CMD_POLL, never[0], (void *)POLLIN, 0, 0);
	do {
		aio_context_t ctx = 0;

		if (io_setup(8, &ctx) || aio_submit_one(ctx, &iocb) != 1 ||
		    aio_submit_one(ctx, &poll) != 1 || io_destroy(ctx))
			return (void *)-1L;
		rounds++;
	} while (!stop);
	return (void *)rounds;
}

TEST_F(observe, all_at_once)
{
	long rounds = aio_long() ? 2000 : 40;
	pthread_t threads[5];
	void *ret;
	int i;

	stop = false;
	for (i = 0; i < 5; i++)
		ASSERT_EQ(0, pthread_create(&threads[i], NULL, i < 3 ? reader : creator, NULL));
	while (rounds--) {
		pid_t pid = fork();
		int status;

		ASSERT_GE(pid, 0);
		if (!pid) {
			aio_context_t ctx[4] = { 0 };
			struct iocb iocb;

			aio_prep(&iocb, IOCB_CMD_POLL, self->pipe[0], (void *)POLLIN, 0, 0);
			for (i = 0; i < 4; i++)
				if (io_setup(8, &ctx[i]) || aio_submit_one(ctx[i], &iocb) != 1)
					_exit(1);
			_exit(0);
		}
		newest = pid;
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		EXPECT_EQ(0, status);
	}
	stop = true;
	for (i = 0; i < 5; i++) {
		ASSERT_EQ(0, pthread_join(threads[i], &ret));
		EXPECT_LT(0, (long)ret);
	}
	ONE_LINE();
}

/* --------------------------------------------------- tracepoints */

/* An instance of the trace buffer, for what this thread does. */
FIXTURE(trace) {
	char dir[128];
	char text[1 << 17];
	aio_context_t ctx;
	int null;
	int pipe[2];
};

static int trace_write(const char *dir, const char *file, const char *text)
{
	char path[192];
	int fd, ret = 0;

	snprintf(path, sizeof(path), "%s/%s", dir, file);
	/* To truncate such a file empties what it shows. */
	fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (*text && write(fd, text, strlen(text)) < 0)
		ret = -errno;
	close(fd);
	return ret;
}

static int trace_pid(const char *dir, pid_t pid)
{
	char text[24];

	snprintf(text, sizeof(text), "%d", pid);
	return trace_write(dir, "set_event_pid", text);
}

FIXTURE_SETUP(trace)
{
	if (access(FILE_NAME, F_OK))
		SKIP(return, NO_FILE);
	if (geteuid())
		SKIP(return, NOT_ROOT);
	if (is_threaded())
		SKIP(return, "threaded contexts: not all is known of their requests");
	if (access(TRACEFS "/events", F_OK))
		mount("tracefs", TRACEFS, "tracefs", 0, NULL);
	if (access(TRACEFS "/events/aio", F_OK))
		SKIP(return, "no " TRACEFS "/events/aio");
	snprintf(self->dir, sizeof(self->dir), TRACEFS "/instances/aio-%d", getpid());
	ASSERT_EQ(0, mkdir(self->dir, 0700));
	ASSERT_EQ(0, trace_pid(self->dir, getpid()));
	self->null = open("/dev/null", O_WRONLY);
	ASSERT_GE(self->null, 0);
	ASSERT_EQ(0, pipe(self->pipe));
}

FIXTURE_TEARDOWN(trace)
{
	if (self->ctx)
		io_destroy(self->ctx);
	if (self->dir[0]) {
		trace_write(self->dir, "events/aio/enable", "0");
		EXPECT_EQ(0, rmdir(self->dir));
	}
}

#define TRACE(on)	ASSERT_EQ(0, trace_write(self->dir, "events/aio/enable", (on) ? "1" : "0"))

#define TRACED() do {							\
	char path[192];							\
	snprintf(path, sizeof(path), "%s/trace", self->dir);		\
	ASSERT_LT(0, aio_read_text(path, self->text, sizeof(self->text))); \
} while (0)

/* How many events of a name have a text in them. */
static int seen(const char *text, const char *event, const char *with)
{
	const char *p = text;
	char name[64];
	int nr = 0;

	snprintf(name, sizeof(name), " %s: ", event);
	while ((p = strstr(p, name))) {
		const char *end = strchr(p, '\n'), *found;

		if (!end)
			break;
		found = with ? strstr(p, with) : p;
		/* A whole word. */
		if (found && found < end && (!with || isspace(found[strlen(with)])))
			nr++;
		p = end;
	}
	return nr;
}

#define EXPECT_SEEN(nr, event, ...) do {				\
	const char *name = (event);					\
	char with[128];							\
	snprintf(with, sizeof(with), __VA_ARGS__);			\
	EXPECT_EQ(nr, seen(self->text, name, with))			\
		TH_LOG("%s with '%s' in\n%s", name, with, self->text);	\
} while (0)

TEST_F(trace, setup_and_destroy)
{
	pid_t pid;

	TRACE(1);
	ASSERT_EQ(0, io_setup(10, &self->ctx));
	EXPECT_EQ(0, io_destroy(self->ctx));
	TRACED();
	EXPECT_EQ(1, seen(self->text, "aio_setup", NULL));
	EXPECT_SEEN(1, "aio_setup", "ctx=0x%lx", (long)self->ctx);
	EXPECT_SEEN(1, "aio_setup", "asked=10");
	EXPECT_SEEN(1, "aio_setup", "kind=plain");
	EXPECT_SEEN(1, "aio_destroy", "ctx=0x%lx", (long)self->ctx);
	EXPECT_SEEN(1, "aio_destroy", "by=io_destroy");
	self->ctx = 0;

	/* The end of a process. */
	ASSERT_EQ(0, trace_write(self->dir, "trace", ""));
	pid = fork();
	if (!pid) {
		trace_pid(self->dir, getpid());
		_exit(-io_setup(10, &self->ctx));
	}
	ASSERT_EQ(pid, waitpid(pid, NULL, 0));
	TRACED();
	EXPECT_SEEN(1, "aio_destroy", "by=exit");
}

TEST_F(trace, requests)
{
	struct iocb iocb[2], *list[2] = { &iocb[0], &iocb[1] };
	struct stat st;

	ASSERT_EQ(0, fstat(self->null, &st));
	ASSERT_EQ(0, io_setup(10, &self->ctx));
	TRACE(1);
	aio_prep(&iocb[0], IOCB_CMD_PWRITE, self->null, "abc", 3, 4096);
	aio_prep(&iocb[1], IOCB_CMD_PWRITE, self->null, "abcd", 4, 8192);
	ASSERT_EQ(2, io_submit(self->ctx, 2, list));
	iocb[1].aio_fildes = -1;
	ASSERT_EQ(1, io_submit(self->ctx, 2, list));
	ASSERT_EQ(-EBADF, io_submit(self->ctx, 1, &list[1]));
	TRACE(0);
	ASSERT_EQ(3, aio_drain(self->ctx));
	TRACED();
	EXPECT_EQ(3, seen(self->text, "aio_submit", NULL));
	EXPECT_SEEN(1, "aio_submit", "asked=2 ret=2");
	EXPECT_SEEN(1, "aio_submit", "asked=2 ret=1");
	EXPECT_SEEN(1, "aio_submit", "asked=1 ret=-9");
	EXPECT_EQ(3, seen(self->text, "aio_request", NULL));
	EXPECT_SEEN(3, "aio_request", "ctx=0x%lx", (long)self->ctx);
	EXPECT_SEEN(2, "aio_request", "iocb=0x%lx", (long)&iocb[0]);
	EXPECT_SEEN(1, "aio_request", "iocb=0x%lx", (long)&iocb[1]);
	EXPECT_SEEN(2, "aio_request", "offset=4096 length=3");
	EXPECT_SEEN(1, "aio_request", "offset=8192 length=4");
	EXPECT_SEEN(3, "aio_request", "ino=%llu", (unsigned long long)st.st_ino);
	EXPECT_EQ(3, seen(self->text, "aio_complete", NULL));
	EXPECT_SEEN(2, "aio_complete", "res=3");
	EXPECT_SEEN(1, "aio_complete", "res=4");
	EXPECT_SEEN(3, "aio_complete", "op=PWRITE");
	EXPECT_SEEN(0, "aio_complete", "ns=0");
}

/* Each operation, those that end later too. */
TEST_F(trace, operations)
{
	int fd = aio_disk_file(O_RDWR), i, len;
	char buf[16] = "0123456789abcde";
	struct iovec iov = { buf, 16 };
	struct io_event event;
	struct iocb iocb;
	struct {
		int opcode;
		void *addr;
		long nr;
		const char *request, *complete;
	} ops[] = {
		{ IOCB_CMD_PWRITE, buf, 16, "PWRITE", "PWRITE" },
		{ IOCB_CMD_PREAD, buf, 16, "PREAD", "PREAD" },
		{ IOCB_CMD_PWRITEV, &iov, 1, "PWRITEV", "PWRITE" },
		{ IOCB_CMD_PREADV, &iov, 1, "PREADV", "PREAD" },
		{ IOCB_CMD_FSYNC, NULL, 0, "FSYNC", "FSYNC" },
		{ IOCB_CMD_FDSYNC, NULL, 0, "FDSYNC", "FDSYNC" },
		{ IOCB_CMD_POLL, (void *)POLLIN, 0, "POLL", "POLL" },
	};

	ASSERT_GE(fd, 0);
	ASSERT_EQ(0, io_setup(10, &self->ctx));
	/* Workers complete some of them. */
	ASSERT_EQ(0, trace_write(self->dir, "set_event_pid", ""));
	TRACE(1);
	for (i = 0; i < (int)ARRAY_SIZE(ops); i++) {
		aio_prep(&iocb, ops[i].opcode, fd, ops[i].addr, ops[i].nr, 0);
		ASSERT_EQ(1, aio_run(self->ctx, &iocb, &event));
		ASSERT_LE(0, (long)event.res);
	}
	/* One that is not ready at once. */
	iocb.aio_fildes = self->pipe[0];
	ASSERT_EQ(1, aio_submit_one(self->ctx, &iocb));
	ASSERT_EQ(1, write(self->pipe[1], "x", 1));
	ASSERT_EQ(1, io_getevents(self->ctx, 1, 1, &event, NULL));
	TRACE(0);
	TRACED();
	for (i = 0; i < (int)ARRAY_SIZE(ops); i++) {
		len = ops[i].opcode == IOCB_CMD_POLL ? 2 : 1;
		EXPECT_SEEN(len, "aio_request", "op=%s", ops[i].request);
		len = ops[i].opcode <= IOCB_CMD_PWRITE || ops[i].opcode == IOCB_CMD_POLL ||
		      ops[i].opcode >= IOCB_CMD_PREADV ? 2 : 1;
		EXPECT_SEEN(len, "aio_complete", "op=%s", ops[i].complete);
	}
	EXPECT_SEEN(0, "aio_complete", "ns=0");
	close(fd);
}

/* What a threaded context carries on: with the device, with a thread, waiting for a pipe. */
TEST_F(trace, carried_on)
{
	int fd = aio_disk_file(O_RDWR), direct = -1;
	char *buf = aio_pages(8192, PROT_READ | PROT_WRITE);
	struct io_event event;
	struct stat st, pst;
	struct iocb iocb;

	NEED_THREADS();
	ASSERT_GE(fd, 0);
	ASSERT_EQ(0, ftruncate(fd, 8192));
	ASSERT_EQ(0, fstat(fd, &st));
	ASSERT_EQ(0, fstat(self->pipe[0], &pst));
	direct = aio_reopen(fd, O_RDWR | O_DIRECT);
	if (direct < 0)
		SKIP(return, "no direct I/O");
	ASSERT_EQ(0, setup_threaded(10, &self->ctx));
	ASSERT_EQ(0, trace_write(self->dir, "set_event_pid", ""));
	TRACE(1);
	aio_prep(&iocb, IOCB_CMD_PWRITE, direct, buf, 8192, 0);
	EXPECT_RES(self->ctx, &iocb, 8192);
	aio_prep(&iocb, IOCB_CMD_PREAD, direct, buf, 4096, 4096);
	EXPECT_RES(self->ctx, &iocb, 4096);
	aio_prep(&iocb, IOCB_CMD_PREAD, self->pipe[0], buf, 100, 0);
	ASSERT_EQ(1, aio_submit_one(self->ctx, &iocb));
	ASSERT_EQ(3, write(self->pipe[1], "abc", 3));
	ASSERT_EQ(1, io_getevents(self->ctx, 1, 1, &event, NULL));
	EXPECT_EVENT(&event, &iocb, 3);
	/* One that is given up. */
	ASSERT_EQ(1, aio_submit_one(self->ctx, &iocb));
	EXPECT_EQ(-EINPROGRESS, io_cancel(self->ctx, &iocb, &event));
	ASSERT_EQ(1, io_getevents(self->ctx, 1, 1, &event, NULL));
	EXPECT_EVENT(&event, &iocb, -EINTR);
	TRACE(0);
	TRACED();
	EXPECT_EQ(4, seen(self->text, "aio_complete", NULL));
	EXPECT_SEEN(1, "aio_complete", "op=PWRITE");
	EXPECT_SEEN(3, "aio_complete", "op=PREAD");
	EXPECT_SEEN(2, "aio_complete", "ino=%llu", (unsigned long long)st.st_ino);
	EXPECT_SEEN(2, "aio_complete", "ino=%llu", (unsigned long long)pst.st_ino);
	EXPECT_SEEN(1, "aio_complete", "res=8192");
	EXPECT_SEEN(1, "aio_complete", "res=4096");
	EXPECT_SEEN(1, "aio_complete", "res=3");
	EXPECT_SEEN(1, "aio_complete", "res=-4");
	EXPECT_SEEN(0, "aio_complete", "ns=0");
	close(direct);
	close(fd);
}

/* What threaded contexts have besides reads and writes, and a flush that waits for a write. */
TEST_F(trace, what_threads_do)
{
	struct iocb iocb[2], *iocbs[] = { &iocb[0], &iocb[1] };
	int fd = aio_disk_file(O_RDWR);
	char text[] = "123";
	struct io_event events[2];
	struct stat st;

	NEED_THREADS();
	ASSERT_GE(fd, 0);
	ASSERT_EQ(0, fstat(fd, &st));
	ASSERT_EQ(0, setup_threaded(10, &self->ctx));
	ASSERT_EQ(0, trace_write(self->dir, "set_event_pid", ""));
	TRACE(1);
	/* The write extends the file, for which it has to sleep. */
	aio_prep(&iocb[0], IOCB_CMD_PWRITE, fd, text, 3, 0);
	aio_prep(&iocb[1], IOCB_CMD_FSYNC, fd, NULL, 0, 0);
	ASSERT_EQ(2, io_submit(self->ctx, 2, iocbs));
	ASSERT_EQ(2, io_getevents(self->ctx, 2, 2, events, NULL));
	aio_prep(&iocb[0], IOCB_CMD_READAHEAD, fd, NULL, 3, 0);
	EXPECT_RES(self->ctx, &iocb[0], 3);
	ASSERT_EQ(0, posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED));
	EXPECT_RES(self->ctx, &iocb[0], 3);
	aio_prep(&iocb[0], IOCB_CMD_OPENAT, AT_FDCWD, "/dev/null", 0, O_RDWR);
	ASSERT_EQ(1, aio_run(self->ctx, &iocb[0], &events[0]));
	EXPECT_LE(0, (long)events[0].res);
	close(events[0].res);
	aio_prep(&iocb[0], IOCB_CMD_UNLINKAT, -1, text, 0, 0);
	EXPECT_RES(self->ctx, &iocb[0], -EBADF);
	TRACE(0);
	TRACED();
	EXPECT_EQ(6, seen(self->text, "aio_complete", NULL));
	EXPECT_SEEN(1, "aio_complete", "op=PWRITE");
	EXPECT_SEEN(1, "aio_complete", "op=FSYNC");
	EXPECT_SEEN(2, "aio_complete", "op=READAHEAD");
	EXPECT_SEEN(4, "aio_complete", "ino=%llu", (unsigned long long)st.st_ino);
	EXPECT_SEEN(1, "aio_complete", "op=OPENAT");
	EXPECT_SEEN(1, "aio_complete", "op=UNLINKAT");
	EXPECT_SEEN(2, "aio_complete", "ino=0");
	EXPECT_SEEN(0, "aio_complete", "ns=0");
	close(fd);
}

/* The latency of what was submitted before anybody looked is not known. */
TEST_F(trace, latency_of_earlier_requests)
{
	struct io_event event;
	struct iocb iocb;

	ASSERT_EQ(0, io_setup(10, &self->ctx));
	ASSERT_EQ(0, trace_write(self->dir, "set_event_pid", ""));
	aio_prep(&iocb, IOCB_CMD_POLL, self->pipe[0], (void *)POLLIN, 0, 0);
	ASSERT_EQ(1, aio_submit_one(self->ctx, &iocb));
	TRACE(1);
	ASSERT_EQ(1, write(self->pipe[1], "x", 1));
	ASSERT_EQ(1, io_getevents(self->ctx, 1, 1, &event, NULL));
	TRACED();
	EXPECT_SEEN(1, "aio_complete", "ns=0");
	EXPECT_TRUE(event.res & POLLIN);
	EXPECT_SEEN(1, "aio_complete", "res=%lld", (long long)event.res);
}

TEST_F(trace, waits)
{
	struct timespec ms = { 0, 1000000 };
	struct io_event events[4];
	struct iocb iocb;

	ASSERT_EQ(0, io_setup(10, &self->ctx));
	TRACE(1);
	aio_prep(&iocb, IOCB_CMD_PWRITE, self->null, "x", 1, 0);
	ASSERT_EQ(1, aio_submit_one(self->ctx, &iocb));
	/* There is enough, or nobody is to wait. */
	ASSERT_EQ(1, io_getevents(self->ctx, 1, 4, events, NULL));
	ASSERT_EQ(0, aio_drain(self->ctx));
	TRACED();
	EXPECT_EQ(0, seen(self->text, "aio_wait", NULL));
	ASSERT_EQ(1, aio_submit_one(self->ctx, &iocb));
	ASSERT_EQ(1, io_getevents(self->ctx, 3, 4, events, &ms));
	TRACED();
	EXPECT_EQ(1, seen(self->text, "aio_wait", NULL));
	EXPECT_SEEN(1, "aio_wait", "missing=2 timeout=1000000");
	EXPECT_EQ(1, seen(self->text, "aio_wake", NULL));
	EXPECT_SEEN(1, "aio_wake", "got=1");
	EXPECT_SEEN(0, "aio_wake", "ns=0");
}

TEST_F(trace, cancellation)
{
	struct io_event event;
	struct iocb iocb;

	ASSERT_EQ(0, io_setup(10, &self->ctx));
	TRACE(1);
	aio_prep(&iocb, IOCB_CMD_POLL, self->pipe[0], (void *)POLLIN, 0, 0);
	ASSERT_EQ(1, aio_submit_one(self->ctx, &iocb));
	ASSERT_EQ(-EINPROGRESS, io_cancel(self->ctx, &iocb, &event));
	ASSERT_EQ(-EINVAL, io_cancel(self->ctx, &iocb, &event));
	TRACED();
	EXPECT_SEEN(2, "aio_cancel", "iocb=0x%lx", (long)&iocb);
	EXPECT_SEEN(1, "aio_cancel", "ret=0");
	EXPECT_SEEN(1, "aio_cancel", "ret=-22");
}

TEST_F(trace, refusals)
{
	aio_context_t ctx = 0;
	struct iocb iocb;
	char old[64];

	ASSERT_EQ(0, io_setup(10, &self->ctx));
	TRACE(1);
	ASSERT_LT(0, aio_fill(self->ctx, &iocb, self->null));
	ASSERT_GT(aio_read_text("/proc/sys/fs/aio-max-nr", old, sizeof(old)), 0);
	ASSERT_EQ(0, aio_write_text("/proc/sys/fs/aio-max-nr", "100"));
	EXPECT_EQ(-EAGAIN, io_setup(101, &ctx));
	ASSERT_EQ(0, aio_write_text("/proc/sys/fs/aio-max-nr", old));
	TRACED();
	EXPECT_SEEN(1, "aio_refused", "limit=ring");
	EXPECT_SEEN(1, "aio_refused", "ctx=0x%lx", (long)self->ctx);
	EXPECT_SEEN(1, "aio_refused", "limit=aio-max-nr");
	EXPECT_SEEN(1, "aio_refused", "allowed=100");
	EXPECT_SEEN(1, "aio_refused", "asked=101");
}

/* Switched on and off by several, while requests are submitted and complete. */
TEST_F(trace, switched)
{
	long rounds = aio_long() ? 1000 : 50;
	pthread_t thread;
	char old[64];
	void *ret;

	ASSERT_GT(aio_read_text(STATS, old, sizeof(old)), 0);
	stop = false;
	ASSERT_EQ(0, pthread_create(&thread, NULL, creator, NULL));
	while (rounds--) {
		TRACE(rounds & 1);
		ASSERT_EQ(0, aio_write_text(STATS, rounds & 2 ? "1" : "0"));
	}
	stop = true;
	ASSERT_EQ(0, pthread_join(thread, &ret));
	EXPECT_LT(0, (long)ret);
	EXPECT_EQ(0, aio_write_text(STATS, old));
}

TEST_HARNESS_MAIN
