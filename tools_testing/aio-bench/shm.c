// SPDX-License-Identifier: GPL-2.0
/*
 * System V shared memory for fio, in kernels that have none: fio wants a segment, which it
 * shares with its children only. Preloaded by aio-bench.
 */
#include <errno.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/shm.h>

#define SEGMENTS	16

static size_t sizes[SEGMENTS];

int shmget(key_t key, size_t size, int flags)
{
	int i;

	(void)key;
	(void)flags;
	for (i = 0; i < SEGMENTS; i++) {
		if (!sizes[i]) {
			sizes[i] = size;
			return i;
		}
	}
	errno = ENOSPC;
	return -1;
}

void *shmat(int id, const void *at, int flags)
{
	(void)at;
	(void)flags;
	return mmap(NULL, sizes[id], PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
}

/* It goes with the processes. */
int shmdt(const void *at)
{
	(void)at;
	return 0;
}

int shmctl(int id, int op, struct shmid_ds *data)
{
	(void)id;
	(void)op;
	(void)data;
	return 0;
}
