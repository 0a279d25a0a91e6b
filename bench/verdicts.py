#!/usr/bin/env python3
"""Finds out how often `compare` is wrong: false alarms between equal runs, and true slowdowns that it does not see.

    bench/verdicts.py [--program PATH] [--equal 200] [--slower 50] [--small 20] [--repeated 10] [--jitter 2ms] [--jobs 1]
                      [--json FILE]

PROGRAM is `sagellm-benchmark` (default: target/release/sagellm-benchmark). Runs of a second or two are made against
simulated servers (`serve --simulate`), all with the same requests, and compared in pairs at the default settings, with two
gates: `p99_ttft_ms>5%`, which so few requests cannot decide, and `avg_tbt_ms>2%`.

- equal: both runs against servers of the same speed. A verdict other than "no difference" or "inconclusive" is a false alarm, and
  so is a gate that fails.
- slower: the second server takes 5 % longer from token to token. Found when TBT is worse and the verdict is "slower"; the gate on
  TBT has to fail.
- small: the same, with so few requests that there is no telling. A verdict of "inconclusive" is right.
- repeated: five runs on either side, which are then the unit: so many pairs of equal servers, and as many of a slower one.

A simulated token comes up to `--jitter` early or late: without it the simulator is more exact than any server, and a test of
false alarms would be none. Runs of a pair follow one another, and every other pair begins with the second server, so that
a machine that grows slower looks like neither.

Exit code 1 when there are more alarms or failed gates than 5 % gives once in a hundred times, when fewer than 90 % of the
slowdowns are found, or when fewer than 90 % of the small runs are inconclusive.
"""

import argparse
import json
import math
import subprocess
import sys
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HOME = Path(__file__).resolve().parent.parent
ITL_MS, SLOWER_ITL_MS = 10.0, 10.5
MOST_ALARMS, BY_CHANCE, FEWEST_FOUND = 0.05, 0.01, 0.90
FEWEST_REQUESTS = 4
REPEATS = 5
TAIL, MEAN = "p99_ttft_ms>5%", "avg_tbt_ms>2%"


class Server:
    """A simulated server, until the end of the `with`."""

    def __init__(self, program: Path, itl_ms: float, jitter: str):
        self.command = [program, "serve", "--simulate", "--port", "0", "--ttft", "30ms", "--itl", f"{itl_ms}ms"]
        self.command += ["--jitter", jitter]

    def __enter__(self) -> str:
        self.process = subprocess.Popen(
            self.command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, encoding="utf-8"
        )
        line = self.process.stdout.readline()
        if "http://" not in line:
            sys.exit(f"the simulated server did not start: {line}")
        return line[line.index("http://") :].strip()

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()


def run(program: Path, address: str, folder: Path, requests: int, seed: int = 1) -> None:
    command = [program, "run", "--backend", "openai", "--base-url", address, "--no-calibrate", "--quiet"]
    command += ["--dataset-name", "random", "--random-input-len", "32", "--random-output-len", "24"]
    command += ["--seed", str(seed)]
    command += ["--num-prompts", str(requests), "--max-concurrency", str(min(requests, 20)), "--output", folder]
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, encoding="utf-8")
    # 5 is INVALID: on a busy machine the client says so of itself. The pair counts all the same.
    if done.returncode not in (0, 5):
        sys.exit(done.stderr)


def compare(program: Path, before: Path, now: Path) -> dict:
    command = [program, "compare", before, now, "--format", "json", "--allow-invalid", "--allow-disturbed"]
    command += ["--fail-on", TAIL, "--fail-on", MEAN]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8")
    # 6 is a gate that failed.
    if done.returncode not in (0, 6):
        sys.exit(done.stderr)
    side = json.loads(done.stdout)["sides"][0]
    if (done.returncode == 6) != bool(side["failed_gates"]):
        sys.exit(f"exit code {done.returncode} with the failed gates {side['failed_gates']}")
    return side


def pair(program: Path, servers: tuple[str, str], requests: int, repeats: int, backwards: bool) -> dict:
    with tempfile.TemporaryDirectory() as place:
        folders = [Path(place, name) for name in ("before", "now")]
        runs = list(zip(servers, folders, strict=True))
        for nth in range(repeats):
            for address, folder in reversed(runs) if backwards ^ (nth % 2 == 1) else runs:
                run(program, address, folder / f"run-{nth + 1}" if repeats > 1 else folder, requests, nth + 1)
        return compare(program, *folders)


