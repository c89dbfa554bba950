//! The `oauth2` crate speaks through `auth-http`, and its errors become ours.

use std::fmt::Display;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use auth_http::{HttpClient, HttpError, Method, Request};
use oauth2::{AsyncHttpClient, ErrorResponseType, HttpRequest, HttpResponse, RequestTokenError, StandardErrorResponse};
use url::Url;

use crate::OAuthError;

/// An exchange with the identity provider takes no longer than this.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(30);
/// Answers of an identity provider are small; a larger one is a mistake or an attack.
pub(crate) const BODY_LIMIT: usize = 1024 * 1024;

/// The identity provider, for the `oauth2` crate.
pub(crate) struct Wire<'a>(pub(crate) &'a HttpClient);

#[derive(Debug, thiserror::Error)]
pub(crate) enum WireError {
    #[error(transparent)]
    Http(#[from] HttpError),
    #[error("{0}")]
    Malformed(String),
}

impl<'c> AsyncHttpClient<'c> for Wire<'_> {
    type Error = WireError;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, WireError>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(async move {
            let response = self.0.send(translate(request)?).await?;
            let mut answer = http::Response::builder().status(response.status());
            if let Some(content_type) = response.header("content-type") {
                answer = answer.header("content-type", content_type);
            }
            let body = response.bytes(BODY_LIMIT).await?;
            answer.body(body.to_vec()).map_err(|error| WireError::Malformed(error.to_string()))
        })
    }
}

fn translate(request: HttpRequest) -> Result<Request, WireError> {
    let (head, body) = request.into_parts();
    let url: Url =
        head.uri.to_string().parse().map_err(|error| WireError::Malformed(format!("endpoint URL: {error}")))?;
    let mut translated = Request::new(Method::Post, url).with_timeout(TIMEOUT);
    let mut content_type = String::new();
    for (name, value) in &head.headers {
        let value = value.to_str().map_err(|error| WireError::Malformed(format!("header {name}: {error}")))?;
        if name == http::header::CONTENT_TYPE {
            value.clone_into(&mut content_type);
        } else {
            translated = translated.with_header(name.as_str(), value);
        }
    }
    Ok(translated.with_body(content_type, body))
}

/// Turns an error of the `oauth2` crate into ours. What could hold a token (the body of an answer
/// that was not understood) stays behind.
pub(crate) fn failed<T>(error: RequestTokenError<WireError, StandardErrorResponse<T>>) -> OAuthError
where
    T: ErrorResponseType + Display + 'static,
{
    match error {
        RequestTokenError::ServerResponse(response) => {
            OAuthError::refused(response.error().to_string(), response.error_description().cloned())
        }
        RequestTokenError::Request(WireError::Http(source)) => OAuthError::http(source),
        RequestTokenError::Request(WireError::Malformed(reason)) | RequestTokenError::Other(reason) => {
            OAuthError::malformed(reason)
        }
        RequestTokenError::Parse(error, _) => OAuthError::malformed(format!("at `{}`", error.path())),
    }
}
