// SPDX-License-Identifier: GPL-2.0
/*
 * Differential tester of the AIO system calls.
 *
 * From a seed it makes a sequence of steps (system calls with valid and invalid
 * arguments, changes to the ring, to files and to memory), runs it in a child
 * process, and prints what can be seen of it: results, events, ring headers,
 * hashes of memory and files. Two kernels that implement the same ABI give the
 * same output, byte for byte; so does one kernel that runs it twice.
 *
 *   aio-diff [-w 32|64] [-d DIR] [-t SECONDS] [-k] [-l] FIRST[-LAST]...
 *   aio-diff [-w 32|64] [-d DIR] [-t SECONDS] [-k] -f FILE
 *
 * -w: the word size of the system calls. A 64-bit program does 32-bit calls by
 *     int $0x80; a 32-bit program (aio-diff-32) has no choice.
 * -d: a directory on a disk file system for files that are written directly.
 * -t: the time limit of one sequence, 60 seconds if not given.
 * -k: note each sequence in the kernel log.
 * -l: print only the number of steps of each sequence.
 * -f: each line is "SEED" or "SEED STEPS", STEPS a list such as 0,3,5-9 of the
 *     steps to keep. A step depends on the seed and its own number, so that the
 *     others stay what they were when one is left out.
 *
 * The exit status is 3 if a sequence left something behind (a process that cannot
 * be killed, a part of fs.aio-nr), so that those after it could not be trusted.
 *
 * What makes the output reproducible: there is one processor, and one thread that
 * does everything; other threads only wait for events, and it is in their system
 * call that they are whenever the first thread goes on; everything that the first
 * thread waits for is there, or will not come, and then a process that runs only
 * when nothing else can sends it a signal; a request that
 * completes later (FSYNC, direct I/O) is the last of its batch, and the program
 * waits for it; it is a real-time task, so that workers of that processor (after
 * a wake-up or a cancellation) get on when it waits for them, and not before; the
 * program's own memory is at fixed addresses, and the rings' addresses are
 * printed by name. The machine must have one processor.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

typedef __u64 u64;
typedef __u32 u32;

#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))

/* Where things are: below 4 GB, as 32-bit calls want it. */
#define PAGE		4096UL
#define DATA		0x20000000UL	/* buffers */
#define DATA_SIZE	(8 * PAGE)
#define RO		0x20100000UL	/* memory that cannot be written */
#define RO_SIZE		(2 * PAGE)
#define IOCBS		0x20200000UL	/* iocbs, behind them pointers to iocbs */
#define PTRS		(IOCBS + PAGE)
#define ROIOCB		0x20300000UL	/* an iocb that cannot be written */
#define EVENTS		0x20400000UL
#define EVENTS_SIZE	(4 * PAGE)
#define IOVECS		0x20500000UL
#define IOVECS_SIZE	(5 * PAGE)
#define ARGS		0x20600000UL	/* timespecs, signal masks, context ids */
#define UNMAPPED	0x20700000UL
#define WAIT		0x20800000UL	/* of each waiter: arguments, then events */
#define WAIT_STEP	0x10000UL
#define WAIT_EVENTS	PAGE
#define WAIT_SIZE	(4 * PAGE)	/* of the events */
#define STACK		0x20900000UL	/* of each waiter */
#define STACK_STEP	0x40000UL
#define STACK_SIZE	0x20000UL
#define MOVED		0x30000000UL	/* where rings are moved to */
#define MOVED_STEP	0x01000000UL
#define TRACE_SIZE	0x100000UL

#define NCTX		24
#define NIOCB		24
#define NWAITER		3
#define FD0		100	/* the first of the descriptors */

enum fds {
	FD_MEM, FD_MEM_RO, FD_MEM_WO, FD_MEM_APPEND,
	FD_DISK, FD_DIRECT, FD_DISK_DSYNC,
	FD_NULL, FD_ZERO, FD_FULL,
	FD_PIPE_R, FD_PIPE_W, FD_PIPE_RW,
	FD_EVENT, FD_EVENT_SEM,
	FD_SOCK_A, FD_SOCK_B,
	FD_EPOLL, FD_TIMER, FD_SIGNAL, FD_PTY,
	FD_DIR, FD_PATH, FD_SEALED, FD_PROC,
	FD_CLOSED,
	NFD,
};

enum calls { IO_SETUP, IO_DESTROY, IO_GETEVENTS, IO_SUBMIT, IO_CANCEL, IO_PGETEVENTS,
	IO_PGETEVENTS_64 };

#ifdef __x86_64__
static const int call_64[] = { 206, 207, 208, 209, 210, 333, 333 };
#endif
static const int call_32[] = { 245, 246, 247, 248, 249, 385, 416 };

struct ring {
	u32 id;
	u32 nr;
	u32 head;
	u32 tail;
	u32 magic;
	u32 compat;
	u32 incompat;
	u32 header;
};

struct ctx {
	bool known;		/* was set up, perhaps destroyed since */
	bool live;
	u64 id;			/* as the program knows it */
	u64 first_id;		/* as io_setup() gave it */
	size_t size;
	struct ring made;	/* the header after io_setup() */
	struct ring last;	/* the last one that was printed */
	int last_error;
};

/* A thread that waits for events. */
struct waiter {
	bool active;
	volatile bool done;	/* the call has returned */
	pthread_t thread;
	volatile pid_t tid;
	sigset_t mask;
	enum calls which;
	u64 id, min_nr, nr, at, timeout, sig;
	struct ctx *ctx;
	long ret;
	long slept;		/* how often it went to sleep */
	bool too_many;		/* waits for more than there is room for */
};

struct trace {
	/* Who wants a signal when nothing else can run. */
	volatile pid_t wants_signal;
	size_t len;
	char text[];
};

static struct trace *trace;
static struct ctx ctxs[NCTX];
static struct waiter waiters[NWAITER];
static int word = sizeof(long) * 8;
static const char *scratch;
static int limit = 60;
static u64 seed;
static int step;
static u64 rng;
static int self_pipe[2], own_event, load_fd, alarm_pipe[2];
static bool disk;
static bool waiting;	/* there may be waiters */
static bool closed;	/* a descriptor that a request may still use */
static bool no_room;	/* a submission of this step found the ring full */
static volatile long signals;
static int kernel_log = -1;
static int count;

/* ------------------------------------------------------ numbers, output */

static u64 mix(u64 x)
{
	x += 0x9e3779b97f4a7c15ULL;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
	return x ^ (x >> 31);
}

static u64 rnd64(void)
{
	rng += 0x9e3779b97f4a7c15ULL;
	return mix(rng);
}

static unsigned int rnd(unsigned int n)
{
	return (rnd64() >> 32) % n;
}

static bool chance(unsigned int percent)
{
	return rnd(100) < percent;
}

/* Something strange: how often depends on the sequence. */
static unsigned int wild;

static bool odd(unsigned int permille)
{
	return rnd(4000) < permille * wild;
}

#define PICK(a)	((a)[rnd(ARRAY_SIZE(a))])

/* The index of a weight, chosen by the weights. */
static int weighted(const unsigned char *weights, int n)
{
	int i, sum = 0, at;

	for (i = 0; i < n; i++)
		sum += weights[i];
	at = rnd(sum);
	for (i = 0; at >= weights[i]; i++)
		at -= weights[i];
	return i;
}

static void out(const char *format, ...)
{
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(trace->text + trace->len, TRACE_SIZE - trace->len, format, args);
	va_end(args);
	trace->len += n;
	if (trace->len >= TRACE_SIZE - sizeof(*trace) - 1)
		_exit(99);
}

static void out_result(long ret)
{
	const char *name = ret < 0 && ret > -4096 ? strerrorname_np(-ret) : NULL;

	if (name)
		out(" = -%s", name);
	else
		out(" = %ld", ret);
}

/* A ring's address by the name of the ring, any other as it is. */
static void out_addr(u64 addr)
{
	int i;

	for (i = 0; i < NCTX; i++)
		if (ctxs[i].known && addr - ctxs[i].id < ctxs[i].size) {
			out("ring%d", i);
			if (addr != ctxs[i].id)
				out("+%llx", (unsigned long long)(addr - ctxs[i].id));
			return;
		}
	for (i = 0; i < NCTX; i++)
		if (ctxs[i].known && addr - ctxs[i].first_id < ctxs[i].size) {
			out("oldring%d+%llx", i, (unsigned long long)(addr - ctxs[i].first_id));
			return;
		}
	out("%llx", (unsigned long long)addr);
}

static u64 hash(u64 addr, size_t size)
{
	const u64 *p = (const u64 *)(uintptr_t)addr;
	u64 h = size;

	for (; size >= 8; size -= 8)
		h = (h ^ *p++) * 0x100000001b3ULL, h ^= h >> 29;
	return h & 0xffffffff;
}

/* ------------------------------------------------------ system calls */

static long result(long ret)
{
	return ret == -1 ? -errno : ret;
}

#ifdef __x86_64__
static long int80(long nr, u32 a, u32 b, u32 c, u32 d, u32 e, u32 f)
{
	register long last asm("r12") = f;
	long ret = nr;

	asm volatile("xchgq %%rbp, %%r12\n\t"
		     "int $0x80\n\t"
		     "xchgq %%rbp, %%r12"
		     : "+a" (ret), "+r" (last)
		     : "b" ((long)a), "c" ((long)b), "d" ((long)c), "S" ((long)d), "D" ((long)e)
		     : "r8", "r9", "r10", "r11", "memory", "cc");
	return (int)ret;
}
#endif

static long call(enum calls which, u64 a, u64 b, u64 c, u64 d, u64 e, u64 f)
{
#ifdef __x86_64__
	if (word == 32)
		return int80(call_32[which], a, b, c, d, e, f);
	return result(syscall(call_64[which], a, b, c, d, e, f));
#else
	return result(syscall(call_32[which], (u32)a, (u32)b, (u32)c, (u32)d, (u32)e, (u32)f));
#endif
}

/*
 * Let the workers do what they have to do: sleep until no other task wants the
 * processor. They have it only then, for this is a real-time task.
 */
static void settle(void)
{
	struct timespec ts = { 0, 20000 };
	char text[64] = "";
	char *running;
	int i;

	for (i = 0; i < 500; i++) {
		nanosleep(&ts, NULL);
		if (pread(load_fd, text, sizeof(text) - 1, 0) <= 0)
			break;
		running = strchr(text, '/');
		if (running && running[-1] == '1' && running[-2] == ' ')
			break;
	}
}

