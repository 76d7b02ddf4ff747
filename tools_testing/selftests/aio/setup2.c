// SPDX-License-Identifier: GPL-2.0
/*
 * io_setup2(): which error comes first, what the ring says, and that a call that
 * fails leaves nothing behind: no pinned page, no locked memory, no share of
 * fs.aio-nr.
 */
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include "../kselftest_harness.h"
#include "aio_ext_test.h"

#define NR	64

FIXTURE(setup2) {
	struct iocb *iocbs;
	struct aio_balance before;
	aio_context_t ctx;
	size_t page;
	char *buf;
};

FIXTURE_SETUP(setup2)
{
	NEED_SETUP2();
	self->page = getpagesize();
	self->iocbs = aio_iocbs(NR);
	ASSERT_NE(NULL, self->iocbs);
	self->buf = aio_pages(16 * self->page, PROT_READ | PROT_WRITE);
	ASSERT_NE(MAP_FAILED, (void *)self->buf);
	self->before = aio_balance();
	ASSERT_LE(0, self->before.pinned);
}

FIXTURE_TEARDOWN(setup2)
{
	EXPECT_BALANCE(self->before);
}

TEST_F(setup2, flags)
{
	aio_context_t ctx = 0;
	unsigned int bit;

	for (bit = 3; bit < 32; bit++)
		EXPECT_EQ(-EINVAL, io_setup2(NR, 1U << bit, NULL, &ctx));
	EXPECT_EQ(-EINVAL, io_setup2(NR, FIXEDBUFS, NULL, &ctx));
	EXPECT_EQ(-EINVAL, io_setup2(NR, FIXEDBUFS, self->iocbs, &ctx));
	EXPECT_EQ(-EINVAL, io_setup2(NR, FIXEDBUFS | IOPOLL, self->iocbs, &ctx));
	EXPECT_EQ(-EINVAL, io_setup2(NR, 0, self->iocbs, &ctx));
	EXPECT_EQ(-EINVAL, io_setup2(NR, IOPOLL, self->iocbs, &ctx));
	EXPECT_EQ(0, ctx);
	/* Before anything else is looked at. */
	EXPECT_EQ(-EINVAL, io_setup2(NR, 8, NULL, aio_unmapped()));
}

TEST_F(setup2, order)
{
	struct iocb *odd = (void *)((char *)self->iocbs + 8);
	aio_context_t ctx = 1;

	/* What io_setup() checks ... */
	EXPECT_EQ(-EFAULT, io_setup2(0, USERIOCB, odd, aio_unmapped()));
	EXPECT_EQ(-EINVAL, io_setup2(NR, USERIOCB, odd, &ctx));
	ctx = 0;
	EXPECT_EQ(-EINVAL, io_setup2(0, USERIOCB, odd, &ctx));
	EXPECT_EQ(-EINVAL, io_setup2(AIO_MAX_DOUBLED, USERIOCB, NULL, &ctx));
	EXPECT_EQ(-EAGAIN, io_setup2(aio_max_nr() + 1, USERIOCB, odd, &ctx));
	/* ... then the iocbs. */
	EXPECT_EQ(-EINVAL, io_setup2(NR, USERIOCB, odd, &ctx));
	EXPECT_EQ(-EFAULT, io_setup2(NR, USERIOCB, NULL, &ctx));
	EXPECT_EQ(-EFAULT, io_setup2(NR, USERIOCB, aio_unmapped(), &ctx));
	EXPECT_EQ(0, ctx);
}

TEST_F(setup2, numbers)
{
	aio_context_t ctx = 0;

	EXPECT_EQ(-EINVAL, io_setup2(0, 0, NULL, &ctx));
	EXPECT_EQ(-EINVAL, io_setup2(AIO_MAX_DOUBLED / 2 + 1, 0, NULL, &ctx));
	/* Not too large, but above the limit. */
	EXPECT_EQ(-EAGAIN, io_setup2(AIO_MAX_DOUBLED / 2, 0, NULL, &ctx));
	EXPECT_EQ(0, ctx);
	ASSERT_EQ(0, io_setup2(1, 0, NULL, &ctx));
	EXPECT_EQ(0, io_destroy(ctx));
}

