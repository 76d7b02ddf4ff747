// SPDX-License-Identifier: GPL-2.0
/*
 * io_pgetevents().
 *
 * Held here: the errors of the signal mask and their order, that the mask is in
 * force while the call lasts and the old one comes back however it ends, that
 * an event that is there beats a signal that is pending and the handler still
 * runs, with the mask of the call, that EINTR is told when there is nothing, and
 * that without a handler the call goes on, and its time begins anew.
 */
#include <sys/wait.h>
#include "../kselftest_harness.h"
#include "aio_test.h"

#define NR		16
/* sizeof(sigset_t) in the kernel */
#define SET_SIZE	(64 / 8)

/* For 32-bit programs there are two calls, which differ in the timeout's form. */
static long call_nr = __NR_io_pgetevents;

static long pgetevents(aio_context_t ctx, long min_nr, long nr,
		       struct io_event *events, struct timespec *ts,
		       const struct aio_sigset *sig)
{
	uintptr_t page = (uintptr_t)ts & ~((uintptr_t)getpagesize() - 1);
	struct { __s64 sec, nsec; } ts64;
	void *timeout = ts;

	/* What cannot be read is passed on as it is. */
	if (call_nr != __NR_io_pgetevents && ts &&
	    !msync((void *)page, 1, MS_ASYNC)) {
		ts64.sec = ts->tv_sec;
		ts64.nsec = ts->tv_nsec;
		timeout = &ts64;
	}
	return aio_recorded(AIO_CALL_PGETEVENTS,
			    aio_result(syscall(call_nr, ctx, min_nr, nr, events, timeout, sig)),
			    min_nr, nr);
}

static volatile sig_atomic_t usr1_count, usr2_count;

static void handler(int sig)
{
	if (sig == SIGUSR1)
		usr1_count++;
	else
		usr2_count++;
}

FIXTURE(pget) {
	aio_context_t ctx;
	int null_fd;
	struct iocb iocb;
	struct io_event got[NR];
	sigset_t none;
	sigset_t usr1;
	sigset_t usr2;
	sigset_t before;
};

FIXTURE_VARIANT(pget) {
	int sa_flags;
	long call_nr;
};

FIXTURE_VARIANT_ADD(pget, plain) { .sa_flags = 0 };
FIXTURE_VARIANT_ADD(pget, restart) { .sa_flags = SA_RESTART };
#ifdef __NR_io_pgetevents_time64
FIXTURE_VARIANT_ADD(pget, time64) { .call_nr = __NR_io_pgetevents_time64 };
#endif

FIXTURE_SETUP(pget)
{
	struct sigaction sa = {
		.sa_handler = handler, .sa_flags = variant->sa_flags,
	};

	if (variant->call_nr)
		call_nr = variant->call_nr;
	ASSERT_EQ(0, io_setup(NR, &self->ctx));
	self->null_fd = open("/dev/null", O_WRONLY);
	aio_prep(&self->iocb, IOCB_CMD_PWRITE, self->null_fd, "x", 1, 0);
	ASSERT_EQ(0, sigaction(SIGUSR1, &sa, NULL));
	ASSERT_EQ(0, sigaction(SIGUSR2, &sa, NULL));
	sigemptyset(&self->none);
	sigemptyset(&self->usr1);
	sigaddset(&self->usr1, SIGUSR1);
	sigemptyset(&self->usr2);
	sigaddset(&self->usr2, SIGUSR2);
	/* SIGUSR1 is blocked outside of the calls. */
	ASSERT_EQ(0, sigprocmask(SIG_SETMASK, &self->usr1, NULL));
	ASSERT_EQ(0, sigprocmask(SIG_SETMASK, NULL, &self->before));
}

FIXTURE_TEARDOWN(pget)
{
	EXPECT_EQ(0, aio_drain(self->ctx));
}

#define make(n)	do {							\
	int __n;							\
									\
	for (__n = 0; __n < (n); __n++)					\
		ASSERT_EQ(1, aio_submit_one(self->ctx, &self->iocb));	\
} while (0)

#define SET(set)	(&(struct aio_sigset){ (set), SET_SIZE })
#define MS(ms)		(&(struct timespec){ (ms) / 1000,		\
					     (ms) % 1000 * 1000000L })

/* The mask is what it was before the call. */
#define EXPECT_MASK_IS_BACK() do {					\
	sigset_t __now;							\
									\
	EXPECT_EQ(0, sigprocmask(SIG_SETMASK, NULL, &__now));		\
	EXPECT_EQ(0, memcmp(&__now, &self->before, SET_SIZE));		\
} while (0)

