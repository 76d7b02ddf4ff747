// SPDX-License-Identifier: GPL-2.0
/*
 * What io_setup2() pins: how much locked memory it takes, and from whom.
 *
 * Held here: memory is charged before it is pinned, always against RLIMIT_MEMLOCK,
 * and a page of a larger folio as the whole folio, once for each context; what
 * fails later gives everything back; a buffer takes one pin of a folio, and no page is
 * pinned too often; memory of devices is refused; a fault that nobody answers stops
 * the thread that has it, and no other one, and SIGKILL ends it.
 */
#include <glob.h>
#include <linux/capability.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include "../kselftest_harness.h"
#include "aio_ext_test.h"

#define NR		8
#define HUGE		(2UL << 20)
#define MAX_NR		"/proc/sys/fs/aio-max-nr"
#define NR_HUGEPAGES	"/proc/sys/vm/nr_hugepages"
#define FREE_HUGEPAGES	"/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages"
#define MAX_PINS	(1U << 20)
#define ALL_KINDS	(USERIOCB | FIXEDBUFS | IOPOLL)

static long long locked(void)
{
	return aio_locked(getpid());
}

static int cap_data(struct __user_cap_data_struct *data, int call)
{
	struct __user_cap_header_struct head = {
		.version = _LINUX_CAPABILITY_VERSION_3,
	};

	return syscall(call, &head, data);
}

/* Lets RLIMIT_MEMLOCK be a limit for the calling thread, or takes that back. */
static int be_limited(bool on)
{
	struct __user_cap_data_struct data[2];

	if (cap_data(data, __NR_capget))
		return -errno;
	if (on)
		data[0].effective &= ~(1U << CAP_IPC_LOCK);
	else
		data[0].effective |= 1U << CAP_IPC_LOCK;
	return cap_data(data, __NR_capset) ? -errno : 0;
}

/* The soft limit. */
static int limit(int which, unsigned long bytes)
{
	struct rlimit rlim;

	if (getrlimit(which, &rlim))
		return -errno;
	rlim.rlim_cur = bytes;
	return setrlimit(which, &rlim) ? -errno : 0;
}

FIXTURE(pinned) {
	struct iocb *iocbs;
	struct aio_balance before;
	char max_nr[32], hugepages[32], memlock[32];
	size_t page;
	char *buf;
};

FIXTURE_SETUP(pinned)
{
	int i;

	NEED_SETUP2();
	if (geteuid())
		SKIP(return, "needs root");
	ASSERT_LT(0, aio_read_text(MAX_NR, self->max_nr, sizeof(self->max_nr)));
	ASSERT_LT(0, aio_read_text(AIO_MEMLOCK, self->memlock, sizeof(self->memlock)));
	/* Rings are not what this is about. */
	ASSERT_EQ(0, aio_write_text(AIO_MEMLOCK, "0"));
	aio_read_text(NR_HUGEPAGES, self->hugepages, sizeof(self->hugepages));
	self->page = getpagesize();
	/* One page, whatever is around it. */
	self->iocbs = aio_pages(self->page, PROT_READ | PROT_WRITE);
	self->buf = aio_pages(2 * self->page, PROT_READ | PROT_WRITE);
	ASSERT_NE(MAP_FAILED, (void *)self->iocbs);
	ASSERT_NE(MAP_FAILED, (void *)self->buf);
	for (i = 0; i < NR; i++)
		aio_prep(&self->iocbs[i], IOCB_CMD_PREAD, -1, self->buf,
			 2 * self->page, 0);
	self->before = aio_balance();
	ASSERT_LE(0, self->before.pinned);
}

FIXTURE_TEARDOWN(pinned)
{
	EXPECT_BALANCE(self->before);
	if (self->max_nr[0])
		EXPECT_EQ(0, aio_write_text(MAX_NR, self->max_nr));
	if (self->memlock[0])
		EXPECT_EQ(0, aio_write_text(AIO_MEMLOCK, self->memlock));
	if (self->hugepages[0])
		EXPECT_EQ(0, aio_write_text(NR_HUGEPAGES, self->hugepages));
}

/* A huge page of hugetlbfs. */
static char *huge_page(int more)
{
	char text[32];

	snprintf(text, sizeof(text), "%lld", aio_read_number(NR_HUGEPAGES) + more);
	aio_write_text(NR_HUGEPAGES, text);
	return aio_huge_pages(1);
}

/* ------------------------------------------------------ how much */

