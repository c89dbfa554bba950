use std::collections::BTreeSet;
use std::hash::{Hash, Hasher};

use sha2::{Digest, Sha256};

use crate::token::AccessToken;

/// The parameters of a token request, which override those of the [`TokenSource`](crate::TokenSource). All are
/// optional. A request without parameters is for the default token of the source.
///
/// Two requests that differ in any parameter never share a token.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct TokenRequest {
    pub(crate) scopes: BTreeSet<String>,
    pub(crate) audience: Option<String>,
    pub(crate) resources: BTreeSet<String>,
    pub(crate) subject: Option<String>,
    pub(crate) claims: Option<String>,
    pub(crate) tenant: Option<String>,
    pub(crate) assertion: Option<Assertion>,
}

/// The assertion to exchange for a token, and its SHA-256.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Assertion {
    token: AccessToken,
    digest: String,
}

impl Assertion {
    pub(crate) fn digest(&self) -> &str {
        &self.digest
    }
}

impl Hash for Assertion {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.digest.hash(state);
    }
}

impl TokenRequest {
    /// Creates a request without parameters.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the scopes of the token (RFC 6749, section 3.3), replacing those of the source.
    pub fn with_scopes<S: Into<String>>(mut self, scopes: impl IntoIterator<Item = S>) -> Self {
        self.scopes = scopes.into_iter().map(Into::into).collect();
        self
    }

    /// Sets the audience of the token: the service that it is meant for.
    pub fn with_audience(mut self, audience: impl Into<String>) -> Self {
        self.audience = Some(audience.into());
        self
    }

    /// Adds the URL of a resource that the token is meant for (RFC 8707, section 2). May be called more than once; the
    /// order does not matter.
    ///
    /// ```
    /// use auth_core::TokenRequest;
    /// use url::Url;
    ///
    /// let url: Url = "https://one.example/".parse().unwrap();
    /// let request = TokenRequest::new().with_resource("https://two.example/").with_resource(url);
    /// assert_eq!(request.resources().collect::<Vec<_>>(), ["https://one.example/", "https://two.example/"]);
    /// ```
    pub fn with_resource(mut self, resource: impl Into<String>) -> Self {
        self.resources.insert(resource.into());
        self
    }

    /// Sets the subject of the token. A source that serves several users needs the subject to separate their tokens.
    pub fn with_subject(mut self, subject: impl Into<String>) -> Self {
        self.subject = Some(subject.into());
        self
    }

    /// Sets the assertion that the provider exchanges for a token, and sets the subject to its SHA-256.
    ///
    /// The subject is the digest and not a claim of the assertion, because the assertion is not verified here. With a
    /// claim, a forged assertion could match the cached token of another user. A later call of
    /// [`with_subject`](Self::with_subject) replaces the subject, but the assertion remains part of the key.
    ///
    /// ```
    /// use auth_core::{AccessToken, Secret, TokenRequest};
    ///
    /// let assertion = AccessToken::new(Secret::new("a-signed-jwt"))?;
    /// let request = TokenRequest::new().with_assertion(assertion.clone());
    /// assert_eq!(request.assertion(), Some(&assertion));
    /// assert_eq!(request.subject().map(str::len), Some(64));
    /// # Ok::<(), auth_core::TokenError>(())
    /// ```
    pub fn with_assertion(mut self, assertion: AccessToken) -> Self {
        let digest = hex::encode(Sha256::digest(assertion.secret().expose()));
        self.subject = Some(digest.clone());
        self.assertion = Some(Assertion { token: assertion, digest });
        self
    }

    /// Sets the claims that the token must have, as JSON, such as those that a server requires in a challenge (the
    /// `claims` parameter of `OpenID` Connect Core, section 5.5).
    pub fn with_claims(mut self, claims: impl Into<String>) -> Self {
        self.claims = Some(claims.into());
        self
    }

    /// Sets the tenant or organization that the token is limited to.
    pub fn with_tenant(mut self, tenant: impl Into<String>) -> Self {
        self.tenant = Some(tenant.into());
        self
    }

    /// Returns the request for the subject token, which is exchanged for the token of this request. It has the same
    /// subject, assertion and tenant. Scopes, audience, resources and claims apply only to the token of this request.
    ///
    /// ```
    /// use auth_core::TokenRequest;
    ///
    /// let request = TokenRequest::new().with_subject("ada").with_audience("https://platform.example");
    /// assert_eq!(request.for_subject(), TokenRequest::new().with_subject("ada"));
    /// ```
    pub fn for_subject(&self) -> Self {
        let Self { subject, tenant, assertion, .. } = self.clone();
        Self { subject, tenant, assertion, ..Self::default() }
    }

    /// Returns the scopes of the token.
    pub fn scopes(&self) -> impl Iterator<Item = &str> {
        self.scopes.iter().map(String::as_str)
    }

    /// Returns the audience of the token.
    pub fn audience(&self) -> Option<&str> {
        self.audience.as_deref()
    }

    /// Returns the URLs of the resources of the token.
    pub fn resources(&self) -> impl Iterator<Item = &str> {
        self.resources.iter().map(String::as_str)
    }

    /// Returns the subject of the token.
    pub fn subject(&self) -> Option<&str> {
        self.subject.as_deref()
    }

    /// Returns the assertion to exchange for a token, if one is set.
    pub fn assertion(&self) -> Option<&AccessToken> {
        self.assertion.as_ref().map(|assertion| &assertion.token)
    }

    /// Returns the claims that the token must have, as JSON.
    pub fn claims(&self) -> Option<&str> {
        self.claims.as_deref()
    }

    /// Returns the tenant or organization that the token is limited to.
    pub fn tenant(&self) -> Option<&str> {
        self.tenant.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Secret, TokenKey};

    #[test]
    fn requests_with_the_same_resources_in_any_order_are_equal() {
        let [one, two] = ["https://one.test/", "https://two.test/"];
        let request = TokenRequest::new().with_resource(one).with_resource(two);
        assert_eq!(request, TokenRequest::new().with_resource(two).with_resource(one));
        assert_ne!(request, TokenRequest::new().with_resource(one));
        assert_ne!(TokenRequest::new().with_resource(one), TokenRequest::new());
        let different = [TokenRequest::new(), TokenRequest::new().with_resource(one), request];
        assert_eq!(std::collections::HashSet::from(different).len(), 3);
    }

    #[test]
    fn requests_with_different_assertions_have_different_keys() {
        let with_assertion =
            |text: &str| TokenRequest::new().with_assertion(AccessToken::new(Secret::new(text)).unwrap());
        let key = TokenKey::new("https://issuer.test/");
        assert_eq!(key.for_request(&with_assertion("canary")), key.for_request(&with_assertion("canary")));
        assert_ne!(key.for_request(&with_assertion("canary")), key.for_request(&with_assertion("another")));
        assert_ne!(key.for_request(&with_assertion("canary")), key);
        assert_ne!(with_assertion("canary"), with_assertion("another"));
        assert!(!format!("{:?}", with_assertion("canary")).contains("canary"));
    }
}
