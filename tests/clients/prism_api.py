"""Prism as a validating proxy between this project's command and the emulator: requests and responses must fit the document.

Usage: prism_api.py COMMAND PRISM, with the command and the folder of Prism's packages.
"""

import json
import os
import socket
import subprocess
import sys
import tempfile
import threading

import document
import slide
from programs import run
from report import READY, note, operation, same

COMMAND, PRISM = sys.argv[1:]
HERE = os.path.dirname(os.path.abspath(__file__))
folder = tempfile.mkdtemp()
ENV = {**READY["env"], "HOME": folder}
os.mkdir(f"{folder}/slides")
slide.write(f"{folder}/slides/slide.tiff")
state = {}


def prepared():
    """Return the document in a form that Prism can read.

    Prism follows a `$ref` within an example, ignores the path of the server, and reads one value of a query as a list only
    if the parameter cannot be anything else. No value of a query is null.
    """

    def defused(value, example):
        if isinstance(value, list):
            return [defused(inner, example) for inner in value]
        if not isinstance(value, dict):
            return value
        kept = {name: inner for name, inner in value.items() if not (example and name == "$ref")}
        # A property may be called `example`; it then has a type.
        begins = {name for name, inner in kept.items()
                  if name in ("example", "examples") and not (isinstance(inner, dict) and "type" in inner)}
        return {name: defused(inner, example or name in begins) for name, inner in kept.items()}

    found = defused(document.load(), False)
    parameters = [one for item in found["paths"].values() for called in item.values() for one in called.get("parameters", [])]
    for schema in [one["schema"] for one in parameters if one["in"] == "query" and "anyOf" in one["schema"]]:
        kinds = [kind for kind in schema.pop("anyOf") if kind.get("type") != "null"]
        schema.update(kinds[0] if len(kinds) == 1 else {"anyOf": kinds})
    prefix = found["servers"][0]["url"].rstrip("/")
    found["paths"] = {prefix + path: item for path, item in found["paths"].items()}
    found["servers"] = []
    # The document does not contain the health check.
    healthy = {"description": "healthy", "content": {"application/json": {"schema": {"type": "object"}}}}
    found["paths"]["/health"] = {"get": {"responses": {"200": healthy}}}
    return found


def start():
    """Start the proxy on a free port, and return the process and its URL."""
    path = f"{folder}/openapi.json"
    with open(path, "w") as file:
        json.dump(prepared(), file)
    for _ in range(10):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        process = subprocess.Popen(
            [f"{PRISM}/node_modules/node/bin/node", "--require", f"{HERE}/prism_redirects.cjs",
             f"{PRISM}/node_modules/@stoplight/prism-cli/dist/index.js", "proxy", "--errors", "--host", "127.0.0.1",
             "--port", str(port), path, READY["api_root"].rstrip("/")],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env={**os.environ, "PRISM_HTTP": f"{PRISM}/node_modules/@stoplight/prism-http"},
        )
        for line in process.stdout:
            if "Prism is listening" in line:
                return process, f"http://127.0.0.1:{port}"
        process.wait()
    raise SystemExit("Prism does not start")


def command(*arguments):
    return run([COMMAND, *arguments], env=ENV, cwd=folder)


def parsed(*arguments):
    return json.loads(command("--format", "json", *arguments))


def execute():
    mapping = ".*:staining_method=H&E,tissue=LUNG,disease=LUNG_CANCER"
    arguments = ["run", "execute", "he-tme", "work/slides.csv", "slides", "--mapping", mapping]
    os.mkdir(f"{folder}/work")
    report = parsed(*arguments)
    same((report["complete"], report["verified"]), (True, True))
    state["run"] = report["run_id"]


def document_file():
    found = parsed("application", "version", "document", "list", "he-tme")
    command("application", "version", "document", "download", "he-tme", found[0]["name"])


def metadata():
    command("run", "update-metadata", state["run"], '{"study": "s1"}')
    same(parsed("run", "dump-metadata", state["run"])["study"], "s1")


def share():
    token = parsed("run", "share", "token", "create", state["run"])
    same(len(parsed("run", "share", "token", "list", state["run"])), 1)
    command("run", "share", "token", "revoke", state["run"], token["share_token_id"])


process, root = start()
ENV["AIGNOSTICS_API_ROOT"] = root
log = []
threading.Thread(target=lambda: log.extend(process.stdout), daemon=True).start()
try:
    for name, work in [
        ("user whoami", lambda: parsed("user", "whoami")),
        ("application list", lambda: parsed("application", "list")),
        ("application version document download", document_file),
        ("run execute", execute),
        ("run list", lambda: same(parsed("run", "list")[0]["run_id"], state["run"])),
        ("run describe", lambda: parsed("run", "describe", state["run"])),
        ("run update-metadata and dump-metadata", metadata),
        ("run share token create, list and revoke", share),
        ("run result delete", lambda: command("run", "result", "delete", state["run"], "--yes")),
    ]:
        operation(name, work)
finally:
    process.terminate()
    process.wait()
    note("".join(log[-40:]))
