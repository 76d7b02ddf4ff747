// SPDX-License-Identifier: GPL-2.0
/*
 * Benchmark of the AIO system calls, and of io_uring as their peer.
 *
 *   aio-bench [-l] [-n OPS] [-w WINDOWS] [-q QD[,QD...]] [CASE...]
 *
 * -l: list the cases and what their figures are.
 * -n: operations of each window, 8192 if not given.
 * -w: counted windows of each case, 3 if not given.
 * -q: queue depths, 1,8,32,128 if not given.
 *
 * A CASE is a name or the beginning of one that ends with "*".
 *
 * It is to run in a guest whose clock advances by one nanosecond with each executed
 * instruction (QEMU: -accel tcg -icount shift=0,sleep=off), so that the difference
 * of two readings of the clock is a number of instructions; where the guest waits, the
 * clock skips to the next timer, and the waiting is part of the figure. Elsewhere
 * the figures are nanoseconds.
 *
 * A case is warmed up, then counted in windows. Everything that it did in a window is
 * verified afterwards: each event's result, data and object, that each request
 * has exactly one, the contents of what was read, the block device's own count of
 * sectors. A case that did not do what it should is a failure, and no figure is
 * printed for it. Per case and queue depth there is one line
 *
 *   result NAME QD FIGURE OPERATIONS
 *
 * and at the end "done"; the exit status is 1 if a case failed.
 *
 * What the guest must have: block devices /dev/bench0, bench1 and bench2 of
 * null_blk with irqmode 0, 1 and 2 (see scripts/guest-bench), /dev/shm as a tmpfs. The
 * cases whose names have "nvme" in them want a disk /dev/nvme0n1, half of whose queues
 * are polled; those with "ext4" such a file system at /mnt/bench, on a disk that takes
 * its time. Threaded contexts are those of the cases "aiot-*".
 * There are markers around a window for insnprof.c: instructions that do nothing.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/aio_abi.h>
#include <linux/fs.h>
#include <linux/futex.h>
#include <linux/io_uring.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <stdnoreturn.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))

typedef __u64 u64;

#define SIZE		4096
#define MAX_QD		128
#define NVME_QD		64
#define STRIDE		65536	/* between requests that are not merged */
#define NFDS		4
#define MAX_OPS		32768
#define MAX_CTXS	64
#define POISON		0xa5
#define TICK		4000000	/* ns, with CONFIG_HZ=250 */
#define EXT4		"/mnt/bench"

/* Long no-operations, whose displacement the plugin looks for. */

static inline void mark_begin(void)
{
	asm volatile("nopl 0x62650001(%%rax)" : : : "memory");
}

static inline void mark_end(void)
{
	asm volatile("nopl 0x62650002(%%rax)" : : : "memory");
}

static inline void mark_result(void)
{
	asm volatile("nopl 0x62650003(%%rax)" : : : "memory");
}

static inline void mark_reset(void)
{
	asm volatile("nopl 0x62650004(%%rax)" : : : "memory");
}

enum target {
	NONE, BLOCK, BLOCK_IRQ, NVME, NULL_DEV, TMPFS, READY, WOKEN,
	/* Buffered: what is in the page cache, and what is not. */
	WARM, WARM_EXT4, COLD, COLD_EXT4,
};

struct bench {
	const char *name;
	void (*run)(const struct bench *b, unsigned int qd);
	enum target target;
	int op;			/* of struct iocb or of struct io_uring_sqe */
	unsigned int flags;
	const char *what;
};

/* Flags. */
#define FDS		1	/* several descriptors of one file, in turn */
#define RESFD		2	/* an eventfd is signalled */
#define USER_REAP	4	/* events are taken from the ring in user space */
#define REGISTERED	8	/* registered buffers and files */
#define IOPOLL		16	/* the device is polled */
#define ONCE		32	/* there are no queue depths */
#define FEW_FDS		64	/* not at queue depth 1 */
#define WORKER		128	/* a worker does it, and when it runs varies */
#define SCATTERED	256	/* not one after the other, so that none are merged */
#define USERIOCB	512	/* io_setup2(): the kernel has the iocbs mapped */
#define FIXEDBUFS	1024	/* io_setup2(): the buffers stay pinned */
#define THREADED	2048	/* made with fs.aio-auto-threads=1 */
#define IDLE_THREAD	4096	/* the program has another thread, which does nothing */
#define IN_GROUP	8192	/* in a memory control group */
#define BATCHES		16384	/* 16 at a time are submitted, and waited for */
#define SETUP2		(USERIOCB | FIXEDBUFS)
/* With IOPOLL, a case of AIO is one of io_setup2(), too. */

static unsigned int opt_ops = 8192, opt_windows = 3;
static unsigned int qds[16] = { 1, 8, 32, 128 }, nqds = 4;
static bool failed;
static jmp_buf give_up;
static const struct bench *current;
static unsigned int current_qd;

static char *buffers;
static struct iocb *iocbs;
static struct iocb *iocb_ptrs[MAX_QD];
static struct iovec iovecs[MAX_QD];
static struct io_event *events;		/* all of a window */
static u64 overhead;			/* of two readings of the clock */
static int shm_fd = -1;

/* What a case has open; closed after it, also if it fails. */
static int fds[NFDS], resfd = -1, ring_fd = -1;
static aio_context_t ctx;
static void *sq_map, *cq_map;
static size_t sq_map_size, cq_map_size, sqes_size;
static struct io_uring_sqe *sqes;

static inline long call6(long nr, long a, long b, long c, long d, long e, long f)
{
	register long r10 asm("r10") = d;
	register long r8 asm("r8") = e;
	register long r9 asm("r9") = f;
	long ret;

	asm volatile("syscall" : "=a" (ret)
		     : "a" (nr), "D" (a), "S" (b), "d" (c), "r" (r10), "r" (r8), "r" (r9)
		     : "rcx", "r11", "memory");
	return ret;
}

static inline long call3(long nr, long a, long b, long c)
{
	long ret;

	asm volatile("syscall" : "=a" (ret) : "a" (nr), "D" (a), "S" (b), "d" (c)
		     : "rcx", "r11", "memory");
	return ret;
}

static inline long io_setup(unsigned int nr, aio_context_t *p)
{
	return call3(SYS_io_setup, nr, (long)p, 0);
}

/* linux/aio_ext.h is not among the headers of the machine that this is compiled on. */
#define NR_IO_SETUP2		510
#define IOCTX_FLAG_USERIOCB	1
#define IOCTX_FLAG_IOPOLL	2
#define IOCTX_FLAG_FIXEDBUFS	4

static inline long io_setup2(unsigned int nr, unsigned int flags, struct iocb *array,
			     aio_context_t *p)
{
	return call6(NR_IO_SETUP2, nr, flags, (long)array, (long)p, 0, 0);
}

static inline long io_destroy(aio_context_t c)
{
	return call3(SYS_io_destroy, c, 0, 0);
}

static inline long io_submit(aio_context_t c, long nr, struct iocb **p)
{
	return call3(SYS_io_submit, c, nr, (long)p);
}

static inline long io_cancel(aio_context_t c, struct iocb *iocb)
{
	return call3(SYS_io_cancel, c, (long)iocb, 0);
}

static inline long io_getevents(aio_context_t c, long min, long nr, struct io_event *e,
				struct timespec *t)
{
	return call6(SYS_io_getevents, c, min, nr, (long)e, (long)t, 0);
}

static inline long io_uring_enter(int fd, unsigned int submit, unsigned int min, unsigned int flags)
{
	return call6(SYS_io_uring_enter, fd, submit, min, flags, 0, 0);
}

static u64 now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ull + t.tv_nsec;
}

/* What two readings of the clock take by themselves. */
static void calibrate(void)
{
	u64 t0, t;
	int i;

	overhead = ~0ull;
	for (i = 0; i < 1000; i++) {
		t0 = now();
		mark_begin();
		mark_end();
		t = now() - t0;
		if (t < overhead)
			overhead = t;
	}
	mark_reset();
}

static void fail_head(void)
{
	printf("failed %s %u: ", current->name, current_qd);
}

static noreturn void fail_tail(void)
{
	printf("\n");
	longjmp(give_up, 1);
}

#define fail(...)	(fail_head(), printf(__VA_ARGS__), fail_tail())

static void check(const char *what, long ret, long want)
{
	if (ret != want)
		fail("%s: %ld, not %ld (errno %d)", what, ret, want, errno);
}

static void report(const struct bench *b, unsigned int qd, u64 total, u64 ops)
{
	mark_result();
	printf("result %s %u %.2f %llu\n", b->name, qd, (double)total / ops, ops);
}

/* A number from a file of /sys or /proc: the field'th one. */
static u64 number(const char *path, int field)
{
	char text[512], *p = text, *end;
	ssize_t n;
	u64 v = 0;
	int fd;

	fd = open(path, O_RDONLY);
	if (fd < 0)
		fail("%s: %s", path, strerror(errno));
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (n <= 0)
		fail("%s: empty", path);
	text[n] = 0;
	do {
		v = strtoull(p, &end, 10);
		if (end == p)
			fail("%s: no field %d", path, field);
		p = end;
	} while (field--);
	return v;
}

static u64 aio_nr(void)
{
	return number("/proc/sys/fs/aio-nr", 0);
}

static int must_open(const char *path, int flags)
{
	int fd = open(path, flags);

	if (fd < 0)
		fail("%s: %s", path, strerror(errno));
	return fd;
}

static u64 pattern(unsigned int slot, unsigned int i)
{
	return (slot + 1) * 0x100000001ull + i * 0x9e3779b97f4a7c15ull;
}

static bool is_read(const struct bench *b);
static bool is_write(const struct bench *b);

/* A file's descriptors in fds[]. */
static void open_target(const struct bench *b)
{
	static const char * const paths[] = {
		[BLOCK] = "/dev/bench0",
		[BLOCK_IRQ] = "/dev/bench1",
		[NVME] = "/dev/nvme0n1",
		[NULL_DEV] = "/dev/null",
		[WARM] = "/dev/bench0",
		[WARM_EXT4] = EXT4 "/file",
		[COLD] = "/dev/bench2",
		[COLD_EXT4] = EXT4 "/file",
	};
	unsigned int i;
	char shm[32];

	for (i = 0; i < NFDS; i++) {
		switch (b->target) {
		case NONE:
			break;
		case BLOCK:
		case BLOCK_IRQ:
		case NVME:
			fds[i] = must_open(paths[b->target], O_RDWR | O_DIRECT);
			break;
		case NULL_DEV:
		case WARM:
		case WARM_EXT4:
		case COLD:
		case COLD_EXT4:
			fds[i] = must_open(paths[b->target], O_RDWR);
			break;
		case TMPFS:
			snprintf(shm, sizeof(shm), "/proc/self/fd/%d", shm_fd);
			fds[i] = must_open(shm, O_RDWR);
			break;
		case READY:
		case WOKEN:
			fds[i] = eventfd(b->target == READY, EFD_NONBLOCK);
			if (fds[i] < 0)
				fail("eventfd: %s", strerror(errno));
			break;
		}
	}
}

