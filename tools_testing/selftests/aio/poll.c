// SPDX-License-Identifier: GPL-2.0
/*
 * IOCB_CMD_POLL.
 *
 * Held here: the fields that have to be zero; a file that is ready completes in
 * io_submit(), with what poll() says; one that is not completes once, when it
 * gets ready, whether the wake-up tells what happened or not, in interrupt
 * context too; wake-ups for something else do not complete it; files with more
 * than one wait queue are refused unless they are ready; result eventfds may
 * form loops; a wait queue that goes away completes the request; and pending
 * requests hinder neither io_destroy() nor the end of the process.
 */
#include <linux/userfaultfd.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include "../kselftest_harness.h"
#include "aio_test.h"

#define NR	64

FIXTURE(poll) {
	aio_context_t ctx;
	int pipe[2];
	struct iocb iocb;
	struct io_event event;
};

static void prep_poll(struct iocb *iocb, int fd, unsigned int events)
{
	aio_prep(iocb, IOCB_CMD_POLL, fd, (void *)(uintptr_t)events, 0, 0);
}

FIXTURE_SETUP(poll)
{
	ASSERT_EQ(0, io_setup(NR, &self->ctx));
	ASSERT_EQ(0, pipe(self->pipe));
	prep_poll(&self->iocb, self->pipe[0], POLLIN);
}

FIXTURE_TEARDOWN(poll)
{
	EXPECT_EQ(0, aio_drain(self->ctx));
}

/* The request waits: no event yet, also not a little later. */
#define EXPECT_PENDING(iocb) do {					\
	EXPECT_EQ(1, aio_submit_one(self->ctx, iocb));			\
	EXPECT_EQ(0, aio_drain(self->ctx));				\
} while (0)

#define EXPECT_NO_EVENT() do {						\
	aio_sleep_ms(20);						\
	EXPECT_EQ(0, aio_drain(self->ctx));				\
} while (0)

/* Its one event comes, and has all of @must and none but @may. */
#define EXPECT_COMPLETION(iocb, must, may) do {				\
	ASSERT_EQ(1, io_getevents(self->ctx, 1, 1, &self->event, NULL));\
	EXPECT_EQ((uintptr_t)(iocb), self->event.obj);			\
	EXPECT_EQ((iocb)->aio_data, self->event.data);			\
	EXPECT_EQ(0, self->event.res2);					\
	EXPECT_EQ((must), self->event.res & (must));			\
	EXPECT_EQ(0, self->event.res & ~((must) | (may)));		\
	EXPECT_EQ(0, aio_drain(self->ctx));				\
} while (0)

/* ------------------------------------------------------ arguments */

TEST_F(poll, arguments)
{
	__u64 bad_events[] = {
		0x10000, 0x10001, 1ULL << 31, 1ULL << 32, 1ULL << 63, ~0ULL,
	};
	struct iocb *cb = &self->iocb, good = *cb;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(bad_events); i++) {
		cb->aio_buf = bad_events[i];
		EXPECT_REFUSED(self->ctx, cb, -EINVAL);
	}
	*cb = good;
	cb->aio_offset = 1;
	EXPECT_REFUSED(self->ctx, cb, -EINVAL);
	cb->aio_offset = -1;
	EXPECT_REFUSED(self->ctx, cb, -EINVAL);
	*cb = good;
	cb->aio_nbytes = 1;
	EXPECT_REFUSED(self->ctx, cb, -EINVAL);
	*cb = good;
	cb->aio_rw_flags = RWF_NOWAIT;
	EXPECT_REFUSED(self->ctx, cb, -EINVAL);
	*cb = good;
	cb->aio_reserved2 = 1;
	EXPECT_REFUSED(self->ctx, cb, -EINVAL);
	*cb = good;
	cb->aio_fildes = -1;
	EXPECT_REFUSED(self->ctx, cb, -EBADF);
	cb->aio_buf = ~0ULL;
	EXPECT_REFUSED(self->ctx, cb, -EBADF);
	*cb = good;
	cb->aio_fildes = open("/", O_PATH);
	EXPECT_REFUSED(self->ctx, cb, -EBADF);
	*cb = good;
	cb->aio_flags = IOCB_FLAG_RESFD;
	cb->aio_resfd = -1;
	EXPECT_REFUSED(self->ctx, cb, -EBADF);
	cb->aio_resfd = self->pipe[0];
	EXPECT_REFUSED(self->ctx, cb, -EINVAL);
	/* These mean nothing here. */
	*cb = good;
	cb->aio_flags = IOCB_FLAG_IOPRIO | 1U << 31;
	cb->aio_reqprio = -1;
	cb->aio_key = 5;
	EXPECT_PENDING(cb);
	EXPECT_EQ(0, cb->aio_key);
	ASSERT_EQ(1, write(self->pipe[1], "x", 1));
	EXPECT_COMPLETION(cb, POLLIN, POLLRDNORM);
}

