// SPDX-License-Identifier: GPL-2.0
/*
 * The system calls as programs for x32 make them: 64-bit code with pointers of 32
 * bits. A 64-bit program can make them as well, by a bit in their numbers.
 *
 * Held here: io_setup() and io_submit() have numbers of their own, and those of
 * 64-bit programs are refused; names of contexts, pointers to iocbs and I/O
 * vectors have 32 bits, times and signal masks 64; rings lie where such
 * a program can reach them. io_setup2() has one number for all, and takes names of 64
 * bits, which is what aio_context_t has there; indices in io_submit() have 32.
 */
#include <poll.h>
#include <sys/uio.h>
#include "../kselftest_harness.h"
#include "aio_ext_test.h"

#define X32		0x40000000
#define X32_SETUP	(X32 | 543)
#define X32_SUBMIT	(X32 | 544)
#define X32_SETUP2	(X32 | __NR_io_setup2)

/* 64-bit only, or the same for both. */
#define SETUP		206
#define DESTROY		207
#define GETEVENTS	208
#define SUBMIT		209
#define CANCEL		210
#define PGETEVENTS	333

/* Where a pointer of 32 bits leads to. */
struct low_memory {
	/* At a multiple of 64. */
	struct iocb indexed[4];
	/* For a name of 64 bits. */
	__u32 id2[2];
	__u32 id[2];
	__u32 iocbs[4];
	struct iocb iocb[4];
	__u32 vectors[4][2];
	struct io_event events[4];
	struct timespec time;
	struct aio_sigset sigset;
	sigset_t mask;
	char buf[4096];
};

static __u32 low(const void *ptr)
{
	return (uintptr_t)ptr;
}

FIXTURE(x32) {
	struct low_memory *m;
	int zero;
};

