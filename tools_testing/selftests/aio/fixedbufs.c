// SPDX-License-Identifier: GPL-2.0
/*
 * What IOCTX_FLAG_FIXEDBUFS does with buffers after io_setup2(), and what it refuses.
 *
 * Held here: the pages that were there at setup are those that are read and written,
 * by the addresses that they had then, whatever the process does to its mappings, to
 * the files behind them, to its iocbs, or by fork() and execve(), until the last request
 * has ended; nothing that is outside of them is ever touched; and what is pinned is what
 * was checked, also while another thread changes it.
 */
#include <sys/socket.h>
#include <sys/wait.h>
#include "../kselftest_harness.h"
#include "aio_ext_test.h"

#define NR	8
#define PAGES	8
#define HUGE	(2UL << 20)
#define BOTH	(USERIOCB | FIXEDBUFS)
#define NR_HUGEPAGES	"/proc/sys/vm/nr_hugepages"

FIXTURE(fixedbufs) {
	struct aio_balance before;
	struct aio_slow_disk disk;
	struct iocb *iocbs;
	struct io_event event;
	aio_context_t ctx;
	size_t page, len;
	char *src;
	char *buf;
	int fd;
};

FIXTURE_SETUP(fixedbufs)
{
	NEED_SETUP2();
	self->page = getpagesize();
	self->len = PAGES * self->page;
	self->iocbs = aio_iocbs(NR);
	ASSERT_NE(NULL, self->iocbs);
	self->src = aio_pages(4 * self->len, PROT_READ | PROT_WRITE);
	/* On either side of it is memory that can be touched. */
	self->buf = aio_pages(3 * self->len, PROT_READ | PROT_WRITE);
	ASSERT_NE(MAP_FAILED, (void *)self->buf);
	self->buf += self->len;
	aio_pattern(self->src, 4 * self->len, 7);
	self->fd = aio_mem_file();
	ASSERT_EQ((ssize_t)(4 * self->len), write(self->fd, self->src, 4 * self->len));
	self->before = aio_balance();
	ASSERT_LE(0, self->before.pinned);
}

FIXTURE_TEARDOWN(fixedbufs)
{
	if (self->ctx)
		EXPECT_EQ(0, io_destroy(self->ctx));
	aio_slow_disk_remove(&self->disk);
	EXPECT_BALANCE(self->before);
}

/* The buffer of all iocbs is this. */
static long set_up(struct _test_data_fixedbufs *self, void *buf, size_t len)
{
	int i;

	for (i = 0; i < NR; i++)
		aio_prep(&self->iocbs[i], IOCB_CMD_PREAD, self->fd, buf, len, 0);
	return io_setup2(NR, BOTH, self->iocbs, &self->ctx);
}

/* ------------------------------------------------------ iocbs that change */

TEST_F(fixedbufs, length_raised_later)
{
	struct iocb *iocb = &self->iocbs[0];

	ASSERT_EQ(0, set_up(self, self->buf, self->page + 5));
	memset(self->buf - self->page, 0, 4 * self->page);
	iocb->aio_nbytes = self->page + 6;
	EXPECT_INDEX_REFUSED(self->ctx, 0, -EFAULT);
	iocb->aio_nbytes = 2 * self->page;
	EXPECT_INDEX_REFUSED(self->ctx, 0, -EFAULT);
	iocb->aio_nbytes = (1ULL << 32) + 1;
	EXPECT_INDEX_REFUSED(self->ctx, 0, -EFAULT);
	iocb->aio_nbytes = LONG_MAX;
	EXPECT_INDEX_REFUSED(self->ctx, 0, -EFAULT);
	/* One byte before. */
	iocb->aio_buf--;
	iocb->aio_nbytes = 2;
	EXPECT_INDEX_REFUSED(self->ctx, 0, -EFAULT);
	iocb->aio_buf++;
	iocb->aio_nbytes = self->page + 5;
	EXPECT_INDEX_RES(self->ctx, 0, self->page + 5);
	EXPECT_EQ(0, memcmp(self->buf, self->src, self->page + 5));
	EXPECT_EQ(0, self->buf[-1]);
	EXPECT_EQ(0, self->buf[self->page + 5]);
	/* Smaller is possible, and larger again. */
	iocb->aio_nbytes = 1;
	EXPECT_INDEX_RES(self->ctx, 0, 1);
	iocb->aio_nbytes = self->page + 5;
	EXPECT_INDEX_RES(self->ctx, 0, self->page + 5);
}

