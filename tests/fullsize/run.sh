#!/usr/bin/env bash
# The whole chain on full-size networks, in a venv of its own. About 6 GB of packages and 3 GB of checkpoints under
# target/, 10 to 20 minutes the first time.
set -euo pipefail
cd "$(dirname "$0")/../.."

work=target/fullsize
if [ ! -x $work/venv/bin/python ]; then
    python3 -m venv $work/venv
    $work/venv/bin/python -m pip install --quiet --requirement tests/fullsize/requirements.txt
fi
cargo build --release --package resnext-builder
[ -f $work/files/resnet50.safetensors ] || $work/venv/bin/python tests/fullsize/checkpoints.py $work/files
$work/venv/bin/python tests/fullsize/check.py target/release/resnext-build $work/files
$work/venv/bin/python benches/whole_process.py target/release/resnext-build $work/files
