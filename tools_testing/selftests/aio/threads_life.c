// SPDX-License-Identifier: GPL-2.0
/*
 * The threads of a threaded context and the process that they belong to.
 *
 * Held here: they end with the process, in every way in which one can end, and take
 * all with them; each thread group on the same memory has its own; stops, debuggers,
 * freezers and a suspend fail nothing; and where no thread may be made, it is done without.
 */
#include <sched.h>
#include <sys/ptrace.h>
#include <sys/time.h>
#include "../kselftest_harness.h"
#include "aio_thread_test.h"

#define NR	200
#define BLOCK	4096

/* ------------------------------------------------------ the end of a process */

/* The child of a test: what it has in hand, and pipes to its parent. */
struct kid {
	struct ends e[10];
	struct ends pty;
	int ready[2];
	int go[2];
	aio_context_t ctx;
	struct iocb iocb[NR + 1];
	char buf[NR + 1];
};

static bool kid_open(struct kid *k)
{
	int i;

	for (i = 0; i < 10; i++)
		if (!ends_open(&k->e[i], i % 2 ? ENDS_PIPE : ENDS_STREAM, 0))
			return false;
	return ends_open(&k->pty, ENDS_PTY, 0) && !pipe(k->ready) && !pipe(k->go);
}

/* In the child: reads that wait for readiness, and one that a thread sleeps in. */
static bool kid_start(struct kid *k)
{
	struct iocb *cb;
	int i;

	if (setup_threaded(NR + 1, &k->ctx))
		return false;
	for (i = 0; i <= NR; i++) {
		cb = &k->iocb[i];
		aio_prep(cb, IOCB_CMD_PREAD, i == NR ? k->pty.in : k->e[i % 10].in, &k->buf[i], 1,
			 0);
		if (io_submit(k->ctx, 1, &cb) != 1)
			return false;
	}
	return write(k->ready[1], "x", 1) == 1;
}

/* In the parent, after fork(): true when the child is under way. */
static bool kid_is_ready(struct kid *k)
{
	struct pollfd pfd = { k->ready[0], POLLIN, 0 };
	char c;

	/* What it reads is its own. */
	for (int i = 0; i < 10; i++)
		close(k->e[i].in);
	close(k->pty.in);
	return poll(&pfd, 1, patience() * 1000) == 1 && read(k->ready[0], &c, 1) == 1;
}

/* Nobody has its pipes any more. */
static bool kid_is_gone(struct kid *k)
{
	for (int i = 0; i < 10; i++)
		if (!EVENTUALLY(write(k->e[i].out, "x", 1) < 0 && errno == EPIPE))
			return false;
	return true;
}

FIXTURE(end) {
	long long nr;
	char dir[32];
};

FIXTURE_VARIANT(end) {
	enum {
		END_EXIT, END_KILL, END_CORE, END_EXEC, END_PLAIN, END_PLAIN_TWO, END_MAIN_FIRST,
		END_EXEC_BY_THREAD, END_CORE_IN_THREAD,
	} how;
};

FIXTURE_VARIANT_ADD(end, exit_group) { .how = END_EXIT };
FIXTURE_VARIANT_ADD(end, sigkill) { .how = END_KILL };
FIXTURE_VARIANT_ADD(end, core_dump) { .how = END_CORE };
FIXTURE_VARIANT_ADD(end, core_dump_of_thread) { .how = END_CORE_IN_THREAD };
FIXTURE_VARIANT_ADD(end, exec) { .how = END_EXEC };
FIXTURE_VARIANT_ADD(end, exec_by_thread) { .how = END_EXEC_BY_THREAD };
FIXTURE_VARIANT_ADD(end, plain_exit) { .how = END_PLAIN };
FIXTURE_VARIANT_ADD(end, plain_exit_of_two) { .how = END_PLAIN_TWO };
FIXTURE_VARIANT_ADD(end, main_thread_first) { .how = END_MAIN_FIRST };

FIXTURE_SETUP(end)
{
	NEED_THREADS();
	signal(SIGPIPE, SIG_IGN);
	self->nr = aio_nr();
	snprintf(self->dir, sizeof(self->dir), "/tmp/aio_core_XXXXXX");
	/* Where a core may be dumped. */
	ASSERT_NE(NULL, mkdtemp(self->dir));
	ASSERT_EQ(0, chdir(self->dir));
}

FIXTURE_TEARDOWN(end)
{
	char cmd[64];

	ASSERT_EQ(0, chdir("/"));
	snprintf(cmd, sizeof(cmd), "rm -rf %s", self->dir);
	EXPECT_EQ(0, system(cmd));
	EXPECT_TRUE(EVENTUALLY(aio_nr() == self->nr));
}

/* What the threads of a program say that leave by exit(), not exit_group(). */
#define FIRST	3
#define LAST	4

static void do_exec(void)
{
	execl("/bin/sh", "sh", "-c", "set -- /proc/$$/task/*; [ $# = 1 ] && exit 7; exit 8", NULL);
	_exit(9);
}