/* The sectors that the block device says it has read or written. */
static u64 device_count(const struct bench *b)
{
	const char *path;

	if (b->target == BLOCK)
		path = "/sys/block/bench0/stat";
	else if (b->target == BLOCK_IRQ)
		path = "/sys/block/bench1/stat";
	else if (b->target == NVME)
		path = "/sys/block/nvme0n1/stat";
	else if (b->target == COLD)
		path = "/sys/block/bench2/stat";
	else
		return 0;
	return number(path, is_read(b) ? 2 : 6);
}

static void check_device(const struct bench *b, u64 before, u64 ops)
{
	u64 n;

	if (b->target != BLOCK && b->target != BLOCK_IRQ && b->target != NVME && b->target != COLD)
		return;
	n = device_count(b) - before;
	if (n != ops * (SIZE / 512))
		fail("the device has done %llu sectors for %llu operations", n, ops);
}

static void poison_buffers(const struct bench *b, unsigned int qd)
{
	if (is_read(b))
		memset(buffers, POISON, (size_t)qd * SIZE);
}

static void check_buffers(const struct bench *b, unsigned int qd)
{
	unsigned int i, j;

	/* null_blk without memory leaves the buffer alone. */
	if (!is_read(b) || b->target != TMPFS)
		return;
	for (i = 0; i < qd; i++) {
		u64 *p = (u64 *)(buffers + (size_t)i * SIZE);

		for (j = 0; j < SIZE / 8; j++) {
			if (p[j] != pattern(i, j))
				fail("buffer %u: wrong contents at %u", i, j * 8);
		}
	}
}

static long want_res(const struct bench *b)
{
	if (b->target == READY)
		return POLLIN;
	if (b->target == WOKEN)
		return POLLIN;
	return is_read(b) || is_write(b) ? SIZE : 0;
}

/*
 * AIO: batches of qd requests, each an io_submit() and an io_getevents().
 */
static void fill_iocbs(const struct bench *b, unsigned int qd)
{
	unsigned int i;

	memset(iocbs, 0, sizeof(*iocbs) * MAX_QD);
	for (i = 0; i < qd; i++) {
		struct iocb *io = &iocbs[i];

		iocb_ptrs[i] = b->flags & USERIOCB ? (struct iocb *)(long)i : io;
		iovecs[i].iov_base = buffers + (size_t)i * SIZE;
		iovecs[i].iov_len = SIZE;
		io->aio_data = 1000 + i;
		io->aio_lio_opcode = b->op;
		io->aio_fildes = fds[b->flags & FDS ? i % NFDS : 0];
		if (b->flags & RESFD) {
			io->aio_flags = IOCB_FLAG_RESFD;
			io->aio_resfd = resfd;
		}
		switch (b->op) {
		case IOCB_CMD_PREAD:
		case IOCB_CMD_PWRITE:
			io->aio_buf = (u64)iovecs[i].iov_base;
			io->aio_nbytes = SIZE;
			break;
		case IOCB_CMD_PREADV:
		case IOCB_CMD_PWRITEV:
			io->aio_buf = (u64)&iovecs[i];
			io->aio_nbytes = 1;
			break;
		case IOCB_CMD_POLL:
			io->aio_buf = POLLIN;
			break;
		}
		if (is_read(b) || is_write(b))
			io->aio_offset = (u64)i * (b->flags & SCATTERED ? STRIDE : SIZE);
	}
}

static void check_events(const struct bench *b, unsigned int qd, unsigned int rounds)
{
	bool seen[MAX_QD];
	unsigned int r, i;
	long want = want_res(b);
	struct io_event *e = events;

	for (r = 0; r < rounds; r++) {
		memset(seen, 0, sizeof(seen));
		for (i = 0; i < qd; i++, e++) {
			u64 slot = e->data - 1000;

			if (slot >= qd || seen[slot])
				fail("event %u of round %u: data %llu", i, r, e->data);
			seen[slot] = true;
			if (e->obj != (b->flags & USERIOCB ? slot : (u64)&iocbs[slot]))
				fail("event %u of round %u: obj %llx", i, r, e->obj);
			if (e->res != want || e->res2)
				fail("event %u of round %u: res %lld, %lld", i, r, e->res, e->res2);
		}
	}
}

/* The ring as user space sees it. */
struct aio_ring {
	unsigned int id, nr, head, tail, magic, compat, incompat, header_length;
	struct io_event events[];
};

static bool usable_ring(void)
{
	const struct aio_ring *ring = (void *)ctx;

	return ring->magic == 0xa10a10a1 && !ring->incompat;
}

static inline void reap(struct io_event *e, unsigned int n)
{
	struct aio_ring *ring = (void *)ctx;
	unsigned int head = ring->head, nr = ring->nr;

	while (n) {
		if (head == __atomic_load_n(&ring->tail, __ATOMIC_ACQUIRE)) {
			sched_yield();
			continue;
		}
		*e++ = ring->events[head];
		if (++head == nr)
			head = 0;
		n--;
	}
	__atomic_store_n(&ring->head, head, __ATOMIC_RELEASE);
}

/*
 * The counted loops, one for each way of waiting, with nothing in them to decide. They
 * return false if a system call did not do what it should.
 */
static bool loop_batches(unsigned int qd, unsigned int rounds)
{
	struct io_event *e = events;

	for (; rounds; rounds--, e += qd) {
		if (io_submit(ctx, qd, iocb_ptrs) != qd)
			return false;
		if (io_getevents(ctx, qd, qd, e, NULL) != qd)
			return false;
	}
	return true;
}

static bool loop_user_reap(unsigned int qd, unsigned int rounds)
{
	struct io_event *e = events;

	for (; rounds; rounds--, e += qd) {
		if (io_submit(ctx, qd, iocb_ptrs) != qd)
			return false;
		reap(e, qd);
	}
	return true;
}

static bool loop_woken(unsigned int qd, unsigned int rounds)
{
	struct io_event *e = events;
	u64 one = 1, got;

	for (; rounds; rounds--, e += qd) {
		if (io_submit(ctx, qd, iocb_ptrs) != qd)
			return false;
		if (call3(SYS_write, fds[0], (long)&one, 8) != 8)
			return false;
		if (io_getevents(ctx, qd, qd, e, NULL) != qd)
			return false;
		if (call3(SYS_read, fds[0], (long)&got, 8) != 8)
			return false;
	}
	return true;
}

/*
 * With an NVMe disk a request takes time. If nothing else had to run while it is waited
 * for, the clock would skip that time, and the figure would be one of the emulator's
 * devices. So a process of the idle class runs then. It counts its rounds, and they are
 * subtracted, with the share of the clock's ticks that fall into them: how long the
 * device takes depends on the machine.
 */
static volatile u64 *idle_rounds;
static double round_cost;
static pid_t idler;

static void start_idler(void)
{
	struct sched_param p = { 0 };

	idle_rounds = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
			   MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (idle_rounds == MAP_FAILED)
		fail("mmap: %s", strerror(errno));
	idler = fork();
	if (idler < 0)
		fail("fork: %s", strerror(errno));
	if (idler)
		return;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (sched_setscheduler(0, SCHED_IDLE, &p))
		_exit(1);
	asm volatile("1: incq %0; jmp 1b" : "+m" (*idle_rounds));
}

/* What a round takes: two instructions, and a bit for the ticks. */
static void calibrate_idler(void)
{
	struct timespec t = { .tv_nsec = 400000000 };
	u64 t0, rounds;

	/* It is there, and runs. */
	nanosleep(&t, NULL);
	rounds = *idle_rounds;
	t0 = now();
	nanosleep(&t, NULL);
	t0 = now() - t0;
	rounds = *idle_rounds - rounds;
	if (!rounds)
		fail("the process of the idle class does not run");
	round_cost = (double)t0 / rounds;
	if (round_cost < 2 || round_cost > 3)
		fail("a round takes %.3f instructions, not 2 and a bit", round_cost);
}

static void stop_idler(void)
{
	if (idler > 0) {
		kill(idler, SIGKILL);
		waitpid(idler, NULL, 0);
	}
	idler = 0;
}

/*
 * A polled context: a look, and another one, until all events are there. What looks
 * take that find nothing is told apart: how many there are depends on the machine.
 */
static u64 looks, empty_looks, empty_time, empty_rounds;

static bool loop_looks(unsigned int qd, unsigned int rounds)
{
	struct timespec zero = { 0, 0 };
	struct io_event *e = events;
	unsigned int left;
	u64 t0, t, idle0, idle;
	long n;

	for (; rounds; rounds--) {
		if (io_submit(ctx, qd, iocb_ptrs) != qd)
			return false;
		/* A look begins where the one before has ended. */
		idle0 = *idle_rounds;
		t0 = now();
		for (left = qd; left; left -= n, e += n) {
			n = io_getevents(ctx, 0, left, e, &zero);
			if (n < 0)
				return false;
			idle = *idle_rounds;
			t = now();
			looks++;
			if (!n) {
				empty_looks++;
				empty_time += t - t0;
				empty_rounds += idle - idle0;
			}
			idle0 = idle;
			t0 = t;
		}
	}
	return true;
}

/* The interrupts that the disk's queues have raised so far. */
static u64 raised_so_far(void)
{
	char *line = NULL;
	size_t size = 0;
	u64 sum = 0;
	FILE *f = fopen("/proc/interrupts", "r");

	if (!f)
		fail("/proc/interrupts: %s", strerror(errno));
	while (getline(&line, &size, f) > 0) {
		char *p = strchr(line, ':');

		/* One processor, so there is one number. */
		if (p && strstr(line, "nvme0q"))
			sum += strtoull(p + 1, NULL, 10);
	}
	free(line);
	fclose(f);
	return sum;
}

static u64 window_aio(const struct bench *b, unsigned int qd, unsigned int rounds)
{
	u64 t0, t, done, signalled, idle = 0;
	bool ok;

	memset(events, POISON, sizeof(*events) * qd * rounds);
	poison_buffers(b, qd);
	done = device_count(b);
	if (idler)
		idle = *idle_rounds;
	if (b->flags & USER_REAP) {
		t0 = now();
		mark_begin();
		ok = loop_user_reap(qd, rounds);
	} else if (b->target == WOKEN) {
		t0 = now();
		mark_begin();
		ok = loop_woken(qd, rounds);
	} else if (b->target == NVME && b->flags & IOPOLL) {
		t0 = now();
		mark_begin();
		ok = loop_looks(qd, rounds);
	} else {
		t0 = now();
		mark_begin();
		ok = loop_batches(qd, rounds);
	}
	mark_end();
	t = now() - t0 - overhead;
	if (idler)
		t -= round_cost * (*idle_rounds - idle);
	if (!ok)
		fail("a system call failed");
	check_events(b, qd, rounds);
	check_buffers(b, qd);
	check_device(b, done, (u64)qd * rounds);
	if (b->flags & RESFD) {
		check("read of the eventfd", read(resfd, &signalled, 8), 8);
		check("eventfd", signalled, (long)qd * rounds);
	}
	return t;
}

