// SPDX-License-Identifier: GPL-2.0
/*
 * Contexts of io_setup2() with IOCTX_FLAG_USERIOCB, and with
 * IOCTX_FLAG_FIXEDBUFS: iocbs that are called by their index in memory that stays
 * pinned whatever the process does with its mappings, and buffers that do.
 */
#include <poll.h>
#include <sys/wait.h>
#include "../kselftest_harness.h"
#include "aio_ext_test.h"

#define NR	64
#define PAGES	16

FIXTURE(useriocb) {
	struct iocb *iocbs;
	struct aio_balance before;
	aio_context_t ctx;
	struct io_event events[NR];
	size_t page;
	char *src;
	char *dst;
	int fd;
};

FIXTURE_VARIANT(useriocb) {
	unsigned int flags;
};

FIXTURE_VARIANT_ADD(useriocb, alone) { .flags = USERIOCB };
FIXTURE_VARIANT_ADD(useriocb, fixedbufs) { .flags = USERIOCB | FIXEDBUFS };

FIXTURE_SETUP(useriocb)
{
	unsigned int i;

	NEED_SETUP2();
	self->page = getpagesize();
	self->iocbs = aio_iocbs(NR);
	ASSERT_NE(NULL, self->iocbs);
	self->src = aio_pages(PAGES * self->page, PROT_READ | PROT_WRITE);
	self->dst = aio_pages(PAGES * self->page, PROT_READ | PROT_WRITE);
	aio_pattern(self->src, PAGES * self->page, 1);
	self->fd = aio_mem_file();
	ASSERT_LE(0, self->fd);
	ASSERT_EQ((ssize_t)(PAGES * self->page),
		  write(self->fd, self->src, PAGES * self->page));
	/* All of the pages, from some place on. */
	for (i = 0; i < NR; i++)
		aio_prep(&self->iocbs[i], IOCB_CMD_PREAD, self->fd,
			 self->dst + i * 3, PAGES * self->page - i * 3, i * 3);
	self->before = aio_balance();
	ASSERT_EQ(0, io_setup2(NR, variant->flags, self->iocbs, &self->ctx));
}

FIXTURE_TEARDOWN(useriocb)
{
	EXPECT_EQ(0, aio_drain(self->ctx));
	EXPECT_EQ(0, io_destroy(self->ctx));
	EXPECT_BALANCE(self->before);
}

TEST_F(useriocb, bytes)
{
	struct iocb *iocb = &self->iocbs[5];
	size_t len = PAGES * self->page - 15;

	EXPECT_INDEX_RES(self->ctx, 5, len);
	EXPECT_EQ(0, memcmp(self->dst + 15, self->src + 15, len));
	/* There and back, from another place of the same buffer. */
	iocb->aio_lio_opcode = IOCB_CMD_PWRITE;
	iocb->aio_buf += self->page;
	iocb->aio_nbytes = self->page;
	iocb->aio_offset = 0;
	memset(self->dst + 15 + self->page, 'x', self->page);
	EXPECT_INDEX_RES(self->ctx, 5, self->page);
	EXPECT_EQ((ssize_t)self->page,
		  pread(self->fd, self->dst, self->page, 0));
	EXPECT_EQ('x', self->dst[0]);
	EXPECT_EQ('x', self->dst[self->page - 1]);
	EXPECT_EQ(1, pread(self->fd, self->dst, 1, self->page));
	EXPECT_EQ(self->src[self->page], self->dst[0]);
}

static int by_obj(const void *a, const void *b)
{
	const struct io_event *x = a, *y = b;

	return x->obj < y->obj ? -1 : x->obj > y->obj;
}