static void *other_thread(void *arg)
{
	struct kid *k = arg;
	struct io_event event;
	char c;

	/* The first one is gone, and all goes on. */
	if (read(k->go[0], &c, 1) != 1 || await_events(k->ctx, &event, 1) != 1 || event.res != 1)
		_exit(20);
	syscall(__NR_exit, LAST);
	return NULL;
}

static void *exec_thread(void *arg)
{
	do_exec();
	return NULL;
}

static void *dump_thread(void *arg)
{
	*(volatile int *)aio_unmapped() = 1;
	return NULL;
}

static void *leave_thread(void *arg)
{
	aio_sleep_ms(5);
	syscall(__NR_exit, LAST);
	return NULL;
}

/* What the child does when it has all that in hand. */
static void kid_ends(struct kid *k, int how)
{
	struct rlimit unlimited = { RLIM_INFINITY, RLIM_INFINITY };
	pthread_t thread;

	switch (how) {
	case END_EXIT:
		_exit(0);
	case END_CORE:
		setrlimit(RLIMIT_CORE, &unlimited);
		signal(SIGABRT, SIG_DFL);
		abort();
	case END_CORE_IN_THREAD:
		setrlimit(RLIMIT_CORE, &unlimited);
		signal(SIGSEGV, SIG_DFL);
		pthread_create(&thread, NULL, dump_thread, NULL);
		break;
	case END_EXEC:
		do_exec();
		break;
	case END_EXEC_BY_THREAD:
		pthread_create(&thread, NULL, exec_thread, NULL);
		break;
	case END_PLAIN_TWO:
		pthread_create(&thread, NULL, leave_thread, NULL);
		syscall(__NR_exit, FIRST);
		break;
	case END_PLAIN:
		syscall(__NR_exit, LAST);
		break;
	case END_MAIN_FIRST:
		pthread_create(&thread, NULL, other_thread, k);
		syscall(__NR_exit, FIRST);
		break;
	case END_KILL:
		break;
	}
	for (;;)
		pause();
}

TEST_F_TIMEOUT(end, of_process, 120)
{
	struct kid *k;
	int round, status;
	pid_t pid;

	for (round = 0; round < (aio_long() ? 20 : 4); round++) {
		k = calloc(1, sizeof(*k));
		ASSERT_TRUE(kid_open(k));
		pid = fork();
		ASSERT_LE(0, pid);
		if (!pid) {
			if (!kid_start(k))
				_exit(1);
			/* In half of the rounds its threads have come to rest. */
			if (round & 1)
				aio_sleep_ms(20);
			kid_ends(k, variant->how);
		}
		ASSERT_TRUE(kid_is_ready(k));
		if (variant->how == END_KILL)
			kill(pid, SIGKILL);
		if (variant->how == END_MAIN_FIRST) {
			/* The main thread is a zombie, the process is not. */
			EXPECT_TRUE(EVENTUALLY(state_of(pid, pid) == 'Z'));
			EXPECT_EQ(0, waitpid(pid, NULL, WNOHANG));
			ASSERT_EQ(1, write(k->e[3].out, "x", 1));
			ASSERT_EQ(1, write(k->go[1], "x", 1));
		}
		status = await_child(pid);
		switch (variant->how) {
		case END_KILL:
			EXPECT_EQ(SIGKILL, status);
			break;
		case END_CORE:
			EXPECT_EQ(SIGABRT, status & 0x7f);
			break;
		case END_CORE_IN_THREAD:
			EXPECT_EQ(SIGSEGV, status & 0x7f);
			break;
		case END_EXEC:
		case END_EXEC_BY_THREAD:
			EXPECT_EQ(7 << 8, status);
			break;
		case END_PLAIN:
		case END_MAIN_FIRST:
			/* It counts what the last one of its own has said. */
			EXPECT_EQ(LAST << 8, status);
			break;
		case END_PLAIN_TWO:
			EXPECT_TRUE(status == FIRST << 8 || status == LAST << 8) {
				TH_LOG("status %x", status);
			}
			break;
		default:
			EXPECT_EQ(0, status);
		}
		EXPECT_TRUE(kid_is_gone(k));
		EXPECT_TRUE(EVENTUALLY(aio_nr() == self->nr));
		for (int i = 0; i < 10; i++)
			close(k->e[i].out);
		close(k->pty.out);
		free(k);
	}
}

/* ------------------------------------------------------ groups that share memory */

FIXTURE(life) {
	aio_context_t ctx;
	struct ends e;
	struct iocb iocb;
	struct io_event event;
	char c;
};

FIXTURE_SETUP(life)
{
	NEED_THREADS();
	ASSERT_EQ(0, setup_threaded(64, &self->ctx));
	ASSERT_TRUE(ends_open(&self->e, ENDS_PIPE, 0));
	aio_prep(&self->iocb, IOCB_CMD_PREAD, self->e.in, &self->c, 1, 0);
}

