"""An emulator for a benchmark, and the cost of a command."""

import http.client
import json
import os
import subprocess
import tempfile
import time
from urllib.parse import urlencode, urlsplit

ROOTS = ["REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR"]


class Platform:
    """A separate emulator with a logged-in user."""

    def __init__(self, command, work):
        self.process = subprocess.Popen(
            [command, "emulator", "--control", "--data-dir", str(work / "data")], stdout=subprocess.PIPE, text=True
        )
        self.ready = json.loads(self.process.stdout.readline())
        # The root certificates of the machine are not needed, and take time to read.
        kept = {name: value for name, value in os.environ.items() if name not in ROOTS}
        self.env = {**kept, **self.ready["env"]}
        self.connections = {}
        form = {
            "grant_type": "refresh_token",
            "client_id": self.ready["client_ids"]["interactive"],
            "refresh_token": self.env["AIGNOSTICS_REFRESH_TOKEN"],
        }
        url = self.env["AIGNOSTICS_TOKEN_URL"]
        token = self.ask("POST", url, urlencode(form), {"content-type": "application/x-www-form-urlencoded"})[1]
        self.bearer = {"authorization": "Bearer " + json.loads(token)["access_token"], "content-type": "application/json"}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()

    def ask(self, method, url, body=None, headers=None):
        parts = urlsplit(url)
        connection = self.connections.setdefault(parts.netloc, http.client.HTTPConnection(parts.netloc))
        connection.request(method, parts.path + ("?" + parts.query if parts.query else ""), body, headers or {})
        answer = connection.getresponse()
        content = answer.read()
        if answer.status >= 400:
            raise SystemExit(f"{method} {parts.path}: {answer.status} {content[:200]}")
        return answer, content

    def api(self, method, path, body=None):
        return self.ask(method, self.ready["api_root"] + path, body and json.dumps(body), self.bearer)

    def control(self, method, path, body=None):
        headers = {"authorization": "Bearer " + self.ready["control"]["token"], "content-type": "application/json"}
        return self.ask(method, self.ready["control"]["url"] + path, body and json.dumps(body), headers)

    def run(self, files, size):
        """Creates a terminated run with this number of results of this size; returns its id and their signed URLs."""
        metadata = {"size_bytes": size, "media_type": "image/tiff"}
        slide = {"name": "whole_slide_image", "download_url": "http://127.0.0.1:9/", "metadata": metadata}
        items = [{"external_id": f"slide-{number}", "input_artifacts": [slide]} for number in range(files)]
        run = json.loads(self.api("POST", "api/v1/runs", {"application_id": "huge-file", "items": items})[1])["run_id"]
        # The run is hidden for a moment, because reads lag.
        time.sleep(1)
        while json.loads(self.api("GET", f"api/v1/runs/{run}")[1])["state"] != "TERMINATED":
            time.sleep(0.2)
        urls = []
        for page in range(1, 1 + -(-files // 100)):
            for item in json.loads(self.api("GET", f"api/v1/runs/{run}/items?page_size=100&page={page}")[1]):
                artifact = item["output_artifacts"][0]["output_artifact_id"]
                urls.append(self.api("GET", f"api/v1/runs/{run}/artifacts/{artifact}/file")[0].headers["location"])
        return run, urls


def measured(command, env, **more):
    """Returns wall time and CPU time in seconds, peak memory in MiB, and the output."""
    with tempfile.NamedTemporaryFile(mode="r") as peak:
        # GNU time is small: the peak memory of a child includes that of its parent at the fork.
        timed = ["time", "--format", "%M", "--output", peak.name, *command]
        start = time.monotonic()
        process = subprocess.Popen(timed, env=env, stdout=subprocess.PIPE, text=True, **more)
        output = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.monotonic() - start
        if status:
            raise SystemExit(f"{command[0]} failed: {status}")
        return wall, usage.ru_utime + usage.ru_stime, int(peak.read()) / 1024, output