/* Memory that may not be there: by way of a pipe, which reports a fault. */
static int peek(u64 addr, void *to, size_t size)
{
	ssize_t n = write(self_pipe[1], (void *)(uintptr_t)addr, size);
	int error = n < 0 ? -errno : 0;
	char rest[64];

	if (n > 0 && read(self_pipe[0], n == (ssize_t)size ? to : rest, n) != n)
		_exit(98);
	return error ? error : n == (ssize_t)size ? 0 : -EFAULT;
}

static int poke(u64 addr, const void *from, size_t size)
{
	char rest[64];
	ssize_t n;

	if (write(self_pipe[1], from, size) != (ssize_t)size)
		_exit(98);
	n = read(self_pipe[0], (void *)(uintptr_t)addr, size);
	if (n == (ssize_t)size)
		return 0;
	if (n < 0)
		n = 0;
	if (read(self_pipe[0], rest, size - n) != (ssize_t)size - n)
		_exit(98);
	return -EFAULT;
}

static long read_number(const char *path)
{
	char text[32] = "";
	int fd = open(path, O_RDONLY);
	long ret;

	if (fd < 0)
		return -errno;
	ret = read(fd, text, sizeof(text) - 1);
	close(fd);
	return ret > 0 ? strtol(text, NULL, 10) : -errno;
}

static int write_number(const char *path, long value)
{
	char text[32];
	int fd = open(path, O_WRONLY), ret = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, snprintf(text, sizeof(text), "%ld", value)) < 0)
		ret = -errno;
	close(fd);
	return ret;
}

/* ------------------------------------------------------ choices */

static struct ctx *pick_ctx(void)
{
	int i, n = 0, at;

	for (i = 0; i < NCTX; i++)
		n += ctxs[i].live;
	if (!n || odd(40))
		return &ctxs[chance(70) ? 0 : rnd(NCTX)];
	at = rnd(n);
	for (i = 0; ; i++)
		if (ctxs[i].live && !at--)
			return &ctxs[i];
}

static u64 bad_address(void)
{
	static const u64 bad[] = {
		0, 1, UNMAPPED, UNMAPPED + 8, DATA + DATA_SIZE, 0xfffff000, 0xffffffff,
		0x7ffffffff000ULL, 0x800000000000ULL, 0xffff888000000000ULL,
		0x8000000000000000ULL, 0xfffffffffffff000ULL, ~0ULL,
	};

	return PICK(bad);
}

/* What is given as a context id, right or wrong. */
static u64 pick_id(struct ctx **ctxp)
{
	struct ctx *ctx = pick_ctx();

	*ctxp = ctx;
	if (!odd(60))
		return ctx->id;
	*ctxp = NULL;
	switch (rnd(7)) {
	case 0:
		return ctx->id + 1;
	case 1:
		return ctx->id + PAGE;
	case 2:
		return ctx->first_id;
	case 3:
		/* Memory that looks like the ring of a context. */
		*(u32 *)(ARGS + PAGE / 2) = rnd(4);
		return ARGS + PAGE / 2;
	case 4:
		return ctx->id | (1ULL << 32);
	case 5:
		return ctx->id - 4;
	default:
		return bad_address();
	}
}

static u64 pick_buffer(size_t size)
{
	struct ctx *ctx;

	switch (rnd(20)) {
	case 0:
		return odd(700) ? bad_address() : DATA;
	case 1:
		return RO + rnd(RO_SIZE);
	case 2:
	case 3:
		return DATA + DATA_SIZE - rnd(PAGE);
	case 4:
		return DATA + DATA_SIZE - (size < DATA_SIZE ? size : 1);
	case 5:
		ctx = pick_ctx();
		return ctx->live ? ctx->id + (chance(80) ? PAGE - rnd(1024) : rnd(64)) : DATA;
	case 6:
	case 7:
	case 8:
		return DATA + rnd(DATA_SIZE);
	default:
		return DATA + rnd(DATA_SIZE / 512) * 512;
	}
}

static u64 pick_size(void)
{
	static const u64 strange[] = {
		0, 0x7ffff000, 0x7fffffff, 0x80000000, 0xffffffff, 0x100000000ULL,
		0x7fffffffffffffffULL, 0x8000000000000000ULL, ~0ULL, 0x7ffffffffffff000ULL,
	};

	if (odd(80))
		return PICK(strange);
	switch (1 + rnd(11)) {
	case 1:
		return rnd(20000);
	case 2:
	case 3:
		return 512 * (1 + rnd(16));
	case 4:
		return PAGE;
	case 5:
		return PAGE * (1 + rnd(7));
	default:
		return 1 + rnd(600);
	}
}

static int pick_fd(void)
{
	static const unsigned char weights[NFD] = {
		[FD_MEM] = 14, [FD_MEM_RO] = 4, [FD_MEM_WO] = 4, [FD_MEM_APPEND] = 5,
		[FD_DISK] = 8, [FD_DIRECT] = 8, [FD_DISK_DSYNC] = 3,
		[FD_NULL] = 10, [FD_ZERO] = 6, [FD_FULL] = 2,
		[FD_PIPE_R] = 6, [FD_PIPE_W] = 6, [FD_PIPE_RW] = 2,
		[FD_EVENT] = 7, [FD_EVENT_SEM] = 4, [FD_SOCK_A] = 4, [FD_SOCK_B] = 4,
		[FD_EPOLL] = 1, [FD_TIMER] = 2, [FD_SIGNAL] = 2, [FD_PTY] = 1,
		[FD_DIR] = 1, [FD_PATH] = 1, [FD_SEALED] = 2, [FD_PROC] = 2, [FD_CLOSED] = 2,
	};
	static const int strange[] = { -1, 0x7fffffff, -0x7fffffff - 1, 1023, 5000 };

	if (odd(10))
		return PICK(strange);
	return FD0 + weighted(weights, NFD);
}

static int pick_poll_fd(void)
{
	static const int with_poll[] = {
		FD_PIPE_R, FD_PIPE_R, FD_PIPE_W, FD_EVENT, FD_EVENT, FD_EVENT_SEM, FD_EVENT_SEM,
		FD_SOCK_A, FD_SOCK_B, FD_TIMER, FD_SIGNAL, FD_PIPE_RW, FD_PTY, FD_EPOLL, FD_PROC,
	};

	return chance(85) ? FD0 + PICK(with_poll) : pick_fd();
}

/* ------------------------------------------------------ requests */

static struct iocb *iocb_at(int i)
{
	return (struct iocb *)IOCBS + i;
}

static void put_word(u64 base, int i, u64 value)
{
	if (word == 32)
		((u32 *)(uintptr_t)base)[i] = value;
	else
		((u64 *)(uintptr_t)base)[i] = value;
}

/* The ring that an address is in. */
static struct ctx *ring_of(u64 addr)
{
	int i;

	for (i = 0; i < NCTX; i++)
		if (ctxs[i].known && addr - ctxs[i].id < ctxs[i].size)
			return &ctxs[i];
	return NULL;
}

/* What is behind a ring is not for the kernel to write to. */
static void limit_to_ring(u64 addr, u64 *size)
{
	struct ctx *ctx = ring_of(addr);

	if (ctx && *size > ctx->id + ctx->size - addr)
		*size = ctx->id + ctx->size - addr;
}

/* An array of @n or so iovecs; returns its address. */
static u64 make_iovecs(u64 *n)
{
	static const u64 strange[] = { 0, 8, 9, 1023, 1024, 1025, 0x10000, 0x7fffffff,
		0x100000001ULL, ~0ULL };
	size_t size = word / 4;
	unsigned int i, used;
	u64 base, buf;

	*n = odd(150) ? PICK(strange) : 1 + rnd(9);
	used = *n > 1024 ? 1024 : *n;
	base = chance(10) ? IOVECS + IOVECS_SIZE - used * size : IOVECS + rnd(8) * 16;
	if (base + used * size > IOVECS + IOVECS_SIZE)
		base = IOVECS;
	for (i = 0; i < used; i++) {
		u64 len = !odd(40) ? rnd(used > 16 ? 32 : 3000) : pick_size();

		buf = !odd(30) ? DATA + rnd(DATA_SIZE) : pick_buffer(len);
		limit_to_ring(buf, &len);
		put_word(base, 2 * i, buf);
		put_word(base, 2 * i + 1, len);
	}
	if (odd(40))
		return bad_address();
	if (odd(40))
		base += size * rnd(4);
	return base;
}

static u32 pick_rw_flags(void)
{
	static const u32 flags[] = { 1, 2, 4, 8, 8, 0x10, 0x20, 0x30, 0x40, 0x80, 0x100, 0x200,
		0x80000000, 6, 0x18 };

	if (!odd(250))
		return 0;
	return !odd(50) ? PICK(flags) : (u32)rnd64();
}

/* Can the descriptor do that operation as a rule? */
static bool fits(const struct iocb *iocb)
{
	bool sync = iocb->aio_lio_opcode == IOCB_CMD_FSYNC ||
		iocb->aio_lio_opcode == IOCB_CMD_FDSYNC;
	bool write = iocb->aio_lio_opcode & 1;

	switch (iocb->aio_fildes - FD0) {
	case FD_MEM:
	case FD_MEM_APPEND:
	case FD_DISK:
	case FD_DIRECT:
	case FD_DISK_DSYNC:
		return true;
	case FD_NULL:
	case FD_ZERO:
	case FD_FULL:
	case FD_EVENT:
	case FD_EVENT_SEM:
	case FD_SOCK_A:
	case FD_SOCK_B:
	case FD_PIPE_RW:
		return !sync;
	case FD_MEM_RO:
	case FD_SEALED:
	case FD_PROC:
		return sync || !write;
	case FD_PIPE_R:
	case FD_TIMER:
	case FD_SIGNAL:
		return !sync && !write;
	case FD_MEM_WO:
		return sync || write;
	case FD_PIPE_W:
		return !sync && write;
	default:
		return false;
	}
}

