//! Request extractors that validate like the platform: an error contains the location of the malformed value.

use std::ops::RangeInclusive;

use axum::body::Bytes;
use axum::extract::rejection::PathRejection;
use axum::extract::{FromRequest, FromRequestParts, MatchedPath, Path, Request};
use axum::http::request::Parts;
use axum::http::{StatusCode, Uri};
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use url::form_urlencoded;
use uuid::Uuid;

use super::contract;
use super::problem::Problem;
use crate::api::jsonpath::JsonPath;

/// The permitted page sizes.
const PAGE_SIZES: RangeInclusive<usize> = 5..=100;
/// The default page size.
const DEFAULT_PAGE_SIZE: usize = 50;
/// The maximum length of a JSONPath expression, in characters.
const MAX_PATH_LENGTH: usize = 1000;

/// The path parameters.
pub(super) struct PathParameters<T>(pub(super) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for PathParameters<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let malformed = |error: PathRejection| Problem::invalid(json!(["path"]), error.body_text());
        Path::from_request_parts(parts, state).await.map(|Path(parameters)| Self(parameters)).map_err(malformed)
    }
}

/// Parses the path parameter `name`.
pub(super) fn parse_uuid(name: &str, text: &str) -> Result<Uuid, Problem> {
    text.parse().map_err(|_| Problem::invalid(json!(["path", name]), "Input should be a valid UUID"))
}

/// The JSON body, validated against the schema of the operation in the OpenAPI document.
pub(super) struct Body<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let malformed = |message: String| Problem::invalid(json!(["body"]), message);
        let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
        let method = request.method().clone();
        let bytes = Bytes::from_request(request, state).await.map_err(|error| match error.status() {
            StatusCode::PAYLOAD_TOO_LARGE => Problem::TooLarge,
            _ => malformed("The body is incomplete".to_owned()),
        })?;
        let body: Value = serde_json::from_slice(&bytes).map_err(|error| malformed(error.to_string()))?;
        contract::check_body(&method, &route.unwrap_or_default(), &body)?;
        serde_json::from_value(body).map(Self).map_err(|error| malformed(error.to_string()))
    }
}

/// The query parameters. Unknown parameters are ignored.
pub(super) struct Parameters(Vec<(String, String)>);

impl<S: Sync> FromRequestParts<S> for Parameters {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        Ok(Self::of(&parts.uri))
    }
}

