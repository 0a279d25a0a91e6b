#!/usr/bin/env bash
# One click: find or build sagellm-benchmark, run all three workloads, write a Markdown report.
set -euo pipefail

usage() {
    cat <<'TEXT'
Usage: ./run_benchmark.sh [OPTIONS OF `sagellm-benchmark run`]

Runs the workloads short_input, long_input and stress_test on the CPU engine and leaves in ./benchmark_results:
  <workload>_metrics.json  benchmark_summary.json  metrics.json  manifest.json  <workload>.records.jsonl  REPORT.md
Results of an earlier run there are moved to ./benchmark_results/earlier, or deleted with --overwrite.

Options are handed on to `sagellm-benchmark run` and replace the defaults
`--workload m1 --backend cpu --output ./benchmark_results --output-json OUTPUT/metrics.json`:
  ./run_benchmark.sh --model gpt2
  ./run_benchmark.sh --workload short --model ./my-model --output ./my_results
  sagellm-benchmark run --help        lists all of them

The program is the first of: $SAGELLM_BENCHMARK, `sagellm-benchmark` on the PATH, target/release/sagellm-benchmark,
and else it is built here with `cargo build --release --locked`.

Exit code: that of the run (0 done and valid, 5 finished but INVALID, 130 interrupted, ...).
TEXT
}

die() {
    printf 'error: %s\nhint: %s\n' "$1" "$2" >&2
    exit "${3:-3}"
}

home=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

find_program() {
    local built="${CARGO_TARGET_DIR:-$home/target}/release/sagellm-benchmark"
    if [[ -n ${SAGELLM_BENCHMARK:-} ]]; then
        [[ -x $SAGELLM_BENCHMARK ]] || die "\$SAGELLM_BENCHMARK is not a program: $SAGELLM_BENCHMARK" "unset it to let this script look"
        program=$SAGELLM_BENCHMARK
    elif program=$(command -v sagellm-benchmark); then
        :
    elif [[ -x $built ]]; then
        program=$built
    elif command -v cargo >/dev/null && [[ -f $home/Cargo.toml ]]; then
        echo "Building sagellm-benchmark; the first time this takes a few minutes." >&2
        (cd "$home" && cargo build --release --locked -p sagellm-cli) >&2
        program=$built
    else
        die "sagellm-benchmark not installed" "run \`pip install isagellm-benchmark\`, or install Rust and run this again" 2
    fi
}

# Sets `value` to what was given for an option, and fails when it was not given.
# An option is named by its long form and, if it has one, its letter.
value_of() {
    local long=$1 letter=${2:-} i
    for ((i = 0; i < ${#arguments[@]}; i++)); do
        case ${arguments[i]} in
            "$long") value=${arguments[i + 1]:-}; return 0 ;;
            "$long="*) value=${arguments[i]#*=}; return 0 ;;
            -?*)
                if [[ -n $letter && ${arguments[i]} == "-$letter" ]]; then
                    value=${arguments[i + 1]:-}
                    return 0
                elif [[ -n $letter && ${arguments[i]} == "-$letter"* ]]; then
                    value=${arguments[i]#-"$letter"}
                    value=${value#=}
                    return 0
                fi
                ;;
        esac
    done
    return 1
}

arguments=("$@")
for argument in ${arguments[@]+"${arguments[@]}"}; do
    case $argument in
        -h | --help) usage; exit 0 ;;
    esac
done

find_program

if value_of --output o; then
    output=$value
else
    output=./benchmark_results
    arguments+=(--output "$output")
fi
if value_of --output-json; then
    metrics=$value
else
    metrics=$output/metrics.json
    arguments+=(--output-json "$metrics")
fi
value_of --workload || arguments+=(--workload m1)
value_of --backend || arguments+=(--backend cpu)

summary=$output/benchmark_summary.json
before=$(cksum "$summary" 2>/dev/null || true)
status=0
"$program" run "${arguments[@]}" || status=$?

# A summary from an earlier run is not this run's result.
if [[ ! -f $summary || $(cksum "$summary") == "$before" ]]; then
    exit "$status"
fi

"$program" report --input "$summary" --format markdown >"$output/REPORT.md"
cat >&2 <<TEXT

Report      $output/REPORT.md
Summary     $summary
Metrics     $metrics
Everything  $output/
TEXT
exit "$status"
