#!/usr/bin/env bash
# Makes the files in examples/results: a real run of all three workloads on `synthetic:tiny`.
#
#   examples/make.sh             into examples/results
#   examples/make.sh FOLDER      somewhere else (CI compares the shape of the two)
set -euo pipefail

home=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
target=${1:-$home/examples/results}
program=$(command -v "${SAGELLM_BENCHMARK:-sagellm-benchmark}") || {
    echo "error: sagellm-benchmark is not on the PATH" >&2
    echo "hint: set SAGELLM_BENCHMARK to the program, for example target/release/sagellm-benchmark" >&2
    exit 2
}
program=$(cd "$(dirname "$program")" && pwd)/$(basename "$program")

# Run where the results are to lie, by relative paths: no folder of this machine gets into the files.
rm -rf "$target"
mkdir -p "$target"
cd "$target"
"$program" run --workload m1 --backend cpu --model synthetic:tiny --output . --output-json metrics.json >table.txt
"$program" report --input . --format markdown >REPORT.md
