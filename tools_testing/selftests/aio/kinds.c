// SPDX-License-Identifier: GPL-2.0
/*
 * Contexts of different kinds against each other, in the same kernel: a random
 * sequence of calls runs on a plain context and on one of each kind of io_setup2(), and
 * on threaded ones, and what a program can see of it must be the same: which requests are
 * taken, with what error others are refused, what is in their events, the bytes in buffers
 * and files, in which order events come where that is promised, and what eventfds have
 * counted.
 *
 * Where a kind differs by rule, the rule is in the table below. What a rule refuses must
 * be refused, with that error. Then a plain context of the same process is asked, so
 * that buffers and files stay the same; and its answer must be that of the plain context.
 *
 * A sequence is a function of its number: SEEDS=17-17 VERBOSE=1 runs that one again, and
 * tells what it does.
 */
#include <poll.h>
#include <stdarg.h>
#include <sys/socket.h>
#include "../kselftest_harness.h"
#include "aio_thread_test.h"

#define SLOTS		16
#define EVENTS		64
#define PAGE		4096UL
#define OWN		(4 * PAGE)		/* the buffer of an iocb */
#define AROUND		(OWN + 2 * PAGE)	/* what is behind it can be touched, too */
#define STRIDE		(AROUND + PAGE)		/* and what is before */
#define DISK_SIZE	(64UL << 20)
#define BUFFERED	(32UL << 20)		/* of the disk, for the page cache */
#define MAX_LOG		512
#define LIMIT		40			/* s: no request takes so long */
#define BAD_NAME	(SLOTS + 1000)
#define THREADED	(1U << 31)		/* not of io_setup2(): by fs.aio-auto-threads */

#define FSYNCS		(1U << IOCB_CMD_FSYNC | 1U << IOCB_CMD_FDSYNC)
#define VECTORS		(1U << IOCB_CMD_PREADV | 1U << IOCB_CMD_PWRITEV)
#define RW		(1U << IOCB_CMD_PREAD | 1U << IOCB_CMD_PWRITE | VECTORS)

enum file {
	DISK, DISK_RO, CACHED, MEM, MEM_RO, NULL_DEV, ZERO_DEV, PIPE_R, PIPE_W, SOCK_A, SOCK_B,
	ONLY_READ, NEVER, CLOSED, FILES
};

/* One thing that is wrong with a request, at most. */
enum wrong {
	NOTHING, NAME, OPCODE, RESERVED, FLAG, PRIORITY, EVENTFD, OFFSET, BEHIND, ACROSS, BEFORE,
	NOWHERE, KERNEL, ODD_LENGTH, ODD_ADDRESS, WRONGS
};

struct request {
	unsigned int slot, log;
	enum file file;
	enum wrong wrong;
};

/* What has become of a request, or of a call. */
struct outcome {
	long refused;
	long long res, res2;
	__u64 data, hash;
};

struct slot {
	struct request request;
	/* In flight; in the plain context; ends when somebody says so. */
	bool busy, by_hand, waits;
	/* Not for another request before all are collected, whether this one was taken or not. */
	bool used;
	/* A plain context refuses it. */
	bool extra;
	unsigned long order;
};

static const struct kind {
	const char *name;
	unsigned int flags;
} kinds[] = {
	{ "plain", 0 },
	{ "USERIOCB", USERIOCB },
	{ "USERIOCB, FIXEDBUFS", USERIOCB | FIXEDBUFS },
	{ "IOPOLL", IOPOLL },
	{ "USERIOCB, IOPOLL", USERIOCB | IOPOLL },
	{ "all three", USERIOCB | FIXEDBUFS | IOPOLL },
	{ "threaded", THREADED },
	{ "threaded, USERIOCB", THREADED | USERIOCB },
	{ "threaded, USERIOCB, FIXEDBUFS", THREADED | USERIOCB | FIXEDBUFS },
};

#define KINDS	ARRAY_SIZE(kinds)

/* A sequence that runs. */
static struct run {
	const struct kind *kind;
	unsigned long seed;
	unsigned int nr, step, nr_log;
	aio_context_t ctx, plain;
	struct slot slots[SLOTS];
	/* In flight, and will end by themselves: in the context, and in the plain one. */
	unsigned int own, by_hand;
	/* Of those in the context, how many may end in any order. */
	unsigned int any_order;
	unsigned long order, last_order;
	__u64 signals;
	int fd[FILES], efd;
	bool failed;
	struct outcome log[MAX_LOG];
} run;

static struct iocb *iocbs;
static char *buffers, *before_all;
static struct iovec vectors[SLOTS][3];
static struct aio_slow_disk disk;
static int disk_fd[3];
static unsigned int failures;
static bool verbose;

static __printf(1, 2) void wrong(const char *format, ...)
{
	va_list args;

	run.failed = true;
	if (++failures > 20)
		return;
	printf("# sequence %lu, step %u, %s: ", run.seed, run.step, run.kind->name);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	printf("\n");
	fflush(stdout);
}

static bool has(unsigned int flag)
{
	return run.kind->flags & flag;
}