FIXTURE_TEARDOWN(life)
{
	EXPECT_EQ(0, aio_drain(self->ctx));
	ends_close(&self->e);
}

#define STACK	65536

struct shared {
	struct _test_data_life *self;
	struct ends e;
	struct iocb iocb;
	char c;
	/* What the child has come to, and what it may do next. */
	volatile int at, may;
	volatile long ret;
	volatile int workers;
};

static int shared_child(void *arg)
{
	struct shared *s = arg;

	s->ret = aio_submit_one(s->self->ctx, &s->iocb);
	s->workers = workers();
	s->at = 1;
	while (!s->may)
		aio_sleep_ms(1);
	syscall(__NR_exit_group, 0);
	return 0;
}

static pid_t clone_shared(int (*fn)(void *), struct shared *s, int flags)
{
	char *stack = aio_pages(STACK, PROT_READ | PROT_WRITE);

	return clone(fn, stack + STACK, CLONE_VM | flags | SIGCHLD, s);
}

/* The child ends: its requests do, and those of the parent go on. */
TEST_F(life, child_on_same_memory)
{
	struct shared s = { .self = self };
	pid_t pid;
	int round;

	for (round = 0; round < 4; round++) {
		s.at = 0;
		s.may = round & 1;
		ASSERT_TRUE(ends_open(&s.e, ENDS_PIPE, 0));
		aio_prep(&s.iocb, IOCB_CMD_PREAD, s.e.in, &s.c, 1, 0);
		ASSERT_EQ(1, aio_submit_one(self->ctx, &self->iocb));
		EXPECT_LE(1, workers());
		/* A vfork() child is one whose parent waits for it. */
		pid = clone_shared(shared_child, &s, round & 1 ? CLONE_VFORK : 0);
		ASSERT_LE(0, pid);
		ASSERT_TRUE(EVENTUALLY(s.at == 1));
		EXPECT_EQ(1, s.ret);
		/* Its own. */
		EXPECT_LE(1, s.workers);
		if (!(round & 1))
			EXPECT_NO_EVENT(self->ctx);
		s.may = 1;
		EXPECT_EQ(0, await_child(pid));
		EXPECT_NEXT(self->ctx, &s.iocb, -EINTR);
		EXPECT_NO_EVENT(self->ctx);
		ASSERT_TRUE(ends_feed(&self->e));
		EXPECT_NEXT(self->ctx, &self->iocb, 1);
		ends_close(&s.e);
	}
}

/* The parent ends, and it is the child that goes on. */
static int orphan(void *arg)
{
	struct shared *s = arg;
	struct io_event event[2];
	char verdict = 'y';

	s->ret = aio_submit_one(s->self->ctx, &s->iocb);
	s->at = 1;
	/* That of the parent, which has ended meanwhile. */
	if (s->ret != 1 || await_events(s->self->ctx, event, 1) != 1 ||
	    event[0].obj != (uintptr_t)&s->self->iocb || event[0].res != -EINTR)
		verdict = 'p';
	else if (aio_drain(s->self->ctx))
		verdict = 'd';
	else if (!ends_feed(&s->e) || await_events(s->self->ctx, event, 1) != 1 ||
		 event[0].obj != (uintptr_t)&s->iocb || event[0].res != 1)
		verdict = 'c';
	else if (aio_submit_one(s->self->ctx, &s->iocb) != 1 || !ends_feed(&s->e) ||
		 await_events(s->self->ctx, event, 1) != 1 || event[0].res != 1)
		verdict = 'n';
	if (write(s->may, &verdict, 1) != 1)
		syscall(__NR_exit_group, 1);
	syscall(__NR_exit_group, 0);
	return 0;
}

TEST_F(life, parent_on_same_memory)
{
	int report[2];
	char verdict = 0;
	pid_t pid;

	ASSERT_EQ(0, pipe(report));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		struct shared *s = calloc(1, sizeof(*s));

		s->self = self;
		s->may = report[1];
		self->ctx = 0;
		if (setup_threaded(64, &self->ctx) || !ends_open(&s->e, ENDS_PIPE, 0) ||
		    aio_submit_one(self->ctx, &self->iocb) != 1)
			_exit(1);
		aio_prep(&s->iocb, IOCB_CMD_PREAD, s->e.in, &s->c, 1, 0);
		if (clone_shared(orphan, s, 0) < 0 || !EVENTUALLY(s->at == 1))
			_exit(2);
		_exit(0);
	}
	EXPECT_EQ(0, await_child(pid));
	close(report[1]);
	EXPECT_EQ(1, read(report[0], &verdict, 1));
	EXPECT_EQ('y', verdict);
}

/* ------------------------------------------------------ stopped, traced, frozen */

struct waiter {
	struct ends e[2];
	int ready[2], go[2];
};

