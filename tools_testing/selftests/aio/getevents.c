// SPDX-License-Identifier: GPL-2.0
/*
 * io_getevents().
 *
 * Held here: which argument error wins, that events come in the order of their
 * completion and each just once, min_nr and nr, the meaning of timeouts, what a
 * caller that waits is woken by, that several callers may wait for different
 * numbers, that events already taken beat errors, signals and timeouts, and
 * that an event which could not be stored is still there.
 */
#include "../kselftest_harness.h"
#include "aio_test.h"

#define NR	64

FIXTURE(events) {
	aio_context_t ctx;
	int null_fd;
	__u64 next;
	struct io_event got[NR];
};

FIXTURE_SETUP(events)
{
	ASSERT_EQ(0, io_setup(NR, &self->ctx));
	self->null_fd = open("/dev/null", O_WRONLY);
	ASSERT_GE(self->null_fd, 0);
}

FIXTURE_TEARDOWN(events)
{
}

/* Makes @n events, whose data are running numbers, in one system call. */
static long make_in(aio_context_t ctx, int null_fd, __u64 *next, int n)
{
	struct iocb iocb[NR], *list[NR];
	int i;

	for (i = 0; i < n; i++) {
		aio_prep(&iocb[i], IOCB_CMD_PWRITE, null_fd, "x", 1, 0);
		iocb[i].aio_data = (*next)++;
		list[i] = &iocb[i];
	}
	return io_submit(ctx, n, list);
}

#define make(n)	make_in(self->ctx, self->null_fd, &self->next, n)

/* Do @events hold the running numbers from @first on? */
static bool numbered(const struct io_event *events, int n, __u64 first)
{
	int i;

	for (i = 0; i < n; i++)
		if (events[i].data != first + i || events[i].res != 1 ||
		    events[i].res2)
			return false;
	return true;
}

#define NS(ns)	(&(struct timespec){ .tv_nsec = (ns) })
#define MS(ms)	(&(struct timespec){ (ms) / 1000, (ms) % 1000 * 1000000L })

/* ------------------------------------------------------ arguments */

TEST_F(events, bad_context)
{
	aio_context_t gone = 0;
	__u32 fake[8] = { 0 };

	ASSERT_EQ(0, io_setup(1, &gone));
	ASSERT_EQ(0, io_destroy(gone));
	EXPECT_EQ(-EINVAL, io_getevents(0, 0, 1, self->got, NS(0)));
	EXPECT_EQ(-EINVAL, io_getevents(gone, 0, 1, self->got, NS(0)));
	EXPECT_EQ(-EINVAL, io_getevents(self->ctx + 4096 * 64, 0, 1, self->got,
					NS(0)));
	EXPECT_EQ(-EINVAL, io_getevents((aio_context_t)fake, 0, 1, self->got,
					NS(0)));
	EXPECT_EQ(-EINVAL, io_getevents(-1, 0, 1, self->got, NS(0)));
	/* It does not wait for a context that is not there. */
	EXPECT_EQ(-EINVAL, io_getevents(gone, 1, 1, self->got, NULL));
	EXPECT_EQ(-EINVAL, io_getevents(gone, 0, 0, NULL, NULL));
}

TEST_F(events, bad_numbers)
{
	struct { long min_nr; long nr; } bad[] = {
		{ 2, 1 }, { 1, 0 }, { -1, 1 }, { -1, -1 }, { 0, -1 },
		{ LONG_MIN, 1 }, { LONG_MAX, 1 }, { LONG_MIN, LONG_MIN },
		{ 1, LONG_MIN },
	};
	size_t i;

	ASSERT_EQ(4, make(4));
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		EXPECT_EQ(-EINVAL, io_getevents(self->ctx, bad[i].min_nr,
						bad[i].nr, self->got, NS(0)));
		EXPECT_EQ(-EINVAL, io_getevents(self->ctx, bad[i].min_nr,
						bad[i].nr, self->got, NULL));
	}
	/* Nothing was taken. */
	EXPECT_EQ(4, aio_reap(self->ctx, self->got, NR));
	EXPECT_TRUE(numbered(self->got, 4, 0));
}

