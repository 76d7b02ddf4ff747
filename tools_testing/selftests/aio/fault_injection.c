// SPDX-License-Identifier: GPL-2.0
/*
 * Every allocation and every copy from or to user space in every AIO call that can
 * be made to fail fails once, in turn.
 *
 * Held here: a call in which something fails returns the error for that, or
 * succeeds all the same. If it fails, it has not happened: the quota, the locked
 * memory, the mappings, the files and the counts of eventfds are what they were.
 * If io_submit() takes a request, there is one event for it, whatever fails in the
 * operation. Events whose copy fails stay. The context can be used afterwards.
 *
 * The kernel counts, in the calling thread, what could fail, and lets the one fail
 * whose number is in /proc/thread-self/fail-nth. That is 1, 2, 3, ..., until a call
 * ends before the number is reached. Single numbers are copied by get_user() and
 * put_user(), and by some implementations iocbs, times and a few events as well,
 * which nothing makes fail; the other tests do that with bad pointers. Work items
 * are not part of the calling thread.
 *
 * With io_setup2() the pages of iocbs and buffers are not there before, so that pinning
 * them fails, too; what is pinned is a part of what must not leak.
 *
 * The errors:
 *
 * io_setup()		ENOMEM
 * io_setup2()		ENOMEM; EFAULT: the id can't be copied
 * io_submit()		EAGAIN: no memory for the request; EFAULT: iocb or vector can't
 *			be copied; ENOMEM: vector, credentials, the operation's own
 * io_getevents()	EFAULT
 * io_pgetevents()	EFAULT
 * io_cancel()		none
 * io_destroy()		none
 *
 * On a threaded context, where a thread or what it needs can't be made, what a plain context
 * can do is done so, or io_submit() says EAGAIN or ENOMEM, and the next one finds a thread.
 * If a part of a request was done by then, it ends with that.
 * mremap()		ENOMEM
 * fork()		ENOMEM, EAGAIN
 */
#include <poll.h>
#include <stdarg.h>
#include <sys/wait.h>
#include "../kselftest.h"
#include "aio_ext_test.h"

#define AUTO_THREADS	"/proc/sys/fs/aio-auto-threads"
#define DEBUGFS		"/sys/kernel/debug"
#define MANY		1000000000LL
#define MOST_POINTS	2000
#define PASSES		2
#define PAGE		4096

enum source { SLAB, PAGES, USERCOPY, SOURCES };

static const char * const source_dir[SOURCES] = {
	DEBUGFS "/failslab", DEBUGFS "/fail_page_alloc", DEBUGFS "/fail_usercopy",
};

static const char * const source_name[SOURCES] = { "slab", "page", "user copy" };

static int nth_fd = -1;
static bool bad;		/* the case at hand has failed */
static unsigned int total[SOURCES];

static void __printf(1, 2) wrong(const char *format, ...)
{
	va_list args;

	bad = true;
	printf("# ");
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	printf("\n");
	fflush(stdout);
}

/* ------------------------------------------------------ the kernel's knobs */

static bool set_knob(enum source source, const char *knob, const char *value)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", source_dir[source], knob);
	return !aio_write_text(path, value);
}

static long long left(enum source source)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/times", source_dir[source]);
	return aio_read_number(path);
}

static void knobs(bool on)
{
	int i;

	for (i = 0; i < SOURCES; i++) {
		set_knob(i, "probability", "0");
		set_knob(i, "verbose", on ? "0" : "2");
		set_knob(i, "times", on ? "1000000000" : "1");
	}
	set_knob(SLAB, "ignore-gfp-wait", on ? "N" : "Y");
	set_knob(SLAB, "cache-filter", "N");
	set_knob(PAGES, "ignore-gfp-wait", on ? "N" : "Y");
	set_knob(PAGES, "ignore-gfp-highmem", on ? "N" : "Y");
	set_knob(PAGES, "min-order", on ? "0" : "1");
}

/* What has failed since the last time; SOURCES if nothing has. */
static enum source what_failed(void)
{
	static long long before[SOURCES] = { MANY, MANY, MANY };
	enum source found = SOURCES;
	int i;

	for (i = 0; i < SOURCES; i++) {
		long long now = left(i);

		if (now != before[i])
			found = i;
		before[i] = now;
	}
	return found;
}

static void arm(unsigned int n)
{
	char text[16];
	int len = snprintf(text, sizeof(text), "%u", n);

	aio_record_hold();
	if (pwrite(nth_fd, text, len, 0) != len)
		ksft_exit_fail_msg("fail-nth: %s\n", strerror(errno));
}

/*
 * True if the number was not reached. It may be by this very call, which copies
 * from user space, too.
 */
static bool disarm(void)
{
	bool early = pwrite(nth_fd, "0", 1, 0) == 1;

	if (!early && pwrite(nth_fd, "0", 1, 0) != 1)
		ksft_exit_fail_msg("fail-nth: %s\n", strerror(errno));
	aio_record_release();
	return !early;
}

/* ------------------------------------------------------ what must not leak */

struct state {
	long long aio_nr;
	long long locked;
	int rings;
	int fds;
	long long pinned;
};

