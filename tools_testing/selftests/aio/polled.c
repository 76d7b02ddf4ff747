// SPDX-License-Identifier: GPL-2.0
/*
 * Contexts of io_setup2() with IOCTX_FLAG_IOPOLL, on each kind of disk that has queues
 * to be polled: null_blk, a virtio disk (AIO_SCRATCH_DEV; it is written to), and an
 * NVMe disk, which is only read. Of several threads that wait one polls, and when
 * it leaves, whyever, another one does.
 */
#include <dlfcn.h>
#include <glob.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include "../kselftest_harness.h"
#include "aio_ext_test.h"

#define NR	64
#define MANY	512
#define HUNDREDS	200
#define BLOCK	4096

FIXTURE(polled) {
	struct aio_balance before;
	struct aio_slow_disk disk;
	struct iocb *iocbs;
	struct io_event *events;
	unsigned long all[MANY];
	aio_context_t ctx;
	char dev[128];
	char *buf;
	int fd;
};

FIXTURE_VARIANT(polled) {
	const char *dev;
	unsigned int flags;
};

FIXTURE_VARIANT_ADD(polled, null) { .flags = IOPOLL };

FIXTURE_VARIANT_ADD(polled, null_all) { .flags = IOPOLL | USERIOCB | FIXEDBUFS };

FIXTURE_VARIANT_ADD(polled, virtio_all) {
	.dev = "vd", .flags = IOPOLL | USERIOCB | FIXEDBUFS
};

FIXTURE_VARIANT_ADD(polled, nvme) { .dev = "nvme", .flags = IOPOLL };

FIXTURE_VARIANT_ADD(polled, nvme_all) {
	.dev = "nvme", .flags = IOPOLL | USERIOCB | FIXEDBUFS
};

/* An NVMe disk with the serial number "slow", which takes a second for a request. */
static bool is_slow(const char *disk)
{
	char path[192], serial[64];

	snprintf(path, sizeof(path), "%s/device/serial", disk);
	return aio_read_text(path, serial, sizeof(serial)) > 0 && !strncmp(serial, "slow", 4);
}

/* A disk of this kind that has queues to be polled. */
static bool find_disk(const char *kind, bool slow, char *dev, size_t size)
{
	char path[192], pattern[64];
	bool found = false;
	size_t i;
	glob_t g;

	snprintf(pattern, sizeof(pattern), "/sys/block/%s*", kind);
	if (glob(pattern, 0, NULL, &g))
		return false;
	for (i = 0; i < g.gl_pathc && !found; i++) {
		snprintf(path, sizeof(path), "%s/queue/io_poll", g.gl_pathv[i]);
		snprintf(dev, size, "/dev/%s", g.gl_pathv[i] + strlen("/sys/block/"));
		found = aio_read_number(path) == 1 && !access(dev, R_OK) &&
			is_slow(g.gl_pathv[i]) == slow;
	}
	globfree(&g);
	return found;
}

FIXTURE_SETUP(polled)
{
	int i;

	NEED_SETUP2();
	self->before = aio_balance();
	if (!variant->dev) {
		if (!aio_poll_disk_make(&self->disk, 128))
			SKIP(return, "no null_blk disk (needs root and configfs)");
		snprintf(self->dev, sizeof(self->dev), "%s", self->disk.dev);
	} else if (!find_disk(variant->dev, false, self->dev, sizeof(self->dev))) {
		SKIP(return, "no such disk with queues to be polled");
	}
	self->fd = open(self->dev, O_RDONLY | O_DIRECT);
	ASSERT_LE(0, self->fd);
	self->iocbs = aio_iocbs(MANY);
	self->events = calloc(MANY, sizeof(struct io_event));
	self->buf = aio_pages(MANY * BLOCK, PROT_READ | PROT_WRITE);
	for (i = 0; i < MANY; i++) {
		aio_prep(&self->iocbs[i], IOCB_CMD_PREAD, self->fd,
			 self->buf + i * BLOCK, BLOCK, i * 37 % MANY * BLOCK);
		self->all[i] = variant->flags & USERIOCB ?
			i : (unsigned long)&self->iocbs[i];
	}
	ASSERT_EQ(0, io_setup2(MANY, variant->flags,
			       variant->flags & USERIOCB ? self->iocbs : NULL,
			       &self->ctx));
}

FIXTURE_TEARDOWN(polled)
{
	if (self->ctx)
		EXPECT_EQ(0, io_destroy(self->ctx));
	close(self->fd);
	aio_slow_disk_remove(&self->disk);
	EXPECT_BALANCE(self->before);
}

static long submit_all(aio_context_t ctx, unsigned long *all, long nr)
{
	long sum = 0, ret;

	while (sum < nr && (ret = aio_submit_indices(ctx, nr - sum, all + sum)) > 0)
		sum += ret;
	return sum;
}

