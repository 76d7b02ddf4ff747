// SPDX-License-Identifier: GPL-2.0
/*
 * Requests that a driver can cancel.
 *
 * A driver tells by kiocb_set_cancel_fn() that it can, and FunctionFS, in which
 * a program plays a USB device, is one that does. Here it runs on dummy_hcd, a
 * host controller without hardware, so the test is both ends of the cable: the
 * device, whose endpoints are files for AIO, and the host, which transfers data
 * by usbfs.
 *
 * Held here: a transfer that the driver has queued is cancelled by io_cancel(),
 * io_destroy() and the end of the process; what the driver answers is what
 * io_cancel() tells; a transfer has one event, however cancelling and completing
 * meet; and requests that are not AIO's are left alone.
 *
 * Needs root, and for that time the dummy controller for itself.
 */
#include <dirent.h>
#include <linux/io_uring.h>
#include <linux/usb/ch9.h>
#include <linux/usb/functionfs.h>
#include <linux/usbdevice_fs.h>
#include <poll.h>
#include <stdarg.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include "../kselftest_harness.h"
#include "aio_test.h"

#define GADGETS		"/sys/kernel/config/usb_gadget"
#define UDC		"dummy_udc.0"
#define PACKET		512
#define NR		8

/* --------------------------------------------------------- the device */

static __u8 *put(__u8 *p, unsigned int bytes, __u32 value)
{
	for (; bytes--; value >>= 8)
		*p++ = value;
	return p;
}

static __u8 *put_endpoint(__u8 *p, __u8 address, __u16 packet)
{
	const __u8 desc[] = {
		USB_DT_ENDPOINT_SIZE, USB_DT_ENDPOINT, address,
		USB_ENDPOINT_XFER_BULK,
	};

	p = mempcpy(p, desc, sizeof(desc));
	p = put(p, 2, packet);
	return put(p, 1, 0);
}

/* One interface, endpoint 1 from and endpoint 2 to the host. */
static __u8 *put_function(__u8 *p, __u16 packet)
{
	static const __u8 intf[] = {
		USB_DT_INTERFACE_SIZE, USB_DT_INTERFACE, 0, 0, 2,
		USB_CLASS_VENDOR_SPEC, 0, 0, 1,
	};

	p = mempcpy(p, intf, sizeof(intf));
	p = put_endpoint(p, 1 | USB_DIR_OUT, packet);
	return put_endpoint(p, 2 | USB_DIR_IN, packet);
}

/* For full speed and for high speed; with one string in one language. */
static bool write_descriptors(int ep0)
{
	__u8 buf[128], *p;

	p = put(buf, 4, FUNCTIONFS_DESCRIPTORS_MAGIC_V2);
	p = put(p, 4, 0);
	p = put(p, 4, FUNCTIONFS_HAS_FS_DESC | FUNCTIONFS_HAS_HS_DESC);
	p = put(p, 4, 3);
	p = put(p, 4, 3);
	p = put_function(p, 64);
	p = put_function(p, PACKET);
	put(buf + 4, 4, p - buf);
	if (write(ep0, buf, p - buf) != p - buf)
		return false;

	p = put(buf, 4, FUNCTIONFS_STRINGS_MAGIC);
	p = put(p, 4, 0);
	p = put(p, 4, 1);
	p = put(p, 4, 1);
	p = put(p, 2, 0x409);
	p = mempcpy(p, "aio", sizeof("aio"));
	put(buf + 4, 4, p - buf);
	return write(ep0, buf, p - buf) == p - buf;
}

struct gadget {
	/* Names it, and is its serial number. */
	int id;
	char dir[96];
	char mnt[32];
	int ep0;
	/* Endpoints: files of the device, and numbers for the host. */
	int out, in;
	int out_address, in_address;
	/* The host's file for the device. */
	int host;
};

static char *in_gadget(struct gadget *g, const char *fmt, ...)
{
	static char path[PATH_MAX];
	int len = snprintf(path, sizeof(path), "%s/", g->dir);
	va_list args;

	va_start(args, fmt);
	vsnprintf(path + len, sizeof(path) - len, fmt, args);
	va_end(args);
	return path;
}

