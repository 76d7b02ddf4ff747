// SPDX-License-Identifier: GPL-2.0
/*
 * Control groups: whose memory a context is, and whose events.
 *
 * Held here: the pages of a ring are charged to the memory control group of the
 * process that makes it, as file memory, and given back when it ends, however it
 * ends; and a group that has no room for a ring does not get one. The memory of
 * requests is charged, too.
 *
 * The events that contexts are asked for are charged to the misc control group, its
 * limit is one for io_setup(), and they go back when fs.aio-nr does, to the group
 * that was charged, wherever the process is by then.
 *
 * What io_setup2() has pinned stays charged to the group as the memory that it is, and
 * what the kernel keeps for that is charged, too.
 *
 * Needs root, and the controllers in the unified hierarchy.
 */
#include <sys/resource.h>
#include <sys/wait.h>
#include "../kselftest_harness.h"
#include "aio_ext_test.h"

#define NR	16384

FIXTURE(memcg) {
	char mnt[32];
	char dir[64];
	bool switched_on;
	aio_context_t ctx;
	size_t bytes;
};

static char *in_group(const char *dir, const char *name)
{
	static char path[128];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return path;
}

/* A number in memory.stat, -1 when it is not there. */
static long long group_stat(const char *dir, const char *name)
{
	char buf[4096], *line;
	size_t len = strlen(name);

	if (aio_read_text(in_group(dir, "memory.stat"), buf, sizeof(buf)) <= 0)
		return -1;
	for (line = strtok(buf, "\n"); line; line = strtok(NULL, "\n"))
		if (!strncmp(line, name, len) && line[len] == ' ')
			return atoll(line + len);
	return -1;
}

static bool group_stat_becomes(const char *dir, const char *name,
			       long long low, long long high)
{
	int i;

	/* The kernel adds its per-CPU numbers up now and then. */
	for (i = 0; i < 1000 * aio_slow(); i++) {
		long long now = group_stat(dir, name);

		if (low <= now && now <= high)
			return true;
		aio_sleep_ms(10);
	}
	return false;
}

/*
 * The next look adds up the numbers of all processors, which it does if there were so many
 * changes since the last one. By a process that is in the group.
 */
static void stat_is_due(void)
{
	size_t len = 64UL * (aio_possible_cpus() + 2) * 2 * getpagesize();
	char *p = aio_pages(len, PROT_READ | PROT_WRITE);

	if (p == MAP_FAILED)
		return;
	memset(p, 1, len);
	munmap(p, len);
}

static bool enter(const char *dir)
{
	return !aio_write_text(in_group(dir, "cgroup.procs"), "0");
}

/* Is the group gone? */
static bool take_down(struct _test_data_memcg *self)
{
	bool gone;
	int i;

	enter(self->mnt);
	/* Contexts that are gone may keep it busy for a moment. */
	for (i = 0; i < 500 * aio_slow() && rmdir(self->dir) && errno == EBUSY; i++)
		aio_sleep_ms(10);
	gone = access(self->dir, F_OK);
	if (self->switched_on)
		aio_write_text(in_group(self->mnt, "cgroup.subtree_control"),
			       "-memory");
	umount2(self->mnt, MNT_DETACH);
	rmdir(self->mnt);
	return gone;
}

FIXTURE_SETUP(memcg)
{
	char *control, text[256];

	snprintf(self->mnt, sizeof(self->mnt), "/tmp/aio_cgroup_XXXXXX");
	ASSERT_NE(NULL, mkdtemp(self->mnt));
	if (mount("none", self->mnt, "cgroup2", 0, NULL)) {
		rmdir(self->mnt);
		SKIP(return, "cannot mount cgroup2");
	}
	control = in_group(self->mnt, "cgroup.subtree_control");
	if (aio_read_text(control, text, sizeof(text)) >= 0 &&
	    !strstr(text, "memory"))
		self->switched_on = !aio_write_text(control, "+memory");
	snprintf(self->dir, sizeof(self->dir), "%s/aio%d", self->mnt, getpid());
	if (mkdir(self->dir, 0700) ||
	    access(in_group(self->dir, "memory.max"), W_OK)) {
		take_down(self);
		SKIP(return, "no memory controller");
	}
	self->bytes = aio_ring_bytes(NR);
}