/* A poll that is to be woken must not be ready by itself. */
static void check_not_ready(unsigned int qd)
{
	struct timespec zero = { 0, 0 };
	u64 one = 1;

	check("io_submit", io_submit(ctx, qd, iocb_ptrs), qd);
	check("io_getevents before the wake-up", io_getevents(ctx, 1, qd, events, &zero), 0);
	check("write", write(fds[0], &one, 8), 8);
	check("io_getevents", io_getevents(ctx, qd, qd, events, NULL), qd);
	check("read", read(fds[0], &one, 8), 8);
}

#define AUTO_THREADS	"/proc/sys/fs/aio-auto-threads"

/* Whether the contexts that are made are threaded. */
static void switch_threads(bool on)
{
	int fd = must_open(AUTO_THREADS, O_WRONLY);

	check("write to " AUTO_THREADS, write(fd, on ? "1" : "0", 1), 1);
	close(fd);
}

/* The iocbs are filled already: their buffers may be pinned. */
static void set_up_context(const struct bench *b)
{
	unsigned int flags = 0;

	if (b->flags & USERIOCB)
		flags |= IOCTX_FLAG_USERIOCB;
	if (b->flags & FIXEDBUFS)
		flags |= IOCTX_FLAG_FIXEDBUFS;
	if (b->flags & IOPOLL)
		flags |= IOCTX_FLAG_IOPOLL;
	if (b->flags & THREADED)
		switch_threads(true);
	if (flags)
		check("io_setup2",
		      io_setup2(MAX_QD, flags, b->flags & USERIOCB ? iocbs : NULL, &ctx), 0);
	else
		check("io_setup", io_setup(MAX_QD, &ctx), 0);
	if (b->flags & THREADED)
		switch_threads(false);
}

/* Such contexts are there, or the case is left out. */
static bool has_setup2(void)
{
	aio_context_t c = 0;

	return io_setup2(1, ~0u, NULL, &c) != -ENOSYS;
}

static void pool_start(unsigned int nr);

static void run_aio(const struct bench *b, unsigned int qd)
{
	unsigned int windows = b->flags & WORKER ? 8 * opt_windows : opt_windows;
	unsigned int rounds = opt_ops / qd, w;
	u64 total = 0, raised = 0;
	u64 ops = (u64)rounds * qd * windows;

	open_target(b);
	if (b->flags & RESFD)
		resfd = eventfd(0, EFD_NONBLOCK);
	fill_iocbs(b, qd);
	set_up_context(b);
	if (b->flags & IDLE_THREAD)
		pool_start(1);
	if ((b->flags & USER_REAP) && !usable_ring())
		fail("the ring cannot be read");
	if (b->target == WOKEN)
		check_not_ready(qd);
	if (b->target == NVME) {
		start_idler();
		calibrate_idler();
	}
	window_aio(b, qd, rounds / 4 + 1);
	mark_reset();
	looks = 0;
	empty_looks = 0;
	empty_time = 0;
	empty_rounds = 0;
	if (b->target == NVME)
		raised = raised_so_far();
	for (w = 0; w < windows; w++)
		total += window_aio(b, qd, rounds);
	if (b->target == NVME) {
		/* One reading of the clock for each batch and each look. */
		total -= empty_time + overhead * (looks - empty_looks);
		if (b->flags & IOPOLL)
			total -= overhead * (u64)rounds * windows;
		total += round_cost * empty_rounds;
		if (empty_looks)
			printf("note %s %u instructions-of-an-empty-look %.0f\n", b->name, qd,
			       (double)empty_time / empty_looks - overhead);
		printf("note %s %u empty-looks %.3f\n", b->name, qd, (double)empty_looks / ops);
		printf("note %s %u interrupts %.3f\n", b->name, qd,
		       (double)(raised_so_far() - raised) / ops);
	}
	report(b, qd, total, ops);
}

/*
 * Buffered reads that are not in the page cache, from a device that takes a millisecond.
 * There are few batches, each of places that no batch before has read, and far from
 * each other; the device's own count tells that nothing else was read.
 */
#define COLD_ROUNDS	16
#define COLD_PLACES	4096	/* in a file of ext4 */

static unsigned int cold_next;

static void cold_forget(void)
{
	unsigned int i;

	for (i = 0; i < NFDS; i++) {
		check("fsync", fsync(fds[i]), 0);
		check("POSIX_FADV_DONTNEED", posix_fadvise(fds[i], 0, 0, POSIX_FADV_DONTNEED), 0);
		check("POSIX_FADV_RANDOM", posix_fadvise(fds[i], 0, 0, POSIX_FADV_RANDOM), 0);
	}
	cold_next = 0;
}

static u64 cold_place(const struct bench *b)
{
	/* Pages that are next to each other would be merged: an odd multiple. */
	if (b->target == COLD_EXT4)
		return (u64)(cold_next++ * 1031 % COLD_PLACES) * SIZE;
	return (u64)cold_next++ * STRIDE;
}

static u64 switches(void)
{
	struct rusage r;

	if (getrusage(RUSAGE_SELF, &r))
		fail("getrusage: %s", strerror(errno));
	return r.ru_nvcsw + r.ru_nivcsw;
}

/* A batch of one of the three ways, from its submission until all of it is done. */
static bool batch_aio(const struct bench *b, unsigned int qd)
{
	unsigned int i;

	for (i = 0; i < qd; i++)
		iocbs[i].aio_offset = cold_place(b);
	return io_submit(ctx, qd, iocb_ptrs) == qd &&
		io_getevents(ctx, qd, qd, events, NULL) == qd;
}

static bool batch_uring(const struct bench *b, unsigned int qd);

/* Threads of the program that call pread(): as many as there are requests. */
static struct {
	pthread_mutex_t lock;
	pthread_cond_t work, done;
	pthread_t threads[MAX_QD];
	u64 places[MAX_QD];
	unsigned int nr, taken, given, finished;
	bool stop, bad;
} pool = {
	.lock = PTHREAD_MUTEX_INITIALIZER,
	.work = PTHREAD_COND_INITIALIZER,
	.done = PTHREAD_COND_INITIALIZER,
};

static void *pool_thread(void *arg)
{
	unsigned int i;
	bool bad;

	pthread_mutex_lock(&pool.lock);
	for (;;) {
		while (pool.taken == pool.given && !pool.stop)
			pthread_cond_wait(&pool.work, &pool.lock);
		if (pool.stop)
			break;
		i = pool.taken++;
		pthread_mutex_unlock(&pool.lock);
		bad = pread(fds[0], buffers + (size_t)i * SIZE, SIZE, pool.places[i]) != SIZE;
		pthread_mutex_lock(&pool.lock);
		pool.bad |= bad;
		if (++pool.finished == pool.given)
			pthread_cond_signal(&pool.done);
	}
	pthread_mutex_unlock(&pool.lock);
	return arg;
}

static void pool_start(unsigned int nr)
{
	pool.stop = false;
	pool.bad = false;
	pool.given = 0;
	pool.taken = 0;
	for (pool.nr = 0; pool.nr < nr; pool.nr++)
		if (pthread_create(&pool.threads[pool.nr], NULL, pool_thread, NULL))
			fail("pthread_create");
}

static void pool_stop(void)
{
	pthread_mutex_lock(&pool.lock);
	pool.stop = true;
	pthread_cond_broadcast(&pool.work);
	pthread_mutex_unlock(&pool.lock);
	while (pool.nr)
		pthread_join(pool.threads[--pool.nr], NULL);
}

static bool batch_pool(const struct bench *b, unsigned int qd)
{
	unsigned int i;
	bool ok;

	for (i = 0; i < qd; i++)
		pool.places[i] = cold_place(b);
	pthread_mutex_lock(&pool.lock);
	pool.taken = 0;
	pool.finished = 0;
	pool.given = qd;
	pthread_cond_broadcast(&pool.work);
	while (pool.finished < qd)
		pthread_cond_wait(&pool.done, &pool.lock);
	ok = !pool.bad;
	pool.taken = 0;
	pool.given = 0;
	pthread_mutex_unlock(&pool.lock);
	return ok;
}

enum { COLD_AIO, COLD_URING, COLD_POOL };

static void setup_uring(const struct bench *b, unsigned int qd);
static void settle(void);

static int cold_way(const struct bench *b)
{
	if (!strncmp(b->name, "uring-", 6))
		return COLD_URING;
	return strncmp(b->name, "pool-", 5) ? COLD_AIO : COLD_POOL;
}

static u64 window_cold(const struct bench *b, unsigned int qd)
{
	int way = cold_way(b);
	u64 t0, t, idle, done;
	unsigned int r, i;
	bool ok = true;

	cold_forget();
	done = device_count(b);
	idle = *idle_rounds;
	t0 = now();
	mark_begin();
	for (r = 0; ok && r < COLD_ROUNDS; r++) {
		ok = way == COLD_POOL ? batch_pool(b, qd) :
			way == COLD_URING ? batch_uring(b, qd) : batch_aio(b, qd);
		for (i = 0; way == COLD_AIO && i < qd; i++)
			ok = ok && events[i].res == SIZE;
	}
	mark_end();
	t = now() - t0 - overhead - round_cost * (*idle_rounds - idle);
	if (!ok)
		fail("a call failed, or a read did");
	check_device(b, done, (u64)qd * COLD_ROUNDS);
	return t;
}

static bool has_ext4(void)
{
	return !access(EXT4 "/file", R_OK | W_OK);
}

/* Instructions and context switches of each read; the time that nothing runs is not in it. */
static void run_cold(const struct bench *b, unsigned int qd)
{
	u64 total = 0, before, ops = (u64)COLD_ROUNDS * qd * opt_windows;
	unsigned int w;

	open_target(b);
	fill_iocbs(b, qd);
	switch (cold_way(b)) {
	case COLD_AIO:
		set_up_context(b);
		break;
	case COLD_URING:
		setup_uring(b, qd);
		break;
	case COLD_POOL:
		pool_start(qd);
		break;
	}
	start_idler();
	calibrate_idler();
	window_cold(b, qd);
	mark_reset();
	before = switches();
	for (w = 0; w < opt_windows; w++)
		total += window_cold(b, qd);
	printf("note %s %u context-switches %.3f\n", b->name, qd,
	       (double)(switches() - before) / ops);
	report(b, qd, total, ops);
}