/* What was made so far is taken down again, so this may follow any failure. */
static void gadget_remove(struct gadget *g)
{
	if (!g->dir[0])
		return;
	if (g->host >= 0)
		close(g->host);
	aio_write_text(in_gadget(g, "UDC"), "\n");
	if (g->out >= 0)
		close(g->out);
	if (g->in >= 0)
		close(g->in);
	if (g->ep0 >= 0)
		close(g->ep0);
	if (g->mnt[0]) {
		umount2(g->mnt, MNT_DETACH);
		rmdir(g->mnt);
	}
	unlink(in_gadget(g, "configs/c.1/ffs.aio%d", g->id));
	rmdir(in_gadget(g, "configs/c.1"));
	rmdir(in_gadget(g, "functions/ffs.aio%d", g->id));
	rmdir(in_gadget(g, "strings/0x409"));
	rmdir(g->dir);
	g->dir[0] = '\0';
}

/* Waits for what the host tells the device when it has chosen a configuration. */
static bool gadget_enabled(struct gadget *g)
{
	struct pollfd pfd = { .fd = g->ep0, .events = POLLIN };
	struct usb_functionfs_event event;

	while (poll(&pfd, 1, 20000 * aio_slow()) == 1 &&
	       read(g->ep0, &event, sizeof(event)) == sizeof(event))
		if (event.type == FUNCTIONFS_ENABLE)
			return true;
	return false;
}

/* Opens the device with this serial number, on the host's side. */
static int host_open(int id)
{
	DIR *dir = opendir("/sys/bus/usb/devices");
	struct dirent *d;
	char path[PATH_MAX], serial[32];
	int fd = -1;

	while (dir && fd < 0 && (d = readdir(dir))) {
		char *base = "/sys/bus/usb/devices";
		long long bus, dev;

		snprintf(path, sizeof(path), "%s/%s/serial", base, d->d_name);
		if (aio_read_text(path, serial, sizeof(serial)) <= 0 ||
		    atoi(serial) != id)
			continue;
		snprintf(path, sizeof(path), "%s/%s/busnum", base, d->d_name);
		bus = aio_read_number(path);
		snprintf(path, sizeof(path), "%s/%s/devnum", base, d->d_name);
		dev = aio_read_number(path);
		snprintf(path, sizeof(path), "/dev/bus/usb/%03lld/%03lld", bus,
			 dev);
		fd = open(path, O_RDWR | O_CLOEXEC);
	}
	if (dir)
		closedir(dir);
	return fd;
}

static bool host_claim(struct gadget *g)
{
	int i, intf = 0;

	for (i = 0; i < 2000 * aio_slow(); i++) {
		g->host = host_open(g->id);
		if (g->host >= 0 &&
		    !ioctl(g->host, USBDEVFS_CLAIMINTERFACE, &intf))
			return true;
		if (g->host >= 0)
			close(g->host);
		g->host = -1;
		aio_sleep_ms(10);
	}
	return false;
}

/* Plugs the device in, and waits until both ends are ready. */
static const char *gadget_plug(struct gadget *g)
{
	__u8 desc[USB_DT_ENDPOINT_AUDIO_SIZE];

	if (aio_write_text(in_gadget(g, "UDC"), UDC))
		return "UDC";
	if (!gadget_enabled(g))
		return "ENABLE";
	if (!host_claim(g))
		return "host";
	if (ioctl(g->out, FUNCTIONFS_ENDPOINT_DESC, desc))
		return "out";
	g->out_address = desc[2];
	if (ioctl(g->in, FUNCTIONFS_ENDPOINT_DESC, desc))
		return "in";
	g->in_address = desc[2];
	return NULL;
}

