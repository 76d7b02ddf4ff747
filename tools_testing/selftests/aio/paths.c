// SPDX-License-Identifier: GPL-2.0
/*
 * IOCB_CMD_OPENAT, IOCB_CMD_UNLINKAT, IOCB_CMD_RENAMEAT and IOCB_CMD_READAHEAD.
 *
 * Held here: that a plain context has none of them; which errors are those of
 * io_submit(), and that all others are those of the system calls that they stand
 * for; that a path is copied when it is submitted, and resolved with the
 * credentials, the root, the working directory, the umask, the namespaces and the
 * descriptors of the process; limits; seccomp; Landlock; that audit records them as
 * it records the calls; and, of READAHEAD, that what the event tells of is in the
 * page cache then.
 *
 * Needs root, for fs.aio-auto-threads; some need configfs, null_blk and mkfs.ext4.
 */
#include <ftw.h>
#include <grp.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/netlink.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include "../kselftest_harness.h"
#include "aio_ext_test.h"

#define AUTO_THREADS	"/proc/sys/fs/aio-auto-threads"
#define NOBODY		65534
/* What run() adds to an error of io_submit(), so that it is not like that of an event. */
#define AT_SUBMIT	100000

#ifndef O_EMPTYPATH
#define O_EMPTYPATH	(1 << 26)
#endif
#ifndef RENAME_NOREPLACE
#define RENAME_NOREPLACE	(1 << 0)
#define RENAME_EXCHANGE		(1 << 1)
#endif

static const int path_opcodes[] = { IOCB_CMD_OPENAT, IOCB_CMD_UNLINKAT, IOCB_CMD_RENAMEAT };

/* ------------------------------------------------------ contexts and requests */

static bool has_threads(void)
{
	return !access(AUTO_THREADS, W_OK);
}

/* A context that was created while the parameter was @value. */
static long setup_with(const char *value, unsigned int nr, aio_context_t *ctx)
{
	long long before = aio_read_number(AUTO_THREADS);
	char text[32];
	long ret;

	if (aio_write_text(AUTO_THREADS, value))
		return -ENOENT;
	*ctx = 0;
	ret = io_setup(nr, ctx);
	snprintf(text, sizeof(text), "%lld", before);
	aio_write_text(AUTO_THREADS, text);
	return ret;
}

static aio_context_t threaded(unsigned int nr)
{
	aio_context_t ctx = 0;

	return setup_with("1", nr, &ctx) ? 0 : ctx;
}

/* Submits one, and returns what its event says, or why it was refused. */
static long run(aio_context_t ctx, struct iocb *iocb)
{
	struct io_event event = { 0 };
	long ret = aio_run(ctx, iocb, &event);

	if (ret != 1)
		return ret - AT_SUBMIT;
	if (event.obj != (uintptr_t)iocb || event.data != iocb->aio_data || event.res2)
		return -AT_SUBMIT;
	return event.res;
}

static void prep_open(struct iocb *iocb, int dir, const char *path, int flags, unsigned int mode)
{
	aio_prep(iocb, IOCB_CMD_OPENAT, dir, path, 0, (long long)mode << 32 | (__u32)flags);
}

static long aio_openat(aio_context_t ctx, int dir, const char *path, int flags, unsigned int mode)
{
	struct iocb iocb;

	prep_open(&iocb, dir, path, flags, mode);
	return run(ctx, &iocb);
}

static long aio_unlinkat(aio_context_t ctx, int dir, const char *path)
{
	struct iocb iocb;

	aio_prep(&iocb, IOCB_CMD_UNLINKAT, dir, path, 0, 0);
	return run(ctx, &iocb);
}

static void prep_rename(struct iocb *iocb, struct renameat_info *info, int old_dir,
			const char *old, int new_dir, const char *new, unsigned int flags)
{
	*info = (struct renameat_info) {
		.olddirfd = old_dir,
		.oldpath = (uintptr_t)old,
		.newdirfd = new_dir,
		.newpath = (uintptr_t)new,
		.flags = flags,
	};
	aio_prep(iocb, IOCB_CMD_RENAMEAT, -1, info, sizeof(*info), 0);
}

static long aio_renameat(aio_context_t ctx, int old_dir, const char *old, int new_dir,
			 const char *new, unsigned int flags)
{
	struct renameat_info info;
	struct iocb iocb;

	prep_rename(&iocb, &info, old_dir, old, new_dir, new, flags);
	return run(ctx, &iocb);
}

static long aio_readahead(aio_context_t ctx, int fd, long long pos, size_t len)
{
	struct iocb iocb;

	aio_prep(&iocb, IOCB_CMD_READAHEAD, fd, NULL, len, pos);
	return run(ctx, &iocb);
}

/* The calls themselves, which set no flag that the program did not ask for. */
static long sys_openat(int dir, const char *path, int flags, unsigned int mode)
{
	return aio_result(syscall(__NR_openat, dir, path, flags, mode));
}

static long sys_renameat2(int old_dir, const char *old, int new_dir, const char *new,
			  unsigned int flags)
{
	return aio_result(syscall(__NR_renameat2, old_dir, old, new_dir, new, flags));
}

/* ------------------------------------------------------ a directory */

FIXTURE(paths) {
	aio_context_t ctx;
	char dir[64];
	int dirfd;
};

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