/* Fill in an iocb: mostly one that the kernel takes. */
static void make_iocb(struct iocb *iocb)
{
	static const unsigned char weights[] = { 20, 24, 5, 4, 0, 16, 0, 10, 10, 0, 0 };
	static const int poll_masks[] = { POLLIN, POLLIN, POLLOUT, POLLIN | POLLOUT, POLLPRI, 0,
		0xffff, POLLRDNORM, POLLHUP, POLLERR, 0x2000, 0x8000 };
	static const u64 offsets[] = { ~0ULL, 0x7fffffffffffffffULL, 0x8000000000000000ULL,
		0x7ffffffffffff000ULL, 0x100000000ULL, 65536, 65535, 65537, 1ULL << 44 };
	static const int prios[] = { 0, 1, 7, 8, 0x2000, 0x2004, 0x2007, 0x4000, 0x4007, 0x6000,
		0x6001, 0x8000, 0xe000, 0xffff, 0x1fff, 0x2008 };
	int op = odd(50) ? (int)rnd(11) : weighted(weights, ARRAY_SIZE(weights));
	u64 nbytes;
	int i;

	memset(iocb, 0, sizeof(*iocb));
	iocb->aio_data = chance(90) ? (u64)(step * 100 + rnd(100)) : rnd64();
	iocb->aio_key = chance(50) ? rnd64() : 0;
	iocb->aio_lio_opcode = op < 10 ? op : chance(50) ? 0xffff : (int)rnd(0x10000);
	iocb->aio_fildes = pick_fd();
	/* A descriptor that can do it, unless it is to be strange. */
	for (i = 0; i < 20 && !fits(iocb) && !odd(150); i++)
		iocb->aio_fildes = pick_fd();
	iocb->aio_offset = odd(80) ? PICK(offsets) : chance(50) ? rnd(70000) : 512 * rnd(140);
	switch (op) {
	case IOCB_CMD_FSYNC:
	case IOCB_CMD_FDSYNC:
		iocb->aio_offset = 0;
		if (odd(80))
			iocb->aio_offset = rnd(2);
		if (odd(80))
			iocb->aio_nbytes = rnd(2);
		if (odd(80))
			iocb->aio_buf = rnd(2);
		if (odd(80))
			iocb->aio_rw_flags = pick_rw_flags();
		break;
	case IOCB_CMD_POLL:
		iocb->aio_fildes = pick_poll_fd();
		iocb->aio_offset = 0;
		iocb->aio_buf = PICK(poll_masks);
		if (odd(30))
			iocb->aio_offset = 1;
		if (odd(30))
			iocb->aio_nbytes = 1;
		if (odd(30))
			iocb->aio_buf |= 0x10000;
		if (odd(30))
			iocb->aio_rw_flags = pick_rw_flags();
		break;
	case IOCB_CMD_PREADV:
	case IOCB_CMD_PWRITEV:
		iocb->aio_buf = make_iovecs(&nbytes);
		iocb->aio_nbytes = nbytes;
		iocb->aio_rw_flags = pick_rw_flags();
		break;
	default:
		nbytes = pick_size();
		iocb->aio_buf = pick_buffer(nbytes);
		limit_to_ring(iocb->aio_buf, &nbytes);
		iocb->aio_nbytes = nbytes;
		iocb->aio_rw_flags = pick_rw_flags();
		break;
	}
	/* Whether a disk's pages are in memory is a matter of time. */
	if (disk && (iocb->aio_fildes == FD0 + FD_DISK || iocb->aio_fildes == FD0 + FD_DIRECT ||
		     iocb->aio_fildes == FD0 + FD_DISK_DSYNC))
		iocb->aio_rw_flags &= ~RWF_NOWAIT;
	/* Direct I/O wants everything aligned. */
	if (iocb->aio_fildes == FD0 + FD_DIRECT && chance(80)) {
		iocb->aio_nbytes &= ~511ULL;
		iocb->aio_offset &= ~511ULL;
		if (op < 2)
			iocb->aio_buf &= ~511ULL;
		if (op == IOCB_CMD_POLL)
			iocb->aio_nbytes = 0;
	}
	if (chance(15)) {
		static const int event_fds[] = { FD_EVENT, FD_EVENT, FD_EVENT, FD_EVENT_SEM };

		iocb->aio_flags |= IOCB_FLAG_RESFD;
		iocb->aio_resfd = !odd(100) ? FD0 + PICK(event_fds) : pick_fd();
	}
	if (chance(8)) {
		iocb->aio_flags |= IOCB_FLAG_IOPRIO;
		iocb->aio_reqprio = PICK(prios);
	}
	if (odd(30))
		iocb->aio_flags |= 1U << rnd(32);
	if (odd(20))
		iocb->aio_reserved2 = 1ULL << rnd(64);
}

/* Does it complete by itself, some time after its submission? */
static bool is_async(const struct iocb *iocb)
{
	switch (iocb->aio_lio_opcode) {
	case IOCB_CMD_FSYNC:
	case IOCB_CMD_FDSYNC:
		return true;
	case IOCB_CMD_POLL:
		return false;
	default:
		return iocb->aio_fildes == FD0 + FD_DIRECT;
	}
}

static void make_sync(struct iocb *iocb)
{
	if (iocb->aio_lio_opcode == IOCB_CMD_FSYNC || iocb->aio_lio_opcode == IOCB_CMD_FDSYNC)
		iocb->aio_lio_opcode = IOCB_CMD_PWRITE;
	if (iocb->aio_fildes == FD0 + FD_DIRECT)
		iocb->aio_fildes = FD0 + FD_NULL;
}

/* The iocbs, with the rings' addresses in them by name. */
static u64 hash_iocbs(void)
{
	static u64 copy[PAGE / 8];
	struct iocb *iocb = (struct iocb *)copy;
	struct ctx *ctx;
	unsigned int i;

	memcpy(copy, (void *)IOCBS, PAGE);
	for (i = 0; i < PAGE / sizeof(*iocb); i++) {
		ctx = ring_of(iocb[i].aio_buf);
		if (ctx)
			iocb[i].aio_buf += ctx - ctxs - ctx->id;
	}
	return hash((uintptr_t)copy, PAGE);
}

/* Can it wake up a poll request? */
static bool wakes(const struct iocb *iocb)
{
	if (iocb->aio_flags & IOCB_FLAG_RESFD)
		return true;
	if (iocb->aio_lio_opcode == IOCB_CMD_POLL)
		return false;
	switch (iocb->aio_fildes - FD0) {
	case FD_PIPE_R:
	case FD_PIPE_W:
	case FD_PIPE_RW:
	case FD_EVENT:
	case FD_EVENT_SEM:
	case FD_SOCK_A:
	case FD_SOCK_B:
	case FD_TIMER:
	case FD_SIGNAL:
		return true;
	}
	return false;
}

static void make_quiet(struct iocb *iocb)
{
	iocb->aio_flags &= ~IOCB_FLAG_RESFD;
	if (wakes(iocb))
		iocb->aio_fildes = FD0 + FD_NULL;
}

static void out_iocb(const struct iocb *iocb)
{
	out(" {op=%d fd=%d buf=", iocb->aio_lio_opcode, iocb->aio_fildes);
	out_addr(iocb->aio_buf);
	out(" n=%llx off=%llx", (unsigned long long)iocb->aio_nbytes,
	    (unsigned long long)iocb->aio_offset);
	if (iocb->aio_flags)
		out(" fl=%x/%d/%x", iocb->aio_flags, (int)iocb->aio_resfd,
		    (unsigned short)iocb->aio_reqprio);
	if (iocb->aio_rw_flags)
		out(" rwf=%x", iocb->aio_rw_flags);
	if (iocb->aio_reserved2)
		out(" res2");
	out("}");
}

static struct iocb *iocb_of(u64 ptr)
{
	if (ptr == ROIOCB)
		return (struct iocb *)ROIOCB;
	if (ptr < IOCBS || ptr > IOCBS + NIOCB * sizeof(struct iocb))
		return NULL;
	return (struct iocb *)(uintptr_t)ptr;
}

static void wait_event(void)
{
	u64 value;
	int i;

	for (i = 0; i < 5000; i++) {
		if (read(own_event, &value, sizeof(value)) == sizeof(value)) {
			settle();
			return;
		}
		settle();
	}
	out(" LOST");
}

/*
 * One iocb, whose completion is waited for by what the kernel writes to the
 * tail: it always writes its own, whatever was there.
 */
static long submit_async(u64 id, struct ctx *ctx, u64 ptrs)
{
	u32 mark = 0xa5a5a5a5, tail, now;
	u64 at = id + offsetof(struct ring, tail);
	long ret;
	int i;

	if (!ctx || peek(at, &tail, 4) || poke(at, &mark, 4)) {
		make_sync(iocb_of(((u32 *)(uintptr_t)ptrs)[0]));
		return call(IO_SUBMIT, id, 1, ptrs, 0, 0, 0);
	}
	ret = call(IO_SUBMIT, id, 1, ptrs, 0, 0, 0);
	if (ret != 1) {
		if (!peek(at, &now, 4) && now == mark)
			poke(at, &tail, 4);
		return ret;
	}
	for (i = 0; i < 5000; i++) {
		if (peek(at, &now, 4) || now != mark)
			break;
		settle();
	}
	if (i == 5000)
		out(" LOST");
	settle();
	return ret;
}

static bool has_waiters(void)
{
	int i;

	for (i = 0; i < NWAITER; i++)
		if (waiters[i].active)
			return true;
	return false;
}

/*
 * Has a submission ended because the ring was full? The Rust implementation wakes
 * readers then, and it has room for a few more, see the file deviations. What a batch
 * ended with can't be seen, so one more request is tried.
 */
static void look_for_room(u64 id, long ret, long wanted)
{
	struct iocb *iocb = iocb_at(NIOCB + 1);
	u64 ptrs = ARGS + 800;

	if (ret >= wanted)
		return;
	if (ret > 0) {
		memset(iocb, 0, sizeof(*iocb));
		iocb->aio_lio_opcode = IOCB_CMD_PWRITE;
		iocb->aio_fildes = FD0 + FD_NULL;
		put_word(ptrs, 0, (uintptr_t)iocb);
		ret = call(IO_SUBMIT, id, 1, ptrs, 0, 0, 0);
		out(" room");
		out_result(ret);
	}
	if (ret == -EAGAIN && has_waiters())
		no_room = true;
}

