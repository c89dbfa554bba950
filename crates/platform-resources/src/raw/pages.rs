//! Raw requests for all pages of a list.

use serde_json::Value;
use url::Url;

use super::{RawRequest, normalize_path};
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
const KNOWN_LISTS: [(&str, &str); 5] = [
    ("/v1/access/grants", "page_size"),
    ("/v1/access/share-tokens", "page_size"),
    ("/v1/applications", "page-size"),
    ("/v1/runs", "page_size"),
    ("/v1/runs/{run_id}/items", "page_size"),
];

impl Client {
    /// Returns the entries of all pages of a list, in order. `request` is a GET request. Its page and page size
    /// parameters are replaced. Returns `Ok(Err(response))` if a response has a status other than 200 or is not a list.
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
        let size_parameter = page_size_parameter(&request.url(root).map_err(Error::raw_request)?);
        let mut request = request.without_parameters(["page"]).without_parameters(PAGE_SIZE_PARAMETERS);
        for name in size_parameter.map_or(&PAGE_SIZE_PARAMETERS[..], std::slice::from_ref) {
            request = request.with_query(*name, PAGE_SIZE.to_string());
        }
        let mut entries: Vec<Value> = Vec::new();
        // The number of entries of the previous page.
        let mut previous_len = 0;
        for page in 1..=max_pages {
            request = request.without_parameters(["page"]).with_query("page", page.to_string());
            let response = self.raw(&request).await?;
            // A page beyond the end may not exist.
            if response.status() == 404 && page > 1 {
                return Ok(Ok(entries));
            }
            let Some(Value::Array(page_entries)) = response.json().filter(|_| response.status() == 200) else {
                return Ok(Err(response));
            };
            // If a page is equal to the previous one, the platform ignores the page parameter.
            if page_entries.is_empty() || (page > 1 && page_entries[..] == entries[entries.len() - previous_len..]) {
                return Ok(Ok(entries));
            }
            previous_len = page_entries.len();
            entries.extend(page_entries);
            // A list that is not in the OpenAPI document may have a smaller maximum page size.
            if size_parameter.is_some() && previous_len < PAGE_SIZE {
                return Ok(Ok(entries));
            }
        }
        Err(Error::raw_request(RawRequestError::EndlessList(max_pages)))
    }
}

impl RawRequest {
    /// Removes query parameters, including those in the path.
    fn without_parameters<const N: usize>(mut self, names: [&str; N]) -> Self {
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
    let path = normalize_path(url.path());
    let segments: Vec<_> = path.split('/').collect();
    let matches = |template: &str| {
        let template: Vec<_> = template.split('/').skip(1).collect();
        let Some(end) = segments.len().checked_sub(template.len()) else { return false };
        template
            .iter()
            .zip(&segments[end..])
            .all(|(expected, segment)| expected.starts_with('{') || expected == segment)
    };
    KNOWN_LISTS.iter().find(|(template, _)| matches(template)).map(|(_, parameter)| parameter)
}

#[cfg(test)]
mod tests;
