#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Work on the lists of sequences for aio-diff, and on its traces.

  list      the sequences of ranges of seeds, one per line
  collect   what came of a list in a guest, and what is left to do of it
  compare   two traces: prints what differs, and a line with the numbers at the end
  propose   shorter versions of the sequences that differ, one per line
  choose    the shortest of them that still differ
  report    what came of it
  summary   what a trace is made of

A line of a list is a seed, or a seed and the steps to keep. A trace has as many
runs as its list has lines, in the same order, unless it breaks off.
"""

import argparse
import collections
import itertools
import json
import os
import random
import re
import sys

# Lines that are a difference even if they are in both traces: without them the
# sequence would have gone on.
BROKEN = re.compile(r"\d+ (DIED|KERNEL|TIMEOUT|STUCK|SIGNAL|EXIT)\b")


def runs(path):
    """The complete runs of a trace, in order: (seed, lines)."""
    lines = []
    try:
        f = open(path, errors="replace")
    except FileNotFoundError:
        return
    with f:
        for line in f:
            if not line.endswith("\n"):
                # The guest died.
                return
            line = line.rstrip("\n")
            if not line:
                continue
            lines.append(line)
            words = line.split()
            if len(words) > 1 and words[1] == "done" and words[0].isdigit():
                yield int(words[0]), lines
                lines = []


def read_list(path):
    """The lines of a list: (seed, steps to keep or None)."""
    with open(path) as f:
        for line in f:
            words = line.split()
            keep = [int(x) for x in words[1].split(",")] if len(words) > 1 else None
            yield int(words[0]), keep


def in_step(sequences, path):
    """The run of each sequence; an empty one if the trace breaks off before."""
    trace = runs(path)
    for seed, _ in sequences:
        found, lines = next(trace, (seed, []))
        if found != seed:
            sys.exit(f"{path}: sequence {found} in place of {seed}")
        yield lines


def make_list(args):
    for r in args.seeds.split():
        first, _, last = r.partition("-")
        for seed in range(int(first), int(last or first) + 1):
            print(seed)


def kernel_errors(guest, log, word):
    """The errors in a kernel log, and the index in the list of what ran then."""
    wanted, inside = set(), False
    with open(guest, errors="replace") as f:
        for line in f:
            if inside and line.startswith("    "):
                wanted.add(line.strip())
            else:
                inside = line.startswith("guest: the kernel log shows errors")
    if not wanted:
        return
    at, of_word = None, None
    with open(log, errors="replace") as f:
        for line in f:
            text = re.sub(r"^\[ *[0-9.]+\](\[[^]]*\])? ", "", line.rstrip("\r\n"))
            m = re.match(r"aio-diff: (\d+) (\d+) \d+$", text)
            if m:
                of_word, at = m.group(1), int(m.group(2))
            elif text.strip() in wanted and (of_word is None or of_word == word):
                yield at, text.strip()


def collect(args):
    """Add the runs of a guest to a trace, and leave in the list what was not run."""
    with open(args.list) as f:
        todo = f.read().splitlines()
    if not todo:
        return
    began = os.path.exists(args.trace)
    ended = os.path.exists(args.end)
    status = "0"
    if ended:
        with open(args.end) as f:
            status = f.read().strip()
    errors = collections.defaultdict(list)
    for at, text in kernel_errors(args.guest, args.log, args.word):
        errors[at].append(text)
    done = 0
    with open(args.into, "a") as into:
        for seed, lines in runs(args.trace):
            bad = [f"{seed} KERNEL {text}" for text in errors.pop(done, [])]
            print("\n".join(lines[:-1] + bad + lines[-1:]), file=into)
            done += 1
        if began and not ended and done < len(todo):
            # The sequence that the guest did not survive.
            seed = todo[done].split()[0]
            why = "; ".join(errors.pop(done, []))
            if not why:
                with open(args.guest, errors="replace") as f:
                    why = "; ".join(x.strip()[len("guest: "):] for x in f if x.startswith("guest: "))
            print(f"{seed} DIED {why or args.status}\n{seed} done", file=into)
            done += 1
            status = "died"
    with open(args.problems, "a") as problems:
        for at, texts in errors.items():
            for text in texts:
                print(f"kernel log, {'before the first sequence' if at is None else at}: {text}",
                      file=problems)
        if status == "0" and ended and done < len(todo):
            print(f"{len(todo) - done} sequences are missing", file=problems)
            done = len(todo)
    with open(args.list, "w") as f:
        for line in todo[done:]:
            print(line, file=f)


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


def save(path, state):
    with open(path, "w") as f:
        json.dump(state, f)


def load(path):
    with open(path) as f:
        return json.load(f)


def show(difference, indent="    "):
    print(f"{indent}C:    {difference[0]}")
    print(f"{indent}Rust: {difference[1]}")


def mix(x):
    """As in aio-diff.c."""
    m = (1 << 64) - 1
    x = (x + 0x9e3779b97f4a7c15) & m
    x = ((x ^ (x >> 30)) * 0xbf58476d1ce4e5b9) & m
    x = ((x ^ (x >> 27)) * 0x94d049bb133111eb) & m
    return x ^ (x >> 31)


def number_of_steps(seed):
    """As in aio-diff.c."""
    return 8 + mix(seed * 31 + 7) % 44


def broken(lines):
    """What a sequence was cut short by, if it was."""
    for line in lines:
        if BROKEN.match(line):
            return line
    return None


def difference_of(x, y):
    """What differs, if anything; a sequence that did not end well is no match for any."""
    difference = first_difference(x, y)
    if difference is None and (broken(x) or broken(y)):
        difference = broken(x), broken(y)
    return difference


def compare(args):
    deviations = read_deviations(args.deviations)
    total = differ = explained = 0
    state = []
    reasons = collections.Counter()
    sequences = list(read_list(args.list))
    for (seed, _), x, y in zip(sequences, in_step(sequences, args.c),
                               in_step(sequences, args.rust)):
        if not x or not y:
            # Not run: there were too many boots.
            continue
        total += 1
        difference = difference_of(x, y)
        if difference is None:
            continue
        reason = explain(deviations, difference)
        if reason:
            explained += 1
            reasons[reason] += 1
            if reasons[reason] <= 5:
                print(f"sequence {seed} ({args.word} bit) differs, explained: {reason}")
            continue
        differ += 1
        if differ <= 100:
            print(f"sequence {seed} ({args.word} bit) differs:")
            show(difference)
        if len(state) < args.shrink:
            # Steps behind the difference have no part in it.
            at, other = map(step_of, difference)
            last = number_of_steps(seed) - 1
            if at is not None and other is not None:
                last = min(last, max(at, other))
            state.append({"seed": seed, "keep": list(range(last + 1)), "single": [],
                          "done": False, "again": None, "steps": number_of_steps(seed),
                          "difference": difference, "traces": [x, y]})
    for reason, n in reasons.items():
        if n > 5:
            print(f"... {n} in all explained: {reason}")
    if differ > 100:
        print(f"... and {differ - 100} more that differ")
    save(args.state, state)
    print(f"{total} sequences, {differ} differ, {explained} explained ({args.word} bit)")


def candidates(s):
    """Versions of a sequence with some steps left out."""
    keep = s["keep"]
    found = set()
    if s["again"] is None:
        # As it is: does it differ every time?
        found.add(tuple(keep))
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
    return sorted(c for c in found if c)


def propose(args):
    for s in load(args.state):
        if not s["done"]:
            for c in candidates(s):
                print(s["seed"], ",".join(map(str, c)))


def choose(args):
    state = load(args.state)
    by_seed = {s["seed"]: s for s in state}
    tried = list(read_list(args.list))
    best, single = {}, {}
    for (seed, keep), x, y in zip(tried, in_step(tried, args.c), in_step(tried, args.rust)):
        if not x or not y:
            # Not run: there were too many boots.
            continue
        difference = difference_of(x, y)
        now = by_seed[seed]["keep"]
        if len(keep) == len(now):
            by_seed[seed]["again"] = difference is not None
        if difference is None:
            continue
        if len(keep) == len(now) - 1:
            single.setdefault(seed, []).extend(set(now) - set(keep))
        if seed not in best or len(keep) < len(best[seed][0]):
            best[seed] = (keep, difference, [x, y])
    for s in state:
        if s["seed"] not in best or len(best[s["seed"]][0]) == len(s["keep"]):
            s["done"] = True
        if s["seed"] in best:
            s["keep"], s["difference"], s["traces"] = best[s["seed"]]
            s["single"] = sorted(x for x in single.get(s["seed"], []) if x in s["keep"])
        else:
            s["single"] = []
    save(args.state, state)


def report(args):
    for s in load(args.state):
        print(f"sequence {s['seed']} ({args.word} bit): {len(s['keep'])} of {s['steps']} steps: "
              f"{s['seed']} {','.join(map(str, s['keep']))}")
        if s["again"] is False:
            print("    (no difference when it was run again)")
        for name, lines in zip(("C:   ", "Rust:"), s["traces"]):
            # To the difference.
            shown = []
            for line in lines:
                shown.append(line)
                if line in s["difference"]:
                    break
            for line in shown[-args.lines:]:
                print(f"    {name} {line}")


OPCODES = {0: "PREAD", 1: "PWRITE", 2: "FSYNC", 3: "FDSYNC", 5: "POLL", 6: "NOOP", 7: "PREADV",
           8: "PWRITEV"}


def summary(args):
    """Rough numbers: what was called, with which opcodes, and what it returned."""
    calls, opcodes, results = collections.Counter(), collections.Counter(), collections.Counter()
    sequences = steps = 0
    for _, lines in runs(args.trace):
        sequences += 1
        for line in lines:
            m = re.match(r"\d+ \d+ ([a-z_0-9-]+)", line)
            if not m:
                continue
            steps += 1
            calls[m.group(1)] += 1
            for op in re.findall(r"\{op=(\d+) ", line):
                opcodes[OPCODES.get(int(op), "others")] += 1
            if m.group(1).startswith("io_"):
                for result in re.findall(r" = (-[A-Z]+|\d+)", line):
                    results[result if result[0] == "-" else "success"] += 1
    print(f"{args.word} bit: {sequences} sequences, {steps} steps")
    for title, counter in (("steps", calls), ("iocbs", opcodes), ("results of calls", results)):
        print(f"  {title}: " + ", ".join(f"{k} {n}" for k, n in counter.most_common()))


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)

    def command(name, function, *arguments, **options):
        p = commands.add_parser(name)
        for argument in arguments:
            p.add_argument(argument)
        for option, default in options.items():
            p.add_argument("--" + option, default=default, required=default is None,
                           type=int if isinstance(default, int) else str)
        p.set_defaults(run=function)

    command("list", make_list, seeds=None)
    command("collect", collect, list=None, trace=None, end=None, word=None, log=None, guest=None,
            status=None, problems=None, into=None)
    command("compare", compare, "c", "rust", word="64", list=None, deviations=None, state=None,
            shrink=8)
    command("propose", propose, "state")
    command("choose", choose, "state", "list", "c", "rust")
    command("report", report, "state", word="64", lines=12)
    command("summary", summary, "trace", word="64")
    args = parser.parse_args()
    args.run(args)


if __name__ == "__main__":
    main()