FIXTURE_TEARDOWN(memcg)
{
	EXPECT_TRUE(take_down(self));
}

TEST_F(memcg, charge_comes_and_goes)
{
	long long base, slack = self->bytes / 4;

	ASSERT_TRUE(enter(self->dir));
	base = group_stat(self->dir, "file");
	ASSERT_LE(0, base);
	ASSERT_EQ(0, io_setup(NR, &self->ctx));
	EXPECT_TRUE(group_stat_becomes(self->dir, "file",
				       base + self->bytes - slack,
				       base + self->bytes + slack));
	EXPECT_LE((long long)self->bytes,
		  aio_read_number(in_group(self->dir, "memory.current")));
	EXPECT_EQ(0, io_destroy(self->ctx));
	EXPECT_TRUE(group_stat_becomes(self->dir, "file", 0, base + slack));
}

/* It stays where it was made, and goes when the process does. */
TEST_F(memcg, end_of_process)
{
	long long slack = self->bytes / 4;
	int ready[2], status;
	pid_t pid;
	char c;

	ASSERT_EQ(0, pipe(ready));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		if (!enter(self->dir) || io_setup(NR, &self->ctx) ||
		    !enter(self->mnt) || write(ready[1], "x", 1) != 1)
			_exit(1);
		pause();
	}
	ASSERT_EQ(1, read(ready[0], &c, 1));
	EXPECT_TRUE(group_stat_becomes(self->dir, "file", self->bytes - slack,
				       self->bytes + slack));
	kill(pid, SIGKILL);
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(SIGKILL, status);
	EXPECT_TRUE(group_stat_becomes(self->dir, "file", 0, slack));
}

/* Ring pages are not reclaimed, so somebody has to go: the one who asks. */
TEST_F(memcg, no_room)
{
	long long nr = aio_nr();
	char limit[32], events[512];
	int status, i;
	pid_t pid;

	snprintf(limit, sizeof(limit), "%zu", self->bytes / 2);
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		long ret;

		if (!enter(self->dir) ||
		    aio_write_text(in_group(self->dir, "memory.swap.max"),
				   "0") ||
		    aio_write_text(in_group(self->dir, "memory.max"), limit))
			_exit(1);
		ret = io_setup(NR, &self->ctx);
		_exit(ret == 0 ? 2 : 3);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(SIGKILL, status);
	ASSERT_LT(0, aio_read_text(in_group(self->dir, "memory.events"), events,
				   sizeof(events)));
	EXPECT_NE(NULL, strstr(events, "oom_kill 1"));
	/* What it had got so far is given back. */
	for (i = 0; i < 500 * aio_slow() && aio_nr() != nr; i++)
		aio_sleep_ms(10);
	EXPECT_EQ(nr, aio_nr());
	EXPECT_TRUE(group_stat_becomes(self->dir, "file", 0, self->bytes / 4));
	/* One that fits. */
	EXPECT_EQ(0, aio_write_text(in_group(self->dir, "memory.max"), "max"));
	ASSERT_TRUE(enter(self->dir));
	ASSERT_EQ(0, io_setup(NR, &self->ctx));
	EXPECT_EQ(0, io_destroy(self->ctx));
}

/*
 * What requests are in, which is much more than their room in the ring. Who submits is charged
 * when it is allocated, once, and what a context keeps of it for other requests goes with the
 * context.
 */
