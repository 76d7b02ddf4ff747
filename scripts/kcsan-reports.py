#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""The data races in a kernel log that KCSAN has reported.

    kcsan-reports.py KERNEL-LOG

Prints those that AIO has a part in: one of the two accesses is in a function of
fs/aio or of an abstraction below it, or in what these call directly with their own
memory. Races between others are only counted. The last line has two numbers: ours,
others'. The exit status is 1 if any is ours.
"""

import collections
import re
import sys

START = re.compile(r"BUG: KCSAN: (\S+) in (.*)$")
END = re.compile(r"^={20,}$")
FRAME = re.compile(r"^\s*\??\s*([A-Za-z_$][\w.$]*)\+0x[0-9a-f]+/0x[0-9a-f]+")
ACCESS = re.compile(r"(read|write|read-write|assert no accesses|assert no writes|race at unknown origin)")
# Rust's symbols say which crate they are of; fs/aio.c and fs/aio/syscalls/*.c.
OURS = re.compile(r"^_R\w*(3aio|6kernel)|(^|_)aio(_|$)|^(__do_sys|__se_sys|__x64_sys|__ia32_\w+)_io_"
                  r"(setup|destroy|submit|cancel|getevents|pgetevents)|^lookup_ioctx|^read_events|"
                  r"^kill_ioctx|^free_ioctx|^(get|put)_reqs_available|^refill_reqs_available")
# What copies, compares or locks for whoever calls it.
LEAF = re.compile(r"^(__tsan_|__kcsan_|kcsan_|memcpy|memset|memcmp|_?copy_(to|from)|__?(copy|raw_copy)|"
                  r"rep_movs|do_raw_|_raw_|native_|queued_|osq_|__lock|lock_)")


def reports(lines):
    block = None
    for line in lines:
        line = re.sub(r"^\[ *[0-9.]+\](\[[^]]*\])? ", "", line.rstrip("\r\n"))
        start = START.search(line)
        if start:
            block = [line]
        elif block is not None:
            if END.match(line):
                yield block
                block = None
            else:
                block.append(line)
    if block is not None:
        yield block


def accesses(block):
    """The stacks of the accesses: lists of functions, innermost first."""
    stack, stacks = [], []
    for line in block[1:]:
        frame = FRAME.match(line)
        if frame:
            stack.append(frame.group(1))
        elif stack and not line.strip():
            stacks.append(stack)
            stack = []
    if stack:
        stacks.append(stack)
    return stacks


def is_ours(block):
    for stack in accesses(block):
        for name in stack:
            if LEAF.match(name):
                continue
            if OURS.search(name):
                return True
            break
    return False


def main():
    ours, others = collections.Counter(), collections.Counter()
    first = {}
    with open(sys.argv[1], errors="replace") as log:
        for block in reports(log):
            title = START.search(block[0]).group(2)
            if is_ours(block):
                ours[title] += 1
                first.setdefault(title, block)
            else:
                others[title] += 1
    for title, n in ours.most_common():
        print(f"data race, {n} times: {title}")
        for line in first[title][1:]:
            print("    " + line)
    for title, n in others.most_common(5):
        print(f"elsewhere, {n} times: {title}")
    print(sum(ours.values()), sum(others.values()))
    sys.exit(bool(ours))


if __name__ == "__main__":
    main()
