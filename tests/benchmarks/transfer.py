#!/usr/bin/env python3
"""Downloads the same files from nginx with platform-download, curl, aria2c, rclone and the official Python SDK, in turns.

Usage: transfer.py TRANSFER, the program of tests/transfer. All programs get ready URLs; platform-download verifies the
CRC32C, and with "defaults" also synchronizes the files and computes the SHA-256. A proxy adds the delay. PYTHON_SDK names
a Python with the package `aignostics`; it is left out if there is none. ROUNDS (5) and SCALE (1.0) change the duration,
CASES (1234) selects the cases, LINKS the links by their number, and WORK (/dev/shm) is the folder of the files.
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from emulated import ROOTS, measured

TRANSFER = os.path.abspath(sys.argv[1])
ROUNDS = int(os.environ.get("ROUNDS", "5"))
SCALE = float(os.environ.get("SCALE", "1"))
CASES = os.environ.get("CASES", "1234")
LINKS = os.environ.get("LINKS", "123456")
WORK = os.environ.get("WORK", "/dev/shm")
TOOLS = os.environ.get("AIGNOSTICS_TEST_TOOLS", os.path.expanduser("~/.cache/aignostics-test-tools"))
PYTHON_SDK = os.environ.get("PYTHON_SDK", f"{TOOLS}/python-sdk/bin/python3")
MIB = 1 << 20
# name, files, bytes of each, bytes per second of a connection with a delay, files for the SDK
SCENARIOS = [
    ("1 x 2 GiB", 1, 2048 * MIB, 0, 1),
    ("1,000 x 1 MiB", 1000, MIB, 0, 100),
    ("10,000 x 10 KiB", 10_000, 10 * 1024, 0, 200),
    ("100 x 1 MiB, 40 MB/s per connection", 100, MIB, 40_000_000, 20),
]
DELAYS = [(tls, delay) for tls in [False, True] for delay in [0, 30, 100]]
NGINX = """
user root; daemon off; worker_processes 1; pid {work}/nginx.pid; error_log stderr crit;
events {{ worker_connections 1024; }}
http {{
    access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000; autoindex on; root {work};
    client_body_temp_path {work}; proxy_temp_path {work}; fastcgi_temp_path {work}; uwsgi_temp_path {work}; scgi_temp_path {work};
    server {{ listen 127.0.0.1:{plain}; }}
    server {{ listen 127.0.0.1:{tls} ssl; ssl_certificate {work}/server.pem; ssl_certificate_key {work}/server.key; }}
}}
"""
CERTIFICATES = """
openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 2 -subj /CN=transfer
openssl req -newkey rsa:2048 -nodes -keyout server.key -out server.csr -subj /CN=127.0.0.1
printf 'subjectAltName=IP:127.0.0.1\\nbasicConstraints=CA:FALSE\\n' > server.ext
openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile server.ext -out server.pem
"""
SDK = """
import json, sys, time
from aignostics.platform._utils import download_file
files = [json.loads(line) for line in open(sys.argv[1])][: int(sys.argv[3])]
start = time.monotonic()
for file in files:
    download_file(file["url"], sys.argv[2] + "/" + file["name"], file["crc32c"])
