// SPDX-License-Identifier: GPL-2.0
/*
 * RLIMIT_MEMLOCK and fs.aio-memlock: limits of the memory that contexts take.
 *
 * Held here: every page of a ring is charged to the locked memory of the process
 * (VmLck) before io_setup() returns, and given back when io_destroy() returns, on
 * every failing path of io_setup(), and at the end of the process; over the limit
 * io_setup() fails with EAGAIN, unless the process has CAP_IPC_LOCK or
 * fs.aio-memlock is 0; the charge counts for mlock() as mlock()'s does here.
 *
 * With a number as its argument, the program repeats the procedure of the posting
 * that proposed this in 2009, with that many bytes as the limit: the largest
 * context, and the number of contexts for one event.
 *
 * Kernels without fs.aio-memlock skip all of it.
 */
#include <linux/capability.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "../kselftest_harness.h"
#include "aio_test.h"

#define MAX_NR		"/proc/sys/fs/aio-max-nr"
#define NO_MEMLOCK	"no " AIO_MEMLOCK
#define NOT_ROOT	"needs root"
#define MANY		"16777216"

static long long locked(void)
{
	return aio_locked(getpid());
}

/* Takes CAP_IPC_LOCK away from the calling thread. */
static int drop_ipc_lock(void)
{
	struct __user_cap_header_struct head = {
		.version = _LINUX_CAPABILITY_VERSION_3,
	};
	struct __user_cap_data_struct data[2];

	if (syscall(__NR_capget, &head, data))
		return -errno;
	data[0].effective &= ~(1U << CAP_IPC_LOCK);
	data[0].permitted &= ~(1U << CAP_IPC_LOCK);
	data[0].inheritable &= ~(1U << CAP_IPC_LOCK);
	return syscall(__NR_capset, &head, data) ? -errno : 0;
}

static int limit(unsigned long bytes)
{
	struct rlimit rlim = { bytes, bytes };

	return setrlimit(RLIMIT_MEMLOCK, &rlim) ? -errno : 0;
}

/* The largest number of events that a context can be created for, and the error for more. */
static unsigned int largest(long *error)
{
	unsigned int good = 0, bad = 1 << 23;
	aio_context_t ctx;
	long ret;

	*error = 0;
	while (good + 1 < bad) {
		unsigned int nr = good + (bad - good) / 2;

		ctx = 0;
		ret = io_setup(nr, &ctx);
		if (!ret) {
			good = nr;
			io_destroy(ctx);
		} else {
			bad = nr;
			*error = ret;
		}
	}
	return good;
}

/*
 * How many contexts for one event there can be, and the error for one more. In a
 * child, whose end destroys them faster than one io_destroy() after the other.
 */
static int how_many(long *error)
{
	struct { int nr; long error; } result = { -1, 0 };
	int fd[2];
	pid_t pid;

	if (pipe(fd))
		return -1;
	pid = fork();
	if (!pid) {
		aio_context_t ctx = 0;

		for (result.nr = 0; !result.error; result.nr += !result.error) {
			ctx = 0;
			result.error = io_setup(1, &ctx);
		}
		_exit(write(fd[1], &result, sizeof(result)) != sizeof(result));
	}
	close(fd[1]);
	if (pid < 0 || read(fd[0], &result, sizeof(result)) != sizeof(result))
		result.nr = -1;
	close(fd[0]);
	if (pid > 0)
		waitpid(pid, NULL, 0);
	*error = result.error;
	return result.nr;
}

/* What largest() and how_many() must return under a limit in bytes. */
static unsigned int largest_expected(unsigned long bytes)
{
	unsigned int nr = 1;

	if (aio_ring_bytes(1) > bytes)
		return 0;
	while (aio_ring_bytes(nr + 1) <= bytes)
		nr++;
	return nr;
}

static int how_many_expected(unsigned long bytes)
{
	return bytes / aio_ring_bytes(1);
}

FIXTURE(memlock) {
	char saved[64];
	char saved_max[64];
	char saved_nr[64];
};

FIXTURE_SETUP(memlock)
{
	if (!aio_has_memlock())
		SKIP(return, NO_MEMLOCK);
	if (geteuid())
		SKIP(return, NOT_ROOT);
	ASSERT_GT(aio_read_text(AIO_MEMLOCK, self->saved, sizeof(self->saved)), 0);
	ASSERT_GT(aio_read_text(MAX_NR, self->saved_max, sizeof(self->saved_max)), 0);
	ASSERT_EQ(0, aio_write_text(AIO_MEMLOCK, "1"));
	ASSERT_EQ(0, aio_write_text(MAX_NR, MANY));
}

