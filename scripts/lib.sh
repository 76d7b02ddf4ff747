# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# shellcheck disable=SC2034 # Variables for the scripts that read this file.
#
# What the scripts share: where things are, the toolchain, stages and their logs.

SCRIPTS=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
ROOT=$(dirname "$SCRIPTS")
BUILD=$(realpath -m "${BUILD:-$ROOT/build}")
CACHE=$(realpath -m "${CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/linux-aio-rust}")
LOGS=$BUILD/log
JOBS=${JOBS:-$(nproc)}
AIO=${AIO:-rust}
ACCEL=${ACCEL:-auto}
KERNEL_SERIES=7.3

# The kernel is one for the host's architecture, or User Mode Linux.
KARCH=${ARCH:-x86_64}

# make hands its variables down to the kernel's makefiles, which have some of the
# same names.
unset MAKEFLAGS MFLAGS MAKELEVEL MAKEOVERRIDES KBUILD_OUTPUT ARCH CROSS_COMPILE LLVM

# Standard output is for results (a path, a table); everything else goes to
# standard error.
note()
{
	echo "      $*" >&2
}

die()
{
	echo "error: $*" >&2
	exit 1
}

case $AIO in
rust|c) ;;
*) die "AIO is rust or c, not '$AIO'" ;;
esac

case $KARCH in
x86_64|x86|um) ;;
*) die "ARCH is x86_64 or um, not '$KARCH'" ;;
esac

# Stages. A command says how many it has (STAGES) and calls stage for each:
#
#   stage "Title" LOG HINT COMMAND...
#
# The command's output goes to $LOGS/LOG. If it fails, the end of the log and
# the hint are printed and the script ends. A nested script numbers on where its
# caller is.
export STAGE=${STAGE:-0} STAGES=${STAGES:-0}

took()
{
	local s=$(($(date +%s) - $1))
	if [ $s -ge 60 ]; then echo "$((s / 60)) min $((s % 60)) s"; else echo "$s s"; fi
}

# How far a kernel build is: the steps in its log against those that the last
# build from nothing had ("-": not known).
progress()
{
	local log=$1 start=$2 of='' shown=0 n elapsed
	if [ "$3" != - ]; then of=" of about $3"; fi
	while sleep 2 >/dev/null 2>&1 && kill -0 $$ 2>/dev/null; do
		n=$(grep -cE '^  [A-Z]' "$log" 2>/dev/null || true)
		elapsed=$(($(date +%s) - start))
		if [ -t 2 ]; then
			printf '\r      %s%s steps, %s\033[K' "${n:-0}" "$of" "$(took "$start")" >&2
		elif [ $((elapsed - shown)) -ge 60 ]; then
			shown=$elapsed
			note "${n:-0}$of steps, $(took "$start")"
		fi
	done
}

TICKER=''
end_ticker()
{
	if [ -n "$TICKER" ]; then
		kill "$TICKER" 2>/dev/null || true
		wait "$TICKER" 2>/dev/null || true
		if [ -t 2 ]; then printf '\r\033[K' >&2; fi
	fi
	TICKER=''
}

# Not for use in a condition: "set -e" must hold in the command.
stage()
{
	local title=$1 log=$LOGS/$2 hint=$3 start status of=''
	shift 3
	mkdir -p "$LOGS"
	STAGE=$((STAGE + 1))
	if [ "$STAGES" -gt 0 ]; then of="[$STAGE/$STAGES] "; fi
	echo "$of$title" >&2
	start=$(date +%s)
	: >"$log"
	if [ -n "${PROGRESS:-}" ]; then
		trap end_ticker EXIT
		progress "$log" "$start" "$PROGRESS" 9>&- &
		TICKER=$!
	fi
	set +e
	(
		set -e
		"$@"
	) >"$log" 2>&1 </dev/null
	status=$?
	set -e
	end_ticker
	if [ "$status" = 0 ]; then
		note "done in $(took "$start")"
		return
	fi
	{
		echo
		echo "error: $title: failed after $(took "$start"), status $status. The end of $log:"
		echo
		tail -n 40 "$log" | sed 's/^/    /'
		echo
		echo "What to do: $hint"
	} >&2
	exit 1
}