static char *buffer_of(unsigned int slot)
{
	return buffers + slot * STRIDE;
}

/* ------------------------------------------------------ randomness */

static __u64 rng;

static __u64 mix(__u64 x)
{
	x += 0x9e3779b97f4a7c15ULL;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
	return x ^ (x >> 31);
}

static unsigned int below(unsigned int n)
{
	rng = mix(rng);
	return (rng >> 20) % n;
}

static bool percent(unsigned int n)
{
	return below(100) < n;
}

static void fill(void *p, size_t len, __u64 seed)
{
	__u64 *word = p;
	size_t i;

	for (i = 0; i < len / 8; i++) {
		seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
		word[i] = seed;
	}
}

static __u64 hash_of(const void *p, size_t len)
{
	const __u64 *word = p;
	__u64 h = len;
	size_t i;

	for (i = 0; i < len / 8; i++)
		h = (h ^ word[i]) * 0x9e3779b97f4a7c15ULL + (h >> 29);
	return h;
}

/* ------------------------------------------------------ where kinds differ */

static unsigned int opcode_of(const struct request *r)
{
	return iocbs[r->slot].aio_lio_opcode;
}

static bool is_opcode(const struct request *r, unsigned int set)
{
	return opcode_of(r) < 32 && set & 1U << opcode_of(r);
}

static bool is_write(const struct request *r)
{
	return is_opcode(r, 1U << IOCB_CMD_PWRITE | 1U << IOCB_CMD_PWRITEV);
}

/* Whether the file is open for that. */
static bool mode_fits(const struct request *r)
{
	if (is_write(r))
		return r->file != DISK_RO && r->file != MEM_RO && r->file != PIPE_R;
	return r->file != PIPE_W;
}

static bool file_is_there(const struct request *r)
{
	return r->file != CLOSED && r->wrong != EVENTFD;
}

static bool bad_name(const struct request *r)
{
	return r->wrong == NAME;
}

static bool has_eventfd(const struct request *r)
{
	return iocbs[r->slot].aio_flags & IOCB_FLAG_RESFD && r->wrong != RESERVED &&
		r->wrong != NAME;
}

static bool no_transfer(const struct request *r)
{
	return is_opcode(r, FSYNCS | 1U << IOCB_CMD_POLL) && r->wrong != RESERVED &&
		r->wrong != NAME;
}

static bool vector(const struct request *r)
{
	return is_opcode(r, VECTORS) && file_is_there(r) && r->wrong != RESERVED &&
		r->wrong != NAME;
}

static bool not_polled(const struct request *r)
{
	return is_opcode(r, RW) && r->file != DISK && r->file != DISK_RO && file_is_there(r) &&
		r->wrong != RESERVED && r->wrong != NAME && r->wrong != PRIORITY;
}

static bool outside(const struct request *r)
{
	return is_opcode(r, RW & ~VECTORS) && file_is_there(r) && mode_fits(r) &&
		r->wrong >= BEHIND && r->wrong <= KERNEL;
}

/* A plain context knows ->read_iter() only. */
static bool only_read(const struct request *r)
{
	return is_opcode(r, RW) && !is_write(r) && r->file == ONLY_READ && r->wrong == NOTHING;
}

/*
 * The first one that applies is what happens. With @by_hand the request is one that
 * a plain context takes. With an error of 0 it is taken, though a plain context refuses it.
 */
static const struct rule {
	unsigned int flag;
	bool (*applies)(const struct request *r);
	long error;
	bool by_hand;
	const char *reason;
} rules[] = {
	{ USERIOCB, bad_name, -EINVAL, false,
	  "a number that is no index is EINVAL; an address where nothing is, EFAULT" },
	{ IOPOLL, has_eventfd, -EINVAL, true,
	  "nobody would signal it: completions are found by those who ask for events" },
	{ IOPOLL, no_transfer, -EINVAL, true,
	  "only reads and writes can be polled for, and nothing can be cancelled" },
	{ FIXEDBUFS, vector, -EINVAL, true,
	  "an array of addresses says nothing about the buffer that is pinned" },
	{ IOPOLL, not_polled, -EOPNOTSUPP, true,
	  "a file that is not opened with O_DIRECT, or can't be polled" },
	{ FIXEDBUFS, outside, -EFAULT, true,
	  "only the buffer of the iocb is pinned" },
	{ THREADED, only_read, 0, false,
	  "threaded: files that have only ->read() can be read" },
};

#define RULES	ARRAY_SIZE(rules)

/* Others, which are in the code: see where they are counted. */
enum { KEY, CANCEL, ROOM, BEFORE_WRITE, OTHERS };

static const char * const other_reasons[OTHERS] = {
	[KEY]	 = "USERIOCB: aio_key is neither written nor read",
	[CANCEL] = "IOPOLL: io_cancel() is EINVAL, whatever is in flight",
	[ROOM]	 = "IOPOLL: EAGAIN while the disk has no room, in place of a wait in io_submit()",
	[BEFORE_WRITE] = "threaded: a write does not wait for the reads before it",
};

static unsigned long applied[RULES + OTHERS];

