// SPDX-License-Identifier: GPL-2.0
/*
 * io_cancel().
 *
 * Held here: which argument error wins, that only requests that are waiting and
 * can be cancelled are found, that a cancelled request is told by EINPROGRESS
 * and by exactly one event in the ring, that the result argument is not looked
 * at, and that the call sleeps for a fault and for nothing that a signal ends.
 */
#include <linux/userfaultfd.h>
#include <sys/time.h>
#include "../kselftest_harness.h"
#include "aio_test.h"

#define NR	64

FIXTURE(cancel) {
	aio_context_t ctx;
	int pipe[2];
	struct iocb iocb;
	struct io_event event;
};

FIXTURE_SETUP(cancel)
{
	ASSERT_EQ(0, io_setup(NR, &self->ctx));
	ASSERT_EQ(0, pipe(self->pipe));
	aio_prep(&self->iocb, IOCB_CMD_POLL, self->pipe[0], (void *)POLLIN, 0,
		 0);
}

FIXTURE_TEARDOWN(cancel)
{
	EXPECT_EQ(0, aio_drain(self->ctx));
}

/* The key of the iocb first, then the context, then the request. */
TEST_F(cancel, arguments)
{
	char *edge = aio_guarded(10);
	struct iocb *bad[] = {
		NULL, aio_unmapped(), (void *)-4096L, (void *)edge,
	};
	aio_context_t gone = 0;
	size_t i;

	ASSERT_EQ(0, io_setup(1, &gone));
	ASSERT_EQ(0, io_destroy(gone));
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		EXPECT_EQ(-EFAULT, io_cancel(self->ctx, bad[i], &self->event));
		EXPECT_EQ(-EFAULT, io_cancel(gone, bad[i], &self->event));
		EXPECT_EQ(-EFAULT, io_cancel(0, bad[i], NULL));
	}
	EXPECT_EQ(-EINVAL, io_cancel(0, &self->iocb, &self->event));
	EXPECT_EQ(-EINVAL, io_cancel(gone, &self->iocb, &self->event));
	EXPECT_EQ(-EINVAL, io_cancel(self->ctx, &self->iocb, &self->event));
	/* A key that is not 0 is never right, not even with a good request. */
	ASSERT_EQ(1, aio_submit_one(self->ctx, &self->iocb));
	self->iocb.aio_key = 1;
	EXPECT_EQ(-EINVAL, io_cancel(self->ctx, &self->iocb, &self->event));
	EXPECT_EQ(-EINVAL, io_cancel(gone, &self->iocb, &self->event));
	self->iocb.aio_key = 0;
	EXPECT_EQ(0, aio_drain(self->ctx));
	EXPECT_EQ(-EINPROGRESS,
		  io_cancel(self->ctx, &self->iocb, &self->event));
	ASSERT_EQ(1, io_getevents(self->ctx, 1, 1, &self->event, NULL));
	EXPECT_EVENT(&self->event, &self->iocb, 0);
}

TEST_F(cancel, one_event)
{
	struct io_event result = { 1, 2, 3, 4 }, copy = result;
	int i;

	for (i = 0; i < 50; i++) {
		ASSERT_EQ(1, aio_submit_one(self->ctx, &self->iocb));
		EXPECT_EQ(-EINPROGRESS,
			  io_cancel(self->ctx, &self->iocb, &result));
		/* It cannot be cancelled a second time. */
		EXPECT_EQ(-EINVAL, io_cancel(self->ctx, &self->iocb, &result));
		ASSERT_EQ(1, io_getevents(self->ctx, 1, 1, &self->event, NULL));
		EXPECT_EVENT(&self->event, &self->iocb, 0);
		EXPECT_EQ(-EINVAL, io_cancel(self->ctx, &self->iocb, &result));
		EXPECT_EQ(0, aio_drain(self->ctx));
	}
	EXPECT_EQ(0, memcmp(&result, &copy, sizeof(result)));
}

