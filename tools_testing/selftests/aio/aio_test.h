/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the AIO tests share: the system calls (issued directly, an error is
 * returned as a negative errno), the ring as the kernel lays it out, files and
 * memory to do I/O on, ways to see what the kernel and another thread are
 * doing, and a slow block device.
 */
#ifndef AIO_TEST_H
#define AIO_TEST_H

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/aio_abi.h>
#include <linux/fs.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#ifndef RWF_NOAPPEND
#define RWF_NOAPPEND	0x00000020
#endif

#define AIO_RING_MAGIC		0xa10a10a1U
#define AIO_RING_HEADER		32
#define AIO_EVENT_SIZE		32
/* io_setup() doubles the number, and refuses more than this many events. */
#define AIO_MAX_DOUBLED		(0x10000000U / AIO_EVENT_SIZE)
/* No read or write transfers more than this. */
#define AIO_MAX_RW_COUNT	(INT_MAX & ~(getpagesize() - 1))

/*
 * Whether there are addresses that are the kernel's, so that they are refused
 * before anybody looks what is there. For a 32-bit program on a 64-bit kernel
 * all are those of a program.
 */
#define AIO_HAS_KERNEL_ADDRESSES	(sizeof(long) == 8)

/* The mapping that an aio_context_t points to. */
struct aio_ring {
	__u32 id;
	__u32 nr;
	__u32 head;
	__u32 tail;
	__u32 magic;
	__u32 compat_features;
	__u32 incompat_features;
	__u32 header_length;
	struct io_event events[];
};

static inline volatile struct aio_ring *aio_ring(aio_context_t ctx)
{
	return (volatile struct aio_ring *)ctx;
}

/* ------------------------------------------------------ system calls */

static inline long aio_result(long ret)
{
	return ret == -1 ? -errno : ret;
}

/*
 * With AIO_RECORD in the environment, a case prints which errors its calls have
 * returned and for which numbers, each only once: "# aio: io_setup -22 4194305".
 * scripts/spec-check compares that with the specifications of the calls. A process
 * inherits what its parent has printed. Calls that succeed are told of where their
 * numbers are unusual.
 */
enum aio_call {
	AIO_CALL_SETUP,
	AIO_CALL_DESTROY,
	AIO_CALL_SUBMIT,
	AIO_CALL_CANCEL,
	AIO_CALL_GETEVENTS,
	AIO_CALL_PGETEVENTS,
	AIO_CALL_SETUP2,
	AIO_CALLS,
};

#define AIO_RECORDED_VALUES	256

struct aio_recorded_call {
	enum aio_call call;
	long ret, a, b;
};

static struct {
	bool on;
	bool held;
	unsigned int nr_held;
	struct aio_recorded_call later[16];
	__u64 errors[AIO_CALLS][4];
	__u64 values[AIO_RECORDED_VALUES];
} aio_record;

static __attribute__((constructor)) void aio_record_start(void)
{
	memset(&aio_record, 0, sizeof(aio_record));
	aio_record.on = getenv("AIO_RECORD");
}

/* Is this the first time that the call ends in this way? */
static inline bool aio_record_is_new(enum aio_call call, long ret, long a, long b)
{
	__u64 hash = 0x9e3779b97f4a7c15ULL * (call + 1), old = 0;
	__u64 bit = 1ULL << (-ret & 63), *word;
	bool new_error = false;
	unsigned int i;

	if (ret < 0 && ret >= -255) {
		word = &aio_record.errors[call][-ret / 64];
		new_error = !(__atomic_fetch_or(word, bit, __ATOMIC_RELAXED) & bit);
	}
	hash = (hash ^ (__u64)(ret < 0 ? ret : 0)) * 0x9e3779b97f4a7c15ULL;
	hash = (hash ^ (__u64)a) * 0x9e3779b97f4a7c15ULL;
	hash = (hash ^ (__u64)b) * 0x9e3779b97f4a7c15ULL;
	hash |= 1;
	/* A few places only: what finds none is not told of. */
	for (i = 0; i < 8; i++) {
		word = &aio_record.values[((hash >> 56) + i) % AIO_RECORDED_VALUES];
		old = __atomic_load_n(word, __ATOMIC_RELAXED);
		if (!old && __atomic_compare_exchange_n(word, &old, hash, false, __ATOMIC_RELAXED,
							__ATOMIC_RELAXED))
			return true;
		if (old == hash)
			break;
	}
	return new_error;
}