TEST_F(pinned, exempt_but_counted)
{
	aio_context_t ctx = 0;
	long long ring = aio_ring_bytes(NR), page = self->page, held;
	const long long pinned = aio_pinned_for_long();

	ASSERT_EQ(0, limit(RLIMIT_MEMLOCK, 0));
	ASSERT_EQ(0, io_setup2(NR, USERIOCB, self->iocbs, &ctx));
	EXPECT_EQ(self->before.locked + ring + page, locked());
	held = aio_pinned();
	EXPECT_EQ(0, io_destroy(ctx));
	EXPECT_LE(aio_pinned_for_long_of(pinned) + 1, held);
	EXPECT_EQ(self->before.locked, locked());
	ctx = 0;
	/* A small page counts as often as it is pinned. */
	ASSERT_EQ(0, io_setup2(NR, USERIOCB | FIXEDBUFS, self->iocbs, &ctx));
	EXPECT_EQ(self->before.locked + ring + (1 + 2 * NR) * page, locked());
	held = aio_pinned();
	EXPECT_EQ(0, io_destroy(ctx));
	EXPECT_LE(aio_pinned_for_long_of(pinned) + 1 + 2 * NR, held);
	ctx = 0;
	/* Nothing is pinned for polling alone. */
	ASSERT_EQ(0, io_setup2(NR, IOPOLL, NULL, &ctx));
	EXPECT_EQ(self->before.locked + ring, locked());
	EXPECT_EQ(0, io_destroy(ctx));
}

TEST_F(pinned, to_the_page)
{
	size_t page = self->page;
	aio_context_t ctx = 0;

	ASSERT_EQ(0, be_limited(true));
	ASSERT_EQ(0, limit(RLIMIT_MEMLOCK, page - 1));
	EXPECT_EQ(-EAGAIN, io_setup2(NR, USERIOCB, self->iocbs, &ctx));
	ASSERT_EQ(0, limit(RLIMIT_MEMLOCK, page));
	EXPECT_EQ(0, io_setup2(NR, USERIOCB, self->iocbs, &ctx));
	EXPECT_EQ(0, io_destroy(ctx));
	ctx = 0;
	ASSERT_EQ(0, limit(RLIMIT_MEMLOCK, 2 * NR * page));
	EXPECT_EQ(-EAGAIN, io_setup2(NR, USERIOCB | FIXEDBUFS, self->iocbs, &ctx));
	EXPECT_BALANCE(self->before);
	ASSERT_EQ(0, limit(RLIMIT_MEMLOCK, (2 * NR + 1) * page));
	EXPECT_EQ(0, io_setup2(NR, USERIOCB | FIXEDBUFS, self->iocbs, &ctx));
	EXPECT_EQ(0, io_destroy(ctx));
	/* One byte may touch one page more. */
	self->iocbs[0].aio_buf += page - 1;
	self->iocbs[0].aio_nbytes = 2;
	ctx = 0;
	EXPECT_EQ(0, io_setup2(NR, USERIOCB | FIXEDBUFS, self->iocbs, &ctx));
	EXPECT_EQ(0, io_destroy(ctx));
	EXPECT_EQ(0, be_limited(false));
}

/* What mlock() has charged, and what it wants later. */
TEST_F(pinned, locked_twice)
{
	size_t page = self->page;
	aio_context_t ctx = 0;

	ASSERT_EQ(0, be_limited(true));
	ASSERT_EQ(0, limit(RLIMIT_MEMLOCK, 2 * page + aio_ring_bytes(NR)));
	ASSERT_EQ(0, mlock(self->iocbs, page));
	ASSERT_EQ(0, io_setup2(NR, USERIOCB, self->iocbs, &ctx));
	EXPECT_EQ(self->before.locked + (long long)(2 * page + aio_ring_bytes(NR)),
		  locked());
	EXPECT_EQ(-1, mlock(self->buf, page));
	EXPECT_EQ(0, io_destroy(ctx));
	EXPECT_EQ(0, mlock(self->buf, page));
	EXPECT_EQ(0, munlock(self->buf, page));
	EXPECT_EQ(0, munlock(self->iocbs, page));
	EXPECT_EQ(0, be_limited(false));
}

TEST_F(pinned, capable_in_a_namespace_only)
{
	struct __user_cap_data_struct data[2];
	aio_context_t ctx = 0;
	int status;
	pid_t pid;

	ASSERT_EQ(0, limit(RLIMIT_MEMLOCK, 0));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		if (unshare(CLONE_NEWUSER))
			_exit(KSFT_SKIP);
		if (cap_data(data, __NR_capget) ||
		    !(data[0].effective & (1U << CAP_IPC_LOCK)))
			_exit(1);
		_exit(io_setup2(NR, USERIOCB, self->iocbs, &ctx) == -EAGAIN ? 0 : 2);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	if (WIFEXITED(status) && WEXITSTATUS(status) == KSFT_SKIP)
		SKIP(return, "no user namespaces");
	EXPECT_EQ(0, status);
}

