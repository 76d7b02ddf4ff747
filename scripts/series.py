#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Make commits of the overlay, patch by patch, for scripts/series.

    series.py make --pristine DIR --tree DIR --laid FILE --table FILE --patches DIR --repo DIR
    series.py self-test

TREE is the pristine tree with the overlay laid, LAID names the files in which it differs. The
table says which patch each of them is in (scripts/series.d/patches has its form).

A file that the kernel has is cut into pieces: the parts of its difference, and where lines are
added, statements of Rust, or lines. Each piece belongs to a patch, and the file as of a patch
has the pieces of all patches up to it. So there is no second copy of anything, and the sum of all
patches is the tree. A new file is one piece, or two, if there is a KUnit suite at its end that
uses what comes later than the file.
"""

import argparse
import collections
import os
import pathlib
import re
import subprocess
import sys
import textwrap

SUITE = re.compile(r"^#\[(?:macros::)?kunit_tests", re.M)
MODULE = re.compile(r"^\s*(?:pub(?:\(crate\))? )?mod (\w+);", re.M)
USE = re.compile(r"^\s*pub(?:\(crate\))? use (?:self::)?(\w+)::", re.M)
HELPER = re.compile(r'^#include "([\w/-]+\.c)"', re.M)
ITEM = re.compile(r"^\s*pub(?:\(\w+\))? (?:unsafe |const )*(?:fn|struct|trait|enum|union|static|type) (\w+)"
                  r"|macro_rules! (\w+)", re.M)

Patch = collections.namedtuple("Patch", "number subject body files pieces")


class Wrong(Exception):
    """Something that who edits the table has to mend."""


def read_table(text, patch_text):
    """The patches of a table, and what is cut out of files."""
    patches, cuts = [], []
    for n, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if line.startswith("#"):
            continue
        if line.startswith("[") and line.endswith("]"):
            patches.append(Patch(len(patches) + 1, line[1:-1], [], [], []))
        elif line.startswith("- ") and not patches:
            cuts.append(tuple(words[1:]))
        elif not patches:
            if words:
                raise Wrong(f"line {n} of the table comes before any patch: {line}")
        elif line.startswith("> "):
            patches[-1].files.append(words[1])
        elif line.startswith("+ "):
            patches[-1].pieces.append((words[1], re.compile(words[2])))
        elif line.startswith("@ "):
            patches[-1].body.extend(["", *patch_text(words[1]), ""])
        else:
            patches[-1].body.append(line)
    return patches, cuts


def cut(path, text, cuts):
    """A file as it is in the series."""
    for name, first, last in cuts:
        if name != path:
            continue
        lines = text.splitlines(keepends=True)
        a = [i for i, line in enumerate(lines) if re.search(first, line)]
        b = [i for i, line in enumerate(lines) if re.search(last, line)]
        if len(a) != 1 or len(b) != 1 or a[0] > b[0]:
            raise Wrong(f"{path}: what the table cuts out is not there, once")
        del lines[a[0]:b[0] + 1]
        text = "".join(lines)
    return text


def owner(path, patches):
    """The number of the patch that a whole file is in, by the longest name."""
    best = None
    for patch in patches:
        for name in patch.files:
            if path == name or (name.endswith("/") and path.startswith(name)):
                if best is None or len(name) > len(best[0]):
                    best = (name, patch.number)
                elif len(name) == len(best[0]):
                    raise Wrong(f"{path} is in patch {best[1]} and in patch {patch.number}")
    return best[1] if best else None


def statements(lines, path):
    """Added lines in groups that belong together."""
    group, out, depth = [], [], 0
    if not path.endswith((".rs", ".h", ".c")) and not path.endswith("bindgen_parameters"):
        return [lines]
    shared = path.startswith("rust/")
    if not shared:
        return [lines]
    for line in lines:
        group.append(line)
        word = line.strip()
        if path.endswith(".rs"):
            code = re.sub(r"//.*", "", word)
            depth += len(re.findall(r"[{(\[]", code)) - len(re.findall(r"[})\]]", code))
            done = depth <= 0 and (word.endswith((";", "}")) or not word) and not word.startswith(("#[", "//"))
        else:
            depth += bool(re.match(r"#\s*if", word)) - bool(re.match(r"#\s*endif", word))
            done = depth <= 0 and word and not word.startswith(("//", "/*", "*"))
        if done:
            depth = 0
            # Empty lines belong to what is before them, if there is anything.
            if any(g.strip() for g in group):
                out.append(group)
            elif out:
                out[-1].extend(group)
            else:
                continue
            group = []
    if group:
        if out and not any(g.strip() for g in group):
            out[-1].extend(group)
        else:
            out.append(group)
    return out


def difference(old, new, path):
    """A list of pieces: lines that stay (old, None), and changes (old lines, new lines)."""
    # git's differences begin and end where functions do.
    done = subprocess.run(["git", "diff", "--no-index", "--no-ext-diff", "--no-color", "--indent-heuristic", "-U0",
                           "--src-prefix=a/", "--dst-prefix=b/", old, new],
                          capture_output=True, text=True, check=False)
    before = pathlib.Path(old).read_text().splitlines(keepends=True)
    pieces, at = [], 0
    hunk = None
    hunks = []
    for line in done.stdout.splitlines(keepends=True):
        match = re.match(r"@@ -(\d+)(?:,(\d+))? \+", line)
        if not match and hunk is None:
            continue
        if match:
            count = int(match[2]) if match[2] is not None else 1
            # Where nothing is taken away, the number is that of the line before.
            hunk = [int(match[1]) - (1 if count else 0), [], []]
            hunks.append(hunk)
        elif line.startswith("-"):
            hunk[1].append(line[1:])
        elif line.startswith("+"):
            hunk[2].append(line[1:])
        elif line.startswith("\\"):
            raise Wrong(f"{path}: no newline at its end")
    for start, gone, come in hunks:
        pieces.append((before[at:start], None))
        if gone:
            pieces.append((gone, come))
        else:
            pieces.extend(([], group) for group in statements(come, path))
        at = start + len(gone)
    pieces.append((before[at:], None))
    return pieces


class Series:
    """What belongs to which patch."""

    def __init__(self, pristine, tree, laid, patches, cuts):
        self.pristine, self.tree = pathlib.Path(pristine), pathlib.Path(tree)
        self.patches, self.cuts = patches, cuts
        self.new = [f for f in laid if not (self.pristine / f).exists()]
        self.changed = [f for f in laid if (self.pristine / f).exists()]
        self.number = {f: owner(f, patches) for f in laid}
        lost = [f for f in self.new if self.number[f] is None]
        if lost:
            raise Wrong("in no patch: " + ", ".join(lost))
        for patch in patches:
            for name in patch.files:
                if not any(f == name or (name.endswith("/") and f.startswith(name)) for f in laid):
                    raise Wrong(f"patch {patch.number}, {patch.subject}: there is no {name}")
        self.symbols = collections.defaultdict(set)
        self.modules = {}
        for f in self.new:
            if f.startswith("rust/kernel/") and f.endswith(".rs"):
                module = tuple(f[len("rust/kernel/"):-3].split("/"))
                self.modules[module] = f
                for a, b in ITEM.findall(SUITE.split(self.text(f))[0]):
                    self.symbols[(module[0], a or b)].add(f)
        self.used = collections.Counter()
        self.parts = {f: self.split_new(f) for f in self.new}
        self.parts |= {f: self.split_changed(f) for f in self.changed}
        for patch in patches:
            for n, (name, regex) in enumerate(patch.pieces):
                if not self.used[(patch.number, n)]:
                    raise Wrong(f"patch {patch.number}, {patch.subject}: nothing in {name} matches {regex.pattern}")

    def data(self, path):
        return (self.tree / path).read_bytes()

    def text(self, path):
        return cut(path, self.data(path).decode(), self.cuts)

    def uses(self, text):
        """The files of ours in rust/kernel that some Rust code uses."""
        text = re.sub(r"//.*", "", text)
        paths = set()

        def walk(prefix, tree):
            depth, word = 0, ""
            for c in tree + ",":
                depth += (c == "{") - (c == "}")
                if c == "," and depth == 0:
                    word = word.strip()
                    if "{" in word:
                        head, tail = word.split("{", 1)
                        walk(prefix + head.strip(), tail.rsplit("}", 1)[0])
                    elif word:
                        paths.add((prefix + word).split(" as ")[0])
                    word = ""
                else:
                    word += c

        for match in re.finditer(r"\buse ([^;]*);", text):
            walk("", match[1])
        paths |= set(re.findall(r"\$?crate(?:::\w+)+", text))
        for path in paths:
            words = tuple(path.split("::"))
            if words[0] not in ("crate", "$crate") or len(words) < 2:
                continue
            words = words[1:]
            found = [self.modules[words[:n]] for n in (3, 2, 1) if words[:n] in self.modules]
            if found and len(self.split_name(found[0])) > 1:
                yield found[0]
                continue
            named = [f for word in words[1:] for f in self.symbols.get((words[0], word), ())]
            if len(set(named)) == 1:
                yield named[0]
            elif found:
                yield found[0]

    @staticmethod
    def split_name(path):
        return path[len("rust/kernel/"):-3].split("/")

    def split_new(self, path):
        if not path.endswith(".rs"):
            return [(self.number[path], None, None)]
        text = self.text(path)
        match = SUITE.search(text)
        number = self.number[path]
        head = text
        parts = []
        if match:
            at = len(text[:match.start()].rstrip("\n")) + 1
            last = max([number, *(self.number[f] for f in self.uses(text[at:]))])
            if last > number:
                head = text[:at]
                parts = [(last, [], text[at:].splitlines(keepends=True))]
        if path.startswith("rust/kernel/"):
            for f in self.uses(head if parts or not match else text):
                if self.number[f] > number:
                    raise Wrong(f"{path}, in patch {number}, uses {f}, which is in patch {self.number[f]}")
        return [(number, [], head.splitlines(keepends=True)), *parts]

    def claim(self, path, added):
        """The patch of a piece of a file that the kernel has."""
        text = "".join(added)
        for patch in self.patches:
            for n, (name, regex) in enumerate(patch.pieces):
                if name == path and regex.search(text):
                    self.used[(patch.number, n)] += 1
                    return patch.number
        if path == "rust/helpers/helpers.c":
            found = [f"rust/helpers/{name}" for name in HELPER.findall(text)]
        else:
            folder = os.path.dirname(path) if path.endswith("/lib.rs") else path[:-3]
            found = [f"{folder}/{name}.rs" for name in MODULE.findall(text) or USE.findall(text)]
        numbers = [self.number[f] for f in found if self.number.get(f)]
        if numbers:
            return max(numbers)
        if self.number[path] is None:
            raise Wrong(f"{path}: in no patch:\n{text}")
        return self.number[path]

    def split_changed(self, path):
        out = []
        new = self.tree / path
        if any(name == path for name, _, _ in self.cuts):
            raise Wrong(f"{path}: nothing can be cut out of a file that the kernel has")
        before, suite = "", []
        for old, come in difference(self.pristine / path, new, path):
            before += "".join(old)
            if come is None:
                out.append((0, old, old))
                continue
            number, text = self.claim(path, come), "".join(come)
            if path.startswith("rust/kernel/") and not MODULE.search(text) and not USE.search(text):
                last = max([number, *(self.number[f] for f in self.uses(text))])
                if SUITE.search(before) or SUITE.search(text):
                    suite.append(len(out))
                elif last > number:
                    raise Wrong(f"{path}, in patch {number}, uses what is in patch {last}:\n{text}")
                number = last
            out.append((number, old, come))
        # The additions to a suite go together: they may use each other.
        last = max([out[i][0] for i in suite], default=0)
        for i in suite:
            out[i] = (last, *out[i][1:])
        return out

    def version(self, path, number):
        """A file as of a patch; None if it is not there yet."""
        parts = self.parts[path]
        if path in self.changed:
            return "".join("".join(come if n <= number else old) for n, old, come in parts).encode()
        if parts[0][0] > number:
            return None
        if parts[0][2] is None:
            return self.data(path) if not any(c[0] == path for c in self.cuts) else self.text(path).encode()
        return "".join("".join(come) for n, _, come in parts if n <= number).encode()

    def check_order(self):
        """Whether nothing is used before it is there: helpers, constants, headers, C functions."""
        defined = {}
        for f in self.new:
            if f.startswith("rust/helpers/"):
                for name in re.findall(r"\brust_helper_(\w+)", self.text(f)):
                    defined[name] = self.number[f]
        for path in self.changed:
            for number, _, come in self.parts[path]:
                if number:
                    text = "".join(come)
                    for name in re.findall(r"\bRUST_CONST_HELPER_(\w+)|\brust_helper_(\w+)", text):
                        defined[name[0] or name[1]] = number
        for path, parts in self.parts.items():
            if not path.endswith(".rs"):
                continue
            for number, _, come in parts:
                for name in re.findall(r"\bbindings::(\w+)", re.sub(r"//.*", "", "".join(come or []))):
                    if number and defined.get(name, 0) > number:
                        raise Wrong(f"{path}, in patch {number}, uses {name}, which is in patch {defined[name]}")

    def touched(self, number):
        return [f for f in sorted(self.parts)
                if any(n == number for n, _, _ in self.parts[f])]


def git(repo, *words, **more):
    return subprocess.run(["git", "-C", repo, *words], check=True, capture_output=True, text=True, **more).stdout


def write(repo, path, data, mode):
    target = pathlib.Path(repo) / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(data)
    target.chmod(0o755 if mode & 0o100 else 0o644)


def message(patch):
    paragraphs = re.split(r"\n{2,}", "\n".join(patch.body).strip("\n"))
    body = "\n\n".join(textwrap.fill(p, 72, break_long_words=False, break_on_hyphens=False) for p in paragraphs)
    return f"{patch.subject}\n\n{body}\n"


def make(args):
    """The commits, on a base that has those files of the pristine tree that are changed."""
    def patch_text(number):
        found = list(pathlib.Path(args.patches).glob(f"{number}-*.patch"))
        if len(found) != 1:
            raise Wrong(f"there is no patch {number}")
        text = found[0].read_text().split("\n---\n")[0]
        return text.split("\n", 2)[2].strip("\n").splitlines()

    laid = pathlib.Path(args.laid).read_text().split()
    patches, cuts = read_table(pathlib.Path(args.table).read_text(), patch_text)
    series = Series(args.pristine, args.tree, laid, patches, cuts)
    series.check_order()
    for patch in patches:
        if not series.touched(patch.number):
            raise Wrong(f"patch {patch.number}, {patch.subject}: is empty")
        if len(patch.subject) > 72:
            raise Wrong(f"patch {patch.number}: its subject is too long")
        if not any(line.strip() for line in patch.body):
            patch.body.append("The makefile comes last, so that each patch before it builds.")
        for path in series.touched(patch.number):
            data = series.version(path, patch.number)
            write(args.repo, path, data, (pathlib.Path(args.tree) / path).stat().st_mode)
        git(args.repo, "add", "-A", "-f")
        git(args.repo, "commit", "-q", "-F", "-", input=message(patch))
        print(f"{patch.number:2} {patch.subject}: {len(series.touched(patch.number))} files")


def self_test():
    """What the table's editor must be told of is told."""
    import tempfile
    wrong = 0

    def case(name, table, wanted, files=None):
        nonlocal wrong
        with tempfile.TemporaryDirectory() as top:
            old, new = pathlib.Path(top, "old"), pathlib.Path(top, "new")
            base = {"rust/kernel/lib.rs": "pub mod old;\n", "rust/kernel/old.rs": "// old\n"}
            more = {"rust/kernel/lib.rs": "pub mod a;\n#[cfg(X)]\npub mod b;\npub mod old;\n",
                    "rust/kernel/a.rs": "pub fn f() {}\n\n#[kunit_tests(a)]\nmod tests {\n    use crate::b::g;\n}\n",
                    "rust/kernel/b.rs": "use crate::a::f;\npub fn g() {}\n"} | (files or {})
            for root, tree in ((old, base), (new, base | more)):
                for path, text in tree.items():
                    (root / path).parent.mkdir(parents=True, exist_ok=True)
                    (root / path).write_text(text)
            laid = [f for f, t in (base | more).items() if base.get(f) != t]
            try:
                series = Series(old, new, laid, *read_table(table, lambda n: []))
                series.check_order()
                seen = "/".join((series.version(f, n) or b"-").decode()
                                for n in (1, 2) for f in ("rust/kernel/lib.rs", "rust/kernel/a.rs"))
            except Wrong as error:
                seen = str(error)
        good = re.search(wanted, seen, re.S)
        wrong += not good
        print(f"{name}: {'as it should be' if good else 'MISSED'}: {seen!r}")

    good = "[one]\n> rust/kernel/a.rs\n[two]\n> rust/kernel/b.rs\n"
    case("sound", good, r"^pub mod a;\npub mod old;\n/pub fn f\(\) \{\}\n/pub mod a;\n#\[cfg\(X\)\]\npub mod b;\n"
         r"pub mod old;\n/pub fn f\(\) \{\}\n\n#\[kunit_tests.*use crate::b::g")
    case("a file in no patch", "[one]\n> rust/kernel/a.rs\n", "in no patch: rust/kernel/b.rs")
    case("in two patches", good + "> rust/kernel/a.rs\n", "is in patch 1 and in patch 2")
    case("a name of nothing", good + "> rust/kernel/c.rs\n", "there is no rust/kernel/c.rs")
    case("used before it is there", "[one]\n> rust/kernel/b.rs\n[two]\n> rust/kernel/a.rs\n", "uses rust/kernel/a.rs")
    case("a claim of nothing", good + "+ rust/kernel/lib.rs nothing\n", "nothing in rust/kernel/lib.rs matches")
    case("a change in no patch", good, "lib.rs: in no patch",
         {"rust/kernel/lib.rs": "pub mod a;\npub mod b;\npub mod old;\nfn odd() {}\n"})
    case("a helper that comes later", good + "[three]\n> rust/helpers/x.c\n", "uses h, which is in patch 3",
         {"rust/helpers/x.c": "void rust_helper_h(void);\n", "rust/kernel/a.rs": "fn f() { bindings::h(); }\n"})
    case("nothing to cut", "- rust/kernel/a.rs ^x ^y\n" + good, "is not there, once")
    sys.exit(1 if wrong else 0)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("what", choices=["make", "self-test"])
    for name in ("pristine", "tree", "laid", "table", "patches", "repo"):
        parser.add_argument(f"--{name}")
    args = parser.parse_args()
    if args.what == "self-test":
        self_test()
    try:
        make(args)
    except Wrong as error:
        sys.exit(f"series: {error}")


if __name__ == "__main__":
    main()
