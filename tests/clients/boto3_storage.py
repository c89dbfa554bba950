"""boto3 with its default settings: every request that it can make for the work on objects."""

import io
import os
import tempfile
import urllib.request

import boto3
import botocore.exceptions
import requests
from report import READY, Bucket, operation, same

bucket = Bucket()
client = boto3.client(
    "s3",
    region_name=READY["env"]["AIGNOSTICS_BUCKET_REGION_NAME"],
    endpoint_url=bucket.endpoint,
    aws_access_key_id=bucket.key_id,
    aws_secret_access_key=bucket.secret,
)
CONTENT = b"0123456789" * 100
# More than one part of 8 MiB, the default of boto3.
LARGE = os.urandom(20 * 1024 * 1024)
folder = tempfile.mkdtemp()


def place(key):
    return {"Bucket": bucket.name, "Key": key}


def get(key):
    return client.get_object(**place(key))["Body"].read()


def list_buckets():
    same([found["Name"] for found in client.list_buckets()["Buckets"]], [bucket.name])


def create_bucket():
    try:
        client.create_bucket(Bucket=bucket.name)
    except client.exceptions.BucketAlreadyOwnedByYou:
        return
    raise AssertionError("the bucket exists")


def head_object():
    head = client.head_object(**place("small"))
    same((head["ContentLength"], head["Metadata"]), (len(CONTENT), {"study": "s1"}))


def missing_object():
    try:
        client.get_object(**place("missing"))
    except client.exceptions.NoSuchKey:
        return
    raise AssertionError("the object is missing")


def conditional_put():
    try:
        client.put_object(**place("small"), Body=b"other", IfNoneMatch="*")
    except botocore.exceptions.ClientError as error:
        same(error.response["ResponseMetadata"]["HTTPStatusCode"], 412)
        return
    raise AssertionError("the object exists")


def list_pages():
    for number in range(3):
        client.put_object(**place(f"many/{number}"), Body=b"")
    pages = client.get_paginator("list_objects_v2").paginate(
        Bucket=bucket.name, Prefix="many/", PaginationConfig={"PageSize": 2}
    )
    same([item["Key"] for page in pages for item in page["Contents"]], ["many/0", "many/1", "many/2"])


def list_folders():
    found = client.list_objects(Bucket=bucket.name, Delimiter="/")
    same([prefix["Prefix"] for prefix in found["CommonPrefixes"]], ["many/"])


def upload_file(content, key):
    path = os.path.join(folder, key)
    with open(path, "wb") as file:
        file.write(content)
    client.upload_file(path, bucket.name, key)
    same(get(key), content)


def download_file():
    path = os.path.join(folder, "downloaded")
    client.download_file(bucket.name, "large", path)
    with open(path, "rb") as file:
        same(file.read(), LARGE)


def copy_object():
    client.copy_object(**place("copy"), CopySource=place("small"))
    same(get("copy"), CONTENT)


def replace_metadata():
    client.copy_object(**place("copy"), CopySource=place("copy"), MetadataDirective="REPLACE", Metadata={"study": "s2"})
    same(client.head_object(**place("copy"))["Metadata"], {"study": "s2"})


def abort_upload():
    upload = client.create_multipart_upload(**place("aborted"))["UploadId"]
    client.upload_part(**place("aborted"), UploadId=upload, PartNumber=1, Body=CONTENT)
    same(len(client.list_parts(**place("aborted"), UploadId=upload)["Parts"]), 1)
    client.abort_multipart_upload(**place("aborted"), UploadId=upload)


def presigned_get():
    url = client.generate_presigned_url("get_object", Params=place("small"), ExpiresIn=60)
    with urllib.request.urlopen(url) as response:
        same(response.read(), CONTENT)


def presigned_put():
    url = client.generate_presigned_url("put_object", Params=place("put"), ExpiresIn=60)
    requests.put(url, data=b"put", timeout=60).raise_for_status()
    same(get("put"), b"put")


def presigned_post():
    conditions = [["content-length-range", 1, 100], ["starts-with", "$Content-Type", "text/"]]
    post = client.generate_presigned_post(bucket.name, "forms/${filename}", Conditions=conditions, ExpiresIn=60)

    def send(content):
        fields = {**post["fields"], "Content-Type": "text/csv"}
        return requests.post(post["url"], data=fields, files={"file": ("a.csv", content)}, timeout=60).status_code

    same((send(b"1,2"), send(b"x" * 101), send(b"")), (204, 400, 400))
    same(get("forms/a.csv"), b"1,2")


def delete_objects():
    keys = [item["Key"] for item in client.list_objects_v2(Bucket=bucket.name)["Contents"]]
    deleted = client.delete_objects(Bucket=bucket.name, Delete={"Objects": [{"Key": key} for key in keys]})
    same(sorted(item["Key"] for item in deleted["Deleted"]), sorted(keys))
    same(client.list_objects_v2(Bucket=bucket.name)["KeyCount"], 0)


UNSUPPORTED = "NotImplemented"
for name, work, differs in [
    ("list_buckets", list_buckets, None),
    ("head_bucket", lambda: client.head_bucket(Bucket=bucket.name), None),
    ("get_bucket_location", lambda: client.get_bucket_location(Bucket=bucket.name), None),
    ("create_bucket of the existing bucket", create_bucket, None),
    ("put_object", lambda: client.put_object(**place("small"), Body=CONTENT, Metadata={"study": "s1"}), None),
    ("put_object that must not exist", conditional_put, None),
    ("head_object", head_object, None),
    ("get_object", lambda: same(get("small"), CONTENT), None),
    ("get_object of a range", lambda: same(
        client.get_object(**place("small"), Range="bytes=10-19")["Body"].read(), CONTENT[10:20]), None),
    ("get_object of a missing object", missing_object, None),
    ("list_objects_v2 in pages", list_pages, None),
    ("list_objects with a delimiter", list_folders, None),
    ("upload_file", lambda: upload_file(CONTENT, "file"), None),
    ("upload_file in parts", lambda: upload_file(LARGE, "large"), None),
    ("upload_fileobj", lambda: client.upload_fileobj(io.BytesIO(CONTENT), bucket.name, "stream"), None),
    ("download_file in parts", download_file, None),
    ("copy_object", copy_object, None),
    ("copy_object with other metadata", replace_metadata, None),
    ("copy of a small object", lambda: client.copy(place("small"), bucket.name, "copied"), None),
    ("copy of a large object in parts", lambda: client.copy(place("large"), bucket.name, "copied"),
     (UNSUPPORTED, "a part cannot be copied from an object (501); `copy_object` copies the whole object")),
    ("create, list and abort a multipart upload", abort_upload, None),
    ("list_multipart_uploads", lambda: client.list_multipart_uploads(Bucket=bucket.name), None),
    ("generate_presigned_url of get_object", presigned_get, None),
    ("generate_presigned_url of put_object", presigned_put, None),
    ("generate_presigned_post", presigned_post, None),
    ("put_object_tagging", lambda: client.put_object_tagging(
        **place("small"), Tagging={"TagSet": [{"Key": "a", "Value": "b"}]}),
     (UNSUPPORTED, "tags are not supported (501), as in Google's storage")),
    ("list_object_versions", lambda: client.list_object_versions(Bucket=bucket.name),
     (UNSUPPORTED, "versions are not kept (501)")),
    ("delete_object", lambda: client.delete_object(**place("put")), None),
    ("delete_objects", delete_objects, None),
]:
    operation(name, work, differs=differs, journal="storage")
