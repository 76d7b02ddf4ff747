#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# The example of Documentation/admin-guide/aio.rst: what aio_cat writes is what is
# in the file, whether the context is polled, and whether there is io_setup2() or not.

DIR=$(dirname "$(readlink -f "$0")")
# shellcheck source=../kselftest/ktap_helpers.sh
. "$DIR/../kselftest/ktap_helpers.sh"

DISK=/sys/kernel/config/nullb/aiocat
TMP=

cleanup()
{
	if [ -d "$DISK" ]; then
		echo 0 >"$DISK/power"
		rmdir "$DISK"
	fi
	[ -z "$TMP" ] || rm -rf "$TMP"
}
trap cleanup EXIT
trap 'exit 1' INT TERM

# A disk that can be polled, and that keeps what is written to it.
make_disk()
{
	if ! [ -d "${DISK%/*/*}/nullb" ]; then
		mount -t configfs none /sys/kernel/config
	fi
	mkdir "$DISK" &&
		echo 2 >"$DISK/queue_mode" &&
		echo 1 >"$DISK/memory_backed" &&
		echo 1 >"$DISK/poll_queues" &&
		echo 64 >"$DISK/size" &&
		echo 1 >"$DISK/power"
}

# same NAME SIZE ARGUMENT...: aio_cat's output has SIZE bytes, those of $TMP/want.
same()
{
	name=$1 size=$2
	shift 2
	: >"$TMP/cmp"
	if "$DIR/aio_cat" "$@" 2>"$TMP/err" >"$TMP/got" &&
		[ "$(stat -c %s "$TMP/got")" = "$size" ] &&
		cmp "$TMP/got" "$TMP/want" >"$TMP/cmp" 2>&1 &&
		{ [ "$plain" != y ] || grep -q "falling back" "$TMP/err"; } &&
		{ [ "$plain" != n ] || ! [ -s "$TMP/err" ]; }; then
		ktap_test_pass "$name"
	else
		ktap_test_fail "$name"
		sed 's/^/# /' "$TMP/err" "$TMP/cmp"
	fi
}

# skip NAME REASON
skip()
{
	echo "ok $KTAP_TESTNO $1 # SKIP $2"
	KTAP_TESTNO=$((KTAP_TESTNO + 1))
	KTAP_CNT_SKIP=$((KTAP_CNT_SKIP + 1))
}

ktap_print_header
# Files that can be opened with O_DIRECT.
TMP=$(mktemp -d -p /dev/shm) || exit "$KSFT_FAIL"
# y: there is no io_setup2(); n: there is; nothing: who knows.
plain=
if [ -r /proc/config.gz ]; then
	plain=y
	if zgrep -q '^CONFIG_AIO_SETUP2=y' /proc/config.gz; then plain=n; fi
fi
ktap_set_plan 5
for size in 0 4096 65536 1000003; do
	head -c "$size" /dev/urandom >"$TMP/want"
	same "a file of $size bytes" "$size" "$TMP/want"
done
if [ "$plain" != n ]; then
	skip polled "no io_setup2()"
elif ! make_disk 2>/dev/null; then
	skip polled "no null_blk that can be polled"
else
	head -c 3000000 /dev/urandom >"$TMP/want"
	dd if="$TMP/want" of=/dev/aiocat conv=fsync bs=1M status=none
	truncate -s 64M "$TMP/want"
	same "polled" 67108864 -p /dev/aiocat
fi
ktap_finished
