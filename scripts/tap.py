#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Count test results.

    tap.py kselftest FILE LABEL EXIT   output of run_kselftest.sh; exit status of it
    tap.py kunit FILE LABEL EXIT       output of "kunit.py parse --json", beside the KTAP
                                       that it was made of
    tap.py stamp FILE TIMES            copies run_kselftest.sh's output to FILE, and writes
                                       down how long each program and case takes
    tap.py slowest NUMBER TIMES...     the slowest programs, and the slowest cases

The first two print failed tests, how many were skipped for which reason and, as the
last line, three numbers: passed, failed, skipped.
"""

import collections
import json
import re
import sys
import time

RESULT = re.compile(r"^(not )?ok\s+(\d+)\s*(?:-\s*)?(.*)$")
PLAN = re.compile(r"^1\.\.(\d+)")
SKIP = re.compile(r"#\s*SKIP\b\s*(.*)$", re.I)
XFAIL = re.compile(r"#\s*(XFAIL|TODO)\b", re.I)
# kunit_skip() always gives a reason. The one that does not is Rust's macro for a case whose
# #[cfg] does not hold.
COMPILED_OUT = "not compiled for this kernel (#[cfg])"
# Of what programs say, not of interest where a test fails; and how much is.
QUIET = re.compile(r"#\s+(RUN|OK)\b|# aio: |TAP version|1\.\.\d")
WORDS = 15


class Tally:
    def __init__(self, label):
        self.label = label
        self.passed, self.failed, self.skipped = 0, [], []
        self.said, self.words = [], []

    def add(self, line, prefix, why=""):
        """Count a result line; tell whether it was a failure. If it skips without a
        reason, it is WHY."""
        bad, _, name = RESULT.match(line).groups()
        skip = SKIP.search(name)
        title = prefix + name.split(" #")[0].strip()
        reason = name.split("#", 1)[1].strip() if "#" in name else ""
        if skip:
            self.skipped.append((title, skip.group(1).strip() or why or "no reason given"))
        elif bad and not XFAIL.search(name):
            self.failed.append((title, reason))
            return True
        else:
            self.passed += 1
        return False

    def hear(self, line):
        """Keep what a program says about its next result."""
        if RESULT.match(line):
            if line.startswith("not ok") and not XFAIL.search(line) and not SKIP.search(line):
                self.said += [line] + self.words[-WORDS:]
            self.words = []
        elif not QUIET.match(line):
            self.words.append(line)

    def report(self):
        for title, reason in self.failed:
            print(f"  FAILED   {self.label}: {title}{': ' + reason if reason else ''}")
        for line in self.said:
            print("    " + line)
        reasons = collections.Counter(reason for _, reason in self.skipped)
        for reason, count in reasons.most_common():
            titles = [title for title, r in self.skipped if r == reason]
            which = titles[0] if count == 1 else f"{titles[0]}, ..."
            print(f"  skipped  {self.label}: {count}: {reason} ({which})")
        print(self.passed, len(self.failed), len(self.skipped))


def kselftest(path, label, status):
    """Results are counted one by one where a program prints them, and by
    program where it does not."""
    tally = Tally(label)
    inner, failed, plan, total, seen = [], False, None, None, 0
    skips = ""
    with open(path, errors="replace") as file:
        for line in file:
            line = line.rstrip("\r\n")
            if line.startswith("# selftests: "):
                inner, failed, plan, skips = [], False, None, ""
                continue
            if line.startswith("# "):
                tally.hear(line[2:])
            if line.startswith("# ") and RESULT.match(line[2:]):
                inner.append(line[2:])
            elif line.startswith("# ") and PLAN.match(line[2:]):
                plan = int(PLAN.match(line[2:]).group(1))
                # A program that skips as a whole says why here, and only here.
                if plan == 0 and SKIP.search(line):
                    skips = SKIP.search(line).group(1).strip()
            elif PLAN.match(line):
                # Several, where the programs run several times.
                total = (total or 0) + int(PLAN.match(line).group(1))
            elif RESULT.match(line):
                seen += 1
                bad, _, name = RESULT.match(line).groups()
                program = name.split(" #")[0].split(":")[-1].strip()
                for result in inner:
                    failed |= tally.add(result, program + ": ")
                if plan is not None and inner and len(inner) < plan:
                    tally.failed.append((program, f"{len(inner)} of {plan} tests ran"))
                    failed = True
                if bad:
                    # The program itself: it crashed or timed out, or its failure
                    # is one that it has printed.
                    if not failed:
                        tally.add(line, "")
                elif not inner:
                    tally.add(line, "", skips)
                inner, failed, plan = [], False, None
    # A guest that died in the middle: what was running, and what was to come.
    if inner:
        for result in inner:
            tally.add(result, "")
    if total is None or seen < total:
        tally.failed.append(("run_kselftest.sh", f"{seen} of {total or 'an unknown number of'} programs ended"))
    elif status != "0" and not tally.failed:
        tally.failed.append(("guest", f"exit status {status}; see its kernel log"))
    tally.report()


def skip_reasons(path):
    """What KUnit suites have said of the cases that they skip; the JSON has it not."""
    reasons = {}
    with open(path, errors="replace") as file:
        for line in file:
            result = RESULT.match(line.strip())
            skip = SKIP.search(line)
            if result and skip:
                name = result.group(3).split(" #")[0].strip()
                reasons[name] = skip.group(1).strip()
    return reasons


def kunit(path, label, status):
    """Cases of the JSON that kunit.py writes."""
    tally = Tally(label)
    reasons = skip_reasons(path.removesuffix(".json") + ".ktap")

    def group(node, prefix):
        for case in node.get("test_cases", []):
            name = prefix + case["name"]
            if case["status"] == "PASS":
                tally.passed += 1
            elif case["status"] == "SKIP":
                tally.skipped.append((name, reasons.get(case["name"]) or COMPILED_OUT))
            else:
                tally.failed.append((name, case["status"]))
        for sub in node.get("sub_groups", []):
            group(sub, prefix + sub["name"] + ": ")

    with open(path) as file:
        root = json.load(file)
    group(root, "")
    misc = root["misc"]
    if not tally.failed and (misc["failed"] or misc["crashed"] or misc["errors"]):
        tally.failed.append(("kunit", f"{misc['errors']} errors in the KTAP output"))
    if not tally.failed and status != "0":
        tally.failed.append(("guest", f"exit status {status}; see its kernel log"))
    tally.report()


def stamp(path, times):
    """Standard input to a file; the seconds that each program and case took to another."""
    began = last = time.monotonic()
    with open(path, "w") as tap, open(times, "w") as out:
        def took(since, name):
            out.write(f"{time.monotonic() - since:.1f} {name.split(' #')[0].strip()}\n")
            out.flush()

        for line in sys.stdin:
            tap.write(line)
            tap.flush()
            if line.startswith("# selftests: "):
                began = last = time.monotonic()
            elif RESULT.match(line):
                took(began, RESULT.match(line).group(3).split(":")[-1])
            elif line.startswith("# ") and RESULT.match(line[2:]):
                # Of a program written for the harness: fixture.case.
                took(last, "case " + RESULT.match(line[2:]).group(3))
                last = time.monotonic()


def slowest(number, paths):
    found = {"programs": [], "cases": []}
    for path in paths:
        with open(path) as file:
            kernel = re.sub(r".*selftests-|(-apart)?(\.[0-9]+)?\.times$", "", path)
            for line in file:
                seconds, name = line.rstrip("\n").split(" ", 1)
                which = "cases" if name.startswith("case ") else "programs"
                found[which].append((float(seconds), name.removeprefix("case "), kernel))
    for which, times in found.items():
        print(f"the slowest {which}:")
        for seconds, name, kernel in sorted(times, reverse=True)[:int(number)]:
            print(f"  {seconds:6.0f} s  {name} (AIO={kernel})")


if __name__ == "__main__":
    if sys.argv[1] == "kselftest":
        kselftest(*sys.argv[2:5])
    elif sys.argv[1] == "stamp":
        stamp(*sys.argv[2:4])
    elif sys.argv[1] == "slowest":
        slowest(sys.argv[2], sys.argv[3:])
    else:
        kunit(*sys.argv[2:5])
