#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# What Documentation/admin-guide/aio.rst shows of "AIO is slow or refused": each command and
# what it says, while a disk is slow and one process has nearly all of fs.aio-nr. To be run
# as root in a guest that nobody else uses:
#
#   scripts/guest --kernel BZIMAGE --disk 512M --share DIR -- bash tools_testing/aio-tools/demo.sh
#
# The pictures are written to the shared directory: top.svg and latency.svg, which are
# aio-top.svg and aio-latency.svg beside that page. Steps that need tracepoints are left out
# where there are none.

set -u
tools=$(cd "$(dirname "$0")" && pwd)
tracing=/sys/kernel/tracing
share=/run/share
jobs=()

aio-top() { /usr/bin/python3 -B "$tools/aio-top" "$@"; }
aio-latency() { /usr/bin/python3 -B "$tools/aio-latency" "$@"; }

# Shows a command, and runs it.
say()
{
	printf '\n# %s\n' "$*"
	eval "$*"
}

job()
{
	fio --thread --name="$1" --filename="$2" --ioengine=libaio --direct=1 "${@:3}" \
		>"/tmp/$1.out" 2>&1
}

# A disk that ends no more than 64 operations each 400 ms.
disk=/sys/kernel/config/nullb/slow
mountpoint -q /sys/kernel/config || mount -t configfs none /sys/kernel/config
mkdir $disk
echo 2 >$disk/queue_mode
echo 2 >$disk/irqmode
echo 400000000 >$disk/completion_nsec
echo 64 >$disk/hw_queue_depth
echo 256 >$disk/size
echo 1 >$disk/power
echo none >/sys/block/slow/queue/scheduler

mkfs.ext4 -q /dev/vda
mkdir -p /mnt/log
mount /dev/vda /mnt/log

sysctl -q fs.aio-max-nr=1000
job hold /dev/slow --iodepth=900 --rw=randread --bs=4k --size=256M --time_based --runtime=3600 &
jobs+=($!)
file=
until [ -n "$file" ]; do
	sleep 0.5
	kill -0 "${jobs[0]}" || exit 1
	for f in /proc/[0-9]*/aio; do
		if [ "$(wc -l 2>/dev/null <"$f" || echo 0)" -gt 1 ]; then file=$f; fi
	done
done
job small /dev/slow --iodepth=128 --rw=read --size=1M

say "dmesg | grep 'aio: ' | tail -1"
say "sysctl fs.aio-nr fs.aio-max-nr"
say "aio-top --once --sort asked"

mkdir -p /sys/fs/cgroup
mountpoint -q /sys/fs/cgroup || mount -t cgroup2 none /sys/fs/cgroup
if grep -qw misc /sys/fs/cgroup/cgroup.controllers; then
	echo +misc >/sys/fs/cgroup/cgroup.subtree_control
	mkdir /sys/fs/cgroup/db
	echo "aio 64" >/sys/fs/cgroup/db/misc.max
	sysctl -q fs.aio-max-nr=65536
	(
		echo $BASHPID >/sys/fs/cgroup/db/cgroup.procs
		job db /dev/slow --iodepth=128 --rw=read --size=1M
	)
	say "dmesg | grep 'aio: ' | tail -1"
	say "grep aio /sys/fs/cgroup/db/misc.{max,current,events}"
fi

say "column -t $file"
say "for i in 1 2; do awk 'NR > 1 { print \$5, \$11 }' $file; sleep 2; done"
say "sysctl fs.aio-stats=1; sleep 10; awk '{ print \$1, \$NF }' $file | column -t"
sysctl -q fs.aio-stats=0

mountpoint -q $tracing || mount -t tracefs none $tracing
if [ -d $tracing/events/aio ]; then
	cd $tracing/events/aio/aio_submit || exit
	say "echo 'ns > 1000000' >filter; echo 1 >enable; sleep 10; echo 0 >enable; \
grep aio_submit ../../../trace | head -3"
	echo 0 >filter
	cd /
	job log /mnt/log/file --iodepth=4 --rw=write --bs=16k --fdatasync=4 --size=64M \
		--time_based --runtime=3600 &
	jobs+=($!)
	sleep 5
	say "aio-latency --record 10 --output $share/latency.svg"
fi
sysctl -q fs.aio-stats=1
say "aio-top --once --contexts --sort asked --delay 5 --svg $share/top.svg"
sysctl -q fs.aio-stats=0
kill "${jobs[@]}"
wait
say "sysctl fs.aio-nr"
