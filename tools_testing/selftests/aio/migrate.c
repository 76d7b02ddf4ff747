// SPDX-License-Identifier: GPL-2.0
/*
 * Migration of the pages of rings.
 *
 * Held here: memory compaction can move the pages of a ring while requests
 * complete and events are taken out, and no event is lost, changed or seen
 * twice. The physical addresses tell whether pages were moved.
 */
#include <sys/mman.h>

#include "../kselftest_harness.h"
#include "aio_test.h"

#define CONTEXTS	32
#define NR		500	/* several pages each */
/* At least; more until a page was moved. */
#define ROUNDS		(aio_long() ? 8 : 2)
#define MOST_ROUNDS	32
#define BATCH		50

static unsigned long long page_frame(int pagemap, unsigned long addr)
{
	unsigned long long entry;
	off_t offset = addr / getpagesize() * sizeof(entry);

	if (pread(pagemap, &entry, sizeof(entry), offset) != sizeof(entry))
		return 0;
	/* Bit 63: present. The frame is hidden from those who may not see it. */
	return entry >> 63 ? entry & ((1ULL << 55) - 1) : 0;
}

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
	int null_fd;
	volatile bool stop;
	volatile long errors;
	volatile long events;
};

/* Submits and reaps on all contexts in turn; all data are running numbers. */
static void *work(void *arg)
{
	struct iocb iocb[BATCH], *list[BATCH];
	struct io_event events[BATCH];
	struct worker *w = arg;
	__u64 next = 1;
	int c, i;

	while (!w->stop) {
		for (c = 0; c < CONTEXTS; c++) {
			__u64 first = next;

			for (i = 0; i < BATCH; i++) {
				aio_prep(&iocb[i], IOCB_CMD_PWRITE, w->null_fd,
					 "x", 1, 0);
				iocb[i].aio_data = next++;
				list[i] = &iocb[i];
			}
			if (io_submit(w->ctx[c], BATCH, list) != BATCH ||
			    io_getevents(w->ctx[c], BATCH, BATCH, events,
					 NULL) != BATCH) {
				w->errors++;
				return NULL;
			}
			for (i = 0; i < BATCH; i++)
				if (events[i].data != first + i ||
				    events[i].obj != (unsigned long)&iocb[i] ||
				    events[i].res != 1 || events[i].res2)
					w->errors++;
			w->events += BATCH;
		}
	}
	return NULL;
}

FIXTURE(rings) {
	aio_context_t ctx[CONTEXTS];
};

FIXTURE_SETUP(rings)
{
	int c;

	for (c = 0; c < CONTEXTS; c++)
		ASSERT_EQ(0, io_setup(NR, &self->ctx[c]));
}

FIXTURE_TEARDOWN(rings)
{
}

TEST_F_TIMEOUT(rings, compaction_moves_rings_in_use, 800)
{
	unsigned int pages = aio_ring_bytes(NR) / getpagesize(), p;
	aio_context_t *ctx = self->ctx;
	struct worker worker = { .ctx = ctx };
	unsigned long long *frame;
	int pagemap, c, round, moved = 0;
	long seen;
	pthread_t thread;

	pagemap = open("/proc/self/pagemap", O_RDONLY);
	if (pagemap < 0 || access("/proc/sys/vm/compact_memory", W_OK))
		SKIP(return, "no pagemap, or no compaction");
	worker.null_fd = open("/dev/null", O_WRONLY);
	ASSERT_GE(worker.null_fd, 0);
	fragment(0);
	frame = calloc(CONTEXTS * pages, sizeof(*frame));
	ASSERT_NE(NULL, frame);
	ASSERT_EQ(0, pthread_create(&thread, NULL, work, &worker));

	for (round = 0; round < MOST_ROUNDS; round++) {
		for (c = 0; c < CONTEXTS; c++)
			for (p = 0; p < pages; p++) {
				unsigned long addr = ctx[c] + p * getpagesize();
				unsigned long long now;

				/* Map it. */
				(void)*(volatile char *)addr;
				now = page_frame(pagemap, addr);
				if (round && now && frame[c * pages + p] &&
				    now != frame[c * pages + p])
					moved++;
				frame[c * pages + p] = now;
			}
		if (moved && round + 1 >= ROUNDS)
			break;
		fragment(round + 1);
		ASSERT_EQ(0, aio_write_text("/proc/sys/vm/compact_memory", "1"));
	}
	/* All of them are used once more, where they are now. */
	seen = worker.events;
	while (!worker.errors && worker.events < seen + 2 * CONTEXTS * BATCH)
		aio_sleep_ms(1);
	worker.stop = true;
	pthread_join(thread, NULL);

	EXPECT_EQ(0, worker.errors);
	EXPECT_GT(worker.events, 0);
	for (c = 0; c < CONTEXTS; c++)
		EXPECT_EQ(0, io_destroy(ctx[c]));
	TH_LOG("%d times a page was moved, %ld events", moved, worker.events);
	if (!moved)
		SKIP(return, "no page of a ring was moved");
}

TEST_HARNESS_MAIN
