// SPDX-License-Identifier: GPL-2.0
/*
 * Reads and writes of threaded contexts on a disk that takes its time.
 *
 * Held here: uncached reads find the right data, and begin together; an array of buffers
 * is read once, also if what it is for goes on; what follows a queued buffered write on
 * its file stays behind it, in order, and nothing else does; a frozen file system holds up
 * neither io_submit() nor other files nor other processes; a write that is cut short, by
 * a limit or by a full disk, says how much of it was done, whoever has done it.
 *
 * Needs root, configfs, null_blk and mkfs.ext4; some need mkfs.xfs.
 */
#include <linux/kernel-page-flags.h>
#include "../kselftest_harness.h"
#include "aio_thread_test.h"

#define BLOCK	4096
#define NR	32

FIXTURE(disk) {
	struct thread_fs fs;
	int fd;
	aio_context_t ctx, plain;
	struct iocb iocb[NR], *list[NR];
	struct io_event events[NR];
	char *buf, *back;
};

FIXTURE_SETUP(disk)
{
	int i;

	NEED_THREADS();
	self->fd = -1;
	if (!thread_fs_make(&self->fs, 5))
		SKIP(return, "no null_blk disk with ext4 (needs root, configfs, mkfs.ext4)");
	self->fd = thread_fs_open(&self->fs, "file", O_RDWR);
	self->buf = aio_pages(NR * BLOCK, PROT_READ | PROT_WRITE);
	self->back = aio_pages(NR * BLOCK, PROT_READ | PROT_WRITE);
	aio_pattern(self->buf, NR * BLOCK, 3);
	for (i = 0; i < NR; i++)
		self->list[i] = &self->iocb[i];
	ASSERT_EQ(0, setup_threaded(NR, &self->ctx));
	ASSERT_EQ(0, setup_plain(NR, &self->plain));
	ASSERT_EQ(NR * BLOCK, pwrite(self->fd, self->buf, NR * BLOCK, 0));
	ASSERT_EQ(0, fsync(self->fd));
}

FIXTURE_TEARDOWN_PARENT(disk)
{
	thread_fs_remove(&self->fs);
}

static int forget(int fd)
{
	return fsync(fd) || posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) ||
		posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM);
}

/*
 * A read that is not to wait is told that its page is not there, but starts to read it, and
 * then looks once more: if this processor has been away for as long as the disk takes, it is
 * there. A read that waits is never told.
 */
static bool told_to_come_again(struct _test_data_disk *self, aio_context_t ctx)
{
	struct io_event event;
	int i;

	for (i = 0; i < 50; i++) {
		if (forget(self->fd) || aio_submit_one(ctx, self->list[0]) != 1 ||
		    await_events(ctx, &event, 1) != 1)
			return false;
		if (event.res == -EAGAIN)
			return true;
		if (event.res <= 0)
			return false;
	}
	return false;
}

TEST_F(disk, uncached_reads)
{
	int round, i;

	for (round = 0; round < 4; round++) {
		ASSERT_EQ(0, forget(self->fd));
		memset(self->back, 0, NR * BLOCK);
		for (i = 0; i < NR; i++) {
			/* The last one reaches over the end, some over two pages. */
			aio_prep(&self->iocb[i], IOCB_CMD_PREAD, self->fd, self->back + i * BLOCK,
				 BLOCK, (i * 7 % NR) * BLOCK + (round & 1 ? 100 : 0));
		}
		ASSERT_EQ(NR, io_submit(self->ctx, NR, self->list));
		ASSERT_EQ(NR, await_events(self->ctx, self->events, NR));
		for (i = 0; i < NR; i++) {
			struct iocb *cb = (struct iocb *)(uintptr_t)self->events[i].obj;
			long want = cb->aio_offset + BLOCK > NR * BLOCK ?
				NR * BLOCK - cb->aio_offset : BLOCK;

			EXPECT_EVENT(&self->events[i], cb, want);
			EXPECT_EQ(0, memcmp((char *)(uintptr_t)cb->aio_buf,
					    self->buf + cb->aio_offset, want));
		}
	}
	self->iocb[0].aio_rw_flags = RWF_NOWAIT;
	EXPECT_TRUE(told_to_come_again(self, self->plain));
	EXPECT_TRUE(told_to_come_again(self, self->ctx));
}

