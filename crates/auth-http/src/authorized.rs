use std::sync::{Arc, Mutex, PoisonError};

use auth_core::{AccessToken, BearerPolicy, Reaction, Stage, TokenError, TokenRequest, TokenSource};

use crate::client::HttpClient;
use crate::error::HttpError;
use crate::request::Request;
use crate::response::Response;

/// An HTTP client that adds a bearer token to each request. It sends requests only to the authority that the token is
/// meant for.
///
/// After a 401 response, the token is deleted. If the body can be sent again, the request is sent once more with a new
/// token. A second 401 is returned to the caller. The first 401 is returned if the token source provides no new token,
/// because the server has repeatedly rejected tokens. If a challenge of the server requires other claims, later
/// requests use a token with these claims, too.
#[derive(Clone, Debug)]
pub struct AuthorizedClient {
    http: HttpClient,
    policy: BearerPolicy,
    tokens: TokenSource,
    token_request: TokenRequest,
    /// The token request that satisfied the last challenge of the server. It replaces `token_request`.
    challenged_request: Arc<Mutex<Option<TokenRequest>>>,
}

impl HttpClient {
    /// Returns a client that shares these connections, and adds bearer tokens from `tokens` to requests that `policy`
    /// permits. Other requests are an error.
    pub fn authorized(&self, policy: BearerPolicy, tokens: TokenSource) -> AuthorizedClient {
        let (token_request, challenged_request) = (TokenRequest::default(), Arc::default());
        AuthorizedClient { http: self.clone(), policy, tokens, token_request, challenged_request }
    }
}

impl AuthorizedClient {
    /// Sets the token request, which can specify the subject or the scopes of the tokens, for example.
    pub fn with_token_request(mut self, token_request: TokenRequest) -> Self {
        (self.token_request, self.challenged_request) = (token_request, Arc::default());
        self
    }

    /// Returns the token that the next request is sent with.
    ///
    /// # Errors
    ///
    /// The errors of [`TokenSource::token_for`].
    pub async fn token(&self) -> Result<AccessToken, TokenError> {
        self.tokens.token_for(&self.current_request()).await
    }

    /// Sends a request with the given token. After a 401 response, which is returned to the caller, the token is
    /// deleted.
    ///
    /// # Errors
    ///
    /// [`HttpError::is_token_error`] if the token must not be sent to this URL. Other errors if no response arrives.
    pub async fn send_as(&self, token: &AccessToken, request: Request) -> Result<Response, HttpError> {
        let (method, url) = (request.method, request.url.clone());
        self.policy.admit(&url).map_err(|source| HttpError::token(method, &url, source))?;
        let response = self.http.send(self.with_authorization(request, token)?).await?;
        self.report_status(&response, &self.current_request(), token);
        Ok(response)
    }

    /// Sends a request with a token, and returns the response head, whatever its status. The handling of a 401 is
    /// described at [`AuthorizedClient`].
    ///
    /// # Errors
    ///
    /// [`HttpError::is_token_error`] if no token can be obtained, or tokens must not be sent to this URL. Other errors
    /// if no response arrives.
    pub async fn send(&self, request: Request) -> Result<Response, HttpError> {
        let (method, url) = (request.method, request.url.clone());
        let token_error = |source| HttpError::token(method, &url, source);
        self.policy.admit(&url).map_err(token_error)?;
        let token_request = self.current_request();
        let token = self.tokens.token_for(&token_request).await.map_err(token_error)?;
        let request_copy = request.try_clone();
        let response = self.http.send(self.with_authorization(request, &token)?).await?;
        self.report_status(&response, &token_request, &token);

        let challenges: Vec<_> = response.headers("www-authenticate").collect();
        let stage = Stage::First { replayable: request_copy.is_some() };
        let reaction = self.policy.react(response.status(), &challenges, &token_request, stage);
        let (Reaction::Resend(new_token_request), Some(request_copy)) = (reaction, request_copy) else {
            return Ok(response);
        };
        let token = match self.tokens.token_for(&new_token_request).await {
            // The server rejects every token. Its response contains the reason, so it is returned instead of the error.
            Err(error) if error.is_rejected() => return Ok(response),
            token => token.map_err(token_error)?,
        };
        let response = self.http.send(self.with_authorization(request_copy, &token)?).await?;
        self.report_status(&response, &new_token_request, &token);
        if response.status() != 401 && new_token_request != token_request {
            *self.challenged_request.lock().unwrap_or_else(PoisonError::into_inner) = Some(new_token_request);
        }
        Ok(response)
    }

    /// Returns the token request for the next HTTP request.
    fn current_request(&self) -> TokenRequest {
        let challenged_request = self.challenged_request.lock().unwrap_or_else(PoisonError::into_inner);
        challenged_request.as_ref().unwrap_or(&self.token_request).clone()
    }

    /// Reports to the token source that the server accepted or rejected a token. A 5xx response indicates neither.
    fn report_status(&self, response: &Response, token_request: &TokenRequest, token: &AccessToken) {
        match response.status() {
            401 => self.tokens.reject(token_request, token),
            200..=499 => self.tokens.accept(token_request, token),
            _ => {}
        }
    }

    fn with_authorization(&self, request: Request, token: &AccessToken) -> Result<Request, HttpError> {
        let header = self.policy.header(token);
        let header = header.map_err(|source| HttpError::token(request.method, &request.url, source))?;
        Ok(request.with_header("authorization", header.expose()))
    }
}
