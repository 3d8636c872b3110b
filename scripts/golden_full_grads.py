#!/usr/bin/env python3
"""Writes full_grads.safetensors of golden folders again: d loss / d parameter of every tensor of the base,
from the folder's own model and batch, with no gradient left over from elsewhere.

Usage: golden_full_grads.py FOLDER...
Needs: pip install torch transformers safetensors
"""
import pathlib
import sys

from safetensors.torch import load_file, save_file
from transformers import T5ForConditionalGeneration

for folder in map(pathlib.Path, sys.argv[1:]):
    model = T5ForConditionalGeneration.from_pretrained(folder / "model").eval()
    model.zero_grad(set_to_none=True)
    model(**load_file(folder / "batch.safetensors")).loss.backward()
    gradients = {name: p.grad.contiguous() for name, p in model.named_parameters()}
    save_file(gradients, folder / "full_grads.safetensors")
    print(f"{folder}: {len(gradients)} gradients")
