/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The functions of the Rust code that the system call entries in syscalls/
 * call. Also read by bindgen, so that both sides are checked to agree.
 */
#ifndef _FS_AIO_AIO_H
#define _FS_AIO_AIO_H

#include <linux/aio.h>
#include <linux/jump_label.h>
#include <linux/uio.h>
#include <uapi/linux/aio_ext.h>

/* Word sizes of the calling program. */
#define AIO_ABI_NATIVE	0
#define AIO_ABI_COMPAT	1

/* Layouts of a struct timespec in user space. */
#define AIO_TIME64	0
#define AIO_TIME32	1

long aio_setup_context(unsigned int nr_events, void __user *ctxp, int abi);
long aio_setup2_context(unsigned int nr_events, unsigned int flags,
			void __user *iocbs, void __user *ctxp, int abi);
long aio_destroy_context(unsigned long ctx_id);
long aio_submit(unsigned long ctx_id, long nr, void __user *iocbpp, int abi);
long aio_cancel(unsigned long ctx_id, void __user *iocb);
long aio_getevents(unsigned long ctx_id, long min_nr, long nr,
		   void __user *events, void __user *timeout, int time_layout);
long aio_pgetevents(unsigned long ctx_id, long min_nr, long nr,
		    void __user *events, void __user *timeout, int time_layout,
		    void __user *sigset, int abi);

#ifdef CONFIG_AIO_THREAD
void aio_thread_exits(void);
#endif

/* For observe.c. */
struct mm_struct;
struct seq_file;

long aio_proc_next(struct mm_struct *mm, unsigned long from);
void aio_proc_show(struct seq_file *m, struct mm_struct *mm, long index,
		   bool stats);

/* Enabled while somebody observes what io_submit() does. */
struct aio_observers {
	struct static_key_false key;
};

extern struct aio_observers aio_observers;

/* fs.aio-stats */
extern int aio_stats;

void aio_set_cancel_fn(struct kiocb *iocb, kiocb_cancel_fn *cancel);

#endif /* _FS_AIO_AIO_H */