/* One request over many pages, some of which are there. */
TEST_F(disk, partly_cached)
{
	int round, i;
	char c;

	for (round = 0; round < 8; round++) {
		ASSERT_EQ(0, forget(self->fd));
		for (i = 0; i < round; i++)
			ASSERT_EQ(1, pread(self->fd, &c, 1, i * 2 * BLOCK));
		memset(self->back, 0, NR * BLOCK);
		aio_prep(&self->iocb[0], IOCB_CMD_PREAD, self->fd, self->back, NR * BLOCK + 1, 0);
		EXPECT_DONE(self->ctx, self->list[0], NR * BLOCK);
		EXPECT_EQ(0, memcmp(self->back, self->buf, NR * BLOCK));
	}
}

/* The same without a thread: the rest is read in io_submit(), from where the first part ends. */
TEST_F(disk, rest_without_a_thread)
{
	pid_t pid;

	if (geteuid())
		SKIP(return, "is for root");
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		aio_context_t ctx = 0;
		int round, i;
		char c;

		if (!setup_without_threads(NR, &ctx))
			_exit(1);
		for (round = 1; round < 4; round++) {
			if (forget(self->fd))
				_exit(2);
			for (i = 0; i < round; i++)
				if (pread(self->fd, &c, 1, i * BLOCK) != 1)
					_exit(3);
			memset(self->back, 0, NR * BLOCK);
			aio_prep(&self->iocb[0], IOCB_CMD_PREAD, self->fd, self->back,
				 NR * BLOCK + 1, 0);
			if (aio_submit_one(ctx, self->list[0]) != 1 ||
			    aio_reap(ctx, self->events, 1) != 1)
				_exit(4);
			if (self->events[0].res != NR * BLOCK)
				_exit(5);
			if (memcmp(self->back, self->buf, NR * BLOCK))
				_exit(6);
		}
		_exit(0);
	}
	EXPECT_EQ(0, await_child(pid));
}

/* What is read first goes over the array: where the rest belongs is known. */
TEST_F(disk, over_the_array)
{
	struct iovec *vec = (struct iovec *)self->back;
	static const int parts[] = { 2, 3, 8, 9, NR };
	unsigned int i;
	int k;
	char c;

	for (i = 0; i < ARRAY_SIZE(parts); i++) {
		ASSERT_EQ(0, forget(self->fd));
		/* The array is in the page that is read from the cache. */
		ASSERT_EQ(1, pread(self->fd, &c, 1, 0));
		memset(self->back, 0, NR * BLOCK);
		for (k = 0; k < parts[i]; k++)
			vec[k] = (struct iovec){ self->back + k * BLOCK, BLOCK };
		aio_prep(&self->iocb[0], IOCB_CMD_PREADV, self->fd, vec, parts[i], 0);
		EXPECT_DONE(self->ctx, self->list[0], parts[i] * BLOCK);
		EXPECT_EQ(0, memcmp(self->back, self->buf, parts[i] * BLOCK));
	}
}

/* The order of the records in the file is that of their submission. */
TEST_F(disk, append)
{
	char record[NR][16], line[16];
	int fd[2], kind, round, i;

	fd[0] = thread_fs_open(&self->fs, "append", O_RDWR | O_APPEND);
	fd[1] = open("/dev/shm", O_TMPFILE | O_RDWR | O_APPEND, 0600);
	ASSERT_LE(0, fd[0]);
	for (kind = 0; kind < 2 && fd[kind] >= 0; kind++) {
		for (round = 0; round < 10; round++) {
			for (i = 0; i < NR; i++) {
				snprintf(record[i], 16, "record %07d\n", round * NR + i);
				aio_prep(&self->iocb[i], IOCB_CMD_PWRITE, fd[kind], record[i], 15,
					 0);
			}
			if (round & 1) {
				ASSERT_EQ(NR, io_submit(self->ctx, NR, self->list));
			} else {
				for (i = 0; i < NR; i++)
					ASSERT_EQ(1, aio_submit_one(self->ctx, self->list[i]));
			}
			ASSERT_EQ(NR, await_events(self->ctx, self->events, NR));
			for (i = 0; i < NR; i++)
				EXPECT_EQ(15, self->events[i].res);
		}
		for (i = 0; i < 10 * NR; i++) {
			snprintf(record[0], 16, "record %07d\n", i);
			ASSERT_EQ(15, pread(fd[kind], line, 15, i * 15));
			ASSERT_EQ(0, memcmp(record[0], line, 15));
		}
		EXPECT_EQ(10 * NR * 15, lseek(fd[kind], 0, SEEK_END));
	}
}