TEST_F(useriocb, indices)
{
	unsigned long all[NR + 1], i;

	for (i = 0; i <= NR; i++)
		all[i] = i;
	/* Each is what it is called by, and the key is left alone. */
	for (i = 0; i < NR; i++)
		self->iocbs[i].aio_key = i + 1;
	EXPECT_EQ(NR, aio_submit_indices(self->ctx, NR + 1, all));
	EXPECT_EQ(NR, io_getevents(self->ctx, NR, NR, self->events, NULL));
	/* Threads end them in any order. */
	if (aio_auto_threads())
		qsort(self->events, NR, sizeof(self->events[0]), by_obj);
	for (i = 0; i < NR; i++) {
		EXPECT_EQ(i, self->events[i].obj);
		EXPECT_EQ(self->iocbs[i].aio_data, self->events[i].data);
		EXPECT_EQ(i + 1, self->iocbs[i].aio_key);
	}
	EXPECT_INDEX_REFUSED(self->ctx, NR, -EINVAL);
	EXPECT_INDEX_REFUSED(self->ctx, -1UL, -EINVAL);
	EXPECT_INDEX_REFUSED(self->ctx, (unsigned long)self->iocbs, -EINVAL);
	/* The array of indices is that of the process still. */
	EXPECT_EQ(-EFAULT, aio_submit_indices(self->ctx, 1, aio_unmapped()));
	/* What is checked in an iocb. */
	self->iocbs[1].aio_reserved2 = 1;
	EXPECT_INDEX_REFUSED(self->ctx, 1, -EINVAL);
	self->iocbs[2].aio_lio_opcode = 77;
	EXPECT_INDEX_REFUSED(self->ctx, 2, -EINVAL);
	self->iocbs[3].aio_fildes = -1;
	EXPECT_INDEX_REFUSED(self->ctx, 3, -EBADF);
}

TEST_F(useriocb, other_operations)
{
	int efd = eventfd(0, EFD_NONBLOCK), never = eventfd(0, EFD_NONBLOCK);
	struct iocb *iocb = &self->iocbs[1];
	__u64 one = 1;

	aio_prep(iocb, IOCB_CMD_FSYNC, self->fd, NULL, 0, 0);
	EXPECT_INDEX_RES(self->ctx, 1, 0);
	aio_prep(iocb, IOCB_CMD_FDSYNC, self->fd, NULL, 0, 0);
	EXPECT_INDEX_RES(self->ctx, 1, 0);
	aio_prep(&self->iocbs[2], IOCB_CMD_PREAD, self->fd, self->dst + 6, 8, 0);
	self->iocbs[2].aio_flags = IOCB_FLAG_RESFD;
	self->iocbs[2].aio_resfd = efd;
	EXPECT_INDEX_RES(self->ctx, 2, 8);
	EXPECT_EQ(1, aio_eventfd_take(efd, 1));
	aio_prep(iocb, IOCB_CMD_POLL, efd, (void *)POLLIN, 0, 0);
	EXPECT_EQ(1, aio_submit_index(self->ctx, 1));
	EXPECT_EQ((ssize_t)sizeof(one), write(efd, &one, sizeof(one)));
	EXPECT_EQ(1, io_getevents(self->ctx, 1, 1, self->events, NULL));
	EXPECT_EQ(POLLIN, self->events[0].res);
	EXPECT_EQ(1, self->events[0].obj);

	/* More than one of the same: the oldest is cancelled. */
	aio_prep(&self->iocbs[4], IOCB_CMD_POLL, never, (void *)POLLIN, 0, 0);
	self->iocbs[4].aio_data = 100;
	EXPECT_EQ(1, aio_submit_index(self->ctx, 4));
	self->iocbs[4].aio_data = 200;
	EXPECT_EQ(1, aio_submit_index(self->ctx, 4));
	EXPECT_EQ(-EINVAL, io_cancel(self->ctx, (void *)3UL, NULL));
	EXPECT_EQ(-EINVAL, io_cancel(self->ctx, (void *)(unsigned long)NR, NULL));
	EXPECT_EQ(-EINVAL, io_cancel(self->ctx, &self->iocbs[4], NULL));
	EXPECT_EQ(-EINPROGRESS, io_cancel(self->ctx, (void *)4UL, NULL));
	EXPECT_EQ(1, io_getevents(self->ctx, 1, 1, self->events, NULL));
	EXPECT_EQ(100, self->events[0].data);
	EXPECT_EQ(-EINPROGRESS, io_cancel(self->ctx, (void *)4UL, NULL));
	EXPECT_EQ(1, io_getevents(self->ctx, 1, 1, self->events, NULL));
	EXPECT_EQ(200, self->events[0].data);
	EXPECT_EQ(-EINVAL, io_cancel(self->ctx, (void *)4UL, NULL));
	close(efd);
	close(never);
}