# One command at a time works in BUILD; a nested script has the lock already.
lock_build()
{
	mkdir -p "$BUILD"
	if [ "${BUILD_LOCKED:-}" = "$BUILD" ]; then return; fi
	exec 9>"$BUILD/.lock"
	if ! flock -n 9; then
		note "waiting for another command that works in $BUILD"
		flock 9
	fi
	export BUILD_LOCKED=$BUILD
}

# The toolchain: rustc from the system's packages (a rustup one has no library
# source), clang of the same LLVM where there is one.
RUSTC_LEAST=1.85.0

version_ge()
{
	[ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1)" = "$2" ]
}

rustc_version()
{
	"$1" --version | cut -d' ' -f2
}

find_rustc()
{
	local r src
	for r in "${RUSTC:-}" /usr/bin/rustc; do
		if [ -z "$r" ] || ! [ -x "$r" ]; then continue; fi
		src=$("$r" --print sysroot)/lib/rustlib/src/rust/library/core/src/lib.rs
		if [ -f "$src" ] && version_ge "$(rustc_version "$r")" "$RUSTC_LEAST"; then
			echo "$r"
			return
		fi
	done
	return 1
}

rust_llvm()
{
	"$1" -vV | sed -n 's/^LLVM version: \([0-9]*\).*/\1/p'
}

# Is there a clang of LLVM $1 with all of its tools, and its library for bindgen?
complete_llvm()
{
	local dir=/usr/lib/llvm-$1
	[ -x "$dir/bin/clang" ] && [ -x "$dir/bin/ld.lld" ] && [ -x "$dir/bin/llvm-ar" ] &&
		{ compgen -G "$dir/lib/libclang.so*" || compgen -G "$dir/lib/libclang-[0-9]*.so*"; } >/dev/null
}

# The newest clang with all of its tools, rustc's own version before any other.
find_llvm()
{
	local v
	for v in "$(rust_llvm "$1")" 23 22 21 20 19 18 17; do
		if complete_llvm "$v"; then
			echo "$v"
			return
		fi
	done
	return 1
}

# The oldest bindgen that does with the libclang of LLVM $1: before 0.72.1, structures
# lose their fields with libclang 22 (the kernel's rust_is_available.sh warns of it).
bindgen_least()
{
	if [ "${1:-0}" -ge 22 ]; then echo 0.72.1; else echo 0.71.1; fi
}

# A bindgen for the libclang of LLVM $1 (default: that of the LLVM that is used).
find_bindgen()
{
	local b version llvm=${1:-}
	if [ -z "$llvm" ]; then llvm=$(find_llvm "$(find_rustc)") || return 1; fi
	for b in "$CACHE/tools/bin/bindgen" "$(command -v bindgen || true)"; do
		if [ -z "$b" ] || ! [ -x "$b" ]; then continue; fi
		version=$(cd / && "$b" --version 2>/dev/null | sed -n 's/^bindgen \([0-9.]*\).*/\1/p')
		if [ -n "$version" ] && version_ge "$version" "$(bindgen_least "$llvm")"; then
			echo "$b"
			return
		fi
	done
	return 1
}

# Sets KMAKE, the make command for a kernel tree with this toolchain, and the
# toolchain's parts: rustc, llvm (a version).
toolchain()
{
	local bindgen bin cc
	rustc=$(find_rustc) || die "no rustc with library source (run scripts/deps)"
	llvm=$(find_llvm "$rustc") || die "no clang with lld and libclang (run scripts/deps)"
	bindgen=$(find_bindgen "$llvm") ||
		die "no bindgen $(bindgen_least "$llvm") or newer (run scripts/deps)"
	bin=$(dirname "$rustc")
	export LIBCLANG_PATH=/usr/lib/llvm-$llvm/lib
	KMAKE=(make "LLVM=-$llvm" "RUSTC=$rustc" "RUSTDOC=$bin/rustdoc" "RUSTFMT=$bin/rustfmt"
		"CLIPPY_DRIVER=$bin/clippy-driver" "BINDGEN=$bindgen")
	if [ -z "${CCACHE_DISABLE:-}" ] && command -v ccache >/dev/null; then
		cc="ccache clang-$llvm"
		export CCACHE_DIR=$CACHE/ccache CCACHE_MAXSIZE=${CCACHE_MAXSIZE:-4G}
		# So that another checkout's objects, and those of another variant, are found.
		export CCACHE_BASEDIR=$BUILD CCACHE_NOHASHDIR=1
		export CCACHE_COMPILERCHECK=content CCACHE_SLOPPINESS=time_macros
		KMAKE+=("CC=$cc")
	fi
	if [ "$KARCH" = um ]; then KMAKE+=(ARCH=um); fi
	# llvm-objcopy can't make what x32 needs.
	if [ -n "${EXTRA_CONFIG:-}" ] && grep -qx 'CONFIG_X86_X32_ABI=y' "$EXTRA_CONFIG"; then
		KMAKE+=("OBJCOPY=objcopy")
	fi
	export KBUILD_BUILD_USER=aio KBUILD_BUILD_HOST=aio
}

