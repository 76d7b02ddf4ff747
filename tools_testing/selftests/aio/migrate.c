// SPDX-License-Identifier: GPL-2.0
/*
 * Migration of the pages of rings, of contexts of io_setup() and of io_setup2().
 *
 * Held here: memory compaction can move the pages of a ring while requests
 * complete and events are taken out, and no event is lost, changed or seen
 * twice. The physical addresses tell whether pages were moved.
 */
#include <sys/mman.h>

#include "../kselftest_harness.h"
#include "aio_ext_test.h"

#define CONTEXTS	32
#define NR		500	/* several pages each */
/* At least; more until a page was moved. */
#define ROUNDS		(aio_long() ? 8 : 2)
#define MOST_ROUNDS	32
#define BATCH		50

/*
 * Leaves free pages between used ones, so that there is something to compact,
 * other ones each time.
 */
static void fragment(int round)
{
	static const size_t size = 64UL << 20;
	size_t page = getpagesize(), i;
	static char *mem;

	if (mem)
		munmap(mem, size);
	mem = mmap(NULL, size, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (mem == MAP_FAILED) {
		mem = NULL;
		return;
	}
	madvise(mem, size, MADV_NOHUGEPAGE);
	for (i = 0; i < size; i += page)
		mem[i] = 1;
	for (i = round % 2 * page; i < size; i += 2 * page)
		madvise(mem + i, page, MADV_DONTNEED);
}

struct worker {
	aio_context_t *ctx;
	struct iocb *iocbs;
	unsigned int flags;
	/* /dev/null, or a disk that can be polled. */
	int fd;
	char *buf;
	volatile bool hold;
	volatile bool stop;
	volatile long errors;
	volatile long events;
};

/* Request @i of a batch, and what it is called by. */
static unsigned long prepare(struct worker *w, int i, __u64 data)
{
	struct iocb *iocb = &w->iocbs[i];
	size_t page = getpagesize();

	/* Apart, so that each is a request of its own. */
	if (w->flags & IOPOLL)
		aio_prep(iocb, IOCB_CMD_PREAD, w->fd, w->buf, page, 2 * i * page);
	else
		aio_prep(iocb, IOCB_CMD_PWRITE, w->fd, w->buf, 1, 0);
	iocb->aio_data = data;
	return w->flags & USERIOCB ? i : (unsigned long)iocb;
}

/* The events of a batch: each once. In order, but for those that are polled for. */
static void check(struct worker *w, const struct io_event *events,
		  const unsigned long *names, __u64 first)
{
	__s64 want = w->flags & IOPOLL ? getpagesize() : 1;
	bool seen[BATCH] = { };
	int i;

	for (i = 0; i < BATCH; i++) {
		__u64 at = events[i].data - first;

		if (at >= BATCH || seen[at] || (!(w->flags & IOPOLL) && at != i) ||
		    events[i].obj != names[at] || events[i].res != want || events[i].res2) {
			w->errors++;
			continue;
		}
		seen[at] = true;
	}
}

/* Submits and reaps on all contexts in turn; all data are running numbers. */
static void *work(void *arg)
{
	struct io_event events[BATCH];
	unsigned long names[BATCH];
	struct worker *w = arg;
	__u64 next = 1;
	int c, i;

	while (!w->stop) {
		for (c = 0; c < CONTEXTS; c++) {
			__u64 first = next;

			while (w->hold)
				aio_sleep_ms(1);
			for (i = 0; i < BATCH; i++)
				names[i] = prepare(w, i, next++);
			if (aio_submit_indices(w->ctx[c], BATCH, names) != BATCH ||
			    io_getevents(w->ctx[c], BATCH, BATCH, events,
					 NULL) != BATCH) {
				w->errors++;
				return NULL;
			}
			check(w, events, names, first);
			w->events += BATCH;
		}
	}
	return NULL;
}

FIXTURE(rings) {
	aio_context_t ctx[CONTEXTS];
	struct aio_slow_disk disk;
	struct worker worker;
};

FIXTURE_VARIANT(rings) {
	unsigned int flags;
};

FIXTURE_VARIANT_ADD(rings, plain) { };
FIXTURE_VARIANT_ADD(rings, useriocb) { .flags = USERIOCB };
FIXTURE_VARIANT_ADD(rings, fixedbufs) { .flags = USERIOCB | FIXEDBUFS };
FIXTURE_VARIANT_ADD(rings, iopoll) { .flags = IOPOLL };

FIXTURE_SETUP(rings)
{
	struct worker *w = &self->worker;
	unsigned int flags = variant->flags;
	const char *dev = "/dev/null";
	long ret;
	int c, i;

	if (flags)
		NEED_SETUP2();
	if (flags & IOPOLL) {
		if (!aio_poll_disk_make(&self->disk, 4 * BATCH))
			SKIP(return, "no null_blk disk (needs root and configfs)");
		dev = self->disk.dev;
	}
	w->fd = open(dev, flags & IOPOLL ? O_RDONLY | O_DIRECT : O_WRONLY);
	ASSERT_LE(0, w->fd);
	w->ctx = self->ctx;
	w->flags = flags;
	w->iocbs = aio_iocbs(NR);
	w->buf = aio_pages(getpagesize(), PROT_READ | PROT_WRITE);
	for (i = 0; i < NR; i++)
		prepare(w, i, 0);
	for (c = 0; c < CONTEXTS; c++) {
		if (flags)
			ret = io_setup2(NR, flags, flags & USERIOCB ? w->iocbs : NULL,
					&self->ctx[c]);
		else
			ret = io_setup(NR, &self->ctx[c]);
		ASSERT_EQ(0, ret);
	}
}

FIXTURE_TEARDOWN(rings)
{
	close(self->worker.fd);
	aio_slow_disk_remove(&self->disk);
}

TEST_F_TIMEOUT(rings, compaction_moves_rings_in_use, 800)
{
	unsigned int pages = aio_ring_bytes(NR) / getpagesize(), p;
	struct worker *worker = &self->worker;
	aio_context_t *ctx = self->ctx;
	unsigned long long *frame;
	int pagemap, c, round, moved = 0;
	long seen;
	pthread_t thread;

	pagemap = open("/proc/self/pagemap", O_RDONLY);
	if (pagemap < 0 || access("/proc/sys/vm/compact_memory", W_OK))
		SKIP(return, "no pagemap, or no compaction");
	fragment(0);
	frame = calloc(CONTEXTS * pages, sizeof(*frame));
	ASSERT_NE(NULL, frame);
	ASSERT_EQ(0, pthread_create(&thread, NULL, work, worker));

	for (round = 0; round < MOST_ROUNDS; round++) {
		for (c = 0; c < CONTEXTS; c++)
			for (p = 0; p < pages; p++) {
				unsigned long addr = ctx[c] + p * getpagesize();
				unsigned long long now;

				/* Map it. */
				(void)*(volatile char *)addr;
				now = aio_page_frame(pagemap, addr);
				if (round && now && frame[c * pages + p] &&
				    now != frame[c * pages + p])
					moved++;
				frame[c * pages + p] = now;
			}
		if (moved && round + 1 >= ROUNDS)
			break;
		/* On one processor that takes long otherwise. */
		worker->hold = true;
		fragment(round + 1);
		worker->hold = false;
		ASSERT_EQ(0, aio_write_text("/proc/sys/vm/compact_memory", "1"));
	}
	/* All of them are used once more, where they are now. */
	seen = worker->events;
	while (!worker->errors && worker->events < seen + 2 * CONTEXTS * BATCH)
		aio_sleep_ms(1);
	worker->stop = true;
	pthread_join(thread, NULL);

	EXPECT_EQ(0, worker->errors);
	EXPECT_GT(worker->events, 0);
	for (c = 0; c < CONTEXTS; c++)
		EXPECT_EQ(0, io_destroy(ctx[c]));
	TH_LOG("%d times a page was moved, %ld events", moved, worker->events);
	if (!moved)
		SKIP(return, "no page of a ring was moved");
}

TEST_HARNESS_MAIN