/* ------------------------------------------------------ ready at once */

/* The event is there when io_submit() returns, and says what poll() says. */
TEST_F(poll, ready)
{
	unsigned int events[] = {
		POLLIN, POLLOUT, POLLIN | POLLOUT, POLLIN | POLLRDNORM,
		POLLOUT | POLLWRNORM, POLLRDNORM, 0xffff,
		POLLIN | POLLOUT | POLLPRI | POLLRDHUP,
	};
	int sock[2], closed[2], full[2], hup[2], p[2], fd[10];
	int efd = eventfd(3, 0);
	size_t i, k;

	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM, 0, sock));
	ASSERT_EQ(1, write(sock[1], "x", 1));
	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM, 0, closed));
	close(closed[1]);
	ASSERT_EQ(0, pipe(full));
	close(full[0]);
	ASSERT_EQ(0, pipe(hup));
	close(hup[1]);
	ASSERT_EQ(0, pipe(p));
	ASSERT_EQ(1, write(p[1], "x", 1));
	fd[0] = sock[0];
	fd[1] = closed[0];
	fd[2] = full[1];
	fd[3] = hup[0];
	fd[4] = p[0];
	fd[5] = p[1];
	fd[6] = efd;
	fd[7] = aio_mem_file();
	fd[8] = open("/dev/null", O_RDWR);
	fd[9] = open("/dev/zero", O_RDONLY);
	for (i = 0; i < ARRAY_SIZE(fd); i++) {
		for (k = 0; k < ARRAY_SIZE(events); k++) {
			struct pollfd pfd = { fd[i], events[k] };

			ASSERT_LE(0, poll(&pfd, 1, 0));
			if (!pfd.revents)
				continue;
			prep_poll(&self->iocb, fd[i], events[k]);
			ASSERT_EQ(1, aio_submit_one(self->ctx, &self->iocb));
			ASSERT_EQ(1, aio_reap(self->ctx, &self->event, 1))
				TH_LOG("file %zu, events %#x", i, events[k]);
			EXPECT_EVENT(&self->event, &self->iocb,
				     (unsigned short)pfd.revents);
		}
	}
}

/* Files that do not know poll are always ready to read and write. */
TEST_F(poll, file_without_poll)
{
	int fd[] = { aio_mem_file(), aio_disk_file(0) };
	size_t i;

	for (i = 0; i < ARRAY_SIZE(fd); i++) {
		prep_poll(&self->iocb, fd[i], POLLIN);
		EXPECT_RES(self->ctx, &self->iocb, POLLIN);
		prep_poll(&self->iocb, fd[i], POLLOUT);
		EXPECT_RES(self->ctx, &self->iocb, POLLOUT);
		prep_poll(&self->iocb, fd[i], 0xffff);
		EXPECT_RES(self->ctx, &self->iocb,
			   POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM);
		/* Anything else will never come. */
		prep_poll(&self->iocb, fd[i], POLLPRI);
		EXPECT_REFUSED(self->ctx, &self->iocb, -EINVAL);
		prep_poll(&self->iocb, fd[i], 0);
		EXPECT_REFUSED(self->ctx, &self->iocb, -EINVAL);
	}
}

/* ------------------------------------------------------ ready later */

/*
 * The wake-up of a pipe tells what happened, and that is the result, all of it;
 * it completes the request on the spot.
 */
TEST_F(poll, later_with_key)
{
	char c;
	int i;

	for (i = 0; i < 50; i++) {
		EXPECT_PENDING(&self->iocb);
		ASSERT_EQ(1, write(self->pipe[1], "x", 1));
		ASSERT_EQ(1, aio_reap(self->ctx, &self->event, 1));
		EXPECT_EVENT(&self->event, &self->iocb, POLLIN | POLLRDNORM);
		/* Once. */
		EXPECT_EQ(0, aio_drain(self->ctx));
		ASSERT_EQ(1, read(self->pipe[0], &c, 1));
	}
}

/* That of splice() tells nothing: a work item asks the file. */
TEST_F(poll, later_without_key)
{
	int fd = aio_mem_file();
	char buf[64];
	int i;

	ASSERT_EQ(64, write(fd, buf, 64));
	for (i = 0; i < 200; i++) {
		loff_t off = 0;

		EXPECT_PENDING(&self->iocb);
		ASSERT_EQ(64, splice(fd, &off, self->pipe[1], NULL, 64, 0));
		EXPECT_COMPLETION(&self->iocb, POLLIN, 0);
		ASSERT_EQ(64, read(self->pipe[0], buf, 64));
	}
}

