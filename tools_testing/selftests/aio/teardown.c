// SPDX-License-Identifier: GPL-2.0
/*
 * Processes that end, in every way, with requests in flight.
 *
 * Held here: whatever a process had, nothing of it is left when it has ended.
 * It can be reaped, fs.aio-nr is what it was, and there are no more ring inodes
 * than before. And a thread that leaves takes nothing from the threads that
 * stay.
 *
 * Requests are kept in flight by a null_blk disk that takes its time, by the
 * scratch disk named in AIO_SCRATCH_DEV (its contents are lost), and by pipes
 * that nobody writes to.
 */
#include <linux/limits.h>
#include <sys/wait.h>
#include "../kselftest.h"
#include "aio_test.h"

#define DISK_SIZE	(32 << 20)
#define BLOCK		4096

/* What the child does after it has told that it is under way. */
enum ending { WORK_ON, EXIT, QUICK_EXIT, EXEC, THREAD_EXIT };

struct round {
	const char *dev;
	int contexts;
	int requests;
	enum ending ending;
};

static const struct timespec short_time = { 0, 1000000 };
static char *self_path;

/* ------------------------------------------------------ the children */

static void *leave_later(void *arg)
{
	aio_sleep_ms(5);
	_exit(0);
}

/* Keeps requests to a disk in flight. Returns only when something is wrong. */
static int flood(const struct round *r, int ready)
{
	aio_context_t *ctx = calloc(r->contexts, sizeof(*ctx));
	struct iocb *iocb = calloc(r->contexts * r->requests, sizeof(*iocb));
	struct iocb **list = calloc(r->requests, sizeof(*list));
	struct io_event *events = calloc(r->requests, sizeof(*events));
	int fd = open(r->dev, O_RDWR | O_DIRECT), i, k, n;
	char *buf = aio_pages(r->requests * BLOCK, PROT_READ | PROT_WRITE);
	pthread_t thread;
	char nr[32];

	if (fd < 0 || buf == MAP_FAILED)
		return 10;
	for (i = 0; i < r->contexts; i++) {
		if (io_setup(r->requests, &ctx[i]))
			return 11;
		for (k = 0; k < r->requests; k++) {
			struct iocb *cb = &iocb[i * r->requests + k];

			n = (i * r->requests + k) * 17;
			aio_prep(cb, k & 1 ? IOCB_CMD_PREAD : IOCB_CMD_PWRITE,
				 fd, buf + k * BLOCK, BLOCK,
				 (long long)n * BLOCK % DISK_SIZE);
			list[k] = cb;
		}
		for (k = 0; k < r->requests; k += n) {
			n = io_submit(ctx[i], r->requests - k, list + k);
			if (n <= 0)
				return 12;
		}
	}
	if (write(ready, "x", 1) != 1)
		return 13;
	switch (r->ending) {
	case WORK_ON:
		break;
	case EXIT:
		exit(0);
	case QUICK_EXIT:
		_exit(0);
	case EXEC:
		/* The new program may only start with all that gone. */
		snprintf(nr, sizeof(nr), "%lld",
			 aio_nr() - r->contexts * r->requests);
		execl(self_path, self_path, "after-exec", nr, NULL);
		return 14;
	case THREAD_EXIT:
		if (pthread_create(&thread, NULL, leave_later, NULL))
			return 15;
		pthread_exit(NULL);
	}
	for (i = 0;; i = (i + 1) % r->contexts) {
		struct timespec ts = short_time;

		n = io_getevents(ctx[i], 1, r->requests, events, &ts);
		if (n < 0)
			return 16;
		for (k = 0; k < n; k++) {
			if (events[k].res != BLOCK)
				return 17;
			list[k] = (struct iocb *)(uintptr_t)events[k].obj;
		}
		for (k = 0; k < n;) {
			long ret = io_submit(ctx[i], n - k, list + k);

			if (ret <= 0)
				return 18;
			k += ret;
		}
	}
}

static int after_exec(const char *nr)
{
	return aio_nr() != strtoll(nr, NULL, 0) || aio_maps(0, NULL);
}

/*
 * Threads that sleep in io_submit() on an empty pipe, others that sleep in
 * io_getevents(), one in io_destroy(): all at once.
 */
