// SPDX-License-Identifier: GPL-2.0
/*
 * Threads and processes that race all AIO calls with each other and with
 * whatever may happen to a process meanwhile.
 *
 * Held here: whatever programs do, however wrong, each call returns one of its
 * results or errors, each request has one event, nothing waits for ever, and
 * afterwards nothing is left: no quota, no locked memory, no ring, no object, no file.
 *
 * Where all contexts are threaded (fs.aio-auto-threads is 1), there are also requests that
 * open, rename and unlink files, and that read ahead.
 *
 * What is done is a function of the seed, the number of the thread and the number
 * of the operation. What comes of it is not: the threads race.
 *
 *	stress [-s SEED] [-n OPERATIONS] [-t THREADS] [-w SECONDS] [-k KIND,...] [-v]
 *
 * With -w, that long without any operation is a hang (default 120 s). With
 * -k only operations of these kinds are done, besides those that they need.
 */
#include <dirent.h>
#include <getopt.h>
#include <limits.h>
#include <linux/capability.h>
#include <linux/limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <poll.h>
#include "../kselftest.h"
#include "aio_ext_test.h"

#define PAGE		4096UL
#define MAX_THREADS	64
#define PER_CELL	4	/* threads of a process */
#define CLEAN		6	/* contexts whose rings nobody harms */
#define DIRTY		6	/* and others */
#define EXTENDED	6	/* contexts of io_setup2() */
#define EXT_NR		16	/* iocbs of each */
#define EXT_BUFFER	(4 * PAGE)
#define MAX_BATCH	16
#define PRIVATE		256	/* iocbs of a thread that nobody else touches */
#define SHARED		256	/* iocbs that all threads of a process write */
#define FD_BASE		200
#define FD_SHARED	190
#define TAGS		0x100000UL
#define FILE_LIMIT	(4UL << 20)

/* Signals that do nothing where there is no handler yet: in a new life after exec. */
#define SIG_OPS		SIGURG
#define SIG_TICKER	SIGWINCH

/*
 * Where the rings are put that threads share, far from all that the kernel places:
 * what is done with an id that is no longer one must not hit anything else. The
 * first third is for those that are harmed, the last for contexts of io_setup2().
 */
#define ARENA_SLOTS	256UL
#define ARENA_PAGES	64UL
#if __SIZEOF_LONG__ == 8
#define ARENA		0x200000000UL
#else
#define ARENA		0x20000000UL
#endif

/* ------------------------------------------------------ kinds of operations */

enum kind {
	SETUP, SETUP_BAD, DESTROY, DESTROY_BAD, SUBMIT, SUBMIT_DIRTY, SUBMIT_BAD,
	ROUNDTRIP, CANCEL, CANCEL_BAD, GETEVENTS, GETEVENTS_BAD, PGETEVENTS,
	SIGNAL, MREMAP, MREMAP_PART, MUNMAP, MADVISE, SCRIBBLE, FORK, SHARE_VM,
	EXEC, DIE, REPLACE, CLOSE, TOUCH, COMPACT, SHRINK, RLIMIT, SYSCTL, HOTPLUG,
	SETUP2, SUBMIT2, GETEVENTS2, CANCEL2, DESTROY2, REMAP2, ROUNDTRIP2,
	PATHTRIP, SWEEP,
	OPS,
	/* What iocbs ask for; they are a part of the operations above. */
	PREAD = OPS, PWRITE, FSYNC, FDSYNC, POLL, PREADV, PWRITEV, HOSTILE,
	OPENAT, UNLINKAT, RENAMEAT, READAHEAD, EVENTS,
	KINDS
};

static const struct {
	const char *name;
	unsigned int weight;
	/* Of a hundred, how many must succeed and fail at least. */
	unsigned int succeed, fail;
} kinds[KINDS] = {
	[SETUP]		= { "setup", 600, 30, 0 },
	[SETUP_BAD]	= { "setup-bad", 100, 0, 90 },
	[DESTROY]	= { "destroy", 300, 20, 0 },
	[DESTROY_BAD]	= { "destroy-bad", 100, 0, 50 },
	[SUBMIT]	= { "submit", 2400, 20, 1 },
	[SUBMIT_DIRTY]	= { "submit-dirty", 1000, 5, 1 },
	[SUBMIT_BAD]	= { "submit-bad", 200, 0, 50 },
	[ROUNDTRIP]	= { "roundtrip", 500, 100, 0 },
	[CANCEL]	= { "cancel", 600, 1, 5 },
	[CANCEL_BAD]	= { "cancel-bad", 100, 0, 50 },
	[GETEVENTS]	= { "getevents", 1400, 20, 1 },
	[GETEVENTS_BAD]	= { "getevents-bad", 100, 0, 20 },
	[PGETEVENTS]	= { "pgetevents", 500, 20, 1 },
	[SIGNAL]	= { "signal", 400, 50, 0 },
	[MREMAP]	= { "mremap", 200, 5, 0 },
	[MREMAP_PART]	= { "mremap-part", 60, 0, 20 },
	[MUNMAP]	= { "munmap", 50, 50, 0 },
	[MADVISE]	= { "madvise", 60, 2, 0 },
	[SCRIBBLE]	= { "scribble", 400, 10, 0 },
	[FORK]		= { "fork", 40, 100, 0 },
	[SHARE_VM]	= { "share-vm", 40, 100, 0 },
	[EXEC]		= { "exec", 4, 0, 0 },
	[DIE]		= { "die", 4, 0, 0 },
	[REPLACE]	= { "replace", 300, 90, 0 },
	[CLOSE]		= { "close", 60, 50, 0 },
	[TOUCH]		= { "touch", 1000, 10, 0 },
	[COMPACT]	= { "compact", 4, 90, 0 },
	[SHRINK]	= { "shrink", 10, 90, 0 },
	[RLIMIT]	= { "rlimit", 40, 90, 0 },
	[SYSCTL]	= { "sysctl", 10, 90, 0 },
	[HOTPLUG]	= { "hotplug", 1, 20, 0 },
	[SETUP2]	= { "setup2", 200, 10, 5 },
	[SUBMIT2]	= { "submit2", 800, 5, 5 },
	[GETEVENTS2]	= { "getevents2", 600, 20, 0 },
	[CANCEL2]	= { "cancel2", 100, 0, 5 },
	[DESTROY2]	= { "destroy2", 60, 10, 0 },
	[REMAP2]	= { "remap2", 100, 50, 0 },
	[ROUNDTRIP2]	= { "roundtrip2", 300, 100, 0 },
	[PATHTRIP]	= { "pathtrip", 300, 100, 0 },
	[SWEEP]		= { "sweep", 60, 100, 0 },
	[PREAD]		= { "  PREAD", 0, 20, 1 },
	[PWRITE]	= { "  PWRITE", 0, 20, 1 },
	[FSYNC]		= { "  FSYNC", 0, 20, 1 },
	[FDSYNC]	= { "  FDSYNC", 0, 20, 1 },
	[POLL]		= { "  POLL", 0, 20, 1 },
	[PREADV]	= { "  PREADV", 0, 20, 1 },
	[PWRITEV]	= { "  PWRITEV", 0, 20, 1 },
	[HOSTILE]	= { "  hostile", 0, 1, 20 },
	[OPENAT]	= { "  OPENAT", 0, 20, 1 },
	[UNLINKAT]	= { "  UNLINKAT", 0, 20, 1 },
	[RENAMEAT]	= { "  RENAMEAT", 0, 20, 1 },
	[READAHEAD]	= { "  READAHEAD", 0, 20, 1 },
	[EVENTS]	= { "  events", 0, 20, 0 },
};

/* ------------------------------------------------------ what all processes share */

struct counter {
	unsigned long begun;
	unsigned long ok;
	unsigned long failed;
	unsigned long by_errno[134];
};

struct stream {
	unsigned long next;	/* operation */
	unsigned long count;	/* of operations to be done */
};

struct common {
	unsigned long seed;
	unsigned int threads;
	unsigned int lives;	/* processes that were started, or became new by exec */
	bool allowed[OPS];
	bool can_cpu, can_compact, can_sysctl, can_memlock_sysctl, can_rlimit;
	bool threaded;	/* all contexts are */
	bool mounted;	/* a file system on @paths */
	unsigned int cpus;
	unsigned int possible_cpus;
	unsigned int total_weight;
	long long max_nr;
	char disk[128];
	char dir[PATH_MAX - 64];
	char paths[PATH_MAX - 32];
	struct stream streams[MAX_THREADS];
	struct counter counters[KINDS];
	unsigned long faults;	/* where a thread touched a ring that was not there */
	unsigned int complaints;
	char complaint[20][240];
};

static struct common *common;

#define ADD(x, n)	__atomic_fetch_add(&(x), n, __ATOMIC_RELAXED)
#define GET(x)		__atomic_load_n(&(x), __ATOMIC_ACQUIRE)
#define SET(x, v)	__atomic_store_n(&(x), v, __ATOMIC_RELEASE)
#define SWAP(x, v)	__atomic_exchange_n(&(x), v, __ATOMIC_ACQ_REL)

struct thread {
	unsigned int nr;	/* of all processes */
	pid_t tid;
	bool ended;
	unsigned long at;	/* operation, for the ticker */
	enum kind kind;
	unsigned long rng;
	aio_context_t own;
	/* One of io_setup2(), with its iocbs, and their buffers. */
	aio_context_t own2;
	unsigned int own2_flags;
	struct iocb *iocbs2;
	char *buffers2;
	unsigned int next_private;
	unsigned long next_tag;
	unsigned long *seen;	/* a bit for each tag */
	struct iocb *iocbs;
	struct iovec (*vectors)[4];
	char *buffer;
};

/* Contexts, with the number of pages of the ring in the low bits. */
static unsigned long contexts[CLEAN + DIRTY];
/* Of io_setup2(), with the flags in the low bits. What they have is written by all threads. */
static unsigned long extended[EXTENDED];
static struct iocb *extended_iocbs[EXTENDED];
static char *extended_buffers[EXTENDED];
static struct thread threads[PER_CELL];
static unsigned int nr_threads, cell;
static struct iocb *shared_iocbs;
static struct iovec (*shared_vectors)[4];
static char *bad_none, *bad_readonly, *bad_edge, *bad_gone;
static __thread struct thread *self;
static __thread sigjmp_buf fault;
static __thread volatile sig_atomic_t may_fault;

#define BUFFER		(16 * PAGE)

/* ------------------------------------------------------ randomness */

static unsigned long mix(unsigned long long x)
{
	x += 0x9e3779b97f4a7c15ULL;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
	return x ^ (x >> 31);
}

static unsigned long rnd(void)
{
	self->rng = mix(self->rng);
	return self->rng;
}

/* Less than @n. */
static unsigned long below(unsigned long n)
{
	return (rnd() >> 3) % n;
}

static bool percent(unsigned int n)
{
	return below(100) < n;
}

#define ANY(array)	((array)[below(ARRAY_SIZE(array))])

/* ------------------------------------------------------ results */

static void __printf(1, 2) complain(const char *format, ...)
{
	unsigned int n = ADD(common->complaints, 1);
	size_t size = sizeof(common->complaint[0]), len = 0;
	va_list args;

	if (n >= 20)
		return;
	if (self)
		len = snprintf(common->complaint[n], size, "thread %u, operation %lu (%s): ",
			       self->nr, self->at, kinds[self->kind].name);
	va_start(args, format);
	vsnprintf(common->complaint[n] + len, size - len, format, args);
	va_end(args);
}

static void count(enum kind kind, long ret)
{
	struct counter *c = &common->counters[kind];

	if (ret >= 0) {
		ADD(c->ok, 1);
		return;
	}
	ADD(c->failed, 1);
	ADD(c->by_errno[-ret < 134 ? -ret : 0], 1);
}

/* A result must be good, or one of the errors, of which 0 is the last. */
static void __result(enum kind kind, long ret, long most, const int *errors)
{
	count(kind, ret);
	if (ret >= 0 && ret <= most)
		return;
	for (; *errors; errors++)
		if (ret == -*errors)
			return;
	complain("%s returned %ld", kinds[kind].name, ret);
}

#define result(kind, ret, most, ...) \
	__result(kind, ret, most, (const int []){ __VA_ARGS__, 0 })

static bool is_path_opcode(unsigned int opcode)
{
	return opcode == IOCB_CMD_OPENAT || opcode == IOCB_CMD_UNLINKAT ||
		opcode == IOCB_CMD_RENAMEAT;
}

