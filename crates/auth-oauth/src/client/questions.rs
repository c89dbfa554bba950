//! The parameters of token requests.

use auth_core::TokenRequest;
use url::Url;

use super::{Inner, OAuthClient};
use crate::OAuthError;
use crate::exchange::Exchange;

impl OAuthClient {
    /// Returns a token request for `request`, with client authentication.
    pub(crate) fn token_exchange(&self, grant_type: &str, request: &TokenRequest) -> Result<Exchange, OAuthError> {
        Ok(with_all(self.question(grant_type)?, self.wanted(request)))
    }

    /// Returns a token request that continues an authorization.
    ///
    /// Its scope is that of the authorization, and not a parameter (RFC 6749, section 4.1.3; RFC 8628, section 3.4).
    /// The resources are repeated, so that the token is for no others (RFC 8707, section 2.2).
    pub(crate) fn continued(&self, grant_type: &str, request: &TokenRequest) -> Result<Exchange, OAuthError> {
        Ok(with_all(self.question(grant_type)?, self.targets(request)))
    }

    /// Returns a request to another endpoint that starts an authorization for `request`.
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

    /// Returns the additional parameters.
    pub(crate) fn parameters(&self) -> &[(String, String)] {
        &self.0.parameters
    }

    /// Returns the scope, the resources and the other properties of a token: those of the request, or else those of the
    /// client.
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

    /// Returns the audience and the resources of a token: those of the request if it has any, or else those of the
    /// client.
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
