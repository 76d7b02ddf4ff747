#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# fio with ioengine=libaio, every block that it writes read back and compared:
# on the raw scratch disk, on ext4 and on XFS; O_DIRECT and buffered; queue depth
# 1, 32 and 256; 1 and 4 processes; blocks of 512 bytes, 4 KiB and 1 MiB; and a
# part of all that once more with events taken out of the ring by fio itself.
#
# With AIO_TEST_LONG=1 that is every combination. Otherwise it is a fifth of them: each target
# with each value of each option, and, over all targets, each pair of values (but
# for the events that fio takes out itself, which are tried on each target both ways of direct).
#
# The scratch disk is named in AIO_SCRATCH_DEV; its contents are lost. The
# amounts are for a slow machine; AIO_FIO_SCALE multiplies them.

DIR=$(dirname "$(readlink -f "$0")")
# shellcheck source=../kselftest/ktap_helpers.sh
. "$DIR/../kselftest/ktap_helpers.sh"

DEV=$AIO_SCRATCH_DEV
SCALE=${AIO_FIO_SCALE:-1}
TMP=

cleanup()
{
	[ -z "$TMP" ] && return
	umount "$TMP/mnt" 2>/dev/null
	rm -rf "$TMP"
}
trap cleanup EXIT
trap 'exit 1' INT TERM

skip_all()
{
	ktap_skip_all "$1"
	exit "$KSFT_SKIP"
}

# Columns of fio's terse output, version 3.
ERROR=5
READ_KIB=6
WRITTEN_KIB=47

# combination TARGET DIRECT DEPTH JOBS BS REAP
combination()
{
	name="$1 direct=$2 iodepth=$3 numjobs=$4 bs=$5 reap=$6"

	# More blocks than the queue is deep, except where that would take
	# too much memory.
	case $3 in
	1) blocks=128 ;;
	32) blocks=256 ;;
	256) blocks=512 ;;
	esac
	case $5 in
	512) kib=$((blocks * SCALE / 2)) ;;
	4k) kib=$((blocks * 4 * SCALE)) ;;
	1M)
		kib=$((8192 * SCALE))
		[ "${AIO_TEST_LONG:-0}" != 0 ] && kib=$((kib * 2))
		;;
	esac
	# Half of the combinations read while they write.
	rw=randwrite
	[ $((combinations % 2)) -eq 1 ] && rw=randrw
	combinations=$((combinations + 1))
	[ "$mode" = count ] && return

	if [ "$5" = 512 ] && [ "$2" = 1 ] && [ "$block" -gt 512 ]; then
		ktap_test_skip "$name: the disk has $block-byte blocks"
		return
	fi
	if [ "$1" = raw ]; then
		where="--filename=$DEV --offset_increment=${kib}k"
	else
		where="--directory=$TMP/mnt"
		rm -f "$TMP"/mnt/job.*
	fi

	# shellcheck disable=SC2086 # $where holds several words.
	fio --name=job $where --size="${kib}k" --ioengine=libaio \
		--direct="$2" --iodepth="$3" --numjobs="$4" --bs="$5" \
		--userspace_reap="$6" --rw=$rw --verify=crc32c \
		--verify_fatal=1 --do_verify=1 --group_reporting \
		--allow_mounted_write=1 --output-format=terse \
		--terse-version=3 --output="$TMP/out" 2>"$TMP/err"
	status=$?

	# One line, the sum of all processes. Everything that was written has
	# been read, and with randwrite that is every block there is.
	line=$(grep '^3;' "$TMP/out")
	error=$(echo "$line" | cut -d';' -f$ERROR)
	read=$(echo "$line" | cut -d';' -f$READ_KIB)
	written=$(echo "$line" | cut -d';' -f$WRITTEN_KIB)
	all=$((kib * $4))
	ok=1
	[ "$status" = 0 ] && [ "$error" = 0 ] || ok=0
	[ "${written:-0}" -gt 0 ] && [ "${read:-0}" -ge "${written:-0}" ] || ok=0
	if [ $rw = randwrite ]; then
		[ "${written:-0}" -eq $all ] || ok=0
	else
		# Random reads and writes together meet each block once.
		[ "${read:-0}" -ge $all ] || ok=0
	fi
	if [ $ok = 1 ]; then
		ktap_test_pass "$name: $rw, $written KiB verified"
	else
		ktap_test_fail "$name: $rw"
		ktap_print_msg "status $status, error $error, $all KiB:" \
			"written $written KiB, read $read KiB"
		sed 's/^/# /' "$TMP/err" "$TMP/out"
	fi
}

# matrix TARGET NUMBER
matrix()
{
	i=0
	for direct in 1 0; do
		for bs in 512 4k 1M; do
			i=$((i + 1))
			for jobs in 1 4; do
				d=0
				for depth in 1 32 256; do
					d=$((d + 1))
					chosen $((i + d + $2)) 3 || continue
					chosen $((direct + jobs / 4 + d)) 2 || continue
					# A gigabyte of buffers.
					[ $bs$jobs$depth = 1M4256 ] && continue
					combination "$1" $direct $depth $jobs \
						$bs 0
				done
			done
		done
		for jobs in 1 4; do
			chosen $((direct + jobs / 4 + $2)) 2 || continue
			combination "$1" $direct 32 $jobs 4k 1
		done
	done
}

# Of every $2 combinations those with one remainder, or all if there is time.
chosen()
{
	[ "${AIO_TEST_LONG:-0}" != 0 ] || [ $(($1 % $2)) -eq 0 ]
}

ktap_print_header
command -v fio >/dev/null || skip_all "fio is not installed"
[ -n "$DEV" ] || skip_all "AIO_SCRATCH_DEV is not set"
[ -b "$DEV" ] || skip_all "$DEV is not a block device"
[ -w "$DEV" ] || skip_all "$DEV cannot be written"
fio --enghelp=libaio >/dev/null 2>&1 || skip_all "fio has no ioengine libaio"
grep -q "^$DEV " /proc/mounts && skip_all "$DEV is in use"

TMP=$(mktemp -d) && mkdir "$TMP/mnt" || exit "$KSFT_FAIL"
block=$(cat "/sys/class/block/$(basename "$(readlink -f "$DEV")")/queue/logical_block_size")
# How many there are on each target.
mode=count
plan=
for target in 0 1 2; do
	combinations=0
	matrix - $target
	plan="$plan $combinations"
done
mode=run
combinations=0
# shellcheck disable=SC2086 # A number each.
set -- $plan

ktap_set_plan $(($1 + $2 + $3))
matrix raw 0
number=0
for fs in ext4 xfs; do
	case $fs in
	ext4) mkfs="mkfs.ext4 -q -F" ;;
	xfs) mkfs="mkfs.xfs -q -f" ;;
	esac
	shift
	number=$((number + 1))
	reason=
	if ! command -v mkfs.$fs >/dev/null; then
		reason="mkfs.$fs is not installed"
	elif ! $mkfs "$DEV" >"$TMP/err" 2>&1; then
		reason="$mkfs $DEV fails: $(head -n 1 "$TMP/err")"
	elif ! mount -t $fs "$DEV" "$TMP/mnt" 2>"$TMP/err"; then
		reason="cannot mount $fs: $(head -n 1 "$TMP/err")"
	fi
	if [ -n "$reason" ]; then
		i=0
		while [ $i -lt "$1" ]; do
			ktap_test_skip "$fs: $reason"
			i=$((i + 1))
		done
		continue
	fi
	matrix $fs $number
	umount "$TMP/mnt"
done
ktap_finished
