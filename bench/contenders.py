"""The two clients: how each one is run, and what it reports."""

import json
import os
import statistics
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import NamedTuple

from loads import Load
from servers import HOME

WHEEL = "vllm==0.33.0"
# Tokens of every prompt.
INPUT = 32


class Reported(NamedTuple):
    """What a client says of a run. Times are in milliseconds."""

    cpu_s: float
    peak_mib: float
    # By request: TTFT and TBT.
    requests: dict
    itl_p99: float | None
    tbt_mean: float | None
    more: dict


def fetch_rival() -> Path:
    """Returns the path of vllm-rs, after fetching its wheel once."""
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


def cost_of(command: list, folder: str) -> tuple[float, float]:
    """Runs a command to its end: processor seconds, and peak resident MiB."""
    with open(os.path.join(folder, "log"), "wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, cwd=folder)
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def read_json(folder: str, name: str):
    try:
        with open(os.path.join(folder, name)) as file:
            return json.load(file)
    except FileNotFoundError:
        sys.exit(Path(folder, "log").read_text(errors="replace") + f"\nerror: the client wrote no {name}")


def ours(args, server, load: Load, folder: str) -> Reported:
    command = [args.program, "run", "--backend", "openai", "--base-url", server.url, "--tokenizer", args.gguf]
    command += ["--dataset-name", "random", "--random-input-len", str(INPUT), "--random-output-len", str(load.tokens)]
    command += ["--num-prompts", str(load.requests)]
    command += ["--request-rate", str(load.rate)] if load.rate else ["--max-concurrency", str(load.streams)]
    command += ["--ca-cert", server.certificate] if server.certificate else []
    command += ["--num-warmups", "0", "--no-calibrate", "--quiet", "--overwrite", "--output", folder, "--stamp", args.stamp]
    cost = cost_of(command, folder)
    summary = read_json(folder, "benchmark_summary.json")
    prefix = read_json(folder, "manifest.json")["backend"]["settings"]["request_ids"].partition("<")[0]
    requests, lags, chunks, merged, uncertain = {}, [], 0, 0, 0
    with open(os.path.join(folder, "random.records.jsonl")) as journal:
        for line in map(json.loads, journal):
            if line["line"] != "request" or line["outcome"] != "success":
                continue
            lags.append((line["sent_ns"] - line["scheduled_ns"]) / 1e6)
            first, last = line["first_token_ns"], line["last_token_ns"]
            together = sum(chunk[1] or 0 for chunk in line["chunks"] if chunk[0] == first)
            rest = line["output_tokens"] - together
            tbt = (last - first) / rest / 1e6 if rest > 0 else None
            requests[f"{prefix}{line['id']:012x}"] = ((first - line["sent_ns"]) / 1e6, tbt)
            chunks += len(line["chunks"])
            merged += line["http"].get("merged_chunks") or 0
            uncertain += line["http"].get("merged_chunks") or 0
    validity = summary["validity"]
    more = {
        "valid": float(validity["verdict"] == "VALID"),
        "findings": sorted({finding["code"] for finding in validity["reasons"] + validity["warnings"]}),
        "reasons": [finding.get("message", finding["code"]) for finding in validity["reasons"]],
        "merged_share": merged / max(1, chunks),
        "uncertain_share": uncertain / max(1, chunks),
    }
    if load.rate:
        more |= {"lag_p99_ms": p99(lags), "planned_cv": cv(offsets_of(os.path.join(folder, "plan.jsonl")))}
    metrics = summary["workloads"]["random"]
    return Reported(*cost, requests, metrics["p99_itl_ms"], metrics["avg_tbt_ms"], more)


def offsets_of(plan: str) -> list:
    with open(plan) as lines:
        return [line["offset_ns"] for line in map(json.loads, lines) if line["line"] == "request"]


def theirs(args, server, load: Load, folder: str) -> Reported:
    command = [args.rival, "bench", "serve", "--backend", "openai", "--base-url", server.url, "--model", "bench"]
    command += ["--tokenizer", args.tokenizer, "--dataset-name", "random", "--random-input-len", str(INPUT)]
    command += ["--random-output-len", str(load.tokens), "--num-prompts", str(load.requests)]
    command += ["--request-rate", str(load.rate)] if load.rate else ["--max-concurrency", str(load.streams)]
    command += ["--insecure"] if server.certificate else []
    command += ["--ignore-eos", "--disable-tqdm", "--request-id-prefix", "rival-", "--no-steady-state"]
    command += ["--save-result", "--save-detailed", "--result-filename", "result.json"]
    cost = cost_of(command, folder)
    result = read_json(folder, "result.json")
    requests = {}
    for index, (ttft, gaps) in enumerate(zip(result["ttfts"], result["itls"])):
        requests[f"rival-{index}"] = (1e3 * ttft, 1e3 * sum(gaps) / len(gaps) if gaps else None)
    return Reported(*cost, requests, result.get("p99_itl_ms"), result.get("mean_tpot_ms"), {})


def p99(values: list) -> float:
    """The 99th percentile with linear interpolation, as both clients compute it."""
    ordered = sorted(values)
    place = 0.99 * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])


def cv(times: list) -> float:
    """The coefficient of variation of the gaps between ascending times."""
    gaps = [after - before for before, after in zip(times, times[1:])]
    return statistics.stdev(gaps) / statistics.mean(gaps)
