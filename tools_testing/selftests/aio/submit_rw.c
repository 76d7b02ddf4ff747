// SPDX-License-Identifier: GPL-2.0
/*
 * io_submit() with PREAD, PWRITE, PREADV and PWRITEV.
 *
 * Held here: the right bytes at the right place, the fields of the event, which
 * argument error wins and whether io_submit() or the event tells it, the return
 * value of a submission that stops half way and that nothing after the bad
 * request is done, RWF_ flags, IOCB_FLAG_RESFD and IOCB_FLAG_IOPRIO, file size
 * limits and signals, and the accounting of ring slots: full means EAGAIN, each
 * event taken out makes room for one request, no slot is ever lost.
 */
#include <linux/capability.h>
#include <linux/ioprio.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include "../kselftest_harness.h"
#include "aio_thread_test.h"

#define NR	64

static const int rw_opcodes[] = {
	IOCB_CMD_PREAD, IOCB_CMD_PWRITE, IOCB_CMD_PREADV, IOCB_CMD_PWRITEV,
};

static bool is_write(int opcode)
{
	return opcode == IOCB_CMD_PWRITE || opcode == IOCB_CMD_PWRITEV;
}

static bool is_vectored(int opcode)
{
	return opcode == IOCB_CMD_PREADV || opcode == IOCB_CMD_PWRITEV;
}

FIXTURE(rw) {
	aio_context_t ctx;
	int fd;
	int null_fd;
	size_t page;
	char *src;
	char *dst;
	struct iocb iocb;
	struct io_event event;
};

FIXTURE_VARIANT(rw) {
	bool disk;
};

FIXTURE_VARIANT_ADD(rw, file) { .disk = true };
FIXTURE_VARIANT_ADD(rw, tmpfs) { .disk = false };

#define BUF_SIZE	65536

FIXTURE_SETUP(rw)
{
	self->page = getpagesize();
	ASSERT_EQ(0, io_setup(NR, &self->ctx));
	self->fd = variant->disk ? aio_disk_file(0) : aio_mem_file();
	ASSERT_GE(self->fd, 0);
	self->null_fd = open("/dev/null", O_RDWR);
	ASSERT_GE(self->null_fd, 0);
	self->src = aio_pages(BUF_SIZE, PROT_READ | PROT_WRITE);
	self->dst = aio_pages(BUF_SIZE, PROT_READ | PROT_WRITE);
	ASSERT_NE(MAP_FAILED, (void *)self->src);
	ASSERT_NE(MAP_FAILED, (void *)self->dst);
	aio_pattern(self->src, BUF_SIZE, 1);
}

FIXTURE_TEARDOWN(rw)
{
	/* What a test started has been collected, and nothing else came. */
	EXPECT_EQ(0, aio_drain(self->ctx));
}

/* ------------------------------------------------------ data */

TEST_F(rw, plain)
{
	long long at[] = { 0, 1, 4095, 4096, 12345, 1LL << 33 };
	size_t len[] = { 1, 511, 4096, 4097, BUF_SIZE };
	size_t i, k;

	for (i = 0; i < ARRAY_SIZE(at); i++) {
		for (k = 0; k < ARRAY_SIZE(len); k++) {
			aio_pattern(self->src, len[k], i * 16 + k);
			aio_prep(&self->iocb, IOCB_CMD_PWRITE, self->fd,
				 self->src, len[k], at[i]);
			EXPECT_RES(self->ctx, &self->iocb, len[k]);
			memset(self->dst, 0, BUF_SIZE);
			ASSERT_EQ(len[k],
				  pread(self->fd, self->dst, len[k], at[i]));
			EXPECT_EQ(0, memcmp(self->src, self->dst, len[k]));
			memset(self->dst, 0, BUF_SIZE);
			aio_prep(&self->iocb, IOCB_CMD_PREAD, self->fd,
				 self->dst, len[k], at[i]);
			EXPECT_RES(self->ctx, &self->iocb, len[k]);
			EXPECT_EQ(0, memcmp(self->src, self->dst, len[k]));
		}
	}
	/* The file's own position is not used and does not move. */
	EXPECT_EQ(0, lseek(self->fd, 0, SEEK_CUR));
}

/* 8 vectors fit on the kernel's stack, more do not, 1024 is the limit. */
TEST_F(rw, vectored)
{
	unsigned int count[] = { 1, 2, 7, 8, 9, 16, 1023, 1024 };
	struct iovec iov[1024];
	unsigned int i, k;

	for (i = 0; i < ARRAY_SIZE(count); i++) {
		size_t at = 0;

		aio_pattern(self->src, BUF_SIZE, count[i]);
		for (k = 0; k < count[i]; k++) {
			iov[k].iov_base = self->src + at;
			iov[k].iov_len = k % 37 + (k != 3);
			at += iov[k].iov_len;
		}
		ASSERT_LE(at, BUF_SIZE);
		aio_prep(&self->iocb, IOCB_CMD_PWRITEV, self->fd, iov, count[i],
			 777);
		EXPECT_RES(self->ctx, &self->iocb, at);
		memset(self->dst, 0, BUF_SIZE);
		ASSERT_EQ(at, pread(self->fd, self->dst, at, 777));
		EXPECT_EQ(0, memcmp(self->src, self->dst, at));

		memset(self->dst, 0, BUF_SIZE);
		for (k = 0; k < count[i]; k++)
			iov[k].iov_base = self->dst +
				((char *)iov[k].iov_base - self->src);
		aio_prep(&self->iocb, IOCB_CMD_PREADV, self->fd, iov, count[i],
			 777);
		EXPECT_RES(self->ctx, &self->iocb, at);
		EXPECT_EQ(0, memcmp(self->src, self->dst, at));
	}
}

TEST_F(rw, end_of_file)
{
	struct { size_t len; long long at; int res; } c[] = {
		{ 1000, 0, 1000 }, { 4096, 0, 1000 }, { 4096, 500, 500 },
		{ 1, 999, 1 }, { 1, 1000, 0 }, { 4096, 1000, 0 },
		{ 4096, 5000, 0 }, { 0, 0, 0 }, { 4096, 1LL << 40, 0 },
	};
	struct iovec iov[2];
	size_t i;

	ASSERT_EQ(1000, pwrite(self->fd, self->src, 1000, 0));
	for (i = 0; i < ARRAY_SIZE(c); i++) {
		memset(self->dst, 0x55, BUF_SIZE);
		aio_prep(&self->iocb, IOCB_CMD_PREAD, self->fd, self->dst,
			 c[i].len, c[i].at);
		EXPECT_RES(self->ctx, &self->iocb, c[i].res);
		if (c[i].res)
			EXPECT_EQ(0, memcmp(self->dst, self->src + c[i].at,
					    c[i].res));
		EXPECT_EQ(0x55, self->dst[c[i].res]);
		iov[0] = (struct iovec){ self->dst, c[i].len / 2 };
		iov[1] = (struct iovec){ self->dst + c[i].len / 2,
					 c[i].len - c[i].len / 2 };
		aio_prep(&self->iocb, IOCB_CMD_PREADV, self->fd, iov, 2,
			 c[i].at);
		EXPECT_RES(self->ctx, &self->iocb, c[i].res);
	}
	EXPECT_EQ(1000, lseek(self->fd, 0, SEEK_END));
}

/* Many at once, in one call, in file order. */
TEST_F(rw, batch)
{
	struct io_event events[NR];
	struct iocb iocb[NR], *list[NR];
	bool seen[NR] = { 0 };
	int i, op;

	for (op = 0; op < 2; op++) {
		for (i = 0; i < NR; i++) {
			aio_prep(&iocb[i],
				 op ? IOCB_CMD_PREAD : IOCB_CMD_PWRITE,
				 self->fd,
				 (op ? self->dst : self->src) + i * 1000,
				 1000 - i, i * 1000);
			list[i] = &iocb[i];
		}
		ASSERT_EQ(NR, io_submit(self->ctx, NR, list));
		ASSERT_EQ(NR, io_getevents(self->ctx, NR, NR, events, NULL));
		memset(seen, 0, sizeof(seen));
		for (i = 0; i < NR; i++) {
			int n = (struct iocb *)(uintptr_t)events[i].obj - iocb;

			ASSERT_TRUE(n >= 0 && n < NR && !seen[n]);
			seen[n] = true;
			EXPECT_EVENT(&events[i], &iocb[n], 1000 - n);
		}
	}
	for (i = 0; i < NR; i++)
		EXPECT_EQ(0, memcmp(self->src + i * 1000, self->dst + i * 1000,
				    1000 - i));
}

/* A request outlives its file descriptor. */
TEST_F(rw, close_after_submit)
{
	int fd = aio_reopen(self->fd, O_RDWR);

	ASSERT_GE(fd, 0);
	aio_prep(&self->iocb, IOCB_CMD_PWRITE, fd, self->src, 5000, 0);
	ASSERT_EQ(1, aio_submit_one(self->ctx, &self->iocb));
	close(fd);
	ASSERT_EQ(1, io_getevents(self->ctx, 1, 1, &self->event, NULL));
	EXPECT_EVENT(&self->event, &self->iocb, 5000);
}

/* ------------------------------------------------------ lengths, offsets */

TEST_F(rw, bad_length)
{
	__u64 len[] = { 1ULL << 63, (1ULL << 63) + 1, ~0ULL, -4096ULL };
	size_t i, op;

	for (op = 0; op < ARRAY_SIZE(rw_opcodes); op++) {
		for (i = 0; i < ARRAY_SIZE(len); i++) {
			aio_prep(&self->iocb, rw_opcodes[op], self->fd,
				 self->src, 0, 0);
			self->iocb.aio_nbytes = len[i];
			EXPECT_REFUSED(self->ctx, &self->iocb, -EINVAL);
			/* This is looked at before the file. */
			self->iocb.aio_fildes = -1;
			EXPECT_REFUSED(self->ctx, &self->iocb, -EINVAL);
		}
	}
}

TEST_F(rw, bad_offset)
{
	struct iovec iov[3] = {
		{ self->src, 100 }, { self->dst, 100 }, { self->dst, 100 },
	};
	long long at[] = { -1, -4096, LLONG_MIN, LLONG_MAX - 50 };
	size_t i, op, n;

	for (op = 0; op < ARRAY_SIZE(rw_opcodes); op++) {
		for (n = 1; n <= 3; n++) {
			bool v = is_vectored(rw_opcodes[op]);

			for (i = 0; i < ARRAY_SIZE(at); i++) {
				aio_prep(&self->iocb, rw_opcodes[op], self->fd,
					 v ? (void *)iov : self->src,
					 v ? n : 100, at[i]);
				EXPECT_REFUSED(self->ctx, &self->iocb, -EINVAL);
			}
		}
	}
	EXPECT_EQ(0, lseek(self->fd, 0, SEEK_END));
}