#define FIO_FEW		256
#define FIO_MANY	1280
#define FIO_READS	"--name=cold --filename=/dev/bench2 --rw=randread --bs=4k --size=1G"
#define FIO_HOW		"--iodepth=32 --direct=0 --fadvise_hint=random --gtod_reduce=1"
#define FIO_OPTIONS	FIO_READS " " FIO_HOW " --clocksource=clock_gettime --output=/dev/null"
#define FIO_BATCHES	"--iodepth_batch=16 --iodepth_batch_complete_min=16"

/* Such reads by fio, for whoever doubts the program above: random places, each once. */
static void count_reads(const struct bench *b, unsigned int ops, u64 *time, u64 *nr_switches)
{
	char command[512];
	struct rusage before, after;
	char preload[PATH_MAX];
	int status = -1;
	ssize_t len;
	u64 t0, idle;
	pid_t pid;

	snprintf(command, sizeof(command), "exec fio %s --number_ios=%u --ioengine=%s %s",
		 FIO_OPTIONS, ops, b->flags & THREADED ? "libaio" : "posixaio",
		 b->flags & BATCHES ? FIO_BATCHES : "");
	len = readlink("/proc/self/exe", preload, sizeof(preload) - 16);
	while (len > 0 && preload[len - 1] != '/')
		len--;
	strcpy(preload + (len > 0 ? len : 0), "shm.so");
	cold_forget();
	check("getrusage", getrusage(RUSAGE_CHILDREN, &before), 0);
	idle = *idle_rounds;
	t0 = now();
	mark_begin();
	pid = fork();
	if (!pid) {
		setenv("LD_PRELOAD", preload, 1);
		execl("/bin/sh", "sh", "-c", command, NULL);
		_exit(127);
	}
	check("waitpid", waitpid(pid, &status, 0), pid);
	mark_end();
	*time = now() - t0 - round_cost * (*idle_rounds - idle);
	check("getrusage", getrusage(RUSAGE_CHILDREN, &after), 0);
	if (status)
		fail("fio: status %#x", status);
	*nr_switches = after.ru_nvcsw + after.ru_nivcsw - before.ru_nvcsw - before.ru_nivcsw;
}

/* What more of them take: the rest is its beginning and its end. */
static void run_fio(const struct bench *b, unsigned int qd)
{
	u64 few, many, few_switches, many_switches;
	unsigned int ops = FIO_MANY - FIO_FEW;

	open_target(b);
	if (b->flags & THREADED)
		switch_threads(true);
	start_idler();
	calibrate_idler();
	/* Its pages are in the page cache. */
	count_reads(b, FIO_FEW, &few, &few_switches);
	count_reads(b, FIO_FEW, &few, &few_switches);
	mark_reset();
	count_reads(b, FIO_MANY, &many, &many_switches);
	if (b->flags & THREADED)
		switch_threads(false);
	printf("note %s %u context-switches %.3f\n", b->name, qd,
	       ((double)many_switches - few_switches) / ops);
	report(b, qd, many - few, ops);
}

/* How long io_submit() takes of a batch, and until all of it is done. */
static void run_submit_cold(const struct bench *b, unsigned int qd)
{
	u64 total = 0, longest = 0, all = 0, t0, t;
	unsigned int w, r, i;
	long ret;

	open_target(b);
	fill_iocbs(b, qd);
	set_up_context(b);
	for (w = 0; w <= opt_windows; w++) {
		cold_forget();
		if (w == 1) {
			mark_reset();
			total = 0;
			longest = 0;
			all = 0;
		}
		for (r = 0; r < COLD_ROUNDS; r++) {
			for (i = 0; i < qd; i++)
				iocbs[i].aio_offset = cold_place(b);
			t0 = now();
			mark_begin();
			ret = io_submit(ctx, qd, iocb_ptrs);
			mark_end();
			t = now() - t0 - overhead;
			check("io_submit", ret, qd);
			check("io_getevents", io_getevents(ctx, qd, qd, events, NULL), qd);
			all += now() - t0;
			total += t;
			if (t > longest)
				longest = t;
			for (i = 0; i < qd; i++)
				check("res", events[i].res, SIZE);
		}
	}
	printf("note %s %u longest %llu\n", b->name, qd, longest);
	printf("note %s %u until-all-are-done %llu\n", b->name, qd,
	       all / (COLD_ROUNDS * opt_windows));
	report(b, qd, total, COLD_ROUNDS * opt_windows);
}

/* The longest io_submit() of buffered writes that extend a file. */
static void run_extend(const struct bench *b, unsigned int qd)
{
	u64 longest = 0, sum = 0, t0, t, at = 0;
	unsigned int r, i, n = 64;
	int dir = -1;
	long ret;

	fds[0] = must_open(EXT4 "/extended", O_RDWR | O_CREAT | O_TRUNC);
	fill_iocbs(b, qd);
	set_up_context(b);
	/* With FDS: on a frozen file system. */
	if (b->flags & FDS) {
		n = 4;
		dir = must_open(EXT4, O_RDONLY);
		for (i = 0; i < qd; i++)
			iocbs[i].aio_fildes = fds[0];
	}
	for (r = 0; r < n; r++) {
		for (i = 0; i < qd; i++, at += SIZE)
			iocbs[i].aio_offset = at;
		if (dir >= 0)
			check("FIFREEZE", ioctl(dir, FIFREEZE, 0), 0);
		t0 = now();
		mark_begin();
		ret = io_submit(ctx, qd, iocb_ptrs);
		mark_end();
		t = now() - t0 - overhead;
		if (dir >= 0) {
			struct timespec zero = { 0, 0 };
			long early = io_getevents(ctx, 1, qd, events, &zero);

			/* Whatever comes of it, it must not stay frozen. */
			ioctl(dir, FITHAW, 0);
			check("events while it is frozen", early, 0);
		}
		check("io_submit", ret, qd);
		check("io_getevents", io_getevents(ctx, qd, qd, events, NULL), qd);
		for (i = 0; i < qd; i++)
			check("res", events[i].res, SIZE);
		sum += t;
		if (t > longest)
			longest = t;
	}
	if (dir >= 0)
		close(dir);
	check("the size of the file", lseek(fds[0], 0, SEEK_END), at);
	check("ftruncate", ftruncate(fds[0], 0), 0);
	printf("note %s %u mean %llu\n", b->name, qd, sum / n);
	report(b, qd, longest, 1);
}

/* A line of /proc/meminfo, in bytes. */
static u64 memory_line(const char *name)
{
	char line[128];
	FILE *f = fopen("/proc/meminfo", "r");
	u64 v = 0;

	if (!f)
		fail("/proc/meminfo: %s", strerror(errno));
	while (fgets(line, sizeof(line), f))
		if (!strncmp(line, name, strlen(name)))
			v = strtoull(line + strlen(name), NULL, 10) * 1024;
	fclose(f);
	return v;
}

static u64 kernel_memory(void)
{
	return memory_line("SUnreclaim:") + memory_line("KernelStack:") +
		memory_line("PageTables:") + memory_line("Percpu:");
}

static unsigned int kernel_threads(void)
{
	/* "Threads:" of /proc/self/status, but for this one. */
	char line[128];
	FILE *f = fopen("/proc/self/status", "r");
	unsigned int n = 0;

	if (!f)
		fail("/proc/self/status: %s", strerror(errno));
	while (fgets(line, sizeof(line), f))
		sscanf(line, "Threads: %u", &n);
	fclose(f);
	return n - 1;
}

/*
 * Reads of empty pipes, ten of each: how many threads and how much memory they need. (Of
 * one pipe all readers would be woken for each byte.)
 */
#define PIPE_READERS	10

/* Threads that an earlier case needed leave when they have waited for some seconds. */
static void wait_until_they_left(void)
{
	struct timespec ts = { 0, 100000000 };
	int i;

	for (i = 0; i < 200 && kernel_threads(); i++)
		nanosleep(&ts, NULL);
	if (kernel_threads())
		fail("the threads of an earlier case do not leave");
}

static void run_pipes(const struct bench *b, unsigned int qd)
{
	static const unsigned int counts[] = { 1000, 4000 };
	struct iocb *many = calloc(4000, sizeof(*many)), *one;
	static int pipes[4000 / PIPE_READERS][2];
	static char one_byte_each[4000];
	unsigned int n, i, c, got;
	u64 total, t0, memory;
	long ret;

	for (i = 0; i < ARRAY_SIZE(pipes); i++)
		if (pipe(pipes[i]))
			fail("pipe: %s", strerror(errno));
	for (c = 0; c < ARRAY_SIZE(counts); c++) {
		n = counts[c];
		wait_until_they_left();
		switch_threads(true);
		ret = io_setup(n, &ctx);
		switch_threads(false);
		check("io_setup", ret, 0);
		for (i = 0; i < n; i++) {
			memset(&many[i], 0, sizeof(many[i]));
			many[i].aio_fildes = pipes[i / PIPE_READERS][0];
			many[i].aio_lio_opcode = IOCB_CMD_PREAD;
			many[i].aio_buf = (u64)&one_byte_each[i];
			many[i].aio_nbytes = 1;
		}
		memory = kernel_memory();
		total = 0;
		for (i = 0; i < n; i++) {
			one = &many[i];
			t0 = now();
			mark_begin();
			ret = io_submit(ctx, 1, &one);
			mark_end();
			total += now() - t0 - overhead;
			check("io_submit", ret, 1);
		}
		settle();
		printf("note %s %u threads-of-%u %u\n", b->name, qd, n, kernel_threads());
		printf("note %s %u bytes-per-request-of-%u %lld\n", b->name, qd, n,
		       (long long)(kernel_memory() - memory) / (int)n);
		for (i = 0; i < n; i++)
			check("write", write(pipes[i / PIPE_READERS][1], "x", 1), 1);
		for (got = 0; got < n; got += ret) {
			ret = io_getevents(ctx, 1, MAX_OPS, events, NULL);
			if (ret < 1)
				fail("io_getevents: %ld", ret);
			for (i = 0; i < ret; i++)
				check("res", events[i].res, 1);
		}
		check("io_destroy", io_destroy(ctx), 0);
		ctx = 0;
		if (!c)
			report(b, qd, total, n);
	}
	for (i = 0; i < ARRAY_SIZE(pipes); i++) {
		close(pipes[i][0]);
		close(pipes[i][1]);
	}
	free(many);
}

