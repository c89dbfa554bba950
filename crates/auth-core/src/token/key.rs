use std::collections::BTreeSet;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::token::request::TokenRequest;

/// The key of a token in a cache: all properties that distinguish the token from others. Two requests share a token
/// only if their keys are equal, and keys are equal only if all of their parts are equal.
///
/// The parts are the issuer, the [identity](TokenKeyBuilder::with_identity), the client id, the subject, the assertion,
/// the audience, the resources, the scopes, the additional parameters, the claims, the tenant, the origin that tokens
/// may be sent to, the thumbprint of the client certificate, and the origin of the token endpoint. The identity names
/// the principal; a [`TokenSource`](crate::TokenSource) takes it from its provider. Subject, assertion and claims come
/// from a [`TokenRequest`], which can also replace the tenant, the scopes, and the audience together with the
/// resources.
///
/// The SHA-256 [`digest`](Self::digest) identifies a key, so a cache may store tokens under the digest. The order of
/// scopes, resources, and parameters with different names does not matter. Clones are cheap.
///
/// ```
/// use auth_core::TokenKey;
///
/// let key = TokenKey::builder("https://issuer.example/").with_scopes(["openid", "offline_access"]).build();
/// let same = TokenKey::builder("https://issuer.example/").with_scopes(["offline_access", "openid"]).build();
/// let other = TokenKey::builder("https://issuer.example/").with_scopes(["openid"]).build();
/// assert_eq!(key, same);
/// assert_ne!(key, other);
/// ```
#[derive(Clone)]
pub struct TokenKey(Arc<Inner>);

struct Inner {
    parts: TokenKeyBuilder,
    digest: [u8; 32],
}

/// A builder for [`TokenKey`]. Only the issuer is required.
#[derive(Clone, Debug)]
pub struct TokenKeyBuilder {
    issuer: String,
    identity: Option<String>,
    client_id: Option<String>,
    subject: Option<String>,
    assertion: Option<String>,
    audience: Option<String>,
    resources: BTreeSet<String>,
    scopes: BTreeSet<String>,
    /// Sorted by name. The values of a repeated name are not sorted, because a server may use the first or the last
    /// one.
    parameters: Vec<(String, String)>,
    claims: Option<String>,
    tenant: Option<String>,
    origin: Option<String>,
    certificate_thumbprint: Option<String>,
    token_endpoint: Option<String>,
}

impl TokenKey {
    /// Returns a builder for the key of tokens of `issuer`.
    pub fn builder(issuer: impl Into<String>) -> TokenKeyBuilder {
        TokenKeyBuilder {
            issuer: issuer.into(),
            identity: None,
            client_id: None,
            subject: None,
            assertion: None,
            audience: None,
            resources: BTreeSet::new(),
            scopes: BTreeSet::new(),
            parameters: Vec::new(),
            claims: None,
            tenant: None,
            origin: None,
            certificate_thumbprint: None,
            token_endpoint: None,
        }
    }

    /// Creates a key with an issuer only.
    pub fn new(issuer: impl Into<String>) -> Self {
        Self::builder(issuer).build()
    }

    /// Returns a copy of this key in which the parts that `request` sets are replaced. An audience or a resource of the
    /// request replaces both the audience and the resources of the key.
    pub fn for_request(&self, request: &TokenRequest) -> Self {
        if *request == TokenRequest::default() {
            return self.clone();
        }
        let mut parts = self.0.parts.clone();
        if !request.scopes.is_empty() {
            parts.scopes.clone_from(&request.scopes);
        }
        // OAuth grants apply the same rule when they build the token request.
        if request.audience.is_some() || !request.resources.is_empty() {
            parts.audience.clone_from(&request.audience);
            parts.resources.clone_from(&request.resources);
        }
        // The caller may set any subject, so the subject does not identify the assertion. Both are parts of the key.
        let assertion = request.assertion.as_ref().map(|assertion| assertion.digest().to_owned());
        for (part, requested) in [
            (&mut parts.assertion, &assertion),
            (&mut parts.subject, &request.subject),
            (&mut parts.claims, &request.claims),
            (&mut parts.tenant, &request.tenant),
        ] {
            if requested.is_some() {
                part.clone_from(requested);
            }
        }
        parts.build()
    }

    /// Returns a copy of this key with another identity.
    pub(crate) fn for_identity(&self, identity: String) -> Self {
        self.0.parts.clone().with_identity(identity).build()
    }

    /// Returns the SHA-256 over all parts of the key.
    pub fn digest(&self) -> &[u8; 32] {
        &self.0.digest
    }

    /// Returns the digest in lower-case hexadecimal, for example for a file name.
    pub fn digest_hex(&self) -> String {
        hex::encode(self.0.digest)
    }

    /// Returns the issuer of the tokens.
    pub fn issuer(&self) -> &str {
        &self.0.parts.issuer
    }

    /// Returns the identity of the principal of the tokens, if one is set.
    pub fn identity(&self) -> Option<&str> {
        self.0.parts.identity.as_deref()
    }

