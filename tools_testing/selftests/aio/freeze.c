// SPDX-License-Identifier: GPL-2.0
/*
 * Writes against the freezing of a file system.
 *
 * Held here: a write to a frozen file system waits in io_submit() until it is
 * thawed, and nothing else does; freezing waits for writes that are in flight,
 * not only for io_submit(); and every way in which a write can end, or not even
 * begin, lets the file system be frozen afterwards. A process that waits in
 * io_setup() for its own address space, which a frozen file system can keep locked,
 * can be killed.
 *
 * Needs root, configfs, null_blk and mkfs.ext4.
 */
#include <sys/ioctl.h>
#include <sys/wait.h>
#include "../kselftest_harness.h"
#include "aio_test.h"

#define BLOCK	4096
#define NR	16

FIXTURE(freeze) {
	struct aio_slow_disk disk;
	char mnt[32];
	int dir;
	/* The same file twice. */
	int fd, direct;
	aio_context_t ctx;
	struct iocb iocb;
	struct io_event event;
	char *buf;
};

/* Has no journal, and nothing that would write without being asked to. */
static bool make_file_system(const char *dev, const char *mnt)
{
	char cmd[256];

	snprintf(cmd, sizeof(cmd),
		 "mkfs.ext4 -q -F -O ^has_journal -E lazy_itable_init=0,nodiscard -N 32 %s 8M >/dev/null 2>&1",
		 dev);
	return !system(cmd) && !mount(dev, mnt, "ext4", MS_NOATIME,
				      "noinit_itable");
}

static void take_down(struct _test_data_freeze *self)
{
	/* Whatever has failed, it must not stay frozen. */
	ioctl(self->dir, FITHAW, 0);
	close(self->fd);
	close(self->direct);
	close(self->dir);
	umount(self->mnt);
	rmdir(self->mnt);
	aio_slow_disk_remove(&self->disk);
}

