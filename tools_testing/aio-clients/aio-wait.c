// SPDX-License-Identifier: GPL-2.0
/*
 * A library to preload into a program that uses libaio. It makes the program wait
 * for events in another way than it was written for:
 *
 *   AIO_WAIT=count        as the program does it; only counted
 *   AIO_WAIT=eventfd      each request signals an eventfd, and that is what is
 *                         waited on; io_getevents() only collects
 *   AIO_WAIT=sigblocked   io_pgetevents() with a mask that blocks a timer's signal,
 *                         which is not blocked otherwise: it must not interrupt
 *   AIO_WAIT=sigopen      io_pgetevents() with a mask that does not block a timer's
 *                         signal, which is blocked otherwise: it must interrupt, and
 *                         its handler must run in the call and nowhere else
 *
 * The system calls are made here, not by libaio, which does some of the work in
 * user space.
 *
 * Counters are kept in a file, AIO_WAIT_REPORT, of one page that all processes of
 * the program share, so that they survive however the program ends. aio-wait-report
 * prints them.
 *
 * What must not be ends the program with a message and a failure.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <libaio.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "aio-wait.h"

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id	_sigev_un._tid
#endif

#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))

#define RESFD_FLAG	1		/* IOCB_FLAG_RESFD */
#define TIMER_SIGNAL	(SIGRTMIN + 5)
#define TIMER_NS	2000000
/* Not a time that is measured: a wake-up that has not come by then is lost. */
#define LOST_MS		120000

enum mode { COUNT, EVENTFD, SIGBLOCKED, SIGOPEN };

static const char * const modes[] = {
	[COUNT] = "count",
	[EVENTFD] = "eventfd",
	[SIGBLOCKED] = "sigblocked",
	[SIGOPEN] = "sigopen",
};

static enum mode mode;
static struct counters *counters;

/* The contexts of this process, each with its eventfd. */
struct context {
	io_context_t id;
	int fd;
	__u64 submitted;
	__u64 signalled;
};

static struct context contexts[256];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static __thread bool have_timer;
static __thread volatile sig_atomic_t in_call;

static void add(__u64 *counter, __u64 n)
{
	__atomic_add_fetch(counter, n, __ATOMIC_RELAXED);
}

static void fail(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fprintf(stderr, "aio-wait: ");
	vfprintf(stderr, format, args);
	fprintf(stderr, "\n");
	va_end(args);
	if (counters)
		add(&counters->failures, 1);
	_exit(99);
}

static void handler(int signo)
{
	add(&counters->signals, 1);
	if (mode != SIGOPEN)
		return;
	if (in_call)
		add(&counters->signals_in_call, 1);
	else
		add(&counters->failures, 1);
}

