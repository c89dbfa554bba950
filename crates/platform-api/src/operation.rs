use std::fmt;

use auth_http::{Method, SignedUrl};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use url::Url;

use crate::QueryValue;

/// All but the unreserved characters of RFC 3986, section 2.3.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// One endpoint of the platform: how it is asked, and what its answer means. It sends nothing
/// itself; [`Client::send`](crate::Client::send) does.
pub trait Operation: fmt::Debug + Send + Sync {
    /// What the endpoint answers if all is well.
    type Output;
    /// The name of the operation in the OpenAPI document.
    const ID: &'static str;
    /// The method of the request.
    const METHOD: Method;
    /// The path from the root of the server, with a `{name}` for each segment.
    const TEMPLATE: &'static str;
    /// The status that means success.
    const SUCCESS: u16;

    /// What goes into the template.
    fn segments(&self) -> Vec<Segment<'_>> {
        Vec::new()
    }

    /// What goes behind the question mark.
    fn query(&self) -> Query {
        Query::new()
    }

    /// The JSON to send, if any.
    ///
    /// # Errors
    ///
    /// A value that JSON cannot hold, such as a map with keys that are no strings.
    fn body(&self) -> Result<Option<Vec<u8>>, BodyError> {
        Ok(None)
    }

    /// Reads an answer that has the status [`SUCCESS`](Self::SUCCESS).
    ///
    /// # Errors
    ///
    /// The answer is not of the declared form; the error says where.
    fn decode(answer: &Answer) -> Result<Self::Output, DecodeError>;
}

/// A value for a `{name}` of a path template.
#[derive(Clone, Copy, Debug)]
pub struct Segment<'a> {
    name: &'static str,
    value: &'a str,
}

impl<'a> Segment<'a> {
    /// The value for `{name}`, not yet encoded.
    pub fn new(name: &'static str, value: &'a str) -> Self {
        Self { name, value }
    }
}

/// The path of an operation: its template with each segment encoded. An empty segment, `.` and `..`
/// would lead to another endpoint and are refused, by name.
pub(crate) fn path(template: &str, segments: &[Segment<'_>]) -> Result<String, &'static str> {
    let mut path = template.to_owned();
    for Segment { name, value } in segments {
        if matches!(*value, "" | "." | "..") {
            return Err(name);
        }
        path = path.replace(&format!("{{{name}}}"), &utf8_percent_encode(value, RESERVED).to_string());
    }
    Ok(path)
}

/// The parameters behind the question mark, encoded. It may hold a share token, so `Debug` shows nothing of it.
#[derive(Clone, Default)]
pub struct Query(String);

impl Query {
    /// No parameters.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds `name=value` if there is a value.
    pub fn one<V: QueryValue>(mut self, name: &str, value: Option<&V>) -> Self {
        if let Some(value) = value {
            if !self.0.is_empty() {
                self.0.push('&');
            }
            self.0.extend(utf8_percent_encode(name, RESERVED));
            self.0.push('=');
            self.0.extend(utf8_percent_encode(&value.text(), RESERVED));
        }
        self
    }

    /// Adds `name=value` for each of the values.
    pub fn each<V: QueryValue>(self, name: &str, values: Option<&[V]>) -> Self {
        values.into_iter().flatten().fold(self, |query, value| query.one(name, Some(value)))
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

/// A request body could not be written as JSON.
#[derive(Debug, thiserror::Error)]
#[error("the body cannot be written as JSON")]
pub struct BodyError(#[source] serde_json::Error);

pub(crate) fn json_body<T: Serialize>(value: &T) -> Result<Option<Vec<u8>>, BodyError> {
    serde_json::to_vec(value).map(Some).map_err(BodyError)
}

/// An answer with the status that means success. It may hold secrets, so `Debug` shows nothing of it.
pub struct Answer {
    pub(crate) location: Option<String>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// The body as JSON.
    ///
    /// # Errors
    ///
    /// It is no JSON, or not of this type.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, DecodeError> {
        let mut reader = serde_json::Deserializer::from_slice(&self.body);
        serde_path_to_error::deserialize(&mut reader).map_err(|error| DecodeError {
            path: error.path().to_string(),
            line: error.inner().line(),
            column: error.inner().column(),
        })
    }

    /// Where the `Location` header leads.
    ///
    /// # Errors
    ///
    /// There is none, or it is no absolute URL.
    pub fn redirect(&self) -> Result<SignedUrl, DecodeError> {
        let url = self.location.as_deref().and_then(|location| location.parse::<Url>().ok());
        let missing = || DecodeError { path: "the Location header".to_owned(), line: 0, column: 0 };
        url.map(SignedUrl::from).ok_or_else(missing)
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Answer(***)")
    }
}

/// An answer is not of the declared form. It says where, and shows nothing of the value there.
#[derive(Debug, thiserror::Error)]
#[error("the answer is not understood at `{path}` (line {line}, column {column})")]
pub struct DecodeError {
    path: String,
    line: usize,
    column: usize,
}

impl DecodeError {
    /// The JSON path of the value that is not what it should be.
    pub fn path(&self) -> &str {
        &self.path
    }
}
