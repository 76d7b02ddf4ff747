/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the tests of threaded contexts share: how such a context is made, the threads
 * that the kernel makes for a process, files that have nothing to read until they
 * are told to, and ways to wait that have an end.
 *
 * With AIO_THREADS_PLAIN in the environment the tests get plain contexts: that is how
 * to see them fail.
 */
#ifndef AIO_THREAD_TEST_H
#define AIO_THREAD_TEST_H

#include <dirent.h>
#include <poll.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <termios.h>
#include "aio_ext_test.h"

#ifndef AIO_RING_COMPAT_THREADED
#define AIO_RING_COMPAT_THREADED	0x2
#endif

#define AUTO_THREADS	"/proc/sys/fs/aio-auto-threads"
#define NOBODY		65534

static inline bool threads_plain(void)
{
	return getenv("AIO_THREADS_PLAIN");
}

static inline bool threads_can_switch(void)
{
	return !access(AUTO_THREADS, W_OK) || aio_read_number(AUTO_THREADS) == 1;
}

/* For FIXTURE_SETUP and TEST. */
#define NEED_THREADS() do {						\
	if (!threads_plain() && access(AUTO_THREADS, F_OK))		\
		SKIP(return, "no " AUTO_THREADS);			\
	if (!threads_plain() && !threads_can_switch())			\
		SKIP(return, "needs the right to write " AUTO_THREADS);	\
} while (0)

/* A context made while the switch is @on; the switch is put back. */
static inline long setup_switched(bool on, unsigned int nr, aio_context_t *ctx)
{
	long long old = aio_read_number(AUTO_THREADS);
	long ret;

	if (old != on && old >= 0)
		aio_write_text(AUTO_THREADS, on ? "1" : "0");
	ret = io_setup(nr, ctx);
	if (old != on && old >= 0)
		aio_write_text(AUTO_THREADS, old ? "1" : "0");
	return ret;
}

static inline long setup_threaded(unsigned int nr, aio_context_t *ctx)
{
	long ret = setup_switched(true, nr, ctx);

	if (!ret && !threads_plain() &&
	    !(aio_ring(*ctx)->compat_features & AIO_RING_COMPAT_THREADED))
		return -ENOTSUP;
	return ret;
}

static inline long setup_plain(unsigned int nr, aio_context_t *ctx)
{
	return setup_switched(false, nr, ctx);
}

/* ------------------------------------------------------ waiting, with an end */

/* Seconds after which what is promised to happen is taken to have not. */
static inline int patience(void)
{
	return 40 * aio_slow();
}

/* Until @condition, which is an expression; false when it never came true. */
#define EVENTUALLY(condition) ({					\
	long long __end = aio_now_ns() + patience() * 1000000000LL;	\
	bool __true;							\
									\
	while (!(__true = (condition)) && aio_now_ns() < __end)		\
		aio_sleep_ms(1);					\
	__true;								\
})

/* A threaded context, of a process that from now on is another user's, and can have no thread. */
static inline bool setup_without_threads(unsigned int nr, aio_context_t *ctx)
{
	struct rlimit one = { 1, 1 };

	return !setup_threaded(nr, ctx) && !setrlimit(RLIMIT_NPROC, &one) &&
		!setresgid(54321, 54321, 54321) && !setresuid(54321, 54321, 54321);
}

/* Collects @nr events, or fewer if they do not come. A handler may interrupt it. */
static inline long await_events(aio_context_t ctx, struct io_event *events, long nr)
{
	struct timespec ts = { patience(), 0 };
	long ret, sum = 0;

	while (sum < nr) {
		ret = io_getevents(ctx, nr - sum, nr - sum, events + sum, &ts);
		if (ret == -EINTR)
			continue;
		if (ret <= 0)
			return sum ? sum : ret;
		sum += ret;
	}
	return sum;
}