static inline long aio_record_call(enum aio_call call, long ret, long a, long b)
{
	static const char * const names[AIO_CALLS] = {
		"io_setup", "io_destroy", "io_submit", "io_cancel", "io_getevents",
		"io_pgetevents", "io_setup2",
	};
	int err = errno, len;
	char line[128];

	if (aio_record_is_new(call, ret, a, b)) {
		len = snprintf(line, sizeof(line), "# aio: %s %ld %ld %ld\n", names[call],
			       ret < 0 ? ret : 0, a, b);
		if (write(STDOUT_FILENO, line, len) < 0)
			aio_record.on = false;
	}
	errno = err;
	return ret;
}

/* @a and @b are those of the arguments that are plain numbers. */
static inline long aio_recorded(enum aio_call call, long ret, long a, long b)
{
	const unsigned int room = ARRAY_SIZE(aio_record.later);

	if (!aio_record.on)
		return ret;
	if (ret >= 0 && call != AIO_CALL_SETUP && call != AIO_CALL_SETUP2 &&
	    a > 0 && a <= 65536 && b >= 0 && b <= 65536)
		return ret;
	if (!aio_record.held)
		return aio_record_call(call, ret, a, b);
	if (aio_record.nr_held < room)
		aio_record.later[aio_record.nr_held++] =
			(struct aio_recorded_call){ call, ret, a, b };
	return ret;
}

/* Nothing is printed from now on until it is released: to print would be a system call more. */
static inline void aio_record_hold(void)
{
	aio_record.held = true;
}

static inline void aio_record_release(void)
{
	unsigned int i;

	aio_record.held = false;
	for (i = 0; i < aio_record.nr_held; i++)
		aio_record_call(aio_record.later[i].call, aio_record.later[i].ret,
				aio_record.later[i].a, aio_record.later[i].b);
	aio_record.nr_held = 0;
}

static inline long io_setup(unsigned int nr, aio_context_t *ctxp)
{
	return aio_recorded(AIO_CALL_SETUP, aio_result(syscall(__NR_io_setup, nr, ctxp)), nr, 0);
}

static inline long io_destroy(aio_context_t ctx)
{
	return aio_recorded(AIO_CALL_DESTROY, aio_result(syscall(__NR_io_destroy, ctx)), 1, 0);
}

static inline long io_submit(aio_context_t ctx, long nr, struct iocb **iocbs)
{
	return aio_recorded(AIO_CALL_SUBMIT,
			    aio_result(syscall(__NR_io_submit, ctx, nr, iocbs)), nr, 0);
}

static inline long io_cancel(aio_context_t ctx, struct iocb *iocb,
			     struct io_event *result)
{
	return aio_recorded(AIO_CALL_CANCEL,
			    aio_result(syscall(__NR_io_cancel, ctx, iocb, result)), 1, 0);
}

static inline long io_getevents(aio_context_t ctx, long min_nr, long nr,
				struct io_event *events, struct timespec *ts)
{
	long ret = aio_result(syscall(__NR_io_getevents, ctx, min_nr, nr, events, ts));

	return aio_recorded(AIO_CALL_GETEVENTS, ret, min_nr, nr);
}

struct aio_sigset {
	const void *sigmask;
	size_t sigsetsize;
};

