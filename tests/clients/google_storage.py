"""google-cloud-storage: signed URLs and policies of a service account, and what needs the JSON API."""

import io
from datetime import timedelta

import requests
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage
from google.oauth2 import service_account
from google.resumable_media.requests import ResumableUpload
from report import READY, Bucket, control, operation, same

bucket_data = Bucket()
account = control(f"service-accounts/{READY['organizations'][0]['id']}")
credentials = service_account.Credentials.from_service_account_info(account)
client = storage.Client(
    project="emulator",
    credentials=credentials,
    client_options={"api_endpoint": bucket_data.endpoint},
)
anonymous = storage.Client(
    project="emulator",
    credentials=AnonymousCredentials(),
    client_options={"api_endpoint": bucket_data.endpoint},
)
bucket = client.bucket(bucket_data.name)
CONTENT = b"0123456789" * 100
UNIT = 256 * 1024
LARGE = b"x" * (3 * UNIT + 17)
HOUR = timedelta(hours=1)


def signed(name, method, **options):
    return bucket.blob(name).generate_signed_url(
        HOUR, version="v4", method=method, api_access_endpoint=bucket_data.endpoint, **options
    )


def send(method, url, status, **options):
    response = requests.request(method, url, timeout=60, **options)
    same((response.status_code, response.text[:200] if response.status_code >= 400 else ""), (status, ""))
    return response


def get(name):
    return send("GET", signed(name, "GET"), 200).content


def put():
    headers = {"Content-Type": "text/plain", "x-goog-meta-study": "s1"}
    send("PUT", signed("small", "PUT", headers=headers), 200, data=CONTENT, headers=headers)


def head():
    found = send("HEAD", signed("small", "HEAD"), 200)
    same((found.headers["Content-Length"], found.headers["x-goog-meta-study"]), ("1000", "s1"))


def renamed():
    url = signed("small", "GET", response_disposition="attachment; filename=a.txt", response_type="text/csv")
    found = send("GET", url, 200).headers
    same((found["Content-Disposition"], found["Content-Type"]), ("attachment; filename=a.txt", "text/csv"))


def generation():
    current = send("GET", signed("small", "GET"), 200).headers["x-goog-generation"]
    send("GET", signed("small", "GET", generation=int(current)), 200)


def resumable():
    url = signed("large", "RESUMABLE")
    upload = ResumableUpload(url, UNIT, headers={"x-goog-resumable": "start"}, checksum=None)
    upload.initiate(requests.Session(), io.BytesIO(LARGE), {}, "application/octet-stream")
    while not upload.finished:
        upload.transmit_next_chunk(requests.Session())
    same(get("large"), LARGE)


def resumed():
    started = send("POST", signed("resumed", "RESUMABLE"), 201, headers={"x-goog-resumable": "start"})
    session = started.headers["Location"]
    first = send("PUT", session, 308, data=LARGE[:UNIT], headers={"Content-Range": f"bytes 0-{UNIT - 1}/*"})
    same(first.headers["Range"], f"bytes=0-{UNIT - 1}")
    asked = send("PUT", session, 308, headers={"Content-Range": "bytes */*"})
    same(asked.headers["Range"], f"bytes=0-{UNIT - 1}")
    total = len(LARGE)
    send("PUT", session, 200, data=LARGE[UNIT:], headers={"Content-Range": f"bytes {UNIT}-{total - 1}/{total}"})
    same(get("resumed"), LARGE)


def canceled():
    started = send("POST", signed("canceled", "RESUMABLE"), 201, headers={"x-goog-resumable": "start"})
    response = requests.delete(started.headers["Location"], timeout=60)
    same(response.status_code, 499)


def policy():
    made = client.generate_signed_post_policy_v4(
        bucket_data.name, "form.csv", HOUR, conditions=[["content-length-range", 1, 100]],
        fields={"Content-Type": "text/csv"},
    )
    # The library always names the host of the real storage. The policy does not contain it.
    url = f"{bucket_data.endpoint}/{bucket_data.name}/"
    send("POST", url, 204, data=made["fields"], files={"file": ("form.csv", b"1,2")})
    same(get("form.csv"), b"1,2")


JSON = ("Forbidden: 403", "the emulator has no JSON API, because the keys of the platform sign requests of the XML API only")
for name, work, differs in [
    ("signed URL of PUT", put, None),
    ("signed URL of GET", lambda: same(get("small"), CONTENT), None),
    ("signed URL of HEAD", head, None),
    ("signed URL with another media type and name", renamed, None),
    ("signed URL of a generation", generation, None),
    ("signed URL of a resumable upload", resumable, None),
    ("resumable upload that is continued", resumed, None),
    ("resumable upload that is canceled", canceled, None),
    ("signed policy of a form", policy, None),
    ("signed URL of DELETE", lambda: send("DELETE", signed("small", "DELETE"), 204), None),
    ("list_blobs", lambda: list(anonymous.list_blobs(bucket_data.name)), JSON),
    ("upload_from_string", lambda: anonymous.bucket(bucket_data.name).blob("a").upload_from_string(b"a"), JSON),
    ("download_as_bytes", lambda: anonymous.bucket(bucket_data.name).blob("large").download_as_bytes(), JSON),
]:
    operation(name, work, differs=differs, journal="storage")
