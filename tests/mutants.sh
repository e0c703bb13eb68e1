#!/usr/bin/env bash
# Changes the code in a sample of places, one at a time, and runs the unit tests of its crate: a change that no test
# notices shows what is untested. Only where a wrong result would go unseen: shapes, validation, passes, statistics, compare.
#
#   bash tests/mutants.sh [HOW_MANY [SEED]]      120 of them, seed 0, unless told; 0 is all of them, which takes hours
#
# Needs `cargo install --locked cargo-mutants`. Works in a copy of the tree; what came of it lies in MUTANTS_OUT
# (target/mutants unless set), `mutants.out/missed.txt` in it. Ends with an error if a mutant lived.
set -euo pipefail
cd "$(dirname "$0")/.."

count=${1:-120}
seed=${2:-0}
out=${MUTANTS_OUT:-target/mutants}
mkdir -p "$out"

files=()
for file in builder/src/{shape,validate,passes}.rs 'builder/src/passes/**/*.rs' runner/src/stats.rs \
    'runner/src/stats/**/*.rs' 'runner/src/verb/compare/**/*.rs'; do
    files+=(--file "$file")
done

# Ordered by the hash of seed and name: the same sample wherever the code is the same, and a change of the code
# changes little of it.
cargo mutants --list "${files[@]}" | sort -u >"$out/all.txt"
while IFS= read -r name; do
    printf '%s %s\n' "$(printf '%s %s' "$seed" "$name" | sha256sum | cut -c 1-16)" "$name"
done <"$out/all.txt" | sort | cut -d ' ' -f 2- >"$out/ordered.txt"
head -n "$((count > 0 ? count : 1000000))" "$out/ordered.txt" >"$out/sample.txt"
printf '%s of %s mutants, seed %s\n' "$(wc -l <"$out/sample.txt")" "$(wc -l <"$out/all.txt")" "$seed"

only=()
while IFS= read -r name; do
    only+=(--re "^$(printf '%s' "$name" | sed 's/[][\\.*^$+?(){}|]/\\&/g')\$")
done <"$out/sample.txt"

# Without the baseline: `.ci/run` has shown that the tests pass.
cargo mutants "${files[@]}" "${only[@]}" --output "$out" --shuffle --baseline skip --timeout 120 --build-timeout 900 \
    --profile mutants -- --lib