static void do_submit(void)
{
	static const u64 odd_nr[] = { 0, ~0ULL, 0x8000000000000000ULL, 0x80000000, 0xffffffff,
		0x7fffffffffffffffULL, 0x7fffffff, 0x100000000ULL };
	int i, n, made = 1 + (chance(50) ? 0 : chance(80) ? rnd(6) : rnd(NIOCB));
	u64 nr, ptrs = PTRS, ptr, id;
	struct ctx *ctx;
	struct iocb *last;
	bool async = false;
	long ret;

	id = pick_id(&ctx);
	out("io_submit ");
	out_addr(id);
	n = made;
	if (chance(8))
		ptrs = PTRS + PAGE - n * (word / 8);
	for (i = 0; i < n; i++) {
		ptr = (uintptr_t)iocb_at(chance(90) ? i : (int)rnd(NIOCB));
		if (chance(88))
			make_iocb((struct iocb *)(uintptr_t)ptr);
		if (odd(20)) {
			mprotect((void *)ROIOCB, PAGE, PROT_READ | PROT_WRITE);
			make_iocb((struct iocb *)ROIOCB);
			make_sync((struct iocb *)ROIOCB);
			mprotect((void *)ROIOCB, PAGE, PROT_READ);
			ptr = ROIOCB;
		} else if (odd(20)) {
			ptr = chance(50) ? bad_address() : EVENTS + EVENTS_SIZE - 64 + rnd(64);
		}
		put_word(ptrs, i, ptr);
	}
	/* A whole batch may be one iocb again and again. */
	if (chance(5)) {
		ptr = word == 32 ? *(u32 *)(uintptr_t)ptrs : *(u64 *)(uintptr_t)ptrs;
		n = 2 + rnd(40);
		ptrs = PTRS;
		for (i = 0; i < n; i++)
			put_word(ptrs, i, ptr);
	}
	for (i = 0; i < n; i++) {
		ptr = word == 32 ? ((u32 *)(uintptr_t)ptrs)[i] : ((u64 *)(uintptr_t)ptrs)[i];
		last = iocb_of(ptr);
		async = last && last->aio_lio_opcode != IOCB_CMD_POLL && is_async(last);
		if (async && (i < n - 1 || ptr == ROIOCB)) {
			if (ptr != ROIOCB)
				make_sync(last);
			async = false;
		}
		/* I/O to a disk sleeps, and a worker gets on at a time that is not defined. */
		if (disk && last && i < n - 1 && ptr != ROIOCB && wakes(last))
			make_quiet(last);
	}
	nr = n;
	if (!async && odd(50)) {
		nr = PICK(odd_nr);
		/* The kernel must not go on with what an earlier step left there. */
		for (i = n; ptrs + (i + 1) * (word / 8) <= PTRS + PAGE; i++)
			put_word(ptrs, i, 0);
	}
	if (!async && odd(30))
		ptrs = bad_address();
	out(" %lld ", (long long)nr);
	out_addr(ptrs);
	for (i = 0; i < n && ptrs >= PTRS && ptrs < PTRS + PAGE; i++) {
		ptr = word == 32 ? ((u32 *)(uintptr_t)ptrs)[i] : ((u64 *)(uintptr_t)ptrs)[i];
		if (iocb_of(ptr) && (!i || n <= made)) {
			out_iocb(iocb_of(ptr));
		} else if (!iocb_of(ptr)) {
			out(" ");
			out_addr(ptr);
		}
	}
	if (async && n == 1) {
		ret = submit_async(id, ctx, ptrs);
		look_for_room(id, ret, 1);
	} else {
		if (async) {
			last->aio_flags |= IOCB_FLAG_RESFD;
			last->aio_resfd = own_event;
		}
		ret = call(IO_SUBMIT, id, nr, ptrs, 0, 0, 0);
		look_for_room(id, ret, n);
		if (async && ret == n)
			wait_event();
	}
	settle();
	out_result(ret);
	out(" iocbs:%llx data:%llx\n", (unsigned long long)hash_iocbs(),
	    (unsigned long long)hash(DATA, DATA_SIZE));
}

/* Sometimes until the ring is full, where what can be compared ends. */
static void do_fill(void)
{
	struct iocb *iocb = iocb_at(NIOCB);
	struct ctx *ctx = pick_ctx();
	long ret = 0, sum = 0;
	int i, n, batch = chance(50) ? 1 : 1 + rnd(64), most = chance(30) ? 3000 : rnd(120);

	memset(iocb, 0, sizeof(*iocb));
	iocb->aio_lio_opcode = IOCB_CMD_PWRITE;
	iocb->aio_fildes = FD0 + FD_NULL;
	iocb->aio_buf = DATA;
	for (i = 0; i < batch; i++)
		put_word(PTRS, i, (uintptr_t)iocb);
	out("fill ");
	out_addr(ctx->id);
	out(" by %d", batch);
	for (n = 0; sum < most; n++) {
		iocb->aio_data = n;
		iocb->aio_nbytes = n;
		ret = call(IO_SUBMIT, ctx->id, batch, PTRS, 0, 0, 0);
		if (ret <= 0)
			break;
		sum += ret;
	}
	look_for_room(ctx->id, ret, 0);
	out(" took %ld in %d", sum, n);
	out_result(ret);
	out("\n");
}

/* ------------------------------------------------------ contexts */

static void setup_one(struct ctx *ctx, unsigned int nr, u64 at)
{
	size_t word_size = word / 8;
	u64 id = 0;
	long ret;

	ret = call(IO_SETUP, nr, at, 0, 0, 0, 0);
	out_result(ret);
	if (ret)
		return;
	memcpy(&id, (void *)(uintptr_t)at, word_size);
	memset(ctx, 0, sizeof(*ctx));
	ctx->known = true;
	ctx->live = true;
	ctx->id = id;
	ctx->first_id = id;
	if (peek(id, &ctx->made, sizeof(ctx->made)))
		out(" UNREADABLE");
	ctx->size = (sizeof(struct ring) + ctx->made.nr * 32ULL + PAGE - 1) & ~(PAGE - 1);
	out(" aligned:%d", !(id % PAGE));
}

static struct ctx *free_ctx(void)
{
	int i;

	for (i = 0; i < NCTX; i++)
		if (!ctxs[i].live)
			return &ctxs[i];
	return NULL;
}

static void do_setup(void)
{
	static const u32 strange[] = { 0, 126, 127, 128, 8190, 65536, 65537, 0x400000, 0x400001,
		0x7fffffff, 0x80000000, 0x80000001, 0xffffffff, 0xc0000000, 1000, 2000 };
	unsigned int nr = odd(120) ? PICK(strange) : chance(50) ? 1 + rnd(16) : 1 + rnd(400);
	struct ctx *ctx = free_ctx();
	u64 at = ARGS + 64;
	u64 zero = 0;

	if (!ctx) {
		out("io_setup: enough\n");
		return;
	}
	memcpy((void *)(uintptr_t)at, &zero, 8);
	switch (odd(250) ? rnd(6) : 6) {
	case 0:
		at = bad_address();
		break;
	case 1:
		at = RO;	/* is not zero */
		break;
	case 2:
		at = RO + PAGE;	/* is zero */
		break;
	case 3:
		*(u32 *)(uintptr_t)at = 1;
		break;
	case 4:
		*(u32 *)(uintptr_t)(at + 4) = 1;
		break;
	case 5:
		at = ARGS + PAGE - 4;
		*(u32 *)(uintptr_t)at = 0;
		break;
	}
	out("io_setup %u %llx", nr, (unsigned long long)at);
	setup_one(ctx, nr, at);
	out(" aio-nr:%ld\n", read_number("/proc/sys/fs/aio-nr"));
}

/* Many contexts, so that the table of contexts grows. */
static void do_setup_many(void)
{
	int i, n = 2 + rnd(20);
	struct ctx *ctx;
	u64 zero = 0;

	out("io_setup: %d", n);
	for (i = 0; i < n; i++) {
		ctx = free_ctx();
		if (!ctx)
			break;
		memcpy((void *)(ARGS + 64), &zero, 8);
		setup_one(ctx, 1 + rnd(8), ARGS + 64);
		out(" id:%u", ctx->made.id);
	}
	out(" aio-nr:%ld\n", read_number("/proc/sys/fs/aio-nr"));
}

/* The count of an eventfd, without taking it. */
static void out_count(int which)
{
	char path[64], text[512] = "", *at;
	int fd;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", FD0 + which);
	fd = open(path, O_RDONLY);
	if (fd < 0)
		return;
	if (read(fd, text, sizeof(text) - 1) < 0)
		text[0] = 0;
	close(fd);
	at = strstr(text, "eventfd-count:");
	if (at)
		out(" fd=%d:%llx", FD0 + which, strtoull(at + 14, NULL, 16));
}

static void do_destroy(void)
{
	struct ctx *ctx;
	u64 id = pick_id(&ctx);
	long ret;
	int i;

	out("io_destroy ");
	out_addr(id);
	ret = call(IO_DESTROY, id, 0, 0, 0, 0, 0);
	out_result(ret);
	/* It has waited for the last request, which may have had an eventfd. */
	if (!ret) {
		out_count(FD_EVENT);
		out_count(FD_EVENT_SEM);
	}
	for (i = 0; i < NCTX && !ret; i++)
		if (ctxs[i].live && (word == 32 ? (u32)ctxs[i].id == (u32)id : ctxs[i].id == id))
			ctxs[i].live = false;
	out(" aio-nr:%ld\n", read_number("/proc/sys/fs/aio-nr"));
}

static void do_cancel(void)
{
	u64 ptr = (uintptr_t)iocb_at(rnd(4));
	struct ctx *ctx;
	u64 id = pick_id(&ctx);
	int i;
	long ret;

	/* Prefer one that was submitted to wait for something. */
	for (i = 0; i < 2 * NIOCB && iocb_of(ptr)->aio_lio_opcode != IOCB_CMD_POLL; i++)
		ptr = (uintptr_t)iocb_at(rnd(NIOCB));
	if (odd(30))
		iocb_of(ptr)->aio_key = 1;
	if (odd(50))
		ptr = chance(50) ? bad_address() : EVENTS + EVENTS_SIZE - 8;
	out("io_cancel ");
	out_addr(id);
	out(" %llx", (unsigned long long)ptr);
	ret = call(IO_CANCEL, id, ptr, chance(80) ? EVENTS : bad_address(), 0, 0, 0);
	settle();
	out_result(ret);
	out("\n");
}

/* ------------------------------------------------------ events */

static void on_signal(int nr)
{
	(void)nr;
	signals++;
}

/*
 * SIGALRM for whoever wants it, once it sleeps and nothing else can run: not by a
 * timer, which may go off before the call has come so far.
 */
static void alarm_process(void)
{
	struct sched_param param = { 0 };
	char c;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	sched_setscheduler(0, SCHED_OTHER, &param);
	load_fd = open("/proc/loadavg", O_RDONLY);
	while (read(alarm_pipe[0], &c, 1) == 1) {
		while (trace->wants_signal) {
			pid_t pid;

			settle();
			pid = trace->wants_signal;
			if (pid)
				kill(pid, SIGALRM);
		}
	}
	_exit(0);
}

/* Make a call that waits return at some time. */
static void set_alarm(bool on)
{
	static const struct timespec now;
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGALRM);
	if (on) {
		trace->wants_signal = getpid();
		if (write(alarm_pipe[1], "", 1) != 1)
			_exit(93);
		sigprocmask(SIG_UNBLOCK, &set, NULL);
	} else {
		trace->wants_signal = 0;
		sigprocmask(SIG_BLOCK, &set, NULL);
		sigtimedwait(&set, NULL, &now);
	}
}