/* Longer than any transfer can be: cut, not refused. One for each opcode. */
TEST_F(rw, length_is_cut)
{
	struct iovec iov[3] = {
		{ self->dst, INT_MAX }, { self->dst, INT_MAX },
		{ self->dst, INT_MAX },
	};
	struct iovec one = { self->dst, SSIZE_MAX };

	aio_prep(&self->iocb, IOCB_CMD_PWRITE, self->null_fd, self->src,
		 SSIZE_MAX, 0);
	EXPECT_RES(self->ctx, &self->iocb, AIO_MAX_RW_COUNT);
	self->iocb.aio_nbytes = (size_t)AIO_MAX_RW_COUNT + 1;
	EXPECT_RES(self->ctx, &self->iocb, AIO_MAX_RW_COUNT);
	self->iocb.aio_nbytes = AIO_MAX_RW_COUNT - 1;
	EXPECT_RES(self->ctx, &self->iocb, AIO_MAX_RW_COUNT - 1);

	aio_prep(&self->iocb, IOCB_CMD_PWRITEV, self->null_fd, iov, 3, 0);
	EXPECT_RES(self->ctx, &self->iocb, AIO_MAX_RW_COUNT);
	aio_prep(&self->iocb, IOCB_CMD_PWRITEV, self->null_fd, &one, 1, 0);
	EXPECT_RES(self->ctx, &self->iocb, AIO_MAX_RW_COUNT);

	/* Read: what the file has, whatever was asked for. */
	ASSERT_EQ(3000, pwrite(self->fd, self->src, 3000, 0));
	aio_prep(&self->iocb, IOCB_CMD_PREAD, self->fd, self->dst, SSIZE_MAX,
		 0);
	EXPECT_RES(self->ctx, &self->iocb, 3000);
	EXPECT_EQ(0, memcmp(self->src, self->dst, 3000));
	memset(self->dst, 0, 3000);
	aio_prep(&self->iocb, IOCB_CMD_PREADV, self->fd, &one, 1, 0);
	EXPECT_RES(self->ctx, &self->iocb, 3000);
	EXPECT_EQ(0, memcmp(self->src, self->dst, 3000));
	aio_prep(&self->iocb, IOCB_CMD_PREADV, self->fd, iov, 3, 0);
	EXPECT_RES(self->ctx, &self->iocb, 3000);
}

/* ------------------------------------------------------ memory */

TEST_F(rw, bad_vectors)
{
	struct iovec *iov = (struct iovec *)self->dst;
	struct iovec *edge = aio_guarded(8 * sizeof(*iov));
	struct iovec *none = aio_unmapped();
	int ops[] = { IOCB_CMD_PREADV, IOCB_CMD_PWRITEV };
	struct iocb *cb = &self->iocb;
	unsigned int i, op, n;

	for (op = 0; op < 2; op++) {
		for (i = 0; i < BUF_SIZE / sizeof(*iov); i++)
			iov[i] = (struct iovec){ self->src, 1 };
		for (i = 0; i < 8; i++)
			edge[i] = (struct iovec){ self->src, 1 };
		/* No vector: nothing is read, nothing is done. */
		aio_prep(cb, ops[op], self->fd, none, 0, 0);
		EXPECT_RES(self->ctx, cb, 0);
		aio_prep(cb, ops[op], self->fd, none, 1, 0);
		EXPECT_REFUSED(self->ctx, cb, -EFAULT);
		aio_prep(cb, ops[op], self->fd, none, 9, 0);
		EXPECT_REFUSED(self->ctx, cb, -EFAULT);
		aio_prep(cb, ops[op], self->fd, (void *)-4096L, 2, 0);
		EXPECT_REFUSED(self->ctx, cb, -EFAULT);
		aio_prep(cb, ops[op], self->fd, edge, 8, 0);
		EXPECT_RES(self->ctx, cb, op ? 8 : 0);
		aio_prep(cb, ops[op], self->fd, edge, 9, 0);
		EXPECT_REFUSED(self->ctx, cb, -EFAULT);
		aio_prep(cb, ops[op], self->fd, edge + 1, 8, 0);
		EXPECT_REFUSED(self->ctx, cb, -EFAULT);
		/* Too many: said before they are read. */
		aio_prep(cb, ops[op], self->fd, iov, 1025, 0);
		EXPECT_REFUSED(self->ctx, cb, -EINVAL);
		aio_prep(cb, ops[op], self->fd, none, 1025, 0);
		EXPECT_REFUSED(self->ctx, cb, -EINVAL);
		/* A negative length, first and last of few and of many. */
		for (n = 1; n < 12; n += 5) {
			iov[n - 1].iov_len = -1;
			aio_prep(cb, ops[op], self->fd, iov, n, 0);
			EXPECT_REFUSED(self->ctx, cb, -EINVAL);
			iov[n - 1].iov_len = 1;
			iov[0].iov_len = (size_t)SSIZE_MAX + 1;
			EXPECT_REFUSED(self->ctx, cb, -EINVAL);
			iov[0].iov_len = 1;
		}
		/* It wins over the unreadable vector after it. */
		edge[7].iov_len = -1;
		aio_prep(cb, ops[op], self->fd, edge, 9, 0);
		EXPECT_REFUSED(self->ctx, cb, -EINVAL);
		/* Memory that no program can have. */
		if (AIO_HAS_KERNEL_ADDRESSES) {
			iov[1].iov_base = (void *)-4096L;
			aio_prep(cb, ops[op], self->fd, iov, 2, 0);
			EXPECT_REFUSED(self->ctx, cb, -EFAULT);
			aio_prep(cb, ops[op], self->fd, iov + 1, 1, 0);
			EXPECT_REFUSED(self->ctx, cb, -EFAULT);
			iov[1].iov_base = self->src;
			iov[1].iov_len = SSIZE_MAX;
			aio_prep(cb, ops[op], self->fd, iov, 2, 0);
			EXPECT_REFUSED(self->ctx, cb, -EFAULT);
		}
		/* The file's mode is looked at before all of this. */
		aio_prep(cb, ops[op],
			 aio_reopen(self->fd, op ? O_RDONLY : O_WRONLY),
			 none, 1025, -1);
		EXPECT_REFUSED(self->ctx, cb, -EBADF);
	}
}

/* Only 32 bits of the number of vectors are looked at. */
TEST_F(rw, vector_count_is_32_bits)
{
	struct iovec iov = { self->src, 77 };

	if (sizeof(long) < 8)
		SKIP(return, "64-bit programs only");
	aio_prep(&self->iocb, IOCB_CMD_PWRITEV, self->fd, &iov, 0, 0);
	self->iocb.aio_nbytes = (1ULL << 32) + 1;
	EXPECT_RES(self->ctx, &self->iocb, 77);
	self->iocb.aio_nbytes = 1ULL << 62;
	EXPECT_RES(self->ctx, &self->iocb, 0);
	self->iocb.aio_nbytes = (1ULL << 32) + 1025;
	EXPECT_REFUSED(self->ctx, &self->iocb, -EINVAL);
}

/*
 * Data in memory that cannot be used: the event says what read() and write()
 * say. Memory that no program can have is told by io_submit() itself.
 */
TEST_F(rw, bad_data)
{
	char *none = aio_unmapped();
	char *edge = aio_guarded(self->page + 100);
	char *ro = aio_pages(self->page, PROT_READ);
	struct { char *p; size_t len; } c[] = {
		{ none, 100 }, { NULL, 100 }, { ro, 100 },
		{ edge, self->page + 100 }, { edge, self->page + 101 },
		{ edge, 3 * self->page }, { edge + self->page, 101 },
	};
	struct iovec iov[2];
	ssize_t want;
	size_t i;

	ASSERT_EQ(BUF_SIZE, pwrite(self->fd, self->src, BUF_SIZE, 0));
	for (i = 0; i < ARRAY_SIZE(c); i++) {
		want = aio_result(pread(self->fd, c[i].p, c[i].len, 0));
		aio_prep(&self->iocb, IOCB_CMD_PREAD, self->fd, c[i].p,
			 c[i].len, 0);
		EXPECT_RES(self->ctx, &self->iocb, want);
		want = aio_result(pwrite(self->fd, c[i].p, c[i].len, 0));
		aio_prep(&self->iocb, IOCB_CMD_PWRITE, self->fd, c[i].p,
			 c[i].len, 0);
		EXPECT_RES(self->ctx, &self->iocb, want);

		iov[0] = (struct iovec){ self->dst, 50 };
		iov[1] = (struct iovec){ c[i].p, c[i].len };
		want = aio_result(preadv(self->fd, iov, 2, 0));
		aio_prep(&self->iocb, IOCB_CMD_PREADV, self->fd, iov, 2, 0);
		EXPECT_RES(self->ctx, &self->iocb, want);
		want = aio_result(pwritev(self->fd, iov, 2, 0));
		aio_prep(&self->iocb, IOCB_CMD_PWRITEV, self->fd, iov, 2, 0);
		EXPECT_RES(self->ctx, &self->iocb, want);
	}
	for (i = 0; AIO_HAS_KERNEL_ADDRESSES && i < 2; i++) {
		int op = i ? IOCB_CMD_PWRITE : IOCB_CMD_PREAD;

		aio_prep(&self->iocb, op, self->fd, (void *)-4096L, 100, 0);
		EXPECT_REFUSED(self->ctx, &self->iocb, -EFAULT);
		aio_prep(&self->iocb, op, self->null_fd, (void *)LONG_MIN, 1,
			 0);
		EXPECT_REFUSED(self->ctx, &self->iocb, -EFAULT);
	}
}

TEST_F(rw, bad_iocb_memory)
{
	struct iocb *edge = aio_guarded(sizeof(*edge));
	struct iocb *ro = aio_pages(self->page, PROT_READ | PROT_WRITE);
	struct iocb *bad[] = {
		NULL, (void *)1, aio_unmapped(), (void *)-4096L,
		aio_pages(self->page, PROT_NONE),
		(void *)((char *)edge + 1), (void *)((char *)edge + 63),
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		EXPECT_EQ(-EFAULT, aio_submit_one(self->ctx, bad[i]));
		EXPECT_EQ(0, aio_drain(self->ctx));
	}
	/* Up to the very edge is fine. */
	aio_prep(edge, IOCB_CMD_PWRITE, self->fd, self->src, 10, 0);
	EXPECT_RES(self->ctx, edge, 10);
	/* An odd address too. */
	edge = (void *)(self->dst + 3);
	aio_prep(edge, IOCB_CMD_PWRITE, self->fd, self->src, 10, 0);
	EXPECT_RES(self->ctx, edge, 10);

	/* Memory that the kernel cannot write aio_key to: nothing is done. */
	aio_prep(ro, IOCB_CMD_PWRITE, self->fd, self->src, 1000, 0);
	ASSERT_EQ(0, mprotect(ro, self->page, PROT_READ));
	EXPECT_REFUSED(self->ctx, ro, -EFAULT);
	EXPECT_EQ(10, lseek(self->fd, 0, SEEK_END));
}

