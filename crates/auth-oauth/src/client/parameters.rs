//! The parameters of token requests.

use auth_core::TokenRequest;
use url::Url;

use super::{Inner, OAuthClient};
use crate::OAuthError;
use crate::exchange::FormRequest;

impl OAuthClient {
    /// Returns a request to the token endpoint for a new authorization, with client authentication.
    pub(crate) fn new_grant_form(&self, grant_type: &str, request: &TokenRequest) -> Result<FormRequest, OAuthError> {
        Ok(with_fields(self.grant_form(grant_type)?, self.token_parameters(request)))
    }

    /// Returns a request to the token endpoint for an existing authorization, such as a code or a refresh token.
    ///
    /// The token has the scopes of the authorization, so this method adds no `scope` (RFC 6749, section 4.1.3; RFC
    /// 8628, section 3.4). The audience and the resources are sent, so that the token is limited to them (RFC 8707,
    /// section 2.2).
    pub(crate) fn continued_grant_form(
        &self,
        grant_type: &str,
        request: &TokenRequest,
    ) -> Result<FormRequest, OAuthError> {
        Ok(with_fields(self.grant_form(grant_type)?, self.audience_parameters(request)))
    }

    /// Adds the client authentication and the token parameters to a request that starts an authorization.
    pub(crate) fn with_authorization_parameters(
        &self,
        form: FormRequest,
        request: &TokenRequest,
    ) -> Result<FormRequest, OAuthError> {
        Ok(with_fields(self.with_parameters(self.with_authentication(form)?), self.token_parameters(request)))
    }

    fn grant_form(&self, grant_type: &str) -> Result<FormRequest, OAuthError> {
        let form = FormRequest::new(self.token_endpoint()).with("grant_type", grant_type);
        Ok(self.with_parameters(self.with_authentication(form)?))
    }

    fn with_parameters(&self, form: FormRequest) -> FormRequest {
        self.parameters().iter().fold(form, |form, (name, value)| form.with(name, value))
    }

    /// Returns the additional parameters that all requests contain.
    pub(crate) fn parameters(&self) -> &[(String, String)] {
        &self.0.parameters
    }

    /// Returns the parameters that determine the properties of a token. Parameters of the request override those of the
    /// client.
    pub(crate) fn token_parameters(&self, request: &TokenRequest) -> Vec<(&'static str, String)> {
        let Inner { organization, scopes, .. } = &*self.0;
        let mut parameters = Vec::new();
        let mut scopes: Vec<&str> = scopes.iter().map(String::as_str).collect();
        if request.scopes().next().is_some() {
            scopes = request.scopes().collect();
        }
        if !scopes.is_empty() {
            parameters.push(("scope", scopes.join(" ")));
        }
        parameters.extend(self.audience_parameters(request));
        let organization = request.tenant().or(organization.as_deref());
        parameters.extend(organization.map(|organization| ("organization", organization.to_owned())));
        parameters.extend(request.claims().map(|claims| ("claims", claims.to_owned())));
        parameters
    }

    /// Returns the parameters for the audience and the resources of a token. If the request sets an audience or
    /// resources, those of the client are not used.
    fn audience_parameters(&self, request: &TokenRequest) -> Vec<(&'static str, String)> {
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

fn with_fields(form: FormRequest, fields: Vec<(&'static str, String)>) -> FormRequest {
    fields.into_iter().fold(form, |form, (name, value)| form.with(name, &value))
}
