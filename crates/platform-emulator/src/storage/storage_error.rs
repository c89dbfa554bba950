//! Error responses and XML responses of the storage.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// An error response in the format of S3-compatible storages.
pub(crate) struct StorageError {
    status: StatusCode,
    code: &'static str,
    message: String,
    headers: Vec<(header::HeaderName, String)>,
}

#[derive(Serialize)]
#[serde(rename = "Error", rename_all = "PascalCase")]
struct Body<'a> {
    code: &'a str,
    message: &'a str,
}

impl StorageError {
    pub(crate) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), headers: Vec::new() }
    }

    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "InvalidArgument", message)
    }

    pub(super) fn denied(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "AccessDenied", message)
    }

    /// Creates the error for an expired URL, with the status of Google's storage (400). S3 responds with 403.
    pub(crate) fn expired() -> Self {
        Self::new(StatusCode::BAD_REQUEST, "ExpiredToken", "the URL has expired or is not valid yet")
    }

    pub(super) fn not_implemented(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_IMPLEMENTED, "NotImplemented", message)
    }

    #[expect(clippy::needless_pass_by_value, reason = "`map_err` passes the error by value")]
    pub(super) fn internal(error: impl ToString) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", error.to_string())
    }

    pub(super) fn with_header(mut self, name: header::HeaderName, value: String) -> Self {
        self.headers.push((name, value));
        self
    }
}

/// Returns a record as XML, in the namespace of S3.
pub(super) fn xml_response(record: &impl Serialize) -> Response {
    write_xml(record, r#" xmlns="http://s3.amazonaws.com/doc/2006-03-01/">"#)
}

/// Returns a listing as XML, in the namespace that Google's storage uses for listings.
pub(super) fn listing_response(record: &impl Serialize) -> Response {
    write_xml(record, r#" xmlns="http://doc.s3.amazonaws.com/2006-03-01">"#)
}

/// Returns a record as XML. `root_end` replaces the first `>`, which is the end of the start tag of the root.
fn write_xml(record: &impl Serialize, root_end: &str) -> Response {
    let mut body = String::new();
    let mut serializer = quick_xml::se::Serializer::new(&mut body);
    serializer.expand_empty_elements(true);
    match record.serialize(serializer) {
        Ok(_) => {
            let body = format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{}", body.replacen('>', root_end, 1));
            ([(header::CONTENT_TYPE, "application/xml")], body).into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

impl IntoResponse for StorageError {
    fn into_response(self) -> Response {
        let mut response = write_xml(&Body { code: self.code, message: &self.message }, ">");
        *response.status_mut() = self.status;
        for (name, value) in self.headers {
            super::set_header(response.headers_mut(), name, &value);
        }
        response
    }
}
