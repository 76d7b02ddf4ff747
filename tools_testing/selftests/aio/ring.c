// SPDX-License-Identifier: GPL-2.0
/*
 * The ring as memory that the program owns, too.
 *
 * Held here: a program may take events out of the ring itself, and may write
 * anything into it: the kernel believes head and tail only modulo the number of
 * events, believes the id only together with the address, and nothing else.
 * The mapping may be moved as a whole (and the context's id moves with it), but
 * not in part and not larger; a child has no ring; execve() ends it; unmapping
 * makes it unreachable. What CRIU does to restore a ring works.
 */
#include "../kselftest_harness.h"
#include "aio_test.h"
#include <sys/resource.h>
#include <sys/wait.h>

#define NR	300

FIXTURE(ring) {
	aio_context_t ctx;
	volatile struct aio_ring *ring;
	__u32 nr;
	size_t size;
	size_t page;
	int null_fd;
	__u64 next;
	struct io_event got[NR];
};

FIXTURE_SETUP(ring)
{
	struct aio_vma vma;

	self->page = getpagesize();
	ASSERT_EQ(0, io_setup(NR, &self->ctx));
	self->ring = aio_ring(self->ctx);
	self->nr = self->ring->nr;
	ASSERT_EQ(1, aio_maps(self->ctx, &vma));
	self->size = vma.end - vma.start;
	/* Several pages, for the moves in part. */
	ASSERT_GE(self->size, 3 * self->page);
	self->null_fd = open("/dev/null", O_WRONLY);
	ASSERT_GE(self->null_fd, 0);
}

FIXTURE_TEARDOWN(ring)
{
}

/* Makes @n events, whose data are running numbers. */
static long make_in(aio_context_t ctx, int null_fd, __u64 *next, long n)
{
	struct iocb iocb;
	long i, ret;

	for (i = 0; i < n; i++) {
		aio_prep(&iocb, IOCB_CMD_PWRITE, null_fd, "x", 1, 0);
		iocb.aio_data = *next;
		ret = aio_submit_one(ctx, &iocb);
		if (ret != 1)
			return ret;
		(*next)++;
	}
	return n;
}

#define make(n)	make_in(self->ctx, self->null_fd, &self->next, n)

/* Does the context do what it is for? */
static bool works(aio_context_t ctx, int null_fd)
{
	struct io_event event;
	struct iocb iocb;

	aio_prep(&iocb, IOCB_CMD_PWRITE, null_fd, "x", 7, 0);
	return aio_run(ctx, &iocb, &event) == 1 && event.res == 7 &&
		event.obj == (uintptr_t)&iocb;
}

/* All calls say that there is no such context. */
static bool unknown(aio_context_t ctx, int null_fd)
{
	struct io_event event;
	struct iocb iocb;

	aio_prep(&iocb, IOCB_CMD_PWRITE, null_fd, "x", 7, 0);
	return aio_submit_one(ctx, &iocb) == -EINVAL &&
		io_submit(ctx, 0, NULL) == -EINVAL &&
		aio_reap(ctx, &event, 1) == -EINVAL &&
		io_getevents(ctx, 0, 0, NULL, NULL) == -EINVAL &&
		io_cancel(ctx, &iocb, &event) == -EINVAL &&
		io_destroy(ctx) == -EINVAL;
}

/* Addresses where a mapping of @size can go. */
static void *place(size_t size)
{
	return aio_pages(size, PROT_NONE);
}

/* ------------------------------------------------------ reaping by hand */

/* As libaio and fio do it: events from head to tail, then head is moved. */
TEST_F(ring, user_reaping)
{
	volatile struct aio_ring *ring = self->ring;
	__u64 seen = 0;
	int round, n;

	for (round = 0; round < 40; round++) {
		n = round * 7 % 64 + 1;
		ASSERT_EQ(n, make(n));
		while (ring->head != ring->tail) {
			volatile struct io_event *event;

			event = &ring->events[ring->head % ring->nr];
			ASSERT_EQ(seen, event->data);
			ASSERT_EQ(1, event->res);
			seen++;
			ring->head = (ring->head + 1) % ring->nr;
		}
		EXPECT_EQ(self->next, seen);
		EXPECT_EQ(0, aio_reap(self->ctx, self->got, NR));
	}
	/* By hand and by system call in turns. */
	ASSERT_EQ(9, make(9));
	ring->head = (ring->head + 4) % ring->nr;
	EXPECT_EQ(5, aio_reap(self->ctx, self->got, NR));
	EXPECT_EQ(seen + 4, self->got[0].data);
}

/* An event is complete before the tail says that it is there. */
struct watcher {
	volatile struct aio_ring *ring;
	__u64 events;
	__u64 bad;
};

static void *watch(void *arg)
{
	struct watcher *w = arg;
	__u32 head = w->ring->head;
	__u64 i;

	for (i = 0; i < w->events; i++) {
		volatile struct io_event *event = &w->ring->events[head];

		while (__atomic_load_n(&w->ring->tail, __ATOMIC_ACQUIRE) ==
		       head)
			sched_yield();
		if (event->data != i || event->res != 1 || event->res2)
			w->bad++;
		head = (head + 1) % w->ring->nr;
		__atomic_store_n(&w->ring->head, head, __ATOMIC_RELEASE);
	}
	return NULL;
}