static bool is_pending(int sig)
{
	sigset_t set;

	sigpending(&set);
	return sigismember(&set, sig);
}

/* ------------------------------------------------------ arguments */

TEST_F(pget, without_mask)
{
	struct aio_sigset null = { NULL, 12345 };

	EXPECT_EQ(0, pgetevents(self->ctx, 1, 1, self->got, MS(1), NULL));
	EXPECT_EQ(0, pgetevents(self->ctx, 1, 1, self->got, MS(0), &null));
	EXPECT_EQ(0, pgetevents(self->ctx, 0, 0, NULL, NULL, NULL));
	make(3);
	EXPECT_EQ(2, pgetevents(self->ctx, 1, 2, self->got, NULL, NULL));
	EXPECT_EVENT(&self->got[0], &self->iocb, 1);
	EXPECT_EQ(1, pgetevents(self->ctx, 1, 2, self->got, NULL, &null));
	EXPECT_EQ(-EINVAL, pgetevents(self->ctx, 2, 1, self->got, NULL,
				      NULL));
	EXPECT_EQ(-EINVAL, pgetevents(self->ctx, -1, 1, self->got, NULL,
				      NULL));
	EXPECT_EQ(-EINVAL, pgetevents(0, 0, 1, self->got, MS(0), NULL));
}

/* The timeout, the structure, the size, the mask, then context and numbers. */
TEST_F(pget, bad_mask)
{
	size_t size[] = { 0, 1, 4, SET_SIZE - 1, SET_SIZE + 1, 16, 128, -1 };
	struct aio_sigset *edge = aio_guarded(sizeof(*edge) - 1);
	struct aio_sigset set;
	size_t i;

	make(1);
	for (i = 0; i < ARRAY_SIZE(size); i++) {
		set = (struct aio_sigset){ &self->none, size[i] };
		EXPECT_EQ(-EINVAL, pgetevents(self->ctx, 1, 1, self->got,
					      NULL, &set));
		set.sigmask = aio_unmapped();
		EXPECT_EQ(-EINVAL, pgetevents(self->ctx, 1, 1, self->got,
					      NULL, &set));
		set.sigmask = NULL;
		EXPECT_EQ(0, pgetevents(self->ctx, 0, 0, self->got, NULL,
					&set));
		EXPECT_MASK_IS_BACK();
	}
	set = (struct aio_sigset){ aio_unmapped(), SET_SIZE };
	EXPECT_EQ(-EFAULT, pgetevents(self->ctx, 1, 1, self->got, NULL,
				      &set));
	EXPECT_EQ(-EFAULT, pgetevents(0, 2, 1, self->got, NULL, &set));
	EXPECT_EQ(-EFAULT, pgetevents(self->ctx, 1, 1, self->got, NULL,
				      aio_unmapped()));
	EXPECT_EQ(-EFAULT, pgetevents(0, 2, 1, self->got, NULL, edge));
	set = (struct aio_sigset){ &self->none, 3 };
	EXPECT_EQ(-EFAULT, pgetevents(self->ctx, 1, 1, self->got,
				      aio_unmapped(), &set));
	EXPECT_EQ(-EFAULT, pgetevents(0, 2, 1, NULL, aio_unmapped(), NULL));
	EXPECT_MASK_IS_BACK();
	EXPECT_EQ(1, aio_reap(self->ctx, self->got, NR));
}

/* As those of io_getevents(). */
TEST_F(pget, numbers_and_memory)
{
	EXPECT_EQ(-EINVAL, pgetevents(self->ctx, -1, 1, self->got, MS(0), NULL));
	EXPECT_EQ(-EINVAL, pgetevents(self->ctx, 0, -1, self->got, MS(0), NULL));
	EXPECT_EQ(-EINVAL, pgetevents(self->ctx, -2, -1, self->got, MS(0), NULL));
	EXPECT_EQ(-EINVAL, pgetevents(self->ctx, LONG_MIN, LONG_MAX, self->got, MS(0), NULL));
	EXPECT_EQ(0, pgetevents(self->ctx, LONG_MAX, LONG_MAX, self->got, MS(0), NULL));
	EXPECT_EQ(-EFAULT, pgetevents(self->ctx, 1, 1, self->got, aio_unmapped(), NULL));
	EXPECT_EQ(-EFAULT, pgetevents(0, 1, 1, self->got, aio_unmapped(), NULL));
	/* Only what is needed of the array has to be there. */
	EXPECT_EQ(0, pgetevents(self->ctx, 0, 2, aio_unmapped(), MS(0), NULL));
	make(1);
	EXPECT_EQ(-EFAULT, pgetevents(self->ctx, 1, 1, aio_unmapped(), NULL, NULL));
	EXPECT_EQ(1, pgetevents(self->ctx, 1, LONG_MAX, aio_guarded(AIO_EVENT_SIZE), NULL, NULL));
	/* The sum is negative: for ever. There is something, so nobody waits. */
	make(1);
	EXPECT_EQ(1, pgetevents(self->ctx, 1, 1, self->got, &(struct timespec){ 0, -1 }, NULL));
}

