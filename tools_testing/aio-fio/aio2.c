// SPDX-License-Identifier: GPL-2.0
/*
 * fio engine for AIO contexts of io_setup2().
 *
 *   fio --ioengine=external:./aio2.so --useriocb=1 --fixedbufs=1 --hipri=1 ...
 *
 * Without these three options it does what fio's own libaio engine does, by
 * io_setup(), on any kernel. Each of them needs a kernel with io_setup2(); where
 * that is missing or refused, the job fails and says why, so that nothing else is
 * measured than what was asked for.
 *
 * useriocb: the kernel has the iocbs mapped, and they are submitted by index.
 * fixedbufs: fio's buffers stay pinned; implies useriocb.
 * hipri: completions are polled for. Needs direct=1, and a device with poll queues
 * if it is to be of use.
 *
 * The others are those of libaio: userspace_reap, nowait, cmdprio_percentage,
 * cmdprio_class, cmdprio, cmdprio_bssplit.
 *
 * It is compiled against the source of the fio that loads it: see Makefile.
 */
#include <errno.h>
#include <libaio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fio.h"
#include "lib/memalign.h"
#include "optgroup.h"
#include "engines/cmdprio.h"

/* From linux/aio_ext.h, which a machine's own headers do not have. */
#ifndef IOCTX_FLAG_USERIOCB
#define IOCTX_FLAG_USERIOCB	1
#define IOCTX_FLAG_IOPOLL	2
#define IOCTX_FLAG_FIXEDBUFS	4
#define AIO_FIXEDBUF_MAX	(4 * 1024 * 1024)
#define AIO_FIXEDBUFS_MAX_EVENTS	65536
#endif
#ifndef __NR_io_setup2
#define __NR_io_setup2		510
#endif
#ifndef IOCB_FLAG_IOPRIO
#define IOCB_FLAG_IOPRIO	2
#endif

#define AIO_RING_MAGIC		0xa10a10a1
/* How long io_submit() may refuse everything while nothing is in flight, in ms. */
#define STALLED			30000

struct aio_ring {
	unsigned int id, nr, head, tail;
	unsigned int magic, compat_features, incompat_features, header_length;
	struct io_event events[];
};

struct aio2_options {
	struct thread_data *td;
	unsigned int useriocb;
	unsigned int fixedbufs;
	unsigned int hipri;
	unsigned int userspace_reap;
	unsigned int nowait;
	struct cmdprio_options cmdprio_options;
};

struct aio2_data {
	/* What the calls name the context by. */
	unsigned long ctx;
	unsigned int entries;
	/* iocbs[i] is that of the io_u with the index i. */
	struct iocb *iocbs;
	struct io_u **io_us;
	struct io_event *events;
	/* The next batch: addresses or indices of iocbs, and whose they are. */
	unsigned long *batch;
	struct io_u **batch_io_us;
	unsigned int queued;
	unsigned int in_flight;
	bool useriocb;
	struct cmdprio cmdprio;
};

