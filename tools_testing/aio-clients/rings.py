#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""What the AIO rings of a running process tell.

    rings.py PID...

prints a line for each ring that the processes have mapped: its tail, which
is where the kernel writes the next event, its head, and its size in events. A
tail that has moved is a proof of completed requests, whatever library or
system call they were made with.
"""

import re
import struct
import sys

MAPPING = re.compile(r"^([0-9a-f]+)-[0-9a-f]+ .* /\[aio\](?: \(deleted\))?$")
MAGIC = 0xA10A10A1


def rings(pid):
    """(tail, head, nr) of each ring."""
    found = []
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", buffering=0) as mem:
        for line in maps:
            match = MAPPING.match(line.rstrip("\n"))
            if not match:
                continue
            mem.seek(int(match.group(1), 16))
            _, nr, head, tail, magic = struct.unpack("5I", mem.read(20))
            if magic != MAGIC:
                sys.exit(f"rings.py: no ring at {match.group(1)}: magic {magic:#x}")
            found.append((tail, head, nr))
    return found


if __name__ == "__main__":
    for process in sys.argv[1:]:
        for ring in rings(process):
            print(*ring)
