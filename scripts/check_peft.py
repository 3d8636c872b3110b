#!/usr/bin/env python3
"""Trains an adapter of every kind with tallow and checks each in Python: the losses over random rows have to be those that
`tallow bench` finds with the same adapter, to 1e-4, and the adapter has to change them. Where the adapter can be merged,
the folder that `tallow export` writes has to give them too, as transformers loads it.

peft loads its own kinds; weights that tallow alone selects are put in the base by their names, as the model card says;
bottleneck adapters are loaded by AdapterHub's library, which wants an older transformers: run this in an environment with
`pip install torch adapters` for them. A kind whose library is not there is named and passed over.

Usage: check_peft.py [--tallow target/release/tallow] [--base data/quickstart/base] [KIND...]
Needs: pip install torch transformers peft
"""
import argparse
import importlib.util
import json
import pathlib
import subprocess
import sys
import tempfile

import torch
from safetensors.torch import load_file
from transformers import T5ForConditionalGeneration

LORA = 'kind="lora", rank=4, alpha=8'
KINDS = {
    "lora": "{" + LORA + "}",
    "lora-patterns": "{" + LORA + ', target_modules="all-linear", layers=[0], exclude_modules=["wo"], '
    'rank_pattern={"SelfAttention.q"=2}, alpha_pattern={v=3.5}, modules_to_save=["final_layer_norm"]}',
    "lora-head": "{" + LORA + ', target_modules=["q", "lm_head"]}',
    "lora-embeddings": "{" + LORA + ', target_modules=["embed_tokens"]}',
    "lora-tokens": "{" + LORA + ", trainable_token_indices=[5, 7]}",
    "rslora": "{" + LORA + ", use_rslora=true}",
    "pissa": "{" + LORA + ', init_lora_weights="pissa"}',
    "olora": "{" + LORA + ', init_lora_weights="olora", use_rslora=true}',
    "dora": '{kind="dora", rank=4, alpha=8}',
    "ia3": '{kind="ia3"}',
    "prompt": '{kind="prompt", num_virtual_tokens=8}',
    "prefix": '{kind="prefix", num_virtual_tokens=8}',
    "norms": '{kind="selective", weights=["layer_norm"]}',
    "blocks": '{kind="selective", last_blocks=1}',
    "bottleneck": '{kind="bottleneck"}',
    "bottleneck-output": '{kind="bottleneck", reads="output", after=["attention", "cross_attention", "feed_forward"]}',
}

parser = argparse.ArgumentParser(usage=__doc__.split("Usage: ")[1].split("\n")[0])
parser.add_argument("--tallow", default="target/release/tallow")
parser.add_argument("--base", default="data/quickstart/base")
parser.add_argument("kinds", nargs="*", metavar="KIND")
options = parser.parse_args()
unknown = set(options.kinds) - set(KINDS)
if unknown:
    sys.exit(f"unknown: {', '.join(sorted(unknown))}; known are {', '.join(KINDS)}")


def tallow(*arguments):
    done = subprocess.run([options.tallow, *map(str, arguments)], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"tallow {' '.join(map(str, arguments))}:\n{done.stderr}")
    return done.stdout


def load(path):
    model = T5ForConditionalGeneration.from_pretrained(path, dtype=torch.float32)
    own = pathlib.Path(path, "model.safetensors")
    # transformers 4 ties a head that the file has for itself.
    if own.is_file() and "lm_head.weight" in (tensors := load_file(own)):
        model.lm_head.weight = torch.nn.Parameter(tensors["lm_head.weight"].clone())
    return model.eval()


torch.manual_seed(0)
base = load(options.base)
vocabulary = base.config.vocab_size
# A row each, so that no padding takes part.
LENGTHS = [(5, 3), (40, 12), (90, 30), (2, 1)]
rows = [
    [torch.cat([torch.randint(2, vocabulary, (1, length - 1)), torch.tensor([[1]])], 1) for length in lengths]
    for lengths in LENGTHS
]


@torch.no_grad()
def losses(model):
    return torch.tensor([model(input_ids=source, labels=target).loss.item() for source, target in rows])


def adapted(folder):
    """The base with an adapter, by whichever library reads it."""
    config = json.loads((folder / "adapter_config.json").read_text())
    kind = config.get("peft_type")
    if kind is None:
        import adapters

        model = load(options.base)
        adapters.init(model)
        model.load_adapter(str(folder), set_active=True, use_safetensors=True)
        return model.eval()
    if kind == "TALLOW_SELECTIVE":
        model = load(options.base)
        left = model.load_state_dict(load_file(folder / "adapter_model.safetensors"), strict=False)
        assert not left.unexpected_keys, left
        return model
    from peft import PeftModel

    return PeftModel.from_pretrained(load(options.base), str(folder)).eval()


def far(found, wanted):
    return ((found - wanted).abs() / wanted.abs()).max().item()


