"""The official Python SDK as a library: all resources of its client."""

import base64
import os
import tempfile
import urllib.request

os.environ["HOME"] = tempfile.mkdtemp()
import boto3  # noqa: E402
import crc32c  # noqa: E402
import slide  # noqa: E402
from aignostics.platform import Client, InputArtifact, InputItem  # noqa: E402
from aignostics.platform.resources.access import AccessGrant, ShareToken, SubjectType  # noqa: E402
from report import READY, Bucket, operation, same  # noqa: E402

client, bucket, folder = Client(), Bucket(), tempfile.mkdtemp()
slide.write(f"{folder}/slide.tiff")
with open(f"{folder}/slide.tiff", "rb") as written:
    content = written.read()
state = {}


def applications():
    found = [application.application_id for application in client.applications.list()]
    assert {"he-tme", "test-app"} <= set(found), found
    same(client.application("he-tme").application_id, "he-tme")
    same(client.applications.details("he-tme").application_id, "he-tme")


def versions():
    versions = client.applications.versions
    latest = versions.latest("he-tme").number
    same(versions.list_sorted("he-tme")[0].number, latest)
    same(versions.details("he-tme", latest).version_number, latest)
    same(client.application_version("he-tme").version_number, latest)
    same([version.number for version in versions.list("he-tme")][0], latest)


def documents():
    documents = client.applications.versions.documents("he-tme", None)
    name = documents.list()[0].name
    same(documents.details(name).name, name)
    with open(documents.download_to_path(name, folder), "rb") as file:
        same(file.read(), documents.read_content(name))


def item():
    """Upload the slide, and describe it."""
    s3 = boto3.client(
        "s3", region_name=READY["env"]["AIGNOSTICS_BUCKET_REGION_NAME"], endpoint_url=bucket.endpoint,
        aws_access_key_id=bucket.key_id, aws_secret_access_key=bucket.secret,
    )
    place = {"Bucket": bucket.name, "Key": "slide.tiff"}
    s3.put_object(Body=content, **place)
    url = s3.generate_presigned_url("get_object", Params=place, ExpiresIn=7 * 24 * 3600)
    metadata = {
        "checksum_base64_crc32c": base64.b64encode(crc32c.crc32c(content).to_bytes(4, "big")).decode(),
        "width_px": slide.SIZE, "height_px": slide.SIZE, "resolution_mpp": 0.5, "media_type": "image/tiff",
        "staining_method": "H&E", "specimen": {"tissue": "LUNG", "disease": "LUNG_CANCER"},
    }
    artifact = InputArtifact(name="whole_slide_image", download_url=url, metadata=metadata)
    return InputItem(external_id="slide.tiff", input_artifacts=[artifact])


def submit():
    state["run"] = client.runs.submit("he-tme", [item()], custom_metadata={"study": "s1"}, callback_context={"a": 1})


def refused():
    broken = item()
    broken.input_artifacts[0].metadata["width_px"] = "wide"
    try:
        client.runs.submit("he-tme", [broken])
    except ValueError:
        return
    raise AssertionError("the metadata are not valid")


def download():
    target = f"{folder}/results"
    os.mkdir(target)
    state["run"].download_to_folder(target)
    files = [name for _, _, names in os.walk(target) for name in names]
    assert len(files) >= 3, files


def details():
    run = client.run(state["run"].run_id)
    same((run.details(nocache=True).state.value, str(run).count(run.run_id)), ("TERMINATED", 1))
    found = list(run.results(nocache=True, external_ids=["slide.tiff"]))
    same([found[0].external_id, found[0].termination_reason.value], ["slide.tiff", "SUCCEEDED"])
    state["item"] = found[0]


def artifact():
    url = state["run"].get_artifact_download_url(state["item"].output_artifacts[0].output_artifact_id)
    with urllib.request.urlopen(url) as response:
        assert response.read()


def lists():
    same([run.run_id for run in client.runs.list(nocache=True, application_id="he-tme")], [state["run"].run_id])
    found = client.runs.list_data(nocache=True, custom_metadata='$ ? (@.study == "s1")', sort="-submitted_at")
    same([run.run_id for run in found], [state["run"].run_id])


def metadata():
    run = state["run"]
    run.update_custom_metadata({"study": "s2"})
    same(run.details(nocache=True).custom_metadata["study"], "s2")
    run.update_item_custom_metadata("slide.tiff", {"block": 7})
    same([found.custom_metadata["block"] for found in run.results(nocache=True)], [7])


def grants():
    run = state["run"]
    grant = run.grant_access(SubjectType.ORGANIZATION_USER, client.me().organization.id)
    same(AccessGrant.for_grant_id(grant.grant_id).subject_id, grant.subject_id)
    same([found.grant_id for found in run.list_share_grants(nocache=True)], [grant.grant_id])
    grant.revoke()
    same(list(run.list_share_grants(nocache=True)), [])


def share_tokens():
    token = client.share_tokens.create()
    same(ShareToken.for_token_id(token.share_token_id).revoked, False)
    state["run"].grant_access(SubjectType.SHARE_TOKEN, token.share_token_id)
    same(len(list(token.list_share_grants())), 1)
    same([found.share_token_id for found in client.share_tokens.list(nocache=True)], [token.share_token_id])
    shared = type(state["run"]).for_run_id(state["run"].run_id, share_token=token.share_token)
    same(shared.details().run_id, state["run"].run_id)
    token.revoke()
    same(list(client.share_tokens.list(nocache=True)), [])


def delete():
    state["run"].delete()
    same([found.output_artifacts[0].output_artifact_id for found in state["run"].results(nocache=True)],
         [state["item"].output_artifacts[0].output_artifact_id])


for name, work in [
    ("me", lambda: same(client.me(nocache=True).user.id, READY["users"][0]["id"])),
    ("applications", applications),
    ("versions", versions),
    ("documents", documents),
    ("runs.submit", submit),
    ("runs.submit with invalid metadata", refused),
    ("run.download_to_folder", download),
    ("run.details and run.results", details),
    ("run.get_artifact_download_url", artifact),
    ("runs.list and runs.list_data", lists),
    ("run.update_custom_metadata and run.update_item_custom_metadata", metadata),
    ("run.grant_access, run.list_share_grants and grant.revoke", grants),
    ("share_tokens", share_tokens),
    ("run.delete", delete),
]:
    operation(name, work)
