"""The machine that gpu_run.py runs on, and how programs find their way on it."""
import glob
import gzip
import hashlib
import importlib.metadata
import os
import pathlib
import platform
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
BIN = ROOT / "bin"


def unpack():
    """Unpacks in place what was packed to be carried."""
    for packed in [path for part in ("bin", "data", "tokenizer") for path in (ROOT / part).rglob("*.gz")]:
        plain, when = packed.with_suffix(""), int(packed.stat().st_mtime)
        if plain.exists() and int(plain.stat().st_mtime) == when:
            continue
        part = plain.with_name(plain.name + ".part")
        with gzip.open(packed) as source, open(part, "wb") as target:
            shutil.copyfileobj(source, target)
        part.chmod(0o755 if packed.parent == BIN else 0o644)
        # tallow remembers what it found out about a GPU by the time of its own file.
        os.utime(part, (when, when))
        part.rename(plain)


def environment(work):
    """What programs are given: caches in the folder for work, no network, and the CUDA libraries that torch brings."""
    cache = work / "cache"
    own = {
        "XDG_CACHE_HOME": cache, "CUDA_CACHE_PATH": cache / "cuda", "TORCHINDUCTOR_CACHE_DIR": cache / "inductor",
        "TRITON_CACHE_DIR": cache / "triton", "HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        # So that the last lines of a failure are its message.
        "RUST_BACKTRACE": "0", "TRANSFORMERS_VERBOSITY": "error", "PYTHONWARNINGS": "ignore",
    }
    found = {**os.environ, **{key: str(value) for key, value in own.items()}}
    libraries = ":".join(folder for path in sys.path for folder in glob.glob(f"{path}/nvidia/*/lib"))
    if libraries and "CUDA_SHIM_PATH" not in found:
        found["CUDA_SHIM_PATH"] = libraries
        # For binaries that were linked with the libraries themselves.
        found["LD_LIBRARY_PATH"] = ":".join(filter(None, [found.get("LD_LIBRARY_PATH"), libraries]))
    return found


def describe():
    """What figures hold for: another one of these makes them others."""
    query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    try:
        said = subprocess.run(query, capture_output=True, text=True, timeout=60)
        gpus = [line.split(", ") for line in said.stdout.splitlines()] if said.returncode == 0 else []
    except (OSError, subprocess.TimeoutExpired):
        gpus = []
    gpu, driver, memory = next((gpu for gpu in gpus if len(gpu) == 3), (None, None, None))
    binaries = [hashlib.sha256((BIN / name).read_bytes()).hexdigest()[:16] for name in ("tallow", "gpu-check")]
    return {
        "gpu": gpu, "driver": driver, "gpu_memory": memory, "cpus": os.cpu_count(),
        "python": platform.python_version(),
        **{name: version(name) for name in ("torch", "transformers", "peft", "numpy")},
        "binaries": binaries,
    }


def lacking(names):
    return [name for name in names if version(name) is None]


def version(name):
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