/* Also when a test has crashed or has given up its rights. */
FIXTURE_TEARDOWN_PARENT(memlock)
{
	if (self->saved[0])
		EXPECT_EQ(0, aio_write_text(AIO_MEMLOCK, self->saved));
	if (self->saved_max[0])
		EXPECT_EQ(0, aio_write_text(MAX_NR, self->saved_max));
}

/* ------------------------------------------------------ the limit */

static void figures(struct __test_metadata *_metadata, unsigned long bytes)
{
	long error;

	ASSERT_EQ(0, limit(bytes));
	ASSERT_EQ(0, drop_ipc_lock());
	EXPECT_EQ(largest_expected(bytes), largest(&error));
	EXPECT_EQ(-EAGAIN, error);
	EXPECT_EQ(how_many_expected(bytes), how_many(&error));
	EXPECT_EQ(-EAGAIN, error);
	EXPECT_EQ(0, locked());
}

TEST_F(memlock, figures_64k)
{
	if (getpagesize() == 4096 && aio_possible_cpus() <= 15) {
		ASSERT_EQ(1022, largest_expected(65536));
		ASSERT_EQ(16, how_many_expected(65536));
	}
	figures(_metadata, 65536);
}

TEST_F_TIMEOUT(memlock, figures_8m, 300)
{
	if (getpagesize() == 4096 && aio_possible_cpus() <= 15) {
		ASSERT_EQ(131070, largest_expected(8 << 20));
		ASSERT_EQ(2048, how_many_expected(8 << 20));
	}
	figures(_metadata, 8 << 20);
}

TEST_F(memlock, no_memory_at_all)
{
	aio_context_t ctx = 0;

	ASSERT_EQ(0, drop_ipc_lock());
	/* Less than a page is no page. */
	ASSERT_EQ(0, limit(aio_ring_bytes(1) - 1));
	EXPECT_EQ(-EAGAIN, io_setup(1, &ctx));
	ASSERT_EQ(0, limit(0));
	EXPECT_EQ(-EAGAIN, io_setup(1, &ctx));
	EXPECT_EQ(0, ctx);
	EXPECT_EQ(0, locked());
}

/* Exempt from the limit, not from the count. */
TEST_F(memlock, capable)
{
	aio_context_t ctx = 0;

	ASSERT_EQ(0, limit(0));
	ASSERT_EQ(0, io_setup(1000, &ctx));
	EXPECT_EQ(aio_ring_bytes(1000), locked());
	EXPECT_EQ(0, io_destroy(ctx));
	EXPECT_EQ(0, locked());
}

/* A user namespace of one's own does not help: the memory is not the namespace's. */
TEST_F(memlock, capable_in_a_namespace_only)
{
	struct __user_cap_header_struct head = {
		.version = _LINUX_CAPABILITY_VERSION_3,
	};
	struct __user_cap_data_struct data[2];
	aio_context_t ctx = 0;

	ASSERT_EQ(0, limit(0));
	if (unshare(CLONE_NEWUSER))
		SKIP(return, "no user namespaces");
	ASSERT_EQ(0, syscall(__NR_capget, &head, data));
	ASSERT_NE(0, data[0].effective & (1U << CAP_IPC_LOCK));
	EXPECT_EQ(-EAGAIN, io_setup(1, &ctx));
	EXPECT_EQ(0, locked());
}

TEST_F(memlock, only_counted)
{
	aio_context_t ctx = 0;

	ASSERT_EQ(0, aio_write_text(AIO_MEMLOCK, "0"));
	ASSERT_EQ(0, limit(0));
	ASSERT_EQ(0, drop_ipc_lock());
	ASSERT_EQ(0, io_setup(1000, &ctx));
	EXPECT_EQ(aio_ring_bytes(1000), locked());
	EXPECT_EQ(0, io_destroy(ctx));
	EXPECT_EQ(0, locked());
}

/* The switch may be changed while there are contexts: what was charged goes back. */
TEST_F(memlock, switched_meanwhile)
{
	aio_context_t a = 0, b = 0, c = 0;

	ASSERT_EQ(0, limit(aio_ring_bytes(1)));
	ASSERT_EQ(0, drop_ipc_lock());
	ASSERT_EQ(0, io_setup(1, &a));
	EXPECT_EQ(-EAGAIN, io_setup(1, &b));
	ASSERT_EQ(0, aio_write_text(AIO_MEMLOCK, "0"));
	ASSERT_EQ(0, io_setup(1, &b));
	EXPECT_EQ(2 * aio_ring_bytes(1), locked());
	ASSERT_EQ(0, aio_write_text(AIO_MEMLOCK, "1"));
	EXPECT_EQ(0, io_destroy(a));
	/* Still at the limit. */
	EXPECT_EQ(-EAGAIN, io_setup(1, &c));
	EXPECT_EQ(0, io_destroy(b));
	EXPECT_EQ(0, locked());
	EXPECT_EQ(0, io_setup(1, &c));
	EXPECT_EQ(0, io_destroy(c));
}