/* Whether the first page of a file waits to be written to its disk; -1: that can't be seen. */
static int is_dirty(int fd)
{
	volatile char *p = mmap(NULL, BLOCK, PROT_READ, MAP_SHARED, fd, 0);
	int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	int flags = open("/proc/kpageflags", O_RDONLY | O_CLOEXEC);
	__u64 page, bits = 0;
	int ret = -1;

	if (p != MAP_FAILED) {
		(void)*p;
		page = aio_page_frame(pagemap, (uintptr_t)p);
		if (page && pread(flags, &bits, 8, page * 8) == 8)
			ret = bits >> KPF_DIRTY & 1;
		munmap((void *)p, BLOCK);
	}
	close(pagemap);
	close(flags);
	return ret;
}

/*
 * Whether all bytes of a page that was read are of the write before that read or of a later
 * one of the batch: if the write is over when the read comes, the read is behind nobody, and
 * later writes may overtake it.
 */
static bool of_this_write_or_later(const char *page, size_t len, unsigned char first,
				   unsigned char last)
{
	size_t i;

	for (i = 0; i < len; i++) {
		unsigned char c = page[i];

		/* Each write of a batch has a number that is two higher. */
		if (c < first || c > last || (c - first) % 2)
			return false;
	}
	return true;
}

/* Each write, and what follows it, on files whose writes are queued (tmpfs) or may be. */
TEST_F(disk, order)
{
	int fd[2] = { self->fd, aio_mem_file() }, kind, round, i;
	/* Higher than that of the last of the batch before, which is not of this parity. */
	const int last = NR - 2;

	for (kind = 0; kind < 2; kind++) {
		for (round = 0; round < (aio_long() ? 50 : 12); round++) {
			for (i = 0; i < NR; i++) {
				char *page = (i & 1 ? self->back : self->buf) + i / 2 * BLOCK;

				aio_prep(&self->iocb[i], i & 1 ? IOCB_CMD_PREAD : IOCB_CMD_PWRITE,
					 fd[kind], page, BLOCK - 7, 3);
				if (!(i & 1))
					memset(page, round + i, BLOCK);
				else
					memset(page, 0xee, BLOCK);
			}
			aio_prep(&self->iocb[NR - 1], IOCB_CMD_FDSYNC, fd[kind], NULL, 0, 0);
			ASSERT_EQ(NR, io_submit(self->ctx, NR, self->list));
			ASSERT_EQ(NR, await_events(self->ctx, self->events, NR));
			for (i = 0; i < NR; i++) {
				bool sync = self->events[i].obj ==
					(uintptr_t)&self->iocb[NR - 1];

				EXPECT_EQ(sync ? 0 : BLOCK - 7, self->events[i].res);
			}
			for (i = 1; i < NR - 1; i += 2)
				ASSERT_TRUE(of_this_write_or_later(self->back + i / 2 * BLOCK,
								   BLOCK - 7, round + i - 1,
								   round + last));
			/* No write came after the sync, and the last one is what is there. */
			if (kind == 0)
				EXPECT_GE(0, is_dirty(fd[kind]));
			ASSERT_EQ(BLOCK - 7, pread(fd[kind], self->back, BLOCK - 7, 3));
			EXPECT_TRUE(of_this_write_or_later(self->back, BLOCK - 7, round + last,
							   round + last));
		}
	}
}

/* ------------------------------------------------------ a slower one */

FIXTURE(slow) {
	struct aio_slow_disk disk;
};

FIXTURE_SETUP(slow)
{
	NEED_THREADS();
	if (!aio_slow_disk_make(&self->disk, 200))
		SKIP(return, "no null_blk disk (needs root and configfs)");
}

FIXTURE_TEARDOWN_PARENT(slow)
{
	aio_slow_disk_remove(&self->disk);
}

/*
 * No thread sits at one page while another read has not begun. If a machine is so slow
 * that the first is over before the last begins, it has more tries.
 */