/* Each event once, in order, fewer than are waited for when the time is over. */
TEST_F(pget, taken_in_order)
{
	struct iocb iocb[8];
	long long start;
	int i;

	for (i = 0; i < 8; i++) {
		iocb[i] = self->iocb;
		iocb[i].aio_data = i;
		ASSERT_EQ(1, aio_submit_one(self->ctx, &iocb[i]));
	}
	EXPECT_EQ(3, pgetevents(self->ctx, 1, 3, self->got, NULL, SET(&self->none)));
	EXPECT_EQ(2, pgetevents(self->ctx, 2, 2, self->got + 3, NULL, NULL));
	start = aio_now_ns();
	EXPECT_EQ(3, pgetevents(self->ctx, 4, NR - 5, self->got + 5, MS(20),
				SET(&self->usr2)));
	EXPECT_LE(20000000, aio_now_ns() - start);
	for (i = 0; i < 8; i++) {
		EXPECT_EQ(i, self->got[i].data);
		EXPECT_EQ((uintptr_t)&iocb[i], self->got[i].obj);
		EXPECT_EQ(1, self->got[i].res);
	}
	EXPECT_EQ(0, pgetevents(self->ctx, 1, 1, self->got, MS(1), NULL));
	/* They have made room: as many fit as before. */
	for (i = 0; i < 4 * NR; i++) {
		make(1);
		ASSERT_EQ(1, pgetevents(self->ctx, 1, 1, self->got, NULL,
					SET(&self->none)));
	}
}

/* However the call ends, the mask is back. */
TEST_F(pget, mask_comes_back)
{
	sigset_t all;

	sigfillset(&all);
	EXPECT_EQ(0, pgetevents(self->ctx, 1, 1, self->got, MS(0),
				SET(&all)));
	EXPECT_MASK_IS_BACK();
	EXPECT_EQ(0, pgetevents(self->ctx, 1, 1, self->got, MS(5),
				SET(&self->none)));
	EXPECT_MASK_IS_BACK();
	EXPECT_EQ(-EINVAL, pgetevents(self->ctx, 2, 1, self->got, NULL,
				      SET(&self->usr2)));
	EXPECT_MASK_IS_BACK();
	EXPECT_EQ(-EINVAL, pgetevents(0, 1, 1, self->got, NULL,
				      SET(&all)));
	EXPECT_MASK_IS_BACK();
	make(2);
	EXPECT_EQ(-EFAULT, pgetevents(self->ctx, 1, 1, NULL, NULL,
				      SET(&all)));
	EXPECT_MASK_IS_BACK();
	EXPECT_EQ(2, pgetevents(self->ctx, 1, 2, self->got, NULL,
				SET(&all)));
	EXPECT_MASK_IS_BACK();
	EXPECT_EQ(0, usr1_count + usr2_count);
}

/* ------------------------------------------------------ signals */

/* A pending signal that the mask lets through, and no event. */
TEST_F(pget, pending_signal)
{
	struct timespec *timeout[] = { NULL, MS(3600000), MS(0) };
	size_t i;

	for (i = 0; i < ARRAY_SIZE(timeout); i++) {
		usr1_count = 0;
		raise(SIGUSR1);
		ASSERT_EQ(0, usr1_count);
		EXPECT_EQ(-EINTR, pgetevents(self->ctx, 1, 1, self->got,
					     timeout[i],
					     SET(&self->none)));
		/* The handler has run before the call returned. */
		EXPECT_EQ(1, usr1_count);
		EXPECT_FALSE(is_pending(SIGUSR1));
		EXPECT_MASK_IS_BACK();
	}
	/* Even if nothing was asked for. */
	raise(SIGUSR1);
	EXPECT_EQ(-EINTR, pgetevents(self->ctx, 0, 0, NULL, NULL,
				     SET(&self->none)));
	EXPECT_EQ(2, usr1_count);
	/* But not when the mask keeps it out. */
	raise(SIGUSR1);
	EXPECT_EQ(0, pgetevents(self->ctx, 1, 1, self->got, MS(5),
				SET(&self->usr1)));
	EXPECT_EQ(0, pgetevents(self->ctx, 1, 1, self->got, MS(5), NULL));
	EXPECT_EQ(2, usr1_count);
	EXPECT_TRUE(is_pending(SIGUSR1));
	EXPECT_MASK_IS_BACK();
}