/* Submits one, whatever the device has room for now. */
static bool submit_one(aio_context_t ctx, unsigned long index)
{
	long ret;

	while ((ret = aio_submit_index(ctx, index)) == -EAGAIN)
		aio_sleep_ms(1);
	return ret == 1;
}

TEST_F(polled, bytes)
{
	char *want = aio_pages(MANY * BLOCK, PROT_READ | PROT_WRITE);
	int i, fd;

	if (variant->dev && !strcmp(variant->dev, "nvme"))
		fd = -1;
	else
		fd = aio_reopen(self->fd, O_WRONLY | O_DIRECT);
	if (fd >= 0) {
		aio_pattern(want, MANY * BLOCK, 3);
		ASSERT_EQ(MANY * BLOCK, pwrite(fd, want, MANY * BLOCK, 0));
		close(fd);
	}
	ASSERT_EQ(MANY * BLOCK, pread(self->fd, want, MANY * BLOCK, 0));
	memset(self->buf, 0x33, MANY * BLOCK);
	for (i = 0; i < MANY; ) {
		long n = submit_all(self->ctx, self->all + i, MANY - i < NR ? MANY - i : NR);

		ASSERT_LT(0, n);
		ASSERT_EQ(n, io_getevents(self->ctx, n, n, self->events, NULL));
		i += n;
		while (n--) {
			EXPECT_EQ(BLOCK, (__s64)self->events[n].res);
			EXPECT_EQ(0, (__s64)self->events[n].res2);
		}
	}
	for (i = 0; i < MANY; i++)
		EXPECT_EQ(0, memcmp(self->buf + i * BLOCK,
				    want + i * 37 % MANY * BLOCK, BLOCK));
	munmap(want, MANY * BLOCK);
}

/* Nobody but who asks gets events. */
TEST_F(polled, only_from_getevents)
{
	volatile struct aio_ring *ring = aio_ring(self->ctx);

	if (variant->dev)
		SKIP(return, "others may poll this disk");
	ASSERT_TRUE(submit_one(self->ctx, self->all[0]));
	aio_sleep_ms(50);
	EXPECT_EQ(ring->head, ring->tail);
	EXPECT_EQ(0, ring->magic);
	EXPECT_EQ(1, io_getevents(self->ctx, 1, 1, self->events, NULL));
	EXPECT_EQ(self->all[0], self->events[0].obj);
	EXPECT_EQ(self->iocbs[0].aio_data, self->events[0].data);
}

/* libaio looks in the ring when the time limit is 0, if it knows the ring. */
TEST_F(polled, libaio)
{
#if __SIZEOF_LONG__ == 8
	int (*get)(aio_context_t, long, long, struct io_event *, struct timespec *);
	void *lib = dlopen("libaio.so.1", RTLD_NOW);
	struct timespec zero = { 0 };
	int i, ret = 0;

	if (!lib)
		lib = dlopen("libaio.so.1t64", RTLD_NOW);
	get = lib ? dlsym(lib, "io_getevents") : NULL;
	if (!get)
		SKIP(return, "no libaio");
	ASSERT_TRUE(submit_one(self->ctx, self->all[1]));
	for (i = 0; i < 1000 && !ret; i++) {
		ret = get(self->ctx, 0, 1, self->events, &zero);
		aio_sleep_ms(!!i);
	}
	EXPECT_EQ(1, ret);
	EXPECT_EQ(self->all[1], self->events[0].obj);
#else
	SKIP(return, "not with a static program");
#endif
}

/* What cannot be copied is not lost. */
TEST_F(polled, bad_address)
{
	struct aio_sigset sig = { 0 };

	ASSERT_TRUE(submit_one(self->ctx, self->all[2]));
	EXPECT_EQ(-EFAULT, io_getevents(self->ctx, 1, 1, aio_unmapped(), NULL));
	EXPECT_EQ(1, io_pgetevents(self->ctx, 1, 1, self->events, NULL, &sig));
	EXPECT_EQ(self->all[2], self->events[0].obj);
}

/* The number that the context was asked for is what it has room for. */
TEST_F(polled, no_more_than_there_is_room_for)
{
	aio_context_t ctx = 0;
	unsigned int room, i;
	long ret, sum = 0;

	ASSERT_EQ(0, io_setup2(2, IOPOLL, NULL, &ctx));
	room = aio_ring(ctx)->nr - 1;
	for (i = 0; i < 4 * room && sum < room + 1; i++) {
		ret = aio_submit_index(ctx, (unsigned long)&self->iocbs[0]);
		if (ret != 1)
			break;
		sum++;
	}
	EXPECT_EQ(-EAGAIN, ret);
	EXPECT_GE(room, sum);
	EXPECT_LT(0, sum);
	EXPECT_EQ(sum, io_getevents(ctx, sum, MANY, self->events, NULL));
	EXPECT_EQ(0, io_destroy(ctx));
}

/* ------------------------------------------------------ several who wait */

static void handler(int sig)
{
}

