// SPDX-License-Identifier: GPL-2.0
/*
 * io_setup() and io_destroy().
 *
 * Held here: which argument error wins, the limits of nr_events and of
 * fs.aio-max-nr and that fs.aio-nr counts what was asked for, the header and
 * the size of a ring, how the ring looks in /proc and that it never becomes
 * executable, ids unique while the table of contexts grows under several
 * threads, that a context lives as long as the last process that shares the
 * memory, and what io_destroy() promises: one winner, no request left when it
 * returns, ring and quota given back before it waits, a wait that no signal ends,
 * readers woken with EINVAL.
 */
#include <poll.h>
#include <sys/wait.h>
#include "../kselftest_harness.h"
#include "aio_ext_test.h"

/* *ctxp is read before anything else is looked at. */
TEST(setup_result_pointer_first)
{
	unsigned int nr[] = { 0, 1, 4194305, 0x80000000U, ~0U };
	char *end = aio_guarded(0);
	size_t i;

	ASSERT_NE(NULL, end);
	for (i = 0; i < ARRAY_SIZE(nr); i++) {
		EXPECT_EQ(-EFAULT, io_setup(nr[i], NULL));
		EXPECT_EQ(-EFAULT, io_setup(nr[i], aio_unmapped()));
		EXPECT_EQ(-EFAULT, io_setup(nr[i], (void *)end));
		/* Half of it can be read. */
		EXPECT_EQ(-EFAULT,
			  io_setup(nr[i], (void *)(end - sizeof(long) / 2)));
		EXPECT_EQ(-EFAULT, io_setup(nr[i], (void *)-4096L));
	}
}

TEST(setup_used_pointer)
{
	unsigned int nr[] = { 0, 1, 128, 4194305, 0x80000000U, ~0U };
	long long before = aio_nr();
	aio_context_t ctx;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(nr); i++) {
		ctx = 1;
		EXPECT_EQ(-EINVAL, io_setup(nr[i], &ctx));
		EXPECT_EQ(1, ctx);
		ctx = (aio_context_t)1 << (sizeof(ctx) * 8 - 1);
		EXPECT_EQ(-EINVAL, io_setup(nr[i], &ctx));
	}
	ctx = 0;
	EXPECT_EQ(-EINVAL, io_setup(0, &ctx));
	EXPECT_EQ(0, ctx);
	EXPECT_EQ(0, aio_maps(0, NULL));
	EXPECT_EQ(before, aio_nr());
}

/*
 * The number is raised to four for each possible processor, then doubled in 32
 * bits, then compared with the largest ring; only then fs.aio-max-nr counts.
 */
TEST(setup_number_limits)
{
	unsigned int nr[] = {
		4194303, 4194304, 4194305, 4194306, 0x1000000, 0x7fffffff,
		0x80000000U, 0x80000001U, 0x803fffffU, 0x80400000U,
		0x80400001U, 0xc0000000U, 0xfffffffeU, 0xffffffffU,
	};
	long long max = aio_max_nr(), before = aio_nr();
	unsigned int least = aio_possible_cpus() * 4;
	aio_context_t ctx = 0;
	size_t i;

	if (max < 0 || !least)
		SKIP(return, "no /proc/sys/fs/aio-max-nr or no sysfs");
	if (max >= 4194303)
		SKIP(return, "fs.aio-max-nr is too high for this test");
	for (i = 0; i < ARRAY_SIZE(nr); i++) {
		__u32 doubled = nr[i] > least ? nr[i] : least;

		doubled *= 2;
		EXPECT_EQ(doubled > AIO_MAX_DOUBLED ? -EINVAL : -EAGAIN,
			  io_setup(nr[i], &ctx))
			TH_LOG("with nr %#x", nr[i]);
		EXPECT_EQ(0, ctx);
	}
	/* Spelled out, the ones that are easy to get wrong. */
	EXPECT_EQ(-EAGAIN, io_setup(4194304, &ctx));
	EXPECT_EQ(-EINVAL, io_setup(4194305, &ctx));
	EXPECT_EQ(-EAGAIN, io_setup(0x80000000U, &ctx));
	EXPECT_EQ(-EINVAL, io_setup(0xffffffffU, &ctx));
	EXPECT_EQ(-EAGAIN, io_setup(max + 1, &ctx));
	EXPECT_EQ(before, aio_nr());
	EXPECT_EQ(0, aio_maps(0, NULL));
}

/* The quota is what was asked for, not the doubled number of the ring. */
TEST(setup_quota)
{
	long long max = aio_max_nr(), before = aio_nr();
	aio_context_t all = 0, one = 0;

	if (max < 0 || before < 0)
		SKIP(return, "no /proc/sys/fs/aio-nr");
	if (max - before < 2 || max - before > 1048576)
		SKIP(return, "%lld requests are left of fs.aio-max-nr",
		     max - before);
	ASSERT_EQ(0, io_setup(max - before - 1, &all));
	EXPECT_EQ(max - 1, aio_nr());
	EXPECT_EQ(-EAGAIN, io_setup(2, &one));
	EXPECT_EQ(0, one);
	EXPECT_EQ(0, io_setup(1, &one));
	EXPECT_EQ(max, aio_nr());
	EXPECT_EQ(0, io_destroy(one));
	one = 0;
	EXPECT_EQ(0, io_setup(1, &one));
	EXPECT_EQ(0, io_destroy(all));
	EXPECT_EQ(before + 1, aio_nr());
	EXPECT_EQ(0, io_destroy(one));
	EXPECT_EQ(before, aio_nr());
	/* The refused ones left no ring behind. */
	EXPECT_EQ(0, aio_maps(0, NULL));
}