/* Names may be anything at all, but nothing is done elsewhere than in the directory. */
static bool path_result_possible(unsigned int opcode, long long res)
{
	static const int errors[] = {
		ENOENT, EEXIST, ENOTDIR, EISDIR, EBADF, EINTR, EINVAL, ENAMETOOLONG, EBUSY, EXDEV,
		ENOSPC, ENXIO, ELOOP, EMFILE, EOPNOTSUPP, EACCES, EPERM, ETXTBSY,
	};
	unsigned int i;

	if (res >= 0)
		return opcode == IOCB_CMD_OPENAT ? res <= INT_MAX : !res;
	for (i = 0; i < ARRAY_SIZE(errors); i++)
		if (res == -errors[i])
			return common->threaded;
	return false;
}

/* Whether an allowed result of a request comes with an event. */
static bool event_possible(unsigned int opcode, long long res)
{
	static const int errors[] = {
		EAGAIN, EFAULT, EINVAL, EINTR, EPIPE, ENOSPC, EFBIG, ESPIPE,
		ENOTCONN, ECONNRESET, EOPNOTSUPP, EISDIR, EBADF, EIO, ECANCELED,
		EDESTADDRREQ,
	};
	unsigned int i;

	if (is_path_opcode(opcode))
		return path_result_possible(opcode, res);
	/* It may be more than one read can take. */
	if (opcode == IOCB_CMD_READAHEAD && res >= 0)
		return common->threaded;
	if (res >= 0)
		return opcode == IOCB_CMD_FSYNC || opcode == IOCB_CMD_FDSYNC ? !res :
			opcode == IOCB_CMD_POLL ? res <= 0xffff :
			res <= AIO_MAX_RW_COUNT;
	for (i = 0; i < ARRAY_SIZE(errors); i++)
		if (res == -errors[i])
			return opcode != IOCB_CMD_POLL;
	return false;
}

/* ------------------------------------------------------ opened files */

/*
 * Whatever OPENAT has opened is in a directory in which nothing else is opened. What belongs
 * to one thread begins with OWN, its number, and '-'. Whoever closes such a file holds
 * the lock, so that a descriptor is not another file by then.
 */
#define OWN	"own-"

static pthread_mutex_t closing = PTHREAD_MUTEX_INITIALIZER;

/* The name in the directory of an open file; NULL if it is none of these. */
static const char *opened_name(int fd, char *path, size_t size)
{
	size_t len = strlen(common->paths);
	char link[40];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, path, size - 1);
	if (n < 0)
		return NULL;
	path[n] = '\0';
	return !strncmp(path, common->paths, len) && path[len] == '/' ? path + len + 1 : NULL;
}

/* What an event is about. It may have been closed, and the number be that of another file. */
static void close_opened(int fd)
{
	char path[PATH_MAX];
	const char *name;

	pthread_mutex_lock(&closing);
	name = opened_name(fd, path, sizeof(path));
	if (name && strncmp(name, OWN, strlen(OWN)))
		close(fd);
	pthread_mutex_unlock(&closing);
}

/*
 * Closes all that are open and belong to no thread: those of events that nobody has seen. With
 * @prefix counts those that belong to somebody instead.
 */
static long sweep(const char *prefix)
{
	char path[PATH_MAX];
	struct dirent *d;
	DIR *dir = opendir("/proc/self/fd");
	const char *name;
	long found = 0;

	if (!dir)
		return -errno;
	pthread_mutex_lock(&closing);
	while ((d = readdir(dir))) {
		int fd = atoi(d->d_name);

		if (d->d_name[0] == '.' || fd == dirfd(dir))
			continue;
		name = opened_name(fd, path, sizeof(path));
		if (!name)
			continue;
		if (prefix)
			found += !strncmp(name, prefix, strlen(prefix));
		else if (strncmp(name, OWN, strlen(OWN)))
			close(fd);
	}
	pthread_mutex_unlock(&closing);
	closedir(dir);
	return found;
}

/* ------------------------------------------------------ tags */

/* Bits of aio_data: thread of the process, opcode, number of the request. */
static unsigned long long tag(struct thread *t, unsigned int opcode)
{
	return 0xa10ULL << 52 | (unsigned long long)(t - threads) << 48 |
		(unsigned long long)opcode << 40 | t->next_tag++;
}

/* An event of a ring that nobody harms: it must be that of a request, once. */
static void check_event(const struct io_event *e)
{
	unsigned int thread = e->data >> 48 & 15, opcode = e->data >> 40 & 255;
	unsigned long nr = e->data & 0xffffffffffULL, bit, old;
	struct thread *t = &threads[thread];

	count(EVENTS, e->res < 0 ? e->res : 0);
	if (e->data >> 52 != 0xa10 || thread >= nr_threads || nr >= GET(t->next_tag)) {
		complain("an event of no request: data %llx obj %llx res %lld",
			 (unsigned long long)e->data,
			 (unsigned long long)e->obj, (long long)e->res);
		return;
	}
	if (e->obj != (uintptr_t)&t->iocbs[nr % PRIVATE] || e->res2)
		complain("event of request %lu: obj %llx res2 %lld",
			 nr, (unsigned long long)e->obj,
			 (long long)e->res2);
	if (!event_possible(opcode, e->res))
		complain("event of opcode %u: res %lld",
			 opcode, (long long)e->res);
	/* A descriptor, which is there if the event is. */
	if (opcode == IOCB_CMD_OPENAT && e->res >= 0)
		close_opened(e->res);
	if (nr >= TAGS)
		return;
	bit = 1UL << nr % (8 * sizeof(long));
	old = __atomic_fetch_or(&t->seen[nr / (8 * sizeof(long))], bit, __ATOMIC_RELAXED);
	if (old & bit)
		complain("a second event of request %lu, opcode %u, res %lld",
			 nr, opcode, (long long)e->res);
}

/* ------------------------------------------------------ files */

enum file_kind {
	MEM, MEM_RO, DISK, DISK_DIRECT, SLOW, SLOW2, PIPE_R, PIPE_W, WAIT_R, WAIT_W,
	EVENT, EVENT2, SOCK_A, SOCK_B, TIMER, NULL_DEV, ZERO_DEV, EPOLL, SIGNALFD,
	DIRECTORY, FILES
};

static int fd_of(unsigned int kind)
{
	return FD_BASE + kind;
}

static void put_at(int fd, unsigned int slot)
{
	if (fd < 0)
		return;
	dup3(fd, fd_of(slot), O_CLOEXEC);
	close(fd);
}

/* Open a file of one kind, or both ends of a pipe, in the place of another. */
static long install(enum file_kind kind, unsigned int slot)
{
	struct itimerspec often = { { 0, 3000000 }, { 0, 1000000 } };
	struct epoll_event event = { .events = EPOLLIN };
	int pair[2], fd = -1;
	char path[PATH_MAX];
	sigset_t set;

	switch (kind) {
	case MEM:
	case MEM_RO:
		fd = memfd_create("stress", MFD_CLOEXEC);
		if (fd >= 0 && ftruncate(fd, 1 << 20))
			return -errno;
		if (kind == MEM_RO && fd >= 0) {
			int ro = aio_reopen(fd, O_RDONLY | O_CLOEXEC);

			close(fd);
			fd = ro;
		}
		break;
	case DISK:
	case DISK_DIRECT:
		snprintf(path, sizeof(path), "%s/f%u", common->dir, cell);
		fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC |
			  (kind == DISK ? 0 : O_DIRECT), 0600);
		if (fd < 0)
			fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
		if (fd >= 0 && ftruncate(fd, 1 << 20))
			return -errno;
		break;
	case SLOW:
	case SLOW2:
		if (!common->disk[0])
			return install(DISK_DIRECT, slot);
		fd = open(common->disk, O_RDWR | O_DIRECT | O_CLOEXEC);
		break;
	case PIPE_R:
	case PIPE_W:
	case WAIT_R:
	case WAIT_W:
		if (pipe2(pair, O_CLOEXEC | (kind < WAIT_R ? O_NONBLOCK : 0)))
			return -errno;
		slot = kind < WAIT_R ? PIPE_R : WAIT_R;
		put_at(pair[0], slot);
		put_at(pair[1], slot + 1);
		return 0;
	case EVENT:
	case EVENT2:
		fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
		break;
	case SOCK_A:
	case SOCK_B:
		if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair))
			return -errno;
		put_at(pair[0], SOCK_A);
		put_at(pair[1], SOCK_B);
		return 0;
	case TIMER:
		fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
		if (fd >= 0)
			timerfd_settime(fd, 0, &often, NULL);
		break;
	case NULL_DEV:
		fd = open("/dev/null", O_RDWR | O_CLOEXEC);
		break;
	case ZERO_DEV:
		fd = open("/dev/zero", O_RDWR | O_CLOEXEC);
		break;
	case EPOLL:
		fd = epoll_create1(EPOLL_CLOEXEC);
		if (fd >= 0)
			epoll_ctl(fd, EPOLL_CTL_ADD, fd_of(EVENT), &event);
		break;
	case SIGNALFD:
		sigemptyset(&set);
		sigaddset(&set, SIGRTMAX);
		fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
		break;
	default:
		fd = open(common->paths, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		break;
	}
	if (fd < 0)
		return -errno;
	put_at(fd, slot);
	return 0;
}

/* ------------------------------------------------------ iocbs */

static void *address(void)
{
	unsigned long handle;

	switch (below(10)) {
	case 0:
		return NULL;
	case 1:
		return bad_none;
	case 2:
		return bad_readonly;
	case 3:
		return bad_edge;
	case 4:
		return bad_gone;
	case 5:
		return (void *)-PAGE;
	case 6:
		return (void *)(LONG_MAX / 2 + 1UL);
	case 7:
		/* A ring as a buffer, but one that may be harmed. */
		handle = GET(contexts[CLEAN + below(DIRTY)]);
		return (void *)(handle & ~(PAGE - 1));
	default:
		return self->buffer + below(BUFFER);
	}
}

static const __u16 opcodes[] = {
	IOCB_CMD_PREAD, IOCB_CMD_PWRITE, IOCB_CMD_FSYNC, IOCB_CMD_FDSYNC,
	IOCB_CMD_POLL, IOCB_CMD_PREADV, IOCB_CMD_PWRITEV,
};

static enum kind kind_of(unsigned int opcode)
{
	switch (opcode) {
	case IOCB_CMD_PREAD:
		return PREAD;
	case IOCB_CMD_PWRITE:
		return PWRITE;
	case IOCB_CMD_FSYNC:
		return FSYNC;
	case IOCB_CMD_FDSYNC:
		return FDSYNC;
	case IOCB_CMD_POLL:
		return POLL;
	case IOCB_CMD_PREADV:
		return PREADV;
	case IOCB_CMD_PWRITEV:
		return PWRITEV;
	case IOCB_CMD_OPENAT:
		return OPENAT;
	case IOCB_CMD_UNLINKAT:
		return UNLINKAT;
	case IOCB_CMD_RENAMEAT:
		return RENAMEAT;
	case IOCB_CMD_READAHEAD:
		return READAHEAD;
	default:
		return HOSTILE;
	}
}

static void prep_open(struct iocb *iocb, int dir, const char *path, int flags, unsigned int mode)
{
	aio_prep(iocb, IOCB_CMD_OPENAT, dir, path, 0, (long long)mode << 32 | (__u32)flags);
}

static void prep_rename(struct iocb *iocb, struct renameat_info *info, int dir, const char *old,
			const char *new, unsigned int flags)
{
	*info = (struct renameat_info) {
		.olddirfd = dir,
		.oldpath = (uintptr_t)old,
		.newdirfd = dir,
		.newpath = (uintptr_t)new,
		.flags = flags,
	};
	aio_prep(iocb, IOCB_CMD_RENAMEAT, -1, info, sizeof(*info), 0);
}

/*
 * What only threaded contexts can do, right if the directory is still one. The paths are where
 * the array of a vector would be; a FIFO is among them, which the open of may wait for.
 */
static void make_threaded(struct iocb *iocb, struct iovec *vec)
{
	static const char * const names[] = { "f0", "f1", "f2", "f3", "./f4", "sub/f0", "none/x" };
	static const __u8 cached[] = { MEM, MEM_RO, DISK, DISK, DISK_DIRECT, SLOW, SLOW2 };
	static const int flags[] = {
		O_RDONLY, O_RDWR | O_CREAT, O_WRONLY | O_CREAT | O_EXCL, O_RDWR | O_TRUNC,
		O_RDONLY | O_DIRECTORY, O_PATH, O_RDWR | O_CREAT | O_APPEND,
	};
	const int dir = percent(50) ? AT_FDCWD : fd_of(DIRECTORY);
	char *path = (char *)vec;

	switch (below(4)) {
	case 0:
		strcpy(path, percent(6) ? "fifo" : ANY(names));
		/* Most of those that open the FIFO meet somebody. */
		prep_open(iocb, dir, path, (strcmp(path, "fifo") ? ANY(flags) :
					    (int)below(3)) | O_CLOEXEC, 0600);
		break;
	case 1:
		strcpy(path, ANY(names));
		aio_prep(iocb, IOCB_CMD_UNLINKAT, dir, path, 0, 0);
		break;
	case 2:
		/* Behind the structure there is room for one. */
		strcpy(path + sizeof(struct renameat_info), ANY(names));
		prep_rename(iocb, (struct renameat_info *)path, dir,
			    path + sizeof(struct renameat_info), ANY(names), below(3));
		break;
	default:
		aio_prep(iocb, IOCB_CMD_READAHEAD, fd_of(ANY(cached)), NULL,
			 1 + below(300 * PAGE), below(250) * PAGE);
	}
}