TEST_F(cancel, result_is_not_used)
{
	struct io_event *result[] = {
		NULL, aio_unmapped(), (void *)-4096L,
		aio_pages(getpagesize(), PROT_READ),
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(result); i++) {
		ASSERT_EQ(1, aio_submit_one(self->ctx, &self->iocb));
		EXPECT_EQ(-EINPROGRESS,
			  io_cancel(self->ctx, &self->iocb, result[i]));
		ASSERT_EQ(1, io_getevents(self->ctx, 1, 1, &self->event, NULL));
		EXPECT_EVENT(&self->event, &self->iocb, 0);
	}
}

static void *cancel_thread(void *arg)
{
	struct aio_caller *c = arg;

	c->tid = aio_gettid();
	c->ret = io_cancel(c->ctx, c->iocb, NULL);
	c->done = true;
	return NULL;
}

/* The key is read from memory that may have to be fetched: the call sleeps. */
TEST_F(cancel, fault_in_the_key)
{
	size_t page = getpagesize();
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = { .mode = UFFDIO_REGISTER_MODE_MISSING };
	struct uffdio_zeropage zero = { 0 };
	char *late = aio_pages(page, PROT_READ | PROT_WRITE);
	struct aio_caller canceller = {
		.ctx = self->ctx, .iocb = (void *)late,
	};
	int uffd = syscall(__NR_userfaultfd, O_CLOEXEC);

	reg.range.start = (uintptr_t)late;
	reg.range.len = page;
	zero.range = reg.range;
	if (uffd < 0 || ioctl(uffd, UFFDIO_API, &api) ||
	    ioctl(uffd, UFFDIO_REGISTER, &reg))
		SKIP(return, "no userfaultfd");
	ASSERT_TRUE(aio_start_blocked(&canceller, cancel_thread, __NR_io_cancel));
	/* Others can be cancelled meanwhile: nothing is locked. */
	ASSERT_EQ(1, aio_submit_one(self->ctx, &self->iocb));
	EXPECT_EQ(-EINPROGRESS, io_cancel(self->ctx, &self->iocb, NULL));
	ASSERT_EQ(1, io_getevents(self->ctx, 1, 1, &self->event, NULL));
	EXPECT_TRUE(aio_is_blocked(getpid(), canceller.tid, __NR_io_cancel));
	EXPECT_FALSE(canceller.done);
	ASSERT_EQ(0, ioctl(uffd, UFFDIO_ZEROPAGE, &zero));
	EXPECT_EQ(-EINVAL, aio_join(&canceller));
	close(uffd);
}

static volatile sig_atomic_t alarms;

static void on_alarm(int sig)
{
	alarms++;
}

/* It waits for nothing that a signal could end, however many come. */
TEST_F(cancel, signals_do_not_matter)
{
	struct itimerval often = { { 0, 1000 }, { 0, 1000 } }, never = { 0 };
	struct sigaction sa = { .sa_handler = on_alarm };
	long ret;
	int i;

	ASSERT_EQ(0, sigaction(SIGALRM, &sa, NULL));
	ASSERT_EQ(0, setitimer(ITIMER_REAL, &often, NULL));
	for (i = 0; i < (aio_long() ? 5000 : 500) || alarms < 20; i++) {
		ASSERT_EQ(1, aio_submit_one(self->ctx, &self->iocb));
		ASSERT_EQ(-EINPROGRESS, io_cancel(self->ctx, &self->iocb, NULL));
		while ((ret = io_getevents(self->ctx, 1, 1, &self->event, NULL)) ==
		       -EINTR)
			;
		ASSERT_EQ(1, ret);
		EXPECT_EVENT(&self->event, &self->iocb, 0);
	}
	ASSERT_EQ(0, setitimer(ITIMER_REAL, &never, NULL));
	EXPECT_LE(20, alarms);
}

