/* SPDX-License-Identifier: GPL-2.0 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM aio

#if !defined(_TRACE_AIO_H) || defined(TRACE_HEADER_MULTI_READ)
#define _TRACE_AIO_H

#include <linux/aio_abi.h>
#include <linux/kdev_t.h>
#include <linux/tracepoint.h>
#include <uapi/linux/aio_ext.h>

/*
 * What io_submit() does is observed by code of its own, which runs while there is
 * somebody to observe: see fs/aio/trace.rs.
 */
#ifndef _TRACE_AIO_OBSERVERS
#define _TRACE_AIO_OBSERVERS
int aio_observe(void);
void aio_unobserve(void);
#endif

TRACE_DEFINE_ENUM(IOCB_CMD_PREAD);
TRACE_DEFINE_ENUM(IOCB_CMD_PWRITE);
TRACE_DEFINE_ENUM(IOCB_CMD_FSYNC);
TRACE_DEFINE_ENUM(IOCB_CMD_FDSYNC);
TRACE_DEFINE_ENUM(IOCB_CMD_POLL);
TRACE_DEFINE_ENUM(IOCB_CMD_PREADV);
TRACE_DEFINE_ENUM(IOCB_CMD_PWRITEV);

#define show_aio_opcode(opcode)						\
	__print_symbolic(opcode,					\
		{ IOCB_CMD_PREAD,	"PREAD" },			\
		{ IOCB_CMD_PWRITE,	"PWRITE" },			\
		{ IOCB_CMD_FSYNC,	"FSYNC" },			\
		{ IOCB_CMD_FDSYNC,	"FDSYNC" },			\
		{ IOCB_CMD_POLL,	"POLL" },			\
		{ IOCB_CMD_PREADV,	"PREADV" },			\
		{ IOCB_CMD_PWRITEV,	"PWRITEV" },			\
		{ 9,			"OPENAT" },			\
		{ 10,			"UNLINKAT" },			\
		{ 12,			"READAHEAD" },			\
		{ 13,			"RENAMEAT" })

/* IOCTX_FLAG_*, and 8 for threaded contexts: as in /proc/PID/aio. */
#define show_aio_kind(flags)						\
	__print_symbolic(flags,						\
		{ 0,	"plain" },					\
		{ 1,	"iocb" },					\
		{ 2,	"poll" },					\
		{ 3,	"iocb+poll" },					\
		{ 5,	"iocb+buf" },					\
		{ 7,	"iocb+buf+poll" },				\
		{ 8,	"thread" },					\
		{ 9,	"iocb+thread" },				\
		{ 13,	"iocb+buf+thread" })

/* What has refused something: as in kernel::aio::trace::Limit. */
#define show_aio_limit(limit)						\
	__print_symbolic(limit,						\
		{ 0,	"aio-max-nr" },					\
		{ 1,	"misc.max" },					\
		{ 2,	"RLIMIT_MEMLOCK" },				\
		{ 3,	"RLIMIT_MEMLOCK-pinned" },			\
		{ 4,	"ring" })

/* io_setup() or io_setup2() has created a context. */
TRACE_EVENT(aio_setup,

	TP_PROTO(unsigned long ctx, unsigned int asked, unsigned int room,
		 unsigned int flags),

	TP_ARGS(ctx, asked, room, flags),

	TP_STRUCT__entry(
		__field(unsigned long,	ctx)
		__field(unsigned int,	asked)
		__field(unsigned int,	room)
		__field(unsigned int,	flags)
	),

	TP_fast_assign(
		__entry->ctx = ctx;
		__entry->asked = asked;
		__entry->room = room;
		__entry->flags = flags;
	),

	TP_printk("ctx=0x%lx asked=%u room=%u kind=%s", __entry->ctx,
		  __entry->asked, __entry->room, show_aio_kind(__entry->flags))
);

/* The end of a context has begun: by io_destroy(), or with the address space. */
TRACE_EVENT(aio_destroy,

	TP_PROTO(unsigned long ctx, bool exit),

	TP_ARGS(ctx, exit),

	TP_STRUCT__entry(
		__field(unsigned long,	ctx)
		__field(bool,		exit)
	),

	TP_fast_assign(
		__entry->ctx = ctx;
		__entry->exit = exit;
	),

	TP_printk("ctx=0x%lx by=%s", __entry->ctx,
		  __entry->exit ? "exit" : "io_destroy")
);

/* An io_submit() of @asked iocbs returns @ret, after @ns nanoseconds. */
TRACE_EVENT_FN(aio_submit,

	TP_PROTO(unsigned long ctx, unsigned long asked, long ret, u64 ns),

	TP_ARGS(ctx, asked, ret, ns),

	TP_STRUCT__entry(
		__field(unsigned long,	ctx)
		__field(unsigned long,	asked)
		__field(long,		ret)
		__field(u64,		ns)
	),

	TP_fast_assign(
		__entry->ctx = ctx;
		__entry->asked = asked;
		__entry->ret = ret;
		__entry->ns = ns;
	),

	TP_printk("ctx=0x%lx asked=%lu ret=%ld ns=%llu", __entry->ctx,
		  __entry->asked, __entry->ret, __entry->ns),

	aio_observe, aio_unobserve
);

/*
 * A request is about to be started. @iocb is what will be in io_event.obj. Should it be
 * refused, there is no aio_complete, and the aio_submit of the batch tells.
 */