/* A request that is right, if the file is what it was at the beginning. */
static void make_good(struct iocb *iocb, struct iovec *vec)
{
	static const __u8 readable[] = {
		MEM, MEM, MEM_RO, DISK, DISK_DIRECT, SLOW, SLOW2, SLOW, PIPE_R, EVENT, SOCK_A,
		SOCK_B, TIMER, ZERO_DEV,
	};
	static const __u8 writable[] = {
		MEM, MEM, DISK, DISK_DIRECT, SLOW, SLOW2, SLOW, PIPE_W, EVENT2, SOCK_A, SOCK_B,
		NULL_DEV,
	};
	static const __u8 flushable[] = { MEM, DISK, DISK_DIRECT, SLOW, SLOW2 };
	static const __u8 pollable[] = {
		PIPE_R, PIPE_W, WAIT_R, WAIT_R, EVENT, EVENT, EVENT2, SOCK_A, SOCK_B, TIMER,
		EPOLL, SIGNALFD, SIGNALFD, MEM,
	};
	unsigned int opcode = ANY(opcodes), kind, i, n;
	size_t len = (1 + below(3)) * PAGE;

	memset(iocb, 0, sizeof(*iocb));
	iocb->aio_lio_opcode = opcode;
	if (common->threaded && percent(25)) {
		make_threaded(iocb, vec);
		opcode = iocb->aio_lio_opcode;
	}
	switch (opcode) {
	case IOCB_CMD_OPENAT:
	case IOCB_CMD_UNLINKAT:
	case IOCB_CMD_RENAMEAT:
	case IOCB_CMD_READAHEAD:
		break;
	case IOCB_CMD_PREAD:
	case IOCB_CMD_PWRITE:
	case IOCB_CMD_PREADV:
	case IOCB_CMD_PWRITEV:
		kind = opcode & 1 && opcode != IOCB_CMD_PREADV ? ANY(writable) : ANY(readable);
		if (opcode == IOCB_CMD_PWRITEV)
			kind = ANY(writable);
		if (percent(1))
			kind = WAIT_R + below(2);
		if (kind == EVENT || kind == EVENT2 || kind == TIMER)
			len = 8;
		else if (kind >= PIPE_R && percent(50))
			len = 1 + below(200);
		iocb->aio_fildes = fd_of(kind);
		iocb->aio_buf = (uintptr_t)(self->buffer + below(8) * PAGE);
		iocb->aio_nbytes = len;
		if (kind < PIPE_R)
			iocb->aio_offset = below(200) * PAGE;
		if (opcode == IOCB_CMD_PREADV || opcode == IOCB_CMD_PWRITEV) {
			n = kind == EVENT || kind == EVENT2 || kind == TIMER ? 1 : 1 + below(4);
			for (i = 0; i < n; i++) {
				vec[i].iov_base = self->buffer + below(8) * PAGE;
				vec[i].iov_len = len;
			}
			iocb->aio_buf = (uintptr_t)vec;
			iocb->aio_nbytes = n;
		}
		if (percent(5) && kind < PIPE_R)
			iocb->aio_rw_flags = percent(50) ? RWF_NOWAIT : RWF_DSYNC;
		if (percent(3))
			iocb->aio_rw_flags |= RWF_HIPRI;
		if (percent(3) && kind < PIPE_R)
			iocb->aio_rw_flags |= RWF_APPEND;
		break;
	case IOCB_CMD_POLL:
		iocb->aio_fildes = fd_of(ANY(pollable));
		iocb->aio_buf = percent(70) ? POLLIN : percent(50) ? POLLOUT : rnd() & 0xffff;
		break;
	default:
		iocb->aio_fildes = fd_of(ANY(flushable));
	}
	if (percent(25)) {
		iocb->aio_flags |= IOCB_FLAG_RESFD;
		iocb->aio_resfd = fd_of(percent(50) ? EVENT : EVENT2);
	}
	if (percent(3)) {
		iocb->aio_flags |= IOCB_FLAG_IOPRIO;
		iocb->aio_reqprio = 2 << 13 | below(8);
	}
}

/* A request with one thing or several wrong; it may be right all the same. */
static void make_hostile(struct iocb *iocb, struct iovec *vec)
{
	unsigned int n = 1 + below(3), i;

	make_good(iocb, vec);
	while (n--) {
		switch (below(12)) {
		case 0:
			iocb->aio_lio_opcode = percent(50) ? below(16) : rnd();
			break;
		case 1:
			iocb->aio_fildes = percent(50) ? FD_BASE + below(FILES) : rnd();
			break;
		case 2:
			iocb->aio_buf = (uintptr_t)address();
			break;
		case 3:
			iocb->aio_nbytes = percent(50) ? below(3000) : rnd() << below(40);
			break;
		case 4:
			iocb->aio_offset = percent(50) ? -below(3) - 1 : LLONG_MAX - below(4096);
			break;
		case 5:
			iocb->aio_reserved2 = rnd();
			break;
		case 6:
			iocb->aio_flags = rnd();
			break;
		case 7:
			iocb->aio_flags |= IOCB_FLAG_RESFD;
			iocb->aio_resfd = percent(80) ? FD_BASE + below(FILES) : rnd();
			break;
		case 8:
			iocb->aio_rw_flags = percent(70) ? 1 << below(10) : rnd();
			break;
		case 9:
			iocb->aio_flags |= IOCB_FLAG_IOPRIO;
			iocb->aio_reqprio = rnd();
			break;
		case 10:
			for (i = 0; i < 4; i++) {
				vec[i].iov_base = address();
				vec[i].iov_len = percent(80) ? below(9000) : rnd();
			}
			iocb->aio_buf = (uintptr_t)vec;
			iocb->aio_nbytes = percent(80) ? below(5) : rnd();
			break;
		default:
			iocb->aio_key = rnd();
			break;
		}
	}
	/* Requests that wait in io_submit() have no place in a batch of these. */
	if (iocb->aio_fildes == (__u32)fd_of(WAIT_R) || iocb->aio_fildes == (__u32)fd_of(WAIT_W))
		if (iocb->aio_lio_opcode != IOCB_CMD_POLL)
			iocb->aio_fildes = fd_of(PIPE_R);
}

/* ------------------------------------------------------ contexts */

static unsigned long handle_of(aio_context_t ctx, unsigned int nr)
{
	unsigned int least = common->possible_cpus * 4;
	size_t events = (nr > least ? nr : least) * 2 + 2;

	return ctx | (AIO_RING_HEADER + events * AIO_EVENT_SIZE + PAGE - 1) / PAGE;
}

static aio_context_t ctx_of(unsigned long handle)
{
	return handle & ~(PAGE - 1);
}

static size_t bytes_of(unsigned long handle)
{
	return (handle & (PAGE - 1)) * PAGE;
}

static void *arena(void)
{
	return (void *)(ARENA + below(ARENA_SLOTS) * ARENA_PAGES * PAGE);
}

static void *clean_arena(void)
{
	static unsigned int next;
	unsigned long slot = ARENA_SLOTS + ADD(next, 1) % ARENA_SLOTS;

	return (void *)(ARENA + slot * ARENA_PAGES * PAGE);
}

static void *extended_arena(void)
{
	static unsigned int next;
	unsigned long slot = 2 * ARENA_SLOTS + ADD(next, 1) % ARENA_SLOTS;

	return (void *)(ARENA + slot * ARENA_PAGES * PAGE);
}

static unsigned long any_context(bool dirty)
{
	return GET(contexts[dirty ? CLEAN + below(DIRTY) : below(CLEAN)]);
}

static void destroy(unsigned long handle, enum kind kind)
{
	result(kind, io_destroy(ctx_of(handle)), 0, EINVAL);
}

static void op_setup(void)
{
	unsigned int nr = percent(80) ? 1 + below(64) : 1 + below(600);
	unsigned int slot = below(CLEAN + DIRTY), i, first = slot;
	bool fill = percent(70);
	void *at = arena();
	aio_context_t ctx = 0;
	unsigned long new, old;
	long ret;

	/* Rather in an empty place. */
	for (i = 0; i < CLEAN + DIRTY && fill && GET(contexts[slot]); i++)
		slot = (first + i) % (CLEAN + DIRTY);
	ret = io_setup(nr, &ctx);
	result(SETUP, ret, 0, EAGAIN);
	if (ret)
		return;
	new = handle_of(ctx, nr);
	at = mremap((void *)ctx, bytes_of(new), bytes_of(new), MREMAP_MAYMOVE | MREMAP_FIXED,
		    slot < CLEAN ? clean_arena() : at);
	if (at == MAP_FAILED) {
		complain("mremap() of a new ring: %s",
			 strerror(errno));
		io_destroy(ctx);
		return;
	}
	new = handle_of((aio_context_t)at, nr);
	old = SWAP(contexts[slot], new);
	/* Now and then one is forgotten. */
	if (old && !percent(3)) {
		ADD(common->counters[DESTROY].begun, 1);
		destroy(old, DESTROY);
	}
}

static void op_setup_bad(void)
{
	static const unsigned int numbers[] = {
		0, 0x7fffffff, 0x80000000, 0xffffffff, 4194305, 4194304, 65536, 1,
	};
	aio_context_t ctx = 0;
	unsigned int nr = ANY(numbers);
	void *where = &ctx;
	long ret;

	if (nr == 1)
		where = percent(50) ? bad_none : bad_readonly;
	else if (percent(20))
		ctx = 1;
	ret = io_setup(nr, where);
	result(SETUP_BAD, ret, 0, EINVAL, EFAULT, EAGAIN, ENOMEM);
	if (!ret)
		io_destroy(ctx);
}

static void op_destroy(void)
{
	unsigned int slot = below(CLEAN + DIRTY);
	unsigned long handle = percent(50) ? SWAP(contexts[slot], 0) : GET(contexts[slot]);

	destroy(handle, DESTROY);
}

static void op_destroy_bad(void)
{
	switch (below(4)) {
	case 0:
		destroy((uintptr_t)address() & ~(PAGE - 1), DESTROY_BAD);
		break;
	case 1:
		destroy((unsigned long)rnd(), DESTROY_BAD);
		break;
	case 2:
		destroy((uintptr_t)arena(), DESTROY_BAD);
		break;
	default:
		result(DESTROY_BAD, io_destroy(ctx_of(any_context(true)) + 32 * below(20)), 0,
		       EINVAL);
	}
}

/* ------------------------------------------------------ requests */

static const int submit_errors[] = {
	EINVAL, EFAULT, EBADF, EAGAIN, EOPNOTSUPP, EPERM, EOVERFLOW, 0,
};

/* And those of paths. */
static const int threaded_submit_errors[] = {
	EINVAL, EFAULT, EBADF, EAGAIN, EOPNOTSUPP, EPERM, EOVERFLOW, ENOENT, ENAMETOOLONG, 0,
};

static void submit_result(enum kind kind, long ret, long most)
{
	__result(kind, ret, most, common->threaded ? threaded_submit_errors : submit_errors);
}

static void count_batch(struct iocb **list, bool *hostile, long nr, long ret)
{
	long i;

	for (i = 0; i < nr; i++) {
		enum kind kind = hostile[i] ? HOSTILE : kind_of(list[i]->aio_lio_opcode);

		ADD(common->counters[kind].begun, 1);
		if (i < ret)
			count(kind, 0);
		else if (i == 0 && ret < 0)
			count(kind, ret);
		else if (i == ret)
			ADD(common->counters[kind].failed, 1);
		else
			break;
	}
}

