use auth_core::{AccessToken, BearerPolicy, Reaction, Stage, TokenError, TokenRequest, TokenSource};

use crate::{HttpClient, HttpError, Request, Response};

/// Sends requests with a bearer token to the one authority that the token is meant for.
///
/// When a token is refused with 401, it is forgotten and the request is sent once more with
/// another, if its body can be sent again. A second 401 is returned as it came.
#[derive(Clone, Debug)]
pub struct AuthorizedClient {
    http: HttpClient,
    policy: BearerPolicy,
    tokens: TokenSource,
    wanted: TokenRequest,
}

impl AuthorizedClient {
    pub(crate) fn new(http: HttpClient, policy: BearerPolicy, tokens: TokenSource) -> Self {
        Self { http, policy, tokens, wanted: TokenRequest::default() }
    }

    /// Uses tokens for `wanted`: of a certain user, with certain scopes.
    pub fn with_token_request(mut self, wanted: TokenRequest) -> Self {
        self.wanted = wanted;
        self
    }

    /// A token, as requests are sent with.
    ///
    /// # Errors
    ///
    /// Those of [`TokenSource::token_for`].
    pub async fn token(&self) -> Result<AccessToken, TokenError> {
        self.tokens.token_for(&self.wanted).await
    }

    /// Sends a request with this very token and no other: one that is refused is forgotten, and the 401 returned as it came.
    ///
    /// # Errors
    ///
    /// [`HttpError::is_token`] before anything is sent, or no answer came.
    pub async fn send_as(&self, token: &AccessToken, request: Request) -> Result<Response, HttpError> {
        let (method, url) = (request.method, request.url.clone());
        self.policy.admit(&url).map_err(|source| HttpError::token(method, &url, source))?;
        let response = self.http.send(self.stamped(request, token)?).await?;
        if response.status() == 401 {
            self.tokens.reject(&self.wanted, token).await;
        }
        Ok(response)
    }

    /// Sends a request with a token and returns the head of the answer, whatever its status.
    ///
    /// # Errors
    ///
    /// [`HttpError::is_token`] before anything is sent, or no answer came.
    pub async fn send(&self, request: Request) -> Result<Response, HttpError> {
        let (method, url) = (request.method, request.url.clone());
        let refused = |source| HttpError::token(method, &url, source);
        self.policy.admit(&url).map_err(refused)?;
        let token = self.tokens.token_for(&self.wanted).await.map_err(refused)?;
        let again = request.try_clone();
        let response = self.http.send(self.stamped(request, &token)?).await?;

        let challenges: Vec<_> = response.headers("www-authenticate").collect();
        let stage = Stage::First { replayable: again.is_some() };
        let reaction = self.policy.react(response.status(), &challenges, &self.wanted, stage);
        if reaction != Reaction::Deliver {
            self.tokens.reject(&self.wanted, &token).await;
        }
        match (reaction, again) {
            (Reaction::Renew(wanted), Some(again)) => {
                let token = self.tokens.token_for(&wanted).await.map_err(refused)?;
                self.http.send(self.stamped(again, &token)?).await
            }
            _ => Ok(response),
        }
    }

    fn stamped(&self, request: Request, token: &AccessToken) -> Result<Request, HttpError> {
        let header = self.policy.header(token);
        let header = header.map_err(|source| HttpError::token(request.method, &request.url, source))?;
        Ok(request.with_header("authorization", header.expose()))
    }
}