TEST_F(ring, event_before_tail)
{
	struct watcher w = { self->ring, 20000, 0 };
	pthread_t thread;

	ASSERT_EQ(0, pthread_create(&thread, NULL, watch, &w));
	while (self->next < w.events)
		if (make(1) != 1)
			sched_yield();
	pthread_join(thread, NULL);
	EXPECT_EQ(0, w.bad);
	EXPECT_EQ(0, aio_reap(self->ctx, self->got, NR));
}

/* The program may write where no event is, and even where one is. */
TEST_F(ring, event_area_is_writable)
{
	struct io_event mine = { 11, 22, 33, 44 };
	__u32 i;

	for (i = 0; i < self->nr; i++)
		self->ring->events[i].data = ~0ULL;
	ASSERT_EQ(3, make(3));
	EXPECT_EQ(~0ULL, self->ring->events[3].data);
	memcpy((void *)&self->ring->events[1], &mine, sizeof(mine));
	EXPECT_EQ(3, aio_reap(self->ctx, self->got, NR));
	EXPECT_EQ(0, self->got[0].data);
	EXPECT_EQ(0, memcmp(&mine, &self->got[1], sizeof(mine)));
	EXPECT_EQ(2, self->got[2].data);
}

/* ------------------------------------------------------ hostile values */

static const __u32 odd_values[] = {
	0, 1, 2, 7, 100, 0x7fffffff, 0x80000000, 0x80000001, 0xdeadbeef,
	0xfffffffe, 0xffffffff, 1U << 16, 1U << 20, 0xa10a10a1,
};

/* The values around the ring's size come after the fixed ones. */
static __u32 odd_value(int i, __u32 nr)
{
	const int fixed = ARRAY_SIZE(odd_values);
	const __u32 near[] = { nr - 1, nr, nr + 1, 2 * nr - 1, 2 * nr,
				  nr / 2, 0xffffffffU / nr * nr };

	return i < fixed ? odd_values[i] : near[i - fixed];
}

#define ODD_VALUES	((int)ARRAY_SIZE(odd_values) + 7)

/*
 * io_getevents() with any head and any tail: none when they are the same, else
 * the slots from one to the other, both modulo the number of events.
 */
TEST_F(ring, odd_head_and_tail)
{
	static struct io_event all[4096], got[4096];
	__u32 nr = self->nr, i;
	int h, t;

	ASSERT_LE(nr, 4096);
	for (i = 0; i < nr; i++) {
		all[i] = (struct io_event){ i, ~i, i * 3, i * 5 };
		memcpy((void *)&self->ring->events[i], &all[i],
		       sizeof(all[i]));
	}
	for (h = 0; h < ODD_VALUES; h++) {
		for (t = 0; t < ODD_VALUES; t++) {
			__u32 head = odd_value(h, nr);
			__u32 tail = odd_value(t, nr);
			__u32 first = head % nr, last = tail % nr;
			__u32 want = (last + nr - first) % nr;
			__u32 most = (h + t) & 1 ? 5 : nr;
			long ret;

			if (want > most)
				want = most;
			self->ring->head = head;
			self->ring->tail = tail;
			ret = aio_reap(self->ctx, got, most);
			ASSERT_EQ(want, ret)
				TH_LOG("head %#x tail %#x", head, tail);
			for (i = 0; i < want; i++)
				if (memcmp(&got[i], &all[(first + i) % nr],
					   sizeof(got[i])))
					break;
			ASSERT_EQ(want, i);
			/* The same values: the kernel has not looked further. */
			EXPECT_EQ(head == tail ? head : (first + want) % nr,
				  self->ring->head);
			EXPECT_EQ(tail, self->ring->tail);
		}
	}
	/* The kernel's own tail is still 0, and comes back with an event. */
	ASSERT_EQ(1, make(1));
	EXPECT_EQ(1, self->ring->tail);
	EXPECT_EQ(0, self->ring->events[0].data);
	EXPECT_EQ(1, self->ring->events[0].res);
	self->ring->head = 0;
	EXPECT_EQ(1, aio_reap(self->ctx, got, nr));
	EXPECT_TRUE(works(self->ctx, self->null_fd));
}

/*
 * A full ring and any head: as many requests are taken as slots lie outside of
 * what is between head, modulo the number of events, and the kernel's tail.
 */
TEST_F(ring, slots_with_odd_head)
{
	struct iocb iocb;
	long full;
	int h;

	ASSERT_EQ(0, aio_pin_cpu());
	full = aio_fill(self->ctx, &iocb, self->null_fd);
	ASSERT_GE(full, NR);
	for (h = 0; h < ODD_VALUES; h++) {
		__u32 head = odd_value(h, self->nr);
		long left = (self->ring->tail + self->nr - head % self->nr) %
			self->nr;

		self->ring->head = head;
		EXPECT_EQ(left < full ? full - left : 0,
			  aio_fill(self->ctx, &iocb, self->null_fd))
			TH_LOG("with head %#x", head);
		EXPECT_EQ(head, self->ring->head);
		self->ring->head = self->ring->tail;
		ASSERT_EQ(full, aio_fill(self->ctx, &iocb, self->null_fd));
	}
	EXPECT_EQ(full, aio_drain(self->ctx));
}

/*
 * io_submit() and completions with any head and tail: never more than the ring
 * holds at once, the tail goes on as if nothing had happened, and once head is
 * right again the context has its full size.
 */