/* ------------------------------------------------------ files */

TEST_F(rw, bad_descriptor)
{
	int fd[] = { -1, INT_MIN, INT_MAX, 100000, open("/", O_PATH), 0 };
	size_t i, op;

	fd[5] = dup(self->fd);
	close(fd[5]);
	for (op = 0; op < ARRAY_SIZE(rw_opcodes); op++) {
		for (i = 0; i < ARRAY_SIZE(fd); i++) {
			aio_prep(&self->iocb, rw_opcodes[op], fd[i], self->src,
				 1, 0);
			EXPECT_REFUSED(self->ctx, &self->iocb, -EBADF);
		}
	}
}

TEST_F(rw, open_mode)
{
	struct iovec iov = { self->dst, 100 };
	size_t op;

	for (op = 0; op < ARRAY_SIZE(rw_opcodes); op++) {
		bool w = is_write(rw_opcodes[op]);
		bool v = is_vectored(rw_opcodes[op]);
		int right = aio_reopen(self->fd, w ? O_WRONLY : O_RDONLY);
		int wrong = aio_reopen(self->fd, w ? O_RDONLY : O_WRONLY);

		ASSERT_GE(right, 0);
		ASSERT_GE(wrong, 0);
		ASSERT_EQ(0, ftruncate(self->fd, 100));
		aio_prep(&self->iocb, rw_opcodes[op], wrong,
			 v ? (void *)&iov : self->dst, v ? 1 : 100, 0);
		EXPECT_REFUSED(self->ctx, &self->iocb, -EBADF);
		/* It comes before the offset. */
		self->iocb.aio_offset = -1;
		EXPECT_REFUSED(self->ctx, &self->iocb, -EBADF);
		self->iocb.aio_offset = 0;
		self->iocb.aio_fildes = right;
		EXPECT_RES(self->ctx, &self->iocb, 100);
		close(right);
		close(wrong);
	}
}

/* The mode comes before everything that the file can or cannot do. */
TEST_F(rw, open_mode_first)
{
	int fd = open("/proc/self/oom_score_adj", O_WRONLY);
	size_t op;

	/* A file without read_iter that cannot be read anyway. */
	ASSERT_GE(fd, 0);
	aio_prep(&self->iocb, IOCB_CMD_PREAD, fd, self->dst, 1, 0);
	EXPECT_REFUSED(self->ctx, &self->iocb, -EBADF);
	/* Memory that no program can have. */
	for (op = 0; op < ARRAY_SIZE(rw_opcodes); op++) {
		bool w = is_write(rw_opcodes[op]);
		int wrong = aio_reopen(self->fd, w ? O_RDONLY : O_WRONLY);

		aio_prep(&self->iocb, rw_opcodes[op], wrong, (void *)-4096L,
			 100, 0);
		EXPECT_REFUSED(self->ctx, &self->iocb, -EBADF);
		/* This comes before the offset, however. */
		aio_prep(&self->iocb, rw_opcodes[op], self->fd,
			 (void *)-4096L, 100, -1);
		EXPECT_REFUSED(self->ctx, &self->iocb,
			       AIO_HAS_KERNEL_ADDRESSES ||
			       rw_opcodes[op] == IOCB_CMD_PREADV ||
			       rw_opcodes[op] == IOCB_CMD_PWRITEV ?
			       -EFAULT : -EINVAL);
		close(wrong);
	}
}

/* Files that know no read_iter or write_iter. */
TEST_F(rw, file_without_iter)
{
	int ep = epoll_create1(0), in = inotify_init();
	int dir = open("/proc/self", O_RDONLY | O_DIRECTORY);
	size_t op;

	FOR_PLAIN("they need no read_iter or write_iter");
	for (op = 0; op < ARRAY_SIZE(rw_opcodes); op++) {
		bool w = is_write(rw_opcodes[op]);

		/* Buffers and vectors are not looked at. */
		aio_prep(&self->iocb, rw_opcodes[op], ep, (void *)-4096L, 1,
			 0);
		EXPECT_REFUSED(self->ctx, &self->iocb, -EINVAL);
		if (in >= 0) {
			self->iocb.aio_fildes = in;
			EXPECT_REFUSED(self->ctx, &self->iocb,
				       w ? -EBADF : -EINVAL);
		}
		self->iocb.aio_fildes = dir;
		EXPECT_REFUSED(self->ctx, &self->iocb, w ? -EBADF : -EINVAL);
	}
}

TEST_F(rw, devices)
{
	int zero = open("/dev/zero", O_RDWR), full = open("/dev/full", O_RDWR);
	struct iovec iov[2] = { { self->dst, 30 }, { self->dst + 30, 40 } };
	struct iocb *cb = &self->iocb;

	aio_prep(cb, IOCB_CMD_PREAD, self->null_fd, self->dst, 100, 0);
	EXPECT_RES(self->ctx, cb, 0);
	aio_prep(cb, IOCB_CMD_PREADV, self->null_fd, iov, 2, 0);
	EXPECT_RES(self->ctx, cb, 0);
	aio_prep(cb, IOCB_CMD_PWRITE, self->null_fd, self->src, 100, 0);
	EXPECT_RES(self->ctx, cb, 100);
	aio_prep(cb, IOCB_CMD_PWRITEV, self->null_fd, iov, 2, 0);
	EXPECT_RES(self->ctx, cb, 70);
	memset(self->dst, 1, 101);
	aio_prep(cb, IOCB_CMD_PREAD, zero, self->dst, 100, 0);
	EXPECT_RES(self->ctx, cb, 100);
	EXPECT_EQ(0, self->dst[99]);
	EXPECT_EQ(1, self->dst[100]);
	/* It has a write, but no write_iter. */
	aio_prep(cb, IOCB_CMD_PWRITE, full, self->src, 100, 0);
	if (aio_auto_threads())
		EXPECT_RES(self->ctx, cb, -ENOSPC);
	else
		EXPECT_REFUSED(self->ctx, cb, -EINVAL);
}

/* Pipes have no offset; a good one is ignored, a negative one is not. */
TEST_F(rw, pipes)
{
	struct iovec iov[2] = { { self->dst, 3 }, { self->dst + 3, 100 } };
	struct iocb *cb = &self->iocb;
	int p[2];

	ASSERT_EQ(0, pipe(p));
	aio_prep(cb, IOCB_CMD_PWRITE, p[1], self->src, 100, 12345);
	EXPECT_RES(self->ctx, cb, 100);
	aio_prep(cb, IOCB_CMD_PREAD, p[0], self->dst, 10, 999);
	EXPECT_RES(self->ctx, cb, 10);
	aio_prep(cb, IOCB_CMD_PREADV, p[0], iov, 2, 0);
	EXPECT_RES(self->ctx, cb, 90);
	EXPECT_EQ(0, memcmp(self->src + 10, self->dst, 90));
	aio_prep(cb, IOCB_CMD_PWRITE, p[1], self->src, 100, -1);
	EXPECT_REFUSED(self->ctx, cb, -EINVAL);
	aio_prep(cb, IOCB_CMD_PREAD, p[1], self->dst, 10, 0);
	EXPECT_REFUSED(self->ctx, cb, -EBADF);
	/* An empty pipe, without waiting. */
	aio_prep(cb, IOCB_CMD_PREAD, p[0], self->dst, 10, 0);
	cb->aio_rw_flags = RWF_NOWAIT;
	EXPECT_RES(self->ctx, cb, -EAGAIN);
	cb->aio_rw_flags = 0;
	ASSERT_EQ(0, fcntl(p[0], F_SETFL, O_NONBLOCK));
	EXPECT_RES(self->ctx, cb, -EAGAIN);
	/* No reader: an event, and a signal for the caller. */
	signal(SIGPIPE, SIG_IGN);
	close(p[0]);
	aio_prep(cb, IOCB_CMD_PWRITE, p[1], self->src, 10, 0);
	EXPECT_RES(self->ctx, cb, -EPIPE);
	close(p[1]);
}

static void nop_handler(int sig)
{
}

static void *submit_list_thread(void *arg)
{
	struct aio_caller *c = arg;

	c->tid = aio_gettid();
	c->ret = io_submit(c->ctx, c->nr, (void *)c->iocb);
	c->done = true;
	return NULL;
}

/*
 * A request that sleeps in io_submit() and gets a signal fails with EINTR in
 * its event. The system call is not restarted, even if the handler asks for it.
 */
TEST_F(rw, signal_while_submitting)
{
	struct sigaction sa = {
		.sa_handler = nop_handler, .sa_flags = SA_RESTART,
	};
	struct aio_caller submitter = {
		.ctx = self->ctx, .iocb = &self->iocb,
	};
	int p[2];

	FOR_PLAIN("io_submit() does not wait");
	ASSERT_EQ(0, sigaction(SIGUSR1, &sa, NULL));
	ASSERT_EQ(0, pipe(p));
	aio_prep(&self->iocb, IOCB_CMD_PREAD, p[0], self->dst, 10, 0);
	ASSERT_TRUE(aio_start_blocked(&submitter, aio_submit_thread,
				      __NR_io_submit));
	pthread_kill(submitter.thread, SIGUSR1);
	EXPECT_EQ(1, aio_join(&submitter));
	ASSERT_EQ(1, io_getevents(self->ctx, 1, 1, &self->event, NULL));
	EXPECT_EVENT(&self->event, &self->iocb, -EINTR);
}

/* What comes after the one that is interrupted is started all the same. */
TEST_F(rw, signal_does_not_end_the_call)
{
	struct iocb iocb[3], *list[] = { &iocb[0], &iocb[1], &iocb[2] };
	struct sigaction sa = { .sa_handler = nop_handler };
	struct io_event events[3];
	struct aio_caller submitter = {
		.ctx = self->ctx, .iocb = (void *)list, .nr = 3,
	};
	int p[2], i;

	FOR_PLAIN("io_submit() does not wait");
	ASSERT_EQ(0, sigaction(SIGUSR1, &sa, NULL));
	ASSERT_EQ(0, pipe(p));
	aio_prep(&iocb[0], IOCB_CMD_PWRITE, self->null_fd, self->src, 1, 0);
	aio_prep(&iocb[1], IOCB_CMD_PREAD, p[0], self->dst, 10, 0);
	aio_prep(&iocb[2], IOCB_CMD_PWRITE, self->null_fd, self->src, 2, 0);
	ASSERT_TRUE(aio_start_blocked(&submitter, submit_list_thread,
				      __NR_io_submit));
	pthread_kill(submitter.thread, SIGUSR1);
	EXPECT_EQ(3, aio_join(&submitter));
	ASSERT_EQ(3, io_getevents(self->ctx, 3, 3, events, NULL));
	for (i = 0; i < 3; i++)
		EXPECT_EVENT(&events[i], &iocb[i], i == 1 ? -EINTR : i ? 2 : 1);
}