/* A wake-up for something else leaves the request where it is. */
TEST_F(poll, other_wakeup)
{
	int fd = aio_mem_file();
	loff_t off = 0;
	char buf[64];
	int i;

	ASSERT_EQ(64, write(fd, buf, 64));
	prep_poll(&self->iocb, self->pipe[0], POLLPRI);
	EXPECT_PENDING(&self->iocb);
	ASSERT_EQ(1, write(self->pipe[1], "x", 1));
	EXPECT_NO_EVENT();
	/* Without a key it has to be looked at, and goes on waiting. */
	for (i = 0; i < 5; i++) {
		ASSERT_EQ(64, splice(fd, &off, self->pipe[1], NULL, 64, 0));
		off = 0;
		EXPECT_NO_EVENT();
	}
	close(self->pipe[1]);
	EXPECT_COMPLETION(&self->iocb, POLLHUP, 0xffff);
}

/* Errors and hang-ups are told without being asked for. */
TEST_F(poll, hangup)
{
	int p[2];

	prep_poll(&self->iocb, self->pipe[0], 0);
	EXPECT_PENDING(&self->iocb);
	close(self->pipe[1]);
	EXPECT_COMPLETION(&self->iocb, POLLHUP, 0xffff);
	ASSERT_EQ(0, pipe(p));
	prep_poll(&self->iocb, p[1], 0);
	EXPECT_PENDING(&self->iocb);
	close(p[0]);
	EXPECT_COMPLETION(&self->iocb, POLLERR, 0xffff);
}

TEST_F(poll, eventfd_and_socket)
{
	int efd = eventfd(0, 0), sock[2];
	__u64 one = 1;

	prep_poll(&self->iocb, efd, POLLIN);
	EXPECT_PENDING(&self->iocb);
	ASSERT_EQ(sizeof(one), write(efd, &one, sizeof(one)));
	EXPECT_COMPLETION(&self->iocb, POLLIN, POLLRDNORM);
	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM, 0, sock));
	prep_poll(&self->iocb, sock[0], POLLIN);
	EXPECT_PENDING(&self->iocb);
	ASSERT_EQ(1, write(sock[1], "x", 1));
	EXPECT_COMPLETION(&self->iocb, POLLIN, 0xffff);
}

/* A timer: the completion comes in interrupt context. */
TEST_F(poll, timerfd)
{
	struct itimerspec its = { .it_value = { 0, 2000000 } };
	int fd = timerfd_create(CLOCK_MONOTONIC, 0);
	int efd = eventfd(0, 0);
	__u64 count;
	int i;

	if (fd < 0)
		SKIP(return, "no timerfd");
	for (i = 0; i < 50; i++) {
		prep_poll(&self->iocb, fd, POLLIN);
		if (i & 1) {
			self->iocb.aio_flags = IOCB_FLAG_RESFD;
			self->iocb.aio_resfd = efd;
		}
		ASSERT_EQ(0, timerfd_settime(fd, 0, &its, NULL));
		ASSERT_EQ(1, aio_submit_one(self->ctx, &self->iocb));
		EXPECT_COMPLETION(&self->iocb, POLLIN, 0);
		ASSERT_EQ(sizeof(count), read(fd, &count, sizeof(count)));
		/* Waits until the eventfd is signalled, too. */
		if (i & 1)
			ASSERT_EQ(sizeof(count),
				  read(efd, &count, sizeof(count)));
	}
}

static void *toucher(void *arg)
{
	*(volatile char *)arg = 1;
	return NULL;
}

/*
 * A userfaultfd locks its wait queue with interrupts enabled, unlike most
 * others: lockdep has something to say if a lock that is taken in interrupts
 * is taken below it.
 */
TEST_F(poll, userfaultfd)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register range = { .mode = UFFDIO_REGISTER_MODE_MISSING };
	struct uffdio_zeropage zero = { 0 };
	int fd = syscall(__NR_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	size_t page = getpagesize();
	struct uffd_msg msg;
	pthread_t thread;
	char *p;
	int i;

	if (fd < 0)
		SKIP(return, "no userfaultfd");
	ASSERT_EQ(0, ioctl(fd, UFFDIO_API, &api));
	p = aio_pages(8 * page, PROT_READ | PROT_WRITE);
	range.range.start = (uintptr_t)p;
	range.range.len = 8 * page;
	ASSERT_EQ(0, ioctl(fd, UFFDIO_REGISTER, &range));
	for (i = 0; i < 8; i++) {
		prep_poll(&self->iocb, fd, POLLIN);
		EXPECT_PENDING(&self->iocb);
		/* Cancelling takes the locks in the other order. */
		if (i & 1) {
			ASSERT_EQ(-EINPROGRESS, io_cancel(self->ctx, &self->iocb, &self->event));
			EXPECT_COMPLETION(&self->iocb, 0, POLLIN);
			EXPECT_PENDING(&self->iocb);
		}
		ASSERT_EQ(0, pthread_create(&thread, NULL, toucher, p + i * page));
		EXPECT_COMPLETION(&self->iocb, POLLIN, 0);
		ASSERT_EQ((ssize_t)sizeof(msg), read(fd, &msg, sizeof(msg)));
		zero.range.start = msg.arg.pagefault.address & ~(page - 1);
		zero.range.len = page;
		ASSERT_EQ(0, ioctl(fd, UFFDIO_ZEROPAGE, &zero));
		pthread_join(thread, NULL);
	}
	close(fd);
}