__attribute__((constructor))
static void start(void)
{
	const char *name = getenv("AIO_WAIT");
	const char *report = getenv("AIO_WAIT_REPORT");
	struct sigaction action = { .sa_handler = handler, .sa_flags = SA_RESTART };
	unsigned int i;
	int fd;

	if (!name || !report)
		fail("AIO_WAIT and AIO_WAIT_REPORT are wanted");
	for (i = 0; i < ARRAY_SIZE(modes); i++)
		if (!strcmp(name, modes[i]))
			break;
	if (i == ARRAY_SIZE(modes))
		fail("no such mode: %s", name);
	mode = i;

	fd = open(report, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	if (fd < 0 || ftruncate(fd, sizeof(*counters)))
		fail("%s: %m", report);
	counters = mmap(NULL, sizeof(*counters), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (counters == MAP_FAILED) {
		counters = NULL;
		fail("%s: %m", report);
	}
	close(fd);
	if (mode == SIGBLOCKED || mode == SIGOPEN)
		sigaction(TIMER_SIGNAL, &action, NULL);
}

/* A timer whose signals go to this thread, which is the one that waits. */
static void start_timer(void)
{
	struct sigevent event = {
		.sigev_notify = SIGEV_THREAD_ID,
		.sigev_signo = TIMER_SIGNAL,
	};
	struct itimerspec period = {
		.it_interval.tv_nsec = TIMER_NS,
		.it_value.tv_nsec = TIMER_NS,
	};
	sigset_t set;
	timer_t timer;

	if (have_timer)
		return;
	have_timer = true;
	sigemptyset(&set);
	sigaddset(&set, TIMER_SIGNAL);
	pthread_sigmask(mode == SIGOPEN ? SIG_BLOCK : SIG_UNBLOCK, &set, NULL);
	event.sigev_notify_thread_id = syscall(SYS_gettid);
	if (timer_create(CLOCK_MONOTONIC, &event, &timer) ||
	    timer_settime(timer, 0, &period, NULL))
		fail("timer: %m");
}

static struct context *find(io_context_t id)
{
	struct context *c, *found = NULL;

	pthread_mutex_lock(&lock);
	for (c = contexts; c < contexts + ARRAY_SIZE(contexts); c++)
		if (c->id == id)
			found = c;
	pthread_mutex_unlock(&lock);
	if (!found)
		fail("a context that io_setup() has not made: %p", (void *)id);
	return found;
}

int io_setup(int nr, io_context_t *id)
{
	struct context *c;
	int i, fd = -1;

	if (syscall(SYS_io_setup, nr, id))
		return -errno;
	add(&counters->contexts, 1);
	if (mode == EVENTFD) {
		fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
		if (fd < 0)
			fail("eventfd: %m");
	}
	pthread_mutex_lock(&lock);
	for (i = 0, c = contexts; c->id; c++)
		if (++i == ARRAY_SIZE(contexts))
			fail("too many contexts");
	memset(c, 0, sizeof(*c));
	c->fd = fd;
	c->id = *id;
	pthread_mutex_unlock(&lock);
	return 0;
}

int io_queue_init(int nr, io_context_t *id)
{
	*id = NULL;
	return io_setup(nr, id);
}

static void take_signals(struct context *c)
{
	__u64 n;

	if (read(c->fd, &n, sizeof(n)) == sizeof(n)) {
		__atomic_add_fetch(&c->signalled, n, __ATOMIC_RELAXED);
		add(&counters->signalled, n);
	}
}

int io_destroy(io_context_t id)
{
	struct context *c = find(id);

	if (syscall(SYS_io_destroy, id))
		return -errno;
	if (c->fd >= 0) {
		/* Nothing is in flight any more: each request has signalled once. */
		take_signals(c);
		if (c->signalled != c->submitted)
			fail("%llu requests, %llu signals of the eventfd",
			     (unsigned long long)c->submitted, (unsigned long long)c->signalled);
		add(&counters->balanced, 1);
		close(c->fd);
	}
	pthread_mutex_lock(&lock);
	c->id = NULL;
	pthread_mutex_unlock(&lock);
	return 0;
}

int io_queue_release(io_context_t id)
{
	return io_destroy(id);
}

int io_submit(io_context_t id, long nr, struct iocb *iocbs[])
{
	struct context *c = find(id);
	long i, n;

	if (c->fd >= 0) {
		for (i = 0; i < nr; i++) {
			iocbs[i]->u.c.flags |= RESFD_FLAG;
			iocbs[i]->u.c.resfd = c->fd;
		}
	} else {
		for (i = 0; i < nr; i++)
			if (iocbs[i]->u.c.flags & RESFD_FLAG)
				add(&counters->own_eventfd, 1);
	}
	n = syscall(SYS_io_submit, id, nr, iocbs);
	if (n < 0)
		return -errno;
	__atomic_add_fetch(&c->submitted, n, __ATOMIC_RELAXED);
	add(&counters->submitted, n);
	return n;
}

static __s64 now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (__s64)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int collect(io_context_t id, long min, long nr, struct io_event *events,
		   struct timespec *timeout)
{
	int n = syscall(SYS_io_getevents, id, min, nr, events, timeout);

	return n < 0 ? -errno : n;
}

/* Wait on the eventfd, and collect what is there. */
static int wait_eventfd(struct context *c, long min, long nr, struct io_event *events,
			struct timespec *timeout)
{
	__s64 end = 0, left = LOST_MS;
	struct timespec none = { 0 };
	struct pollfd fd = { .fd = c->fd, .events = POLLIN };
	long got = 0;
	int n;

	if (timeout)
		end = now_ms() + timeout->tv_sec * 1000 + timeout->tv_nsec / 1000000;
	for (;;) {
		n = collect(c->id, 0, nr - got, events + got, &none);
		if (n < 0)
			return got ? got : n;
		got += n;
		if (got >= min || got == nr)
			return got;
		if (timeout) {
			left = end - now_ms();
			if (left <= 0)
				return got;
		}
		n = poll(&fd, 1, left);
		if (n < 0 && errno != EINTR)
			fail("poll: %m");
		if (n == 0 && !timeout)
			fail("the eventfd does not tell of any of %llu requests in flight",
			     (unsigned long long)(c->submitted - c->signalled));
		if (n == 1) {
			add(&counters->waits, 1);
			take_signals(c);
		}
	}
}

/* The kernel's own struct of the sixth argument. */
struct mask {
	const sigset_t *set;
	size_t size;
};

static int wait_signals(io_context_t id, long min, long nr, struct io_event *events,
			struct timespec *timeout)
{
	struct mask mask;
	sigset_t set;
	int n;

	start_timer();
	pthread_sigmask(SIG_SETMASK, NULL, &set);
	if (mode == SIGOPEN)
		sigdelset(&set, TIMER_SIGNAL);
	else
		sigaddset(&set, TIMER_SIGNAL);
	mask.set = &set;
	mask.size = _NSIG / 8;
	in_call = 1;
	n = syscall(SYS_io_pgetevents, id, min, nr, events, timeout, &mask);
	if (n < 0)
		n = -errno;
	in_call = 0;
	add(&counters->waits, 1);
	if (n == -EINTR) {
		add(&counters->interrupted, 1);
		if (mode == SIGBLOCKED)
			fail("io_pgetevents() was interrupted by a signal that its mask blocks");
	}
	return n;
}

int io_getevents(io_context_t id, long min, long nr, struct io_event *events,
		 struct timespec *timeout)
{
	struct context *c = find(id);
	int n;

	switch (mode) {
	case EVENTFD:
		n = wait_eventfd(c, min, nr, events, timeout);
		break;
	case SIGBLOCKED:
		n = wait_signals(id, min, nr, events, timeout);
		break;
	case SIGOPEN:
		/* A program that knows nothing of the signal is not to see it. */
		do {
			n = wait_signals(id, min, nr, events, timeout);
		} while (n == -EINTR);
		break;
	default:
		n = collect(id, min, nr, events, timeout);
		add(&counters->waits, 1);
	}
	if (n > 0)
		add(&counters->collected, n);
	return n;
}