/* It may not have come to wait yet. */
static void interrupt(struct aio_caller *c)
{
	while (!c->done) {
		pthread_kill(c->thread, SIGUSR1);
		aio_sleep_ms(1);
	}
}

enum leave { BY_TIME, BY_SIGNAL, BY_EVENT };

/* One thread polls, another sleeps. The first one leaves. */
static void hand_over(struct __test_metadata *_metadata, struct _test_data_polled *self,
		      enum leave how)
{
	struct sigaction act = { .sa_handler = handler };
	struct io_event first_event, second_event;
	struct timespec limit = { 0, 100000000 };
	struct aio_caller first = {
		.ctx = self->ctx, .min_nr = 1, .nr = 1, .events = &first_event,
		.timeout = how == BY_TIME ? &limit : NULL,
	};
	struct aio_caller second = {
		.ctx = self->ctx, .min_nr = 1, .nr = 1, .events = &second_event,
	};

	sigaction(SIGUSR1, &act, NULL);
	first.tid = 0;
	ASSERT_EQ(0, pthread_create(&first.thread, NULL, aio_getevents_thread, &first));
	while (!first.tid)
		aio_sleep_ms(1);
	aio_sleep_ms(5);
	second.tid = 0;
	ASSERT_EQ(0, pthread_create(&second.thread, NULL, aio_getevents_thread, &second));
	/* If the time of the first one is over already, it is the second that polls. */
	while (!first.done &&
	       !(second.tid && aio_is_blocked(getpid(), second.tid, __NR_io_getevents)))
		aio_sleep_ms(1);
	if (how == BY_EVENT) {
		ASSERT_TRUE(submit_one(self->ctx, self->all[0]));
	} else {
		if (how == BY_SIGNAL)
			interrupt(&first);
		EXPECT_EQ(how == BY_TIME ? 0 : -EINTR, aio_join(&first));
	}
	ASSERT_TRUE(submit_one(self->ctx, self->all[1]));
	if (how == BY_EVENT)
		EXPECT_EQ(1, aio_join(&first));
	EXPECT_EQ(1, aio_join(&second));
	EXPECT_EQ(BLOCK, (__s64)second_event.res);
}

TEST_F(polled, hand_over_after_the_time)
{
	hand_over(_metadata, self, BY_TIME);
}

TEST_F(polled, hand_over_after_a_signal)
{
	hand_over(_metadata, self, BY_SIGNAL);
}

TEST_F(polled, hand_over_after_an_event)
{
	int i;

	for (i = 0; i < (aio_long() ? 20 : 5); i++)
		hand_over(_metadata, self, BY_EVENT);
}

/* ------------------------------------------------------ a disk that takes its time */

#define SLOW_NR	8

/*
 * Requests are in flight, one thread polls, another one sleeps. The first one leaves, and
 * nothing is submitted any more: the second has to go on.
 */
static void hand_over_in_flight(struct __test_metadata *_metadata, enum leave how)
{
	struct sigaction act = { .sa_handler = handler };
	struct aio_balance before;
	struct io_event first_events[SLOW_NR], second_events[SLOW_NR];
	struct timespec limit = { 0, 100000000 };
	struct aio_caller first = {
		.min_nr = how == BY_EVENT ? 1 : SLOW_NR, .nr = how == BY_EVENT ? 1 : SLOW_NR,
		.events = first_events, .timeout = how == BY_TIME ? &limit : NULL,
	};
	/* All that there may be: it must not be over before the first one leaves. */
	struct aio_caller second = {
		.min_nr = SLOW_NR, .nr = SLOW_NR, .events = second_events,
	};
	struct iocb iocbs[SLOW_NR], *list[SLOW_NR];
	char dev[128], *buf = aio_pages(SLOW_NR * BLOCK, PROT_READ | PROT_WRITE);
	long left = SLOW_NR, ret;
	int fd, i;

	NEED_SETUP2();
	if (!find_disk("nvme", true, dev, sizeof(dev)))
		SKIP(return, "no slow NVMe disk with queues to be polled");
	before = aio_balance();
	fd = open(dev, O_RDONLY | O_DIRECT);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, io_setup2(SLOW_NR, IOPOLL, NULL, &first.ctx));
	second.ctx = first.ctx;
	sigaction(SIGUSR1, &act, NULL);
	for (i = 0; i < SLOW_NR; i++) {
		list[i] = &iocbs[i];
		aio_prep(&iocbs[i], IOCB_CMD_PREAD, fd, buf + i * BLOCK, BLOCK, i * BLOCK);
	}
	for (i = 0; i < SLOW_NR; i += ret) {
		ret = io_submit(first.ctx, SLOW_NR - i, list + i);
		ASSERT_LT(0, ret);
	}
	ASSERT_EQ(0, pthread_create(&first.thread, NULL, aio_getevents_thread, &first));
	while (!first.tid)
		aio_sleep_ms(1);
	aio_sleep_ms(20);
	second.tid = 0;
	ASSERT_EQ(0, pthread_create(&second.thread, NULL, aio_getevents_thread, &second));
	aio_wait_blocked(&second.tid, __NR_io_getevents);
	if (how == BY_SIGNAL)
		interrupt(&first);
	ret = aio_join(&first);
	ASSERT_TRUE(ret >= 0 || (ret == -EINTR && how == BY_SIGNAL));
	left -= ret > 0 ? ret : 0;
	/* Now that is more than there is. */
	while (left && !second.done) {
		volatile struct aio_ring *ring = aio_ring(first.ctx);

		/* What it finds it takes; when that is all, it waits in vain. */
		if (aio_disk_stat(dev, "inflight", 0) == 0 && ring->head == ring->tail)
			break;
		aio_sleep_ms(1);
	}
	interrupt(&second);
	ret = aio_join(&second);
	EXPECT_EQ(left ? left : -EINTR, ret);
	EXPECT_EQ(0, io_destroy(first.ctx));
	close(fd);
	munmap(buf, SLOW_NR * BLOCK);
	EXPECT_BALANCE(before);
}