static struct fio_option options[] = {
	{
		.name	= "useriocb",
		.lname	= "iocbs that the kernel has mapped",
		.type	= FIO_OPT_STR_SET,
		.off1	= offsetof(struct aio2_options, useriocb),
		.help	= "The kernel has the iocbs mapped; they are submitted by index",
		.category = FIO_OPT_C_ENGINE,
		.group	= FIO_OPT_G_LIBAIO,
	},
	{
		.name	= "fixedbufs",
		.lname	= "Buffers that stay pinned",
		.type	= FIO_OPT_STR_SET,
		.off1	= offsetof(struct aio2_options, fixedbufs),
		.help	= "Pin the buffers when the context is set up; implies useriocb",
		.category = FIO_OPT_C_ENGINE,
		.group	= FIO_OPT_G_LIBAIO,
	},
	{
		.name	= "hipri",
		.lname	= "Polled completions",
		.type	= FIO_OPT_STR_SET,
		.off1	= offsetof(struct aio2_options, hipri),
		.help	= "Poll for completions; needs direct=1",
		.category = FIO_OPT_C_ENGINE,
		.group	= FIO_OPT_G_LIBAIO,
	},
	{
		.name	= "userspace_reap",
		.lname	= "Events taken out of the ring",
		.type	= FIO_OPT_STR_SET,
		.off1	= offsetof(struct aio2_options, userspace_reap),
		.help	= "Take events out of the ring without a system call, where it may be read",
		.category = FIO_OPT_C_ENGINE,
		.group	= FIO_OPT_G_LIBAIO,
	},
	{
		.name	= "nowait",
		.lname	= "RWF_NOWAIT",
		.type	= FIO_OPT_BOOL,
		.off1	= offsetof(struct aio2_options, nowait),
		.help	= "Set RWF_NOWAIT for reads/writes",
		.category = FIO_OPT_C_ENGINE,
		.group	= FIO_OPT_G_LIBAIO,
	},
	{
		.name	= "cmdprio_percentage",
		.lname	= "high priority percentage",
		.type	= FIO_OPT_INT,
		.off1	= offsetof(struct aio2_options, cmdprio_options.percentage[DDIR_READ]),
		.off2	= offsetof(struct aio2_options, cmdprio_options.percentage[DDIR_WRITE]),
		.minval	= 0,
		.maxval	= 100,
		.help	= "Send high priority I/O this percentage of the time",
		.category = FIO_OPT_C_ENGINE,
		.group	= FIO_OPT_G_LIBAIO,
	},
	{
		.name	= "cmdprio_class",
		.lname	= "Asynchronous I/O priority class",
		.type	= FIO_OPT_INT,
		.off1	= offsetof(struct aio2_options, cmdprio_options.class[DDIR_READ]),
		.off2	= offsetof(struct aio2_options, cmdprio_options.class[DDIR_WRITE]),
		.help	= "Set asynchronous IO priority class",
		.minval	= IOPRIO_MIN_PRIO_CLASS + 1,
		.maxval	= IOPRIO_MAX_PRIO_CLASS,
		.interval = 1,
		.category = FIO_OPT_C_ENGINE,
		.group	= FIO_OPT_G_LIBAIO,
	},
	{
		.name	= "cmdprio",
		.lname	= "Asynchronous I/O priority level",
		.type	= FIO_OPT_INT,
		.off1	= offsetof(struct aio2_options, cmdprio_options.level[DDIR_READ]),
		.off2	= offsetof(struct aio2_options, cmdprio_options.level[DDIR_WRITE]),
		.help	= "Set asynchronous IO priority level",
		.minval	= IOPRIO_MIN_PRIO,
		.maxval	= IOPRIO_MAX_PRIO,
		.interval = 1,
		.category = FIO_OPT_C_ENGINE,
		.group	= FIO_OPT_G_LIBAIO,
	},
	{
		.name	= "cmdprio_bssplit",
		.lname	= "Priority percentage block size split",
		.type	= FIO_OPT_STR_STORE,
		.off1	= offsetof(struct aio2_options, cmdprio_options.bssplit_str),
		.help	= "Set priority percentages for different block sizes",
		.category = FIO_OPT_C_ENGINE,
		.group	= FIO_OPT_G_LIBAIO,
	},
	{
		.name	= NULL,
	},
};

/* The system calls themselves, not libaio's: its io_getevents() looks at the ring. */
static long call(long ret)
{
	return ret < 0 ? -errno : ret;
}

static int aio2_prep(struct thread_data *td, struct io_u *io_u)
{
	struct aio2_data *ad = td->io_ops_data;
	struct aio2_options *o = td->eo;
	struct iocb *iocb = &ad->iocbs[io_u->index];
	int fd = io_u->file->fd;

	if (io_u->ddir == DDIR_READ)
		io_prep_pread(iocb, fd, io_u->xfer_buf, io_u->xfer_buflen, io_u->offset);
	else if (io_u->ddir == DDIR_WRITE)
		io_prep_pwrite(iocb, fd, io_u->xfer_buf, io_u->xfer_buflen, io_u->offset);
	else
		return 0;
	if (o->nowait)
		iocb->aio_rw_flags |= RWF_NOWAIT;
	iocb->data = io_u;
	return 0;
}

