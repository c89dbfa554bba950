use std::fmt;

use auth_core::SignedUrl;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use url::Url;

use crate::{ApiResponse, JsonValue, Method, QueryValue};

/// The characters that are percent-encoded: all except the unreserved characters of RFC 3986, section 2.3.
const ENCODED_CHARACTERS: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// An operation of the platform API: its request, and the type of its response. Send it with
/// [`Client::send`](crate::Client::send).
pub trait Operation: fmt::Debug + Send + Sync {
    /// The type of a successful response.
    type Output;
    /// The name of the operation in the OpenAPI document.
    const ID: &'static str;
    /// The method of the request.
    const METHOD: Method;
    /// The path template, such as `/api/v1/runs/{run_id}`, with a `{name}` for each variable segment.
    const TEMPLATE: &'static str;
    /// The status of a successful response.
    const SUCCESS: u16;
    /// True if the operation accepts a share token.
    const SHAREABLE: bool = false;

    /// Returns the values of the variable segments in [`TEMPLATE`](Self::TEMPLATE).
    fn segments(&self) -> Vec<Segment<'_>> {
        Vec::new()
    }

    /// Returns the query parameters.
    fn query(&self) -> Query {
        Query::new()
    }

    /// Returns the JSON body, or `None` if the operation has no body.
    ///
    /// # Errors
    ///
    /// A value cannot be represented in JSON, such as a map with keys that are not strings.
    fn body(&self) -> Result<Option<Vec<u8>>, BodyError> {
        Ok(None)
    }

    /// Decodes a response with the status [`SUCCESS`](Self::SUCCESS).
    ///
    /// # Errors
    ///
    /// The response does not have the declared type. The error names the location of the invalid value.
    fn decode(response: &SuccessResponse) -> Result<Self::Output, DecodeError>;
}

/// A value for a `{name}` of a path template.
#[derive(Clone, Copy, Debug)]
pub struct Segment<'a> {
    name: &'static str,
    value: &'a str,
}

impl<'a> Segment<'a> {
    /// Creates the value for `{name}`. The value must not be percent-encoded.
    pub fn new(name: &'static str, value: &'a str) -> Self {
        Self { name, value }
    }
}

/// Returns the path of an operation: its template with the percent-encoded segments. If a segment is empty, `.` or
/// `..`, the path would lead to another endpoint. In this case the error is the name of the segment.
pub(crate) fn expand_template(template: &str, segments: &[Segment<'_>]) -> Result<String, &'static str> {
    let mut path = template.to_owned();
    for Segment { name, value } in segments {
        if matches!(*value, "" | "." | "..") {
            return Err(name);
        }
        path = path.replace(&format!("{{{name}}}"), &utf8_percent_encode(value, ENCODED_CHARACTERS).to_string());
    }
    Ok(path)
}

/// Returns the encoded path segments and query of an operation as text, for example for the key of a cache entry. Two
/// operations of the same type and without a body are equal if their parameters are equal. The text may contain a share
/// token.
pub fn parameters<O: Operation>(operation: &O) -> String {
    let mut text = String::new();
    for Segment { value, .. } in operation.segments() {
        text.extend(utf8_percent_encode(value, ENCODED_CHARACTERS));
        text.push('/');
    }
    if let Some(query) = operation.query().into_text() {
        text.push('?');
        text += &query;
    }
    text
}

/// Encoded query parameters. `Debug` does not show them, because they may contain a share token.
#[derive(Clone, Default)]
pub struct Query(String);

impl Query {
    /// Creates an empty query.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds `name=value` unless `value` is `None`.
    pub fn one<V: QueryValue>(mut self, name: &str, value: Option<&V>) -> Self {
        if let Some(value) = value {
            if !self.0.is_empty() {
                self.0.push('&');
            }
            self.0.extend(utf8_percent_encode(name, ENCODED_CHARACTERS));
            self.0.push('=');
            self.0.extend(utf8_percent_encode(&value.text(), ENCODED_CHARACTERS));
        }
        self
    }

    /// Adds `name=value` for each value.
    pub fn each<V: QueryValue>(self, name: &str, values: Option<&[V]>) -> Self {
        values.into_iter().flatten().fold(self, |query, value| query.one(name, Some(value)))
    }

    /// Adds `name=value` unless `value` is `None` or the query already has a parameter with this name.
    pub(crate) fn one_if_missing<V: QueryValue>(self, name: &str, value: Option<&V>) -> Self {
        let has_parameter = self.0.split('&').any(|pair| pair.split('=').next() == Some(name));
        if has_parameter { self } else { self.one(name, value) }
    }

    pub(crate) fn into_text(self) -> Option<String> {
        (!self.0.is_empty()).then_some(self.0)
    }
}

impl fmt::Debug for Query {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Query(***)")
    }
}

/// The error for a request body that cannot be serialized as JSON.
#[derive(Debug, thiserror::Error)]
#[error("cannot serialize the body")]
pub struct BodyError(#[source] serde_json::Error);

pub(crate) fn json_body<T: Serialize>(value: &T) -> Result<Option<Vec<u8>>, BodyError> {
    serde_json::to_vec(value).map(Some).map_err(BodyError)
}

/// A response with the success status of an operation. `Debug` does not show its content, because it may contain
/// secrets.
pub struct SuccessResponse(ApiResponse);

impl From<ApiResponse> for SuccessResponse {
    fn from(response: ApiResponse) -> Self {
        Self(response)
    }
}

impl SuccessResponse {
    /// Decodes the body as JSON.
    ///
    /// # Errors
    ///
    /// The body is not valid JSON, or is not a value of the type `T`.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, DecodeError> {
        let body = self.0.body();
        let mut reader = serde_json::Deserializer::from_slice(body);
        let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| DecodeError::new(&error, body))?;
        // The body must not contain data after the value.
        reader.end().map_err(|error| DecodeError::trailing_data(&error))?;
        Ok(value)
    }

    /// Returns the URL of the `Location` header.
    ///
    /// # Errors
    ///
    /// The header is missing, or is not an absolute URL with the scheme `https`, or `http` on a loopback address.
    pub fn redirect(&self) -> Result<SignedUrl, DecodeError> {
        let location = self.0.header("location").ok_or_else(|| DecodeError::invalid_location("is missing"))?;
        let url: Url = location.parse().map_err(|_| DecodeError::invalid_location("is not an absolute URL"))?;
        match url.scheme() {
            "https" => Ok(url.into()),
            "http" if auth_core::Authority::of(&url).is_confidential(true) => Ok(url.into()),
            _ => Err(DecodeError::invalid_location("is not an https URL")),
        }
    }
}

