//! The XML documents of the storage.
//!
//! XML namespaces are ignored, because Google Cloud Storage and S3 use different ones for listings.

use percent_encoding::percent_decode_str;
use serde::Deserialize;

/// A document. Each variant has the name of its root element.
#[derive(Debug, Deserialize)]
pub(crate) enum Document {
    ListBucketResult(ObjectPage),
    ListMultipartUploadsResult(UploadPage),
    InitiateMultipartUploadResult(StartedUpload),
    CompleteMultipartUploadResult {},
    /// An error. The storage sends it with status 200 if joining the parts of an upload fails.
    Error(ErrorDocument),
}

/// A page of objects (`ListObjectsV2`).
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ObjectPage {
    #[serde(default)]
    pub(crate) contents: Vec<Object>,
    pub(crate) encoding_type: Option<String>,
    #[serde(default)]
    pub(crate) is_truncated: bool,
    pub(crate) next_continuation_token: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Object {
    pub(crate) key: String,
    pub(crate) size: Option<u64>,
    pub(crate) last_modified: Option<String>,
}

/// A page of multipart uploads that were neither completed nor aborted.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct UploadPage {
    #[serde(default, rename = "Upload")]
    pub(crate) uploads: Vec<UploadEntry>,
    pub(crate) encoding_type: Option<String>,
    #[serde(default)]
    pub(crate) is_truncated: bool,
    pub(crate) next_key_marker: Option<String>,
    pub(crate) next_upload_id_marker: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct UploadEntry {
    pub(crate) key: String,
    pub(crate) upload_id: String,
    pub(crate) initiated: Option<String>,
}

/// The response to the start of a multipart upload.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct StartedUpload {
    pub(crate) upload_id: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ErrorDocument {
    pub(crate) code: String,
}

/// The error of a document that cannot be parsed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DocumentError {
    #[error("the response is not UTF-8")]
    Encoding(#[from] std::str::Utf8Error),
    #[error("the response is not a valid document: {0}")]
    Xml(#[from] quick_xml::DeError),
}

impl Document {
    /// Parses a document.
    pub(crate) fn read(body: &[u8]) -> Result<Self, DocumentError> {
        Ok(quick_xml::de::from_str(std::str::from_utf8(body)?)?)
    }
}

/// Decodes a key in a document whose keys have this `encoding`. In the encoding `url`, `+` is a space.
pub(crate) fn decode(key: &str, encoding: Option<&str>) -> Result<String, DocumentError> {
    if encoding != Some("url") {
        return Ok(key.to_owned());
    }
    let with_spaces = key.replace('+', " ");
    Ok(percent_decode_str(&with_spaces).decode_utf8()?.into_owned())
}
