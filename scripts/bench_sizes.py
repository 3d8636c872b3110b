#!/usr/bin/env python3
"""Prints what a training step costs a token over batches of 1 to 64 rows and sources of 64 to 1,500 tokens, as a table
in Markdown: microseconds, and the floating-point operations of products, which grow with the source by attention alone.

Rows are random ids with targets of 32 tokens.

Usage: bench_sizes.py [--rows 1,8,64] [--sources 64,256,512,1024,1500] -- tallow bench MODEL BATCHES --threads 2 ...
The word BATCHES stands for the file that is made.
"""

import argparse
import json
import random
import re
import subprocess
import sys
import tempfile
from pathlib import Path

TARGET = 32
# Steps over about so many tokens are timed, and one at least.
TOKENS = 8000


def numbers(text):
    return [int(part) for part in text.split(",")]


def batch(rows, source):
    draw = random.Random(0)
    ids = lambda length: [[draw.randrange(3, 32000) for _ in range(length)] for _ in range(rows)]
    return {"source": ids(source), "target": ids(TARGET)}


def run(command, rows, source, options):
    """The result of steps over one batch, and what was printed beside it."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "batch.jsonl"
        file.write_text(json.dumps(batch(rows, source)) + "\n")
        command = [str(file) if word == "BATCHES" else word for word in command] + options
        done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: {done.stderr.strip()}")
    return json.loads(done.stdout.splitlines()[-1]), done.stderr


def cost(command, rows, source):
    """Microseconds a token."""
    steps = max(1, TOKENS // (rows * (source + TARGET)))
    result, _ = run(command, rows, source, ["--steps", str(steps), "--warmup", "1"])
    return 1e6 / result["real_tokens_per_s"]


def work(command, source):
    """MFLOP of products a token, which is the same for any number of rows."""
    _, trace = run(command, 1, source, ["--steps", "1", "--warmup", "0", "--trace"])
    return 1e3 * float(re.search(r"([\d.]+) GFLOP of products", trace).group(1)) / (source + TARGET)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=numbers, default=[1, 8, 64])
    parser.add_argument("--sources", type=numbers, default=[64, 256, 512, 1024, 1500])
    parser.add_argument("command", nargs="+", help="after --: the benchmark")
    arguments = parser.parse_args()
    if "BATCHES" not in arguments.command:
        parser.error("the command holds no word BATCHES")
    print("| source tokens | MFLOP a token | " + " | ".join(f"us, {rows} rows" for rows in arguments.rows) + " |")
    print("| --- " * (2 + len(arguments.rows)) + "|")
    for source in arguments.sources:
        costs = " | ".join(f"{cost(arguments.command, rows, source):,.0f}" for rows in arguments.rows)
        print(f"| {source:,} | {work(arguments.command, source):.0f} | {costs} |", flush=True)


if __name__ == "__main__":
    main()
