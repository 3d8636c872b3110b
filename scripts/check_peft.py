#!/usr/bin/env python3
"""Checks an adapter and its export in Python: the base with the adapter, as peft loads it, and the folder
that `tallow export` wrote, as transformers loads it, must give the same logits. Exits with 1 if they differ
by more than 1e-4 of the largest logit, or if the adapter changes nothing.

Usage: check_peft.py MODEL ADAPTER MERGED
Needs: pip install torch transformers peft
"""
import sys

import torch
from peft import PeftModel
from transformers import T5ForConditionalGeneration

if len(sys.argv) != 4:
    sys.exit(__doc__.strip())
base_path, adapter_path, merged_path = sys.argv[1:]


def load(path):
    return T5ForConditionalGeneration.from_pretrained(path, dtype=torch.float32).eval()


torch.manual_seed(0)
base = load(base_path)
vocabulary = base.config.vocab_size
# Rows of several lengths, each alone, so that no padding takes part.
rows = [
    [torch.cat([torch.randint(2, vocabulary, (1, length - 1)), torch.tensor([[1]])], 1) for length in lengths]
    for lengths in [(5, 3), (40, 12), (130, 30), (2, 1)]
]


@torch.no_grad()
def logits(model):
    return torch.cat([model(input_ids=source, labels=target).logits.flatten(0, 1) for source, target in rows])


plain = logits(base)
adapted = logits(PeftModel.from_pretrained(base, adapter_path).eval())
merged = logits(load(merged_path))
largest, change = adapted.abs().max().item(), (adapted - plain).abs().max().item()
difference = (adapted - merged).abs().max().item()
print(f"largest logit {largest:.4g}, changed by the adapter by up to {change:.4g}")
print(f"largest difference between peft and the export {difference:.3g}, relative {difference / largest:.3g}")
# Written so that NaN fails.
sys.exit(0 if change > 1e-3 and difference <= 1e-4 * largest else 1)