FIXTURE_SETUP(paths)
{
	if (!has_threads())
		SKIP(return, "no " AUTO_THREADS ", or not root");
	umask(022);
	strcpy(self->dir, "/tmp/aio_paths_XXXXXX");
	ASSERT_NE(NULL, mkdtemp(self->dir));
	ASSERT_EQ(0, chmod(self->dir, 0755));
	ASSERT_EQ(0, chdir(self->dir));
	self->dirfd = open(self->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	ASSERT_GE(self->dirfd, 0);
	self->ctx = threaded(64);
	ASSERT_NE(0, self->ctx);
}

FIXTURE_TEARDOWN(paths)
{
	if (!self->dir[0])
		return;
	EXPECT_EQ(0, aio_drain(self->ctx));
	EXPECT_EQ(0, chdir("/"));
	nftw(self->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

static int make(const char *name, mode_t mode)
{
	int fd = open(name, O_CREAT | O_EXCL | O_WRONLY, 0600);

	if (fd < 0 || fchmod(fd, mode) || write(fd, name, strlen(name)) < 0)
		return -1;
	return close(fd);
}

static bool exists(const char *name)
{
	struct stat st;

	return !lstat(name, &st);
}

/* Those of the kernel included; -1 if it does not tell. */
static long nr_threads(void)
{
	struct stat st;

	return stat("/proc/self/task", &st) ? -1 : (long)st.st_nlink - 2;
}

/*
 * What a process does that changes itself for good: it has a context of its own,
 * and returns 0, or the line of what is wrong.
 */
#define CHECK(what) do {						\
	if (!(what))							\
		return __LINE__;					\
} while (0)

#define EXPECT_CHILD(fn, self) do {					\
	int __status = -1, __line;					\
	pid_t __pid = fork();						\
									\
	if (!__pid) {							\
		alarm(100 * aio_slow());				\
		__line = fn((self)->dir);				\
		if (__line)						\
			fprintf(stderr, "# line %d: errno %d\n", __line, errno); \
		_exit(!!__line);					\
	}								\
	EXPECT_EQ(__pid, waitpid(__pid, &__status, 0));			\
	EXPECT_EQ(0, __status);						\
} while (0)

/* ------------------------------------------------------ plain contexts */

/* On each kernel, whatever is in the iocb. */
TEST(plain_context)
{
	struct renameat_info info;
	aio_context_t ctx = 0;
	struct iocb iocb;

	ASSERT_EQ(0, has_threads() ? setup_with("0", 8, &ctx) : io_setup(8, &ctx));
	if (!has_threads() && aio_ring(ctx)->compat_features & AIO_RING_COMPAT_THREADED)
		SKIP(return, "all contexts are threaded, and not root");
	EXPECT_EQ(1, aio_ring(ctx)->compat_features);

	/* All have a descriptor that is open. */
	prep_open(&iocb, 0, "/", O_RDONLY, 0);
	EXPECT_REFUSED(ctx, &iocb, -EINVAL);
	aio_prep(&iocb, IOCB_CMD_UNLINKAT, 0, "/missing", 0, 0);
	EXPECT_REFUSED(ctx, &iocb, -EINVAL);
	aio_prep(&iocb, IOCB_CMD_READAHEAD, 0, NULL, 0, 0);
	EXPECT_REFUSED(ctx, &iocb, -EINVAL);
	prep_rename(&iocb, &info, AT_FDCWD, "/missing", AT_FDCWD, "/none", 0);
	iocb.aio_fildes = 0;
	EXPECT_REFUSED(ctx, &iocb, -EINVAL);
	/* The descriptor is looked at first, and this is none. */
	prep_open(&iocb, AT_FDCWD, "/", O_RDONLY, 0);
	EXPECT_REFUSED(ctx, &iocb, -EBADF);
	EXPECT_EQ(0, io_destroy(ctx));
}

TEST_F(paths, ring_of_a_threaded_context)
{
	EXPECT_EQ(1 | AIO_RING_COMPAT_THREADED, aio_ring(self->ctx)->compat_features);
}

/* Nothing changes for a context that was there before. */
TEST_F(paths, set_up_before)
{
	const char *before = aio_read_number(AUTO_THREADS) ? "1" : "0";
	aio_context_t ctx = 0;
	struct iocb iocb;

	ASSERT_EQ(0, setup_with("0", 8, &ctx));
	prep_open(&iocb, AT_FDCWD, self->dir, O_RDONLY, 0);
	iocb.aio_fildes = 0;
	ASSERT_EQ(0, aio_write_text(AUTO_THREADS, "1"));
	EXPECT_REFUSED(ctx, &iocb, -EINVAL);
	ASSERT_EQ(0, aio_write_text(AUTO_THREADS, "0"));
	/* And the other way round. */
	EXPECT_LE(0, aio_openat(self->ctx, AT_FDCWD, self->dir, O_RDONLY, 0));
	ASSERT_EQ(0, aio_write_text(AUTO_THREADS, before));
}

/* ------------------------------------------------------ errors of io_submit() */

TEST_F(paths, fields_must_be_zero)
{
	struct renameat_info info;
	struct iocb iocb, good;
	size_t i;

	ASSERT_EQ(0, make("file", 0644));
	for (i = 0; i < ARRAY_SIZE(path_opcodes); i++) {
		int opcode = path_opcodes[i];

		if (opcode == IOCB_CMD_RENAMEAT)
			prep_rename(&good, &info, AT_FDCWD, "file", AT_FDCWD, "other", 0);
		else
			aio_prep(&good, opcode, AT_FDCWD, "file", 0, 0);
		iocb = good;
		iocb.aio_nbytes++;
		EXPECT_REFUSED(self->ctx, &iocb, -EINVAL);
		iocb.aio_nbytes = ~0ULL;
		EXPECT_REFUSED(self->ctx, &iocb, -EINVAL);
		iocb = good;
		iocb.aio_rw_flags = RWF_NOWAIT;
		EXPECT_REFUSED(self->ctx, &iocb, -EINVAL);
		iocb = good;
		iocb.aio_reserved2 = 1;
		EXPECT_REFUSED(self->ctx, &iocb, -EINVAL);
		if (opcode == IOCB_CMD_OPENAT)
			continue;
		iocb = good;
		iocb.aio_offset = 1;
		EXPECT_REFUSED(self->ctx, &iocb, -EINVAL);
		/* AT_REMOVEDIR is not what it is for. */
		iocb.aio_offset = AT_REMOVEDIR;
		EXPECT_REFUSED(self->ctx, &iocb, -EINVAL);
		iocb.aio_offset = 1LL << 32;
		EXPECT_REFUSED(self->ctx, &iocb, -EINVAL);
		iocb.aio_offset = -1;
		EXPECT_REFUSED(self->ctx, &iocb, -EINVAL);
	}
	EXPECT_TRUE(exists("file"));
	EXPECT_FALSE(exists("other"));
	/* These mean nothing here. */
	aio_prep(&iocb, IOCB_CMD_UNLINKAT, AT_FDCWD, "file", 0, 0);
	iocb.aio_reqprio = -1;
	iocb.aio_flags = 1U << 31;
	iocb.aio_resfd = -1;
	iocb.aio_key = 99;
	EXPECT_RES(self->ctx, &iocb, 0);
	EXPECT_FALSE(exists("file"));
}

/* A path of @len bytes that leads to @name. */
static void long_path(char *path, size_t len, const char *name)
{
	size_t end = len - strlen(name), i;

	for (i = 0; i < end; i++)
		path[i] = i == 0 ? '.' : '/';
	strcpy(path + end, name);
}

TEST_F(paths, names)
{
	static char path[PATH_MAX + 2], component[300];
	size_t lens[] = { 6, 100, 127, 128, 129, 191, 192, 193, 200, 255, 256, 1000, 4094, 4095 };
	char *end, *unmapped = aio_unmapped();
	struct renameat_info info;
	struct iocb iocb;
	size_t i;

	for (i = 0; i < 2; i++) {
		int opcode = path_opcodes[i];

		aio_prep(&iocb, opcode, AT_FDCWD, NULL, 0, 0);
		EXPECT_REFUSED(self->ctx, &iocb, -EFAULT);
		aio_prep(&iocb, opcode, AT_FDCWD, unmapped, 0, 0);
		EXPECT_REFUSED(self->ctx, &iocb, -EFAULT);
		aio_prep(&iocb, opcode, AT_FDCWD, "", 0, 0);
		EXPECT_REFUSED(self->ctx, &iocb, -ENOENT);
		/* The directory is not looked at yet. */
		aio_prep(&iocb, opcode, 9999, "", 0, 0);
		EXPECT_REFUSED(self->ctx, &iocb, -ENOENT);
	}

	for (i = 0; i < ARRAY_SIZE(lens); i++) {
		/* Up to where nothing is mapped. */
		end = aio_guarded(lens[i] + 1);
		long_path(end, lens[i], "file");
		EXPECT_EQ(lens[i], strlen(end));
		EXPECT_LE(0, aio_openat(self->ctx, AT_FDCWD, end, O_CREAT | O_EXCL, 0644));
		EXPECT_TRUE(exists("file"));
		EXPECT_EQ(0, aio_renameat(self->ctx, AT_FDCWD, end, AT_FDCWD, "renamed", 0));
		EXPECT_EQ(0, aio_renameat(self->ctx, AT_FDCWD, "renamed", AT_FDCWD, end, 0));
		EXPECT_EQ(0, aio_unlinkat(self->ctx, AT_FDCWD, end));
		EXPECT_FALSE(exists("file"));
		/* Without an end; more than it can be is not looked at. */
		end[lens[i]] = 'x';
		aio_prep(&iocb, IOCB_CMD_OPENAT, AT_FDCWD, end, 0, 0);
		EXPECT_REFUSED(self->ctx, &iocb,
			       lens[i] == PATH_MAX - 1 ? -ENAMETOOLONG : -EFAULT);
	}

	ASSERT_EQ(0, make("file", 0644));
	for (i = PATH_MAX; i <= PATH_MAX + 1; i++) {
		long_path(path, i, "file");
		aio_prep(&iocb, IOCB_CMD_OPENAT, AT_FDCWD, path, 0, 0);
		EXPECT_REFUSED(self->ctx, &iocb, -ENAMETOOLONG);
		aio_prep(&iocb, IOCB_CMD_UNLINKAT, AT_FDCWD, path, 0, 0);
		EXPECT_REFUSED(self->ctx, &iocb, -ENAMETOOLONG);
		prep_rename(&iocb, &info, AT_FDCWD, path, AT_FDCWD, "other", 0);
		EXPECT_REFUSED(self->ctx, &iocb, -ENAMETOOLONG);
		prep_rename(&iocb, &info, AT_FDCWD, "file", AT_FDCWD, path, 0);
		EXPECT_REFUSED(self->ctx, &iocb, -ENAMETOOLONG);
	}
	EXPECT_TRUE(exists("file"));
	/* That one name is too long is found out by the file system. */
	memset(component, 'x', sizeof(component) - 1);
	EXPECT_EQ(-ENAMETOOLONG, aio_openat(self->ctx, AT_FDCWD, component, O_CREAT, 0644));
}

/* What is in memory afterwards does not matter. */
TEST_F(paths, names_are_copied)
{
	const int rounds = aio_long() ? 200 : 50;
	struct renameat_info info;
	struct io_event event;
	struct iocb iocb;
	char path[16];
	int i;

	for (i = 0; i < rounds; i++) {
		strcpy(path, "one");
		prep_open(&iocb, AT_FDCWD, path, O_CREAT | O_EXCL | O_WRONLY, 0644);
		ASSERT_EQ(1, aio_submit_one(self->ctx, &iocb));
		strcpy(path, "bad");
		iocb.aio_offset = 0;
		iocb.aio_buf = 0;
		ASSERT_EQ(1, io_getevents(self->ctx, 1, 1, &event, NULL));
		ASSERT_LE(0, (__s64)event.res);
		close(event.res);

		strcpy(path, "one");
		prep_rename(&iocb, &info, AT_FDCWD, path, AT_FDCWD, "two", 0);
		ASSERT_EQ(1, aio_submit_one(self->ctx, &iocb));
		strcpy(path, "bad");
		memset(&info, 0xff, sizeof(info));
		ASSERT_EQ(1, io_getevents(self->ctx, 1, 1, &event, NULL));
		ASSERT_EQ(0, event.res);

		strcpy(path, "two");
		aio_prep(&iocb, IOCB_CMD_UNLINKAT, AT_FDCWD, path, 0, 0);
		ASSERT_EQ(1, aio_submit_one(self->ctx, &iocb));
		strcpy(path, "bad");
		ASSERT_EQ(1, io_getevents(self->ctx, 1, 1, &event, NULL));
		ASSERT_EQ(0, event.res);
	}
}

TEST_F(paths, rename_info)
{
	struct renameat_info *info = aio_guarded(sizeof(*info));
	struct renameat_info good;
	struct iocb iocb;
	long ret;

	ASSERT_EQ(40, sizeof(*info));
	ASSERT_EQ(0, make("file", 0644));
	prep_rename(&iocb, info, AT_FDCWD, "file", AT_FDCWD, "other", 0);
	good = *info;

	iocb.aio_nbytes = 39;
	EXPECT_REFUSED(self->ctx, &iocb, -EINVAL);
	iocb.aio_nbytes = 41;
	EXPECT_REFUSED(self->ctx, &iocb, -EINVAL);
	iocb.aio_nbytes = 0;
	EXPECT_REFUSED(self->ctx, &iocb, -EINVAL);
	iocb.aio_nbytes = 40;
	iocb.aio_buf++;
	EXPECT_REFUSED(self->ctx, &iocb, -EFAULT);
	iocb.aio_buf = 0;
	EXPECT_REFUSED(self->ctx, &iocb, -EFAULT);
	iocb.aio_buf = (uintptr_t)info;

	info->olddirfd = 1LL << 31;
	EXPECT_REFUSED(self->ctx, &iocb, -EINVAL);
	info->olddirfd = (1LL << 32) | (__u32)AT_FDCWD;
	EXPECT_REFUSED(self->ctx, &iocb, -EINVAL);
	info->olddirfd = (__u32)AT_FDCWD;
	EXPECT_REFUSED(self->ctx, &iocb, -EINVAL);
	*info = good;
	info->newdirfd = -(1LL << 31) - 1;
	EXPECT_REFUSED(self->ctx, &iocb, -EINVAL);
	*info = good;
	info->flags = 1ULL << 32;
	EXPECT_REFUSED(self->ctx, &iocb, -EINVAL);
	info->flags = ~0ULL;
	EXPECT_REFUSED(self->ctx, &iocb, -EINVAL);
	*info = good;
	info->oldpath = 0;
	EXPECT_REFUSED(self->ctx, &iocb, -EFAULT);
	info->oldpath = (uintptr_t)"";
	EXPECT_REFUSED(self->ctx, &iocb, -ENOENT);
	*info = good;
	info->newpath = 0;
	EXPECT_REFUSED(self->ctx, &iocb, -EFAULT);
	info->newpath = (uintptr_t)"";
	EXPECT_REFUSED(self->ctx, &iocb, -ENOENT);
	*info = good;
	info->oldpath |= 1ULL << 63;
	/* It is no address of a program, or no address at all. */
	ret = aio_submit_one(self->ctx, &iocb);
	EXPECT_TRUE(ret == -EFAULT || (ret == -EINVAL && sizeof(long) == 4));

	EXPECT_TRUE(exists("file"));
	EXPECT_FALSE(exists("other"));
	*info = good;
	/* It has no meaning. */
	iocb.aio_fildes = 9999;
	EXPECT_RES(self->ctx, &iocb, 0);
	EXPECT_TRUE(exists("other"));
}

/* ------------------------------------------------------ what the calls do */

/* As openat() does, whatever is asked for: the same descriptor or error, file and flags. */
TEST_F(paths, opens_as_openat)
{
	static const int flags[] = {
		O_RDONLY, O_WRONLY, O_RDWR, O_ACCMODE,
		O_RDONLY | O_DIRECTORY, O_WRONLY | O_CREAT, O_RDWR | O_CREAT | O_EXCL,
		O_WRONLY | O_TRUNC, O_WRONLY | O_APPEND, O_RDONLY | O_NOFOLLOW, O_PATH,
		O_PATH | O_NOFOLLOW, O_PATH | O_RDWR | O_CREAT, O_CREAT | O_DIRECTORY,
		O_TMPFILE | O_RDWR, O_TMPFILE | O_RDONLY, O_TMPFILE & ~O_DIRECTORY,
		O_RDONLY | O_NONBLOCK, O_RDWR | O_SYNC, O_RDWR | O_DSYNC, O_RDONLY | O_NOATIME,
		O_RDONLY | O_CLOEXEC, O_RDONLY | O_NOCTTY, O_RDONLY | 1 << 30, O_RDONLY | 1 << 31,
		-1,
	};
	static const char *const path[] = {
		"file", "missing", "sub", "sub/file", "link", "dangling", "loop", "file/x",
		"missing/x", "/", ".", "..", "sub/", "file/", "/dev/null",
	};
	struct stat a, b;
	size_t i, k;

	ASSERT_EQ(0, make("file", 0644));
	ASSERT_EQ(0, mkdir("sub", 0755));
	ASSERT_EQ(0, make("sub/file", 0644));
	ASSERT_EQ(0, symlink("file", "link"));
	ASSERT_EQ(0, symlink("missing", "dangling"));
	ASSERT_EQ(0, symlink("loop", "loop"));
	for (i = 0; i < ARRAY_SIZE(flags); i++) {
		for (k = 0; k < ARRAY_SIZE(path); k++) {
			long want, got;
			int want_fl = 0, want_fd = 0;

			want = sys_openat(AT_FDCWD, path[k], flags[i], 0640);
			if (want >= 0) {
				want_fl = fcntl(want, F_GETFL);
				want_fd = fcntl(want, F_GETFD);
				ASSERT_EQ(0, fstat(want, &a));
				close(want);
			}
			if (exists("missing"))
				unlink("missing");
			got = aio_openat(self->ctx, AT_FDCWD, path[k], flags[i], 0640);
			EXPECT_EQ(want, got) {
				TH_LOG("%s, flags %#x", path[k], flags[i]);
			}
			if (got >= 0) {
				EXPECT_EQ(want_fl, fcntl(got, F_GETFL)) {
					TH_LOG("%s, flags %#x", path[k], flags[i]);
				}
				EXPECT_EQ(want_fd, fcntl(got, F_GETFD));
				EXPECT_EQ(0, fstat(got, &b));
				EXPECT_EQ(a.st_mode, b.st_mode);
				EXPECT_EQ(a.st_size, b.st_size);
				if (a.st_nlink && !(flags[i] & O_CREAT))
					EXPECT_EQ(a.st_ino, b.st_ino);
				close(got);
			}
			if (exists("missing"))
				unlink("missing");
		}
	}
}

TEST_F(paths, descriptors)
{
	long fd, next, many[32], k;
	struct iocb iocb[32], *list[32];
	struct io_event events[32];

	/* The lowest that is free. */
	next = dup(0);
	close(next);
	fd = aio_openat(self->ctx, AT_FDCWD, "file", O_CREAT | O_RDWR, 0644);
	EXPECT_EQ(next, fd);
	EXPECT_EQ(0, fcntl(fd, F_GETFD));
	EXPECT_EQ(4, write(fd, "data", 4));
	fd = aio_openat(self->ctx, AT_FDCWD, "file", O_RDONLY | O_CLOEXEC, 0);
	EXPECT_EQ(next + 1, fd);
	EXPECT_EQ(FD_CLOEXEC, fcntl(fd, F_GETFD));
	/* Each its own. */
	for (k = 0; k < 32; k++) {
		prep_open(&iocb[k], AT_FDCWD, "file", O_RDONLY, 0);
		list[k] = &iocb[k];
		many[k] = 0;
	}
	ASSERT_EQ(32, io_submit(self->ctx, 32, list));
	ASSERT_EQ(32, io_getevents(self->ctx, 32, 32, events, NULL));
	for (k = 0; k < 32; k++) {
		long at = (long)events[k].res - (next + 2);

		ASSERT_TRUE(at >= 0 && at < 32);
		EXPECT_EQ(0, many[at]++);
		EXPECT_LE(0, fcntl(events[k].res, F_GETFD));
	}
}

/* execve() closes those with O_CLOEXEC. */
TEST_F(paths, close_on_exec)
{
	char text[160];
	int with = aio_openat(self->ctx, AT_FDCWD, self->dir, O_RDONLY | O_CLOEXEC, 0);
	int without = aio_openat(self->ctx, AT_FDCWD, self->dir, O_RDONLY, 0);

	ASSERT_LE(0, with);
	ASSERT_LE(0, without);
	snprintf(text, sizeof(text), "test ! -e /proc/self/fd/%d && test -e /proc/self/fd/%d",
		 with, without);
	EXPECT_EQ(0, system(text));
}

TEST_F(paths, mode_and_umask)
{
	struct stat st;
	int i;

	for (i = 0; i < 2; i++) {
		umask(i ? 077 : 0);
		ASSERT_LE(0, aio_openat(self->ctx, AT_FDCWD, "file", O_CREAT | O_EXCL, 07777));
		ASSERT_EQ(0, stat("file", &st));
		EXPECT_EQ((i ? 07700 : 07777) | S_IFREG, st.st_mode);
		ASSERT_EQ(0, unlink("file"));
		/* It has 16 bits. */
		ASSERT_LE(0, aio_openat(self->ctx, AT_FDCWD, "file", O_CREAT, 0xabcd0000 | 0606));
		ASSERT_EQ(0, stat("file", &st));
		EXPECT_EQ((i ? 0600 : 0606) | S_IFREG, st.st_mode);
		ASSERT_EQ(0, unlink("file"));
	}
}

/* A 32-bit program has to say that it knows of large files, others have not. */
TEST_F(paths, large_files)
{
	int fd = open("file", O_CREAT | O_RDWR, 0644);
	long want, got;

	ASSERT_EQ(0, ftruncate(fd, 3LL << 30));
	want = sys_openat(AT_FDCWD, "file", O_RDONLY, 0);
	got = aio_openat(self->ctx, AT_FDCWD, "file", O_RDONLY, 0);
	if (sizeof(long) == 4) {
		EXPECT_EQ(-EOVERFLOW, want);
		EXPECT_EQ(-EOVERFLOW, got);
		EXPECT_LE(0, aio_openat(self->ctx, AT_FDCWD, "file", O_RDONLY | O_LARGEFILE, 0));
	} else {
		ASSERT_LE(0, want);
		ASSERT_LE(0, got);
		EXPECT_EQ(fcntl(want, F_GETFL), fcntl(got, F_GETFL));
	}
}

TEST_F(paths, empty_path)
{
	long fd = aio_openat(self->ctx, self->dirfd, "", O_EMPTYPATH | O_RDONLY, 0);
	struct stat a, b;

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, fstat(fd, &a));
	ASSERT_EQ(0, fstat(self->dirfd, &b));
	EXPECT_EQ(a.st_ino, b.st_ino);
	EXPECT_EQ(-EBADF, aio_openat(self->ctx, 9999, "", O_EMPTYPATH | O_RDONLY, 0));
}