TEST(hand_over_in_flight_after_the_time)
{
	hand_over_in_flight(_metadata, BY_TIME);
}

TEST(hand_over_in_flight_after_a_signal)
{
	hand_over_in_flight(_metadata, BY_SIGNAL);
}

TEST(hand_over_in_flight_after_an_event)
{
	hand_over_in_flight(_metadata, BY_EVENT);
}

/* ------------------------------------------------------ what it costs meanwhile */

/* A thread that waits, and how long, and how much of that it was on a CPU. */
struct waiter {
	struct aio_caller c;
	long long wall;
	long long cpu;
};

static long long clock_ns(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return ts.tv_sec * 1000000000LL + ts.tv_nsec;
}

static void *timed_getevents(void *arg)
{
	struct waiter *w = arg;
	long long wall = aio_now_ns(), cpu = clock_ns(CLOCK_THREAD_CPUTIME_ID);

	aio_getevents_thread(&w->c);
	w->cpu = clock_ns(CLOCK_THREAD_CPUTIME_ID) - cpu;
	w->wall = aio_now_ns() - wall;
	return NULL;
}

/* The disk is one that takes a second. */
#define ANSWER_NS	1000000000LL

FIXTURE(slow) {
	struct aio_balance before;
	struct io_event events[SLOW_NR];
	unsigned long all[SLOW_NR];
	struct iocb *iocbs;
	char dev[128];
	char *buf;
	int fd;
};

FIXTURE_VARIANT(slow) {
	unsigned int flags;
};

FIXTURE_VARIANT_ADD(slow, alone) { .flags = IOPOLL };
FIXTURE_VARIANT_ADD(slow, all) { .flags = IOPOLL | USERIOCB | FIXEDBUFS };

FIXTURE_SETUP(slow)
{
	int i;

	NEED_SETUP2();
	if (!find_disk("nvme", true, self->dev, sizeof(self->dev)))
		SKIP(return, "no slow NVMe disk with queues to be polled");
	self->before = aio_balance();
	self->fd = open(self->dev, O_RDONLY | O_DIRECT);
	ASSERT_LE(0, self->fd);
	self->iocbs = aio_iocbs(SLOW_NR);
	self->buf = aio_pages(SLOW_NR * BLOCK, PROT_READ | PROT_WRITE);
	for (i = 0; i < SLOW_NR; i++) {
		aio_prep(&self->iocbs[i], IOCB_CMD_PREAD, self->fd,
			 self->buf + i * BLOCK, BLOCK, 2 * i * BLOCK);
		self->all[i] = variant->flags & USERIOCB ?
			i : (unsigned long)&self->iocbs[i];
	}
}

FIXTURE_TEARDOWN(slow)
{
	close(self->fd);
	EXPECT_BALANCE(self->before);
}

/* A context in which all of them are in flight; 0 if there is none. */
static aio_context_t slow_start(struct _test_data_slow *self, unsigned int flags)
{
	aio_context_t ctx = 0;

	if (io_setup2(SLOW_NR, flags, flags & USERIOCB ? self->iocbs : NULL, &ctx))
		return 0;
	return submit_all(ctx, self->all, SLOW_NR) == SLOW_NR ? ctx : 0;
}

/* The disk has answered, but nobody has asked: so they are polled for indeed. */
TEST_F(slow, polled_indeed)
{
	aio_context_t ctx = slow_start(self, variant->flags);
	volatile struct aio_ring *ring = aio_ring(ctx);

	ASSERT_NE(0, ctx);
	aio_sleep_ms(1500);
	EXPECT_EQ(SLOW_NR, aio_disk_stat(self->dev, "inflight", 0));
	EXPECT_EQ(ring->head, ring->tail);
	EXPECT_EQ(SLOW_NR, io_getevents(ctx, SLOW_NR, SLOW_NR, self->events, NULL));
	EXPECT_EQ(0, aio_disk_stat(self->dev, "inflight", 0));
	EXPECT_EQ(0, io_destroy(ctx));
}