static sigset_t mask_in_handler;

static void look_at_the_mask(int sig)
{
	sigprocmask(SIG_SETMASK, NULL, &mask_in_handler);
}

/* The handler runs with the mask of the call, and what its own signal adds. */
TEST_F(pget, handler_has_the_mask)
{
	struct sigaction sa = { .sa_handler = look_at_the_mask };

	ASSERT_EQ(0, sigaction(SIGUSR1, &sa, NULL));
	raise(SIGUSR1);
	EXPECT_EQ(-EINTR, pgetevents(self->ctx, 1, 1, self->got, NULL,
				     SET(&self->usr2)));
	EXPECT_EQ(1, sigismember(&mask_in_handler, SIGUSR1));
	EXPECT_EQ(1, sigismember(&mask_in_handler, SIGUSR2));
	EXPECT_MASK_IS_BACK();
	/* SIGUSR2 is not blocked outside of the call, so that was its mask. */
	sa.sa_flags = SA_NODEFER;
	ASSERT_EQ(0, sigaction(SIGUSR1, &sa, NULL));
	raise(SIGUSR1);
	EXPECT_EQ(-EINTR, pgetevents(self->ctx, 1, 1, self->got, NULL,
				     SET(&self->none)));
	/* SIGUSR1 is, and was not within. */
	EXPECT_EQ(0, sigismember(&mask_in_handler, SIGUSR1));
	EXPECT_EQ(0, sigismember(&mask_in_handler, SIGUSR2));
	EXPECT_MASK_IS_BACK();
}

/* An event that is there is taken; the handler runs all the same. */
TEST_F(pget, event_beats_signal)
{
	make(3);
	raise(SIGUSR1);
	EXPECT_EQ(1, pgetevents(self->ctx, 1, 1, self->got, NULL,
				SET(&self->none)));
	EXPECT_EQ(1, usr1_count);
	EXPECT_MASK_IS_BACK();
	/* Fewer than were waited for: their number. */
	raise(SIGUSR1);
	EXPECT_EQ(2, pgetevents(self->ctx, 5, NR, self->got, NULL,
				SET(&self->none)));
	EXPECT_EQ(2, usr1_count);
	EXPECT_MASK_IS_BACK();
	/* Errors, too, are told as they are. */
	raise(SIGUSR1);
	EXPECT_EQ(-EINVAL, pgetevents(self->ctx, 2, 1, self->got, NULL,
				      SET(&self->none)));
	EXPECT_EQ(3, usr1_count);
	make(1);
	raise(SIGUSR1);
	EXPECT_EQ(-EFAULT, pgetevents(self->ctx, 1, 1, NULL, NULL,
				      SET(&self->none)));
	EXPECT_EQ(4, usr1_count);
	EXPECT_MASK_IS_BACK();
	EXPECT_EQ(1, aio_reap(self->ctx, self->got, NR));
}

struct pwaiter {
	struct aio_caller c;
	sigset_t *mask;
};

static void *pgetevents_thread(void *arg)
{
	struct pwaiter *w = arg;

	w->c.tid = aio_gettid();
	w->c.ret = pgetevents(w->c.ctx, w->c.min_nr, w->c.nr, w->c.events,
			      w->c.timeout, SET(w->mask));
	w->c.done = true;
	return NULL;
}

static bool start_pwaiter(struct pwaiter *w)
{
	w->c.tid = 0;
	w->c.done = false;
	return !pthread_create(&w->c.thread, NULL, pgetevents_thread, w) &&
		aio_wait_blocked(&w->c.tid, call_nr);
}