/* A timeout that cannot be read is told before anything else. */
TEST_F(events, bad_timeout_pointer)
{
	char *edge = aio_guarded(sizeof(struct timespec) / 2);
	struct timespec *bad[] = {
		(void *)1, aio_unmapped(), (void *)edge, (void *)-4096L,
	};
	size_t i;

	ASSERT_EQ(1, make(1));
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		EXPECT_EQ(-EFAULT, io_getevents(self->ctx, 0, 1, self->got,
						bad[i]));
		EXPECT_EQ(-EFAULT, io_getevents(self->ctx, 2, 1, self->got,
						bad[i]));
		EXPECT_EQ(-EFAULT, io_getevents(self->ctx, 0, 0, NULL, bad[i]));
		EXPECT_EQ(-EFAULT, io_getevents(0, 0, 1, self->got, bad[i]));
		EXPECT_EQ(-EFAULT, io_getevents(0, 2, 1, NULL, bad[i]));
	}
	EXPECT_EQ(1, aio_reap(self->ctx, self->got, NR));
}

/* Asking for nothing: never waits, touches nothing. Used as a probe. */
TEST_F(events, ask_for_nothing)
{
	EXPECT_EQ(0, io_getevents(self->ctx, 0, 0, NULL, NULL));
	EXPECT_EQ(0, io_getevents(self->ctx, 0, 0, NULL, MS(10000)));
	EXPECT_EQ(0, io_getevents(self->ctx, 0, 5, NULL, NULL));
	ASSERT_EQ(2, make(2));
	EXPECT_EQ(0, io_getevents(self->ctx, 0, 0, NULL, NULL));
	EXPECT_EQ(0, io_getevents(self->ctx, 0, 0, NULL, NS(0)));
	EXPECT_EQ(2, aio_reap(self->ctx, self->got, NR));
}

/* ------------------------------------------------------ taking events */

TEST_F(events, number_and_order)
{
	ASSERT_EQ(10, make(10));
	EXPECT_EQ(1, io_getevents(self->ctx, 0, 1, self->got, NS(0)));
	EXPECT_TRUE(numbered(self->got, 1, 0));
	EXPECT_EQ(3, io_getevents(self->ctx, 3, 3, self->got, NULL));
	EXPECT_TRUE(numbered(self->got, 3, 1));
	/* More than the least number, when they are there. */
	EXPECT_EQ(4, io_getevents(self->ctx, 1, 4, self->got, NULL));
	EXPECT_TRUE(numbered(self->got, 4, 4));
	EXPECT_EQ(2, io_getevents(self->ctx, 2, NR, self->got, NULL));
	EXPECT_TRUE(numbered(self->got, 2, 8));
	EXPECT_EQ(0, io_getevents(self->ctx, 0, NR, self->got, NS(0)));
	EXPECT_EQ(0, io_getevents(self->ctx, 0, NR, self->got, NULL));
	/* More than a ring can ever have may be asked for. */
	ASSERT_EQ(1, make(1));
	EXPECT_EQ(1, io_getevents(self->ctx, 0, LONG_MAX, self->got, NULL));
	EXPECT_TRUE(numbered(self->got, 1, 10));
}

/* Beyond the last event nothing of the caller's array is written. */
TEST_F(events, array_beyond_is_untouched)
{
	unsigned char *p = (unsigned char *)&self->got[3];
	size_t i;

	memset(self->got, 0xa5, sizeof(self->got));
	ASSERT_EQ(3, make(3));
	EXPECT_EQ(3, io_getevents(self->ctx, 0, NR, self->got, NS(0)));
	for (i = 0; i < sizeof(self->got) - 3 * sizeof(self->got[0]); i++)
		if (p[i] != 0xa5)
			break;
	EXPECT_EQ(sizeof(self->got) - 3 * sizeof(self->got[0]), i);
}

/*
 * Many times round the ring, in steps that meet its end and the ends of its
 * pages in every way; the ring has several pages.
 */