/* Each call of io_getevents() on a ring without events. */
static void run_empty(const struct bench *b, unsigned int qd)
{
	struct timespec zero = { 0, 0 };
	unsigned int w, i;
	u64 total = 0, t0;
	long bad = 0;

	check("io_setup", io_setup(MAX_QD, &ctx), 0);
	open_target(b);
	fill_iocbs(b, 1);
	/* It finds events if there are any. */
	check("io_submit", io_submit(ctx, 1, iocb_ptrs), 1);
	check("io_getevents", io_getevents(ctx, 1, 1, events, &zero), 1);
	for (w = 0; w <= opt_windows; w++) {
		t0 = now();
		mark_begin();
		for (i = 0; i < opt_ops; i++)
			bad |= io_getevents(ctx, 1, 1, events, &zero);
		mark_end();
		t0 = now() - t0 - overhead;
		if (w)
			total += t0;
		else
			mark_reset();
	}
	check("io_getevents", bad, 0);
	report(b, qd, total, (u64)opt_ops * opt_windows);
}

/* io_getevents() alone, of a ring with qd events; per event. */
static void run_full(const struct bench *b, unsigned int qd)
{
	unsigned int i, n = 300;
	u64 total = 0, t0, t;
	long got;

	check("io_setup", io_setup(MAX_QD, &ctx), 0);
	open_target(b);
	fill_iocbs(b, qd);
	for (i = 0; i < n + 10; i++) {
		memset(events, POISON, sizeof(*events) * qd);
		if (i == 10)
			mark_reset();
		check("io_submit", io_submit(ctx, qd, iocb_ptrs), qd);
		t0 = now();
		mark_begin();
		got = io_getevents(ctx, qd, qd, events, NULL);
		mark_end();
		t = now() - t0 - overhead;
		check("io_getevents", got, qd);
		check_events(b, qd, 1);
		if (i >= 10)
			total += t;
	}
	report(b, qd, total, (u64)n * qd);
}

/* io_cancel() alone, of the newest of so many polls. */
static void run_cancel(const struct bench *b, unsigned int qd)
{
	unsigned int i, w, n = b->op, ops = 500;
	struct iocb *polls = calloc(n, sizeof(*polls)), *newest = &polls[n - 1];
	struct bench io = *b;
	u64 total = 0, t0, t;
	long ret;

	io.op = IOCB_CMD_POLL;
	check("io_setup", io_setup(n, &ctx), 0);
	open_target(b);
	fill_iocbs(&io, 1);
	for (i = 0; i < n; i++) {
		struct iocb *one = &polls[i];

		*one = iocbs[0];
		check("io_submit", io_submit(ctx, 1, &one), 1);
	}
	for (w = 0; w <= opt_windows; w++) {
		for (i = 0; i < ops; i++) {
			t0 = now();
			mark_begin();
			ret = io_cancel(ctx, newest);
			mark_end();
			t = now() - t0 - overhead;
			check("io_cancel", ret, -EINPROGRESS);
			check("io_cancel again", io_cancel(ctx, newest), -EINVAL);
			memset(events, POISON, sizeof(*events));
			check("io_getevents", io_getevents(ctx, 1, 1, events, NULL), 1);
			check("obj", events->obj, (u64)newest);
			check("res", events->res, 0);
			check("io_submit", io_submit(ctx, 1, &newest), 1);
			if (w)
				total += t;
		}
		if (!w)
			mark_reset();
	}
	free(polls);
	report(b, qd, total, (u64)ops * opt_windows);
}

/*
 * The first requests of a context, for which memory is allocated; in a memory control group
 * that is charged to it.
 */
#define GROUPS_DIR	"/sys/fs/cgroup"
#define GROUP		GROUPS_DIR "/bench"

static void enter_group(const char *dir)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "%s/cgroup.procs", dir);
	fd = must_open(path, O_WRONLY);
	check("write to cgroup.procs", write(fd, "0", 1), 1);
	close(fd);
}

static bool has_group(void)
{
	return !access(GROUP "/memory.current", F_OK);
}

static void run_first(const struct bench *b, unsigned int qd)
{
	unsigned int i, w, rounds = 64;
	u64 total = 0, t0;
	long ret;

	open_target(b);
	fill_iocbs(b, MAX_QD);
	if (b->flags & IN_GROUP)
		enter_group(GROUP);
	for (w = 0; w <= opt_windows; w++) {
		for (i = 0; i < rounds; i++) {
			check("io_setup", io_setup(MAX_QD, &ctx), 0);
			t0 = now();
			mark_begin();
			ret = io_submit(ctx, MAX_QD, iocb_ptrs);
			mark_end();
			if (w)
				total += now() - t0 - overhead;
			check("io_submit", ret, MAX_QD);
			check("io_destroy", io_destroy(ctx), 0);
			ctx = 0;
		}
		/* What the first ones have found in the allocator is not what the others find. */
		if (!w)
			mark_reset();
	}
	if (b->flags & IN_GROUP)
		enter_group(GROUPS_DIR);
	report(b, qd, total, (u64)MAX_QD * rounds * opt_windows);
}

/*
 * The life of a context: the time of io_setup() and io_destroy() of one, with
 * nothing, some finished I/O, or I/O in flight between them, which is not counted.
 */
enum { LIFE_IDLE, LIFE_USED, LIFE_POLL, LIFE_BLOCK };

static void use_context(const struct bench *b)
{
	struct timespec zero = { 0, 0 };
	unsigned int i;

	switch (b->op) {
	case LIFE_USED:
		for (i = 0; i < 1000; i++) {
			check("io_submit", io_submit(ctx, 1, iocb_ptrs), 1);
			check("io_getevents", io_getevents(ctx, 1, 1, events, NULL), 1);
			check("res", events[0].res, SIZE);
		}
		break;
	case LIFE_POLL:
		check("io_submit", io_submit(ctx, 1, iocb_ptrs), 1);
		check("io_getevents", io_getevents(ctx, 1, 1, events, &zero), 0);
		break;
	case LIFE_BLOCK:
		check("io_submit", io_submit(ctx, 1, iocb_ptrs), 1);
		if (number("/sys/block/bench2/inflight", 0) != 1)
			fail("the device has no request in flight");
		break;
	}
}

static void run_life(const struct bench *b, unsigned int qd)
{
	/*
	 * The memory of a context may be freed after io_destroy() has returned: there are
	 * enough of them for most of that to fall into the time.
	 */
	unsigned int i, n = b->op == LIFE_IDLE ? 2000 : b->op == LIFE_BLOCK ? 200 : 400;
	u64 total = 0, t0, before = aio_nr(), done = 0;
	struct bench io = *b;
	aio_context_t old;
	long ret;

	switch (b->op) {
	case LIFE_USED:
		io.op = IOCB_CMD_PWRITE;
		break;
	case LIFE_POLL:
		io.op = IOCB_CMD_POLL;
		break;
	case LIFE_BLOCK:
		io.op = IOCB_CMD_PREAD;
		break;
	}
	open_target(b);
	if (b->op == LIFE_BLOCK) {
		fds[0] = must_open("/dev/bench2", O_RDONLY | O_DIRECT);
		done = number("/sys/block/bench2/stat", 0);
	}
	fill_iocbs(&io, 1);
	if (io.op == IOCB_CMD_PWRITE || io.op == IOCB_CMD_PREAD) {
		iocbs[0].aio_buf = (u64)buffers;
		iocbs[0].aio_nbytes = SIZE;
	}
	for (i = 0; i < n + 5; i++) {
		if (i == 5) {
			mark_reset();
			total = 0;
		}
		t0 = now();
		mark_begin();
		ret = io_setup(MAX_QD, &ctx);
		mark_end();
		total += now() - t0 - overhead;
		check("io_setup", ret, 0);
		if (b->op == LIFE_IDLE) {
			if (aio_nr() != before + MAX_QD)
				fail("fs.aio-nr does not know the context");
		} else {
			use_context(b);
		}
		old = ctx;
		t0 = now();
		mark_begin();
		ret = io_destroy(ctx);
		mark_end();
		total += now() - t0 - overhead;
		ctx = 0;
		check("io_destroy", ret, 0);
		check("io_destroy again", io_destroy(old), -EINVAL);
		if (b->op == LIFE_BLOCK && number("/sys/block/bench2/inflight", 0))
			fail("io_destroy has not waited for the request");
	}
	if (aio_nr() != before)
		fail("fs.aio-nr is %llu, was %llu", aio_nr(), before);
	if (b->op == LIFE_BLOCK)
		check("requests", number("/sys/block/bench2/stat", 0) - done, n + 5);
	report(b, qd, total, n);
}

/*
 * The end of a process with so many contexts: from its exit to the return of its
 * parent's wait.
 */
struct shared {
	u64 t0;
	int ok;
};

static u64 exit_time(volatile struct shared *s, int contexts, unsigned int phase)
{
	u64 t, before = aio_nr();
	int status, i;
	pid_t pid;

	s->ok = 0;
	fflush(stdout);
	pid = fork();
	if (pid < 0)
		fail("fork: %s", strerror(errno));
	if (!pid) {
		struct timespec until;
		aio_context_t c;
		u64 at;

		for (i = 0; i < contexts; i++) {
			c = 0;
			if (io_setup(MAX_QD, &c))
				call3(SYS_exit_group, 1, 0, 0);
		}
		if (aio_nr() != before + (u64)MAX_QD * contexts)
			call3(SYS_exit_group, 2, 0, 0);
		/*
		 * What is waited for ends with a tick of the timer: processes end at times
		 * spread evenly between two ticks, and when all is quiet.
		 */
		at = (now() / TICK + 8) * TICK + phase;
		until = (struct timespec){ at / 1000000000, at % 1000000000 };
		clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
		s->ok = 1;
		s->t0 = now();
		mark_begin();
		call3(SYS_exit_group, 0, 0, 0);
	}
	/* waitid() before the child ends: the first time that it runs is ours. */
	if (waitpid(pid, &status, 0) != pid)
		fail("waitpid: %s", strerror(errno));
	mark_end();
	t = now() - s->t0 - overhead;
	if (!WIFEXITED(status) || WEXITSTATUS(status) || !s->ok)
		fail("the child could not make its contexts (status %x)", status);
	if (aio_nr() != before)
		fail("fs.aio-nr is %llu, was %llu", aio_nr(), before);
	return t;
}

static void run_exit(const struct bench *b, unsigned int qd)
{
	struct shared *s;
	unsigned int i, n = 200;
	u64 total = 0;

	s = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (s == MAP_FAILED)
		fail("mmap: %s", strerror(errno));
	for (i = 0; i < 3; i++)
		exit_time(s, b->op, 0);
	mark_reset();
	for (i = 0; i < n; i++)
		total += exit_time(s, b->op, i * TICK / n);
	munmap(s, SIZE);
	report(b, qd, total, n);
}

/*
 * Two threads, each on a processor of its own, submit to one context and take
 * events from it.
 */
struct submitter {
	pthread_t thread;
	unsigned int qd, rounds, cpu;
	u64 got, res;
	bool ok;
};

static pthread_barrier_t barrier;