/* A signal that comes while the call waits. */
TEST_F(pget, signal_while_waiting)
{
	struct pwaiter w = {
		.c = { .ctx = self->ctx, .min_nr = 3, .nr = NR,
		       .events = self->got },
		.mask = &self->none,
	};

	ASSERT_TRUE(start_pwaiter(&w));
	pthread_kill(w.c.thread, SIGUSR1);
	EXPECT_EQ(-EINTR, aio_join(&w.c));
	EXPECT_EQ(1, usr1_count);
	make(2);
	ASSERT_TRUE(start_pwaiter(&w));
	pthread_kill(w.c.thread, SIGUSR1);
	EXPECT_EQ(2, aio_join(&w.c));
	EXPECT_EQ(2, usr1_count);
}

/* One that is only blocked while the call lasts is delivered at its end. */
TEST_F(pget, signal_kept_out)
{
	struct pwaiter w = {
		.c = { .ctx = self->ctx, .min_nr = 1, .nr = NR,
		       .events = self->got },
		.mask = &self->usr2,
	};

	ASSERT_TRUE(start_pwaiter(&w));
	pthread_kill(w.c.thread, SIGUSR2);
	aio_sleep_ms(50);
	EXPECT_FALSE(w.c.done);
	EXPECT_EQ(0, usr2_count);
	make(1);
	EXPECT_EQ(1, aio_join(&w.c));
	EXPECT_EQ(1, usr2_count);
}

/* Of two signals only the one is let through. */
TEST_F(pget, one_of_two_signals)
{
	raise(SIGUSR1);
	ASSERT_EQ(0, sigprocmask(SIG_BLOCK, &self->usr2, NULL));
	ASSERT_EQ(0, sigprocmask(SIG_SETMASK, NULL, &self->before));
	raise(SIGUSR2);
	EXPECT_EQ(-EINTR, pgetevents(self->ctx, 1, 1, self->got, NULL,
				     SET(&self->usr1)));
	EXPECT_EQ(0, usr1_count);
	EXPECT_EQ(1, usr2_count);
	EXPECT_TRUE(is_pending(SIGUSR1));
	EXPECT_MASK_IS_BACK();
}

/* SIGKILL cannot be kept out. */
TEST_F(pget, kill)
{
	int status = -1, i;
	pid_t pid = fork();

	if (!pid) {
		aio_context_t ctx = 0;
		sigset_t all;

		sigfillset(&all);
		if (io_setup(1, &ctx))
			_exit(1);
		pgetevents(ctx, 1, 1, self->got, NULL, SET(&all));
		_exit(2);
	}
	for (i = 0; i < 20000; i++) {
		if (aio_is_blocked(pid, pid, call_nr))
			break;
		aio_sleep_ms(1);
	}
	ASSERT_EQ(0, kill(pid, SIGKILL));
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(SIGKILL, status);
}

/*
 * Being stopped and continued is no reason to return, other than with
 * io_getevents(): there is no handler, so the call starts again.
 */
static void *submit_when_told(void *arg)
{
	int *fd = arg;
	struct iocb iocb;
	char c;

	aio_prep(&iocb, IOCB_CMD_PWRITE, fd[1], "x", 1, 0);
	if (read(fd[0], &c, 1) == 1)
		aio_submit_one(*(aio_context_t *)(fd + 2), &iocb);
	pause();
	return NULL;
}

TEST_F(pget, stopped)
{
	int told[2], status = -1, i;
	struct { int fd[2]; aio_context_t ctx; } arg;
	pid_t pid;

	ASSERT_EQ(0, pipe(told));
	pid = fork();
	if (!pid) {
		pthread_t thread;

		arg.fd[0] = told[0];
		arg.fd[1] = self->null_fd;
		arg.ctx = 0;
		if (io_setup(1, &arg.ctx) ||
		    pthread_create(&thread, NULL, submit_when_told, &arg))
			_exit(1);
		_exit(pgetevents(arg.ctx, 1, 1, self->got, NULL,
				 SET(&self->none)) != 1);
	}
	for (i = 0; i < 20000; i++) {
		if (aio_is_blocked(pid, pid, call_nr))
			break;
		aio_sleep_ms(1);
	}
	ASSERT_EQ(0, kill(pid, SIGSTOP));
	ASSERT_EQ(pid, waitpid(pid, &status, WUNTRACED));
	ASSERT_TRUE(WIFSTOPPED(status));
	ASSERT_EQ(0, kill(pid, SIGCONT));
	aio_sleep_ms(50);
	EXPECT_EQ(0, waitpid(pid, &status, WNOHANG));
	ASSERT_EQ(1, write(told[1], "x", 1));
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
}

