// SPDX-License-Identifier: GPL-2.0
/*
 * A QEMU TCG plugin that says in which functions of the kernel instructions are
 * executed while aio-bench counts, and how many of them are locked ones and
 * full barriers.
 *
 *   -plugin insnprof.so,map=SYSTEM.MAP,out=FILE
 *
 * Only for guests with -accel tcg,thread=single and a kernel that was booted with
 * nokaslr.
 *
 * Markers in the program, no-operations of a form that no compiler makes, switch
 * the counting on and off, reset it, and write a section: a line "section", one
 * "user INSTRUCTIONS LOCKED BARRIERS", and one "FUNCTION INSTRUCTIONS LOCKED BARRIERS"
 * for each function.
 *
 * What is counted is translation blocks that begin, with all of their instructions. Where
 * one is left early, because of a fault or an interrupt, that is a few too many.
 */
#include <linux/types.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <qemu-plugin.h>

typedef __u64 u64;
typedef __u8 u8;

QEMU_PLUGIN_EXPORT int qemu_plugin_version = QEMU_PLUGIN_VERSION;

#define KERNEL	0xffff800000000000ull

enum marker { BEGIN = 1, END, RESULT, RESET };

struct function {
	u64 address;
	char *name;
	u64 insns, locked, barriers;
};

struct block {
	struct function *function;
	unsigned int insns, locked, barriers;
};

static struct function *functions, user = { .name = "user" };
static size_t nfunctions;
static bool counting;
static FILE *out;

static int by_address(const void *a, const void *b)
{
	const struct function *x = a, *y = b;

	if (x->address != y->address)
		return x->address < y->address ? -1 : 1;
	/* The shortest of several names. */
	return (int)strlen(x->name) - (int)strlen(y->name);
}

static struct function *find(u64 address)
{
	size_t low = 0, high = nfunctions;

	if (address < KERNEL)
		return &user;
	while (low + 1 < high) {
		size_t middle = (low + high) / 2;

		if (functions[middle].address <= address)
			low = middle;
		else
			high = middle;
	}
	return &functions[low];
}

static void write_function(const struct function *f)
{
	if (f->insns)
		fprintf(out, "%s %llu %llu %llu\n", f->name, f->insns,
			f->locked, f->barriers);
}

static void reset_function(struct function *f)
{
	f->insns = 0;
	f->locked = 0;
	f->barriers = 0;
}

static void write_section(void)
{
	size_t i;

	fprintf(out, "section\n");
	write_function(&user);
	for (i = 0; i < nfunctions; i++)
		write_function(&functions[i]);
	fflush(out);
}

static void on_marker(unsigned int cpu, void *data)
{
	enum marker marker = (unsigned long)data;
	size_t i;

	(void)cpu;
	if (marker == BEGIN || marker == END) {
		counting = marker == BEGIN;
		return;
	}
	if (marker == RESULT)
		write_section();
	reset_function(&user);
	for (i = 0; i < nfunctions; i++)
		reset_function(&functions[i]);
}

static void on_block(unsigned int cpu, void *data)
{
	const struct block *b = data;

	(void)cpu;
	if (!counting)
		return;
	b->function->insns += b->insns;
	b->function->locked += b->locked;
	b->function->barriers += b->barriers;
}

/*
 * The bytes of an instruction. From version 3 of the interface on they are copied.
 */
static size_t insn_bytes(struct qemu_plugin_insn *insn, u8 *bytes, size_t max)
{
	size_t n = qemu_plugin_insn_size(insn);

	if (n > max)
		n = max;
#if QEMU_PLUGIN_VERSION >= 3
	n = qemu_plugin_insn_data(insn, bytes, n);
#else
	memcpy(bytes, qemu_plugin_insn_data(insn), n);
#endif
	return n;
}

static bool is_prefix(u8 b)
{
	return b == 0x66 || b == 0x67 || b == 0xf0 || b == 0xf2 || b == 0xf3 || b == 0x2e ||
		b == 0x36 || b == 0x3e || b == 0x26 || b == 0x64 || b == 0x65;
}

