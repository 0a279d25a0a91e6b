"""What the clients are asked to do."""

from typing import NamedTuple

TTFT, ITL = 50.0, 10.0
# Load by name: streams of a closed loop, or requests per second of an open one.
CLOSED = {"1": 1, "64": 64, "256": 256, "1024": 1024, "4096": 4096}
# How often each stream is used: few streams need more requests, so that the start of a client is a small part of its cost.
ROUNDS = {1: 8, 64: 6, 256: 3, 1024: 2, 4096: 2}
OPEN = {"500/s": 500.0, "1500/s": 1500.0}
NAMES = [*CLOSED, "256-tls", "flat-out", *OPEN]
SERVERS = ("simulator", "bench-server")
PHASES = ("together", "random")


class Load(NamedTuple):
    """A load on one server: with `rate` (requests per second), an open loop; otherwise `streams` at once."""

    name: str
    server: str
    phase: str
    streams: int
    requests: int
    tokens: int = 128
    ttft: float = TTFT
    itl: float = ITL
    rate: float | None = None
    tls: bool = False

    @property
    def key(self) -> tuple:
        return self.server, self.name, self.phase


def loads(names: list, servers: list, phases: list) -> list[Load]:
    """All combinations that exist: only bench-server speaks TLS, and only closed loops with delays have a phase."""
    found = []
    for server in servers:
        for name in names:
            for phase in phases:
                if name in CLOSED:
                    streams = CLOSED[name]
                    found.append(Load(name, server, phase, streams, ROUNDS[streams] * streams))
                elif name == "256-tls" and server == "bench-server":
                    found.append(Load(name, server, phase, 256, ROUNDS[256] * 256, tls=True))
                elif name == "flat-out" and phase == phases[0]:
                    found.append(Load(name, server, "together", 64, 4096, ttft=0.0, itl=0.0))
                elif name in OPEN and phase == phases[0]:
                    rate = OPEN[name]
                    found.append(Load(name, server, "together", 0, int(10 * rate), 16, rate=rate))
    return found