TEST_F(paths, nofile)
{
	struct rlimit old, limit;
	int next = dup(0);

	close(next);
	ASSERT_EQ(0, getrlimit(RLIMIT_NOFILE, &old));
	limit = old;
	limit.rlim_cur = next;
	ASSERT_EQ(0, setrlimit(RLIMIT_NOFILE, &limit));
	EXPECT_EQ(-EMFILE, aio_openat(self->ctx, AT_FDCWD, "file", O_CREAT, 0644));
	/* It was not opened. */
	EXPECT_FALSE(exists("file"));
	limit.rlim_cur = next + 1;
	ASSERT_EQ(0, setrlimit(RLIMIT_NOFILE, &limit));
	EXPECT_EQ(next, aio_openat(self->ctx, AT_FDCWD, "file", O_CREAT, 0644));
	EXPECT_EQ(-EMFILE, aio_openat(self->ctx, AT_FDCWD, "file", O_RDONLY, 0));
	ASSERT_EQ(0, setrlimit(RLIMIT_NOFILE, &old));
	EXPECT_EQ(next + 1, aio_openat(self->ctx, AT_FDCWD, "file", O_RDONLY, 0));
}

TEST_F(paths, directories)
{
	int file;

	ASSERT_EQ(0, mkdir("sub", 0755));
	ASSERT_EQ(0, make("sub/inner", 0644));
	ASSERT_EQ(0, make("file", 0644));
	file = open("file", O_RDONLY);

	EXPECT_LE(0, aio_openat(self->ctx, self->dirfd, "sub/inner", O_RDONLY, 0));
	EXPECT_LE(0, aio_openat(self->ctx, AT_FDCWD, "sub/inner", O_RDONLY, 0));
	ASSERT_EQ(0, chdir("sub"));
	EXPECT_LE(0, aio_openat(self->ctx, AT_FDCWD, "inner", O_RDONLY, 0));
	EXPECT_EQ(-ENOENT, aio_openat(self->ctx, AT_FDCWD, "sub/inner", O_RDONLY, 0));
	EXPECT_LE(0, aio_openat(self->ctx, self->dirfd, "sub/inner", O_RDONLY, 0));
	/* What is not needed may be anything. */
	EXPECT_LE(0, aio_openat(self->ctx, 9999, self->dir, O_RDONLY, 0));
	EXPECT_EQ(-EBADF, aio_openat(self->ctx, 9999, "inner", O_RDONLY, 0));
	EXPECT_EQ(-EBADF, aio_openat(self->ctx, -1, "inner", O_RDONLY, 0));
	EXPECT_EQ(-ENOTDIR, aio_openat(self->ctx, file, "inner", O_RDONLY, 0));
	EXPECT_EQ(-EBADF, aio_unlinkat(self->ctx, 9999, "inner"));
	EXPECT_EQ(-ENOTDIR, aio_unlinkat(self->ctx, file, "inner"));

	EXPECT_EQ(0, aio_renameat(self->ctx, AT_FDCWD, "inner", self->dirfd, "outer", 0));
	EXPECT_EQ(0, aio_renameat(self->ctx, self->dirfd, "outer", self->dirfd, "again", 0));
	EXPECT_EQ(-EBADF, aio_renameat(self->ctx, 9999, "x", AT_FDCWD, "y", 0));
	EXPECT_EQ(-EBADF, aio_renameat(self->ctx, AT_FDCWD, "x", 9999, "y", 0));
	EXPECT_EQ(-ENOENT, aio_unlinkat(self->ctx, AT_FDCWD, "again"));
	EXPECT_EQ(0, aio_unlinkat(self->ctx, self->dirfd, "again"));
}

TEST_F(paths, unlinks)
{
	ASSERT_EQ(0, mkdir("sub", 0755));
	ASSERT_EQ(0, make("file", 0644));
	ASSERT_EQ(0, symlink("file", "link"));
	EXPECT_EQ(0, aio_unlinkat(self->ctx, AT_FDCWD, "link"));
	EXPECT_TRUE(exists("file"));
	EXPECT_EQ(-ENOTDIR, aio_unlinkat(self->ctx, AT_FDCWD, "file/"));
	EXPECT_EQ(0, aio_unlinkat(self->ctx, AT_FDCWD, "file"));
	EXPECT_FALSE(exists("file"));
	EXPECT_EQ(-ENOENT, aio_unlinkat(self->ctx, AT_FDCWD, "file"));
	EXPECT_EQ(-EISDIR, aio_unlinkat(self->ctx, AT_FDCWD, "sub"));
	EXPECT_EQ(-EISDIR, aio_unlinkat(self->ctx, AT_FDCWD, "."));
	EXPECT_EQ(-EISDIR, aio_unlinkat(self->ctx, AT_FDCWD, "/"));
	EXPECT_TRUE(exists("sub"));
}