/* The one that is named, by the address of its iocb and in its context. */
TEST_F(cancel, right_one)
{
	struct iocb iocb[8], copy;
	aio_context_t other = 0;
	int i;

	ASSERT_EQ(0, io_setup(1, &other));
	for (i = 0; i < 8; i++) {
		iocb[i] = self->iocb;
		iocb[i].aio_data = i;
		ASSERT_EQ(1, aio_submit_one(self->ctx, &iocb[i]));
	}
	copy = iocb[3];
	EXPECT_EQ(-EINVAL, io_cancel(self->ctx, &copy, NULL));
	EXPECT_EQ(-EINVAL, io_cancel(other, &iocb[3], NULL));
	EXPECT_EQ(0, aio_drain(self->ctx));
	for (i = 7; i >= 0; i -= 2) {
		EXPECT_EQ(-EINPROGRESS, io_cancel(self->ctx, &iocb[i], NULL));
		ASSERT_EQ(1, io_getevents(self->ctx, 1, 1, &self->event, NULL));
		EXPECT_EVENT(&self->event, &iocb[i], 0);
	}
	/* The others are still there. */
	ASSERT_EQ(1, write(self->pipe[1], "x", 1));
	for (i = 0; i < 4; i++) {
		ASSERT_EQ(1, io_getevents(self->ctx, 1, 1, &self->event, NULL));
		EXPECT_EQ(0, self->event.data % 2);
		EXPECT_EQ(POLLIN, self->event.res & POLLIN);
	}
}

/* The same iocb twice: one call, one request, the oldest first. */
TEST_F(cancel, same_iocb_twice)
{
	struct iocb *list[2] = { &self->iocb, &self->iocb };

	self->iocb.aio_data = 1;
	ASSERT_EQ(1, io_submit(self->ctx, 1, list));
	self->iocb.aio_data = 2;
	ASSERT_EQ(1, io_submit(self->ctx, 1, list));
	EXPECT_EQ(-EINPROGRESS, io_cancel(self->ctx, &self->iocb, NULL));
	ASSERT_EQ(1, io_getevents(self->ctx, 1, 1, &self->event, NULL));
	EXPECT_EQ(1, self->event.data);
	EXPECT_EQ(0, aio_drain(self->ctx));
	EXPECT_EQ(-EINPROGRESS, io_cancel(self->ctx, &self->iocb, NULL));
	ASSERT_EQ(1, io_getevents(self->ctx, 1, 1, &self->event, NULL));
	EXPECT_EQ(2, self->event.data);
	EXPECT_EQ(-EINVAL, io_cancel(self->ctx, &self->iocb, NULL));
}

/* The iocb may change after io_submit(); only address and key count. */
TEST_F(cancel, iocb_may_change)
{
	__u64 data = self->iocb.aio_data;

	ASSERT_EQ(1, aio_submit_one(self->ctx, &self->iocb));
	memset(&self->iocb, 0xff, sizeof(self->iocb));
	EXPECT_EQ(-EINVAL, io_cancel(self->ctx, &self->iocb, NULL));
	self->iocb.aio_key = 0;
	EXPECT_EQ(-EINPROGRESS, io_cancel(self->ctx, &self->iocb, NULL));
	ASSERT_EQ(1, io_getevents(self->ctx, 1, 1, &self->event, NULL));
	EXPECT_EQ(data, self->event.data);
	EXPECT_EQ((uintptr_t)&self->iocb, self->event.obj);
	EXPECT_EQ(0, self->event.res);
}