/* A result that cannot be stored: the context is gone again. */
TEST(setup_readonly_result)
{
	aio_context_t *ro = aio_pages(getpagesize(), PROT_READ);
	long long before = aio_nr();
	aio_context_t ctx = 0;
	int i;

	ASSERT_NE(MAP_FAILED, (void *)ro);
	for (i = 0; i < 20; i++) {
		EXPECT_EQ(-EFAULT, io_setup(1000, ro));
		EXPECT_EQ(before, aio_nr());
		EXPECT_EQ(0, aio_maps(0, NULL));
	}
	EXPECT_EQ(0, *ro);
	/* Its place in the table is free. */
	ASSERT_EQ(0, io_setup(1, &ctx));
	EXPECT_EQ(0, aio_ring(ctx)->id);
}

TEST(ring_header_and_size)
{
	unsigned int nr[] = {
		1, 2, 3, 4, 8, 61, 62, 63, 64, 125, 126, 127, 128, 129, 190,
		254, 255, 256, 510, 511, 512, 1000, 1022, 1023, 1024, 2048,
		4096, 10000,
	};
	int null_fd = open("/dev/null", O_WRONLY);
	struct aio_vma vma;
	struct iocb iocb;
	size_t i, b;

	if (!aio_possible_cpus())
		SKIP(return, "no /sys/devices/system/cpu/possible");
	ASSERT_GE(null_fd, 0);
	for (i = 0; i < ARRAY_SIZE(nr); i++) {
		volatile struct aio_ring *ring;
		volatile char *event_bytes;
		aio_context_t ctx = 0;
		long took;

		ASSERT_EQ(0, io_setup(nr[i], &ctx));
		ring = aio_ring(ctx);
		EXPECT_EQ(0, ctx % getpagesize());
		EXPECT_EQ(0, ring->id);
		EXPECT_EQ(aio_ring_nr(nr[i]), ring->nr)
			TH_LOG("with nr %u", nr[i]);
		EXPECT_EQ(0, ring->head);
		EXPECT_EQ(0, ring->tail);
		EXPECT_EQ(AIO_RING_MAGIC, ring->magic);
		EXPECT_EQ(aio_auto_threads() ? 3 : 1, ring->compat_features);
		EXPECT_EQ(0, ring->incompat_features);
		EXPECT_EQ(AIO_RING_HEADER, ring->header_length);
		EXPECT_EQ(1, aio_maps(ctx, &vma));
		EXPECT_EQ(ctx, vma.start);
		EXPECT_EQ(ctx + aio_ring_bytes(nr[i]), vma.end);
		/* Nothing of the kernel's memory shows in it. */
		event_bytes = (volatile char *)ring->events;
		for (b = 0; b < ring->nr * sizeof(struct io_event); b++)
			if (event_bytes[b])
				break;
		EXPECT_EQ(ring->nr * sizeof(struct io_event), b);
		/* It takes at least what was asked for. */
		took = aio_fill(ctx, &iocb, null_fd);
		EXPECT_GE(took, nr[i]);
		EXPECT_LT(took, ring->nr);
		EXPECT_EQ(took, aio_drain(ctx));
		ASSERT_EQ(0, io_destroy(ctx));
	}
}

/* Those of io_setup2(), too, have a ring in memory, and count for fs.aio-nr. */
TEST(rings_of_other_kinds)
{
	unsigned int flags[] = {
		0, USERIOCB, IOPOLL, USERIOCB | IOPOLL, USERIOCB | FIXEDBUFS,
		USERIOCB | FIXEDBUFS | IOPOLL,
	};
	long long before = aio_nr();
	struct iocb *iocbs;
	size_t i;

	NEED_SETUP2();
	iocbs = aio_pages(100 * sizeof(*iocbs), PROT_READ | PROT_WRITE);
	for (i = 0; i < ARRAY_SIZE(flags); i++) {
		aio_context_t ctx = 0;
		struct aio_vma vma;

		ASSERT_EQ(0, io_setup2(100, flags[i],
				       flags[i] & USERIOCB ? iocbs : NULL, &ctx));
		EXPECT_EQ(1, aio_maps(ctx, &vma));
		EXPECT_EQ(ctx, vma.start);
		EXPECT_EQ(ctx + aio_ring_bytes(100), vma.end);
		EXPECT_STREQ("/[aio] (deleted)", vma.name);
		EXPECT_EQ(0, aio_ring(ctx)->id);
		EXPECT_EQ(before + 100, aio_nr());
		EXPECT_EQ(0, io_destroy(ctx));
		EXPECT_EQ(0, aio_maps(0, NULL));
		EXPECT_EQ(before, aio_nr());
	}
}

/*
 * A process that shares its memory with one that has made a context and ends, by
 * itself or by another program: the context stays, until this one ends, too.
 */
struct heir {
	aio_context_t ctx;
	long long nr;
	int null_fd, verdict;
	volatile bool there;
};

