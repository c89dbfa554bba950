//! The request journal of a platform.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};

use axum::http::{HeaderMap, HeaderName};
use jiff::Timestamp;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::server_name::Server;

/// The maximum number of requests in the journal. The oldest are removed first.
const MAX_ENTRIES: usize = 100_000;

/// A request and its result.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[non_exhaustive]
pub struct JournalEntry {
    /// The time of arrival, in seconds since 1970 by the platform's clock.
    pub at: i64,
    /// The server that received the request.
    pub server: Server,
    /// The number of the connection, which is unique for the server.
    pub connection: u64,
    /// The HTTP version: `HTTP/1.1` or `HTTP/2.0`.
    pub version: String,
    /// The method.
    pub method: String,
    /// The path. The query is omitted, because it can contain signatures.
    pub path: String,
    /// The names of the query parameters, in the order of the request.
    pub parameters: Vec<String>,
    /// The names of the headers that begin with `x-amz-` or `x-goog-`, sorted.
    pub storage_headers: Vec<String>,
    /// The `Range` header.
    pub range: Option<String>,
    /// True if the request had an `Authorization` header.
    pub authorization: bool,
    /// The response status, or 0 before the response.
    pub status: u16,
    /// The number of bytes of the response body that were passed to the connection.
    pub bytes: u64,
}

/// An entry whose response may be in progress.
pub(crate) struct RecordedRequest {
    entry: JournalEntry,
    status: AtomicU16,
    bytes: AtomicU64,
}

#[derive(Default)]
pub(crate) struct Journal(Mutex<VecDeque<Arc<RecordedRequest>>>);

impl RecordedRequest {
    pub(crate) fn new(now: Timestamp, server: Server, connection: u64, request: &axum::extract::Request) -> Self {
        let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
        let entry = JournalEntry {
            at: now.as_second(),
            server,
            connection,
            version: format!("{:?}", request.version()),
            method: request.method().to_string(),
            path: request.uri().path().to_owned(),
            parameters: parameter_names(request.uri().query().unwrap_or_default()),
            storage_headers: storage_header_names(request.headers()),
            range: header("range").map(str::to_owned),
            authorization: header("authorization").is_some(),
            status: 0,
            bytes: 0,
        };
        Self { entry, status: AtomicU16::new(0), bytes: AtomicU64::new(0) }
    }

    pub(crate) fn set_status(&self, status: u16) {
        self.status.store(status, Ordering::Relaxed);
    }

    pub(crate) fn add_sent_bytes(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}

fn parameter_names(query: &str) -> Vec<String> {
    url::form_urlencoded::parse(query.as_bytes()).map(|(name, _)| redact_name(&name)).collect()
}

/// Returns the name of a parameter, or `?` for a name that is long or has unusual characters. Such a name may be a
/// secret value.
fn redact_name(name: &str) -> String {
    let is_usual = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if name.len() <= 40 && name.bytes().all(is_usual) { name.to_owned() } else { "?".to_owned() }
}

fn storage_header_names(headers: &HeaderMap) -> Vec<String> {
    let names = headers.keys().map(HeaderName::as_str);
    let mut names: Vec<_> = names.filter(|name| name.starts_with("x-amz-") || name.starts_with("x-goog-")).collect();
    names.sort_unstable();
    names.into_iter().map(str::to_owned).collect()
}

impl Journal {
    pub(crate) fn add(&self, recorded: Arc<RecordedRequest>) {
        let mut entries = self.0.lock();
        if entries.len() == MAX_ENTRIES {
            entries.pop_front();
        }
        entries.push_back(recorded);
    }

    pub(crate) fn entries(&self) -> Vec<JournalEntry> {
        let entries = self.0.lock();
        let to_entry = |recorded: &Arc<RecordedRequest>| JournalEntry {
            status: recorded.status.load(Ordering::Relaxed),
            bytes: recorded.bytes.load(Ordering::Relaxed),
            ..recorded.entry.clone()
        };
        entries.iter().map(to_entry).collect()
    }

    pub(crate) fn clear(&self) {
        self.0.lock().clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_that_may_be_a_value_is_not_recorded() {
        let query = "x-amz-signature=canary&partNumber=1&eyJhbGciOiJub25lIn0.canary&X-Amz-Signature%3Dcanary";
        assert_eq!(parameter_names(query), ["x-amz-signature", "partNumber", "?", "?"]);
    }
}