TEST_F(ring, submit_with_odd_head)
{
	struct iocb iocb;
	long full;
	int h;

	ASSERT_EQ(0, aio_pin_cpu());
	full = aio_fill(self->ctx, &iocb, self->null_fd);
	ASSERT_GE(full, NR);
	ASSERT_EQ(full, aio_drain(self->ctx));
	for (h = 0; h < ODD_VALUES; h++) {
		__u32 tail = self->ring->tail;
		int i;

		self->ring->head = odd_value(h, self->nr);
		self->ring->tail = odd_value(ODD_VALUES - 1 - h, self->nr);
		for (i = 0; i < NR; i++) {
			long ret;

			aio_prep(&iocb, IOCB_CMD_PWRITE, self->null_fd, "x", 1,
				 0);
			ret = aio_submit_one(self->ctx, &iocb);
			if (ret == -EAGAIN)
				break;
			ASSERT_EQ(1, ret);
			tail = (tail + 1) % self->nr;
			ASSERT_EQ(tail, self->ring->tail);
		}
		/* Nothing else of the header has changed. */
		EXPECT_EQ(odd_value(h, self->nr), self->ring->head);
		EXPECT_EQ(self->nr, self->ring->nr);
		self->ring->tail = tail;
		self->ring->head = tail;
		EXPECT_EQ(0, aio_reap(self->ctx, self->got, NR));
		EXPECT_EQ(full, aio_fill(self->ctx, &iocb, self->null_fd))
			TH_LOG("after head %#x", odd_value(h, self->nr));
		EXPECT_EQ(full, aio_drain(self->ctx));
	}
}

/* Events that the program hides come back with the next completion. */
TEST_F(ring, hidden_events)
{
	ASSERT_EQ(5, make(5));
	self->ring->tail = 0;
	EXPECT_EQ(0, aio_reap(self->ctx, self->got, NR));
	EXPECT_EQ(0, self->ring->tail);
	ASSERT_EQ(1, make(1));
	EXPECT_EQ(6, self->ring->tail);
	EXPECT_EQ(6, aio_reap(self->ctx, self->got, NR));
}

/* The rest of the header is for programs; the kernel neither reads nor mends. */
TEST_F(ring, other_fields_do_not_matter)
{
	volatile __u32 *field[] = {
		&self->ring->nr, &self->ring->magic,
		&self->ring->compat_features, &self->ring->incompat_features,
		&self->ring->header_length,
	};
	__u32 value[] = { 0, 1, 0xffffffff, 0x80000000, 12345 };
	struct iocb iocb;
	size_t i, k;
	long full;

	ASSERT_EQ(0, aio_pin_cpu());
	full = aio_fill(self->ctx, &iocb, self->null_fd);
	ASSERT_EQ(full, aio_drain(self->ctx));
	for (k = 0; k < ARRAY_SIZE(value); k++) {
		for (i = 0; i < ARRAY_SIZE(field); i++)
			*field[i] = value[k];
		EXPECT_TRUE(works(self->ctx, self->null_fd));
		EXPECT_EQ(full, aio_fill(self->ctx, &iocb, self->null_fd));
		EXPECT_EQ(full, aio_drain(self->ctx));
		for (i = 0; i < ARRAY_SIZE(field); i++)
			EXPECT_EQ(value[k], *field[i]);
	}
	EXPECT_EQ(0, io_destroy(self->ctx));
}

/* The id finds the context, and the address has to agree. */
TEST_F(ring, id_is_looked_up)
{
	__u32 value[] = {
		1, 2, 3, 4, 5, 15, 16, 17, 255, 0x7fffffff, 0x80000000,
		0xffffffff,
	};
	aio_context_t other = 0;
	size_t i;

	ASSERT_EQ(0, io_setup(1, &other));
	ASSERT_EQ(0, self->ring->id);
	ASSERT_EQ(1, aio_ring(other)->id);
	for (i = 0; i < ARRAY_SIZE(value); i++) {
		self->ring->id = value[i];
		EXPECT_TRUE(unknown(self->ctx, self->null_fd));
	}
	self->ring->id = 0;
	EXPECT_TRUE(works(self->ctx, self->null_fd));
	EXPECT_TRUE(works(other, self->null_fd));
	EXPECT_EQ(0, io_destroy(self->ctx));
	EXPECT_TRUE(works(other, self->null_fd));
}

/*
 * Requests in flight are not counted by head and tail: with a scribbled ring
 * io_destroy() still waits for them.
 */
TEST_F(ring, destroy_with_odd_head)
{
	struct aio_caller submitter = { .ctx = self->ctx };
	struct aio_caller destroyer = { .ctx = self->ctx };
	struct iocb iocb;
	char buf[4];
	int p[2];

	FOR_PLAIN("io_submit() does not wait");
	ASSERT_EQ(0, pipe(p));
	ASSERT_EQ(20, make(20));
	aio_prep(&iocb, IOCB_CMD_PREAD, p[0], buf, sizeof(buf), 0);
	submitter.iocb = &iocb;
	ASSERT_TRUE(aio_start_blocked(&submitter, aio_submit_thread,
				      __NR_io_submit));
	self->ring->head = 0xdeadbeef;
	self->ring->tail = 0x12345678;
	ASSERT_TRUE(aio_start_blocked(&destroyer, aio_destroy_thread,
				      __NR_io_destroy));
	aio_sleep_ms(50);
	EXPECT_FALSE(destroyer.done);
	ASSERT_EQ(4, write(p[1], "done", 4));
	EXPECT_EQ(0, aio_join(&destroyer));
	EXPECT_EQ(1, aio_join(&submitter));
}