static int inherit(void *arg)
{
	struct timespec soon = { 20, 0 };
	struct heir *h = arg;
	struct io_event event;
	pid_t parent = getppid();
	struct iocb iocb;
	char c = 'y';

	h->there = true;
	while (getppid() == parent)
		aio_sleep_ms(1);
	/* A new program is the parent still, in other memory. */
	aio_prep(&iocb, IOCB_CMD_PWRITE, h->null_fd, "x", 1, 0);
	if (aio_nr() != h->nr)
		c = 'n';
	else if (aio_submit_one(h->ctx, &iocb) != 1)
		c = 's';
	else if (io_getevents(h->ctx, 1, 1, &event, &soon) != 1 || event.res != 1)
		c = 'e';
	if (write(h->verdict, &c, 1) != 1)
		c = 'w';
	syscall(__NR_exit_group, 0);
	return 0;
}

static void outlive(struct __test_metadata *_metadata, bool setup2, bool exec)
{
	long long before = aio_nr();
	int verdict[2], status = -1, i;
	char c = 0;
	pid_t pid;

	ASSERT_EQ(0, pipe(verdict));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		char *stack = aio_pages(65536, PROT_READ | PROT_WRITE);
		struct heir *h = calloc(1, sizeof(*h));
		struct iocb *iocbs = aio_pages(4096, PROT_READ | PROT_WRITE);

		close(verdict[0]);
		h->nr = before + 10;
		h->null_fd = open("/dev/null", O_WRONLY);
		h->verdict = verdict[1];
		if (setup2 ? io_setup2(10, 0, NULL, &h->ctx) : io_setup(10, &h->ctx))
			_exit(1);
		if (!iocbs || clone(inherit, stack + 65536, CLONE_VM | SIGCHLD, h) < 0)
			_exit(2);
		while (!h->there)
			aio_sleep_ms(1);
		/* The new program leaves soon, so that the other one sees it. */
		if (exec)
			execl("/bin/sh", "sh", "-c", ":", NULL);
		_exit(exec ? 3 : 0);
	}
	close(verdict[1]);
	EXPECT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_EQ(1, read(verdict[0], &c, 1));
	EXPECT_EQ('y', c);
	/* With the heir it ends. */
	for (i = 0; i < 20000 && aio_nr() != before; i++)
		aio_sleep_ms(1);
	EXPECT_EQ(before, aio_nr());
	close(verdict[0]);
}

TEST(lives_as_long_as_the_memory)
{
	outlive(_metadata, false, false);
	outlive(_metadata, false, true);
}

TEST(other_kinds_live_as_long)
{
	NEED_SETUP2();
	outlive(_metadata, true, false);
	outlive(_metadata, true, true);
}

/* The form that CRIU and others look for. */
TEST(ring_in_proc_maps)
{
	aio_context_t ctx = 0;
	struct aio_vma vma;

	ASSERT_EQ(0, io_setup(1000, &ctx));
	EXPECT_EQ(1, aio_maps(0, &vma));
	EXPECT_EQ(ctx, vma.start);
	EXPECT_EQ(0, vma.offset);
	EXPECT_STREQ("rw-s", vma.perms);
	EXPECT_STREQ("/[aio] (deleted)", vma.name);
}

TEST(ring_vm_flags)
{
	aio_context_t ctx = 0;
	char line[512], flags[256] = "";
	bool here = false;
	FILE *f;

	ASSERT_EQ(0, io_setup(1, &ctx));
	f = fopen("/proc/self/smaps", "re");
	if (!f)
		SKIP(return, "no /proc/self/smaps");
	while (fgets(line, sizeof(line), f)) {
		unsigned long start, end;

		if (sscanf(line, "%lx-%lx ", &start, &end) == 2)
			here = start == ctx;
		else if (here && !strncmp(line, "VmFlags:", 8))
			snprintf(flags, sizeof(flags), " %.200s", line + 9);
	}
	fclose(f);
	if (!flags[0])
		SKIP(return, "no VmFlags in /proc/self/smaps");
	/* Not for children, not to be extended, never executable. */
	EXPECT_NE(NULL, strstr(flags, " dc"));
	EXPECT_NE(NULL, strstr(flags, " de"));
	EXPECT_NE(NULL, strstr(flags, " sh"));
	EXPECT_NE(NULL, strstr(flags, " mw"));
	EXPECT_EQ(NULL, strstr(flags, " ex"));
	EXPECT_EQ(NULL, strstr(flags, " me"));
}

TEST(ring_never_executable)
{
	size_t page = getpagesize();
	aio_context_t ctx = 0;
	struct aio_vma vma;

	ASSERT_EQ(0, io_setup(1, &ctx));
	EXPECT_EQ(-1, mprotect((void *)ctx, page, PROT_READ | PROT_EXEC));
	EXPECT_EQ(EACCES, errno);
	EXPECT_EQ(-1, mprotect((void *)ctx, page,
			       PROT_READ | PROT_WRITE | PROT_EXEC));
	EXPECT_EQ(EACCES, errno);
	EXPECT_EQ(1, aio_maps(ctx, &vma));
	EXPECT_STREQ("rw-s", vma.perms);
}

/* The same, for a process whose readable memory is all executable. */
TEST(ring_not_executable_by_personality)
{
	aio_context_t ctx = 0;
	struct aio_vma vma;

	/* READ_IMPLIES_EXEC */
	ASSERT_NE(-1, syscall(__NR_personality, 0x0400000));
	ASSERT_EQ(0, io_setup(1, &ctx));
	EXPECT_EQ(1, aio_maps(ctx, &vma));
	EXPECT_STREQ("rw-s", vma.perms);
}