/* A call that starts again waits as long again. */
TEST_F(pget, time_begins_anew)
{
	const long long wait = 1500000000;
	long long begun = aio_now_ns(), start;
	int status = -1, i;
	pid_t pid;

	pid = fork();
	if (!pid) {
		aio_context_t ctx = 0;

		if (io_setup(1, &ctx))
			_exit(1);
		_exit(pgetevents(ctx, 1, 1, self->got, MS(1500), SET(&self->none)));
	}
	for (i = 0; i < 20000 && !aio_is_blocked(pid, pid, call_nr); i++)
		aio_sleep_ms(1);
	aio_sleep_ms(300);
	ASSERT_EQ(0, kill(pid, SIGSTOP));
	ASSERT_EQ(pid, waitpid(pid, &status, WUNTRACED));
	/* On a slow machine it may be over already. */
	if (WIFSTOPPED(status)) {
		start = aio_now_ns();
		ASSERT_EQ(0, kill(pid, SIGCONT));
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		if (start - begun < wait)
			EXPECT_LE(wait, aio_now_ns() - start);
	}
	EXPECT_EQ(0, status);
}

TEST_F(pget, destroy_wakes)
{
	struct pwaiter w = {
		.c = { .min_nr = 1, .nr = NR, .events = self->got },
		.mask = &self->none,
	};

	ASSERT_EQ(0, io_setup(1, &w.c.ctx));
	ASSERT_TRUE(start_pwaiter(&w));
	EXPECT_EQ(0, io_destroy(w.c.ctx));
	EXPECT_EQ(-EINVAL, aio_join(&w.c));
}

#ifdef __NR_io_pgetevents_time64
/* Times that do not fit into 32 bits. */
TEST(long_timeouts)
{
	struct time64 { __s64 sec, nsec; };
	struct { struct time64 ts; bool ends; } c[] = {
		/* The upper half of the nanoseconds is not looked at. */
		{ { 0, 1000000 }, true },
		{ { 0, (0x7fffffffLL << 32) + 1000000 }, true },
		{ { 0, (-1LL << 32) + 1000000 }, true },
		/* That of the seconds is. */
		{ { 1LL << 32, 0 }, false },
		{ { 1LL << 33, 5 }, false },
		{ { LLONG_MAX, 999999999 }, false },
		{ { -1, 0 }, false },
	};
	struct time64 *edge = aio_guarded(sizeof(*edge) / 2);
	int null_fd = open("/dev/null", O_WRONLY), status;
	struct io_event event;
	aio_context_t ctx = 0;
	struct iocb iocb;
	size_t i;

	call_nr = __NR_io_pgetevents_time64;
	ASSERT_EQ(0, io_setup(1, &ctx));
	EXPECT_EQ(-EFAULT, aio_result(syscall(call_nr, ctx, 0, 1, &event, edge,
					      NULL)));
	/* For the other one it is long enough. */
	*(struct timespec *)edge = (struct timespec){ 0, 0 };
	EXPECT_EQ(0, aio_result(syscall(__NR_io_pgetevents, ctx, 0, 1, &event,
					edge, NULL)));
	aio_prep(&iocb, IOCB_CMD_PWRITE, null_fd, "x", 1, 0);
	for (i = 0; i < ARRAY_SIZE(c); i++) {
		pid_t pid = fork();

		ASSERT_LE(0, pid);
		if (!pid) {
			ctx = 0;
			if (io_setup(1, &ctx))
				_exit(1);
			_exit(!!syscall(call_nr, ctx, 1, 1, &event, &c[i].ts,
					NULL));
		}
		if (!c[i].ends) {
			int n;

			for (n = 0; n < 20000; n++) {
				if (aio_is_blocked(pid, pid, call_nr))
					break;
				aio_sleep_ms(1);
			}
			aio_sleep_ms(20);
			EXPECT_EQ(0, waitpid(pid, &status, WNOHANG))
				TH_LOG("timeout number %zu", i);
			kill(pid, SIGKILL);
		}
		EXPECT_EQ(pid, waitpid(pid, &status, 0));
		EXPECT_EQ(c[i].ends ? 0 : SIGKILL, status)
			TH_LOG("timeout number %zu", i);
	}
	EXPECT_EQ(1, aio_run(ctx, &iocb, &event));
}
#endif

TEST_HARNESS_MAIN