/* ------------------------------------------------------ protection, advice */

TEST_F(ring, mprotect)
{
	void *p = (void *)self->ctx;

	/* The kernel writes whatever the program may do. */
	ASSERT_EQ(0, mprotect(p, self->size, PROT_READ));
	EXPECT_TRUE(works(self->ctx, self->null_fd));
	EXPECT_EQ(1, self->ring->head);
	ASSERT_EQ(0, mprotect(p, self->size, PROT_READ | PROT_WRITE));
	EXPECT_TRUE(works(self->ctx, self->null_fd));
	EXPECT_EQ(0, io_destroy(self->ctx));
	EXPECT_EQ(0, aio_maps(0, NULL));
}

/*
 * Does the kernel read what the program may not? User Mode Linux does, whatever system call
 * it is: its copy_from_user() looks the page up in the page table and takes a page fault only
 * if there is none (maybe_map() in arch/um/kernel/skas/uaccess.c). pte_present() is true of a
 * page with PROT_NONE.
 */
static bool reads_prot_none(void)
{
	char *page = aio_pages(1, PROT_READ | PROT_WRITE);
	int p[2];
	bool reads;

	if (page == MAP_FAILED || pipe(p))
		return false;
	*page = 1;
	mprotect(page, getpagesize(), PROT_NONE);
	reads = write(p[1], page, 1) == 1;
	close(p[0]);
	close(p[1]);
	munmap(page, getpagesize());
	return reads;
}

TEST_F(ring, mprotect_none)
{
	void *p = (void *)self->ctx;

	if (reads_prot_none())
		SKIP(return, "this kernel reads memory with PROT_NONE (User Mode Linux)");
	/* The kernel reads the id as the program does. */
	ASSERT_EQ(0, mprotect(p, self->size, PROT_NONE));
	EXPECT_TRUE(unknown(self->ctx, self->null_fd));
	ASSERT_EQ(0, mprotect(p, self->size, PROT_READ | PROT_WRITE));
	EXPECT_TRUE(works(self->ctx, self->null_fd));
	EXPECT_EQ(0, io_destroy(self->ctx));
	EXPECT_EQ(0, aio_maps(0, NULL));
}

TEST_F(ring, madvise)
{
	ASSERT_EQ(3, make(3));
	EXPECT_EQ(0, madvise((void *)self->ctx, self->size, MADV_DONTNEED));
	EXPECT_EQ(3, self->ring->tail);
	EXPECT_EQ(2, self->ring->events[2].data);
	EXPECT_EQ(3, aio_reap(self->ctx, self->got, NR));
	EXPECT_EQ(0, madvise((void *)self->ctx, self->size, MADV_DONTFORK));
	EXPECT_TRUE(works(self->ctx, self->null_fd));
}

/* Is a mapping one that is locked? */
static bool is_locked(unsigned long start)
{
	char line[512];
	bool here = false, locked = false;
	FILE *f = fopen("/proc/self/smaps", "re");

	while (f && fgets(line, sizeof(line), f)) {
		unsigned long from, to;

		if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
			here = from == start;
		else if (here && !strncmp(line, "VmFlags:", 8))
			locked = strstr(line, " lo");
	}
	if (f)
		fclose(f);
	return locked;
}

/*
 * The ring can't be swapped anyway, and is not counted as locked, or only for its
 * context.
 */
TEST(locked_memory)
{
	int null_fd = open("/dev/null", O_WRONLY);
	size_t size = aio_ring_bytes(1000);
	aio_context_t ctx = 0;
	long long before, locked;
	void *probe;

	if (mlockall(MCL_CURRENT | MCL_FUTURE))
		SKIP(return, "mlockall() is not allowed");
	before = aio_locked(getpid());
	ASSERT_EQ(0, io_setup(1000, &ctx));
	locked = before + (aio_has_memlock() ? size : 0);
	EXPECT_EQ(locked, aio_locked(getpid()));
	EXPECT_FALSE(is_locked(ctx));
	EXPECT_TRUE(works(ctx, null_fd));
	EXPECT_EQ(0, mlock((void *)ctx, size));
	EXPECT_FALSE(is_locked(ctx));
	EXPECT_EQ(0, munlock((void *)ctx, size));
	EXPECT_EQ(0, mlockall(MCL_CURRENT | MCL_FUTURE));
	EXPECT_FALSE(is_locked(ctx));
	EXPECT_EQ(locked, aio_locked(getpid()));
	EXPECT_TRUE(works(ctx, null_fd));
	EXPECT_EQ(0, io_destroy(ctx));
	EXPECT_EQ(before, aio_locked(getpid()));
	/* Other memory is, and leaves no trace either. */
	probe = place(size);
	EXPECT_TRUE(is_locked((unsigned long)probe));
	munmap(probe, size);
	EXPECT_EQ(before, aio_locked(getpid()));
	munlockall();
}

/* But its maker must be allowed to lock so much; not twice as much. */
FIXTURE(locking) {
	char saved[16];
};

FIXTURE_SETUP(locking)
{
	if (!aio_has_memlock())
		return;
	/* What there is without the limit that memlock.c tests. */
	ASSERT_GT(aio_read_text(AIO_MEMLOCK, self->saved, sizeof(self->saved)), 0);
	if (aio_write_text(AIO_MEMLOCK, "0"))
		SKIP(return, "needs the right to write " AIO_MEMLOCK);
}

