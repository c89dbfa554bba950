use std::sync::{Arc, Mutex, PoisonError};

use auth_core::{AccessToken, BearerPolicy, Reaction, Stage, TokenError, TokenRequest, TokenSource};

use crate::client::HttpClient;
use crate::error::HttpError;
use crate::request::Request;
use crate::response::Response;

/// An HTTP client that sends a bearer token with each request, and only to the authority that the token is meant for.
///
/// A 401 response deletes the token. If the body can be sent again, the request is retried once with a new token. A
/// second 401 is returned to the caller; so is the first if, after repeated rejections, no other token can be obtained.
/// A claims challenge also applies to later requests.
#[derive(Clone, Debug)]
pub struct AuthorizedClient {
    http: HttpClient,
    policy: BearerPolicy,
    tokens: TokenSource,
    wanted: TokenRequest,
    /// The token request that answers the last challenge.
    challenged: Arc<Mutex<Option<TokenRequest>>>,
}

impl HttpClient {
    /// Returns a client that shares these connections and adds bearer tokens from `tokens` where `policy` permits.
    pub fn authorized(&self, policy: BearerPolicy, tokens: TokenSource) -> AuthorizedClient {
        let (wanted, challenged) = (TokenRequest::default(), Arc::default());
        AuthorizedClient { http: self.clone(), policy, tokens, wanted, challenged }
    }
}

impl AuthorizedClient {
    /// Sets the token request: its subject and scopes, for example.
    pub fn with_token_request(mut self, wanted: TokenRequest) -> Self {
        (self.wanted, self.challenged) = (wanted, Arc::default());
        self
    }

    /// Returns the token that requests are sent with.
    ///
    /// # Errors
    ///
    /// Those of [`TokenSource::token_for`].
    pub async fn token(&self) -> Result<AccessToken, TokenError> {
        self.tokens.token_for(&self.current()).await
    }

    /// Sends a request with the given token. A 401 deletes the token and is returned to the caller.
    ///
    /// # Errors
    ///
    /// [`HttpError::is_token_error`] if the token must not be sent to this URL. Other errors if no response arrives.
    pub async fn send_as(&self, token: &AccessToken, request: Request) -> Result<Response, HttpError> {
        let (method, url) = (request.method, request.url.clone());
        self.policy.admit(&url).map_err(|source| HttpError::token(method, &url, source))?;
        let response = self.http.send(self.stamped(request, token)?).await?;
        self.observe(&response, &self.current(), token);
        Ok(response)
    }

    /// Sends a request with a token and returns the response head, whatever its status.
    ///
    /// # Errors
    ///
    /// [`HttpError::is_token_error`] if no token is available for this URL. Other errors if no response arrives.
    pub async fn send(&self, request: Request) -> Result<Response, HttpError> {
        let (method, url) = (request.method, request.url.clone());
        let refused = |source| HttpError::token(method, &url, source);
        self.policy.admit(&url).map_err(refused)?;
        let wanted = self.current();
        let token = self.tokens.token_for(&wanted).await.map_err(refused)?;
        let again = request.try_clone();
        let response = self.http.send(self.stamped(request, &token)?).await?;
        self.observe(&response, &wanted, &token);

        let challenges: Vec<_> = response.headers("www-authenticate").collect();
        let stage = Stage::First { replayable: again.is_some() };
        let reaction = self.policy.react(response.status(), &challenges, &wanted, stage);
        let (Reaction::Renew(renewed), Some(again)) = (reaction, again) else { return Ok(response) };
        let token = match self.tokens.token_for(&renewed).await {
            // The server rejects every token. Its response states the reason.
            Err(error) if error.is_rejected() => return Ok(response),
            token => token.map_err(refused)?,
        };
        let response = self.http.send(self.stamped(again, &token)?).await?;
        self.observe(&response, &renewed, &token);
        if response.status() != 401 && renewed != wanted {
            *self.challenged.lock().unwrap_or_else(PoisonError::into_inner) = Some(renewed);
        }
        Ok(response)
    }

    /// Returns the token request to use for the next HTTP request.
    fn current(&self) -> TokenRequest {
        let challenged = self.challenged.lock().unwrap_or_else(PoisonError::into_inner);
        challenged.as_ref().unwrap_or(&self.wanted).clone()
    }

    /// Records whether the server accepted a token. A server error changes nothing.
    fn observe(&self, response: &Response, wanted: &TokenRequest, token: &AccessToken) {
        match response.status() {
            401 => self.tokens.reject(wanted, token),
            200..=499 => self.tokens.accept(wanted, token),
            _ => {}
        }
    }

    fn stamped(&self, request: Request, token: &AccessToken) -> Result<Request, HttpError> {
        let header = self.policy.header(token);
        let header = header.map_err(|source| HttpError::token(request.method, &request.url, source))?;
        Ok(request.with_header("authorization", header.expose()))
    }
}