static void classify(struct block *block, const u8 *bytes, size_t n)
{
	bool lock = false;
	size_t i = 0;

	while (i < n && is_prefix(bytes[i])) {
		lock |= bytes[i] == 0xf0;
		i++;
	}
	if (i < n && (bytes[i] & 0xf0) == 0x40)
		i++;
	if (i + 1 >= n)
		return;
	if (lock) {
		block->locked++;
		/* lock addl $0,(%rsp) or with a displacement: a full barrier */
		if (bytes[i] == 0x83 && (bytes[i + 1] & 0x3f) == 0x04 && i + 2 < n &&
		    (bytes[i + 2] & 7) == 4 && !bytes[n - 1])
			block->barriers++;
		return;
	}
	/* xchg with memory needs no prefix. */
	if ((bytes[i] == 0x86 || bytes[i] == 0x87) && bytes[i + 1] < 0xc0)
		block->locked++;
	if (bytes[i] == 0x0f && bytes[i + 1] == 0xae && i + 2 < n && bytes[i + 2] == 0xf0)
		block->barriers++;
}

static unsigned int marker_of(const u8 *bytes, size_t n)
{
	static const u8 nopl[] = { 0x0f, 0x1f, 0x80 };

	if (n == 7 && !memcmp(bytes, nopl, sizeof(nopl)) && !bytes[4] && bytes[5] == 0x65 &&
	    bytes[6] == 0x62 && bytes[3] >= BEGIN && bytes[3] <= RESET)
		return bytes[3];
	return 0;
}

static void on_translation(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
	u64 address = qemu_plugin_tb_vaddr(tb);
	struct block *block = calloc(1, sizeof(*block));
	u8 bytes[16];
	size_t i, n;

	(void)id;
	if (!block)
		abort();
	block->function = find(address);
	block->insns = qemu_plugin_tb_n_insns(tb);
	for (i = 0; i < block->insns; i++) {
		struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
		unsigned int marker;

		n = insn_bytes(insn, bytes, sizeof(bytes));
		classify(block, bytes, n);
		marker = address < KERNEL ? marker_of(bytes, n) : 0;
		if (marker)
			qemu_plugin_register_vcpu_insn_exec_cb(insn, on_marker,
							       QEMU_PLUGIN_CB_NO_REGS,
							       (void *)(unsigned long)marker);
	}
	qemu_plugin_register_vcpu_tb_exec_cb(tb, on_block, QEMU_PLUGIN_CB_NO_REGS, block);
}

static bool read_map(const char *path)
{
	u64 address;
	size_t room = 0;
	char line[512], name[400], type;
	FILE *f = fopen(path, "r");

	if (!f)
		return false;
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%llx %c %399s", &address, &type, name) != 3 ||
		    !strchr("tTwW", type) || address < KERNEL || !strncmp(name, "__pfx_", 6))
			continue;
		if (nfunctions == room) {
			room = room ? 2 * room : 65536;
			functions = realloc(functions, room * sizeof(*functions));
			if (!functions)
				abort();
		}
		functions[nfunctions++] = (struct function){ .address = address,
							     .name = strdup(name) };
	}
	fclose(f);
	if (nfunctions)
		qsort(functions, nfunctions, sizeof(*functions), by_address);
	return nfunctions;
}

QEMU_PLUGIN_EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t *info,
					   int argc, char **argv)
{
	int i;

	(void)info;
	for (i = 0; i < argc; i++) {
		if (!strncmp(argv[i], "map=", 4) && !read_map(argv[i] + 4)) {
			fprintf(stderr, "insnprof: no functions in %s\n", argv[i] + 4);
			return 1;
		}
		if (!strncmp(argv[i], "out=", 4))
			out = fopen(argv[i] + 4, "w");
	}
	if (!nfunctions || !out) {
		fprintf(stderr, "insnprof: map= and out= are wanted\n");
		return 1;
	}
	qemu_plugin_register_vcpu_tb_trans_cb(id, on_translation);
	return 0;
}
