use auth_core::{AccessToken, BearerPolicy};

use crate::{HttpClient, HttpError, Request, Response};

/// Sends requests with a bearer token to the one authority that the token is meant for.
///
/// When a token is refused with 401, it is forgotten and the request is sent once more with
/// another, if its body can be sent again. A second 401 is returned as it came.
#[derive(Clone, Debug)]
pub struct AuthorizedClient {
    http: HttpClient,
    policy: BearerPolicy,
}

impl AuthorizedClient {
    pub(crate) fn new(http: HttpClient, policy: BearerPolicy) -> Self {
        Self { http, policy }
    }

    /// Sends a request with a token and returns the head of the answer, whatever its status.
    ///
    /// # Errors
    ///
    /// [`HttpError::is_token`] before anything is sent, or no answer came.
    pub async fn send(&self, request: Request) -> Result<Response, HttpError> {
        let (method, url) = (request.method, request.url.clone());
        let refused = |source| HttpError::token(method, &url, source);
        let token = self.policy.authorize(&url).await.map_err(refused)?;
        let again = request.try_clone();
        let response = self.http.send(stamped(request, &token)).await?;
        match again {
            Some(again) if response.status() == 401 => {
                let token = self.policy.replace(&token).await.map_err(refused)?;
                self.http.send(stamped(again, &token)).await
            }
            _ => Ok(response),
        }
    }
}

fn stamped(request: Request, token: &AccessToken) -> Request {
    request.with_header("authorization", format!("Bearer {}", token.secret().expose()))
}