TEST_F(memlock, limit_lowered)
{
	aio_context_t a = 0, b = 0;

	ASSERT_EQ(0, limit(8 << 20));
	ASSERT_EQ(0, drop_ipc_lock());
	ASSERT_EQ(0, io_setup(1000, &a));
	ASSERT_EQ(0, limit(4096));
	EXPECT_EQ(-EAGAIN, io_setup(1, &b));
	EXPECT_EQ(aio_ring_bytes(1000), locked());
	EXPECT_EQ(0, io_destroy(a));
	EXPECT_EQ(0, locked());
}

/* The value that cannot be turned into pages without care. */
TEST_F(memlock, unlimited)
{
	struct rlimit rlim = { RLIM_INFINITY, RLIM_INFINITY };
	aio_context_t ctx = 0;

	ASSERT_EQ(0, setrlimit(RLIMIT_MEMLOCK, &rlim));
	ASSERT_EQ(0, drop_ipc_lock());
	ASSERT_EQ(0, io_setup(100000, &ctx));
	EXPECT_EQ(aio_ring_bytes(100000), locked());
	EXPECT_EQ(0, io_destroy(ctx));
	EXPECT_EQ(0, locked());
}

/* ------------------------------------------------------ with other users of the limit */

TEST_F(memlock, shared_with_mlock)
{
	size_t page = getpagesize(), ring = aio_ring_bytes(1);
	aio_context_t ctx = 0;
	char *p = aio_pages(4 * page, PROT_READ | PROT_WRITE);

	ASSERT_NE(MAP_FAILED, p);
	ASSERT_EQ(0, limit(4 * page + ring));
	ASSERT_EQ(0, drop_ipc_lock());
	ASSERT_EQ(0, mlock(p, 4 * page));
	ASSERT_EQ(0, io_setup(1, &ctx));
	EXPECT_EQ(4 * page + ring, locked());
	EXPECT_EQ(0, io_destroy(ctx));

	/* One of the two has taken too much, whichever is first. */
	ASSERT_EQ(0, limit(4 * page + ring - page));
	ctx = 0;
	EXPECT_EQ(-EAGAIN, io_setup(1, &ctx));
	ASSERT_EQ(0, munlock(p, 4 * page));
	ASSERT_EQ(0, io_setup(1, &ctx));
	EXPECT_EQ(-1, mlock(p, 4 * page));
	EXPECT_EQ(ENOMEM, errno);
	EXPECT_EQ(0, mlock(p, 3 * page));
	EXPECT_EQ(0, io_destroy(ctx));
	EXPECT_EQ(0, munlock(p, 3 * page));
	EXPECT_EQ(0, locked());
}

/* Whoever wants all new memory to be locked does not pay for a ring twice. */
TEST_F(memlock, with_mlockall)
{
	size_t ring = aio_ring_bytes(1000);
	aio_context_t a = 0, b = 0;

	ASSERT_EQ(0, limit(ring));
	ASSERT_EQ(0, drop_ipc_lock());
	ASSERT_EQ(0, mlockall(MCL_FUTURE));
	ASSERT_EQ(0, io_setup(1000, &a));
	EXPECT_EQ(ring, locked());
	EXPECT_EQ(-EAGAIN, io_setup(1, &b));
	EXPECT_EQ(0, io_destroy(a));
	EXPECT_EQ(0, locked());
	/* The check of mlockall(), as it is without fs.aio-memlock. */
	ASSERT_EQ(0, aio_write_text(AIO_MEMLOCK, "0"));
	a = 0;
	EXPECT_EQ(-ENOMEM, io_setup(2000, &a));
	EXPECT_EQ(0, locked());
	EXPECT_EQ(0, io_setup(1000, &a));
	EXPECT_EQ(0, io_destroy(a));
	munlockall();
	EXPECT_EQ(0, locked());
}