/* Does all but plug it in. Returns the name of what failed. */
static const char *gadget_make(struct gadget *g)
{
	char text[32], path[256];
	int i;

	*g = (struct gadget){
		.id = getpid(), .ep0 = -1, .out = -1, .in = -1, .host = -1,
	};
	snprintf(g->dir, sizeof(g->dir), GADGETS "/aio%d", g->id);
	if (mkdir(g->dir, 0700)) {
		g->dir[0] = '\0';
		return "gadget";
	}
	if (aio_write_text(in_gadget(g, "idVendor"), "0x1d6b") ||
	    aio_write_text(in_gadget(g, "idProduct"), "0x0104"))
		return "id";
	snprintf(text, sizeof(text), "%d", g->id);
	if (mkdir(in_gadget(g, "strings/0x409"), 0700) ||
	    aio_write_text(in_gadget(g, "strings/0x409/serialnumber"), text))
		return "strings";
	snprintf(path, sizeof(path), "%s/functions/ffs.aio%d", g->dir, g->id);
	if (mkdir(path, 0700))
		return "function";
	if (mkdir(in_gadget(g, "configs/c.1"), 0700) ||
	    symlink(path, in_gadget(g, "configs/c.1/ffs.aio%d", g->id)))
		return "configuration";
	snprintf(g->mnt, sizeof(g->mnt), "/tmp/aio_ffs_XXXXXX");
	if (!mkdtemp(g->mnt)) {
		g->mnt[0] = '\0';
		return "mount point";
	}
	snprintf(text, sizeof(text), "aio%d", g->id);
	if (mount(text, g->mnt, "functionfs", 0, NULL))
		return "functionfs";
	snprintf(path, sizeof(path), "%s/ep0", g->mnt);
	g->ep0 = open(path, O_RDWR | O_CLOEXEC);
	if (g->ep0 < 0 || !write_descriptors(g->ep0))
		return "ep0";
	for (i = 0; i < 2; i++) {
		int *fd = i ? &g->in : &g->out;

		snprintf(path, sizeof(path), "%s/ep%d", g->mnt, i + 1);
		*fd = open(path, O_RDWR | O_CLOEXEC);
		if (*fd < 0)
			return "endpoint";
	}
	return NULL;
}

/* ------------------------------------------------------------ the host */

static long host_bulk(struct gadget *g, int address, void *buf, int len)
{
	struct usbdevfs_bulktransfer bulk = {
		.ep = address, .len = len, .timeout = 20000 * aio_slow(), .data = buf,
	};

	return aio_result(ioctl(g->host, USBDEVFS_BULK, &bulk));
}

static long host_send(struct gadget *g, void *buf, int len)
{
	return host_bulk(g, g->out_address, buf, len);
}

static long host_receive(struct gadget *g, void *buf, int len)
{
	return host_bulk(g, g->in_address, buf, len);
}

/* ------------------------------------------------------------ the tests */

FIXTURE(usb) {
	struct gadget g;
	aio_context_t ctx;
	struct io_event event;
	struct iocb iocb[NR];
	char buf[NR][PACKET];
	char data[PACKET];
};

FIXTURE_SETUP(usb)
{
	const char *failed;
	int i;

	self->g.dir[0] = '\0';
	if (access(GADGETS, W_OK))
		mount("none", "/sys/kernel/config", "configfs", 0, NULL);
	if (access(GADGETS, W_OK))
		SKIP(return, "no USB gadgets in configfs, or not root");
	if (access("/sys/class/udc/" UDC, F_OK))
		SKIP(return, "no dummy_hcd");
	failed = gadget_make(&self->g);
	if (failed && !strcmp(failed, "function")) {
		gadget_remove(&self->g);
		SKIP(return, "no FunctionFS");
	}
	if (!failed)
		failed = gadget_plug(&self->g);
	if (!failed && io_setup(NR, &self->ctx))
		failed = "io_setup";
	if (failed)
		TH_LOG("%s: %s", failed, strerror(errno));
	ASSERT_EQ(NULL, failed) {
		gadget_remove(&self->g);
	}
	for (i = 0; i < NR; i++)
		aio_prep(&self->iocb[i], IOCB_CMD_PREAD, self->g.out,
			 self->buf[i], PACKET, 0);
	aio_pattern(self->data, PACKET, 1);
}

FIXTURE_TEARDOWN(usb)
{
	if (self->ctx)
		EXPECT_EQ(0, io_destroy(self->ctx));
	gadget_remove(&self->g);
}

#define SUBMIT(i)							\
	ASSERT_EQ(1, aio_submit_one(self->ctx, &self->iocb[i]))
#define CANCEL(i)	io_cancel(self->ctx, &self->iocb[i], NULL)
/* The next event is for request @i and says @result. */
#define EXPECT_NEXT(i, result) do {					\
	ASSERT_EQ(1, io_getevents(self->ctx, 1, 1, &self->event, NULL)); \
	EXPECT_EVENT(&self->event, &self->iocb[i], result);		\
} while (0)

