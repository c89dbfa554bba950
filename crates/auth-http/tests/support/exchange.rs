//! Sends a request, and formats its error.

use std::error::Error;

use auth_http::{HttpClient, HttpClientBuilder, HttpError, Request};
use url::Url;

pub(crate) async fn get(client: HttpClientBuilder, url: &Url) -> Result<u16, HttpError> {
    Ok(client.build().unwrap().send(Request::get(url.clone())).await?.status())
}

/// Returns the message of an error, those of its causes, and its `Debug` output.
pub(crate) fn error_details(error: &(dyn Error + 'static)) -> String {
    let chain = std::iter::successors(Some(error), |&error| error.source()).map(ToString::to_string);
    format!("{} {error:?}", chain.collect::<Vec<_>>().join(": "))
}

pub(crate) fn client() -> HttpClientBuilder {
    // With plain loopback, the client ignores the proxies of the environment in which the tests run.
    HttpClient::builder().with_plain_loopback()
}