TEST(wrap_around)
{
	struct io_event got[NR];
	__u64 next = 0, seen = 0;
	aio_context_t ctx = 0;
	int null_fd = open("/dev/null", O_WRONLY);
	__u32 nr;
	int step;

	ASSERT_EQ(0, io_setup(300, &ctx));
	nr = aio_ring(ctx)->nr;
	ASSERT_GT(nr, 600);
	for (step = 1; step <= NR; step += 7) {
		__u64 end = next + 2 * nr;

		while (next < end) {
			long half = step / 2;

			ASSERT_EQ(step, make_in(ctx, null_fd, &next, step));
			/* In two portions, the second as one by one. */
			ASSERT_EQ(half, io_getevents(ctx, half, half, got,
						     NULL));
			ASSERT_TRUE(numbered(got, half, seen));
			seen += half;
			ASSERT_EQ(step - half, aio_reap(ctx, got, NR));
			ASSERT_TRUE(numbered(got, step - half, seen));
			seen += step - half;
			ASSERT_EQ(next % nr, aio_ring(ctx)->tail);
			ASSERT_EQ(next % nr, aio_ring(ctx)->head);
		}
	}
	EXPECT_EQ(0, aio_reap(ctx, got, NR));
}

/* A full ring is taken out by one call, also when it is split by the end. */
TEST_F(events, whole_ring_at_once)
{
	__u32 nr = aio_ring(self->ctx)->nr, i;
	struct io_event *all = calloc(nr, sizeof(*all));
	int round;

	for (round = 0; round < 5; round++) {
		__u64 first = self->next;

		while (make(1) == 1)
			;
		/* The last one was not taken. */
		self->next--;
		EXPECT_EQ(self->next - first, aio_reap(self->ctx, all, nr));
		for (i = 0; i < self->next - first; i++)
			if (!numbered(&all[i], 1, first + i))
				break;
		EXPECT_EQ(self->next - first, i);
	}
}

/* ------------------------------------------------------ an array that faults */

/* The events that could not be stored stay in the ring. */
TEST_F(events, array_faults)
{
	struct io_event *edge = aio_guarded(2 * sizeof(*edge));
	struct io_event *ro = aio_pages(getpagesize(), PROT_READ);

	/* Without events it is not looked at. */
	EXPECT_EQ(0, io_getevents(self->ctx, 0, 4, NULL, NS(0)));
	EXPECT_EQ(0, io_getevents(self->ctx, 1, 4, ro, MS(1)));
	ASSERT_EQ(4, make(4));
	EXPECT_EQ(-EFAULT, io_getevents(self->ctx, 0, 4, NULL, NS(0)));
	EXPECT_EQ(-EFAULT, io_getevents(self->ctx, 1, 1, NULL, NULL));
	EXPECT_EQ(-EFAULT, io_getevents(self->ctx, 1, 1, ro, NULL));
	EXPECT_EQ(-EFAULT, io_getevents(self->ctx, 1, 1, (void *)-4096L, NULL));
	/* Room for two of four: all or nothing. */
	EXPECT_EQ(-EFAULT, io_getevents(self->ctx, 0, 4, edge, NS(0)));
	EXPECT_EQ(-EFAULT, io_getevents(self->ctx, 3, 4, edge, NULL));
	EXPECT_EQ(0, aio_ring(self->ctx)->head);
	EXPECT_EQ(2, io_getevents(self->ctx, 2, 2, edge, NULL));
	EXPECT_TRUE(numbered(edge, 2, 0));
	EXPECT_EQ(2, aio_reap(self->ctx, self->got, NR));
	EXPECT_TRUE(numbered(self->got, 2, 2));
}

/*
 * The same when the first part has already been copied because the ring's end
 * splits the events in two portions.
 */
TEST_F(events, array_faults_in_second_portion)
{
	struct io_event *edge = aio_guarded(5 * sizeof(*edge));
	__u32 nr = aio_ring(self->ctx)->nr;
	__u64 first;

	/* Go to four before the end. */
	while (aio_ring(self->ctx)->tail != nr - 4) {
		ASSERT_EQ(1, make(1));
		ASSERT_EQ(1, aio_reap(self->ctx, self->got, 1));
	}
	first = self->next;
	ASSERT_EQ(8, make(8));
	EXPECT_EQ(-EFAULT, io_getevents(self->ctx, 0, 8, edge, NS(0)));
	EXPECT_EQ(nr - 4, aio_ring(self->ctx)->head);
	EXPECT_EQ(5, io_getevents(self->ctx, 0, 5, edge, NS(0)));
	EXPECT_TRUE(numbered(edge, 5, first));
	EXPECT_EQ(3, aio_reap(self->ctx, self->got, NR));
	EXPECT_TRUE(numbered(self->got, 3, first + 5));
}