/* Two reads, one of them in a thread that sleeps. Neither has an event before @go. */
static void waiter_child(struct waiter *w)
{
	struct io_event event[2];
	aio_context_t ctx = 0;
	struct iocb iocb[2];
	char buf[2], c;
	int i;

	if (setup_threaded(4, &ctx))
		_exit(1);
	for (i = 0; i < 2; i++) {
		aio_prep(&iocb[i], IOCB_CMD_PREAD, w->e[i].in, &buf[i], 1, 0);
		if (aio_submit_one(ctx, &iocb[i]) != 1)
			_exit(2);
	}
	if (write(w->ready[1], "x", 1) != 1)
		_exit(3);
	while (read(w->go[0], &c, 1) != 1)
		if (errno != EINTR)
			_exit(4);
	if (aio_reap(ctx, event, 2))
		_exit(5);
	if (write(w->ready[1], "x", 1) != 1)
		_exit(6);
	if (await_events(ctx, event, 2) != 2)
		_exit(7);
	if (event[0].res != 1 || event[1].res != 1)
		_exit(8);
	/* And new ones are done. */
	for (i = 0; i < 2; i++)
		if (aio_submit_one(ctx, &iocb[i]) != 1)
			_exit(9);
	if (await_events(ctx, event, 2) != 2 || event[0].res != 1 || event[1].res != 1)
		_exit(10);
	_exit(0);
}

static pid_t waiter_start(struct waiter *w)
{
	pid_t pid;
	char c;

	if (!ends_open(&w->e[0], ENDS_PIPE, 0) || !ends_open(&w->e[1], ENDS_PTY, 0) ||
	    pipe(w->ready) || pipe(w->go))
		return -1;
	pid = fork();
	if (!pid)
		waiter_child(w);
	if (pid > 0 && read(w->ready[0], &c, 1) != 1)
		return -1;
	aio_sleep_ms(10);
	return pid;
}

/* Whether nothing has happened to the reads by then, and they go on. */
static int waiter_finish(struct waiter *w, pid_t pid)
{
	int i, k;
	char c;

	if (write(w->go[1], "x", 1) != 1)
		return -2;
	if (read(w->ready[0], &c, 1) != 1)
		return await_child(pid);
	for (k = 0; k < 2; k++)
		for (i = 0; i < 2; i++)
			if (!ends_feed(&w->e[i]))
				return -3;
	return await_child(pid);
}

TEST_F(life, stop)
{
	struct waiter w;
	pid_t pid;
	int i;

	pid = waiter_start(&w);
	ASSERT_LT(0, pid);
	for (i = 0; i < 20; i++) {
		kill(pid, SIGSTOP);
		ASSERT_TRUE(EVENTUALLY(waitpid(pid, NULL, WUNTRACED | WNOHANG) == pid));
		EXPECT_EQ('T', state_of(pid, pid));
		kill(pid, SIGCONT);
		if (i & 1)
			aio_sleep_ms(2);
	}
	EXPECT_EQ(0, waiter_finish(&w, pid));
}

/* What comes while it is stopped is there afterwards. */
TEST_F(life, fed_while_stopped)
{
	struct waiter w;
	pid_t pid;
	char c;
	int i;

	pid = waiter_start(&w);
	ASSERT_LT(0, pid);
	ASSERT_EQ(1, write(w.go[1], "x", 1));
	ASSERT_EQ(1, read(w.ready[0], &c, 1));
	kill(pid, SIGSTOP);
	ASSERT_TRUE(EVENTUALLY(waitpid(pid, NULL, WUNTRACED | WNOHANG) == pid));
	for (i = 0; i < 4; i++)
		ASSERT_TRUE(ends_feed(&w.e[i % 2]));
	aio_sleep_ms(10);
	kill(pid, SIGCONT);
	EXPECT_EQ(0, await_child(pid));
}

/* A debugger comes to all of its threads, and goes. */
TEST_F(life, ptrace)
{
	pid_t pid, tid[16];
	struct waiter w;
	char path[64];
	struct dirent *d;
	int round, n, i, status;
	DIR *dir;

	pid = waiter_start(&w);
	ASSERT_LT(0, pid);
	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	for (round = 0; round < 10; round++) {
		n = 0;
		dir = opendir(path);
		ASSERT_NE(NULL, dir);
		while ((d = readdir(dir)) && n < 16)
			if (d->d_name[0] != '.')
				tid[n++] = atoi(d->d_name);
		closedir(dir);
		if (!threads_plain())
			EXPECT_LE(2, n);
		for (i = 0; i < n; i++) {
			if (ptrace(PTRACE_SEIZE, tid[i], NULL, NULL)) {
				/* It may have left meanwhile, or be about to. */
				ASSERT_TRUE(errno == ESRCH || errno == EPERM);
				tid[i] = 0;
				continue;
			}
			ASSERT_EQ(0, ptrace(PTRACE_INTERRUPT, tid[i], NULL, NULL));
		}
		for (i = 0; i < n; i++) {
			if (!tid[i])
				continue;
			ASSERT_TRUE(EVENTUALLY(waitpid(tid[i], &status, __WALL | WNOHANG) ==
					       tid[i]));
			if (!WIFSTOPPED(status))
				tid[i] = 0;
		}
		for (i = 0; i < n; i++)
			if (tid[i])
				EXPECT_EQ(0, ptrace(PTRACE_DETACH, tid[i], NULL, NULL));
	}
	EXPECT_EQ(0, waiter_finish(&w, pid));
}

