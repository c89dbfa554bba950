//! The endpoints of an identity provider. The caller sets them, derives them from the issuer of an Auth0 tenant, or
//! discovers them.

use auth_core::{Clock, SystemClock};
use auth_http::{HttpClient, Request};
use serde::Deserialize;
use url::Url;

use crate::OAuthError;
use crate::limits::{BODY_LIMIT, TIMEOUT};

/// The endpoints of an identity provider. A grant whose endpoint is `None` fails with an error that names the
/// endpoint.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct Endpoints {
    /// The issuer, exactly as in the `iss` claim of its tokens.
    pub issuer: String,
    /// The token endpoint (RFC 6749, section 3.2).
    #[serde(rename = "token_endpoint")]
    pub token: Url,
    /// The authorization endpoint, where a user logs in with a browser (RFC 6749, section 3.1).
    #[serde(rename = "authorization_endpoint")]
    pub authorization: Option<Url>,
    /// The device authorization endpoint (RFC 8628, section 3.1).
    #[serde(rename = "device_authorization_endpoint")]
    pub device_authorization: Option<Url>,
    /// The revocation endpoint (RFC 7009).
    #[serde(rename = "revocation_endpoint")]
    pub revocation: Option<Url>,
    /// The URL of the keys with which tokens are verified (RFC 7517, section 5).
    #[serde(rename = "jwks_uri")]
    pub jwks: Option<Url>,
    /// The endpoints for clients that authenticate with a certificate (RFC 8705, section 5).
    #[serde(rename = "mtls_endpoint_aliases")]
    pub mtls: Option<MtlsEndpoints>,
    /// True if the provider announces that the redirect of a login contains its issuer (RFC 9207, section 3). A
    /// redirect without the issuer is then an error.
    #[serde(rename = "authorization_response_iss_parameter_supported", default)]
    pub sends_issuer: bool,
}

/// The aliases of endpoints for mutual TLS (RFC 8705, section 5). If an alias is `None`, the regular endpoint is used.
#[derive(Clone, Debug, Default, Deserialize)]
#[non_exhaustive]
pub struct MtlsEndpoints {
    /// The token endpoint.
    #[serde(rename = "token_endpoint")]
    pub token: Option<Url>,
    /// The device authorization endpoint.
    #[serde(rename = "device_authorization_endpoint")]
    pub device_authorization: Option<Url>,
    /// The revocation endpoint.
    #[serde(rename = "revocation_endpoint")]
    pub revocation: Option<Url>,
}

impl Endpoints {
    /// Creates endpoints with only a token endpoint. The other fields can be set afterwards.
    pub fn new(issuer: impl Into<String>, token: Url) -> Self {
        Self {
            issuer: issuer.into(),
            token,
            authorization: None,
            device_authorization: None,
            revocation: None,
            jwks: None,
            mtls: None,
            sends_issuer: false,
        }
    }

    /// Returns the endpoints of an Auth0 tenant. They have fixed paths at the host of the issuer. The platform uses
    /// Auth0.
    ///
    /// # Errors
    ///
    /// The issuer is a URL without a host, such as a `data:` URL.
    pub fn auth0(issuer: &Url) -> Result<Self, url::ParseError> {
        let endpoint = |path| issuer.join(path);
        Ok(Self {
            authorization: Some(endpoint("/authorize")?),
            device_authorization: Some(endpoint("/oauth/device/code")?),
            revocation: Some(endpoint("/oauth/revoke")?),
            jwks: Some(endpoint("/.well-known/jwks.json")?),
            ..Self::new(issuer.as_str(), endpoint("/oauth/token")?)
        })
    }

    /// Fetches the discovery document of the provider (`OpenID` Connect Discovery 1.0, section 4).
    ///
    /// The document must contain exactly the requested issuer, so that no other issuer can impersonate it.
    ///
    /// # Errors
    ///
    /// The request failed, or the document is invalid or contains another issuer.
    pub async fn discover(http: &HttpClient, issuer: &str) -> Result<Self, OAuthError> {
        let url = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
        let url = url
            .parse()
            .map_err(|error| OAuthError::malformed(format!("the issuer `{issuer}` is not a URL: {error}")))?;
        let response = http.send(Request::get(url).with_timeout(TIMEOUT)).await.map_err(OAuthError::http)?;
        if response.status() != 200 {
            return Err(OAuthError::status(response.status(), response.retry_after(SystemClock.now())));
        }
        let body = response.bytes(BODY_LIMIT).await.map_err(OAuthError::http)?;
        let document: Self = serde_json::from_slice(&body).map_err(|error| OAuthError::malformed(error.to_string()))?;
        if document.issuer == issuer {
            Ok(document)
        } else {
            Err(OAuthError::malformed(format!("it contains the issuer `{}` instead of `{issuer}`", document.issuer)))
        }
    }
}