impl fmt::Debug for SuccessResponse {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("SuccessResponse(***)")
    }
}

/// The error for a response that does not have the declared type. It contains the location and the JSON type of the
/// invalid value, never the value itself.
#[derive(Debug, thiserror::Error)]
#[error("invalid response: {problem}{}", .position.map(|(line, column)| format!(" (line {line}, column {column})")).unwrap_or_default())]
pub struct DecodeError {
    path: String,
    problem: String,
    position: Option<(usize, usize)>,
}

impl DecodeError {
    fn new(error: &serde_path_to_error::Error<serde_json::Error>, body: &[u8]) -> Self {
        let (mut path, source) = (error.path().to_string(), error.inner());
        let message = source.to_string();
        let problem = match serde_json::from_slice::<JsonValue>(body) {
            Err(_) => {
                // The path of a syntax error is omitted, because it may contain a value of the response instead of a
                // name.
                ".".clone_into(&mut path);
                "not valid JSON, or nested too deeply".to_owned()
            }
            // The name of a missing field comes from the schema and is not secret. Other messages may quote the
            // response.
            Ok(_) if message.starts_with("missing field") => {
                let field = message.split('`').nth(1).unwrap_or_default();
                format!("`{field}` is missing at `{path}`")
            }
            Ok(value) => format!("unexpected {} at `{path}`", describe_json_type(&value, error.path())),
        };
        Self { path, problem, position: Some((source.line(), source.column())) }
    }

    fn trailing_data(error: &serde_json::Error) -> Self {
        let problem = "unexpected data after the JSON value".to_owned();
        Self { path: ".".to_owned(), problem, position: Some((error.line(), error.column())) }
    }

    fn invalid_location(problem: &str) -> Self {
        let path = "the Location header".to_owned();
        Self { problem: format!("{path} {problem}"), path, position: None }
    }

    /// Returns the JSON path of the invalid value.
    pub fn path(&self) -> &str {
        &self.path
    }
}

/// Returns a description of the JSON type of the value at `path`.
fn describe_json_type(value: &JsonValue, path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;

    let value = path.iter().try_fold(value, |value, segment| match segment {
        Segment::Seq { index } => value.get(index),
        Segment::Map { key } => value.get(key),
        Segment::Enum { .. } | Segment::Unknown => Some(value),
    });
    match value {
        None | Some(JsonValue::Null) => "null".to_owned(),
        Some(JsonValue::Bool(_)) => "boolean".to_owned(),
        Some(JsonValue::Number(_)) => "number".to_owned(),
        Some(JsonValue::String(text)) => format!("string of {} bytes", text.len()),
        Some(JsonValue::Array(values)) => format!("array of {} elements", values.len()),
        Some(JsonValue::Object(members)) => format!("object of {} members", members.len()),
    }
}