TEST_F(memcg, memory_of_requests)
{
	enum { REQUESTS = 8192, BATCH = 512 };
	/* A request has at least the file, its context, and a wait queue's entry. */
	long long least = REQUESTS * 128LL, base, grown[2];
	struct iocb *iocbs, *list[BATCH];
	int fds[2], i, j, round;
	struct io_event events[64];

	if (!aio_is_rust())
		SKIP(return, "the C implementation charges nobody for requests");
	ASSERT_EQ(0, pipe(fds));
	iocbs = calloc(REQUESTS, sizeof(*iocbs));
	ASSERT_NE(NULL, iocbs);
	for (i = 0; i < REQUESTS; i++)
		aio_prep(&iocbs[i], IOCB_CMD_POLL, fds[0], (void *)POLLIN, 0, 0);
	/* Charged to where the process was then, like the ring. */
	ASSERT_EQ(0, io_setup(REQUESTS + 1024, &self->ctx));
	ASSERT_TRUE(enter(self->dir));
	stat_is_due();
	base = group_stat(self->dir, "slab");
	ASSERT_LE(0, base);
	for (round = 0; round < 2; round++) {
		for (i = 0; i < REQUESTS; i += BATCH) {
			for (j = 0; j < BATCH; j++)
				list[j] = &iocbs[i + j];
			ASSERT_EQ(BATCH, io_submit(self->ctx, BATCH, list));
		}
		EXPECT_TRUE(group_stat_becomes(self->dir, "slab", base + least, LLONG_MAX));
		stat_is_due();
		grown[round] = group_stat(self->dir, "slab") - base;
		ASSERT_EQ(1, write(fds[1], "x", 1));
		for (i = 0; i < REQUESTS; i += j) {
			j = io_getevents(self->ctx, 1, 64, events, NULL);
			ASSERT_LT(0, j);
		}
		ASSERT_EQ(1, read(fds[0], events, 1));
	}
	/* What is used again is not charged again. */
	EXPECT_GT(grown[0] * 3 / 2, grown[1]);
	EXPECT_EQ(0, io_destroy(self->ctx));
	EXPECT_TRUE(group_stat_becomes(self->dir, "slab", 0, base + least / 4));
	close(fds[0]);
	close(fds[1]);
	free(iocbs);
}

/* Pages that only the context has. */
TEST_F(memcg, pinned_memory)
{
	long long bytes = 16LL << 20, kernel, anon;
	unsigned int nr = bytes / getpagesize(), i;
	struct iocb *iocbs;
	char *p;

	if (!aio_has_setup2())
		SKIP(return, "no io_setup2()");
	ASSERT_TRUE(enter(self->dir));
	iocbs = aio_iocbs(nr);
	p = aio_pages(bytes, PROT_READ | PROT_WRITE);
	ASSERT_NE(MAP_FAILED, (void *)p);
	memset(p, 1, bytes);
	for (i = 0; i < nr; i++)
		aio_prep(&iocbs[i], IOCB_CMD_PREAD, -1, p + (size_t)i * getpagesize(),
			 getpagesize(), 0);
	ASSERT_TRUE(group_stat_becomes(self->dir, "anon", bytes, LLONG_MAX));
	anon = group_stat(self->dir, "anon") - bytes;
	kernel = group_stat(self->dir, "kernel");
	ASSERT_LE(0, kernel);
	ASSERT_EQ(0, io_setup2(nr, USERIOCB | FIXEDBUFS, iocbs, &self->ctx));
	/* A pointer for each page of the iocbs, and what tells where a buffer is. */
	EXPECT_TRUE(group_stat_becomes(self->dir, "kernel", kernel + nr * 32LL, LLONG_MAX));
	ASSERT_EQ(0, munmap(p, bytes));
	EXPECT_LE(bytes, aio_read_number(in_group(self->dir, "memory.current")));
	EXPECT_EQ(0, io_destroy(self->ctx));
	EXPECT_TRUE(group_stat_becomes(self->dir, "kernel", 0, kernel + nr * 16LL));
	EXPECT_TRUE(group_stat_becomes(self->dir, "anon", 0, anon + bytes / 4));
	for (i = 0; i < 1000 * aio_slow(); i++) {
		if (aio_read_number(in_group(self->dir, "memory.current")) < bytes)
			break;
		aio_sleep_ms(10);
	}
	EXPECT_GT(1000, i);
}