static const struct rule *rule_for(const struct request *r)
{
	unsigned int i;

	for (i = 0; i < RULES; i++)
		if (has(rules[i].flag) && rules[i].applies(r))
			return &rules[i];
	return NULL;
}

/* ------------------------------------------------------ events */

static unsigned long name_of(const struct request *r)
{
	if (r->wrong == NAME)
		return has(USERIOCB) ? BAD_NAME : (unsigned long)before_all;
	return has(USERIOCB) ? r->slot : (unsigned long)&iocbs[r->slot];
}

/* Whether it has ended when it is submitted, so that events come in the order of requests. */
static bool is_in_order(const struct request *r)
{
	/*
	 * Where no thread is needed for it: they are tried at once, and don't block. A read of
	 * /dev/zero stops when others want the processor, and a thread goes on.
	 */
	if (has(THREADED))
		return is_opcode(r, RW) && r->file >= NULL_DEV && r->file <= SOCK_B &&
			(r->file != ZERO_DEV || is_write(r));
	return is_opcode(r, RW) && r->file >= CACHED;
}

static void event(const struct io_event *e, bool by_hand, bool ordered)
{
	unsigned long obj = e->obj;
	struct slot *slot;
	struct request *r;
	struct outcome *o;

	if (by_hand || !has(USERIOCB))
		obj = (obj - (unsigned long)iocbs) / sizeof(struct iocb);
	if (obj >= SLOTS || !run.slots[obj].busy || run.slots[obj].by_hand != by_hand) {
		wrong("nothing in flight has this name: obj %llx res %lld",
		      (unsigned long long)e->obj, (long long)e->res);
		return;
	}
	slot = &run.slots[obj];
	r = &slot->request;
	if (!by_hand && !has(USERIOCB) && e->obj != (unsigned long)&iocbs[obj])
		wrong("obj %llx is not an iocb", (unsigned long long)e->obj);
	slot->busy = false;
	if (slot->extra) {
		if (e->res < 0 || e->data != iocbs[r->slot].aio_data)
			wrong("slot %u: a file with ->read(): %lld", r->slot, (long long)e->res);
		run.any_order--;
		return;
	}
	o = &run.log[r->log];
	o->res = e->res;
	o->res2 = e->res2;
	o->data = e->data;
	o->hash = hash_of(buffer_of(r->slot), AROUND);
	if (iocbs[r->slot].aio_flags & IOCB_FLAG_RESFD)
		run.signals++;
	if (by_hand)
		return;
	if (ordered && is_in_order(r)) {
		if (slot->order <= run.last_order)
			wrong("events are not in the order of their requests");
		run.last_order = slot->order;
	}
	if (!is_in_order(r))
		run.any_order--;
}

static long get(aio_context_t ctx, long min, long nr, struct io_event *events)
{
	struct timespec limit = { LIMIT * aio_slow(), 0 };
	struct aio_sigset sig = { 0 };

	if (run.step & 1)
		return io_pgetevents(ctx, min, nr, events, &limit, &sig);
	return io_getevents(ctx, min, nr, events, &limit);
}

/* Takes events of what is in flight: all, or some. */
static void collect(bool all)
{
	struct io_event events[EVENTS];
	long ret, i, min, nr = EVENTS;

	while (run.own && !run.failed) {
		/* What has ended at once is there at once. */
		bool ordered = !run.any_order;

		min = run.own;
		if (!all) {
			nr = 1 + below(8);
			if (!ordered)
				return;
			if (nr < min)
				min = nr;
		}
		ret = get(run.ctx, all ? min : below(min + 1), nr, events);
		if (ret != min) {
			wrong("%ld events, there should be %ld", ret, min);
			return;
		}
		run.own -= ret;
		for (i = 0; i < ret; i++)
			event(&events[i], false, ordered);
		if (!all)
			return;
	}
	while (run.by_hand && !run.failed) {
		ret = get(run.plain, run.by_hand, EVENTS, events);
		if (ret != run.by_hand) {
			wrong("%ld events of the plain context, there should be %u", ret,
			      run.by_hand);
			return;
		}
		run.by_hand -= ret;
		for (i = 0; i < ret; i++)
			event(&events[i], true, false);
	}
}

/* ------------------------------------------------------ requests */

static void will_end(struct slot *slot)
{
	slot->waits = false;
	if (slot->by_hand) {
		run.by_hand++;
		return;
	}
	run.own++;
	if (!is_in_order(&slot->request))
		run.any_order++;
}

static void taken(const struct request *r, bool by_hand)
{
	struct slot *slot = &run.slots[r->slot];

	*slot = (struct slot){
		.request = *r, .used = true, .busy = true, .by_hand = by_hand,
		.order = ++run.order,
		.waits = opcode_of(r) == IOCB_CMD_POLL && r->file == NEVER,
	};
	if (!slot->waits)
		will_end(slot);
}

static void check_key(const struct request *r)
{
	__u32 want = has(USERIOCB) ? 7 : 0;

	if (iocbs[r->slot].aio_key != want)
		wrong("aio_key of a request that was taken is %u", iocbs[r->slot].aio_key);
	applied[RULES + KEY] += has(USERIOCB);
}

