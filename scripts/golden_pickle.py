#!/usr/bin/env python3
"""Writes tests/golden/pickle: tensors as torch.save writes them, and as safetensors has them.

Usage: golden_pickle.py FOLDER
Needs: pip install torch safetensors
"""
import collections
import pathlib
import sys

import torch
from safetensors.torch import save_file

folder = pathlib.Path(sys.argv[1])
folder.mkdir(parents=True, exist_ok=True)
torch.manual_seed(0)
shared = torch.randn(6, 4)
tensors = collections.OrderedDict(
    {
        "shared.weight": shared,
        # The same storage under another name, and a part of it.
        "encoder.embed_tokens.weight": shared,
        "part": shared[2:5],
        # As numpy's transposed arrays come.
        "transposed": torch.randn(3, 5).t(),
        "norm": torch.nn.Parameter(torch.randn(7)),
        "bf16": torch.randn(2, 3).to(torch.bfloat16),
        "f16": torch.randn(2, 3).to(torch.float16),
        "scalar": torch.tensor(2.5),
    }
)
torch.save(tensors, folder / "tensors.bin")
save_file({name: tensor.detach().contiguous().clone() for name, tensor in tensors.items()}, folder / "tensors.safetensors")
torch.save({"position_ids": torch.arange(4)}, folder / "integers.bin")
torch.save({"columns": shared[:, 1:3]}, folder / "strided.bin")
torch.save({"state_dict": {"norm": torch.ones(2)}}, folder / "nested.bin")
torch.save({"norm": torch.ones(2)}, folder / "old.bin", _use_new_zipfile_serialization=False)
