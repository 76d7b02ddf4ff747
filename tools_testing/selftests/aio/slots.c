// SPDX-License-Identifier: GPL-2.0
/*
 * How many requests there is room for.
 *
 * Each processor keeps some free slots of a ring for itself. The C code refuses
 * a submission, with EAGAIN, that does not find any where it looks, although
 * there are some with other processors. Held here for the implementation in
 * Rust: a submission is refused only when all of nr - 1 are in use, nr being
 * what the ring says; wherever they were given back, and be that a processor
 * that is offline since; no slot is lost or won by that; and processors that
 * have none are not disturbed.
 */
#include "../kselftest_harness.h"
#include "aio_test.h"

#define STAY "in the C implementation slots stay with other processors"

static cpu_set_t all_cpus;

static bool run_on(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	return !sched_setaffinity(0, sizeof(set), &set);
}

FIXTURE(slots) {
	aio_context_t ctx;
	int null_fd;
	int pipe[2];
	long room;
	struct iocb iocb;
};

FIXTURE_SETUP(slots)
{
	sched_getaffinity(0, sizeof(all_cpus), &all_cpus);
	self->null_fd = open("/dev/null", O_RDWR);
	ASSERT_LE(0, self->null_fd);
	ASSERT_EQ(0, pipe(self->pipe));
	ASSERT_EQ(0, io_setup(1, &self->ctx));
	self->room = (long)aio_ring_nr(1) - 1;
}

FIXTURE_TEARDOWN(slots)
{
	EXPECT_EQ(0, io_destroy(self->ctx));
}

/* Requests that stay in flight, until there is no room. */
static long fill_with_polls(aio_context_t ctx, int fd)
{
	struct iocb iocb;
	long ret, sum = 0;

	aio_prep(&iocb, IOCB_CMD_POLL, fd, (void *)POLLIN, 0, 0);
	while ((ret = aio_submit_one(ctx, &iocb)) == 1)
		sum++;
	return ret == -EAGAIN ? sum : ret;
}

/* On each processor some requests come and go. */
static void use_all(aio_context_t ctx, int null_fd)
{
	struct io_event event;
	struct iocb iocb;
	int cpu, i;

	aio_prep(&iocb, IOCB_CMD_PWRITE, null_fd, "x", 1, 0);
	for (cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (!CPU_ISSET(cpu, &all_cpus) || !run_on(cpu))
			continue;
		for (i = 0; i < 5; i++)
			aio_run(ctx, &iocb, &event);
	}
	sched_setaffinity(0, sizeof(all_cpus), &all_cpus);
}

#define EXPECT_ROOM(want, got) do {					\
	long __got = (got);						\
									\
	if (__got < (want) && !aio_is_rust())				\
		SKIP(return, STAY);					\
	EXPECT_EQ(want, __got);						\
} while (0)

/* In flight. */
TEST_F(slots, all_can_be_in_flight)
{
	EXPECT_ROOM(self->room, fill_with_polls(self->ctx, self->pipe[0]));
	/* There is room again as soon as one has ended. */
	ASSERT_EQ(1, write(self->pipe[1], "x", 1));
	while (aio_drain(self->ctx))
		;
}

/* As events. */
TEST_F(slots, all_can_be_events)
{
	EXPECT_ROOM(self->room,
		    aio_fill(self->ctx, &self->iocb, self->null_fd));
	EXPECT_EQ(self->room, aio_drain(self->ctx));
}

/* By one call. */
TEST_F(slots, all_at_once)
{
	struct iocb **list = calloc(self->room + 9, sizeof(*list));
	long i;

	aio_prep(&self->iocb, IOCB_CMD_PWRITE, self->null_fd, "x", 1, 0);
	for (i = 0; i < self->room + 9; i++)
		list[i] = &self->iocb;
	EXPECT_ROOM(self->room,
		    io_submit(self->ctx, self->room + 9, list));
	EXPECT_EQ(-EAGAIN, io_submit(self->ctx, 1, list));
	EXPECT_EQ(self->room, aio_drain(self->ctx));
}

/* Whatever was used where before. */
TEST_F(slots, from_all_processors)
{
	int cpu, round;

	for (cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (!CPU_ISSET(cpu, &all_cpus))
			continue;
		for (round = 0; round < 3; round++) {
			use_all(self->ctx, self->null_fd);
			ASSERT_TRUE(run_on(cpu));
			EXPECT_ROOM(self->room,
				    aio_fill(self->ctx, &self->iocb,
					     self->null_fd));
			EXPECT_EQ(self->room, aio_drain(self->ctx));
		}
	}
}

/* The program takes events out of the ring. */
TEST_F(slots, user_reaping)
{
	volatile struct aio_ring *ring = aio_ring(self->ctx);
	long n;

	EXPECT_ROOM(self->room,
		    aio_fill(self->ctx, &self->iocb, self->null_fd));
	for (n = 1; n <= self->room; n += 12) {
		ring->head = (ring->head + n) % ring->nr;
		EXPECT_EQ(n, aio_fill(self->ctx, &self->iocb, self->null_fd));
	}
	EXPECT_EQ(self->room, aio_drain(self->ctx));
}

static bool set_online(int cpu, bool online)
{
	char path[64];
	int fd;
	bool ok;

	snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%d/online",
		 cpu);
	fd = open(path, O_WRONLY);
	ok = fd >= 0 && write(fd, online ? "1" : "0", 1) == 1;
	close(fd);
	return ok;
}