static void do_getevents(bool with_mask)
{
	static const u64 strange[] = { 0, ~0ULL, 0x8000000000000000ULL, 0x80000000, 0xffffffff,
		0x7fffffffffffffffULL, 0x7fffffff, 0x100000001ULL };
	static const long long times[][2] = {
		{ -1, 0 }, { 0, -1 }, { -1, 1000000000 }, { 1LL << 62, 0 }, { -(1LL << 62), 0 },
		{ 0x7fffffff, 0 }, { 0, 1LL << 40 },
	};
	struct ctx *ctx;
	u64 id = pick_id(&ctx), nr, min_nr, at = EVENTS, timeout = ARGS + 256, sig = 0;
	struct ring ring = { 0 };
	bool wide = sizeof(long) == 8 && word == 64, forever = false, with_time64;
	unsigned int avail = 0, i, j;
	sigset_t now;
	long ret, before;
	enum calls which = IO_GETEVENTS;

	if (!peek(id, &ring, sizeof(ring)) && ring.nr && ring.head < ring.nr &&
	    ring.tail < ring.nr)
		avail = (ring.tail + ring.nr - ring.head) % ring.nr;
	if (avail > 100000)
		avail = 0;
	if (with_mask) {
		with_time64 = chance(50);
		which = with_time64 ? IO_PGETEVENTS_64 : IO_PGETEVENTS;
		wide = wide || with_time64;
	}
	nr = odd(80) ? PICK(strange) : chance(30) ? 1 + rnd(4) : chance(50) ? avail : rnd(400);
	min_nr = odd(50) ? PICK(strange) : chance(40) ? 0 : chance(40) ? nr :
		chance(50) ? avail : rnd(avail + 3);
	if (!odd(150) && (long long)min_nr > (long long)nr)
		min_nr = nr;
	switch (odd(400) ? rnd(6) : 6) {
	case 0:
		at = bad_address();
		break;
	case 1:
		at = RO + PAGE;
		break;
	case 2:
	case 3:
		at = EVENTS + EVENTS_SIZE - rnd(6) * 32;
		break;
	case 4:
		at = EVENTS + rnd(64);
		break;
	case 5:
		if (chance(30) && ctx && ctx->live) {
			at = ctx->id + rnd(PAGE);
			if (nr > (ctx->id + ctx->size - at) / 32)
				nr = (ctx->id + ctx->size - at) / 32;
			if (min_nr > nr)
				min_nr = nr;
		}
		break;
	}
	memset((void *)EVENTS, 0xee, EVENTS_SIZE);
	/* The time limit. */
	i = rnd(20);
	{
		long long s = 0, ns = 0;

		if (i < 4) {
			ns = 1 + rnd(20000);
		} else if (i < 6) {
			timeout = 0;
			forever = true;
		} else if (i < 8) {
			j = rnd(ARRAY_SIZE(times));
			s = times[j][0];
			ns = times[j][1];
			forever = true;
		} else if (i == 8) {
			timeout = chance(50) ? bad_address() : ARGS + PAGE - 8 + 4 * rnd(2);
		}
		if (i == 8)
			forever = true;
		if (wide) {
			((long long *)(ARGS + 256))[0] = s;
			((long long *)(ARGS + 256))[1] = ns;
		} else {
			((int *)(ARGS + 256))[0] = s;
			((int *)(ARGS + 256))[1] = ns;
		}
		out("%s ", with_mask ? which == IO_PGETEVENTS ? "io_pgetevents" :
		    "io_pgetevents_time64" : "io_getevents");
		out_addr(id);
		out(" %lld %lld ", (long long)min_nr, (long long)nr);
		out_addr(at);
		if (timeout == ARGS + 256)
			out(" %lld.%lld", s, ns);
		else
			out(" %llx", (unsigned long long)timeout);
	}
	if (with_mask && chance(70)) {
		static const int sizes[] = { 0, 4, 16, -1 };
		u64 mask = ARGS + 512, size = 8;

		*(u64 *)(ARGS + 512) = 0;
		if (chance(40))
			*(u64 *)(ARGS + 512) = (1ULL << (SIGUSR1 - 1)) | (1ULL << (SIGUSR2 - 1));
		if (chance(10))
			mask = chance(30) ? bad_address() : 0;
		if (chance(10))
			size = PICK(sizes);
		put_word(ARGS + 600, 0, mask);
		put_word(ARGS + 600, 1, size);
		sig = chance(4) ? bad_address() : ARGS + 600;
		out(" mask:%llx/%llx/%lld/%llx", (unsigned long long)sig, (unsigned long long)mask,
		    (long long)size, (unsigned long long)*(u64 *)(ARGS + 512));
	}
	before = signals;
	if (forever)
		set_alarm(true);
	ret = call(which, id, min_nr, nr, at, timeout, sig);
	if (forever)
		set_alarm(false);
	out_result(ret);
	out(" signals:%s", signals != before ? "yes" : "no");
	sigprocmask(SIG_SETMASK, NULL, &now);
	out(" mask:%d%d", sigismember(&now, SIGUSR1), sigismember(&now, SIGUSR2));
	if (ret > 0 && at >= EVENTS && at < EVENTS + EVENTS_SIZE)
		for (i = 0; (long)i < ret && i < 6; i++) {
			struct io_event event;

			if (at + (i + 1) * 32 > EVENTS + EVENTS_SIZE)
				break;
			memcpy(&event, (void *)(uintptr_t)(at + i * 32), sizeof(event));
			out(" (%llx %llx %lld %lld)", (unsigned long long)event.data,
			    (unsigned long long)event.obj, (long long)event.res,
			    (long long)event.res2);
		}
	out(" events:%llx\n", (unsigned long long)hash(EVENTS, EVENTS_SIZE));
}

static void do_signal(void)
{
	int nr = chance(70) ? SIGUSR1 : SIGUSR2;
	sigset_t pending;
	siginfo_t info;

	/* With a sender that is the same each time: a signalfd tells it. */
	memset(&info, 0, sizeof(info));
	info.si_signo = nr;
	info.si_code = SI_QUEUE;
	info.si_pid = 1;
	syscall(SYS_rt_sigqueueinfo, getpid(), nr, &info);
	/* A waiter may have it. */
	settle();
	sigpending(&pending);
	out("raise %d pending:%d%d\n", nr == SIGUSR1 ? 1 : 2, sigismember(&pending, SIGUSR1),
	    sigismember(&pending, SIGUSR2));
}

/* ------------------------------------------------------ waiters */

static void *wait_in_thread(void *arg)
{
	struct waiter *w = arg;

	w->tid = syscall(SYS_gettid);
	pthread_sigmask(SIG_SETMASK, &w->mask, NULL);
	w->ret = call(w->which, w->id, w->min_nr, w->nr, w->at, w->timeout, w->sig);
	w->done = true;
	return NULL;
}

static void start_thread(struct waiter *w)
{
	pthread_attr_t attr;

	pthread_attr_init(&attr);
	/* Not where the library would have it: a ring may have been there. */
	pthread_attr_setstack(&attr, (void *)(STACK + (w - waiters) * STACK_STEP), STACK_SIZE);
	w->done = false;
	w->tid = 0;
	w->slept = -1;
	if (pthread_create(&w->thread, &attr, wait_in_thread, w))
		_exit(94);
	w->active = true;
	settle();
	if (!w->tid)
		out(" NOT STARTED");
}

/* How often a waiter went to sleep; -1 if that is not known. */
static long times_slept(const struct waiter *w)
{
	char path[64], text[2048] = "", *at;
	int fd;

	snprintf(path, sizeof(path), "/proc/self/task/%d/status", (int)w->tid);
	fd = open(path, O_RDONLY);
	if (fd < 0)
		return -1;
	if (read(fd, text, sizeof(text) - 1) < 0)
		text[0] = 0;
	close(fd);
	at = strstr(text, "\nvoluntary_ctxt_switches:");
	return at ? strtol(strchr(at, ':') + 1, NULL, 10) : -1;
}

static void do_wait(void)
{
	struct waiter *w;
	struct ctx *ctx;
	struct ring ring = { 0 };
	unsigned int avail = 0;
	u64 args, mask = 0;
	bool wide = sizeof(long) == 8 && word == 64;
	long long s = 100;
	int i;

	for (i = 0; i < NWAITER && waiters[i].active; i++)
		;
	if (i == NWAITER) {
		out("wait: enough\n");
		return;
	}
	w = &waiters[i];
	args = WAIT + i * WAIT_STEP;
	w->id = pick_id(&ctx);
	w->ctx = ctx;
	if (ctx && !peek(w->id, &ring, sizeof(ring)) && ring.nr && ring.head < ring.nr &&
	    ring.tail < ring.nr)
		avail = (ring.tail + ring.nr - ring.head) % ring.nr;
	if (avail > 100000)
		avail = 0;
	w->min_nr = avail + 1 + rnd(chance(70) ? 3 : 12);
	if (chance(8))
		w->min_nr = rnd(avail + 1);
	if (chance(4) && ctx)
		w->min_nr = avail + ctx->made.nr - 1 + rnd(4);
	w->too_many = ctx && w->min_nr >= avail + ctx->made.nr;
	w->nr = w->min_nr + (chance(50) ? 0 : rnd(10));
	if (w->nr > WAIT_SIZE / 32)
		w->nr = WAIT_SIZE / 32;
	if (w->min_nr > w->nr)
		w->min_nr = w->nr;
	w->at = args + WAIT_EVENTS;
	if (odd(60))
		w->at += WAIT_SIZE - 32 * rnd(6);
	else if (odd(20))
		w->at = chance(50) ? RO + PAGE : bad_address();
	memset((void *)(uintptr_t)(args + WAIT_EVENTS), 0xee, WAIT_SIZE);
	i = rnd(3);
	w->which = i == 0 ? IO_GETEVENTS : i == 1 ? IO_PGETEVENTS : IO_PGETEVENTS_64;
	wide = wide || w->which == IO_PGETEVENTS_64;
	w->timeout = chance(40) ? 0 : args;
	if (chance(10))
		s = 0x7fffffff;
	if (wide) {
		((long long *)(uintptr_t)args)[0] = s;
		((long long *)(uintptr_t)args)[1] = 0;
	} else {
		((int *)(uintptr_t)args)[0] = s;
		((int *)(uintptr_t)args)[1] = 0;
	}
	/* Which signals may end it. */
	sigemptyset(&w->mask);
	sigaddset(&w->mask, SIGALRM);
	if (chance(70))
		sigaddset(&w->mask, SIGUSR1);
	if (chance(90))
		sigaddset(&w->mask, SIGUSR2);
	w->sig = 0;
	if (w->which != IO_GETEVENTS && chance(60)) {
		mask = 1ULL << (SIGALRM - 1);
		if (chance(50))
			mask |= 1ULL << (SIGUSR1 - 1);
		if (chance(70))
			mask |= 1ULL << (SIGUSR2 - 1);
		*(u64 *)(uintptr_t)(args + 512) = mask;
		w->sig = args + 600;
		put_word(w->sig, 0, args + 512);
		put_word(w->sig, 1, 8);
	}
	out("wait%d %s ", (int)(w - waiters), w->which == IO_GETEVENTS ? "io_getevents" :
	    w->which == IO_PGETEVENTS ? "io_pgetevents" : "io_pgetevents_time64");
	out_addr(w->id);
	out(" %lld %lld %llx %lld mask:%d%d", (long long)w->min_nr, (long long)w->nr,
	    (unsigned long long)w->at, w->timeout ? s : 0, sigismember(&w->mask, SIGUSR1),
	    sigismember(&w->mask, SIGUSR2));
	if (w->sig)
		out(" mask:%llx", (unsigned long long)mask);
	start_thread(w);
	out("\n");
}