/* Requests of this thread alone, to a context whose events are looked at. */
static void op_submit(void)
{
	struct iocb *list[MAX_BATCH];
	bool hostile[MAX_BATCH];
	unsigned long handle = any_context(false);
	unsigned int nr = 1 + below(percent(70) ? 4 : MAX_BATCH), i;
	long ret;

	for (i = 0; i < nr; i++) {
		unsigned int n = self->next_tag % PRIVATE;

		list[i] = &self->iocbs[n];
		hostile[i] = percent(8);
		if (hostile[i])
			make_hostile(list[i], self->vectors[n]);
		else
			make_good(list[i], self->vectors[n]);
		list[i]->aio_data = tag(self, list[i]->aio_lio_opcode & 0xff);
	}
	ret = io_submit(ctx_of(handle), nr, list);
	submit_result(SUBMIT, ret, nr);
	count_batch(list, hostile, nr, ret);
}

/* Requests that other threads change, to a ring that is harmed. */
static void op_submit_dirty(void)
{
	struct iocb *list[MAX_BATCH];
	unsigned long handle = any_context(true);
	unsigned int nr = 1 + below(MAX_BATCH), i;

	for (i = 0; i < nr; i++) {
		unsigned int n = below(SHARED);
		struct iocb iocb;

		list[i] = &shared_iocbs[n];
		if (percent(50))
			make_hostile(&iocb, shared_vectors[n]);
		else
			make_good(&iocb, shared_vectors[n]);
		*list[i] = iocb;
	}
	submit_result(SUBMIT_DIRTY, io_submit(ctx_of(handle), nr, list), nr);
}

static void op_submit_bad(void)
{
	static const long numbers[] = { 0, -1, LONG_MIN, LONG_MAX, 1, 2, 1000000 };
	struct iocb *list[2] = { address(), address() };
	long nr = ANY(numbers);
	aio_context_t ctx = percent(70) ? ctx_of(any_context(true)) : (uintptr_t)address();
	void *where = percent(50) || nr > 2 ? address() : list;

	submit_result(SUBMIT_BAD, io_submit(ctx, nr, where), LONG_MAX);
}

/* A context that this thread has for itself; false if there is none now. */
static bool own_context(enum kind kind)
{
	long ret;

	if (self->own)
		return true;
	ret = io_setup(16, &self->own);
	if (!ret)
		return true;
	self->own = 0;
	/* The limits that others move may forbid it now. */
	if (ret == -EAGAIN)
		count(kind, 0);
	else
		complain("io_setup() of one's own: %ld", ret);
	return false;
}

/* The whole way, exactly, in a context that this thread has for itself. */
static void op_roundtrip(void)
{
	struct io_event events[MAX_BATCH];
	struct iocb *list[MAX_BATCH];
	bool direct = percent(40), by_ring = percent(30), failed = false;
	unsigned int nr = 1 + below(8), i, seen = 0;
	long ret, taken = 0, got = 0;
	volatile struct aio_ring *ring;

	if (!own_context(ROUNDTRIP))
		return;
	ring = aio_ring(self->own);
	for (i = 0; i < nr; i++) {
		unsigned int n = self->next_tag % PRIVATE;

		list[i] = &self->iocbs[n];
		memset(list[i], 0, sizeof(*list[i]));
		list[i]->aio_lio_opcode = IOCB_CMD_PREAD;
		list[i]->aio_fildes = FD_SHARED + 1 + (direct && common->disk[0]);
		list[i]->aio_buf = (uintptr_t)self->buffer;
		list[i]->aio_nbytes = PAGE;
		list[i]->aio_offset = below(100) * PAGE;
		list[i]->aio_data = tag(self, IOCB_CMD_PREAD);
	}
	while (taken < nr) {
		ret = io_submit(self->own, nr - taken, list + taken);
		if (ret <= 0)
			break;
		taken += ret;
	}
	if (taken < nr) {
		complain("io_submit() to a context of one's own: %ld",
			 ret);
		failed = true;
	}
	while (got < taken) {
		if (by_ring) {
			unsigned int head = ring->head;

			if (head == __atomic_load_n(&ring->tail, __ATOMIC_ACQUIRE)) {
				struct timespec zero = { 0 };

				/* Asks for none: it only gives the processor away. */
				io_getevents(self->own, 0, 0, NULL, &zero);
				sched_yield();
				continue;
			}
			events[got] = *(struct io_event *)&ring->events[head];
			__atomic_store_n(&ring->head, (head + 1) % ring->nr, __ATOMIC_RELEASE);
			ret = 1;
		} else {
			ret = io_getevents(self->own, taken - got, taken - got, events + got, NULL);
			if (ret == -EINTR)
				continue;
		}
		if (ret <= 0)
			break;
		got += ret;
	}
	for (i = 0; i < got; i++) {
		unsigned int k;

		check_event(&events[i]);
		for (k = 0; k < nr; k++)
			if (events[i].data == list[k]->aio_data)
				seen |= 1 << k;
		failed |= events[i].res != (long)PAGE;
	}
	failed |= got != taken || seen != (1U << taken) - 1;
	if (failed)
		complain("round trip: %ld of %u taken, %ld events, those of %x, last %ld",
			 taken, nr, got, seen, ret);
	count(ROUNDTRIP, failed ? -EIO : 0);
	if (failed || percent(10)) {
		ret = io_destroy(self->own);
		if (ret)
			complain("io_destroy() of one's own: %ld", ret);
		self->own = 0;
	}
}

/* The result of one request in a context of one's own. */
static long run_own(const struct iocb *iocb)
{
	unsigned int n = self->next_tag % PRIVATE;
	struct iocb *mine = &self->iocbs[n];
	struct io_event event = { 0 };
	long ret;

	*mine = *iocb;
	mine->aio_data = tag(self, mine->aio_lio_opcode);
	ret = aio_submit_one(self->own, mine);
	if (ret != 1) {
		complain("io_submit() of opcode %u to a context of one's own: %ld",
			 mine->aio_lio_opcode, ret);
		return -EIO;
	}
	do {
		ret = io_getevents(self->own, 1, 1, &event, NULL);
	} while (ret == -EINTR);
	/* Not check_event(): the descriptor is wanted still. */
	if (ret != 1 || event.obj != (uintptr_t)mine || event.data != mine->aio_data) {
		complain("the event of opcode %u: %ld, data %llx", mine->aio_lio_opcode, ret,
			 (unsigned long long)event.data);
		return -EIO;
	}
	return event.res;
}

