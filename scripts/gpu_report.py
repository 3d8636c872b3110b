#!/usr/bin/env python3
"""What gpu_run.py found, as Markdown for docs/benchmarks.md.

Usage: gpu_report.py RESULTS.json
"""
import json
import math
import statistics
import sys

# How far losses may be from the peer's, relative. In bf16 the peer rounds the loss itself to three digits.
LIMITS = {"f32": 2e-3, "bf16": 1e-2}
OURS, COMPOSED = "tallow", "tallow, composed kernels"
SPEED, MEMORY = "real_tokens_per_s", "peak_memory_mb"


def markdown(results):
    blocks = [heading(results)]
    if "no_gpu" in results:
        found = "nvidia-smi finds none either"
        if results["machine"]["gpu"]:
            found = "nvidia-smi finds one: `CUDA_SHIM_DEBUG=1 bin/gpu-check` says which libraries are opened"
        blocks.append(f"**There is no GPU to measure here** ({results['no_gpu']}; {found}).")
    if results["try_out"]:
        blocks.append("**Tried out with tiny models, the peer on the CPU: the figures mean nothing.**")
    for part in (check, training, parity, rounds, trace, warnings, missing):
        blocks += part(results)
    return "\n\n".join(blocks)


def heading(results):
    machine = results["machine"]
    date = results["calls"][0]["began"][:10] if results["calls"] else ""
    runs = (step["figures"] for step in results["steps"].values() if step.get("side") == OURS and "figures" in step)
    unknown = "no GPU" if "no_gpu" in results else "an unknown GPU"
    gpu = machine["gpu"] or check_of(results).get("gpu") or next((run["device"] for run in runs), unknown)
    versions = ", ".join(f"{name} {machine[name] or '(missing)'}" for name in ("torch", "transformers", "peft"))
    driver = f"driver {machine['driver']}, " if machine["driver"] else ""
    return f"## {date}, {gpu}\n\n{driver}{versions}; Python {machine['python']}, {machine['cpus']} cores."


def check_of(results):
    return results["steps"].get("gpu-check", {}).get("figures", {})


def check(results):
    found = check_of(results)
    if "checks" not in found:
        return []
    extent = " (quick)" if found["quick"] else ""
    blocks = [f"gpu-check{extent}: {len(found['checks'])} checks, {found['failed']} failed, {found['seconds']:.0f} s. "
              f"Operations whose kernels agree: {', '.join(found['agreeing_operations'])}."]
    failed = [line for line in found["checks"] if not line["passed"]]
    lines = [f"- {line['part']}, {line['what']}: {line['note'][:200]}" for line in failed[:20]]
    if failed[20:]:
        lines.append(f"- and {len(failed) - 20} more, see gpu-check.log")
    return blocks + (["\n".join(lines)] if lines else [])


def training(results):
    step = results["steps"].get("training", {})
    found = step.get("figures")
    if not found:
        return []
    validation = ", ".join(f"{loss:.3f} after {at}" for at, loss in found["validation"])
    text = (f"`tallow train` on DialogSum, {model(step['size'])}, bf16, {found['steps']} steps of {step['batch']} "
            f"rows: {found['real_tokens_per_s']:,.0f} tokens/s; loss {found['first_losses']:.3f} (first ten steps) to "
            f"{found['last_losses']:.3f} (last ten); validation loss {validation} steps; {step['seconds']:.0f} s with "
            "loading and generating.")
    before, after = (found["evaluation"].get(when) for when in ("before", "after"))
    if not (before and after):
        return [text]
    cells = [[name, *(f"{100 * found['rouge'][name]['fmeasure']:.2f}" for found in (before, after))]
             for name in before["rouge"]]
    return [text, table([f"F1 x 100 of {after['rows']} rows", "before", "after"], cells)]


def parity(results):
    steps = [step for step in results["steps"].values() if step.get("part") == "parity" and "figures" in step]
    if len(steps) != 2:
        return []
    ours, peer = (step["figures"] for step in sorted(steps, key=lambda step: step["side"] != OURS))
    apart = losses_apart(ours, peer)
    return [f"In f32 without TF32, from the same adapter, each of {len(ours['losses'])} losses is within {apart:.1e} "
            f"(relative) of the peer's{beyond(apart, 'f32')}."]