static int sleepers(const struct round *r, int ready)
{
	struct aio_caller reader[3] = { 0 }, submitter[3] = { 0 };
	struct aio_caller destroyer = { 0 };
	static struct io_event events[3][8];
	aio_context_t ctx[3] = { 0 };
	struct iocb iocb[3];
	char buf[8];
	int p[2], i;

	if (pipe(p))
		return 20;
	for (i = 0; i < 3; i++) {
		if (io_setup(100, &ctx[i]))
			return 21;
		reader[i] = (struct aio_caller){
			.ctx = ctx[i], .min_nr = i + 1, .nr = 8,
			.events = events[i],
		};
		if (!aio_start_blocked(&reader[i], aio_getevents_thread,
				       __NR_io_getevents))
			return 22;
		aio_prep(&iocb[i], IOCB_CMD_PREAD, p[0], buf, 1, 0);
		submitter[i].ctx = ctx[i];
		submitter[i].iocb = &iocb[i];
		/* On a threaded context nothing waits there, and it is in flight all the same. */
		if (aio_auto_threads()) {
			if (aio_submit_one(ctx[i], &iocb[i]) != 1)
				return 23;
			continue;
		}
		if (!aio_start_blocked(&submitter[i], aio_submit_thread,
				       __NR_io_submit))
			return 23;
	}
	destroyer.ctx = ctx[2];
	if (!aio_auto_threads() &&
	    !aio_start_blocked(&destroyer, aio_destroy_thread, __NR_io_destroy))
		return 24;
	if (write(ready, "x", 1) != 1)
		return 25;
	if (r->ending == QUICK_EXIT)
		_exit(0);
	pause();
	return 26;
}

static void *churn(void *arg)
{
	for (;;) {
		aio_context_t ctx = 0;

		if (io_setup(50, &ctx) || io_destroy(ctx))
			_exit(30);
	}
	return NULL;
}

/* Threads that make and destroy contexts all the time. */
static int churners(const struct round *r, int ready)
{
	pthread_t thread;
	int i;

	for (i = 0; i < 4; i++)
		if (pthread_create(&thread, NULL, churn, NULL))
			return 31;
	if (write(ready, "x", 1) != 1)
		return 32;
	pause();
	return 33;
}

static int idle(const struct round *r, int ready)
{
	int i;

	for (i = 0; i < r->contexts; i++) {
		aio_context_t ctx = 0;

		if (io_setup(r->requests, &ctx))
			return 40;
	}
	if (write(ready, "x", 1) != 1)
		return 41;
	exit(0);
}

/* The main thread leaves while a reader waits; the others go on as before. */
struct left {
	struct aio_caller reader;
	int pipe[2];
};

static void *stay(void *arg)
{
	struct left *l = arg;
	struct iocb iocb;

	/* Until the main thread is a zombie. */
	for (;;) {
		char buf[256], path[64];
		char *state;

		snprintf(path, sizeof(path), "/proc/self/task/%d/stat",
			 getpid());
		if (aio_read_text(path, buf, sizeof(buf)) <= 0)
			break;
		state = strrchr(buf, ')');
		if (!state || state[2] == 'Z')
			break;
		aio_sleep_ms(1);
	}
	if (l->reader.done)
		_exit(50);
	aio_prep(&iocb, IOCB_CMD_PWRITE, l->pipe[1], "x", 1, 0);
	if (aio_submit_one(l->reader.ctx, &iocb) != 1)
		_exit(51);
	if (aio_join(&l->reader) != 1)
		_exit(52);
	_exit(l->reader.events->res == 1 ? 0 : 53);
}

static int main_leaves(const struct round *r, int ready)
{
	static struct io_event event;
	static struct left l;
	pthread_t thread;

	l.reader.min_nr = 1;
	l.reader.nr = 1;
	l.reader.events = &event;
	if (pipe(l.pipe) || io_setup(10, &l.reader.ctx) ||
	    !aio_start_blocked(&l.reader, aio_getevents_thread,
			       __NR_io_getevents) ||
	    pthread_create(&thread, NULL, stay, &l) ||
	    write(ready, "x", 1) != 1)
		return 54;
	pthread_exit(NULL);
}

/* ------------------------------------------------------ the parent */

static bool nr_back_to(long long base)
{
	int i;

	for (i = 0; i < 1000 && aio_nr() != base; i++)
		aio_sleep_ms(10);
	return aio_nr() == base;
}

/* How many requests a disk is working on. */
static int in_flight(const char *dev)
{
	if (!dev)
		return 0;
	return aio_disk_stat(dev, "inflight", 0) +
		aio_disk_stat(dev, "inflight", 1);
}

/*
 * @rounds children one after the other. Those that do not end by themselves
 * are killed as soon as they are under way.
 */