static void refused(const struct request *r, long error)
{
	const struct rule *rule = rule_for(r);
	long ret;

	if (!rule) {
		run.log[r->log].refused = error;
		return;
	}
	applied[rule - rules]++;
	if (error != rule->error)
		wrong("slot %u: %ld in place of %ld, though %s", r->slot, error, rule->error,
		      rule->reason);
	if (!rule->by_hand) {
		run.log[r->log].refused = -EFAULT;
		return;
	}
	/* It would not wait for what is queued in the other context. */
	if (has(THREADED))
		collect(true);
	ret = aio_submit_one(run.plain, &iocbs[r->slot]);
	if (ret == 1)
		taken(r, true);
	else
		run.log[r->log].refused = ret;
}

/* Taken, and refused by a plain context. */
static void taken_as_well(const struct request *r, const struct rule *rule)
{
	long ret = aio_submit_one(run.plain, &iocbs[r->slot]);

	if (ret >= 0)
		wrong("slot %u: a plain context has taken it, too", r->slot);
	applied[rule - rules]++;
	run.log[r->log].refused = ret;
	taken(r, false);
	run.slots[r->slot].extra = true;
}

static bool is_read_of(const struct request *r, enum file file)
{
	return is_opcode(r, RW) && !is_write(r) &&
		(r->file == file || (file == MEM && r->file == MEM_RO));
}

/*
 * How many of them there can be in a call. Those in flight don't touch the same bytes, but
 * a write to the file in memory may also move its end.
 */
static unsigned int together(const struct request *requests, unsigned int nr)
{
	bool reads = false;
	unsigned int i;

	if (!has(THREADED))
		return nr;
	for (i = 0; i < SLOTS; i++)
		reads |= run.slots[i].busy && is_read_of(&run.slots[i].request, MEM);
	for (i = 0; i < nr; i++) {
		if (reads && is_write(&requests[i]) && requests[i].file == MEM)
			break;
		reads |= is_read_of(&requests[i], MEM);
	}
	return i;
}

static void submit(const struct request *requests, unsigned int nr)
{
	unsigned long names[SLOTS];
	unsigned int at = 0, i;
	long ret;

	for (i = 0; i < nr; i++)
		names[i] = name_of(&requests[i]);
	while (at < nr && !run.failed) {
		unsigned int part = together(requests + at, nr - at);

		if (!part) {
			applied[RULES + BEFORE_WRITE]++;
			collect(true);
			part = together(requests + at, nr - at);
		}
		ret = aio_submit_indices(run.ctx, part, names + at);
		if (ret == -EAGAIN && has(IOPOLL) && run.own) {
			applied[RULES + ROOM]++;
			collect(true);
			continue;
		}
		if (ret == 0 || ret > (long)part) {
			wrong("io_submit() of %u returned %ld", part, ret);
			return;
		}
		if (ret < 0) {
			refused(&requests[at++], ret);
			continue;
		}
		for (; ret; ret--, at++) {
			const struct rule *rule = rule_for(&requests[at]);

			if (rule && rule->error)
				wrong("slot %u was taken, though %s", requests[at].slot,
				      rule->reason);
			check_key(&requests[at]);
			if (rule && !rule->error)
				taken_as_well(&requests[at], rule);
			else
				taken(&requests[at], false);
		}
	}
}

static const char *const file_names[FILES] = {
	"disk", "disk, read-only", "disk, cached", "memory", "memory, read-only", "null", "zero",
	"pipe", "pipe's other end", "socket", "socket's other end", "only ->read()", "eventfd",
	"closed",
};

/* Where a buffer is that is not, or not all, the iocb's own. */
static void misplace(struct iocb *iocb, enum wrong wrong, char *own)
{
	switch (wrong) {
	case BEHIND:
		iocb->aio_buf = (uintptr_t)own + OWN + (percent(50) ? 0 : PAGE);
		iocb->aio_nbytes = percent(20) ? 0 : PAGE;
		/* No bytes at the end are a part of it. */
		if (!iocb->aio_nbytes && iocb->aio_buf == (uintptr_t)own + OWN)
			iocb->aio_buf++;
		break;
	case ACROSS:
		iocb->aio_buf = (uintptr_t)own + OWN - PAGE;
		iocb->aio_nbytes = PAGE + (percent(50) ? PAGE : 512);
		break;
	case BEFORE:
		iocb->aio_buf = (uintptr_t)own - 512;
		iocb->aio_nbytes = 512;
		break;
	case NOWHERE:
		iocb->aio_buf = (uintptr_t)before_all;
		iocb->aio_nbytes = PAGE;
		break;
	default:
		iocb->aio_buf = (uintptr_t)-(long)(2 * PAGE);
		iocb->aio_nbytes = PAGE;
	}
}