def pairs(args, servers: tuple[str, str], count: int, requests: int, repeats: int = 1) -> list[dict]:
    def one(number: int) -> dict:
        return pair(args.program, servers, requests, repeats, number % 2 == 1)

    with ThreadPoolExecutor(args.jobs) as pool:
        return list(pool.map(one, range(count)))


def share(part: int, whole: int) -> str:
    return f"{part} of {whole} ({100 * part / whole:.1f} %)" if whole else "none made"


def culprits(sides: list[dict], verdicts: tuple[str, ...]) -> Counter:
    return Counter(figure["key"] for side in sides for figure in side["figures"] if figure["verdict"] in verdicts)


def failed(sides: list[dict], gate: str) -> int:
    return sum(any(words.startswith(f"{gate}:") for words in side["failed_gates"]) for side in sides)


def too_many(alarms: int, whole: int) -> bool:
    """Whether so many or more would come by chance less than once in a hundred times, if each came in 5 %."""
    at_least = range(alarms, whole + 1)
    chance = sum(math.comb(whole, k) * MOST_ALARMS**k * (1 - MOST_ALARMS) ** (whole - k) for k in at_least)
    return alarms > 0 and chance < BY_CHANCE


def equals(what: str, sides: list[dict]) -> bool:
    """Prints what became of equal runs; whether that is too much."""
    alarms = sum(side["verdict"] not in ("no_difference", "inconclusive") for side in sides)
    gates = [failed(sides, gate) for gate in (TAIL, MEAN)]
    print(f"{what}:  false alarm in {share(alarms, len(sides))}; {dict(Counter(side['verdict'] for side in sides))}")
    if alarms:
        print(f"             by {dict(culprits(sides, ('better', 'worse')))}")
    print(f"             {TAIL} failed in {share(gates[0], len(sides))}, {MEAN} in {share(gates[1], len(sides))}")
    return any(too_many(count, len(sides)) for count in (alarms, *gates))


def slowdowns(what: str, sides: list[dict]) -> bool:
    """Prints how many slowdowns were found; whether that is too few."""
    found = sum(
        side["verdict"] == "slower"
        and any(figure["key"] == "avg_tbt_ms" and figure["verdict"] == "worse" for figure in side["figures"])
        for side in sides
    )
    gate = failed(sides, MEAN)
    print(f"{what}:  found in {share(found, len(sides))}; {dict(Counter(side['verdict'] for side in sides))}")
    print(f"             {MEAN} failed in {share(gate, len(sides))}")
    return min(found, gate) < FEWEST_FOUND * len(sides)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--program", type=Path, default=HOME / "target" / "release" / "sagellm-benchmark")
    parser.add_argument("--equal", type=int, default=200, help="pairs of equal runs")
    parser.add_argument("--slower", type=int, default=50, help="pairs with a true slowdown")
    parser.add_argument("--small", type=int, default=20, help="pairs of few requests")
    parser.add_argument("--repeated", type=int, default=10, help="pairs of five runs on either side, equal and slower")
    parser.add_argument("--requests", type=int, default=100, help="requests of a run")
    parser.add_argument("--jitter", default="2ms")
    parser.add_argument("--jobs", type=int, default=1, help="pairs at once")
    parser.add_argument("--json", type=Path, help="write the comparisons to this file")
    args = parser.parse_args()

    with Server(args.program, ITL_MS, args.jitter) as base, Server(args.program, SLOWER_ITL_MS, args.jitter) as slow:
        sides = {
            "equal": pairs(args, (base, base), args.equal, args.requests),
            "slower": pairs(args, (base, slow), args.slower, args.requests),
            "small": pairs(args, (base, slow), args.small, FEWEST_REQUESTS),
            "repeated_equal": pairs(args, (base, base), args.repeated, args.requests, REPEATS),
            "repeated_slower": pairs(args, (base, slow), args.repeated, args.requests, REPEATS),
        }

    wrong = equals("equal runs", sides["equal"])
    wrong |= slowdowns("5 % slower", sides["slower"])
    quiet = sum(side["verdict"] == "inconclusive" for side in sides["small"])
    print(f"{FEWEST_REQUESTS} requests:  inconclusive in {share(quiet, args.small)}")
    wrong |= quiet < FEWEST_FOUND * args.small
    wrong |= equals("repeated", sides["repeated_equal"])
    wrong |= slowdowns("5 % slower", sides["repeated_slower"])
    if args.json:
        args.json.write_text(json.dumps(sides), encoding="utf-8")
    if wrong:
        sys.exit(1)


if __name__ == "__main__":
    main()