/* The id is the lowest free place of the table. */
TEST(ids_are_reused)
{
	aio_context_t ctx[6] = { 0 };
	int i;

	for (i = 0; i < 6; i++) {
		ASSERT_EQ(0, io_setup(1, &ctx[i]));
		EXPECT_EQ(i, aio_ring(ctx[i])->id);
	}
	EXPECT_EQ(0, io_destroy(ctx[1]));
	EXPECT_EQ(0, io_destroy(ctx[4]));
	ctx[1] = 0;
	ctx[4] = 0;
	ASSERT_EQ(0, io_setup(1, &ctx[1]));
	EXPECT_EQ(1, aio_ring(ctx[1])->id);
	ASSERT_EQ(0, io_setup(1, &ctx[4]));
	EXPECT_EQ(4, aio_ring(ctx[4])->id);
}

#define MANY_THREADS	8
#define MANY_EACH	20
#define MANY		(MANY_THREADS * MANY_EACH)

/* Are ids 0..n-1 each there once, and does each context do its own work? */
static bool all_usable(aio_context_t *ctx, unsigned int n)
{
	int null_fd = open("/dev/null", O_WRONLY);
	struct io_event event;
	bool seen[MANY] = { 0 };
	struct iocb iocb;
	unsigned int i;

	for (i = 0; i < n; i++) {
		__u32 id = aio_ring(ctx[i])->id;

		if (id >= n || seen[id])
			return false;
		seen[id] = true;
		aio_prep(&iocb, IOCB_CMD_PWRITE, null_fd, "x", i + 1, 0);
		if (aio_submit_one(ctx[i], &iocb) != 1)
			return false;
	}
	for (i = 0; i < n; i++) {
		if (aio_reap(ctx[i], &event, 1) != 1 || event.res != i + 1 ||
		    aio_reap(ctx[i], &event, 1) != 0)
			return false;
	}
	close(null_fd);
	return true;
}

/* The table grows from 4 to 16 to 64 to 256 places. */
TEST(table_growth)
{
	unsigned int check[] = { 4, 5, 16, 17, 64, 65, 70 };
	long long before = aio_nr();
	aio_context_t ctx[70] = { 0 };
	unsigned int i, c = 0;

	for (i = 0; i < 70; i++) {
		ASSERT_EQ(0, io_setup(i + 1, &ctx[i]));
		if (i + 1 == check[c]) {
			EXPECT_TRUE(all_usable(ctx, i + 1));
			c++;
		}
	}
	EXPECT_EQ(70, aio_maps(0, NULL));
	EXPECT_EQ(before + 70 * 71 / 2, aio_nr());
}

struct many {
	pthread_barrier_t *start;
	aio_context_t *ctx;
	long ret;
};

static void *setup_many(void *arg)
{
	struct many *m = arg;
	int i;

	pthread_barrier_wait(m->start);
	for (i = 0; i < MANY_EACH; i++) {
		m->ret = io_setup(3, &m->ctx[i]);
		if (m->ret)
			break;
	}
	return NULL;
}

TEST(table_growth_by_threads)
{
	pthread_t thread[MANY_THREADS];
	aio_context_t ctx[MANY] = { 0 };
	struct many m[MANY_THREADS];
	long long before = aio_nr();
	pthread_barrier_t start;
	int i;

	pthread_barrier_init(&start, NULL, MANY_THREADS);
	for (i = 0; i < MANY_THREADS; i++) {
		m[i].start = &start;
		m[i].ctx = ctx + i * MANY_EACH;
		ASSERT_EQ(0, pthread_create(&thread[i], NULL, setup_many,
					    &m[i]));
	}
	for (i = 0; i < MANY_THREADS; i++) {
		pthread_join(thread[i], NULL);
		EXPECT_EQ(0, m[i].ret);
	}
	EXPECT_EQ(before + MANY * 3, aio_nr());
	EXPECT_EQ(MANY, aio_maps(0, NULL));
	EXPECT_TRUE(all_usable(ctx, MANY));
}

/* Threads that make, use and destroy contexts do not disturb each other. */
static void *churn(void *arg)
{
	int null_fd = open("/dev/null", O_WRONLY);
	struct many *m = arg;
	struct io_event event;
	struct iocb iocb;
	int i;

	m->ret = -1;
	pthread_barrier_wait(m->start);
	for (i = 0; i < (aio_long() ? 15 : 5); i++) {
		aio_context_t ctx = 0;

		if (io_setup(8, &ctx))
			return NULL;
		aio_prep(&iocb, IOCB_CMD_PWRITE, null_fd, "x", i, 0);
		if (aio_run(ctx, &iocb, &event) != 1 || event.res != i ||
		    event.obj != (uintptr_t)&iocb)
			return NULL;
		if (io_destroy(ctx))
			return NULL;
	}
	m->ret = 0;
	return NULL;
}

TEST(churn_by_threads)
{
	pthread_t thread[MANY_THREADS];
	struct many m[MANY_THREADS];
	long long before = aio_nr();
	pthread_barrier_t start;
	int i;

	pthread_barrier_init(&start, NULL, MANY_THREADS);
	for (i = 0; i < MANY_THREADS; i++) {
		m[i].start = &start;
		ASSERT_EQ(0, pthread_create(&thread[i], NULL, churn, &m[i]));
	}
	for (i = 0; i < MANY_THREADS; i++) {
		pthread_join(thread[i], NULL);
		EXPECT_EQ(0, m[i].ret);
	}
	EXPECT_EQ(before, aio_nr());
	EXPECT_EQ(0, aio_maps(0, NULL));
}