/* The order of the checks: what is wrong with the arguments comes first. */
TEST_F(memlock, after_other_checks)
{
	aio_context_t ctx = 0, used = 1;

	ASSERT_EQ(0, limit(0));
	ASSERT_EQ(0, drop_ipc_lock());
	EXPECT_EQ(-EINVAL, io_setup(0, &ctx));
	EXPECT_EQ(-EINVAL, io_setup(1, &used));
	EXPECT_EQ(-EFAULT, io_setup(1, aio_unmapped()));
	EXPECT_EQ(-EINVAL, io_setup(AIO_MAX_DOUBLED / 2 + 1, &ctx));
	EXPECT_EQ(-EAGAIN, io_setup(AIO_MAX_DOUBLED / 2, &ctx));
	EXPECT_EQ(0, locked());
}

/* ------------------------------------------------------ giving it back */

TEST_F(memlock, failing_setups)
{
	aio_context_t *ro = aio_pages(getpagesize(), PROT_READ);
	struct rlimit no_space = { 0, 0 };
	struct rlimit as;
	aio_context_t ctx = 0, other = 0;
	long long nr = aio_nr();
	char text[64];
	int i;

	ASSERT_NE(MAP_FAILED, ro);
	for (i = 0; i < 10; i++) {
		EXPECT_EQ(-EFAULT, io_setup(100, ro));
		EXPECT_EQ(0, locked());
	}
	/* The system's limit, checked alone and as a sum. */
	snprintf(text, sizeof(text), "%lld", nr + 50);
	ASSERT_EQ(0, aio_write_text(MAX_NR, text));
	EXPECT_EQ(-EAGAIN, io_setup(nr + 51, &ctx));
	EXPECT_EQ(0, locked());
	snprintf(text, sizeof(text), "%lld", nr + 10);
	ASSERT_EQ(0, aio_write_text(MAX_NR, text));
	ASSERT_EQ(0, io_setup(10, &ctx));
	EXPECT_EQ(-EAGAIN, io_setup(1, &other));
	EXPECT_EQ(aio_ring_bytes(10), locked());
	EXPECT_EQ(0, io_destroy(ctx));
	EXPECT_EQ(0, locked());
	ASSERT_EQ(0, aio_write_text(MAX_NR, MANY));
	/* No address space for the ring. */
	ASSERT_EQ(0, getrlimit(RLIMIT_AS, &as));
	no_space.rlim_max = as.rlim_max;
	ASSERT_EQ(0, setrlimit(RLIMIT_AS, &no_space));
	ctx = 0;
	EXPECT_EQ(-ENOMEM, io_setup(100, &ctx));
	ASSERT_EQ(0, setrlimit(RLIMIT_AS, &as));
	EXPECT_EQ(0, locked());
	EXPECT_EQ(nr, aio_nr());
}

/* A process that unmaps the ring still has its pages. */
TEST_F(memlock, unmapped_ring)
{
	size_t len = aio_ring_bytes(100);
	aio_context_t ctx = 0;

	ASSERT_EQ(0, io_setup(100, &ctx));
	ASSERT_EQ(0, munmap((void *)ctx, len));
	EXPECT_EQ(len, locked());
	/* Nobody can find the context now. */
	EXPECT_EQ(-EINVAL, io_destroy(ctx));
	EXPECT_EQ(len, locked());
}

TEST_F(memlock, moved_ring)
{
	size_t len = aio_ring_bytes(100);
	aio_context_t ctx = 0;
	void *to = aio_unmapped();

	ASSERT_EQ(0, io_setup(100, &ctx));
	to = mmap(NULL, len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, to);
	ASSERT_EQ(to, mremap((void *)ctx, len, len, MREMAP_MAYMOVE | MREMAP_FIXED, to));
	EXPECT_EQ(len, locked());
	EXPECT_EQ(0, io_destroy((aio_context_t)(uintptr_t)to));
	EXPECT_EQ(0, locked());
}

