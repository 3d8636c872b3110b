#!/usr/bin/env python3
"""Adds AdapterHub's bottleneck adapters to a golden folder: the adapter's own folder, as its library saves it, logits and
loss with it, and its gradients, under the saved names.

Usage: golden_bottleneck.py FOLDER...
Needs an environment of its own: pip install torch adapters
"""
import pathlib
import shutil
import sys

import adapters
import torch
from adapters import BnConfig
from safetensors.torch import load_file, save_file
from transformers import T5ForConditionalGeneration

if len(sys.argv) < 2:
    sys.exit(__doc__.strip())

PLAIN = dict(reduction_factor=8, non_linearity="relu", output_adapter=True)
KINDS = {
    "bottleneck": BnConfig(mh_adapter=False, original_ln_before=True, **PLAIN),
    "bottleneck_output": BnConfig(mh_adapter=True, cross_adapter=True, original_ln_before=False, **PLAIN),
}

for folder in map(pathlib.Path, sys.argv[1:]):
    batch = load_file(folder / "batch.safetensors")
    for seed, (name, config) in enumerate(KINDS.items()):
        model = T5ForConditionalGeneration.from_pretrained(folder / "model")
        weights = load_file(folder / "model" / "model.safetensors")
        if "lm_head.weight" in weights:
            model.lm_head.weight = torch.nn.Parameter(weights["lm_head.weight"].clone())
        adapters.init(model)
        model.add_adapter("golden", config=config)
        model.train_adapter("golden")
        model.set_active_adapters("golden")
        model.eval()
        generator = torch.Generator().manual_seed(seed)
        trained = {key: p for key, p in model.named_parameters() if ".adapters.golden." in key}
        with torch.no_grad():
            for p in trained.values():
                p.add_(0.1 * torch.randn(p.shape, generator=generator))
        result = model(**batch)
        result.loss.backward()
        out = folder / "adapters" / name
        shutil.rmtree(out, ignore_errors=True)
        model.save_adapter(str(out), "golden", with_head=False, use_safetensors=True)
        logits = dict(logits=result.logits.detach().contiguous(), loss=result.loss.detach().reshape(1))
        save_file(logits, folder / "adapters" / f"{name}.out.safetensors")
        grads = {key: p.grad.contiguous() for key, p in trained.items()}
        save_file(grads, folder / "adapters" / f"{name}.grads.safetensors")
        print(folder.name, name, f"loss {result.loss.item():.6f}", sorted(path.name for path in out.iterdir()))
