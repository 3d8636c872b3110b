#!/usr/bin/env python3
"""Compares the operations of two commits: builds the benchmarks of both, runs them in alternation, and prints for each
operation the median time of both and the ratio, with its range over the rounds. Differences under 5% are noise.

Usage: bench_commits.py OLD [NEW] [--rounds 5] [--seconds 1] [--only TEXT]
       OLD and NEW are commits; without NEW it is the working tree
"""
import argparse
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
WORK = ROOT / "target" / "bench-commits"


def git(*arguments):
    return subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()


def source(commit):
    """The folder of a commit's files."""
    if commit is None:
        return ROOT
    name = git("rev-parse", "--verify", f"{commit}^{{commit}}")
    folder = WORK / name
    if not folder.is_dir():
        git("worktree", "prune")
        git("worktree", "add", "--detach", str(folder), name)
    return folder


def build(folder):
    """The program that benches the operations."""
    # One for each: cargo takes the same package of two folders for one.
    target = WORK / ("target-tree" if folder == ROOT else f"target-{folder.name}")
    command = ["cargo", "bench", "--locked", "-p", "tallow-ops", "--bench", "operations", "--no-run",
               "--message-format=json-render-diagnostics"]
    done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, text=True,
                          env={**os.environ, "CARGO_TARGET_DIR": str(target)})
    if done.returncode:
        sys.exit(f"{folder}: the benchmarks do not build")
    messages = map(json.loads, done.stdout.splitlines())
    return next(m["executable"] for m in messages
                if m.get("target", {}).get("name") == "operations" and m.get("executable"))


def run(program, side, a):
    """Nanoseconds by benchmark."""
    home = WORK / side
    subprocess.run([program, "--bench", "--noplot", "--warm-up-time", "0.3", "--measurement-time", str(a.seconds),
                    *([a.only] if a.only else [])], check=True, capture_output=True, cwd=ROOT,
                   env={**os.environ, "CRITERION_HOME": str(home)})
    found = {}
    for file in home.rglob("new/estimates.json"):
        name = str(file.parent.parent.relative_to(home))
        if not a.only or a.only in name:
            found[name] = json.loads(file.read_text())["median"]["point_estimate"]
    return found


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("old")
    p.add_argument("new", nargs="?")
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--seconds", type=float, default=1)
    p.add_argument("--only")
    a = p.parse_args()
    programs = [build(source(commit)) for commit in (a.old, a.new)]
    for side in ("old", "new"):
        shutil.rmtree(WORK / side, ignore_errors=True)
    rounds = [[run(program, side, a) for program, side in zip(programs, ("old", "new"))] for _ in range(a.rounds)]
    names = sorted(set(rounds[0][0]) & set(rounds[0][1]))
    print(f"{'operation':<30} {'old, us':>10} {'new, us':>10} {'new / old':>10}  range")
    for name in names:
        old, new = (statistics.median(r[side][name] for r in rounds) / 1e3 for side in (0, 1))
        ratios = [r[1][name] / r[0][name] for r in rounds]
        print(f"{name:<30} {old:>10.1f} {new:>10.1f} {statistics.median(ratios):>10.3f}  "
              f"{min(ratios):.2f} to {max(ratios):.2f}")


if __name__ == "__main__":
    main()
