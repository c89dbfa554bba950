"""The document of the platform's API: its own of version 1.8.0 if it is available, and otherwise the one of this project."""

import json
import os

ROOT = os.path.join(os.path.dirname(__file__), "../..")
SHARED = f"{ROOT}/../shared/openapi"


def read(path):
    """Read a JSON file."""
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def load():
    """Return the document."""
    try:
        document, changes = read(f"{SHARED}/aignostics-platform-1.7.0.json"), read(f"{SHARED}/1.8.0.changes.json")
    except FileNotFoundError:
        return read(f"{ROOT}/openapi/platform.json")
    for change in changes:
        parent, _, name = change["path"].rpartition("/")
        place = document
        for part in parent.split("/")[1:]:
            place = place[part.replace("~1", "/").replace("~0", "~")]
        place[name.replace("~1", "/").replace("~0", "~")] = change["value"]
    return document
