#!/usr/bin/env bash
# int8 files on processors that this machine is not: onnxruntime's library under qemu's user mode, on x86 without VNNI,
# where pairs of products saturate 16 bits, against the kernels that run natively.
#
#   tests/qemu.sh [FOLDER]
#
# Needs qemu-x86_64-static (Debian's qemu-user-static), a Python with onnx, onnxruntime and numpy in $PYTHON, and the two
# programs in $BIN (target/release).
#
# Pair-safe files must have no value off by more than a tie; a file with the full range must, or the check shows nothing.
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
folder=${1:-$root/target/qemu}
bin=${BIN:-$root/target/release}
python=${PYTHON:-python3}
emulator=${QEMU:-qemu-x86_64-static}
trained=$root/tests/trained
mkdir -p "$folder"

command -v "$emulator" >/dev/null || { echo "$emulator is not here; Debian has it in qemu-user-static" >&2; exit 4; }
python=$("$python" -c 'import sys; print(sys.executable)')

build() {
  "$bin/resnext-build" --weights "$trained/shapes.safetensors" --image-size 64 --batch 1 --force -q "$@"
}
build -o "$folder/f32.onnx"
"$bin/resnext-run" calibrate "$folder/f32.onnx" --images "$trained/heldout" --count 100 \
  --preprocess "$trained/preprocess.json" -o "$folder/ranges.json" --force -q ${ORT_LIB:+--ort-lib "$ORT_LIB"} >/dev/null
models=()
for range in pair-safe full; do
  for target in portable cpu-avx512; do
    model=$folder/$range-$target.onnx
    build --dtype int8 --calibration "$folder/ranges.json" --weight-range "$range" --target "$target" -o "$model"
    models+=("$model")
  done
done
"$python" "$root/tests/qemu.py" save "$folder/values.npz" "${models[@]}"

table=$folder/table.tsv
printf 'processor\tfile\tvalues\toff by 1\toff by more\tmost\t\n' >"$table"
"$python" "$root/tests/qemu.py" compare "$folder/values.npz" native "${models[@]}" >>"$table"
for processor in Nehalem Haswell; do
  # A virtual environment's python finds its packages by its own path.
  "$emulator" -cpu "$processor" "$python" "$root/tests/qemu.py" compare "$folder/values.npz" "x86-64 $processor" \
    "${models[@]}" 2>>"$folder/log" >>"$table"
done
column -t -s "$(printf '\t')" "$table"

failed=0
if grep -q 'pair-safe.*WRONG' "$table"; then
  echo "a pair-safe file is wrong on another processor" >&2
  failed=1
fi
if ! grep -q 'full.*WRONG' "$table"; then
  echo "the full range is right everywhere here, so that this check shows nothing" >&2
  failed=1
fi
exit $failed