/* The next event is that of @iocb. */
#define EXPECT_NEXT(ctx, iocb, result) do {				\
	struct io_event __event = { 0 };				\
									\
	EXPECT_EQ(1, await_events(ctx, &__event, 1));			\
	EXPECT_EVENT(&__event, iocb, result);				\
} while (0)

/* The request is taken, and its event comes, now or later. */
#define EXPECT_DONE(ctx, iocb, result) do {				\
	EXPECT_EQ(1, aio_submit_one(ctx, iocb));			\
	EXPECT_NEXT(ctx, iocb, result);					\
} while (0)

/*
 * The next @nr events are those of the requests in the list, in whatever order: one that was
 * behind another may begin when that has ended, which is before its event is there.
 */
#define EXPECT_ALL(ctx, nr, list, result) do {				\
	struct io_event __events[nr];					\
	int __i, __k;							\
									\
	ASSERT_EQ(nr, await_events(ctx, __events, nr));			\
	for (__i = 0; __i < (nr); __i++) {				\
		for (__k = 0; __k < (nr); __k++)			\
			if (__events[__k].obj == (uintptr_t)(list)[__i]) \
				break;					\
		ASSERT_GT(nr, __k);					\
		EXPECT_EVENT(&__events[__k], (list)[__i], result);	\
	}								\
} while (0)

/* It is not that an event is only late. */
#define EXPECT_NO_EVENT(ctx) do {					\
	aio_sleep_ms(20);						\
	EXPECT_EQ(0, aio_drain(ctx));					\
} while (0)

/* The status of a child, or -1 if it does not end; it is killed then. */
static inline int await_child(pid_t pid)
{
	int status = -1;

	if (EVENTUALLY(waitpid(pid, &status, WNOHANG) == pid))
		return status;
	kill(pid, SIGKILL);
	return -1;
}

/* ------------------------------------------------------ the kernel's threads */

#define PF_IO_WORKER		0x00000010
#define PF_USER_WORKER		0x00004000

struct tasks {
	int all;
	/* Those that the kernel has made. */
	int workers;
	/* One of them. */
	pid_t worker;
	char comm[32];
};

static inline struct tasks tasks_of(pid_t pid)
{
	char path[64], text[1024], *p;
	struct tasks t = { 0 };
	unsigned int flags;
	struct dirent *d;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	dir = opendir(path);
	while (dir && (d = readdir(dir))) {
		if (d->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "/proc/%d/task/%.16s/stat", pid, d->d_name);
		if (aio_read_text(path, text, sizeof(text)) <= 0)
			continue;
		p = strrchr(text, ')');
		if (!p || sscanf(p + 1, " %*c %*d %*d %*d %*d %*d %u", &flags) != 1)
			continue;
		t.all++;
		if (!(flags & (PF_IO_WORKER | PF_USER_WORKER)))
			continue;
		t.workers++;
		t.worker = atoi(d->d_name);
		*p = '\0';
		snprintf(t.comm, sizeof(t.comm), "%s", strchr(text, '(') + 1);
	}
	if (dir)
		closedir(dir);
	return t;
}

static inline int workers(void)
{
	return tasks_of(getpid()).workers;
}

/* What /proc says of a thread: 'S', 'D', 'T', 'Z' ..., 0 if there is none. */
static inline char state_of(pid_t pid, pid_t tid)
{
	char path[64], text[512], *p;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/stat", pid, tid);
	if (aio_read_text(path, text, sizeof(text)) <= 0)
		return 0;
	p = strrchr(text, ')');
	return p ? p[2] : 0;
}

/* Whether a thread that the kernel has made is in the middle of something, and waits. */
static inline bool worker_waits(void)
{
	struct dirent *d;
	bool found = false;
	DIR *dir = opendir("/proc/self/task");

	while (dir && (d = readdir(dir)))
		if (state_of(getpid(), atoi(d->d_name)) == 'D')
			found = true;
	if (dir)
		closedir(dir);
	return found;
}