TEST(destroy_bad_id)
{
	size_t page = getpagesize();
	aio_context_t ctx = 0;
	__u32 on_stack = 0;
	char *copy;

	/* Before there is a table, and with one. */
	EXPECT_EQ(-EINVAL, io_destroy(0));
	EXPECT_EQ(-EINVAL, io_destroy((aio_context_t)&on_stack));
	ASSERT_EQ(0, io_setup(1, &ctx));
	EXPECT_EQ(-EINVAL, io_destroy(0));
	EXPECT_EQ(-EINVAL, io_destroy(1));
	EXPECT_EQ(-EINVAL, io_destroy(-1));
	EXPECT_EQ(-EINVAL, io_destroy(-4096));
	EXPECT_EQ(-EINVAL, io_destroy((aio_context_t)&on_stack));
	EXPECT_EQ(-EINVAL, io_destroy((aio_context_t)aio_unmapped()));
	EXPECT_EQ(-EINVAL,
		  io_destroy((aio_context_t)aio_pages(page, PROT_NONE)));
	on_stack = ~0U;
	EXPECT_EQ(-EINVAL, io_destroy((aio_context_t)&on_stack));
	/* A copy of the ring is not the ring. */
	copy = aio_pages(page, PROT_READ | PROT_WRITE);
	memcpy(copy, (void *)ctx, page);
	EXPECT_EQ(-EINVAL, io_destroy((aio_context_t)copy));
	EXPECT_EQ(-EINVAL, io_destroy(ctx + 4));
	EXPECT_EQ(0, io_destroy(ctx));
	EXPECT_EQ(-EINVAL, io_destroy(ctx));
}

TEST(destroy_unmaps)
{
	long long before = aio_nr();
	aio_context_t ctx = 0;
	unsigned char vec;

	ASSERT_EQ(0, io_setup(500, &ctx));
	EXPECT_EQ(before + 500, aio_nr());
	EXPECT_EQ(0, io_destroy(ctx));
	EXPECT_EQ(before, aio_nr());
	EXPECT_EQ(0, aio_maps(0, NULL));
	EXPECT_EQ(-1, mincore((void *)ctx, getpagesize(), &vec));
	EXPECT_EQ(ENOMEM, errno);
}

static long dirty_pages(void)
{
	FILE *f = fopen("/proc/vmstat", "re");
	char line[128];
	long nr = -1;

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "nr_dirty %ld", &nr) == 1)
			break;
	if (f)
		fclose(f);
	return nr;
}

#define WRITEBACK	"/proc/sys/vm/dirty_writeback_centisecs"

static void set_writeback(const char *text)
{
	aio_write_text(WRITEBACK, text);
}

/*
 * The end of a ring does not count as something that was written back. A number below
 * zero would read as zero, so there is something else to be written meanwhile.
 */
TEST(rings_are_not_dirty)
{
	enum { ROUNDS = 20, EVENTS = 16384, DIRTY = 1024 };
	size_t page = getpagesize(), pages = 0, i;
	struct aio_slow_disk disk;
	long before, after;
	char *buf, old[32];
	int round, fd;

	if (dirty_pages() < 0)
		SKIP(return, "no nr_dirty in /proc/vmstat");
	if (!aio_slow_disk_make(&disk, 1))
		SKIP(return, "no root or no null_blk");
	fd = open(disk.dev, O_RDWR);
	buf = aio_pages(DIRTY * page, PROT_READ | PROT_WRITE);
	ASSERT_EQ(DIRTY * page, write(fd, buf, DIRTY * page));
	/* They stay dirty, however long this takes. */
	ASSERT_LT(0, aio_read_text(WRITEBACK, old, sizeof(old)));
	ASSERT_TRUE(aio_guard(set_writeback, old));
	ASSERT_EQ(0, aio_write_text(WRITEBACK, "0"));
	before = dirty_pages();
	EXPECT_LT(DIRTY / 2, before);
	for (round = 0; round < ROUNDS; round++) {
		aio_context_t ctx = 0;
		volatile char *ring;
		size_t len;

		ASSERT_EQ(0, io_setup(EVENTS, &ctx));
		ring = (volatile char *)ctx;
		len = AIO_RING_HEADER + (size_t)aio_ring(ctx)->nr * AIO_EVENT_SIZE;
		for (i = page / 2; i < len; i += page, pages++)
			ring[i] = 1;
		ASSERT_EQ(0, io_destroy(ctx));
	}
	after = dirty_pages();
	EXPECT_LT(4 * DIRTY, pages);
	/* Others may write a little meanwhile. */
	EXPECT_LT(labs(after - before), DIRTY / 4);
	set_writeback(old);
	close(fd);
	aio_slow_disk_remove(&disk);
}

TEST_SIGNAL(destroyed_ring_faults, SIGSEGV)
{
	aio_context_t ctx = 0;

	ASSERT_EQ(0, io_setup(1, &ctx));
	ASSERT_EQ(0, io_destroy(ctx));
	ASSERT_EQ(0, aio_ring(ctx)->tail);
}

struct racer {
	pthread_t thread;
	int *waiting;
	aio_context_t ctx;
	long ret;
};

/* All at the same moment: no sleep between the start and the call. */
static void *destroy_together(void *arg)
{
	struct racer *r = arg;
	int spins = 0;

	__atomic_sub_fetch(r->waiting, 1, __ATOMIC_SEQ_CST);
	while (__atomic_load_n(r->waiting, __ATOMIC_SEQ_CST))
		if (++spins % 100000 == 0)
			sched_yield();
	r->ret = io_destroy(r->ctx);
	return NULL;
}