static void *submit_together(void *arg)
{
	struct submitter *s = arg;
	struct io_event ev[MAX_QD];
	unsigned int r, i;
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(s->cpu, &set);
	s->ok = !sched_setaffinity(0, sizeof(set), &set);
	pthread_barrier_wait(&barrier);
	for (r = 0; s->ok && r < s->rounds; r++) {
		if (io_submit(ctx, s->qd, iocb_ptrs) != s->qd)
			s->ok = false;
		if (io_getevents(ctx, s->qd, s->qd, ev, NULL) != s->qd)
			s->ok = false;
		for (i = 0; i < s->qd; i++)
			s->res += ev[i].res;
		s->got += s->qd;
	}
	pthread_barrier_wait(&barrier);
	return NULL;
}

static void run_two(const struct bench *b, unsigned int qd)
{
	unsigned int rounds = 8 * opt_ops / qd, w, i;
	struct submitter s[2] = { };
	u64 total = 0, t0;

	if (sysconf(_SC_NPROCESSORS_ONLN) < 2)
		fail("there is one processor only");
	check("io_setup", io_setup(2 * MAX_QD, &ctx), 0);
	open_target(b);
	fill_iocbs(b, qd);
	for (w = 0; w <= opt_windows; w++) {
		if (pthread_barrier_init(&barrier, NULL, 3))
			fail("pthread_barrier_init");
		for (i = 0; i < 2; i++) {
			s[i] = (struct submitter){ .qd = qd, .rounds = rounds, .cpu = i };
			if (pthread_create(&s[i].thread, NULL, submit_together, &s[i]))
				fail("pthread_create");
		}
		/* They wait for us. */
		usleep(1000);
		t0 = now();
		mark_begin();
		pthread_barrier_wait(&barrier);
		pthread_barrier_wait(&barrier);
		mark_end();
		t0 = now() - t0 - overhead;
		for (i = 0; i < 2; i++) {
			pthread_join(s[i].thread, NULL);
			if (!s[i].ok)
				fail("a system call of thread %u failed", i);
			check("events", s[i].got, (long)qd * rounds);
			check("sum of the results", s[i].res, (long)qd * rounds * SIZE);
		}
		pthread_barrier_destroy(&barrier);
		if (w)
			total += t0;
		else
			mark_reset();
	}
	report(b, qd, total, 2ull * qd * rounds * opt_windows);
}

/* Synchronous calls, for comparison. */
static void run_sync(const struct bench *b, unsigned int qd)
{
	struct iovec iov = { buffers, SIZE };
	u64 total = 0, t0, done;
	unsigned int w, i;
	long bad, want = b->target == NONE ? getppid() : SIZE;

	open_target(b);
	for (w = 0; w <= opt_windows; w++) {
		done = device_count(b);
		bad = 0;
		if (b->target == NONE) {
			t0 = now();
			mark_begin();
			for (i = 0; i < opt_ops; i++)
				bad |= call3(SYS_getppid, 0, 0, 0) ^ want;
		} else if (is_read(b)) {
			t0 = now();
			mark_begin();
			for (i = 0; i < opt_ops; i++)
				bad |= call6(SYS_preadv2, fds[0], (long)&iov, 1, 0, 0, 0) ^ want;
		} else {
			t0 = now();
			mark_begin();
			for (i = 0; i < opt_ops; i++)
				bad |= call6(SYS_pwritev2, fds[0], (long)&iov, 1, 0, 0, 0) ^ want;
		}
		mark_end();
		t0 = now() - t0 - overhead;
		check("result", bad, 0);
		check_device(b, done, opt_ops);
		if (w)
			total += t0;
		else
			mark_reset();
	}
	report(b, qd, total, (u64)opt_ops * opt_windows);
}

/*
 * io_uring: batches of qd requests, each an io_uring_enter() that submits and
 * waits. The submission queue has qd entries, filled once; the completion queue
 * has room for all of a window, so that what is in it can be verified afterwards,
 * as the events of AIO are.
 */
static struct {
	unsigned int *sq_tail, *cq_head, *cq_tail, cq_mask;
	struct io_uring_cqe *cqes;
} ring;

static unsigned int *sq_ptr(u64 offset)
{
	return (unsigned int *)((char *)sq_map + offset);
}

static unsigned int *cq_ptr(u64 offset)
{
	return (unsigned int *)((char *)cq_map + offset);
}

static void *map_ring(size_t size, u64 offset)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring_fd,
		       offset);

	if (p == MAP_FAILED)
		fail("mmap of the ring: %s", strerror(errno));
	return p;
}

static void setup_uring(const struct bench *b, unsigned int qd)
{
	struct io_uring_params p = { .flags = IORING_SETUP_CQSIZE, .cq_entries = MAX_OPS };
	unsigned int i;

	if (b->flags & IOPOLL)
		p.flags |= IORING_SETUP_IOPOLL;
	ring_fd = syscall(SYS_io_uring_setup, qd, &p);
	if (ring_fd < 0)
		fail("io_uring_setup: %s", strerror(errno));
	check("entries of the ring", p.sq_entries, qd);
	sq_map_size = p.sq_off.array + p.sq_entries * sizeof(unsigned int);
	cq_map_size = p.cq_off.cqes + p.cq_entries * sizeof(struct io_uring_cqe);
	sq_map = map_ring(sq_map_size, IORING_OFF_SQ_RING);
	cq_map = map_ring(cq_map_size, IORING_OFF_CQ_RING);
	sqes_size = qd * sizeof(*sqes);
	sqes = map_ring(sqes_size, IORING_OFF_SQES);
	ring.sq_tail = sq_ptr(p.sq_off.tail);
	ring.cq_head = cq_ptr(p.cq_off.head);
	ring.cq_tail = cq_ptr(p.cq_off.tail);
	ring.cq_mask = *cq_ptr(p.cq_off.ring_mask);
	ring.cqes = (struct io_uring_cqe *)cq_ptr(p.cq_off.cqes);
	for (i = 0; i < qd; i++)
		sq_ptr(p.sq_off.array)[i] = i;

	memset(sqes, 0, qd * sizeof(*sqes));
	for (i = 0; i < qd; i++) {
		struct io_uring_sqe *s = &sqes[i];

		s->opcode = b->op;
		s->user_data = 1000 + i;
		if (b->op == IORING_OP_NOP)
			continue;
		s->fd = fds[b->flags & FDS ? i % NFDS : 0];
		switch (b->op) {
		case IORING_OP_POLL_ADD:
			s->poll32_events = POLLIN;
			continue;
		case IORING_OP_FSYNC:
			s->fsync_flags = IORING_FSYNC_DATASYNC;
			continue;
		case IORING_OP_READV:
		case IORING_OP_WRITEV:
			iovecs[i].iov_base = buffers + (size_t)i * SIZE;
			iovecs[i].iov_len = SIZE;
			s->addr = (u64)&iovecs[i];
			s->len = 1;
			break;
		default:
			s->addr = (u64)(buffers + (size_t)i * SIZE);
			s->len = SIZE;
		}
		s->off = (u64)i * (b->flags & SCATTERED ? STRIDE : SIZE);
		if (b->flags & REGISTERED) {
			s->fd = 0;
			s->flags = IOSQE_FIXED_FILE;
			s->buf_index = 0;
		}
	}
	if (b->flags & REGISTERED) {
		struct iovec all = { buffers, (size_t)MAX_QD * SIZE };

		check("registering buffers", syscall(SYS_io_uring_register, ring_fd,
						     IORING_REGISTER_BUFFERS, &all, 1), 0);
		check("registering files", syscall(SYS_io_uring_register, ring_fd,
						   IORING_REGISTER_FILES, fds, 1), 0);
	}
	if (b->flags & RESFD)
		check("registering the eventfd", syscall(SYS_io_uring_register, ring_fd,
							 IORING_REGISTER_EVENTFD, &resfd, 1), 0);
}

/*
 * io_uring_enter() may return with less than was waited for (polling ends when another
 * task wants the processor).
 */
static inline bool wait_cqes(unsigned int cq)
{
	unsigned int tail;

	while ((tail = __atomic_load_n(ring.cq_tail, __ATOMIC_ACQUIRE)) != cq) {
		if (io_uring_enter(ring_fd, 0, cq - tail, IORING_ENTER_GETEVENTS) < 0)
			return false;
	}
	__atomic_store_n(ring.cq_head, cq, __ATOMIC_RELEASE);
	return true;
}

static bool loop_uring(unsigned int qd, unsigned int rounds)
{
	unsigned int sq = *ring.sq_tail, cq = *ring.cq_head;

	for (; rounds; rounds--) {
		sq += qd;
		__atomic_store_n(ring.sq_tail, sq, __ATOMIC_RELEASE);
		if (io_uring_enter(ring_fd, qd, qd, IORING_ENTER_GETEVENTS) != qd)
			return false;
		cq += qd;
		if (!wait_cqes(cq))
			return false;
	}
	return true;
}

static bool loop_uring_woken(unsigned int qd, unsigned int rounds)
{
	unsigned int sq = *ring.sq_tail, cq = *ring.cq_head;
	u64 one = 1, got;

	for (; rounds; rounds--) {
		sq += qd;
		__atomic_store_n(ring.sq_tail, sq, __ATOMIC_RELEASE);
		if (io_uring_enter(ring_fd, qd, 0, 0) != qd)
			return false;
		if (call3(SYS_write, fds[0], (long)&one, 8) != 8)
			return false;
		if (io_uring_enter(ring_fd, 0, qd, IORING_ENTER_GETEVENTS) != 0)
			return false;
		cq += qd;
		if (!wait_cqes(cq))
			return false;
		if (call3(SYS_read, fds[0], (long)&got, 8) != 8)
			return false;
	}
	return true;
}

static void check_cqes(const struct bench *b, unsigned int first, unsigned int qd,
		       unsigned int rounds)
{
	bool seen[MAX_QD];
	unsigned int r, i;
	int want = want_res(b);

	for (r = 0; r < rounds; r++) {
		memset(seen, 0, sizeof(seen));
		for (i = 0; i < qd; i++, first++) {
			struct io_uring_cqe *c = &ring.cqes[first & ring.cq_mask];
			u64 slot = c->user_data - 1000;

			if (slot >= qd || seen[slot])
				fail("completion %u of round %u: user_data %llu", i, r,
				     c->user_data);
			seen[slot] = true;
			if (c->res != want)
				fail("completion %u of round %u: res %d", i, r, c->res);
		}
	}
}

static bool batch_uring(const struct bench *b, unsigned int qd)
{
	unsigned int cq = *ring.cq_head + qd, i;

	for (i = 0; i < qd; i++)
		sqes[i].off = cold_place(b);
	__atomic_store_n(ring.sq_tail, *ring.sq_tail + qd, __ATOMIC_RELEASE);
	if (io_uring_enter(ring_fd, qd, qd, IORING_ENTER_GETEVENTS) != qd || !wait_cqes(cq))
		return false;
	for (i = 0; i < qd; i++)
		if (ring.cqes[(cq - 1 - i) & ring.cq_mask].res != SIZE)
			return false;
	return true;
}