/* A file from beginning to end: what is opened is one file, and it is closed again. */
static void op_pathtrip(void)
{
	char prefix[32], old[64], new[64], path[PATH_MAX] = "";
	unsigned long wrong = 0;
	struct renameat_info info;
	struct iocb iocb;
	const char *name;
	long fd, ret[4];

	if (!own_context(PATHTRIP))
		return;
	snprintf(prefix, sizeof(prefix), OWN "%u-", self->nr);
	/* In each life another one: who was killed has left his. */
	snprintf(old, sizeof(old), "%s%lu-%d", prefix, self->at, getpid());
	snprintf(new, sizeof(new), "%s%lu-new", prefix, self->at);
	prep_open(&iocb, AT_FDCWD, old, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	fd = run_own(&iocb);
	/* Too many may be open that belong to events nobody has looked at. */
	if (fd == -EMFILE) {
		sweep(NULL);
		count(PATHTRIP, 0);
		return;
	}
	if (fd < 0) {
		complain("open of %s: %ld", old, fd);
		count(PATHTRIP, fd);
		return;
	}
	name = opened_name(fd, path, sizeof(path));
	if (!name || strcmp(name, old) || fcntl(fd, F_GETFD) != FD_CLOEXEC)
		wrong |= 1;
	if (write(fd, self->buffer, 3 * PAGE) != (ssize_t)(3 * PAGE))
		wrong |= 2;
	aio_prep(&iocb, IOCB_CMD_READAHEAD, fd, NULL, 9 * PAGE, PAGE);
	ret[0] = run_own(&iocb);
	prep_rename(&iocb, &info, AT_FDCWD, old, new, 0);
	ret[1] = run_own(&iocb);
	aio_prep(&iocb, IOCB_CMD_UNLINKAT, AT_FDCWD, new, 0, 0);
	ret[2] = run_own(&iocb);
	prep_open(&iocb, AT_FDCWD, new, O_RDONLY | O_CLOEXEC, 0);
	ret[3] = run_own(&iocb);
	close(fd);
	if (ret[0] != 2 * (long)PAGE || ret[1] || ret[2] || ret[3] != -ENOENT)
		wrong |= 4;
	/* Nor is there another descriptor of it. */
	if (percent(20) && sweep(prefix) > 0)
		wrong |= 8;
	if (wrong)
		complain("wrong (%lx): %ld is %s; read ahead %ld, rename %ld, unlink %ld, open %ld",
			 wrong, fd, path, ret[0], ret[1], ret[2], ret[3]);
	count(PATHTRIP, wrong ? -EIO : 0);
}

static void op_sweep(void)
{
	result(SWEEP, sweep(NULL), 0, 0);
}

static void op_cancel(void)
{
	struct thread *t = &threads[below(nr_threads)];
	bool dirty = percent(20);
	unsigned int i, first = below(CLEAN + DIRTY), n = below(PRIVATE);
	struct io_event event;
	long ret = -EINVAL;
	struct iocb *iocb;

	/* Polls are what can be cancelled, besides requests to odd drivers. */
	if (percent(40)) {
		n = self->next_tag % PRIVATE;
		iocb = &self->iocbs[n];
		aio_prep(iocb, IOCB_CMD_POLL, fd_of(percent(50) ? SIGNALFD : EVENT),
			 (void *)(long)(percent(80) ? POLLIN : 0), 0, 0);
		iocb->aio_data = tag(self, IOCB_CMD_POLL);
		ret = aio_submit_one(ctx_of(any_context(false)), iocb);
		ADD(common->counters[POLL].begun, 1);
		count(POLL, ret);
		ret = -EINVAL;
		t = self;
		dirty = false;
	}
	iocb = dirty ? &shared_iocbs[n % SHARED] : &t->iocbs[n];
	for (i = 0; i < PRIVATE && iocb->aio_lio_opcode != IOCB_CMD_POLL; i++)
		iocb = dirty ? &shared_iocbs[(n + i) % SHARED] : &t->iocbs[(n + i) % PRIVATE];

	/* Nobody knows in which it is. */
	for (i = 0; i < CLEAN + DIRTY && ret == -EINVAL; i++)
		ret = io_cancel(ctx_of(GET(contexts[(first + i) % (CLEAN + DIRTY)])), iocb, &event);
	result(CANCEL, ret == -EINPROGRESS ? 0 : ret, 0, EINVAL);
}

static void op_cancel_bad(void)
{
	struct iocb *iocb = percent(50) ? address() : &self->iocbs[0];

	result(CANCEL_BAD, io_cancel((uintptr_t)address(), iocb, address()), 0, EINVAL, EFAULT,
	       EINPROGRESS);
}

/* ------------------------------------------------------ events */

static struct timespec *some_time(struct timespec *ts, bool may_be_long)
{
	static const long times[] = { 0, 0, 0, 1, 50000, 500000, 2000000 };

	*ts = (struct timespec){ 0, ANY(times) };
	/* The ticker ends it. */
	if (percent(2) && may_be_long)
		return NULL;
	return ts;
}

static void got_events(enum kind kind, long ret, long nr, struct io_event *events, bool dirty)
{
	long i;

	result(kind, ret, nr, EINVAL, EINTR);
	for (i = 0; i < ret && ret <= nr && !dirty; i++)
		check_event(&events[i]);
}

static void op_getevents(void)
{
	bool dirty = percent(30);
	unsigned long handle = any_context(dirty);
	struct io_event events[MAX_BATCH];
	long nr = 1 + below(MAX_BATCH), min = percent(50) ? 0 : below(nr + 1);
	struct timespec ts;

	got_events(GETEVENTS,
		   io_getevents(ctx_of(handle), min, nr, events, some_time(&ts, true)),
		   nr, events, dirty);
}

static void op_getevents_bad(void)
{
	static const long numbers[] = { 0, -1, LONG_MIN, LONG_MAX, 1, 2, 100 };
	aio_context_t ctx = percent(80) ? ctx_of(any_context(true)) : (uintptr_t)address();
	struct timespec ts = { percent(50) ? 0 : -1, percent(50) ? 0 : -1 };
	long min = ANY(numbers), nr = ANY(numbers);
	void *where = percent(20) ? bad_none : percent(20) ? bad_readonly : bad_edge;
	struct timespec *when = percent(10) ? (struct timespec *)bad_none : &ts;

	/* What waits for ever is ended by the ticker. */
	result(GETEVENTS_BAD, io_getevents(ctx, min, nr, where, when), LONG_MAX, EINVAL, EFAULT,
	       EINTR);
}

static void op_pgetevents(void)
{
	bool dirty = percent(30), bad = percent(5);
	unsigned long handle = any_context(dirty);
	struct io_event events[MAX_BATCH];
	struct aio_sigset set;
	long nr = 1 + below(MAX_BATCH), min = percent(50) ? 0 : below(nr + 1), ret;
	unsigned long mask[2] = { 0 };
	struct timespec ts, *when = some_time(&ts, true);
	sigset_t blocked;

	/* One signal is let in or kept out; that of the ticker never is kept out. */
	sigemptyset(&blocked);
	sigaddset(&blocked, SIG_OPS);
	sigprocmask(SIG_BLOCK, &blocked, NULL);
	if (percent(50))
		mask[0] = 1UL << (SIG_OPS - 1);
	set = (struct aio_sigset){ bad ? bad_none : (char *)mask, bad && percent(50) ? 5 : 8 };
	if (percent(30))
		syscall(__NR_tgkill, getpid(), self->tid, SIG_OPS);
	ret = io_pgetevents(ctx_of(handle), min, nr, events, when, percent(10) ? NULL : &set);
	if (bad)
		result(PGETEVENTS, ret, nr, EINVAL, EFAULT, EINTR);
	else
		got_events(PGETEVENTS, ret, nr, events, dirty);
	for (; bad && !dirty && ret > 0; ret--)
		check_event(&events[ret - 1]);
	sigprocmask(SIG_UNBLOCK, &blocked, NULL);
}

static void op_signal(void)
{
	pid_t tid = GET(threads[below(nr_threads)].tid);

	result(SIGNAL, aio_result(syscall(__NR_tgkill, getpid(), tid, SIG_OPS)), 0, ESRCH, EINVAL);
}

/* ------------------------------------------------------ rings */

static void op_mremap(void)
{
	unsigned int slot = CLEAN + below(DIRTY);
	unsigned long old = GET(contexts[slot]), new;
	void *at = arena(), *got;

	got = mremap((void *)ctx_of(old), bytes_of(old), bytes_of(old),
		     MREMAP_MAYMOVE | MREMAP_FIXED, at);
	result(MREMAP, got == MAP_FAILED ? -errno : 0, 0, EINVAL, EFAULT, ENOMEM);
	if (got == MAP_FAILED)
		return;
	new = (unsigned long)got | (old & (PAGE - 1));
	__atomic_compare_exchange_n(&contexts[slot], &old, new, false, __ATOMIC_ACQ_REL,
				    __ATOMIC_RELAXED);
}

static void op_mremap_part(void)
{
	unsigned long handle = any_context(true);
	size_t len = bytes_of(handle), from = percent(50) ? PAGE : 0, old = len, new = len;
	void *got;

	switch (below(4)) {
	case 0:
		old = 0;
		break;
	case 1:
		old = PAGE;
		break;
	case 2:
		new = len + PAGE;
		break;
	default:
		old = len > from ? len - from : len;
		break;
	}
	/* The kernel must not choose the place: it would be one for other rings. */
	got = mremap((void *)ctx_of(handle) + from, old, new, MREMAP_MAYMOVE | MREMAP_FIXED,
		     arena());
	result(MREMAP_PART, got == MAP_FAILED ? -errno : 0, 0, EINVAL, EFAULT, ENOMEM);
}

static void op_munmap(void)
{
	unsigned long handle = any_context(true);
	size_t len = bytes_of(handle);
	char *at = (char *)ctx_of(handle);

	if (at < (char *)ARENA) {
		count(MUNMAP, 0);
		return;
	}
	if (percent(30))
		len = PAGE;
	else if (percent(30))
		at += PAGE;
	result(MUNMAP, munmap(at, len) ? -errno : 0, 0, EINVAL);
}

static void op_madvise(void)
{
	static const int advice[] = {
		MADV_DONTNEED, MADV_REMOVE, MADV_WILLNEED, 20 /* COLD */, 21 /* PAGEOUT */,
		22 /* POPULATE_READ */, 23 /* POPULATE_WRITE */, MADV_DOFORK, MADV_MERGEABLE,
	};
	unsigned long handle = any_context(true);
	void *at = (void *)ctx_of(handle);
	long ret;

	switch (below(4)) {
	case 0:
		ret = mprotect(at, PAGE, percent(50) ? PROT_NONE : PROT_READ | PROT_WRITE);
		break;
	case 1:
		ret = msync(at, bytes_of(handle), MS_SYNC | MS_INVALIDATE);
		break;
	default:
		ret = madvise(at, bytes_of(handle), ANY(advice));
	}
	result(MADVISE, ret ? -errno : 0, 0, EINVAL, ENOMEM, EFAULT, EBADF, EACCES, EPERM, EBUSY,
	       EAGAIN, EHWPOISON, EOPNOTSUPP, EIO, ENODEV);
}

static void op_scribble(void)
{
	static const __u32 values[] = { 0, 1, 2, 100, 0x7fffffff, 0x80000000, 0xffffffff };
	volatile struct aio_ring *ring = aio_ring(ctx_of(any_context(true)));
	unsigned int what = below(20), n = below(64);
	__u32 value = percent(70) ? ANY(values) : rnd();

	if ((char *)ring < (char *)ARENA) {
		count(SCRIBBLE, -EINVAL);
		return;
	}
	if (sigsetjmp(fault, 1)) {
		ADD(common->faults, 1);
		count(SCRIBBLE, -EFAULT);
		return;
	}
	may_fault = 1;
	switch (what) {
	case 0 ... 4:
		ring->head = value;
		break;
	case 5 ... 7:
		ring->head = ring->tail;
		break;
	case 8 ... 9:
		ring->head = ring->nr + (int)below(3) - 1;
		break;
	case 10 ... 13:
		ring->tail = value;
		break;
	case 14:
		ring->nr = value;
		break;
	case 15: {
		__u32 id = ring->id;

		/* For a moment only: nobody could destroy it. */
		ring->id = percent(70) ? below(40) : value;
		sched_yield();
		ring->id = id;
		break;
	}
	case 16:
		ring->magic = value;
		break;
	case 17:
		ring->header_length = value;
		break;
	default:
		ring->events[n].obj = value;
		break;
	}
	may_fault = 0;
	count(SCRIBBLE, 0);
}

/* ------------------------------------------------------ contexts of io_setup2() */

static unsigned int some_flags(void)
{
	static const unsigned int flags[] = {
		USERIOCB, USERIOCB | FIXEDBUFS, USERIOCB | FIXEDBUFS, IOPOLL, USERIOCB | IOPOLL,
		USERIOCB | FIXEDBUFS | IOPOLL, USERIOCB | FIXEDBUFS | IOPOLL,
	};

	return ANY(flags);
}

/* A request with the iocb @n of @iocbs, which other threads may write at the same time. */
static void make_extended(struct iocb *iocbs, char *buffers, unsigned int n, bool polled)
{
	char *own = buffers + n * EXT_BUFFER;
	struct iocb iocb;

	if (percent(polled ? 10 : 60)) {
		if (percent(20))
			make_hostile(&iocb, shared_vectors[n]);
		else
			make_good(&iocb, shared_vectors[n]);
	} else {
		aio_prep(&iocb, percent(60) ? IOCB_CMD_PREAD : IOCB_CMD_PWRITE,
			 percent(80) ? FD_SHARED + 3 : fd_of(SLOW), NULL, PAGE,
			 below(100) * PAGE);
	}
	if (iocb.aio_lio_opcode == IOCB_CMD_PREAD || iocb.aio_lio_opcode == IOCB_CMD_PWRITE) {
		size_t at = below(4) * PAGE;

		iocb.aio_buf = (uintptr_t)own + at;
		iocb.aio_nbytes = EXT_BUFFER - at;
		if (percent(5))
			iocb.aio_nbytes = rnd() & 0xffff;
	}
	/* Nothing of this waits in io_submit(). */
	if (iocb.aio_fildes == (__u32)fd_of(WAIT_R) || iocb.aio_fildes == (__u32)fd_of(WAIT_W))
		iocb.aio_fildes = fd_of(PIPE_R);
	iocbs[n] = iocb;
}

static void op_setup2(void)
{
	unsigned int slot = below(EXTENDED), flags = some_flags(), i;
	struct iocb *iocbs = extended_iocbs[slot];
	bool fill = percent(70), bad = percent(20);
	aio_context_t ctx = 0, *where = &ctx;
	unsigned long old;
	size_t len = bytes_of(handle_of(0, EXT_NR));
	void *at, *to = extended_arena();
	long ret;

	for (i = 0; i < EXTENDED && fill && GET(extended[slot]); i++)
		slot = (slot + 1) % EXTENDED;
	iocbs = extended_iocbs[slot];
	for (i = 0; i < EXT_NR; i++) {
		struct iocb iocb;

		aio_prep(&iocb, IOCB_CMD_PREAD, FD_SHARED + 1,
			 extended_buffers[slot] + i * EXT_BUFFER,
			 percent(80) ? EXT_BUFFER : below(EXT_BUFFER), 0);
		iocbs[i] = iocb;
	}
	if (bad) {
		switch (below(5)) {
		case 0:
			flags = rnd();
			break;
		case 1:
			iocbs = address();
			break;
		case 2:
			iocbs[below(EXT_NR)].aio_buf = (uintptr_t)address();
			break;
		case 3:
			iocbs[below(EXT_NR)].aio_nbytes = rnd() << below(40);
			break;
		default:
			where = (aio_context_t *)bad_readonly;
		}
	}
	ret = io_setup2(EXT_NR, flags, flags & USERIOCB ? iocbs : NULL, where);
	result(SETUP2, ret, 0, EINVAL, EFAULT, EAGAIN, ENOMEM);
	if (ret)
		return;
	at = mremap((void *)ctx, len, len, MREMAP_MAYMOVE | MREMAP_FIXED, to);
	if (at == MAP_FAILED) {
		complain("mremap() of a new ring of io_setup2(): %s", strerror(errno));
		io_destroy(ctx);
		return;
	}
	/* One with other iocbs is not for others. */
	if (bad) {
		ADD(common->counters[DESTROY2].begun, 1);
		destroy((unsigned long)at, DESTROY2);
		return;
	}
	old = SWAP(extended[slot], (unsigned long)at | flags);
	if (old && !percent(5)) {
		ADD(common->counters[DESTROY2].begun, 1);
		destroy(old, DESTROY2);
	}
}

static void op_submit2(void)
{
	unsigned int slot = below(EXTENDED), nr = 1 + below(EXT_NR), i;
	unsigned long handle = GET(extended[slot]), names[EXT_NR];

	for (i = 0; i < nr; i++) {
		unsigned int n = below(EXT_NR);

		make_extended(extended_iocbs[slot], extended_buffers[slot], n,
			      handle & IOPOLL);
		names[i] = handle & USERIOCB ? n : (unsigned long)&extended_iocbs[slot][n];
		if (percent(1))
			names[i] = rnd();
	}
	submit_result(SUBMIT2, aio_submit_indices(ctx_of(handle), nr, names), nr);
}

static void op_getevents2(void)
{
	unsigned long handle = GET(extended[below(EXTENDED)]);
	struct io_event events[MAX_BATCH];
	long nr = 1 + below(MAX_BATCH), min = percent(50) ? 0 : below(nr + 1), ret, i;
	struct timespec ts;

	ret = io_getevents(ctx_of(handle), min, nr, events, some_time(&ts, true));
	result(GETEVENTS2, ret, nr, EINVAL, EINTR);
	for (i = 0; i < ret && ret <= nr; i++)
		if (handle & USERIOCB && events[i].obj >= EXT_NR)
			complain("an event of no iocb: obj %llx res %lld",
				 (unsigned long long)events[i].obj, (long long)events[i].res);
}

static void op_cancel2(void)
{
	unsigned int slot = below(EXTENDED), n = below(EXT_NR);
	unsigned long handle = GET(extended[slot]);
	struct io_event event;
	void *name = (void *)(unsigned long)n;
	long ret;

	if (!(handle & USERIOCB))
		name = &extended_iocbs[slot][n];
	ret = io_cancel(ctx_of(handle), name, &event);
	/* Without a context the index is taken for an address, of which the key is read. */
	result(CANCEL2, ret == -EINPROGRESS ? 0 : ret, 0, EINVAL, EFAULT);
}

static void op_destroy2(void)
{
	unsigned int slot = below(EXTENDED);

	destroy(percent(50) ? SWAP(extended[slot], 0) : GET(extended[slot]), DESTROY2);
}

/* Other pages where those are that are pinned. */
static void op_remap2(void)
{
	unsigned int slot = below(EXTENDED);
	char *at = percent(30) ? (char *)extended_iocbs[slot] :
		extended_buffers[slot] + below(EXT_NR * EXT_BUFFER / PAGE) * PAGE;
	long ret;

	switch (below(4)) {
	case 0:
		ret = madvise(at, PAGE, MADV_DONTNEED);
		break;
	case 1:
		ret = madvise(at, PAGE, 21 /* PAGEOUT */);
		break;
	case 2:
		ret = madvise(at, PAGE, MADV_MERGEABLE);
		break;
	default:
		ret = mmap(at, PAGE, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED ? -1 : 0;
	}
	result(REMAP2, ret ? -errno : 0, 0, EINVAL, ENOMEM, EAGAIN);
}

/* The whole way, exactly, in a context of some kind that this thread has for itself. */
static void op_roundtrip2(void)
{
	unsigned int nr = 1 + below(EXT_NR), i, seen = 0;
	unsigned long names[EXT_NR];
	struct io_event events[EXT_NR];
	long ret = 0, taken = 0, got = 0, k;
	bool failed = false;
	int fd;

	if (!self->own2) {
		self->own2_flags = some_flags();
		for (i = 0; i < EXT_NR; i++)
			aio_prep(&self->iocbs2[i], IOCB_CMD_PREAD, -1,
				 self->buffers2 + i * PAGE, PAGE, 0);
		ret = io_setup2(EXT_NR, self->own2_flags,
				self->own2_flags & USERIOCB ? self->iocbs2 : NULL, &self->own2);
		/* The limits that others move may forbid it now. */
		if (ret) {
			self->own2 = 0;
			if (ret != -EAGAIN)
				complain("io_setup2() of one's own: %ld", ret);
			count(ROUNDTRIP2, 0);
			return;
		}
	}
	fd = self->own2_flags & IOPOLL || percent(40) ? FD_SHARED + 3 : FD_SHARED + 1;
	if (fcntl(fd, F_GETFD) < 0) {
		count(ROUNDTRIP2, 0);
		return;
	}
	for (i = 0; i < nr; i++) {
		aio_prep(&self->iocbs2[i], IOCB_CMD_PREAD, fd, self->buffers2 + i * PAGE, PAGE,
			 below(100) * PAGE);
		names[i] = self->own2_flags & USERIOCB ? i : (unsigned long)&self->iocbs2[i];
	}
	while (got < nr && !failed) {
		if (taken < nr) {
			ret = aio_submit_indices(self->own2, nr - taken, names + taken);
			if (ret > 0) {
				taken += ret;
			} else if (ret != -EAGAIN || taken == got) {
				failed = true;
				break;
			}
			if (taken < nr && percent(50))
				continue;
		}
		ret = io_getevents(self->own2, 1, EXT_NR, events, NULL);
		if (ret == -EINTR)
			continue;
		if (ret < 1 || ret > taken - got) {
			failed = true;
			break;
		}
		for (k = 0; k < ret; k++) {
			unsigned long n = events[k].obj;

			if (!(self->own2_flags & USERIOCB))
				n = (n - (unsigned long)self->iocbs2) / sizeof(struct iocb);
			if (n >= nr || seen & 1 << n || events[k].res != (long)PAGE)
				failed = true;
			else
				seen |= 1 << n;
		}
		got += ret;
	}
	if (failed)
		complain("round trip, flags %x: %ld of %u taken, %ld events, those of %x, last %ld",
			 self->own2_flags, taken, nr, got, seen, ret);
	count(ROUNDTRIP2, failed ? -EIO : 0);
	if (failed || percent(20)) {
		ret = io_destroy(self->own2);
		if (ret)
			complain("io_destroy() of one's own: %ld", ret);
		self->own2 = 0;
	}
}

/* ------------------------------------------------------ processes */

static long child_status(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	if (WIFEXITED(status))
		return WEXITSTATUS(status);
	return 1000 + WTERMSIG(status);
}

/* No library function that takes a lock: another thread may have had it. */
static int fork_child(unsigned long parents)
{
	struct iocb iocb, *list[1] = { &iocb };
	struct io_event event;
	aio_context_t ctx = 0;
	long ret;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	alarm(120);
	if (aio_locked(getpid()) > 0)
		return 2;
	if (parents && io_submit(ctx_of(parents), 1, list) != -EINVAL)
		return 3;
	if (parents && io_destroy(ctx_of(parents)) != -EINVAL)
		return 4;
	if (parents && !madvise((void *)ctx_of(parents), PAGE, MADV_NORMAL))
		return 5;
	ret = io_setup(1 + below(40), &ctx);
	if (ret == -EAGAIN)
		return 0;
	if (ret)
		return 6;
	aio_prep(&iocb, IOCB_CMD_PREAD, FD_SHARED + 1, self->buffer, PAGE, 0);
	if (io_submit(ctx, 1, list) != 1)
		return 7;
	do {
		ret = io_getevents(ctx, 1, 1, &event, NULL);
	} while (ret == -EINTR);
	if (ret != 1 || event.res != (long)PAGE)
		return 8;
	aio_prep(&iocb, IOCB_CMD_POLL, fd_of(percent(50) ? WAIT_R : EVENT), (void *)POLLIN, 0, 0);
	io_submit(ctx, 1, list);
	if (percent(50) && io_destroy(ctx))
		return 9;
	return 0;
}

static void op_fork(void)
{
	/* A clean one, that is, at an address that is used for nothing else. */
	unsigned long handle = self->own ? handle_of(self->own, 16) : 0;
	pid_t pid = fork();
	long ret;

	if (!pid)
		_exit(fork_child(handle));
	if (pid < 0) {
		result(FORK, -errno, 0, EAGAIN);
		return;
	}
	ret = child_status(pid);
	if (ret)
		complain("child of fork: %ld", ret);
	count(FORK, ret ? -EIO : 0);
}

/* A process that shares the memory, and leaves behind what waits for its signals. */
static int share_child(void *arg)
{
	unsigned long handle = (unsigned long)arg;
	struct iocb *iocb = &shared_iocbs[below(SHARED)], *list[3] = { iocb, iocb, iocb };
	struct timespec zero = { 0 };
	struct io_event events[4];
	sigset_t set;
	int fd;

	sigemptyset(&set);
	sigaddset(&set, SIGRTMAX);
	fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	aio_prep(iocb, IOCB_CMD_POLL, fd, (void *)POLLIN, 0, 0);
	io_submit(ctx_of(handle), 1 + below(3), list);
	if (percent(50))
		io_getevents(ctx_of(handle), 0, 4, events, &zero);
	if (percent(30))
		close(fd);
	_exit(0);
}

static void op_share_vm(void)
{
	unsigned long handle = any_context(true);
	static struct { long double align[2048]; } stacks[PER_CELL];
	int pid;

	pid = clone(share_child, &stacks[self - threads + 1],
		    CLONE_VM | CLONE_VFORK | SIGCHLD, (void *)handle);
	if (pid < 0) {
		result(SHARE_VM, -errno, 0, EAGAIN);
		return;
	}
	result(SHARE_VM, child_status(pid) ? -EIO : 0, 0, 0);
}

static void op_exec(void)
{
	char number[16];

	snprintf(number, sizeof(number), "%u", cell);
	execl("/proc/self/exe", "stress", "--cell", number, NULL);
	complain("exec: %s", strerror(errno));
	_exit(1);
}

static void op_die(void)
{
	if (percent(70))
		kill(getpid(), SIGKILL);
	else
		_exit(99);
}

/* ------------------------------------------------------ files */

static void op_replace(void)
{
	unsigned int slot = below(FILES), kind = percent(90) ? slot : below(FILES);

	long ret;

	if (kind != slot && percent(50))
		ret = aio_result(dup3(fd_of(kind), fd_of(slot), O_CLOEXEC));
	else
		ret = install(kind, slot);
	result(REPLACE, ret, INT_MAX, EBADF, EBUSY, EINVAL);
}

static void op_close(void)
{
	unsigned int slot = below(FILES);

	result(CLOSE, close(fd_of(slot)) ? -errno : 0, 0, EBADF);
	/* Most of them come back soon, or there would be nothing to do I/O on. */
	if (percent(80))
		install(slot, slot);
}

/* Makes files ready, and what fills them empty. */
static void op_touch(void)
{
	static const __u8 ends[] = {
		PIPE_R, PIPE_W, EVENT, EVENT2, SOCK_A, SOCK_B, WAIT_W, WAIT_R, TIMER,
	};
	unsigned int kind = ANY(ends);
	struct pollfd p = { .fd = fd_of(kind), .events = POLLIN | POLLOUT };
	__u64 buf[600] = { 1 };
	size_t len = kind == EVENT || kind == EVENT2 ? 8 : 1 + below(sizeof(buf));
	long ret = -EAGAIN;

	/* It may not be what it is meant to be, and would wait then. */
	poll(&p, 1, 0);
	if (p.revents & POLLIN && percent(60))
		ret = aio_result(read(fd_of(kind), buf, sizeof(buf)));
	else if (p.revents & POLLOUT)
		ret = aio_result(write(fd_of(kind), buf, len));
	result(TOUCH, ret, LONG_MAX, EAGAIN, EBADF, EPIPE, EINTR, EINVAL, EFBIG, EISDIR, EIO,
	       ENOSPC, ECONNRESET, ENOTCONN, EFAULT);
}

/* ------------------------------------------------------ the machine */

static void op_compact(void)
{
	result(COMPACT, aio_write_text("/proc/sys/vm/compact_memory", "1"), 0, EINTR, EAGAIN);
}

/* The memory that contexts keep for requests is taken back. */
static void op_shrink(void)
{
	result(SHRINK, aio_write_text("/proc/sys/vm/drop_caches", "2"), 0, EINTR);
}

static void op_rlimit(void)
{
	static const rlim_t limits[] = {
		0, 64 << 10, 256 << 10, 1 << 20, 8 << 20, 8 << 20, 8 << 20, RLIM_INFINITY,
	};
	struct rlimit limit = { ANY(limits), RLIM_INFINITY };

	result(RLIMIT, setrlimit(RLIMIT_MEMLOCK, &limit) ? -errno : 0, 0, 0);
}

static void op_sysctl(void)
{
	long long max = percent(80) ? common->max_nr : 100 + (long long)below(5000);
	char text[32];

	if (common->can_memlock_sysctl && percent(70)) {
		const char *mode = percent(70) ? "1" : percent(50) ? "2" : "0";

		result(SYSCTL, aio_write_text(AIO_MEMLOCK, mode), 0, EINTR);
		return;
	}
	snprintf(text, sizeof(text), "%lld", max);
	result(SYSCTL, aio_write_text("/proc/sys/fs/aio-max-nr", text), 0, EINTR);
}

static void op_hotplug(void)
{
	char path[64];

	snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%lu/online",
		 1 + below(common->cpus - 1));
	result(HOTPLUG, aio_write_text(path, percent(60) ? "1" : "0"), 0, EBUSY, EINVAL, EINTR,
	       EAGAIN, EIO);
}

static void (*const functions[OPS])(void) = {
	[SETUP] = op_setup, [SETUP_BAD] = op_setup_bad, [DESTROY] = op_destroy,
	[DESTROY_BAD] = op_destroy_bad, [SUBMIT] = op_submit,
	[SUBMIT_DIRTY] = op_submit_dirty, [SUBMIT_BAD] = op_submit_bad,
	[ROUNDTRIP] = op_roundtrip, [CANCEL] = op_cancel, [CANCEL_BAD] = op_cancel_bad,
	[GETEVENTS] = op_getevents, [GETEVENTS_BAD] = op_getevents_bad,
	[PGETEVENTS] = op_pgetevents, [SIGNAL] = op_signal, [MREMAP] = op_mremap,
	[MREMAP_PART] = op_mremap_part, [MUNMAP] = op_munmap, [MADVISE] = op_madvise,
	[SCRIBBLE] = op_scribble, [FORK] = op_fork, [SHARE_VM] = op_share_vm,
	[EXEC] = op_exec, [DIE] = op_die, [REPLACE] = op_replace, [CLOSE] = op_close,
	[TOUCH] = op_touch, [COMPACT] = op_compact, [SHRINK] = op_shrink,
	[RLIMIT] = op_rlimit,
	[SYSCTL] = op_sysctl, [HOTPLUG] = op_hotplug, [SETUP2] = op_setup2,
	[SUBMIT2] = op_submit2, [GETEVENTS2] = op_getevents2, [CANCEL2] = op_cancel2,
	[DESTROY2] = op_destroy2, [REMAP2] = op_remap2, [ROUNDTRIP2] = op_roundtrip2,
	[PATHTRIP] = op_pathtrip, [SWEEP] = op_sweep,
};

/* ------------------------------------------------------ a process of threads */

static void nothing(int sig)
{
}

static void on_fault(int sig)
{
	if (may_fault) {
		may_fault = 0;
		siglongjmp(fault, 1);
	}
	complain("signal %d", sig);
	signal(sig, SIG_DFL);
	raise(sig);
}

static enum kind choose(void)
{
	unsigned long n = below(common->total_weight);
	enum kind kind;

	for (kind = 0; kind < OPS; kind++) {
		if (!common->allowed[kind])
			continue;
		if (n < kinds[kind].weight)
			return kind;
		n -= kinds[kind].weight;
	}
	return ROUNDTRIP;
}

static pthread_barrier_t all_there;

static void *work(void *arg)
{
	struct stream *stream;
	unsigned long n;
	enum kind kind;

	self = arg;
	stream = &common->streams[self->nr];
	/* While one thread is in exec, no other can be made: EAGAIN. */
	pthread_barrier_wait(&all_there);
	SET(self->tid, aio_gettid());
	while ((n = GET(stream->next)) < stream->count) {
		SET(stream->next, n + 1);
		SET(self->at, n);
		self->rng = mix(common->seed * 1000003ULL + self->nr) ^ mix(n);
		kind = choose();
		self->kind = kind;
		ADD(common->counters[kind].begun, 1);
		functions[kind]();
	}
	if (self->own && self->nr & 1)
		io_destroy(self->own);
	if (self->own2 && self->nr & 1)
		io_destroy(self->own2);
	SET(self->ended, true);
	return NULL;
}

static void drop_ipc_lock(void)
{
	struct __user_cap_header_struct head = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct data[2];

	/* Who has it may lock what he likes. */
	if (!syscall(__NR_capget, &head, data)) {
		data[0].effective &= ~(1U << CAP_IPC_LOCK);
		data[0].permitted &= ~(1U << CAP_IPC_LOCK);
		syscall(__NR_capset, &head, data);
	}
}

static int run_cell(unsigned int nr)
{
	struct rlimit files = { FILE_LIMIT, FILE_LIMIT }, core = { 0, 0 };
	static const int ignored[] = { SIGPIPE, SIGXFSZ, SIGHUP };
	struct sigaction action = { .sa_handler = nothing };
	unsigned long at[PER_CELL] = { 0 };
	unsigned int i, running, ended = 0;
	struct iocb *iocbs;
	pthread_t ids[PER_CELL];
	char *memory;

	cell = nr;
	ADD(common->lives, 1);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	drop_ipc_lock();
	setrlimit(RLIMIT_FSIZE, &files);
	setrlimit(RLIMIT_CORE, &core);
	for (i = 0; i < ARRAY_SIZE(ignored); i++)
		signal(ignored[i], SIG_IGN);
	sigaction(SIG_OPS, &action, NULL);
	sigaction(SIG_TICKER, &action, NULL);
	action.sa_handler = on_fault;
	action.sa_flags = SA_NODEFER;
	sigaction(SIGSEGV, &action, NULL);
	sigaction(SIGBUS, &action, NULL);
	/* What was opened in the life before was to be closed by exec. */
	if (sweep(OWN))
		complain("files are open from the life before");
	sweep(NULL);
	if (chdir(common->paths))
		return 1;
	for (i = 0; i < FILES; i++)
		install(i, i);

	bad_none = aio_pages(4 * PAGE, PROT_NONE);
	bad_readonly = aio_pages(4 * PAGE, PROT_READ);
	bad_edge = aio_guarded(64);
	shared_iocbs = aio_guarded(SHARED * sizeof(*shared_iocbs));
	shared_vectors = aio_guarded(SHARED * sizeof(*shared_vectors));
	if (!shared_iocbs || !shared_vectors || !bad_edge)
		return 1;
	/* Below the arena, where the kernel will never put anything. */
	bad_gone = (char *)ARENA - 16 * PAGE;
	nr_threads = common->threads - nr * PER_CELL;
	if (nr_threads > PER_CELL)
		nr_threads = PER_CELL;
	for (i = 0; i < nr_threads; i++) {
		struct thread *t = &threads[i];

		/* Lengths are made up: nothing else must lie behind what is read into. */
		memory = aio_guarded(BUFFER);
		iocbs = aio_guarded(PRIVATE * sizeof(*iocbs));
		t->seen = aio_pages(TAGS / 8, PROT_READ | PROT_WRITE);
		t->vectors = aio_guarded(PRIVATE * sizeof(*t->vectors));
		if (!memory || !iocbs || t->seen == MAP_FAILED || !t->vectors) {
			complain("no memory for a thread");
			return 1;
		}
		t->iocbs2 = aio_iocbs(EXT_NR);
		t->buffers2 = aio_pages(EXT_NR * PAGE, PROT_READ | PROT_WRITE);
		if (!t->iocbs2 || t->buffers2 == MAP_FAILED) {
			complain("no memory for a thread");
			return 1;
		}
		t->nr = nr * PER_CELL + i;
		t->buffer = memory;
		t->iocbs = iocbs;
	}
	for (i = 0; i < EXTENDED; i++) {
		extended_iocbs[i] = aio_pages(PAGE, PROT_READ | PROT_WRITE);
		extended_buffers[i] = aio_guarded(EXT_NR * EXT_BUFFER);
		if (extended_iocbs[i] == MAP_FAILED || !extended_buffers[i])
			return 1;
	}
	pthread_barrier_init(&all_there, NULL, nr_threads + 1);
	for (i = 0; i < nr_threads; i++) {
		int ret = pthread_create(&ids[i], NULL, work, &threads[i]);

		if (ret) {
			complain("no thread: %s", strerror(ret));
			return 1;
		}
	}
	pthread_barrier_wait(&all_there);

	/* The ticker: who is where he was is woken. */
	do {
		aio_sleep_ms(60);
		running = 0;
		for (i = 0; i < nr_threads; i++) {
			struct thread *t = &threads[i];

			if (GET(t->ended))
				continue;
			running++;
			if (GET(t->at) == at[i] && GET(t->tid))
				syscall(__NR_tgkill, getpid(), t->tid, SIG_TICKER);
			at[i] = GET(t->at);
		}
	} while (running);
	for (i = 0; i < nr_threads; i++, ended++)
		pthread_join(ids[i], NULL);
	/* Half of the contexts are left to the end of the process. */
	for (i = 0; i < CLEAN + DIRTY; i += 2)
		io_destroy(ctx_of(contexts[i]));
	for (i = 0; i < EXTENDED; i += 2)
		io_destroy(ctx_of(extended[i]));
	return 0;
}

/* ------------------------------------------------------ the supervisor */

static long slab_objects(const char *cache)
{
	char path[128], line[512], name[64];
	long active, found = -1;
	FILE *f;

	snprintf(path, sizeof(path), "/sys/kernel/slab/%s/shrink", cache);
	if (aio_write_text(path, "1"))
		return -1;
	f = fopen("/proc/slabinfo", "re");
	if (!f)
		return -1;
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "%63s %ld", name, &active) == 2 && !strcmp(name, cache))
			found = active;
	fclose(f);
	return found;
}