/* A request for a slot where none is in flight. */
static void make(struct request *r, unsigned int slot)
{
	static const enum file files[] = {
		DISK, DISK, DISK, DISK, DISK, DISK_RO, CACHED, MEM, MEM, MEM_RO, NULL_DEV,
		ZERO_DEV, PIPE_R, PIPE_W, SOCK_A, SOCK_B, ONLY_READ, CLOSED,
	};
	static const unsigned int opcodes[] = {
		IOCB_CMD_PREAD, IOCB_CMD_PREAD, IOCB_CMD_PREAD, IOCB_CMD_PREAD, IOCB_CMD_PWRITE,
		IOCB_CMD_PWRITE, IOCB_CMD_PWRITE, IOCB_CMD_PREADV, IOCB_CMD_PWRITEV,
		IOCB_CMD_FSYNC, IOCB_CMD_FDSYNC, IOCB_CMD_POLL,
	};
	struct iocb *iocb = &iocbs[slot];
	char *own = buffer_of(slot);
	size_t at, len;

	*r = (struct request){ .slot = slot, .log = run.nr_log++ };
	if (percent(12))
		r->wrong = 1 + below(WRONGS - 1);
	r->file = files[below(ARRAY_SIZE(files))];
	aio_prep(iocb, opcodes[below(ARRAY_SIZE(opcodes))], 0, NULL, 0, 0);
	/* Some of all sectors, some of all bytes. */
	if (r->file == DISK || r->file == DISK_RO || percent(50)) {
		at = below(OWN / 512) * 512;
		len = (1 + below((OWN - at) / 512)) * 512;
	} else {
		at = below(OWN);
		len = below(OWN - at + 1);
	}
	iocb->aio_data = mix(run.seed << 20 | r->log);
	iocb->aio_key = 7;
	iocb->aio_buf = (uintptr_t)own + at;
	iocb->aio_nbytes = len;
	/* Those in flight at the same time don't touch the same bytes. */
	iocb->aio_offset = slot * OWN + below(OWN / 512) * 512;
	if (iocb->aio_offset + (long long)len > (long long)((slot + 1) * OWN))
		iocb->aio_offset = slot * OWN;
	if (r->file == CACHED)
		iocb->aio_offset += BUFFERED;
	if (r->file >= NULL_DEV && percent(80))
		iocb->aio_offset = 0;
	if (percent(5) && r->file <= DISK_RO && !is_write(r))
		iocb->aio_offset = DISK_SIZE - 2 * PAGE + below(4) * PAGE;
	if (is_opcode(r, VECTORS)) {
		size_t first = len / 1024 * 512, second = percent(50) ? 0 : 512;

		if (first + second > len)
			second = 0;
		vectors[slot][0] = (struct iovec){ own + at, first };
		vectors[slot][1] = (struct iovec){ own + at + first, second };
		vectors[slot][2] = (struct iovec){ own + at + first + second,
						   len - first - second };
		iocb->aio_buf = (uintptr_t)vectors[slot];
		iocb->aio_nbytes = 3;
	}
	if (opcode_of(r) == IOCB_CMD_POLL) {
		if (percent(50))
			r->file = NEVER;
		iocb->aio_buf = percent(80) ? POLLIN : POLLIN | POLLOUT;
		/* It would be ready for that. */
		if (r->file == NEVER)
			iocb->aio_buf = POLLIN;
		/* Whether others have filled or emptied these is a matter of time. */
		if (r->file >= PIPE_R && r->file <= SOCK_B)
			r->file = MEM;
		iocb->aio_nbytes = 0;
		iocb->aio_offset = 0;
	}
	if (is_opcode(r, FSYNCS)) {
		iocb->aio_buf = 0;
		iocb->aio_nbytes = 0;
		iocb->aio_offset = 0;
	}
	if (is_opcode(r, RW)) {
		if (percent(5))
			iocb->aio_rw_flags = RWF_DSYNC;
		else if (percent(5))
			iocb->aio_rw_flags = RWF_HIPRI;
		else if (percent(5) && r->file == MEM)
			iocb->aio_rw_flags = RWF_APPEND;
	}
	if (r->file == ONLY_READ) {
		/* Which of two errors is found first is not what this is about. */
		r->wrong = NOTHING;
		iocb->aio_rw_flags = 0;
	} else if (percent(10)) {
		iocb->aio_flags |= IOCB_FLAG_RESFD;
		iocb->aio_resfd = run.efd;
	}
	if (percent(5)) {
		iocb->aio_flags |= IOCB_FLAG_IOPRIO;
		iocb->aio_reqprio = 2 << 13 | below(8);
	}
	switch (r->wrong) {
	case OPCODE:
		iocb->aio_lio_opcode = 60000 + below(1000);
		break;
	case RESERVED:
		iocb->aio_reserved2 = 1;
		break;
	case FLAG:
		iocb->aio_rw_flags = 1 << 29;
		break;
	case PRIORITY:
		iocb->aio_flags |= IOCB_FLAG_IOPRIO;
		iocb->aio_reqprio = 6 << 13;
		break;
	case EVENTFD:
		iocb->aio_flags |= IOCB_FLAG_RESFD;
		iocb->aio_resfd = percent(50) ? run.fd[MEM] : run.fd[CLOSED];
		break;
	case OFFSET:
		iocb->aio_offset = -1 - (long long)below(3);
		break;
	case BEHIND ... KERNEL:
		if (is_opcode(r, RW & ~VECTORS)) {
			long long base = slot * OWN + (r->file == CACHED ? BUFFERED : 0);

			misplace(iocb, r->wrong, own);
			/* It may be longer now: not into what is another one's in the file. */
			if (iocb->aio_offset >= base && iocb->aio_offset < base + (long long)OWN &&
			    iocb->aio_offset + iocb->aio_nbytes > (__u64)base + OWN)
				iocb->aio_offset = base;
		}
		break;
	case ODD_LENGTH:
		if (is_opcode(r, RW & ~VECTORS) && iocb->aio_nbytes)
			iocb->aio_nbytes--;
		break;
	case ODD_ADDRESS:
		if (is_opcode(r, RW & ~VECTORS) && iocb->aio_nbytes) {
			iocb->aio_buf++;
			/* With fixed buffers that is found out before the end of the disk is. */
			if (r->file <= DISK_RO)
				iocb->aio_offset = slot * OWN;
			/* Not behind the end of the buffer. */
			if (at + len == OWN || percent(50))
				iocb->aio_nbytes--;
		}
		break;
	default:
		break;
	}
	iocb->aio_fildes = run.fd[r->file];
	memset(own, 0xaa, AROUND);
	if (is_write(r))
		fill(own, AROUND, iocb->aio_data);
	if (verbose)
		printf("# %u %s: slot %u log %u: op %u, %s, wrong %u, at %zd, %llu bytes at %lld\n",
		       run.step, run.kind->name, slot, r->log, iocb->aio_lio_opcode,
		       file_names[r->file], r->wrong, (ssize_t)(iocb->aio_buf - (uintptr_t)own),
		       (unsigned long long)iocb->aio_nbytes, (long long)iocb->aio_offset);
}

