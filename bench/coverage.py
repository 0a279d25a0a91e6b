#!/usr/bin/env python3
"""Finds out how often the 95 % intervals hold the truth, as they are shown to a user.

    bench/coverage.py [--trials 500] [--longest 5000] [--seed 1] [--json FILE]
    bench/coverage.py --end-to-end 60 [--requests 250] [--load 0.75] [--closed N] [--program PATH]

Without a server: the example `coverage` of the crate `sagellm-report` simulates a queue and passes its records through the
code that makes the intervals of a report. 4 or 20 slots serve requests of 40 ms, whose lengths are alike or varied; requests
come by a Poisson process at 50 to 90 % load, or as a closed loop. A run begins with an empty queue.

The truth is what repeating the run would give on average: the mean of the figure over all trials. It is not the steady state of an
endless run, which a short run from an empty queue does not estimate.

A cell is a figure under a load, with a number of requests; the table has the share of its intervals that held the truth. Its
verdict:

- a share alone: shown in every run, and the coverage is within 93 and 97 %, or not significantly outside;
- `-`: never shown;
- `low`, `HIGH`: coverage significantly below 93 or above 97 % (binomial, 1 % on either side);
- `SOME`: shown in some runs only, which would be the calm ones. Fewer than 1 % of either kind are let pass.

End to end: runs of the real program against `serve --simulate --servers 4 --service-time 40ms`, each with a seed of its own.

Exit code 1 when a cell is `low` or `SOME`. Too wide is reported and is no failure: requests that run in step make a throughput
whose intervals are wider than they need be.
"""

import argparse
import json
import math
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

HOME = Path(__file__).resolve().parent.parent
LOWEST, HIGHEST, ERROR = 0.93, 0.97, 0.01
SLOTS, SERVICE_S = 4, 0.040
STATS = ("avg", "p50", "p90", "p95", "p99")
LATENCIES = ("ttft", "e2e", "tbt")
THROUGHPUTS = ["request_throughput_rps", "output_throughput_tps"]
FIGURES = [f"{stat}_{of}_ms" for of in LATENCIES for stat in STATS] + THROUGHPUTS


def at_most(count: int, n: int, p: float) -> float:
    """The probability that at most `count` of `n` happen, each with probability `p`."""
    log = math.lgamma
    terms = (
        math.exp(log(n + 1) - log(k + 1) - log(n - k + 1) + k * math.log(p) + (n - k) * math.log1p(-p))
        for k in range(count + 1)
    )
    return min(1.0, math.fsum(terms))


def verdict(shown: int, held: int, trials: int) -> str:
    if shown <= 0.01 * trials:
        return "none"
    if shown < 0.99 * trials:
        return "SOME"
    if at_most(held, shown, LOWEST) < ERROR:
        return "low"
    if 1.0 - at_most(held - 1, shown, HIGHEST) < ERROR:
        return "HIGH"
    return "ok"


def judge(cells: list[dict]) -> bool:
    """Prints the cells; whether one is too bold or shown to calm runs only."""
    counts: dict[str, int] = {}
    heads = "".join(f"{head:>12}" for head in (*STATS, "requests/s", "tokens/s"))
    print(f"{'loop':<7}{'load':<12}{'lengths':<8}{'n':>6}  {'of':<5}{heads}\n")
    for cell in cells:
        head = f"{cell['loop']:<7}{cell['load']:.2f} of {cell['slots']:<4}{cell['lengths']:<8}{cell['n']:>6}"
        for of in LATENCIES:
            keys = [f"{stat}_{of}_ms" for stat in STATS] + (THROUGHPUTS if of == LATENCIES[0] else [])
            texts = []
            for key in keys:
                figure = cell["figures"][key]
                shown, held = figure["shown"], figure["held"]
                found = verdict(shown, held, cell["trials"])
                counts[found] = counts.get(found, 0) + 1
                share = f"{100 * held / shown:.1f}" if shown else "-"
                texts.append(share if found in ("ok", "none") else f"{share} {found}")
            print(f"{head}  {of:<5}" + "".join(f"{text:>12}" for text in texts))
    print("\n" + ", ".join(f"{count} {found}" for found, count in sorted(counts.items())))
    return any(counts.get(found) for found in ("low", "SOME"))