static inline long io_pgetevents(aio_context_t ctx, long min_nr, long nr,
				 struct io_event *events, struct timespec *ts,
				 const struct aio_sigset *sig)
{
	long ret = aio_result(syscall(__NR_io_pgetevents, ctx, min_nr, nr, events, ts, sig));

	return aio_recorded(AIO_CALL_PGETEVENTS, ret, min_nr, nr);
}

/* ------------------------------------------------------ requests */

static inline void aio_prep(struct iocb *iocb, int opcode, int fd,
			    const void *buf, size_t nbytes, long long offset)
{
	memset(iocb, 0, sizeof(*iocb));
	iocb->aio_data = ~(__u64)(uintptr_t)iocb;
	iocb->aio_lio_opcode = opcode;
	iocb->aio_fildes = fd;
	iocb->aio_buf = (uintptr_t)buf;
	iocb->aio_nbytes = nbytes;
	iocb->aio_offset = offset;
}

static inline long aio_submit_one(aio_context_t ctx, struct iocb *iocb)
{
	return io_submit(ctx, 1, &iocb);
}

/* A kernel that checks itself is slow: with AIO_SLOW=N all has N times its time. */
static inline int aio_slow(void)
{
	const char *slow = getenv("AIO_SLOW");

	return slow && atoi(slow) > 0 ? atoi(slow) : 1;
}

static inline bool aio_auto_threads(void);

/*
 * Collects up to @nr events that are there now. If all contexts are threaded those of requests
 * that are done at once in a plain one come soon, if there are threads that could do them.
 */
static inline long aio_reap(aio_context_t ctx, struct io_event *events, long nr)
{
	struct timespec zero = { 0 }, soon = { 0, 100000000 };
	static int threads = -1;
	struct stat st;

	if (threads < 0)
		threads = aio_auto_threads();
	/* "." and "..", and the caller. */
	if (threads && !stat("/proc/self/task", &st) && st.st_nlink > 3)
		return io_getevents(ctx, nr, nr, events, &soon);
	return io_getevents(ctx, 0, nr, events, &zero);
}

/* How many events are there now; they are gone afterwards. */
static inline long aio_drain(aio_context_t ctx)
{
	struct io_event events[64];
	long ret, sum = 0;

	while ((ret = aio_reap(ctx, events, 64)) > 0)
		sum += ret;
	return ret < 0 ? ret : sum;
}

/*
 * The same, of which @want must come: those of requests that a thread does, if all contexts are
 * threaded, and something else is in its way first.
 */
static inline long aio_drain_of(aio_context_t ctx, long want)
{
	struct timespec limit = { 20 * aio_slow(), 0 };
	struct io_event events[64];
	long sum = 0, ret;

	while (sum < want && aio_auto_threads()) {
		ret = io_getevents(ctx, 1, want - sum < 64 ? want - sum : 64, events, &limit);
		if (ret <= 0)
			break;
		sum += ret;
	}
	ret = aio_drain(ctx);
	return ret < 0 ? ret : sum + ret;
}

/* Submits one request and waits for its event: 1, or the first error. */
static inline long aio_run(aio_context_t ctx, struct iocb *iocb,
			   struct io_event *event)
{
	long ret = aio_submit_one(ctx, iocb);

	if (ret != 1)
		return ret;
	return io_getevents(ctx, 1, 1, event, NULL);
}

/*
 * Submits one-byte writes to /dev/null, which complete at once, until the
 * kernel takes no more; returns how many it took, or an error other than
 * EAGAIN.
 */
static inline long aio_fill(aio_context_t ctx, struct iocb *iocb, int null_fd)
{
	long ret, sum = 0;

	aio_prep(iocb, IOCB_CMD_PWRITE, null_fd, "x", 1, 0);
	while ((ret = aio_submit_one(ctx, iocb)) == 1)
		sum++;
	return ret == -EAGAIN ? sum : ret;
}

/* Macros for kselftest_harness.h. */