static u64 window_uring(const struct bench *b, unsigned int qd, unsigned int rounds)
{
	unsigned int first = *ring.cq_head;
	u64 t0, t, done, signalled;
	bool ok;

	memset(ring.cqes, POISON, (ring.cq_mask + 1) * sizeof(*ring.cqes));
	poison_buffers(b, qd);
	done = device_count(b);
	if (b->target == WOKEN) {
		t0 = now();
		mark_begin();
		ok = loop_uring_woken(qd, rounds);
	} else {
		t0 = now();
		mark_begin();
		ok = loop_uring(qd, rounds);
	}
	mark_end();
	t = now() - t0 - overhead;
	if (!ok)
		fail("a system call failed, or completions are missing");
	check_cqes(b, first, qd, rounds);
	check_buffers(b, qd);
	check_device(b, done, (u64)qd * rounds);
	if (b->flags & RESFD) {
		check("read of the eventfd", read(resfd, &signalled, 8), 8);
		if (signalled < rounds)
			fail("eventfd: %llu, not at least %u", signalled, rounds);
	}
	return t;
}

static void run_uring(const struct bench *b, unsigned int qd)
{
	unsigned int windows = b->flags & WORKER ? 8 * opt_windows : opt_windows;
	unsigned int rounds = opt_ops / qd, w;
	u64 total = 0;

	open_target(b);
	if (b->flags & RESFD)
		resfd = eventfd(0, EFD_NONBLOCK);
	setup_uring(b, qd);
	window_uring(b, qd, rounds / 4 + 1);
	mark_reset();
	for (w = 0; w < windows; w++)
		total += window_uring(b, qd, rounds);
	report(b, qd, total, (u64)rounds * qd * windows);
}