def simulated(args) -> list[dict]:
    command = ["cargo", "run", "--release", "--quiet", "--locked", "-p", "sagellm-report", "--example", "coverage", "--"]
    command += [str(args.trials), str(args.longest), str(args.seed)]
    done = subprocess.run(command, cwd=HOME, stdout=subprocess.PIPE, text=True, encoding="utf-8", check=False)
    if done.returncode != 0:
        sys.exit(done.returncode)
    return [json.loads(line) for line in done.stdout.splitlines()]


def one_run(args, address: str, seed: int) -> dict:
    command = [args.program, "run", "--backend", "openai", "--base-url", address, "--no-calibrate", "--quiet"]
    command += ["--dataset-name", "random", "--random-input-len", "16", "--random-output-len", "4"]
    command += ["--num-prompts", str(args.requests), "--seed", str(seed)]
    if args.closed:
        command += ["--max-concurrency", str(args.closed)]
    else:
        command += ["--request-rate", str(args.load * SLOTS / SERVICE_S)]
    with tempfile.TemporaryDirectory() as place:
        done = subprocess.run(
            [*command, "--output", place], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, encoding="utf-8"
        )
        # 5 is INVALID: on a busy machine the client says so of itself. The run counts all the same.
        if done.returncode not in (0, 5):
            sys.exit(done.stderr)
        summary = json.loads(Path(place, "benchmark_summary.json").read_text(encoding="utf-8"))
    return next(iter(summary["workloads"].values()))


def end_to_end(args) -> list[dict]:
    command = [args.program, "serve", "--simulate", "--port", "0", "--ttft", "10ms", "--itl", "10ms", "--jitter", "1ms"]
    command += ["--servers", str(SLOTS), "--service-time", f"{1000 * SERVICE_S:g}ms"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, encoding="utf-8")
    try:
        line = server.stdout.readline()
        if "http://" not in line:
            sys.exit(f"the simulated server did not start: {line}")
        address = line[line.index("http://") :].strip()
        runs = [one_run(args, address, args.seed + number) for number in range(args.end_to_end)]
    finally:
        server.terminate()
        server.wait()
    figures = {}
    for key in FIGURES:
        truth = statistics.fmean(run[key] for run in runs)
        shown = [it for run in runs if (it := run["intervals"].get(key, {})).get("low") is not None]
        held = sum(it["low"] <= truth <= it["high"] for it in shown)
        figures[key] = {"truth": truth, "shown": len(shown), "held": held}
    load = args.closed / SLOTS if args.closed else args.load
    kind = "closed" if args.closed else "open"
    cell = {"loop": kind, "slots": SLOTS, "load": load, "lengths": "alike", "n": args.requests}
    return [{**cell, "trials": args.end_to_end, "figures": figures}]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=500, help="runs per cell")
    parser.add_argument("--longest", type=int, default=5000, help="requests of the longest runs; up to 50000")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, help="write the cells to this file")
    parser.add_argument("--end-to-end", type=int, metavar="RUNS", help="run the real program so often instead")
    parser.add_argument("--requests", type=int, default=250, help="requests of a real run")
    parser.add_argument("--load", type=float, default=0.75, help="load of real runs")
    parser.add_argument("--closed", type=int, metavar="N", help="a closed loop of N requests instead of a load")
    parser.add_argument("--program", type=Path, default=HOME / "target" / "release" / "sagellm-benchmark")
    args = parser.parse_args()
    cells = end_to_end(args) if args.end_to_end else simulated(args)
    if args.json:
        args.json.write_text(json.dumps(cells), encoding="utf-8")
    if judge(cells):
        sys.exit(1)


if __name__ == "__main__":
    main()