/* What has been stored is told, the fault of a later one is not. */
TEST_F(events, array_faults_while_waiting)
{
	struct aio_caller reader = {
		.ctx = self->ctx, .min_nr = 2, .nr = 2,
		.events = aio_guarded(sizeof(struct io_event)),
	};

	ASSERT_EQ(1, make(1));
	ASSERT_TRUE(aio_start_blocked(&reader, aio_getevents_thread,
				      __NR_io_getevents));
	ASSERT_EQ(1, make(1));
	EXPECT_EQ(1, aio_join(&reader));
	EXPECT_TRUE(numbered(reader.events, 1, 0));
	EXPECT_EQ(1, aio_reap(self->ctx, self->got, NR));
	EXPECT_TRUE(numbered(self->got, 1, 1));
}

/* ------------------------------------------------------ timeouts */

TEST_F(events, zero_timeout)
{
	EXPECT_EQ(0, io_getevents(self->ctx, 1, 1, self->got, NS(0)));
	EXPECT_EQ(0, io_getevents(self->ctx, NR, NR, self->got, NS(0)));
	EXPECT_EQ(0, io_getevents(self->ctx, LONG_MAX, LONG_MAX, self->got, NS(0)));
	ASSERT_EQ(3, make(3));
	/* Fewer than the least number. */
	EXPECT_EQ(3, io_getevents(self->ctx, 5, NR, self->got, NS(0)));
	EXPECT_TRUE(numbered(self->got, 3, 0));
}

TEST_F(events, timeout_elapses)
{
	long long ns[] = { 1, 1000000, 30000000 };
	long long start;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(ns); i++) {
		start = aio_now_ns();
		EXPECT_EQ(0, io_getevents(self->ctx, 1, 1, self->got,
					  NS(ns[i])));
		EXPECT_GE(aio_now_ns() - start, ns[i]);
	}
	/* What came in the meantime is told. */
	ASSERT_EQ(3, make(3));
	start = aio_now_ns();
	EXPECT_EQ(3, io_getevents(self->ctx, 4, 4, self->got, MS(100)));
	EXPECT_GE(aio_now_ns() - start, 100000000);
	EXPECT_TRUE(numbered(self->got, 3, 0));
	EXPECT_EQ(0, aio_reap(self->ctx, self->got, NR));
}

/* The caller's timespec is only read. */
TEST_F(events, timeout_is_not_written)
{
	struct timespec *ts = aio_pages(getpagesize(), PROT_READ | PROT_WRITE);

	*ts = *MS(20);
	ASSERT_EQ(0, mprotect(ts, getpagesize(), PROT_READ));
	EXPECT_EQ(0, io_getevents(self->ctx, 1, 1, self->got, ts));
	EXPECT_EQ(20000000, ts->tv_nsec);
}

/*
 * Fields out of range are not refused: they are added up, and what is negative
 * then is never reached.
 */
TEST_F(events, odd_timeouts)
{
	struct timespec never[] = {
		{ -1, 0 }, { 0, -1 }, { -100, 999999999 },
		{ LONG_MAX, 0 }, { LONG_MAX, 999999999 }, { LONG_MAX / 2, 0 },
	};
	struct timespec odd = { -1, 1100000000 };
	long long start = aio_now_ns();
	size_t i;

	if (sizeof(long) < 8)
		SKIP(return, "64-bit programs only");
	EXPECT_EQ(0, io_getevents(self->ctx, 1, 1, self->got, &odd));
	EXPECT_GE(aio_now_ns() - start, 100000000);
	for (i = 0; i < ARRAY_SIZE(never); i++) {
		struct aio_caller reader = {
			.ctx = self->ctx, .min_nr = 1, .nr = 1,
			.events = self->got, .timeout = &never[i],
		};

		ASSERT_TRUE(aio_start_blocked(&reader, aio_getevents_thread,
					      __NR_io_getevents))
			TH_LOG("timeout number %zu", i);
		ASSERT_EQ(1, make(1));
		EXPECT_EQ(1, aio_join(&reader));
	}
}

