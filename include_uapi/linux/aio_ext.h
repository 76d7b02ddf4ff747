/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * Contexts with more than io_setup() offers: what io_setup2() takes, how a
 * context tells of which kind it is, and what threaded contexts can do.
 *
 *	long io_setup2(__u32 nr_events, __u32 flags, struct iocb *iocbs,
 *		       aio_context_t *ctxp);
 *
 * See Documentation/admin-guide/aio.rst.
 */
#ifndef _UAPI__LINUX_AIO_EXT_H
#define _UAPI__LINUX_AIO_EXT_H

#include <linux/types.h>

/*
 * The iocbs are in an array, which the kernel has pinned: what is submitted,
 * cancelled, and found in the events is an index in it.
 */
#define IOCTX_FLAG_USERIOCB	(1U << 0)

/* Reads and writes are polled; they complete in io_getevents(). */
#define IOCTX_FLAG_IOPOLL	(1U << 1)

/*
 * The buffer of each iocb is pinned when the context is set up; reads and
 * writes use a part of it. Needs IOCTX_FLAG_USERIOCB.
 */
#define IOCTX_FLAG_FIXEDBUFS	(1U << 2)

/*
 * compat_features in the header of the ring: 1 on all contexts, and more on
 * those of other kinds, so that who does not know them leaves them alone.
 */
#define AIO_RING_COMPAT_THREADED	(1U << 1)
#define AIO_RING_COMPAT_USERIOCB	(1U << 2)
#define AIO_RING_COMPAT_FIXEDBUFS	(1U << 3)
#define AIO_RING_COMPAT_IOPOLL		(1U << 4)

/* The size of a buffer that can be pinned, in bytes. */
#define AIO_FIXEDBUF_MAX	(1U << 22)

/* The number of events of a context with IOCTX_FLAG_FIXEDBUFS. */
#define AIO_FIXEDBUFS_MAX_EVENTS	65536

/*
 * More of aio_lio_opcode, on threaded contexts only: those that were created
 * while fs.aio-auto-threads was 1. What is not mentioned must be zero, or has
 * no meaning where it has none for IOCB_CMD_FSYNC.
 *
 * The path is copied by io_submit(), and resolved when it is used.
 */

/*
 * openat(aio_fildes, aio_buf, flags, mode): the flags are the lower half of
 * aio_offset, the mode is the 16 bits above. The result is the descriptor.
 */
#define IOCB_CMD_OPENAT		9

/* unlinkat(aio_fildes, aio_buf, 0) */
#define IOCB_CMD_UNLINKAT	10

/*
 * Reads aio_nbytes from aio_offset on of the file aio_fildes into the page
 * cache. The result is how many of them are there, without a gap.
 */
#define IOCB_CMD_READAHEAD	12

/*
 * renameat2(), the arguments of which are in a struct renameat_info at aio_buf,
 * of aio_nbytes = 40. aio_fildes has no meaning.
 */
#define IOCB_CMD_RENAMEAT	13

struct renameat_info {
	__s64	olddirfd;
	__u64	oldpath;
	__s64	newdirfd;
	__u64	newpath;
	__u64	flags;
};

#endif /* _UAPI__LINUX_AIO_EXT_H */