static volatile sig_atomic_t pipe_signals;

static void on_sigpipe(int sig)
{
	pipe_signals++;
}

/*
 * In a threaded context a thread can't be made while a signal is pending: the call
 * returns what was started before. The first request sends the signal.
 */
TEST(signal_before_a_thread_is_made)
{
	int status;
	pid_t pid;

	NEED_THREADS();
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		struct iocb iocb[2], *list[] = { &iocb[0], &iocb[1] };
		struct io_event event = { 0 };
		int broken[2], empty[2];
		aio_context_t ctx = 0;
		char c;

		signal(SIGPIPE, on_sigpipe);
		if (pipe(broken) || pipe(empty) || setup_threaded(4, &ctx))
			_exit(1);
		close(broken[0]);
		aio_prep(&iocb[0], IOCB_CMD_PWRITE, broken[1], "x", 1, 0);
		aio_prep(&iocb[1], IOCB_CMD_PREAD, empty[0], &c, 1, 0);
		if (io_submit(ctx, 2, list) != 1 || pipe_signals != 1)
			_exit(2);
		if (await_events(ctx, &event, 1) != 1 ||
		    event.obj != (uintptr_t)&iocb[0] || event.res != -EPIPE)
			_exit(3);
		/* Nothing is left of the other one; without a signal it is started. */
		if (aio_drain(ctx) || aio_submit_one(ctx, &iocb[1]) != 1 ||
		    write(empty[1], "y", 1) != 1)
			_exit(4);
		if (await_events(ctx, &event, 1) != 1 ||
		    event.obj != (uintptr_t)&iocb[1] || event.res != 1 || c != 'y')
			_exit(5);
		_exit(0);
	}
	status = await_child(pid);
	EXPECT_EQ(0, WIFEXITED(status) ? WEXITSTATUS(status) : status);
}

/* ------------------------------------------------------ the iocb */

TEST_F(rw, unknown_opcode)
{
	unsigned int op[] = { 4, 6, 9, 10, 11, 12, 13, 0x100, 0x8000, 0xffff };
	size_t i;

	for (i = 0; i < ARRAY_SIZE(op); i++) {
		/* They are known to threaded contexts. */
		if (aio_auto_threads() && op[i] >= 9 && op[i] <= 13 && op[i] != 11)
			continue;
		aio_prep(&self->iocb, op[i], self->fd, self->src, 10, 0);
		self->iocb.aio_key = 77;
		EXPECT_REFUSED(self->ctx, &self->iocb, -EINVAL);
		/* The key is written before the opcode is looked at. */
		EXPECT_EQ(0, self->iocb.aio_key);
		self->iocb.aio_fildes = -1;
		EXPECT_REFUSED(self->ctx, &self->iocb, -EBADF);
	}
	EXPECT_EQ(0, lseek(self->fd, 0, SEEK_END));
}

TEST_F(rw, aio_key)
{
	struct iocb *cb = &self->iocb;

	aio_prep(cb, IOCB_CMD_PWRITE, self->fd, self->src, 10, 0);
	cb->aio_key = 0xdeadbeef;
	EXPECT_RES(self->ctx, cb, 10);
	EXPECT_EQ(0, cb->aio_key);
	/* Not touched when the file or the eventfd is no good. */
	aio_prep(cb, IOCB_CMD_PWRITE, -1, self->src, 10, 0);
	cb->aio_key = 0xdeadbeef;
	EXPECT_REFUSED(self->ctx, cb, -EBADF);
	EXPECT_EQ(0xdeadbeef, cb->aio_key);
	aio_prep(cb, IOCB_CMD_PWRITE, self->fd, self->src, 10, 0);
	cb->aio_key = 0xdeadbeef;
	cb->aio_flags = IOCB_FLAG_RESFD;
	cb->aio_resfd = -1;
	EXPECT_REFUSED(self->ctx, cb, -EBADF);
	EXPECT_EQ(0xdeadbeef, cb->aio_key);
	/* Nothing else of the iocb is ever written. */
	memset(cb, 0xa5, sizeof(*cb));
	cb->aio_reserved2 = 0;
	cb->aio_nbytes = 0;
	cb->aio_flags = 0;
	cb->aio_fildes = self->fd;
	memcpy(self->dst, cb, sizeof(*cb));
	((struct iocb *)self->dst)->aio_key = 0;
	EXPECT_REFUSED(self->ctx, cb, -EINVAL);
	EXPECT_EQ(0, memcmp(self->dst, cb, sizeof(*cb)));
}

TEST_F(rw, reserved_field)
{
	__u64 v[] = { 1, 1ULL << 32, 1ULL << 63, ~0ULL };
	size_t i;

	for (i = 0; i < ARRAY_SIZE(v); i++) {
		aio_prep(&self->iocb, IOCB_CMD_PWRITE, self->fd, self->src, 10,
			 0);
		self->iocb.aio_reserved2 = v[i];
		EXPECT_REFUSED(self->ctx, &self->iocb, -EINVAL);
		self->iocb.aio_fildes = -1;
		EXPECT_REFUSED(self->ctx, &self->iocb, -EINVAL);
	}
	EXPECT_EQ(0, lseek(self->fd, 0, SEEK_END));
}

/* Bits of aio_flags that mean nothing are not refused. */
TEST_F(rw, unknown_aio_flags)
{
	aio_prep(&self->iocb, IOCB_CMD_PWRITE, self->fd, self->src, 10, 0);
	self->iocb.aio_flags = ~(IOCB_FLAG_RESFD | IOCB_FLAG_IOPRIO);
	self->iocb.aio_resfd = -1;
	self->iocb.aio_reqprio = -1;
	EXPECT_RES(self->ctx, &self->iocb, 10);
}

/* An iocb with everything wrong, mended step by step: the order of checks. */
TEST_F(rw, order_of_checks)
{
	struct iocb *cb = aio_pages(self->page, PROT_READ | PROT_WRITE);
	struct iovec iov = { self->src, -1 };
	int efd = eventfd(0, EFD_NONBLOCK);
	int rd_only = aio_reopen(self->fd, O_RDONLY);
	int ep = epoll_create1(0);
	__u64 count;

#define STEP(err, mend) do {						\
	EXPECT_EQ(0, mprotect(cb, self->page, PROT_READ));		\
	EXPECT_REFUSED(self->ctx, cb, err);				\
	EXPECT_EQ(0, mprotect(cb, self->page, PROT_READ | PROT_WRITE));	\
	mend;								\
} while (0)
	aio_prep(cb, 0xffff, -1, aio_unmapped(), 1025, -1);
	cb->aio_nbytes = ~0ULL;
	cb->aio_reserved2 = 1;
	cb->aio_flags = IOCB_FLAG_RESFD | IOCB_FLAG_IOPRIO;
	cb->aio_reqprio = -1;
	cb->aio_resfd = -1;
	cb->aio_rw_flags = 1U << 31;
	STEP(-EINVAL, cb->aio_reserved2 = 0);
	STEP(-EINVAL, cb->aio_nbytes = 1025);
	STEP(-EBADF, cb->aio_fildes = ep);
	STEP(-EBADF, cb->aio_resfd = self->null_fd);
	STEP(-EINVAL, cb->aio_resfd = efd);
	STEP(-EFAULT, (void)0);
#undef STEP
	/* From here on the key can be written. */
#define STEP(err, mend) do {						\
	EXPECT_REFUSED(self->ctx, cb, err);				\
	mend;								\
} while (0)
	STEP(-EINVAL, cb->aio_lio_opcode = IOCB_CMD_PWRITEV);
	STEP(-EINVAL, cb->aio_reqprio = 0);
	STEP(-EOPNOTSUPP, cb->aio_rw_flags = RWF_APPEND | RWF_NOAPPEND);
	STEP(-EINVAL, cb->aio_rw_flags = 0; cb->aio_fildes = rd_only);
	STEP(-EBADF, cb->aio_fildes = ep);
	STEP(-EINVAL, cb->aio_fildes = self->fd);
	STEP(-EINVAL, cb->aio_nbytes = 1);
	STEP(-EFAULT, cb->aio_buf = (uintptr_t)&iov);
	STEP(-EINVAL, iov.iov_len = 5);
	STEP(-EINVAL, cb->aio_offset = 0);
#undef STEP
	EXPECT_EQ(0, lseek(self->fd, 0, SEEK_END));
	/* All those failures have not signalled the eventfd. */
	EXPECT_EQ(-1, read(efd, &count, sizeof(count)));
	EXPECT_RES(self->ctx, cb, 5);
	EXPECT_EQ(1, aio_eventfd_take(efd, 1));
}

/* ------------------------------------------------------ the list */

TEST_F(rw, bad_list)
{
	struct iocb **edge = aio_guarded(sizeof(*edge));
	struct iocb *cb = &self->iocb;
	aio_context_t gone = 0;

	ASSERT_EQ(0, io_setup(1, &gone));
	ASSERT_EQ(0, io_destroy(gone));
	aio_prep(cb, IOCB_CMD_PWRITE, self->fd, self->src, 10, 0);
	/* The number first, then the context, then the list. */
	EXPECT_EQ(-EINVAL, io_submit(self->ctx, -1, &cb));
	EXPECT_EQ(-EINVAL, io_submit(self->ctx, LONG_MIN, &cb));
	EXPECT_EQ(-EINVAL, io_submit(self->ctx, -1, NULL));
	EXPECT_EQ(-EINVAL, io_submit(0, 1, &cb));
	EXPECT_EQ(-EINVAL, io_submit(gone, 1, &cb));
	EXPECT_EQ(-EINVAL, io_submit(gone, 0, &cb));
	EXPECT_EQ(-EINVAL, io_submit(gone, 1, NULL));
	EXPECT_EQ(-EINVAL, io_submit((aio_context_t)self->src, 1, &cb));
	EXPECT_EQ(0, io_submit(self->ctx, 0, &cb));
	EXPECT_EQ(0, io_submit(self->ctx, 0, NULL));
	EXPECT_EQ(0, io_submit(self->ctx, 0, aio_unmapped()));
	EXPECT_EQ(-EFAULT, io_submit(self->ctx, 1, NULL));
	EXPECT_EQ(-EFAULT, io_submit(self->ctx, LONG_MAX, NULL));
	EXPECT_EQ(-EFAULT, io_submit(self->ctx, 1, aio_unmapped()));
	EXPECT_EQ(-EFAULT, io_submit(self->ctx, 1, (void *)-4096L));
	EXPECT_EQ(0, aio_drain(self->ctx));
	EXPECT_EQ(0, lseek(self->fd, 0, SEEK_END));
	/* The list is read one by one. */
	*edge = cb;
	EXPECT_EQ(1, io_submit(self->ctx, 2, edge));
	EXPECT_EQ(1, io_submit(self->ctx, 20, edge));
	EXPECT_EQ(1, io_submit(self->ctx, LONG_MAX, edge));
	EXPECT_EQ(3, aio_drain_of(self->ctx, 3));
}

