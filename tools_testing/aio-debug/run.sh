#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Do the debug kernels find bugs? Builds them with those of bugs.patch in, boots one
# for each bug, and tells what has found it.
#
#   PLANTED   the bugs: all, or numbers with spaces between them
#   IMAGES    "PART=FILE ..." of kernels with the bugs, if they are built
#   OPS       operations of the stress for each that does not say how many (default
#             3000)
#
# Run by "make test-debug PLANTED=all".

set -euo pipefail
here=$(realpath "$(dirname "$0")")
# shellcheck source=scripts/lib.sh
. "$here/../../scripts/lib.sh"

list=$here/bugs
bugs=${PLANTED:-all}
ops=${OPS:-3000}
unset PLANTED OPS TESTS
if [ "$bugs" = all ]; then
	bugs=$(sed -n 's/^\([0-9][0-9]*\) .*/\1/p' "$list")
fi
read -ra numbers <<<"$(tr '\n' ' ' <<<"$bugs")"
for n in "${numbers[@]}"; do
	grep -q "^$n " "$list" || die "PLANTED: all or numbers of the bugs in $list, not '$n'"
done

# Field $2 of the second line of bug $1: part, test; the rest is the expression.
field()
{
	sed -n "/^$1 /{n;p}" "$list" | awk -v f="$2" '{
		if (f < 3)
			print $f
		else {
			sub(/^[ \t]*[^ ]+ [^ ]+ /, "")
			print
		}
	}'
}

lock_build
results=$BUILD/debug-planted
rm -rf "$results"
mkdir -p "$results"
declare -A images=()
for pair in ${IMAGES:-}; do images[${pair%%=*}]=${pair#*=}; done
unset IMAGES

# The laid tree has the bugs only while these kernels are built.
unplant()
{
	patch -R -s -p1 -d "$TREE" <"$here/bugs.patch" || true
}

build_planted()
{
	rm -f "$TREE/rust/kernel/aio/planted.rs"
	trap unplant EXIT
	patch -s -p1 --no-backup-if-mismatch -d "$TREE" <"$here/bugs.patch"
	"$SCRIPTS/build" >"$results/image"
}

missed=0
: >"$results/table"
for n in "${numbers[@]}"; do
	part=$(field "$n" 1) test=$(field "$n" 2) pattern=$(field "$n" 3)
	name=$(sed -n "s/^$n //p" "$list")
	if [ -z "${images[$part]:-}" ]; then
		fragment=$part
		if [ "$part" = kasan ]; then fragment=debug; fi
		if [ "$part" = uml ]; then fragment=uml-debug; fi
		cat "$SCRIPTS/config/$fragment.config" - >"$results/$part.config" <<-'END'
			CONFIG_LOCALVERSION="-planted"
		END
		(
			export AIO=rust EXTRA_CONFIG=$results/$part.config STAGES=7 STAGE=0
			if [ "$part" = uml ]; then export ARCH=um; fi
			"$SCRIPTS/kernel" >/dev/null
			STAGE=5
			build_planted
		)
		images[$part]=$(tail -n 1 "$results/image")
	fi
	echo "bug $n: $name" >&2
	tests=none stress=$ops seconds=3600
	case $test in
	stress) ;;
	stress:*) stress=${test#*:} ;;
	*:*) tests=${test%:*} seconds=${test#*:} stress=0 ;;
	*) tests=$test stress=0 ;;
	esac
	# Where something never comes, that is waited for.
	slow=20
	if [ "$part" = uml ]; then slow=2; fi
	# What KASAN has reported is the end: after it, the kernel may do anything, for long.
	DEBUG=$part KERNEL_IMAGE=${images[$part]} TESTS=$tests SECONDS_EACH=$seconds \
		AIO_SLOW=$slow OPS=$stress CPUS=2 SEED=1 THREADS=8 STAGES=0 STAGE=0 \
		APPEND="aio_planted=$n kasan.fault=panic ${APPEND:-}" \
		"$SCRIPTS/test-debug" >"$results/$n" || true
	rm -rf "$results/$n.logs"
	cp -r "$BUILD/test-debug" "$results/$n.logs"
	# Not the sample with which the check itself is checked.
	rm -f "$results/$n.logs/sample.log"
	# That a guest hangs is not enough: where?
	tap=$results/$n.logs/selftests-$part.tap
	if grep -q 'did not come to its end' "$results/$n" && [ -e "$tap" ]; then
		sed -n 's/.*#  RUN *\([^ ]*\) \.\.\..*/hung in \1/p' "$tap" | tail -n 1 \
			>>"$results/$n"
	fi
	found=$(grep -hoE -m 1 "($pattern).*" "$results/$n" "$results/$n.logs"/* | head -n 1 |
		tr -d '\r' || true)
	if [ -z "$found" ] || ! grep -q '^  FAILED' "$results/$n"; then
		found=missed
		missed=$((missed + 1))
	fi
	printf '%3s  %s\n     %s\n' "$n" "$name" "$found" | tee -a "$results/table"
done
echo
echo "outputs: $results"
echo "${#numbers[@]} bugs, $missed missed"
[ "$missed" = 0 ]