/* Requests that are over, and reads and writes. */
TEST_F(cancel, nothing_to_cancel)
{
	struct aio_caller submitter = { .ctx = self->ctx };
	struct iocb iocb;
	char buf[4];

	FOR_PLAIN("reads and writes can be cancelled");
	ASSERT_EQ(1, write(self->pipe[1], "x", 1));
	/* Complete, but its event is not taken yet. */
	ASSERT_EQ(1, aio_submit_one(self->ctx, &self->iocb));
	EXPECT_EQ(-EINVAL, io_cancel(self->ctx, &self->iocb, NULL));
	ASSERT_EQ(1, io_getevents(self->ctx, 1, 1, &self->event, NULL));
	EXPECT_EQ(POLLIN, self->event.res & POLLIN);
	EXPECT_EQ(-EINVAL, io_cancel(self->ctx, &self->iocb, NULL));
	ASSERT_EQ(1, read(self->pipe[0], buf, 1));
	/* In flight, but no way to stop it. */
	aio_prep(&iocb, IOCB_CMD_PREAD, self->pipe[0], buf, sizeof(buf), 0);
	submitter.iocb = &iocb;
	ASSERT_TRUE(aio_start_blocked(&submitter, aio_submit_thread,
				      __NR_io_submit));
	EXPECT_EQ(-EINVAL, io_cancel(self->ctx, &iocb, NULL));
	EXPECT_FALSE(submitter.done);
	ASSERT_EQ(4, write(self->pipe[1], "data", 4));
	EXPECT_EQ(1, aio_join(&submitter));
	ASSERT_EQ(1, io_getevents(self->ctx, 1, 1, &self->event, NULL));
	EXPECT_EVENT(&self->event, &iocb, 4);
}

TEST_F(cancel, eventfd)
{
	int efd = eventfd(0, EFD_NONBLOCK);
	__u64 count;

	self->iocb.aio_flags = IOCB_FLAG_RESFD;
	self->iocb.aio_resfd = efd;
	ASSERT_EQ(1, aio_submit_one(self->ctx, &self->iocb));
	EXPECT_EQ(-EINPROGRESS, io_cancel(self->ctx, &self->iocb, NULL));
	ASSERT_EQ(1, io_getevents(self->ctx, 1, 1, &self->event, NULL));
	EXPECT_EVENT(&self->event, &self->iocb, 0);
	ASSERT_EQ(0, io_destroy(self->ctx));
	EXPECT_EQ(sizeof(count), read(efd, &count, sizeof(count)));
	EXPECT_EQ(1, count);
	self->ctx = 0;
	ASSERT_EQ(0, io_setup(1, &self->ctx));
}

/* It wakes a reader that waits for the event. */
TEST_F(cancel, wakes_reader)
{
	struct aio_caller reader = {
		.ctx = self->ctx, .min_nr = 1, .nr = 1, .events = &self->event,
	};

	ASSERT_EQ(1, aio_submit_one(self->ctx, &self->iocb));
	ASSERT_TRUE(aio_start_blocked(&reader, aio_getevents_thread,
				      __NR_io_getevents));
	EXPECT_EQ(-EINPROGRESS, io_cancel(self->ctx, &self->iocb, NULL));
	EXPECT_EQ(1, aio_join(&reader));
	EXPECT_EVENT(&self->event, &self->iocb, 0);
}

/*
 * Cancelling while the pipe gets ready: whoever wins, there is one event for
 * each request.
 */
struct storm {
	aio_context_t ctx;
	int fd;
	struct iocb *iocb;
	pthread_barrier_t barrier;
	long cancelled;
	long other;
};

#define STORM_ROUNDS	300

static void *cancel_all(void *arg)
{
	struct storm *s = arg;
	int round, i;

	for (round = 0; round < STORM_ROUNDS; round++) {
		pthread_barrier_wait(&s->barrier);
		for (i = 0; i < NR; i++) {
			long ret = io_cancel(s->ctx, &s->iocb[i], NULL);

			s->cancelled += ret == -EINPROGRESS;
			s->other += ret != -EINPROGRESS && ret != -EINVAL;
		}
		pthread_barrier_wait(&s->barrier);
	}
	return NULL;
}

static void *make_ready(void *arg)
{
	struct storm *s = arg;
	int round;

	for (round = 0; round < STORM_ROUNDS; round++) {
		pthread_barrier_wait(&s->barrier);
		if (round % 2)
			sched_yield();
		if (write(s->fd, "x", 1) != 1)
			s->other++;
		pthread_barrier_wait(&s->barrier);
	}
	return NULL;
}

