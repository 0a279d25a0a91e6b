#!/usr/bin/env python3
"""Kills runs at random moments (SIGKILL), and checks what is left of them.

    bench/kills.py [--program PATH] [--kills 100] [--jobs 2] [--seed 0] [--json FILE]

PROGRAM is `sagellm-benchmark` (default: target/release/sagellm-benchmark). Four kinds of run take turns: the CPU engine, a
simulated server (`serve --simulate`), `--repeat` and `sweep`. After every kill:

- No finished request is missing: whatever the server wrote to its end, or the run printed as finished (CPU engine), is
  in the journal, unless that was so short before the kill that the line had not reached the kernel.
- No file is damaged: every line of a journal but an unfinished last one is JSON, and so is every JSON file. `report` shows
  what there is, or ends with one error.
- Nothing is left behind: the same command in the same folder then succeeds, and leaves the files of a run that was not
  killed, besides the results that it moved to `earlier`.

Exit code 1 when any of this is not so.
"""

import argparse
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HOME = Path(__file__).resolve().parent.parent
# A line reaches the kernel within this time, in seconds.
ALLOWED = 0.25
HTTP = ("--backend openai --base-url URL --tokenizer synthetic:tiny --dataset-name random --random-input-len 16 "
        "--random-output-len 8 --num-warmups 0 --no-calibrate")
KINDS = {
    "cpu": "run --model synthetic:tiny --workload short --num-prompts 400 --num-warmups 0 -v",
    "http": f"run {HTTP} --num-prompts 150 --request-rate 100",
    "repeat": f"run {HTTP} --num-prompts 50 --request-rate 100 --repeat 3",
    "sweep": f"sweep {HTTP} --num-prompts 50 --request-rate 50,100,200",
}
FINISHED = re.compile(r"^\[[^]]*\] \S+ #(\d+) success")


def environment(place):
    (place / "tmp").mkdir(exist_ok=True)
    return {**os.environ, "TMPDIR": str(place / "tmp")}


def command(program, kind, url, place):
    return [program, *KINDS[kind].replace("URL", url).split(), "--output", str(place / "out")]


def files(folder):
    """Names of all files, without results that a later run has moved away."""
    names = {str(path.relative_to(folder)) for path in folder.rglob("*")}
    return {name for name in names if not re.search(r"(^|/)earlier(/|$)", name)}


def records(journal, faults):
    """Ids in a journal. Only its last line may be unfinished."""
    ids = set()
    lines = journal.read_bytes().split(b"\n")
    for line in lines[:-1]:
        try:
            line = json.loads(line)
        except ValueError:
            faults.append(f"{journal}: a line is no JSON")
            continue
        if line["line"] == "request":
            ids.add(line["id"])
    return ids


def missing(kind, folder, killed_at, truth, printed, faults):
    """Requests that finished in time and have no line, and how many finished in time."""
    lacking = in_time = 0
    if kind == "cpu":
        journal = folder / "short_input.records.jsonl"
        kept = records(journal, faults) if journal.exists() else set()
        done = [number for number, at in printed if at < killed_at - ALLOWED]
        return sum(number not in kept for number in done), len(done)
    for manifest in folder.rglob("manifest.json"):
        try:
            prefix = json.loads(manifest.read_bytes())["backend"]["settings"]["request_ids"].split("<")[0]
        except (ValueError, KeyError):
            continue
        journal = manifest.parent / "random.records.jsonl"
        kept = records(journal, faults) if journal.exists() else set()
        for name, ended in truth.items():
            if name.startswith(prefix) and ended / 1e9 < killed_at - ALLOWED:
                in_time += 1
                lacking += int(name[len(prefix):], 16) not in kept
    return lacking, in_time


def check_files(folder, faults):
    for path in folder.rglob("*.json"):
        try:
            json.loads(path.read_bytes())
        except ValueError:
            faults.append(f"{path} is no JSON")