/* ------------------------------------------------------ misc: events */

FIXTURE(misc) {
	char mnt[32];
	char one[64];
	char other[64];
	bool switched_on;
	aio_context_t ctx[3];
};

/* What a file of the controller says of "aio", or "aio.max"; -1 for "max", -2 for nothing. */
static long long misc_value(const char *dir, const char *file)
{
	char buf[1024], *line;

	if (aio_read_text(in_group(dir, file), buf, sizeof(buf)) <= 0)
		return -2;
	for (line = strtok(buf, "\n"); line; line = strtok(NULL, "\n")) {
		char *value = strchr(line, ' ');

		if (strncmp(line, "aio", 3) || !value || (line[3] != ' ' && line[3] != '.'))
			continue;
		return strcmp(value, " max") ? atoll(value) : -1;
	}
	return -2;
}

static long long misc_current(const char *dir)
{
	return misc_value(dir, "misc.current");
}

static int set_misc_limit(const char *dir, const char *limit)
{
	char text[32];

	snprintf(text, sizeof(text), "aio %s", limit);
	return aio_write_text(in_group(dir, "misc.max"), text);
}

static bool remove_group(const char *dir)
{
	int i;

	for (i = 0; i < 500 * aio_slow() && rmdir(dir) && errno == EBUSY; i++)
		aio_sleep_ms(10);
	return access(dir, F_OK);
}

static bool misc_take_down(struct _test_data_misc *self)
{
	bool gone;

	enter(self->mnt);
	gone = remove_group(self->one) && remove_group(self->other);
	if (self->switched_on)
		aio_write_text(in_group(self->mnt, "cgroup.subtree_control"), "-misc");
	umount2(self->mnt, MNT_DETACH);
	rmdir(self->mnt);
	return gone;
}

FIXTURE_SETUP(misc)
{
	char *control, text[256];

	snprintf(self->mnt, sizeof(self->mnt), "/tmp/aio_cgroup_XXXXXX");
	ASSERT_NE(NULL, mkdtemp(self->mnt));
	if (mount("none", self->mnt, "cgroup2", 0, NULL)) {
		rmdir(self->mnt);
		SKIP(return, "cannot mount cgroup2");
	}
	control = in_group(self->mnt, "cgroup.subtree_control");
	if (aio_read_text(control, text, sizeof(text)) >= 0 && !strstr(text, "misc"))
		self->switched_on = !aio_write_text(control, "+misc");
	snprintf(self->one, sizeof(self->one), "%s/one%d", self->mnt, getpid());
	snprintf(self->other, sizeof(self->other), "%s/other%d", self->mnt, getpid());
	if (mkdir(self->one, 0700) || mkdir(self->other, 0700) ||
	    misc_current(self->one) != 0) {
		misc_take_down(self);
		SKIP(return, "no resource aio in the misc controller");
	}
}

FIXTURE_TEARDOWN(misc)
{
	EXPECT_TRUE(misc_take_down(self));
}

