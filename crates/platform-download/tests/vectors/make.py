"""Creates the signed URLs of the tests with the official libraries, at fixed times.

    python3 -m venv venv && venv/bin/pip install google-cloud-storage==3.17.1 botocore==1.44.8
    venv/bin/python make.py

The service account does not exist. Its key is created if `service-account.json` is missing.
"""

import datetime
import json
import pathlib
from unittest import mock

import botocore.auth
import botocore.session
from botocore.config import Config
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.cloud import storage
from google.oauth2 import service_account

HERE = pathlib.Path(__file__).parent
ACCOUNT = HERE / "service-account.json"
GOOGLE = "https://storage.googleapis.com"
LOOPBACK = "http://127.0.0.1:9000"
HMAC_KEY = ("GOOG1EXAMPLEKEY", "a secret that opens nothing")
REGION = "EUROPE-WEST3"
KEYS = [
    "slide.svs",
    "run 1/slide 2.svs",
    "a/b/c/d.tiff",
    "größe/切片/🔬.svs",
    "plus+minus-under_dot.tilde~",
    "100%/50%25/%2F%2e",
    "?query=1&x#fragment",
    "!*'();:@&=$,[]{}|\\^`<>\" ",
    "..a/b../...",
]
TIMES = [0, 951_827_696, 1_800_000_000]
LIFETIMES = [60, 6 * 60 * 60, 7 * 24 * 60 * 60]


def account():
    if not ACCOUNT.exists():
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        fields = {
            "type": "service_account",
            "client_email": "nobody@vectors.iam.gserviceaccount.com",
            "private_key": pem.decode(),
            "token_uri": "https://oauth2.googleapis.com/token",
        }
        ACCOUNT.write_text(json.dumps(fields, indent=2) + "\n")
    return service_account.Credentials.from_service_account_file(ACCOUNT)


def of_google(credentials, method, endpoint, key, at, lifetime, headers, query):
    moment = datetime.datetime.fromtimestamp(at, datetime.timezone.utc)
    stamps = (moment.strftime("%Y%m%dT%H%M%SZ"), moment.strftime("%Y%m%d"))
    client = storage.Client(project="none", credentials=credentials)
    bucket = client.bucket("slides")
    with mock.patch("google.cloud.storage._signing.get_v4_now_dtstamps", lambda: stamps):
        return (bucket.blob(key) if key else bucket).generate_signed_url(
            version="v4",
            method=method,
            expiration=lifetime,
            api_access_endpoint=endpoint,
            headers=dict(headers) or None,
            query_parameters=dict(query) or None,
        )


def of_botocore(method, endpoint, key, at, lifetime, headers, query):
    moment = datetime.datetime.fromtimestamp(at, datetime.timezone.utc)
    request = botocore.awsrequest.AWSRequest(
        method=method,
        url=f"{endpoint}/slides" + (botocore.utils.percent_encode(f"/{key}", safe="/~") if key else ""),
        params=dict(query),
        headers=dict(headers),
    )
    credentials = botocore.credentials.Credentials(*HMAC_KEY)
    # The variant for S3: paths are signed as they are sent, and bodies are not signed.
    signer = botocore.auth.S3SigV4QueryAuth(credentials, "s3", REGION, expires=lifetime)
    with mock.patch("botocore.auth.get_current_datetime", lambda *_: moment.replace(tzinfo=None)):
        signer.add_auth(request)
    return request.prepare().url


def of_botocore_client(operation, parameters, at, lifetime):
    """Signs with the public interface of the library, which knows the operations."""
    session = botocore.session.get_session()
    session.set_credentials(*HMAC_KEY)
    config = Config(signature_version="s3v4", s3={"addressing_style": "path"}, request_checksum_calculation="when_required")
    client = session.create_client("s3", region_name=REGION, endpoint_url=GOOGLE, config=config)
    moment = datetime.datetime.fromtimestamp(at, datetime.timezone.utc)
    with mock.patch("botocore.auth.get_current_datetime", lambda *_: moment.replace(tzinfo=None)):
        return client.generate_presigned_url(operation, Params=parameters, ExpiresIn=lifetime)


def main():
    credentials = account()
    cases = [("GET", GOOGLE, key, TIMES[2], LIFETIMES[1], [], []) for key in KEYS]
    cases += [("PUT", LOOPBACK, key, TIMES[2], LIFETIMES[1], [], []) for key in KEYS[:3]]
    cases += [("GET", GOOGLE, KEYS[0], at, lifetime, [], []) for at in TIMES for lifetime in LIFETIMES]
    cases += [(method, GOOGLE, KEYS[1], TIMES[2], 60, [], []) for method in ("HEAD", "DELETE", "POST")]
    cases += [
        ("PUT", GOOGLE, KEYS[1], TIMES[2], 60, [("x-goog-hash", "crc32c=yZRlqg==")], []),
        ("GET", GOOGLE, KEYS[1], TIMES[2], 60, [], [("response-content-type", "image/tiff; a=b"), ("generation", "7")]),
        ("GET", GOOGLE, "", TIMES[2], 60, [], [("list-type", "2"), ("prefix", "größe/a b+c~"), ("encoding-type", "url")]),
    ]
    vectors = []
    for case in cases:
        names = ("method", "endpoint", "key", "at", "lifetime", "headers", "query")
        for signer, url in [("rsa", of_google(credentials, *case)), ("hmac", of_botocore(*case))]:
            vectors.append({"signer": signer, **dict(zip(names, case)), "url": url})
    for operation, method in [("get_object", "GET"), ("put_object", "PUT")]:
        for key in KEYS:
            url = of_botocore_client(operation, {"Bucket": "slides", "Key": key}, TIMES[2], 3600)
            common = {"endpoint": GOOGLE, "key": key, "at": TIMES[2], "lifetime": 3600, "headers": [], "query": []}
            vectors.append({"signer": "hmac", "method": method, **common, "url": url})
    lines = ",\n".join("  " + json.dumps(vector, ensure_ascii=False) for vector in vectors)
    (HERE / "signed-urls.json").write_text(f"[\n{lines}\n]\n")


main()