/* What the waiters have done since. */
static void out_waiters(void)
{
	struct waiter *w;
	long slept;
	int i;

	for (w = waiters; w < waiters + NWAITER; w++) {
		if (!w->active)
			continue;
		if (w->done) {
			pthread_join(w->thread, NULL);
			w->active = false;
			out("%llu %d   waiter%d%s%s", (unsigned long long)seed, step,
			    (int)(w - waiters), w->too_many ? " (wanted too much)" : "",
			    no_room ? " (no room)" : "");
			out_result(w->ret);
			for (i = 0; i < w->ret && i < 6; i++) {
				struct io_event event;

				if (peek(w->at + i * 32, &event, sizeof(event)))
					break;
				out(" (%llx %llx %lld %lld)", (unsigned long long)event.data,
				    (unsigned long long)event.obj, (long long)event.res,
				    (long long)event.res2);
			}
			out(" events:%llx\n", (unsigned long long)
			    hash(WAIT + (w - waiters) * WAIT_STEP + WAIT_EVENTS, WAIT_SIZE));
			continue;
		}
		slept = times_slept(w);
		if (slept != w->slept)
			out("%llu %d   waiter%d%s%s %s events:%llx\n", (unsigned long long)seed,
			    step, (int)(w - waiters), w->too_many ? " (wants too much)" : "",
			    no_room ? " (no room)" : "", w->slept == -1 ? "sleeps" : "was woken",
			    (unsigned long long)
			    hash(WAIT + (w - waiters) * WAIT_STEP + WAIT_EVENTS, WAIT_SIZE));
		w->slept = slept;
	}
}

static struct waiter *pick_waiter(void)
{
	int i, at = rnd(NWAITER);

	for (i = 0; i < NWAITER; i++, at++)
		if (waiters[at % NWAITER].active)
			return &waiters[at % NWAITER];
	return NULL;
}

static void do_kick(void)
{
	struct waiter *w = pick_waiter();
	int nr = chance(60) ? SIGUSR1 : SIGUSR2;

	if (!w) {
		out("kick: none\n");
		return;
	}
	out("kick waiter%d %d", (int)(w - waiters), nr == SIGUSR1 ? 1 : 2);
	out_result(result(syscall(SYS_tgkill, getpid(), w->tid, nr)));
	out("\n");
}

/* Some events at once for a waiter. */
static void do_post(void)
{
	struct waiter *w = pick_waiter();
	struct ctx *ctx = w && w->ctx ? w->ctx : pick_ctx();
	struct iocb *iocb = iocb_at(NIOCB);
	int i, n = 1 + rnd(chance(70) ? 3 : 12);
	bool batch = chance(50);
	long ret = 0;

	memset(iocb, 0, sizeof(*iocb));
	iocb->aio_lio_opcode = IOCB_CMD_PWRITE;
	iocb->aio_fildes = FD0 + FD_NULL;
	iocb->aio_buf = DATA;
	iocb->aio_nbytes = step;
	iocb->aio_data = step;
	for (i = 0; i < n; i++)
		put_word(PTRS, i, (uintptr_t)iocb);
	out("post ");
	out_addr(ctx->id);
	out(" %d%s", n, batch ? " at once" : "");
	if (batch) {
		ret = call(IO_SUBMIT, ctx->id, n, PTRS, 0, 0, 0);
	} else {
		for (i = 0; i < n && ret >= 0; i++)
			ret = call(IO_SUBMIT, ctx->id, 1, PTRS, 0, 0, 0);
	}
	look_for_room(ctx->id, ret, batch ? n : 1);
	out_result(ret);
	out("\n");
}

/* ------------------------------------------------------ the ring as memory */

static void do_ring(void)
{
	static const char *const fields[] = { "id", "nr", "head", "tail", "magic", "compat",
		"incompat", "length" };
	struct ctx *ctx = pick_ctx();
	struct ring ring;
	u32 field = chance(45) ? 2 : chance(40) ? 3 : rnd(8), value;

	if (peek(ctx->id, &ring, sizeof(ring))) {
		out("ring: unreadable\n");
		return;
	}
	switch (rnd(10)) {
	case 0:
		value = 0;
		break;
	case 1:
		value = ctx->made.nr - 1;
		break;
	case 2:
		value = ctx->made.nr;
		break;
	case 3:
		value = ctx->made.nr + 1 + rnd(5);
		break;
	case 4:
		value = ring.tail;
		break;
	case 5:
		value = ring.head + 1 + rnd(3);
		break;
	case 6:
		value = ring.tail - 1 - rnd(3);
		break;
	case 7:
		value = rnd64();
		break;
	case 8:
		value = ring.tail ? ring.head + rnd(ring.tail) : 0;
		break;
	default:
		value = rnd(ctx->made.nr ? ctx->made.nr : 1);
		break;
	}
	if (field == 0 && chance(50))
		value = rnd(8);
	out("ring ");
	out_addr(ctx->id);
	out(" %s := %u", fields[field], value);
	out_result(poke(ctx->id + 4 * field, &value, 4));
	out("\n");
}

/* Take events as a program that reads the ring itself, or set things right. */
static void do_reap(void)
{
	struct ctx *ctx = pick_ctx();
	struct ring ring;
	u32 head;

	out("reap ");
	out_addr(ctx->id);
	if (peek(ctx->id, &ring, sizeof(ring))) {
		out(" unreadable\n");
		return;
	}
	if (chance(50)) {
		poke(ctx->id, &ctx->made.id, 4);
		if (ring.tail >= ctx->made.nr) {
			ring.tail %= ctx->made.nr ? ctx->made.nr : 1;
			poke(ctx->id + offsetof(struct ring, tail), &ring.tail, 4);
		}
	}
	head = chance(60) ? ring.tail :
		ctx->made.nr ? (ring.head + 1 + rnd(8)) % ctx->made.nr : 0;
	out_result(poke(ctx->id + offsetof(struct ring, head), &head, 4));
	out("\n");
}

/* Make rings that were spoilt usable again, or most steps would do little. */
static void repair(void)
{
	struct ctx *ctx;
	u32 id;

	for (ctx = ctxs; ctx < ctxs + NCTX; ctx++) {
		if (!ctx->live)
			continue;
		if (chance(50))
			mprotect((void *)(uintptr_t)ctx->id, ctx->size, PROT_READ | PROT_WRITE);
		if (!peek(ctx->id, &id, sizeof(id)) && id != ctx->made.id)
			poke(ctx->id, &ctx->made.id, sizeof(id));
	}
}

static void do_remap(void)
{
	struct ctx *ctx = pick_ctx();
	unsigned long to = MOVED + MOVED_STEP * rnd(8);
	unsigned long from = ctx->id;
	size_t size = ctx->size;
	size_t new = size;
	int flags = MREMAP_MAYMOVE | MREMAP_FIXED;
	long ret;

	if (!ctx->live) {
		out("mremap: none\n");
		return;
	}
	switch (rnd(14)) {
	case 0:
		new = size + PAGE;
		break;
	case 1:
		new = PAGE;
		break;
	case 2:
		size = PAGE;
		new = PAGE;
		break;
	case 3:
		if (size > PAGE) {
			from += PAGE;
			size -= PAGE;
			new = size;
		}
		break;
	case 4:
		flags = MREMAP_MAYMOVE;
		to = 0;
		break;
	case 5:
		flags = MREMAP_MAYMOVE;
		new = size + PAGE;
		to = 0;
		break;
	case 6:
		flags |= 4; /* MREMAP_DONTUNMAP */
		break;
	case 7:
		size = 0;
		break;
	}
	out("mremap ");
	out_addr(from);
	out(" %zx %zx %x %llx", size, new, flags, (unsigned long long)to);
	ret = syscall(SYS_mremap, from, size, new, flags, to);
	if (ret == -1) {
		out_result(-errno);
	} else {
		out(" = ");
		out_addr(ret);
		if (from == ctx->id && chance(85))
			ctx->id = (unsigned long)ret;
	}
	out("\n");
}

static void do_protect(void)
{
	static const int prots[] = { PROT_READ, PROT_NONE, PROT_READ | PROT_WRITE,
		PROT_READ | PROT_WRITE, PROT_READ | PROT_EXEC };
	struct ctx *ctx = pick_ctx();
	u64 from = ctx->id;
	size_t size = ctx->size;
	int prot = PICK(prots);

	if (!ctx->live) {
		out("mprotect: none\n");
		return;
	}
	if (chance(30) && size > PAGE) {
		from += PAGE;
		size -= PAGE;
	}
	if (chance(12)) {
		out("munmap ");
		out_addr(from);
		out(" %zx", size);
		out_result(result(munmap((void *)(uintptr_t)from, size)));
	} else if (chance(15)) {
		out("madvise ");
		out_addr(from);
		prot = chance(50) ? MADV_DONTNEED : chance(50) ? MADV_REMOVE : MADV_DOFORK;
		out(" %d", prot);
		out_result(result(madvise((void *)(uintptr_t)from, size, prot)));
	} else {
		out("mprotect ");
		out_addr(from);
		out(" %zx %d", size, prot);
		out_result(result(mprotect((void *)(uintptr_t)from, size, prot)));
	}
	out("\n");
}

/* ------------------------------------------------------ files, processes */