/* No bytes: an address all the same. */
TEST_F(fixedbufs, none_at_setup)
{
	struct iocb *iocb = &self->iocbs[0];

	ASSERT_EQ(0, set_up(self, self->buf + 3, 0));
	EXPECT_INDEX_RES(self->ctx, 0, 0);
	iocb->aio_nbytes = 1;
	EXPECT_INDEX_REFUSED(self->ctx, 0, -EFAULT);
	iocb->aio_nbytes = 0;
	iocb->aio_buf++;
	EXPECT_INDEX_REFUSED(self->ctx, 0, -EFAULT);
	iocb->aio_buf -= 2;
	EXPECT_INDEX_REFUSED(self->ctx, 0, -EFAULT);
	iocb->aio_buf = 0;
	EXPECT_INDEX_REFUSED(self->ctx, 0, -EFAULT);
	iocb->aio_buf = (uintptr_t)self->buf + 3;
	EXPECT_INDEX_RES(self->ctx, 0, 0);
	/* What is no read or write has no buffer. */
	aio_prep(iocb, IOCB_CMD_FSYNC, self->fd, NULL, 0, 0);
	EXPECT_INDEX_RES(self->ctx, 0, 0);
}

/* At the end of a buffer that has bytes no bytes are inside of it. */
TEST_F(fixedbufs, none_at_the_ends)
{
	struct iocb *iocb = &self->iocbs[0];

	ASSERT_EQ(0, set_up(self, self->buf, self->page));
	iocb->aio_nbytes = 0;
	EXPECT_INDEX_RES(self->ctx, 0, 0);
	iocb->aio_buf += self->page;
	EXPECT_INDEX_RES(self->ctx, 0, 0);
	iocb->aio_buf++;
	EXPECT_INDEX_REFUSED(self->ctx, 0, -EFAULT);
	iocb->aio_buf -= self->page + 2;
	EXPECT_INDEX_REFUSED(self->ctx, 0, -EFAULT);
}

#define ALIASES	64

struct changer {
	pthread_t thread;
	struct iocb *iocb;
	volatile bool stop;
	size_t good, bad;
};

/* A length that can be pinned, and for a moment one that can't. */
static void *change_length(void *arg)
{
	struct changer *c = arg;
	volatile struct iocb *iocb = c->iocb;
	volatile unsigned int i;

	while (!c->stop) {
		iocb->aio_nbytes = c->bad;
		iocb->aio_nbytes = c->good;
		for (i = 0; i < 20; i++)
			;
	}
	return NULL;
}

/*
 * What is pinned must be what was checked. The array is one page many times, so that the
 * length that changes is looked at many times in each call.
 */
TEST_F_TIMEOUT(fixedbufs, length_changed_during_setup, 200)
{
	const unsigned int in_page = self->page / sizeof(struct iocb);
	const unsigned int nr = ALIASES * in_page;
	const size_t max = AIO_FIXEDBUF_MAX;
	const int rounds = aio_long() ? 300 : 60;
	struct changer c = { .good = 1, .bad = max + 1 };
	char *big = aio_pages(max + self->page, PROT_READ | PROT_WRITE);
	char *array = aio_pages(ALIASES * self->page, PROT_NONE);
	int i, taken = 0, refused = 0, fd = aio_mem_file();
	long long most;
	long ret;

	ASSERT_NE(MAP_FAILED, (void *)big);
	ASSERT_EQ(0, ftruncate(fd, self->page));
	for (i = 0; i < ALIASES; i++)
		ASSERT_NE(MAP_FAILED, mmap(array + i * self->page, self->page,
					   PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd,
					   0));
	/* The others have no buffer. */
	c.iocb = (struct iocb *)array + in_page - 1;
	aio_prep(c.iocb, IOCB_CMD_PREAD, self->fd, big, 1, 0);
	/* Pages of the array, a page for each buffer, and the ring. */
	most = self->before.locked + 2 * ALIASES * self->page + aio_ring_bytes(nr);
	ASSERT_EQ(0, pthread_create(&c.thread, NULL, change_length, &c));
	for (i = 0; taken < rounds && (i < 7 * rounds || !taken); i++) {
		aio_context_t ctx = 0;

		ret = io_setup2(nr, BOTH, (struct iocb *)array, &ctx);
		if (ret == -EFAULT) {
			refused++;
			continue;
		}
		ASSERT_EQ(0, ret);
		taken++;
		EXPECT_GE(most, aio_locked(getpid()));
		ASSERT_EQ(0, io_destroy(ctx));
	}
	c.stop = true;
	pthread_join(c.thread, NULL);
	EXPECT_LT(0, taken);
	TH_LOG("%d calls taken, %d refused", taken, refused);
	munmap(big, max + self->page);
	munmap(array, ALIASES * self->page);
	close(fd);
}

