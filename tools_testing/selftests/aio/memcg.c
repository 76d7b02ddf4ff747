// SPDX-License-Identifier: GPL-2.0
/*
 * Whose memory a context is.
 *
 * Held here: the pages of a ring are charged to the memory control group of the
 * process that makes it, as file memory, and given back when it ends, however it
 * ends; and a group that has no room for a ring does not get one.
 *
 * Needs root and a memory controller in the unified hierarchy.
 */
#include <sys/resource.h>
#include <sys/wait.h>
#include "../kselftest_harness.h"
#include "aio_test.h"

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
	for (i = 0; i < 1000; i++) {
		long long now = group_stat(dir, name);

		if (low <= now && now <= high)
			return true;
		aio_sleep_ms(10);
	}
	return false;
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
	for (i = 0; i < 500 && rmdir(self->dir) && errno == EBUSY; i++)
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
	for (i = 0; i < 500 && aio_nr() != nr; i++)
		aio_sleep_ms(10);
	EXPECT_EQ(nr, aio_nr());
	EXPECT_TRUE(group_stat_becomes(self->dir, "file", 0, self->bytes / 4));
	/* One that fits. */
	EXPECT_EQ(0, aio_write_text(in_group(self->dir, "memory.max"), "max"));
	ASSERT_TRUE(enter(self->dir));
	ASSERT_EQ(0, io_setup(NR, &self->ctx));
	EXPECT_EQ(0, io_destroy(self->ctx));
}

TEST_HARNESS_MAIN
