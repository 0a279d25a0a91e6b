"""The servers that the clients are measured against, and what each of them noted of every request."""

import json
import os
import shutil
import subprocess
import tempfile
import urllib.request
from pathlib import Path
from typing import NamedTuple

HOME = Path(__file__).resolve().parent.parent
CRATE = HOME / "bench" / "server"
# Most that a token may be late before its server says so. In nanoseconds.
LATE = 200_000


class Truth(NamedTuple):
    """One request, in milliseconds: its TTFT, the gaps between the writes of its tokens, and its TBT."""

    arrival: float
    ttft: float
    # How long the write of the first token took, if it was long: any receive time within it is right.
    slack: float
    gaps: list
    tbt: float | None
    end: float
    tokens: int
    # Whether the server wrote a token more than 0.2 ms late.
    late: bool
    whole: bool


def truth_of(arrival_ns: int, writes: list, slack_ns: int, late: bool, whole: bool) -> Truth:
    """`writes` holds the time since the write before and the number of tokens of each write."""
    gaps = [gap / 1e6 for gap, _ in writes]
    # As the clients see it: tokens of one write come together.
    between = [gap for gap, (_, count) in zip(gaps[1:], writes[1:]) for gap in [gap, *[0.0] * (count - 1)]]
    between = [0.0] * (writes[0][1] - 1) + between
    tokens = sum(count for _, count in writes)
    after_first = tokens - writes[0][1]
    tbt = sum(gaps[1:]) / after_first if after_first else None
    arrival = arrival_ns / 1e6
    return Truth(arrival, gaps[0], slack_ns / 1e6, between, tbt, arrival + sum(gaps), tokens, late, whole)


class Simulator:
    """`PROGRAM serve --simulate`. Its streams are out of phase when each token is early or late by up to half an ITL."""

    name = "simulator"

    def __init__(self, program: Path, ttft: float, itl: float, phase: str = "together", tokenizer: Path | None = None):
        command = [program, "serve", "--simulate", "--port", "0", "--until-eof"]
        command += ["--ttft", f"{ttft:g}ms", "--itl", f"{itl:g}ms"]
        command += ["--jitter", f"{itl / 2:g}ms"] if phase == "random" else []
        command += ["--tokenizer", str(tokenizer)] if tokenizer else []
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.url = self.process.stdout.readline().split()[-1]
        self.certificate = None

    def note_each_write(self):
        with urllib.request.urlopen(urllib.request.Request(self.url + "/admin/truth", method="PUT")):
            pass

    def truth(self) -> dict:
        with urllib.request.urlopen(self.url + "/admin/truth") as answer:
            notes = [json.loads(line) for line in answer.read().splitlines()]
        found = {}
        for note in notes:
            if note["request"] and note.get("write_gaps_ns"):
                late = note["latest_ns"] > LATE
                found[note["request"]] = truth_of(note["arrival_ns"], note["write_gaps_ns"], 0, late, note["whole"])
        return found

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait()


class Server:
    """`bench/server`, which shares no code with the program and sends each token with a separate write."""

    name = "bench-server"

    def __init__(self, program: Path, ttft: float, itl: float, phase: str = "together", tls: bool = False):
        self.folder = tempfile.mkdtemp()
        self.notes = Path(self.folder) / "truth.jsonl"
        self.certificate = Path(self.folder) / "certificate.pem" if tls else None
        command = [program, "--ttft-ms", f"{ttft:g}", "--itl-ms", f"{itl:g}", "--phase", phase, "--truth", self.notes]
        command += ["--tls", self.certificate] if tls else []
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.url = self.process.stdout.readline().split()[-1]

    def note_each_write(self):
        pass

    def truth(self) -> dict:
        """Ends the server, which writes its notes then."""
        self.process.stdin.close()
        self.process.wait()
        found = {}
        with open(self.notes) as lines:
            for note in map(json.loads, lines):
                if note["request"] and note["gaps_ns"]:
                    writes = [(gap, 1) for gap in note["gaps_ns"]]
                    slack = dict(map(tuple, note["slow_ns"])).get(0, 0)
                    late = note["late"] > 0
                    found[note["request"]] = truth_of(note["arrival_ns"], writes, slack, late, note["whole"])
        return found

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if not self.process.stdin.closed:
            self.process.stdin.close()
            self.process.wait()
        shutil.rmtree(self.folder)


def build_server() -> Path:
    """Builds `bench/server` with the versions of the main workspace; returns the path of its program."""
    target = Path(os.environ.get("CARGO_TARGET_DIR") or HOME / "target")
    shutil.copyfile(HOME / "Cargo.lock", CRATE / "Cargo.lock")
    command = ["cargo", "build", "--release", "--quiet", "--manifest-path", CRATE / "Cargo.toml", "--target-dir", target]
    subprocess.run(command, check=True)
    return target / "release" / "bench-server"