/* The span of a buffer is within the limit, the folio that it keeps is not. */
TEST_F(pinned, folios)
{
	size_t page = self->page;
	aio_context_t a = 0, b = 0;
	long long ring = aio_ring_bytes(1);
	char *p = huge_page(1);

	if (p == MAP_FAILED)
		SKIP(return, "no huge page of 2 MiB");
	aio_prep(&self->iocbs[0], IOCB_CMD_PREAD, -1, p + 5 * page, page, 0);
	ASSERT_EQ(0, be_limited(true));
	ASSERT_EQ(0, limit(RLIMIT_MEMLOCK, HUGE));
	EXPECT_EQ(-EAGAIN, io_setup2(1, USERIOCB | FIXEDBUFS, self->iocbs, &a));
	EXPECT_BALANCE(self->before);
	ASSERT_EQ(0, limit(RLIMIT_MEMLOCK, HUGE + page));
	ASSERT_EQ(0, io_setup2(1, USERIOCB | FIXEDBUFS, self->iocbs, &a));
	EXPECT_EQ(self->before.locked + (long long)(HUGE + page) + ring, locked());
	/* Another context is charged for all of it again. */
	EXPECT_EQ(-EAGAIN, io_setup2(1, USERIOCB | FIXEDBUFS, self->iocbs, &b));
	EXPECT_EQ(self->before.locked + (long long)(HUGE + page) + ring, locked());
	ASSERT_EQ(0, limit(RLIMIT_MEMLOCK, 2 * (HUGE + page) + ring));
	ASSERT_EQ(0, io_setup2(1, USERIOCB | FIXEDBUFS, self->iocbs, &b));
	EXPECT_EQ(self->before.locked + 2 * ((long long)(HUGE + page) + ring),
		  locked());
	EXPECT_EQ(0, io_destroy(a));
	EXPECT_EQ(0, io_destroy(b));
	/* The iocbs may be in the same folio. */
	aio_prep((void *)p, IOCB_CMD_PREAD, -1, p + 5 * page, page, 0);
	a = 0;
	ASSERT_EQ(0, io_setup2(1, USERIOCB | FIXEDBUFS, (void *)p, &a));
	EXPECT_EQ(self->before.locked + (long long)HUGE + ring, locked());
	EXPECT_EQ(0, io_destroy(a));
	EXPECT_EQ(0, be_limited(false));
	munmap(p, HUGE);
}

/* So many that a pin for each page would be too many in the first context. */
TEST_F_TIMEOUT(pinned, a_folio_has_one_pin, 200)
{
	const unsigned int folio = HUGE / self->page, nr = MAX_PINS / folio + 1, few = 2;
	const long long array = (nr * sizeof(struct iocb) + self->page - 1) / self->page;
	long long ring = aio_ring_bytes(nr), page = self->page, nr_free;
	long long pinned = aio_pinned_for_long(), held[3];
	aio_context_t ctx[3] = { 0 };
	struct iocb *iocbs = aio_iocbs(nr);
	unsigned int i, left;
	char *p = huge_page(1);

	if (p == MAP_FAILED)
		SKIP(return, "no huge page of 2 MiB");
	/* First all that the buffers span is charged, then the folio. */
	for (i = 0; i < few; i++)
		aio_prep(&self->iocbs[i], IOCB_CMD_PREAD, -1, p, HUGE, 0);
	ASSERT_EQ(0, be_limited(true));
	ASSERT_EQ(0, limit(RLIMIT_MEMLOCK, (1 + few * folio) * page - 1));
	EXPECT_EQ(-EAGAIN, io_setup2(few, USERIOCB | FIXEDBUFS, self->iocbs, &ctx[0]));
	EXPECT_BALANCE(self->before);
	ASSERT_EQ(0, limit(RLIMIT_MEMLOCK, (1 + few * folio) * page));
	ASSERT_EQ(0, io_setup2(few, USERIOCB | FIXEDBUFS, self->iocbs, &ctx[0]));
	EXPECT_EQ(self->before.locked + (1 + folio) * page + (long long)aio_ring_bytes(few),
		  locked());
	EXPECT_EQ(0, io_destroy(ctx[0]));
	EXPECT_EQ(0, be_limited(false));

	nr_free = aio_read_number(FREE_HUGEPAGES);
	ctx[0] = 0;
	for (i = 0; i < nr; i++)
		aio_prep(&iocbs[i], IOCB_CMD_PREAD, -1, p, HUGE, 0);
	for (i = 0; i < ARRAY_SIZE(ctx); i++)
		ASSERT_EQ(0, io_setup2(nr, USERIOCB | FIXEDBUFS, iocbs, &ctx[i]));
	/* The last pin keeps the folio. */
	munmap(p, HUGE);
	for (left = i; left; left--) {
		EXPECT_EQ(self->before.locked + left * ((array + folio) * page + ring), locked());
		EXPECT_TRUE(aio_pinned_back_to(self->before.pinned + left * (array + nr)));
		held[left - 1] = aio_pinned();
		EXPECT_EQ(nr_free, aio_read_number(FREE_HUGEPAGES));
		EXPECT_EQ(0, io_destroy(ctx[left - 1]));
	}
	EXPECT_EQ(nr_free + 1, aio_read_number(FREE_HUGEPAGES));
	pinned = aio_pinned_for_long_of(pinned);
	for (left = i; left; left--)
		EXPECT_LE(pinned + left * (array + nr), held[left - 1]);
}

/* So many contexts have all pins that a page can have. */
#define OFTEN	16

