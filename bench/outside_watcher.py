#!/usr/bin/env python3
"""Compares the stamps of `sagellm-benchmark run -v` with the times at which another program sees the tokens.

    bench/outside_watcher.py PROGRAM [OPTIONS OF run]

PROGRAM prints a line for every event, with the engine's own stamp. This script notes when each line reaches it, and
compares the time to first token and the time between tokens of every request by both clocks. What differs is the way
from the engine's thread through the pipe to here.
"""

import re
import statistics
import subprocess
import sys
import tempfile
import time

LINE = re.compile(rb"\[\s*([\d.]+)\] (\S+)( warm-up)? #(\d+) (sent|\d+ token)")


def main() -> int:
    if len(sys.argv) < 2 or sys.argv[1] in ("-h", "--help"):
        print(__doc__.strip())
        return 2
    stamps, seen = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.argv[1], "run", "-v", "--output", folder, *sys.argv[2:]]
        run = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, bufsize=0)
        rest = b""
        while chunk := run.stderr.read(1 << 16):
            now = time.monotonic()
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                match = LINE.match(line)
                if match and not match[3]:
                    request = match[2], match[4]
                    stamps.setdefault(request, []).append(float(match[1]))
                    seen.setdefault(request, []).append(now)
        if run.wait() != 0:
            print(f"the run ended with exit code {run.returncode}", file=sys.stderr)
            return 1

    ttft, tbt = [], []
    for request, inside in stamps.items():
        outside = seen[request]
        ttft.append(1e3 * ((outside[1] - outside[0]) - (inside[1] - inside[0])))
        per_token = [(t[-1] - t[1]) / (len(t) - 2) for t in (outside, inside)]
        tbt.append(1e3 * (per_token[0] - per_token[1]))
    print(f"{len(ttft)} requests, {sum(len(t) - 1 for t in stamps.values())} tokens")
    for name, differences in (("TTFT", ttft), ("TBT", tbt)):
        sizes = [abs(d) for d in differences]
        print(f"{name}: seen minus stamped, median {statistics.median(differences):+.3f} ms, largest {max(sizes):.3f} ms")
    return 0


if __name__ == "__main__":
    sys.exit(main())