def saved_by_peft():
    """Adapters that peft makes, moved off their initial values: a name and what peft is asked for."""
    if importlib.util.find_spec("peft") is None:
        return {}
    import peft

    common = dict(task_type="SEQ_2_SEQ_LM")
    lora = dict(r=4, lora_alpha=8, **common)
    return {
        "lora": peft.LoraConfig(target_modules=["q", "v"], **lora),
        "lora-layers": peft.LoraConfig(target_modules=["q"], layers_to_transform=[1], layers_pattern="block", **lora),
        "lora-last-number": peft.LoraConfig(target_modules=["q", "wo"], layers_to_transform=1, **lora),
        "lora-head": peft.LoraConfig(target_modules=["lm_head"], **lora),
        "lora-embeddings": peft.LoraConfig(target_modules=["embed_tokens", "v"], **lora),
        "lora-all": peft.LoraConfig(target_modules="all-linear", exclude_modules=r".*\.wo", use_rslora=True, **lora),
        "lora-saved": peft.LoraConfig(target_modules=["q"], modules_to_save=["lm_head", "layer_norm"], **lora),
        "dora": peft.LoraConfig(target_modules=["q", "wi_0"], use_dora=True, **lora),
        "ia3": peft.IA3Config(target_modules=["k", "v", "wo"], feedforward_modules=["wo"], **common),
        "prompt": peft.PromptTuningConfig(num_virtual_tokens=6, **common),
        "prefix": peft.PrefixTuningConfig(num_virtual_tokens=6, **common),
        "norms": peft.LNTuningConfig(**common),
    }


def moved(config):
    """The base with a fresh adapter, every value of it moved."""
    import peft

    model = peft.get_peft_model(load(options.base), config).eval()
    with torch.no_grad():
        for p in model.parameters():
            if p.requires_grad:
                p.add_(0.1 * torch.randn_like(p))
    return model


def timed(folder, batches):
    """tallow's losses with an adapter."""
    command = ["bench", options.base, batches, "--adapter", folder, "--steps", len(rows), "--warmup", 0, "--lr", 0]
    return torch.tensor(json.loads(tallow(*command).splitlines()[-1])["losses"])


plain, failed = losses(base), []
print(f"{'kind':<20}{'changed by':>12}{'Python':>12}{'exported':>12}")
with tempfile.TemporaryDirectory() as place:
    place = pathlib.Path(place)
    batches = place / "batches.jsonl"
    batches.write_text(
        "".join(json.dumps({"source": source.tolist(), "target": target.tolist()}) + "\n" for source, target in rows)
    )
    for name in options.kinds or KINDS:
        library = "adapters" if name.startswith("bottleneck") else "peft"
        if importlib.util.find_spec(library) is None:
            print(f"{name:<20}passed over: there is no {library} here")
            continue
        quick = ["training.epochs=1", "training.learning_rate=0.01", "training.evaluate_every=0"]
        quick += ["evaluation.before_rows=0", "evaluation.rows=1", f"output={place}/runs", f"name={name}"]
        tallow("train", "configs/quickstart.toml", f"method={KINDS[name]}", f"model.path={options.base}", *quick)
        folder = place / "runs" / name / "adapter"
        ours = timed(folder, batches)
        change, python = far(ours, plain), float("nan")
        try:
            python = far(losses(adapted(folder)), ours)
        except Exception as error:
            print(f"{name}: {type(error).__name__}: {error}")
        try:
            tallow("export", "--model", options.base, "--adapter", folder, place / f"{name}-merged")
            exported = far(losses(load(place / f"{name}-merged")), ours)
        except RuntimeError as error:
            if "merged" not in str(error):
                raise
            exported = None
        # Written so that NaN fails.
        good = change > 1e-3 and python <= 1e-4 and (exported is None or exported <= 1e-4)
        failed += [] if good else [name]
        shown = "no" if exported is None else f"{exported:.1e}"
        print(f"{name:<20}{change:>12.1e}{python:>12.1e}{shown:>12}{'' if good else '  FAILED'}", flush=True)
    if not options.kinds:
        print(f"\n{'made by peft':<20}{'changed by':>12}{'read here':>12}")
    for name, config in {} if options.kinds else saved_by_peft().items():
        model = moved(config)
        model.save_pretrained(place / "peft" / name)
        theirs = losses(model)
        change, here = far(theirs, plain), float("nan")
        try:
            here = far(timed(place / "peft" / name, batches), theirs)
        except RuntimeError as error:
            print(f"{name}: {error}")
        good = change > 1e-3 and here <= 1e-4
        failed += [] if good else [f"{name} by peft"]
        print(f"{name:<20}{change:>12.1e}{here:>12.1e}{'' if good else '  FAILED'}", flush=True)
sys.exit(f"failed: {', '.join(failed)}" if failed else 0)