TEST_F(setup2, too_many_buffers)
{
	char text[32], old[32];
	aio_context_t ctx = 0;

	snprintf(old, sizeof(old), "%lld", aio_max_nr());
	snprintf(text, sizeof(text), "%d", 4 * AIO_FIXEDBUFS_MAX_EVENTS);
	if (aio_write_text("/proc/sys/fs/aio-max-nr", text))
		SKIP(return, "needs root");
	EXPECT_EQ(-EINVAL, io_setup2(AIO_FIXEDBUFS_MAX_EVENTS + 1,
				     USERIOCB | FIXEDBUFS, NULL, &ctx));
	EXPECT_EQ(-EFAULT, io_setup2(AIO_FIXEDBUFS_MAX_EVENTS,
				     USERIOCB | FIXEDBUFS, NULL, &ctx));
	EXPECT_EQ(0, aio_write_text("/proc/sys/fs/aio-max-nr", old));
}

TEST_F(setup2, no_flags)
{
	aio_context_t ctx = 0, other = 0;
	struct io_event event;
	struct iocb iocb;
	int fd = aio_mem_file();

	ASSERT_EQ(0, io_setup2(NR, 0, NULL, &ctx));
	ASSERT_EQ(0, io_setup(NR, &other));
	EXPECT_EQ(AIO_RING_MAGIC, aio_ring(ctx)->magic);
	EXPECT_EQ(aio_ring(other)->compat_features,
		  aio_ring(ctx)->compat_features);
	EXPECT_EQ(aio_ring(other)->nr, aio_ring(ctx)->nr);
	aio_prep(&iocb, IOCB_CMD_PWRITE, fd, "four", 4, 0);
	iocb.aio_key = 7;
	EXPECT_EQ(1, aio_run(ctx, &iocb, &event));
	EXPECT_EVENT(&event, &iocb, 4);
	EXPECT_EQ(0, iocb.aio_key);
	EXPECT_EQ(0, io_destroy(ctx));
	EXPECT_EQ(0, io_destroy(other));
	close(fd);
}

TEST_F(setup2, what_the_ring_says)
{
	static const unsigned int kinds[] = {
		USERIOCB, IOPOLL, USERIOCB | IOPOLL, USERIOCB | FIXEDBUFS,
		USERIOCB | FIXEDBUFS | IOPOLL,
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		aio_context_t ctx = 0;
		__u32 want = 1;

		if (kinds[i] & USERIOCB)
			want |= 4;
		if (kinds[i] & FIXEDBUFS)
			want |= 8;
		if (kinds[i] & IOPOLL)
			want |= 16;
		else if (aio_auto_threads())
			want |= 2;
		ASSERT_EQ(0, io_setup2(NR, kinds[i],
				       kinds[i] & USERIOCB ? self->iocbs : NULL,
				       &ctx));
		EXPECT_EQ(want, aio_ring(ctx)->compat_features);
		EXPECT_EQ(kinds[i] & IOPOLL ? 0 : AIO_RING_MAGIC,
			  aio_ring(ctx)->magic);
		EXPECT_EQ(aio_ring_nr(NR), aio_ring(ctx)->nr);
		EXPECT_EQ(self->before.nr + NR, aio_nr());
		EXPECT_EQ(0, io_destroy(ctx));
		EXPECT_EQ(-EINVAL, io_destroy(ctx));
		EXPECT_BALANCE(self->before);
	}
}

/* CRIU knows the mapping for a ring, sees that it is none that it can restore, and gives up. */
TEST_F(setup2, criu_refuses)
{
	static const unsigned int kinds[] = {
		0, USERIOCB, IOPOLL, USERIOCB | IOPOLL, USERIOCB | FIXEDBUFS,
		USERIOCB | FIXEDBUFS | IOPOLL,
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		aio_context_t ctx = 0;
		struct aio_vma vma;

		ASSERT_EQ(0, io_setup2(NR, kinds[i], kinds[i] & USERIOCB ? self->iocbs : NULL,
				       &ctx));
		ASSERT_LE(1, aio_maps(ctx, &vma));
		EXPECT_EQ(ctx, vma.start);
		EXPECT_STREQ("/[aio] (deleted)", vma.name);
		EXPECT_EQ(!kinds[i] && !aio_auto_threads(), aio_criu_dumps(ctx)) {
			TH_LOG("flags %x", kinds[i]);
		}
		/* Nothing but what tells the kind is in its way. */
		aio_ring(ctx)->compat_features = 1;
		EXPECT_EQ(!(kinds[i] & IOPOLL), aio_criu_dumps(ctx)) {
			TH_LOG("flags %x", kinds[i]);
		}
		EXPECT_EQ(0, io_destroy(ctx));
	}
}