/* Whatever is done to the mappings, the kernel has its pages. */
TEST_F(useriocb, mappings_that_change)
{
	size_t bytes = NR * sizeof(struct iocb);
	char *other;

	ASSERT_EQ(0, mprotect(self->iocbs, bytes, PROT_NONE));
	EXPECT_INDEX_RES(self->ctx, 1, PAGES * self->page - 3);
	ASSERT_EQ(0, mprotect(self->iocbs, bytes, PROT_READ | PROT_WRITE));
	self->iocbs[1].aio_nbytes = 5;
	other = mremap(self->iocbs, bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED,
		       aio_unmapped());
	ASSERT_NE(MAP_FAILED, (void *)other);
	EXPECT_INDEX_RES(self->ctx, 1, 5);
	((struct iocb *)other)[1].aio_nbytes = 6;
	EXPECT_INDEX_RES(self->ctx, 1, 6);
	/* From here on there are two of each. */
	ASSERT_EQ(0, madvise(other, bytes, MADV_DONTNEED));
	memset(other, 0xff, bytes);
	EXPECT_INDEX_RES(self->ctx, 1, 6);
	munmap(other, bytes);
	EXPECT_INDEX_RES(self->ctx, 1, 6);
	if (!(variant->flags & FIXEDBUFS))
		return;
	/* The same with the buffers. */
	memset(self->dst, 0, PAGES * self->page);
	ASSERT_EQ(0, madvise(self->dst, PAGES * self->page, MADV_DONTNEED));
	EXPECT_INDEX_RES(self->ctx, 1, 6);
	EXPECT_EQ(0, self->dst[3]);
	munmap(self->dst, PAGES * self->page);
	EXPECT_INDEX_RES(self->ctx, 2, PAGES * self->page - 6);
}