TEST_F_TIMEOUT(slow, reads_begin_together, 200)
{
	int fd = open(self->disk.dev, O_RDONLY), round, i;
	struct iocb iocb[NR], *list[NR];
	struct io_event events[NR];
	static char buf[NR][BLOCK];
	aio_context_t ctx = 0;
	long most = 0, now;

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, setup_threaded(NR, &ctx));
	for (round = 0; round < 20 && most < NR; round++) {
		ASSERT_EQ(0, forget(fd));
		/* Far from each other. */
		for (i = 0; i < NR; i++) {
			aio_prep(&iocb[i], IOCB_CMD_PREAD, fd, buf[i], BLOCK,
				 (4LL << 20) + (round * NR + i) * 65536LL % (56 << 20));
			list[i] = &iocb[i];
		}
		ASSERT_EQ(NR, io_submit(ctx, NR, list));
		do {
			now = aio_disk_stat(self->disk.dev, "inflight", 0);
			most = now > most ? now : most;
		} while (now && most < NR);
		ASSERT_EQ(NR, await_events(ctx, events, NR));
		for (i = 0; i < NR; i++)
			EXPECT_EQ(BLOCK, events[i].res);
	}
	EXPECT_EQ(NR, most);
	close(fd);
}

/* ------------------------------------------------------ a frozen file system */

TEST_F(disk, frozen)
{
	int direct = thread_fs_open(&self->fs, "file", O_RDWR | O_DIRECT), i;
	struct iovec iov = { self->buf, BLOCK };

	ASSERT_LE(0, direct);
	for (i = 0; i < 4; i++) {
		int fd = i & 1 ? direct : self->fd;

		if (i & 2)
			aio_prep(&self->iocb[0], IOCB_CMD_PWRITEV, fd, &iov, 1, 0);
		else
			aio_prep(&self->iocb[0], IOCB_CMD_PWRITE, fd, self->buf, BLOCK, 0);
		ASSERT_EQ(0, ioctl(self->fs.dir, FIFREEZE, 0));
		ASSERT_EQ(1, aio_submit_one(self->ctx, self->list[0]));
		EXPECT_NO_EVENT(self->ctx);
		/* Who does not want to wait is told. On a plain context it would wait. */
		if (fd == direct) {
			aio_prep(&self->iocb[1], IOCB_CMD_PWRITE, fd, self->buf, BLOCK, 0);
			self->iocb[1].aio_rw_flags = RWF_NOWAIT;
			EXPECT_DONE(self->ctx, self->list[1], -EAGAIN);
		}
		ASSERT_EQ(0, ioctl(self->fs.dir, FITHAW, 0));
		EXPECT_NEXT(self->ctx, self->list[0], BLOCK);
		/* What protected it is given back. */
		ASSERT_EQ(0, ioctl(self->fs.dir, FIFREEZE, 0));
		ASSERT_EQ(0, ioctl(self->fs.dir, FITHAW, 0));
	}
}

