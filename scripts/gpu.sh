#!/usr/bin/env bash
# gpu.sh [DIR] [--rows FOLDER] [--batches FOLDER] [--tokenizer FILE]
#
# Makes a folder (default: gpu) that checks and measures tallow on another machine: one with an NVIDIA GPU, and Python
# with torch, transformers and peft. It needs no network there, no compiler and no CUDA toolkit: `bash run.sh` in the
# folder is all.
#
#   --rows       DialogSum's JSON lines, dialogsum.{train,dev,test}.jsonl    [default: ../shared/data/dialogsum]
#   --batches    files as scripts/bench_batches.py writes them, dialogsum-{b8,b64}{,-sorted}.jsonl
#                [default: ../shared/data/bench if it is there, else they are made from the rows]
#   --tokenizer  T5's tokenizer.json                         [default: ../shared/data/tokenizer/tokenizer.json]
#
# Builds with the nvcc that $NVCC names or that is on the PATH, else with that of scripts/cuda-toolkit.sh; in
# target/gpu, or where CARGO_TARGET_DIR says. DialogSum's licence (CC BY-NC-SA) forbids committing its rows, so git
# has to ignore DIR where it lies in this repository.
set -euo pipefail
here=$PWD
cd "$(dirname "$0")/.."

# What can be carried to such machines is often limited.
most_mib=60
marker=.made-by-gpu.sh

fail() {
    echo "gpu.sh: $*" >&2
    exit 1
}

# A path as it was meant where the script was called.
there() { case $1 in /*) echo "$1" ;; *) echo "$here/$1" ;; esac }

dir='' rows='' batches='' tokenizer=''
while [ $# -gt 0 ]; do
    case $1 in
    --rows | --batches | --tokenizer)
        [ $# -gt 1 ] || fail "$1 takes a path"
        printf -v "${1#--}" %s "$(there "$2")"
        shift 2
        ;;
    -h | --help)
        sed -n '2,/^set /s/^# \{0,1\}//p' scripts/gpu.sh
        exit
        ;;
    -*) fail "no option is called $1" ;;
    *)
        [ -z "$dir" ] || fail "one folder is expected, and $dir and $1 are given"
        dir=$(there "$1")
        shift
        ;;
    esac
done
dir=${dir:-$PWD/gpu}
rows=${rows:-../shared/data/dialogsum}
tokenizer=${tokenizer:-../shared/data/tokenizer/tokenizer.json}
if [ -z "$batches" ] && [ -d ../shared/data/bench ]; then batches=../shared/data/bench; fi

if [ -e "$dir" ] && [ ! -e "$dir/$marker" ] && [ -n "$(ls -A "$dir")" ]; then
    fail "$dir is there already and was not made by this script: name another folder, or remove it"
fi
ignored=0
git check-ignore -q "$dir/data" 2>/dev/null || ignored=$?
# 128: outside of this repository.
[ "$ignored" != 1 ] || fail "$dir lies in this repository and git does not ignore it: DialogSum's rows must not go there"
for part in train dev test; do
    [ -f "$rows/dialogsum.$part.jsonl" ] ||
        fail "$rows/dialogsum.$part.jsonl is not there: name the folder with DialogSum's rows by --rows"
done
for name in dialogsum-{b8,b64}{,-sorted}.jsonl; do
    [ -z "$batches" ] || [ -f "$batches/$name" ] || fail "$batches/$name is not there"
done
[ -f "$tokenizer" ] || fail "$tokenizer is not there: name T5's tokenizer.json by --tokenizer"

if [ -z "${NVCC:-}" ] && ! command -v nvcc >/dev/null; then
    environment=$(scripts/cuda-toolkit.sh)
    eval "$environment"
fi
target=${CARGO_TARGET_DIR:-target/gpu}
CUDA_FAST_QUANT=${CUDA_FAST_QUANT:-1} cargo build --release --locked --features tallow/cuda,tallow-checks/cuda \
    -p tallow -p tallow-checks --target-dir "$target"

# Only what this script makes is removed: results may lie beside it.
parts=(bin configs data run.sh scripts tests tokenizer)
mkdir -p "$dir"
: >"$dir/$marker"
(cd "$dir" && rm -rf "${parts[@]}")
mkdir -p "$dir"/{bin,configs,data/{bench,dialogsum},scripts,tests,tokenizer}

for binary in tallow gpu-check; do
    strip -o "$dir/bin/$binary" "$target/release/$binary"
done
glibc=$(objdump -T "$dir"/bin/* | grep -o 'GLIBC_[0-9.]*' | sort -uV | tail -n 1)
cp -r tests/golden "$dir/tests/"
cp -r data/quickstart "$dir/data/"
cp configs/dialogsum.toml "$dir/configs/"
cp scripts/{gpu_*,random_flan,bench_peft}.py "$dir/scripts/"
cp scripts/gpu_run.sh "$dir/run.sh"
cp "$tokenizer" "$dir/tokenizer/tokenizer.json"
cp "$rows"/dialogsum.{train,dev,test}.jsonl "$dir/data/dialogsum/"
for size in 8 64; do
    # As many as the figures in docs/benchmarks.md were measured on.
    count=$((size == 8 ? 64 : 40))
    for order in '' -sorted; do
        name=dialogsum-b$size$order.jsonl
        if [ -n "$batches" ]; then
            cp "$batches/$name" "$dir/data/bench/"
        else
            "${PYTHON:-python3}" scripts/bench_batches.py "$rows/dialogsum.train.jsonl" "$tokenizer" \
                "$dir/data/bench/$name" --rows $size --batches $count ${order:+--grouped}
        fi
    done
done
# run.sh unpacks them in place.
gzip -9 "$dir"/bin/* "$dir"/data/{bench,dialogsum}/* "$dir/tokenizer/tokenizer.json"
chmod -R u+w "$dir"

bytes=$(cd "$dir" && du -cb "${parts[@]}" | tail -n 1 | cut -f 1)
mib() { awk -v bytes="$1" 'BEGIN { printf "%6.1f MiB", bytes / 1048576 }'; }
echo "$dir:"
(cd "$dir" && du -bs run.sh bin configs data/* scripts tests/golden tokenizer) |
    while IFS=$'\t' read -r size name; do echo "  $(mib "$size")  $name"; done
echo "  $(mib "$bytes")  in all, of $most_mib"
[ "$bytes" -lt $((most_mib * 1048576)) ] ||
    fail "$dir is larger than $most_mib MiB: give fewer training rows by --rows, or smaller batches by --batches"
cat <<EOF

Carry it to a machine with an NVIDIA GPU, a Python with torch, transformers and peft, and a glibc from ${glibc#GLIBC_} on:

    bash run.sh --quick [OUT]     # three minutes: do the kernels compute what they should, and how fast about?
    bash run.sh [OUT]             # nine minutes; the same command again goes on where the time ran out
    bash run.sh --help

It leaves OUT/results.md, a table for docs/benchmarks.md, and OUT/results.json (OUT: ./results).
EOF