TEST_F(setup2, address_that_cannot_be_written)
{
	aio_context_t *ctxp = aio_pages(self->page, PROT_READ);

	ASSERT_NE(MAP_FAILED, (void *)ctxp);
	/* After all was done, and it is undone. */
	EXPECT_EQ(-EFAULT, io_setup2(NR, USERIOCB | FIXEDBUFS, self->iocbs, ctxp));
	EXPECT_BALANCE(self->before);
	EXPECT_EQ(-EFAULT, io_setup2(NR, IOPOLL, NULL, ctxp));
}

TEST_F(setup2, buffers_that_are_refused)
{
	aio_context_t ctx = 0;
	struct iocb *bad = &self->iocbs[NR / 2];
	char *end = aio_guarded(self->page);
	static const size_t max = AIO_FIXEDBUF_MAX;
	const long long pinned = aio_pinned_for_long();
	long long held;
	char *big;

	ASSERT_NE(NULL, end);
	big = aio_pages(max, PROT_READ | PROT_WRITE);
	ASSERT_NE(MAP_FAILED, (void *)big);
	aio_prep(&self->iocbs[0], IOCB_CMD_PREAD, -1, self->buf, self->page, 0);

#define REFUSED(addr, len) do {						\
	bad->aio_buf = (uintptr_t)(addr);				\
	bad->aio_nbytes = len;						\
	EXPECT_EQ(-EFAULT, io_setup2(NR, USERIOCB | FIXEDBUFS,		\
				     self->iocbs, &ctx));		\
	EXPECT_BALANCE(self->before);					\
} while (0)

	REFUSED(NULL, 1);
	REFUSED(aio_unmapped(), 1);
	REFUSED(end, self->page + 1);
	REFUSED(big, max + 1);
	REFUSED(big, -1ULL);
	REFUSED(-1UL, 2);
	bad->aio_buf = ~0ULL;
	bad->aio_nbytes = 1;
	EXPECT_EQ(-EFAULT, io_setup2(NR, USERIOCB | FIXEDBUFS, self->iocbs, &ctx));

	/* The largest, and none, whatever its address is. */
	bad->aio_buf = (uintptr_t)big;
	bad->aio_nbytes = max;
	self->iocbs[NR - 1].aio_buf = (uintptr_t)aio_unmapped();
	EXPECT_EQ(0, io_setup2(NR, USERIOCB | FIXEDBUFS, self->iocbs, &ctx));
	held = aio_pinned();
	EXPECT_EQ(0, io_destroy(ctx));
	EXPECT_LE(aio_pinned_for_long_of(pinned) + (long long)(max / self->page), held);
	munmap(big, max);
}

/* Neither root nor a process that may lock any memory. */
static void be_limited(size_t bytes)
{
	struct rlimit limit = { bytes, bytes };

	setrlimit(RLIMIT_MEMLOCK, &limit);
	if (!setgid(65534) && !setuid(65534))
		return;
	_exit(KSFT_SKIP);
}

TEST_F(setup2, locked_memory)
{
	size_t page = self->page;
	unsigned int i;
	int status;
	pid_t pid;

	for (i = 0; i < NR; i++)
		aio_prep(&self->iocbs[i], IOCB_CMD_PREAD, -1, self->buf, page, 0);
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		aio_context_t ctx = 0;
		long long locked;
		int bad = 0;

		be_limited((NR + 10) * page);
		locked = aio_locked(getpid());
		if (io_setup2(NR, USERIOCB | FIXEDBUFS, self->iocbs, &ctx))
			bad |= 1;
		else if (aio_locked(getpid()) < (long long)(NR * page))
			bad |= 2;
		else if (io_destroy(ctx))
			bad |= 4;
		/* One page too many, wherever that is found out. */
		self->iocbs[NR - 1].aio_nbytes = 16 * page;
		ctx = 0;
		if (io_setup2(NR, USERIOCB | FIXEDBUFS, self->iocbs, &ctx) !=
		    -EAGAIN)
			bad |= 8;
		/* Who may not refresh the numbers sees them a second later. */
		if (!aio_pinned_back_to(self->before.pinned) ||
		    aio_locked(getpid()) != locked)
			bad |= 16;
		be_limited(0);
		if (io_setup2(NR, USERIOCB, self->iocbs, &ctx) != -EAGAIN)
			bad |= 32;
		_exit(bad ? 64 | bad : 0);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
}