/* They may take their leave in 5 seconds; more than that is no promise. */
#define AWAIT_NO_WORKERS()	EVENTUALLY(!workers())

/* ------------------------------------------------------ files that wait */

enum ends_kind {
	ENDS_PIPE, ENDS_FIFO, ENDS_STREAM, ENDS_SEQPACKET, ENDS_EVENTFD, ENDS_PTY,
	ENDS_TIMERFD, ENDS_INOTIFY,
};

struct ends {
	enum ends_kind kind;
	/* What is read, and what makes that ready. */
	int in;
	int out;
	/* The result of a read. */
	int len;
	char dir[32];
};

/* Opens them; @flags is 0 or O_NONBLOCK. */
static inline bool ends_open(struct ends *e, enum ends_kind kind, int flags)
{
	struct termios tio;
	int pair[2] = { -1, -1 };
	char path[64];

	memset(e, 0, sizeof(*e));
	e->kind = kind;
	e->len = 1;
	switch (kind) {
	case ENDS_PIPE:
		if (pipe2(pair, flags))
			return false;
		break;
	case ENDS_FIFO:
		snprintf(path, sizeof(path), "/tmp/aio_fifo_%d", aio_gettid());
		if (mkfifo(path, 0600))
			return false;
		pair[0] = open(path, O_RDWR | flags);
		pair[1] = open(path, O_WRONLY | flags);
		unlink(path);
		break;
	case ENDS_STREAM:
	case ENDS_SEQPACKET:
		if (socketpair(AF_UNIX, (kind == ENDS_STREAM ? SOCK_STREAM : SOCK_SEQPACKET) |
			       (flags ? SOCK_NONBLOCK : 0), 0, pair))
			return false;
		break;
	case ENDS_EVENTFD:
		pair[0] = eventfd(0, EFD_SEMAPHORE | (flags ? EFD_NONBLOCK : 0));
		pair[1] = dup(pair[0]);
		e->len = 8;
		break;
	case ENDS_PTY:
		pair[1] = posix_openpt(O_RDWR | O_NOCTTY);
		if (pair[1] < 0 || grantpt(pair[1]) || unlockpt(pair[1]) ||
		    ptsname_r(pair[1], path, sizeof(path)))
			return false;
		pair[0] = open(path, O_RDWR | O_NOCTTY | flags);
		if (pair[0] < 0 || tcgetattr(pair[0], &tio))
			return false;
		cfmakeraw(&tio);
		tio.c_cc[VMIN] = 1;
		tio.c_cc[VTIME] = 0;
		if (tcsetattr(pair[0], TCSANOW, &tio))
			return false;
		break;
	case ENDS_TIMERFD:
		pair[0] = timerfd_create(CLOCK_MONOTONIC, flags ? TFD_NONBLOCK : 0);
		pair[1] = dup(pair[0]);
		e->len = 8;
		break;
	case ENDS_INOTIFY:
		pair[0] = inotify_init1(flags ? IN_NONBLOCK : 0);
		snprintf(e->dir, sizeof(e->dir), "/tmp/aio_ends_XXXXXX");
		if (!mkdtemp(e->dir) || inotify_add_watch(pair[0], e->dir, IN_CREATE) < 0)
			return false;
		pair[1] = dup(pair[0]);
		e->len = sizeof(struct inotify_event) + 16;
		break;
	}
	e->in = pair[0];
	e->out = pair[1];
	return e->in >= 0 && e->out >= 0;
}

/* There is something for one read. */
static inline bool ends_feed(struct ends *e)
{
	static const __u64 one = 1;
	struct itimerspec its = { .it_value.tv_nsec = 1000000 };
	char path[64];

	switch (e->kind) {
	case ENDS_EVENTFD:
		return write(e->out, &one, 8) == 8;
	case ENDS_TIMERFD:
		return !timerfd_settime(e->out, 0, &its, NULL);
	case ENDS_INOTIFY:
		snprintf(path, sizeof(path), "%s/x", e->dir);
		close(open(path, O_CREAT | O_RDWR, 0600));
		return !unlink(path);
	default:
		return write(e->out, "x", 1) == 1;
	}
}