/* obj must be what was submitted, so that a kernel that mixes them up is found out. */
static struct io_u *aio2_event(struct thread_data *td, int event)
{
	struct aio2_data *ad = td->io_ops_data;
	struct io_event *ev = &ad->events[event];
	struct io_u *io_u = ev->data;
	struct iocb *iocb = &ad->iocbs[io_u->index];
	long res = ev->res;

	io_u->error = 0;
	if ((unsigned long)ev->obj != (ad->useriocb ? io_u->index : (unsigned long)iocb)) {
		log_err("aio2: an event's obj is %p, of the iocb with the index %u\n", ev->obj,
			io_u->index);
		io_u->error = EILSEQ;
	} else if (res < 0) {
		io_u->error = -res;
	} else {
		io_u->resid = io_u->xfer_buflen - res;
	}
	return io_u;
}

static int user_getevents(struct aio2_data *ad, unsigned int max, struct io_event *events)
{
	struct aio_ring *ring = (struct aio_ring *)ad->ctx;
	unsigned int head = ring->head, n = 0;

	while (n < max && head != atomic_load_acquire(&ring->tail)) {
		events[n++] = ring->events[head];
		head = (head + 1) % ring->nr;
	}
	atomic_store_release(&ring->head, head);
	return n;
}

static bool readable_ring(struct aio2_data *ad)
{
	return ((struct aio_ring *)ad->ctx)->magic == AIO_RING_MAGIC;
}

static int aio2_commit(struct thread_data *td);

static int aio2_getevents(struct thread_data *td, unsigned int min, unsigned int max,
			  const struct timespec *t)
{
	struct aio2_data *ad = td->io_ops_data;
	struct aio2_options *o = td->eo;
	unsigned int least = td->o.iodepth_batch_complete_min == 0 ? 0 : min;
	unsigned int events = 0;
	long r;

	do {
		unsigned int want = least > events ? least - events : 0;

		/* What had no room goes on as soon as there is some. */
		r = aio2_commit(td);
		if (r)
			return r;
		/* No more than there can be: the others are not submitted yet. */
		if (want > ad->in_flight)
			want = ad->in_flight;
		if (o->userspace_reap && !least && readable_ring(ad))
			r = user_getevents(ad, max - events, ad->events + events);
		else
			r = call(syscall(__NR_io_getevents, ad->ctx, (long)want,
					 (long)(max - events), ad->events + events, t));
		if (r > 0) {
			events += r;
			ad->in_flight -= r;
		} else if (r && r != -EINTR && r != -EAGAIN) {
			return r;
		} else if (!ad->in_flight && !ad->queued) {
			break;
		}
	} while (events < min);
	return events;
}

static enum fio_q_status aio2_queue(struct thread_data *td, struct io_u *io_u)
{
	struct aio2_data *ad = td->io_ops_data;
	struct iocb *iocb = &ad->iocbs[io_u->index];

	fio_ro_check(td, io_u);
	if (ad->queued == ad->entries)
		return FIO_Q_BUSY;
	/* These are done at once, and nothing may be in the batch before them. */
	if (ddir_sync(io_u->ddir)) {
		if (ad->queued)
			return FIO_Q_BUSY;
		do_io_u_sync(td, io_u);
		return FIO_Q_COMPLETED;
	}
	if (io_u->ddir == DDIR_TRIM) {
		if (ad->queued)
			return FIO_Q_BUSY;
		do_io_u_trim(td, io_u);
		io_u_mark_submit(td, 1);
		io_u_mark_complete(td, 1);
		return FIO_Q_COMPLETED;
	}
	if (ad->cmdprio.mode != CMDPRIO_MODE_NONE &&
	    fio_cmdprio_set_ioprio(td, &ad->cmdprio, io_u)) {
		iocb->aio_reqprio = io_u->ioprio;
		iocb->u.c.flags |= IOCB_FLAG_IOPRIO;
	}
	ad->batch[ad->queued] = ad->useriocb ? io_u->index : (unsigned long)iocb;
	ad->batch_io_us[ad->queued++] = io_u;
	return FIO_Q_QUEUED;
}