#define EXPECT_EVENT(event, iocb, result) do {				\
	EXPECT_EQ((__u64)(uintptr_t)(iocb), (event)->obj);		\
	EXPECT_EQ((iocb)->aio_data, (event)->data);			\
	EXPECT_EQ((__s64)(result), (__s64)(event)->res);		\
	EXPECT_EQ(0, (event)->res2);					\
} while (0)

/* The request is taken, and its event says @result. */
#define EXPECT_RES(ctx, iocb, result) do {				\
	struct io_event __event = { 0 };				\
									\
	EXPECT_EQ(1, aio_run(ctx, iocb, &__event));			\
	EXPECT_EVENT(&__event, iocb, result);				\
} while (0)

/* The request is refused with @error, and there is no event for it. */
#define EXPECT_REFUSED(ctx, iocb, error) do {				\
	EXPECT_EQ((long)(error), aio_submit_one(ctx, iocb));		\
	EXPECT_EQ(0, aio_drain(ctx));					\
} while (0)

/* ------------------------------------------------------ files and memory */

/* An empty file on a disk file system if TMPDIR or /tmp is on one. */
static inline int aio_disk_file(int flags)
{
	const char *dir = getenv("TMPDIR");
	char path[PATH_MAX];
	int fd;

	snprintf(path, sizeof(path), "%s/aio_test_XXXXXX", dir ? dir : "/tmp");
	fd = mkostemp(path, flags);
	if (fd >= 0)
		unlink(path);
	return fd;
}

static inline int aio_mem_file(void)
{
	return memfd_create("aio_test", 0);
}

/* The same file, opened in another way. */
static inline int aio_reopen(int fd, int flags)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return open(path, flags);
}

/* A pattern in which no two places of a buffer look alike. */
static inline void aio_pattern(void *buf, size_t len, __u32 seed)
{
	unsigned char *p = buf;
	__u32 x = seed * 2654435761U + 1;

	while (len--) {
		x = x * 1664525U + 1013904223U;
		*p++ = x >> 24;
	}
}

static inline void *aio_pages(size_t len, int prot)
{
	return mmap(NULL, len, prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

/* @len bytes that end where memory that cannot be touched begins. */
static inline void *aio_guarded(size_t len)
{
	size_t page = getpagesize();
	size_t size = (len + page - 1) / page * page;
	char *p = aio_pages(size + page, PROT_READ | PROT_WRITE);

	if (p == MAP_FAILED || mprotect(p + size, page, PROT_NONE))
		return NULL;
	return p + size - len;
}

/* An address of this process that nothing is mapped at. */
static inline void *aio_unmapped(void)
{
	size_t page = getpagesize();
	char *p = aio_pages(3 * page, PROT_NONE);

	munmap(p, 3 * page);
	return p + page;
}

/* ------------------------------------------------------ the kernel's view */

static inline int aio_read_text(const char *path, char *buf, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t len, sum = 0;

	if (fd < 0)
		return -errno;
	while ((len = read(fd, buf + sum, size - 1 - sum)) > 0)
		sum += len;
	close(fd);
	if (len < 0)
		return -errno;
	buf[sum] = '\0';
	return sum;
}

static inline int aio_write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	int ret = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		ret = -errno;
	close(fd);
	return ret;
}

/* A file that holds one number, -1 when it cannot be read. */
static inline long long aio_read_number(const char *path)
{
	char buf[64];

	if (aio_read_text(path, buf, sizeof(buf)) <= 0)
		return -1;
	return strtoll(buf, NULL, 10);
}

/*
 * Which of the two implementations is this? The kernel tells by its
 * configuration; where it does not, the environment may say AIO_KERNEL=rust.
 */
static inline bool aio_is_rust(void)
{
	const char *kernel = getenv("AIO_KERNEL");

	if (!access("/proc/config.gz", R_OK))
		return !system("gzip -dc /proc/config.gz | grep -qx CONFIG_AIO_RUST=y");
	return kernel && !strcmp(kernel, "rust");
}

static inline long long aio_nr(void)
{
	return aio_read_number("/proc/sys/fs/aio-nr");
}

static inline long long aio_max_nr(void)
{
	return aio_read_number("/proc/sys/fs/aio-max-nr");
}

/* Locked memory of a process in bytes, -1 when it cannot be read. */
static inline long long aio_locked(pid_t pid)
{
	char path[64], buf[8192], *p;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	if (aio_read_text(path, buf, sizeof(buf)) <= 0)
		return -1;
	p = strstr(buf, "\nVmLck:");
	return p ? strtoll(p + 7, NULL, 10) * 1024 : -1;
}

/* Whether rings count as locked memory, and RLIMIT_MEMLOCK may limit them. */
#define AIO_MEMLOCK	"/proc/sys/fs/aio-memlock"

static inline bool aio_has_memlock(void)
{
	return !access(AIO_MEMLOCK, F_OK);
}

/*
 * Whether the contexts that are made now are threaded. The programs hold then, too, but for
 * the cases that are about a wait in io_submit(), or about what is refused.
 */
static inline bool aio_auto_threads(void)
{
	return aio_read_number("/proc/sys/fs/aio-auto-threads") == 1;
}

#define FOR_PLAIN(why) do {						\
	if (aio_auto_threads())						\
		SKIP(return, "threaded contexts: " why);		\
} while (0)

