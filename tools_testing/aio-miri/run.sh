#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# run.sh miri|asan TREE WORK [ARGUMENTS OF cargo test]
#
# Compiles what is pure memory and counting in AIO's Rust code as a program, and
# runs its KUnit cases, and tests with threads, under Miri, or as a program with
# AddressSanitizer, which finds what is used after it was freed, but knows nothing
# of Rust's rules for pointers. TREE is a kernel tree, WORK a directory that is
# written to. Needs a nightly toolchain (for Miri with miri and rust-src), and from
# crates.io what pin-init's macros are made with.

set -euo pipefail

how=$1
tree=$(realpath "$2")
work=$(realpath -m "$3")
shift 3
here=$(dirname "$(realpath "$0")")

# Beside the files here, those of the kernel crate and of fs/aio: from the
# overlay, or from the tree that it was laid on.
if [ -d "$here/../../fs_aio" ]; then
	kernel=$here/../../rust/kernel
	aio=$here/../../fs_aio
else
	kernel=$here/../../../rust/kernel
	aio=$here/../../../fs/aio
fi
sources=(aio/cancel nospec percpu slab sync/rcu_table sync/read_section sync/staged)

mkdir -p "$work/src/aio" "$work/src/sync"
rsync -a --exclude=/target "$here/" "$work/"
ln -sfn "$tree" "$work/linux"
for source in "${sources[@]}"; do
	rm -rf "${work:?}/src/$source"
	cp "$kernel/$source.rs" "$work/src/$source.rs"
	if [ -d "$kernel/$source" ]; then cp -r "$kernel/$source" "$work/src/$source"; fi
done
cp "$aio/slots.rs" "$work/src/slots.rs"
# Nothing queues objects here.
sed -i '/^mod work;$/d' "$work/src/slab.rs"

cd "$work"
case $how in
miri)
	exec cargo +nightly miri test --lib "$@" -- --test-threads=1
	;;
asan)
	# With a target the flags are for what is tested alone, not for the macros.
	export RUSTFLAGS=-Zsanitizer=address
	target=$(rustc +nightly -vV | sed -n 's/^host: //p')
	exec cargo +nightly test --lib --target "$target" "$@" -- --test-threads=1
	;;
*)
	echo "miri or asan, not '$how'" >&2
	exit 1
	;;
esac
