#!/usr/bin/env python3
"""Writes beams.json of golden folders: what beam search gives for the folder's batch, over many settings; the settings
have the names of GenerationOptions, and the rows stand without the start token, the end token and padding.

Usage: golden_beams.py FOLDER...
Needs: pip install torch transformers safetensors
"""
import itertools
import json
import pathlib
import sys

import torch
from safetensors.torch import load_file
from transformers import T5ForConditionalGeneration

GRID = [
    {"num_beams": beams, "length_penalty": penalty, "early_stopping": stopping}
    for beams, penalty, stopping in itertools.product((2, 4, 7), (-1.0, 0.0, 0.6, 2.0), (True, False, "never"))
]
GRID += [{"num_beams": 3, **more} for more in ({"min_new_tokens": 6}, {"no_repeat_ngram_size": 2},
                                               {"repetition_penalty": 1.3}, {"max_new_tokens": 1})]


def until_end(row, end):
    row = row[1:]
    return row[:row.index(end)] if end in row else row


for folder in map(pathlib.Path, sys.argv[1:]):
    model = T5ForConditionalGeneration.from_pretrained(folder / "model").eval()
    batch = load_file(folder / "batch.safetensors")
    found = []
    for settings in GRID:
        settings = {"max_new_tokens": 12, **settings}
        with torch.no_grad():
            rows = model.generate(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], do_sample=False,
                                  **settings).tolist()
        found.append({"settings": settings, "rows": [until_end(row, model.config.eos_token_id) for row in rows]})
    lines = ",\n".join(json.dumps(one) for one in found)
    (folder / "beams.json").write_text(f"[\n{lines}\n]\n")
    print(f"{folder}: {len(found)} settings")
