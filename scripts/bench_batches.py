#!/usr/bin/env python3
"""Writes the batches that `tallow bench` and bench_peft.py read, from DialogSum's JSON lines.

Prompts are those of the template `dialogue-summary`; rows come in file order, prompts cut to 512 tokens and
summaries to 128. One batch a line:
{"source": [[ids]], "target": [[ids]]}.

Usage: bench_batches.py ROWS TOKENIZER OUT [--rows 8] [--batches 64]
Needs: pip install tokenizers
"""
import argparse
import json

from tokenizers import Tokenizer

p = argparse.ArgumentParser()
p.add_argument("rows_file")
p.add_argument("tokenizer")
p.add_argument("out")
p.add_argument("--rows", type=int, default=8)
p.add_argument("--batches", type=int, default=64)
a = p.parse_args()
tokenizer = Tokenizer.from_file(a.tokenizer)
with open(a.rows_file, encoding="utf-8") as lines:
    rows = [json.loads(line) for line, _ in zip(lines, range(a.rows * a.batches))]


def ids(text, most=512):
    found = tokenizer.encode(text.rstrip()).ids
    return found if len(found) <= most else found[: most - 1] + found[-1:]


with open(a.out, "w", encoding="utf-8") as out:
    for start in range(0, len(rows), a.rows):
        batch = rows[start : start + a.rows]
        prompts = [f"Summarize the following conversation.\n\n{r['dialogue']}\n\nSummary:" for r in batch]
        source, target = [ids(x) for x in prompts], [ids(r["summary"], 128) for r in batch]
        out.write(json.dumps({"source": source, "target": target}, separators=(",", ":")) + "\n")