/* fs.aio-memlock is about rings. */
TEST_F(setup2, locked_memory_whatever_the_sysctl_says)
{
	int status, value;
	char old[8], text[8];
	pid_t pid;

	snprintf(old, sizeof(old), "%lld", aio_read_number(AIO_MEMLOCK));
	for (value = 0; value < 3; value++) {
		snprintf(text, sizeof(text), "%d", value);
		if (aio_write_text(AIO_MEMLOCK, text))
			SKIP(return, "needs root");
		pid = fork();
		ASSERT_LE(0, pid);
		if (!pid) {
			aio_context_t ctx = 0;

			be_limited(0);
			_exit(io_setup2(NR, USERIOCB, self->iocbs, &ctx) !=
			      -EAGAIN);
		}
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		EXPECT_EQ(0, status);
	}
	EXPECT_EQ(0, aio_write_text(AIO_MEMLOCK, old));
}

/* A page of a huge page keeps all of it. */
TEST_F(setup2, huge_pages_count_as_a_whole)
{
	size_t huge = 2 << 20;
	aio_context_t ctx = 0;
	unsigned int i;
	char *p, text[32];
	long long old = aio_read_number("/proc/sys/vm/nr_hugepages");

	snprintf(text, sizeof(text), "%lld", old + 2);
	if (old < 0 || aio_write_text("/proc/sys/vm/nr_hugepages", text))
		SKIP(return, "no hugetlbfs, or not root");
	p = aio_huge_pages(1);
	if (p == MAP_FAILED)
		SKIP(return, "no huge page of 2 MiB");
	/* Many parts of the same one. */
	for (i = 0; i < NR; i++)
		aio_prep(&self->iocbs[i], IOCB_CMD_PREAD, -1, p + i * 8192 + 512,
			 4096, 0);
	ASSERT_EQ(0, io_setup2(NR, USERIOCB | FIXEDBUFS, self->iocbs, &ctx));
	EXPECT_EQ(self->before.locked + (long long)huge +
		  (long long)(NR * sizeof(struct iocb)) +
		  (long long)aio_ring_bytes(NR), aio_locked(getpid()));
	EXPECT_EQ(0, io_destroy(ctx));
	munmap(p, huge);
	snprintf(text, sizeof(text), "%lld", old);
	aio_write_text("/proc/sys/vm/nr_hugepages", text);
}

/* What a container's filter says. */
TEST_F(setup2, refused_by_seccomp)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
			 offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_io_setup2, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = { 4, filter };
	int status;
	pid_t pid = fork();

	ASSERT_LE(0, pid);
	if (!pid) {
		aio_context_t ctx = 0;

		if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
		    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog))
			_exit(errno == EINVAL ? KSFT_SKIP : 1);
		/* Not recorded: it is not the call that says so. */
		if (aio_result(syscall(__NR_io_setup2, NR, USERIOCB, self->iocbs, &ctx)) != -EPERM)
			_exit(2);
		/* To fall back to. */
		_exit(io_setup(NR, &ctx) ? 3 : 0);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	if (WIFEXITED(status) && WEXITSTATUS(status) == KSFT_SKIP)
		SKIP(return, "needs filters of system calls");
	EXPECT_EQ(0, status);
}

/* What a program needs for what container_program() does, and no io_setup2(). */
static const int allowed[] = {
	__NR_io_setup, __NR_io_destroy, __NR_io_submit, __NR_io_getevents, __NR_io_cancel,
	__NR_io_pgetevents, __NR_read, __NR_write, __NR_close, __NR_exit, __NR_exit_group,
	__NR_brk, __NR_munmap, __NR_futex, __NR_getpid, __NR_rt_sigreturn,
};