/* Writes that wait for the thaw, and those who do and do not wait for them. */
TEST_F(disk, frozen_order)
{
	int other = aio_mem_file(), i;
	char *a = self->buf, *b = self->buf + BLOCK, *old = self->buf + 2 * BLOCK;
	char *r1 = self->back, *r2 = self->back + BLOCK, *r3 = self->back + 2 * BLOCK;
	aio_context_t second = 0;
	struct iocb free_read, behind;

	ASSERT_EQ(0, setup_threaded(4, &second));
	ASSERT_EQ(BLOCK, pwrite(other, old, BLOCK, 0));
	ASSERT_EQ(BLOCK, pwrite(self->fd, old, BLOCK, 0));
	ASSERT_EQ(0, fsync(self->fd));
	ASSERT_EQ(0, ioctl(self->fs.dir, FIFREEZE, 0));
	aio_prep(&self->iocb[0], IOCB_CMD_PWRITE, self->fd, a, BLOCK, 0);
	aio_prep(&self->iocb[1], IOCB_CMD_PREAD, self->fd, r1, BLOCK, 0);
	aio_prep(&self->iocb[2], IOCB_CMD_PWRITE, self->fd, b, BLOCK, 0);
	aio_prep(&self->iocb[3], IOCB_CMD_FDSYNC, self->fd, NULL, 0, 0);
	aio_prep(&self->iocb[4], IOCB_CMD_PREAD, self->fd, r2, BLOCK, 0);
	aio_prep(&self->iocb[5], IOCB_CMD_FSYNC, self->fd, NULL, 0, 0);
	ASSERT_EQ(2, io_submit(self->ctx, 2, self->list));
	ASSERT_EQ(4, io_submit(self->ctx, 4, self->list + 2));
	EXPECT_NO_EVENT(self->ctx);
	/* Another file, and the same one in another context. */
	aio_prep(&free_read, IOCB_CMD_PREAD, other, r3, BLOCK, 0);
	EXPECT_DONE(self->ctx, &free_read, BLOCK);
	EXPECT_EQ(0, memcmp(r3, old, BLOCK));
	memset(r3, 0, BLOCK);
	aio_prep(&behind, IOCB_CMD_PREAD, self->fd, r3, BLOCK, 0);
	EXPECT_DONE(second, &behind, BLOCK);
	EXPECT_EQ(0, memcmp(r3, old, BLOCK));
	EXPECT_NO_EVENT(self->ctx);
	ASSERT_EQ(0, ioctl(self->fs.dir, FITHAW, 0));
	ASSERT_EQ(6, await_events(self->ctx, self->events, 6));
	for (i = 0; i < 6; i++) {
		struct iocb *cb = (struct iocb *)(uintptr_t)self->events[i].obj;
		bool sync = cb->aio_lio_opcode == IOCB_CMD_FSYNC ||
			cb->aio_lio_opcode == IOCB_CMD_FDSYNC;

		EXPECT_EVENT(&self->events[i], cb, sync ? 0 : BLOCK);
	}
	EXPECT_EQ(0, memcmp(r1, a, BLOCK));
	EXPECT_EQ(0, memcmp(r2, b, BLOCK));
	/* What was to be synced had been written. */
	EXPECT_GE(0, is_dirty(self->fd));
	EXPECT_EQ(0, io_destroy(second));
}

struct unshared {
	aio_context_t ctx;
	struct iocb **list;
	long ret;
};

static void *unshared_thread(void *arg)
{
	struct unshared *u = arg;

	u->ret = unshare(CLONE_FS) ? -errno : io_submit(u->ctx, 2, u->list);
	return NULL;
}

/*
 * A flush goes behind its write, also if its submitter has another working directory
 * than the threads have.
 */
TEST_F(disk, frozen_order_unshared)
{
	struct unshared u = { .ctx = self->ctx, .list = self->list + 1 };
	pthread_t thread;
	int i;

	aio_prep(&self->iocb[0], IOCB_CMD_PWRITE, self->fd, self->buf, BLOCK, BLOCK);
	aio_prep(&self->iocb[1], IOCB_CMD_PWRITE, self->fd, self->buf, BLOCK, 0);
	aio_prep(&self->iocb[2], IOCB_CMD_FDSYNC, self->fd, NULL, 0, 0);
	ASSERT_EQ(0, ioctl(self->fs.dir, FIFREEZE, 0));
	/* The threads are made for this one, and are like the main thread. */
	ASSERT_EQ(1, aio_submit_one(self->ctx, self->list[0]));
	ASSERT_EQ(0, pthread_create(&thread, NULL, unshared_thread, &u));
	pthread_join(thread, NULL);
	EXPECT_EQ(2, u.ret);
	EXPECT_NO_EVENT(self->ctx);
	ASSERT_EQ(0, ioctl(self->fs.dir, FITHAW, 0));
	ASSERT_EQ(3, await_events(self->ctx, self->events, 3));
	for (i = 0; i < 3; i++) {
		struct iocb *cb = (struct iocb *)(uintptr_t)self->events[i].obj;

		EXPECT_EVENT(&self->events[i], cb, cb == self->list[2] ? 0 : BLOCK);
	}
}

/* A read that is not to wait does not overtake the write: it finds what that writes, or EAGAIN. */
TEST_F(disk, nowait_behind)
{
	struct io_event event = { 0 };
	long early;

	memset(self->buf, 'n', BLOCK);
	ASSERT_EQ(0, ioctl(self->fs.dir, FIFREEZE, 0));
	aio_prep(&self->iocb[0], IOCB_CMD_PWRITE, self->fd, self->buf, BLOCK, 0);
	aio_prep(&self->iocb[1], IOCB_CMD_PREAD, self->fd, self->back, BLOCK, 0);
	self->iocb[1].aio_rw_flags = RWF_NOWAIT;
	EXPECT_EQ(2, io_submit(self->ctx, 2, self->list));
	aio_sleep_ms(20);
	early = aio_reap(self->ctx, &event, 1);
	ASSERT_EQ(0, ioctl(self->fs.dir, FITHAW, 0));
	if (early == 1) {
		EXPECT_EVENT(&event, self->list[1], -EAGAIN);
		EXPECT_NEXT(self->ctx, self->list[0], BLOCK);
		return;
	}
	EXPECT_ALL(self->ctx, 2, self->list, BLOCK);
	EXPECT_EQ('n', self->back[0]);
}

