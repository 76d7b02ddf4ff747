// SPDX-License-Identifier: GPL-2.0
/*
 * Print the counters that aio-wait.so has left in a file, as shell assignments.
 */
#include <stdio.h>

#include "aio-wait.h"

#define PRINT(c, name)	printf(#name "=%llu\n", (unsigned long long)(c).name)

int main(int argc, char **argv)
{
	struct counters c;
	FILE *file;

	if (argc != 2) {
		fprintf(stderr, "usage: aio-wait-report FILE\n");
		return 2;
	}
	file = fopen(argv[1], "r");
	if (!file || fread(&c, sizeof(c), 1, file) != 1) {
		fprintf(stderr, "%s: no counters\n", argv[1]);
		return 1;
	}
	PRINT(c, contexts);
	PRINT(c, submitted);
	PRINT(c, own_eventfd);
	PRINT(c, collected);
	PRINT(c, waits);
	PRINT(c, signalled);
	PRINT(c, balanced);
	PRINT(c, signals);
	PRINT(c, signals_in_call);
	PRINT(c, interrupted);
	PRINT(c, failures);
	return 0;
}