TEST_F(misc, limit)
{
	long long nr = aio_nr();

	EXPECT_EQ(-1, misc_value(self->one, "misc.max"));
	ASSERT_EQ(0, set_misc_limit(self->one, "100"));
	ASSERT_TRUE(enter(self->one));
	ASSERT_EQ(0, io_setup(60, &self->ctx[0]));
	EXPECT_EQ(60, misc_current(self->one));
	/* One too many; nothing of it is left. */
	EXPECT_EQ(-EAGAIN, io_setup(41, &self->ctx[1]));
	EXPECT_EQ(0, self->ctx[1]);
	EXPECT_EQ(60, misc_current(self->one));
	EXPECT_EQ(nr + 60, aio_nr());
	EXPECT_EQ(1, misc_value(self->one, "misc.events"));
	EXPECT_EQ(0, misc_value(self->other, "misc.events"));
	ASSERT_EQ(0, io_setup(40, &self->ctx[1]));
	EXPECT_EQ(100, misc_current(self->one));
	EXPECT_EQ(-EAGAIN, io_setup(1, &self->ctx[2]));
	/* It is back when io_destroy() returns. */
	EXPECT_EQ(0, io_destroy(self->ctx[0]));
	EXPECT_EQ(40, misc_current(self->one));
	EXPECT_EQ(0, io_destroy(self->ctx[1]));
	EXPECT_EQ(0, misc_current(self->one));
	EXPECT_EQ(nr, aio_nr());
	ASSERT_EQ(0, set_misc_limit(self->one, "0"));
	self->ctx[0] = 0;
	EXPECT_EQ(-EAGAIN, io_setup(1, &self->ctx[0]));
	/* The other group is not concerned. */
	ASSERT_TRUE(enter(self->other));
	EXPECT_EQ(0, io_setup(1000, &self->ctx[0]));
	EXPECT_EQ(1000, misc_current(self->other));
	EXPECT_EQ(0, io_destroy(self->ctx[0]));
	EXPECT_EQ(0, misc_current(self->other));
}

/* Contexts of all kinds; before anything is pinned. */
TEST_F(misc, limit_of_io_setup2)
{
	struct aio_balance before = aio_balance();
	struct iocb *iocbs = aio_iocbs(64);

	if (!aio_has_setup2())
		SKIP(return, "no io_setup2()");
	ASSERT_EQ(0, set_misc_limit(self->one, "40"));
	ASSERT_TRUE(enter(self->one));
	ASSERT_EQ(0, io_setup2(30, USERIOCB | FIXEDBUFS, iocbs, &self->ctx[0]));
	EXPECT_EQ(30, misc_current(self->one));
	EXPECT_EQ(-EAGAIN, io_setup2(11, 0, NULL, &self->ctx[1]));
	EXPECT_EQ(-EAGAIN, io_setup2(11, IOPOLL, NULL, &self->ctx[1]));
	EXPECT_EQ(-EAGAIN, io_setup2(11, USERIOCB, iocbs, &self->ctx[1]));
	EXPECT_EQ(-EAGAIN, io_setup2(11, USERIOCB, aio_unmapped(), &self->ctx[1]));
	EXPECT_EQ(4, misc_value(self->one, "misc.events"));
	/* What has been granted goes back when something later fails. */
	EXPECT_EQ(-EFAULT, io_setup2(10, USERIOCB, aio_unmapped(), &self->ctx[1]));
	EXPECT_EQ(30, misc_current(self->one));
	EXPECT_EQ(0, self->ctx[1]);
	ASSERT_EQ(0, io_setup2(10, IOPOLL, NULL, &self->ctx[1]));
	EXPECT_EQ(40, misc_current(self->one));
	EXPECT_EQ(0, io_destroy(self->ctx[0]));
	EXPECT_EQ(0, io_destroy(self->ctx[1]));
	EXPECT_EQ(0, misc_current(self->one));
	EXPECT_BALANCE(before);
}

/* A limit holds for the groups below, too. */
TEST_F(misc, limit_of_a_group_above)
{
	char below[96];

	ASSERT_EQ(0, aio_write_text(in_group(self->one, "cgroup.subtree_control"), "+misc"));
	snprintf(below, sizeof(below), "%s/below", self->one);
	ASSERT_EQ(0, mkdir(below, 0700));
	ASSERT_EQ(0, set_misc_limit(self->one, "10"));
	EXPECT_TRUE(enter(below));
	EXPECT_EQ(0, io_setup(10, &self->ctx[0]));
	EXPECT_EQ(10, misc_current(below));
	EXPECT_EQ(10, misc_current(self->one));
	EXPECT_EQ(-EAGAIN, io_setup(1, &self->ctx[1]));
	EXPECT_EQ(0, io_destroy(self->ctx[0]));
	EXPECT_EQ(0, misc_current(below));
	EXPECT_EQ(0, misc_current(self->one));
	EXPECT_TRUE(enter(self->mnt));
	EXPECT_TRUE(remove_group(below));
}

