#!/usr/bin/env python3
"""Measures the startup time of the command, an interpreter and curl in interleaved rounds.

Usage: command.py COMMAND. ROUNDS (50) sets the number of rounds.
"""

import os
import statistics
import sys
import tempfile
from pathlib import Path

from emulated import Platform, measured

COMMAND = os.path.abspath(sys.argv[1])
ROUNDS = int(os.environ.get("ROUNDS", "50"))


def compare(name, ways, env):
    """Prints the cost of each program, and its ratio to the last one."""
    rounds = {way: [] for way in ways}
    for _ in range(ROUNDS):
        for way, command in ways.items():
            rounds[way].append(measured(command, env)[:3])
    print(f"\n== {name}, {ROUNDS} rounds")
    print(f"{'':24} {'median ms':>10} {'p90 ms':>8} {'CPU ms':>8} {'peak MiB':>9} {'ratio':>7}")
    baseline = statistics.median(wall for wall, _, _ in rounds[list(ways)[-1]])
    for way, taken in rounds.items():
        wall, cpu, memory = zip(*taken)
        median, late = statistics.median(wall), statistics.quantiles(wall, n=10)[-1]
        cells = f"{median * 1e3:10.1f} {late * 1e3:8.1f} {statistics.median(cpu) * 1e3:8.1f} {max(memory):9.1f}"
        print(f"{way:24} {cells} {median / baseline:7.2f}", flush=True)


def main():
    print(f"the command has {os.path.getsize(COMMAND) / 1e6:.1f} MB")
    with tempfile.TemporaryDirectory() as work, Platform(COMMAND, Path(work)) as platform:
        start = {"aignostics --help": [COMMAND, "--help"], "python3 -c pass": ["python3", "-c", "pass"]}
        compare("start", start, platform.env)
        me = platform.ready["api_root"] + "api/v1/me"
        bearer = Path(work) / "bearer"
        bearer.write_text(f'header = "authorization: {platform.bearer["authorization"]}"\n')
        whoami = {
            "aignostics user whoami": [COMMAND, "user", "whoami"],
            "curl": ["curl", "--no-progress-meter", "--fail", "--config", str(bearer), me],
        }
        # The token is cached from the second call on.
        measured(whoami["aignostics user whoami"], platform.env)
        compare("user whoami, logged in", whoami, platform.env)


main()
