#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Tests of aio-top and aio-latency, which need no kernel with AIO in Rust."""

import contextlib
import importlib.machinery
import importlib.util
import io
import os
import pathlib
import tempfile
import unittest
import xml.etree.ElementTree

import aio_tools

HERE = pathlib.Path(__file__).resolve().parent


def load(name):
    """A program as a module."""
    loader = importlib.machinery.SourceFileLoader(name.replace("-", "_"), str(HERE / name))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    loader.exec_module(module)
    return module


HEADER = ("id kind asked room inflight unread free cpufree eagain submits completions "
          "locked pinned age maxus\n")
ONE = "0x7f0000000000 plain 128 1022 3 2 900 117 5 1000 997 8 0 12 -\n"
OTHER = "0x7f0000008000 iocb+buf 64 126 0 0 126 0 0 7 7 2 40 3 250\n"
TRACE = """\
# tracer: nop
             fio-77  [001] .....    1.000001: aio_submit: ctx=0x7f00 asked=1 ret=1 ns=900
             fio-77  [001] d.h..    1.000002: aio_complete: ctx=0x7f00 iocb=0x55 op=PREAD dev=254:0 ino=12 res=4096 ns=1500
             fio-77  [001] d.h..    1.000003: aio_complete: ctx=0x7f00 iocb=0x56 op=PREAD dev=254:0 ino=12 res=-5 ns=90000
             fio-77  [001] d.h..    1.000004: aio_complete: ctx=0x7f00 iocb=0x57 op=PREAD dev=254:0 ino=12 res=4096 ns=0
  fio    77 [000]     2.1:  aio:aio_complete: ctx=0x7f00 iocb=0x58 op=PWRITE dev=254:0 ino=12 res=512 ns=999
"""


class Contexts(unittest.TestCase):
    """/proc/PID/aio."""

    def test_numbers_and_words(self):
        one, other = aio_tools.parse_contexts(HEADER + ONE + OTHER)
        self.assertEqual((one["id"], one["kind"], one["maxus"]), ("0x7f0000000000", "plain", "-"))
        self.assertEqual((one["inflight"], one["eagain"], one["completions"]), (3, 5, 997))
        self.assertEqual((other["kind"], other["pinned"], other["maxus"]), ("iocb+buf", 40, "250"))

    def test_more_columns(self):
        text = HEADER.replace("\n", " later word\n") + ONE.replace("\n", " 9 x\n")
        self.assertEqual(aio_tools.parse_contexts(text)[0]["later"], 9)
        self.assertEqual(aio_tools.parse_contexts(text)[0]["word"], "x")

    def test_what_is_none(self):
        self.assertEqual(aio_tools.parse_contexts(HEADER), [])
        for text in ("", "cancelled\n", HEADER + "0x7f plain 1\n"):
            with self.assertRaises(ValueError):
                aio_tools.parse_contexts(text)