TEST_F(paths, renames)
{
	char text[16] = "";

	ASSERT_EQ(0, make("a", 0644));
	ASSERT_EQ(0, make("b", 0644));
	EXPECT_EQ(-EEXIST,
		  aio_renameat(self->ctx, AT_FDCWD, "a", AT_FDCWD, "b", RENAME_NOREPLACE));
	EXPECT_TRUE(exists("a"));
	EXPECT_EQ(0, aio_renameat(self->ctx, AT_FDCWD, "a", AT_FDCWD, "c", RENAME_NOREPLACE));
	EXPECT_FALSE(exists("a"));
	EXPECT_EQ(0, aio_renameat(self->ctx, AT_FDCWD, "b", AT_FDCWD, "c", RENAME_EXCHANGE));
	ASSERT_EQ(1, aio_read_text("b", text, sizeof(text)));
	EXPECT_STREQ("a", text);
	EXPECT_EQ(0, aio_renameat(self->ctx, AT_FDCWD, "b", AT_FDCWD, "c", 0));
	ASSERT_EQ(1, aio_read_text("c", text, sizeof(text)));
	EXPECT_STREQ("a", text);
	EXPECT_FALSE(exists("b"));
	/* Flags are the call's to know. */
	EXPECT_EQ(sys_renameat2(AT_FDCWD, "c", AT_FDCWD, "d", 1U << 31),
		  aio_renameat(self->ctx, AT_FDCWD, "c", AT_FDCWD, "d", 1U << 31));
	EXPECT_EQ(-EINVAL, aio_renameat(self->ctx, AT_FDCWD, "c", AT_FDCWD, "d",
					RENAME_NOREPLACE | RENAME_EXCHANGE));
	EXPECT_EQ(-ENOENT, aio_renameat(self->ctx, AT_FDCWD, "x", AT_FDCWD, "c", 0));
	EXPECT_EQ(-EXDEV, aio_renameat(self->ctx, AT_FDCWD, "c", AT_FDCWD, "/dev/shm/c", 0));
	EXPECT_EQ(-EBUSY, aio_renameat(self->ctx, AT_FDCWD, "c", AT_FDCWD, ".", 0));
}

TEST_F(paths, resfd)
{
	int efd = eventfd(0, EFD_NONBLOCK);
	struct io_event event;
	struct iocb iocb;

	prep_open(&iocb, AT_FDCWD, self->dir, O_RDONLY, 0);
	iocb.aio_flags = IOCB_FLAG_RESFD;
	iocb.aio_resfd = efd;
	ASSERT_EQ(1, aio_submit_one(self->ctx, &iocb));
	ASSERT_EQ(1, io_getevents(self->ctx, 1, 1, &event, NULL));
	EXPECT_LE(0, (__s64)event.res);
	EXPECT_EQ(1, aio_eventfd_take(efd, 1));
	/* Refused: no signal. */
	iocb.aio_buf = 0;
	EXPECT_REFUSED(self->ctx, &iocb, -EFAULT);
	iocb.aio_buf = (uintptr_t)self->dir;
	iocb.aio_resfd = -1;
	EXPECT_REFUSED(self->ctx, &iocb, -EBADF);
	EXPECT_EQ(0, aio_eventfd_take(efd, 0));
}

/* ------------------------------------------------------ whose they are */

static int as_nobody(const char *dir)
{
	aio_context_t ctx = threaded(8);
	struct stat st;
	long fd;

	CHECK(ctx);
	CHECK(!make("secret", 0600));
	CHECK(!make("public", 0644));
	CHECK(!mkdir("own", 0777) && !chmod("own", 0777));
	CHECK(aio_openat(ctx, AT_FDCWD, "secret", O_RDONLY, 0) >= 0);
	CHECK(!setgroups(0, NULL));
	CHECK(!setresgid(NOBODY, NOBODY, NOBODY));
	CHECK(!setresuid(NOBODY, NOBODY, NOBODY));
	CHECK(aio_openat(ctx, AT_FDCWD, "secret", O_RDONLY, 0) == -EACCES);
	CHECK(aio_openat(ctx, AT_FDCWD, "public", O_RDONLY, 0) >= 0);
	CHECK(aio_openat(ctx, AT_FDCWD, "public", O_WRONLY, 0) == -EACCES);
	CHECK(aio_openat(ctx, AT_FDCWD, "new", O_CREAT | O_WRONLY, 0644) == -EACCES);
	CHECK(aio_unlinkat(ctx, AT_FDCWD, "public") == -EACCES);
	CHECK(aio_renameat(ctx, AT_FDCWD, "public", AT_FDCWD, "other", 0) == -EACCES);
	fd = aio_openat(ctx, AT_FDCWD, "own/file", O_CREAT | O_RDWR, 0600);
	CHECK(fd >= 0);
	CHECK(!fstat(fd, &st));
	CHECK(st.st_uid == NOBODY && st.st_gid == NOBODY);
	CHECK(aio_renameat(ctx, AT_FDCWD, "own/file", AT_FDCWD, "own/other", 0) == 0);
	CHECK(aio_unlinkat(ctx, AT_FDCWD, "own/other") == 0);
	/* A directory that is sticky: what others have in it stays. */
	CHECK(aio_unlinkat(ctx, AT_FDCWD, dir) == -EPERM);
	CHECK(aio_renameat(ctx, AT_FDCWD, dir, AT_FDCWD, "/tmp/aio_paths_stolen", 0) == -EPERM);
	return 0;
}

TEST_F(paths, nobody)
{
	EXPECT_CHILD(as_nobody, self);
}

/* Of this thread only. */
static long set_euid(uid_t uid)
{
#ifdef __NR_setresuid32
	return syscall(__NR_setresuid32, -1, uid, -1);
#else
	return syscall(__NR_setresuid, -1, uid, -1);
#endif
}

/*
 * They are those of the submission. When the operation is done the task has others
 * already, most of the times.
 */
TEST_F(paths, credentials_change)
{
	struct io_event event;
	struct iocb iocb;
	int i;

	ASSERT_EQ(0, make("secret", 0600));
	for (i = 0; i < (aio_long() ? 300 : 80); i++) {
		prep_open(&iocb, AT_FDCWD, "secret", O_RDONLY, 0);
		ASSERT_EQ(1, aio_submit_one(self->ctx, &iocb));
		ASSERT_EQ(0, set_euid(NOBODY));
		ASSERT_EQ(1, io_getevents(self->ctx, 1, 1, &event, NULL));
		EXPECT_LE(0, (__s64)event.res);
		close(event.res);

		ASSERT_EQ(1, aio_submit_one(self->ctx, &iocb));
		ASSERT_EQ(0, set_euid(0));
		ASSERT_EQ(1, io_getevents(self->ctx, 1, 1, &event, NULL));
		EXPECT_EQ(-EACCES, (__s64)event.res);
	}
}

static int in_a_chroot(const char *dir)
{
	aio_context_t ctx = threaded(8);
	char path[PATH_MAX];
	struct stat st;

	CHECK(ctx);
	CHECK(!mkdir("root", 0755));
	CHECK(!make("root/inside", 0644));
	/* There may be threads already. */
	CHECK(aio_openat(ctx, AT_FDCWD, "root/inside", O_RDONLY, 0) >= 0);
	CHECK(!chroot("root"));
	CHECK(!chdir("/"));
	CHECK(aio_openat(ctx, AT_FDCWD, "/inside", O_RDONLY, 0) >= 0);
	CHECK(aio_openat(ctx, AT_FDCWD, "/../../inside", O_RDONLY, 0) >= 0);
	CHECK(aio_openat(ctx, AT_FDCWD, dir, O_RDONLY, 0) == -ENOENT);
	snprintf(path, sizeof(path), "../../../..%s", dir);
	CHECK(aio_openat(ctx, AT_FDCWD, path, O_RDONLY, 0) == -ENOENT);
	CHECK(aio_openat(ctx, AT_FDCWD, "/created", O_CREAT | O_WRONLY, 0644) >= 0);
	CHECK(!stat("/created", &st));
	CHECK(aio_renameat(ctx, AT_FDCWD, "/created", AT_FDCWD, "/renamed", 0) == 0);
	CHECK(aio_unlinkat(ctx, AT_FDCWD, "/renamed") == 0);
	return 0;
}

TEST_F(paths, chroot)
{
	EXPECT_CHILD(in_a_chroot, self);
}

/* A thread that has left what the process shares has its own. */
static int out_of_the_shared(const char *dir)
{
	aio_context_t ctx = threaded(8);
	struct stat st;
	long fd;

	CHECK(ctx);
	CHECK(!mkdir("sub", 0755));
	CHECK(!make("sub/file", 0644));
	CHECK(aio_openat(ctx, AT_FDCWD, "sub/file", O_RDONLY, 0) >= 0);

	CHECK(!unshare(CLONE_FS));
	CHECK(!chdir("sub"));
	umask(077);
	CHECK(aio_openat(ctx, AT_FDCWD, "file", O_RDONLY, 0) >= 0);
	CHECK(aio_openat(ctx, AT_FDCWD, "new", O_CREAT | O_WRONLY, 0666) >= 0);
	CHECK(!stat("new", &st) && (st.st_mode & 0777) == 0600);

	CHECK(!unshare(CLONE_FILES));
	fd = aio_openat(ctx, AT_FDCWD, "new", O_RDWR, 0);
	CHECK(fd >= 0);
	CHECK(write(fd, "x", 1) == 1);
	return 0;
}

TEST_F(paths, unshared)
{
	EXPECT_CHILD(out_of_the_shared, self);
}

static void *unshared_thread(void *arg)
{
	aio_context_t ctx = *(aio_context_t *)arg;

	if (unshare(CLONE_FS) || chdir("sub"))
		return (void *)"unshare";
	if (aio_openat(ctx, AT_FDCWD, "mine", O_CREAT | O_WRONLY, 0644) < 0)
		return (void *)"open";
	if (aio_openat(ctx, AT_FDCWD, "sub/yours", O_RDONLY, 0) != -ENOENT)
		return (void *)"other";
	return NULL;
}

/* Two threads with working directories of their own. */
TEST_F(paths, unshared_thread)
{
	pthread_t thread;
	void *failed;

	ASSERT_EQ(0, mkdir("sub", 0755));
	EXPECT_LE(0, aio_openat(self->ctx, AT_FDCWD, "sub/yours", O_CREAT, 0644));
	ASSERT_EQ(0, pthread_create(&thread, NULL, unshared_thread, &self->ctx));
	ASSERT_EQ(0, pthread_join(thread, &failed));
	EXPECT_EQ(NULL, failed) {
		TH_LOG("%s", (char *)failed);
	}
	EXPECT_LE(0, aio_openat(self->ctx, AT_FDCWD, "sub/mine", O_RDONLY, 0));
	EXPECT_EQ(-ENOENT, aio_openat(self->ctx, AT_FDCWD, "mine", O_RDONLY, 0));
}