/* The first n of the batch are with the kernel. */
static void submitted(struct thread_data *td, unsigned int n)
{
	struct aio2_data *ad = td->io_ops_data;
	struct timespec now;
	unsigned int i;

	io_u_mark_submit(td, n);
	if (fio_fill_issue_time(td)) {
		fio_gettime(&now, NULL);
		for (i = 0; i < n; i++) {
			ad->batch_io_us[i]->issue_time = now;
			io_u_queued(td, ad->batch_io_us[i]);
		}
		if (td->o.read_iolog_file)
			td->last_issue = now;
	}
	ad->in_flight += n;
	ad->queued -= n;
	memmove(ad->batch, ad->batch + n, ad->queued * sizeof(*ad->batch));
	memmove(ad->batch_io_us, ad->batch_io_us + n, ad->queued * sizeof(*ad->batch_io_us));
}

static int aio2_commit(struct thread_data *td)
{
	struct aio2_data *ad = td->io_ops_data;
	struct timespec since;
	bool waiting = false;
	long r;

	while (ad->queued) {
		r = call(syscall(__NR_io_submit, ad->ctx, (long)ad->queued, ad->batch));
		if (r > 0) {
			submitted(td, r);
			waiting = false;
		} else if (r == -EAGAIN || r == -ENOMEM) {
			/* Events make room, if there will be any. */
			if (ad->in_flight)
				break;
			if (r == -ENOMEM)
				return r;
			if (!waiting) {
				fio_gettime(&since, NULL);
				waiting = true;
			} else if (mtime_since_now(&since) > STALLED) {
				log_err("aio2: io_submit() refuses everything, nothing is in flight\n");
				return r;
			}
			usleep(1);
		} else if (r && r != -EINTR) {
			return r;
		}
	}
	return 0;
}

static int aio2_cancel(struct thread_data *td, struct io_u *io_u)
{
	struct aio2_data *ad = td->io_ops_data;
	struct iocb *iocb = &ad->iocbs[io_u->index];

	return call(syscall(__NR_io_cancel, ad->ctx,
			    ad->useriocb ? io_u->index : (unsigned long)iocb, ad->events));
}

static void aio2_cleanup(struct thread_data *td)
{
	struct aio2_data *ad = td->io_ops_data;

	if (!ad)
		return;
	/* At the end of a process, the kernel ends all of its contexts together. */
	if (ad->ctx && !(td->flags & TD_F_CHILD))
		syscall(__NR_io_destroy, ad->ctx);
	fio_cmdprio_cleanup(&ad->cmdprio);
	if (ad->iocbs)
		fio_memfree(ad->iocbs, ad->entries * sizeof(*ad->iocbs), false);
	free(ad->io_us);
	free(ad->events);
	free(ad->batch);
	free(ad->batch_io_us);
	free(ad);
	td->io_ops_data = NULL;
}

static void explain(int err)
{
	switch (err) {
	case ENOSYS:
		log_err("aio2: no io_setup2() (system call %d): CONFIG_AIO_SETUP2 with AIO in Rust is needed\n",
			__NR_io_setup2);
		break;
	case EPERM:
		log_err("aio2: io_setup2() is refused: a seccomp filter does not allow system call %d\n",
			__NR_io_setup2);
		break;
	case EAGAIN:
		log_err("aio2: io_setup2() met a limit, RLIMIT_MEMLOCK or fs.aio-max-nr: see the kernel log\n");
		break;
	case EFAULT:
		log_err("aio2: the buffers can't be pinned: see the option mem\n");
		break;
	}
}