/*
 * More writes than there are threads for files of a disk, all of which hang: what goes
 * to other files of this process, and to another process, goes on. It does not wait for
 * its turn, which would come when each of those writes has a thread that hangs in it.
 */
TEST_F_TIMEOUT(disk, hung_disk, 300)
{
	aio_context_t many = 0, ctx = 0;
	int nr = aio_long() ? 400 : 200, i, other = aio_mem_file();
	struct iocb *iocb = calloc(nr, sizeof(*iocb));
	struct io_event *events = calloc(nr, sizeof(*events));
	struct iocb one;
	char name[16];
	pid_t pid;

	ASSERT_EQ(0, setup_threaded(nr, &many));
	for (i = 0; i < nr; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		aio_prep(&iocb[i], IOCB_CMD_PWRITE, thread_fs_open(&self->fs, name, O_RDWR),
			 self->buf, BLOCK, 0);
	}
	ASSERT_EQ(0, ioctl(self->fs.dir, FIFREEZE, 0));
	for (i = 0; i < nr; i++) {
		struct iocb *cb = &iocb[i];

		ASSERT_EQ(1, io_submit(many, 1, &cb));
	}
	aio_prep(&one, IOCB_CMD_PWRITE, other, self->buf, BLOCK, 0);
	ASSERT_EQ(1, aio_submit_one(self->ctx, &one));
	/* Each of those that have begun may be taken for one that goes on, for a second. */
	for (i = 0; i < 5 && await_events(self->ctx, events, 1) != 1; i++)
		;
	EXPECT_EVENT(&events[0], &one, BLOCK);
	EXPECT_GT(nr / 2, workers());
	for (i = 0; i < 10; i++)
		EXPECT_DONE(self->ctx, &one, BLOCK);
	aio_prep(&one, IOCB_CMD_PREAD, other, self->back, BLOCK, 0);
	for (i = 0; i < 10; i++)
		EXPECT_DONE(self->ctx, &one, BLOCK);
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		struct io_event event;

		aio_prep(&one, IOCB_CMD_PWRITE, other, self->buf, BLOCK, 0);
		_exit(setup_threaded(4, &ctx) || aio_submit_one(ctx, &one) != 1 ||
		      await_events(ctx, &event, 1) != 1 || event.res != BLOCK);
	}
	EXPECT_EQ(0, await_child(pid));
	EXPECT_EQ(0, aio_drain(many));
	ASSERT_EQ(0, ioctl(self->fs.dir, FITHAW, 0));
	ASSERT_EQ(nr, await_events(many, events, nr));
	for (i = 0; i < nr; i++)
		EXPECT_EQ(BLOCK, events[i].res);
}

/* ------------------------------------------------------ writes that are cut short */

#define MUCH	(8 << 20)
#define LENGTH	(1 << 20)
/* XFS finds room for 4 MiB of a write at a time, or for nothing. */
#define LEFT	(6 << 20)

FIXTURE(xfs) {
	struct thread_fs fs;
	int fd;
	aio_context_t ctx;
	struct iocb iocb;
	char *buf, *back;
};

FIXTURE_SETUP(xfs)
{
	NEED_THREADS();
	self->fd = -1;
	if (!thread_fs_make_xfs(&self->fs))
		SKIP(return, "no null_blk disk with XFS (needs root, configfs, mkfs.xfs)");
	self->fd = thread_fs_open(&self->fs, "file", O_RDWR);
	ASSERT_LE(0, self->fd);
	self->buf = aio_pages(MUCH, PROT_READ | PROT_WRITE);
	self->back = aio_pages(MUCH, PROT_READ | PROT_WRITE);
	aio_pattern(self->buf, MUCH, 5);
	ASSERT_EQ(0, setup_threaded(4, &self->ctx));
}

