//! Deletion of several objects with one request (`DeleteObjects`).

use std::convert::Infallible;

use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};

use super::refusal::xml;
use super::signature::Verified;
use super::write::read;
use super::{Refusal, Target, digests};
use crate::platform::Platform;

/// The maximum number of objects in a request.
const MOST_OBJECTS: usize = 1000;
/// The maximum size in bytes of a request: 1,000 names of 1,024 bytes, escaped.
const LIST_LIMIT: usize = 8 * 1024 * 1024;

#[derive(Deserialize)]
struct Wanted {
    #[serde(rename = "Object", default)]
    objects: Vec<WantedObject>,
    #[serde(rename = "Quiet", default)]
    quiet: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct WantedObject {
    key: String,
    version_id: Option<String>,
    // Conditions.
    #[serde(rename = "ETag")]
    etag: Option<String>,
    last_modified_time: Option<String>,
    size: Option<String>,
}

#[derive(Serialize)]
#[serde(rename = "DeleteResult", rename_all = "PascalCase")]
struct Outcome {
    deleted: Vec<Deleted>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Deleted {
    key: String,
}

pub(super) async fn remove(
    platform: &Platform,
    target: &Target,
    request: Request,
    verified: &Verified,
) -> Result<Response, Refusal> {
    let malformed = || Refusal::new(StatusCode::BAD_REQUEST, "MalformedXML", "the list of objects cannot be read");
    let mut stated = digests::Stated::of(request.headers())?;
    if !stated.is_stated() {
        return Err(Refusal::invalid("the request needs a checksum: Content-MD5 or x-amz-checksum-*"));
    }
    let body = read(request, verified, LIST_LIMIT, malformed).await?;
    stated.update(body.as_bytes());
    stated.check()?;
    let wanted: Wanted = quick_xml::de::from_str(&body).map_err(|_| malformed())?;
    if wanted.objects.is_empty() || wanted.objects.len() > MOST_OBJECTS {
        return Err(malformed());
    }
    let has_more = |object: &WantedObject| {
        [&object.version_id, &object.etag, &object.last_modified_time, &object.size].into_iter().any(Option::is_some)
    };
    if wanted.objects.iter().any(has_more) {
        return Err(Refusal::not_implemented("versions and conditions are not supported"));
    }
    let mut deleted = Vec::new();
    for WantedObject { key, .. } in wanted.objects {
        let removed =
            platform.objects.remove(platform.state.store(), &target.bucket, &key, |_| Ok::<_, Infallible>(()));
        // An object that does not exist counts as deleted.
        removed.await.map_err(Refusal::internal)?.unwrap_or_else(|never| match never {});
        if !wanted.quiet {
            deleted.push(Deleted { key });
        }
    }
    Ok(xml(&Outcome { deleted }))
}
