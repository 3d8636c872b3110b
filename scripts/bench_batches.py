#!/usr/bin/env python3
"""Writes the batches that `tallow bench` and bench_peft.py read, from DialogSum's JSON lines.

Prompts are those of the template `dialogue-summary`; rows come in file order, prompts cut to 512 tokens and
summaries to 128. One batch a line:
{"source": [[ids]], "target": [[ids]]}.

Usage: bench_batches.py ROWS TOKENIZER OUT [--rows 8] [--batches 64]
       [--grouped]  rows of like length share a batch, the batches in random order (the same one each time)
Needs: pip install tokenizers
"""
import argparse
import json
import random

from tokenizers import Tokenizer

p = argparse.ArgumentParser()
p.add_argument("rows_file")
p.add_argument("tokenizer")
p.add_argument("out")
p.add_argument("--rows", type=int, default=8)
p.add_argument("--batches", type=int, default=64)
p.add_argument("--grouped", action="store_true")
a = p.parse_args()
tokenizer = Tokenizer.from_file(a.tokenizer)
with open(a.rows_file, encoding="utf-8") as lines:
    rows = [json.loads(line) for line, _ in zip(lines, range(a.rows * a.batches))]


def ids(text, most=512):
    found = tokenizer.encode(text.rstrip()).ids
    return found if len(found) <= most else found[: most - 1] + found[-1:]


def tokens(row):
    prompt = f"Summarize the following conversation.\n\n{row['dialogue']}\n\nSummary:"
    return ids(prompt), ids(row["summary"], 128)


pairs = [tokens(row) for row in rows]
if a.grouped:
    pairs.sort(key=lambda pair: len(pair[0]))
batches = [pairs[start : start + a.rows] for start in range(0, len(pairs), a.rows)]
if a.grouped:
    random.Random(0).shuffle(batches)
with open(a.out, "w", encoding="utf-8") as out:
    for batch in batches:
        source, target = zip(*batch)
        out.write(json.dumps({"source": source, "target": target}, separators=(",", ":")) + "\n")