/* On a machine that is busy, the disk may have answered when it begins: once more then. */
#define TRIES	5

/* One of two who wait polls. The other one costs nothing. */
TEST_F(slow, one_polls)
{
	struct waiter w[2] = { };
	long long least = 0;
	bool good = false;
	int try, i;

	for (try = 0; try < TRIES && !good; try++) {
		w[0].c.ctx = slow_start(self, variant->flags);
		ASSERT_NE(0, w[0].c.ctx);
		w[1].c.ctx = w[0].c.ctx;
		for (i = 0; i < 2; i++) {
			/* They end together: both get some. */
			w[i].c.min_nr = 1;
			w[i].c.nr = SLOW_NR / 2;
			w[i].c.events = self->events + i * SLOW_NR / 2;
			ASSERT_EQ(0, pthread_create(&w[i].c.thread, NULL, timed_getevents,
						    &w[i]));
		}
		for (i = 0; i < 2; i++)
			EXPECT_LT(0, aio_join(&w[i].c));
		EXPECT_EQ(0, io_destroy(w[0].c.ctx));
		least = w[0].cpu < w[1].cpu ? w[0].cpu : w[1].cpu;
		good = w[0].wall >= ANSWER_NS / 2 && w[1].wall >= ANSWER_NS / 2 &&
			least < w[0].wall / 4;
	}
	EXPECT_TRUE(good)
		TH_LOG("%lld and %lld ms on a CPU of %lld", w[0].cpu / 1000000,
		       w[1].cpu / 1000000, w[0].wall / 1000000);
}

enum end { BY_DESTROY, BY_EXIT, BY_EXEC, BY_KILL, BY_KILL_OF_A_POLLER };

/* What the child tells. */
struct told {
	volatile bool started;
};

static long long rusage_ns(const struct rusage *ru)
{
	return (ru->ru_utime.tv_sec + ru->ru_stime.tv_sec) * 1000000000LL +
		(ru->ru_utime.tv_usec + ru->ru_stime.tv_usec) * 1000LL;
}

/* The process, all of whose requests are in flight from *@started on. */
static void slow_child(struct _test_data_slow *self, unsigned int flags, enum end how,
		       struct told *told)
{
	aio_context_t ctx = slow_start(self, flags);

	if (!ctx)
		_exit(1);
	told->started = true;
	if (how == BY_DESTROY && io_destroy(ctx))
		_exit(2);
	if (how == BY_EXEC)
		execl("/bin/true", "true", NULL);
	if (how == BY_KILL_OF_A_POLLER)
		io_getevents(ctx, SLOW_NR, SLOW_NR, self->events, NULL);
	if (how >= BY_KILL)
		pause();
	_exit(0);
}

/* Returns whether it took as long as it should, and less than half of that on a CPU. */
static bool slow_end_once(struct __test_metadata *_metadata, struct _test_data_slow *self,
			  unsigned int flags, enum end how, struct told *told)
{
	long long start, wall, cpu = 0;
	bool killed = how >= BY_KILL;
	struct rusage ru;
	siginfo_t info;
	clockid_t clock;
	int status;
	pid_t pid;

	told->started = false;
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid)
		slow_child(self, flags, how, told);
	/* Its end is not waited for here: what it has used is asked for. */
	while (!told->started) {
		info.si_pid = 0;
		if (waitid(P_PID, pid, &info, WEXITED | WNOHANG | WNOWAIT) || info.si_pid)
			break;
		aio_sleep_ms(1);
	}
	ASSERT_TRUE(told->started);
	ASSERT_EQ(0, clock_getcpuclockid(pid, &clock));
	if (how == BY_KILL_OF_A_POLLER)
		aio_sleep_ms(50);
	start = aio_now_ns();
	/* Who polls is on a CPU until here. */
	if (killed) {
		cpu = clock_ns(clock);
		ASSERT_EQ(0, kill(pid, SIGKILL));
	}
	ASSERT_EQ(pid, wait4(pid, &status, 0, &ru));
	wall = aio_now_ns() - start;
	cpu = rusage_ns(&ru) - cpu;
	EXPECT_EQ(killed ? SIGKILL : 0, status);
	EXPECT_EQ(0, aio_disk_stat(self->dev, "inflight", 0));
	TH_LOG("%lld ms on a CPU of %lld", cpu / 1000000, wall / 1000000);
	return wall >= ANSWER_NS / 2 && cpu < wall / 2;
}

/*
 * Requests of a process are in flight, and nobody asks for them any more. It is over
 * when the disk has answered, not before, and is not on a CPU all the time until then.
 */