/* The number of processors that the kernel sizes rings for. It does not change. */
static inline unsigned int aio_possible_cpus(void)
{
	static unsigned int sum;
	unsigned int first, last;
	char buf[256], *p = buf;
	int len;

	if (sum)
		return sum;
	if (aio_read_text("/sys/devices/system/cpu/possible", buf,
			  sizeof(buf)) <= 0)
		return 0;
	while (sscanf(p, "%u%n", &first, &len) == 1) {
		p += len;
		last = first;
		if (sscanf(p, "-%u%n", &last, &len) == 1)
			p += len;
		sum += last - first + 1;
		if (*p++ != ',')
			break;
	}
	return sum;
}

/* The number of bytes of a ring for @nr requests. */
static inline size_t aio_ring_bytes(unsigned int nr)
{
	unsigned int least = aio_possible_cpus() * 4;
	size_t page = getpagesize();
	size_t events = (size_t)(nr > least ? nr : least) * 2 + 2;

	return (AIO_RING_HEADER + events * AIO_EVENT_SIZE + page - 1) /
		page * page;
}

/* The number of events that ring->nr tells for @nr requests. */
static inline unsigned int aio_ring_nr(unsigned int nr)
{
	return (aio_ring_bytes(nr) - AIO_RING_HEADER) / AIO_EVENT_SIZE;
}

/* A line of /proc/self/maps. */
struct aio_vma {
	unsigned long start;
	unsigned long end;
	unsigned long long offset;
	char perms[8];
	char name[64];
};

/*
 * Finds the mapping that holds @addr, or with @addr 0 the first AIO ring, and
 * returns how many AIO rings are mapped in all.
 */
static inline int aio_maps(unsigned long addr, struct aio_vma *found)
{
	FILE *f = fopen("/proc/self/maps", "re");
	struct aio_vma vma;
	char line[512];
	int rings = 0;

	if (found)
		memset(found, 0, sizeof(*found));
	if (!f)
		return -1;
	while (fgets(line, sizeof(line), f)) {
		int at = 0;

		memset(&vma, 0, sizeof(vma));
		if (sscanf(line, "%lx-%lx %7s %llx %*s %*s %n", &vma.start,
			   &vma.end, vma.perms, &vma.offset, &at) < 4 || !at)
			continue;
		line[strcspn(line, "\n")] = '\0';
		snprintf(vma.name, sizeof(vma.name), "%.63s", line + at);
		if (found && addr && vma.start <= addr && addr < vma.end)
			*found = vma;
		if (strncmp(vma.name, "/[aio]", 6))
			continue;
		if (found && !addr && !rings)
			*found = vma;
		rings++;
	}
	fclose(f);
	return rings;
}