/*
 * A bad request at place k: the k before it are done and counted, nothing after
 * it happens; the error is told only when k is 0. No slot is lost by it.
 */
TEST_F(rw, partial_submission)
{
	enum { FAULT, RESERVED, LENGTH, BADF, RESFD_BADF, RESFD_EINVAL, KEY,
	       OPCODE, IOPRIO, RWF, MODE, OFFSET, IOVEC, KINDS };
	long error[KINDS] = {
		-EFAULT, -EINVAL, -EINVAL, -EBADF, -EBADF, -EINVAL, -EFAULT,
		-EINVAL, -EINVAL, -EOPNOTSUPP, -EBADF, -EINVAL, -EFAULT,
	};
	struct iocb *ro = aio_pages(self->page, PROT_READ | PROT_WRITE);
	struct io_event events[8];
	struct iocb iocb[6], *list[6];
	int kind, k, i, round;

	for (kind = 0; kind < KINDS; kind++) {
		for (k = 0; k < 6; k++) {
			struct iocb *bad = kind == KEY ? ro : &iocb[k];

			ASSERT_EQ(0, ftruncate(self->fd, 0));
			for (i = 0; i < 6; i++) {
				list[i] = i == k ? bad : &iocb[i];
				aio_prep(list[i], IOCB_CMD_PWRITE, self->fd,
					 self->src, 10, i * 10);
			}
			switch (kind) {
			case FAULT:
				list[k] = aio_unmapped();
				break;
			case RESERVED:
				bad->aio_reserved2 = 1;
				break;
			case LENGTH:
				bad->aio_nbytes = ~0ULL;
				break;
			case BADF:
				bad->aio_fildes = -1;
				break;
			case RESFD_BADF:
				bad->aio_flags = IOCB_FLAG_RESFD;
				bad->aio_resfd = -1;
				break;
			case RESFD_EINVAL:
				bad->aio_flags = IOCB_FLAG_RESFD;
				bad->aio_resfd = self->fd;
				break;
			case KEY:
				mprotect(ro, self->page, PROT_READ);
				break;
			case OPCODE:
				bad->aio_lio_opcode = 6;
				break;
			case IOPRIO:
				bad->aio_flags = IOCB_FLAG_IOPRIO;
				bad->aio_reqprio = -1;
				break;
			case RWF:
				bad->aio_rw_flags = 1U << 31;
				break;
			case MODE:
				bad->aio_fildes = aio_reopen(self->fd,
							     O_RDONLY);
				break;
			case OFFSET:
				bad->aio_offset = -1;
				break;
			case IOVEC:
				bad->aio_lio_opcode = IOCB_CMD_PWRITEV;
				bad->aio_buf = 0;
				break;
			}
			EXPECT_EQ(k ?: error[kind],
				  io_submit(self->ctx, 6, list))
				TH_LOG("kind %d at %d", kind, k);
			EXPECT_EQ(k, io_getevents(self->ctx, k, 8, events,
						  NULL));
			EXPECT_EQ(0, aio_drain(self->ctx));
			EXPECT_EQ(k * 10, lseek(self->fd, 0, SEEK_END));
			for (round = 0; !k && round < 200; round++)
				EXPECT_EQ(error[kind],
					  io_submit(self->ctx, 6, list));
			if (kind == KEY)
				mprotect(ro, self->page,
					 PROT_READ | PROT_WRITE);
			if (kind == MODE)
				close(bad->aio_fildes);
		}
	}
	EXPECT_GE(aio_fill(self->ctx, iocb, self->null_fd), NR);
	EXPECT_GE(aio_drain(self->ctx), NR);
}

/* Who wants to know why a call has stopped submits the rest. */
TEST_F(rw, the_rest_tells_why)
{
	struct iocb iocb[4], *list[4];
	struct io_event events[4];
	long error[] = { -EBADF, -EINVAL, -EFAULT };
	int kind, i;

	for (kind = 0; kind < 3; kind++) {
		for (i = 0; i < 4; i++) {
			aio_prep(&iocb[i], IOCB_CMD_PWRITE, self->fd, self->src,
				 10, i * 10);
			list[i] = &iocb[i];
		}
		if (kind == 0)
			iocb[2].aio_fildes = -1;
		else if (kind == 1)
			iocb[2].aio_lio_opcode = 6;
		else
			list[2] = aio_unmapped();
		ASSERT_EQ(2, io_submit(self->ctx, 4, list));
		EXPECT_EQ(error[kind], io_submit(self->ctx, 2, list + 2));
		/* The last one was never looked at. */
		EXPECT_EQ(2, io_getevents(self->ctx, 2, 4, events, NULL));
		EXPECT_EQ(0, aio_drain(self->ctx));
		EXPECT_EQ(20, lseek(self->fd, 0, SEEK_END));
		ASSERT_EQ(0, ftruncate(self->fd, 0));
	}
}

/* ------------------------------------------------------ slots */

/* The same iocb may be in flight any number of times. */
TEST_F(rw, same_iocb_often)
{
	struct io_event events[NR];
	struct iocb *list[NR];
	int i;

	aio_prep(&self->iocb, IOCB_CMD_PWRITE, self->null_fd, self->src, 3, 0);
	for (i = 0; i < NR; i++)
		list[i] = &self->iocb;
	ASSERT_EQ(NR, io_submit(self->ctx, NR, list));
	/* Writes to /dev/null are over when io_submit() returns. */
	ASSERT_EQ(NR, aio_reap(self->ctx, events, NR));
	for (i = 0; i < NR; i++)
		EXPECT_EVENT(&events[i], &self->iocb, 3);
}

/* More than the ring has are never taken by one call. */
TEST_F(rw, number_is_clamped)
{
	__u32 nr = aio_ring(self->ctx)->nr;
	struct iocb **list = calloc(nr + 10, sizeof(*list));
	long took;
	__u32 i;

	aio_prep(&self->iocb, IOCB_CMD_PWRITE, self->null_fd, self->src, 1, 0);
	for (i = 0; i < nr + 10; i++)
		list[i] = &self->iocb;
	took = io_submit(self->ctx, nr + 10, list);
	EXPECT_GE(took, NR);
	EXPECT_LT(took, nr);
	EXPECT_EQ(took, aio_drain(self->ctx));
	/* With 2^31 and more, the list is still read from its start. */
	took = io_submit(self->ctx, LONG_MAX, list);
	EXPECT_GE(took, NR);
	EXPECT_LT(took, nr);
	EXPECT_EQ(took, aio_drain(self->ctx));
}

/*
 * A full ring. Being full is told before the file is looked at and after the
 * checks of the iocb itself. Each event taken makes room for one.
 */
TEST_F(rw, ring_full)
{
	struct iocb *cb = &self->iocb, *list[4] = { cb, cb, cb, cb };
	struct io_event events[40];
	long took, n, i;

	ASSERT_EQ(0, aio_pin_cpu());
	took = aio_fill(self->ctx, cb, self->null_fd);
	ASSERT_GE(took, NR);
	ASSERT_LT(took, aio_ring(self->ctx)->nr);
	EXPECT_EQ(-EAGAIN, aio_submit_one(self->ctx, cb));
	cb->aio_fildes = -1;
	EXPECT_EQ(-EAGAIN, aio_submit_one(self->ctx, cb));
	cb->aio_reserved2 = 1;
	EXPECT_EQ(-EINVAL, aio_submit_one(self->ctx, cb));
	EXPECT_EQ(-EFAULT, aio_submit_one(self->ctx, NULL));

	for (n = 1; n <= 40; n += 3) {
		ASSERT_EQ(n, aio_reap(self->ctx, events, n));
		for (i = 0; i < n; i++)
			EXPECT_EQ(1, events[i].res);
		EXPECT_EQ(n, aio_fill(self->ctx, cb, self->null_fd));
	}
	/* Room for three: the fourth ends the call. */
	ASSERT_EQ(3, aio_reap(self->ctx, events, 3));
	EXPECT_EQ(3, io_submit(self->ctx, 4, list));
	/* A request that is refused gives its slot back at once. */
	ASSERT_EQ(1, aio_reap(self->ctx, events, 1));
	cb->aio_fildes = -1;
	for (i = 0; i < 10; i++)
		EXPECT_EQ(-EBADF, aio_submit_one(self->ctx, cb));
	EXPECT_EQ(1, aio_fill(self->ctx, cb, self->null_fd));
	EXPECT_EQ(took, aio_drain(self->ctx));
	EXPECT_EQ(took, aio_fill(self->ctx, cb, self->null_fd));
	EXPECT_EQ(took, aio_drain(self->ctx));
}

/* The same when the program takes events out of the ring itself. */
TEST_F(rw, ring_full_user_reaping)
{
	volatile struct aio_ring *ring = aio_ring(self->ctx);
	struct iocb *cb = &self->iocb;
	long took, n;

	ASSERT_EQ(0, aio_pin_cpu());
	took = aio_fill(self->ctx, cb, self->null_fd);
	ASSERT_GE(took, NR);
	for (n = 1; n <= 40; n += 3) {
		ring->head = (ring->head + n) % ring->nr;
		EXPECT_EQ(n, aio_fill(self->ctx, cb, self->null_fd));
	}
	ring->head = ring->tail;
	EXPECT_EQ(took, aio_fill(self->ctx, cb, self->null_fd));
	EXPECT_EQ(took, aio_drain(self->ctx));
}

/* Slots are neither lost nor won in the long run. */
TEST_F_TIMEOUT(rw, capacity_is_constant, 300)
{
	struct iocb *cb = &self->iocb, bad, *list[33];
	struct io_event events[32];
	long before, i;

	ASSERT_EQ(0, aio_pin_cpu());
	before = aio_fill(self->ctx, cb, self->null_fd);
	ASSERT_EQ(before, aio_drain(self->ctx));
	aio_prep(&bad, IOCB_CMD_PWRITE, -1, self->src, 1, 0);
	for (i = 0; i < 32; i++)
		list[i] = cb;
	list[32] = &bad;
	for (i = 0; i < 100000 / 32; i++) {
		ASSERT_EQ(32, io_submit(self->ctx, i & 1 ? 32 : 33, list));
		ASSERT_EQ(32, aio_reap(self->ctx, events, 32));
		if (i % 16 == 0)
			ASSERT_EQ(-EBADF, io_submit(self->ctx, 1, list + 32));
	}
	EXPECT_EQ(before, aio_fill(self->ctx, cb, self->null_fd));
	EXPECT_EQ(before, aio_drain(self->ctx));
}

