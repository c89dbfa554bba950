//! Raw requests for all pages of a list.

use serde_json::Value;
use url::Url;

use super::{RawRequest, normalized};
use crate::client::Client;
use crate::error::{Error, RawRequestError};
use crate::raw_response::RawResponse;

/// The page size, which is the maximum of the platform.
const PAGE_SIZE: usize = 100;
/// The maximum number of pages, so that a list without an end does not fill the memory.
const MAX_PAGES: usize = 10_000;
/// The possible names of the page size parameter.
const PAGE_SIZE_PARAMETERS: [&str; 2] = ["page_size", "page-size"];
/// The lists in the platform's OpenAPI document: the end of the path, and the name of the page size parameter.
const LISTS: [(&str, &str); 5] = [
    ("/v1/access/grants", "page_size"),
    ("/v1/access/share-tokens", "page_size"),
    ("/v1/applications", "page-size"),
    ("/v1/runs", "page_size"),
    ("/v1/runs/{run_id}/items", "page_size"),
];

impl Client {
    /// Returns the entries of all pages of a list, in order. `request` is a GET request. Its page and page size
    /// parameters are replaced. If a response has a status other than 200 or is not a list, `Err` with this response is
    /// returned within the outer `Ok`.
    ///
    /// # Errors
    ///
    /// The errors of [`raw`](Self::raw), or the list has more than 10,000 pages.
    pub async fn raw_pages(&self, request: RawRequest) -> Result<Result<Vec<Value>, RawResponse>, Error> {
        self.raw_pages_up_to(request, MAX_PAGES).await
    }

    async fn raw_pages_up_to(
        &self,
        request: RawRequest,
        max_pages: usize,
    ) -> Result<Result<Vec<Value>, RawResponse>, Error> {
        let root = &self.settings().api_root;
        let size = page_size_parameter(&request.url(root).map_err(Error::raw_request)?);
        let mut request = request.without(["page"]).without(PAGE_SIZE_PARAMETERS);
        for name in size.map_or(&PAGE_SIZE_PARAMETERS[..], std::slice::from_ref) {
            request = request.with_query(*name, PAGE_SIZE.to_string());
        }
        let mut entries: Vec<Value> = Vec::new();
        // The length of the last page.
        let mut last = 0;
        for page in 1..=max_pages {
            request = request.without(["page"]).with_query("page", page.to_string());
            let response = self.raw(&request).await?;
            // A page beyond the end may not exist.
            if response.status() == 404 && page > 1 {
                return Ok(Ok(entries));
            }
            let Some(Value::Array(found)) = response.json().filter(|_| response.status() == 200) else {
                return Ok(Err(response));
            };
            // If a page is equal to the previous one, the platform ignores the page parameter.
            if found.is_empty() || (page > 1 && found[..] == entries[entries.len() - last..]) {
                return Ok(Ok(entries));
            }
            last = found.len();
            entries.extend(found);
            // A list that is not in the OpenAPI document may have a smaller maximum page size.
            if size.is_some() && last < PAGE_SIZE {
                return Ok(Ok(entries));
            }
        }
        Err(Error::raw_request(RawRequestError::EndlessList(max_pages)))
    }
}

impl RawRequest {
    /// Removes query parameters, including those in the path.
    fn without<const N: usize>(mut self, names: [&str; N]) -> Self {
        self.query.retain(|(name, _)| !names.contains(&name.as_str()));
        if let Some((path, query)) = self.path.split_once('?') {
            let query = query.split('#').next().unwrap_or_default();
            let mut remaining = url::form_urlencoded::Serializer::new(String::new());
            remaining.extend_pairs(
                url::form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| !names.contains(&&**name)),
            );
            let remaining = remaining.finish();
            self.path = if remaining.is_empty() { path.to_owned() } else { format!("{path}?{remaining}") };
        }
        self
    }
}

/// Returns the name of the page size parameter of a list, or `None` if the list is not in the OpenAPI document.
fn page_size_parameter(url: &Url) -> Option<&'static &'static str> {
    let path = normalized(url.path());
    let segments: Vec<_> = path.split('/').collect();
    let matches = |template: &str| {
        let template: Vec<_> = template.split('/').skip(1).collect();
        let Some(end) = segments.len().checked_sub(template.len()) else { return false };
        template.iter().zip(&segments[end..]).all(|(expected, found)| expected.starts_with('{') || expected == found)
    };
    LISTS.iter().find(|(template, _)| matches(template)).map(|(_, size)| size)
}

#[cfg(test)]
mod tests;
