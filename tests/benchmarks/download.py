#!/usr/bin/env python3
"""Downloads the same bytes from the emulator with the command, curl, aria2c and the official Python SDK, interleaved.

Usage: download.py COMMAND. Programs that are not installed are skipped with a message. PYTHON_SDK names a Python with
the package `aignostics` (1.6.0). ROUNDS (3) and SCALE (1.0) change the duration, CASES (1234) selects the cases. TMPDIR
needs 8 GB.
"""

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from emulated import Platform, measured

COMMAND = os.path.abspath(sys.argv[1])
ROUNDS = int(os.environ.get("ROUNDS", "3"))
SCALE = float(os.environ.get("SCALE", "1"))
CASES = os.environ.get("CASES", "1234")
PYTHON_SDK = os.environ.get("PYTHON_SDK", "")
MIB = 1 << 20
# name, files, bytes of each, whether the link is slow
SCENARIOS = [
    ("1 x 2 GiB", 1, 2048 * MIB, False),
    ("1,000 x 1 MiB", 1000, MIB, False),
    ("10,000 x 10 KiB", 10_000, 10 * 1024, False),
    ("100 x 1 MiB, 30 ms, 40 MB/s per connection", 100, MIB, True),
]
SDK = """
import sys, tempfile, time, warnings
warnings.simplefilter("ignore")
from aignostics.platform import Client
run = Client().run(sys.argv[1])
for _ in range(2):
    with tempfile.TemporaryDirectory() as folder:
        start = time.monotonic()
        run.download_to_folder(folder, print_status=False)
        print(time.monotonic() - start, flush=True)
"""


def ways(run, urls):
    """The programs that download the files: name, command for a folder, and availability."""

    def ours(folder):
        return [COMMAND, "run", "download", run, str(folder), "--quiet"]

    def curl(folder):
        lines = (f'url = "{url}"\noutput = "{folder}/{number}"\n' for number, url in enumerate(urls))
        config = folder / "curl"
        config.write_text("".join(lines))
        return ["curl", "--no-progress-meter", "--fail", "--parallel", "--parallel-max", "16", "--config", str(config)]

    def aria2c(folder):
        lines = (f"{url}\n out={number}\n" for number, url in enumerate(urls))
        listed = folder / "aria2c"
        listed.write_text("".join(lines))
        command = ["aria2c", "--quiet", "--file-allocation=none", "--max-concurrent-downloads=16", "--split=16"]
        return command + ["--max-connection-per-server=16", "--dir", str(folder), "--input-file", str(listed)]

    yield "aignostics", ours, True
    yield "curl", curl, shutil.which("curl")
    yield "aria2c", aria2c, shutil.which("aria2c")


def compare(platform, work, name, files, size, slow):
    files = max(1, int(files * SCALE)) if files > 1 else 1
    size = size if files > 1 else int(size * SCALE)
    run, urls = platform.run(files, size)
    if slow:
        for effect in [{"kind": "latency", "milliseconds": 30}, {"kind": "bandwidth", "bytes_per_second": 40_000_000}]:
            platform.control("POST", "/faults", {"effect": effect})
    print(f"\n== {name}" + (f" (x {SCALE})" if SCALE != 1 else ""), flush=True)
    results = {}
    for _ in range(ROUNDS):
        for way, command, there in ways(run, urls):
            if not there:
                continue
            folder = Path(tempfile.mkdtemp(dir=work))
            results.setdefault(way, []).append(measured(command(folder), platform.env)[:3])
            found = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
            if found < files * size:
                raise SystemExit(f"{way} left {found} bytes of {files * size}")
            shutil.rmtree(folder)
    if PYTHON_SDK:
        wall, cpu, memory, output = measured([PYTHON_SDK, "-c", SDK, run], platform.env, stderr=subprocess.DEVNULL)
        first, second = (float(line) for line in output.split())
        results["Python SDK, first"] = [(first, cpu / 2, memory)]
        results["Python SDK, second"] = [(second, cpu / 2, memory)]
    if slow:
        platform.control("DELETE", "/faults")
    ours = statistics.median(wall for wall, _, _ in results["aignostics"])
    print(f"{'':20} {'wall s':>8} {'MB/s':>7} {'CPU s':>7} {'peak MiB':>9} {'of ours':>8}")
    for way, rounds in results.items():
        wall, cpu, memory = (statistics.median(column) for column in zip(*rounds))
        print(f"{way:20} {wall:8.2f} {files * size / wall / 1e6:7.0f} {cpu:7.2f} {memory:9.0f} {wall / ours:7.2f}x", flush=True)


def main():
    for tool in ["curl", "aria2c"]:
        if not shutil.which(tool):
            print(f"{tool} is not installed: left out")
    if not PYTHON_SDK:
        print("PYTHON_SDK names no Python with the package aignostics: the official SDK is left out")
    with tempfile.TemporaryDirectory() as work, Platform(COMMAND, Path(work)) as platform:
        for scenario in (scenario for number, scenario in enumerate(SCENARIOS, 1) if str(number) in CASES):
            compare(platform, Path(work), *scenario)


main()