/* A child has none of it; nor has the program after execve(). */
TEST_F(memlock, fork_and_exec)
{
	aio_context_t ctx = 0;
	int status;
	pid_t pid;

	ASSERT_EQ(0, io_setup(1000, &ctx));
	pid = fork();
	ASSERT_GE(pid, 0);
	if (!pid)
		_exit(locked() != 0);
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_EQ(aio_ring_bytes(1000), locked());

	pid = fork();
	ASSERT_GE(pid, 0);
	if (!pid) {
		ctx = 0;
		if (io_setup(1000, &ctx) || locked() != (long long)aio_ring_bytes(1000))
			_exit(2);
		execlp("sh", "sh", "-c", "grep -q '^VmLck:[[:space:]]*0 kB' /proc/$$/status", NULL);
		_exit(3);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_EQ(0, io_destroy(ctx));
	EXPECT_EQ(0, locked());
}

/*
 * While requests are in flight the memory stays charged, whoever destroys the
 * context; when io_destroy() has returned, it is not.
 */
TEST_F(memlock, destroy_with_requests_in_flight)
{
	struct aio_slow_disk disk;
	struct aio_caller caller = { 0 };
	aio_context_t ctx = 0;
	struct iocb iocb;
	void *buf = NULL;
	long long meanwhile;
	int fd;

	if (!aio_slow_disk_make(&disk, 1000))
		SKIP(return, "needs null_blk");
	fd = open(disk.dev, O_RDONLY | O_DIRECT);
	ASSERT_GE(fd, 0);
	ASSERT_EQ(0, posix_memalign(&buf, 4096, 4096));
	ASSERT_EQ(0, io_setup(1, &ctx));
	aio_prep(&iocb, IOCB_CMD_PREAD, fd, buf, 4096, 0);
	ASSERT_EQ(1, aio_submit_one(ctx, &iocb));
	caller.ctx = ctx;
	aio_start_blocked(&caller, aio_destroy_thread, __NR_io_destroy);
	meanwhile = locked();
	/* On a busy machine it may have gone on before that. */
	if (aio_is_blocked(getpid(), caller.tid, __NR_io_destroy))
		EXPECT_EQ(aio_ring_bytes(1), meanwhile);
	EXPECT_EQ(0, aio_join(&caller));
	EXPECT_EQ(0, locked());
	close(fd);
	aio_slow_disk_remove(&disk);
}

/* ------------------------------------------------------ many times */

/* Rounds for each of four threads; AIO_ROUNDS in the environment is the number of all. */
static unsigned int rounds(unsigned int normally)
{
	const char *text = getenv("AIO_ROUNDS");

	return (text ? strtoul(text, NULL, 10) : normally) / 4;
}

struct churn {
	pthread_t thread;
	unsigned int rounds;
	unsigned int seed;
	aio_context_t *read_only;
	volatile bool *start;
	long unexpected;
	unsigned int created;
	unsigned int refused;
};

static void *churn(void *arg)
{
	static const unsigned int sizes[] = { 1, 31, 64, 100, 500, 1000 };
	struct churn *c = arg;
	unsigned int i;

	while (!*c->start)
		sched_yield();
	for (i = 0; i < c->rounds && !c->unexpected; i++) {
		aio_context_t ctx = 0, used = 1;
		unsigned int nr;
		long ret, want = 0;

		c->seed = c->seed * 1103515245 + 12345;
		nr = sizes[(c->seed >> 20) % ARRAY_SIZE(sizes)];
		switch ((c->seed >> 16) % 8) {
		case 0:
			ret = io_setup(0, &ctx);
			want = -EINVAL;
			break;
		case 1:
			ret = io_setup(nr, &used);
			want = -EINVAL;
			break;
		case 2:
			/* Above RLIMIT_MEMLOCK, not above fs.aio-max-nr. */
			ret = io_setup(100000, &ctx);
			want = -EAGAIN;
			break;
		case 3:
			/* Above fs.aio-max-nr. */
			ret = io_setup(1 << 22, &ctx);
			want = -EAGAIN;
			break;
		case 4:
			/* Comes as far as a context can come. */
			ret = io_setup(nr, c->read_only);
			want = -EFAULT;
			break;
		default:
			ret = io_setup(nr, &ctx);
			if (!ret)
				ret = io_destroy(ctx);
			else if (ret == -EAGAIN)
				want = ret;	/* The others had too much. */
			c->created += !want;
			break;
		}
		if (ret != want)
			c->unexpected = ret ? ret : 1;
		c->refused += want != 0;
	}
	return NULL;
}

TEST_F_TIMEOUT(memlock, rounds_from_four_threads, 1200)
{
	aio_context_t *ro = aio_pages(getpagesize(), PROT_READ);
	long long nr = aio_nr();
	long inodes = aio_ring_inodes();
	unsigned int created = 0, refused = 0, n = rounds(aio_long() ? 8000 : 1200);
	struct churn c[4] = { 0 };
	volatile bool start = false;
	char text[32];
	int i;

	ASSERT_NE(MAP_FAILED, ro);
	ASSERT_EQ(0, locked());
	/* Four of the largest contexts fit together, and one of 100,000 never does. */
	ASSERT_EQ(0, limit(4 * aio_ring_bytes(1000)));
	snprintf(text, sizeof(text), "%lld", nr + 200000);
	ASSERT_EQ(0, aio_write_text(MAX_NR, text));
	ASSERT_EQ(0, drop_ipc_lock());
	for (i = 0; i < 4; i++) {
		c[i].rounds = n;
		c[i].seed = i + 1;
		c[i].read_only = ro;
		c[i].start = &start;
		ASSERT_EQ(0, pthread_create(&c[i].thread, NULL, churn, &c[i]));
	}
	start = true;
	for (i = 0; i < 4; i++) {
		pthread_join(c[i].thread, NULL);
		EXPECT_EQ(0, c[i].unexpected);
		created += c[i].created;
		refused += c[i].refused;
	}
	TH_LOG("%u contexts, %u refused", created, refused);
	EXPECT_EQ(4 * n, created + refused);
	EXPECT_LT(0, created);
	EXPECT_LT(0, refused);
	EXPECT_EQ(0, locked());
	EXPECT_EQ(nr, aio_nr());
	EXPECT_EQ(0, aio_maps(0, NULL));
	EXPECT_TRUE(inodes < 0 || aio_ring_inodes_back_to(inodes));
}

static bool wait_for_aio_nr(long long nr)
{
	int i;

	for (i = 0; i < 2000 * aio_slow() && aio_nr() != nr; i++)
		aio_sleep_ms(5);
	return aio_nr() == nr;
}

/* A process that is killed gives everything back. */
TEST_F_TIMEOUT(memlock, killed_processes, 600)
{
	long long nr = aio_nr();
	long inodes = aio_ring_inodes();
	/* Each number of contexts with each size. */
	unsigned int i, n = aio_long() ? 210 : 70;
	int status;

	for (i = 0; i < n; i++) {
		int ready[2];
		char c;
		pid_t pid;

		ASSERT_EQ(0, pipe(ready));
		pid = fork();
		ASSERT_GE(pid, 0);
		if (!pid) {
			unsigned int size = 1 << (i % 14);
			aio_context_t ctx;
			int j;

			for (j = 0; j < 1 + (int)i % 5; j++) {
				ctx = 0;
				if (io_setup(size, &ctx))
					_exit(1);
			}
			if (write(ready[1], "x", 1) == 1)
				for (;;)
					pause();
			_exit(1);
		}
		close(ready[1]);
		ASSERT_EQ(1, read(ready[0], &c, 1));
		close(ready[0]);
		EXPECT_EQ((1 + i % 5) * aio_ring_bytes(1 << (i % 14)),
			  aio_locked(pid));
		ASSERT_EQ(0, kill(pid, SIGKILL));
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		ASSERT_TRUE(WIFSIGNALED(status));
	}
	EXPECT_TRUE(wait_for_aio_nr(nr));
	EXPECT_TRUE(inodes < 0 || aio_ring_inodes_back_to(inodes));
	EXPECT_EQ(0, locked());
}

/* ------------------------------------------------------ fs.aio-memlock */

TEST_F(memlock, values)
{
	static const char * const bad[] = { "3", "-1", "x", "", "4294967296", "1x" };
	struct stat st;
	size_t i;

	ASSERT_EQ(0, stat(AIO_MEMLOCK, &st));
	EXPECT_EQ(S_IFREG | 0644, st.st_mode);
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		if (bad[i][0])
			EXPECT_EQ(-EINVAL, aio_write_text(AIO_MEMLOCK, bad[i]))
				TH_LOG("writing '%s'", bad[i]);
		EXPECT_EQ(1, aio_read_number(AIO_MEMLOCK));
	}
	EXPECT_EQ(0, aio_write_text(AIO_MEMLOCK, "0\n"));
	EXPECT_EQ(0, aio_read_number(AIO_MEMLOCK));
	EXPECT_EQ(0, aio_write_text(AIO_MEMLOCK, "2"));
	EXPECT_EQ(2, aio_read_number(AIO_MEMLOCK));
}