/* ------------------------------------------------------ steps */

static void step_collect(void)
{
	unsigned int i;

	collect(true);
	for (i = 0; i < SLOTS; i++)
		run.slots[i].used = run.slots[i].busy;
}

static void step_submit(void)
{
	unsigned int wanted = 1 + below(8), nr = 0, first = below(SLOTS), i;
	struct request requests[SLOTS];

	/* So that a read has to wait for the disk. */
	if (percent(20)) {
		if (fdatasync(run.fd[CACHED]) ||
		    posix_fadvise(run.fd[CACHED], BUFFERED, SLOTS * OWN, POSIX_FADV_DONTNEED))
			wrong("the page cache: %s", strerror(errno));
	}
	for (i = 0; i < SLOTS && nr < wanted; i++) {
		unsigned int slot = (first + i * 5) % SLOTS;

		if (run.slots[slot].used)
			continue;
		make(&requests[nr++], slot);
		run.slots[slot].used = true;
	}
	submit(requests, nr);
}

/* One that waits for an eventfd, or any. */
static void step_cancel(void)
{
	unsigned int slot = below(SLOTS), i;
	struct outcome *o = &run.log[run.nr_log++];
	struct io_event unused;
	struct slot *s;
	void *name;
	long ret;

	/* Whether something else can still be cancelled is a matter of time. */
	step_collect();
	for (i = 0; i < SLOTS && percent(90); i++) {
		if (run.slots[slot].busy && run.slots[slot].waits)
			break;
		slot = (slot + 1) % SLOTS;
	}
	s = &run.slots[slot];
	name = has(USERIOCB) ? (void *)(unsigned long)slot : (void *)&iocbs[slot];
	ret = io_cancel(run.ctx, name, &unused);
	if (has(IOPOLL)) {
		if (ret != -EINVAL)
			wrong("io_cancel(): %ld", ret);
		applied[RULES + CANCEL]++;
		ret = io_cancel(run.plain, &iocbs[slot], &unused);
	}
	o->res = ret;
	if (ret != -EINPROGRESS)
		return;
	if (!s->busy || !s->waits) {
		wrong("something was cancelled");
		return;
	}
	will_end(s);
	step_collect();
}

/* What waits for the eventfd ends. */
static void step_ready(void)
{
	__u64 one = 1;
	int i;

	if (write(run.fd[NEVER], &one, sizeof(one)) != sizeof(one))
		wrong("eventfd: %s", strerror(errno));
	for (i = 0; i < SLOTS; i++) {
		if (run.slots[i].busy && run.slots[i].waits)
			will_end(&run.slots[i]);
	}
	step_collect();
	if (read(run.fd[NEVER], &one, sizeof(one)) != sizeof(one))
		wrong("eventfd: %s", strerror(errno));
}

