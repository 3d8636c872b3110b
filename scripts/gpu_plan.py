"""What gpu_run.py measures, and in which order."""
import dataclasses
import json
import pathlib

ROOT = pathlib.Path(__file__).resolve().parent.parent
# What --only takes: the names of steps, and of groups of runs.
PARTS = ("check", "train", "parity", "trace", "base", "large", "compiled")
# Batches as rows come, and with rows of like length together: how their files' names end.
ORDERS = {"as they come": "", "grouped by length": "-sorted"}
COME, GROUPED = ORDERS


@dataclasses.dataclass(frozen=True)
class Side:
    """One way to train: its arguments, and how many seconds a run takes at least and at most."""

    name: str
    arguments: tuple
    least: int
    most: int
    peer: bool = True


def peer(attention, adapter, compiled=False):
    arguments = ("--attn", attention, "--adapter-dtype", {"f32": "float32", "bf16": "base"}[adapter])
    if compiled:
        return Side(f"{attention} compiled, adapter {adapter}", (*arguments, "--compile"), 50, 300)
    return Side(f"{attention}, adapter {adapter}", arguments, 8, 120)


OURS = Side("tallow", ("--kernels", "all"), 5, 90, peer=False)
COMPOSED = Side("tallow, composed kernels", ("--kernels", "composed"), 5, 90, peer=False)
EAGER32, SDPA32 = peer("eager", "f32"), peer("sdpa", "f32")
# The sides of a round. The first is what the others are compared with.
SETS = {
    "plain": [OURS, COMPOSED, SDPA32, EAGER32, peer("sdpa", "bf16"), peer("eager", "bf16")],
    "short": [OURS, COMPOSED, SDPA32, EAGER32],
    "compiled f32": [OURS, peer("sdpa", "f32", compiled=True)],
    "compiled bf16": [OURS, peer("sdpa", "bf16", compiled=True)],
}


@dataclasses.dataclass
class Plan:
    minutes: float
    # The training: its model's size, steps, rows to a batch, and rows that ROUGE is measured on.
    train: str
    train_steps: int
    train_batch: int
    rows: int
    # Timed steps by the model's size.
    steps: dict
    # ("group", size, order, set, round) and names of single steps, by importance.
    order: list
    warmup: int = 3
    parity_steps: int = 50
    check: tuple = ()
    peer_device: str = "cuda"
    batches: pathlib.Path = ROOT / "data" / "bench"
    dialogsum: pathlib.Path = ROOT / "data" / "dialogsum"

    def sizes(self):
        return list(dict.fromkeys([self.train, *self.steps]))

    def tried_out(self, work):
        """The same steps on tiny models and batches, with the peer on the CPU."""
        folder = work / "try-out"
        folder.mkdir(parents=True, exist_ok=True)
        for file in self.batches.glob("*.jsonl"):
            rows = 2 if "b64" in file.name else 1
            batches = [json.loads(line) for line in file.read_text().splitlines()[:4]]
            lines = [json.dumps({key: found[:rows] for key, found in batch.items()}) + "\n" for batch in batches]
            (folder / file.name).write_text("".join(lines))
        for file in self.dialogsum.glob("*.jsonl"):
            (folder / file.name).write_text("".join(file.read_text().splitlines(keepends=True)[:8]))
        order = [("group", "tiny", *item[2:]) if item[0] == "group" else item for item in self.order]
        return dataclasses.replace(
            self, train="tiny", train_steps=11, train_batch=2, rows=2, steps={"tiny": 2}, warmup=1, parity_steps=3,
            order=list(dict.fromkeys(order)), check=("--quick",), peer_device="cpu", batches=folder, dialogsum=folder)


def part_of(item):
    """The part that a step belongs to."""
    if item[0] != "group":
        return item[0]
    _, size, _, sides, _ = item
    if sides.startswith("compiled"):
        return "compiled"
    return size if size in PARTS else "base"


FULL = Plan(
    minutes=9, train="base", train_steps=300, train_batch=64, rows=128, steps={"base": 40, "large": 20},
    order=[
        ("train",),
        ("parity",),
        ("group", "base", COME, "plain", 1),
        ("group", "base", GROUPED, "plain", 1),
        ("trace",),
        ("group", "base", COME, "compiled f32", 1),
        ("group", "large", COME, "plain", 1),
        ("group", "base", COME, "plain", 2),
        ("group", "base", GROUPED, "plain", 2),
        ("group", "large", GROUPED, "plain", 1),
        ("group", "base", GROUPED, "compiled f32", 1),
        ("group", "base", COME, "plain", 3),
        ("group", "base", GROUPED, "plain", 3),
        ("group", "large", COME, "compiled f32", 1),
        ("group", "base", COME, "compiled bf16", 1),
        ("group", "base", GROUPED, "compiled bf16", 1),
        ("group", "large", COME, "plain", 2),
        ("group", "large", GROUPED, "plain", 2),
        ("group", "large", GROUPED, "compiled f32", 1),
        ("group", "large", COME, "compiled bf16", 1),
        ("group", "large", GROUPED, "compiled bf16", 1),
        ("group", "large", COME, "plain", 3),
        ("group", "large", GROUPED, "plain", 3),
    ],
)
QUICK = Plan(
    minutes=3, train="small", train_steps=40, train_batch=64, rows=32, steps={"base": 8}, check=("--quick",),
    order=[("train",), ("group", "base", COME, "short", 1), ("parity",), ("trace",)],
)