static int count_fds(void)
{
	int fd, n = 0;

	for (fd = 0; fd < 256; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

/* Only where something is pinned: to bring the numbers of all processors together takes time. */
static bool look_at_pins;

static struct state look(void)
{
	return (struct state){ aio_nr(), aio_locked(getpid()), aio_maps(0, NULL), count_fds(),
			       look_at_pins ? aio_balance().pinned : 0 };
}

static void compare(const struct state *a, const struct state *b, unsigned int n, const char *when)
{
	if (a->aio_nr != b->aio_nr)
		wrong("point %u, %s: aio-nr is %lld, was %lld", n, when, b->aio_nr, a->aio_nr);
	if (a->locked != b->locked)
		wrong("point %u, %s: VmLck is %lld, was %lld", n, when, b->locked, a->locked);
	if (a->rings != b->rings)
		wrong("point %u, %s: %d rings mapped, there were %d", n, when, b->rings, a->rings);
	if (a->fds != b->fds)
		wrong("point %u, %s: %d files open, there were %d", n, when, b->fds, a->fds);
	if (b->pinned > a->pinned && !aio_pinned_back_to(a->pinned))
		wrong("point %u, %s: %lld pages pinned, there were %lld", n, when, aio_pinned(),
		      a->pinned);
}

/* ------------------------------------------------------ the calls */

struct world {
	/* One that must stay usable, and one for the call. */
	aio_context_t ctx, own;
	int file, ro, null, event, pipe[2], disk, cached, mem;
	char *buf;
	struct iocb iocb[3];
	struct iovec vec[40];
	struct io_event *events;
	/* For contexts of io_setup2(). */
	struct iocb *array;
	char *area;
	/* What there is to read. */
	char first;
	int parameter;
};

struct test {
	const char *name;
	/* Makes what the call needs; false if that is not possible here. */
	bool (*before)(struct world *w);
	long (*call)(struct world *w);
	/* Looks at what has become of it, and takes back what @before has made. */
	void (*after)(struct world *w, long ret, enum source failed, unsigned int n);
	int parameter;
	/* At least one of these must fail, or nothing was tested. */
	unsigned int least[SOURCES];
	int errors[SOURCES][4];
};

static void roundtrip(struct world *w, aio_context_t ctx, unsigned int n)
{
	struct io_event event = { 0 };
	struct iocb iocb;
	long ret;

	aio_prep(&iocb, IOCB_CMD_PREAD, w->file, w->buf, 512, 0);
	ret = aio_run(ctx, &iocb, &event);
	if (ret != 1 || event.res != 512 || event.obj != (uintptr_t)&iocb)
		wrong("point %u: the context does not work any longer: %ld, res %lld", n, ret,
		      (long long)event.res);
}

/* Which contexts exist already decides whether the table has to grow. */
static bool before_setup(struct world *w)
{
	static aio_context_t more[64];
	static int have;

	while (have > w->parameter >> 16)
		io_destroy(more[--have]);
	while (have < w->parameter >> 16) {
		more[have] = 0;
		if (io_setup(1, &more[have++]))
			return false;
	}
	w->own = 0;
	return true;
}

static long call_setup(struct world *w)
{
	return io_setup(w->parameter & 0xffff, &w->own);
}

static void after_setup(struct world *w, long ret, enum source failed, unsigned int n)
{
	if (ret) {
		if (w->own)
			wrong("point %u: io_setup() failed with %ld, but has stored an id", n, ret);
		return;
	}
	roundtrip(w, w->own, n);
	ret = io_destroy(w->own);
	if (ret)
		wrong("point %u: io_destroy(): %ld", n, ret);
}

#define ARRAY_NR	8
#define AREA_PAGES	64
#define ALL_KINDS	(USERIOCB | FIXEDBUFS | IOPOLL)

/* Flags of io_setup2(); whether the iocbs are in pages that are not there yet. */
enum { NEW_ARRAY = 0x100, ON_DISK = 0x200 };

static bool before_setup2(struct world *w)
{
	int flags = w->parameter & ALL_KINDS, i;

	if (!aio_has_setup2())
		return false;
	w->own = 0;
	if (w->parameter & NEW_ARRAY) {
		madvise(w->array, PAGE, MADV_DONTNEED);
		return true;
	}
	for (i = 0; i < ARRAY_NR; i++)
		aio_prep(&w->array[i], IOCB_CMD_PREAD, w->file,
			 w->area + i * AREA_PAGES / ARRAY_NR * PAGE,
			 (i % 4) * AREA_PAGES / ARRAY_NR / 3 * PAGE, 0);
	/* Not the first one, which is used. */
	w->array[0].aio_nbytes = 512;
	if (flags & FIXEDBUFS)
		madvise(w->area, AREA_PAGES * PAGE, MADV_DONTNEED);
	return true;
}

static long call_setup2(struct world *w)
{
	unsigned int flags = w->parameter & ALL_KINDS;

	return io_setup2(ARRAY_NR, flags, flags & USERIOCB ? w->array : NULL, &w->own);
}

static void after_setup2(struct world *w, long ret, enum source failed, unsigned int n)
{
	struct io_event event = { 0 };

	if (ret) {
		if (w->own)
			wrong("point %u: io_setup2() failed with %ld, but has stored an id",
			      n, ret);
		return;
	}
	if (w->parameter & USERIOCB && !(w->parameter & (IOPOLL | NEW_ARRAY))) {
		ret = aio_run_index(w->own, 0, &event);
		if (ret != 1 || event.res != 512 || event.obj)
			wrong("point %u: the context does not work: %ld, res %lld", n, ret,
			      (long long)event.res);
	}
	ret = io_destroy(w->own);
	if (ret)
		wrong("point %u: io_destroy(): %ld", n, ret);
}

/* A request to a context of one of the kinds. */
static bool before_submit2(struct world *w)
{
	int i;

	if (w->parameter & ON_DISK && w->disk < 0)
		return false;
	if (!before_setup2(w))
		return false;
	for (i = 0; i < ARRAY_NR; i++)
		aio_prep(&w->array[i], IOCB_CMD_PREAD,
			 w->parameter & ON_DISK ? w->disk : w->file,
			 w->area + i * PAGE, PAGE, i * PAGE);
	return !call_setup2(w);
}

static long call_submit2(struct world *w)
{
	unsigned long names[2] = { 1, 2 };

	if (!(w->parameter & USERIOCB)) {
		names[0] = (unsigned long)&w->array[1];
		names[1] = (unsigned long)&w->array[2];
	}
	return aio_submit_indices(w->own, 2, names);
}

static void after_submit2(struct world *w, long ret, enum source failed, unsigned int n)
{
	struct timespec ts = { 20 * aio_slow(), 0 };
	struct io_event events[4];
	long got = 0, expected = ret > 0 ? ret : 0, i;

	if (ret == 0 || ret > 2)
		wrong("point %u: io_submit() returned %ld", n, ret);
	if (expected)
		got = io_getevents(w->own, expected, 4, events, &ts);
	if (got != expected)
		wrong("point %u: %ld events of %ld requests", n, got, expected);
	for (i = 0; i < got; i++) {
		long long res = events[i].res;

		if (res != PAGE && (failed == SOURCES ||
				    (res != -EFAULT && res != -ENOMEM && res != -EIO &&
				     res != -EAGAIN)))
			wrong("point %u: event with %lld", n, res);
	}
	ret = io_destroy(w->own);
	if (ret)
		wrong("point %u: io_destroy(): %ld", n, ret);
}

/* ------------------------------------------------------ threaded contexts */

/* What is submitted. */
enum { WRITE_MEM, BEHIND_A_WRITE, SYNC_BEHIND, READ_PIPE, READ_DISK, READ_PART, SYNC_FILE,
	OPEN_PATH };

static bool setup_threaded(aio_context_t *ctx)
{
	long long old = aio_read_number(AUTO_THREADS);
	long ret;

	*ctx = 0;
	if (old < 0 || aio_write_text(AUTO_THREADS, "1"))
		return false;
	ret = io_setup(16, ctx);
	aio_write_text(AUTO_THREADS, old ? "1" : "0");
	return !ret;
}

#define PARTS	3

/* How many requests that are. */
static int prepare_threaded(struct world *w)
{
	struct iocb *iocb = w->iocb;
	int i;

	switch (w->parameter) {
	case BEHIND_A_WRITE:
	case SYNC_BEHIND:
	case WRITE_MEM:
		aio_prep(&iocb[0], IOCB_CMD_PWRITE, w->mem, w->buf, PAGE, 0);
		aio_prep(&iocb[1], IOCB_CMD_PREAD, w->mem, w->buf + PAGE, PAGE, 0);
		if (w->parameter == SYNC_BEHIND)
			aio_prep(&iocb[1], IOCB_CMD_FSYNC, w->mem, NULL, 0, 0);
		return w->parameter == WRITE_MEM ? 1 : 2;
	case READ_PIPE:
		aio_prep(&iocb[0], IOCB_CMD_PREAD, w->pipe[0], w->buf, 1, 0);
		return 1;
	case READ_DISK:
		if (w->cached < 0)
			return 0;
		posix_fadvise(w->cached, 0, 0, POSIX_FADV_DONTNEED);
		aio_prep(&iocb[0], IOCB_CMD_PREAD, w->cached, w->buf, PAGE, 0);
		return 1;
	case READ_PART:
		/* Of an array: the first page is there, the others are not. */
		if (w->cached < 0)
			return 0;
		posix_fadvise(w->cached, 0, 0, POSIX_FADV_DONTNEED);
		posix_fadvise(w->cached, 0, 0, POSIX_FADV_RANDOM);
		if (pread(w->cached, w->buf, PAGE, 0) != PAGE)
			return 0;
		w->first = w->buf[0];
		memset(w->buf, ~w->first, PAGE);
		for (i = 0; i < PARTS; i++)
			w->vec[i] = (struct iovec){ w->buf + i * PAGE, PAGE };
		aio_prep(&iocb[0], IOCB_CMD_PREADV, w->cached, w->vec, PARTS, 0);
		return 1;
	case SYNC_FILE:
		aio_prep(&iocb[0], IOCB_CMD_FSYNC, w->file, NULL, 0, 0);
		return 1;
	default:
		aio_prep(&iocb[0], IOCB_CMD_OPENAT, AT_FDCWD, "/dev/null", 0, O_RDWR);
		return 1;
	}
}

/* What the event of such a request may say. */
static bool good_result(struct world *w, const struct io_event *event, bool failure)
{
	const struct iocb *iocb = (const struct iocb *)(uintptr_t)event->obj;
	long long res = event->res;

	if (res < 0)
		return failure && (res == -ENOMEM || res == -EFAULT || res == -EIO);
	if (iocb->aio_lio_opcode == IOCB_CMD_OPENAT)
		return !close(res);
	if (iocb->aio_lio_opcode == IOCB_CMD_PREADV)
		return res == PARTS * PAGE || (failure && res && res % PAGE == 0);
	return res == (long long)iocb->aio_nbytes;
}

/* In a pool that is there: a read of an empty pipe keeps it. */
static bool before_threaded(struct world *w)
{
	struct iocb *keep = &w->iocb[2];

	if (!setup_threaded(&w->own))
		return false;
	aio_prep(keep, IOCB_CMD_PREAD, w->pipe[0], w->events, 1, 0);
	if (prepare_threaded(w) && aio_submit_one(w->own, keep) == 1)
		return true;
	io_destroy(w->own);
	return false;
}

static long call_threaded(struct world *w)
{
	struct iocb *list[] = { &w->iocb[0], &w->iocb[1] };
	bool two = w->parameter == BEHIND_A_WRITE || w->parameter == SYNC_BEHIND;

	return io_submit(w->own, two ? 2 : 1, list);
}

static void after_threaded(struct world *w, long ret, enum source failed, unsigned int n)
{
	struct timespec ts = { 20 * aio_slow(), 0 };
	struct io_event events[2];
	long got = 0, i;

	if (ret == 1 && w->parameter == READ_PIPE) {
		ret = io_cancel(w->own, &w->iocb[0], &events[0]);
		if (ret != -EINPROGRESS)
			wrong("point %u: io_cancel(): %ld", n, ret);
		got = io_getevents(w->own, 1, 2, events, &ts);
		if (got != 1 || events[0].res != -EINTR)
			wrong("point %u: %ld events of a request that was cancelled", n, got);
	} else if (ret > 0) {
		got = io_getevents(w->own, ret, 2, events, &ts);
		if (got != ret)
			wrong("point %u: %ld events of %ld requests", n, got, ret);
		for (i = 0; i < got; i++)
			if (!good_result(w, &events[i], failed != SOURCES))
				wrong("point %u: event with %lld", n, (long long)events[i].res);
	} else if (w->parameter == READ_PART && w->buf[0] == w->first) {
		wrong("point %u: a part was read, and io_submit() returned %ld", n, ret);
	}
	/* It ends the one that keeps the pool, too. */
	ret = io_destroy(w->own);
	if (ret)
		wrong("point %u: io_destroy(): %ld", n, ret);
}

enum { PLAIN = 0, RESFD = 0x100, PRIO = 0x200, DISK = 0x400, NEVER = 0x800, TWICE = 0x1000,
	LONG_VEC = 0x2000 };

static bool before_submit(struct world *w)
{
	int opcode = w->parameter & 0xff, i;
	struct iocb *iocb = &w->iocb[0];
	int fd = w->parameter & DISK ? w->disk : w->file;

	if (fd < 0)
		return false;
	switch (opcode) {
	case IOCB_CMD_POLL:
		fd = w->parameter & NEVER ? w->pipe[0] : w->event;
		aio_prep(iocb, opcode, fd, (void *)(long)(w->parameter & NEVER ? POLLIN : POLLOUT),
			 0, 0);
		break;
	case IOCB_CMD_FSYNC:
	case IOCB_CMD_FDSYNC:
		aio_prep(iocb, opcode, fd, NULL, 0, 0);
		break;
	case IOCB_CMD_PREADV:
	case IOCB_CMD_PWRITEV:
		for (i = 0; i < 40; i++)
			w->vec[i] = (struct iovec){ w->buf + i * 4096, 4096 };
		aio_prep(iocb, opcode, fd, w->vec, w->parameter & LONG_VEC ? 40 : 3, 0);
		break;
	default:
		aio_prep(iocb, opcode, fd, w->buf, 8192, 0);
	}
	if (w->parameter & RESFD) {
		iocb->aio_flags |= IOCB_FLAG_RESFD;
		iocb->aio_resfd = w->event;
	}
	if (w->parameter & PRIO) {
		iocb->aio_flags |= IOCB_FLAG_IOPRIO;
		iocb->aio_reqprio = 2 << 13 | 4;
	}
	w->iocb[1] = *iocb;
	return true;
}

static long call_submit(struct world *w)
{
	struct iocb *list[] = { &w->iocb[0], &w->iocb[1] };

	return io_submit(w->ctx, w->parameter & TWICE ? 2 : 1, list);
}

static void after_submit(struct world *w, long ret, enum source failed, unsigned int n)
{
	struct timespec ts = { 20 * aio_slow(), 0 };
	struct io_event events[4];
	long got = 0, expected = ret > 0 ? ret : 0, i;
	__u64 count = 0;

	if (ret == 0 || ret > (w->parameter & TWICE ? 2 : 1))
		wrong("point %u: io_submit() returned %ld", n, ret);
	for (i = 0; i < expected && w->parameter & NEVER; i++) {
		long cancelled = io_cancel(w->ctx, &w->iocb[i], &events[0]);

		if (cancelled != -EINPROGRESS)
			wrong("point %u: io_cancel(): %ld", n, cancelled);
	}
	if (expected)
		got = io_getevents(w->ctx, expected, 4, events, &ts);
	if (got != expected)
		wrong("point %u: %ld events of %ld requests", n, got, expected);
	if (aio_drain(w->ctx))
		wrong("point %u: more events than requests (%ld)", n, expected);
	for (i = 0; i < got; i++) {
		long long res = events[i].res;

		if (events[i].obj != (uintptr_t)&w->iocb[i] && events[i].obj !=
		    (uintptr_t)&w->iocb[!i])
			wrong("point %u: event of another iocb", n);
		if (res < 0 && res != -EFAULT && res != -ENOMEM && res != -EIO && res != -EAGAIN &&
		    res != -ENOSPC)
			wrong("point %u: event with %lld", n, res);
		if (failed == SOURCES && res < 0)
			wrong("point %u: nothing has failed, event with %lld", n, res);
	}
	/* What the eventfd has counted, which is not the poll of it. */
	count = aio_eventfd_take(w->event, w->parameter & RESFD ? expected : 0);
	if (count != (w->parameter & RESFD ? (__u64)expected : 0))
		wrong("point %u: the eventfd has counted %llu of %ld", n, (unsigned long long)count,
		      expected);
}

static bool before_getevents(struct world *w)
{
	struct iocb *list[] = { &w->iocb[0], &w->iocb[0], &w->iocb[0] };

	aio_prep(&w->iocb[0], IOCB_CMD_PREAD, w->file, w->buf, 512, 0);
	memset(w->events, 0, 4 * sizeof(*w->events));
	return io_submit(w->ctx, 3, list) == 3;
}

static long call_getevents(struct world *w)
{
	struct timespec ts = { 20 * aio_slow(), 0 };

	return io_getevents(w->ctx, w->parameter, 3, w->events, &ts);
}

static long call_pgetevents(struct world *w)
{
	struct timespec ts = { 20 * aio_slow(), 0 };
	unsigned long mask[2] = { 1UL << (SIGUSR1 - 1) };
	struct aio_sigset set = { mask, 8 };

	return io_pgetevents(w->ctx, w->parameter, 3, w->events, &ts, &set);
}

static void after_getevents(struct world *w, long ret, enum source failed, unsigned int n)
{
	sigset_t mask;
	long more;

	if (ret > 3 || (!ret && w->parameter))
		wrong("point %u: io_getevents() returned %ld", n, ret);
	more = aio_drain_of(w->ctx, 3 - (ret > 0 ? ret : 0));
	if (more != 3 - (ret > 0 ? ret : 0))
		wrong("point %u: io_getevents() returned %ld, then there were %ld", n, ret, more);
	sigprocmask(SIG_BLOCK, NULL, &mask);
	if (sigismember(&mask, SIGUSR1))
		wrong("point %u: the signal mask has not come back", n);
}

static bool before_cancel(struct world *w)
{
	aio_prep(&w->iocb[0], IOCB_CMD_POLL, w->pipe[0], (void *)POLLIN, 0, 0);
	return aio_submit_one(w->ctx, &w->iocb[0]) == 1;
}

static long call_cancel(struct world *w)
{
	struct io_event event;
	long ret = io_cancel(w->ctx, &w->iocb[0], &event);

	return ret == -EINPROGRESS ? 0 : ret;
}

static void after_cancel(struct world *w, long ret, enum source failed, unsigned int n)
{
	struct timespec ts = { 20 * aio_slow(), 0 };
	struct io_event event;

	if (io_getevents(w->ctx, 1, 1, &event, &ts) != 1)
		wrong("point %u: a cancelled request has no event", n);
}

static bool before_destroy(struct world *w)
{
	w->own = 0;
	if (io_setup(200, &w->own))
		return false;
	aio_prep(&w->iocb[0], IOCB_CMD_POLL, w->pipe[0], (void *)POLLIN, 0, 0);
	aio_prep(&w->iocb[1], IOCB_CMD_PREAD, w->file, w->buf, 512, 0);
	return aio_submit_one(w->own, &w->iocb[0]) == 1 && aio_submit_one(w->own, &w->iocb[1]) == 1;
}

static long call_destroy(struct world *w)
{
	return io_destroy(w->own);
}

static void after_destroy(struct world *w, long ret, enum source failed, unsigned int n)
{
	struct aio_vma vma;

	if (ret) {
		wrong("point %u: io_destroy(): %ld", n, ret);
		return;
	}
	/*
	 * munmap() may need memory, and then the mapping stays; with no context behind
	 * it. That is the same in the C code.
	 */
	aio_maps(w->own, &vma);
	if (failed != SOURCES && !strncmp(vma.name, "/[aio]", 6))
		munmap((void *)w->own, vma.end - vma.start);
	if (io_destroy(w->own) != -EINVAL)
		wrong("point %u: destroyed twice", n);
}

/* Where nothing else is. */
static void * const elsewhere = (void *)0x30000000UL;

static bool before_mremap(struct world *w)
{
	w->own = 0;
	return !io_setup(200, &w->own);
}

static long call_mremap(struct world *w)
{
	size_t len = aio_ring_bytes(200);
	void *at = mremap((void *)w->own, len, len, MREMAP_MAYMOVE | MREMAP_FIXED, elsewhere);

	if (at == MAP_FAILED)
		return -errno;
	w->own = (aio_context_t)at;
	return 0;
}

static void after_mremap(struct world *w, long ret, enum source failed, unsigned int n)
{
	roundtrip(w, w->own, n);
	ret = io_destroy(w->own);
	if (ret)
		wrong("point %u: io_destroy() of a moved ring: %ld", n, ret);
	/* The place may have been made free, and not been used. */
	munmap(elsewhere, aio_ring_bytes(200));
}

static bool before_fork(struct world *w)
{
	return true;
}

static long call_fork(struct world *w)
{
	pid_t pid = fork();

	if (!pid) {
		/* Nothing of the contexts is here. */
		if (io_destroy(w->ctx) != -EINVAL || aio_maps(0, NULL) || aio_locked(getpid()))
			_exit(1);
		_exit(0);
	}
	if (pid < 0)
		return -errno;
	w->parameter = pid;
	return 0;
}

static void after_fork(struct world *w, long ret, enum source failed, unsigned int n)
{
	int status = 0;

	if (!ret && (waitpid(w->parameter, &status, 0) < 0 || status))
		wrong("point %u: child of fork: %x", n, status);
}

/* A process that ends with contexts and requests; what fails, fails at its end. */
static int exit_child(struct world *w, unsigned int n, bool fresh)
{
	aio_context_t ctx[3] = { 0 };
	struct iocb *list[2] = { &w->iocb[0], &w->iocb[1] };
	long ret = 0;
	int i;

	aio_prep(&w->iocb[0], IOCB_CMD_POLL, w->pipe[0], (void *)POLLIN, 0, 0);
	aio_prep(&w->iocb[1], IOCB_CMD_FSYNC, w->file, NULL, 0, 0);
	nth_fd = open("/proc/thread-self/fail-nth", O_RDWR | O_CLOEXEC);
	if (nth_fd < 0)
		return 10;
	if (fresh)
		arm(n);
	for (i = 0; i < (fresh ? 1 : 3) && !ret; i++)
		ret = io_setup(10 + 200 * i, &ctx[i]);
	if (fresh) {
		disarm();
		return ret == -ENOMEM ? 1 : ret ? 11 : 0;
	}
	for (i = 0; i < 3; i++)
		if (ret || io_submit(ctx[i], 2, list) != 2)
			return 12;
	arm(n);
	return 0;
}

/* A process that has no threads yet. @w->parameter is what it does first. */
static int first_thread_child(struct world *w, unsigned int n)
{
	struct timespec ts = { 20 * aio_slow(), 0 };
	struct io_event event;
	aio_context_t ctx;
	long ret, i;

	if (!setup_threaded(&ctx) || !prepare_threaded(w))
		return 10;
	nth_fd = open("/proc/thread-self/fail-nth", O_RDWR | O_CLOEXEC);
	if (nth_fd < 0)
		return 11;
	arm(n);
	ret = aio_submit_one(ctx, &w->iocb[0]);
	disarm();
	if (ret != 1 && ret != -EAGAIN && ret != -ENOMEM && ret != -EFAULT)
		return 12;
	if (ret == 1 && (io_getevents(ctx, 1, 1, &event, &ts) != 1 ||
			 !good_result(w, &event, true)))
		return 13;
	/* What was not to be had is there now. */
	for (i = 0; i < 2; i++)
		if (aio_submit_one(ctx, &w->iocb[0]) != 1 ||
		    io_getevents(ctx, 1, 1, &event, &ts) != 1 || !good_result(w, &event, false))
			return 14;
	return ret == 1 ? 0 : 1;
}

static const struct test tests[] = {
#define SETUP_ERRORS	{ { ENOMEM }, { ENOMEM }, { EFAULT } }
	{ "io_setup: one page", before_setup, call_setup, after_setup, 1, { 1 }, SETUP_ERRORS },
	{ "io_setup: many pages", before_setup, call_setup, after_setup, 2000, { 1, 20 },
	  SETUP_ERRORS },
	{ "io_setup: 3 more contexts", before_setup, call_setup, after_setup, 3 << 16 | 1, { 1 },
	  SETUP_ERRORS },
	{ "io_setup: 4 more contexts", before_setup, call_setup, after_setup, 4 << 16 | 1, { 1 },
	  SETUP_ERRORS },
	{ "io_setup: 15 more contexts", before_setup, call_setup, after_setup, 15 << 16 | 1, { 1 },
	  SETUP_ERRORS },
	{ "io_setup: 16 more contexts", before_setup, call_setup, after_setup, 16 << 16 | 1, { 1 },
	  SETUP_ERRORS },
	{ "io_setup: no more contexts", before_setup, call_setup, after_setup, 1, { 1 },
	  SETUP_ERRORS },
	{ "io_setup2: plain", before_setup2, call_setup2, after_setup2, 0, { 1 }, SETUP_ERRORS },
	{ "io_setup2: USERIOCB", before_setup2, call_setup2, after_setup2, USERIOCB, { 1 },
	  SETUP_ERRORS },
	{ "io_setup2: USERIOCB, no page", before_setup2, call_setup2, after_setup2,
	  USERIOCB | NEW_ARRAY, { 1, 1 }, SETUP_ERRORS },
	{ "io_setup2: FIXEDBUFS", before_setup2, call_setup2, after_setup2,
	  USERIOCB | FIXEDBUFS, { 4, 10 }, SETUP_ERRORS },
	{ "io_setup2: IOPOLL", before_setup2, call_setup2, after_setup2, IOPOLL, { 3 },
	  SETUP_ERRORS },
	{ "io_setup2: all three", before_setup2, call_setup2, after_setup2, ALL_KINDS, { 5, 10 },
	  SETUP_ERRORS },
#define SUBMIT_ERRORS	{ { EAGAIN, ENOMEM }, { EAGAIN, ENOMEM }, { EFAULT } }
#define SUBMIT(name, parameter, copies) \
	{ "io_submit: " name, before_submit, call_submit, after_submit, parameter, \
	  { 1, 0, copies }, SUBMIT_ERRORS }
	SUBMIT("PREAD", IOCB_CMD_PREAD, 1),
	SUBMIT("PREAD, eventfd", IOCB_CMD_PREAD | RESFD, 1),
	SUBMIT("PREAD, priority", IOCB_CMD_PREAD | PRIO, 1),
	SUBMIT("PREAD, disk", IOCB_CMD_PREAD | DISK, 1),
	SUBMIT("PREAD, disk, eventfd", IOCB_CMD_PREAD | DISK | RESFD, 1),
	SUBMIT("PREAD, two", IOCB_CMD_PREAD | TWICE, 1),
	SUBMIT("PWRITE", IOCB_CMD_PWRITE, 1),
	SUBMIT("PWRITE, eventfd", IOCB_CMD_PWRITE | RESFD, 1),
	SUBMIT("PWRITE, disk", IOCB_CMD_PWRITE | DISK, 1),
	SUBMIT("PWRITE, disk, eventfd", IOCB_CMD_PWRITE | DISK | RESFD, 1),
	SUBMIT("PWRITE, disk, two", IOCB_CMD_PWRITE | DISK | TWICE, 1),
	SUBMIT("PREADV", IOCB_CMD_PREADV, 2),
	SUBMIT("PREADV, eventfd", IOCB_CMD_PREADV | RESFD, 2),
	SUBMIT("PREADV, long", IOCB_CMD_PREADV | LONG_VEC, 2),
	SUBMIT("PREADV, disk, long", IOCB_CMD_PREADV | LONG_VEC | DISK, 1),
	SUBMIT("PWRITEV", IOCB_CMD_PWRITEV, 2),
	SUBMIT("PWRITEV, eventfd", IOCB_CMD_PWRITEV | RESFD, 2),
	SUBMIT("PWRITEV, long", IOCB_CMD_PWRITEV | LONG_VEC, 2),
	SUBMIT("PWRITEV, disk, long", IOCB_CMD_PWRITEV | LONG_VEC | DISK, 1),
	SUBMIT("FSYNC", IOCB_CMD_FSYNC, 1),
	SUBMIT("FSYNC, eventfd", IOCB_CMD_FSYNC | RESFD, 1),
	SUBMIT("FDSYNC", IOCB_CMD_FDSYNC, 1),
	SUBMIT("FDSYNC, disk, eventfd", IOCB_CMD_FDSYNC | RESFD | DISK, 1),
	SUBMIT("POLL, ready", IOCB_CMD_POLL, 1),
	SUBMIT("POLL, ready, eventfd", IOCB_CMD_POLL | RESFD, 1),
	SUBMIT("POLL, not ready", IOCB_CMD_POLL | NEVER, 1),
	SUBMIT("POLL, not ready, eventfd", IOCB_CMD_POLL | NEVER | RESFD, 1),
	SUBMIT("POLL, not ready, two", IOCB_CMD_POLL | NEVER | TWICE, 1),
#define SUBMIT2(name, parameter, least) \
	{ "io_submit: " name, before_submit2, call_submit2, after_submit2, parameter, \
	  { least }, SUBMIT_ERRORS }
	SUBMIT2("USERIOCB", USERIOCB, 1),
	SUBMIT2("USERIOCB, disk", USERIOCB | ON_DISK, 1),
	SUBMIT2("FIXEDBUFS", USERIOCB | FIXEDBUFS, 1),
	SUBMIT2("FIXEDBUFS, disk", USERIOCB | FIXEDBUFS | ON_DISK, 1),
	SUBMIT2("IOPOLL, disk", IOPOLL | ON_DISK, 1),
	SUBMIT2("all three, disk", ALL_KINDS | ON_DISK, 1),
#define THREADED(name, parameter) \
	{ "threaded: " name, before_threaded, call_threaded, after_threaded, parameter, \
	  { 1 }, SUBMIT_ERRORS }
	THREADED("write to memory", WRITE_MEM),
	THREADED("read behind a write", BEHIND_A_WRITE),
	THREADED("FSYNC behind a write", SYNC_BEHIND),
	THREADED("read of a pipe", READ_PIPE),
	THREADED("read of a disk", READ_DISK),
	THREADED("read that goes on", READ_PART),
	THREADED("FSYNC", SYNC_FILE),
	THREADED("OPENAT", OPEN_PATH),
#define READ_ERRORS	{ { 0 }, { EFAULT }, { EFAULT } }
	{ "io_getevents", before_getevents, call_getevents, after_getevents, 3, { 0, 0, 2 },
	  READ_ERRORS },
	{ "io_getevents: min_nr 0", before_getevents, call_getevents, after_getevents, 0,
	  { 0, 0, 2 }, READ_ERRORS },
	{ "io_pgetevents", before_getevents, call_pgetevents, after_getevents, 3, { 0, 0, 3 },
	  READ_ERRORS },
	{ "io_cancel", before_cancel, call_cancel, after_cancel, 0, { 0 }, { { 0 } } },
	{ "io_destroy", before_destroy, call_destroy, after_destroy, 0, { 0 }, { { 0 } } },
	{ "mremap", before_mremap, call_mremap, after_mremap, 0, { 1 },
	  { { ENOMEM }, { ENOMEM }, { 0 } } },
	{ "fork", before_fork, call_fork, after_fork, 0, { 10 },
	  { { ENOMEM, EAGAIN }, { ENOMEM, EAGAIN }, { EFAULT, EAGAIN } } },
};

static bool allowed(const struct test *test, enum source failed, long ret)
{
	int i;

	if (ret >= 0)
		return true;
	for (i = 0; failed != SOURCES && i < 4 && test->errors[failed][i]; i++)
		if (ret == -test->errors[failed][i])
			return true;
	return false;
}

static void show(const char *name, const unsigned int *points, unsigned int survived)
{
	ksft_print_msg("%-26s %3u points: slab %u, page %u, user copy %u; %u succeeded\n",
		       name, points[SLAB] + points[PAGES] + points[USERCOPY], points[SLAB],
		       points[PAGES], points[USERCOPY], survived);
	total[SLAB] += points[SLAB];
	total[PAGES] += points[PAGES];
	total[USERCOPY] += points[USERCOPY];
}

/* The Rust implementation copies iocbs, times and few events so. */
static bool in_line;

static void run(const struct test *test, struct world *w, long inodes)
{
	unsigned int points[SOURCES] = { 0 }, survived = 0, n, quiet = 0, pass = 1;
	enum source failed;
	int i;

	bad = false;
	look_at_pins = test->call == call_setup2 || test->call == call_submit2;
	/*
	 * Not each call allocates the same, since caches are filled in between, and
	 * checkers of the kernel have memory of their own. So a point may be passed
	 * over: there are two passes, and the end of one is not the first call that
	 * gets through.
	 */
	for (n = 1; n < MOST_POINTS; n++) {
		struct state before, after;
		bool spent;
		long ret;

		w->parameter = test->parameter;
		/* Contexts keep the memory of requests: a call is to allocate it. */
		aio_write_text("/proc/sys/vm/drop_caches", "2");
		/* Before the first look: what it makes may stay. */
		if (n == 1 && pass == 1) {
			if (!test->before(w)) {
				ksft_test_result_skip("%s: not possible here\n", test->name);
				return;
			}
			test->after(w, test->call(w), SOURCES, 0);
			w->parameter = test->parameter;
			what_failed();
		}
		before = look();
		if (!test->before(w)) {
			wrong("point %u: no preparations", n);
			break;
		}
		arm(n);
		ret = test->call(w);
		spent = disarm();
		failed = what_failed();
		/* That was not a failure of the call. */
		if (spent)
			failed = SOURCES;
		if (getenv("VERBOSE"))
			ksft_print_msg("%s: point %u: %s: %ld\n", test->name, n,
				       failed == SOURCES ? "nothing" : source_name[failed], ret);
		if (!allowed(test, failed, ret))
			wrong("point %u: %s failed, the call returned %ld", n,
			      failed == SOURCES ? "nothing" : source_name[failed], ret);
		test->after(w, ret, failed, n);
		after = look();
		compare(&before, &after, n, failed == SOURCES ? "nothing" : source_name[failed]);
		roundtrip(w, w->ctx, n);
		if (failed == SOURCES) {
			if (++quiet < 3)
				continue;
			if (pass++ == PASSES)
				break;
			n = 0;
			quiet = 0;
			continue;
		}
		quiet = 0;
		points[failed]++;
		survived += ret >= 0;
		if (bad)
			wrong("(%s failed, the call returned %ld)", source_name[failed], ret);
	}
	if (n == MOST_POINTS)
		wrong("no end after %u points", n);
	/* Where few words are copied in line, the copy can't be made to fail. */
	for (i = 0; i < SOURCES; i++)
		if (points[i] < test->least[i] && !(i == USERCOPY && in_line))
			wrong("only %u points of %s, at least %u expected", points[i],
			      source_name[i], test->least[i]);
	if (inodes >= 0 && !strncmp(test->name, "io_setup: no", 12) &&
	    !aio_ring_inodes_back_to(inodes))
		wrong("ring inodes are left");
	show(test->name, points, survived);
	ksft_test_result(!bad, "%s\n", test->name);
}

/* What a process does that does not come back, seen from its parent. */
enum life { END, FIRST_CONTEXT, FIRST_WRITE, FIRST_OPEN };

static void run_child(const char *name, struct world *w, enum life life)
{
	unsigned int points[SOURCES] = { 0 }, survived = 0, n;
	struct state before, after;
	int status, i, quiet = 0;

	bad = false;
	if (life >= FIRST_WRITE && access(AUTO_THREADS, W_OK)) {
		ksft_test_result_skip("%s: not possible here\n", name);
		return;
	}
	look_at_pins = false;
	before = look();
	what_failed();
	for (n = 1; n < MOST_POINTS && quiet < 3; n++) {
		enum source failed;
		pid_t pid = fork();

		if (!pid && life >= FIRST_WRITE) {
			w->parameter = life == FIRST_WRITE ? WRITE_MEM : OPEN_PATH;
			_exit(first_thread_child(w, n));
		}
		if (!pid)
			_exit(exit_child(w, n, life == FIRST_CONTEXT));
		if (pid < 0 || waitpid(pid, &status, 0) != pid) {
			wrong("point %u: %s", n, strerror(errno));
			break;
		}
		failed = what_failed();
		if (status && !(life != END && status == 1 << 8 && failed != SOURCES))
			wrong("point %u: the process ended with %x", n, status);
		/* The end of a process is over a little later than it can be seen. */
		for (i = 0; i < 500 * aio_slow(); i++) {
			after = look();
			if (after.aio_nr == before.aio_nr)
				break;
			aio_sleep_ms(10);
		}
		compare(&before, &after, n, name);
		roundtrip(w, w->ctx, n);
		if (failed == SOURCES) {
			quiet++;
			continue;
		}
		quiet = 0;
		points[failed]++;
		survived += !status;
	}
	if (!(points[SLAB] + points[PAGES] + points[USERCOPY]))
		wrong("nothing has failed");
	show(name, points, survived);
	ksft_test_result(!bad, "%s\n", name);
}

static bool can_inject(void)
{
	int i;

	nth_fd = open("/proc/thread-self/fail-nth", O_RDWR | O_CLOEXEC);
	for (i = 0; i < SOURCES; i++)
		if (nth_fd < 0 || access(source_dir[i], X_OK) || left(i) < 0)
			return false;
	return true;
}

int main(void)
{
	const int n = ARRAY_SIZE(tests);
	struct aio_slow_disk slow = { 0 };
	struct world w = { .disk = -1, .cached = -1 };
	struct state before, after;
	long inodes;
	int i;

	ksft_print_header();
	if (geteuid() || !can_inject())
		ksft_exit_skip("no fail-nth, failslab, fail_page_alloc, fail_usercopy\n");
	ksft_set_plan(n + 5);
	in_line = aio_is_rust();

	w.file = aio_disk_file(O_RDWR);
	w.mem = aio_mem_file();
	w.event = eventfd(0, EFD_NONBLOCK);
	w.null = open("/dev/null", O_RDWR);
	w.buf = aio_pages(64 * PAGE, PROT_READ | PROT_WRITE);
	w.events = aio_pages(PAGE, PROT_READ | PROT_WRITE);
	w.array = aio_pages(PAGE, PROT_READ | PROT_WRITE);
	w.area = aio_pages(AREA_PAGES * PAGE, PROT_READ | PROT_WRITE);
	if (w.file < 0 || w.event < 0 || pipe(w.pipe) || w.buf == MAP_FAILED ||
	    w.events == MAP_FAILED || w.array == MAP_FAILED || w.area == MAP_FAILED ||
	    ftruncate(w.file, 1 << 20) || io_setup(32, &w.ctx))
		ksft_exit_fail_msg("no world: %s\n", strerror(errno));
	memset(w.buf, 1, 64 * PAGE);
	if (pwrite(w.file, w.buf, 64 * PAGE, 0) != 64 * PAGE)
		ksft_exit_fail_msg("can't write: %s\n", strerror(errno));
	if (aio_slow_disk_make(&slow, 1))
		w.disk = open(slow.dev, O_RDWR | O_DIRECT);
	if (w.disk >= 0)
		w.cached = open(slow.dev, O_RDONLY);

	inodes = aio_ring_inodes();
	knobs(true);
	what_failed();
	before = look();
	for (i = 0; i < n; i++)
		run(&tests[i], &w, inodes);
	run_child("io_setup: first of a process", &w, FIRST_CONTEXT);
	run_child("exit", &w, END);
	run_child("threaded: first write", &w, FIRST_WRITE);
	run_child("threaded: first OPENAT", &w, FIRST_OPEN);
	knobs(false);
	after = look();

	bad = false;
	compare(&before, &after, 0, "in the end");
	if (inodes >= 0 && !aio_ring_inodes_back_to(inodes))
		wrong("ring inodes are left");
	ksft_print_msg("%u points failed: slab %u, page %u, user copy %u\n",
		       total[SLAB] + total[PAGES] + total[USERCOPY], total[SLAB], total[PAGES],
		       total[USERCOPY]);
	ksft_test_result(!bad, "nothing is left\n");
	if (w.disk >= 0)
		close(w.disk);
	if (w.cached >= 0)
		close(w.cached);
	aio_slow_disk_remove(&slow);
	ksft_finished();
}