static int in_a_mount_namespace(const char *dir)
{
	aio_context_t ctx = threaded(8);
	struct stat st;

	CHECK(ctx);
	CHECK(!mkdir("sub", 0755));
	CHECK(aio_openat(ctx, AT_FDCWD, "sub", O_RDONLY, 0) >= 0);
	CHECK(!unshare(CLONE_NEWNS));
	CHECK(!mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL));
	CHECK(!mount("tmpfs", "sub", "tmpfs", 0, NULL));
	CHECK(!chdir(dir));
	CHECK(aio_openat(ctx, AT_FDCWD, "sub/private", O_CREAT | O_WRONLY, 0644) >= 0);
	CHECK(!stat("sub/private", &st));
	CHECK(aio_renameat(ctx, AT_FDCWD, "sub/private", AT_FDCWD, "there", 0) == -EXDEV);
	return 0;
}

TEST_F(paths, mount_namespace)
{
	EXPECT_CHILD(in_a_mount_namespace, self);
	/* It is not seen from here. */
	EXPECT_TRUE(exists("sub"));
	EXPECT_EQ(-ENOENT, aio_openat(self->ctx, AT_FDCWD, "sub/private", O_RDONLY, 0));
}

static int in_a_user_namespace(const char *dir)
{
	aio_context_t ctx;
	char map[64];
	struct stat st;
	long fd;

	CHECK(!mkdir("sub", 0755));
	CHECK(!make("secret", 0600));
	ctx = threaded(8);
	CHECK(ctx);
	CHECK(!setgroups(0, NULL));
	CHECK(!setresgid(NOBODY, NOBODY, NOBODY));
	CHECK(!setresuid(NOBODY, NOBODY, NOBODY));
	/* Otherwise /proc/self is root's. */
	CHECK(!prctl(PR_SET_DUMPABLE, 1, 0, 0, 0));
	/* This is for processes of one thread only: before the first operation. */
	CHECK(!unshare(CLONE_NEWUSER | CLONE_NEWNS));
	snprintf(map, sizeof(map), "0 %d 1", NOBODY);
	CHECK(!aio_write_text("/proc/self/setgroups", "deny"));
	CHECK(!aio_write_text("/proc/self/uid_map", map));
	CHECK(!aio_write_text("/proc/self/gid_map", map));
	CHECK(!mount("tmpfs", "/tmp", "tmpfs", 0, NULL));

	/* It is root there, and has what belongs to it. */
	fd = aio_openat(ctx, AT_FDCWD, "/tmp/file", O_CREAT | O_RDWR, 0);
	CHECK(fd >= 0);
	CHECK(!fstat(fd, &st) && st.st_uid == 0);
	CHECK(aio_openat(ctx, AT_FDCWD, "/tmp/file", O_RDWR, 0) >= 0);
	CHECK(aio_renameat(ctx, AT_FDCWD, "/tmp/file", AT_FDCWD, "/tmp/other", 0) == 0);
	CHECK(aio_unlinkat(ctx, AT_FDCWD, "/tmp/other") == 0);
	/* Here it is nobody: the working directory is the one of before. */
	CHECK(aio_openat(ctx, AT_FDCWD, "secret", O_RDONLY, 0) == -EACCES);
	CHECK(aio_unlinkat(ctx, AT_FDCWD, "secret") == -EACCES);
	return 0;
}

TEST_F(paths, user_namespace)
{
	EXPECT_CHILD(in_a_user_namespace, self);
	EXPECT_TRUE(exists("secret"));
}

/* All calls are allowed; but whoever is asked whether can't be asked about these. */
static int allow_all(void)
{
	struct sock_filter allow = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	struct sock_fprog filter = { .len = 1, .filter = &allow };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return -1;
	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter, 0, 0);
}

#define NEED_SECCOMP() do {						\
	if (prctl(PR_GET_SECCOMP, 0, 0, 0, 0) < 0)			\
		SKIP(return, "needs filters of system calls");		\
} while (0)

static int behind_filters(const char *dir)
{
	aio_context_t ctx = threaded(8);
	struct renameat_info info;
	struct iocb iocb;
	size_t i;
	char x;
	int fd;

	CHECK(ctx);
	CHECK(!make("file", 0644));
	CHECK(aio_openat(ctx, AT_FDCWD, "file", O_RDONLY, 0) >= 0);
	fd = open("file", O_RDONLY);
	CHECK(!allow_all());
	for (i = 0; i < ARRAY_SIZE(path_opcodes); i++) {
		if (path_opcodes[i] == IOCB_CMD_RENAMEAT)
			prep_rename(&iocb, &info, AT_FDCWD, "file", AT_FDCWD, "other", 0);
		else
			aio_prep(&iocb, path_opcodes[i], AT_FDCWD, "file", 0, 0);
		CHECK(aio_submit_one(ctx, &iocb) == -EINVAL);
		CHECK(aio_drain(ctx) == 0);
		/* Before the path is looked at. */
		iocb.aio_buf = 0;
		CHECK(aio_submit_one(ctx, &iocb) == -EINVAL);
	}
	CHECK(exists("file"));
	/* These are for a file that it has. */
	aio_prep(&iocb, IOCB_CMD_PREAD, fd, &x, 1, 0);
	CHECK(run(ctx, &iocb) == 1 && x == 'f');
	CHECK(aio_readahead(ctx, fd, 0, 100) == 4);
	return 0;
}

TEST_F(paths, seccomp)
{
	NEED_SECCOMP();
	EXPECT_CHILD(behind_filters, self);
}

static int behind_new_filters(const char *dir)
{
	aio_context_t ctx = threaded(8);

	CHECK(ctx);
	CHECK(!allow_all());
	CHECK(aio_openat(ctx, AT_FDCWD, dir, O_RDONLY, 0) == -EINVAL - AT_SUBMIT);
	return 0;
}

/* It does not matter that the context is older. */
TEST_F(paths, seccomp_before_the_first)
{
	NEED_SECCOMP();
	EXPECT_CHILD(behind_new_filters, self);
}

/* In strict mode there is no io_submit() at all. */
static int in_strict_mode(const char *dir)
{
	aio_context_t ctx = threaded(8);
	struct iocb iocb, *list = &iocb;

	CHECK(ctx);
	prep_open(&iocb, AT_FDCWD, "created", O_CREAT | O_WRONLY, 0644);
	CHECK(!prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT, 0, 0, 0));
	syscall(__NR_io_submit, ctx, 1, &list);
	syscall(__NR_exit, 0);
	return 0;
}

TEST_F(paths, seccomp_strict)
{
	int status = -1;
	pid_t pid;

	NEED_SECCOMP();
	pid = fork();
	if (!pid)
		_exit(in_strict_mode(self->dir));
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	EXPECT_FALSE(exists("created"));
}

/*
 * Landlock can restrict all threads of a process at once: each does so itself, one that
 * waits with the credentials of somebody else as well.
 */
#define LL_CREATE_RULESET	444
#define LL_RESTRICT_SELF	446
#define LL_RESTRICT_SELF_TSYNC	(1U << 3)

static int landlocked(const char *dir)
{
	const __u64 handled = 1;	/* LANDLOCK_ACCESS_FS_EXECUTE */
	aio_context_t ctx = threaded(8);
	struct io_event event;
	struct iocb iocb;
	int rules, fd, i;

	CHECK(ctx);
	CHECK(!mkfifo("fifo", 0644));
	CHECK(!make("file", 0644));
	CHECK(aio_openat(ctx, AT_FDCWD, dir, O_RDONLY, 0) >= 0);
	rules = syscall(LL_CREATE_RULESET, &handled, sizeof(handled), 0);
	CHECK(rules >= 0);
	CHECK(!prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	CHECK(!set_euid(NOBODY));
	prep_open(&iocb, AT_FDCWD, "fifo", O_RDONLY, 0);
	CHECK(aio_submit_one(ctx, &iocb) == 1);
	CHECK(!set_euid(0));
	/* It can't be done more than 16 times. */
	for (i = 0; i < 10; i++) {
		CHECK(!syscall(LL_RESTRICT_SELF, rules, LL_RESTRICT_SELF_TSYNC));
		CHECK(aio_openat(ctx, AT_FDCWD, "file", O_RDONLY, 0) >= 0);
	}
	CHECK(aio_drain(ctx) == 0);
	fd = open("fifo", O_WRONLY);
	CHECK(fd >= 0);
	CHECK(io_getevents(ctx, 1, 1, &event, NULL) == 1);
	CHECK((__s64)event.res >= 0);
	CHECK(aio_openat(ctx, AT_FDCWD, "file", O_RDONLY, 0) >= 0);
	return 0;
}

TEST_F(paths, landlock)
{
	const __u64 handled = 1;
	int rules = syscall(LL_CREATE_RULESET, &handled, sizeof(handled), 0);

	/* Bad file descriptor, or bad flag. */
	if (rules < 0 || (syscall(LL_RESTRICT_SELF, -1, LL_RESTRICT_SELF_TSYNC) < 0 &&
			  errno == EINVAL))
		SKIP(return, "no Landlock that restricts all threads");
	close(rules);
	EXPECT_CHILD(landlocked, self);
}

/* Rights to files, and a rule for all below a directory. */
#define LL_ADD_RULE		445
#define LL_PATH_BENEATH		1
#define LL_WRITE_FILE		(1U << 1)
#define LL_READ_FILE		(1U << 2)
#define LL_REMOVE_FILE		(1U << 5)
#define LL_MAKE_REG		(1U << 8)

/* What is behind the second one is not looked at. */
struct ll_beneath {
	__u64 allowed;
	__s32 dir;
};

/* The calling thread may do nothing with files but below "open"; others of its process may. */
static long ll_restrict(void)
{
	const __u64 handled = LL_WRITE_FILE | LL_READ_FILE | LL_REMOVE_FILE | LL_MAKE_REG;
	struct ll_beneath rule = { .allowed = handled };
	long rules = syscall(LL_CREATE_RULESET, &handled, sizeof(handled), 0), ret;

	if (rules < 0)
		return -errno;
	rule.dir = open("open", O_PATH | O_CLOEXEC);
	ret = syscall(LL_ADD_RULE, rules, LL_PATH_BENEATH, &rule, 0);
	if (!ret)
		ret = prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	if (!ret)
		ret = syscall(LL_RESTRICT_SELF, rules, 0);
	close(rule.dir);
	close(rules);
	return aio_result(ret);
}

static int denied(aio_context_t ctx, const char *dir)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/file", dir);
	CHECK(sys_openat(AT_FDCWD, "file", O_RDONLY, 0) == -EACCES);
	CHECK(aio_openat(ctx, AT_FDCWD, "file", O_RDONLY, 0) == -EACCES);
	CHECK(aio_openat(ctx, -1, path, O_RDONLY, 0) == -EACCES);
	CHECK(aio_openat(ctx, AT_FDCWD, "file", O_WRONLY, 0) == -EACCES);
	CHECK(aio_openat(ctx, AT_FDCWD, "file", O_RDWR | O_TRUNC, 0) == -EACCES);
	CHECK(aio_openat(ctx, AT_FDCWD, "new", O_CREAT | O_WRONLY, 0644) == -EACCES);
	CHECK(aio_unlinkat(ctx, AT_FDCWD, "file") == -EACCES);
	CHECK(aio_renameat(ctx, AT_FDCWD, "file", AT_FDCWD, "other", 0) == -EACCES);
	CHECK(exists("file") && !exists("new") && !exists("other"));
	/* It is for what the rule says. */
	CHECK(aio_openat(ctx, AT_FDCWD, "open/file", O_RDWR, 0) >= 0);
	CHECK(aio_openat(ctx, AT_FDCWD, "open/new", O_CREAT | O_EXCL | O_RDWR, 0644) >= 0);
	CHECK(aio_renameat(ctx, AT_FDCWD, "open/new", AT_FDCWD, "open/other", 0) == 0);
	CHECK(aio_unlinkat(ctx, AT_FDCWD, "open/other") == 0);
	return 0;
}