def check_report(program, folder, faults):
    if not folder.exists():
        return "no folder"
    shown = subprocess.run([program, "report", "-i", str(folder)], capture_output=True, text=True, timeout=60)
    errors = sum(line.startswith("error: ") for line in shown.stderr.splitlines())
    if "panicked" in shown.stderr or errors > 1 or (shown.returncode not in (0, 5)) != (errors == 1):
        faults.append(f"report: exit code {shown.returncode}: {shown.stderr}")
    return "shown" if errors == 0 else re.sub(r"`[^`]*`", "`…`", shown.stderr.splitlines()[0])


def kill(program, kind, url, after, clean):
    faults = []
    with tempfile.TemporaryDirectory() as place:
        place = Path(place)
        folder, line = place / "out", command(program, kind, url, place)
        running = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                                   env=environment(place))
        printed = []

        def read():
            for said in running.stderr:
                if found := FINISHED.match(said):
                    printed.append((int(found[1]), time.time()))

        reader = threading.Thread(target=read)
        reader.start()
        time.sleep(after)
        killed_at = time.time()
        running.kill()
        if running.wait() != -signal.SIGKILL:
            reader.join()
            return None
        reader.join()
        truth = {}
        with urllib.request.urlopen(f"{url}/admin/truth") as answer:
            for entry in map(json.loads, answer):
                if entry["whole"] and entry["request"]:
                    truth[entry["request"]] = entry["last_write_ns"]
        lacking, in_time = missing(kind, folder, killed_at, truth, printed, faults)
        check_files(folder, faults)
        shown = check_report(program, folder, faults)
        again = subprocess.run(line, capture_output=True, text=True, env=environment(place), timeout=120)
        if again.returncode not in (0, 5):
            faults.append(f"the next run: exit code {again.returncode}: {again.stderr[-500:]}")
        left = files(folder) ^ clean[kind] | files(place / "tmp")
        if left:
            faults.append(f"left behind or lacking: {sorted(left)}")
        if lacking:
            faults.append(f"{lacking} finished requests are missing")
    return {"kind": kind, "after_s": after, "finished": in_time, "missing": lacking, "report": shown, "faults": faults}


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--program", default=HOME / "target/release/sagellm-benchmark", type=Path)
    options.add_argument("--kills", default=100, type=int)
    options.add_argument("--jobs", default=2, type=int)
    options.add_argument("--seed", default=0, type=int)
    options.add_argument("--json", type=Path)
    options = options.parse_args()
    program = str(options.program.resolve())
    serve = [program, "serve", "--simulate", "--port", "0", "--ttft", "20ms", "--itl", "2ms"]
    server = subprocess.Popen(serve, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        url = re.search(r"http://\S+", server.stdout.readline())[0]
        clean, lasts = {}, {}
        for kind in KINDS:
            with tempfile.TemporaryDirectory() as place:
                place = Path(place)
                began = time.monotonic()
                subprocess.run(command(program, kind, url, place), capture_output=True, env=environment(place), timeout=120)
                lasts[kind] = time.monotonic() - began
                clean[kind] = files(place / "out")
        draw = random.Random(options.seed)
        kinds = list(KINDS)

        def one(number):
            kind = kinds[number % len(kinds)]
            # A run that ends before it is killed does not count.
            while (done := kill(program, kind, url, draw.uniform(0, lasts[kind]), clean)) is None:
                pass
            return done

        with ThreadPoolExecutor(options.jobs) as pool:
            results = list(pool.map(one, range(options.kills)))
    finally:
        server.kill()
        server.wait()
    for kind in kinds:
        of = [result for result in results if result["kind"] == kind]
        print(f"{kind:7} {len(of):4} kills within {lasts[kind]:.1f} s, {sum(it['finished'] for it in of)} requests had "
              f"finished, {sum(it['missing'] for it in of)} missing, {sum(bool(it['faults']) for it in of)} with faults")
    for shown, count in Counter(result["report"] for result in results).most_common():
        print(f"report: {count:4} × {shown}")
    for result in results:
        for fault in result["faults"]:
            print(f"{result['kind']} after {result['after_s']:.2f} s: {fault}")
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n")
    sys.exit(any(result["faults"] for result in results))


if __name__ == "__main__":
    main()