static void test(const char *name, int (*child)(const struct round *, int),
		 const struct round *r, int rounds)
{
	bool kill_it = r->ending == WORK_ON && child != main_leaves &&
		child != idle;
	long inodes = aio_ring_inodes();
	long long base = aio_nr();
	int i, busy = 0;

	if (!aio_long())
		rounds = rounds / 25 + 2;
	for (i = 0; i < rounds; i++) {
		int ready[2], status = -1;
		pid_t pid;
		char c;

		if (pipe(ready))
			ksft_exit_fail_perror("pipe");
		pid = fork();
		if (pid < 0)
			ksft_exit_fail_perror("fork");
		if (!pid) {
			close(ready[0]);
			_exit(child(r, ready[1]));
		}
		close(ready[1]);
		if (read(ready[0], &c, 1) == 1) {
			busy += in_flight(r->dev) > 0;
			/* Not always at the same place. */
			if (kill_it && i % 4)
				usleep(i % 4 * 1500);
			if (kill_it)
				kill(pid, SIGKILL);
		}
		close(ready[0]);
		if (waitpid(pid, &status, 0) != pid)
			ksft_exit_fail_perror("waitpid");
		if (status != (kill_it ? SIGKILL : 0)) {
			ksft_print_msg("round %d: wait status %#x\n", i,
				       status);
			break;
		}
		if (!nr_back_to(base)) {
			ksft_print_msg("round %d: aio-nr is %lld, was %lld\n",
				       i, aio_nr(), base);
			break;
		}
	}
	if (i == rounds && inodes >= 0 && !aio_ring_inodes_back_to(inodes)) {
		ksft_print_msg("%ld ring inodes, was %ld\n", aio_ring_inodes(),
			       inodes);
		i = -1;
	}
	if (r->dev)
		ksft_print_msg("%s: disk busy in %d of %d rounds\n", name, busy,
			       rounds);
	ksft_test_result(i == rounds, "%s, %d rounds\n", name, rounds);
}

/* All that needs a disk, on one disk. */
static const struct {
	const char *name;
	int contexts;
	int requests;
	enum ending ending;
	int rounds;
} disk_tests[] = {
	{ "SIGKILL", 1, 256, WORK_ON, 200 },
	{ "SIGKILL with many contexts", 16, 32, WORK_ON, 20 },
	{ "exit()", 1, 256, EXIT, 20 },
	{ "_exit() with many contexts", 16, 32, QUICK_EXIT, 20 },
	{ "execve()", 3, 100, EXEC, 20 },
	{ "first thread leaves early", 2, 100, THREAD_EXIT, 20 },
};

static void test_disk(const char *kind, const char *dev)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(disk_tests); i++) {
		struct round r = {
			.dev = dev,
			.contexts = disk_tests[i].contexts,
			.requests = disk_tests[i].requests,
			.ending = disk_tests[i].ending,
		};
		char name[64];

		snprintf(name, sizeof(name), "%s: %s", kind,
			 disk_tests[i].name);
		if (dev)
			test(name, flood, &r, disk_tests[i].rounds);
		else
			ksft_test_result_skip("%s\n", name);
	}
}

int main(int argc, char **argv)
{
	struct round none = { 0 }, leave = { .ending = QUICK_EXIT };
	struct round small = { .contexts = 300, .requests = 2 };
	struct round large = { .contexts = 2, .requests = 10000 };
	const char *dev = getenv("AIO_SCRATCH_DEV");
	struct aio_slow_disk disk;
	bool slow;

	if (argc == 3 && !strcmp(argv[1], "after-exec"))
		return after_exec(argv[2]);
	self_path = "/proc/self/exe";

	ksft_print_header();
	ksft_set_plan(6 + 2 * ARRAY_SIZE(disk_tests));
	if (aio_nr() < 0)
		ksft_exit_skip("no /proc/sys/fs/aio-nr\n");
	if (aio_ring_inodes() < 0)
		ksft_print_msg("ring inodes are not counted: no /proc/slabinfo\n");

	test("idle contexts", idle, &small, 20);
	test("large idle contexts", idle, &large, 20);
	test("first thread leaves, others go on", main_leaves, &none, 50);
	test("SIGKILL while threads sleep", sleepers, &none, 50);
	test("_exit() while threads sleep", sleepers, &leave, 50);
	test("SIGKILL in io_setup() and io_destroy()", churners, &none, 50);

	slow = aio_slow_disk_make(&disk, 30);
	if (!slow)
		ksft_print_msg("no null_blk disk: needs root, configfs and null_blk\n");
	test_disk("slow disk", slow ? disk.dev : NULL);
	if (slow)
		aio_slow_disk_remove(&disk);

	if (dev && access(dev, R_OK | W_OK))
		dev = NULL;
	if (!dev)
		ksft_print_msg("no scratch disk: set AIO_SCRATCH_DEV\n");
	test_disk("scratch disk", dev);
	ksft_finished();
}
