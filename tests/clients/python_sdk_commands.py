"""The commands of the official Python SDK, with the exit codes that its source assigns.

Run it under `aignostics emulator exec`. The configuration must name `storage.googleapis.com` in `hosts`.
"""

import json
import os
import re
import shutil
import sys

import sdk
import slide
from redaction import redacted

home, proxy = sdk.prepare()
import aignostics.cli  # noqa: E402, F401

GROUPS = ("user ", "application ", "bucket ", "system ")
# Commands that are not run, with the reason.
EXEMPT = {"system serve": "opens the graphical application, and runs until it is stopped"}
UNKNOWN = "00000000-0000-4000-8000-000000000000"
OFFLINE = {"HTTPS_PROXY": "http://127.0.0.1:9"}
run, work = set(), f"{home}/work"
slides, table = f"{work}/slides", f"{work}/slides.csv"
MAPPING = ".*:staining_method=H&E,tissue=LUNG,disease=LUNG_CANCER"


def check(name, code, *arguments, env=None, text=None):
    """Run a command, print its line of the report, and return its output."""
    run.update(leaf for leaf in LEAVES if name == leaf or name.startswith(leaf + ":"))
    found, output = sdk.command(*arguments, env=env)
    result = f"works (exit code {code})"
    if found != code or (text and text not in output):
        lines = [line for line in output.splitlines() if line.strip()]
        expected = f"{code} and {text!r}" if text else code
        result = f"FAILS: exit code {found} instead of {expected}: {redacted(' / '.join(lines[-3:]))[:400]}"
        print(f"--- {name}\n{redacted(output)[-6000:]}", file=sys.stderr)
    print(json.dumps({"operation": name, "result": result}), flush=True)
    return output


def done(name, *arguments, **options):
    """Check that a command succeeds. Its arguments begin with the words of its name."""
    return check(name, 0, *name.partition(":")[0].split(), *arguments, **options)


def fails(name, code, *arguments, **options):
    """Check that a command ends with an exit code."""
    return check(name, code, *name.partition(":")[0].split(), *arguments, **options)


def first_json(output):
    """Return the JSON in the output of a command, which may begin with log lines."""
    return json.loads(output[re.search(r"^[\[{]", output, re.M).start():])


