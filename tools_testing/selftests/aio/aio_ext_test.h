/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the tests of io_setup2() share: the call, iocbs that are called by their
 * index, what is pinned, and disks whose completions can be polled for.
 */
#ifndef AIO_EXT_TEST_H
#define AIO_EXT_TEST_H

#include <linux/aio_ext.h>
#include "aio_test.h"

#ifndef __NR_io_setup2
#define __NR_io_setup2	510
#endif

#define USERIOCB	IOCTX_FLAG_USERIOCB
#define IOPOLL		IOCTX_FLAG_IOPOLL
#define FIXEDBUFS	IOCTX_FLAG_FIXEDBUFS

static inline long io_setup2(unsigned int nr, unsigned int flags,
			     struct iocb *iocbs, aio_context_t *ctxp)
{
	return aio_recorded(AIO_CALL_SETUP2,
			    aio_result(syscall(__NR_io_setup2, nr, flags, iocbs, ctxp)), nr,
			    flags);
}

/* Whether this kernel has the call at all. */
static inline bool aio_has_setup2(void)
{
	aio_context_t ctx = 0;

	return io_setup2(1, ~0U, NULL, &ctx) != -ENOSYS;
}

/* For FIXTURE_SETUP and TEST. */
#define NEED_SETUP2() do {						\
	if (!aio_has_setup2())						\
		SKIP(return, "no io_setup2()");				\
} while (0)

/*
 * Whether CRIU would dump the context, and restore it as one of io_setup(). It compares
 * all of the header that says of what kind the ring is, and nr with the mapping's size.
 */
static inline bool aio_criu_dumps(aio_context_t ctx)
{
	volatile struct aio_ring *ring = aio_ring(ctx);
	struct aio_vma vma;

	if (aio_maps(ctx, &vma) < 0 || vma.start != ctx)
		return false;
	return ring->magic == AIO_RING_MAGIC && ring->compat_features == 1 &&
	       !ring->incompat_features && ring->header_length == AIO_RING_HEADER &&
	       ring->nr == (vma.end - vma.start - AIO_RING_HEADER) / AIO_EVENT_SIZE;
}

/* An array of iocbs, all zeroes, behind which nothing can be touched. */
static inline struct iocb *aio_iocbs(unsigned int nr)
{
	return aio_guarded((size_t)nr * sizeof(struct iocb));
}

/* Submits the iocbs with these indices. */
static inline long aio_submit_indices(aio_context_t ctx, long nr,
				      const unsigned long *indices)
{
	return aio_recorded(AIO_CALL_SUBMIT,
			    aio_result(syscall(__NR_io_submit, ctx, nr, indices)), nr, 0);
}

static inline long aio_submit_index(aio_context_t ctx, unsigned long index)
{
	return aio_submit_indices(ctx, 1, &index);
}

/* Submits one and waits for its event: 1, or the first error. */
static inline long aio_run_index(aio_context_t ctx, unsigned long index,
				 struct io_event *event)
{
	long ret = aio_submit_index(ctx, index);

	if (ret != 1)
		return ret;
	return io_getevents(ctx, 1, 1, event, NULL);
}

/* The request is taken, and its event says @result. */
#define EXPECT_INDEX_RES(ctx, index, result) do {			\
	struct io_event __event = { 0 };				\
									\
	EXPECT_EQ(1, aio_run_index(ctx, index, &__event));		\
	EXPECT_EQ((__u64)(index), __event.obj);				\
	EXPECT_EQ((__s64)(result), (__s64)__event.res);			\
} while (0)

/* The request is refused with @error, and there is no event for it. */
#define EXPECT_INDEX_REFUSED(ctx, index, error) do {			\
	EXPECT_EQ((long)(error), aio_submit_index(ctx, index));		\
	EXPECT_EQ(0, aio_drain(ctx));					\
} while (0)

/* How many pages of the system are pinned by FOLL_PIN, -1 when it is not told. */
static inline long long aio_pinned(void)
{
	static const char acquired[] = "nr_foll_pin_acquired ";
	static const char released[] = "nr_foll_pin_released ";
	static char buf[65536];
	char *a, *r;

	/* What is in the numbers of each processor still. */
	aio_write_text("/proc/sys/vm/stat_refresh", "1");
	if (aio_read_text("/proc/vmstat", buf, sizeof(buf)) <= 0)
		return -1;
	a = strstr(buf, acquired);
	r = strstr(buf, released);
	if (!a || !r)
		return -1;
	return strtoll(a + strlen(acquired), NULL, 10) -
		strtoll(r + strlen(released), NULL, 10);
}

/*
 * How many pages are pinned for long: of several numbers the least. Others pin pages while a file
 * is read, for as long as the host takes for the answer.
 */
static inline long long aio_pinned_for_long(void)
{
	long long least = aio_pinned(), now;
	int i;

	for (i = 0; i < 20; i++) {
		aio_sleep_ms(10);
		now = aio_pinned();
		if (now < least)
			least = now;
	}
	return least;
}

/*
 * The same, if it was @before earlier: somebody's pages may have been pinned as long as that was
 * looked at, but hardly both times.
 */
