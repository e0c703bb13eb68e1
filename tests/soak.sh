#!/usr/bin/env bash
# `eval` and `bench` over and over, with their descriptors, threads and resident memory sampled, workers included; fails
# where any of them grows. Ten minutes unless told otherwise: tests/soak.sh [SECONDS] [PROGRAM]
#
# `bench` runs once for the whole time, `eval` on as many images as take about as long: what leaks grows within a process.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${1:-600}
program=${2:-target/release/resnext-run}
builder=${program%/*}/resnext-build
if [ $# -lt 2 ]; then cargo build --release --package resnext-runner --package resnext-builder; fi
work=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

"$builder" --weights tests/trained/shapes.safetensors --labels tests/trained/labels.txt \
    --preprocess tests/trained/preprocess.json -o "$work/m.onnx" --quiet
# Names of the same few hundred images, so many that they last.
mkdir "$work/set"
python3 - tests/trained/heldout "$work/set" "${SOAK_IMAGES:-200}" <<'PY'
import os, sys
source, to, times = sys.argv[1], sys.argv[2], int(sys.argv[3])
for folder, _, names in os.walk(source):
    for name in names:
        if name.lower().endswith((".png", ".jpg", ".jpeg")):
            kind = os.path.join(to, os.path.basename(folder))
            os.makedirs(kind, exist_ok=True)
            for time in range(times):
                os.link(os.path.join(folder, name), os.path.join(kind, f"{time}-{name}")) if os.stat(folder).st_dev == os.stat(to).st_dev \
                    else os.symlink(os.path.abspath(os.path.join(folder, name)), os.path.join(kind, f"{time}-{name}"))
PY

again() { while :; do "$@" >"$work/out" 2>"$work/err" || { cat "$work/err" >&2; return 1; }; done; }
"$program" bench "$work/m.onnx" --duration "${seconds}s" --processes 1 -b 1,4 >"$work/bench" 2>&1 &
bench=$!
again "$program" eval "$work/m.onnx" "$work/set" &
eval=$!
python3 tests/soak.py "$seconds" bench=$bench eval=$eval
