use std::sync::{Arc, Mutex, PoisonError};

use auth_core::{AccessToken, BearerPolicy, Reaction, Stage, TokenError, TokenRequest, TokenSource};

use crate::{HttpClient, HttpError, Request, Response};

/// Sends requests with a bearer token to the one authority that the token is meant for.
///
/// A token that is refused with 401 is deleted, and the request is sent once more with another, if its body can be sent
/// again. A second 401 is returned as it came; so is the first if no other token is obtained after many rejections. A challenge that asks
/// for other claims is remembered for the next requests.
#[derive(Clone, Debug)]
pub struct AuthorizedClient {
    http: HttpClient,
    policy: BearerPolicy,
    tokens: TokenSource,
    wanted: TokenRequest,
    /// The request for tokens that the last challenge led to.
    challenged: Arc<Mutex<Option<TokenRequest>>>,
}

impl AuthorizedClient {
    pub(crate) fn new(http: HttpClient, policy: BearerPolicy, tokens: TokenSource) -> Self {
        Self { http, policy, tokens, wanted: TokenRequest::default(), challenged: Arc::default() }
    }

    /// Uses tokens for `wanted`: of a certain user, with certain scopes.
    pub fn with_token_request(mut self, wanted: TokenRequest) -> Self {
        (self.wanted, self.challenged) = (wanted, Arc::default());
        self
    }

    /// Returns a token, as requests are sent with.
    ///
    /// # Errors
    ///
    /// Those of [`TokenSource::token_for`].
    pub async fn token(&self) -> Result<AccessToken, TokenError> {
        self.tokens.token_for(&self.current()).await
    }

    /// Sends a request with this token and no other: one that is refused is deleted, and the 401 returned as it came.
    ///
    /// # Errors
    ///
    /// [`HttpError::is_token`] before anything is sent, or no response arrived.
    pub async fn send_as(&self, token: &AccessToken, request: Request) -> Result<Response, HttpError> {
        let (method, url) = (request.method, request.url.clone());
        self.policy.admit(&url).map_err(|source| HttpError::token(method, &url, source))?;
        let response = self.http.send(self.stamped(request, token)?).await?;
        self.observe(&response, &self.current(), token);
        Ok(response)
    }

    /// Sends a request with a token and returns the head of the response, whatever its status.
    ///
    /// # Errors
    ///
    /// [`HttpError::is_token`] before anything is sent, or no response arrived.
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
            // The server rejects every token: its response says why.
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

    /// The request for tokens of the next request.
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