/* A debugged process is killed, and its debugger leaves without a word. */
TEST_F(life, ptrace_kill)
{
	struct waiter w;
	struct tasks t;
	pid_t pid;

	pid = waiter_start(&w);
	ASSERT_LT(0, pid);
	t = tasks_of(pid);
	if (t.workers) {
		ASSERT_EQ(0, ptrace(PTRACE_SEIZE, t.worker, NULL, NULL));
		ASSERT_EQ(0, ptrace(PTRACE_INTERRUPT, t.worker, NULL, NULL));
		EXPECT_TRUE(EVENTUALLY(waitpid(t.worker, NULL, __WALL | WNOHANG) == t.worker));
	}
	kill(pid, SIGKILL);
	if (t.workers)
		EXPECT_TRUE(EVENTUALLY(waitpid(t.worker, NULL, __WALL | WNOHANG) != 0));
	EXPECT_EQ(SIGKILL, await_child(pid));
}

/* ------------------------------------------------------ suspend */

#define PM_STATE	"/sys/power/state"
#define PM_TEST		"/sys/power/pm_test"
#define PM_DELAY	"/sys/module/suspend/parameters/pm_test_delay"

/* A suspend that goes as far as the freezing of all tasks, and back after a second. */
static int suspend_tasks(void)
{
	long long delay = aio_read_number(PM_DELAY);
	char text[32];
	int ret;

	aio_write_text(PM_DELAY, "1");
	ret = aio_write_text(PM_TEST, "freezer") ?: aio_write_text(PM_STATE, "freeze");
	aio_write_text(PM_TEST, "none");
	snprintf(text, sizeof(text), "%lld", delay);
	aio_write_text(PM_DELAY, text);
	return ret;
}

/*
 * Reads that wait for readiness, one that a thread sleeps in, and a program that waits for all of
 * them; then they end, and not before.
 */
static void suspended_child(struct kid *k)
{
	struct io_event event;
	int i;

	if (!kid_start(k))
		_exit(1);
	for (i = 0; i <= NR; i++) {
		/* Interrupted it may be, as by every freezer. */
		if (await_events(k->ctx, &event, 1) != 1)
			_exit(2);
		if (event.res != 1)
			_exit(3);
	}
	_exit(aio_drain(k->ctx) ? 4 : 0);
}

/* Whether the reads are as they were; and they go on. */
static bool suspended_finish(struct kid *k, pid_t pid)
{
	int i, status;

	if (waitpid(pid, &status, WNOHANG))
		return false;
	for (i = 0; i < NR; i++)
		if (!ends_feed(&k->e[i % 10]))
			return false;
	return ends_feed(&k->pty);
}

/*
 * No task keeps the machine from its sleep, neither a thread that reads nor who waits in
 * io_getevents(), and none of them notices.
 */
TEST_F_TIMEOUT(life, suspend, 300)
{
	struct kid *k = calloc(1, sizeof(*k));
	char text[128];
	int round;
	pid_t pid;

	if (access(PM_TEST, W_OK))
		SKIP(return, "no " PM_TEST " (needs root, CONFIG_SUSPEND, CONFIG_PM_DEBUG)");
	if (aio_read_text(PM_STATE, text, sizeof(text)) <= 0 || !strstr(text, "freeze"))
		SKIP(return, PM_STATE " has no freeze");
	ASSERT_TRUE(kid_open(k));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid)
		suspended_child(k);
	ASSERT_TRUE(kid_is_ready(k));
	ASSERT_TRUE(EVENTUALLY(aio_is_blocked(pid, pid, __NR_io_getevents)));
	EXPECT_LT(0, tasks_of(pid).workers);
	for (round = 0; round < 2; round++) {
		EXPECT_EQ(0, suspend_tasks());
		/* It waits again. */
		EXPECT_TRUE(EVENTUALLY(aio_is_blocked(pid, pid, __NR_io_getevents)));
	}
	EXPECT_TRUE(suspended_finish(k, pid));
	EXPECT_EQ(0, await_child(pid));
}

/* ------------------------------------------------------ control groups */

FIXTURE(group) {
	char mnt[32], dir[64];
};

static const char *in_group(const char *dir, const char *name)
{
	static char path[2][128];
	static int i;

	i ^= 1;
	snprintf(path[i], sizeof(path[i]), "%s/%s", dir, name);
	return path[i];
}