/* Who has some goes offline. */
TEST_F(slots, offline_processor)
{
	int cpu, tries;
	long room;

	for (cpu = CPU_SETSIZE - 1; cpu > 0; cpu--)
		if (CPU_ISSET(cpu, &all_cpus))
			break;
	if (!cpu || !set_online(cpu, true))
		SKIP(return, "no processor that can go offline, or not root");
	use_all(self->ctx, self->null_fd);
	if (!set_online(cpu, false))
		SKIP(return, "a processor can't go offline");
	room = aio_fill(self->ctx, &self->iocb, self->null_fd);
	/* A processor that does not come within ten seconds is given up by the kernel. */
	for (tries = 0; tries < 5 && !set_online(cpu, true); tries++)
		;
	EXPECT_GT(5, tries);
	EXPECT_ROOM(self->room, room);
	EXPECT_EQ(self->room, aio_drain(self->ctx));
	/* It is one of many again. */
	use_all(self->ctx, self->null_fd);
	EXPECT_EQ(self->room, aio_fill(self->ctx, &self->iocb, self->null_fd));
}

/* Interrupts of other processors by which functions are called (x86). */
static long function_calls(void)
{
	char line[4096], *p;
	long sum = 0;
	FILE *f = fopen("/proc/interrupts", "r");

	while (f && fgets(line, sizeof(line), f)) {
		p = strstr(line, "CAL:");
		if (!p)
			continue;
		p += 4;
		for (;;) {
			char *end;
			long n = strtol(p, &end, 10);

			if (end == p)
				break;
			sum += n;
			p = end;
		}
	}
	if (f)
		fclose(f);
	return sum;
}

/* A ring that stays full: who is refused again and again disturbs nobody. */
TEST_F(slots, refused_without_interrupts)
{
	const long times = aio_long() ? 20000 : 5000;
	struct iocb iocb;
	long before, i;

	use_all(self->ctx, self->null_fd);
	EXPECT_ROOM(self->room,
		    aio_fill(self->ctx, &self->iocb, self->null_fd));
	aio_prep(&iocb, IOCB_CMD_PWRITE, self->null_fd, "x", 1, 0);
	before = function_calls();
	for (i = 0; i < times; i++)
		ASSERT_EQ(-EAGAIN, aio_submit_one(self->ctx, &iocb));
	/* Others have reasons of their own. */
	EXPECT_GT(times / 4, function_calls() - before);
	EXPECT_EQ(self->room, aio_drain(self->ctx));
}

struct user {
	pthread_t thread;
	aio_context_t ctx;
	int null_fd;
	int cpu;
	int rounds;
	long ret;
};

/* Submits until there is no room, and takes what there is, by turns. */
static void *use_context(void *arg)
{
	struct user *u = arg;
	struct io_event events[40];
	struct iocb iocb;
	int i;

	if (!run_on(u->cpu))
		return NULL;
	for (i = 0; i < u->rounds && u->ret >= 0; i++) {
		u->ret = aio_fill(u->ctx, &iocb, u->null_fd);
		if (u->ret >= 0)
			u->ret = aio_reap(u->ctx, events, 1 + i % 40);
	}
	return NULL;
}

/* Many at once gather; no slot is lost, or counted twice. */
TEST_F(slots, gathered_by_many)
{
	struct user user[16];
	int cpu, i, nr = 0;
	long before;

	before = aio_fill(self->ctx, &self->iocb, self->null_fd);
	EXPECT_EQ(before, aio_drain(self->ctx));
	for (i = 0; i < 2; i++)
		for (cpu = 0; cpu < CPU_SETSIZE && nr < 16; cpu++)
			if (CPU_ISSET(cpu, &all_cpus))
				user[nr++] = (struct user) {
					.ctx = self->ctx, .cpu = cpu,
					.null_fd = self->null_fd,
					.rounds = aio_long() ? 20000 : 1000,
				};
	for (i = 0; i < nr; i++)
		ASSERT_EQ(0, pthread_create(&user[i].thread, NULL, use_context,
					    &user[i]));
	for (i = 0; i < nr; i++) {
		pthread_join(user[i].thread, NULL);
		EXPECT_LE(0, user[i].ret);
	}
	EXPECT_GE(self->room, aio_drain(self->ctx));
	EXPECT_ROOM(self->room, fill_with_polls(self->ctx, self->pipe[0]));
}

static void *fill_context(void *arg)
{
	struct user *u = arg;
	struct iocb iocb;

	if (run_on(u->cpu))
		u->ret = aio_fill(u->ctx, &iocb, u->null_fd);
	return NULL;
}

/* When all of them were refused there is no room. */
TEST_F(slots, filled_by_many)
{
	struct user user[16];
	int cpu, i, nr = 0, round;
	long sum;

	for (cpu = 0; cpu < CPU_SETSIZE && nr < 16; cpu++)
		if (CPU_ISSET(cpu, &all_cpus))
			user[nr++] = (struct user) {
				.ctx = self->ctx, .cpu = cpu,
				.null_fd = self->null_fd,
			};
	for (round = 0; round < (aio_long() ? 30 : 10); round++) {
		sum = 0;
		for (i = 0; i < nr; i++)
			ASSERT_EQ(0, pthread_create(&user[i].thread, NULL,
						    fill_context, &user[i]));
		for (i = 0; i < nr; i++) {
			pthread_join(user[i].thread, NULL);
			sum += user[i].ret;
		}
		EXPECT_ROOM(self->room, sum);
		EXPECT_EQ(self->room, aio_drain(self->ctx));
	}
}

TEST_HARNESS_MAIN
