#!/usr/bin/env bash
# Other stacks on bundles of these programs, from the bundle alone: pinned versions in environments of their own, on first
# use installed into FOLDER. Writes FOLDER/matrix.json and FOLDER/table.md, and fails where a cell is worse than in
# tests/interop/matrix.json. `tests/interop/run.sh [PROGRAMS] [FOLDER]`, by default target/release and target/interop.
# Needs python3.11, node and a network for the first run; a stack that cannot be installed is a cell that was not run.
set -euo pipefail
cd "$(dirname "$0")/../.."
here=$PWD/tests/interop
programs=$(realpath -m "${1:-target/release}")
place=$(realpath -m "${2:-target/interop}")
[ -x "$programs/resnext-build" ] || cargo build --release --workspace --bins --quiet
mkdir -p "$place"
venv() {
    [ -x "$place/$1/bin/python" ] && return
    python3.11 -m venv "$place/$1" && "$place/$1/bin/pip" install --quiet -r "$here/$2" || rm -rf "${place:?}/$1"
}
venv stacks requirements.txt
venv hf requirements-optimum.txt
mkdir -p "$place/node"
cp "$here/package.json" "$here/cell.mjs" "$place/node/"
[ -d "$place/node/node_modules/@huggingface" ] || (cd "$place/node" && npm install --ignore-scripts --silent)

files=$place/bundles
rm -rf "$files"
mkdir "$files"
bundle() {
    local name=$1
    shift
    "$programs/resnext-build" --variant 26_32x4d --image-size 64 --num-classes 10 --seed 1 -q -o "$files/$name.onnx" "$@"
    "$programs/resnext-build" bundle "$files/$name.onnx" -o "$files/$name" --name "$name" -q
}
bundle f32
bundle batch1 --batch 1
bundle opset13 --opset 13
bundle f16 --dtype f16 --keep-io-types
bundle features --outputs logits,c3
bundle pixels --input-type u8 --softmax

cells=$place/cells
: >"$cells"
for bundle in "$files"/*/; do
    for stack in onnxruntime onnx.reference openvino opencv onnxslim; do
        "$place/stacks/bin/python" "$here/cell.py" $stack "$bundle" 2>/dev/null >>"$cells" || true
    done
    [ -d "$bundle/huggingface" ] || continue
    "$place/hf/bin/python" "$here/cell.py" optimum "$bundle" 2>/dev/null >>"$cells" || true
    node "$place/node/cell.mjs" "$bundle" 2>/dev/null >>"$cells" || true
done
"$place/stacks/bin/python" "$here/matrix.py" "$cells" "$here/matrix.json" "$place/matrix.json" "$place/table.md"
