"""s5cmd: all commands about objects."""

import json
import os
import sys
import tempfile
import urllib.request

from programs import read, run, write
from report import READY, Bucket, operation, same

bucket = Bucket()
PROGRAM = sys.argv[1]
ENV = {
    "AWS_ACCESS_KEY_ID": bucket.key_id,
    "AWS_SECRET_ACCESS_KEY": bucket.secret,
    "AWS_REGION": READY["env"]["AIGNOSTICS_BUCKET_REGION_NAME"],
    "S3_ENDPOINT_URL": bucket.endpoint,
}
CONTENT = b"0123456789" * 100
# More than one part of 50 MiB, the default of s5cmd, would be slow; `--part-size` makes parts smaller.
LARGE = os.urandom(12 * 1024 * 1024)
ROOT = f"s3://{bucket.name}"
folder = tempfile.mkdtemp()
small, large = write(f"{folder}/small", CONTENT), write(f"{folder}/large", LARGE)
os.mkdir(f"{folder}/tree")
for number in range(3):
    write(f"{folder}/tree/{number}", str(number).encode())


def s5cmd(*arguments, stdin=None):
    return run([PROGRAM, "--retry-count", "0", *arguments], env=ENV, stdin=stdin)


def listed(*arguments):
    return [json.loads(line)["key"].removeprefix(f"{ROOT}/") for line in s5cmd("--json", "ls", *arguments).splitlines()]


def list_buckets():
    same(s5cmd("ls").decode().split()[-1], ROOT)


def download():
    s5cmd("cp", "--part-size", "5", f"{ROOT}/large", f"{folder}/down")
    same(read(f"{folder}/down"), LARGE)


def copy():
    s5cmd("cp", f"{ROOT}/small", f"{ROOT}/copy")
    same(s5cmd("cat", f"{ROOT}/copy"), CONTENT)


def move():
    s5cmd("mv", f"{ROOT}/copy", f"{ROOT}/moved")
    same(listed(f"{ROOT}/*o*"), ["moved"])


def pipe():
    s5cmd("pipe", f"{ROOT}/piped", stdin=CONTENT)
    same(s5cmd("cat", f"{ROOT}/piped"), CONTENT)


def sync():
    s5cmd("sync", f"{folder}/tree/", f"{ROOT}/tree/")
    same(listed(f"{ROOT}/tree/*"), ["tree/0", "tree/1", "tree/2"])


def presign():
    url = s5cmd("presign", f"{ROOT}/small").decode().strip()
    with urllib.request.urlopen(url) as response:
        same(response.read(), CONTENT)


def remove_all():
    s5cmd("rm", f"{ROOT}/*")
    same(json.loads(s5cmd("--json", "du", f"{ROOT}/*"))["count"], 0)


for name, work, differs in [
    ("ls", list_buckets, None),
    ("mb", lambda: s5cmd("mb", ROOT),
     ("BucketAlreadyOwnedByYou", "the bucket exists, and no other can be created (409)")),
    ("cp to the bucket", lambda: s5cmd("cp", small, f"{ROOT}/small"), None),
    ("cp to the bucket in parts", lambda: s5cmd("cp", "--part-size", "5", large, f"{ROOT}/large"), None),
    ("cp from the bucket in parts", download, None),
    ("cp within the bucket", copy, None),
    ("ls of a pattern", lambda: same(listed(f"{ROOT}/s*"), ["small"]), None),
    ("mv", move, None),
    ("cat", lambda: same(s5cmd("cat", f"{ROOT}/small"), CONTENT), None),
    ("head", lambda: same(json.loads(s5cmd("--json", "head", f"{ROOT}/small"))["size"], len(CONTENT)), None),
    ("pipe", pipe, None),
    ("du", lambda: same(json.loads(s5cmd("--json", "du", f"{ROOT}/small"))["size"], len(CONTENT)), None),
    ("sync", sync, None),
    ("presign", presign, None),
    ("select", lambda: s5cmd("select", "csv", "--query", "SELECT * FROM s3object", f"{ROOT}/small"),
     ("NotImplemented", "queries are not supported (501)")),
    ("bucket-version", lambda: s5cmd("bucket-version", ROOT), ("NotImplemented", "versions are not kept (501)")),
    ("rm of one object", lambda: s5cmd("rm", f"{ROOT}/moved"), None),
    ("rm of a pattern", remove_all, None),
    ("rb", lambda: s5cmd("rb", ROOT), ("MethodNotAllowed", "the bucket of an organization cannot be removed (405)")),
]:
    operation(name, work, differs=differs, journal="storage")
