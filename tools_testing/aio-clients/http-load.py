#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Fetch parts of a file from a web server and compare them with the file.

    http-load.py PORT FILE THREADS REQUESTS PID

The file is the server's /<its name>. Each thread makes so many requests, for
ranges chosen at random with a fixed seed; then the whole file is fetched. While
that goes on, the rings of the process PID, the server's worker, must show
events: see rings.py.
"""

import http.client
import os
import random
import sys
import threading

from rings import rings

port, path, threads, requests, pid = sys.argv[1:]
size = os.path.getsize(path)
name = "/" + os.path.basename(path)
problems = []
compared = []
tails = set()


def fetch(connection, first, last):
    """One range, compared."""
    connection.request("GET", name, headers={"Range": f"bytes={first}-{last}"})
    response = connection.getresponse()
    data = response.read()
    with open(path, "rb") as file:
        file.seek(first)
        wanted = file.read(last - first + 1)
    if response.status != 206:
        problems.append(f"{first}-{last}: status {response.status}")
    elif data != wanted:
        problems.append(f"{first}-{last}: {len(data)} bytes that are not the file's")
    compared.append(len(data))


def worker(seed):
    """One connection."""
    rng = random.Random(seed)
    try:
        connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=120)
        for _ in range(int(requests)):
            first = rng.randrange(size)
            last = min(size - 1, first + rng.choice((0, 511, 4095, 65535, 1 << 20)))
            fetch(connection, first, last)
            tails.update((i, ring[0]) for i, ring in enumerate(rings(pid)))
        connection.close()
    except Exception as error:  # pylint: disable=broad-except
        problems.append(f"thread {seed}: {error!r}")


pool = [threading.Thread(target=worker, args=(i,)) for i in range(int(threads))]
for thread in pool:
    thread.start()
for thread in pool:
    thread.join()
whole = http.client.HTTPConnection("127.0.0.1", int(port), timeout=120)
fetch(whole, 0, size - 1)
tails.update((i, ring[0]) for i, ring in enumerate(rings(pid)))

print(f"{len(compared)} answers, {sum(compared)} bytes compared, ring tails seen: {sorted(tails)}")
for problem in problems:
    print("wrong:", problem)
if len(compared) != int(threads) * int(requests) + 1:
    sys.exit("wrong: requests are missing")
if len(tails) < 10:
    sys.exit("wrong: the server did not use kernel AIO")
sys.exit(bool(problems))
