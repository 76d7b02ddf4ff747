#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Print the result of scripts/run: which AIO it was, and fio's figures."""

import json
import pathlib
import sys

UNITS = {"M": 2**20, "G": 2**30}


def implementation(results):
    """The running kernel's own word on the implementation."""
    config = (results / "config").read_text().split()
    for line in (results / "dmesg").read_text().splitlines():
        if "Rust" in line:
            word = "CONFIG_AIO_RUST=y" if "CONFIG_AIO_RUST=y" in config else "CONFIG_AIO_RUST not set"
            return f"{line} ({word})"
    if "CONFIG_AIO_RUST=y" in config:
        return "CONFIG_AIO_RUST=y, but the kernel log has no line of it"
    return "C (fs/aio.c)"


def microseconds(ns):
    us = ns / 1000
    return f"{us / 1000:.2f} ms" if us >= 1000 else f"{us:.0f} us"


def size(n):
    return f"{n / 2**20:.1f} MiB"


def seen(results):
    """What /proc/PID/aio and the tracepoints have told of fio, if they are there."""
    view = results / "aio"
    if view.exists():
        path, header, *lines = view.read_text().splitlines()
        table = [line.split() for line in [header, *lines]]
        widths = [max(len(word) for word in column) for column in zip(*table)]
        print(f"  seen       {path}, while it ran:")
        for row in table:
            print("    " + " ".join(word.rjust(width) for word, width in zip(row, widths)))
    trace = results / "trace"
    if trace.exists():
        print("  traced     (the first of each: submission, request, completion)")
        for line in trace.read_text().splitlines():
            print("    " + line[line.index("aio_"):] if "aio_" in line else line)


def main():
    results = pathlib.Path(sys.argv[1])
    text = (results / "fio.json").read_text()
    # fio writes its warnings before the JSON.
    job = json.loads(text[text.index("{\n"):])["jobs"][0]
    print()
    print(f"  kernel     Linux {(results / 'release').read_text().strip()}")
    print(f"  AIO        {implementation(results)}")
    options = {**job.get("job options", {})}
    print(f"  job        fio {options.get('rw')} {options.get('bs')}, iodepth "
          f"{options.get('iodepth')}, O_DIRECT, ext4 on virtio-blk, verify={options.get('verify')}")
    print()
    print(f"  {'':8}{'IOPS':>10}{'MiB/s':>10}{'mean':>12}{'p99':>12}{'amount':>14}")
    for way in "read", "write":
        d = job[way]
        lat = d["clat_ns"]
        p99 = lat.get("percentile", {}).get("99.000000", 0)
        print(f"  {way:8}{d['iops']:>10.0f}{d['bw_bytes'] / 2**20:>10.1f}"
              f"{microseconds(d['lat_ns']['mean']):>12}{microseconds(p99):>12}{size(d['io_bytes']):>14}")
    print()
    # The job is done over a fixed amount, half of it writes; then every block written
    # is read back and checked. Those reads are in the figures of "read" too.
    written = job["write"]["io_bytes"]
    verified = job["read"]["io_bytes"] - (UNITS[options["size"][-1]] * int(options["size"][:-1]) - written)
    print(f"  verified   {size(verified)} of {size(written)} written ({options.get('verify')}); "
          "file system check clean")
    print(f"  errors     {job['error']}")
    print(f"  details    {results / 'fio.json'}")
    seen(results)
    bad = job["error"] or not written or verified != written
    if bad:
        print("  FAILED: errors, or not everything that was written was verified")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