class Top(unittest.TestCase):
    """aio-top."""

    def setUp(self):
        self.top = load("aio-top")
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.proc = pathlib.Path(directory.name)
        for pid, name, text in ((5, "mysqld", HEADER + ONE + OTHER), (6, "qemu", HEADER + OTHER),
                                (7, "sh", HEADER)):
            (self.proc / str(pid)).mkdir()
            (self.proc / str(pid) / "comm").write_text(name + "\n")
            (self.proc / str(pid) / "aio").write_text(text)
        # One that has no address space, or is somebody else's.
        (self.proc / "8").mkdir()
        (self.proc / "self").mkdir()

    def show(self, *arguments):
        """The last of two tables, as text."""
        options = self.top.parse_arguments(["-d", "0.01", "--proc", str(self.proc), *arguments])
        looks = self.top.looks(options)
        next(looks)
        (self.proc / "6" / "aio").write_text(HEADER + OTHER.replace(" 7 7 ", " 5007 7 "))
        out = io.StringIO()
        self.top.Console(file=out, width=140).print(next(looks))
        return out.getvalue()

    def test_processes(self):
        lines = self.show().splitlines()
        self.assertIn("256 of these processes", lines[0])
        self.assertIn("in flight", lines[1])
        self.assertEqual([line.split()[:4] for line in lines[2:]],
                         [["5", "mysqld", "2", "192"], ["6", "qemu", "1", "64"]])
        page = os.sysconf("SC_PAGE_SIZE") // 1024
        self.assertEqual(lines[2].split()[-2:], [str(50 * page), "250"])

    def test_order(self):
        self.assertEqual(self.show("-s", "submits").splitlines()[2].split()[1], "qemu")
        self.assertEqual(self.show("-s", "eagain").splitlines()[2].split()[1], "mysqld")
        self.assertEqual(len(self.show("-l", "1").splitlines()), 3)

    def test_rates(self):
        line = self.show("-s", "submits").splitlines()[2].split()
        self.assertGreater(int(line[7]), 0)
        self.assertEqual(line[8], "0")

    def test_contexts(self):
        lines = self.show("-c", "-s", "asked").splitlines()
        self.assertEqual([line.split()[:4] for line in lines[2:4]],
                         [["5", "mysqld", "0x7f0000000000", "plain"],
                          ["5", "mysqld", "0x7f0000008000", "iocb+buf"]])
        self.assertEqual(len(lines), 5)


    def test_picture(self):
        pictures = []
        for name in ("top.svg", "again.svg"):
            path = self.proc / name
            with contextlib.redirect_stdout(io.StringIO()) as out:
                self.assertEqual(self.top.main(["-1", "-d", "0.01", "--proc", str(self.proc),
                                                "--svg", str(path)]), 0)
            pictures.append(path.read_text())
        self.assertEqual(*pictures)
        root = xml.etree.ElementTree.fromstring(pictures[0])
        words = " ".join(root.itertext()).replace("\N{NO-BREAK SPACE}", " ").split()
        # All that the terminal has shown, in fonts that need not be fetched.
        for word in out.getvalue().split():
            self.assertIn(word, words)
        for text in ("@font-face", "url(http", "@import", " \n"):
            self.assertNotIn(text, pictures[0])