/* A context stays where it was charged. */
TEST_F(misc, process_moves)
{
	ASSERT_TRUE(enter(self->one));
	ASSERT_EQ(0, io_setup(10, &self->ctx[0]));
	ASSERT_TRUE(enter(self->other));
	ASSERT_EQ(0, io_setup(5, &self->ctx[1]));
	EXPECT_EQ(10, misc_current(self->one));
	EXPECT_EQ(5, misc_current(self->other));
	EXPECT_EQ(0, io_destroy(self->ctx[0]));
	EXPECT_EQ(0, misc_current(self->one));
	EXPECT_EQ(5, misc_current(self->other));
	EXPECT_EQ(0, io_destroy(self->ctx[1]));
	EXPECT_EQ(0, misc_current(self->other));
}

TEST_F(misc, removed_group)
{
	ASSERT_TRUE(enter(self->one));
	ASSERT_EQ(0, io_setup(10, &self->ctx[0]));
	ASSERT_TRUE(enter(self->mnt));
	ASSERT_TRUE(remove_group(self->one));
	/* Another one of that name has nothing to do with it. */
	ASSERT_EQ(0, mkdir(self->one, 0700));
	EXPECT_EQ(0, misc_current(self->one));
	EXPECT_EQ(0, io_destroy(self->ctx[0]));
	EXPECT_EQ(0, misc_current(self->one));
}

TEST_F(misc, killed_process)
{
	int ready[2], status, i;
	pid_t pid;
	char c;

	ASSERT_EQ(0, pipe(ready));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		if (!enter(self->one) || io_setup(10, &self->ctx[0]) ||
		    io_setup(20, &self->ctx[1]) || !enter(self->mnt) ||
		    write(ready[1], "x", 1) != 1)
			_exit(1);
		pause();
	}
	ASSERT_EQ(1, read(ready[0], &c, 1));
	EXPECT_EQ(30, misc_current(self->one));
	kill(pid, SIGKILL);
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(SIGKILL, status);
	/* The parent may be told before the address space is gone. */
	for (i = 0; i < 2000 && misc_current(self->one); i++)
		aio_sleep_ms(5);
	EXPECT_EQ(0, misc_current(self->one));
}

/* aio-max-nr alone, the group, RLIMIT_MEMLOCK, in this order; and all of it goes back. */
TEST_F(misc, order_of_limits)
{
	long long max = aio_read_number("/proc/sys/fs/aio-max-nr");
	struct rlimit none = { 0, 0 };
	pid_t pid;
	int status;

	ASSERT_EQ(0, set_misc_limit(self->one, "10"));
	ASSERT_TRUE(enter(self->one));
	/* The group is not asked. */
	EXPECT_EQ(-EAGAIN, io_setup(max + 1, &self->ctx[0]));
	EXPECT_EQ(0, misc_value(self->one, "misc.events"));
	/* It is before the memory is, which has not got any room either. */
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		if (setrlimit(RLIMIT_MEMLOCK, &none) || setgid(65534) || setuid(65534))
			_exit(1);
		_exit(io_setup(11, &self->ctx[0]) == -EAGAIN ? 0 : 2);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_EQ(1, misc_value(self->one, "misc.events"));
	/* What the group has granted goes back when something later fails. */
	EXPECT_EQ(-EFAULT, syscall(__NR_io_setup, 10, NULL) ? -errno : 0);
	EXPECT_EQ(0, misc_current(self->one));
	EXPECT_EQ(1, misc_value(self->one, "misc.events"));
}

/* Whether what is read from @fd, a record of the log or a trace, has both texts. */
static bool told(int fd, const char *a, const char *b)
{
	static char buf[1 << 16];
	ssize_t len;

	while ((len = read(fd, buf, sizeof(buf) - 1)) > 0 || (len < 0 && errno == EPIPE)) {
		buf[len < 0 ? 0 : len] = '\0';
		if (strstr(buf, a) && strstr(buf, b))
			return true;
	}
	return false;
}