FIXTURE_TEARDOWN_PARENT(xfs)
{
	thread_fs_remove(&self->fs);
}

/* What was to be written at @pos is there, as far as the result says, and no more. */
static bool is_cut_at(struct _test_data_xfs *self, long long pos, long done)
{
	struct stat st;
	long sum = 0, n;

	while (sum < done && (n = pread(self->fd, self->back, done - sum, pos + sum)) > 0) {
		if (memcmp(self->back, self->buf + sum, n))
			return false;
		sum += n;
	}
	return sum == done && !fstat(self->fd, &st) && st.st_size == pos + done;
}

/* In half of the rounds it is frozen first, so that a thread does all of it. */
TEST_F(xfs, limit_of_file_size)
{
	struct rlimit limit = { MUCH, RLIM_INFINITY };
	const long pos = 8000;
	int round;

	signal(SIGXFSZ, SIG_DFL);
	for (round = 0; round < 4; round++) {
		ASSERT_EQ(0, ftruncate(self->fd, 0));
		aio_prep(&self->iocb, IOCB_CMD_PWRITE, self->fd, self->buf, LENGTH, pos);
		limit.rlim_cur = pos + LENGTH / 2 + 100;
		if (!(round & 1)) {
			ASSERT_EQ(0, setrlimit(RLIMIT_FSIZE, &limit));
			EXPECT_DONE(self->ctx, &self->iocb, LENGTH / 2 + 100);
		} else {
			ASSERT_EQ(0, ioctl(self->fs.dir, FIFREEZE, 0));
			ASSERT_EQ(1, aio_submit_one(self->ctx, &self->iocb));
			EXPECT_NO_EVENT(self->ctx);
			/* It is that of the process as it is when the write begins. */
			ASSERT_EQ(0, setrlimit(RLIMIT_FSIZE, &limit));
			ASSERT_EQ(0, ioctl(self->fs.dir, FITHAW, 0));
			EXPECT_NEXT(self->ctx, &self->iocb, LENGTH / 2 + 100);
		}
		EXPECT_TRUE(is_cut_at(self, pos, LENGTH / 2 + 100));
		limit.rlim_cur = RLIM_INFINITY;
		ASSERT_EQ(0, setrlimit(RLIMIT_FSIZE, &limit));
	}
	EXPECT_EQ(0, io_destroy(self->ctx));
}

/* A file has all there is, but for a little. */
static bool fill_disk(int fd)
{
	long long size = 256 << 20, sum = 0;

	for (; size >= 64 << 10; size /= 2)
		while (!fallocate(fd, 0, sum, size))
			sum += size;
	return sum > LEFT && !ftruncate(fd, sum - LEFT) && !fsync(fd);
}

TEST_F(xfs, full_disk)
{
	int other = thread_fs_open(&self->fs, "other", O_RDWR), round;
	struct io_event event;
	long done;

	ASSERT_TRUE(fill_disk(other));
	for (round = 0; round < 4; round++) {
		ASSERT_EQ(0, ftruncate(self->fd, 0));
		ASSERT_EQ(0, syncfs(self->fd));
		aio_prep(&self->iocb, IOCB_CMD_PWRITE, self->fd, self->buf, MUCH, 0);
		if (round & 1)
			ASSERT_EQ(0, ioctl(self->fs.dir, FIFREEZE, 0));
		ASSERT_EQ(1, aio_submit_one(self->ctx, &self->iocb));
		if (round & 1) {
			EXPECT_NO_EVENT(self->ctx);
			ASSERT_EQ(0, ioctl(self->fs.dir, FITHAW, 0));
		}
		ASSERT_EQ(1, await_events(self->ctx, &event, 1));
		done = event.res;
		EXPECT_LT(0, done);
		EXPECT_GT(MUCH, done);
		EXPECT_TRUE(is_cut_at(self, 0, done)) {
			TH_LOG("round %d: %ld", round, done);
		}
		/* And then there is nothing left for another one. */
		aio_prep(&self->iocb, IOCB_CMD_PWRITE, self->fd, self->buf, MUCH, MUCH);
		EXPECT_DONE(self->ctx, &self->iocb, -ENOSPC);
	}
	EXPECT_EQ(0, io_destroy(self->ctx));
}

TEST_HARNESS_MAIN