FIXTURE_TEARDOWN_PARENT(locking)
{
	if (self->saved[0])
		aio_write_text(AIO_MEMLOCK, self->saved);
}

TEST_F(locking, limit)
{
	struct rlimit limit = { 256 << 10, 256 << 10 };
	int null_fd = open("/dev/null", O_WRONLY);
	long long nr = aio_nr();
	aio_context_t ctx = 0;

	ASSERT_EQ(0, setrlimit(RLIMIT_MEMLOCK, &limit));
	if (!geteuid())
		ASSERT_EQ(0, setresuid(65534, 65534, 65534));
	ASSERT_EQ(0, mlockall(MCL_FUTURE));
	/* 640 KiB. */
	EXPECT_EQ(-ENOMEM, io_setup(10000, &ctx));
	EXPECT_EQ(0, ctx);
	EXPECT_EQ(nr, aio_nr());
	EXPECT_EQ(0, aio_maps(0, NULL));
	ASSERT_EQ(0, io_setup(1, &ctx));
	EXPECT_TRUE(works(ctx, null_fd));
	EXPECT_EQ(0, io_destroy(ctx));
	ctx = 0;
	munlockall();
	ASSERT_EQ(0, io_setup(10000, &ctx));
	EXPECT_EQ(0, io_destroy(ctx));
}

TEST(address_space_limit)
{
	struct rlimit limit;
	long long nr = aio_nr();
	aio_context_t ctx = 0;
	long pages = 0;
	char buf[128];

	ASSERT_LT(0, aio_read_text("/proc/self/statm", buf, sizeof(buf)));
	pages = atol(buf);
	ASSERT_EQ(0, getrlimit(RLIMIT_AS, &limit));
	limit.rlim_cur = (pages + 64) * getpagesize();
	ASSERT_EQ(0, setrlimit(RLIMIT_AS, &limit));
	EXPECT_EQ(-ENOMEM, io_setup(10000, &ctx));
	EXPECT_EQ(0, ctx);
	EXPECT_EQ(nr, aio_nr());
	EXPECT_EQ(0, io_setup(1, &ctx));
	EXPECT_EQ(0, io_destroy(ctx));
	limit.rlim_cur = limit.rlim_max;
	ASSERT_EQ(0, setrlimit(RLIMIT_AS, &limit));
	ctx = 0;
	EXPECT_EQ(0, io_setup(10000, &ctx));
	EXPECT_EQ(0, io_destroy(ctx));
}

/* ------------------------------------------------------ munmap */

TEST_F(ring, munmap)
{
	long long before = aio_nr();
	aio_context_t ctx = 0;

	ASSERT_EQ(3, make(3));
	ASSERT_EQ(0, munmap((void *)self->ctx, self->size));
	EXPECT_TRUE(unknown(self->ctx, self->null_fd));
	/* It counts until the process ends. */
	EXPECT_EQ(before, aio_nr());
	ASSERT_EQ(0, io_setup(NR, &ctx));
	EXPECT_EQ(1, aio_ring(ctx)->id);
	EXPECT_TRUE(works(ctx, self->null_fd));
}

/* Only the header has to be there. */
TEST_F(ring, munmap_behind_header)
{
	long long before = aio_nr();
	__u64 i;

	ASSERT_EQ(0, munmap((char *)self->ctx + self->page,
			    self->size - self->page));
	for (i = 0; i < self->nr; i++) {
		ASSERT_EQ(1, make(1));
		ASSERT_EQ(1, aio_reap(self->ctx, self->got, 1));
	}
	EXPECT_EQ(self->nr - 1, self->got[0].data);
	EXPECT_EQ(0, io_destroy(self->ctx));
	EXPECT_EQ(before - NR, aio_nr());
	EXPECT_EQ(0, aio_maps(0, NULL));
}

