// SPDX-License-Identifier: GPL-2.0
/*
 * fs.aio-nr and fs.aio-max-nr.
 *
 * Held here: who may read and write them, that both are plain unsigned numbers
 * which are parsed as the kernel parses such numbers, that fs.aio-max-nr is
 * honoured by the next io_setup() and by nothing else, and that fs.aio-nr
 * counts the number that io_setup() was given.
 */
#include "../kselftest_harness.h"
#include "aio_test.h"

#define AIO_NR		"/proc/sys/fs/aio-nr"
#define AIO_MAX_NR	"/proc/sys/fs/aio-max-nr"

FIXTURE(sysctl) {
	char saved[64];
	long long base;
};

FIXTURE_SETUP(sysctl)
{
	ASSERT_GT(aio_read_text(AIO_MAX_NR, self->saved, sizeof(self->saved)),
		  0);
	self->base = aio_nr();
	ASSERT_GE(self->base, 0);
}

/* Also when a test has crashed or has given up its rights. */
FIXTURE_TEARDOWN_PARENT(sysctl)
{
	if (!geteuid() && self->saved[0])
		EXPECT_EQ(0, aio_write_text(AIO_MAX_NR, self->saved));
}

#define NOT_WRITABLE	"needs the right to write " AIO_MAX_NR

TEST_F(sysctl, modes)
{
	struct stat st;

	ASSERT_EQ(0, stat(AIO_NR, &st));
	EXPECT_EQ(S_IFREG | 0444, st.st_mode);
	EXPECT_EQ(0, st.st_uid);
	ASSERT_EQ(0, stat(AIO_MAX_NR, &st));
	EXPECT_EQ(S_IFREG | 0644, st.st_mode);
	EXPECT_EQ(0, st.st_uid);
}

/* Not even root. */
TEST_F(sysctl, nr_is_read_only)
{
	EXPECT_EQ(-EACCES, aio_write_text(AIO_NR, "0"));
	EXPECT_EQ(self->base, aio_nr());
}

TEST_F(sysctl, max_nr_as_user)
{
	if (!geteuid())
		ASSERT_EQ(0, setresuid(65534, 65534, 65534));
	EXPECT_EQ(-EACCES, aio_write_text(AIO_MAX_NR, "0"));
	EXPECT_EQ(strtoll(self->saved, NULL, 10), aio_max_nr());
}

/* One decimal number and a newline; nothing behind it. */
TEST_F(sysctl, form)
{
	static const char * const file[] = { AIO_NR, AIO_MAX_NR };
	char buf[64], want[64];
	int i, fd;

	for (i = 0; i < 2; i++) {
		fd = open(file[i], O_RDONLY);
		ASSERT_GE(fd, 0);
		memset(buf, 0, sizeof(buf));
		ASSERT_GT(read(fd, buf, sizeof(buf)), 1);
		snprintf(want, sizeof(want), "%lu\n", strtoul(buf, NULL, 10));
		EXPECT_STREQ(want, buf);
		EXPECT_EQ(0, read(fd, buf, sizeof(buf)));
		close(fd);
	}
}

TEST_F(sysctl, max_nr_values)
{
	struct { const char *text; unsigned long long value; } good[] = {
		{ "0", 0 }, { "1\n", 1 }, { "65536", 65536 },
		{ " \t 4242\t\n", 4242 }, { "0x100", 256 }, { "0100", 64 },
		{ "4294967296", 4294967296ULL },
		{ "9223372036854775808", 1ULL << 63 },
		{ "18446744073709551615", ~0ULL },
		{ "00000000000000000100", 64 },
	};
	char buf[64], want[64];
	size_t i;

	if (access(AIO_MAX_NR, W_OK))
		SKIP(return, NOT_WRITABLE);
	for (i = 0; i < ARRAY_SIZE(good); i++) {
		EXPECT_EQ(0, aio_write_text(AIO_MAX_NR, good[i].text))
			TH_LOG("writing '%s'", good[i].text);
		ASSERT_GT(aio_read_text(AIO_MAX_NR, buf, sizeof(buf)), 0);
		snprintf(want, sizeof(want), "%llu\n", good[i].value);
		EXPECT_STREQ(want, buf);
	}
}

TEST_F(sysctl, max_nr_garbage)
{
	static const char * const bad[] = {
		"\n", "   ", "abc", "-1", "-0", "+1", "12abc", "1.5", "0y1",
		"18446744073709551616", "99999999999999999999",
		"000000000000000000100", ",1", "1,2", "\xff",
	};
	size_t i;

	if (access(AIO_MAX_NR, W_OK))
		SKIP(return, NOT_WRITABLE);
	ASSERT_EQ(0, aio_write_text(AIO_MAX_NR, "54321"));
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		EXPECT_EQ(-EINVAL, aio_write_text(AIO_MAX_NR, bad[i]))
			TH_LOG("writing '%s'", bad[i]);
		EXPECT_EQ(54321, aio_max_nr());
	}
}