static void slow_end(struct __test_metadata *_metadata, struct _test_data_slow *self,
		     unsigned int flags, enum end how)
{
	struct told *told = mmap(NULL, sizeof(*told), PROT_READ | PROT_WRITE,
				 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	bool good = false;
	int try;

	ASSERT_NE(MAP_FAILED, (void *)told);
	for (try = 0; try < TRIES && !good; try++)
		good = slow_end_once(_metadata, self, flags, how, told);
	EXPECT_TRUE(good);
	munmap(told, sizeof(*told));
}

TEST_F(slow, io_destroy)
{
	slow_end(_metadata, self, variant->flags, BY_DESTROY);
}

TEST_F(slow, exit)
{
	slow_end(_metadata, self, variant->flags, BY_EXIT);
}

TEST_F(slow, exec)
{
	slow_end(_metadata, self, variant->flags, BY_EXEC);
}

TEST_F(slow, kill)
{
	slow_end(_metadata, self, variant->flags, BY_KILL);
}

TEST_F(slow, kill_of_who_polls)
{
	slow_end(_metadata, self, variant->flags, BY_KILL_OF_A_POLLER);
}

struct taker {
	pthread_t thread;
	aio_context_t ctx;
	volatile bool *stop;
	unsigned int limit_us;
	long taken;
	long error;
};

static void *take(void *arg)
{
	struct taker *t = arg;
	struct io_event events[8];

	while (!*t->stop) {
		struct timespec limit = { 0, t->limit_us * 1000L };
		long ret = io_getevents(t->ctx, 1 + t->taken % 3, 8, events, &limit);

		if (ret < 0 && ret != -EINTR) {
			t->error = ret;
			break;
		}
		t->taken += ret > 0 ? ret : 0;
	}
	return NULL;
}

/* Takers that come and go: none of the events is lost, none comes twice. */
TEST_F_TIMEOUT(polled, takers_with_limits, 100)
{
	static const unsigned int limits[] = { 1, 50, 700, 20000 };
	struct taker t[4] = { };
	volatile bool stop = false;
	long sum = 0, submitted = 0;
	int i, tries;

	for (i = 0; i < 4; i++) {
		t[i] = (struct taker){ .ctx = self->ctx, .stop = &stop,
				       .limit_us = limits[i] };
		ASSERT_EQ(0, pthread_create(&t[i].thread, NULL, take, &t[i]));
	}
	for (i = 0; i < (aio_long() ? 2000 : 600); i++) {
		long ret = aio_submit_index(self->ctx, self->all[i % MANY]);

		ASSERT_TRUE(ret == 1 || ret == -EAGAIN);
		submitted += ret == 1;
	}
	for (tries = 0; tries < 10000 * aio_slow() && sum < submitted; tries++) {
		for (i = 0, sum = 0; i < 4; i++)
			sum += *(volatile long *)&t[i].taken;
		aio_sleep_ms(1);
	}
	stop = true;
	for (i = 0; i < 4; i++) {
		pthread_join(t[i].thread, NULL);
		EXPECT_EQ(0, t[i].error);
	}
	EXPECT_EQ(submitted, sum);
	EXPECT_EQ(0, aio_drain(self->ctx));
}

/* The context ends while a thread polls, and others wait. */
TEST_F(polled, end_while_threads_wait)
{
	struct aio_caller c[3];
	int i;

	for (i = 0; i < 3; i++) {
		c[i] = (struct aio_caller){ .ctx = self->ctx, .min_nr = MANY, .nr = MANY };
		c[i].events = calloc(MANY, sizeof(struct io_event));
		ASSERT_EQ(0, pthread_create(&c[i].thread, NULL, aio_getevents_thread,
					    &c[i]));
	}
	aio_sleep_ms(20);
	EXPECT_LT(0, submit_all(self->ctx, self->all, 16));
	EXPECT_EQ(0, io_destroy(self->ctx));
	self->ctx = 0;
	for (i = 0; i < 3; i++) {
		long ret = aio_join(&c[i]);

		EXPECT_TRUE(ret == -EINVAL || (ret > 0 && ret <= 16));
		free(c[i].events);
	}
}

struct submitter {
	pthread_t thread;
	aio_context_t ctx;
	unsigned long *all;
	volatile long sum;
	volatile long last;
};

static void *submit_until_it_ends(void *arg)
{
	struct submitter *s = arg;
	struct io_event events[8];
	long ret;

	do {
		ret = aio_submit_indices(s->ctx, 8, s->all);
		if (ret > 0)
			s->sum += ret;
		if (ret == -EAGAIN || ret > 0)
			aio_reap(s->ctx, events, 8);
	} while (ret > 0 || ret == -EAGAIN);
	s->last = ret;
	return NULL;
}

/* The context ends while four threads submit, and look. */
TEST_F(polled, end_while_others_submit)
{
	int round, i;

	for (round = 0; round < (aio_long() ? 50 : 10); round++) {
		struct submitter s[4] = { };
		aio_context_t ctx = 0;

		ASSERT_EQ(0, io_setup2(MANY, variant->flags,
				       variant->flags & USERIOCB ? self->iocbs : NULL,
				       &ctx));
		for (i = 0; i < 4; i++) {
			s[i].ctx = ctx;
			s[i].all = self->all + 8 * i;
			ASSERT_EQ(0, pthread_create(&s[i].thread, NULL,
						    submit_until_it_ends, &s[i]));
		}
		for (i = 0; i < 4; i++)
			while (!s[i].sum && !s[i].last)
				aio_sleep_ms(1);
		aio_sleep_ms(round % 5);
		EXPECT_EQ(0, io_destroy(ctx));
		for (i = 0; i < 4; i++) {
			pthread_join(s[i].thread, NULL);
			EXPECT_EQ(-EINVAL, s[i].last);
			EXPECT_LT(0, s[i].sum);
		}
	}
	ASSERT_TRUE(submit_one(self->ctx, self->all[0]));
	EXPECT_EQ(1, io_getevents(self->ctx, 1, 1, self->events, NULL));
	EXPECT_EQ(BLOCK, (__s64)self->events[0].res);
}

/* Hundreds in flight at the end of the process. */
TEST_F(polled, processes_that_end)
{
	struct aio_slow_disk disk = { };
	int how, status, i, fd = -1;

	/* One with room for all: null_blk completes nothing that is polled before it is asked. */
	if (!variant->dev) {
		ASSERT_TRUE(aio_poll_disk_make(&disk, 2 * MANY));
		strcpy(self->dev, disk.dev);
		fd = open(disk.dev, O_RDONLY | O_DIRECT);
		ASSERT_LE(0, fd);
		for (i = 0; i < MANY; i++)
			self->iocbs[i].aio_fildes = fd;
	}
	for (how = 0; how < 4; how++) {
		pid_t pid = fork();

		ASSERT_LE(0, pid);
		if (!pid) {
			aio_context_t ctx = 0;

			if (io_setup2(MANY, variant->flags,
				      variant->flags & USERIOCB ? self->iocbs : NULL,
				      &ctx))
				_exit(1);
			if (submit_all(ctx, self->all, MANY) < HUNDREDS)
				_exit(2);
			/* The disk has them still. */
			if (aio_disk_stat(self->dev, "inflight", 0) < HUNDREDS)
				_exit(4);
			if (how == 0)
				raise(SIGKILL);
			if (how == 1)
				execl("/bin/true", "true", NULL);
			if (how == 2 && io_destroy(ctx))
				_exit(3);
			_exit(0);
		}
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		EXPECT_EQ(how ? 0 : SIGKILL, status);
		EXPECT_EQ(0, aio_disk_stat(self->dev, "inflight", 0));
	}
	/* The disk works. */
	ASSERT_TRUE(submit_one(self->ctx, self->all[0]));
	EXPECT_EQ(1, io_getevents(self->ctx, 1, 1, self->events, NULL));
	EXPECT_EQ(BLOCK, (__s64)self->events[0].res);
	if (!variant->dev) {
		close(fd);
		aio_slow_disk_remove(&disk);
	}
}

/* Killed while it waits, which is while it polls. */
TEST_F(polled, killed_in_getevents)
{
	int status, i;

	for (i = 0; i < 5; i++) {
		pid_t pid = fork();

		ASSERT_LE(0, pid);
		if (!pid) {
			aio_context_t ctx = 0;

			if (io_setup2(MANY, variant->flags,
				      variant->flags & USERIOCB ? self->iocbs : NULL,
				      &ctx) ||
			    submit_all(ctx, self->all, NR) < 1)
				_exit(1);
			io_getevents(ctx, MANY, MANY, self->events, NULL);
			_exit(2);
		}
		aio_sleep_ms(20 * i);
		ASSERT_EQ(0, kill(pid, SIGKILL));
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		EXPECT_EQ(SIGKILL, status);
	}
}

struct owner {
	pthread_t thread;
	struct iocb iocbs[16];
	int contexts;
	long error;
};

/* Has contexts of its own, submits to all of them, and then looks at each. */
static void *own(void *arg)
{
	struct owner *o = arg;
	struct io_event events[16];
	aio_context_t ctx[3] = { 0 };
	unsigned long all[16];
	long sum[3], ret;
	int round, i;

	for (i = 0; i < 16; i++)
		all[i] = (unsigned long)&o->iocbs[i];
	for (i = 0; i < o->contexts && !o->error; i++)
		o->error = io_setup2(16, IOPOLL, NULL, &ctx[i]);
	for (round = 0; round < 50 && !o->error; round++) {
		for (i = 0; i < o->contexts; i++)
			sum[i] = submit_all(ctx[i], all, 16);
		for (i = 0; i < o->contexts; i++) {
			/* Nothing of it is in flight: this one is always taken. */
			if (!sum[i])
				o->error = -1000;
			while (sum[i] > 0 && !o->error) {
				ret = io_getevents(ctx[i], 1, 16, events, NULL);
				if (ret < 1)
					o->error = ret ? ret : -1001;
				sum[i] -= ret;
				while (ret-- > 0)
					if (events[ret].res != BLOCK)
						o->error = events[ret].res;
			}
		}
	}
	for (i = 0; i < o->contexts; i++)
		io_destroy(ctx[i]);
	return NULL;
}

/* Room for two requests, and many contexts that want it: each of them gets on. */
TEST_F_TIMEOUT(polled, no_room, 100)
{
	struct owner *o = calloc(4, sizeof(*o));
	struct aio_slow_disk disk;
	int i, j, fd;

	if (variant->dev || variant->flags & USERIOCB)
		SKIP(return, "once is enough");
	ASSERT_TRUE(aio_poll_disk_make(&disk, 2));
	fd = open(disk.dev, O_RDONLY | O_DIRECT);
	ASSERT_LE(0, fd);
	for (i = 0; i < 4; i++) {
		for (j = 0; j < 16; j++)
			aio_prep(&o[i].iocbs[j], IOCB_CMD_PREAD, fd,
				 self->buf + (16 * i + j) * BLOCK, BLOCK, j * 2 * BLOCK);
		o[i].contexts = i % 3 + 1;
		ASSERT_EQ(0, pthread_create(&o[i].thread, NULL, own, &o[i]));
	}
	for (i = 0; i < 4; i++) {
		pthread_join(o[i].thread, NULL);
		EXPECT_EQ(0, o[i].error);
	}
	close(fd);
	aio_slow_disk_remove(&disk);
	free(o);
}

/* A disk without queues to be polled: it is refused, or it gets on. */
TEST(disk_without_polled_queues)
{
	struct aio_slow_disk disk;
	struct io_event event;
	struct iocb iocb;
	aio_context_t ctx = 0;
	void *buf = aio_pages(BLOCK, PROT_READ | PROT_WRITE);
	long ret;
	int fd, i;

	NEED_SETUP2();
	if (!aio_slow_disk_make(&disk, 20))
		SKIP(return, "no null_blk disk (needs root and configfs)");
	/* The default is one. */
	aio_slow_disk_set(&disk, "power", 0);
	if (aio_slow_disk_set(&disk, "poll_queues", 0) ||
	    aio_slow_disk_set(&disk, "power", 1)) {
		aio_slow_disk_remove(&disk);
		SKIP(return, "no null_blk disk without queues to be polled");
	}
	for (fd = -1, i = 0; i < 1000 && fd < 0; i++, aio_sleep_ms(5))
		fd = open(disk.dev, O_RDWR | O_DIRECT);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, io_setup2(NR, IOPOLL, NULL, &ctx));
	aio_prep(&iocb, IOCB_CMD_PREAD, fd, buf, BLOCK, 0);
	ret = aio_submit_one(ctx, &iocb);
	if (ret == 1) {
		ASSERT_EQ(1, io_getevents(ctx, 1, 1, &event, NULL));
		ret = event.res;
	}
	EXPECT_EQ(-EOPNOTSUPP, ret);
	EXPECT_EQ(0, io_destroy(ctx));
	close(fd);
	aio_slow_disk_remove(&disk);
}