/* Other memory in the same place with the right id will do for a header. */
TEST_F(ring, other_memory_at_same_address)
{
	__u32 *fake = (__u32 *)self->ctx;

	ASSERT_EQ(3, make(3));
	ASSERT_EQ((void *)self->ctx,
		  mmap(fake, self->size, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
	fake[0] = 5;
	EXPECT_TRUE(unknown(self->ctx, self->null_fd));
	fake[0] = 0;
	/* head and tail are those of the real ring. */
	EXPECT_EQ(3, aio_reap(self->ctx, self->got, NR));
	EXPECT_EQ(0, fake[2]);
	EXPECT_EQ(0, fake[3]);
	EXPECT_TRUE(works(self->ctx, self->null_fd));
	EXPECT_EQ(0, io_destroy(self->ctx));
	/* It unmaps that range. */
	EXPECT_EQ(-1, msync(fake, self->page, MS_ASYNC));
	EXPECT_EQ(ENOMEM, errno);
}

/* ------------------------------------------------------ mremap */

/* Nothing has happened to the ring. */
#define EXPECT_RING_IN_PLACE() do {					\
	struct aio_vma __vma;						\
									\
	EXPECT_EQ(1, aio_maps(self->ctx, &__vma));			\
	EXPECT_EQ(self->ctx, __vma.start);				\
	EXPECT_EQ(self->ctx + self->size, __vma.end);			\
	EXPECT_STREQ("rw-s", __vma.perms);				\
	EXPECT_TRUE(works(self->ctx, self->null_fd));			\
} while (0)

TEST_F(ring, mremap_whole)
{
	aio_context_t old = self->ctx, new;
	struct aio_vma vma;
	int i;

	for (i = 0; i < 3; i++) {
		char *to = place(self->size);
		__u64 first = self->next;

		ASSERT_EQ(4, make(4));
		new = (aio_context_t)mremap((void *)old, self->size, self->size,
					    MREMAP_MAYMOVE | MREMAP_FIXED, to);
		ASSERT_EQ((aio_context_t)to, new);
		EXPECT_TRUE(unknown(old, self->null_fd));
		EXPECT_EQ(1, aio_maps(new, &vma));
		EXPECT_EQ(new, vma.start);
		EXPECT_EQ(new + self->size, vma.end);
		EXPECT_STREQ("/[aio] (deleted)", vma.name);
		self->ctx = new;
		/* The events have come with it. */
		EXPECT_EQ(4, aio_reap(new, self->got, NR));
		EXPECT_EQ(first, self->got[0].data);
		EXPECT_TRUE(works(new, self->null_fd));
		old = new;
	}
	EXPECT_EQ(0, io_destroy(new));
	EXPECT_EQ(0, aio_maps(0, NULL));
	EXPECT_EQ(-EINVAL, io_destroy(new));
}

/* A request that is in flight while the ring moves. */
TEST_F(ring, mremap_in_flight)
{
	struct aio_caller submitter = { .ctx = self->ctx };
	struct aio_caller reader = {
		.ctx = self->ctx, .min_nr = 1, .nr = 1, .events = self->got,
	};
	struct iocb iocb;
	char buf[4];
	void *to = place(self->size);
	int p[2];

	FOR_PLAIN("io_submit() does not wait");
	ASSERT_EQ(0, pipe(p));
	aio_prep(&iocb, IOCB_CMD_PREAD, p[0], buf, sizeof(buf), 0);
	submitter.iocb = &iocb;
	ASSERT_TRUE(aio_start_blocked(&submitter, aio_submit_thread,
				      __NR_io_submit));
	ASSERT_TRUE(aio_start_blocked(&reader, aio_getevents_thread,
				      __NR_io_getevents));
	ASSERT_EQ(to, mremap((void *)self->ctx, self->size, self->size,
			     MREMAP_MAYMOVE | MREMAP_FIXED, to));
	ASSERT_EQ(4, write(p[1], "done", 4));
	EXPECT_EQ(1, aio_join(&submitter));
	EXPECT_EQ(1, aio_join(&reader));
	EXPECT_EVENT(&self->got[0], &iocb, 4);
	EXPECT_EQ(1, aio_ring((aio_context_t)to)->tail);
	EXPECT_EQ(0, io_destroy((aio_context_t)to));
}

/* Same size, no new address: the ring stays. */
TEST_F(ring, mremap_nothing)
{
	EXPECT_EQ((void *)self->ctx, mremap((void *)self->ctx, self->size,
					    self->size, MREMAP_MAYMOVE));
	EXPECT_EQ((void *)self->ctx, mremap((void *)self->ctx, self->size,
					    self->size, 0));
	EXPECT_RING_IN_PLACE();
}

TEST_F(ring, mremap_part)
{
	size_t from[] = { 0, 1, self->size / self->page - 1, 0, 1 };
	size_t pages[] = { 1, 1, 1, self->size / self->page - 1, 2 };
	size_t i;

	for (i = 0; i < ARRAY_SIZE(from); i++) {
		size_t len = pages[i] * self->page;
		void *to = place(len);

		EXPECT_EQ(MAP_FAILED,
			  mremap((char *)self->ctx + from[i] * self->page, len,
				 len, MREMAP_MAYMOVE | MREMAP_FIXED, to));
		EXPECT_EQ(EINVAL, errno);
		EXPECT_RING_IN_PLACE();
	}
	EXPECT_EQ(0, io_destroy(self->ctx));
	EXPECT_EQ(0, aio_maps(0, NULL));
}

TEST_F(ring, mremap_larger)
{
	void *to = place(2 * self->size);

	EXPECT_EQ(MAP_FAILED, mremap((void *)self->ctx, self->size,
				     self->size + self->page, 0));
	EXPECT_EQ(EFAULT, errno);
	EXPECT_EQ(MAP_FAILED, mremap((void *)self->ctx, self->size,
				     self->size + self->page, MREMAP_MAYMOVE));
	EXPECT_EQ(EFAULT, errno);
	EXPECT_EQ(MAP_FAILED, mremap((void *)self->ctx, self->size,
				     2 * self->size,
				     MREMAP_MAYMOVE | MREMAP_FIXED, to));
	EXPECT_EQ(EFAULT, errno);
	EXPECT_RING_IN_PLACE();
}

/* No second mapping of the ring. */
TEST_F(ring, mremap_duplicate)
{
	void *to = place(self->size);

	EXPECT_EQ(MAP_FAILED, mremap((void *)self->ctx, self->size, self->size,
				     MREMAP_MAYMOVE | MREMAP_DONTUNMAP));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(MAP_FAILED, mremap((void *)self->ctx, self->size, self->size,
				     MREMAP_MAYMOVE | MREMAP_FIXED |
				     MREMAP_DONTUNMAP, to));
	EXPECT_EQ(EINVAL, errno);
	/* The old way: a length of 0. */
	EXPECT_EQ(MAP_FAILED, mremap((void *)self->ctx, 0, self->size,
				     MREMAP_MAYMOVE));
	EXPECT_EQ(EFAULT, errno);
	EXPECT_RING_IN_PLACE();
}

/* Two contexts are moved into each other's place. */
TEST_F(ring, mremap_swap)
{
	void *a = (void *)self->ctx, *b, *tmp = place(self->size);
	int flags = MREMAP_MAYMOVE | MREMAP_FIXED;
	aio_context_t other = 0;

	ASSERT_EQ(0, io_setup(NR, &other));
	b = (void *)other;
	ASSERT_EQ(2, make(2));
	ASSERT_EQ(tmp, mremap(a, self->size, self->size, flags, tmp));
	ASSERT_EQ(a, mremap(b, self->size, self->size, flags, a));
	ASSERT_EQ(b, mremap(tmp, self->size, self->size, flags, b));
	EXPECT_EQ(1, aio_ring((aio_context_t)a)->id);
	EXPECT_EQ(0, aio_ring((aio_context_t)b)->id);
	EXPECT_EQ(0, aio_reap((aio_context_t)a, self->got, NR));
	EXPECT_EQ(2, aio_reap((aio_context_t)b, self->got, NR));
	EXPECT_TRUE(works((aio_context_t)a, self->null_fd));
	EXPECT_TRUE(works((aio_context_t)b, self->null_fd));
	EXPECT_EQ(0, io_destroy((aio_context_t)a));
	EXPECT_TRUE(works((aio_context_t)b, self->null_fd));
	EXPECT_EQ(0, io_destroy((aio_context_t)b));
	EXPECT_EQ(0, aio_maps(0, NULL));
}

/* ------------------------------------------------------ fork and execve */

/* How a child that runs @what ends: its exit status, or 128 + signal. */
#define IN_CHILD(what) ({						\
	int __status = -1;						\
	pid_t __pid = fork();						\
									\
	if (!__pid) {							\
		what;							\
		_exit(0);						\
	}								\
	waitpid(__pid, &__status, 0);					\
	WIFEXITED(__status) ? WEXITSTATUS(__status) :			\
		128 + WTERMSIG(__status);				\
})

