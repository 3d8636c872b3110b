#!/usr/bin/env python3
"""Runs two benchmark commands in alternation, so that a noisy machine treats both alike, and prints the
figures of each run, the median ratios, and how far the losses are apart, or how many texts are the same.

Both commands print one JSON object with the keys of bench_peft.py, or of bench_generate.py, as their last line.

With --quiet 1.2, a run counts only if the cores were undisturbed before and after it: copying within the first-level cache,
on every core at once, took at most 1.2 times its shortest time of the whole session. Whoever shares a physical core doubles
that time. Disturbed runs, of either command, are repeated; after --minutes it ends with the pairs that it has.

Usage: bench_pairs.py [--pairs 5] [--quiet RATIO] [--minutes 60] -- OURS... -- PEER...
"""
import argparse
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import time

arguments = sys.argv[1:]
if arguments.count("--") < 2:
    sys.exit(__doc__)
first = arguments.index("--")
parser = argparse.ArgumentParser(usage=__doc__.split("Usage: ")[1].strip(), allow_abbrev=False)
parser.add_argument("--pairs", type=int, default=5)
parser.add_argument("--quiet", type=float, default=float("inf"))
parser.add_argument("--minutes", type=float, default=60)
options = parser.parse_args(arguments[:first])
pairs, quiet = options.pairs, options.quiet
end = time.monotonic() + 60 * options.minutes
second = arguments.index("--", first + 1)
commands = arguments[first + 1 : second], arguments[second + 1 :]

FIGURES = ("real_tokens_per_s", "median_real_tokens_per_s", "new_tokens_per_s", "peak_memory_mb")


def run(command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)}:\n{done.stderr}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def copying(_):
    """The median time of copying 8 kB, in microseconds."""
    target, source = bytearray(8192), bytes(8192)
    times = []
    for _ in range(9):
        start = time.perf_counter()
        for _ in range(2000):
            target[:] = source
        times.append((time.perf_counter() - start) / 2000 * 1e6)
    return statistics.median(times)


def probe():
    """The slowest core's."""
    return max(cores.map(copying, range(cores._processes), chunksize=1))


def measured(command):
    """A run, and how disturbed the cores were before or after it; one that was seen to be disturbed is none."""
    global shortest
    if quiet == float("inf"):
        return run(command), 0
    while time.monotonic() < end:
        before = probe()
        shortest = min(shortest, before)
        if before > quiet * shortest:
            time.sleep(0.5)
            continue
        result, after = run(command), probe()
        if after <= quiet * shortest:
            return result, max(before, after)
        print("a run on disturbed cores is repeated", file=sys.stderr, flush=True)
    return None


def agreement(ours, peer):
    if "losses" in ours:
        return f"losses within {max(abs(a / b - 1) for a, b in zip(ours['losses'], peer['losses'])):.2e}"
    rows = [a == b for ours, peer in zip(ours["outputs"], peer["outputs"]) for a, b in zip(ours, peer)]
    return f"{sum(rows)} of {len(rows)} texts the same"


shortest = float("inf")
if quiet < shortest:
    cores = multiprocessing.Pool(len(os.sched_getaffinity(0)))
    shortest = min(probe() for _ in range(20))
results = []
while len(results) < pairs:
    runs = [measured(command) for command in commands]
    if None in runs:
        print(f"ended after {len(results)} pairs: the cores were disturbed for too long")
        break
    (ours, before), (peer, after) = runs
    results.append((ours, peer, max(before, after)))
    # What was quiet until a quieter moment came is so no longer.
    results = [result for result in results if result[2] <= quiet * shortest]
    known = [key for key in FIGURES if key in ours]
    figures = "  ".join(f"{key} {ours[key]} / {peer[key]} = {ours[key] / peer[key]:.3f}" for key in known)
    print(f"pair {len(results)}: {figures}  {agreement(ours, peer)}", flush=True)
if results:
    for key in known:
        median = statistics.median(a[key] / b[key] for a, b, _ in results)
        print(f"median ratio of {key}: {median:.3f}")
