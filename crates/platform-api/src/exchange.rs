//! The conversion of operations to requests, and of responses to results, for all transports.

use std::time::Duration;

use url::Url;

use crate::operation::{SuccessResponse, expand_template};
use crate::{ApiError, ApiRequest, ApiResponse, CallOptions, Operation, TransportError};

/// The default timeout of a request and its response.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);
/// Headers that only the transport sets.
const RESERVED_HEADERS: [&str; 4] = ["authorization", "cookie", "host", "content-length"];

pub(crate) fn request<O: Operation>(root: &Url, operation: &O, options: &CallOptions) -> Result<ApiRequest, ApiError> {
    let CallOptions { timeout, headers, share_token } = options;
    let path =
        expand_template(O::TEMPLATE, &operation.segments()).map_err(|name| ApiError::invalid_segment(O::ID, name))?;
    let mut url = root.clone();
    url.set_path(&format!("{}{path}", root.path().trim_end_matches('/')));
    let query = operation.query();
    let query = if O::SHAREABLE { query.one_if_missing("share_token", share_token.as_ref()) } else { query };
    url.set_query(query.into_text().as_deref());
    if let Some((name, _)) =
        headers.iter().find(|(name, _)| RESERVED_HEADERS.contains(&name.to_ascii_lowercase().as_str()))
    {
        return Err(ApiError::reserved_header(O::ID, name));
    }
    let body = operation.body().map_err(|error| ApiError::unserializable_body(O::ID, error))?;
    let mut all_headers = vec![("accept".to_owned(), "application/json".to_owned())];
    all_headers.extend(body.is_some().then(|| ("content-type".to_owned(), "application/json".to_owned())));
    all_headers.extend(headers.iter().cloned());
    Ok(ApiRequest {
        operation: O::ID,
        method: O::METHOD,
        url,
        headers: all_headers,
        body,
        timeout: timeout.unwrap_or(DEFAULT_TIMEOUT),
        success: O::SUCCESS,
    })
}

/// Returns the method and the path for errors. The query is omitted because it may contain a secret.
pub(crate) fn method_and_path(request: &ApiRequest) -> String {
    format!("{} {}", request.method, request.url.path())
}

pub(crate) fn output<O: Operation>(response: Result<ApiResponse, TransportError>) -> Result<O::Output, ApiError> {
    let response = response.map_err(|error| ApiError::transport(O::ID, error))?;
    if response.status() == O::SUCCESS {
        O::decode(&SuccessResponse::from(response)).map_err(|error| ApiError::decode(O::ID, error))
    } else {
        Err(ApiError::error_response(O::ID, &response))
    }
}
