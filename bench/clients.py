#!/usr/bin/env python3
"""Runs this client beside vLLM's Rust client against one simulated server, and compares what they cost and how they err.

    bench/clients.py [--program PATH] [--rival PATH] [--runs 5] [--streams 1,64,256,1024] [--rate 500] [--stamp user]
                     [--busy] [--json FILE]

PROGRAM is `sagellm-benchmark` (default: target/release/sagellm-benchmark). RIVAL is `vllm-rs`; without it, the wheel
`vllm` is fetched from PyPI once and the binary in it is used. The server is `PROGRAM serve --simulate`, which notes for each
request when the kernel had its first byte and when it wrote each token: the truth. The error of a client is how far the
time to first token and the time per output token that it *reports* for a request lie from that truth.

The loads: closed loops of so many streams (TTFT 50 ms, ITL 10 ms, 128 tokens), 64 streams of a server without any delay, and
an open loop (Poisson arrivals at --rate, 16 tokens), of which the gaps between arrivals at the server and, of ours, the lag
behind the schedule are shown too. With --busy, a program on each processor computes all the while.

Runs of the two clients alternate; medians over the runs are shown. Processor time is that of the client's whole process,
its start and its report included.

At the end every bar that these loads are about is shown, and whether it is met (see bench/bars.py). Exit code 1 when one is
missed.
"""

import argparse
import json
import multiprocessing
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import urllib.request
import zipfile
from pathlib import Path
from typing import NamedTuple

from bars import bars

HOME = Path(__file__).resolve().parent.parent
WHEEL = "vllm==0.33.0"
TOKENS = 128
# What a run says when the client was late or busy.
LATE = {"client_late", "client_busy", "client_error", "schedule_lag", "hand_over"}


class Load(NamedTuple):
    """What a client is to do: with `rate`, an open loop; otherwise `streams` at once."""

    ttft: str
    itl: str
    streams: int
    requests: int
    tokens: int = TOKENS
    rate: float | None = None

    def __str__(self):
        return f"Poisson {self.rate:g}/s" if self.rate else f"{self.streams} streams, ITL {self.itl}"


def fetch_rival() -> Path:
    folder = HOME / "target" / "bench"
    binary = folder / "vllm" / "vllm-rs"
    if not binary.exists():
        folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), WHEEL]
        subprocess.run(command, check=True)
        (wheel,) = folder.glob("vllm-*.whl")
        zipfile.ZipFile(wheel).extract("vllm/vllm-rs", folder)
        binary.chmod(0o755)
    return binary


class Simulator:
    def __init__(self, program: Path, ttft: str, itl: str):
        command = [program, "serve", "--simulate", "--port", "0", "--ttft", ttft, "--itl", itl, "--until-eof"]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.url = self.process.stdout.readline().split()[-1]

    def truth(self) -> dict:
        with urllib.request.urlopen(self.url + "/admin/truth") as answer:
            notes = [json.loads(line) for line in answer.read().splitlines()]
        return {note["request"]: note for note in notes if note["request"]}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait()