impl Parameters {
    fn of(uri: &Uri) -> Self {
        Self(form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()).into_owned().collect())
    }

    /// Returns the value of a parameter. If the parameter is repeated, returns the last value.
    pub(super) fn value(&self, name: &str) -> Option<&str> {
        self.0.iter().rfind(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub(super) fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub(super) fn uuids(&self, name: &str) -> Result<Option<Vec<Uuid>>, Problem> {
        let uuids = self.values(name).map(|text| {
            let malformed = |_| Problem::invalid(json!(["query", name]), "Input should be a valid UUID");
            text.parse().map_err(malformed)
        });
        let uuids: Vec<_> = uuids.collect::<Result<_, _>>()?;
        Ok((!uuids.is_empty()).then_some(uuids))
    }

    pub(super) fn uuid(&self, name: &str) -> Result<Option<Uuid>, Problem> {
        Ok(self.uuids(name)?.and_then(|uuids| uuids.last().copied()))
    }

    /// Returns the value of a parameter. A value that is not in `allowed` is an error.
    pub(super) fn one_of(&self, name: &str, allowed: &[&str]) -> Result<Option<&str>, Problem> {
        match self.values(name).find(|text| !allowed.contains(text)) {
            Some(_) => Err(Problem::invalid(json!(["query", name]), format!("Input should be {}", allowed.join(", ")))),
            None => Ok(self.value(name)),
        }
    }

    pub(super) fn boolean(&self, name: &str) -> Result<Option<bool>, Problem> {
        match self.value(name).map(str::to_ascii_lowercase).as_deref() {
            None => Ok(None),
            Some("true" | "1" | "yes" | "on" | "t" | "y") => Ok(Some(true)),
            Some("false" | "0" | "no" | "off" | "f" | "n") => Ok(Some(false)),
            Some(_) => Err(Problem::invalid(json!(["query", name]), "Input should be a valid boolean")),
        }
    }

    /// Returns the filter on custom metadata.
    pub(super) fn metadata_filter(&self) -> Result<Option<JsonPath>, Problem> {
        let invalid_filter = |message: String| Problem::invalid(json!(["query", "custom_metadata"]), message);
        let Some(text) = self.value("custom_metadata") else { return Ok(None) };
        if text.chars().count() > MAX_PATH_LENGTH {
            return Err(invalid_filter(format!("String should have at most {MAX_PATH_LENGTH} characters")));
        }
        text.parse().map(Some).map_err(|error| invalid_filter(format!("Invalid JSONPath expression: {error}")))
    }

    /// Rejects a filter whose evaluation exhausted its budget.
    pub(super) fn check_budget(filter: Option<&JsonPath>) -> Result<(), Problem> {
        if filter.is_some_and(JsonPath::is_exhausted) {
            let message = "the JSONPath expression is too expensive to evaluate";
            return Err(Problem::invalid(json!(["query", "custom_metadata"]), message));
        }
        Ok(())
    }

    /// Returns the requested page of a list.
    pub(super) fn page(&self) -> Result<Page, Problem> {
        self.page_with_size_parameter("page_size")
    }

    /// Returns the requested page of a list whose page size is in the parameter `size_parameter`.
    pub(super) fn page_with_size_parameter(&self, size_parameter: &str) -> Result<Page, Problem> {
        let number = |name: &str, default: usize, allowed: RangeInclusive<usize>| {
            let Some(text) = self.value(name) else { return Ok(default) };
            let (minimum, maximum) = (allowed.start(), allowed.end());
            text.parse().ok().filter(|number| allowed.contains(number)).ok_or_else(|| {
                Problem::invalid(
                    json!(["query", name]),
                    format!("Input should be an integer from {minimum} to {maximum}"),
                )
            })
        };
        Ok(Page {
            number: number("page", 1, 1..=usize::MAX)?,
            size: number(size_parameter, DEFAULT_PAGE_SIZE, PAGE_SIZES)?,
        })
    }

    /// Returns the requested sort order. `fields` are the sortable fields of the list.
    pub(super) fn sort(&self, fields: &[&'static str]) -> Result<Sort, Problem> {
        let order = self.values("sort").filter(|text| !text.is_empty()).map(|text| {
            // An unencoded `+` is decoded as a space.
            let (name, descending) = match text.split_at_checked(1) {
                Some(("-", name)) => (name, true),
                Some(("+" | " ", name)) => (name, false),
                _ => (text, false),
            };
            let field = fields.iter().find(|field| **field == name);
            field.map(|field| (*field, descending)).ok_or_else(|| {
                Problem::invalid(json!(["query", "sort"]), format!("Input should be one of {}", fields.join(", ")))
            })
        });
        order.collect::<Result<_, _>>().map(Sort)
    }
}

pub(super) struct Page {
    number: usize,
    size: usize,
}

impl Page {
    /// Returns the entries of this page. A page after the end of the list is empty.
    pub(super) fn entries_of<T>(&self, entries: Vec<T>) -> Vec<T> {
        let start = (self.number - 1).saturating_mul(self.size);
        entries.into_iter().skip(start).take(self.size).collect()
    }

    /// Returns the entries of this page. Returns an error for an empty page, unless it is the first page.
    pub(super) fn entries_or_not_found<T>(&self, entries: Vec<T>) -> Result<Vec<T>, Problem> {
        let page = self.entries_of(entries);
        if self.number > 1 && page.is_empty() { Err(Problem::NotFound("Page not found")) } else { Ok(page) }
    }
}

/// The sort fields in order of precedence. The boolean is true for descending order.
pub(super) struct Sort(Vec<(&'static str, bool)>);

/// A sort key. Absent values are greater than all others, as in PostgreSQL.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum SortKey {
    Text(String),
    Time(Timestamp),
    Absent,
}

impl SortKey {
    pub(super) fn text(text: &(impl ToString + ?Sized)) -> Self {
        Self::Text(text.to_string())
    }

    pub(super) fn time(time: Option<Timestamp>) -> Self {
        time.map_or(Self::Absent, Self::Time)
    }

    /// Creates a key from a value of an enumeration, or null.
    pub(super) fn value(value: &Value) -> Self {
        match value {
            Value::Null => Self::Absent,
            Value::String(text) => Self::text(text),
            other => Self::text(other),
        }
    }
}

impl Sort {
    /// Sorts entries. The sort is stable.
    pub(super) fn apply<T>(&self, entries: &mut [T], key: impl Fn(&T, &'static str) -> SortKey) {
        for (field, descending) in self.0.iter().rev() {
            if *descending {
                entries.sort_by_cached_key(|entry| std::cmp::Reverse(key(entry, field)));
            } else {
                entries.sort_by_cached_key(|entry| key(entry, field));
            }
        }
    }
}