class Latency(unittest.TestCase):
    """aio-latency."""

    def setUp(self):
        self.latency = load("aio-latency")
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = pathlib.Path(directory.name)
        (self.directory / "trace").write_text(TRACE)

    def run_it(self, *arguments):
        """What it prints."""
        out = io.StringIO()
        status = self.latency.main([str(self.directory / "trace"), "-N", *arguments], out)
        self.assertEqual(status, 0)
        return out.getvalue()

    def test_lines(self):
        self.assertIsNone(aio_tools.parse_completion(TRACE.splitlines()[1]))
        self.assertEqual(aio_tools.parse_completion(TRACE.splitlines()[3]),
                         aio_tools.Completion(0x7f00, "PREAD", "254:0", 12, -5, 90000))

    def test_buckets(self):
        for ns, number in ((0, 0), (999, 0), (1000, 1), (1999, 1), (2000, 2), (4000, 3),
                           (1023999, 10), (1024000, 11)):
            self.assertEqual(self.latency.bucket(ns), number)
            low, high = self.latency.bounds(number)
            self.assertTrue(low <= ns / 1000 < high)

    def test_percentiles(self):
        latencies = self.latency.Latencies()
        for ns in range(1, 201):
            latencies.add(aio_tools.Completion(0, "PREAD", "", 0, 0, ns))
        self.assertEqual([latencies.percentile(p) for p in (50, 90, 99, 100)], [100, 180, 198, 200])

    def test_text(self):
        lines = self.run_it().splitlines()
        self.assertEqual(lines[0], "PREAD dev 254:0 ino 12: 2 requests, 1 errors, "
                                   "1 of unknown latency")
        self.assertEqual(lines[1], "  p50 1.5 µs, p90 90 µs, p99 90 µs, p100 90 µs")
        self.assertEqual(lines[2].split()[:5], ["1", "-", "2", "µs", "1"])
        self.assertEqual(lines[8].split()[:5], ["64", "-", "128", "µs", "1"])
        self.assertEqual(lines[9], "PWRITE dev 254:0 ino 12: 1 requests")

    def test_operation_on_a_path(self):
        self.assertEqual(self.latency.title(("OPENAT", "0:0", 0), {}), "OPENAT")
        self.assertEqual(self.latency.title(("PREAD", "0:7", 5), {("0:7", 5): "/x"}), "PREAD /x")

    def test_names(self):
        with open(self.directory / "trace", encoding="ascii") as file:
            status = os.fstat(file.fileno())
            dev = f"{os.major(status.st_dev)}:{os.minor(status.st_dev)}"
            self.assertEqual(self.latency.open_files().get((dev, status.st_ino)),
                             str(self.directory / "trace"))

    def test_plots(self):
        for name in ("plot.svg", "again.svg"):
            self.run_it("-o", str(self.directory / name))
        text = (self.directory / "plot.svg").read_text()
        self.assertIn("<svg", text)
        self.assertEqual(text, (self.directory / "again.svg").read_text())

    def test_lost(self):
        for line, lost in (
                ("CPU:1 [LOST 12 EVENTS]\n", 12), ("CPU:1 [LOST EVENTS]\n", None),
                ("# entries-in-buffer/entries-written: 205/4050   #P:2\n", 3845),
                ("# entries-in-buffer/entries-written: 5/5   #P:2\n", 0),
                (" fio 77 [000] 2.1: PERF_RECORD_LOST lost 9\n", 9),
                (" fio 77 [000] 2.1: PERF_RECORD_LOST_SAMPLES\n", None),
                *((line, 0) for line in TRACE.splitlines(keepends=True))):
            self.assertEqual(aio_tools.parse_lost(line), lost, line)

    def test_lost_is_told(self):
        self.assertNotIn("lost", self.run_it())
        self.run_it("-o", str(self.directory / "whole.svg"))
        whole = (self.directory / "whole.svg").read_text()
        for more, text in (("", "7 events lost, figures incomplete"),
                           ("CPU:0 [LOST EVENTS]\n",
                            "7 events or more lost, figures incomplete")):
            (self.directory / "trace").write_text(
                "# entries-in-buffer/entries-written: 4/6   #P:2\n" + more + TRACE +
                "CPU:0 [LOST 5 EVENTS]\n")
            self.assertEqual(self.run_it("-o", str(self.directory / "lost.svg")).splitlines()[0],
                             text)
            # Letters are drawn, but their names are there, too.
            self.assertIn(f"<!-- {text} -->", (self.directory / "lost.svg").read_text())
            self.assertNotIn(text, whole)

    def test_only_lost(self):
        (self.directory / "trace").write_text("CPU:0 [LOST EVENTS]\n")
        err = io.StringIO()
        with contextlib.redirect_stderr(err):
            self.assertEqual(self.latency.main([str(self.directory / "trace")]), 1)
        self.assertIn("aio-latency: events lost, figures incomplete", err.getvalue())

    def test_not_written(self):
        for cpu, text in (("cpu0", "entries: 3\noverrun: 100\ncommit overrun: 2\nbytes: 5\n"
                                   "dropped events: 4\nread events: 7\n"),
                          ("cpu1", "overrun: 1\ncommit overrun: 0\ndropped events: 1\n")):
            (self.directory / "per_cpu" / cpu).mkdir(parents=True)
            (self.directory / "per_cpu" / cpu / "stats").write_text(text)
        # What was overwritten is in the head of the trace.
        self.assertEqual(self.latency.not_written(str(self.directory)), 7)

    def test_nothing(self):
        (self.directory / "trace").write_text("# tracer: nop\n")
        self.assertEqual(self.latency.main([str(self.directory / "trace")]), 1)


if __name__ == "__main__":
    unittest.main()
