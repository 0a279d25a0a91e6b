#!/usr/bin/env bash
# Makes the example files anew and compares their shape with those in the tree: the same files, the same keys in every
# JSON file. The figures differ from run to run.
set -euo pipefail

home=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
fresh=$(mktemp -d)
trap 'rm -rf "$fresh"' EXIT
"$home/examples/make.sh" "$fresh/results" 2>"$fresh/log" || { cat "$fresh/log" >&2; exit 1; }

# Every path to a value, array positions left out. What a machine or a run is free to differ in is cut off: reasons for
# unknown values, warnings, and which tails had too few samples.
shape() {
    jq -rn '[inputs | paths | map(if type == "number" then "[]" else . end)
             | (map(IN("reasons", "warnings", "notes", "tail_samples")) | index(true)) as $free
             | if $free == null then . else .[:$free + 1] end
             | join(".")] | unique[]' "$1"
}

list() { (cd "$1" && find . -type f | LC_ALL=C sort); }

diff -u --label committed --label fresh <(list "$home/examples/results") <(list "$fresh/results")
while read -r file; do
    diff -u --label "committed $file" --label "fresh $file" \
        <(shape "$home/examples/results/$file") <(shape "$fresh/results/$file")
done < <(list "$fresh/results" | grep -E '\.jsonl?$')
echo "examples: same files, same keys"