/* The frame of a page, by /proc/self/pagemap; 0 where there is none, or it is hidden. */
static inline unsigned long long aio_page_frame(int pagemap, unsigned long addr)
{
	unsigned long long entry;
	off_t offset = addr / getpagesize() * sizeof(entry);

	if (pread(pagemap, &entry, sizeof(entry), offset) != sizeof(entry))
		return 0;
	/* Bit 63: present. The frame is hidden from those who may not see it. */
	return entry >> 63 ? entry & ((1ULL << 55) - 1) : 0;
}

/* ------------------------------------------------------ processes, threads */

static inline void aio_sleep_ms(unsigned int ms)
{
	struct timespec ts = { ms / 1000, ms % 1000 * 1000000L };

	while (nanosleep(&ts, &ts) && errno == EINTR)
		;
}

/*
 * Takes out of a non-blocking eventfd what requests have signalled, which should be
 * @want. The signal comes after the event: who has seen that has to wait for it, unless
 * the request was complete when io_submit() returned, or the context is destroyed.
 */
static inline __u64 aio_eventfd_take(int efd, __u64 want)
{
	__u64 sum = 0, count;
	int i;

	for (i = 0; i < 20000; i++) {
		if (read(efd, &count, sizeof(count)) == sizeof(count))
			sum += count;
		if (sum >= want)
			break;
		aio_sleep_ms(1);
	}
	return sum;
}

/* The number of ring inodes, -1 when the kernel does not tell. */
static inline long aio_ring_inodes(void)
{
	char line[512], name[64];
	long active, found = -1;
	FILE *f;

	if (aio_write_text("/sys/kernel/slab/aio_inode_cache/shrink", "1"))
		return -1;
	f = fopen("/proc/slabinfo", "re");
	if (!f)
		return -1;
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "%63s %ld", name, &active) == 2 &&
		    !strcmp(name, "aio_inode_cache"))
			found = active;
	fclose(f);
	return found;
}

/* Inodes are freed a little later than the context is gone. */
static inline bool aio_ring_inodes_back_to(long base)
{
	int i;

	for (i = 0; i < 1000; i++) {
		if (aio_ring_inodes() <= base)
			return true;
		aio_sleep_ms(20);
	}
	return false;
}

/*
 * What fork() makes ends with the thread that calls it. So nobody goes on, and keeps what the next
 * tests need or the output open, after a test that has failed, or was stopped.
 */
static pid_t aio_forking;

static void aio_before_fork(void)
{
	aio_forking = getpid();
}

static void aio_in_child(void)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	/* 0: that of another namespace. */
	if (getppid() && getppid() != aio_forking)
		_exit(1);
}

static __attribute__((constructor)) void aio_end_together(void)
{
	pthread_atfork(aio_before_fork, NULL, aio_in_child);
}

/*
 * Does @end(@path) when the parent of the test is gone, that is, when the test was stopped, or the
 * whole program. A process is not over before its requests are: where the test itself is to let
 * them go on, it could not be killed otherwise, and would keep the output open for ever.
 */
static inline bool aio_guard(void (*end)(const char *path), const char *path)
{
	int parent = syscall(__NR_pidfd_open, getppid(), 0);
	struct pollfd pfd = { .fd = parent, .events = POLLIN };
	pid_t pid = parent < 0 ? -1 : fork();
	int fd;

	if (pid) {
		close(parent);
		return pid > 0;
	}
	/* It is not killed with them, and does not keep anything. */
	setpgid(0, 0);
	for (fd = 0; fd < 1024; fd++)
		if (fd != parent)
			close(fd);
	while (poll(&pfd, 1, -1) < 0)
		;
	end(path);
	_exit(0);
}

static inline long long aio_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000LL + ts.tv_nsec;
}

static inline pid_t aio_gettid(void)
{
	return syscall(__NR_gettid);
}

