#!/usr/bin/env python3
"""Finds out whether `compare` is taken in by a prefix cache that the run before has filled.

    bench/prefix_cache.py [--program PATH] [--pairs 20] [--requests 60] [--work FOLDER]

PROGRAM is `sagellm-benchmark` (default: target/release/sagellm-benchmark). One server with a prefix cache, SmolLM2-135M on the
CPU engine (`serve --model`), is left running. Each pair is two runs with the same seed: first as they are, so that the second
run finds the prompts of the first in the cache, then with `--cache-bust`.

- As they are, no pair may be judged "faster" or "slower": the second run has the warning about a warm cache, and `compare`
  refuses to judge it.
- With `--cache-bust` every pair is judged, and none differs.

Exit code 1 when a pair is not as it should be. More than one in twenty of the pairs with `--cache-bust` has to differ to count.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from tokenizer import fetch_model

HOME = Path(__file__).resolve().parent.parent
MOST_ALARMS = 0.05


def run(program: Path, address: str, folder: Path, requests: int, seed: int, options: list) -> None:
    command = [program, "run", "--backend", "sagellm", "--base-url", address, "--no-calibrate", "--quiet"]
    command += ["--dataset-name", "text", "--input-len", "256", "--output-len", "16", "--seed", str(seed)]
    command += ["--num-prompts", str(requests), "--max-concurrency", "2", "--overwrite", "--output", folder, *options]
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, encoding="utf-8")
    if done.returncode not in (0, 5):
        sys.exit(done.stderr)


def verdict(program: Path, before: Path, now: Path) -> str:
    done = subprocess.run(
        [program, "compare", before, now, "--format", "json"], capture_output=True, text=True, encoding="utf-8"
    )
    if not done.stdout.startswith("{"):
        return "refused: " + done.stderr.splitlines()[0]
    (side,) = json.loads(done.stdout)["sides"]
    return side["verdict"]


def warned(folder: Path) -> bool:
    summary = json.loads((folder / "benchmark_summary.json").read_text())
    return any(warning["code"] == "warm_cache" for warning in summary["validity"]["warnings"])


def main() -> int:
    parser = argparse.ArgumentParser(formatter_class=argparse.RawDescriptionHelpFormatter, description=__doc__)
    parser.add_argument("--program", type=Path, default=HOME / "target/release/sagellm-benchmark")
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--requests", type=int, default=60)
    parser.add_argument("--work", type=Path, default=HOME / "target/test-data", help="where the model is kept")
    args = parser.parse_args()
    model = fetch_model(args.work)
    server = subprocess.Popen(
        [args.program, "serve", "--model", model, "--port", "0", "--until-eof"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )
    wrong = 0
    try:
        address = server.stdout.readline().split()[-1]
        with tempfile.TemporaryDirectory() as folder:
            before, now = Path(folder) / "before", Path(folder) / "now"
            for kind, options in [("as they are", []), ("--cache-bust", ["--cache-bust"])]:
                found, warnings = Counter(), 0
                for pair in range(args.pairs):
                    run(args.program, address, before, args.requests, pair, options)
                    run(args.program, address, now, args.requests, pair, options)
                    found[verdict(args.program, before, now)] += 1
                    warnings += warned(now)
                print(f"{kind}: {dict(found)}, {warnings} of {args.pairs} second runs warned about a warm cache", flush=True)
                judged = found["faster"] + found["slower"]
                if options:
                    wrong += judged > MOST_ALARMS * args.pairs or warnings > 0
                else:
                    wrong += judged > 0 or warnings < args.pairs
    finally:
        server.terminate()
        server.wait()
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