TEST_F(cancel, races_with_completion)
{
	struct iocb iocb[NR], *list[NR];
	struct io_event events[2 * NR];
	struct storm s = {
		.ctx = self->ctx, .fd = self->pipe[1], .iocb = iocb,
	};
	pthread_t a, b;
	int round, i;
	char c;

	pthread_barrier_init(&s.barrier, NULL, 3);
	ASSERT_EQ(0, pthread_create(&a, NULL, cancel_all, &s));
	ASSERT_EQ(0, pthread_create(&b, NULL, make_ready, &s));
	for (round = 0; round < STORM_ROUNDS; round++) {
		bool seen[NR] = { 0 };

		for (i = 0; i < NR; i++) {
			iocb[i] = self->iocb;
			iocb[i].aio_data = i;
			list[i] = &iocb[i];
		}
		ASSERT_EQ(NR, io_submit(self->ctx, NR, list));
		pthread_barrier_wait(&s.barrier);
		ASSERT_EQ(NR, io_getevents(self->ctx, NR, 2 * NR, events,
					   NULL));
		pthread_barrier_wait(&s.barrier);
		for (i = 0; i < NR; i++) {
			ASSERT_LT(events[i].data, NR);
			ASSERT_FALSE(seen[events[i].data]);
			seen[events[i].data] = true;
			ASSERT_EQ(0, events[i].res & ~(POLLIN | POLLRDNORM));
		}
		ASSERT_EQ(0, aio_drain(self->ctx));
		ASSERT_EQ(1, read(self->pipe[0], &c, 1));
	}
	pthread_join(a, NULL);
	pthread_join(b, NULL);
	EXPECT_EQ(0, s.other);
}

/*
 * Eight threads at once: of many requests of two pipes, each iocb submitted more
 * than once, they cancel, make ready and submit again, while one reads. There are
 * as many events as requests, of each iocb.
 */
#define MANY	2000
#define THREADS	8

struct gale {
	aio_context_t ctx;
	int fd[2];
	struct iocb *iocb;
	/* How often each was submitted. */
	unsigned int *submitted;
	pthread_barrier_t barrier;
	int next;
	unsigned int rounds;
	/* How many events there will be, once that is known. */
	volatile unsigned int events;
	long cancelled;
	long other;
};

static void *blow(void *arg)
{
	struct gale *g = arg;
	int me = __atomic_fetch_add(&g->next, 1, __ATOMIC_RELAXED);
	unsigned int seed = me + 1, round, i;
	char c;

	pthread_barrier_wait(&g->barrier);
	for (round = 0; round < g->rounds; round++) {
		for (i = 0; i < MANY / 4; i++) {
			struct iocb *iocb = &g->iocb[rand_r(&seed) % MANY];
			long ret;

			if (i % 4) {
				ret = io_cancel(g->ctx, iocb, NULL);
				if (ret == -EINPROGRESS)
					__atomic_fetch_add(&g->cancelled, 1,
							   __ATOMIC_RELAXED);
				else if (ret != -EINVAL)
					__atomic_fetch_add(&g->other, 1, __ATOMIC_RELAXED);
				continue;
			}
			ret = aio_submit_one(g->ctx, iocb);
			if (ret == 1)
				__atomic_fetch_add(&g->submitted[iocb - g->iocb],
						   1, __ATOMIC_RELAXED);
			else if (ret != -EAGAIN)
				__atomic_fetch_add(&g->other, 1, __ATOMIC_RELAXED);
		}
		/* Those of one pipe end, and others can wait. */
		if (me % 2 && (write(g->fd[1], "x", 1) != 1 ||
			       read(g->fd[0], &c, 1) != 1))
			__atomic_fetch_add(&g->other, 1, __ATOMIC_RELAXED);
	}
	return NULL;
}

