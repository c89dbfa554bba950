//! Lists of incomplete multipart uploads.

use axum::response::Response;
use percent_encoding::utf8_percent_encode;
use serde::Serialize;

use super::signature::RESERVED_IN_PATH;
use super::storage_error::xml_response;
use super::{StorageError, Target};
use crate::platform::Platform;

/// The maximum number of uploads per page.
const MAX_PAGE_SIZE: usize = 1000;

#[derive(Serialize)]
#[serde(rename = "ListMultipartUploadsResult", rename_all = "PascalCase")]
struct Listing<'a> {
    bucket: &'a str,
    key_marker: String,
    upload_id_marker: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_key_marker: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_upload_id_marker: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    encoding_type: Option<&'static str>,
    prefix: String,
    max_uploads: usize,
    is_truncated: bool,
    upload: Vec<Entry>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    key: String,
    upload_id: String,
    storage_class: &'static str,
    initiated: String,
}

pub(super) fn list(platform: &Platform, target: &Target) -> Result<Response, StorageError> {
    let parameter = |name| target.parameter(name).filter(|value| !value.is_empty());
    if parameter("delimiter").is_some() {
        return Err(StorageError::not_implemented("uploads cannot be grouped by a delimiter"));
    }
    let encoding_type = match parameter("encoding-type").as_deref() {
        None => None,
        Some("url") => Some("url"),
        Some(_) => return Err(StorageError::invalid("encoding-type can only be url")),
    };
    let encode = |key: &str| match encoding_type {
        Some(_) => utf8_percent_encode(key, RESERVED_IN_PATH).to_string(),
        None => key.to_owned(),
    };
    let max_uploads = parameter("max-uploads").map(|text| text.parse::<usize>()).transpose();
    let max_uploads = max_uploads.map_err(|_| StorageError::invalid("max-uploads is not a number"))?;
    let max_uploads = max_uploads.unwrap_or(MAX_PAGE_SIZE).min(MAX_PAGE_SIZE);
    let (prefix, key_marker) = (parameter("prefix").unwrap_or_default(), parameter("key-marker").unwrap_or_default());
    let id_marker = parameter("upload-id-marker").unwrap_or_default();
    let mut uploads = platform.multiparts.list(&target.bucket, platform.timestamp());
    uploads.retain(|upload| {
        let is_after = if id_marker.is_empty() {
            upload.key > key_marker
        } else {
            (&upload.key, &upload.upload_id) > (&key_marker, &id_marker)
        };
        upload.key.starts_with(&prefix) && is_after
    });
    let is_truncated = max_uploads > 0 && uploads.len() > max_uploads;
    uploads.truncate(max_uploads);
    let last_listed = uploads.last().filter(|_| is_truncated);
    Ok(xml_response(&Listing {
        bucket: &target.bucket,
        key_marker: encode(&key_marker),
        upload_id_marker: &id_marker,
        next_key_marker: last_listed.map(|upload| encode(&upload.key)),
        next_upload_id_marker: last_listed.map(|upload| upload.upload_id.clone()),
        encoding_type,
        prefix: encode(&prefix),
        max_uploads,
        is_truncated,
        upload: uploads
            .iter()
            .map(|upload| Entry {
                key: encode(&upload.key),
                upload_id: upload.upload_id.clone(),
                storage_class: "STANDARD",
                initiated: upload.started_at.to_string(),
            })
            .collect(),
    }))
}
