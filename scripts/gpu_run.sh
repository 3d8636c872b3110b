#!/usr/bin/env bash
# To be run as run.sh in a folder that scripts/gpu.sh made.
exec "${PYTHON:-python3}" "$(dirname "$0")/scripts/gpu_run.py" "$@"
