"""schemathesis: requests generated from the document, with a fixed seed and existing runs, items, grants and tokens."""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
import xml.etree.ElementTree as xml

import document
from redaction import redacted
from report import READY, Accepted, access_token, control, note, operation

SEED, EXAMPLES = "1", "20"
# schemathesis reports a request that fits the schema and is refused. Accepted findings: the code, a part of the response,
# and the reason.
REFUSED = "ST202"
METADATA = [(REFUSED, "412 ", "the generated checksum is not that of the metadata (412)")]
SORT = [(REFUSED, '"sort"', "the schema permits any text in `sort`; only the documented fields are accepted (422)")]
ACCEPTED = {
    "GET /v1/applications": [
        (REFUSED, '"page"', "the schema has no largest page; numbers of more than 64 bits are refused (422)")],
    "GET /v1/runs": SORT,
    "GET /v1/access/grants": SORT,
    "GET /v1/access/share-tokens": SORT,
    "GET /v1/runs/{run_id}/items": [
        (REFUSED, "JSONPath", "the schema permits any text as a JSONPath expression; invalid ones are refused (422)")],
    "POST /v1/runs": [
        (REFUSED, "must be in the future", "the schema permits any time; a due date must be in the future (400)")],
    "POST /v1/access/share-tokens": [
        (REFUSED, "in the future", "the schema permits any time; a token must expire in the future (422)")],
    "POST /v1/access/grants": [
        (REFUSED, "Only viewer grants", "the schema permits relations that the platform only lists (422)")],
    "PUT /v1/runs/{run_id}/custom-metadata": METADATA,
    "PUT /v1/runs/{run_id}/items/{external_id}/custom-metadata": METADATA,
    "DELETE /v1/runs/{run_id}/artifacts": [(REFUSED, "410 ", "an earlier request deleted the results (410)")],
    "GET /v1/runs/{run_id}/artifacts/{artifact_id}/file": [
        (REFUSED, "410 ", "an earlier request deleted the results (410)")],
}
described = document.load()
api, token, folder = READY["api_root"] + "api/v1/", access_token(), tempfile.mkdtemp()


def call(path, body=None):
    """Call the API."""
    request = urllib.request.Request(api + path, data=json.dumps(body).encode() if body is not None else None)
    request.add_header("Authorization", f"Bearer {token}")
    request.add_header("Content-Type", "application/json")
    with urllib.request.urlopen(request) as response:
        return json.load(response)


def submit():
    slide = {"name": "whole_slide_image", "download_url": "http://127.0.0.1:9/slide", "metadata": {}}
    items = [{"external_id": "slide-1", "input_artifacts": [slide]}]
    return call("runs", {"application_id": "outcomes", "items": items})["run_id"]


def linked():
    """Create what the parameters of the document refer to, and return their values."""
    run = submit()
    while call(f"runs/{run}")["state"] != "TERMINATED":
        time.sleep(0.05)
    item = call(f"runs/{run}/items")[0]
    share = call("access/share-tokens", {})
    grant = call("access/grants", {
        "resource_type": "run", "resource_id": run, "subject_type": "share_token",
        "subject_id": share["share_token_id"], "relation": "viewer",
    })
    version = call("applications/he-tme")["versions"][0]["number"]
    return {
        "run_id": run, "external_id": item["external_id"],
        "artifact_id": item["output_artifacts"][0]["output_artifact_id"],
        "application_id": "he-tme", "version": version,
        "name": call(f"applications/he-tme/versions/{version}/documents")[0]["name"],
        "share_token_id": share["share_token_id"], "grant_id": grant["grant_id"],
    }


def run(values):
    """Run schemathesis, and return its findings by operation: the code, and what the emulator responded."""
    with open(f"{folder}/document.json", "w") as file:
        json.dump(described, file)
    with open(f"{folder}/schemathesis.toml", "w") as file:
        lines = [f'"path.{name}" = {json.dumps(value)}\n' for name, value in values.items()]
        file.write("[parameters]\n" + "".join(lines))
    program = os.path.join(os.path.dirname(sys.executable), "schemathesis")
    ended = subprocess.run(
        [program, "--config-file", "schemathesis.toml", "run", "document.json", "--url", READY["api_root"] + "api",
         "--seed", SEED, "--max-examples", EXAMPLES, "--generation-database", "none", "--no-color",
         "--phases", "examples,coverage,fuzzing", "--checks", "all", "--continue-on-failure", "--warnings", "off",
         "--header", f"Authorization: Bearer {token}", "--report-junit-path", "junit.xml"],
        cwd=folder, capture_output=True, text=True, check=False,
    )
    if not os.path.exists(f"{folder}/junit.xml"):
        raise SystemExit(redacted(ended.stdout + ended.stderr))
    note(redacted(ended.stdout)[-3000:])
    findings = {}
    for case in xml.parse(f"{folder}/junit.xml").iter("testcase"):
        for failure in [*case.iter("failure"), *case.iter("error")]:
            # A finding begins with its code, and shows the response.
            parts = re.split(r"^- (?=ST)", failure.text or "", flags=re.M)[1:]
            if not parts:
                text = " ".join((failure.text or "no text").split())[:200]
                findings.setdefault(case.get("name"), []).append(("ERROR", text))
            for found in parts:
                status = re.search(r"^\[(\d+)\]", failure.text, re.M)
                detail = re.search(r"^    `(.*)`$", failure.text, re.M)
                response = (status[1] if status else "?") + " " + (detail[1] if detail else "")
                findings.setdefault(case.get("name"), []).append((found.split(" ", 1)[0], response))
    return findings


def reached():
    """Return the operations with a response that shows that their objects exist."""
    found = set()
    for entry in control("journal"):
        for path, item in described["paths"].items():
            pattern = "/api" + re.sub(r"\{\w+\}", "[^/]+", path)
            known = entry["method"].lower() in item and re.fullmatch(pattern, entry["path"])
            if known and entry["status"] in (200, 201, 202, 307, 409, 410, 412):
                found.add(f"{entry['method']} {path}")
    return found


def check(found, is_reached, name):
    """Fail unless an operation was reached, and has only accepted findings. Return normally if it has none."""
    if not is_reached:
        raise AssertionError("every response was 404 or a refusal of the request")
    unknown = [
        finding for finding in found
        if not any(finding[0] == code and start in finding[1] for code, start, _ in ACCEPTED.get(name, []))
    ]
    if unknown:
        raise AssertionError(str(unknown))
    if found:
        raise Accepted(name)


findings, arrived = run(linked()), None
arrived = reached()
for path, item in described["paths"].items():
    for method in item:
        name = f"{method.upper()} {path}"
        reasons = "; ".join(reason for _, _, reason in ACCEPTED.get(name, []))
        differs = ("Accepted:", reasons) if reasons else None
        operation(name, lambda: check(findings.get(name, []), name in arrived, name), differs=differs)
