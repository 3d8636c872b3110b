#!/usr/bin/env python3
"""Runs two benchmark commands in alternation, so that a noisy machine treats both alike, and prints the
figures of each run, the median ratios, and how far the losses are apart, or how many texts are the same.

Both commands print one JSON object with the keys of bench_peft.py, or of bench_generate.py, as their last line.

Usage: bench_pairs.py --pairs 5 -- OURS... -- PEER...
"""
import json
import statistics
import subprocess
import sys

arguments = sys.argv[1:]
if arguments.count("--") < 2:
    sys.exit(__doc__)
pairs = int(arguments[arguments.index("--pairs") + 1]) if "--pairs" in arguments else 5
first = arguments.index("--")
second = arguments.index("--", first + 1)
commands = arguments[first + 1 : second], arguments[second + 1 :]

FIGURES = ("real_tokens_per_s", "median_real_tokens_per_s", "new_tokens_per_s", "peak_memory_mb")


def run(command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)}:\n{done.stderr}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def agreement(ours, peer):
    if "losses" in ours:
        return f"losses within {max(abs(a / b - 1) for a, b in zip(ours['losses'], peer['losses'])):.2e}"
    rows = [a == b for ours, peer in zip(ours["outputs"], peer["outputs"]) for a, b in zip(ours, peer)]
    return f"{sum(rows)} of {len(rows)} texts the same"


results = []
for pair in range(pairs):
    ours, peer = map(run, commands)
    results.append((ours, peer))
    known = [key for key in FIGURES if key in ours]
    figures = "  ".join(f"{key} {ours[key]} / {peer[key]} = {ours[key] / peer[key]:.3f}" for key in known)
    print(f"pair {pair + 1}: {figures}  {agreement(ours, peer)}", flush=True)
for key in known:
    median = statistics.median(a[key] / b[key] for a, b in results)
    print(f"median ratio of {key}: {median:.3f}")