/* The child has copies. */
TEST_F(useriocb, fork)
{
	int status;
	pid_t pid = fork();

	ASSERT_LE(0, pid);
	if (!pid) {
		memset(self->iocbs, 0xff, NR * sizeof(struct iocb));
		memset(self->dst, 0, PAGES * self->page);
		_exit(aio_submit_index(self->ctx, 1) != -EINVAL);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_INDEX_RES(self->ctx, 1, PAGES * self->page - 3);
	EXPECT_EQ(0, memcmp(self->dst + 3, self->src + 3, PAGES * self->page - 3));
}

TEST_F(useriocb, parts_of_a_buffer)
{
	size_t len = PAGES * self->page - 9, page = self->page, i, j;
	const size_t at[] = { 0, 1, page - 10, page - 9, page - 8, page, 2 * page - 9,
			      len - 1, len };
	const size_t lens[] = { 0, 1, 8, page - 1, page, page + 1, 3 * page };
	struct iocb *iocb = &self->iocbs[3];

	if (!(variant->flags & FIXEDBUFS))
		SKIP(return, "this is about pinned buffers");
	for (i = 0; i < ARRAY_SIZE(at); i++) {
		for (j = 0; j < ARRAY_SIZE(lens); j++) {
			iocb->aio_buf = (uintptr_t)self->dst + 9 + at[i];
			iocb->aio_nbytes = lens[j];
			iocb->aio_offset = 77;
			if (at[i] + lens[j] > len) {
				EXPECT_INDEX_REFUSED(self->ctx, 3, -EFAULT);
				continue;
			}
			memset(self->dst, 0, PAGES * page);
			EXPECT_INDEX_RES(self->ctx, 3, lens[j]);
			EXPECT_EQ(0, memcmp(self->dst + 9 + at[i],
					    self->src + 77, lens[j]));
			/* Nothing before, nothing behind. */
			EXPECT_EQ(0, self->dst[8 + at[i]]);
			if (at[i] + lens[j] < len)
				EXPECT_EQ(0, self->dst[9 + at[i] + lens[j]]);
		}
	}
	iocb->aio_nbytes = 1;
	iocb->aio_buf = (uintptr_t)self->dst + 8;
	EXPECT_INDEX_REFUSED(self->ctx, 3, -EFAULT);
	/* That of another iocb is not its own. */
	iocb->aio_buf = (uintptr_t)self->dst;
	EXPECT_INDEX_REFUSED(self->ctx, 3, -EFAULT);
	iocb->aio_buf = (uintptr_t)self->dst + 9;
	iocb->aio_nbytes = 1ULL << 62;
	EXPECT_INDEX_REFUSED(self->ctx, 3, -EFAULT);
	iocb->aio_nbytes = 1;
	iocb->aio_lio_opcode = IOCB_CMD_PREADV;
	EXPECT_INDEX_REFUSED(self->ctx, 3, -EINVAL);
	iocb->aio_lio_opcode = IOCB_CMD_PWRITEV;
	EXPECT_INDEX_REFUSED(self->ctx, 3, -EINVAL);
}

TEST_F(useriocb, files_of_all_kinds)
{
	int pipes[2], null = open("/dev/null", O_RDWR), zero = open("/dev/zero", O_RDWR);
	struct iocb *iocb = &self->iocbs[1];
	char text[8] = "";

	ASSERT_EQ(0, pipe(pipes));
	memcpy(self->dst + 3, "pipe", 5);
	aio_prep(iocb, IOCB_CMD_PWRITE, pipes[1], self->dst + 3, 5, 0);
	EXPECT_INDEX_RES(self->ctx, 1, 5);
	EXPECT_EQ(5, read(pipes[0], text, sizeof(text)));
	EXPECT_STREQ("pipe", text);
	EXPECT_EQ(3, write(pipes[1], "abc", 3));
	aio_prep(iocb, IOCB_CMD_PREAD, pipes[0], self->dst + 3, 100, 0);
	EXPECT_INDEX_RES(self->ctx, 1, 3);
	EXPECT_EQ('a', self->dst[3]);
	aio_prep(iocb, IOCB_CMD_PWRITE, null, self->dst + 3, 3 * self->page, 0);
	EXPECT_INDEX_RES(self->ctx, 1, 3 * self->page);
	aio_prep(iocb, IOCB_CMD_PREAD, zero, self->dst + 3, 3 * self->page, 0);
	memset(self->dst, 1, 4 * self->page);
	EXPECT_INDEX_RES(self->ctx, 1, 3 * self->page);
	EXPECT_EQ(1, self->dst[2]);
	EXPECT_EQ(0, self->dst[3]);
	EXPECT_EQ(0, self->dst[3 * self->page + 2]);
	EXPECT_EQ(1, self->dst[3 * self->page + 3]);
	close(pipes[0]);
	close(pipes[1]);
	close(null);
	close(zero);
}

/* ------------------------------------------------------ races */

struct rewriter {
	pthread_t thread;
	struct iocb *iocb;
	char *buf;
	volatile bool stop;
};

/* What is checked must be what is used. */
static void *rewrite(void *arg)
{
	struct rewriter *r = arg;
	volatile struct iocb *iocb = r->iocb;

	while (!r->stop) {
		iocb->aio_nbytes = 1ULL << 40;
		iocb->aio_buf = 16;
		iocb->aio_lio_opcode = IOCB_CMD_FSYNC;
		iocb->aio_buf = (uintptr_t)r->buf;
		iocb->aio_nbytes = 8;
		iocb->aio_lio_opcode = IOCB_CMD_PREAD;
	}
	return NULL;
}

TEST_F(useriocb, iocb_that_is_rewritten)
{
	struct rewriter r = { .iocb = &self->iocbs[1], .buf = self->dst + 3 };
	int i, taken = 0;
	long ret;

	ASSERT_EQ(0, pthread_create(&r.thread, NULL, rewrite, &r));
	for (i = 0; i < 20000 || !taken; i++) {
		ret = aio_submit_index(self->ctx, 1);
		if (ret != 1) {
			ASSERT_TRUE(ret == -EINVAL || ret == -EFAULT);
			continue;
		}
		taken++;
		ASSERT_EQ(1, io_getevents(self->ctx, 1, 1, self->events, NULL));
		ret = self->events[0].res;
		/* Without pinned buffers a length may be cut at the end of memory. */
		ASSERT_TRUE((ret >= 0 && ret <= (long)(PAGES * self->page)) ||
			    ret == -EFAULT);
	}
	r.stop = true;
	pthread_join(r.thread, NULL);
	EXPECT_LT(0, taken);
}

struct submitter {
	pthread_t thread;
	aio_context_t ctx;
	long last;
};

static void *submit_until_it_ends(void *arg)
{
	struct submitter *s = arg;
	struct io_event events[8];
	unsigned long all[8] = { 0, 1, 2, 3, 4, 5, 6, 7 };

	do {
		s->last = aio_submit_indices(s->ctx, 8, all);
		if (s->last == -EAGAIN || s->last > 0)
			aio_reap(s->ctx, events, 8);
	} while (s->last > 0 || s->last == -EAGAIN);
	return NULL;
}

TEST_F(useriocb, end_while_others_submit)
{
	struct submitter s[4] = { };
	int round, i;

	for (round = 0; round < 10; round++) {
		aio_context_t ctx = 0;

		ASSERT_EQ(0, io_setup2(NR, variant->flags, self->iocbs, &ctx));
		for (i = 0; i < 4; i++) {
			s[i].ctx = ctx;
			ASSERT_EQ(0, pthread_create(&s[i].thread, NULL,
						    submit_until_it_ends, &s[i]));
		}
		aio_sleep_ms(10);
		EXPECT_EQ(0, io_destroy(ctx));
		for (i = 0; i < 4; i++) {
			pthread_join(s[i].thread, NULL);
			EXPECT_EQ(-EINVAL, s[i].last);
		}
	}
}

/* A process that is killed, or executes another program, with requests in flight. */
TEST_F(useriocb, processes_that_end)
{
	int never = eventfd(0, 0), how, status;

	aio_prep(&self->iocbs[1], IOCB_CMD_POLL, never, (void *)POLLIN, 0, 0);
	for (how = 0; how < 3; how++) {
		pid_t pid = fork();

		ASSERT_LE(0, pid);
		if (!pid) {
			aio_context_t ctx = 0;
			int i;

			if (io_setup2(NR, variant->flags, self->iocbs, &ctx))
				_exit(1);
			for (i = 0; i < 32; i++)
				if (aio_submit_index(ctx, 1) != 1)
					_exit(2);
			if (how == 0)
				raise(SIGKILL);
			if (how == 1)
				execl("/bin/true", "true", NULL);
			_exit(0);
		}
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		EXPECT_EQ(how ? 0 : SIGKILL, status);
	}
	close(never);
}

/* ------------------------------------------------------ memory of all kinds */

FIXTURE(memory) {
	struct aio_balance before;
	size_t page;
};

FIXTURE_SETUP(memory)
{
	NEED_SETUP2();
	self->page = getpagesize();
	self->before = aio_balance();
}

FIXTURE_TEARDOWN(memory)
{
	EXPECT_BALANCE(self->before);
}

/* The iocbs and a buffer are in @len bytes at @p. */
static long try_memory(char *p, size_t len)
{
	struct iocb *iocbs = (void *)p;
	struct io_event event;
	aio_context_t ctx = 0;
	int zero = open("/dev/zero", O_RDONLY);
	long ret;

	ret = io_setup2(1, USERIOCB, iocbs, &ctx);
	if (ret)
		goto out;
	io_destroy(ctx);
	ctx = 0;
	aio_prep(iocbs, IOCB_CMD_PREAD, zero, p + 64, len - 64, 0);
	ret = io_setup2(1, USERIOCB | FIXEDBUFS, iocbs, &ctx);
	if (ret)
		goto out;
	memset(p + 64, 1, len - 64);
	ret = aio_run_index(ctx, 0, &event);
	if (ret == 1)
		ret = event.res == (__s64)(len - 64) && !p[64] && !p[len - 1] ?
			0 : -EIO;
	io_destroy(ctx);
out:
	close(zero);
	return ret;
}

#define TRY(prot, flags, fd, len, want) do {				\
	char *__p = mmap(NULL, len, prot, flags, fd, 0);		\
									\
	ASSERT_NE(MAP_FAILED, (void *)__p);				\
	EXPECT_EQ(want, try_memory(__p, len));				\
	munmap(__p, len);						\
} while (0)

