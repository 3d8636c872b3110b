#!/usr/bin/env python3
"""Checks and measures tallow on this machine's NVIDIA GPU, beside torch + transformers + peft. To be run as run.sh in
a folder that scripts/gpu.sh made.

Steps come by importance: gpu-check, a training with ROUGE before and after, losses in f32 beside the peer's, then
speed and memory in rounds, in which all sides run one after the other on the same batches from the same adapter. What
there is no time for is listed as skipped, and the same command with the same OUT goes on with it. Figures are written
after every step: OUT/results.json, OUT/results.md (a table), OUT/output.log, and what gpu-check and the training left.
"""
import argparse
import dataclasses
import functools
import json
import math
import os
import pathlib
import shutil
import signal
import sys

import gpu_machine
import gpu_report
from gpu_machine import BIN, ROOT
from gpu_plan import COME, FULL, ORDERS, OURS, PARTS, QUICK, SDPA32, SETS, part_of
from gpu_processes import Peers, Process
from gpu_steps import Steps

SCRIPTS = ROOT / "scripts"


class Run(Steps):
    """What each step runs."""

    def __init__(self, plan, out, work, mode):
        super().__init__(out, work, plan.minutes, mode)
        self.plan, self.work = plan, work
        self.size = next(iter(plan.steps))  # of single runs
        start = functools.partial(self.start, [sys.executable, SCRIPTS / "bench_peft.py", "--wait"])
        self.peers = Peers(start, max(1, min(8, (os.cpu_count() or 1) // 2)))

    def run(self, only):
        making = {size: self.make(size) for size in self.plan.sizes() if not self.model(size).is_dir()}
        order = [item for item in self.plan.order if part_of(item) in only]
        beside = any(item[0] != "train" for item in order)
        if beside:
            # They import torch while gpu-check runs.
            self.peers.fill(len(self.plan.steps) + peers_of(order))
        if "check" in only:
            self.check()
        if "no_gpu" in self.results:
            return
        for size, process in making.items():
            self.made(size, process)
        for size in self.plan.steps if beside else ():
            self.adapter(size)
        for at, item in enumerate(order):
            self.to_come = peers_of(order[at:])
            getattr(self, item[0])(*item[1:])

    def model(self, size):
        return self.work / "models" / size

    def init(self, size):
        return self.work / "init" / size

    def batches(self, order, rows):
        return self.plan.batches / f"dialogsum-b{rows}{ORDERS[order]}.jsonl"

    def part(self, size):
        return self.work / "models" / f"{size}.part"

    def make(self, size):
        """Begins to make a model."""
        shutil.rmtree(self.part(size), ignore_errors=True)
        return self.start([sys.executable, SCRIPTS / "random_flan.py", self.part(size), "--size", size,
                           "--dtype", "bfloat16"])

    def made(self, size, process):
        def figures(_):
            shutil.copy(ROOT / "tokenizer" / "tokenizer.json", self.part(size))
            self.part(size).rename(self.model(size))
            return {}
        # Done before, maybe, in a folder that is gone.
        self.steps.pop(f"model, {size}", None)
        self.step(f"model, {size}", lambda: process, 0, 300, figures)

    def adapter(self, size):
        """The adapter that all sides start from."""
        def figures(_):
            return {} if (self.init(size) / "adapter_config.json").is_file() else None
        if figures(None) is None:
            self.steps.pop(f"initial adapter, {size}", None)
        arguments = [self.model(size), self.batches(COME, 8), "--dtype", "bfloat16", "--steps", 0, "--save-init",
                     self.init(size)]
        self.step(f"initial adapter, {size}", lambda: self.peer(arguments), 10, 120, figures)

    def peer(self, arguments):
        """A peer on its way; nothing else is busy by then."""
        self.peers.ready(1, 1, self.left())
        return self.peers.take(arguments)

    def ours(self, arguments, size, dtype):
        # Without peft there is no adapter to share, and a fresh one does for speed.
        shared = ["--adapter", self.init(size)] if self.init(size).is_dir() else []
        return self.start([BIN / "tallow", "bench", *arguments, *shared, "--device", "cuda:0", "--dtype", dtype])

    def check(self):
        def figures(process):
            (self.out / "gpu-check.log").write_text(process.output() + process.errors())
            if process.json():
                (self.out / "gpu-check.json").write_text(json.dumps(process.json(), indent=1) + "\n")
            return process.json()
        start = functools.partial(self.start, [BIN / "gpu-check", *self.plan.check])
        record = self.step("gpu-check", start, 15, 240, figures, failing=True)
        why = record.get("figures", {}).get("skipped")
        if why:
            self.results["no_gpu"] = why
            del self.steps["gpu-check"]

    def train(self):
        plan, folder = self.plan, self.work / "runs" / "dialogsum"
        changes = {
            "output": folder.parent, "device": "cuda:0", "dtype": "bf16", "kernels": "all",
            "model.path": self.model(plan.train), "training.steps": plan.train_steps,
            "training.batch_size": plan.train_batch, "training.evaluate_every": max(1, plan.train_steps // 3),
            "training.checkpoint_every": 0, "evaluation.before_rows": plan.rows, "evaluation.rows": plan.rows,
            "evaluation.batch_size": 64, "task.0.train": plan.dialogsum / "dialogsum.train.jsonl",
            "task.0.validation": plan.dialogsum / "dialogsum.dev.jsonl",
            "task.0.test": plan.dialogsum / "dialogsum.test.jsonl",
        }

        def start():
            shutil.rmtree(folder, ignore_errors=True)
            return self.start([BIN / "tallow", "train", ROOT / "configs" / "dialogsum.toml",
                               *[f"{key}={value}" for key, value in changes.items()]])

        def figures(process):
            for name in ("evaluation.json", "metrics.jsonl"):
                if (folder / name).is_file():
                    shutil.copy(folder / name, self.out)
            return trained(folder) if process.process.returncode == 0 else None
        self.step("training", start, 30, 200, figures, failing=True, size=plan.train, batch=plan.train_batch)

    def parity(self):
        """Losses in f32, where nothing but the order of sums differs."""
        for side in (OURS, SDPA32):
            self.bench(f"losses in f32: {side.name}", side, self.size, COME, 8, self.plan.parity_steps, 0, "f32",
                       part="parity")

    def trace(self):
        def figures(process):
            return process.json() and {**process.json(), "table": process.errors().rstrip()}
        arguments = [self.model(self.size), self.batches(COME, 64), "--steps", self.plan.steps[self.size], "--warmup",
                     self.plan.warmup, *OURS.arguments, "--trace"]
        self.step("time by operation", lambda: self.ours(arguments, self.size, "bf16"), 8, 90, figures, size=self.size)

    def group(self, size, order, sides, turn, batch=64):
        """A round: all sides, one after the other, or none. Those that run out of memory meet tallow again on fewer
        rows, and all do if tallow itself does."""
        def name(side):
            return f"{size}, {order}, {batch} rows, {sides} {turn}: {side.name}"

        def wanted(side):
            if batch == 64:
                return not self.too_large(size, order, side)
            return side == OURS or any(self.too_large(size, order, either) for either in (side, OURS))

        slow = 2 if size == "large" else 1
        run = [side for side in SETS[sides] if wanted(side)]
        if any(self.status(name(side)) in (None, "skipped", "timed out") for side in run):
            enough = self.left() >= slow * sum(side.least for side in run)
            if enough:
                # What an earlier call left of the round is of another time, and maybe of another machine of the kind.
                for side in run:
                    self.steps.pop(name(side), None)
                self.peers.ready(sum(side.peer for side in run), self.to_come, self.left())
            for side in run:
                self.bench(name(side), side, size, order, batch, self.plan.steps[size], self.plan.warmup, "bf16",
                           least=side.least * slow if enough else math.inf, part="rounds", set=sides, round=turn)
        if batch == 64 and any(self.too_large(size, order, side) for side in SETS[sides]):
            self.group(size, order, sides, turn, batch=8)

    def too_large(self, size, order, side):
        """Whether batches of 64 rows have run out of memory, in any round."""
        same = {"size": size, "order": order, "batch": 64, "side": side.name, "status": "out of memory"}
        return any(same.items() <= step.items() for step in self.steps.values())

    def bench(self, name, side, size, order, batch, steps, warmup, dtype, least=0, **about):
        """A run of one side."""
        arguments = [self.model(size), self.batches(order, batch), "--steps", steps, "--warmup", warmup]
        arguments += side.arguments
        if side.peer:
            arguments += ["--init", self.init(size), "--device", self.plan.peer_device, "--dtype",
                          {"f32": "float32", "bf16": "bfloat16"}[dtype]]
            if "--compile" in side.arguments:
                arguments += ["--compile-steps", steps + warmup]
        start = (lambda: self.peer(arguments)) if side.peer else (lambda: self.ours(arguments, size, dtype))
        most = side.most * (2 if size == "large" else 1)
        return self.step(name, start, max(least, side.least), most, side=side.name, size=size, order=order, batch=batch,
                         warmup=warmup, dtype=dtype, **about)


def peers_of(order):
    """How many peers run in steps."""
    groups = [side.peer for item in order if item[0] == "group" for side in SETS[item[3]]]
    return sum(groups) + (("parity",) in order)


def trained(folder):
    """What a run's files say."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    steps = [line for line in lines if "loss" in line]
    # The first ones load kernels.
    timed = steps[10:] or steps
    losses = [line["loss"] for line in steps]
    return {
        "steps": len(steps),
        "first_losses": sum(losses[:10]) / len(losses[:10]),
        "last_losses": sum(losses[-10:]) / len(losses[-10:]),
        "real_tokens_per_s": round(sum(line["tokens"] for line in timed) / sum(line["seconds"] for line in timed), 1),
        "validation": [[line["step"], line["validation_loss"]] for line in lines if "validation_loss" in line],
        "evaluation": json.loads((folder / "evaluation.json").read_text()),
    }


def arguments():
    p = argparse.ArgumentParser(prog="run.sh", description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("out", nargs="?", type=pathlib.Path, default=pathlib.Path("results"), help="[default: results]")
    p.add_argument("--quick", action="store_true", help="the most important, in three minutes")
    p.add_argument("--minutes", type=float, help="when to stop [default: 9, or 3 with --quick]")
    p.add_argument("--only", default=",".join(PARTS), metavar="PARTS", help=f"some of {','.join(PARTS)}")
    p.add_argument("--work", type=pathlib.Path, default=ROOT / "work", help="for models and caches [default: work]")
    p.add_argument("--try-out", action="store_true",
                   help="whether the steps work: tiny models and batches, the peer on the CPU")
    found = p.parse_args()
    found.only = found.only.split(",")
    unknown = [part for part in found.only if part not in PARTS]
    if unknown:
        p.error(f"no part is called {', '.join(unknown)}; there are {', '.join(PARTS)}")
    found.out, found.work = found.out.resolve(), found.work.resolve()
    return found


def main():
    a = arguments()
    if not BIN.is_dir():
        sys.exit(f"run.sh: {BIN} is not there: scripts/gpu.sh makes the folder that this runs in")
    lacking = gpu_machine.lacking(["numpy"] if a.only != ["check"] else ())
    if lacking:
        sys.exit(f"run.sh: {sys.executable} has no numpy, which models are made with: install it, name another Python "
                 "by PYTHON, or give --only check")
    lacking = gpu_machine.lacking(("torch", "transformers", "peft"))
    if lacking:
        print(f"{sys.executable} has no {' and no '.join(lacking)}: tallow is measured without a peer", flush=True)
    for folder in (a.out, a.work / "models"):
        folder.mkdir(parents=True, exist_ok=True)
    gpu_machine.unpack()
    plan = QUICK if a.quick else FULL
    if a.try_out:
        plan = plan.tried_out(a.work)
    if a.minutes:
        plan = dataclasses.replace(plan, minutes=a.minutes)
    run = Run(plan, a.out, a.work, {"quick": a.quick, "try_out": a.try_out})
    # Whoever ends this early finds what was measured until then.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        run.run(a.only)
    except KeyboardInterrupt:
        sys.exit(130)
    finally:
        Process.end_all()
        run.write()
        print(f"\n{(a.out / 'results.md').read_text()}\nwrote {a.out}")
    sys.exit(gpu_report.verdict(run.results))


if __name__ == "__main__":
    main()
