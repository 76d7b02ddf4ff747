#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Compare traces of aio-diff, and make the sequences that differ shorter.

  compare   two traces: prints what differs, and a line with the numbers at the end
  propose   shorter versions of the sequences that differ, one per line
  choose    the shortest of them that still differ
  report    what came of it
"""

import argparse
import itertools
import json
import random
import re
import sys


def runs(path):
    """The runs of a trace, in order: (seed, lines)."""
    seed, lines = None, []
    with open(path, errors="replace") as f:
        for line in f:
            line = line.rstrip("\n")
            if not line:
                continue
            words = line.split()
            if not words[0].isdigit():
                lines.append(line)
                continue
            if seed is not None and int(words[0]) != seed:
                # The last one was not finished.
                yield seed, lines
                lines = []
            seed = int(words[0])
            lines.append(line)
            if len(words) > 1 and words[1] == "done":
                yield seed, lines
                seed, lines = None, []
    if seed is not None:
        yield seed, lines


def first_difference(a, b):
    """The first two lines that differ, None if none do."""
    for x, y in itertools.zip_longest(a, b, fillvalue="(nothing)"):
        if x != y:
            return x, y
    return None


def step_of(line):
    """The number of the step that a line is about, None for what is said at the end."""
    m = re.match(r"\d+ (\d+) ", line)
    return int(m.group(1)) if m else None


def read_deviations(path):
    """Pairs of a pattern and a reason."""
    result, pattern = [], None
    with open(path) as f:
        for number, line in enumerate(f, 1):
            line = line.strip()
            if not line or line.startswith("#"):
                continue
            key, _, value = line.partition(" ")
            if key == "pattern":
                pattern = re.compile(value.strip())
            elif key == "reason" and pattern is not None:
                result.append((pattern, value.strip()))
                pattern = None
            else:
                sys.exit(f"{path}:{number}: neither a pattern nor the reason of one")
    return result


def explain(deviations, difference):
    text = "C: " + difference[0] + " RUST: " + difference[1]
    for pattern, reason in deviations:
        if pattern.search(text):
            return reason
    return None


def seeds_of(ranges):
    for r in ranges.split():
        first, _, last = r.partition("-")
        yield from range(int(first), int(last or first) + 1)


def save(path, state):
    with open(path, "w") as f:
        json.dump(state, f)


def load(path):
    with open(path) as f:
        return json.load(f)


def show(difference, indent="    "):
    print(f"{indent}C:    {difference[0]}")
    print(f"{indent}Rust: {difference[1]}")


def compare(args):
    deviations = read_deviations(args.deviations)
    a, b = dict(runs(args.c)), dict(runs(args.rust))
    total = differ = explained = 0
    state = []
    for seed in seeds_of(args.seeds):
        total += 1
        x, y = a.get(seed, []), b.get(seed, [])
        difference = first_difference(x, y)
        if not x and not y:
            difference = ("(nothing)", "(nothing)")
        if difference is None:
            continue
        reason = explain(deviations, difference)
        if reason:
            explained += 1
            print(f"sequence {seed} ({args.word} bit) differs, explained: {reason}")
            continue
        differ += 1
        if differ <= 100:
            print(f"sequence {seed} ({args.word} bit) differs:")
            show(difference)
        if len(state) < args.shrink and x and y:
            steps = sorted({s for s in map(step_of, x + y) if s is not None})
            at = step_of(difference[0])
            other = step_of(difference[1])
            if at is not None and other is not None:
                steps = [s for s in steps if s <= max(at, other)]
            state.append({"seed": seed, "keep": steps, "single": [], "done": False,
                          "difference": difference})
    if differ > 100:
        print(f"... and {differ - 100} more")
    save(args.state, state)
    print(f"{total} sequences, {differ} differ, {explained} explained ({args.word} bit)")


def candidates(s):
    """Versions of a sequence with some steps left out."""
    keep = s["keep"]
    found = set()
    if s["single"]:
        # Steps that could be left out one at a time: as many of them as possible.
        r = s["single"]
        pick = random.Random(len(keep))
        sets = [r, r[:len(r) // 2], r[len(r) // 2:], r[::2], r[1::2]]
        sets += [[x for x in r if pick.random() < p] for p in (0.9, 0.75, 0.5) for _ in range(4)]
        for leave in sets:
            found.add(tuple(x for x in keep if x not in leave))
    size = 1
    while size < len(keep):
        for i in range(0, len(keep), size):
            found.add(tuple(keep[:i] + keep[i + size:]))
        size *= 2
    return sorted(c for c in found if c and len(c) < len(keep))


def propose(args):
    for s in load(args.state):
        if not s["done"]:
            for c in candidates(s):
                print(s["seed"], ",".join(map(str, c)))


def choose(args):
    state = load(args.state)
    by_seed = {s["seed"]: s for s in state}
    with open(args.list) as f:
        tried = [(int(seed), [int(x) for x in keep.split(",")]) for seed, keep in map(str.split, f)]
    best, single = {}, {}
    for (seed, keep), (_, x), (_, y) in zip(tried, runs(args.c), runs(args.rust)):
        difference = first_difference(x, y)
        if difference is None:
            continue
        now = by_seed[seed]["keep"]
        if len(keep) == len(now) - 1:
            single.setdefault(seed, []).extend(set(now) - set(keep))
        if seed not in best or len(keep) < len(best[seed][0]):
            best[seed] = (keep, difference)
    for s in state:
        if s["seed"] not in best:
            s["done"] = True
            continue
        s["keep"], s["difference"] = best[s["seed"]]
        s["single"] = sorted(x for x in single.get(s["seed"], []) if x in s["keep"])
    save(args.state, state)


def report(args):
    for s in load(args.state):
        print(f"sequence {s['seed']} ({args.word} bit), {len(s['keep'])} steps: "
              f"{s['seed']} {','.join(map(str, s['keep']))}")
        show(s["difference"])


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    p = commands.add_parser("compare")
    p.add_argument("--word", default="64")
    p.add_argument("--seeds", required=True)
    p.add_argument("--deviations", required=True)
    p.add_argument("--state", required=True)
    p.add_argument("--shrink", type=int, default=8)
    p.add_argument("c")
    p.add_argument("rust")
    p.set_defaults(run=compare)
    p = commands.add_parser("propose")
    p.add_argument("state")
    p.set_defaults(run=propose)
    p = commands.add_parser("choose")
    p.add_argument("state")
    p.add_argument("list")
    p.add_argument("c")
    p.add_argument("rust")
    p.set_defaults(run=choose)
    p = commands.add_parser("report")
    p.add_argument("--word", default="64")
    p.add_argument("state")
    p.set_defaults(run=report)
    args = parser.parse_args()
    args.run(args)


if __name__ == "__main__":
    main()