TEST_F(ring, fork_child_has_no_ring)
{
	ASSERT_EQ(2, make(2));
	EXPECT_EQ(128 + SIGSEGV, IN_CHILD(_exit(self->ring->tail)));
	EXPECT_EQ(128 + SIGSEGV, IN_CHILD(self->ring->head = 1));
	EXPECT_EQ(0, IN_CHILD(_exit(aio_maps(0, NULL))));
	EXPECT_EQ(2, aio_reap(self->ctx, self->got, NR));
}

TEST_F(ring, fork_child_has_no_context)
{
	long long before = aio_nr();

	EXPECT_EQ(0, IN_CHILD(_exit(!unknown(self->ctx, self->null_fd))));
	/* Its mremap() does no harm either. */
	EXPECT_EQ(0, IN_CHILD({
		void *to = place(self->size);

		if (mremap((void *)self->ctx, self->size, self->size,
			   MREMAP_MAYMOVE | MREMAP_FIXED, to) != MAP_FAILED)
			_exit(1);
	}));
	/* It can have contexts of its own, which end with it. */
	EXPECT_EQ(0, IN_CHILD({
		aio_context_t own = 0;

		if (io_setup(NR, &own) || !works(own, self->null_fd))
			_exit(1);
		_exit(aio_nr() != before + NR);
	}));
	EXPECT_EQ(before, aio_nr());
	EXPECT_RING_IN_PLACE();
}

/* The child is there while the parent's context goes. */
TEST_F(ring, fork_and_destroy)
{
	int to_child[2], status = -1;
	char c;
	pid_t pid;

	ASSERT_EQ(0, pipe(to_child));
	pid = fork();
	if (!pid) {
		if (read(to_child[0], &c, 1) != 1)
			_exit(1);
		_exit(!unknown(self->ctx, self->null_fd));
	}
	ASSERT_EQ(2, make(2));
	EXPECT_EQ(0, io_destroy(self->ctx));
	ASSERT_EQ(1, write(to_child[1], "x", 1));
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
}

/* What main() does when it is started by the test below. */
static int after_exec(char **argv)
{
	long long nr = strtoll(argv[2], NULL, 0);
	aio_context_t ctx = strtoul(argv[3], NULL, 0);

	/* Its ring is gone, with what it counted for. */
	if (aio_maps(0, NULL) || aio_nr() != nr)
		return 1;
	return !unknown(ctx, open("/dev/null", O_WRONLY));
}

TEST_F(ring, execve)
{
	char nr[32], ctx[32];

	snprintf(nr, sizeof(nr), "%lld", aio_nr());
	EXPECT_EQ(0, IN_CHILD({
		aio_context_t own = 0;

		if (io_setup(NR, &own) || !works(own, self->null_fd))
			_exit(2);
		snprintf(ctx, sizeof(ctx), "%#lx", (unsigned long)own);
		execl("/proc/self/exe", "ring", "after-exec", nr, ctx, NULL);
		_exit(3);
	}));
}

/* ------------------------------------------------------ CRIU */

