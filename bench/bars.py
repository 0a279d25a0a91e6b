"""The bars that this client has to clear, and whether it does."""

import math
from typing import NamedTuple

from loads import CLOSED, OPEN, PHASES, SERVERS

# What is reported may be this far from the truth: key, name, limit, unit and factor to the unit.
LIMITS = (
    ("ttft_error_mean_ms", "TTFT error, mean", 0.3, " ms", 1),
    ("ttft_error_p99_ms", "TTFT error, p99", 2.0, " ms", 1),
    ("itl_p99_error_ms", "ITL p99 error", 1.0, " ms", 1),
    ("tbt_error", "TBT error", 0.1, " %", 100),
)
# Loads whose figures have to be right, and those where the run may say INVALID instead.
RIGHT = ("64", "256", "1024", "256-tls")
RIGHT_OR_INVALID = ("4096",)
# Schedule lag at p99 in milliseconds.
LAG = {"500/s": 0.2, "1500/s": 0.3}
CPU_RATIO = 0.55


class Bar(NamedTuple):
    """A figure with its limit; `met` is None when its load was not measured."""

    name: str
    value: float | None
    limit: str
    met: bool | None

    def __str__(self):
        met = {None: "not measured", True: "met", False: "MISSED"}[self.met]
        value = "" if self.value is None else f"{self.value:.4g}"
        return f"| {self.name} | {value} | {self.limit} | {met} |"


def at_most(name: str, value: float | None, limit: float, unit: str = "") -> Bar:
    return Bar(name, value, f"≤ {limit:g}{unit}", None if value is None else value <= limit)


def at_least(name: str, value: float | None, limit: float, unit: str = "") -> Bar:
    return Bar(name, value, f"≥ {limit:g}{unit}", None if value is None else value >= limit)


def is_right(run: dict) -> bool:
    """Whether all that a run reported is as near to the truth as it has to be."""
    known = [limit for limit in LIMITS if limit[0] in run and math.isfinite(run[limit[0]])]
    return all(factor * run[key] <= limit for key, _, limit, _, factor in known)


def bars(pairs: dict, stamp: str, busy: bool) -> list[Bar]:
    """All bars of what was measured. `pairs` holds our figures and the rival's by server, load and phase."""
    found = []
    for server in SERVERS:
        for load in (*CLOSED, "256-tls", "flat-out", *OPEN):
            for phase in PHASES:
                if (server, load, phase) in pairs:
                    name = f"{server}, {load}, {phase}"
                    found += bars_of(name, server, load, *pairs[server, load, phase], stamp, busy)
    return found


def bars_of(name: str, server: str, load: str, mine: dict, rival: dict, stamp: str, busy: bool) -> list[Bar]:
    """The bars of one load."""
    found = []
    # Only the kernel's stamps are exact; with its own, a client is as late as it reads.
    if stamp == "kernel" and load in (*RIGHT, *RIGHT_OR_INVALID):
        if load in RIGHT and not busy:
            found += [at_most(f"{name}: {what}", factor * mine[key], most, unit) for key, what, most, unit, factor in LIMITS]
        found.append(at_most(f"{name}: share of runs that are wrong but VALID", mine["wrong_but_valid"], 0))
    if busy:
        return found
    ratio = lambda key: mine[key] / rival[key]
    if stamp == "user" and load in RIGHT:
        for stat in ("mean", "p99"):
            found.append(at_most(f"{name}: TTFT error, {stat}, of vllm-rs's", ratio(f"ttft_error_{stat}_ms"), 0.5, "×"))
    # Without delays, bench-server limits both clients, because it needs a write for each token.
    if load in RIGHT or (load, server) == ("flat-out", "simulator"):
        cost = ratio("cpu_s_per_million_tokens_after_start")
        found.append(at_most(f"{name}: CPU per token after the start, of vllm-rs's", cost, CPU_RATIO, "×"))
    if (load, server) == ("flat-out", "simulator"):
        found.append(at_least(f"{name}: tokens/s, of vllm-rs's", ratio("tokens_per_s"), 1.5, "×"))
    if load in OPEN:
        found.append(at_most(f"{name}: lag behind the schedule, p99", mine["lag_p99_ms"], LAG[load], " ms"))
        if stamp == "kernel":
            found.append(at_most(f"{name}: TTFT error, p99", mine["ttft_error_p99_ms"], 0.3, " ms"))
        # Of N requests the CV differs from 1 by about 1 / sqrt(N) anyway, so the plan's is the measure.
        planned = abs(mine["gap_cv"] / mine["planned_cv"] - 1)
        found.append(at_most(f"{name}: CV of the gaps off that of the plan", planned, 0.02))
    return found