static bool back_to(long (*measure)(const char *), const char *what, long base, long *now)
{
	int i;

	for (i = 0; i < 1500; i++) {
		*now = measure(what);
		if (*now <= base)
			return true;
		aio_sleep_ms(20);
	}
	return false;
}

static long measure_nr(const char *unused)
{
	return aio_nr();
}

static long measure_pinned(const char *unused)
{
	return aio_pinned();
}

static long measure_inodes(const char *unused)
{
	return aio_ring_inodes();
}

static pid_t start_cell(unsigned int nr)
{
	pid_t pid = fork();

	if (!pid)
		_exit(run_cell(nr));
	return pid;
}

static void show_stacks(pid_t pid)
{
	char command[160];

	snprintf(command, sizeof(command),
		 "for t in /proc/%d/task/*; do echo \"# $t\"; sed 's/^/#   /' $t/syscall $t/stack; done 2>/dev/null",
		 pid);
	fflush(stdout);
	if (system(command))
		ksft_print_msg("no stacks\n");
}

/* Runs all cells to their end. False if something hangs. */
static bool supervise(unsigned int cells, unsigned int patience)
{
	pid_t pids[MAX_THREADS / PER_CELL];
	unsigned int i, running = cells;
	unsigned long last[MAX_THREADS / PER_CELL] = { 0 };
	long long since[MAX_THREADS / PER_CELL];
	bool good = true, killed = false;

	for (i = 0; i < cells; i++) {
		pids[i] = start_cell(i);
		since[i] = aio_now_ns();
	}
	while (running) {
		int status;
		pid_t pid;

		aio_sleep_ms(20);
		while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
			for (i = 0; i < cells && pids[i] != pid; i++)
				;
			if (i == cells)
				continue;	/* somebody's orphan */
			pids[i] = 0;
			since[i] = aio_now_ns();
			if (WIFEXITED(status) && !WEXITSTATUS(status)) {
				running--;
			} else if (killed) {
				running--;
			} else if ((WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) ||
				   (WIFEXITED(status) && WEXITSTATUS(status) == 99)) {
				pids[i] = start_cell(i);
			} else {
				ksft_print_msg("process %u ended with status %x\n", i, status);
				good = false;
				running--;
			}
		}
		for (i = 0; i < cells; i++) {
			unsigned long sum = common->lives;
			unsigned int t;

			if (!pids[i])
				continue;
			for (t = i * PER_CELL; t < (i + 1) * PER_CELL && t < common->threads; t++)
				sum += GET(common->streams[t].next);
			if (sum != last[i]) {
				last[i] = sum;
				since[i] = aio_now_ns();
			} else if (aio_now_ns() - since[i] > patience * 1000000000LL) {
				if (killed) {
					ksft_print_msg("process %u can't be killed\n", i);
					return false;
				}
				ksft_print_msg("process %u hangs\n", i);
				show_stacks(pids[i]);
				kill(pids[i], SIGKILL);
				since[i] = aio_now_ns();
				killed = true;
				good = false;
			}
		}
	}
	return good;
}