TRACE_EVENT_FN(aio_request,

	TP_PROTO(unsigned long ctx, u64 iocb, u16 opcode, u32 dev, u64 ino,
		 s64 offset, u64 length),

	TP_ARGS(ctx, iocb, opcode, dev, ino, offset, length),

	TP_STRUCT__entry(
		__field(unsigned long,	ctx)
		__field(u64,		iocb)
		__field(u64,		ino)
		__field(s64,		offset)
		__field(u64,		length)
		__field(u32,		dev)
		__field(u16,		opcode)
	),

	TP_fast_assign(
		__entry->ctx = ctx;
		__entry->iocb = iocb;
		__entry->ino = ino;
		__entry->offset = offset;
		__entry->length = length;
		__entry->dev = dev;
		__entry->opcode = opcode;
	),

	TP_printk("ctx=0x%lx iocb=0x%llx op=%s dev=%u:%u ino=%llu offset=%lld length=%llu",
		  __entry->ctx, __entry->iocb, show_aio_opcode(__entry->opcode),
		  MAJOR(__entry->dev), MINOR(__entry->dev), __entry->ino,
		  __entry->offset, __entry->length),

	aio_observe, aio_unobserve
);

/*
 * A request is complete, with the result @res. Reads and writes of one buffer and of several
 * are not told apart. @ns: since it was started, 0 if that was not observed. In threaded
 * contexts, of operations on paths, of READAHEAD, and of flushes that have waited for a write,
 * neither this nor the operation and its file are known.
 */
TRACE_EVENT_FN(aio_complete,

	TP_PROTO(unsigned long ctx, u64 iocb, u16 opcode, u32 dev, u64 ino,
		 long res, u64 ns),

	TP_ARGS(ctx, iocb, opcode, dev, ino, res, ns),

	TP_STRUCT__entry(
		__field(unsigned long,	ctx)
		__field(u64,		iocb)
		__field(u64,		ino)
		__field(u64,		ns)
		__field(long,		res)
		__field(u32,		dev)
		__field(u16,		opcode)
	),

	TP_fast_assign(
		__entry->ctx = ctx;
		__entry->iocb = iocb;
		__entry->ino = ino;
		__entry->ns = ns;
		__entry->res = res;
		__entry->dev = dev;
		__entry->opcode = opcode;
	),

	TP_printk("ctx=0x%lx iocb=0x%llx op=%s dev=%u:%u ino=%llu res=%ld ns=%llu",
		  __entry->ctx, __entry->iocb, show_aio_opcode(__entry->opcode),
		  MAJOR(__entry->dev), MINOR(__entry->dev), __entry->ino,
		  __entry->res, __entry->ns),

	aio_observe, aio_unobserve
);

/* A reader goes to sleep: @missing events are; @timeout in nanoseconds, -1 without one. */
TRACE_EVENT(aio_wait,

	TP_PROTO(unsigned long ctx, unsigned long missing, s64 timeout),

	TP_ARGS(ctx, missing, timeout),

	TP_STRUCT__entry(
		__field(unsigned long,	ctx)
		__field(unsigned long,	missing)
		__field(s64,		timeout)
	),

	TP_fast_assign(
		__entry->ctx = ctx;
		__entry->missing = missing;
		__entry->timeout = timeout;
	),

	TP_printk("ctx=0x%lx missing=%lu timeout=%lld", __entry->ctx,
		  __entry->missing, __entry->timeout)
);

/* It goes on, with @got events; it has waited for @ns nanoseconds, 0 if that is not known. */
TRACE_EVENT(aio_wake,

	TP_PROTO(unsigned long ctx, unsigned long got, u64 ns),

	TP_ARGS(ctx, got, ns),

	TP_STRUCT__entry(
		__field(unsigned long,	ctx)
		__field(unsigned long,	got)
		__field(u64,		ns)
	),

	TP_fast_assign(
		__entry->ctx = ctx;
		__entry->got = got;
		__entry->ns = ns;
	),

	TP_printk("ctx=0x%lx got=%lu ns=%llu", __entry->ctx, __entry->got,
		  __entry->ns)
);

/* io_cancel() of a request returns @ret; 0 stands for EINPROGRESS, its success. */
TRACE_EVENT(aio_cancel,

	TP_PROTO(unsigned long ctx, u64 iocb, int ret),

	TP_ARGS(ctx, iocb, ret),

	TP_STRUCT__entry(
		__field(unsigned long,	ctx)
		__field(u64,		iocb)
		__field(int,		ret)
	),

	TP_fast_assign(
		__entry->ctx = ctx;
		__entry->iocb = iocb;
		__entry->ret = ret;
	),

	TP_printk("ctx=0x%lx iocb=0x%llx ret=%d", __entry->ctx, __entry->iocb,
		  __entry->ret)
);

/*
 * A context, or (@limit is the ring) a request was refused: @asked for, @used and @allowed
 * are events, or pages of locked memory. 0 and 0 where they are not known, since the control group
 * that has refused has room by then; @ctx is 0 if there is no context yet.
 */
TRACE_EVENT(aio_refused,

	TP_PROTO(unsigned long ctx, unsigned int limit, u64 asked, u64 used,
		 u64 allowed),

	TP_ARGS(ctx, limit, asked, used, allowed),

	TP_STRUCT__entry(
		__field(unsigned long,	ctx)
		__field(u64,		asked)
		__field(u64,		used)
		__field(u64,		allowed)
		__field(unsigned int,	limit)
	),

	TP_fast_assign(
		__entry->ctx = ctx;
		__entry->asked = asked;
		__entry->used = used;
		__entry->allowed = allowed;
		__entry->limit = limit;
	),

	TP_printk("limit=%s ctx=0x%lx asked=%llu used=%llu allowed=%llu",
		  show_aio_limit(__entry->limit), __entry->ctx, __entry->asked,
		  __entry->used, __entry->allowed)
);

#endif /* _TRACE_AIO_H */

/* This part must be outside protection */
#include <trace/define_trace.h>