TEST_F(poll, epoll_file)
{
	struct epoll_event ev = { .events = EPOLLIN };
	int ep = epoll_create1(0);

	ASSERT_EQ(0, epoll_ctl(ep, EPOLL_CTL_ADD, self->pipe[0], &ev));
	prep_poll(&self->iocb, ep, POLLIN);
	EXPECT_PENDING(&self->iocb);
	ASSERT_EQ(1, write(self->pipe[1], "x", 1));
	EXPECT_COMPLETION(&self->iocb, POLLIN, 0xffff);
}

/* The request keeps the file. */
TEST_F(poll, close_after_submit)
{
	int i;

	EXPECT_PENDING(&self->iocb);
	close(self->pipe[0]);
	/* There is still a reader. */
	ASSERT_EQ(1, write(self->pipe[1], "x", 1));
	EXPECT_COMPLETION(&self->iocb, POLLIN, POLLRDNORM);
	/* Then there is none any more. */
	signal(SIGPIPE, SIG_IGN);
	for (i = 0; i < 1000 && write(self->pipe[1], "x", 1) == 1; i++)
		aio_sleep_ms(5);
	EXPECT_EQ(-1, write(self->pipe[1], "x", 1));
	EXPECT_EQ(EPIPE, errno);
}

TEST_F(poll, wakes_reader)
{
	struct aio_caller reader = {
		.ctx = self->ctx, .min_nr = 1, .nr = 1, .events = &self->event,
	};

	EXPECT_PENDING(&self->iocb);
	ASSERT_TRUE(aio_start_blocked(&reader, aio_getevents_thread,
				      __NR_io_getevents));
	ASSERT_EQ(1, write(self->pipe[1], "x", 1));
	EXPECT_EQ(1, aio_join(&reader));
	EXPECT_EVENT(&self->event, &self->iocb, POLLIN | POLLRDNORM);
}

/* Many on one file: one wake-up completes them all, each once. */
TEST_F(poll, many_on_one_file)
{
	struct iocb iocb[NR], *list[NR];
	struct io_event events[NR];
	bool seen[NR] = { 0 };
	int i;

	for (i = 0; i < NR; i++) {
		prep_poll(&iocb[i], self->pipe[0], POLLIN);
		iocb[i].aio_data = i;
		list[i] = &iocb[i];
	}
	ASSERT_EQ(NR, io_submit(self->ctx, NR, list));
	EXPECT_NO_EVENT();
	ASSERT_EQ(1, write(self->pipe[1], "x", 1));
	ASSERT_EQ(NR, io_getevents(self->ctx, NR, NR, events, NULL));
	for (i = 0; i < NR; i++) {
		ASSERT_LT(events[i].data, NR);
		EXPECT_FALSE(seen[events[i].data]);
		seen[events[i].data] = true;
		EXPECT_EQ(POLLIN | POLLRDNORM, events[i].res);
	}
}

/* Requests that wait hold slots of the ring. */
TEST_F(poll, slots)
{
	int null_fd = open("/dev/null", O_WRONLY);
	struct iocb iocb;
	long full, i;

	ASSERT_EQ(0, aio_pin_cpu());
	full = aio_fill(self->ctx, &iocb, null_fd);
	ASSERT_EQ(full, aio_drain(self->ctx));
	for (i = 0; i < full; i++)
		ASSERT_EQ(1, aio_submit_one(self->ctx, &self->iocb));
	EXPECT_EQ(-EAGAIN, aio_submit_one(self->ctx, &self->iocb));
	EXPECT_EQ(0, aio_fill(self->ctx, &iocb, null_fd));
	ASSERT_EQ(1, write(self->pipe[1], "x", 1));
	EXPECT_EQ(full, aio_drain(self->ctx));
	EXPECT_EQ(full, aio_fill(self->ctx, &iocb, null_fd));
	EXPECT_EQ(full, aio_drain(self->ctx));
}

/* No wake-up is missed while requests are queued, with and without key. */
struct feeder {
	int fd;
	int from;
	int rounds;
	int sync[2];
};

static void *feed(void *arg)
{
	struct feeder *f = arg;
	char c;
	int i;

	for (i = 0; i < f->rounds; i++) {
		loff_t off = 0;

		if (read(f->sync[0], &c, 1) != 1)
			break;
		if (i % 2 ? write(f->fd, "x", 1) != 1 :
			    splice(f->from, &off, f->fd, NULL, 1, 0) != 1)
			break;
	}
	return NULL;
}