FIXTURE_SETUP(group)
{
	NEED_THREADS();
	snprintf(self->mnt, sizeof(self->mnt), "/tmp/aio_cgroup_XXXXXX");
	ASSERT_NE(NULL, mkdtemp(self->mnt));
	if (mount("none", self->mnt, "cgroup2", 0, NULL)) {
		rmdir(self->mnt);
		self->mnt[0] = '\0';
		SKIP(return, "cannot mount cgroup2");
	}
	snprintf(self->dir, sizeof(self->dir), "%s/aio_threads", self->mnt);
	mkdir(self->dir, 0700);
}

FIXTURE_TEARDOWN_PARENT(group)
{
	if (!self->mnt[0])
		return;
	aio_write_text(in_group(self->dir, "cgroup.freeze"), "0");
	aio_write_text(in_group(self->dir, "cgroup.kill"), "1");
	EXPECT_TRUE(EVENTUALLY(!rmdir(self->dir) || errno == ENOENT));
	umount(self->mnt);
	rmdir(self->mnt);
}

static bool group_says(const char *dir, const char *file, const char *what)
{
	char text[512];

	return aio_read_text(in_group(dir, file), text, sizeof(text)) > 0 && strstr(text, what);
}

static bool group_is_empty(const char *path)
{
	char text[4096] = "";

	return aio_read_text(path, text, sizeof(text)) == 0;
}

TEST_F(group, freeze_and_move)
{
	char text[32], second[80];
	struct waiter w;
	pid_t pid;
	int i;

	if (access(in_group(self->dir, "cgroup.freeze"), W_OK))
		SKIP(return, "no cgroup.freeze");
	pid = waiter_start(&w);
	ASSERT_LT(0, pid);
	snprintf(text, sizeof(text), "%d", pid);
	ASSERT_EQ(0, aio_write_text(in_group(self->dir, "cgroup.procs"), text));
	for (i = 0; i < 10; i++) {
		ASSERT_EQ(0, aio_write_text(in_group(self->dir, "cgroup.freeze"), "1"));
		/* All of its threads are. */
		ASSERT_TRUE(EVENTUALLY(group_says(self->dir, "cgroup.events", "frozen 1")));
		ASSERT_EQ(0, aio_write_text(in_group(self->dir, "cgroup.freeze"), "0"));
		if (i & 1)
			aio_sleep_ms(2);
	}
	/* They move with the process. */
	snprintf(second, sizeof(second), "%s/aio_threads_2", self->mnt);
	mkdir(second, 0700);
	ASSERT_EQ(0, aio_write_text(in_group(second, "cgroup.procs"), text));
	/* One that is about to end does not move, and is listed until then. */
	EXPECT_TRUE(EVENTUALLY(group_is_empty(in_group(self->dir, "cgroup.threads"))));
	EXPECT_EQ(0, waiter_finish(&w, pid));
	EXPECT_TRUE(EVENTUALLY(!rmdir(second)));
}

/* pids.max allows for no thread more: so it is done in io_submit(). */
TEST_F(group, pids_max)
{
	pid_t pid;

	aio_write_text(in_group(self->mnt, "cgroup.subtree_control"), "+pids");
	if (access(in_group(self->dir, "pids.max"), W_OK))
		SKIP(return, "no controller pids");
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		int mem = aio_mem_file(), i;
		struct io_event event;
		aio_context_t ctx = 0;
		struct iocb iocb;

		if (setup_threaded(4, &ctx) ||
		    aio_write_text(in_group(self->dir, "cgroup.procs"), "0") ||
		    aio_write_text(in_group(self->dir, "pids.max"), "1"))
			_exit(1);
		for (i = 0; i < 10; i++) {
			aio_prep(&iocb, IOCB_CMD_PWRITE, mem, "x", 1, i);
			if (aio_submit_one(ctx, &iocb) != 1 || await_events(ctx, &event, 1) != 1 ||
			    event.res != 1)
				_exit(2);
		}
		if (tasks_of(getpid()).all != 1)
			_exit(3);
		/* It may have one again. */
		if (aio_write_text(in_group(self->dir, "pids.max"), "max") ||
		    aio_submit_one(ctx, &iocb) != 1 || await_events(ctx, &event, 1) != 1 ||
		    event.res != 1)
			_exit(4);
		_exit(0);
	}
	EXPECT_EQ(0, await_child(pid));
}

/* ------------------------------------------------------ no thread to be had */