/* A queued transfer is cancelled once. */
TEST_F(usb, out)
{
	SUBMIT(0);
	EXPECT_EQ(0, aio_drain(self->ctx));
	EXPECT_EQ(-EINPROGRESS, CANCEL(0));
	EXPECT_NEXT(0, -ECONNRESET);
	EXPECT_EQ(-EINVAL, CANCEL(0));
	EXPECT_EQ(0, aio_drain(self->ctx));
}

/* Twice while its event has not been fetched. */
TEST_F(usb, twice)
{
	int i;

	for (i = 0; i < 50; i++) {
		SUBMIT(0);
		EXPECT_EQ(-EINPROGRESS, CANCEL(0));
		EXPECT_EQ(-EINVAL, CANCEL(0));
		EXPECT_NEXT(0, -ECONNRESET);
		EXPECT_EQ(0, aio_drain(self->ctx));
	}
}

/* Data arrives, and then there is nothing to cancel. */
TEST_F(usb, transfer)
{
	SUBMIT(0);
	EXPECT_EQ(PACKET, host_send(&self->g, self->data, PACKET));
	EXPECT_NEXT(0, PACKET);
	EXPECT_EQ(0, memcmp(self->buf[0], self->data, PACKET));
	EXPECT_EQ(-EINVAL, CANCEL(0));
	/* A short one, its event not fetched when it is cancelled. */
	SUBMIT(1);
	EXPECT_EQ(100, host_send(&self->g, self->data + 50, 100));
	while (aio_ring(self->ctx)->head == aio_ring(self->ctx)->tail)
		aio_sleep_ms(1);
	EXPECT_EQ(-EINVAL, CANCEL(1));
	EXPECT_NEXT(1, 100);
	EXPECT_EQ(0, memcmp(self->buf[1], self->data + 50, 100));
	EXPECT_EQ(0, aio_drain(self->ctx));
}

/* Cancelled ones take no data from those that stay. */
TEST_F(usb, several)
{
	int i;

	for (i = 0; i < NR; i++)
		SUBMIT(i);
	for (i = 1; i < NR; i += 2) {
		EXPECT_EQ(-EINPROGRESS, CANCEL(i));
		EXPECT_NEXT(i, -ECONNRESET);
	}
	EXPECT_EQ(0, aio_drain(self->ctx));
	for (i = 0; i < NR; i += 2) {
		self->data[0] = i;
		EXPECT_EQ(PACKET, host_send(&self->g, self->data, PACKET));
		EXPECT_NEXT(i, PACKET);
		EXPECT_EQ(0, memcmp(self->buf[i], self->data, PACKET));
		EXPECT_EQ(0, self->buf[i + 1][1]);
	}
	EXPECT_EQ(0, aio_drain(self->ctx));
}

/* From the device to the host. */
TEST_F(usb, in)
{
	int i;

	for (i = 0; i < 3; i++) {
		memset(self->buf[i], 'a' + i, PACKET);
		aio_prep(&self->iocb[i], IOCB_CMD_PWRITE, self->g.in,
			 self->buf[i], PACKET, 0);
		SUBMIT(i);
	}
	EXPECT_EQ(0, aio_drain(self->ctx));
	EXPECT_EQ(-EINPROGRESS, CANCEL(0));
	EXPECT_NEXT(0, -ECONNRESET);
	EXPECT_EQ(PACKET, host_receive(&self->g, self->data, PACKET));
	EXPECT_EQ(0, memcmp(self->data, self->buf[1], PACKET));
	EXPECT_NEXT(1, PACKET);
	EXPECT_EQ(-EINVAL, CANCEL(1));
	EXPECT_EQ(-EINPROGRESS, CANCEL(2));
	EXPECT_NEXT(2, -ECONNRESET);
	EXPECT_EQ(0, aio_drain(self->ctx));
}