static int make_denied(aio_context_t ctx)
{
	CHECK(ctx);
	CHECK(!make("file", 0666));
	CHECK(!mkdir("open", 0777));
	CHECK(!make("open/file", 0666));
	return 0;
}

/* There is a thread already, which has entered no domain. */
static int landlocked_later(const char *dir)
{
	aio_context_t ctx = threaded(8);
	int line = make_denied(ctx), i;

	CHECK(!line);
	CHECK(aio_openat(ctx, AT_FDCWD, "file", O_RDONLY, 0) >= 0);
	/* One that was idle for five seconds has left. */
	for (i = 0; i < 5 && nr_threads() < 2; i++)
		CHECK(aio_openat(ctx, AT_FDCWD, "file", O_RDONLY, 0) >= 0);
	CHECK(nr_threads() > 1);
	CHECK(!ll_restrict());
	return denied(ctx, dir);
}

/* There is none yet. */
static int landlocked_before(const char *dir)
{
	aio_context_t ctx = threaded(8);
	int line = make_denied(ctx);

	CHECK(!line);
	CHECK(!ll_restrict());
	return denied(ctx, dir);
}

static aio_context_t landlocked_ctx;

static void *landlocked_thread(void *arg)
{
	return (void *)(long)(ll_restrict() ? __LINE__ : denied(landlocked_ctx, arg));
}

/* One thread of the program has, and the others have not: in the same context. */
static int landlocked_alone(const char *dir)
{
	aio_context_t ctx = threaded(8);
	int line = make_denied(ctx), i;
	pthread_t thread;
	void *failed;

	CHECK(!line);
	landlocked_ctx = ctx;
	for (i = 0; i < 3; i++) {
		CHECK(!pthread_create(&thread, NULL, landlocked_thread, (void *)dir));
		CHECK(!pthread_join(thread, &failed));
		if (failed)
			return (long)failed;
		/* Threads that were made for that one do this. */
		CHECK(aio_openat(ctx, AT_FDCWD, "file", O_RDWR, 0) >= 0);
		CHECK(aio_renameat(ctx, AT_FDCWD, "file", AT_FDCWD, "other", 0) == 0);
		CHECK(aio_unlinkat(ctx, AT_FDCWD, "other") == 0);
		CHECK(aio_openat(ctx, AT_FDCWD, "file", O_CREAT | O_EXCL, 0666) >= 0);
	}
	return 0;
}

#define NEED_LANDLOCK() do {						\
	/* Asks for the version. */					\
	if (syscall(LL_CREATE_RULESET, NULL, 0, 1) < 0)			\
		SKIP(return, "no Landlock");				\
} while (0)

TEST_F(paths, landlock_denies)
{
	NEED_LANDLOCK();
	EXPECT_CHILD(landlocked_later, self);
}

TEST_F(paths, landlock_denies_the_first)
{
	NEED_LANDLOCK();
	EXPECT_CHILD(landlocked_before, self);
}

TEST_F(paths, landlock_denies_one_thread)
{
	NEED_LANDLOCK();
	EXPECT_CHILD(landlocked_alone, self);
}

/* ------------------------------------------------------ audit */

/*
 * What is recorded of these operations is what is recorded of the calls that they stand for: by
 * rules that ask for a user, which is that of the submission, and by those that watch a
 * directory. It is read where others may listen, besides the daemon.
 */
#define AUDIT_KEY	"aio-paths"
/* The mode of an open() that tells where the others end: nothing is created. */
#define AUDIT_MARK	0x5e000000

static int audit_listener = -1;

struct audit_message {
	struct nlmsghdr head;
	char text[10000];
};

/* Sends a request, and returns its error; or fetches what it asks for. */
static int audit_request(int fd, int type, const void *data, size_t size, struct audit_status *got)
{
	static struct audit_message message;
	ssize_t len;

	message.head = (struct nlmsghdr) {
		.nlmsg_len = NLMSG_LENGTH(size),
		.nlmsg_type = type,
		.nlmsg_flags = NLM_F_REQUEST | (got ? 0 : NLM_F_ACK),
	};
	memcpy(message.text, data, size);
	if (send(fd, &message, NLMSG_ALIGN(message.head.nlmsg_len), 0) < 0)
		return -errno;
	while ((len = recv(fd, &message, sizeof(message), 0)) >= (ssize_t)sizeof(message.head)) {
		if (message.head.nlmsg_type == NLMSG_ERROR)
			return *(int *)message.text;
		if (got && message.head.nlmsg_type == type) {
			memcpy(got, message.text, sizeof(*got));
			return 0;
		}
	}
	return len < 0 ? -errno : -EIO;
}

static int audit_enable(int fd, int enabled)
{
	struct audit_status status = { .mask = AUDIT_STATUS_ENABLED, .enabled = enabled };

	return audit_request(fd, AUDIT_SET, &status, sizeof(status), NULL);
}

/* A rule for the calls, with what it asks for in texts behind it. */
struct audit_rule {
	struct audit_rule_data data;
	char texts[256];
};

static void audit_rule_add(struct audit_rule *rule, unsigned int field, unsigned int value,
			   const char *text)
{
	unsigned int at = rule->data.field_count++;

	rule->data.fields[at] = field;
	rule->data.fieldflags[at] = AUDIT_EQUAL;
	rule->data.values[at] = value;
	if (text) {
		rule->data.values[at] = strlen(text);
		memcpy(rule->data.buf + rule->data.buflen, text, strlen(text));
		rule->data.buflen += strlen(text);
	}
}

static void audit_rule_init(struct audit_rule *rule)
{
	static const unsigned int calls[] = { __NR_openat, __NR_unlinkat, __NR_renameat2 };
	size_t i;

	memset(rule, 0, sizeof(*rule));
	rule->data.flags = AUDIT_FILTER_EXIT;
	rule->data.action = AUDIT_ALWAYS;
	for (i = 0; i < ARRAY_SIZE(calls); i++)
		rule->data.mask[AUDIT_WORD(calls[i])] |= AUDIT_BIT(calls[i]);
}

/* Without a number that is another one each time, and the name of the thread. */
static void audit_append(char *to, size_t size, int type, const char *text)
{
	static const char *const leave_out[] = { " inode=", " comm=" };
	size_t len = strlen(to), i;

	len += snprintf(to + len, size - len, "%d", type);
	for (; *text && len + 2 < size; text++) {
		for (i = 0; i < ARRAY_SIZE(leave_out); i++) {
			size_t name = strlen(leave_out[i]);

			if (!strncmp(text, leave_out[i], name))
				text += name + strcspn(text + name, " ");
		}
		if (!*text)
			break;
		to[len++] = *text;
	}
	to[len++] = '\n';
	to[len] = '\0';
}

/* Reads records up to that with the mark; those of the rule before it go to @text. */
static int audit_read(unsigned int mark, char *text, size_t size)
{
	static struct audit_message message;
	static char event[1 << 14];
	unsigned long serial = 0;
	bool ours = false, last = false;
	char marked[32];

	snprintf(marked, sizeof(marked), " a3=%x ", mark);
	text[0] = '\0';
	for (;;) {
		ssize_t len = recv(audit_listener, &message, sizeof(message) - 1, 0);
		unsigned long number;
		const char *rest;

		if (len < (ssize_t)sizeof(message.head))
			return -1;
		((char *)&message)[len] = '\0';
		rest = strstr(message.text, "): ");
		if (!rest || sscanf(message.text, "audit(%*[0-9.]:%lu)", &number) != 1)
			continue;
		if (message.head.nlmsg_type == AUDIT_SYSCALL) {
			serial = number;
			event[0] = '\0';
			ours = strstr(rest, "key=\"" AUDIT_KEY "\"");
			last = ours && strstr(rest, marked);
		}
		/* Those of another event may come in between. */
		if (!ours || number != serial)
			continue;
		if (message.head.nlmsg_type != AUDIT_EOE) {
			audit_append(event, sizeof(event), message.head.nlmsg_type, rest + 2);
			continue;
		}
		if (last)
			return 0;
		if (strlen(text) + strlen(event) < size)
			strcat(text, event);
	}
}

/* Reads what is recorded until now. */
static int audit_flush(char *text, size_t size)
{
	static unsigned int mark = AUDIT_MARK;
	long fd = sys_openat(AT_FDCWD, "mark", O_WRONLY, ++mark);

	if (fd < 0)
		return -1;
	close(fd);
	return audit_read(mark, text, size);
}

struct audit_call {
	int opcode, dir;
	const char *path;
	int flags;
	unsigned int mode;
	const char *other;
	/* Whether who watches the directory is told. */
	bool changes;
};

/* Arguments in whole registers, so that there is nothing in them but that. */
static long do_call(const struct audit_call *c)
{
	long dir = (unsigned int)c->dir, flags = (unsigned int)c->flags;

	switch (c->opcode) {
	case IOCB_CMD_OPENAT:
		return aio_result(syscall(__NR_openat, dir, c->path, flags, (long)c->mode));
	case IOCB_CMD_UNLINKAT:
		return aio_result(syscall(__NR_unlinkat, dir, c->path, 0L, 0L));
	default:
		return aio_result(syscall(__NR_renameat2, dir, c->path, dir, c->other, flags));
	}
}

static long do_aio(aio_context_t ctx, const struct audit_call *c, uid_t euid)
{
	struct io_event event = { 0 };
	struct renameat_info info;
	struct iocb iocb;

	if (c->opcode == IOCB_CMD_OPENAT)
		prep_open(&iocb, c->dir, c->path, c->flags, c->mode);
	else if (c->opcode == IOCB_CMD_UNLINKAT)
		aio_prep(&iocb, IOCB_CMD_UNLINKAT, c->dir, c->path, 0, 0);
	else
		prep_rename(&iocb, &info, c->dir, c->path, c->dir, c->other, c->flags);
	if (aio_submit_one(ctx, &iocb) != 1)
		return -AT_SUBMIT;
	/* Who it is when it is done does not matter. */
	if (set_euid(0) || io_getevents(ctx, 1, 1, &event, NULL) != 1 || set_euid(euid))
		return -AT_SUBMIT;
	return event.res;
}