TEST_F(poll, no_wakeup_is_missed)
{
	struct feeder f = {
		.fd = self->pipe[1], .from = aio_mem_file(),
		.rounds = aio_long() ? 3000 : 600,
	};
	pthread_t thread;
	char c;
	int i;

	ASSERT_EQ(0, pipe(f.sync));
	ASSERT_EQ(1, write(f.from, "x", 1));
	ASSERT_EQ(0, pthread_create(&thread, NULL, feed, &f));
	for (i = 0; i < f.rounds; i++) {
		/* At the same time as the request is made. */
		ASSERT_EQ(1, write(f.sync[1], "x", 1));
		ASSERT_EQ(1, aio_submit_one(self->ctx, &self->iocb));
		EXPECT_COMPLETION(&self->iocb, POLLIN, POLLRDNORM);
		ASSERT_EQ(1, read(self->pipe[0], &c, 1));
	}
	pthread_join(thread, NULL);
}

/* ------------------------------------------------------ several queues */

TEST_F(poll, two_wait_queues)
{
	int both = aio_reopen(self->pipe[0], O_RDWR);
	int master = posix_openpt(O_RDWR | O_NOCTTY);
	int i;

	/* A pipe opened for both: one queue for readers, one for writers. */
	ASSERT_GE(both, 0);
	for (i = 0; i < 20; i++) {
		prep_poll(&self->iocb, both, POLLIN);
		EXPECT_REFUSED(self->ctx, &self->iocb, -EINVAL);
		prep_poll(&self->iocb, both, POLLIN | POLLOUT);
		EXPECT_RES(self->ctx, &self->iocb, POLLOUT);
	}
	/* Nothing was left on the queues. */
	ASSERT_EQ(1, write(self->pipe[1], "x", 1));
	EXPECT_NO_EVENT();
	prep_poll(&self->iocb, both, POLLIN);
	EXPECT_RES(self->ctx, &self->iocb, POLLIN);
	/* A terminal. */
	if (master < 0)
		return;
	prep_poll(&self->iocb, master, POLLIN);
	EXPECT_REFUSED(self->ctx, &self->iocb, -EINVAL);
	prep_poll(&self->iocb, master, POLLOUT);
	EXPECT_RES(self->ctx, &self->iocb, POLLOUT);
}

/* ------------------------------------------------------ eventfds */

TEST_F(poll, resfd)
{
	int efd = eventfd(0, EFD_NONBLOCK), ep = epoll_create1(0);
	struct epoll_event ev = { .events = EPOLLIN }, got;
	__u64 count;
	char c;
	int i;

	ASSERT_EQ(0, epoll_ctl(ep, EPOLL_CTL_ADD, efd, &ev));
	self->iocb.aio_flags = IOCB_FLAG_RESFD;
	self->iocb.aio_resfd = efd;
	for (i = 0; i < 50; i++) {
		/* Ready later, then at once. */
		EXPECT_PENDING(&self->iocb);
		EXPECT_EQ(-1, read(efd, &count, sizeof(count)));
		ASSERT_EQ(1, write(self->pipe[1], "x", 1));
		ASSERT_EQ(1, epoll_wait(ep, &got, 1, -1));
		/* The event is there before the signal. */
		ASSERT_EQ(1, aio_reap(self->ctx, &self->event, 1));
		EXPECT_EVENT(&self->event, &self->iocb, POLLIN | POLLRDNORM);
		EXPECT_EQ(sizeof(count), read(efd, &count, sizeof(count)));
		EXPECT_EQ(1, count);
		EXPECT_RES(self->ctx, &self->iocb, POLLIN);
		EXPECT_EQ(sizeof(count), read(efd, &count, sizeof(count)));
		EXPECT_EQ(1, count);
		ASSERT_EQ(1, read(self->pipe[0], &c, 1));
	}
}

/* Takes @want out of an eventfd, in as many portions as it comes in. */
static __u64 take_count(int efd, __u64 want)
{
	__u64 sum = 0, count;

	while (sum < want && read(efd, &count, sizeof(count)) > 0)
		sum += count;
	return sum;
}

/* Eventfds that signal themselves and each other. */
TEST_F(poll, resfd_loops)
{
	int a = eventfd(0, 0), b = eventfd(0, 0);
	struct io_event events[2];
	struct iocb other;
	__u64 one = 1;
	int i;

	for (i = 0; i < 20; i++) {
		prep_poll(&self->iocb, a, POLLIN);
		self->iocb.aio_flags = IOCB_FLAG_RESFD;
		self->iocb.aio_resfd = a;
		EXPECT_PENDING(&self->iocb);
		ASSERT_EQ(sizeof(one), write(a, &one, sizeof(one)));
		EXPECT_COMPLETION(&self->iocb, POLLIN, 0);
		/* The write and the completion. */
		EXPECT_EQ(2, take_count(a, 2));

		self->iocb.aio_resfd = b;
		prep_poll(&other, b, POLLIN);
		other.aio_flags = IOCB_FLAG_RESFD;
		other.aio_resfd = a;
		EXPECT_PENDING(&self->iocb);
		EXPECT_PENDING(&other);
		ASSERT_EQ(sizeof(one), write(a, &one, sizeof(one)));
		ASSERT_EQ(2, io_getevents(self->ctx, 2, 2, events, NULL));
		EXPECT_EVENT(&events[0], &self->iocb, POLLIN);
		EXPECT_EVENT(&events[1], &other, POLLIN);
		EXPECT_EQ(1, take_count(b, 1));
		EXPECT_EQ(2, take_count(a, 2));
	}
}

