use url::Url;

/// Where an identity provider is spoken to.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Endpoints {
    /// The issuer as the `iss` claim of its tokens spells it.
    pub issuer: String,
    /// Starts a device login (RFC 8628, section 3.1).
    pub device_authorization: Url,
    /// Gives out tokens (RFC 6749, section 3.2).
    pub token: Url,
    /// The keys that tokens are verified with (RFC 7517, section 5).
    pub jwks: Url,
}

impl Endpoints {
    /// The endpoints of any provider.
    pub fn new(issuer: impl Into<String>, device_authorization: Url, token: Url, jwks: Url) -> Self {
        Self { issuer: issuer.into(), device_authorization, token, jwks }
    }

    /// The endpoints of an Auth0 tenant, which the platform uses, at the root of the issuer's host.
    ///
    /// # Errors
    ///
    /// The issuer has no host to speak to, such as `data:` URLs.
    pub fn of_issuer(issuer: &Url) -> Result<Self, url::ParseError> {
        let at = |path| issuer.join(path);
        Ok(Self::new(issuer.as_str(), at("/oauth/device/code")?, at("/oauth/token")?, at("/.well-known/jwks.json")?))
    }
}