#define TRACEFS	"/sys/kernel/tracing"

/* An instance of the trace buffer that has the refusals of this process; false without any. */
static bool trace_refusals(char *dir, size_t size)
{
	char pid[16];

	if (access(TRACEFS "/events", F_OK))
		mount("tracefs", TRACEFS, "tracefs", 0, NULL);
	snprintf(dir, size, TRACEFS "/instances/aio-misc-%d", getpid());
	snprintf(pid, sizeof(pid), "%d", getpid());
	if (access(TRACEFS "/events/aio/aio_refused", F_OK) || mkdir(dir, 0700))
		return false;
	return !aio_write_text(in_group(dir, "set_event_pid"), pid) &&
	       !aio_write_text(in_group(dir, "events/aio/aio_refused/enable"), "1");
}

/* The administrator can see whose limit it was, and by how much: in the group above, here. */
TEST_F(misc, who_is_refused_is_told)
{
	int log = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC), trace, i;
	char below[96], dir[96], name[64];
	bool found = false;

	if (log < 0)
		SKIP(return, "no /dev/kmsg");
	lseek(log, 0, SEEK_END);
	ASSERT_EQ(0, aio_write_text(in_group(self->one, "cgroup.subtree_control"), "+misc"));
	snprintf(below, sizeof(below), "%s/below", self->one);
	ASSERT_EQ(0, mkdir(below, 0700));
	ASSERT_EQ(0, set_misc_limit(self->one, "100"));
	ASSERT_EQ(0, set_misc_limit(below, "1000"));
	EXPECT_TRUE(enter(below));
	EXPECT_EQ(0, io_setup(60, &self->ctx[0]));
	snprintf(name, sizeof(name), "[%d]: io_setup() refused: misc.max", getpid());
	/* Others may have used up all lines that there are in five seconds. */
	for (i = 0; i < 80 && !found; i++) {
		EXPECT_EQ(-EAGAIN, io_setup(41, &self->ctx[1]));
		found = told(log, name, ": 41 events asked, 60 in use, 100 allowed\n");
		if (!found)
			aio_sleep_ms(250);
	}
	EXPECT_TRUE(found);

	if (trace_refusals(dir, sizeof(dir))) {
		EXPECT_EQ(-EAGAIN, io_setup(41, &self->ctx[1]));
		trace = open(in_group(dir, "trace"), O_RDONLY | O_CLOEXEC);
		EXPECT_TRUE(told(trace, "limit=misc.max ctx=0x0",
				 " asked=41 used=60 allowed=100\n"));
		close(trace);
	} else {
		TH_LOG("no " TRACEFS "/events/aio");
	}
	rmdir(dir);

	EXPECT_EQ(0, io_destroy(self->ctx[0]));
	EXPECT_TRUE(enter(self->mnt));
	EXPECT_TRUE(remove_group(below));
	close(log);
}

TEST_F(misc, many_rounds)
{
	int i, refused = 0;

	ASSERT_EQ(0, set_misc_limit(self->one, "64"));
	for (i = 0; i < (aio_long() ? 10000 : 1000); i++) {
		ASSERT_TRUE(i % 100 || enter(i % 200 ? self->one : self->other));
		self->ctx[0] = 0;
		self->ctx[1] = 0;
		ASSERT_EQ(0, io_setup(1 + i % 64, &self->ctx[0]));
		refused += io_setup(1 + i % 7, &self->ctx[1]) == -EAGAIN;
		ASSERT_EQ(0, io_destroy(self->ctx[0]));
		if (self->ctx[1])
			ASSERT_EQ(0, io_destroy(self->ctx[1]));
	}
	EXPECT_LT(0, refused);
	EXPECT_EQ(refused, misc_value(self->one, "misc.events"));
	EXPECT_EQ(0, misc_current(self->one));
	EXPECT_EQ(0, misc_current(self->other));
}

TEST_HARNESS_MAIN
