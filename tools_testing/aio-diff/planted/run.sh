#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Does the differential tester find bugs? Builds a kernel with those of bugs.patch
# in it, boots it once for each of them, and tells in how many sequences it was
# seen and how short they became.
#
#   PLANTED           the bugs: all, or numbers with spaces between them
#   SEEDS, SEEDS_32   as for scripts/diff-test (default 1-300 and 1-150)
#   IMAGES            the C kernel and the one with the bugs, if they are built
#
# Run by "make diff-test PLANTED=all".

set -euo pipefail
here=$(realpath "$(dirname "$0")")
# shellcheck source=scripts/lib.sh
. "$here/../../../scripts/lib.sh"

bugs=${PLANTED:-all}
unset PLANTED
if [ "$bugs" = all ]; then
	bugs=$(sed -n 's/^\([0-9][0-9]*\) .*/\1/p' "$here/bugs")
fi
read -ra numbers <<<"$(tr '\n' ' ' <<<"$bugs")"
for n in "${numbers[@]}"; do
	grep -q "^$n " "$here/bugs" ||
		die "PLANTED: all or numbers of the bugs in $here/bugs, not '$n'"
done
lock_build
results=$BUILD/diff-planted
rm -rf "$results"
mkdir -p "$results"

# The laid tree has the bugs only while this kernel is built.
unplant()
{
	patch -R -s -p1 -d "$TREE" <"$here/bugs.patch" || true
}

build_planted()
{
	rm -f "$TREE/fs/aio/planted.rs"
	trap unplant EXIT
	patch -s -p1 --no-backup-if-mismatch -d "$TREE" <"$here/bugs.patch"
	echo 'CONFIG_LOCALVERSION="-planted"' >"$results/config"
	AIO=rust EXTRA_CONFIG=$results/config "$SCRIPTS/build" >"$results/image"
}

if [ -n "${IMAGES:-}" ]; then
	read -r c planted <<<"$IMAGES"
else
	STAGES=$((9 + 2 * ${#numbers[@]}))
	AIO=rust "$SCRIPTS/kernel" >/dev/null
	STAGE=5
	c=$(AIO=c "$SCRIPTS/build")
	STAGE=7
	(build_planted)
	planted=$(tail -n 1 "$results/image")
	STAGE=9
fi
if [ "$STAGES" = 0 ]; then STAGES=$((2 * ${#numbers[@]})); fi

missed=0
: >"$results/table"
for n in "${numbers[@]}"; do
	out=$results/$n
	echo "bug $n: $(sed -n "s/^$n //p" "$here/bugs")" >&2
	IMAGES="$c $planted" APPEND="aio_planted=$n" \
		SEEDS="${SEEDS:-1-300}" SEEDS_32="${SEEDS_32:-1-150}" \
		SHRINK="${SHRINK:-3}" LIMIT="${LIMIT:-15}" "$SCRIPTS/diff-test" >"$out" || true
	STAGE=$((STAGE + 2))
	# How often in each word size, and the shortest of those that were made short.
	pattern='^\([0-9]*\) sequences, \([0-9]*\) differ, .*(\([0-9]*\) bit)$'
	found=$(sed -n "s/$pattern/\\2 of \\1 (\\3 bit)/p" "$out" | paste -s -d, | sed 's/,/, /g')
	pattern='^sequence \([0-9]*\) (\([0-9]*\) bit): \([0-9]*\) of \([0-9]*\) steps: .*'
	short=$(sed -n "s/$pattern/\3 \4 \1 \2/p" "$out" | sort -n | awk 'NR == 1 {
		print "shortest: " $1 " of " $2 " steps (sequence " $3 ", " $4 " bit)"
	}')
	if [ -z "$short" ]; then
		short=missed
		missed=$((missed + 1))
	fi
	{
		printf '%3s  %s\n' "$n" "$(sed -n "s/^$n //p" "$here/bugs")"
		printf '     %s; %s\n' "$found" "$short"
	} | tee -a "$results/table"
done
echo
echo "outputs: $results"
echo "${#numbers[@]} bugs, $missed missed"
[ "$missed" = 0 ]