/* All slots, those that wait in the numbers of other processors among them. */
static long fill_from_everywhere(aio_context_t ctx, int null_fd)
{
	cpu_set_t all, one;
	struct iocb iocb;
	long ret, sum = 0;
	int cpu;

	sched_getaffinity(0, sizeof(all), &all);
	for (cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (!CPU_ISSET(cpu, &all))
			continue;
		CPU_ZERO(&one);
		CPU_SET(cpu, &one);
		if (sched_setaffinity(0, sizeof(one), &one))
			return -errno;
		ret = aio_fill(ctx, &iocb, null_fd);
		if (ret < 0)
			return ret;
		sum += ret;
	}
	sched_setaffinity(0, sizeof(all), &all);
	return sum;
}

/*
 * The same for requests that a disk completes, in interrupts, on whatever
 * processor: no slot is lost to two that count at the same time.
 */
TEST(capacity_after_disk)
{
	enum { BATCH = 32 };
	const int rounds = aio_long() ? 300 : 50;
	int null_fd = open("/dev/null", O_RDWR), i, n, fd;
	struct iocb iocbs[BATCH], *list[BATCH];
	struct io_event events[BATCH];
	struct aio_slow_disk disk;
	aio_context_t ctx = 0;
	long before, done;
	char *buf;

	if (!aio_slow_disk_make(&disk, 1))
		SKIP(return, "no root or no null_blk");
	fd = open(disk.dev, O_RDWR | O_DIRECT);
	buf = aio_pages(BATCH * 4096, PROT_READ | PROT_WRITE);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, io_setup(BATCH, &ctx));
	before = fill_from_everywhere(ctx, null_fd);
	EXPECT_EQ(before, aio_drain(ctx));
	for (i = 0; i < rounds; i++) {
		for (n = 0; n < BATCH; n++) {
			aio_prep(&iocbs[n], n & 1 ? IOCB_CMD_PWRITE : IOCB_CMD_PREAD, fd,
				 buf + n * 4096, 4096, n * 4096);
			list[n] = &iocbs[n];
		}
		ASSERT_EQ(BATCH, io_submit(ctx, BATCH, list));
		/* Some come while this still submits others. */
		for (done = 0; done < BATCH; done += n) {
			n = io_getevents(ctx, 1, BATCH - done, events, NULL);
			ASSERT_LT(0, n);
		}
	}
	EXPECT_EQ(before, fill_from_everywhere(ctx, null_fd));
	EXPECT_EQ(before, aio_drain(ctx));
	EXPECT_EQ(0, io_destroy(ctx));
	close(fd);
	aio_slow_disk_remove(&disk);
}

/* ------------------------------------------------------ RWF_ flags */

/*
 * Each flag alone does what it does for preadv2() and pwritev2() on the same
 * file; a flag that is not supported is refused by io_submit(). Returns how
 * often that was not so.
 */
static int wrong_rwf_flags(aio_context_t ctx, int fd, char *buf,
			   const char *name)
{
	struct iovec iov = { buf, 512 };
	int bit, op, wrong = 0;
	bool changed = true;

	for (bit = 0; bit < 32; bit++) {
		for (op = 0; op < 2; op++) {
			__u32 flag = 1U << bit;
			struct io_event event;
			struct iocb iocb;
			long want, got;

			if (changed && pwrite(fd, buf, 8192, 0) != 8192)
				return -1;
			changed = false;
			if (op)
				want = aio_result(pwritev2(fd, &iov, 1, 0,
							   flag));
			else
				want = aio_result(preadv2(fd, &iov, 1, 0,
							  flag));
			aio_prep(&iocb, op ? IOCB_CMD_PWRITE : IOCB_CMD_PREAD,
				 fd, buf, 512, 0);
			iocb.aio_rw_flags = flag;
			got = aio_run(ctx, &iocb, &event);
			/* Most flags nobody knows, and there is nothing to be undone. */
			changed = op && (want > 0 || got == 1);
			if (want == -EOPNOTSUPP) {
				/* ext4 says this when it is asked to write. */
				if (flag == RWF_NOWAIT && got == 1)
					got = event.res;
				if (got == -EOPNOTSUPP)
					continue;
			} else if (got == 1 && flag == RWF_NOWAIT &&
				   (event.res == -EAGAIN || want == -EAGAIN)) {
				continue;
			} else if (got == 1 && event.res == want) {
				continue;
			}
			wrong++;
			printf("# %s, RWF bit %d, op %d: %ld, event %lld, expected %ld\n",
			       name, bit, op, got,
			       got == 1 ? (long long)event.res : 0, want);
		}
	}
	return wrong;
}

TEST_F(rw, each_rwf_flag)
{
	EXPECT_EQ(0, wrong_rwf_flags(self->ctx, self->fd, self->src, "file"));
}

/* File systems that know all of them, and a block device. */
TEST(each_rwf_flag_on_disks)
{
	static const char *const fs[] = { "ext4", "xfs" };
	char mnt[] = "/tmp/aio_rwf_XXXXXX", path[64], cmd[256];
	const char *dev = getenv("AIO_SCRATCH_DEV");
	char *buf = aio_pages(8192, PROT_READ | PROT_WRITE);
	aio_context_t ctx = 0;
	int fd, i, k, done = 0;

	if (!dev || access(dev, R_OK | W_OK) || geteuid())
		SKIP(return, "no scratch disk in AIO_SCRATCH_DEV, or not root");
	ASSERT_EQ(0, io_setup(NR, &ctx));
	for (k = 0; k < 2; k++) {
		fd = open(dev, O_RDWR | (k ? O_DIRECT : 0));
		ASSERT_LE(0, fd);
		EXPECT_EQ(0, wrong_rwf_flags(ctx, fd, buf, dev));
		close(fd);
	}
	ASSERT_NE(NULL, mkdtemp(mnt));
	for (i = 0; i < 2; i++) {
		snprintf(cmd, sizeof(cmd), "mkfs.%s -q %s %s >/dev/null 2>&1",
			 fs[i], i ? "-f" : "-F", dev);
		if (system(cmd) || mount(dev, mnt, fs[i], 0, NULL))
			continue;
		done++;
		snprintf(path, sizeof(path), "%s/file", mnt);
		for (k = 0; k < 2; k++) {
			fd = open(path, O_RDWR | O_CREAT | (k ? O_DIRECT : 0),
				  0600);
			EXPECT_LE(0, fd);
			EXPECT_EQ(0, wrong_rwf_flags(ctx, fd, buf, fs[i]));
			close(fd);
		}
		EXPECT_EQ(0, umount(mnt));
	}
	rmdir(mnt);
	if (!done)
		SKIP(return, "neither ext4 nor XFS, or no mkfs");
}

/* Nobody polls for this request, so it must complete by itself. */
TEST_F(rw, rwf_hipri)
{
	aio_prep(&self->iocb, IOCB_CMD_PWRITE, self->fd, self->src, 4096, 0);
	self->iocb.aio_rw_flags = RWF_HIPRI;
	EXPECT_RES(self->ctx, &self->iocb, 4096);
	aio_prep(&self->iocb, IOCB_CMD_PREAD, self->fd, self->dst, 4096, 0);
	self->iocb.aio_rw_flags = RWF_HIPRI;
	EXPECT_RES(self->ctx, &self->iocb, 4096);
	EXPECT_EQ(0, memcmp(self->src, self->dst, 4096));
}

/* The same on a disk that has queues for polling. */
TEST(rwf_hipri_on_polled_disk)
{
	struct io_event events[2];
	struct iocb iocb[2];
	struct aio_slow_disk disk;
	aio_context_t ctx = 0;
	char *buf;
	int fd, i;

	if (!aio_slow_disk_make(&disk, 1))
		SKIP(return, "no null_blk disk (needs root and configfs)");
	fd = open(disk.dev, O_RDWR | O_DIRECT);
	EXPECT_GE(fd, 0);
	buf = aio_pages(2 * 4096, PROT_READ | PROT_WRITE);
	EXPECT_EQ(0, io_setup(2, &ctx));
	for (i = 0; i < 2; i++) {
		struct timespec ts = { patience() };

		aio_prep(&iocb[i], i ? IOCB_CMD_PREAD : IOCB_CMD_PWRITE, fd,
			 buf + i * 4096, 4096, 0);
		iocb[i].aio_rw_flags = RWF_HIPRI;
		EXPECT_EQ(1, aio_submit_one(ctx, &iocb[i]));
		EXPECT_EQ(1, io_getevents(ctx, 1, 1, &events[i], &ts));
		EXPECT_EVENT(&events[i], &iocb[i], 4096);
	}
	close(fd);
	aio_slow_disk_remove(&disk);
}

TEST_F(rw, rwf_append)
{
	int app = aio_reopen(self->fd, O_WRONLY | O_APPEND);
	struct iocb *cb = &self->iocb;

	ASSERT_EQ(100, pwrite(self->fd, self->src, 100, 0));
	aio_prep(cb, IOCB_CMD_PWRITE, self->fd, self->src, 10, 0);
	cb->aio_rw_flags = RWF_APPEND;
	EXPECT_RES(self->ctx, cb, 10);
	EXPECT_EQ(110, lseek(self->fd, 0, SEEK_END));
	/* A file opened to append does so without the flag. */
	aio_prep(cb, IOCB_CMD_PWRITE, app, self->src, 10, 0);
	EXPECT_RES(self->ctx, cb, 10);
	EXPECT_EQ(120, lseek(self->fd, 0, SEEK_END));
	cb->aio_rw_flags = RWF_APPEND | RWF_NOAPPEND;
	EXPECT_REFUSED(self->ctx, cb, -EINVAL);
	cb->aio_rw_flags = RWF_NOAPPEND;
	EXPECT_RES(self->ctx, cb, 10);
	EXPECT_EQ(120, lseek(self->fd, 0, SEEK_END));
}

/* Whoever may only append may not say that he does not. */
TEST_F(rw, rwf_noappend_on_append_only)
{
	int app = aio_reopen(self->fd, O_WRONLY | O_APPEND);
	struct iocb *cb = &self->iocb;
	int flags = FS_APPEND_FL;

	ASSERT_GE(app, 0);
	aio_prep(cb, IOCB_CMD_PWRITE, app, self->src, 10, 0);
	cb->aio_rw_flags = RWF_NOAPPEND;
	EXPECT_RES(self->ctx, cb, 10);
	if (ioctl(self->fd, FS_IOC_SETFLAGS, &flags))
		SKIP(return, "no append-only files here");
	EXPECT_REFUSED(self->ctx, cb, -EPERM);
	cb->aio_rw_flags = 0;
	EXPECT_RES(self->ctx, cb, 10);
	EXPECT_EQ(20, lseek(self->fd, 0, SEEK_END));
	flags = 0;
	EXPECT_EQ(0, ioctl(self->fd, FS_IOC_SETFLAGS, &flags));
}