def submitted(tags):
    """Submit a run that is in progress until it is canceled, and return its id."""
    output = sdk.command("application", "run", "submit", "he-tme", f"{work}/stalled.csv", "--tags", tags)[1]
    return re.search(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", output)[0]


def the_user():
    done("user login")
    done("user login: again", "--relogin")
    done("user whoami", text="org_emulator")
    done("user whoami: with secrets", "--no-mask-secrets", text="GOOG")
    done("user logout")
    fails("user logout: without a login", 2)


def the_applications():
    done("application list", text="he-tme")
    done("application list: verbose", "--verbose", text="Changelog")
    assert first_json(done("application list: JSON", "--format", "json"))
    done("application describe", "he-tme", "--verbose")
    done("application describe: JSON", "he-tme", "--format", "json")
    fails("application describe: unknown application", 2, "unknown")
    done("application dump-schemata", "he-tme", "--destination", f"{work}/schemata")
    assert len(os.listdir(f"{work}/schemata")) > 1
    done("application dump-schemata: archive", "he-tme", "--destination", f"{work}/zipped", "--zip")
    fails("application dump-schemata: unknown application", 2, "unknown", "--destination", f"{work}/schemata")
    documents = first_json(done("application version document list: JSON", "he-tme", "--format", "json"))
    done("application version document list", "he-tme")
    fails("application version document list: unknown version", 2, "he-tme", "--application-version", "99.0.0")
    name = documents[0]["name"]
    done("application version document describe", "he-tme", name)
    fails("application version document describe: unknown document", 2, "he-tme", "unknown.pdf")
    os.mkdir(f"{work}/documents")
    done("application version document download", "he-tme", name, "--output", f"{work}/documents")
    assert os.listdir(f"{work}/documents") == [name]
    fails("application version document download: unknown document", 2, "he-tme", "unknown.pdf")


def a_run_in_steps():
    done("application run prepare", "he-tme", table, slides, "--mapping", MAPPING)
    fails("application run prepare: invalid mapping", 1, "he-tme", table, slides, "--mapping", "x")
    done("application run upload", "he-tme", table, text="Upload completed")
    fails("application run upload: no network", 1, "he-tme", table, env=OFFLINE)
    missing = f"{work}/missing.csv"
    with open(table) as good, open(missing, "w") as bad:
        bad.write(good.read().replace("slide.tiff", "missing.tiff"))
    fails("application run upload: missing slide", 2, "he-tme", missing)
    done("application run submit", "he-tme", table, "--note", "a note", "--tags", "one,two", text="Submitted run")
    fails("application run submit: unknown application", 2, "unknown", table)
    empty = f"{work}/empty.csv"
    with open(empty, "w") as file:
        file.write("external_id;checksum_base64_crc32c\n")
    fails("application run submit: no slides", 2, "he-tme", empty)


def lists_of_runs():
    done("application run list", "--verbose", "--tags", "one", text="he-tme")
    runs = first_json(done("application run list: JSON", "--format", "json"))
    done("application run list: nothing found", "--tags", "unknown", text="No runs found")
    done("application run list: another organization", "--for-organization", "org_second", text="No runs found")
    return runs[0]["run_id"]


def one_run(identifier):
    done("application run describe", identifier, "--summarize")
    items = first_json(done("application run describe: JSON", identifier, "--format", "json"))["items"]
    fails("application run describe: unknown run", 2, UNKNOWN)
    external = items[0]["external_id"]
    for name, place, unknown in [("", [identifier], [UNKNOWN]), ("-item", [identifier, external], [UNKNOWN, external])]:
        dump, update = f"application run dump{name}-metadata", f"application run update{name}-metadata"
        known = first_json(done(dump, *place, "--show-checksum"))["custom_metadata_checksum"]
        fails(f"{dump}: unknown run", 2, *unknown)
        done(update, *place, '{"study": "s1"}')
        fails(f"{update}: old checksum", 3, *place, '{"study": "s2"}', "--checksum", known or "0")
        fails(f"{update}: not JSON", 1, *place, "{")
        fails(f"{update}: unknown run", 2, *unknown, "{}")
    fails("application run dump-item-metadata: unknown item", 2, identifier, "unknown")
    return external


def sharing(identifier):
    share = "application run share"
    done(f"{share} organization grant", identifier, text="is now shared")
    done(f"{share} organization list", identifier, text="subject=")
    token = first_json(done(f"{share} token create", identifier, "--format", "json"))
    fails(f"{share} token create: not a time", 1, identifier, "--expires-at", "soon")
    done(f"{share} token list", identifier, text=token["share_token_id"])
    done(f"{share} status", identifier, text="Share tokens (1)")
    done(f"{share} token revoke", identifier, token["share_token_id"])
    done(f"{share} organization revoke", identifier)
    for words, more in [
        ("status", []), ("organization list", []), ("organization grant", []), ("organization revoke", []),
        ("token list", []), ("token create", []), ("token revoke", [UNKNOWN]),
    ]:
        # The lists of the platform are filtered by a run, and are empty for an unknown one.
        code = 2 if words in ("organization grant", "token create", "token revoke") else 0
        fails(f"{share} {words}: unknown run", code, UNKNOWN, *more)


def results(identifier):
    folder = f"{work}/results"
    done("application run result download", identifier, folder, text="Downloaded results")
    files = [name for _, _, names in os.walk(folder) for name in names]
    assert len(files) >= 3, files
    fails("application run result download: unknown run", 2, UNKNOWN, folder)
    done("application run result delete", identifier)
    fails("application run result delete: unknown run", 2, UNKNOWN)


def canceled_runs(ended):
    fails("application run cancel: ended run", 1, ended, text="409")
    fails("application run cancel: unknown run", 2, UNKNOWN)
    shutil.copy(table, f"{work}/stalled.csv")
    # The configuration has a fault that stalls the slides under this prefix.
    sdk.command("application", "run", "upload", "he-tme", f"{work}/stalled.csv", "--upload-prefix", "stalled")
    done("application run cancel", submitted("stopped"), text="has been canceled")
    fails("application run cancel-by-filter: no filter", 1)
    submitted("filtered")
    done("application run cancel-by-filter: dry run", "--tags", "filtered", "--dry-run", text="Would cancel 1")
    done("application run cancel-by-filter", "--tags", "filtered", text="Successfully canceled 1")


def a_run_at_once():
    os.mkdir(f"{work}/executed")
    arguments = ["he-tme", f"{work}/executed/slides.csv", slides, "--mapping", MAPPING]
    done("application run execute", *arguments, text="Downloaded results")
    files = [name for _, _, names in os.walk(f"{work}/executed") for name in names]
    assert len(files) >= 4, files
    fails("application run execute: no network", 1, *arguments, env=OFFLINE)


def the_bucket():
    done("bucket upload", slides, "--destination-prefix", "mine", text="All files uploaded")
    fails("bucket upload: missing file", 2, f"{work}/missing")
    done("bucket find", "mine/.*", "--detail", "--signed-urls", text="https://storage.googleapis.com/")
    assert first_json(done("bucket find: key", "mine/slide.tiff", "--what-is-key")) == ["mine/slide.tiff"]
    fails("bucket find: invalid pattern", 2, "(")
    folder = f"{work}/downloaded"
    os.mkdir(folder)
    done("bucket download", "mine/.*", "--destination", folder, text="1 downloaded")
    with open(f"{folder}/slide.tiff", "rb") as found, open(f"{slides}/slide.tiff", "rb") as expected:
        assert found.read() == expected.read()
    done("bucket download: the file is there", "mine/.*", "--destination", folder, text="1 downloaded")
    fails("bucket download: invalid pattern", 2, "(", "--destination", folder)
    done("bucket delete: dry run", "mine/.*", text="Would delete 1")
    done("bucket delete", "mine/.*", "--no-dry-run", text="Deleted 1")
    fails("bucket delete: invalid pattern", 2, "(")
    done("bucket purge: dry run", text="Would purge")
    done("bucket purge", "--no-dry-run", text="Purged")
    done("bucket purge: nothing there", "--no-dry-run", text="No objects found")


def the_system():
    done("system health", text='"status": "UP"')
    done("system health: YAML", "--output-format", "yaml")
    fails("system health: no network", 1, env=OFFLINE)
    done("system info", text="127.0.0.1")
    done("system dump-dot-env-file", "--destination", f"{work}/dumped.env")
    # The package from PyPI does not contain the file that the command prints.
    fails("system openapi: missing in the package", 1, text="No such file")
    fails("system openapi: unknown version", 1, "--api-version", "v2")
    done("system install")
    for words, arguments in [
        ("set", ["some_key", "some value"]), ("get", ["home"]), ("unset", ["some_key"]),
        ("remote-diagnostics-enable", []), ("remote-diagnostics-disable", []),
        ("http-proxy-enable", ["--host", "127.0.0.1", "--port", "3128"]), ("http-proxy-disable", []),
    ]:
        done(f"system config {words}", *arguments)
    os.remove(f"{home}/.aignostics/.env")
    fails("system config set: no file of settings", 2, "some_key", "some value")


LEAVES = [leaf for leaf in sdk.leaves() if leaf.startswith(GROUPS)]
try:
    os.makedirs(slides)
    os.makedirs(f"{home}/.aignostics")
    with open(f"{home}/.aignostics/.env", "w"):
        pass
    slide.write(f"{slides}/slide.tiff")
    os.chdir(work)
    the_user()
    the_applications()
    a_run_in_steps()
    identifier = lists_of_runs()
    one_run(identifier)
    sharing(identifier)
    results(identifier)
    canceled_runs(identifier)
    a_run_at_once()
    the_bucket()
    the_system()
    for leaf in LEAVES:
        if leaf in EXEMPT:
            print(json.dumps({"operation": leaf, "result": f"not run: {EXEMPT[leaf]}"}), flush=True)
        elif leaf not in run:
            print(json.dumps({"operation": leaf, "result": "FAILS: there is no case for this command"}), flush=True)
finally:
    proxy.terminate()
    proxy.wait()