/*
 * No more than 2^20 pins of a page, by all processes. A buffer of one byte is one of them; if
 * there is less time, it has 2 MiB, all of which are the same page. The 512 mappings are
 * references to the page, too, but not enough for a pin.
 */
TEST_F_TIMEOUT(pinned, often, 300)
{
	const size_t page = self->page, views = aio_long() ? 1 : AIO_FIXEDBUF_MAX / 2 / page;
	const size_t len = views > 1 ? views * page : 1;
	const unsigned int nr = MAX_PINS / OFTEN / views, kinds = USERIOCB | FIXEDBUFS;
	aio_context_t ctx[OFTEN] = { 0 }, one = 0, other = 0;
	struct iocb *iocbs = aio_iocbs(nr), *few = self->iocbs;
	struct aio_balance full;
	int fd = aio_mem_file();
	int status;
	char *p;
	size_t i;
	pid_t pid;

	ASSERT_LE(nr, (unsigned int)AIO_FIXEDBUFS_MAX_EVENTS);
	ASSERT_EQ(0, ftruncate(fd, page));
	p = aio_pages(views * page, PROT_NONE);
	ASSERT_NE(MAP_FAILED, (void *)p);
	for (i = 0; i < views; i++)
		ASSERT_NE(MAP_FAILED, mmap(p + i * page, page, PROT_READ | PROT_WRITE,
					   MAP_SHARED | MAP_FIXED, fd, 0));
	for (i = 0; i < nr; i++)
		aio_prep(&iocbs[i], IOCB_CMD_PREAD, -1, p, len, 0);
	for (i = 0; i < NR; i++)
		aio_prep(&few[i], IOCB_CMD_PREAD, -1, p, 1, 0);
	ASSERT_EQ(0, aio_write_text(MAX_NR, "4194304"));

	for (i = 0; i < OFTEN; i++)
		ASSERT_EQ(0, io_setup2(nr, kinds, iocbs, &ctx[i]));
	full = aio_balance();
	EXPECT_LE(self->before.pinned + MAX_PINS, full.pinned);
	/* That was the last one. */
	EXPECT_EQ(-EAGAIN, io_setup2(1, kinds, few, &one));
	EXPECT_BALANCE(full);
	EXPECT_EQ(-EAGAIN, io_setup2(nr, kinds, iocbs, &one));
	EXPECT_BALANCE(full);
	/* Another process has no pins of its own. */
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid)
		_exit(io_setup2(1, kinds, few, &one) == -EAGAIN ? 0 : 1);
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_BALANCE(full);

	/* Nor can a context have a part of what it wants. */
	EXPECT_EQ(0, io_destroy(ctx[OFTEN - 1]));
	ctx[OFTEN - 1] = 0;
	ASSERT_EQ(0, io_setup2(NR - 1, kinds, few, &one));
	full = aio_balance();
	EXPECT_EQ(-EAGAIN, io_setup2(nr, kinds, iocbs, &other));
	EXPECT_BALANCE(full);
	EXPECT_EQ(0, io_destroy(one));
	ASSERT_EQ(0, io_setup2(nr, kinds, iocbs, &ctx[OFTEN - 1]));
	for (i = 0; i < OFTEN; i++)
		EXPECT_EQ(0, io_destroy(ctx[i]));
	munmap(p, views * page);
	close(fd);
}

/* Somebody can find out why it was refused. */
TEST_F(pinned, a_line_in_the_log)
{
	int log = open("/dev/kmsg", O_RDONLY | O_NONBLOCK), i;
	bool found = false;
	char line[2048];

	if (log < 0)
		SKIP(return, "no /dev/kmsg");
	lseek(log, 0, SEEK_END);
	ASSERT_EQ(0, be_limited(true));
	ASSERT_EQ(0, limit(RLIMIT_MEMLOCK, 0));
	/* There are only so many lines in a time. */
	for (i = 0; i < 20 && !found; i++) {
		aio_context_t ctx = 0;
		ssize_t len;

		EXPECT_EQ(-EAGAIN, io_setup2(NR, USERIOCB, self->iocbs, &ctx));
		while ((len = read(log, line, sizeof(line) - 1)) > 0 ||
		       (len < 0 && errno == EPIPE)) {
			line[len < 0 ? 0 : len] = '\0';
			found |= strstr(line, "io_setup2") &&
				 strstr(line, "RLIMIT_MEMLOCK");
		}
		if (!found)
			aio_sleep_ms(1000);
	}
	EXPECT_TRUE(found);
	EXPECT_EQ(0, be_limited(false));
	close(log);
}

/* ------------------------------------------------------ which error is first */

