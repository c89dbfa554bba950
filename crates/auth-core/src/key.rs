use std::collections::BTreeSet;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::TokenRequest;

/// What a cached token was issued for. Two requests share a token only if their keys are equal, and
/// keys are equal only if everything in them is.
///
/// The identity of a key is its full SHA-256 [`digest`](Self::digest); caches may use it as their
/// own key. The order in which scopes are given does not matter. Cheap to clone.
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
pub struct TokenKey(Arc<Frozen>);

struct Frozen {
    parts: TokenKeyBuilder,
    digest: [u8; 32],
}

/// Puts a [`TokenKey`] together. Only the issuer is required.
#[derive(Clone, Debug)]
pub struct TokenKeyBuilder {
    issuer: String,
    client_id: Option<String>,
    subject: Option<String>,
    audience: Option<String>,
    scopes: BTreeSet<String>,
    claims: Option<String>,
    tenant: Option<String>,
    origin: Option<String>,
    certificate_thumbprint: Option<String>,
    token_endpoint: Option<String>,
}

impl TokenKey {
    /// The key of tokens that `issuer` gives out.
    pub fn builder(issuer: impl Into<String>) -> TokenKeyBuilder {
        TokenKeyBuilder {
            issuer: issuer.into(),
            client_id: None,
            subject: None,
            audience: None,
            scopes: BTreeSet::new(),
            claims: None,
            tenant: None,
            origin: None,
            certificate_thumbprint: None,
            token_endpoint: None,
        }
    }

    /// The key of tokens that `issuer` gives out, if nothing else tells them apart.
    pub fn new(issuer: impl Into<String>) -> Self {
        Self::builder(issuer).build()
    }

    /// The same key with what `request` says in place of what this one says.
    pub fn for_request(&self, request: &TokenRequest) -> Self {
        if *request == TokenRequest::default() {
            return self.clone();
        }
        let mut parts = self.0.parts.clone();
        if !request.scopes.is_empty() {
            parts.scopes.clone_from(&request.scopes);
        }
        for (part, wanted) in [
            (&mut parts.audience, &request.audience),
            (&mut parts.subject, &request.subject),
            (&mut parts.claims, &request.claims),
            (&mut parts.tenant, &request.tenant),
        ] {
            if wanted.is_some() {
                part.clone_from(wanted);
            }
        }
        parts.build()
    }

    /// The SHA-256 over everything in the key.
    pub fn digest(&self) -> &[u8; 32] {
        &self.0.digest
    }

    /// The digest in hexadecimal: a name for a file or an entry.
    pub fn digest_hex(&self) -> String {
        let digit = |half: u8| char::from(b"0123456789abcdef"[usize::from(half)]);
        self.0.digest.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
    }

    /// Who gives the tokens out.
    pub fn issuer(&self) -> &str {
        &self.0.parts.issuer
    }

    /// Whom the tokens speak for; `None` for tokens of the client itself.
    pub fn subject(&self) -> Option<&str> {
        self.0.parts.subject.as_deref()
    }

    /// The origin that the tokens may be sent to, if the key names one.
    pub fn origin(&self) -> Option<&str> {
        self.0.parts.origin.as_deref()
    }

    /// The origin of the token endpoint that the tokens come from, if the key names one.
    pub fn token_endpoint(&self) -> Option<&str> {
        self.0.parts.token_endpoint.as_deref()
    }
}

impl TokenKeyBuilder {
    /// The OAuth client that the token is issued to.
    pub fn with_client_id(mut self, client_id: impl Into<String>) -> Self {
        self.client_id = Some(client_id.into());
        self
    }

    /// Whom the token speaks for.
    pub fn with_subject(mut self, subject: impl Into<String>) -> Self {
        self.subject = Some(subject.into());
        self
    }

    /// The service that the token is meant for.
    pub fn with_audience(mut self, audience: impl Into<String>) -> Self {
        self.audience = Some(audience.into());
        self
    }

    /// The scopes that the token carries.
    pub fn with_scopes<S: Into<String>>(mut self, scopes: impl IntoIterator<Item = S>) -> Self {
        self.scopes = scopes.into_iter().map(Into::into).collect();
        self
    }

    /// The tenant or organisation that the token is limited to.
    pub fn with_tenant(mut self, tenant: impl Into<String>) -> Self {
        self.tenant = Some(tenant.into());
        self
    }

    /// The origin that the token may be sent to, where tokens for several are kept in one place.
    pub fn with_origin(mut self, origin: impl Into<String>) -> Self {
        self.origin = Some(origin.into());
        self
    }

    /// The thumbprint of the certificate that the token is bound to (RFC 8705, section 3.1).
    pub fn with_certificate_thumbprint(mut self, thumbprint: impl Into<String>) -> Self {
        self.certificate_thumbprint = Some(thumbprint.into());
        self
    }

    /// The origin of the token endpoint that the token comes from and that its refresh token may be
    /// sent to, where tokens outlive the settings that name the endpoint.
    pub fn with_token_endpoint(mut self, origin: impl Into<String>) -> Self {
        self.token_endpoint = Some(origin.into());
        self
    }

    /// The key.
    pub fn build(self) -> TokenKey {
        let digest = self.digest();
        TokenKey(Arc::new(Frozen { parts: self, digest }))
    }

    /// Every part is preceded by its place and its length, so that no two different keys are
    /// written alike: `ab` and `c` is not `a` and `bc`, and what is absent is not what is empty.
    fn digest(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        let mut add = |place: u8, text: &str| {
            hash.update([place]);
            hash.update((text.len() as u64).to_be_bytes());
            hash.update(text);
        };
        add(0, &self.issuer);
        let optional = [
            &self.client_id,
            &self.subject,
            &self.audience,
            &self.claims,
            &self.tenant,
            &self.origin,
            &self.certificate_thumbprint,
            &self.token_endpoint,
        ];
        for (place, text) in (1..).zip(optional) {
            if let Some(text) = text {
                add(place, text);
            }
        }
        for scope in &self.scopes {
            add(u8::MAX, scope);
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