/* ------------------------------------------------------ mappings that change */

/* It is found by the address that it had. */
TEST_F(fixedbufs, moved)
{
	char *to = aio_pages(self->len, PROT_NONE), *got;

	memset(self->buf, 0, self->len);
	ASSERT_EQ(0, set_up(self, self->buf, self->len));
	got = mremap(self->buf, self->len, self->len, MREMAP_MAYMOVE | MREMAP_FIXED, to);
	ASSERT_EQ((void *)to, (void *)got);
	/* Something else is there now, which is left alone. */
	ASSERT_EQ((void *)self->buf,
		  mmap(self->buf, self->len, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
	memset(self->buf, 'o', self->len);
	EXPECT_INDEX_RES(self->ctx, 0, self->len);
	EXPECT_EQ(0, memcmp(to, self->src, self->len));
	EXPECT_EQ('o', self->buf[0]);
	EXPECT_EQ('o', self->buf[self->len - 1]);
	self->iocbs[0].aio_buf = (uintptr_t)to;
	EXPECT_INDEX_REFUSED(self->ctx, 0, -EFAULT);
}

TEST_F(fixedbufs, unmapped)
{
	char *copy = malloc(self->len);

	aio_pattern(self->buf, self->len, 9);
	memcpy(copy, self->buf, self->len);
	ASSERT_EQ(0, set_up(self, self->buf, self->len));
	ASSERT_EQ(0, munmap(self->buf, self->len));
	/* What was written before is what is written now. */
	self->iocbs[1].aio_lio_opcode = IOCB_CMD_PWRITE;
	EXPECT_INDEX_RES(self->ctx, 1, self->len);
	EXPECT_EQ((ssize_t)self->len, pread(self->fd, self->src, self->len, 0));
	EXPECT_EQ(0, memcmp(self->src, copy, self->len));
	EXPECT_INDEX_RES(self->ctx, 0, self->len);
	free(copy);
}

TEST_F(fixedbufs, protected)
{
	ASSERT_EQ(0, set_up(self, self->buf, self->len));
	ASSERT_EQ(0, mprotect(self->buf, self->len, PROT_READ));
	EXPECT_INDEX_RES(self->ctx, 0, self->len);
	EXPECT_EQ(0, memcmp(self->buf, self->src, self->len));
	ASSERT_EQ(0, mprotect(self->buf, self->len, PROT_NONE));
	self->iocbs[1].aio_offset = self->len;
	EXPECT_INDEX_RES(self->ctx, 1, self->len);
	ASSERT_EQ(0, mprotect(self->buf, self->len, PROT_READ));
	EXPECT_EQ(0, memcmp(self->buf, self->src + self->len, self->len));
}

/* A page of a file that is not one of it any longer. */
TEST_F(fixedbufs, punched)
{
	int fd = aio_mem_file();
	char *p;

	ASSERT_EQ(0, ftruncate(fd, self->len));
	p = mmap(NULL, self->len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ASSERT_NE(MAP_FAILED, (void *)p);
	ASSERT_EQ(0, set_up(self, p, self->len));
	EXPECT_INDEX_RES(self->ctx, 0, self->len);
	EXPECT_EQ((ssize_t)self->page, pread(fd, self->buf, self->page, self->page));
	EXPECT_EQ(0, memcmp(self->buf, self->src + self->page, self->page));
	ASSERT_EQ(0, fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, self->page,
			       self->page));
	EXPECT_INDEX_RES(self->ctx, 0, self->len);
	EXPECT_EQ((ssize_t)self->len, pread(fd, self->buf, self->len, 0));
	EXPECT_EQ(0, memcmp(self->buf, self->src, self->page));
	EXPECT_EQ(0, memcmp(self->buf + 2 * self->page, self->src + 2 * self->page,
			    self->len - 2 * self->page));
	memset(self->src, 0, self->page);
	EXPECT_EQ(0, memcmp(self->buf + self->page, self->src, self->page));
	/* The file may end before it. */
	ASSERT_EQ(0, ftruncate(fd, 0));
	EXPECT_INDEX_RES(self->ctx, 0, self->len);
	munmap(p, self->len);
	close(fd);
}

/* ------------------------------------------------------ fork, exec, the end */

static bool slow_disk(struct _test_data_fixedbufs *self, unsigned int ms)
{
	if (!aio_slow_disk_make(&self->disk, ms))
		return false;
	close(self->fd);
	self->fd = open(self->disk.dev, O_RDWR | O_DIRECT);
	return self->fd >= 0;
}

/* While a read is in flight: the parent keeps the pages, the child has copies. */
TEST_F(fixedbufs, forked)
{
	int go[2], status;
	pid_t pid;
	char c;

	if (!slow_disk(self, 300))
		SKIP(return, "no null_blk disk (needs root and configfs)");
	ASSERT_EQ((ssize_t)self->len, pwrite(self->fd, self->src, self->len, 0));
	ASSERT_EQ(0, pipe(go));
	memset(self->buf, 'p', self->len);
	ASSERT_EQ(0, set_up(self, self->buf, self->len));
	ASSERT_EQ(1, aio_submit_index(self->ctx, 0));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		/* Nothing of what is read after the parent has written comes here. */
		memset(self->buf, 'c', self->len);
		if (read(go[0], &c, 1) != 1)
			_exit(1);
		for (c = 0; self->len-- && !c; )
			c = self->buf[self->len] != 'c';
		_exit(c ? 2 : 0);
	}
	ASSERT_EQ(1, io_getevents(self->ctx, 1, 1, &self->event, NULL));
	EXPECT_EQ((__s64)self->len, (__s64)self->event.res);
	EXPECT_EQ(0, memcmp(self->buf, self->src, self->len));
	/* A write must not give the parent another page, while there is a child. */
	memset(self->buf, 'q', self->len);
	EXPECT_INDEX_RES(self->ctx, 1, self->len);
	EXPECT_EQ(0, memcmp(self->buf, self->src, self->len));
	ASSERT_EQ(1, write(go[1], "x", 1));
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_EQ(0, memcmp(self->buf, self->src, self->len));
}

TEST_F(fixedbufs, executes_another_program)
{
	int status;
	pid_t pid;

	if (!slow_disk(self, 100))
		SKIP(return, "no null_blk disk (needs root and configfs)");
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		if (set_up(self, self->buf, self->len) || aio_submit_index(self->ctx, 0) != 1)
			_exit(1);
		execl("/bin/true", "true", NULL);
		_exit(2);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
}

/* The process waits for a disk that still writes to the pages: they stay pinned. */
TEST_F(fixedbufs, pinned_until_the_last_request_has_ended)
{
	const long long before = aio_pinned_for_long();
	struct aio_caller c = { 0 };
	long long pinned, most = -1;
	bool waits;
	int i;

	if (!slow_disk(self, 1500))
		SKIP(return, "no null_blk disk (needs root and configfs)");
	ASSERT_EQ(0, set_up(self, self->buf, self->len));
	ASSERT_EQ(1, aio_submit_index(self->ctx, 0));
	/* Only the pins keep them. */
	ASSERT_EQ(0, munmap(self->buf, self->len));
	c.ctx = self->ctx;
	self->ctx = 0;
	waits = aio_start_blocked(&c, aio_destroy_thread, __NR_io_destroy);
	for (i = 0; i < 3; i++) {
		pinned = aio_pinned();
		waits = waits && aio_is_blocked(getpid(), c.tid, __NR_io_destroy);
		if (waits && pinned > most)
			most = pinned;
	}
	EXPECT_EQ(0, aio_join(&c));
	if (most < 0)
		SKIP(return, "the request had ended before the pages were counted");
	EXPECT_LE(aio_pinned_for_long_of(before) + NR * PAGES, most);
}

/* ------------------------------------------------------ direct I/O, other files */

/* What the disk can't do is in the event, as without fixed buffers. */
TEST_F(fixedbufs, not_aligned)
{
	struct iocb *iocb = &self->iocbs[0], same;
	aio_context_t plain = 0;

	if (!slow_disk(self, 1))
		SKIP(return, "no null_blk disk (needs root and configfs)");
	ASSERT_EQ((ssize_t)self->len, pwrite(self->fd, self->src, self->len, 0));
	ASSERT_EQ(0, set_up(self, self->buf, self->len));
	iocb->aio_nbytes = 511;
	EXPECT_INDEX_RES(self->ctx, 0, -EINVAL);
	iocb->aio_nbytes = 512;
	/* Some disks take any address. */
	ASSERT_EQ(0, io_setup(1, &plain));
	for (iocb->aio_buf++; iocb->aio_buf % 512; iocb->aio_buf += iocb->aio_buf % 512) {
		same = *iocb;
		ASSERT_EQ(1, aio_run(plain, &same, &self->event));
		EXPECT_INDEX_RES(self->ctx, 0, self->event.res);
	}
	EXPECT_EQ(0, io_destroy(plain));
	iocb->aio_buf = (uintptr_t)self->buf;
	iocb->aio_offset = 1;
	EXPECT_INDEX_RES(self->ctx, 0, -EINVAL);
	/* From the middle of a page over the next one. */
	iocb->aio_buf = (uintptr_t)self->buf + self->page - 512;
	iocb->aio_nbytes = self->page + 1024;
	iocb->aio_offset = 1536;
	memset(self->buf, 0, self->len);
	EXPECT_INDEX_RES(self->ctx, 0, self->page + 1024);
	EXPECT_EQ(0, memcmp(self->buf + self->page - 512, self->src + 1536,
			    self->page + 1024));
	EXPECT_EQ(0, self->buf[self->page - 513]);
	EXPECT_EQ(0, self->buf[2 * self->page + 512]);
	/* Behind the end of the disk. */
	iocb->aio_offset = (64 << 20) - 512;
	EXPECT_INDEX_RES(self->ctx, 0, 512);
	iocb->aio_offset = 64 << 20;
	EXPECT_INDEX_RES(self->ctx, 0, 0);
	iocb->aio_lio_opcode = IOCB_CMD_PWRITE;
	EXPECT_INDEX_RES(self->ctx, 0, -ENOSPC);
}

/*
 * The same with fs.aio-auto-threads, where there can be no thread that would do it: its
 * children are to be in another PID namespace.
 */
TEST_F(fixedbufs, not_aligned_without_threads)
{
	const char *sysctl = "/proc/sys/fs/aio-auto-threads";
	struct iocb *iocb = &self->iocbs[0], same;
	bool threaded = aio_auto_threads();
	aio_context_t other = 0;
	long ret;

	if (!slow_disk(self, 1))
		SKIP(return, "no null_blk disk (needs root and configfs)");
	if (!threaded && aio_write_text(sysctl, "1"))
		SKIP(return, "no fs.aio-auto-threads");
	ret = set_up(self, self->buf, self->len);
	if (!threaded)
		aio_write_text(sysctl, "0");
	ASSERT_EQ(0, ret);
	ASSERT_EQ(0, io_setup(1, &other));
	if (unshare(CLONE_NEWPID))
		SKIP(return, "no PID namespaces");
	iocb->aio_nbytes = 512;
	for (iocb->aio_buf++; iocb->aio_buf % 512; iocb->aio_buf += iocb->aio_buf % 512) {
		same = *iocb;
		ASSERT_EQ(1, aio_run(other, &same, &self->event));
		EXPECT_INDEX_RES(self->ctx, 0, self->event.res);
	}
	EXPECT_EQ(0, io_destroy(other));
}

static void there_and_back(struct __test_metadata *_metadata,
			   struct _test_data_fixedbufs *self, int to, int from, size_t len)
{
	memcpy(self->buf, self->src, self->len);
	aio_prep(&self->iocbs[1], IOCB_CMD_PWRITE, to, self->buf + 100, len, 0);
	EXPECT_INDEX_RES(self->ctx, 1, len);
	memset(self->buf, 0, self->len);
	aio_prep(&self->iocbs[2], IOCB_CMD_PREAD, from, self->buf + 7, len + 9, 0);
	EXPECT_INDEX_RES(self->ctx, 2, len);
	EXPECT_EQ(0, memcmp(self->buf + 7, self->src + 100, len));
	EXPECT_EQ(0, self->buf[6]);
	EXPECT_EQ(0, self->buf[7 + len]);
}

TEST_F(fixedbufs, sockets)
{
	static const int types[] = { SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET };
	size_t i;

	ASSERT_EQ(0, set_up(self, self->buf, self->len));
	for (i = 0; i < 3; i++) {
		int pair[2];

		ASSERT_EQ(0, socketpair(AF_UNIX, types[i], 0, pair));
		there_and_back(_metadata, self, pair[0], pair[1], 2 * self->page + 11);
		close(pair[0]);
		close(pair[1]);
	}
}

TEST_F(fixedbufs, tmpfs)
{
	int fd = open("/dev/shm", O_TMPFILE | O_RDWR, 0600), other;
	char path[64];

	if (fd < 0)
		SKIP(return, "no tmpfs at /dev/shm");
	ASSERT_EQ(0, set_up(self, self->buf, self->len));
	there_and_back(_metadata, self, fd, fd, 3 * self->page - 1);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	other = open(path, O_RDWR | O_DIRECT);
	if (other >= 0) {
		there_and_back(_metadata, self, other, fd, 3 * self->page);
		close(other);
	}
	close(fd);
}

/* A pipe has no references to the buffer when the write has ended. */
TEST_F(fixedbufs, pipes)
{
	int pair[2];

	ASSERT_EQ(0, set_up(self, self->buf, self->len));
	ASSERT_EQ(0, pipe(pair));
	there_and_back(_metadata, self, pair[1], pair[0], 2 * self->page + 11);
	memset(self->buf, 1, self->page);
	aio_prep(&self->iocbs[0], IOCB_CMD_PWRITE, pair[1], self->buf, self->page, 0);
	EXPECT_INDEX_RES(self->ctx, 0, self->page);
	memset(self->buf, 2, self->page);
	EXPECT_EQ((ssize_t)self->page, read(pair[0], self->src, self->page));
	EXPECT_EQ(1, self->src[0]);
	EXPECT_EQ(1, self->src[self->page - 1]);
	close(pair[0]);
	close(pair[1]);
}

/* ------------------------------------------------------ large folios */

/* Ranges around the edges of pages and of folios: all of it, and small ones. */
static void ranges(struct __test_metadata *_metadata, struct _test_data_fixedbufs *self,
		   char *p, size_t start, size_t len)
{
	const size_t edges[] = { start, start + 1, start + self->page - start % self->page,
				 HUGE - 1, HUGE, HUGE + 1, HUGE + self->page, start + len - 1,
				 start + len };
	const size_t n = ARRAY_SIZE(edges);
	struct iocb *iocb = &self->iocbs[0];
	static char *want;
	static int fd;
	size_t i, j;

	/* The same for all ranges of a test. */
	if (!want) {
		want = malloc(2 * HUGE);
		fd = aio_mem_file();
		ASSERT_NE(NULL, want);
		aio_pattern(want, 2 * HUGE, 3);
		ASSERT_EQ((ssize_t)(2 * HUGE), write(fd, want, 2 * HUGE));
	}
	ASSERT_EQ(0, set_up(self, p + start, len));
	for (i = 0; i < n; i++) {
		for (j = i; j < n; j++) {
			size_t at = edges[i], size = edges[j] - at;

			if (edges[j] < at || edges[j] > start + len || at < start ||
			    (size > 4 * self->page && (i || j < n - 1)))
				continue;
			memset(p + at - !!at, 0, size + !!at + (at + size < 2 * HUGE));
			aio_prep(iocb, IOCB_CMD_PREAD, fd, p + at, size, 13);
			if (size + 13 > 2 * HUGE)
				iocb->aio_offset = 0;
			EXPECT_INDEX_RES(self->ctx, 0, size);
			EXPECT_EQ(0, memcmp(p + at, want + iocb->aio_offset, size));
			if (at)
				EXPECT_EQ(0, p[at - 1]);
			if (at + size < 2 * HUGE)
				EXPECT_EQ(0, p[at + size]);
		}
	}
	iocb->aio_buf = (uintptr_t)p + start;
	iocb->aio_nbytes = len + 1;
	EXPECT_INDEX_REFUSED(self->ctx, 0, -EFAULT);
	EXPECT_EQ(0, io_destroy(self->ctx));
	self->ctx = 0;
	EXPECT_BALANCE(self->before);
}

static void all_ranges(struct __test_metadata *_metadata, struct _test_data_fixedbufs *self,
		       char *p)
{
	ranges(_metadata, self, p, 0, 2 * HUGE);
	ranges(_metadata, self, p, 5, 2 * HUGE - 9);
	ranges(_metadata, self, p, HUGE - self->page, 2 * self->page);
	ranges(_metadata, self, p, HUGE - 3, self->page);
}

TEST_F_TIMEOUT(fixedbufs, hugetlb, 100)
{
	char text[32], old[32] = "";
	char *p;

	if (aio_read_text(NR_HUGEPAGES, old, sizeof(old)) <= 0)
		SKIP(return, "no hugetlbfs");
	snprintf(text, sizeof(text), "%d", atoi(old) + 2);
	aio_write_text(NR_HUGEPAGES, text);
	p = aio_huge_pages(2);
	if (p == MAP_FAILED) {
		aio_write_text(NR_HUGEPAGES, old);
		SKIP(return, "no huge pages of 2 MiB");
	}
	all_ranges(_metadata, self, p);
	munmap(p, 2 * HUGE);
	aio_write_text(NR_HUGEPAGES, old);
}

TEST_F_TIMEOUT(fixedbufs, transparent_huge_pages, 100)
{
	char *area = aio_pages(3 * HUGE, PROT_READ | PROT_WRITE);
	char *p = (char *)(((uintptr_t)area + HUGE - 1) & ~(HUGE - 1));

	ASSERT_NE(MAP_FAILED, (void *)area);
	if (madvise(p, 2 * HUGE, MADV_HUGEPAGE))
		SKIP(return, "no transparent huge pages");
	all_ranges(_metadata, self, p);
	/* One that is split as far as the process can see, and small pages behind it. */
	memset(p, 1, 2 * HUGE);
	ASSERT_EQ(0, madvise(p + HUGE, HUGE, MADV_NOHUGEPAGE));
	ASSERT_EQ(0, madvise(p + HUGE, HUGE, MADV_DONTNEED));
	memset(p + HUGE, 1, HUGE);
	all_ranges(_metadata, self, p);
	ASSERT_EQ(0, madvise(p + 3 * self->page, self->page, MADV_DONTNEED));
	all_ranges(_metadata, self, p);
	munmap(area, 3 * HUGE);
}

/* Pages of a file in memory, one after the other and mixed. */
TEST_F_TIMEOUT(fixedbufs, shared_memory, 100)
{
	int fd = aio_mem_file();
	char *p, *q;
	int i;

	ASSERT_EQ(0, ftruncate(fd, 2 * HUGE));
	p = mmap(NULL, 2 * HUGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ASSERT_NE(MAP_FAILED, (void *)p);
	all_ranges(_metadata, self, p);
	/* The same page several times, and backwards. */
	q = aio_pages(4 * self->page, PROT_NONE);
	for (i = 0; i < 4; i++)
		ASSERT_NE(MAP_FAILED, mmap(q + i * self->page, self->page,
					   PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd,
					   (i < 2 ? 7 : 9 - i) * self->page));
	ASSERT_EQ(0, set_up(self, q, 4 * self->page));
	EXPECT_INDEX_RES(self->ctx, 0, 4 * self->page);
	EXPECT_EQ(0, memcmp(q + 3 * self->page, self->src + 3 * self->page, self->page));
	EXPECT_EQ(0, memcmp(p + 6 * self->page, self->src + 3 * self->page, self->page));
	/* Of several writes to it the last one counts. */
	EXPECT_EQ(0, memcmp(p + 7 * self->page, self->src + 2 * self->page, self->page));
	munmap(q, 4 * self->page);
	munmap(p, 2 * HUGE);
	close(fd);
}

TEST_HARNESS_MAIN