FIXTURE_SETUP(freeze)
{
	int flags = O_RDWR | O_CREAT | O_CLOEXEC;
	char path[64];
	bool ok;

	if (!aio_slow_disk_make(&self->disk, 20))
		SKIP(return, "no null_blk disk (needs root and configfs)");
	snprintf(self->mnt, sizeof(self->mnt), "/tmp/aio_freeze_XXXXXX");
	self->dir = -1;
	self->fd = -1;
	self->direct = -1;
	if (!mkdtemp(self->mnt) ||
	    !make_file_system(self->disk.dev, self->mnt)) {
		take_down(self);
		SKIP(return, "no ext4 or no mkfs.ext4");
	}
	ASSERT_TRUE(aio_guard(aio_thaw, self->mnt));
	self->dir = open(self->mnt, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	snprintf(path, sizeof(path), "%s/file", self->mnt);
	self->fd = open(path, flags, 0600);
	self->direct = open(path, flags | O_DIRECT, 0600);
	self->buf = aio_pages(NR * BLOCK, PROT_READ | PROT_WRITE);
	aio_pattern(self->buf, NR * BLOCK, 1);
	ok = self->dir >= 0 && self->direct >= 0 &&
		write(self->fd, self->buf, NR * BLOCK) == NR * BLOCK &&
		!syncfs(self->fd) && !io_setup(NR, &self->ctx);
	ASSERT_TRUE(ok) {
		take_down(self);
	}
	aio_prep(&self->iocb, IOCB_CMD_PWRITE, self->direct, self->buf, BLOCK,
		 0);
}

FIXTURE_TEARDOWN(freeze)
{
	ioctl(self->dir, FITHAW, 0);
	if (self->ctx)
		EXPECT_EQ(0, io_destroy(self->ctx));
	take_down(self);
}

static bool ring_is_empty(aio_context_t ctx)
{
	return aio_ring(ctx)->head == aio_ring(ctx)->tail;
}

TEST_F(freeze, write_waits)
{
	struct aio_caller writer = { .ctx = self->ctx, .iocb = &self->iocb };
	struct iocb read;
	int p[2], i;

	FOR_PLAIN("io_submit() does not wait");
	ASSERT_EQ(0, pipe(p));
	for (i = 0; i < 4; i++) {
		self->iocb.aio_fildes = i % 2 ? self->fd : self->direct;
		self->iocb.aio_lio_opcode = IOCB_CMD_PWRITE;
		self->iocb.aio_buf = (uintptr_t)self->buf;
		self->iocb.aio_nbytes = BLOCK;
		if (i / 2) {
			static struct iovec iov;

			iov = (struct iovec){ self->buf, BLOCK };
			self->iocb.aio_lio_opcode = IOCB_CMD_PWRITEV;
			self->iocb.aio_buf = (uintptr_t)&iov;
			self->iocb.aio_nbytes = 1;
		}
		ASSERT_EQ(0, ioctl(self->dir, FIFREEZE, 0));
		ASSERT_TRUE(aio_start_blocked(&writer, aio_submit_thread,
					      __NR_io_submit));
		/* Reads go on, and writes to what is not in a file system. */
		aio_prep(&read, IOCB_CMD_PREAD, self->fd, self->buf + BLOCK,
			 BLOCK, BLOCK);
		EXPECT_RES(self->ctx, &read, BLOCK);
		aio_prep(&read, IOCB_CMD_PWRITE, p[1], "x", 1, 0);
		EXPECT_RES(self->ctx, &read, 1);
		/* What is refused does not wait. */
		aio_prep(&read, IOCB_CMD_PWRITE, self->dir, self->buf, BLOCK,
			 0);
		EXPECT_REFUSED(self->ctx, &read, -EBADF);
		aio_prep(&read, IOCB_CMD_PWRITE, self->fd, self->buf, BLOCK,
			 -1);
		EXPECT_REFUSED(self->ctx, &read, -EINVAL);
		EXPECT_FALSE(writer.done);
		ASSERT_EQ(0, ioctl(self->dir, FITHAW, 0));
		EXPECT_EQ(1, aio_join(&writer));
		ASSERT_EQ(1, io_getevents(self->ctx, 1, 1, &self->event, NULL));
		EXPECT_EVENT(&self->event, &self->iocb, BLOCK);
	}
}

static void *freeze_thread(void *arg)
{
	struct aio_caller *c = arg;

	c->tid = aio_gettid();
	c->ret = ioctl(c->nr, FIFREEZE, 0);
	c->done = true;
	return NULL;
}

/*
 * Freezing writes the superblock in the end. As long as a write is in flight it
 * must not have come that far, although it has begun.
 */
TEST_F(freeze, waits_for_writes_in_flight)
{
	struct aio_caller freezer = { .nr = self->dir };
	const char *dev = self->disk.dev;
	int round, i, seen = 0;
	long writes, done;

	writes = aio_disk_stat(dev, "stat", 4);
	ASSERT_LE(0, writes);
	ASSERT_EQ(0, ioctl(self->dir, FIFREEZE, 0));
	if (aio_disk_stat(dev, "stat", 4) == writes)
		SKIP(return, "freezing does not write");
	ASSERT_EQ(0, ioctl(self->dir, FITHAW, 0));
	for (round = 0; round < 100 && seen < 5; round++) {
		bool counted = false;

		ASSERT_EQ(0, syncfs(self->dir));
		for (i = 0; i < 5000; i++) {
			if (!aio_disk_stat(dev, "inflight", 1))
				break;
			aio_sleep_ms(1);
		}
		freezer.tid = 0;
		done = aio_disk_stat(dev, "stat", 4);
		ASSERT_EQ(1, aio_submit_one(self->ctx, &self->iocb));
		/* If a thread does it, that has to be there before the freeze. */
		while (ring_is_empty(self->ctx) && !aio_disk_stat(dev, "inflight", 1))
			aio_sleep_ms(1);
		ASSERT_EQ(0, pthread_create(&freezer.thread, NULL,
					    freeze_thread, &freezer));
		while (ring_is_empty(self->ctx)) {
			bool waits = freezer.tid &&
				aio_is_blocked(getpid(), freezer.tid,
					       __NR_ioctl);
			long now = aio_disk_stat(dev, "inflight", 1);

			/* The event follows the end of the write; the freeze is between them. */
			if (!waits || !now || !ring_is_empty(self->ctx) ||
			    aio_disk_stat(dev, "stat", 4) != done)
				continue;
			ASSERT_EQ(1, now);
			counted = true;
		}
		seen += counted;
		EXPECT_EQ(0, aio_join(&freezer));
		ASSERT_EQ(1, aio_reap(self->ctx, &self->event, 1));
		EXPECT_EVENT(&self->event, &self->iocb, BLOCK);
		ASSERT_EQ(0, ioctl(self->dir, FITHAW, 0));
	}
	if (!seen)
		SKIP(return, "the disk is always faster");
}

#define CAN_BE_FROZEN() do {						\
	ASSERT_EQ(0, ioctl(self->dir, FIFREEZE, 0));			\
	ASSERT_EQ(0, ioctl(self->dir, FITHAW, 0));			\
} while (0)