TEST_F(memory, kinds)
{
	size_t len = 4 * self->page, huge = 2 << 20;
	int rw = PROT_READ | PROT_WRITE, fd;
	char *p;

	TRY(rw, MAP_PRIVATE | MAP_ANONYMOUS, -1, len, 0);
	TRY(rw, MAP_SHARED | MAP_ANONYMOUS, -1, len, 0);
	/* Only what can be written can be pinned. */
	TRY(PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, len, -EFAULT);
	TRY(PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, len, -EFAULT);
	fd = aio_mem_file();
	ASSERT_EQ(0, ftruncate(fd, len));
	TRY(rw, MAP_SHARED, fd, len, 0);
	TRY(rw, MAP_PRIVATE, fd, len, 0);
	close(fd);
	/* Behind the end of the file. */
	fd = aio_mem_file();
	ASSERT_EQ(0, ftruncate(fd, 64));
	p = mmap(NULL, len, rw, MAP_SHARED, fd, 0);
	aio_prep((void *)p, IOCB_CMD_PREAD, fd, p, len, 0);
	{
		aio_context_t ctx = 0;

		EXPECT_EQ(-EFAULT, io_setup2(1, USERIOCB | FIXEDBUFS, (void *)p,
					     &ctx));
	}
	munmap(p, len);
	close(fd);
	/* Transparent huge pages, whole and in parts. */
	p = aio_pages(2 * huge, rw);
	p = (char *)(((uintptr_t)p + huge - 1) & ~(huge - 1));
	madvise(p, huge, MADV_HUGEPAGE);
	EXPECT_EQ(0, try_memory(p, huge));
	EXPECT_EQ(0, try_memory(p + 8 * self->page, len));
	munmap(p, huge);
}