/* ------------------------------------------------------ IOCB_FLAG_RESFD */

TEST_F(rw, resfd_counts)
{
	int efd = eventfd(0, EFD_NONBLOCK);
	struct iocb *cb = &self->iocb, *list[5] = { cb, cb, cb, cb, cb };
	__u64 count;
	int i;

	aio_prep(cb, IOCB_CMD_PWRITE, self->fd, self->src, 10, 0);
	cb->aio_flags = IOCB_FLAG_RESFD;
	cb->aio_resfd = efd;
	EXPECT_RES(self->ctx, cb, 10);
	EXPECT_EQ(1, aio_eventfd_take(efd, 1));
	ASSERT_EQ(5, io_submit(self->ctx, 5, list));
	for (i = 0; i < 5; i++)
		ASSERT_EQ(1, io_getevents(self->ctx, 1, 1, &self->event, NULL));
	EXPECT_EQ(5, aio_eventfd_take(efd, 5));
	/* A failure in the event counts too. */
	aio_prep(cb, IOCB_CMD_PREAD, self->fd, NULL, 10, 0);
	cb->aio_flags = IOCB_FLAG_RESFD;
	cb->aio_resfd = efd;
	EXPECT_RES(self->ctx, cb, -EFAULT);
	EXPECT_EQ(1, aio_eventfd_take(efd, 1));
	/* Without the flag aio_resfd means nothing. */
	cb->aio_flags = 0;
	EXPECT_RES(self->ctx, cb, -EFAULT);
	EXPECT_EQ(-1, read(efd, &count, sizeof(count)));
	EXPECT_EQ(EAGAIN, errno);
}

TEST_F(rw, resfd_bad)
{
	int efd = eventfd(0, EFD_NONBLOCK);
	int bad[] = { -1, INT_MAX, self->fd, self->null_fd, 0 };
	long err[] = { -EBADF, -EBADF, -EINVAL, -EINVAL, -EBADF };
	__u64 count;
	size_t i;

	bad[4] = dup(efd);
	close(bad[4]);
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		aio_prep(&self->iocb, IOCB_CMD_PWRITE, self->fd, self->src, 10,
			 0);
		self->iocb.aio_flags = IOCB_FLAG_RESFD;
		self->iocb.aio_resfd = bad[i];
		EXPECT_REFUSED(self->ctx, &self->iocb, err[i]);
	}
	EXPECT_EQ(0, lseek(self->fd, 0, SEEK_END));
	/* The file is looked at before the eventfd, the opcode after it. */
	self->iocb.aio_fildes = -1;
	self->iocb.aio_resfd = self->fd;
	EXPECT_REFUSED(self->ctx, &self->iocb, -EBADF);
	self->iocb.aio_fildes = self->fd;
	self->iocb.aio_resfd = -1;
	self->iocb.aio_lio_opcode = 0xffff;
	EXPECT_REFUSED(self->ctx, &self->iocb, -EBADF);
	/* A request that is refused signals nothing. */
	self->iocb.aio_resfd = efd;
	EXPECT_REFUSED(self->ctx, &self->iocb, -EINVAL);
	EXPECT_EQ(-1, read(efd, &count, sizeof(count)));
}

/* The request keeps it, whoever closes the descriptor. */
TEST_F(rw, resfd_closed_after_submit)
{
	int efd = eventfd(0, EFD_NONBLOCK), same, other, p[2];
	__u64 count;

	same = dup(efd);
	ASSERT_LE(0, same);
	ASSERT_EQ(0, pipe(p));
	aio_prep(&self->iocb, IOCB_CMD_POLL, p[0], (void *)POLLIN, 0, 0);
	self->iocb.aio_flags = IOCB_FLAG_RESFD;
	self->iocb.aio_resfd = efd;
	ASSERT_EQ(1, aio_submit_one(self->ctx, &self->iocb));
	/* And not whatever has its number then. */
	close(efd);
	other = eventfd(0, EFD_NONBLOCK);
	EXPECT_EQ(efd, other);
	ASSERT_EQ(1, write(p[1], "x", 1));
	ASSERT_EQ(1, io_getevents(self->ctx, 1, 1, &self->event, NULL));
	EXPECT_EQ(1, aio_eventfd_take(same, 1));
	EXPECT_EQ(-1, read(other, &count, sizeof(count)));
	EXPECT_EQ(EAGAIN, errno);
	/* With no descriptor left there is nobody to tell, and no harm in that. */
	self->iocb.aio_resfd = same;
	ASSERT_EQ(1, read(p[0], &count, 1));
	ASSERT_EQ(1, aio_submit_one(self->ctx, &self->iocb));
	close(same);
	ASSERT_EQ(1, write(p[1], "x", 1));
	ASSERT_EQ(1, io_getevents(self->ctx, 1, 1, &self->event, NULL));
	close(other);
}

/* A full counter stays full, and the event is not lost. */
TEST_F(rw, resfd_overflow)
{
	int efd = eventfd(0, EFD_NONBLOCK);
	__u64 count = ~0ULL - 1;
	int i;

	ASSERT_EQ(sizeof(count), write(efd, &count, sizeof(count)));
	aio_prep(&self->iocb, IOCB_CMD_PWRITE, self->fd, self->src, 10, 0);
	self->iocb.aio_flags = IOCB_FLAG_RESFD;
	self->iocb.aio_resfd = efd;
	for (i = 0; i < 3; i++)
		EXPECT_RES(self->ctx, &self->iocb, 10);
	EXPECT_EQ(sizeof(count), read(efd, &count, sizeof(count)));
	EXPECT_EQ(~0ULL, count);
}

/* ------------------------------------------------------ IOCB_FLAG_IOPRIO */

TEST_F(rw, ioprio)
{
	struct { int prio; int err; } c[] = {
		{ IOPRIO_PRIO_VALUE(IOPRIO_CLASS_NONE, 0), 0 },
		{ IOPRIO_PRIO_VALUE(IOPRIO_CLASS_NONE, 1), -EINVAL },
		{ IOPRIO_PRIO_VALUE(IOPRIO_CLASS_NONE, 7), -EINVAL },
		{ IOPRIO_PRIO_VALUE(IOPRIO_CLASS_BE, 0), 0 },
		{ IOPRIO_PRIO_VALUE(IOPRIO_CLASS_BE, 7), 0 },
		{ IOPRIO_PRIO_VALUE(IOPRIO_CLASS_IDLE, 0), 0 },
		{ IOPRIO_PRIO_VALUE(IOPRIO_CLASS_IDLE, 7), 0 },
		{ IOPRIO_PRIO_VALUE(4, 0), -EINVAL },
		{ IOPRIO_PRIO_VALUE(5, 0), -EINVAL },
		{ IOPRIO_PRIO_VALUE(6, 0), -EINVAL },
		{ IOPRIO_PRIO_VALUE(7, 0), -EINVAL },
		{ -1, -EINVAL },
	};
	size_t i, op;

	for (i = 0; i < ARRAY_SIZE(c); i++) {
		for (op = 0; op < 2; op++) {
			aio_prep(&self->iocb,
				 op ? IOCB_CMD_PWRITE : IOCB_CMD_PREAD,
				 self->fd, self->dst, 0, 0);
			self->iocb.aio_flags = IOCB_FLAG_IOPRIO;
			self->iocb.aio_reqprio = c[i].prio;
			if (c[i].err)
				EXPECT_REFUSED(self->ctx, &self->iocb,
					       c[i].err);
			else
				EXPECT_RES(self->ctx, &self->iocb, 0);
			/* Without the flag the field means nothing. */
			self->iocb.aio_flags = 0;
			EXPECT_RES(self->ctx, &self->iocb, 0);
		}
	}
}

TEST_F(rw, ioprio_realtime_as_root)
{
	if (geteuid())
		SKIP(return, "needs root");
	aio_prep(&self->iocb, IOCB_CMD_PWRITE, self->fd, self->src, 10, 0);
	self->iocb.aio_flags = IOCB_FLAG_IOPRIO;
	self->iocb.aio_reqprio = IOPRIO_PRIO_VALUE(IOPRIO_CLASS_RT, 4);
	EXPECT_RES(self->ctx, &self->iocb, 10);
}

TEST_F(rw, ioprio_realtime_as_user)
{
	if (!geteuid())
		ASSERT_EQ(0, setresuid(65534, 65534, 65534));
	aio_prep(&self->iocb, IOCB_CMD_PWRITE, self->fd, self->src, 10, 0);
	self->iocb.aio_flags = IOCB_FLAG_IOPRIO;
	self->iocb.aio_reqprio = IOPRIO_PRIO_VALUE(IOPRIO_CLASS_RT, 4);
	EXPECT_REFUSED(self->ctx, &self->iocb, -EPERM);
	/* It comes before the flags and the file's mode. */
	self->iocb.aio_rw_flags = 1U << 31;
	EXPECT_REFUSED(self->ctx, &self->iocb, -EPERM);
	self->iocb.aio_reqprio = IOPRIO_PRIO_VALUE(IOPRIO_CLASS_BE, 4);
	EXPECT_REFUSED(self->ctx, &self->iocb, -EOPNOTSUPP);
	EXPECT_EQ(0, lseek(self->fd, 0, SEEK_END));
}

/* It is a matter of capabilities, and one of two is enough. */
TEST_F(rw, ioprio_capabilities)
{
	struct __user_cap_header_struct head = {
		.version = _LINUX_CAPABILITY_VERSION_3,
	};
	struct { int keep; long result; } c[] = {
		{ CAP_SYS_ADMIN, 1 }, { CAP_SYS_NICE, 1 },
		{ CAP_SYS_RAWIO, -EPERM }, { CAP_SYS_RESOURCE, -EPERM },
	};
	size_t i;

	if (geteuid())
		SKIP(return, "needs root");
	for (i = 0; i < ARRAY_SIZE(c); i++) {
		struct __user_cap_data_struct all[2] = { 0 }, one[2];

		ASSERT_EQ(0, syscall(__NR_capget, &head, all));
		memcpy(one, all, sizeof(one));
		one[1].effective = 0;
		one[0].effective = 1U << c[i].keep;
		ASSERT_EQ(0, syscall(__NR_capset, &head, one));
		aio_prep(&self->iocb, IOCB_CMD_PWRITE, self->fd, self->src, 10,
			 0);
		self->iocb.aio_flags = IOCB_FLAG_IOPRIO;
		self->iocb.aio_reqprio = IOPRIO_PRIO_VALUE(IOPRIO_CLASS_RT, 0);
		EXPECT_EQ(c[i].result, aio_run(self->ctx, &self->iocb,
					       &self->event));
		/* The other classes want none. */
		self->iocb.aio_reqprio = IOPRIO_PRIO_VALUE(IOPRIO_CLASS_IDLE,
							   0);
		EXPECT_RES(self->ctx, &self->iocb, 10);
		ASSERT_EQ(0, syscall(__NR_capset, &head, all));
	}
}