/* Of several numbers the first one counts. */
TEST_F(sysctl, max_nr_two_numbers)
{
	int fd;

	if (access(AIO_MAX_NR, W_OK))
		SKIP(return, NOT_WRITABLE);
	fd = open(AIO_MAX_NR, O_WRONLY);
	ASSERT_GE(fd, 0);
	EXPECT_EQ(6, write(fd, "11111 22222", 11));
	EXPECT_EQ(11111, aio_max_nr());
	EXPECT_EQ(0, write(fd, "", 0));
	EXPECT_EQ(11111, aio_max_nr());
	close(fd);
}

TEST_F(sysctl, nr_counts_what_was_asked)
{
	unsigned int nr[] = { 1, 2, 3, 64, 100, 1000 };
	aio_context_t ctx[ARRAY_SIZE(nr)] = { 0 };
	long long sum = self->base;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(nr); i++) {
		ASSERT_EQ(0, io_setup(nr[i], &ctx[i]));
		sum += nr[i];
		EXPECT_EQ(sum, aio_nr());
	}
	for (i = 0; i < ARRAY_SIZE(nr); i++) {
		ASSERT_EQ(0, io_destroy(ctx[i]));
		sum -= nr[i];
		EXPECT_EQ(sum, aio_nr());
	}
	/* Requests in flight or events do not count. */
	EXPECT_EQ(self->base, sum);
}

/* Contexts that fail do not count, whatever they fail for. */
TEST_F(sysctl, nr_after_errors)
{
	aio_context_t *ro = aio_pages(getpagesize(), PROT_READ);
	aio_context_t ctx = 0;
	int i;

	for (i = 0; i < 20; i++) {
		EXPECT_NE(0, io_setup(0, &ctx));
		EXPECT_NE(0, io_setup(4194305, &ctx));
		EXPECT_EQ(-EFAULT, io_setup(1, NULL));
		EXPECT_EQ(-EFAULT, io_setup(100, ro));
		EXPECT_EQ(self->base, aio_nr());
	}
}

TEST_F(sysctl, max_nr_is_honoured)
{
	aio_context_t a = 0, b = 0;
	char text[32];

	if (access(AIO_MAX_NR, W_OK))
		SKIP(return, NOT_WRITABLE);
	snprintf(text, sizeof(text), "%lld", self->base + 100);
	ASSERT_EQ(0, aio_write_text(AIO_MAX_NR, text));
	EXPECT_EQ(-EAGAIN, io_setup(101, &a));
	EXPECT_EQ(0, io_setup(60, &a));
	EXPECT_EQ(-EAGAIN, io_setup(41, &b));
	EXPECT_EQ(0, io_setup(40, &b));
	EXPECT_EQ(self->base + 100, aio_nr());
	EXPECT_EQ(0, io_destroy(b));
	b = 0;
	EXPECT_EQ(0, io_setup(39, &b));
	EXPECT_EQ(0, io_destroy(b));
	b = 0;

	/* Lowered below what is there: nothing happens to that. */
	ASSERT_EQ(0, aio_write_text(AIO_MAX_NR, "0"));
	EXPECT_EQ(self->base + 60, aio_nr());
	EXPECT_EQ(-EAGAIN, io_setup(1, &b));
	EXPECT_EQ(0, b);
	/* The numbers that are invalid stay so. */
	EXPECT_EQ(-EINVAL, io_setup(0, &b));
	EXPECT_EQ(-EINVAL, io_setup(4194305, &b));
	EXPECT_EQ(0, io_getevents(a, 0, 0, NULL, NULL));
	EXPECT_EQ(0, io_destroy(a));
	EXPECT_EQ(self->base, aio_nr());

	/* As high as it goes: no overflow. */
	ASSERT_EQ(0, aio_write_text(AIO_MAX_NR, "18446744073709551615"));
	a = 0;
	EXPECT_EQ(0, io_setup(100, &a));
	EXPECT_EQ(-EINVAL, io_setup(4194305, &b));
	EXPECT_EQ(-EINVAL, io_setup(0xffffffff, &b));
	EXPECT_EQ(-EAGAIN, io_setup(0x80000000, &b));
	EXPECT_EQ(0, io_destroy(a));
	EXPECT_EQ(self->base, aio_nr());
}

/* The sum of all processes counts. */
TEST_F(sysctl, nr_is_system_wide)
{
	aio_context_t ctx = 0;
	int to_child[2], to_parent[2], status = -1;
	char c;
	pid_t pid;

	ASSERT_EQ(0, pipe(to_child));
	ASSERT_EQ(0, pipe(to_parent));
	pid = fork();
	if (!pid) {
		if (io_setup(77, &ctx) || write(to_parent[1], "x", 1) != 1)
			_exit(1);
		_exit(read(to_child[0], &c, 1) != 1);
	}
	ASSERT_EQ(1, read(to_parent[0], &c, 1));
	ASSERT_EQ(0, io_setup(5, &ctx));
	EXPECT_EQ(self->base + 82, aio_nr());
	ASSERT_EQ(1, write(to_child[1], "x", 1));
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_EQ(self->base + 5, aio_nr());
}

TEST_HARNESS_MAIN
