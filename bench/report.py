#!/usr/bin/env python3
"""How long `report` takes over a run of a million requests, and how much memory.

    bench/report.py [--program PATH] [--requests 1000000] [--runs 3] [--keep FOLDER]

PROGRAM is `sagellm-benchmark` (default: target/release/sagellm-benchmark). A run of 1000 requests of four tokens is made
against a simulated server, and its records are written again and again, each time later and with new numbers, until the
journal has as many as asked for. Every format is then rendered from it. Exit code 1 when a report takes more than 5 s or
300 MB, or the page for a browser more than 5 MB.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HOME = Path(__file__).resolve().parent.parent
FORMATS = ["table", "json", "markdown", "csv", "vllm", "sglang", "junit", "openmetrics", "html", "parquet"]
MOST_PAGE_MEGABYTES = 5.0
MOST_SECONDS, MOST_MEGABYTES = 5.0, 300.0
RECORDED = 1000
TIMES = ["scheduled_ns", "sent_ns", "first_token_ns", "last_token_ns", "end_ns"]
HTTP_TIMES = ["sent_kernel_ns", "first_visible_ns"]


def record(program: Path, folder: Path) -> Path:
    command = [program, "serve", "--simulate", "--port", "0", "--ttft", "20ms", "--itl", "5ms", "--jitter", "2ms"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, encoding="utf-8")
    try:
        line = server.stdout.readline()
        command = [program, "run", "--backend", "openai", "--base-url", line[line.index("http://") :].strip()]
        command += ["--no-calibrate", "--quiet", "--output", folder]
        command += ["--dataset-name", "random", "--random-input-len", "16", "--random-output-len", "4"]
        command += ["--num-prompts", str(RECORDED), "--request-rate", "500"]
        done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, encoding="utf-8")
        if done.returncode not in (0, 5):
            sys.exit(done.stderr)
    finally:
        server.terminate()
        server.wait()
    return folder / "random.records.jsonl"


def grow(journal: Path, requests: int) -> None:
    """Replaces the records by as many as asked for."""
    lines = [json.loads(line) for line in journal.read_text(encoding="utf-8").splitlines()]
    header, close = lines[0], lines[-1]
    warmups = [line for line in lines[1:-1] if line["warmup"]]
    records = [line for line in lines[1:-1] if not line["warmup"]]
    last = max(line["end_ns"] for line in records)
    span = last - header["start_ns"]
    header["workload"]["num_prompts"] = requests
    with journal.open("w", encoding="utf-8") as out:

        def write(line: dict) -> None:
            out.write(json.dumps(line, separators=(",", ":")) + "\n")

        for line in [header, *warmups]:
            write(line)
        for number in range(requests):
            line = records[number % len(records)]
            if number >= len(records):
                line["id"] += len(records)
                for place, names in ((line, TIMES), (line.get("http") or {}, HTTP_TIMES)):
                    for name in names:
                        if place.get(name) is not None:
                            place[name] += span
                for chunk in line["chunks"]:
                    chunk[0] += span
            write(line)
        close["end_ns"] += span * (requests // len(records))
        write(close)


def measure(command: list) -> tuple[float, float]:
    """Seconds and megabytes (at the peak) of a command."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    took = time.perf_counter() - start
    if os.waitstatus_to_exitcode(status) != 0:
        sys.exit(f"failed: {' '.join(map(str, command))}")
    return took, usage.ru_maxrss * 1024 / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--program", type=Path, default=HOME / "target" / "release" / "sagellm-benchmark")
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=3, help="the best of so many counts")
    parser.add_argument("--keep", type=Path, help="make the results here and leave them; if they are there, use them")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = args.keep or Path(place, "results")
        journal = folder / "random.records.jsonl"
        if not journal.exists():
            grow(record(args.program, folder), args.requests)
        print(f"journal: {journal.stat().st_size / 1e6:.0f} MB")
        failed = False
        for form in FORMATS:
            report = Path(place, "report")
            command = [args.program, "report", "--input", folder, "--format", form, "--output", report]
            runs = [measure(command) for _ in range(args.runs)]
            seconds, megabytes = min(run[0] for run in runs), max(run[1] for run in runs)
            failed |= seconds > MOST_SECONDS or megabytes > MOST_MEGABYTES
            size = report.stat().st_size / 1e6
            failed |= form == "html" and size > MOST_PAGE_MEGABYTES
            print(f"{form:10} {seconds:6.2f} s  {megabytes:6.1f} MB  writes {size:.2f} MB")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