FIXTURE_SETUP(x32)
{
#ifdef __x86_64__
	long ret = aio_result(syscall(X32 | DESTROY, 0));

	if (ret == -ENOSYS)
		SKIP(return, "no x32 here");
	ASSERT_EQ(-EINVAL, ret);
	self->m = mmap(NULL, sizeof(*self->m), PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	ASSERT_NE(MAP_FAILED, self->m);
	self->zero = open("/dev/zero", O_RDWR);
	ASSERT_GE(self->zero, 0);
	self->m->id[1] = ~0U;
	ASSERT_EQ(0, aio_result(syscall(X32_SETUP, 8, self->m->id)));
#else
	SKIP(return, "not a program for x86-64");
#endif
}

FIXTURE_TEARDOWN(x32)
{
	if (self->m)
		EXPECT_EQ(0, aio_result(syscall(X32 | DESTROY, self->m->id[0])));
}

TEST_F(x32, names_have_32_bits)
{
	/* What lies behind the name is not its own. */
	EXPECT_EQ(~0U, self->m->id[1]);
	ASSERT_NE(0, self->m->id[0]);
	EXPECT_EQ(AIO_RING_MAGIC, aio_ring(self->m->id[0])->magic);

	/* It has to be zero, and those of others are not looked at. */
	EXPECT_EQ(-EINVAL, aio_result(syscall(X32_SETUP, 8, self->m->id)));
	EXPECT_EQ(-EFAULT, aio_result(syscall(X32_SETUP, 8, aio_unmapped())));

	/* To the kernel it is a context as any other. */
	EXPECT_EQ(0, io_getevents(self->m->id[0], 0, 4, self->m->events, NULL));
}

TEST_F(x32, numbers_of_64_bit_programs)
{
	aio_context_t ctx = 0;

	EXPECT_EQ(-ENOSYS, aio_result(syscall(X32 | SETUP, 8, &ctx)));
	EXPECT_EQ(-ENOSYS, aio_result(syscall(X32 | SUBMIT, self->m->id[0], 0, NULL)));
	/* Nor can a 64-bit call be made by a number of x32. */
	EXPECT_EQ(-ENOSYS, aio_result(syscall(543, 8, &ctx)));
	EXPECT_EQ(-ENOSYS, aio_result(syscall(544, self->m->id[0], 0, NULL)));
	EXPECT_EQ(0, ctx);
}

TEST_F(x32, pointers_have_32_bits)
{
	struct low_memory *m = self->m;
	int i;

	for (i = 0; i < 3; i++) {
		aio_prep(&m->iocb[i], IOCB_CMD_PREAD, self->zero, m->buf, 100 + i, 0);
		m->iocbs[i] = low(&m->iocb[i]);
	}
	memset(m->buf, 0xff, sizeof(m->buf));
	m->iocbs[3] = low(&m->iocb[3]);
	m->iocb[3].aio_reserved2 = 1;
	EXPECT_EQ(3, aio_result(syscall(X32_SUBMIT, m->id[0], 4, m->iocbs)));
	ASSERT_EQ(3, aio_result(syscall(X32 | GETEVENTS, m->id[0], 3, 4, m->events, NULL)));
	for (i = 0; i < 3; i++)
		EXPECT_EVENT(&m->events[i], &m->iocb[i], 100 + i);
	EXPECT_EQ(0, m->buf[101]);
	EXPECT_EQ(-1, m->buf[102]);
}

TEST_F(x32, vectors_have_32_bits)
{
	struct low_memory *m = self->m;

	m->vectors[0][0] = low(m->buf);
	m->vectors[0][1] = 3;
	m->vectors[1][0] = low(m->buf + 8);
	m->vectors[1][1] = 4;
	memset(m->buf, 0xff, sizeof(m->buf));
	aio_prep(&m->iocb[0], IOCB_CMD_PREADV, self->zero, m->vectors, 2, 0);
	m->iocbs[0] = low(&m->iocb[0]);
	ASSERT_EQ(1, aio_result(syscall(X32_SUBMIT, m->id[0], 1, m->iocbs)));
	ASSERT_EQ(1, aio_result(syscall(X32 | GETEVENTS, m->id[0], 1, 4, m->events, NULL)));
	EXPECT_EVENT(&m->events[0], &m->iocb[0], 7);
	EXPECT_EQ(0, m->buf[2]);
	EXPECT_EQ(-1, m->buf[3]);
	EXPECT_EQ(0, m->buf[11]);
	EXPECT_EQ(-1, m->buf[12]);
	/* A length that is negative with 32 bits. */
	m->vectors[1][1] = ~0U;
	EXPECT_EQ(-EINVAL, aio_result(syscall(X32_SUBMIT, m->id[0], 1, m->iocbs)));
}

TEST_F(x32, times_and_masks_have_64_bits)
{
	struct low_memory *m = self->m;

	m->time.tv_nsec = 1;
	EXPECT_EQ(0, aio_result(syscall(X32 | GETEVENTS, m->id[0], 1, 4, m->events, &m->time)));
	sigemptyset(&m->mask);
	m->sigset.sigmask = &m->mask;
	m->sigset.sigsetsize = 8;
	EXPECT_EQ(0, aio_result(syscall(X32 | PGETEVENTS, m->id[0], 1, 4, m->events, &m->time,
					&m->sigset)));
	m->sigset.sigsetsize = 4;
	EXPECT_EQ(-EINVAL, aio_result(syscall(X32 | PGETEVENTS, m->id[0], 1, 4, m->events,
					      &m->time, &m->sigset)));
}

TEST_F(x32, cancel)
{
	struct low_memory *m = self->m;
	int p[2];

	ASSERT_EQ(0, pipe(p));
	aio_prep(&m->iocb[0], IOCB_CMD_POLL, p[0], (void *)POLLIN, 0, 0);
	m->iocbs[0] = low(&m->iocb[0]);
	ASSERT_EQ(1, aio_result(syscall(X32_SUBMIT, m->id[0], 1, m->iocbs)));
	EXPECT_EQ(-EINPROGRESS, aio_result(syscall(X32 | CANCEL, m->id[0], &m->iocb[0],
						   m->events)));
	ASSERT_EQ(1, aio_result(syscall(X32 | GETEVENTS, m->id[0], 1, 4, m->events, NULL)));
	EXPECT_EVENT(&m->events[0], &m->iocb[0], 0);
}

/* What it says for an array of 4 iocbs, or for none. */
static long setup2_low(struct low_memory *m, unsigned int flags)
{
	return aio_result(syscall(X32_SETUP2, 4, flags, flags & USERIOCB ? m->indexed : NULL,
				  m->id2));
}

static long destroy_low(struct low_memory *m)
{
	long ret = aio_result(syscall(X32 | DESTROY, m->id2[0]));

	m->id2[0] = 0;
	return ret;
}

TEST_F(x32, setup2)
{
	struct low_memory *m = self->m;

	if (!aio_has_setup2()) {
		EXPECT_EQ(-ENOSYS, setup2_low(m, 0));
		EXPECT_EQ(-ENOSYS, setup2_low(m, USERIOCB));
		EXPECT_EQ(-ENOSYS, setup2_low(m, ~0U));
		SKIP(return, "no io_setup2()");
	}
	EXPECT_EQ(-EINVAL, setup2_low(m, 8));
	EXPECT_EQ(-EINVAL, setup2_low(m, FIXEDBUFS));
	EXPECT_EQ(-EINVAL, aio_result(syscall(X32_SETUP2, 4, 0, m->indexed, m->id2)));
	EXPECT_EQ(-EINVAL, aio_result(syscall(X32_SETUP2, 4, USERIOCB, &m->indexed[0].aio_buf,
					      m->id2)));
	EXPECT_EQ(-EFAULT, aio_result(syscall(X32_SETUP2, 4, USERIOCB, NULL, m->id2)));
	/* All of the name has to be zero. */
	m->id2[1] = 1;
	EXPECT_EQ(-EINVAL, setup2_low(m, 0));
	m->id2[1] = 0;
	EXPECT_EQ(0, m->id2[0]);

	/* As io_setup(). */
	ASSERT_EQ(0, setup2_low(m, 0));
	EXPECT_EQ(0, m->id2[1]);
	EXPECT_EQ(AIO_RING_MAGIC, aio_ring(m->id2[0])->magic);
	EXPECT_EQ(aio_ring(m->id[0])->compat_features, aio_ring(m->id2[0])->compat_features);
	EXPECT_EQ(-EINVAL, setup2_low(m, 0));
	aio_prep(&m->iocb[0], IOCB_CMD_PREAD, self->zero, m->buf, 100, 0);
	m->iocbs[0] = low(&m->iocb[0]);
	/* Not read: it takes one. */
	m->iocbs[1] = ~0U;
	EXPECT_EQ(1, aio_result(syscall(X32_SUBMIT, m->id2[0], 1, m->iocbs)));
	ASSERT_EQ(1, aio_result(syscall(X32 | GETEVENTS, m->id2[0], 1, 4, m->events, NULL)));
	EXPECT_EVENT(&m->events[0], &m->iocb[0], 100);
	EXPECT_EQ(0, destroy_low(m));
}

TEST_F(x32, indices_have_32_bits)
{
	static const unsigned int kinds[] = { USERIOCB, USERIOCB | FIXEDBUFS };
	struct low_memory *m = self->m;
	unsigned int i, k;
	int p[2];

	NEED_SETUP2();
	ASSERT_EQ(0, pipe(p));
	for (k = 0; k < ARRAY_SIZE(kinds); k++) {
		for (i = 0; i < 3; i++)
			aio_prep(&m->indexed[i], IOCB_CMD_PREAD, self->zero, m->buf, 100 + i, 0);
		aio_prep(&m->indexed[3], IOCB_CMD_POLL, p[0], (void *)POLLIN, 0, 0);
		ASSERT_EQ(0, setup2_low(m, kinds[k]));
		memset(m->buf, 0xff, sizeof(m->buf));
		m->iocbs[0] = 2;
		m->iocbs[1] = 1;
		m->iocbs[2] = 4;
		m->iocbs[3] = 0;
		/* Up to the one that is not there. */
		ASSERT_EQ(2, aio_result(syscall(X32_SUBMIT, m->id2[0], 4, m->iocbs)));
		EXPECT_EQ(-EINVAL, aio_result(syscall(X32_SUBMIT, m->id2[0], 2, &m->iocbs[2])));
		ASSERT_EQ(2, aio_result(syscall(X32 | GETEVENTS, m->id2[0], 2, 4, m->events,
						NULL)));
		for (i = 0; i < 2; i++) {
			EXPECT_EQ(2 - i, m->events[i].obj);
			EXPECT_EQ(m->indexed[2 - i].aio_data, m->events[i].data);
			EXPECT_EQ(102 - i, m->events[i].res);
		}
		EXPECT_EQ(0, m->buf[101]);
		EXPECT_EQ(-1, m->buf[102]);
		/* io_cancel() takes it as it is. */
		m->iocbs[0] = 3;
		ASSERT_EQ(1, aio_result(syscall(X32_SUBMIT, m->id2[0], 1, m->iocbs)));
		EXPECT_EQ(-EINVAL, aio_result(syscall(X32 | CANCEL, m->id2[0], 4, m->events)));
		EXPECT_EQ(-EINPROGRESS, aio_result(syscall(X32 | CANCEL, m->id2[0], 3,
							   m->events)));
		ASSERT_EQ(1, aio_result(syscall(X32 | GETEVENTS, m->id2[0], 1, 4, m->events,
						NULL)));
		EXPECT_EQ(3, m->events[0].obj);
		EXPECT_EQ(0, destroy_low(m));
	}
	close(p[0]);
	close(p[1]);
}

TEST_HARNESS_MAIN