static void *count_events(void *arg)
{
	struct gale *g = arg;
	struct io_event events[64];
	unsigned int *seen = calloc(MANY, sizeof(*seen)), sum = 0;
	long ret, i;

	while (!g->events || sum < g->events) {
		struct timespec wait = { .tv_nsec = 1000000 };

		ret = io_getevents(g->ctx, 1, 64, events, &wait);
		if (ret < 0)
			break;
		for (i = 0; i < ret; i++)
			seen[(struct iocb *)(uintptr_t)events[i].obj - g->iocb]++;
		sum += ret;
	}
	return seen;
}

TEST_F(cancel, storm)
{
	struct gale g = { .rounds = aio_long() ? 100 : 5 };
	unsigned int *seen, left = 0, sum = 0;
	pthread_t thread[THREADS], reader;
	int i, other[2];

	ASSERT_EQ(0, io_setup(3 * MANY, &g.ctx));
	ASSERT_EQ(0, pipe(other));
	memcpy(g.fd, self->pipe, sizeof(g.fd));
	g.iocb = calloc(MANY, sizeof(*g.iocb));
	g.submitted = calloc(MANY, sizeof(*g.submitted));
	ASSERT_TRUE(g.iocb && g.submitted);
	for (i = 0; i < MANY; i++) {
		aio_prep(&g.iocb[i], IOCB_CMD_POLL,
			 i % 2 ? other[0] : self->pipe[0], (void *)POLLIN, 0, 0);
		ASSERT_EQ(1, aio_submit_one(g.ctx, &g.iocb[i]));
		g.submitted[i] = 1;
	}
	pthread_barrier_init(&g.barrier, NULL, THREADS);
	for (i = 0; i < THREADS; i++)
		ASSERT_EQ(0, pthread_create(&thread[i], NULL, blow, &g));
	ASSERT_EQ(0, pthread_create(&reader, NULL, count_events, &g));
	for (i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
	/* What is left, however often it was submitted. */
	for (i = 0; i < MANY; i++)
		while (io_cancel(g.ctx, &g.iocb[i], NULL) == -EINPROGRESS)
			left++;
	for (i = 0; i < MANY; i++)
		sum += g.submitted[i];
	g.events = sum;
	pthread_join(reader, (void **)&seen);
	for (i = 0; i < MANY; i++)
		ASSERT_EQ(g.submitted[i], seen[i]);
	EXPECT_EQ(0, aio_drain(g.ctx));
	EXPECT_EQ(0, g.other);
	EXPECT_LT(0, g.cancelled + left);
	EXPECT_EQ(0, io_destroy(g.ctx));
}

/* Of many, the oldest of one name is found first, whatever was cancelled before. */
TEST_F(cancel, oldest_of_many)
{
	struct iocb *iocb = calloc(MANY, sizeof(*iocb));
	aio_context_t ctx = 0;
	int i, round;

	ASSERT_NE(NULL, iocb);
	ASSERT_EQ(0, io_setup(3 * MANY, &ctx));
	for (round = 0; round < 2; round++) {
		for (i = 0; i < MANY; i++) {
			iocb[i] = self->iocb;
			iocb[i].aio_data = round * MANY + i;
			ASSERT_EQ(1, aio_submit_one(ctx, &iocb[i]));
		}
		/* Some are looked for while there is one of each. */
		ASSERT_EQ(-EINVAL, io_cancel(ctx, &self->iocb, NULL));
	}
	for (round = 0; round < 3; round++) {
		for (i = MANY - 1; i >= 0; i -= 7) {
			long ret = io_cancel(ctx, &iocb[i], NULL);

			if (round == 2) {
				ASSERT_EQ(-EINVAL, ret);
				continue;
			}
			ASSERT_EQ(-EINPROGRESS, ret);
			ASSERT_EQ(1, io_getevents(ctx, 1, 1, &self->event, NULL));
			ASSERT_EQ(round * MANY + i, self->event.data);
		}
	}
	EXPECT_EQ(0, io_destroy(ctx));
	free(iocb);
}

TEST_HARNESS_MAIN