def rounds(results):
    steps = [step for step in results["steps"].values() if step.get("part") == "rounds"]
    places = list(dict.fromkeys((step["size"], step["order"], step["batch"]) for step in steps))
    blocks = []
    for size, order, batch in places:
        here = [step for step in steps if (step["size"], step["order"], step["batch"]) == (size, order, batch)]
        runs = [step for step in here if "figures" in step]
        if not runs:
            continue
        sides = list(dict.fromkeys(step["side"] for step in here))
        cells = [row(side, here, runs) for side in sides]
        timed = runs[0]["figures"]["steps"]
        note = ", where 64 do not fit" if batch == 8 else ""
        head = ["", "real tokens/s", "tallow / it", "composed / it", "peak MB", "tallow / it", "losses within",
                "rounds"]
        blocks += [f"### {model(size)}, batches of {batch} rows {order}{note}\n\n"
                   f"{timed} steps after {runs[0]['warmup']}, bf16.", table(head, cells)]
    if blocks:
        blocks.append("Medians of the rounds; a ratio is of runs of the same round, and losses are tallow's beside "
                      "those of that side. LoRA of rank 8 on q and v, random weights; the peer's adapter is in the "
                      "type named. Peak memory is what a side's tensors took at most, without what CUDA itself takes.")
    return blocks


def row(side, here, runs):
    of_side = [step for step in runs if step["side"] == side]
    if not of_side:
        return [side, next(step["status"] for step in here if step["side"] == side), *[""] * 6]
    faster, composed, part, apart = [], [], [], []
    for step in of_side:
        turn = {other["side"]: other["figures"] for other in runs
                if (other["set"], other["round"]) == (step["set"], step["round"])}
        figures = step["figures"]
        if side != OURS and OURS in turn:
            faster.append(ratio(turn[OURS], figures, SPEED))
            part.append(ratio(turn[OURS], figures, MEMORY))
            apart.append(losses_apart(turn[OURS], figures))
        if side not in (OURS, COMPOSED) and COMPOSED in turn:
            composed.append(ratio(turn[COMPOSED], figures, SPEED))
    far = f"{worst(apart):.1e}{beyond(worst(apart), 'bf16')}" if apart else ""
    speed, memory = (statistics.median(step["figures"][key] or 0 for step in of_side) for key in (SPEED, MEMORY))
    return [side + compiling(of_side[-1]["figures"]), f"{speed:,.0f}", median(faster, "**{:.2f}**"),
            median(composed, "{:.2f}"), f"{memory:,.0f}", median(part, "**{:.2f}**"), far, str(len(of_side))]


def median(values, form):
    return form.format(statistics.median(values)) if values else ""


def compiling(figures):
    if not figures.get("compile"):
        return ""
    again = figures.get("graphs_in_timed_steps")
    return f" ({figures['compile_seconds']:.0f} s before" + (f"; compiled {again} times while timed)" if again else ")")


def trace(results):
    step = results["steps"].get("time by operation", {})
    if "figures" not in step:
        return []
    return [f"Time by operation, {model(step['size'])}, batches of 64 rows as they come, bf16 (`--trace`):",
            f"```text\n{step['figures']['table']}\n```"]


def warnings(results):
    found = dict.fromkeys(line for step in results["steps"].values() for line in step.get("warnings", ()))
    return ["\n".join(f"- {line}" for line in found)] if found else []


def missing(results):
    blocks = []
    skipped = [name for name, step in results["steps"].items() if step["status"] == "skipped"]
    failed = {}
    for name, step in results["steps"].items():
        if step["status"] in ("failed", "timed out"):
            # Many fail of the same.
            failed.setdefault("\n".join(f"      {line}" for line in step["output"]), []).append(
                f"- {name}: {step['status']} after {step['seconds']:.0f} s")
    if failed:
        blocks.append("Not measured:")
        blocks += ["\n".join(names) + "\n\n" + output for output, names in failed.items()]
    if skipped and "no_gpu" not in results:
        groups = dict.fromkeys(name.split(": ")[0] for name in skipped)
        blocks += ["Skipped, for want of time (the same command goes on with them):",
                   "\n".join(f"- {group}" for group in groups)]
    return blocks


def model(size):
    return f"FLAN-T5-{size}"


def ratio(ours, its, key):
    return ours[key] / its[key] if ours[key] and its[key] else math.nan


def losses_apart(ours, peer):
    """The largest relative difference."""
    return worst([abs(a / b - 1) for a, b in zip(ours["losses"], peer["losses"])])


def worst(values):
    """The largest; NaN is larger than any."""
    return math.nan if any(map(math.isnan, values)) else max(values)


def beyond(apart, dtype):
    return "" if apart <= LIMITS[dtype] else f" (**more than {LIMITS[dtype]:.1%}**)"


def table(head, rows):
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def verdict(results):
    """The exit code: 1 if there is no GPU, or something failed."""
    bad = any(step["status"] in ("failed", "timed out") for step in results["steps"].values())
    return int(bad or "no_gpu" in results or check_of(results).get("failed", 0) > 0)


if __name__ == "__main__":
    with open(sys.argv[1], encoding="utf-8") as file:
        print(markdown(json.load(file)))