static int audited_calls(const char *dir, uid_t euid, bool all)
{
	static char real[1 << 15], aio[1 << 15];
	int dirfd = open(dir, O_RDONLY | O_DIRECTORY);
	aio_context_t ctx = threaded(8);
	char file[128];
	size_t i;
	const struct audit_call calls[] = {
		{ IOCB_CMD_OPENAT, AT_FDCWD, "new", O_CREAT | O_EXCL | O_WRONLY, 0640,
		  .changes = true },
		{ IOCB_CMD_OPENAT, dirfd, "file", O_RDWR | O_CLOEXEC, .changes = true },
		{ IOCB_CMD_OPENAT, AT_FDCWD, file, O_RDONLY },
		{ IOCB_CMD_OPENAT, dirfd, "missing/x", O_WRONLY },
		{ IOCB_CMD_UNLINKAT, AT_FDCWD, "file", .changes = true },
		{ IOCB_CMD_UNLINKAT, -1, file, .changes = true },
		{ IOCB_CMD_UNLINKAT, dirfd, "missing", .changes = true },
		{ IOCB_CMD_RENAMEAT, AT_FDCWD, "file", RENAME_NOREPLACE, .other = "other",
		  .changes = true },
		{ IOCB_CMD_RENAMEAT, dirfd, "file", .other = file, .changes = true },
		{ IOCB_CMD_RENAMEAT, AT_FDCWD, "missing", .other = "other", .changes = true },
	};

	CHECK(ctx && dirfd >= 0);
	CHECK(!chmod(dir, 0777));
	CHECK(!make("mark", 0666));
	snprintf(file, sizeof(file), "%s/file", dir);
	for (i = 0; i < 2 * ARRAY_SIZE(calls); i++) {
		const struct audit_call *c = &calls[i / 2];
		static long result;
		long ret;

		CHECK(!set_euid(0));
		unlink("new");
		unlink("other");
		if (!exists("file"))
			CHECK(!make("file", 0666));
		CHECK(!set_euid(euid));
		CHECK(!audit_flush(aio, sizeof(aio)));
		if (i % 2 == 0) {
			result = do_call(c);
			CHECK(!audit_flush(real, sizeof(real)));
			if (result >= 0 && c->opcode == IOCB_CMD_OPENAT)
				close(result);
			if (all || c->changes)
				CHECK(strstr(real, " success="));
			else
				CHECK(!real[0]);
			continue;
		}
		ret = do_aio(ctx, c, euid);
		CHECK(!audit_flush(aio, sizeof(aio)));
		if (ret >= 0 && c->opcode == IOCB_CMD_OPENAT)
			close(ret);
		CHECK(ret == result);
		if (strcmp(real, aio)) {
			fprintf(stderr, "# call %zu:\n%s# and the operation:\n%s",
				i / 2, real, aio);
			return __LINE__;
		}
	}
	return 0;
}

static int audited_by_user(const char *dir)
{
	return audited_calls(dir, NOBODY, true);
}

static int audited_by_directory(const char *dir)
{
	return audited_calls(dir, 0, false);
}

static int audit_socket(unsigned int groups)
{
	const struct sockaddr_nl addr = { .nl_family = AF_NETLINK, .nl_groups = groups };
	const struct timeval limit = { .tv_sec = 60 };
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_AUDIT), size = 8 << 20;

	if (fd < 0 || bind(fd, (void *)&addr, sizeof(addr)))
		return -1;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
	return fd;
}

/* Only processes that are created then are audited. Returns why there is no audit. */
static const char *audit_begin(int *fd, int *before, const struct audit_rule *rule)
{
	struct audit_status status;
	int err;

	*fd = audit_socket(0);
	audit_listener = audit_socket(1 << (AUDIT_NLGRP_READLOG - 1));
	if (*fd < 0 || audit_listener < 0 || audit_request(*fd, AUDIT_GET, "", 0, &status))
		return "no audit, or not for this process";
	*before = status.enabled;
	if (audit_enable(*fd, 1))
		return "audit can't be changed";
	err = audit_request(*fd, AUDIT_ADD_RULE, rule, sizeof(*rule), NULL);
	/* One that was killed has left it. */
	if (err && err != -EEXIST) {
		audit_enable(*fd, *before);
		return "no rules of audit";
	}
	return NULL;
}

static void audit_end(int fd, int before, const struct audit_rule *rule)
{
	audit_request(fd, AUDIT_DEL_RULE, rule, sizeof(*rule), NULL);
	audit_enable(fd, before);
}

TEST_F(paths, audit_of_a_user)
{
	struct audit_rule rule;
	const char *why;
	int fd, before;

	audit_rule_init(&rule);
	audit_rule_add(&rule, AUDIT_EUID, NOBODY, NULL);
	audit_rule_add(&rule, AUDIT_FILTERKEY, 0, AUDIT_KEY);
	why = audit_begin(&fd, &before, &rule);
	if (why)
		SKIP(return, "%s", why);
	EXPECT_CHILD(audited_by_user, self);
	audit_end(fd, before, &rule);
}

TEST_F(paths, audit_of_a_directory)
{
	struct audit_rule rule;
	const char *why;
	int fd, before;

	audit_rule_init(&rule);
	audit_rule_add(&rule, AUDIT_DIR, 0, self->dir);
	audit_rule_add(&rule, AUDIT_PERM, AUDIT_PERM_WRITE | AUDIT_PERM_ATTR, NULL);
	audit_rule_add(&rule, AUDIT_FILTERKEY, 0, AUDIT_KEY);
	why = audit_begin(&fd, &before, &rule);
	if (why)
		SKIP(return, "%s", why);
	EXPECT_CHILD(audited_by_directory, self);
	audit_end(fd, before, &rule);
}

/* ------------------------------------------------------ opening what has to be waited for */

/* Whether an open of a FIFO waits, as for a thread that does nothing else. */
TEST_F(paths, fifo)
{
	struct io_event event;
	struct iocb iocb;
	int fd;
	char x;

	ASSERT_EQ(0, mkfifo("fifo", 0644));
	prep_open(&iocb, AT_FDCWD, "fifo", O_RDONLY, 0);
	/* It returns. */
	ASSERT_EQ(1, aio_submit_one(self->ctx, &iocb));
	EXPECT_EQ(0, aio_drain(self->ctx));
	fd = open("fifo", O_WRONLY);
	ASSERT_LE(0, fd);
	ASSERT_EQ(1, io_getevents(self->ctx, 1, 1, &event, NULL));
	ASSERT_LE(0, (__s64)event.res);
	EXPECT_EQ(1, write(fd, "x", 1));
	EXPECT_EQ(1, read(event.res, &x, 1));
}

TEST_F(paths, fifo_cancelled)
{
	struct io_event event;
	struct iocb iocb;

	ASSERT_EQ(0, mkfifo("fifo", 0644));
	prep_open(&iocb, AT_FDCWD, "fifo", O_RDONLY, 0);
	ASSERT_EQ(1, aio_submit_one(self->ctx, &iocb));
	EXPECT_EQ(-EINPROGRESS, io_cancel(self->ctx, &iocb, &event));
	ASSERT_EQ(1, io_getevents(self->ctx, 1, 1, &event, NULL));
	EXPECT_EVENT(&event, &iocb, -EINTR);
	EXPECT_EQ(-EINVAL, io_cancel(self->ctx, &iocb, &event));
	/* Nobody has it open. */
	EXPECT_EQ(-ENXIO, sys_openat(AT_FDCWD, "fifo", O_WRONLY | O_NONBLOCK, 0));
}

TEST_F(paths, fifo_destroyed)
{
	struct iocb iocb[32], *list[32];
	int i;

	ASSERT_EQ(0, mkfifo("fifo", 0644));
	for (i = 0; i < 32; i++) {
		prep_open(&iocb[i], AT_FDCWD, "fifo", O_RDONLY, 0);
		list[i] = &iocb[i];
	}
	ASSERT_EQ(32, io_submit(self->ctx, 32, list));
	EXPECT_EQ(0, io_destroy(self->ctx));
	EXPECT_EQ(-ENXIO, sys_openat(AT_FDCWD, "fifo", O_WRONLY | O_NONBLOCK, 0));
	self->ctx = threaded(8);
	ASSERT_NE(0, self->ctx);
}

/* A stop is nothing that ends it. */
TEST_F(paths, fifo_stopped)
{
	int ready[2], status = -1, fd;
	pid_t pid;
	char x;

	ASSERT_EQ(0, mkfifo("fifo", 0644));
	ASSERT_EQ(0, pipe(ready));
	pid = fork();
	if (!pid) {
		aio_context_t ctx = threaded(8);
		struct io_event event;
		struct iocb iocb;

		alarm(100 * aio_slow());
		prep_open(&iocb, AT_FDCWD, "fifo", O_RDONLY, 0);
		if (!ctx || aio_submit_one(ctx, &iocb) != 1)
			_exit(1);
		if (write(ready[1], "x", 1) != 1)
			_exit(2);
		while (io_getevents(ctx, 1, 1, &event, NULL) != 1)
			;
		_exit((__s64)event.res < 0 ? 3 : 0);
	}
	ASSERT_EQ(1, read(ready[0], &x, 1));
	ASSERT_EQ(0, kill(pid, SIGSTOP));
	ASSERT_EQ(pid, waitpid(pid, &status, WUNTRACED));
	ASSERT_TRUE(WIFSTOPPED(status));
	ASSERT_EQ(0, kill(pid, SIGCONT));
	fd = open("fifo", O_WRONLY);
	ASSERT_LE(0, fd);
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
}

/* ------------------------------------------------------ reading ahead */

/* How many bytes of a file are in the page cache, without a gap, and no more than @len. */
static long resident(int fd, long long pos, size_t len)
{
	size_t page = getpagesize(), skip = pos % page, pages = (skip + len + page - 1) / page, i;
	unsigned char *vec = calloc(pages, 1);
	void *map = mmap(NULL, pages * page, PROT_READ, MAP_SHARED, fd, pos - skip);
	long sum;

	if (!vec || map == MAP_FAILED || mincore(map, pages * page, vec))
		return -1;
	for (i = 0; i < pages && (vec[i] & 1); i++)
		;
	munmap(map, pages * page);
	free(vec);
	sum = (long)(i * page) - (long)skip;
	return i == 0 ? 0 : sum < (long)len ? sum : (long)len;
}

static int forget(int fd)
{
	if (fsync(fd))
		return -1;
	return posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
}

FIXTURE(readahead) {
	aio_context_t ctx;
	struct aio_slow_disk disk;
	char mounted[64];
	long long size;
	int fd;
};

FIXTURE_VARIANT(readahead) {
	const char *fs;
};

FIXTURE_VARIANT_ADD(readahead, device) { .fs = NULL };
FIXTURE_VARIANT_ADD(readahead, ext4) { .fs = "ext4" };
FIXTURE_VARIANT_ADD(readahead, overlay) { .fs = "overlay" };

#define FILE_SIZE	(9 * 1024 * 1024 + 1234)