/* Is a thread of this or another process asleep in system call @nr? */
static inline bool aio_is_blocked(pid_t pid, pid_t tid, long nr)
{
	char path[64], buf[512];

	snprintf(path, sizeof(path), "/proc/%d/task/%d/syscall", pid, tid);
	if (aio_read_text(path, buf, sizeof(buf)) <= 0 ||
	    strtol(buf, NULL, 10) != nr || !strncmp(buf, "running", 7))
		return false;
	return true;
}

/*
 * Waits until thread *@tid sleeps in system call @nr. The thread may not have
 * told its id yet.
 */
static inline bool aio_wait_blocked(volatile pid_t *tid, long nr)
{
	int i;

	for (i = 0; i < 20000; i++) {
		if (*tid && aio_is_blocked(getpid(), *tid, nr))
			return true;
		aio_sleep_ms(1);
	}
	return false;
}

/* How often a thread of this process has gone to sleep, -1 if that is not told. */
static inline long aio_sleeps(pid_t tid)
{
	char path[64], buf[8192], *p;

	snprintf(path, sizeof(path), "/proc/self/task/%d/status", tid);
	if (aio_read_text(path, buf, sizeof(buf)) <= 0)
		return -1;
	p = strstr(buf, "\nvoluntary_ctxt_switches:");
	return p ? strtol(p + 25, NULL, 10) : -1;
}

/* Keeps the caller on the processor that it is on now. */
static inline int aio_pin_cpu(void)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(sched_getcpu(), &set);
	return sched_setaffinity(0, sizeof(set), &set);
}

/* A thread that makes one blocking call and keeps its result. */
struct aio_caller {
	pthread_t thread;
	volatile pid_t tid;
	volatile bool done;
	long ret;
	aio_context_t ctx;
	/* io_submit() */
	struct iocb *iocb;
	/* io_getevents() */
	long min_nr;
	long nr;
	struct io_event *events;
	struct timespec *timeout;
};

static inline void *aio_getevents_thread(void *arg)
{
	struct aio_caller *c = arg;

	c->tid = aio_gettid();
	c->ret = io_getevents(c->ctx, c->min_nr, c->nr, c->events, c->timeout);
	c->done = true;
	return NULL;
}

static inline void *aio_submit_thread(void *arg)
{
	struct aio_caller *c = arg;

	c->tid = aio_gettid();
	c->ret = aio_submit_one(c->ctx, c->iocb);
	c->done = true;
	return NULL;
}

static inline void *aio_destroy_thread(void *arg)
{
	struct aio_caller *c = arg;

	c->tid = aio_gettid();
	c->ret = io_destroy(c->ctx);
	c->done = true;
	return NULL;
}

/* Starts @fn and waits until it sleeps in system call @nr; false if it comes back before. */
static inline bool aio_start_blocked(struct aio_caller *c, void *(*fn)(void *),
				     long nr)
{
	int i;

	c->tid = 0;
	c->done = false;
	if (pthread_create(&c->thread, NULL, fn, c))
		return false;
	for (i = 0; i < 20000 && !c->done; i++) {
		if (c->tid && aio_is_blocked(getpid(), c->tid, nr))
			return true;
		aio_sleep_ms(1);
	}
	return false;
}

static inline long aio_join(struct aio_caller *c)
{
	pthread_join(c->thread, NULL);
	return c->ret;
}

/* For aio_guard(): a file system that must not stay frozen. */
static inline void aio_thaw(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	ioctl(fd, FITHAW, 0);
	close(fd);
	umount2(path, MNT_DETACH);
}

/* ------------------------------------------------------ a slow disk */

#define AIO_NULLB_DIR	"/sys/kernel/config/nullb"

struct aio_slow_disk {
	char dir[128];
	char dev[128];
};

static inline int aio_slow_disk_set(struct aio_slow_disk *disk,
				    const char *name, unsigned long value)
{
	char path[192], text[32];

	snprintf(path, sizeof(path), "%s/%s", disk->dir, name);
	snprintf(text, sizeof(text), "%lu", value);
	return aio_write_text(path, text);
}