/* What the dump looks at: a file without type that cannot be opened. */
TEST_F(ring, criu_detection)
{
	char path[64];
	struct stat st;

	snprintf(path, sizeof(path), "/proc/self/map_files/%lx-%lx",
		 (unsigned long)self->ctx,
		 (unsigned long)self->ctx + (unsigned long)self->size);
	if (stat(path, &st))
		SKIP(return, "no access to /proc/self/map_files");
	EXPECT_EQ(0, st.st_mode & S_IFMT);
	EXPECT_EQ(0600, st.st_mode & 07777);
	EXPECT_EQ(-1, open(path, O_RDWR));
	EXPECT_EQ(ENXIO, errno);
	/* The number of requests follows from the size of the ring. */
	EXPECT_EQ((self->size - AIO_RING_HEADER) / AIO_EVENT_SIZE, self->nr);
}

/* criu check --feature aio_remap */
TEST(criu_check)
{
	aio_context_t ctx = 0;
	struct io_event event;
	struct aio_vma vma;
	void *to;

	ASSERT_EQ(0, io_setup(16, &ctx));
	ASSERT_EQ(1, aio_maps(ctx, &vma));
	EXPECT_STREQ("/[aio] (deleted)", vma.name);
	to = place(vma.end - vma.start);
	ASSERT_EQ(to, mremap((void *)ctx, vma.end - vma.start,
			     vma.end - vma.start, MREMAP_FIXED | MREMAP_MAYMOVE,
			     to));
	EXPECT_EQ(0, aio_reap((aio_context_t)to, &event, 1));
}

/*
 * The steps of a restore, for a ring with some events in it, for one whose
 * tail has gone round and is below head, for an empty one, and a nearly full
 * one: the ring ends up at the old address with the old contents, and goes on.
 */
static long restore(aio_context_t old, size_t size, const void *image,
		    int null_fd)
{
	const struct aio_ring *saved = image;
	unsigned int nr_req = (size / getpagesize() * getpagesize() -
			       AIO_RING_HEADER) / AIO_EVENT_SIZE;
	volatile struct aio_ring *ring;
	aio_context_t ctx = 0;
	__u32 count;

	nr_req = (nr_req - 2) / 2;
	if (io_setup(nr_req, &ctx))
		return 1;
	ring = aio_ring(ctx);
	if (ring->nr != saved->nr || saved->head >= ring->nr ||
	    saved->tail >= ring->nr)
		return 2;
	if (saved->head || saved->tail) {
		struct iocb iocb, *list[4096];
		__u32 i, done = 0;

		count = saved->tail;
		if (saved->tail < saved->head)
			count += ring->nr;
		aio_prep(&iocb, IOCB_CMD_PWRITE, null_fd, "x", 1, 0);
		for (i = 0; i < count; i++)
			list[i] = &iocb;
		while (done < count) {
			long ret = io_submit(ctx, count - done, list);

			if (ret <= 0)
				return 3;
			done += ret;
			ring->head = done < saved->head ? done : saved->head;
		}
		if (ring->tail != saved->tail)
			return 4;
	}
	memcpy((void *)(ctx + AIO_RING_HEADER),
	       (const char *)image + AIO_RING_HEADER, size - AIO_RING_HEADER);
	if (mremap((void *)ctx, size, size, MREMAP_FIXED | MREMAP_MAYMOVE,
		   (void *)old) != (void *)old)
		return 5;
	return 0;
}

TEST(criu_restore)
{
	/* How many events were made and taken before the dump. */
	struct { long made; long taken; } c[] = {
		{ 0, 0 }, { 5, 0 }, { 9, 4 }, { 30, 30 }, { 100, 40 },
		{ 120, 100 }, { 130, 100 }, { 200, 120 }, { 253, 253 },
		{ 260, 250 }, { 64, 0 },
	};
	struct io_event got[256];
	int null_fd = open("/dev/null", O_WRONLY);
	size_t i;

	for (i = 0; i < ARRAY_SIZE(c); i++) {
		aio_context_t ctx = 0;
		__u64 next = 0;
		struct aio_vma vma;
		size_t size;
		char *image;
		long n, left = c[i].made - c[i].taken;

		ASSERT_EQ(0, io_setup(62, &ctx));
		for (n = 0; n < c[i].made; n++) {
			ASSERT_EQ(1, make_in(ctx, null_fd, &next, 1));
			if (n < c[i].taken)
				ASSERT_EQ(1, aio_reap(ctx, got, 1));
		}
		ASSERT_EQ(1, aio_maps(ctx, &vma));
		size = vma.end - vma.start;
		image = malloc(size);
		memcpy(image, (void *)ctx, size);
		ASSERT_EQ(0, io_destroy(ctx));

		ASSERT_EQ((void *)ctx,
			  mmap((void *)ctx, size, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
		ASSERT_EQ(0, restore(ctx, size, image, null_fd))
			TH_LOG("with %ld made and %ld taken", c[i].made,
			       c[i].taken);
		/* The same contents; what was waiting is waiting. */
		EXPECT_EQ(0, memcmp((void *)ctx, image, size));
		EXPECT_EQ(1, make_in(ctx, null_fd, &next, 1));
		EXPECT_EQ(left + 1, aio_reap(ctx, got, 256));
		for (n = 0; n <= left; n++)
			EXPECT_EQ(c[i].taken + n, got[n].data);
		EXPECT_TRUE(works(ctx, null_fd));
		EXPECT_EQ(0, io_destroy(ctx));
		free(image);
	}
}

int main(int argc, char **argv)
{
	if (argc == 4 && !strcmp(argv[1], "after-exec"))
		return after_exec(argv);
	return test_harness_run(argc, argv);
}