/* ------------------------------------------------------ RLIMIT_FSIZE */

static volatile sig_atomic_t xfsz_count;

static void xfsz_handler(int sig)
{
	xfsz_count++;
}

TEST_F(rw, file_size_limit)
{
	struct rlimit limit = { 8192, 8192 };
	struct iocb *cb = &self->iocb;

	signal(SIGXFSZ, xfsz_handler);
	ASSERT_EQ(0, setrlimit(RLIMIT_FSIZE, &limit));
	aio_prep(cb, IOCB_CMD_PWRITE, self->fd, self->src, 4096, 4096);
	EXPECT_RES(self->ctx, cb, 4096);
	/* Across the limit: what fits. */
	aio_prep(cb, IOCB_CMD_PWRITE, self->fd, self->src, 4096, 8000);
	EXPECT_RES(self->ctx, cb, 192);
	EXPECT_EQ(0, xfsz_count);
	aio_prep(cb, IOCB_CMD_PWRITE, self->fd, self->src, 4096, 8192);
	/* A thread sends the signal first, which interrupts who waits for the event. */
	EXPECT_DONE(self->ctx, cb, -EFBIG);
	EXPECT_EQ(1, xfsz_count);
	EXPECT_EQ(8192, lseek(self->fd, 0, SEEK_END));
}

/* ------------------------------------------------------ a disk */

/* Requests that complete in interrupt context, on the scratch disk. */
TEST(direct_io)
{
	const char *dev = getenv("AIO_SCRATCH_DEV");
	enum { N = 128, SIZE = 4096 };
	static struct iocb iocb[N];
	struct io_event events[N];
	int efd = eventfd(0, EFD_NONBLOCK);
	struct iocb *list[N];
	aio_context_t ctx = 0;
	__u64 count;
	char *src, *dst;
	int fd, i, op;

	if (!dev)
		SKIP(return, "AIO_SCRATCH_DEV is not set");
	fd = open(dev, O_RDWR | O_DIRECT);
	if (fd < 0)
		SKIP(return, "cannot open %s", dev);
	ASSERT_EQ(0, io_setup(N, &ctx));
	src = aio_pages(N * SIZE, PROT_READ | PROT_WRITE);
	dst = aio_pages(N * SIZE, PROT_READ | PROT_WRITE);
	aio_pattern(src, N * SIZE, 42);
	for (op = 0; op < 2; op++) {
		for (i = 0; i < N; i++) {
			/* Not in order, so that they do not all merge. */
			int n = i * 37 % N;

			aio_prep(&iocb[i],
				 op ? IOCB_CMD_PREAD : IOCB_CMD_PWRITE, fd,
				 (op ? dst : src) + n * SIZE, SIZE, n * SIZE);
			iocb[i].aio_flags = IOCB_FLAG_RESFD;
			iocb[i].aio_resfd = efd;
			list[i] = &iocb[i];
		}
		ASSERT_EQ(N, io_submit(ctx, N, list));
		ASSERT_EQ(N, io_getevents(ctx, N, N, events, NULL));
		for (i = 0; i < N; i++) {
			struct iocb *cb = (void *)(uintptr_t)events[i].obj;

			ASSERT_TRUE(cb >= iocb && cb < iocb + N);
			EXPECT_EVENT(&events[i], cb, SIZE);
			/* Each just once. */
			cb->aio_data = 1;
		}
		/*
		 * The eventfd is signalled after the event is in the ring, so
		 * the last signals may still be to come; destroying the context
		 * waits for them.
		 */
	}
	EXPECT_EQ(0, memcmp(src, dst, N * SIZE));
	/* What the disk cannot do is told in the event. */
	aio_prep(&iocb[0], IOCB_CMD_PREAD, fd, dst, 100, 0);
	EXPECT_RES(ctx, &iocb[0], -EINVAL);
	/* The descriptor may be closed while the disk works. */
	aio_prep(&iocb[0], IOCB_CMD_PREAD, fd, dst, SIZE, 0);
	ASSERT_EQ(1, aio_submit_one(ctx, &iocb[0]));
	close(fd);
	ASSERT_EQ(1, io_getevents(ctx, 1, 1, events, NULL));
	EXPECT_EVENT(&events[0], &iocb[0], SIZE);
	EXPECT_EQ(0, io_destroy(ctx));
	EXPECT_EQ(sizeof(count), read(efd, &count, sizeof(count)));
	EXPECT_EQ(2 * N, count);
}

/*
 * A batch of more than two goes to the disk as a batch: neighbours in it become
 * one request. Smaller ones are not held back.
 */
TEST(plug)
{
	static const int batch[] = { 1, 2, 16, 64 };
	enum { SIZE = 4096, N = 64 };
	struct iocb iocb[N], *list[N];
	struct io_event events[N];
	struct aio_slow_disk disk;
	aio_context_t ctx = 0;
	char path[192];
	size_t b;
	char *buf;
	int fd, i;

	if (!aio_slow_disk_make(&disk, 1))
		SKIP(return, "no null_blk disk (needs root and configfs)");
	snprintf(path, sizeof(path), "/sys/class/block/%s/queue/scheduler",
		 strrchr(disk.dev, '/') + 1);
	/* A scheduler would merge by itself. */
	EXPECT_EQ(0, aio_write_text(path, "none"));
	fd = open(disk.dev, O_RDWR | O_DIRECT);
	EXPECT_GE(fd, 0);
	buf = aio_pages(N * SIZE, PROT_READ | PROT_WRITE);
	EXPECT_EQ(0, io_setup(N, &ctx));
	for (b = 0; b < ARRAY_SIZE(batch); b++) {
		long writes = aio_disk_stat(disk.dev, "stat", 4);
		long merged = aio_disk_stat(disk.dev, "stat", 5);
		long sum = 0;

		for (i = 0; i < N; i++) {
			aio_prep(&iocb[i], IOCB_CMD_PWRITE, fd, buf + i * SIZE,
				 SIZE, i * SIZE);
			list[i] = &iocb[i];
		}
		for (i = 0; i < N; i += batch[b])
			EXPECT_EQ(batch[b], io_submit(ctx, batch[b], list + i));
		EXPECT_EQ(N, io_getevents(ctx, N, N, events, NULL));
		for (i = 0; i < N; i++)
			EXPECT_EQ(SIZE, events[i].res);
		/* They are counted after the events are there. */
		for (i = 0; i < 5000; i++) {
			sum = aio_disk_stat(disk.dev, "stat", 4) +
				aio_disk_stat(disk.dev, "stat", 5);
			if (sum == writes + merged + N)
				break;
			aio_sleep_ms(1);
		}
		EXPECT_EQ(writes + merged + N, sum);
		merged = aio_disk_stat(disk.dev, "stat", 5) - merged;
		EXPECT_EQ(batch[b] > 2, merged > 0);
	}
	close(fd);
	aio_slow_disk_remove(&disk);
}

/*
 * Requests of the block layer are allocated ahead if those of a batch are not merged. What
 * was allocated for nothing, because the rest of the batch is merged, or for another
 * disk, or no I/O at all, does not stay: otherwise a disk of eight requests would have none
 * after a while, and could not be removed.
 */
TEST(requests_allocated_ahead)
{
	enum { SIZE = 4096, N = 64, ROUNDS = 20 };
	/* Of these so many are apart; then neighbours, the other disk's, or no disk's. */
	static const struct {
		int apart;
		char then;
	} pattern[] = {
		{ N, 'a' }, { 2, 'n' }, { 3, 'n' }, { 10, 'n' }, { 12, 'o' }, { 2, '0' },
		{ 5, 'o' }, { 9, '0' }, { 0, 'n' }, { 0, 'o' },
	};
	static const int sizes[] = { 3, 4, 10, 33, N };
	struct iocb iocb[N], *list[N];
	struct io_event events[N];
	struct aio_slow_disk disk[2];
	int fd[2], null, i, round;
	aio_context_t ctx = 0;
	size_t p;
	char *buf;

	for (i = 0; i < 2; i++)
		if (!aio_slow_disk_make(&disk[i], 1)) {
			if (i)
				aio_slow_disk_remove(&disk[0]);
			SKIP(return, "no null_blk disk (needs root and configfs)");
		}
	null = open("/dev/null", O_RDWR);
	EXPECT_GE(null, 0);
	for (i = 0; i < 2; i++) {
		char path[192];

		snprintf(path, sizeof(path), "/sys/class/block/%s/queue/nr_requests",
			 strrchr(disk[i].dev, '/') + 1);
		EXPECT_EQ(0, aio_write_text(path, "8"));
		fd[i] = open(disk[i].dev, O_RDWR | O_DIRECT);
		EXPECT_GE(fd[i], 0);
	}
	buf = aio_pages(N * SIZE, PROT_READ | PROT_WRITE);
	EXPECT_EQ(0, io_setup(N, &ctx));
	for (round = 0; round < ROUNDS; round++) {
		for (p = 0; p < ARRAY_SIZE(pattern); p++) {
			int nr = sizes[(round + p) % ARRAY_SIZE(sizes)];
			long got;

			for (i = 0; i < nr; i++) {
				bool apart = i < pattern[p].apart;
				int to = fd[!apart && pattern[p].then == 'o' && i % 2];

				if (!apart && pattern[p].then == '0')
					to = null;
				aio_prep(&iocb[i], IOCB_CMD_PWRITE, to, buf + i * SIZE, SIZE,
					 (apart || pattern[p].then == 'o' ? 2 * i : 2 * N + i) *
					 SIZE);
				list[i] = &iocb[i];
			}
			EXPECT_EQ(nr, io_submit(ctx, nr, list));
			got = io_getevents(ctx, nr, nr, events, NULL);
			EXPECT_EQ(nr, got);
			for (i = 0; i < got; i++)
				EXPECT_EQ(SIZE, events[i].res);
		}
	}
	EXPECT_EQ(0, io_destroy(ctx));
	close(null);
	for (i = 0; i < 2; i++) {
		close(fd[i]);
		/* They are counted after the events are there. */
		for (round = 0; round < 5000; round++) {
			if (!aio_disk_stat(disk[i].dev, "inflight", 1))
				break;
			aio_sleep_ms(1);
		}
		EXPECT_EQ(0, aio_disk_stat(disk[i].dev, "inflight", 1));
		aio_slow_disk_remove(&disk[i]);
	}
}

TEST_HARNESS_MAIN