/* ------------------------------------------------------ waiting */

TEST_F(events, woken_by_completion)
{
	struct timespec *timeout[] = { NULL, MS(3600000) };
	int i;

	for (i = 0; i < 2; i++) {
		struct aio_caller reader = {
			.ctx = self->ctx, .min_nr = 1, .nr = NR,
			.events = self->got, .timeout = timeout[i],
		};

		ASSERT_TRUE(aio_start_blocked(&reader, aio_getevents_thread,
					      __NR_io_getevents));
		ASSERT_EQ(1, make(1));
		EXPECT_EQ(1, aio_join(&reader));
		EXPECT_TRUE(numbered(self->got, 1, i));
	}
}

/* Not before the least number is there, and then with all. */
TEST_F(events, waits_for_min_nr)
{
	struct aio_caller reader = {
		.ctx = self->ctx, .min_nr = 5, .nr = NR, .events = self->got,
	};
	int i;

	ASSERT_EQ(1, make(1));
	ASSERT_TRUE(aio_start_blocked(&reader, aio_getevents_thread,
				      __NR_io_getevents));
	for (i = 0; i < 3; i++) {
		ASSERT_EQ(1, make(1));
		aio_sleep_ms(20);
		EXPECT_FALSE(reader.done);
	}
	ASSERT_EQ(1, make(1));
	EXPECT_EQ(5, aio_join(&reader));
	EXPECT_TRUE(numbered(self->got, 5, 0));
}

/*
 * A reader sleeps until there are as many events as it wants; each that comes
 * before does not wake it, only to go to sleep again.
 */
TEST_F(events, sleeps_until_enough)
{
	struct aio_caller reader = {
		.ctx = self->ctx, .min_nr = 10, .nr = NR, .events = self->got,
	};
	long before;
	int i;

	ASSERT_TRUE(aio_start_blocked(&reader, aio_getevents_thread,
				      __NR_io_getevents));
	before = aio_sleeps(reader.tid);
	if (before < 0)
		SKIP(return, "the kernel does not count context switches");
	for (i = 0; i < 9; i++) {
		ASSERT_EQ(1, make(1));
		aio_sleep_ms(10);
		EXPECT_EQ(before, aio_sleeps(reader.tid));
	}
	ASSERT_EQ(1, make(1));
	EXPECT_EQ(10, aio_join(&reader));
	EXPECT_TRUE(numbered(self->got, 10, 0));
}

/* Two callers wait for different numbers; each gets what it waits for. */
TEST_F(events, waiters_for_different_numbers)
{
	struct io_event few[2], many[7];
	struct aio_caller a = {
		.ctx = self->ctx, .min_nr = 2, .nr = 2, .events = few,
	};
	struct aio_caller b = {
		.ctx = self->ctx, .min_nr = 7, .nr = 7, .events = many,
	};
	int order;

	for (order = 0; order < 2; order++) {
		struct aio_caller *first = order ? &a : &b;
		struct aio_caller *second = order ? &b : &a;
		__u64 start = self->next;

		ASSERT_TRUE(aio_start_blocked(first, aio_getevents_thread,
					      __NR_io_getevents));
		ASSERT_TRUE(aio_start_blocked(second, aio_getevents_thread,
					      __NR_io_getevents));
		ASSERT_EQ(2, make(2));
		EXPECT_EQ(2, aio_join(&a));
		EXPECT_TRUE(numbered(few, 2, start));
		EXPECT_FALSE(b.done);
		ASSERT_EQ(7, make(7));
		EXPECT_EQ(7, aio_join(&b));
		EXPECT_TRUE(numbered(many, 7, start + 2));
	}
}

