"""The bars that this client has to clear beside vLLM's Rust client, and whether it does."""

from typing import NamedTuple

# Streams at which processor time and errors are compared.
MIDDLE = (64, 256)
MOST = 1024


class Bar(NamedTuple):
    """A figure with its limit; `met` is None when the load that it is about was not measured."""

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


def bars(pairs: list, stamp: str, busy: bool) -> list[Bar]:
    """All bars of this kind of measurement. `pairs` holds a load, our figures and the rival's for each."""
    closed = {load.streams: (mine, rival) for load, mine, rival in pairs if not load.rate and load.itl != "0ms"}
    flat_out = next(((mine, rival) for load, mine, rival in pairs if load.itl == "0ms"), None)
    opened = next((mine for load, mine, _ in pairs if load.rate), None)

    def ours(streams: int, key: str) -> float | None:
        return closed[streams][0][key] if streams in closed else None

    def ratio(pair: tuple | None, key: str) -> float | None:
        return pair and pair[0][key] / pair[1][key]

    if busy:
        if stamp != "kernel":
            return []
        return [
            at_most("busy: TTFT error at 256 streams, mean", ours(256, "ttft_error_mean_ms"), 1.0, " ms"),
            at_least("busy: share of runs at 256 streams that say the client was late", ours(256, "says_late"), 1),
        ]
    found = []
    for streams in MIDDLE:
        name = f"CPU per token at {streams} streams, of vllm-rs's"
        found.append(at_most(name, ratio(closed.get(streams), "cpu_s_per_million_tokens"), 0.5, "×"))
    cost = ratio(flat_out, "cpu_s_per_million_tokens")
    found.append(at_most("CPU per token without any delay, of vllm-rs's", cost, 0.5, "×"))
    found.append(at_least("tokens/s without any delay, of vllm-rs's", ratio(flat_out, "tokens_per_s"), 1.5, "×"))
    if stamp == "kernel":
        for streams in MIDDLE:
            name = f"TTFT error at {streams} streams"
            found.append(at_most(f"{name}, mean", ours(streams, "ttft_error_mean_ms"), 0.3, " ms"))
            found.append(at_most(f"{name}, p99", ours(streams, "ttft_error_p99_ms"), 1.0, " ms"))
    for streams, limit in [(MOST, 0.1)] if stamp == "kernel" else [(streams, 0.5) for streams in (*MIDDLE, MOST)]:
        for stat in ("mean", "p99"):
            name = f"TTFT error at {streams} streams, {stat}, of vllm-rs's"
            found.append(at_most(name, ratio(closed.get(streams), f"ttft_error_{stat}_ms"), limit, "×"))
    planned = opened and abs(opened["gap_cv"] / opened["planned_cv"] - 1)
    found += [
        at_most("open loop: TTFT error, p99", opened and opened["ttft_error_p99_ms"], 0.3, " ms"),
        at_most("open loop: lag behind the schedule, p99", opened and opened["lag_p99_ms"], 0.2, " ms"),
        # A plan of N gaps has a CV that differs from 1 by 1 / sqrt(N) anyway: 1.4 % of 5000.
        at_most("open loop: CV of the gaps off 1", opened and abs(opened["gap_cv"] - 1), 0.02),
        at_most("open loop: CV of the gaps off that of the plan", planned, 0.02),
    ]
    return found