/* Vectors, an eventfd, and polls in the same context. */
TEST_F(usb, with_others)
{
	int efd = eventfd(0, EFD_NONBLOCK), p[2];
	struct iovec iov[2] = {
		{ self->buf[0], 100 }, { self->buf[1], PACKET - 100 },
	};
	__u64 count = 0;

	ASSERT_EQ(0, pipe(p));
	aio_prep(&self->iocb[0], IOCB_CMD_PREADV, self->g.out, iov, 2, 0);
	aio_prep(&self->iocb[1], IOCB_CMD_POLL, p[0], (void *)POLLIN, 0, 0);
	self->iocb[2].aio_flags = IOCB_FLAG_RESFD;
	self->iocb[2].aio_resfd = efd;
	SUBMIT(0);
	SUBMIT(1);
	SUBMIT(2);
	EXPECT_EQ(PACKET, host_send(&self->g, self->data, PACKET));
	EXPECT_NEXT(0, PACKET);
	EXPECT_EQ(0, memcmp(self->buf[0], self->data, 100));
	EXPECT_EQ(0, memcmp(self->buf[1], self->data + 100, PACKET - 100));
	EXPECT_EQ(-1, read(efd, &count, sizeof(count)));
	EXPECT_EQ(-EINPROGRESS, CANCEL(2));
	EXPECT_NEXT(2, -ECONNRESET);
	EXPECT_EQ(-EINPROGRESS, CANCEL(1));
	EXPECT_NEXT(1, 0);
	/* The eventfd is told after the event is there. */
	EXPECT_EQ(0, io_destroy(self->ctx));
	self->ctx = 0;
	EXPECT_EQ(sizeof(count), read(efd, &count, sizeof(count)));
	EXPECT_EQ(1, count);
}

/* A reader that waits is woken. */
TEST_F(usb, wakes_reader)
{
	struct aio_caller reader = {
		.ctx = self->ctx, .min_nr = 1, .nr = 1, .events = &self->event,
	};

	SUBMIT(0);
	ASSERT_TRUE(aio_start_blocked(&reader, aio_getevents_thread,
				      __NR_io_getevents));
	EXPECT_EQ(-EINPROGRESS, CANCEL(0));
	EXPECT_EQ(1, aio_join(&reader));
	EXPECT_EVENT(&self->event, &self->iocb[0], -ECONNRESET);
}

/*
 * The driver has not queued anything yet, as nobody has plugged the device in:
 * it says so when it is asked to cancel, and it is not asked again.
 */
TEST_F(usb, driver_refuses)
{
	struct aio_caller submitter = {
		.ctx = self->ctx, .iocb = &self->iocb[0],
	};
	int flags = fcntl(self->g.out, F_GETFL);

	FOR_PLAIN("io_submit() does not wait");
	close(self->g.host);
	self->g.host = -1;
	ASSERT_EQ(0, aio_write_text(in_gadget(&self->g, "UDC"), "\n"));
	ASSERT_EQ(0, fcntl(self->g.out, F_SETFL, flags | O_NONBLOCK));
	EXPECT_RES(self->ctx, &self->iocb[0], -EAGAIN);
	ASSERT_EQ(0, fcntl(self->g.out, F_SETFL, flags));
	ASSERT_TRUE(aio_start_blocked(&submitter, aio_submit_thread,
				      __NR_io_submit));
	EXPECT_EQ(-EINVAL, CANCEL(0));
	EXPECT_EQ(-EINVAL, CANCEL(0));
	EXPECT_FALSE(submitter.done);
	ASSERT_EQ(NULL, gadget_plug(&self->g));
	EXPECT_EQ(1, aio_join(&submitter));
	/* That was the chance to cancel it. */
	EXPECT_EQ(-EINVAL, CANCEL(0));
	EXPECT_EQ(0, aio_drain(self->ctx));
	EXPECT_EQ(PACKET, host_send(&self->g, self->data, PACKET));
	EXPECT_NEXT(0, PACKET);
	EXPECT_EQ(0, memcmp(self->buf[0], self->data, PACKET));
}

/* The driver ends them itself when the cable is pulled. */
TEST_F(usb, unplugged)
{
	unsigned int there = 0;
	int i;

	for (i = 0; i < NR; i++)
		SUBMIT(i);
	ASSERT_EQ(0, aio_write_text(in_gadget(&self->g, "UDC"), "\n"));
	for (i = 0; i < NR; i++) {
		struct iocb *cb;

		ASSERT_EQ(1, io_getevents(self->ctx, 1, 1, &self->event, NULL));
		cb = (struct iocb *)(uintptr_t)self->event.obj;
		EXPECT_EVENT(&self->event, cb, -ESHUTDOWN);
		there |= 1U << (cb - self->iocb);
	}
	EXPECT_EQ((1U << NR) - 1, there);
	for (i = 0; i < NR; i++)
		EXPECT_EQ(-EINVAL, CANCEL(i));
	EXPECT_EQ(0, aio_drain(self->ctx));
}

