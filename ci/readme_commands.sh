#!/usr/bin/env bash
# Runs the commands that a document shows: every block fenced as ```bash, in order, each as one strict script.
# Blocks fenced otherwise (```console, ```text, ```yaml) are shown only. All run in one scratch folder, as a reader would
# who follows along; `sagellm-benchmark` is the one on the PATH.
#
#   ci/readme_commands.sh README.md docs/USAGE.md
set -euo pipefail

home=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cp "$home/run_benchmark.sh" "$scratch/"

total=0
for document in "$@"; do
    mkdir -p "$scratch/.blocks"
    count=$(awk -v folder="$scratch/.blocks" '
        /^```bash$/ { inside = 1; file = sprintf("%s/%03d", folder, ++n); printf "" > file; next }
        /^```/      { if (inside) close(file); inside = 0 }
        inside      { print > file }
        END         { print n + 0 }
    ' "$home/$document")
    for block in "$scratch/.blocks"/*; do
        [[ -f $block ]] || continue
        sed 's/^/$ /' "$block"
        if ! (cd "$scratch" && bash -euo pipefail "$block" </dev/null >"$scratch/.output" 2>&1); then
            cat "$scratch/.output"
            echo "error: $document: the block above fails" >&2
            exit 1
        fi
        tail -n 3 "$scratch/.output"
    done
    rm -r "$scratch/.blocks"
    echo "$document: $count blocks ran"
    total=$((total + count))
done
# A renamed fence would make this check pass without running anything.
((total > 0)) || { echo "error: no \`\`\`bash block in $*" >&2; exit 1; }