static void limited_child(int in, int ready)
{
	int mem = aio_mem_file(), comm = open("/proc/self/comm", O_RDONLY);
	struct io_event event;
	aio_context_t ctx = 0;
	struct iocb iocb;
	char buf[64];
	long ret;

	if (!setup_without_threads(4, &ctx))
		_exit(1);
	aio_prep(&iocb, IOCB_CMD_PWRITE, mem, "x", 1, 0);
	if (aio_submit_one(ctx, &iocb) != 1 || await_events(ctx, &event, 1) != 1 || event.res != 1)
		_exit(2);
	/* Plain contexts cannot do that, and threads there are none. */
	aio_prep(&iocb, IOCB_CMD_PREAD, comm, buf, sizeof(buf), 0);
	ret = aio_submit_one(ctx, &iocb);
	if (ret != -EAGAIN)
		_exit(3);
	if (tasks_of(getpid()).all != 1 || aio_drain(ctx))
		_exit(4);
	/* It waits here, until somebody writes. */
	aio_prep(&iocb, IOCB_CMD_PREAD, in, buf, 1, 0);
	if (write(ready, "x", 1) != 1 || aio_submit_one(ctx, &iocb) != 1)
		_exit(5);
	if (aio_reap(ctx, &event, 1) != 1 || event.res != 1)
		_exit(6);
	_exit(0);
}

TEST_F(life, limit_of_processes)
{
	int ready[2];
	pid_t pid;
	char c;

	if (geteuid())
		SKIP(return, "is for root");
	ASSERT_EQ(0, pipe(ready));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		close(ready[0]);
		limited_child(self->e.in, ready[1]);
	}
	close(ready[1]);
	if (read(ready[0], &c, 1) == 1) {
		EXPECT_TRUE(EVENTUALLY(aio_is_blocked(pid, pid, __NR_io_submit)));
		ASSERT_TRUE(ends_feed(&self->e));
	}
	EXPECT_EQ(0, await_child(pid));
}

static void writing_child(int out)
{
	static char data[200000];
	struct io_event event;
	aio_context_t ctx = 0;
	struct iocb iocb;

	if (!setup_without_threads(4, &ctx))
		_exit(1);
	aio_prep(&iocb, IOCB_CMD_PWRITE, out, data, sizeof(data), 0);
	if (aio_submit_one(ctx, &iocb) != 1 || aio_reap(ctx, &event, 1) != 1)
		_exit(2);
	_exit(event.res == sizeof(data) && tasks_of(getpid()).all == 1 ? 0 : 3);
}

/* What has begun, and would be carried on, is done to its end in io_submit(). */
TEST_F(life, rest_without_a_thread)
{
	static char data[65536];
	size_t all = 0;
	int end[2];
	ssize_t n;
	pid_t pid;

	if (geteuid())
		SKIP(return, "is for root");
	ASSERT_EQ(0, pipe(end));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		close(end[0]);
		writing_child(end[1]);
	}
	close(end[1]);
	while ((n = read(end[0], data, sizeof(data))) > 0)
		all += n;
	EXPECT_EQ(200000, all);
	EXPECT_EQ(0, await_child(pid));
	close(end[0]);
}

/* The only thread that there may be sits in a read. Then there may be more. */
static void short_child(int tty)
{
	struct rlimit lim = { 2, 10 };
	const long long end = aio_now_ns() + patience() * 1000000000LL;
	int mem = aio_mem_file(), i, got, sent;
	struct timespec second = { 1, 0 };
	struct io_event events[4];
	aio_context_t ctx = 0;
	struct iocb iocb[3];
	long ret;
	char c;

	if (setup_threaded(4, &ctx) || setrlimit(RLIMIT_NPROC, &lim) ||
	    setresgid(54322, 54322, 54322) || setresuid(54322, 54322, 54322))
		_exit(1);
	aio_prep(&iocb[0], IOCB_CMD_PREAD, tty, &c, 1, 0);
	for (i = 1; i < 3; i++)
		aio_prep(&iocb[i], IOCB_CMD_PWRITE, mem, "x", 1, i);
	if (aio_submit_one(ctx, &iocb[0]) != 1 || aio_submit_one(ctx, &iocb[1]) != 1)
		_exit(2);
	aio_sleep_ms(50);
	if (aio_drain(ctx) || tasks_of(getpid()).all != 2)
		_exit(3);
	lim.rlim_cur = lim.rlim_max;
	if (setrlimit(RLIMIT_NPROC, &lim) || aio_submit_one(ctx, &iocb[2]) != 1)
		_exit(4);
	/*
	 * What waits already is done, too. Who submits creates a thread once it is known that one
	 * is missing, which may be a moment later.
	 */
	for (got = 0, sent = 2; got < sent; got += ret) {
		ret = io_getevents(ctx, 1, 4, events, &second);
		if (ret < 0 || aio_now_ns() > end)
			_exit(5);
		for (i = 0; i < ret; i++)
			if (events[i].res != 1)
				_exit(5);
		if (!ret && sent < 4 && aio_submit_one(ctx, &iocb[2]) == 1)
			sent++;
	}
	_exit(aio_drain(ctx) ? 6 : 0);
}

/* Root's child, to which a terminal is given whose reads only threads can do. */
static void with_a_terminal(struct __test_metadata *_metadata, void (*child)(int tty))
{
	struct ends tty;
	pid_t pid;

	if (geteuid())
		SKIP(return, "is for root");
	if (threads_plain())
		SKIP(return, "a plain context waits in io_submit()");
	ASSERT_TRUE(ends_open(&tty, ENDS_PTY, 0));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid)
		child(tty.in);
	EXPECT_EQ(0, await_child(pid));
	ends_close(&tty);
}