/* ------------------------------------------------------ the kernel log */

/* Whether a record written to the log after @fd was opened has both texts. */
static bool logged(int fd, const char *a, const char *b)
{
	char record[4096];
	ssize_t len;

	for (;;) {
		len = read(fd, record, sizeof(record) - 1);
		if (len < 0 && errno == EPIPE)
			continue;
		if (len <= 0)
			return false;
		record[len] = '\0';
		if (strstr(record, a) && strstr(record, b))
			return true;
	}
}

/* Another processor's record that is before it may not be complete yet. */
static bool becomes_logged(int fd, const char *a, const char *b)
{
	int i;

	for (i = 0; i < 2000; i++) {
		if (logged(fd, a, b))
			return true;
		aio_sleep_ms(1);
	}
	return false;
}

static int open_log(void)
{
	int fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);

	if (fd >= 0)
		lseek(fd, 0, SEEK_END);
	return fd;
}

/*
 * Waits until the log takes such lines again, of which others may have used up all that it
 * takes in 5 seconds: until it has that of a child that asks for one event.
 */
static bool await_log(int fd, const char *what)
{
	char name[32];
	int i;

	for (i = 0; i < 80; i++) {
		pid_t pid = fork();

		if (!pid) {
			aio_context_t ctx = 0;

			if (limit(0) || drop_ipc_lock())
				_exit(1);
			io_setup(1, &ctx);
			_exit(0);
		}
		if (pid < 0 || waitpid(pid, NULL, 0) != pid)
			return false;
		snprintf(name, sizeof(name), "[%d]: io_setup()", pid);
		if (logged(fd, name, what))
			return true;
		aio_sleep_ms(250);
	}
	return false;
}