    /// Returns the subject of the tokens, or `None` for tokens of the client itself.
    pub fn subject(&self) -> Option<&str> {
        self.0.parts.subject.as_deref()
    }

    /// Returns the origin that the tokens may be sent to, if one is set.
    pub fn origin(&self) -> Option<&str> {
        self.0.parts.origin.as_deref()
    }

    /// Returns the origin of the token endpoint that issues the tokens, if one is set.
    pub fn token_endpoint(&self) -> Option<&str> {
        self.0.parts.token_endpoint.as_deref()
    }
}

impl TokenKeyBuilder {
    /// Sets the identity of the principal of the tokens, which describes the provider, its grant and its credential.
    ///
    /// A [`TokenSource`](crate::TokenSource) sets it to the [identity](crate::AsyncTokenProvider::identity) of its
    /// provider, unless the key has one.
    pub fn with_identity(mut self, identity: impl Into<String>) -> Self {
        self.identity = Some(identity.into());
        self
    }

    /// Sets the OAuth client that the token is issued to.
    pub fn with_client_id(mut self, client_id: impl Into<String>) -> Self {
        self.client_id = Some(client_id.into());
        self
    }

    /// Sets the subject of the token: the user or service that it identifies.
    pub fn with_subject(mut self, subject: impl Into<String>) -> Self {
        self.subject = Some(subject.into());
        self
    }

    /// Sets the service that the token is meant for.
    pub fn with_audience(mut self, audience: impl Into<String>) -> Self {
        self.audience = Some(audience.into());
        self
    }

    /// Sets the resources that the token is meant for (RFC 8707, section 2).
    pub fn with_resources<S: Into<String>>(mut self, resources: impl IntoIterator<Item = S>) -> Self {
        self.resources = resources.into_iter().map(Into::into).collect();
        self
    }

    /// Sets the scopes that the token carries.
    pub fn with_scopes<S: Into<String>>(mut self, scopes: impl IntoIterator<Item = S>) -> Self {
        self.scopes = scopes.into_iter().map(Into::into).collect();
        self
    }

    /// Sets non-standard parameters of the token request. Their order matters only among parameters of the same name.
    pub fn with_parameters<S: Into<String>>(mut self, parameters: impl IntoIterator<Item = (S, S)>) -> Self {
        self.parameters = parameters.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        self.parameters.sort_by(|(first, _), (second, _)| first.cmp(second));
        self
    }

    /// Sets the tenant or organization that the token is limited to.
    pub fn with_tenant(mut self, tenant: impl Into<String>) -> Self {
        self.tenant = Some(tenant.into());
        self
    }

    /// Sets the origin that the token may be sent to. Set it if tokens for several origins share a cache.
    pub fn with_origin(mut self, origin: impl Into<String>) -> Self {
        self.origin = Some(origin.into());
        self
    }

    /// Sets the thumbprint of the certificate that the token is bound to (RFC 8705, section 3.1).
    pub fn with_certificate_thumbprint(mut self, thumbprint: impl Into<String>) -> Self {
        self.certificate_thumbprint = Some(thumbprint.into());
        self
    }

    /// Sets the origin of the token endpoint that issues the token and that its refresh token may be sent to.
    pub fn with_token_endpoint(mut self, origin: impl Into<String>) -> Self {
        self.token_endpoint = Some(origin.into());
        self
    }

    /// Builds the key.
    pub fn build(self) -> TokenKey {
        let digest = self.digest();
        TokenKey(Arc::new(Inner { parts: self, digest }))
    }

    /// Hashes all parts. Each part is preceded by its tag and its length, so that the hashed bytes of different keys
    /// differ: the parts `ab` and `c` differ from `a` and `bc`, and a missing part differs from an empty one.
    fn digest(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        let mut hash_part = |tag: u8, text: &str| {
            hash.update([tag]);
            hash.update((text.len() as u64).to_be_bytes());
            hash.update(text);
        };
        hash_part(0, &self.issuer);
        let optional_parts = [
            &self.client_id,
            &self.subject,
            &self.audience,
            &self.claims,
            &self.tenant,
            &self.origin,
            &self.certificate_thumbprint,
            &self.token_endpoint,
            &self.identity,
            &self.assertion,
        ];
        for (tag, text) in (1..).zip(optional_parts) {
            if let Some(text) = text {
                hash_part(tag, text);
            }
        }
        for resource in &self.resources {
            hash_part(u8::MAX - 3, resource);
        }
        for (name, value) in &self.parameters {
            hash_part(u8::MAX - 2, name);
            hash_part(u8::MAX - 1, value);
        }
        for scope in &self.scopes {
            hash_part(u8::MAX, scope);
        }
        hash.finalize().into()
    }
}

impl PartialEq for TokenKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.digest == other.0.digest
    }
}

impl Eq for TokenKey {}

impl Hash for TokenKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.digest.hash(state);
    }
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.parts.fmt(formatter)
    }
}
