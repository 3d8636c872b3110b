#!/usr/bin/env python3
"""The peer of `tallow bench --generate`: text by torch + transformers (+ peft) for the sources of fixed batches, padded
to the longest of a batch as its tokenizer does. Prints one JSON object.

Usage: bench_generate.py MODEL BATCHES [--generate 64] [--beams 1] [--steps 12] [--warmup 3] [--adapter DIR]
       [--device cpu|cuda] [--dtype float32|bfloat16] [--attn eager|sdpa] [--threads N]
Needs: pip install torch transformers peft
"""
import argparse
import json
import resource
import time

import torch
import transformers
from transformers import T5ForConditionalGeneration

p = argparse.ArgumentParser()
p.add_argument("model")
p.add_argument("batches")
p.add_argument("--generate", type=int, default=64)
p.add_argument("--beams", type=int, default=1)
p.add_argument("--steps", type=int, default=12)
p.add_argument("--warmup", type=int, default=3)
p.add_argument("--adapter")
p.add_argument("--device", default="cpu")
p.add_argument("--dtype", default="float32")
p.add_argument("--attn", default="sdpa")
p.add_argument("--threads", type=int, default=0)
a = p.parse_args()
if a.threads:
    torch.set_num_threads(a.threads)
model = T5ForConditionalGeneration.from_pretrained(a.model, dtype=getattr(torch, a.dtype), attn_implementation=a.attn)
if a.adapter:
    from peft import PeftModel
    model = PeftModel.from_pretrained(model, a.adapter)
model.to(a.device).eval()
end, pad = model.config.eos_token_id, model.config.pad_token_id


def answers(sources):
    longest = max(map(len, sources))
    ids = torch.tensor([row + [pad] * (longest - len(row)) for row in sources], device=a.device)
    mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in sources], device=a.device)
    with torch.inference_mode():
        rows = model.generate(input_ids=ids, attention_mask=mask, max_new_tokens=a.generate, num_beams=a.beams,
                              do_sample=False).tolist()
    return [row[1:row.index(end, 1) if end in row[1:] else None] for row in rows]


lines = open(a.batches).read().splitlines()
seconds, generated, outputs = 0.0, 0, []
for step in range(a.warmup + a.steps):
    sources = json.loads(lines[step % len(lines)])["source"]
    begin = time.perf_counter()
    rows = answers(sources)
    if step >= a.warmup:
        seconds += time.perf_counter() - begin
        generated += sum(map(len, rows))
    outputs.append(rows)
peak = torch.cuda.max_memory_allocated() if a.device.startswith("cuda") else \
    resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(json.dumps({
    "peer": f"transformers {transformers.__version__}", "torch": torch.__version__, "device": a.device,
    "dtype": a.dtype, "beams": a.beams, "steps": a.steps, "seconds": round(seconds, 3), "new_tokens": generated,
    "new_tokens_per_s": round(generated / seconds, 1), "peak_memory_mb": round(peak / 1e6), "outputs": outputs,
}))
