"""The steps that gpu_run.py has taken, and how one is taken: in time, and written down whatever comes of it."""
import datetime
import json
import sys
import time

import gpu_machine
import gpu_report
from gpu_processes import Process

# Steps that ended so are not tried again.
FINAL = ("done", "out of memory")
OUT_OF_MEMORY = ("out of memory", "out_of_memory", "outofmemory")


class Steps:
    """Goes on from OUT/results.json, if that is there."""

    def __init__(self, out, work, minutes, mode):
        self.out = out
        self.begin = time.monotonic()
        self.deadline = self.begin + 60 * minutes
        self.environment = gpu_machine.environment(work)
        self.results = {"machine": gpu_machine.describe(), **mode, "calls": [], "steps": {}}
        file = out / "results.json"
        if file.exists():
            found = json.loads(file.read_text())
            if any(found.get(key) != self.results[key] for key in ("machine", *mode)):
                sys.exit(f"run.sh: {out} holds results of another machine, build or mode: name another folder")
            self.results = found
        # Now there may be one.
        self.results.pop("no_gpu", None)
        now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
        self.results["calls"].append({"began": now, "minutes": minutes})
        self.steps = self.results["steps"]

    def start(self, command):
        return Process(command, self.environment, gpu_machine.ROOT)

    def left(self):
        return self.deadline - time.monotonic()

    def write(self):
        """Writes what was found so far, each file whole at any time."""
        self.results["calls"][-1]["seconds"] = round(time.monotonic() - self.begin, 1)
        texts = {"results.json": json.dumps(self.results, indent=1), "results.md": gpu_report.markdown(self.results)}
        for name, text in texts.items():
            part = self.out / f"{name}.part"
            part.write_text(text + "\n")
            part.rename(self.out / name)

    def status(self, name):
        return self.steps.get(name, {}).get("status")

    def step(self, name, start, least, most, figures=Process.json, failing=False, **about):
        """Takes a step, unless it was taken before or less than `least` seconds are left, and gives its record.
        `start` gives its process; `figures` reads what that found, `failing`: also where it did not end well."""
        known = self.steps.pop(name, None)
        if known and known["status"] in FINAL:
            record = known
        elif "no_gpu" not in self.results and self.left() >= least:
            try:
                record = self.take(name, start(), min(most, self.left()), figures, failing)
            except OSError as error:
                record = {"status": "failed", "seconds": 0, "output": [str(error)]}
            record = {**about, **record}
        else:
            # What it failed of before says more.
            record = known or {**about, "status": "skipped"}
        self.steps[name] = record
        self.write()
        return record

    def take(self, name, process, most, figures, failing):
        well = process.wait(most)
        found = figures(process) if well or failing else None
        output, errors = process.output(), process.errors()
        record = {"status": "done", "seconds": round(process.seconds, 1), "command": plain(process.command)}
        if found is not None:
            record["figures"] = found
        elif process.late:
            record["status"] = "timed out"
        elif any(words in (output + errors).lower() for words in OUT_OF_MEMORY):
            record["status"] = "out of memory"
        else:
            record.update(status="failed", exit=process.process.returncode)
        if record["status"] != "done":
            record["output"] = process.tail()
        if "CUDA_ERROR_NO_DEVICE" in errors:
            self.results["no_gpu"] = "no CUDA device"
        warnings = [line for line in errors.splitlines() if line.startswith("warning:")]
        if warnings:
            record["warnings"] = warnings
        with open(self.out / "output.log", "a") as log:
            log.write(f"== {name}: {record['status']}\n{' '.join(process.command)}\n{output}{errors}\n")
        rate = (found or {}).get("real_tokens_per_s")
        rate = f", {rate:,.0f} tokens/s" if rate else ""
        at = time.monotonic() - self.begin
        print(f"{at:5.0f} s  {record['status']:<13} {name}: {record['seconds']:.0f} s{rate}", flush=True)
        return record


def plain(command):
    """A command without the folders of this machine."""
    return " ".join(command).replace(f"{gpu_machine.ROOT}/", "").replace(sys.executable, "python3")
