#!/usr/bin/env bash
# Installs the peers in a virtual environment of their own under target/ (about 6 GB), builds the Rust ones, and compares.
# Arguments go to compare.py: `benches/peers/run.sh --variant resnext101_64x4d --batches 1`.
set -euo pipefail
cd "$(dirname "$0")/../.."
environment=target/peers/venv
if [ ! -x "$environment/bin/python" ]; then
    python3 -m venv "$environment"
    "$environment/bin/pip" install --quiet --requirement benches/peers/requirements.txt
fi
cargo build --release --bin resnext-build
cargo build --release --manifest-path benches/peers/rust/Cargo.toml --target-dir target/peers/rust
"$environment/bin/python" benches/peers/compare.py target/release/resnext-build "target/peers/results.json" \
    --peers target/peers/rust/release/peers "$@"