TEST_F(freeze, every_end_of_a_write)
{
	struct iocb iocb, *cb = &iocb;
	struct iovec iov[2] = { { self->buf, 100 }, { aio_unmapped(), 100 } };

	/* Completed, while the submitter is away and while it is not. */
	EXPECT_RES(self->ctx, &self->iocb, BLOCK);
	aio_prep(cb, IOCB_CMD_PWRITE, self->fd, self->buf, 100, 50);
	EXPECT_RES(self->ctx, cb, 100);
	CAN_BE_FROZEN();
	/* Refused, before or after the point where the protection begins. */
	aio_prep(cb, IOCB_CMD_PWRITE, self->fd, self->buf, 100, -5);
	EXPECT_REFUSED(self->ctx, cb, -EINVAL);
	aio_prep(cb, IOCB_CMD_PWRITE, self->fd, self->buf, 100, 0);
	cb->aio_rw_flags = 1U << 31;
	EXPECT_REFUSED(self->ctx, cb, -EOPNOTSUPP);
	aio_prep(cb, IOCB_CMD_PWRITEV, self->fd, aio_unmapped(), 2, 0);
	EXPECT_REFUSED(self->ctx, cb, -EFAULT);
	aio_prep(cb, IOCB_CMD_PWRITE, self->fd, (void *)-4096L, 100, 0);
	if (AIO_HAS_KERNEL_ADDRESSES)
		EXPECT_REFUSED(self->ctx, cb, -EFAULT);
	CAN_BE_FROZEN();
	/* Failed in the file system. */
	aio_prep(cb, IOCB_CMD_PWRITE, self->fd, aio_unmapped(), 100, 0);
	EXPECT_RES(self->ctx, cb, -EFAULT);
	aio_prep(cb, IOCB_CMD_PWRITE, self->direct, self->buf + 1, 100, 0);
	EXPECT_EQ(1, aio_run(self->ctx, cb, &self->event));
	aio_prep(cb, IOCB_CMD_PWRITE, self->fd, self->buf, BLOCK, LLONG_MAX -
		 BLOCK);
	EXPECT_RES(self->ctx, cb, -EFBIG);
	aio_prep(cb, IOCB_CMD_PWRITE, self->fd, self->buf, 0, 0);
	EXPECT_RES(self->ctx, cb, 0);
	aio_prep(cb, IOCB_CMD_PWRITEV, self->fd, iov, 2, 0);
	EXPECT_RES(self->ctx, cb, 100);
	CAN_BE_FROZEN();
	/* A read has nothing to give back. */
	aio_prep(cb, IOCB_CMD_PREAD, self->direct, self->buf, BLOCK, 0);
	EXPECT_RES(self->ctx, cb, BLOCK);
	aio_prep(cb, IOCB_CMD_PREAD, self->fd, aio_unmapped(), BLOCK, 0);
	EXPECT_RES(self->ctx, cb, -EFAULT);
	CAN_BE_FROZEN();
}