/* Counts for each request: with an eventfd, as the ring is gone. */
TEST_F(usb, destroy)
{
	int efd = eventfd(0, EFD_NONBLOCK), i;
	__u64 count = 0;

	for (i = 0; i < NR; i++) {
		self->iocb[i].aio_flags = IOCB_FLAG_RESFD;
		self->iocb[i].aio_resfd = efd;
		if (i >= NR / 2) {
			self->iocb[i].aio_lio_opcode = IOCB_CMD_PWRITE;
			self->iocb[i].aio_fildes = self->g.in;
		}
		SUBMIT(i);
	}
	EXPECT_EQ(0, io_destroy(self->ctx));
	EXPECT_EQ(sizeof(count), read(efd, &count, sizeof(count)));
	EXPECT_EQ(NR, count);
	/* Nothing is left in the driver. */
	self->ctx = 0;
	ASSERT_EQ(0, io_setup(NR, &self->ctx));
	self->iocb[0].aio_flags = 0;
	SUBMIT(0);
	EXPECT_EQ(PACKET, host_send(&self->g, self->data, PACKET));
	EXPECT_NEXT(0, PACKET);
	EXPECT_EQ(0, memcmp(self->buf[0], self->data, PACKET));
}

/* A process that ends: by itself, by a new program, killed. */
TEST_F(usb, exit_exec_kill)
{
	long long nr = aio_nr();
	int way, i, status;

	for (way = 0; way < 3; way++) {
		int ready[2];
		pid_t pid;
		char c;

		ASSERT_EQ(0, pipe(ready));
		pid = fork();
		ASSERT_LE(0, pid);
		if (!pid) {
			aio_context_t ctx = 0;

			if (io_setup(NR, &ctx))
				_exit(1);
			for (i = 0; i < NR; i++)
				if (aio_submit_one(ctx, &self->iocb[i]) != 1)
					_exit(2);
			if (write(ready[1], "x", 1) != 1)
				_exit(3);
			if (way == 0)
				_exit(0);
			if (way == 1)
				execl("/bin/true", "true", NULL);
			pause();
			_exit(4);
		}
		ASSERT_EQ(1, read(ready[0], &c, 1));
		if (way == 2)
			kill(pid, SIGKILL);
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		EXPECT_EQ(way == 2 ? SIGKILL : 0, status);
		close(ready[0]);
		close(ready[1]);
		for (i = 0; i < 1000 && aio_nr() != nr; i++)
			aio_sleep_ms(10);
		EXPECT_EQ(nr, aio_nr());
		SUBMIT(0);
		self->data[0] = way;
		EXPECT_EQ(PACKET, host_send(&self->g, self->data, PACKET));
		EXPECT_NEXT(0, PACKET);
		EXPECT_EQ(0, memcmp(self->buf[0], self->data, PACKET));
	}
}

/*
 * The host sends one packet, which the first request takes, or the second if
 * the first was cancelled in time. The delay before io_cancel() is tuned so that
 * both happen.
 */
#define ROUNDS	(aio_long() ? 300 : 60)

struct race {
	aio_context_t ctx;
	struct iocb *iocb;
	pthread_barrier_t barrier;
	long long delay_ns;
	long ret;
};

static void *cancel_thread(void *arg)
{
	struct race *r = arg;
	int round;

	for (round = 0; round < ROUNDS; round++) {
		long long until;

		pthread_barrier_wait(&r->barrier);
		until = aio_now_ns() + r->delay_ns;
		while (aio_now_ns() < until)
			;
		r->ret = io_cancel(r->ctx, r->iocb, NULL);
		pthread_barrier_wait(&r->barrier);
	}
	return NULL;
}