/* An epoll instance that watches the result, watched by another one. */
TEST_F(poll, resfd_in_nested_epoll)
{
	int efd = eventfd(0, EFD_NONBLOCK);
	int inner = epoll_create1(0), outer = epoll_create1(0);
	struct epoll_event ev = { .events = EPOLLIN }, got;
	struct iocb on_inner;
	__u64 count;

	ASSERT_EQ(0, epoll_ctl(inner, EPOLL_CTL_ADD, efd, &ev));
	ASSERT_EQ(0, epoll_ctl(inner, EPOLL_CTL_ADD, self->pipe[0], &ev));
	ASSERT_EQ(0, epoll_ctl(outer, EPOLL_CTL_ADD, inner, &ev));
	self->iocb.aio_flags = IOCB_FLAG_RESFD;
	self->iocb.aio_resfd = efd;
	prep_poll(&on_inner, inner, POLLIN);
	on_inner.aio_flags = IOCB_FLAG_RESFD;
	on_inner.aio_resfd = efd;
	EXPECT_PENDING(&self->iocb);
	EXPECT_PENDING(&on_inner);
	ASSERT_EQ(1, write(self->pipe[1], "x", 1));
	ASSERT_EQ(1, io_getevents(self->ctx, 1, 1, &self->event, NULL));
	ASSERT_EQ(1, io_getevents(self->ctx, 1, 1, &self->event, NULL));
	EXPECT_EQ(1, epoll_wait(outer, &got, 1, -1));
	ASSERT_EQ(0, io_destroy(self->ctx));
	EXPECT_EQ(sizeof(count), read(efd, &count, sizeof(count)));
	EXPECT_EQ(2, count);
	self->ctx = 0;
	ASSERT_EQ(0, io_setup(1, &self->ctx));
}

/* ------------------------------------------------------ the end */

/* io_destroy() cancels what waits, and each is told to its eventfd. */
TEST_F(poll, destroy)
{
	int efd = eventfd(0, EFD_NONBLOCK);
	struct iocb iocb[NR];
	__u64 count;
	int round, i;

	for (round = 0; round < 5; round++) {
		for (i = 0; i < NR; i++) {
			prep_poll(&iocb[i], self->pipe[0], POLLIN);
			iocb[i].aio_flags = IOCB_FLAG_RESFD;
			iocb[i].aio_resfd = efd;
			ASSERT_EQ(1, aio_submit_one(self->ctx, &iocb[i]));
		}
		EXPECT_EQ(0, io_destroy(self->ctx));
		EXPECT_EQ(sizeof(count), read(efd, &count, sizeof(count)));
		EXPECT_EQ(NR, count);
		self->ctx = 0;
		ASSERT_EQ(0, io_setup(NR, &self->ctx));
	}
	/* Nothing is left on the pipe's queue. */
	ASSERT_EQ(1, write(self->pipe[1], "x", 1));
	EXPECT_NO_EVENT();
}

/* The same while the file gets ready. */
TEST_F(poll, destroy_races_with_wakeup)
{
	struct aio_caller destroyer = { 0 };
	char c;
	int round, i;

	for (round = 0; round < (aio_long() ? 50 : 15); round++) {
		for (i = 0; i < NR; i++)
			ASSERT_EQ(1, aio_submit_one(self->ctx, &self->iocb));
		destroyer.ctx = self->ctx;
		ASSERT_EQ(0, pthread_create(&destroyer.thread, NULL,
					    aio_destroy_thread, &destroyer));
		for (i = 0; i < round % 5; i++)
			sched_yield();
		ASSERT_EQ(1, write(self->pipe[1], "x", 1));
		EXPECT_EQ(0, aio_join(&destroyer));
		ASSERT_EQ(1, read(self->pipe[0], &c, 1));
		self->ctx = 0;
		ASSERT_EQ(0, io_setup(NR, &self->ctx));
	}
}