/* The context, or the process, ends with writes in flight. */
TEST_F(freeze, destroy_and_kill)
{
	struct iocb *list[NR], iocb[NR];
	int ready[2], status, i;
	pid_t pid;
	char c;

	for (i = 0; i < NR; i++) {
		aio_prep(&iocb[i], IOCB_CMD_PWRITE, self->direct,
			 self->buf + i * BLOCK, BLOCK, i * BLOCK);
		list[i] = &iocb[i];
	}
	ASSERT_EQ(NR, io_submit(self->ctx, NR, list));
	EXPECT_EQ(0, io_destroy(self->ctx));
	self->ctx = 0;
	CAN_BE_FROZEN();
	ASSERT_EQ(0, pipe(ready));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		if (io_setup(NR, &self->ctx) ||
		    io_submit(self->ctx, NR, list) != NR ||
		    write(ready[1], "x", 1) != 1)
			_exit(1);
		pause();
	}
	ASSERT_EQ(1, read(ready[0], &c, 1));
	kill(pid, SIGKILL);
	/* At the same time. */
	ASSERT_EQ(0, ioctl(self->dir, FIFREEZE, 0));
	ASSERT_EQ(0, ioctl(self->dir, FITHAW, 0));
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(SIGKILL, status);
	CAN_BE_FROZEN();
}

struct toucher {
	pthread_t thread;
	volatile pid_t tid;
	int mem;
	char *addr;
	long ret;
};

/* Writes into a mapping of another process, whose address space is locked meanwhile. */
static void *touch_thread(void *arg)
{
	struct toucher *t = arg;

	t->tid = aio_gettid();
	t->ret = pwrite(t->mem, "x", 1, (uintptr_t)t->addr);
	return NULL;
}

TEST_F(freeze, kill_during_setup)
{
	struct toucher touch = {};
	int start[2], status = 0, i;
	pid_t pid, died = 0;
	char path[32], c;

	touch.addr = mmap(NULL, BLOCK, PROT_READ | PROT_WRITE, MAP_SHARED,
			  self->fd, 0);
	ASSERT_NE(MAP_FAILED, touch.addr);
	ASSERT_EQ(0, pipe(start));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		aio_context_t ctx = 0;

		if (read(start[0], &c, 1) != 1)
			_exit(1);
		_exit(io_setup(NR, &ctx) ? 2 : 3);
	}
	snprintf(path, sizeof(path), "/proc/%d/mem", pid);
	touch.mem = open(path, O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, touch.mem);
	ASSERT_EQ(0, ioctl(self->dir, FIFREEZE, 0));
	ASSERT_EQ(0, pthread_create(&touch.thread, NULL, touch_thread, &touch));
	EXPECT_TRUE(aio_wait_blocked(&touch.tid, __NR_pwrite64));
	ASSERT_EQ(1, write(start[1], "x", 1));
	for (i = 0; i < 20000 && !aio_is_blocked(pid, pid, __NR_io_setup); i++)
		aio_sleep_ms(1);
	EXPECT_GT(20000, i);
	kill(pid, SIGKILL);
	for (i = 0; i < 20000 && !died; i++) {
		died = waitpid(pid, &status, WNOHANG);
		aio_sleep_ms(1);
	}
	EXPECT_EQ(pid, died);
	EXPECT_EQ(SIGKILL, status);
	ASSERT_EQ(0, ioctl(self->dir, FITHAW, 0));
	pthread_join(touch.thread, NULL);
	EXPECT_EQ(1, touch.ret);
	if (!died)
		waitpid(pid, &status, 0);
	munmap(touch.addr, BLOCK);
	close(touch.mem);
	close(start[0]);
	close(start[1]);
}

TEST_HARNESS_MAIN