static inline long long aio_pinned_for_long_of(long long before)
{
	long long now = aio_pinned_for_long();

	return now < before ? now : before;
}

/*
 * Memory of hugetlbfs, in private pages of 2 MiB that are there, or MAP_FAILED. Those of a pool
 * that are in a movable zone are not given out while the kernel pins, which says EFAULT; but what
 * is there already is moved.
 */
static inline char *aio_huge_pages(unsigned int nr)
{
	const size_t size = 2UL << 20;
	char *p = mmap(NULL, nr * size, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | 21 << 26, -1, 0);
	unsigned int i;

	if (p != MAP_FAILED)
		for (i = 0; i < nr; i++)
			*(volatile char *)(p + i * size) = 0;
	return p;
}

/* What must be the same before and after. */
struct aio_balance {
	long long pinned;
	long long locked;
	long long nr;
};

static inline struct aio_balance aio_balance(void)
{
	long long pinned = aio_pinned(), again;
	int i, same = 0;

	/*
	 * Others may pin a page for a short time, to read a file for example, and
	 * the numbers of the processors are not of one time.
	 */
	for (i = 0; i < 100 && same < 2; i++) {
		again = aio_pinned();
		same = again == pinned ? same + 1 : 0;
		pinned = again;
	}
	return (struct aio_balance){ pinned, aio_locked(getpid()), aio_nr() };
}

/* Others have pages pinned for a short time, and what is given up is counted a little later. */
static inline bool aio_pinned_back_to(long long pinned)
{
	int i;

	for (i = 0; i < 1000 * aio_slow(); i++) {
		if (aio_pinned() <= pinned)
			return true;
		aio_sleep_ms(10);
	}
	return false;
}

#define EXPECT_BALANCE(before) do {					\
	EXPECT_TRUE(aio_pinned_back_to((before).pinned));		\
	EXPECT_EQ((before).locked, aio_locked(getpid()));		\
	EXPECT_EQ((before).nr, aio_nr());				\
} while (0)

/*
 * null_blk, when it is polled, allocates the memory of what is written, and may sleep
 * for that within a section of RCU: kernels that look for such things say so. What was
 * written before has its memory.
 */
static inline bool aio_poll_disk_fill(const struct aio_slow_disk *disk, unsigned int mb)
{
	const size_t size = 1 << 20;
	unsigned int i;
	int fd, status;
	char *buf;

	/* Only if it is certain that nobody looks. */
	status = system("c=$(gzip -dc /proc/config.gz) || exit 2; "
			"echo \"$c\" | grep -qx CONFIG_DEBUG_ATOMIC_SLEEP=y");
	if (status != -1 && WIFEXITED(status) && WEXITSTATUS(status) == 1)
		return true;
	fd = open(disk->dev, O_WRONLY | O_DIRECT);
	if (fd < 0)
		return false;
	buf = aligned_alloc(4096, size);
	memset(buf, 0, size);
	for (i = 0; i < mb; i++)
		if (pwrite(fd, buf, size, (off_t)i * size) != (ssize_t)size)
			break;
	free(buf);
	close(fd);
	return i == mb;
}

/*
 * A null_blk disk of @mb MiB with a queue that is polled, which keeps what is written
 * to it, and has room for @depth requests.
 */
static inline bool aio_poll_disk_make_mb(struct aio_slow_disk *disk,
					 unsigned int depth, unsigned int mb)
{
	static int nr;
	int i;

	disk->dir[0] = '\0';
	if (access(AIO_NULLB_DIR, W_OK)) {
		mount("none", "/sys/kernel/config", "configfs", 0, NULL);
		if (access(AIO_NULLB_DIR, W_OK) &&
		    system("modprobe -q null_blk nr_devices=0 2>/dev/null"))
			return false;
	}
	nr++;
	snprintf(disk->dir, sizeof(disk->dir), AIO_NULLB_DIR "/aiopoll%d-%d",
		 getpid(), nr);
	snprintf(disk->dev, sizeof(disk->dev), "/dev/aiopoll%d-%d", getpid(), nr);
	if (mkdir(disk->dir, 0700)) {
		disk->dir[0] = '\0';
		return false;
	}
	if (aio_slow_disk_set(disk, "size", mb) ||
	    aio_slow_disk_set(disk, "submit_queues", 1) ||
	    aio_slow_disk_set(disk, "poll_queues", 1) ||
	    aio_slow_disk_set(disk, "hw_queue_depth", depth) ||
	    aio_slow_disk_set(disk, "memory_backed", 1) ||
	    aio_slow_disk_set(disk, "power", 1)) {
		aio_slow_disk_remove(disk);
		return false;
	}
	for (i = 0; i < 1000 && access(disk->dev, R_OK | W_OK); i++)
		aio_sleep_ms(5);
	if (i < 1000 && aio_poll_disk_fill(disk, mb))
		return true;
	aio_slow_disk_remove(disk);
	return false;
}

static inline bool aio_poll_disk_make(struct aio_slow_disk *disk,
				      unsigned int depth)
{
	return aio_poll_disk_make_mb(disk, depth, 64);
}

#endif /* AIO_EXT_TEST_H */
