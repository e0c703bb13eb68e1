#!/usr/bin/env bash
# Runs every command of the README's `sh` blocks, in order, in a fresh folder that holds the files they name: a ResNeXt
# with torch's names for the checkpoints, the trained network's images for `images/`. What needs a network or a wheel is
# held to the exit code that it has without one. Takes a few minutes; `tests/readme.sh FOLDER` takes the programs from
# FOLDER instead of target/release.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
programs=${1:-$root/target/release}
[ -x "$programs/resnext-run" ] || cargo build --release --workspace --bins --quiet

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp "$root/runner/data/shapes/shapes.safetensors" "$work/model.safetensors"
cp "$root/tests/trained/shapes.pth" "$work/checkpoint.pth"
cp "$root/tests/trained/labels.txt" "$work/labels.txt"
cp "$root/tests/trained/preprocess.json" "$work/preprocess.json"
cp "$root/tests/fixtures/exports/resnext_torchscript.onnx" "$work/torch-export.onnx"
cp -r "$root/tests/trained/heldout" "$work/images"
export PATH="$programs:$PATH"
export TORCH_HOME="$work/torch" HF_HOME="$work/huggingface"
export RESNEXT_WEIGHTS_URL=http://127.0.0.1:9/ HF_ENDPOINT=http://127.0.0.1:9

# The exit codes that a command may have here; 0 for all others.
expected() {
    case "$1" in
    *IMAGENET1K* | *hf-hub:*) echo 4 ;;
    *"--ep cpu,openvino"*) echo 0 4 ;;
    *) echo 0 ;;
    esac
}

# Those that compile the workspace again are run by CI and by hand.
elsewhere() {
    case "$1" in
    cargo*) return 0 ;;
    *) return 1 ;;
    esac
}

passed=0 failed=0
cd "$work"
while IFS= read -r command; do
    elsewhere "$command" && continue
    code=0
    bash -c "$command" >output.txt 2>&1 </dev/null || code=$?
    if [[ " $(expected "$command") " == *" $code "* ]]; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        printf 'exit %s: %s\n' "$code" "$command"
        sed 's/^/    /' output.txt | tail -n 5
    fi
done < <(awk '/^```sh$/ { inside = 1; next } /^```/ { inside = 0 } inside' "$root/README.md" | sed 's/[[:space:]]#.*$//' | grep -v '^[[:space:]]*$')
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 10 ]