TEST_F_TIMEOUT(usb, races_with_completion, 120)
{
	struct race r = {
		.ctx = self->ctx, .iocb = &self->iocb[0], .delay_ns = 500000,
	};
	struct io_event events[3];
	int round, cancelled = 0;
	pthread_t thread;

	pthread_barrier_init(&r.barrier, NULL, 2);
	ASSERT_EQ(0, pthread_create(&thread, NULL, cancel_thread, &r));
	for (round = 0; round < ROUNDS; round++) {
		struct iocb *list[2] = { &self->iocb[0], &self->iocb[1] };
		struct io_event *e = events;
		int taker;

		memset(self->buf, 0, sizeof(self->buf));
		memcpy(self->data, &round, sizeof(round));
		ASSERT_EQ(2, io_submit(self->ctx, 2, list));
		pthread_barrier_wait(&r.barrier);
		ASSERT_EQ(PACKET, host_send(&self->g, self->data, PACKET));
		pthread_barrier_wait(&r.barrier);
		taker = r.ret == -EINPROGRESS;
		if (taker) {
			cancelled++;
			r.delay_ns += r.delay_ns / 8;
		} else {
			ASSERT_EQ(-EINVAL, r.ret);
			r.delay_ns -= r.delay_ns / 8;
			ASSERT_EQ(-EINPROGRESS, CANCEL(1));
		}
		ASSERT_EQ(2, io_getevents(self->ctx, 2, 3, events, NULL));
		ASSERT_EQ(0, aio_drain(self->ctx));
		if (e->obj != (uintptr_t)&self->iocb[taker])
			e++;
		ASSERT_EQ((uintptr_t)&self->iocb[taker], e->obj);
		ASSERT_EQ(PACKET, e->res);
		e = e == events ? events + 1 : events;
		ASSERT_EQ((uintptr_t)&self->iocb[!taker], e->obj);
		ASSERT_EQ(-ECONNRESET, (__s64)e->res);
		ASSERT_EQ(0, memcmp(self->buf[taker], self->data, PACKET));
		ASSERT_EQ(0, self->buf[!taker][PACKET - 1]);
		ASSERT_EQ(-EINVAL, CANCEL(0));
		ASSERT_EQ(-EINVAL, CANCEL(1));
	}
	pthread_join(thread, NULL);
	TH_LOG("%d of %d cancelled, %d completed", cancelled, ROUNDS,
	       ROUNDS - cancelled);
}

/* Against io_destroy(), which cancels what is there. */
TEST_F_TIMEOUT(usb, destroy_races_with_completion, 120)
{
	struct iocb *list[2] = { &self->iocb[0], &self->iocb[1] };
	int efd = eventfd(0, EFD_NONBLOCK), round;

	self->iocb[0].aio_flags = IOCB_FLAG_RESFD;
	self->iocb[0].aio_resfd = efd;
	self->iocb[1].aio_flags = IOCB_FLAG_RESFD;
	self->iocb[1].aio_resfd = efd;
	for (round = 0; round < (aio_long() ? 200 : 40); round++) {
		struct aio_caller destroyer = { 0 };
		struct usbdevfs_urb urb = {
			.type = USBDEVFS_URB_TYPE_BULK,
			.endpoint = self->g.out_address,
			.buffer = self->data, .buffer_length = PACKET,
		}, *reaped = NULL;
		__u64 count = 0;

		ASSERT_EQ(0, io_setup(2, &destroyer.ctx));
		ASSERT_EQ(2, io_submit(destroyer.ctx, 2, list));
		ASSERT_EQ(0, pthread_create(&destroyer.thread, NULL,
					    aio_destroy_thread, &destroyer));
		/* Most of io_destroy() is waiting: hit it somewhere. */
		usleep(round % 10 * 2000);
		ASSERT_EQ(0, ioctl(self->g.host, USBDEVFS_SUBMITURB, &urb));
		EXPECT_EQ(0, aio_join(&destroyer));
		/* Nobody may be left to take the packet. */
		ioctl(self->g.host, USBDEVFS_DISCARDURB, &urb);
		ASSERT_EQ(0, ioctl(self->g.host, USBDEVFS_REAPURB, &reaped));
		ASSERT_EQ(sizeof(count), read(efd, &count, sizeof(count)));
		ASSERT_EQ(2, count);
	}
}

/* Against the end of the cable, after which the driver has its own answer. */
static void *cancel_in_turn(void *arg)
{
	struct aio_caller *c = arg;
	int i;

	for (i = 0; !c->done; i = (i + 1) % NR) {
		long ret = io_cancel(c->ctx, &c->iocb[i], NULL);

		if (ret == -EINPROGRESS)
			c->ret++;
		else if (ret != -EINVAL && ret != -ESHUTDOWN)
			c->nr++;
	}
	return NULL;
}