/* As containers have it: EPERM for all but those above, and maybe one. */
static int allow_only(bool io_setup2_too)
{
	const struct sock_filter allow = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	struct sock_filter filter[2 * ARRAY_SIZE(allowed) + 4] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
	};
	struct sock_fprog prog = { 1, filter };
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(allowed) + io_setup2_too; i++) {
		__u32 nr = i < ARRAY_SIZE(allowed) ? allowed[i] : __NR_io_setup2;

		filter[prog.len++] =
			(struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 1);
		filter[prog.len++] = allow;
	}
	filter[prog.len++] =
		(struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return -errno;
	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog) ? -errno : 0;
}

/* Makes a context as the guide says, and reads 4 bytes: 0, or what went wrong. */
static int container_program(struct iocb *iocbs, char *buf, bool io_setup2_too)
{
	int fd = aio_mem_file(), ret;
	aio_context_t ctx = 0;
	struct io_event event;
	bool indices = true;

	if (pwrite(fd, "four", 4, 0) != 4)
		return 1;
	aio_prep(&iocbs[3], IOCB_CMD_PREAD, fd, buf, 4, 0);
	ret = allow_only(io_setup2_too);
	if (ret)
		return ret == -EINVAL ? KSFT_SKIP : 2;
	/* It is a list of what is allowed. */
	if (aio_result(syscall(__NR_getppid)) != -EPERM)
		return 3;
	/* Not recorded: it may not be the call that says so. */
	ret = aio_result(syscall(__NR_io_setup2, NR, USERIOCB | FIXEDBUFS, iocbs, &ctx));
	if (ret != (io_setup2_too ? 0 : -EPERM))
		return 4;
	if (ret) {
		indices = false;
		if (ctx || io_setup(NR, &ctx))
			return 5;
	}
	if ((indices ? aio_run_index(ctx, 3, &event) : aio_run(ctx, &iocbs[3], &event)) != 1)
		return 6;
	if (event.res != 4 || memcmp(buf, "four", 4))
		return 7;
	if (event.obj != (indices ? 3 : (uintptr_t)&iocbs[3]))
		return 8;
	return io_destroy(ctx) ? 9 : 0;
}

TEST_F(setup2, allowed_by_a_list_or_not)
{
	int status, too;
	pid_t pid;

	for (too = 0; too < 2; too++) {
		pid = fork();
		ASSERT_LE(0, pid);
		if (!pid)
			_exit(container_program(self->iocbs, self->buf, too));
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		if (WIFEXITED(status) && WEXITSTATUS(status) == KSFT_SKIP)
			SKIP(return, "needs filters of system calls");
		EXPECT_EQ(0, status)
			TH_LOG("with %sio_setup2()", too ? "" : "no ");
	}
}

/* Again and again, failing at each step. */
TEST_F_TIMEOUT(setup2, many_that_fail, 300)
{
	int rounds = aio_long() ? 100000 : 300;
	aio_context_t *readonly = aio_pages(self->page, PROT_READ);
	struct iocb *bad = &self->iocbs[NR - 1];
	aio_context_t ctx = 0;
	int i;

	for (i = 0; i < NR; i++)
		aio_prep(&self->iocbs[i], IOCB_CMD_PREAD, -1, self->buf,
			 2 * self->page, 0);
	for (i = 0; i < rounds; i++) {
		bad->aio_buf = 0;
		ASSERT_EQ(-EFAULT, io_setup2(NR, USERIOCB | FIXEDBUFS,
					     self->iocbs, &ctx));
		bad->aio_buf = (uintptr_t)readonly;
		ASSERT_EQ(-EFAULT, io_setup2(NR, USERIOCB | FIXEDBUFS,
					     self->iocbs, &ctx));
		ASSERT_EQ(-EFAULT, io_setup2(2 * NR, USERIOCB, self->iocbs + NR / 2,
					     &ctx));
		if (i % 16)
			continue;
		bad->aio_buf = (uintptr_t)self->buf;
		ASSERT_EQ(-EFAULT, io_setup2(NR, USERIOCB | FIXEDBUFS | IOPOLL,
					     self->iocbs, readonly));
	}
	EXPECT_BALANCE(self->before);
}

TEST_HARNESS_MAIN
