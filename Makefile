# SPDX-License-Identifier: GPL-2.0
#
# The things that one does with this overlay. The work is in scripts/.

MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help

# What may be given on the command line or in the environment.
VARIABLES := AIO ARCH BUILD CACHE KERNEL_SRC EXTRA_CONFIG ACCEL JOBS TESTS TEST_TIMEOUT AIO_TEST_LONG PARTS REPEAT BURN \
	SEEDS WORDS SHRINK \
	CASES RUNS OPS QDS PROFILE STRICT IMAGES MAPS RESULTS QEMU_PLUGIN UPDATE RATIOS \
	DEBUG CPUS SEED THREADS KERNEL_IMAGE SECONDS_EACH SYSTEMS CHECKOUT
export $(VARIABLES)
$(foreach v,$(VARIABLES),\
	$(if $($(v)),,$(eval unexport $(v))))

.PHONY: help run shell kernel test test-all test-tools kunit selftests spec-check diff-test test-clients test-debug bench bench-check lint unsafe-audit test-install miri clean

help:
	@echo 'make run        build, boot, and run fio with verified I/O through AIO'
	@echo 'make test       all tests, on the Rust kernel and on the C kernel'
	@echo 'make test-all   everything, the long forms too: hours (PARTS="NAME ...")'
	@echo 'make kunit      the KUnit suites alone'
	@echo 'make selftests  the kselftest programs alone (both also with ARCH=um)'
	@echo 'make spec-check the specifications of the calls, proven by the last test run'
	@echo 'make diff-test  random sequences of calls, compared between both kernels'
	@echo 'make test-clients  programs of other people, on both kernels (CLIENTS="NAME ...")'
	@echo 'make test-tools  aio-top and aio-latency; installs what they need'
	@echo 'make test-debug  tests, stress and fault injection in debug kernels (DEBUG="kasan ...")'
	@echo 'make test-install  the installation, in bare systems (SYSTEMS="NAME ..."; as root)'
	@echo 'make bench      instructions per operation: C, Rust and io_uring (CASES="NAME ...")'
	@echo 'make bench-check  has an operation become slower than recorded? (UPDATE=1 records)'
	@echo 'make shell      an interactive guest (needs a terminal)'
	@echo 'make kernel     only build; the last line is the path of the bzImage'
	@echo 'make lint       rustfmt, clippy, checkpatch, shellcheck, unsafe-audit'
	@echo 'make miri       the code that needs no kernel, under Miri (needs a nightly toolchain)'
	@echo 'make unsafe-audit  list the unsafe code; fail where no reason is given'
	@echo 'make clean      remove the build directory (the cache stays)'
	@echo
	@echo 'Variables: AIO=rust|c  EXTRA_CONFIG=FILE  KERNEL_SRC=DIR  BUILD=DIR  CACHE=DIR'
	@echo '           ACCEL=auto|kvm|tcg (run, shell)  JOBS=N  TESTS="PROGRAM ..."'
	@echo '           AIO_THREADS=1 (selftests, test-clients, test-debug)'
	@echo '           SEEDS=FIRST-LAST  WORDS="64 32"  SHRINK=N (diff-test)'
	@echo '           RUNS=N  RESULTS=DIR  STRICT=1  IMAGES="C RUST" (bench)'
	@echo '           DEBUG="PART ..."  OPS=N  CPUS="1 2 4"  SEED=N  KERNEL_IMAGE=FILE (test-debug)'
	@echo 'README.md describes them.'

run shell kernel lint diff-test test-debug test-all test-tools bench bench-check test-install miri:
	@scripts/$@

test:
	@scripts/test all

test-clients:
	@scripts/test-clients $(or $(CLIENTS),all)

kunit selftests:
	@scripts/test $@

spec-check:
	@scripts/deps spec
	@scripts/spec-check --self-test
	@scripts/spec-check

unsafe-audit:
	@command -v python3 >/dev/null || scripts/deps python
	@scripts/$@

clean:
	@scripts/clean
