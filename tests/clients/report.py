"""Shared code of the conformance drivers: the emulator, its bucket and its journal, and the lines of the report.

`cargo xtask conform --clients` starts the emulator and the drivers, and reads one line of JSON per operation.
"""

import json
import os
import re
import sys
import urllib.parse
import urllib.request

from redaction import redacted

READY = json.loads(os.environ["AIGNOSTICS_EMULATOR_READY"])

# Parts of every signed request, which are not worth a line in the report.
SIGNATURE = re.compile(
    r"^(x-amz|x-goog)-(algorithm|credential|date|expires|signedheaders|signature|content-sha256)$|^x-id$", re.I
)


def fetch(url, *, token=None, method=None, form=None):
    """Send a request to the emulator, and return the JSON of the response."""
    data = urllib.parse.urlencode(form).encode() if form else None
    request = urllib.request.Request(url, data=data, method=method)
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    with urllib.request.urlopen(request) as response:
        return json.loads(response.read() or b"null")


def access_token():
    """Return an access token of the first user."""
    env = READY["env"]
    form = {
        "grant_type": "refresh_token",
        "client_id": env["AIGNOSTICS_CLIENT_ID_INTERACTIVE"],
        "refresh_token": env["AIGNOSTICS_REFRESH_TOKEN"],
    }
    return fetch(env["AIGNOSTICS_TOKEN_URL"], form=form)["access_token"]


class Bucket:
    """The bucket of the first user's organization, and its key."""

    def __init__(self):
        organization = fetch(READY["api_root"] + "api/v1/me", token=access_token())["organization"]
        self.name = organization["aignostics_bucket_name"]
        self.key_id = organization["aignostics_bucket_hmac_access_key_id"]
        self.secret = organization["aignostics_bucket_hmac_secret_access_key"]
        self.endpoint = READY["storage"].rstrip("/")


def control(path, method=None):
    """Call a control route of the emulator."""
    return fetch(f"{READY['control']['url']}/{path}", token=READY["control"]["token"], method=method)


def clear_journal():
    """Forget the requests so far."""
    control("journal", "DELETE")


def described(entry):
    """Return a request of the journal without names and signatures, such as `PUT object?partNumber&uploadId`."""
    _, _, key = entry["path"].lstrip("/").partition("/")
    place = "object" if key else "bucket" if entry["path"] != "/" else "all buckets"
    names = sorted(name for name in entry["parameters"] if not SIGNATURE.match(name))
    headers = [name for name in entry["storage_headers"] if not SIGNATURE.match(name)]
    text = entry["method"] + " " + place + ("?" + "&".join(names) if names else "")
    return text + (" with " + ", ".join(headers) if headers else "")


def requests(server):
    """Return the different requests to a server, sorted, because the order and number of parallel requests vary."""
    entries = [entry for entry in control("journal") if entry["server"] == server]
    return sorted({described(entry) for entry in entries})


class Accepted(Exception):
    """All findings are accepted ones."""


class Differs(Exception):
    """The client sees a difference from the real storage."""


def operation(name, work, *, differs=None, journal=None):
    """Run an operation, and print its line of the report.

    `differs` is the expected error (a part of its text) and the reason for which it is accepted. `journal` is the server
    whose requests are listed.
    """
    if journal:
        clear_journal()
    try:
        work()
        error = None
    except Exception as failure:  # noqa: BLE001
        error = " ".join(redacted(f"{type(failure).__name__}: {failure}").split())
    if differs and error and differs[0] in error:
        result = f"differs: {differs[1]}"
    elif error:
        result = f"FAILS: {error[:300]}"
    else:
        result = "works"
    line = {"operation": name, "result": result}
    if journal:
        line["requests"] = requests(journal)
    print(json.dumps(line), flush=True)


def same(found, expected, what="content"):
    """Fail if two values differ."""
    if found != expected:
        raise Differs(f"{what}: found {str(found)[:100]!r}, expected {str(expected)[:100]!r}")


def note(text):
    """Print a line for the reader, not for the report."""
    print(redacted(text), file=sys.stderr, flush=True)