static void do_file(void)
{
	static const int to_close[] = { FD_PIPE_W, FD_PIPE_R, FD_SOCK_A, FD_EVENT, FD_MEM,
		FD_TIMER, FD_SIGNAL, FD_EPOLL };
	char buf[5000];
	u64 value;
	long ret = 0;
	int fd;

	memset(buf, 'a' + step % 26, sizeof(buf));
	switch (rnd(16)) {
	case 0:
	case 1:
	case 2:
		fd = FD0 + (chance(50) ? FD_EVENT : FD_EVENT_SEM);
		value = chance(90) ? 1 + rnd(3) : ~0ULL - 1;
		out("write fd=%d %lld", fd, (long long)value);
		ret = result(write(fd, &value, 8));
		break;
	case 3:
	case 4:
		fd = FD0 + (chance(50) ? FD_EVENT : FD_EVENT_SEM);
		value = 0;
		ret = result(read(fd, &value, 8));
		out("read fd=%d %lld", fd, (long long)value);
		break;
	case 5:
	case 6:
		fd = FD0 + FD_PIPE_W;
		ret = result(write(fd, buf, 1 + rnd(chance(80) ? 10 : 5000)));
		out("write fd=%d", fd);
		break;
	case 7:
	case 8:
		fd = FD0 + FD_PIPE_R;
		ret = result(read(fd, buf, 1 + rnd(5000)));
		out("read fd=%d %llx", fd, ret > 8 ? (unsigned long long)*(u64 *)buf : 0ULL);
		break;
	case 9:
		fd = FD0 + (chance(50) ? FD_SOCK_A : FD_SOCK_B);
		ret = result(send(fd, buf, 1 + rnd(10), MSG_NOSIGNAL | MSG_DONTWAIT));
		out("send fd=%d", fd);
		break;
	case 10:
		fd = FD0 + (chance(50) ? FD_SOCK_A : FD_SOCK_B);
		ret = result(recv(fd, buf, 1 + rnd(20), MSG_DONTWAIT));
		out("recv fd=%d", fd);
		break;
	case 11:
		fd = FD0 + FD_SOCK_A;
		ret = chance(40) ? result(shutdown(fd, chance(50) ? SHUT_WR : SHUT_RD)) : 0;
		out("shutdown fd=%d", fd);
		break;
	case 12:
		fd = FD0 + PICK(to_close);
		out("close fd=%d", fd);
		ret = result(close(fd));
		closed = true;
		break;
	case 13:
		fd = FD0 + FD_MEM;
		value = rnd(80000);
		out("ftruncate fd=%d %lld", fd, (long long)value);
		ret = result(ftruncate(fd, value));
		break;
	case 14: {
		struct rlimit rl = { 4096 * (1 + rnd(8)), RLIM_INFINITY };

		if (chance(60))
			rl.rlim_cur = RLIM_INFINITY;
		out("fsize %llx", (unsigned long long)rl.rlim_cur);
		ret = result(setrlimit(RLIMIT_FSIZE, &rl));
		break;
	}
	default: {
		struct itimerspec ts = { { 0, 0 }, { 0, 1 } };

		fd = FD0 + FD_TIMER;
		out("timer fd=%d", fd);
		ret = result(timerfd_settime(fd, 0, &ts, NULL));
		break;
	}
	}
	settle();
	out_result(ret);
	out("\n");
}

static void do_process(void)
{
	struct ctx *ctx = pick_ctx();
	int status;
	pid_t pid;

	switch (rnd(4)) {
	case 0: {
		static const int max[] = { 0, 1, 100, 65536, 65536, 200, 0x7fffffff };
		int value = PICK(max);

		out("aio-max-nr %d", value);
		out_result(write_number("/proc/sys/fs/aio-max-nr", value));
		out("\n");
		break;
	}
	case 1:
		if (!chance(40)) {
			out("uid: stays\n");
			break;
		}
		out("setresuid");
		/* Not by way of the library, which would do it in all threads. */
#ifdef SYS_setresuid32
		out_result(result(syscall(SYS_setresuid32, 1000, 1000, 1000)));
#else
		out_result(result(syscall(SYS_setresuid, 1000, 1000, 1000)));
#endif
		out("\n");
		break;
	default:
		/* A copy of the process has neither the contexts nor the rings. */
		out("fork:");
		pid = fork();
		if (!pid) {
			u64 zero = 0;

			out_result(call(IO_SUBMIT, ctx->id, 0, PTRS, 0, 0, 0));
			out_result(call(IO_GETEVENTS, ctx->id, 0, 1, EVENTS, 0, 0));
			out_result(call(IO_DESTROY, ctx->id, 0, 0, 0, 0, 0));
			memcpy((void *)(ARGS + 64), &zero, 8);
			out_result(call(IO_SETUP, 5, ARGS + 64, 0, 0, 0, 0));
			out(" aio-nr:%ld", read_number("/proc/sys/fs/aio-nr"));
			_exit(0);
		}
		if (waitpid(pid, &status, 0) == pid)
			out(" status:%x", status);
		out(" aio-nr:%ld\n", read_number("/proc/sys/fs/aio-nr"));
	}
}

/* ------------------------------------------------------ a sequence */

static void map(unsigned long at, size_t size)
{
	void *p = mmap((void *)at, size, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

	if (p != (void *)at) {
		perror("mmap");
		_exit(97);
	}
}

static void fill(unsigned long at, size_t size, u64 x)
{
	u64 *p = (u64 *)at;

	for (; size >= 8; size -= 8)
		*p++ = mix(x++);
}

/* Gives descriptor @fd its number. */
static void place(int which, int fd)
{
	if (fd < 0)
		return;
	if (dup2(fd, FD0 + which) < 0)
		_exit(96);
	if (fd < FD0)
		close(fd);
}

static int again(int which, int flags)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", FD0 + which);
	return open(path, flags);
}

static void make_files(void)
{
	int pair[2], fd;

	place(FD_MEM, memfd_create("mem", MFD_ALLOW_SEALING));
	if (pwrite(FD0 + FD_MEM, (void *)DATA, DATA_SIZE, 0) < 0 ||
	    pwrite(FD0 + FD_MEM, (void *)DATA, DATA_SIZE, DATA_SIZE) < 0)
		_exit(95);
	place(FD_MEM_RO, again(FD_MEM, O_RDONLY));
	place(FD_MEM_WO, again(FD_MEM, O_WRONLY));
	place(FD_MEM_APPEND, again(FD_MEM, O_RDWR | O_APPEND));
	if (disk && scratch) {
		place(FD_DISK, open(scratch, O_TMPFILE | O_RDWR, 0600));
		if (pwrite(FD0 + FD_DISK, (void *)DATA, DATA_SIZE, 0) < 0 ||
		    pwrite(FD0 + FD_DISK, (void *)DATA, DATA_SIZE, DATA_SIZE) < 0)
			_exit(95);
		fsync(FD0 + FD_DISK);
		place(FD_DIRECT, again(FD_DISK, O_RDWR | O_DIRECT));
		place(FD_DISK_DSYNC, again(FD_DISK, O_RDWR | O_DSYNC));
	} else {
		place(FD_DISK, again(FD_MEM, O_RDWR));
		place(FD_DIRECT, again(FD_MEM, O_RDWR | O_NOATIME));
		place(FD_DISK_DSYNC, again(FD_MEM, O_RDWR | O_DSYNC));
	}
	place(FD_NULL, open("/dev/null", O_RDWR));
	place(FD_ZERO, open("/dev/zero", O_RDWR));
	place(FD_FULL, open("/dev/full", O_RDWR));
	if (pipe2(pair, O_NONBLOCK))
		_exit(95);
	place(FD_PIPE_R, pair[0]);
	place(FD_PIPE_W, pair[1]);
	if (chance(30))
		place(FD_PIPE_RW, again(FD_PIPE_R, O_RDWR | O_NONBLOCK));
	place(FD_EVENT, eventfd(0, EFD_NONBLOCK));
	place(FD_EVENT_SEM, eventfd(rnd(3), EFD_NONBLOCK | EFD_SEMAPHORE));
	if (socketpair(AF_UNIX, (chance(70) ? SOCK_STREAM : SOCK_DGRAM) | SOCK_NONBLOCK, 0, pair))
		_exit(95);
	place(FD_SOCK_A, pair[0]);
	place(FD_SOCK_B, pair[1]);
	fd = epoll_create1(0);
	if (chance(50)) {
		struct epoll_event event = { EPOLLIN, { 0 } };

		epoll_ctl(fd, EPOLL_CTL_ADD, FD0 + FD_EVENT, &event);
	}
	place(FD_EPOLL, fd);
	place(FD_TIMER, timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK));
	{
		sigset_t set;

		sigemptyset(&set);
		sigaddset(&set, SIGUSR2);
		place(FD_SIGNAL, signalfd(-1, &set, SFD_NONBLOCK));
	}
	if (chance(20))
		place(FD_PTY, open("/dev/ptmx", O_RDWR | O_NONBLOCK | O_NOCTTY));
	place(FD_DIR, open("/proc", O_RDONLY | O_DIRECTORY));
	place(FD_PATH, again(FD_MEM, O_PATH));
	fd = memfd_create("sealed", MFD_ALLOW_SEALING);
	if (write(fd, (void *)DATA, 10000) < 0)
		_exit(95);
	fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW);
	place(FD_SEALED, fd);
	place(FD_PROC, open("/proc/sys/fs/aio-max-nr", O_RDONLY));
}

/* What is said of each ring when its header has changed. */
static void out_rings(void)
{
	struct ctx *ctx;
	struct ring ring;
	int i, error;

	for (i = 0; i < NCTX; i++) {
		ctx = &ctxs[i];
		if (!ctx->known)
			continue;
		memset(&ring, 0, sizeof(ring));
		error = peek(ctx->id, &ring, sizeof(ring));
		if (error == ctx->last_error && !memcmp(&ring, &ctx->last, sizeof(ring)))
			continue;
		ctx->last_error = error;
		ctx->last = ring;
		out("%llu %d   ring%d", (unsigned long long)seed, step, i);
		if (error)
			out_result(error);
		else
			out(" id=%u nr=%u head=%u tail=%u %x/%u/%u/%u", ring.id, ring.nr, ring.head,
			    ring.tail, ring.magic, ring.compat, ring.incompat, ring.header);
		out("\n");
	}
}

static void do_plain_getevents(void)
{
	do_getevents(false);
}

static void do_mask_getevents(void)
{
	do_getevents(true);
}