static void online_all(void)
{
	char path[64];
	unsigned int i;

	for (i = 1; i < common->cpus; i++) {
		snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%u/online", i);
		aio_write_text(path, "1");
	}
}

static bool parse_kinds(char *list)
{
	char *name;
	int k;

	memset(common->allowed, 0, sizeof(common->allowed));
	/* Without these nothing else has anything to do. */
	common->allowed[SETUP] = true;
	common->allowed[SUBMIT] = true;
	for (name = strtok(list, ","); name; name = strtok(NULL, ",")) {
		for (k = 0; k < OPS && strcmp(name, kinds[k].name); k++)
			;
		if (k == OPS)
			return false;
		common->allowed[k] = true;
	}
	return true;
}

/* What the machine can't do, or this user may not. */
static void look_around(void)
{
	struct rlimit limit = { 8 << 20, RLIM_INFINITY };
	int k;

	common->cpus = sysconf(_SC_NPROCESSORS_CONF);
	common->possible_cpus = aio_possible_cpus();
	common->max_nr = aio_max_nr();
	common->can_cpu = common->cpus > 1 &&
		!access("/sys/devices/system/cpu/cpu1/online", W_OK);
	common->can_compact = !access("/proc/sys/vm/compact_memory", W_OK);
	common->can_sysctl = !access("/proc/sys/fs/aio-max-nr", W_OK);
	common->can_memlock_sysctl = !access(AIO_MEMLOCK, W_OK);
	common->can_rlimit = !setrlimit(RLIMIT_MEMLOCK, &limit);
	if (!common->can_cpu)
		common->allowed[HOTPLUG] = false;
	if (!common->can_compact)
		common->allowed[COMPACT] = false;
	/* From then on there is no line in the log each time. */
	if (aio_write_text("/proc/sys/vm/drop_caches", "4"))
		common->allowed[SHRINK] = false;
	if (!common->can_sysctl)
		common->allowed[SYSCTL] = false;
	if (!common->can_rlimit)
		common->allowed[RLIMIT] = false;
	for (k = SETUP2; k <= ROUNDTRIP2; k++)
		if (!aio_has_setup2())
			common->allowed[k] = false;
	common->threaded = aio_auto_threads();
	for (k = PATHTRIP; k <= SWEEP; k++)
		if (!common->threaded)
			common->allowed[k] = false;
	for (k = 0; k < OPS; k++)
		if (common->allowed[k])
			common->total_weight += kinds[k].weight;
}

