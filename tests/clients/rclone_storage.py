"""rclone with its S3 backend: all commands about objects."""

import json
import os
import tempfile
import urllib.request

from programs import read, run, write
from report import READY, Bucket, operation, same

bucket = Bucket()
folder = tempfile.mkdtemp()
ENV = {
    "RCLONE_CONFIG": write(f"{folder}/rclone.conf", b""),
    "RCLONE_CONFIG_EMULATOR_TYPE": "s3",
    "RCLONE_CONFIG_EMULATOR_PROVIDER": "Other",
    "RCLONE_CONFIG_EMULATOR_ACCESS_KEY_ID": bucket.key_id,
    "RCLONE_CONFIG_EMULATOR_SECRET_ACCESS_KEY": bucket.secret,
    "RCLONE_CONFIG_EMULATOR_REGION": READY["env"]["AIGNOSTICS_BUCKET_REGION_NAME"],
    "RCLONE_CONFIG_EMULATOR_ENDPOINT": bucket.endpoint,
    "RCLONE_RETRIES": "1",
    "RCLONE_LOW_LEVEL_RETRIES": "1",
    # Parallel transfers of a folder would make the requests vary.
    "RCLONE_TRANSFERS": "1",
    "RCLONE_CHECKERS": "1",
}
CONTENT = b"0123456789" * 100
LARGE = os.urandom(12 * 1024 * 1024)
ROOT = f"emulator:{bucket.name}"
small, large = write(f"{folder}/small", CONTENT), write(f"{folder}/large", LARGE)
os.mkdir(f"{folder}/tree")
for number in range(3):
    write(f"{folder}/tree/{number}", str(number).encode())


def rclone(*arguments, stdin=None):
    return run(["rclone", *arguments], env=ENV, stdin=stdin)


def names(*arguments):
    return sorted(rclone("lsf", *arguments).decode().split())


def download():
    rclone("copyto", f"{ROOT}/large", f"{folder}/down", "--multi-thread-cutoff", "8M", "--multi-thread-streams", "2")
    same(read(f"{folder}/down"), LARGE)


def copy():
    rclone("copyto", f"{ROOT}/small", f"{ROOT}/copy")
    same(rclone("cat", f"{ROOT}/copy"), CONTENT)


def move():
    rclone("moveto", f"{ROOT}/copy", f"{ROOT}/moved")
    same(names(ROOT), ["large", "moved", "small"])


def sync():
    rclone("sync", f"{folder}/tree", f"{ROOT}/tree")
    same(names(f"{ROOT}/tree"), ["0", "1", "2"])


def touched():
    os.utime(f"{folder}/tree/0", (1_700_000_000, 1_700_000_000))
    rclone("sync", f"{folder}/tree", f"{ROOT}/tree")
    found = json.loads(rclone("lsjson", f"{ROOT}/tree/0"))[0]
    same(found["ModTime"][:10], "2023-11-14")


def link():
    url = rclone("link", f"{ROOT}/small").decode().strip()
    with urllib.request.urlopen(url) as response:
        same(response.read(), CONTENT)


def from_stdin():
    rclone("rcat", f"{ROOT}/streamed", stdin=CONTENT)
    same(rclone("cat", f"{ROOT}/streamed"), CONTENT)


def purge():
    rclone("delete", ROOT)
    same(names(ROOT), [])


for name, work, differs in [
    ("lsd", lambda: same(rclone("lsd", "emulator:").decode().split()[-1], bucket.name), None),
    ("mkdir", lambda: rclone("mkdir", ROOT), None),
    ("copyto", lambda: rclone("copyto", small, f"{ROOT}/small"), None),
    ("copyto in parts", lambda: rclone(
        "copyto", large, f"{ROOT}/large", "--s3-upload-cutoff", "5M", "--s3-upload-concurrency", "1"), None),
    ("copyto from the bucket with several streams", download, None),
    ("copyto within the bucket", copy, None),
    ("moveto", move, None),
    ("lsf", lambda: same(names(ROOT), ["large", "moved", "small"]), None),
    ("md5sum", lambda: same(rclone("md5sum", f"{ROOT}/small").decode().split()[0],
                            rclone("md5sum", small).decode().split()[0]), None),
    ("cat", lambda: same(rclone("cat", f"{ROOT}/small", "--offset", "5", "--count", "5"), b"56789"), None),
    ("rcat", from_stdin, None),
    ("size", lambda: same(json.loads(rclone("size", "--json", f"{ROOT}/small"))["bytes"], len(CONTENT)), None),
    ("sync", sync, None),
    ("sync of another modification time", touched, None),
    ("check", lambda: rclone("check", f"{folder}/tree", f"{ROOT}/tree"), None),
    ("link", link, None),
    ("cleanup", lambda: rclone("cleanup", ROOT), None),
    ("deletefile", lambda: rclone("deletefile", f"{ROOT}/moved"), None),
    ("delete", purge, None),
    ("rmdir", lambda: rclone("rmdir", ROOT),
     ("MethodNotAllowed", "the bucket of an organization cannot be removed (405)")),
]:
    operation(name, work, differs=differs, journal="storage")
