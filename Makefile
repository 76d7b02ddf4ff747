# SPDX-License-Identifier: GPL-2.0
#
# The things that one does with this overlay. The work is in scripts/.

MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help

# What may be given on the command line or in the environment.
VARIABLES := AIO ARCH BUILD CACHE KERNEL_SRC EXTRA_CONFIG ACCEL JOBS TESTS TEST_TIMEOUT AIO_TEST_LONG PARTS REPEAT BURN \
	SEEDS WORDS SHRINK \
	CASES RUNS OPS QDS PROFILE STRICT IMAGES MAPS RESULTS QEMU_PLUGIN UPDATE RATIOS \
	BUILD_POINTS QUICK BASE SIGNOFF SERIES_VERSION \
	DEBUG CPUS SEED THREADS KERNEL_IMAGE SECONDS_EACH SYSTEMS CHECKOUT
export $(VARIABLES)
$(foreach v,$(VARIABLES),\
	$(if $($(v)),,$(eval unexport $(v))))

.PHONY: help run shell kernel test test-all test-tools kunit selftests spec-check diff-test test-clients test-debug bench bench-check lint unsafe-audit test-install miri doc htmldocs series check-all clean

# "make help TARGET" tells of the target, and does not make it.
ifeq ($(firstword $(MAKECMDGOALS)),help)

help:
	@scripts/help $(filter-out help,$(MAKECMDGOALS))

$(filter-out help,$(MAKECMDGOALS)): help
	@:

else

help:
	@scripts/help

run shell kernel lint diff-test test-debug test-all test-tools bench bench-check test-install miri doc htmldocs series check-all:
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

endif