TEST_F_TIMEOUT(usb, cancel_races_with_unplugging, 120)
{
	int round, i;

	for (round = 0; round < (aio_long() ? 5 : 2); round++) {
		struct aio_caller c = {
			.ctx = self->ctx, .iocb = self->iocb,
		};
		long reset = 0;

		for (i = 0; i < NR; i++)
			SUBMIT(i);
		ASSERT_EQ(0, pthread_create(&c.thread, NULL, cancel_in_turn,
					    &c));
		ASSERT_EQ(0, aio_write_text(in_gadget(&self->g, "UDC"), "\n"));
		c.done = true;
		aio_join(&c);
		EXPECT_EQ(0, c.nr);
		for (i = 0; i < NR; i++) {
			ASSERT_EQ(1, io_getevents(self->ctx, 1, 1, &self->event,
						  NULL));
			if ((__s64)self->event.res == -ECONNRESET)
				reset++;
			else
				EXPECT_EQ(-ESHUTDOWN, (__s64)self->event.res);
		}
		EXPECT_EQ(c.ret, reset);
		EXPECT_EQ(0, aio_drain(self->ctx));
		close(self->g.host);
		self->g.host = -1;
		ASSERT_EQ(NULL, gadget_plug(&self->g));
	}
}

/* ------------------------------------------------- requests of others */

struct uring {
	int fd;
	struct io_uring_params p;
	char *sq, *cq;
	struct io_uring_sqe *sqe;
};

static bool uring_make(struct uring *u)
{
	memset(u, 0, sizeof(*u));
	u->fd = syscall(__NR_io_uring_setup, 4, &u->p);
	if (u->fd < 0)
		return false;
	u->sq = mmap(NULL, u->p.sq_off.array + 4 * sizeof(__u32),
		     PROT_READ | PROT_WRITE, MAP_SHARED, u->fd,
		     IORING_OFF_SQ_RING);
	u->cq = mmap(NULL, u->p.cq_off.cqes + 8 * sizeof(struct io_uring_cqe),
		     PROT_READ | PROT_WRITE, MAP_SHARED, u->fd,
		     IORING_OFF_CQ_RING);
	u->sqe = mmap(NULL, 4 * sizeof(*u->sqe), PROT_READ | PROT_WRITE,
		      MAP_SHARED, u->fd, IORING_OFF_SQES);
	return u->sq != MAP_FAILED && u->cq != MAP_FAILED &&
		(void *)u->sqe != MAP_FAILED;
}

static long uring_read(struct uring *u, int fd, void *buf, int len)
{
	__u32 *tail = (__u32 *)(u->sq + u->p.sq_off.tail);

	*u->sqe = (struct io_uring_sqe){
		.opcode = IORING_OP_READ, .fd = fd, .addr = (uintptr_t)buf,
		.len = len,
	};
	*(__u32 *)(u->sq + u->p.sq_off.array) = 0;
	__atomic_store_n(tail, 1, __ATOMIC_RELEASE);
	return aio_result(syscall(__NR_io_uring_enter, u->fd, 1, 0, 0, NULL,
				  0));
}

/* Waits for the one result. */
static int uring_result(struct uring *u)
{
	struct io_uring_cqe *cqe;

	cqe = (struct io_uring_cqe *)(u->cq + u->p.cq_off.cqes);
	if (syscall(__NR_io_uring_enter, u->fd, 0, 1, IORING_ENTER_GETEVENTS,
		    NULL, 0))
		return -errno;
	return cqe->res;
}

/* The driver takes io_uring's requests for cancellable as well. */
TEST_F(usb, io_uring)
{
	struct uring u;

	if (!uring_make(&u))
		SKIP(return, "no io_uring");
	ASSERT_EQ(1, uring_read(&u, self->g.out, self->buf[0], PACKET));
	EXPECT_EQ(PACKET, host_send(&self->g, self->data, PACKET));
	EXPECT_EQ(PACKET, uring_result(&u));
	EXPECT_EQ(0, memcmp(self->buf[0], self->data, PACKET));
	EXPECT_EQ(-EINVAL, CANCEL(0));
	close(u.fd);
}

TEST_HARNESS_MAIN