TEST_F(pinned, order)
{
	size_t page = self->page;
	aio_context_t ctx = 0;

	ASSERT_EQ(0, be_limited(true));
	/* The limit is asked before the memory is. */
	ASSERT_EQ(0, limit(RLIMIT_MEMLOCK, 0));
	EXPECT_EQ(-EAGAIN, io_setup2(NR, USERIOCB, aio_unmapped(), &ctx));
	EXPECT_EQ(-EINVAL, io_setup2(NR, USERIOCB,
				     (void *)((char *)self->iocbs + 32), &ctx));
	EXPECT_EQ(-EFAULT, io_setup2(NR, USERIOCB, NULL, &ctx));
	/* All buffers are checked before one is charged, ... */
	ASSERT_EQ(0, limit(RLIMIT_MEMLOCK, page));
	EXPECT_EQ(-EAGAIN, io_setup2(NR, USERIOCB | FIXEDBUFS, self->iocbs, &ctx));
	self->iocbs[NR - 1].aio_nbytes = AIO_FIXEDBUF_MAX + 1;
	EXPECT_EQ(-EFAULT, io_setup2(NR, USERIOCB | FIXEDBUFS, self->iocbs, &ctx));
	self->iocbs[NR - 1].aio_nbytes = 1;
	self->iocbs[NR - 1].aio_buf = 0;
	EXPECT_EQ(-EFAULT, io_setup2(NR, USERIOCB | FIXEDBUFS, self->iocbs, &ctx));
	/* ... and all are charged before one is pinned. */
	self->iocbs[0].aio_buf = (uintptr_t)aio_unmapped();
	self->iocbs[NR - 1].aio_buf = (uintptr_t)self->buf;
	EXPECT_EQ(-EAGAIN, io_setup2(NR, USERIOCB | FIXEDBUFS, self->iocbs, &ctx));
	EXPECT_EQ(0, be_limited(false));
	/* Then the ring, and then the events of all. */
	EXPECT_EQ(0, aio_write_text(MAX_NR, "1"));
	self->iocbs[0].aio_buf = (uintptr_t)self->buf;
	EXPECT_EQ(-EAGAIN, io_setup2(2, USERIOCB | FIXEDBUFS,
				     aio_unmapped(), &ctx));
	EXPECT_EQ(0, aio_write_text(MAX_NR, self->max_nr));
	EXPECT_EQ(0, ctx);
}

/*
 * The memory, the ring, the events of all contexts, *ctxp: the first of them that is wrong is
 * what the call tells of, and all before it is undone.
 */
TEST_F(pinned, order_of_the_last_steps)
{
	aio_context_t *ro = aio_pages(self->page, PROT_READ);
	struct iocb *unmapped = aio_unmapped();
	aio_context_t ctx = 0, other = 0;
	struct aio_balance before;
	struct rlimit as;
	char text[32];
	int i;

	ASSERT_EQ(0, getrlimit(RLIMIT_AS, &as));
	ASSERT_EQ(0, io_setup(NR, &other));
	before = aio_balance();
	/* Enough for a context, not for both. */
	snprintf(text, sizeof(text), "%lld", before.nr + NR - 1);
	for (i = 0; i < 3 * 8; i++) {
		bool array = i / 8 == 1, buffer = i / 8 == 2;
		bool ring = i & 1, events = i & 2, ctxp = i & 4;
		long ret, want = array || buffer ? -EFAULT : ring ? -ENOMEM :
				 events ? -EAGAIN : ctxp ? -EFAULT : 0;

		self->iocbs[NR - 1].aio_buf = (uintptr_t)(buffer ? (void *)unmapped : self->buf);
		ASSERT_EQ(0, aio_write_text(MAX_NR, events ? text : self->max_nr));
		if (ring)
			ASSERT_EQ(0, limit(RLIMIT_AS, 0));
		ret = io_setup2(NR, USERIOCB | FIXEDBUFS, array ? unmapped : self->iocbs,
				ctxp ? ro : &ctx);
		ASSERT_EQ(0, setrlimit(RLIMIT_AS, &as));
		EXPECT_EQ(want, ret)
			TH_LOG("array %d buffer %d ring %d events %d ctxp %d", array, buffer,
			       ring, events, ctxp);
		if (ctx)
			EXPECT_EQ(0, io_destroy(ctx));
		ctx = 0;
		EXPECT_BALANCE(before);
	}
	EXPECT_EQ(0, io_destroy(other));
}

struct failing {
	pthread_t thread;
	struct iocb *iocbs;
	aio_context_t *ctxp;
	int rounds;
};

static void *failing_thread(void *arg)
{
	struct failing *f = arg;

	while (f->rounds && io_setup2(NR, ALL_KINDS, f->iocbs, f->ctxp) == -EFAULT)
		f->rounds--;
	return NULL;
}