/*
 * A request that must be split is not polled for: who waits for it sleeps, and hears
 * of its end.
 */
TEST(who_waits_for_what_is_not_polled_sleeps)
{
	size_t len = 8 << 20;
	struct aio_slow_disk disk;
	struct io_event event;
	struct iocb iocb;
	struct waiter w = { .c = { .min_nr = 1, .nr = 1, .events = &event } };
	char *buf = aio_pages(len, PROT_READ | PROT_WRITE);
	bool slept, good = false;
	int fd, try;

	NEED_SETUP2();
	if (!aio_slow_disk_make(&disk, 2000))
		SKIP(return, "no null_blk disk (needs root and configfs)");
	fd = open(disk.dev, O_RDWR | O_DIRECT);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, io_setup2(NR, IOPOLL, NULL, &w.c.ctx));
	aio_prep(&iocb, IOCB_CMD_PREAD, fd, buf, len, 0);
	/* A processor that was away for a second says nothing. */
	for (try = 0; try < TRIES && !good; try++) {
		w.c.tid = 0;
		w.c.done = false;
		slept = false;
		ASSERT_EQ(1, aio_submit_one(w.c.ctx, &iocb));
		ASSERT_EQ(0, pthread_create(&w.c.thread, NULL, timed_getevents, &w));
		while (!w.c.done && !slept) {
			slept = w.c.tid && aio_is_blocked(getpid(), w.c.tid, __NR_io_getevents);
			aio_sleep_ms(1);
		}
		EXPECT_EQ(1, aio_join(&w.c));
		EXPECT_EQ((__s64)len, (__s64)event.res);
		/* Not only for a moment. */
		good = slept && w.wall >= ANSWER_NS / 2 && w.cpu < w.wall / 4;
	}
	EXPECT_TRUE(good);
	EXPECT_EQ(0, io_destroy(w.c.ctx));
	close(fd);
	aio_slow_disk_remove(&disk);
}

TEST_HARNESS_MAIN