TEST_F(life, limit_is_raised)
{
	with_a_terminal(_metadata, short_child);
}

/* The first threads were made for root. Those that come later count as another user's. */
static void dropped_child(int tty)
{
	struct rlimit lim = { 3, 3 };
	int mem = aio_mem_file(), i;
	struct iocb iocb[8];
	struct io_event event;
	aio_context_t ctx = 0;
	char c[8];

	if (setup_threaded(8, &ctx))
		_exit(1);
	aio_prep(&iocb[0], IOCB_CMD_PWRITE, mem, "x", 1, 0);
	if (aio_submit_one(ctx, &iocb[0]) != 1 || await_events(ctx, &event, 1) != 1)
		_exit(2);
	if (setrlimit(RLIMIT_NPROC, &lim) || setresgid(54323, 54323, 54323) ||
	    setresuid(54323, 54323, 54323))
		_exit(3);
	for (i = 0; i < 8; i++) {
		aio_prep(&iocb[i], IOCB_CMD_PREAD, tty, &c[i], 1, 0);
		if (aio_submit_one(ctx, &iocb[i]) != 1)
			_exit(4);
	}
	aio_sleep_ms(50);
	/* The main thread, the first two, and two that the limit allows besides the main one. */
	_exit(tasks_of(getpid()).all > 5 ? 5 : 0);
}

TEST_F(life, limit_of_another_user)
{
	with_a_terminal(_metadata, dropped_child);
}

static volatile sig_atomic_t timers_left;

/* Only so many: on a slow machine nothing could ever be done between two of them. */
static void on_timer(int sig)
{
	struct itimerval never = { 0 };

	if (timers_left-- == 0)
		setitimer(ITIMER_REAL, &never, NULL);
}

/* A signal while the first thread is made: the call begins anew. */
TEST_F_TIMEOUT(life, signal_while_submitting, 120)
{
	struct itimerval fast = { { 0, 1000 }, { 0, 500 } }, never = { 0 };
	int round, status;
	pid_t pid;

	for (round = 0; round < (aio_long() ? 100 : 25); round++) {
		pid = fork();
		ASSERT_LE(0, pid);
		if (!pid) {
			struct sigaction sa = { .sa_handler = on_timer };
			int mem = aio_mem_file(), i;
			struct io_event event;
			struct iocb iocb;
			long ret;

			self->ctx = 0;
			if (setup_threaded(16, &self->ctx))
				_exit(1);
			sigaction(SIGALRM, &sa, NULL);
			timers_left = 30;
			setitimer(ITIMER_REAL, &fast, NULL);
			for (i = 0; i < 10; i++) {
				aio_prep(&iocb, IOCB_CMD_PWRITE, mem, "x", 1, i);
				ret = aio_submit_one(self->ctx, &iocb);
				if (ret != 1)
					_exit(2);
			}
			ret = aio_submit_one(self->ctx, &self->iocb);
			setitimer(ITIMER_REAL, &never, NULL);
			if (ret != 1)
				_exit(3);
			for (i = 0; i < 10; i++)
				if (await_events(self->ctx, &event, 1) != 1 || event.res != 1)
					_exit(4);
			_exit(0);
		}
		status = await_child(pid);
		ASSERT_EQ(0, status);
	}
}

#define TTYS	4

/*
 * What is submitted together begins together: who takes the first of it wakes the next one. A
 * thread that nobody has woken looks when it has waited for 5 seconds.
 */
TEST_F_TIMEOUT(life, all_begin, 120)
{
	struct iocb iocb[TTYS], *list[TTYS];
	int i, round, good = 0;
	struct ends tty[TTYS];
	char c[TTYS];
	long long start;

	for (i = 0; i < TTYS; i++) {
		/* There is no way to try such a read, so each has a thread, which sleeps in it. */
		ASSERT_TRUE(ends_open(&tty[i], ENDS_PTY, 0));
		aio_prep(&iocb[i], IOCB_CMD_PREAD, tty[i].in, &c[i], 1, 0);
		list[i] = &iocb[i];
	}
	/* From the second round on there is an idle one for each. */
	for (round = 0; round < 20 && good < 5; round++) {
		start = aio_now_ns();
		ASSERT_EQ(TTYS, io_submit(self->ctx, TTYS, list));
		/* The first one is the last to go on. */
		for (i = TTYS - 1; i >= 0; i--) {
			ASSERT_TRUE(ends_feed(&tty[i]));
			EXPECT_NEXT(self->ctx, list[i], 1);
		}
		/* Any machine may be slow for once. */
		good += aio_now_ns() - start <= 2500000000LL;
	}
	EXPECT_EQ(5, good);
	for (i = 0; i < TTYS; i++)
		ends_close(&tty[i]);
}

TEST_HARNESS_MAIN
