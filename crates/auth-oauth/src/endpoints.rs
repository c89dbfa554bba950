//! Where an identity provider is spoken to: named by hand, by the rule of Auth0, or as the provider itself says.

use auth_core::{Clock, SystemClock};
use auth_http::{HttpClient, Request};
use serde::Deserialize;
use url::Url;

use crate::OAuthError;
use crate::exchange::{BODY_LIMIT, TIMEOUT};

/// Where an identity provider is spoken to. What a login needs and is not there is named by its error.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct Endpoints {
    /// The issuer as the `iss` claim of its tokens spells it.
    pub issuer: String,
    /// Gives out tokens (RFC 6749, section 3.2).
    #[serde(rename = "token_endpoint")]
    pub token: Url,
    /// Where a user logs in with a browser (RFC 6749, section 3.1).
    #[serde(rename = "authorization_endpoint")]
    pub authorization: Option<Url>,
    /// Starts a device login (RFC 8628, section 3.1).
    #[serde(rename = "device_authorization_endpoint")]
    pub device_authorization: Option<Url>,
    /// Ends tokens (RFC 7009).
    #[serde(rename = "revocation_endpoint")]
    pub revocation: Option<Url>,
    /// The keys that tokens are verified with (RFC 7517, section 5).
    #[serde(rename = "jwks_uri")]
    pub jwks: Option<Url>,
    /// In the place of the others for a client that proves itself by a certificate (RFC 8705, section 5).
    #[serde(rename = "mtls_endpoint_aliases")]
    pub mtls: Option<MtlsEndpoints>,
}

/// Endpoints for mutual TLS, where they differ from the others (RFC 8705, section 5).
#[derive(Clone, Debug, Default, Deserialize)]
#[non_exhaustive]
pub struct MtlsEndpoints {
    /// Gives out tokens.
    #[serde(rename = "token_endpoint")]
    pub token: Option<Url>,
    /// Starts a device login.
    #[serde(rename = "device_authorization_endpoint")]
    pub device_authorization: Option<Url>,
    /// Ends tokens.
    #[serde(rename = "revocation_endpoint")]
    pub revocation: Option<Url>,
}

impl Endpoints {
    /// A provider of which only the token endpoint is known; the other fields can be set.
    pub fn new(issuer: impl Into<String>, token: Url) -> Self {
        Self {
            issuer: issuer.into(),
            token,
            authorization: None,
            device_authorization: None,
            revocation: None,
            jwks: None,
            mtls: None,
        }
    }

    /// The endpoints of an Auth0 tenant, which the platform uses, at the root of the issuer's host.
    ///
    /// # Errors
    ///
    /// The issuer has no host to speak to, such as `data:` URLs.
    pub fn of_issuer(issuer: &Url) -> Result<Self, url::ParseError> {
        let at = |path| issuer.join(path);
        Ok(Self {
            authorization: Some(at("/authorize")?),
            device_authorization: Some(at("/oauth/device/code")?),
            revocation: Some(at("/oauth/revoke")?),
            jwks: Some(at("/.well-known/jwks.json")?),
            ..Self::new(issuer.as_str(), at("/oauth/token")?)
        })
    }

    /// What the provider says of itself (`OpenID` Connect Discovery 1.0, section 4). The document must name the
    /// very issuer that was asked for, or another could speak for it.
    ///
    /// # Errors
    ///
    /// The provider could not be asked, its document is not understood, or is that of another issuer.
    pub async fn discover(http: &HttpClient, issuer: &str) -> Result<Self, OAuthError> {
        let url = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
        let url =
            url.parse().map_err(|error| OAuthError::malformed(format!("the issuer `{issuer}` is no URL: {error}")))?;
        let response = http.send(Request::get(url).with_timeout(TIMEOUT)).await.map_err(OAuthError::http)?;
        if response.status() != 200 {
            return Err(OAuthError::status(response.status(), response.retry_after(SystemClock.now())));
        }
        let body = response.bytes(BODY_LIMIT).await.map_err(OAuthError::http)?;
        let found: Self = serde_json::from_slice(&body).map_err(|error| OAuthError::malformed(error.to_string()))?;
        if found.issuer == issuer {
            Ok(found)
        } else {
            Err(OAuthError::malformed(format!("it is that of the issuer `{}`, not of `{issuer}`", found.issuer)))
        }
    }
}