# What KUnit has written to $1.kernel.log, as tap.py tells it: $2 is the label, $3 the
# exit status of the guest.
kunit_results()
{
	# The parser wants the kernel's lines without anything before them.
	tr -d '\r' <"$1.kernel.log" >"$1.ktap"
	python3 "$TREE/tools/testing/kunit/kunit.py" parse --json="$1.json" "$1.ktap" \
		>"$1.parsed" 2>&1 || true
	if [ -f "$1.json" ]; then
		python3 "$SCRIPTS/tap.py" kunit "$1.json" "$2" "$3"
	else
		echo "0 0 0"
	fi
}

# Where things are for the kernel that AIO, BASE_CONFIG and EXTRA_CONFIG ask for.
TREE=$BUILD/linux
if [ "$KARCH" = um ]; then BASE_CONFIG=uml; fi
VARIANT=${BASE_CONFIG:+$BASE_CONFIG-}$AIO
if [ -n "${EXTRA_CONFIG:-}" ]; then
	[ -f "$EXTRA_CONFIG" ] || die "EXTRA_CONFIG: no file '$EXTRA_CONFIG'"
	# It is read from other directories, too.
	EXTRA_CONFIG=$(realpath "$EXTRA_CONFIG")
	VARIANT+=-$(sha256sum "$EXTRA_CONFIG" | cut -c1-12)
fi
OUT=$BUILD/$VARIANT
if [ "$KARCH" = um ]; then IMAGE=$OUT/linux; else IMAGE=$OUT/arch/x86/boot/bzImage; fi
# A nested script has the same architecture.
if [ "$KARCH" = um ]; then export ARCH=um; fi

# Sets polled, arguments for scripts/guest: one of the queues of each virtio and NVMe disk is to
# be polled, and there are two NVMe disks: the file $1, which is made here, and one that takes a
# second for a request.
polled_disks()
{
	polled=()
	if [ "$KARCH" = um ]; then return; fi
	rm -f "$1"
	truncate -s 64M "$1"
	dd if=/dev/urandom of="$1" bs=1M count=4 conv=notrunc status=none
	polled=(--append "virtio_blk.poll_queues=1 nvme.poll_queues=1"
		--qemu -drive --qemu "file=$1,format=raw,if=none,id=nvme,cache=unsafe"
		--qemu -device --qemu "nvme,drive=nvme,serial=nvme,max_ioqpairs=2"
		--qemu -blockdev
		--qemu "driver=null-co,node-name=slow,size=67108864,latency-ns=1000000000,read-zeroes=on"
		--qemu -device --qemu "nvme,drive=slow,serial=slow,max_ioqpairs=2")
}

# The selftests, built from the laid tree, against its own UAPI headers, by the host's
# compiler.
build_selftests()
{
	local out=$BUILD/selftests
	mkdir -p "$out"
	make -j"$JOBS" -C "$TREE" O="$out" CC=gcc HOSTCC=gcc headers
	rm -rf "$out/install"
	make -j"$JOBS" -C "$TREE/tools/testing/selftests" O="$out" TARGETS=aio FORCE_TARGETS=1 CC=gcc \
		INSTALL_PATH="$out/install" install
	grep '^aio:' "$out/install/kselftest-list.txt"
}

# The 64-bit ones of them: there is nothing in User Mode Linux that runs others on a 64-bit
# kernel. Given one, the guest's shell would take it for a script.
programs_64()
{
	sed -n '/_32$/d; s/^aio://p' "$BUILD/selftests/install/kselftest-list.txt"
}
