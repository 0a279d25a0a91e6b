#!/usr/bin/env python3
"""Sends very many requests to a simulated server, and shows what memory the run and its report took.

    bench/many.py [--program PATH] [--requests 1000000] [--tokens 32] [--streams 64] [--limit MIB]

PROGRAM is `sagellm-benchmark` (default: target/release/sagellm-benchmark). The server is `PROGRAM serve --simulate` without
any delay. The figures are those of the client's whole process, from planning the requests to the report; every request
has to have its record on disk. With --limit, a larger peak of resident memory ends in an error.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

from contenders import cost_of
from servers import HOME, Simulator


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", type=Path, default=HOME / "target" / "release" / "sagellm-benchmark")
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--streams", type=int, default=64)
    parser.add_argument("--limit", type=float, metavar="MIB")
    args = parser.parse_args()
    args.program = args.program.resolve()

    with tempfile.TemporaryDirectory() as folder, Simulator(args.program, 0, 0) as simulator:
        command = [args.program, "run", "--backend", "openai", "--base-url", simulator.url]
        command += ["--dataset-name", "random", "--random-input-len", "16"]
        command += ["--random-output-len", str(args.tokens), "--num-prompts", str(args.requests)]
        command += ["--max-concurrency", str(args.streams), "--num-warmups", "0", "--no-calibrate", "--quiet"]
        started = time.monotonic()
        cpu, peak = cost_of([*command, "--overwrite", "--output", folder], folder)
        took = time.monotonic() - started
        outcomes, size = {}, 0
        journal = os.path.join(folder, "random.records.jsonl")
        if not os.path.exists(journal):
            sys.exit(Path(folder, "log").read_text())
        with open(journal, "rb") as lines:
            for line in lines:
                size += len(line)
                line = json.loads(line)
                if line["line"] == "request":
                    outcomes[line["outcome"]] = outcomes.get(line["outcome"], 0) + 1

    print(f"{args.requests} requests of {args.tokens} tokens in {took:.1f} s, {cpu:.1f} s of processor time")
    print(f"records: {outcomes}, {size / 2**20:.0f} MiB on disk; peak of resident memory: {peak:.0f} MiB")
    if outcomes != {"success": args.requests}:
        sys.exit("error: not every request has the record of a success")
    if args.limit and peak > args.limit:
        sys.exit(f"error: more than {args.limit:g} MiB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