TEST_F(poll, exit_and_kill)
{
	long long before = aio_nr();
	int round;

	for (round = 0; round < (aio_long() ? 40 : 10); round++) {
		int ready[2], status = -1;
		pid_t pid;
		char c;

		ASSERT_EQ(0, pipe(ready));
		pid = fork();
		if (!pid) {
			aio_context_t ctx = 0;
			int i;

			if (io_setup(NR, &ctx))
				_exit(1);
			for (i = 0; i < NR; i++)
				if (aio_submit_one(ctx, &self->iocb) != 1)
					_exit(2);
			if (round % 2)
				_exit(0);
			if (write(ready[1], "x", 1) == 1)
				pause();
			_exit(3);
		}
		if (round % 2 == 0) {
			ASSERT_EQ(1, read(ready[0], &c, 1));
			kill(pid, SIGKILL);
		}
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		EXPECT_EQ(round % 2 ? 0 : SIGKILL, status);
		EXPECT_EQ(before, aio_nr());
		close(ready[0]);
		close(ready[1]);
	}
}

/* ------------------------------------------------------ POLLFREE */

/*
 * A signalfd waits on a queue of the task that polls it. A child that shares
 * the memory, and so the context, but not the signal handlers, takes its queue
 * with it when it is reaped.
 */
struct poller {
	aio_context_t ctx;
	struct iocb *iocb;
	int n;
	int told;
	int wait;
};

static int poll_and_exit(void *arg)
{
	struct poller *p = arg;
	char c;
	int i;

	for (i = 0; i < p->n; i++)
		if (aio_submit_one(p->ctx, &p->iocb[i]) != 1)
			return 1;
	if (write(p->told, "x", 1) != 1 || read(p->wait, &c, 1) != 1)
		return 2;
	return 0;
}

#define STACK	65536

TEST_F(poll, wait_queue_goes_away)
{
	char *stack = aio_pages(STACK, PROT_READ | PROT_WRITE);
	struct io_event events[8];
	int told[2], wait[2];
	struct iocb iocb[8];
	sigset_t set;
	int sfd, round, i;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sfd = signalfd(-1, &set, 0);
	if (sfd < 0)
		SKIP(return, "no signalfd");
	ASSERT_EQ(0, pipe(told));
	ASSERT_EQ(0, pipe(wait));
	for (round = 0; round < 20; round++) {
		struct poller p = {
			self->ctx, iocb, 8, told[1], wait[0],
		};
		bool seen[8] = { 0 };
		int status = -1;
		pid_t pid;
		char c;

		for (i = 0; i < 8; i++) {
			prep_poll(&iocb[i], sfd, POLLIN);
			iocb[i].aio_data = i;
		}
		pid = clone(poll_and_exit, stack + STACK, CLONE_VM | SIGCHLD,
			    &p);
		ASSERT_GT(pid, 0);
		ASSERT_EQ(1, read(told[0], &c, 1));
		EXPECT_EQ(0, aio_drain(self->ctx));
		/* Half of the rounds: some are cancelled at the same time. */
		ASSERT_EQ(1, write(wait[1], "x", 1));
		for (i = 0; round % 2 && i < 4; i++) {
			long ret = io_cancel(self->ctx, &iocb[i], NULL);

			EXPECT_TRUE(ret == -EINPROGRESS || ret == -EINVAL);
		}
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		EXPECT_EQ(0, status);
		ASSERT_EQ(8, io_getevents(self->ctx, 8, 8, events, NULL));
		for (i = 0; i < 8; i++) {
			ASSERT_LT(events[i].data, 8);
			EXPECT_FALSE(seen[events[i].data]);
			seen[events[i].data] = true;
			EXPECT_EQ(0, events[i].res & ~POLLHUP);
			EXPECT_EQ(0, events[i].res2);
			/* Without a race the queue's end is a hang-up. */
			if (round % 2 == 0)
				EXPECT_EQ(POLLHUP, events[i].res);
		}
		for (i = 0; i < 8; i++)
			EXPECT_EQ(-EINVAL,
				  io_cancel(self->ctx, &iocb[i], NULL));
	}
}

/*
 * A signal that comes after the poll was submitted. The C code looks at the signals of
 * the worker that asks the file again, and so never hears of it.
 */
#define NOT_TOLD "the C implementation is not told of signals"

static int blocked_signalfd(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGUSR2);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	sigdelset(&set, SIGUSR2);
	return signalfd(-1, &set, SFD_NONBLOCK);
}

static bool take_signal(int sfd)
{
	struct signalfd_siginfo info;

	return read(sfd, &info, sizeof(info)) == sizeof(info) &&
		info.ssi_signo == SIGUSR1;
}