print(time.monotonic() - start)
"""


class Server:
    """nginx, and a proxy for each delay."""

    def __init__(self, work):
        self.work, self.ports, self.proxies = work, {False: port(), True: port()}, {}
        subprocess.run(["bash", "-ec", CERTIFICATES], cwd=work, check=True, capture_output=True)
        (work / "nginx.conf").write_text(NGINX.format(work=work, plain=self.ports[False], tls=self.ports[True]))
        path = os.environ["PATH"] + ":/usr/sbin"
        self.running = [subprocess.Popen(["nginx", "-c", str(work / "nginx.conf")], env={**os.environ, "PATH": path})]
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{self.ports[False]}/nginx.conf").close()
                return
            except OSError:
                if self.running[0].poll() is not None:
                    raise SystemExit("nginx cannot be started")
                time.sleep(0.05)

    def root(self, tls, delay, rate):
        """The root of the URLs over a link."""
        if delay and (tls, delay, rate) not in self.proxies:
            to = f"127.0.0.1:{self.ports[tls]}"
            proxy = subprocess.Popen([TRANSFER, "delay", to, str(delay), str(rate)], stdout=subprocess.PIPE, text=True)
            self.running.append(proxy)
            self.proxies[tls, delay, rate] = int(proxy.stdout.readline())
        port = self.proxies[tls, delay, rate] if delay else self.ports[tls]
        return f"http{'s' if tls else ''}://127.0.0.1:{port}"

    def stop(self):
        for process in self.running:
            process.terminate()
            process.wait()


def port():
    import socket

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def ways(listed, files, root, ca):
    """The programs that download the files: name, command for a folder, whether it is available."""
    urls = [(file["url"], file["name"]) for file in files]

    def config(folder, text):
        path = folder.with_suffix(".list")
        path.write_text(text)
        return str(path)

    def curl(folder):
        lines = config(folder, "".join(f'url = "{url}"\noutput = "{folder}/{name}"\n' for url, name in urls))
        return ["curl", "--no-progress-meter", "--fail", "--cacert", ca, "--parallel", "--parallel-max", "16", "--config", lines]

    def aria2c(folder):
        lines = config(folder, "".join(f"{url}\n out={name}\n" for url, name in urls))
        command = ["aria2c", "--quiet", "--file-allocation=none", "--max-concurrent-downloads=16", "--split=16"]
        return command + ["--max-connection-per-server=16", "--ca-certificate", ca, "--dir", str(folder), "--input-file", lines]

    def rclone(folder):
        command = ["rclone", "copy", ":http:", str(folder), "--http-url", root + "/", "--transfers", "16", "--checkers", "16"]
        command += ["--multi-thread-streams", "16", "--config", "", "--ca-cert", ca, "--log-level", "ERROR"]
        return command + (["--http-no-head"] if len(urls) > 1 else [])

    def ours(*options):
        return lambda folder: [TRANSFER, "download", str(listed), str(folder), "--ca", ca, *options]

    yield "platform-download", ours(), True
    yield "curl", curl, shutil.which("curl")
    yield "aria2c", aria2c, shutil.which("aria2c")
    yield "rclone", rclone, shutil.which("rclone")
    yield "defaults", ours("--defaults"), True


def sdk(work, listed, files, count, env):
    """Seconds of the SDK for all files, computed from the first ones."""
    count = min(count, len(files))
    with tempfile.TemporaryDirectory(dir=work) as folder:
        command = [PYTHON_SDK, "-c", SDK, str(listed), folder, str(count)]
        _, cpu, memory, output = measured(command, env, stderr=subprocess.DEVNULL)
        return float(output.split()[-1]) * len(files) / count, cpu, memory


def compare(server, name, files, size, rate, for_sdk, link):
    tls, delay = link
    files = max(1, int(files * SCALE)) if files > 1 else 1
    size = size if files > 1 or size == MIB else int(size * SCALE)
    source = server.work / f"{files}x{size}"
    if not source.exists():
        source.mkdir()
        block = os.urandom(MIB)
        for number in range(files):
            with open(source / str(number), "wb") as file:
                for part in range(-(-size // MIB)):
                    changed = f"{number}/{part}/".encode() + block
                    file.write(changed[: min(MIB, size - part * MIB)])
    root = server.root(tls, delay, rate) + f"/{source.name}"
    lines = subprocess.run([TRANSFER, "list", str(source)], check=True, capture_output=True, text=True).stdout.splitlines()
    entries = [{"url": f"{root}/{entry['name']}", **entry} for entry in map(json.loads, lines)]
    listed = server.work / "files"
    listed.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    ca = str(server.work / "ca.pem")
    kept = {key: value for key, value in os.environ.items() if key not in ROOTS and not key.lower().endswith("_proxy")}
    env = {**kept, "REQUESTS_CA_BUNDLE": ca}
    load = os.getloadavg()[0]
    print(f"\n== {name}, {'TLS' if tls else 'plain'}, {delay} ms, load {load:.1f}" + (f" (x {SCALE})" if SCALE != 1 else ""), flush=True)
    results = {}
    for _ in range(ROUNDS):
        for way, command, there in ways(listed, entries, root, ca):
            if not there:
                continue
            folder = Path(tempfile.mkdtemp(dir=server.work))
            results.setdefault(way, []).append(measured(command(folder), env)[:3])
            found = sum(path.stat().st_size for path in folder.iterdir() if path.is_file())
            if found < files * size:
                raise SystemExit(f"{way} left {found} bytes of {files * size}")
            shutil.rmtree(folder)
    if os.path.exists(PYTHON_SDK):
        results["Python SDK"] = [sdk(server.work, listed, entries, for_sdk, env)]
    ours = statistics.median(wall for wall, _, _ in results["platform-download"])
    print(f"{'':20} {'wall s':>8} {'MB/s':>7} {'CPU s':>7} {'peak MiB':>9} {'of ours':>8}")
    for way, rounds in results.items():
        wall, cpu, memory = (statistics.median(column) for column in zip(*rounds))
        print(f"{way:20} {wall:8.2f} {files * size / wall / 1e6:7.0f} {cpu:7.2f} {memory:9.0f} {wall / ours:7.2f}x", flush=True)


def main():
    for tool in ["curl", "aria2c", "rclone"]:
        if not shutil.which(tool):
            print(f"{tool} is not installed: left out")
    if not os.path.exists(PYTHON_SDK):
        print("PYTHON_SDK names no Python with the package aignostics: the official SDK is left out")
    with tempfile.TemporaryDirectory(dir=WORK) as work:
        server = Server(Path(work))
        try:
            for number, scenario in enumerate(SCENARIOS, 1):
                for link_number, link in enumerate(DELAYS, 1):
                    # The rate of a connection is that of the proxy.
                    if str(number) in CASES and str(link_number) in LINKS and not (scenario[3] and not link[1]):
                        compare(server, *scenario, link)
        finally:
            server.stop()


main()