/* Calls that are wrong whatever the kind is. */
static void step_bad_call(void)
{
	struct outcome *o = &run.log[run.nr_log++];
	struct timespec zero = { 0 }, bad = { -1, 0 };
	struct io_event events[2];
	unsigned long name = 0;

	step_collect();
	switch (below(8)) {
	case 0:
		o->res = aio_submit_indices(run.ctx, -1, &name);
		break;
	case 1:
		o->res = aio_submit_indices(run.ctx, 1, (void *)before_all);
		break;
	case 2:
		o->res = aio_submit_indices(run.ctx, 0, NULL);
		break;
	case 3:
		o->res = aio_submit_indices(run.ctx + PAGE / 2, 1, &name);
		break;
	case 4:
		o->res = io_getevents(run.ctx, 2, 1, events, &zero);
		break;
	case 5:
		o->res = io_getevents(run.ctx, -1, 1, events, &zero);
		break;
	case 6:
		o->res = io_getevents(run.ctx, 0, 0, NULL, &zero);
		break;
	default:
		o->res = io_getevents(run.ctx, 0, 1, events, &bad);
	}
}

/* The process moves the ring. */
static void step_mremap(void)
{
	size_t len = aio_ring_bytes(run.nr);
	void *to = aio_pages(len, PROT_NONE), *got;

	got = mremap((void *)run.ctx, len, len, MREMAP_MAYMOVE | MREMAP_FIXED, to);
	if (got == MAP_FAILED)
		wrong("mremap(): %s", strerror(errno));
	else
		run.ctx = (aio_context_t)got;
}

static void open_files(void)
{
	int pair[2];

	run.fd[DISK] = disk_fd[0];
	run.fd[DISK_RO] = disk_fd[1];
	run.fd[CACHED] = disk_fd[2];
	run.fd[MEM] = aio_mem_file();
	run.fd[MEM_RO] = aio_reopen(run.fd[MEM], O_RDONLY);
	run.fd[NULL_DEV] = open("/dev/null", O_RDWR);
	run.fd[ZERO_DEV] = open("/dev/zero", O_RDWR);
	if (pipe2(pair, O_NONBLOCK))
		wrong("pipe: %s", strerror(errno));
	run.fd[PIPE_R] = pair[0];
	run.fd[PIPE_W] = pair[1];
	if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, pair))
		wrong("socket: %s", strerror(errno));
	run.fd[SOCK_A] = pair[0];
	run.fd[SOCK_B] = pair[1];
	run.fd[ONLY_READ] = open("/proc/self/oom_score_adj", O_RDONLY);
	if (run.fd[ONLY_READ] < 0)
		wrong("/proc/self/oom_score_adj: %s", strerror(errno));
	run.fd[CLOSED] = 999;
	run.fd[NEVER] = eventfd(0, EFD_NONBLOCK);
	run.efd = eventfd(0, EFD_NONBLOCK);
}

static void close_files(void)
{
	enum file file;

	for (file = MEM; file < CLOSED; file++)
		close(run.fd[file]);
	close(run.efd);
}

static char *content;

/* The same each time: the bytes of the disk, of the file in memory. */
static void reset_content(void)
{
	size_t len = SLOTS * OWN;

	fill(content, len, 1);
	if (pwrite(run.fd[DISK], content, len, 0) != (ssize_t)len ||
	    pwrite(run.fd[CACHED], content, len, BUFFERED) != (ssize_t)len ||
	    pwrite(run.fd[MEM], content, len / 2, 0) != (ssize_t)len / 2)
		wrong("can't write: %s", strerror(errno));
}

static void log_content(enum file file, off_t offset)
{
	size_t len = SLOTS * OWN;
	struct outcome *o = &run.log[run.nr_log++];
	struct stat st;

	memset(content, 0, len);
	o->res = pread(run.fd[file], content, len, offset);
	o->hash = hash_of(content, len);
	fstat(run.fd[file], &st);
	o->data = st.st_size;
}

static bool setup(void)
{
	unsigned int flags = run.kind->flags & ~THREADED;
	bool done;

	if (has(THREADED))
		aio_write_text(AUTO_THREADS, "1");
	done = !(flags ? io_setup2(run.nr, flags, has(USERIOCB) ? iocbs : NULL, &run.ctx) :
			 io_setup(run.nr, &run.ctx));
	if (has(THREADED))
		aio_write_text(AUTO_THREADS, "0");
	return done && !(aio_ring(run.ctx)->compat_features & AIO_RING_COMPAT_THREADED) ==
			!has(THREADED);
}

