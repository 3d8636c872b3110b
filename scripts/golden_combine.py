#!/usr/bin/env python3
"""Writes tests/golden/combine: two LoRA adapters of the tiny gated model, one of them of another scale, and what peft's
add_weighted_adapter makes of them and of the model's own golden adapter, by each method that draws nothing.

Usage: golden_combine.py
Needs: pip install torch transformers peft==0.21.2
"""
import pathlib

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import save_file
from transformers import T5ForConditionalGeneration

GOLDEN = pathlib.Path(__file__).parent.parent / "tests/golden"
BASE, LORA = GOLDEN / "tiny-gated/model", GOLDEN / "tiny-gated/adapters/lora"
OUT = GOLDEN / "combine"
WEIGHTS = [0.7, -0.4]


def base():
    return T5ForConditionalGeneration.from_pretrained(BASE, dtype=torch.float32)


def adapter(name, rank, alpha, targets):
    """An adapter with none of its values at its start."""
    model = get_peft_model(base(), LoraConfig(r=rank, lora_alpha=alpha, target_modules=targets, task_type="SEQ_2_SEQ_LM"))
    for parameter in model.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.2)
    model.peft_config["default"].base_model_name_or_path = "tiny-gated"
    model.save_pretrained(OUT / name)
    (OUT / name / "README.md").unlink(missing_ok=True)


def combined(other, name, **settings):
    """A and B of every layer, and the update that they make."""
    model = PeftModel.from_pretrained(base(), LORA, adapter_name="own")
    model.load_adapter(OUT / other, adapter_name="other")
    model.add_weighted_adapter(["own", "other"], WEIGHTS, "new", **settings)
    found = {}
    for path, module in model.base_model.model.named_modules():
        if hasattr(module, "lora_A") and "new" in module.lora_A:
            found[f"{path}.A"] = module.lora_A["new"].weight.detach().clone()
            found[f"{path}.B"] = module.lora_B["new"].weight.detach().clone()
            assert module.scaling["new"] == 1
    # Signs and order of singular vectors are anyone's: updates alone are compared there.
    if name.endswith("svd"):
        layers = {key.rsplit(".", 1)[0] for key in found}
        found = {f"{layer}.update": found[f"{layer}.B"] @ found[f"{layer}.A"] for layer in sorted(layers)}
    save_file({key: value.contiguous() for key, value in found.items()}, OUT / f"{name}.safetensors")


torch.manual_seed(5)
OUT.mkdir(exist_ok=True)
adapter("same_rank", 4, 6, ["q", "v"])
adapter("other_rank", 3, 12, ["q", "o"])
combined("same_rank", "linear", combination_type="linear")
combined("other_rank", "cat", combination_type="cat")
combined("other_rank", "svd", combination_type="svd", svd_rank=2)
combined("same_rank", "ties", combination_type="ties", density=0.4)
combined("other_rank", "ties_svd", combination_type="ties_svd", density=0.4, svd_rank=5)