/* Lets each step fail in turn, so many times. */
static void fail_at_each_step(struct __test_metadata *_metadata,
			      struct _test_data_pinned *self, int rounds)
{
	struct failing threads[16];
	aio_context_t *ro = aio_pages(self->page, PROT_READ);
	aio_context_t ctx = 0, one = 0;
	struct iocb *last = &self->iocbs[NR - 1];
	struct rlimit as;
	char text[32];
	int i;

#define FAILS(error, iocbs, ctxp) do {					\
	for (i = 0; i < rounds; i++)					\
		ASSERT_EQ(error, io_setup2(NR, ALL_KINDS, iocbs, ctxp));\
	EXPECT_BALANCE(self->before);					\
} while (0)

	FAILS(-EFAULT, aio_unmapped(), &ctx);
	FAILS(-EFAULT, (struct iocb *)ro, &ctx);
	last->aio_nbytes = -1ULL;
	FAILS(-EFAULT, self->iocbs, &ctx);
	last->aio_nbytes = self->page;
	last->aio_buf = (uintptr_t)ro;
	FAILS(-EFAULT, self->iocbs, &ctx);
	last->aio_buf = (uintptr_t)self->buf + self->page;
	last->aio_nbytes = 16 * self->page;
	ASSERT_EQ(0, mprotect(self->buf + self->page, self->page, PROT_READ));
	FAILS(-EFAULT, self->iocbs, &ctx);
	ASSERT_EQ(0, mprotect(self->buf + self->page, self->page,
			      PROT_READ | PROT_WRITE));
	last->aio_nbytes = self->page;
	/* The array, the buffers. */
	ASSERT_EQ(0, be_limited(true));
	ASSERT_EQ(0, limit(RLIMIT_MEMLOCK, 0));
	FAILS(-EAGAIN, self->iocbs, &ctx);
	ASSERT_EQ(0, limit(RLIMIT_MEMLOCK, 3 * self->page));
	FAILS(-EAGAIN, self->iocbs, &ctx);
	ASSERT_EQ(0, be_limited(false));
	/* The ring: there is no address space. */
	ASSERT_EQ(0, getrlimit(RLIMIT_AS, &as));
	ASSERT_EQ(0, limit(RLIMIT_AS, 0));
	for (i = 0; i < rounds; i++)
		if (io_setup2(NR, ALL_KINDS, self->iocbs, &ctx) != -ENOMEM)
			break;
	ASSERT_EQ(0, setrlimit(RLIMIT_AS, &as));
	EXPECT_EQ(rounds, i);
	EXPECT_BALANCE(self->before);
	/* The events of all contexts. */
	snprintf(text, sizeof(text), "%lld", aio_nr() + NR);
	ASSERT_EQ(0, io_setup(1, &one));
	ASSERT_EQ(0, aio_write_text(MAX_NR, text));
	for (i = 0; i < rounds; i++)
		ASSERT_EQ(-EAGAIN, io_setup2(NR, ALL_KINDS, self->iocbs, &ctx));
	ASSERT_EQ(0, aio_write_text(MAX_NR, self->max_nr));
	EXPECT_EQ(0, io_destroy(one));
	EXPECT_BALANCE(self->before);
	/* The last one; the end of a context is a wait most of the time. */
	for (i = 0; i < (int)ARRAY_SIZE(threads); i++) {
		threads[i] = (struct failing){
			.iocbs = self->iocbs,
			.ctxp = ro,
			.rounds = (rounds - 1) / ARRAY_SIZE(threads) + 1,
		};
		ASSERT_EQ(0, pthread_create(&threads[i].thread, NULL, failing_thread,
					    &threads[i]));
	}
	for (i = 0; i < (int)ARRAY_SIZE(threads); i++) {
		pthread_join(threads[i].thread, NULL);
		EXPECT_EQ(0, threads[i].rounds);
	}
	EXPECT_BALANCE(self->before);
	EXPECT_EQ(0, ctx);
}

TEST_F_TIMEOUT(pinned, every_step_fails, 1700)
{
	/* Once is enough for that. */
	fail_at_each_step(_metadata, self, aio_long() && sizeof(long) == 8 ? 100000 : 200);
}

/*
 * The limit goes up by a page each time: it is refused where the iocbs, the buffers, and
 * what else their folios keep are charged, until there is enough.
 */
TEST_F_TIMEOUT(pinned, every_limit, 200)
{
	size_t page = self->page, pages;
	aio_context_t ctx = 0;
	long ret = -EAGAIN;
	char *p = huge_page(1);

	if (p == MAP_FAILED)
		SKIP(return, "no huge page of 2 MiB");
	self->iocbs[1].aio_buf = (uintptr_t)p;
	self->iocbs[2].aio_buf = (uintptr_t)p + HUGE - 2 * page;
	ASSERT_EQ(0, be_limited(true));
	for (pages = 0; pages <= 2 * NR + 1 + HUGE / page; pages++) {
		/* All of what is charged first, and each 16th of the rest. */
		if (pages > 2 * NR + 8 && pages < HUGE / page && pages % 16)
			continue;
		ASSERT_EQ(0, limit(RLIMIT_MEMLOCK, pages * page));
		ret = io_setup2(NR, ALL_KINDS, self->iocbs, &ctx);
		if (!ret)
			break;
		ASSERT_EQ(-EAGAIN, ret);
		ASSERT_EQ(self->before.locked, locked());
	}
	EXPECT_EQ(0, ret);
	/* The iocbs, two buffers in the huge page, the others. */
	EXPECT_EQ(1 + HUGE / page + 2 * (NR - 2), pages);
	EXPECT_EQ(0, io_destroy(ctx));
	EXPECT_EQ(0, be_limited(false));
	EXPECT_BALANCE(self->before);
	munmap(p, HUGE);
}

