# SPDX-License-Identifier: GPL-2.0
"""What aio-top and aio-latency share: /proc/PID/aio and the lines of a trace."""

import collections
import os
import re

#: Columns of /proc/PID/aio that are no numbers.
WORDS = {"id", "kind", "maxus"}


def parse_contexts(text):
    """The contexts of a process as dictionaries, from the text of /proc/PID/aio.

    Columns that came to be later than this program are numbers or words, as they look.
    """
    lines = text.splitlines()
    if not lines or lines[0].split()[:1] != ["id"]:
        raise ValueError("not the text of a /proc/PID/aio")
    names = lines[0].split()
    contexts = []
    for line in lines[1:]:
        values = line.split()
        if len(values) != len(names):
            raise ValueError(f"{len(names)} columns, {len(values)} values: {line!r}")
        contexts.append({
            name: value if name in WORDS or not value.isdigit() else int(value)
            for name, value in zip(names, values)})
    return contexts


def read_processes(proc="/proc"):
    """All processes that have contexts and may be looked at: {pid: (name, contexts)}."""
    processes = {}
    for pid in filter(str.isdigit, os.listdir(proc)):
        try:
            with open(f"{proc}/{pid}/aio", encoding="ascii") as file:
                contexts = parse_contexts(file.read())
            if contexts:
                with open(f"{proc}/{pid}/comm", encoding="utf-8", errors="replace") as file:
                    processes[int(pid)] = (file.read().rstrip("\n"), contexts)
        except OSError:
            # It has ended, has no address space, or is somebody else's.
            continue
    return processes


#: One completed request.
Completion = collections.namedtuple("Completion", "ctx op dev ino res ns")

#: As in ftrace's text ("aio_complete: ctx=..."), perf script's ("aio:aio_complete: ctx=...").
COMPLETE = re.compile(
    r"\b(?:aio:)?aio_complete: +ctx=(0x[0-9a-f]+) iocb=0x[0-9a-f]+ op=(\w+) dev=(\d+:\d+) "
    r"ino=(\d+) res=(-?\d+) ns=(\d+)$")


def parse_completion(line):
    """The completion that a line of a trace tells of, or None."""
    match = COMPLETE.search(line.rstrip())
    if not match:
        return None
    ctx, op, dev, ino, res, ns = match.groups()
    return Completion(int(ctx, 16), op, dev, int(ino), int(res), int(ns))


#: How traces tell of events that were overwritten, or not written, before somebody read them:
#: trace_pipe (which may not know how many), the head of ftrace's trace (those that are in the
#: buffer, and all that ever were), perf script --show-lost-events.
LOST = re.compile(r"^CPU:\d+ \[LOST (?:(\d+) )?EVENTS\]$|"
                  r"\bPERF_RECORD_LOST(?:_SAMPLES)?\b(?: lost (\d+))?")
WRITTEN = re.compile(r"^# entries-in-buffer/entries-written: (\d+)/(\d+)\b")

#: The same in per_cpu/cpu*/stats, but for what the head of the trace tells.
NOT_WRITTEN = re.compile(r"^(?:commit overrun|dropped events): (\d+)$", re.MULTILINE)


def parse_lost(line):
    """How many events were lost where a trace has this line; None if it does not tell."""
    match = WRITTEN.match(line)
    if match:
        there, written = map(int, match.groups())
        return max(written - there, 0)
    match = LOST.search(line.rstrip())
    if not match:
        return 0
    number = match[1] or match[2]
    return int(number) if number else None