TEST(destroy_race_has_one_winner)
{
	long long before = aio_nr();
	int round, i;

	for (round = 0; round < (aio_long() ? 60 : 15); round++) {
		aio_context_t ctx = 0;
		struct racer r[2];
		int waiting = 2;

		ASSERT_EQ(0, io_setup(1, &ctx));
		for (i = 0; i < 2; i++) {
			r[i].waiting = &waiting;
			r[i].ctx = ctx;
			ASSERT_EQ(0, pthread_create(&r[i].thread, NULL,
						    destroy_together, &r[i]));
		}
		for (i = 0; i < 2; i++)
			pthread_join(r[i].thread, NULL);
		/* One 0 and one EINVAL. */
		ASSERT_EQ(-EINVAL, r[0].ret + r[1].ret);
		ASSERT_TRUE(!r[0].ret || !r[1].ret);
		ASSERT_EQ(before, aio_nr());
	}
}

/*
 * Threads that make contexts and destroy each other's, by ids that may be stale
 * or name a new context at the same address: each is destroyed once.
 */
#define SHARED_IDS	3
#define SHARED_ROUNDS	(aio_long() ? 60 : 20)

struct sharer {
	pthread_t thread;
	pthread_barrier_t *start;
	volatile aio_context_t *id;
	unsigned int seed;
	int made, destroyed, odd;
};

static void *share(void *arg)
{
	struct sharer *s = arg;
	int i;

	pthread_barrier_wait(s->start);
	for (i = 0; i < SHARED_ROUNDS; i++) {
		volatile aio_context_t *id;
		aio_context_t ctx = 0;
		long ret;

		id = &s->id[rand_r(&s->seed) % SHARED_IDS];
		if (rand_r(&s->seed) % 2) {
			ret = io_setup(1, &ctx);
			s->made += !ret;
			s->odd += ret && ret != -EAGAIN;
			if (!ret)
				*id = ctx;
		} else {
			ret = io_destroy(*id);
			s->destroyed += !ret;
			s->odd += ret && ret != -EINVAL;
		}
	}
	return NULL;
}

TEST(destroy_races_with_setup_of_same_id)
{
	volatile aio_context_t id[SHARED_IDS] = { 0 };
	int i, made = 0, destroyed = 0, left;
	struct sharer s[4] = { 0 };
	long long before = aio_nr();
	pthread_barrier_t start;
	struct aio_vma vma;

	pthread_barrier_init(&start, NULL, 4);
	for (i = 0; i < 4; i++) {
		s[i].start = &start;
		s[i].id = id;
		s[i].seed = i + 1;
		ASSERT_EQ(0, pthread_create(&s[i].thread, NULL, share, &s[i]));
	}
	for (i = 0; i < 4; i++) {
		pthread_join(s[i].thread, NULL);
		made += s[i].made;
		destroyed += s[i].destroyed;
		EXPECT_EQ(0, s[i].odd);
	}
	left = made - destroyed;
	EXPECT_EQ(left, aio_maps(0, NULL));
	EXPECT_EQ(before + left, aio_nr());
	/* Those that are left work, and can be destroyed. */
	while (left-- > 0) {
		ASSERT_EQ(left + 1, aio_maps(0, &vma));
		EXPECT_EQ(0, aio_drain(vma.start));
		ASSERT_EQ(0, io_destroy(vma.start));
	}
	EXPECT_EQ(0, aio_maps(0, NULL));
	EXPECT_EQ(before, aio_nr());
}

/* The only way that programs have to stop a thread that reaps. */
TEST(destroy_wakes_readers)
{
	struct io_event events[3][8];
	struct aio_caller reader[3];
	struct timespec hour = { 3600 };
	aio_context_t ctx = 0;
	int i;

	ASSERT_EQ(0, io_setup(8, &ctx));
	for (i = 0; i < 3; i++) {
		reader[i] = (struct aio_caller){
			.ctx = ctx, .min_nr = 1 + 3 * i, .nr = 8,
			.events = events[i], .timeout = i == 1 ? &hour : NULL,
		};
		ASSERT_TRUE(aio_start_blocked(&reader[i], aio_getevents_thread,
					      __NR_io_getevents));
	}
	EXPECT_EQ(0, io_destroy(ctx));
	for (i = 0; i < 3; i++)
		EXPECT_EQ(-EINVAL, aio_join(&reader[i]));
}

/* What a reader has already taken is not lost by the destruction. */
TEST(destroy_keeps_what_a_reader_took)
{
	int null_fd = open("/dev/null", O_WRONLY);
	struct io_event events[4];
	struct aio_caller reader = {
		.min_nr = 4, .nr = 4, .events = events,
	};
	struct iocb iocb;

	ASSERT_EQ(0, io_setup(8, &reader.ctx));
	aio_prep(&iocb, IOCB_CMD_PWRITE, null_fd, "x", 1, 0);
	ASSERT_EQ(1, aio_submit_one(reader.ctx, &iocb));
	ASSERT_EQ(1, aio_submit_one(reader.ctx, &iocb));
	ASSERT_TRUE(aio_start_blocked(&reader, aio_getevents_thread,
				      __NR_io_getevents));
	EXPECT_EQ(0, io_destroy(reader.ctx));
	EXPECT_EQ(2, aio_join(&reader));
	EXPECT_EVENT(&events[0], &iocb, 1);
	EXPECT_EVENT(&events[1], &iocb, 1);
}

