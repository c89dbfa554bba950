//! The older signature of Google's XML API (`GOOG1`), which gsutil uses with HMAC keys: HMAC-SHA1 of the method, some
//! headers and the path, in the header `Authorization`.

use std::time::{Duration, SystemTime};

use aws_lc_rs::hmac;
use axum::extract::Request;
use axum::http::{StatusCode, header};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::percent_decode_str;

use super::StorageError;
use crate::account::Organization;
use crate::platform::Platform;

/// The maximum difference between the current time and the date of a request.
const MAX_DATE_DIFFERENCE: Duration = Duration::from_secs(15 * 60);
/// The prefix of the headers that are always signed.
const EXTENSION_HEADER_PREFIX: &str = "x-goog-";
/// The query parameters that are signed.
const SIGNED_PARAMETERS: [&str; 22] = [
    "acl",
    "billing",
    "compose",
    "cors",
    "defaultObjectAcl",
    "delete",
    "encryptionConfig",
    "lifecycle",
    "location",
    "logging",
    "partNumber",
    "policy",
    "requestPayment",
    "restore",
    "storageClass",
    "tagging",
    "torrent",
    "uploadId",
    "uploads",
    "userProject",
    "versioning",
    "websiteConfig",
];

/// Returns the id of the key and the signature of a request.
pub(super) fn credential(request: &Request) -> Option<(&str, &str)> {
    request.headers().get(header::AUTHORIZATION)?.to_str().ok()?.strip_prefix("GOOG1 ")?.split_once(':')
}

/// Returns the organization whose key signed the request.
pub(super) fn signer<'a>(
    platform: &'a Platform,
    request: &Request,
    (key, signature): (&str, &str),
) -> Result<&'a Organization, StorageError> {
    let unknown = || StorageError::new(StatusCode::FORBIDDEN, "InvalidAccessKeyId", "unknown access key id");
    let owner = platform.accounts.owner_of_key(key).ok_or_else(unknown)?;
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, owner.key.secret_access_key.as_bytes());
    let is_signed = STANDARD
        .decode(signature)
        .is_ok_and(|tag| hmac::verify(&key, string_to_sign(request).as_bytes(), &tag).is_ok());
    if !is_signed {
        let message = "the signature does not match the request";
        return Err(StorageError::new(StatusCode::FORBIDDEN, "SignatureDoesNotMatch", message));
    }
    let date = ["x-goog-date", "date"].iter().find_map(|name| request.headers().get(*name)?.to_str().ok());
    let date = date.and_then(|date| httpdate::parse_http_date(date).ok());
    let now = platform.now();
    let is_current = |date: SystemTime| date <= now + MAX_DATE_DIFFERENCE && now <= date + MAX_DATE_DIFFERENCE;
    if date.is_some_and(is_current) {
        Ok(owner)
    } else {
        Err(StorageError::new(StatusCode::FORBIDDEN, "RequestTimeTooSkewed", "the date is not current"))
    }
}

/// Returns the text that the client signed.
fn string_to_sign(request: &Request) -> String {
    let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let date = if request.headers().contains_key("x-goog-date") { "" } else { header("date") };
    let mut text = format!("{}\n{}\n{}\n{date}\n", request.method(), header("content-md5"), header("content-type"));
    let extensions = request.headers().iter().filter(|(name, _)| name.as_str().starts_with(EXTENSION_HEADER_PREFIX));
    let mut extensions: Vec<_> =
        extensions.map(|(name, value)| format!("{name}:{}\n", value.to_str().unwrap_or_default().trim())).collect();
    extensions.sort_unstable();
    text += &extensions.concat();
    text += request.uri().path();
    let pairs =
        request.uri().query().unwrap_or_default().split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let mut pairs: Vec<_> = pairs.filter(|(name, _)| SIGNED_PARAMETERS.contains(name)).collect();
    pairs.sort_unstable();
    let pairs: Vec<_> = pairs
        .into_iter()
        .map(|(name, value)| match value {
            "" => name.to_owned(),
            value => format!("{name}={}", percent_decode_str(value).decode_utf8_lossy()),
        })
        .collect();
    if pairs.is_empty() { text } else { format!("{text}?{}", pairs.join("&")) }
}
