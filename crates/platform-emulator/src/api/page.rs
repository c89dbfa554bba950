use std::ops::RangeInclusive;

use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use serde_json::json;

use super::problem::Problem;

const SIZES: RangeInclusive<usize> = 5..=100;
const DEFAULT_SIZE: usize = 50;

/// Which part of a list is asked for. Applications spell the size `page-size`, all others `page_size`.
pub(crate) struct Page {
    number: usize,
    size: usize,
}

impl<S: Send + Sync> FromRequestParts<S> for Page {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let malformed = |_| Problem::invalid(json!(["query"]), "malformed query");
        let Query(parameters) =
            Query::<Vec<(String, String)>>::from_request_parts(parts, state).await.map_err(malformed)?;
        let size_name = if parts.uri.path().ends_with("/applications") { "page-size" } else { "page_size" };
        let number = |name: &str, default: usize, allowed: RangeInclusive<usize>| {
            let Some((_, text)) = parameters.iter().rfind(|(key, _)| key == name) else {
                return Ok(default);
            };
            let number = text.parse().ok().filter(|number| allowed.contains(number));
            let (least, most) = (allowed.start(), allowed.end());
            number.ok_or_else(|| {
                Problem::invalid(json!(["query", name]), format!("Input should be an integer from {least} to {most}"))
            })
        };
        Ok(Self { number: number("page", 1, 1..=usize::MAX)?, size: number(size_name, DEFAULT_SIZE, SIZES)? })
    }
}

impl Page {
    /// The entries of this page. Beyond the end there is nothing to be found.
    pub(crate) fn of<T: Clone>(&self, entries: &[T]) -> Result<Vec<T>, Problem> {
        let start = (self.number - 1).saturating_mul(self.size);
        if self.number > 1 && start >= entries.len() {
            return Err(Problem::NotFound("Page not found"));
        }
        Ok(entries.iter().skip(start).take(self.size).cloned().collect())
    }
}