static inline void ends_close(struct ends *e)
{
	close(e->in);
	close(e->out);
	if (e->dir[0])
		rmdir(e->dir);
}

/* The room of a read that wants what ends_feed() brings. */
static inline size_t ends_room(const struct ends *e)
{
	return e->kind == ENDS_INOTIFY ? 512 : e->len;
}

/* Nobody can write to such a pipe without waiting. */
static inline long fill_pipe(int fd)
{
	static const char block[4096];
	int flags = fcntl(fd, F_GETFL);
	long sum = 0, n;

	fcntl(fd, F_SETFL, flags | O_NONBLOCK);
	while ((n = write(fd, block, sizeof(block))) > 0)
		sum += n;
	while ((n = write(fd, block, 1)) > 0)
		sum += n;
	fcntl(fd, F_SETFL, flags);
	return sum;
}

/* ------------------------------------------------------ a file system to freeze */

struct thread_fs {
	struct aio_slow_disk disk;
	char mnt[32];
	int dir;
	bool mounted;
};

static inline bool thread_fs_make_kind(struct thread_fs *fs, unsigned int ms, unsigned int mb,
				       const char *kind, const char *mkfs, const char *options)
{
	char cmd[256];

	memset(fs, 0, sizeof(*fs));
	fs->dir = -1;
	if (!aio_slow_disk_make_mb(&fs->disk, ms, mb))
		return false;
	snprintf(fs->mnt, sizeof(fs->mnt), "/tmp/aio_thread_XXXXXX");
	snprintf(cmd, sizeof(cmd), mkfs, fs->disk.dev);
	if (!mkdtemp(fs->mnt) || system(cmd) ||
	    mount(fs->disk.dev, fs->mnt, kind, MS_NOATIME, options))
		return false;
	fs->mounted = true;
	if (!aio_guard(aio_thaw, fs->mnt))
		return false;
	fs->dir = open(fs->mnt, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fs->dir >= 0;
}

/* ext4 on a disk of @ms milliseconds. False: this machine cannot. */
static inline bool thread_fs_make(struct thread_fs *fs, unsigned int ms)
{
	return thread_fs_make_kind(fs, ms, 64, "ext4",
		"mkfs.ext4 -q -F -O ^has_journal -E lazy_itable_init=0,nodiscard -N 512 %s 16M >/dev/null 2>&1",
		"noinit_itable");
}

/* XFS, whose writes can be tried without waiting. It wants a larger disk. */
static inline bool thread_fs_make_xfs(struct thread_fs *fs)
{
	return thread_fs_make_kind(fs, 0, 512, "xfs", "mkfs.xfs -q -f -K %s >/dev/null 2>&1", NULL);
}

/* Also from another process than that which has made it; it must not stay frozen. */
static inline void thread_fs_remove(struct thread_fs *fs)
{
	int dir;

	if (!fs->mnt[0]) {
		aio_slow_disk_remove(&fs->disk);
		return;
	}
	dir = open(fs->mnt, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	ioctl(dir, FITHAW, 0);
	close(dir);
	if (fs->mounted && !EVENTUALLY(!umount(fs->mnt)))
		umount2(fs->mnt, MNT_DETACH);
	rmdir(fs->mnt);
	aio_slow_disk_remove(&fs->disk);
}

static inline int thread_fs_open(const struct thread_fs *fs, const char *name, int flags)
{
	char path[96];

	snprintf(path, sizeof(path), "%s/%s", fs->mnt, name);
	return open(path, flags | O_CREAT | O_CLOEXEC, 0600);
}

#endif /* AIO_THREAD_TEST_H */