#define AIO(name, target, op, flags, what) \
	{ "aio-" name, run_aio, target, IOCB_CMD_ ## op, flags, what }
#define AIO2(name, target, op, flags, what) \
	{ "aio2-" name, run_aio, target, IOCB_CMD_ ## op, flags, what }
#define AIOT(name, target, op, flags, what) \
	{ "aiot-" name, run_aio, target, IOCB_CMD_ ## op, THREADED | (flags), what }
#define URING(name, target, op, flags, what) \
	{ "uring-" name, run_uring, target, IORING_OP_ ## op, flags, what }

static const struct bench benches[] = {
	AIO("read-block", BLOCK, PREAD, 0, "PREAD 4 KiB, null_blk, O_DIRECT"),
	AIO("write-block", BLOCK, PWRITE, 0, "PWRITE 4 KiB, null_blk, O_DIRECT"),
	AIO("read-block-scattered", BLOCK, PREAD, SCATTERED, "PREAD, null_blk, none are merged"),
	AIO("write-block-scattered", BLOCK, PWRITE, SCATTERED, "PWRITE, null_blk, none are merged"),
	AIO("read-block-irq", BLOCK_IRQ, PREAD, 0, "PREAD, null_blk with irqmode=1"),
	AIO("write-block-irq", BLOCK_IRQ, PWRITE, 0, "PWRITE, null_blk with irqmode=1"),
	AIO("readv-block", BLOCK, PREADV, 0, "PREADV, 1 segment, null_blk"),
	AIO("write-null", NULL_DEV, PWRITE, 0, "PWRITE, /dev/null"),
	AIO("writev-null", NULL_DEV, PWRITEV, 0, "PWRITEV, 1 segment, /dev/null"),
	AIO("write-null-4fds", NULL_DEV, PWRITE, FDS | FEW_FDS, "PWRITE, /dev/null, 4 descriptors"),
	AIO("write-null-resfd", NULL_DEV, PWRITE, RESFD, "PWRITE, /dev/null, eventfd signalled"),
	AIO("write-null-userreap", NULL_DEV, PWRITE, USER_REAP,
	    "PWRITE, /dev/null, events taken in user space"),
	AIO("read-tmpfs", TMPFS, PREAD, 0, "PREAD, tmpfs, cached"),
	AIO("poll-ready", READY, POLL, 0, "POLL, eventfd, ready at once"),
	AIO("poll-woken", WOKEN, POLL, 0, "POLL, eventfd, woken by a write (with write and read)"),
	AIO("fdsync", TMPFS, FDSYNC, WORKER, "FDSYNC, tmpfs"),
	{ "aio-getevents-empty", run_empty, NULL_DEV, IOCB_CMD_PWRITE, ONCE,
	  "io_getevents, empty ring, timeout 0" },
	{ "aio-getevents-full", run_full, NULL_DEV, IOCB_CMD_PWRITE, 0,
	  "io_getevents alone, per event" },
	{ "aio-cancel-10", run_cancel, WOKEN, 10, ONCE, "io_cancel of the newest of 10 POLLs" },
	{ "aio-cancel-10000", run_cancel, WOKEN, 10000, ONCE,
	  "io_cancel of the newest of 10,000 POLLs" },
	{ "aio-first-poll", run_first, WOKEN, IOCB_CMD_POLL, ONCE,
	  "POLL, the first 128 of a context" },
	{ "aio-first-poll-memcg", run_first, WOKEN, IOCB_CMD_POLL, ONCE | IN_GROUP,
	  "POLL, the first 128, in a memory control group" },
	{ "aio-life-idle", run_life, NONE, LIFE_IDLE, ONCE, "io_setup + io_destroy, never used" },
	{ "aio-life-used", run_life, NULL_DEV, LIFE_USED, ONCE,
	  "io_setup + io_destroy, after 1,000 I/Os" },
	{ "aio-life-poll", run_life, WOKEN, LIFE_POLL, ONCE,
	  "io_setup + io_destroy, with a POLL in flight" },
	{ "aio-life-block", run_life, NONE, LIFE_BLOCK, ONCE,
	  "io_setup + io_destroy, with a read in flight (1 ms)" },
	{ "aio-exit-0", run_exit, NONE, 0, ONCE, "process exit, no context" },
	{ "aio-exit-1", run_exit, NONE, 1, ONCE, "process exit, 1 context" },
	{ "aio-exit-64", run_exit, NONE, MAX_CTXS, ONCE, "process exit, 64 contexts" },
	{ "aio-two-submitters", run_two, NULL_DEV, IOCB_CMD_PWRITE, 0,
	  "PWRITE, /dev/null, 2 submitters on 2 processors" },
	AIO("read-nvme", NVME, PREAD, SCATTERED, "PREAD 4 KiB, emulated NVMe, O_DIRECT"),
	AIO2("read-block-user", BLOCK, PREAD, USERIOCB, "PREAD 4 KiB, null_blk, USERIOCB"),
	AIO2("read-block-fixed", BLOCK, PREAD, SETUP2, "PREAD, null_blk, USERIOCB, FIXEDBUFS"),
	AIO2("read-block-poll", BLOCK, PREAD, USERIOCB | IOPOLL,
	     "PREAD, null_blk, USERIOCB, IOPOLL"),
	AIO2("read-block-all", BLOCK, PREAD, SETUP2 | IOPOLL, "PREAD, null_blk, all three"),
	AIO2("read-block-scattered-user", BLOCK, PREAD, USERIOCB | SCATTERED,
	     "PREAD, none are merged, USERIOCB"),
	AIO2("read-block-scattered-fixed", BLOCK, PREAD, SETUP2 | SCATTERED,
	     "PREAD, none are merged, USERIOCB, FIXEDBUFS"),
	AIO2("read-block-scattered-poll", BLOCK, PREAD, USERIOCB | IOPOLL | SCATTERED,
	     "PREAD, none are merged, USERIOCB, IOPOLL"),
	AIO2("read-block-scattered-all", BLOCK, PREAD, SETUP2 | IOPOLL | SCATTERED,
	     "PREAD, none are merged, all three"),
	AIO2("write-null-user", NULL_DEV, PWRITE, USERIOCB, "PWRITE, /dev/null, USERIOCB"),
	AIO2("write-null-fixed", NULL_DEV, PWRITE, SETUP2,
	     "PWRITE, /dev/null, USERIOCB, FIXEDBUFS"),
	AIO2("read-nvme-all", NVME, PREAD, SETUP2 | IOPOLL | SCATTERED,
	     "PREAD, emulated NVMe, all three"),
	URING("read-block", BLOCK, READ, 0, "read, null_blk, O_DIRECT"),
	URING("write-block", BLOCK, WRITE, 0, "write, null_blk, O_DIRECT"),
	URING("read-block-scattered", BLOCK, READ, SCATTERED, "read, null_blk, none are merged"),
	URING("write-block-scattered", BLOCK, WRITE, SCATTERED, "write, null_blk, none are merged"),
	URING("read-block-irq", BLOCK_IRQ, READ, 0, "read, null_blk with irqmode=1"),
	URING("write-block-irq", BLOCK_IRQ, WRITE, 0, "write, null_blk with irqmode=1"),
	URING("readv-block", BLOCK, READV, 0, "readv, null_blk, O_DIRECT"),
	URING("write-null", NULL_DEV, WRITE, 0, "write, /dev/null"),
	URING("writev-null", NULL_DEV, WRITEV, 0, "writev, /dev/null"),
	URING("write-null-4fds", NULL_DEV, WRITE, FDS | FEW_FDS, "write, /dev/null, 4 descriptors"),
	URING("write-null-resfd", NULL_DEV, WRITE, RESFD, "write, /dev/null, eventfd registered"),
	URING("read-tmpfs", TMPFS, READ, WORKER, "read, tmpfs, cached"),
	URING("poll-ready", READY, POLL_ADD, 0, "poll, eventfd, ready at once"),
	URING("poll-woken", WOKEN, POLL_ADD, 0, "poll, eventfd, woken by a write"),
	URING("fdsync", TMPFS, FSYNC, WORKER, "fdatasync, tmpfs"),
	URING("nop", NONE, NOP, 0, "nop"),
	URING("read-block-reg", BLOCK, READ_FIXED, REGISTERED,
	      "read, registered buffers and files"),
	URING("read-block-reg-poll", BLOCK, READ_FIXED, REGISTERED | IOPOLL,
	      "read, registered, polled"),
	URING("read-block-scattered-reg", BLOCK, READ_FIXED, REGISTERED | SCATTERED,
	      "read, none are merged, registered"),
	URING("read-block-scattered-reg-poll", BLOCK, READ_FIXED, REGISTERED | IOPOLL | SCATTERED,
	      "read, none are merged, registered, polled"),
	AIO("read-warm", WARM, PREAD, 0, "PREAD 4 KiB, null_blk, buffered, cached"),
	AIO("read-warm-thread", WARM, PREAD, IDLE_THREAD,
	    "PREAD, null_blk, cached, a program with two threads"),
	AIOT("read-warm", WARM, PREAD, 0, "PREAD, null_blk, buffered, cached, threaded"),
	URING("read-warm", WARM, READ, 0, "read, null_blk, buffered, cached"),
	AIO("read-warm-ext4", WARM_EXT4, PREAD, 0, "PREAD 4 KiB, ext4, cached"),
	AIOT("read-warm-ext4", WARM_EXT4, PREAD, 0, "PREAD, ext4, cached, threaded"),
	AIOT("write-null", NULL_DEV, PWRITE, 0, "PWRITE, /dev/null, threaded"),
	AIOT("read-block", BLOCK, PREAD, 0, "PREAD 4 KiB, null_blk, O_DIRECT, threaded"),
	{ "aio-read-cold", run_cold, COLD, IOCB_CMD_PREAD, 0, "PREAD, 1 ms, not cached" },
	{ "aiot-read-cold", run_cold, COLD, IOCB_CMD_PREAD, THREADED,
	  "PREAD, 1 ms, not cached, threaded" },
	{ "pool-read-cold", run_cold, COLD, IOCB_CMD_PREAD, 0,
	  "pread by threads of the program, 1 ms, not cached" },
	{ "uring-read-cold", run_cold, COLD, IORING_OP_READ, 0, "read, 1 ms, not cached" },
	{ "aiot-read-cold-fio", run_fio, COLD, IOCB_CMD_PREAD, THREADED | ONCE,
	  "fio, depth 32, 1 ms, not cached: libaio, threaded" },
	{ "pool-read-cold-fio", run_fio, COLD, IOCB_CMD_PREAD, ONCE,
	  "fio, depth 32, 1 ms, not cached: posixaio" },
	{ "aiot-read-cold-fio-16", run_fio, COLD, IOCB_CMD_PREAD, THREADED | ONCE | BATCHES,
	  "fio, 16 at a time, 1 ms, not cached: libaio, threaded" },
	{ "pool-read-cold-fio-16", run_fio, COLD, IOCB_CMD_PREAD, ONCE | BATCHES,
	  "fio, 16 at a time, 1 ms, not cached: posixaio" },
	{ "aio-read-cold-ext4", run_cold, COLD_EXT4, IOCB_CMD_PREAD, 0,
	  "PREAD, ext4, 1 ms, not cached" },
	{ "aiot-read-cold-ext4", run_cold, COLD_EXT4, IOCB_CMD_PREAD, THREADED,
	  "PREAD, ext4, 1 ms, not cached, threaded" },
	{ "pool-read-cold-ext4", run_cold, COLD_EXT4, IOCB_CMD_PREAD, 0,
	  "pread by threads of the program, ext4, 1 ms, not cached" },
	{ "aio-submit-cold", run_submit_cold, COLD, IOCB_CMD_PREAD, 0,
	  "io_submit, PREAD, 1 ms, not cached" },
	{ "aiot-submit-cold", run_submit_cold, COLD, IOCB_CMD_PREAD, THREADED,
	  "io_submit, PREAD, 1 ms, not cached, threaded" },
	{ "aio-submit-cold-ext4", run_submit_cold, COLD_EXT4, IOCB_CMD_PREAD, 0,
	  "io_submit, PREAD, ext4, 1 ms, not cached" },
	{ "aiot-submit-cold-ext4", run_submit_cold, COLD_EXT4, IOCB_CMD_PREAD, THREADED,
	  "io_submit, PREAD, ext4, 1 ms, not cached, threaded" },
	{ "aio-extend-ext4", run_extend, NONE, IOCB_CMD_PWRITE, 0,
	  "longest io_submit, PWRITE that extends, ext4" },
	{ "aiot-extend-ext4", run_extend, NONE, IOCB_CMD_PWRITE, THREADED,
	  "longest io_submit, PWRITE that extends, ext4, threaded" },
	{ "aiot-frozen-ext4", run_extend, NONE, IOCB_CMD_PWRITE, THREADED | FDS,
	  "longest io_submit, PWRITE, frozen ext4, threaded" },
	{ "aiot-pipes", run_pipes, NONE, IOCB_CMD_PREAD, THREADED | ONCE,
	  "io_submit of 1,000 reads of empty pipes, threaded" },
	{ "sync-getppid", run_sync, NONE, 0, ONCE, "getppid" },
	{ "sync-read-block", run_sync, BLOCK, IOCB_CMD_PREAD, ONCE, "preadv2, null_blk, O_DIRECT" },
	{ "sync-write-null", run_sync, NULL_DEV, IOCB_CMD_PWRITE, ONCE, "pwritev2, /dev/null" },
};

static bool is_read(const struct bench *b)
{
	if (b->run == run_uring || !strncmp(b->name, "uring-", 6))
		return b->op == IORING_OP_READ || b->op == IORING_OP_READV ||
			b->op == IORING_OP_READ_FIXED;
	return b->target != NONE && b->target != WOKEN && b->target != READY &&
		(b->op == IOCB_CMD_PREAD || b->op == IOCB_CMD_PREADV);
}

static bool is_write(const struct bench *b)
{
	if (b->run == run_uring)
		return b->op == IORING_OP_WRITE || b->op == IORING_OP_WRITEV;
	return b->op == IOCB_CMD_PWRITE || b->op == IOCB_CMD_PWRITEV;
}

static void clean_up(void)
{
	unsigned int i;

	stop_idler();
	pool_stop();
	if (ctx)
		io_destroy(ctx);
	ctx = 0;
	if (sq_map)
		munmap(sq_map, sq_map_size);
	if (cq_map)
		munmap(cq_map, cq_map_size);
	if (sqes)
		munmap(sqes, sqes_size);
	sq_map = NULL;
	cq_map = NULL;
	sqes = NULL;
	if (ring_fd >= 0)
		close(ring_fd);
	ring_fd = -1;
	if (resfd >= 0)
		close(resfd);
	resfd = -1;
	for (i = 0; i < NFDS; i++) {
		if (fds[i] >= 0)
			close(fds[i]);
		fds[i] = -1;
	}
}

/* What the case before has left to be freed is freed. */
static void settle(void)
{
	struct timespec t = { .tv_nsec = 200000000 };

	nanosleep(&t, NULL);
}

static void run_one(const struct bench *b, unsigned int qd)
{
	settle();
	current = b;
	current_qd = qd;
	if (!setjmp(give_up))
		b->run(b, qd);
	else
		failed = true;
	clean_up();
	fflush(stdout);
}

static bool wanted(const char *name, char **patterns)
{
	size_t n;

	/* Needs two processors, so it runs only if it is asked for by name. */
	bool two = !strcmp(name, "aio-two-submitters");

	if (!*patterns)
		return !two;
	for (; *patterns; patterns++) {
		n = strlen(*patterns);
		if (!strcmp(name, *patterns))
			return true;
		if (n && (*patterns)[n - 1] == '*' && !strncmp(name, *patterns, n - 1) && !two)
			return true;
	}
	return false;
}

static void list_cases(void)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(benches); i++)
		printf("%s\t%s\n", benches[i].name, benches[i].what);
}

static void set_up(void)
{
	unsigned int i, j;
	u64 page[SIZE / 8];

	for (i = 0; i < NFDS; i++)
		fds[i] = -1;
	buffers = mmap(NULL, (size_t)MAX_QD * SIZE, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	events = mmap(NULL, sizeof(*events) * (MAX_OPS + MAX_QD), PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	/* At a multiple of 64 bytes, as io_setup2() wants it. */
	iocbs = mmap(NULL, sizeof(*iocbs) * MAX_QD, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	shm_fd = open("/dev/shm", O_TMPFILE | O_RDWR, 0600);
	if (buffers == MAP_FAILED || events == MAP_FAILED || iocbs == MAP_FAILED || shm_fd < 0) {
		perror("aio-bench");
		exit(1);
	}
	for (i = 0; i < MAX_QD; i++) {
		for (j = 0; j < SIZE / 8; j++)
			page[j] = pattern(i, j);
		if (pwrite(shm_fd, page, SIZE, (off_t)i * SIZE) != SIZE) {
			perror("aio-bench: /dev/shm");
			exit(1);
		}
	}
}

int main(int argc, char **argv)
{
	unsigned int i, q, ran = 0;
	bool nvme_qd = false;
	char *p;
	int c;

	while ((c = getopt(argc, argv, "ln:w:q:")) != -1) {
		switch (c) {
		case 'l':
			list_cases();
			return 0;
		case 'n':
			opt_ops = atoi(optarg);
			break;
		case 'w':
			opt_windows = atoi(optarg);
			break;
		case 'q':
			nqds = 0;
			p = strtok(optarg, ",");
			for (; p && nqds < ARRAY_SIZE(qds); p = strtok(NULL, ","))
				qds[nqds++] = atoi(p);
			break;
		default:
			return 2;
		}
	}
	if (opt_ops < MAX_QD || opt_ops > MAX_OPS || !opt_windows) {
		fprintf(stderr, "aio-bench: from %d to %d operations\n", MAX_QD, MAX_OPS);
		return 2;
	}
	for (q = 0; q < nqds; q++) {
		if (!qds[q] || qds[q] > MAX_QD || (qds[q] & (qds[q] - 1))) {
			fprintf(stderr, "aio-bench: queue depths are powers of 2 up to %d\n",
				MAX_QD);
			return 2;
		}
	}
	set_up();
	calibrate();
	for (i = 0; i < ARRAY_SIZE(benches); i++) {
		const struct bench *b = &benches[i];

		if (!wanted(b->name, argv + optind))
			continue;
		ran++;
		/* Not with the C implementation, and not in every guest. */
		if (!strncmp(b->name, "aio2-", 5) && !has_setup2())
			continue;
		if (b->target == NVME && access("/dev/nvme0n1", F_OK))
			continue;
		if (b->flags & THREADED && access(AUTO_THREADS, F_OK))
			continue;
		if (strstr(b->name, "ext4") && !has_ext4())
			continue;
		if (b->flags & IN_GROUP && !has_group())
			continue;
		if (b->flags & ONCE) {
			run_one(b, 1);
			continue;
		}
		for (q = 0; q < nqds; q++) {
			if (qds[q] > 1 || !(b->flags & FEW_FDS))
				run_one(b, qds[q]);
			if (qds[q] == NVME_QD)
				nvme_qd = true;
		}
		/* The depth that others have measured at. */
		if (b->target == NVME && !nvme_qd)
			run_one(b, NVME_QD);
	}
	if (!ran) {
		fprintf(stderr, "aio-bench: no such case\n");
		return 2;
	}
	if (failed)
		return 1;
	printf("done\n");
	return 0;
}