/* Many callers for one event each, all served by one submission. */
TEST_F(events, many_waiters)
{
	struct aio_caller reader[12];
	struct io_event got[12];
	bool seen[12] = { 0 };
	int i;

	for (i = 0; i < 12; i++) {
		reader[i] = (struct aio_caller){
			.ctx = self->ctx, .min_nr = 1, .nr = 1,
			.events = &got[i],
		};
		ASSERT_TRUE(aio_start_blocked(&reader[i], aio_getevents_thread,
					      __NR_io_getevents));
	}
	ASSERT_EQ(12, make(12));
	for (i = 0; i < 12; i++) {
		EXPECT_EQ(1, aio_join(&reader[i]));
		ASSERT_LT(got[i].data, 12);
		EXPECT_FALSE(seen[got[i].data]);
		seen[got[i].data] = true;
	}
	EXPECT_EQ(0, aio_reap(self->ctx, got, 1));
}

/* Short timeouts that end while completions come: nothing lost or doubled. */
struct racer {
	aio_context_t ctx;
	volatile bool *stop;
	__u8 *seen;
	long bad;
	long sum;
};

#define RACE_EVENTS	20000

static void *race_reader(void *arg)
{
	struct racer *r = arg;
	struct io_event got[4];
	long ret, i;

	do {
		ret = io_getevents(r->ctx, 3, 4, got, NS(20000));
		for (i = 0; i < ret; i++) {
			if (got[i].data >= RACE_EVENTS ||
			    __atomic_exchange_n(&r->seen[got[i].data], 1,
						__ATOMIC_SEQ_CST))
				r->bad++;
			r->sum++;
		}
		r->bad += ret < 0;
	} while (!*r->stop || ret > 0);
	return NULL;
}

TEST_F(events, timeouts_race_completions)
{
	__u8 *seen = calloc(RACE_EVENTS, 1);
	volatile bool stop = false;
	struct racer racer[4];
	pthread_t thread[4];
	long sum = 0;
	int i;

	for (i = 0; i < 4; i++) {
		racer[i] = (struct racer){
			.ctx = self->ctx, .stop = &stop, .seen = seen,
		};
		ASSERT_EQ(0, pthread_create(&thread[i], NULL, race_reader,
					    &racer[i]));
	}
	while (self->next < RACE_EVENTS) {
		if (make(1) == 1)
			continue;
		/* Full: let the readers run. */
		self->next--;
		sched_yield();
	}
	stop = true;
	for (i = 0; i < 4; i++) {
		pthread_join(thread[i], NULL);
		EXPECT_EQ(0, racer[i].bad);
		sum += racer[i].sum;
	}
	sum += aio_drain(self->ctx);
	EXPECT_EQ(RACE_EVENTS, sum);
}

/* ------------------------------------------------------ signals */

static volatile sig_atomic_t usr1_count;

static void usr1_handler(int sig)
{
	usr1_count++;
}

TEST_F(events, signal)
{
	int flags[] = { 0, SA_RESTART };
	int i;

	for (i = 0; i < 2; i++) {
		struct sigaction sa = {
			.sa_handler = usr1_handler, .sa_flags = flags[i],
		};
		struct aio_caller reader = {
			.ctx = self->ctx, .min_nr = 3, .nr = NR,
			.events = self->got,
			.timeout = i ? MS(3600000) : NULL,
		};
		__u64 first = self->next;

		ASSERT_EQ(0, sigaction(SIGUSR1, &sa, NULL));
		usr1_count = 0;
		/* Nothing there: EINTR, whatever the handler asks for. */
		ASSERT_TRUE(aio_start_blocked(&reader, aio_getevents_thread,
					      __NR_io_getevents));
		pthread_kill(reader.thread, SIGUSR1);
		EXPECT_EQ(-EINTR, aio_join(&reader));
		EXPECT_EQ(1, usr1_count);
		/* Something, if not enough: the number. */
		ASSERT_EQ(2, make(2));
		ASSERT_TRUE(aio_start_blocked(&reader, aio_getevents_thread,
					      __NR_io_getevents));
		pthread_kill(reader.thread, SIGUSR1);
		EXPECT_EQ(2, aio_join(&reader));
		EXPECT_EQ(2, usr1_count);
		EXPECT_TRUE(numbered(self->got, 2, first));
		EXPECT_EQ(0, aio_reap(self->ctx, self->got, NR));
	}
}