/*
 * A request that is still inside io_submit(): a read of an empty pipe. The
 * context cannot be found any more, but io_destroy() returns only when the
 * request is over.
 */
TEST(destroy_waits_for_submitter)
{
	struct aio_caller submitter = { 0 }, destroyer = { 0 };
	char buf[8] = "before";
	struct iocb iocb;
	__u64 count;
	int pipefd[2];
	int efd = eventfd(0, EFD_NONBLOCK);

	FOR_PLAIN("io_submit() does not wait");
	ASSERT_EQ(0, pipe(pipefd));
	ASSERT_EQ(0, io_setup(1, &submitter.ctx));
	aio_prep(&iocb, IOCB_CMD_PREAD, pipefd[0], buf, 6, 0);
	iocb.aio_flags = IOCB_FLAG_RESFD;
	iocb.aio_resfd = efd;
	submitter.iocb = &iocb;
	ASSERT_TRUE(aio_start_blocked(&submitter, aio_submit_thread,
				      __NR_io_submit));
	destroyer.ctx = submitter.ctx;
	ASSERT_TRUE(aio_start_blocked(&destroyer, aio_destroy_thread,
				      __NR_io_destroy));
	EXPECT_EQ(-EINVAL, io_destroy(submitter.ctx));
	aio_sleep_ms(50);
	EXPECT_FALSE(destroyer.done);
	EXPECT_FALSE(submitter.done);
	ASSERT_EQ(6, write(pipefd[1], "after!", 6));
	EXPECT_EQ(0, aio_join(&destroyer));
	/* The request was complete before io_destroy() returned. */
	EXPECT_EQ(sizeof(count), read(efd, &count, sizeof(count)));
	EXPECT_EQ(1, aio_join(&submitter));
	EXPECT_EQ(0, memcmp(buf, "after!", 6));
}

static volatile sig_atomic_t handled;

static void count_signal(int sig)
{
	handled++;
}

/*
 * What goes at once, and what goes when the last request is over: the ring and the
 * share of fs.aio-nr do not wait. A signal does not end the wait.
 */
TEST(destroy_gives_back_before_it_waits)
{
	struct aio_caller submitter = { 0 }, destroyer = { 0 };
	struct sigaction sa = { .sa_handler = count_signal };
	long long before = aio_nr();
	unsigned char vec;
	struct iocb iocb;
	int pipefd[2], i;
	char c;

	FOR_PLAIN("io_submit() does not wait");
	ASSERT_EQ(0, sigaction(SIGUSR1, &sa, NULL));
	ASSERT_EQ(0, pipe(pipefd));
	ASSERT_EQ(0, io_setup(100, &submitter.ctx));
	EXPECT_EQ(before + 100, aio_nr());
	aio_prep(&iocb, IOCB_CMD_PREAD, pipefd[0], &c, 1, 0);
	submitter.iocb = &iocb;
	ASSERT_TRUE(aio_start_blocked(&submitter, aio_submit_thread,
				      __NR_io_submit));
	destroyer.ctx = submitter.ctx;
	ASSERT_TRUE(aio_start_blocked(&destroyer, aio_destroy_thread,
				      __NR_io_destroy));
	/* On the way to its wait it may have slept for other reasons. */
	for (i = 0; i < 5000 && aio_nr() != before; i++)
		aio_sleep_ms(1);
	for (i = 0; i < 5000 && aio_maps(0, NULL); i++)
		aio_sleep_ms(1);
	EXPECT_EQ(before, aio_nr());
	EXPECT_EQ(0, aio_maps(0, NULL));
	EXPECT_EQ(-1, mincore((void *)submitter.ctx, getpagesize(), &vec));
	EXPECT_EQ(ENOMEM, errno);
	for (i = 0; i < 3; i++) {
		EXPECT_EQ(0, pthread_kill(destroyer.thread, SIGUSR1));
		aio_sleep_ms(30);
	}
	EXPECT_TRUE(aio_wait_blocked(&destroyer.tid, __NR_io_destroy));
	EXPECT_FALSE(destroyer.done);
	EXPECT_EQ(0, handled);
	ASSERT_EQ(1, write(pipefd[1], "x", 1));
	EXPECT_EQ(0, aio_join(&destroyer));
	EXPECT_EQ(1, handled);
	EXPECT_EQ(1, aio_join(&submitter));
}