/* The buffers are allocated now: they have to be in the iocbs when they are pinned. */
static int aio2_post_init(struct thread_data *td)
{
	struct aio2_data *ad = td->io_ops_data;
	struct aio2_options *o = td->eo;
	unsigned int i, flags = 0;
	long r;

	if (ad->useriocb)
		flags |= IOCTX_FLAG_USERIOCB;
	if (o->hipri)
		flags |= IOCTX_FLAG_IOPOLL;
	if (o->fixedbufs) {
		flags |= IOCTX_FLAG_FIXEDBUFS;
		for (i = 0; i < ad->entries; i++) {
			if (ad->io_us[i])
				io_prep_pread(&ad->iocbs[i], -1, ad->io_us[i]->buf, td_max_bs(td),
					      0);
		}
	}
	if (flags)
		r = call(syscall(__NR_io_setup2, ad->entries, flags,
				 ad->useriocb ? ad->iocbs : NULL, &ad->ctx));
	else
		r = call(syscall(__NR_io_setup, ad->entries, &ad->ctx));
	if (r) {
		if (flags)
			explain(-r);
		td_verror(td, -r, flags ? "io_setup2" : "io_setup");
		return 1;
	}
	return 0;
}

static int aio2_io_u_init(struct thread_data *td, struct io_u *io_u)
{
	struct aio2_data *ad = td->io_ops_data;

	ad->io_us[io_u->index] = io_u;
	return 0;
}

static int aio2_init(struct thread_data *td)
{
	struct aio2_options *o = td->eo;
	struct aio2_data *ad;

	if (o->hipri && !td->o.odirect) {
		log_err("aio2: hipri needs direct=1\n");
		td_verror(td, EINVAL, "hipri");
		return 1;
	}
	if (o->fixedbufs &&
	    (td_max_bs(td) > AIO_FIXEDBUF_MAX || td->o.iodepth > AIO_FIXEDBUFS_MAX_EVENTS)) {
		log_err("aio2: fixedbufs is for blocks up to 4m and an iodepth up to %u\n",
			AIO_FIXEDBUFS_MAX_EVENTS);
		td_verror(td, EINVAL, "fixedbufs");
		return 1;
	}
	ad = calloc(1, sizeof(*ad));
	if (!ad) {
		td_verror(td, ENOMEM, "aio2");
		return 1;
	}
	td->io_ops_data = ad;
	ad->useriocb = o->useriocb || o->fixedbufs;
	ad->entries = td->o.iodepth;
	/* An array for io_setup2() starts at a multiple of 64 bytes. */
	ad->iocbs = fio_memalign(64, ad->entries * sizeof(*ad->iocbs), false);
	ad->io_us = calloc(ad->entries, sizeof(*ad->io_us));
	ad->events = calloc(ad->entries, sizeof(*ad->events));
	ad->batch = calloc(ad->entries, sizeof(*ad->batch));
	ad->batch_io_us = calloc(ad->entries, sizeof(*ad->batch_io_us));
	if (!ad->iocbs || !ad->io_us || !ad->events || !ad->batch || !ad->batch_io_us) {
		td_verror(td, ENOMEM, "aio2");
		return 1;
	}
	memset(ad->iocbs, 0, ad->entries * sizeof(*ad->iocbs));
	if (fio_cmdprio_init(td, &ad->cmdprio, &o->cmdprio_options)) {
		td_verror(td, EINVAL, "cmdprio");
		return 1;
	}
	return 0;
}

/* fio looks for a symbol of this name. */
struct ioengine_ops ioengine = {
	.name			= "aio2",
	.version		= FIO_IOOPS_VERSION,
	.flags			= FIO_ASYNCIO_SYNC_TRIM | FIO_ASYNCIO_SETS_ISSUE_TIME,
	.init			= aio2_init,
	.post_init		= aio2_post_init,
	.io_u_init		= aio2_io_u_init,
	.prep			= aio2_prep,
	.queue			= aio2_queue,
	.commit			= aio2_commit,
	.cancel			= aio2_cancel,
	.getevents		= aio2_getevents,
	.event			= aio2_event,
	.cleanup		= aio2_cleanup,
	.open_file		= generic_open_file,
	.close_file		= generic_close_file,
	.get_file_size		= generic_get_file_size,
	.options		= options,
	.option_struct_size	= sizeof(struct aio2_options),
};