/* Being stopped and continued ends the wait, too, without any handler. */
TEST_F(events, stopped)
{
	int status = -1;
	pid_t pid;
	int i;

	pid = fork();
	if (!pid) {
		aio_context_t ctx = 0;

		if (io_setup(1, &ctx))
			_exit(1);
		_exit(io_getevents(ctx, 1, 1, self->got, NULL) != -EINTR);
	}
	for (i = 0; i < 20000; i++) {
		if (aio_is_blocked(pid, pid, __NR_io_getevents))
			break;
		aio_sleep_ms(1);
	}
	ASSERT_EQ(0, kill(pid, SIGSTOP));
	ASSERT_EQ(pid, waitpid(pid, &status, WUNTRACED));
	ASSERT_TRUE(WIFSTOPPED(status));
	ASSERT_EQ(0, kill(pid, SIGCONT));
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
}

/* Signals that are blocked or ignored do not end the wait. */
TEST_F(events, signal_without_effect)
{
	struct aio_caller reader = {
		.ctx = self->ctx, .min_nr = 1, .nr = 1, .events = self->got,
	};
	sigset_t set;

	signal(SIGUSR1, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	ASSERT_EQ(0, sigprocmask(SIG_BLOCK, &set, NULL));
	ASSERT_TRUE(aio_start_blocked(&reader, aio_getevents_thread,
				      __NR_io_getevents));
	pthread_kill(reader.thread, SIGUSR1);
	pthread_kill(reader.thread, SIGUSR2);
	aio_sleep_ms(50);
	EXPECT_FALSE(reader.done);
	ASSERT_EQ(1, make(1));
	EXPECT_EQ(1, aio_join(&reader));
}

/* A reader that is gone does not keep others from being woken. */
TEST_F(events, reader_leaves)
{
	struct aio_caller reader = {
		.ctx = self->ctx, .min_nr = 1, .nr = 1, .events = self->got,
	};
	struct aio_caller leaver = {
		.ctx = self->ctx, .min_nr = 1, .nr = 1, .events = self->got,
		.timeout = MS(10),
	};

	ASSERT_EQ(0, pthread_create(&leaver.thread, NULL, aio_getevents_thread,
				    &leaver));
	ASSERT_TRUE(aio_start_blocked(&reader, aio_getevents_thread,
				      __NR_io_getevents));
	EXPECT_EQ(0, aio_join(&leaver));
	ASSERT_EQ(1, make(1));
	EXPECT_EQ(1, aio_join(&reader));
}

/*
 * A reader may wait for more events than the ring has room for, as long as
 * somebody goes on submitting. The C implementation lets both wait for ever
 * since 6.8.
 */
TEST_F(events, more_than_the_ring_holds)
{
	aio_context_t small = 0;
	long want, submitted = 0;
	struct aio_caller reader;
	struct iocb iocb;

	ASSERT_EQ(0, io_setup(1, &small));
	want = 2 * (long)aio_ring_nr(1);
	reader = (struct aio_caller) {
		.ctx = small, .min_nr = want, .nr = want,
		.events = calloc(want, sizeof(struct io_event)),
		.timeout = aio_is_rust() ? NULL : MS(5000),
	};
	ASSERT_NE(NULL, reader.events);
	ASSERT_TRUE(aio_start_blocked(&reader, aio_getevents_thread,
				      __NR_io_getevents));
	aio_prep(&iocb, IOCB_CMD_PWRITE, self->null_fd, "x", 1, 0);
	while (submitted < want && !reader.done) {
		long ret = aio_submit_one(small, &iocb);

		if (ret == 1)
			submitted++;
		else
			ASSERT_EQ(-EAGAIN, ret);
	}
	if (aio_join(&reader) != want && !aio_is_rust())
		SKIP(return, "known stall of the C implementation");
	EXPECT_EQ(want, reader.ret);
	EXPECT_EQ(want, submitted);
	free(reader.events);
}

TEST_HARNESS_MAIN