/* Asks for @nr events until the log takes the line that it is to have. */
static bool refused_and_logged(int fd, unsigned int nr, const char *a, const char *b)
{
	aio_context_t ctx = 0;
	int i;

	for (i = 0; i < 80; i++) {
		if (io_setup(nr, &ctx) != -EAGAIN)
			return false;
		if (logged(fd, a, b))
			return true;
		aio_sleep_ms(250);
	}
	return false;
}

/* The administrator can see which limit it was, whose, and by how much. */
TEST_F(memlock, log_of_the_process_limit)
{
	char name[64], text[128];
	int fd = open_log();

	if (fd < 0)
		SKIP(return, "no /dev/kmsg");
	ASSERT_EQ(0, limit(4096));
	ASSERT_EQ(0, drop_ipc_lock());
	snprintf(name, sizeof(name), "memlock%s[%d]: io_setup() refused",
		 sizeof(long) == 4 ? "_32" : "", getpid());
	snprintf(text, sizeof(text),
		 "RLIMIT_MEMLOCK: %zu KiB asked, 0 KiB locked, 4 KiB allowed",
		 aio_ring_bytes(1000) / 1024);
	EXPECT_TRUE(refused_and_logged(fd, 1000, name, text));
	close(fd);
}

TEST_F(memlock, log_of_the_system_limit)
{
	char text[128], max[32];
	long long nr = aio_nr();
	int fd = open_log();

	if (fd < 0)
		SKIP(return, "no /dev/kmsg");
	snprintf(max, sizeof(max), "%lld", nr + 10);
	ASSERT_EQ(0, aio_write_text(MAX_NR, max));
	snprintf(text, sizeof(text),
		 "fs.aio-max-nr: %lld events asked, %lld in use, %lld allowed",
		 nr + 11, nr, nr + 10);
	EXPECT_TRUE(refused_and_logged(fd, nr + 11, "io_setup() refused", text));
	close(fd);
}

/* What is above the limit is let pass, and told once for each address space. */
TEST_F(memlock, let_pass_and_told_once)
{
	aio_context_t ctx[3] = { 0 };
	char name[64], text[128];
	int fd = open_log(), status;
	pid_t pid;

	if (fd < 0)
		SKIP(return, "no /dev/kmsg");
	ASSERT_EQ(0, aio_write_text(AIO_MEMLOCK, "2"));
	ASSERT_TRUE(await_log(fd, "let pass above RLIMIT_MEMLOCK"));
	ASSERT_EQ(0, limit(aio_ring_bytes(1)));
	ASSERT_EQ(0, drop_ipc_lock());
	snprintf(name, sizeof(name), "memlock%s[%d]: io_setup() let pass above RLIMIT_MEMLOCK",
		 sizeof(long) == 4 ? "_32" : "", getpid());
	snprintf(text, sizeof(text), "%zu KiB asked, %zu KiB locked, %zu KiB allowed",
		 aio_ring_bytes(1000) / 1024, aio_ring_bytes(1) / 1024, aio_ring_bytes(1) / 1024);
	/* The first one fits. */
	EXPECT_EQ(0, io_setup(1, &ctx[0]));
	EXPECT_FALSE(logged(fd, name, "KiB"));
	EXPECT_EQ(0, io_setup(1000, &ctx[1]));
	EXPECT_TRUE(becomes_logged(fd, name, text));
	EXPECT_EQ(0, io_setup(1000, &ctx[2]));
	EXPECT_FALSE(logged(fd, name, "KiB"));
	EXPECT_EQ((long long)(aio_ring_bytes(1) + 2 * aio_ring_bytes(1000)), locked());
	/* A child has an address space of its own. */
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		aio_context_t other = 0;

		_exit(!!io_setup(1000, &other));
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	snprintf(name, sizeof(name), "[%d]: io_setup() let pass above RLIMIT_MEMLOCK", pid);
	EXPECT_TRUE(becomes_logged(fd, name, "0 KiB locked"));
	EXPECT_EQ(0, io_destroy(ctx[0]));
	EXPECT_EQ(0, io_destroy(ctx[1]));
	EXPECT_EQ(0, io_destroy(ctx[2]));
	EXPECT_EQ(0, locked());
	close(fd);
}

