//! The parameters of the requests for tokens.

use auth_core::TokenRequest;
use url::Url;

use super::{Inner, OAuthClient};
use crate::OAuthError;
use crate::exchange::Exchange;

impl OAuthClient {
    /// A token request for what `request` asks for, with the proof of the client.
    pub(crate) fn token_exchange(&self, grant_type: &str, request: &TokenRequest) -> Result<Exchange, OAuthError> {
        Ok(with_all(self.question(grant_type)?, self.wanted(request)))
    }

    /// The same for what was authorized before. The scope is then that of the authorization, and not a parameter (RFC 6749,
    /// section 4.1.3; RFC 8628, section 3.4). The services that the token is for are named again, so that it is for no
    /// more of them than asked for (RFC 8707, section 2.2).
    pub(crate) fn continued(&self, grant_type: &str, request: &TokenRequest) -> Result<Exchange, OAuthError> {
        Ok(with_all(self.question(grant_type)?, self.targets(request)))
    }

    /// A request at another endpoint that starts an authorization for `request`.
    pub(crate) fn started(&self, exchange: Exchange, request: &TokenRequest) -> Result<Exchange, OAuthError> {
        Ok(with_all(self.with_parameters(self.authenticated(exchange)?), self.wanted(request)))
    }

    fn question(&self, grant_type: &str) -> Result<Exchange, OAuthError> {
        let exchange = Exchange::new(self.token_endpoint()).with("grant_type", grant_type);
        Ok(self.with_parameters(self.authenticated(exchange)?))
    }

    fn with_parameters(&self, exchange: Exchange) -> Exchange {
        self.parameters().iter().fold(exchange, |exchange, (name, value)| exchange.with(name, value))
    }

    /// The additional parameters.
    pub(crate) fn parameters(&self) -> &[(String, String)] {
        &self.0.parameters
    }

    /// The scope, the services and the other properties of a token: those of the request, or else those of the client.
    pub(crate) fn wanted(&self, request: &TokenRequest) -> Vec<(&'static str, String)> {
        let Inner { organization, scopes, .. } = &*self.0;
        let mut wanted = Vec::new();
        let mut scopes: Vec<&str> = scopes.iter().map(String::as_str).collect();
        if request.scopes().next().is_some() {
            scopes = request.scopes().collect();
        }
        if !scopes.is_empty() {
            wanted.push(("scope", scopes.join(" ")));
        }
        wanted.extend(self.targets(request));
        let organization = request.tenant().or(organization.as_deref());
        wanted.extend(organization.map(|organization| ("organization", organization.to_owned())));
        wanted.extend(request.claims().map(|claims| ("claims", claims.to_owned())));
        wanted
    }

    /// The services that a token should be for: those of the request if it names any, or else those of the client.
    fn targets(&self, request: &TokenRequest) -> Vec<(&'static str, String)> {
        let Inner { audience, resources, .. } = &*self.0;
        let pairs = |audience: Option<&str>, resources: Vec<&str>| {
            let audience = audience.map(|audience| ("audience", audience.to_owned()));
            audience.into_iter().chain(resources.into_iter().map(|url| ("resource", url.to_owned()))).collect()
        };
        if request.audience().is_some() || request.resources().next().is_some() {
            return pairs(request.audience(), request.resources().collect());
        }
        pairs(audience.as_deref(), resources.iter().map(Url::as_str).collect())
    }
}

fn with_all(exchange: Exchange, fields: Vec<(&'static str, String)>) -> Exchange {
    fields.into_iter().fold(exchange, |exchange, (name, value)| exchange.with(name, &value))
}