static void do_step(void)
{
	enum { SETUP, DESTROY, SUBMIT, CANCEL, FILES = 10 };
	static void (*const steps[])(void) = {
		do_setup, do_destroy, do_submit, do_cancel, do_plain_getevents, do_mask_getevents,
		do_ring, do_reap, do_remap, do_protect, do_file, do_signal, do_process, do_fill,
		do_setup_many, do_wait, do_kick, do_post,
	};
	static const struct timespec ticks = { 0, 12000000 };	/* three of 250 Hz */
	static const unsigned char weights[] = {
		7, 4, 42, 6, 14, 8, 9, 5, 3, 3, 13, 3, 2, 3, 1, 0, 0, 0,
	}, weights_waiting[] = {
		7, 5, 36, 8, 8, 4, 6, 4, 3, 3, 16, 3, 2, 1, 1, 22, 6, 10,
	};
	int i, what, live = 0;

	wild = 1 + mix(seed * 17) % 3;
	if (mix(seed * 19) % 4 == 0)
		wild = 8;
	rng = mix(seed * 1000003 + step);
	what = !step ? 0 : weighted(waiting ? weights_waiting : weights, ARRAY_SIZE(weights));
	for (i = 0; i < NCTX; i++)
		live += ctxs[i].live;
	if (!live && chance(80))
		what = 0;
	if (chance(30))
		repair();
	out("%llu %d ", (unsigned long long)seed, step);
	no_room = false;
	steps[what]();
	/* A worker that was the last to use a file leaves its end to a timer's tick. */
	if (closed && (what == DESTROY || what == CANCEL || what == SUBMIT || what == FILES)) {
		nanosleep(&ticks, NULL);
		settle();
	}
	if (has_waiters()) {
		settle();
		out_waiters();
	}
	out_rings();
}

/* What is left at the end: the rings as a whole, files, eventfds. */
static void finish(void)
{
	static u64 buf[(1 << 17) / 8];
	static const int files[] = { FD_MEM_RO, FD_DISK };
	struct stat st;
	unsigned int i;
	u64 value;

	for (i = 0; i < NCTX; i++) {
		size_t at;
		u64 h = 0;

		if (!ctxs[i].live)
			continue;
		for (at = 0; at < ctxs[i].size; at += PAGE) {
			int error = peek(ctxs[i].id + at, buf, PAGE);

			h = mix(h + (error ? (u64)error : hash((uintptr_t)buf, PAGE)));
		}
		out("%llu end ring%d:%llx\n", (unsigned long long)seed, i,
		    (unsigned long long)h & 0xffffffff);
	}
	for (i = 0; i < ARRAY_SIZE(files); i++) {
		memset(buf, 0, sizeof(buf));
		memset(&st, 0, sizeof(st));
		fstat(FD0 + files[i], &st);
		if (pread(FD0 + files[i], buf, sizeof(buf), 0) < 0)
			out("%llu end fd=%d -%s\n", (unsigned long long)seed, FD0 + files[i],
			    strerrorname_np(errno));
		out("%llu end fd=%d size %lld %llx\n", (unsigned long long)seed, FD0 + files[i],
		    (long long)st.st_size, (unsigned long long)hash((uintptr_t)buf, sizeof(buf)));
	}
	for (i = FD_EVENT; i <= FD_EVENT_SEM; i++) {
		long sum = 0;

		while (read(FD0 + i, &value, 8) == 8 && sum < 100)
			sum += value < 1000 ? value : 1000;
		out("%llu end fd=%d count %ld\n", (unsigned long long)seed, FD0 + i, sum);
	}
	out("%llu end data:%llx\n", (unsigned long long)seed,
	    (unsigned long long)hash(DATA, DATA_SIZE));
	/* Their end is that of the process. */
	for (i = 0; i < NWAITER; i++)
		if (waiters[i].active)
			out("%llu end waiter%d waits\n", (unsigned long long)seed, i);
}

static int steps_of(u64 s)
{
	return 8 + mix(s * 31 + 7) % 44;
}

static bool kept(const char *keep, int i)
{
	char *end;
	long a, b;

	if (!keep)
		return true;
	while (*keep) {
		a = strtol(keep, &end, 10);
		b = a;
		if (*end == '-')
			b = strtol(end + 1, &end, 10);
		if (a <= i && i <= b)
			return true;
		keep = *end == ',' ? end + 1 : "";
	}
	return false;
}

static void sequence(const char *keep)
{
	struct sched_param param = { .sched_priority = 1 };
	struct sigaction action = { .sa_handler = on_signal };
	sigset_t set;
	int i, n = steps_of(seed);

	sigaction(SIGUSR1, &action, NULL);
	sigaction(SIGUSR2, &action, NULL);
	sigaction(SIGALRM, &action, NULL);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGUSR2);
	sigaddset(&set, SIGALRM);
	sigprocmask(SIG_SETMASK, &set, NULL);

	rng = mix(seed);
	map(DATA, DATA_SIZE);
	map(RO, RO_SIZE);
	map(IOCBS, 2 * PAGE);
	map(ROIOCB, PAGE);
	map(EVENTS, EVENTS_SIZE);
	map(IOVECS, IOVECS_SIZE);
	map(ARGS, PAGE);
	for (i = 0; i < NWAITER; i++) {
		map(WAIT + i * WAIT_STEP, WAIT_EVENTS + WAIT_SIZE);
		map(STACK + i * STACK_STEP, STACK_SIZE);
	}
	fill(DATA, DATA_SIZE, seed);
	fill(RO, PAGE, ~seed);
	mprotect((void *)RO, RO_SIZE, PROT_READ);
	mprotect((void *)ROIOCB, PAGE, PROT_READ);
	disk = chance(30);
	/* A disk lets a waiter run at a time that is not defined. */
	waiting = !disk && mix(seed * 23) % 2 == 0;
	make_files();
	load_fd = open("/proc/loadavg", O_RDONLY);
	sched_setscheduler(0, SCHED_FIFO, &param);
	if (pipe2(self_pipe, O_NONBLOCK))
		_exit(95);
	own_event = eventfd(0, EFD_NONBLOCK | EFD_SEMAPHORE);
	for (step = 0; step < n; step++)
		if (kept(keep, step))
			do_step();
	finish();
	_exit(0);
}

/* Waits at most @seconds for the child's end. */
static bool wait_child(pid_t pid, int *status, int seconds)
{
	struct timespec now, end, left;
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	clock_gettime(CLOCK_MONOTONIC, &end);
	end.tv_sec += seconds;
	while (waitpid(pid, status, WNOHANG) != pid) {
		clock_gettime(CLOCK_MONOTONIC, &now);
		if (now.tv_sec >= end.tv_sec)
			return false;
		left = (struct timespec){ 1, 0 };
		sigtimedwait(&set, NULL, &left);
	}
	return true;
}

/* Returns whether the system is as it was before. */
static bool run(u64 s, const char *keep)
{
	char line[64];
	int status = 0;
	bool clean = true;
	long nr;
	pid_t pid;

	seed = s;
	trace->len = 0;
	trace->wants_signal = 0;
	/* Not dprintf(), which wants to know the position in the file. */
	if (kernel_log >= 0 &&
	    write(kernel_log, line, snprintf(line, sizeof(line), "aio-diff: %d %d %llu\n", word,
					     count++, (unsigned long long)s)) < 0)
		perror("/dev/kmsg");
	pid = fork();
	if (pid < 0) {
		perror("fork");
		exit(1);
	}
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		sequence(keep);
	}
	if (!wait_child(pid, &status, limit)) {
		out("\n%llu TIMEOUT\n", (unsigned long long)s);
		kill(pid, SIGKILL);
		if (!wait_child(pid, &status, limit)) {
			out("%llu STUCK\n", (unsigned long long)s);
			clean = false;
		}
	} else if (WIFSIGNALED(status)) {
		out("\n%llu SIGNAL %d\n", (unsigned long long)s, WTERMSIG(status));
	} else if (status) {
		out("\n%llu EXIT %d\n", (unsigned long long)s, WEXITSTATUS(status));
	}
	if (read_number("/proc/sys/fs/aio-max-nr") != 65536)
		write_number("/proc/sys/fs/aio-max-nr", 65536);
	nr = read_number("/proc/sys/fs/aio-nr");
	out("%llu done aio-nr:%ld\n", (unsigned long long)s, nr);
	fwrite(trace->text, 1, trace->len, stdout);
	fflush(stdout);
	return clean && !nr;
}

int main(int argc, char **argv)
{
	const char *list = NULL;
	bool lengths = false;
	struct sched_param param = { .sched_priority = 2 };
	cpu_set_t cpus;
	sigset_t set;
	int opt;

	if (!(personality(0xffffffff) & ADDR_NO_RANDOMIZE)) {
		personality(personality(0xffffffff) | ADDR_NO_RANDOMIZE);
		execv("/proc/self/exe", argv);
	}
	while ((opt = getopt(argc, argv, "w:d:t:klf:")) != -1) {
		switch (opt) {
		case 'w':
			word = atoi(optarg);
			break;
		case 'd':
			scratch = optarg;
			break;
		case 't':
			limit = atoi(optarg);
			break;
		case 'k':
			kernel_log = open("/dev/kmsg", O_WRONLY | O_CLOEXEC);
			break;
		case 'l':
			lengths = true;
			break;
		case 'f':
			list = optarg;
			break;
		default:
			return 2;
		}
	}
	if ((word != 32 && word != 64) || word > (int)sizeof(long) * 8) {
		fprintf(stderr, "%s: the word size is 32 or 64, and not more than the program's\n",
			argv[0]);
		return 2;
	}
	/* It would keep a processor of a machine that is in use from all others. */
	if (!lengths && sysconf(_SC_NPROCESSORS_ONLN) != 1) {
		fprintf(stderr, "%s: only for a machine with one processor\n", argv[0]);
		return 2;
	}
	CPU_ZERO(&cpus);
	CPU_SET(0, &cpus);
	sched_setaffinity(0, sizeof(cpus), &cpus);
	/* So that a sequence that does not sleep can be ended. */
	sched_setscheduler(0, SCHED_FIFO, &param);
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	trace = mmap(NULL, TRACE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (trace == MAP_FAILED) {
		perror("mmap");
		return 1;
	}
	if (pipe2(alarm_pipe, 0)) {
		perror("pipe");
		return 1;
	}
	if (!lengths && !fork())
		alarm_process();
	if (list) {
		FILE *f = fopen(list, "r");
		static char line[4096], keep[4096];
		unsigned long long s;

		if (!f) {
			perror(list);
			return 1;
		}
		while (fgets(line, sizeof(line), f)) {
			int n = sscanf(line, "%llu %4095s", &s, keep);

			if (n >= 1 && !run(s, n == 2 ? keep : NULL))
				return 3;
		}
		return 0;
	}
	for (; optind < argc; optind++) {
		unsigned long long first, last;
		int n = sscanf(argv[optind], "%llu-%llu", &first, &last);

		if (n < 1)
			return 2;
		if (n < 2)
			last = first;
		for (; first <= last; first++) {
			if (lengths)
				printf("%llu %d\n", first, steps_of(first));
			else if (!run(first, NULL))
				return 3;
		}
	}
	return 0;
}