/* ------------------------------------------------------ memory of devices */

/* A page of one of PCI's devices; nothing of it is read or written here. */
static void *device_page(size_t page)
{
	void *p = MAP_FAILED;
	glob_t files;
	size_t i;

	if (glob("/sys/bus/pci/devices/*/resource[0-5]", 0, NULL, &files))
		return p;
	for (i = 0; i < files.gl_pathc && p == MAP_FAILED; i++) {
		int fd = open(files.gl_pathv[i], O_RDWR | O_CLOEXEC);

		if (fd < 0)
			continue;
		p = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		close(fd);
	}
	globfree(&files);
	return p;
}

TEST_F(pinned, device_memory)
{
	void *p = device_page(self->page);
	aio_context_t ctx = 0;

	if (p == MAP_FAILED)
		SKIP(return, "no memory of a PCI device that can be mapped");
	EXPECT_EQ(-EFAULT, io_setup2(NR, USERIOCB, p, &ctx));
	EXPECT_BALANCE(self->before);
	self->iocbs[NR / 2].aio_buf = (uintptr_t)p;
	self->iocbs[NR / 2].aio_nbytes = 1;
	EXPECT_EQ(-EFAULT, io_setup2(NR, USERIOCB | FIXEDBUFS, self->iocbs, &ctx));
	EXPECT_BALANCE(self->before);
	/* It is that buffer. */
	self->iocbs[NR / 2].aio_nbytes = 0;
	EXPECT_EQ(0, io_setup2(NR, USERIOCB | FIXEDBUFS, self->iocbs, &ctx));
	EXPECT_EQ(0, io_destroy(ctx));
	munmap(p, self->page);
}

/* ------------------------------------------------------ movable zones */

/* The zone from which everything is moved before it is pinned: frames from @start to @end. */
static bool movable_zone(unsigned long *start, unsigned long *end)
{
	static char text[65536];
	unsigned long spanned;
	char *zone, *p, *q;

	if (aio_read_text("/proc/zoneinfo", text, sizeof(text)) <= 0)
		return false;
	zone = strstr(text, "zone  Movable");
	p = zone ? strstr(zone, "spanned") : NULL;
	q = zone ? strstr(zone, "start_pfn:") : NULL;
	if (!p || !q || sscanf(p, "spanned %lu", &spanned) != 1 ||
	    sscanf(q, "start_pfn: %lu", start) != 1)
		return false;
	*end = *start + spanned;
	return spanned;
}

/* A new page in it at @p. Where it is full the page is from another one. */
static bool in_movable_zone(char *p, size_t page, unsigned long start, unsigned long end)
{
	int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC), i;
	unsigned long frame = 0;

	for (i = 0; i < 20 && (frame < start || frame >= end); i++) {
		if (i)
			aio_write_text("/proc/sys/vm/drop_caches", "1");
		if (madvise(p, page, MADV_DONTNEED))
			break;
		*p = 0;
		frame = aio_page_frame(pagemap, (uintptr_t)p);
	}
	close(pagemap);
	return frame >= start && frame < end;
}

/* A pipe has a reference to the page, so that it can't be moved out of its zone. */
TEST_F(pinned, cannot_be_moved)
{
	char *p = aio_pages(self->page, PROT_READ | PROT_WRITE);
	struct iovec iov = { p, self->page };
	unsigned long start, end;
	aio_context_t ctx = 0;
	unsigned int kinds;
	int ends[2];

	if (!movable_zone(&start, &end))
		SKIP(return, "no movable zone (kernelcore=)");
	ASSERT_NE(MAP_FAILED, (void *)p);
	for (kinds = USERIOCB; kinds <= (USERIOCB | FIXEDBUFS); kinds += FIXEDBUFS) {
		struct iocb *array = kinds & FIXEDBUFS ? self->iocbs : (void *)p;

		/* What was pinned was moved out of it. */
		if (!in_movable_zone(p, self->page, start, end))
			SKIP(return, "no page of the movable zone");
		ASSERT_EQ(0, pipe(ends));
		ASSERT_EQ((ssize_t)self->page, vmsplice(ends[1], &iov, 1, 0));
		self->iocbs[NR / 2].aio_buf = (uintptr_t)p;
		self->iocbs[NR / 2].aio_nbytes = self->page;
		EXPECT_EQ(-ENOMEM, io_setup2(NR, kinds, array, &ctx));
		EXPECT_EQ(0, ctx);
		EXPECT_BALANCE(self->before);
		close(ends[0]);
		close(ends[1]);
		ASSERT_EQ(0, io_setup2(NR, kinds, array, &ctx));
		EXPECT_EQ(0, io_destroy(ctx));
		ctx = 0;
	}
	munmap(p, self->page);
}