def cost_of(command: list, folder: str) -> tuple[float, float]:
    """Runs a command to its end: processor seconds, and peak resident MiB."""
    with open(os.path.join(folder, "log"), "wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, cwd=folder)
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def ours(args, url: str, load: Load, folder: str):
    command = [args.program, "run", "--backend", "openai", "--base-url", url]
    command += ["--dataset-name", "random", "--random-input-len", "32", "--random-output-len", str(load.tokens)]
    command += ["--num-prompts", str(load.requests)]
    command += ["--request-rate", str(load.rate)] if load.rate else ["--max-concurrency", str(load.streams)]
    command += ["--num-warmups", "0", "--no-calibrate", "--quiet", "--overwrite", "--output", folder, "--stamp", args.stamp]
    cost = cost_of(command, folder)
    reported, lags = {}, []
    with open(os.path.join(folder, "manifest.json")) as manifest:
        name = json.load(manifest)["backend"]["settings"]["request_ids"].partition("<")[0]
    with open(os.path.join(folder, "random.records.jsonl")) as journal:
        for line in map(json.loads, journal):
            if line["line"] == "request" and line["outcome"] == "success":
                lags.append((line["sent_ns"] - line["scheduled_ns"]) / 1e6)
                ttft = line["first_token_ns"] - line["sent_ns"]
                tpot = (line["last_token_ns"] - line["first_token_ns"]) / (line["output_tokens"] - 1)
                reported[f"{name}{line['id']:012x}"] = (ttft / 1e6, tpot / 1e6)
    with open(os.path.join(folder, "benchmark_summary.json")) as summary:
        validity = json.load(summary)["validity"]
    codes = {finding["code"] for finding in validity["reasons"] + validity["warnings"]}
    more = {"says_late": float(bool(codes & LATE))}
    if load.rate:
        more |= {"lag_p99_ms": p99(lags), "planned_cv": cv(offsets_of(os.path.join(folder, "plan.jsonl")))}
    return cost, reported, more


def offsets_of(plan: str) -> list:
    with open(plan) as lines:
        return [line["offset_ns"] for line in map(json.loads, lines) if line["line"] == "request"]


def theirs(args, url: str, load: Load, folder: str):
    command = [args.rival, "bench", "serve", "--backend", "openai", "--base-url", url, "--model", "simulated"]
    command += ["--tokenizer", str(HOME / "testdata/models/llama"), "--dataset-name", "random", "--random-input-len", "32"]
    command += ["--random-output-len", str(load.tokens), "--num-prompts", str(load.requests)]
    command += ["--request-rate", str(load.rate)] if load.rate else ["--max-concurrency", str(load.streams)]
    command += ["--ignore-eos", "--disable-tqdm", "--request-id-prefix", "rival-", "--no-steady-state"]
    command += ["--save-result", "--save-detailed", "--result-filename", "result.json"]
    cost = cost_of(command, folder)
    with open(os.path.join(folder, "result.json")) as result:
        result = json.load(result)
    reported = {}
    for index, (ttft, gaps) in enumerate(zip(result["ttfts"], result["itls"])):
        reported[f"rival-{index}"] = (1e3 * ttft, 1e3 * sum(gaps) / max(1, len(gaps)))
    return cost, reported, {}


def p99(values: list) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[98] if len(values) > 1 else values[0]


def cv(times: list) -> float:
    """Of the gaps between ascending times."""
    gaps = [after - before for before, after in zip(times, times[1:])]
    return statistics.stdev(gaps) / statistics.mean(gaps)


def burn():
    while True:
        pass


def errors(reported: dict, truth: dict) -> dict:
    ttft, tpot = [], []
    for request, (client_ttft, client_tpot) in reported.items():
        note = truth.get(request)
        if note and note["whole"]:
            ttft.append(abs(client_ttft - (note["first_write_ns"] - note["arrival_ns"]) / 1e6))
            gaps = note["tokens"] - 1
            tpot.append(abs(client_tpot - (note["last_write_ns"] - note["first_write_ns"]) / gaps / 1e6))
    if not ttft:
        sys.exit("no request could be matched with the truth: does the client send x-request-id?")
    return {
        "matched": len(ttft),
        "ttft_error_mean_ms": statistics.mean(ttft),
        "ttft_error_p99_ms": p99(ttft),
        "tpot_error_mean_ms": statistics.mean(tpot),
        "tpot_error_p99_ms": p99(tpot),
    }


def measure(args, client, load: Load) -> dict:
    with tempfile.TemporaryDirectory() as folder, Simulator(args.program, load.ttft, load.itl) as simulator:
        (cpu, memory), reported, more = client(args, simulator.url, load, folder)
        truth = simulator.truth()
        notes = [truth[name] for name in reported if name in truth]
    tokens = sum(note["tokens"] for note in notes)
    arrivals = sorted(note["arrival_ns"] for note in notes)
    span = (max(note["last_write_ns"] for note in notes) - arrivals[0]) / 1e9
    if load.rate:
        more["gap_cv"] = cv(arrivals)
    return {
        **errors(reported, truth),
        "cpu_s_per_million_tokens": cpu / tokens * 1e6,
        "peak_mib": memory,
        "tokens_per_s": tokens / span,
        **more,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", type=Path, default=HOME / "target" / "release" / "sagellm-benchmark")
    parser.add_argument("--rival", type=Path)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--streams", default="1,64,256,1024")
    parser.add_argument("--rate", type=float, default=500.0, help="of the open loop; 0 leaves it out")
    parser.add_argument("--busy", action="store_true", help="burn every processor meanwhile")
    parser.add_argument("--stamp", choices=["kernel", "user"], default="kernel")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    # Each client runs in a folder of its own.
    args.program = args.program.resolve()
    args.rival = (args.rival or fetch_rival()).resolve()
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit[1], limit[1]))

    loads = [Load("50ms", "10ms", int(n), max(16, 2 * int(n))) for n in args.streams.split(",")]
    if not args.busy:
        loads.append(Load("0ms", "0ms", 64, 4096))
    if args.rate:
        loads.append(Load("50ms", "10ms", 0, int(10 * args.rate), 16, args.rate))
    burners = [multiprocessing.Process(target=burn, daemon=True) for _ in range(os.cpu_count() if args.busy else 0)]
    for burner in burners:
        burner.start()
    results, pairs = [], []
    for load in loads:
        runs = {"ours": [], "vllm-rs": []}
        for _ in range(args.runs):
            runs["ours"].append(measure(args, ours, load))
            runs["vllm-rs"].append(measure(args, theirs, load))
        for name, measured in runs.items():
            middle = {key: statistics.median(run[key] for run in measured) for key in measured[0]}
            if "says_late" in middle:
                middle["says_late"] = statistics.mean(run["says_late"] for run in measured)
            results.append({"client": name, "load": str(load), "requests": load.requests, **middle})
        pairs.append((load, *results[-2:]))
    for burner in burners:
        burner.terminate()

    head = ["load", "client", "TTFT err mean", "p99 (ms)", "TPOT err mean", "p99 (ms)", "CPU s/M tok", "MiB", "tokens/s"]
    print("| " + " | ".join(head) + " |\n|" + "---|" * len(head))
    for row in results:
        print(
            f"| {row['load']} | {row['client']} | {row['ttft_error_mean_ms']:.3f} "
            f"| {row['ttft_error_p99_ms']:.3f} | {row['tpot_error_mean_ms']:.4f} | {row['tpot_error_p99_ms']:.4f} "
            f"| {row['cpu_s_per_million_tokens']:.1f} | {row['peak_mib']:.0f} | {row['tokens_per_s']:.0f} |"
        )
    for mine, rival in zip(results[::2], results[1::2]):
        ratio = lambda key: mine[key] / rival[key]
        print(
            f"\n{mine['load']}: ours / vllm-rs: CPU per token {ratio('cpu_s_per_million_tokens'):.2f}, "
            f"TTFT error mean {ratio('ttft_error_mean_ms'):.3f}, p99 {ratio('ttft_error_p99_ms'):.3f}, "
            f"tokens/s {ratio('tokens_per_s'):.2f}"
        )
        if "gap_cv" in mine:
            print(
                f"  gap CV ours {mine['gap_cv']:.3f} of planned {mine['planned_cv']:.3f}, vllm-rs {rival['gap_cv']:.3f}; "
                f"ours lags behind its schedule by {mine['lag_p99_ms']:.3f} ms at p99"
            )
    found = bars(pairs, args.stamp, args.busy)
    print("\n| bar | value | limit | |\n|---|---|---|---|")
    for bar in found:
        print(bar)
    if args.json:
        everything = {"results": results, "bars": [bar._asdict() for bar in found]}
        args.json.write_text(json.dumps(everything, indent=2) + "\n")
    return 1 if any(bar.met is False for bar in found) else 0


if __name__ == "__main__":
    sys.exit(main())