static void table(bool verbose)
{
	int k, e;

	ksft_print_msg("%-14s %9s %9s %9s %9s\n", "kind", "begun", "ok", "failed", "cut off");
	for (k = 0; k < KINDS; k++) {
		struct counter *c = &common->counters[k];
		unsigned long begun = c->begun ? c->begun : c->ok + c->failed;

		if (!begun)
			continue;
		ksft_print_msg("%-14s %9lu %9lu %9lu %9lu", kinds[k].name, begun, c->ok, c->failed,
			       begun - c->ok - c->failed);
		for (e = 0; e < 134 && verbose; e++)
			if (c->by_errno[e])
				printf(" %s:%lu", e ? strerrorname_np(e) : "other", c->by_errno[e]);
		printf("\n");
	}
}

/* A stress in which nothing succeeds is none. */
static bool enough(unsigned long ops)
{
	/* Too few for a judgement in hundreds; in a short run chance is more of it. */
	const unsigned long few = ops < 20000 ? 150 : 20;
	bool good = true;
	int k;

	for (k = 0; k < KINDS; k++) {
		struct counter *c = &common->counters[k];
		unsigned long done = c->ok + c->failed;

		if (done < few)
			continue;
		if (c->ok * 100 < done * kinds[k].succeed) {
			ksft_print_msg("%s: %lu of %lu succeeded, at least %u of 100 must\n",
				       kinds[k].name, c->ok, done, kinds[k].succeed);
			good = false;
		}
		if (c->failed * 100 < done * kinds[k].fail) {
			ksft_print_msg("%s: %lu of %lu failed, at least %u of 100 must\n",
				       kinds[k].name, c->failed, done, kinds[k].fail);
			good = false;
		}
	}
	return good;
}

static bool all_kinds_done(unsigned long ops)
{
	bool good = true;
	int k;

	for (k = 0; k < KINDS; k++) {
		struct counter *c = &common->counters[k];
		bool expected = k < OPS ? common->allowed[k] &&
			ops * kinds[k].weight / common->total_weight >= 20 : true;

		if (k >= OPENAT && k <= READAHEAD)
			expected = common->threaded;
		if (expected && !c->begun && !c->ok && !c->failed) {
			ksft_print_msg("%s: none was done\n", kinds[k].name);
			good = false;
		}
	}
	return good;
}

/* The same again, in this process and after all: the kernel is alive. */
static bool works(void)
{
	struct io_event event = { 0 };
	aio_context_t ctx = 0;
	struct iocb iocb;
	char buf[8];
	bool good;

	if (io_setup(4, &ctx))
		return false;
	aio_prep(&iocb, IOCB_CMD_PREAD, FD_SHARED + 1, buf, sizeof(buf), 0);
	good = aio_run(ctx, &iocb, &event) == 1 && event.res == sizeof(buf);
	return !io_destroy(ctx) && good;
}

/*
 * A directory for files that are opened by path: a file system of its own, if possible, which can
 * only be unmounted when none of them, and nothing on the way to them, is in use.
 */
static void make_paths(void)
{
	static const char * const names[] = { "f0", "f1", "f2", "sub/f0" };
	char path[PATH_MAX];
	unsigned int i;
	bool good;

	snprintf(common->paths, sizeof(common->paths), "%s/paths", common->dir);
	if (mkdir(common->paths, 0700))
		ksft_exit_fail_msg("no directory %s\n", common->paths);
	common->mounted = !mount("none", common->paths, "tmpfs", 0, "size=16m");
	snprintf(path, sizeof(path), "%s/sub", common->paths);
	good = !mkdir(path, 0700);
	snprintf(path, sizeof(path), "%s/fifo", common->paths);
	good &= !mkfifo(path, 0600);
	for (i = 0; i < ARRAY_SIZE(names); i++) {
		snprintf(path, sizeof(path), "%s/%s", common->paths, names[i]);
		good &= !close(open(path, O_CREAT | O_WRONLY, 0600));
	}
	if (!good)
		ksft_exit_fail_msg("no files in %s\n", common->paths);
}

static bool is_unmounted(void)
{
	int i;

	for (i = 0; i < 1500; i++) {
		if (!umount(common->paths))
			return true;
		if (errno != EBUSY)
			break;
		aio_sleep_ms(20);
	}
	ksft_print_msg("umount: %s\n", strerror(errno));
	umount2(common->paths, MNT_DETACH);
	return false;
}

static bool is_32bit_pointer(void)
{
	return sizeof(long) == 4;
}

int main(int argc, char **argv)
{
	static const struct option options[] = { { "cell", 1, NULL, 'C' }, { 0 } };
	static const char * const caches[] = { "kioctx", "aio_kiocb" };
	long inodes, objects[2], nr, now, pinned;
	unsigned long ops = aio_long() ? 20000 : is_32bit_pointer() ? 4000 : 7000, seed = 1;
	unsigned int nr_workers = 8, cells, patience = 120, i;
	struct aio_slow_disk slow = { 0 }, polled = { 0 };
	char *only = NULL, *dir = NULL;
	bool verbose = false, ended, good;
	long long taint, memlock;
	aio_context_t probe = 0;
	int opt, fd, as_cell = -1;
	long long start;

	while ((opt = getopt_long(argc, argv, "s:n:t:w:k:v", options, NULL)) != -1) {
		switch (opt) {
		case 's':
			seed = strtoul(optarg, NULL, 0);
			break;
		case 'n':
			ops = strtoul(optarg, NULL, 0);
			break;
		case 't':
			nr_workers = strtoul(optarg, NULL, 0);
			break;
		case 'w':
			patience = strtoul(optarg, NULL, 0);
			break;
		case 'k':
			only = optarg;
			break;
		case 'v':
			verbose = true;
			break;
		case 'C':
			as_cell = atoi(optarg);
			break;
		default:
			return 2;
		}
	}
	if (as_cell >= 0) {
		common = mmap(NULL, sizeof(*common), PROT_READ | PROT_WRITE, MAP_SHARED,
			      FD_SHARED, 0);
		return common == MAP_FAILED ? 1 : run_cell(as_cell);
	}
	if (!nr_workers || nr_workers > MAX_THREADS)
		return 2;

	ksft_print_header();
	ksft_set_plan(10);
	if (io_setup(1, &probe))
		ksft_exit_skip("no AIO here\n");
	io_destroy(probe);

	fd = memfd_create("stress", 0);
	if (fd < 0 || ftruncate(fd, sizeof(*common)) || dup2(fd, FD_SHARED) < 0)
		ksft_exit_fail_msg("no shared memory\n");
	close(fd);
	common = mmap(NULL, sizeof(*common), PROT_READ | PROT_WRITE, MAP_SHARED, FD_SHARED, 0);
	if (common == MAP_FAILED)
		ksft_exit_fail_msg("no shared memory\n");
	common->seed = seed;
	common->threads = nr_workers;
	memset(common->allowed, 1, sizeof(common->allowed));
	if (only && !parse_kinds(only))
		ksft_exit_fail_msg("-k: no such kind\n");
	look_around();
	for (i = 0; i < nr_workers; i++)
		common->streams[i].count = ops / nr_workers + (i < ops % nr_workers);

	/* What round trips read: nobody replaces these. */
	fd = memfd_create("stress", 0);
	if (fd < 0 || ftruncate(fd, 1 << 20) || dup2(fd, FD_SHARED + 1) < 0)
		ksft_exit_fail_msg("no file\n");
	close(fd);
	/* null_blk's disks can be polled, if nobody says otherwise. */
	if (aio_slow_disk_make(&slow, 2) && aio_poll_disk_fill(&slow, 64)) {
		snprintf(common->disk, sizeof(common->disk), "%s", slow.dev);
		fd = open(slow.dev, O_RDWR | O_DIRECT);
		if (fd >= 0)
			dup2(fd, FD_SHARED + 2);
	}
	/* With so little room that a request is refused now and then. */
	if (aio_poll_disk_make(&polled, 8)) {
		fd = open(polled.dev, O_RDWR | O_DIRECT);
		if (fd >= 0)
			dup2(fd, FD_SHARED + 3);
	}
	dir = getenv("TMPDIR");
	snprintf(common->dir, sizeof(common->dir), "%s/aio-stress-XXXXXX", dir ? dir : "/tmp");
	if (!mkdtemp(common->dir))
		ksft_exit_fail_msg("no directory %s\n", common->dir);
	make_paths();

	prctl(PR_SET_CHILD_SUBREAPER, 1);
	nr = aio_nr();
	pinned = aio_balance().pinned;
	memlock = aio_read_number(AIO_MEMLOCK);
	taint = aio_read_number("/proc/sys/kernel/tainted");
	inodes = aio_ring_inodes();
	for (i = 0; i < 2; i++)
		objects[i] = slab_objects(caches[i]);
	ksft_print_msg("seed %lu, %lu operations, %u threads, %u processors%s%s\n", seed, ops,
		       nr_workers, common->cpus, common->disk[0] ? "" : ", no slow disk",
		       is_32bit_pointer() ? ", 32 bit" : "");

	start = aio_now_ns();
	cells = (nr_workers + PER_CELL - 1) / PER_CELL;
	ended = supervise(cells, patience);
	if (common->can_cpu)
		online_all();
	if (common->can_sysctl) {
		char text[32];

		snprintf(text, sizeof(text), "%lld", common->max_nr);
		aio_write_text("/proc/sys/fs/aio-max-nr", text);
	}
	if (common->can_memlock_sysctl)
		aio_write_text(AIO_MEMLOCK, memlock == 0 ? "0" : memlock == 1 ? "1" : "2");
	while (waitpid(-1, NULL, WNOHANG) > 0)
		;

	table(verbose);
	ksft_print_msg("%lld s, %u lives of %u processes, %lu accesses to missing rings\n",
		       (aio_now_ns() - start) / 1000000000, common->lives, cells, common->faults);
	for (i = 0; i < common->complaints && i < 20; i++)
		ksft_print_msg("%s\n", common->complaint[i]);
	if (common->complaints > 20)
		ksft_print_msg("... %u in all\n", common->complaints);

	for (i = 0; i < nr_workers; i++)
		if (common->streams[i].next != common->streams[i].count) {
			ksft_print_msg("thread %u has begun %lu of %lu operations\n", i,
				       common->streams[i].next, common->streams[i].count);
			ended = false;
		}
	ksft_test_result(ended, "all processes came to their end\n");
	ksft_test_result(!common->complaints, "all results are allowed ones\n");
	good = enough(ops) & (only ? true : all_kinds_done(ops));
	ksft_test_result(good, "of each kind enough succeeded and failed\n");

	good = back_to(measure_nr, NULL, nr, &now);
	if (!good)
		ksft_print_msg("aio-nr is %ld, was %ld\n", now, nr);
	ksft_test_result(good && now == nr, "aio-nr is what it was\n");

	if (pinned < 0) {
		ksft_test_result_skip("pinned pages are released: %s\n",
				      "the kernel does not count them");
	} else {
		good = back_to(measure_pinned, NULL, pinned, &now);
		if (!good)
			ksft_print_msg("%ld pages are pinned, there were %ld\n", now, pinned);
		ksft_test_result(good, "pinned pages are released\n");
	}

	if (inodes < 0) {
		ksft_test_result_skip("ring inodes are gone: the kernel does not count them\n");
	} else {
		good = back_to(measure_inodes, NULL, inodes, &now);
		if (!good)
			ksft_print_msg("%ld ring inodes, there were %ld\n", now, inodes);
		ksft_test_result(good, "ring inodes are gone\n");
	}
	if (objects[0] < 0 && objects[1] < 0) {
		ksft_test_result_skip("objects are gone: the kernel does not count them\n");
	} else {
		for (i = 0, good = true; i < 2; i++) {
			if (objects[i] < 0) {
				ksft_print_msg("%s is not counted\n", caches[i]);
			} else if (!back_to(slab_objects, caches[i], objects[i], &now)) {
				ksft_print_msg("%s: %ld objects, there were %ld\n", caches[i], now,
					       objects[i]);
				good = false;
			}
		}
		ksft_test_result(good, "objects are gone\n");
	}
	if (common->mounted)
		ksft_test_result(is_unmounted(), "no file that was opened by path is in use\n");
	else
		ksft_test_result_skip("no file that was opened by path is in use: %s\n",
				      "no file system of its own");
	now = aio_read_number("/proc/sys/kernel/tainted");
	if (now != taint)
		ksft_print_msg("tainted is %ld, was %lld\n", now, taint);
	ksft_test_result(now == taint, "the kernel has found no error\n");
	ksft_test_result(works(), "the kernel is alive\n");

	{
		char command[PATH_MAX + 16];

		snprintf(command, sizeof(command), "rm -rf '%s'", common->dir);
		if (system(command))
			ksft_print_msg("can't remove %s\n", common->dir);
	}
	close(FD_SHARED + 3);
	aio_slow_disk_remove(&polled);
	aio_slow_disk_remove(&slow);
	ksft_finished();
}