TEST_F(poll, signal_that_comes_later)
{
	int sfd = blocked_signalfd(), round;
	struct io_event event;
	struct iocb iocb;

	if (sfd < 0)
		SKIP(return, "no signalfd");
	if (!aio_is_rust())
		SKIP(return, NOT_TOLD);
	prep_poll(&iocb, sfd, POLLIN);
	for (round = 0; round < 100; round++) {
		ASSERT_EQ(1, aio_submit_one(self->ctx, &iocb));
		if (round % 10 == 0) {
			/* One that the file is not for. */
			ASSERT_EQ(0, kill(getpid(), SIGUSR2));
			aio_sleep_ms(5);
			EXPECT_EQ(0, aio_drain(self->ctx));
		}
		ASSERT_EQ(0, round % 2 ? kill(getpid(), SIGUSR1) :
			  pthread_kill(pthread_self(), SIGUSR1));
		ASSERT_EQ(1, io_getevents(self->ctx, 1, 1, &event, NULL));
		EXPECT_EVENT(&event, &iocb, POLLIN);
		EXPECT_TRUE(take_signal(sfd));
	}
	/* It is there already. */
	ASSERT_EQ(0, kill(getpid(), SIGUSR1));
	ASSERT_EQ(1, aio_submit_one(self->ctx, &iocb));
	ASSERT_EQ(1, io_getevents(self->ctx, 1, 1, &event, NULL));
	EXPECT_EVENT(&event, &iocb, POLLIN);
	EXPECT_TRUE(take_signal(sfd));
	/* And one that does not come. */
	ASSERT_EQ(1, aio_submit_one(self->ctx, &iocb));
	EXPECT_EQ(-EINPROGRESS, io_cancel(self->ctx, &iocb, NULL));
	ASSERT_EQ(1, io_getevents(self->ctx, 1, 1, &event, NULL));
	EXPECT_EVENT(&event, &iocb, 0);
}

struct other_thread {
	aio_context_t ctx;
	struct iocb *iocb;
	long ret;
};

static void *submit_and_leave(void *arg)
{
	struct other_thread *t = arg;

	t->ret = aio_submit_one(t->ctx, t->iocb);
	return NULL;
}

static void *send_to_self(void *arg)
{
	pthread_kill(pthread_self(), SIGUSR1);
	return arg;
}

/* For whom the signal is. */
TEST_F(poll, signal_of_another)
{
	int sfd = blocked_signalfd(), status;
	struct other_thread t = { .ctx = self->ctx };
	struct io_event event;
	struct iocb iocb;
	pthread_t thread;
	pid_t pid;

	if (sfd < 0)
		SKIP(return, "no signalfd");
	if (!aio_is_rust())
		SKIP(return, NOT_TOLD);
	prep_poll(&iocb, sfd, POLLIN);
	ASSERT_EQ(1, aio_submit_one(self->ctx, &iocb));
	/* Another thread, which keeps it, and another process. */
	ASSERT_EQ(0, pthread_create(&thread, NULL, send_to_self, NULL));
	pthread_join(thread, NULL);
	pid = fork();
	if (!pid)
		_exit(kill(getpid(), SIGUSR1));
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	aio_sleep_ms(5);
	EXPECT_EQ(0, aio_drain(self->ctx));
	ASSERT_EQ(0, kill(getpid(), SIGUSR1));
	ASSERT_EQ(1, io_getevents(self->ctx, 1, 1, &event, NULL));
	EXPECT_EVENT(&event, &iocb, POLLIN);
	EXPECT_TRUE(take_signal(sfd));
	/* Who has submitted it is gone. */
	t.iocb = &iocb;
	ASSERT_EQ(0, pthread_create(&thread, NULL, submit_and_leave, &t));
	pthread_join(thread, NULL);
	ASSERT_EQ(1, t.ret);
	ASSERT_EQ(0, kill(getpid(), SIGUSR1));
	ASSERT_EQ(1, io_getevents(self->ctx, 1, 1, &event, NULL));
	EXPECT_EVENT(&event, &iocb, POLLIN);
	EXPECT_TRUE(take_signal(sfd));
}

/* And the other way round: first the context goes, then the queue. */
TEST_F(poll, destroy_before_wait_queue)
{
	char *stack = aio_pages(STACK, PROT_READ | PROT_WRITE);
	int told[2], wait[2], status = -1, sfd;
	struct iocb iocb[4];
	sigset_t set;
	pid_t pid;
	char c;
	int i;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sfd = signalfd(-1, &set, 0);
	if (sfd < 0)
		SKIP(return, "no signalfd");
	ASSERT_EQ(0, pipe(told));
	ASSERT_EQ(0, pipe(wait));
	for (i = 0; i < 4; i++)
		prep_poll(&iocb[i], sfd, POLLIN);
	{
		struct poller p = {
			self->ctx, iocb, 4, told[1], wait[0],
		};

		pid = clone(poll_and_exit, stack + STACK, CLONE_VM | SIGCHLD,
			    &p);
		ASSERT_GT(pid, 0);
		ASSERT_EQ(1, read(told[0], &c, 1));
		EXPECT_EQ(0, io_destroy(self->ctx));
		ASSERT_EQ(1, write(wait[1], "x", 1));
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		EXPECT_EQ(0, status);
	}
	self->ctx = 0;
	ASSERT_EQ(0, io_setup(1, &self->ctx));
}

TEST_HARNESS_MAIN