/* Not even SIGKILL does. Whose memory is gone has left the system call. */
TEST(destroy_is_not_killed)
{
	bool blocked = false, there = false, busy = false;
	struct aio_slow_disk disk;
	char path[64], text[256];
	int status = -1, i;
	pid_t pid, died = 0;

	if (!aio_slow_disk_make(&disk, 3000))
		SKIP(return, "no null_blk disk (needs root and configfs)");
	pid = fork();
	if (!pid) {
		char *buf = aio_pages(4096, PROT_READ | PROT_WRITE);
		aio_context_t ctx = 0;
		struct iocb iocb;

		aio_prep(&iocb, IOCB_CMD_PWRITE, open(disk.dev, O_RDWR | O_DIRECT),
			 buf, 4096, 0);
		if (io_setup(1, &ctx) || aio_submit_one(ctx, &iocb) != 1)
			_exit(1);
		io_destroy(ctx);
		_exit(2);
	}
	for (i = 0; i < 20000 && !blocked && !died; i++) {
		blocked = aio_is_blocked(pid, pid, __NR_io_destroy);
		died = waitpid(pid, &status, WNOHANG);
		aio_sleep_ms(1);
	}
	if (!died)
		kill(pid, SIGKILL);
	/* Time enough to come to its end, if it could. */
	aio_sleep_ms(300);
	snprintf(path, sizeof(path), "/proc/%d/statm", pid);
	if (aio_read_text(path, text, sizeof(text)) > 0)
		there = atol(text) > 0;
	busy = aio_disk_stat(disk.dev, "inflight", 1) == 1;
	if (!died)
		EXPECT_EQ(pid, waitpid(pid, &status, 0));
	/* The event is there before the disk has counted. */
	for (i = 0; i < 5000 && aio_disk_stat(disk.dev, "inflight", 1); i++)
		aio_sleep_ms(1);
	EXPECT_EQ(0, aio_disk_stat(disk.dev, "inflight", 1));
	aio_slow_disk_remove(&disk);
	if (!blocked || !busy)
		SKIP(return, "the disk was faster than this machine");
	EXPECT_TRUE(there);
	EXPECT_EQ(SIGKILL, status);
}

/* The same for requests that a disk is working on. */
TEST(destroy_waits_for_disk)
{
	static struct iocb iocb[64];
	struct aio_slow_disk disk;
	aio_context_t ctx = 0;
	__u64 count = 0;
	int fd, efd, i;
	char *buf;

	if (!aio_slow_disk_make(&disk, 300))
		SKIP(return, "no null_blk disk (needs root and configfs)");
	efd = eventfd(0, EFD_NONBLOCK);
	fd = open(disk.dev, O_RDWR | O_DIRECT);
	EXPECT_GE(fd, 0);
	buf = aio_pages(64 * 4096, PROT_READ | PROT_WRITE);
	EXPECT_EQ(0, io_setup(64, &ctx));
	for (i = 0; i < 64; i++) {
		aio_prep(&iocb[i], i & 1 ? IOCB_CMD_PREAD : IOCB_CMD_PWRITE, fd,
			 buf + i * 4096, 4096, i * 4096);
		iocb[i].aio_flags = IOCB_FLAG_RESFD;
		iocb[i].aio_resfd = efd;
		EXPECT_EQ(1, aio_submit_one(ctx, &iocb[i]));
	}
	EXPECT_EQ(0, io_destroy(ctx));
	EXPECT_EQ(sizeof(count), read(efd, &count, sizeof(count)));
	EXPECT_EQ(64, count);
	close(fd);
	aio_slow_disk_remove(&disk);
}

struct looker {
	pthread_t thread;
	aio_context_t ctx;
	int eventfd, pipe[2];
	volatile bool done;
	/* What was found. */
	long ret, written;
	__u64 count;
};

/* Ends a context, and looks at once what is left of its request. */
static void *destroy_and_look(void *arg)
{
	struct looker *l = arg;

	l->ret = io_destroy(l->ctx);
	if (read(l->eventfd, &l->count, sizeof(l->count)) != sizeof(l->count))
		l->count = 0;
	close(l->pipe[0]);
	l->written = aio_result(write(l->pipe[1], "x", 1));
	l->done = true;
	return NULL;
}

FIXTURE(nothing) {};
FIXTURE_SETUP(nothing) {}
FIXTURE_TEARDOWN(nothing) {}

/*
 * When io_destroy() returns, nobody works on a request any longer: its eventfd has
 * been signalled, and it does not keep its file open. Raced with a completion that
 * is under way, and with the cancellation.
 */
TEST_F_TIMEOUT(nothing, is_left_of_a_request_when_destroy_returns, 300)
{
	int efd = eventfd(0, EFD_NONBLOCK), round, late_signals = 0, open_files = 0;
	struct iocb iocb;

	signal(SIGPIPE, SIG_IGN);
	for (round = 0; round < (aio_long() ? 500 : 96); round++) {
		struct looker l = { .eventfd = efd };

		ASSERT_EQ(0, pipe(l.pipe));
		ASSERT_EQ(0, io_setup(1, &l.ctx));
		aio_prep(&iocb, IOCB_CMD_POLL, l.pipe[0], (void *)POLLIN, 0, 0);
		iocb.aio_flags = IOCB_FLAG_RESFD;
		iocb.aio_resfd = efd;
		ASSERT_EQ(1, aio_submit_one(l.ctx, &iocb));
		ASSERT_EQ(0, pthread_create(&l.thread, NULL, destroy_and_look, &l));
		/*
		 * Most of io_destroy() is waiting, at the end of which the request is
		 * cancelled; every fourth time nothing else happens to it.
		 */
		if (round % 4) {
			usleep(round % 16 * 1500);
			if (!l.done)
				aio_result(write(l.pipe[1], "x", 1));
		}
		pthread_join(l.thread, NULL);
		EXPECT_EQ(0, l.ret);
		if (l.count != 1) {
			late_signals++;
			/* It comes later, and must not be seen in the next round. */
			while (read(efd, &l.count, sizeof(l.count)) < 0)
				sched_yield();
		}
		/* The last to have the other end has closed it. */
		if (l.written != -EPIPE)
			open_files++;
		close(l.pipe[1]);
	}
	EXPECT_EQ(0, late_signals);
	EXPECT_EQ(0, open_files);
}

TEST_HARNESS_MAIN