/* ------------------------------------------------------ faults that take long */

struct waiting {
	pthread_t thread;
	volatile pid_t tid;
	unsigned int flags;
	struct iocb *iocbs;
	aio_context_t ctx;
	long ret;
};

static void *setup2_thread(void *arg)
{
	struct waiting *w = arg;

	w->tid = aio_gettid();
	w->ret = io_setup2(NR, w->flags, w->iocbs, &w->ctx);
	return NULL;
}

/* Faults on @len bytes at @p are answered by whoever has the file, or not at all. */
static int answer_faults(char *p, size_t len)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = {
		.range = { (uintptr_t)p, len },
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};
	int fd = syscall(__NR_userfaultfd, O_CLOEXEC);

	if (fd < 0)
		return -errno;
	if (ioctl(fd, UFFDIO_API, &api) || ioctl(fd, UFFDIO_REGISTER, &reg))
		return -errno;
	return fd;
}

/* Others of the process get on while one thread waits for its pages. */
static void others_get_on(struct __test_metadata *_metadata)
{
	aio_context_t ctx = 0, other = 0;
	struct io_event event;
	struct iocb iocb, *user;
	int fd = aio_mem_file();
	void *p;

	ASSERT_EQ(0, io_setup(1, &ctx));
	aio_prep(&iocb, IOCB_CMD_PWRITE, fd, "four", 4, 0);
	EXPECT_EQ(1, aio_run(ctx, &iocb, &event));
	EXPECT_EVENT(&event, &iocb, 4);
	/* The map lock is free, for those who change mappings, too. */
	p = aio_pages(4096, PROT_READ | PROT_WRITE);
	EXPECT_EQ(0, munmap(p, 4096));
	user = aio_iocbs(1);
	*user = iocb;
	EXPECT_EQ(0, io_setup2(1, USERIOCB, user, &other));
	EXPECT_INDEX_RES(other, 0, 4);
	EXPECT_EQ(0, io_destroy(other));
	EXPECT_EQ(0, io_destroy(ctx));
	close(fd);
}

static void long_fault(struct __test_metadata *_metadata,
		       struct _test_data_pinned *self, unsigned int flags)
{
	char *late = aio_pages(2 * self->page, PROT_READ | PROT_WRITE);
	struct waiting w = { .flags = flags, .iocbs = self->iocbs };
	struct uffdio_zeropage zero = {
		.range = { (uintptr_t)late, 2 * self->page },
	};
	int uffd = answer_faults(late, 2 * self->page);

	if (uffd < 0)
		SKIP(return, "no userfaultfd");
	if (flags & FIXEDBUFS)
		self->iocbs[3].aio_buf = (uintptr_t)late;
	else
		w.iocbs = (void *)late;
	ASSERT_EQ(0, pthread_create(&w.thread, NULL, setup2_thread, &w));
	ASSERT_TRUE(aio_wait_blocked(&w.tid, __NR_io_setup2));
	others_get_on(_metadata);
	EXPECT_TRUE(aio_is_blocked(getpid(), w.tid, __NR_io_setup2));
	ASSERT_EQ(0, ioctl(uffd, UFFDIO_ZEROPAGE, &zero));
	pthread_join(w.thread, NULL);
	EXPECT_EQ(0, w.ret);
	EXPECT_EQ(0, io_destroy(w.ctx));
	close(uffd);
	munmap(late, 2 * self->page);
}

TEST_F(pinned, fault_in_the_array)
{
	long_fault(_metadata, self, USERIOCB);
}

TEST_F(pinned, fault_in_a_buffer)
{
	long_fault(_metadata, self, USERIOCB | FIXEDBUFS);
}

TEST_F(pinned, killed_in_a_fault)
{
	char *late = aio_pages(2 * self->page, PROT_READ | PROT_WRITE);
	bool blocked = false;
	int status, i;
	pid_t pid = fork();

	ASSERT_LE(0, pid);
	if (!pid) {
		aio_context_t ctx = 0;

		if (answer_faults(late, 2 * self->page) < 0)
			_exit(KSFT_SKIP);
		self->iocbs[3].aio_buf = (uintptr_t)late;
		_exit(io_setup2(NR, USERIOCB | FIXEDBUFS, self->iocbs, &ctx) ? 1 : 2);
	}
	for (i = 0; i < 20000 && !blocked; i++) {
		if (waitpid(pid, &status, WNOHANG) == pid) {
			if (WIFEXITED(status) && WEXITSTATUS(status) == KSFT_SKIP)
				SKIP(return, "no userfaultfd");
			ASSERT_EQ(-1, status);
		}
		blocked = aio_is_blocked(pid, pid, __NR_io_setup2);
		aio_sleep_ms(1);
	}
	EXPECT_TRUE(blocked);
	ASSERT_EQ(0, kill(pid, SIGKILL));
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(SIGKILL, status);
	munmap(late, 2 * self->page);
}

TEST_HARNESS_MAIN