FIXTURE_SETUP(readahead)
{
	char cmd[512], path[128];
	char *buf;

	if (!has_threads())
		SKIP(return, "no " AUTO_THREADS ", or not root");
	if (!aio_slow_disk_make(&self->disk, 1))
		SKIP(return, "no null_blk");
	self->ctx = threaded(8);
	ASSERT_NE(0, self->ctx);
	if (!variant->fs) {
		self->fd = open(self->disk.dev, O_RDWR);
		ASSERT_LE(0, self->fd);
		self->size = lseek(self->fd, 0, SEEK_END);
		/* What nobody has written is not there to be read slowly. */
		buf = malloc(FILE_SIZE);
		memset(buf, 1, FILE_SIZE);
		ASSERT_EQ(FILE_SIZE, pwrite(self->fd, buf, FILE_SIZE, 0));
		free(buf);
		ASSERT_EQ(0, forget(self->fd));
		return;
	}

	strcpy(self->mounted, "/tmp/aio_readahead_XXXXXX");
	ASSERT_NE(NULL, mkdtemp(self->mounted));
	snprintf(cmd, sizeof(cmd),
		 "mkfs.ext4 -q -F -O ^has_journal -E lazy_itable_init=0,nodiscard %s >/dev/null 2>&1",
		 self->disk.dev);
	if (system(cmd) || mount(self->disk.dev, self->mounted, "ext4", 0, NULL)) {
		rmdir(self->mounted);
		self->mounted[0] = '\0';
		aio_slow_disk_remove(&self->disk);
		SKIP(return, "no mkfs.ext4 or no ext4");
	}
	snprintf(path, sizeof(path), "%s/file", self->mounted);
	self->fd = open(path, O_CREAT | O_RDWR, 0644);
	ASSERT_LE(0, self->fd) {
		TH_LOG("%s: %s", path, strerror(errno));
	}
	buf = malloc(FILE_SIZE);
	memset(buf, 1, FILE_SIZE);
	ASSERT_EQ(FILE_SIZE, write(self->fd, buf, FILE_SIZE));
	free(buf);
	self->size = FILE_SIZE;
	ASSERT_EQ(0, forget(self->fd));
	if (!strcmp(variant->fs, "overlay")) {
		char options[256];

		close(self->fd);
		self->fd = -1;
		snprintf(options, sizeof(options), "lowerdir=%s:/dev/shm", self->mounted);
		if (mount("none", self->mounted, "overlay", 0, options)) {
			umount(self->mounted);
			rmdir(self->mounted);
			self->mounted[0] = '\0';
			aio_slow_disk_remove(&self->disk);
			SKIP(return, "no overlayfs");
		}
		self->fd = open(path, O_RDONLY);
		ASSERT_LE(0, self->fd);
	}
}

FIXTURE_TEARDOWN(readahead)
{
	int tries = 0;

	if (!self->ctx)
		return;
	EXPECT_EQ(0, io_destroy(self->ctx));
	close(self->fd);
	if (self->mounted[0]) {
		while (!umount(self->mounted) || (errno == EBUSY && tries++ < 5000))
			aio_sleep_ms(1);
		rmdir(self->mounted);
	}
	aio_slow_disk_remove(&self->disk);
}

/* What the event tells of is there then, up to the end of the file. */
TEST_F(readahead, is_there_then)
{
	const long long tail = 1 << 20;
	const struct {
		long long pos;
		size_t len;
	} range[] = {
		{ 0, 1 }, { 0, 4096 }, { 100, 4096 }, { 4095, 2 }, { 65536, 300000 },
		{ 1 << 20, 5 << 20 }, { 12345, 6 << 20 }, { 0, 9 << 20 },
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(range); i++) {
		ASSERT_EQ(0, forget(self->fd));
		EXPECT_EQ(range[i].len,
			  aio_readahead(self->ctx, self->fd, range[i].pos, range[i].len));
		EXPECT_EQ(range[i].len, resident(self->fd, range[i].pos, range[i].len)) {
			TH_LOG("range %zu", i);
		}
	}
	/* Up to the end, and beyond. */
	ASSERT_EQ(0, forget(self->fd));
	EXPECT_EQ(tail, aio_readahead(self->ctx, self->fd, self->size - tail, tail));
	EXPECT_EQ(tail, resident(self->fd, self->size - tail, tail));
	ASSERT_EQ(0, forget(self->fd));
	EXPECT_EQ(tail, aio_readahead(self->ctx, self->fd, self->size - tail, 100 * tail));
	EXPECT_EQ(tail, resident(self->fd, self->size - tail, tail));
	EXPECT_EQ(1, aio_readahead(self->ctx, self->fd, self->size - 1, LONG_MAX - self->size));
	EXPECT_EQ(0, aio_readahead(self->ctx, self->fd, self->size, 1));
	EXPECT_EQ(0, aio_readahead(self->ctx, self->fd, self->size + 12345, 1));
	EXPECT_EQ(0, aio_readahead(self->ctx, self->fd, 1LL << 60, 1));
	EXPECT_EQ(0, aio_readahead(self->ctx, self->fd, 0, 0));
}

/* What is there already is told at once. */
TEST_F(readahead, cached)
{
	const size_t len = 3 << 20;
	struct io_event event;
	struct iocb iocb;
	int i;

	ASSERT_EQ(len, aio_readahead(self->ctx, self->fd, 0, len));
	for (i = 0; i < 20; i++) {
		aio_prep(&iocb, IOCB_CMD_READAHEAD, self->fd, NULL, len - i, i);
		ASSERT_EQ(1, aio_submit_one(self->ctx, &iocb));
		ASSERT_EQ(1, aio_reap(self->ctx, &event, 1));
		EXPECT_EVENT(&event, &iocb, len - i);
	}
	/* Likewise that there is nothing to read. */
	aio_prep(&iocb, IOCB_CMD_READAHEAD, self->fd, NULL, len, self->size);
	ASSERT_EQ(1, aio_submit_one(self->ctx, &iocb));
	ASSERT_EQ(1, aio_reap(self->ctx, &event, 1));
	EXPECT_EVENT(&event, &iocb, 0);
}

TEST_F(readahead, parts_are_there)
{
	const size_t len = 2 << 20;
	char buf[4096];
	int i;

	ASSERT_EQ(0, posix_fadvise(self->fd, 0, 0, POSIX_FADV_RANDOM));
	for (i = 0; i < 16; i++)
		ASSERT_EQ(sizeof(buf), pread(self->fd, buf, sizeof(buf), i * 100000));
	EXPECT_EQ(len, aio_readahead(self->ctx, self->fd, 0, len));
	EXPECT_EQ(len, resident(self->fd, 0, len));
}

/* Many at once, of parts that overlap. */
TEST_F(readahead, many)
{
	struct iocb iocb[8], *list[8];
	struct io_event events[8];
	int i;

	for (i = 0; i < 8; i++) {
		aio_prep(&iocb[i], IOCB_CMD_READAHEAD, self->fd, NULL, 1 << 20, i << 19);
		list[i] = &iocb[i];
	}
	ASSERT_EQ(8, io_submit(self->ctx, 8, list));
	ASSERT_EQ(8, io_getevents(self->ctx, 8, 8, events, NULL));
	for (i = 0; i < 8; i++)
		EXPECT_EQ(1 << 20, events[i].res);
	EXPECT_EQ(9 << 19, resident(self->fd, 0, 9 << 19));
}

TEST_F(readahead, refused)
{
	struct iocb iocb, good;
	int p[2], fd;

	aio_prep(&good, IOCB_CMD_READAHEAD, self->fd, NULL, 4096, 0);
	EXPECT_RES(self->ctx, &good, 4096);
	iocb = good;
	iocb.aio_buf = 1;
	EXPECT_REFUSED(self->ctx, &iocb, -EINVAL);
	iocb = good;
	iocb.aio_rw_flags = RWF_NOWAIT;
	EXPECT_REFUSED(self->ctx, &iocb, -EINVAL);
	iocb = good;
	iocb.aio_offset = -1;
	EXPECT_REFUSED(self->ctx, &iocb, -EINVAL);
	iocb.aio_offset = LLONG_MAX;
	EXPECT_REFUSED(self->ctx, &iocb, -EINVAL);
	iocb.aio_offset = LLONG_MAX - 4095;
	EXPECT_REFUSED(self->ctx, &iocb, -EINVAL);
	iocb.aio_offset = LLONG_MAX - 4096;
	EXPECT_RES(self->ctx, &iocb, 0);
	iocb = good;
	iocb.aio_nbytes = ~0ULL;
	EXPECT_REFUSED(self->ctx, &iocb, -EINVAL);

	/* The file, as readahead() does. */
	iocb = good;
	iocb.aio_fildes = 9999;
	EXPECT_REFUSED(self->ctx, &iocb, -EBADF);
	iocb.aio_fildes = aio_reopen(self->fd, O_PATH);
	EXPECT_REFUSED(self->ctx, &iocb, -EBADF);
	/* It would keep the file system from being unmounted. */
	close(iocb.aio_fildes);
	fd = open("/tmp", O_TMPFILE | O_WRONLY, 0600);
	ASSERT_LE(0, fd);
	iocb.aio_fildes = fd;
	EXPECT_REFUSED(self->ctx, &iocb, -EBADF);
	ASSERT_EQ(0, pipe(p));
	iocb.aio_fildes = p[0];
	EXPECT_REFUSED(self->ctx, &iocb, -EINVAL);
	iocb.aio_fildes = open("/tmp", O_RDONLY | O_DIRECTORY);
	EXPECT_REFUSED(self->ctx, &iocb, -EINVAL);
	iocb.aio_fildes = open("/dev/null", O_RDONLY);
	EXPECT_REFUSED(self->ctx, &iocb, -EINVAL);
	iocb.aio_fildes = eventfd(0, 0);
	EXPECT_REFUSED(self->ctx, &iocb, -EINVAL);
}

TEST_F(readahead, cancelled)
{
	struct io_event event;
	struct iocb iocb;
	long ret;
	int i;

	for (i = 0; i < (aio_long() ? 20 : 5); i++) {
		ASSERT_EQ(0, forget(self->fd));
		aio_prep(&iocb, IOCB_CMD_READAHEAD, self->fd, NULL, 9 << 20, 0);
		ASSERT_EQ(1, aio_submit_one(self->ctx, &iocb));
		ret = io_cancel(self->ctx, &iocb, &event);
		EXPECT_TRUE(ret == -EINPROGRESS || ret == -EINVAL);
		ASSERT_EQ(1, io_getevents(self->ctx, 1, 1, &event, NULL));
		if ((__s64)event.res != -EINTR) {
			EXPECT_LT(0, (__s64)event.res);
			EXPECT_GE(9 << 20, (__s64)event.res);
		}
		EXPECT_EQ(0, aio_drain(self->ctx));
	}
}

/* The file that this program was started from, wherever it is. */
TEST(readahead_of_this_program)
{
	int fd = open("/proc/self/exe", O_RDONLY);
	aio_context_t ctx;
	struct stat st;

	if (!has_threads())
		SKIP(return, "no " AUTO_THREADS ", or not root");
	ctx = threaded(8);
	ASSERT_NE(0, ctx);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, fstat(fd, &st));
	EXPECT_EQ(st.st_size, aio_readahead(ctx, fd, 0, LONG_MAX));
	EXPECT_EQ(st.st_size, resident(fd, 0, st.st_size));
}

TEST_HARNESS_MAIN