static inline void aio_slow_disk_remove(struct aio_slow_disk *disk)
{
	if (!disk->dir[0])
		return;
	aio_slow_disk_set(disk, "power", 0);
	rmdir(disk->dir);
	disk->dir[0] = '\0';
}

/*
 * Makes a null_blk disk that takes @ms milliseconds for each request, and keeps
 * what is written to it in memory. Returns
 * false when this machine cannot do that: no root, no configfs, no null_blk.
 */
static inline bool aio_slow_disk_make_mb(struct aio_slow_disk *disk,
					 unsigned int ms, unsigned int mb)
{
	static int nr;
	char name[40];
	int i;

	disk->dir[0] = '\0';
	if (access(AIO_NULLB_DIR, W_OK)) {
		mount("none", "/sys/kernel/config", "configfs", 0, NULL);
		if (access(AIO_NULLB_DIR, W_OK) &&
		    system("modprobe -q null_blk nr_devices=0 2>/dev/null"))
			return false;
	}
	snprintf(name, sizeof(name), "aiotest%d-%d", getpid(), nr++);
	snprintf(disk->dir, sizeof(disk->dir), AIO_NULLB_DIR "/%s", name);
	snprintf(disk->dev, sizeof(disk->dev), "/dev/%s", name);
	if (mkdir(disk->dir, 0700)) {
		disk->dir[0] = '\0';
		return false;
	}
	if (aio_slow_disk_set(disk, "size", mb) ||
	    aio_slow_disk_set(disk, "irqmode", 2) ||
	    aio_slow_disk_set(disk, "hw_queue_depth", 1024) ||
	    aio_slow_disk_set(disk, "memory_backed", 1) ||
	    aio_slow_disk_set(disk, "completion_nsec", ms * 1000000UL) ||
	    aio_slow_disk_set(disk, "power", 1)) {
		aio_slow_disk_remove(disk);
		return false;
	}
	for (i = 0; i < 1000 && access(disk->dev, R_OK | W_OK); i++)
		aio_sleep_ms(5);
	if (i < 1000)
		return true;
	aio_slow_disk_remove(disk);
	return false;
}

static inline bool aio_slow_disk_make(struct aio_slow_disk *disk,
				      unsigned int ms)
{
	return aio_slow_disk_make_mb(disk, ms, 64);
}

/*
 * What the kernel counts for a disk: number @field of "stat" (4 is writes, 5
 * writes merged into others) or "inflight" (1 is writes). -1 when it does not.
 */
static inline long aio_disk_stat(const char *dev, const char *file, int field)
{
	char path[PATH_MAX], buf[256], *p = buf, *end;
	long value = -1;

	snprintf(path, sizeof(path), "/sys/class/block/%s/%s",
		 strrchr(dev, '/') + 1, file);
	if (aio_read_text(path, buf, sizeof(buf)) <= 0)
		return -1;
	for (; field >= 0; field--, p = end) {
		value = strtol(p, &end, 10);
		if (end == p)
			return -1;
	}
	return value;
}

/*
 * Is this a run that has time? Without AIO_TEST_LONG in the environment, programs whose rounds
 * differ in chance only make fewer of them.
 */
static inline bool aio_long(void)
{
	const char *s = getenv("AIO_TEST_LONG");

	return s && *s && strcmp(s, "0");
}

#ifdef __KSELFTEST_HARNESS_H
/*
 * A test that hangs is stopped after two minutes, not after the harness's 30 s, which an emulated
 * machine on a busy one may need. After the constructors that register the tests.
 */
static __attribute__((constructor)) void aio_more_time(void)
{
	struct __fixture_metadata *f;
	struct __test_metadata *t;

	for (f = __fixture_list; f; f = f->next)
		for (t = f->tests; t; t = t->next)
			t->timeout = (t->timeout < 120 ? 120 : t->timeout) * aio_slow();
}
#endif

#endif /* AIO_TEST_H */