/* When the log has had enough of others, a process is named the next time that it asks. */
TEST_F_TIMEOUT(memlock, none_is_forgotten, 120)
{
	char name[64];
	bool found = false;
	int fd = open_log(), i;

	if (fd < 0)
		SKIP(return, "no /dev/kmsg");
	ASSERT_EQ(0, aio_write_text(AIO_MEMLOCK, "2"));
	ASSERT_EQ(0, limit(0));
	ASSERT_EQ(0, drop_ipc_lock());
	for (i = 0; i < 15; i++) {
		aio_context_t other = 0;
		pid_t pid = fork();

		ASSERT_LE(0, pid);
		if (!pid)
			_exit(!!io_setup(1, &other));
		ASSERT_EQ(pid, waitpid(pid, NULL, 0));
	}
	snprintf(name, sizeof(name), "[%d]: io_setup() let pass", getpid());
	for (i = 0; i < 80 && !found; i++) {
		aio_context_t ctx = 0;

		ASSERT_EQ(0, io_setup(1, &ctx));
		ASSERT_EQ(0, io_destroy(ctx));
		found = logged(fd, name, "above RLIMIT_MEMLOCK");
		if (!i && found)
			SKIP(return, "the log had room for it");
		if (!found)
			aio_sleep_ms(250);
	}
	EXPECT_TRUE(found);
	close(fd);
}

/* However often it happens, the log is not flooded. */
TEST_F(memlock, log_is_limited)
{
	aio_context_t ctx = 0;
	char record[4096];
	int fd = open_log(), i, lines = 0;
	ssize_t len;

	if (fd < 0)
		SKIP(return, "no /dev/kmsg");
	ASSERT_EQ(0, limit(0));
	ASSERT_EQ(0, drop_ipc_lock());
	for (i = 0; i < 1000; i++)
		EXPECT_EQ(-EAGAIN, io_setup(1, &ctx));
	while ((len = read(fd, record, sizeof(record) - 1)) > 0 ||
	       (len < 0 && errno == EPIPE)) {
		record[len > 0 ? len : 0] = '\0';
		lines += !!strstr(record, "io_setup() refused");
	}
	EXPECT_GE(100, lines);
	close(fd);
}

/* Whoever sets fs.aio-max-nr learns of the better limit; once in the life of a kernel. */
TEST_F(memlock, log_of_the_first_write)
{
	char record[4096], last[4096] = "";
	int fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC), n = 0;
	ssize_t len;

	if (fd < 0)
		SKIP(return, "no /dev/kmsg");
	/* The set-up of each test writes it. */
	ASSERT_EQ(0, aio_write_text(MAX_NR, MANY));
	while ((len = read(fd, record, sizeof(record) - 1)) > 0 ||
	       (len < 0 && errno == EPIPE)) {
		record[len > 0 ? len : 0] = '\0';
		if (strstr(record, "has set fs.aio-max-nr")) {
			memcpy(last, record, sizeof(last));
			n++;
		}
	}
	close(fd);
	if (!n)
		SKIP(return, "the log does not reach back to the first write");
	EXPECT_EQ(1, n);
	EXPECT_NE(NULL, strstr(last, "RLIMIT_MEMLOCK"));
	EXPECT_NE(NULL, strstr(last, "Documentation/admin-guide/aio.rst"));
}

/* ------------------------------------------------------ the procedure of 2009 */

static int procedure(unsigned long bytes)
{
	long error;
	unsigned int nr;

	if (limit(bytes) || drop_ipc_lock()) {
		perror("RLIMIT_MEMLOCK or CAP_IPC_LOCK");
		return 1;
	}
	nr = largest(&error);
	printf("%lu bytes: one context of up to %u events (%s)\n", bytes, nr,
	       strerror(-error));
	nr = how_many(&error);
	printf("%lu bytes: %u contexts of one event (%s)\n", bytes, nr, strerror(-error));
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 2 && argv[1][0] >= '0' && argv[1][0] <= '9')
		return procedure(strtoul(argv[1], NULL, 0));
	return test_harness_run(argc, argv);
}