static void run_sequence(unsigned long seed, const struct kind *kind)
{
	unsigned int steps, i;

	memset(&run, 0, sizeof(run));
	run.seed = seed;
	run.kind = kind;
	rng = mix(seed);
	run.nr = SLOTS + below(40);
	steps = 4 + below(24);
	memset(iocbs, 0, 64 * sizeof(*iocbs));
	memset(buffers, 0, SLOTS * STRIDE);
	for (i = 0; i < SLOTS; i++)
		aio_prep(&iocbs[i], IOCB_CMD_PREAD, -1, buffer_of(i), OWN, 0);
	open_files();
	reset_content();
	if (!setup())
		wrong("no context");
	if (io_setup(run.nr, &run.plain))
		wrong("no plain context");
	run.log[run.nr_log++].res = aio_ring(run.ctx)->nr;
	for (run.step = 0; run.step < steps && !run.failed && run.nr_log < MAX_LOG - 40;
	     run.step++) {
		/* Whatever a step before has drawn. */
		rng = mix(seed * 1000 + run.step);
		switch (below(20)) {
		case 0 ... 9:
			step_submit();
			break;
		case 10 ... 11:
			collect(false);
			break;
		case 12 ... 14:
			step_collect();
			break;
		case 15 ... 16:
			step_cancel();
			break;
		case 17:
			step_ready();
			break;
		case 18:
			step_bad_call();
			break;
		default:
			step_mremap();
		}
	}
	collect(true);
	/* In some of them, polls are left. */
	if (io_destroy(run.ctx) || io_destroy(run.plain))
		wrong("io_destroy()");
	run.log[run.nr_log++].res = run.signals;
	run.log[run.nr_log++].res = aio_eventfd_take(run.efd, 0);
	log_content(DISK, 0);
	log_content(CACHED, BUFFERED);
	log_content(MEM, 0);
	close_files();
}

static void compare(const struct run *plain)
{
	unsigned int i;

	if (plain->nr_log != run.nr_log)
		wrong("%u outcomes in place of %u", run.nr_log, plain->nr_log);
	for (i = 0; i < run.nr_log && !run.failed; i++) {
		const struct outcome *a = &plain->log[i], *b = &run.log[i];

		if (!memcmp(a, b, sizeof(*a)))
			continue;
		/* Refused with, res and res2, data, hash. */
		wrong("outcome %u: %ld %lld/%lld %llx %llx; plain: %ld %lld/%lld %llx %llx",
		      i, b->refused, b->res, b->res2, (unsigned long long)b->data,
		      (unsigned long long)b->hash, a->refused, a->res, a->res2,
		      (unsigned long long)a->data, (unsigned long long)a->hash);
	}
}

FIXTURE(kinds) {
	struct aio_balance before;
};

FIXTURE_SETUP(kinds)
{
	static const int flags[] = { O_RDWR | O_DIRECT, O_RDONLY | O_DIRECT, O_RDWR };
	int i;

	NEED_SETUP2();
	FOR_PLAIN("the threaded kinds are among them");
	/* So that all that are submitted at once have no room. */
	if (!aio_poll_disk_make(&disk, 4))
		SKIP(return, "no null_blk disk that can be polled (needs root and configfs)");
	self->before = aio_balance();
	for (i = 0; i < 3; i++) {
		disk_fd[i] = open(disk.dev, flags[i]);
		ASSERT_LE(0, disk_fd[i]);
	}
	iocbs = aio_iocbs(64);
	buffers = aio_pages((SLOTS + 1) * STRIDE, PROT_READ | PROT_WRITE);
	ASSERT_NE(MAP_FAILED, (void *)buffers);
	buffers += STRIDE;
	content = aio_pages(SLOTS * OWN, PROT_READ | PROT_WRITE);
	ASSERT_NE(MAP_FAILED, (void *)content);
	before_all = aio_pages(PAGE, PROT_NONE);
	ASSERT_NE(MAP_FAILED, (void *)before_all);
	verbose = getenv("VERBOSE");
}

FIXTURE_TEARDOWN(kinds)
{
	int i;

	for (i = 0; i < 3; i++)
		close(disk_fd[i]);
	aio_slow_disk_remove(&disk);
	EXPECT_BALANCE(self->before);
}

TEST_F_TIMEOUT(kinds, sequences, 3500)
{
	unsigned long first = 1, last = aio_long() ? 10000 : 50, seed;
	const char *seeds = getenv("SEEDS");
	unsigned long outcomes = 0;
	unsigned int nr_kinds = 0, i;
	static struct run plain;
	bool threads = !access(AUTO_THREADS, W_OK);

	/* What is the same for both word sizes is most of it. */
	if (!aio_long() && sizeof(long) == 4)
		last = 20;
	if (seeds && sscanf(seeds, "%lu-%lu", &first, &last) < 1)
		ASSERT_TRUE(!"SEEDS=FIRST-LAST");
	for (seed = first; seed <= last && failures < 20; seed++) {
		run_sequence(seed, &kinds[0]);
		plain = run;
		outcomes += plain.nr_log;
		nr_kinds = 1;
		for (i = 1; i < KINDS; i++) {
			if (kinds[i].flags & THREADED && !threads)
				continue;
			run_sequence(seed, &kinds[i]);
			compare(&plain);
			nr_kinds++;
		}
	}
	EXPECT_EQ(0, failures);
	printf("# %lu sequences with %lu outcomes, on %u kinds of contexts\n",
	       seed - first, outcomes, nr_kinds);
	for (i = 0; i < RULES + OTHERS; i++) {
		const char *reason = i < RULES ? rules[i].reason : other_reasons[i - RULES];

		if (!threads && !strncmp(reason, "threaded:", 9))
			continue;
		printf("# %7lu times: %s\n", applied[i], reason);
		/* A rule that is never met is not tested. */
		if (last - first >= 40)
			EXPECT_LT(0, applied[i]);
	}
}

TEST_HARNESS_MAIN