static void files_of(struct __test_metadata *_metadata, struct _test_data_memory *self,
		     const char *fs)
{
	size_t len = 4 * self->page;
	int rw = PROT_READ | PROT_WRITE, fd;
	struct aio_slow_disk disk;
	char cmd[256], dir[] = "/tmp/aio_memory_XXXXXX", path[64];

	if (!aio_poll_disk_make_mb(&disk, 64, 512))
		SKIP(return, "no null_blk disk (needs root and configfs)");
	snprintf(cmd, sizeof(cmd), "mkfs.%s -q %s >/dev/null 2>&1", fs, disk.dev);
	if (system(cmd)) {
		aio_slow_disk_remove(&disk);
		SKIP(return, "no mkfs.%s", fs);
	}
	ASSERT_NE(NULL, mkdtemp(dir));
	if (mount(disk.dev, dir, fs, 0, NULL)) {
		rmdir(dir);
		aio_slow_disk_remove(&disk);
		SKIP(return, "no file system %s", fs);
	}
	snprintf(path, sizeof(path), "%s/file", dir);
	fd = open(path, O_RDWR | O_CREAT, 0600);
	ASSERT_LE(0, fd) TH_LOG("%s", strerror(errno));
	ASSERT_EQ(0, ftruncate(fd, len));
	TRY(rw, MAP_SHARED, fd, len, -EFAULT);
	TRY(rw, MAP_PRIVATE, fd, len, 0);
	close(fd);
	EXPECT_EQ(0, umount(dir));
	rmdir(dir);
	aio_slow_disk_remove(&disk);
}

TEST_F(memory, files_on_ext4)
{
	files_of(_metadata, self, "ext4");
}

TEST_F(memory, files_on_xfs)
{
	files_of(_metadata, self, "xfs");
}

TEST_F(memory, secret)
{
	size_t len = 4 * self->page;
	int fd = syscall(__NR_memfd_secret, 0);

	if (fd < 0)
		SKIP(return, "no memfd_secret()");
	ASSERT_EQ(0, ftruncate(fd, len));
	TRY(PROT_READ | PROT_WRITE, MAP_SHARED, fd, len, -EFAULT);
	close(fd);
	self->before.locked = aio_locked(getpid());
}

/* Memory that somebody writes to can't be sealed. */
TEST_F(memory, seals)
{
	int fd = memfd_create("aio_test", MFD_ALLOW_SEALING);
	aio_context_t ctx = 0;
	char *p;

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, ftruncate(fd, self->page));
	p = mmap(NULL, self->page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ASSERT_NE(MAP_FAILED, (void *)p);
	ASSERT_EQ(0, io_setup2(1, USERIOCB, (void *)p, &ctx));
	munmap(p, self->page);
	EXPECT_EQ(-1, fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE));
	EXPECT_EQ(EBUSY, errno);
	EXPECT_EQ(0, io_destroy(ctx));
	EXPECT_EQ(0, fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE));
	close(fd);
}

TEST_HARNESS_MAIN
