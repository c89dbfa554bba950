//! A request, and the text of its error.

use std::error::Error;

use auth_http::{HttpClient, HttpClientBuilder, HttpError, Request};
use url::Url;

pub(crate) async fn get(client: HttpClientBuilder, url: &Url) -> Result<u16, HttpError> {
    Ok(client.build().unwrap().send(Request::get(url.clone())).await?.status())
}

/// Returns an error with its causes and its `Debug`.
pub(crate) fn shown(error: &(dyn Error + 'static)) -> String {
    let chain = std::iter::successors(Some(error), |&error| error.source()).map(ToString::to_string);
    format!("{} {error:?}", chain.collect::<Vec<_>>().join(": "))
}

pub(crate) fn client() -> HttpClientBuilder {
    // Ignores the proxies of the environment that the tests run in.
    HttpClient::builder().with_plain_loopback()
}
