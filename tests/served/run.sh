#!/usr/bin/env bash
# Builds a bundle, lets the real Triton server load the bundle's own Triton folder, and runs the verbs through it. The
# server comes from the package nvidia-pytriton (448 MB), installed on first use into FOLDER, without a GPU; it needs
# Python 3.11 with its shared library. `tests/served/run.sh [PROGRAMS] [FOLDER]`, by default target/release and
# target/served.
set -euo pipefail
cd "$(dirname "$0")/../.."
root=$PWD
programs=$(realpath -m "${1:-$root/target/release}")
venv=$(realpath -m "${2:-$root/target/served}")
[ -x "$programs/resnext-run" ] || cargo build --release --workspace --bins --quiet
if [ ! -x "$venv/bin/python" ]; then
    python3.11 -m venv "$venv"
    "$venv/bin/pip" install --quiet -r tests/served/requirements.txt
fi
site=$venv/lib/python3.11/site-packages
triton=$site/pytriton/tritonserver
work=$(mktemp -d)
server=
stop() {
    [ -z "$server" ] || kill "$server" 2>/dev/null || true
    [ -z "$server" ] || wait "$server" 2>/dev/null || true
    rm -rf "$work"
}
trap stop EXIT

# Copies: a link would lead out of the backends' folder, which the server refuses.
mkdir -p "$work/backends/onnxruntime"
cp -rL "$triton/backends/python" "$work/backends/python"
cp "$triton/python_backend_stubs/3.11/triton_python_backend_stub" "$work/backends/python/"
cp tests/served/model.py "$work/backends/onnxruntime/"

build() { "$programs/resnext-build" "$@"; }
trained=tests/trained
build --weights "$root/runner/data/shapes/shapes.safetensors" --labels $trained/labels.txt \
    --preprocess $trained/preprocess.json --image-size 64 -q -o "$work/model.onnx"
build bundle "$work/model.onnx" -o "$work/bundle" --name shapes -q
build --weights "$root/runner/data/shapes/shapes.safetensors" --labels $trained/labels.txt \
    --preprocess $trained/preprocess.json --image-size 64 --input-type u8 --softmax -q -o "$work/u8.onnx"
build bundle "$work/u8.onnx" -o "$work/bytes" --name bytes --for triton -q
mkdir "$work/repository"
cp -r "$work/bundle/triton/shapes" "$work/bytes/triton/bytes" "$work/repository/"

port=$("$venv/bin/python" -c 'import socket
s = [socket.socket() for _ in range(3)]
[one.bind(("127.0.0.1", 0)) for one in s]
print(*[one.getsockname()[1] for one in s])')
read -r http grpc metrics <<<"$port"
LD_LIBRARY_PATH=$site/nvidia_pytriton.libs TRITON_PYTHON_SITE=$site "$triton/bin/tritonserver" \
    --model-repository "$work/repository" --backend-directory "$work/backends" --disable-auto-complete-config \
    --http-address 127.0.0.1 --http-port "$http" --grpc-address 127.0.0.1 --grpc-port "$grpc" \
    --metrics-address 127.0.0.1 --metrics-port "$metrics" >"$work/log" 2>&1 &
server=$!
address=http://127.0.0.1:$http
for _ in $(seq 120); do
    "$venv/bin/python" -c "import urllib.request as u; u.urlopen('$address/v2/health/ready')" 2>/dev/null && break
    kill -0 "$server" 2>/dev/null || { tail -40 "$work/log"; exit 1; }
    sleep 0.5
done

run() {
    echo "+ resnext-run $*"
    "$programs/resnext-run" "$@"
}
image=$(find $trained/heldout -name '*.jpg' -o -name '*.png' | sort | head -1)
served=kserve=$address/shapes
run compare "$work/bundle" --ep "cpu,$served"
run compare "$work/bytes" --ep "cpu,kserve=$address/bytes"
run infer "$work/bundle" "$image" --ep "$served"
run eval "$work/bundle" $trained/heldout --ep "cpu,$served"
run bench "$work/bundle" --ep "cpu,$served" --iterations 20 -b 1,8
if "$programs/resnext-run" infer "$work/bundle" "$image" --ep "kserve=$address/bytes" 2>"$work/said"; then
    echo "another model than the file's was taken" >&2
    exit 1
fi
grep -q "serves another model" "$work/said"
echo "served: all as expected, by $(head -1 tests/served/requirements.txt)"
