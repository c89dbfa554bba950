//! The OAuth clients of the emulator, and their permissions.

use axum::http::{HeaderMap, header};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::percent_decode_str;
use subtle::ConstantTimeEq;
use url::{Host, Url};

use super::form::{Form, OAuthError};
use super::{device, grant_type};
use crate::account::{DEVICE_CLIENT_ID, INTERACTIVE_CLIENT_ID, MACHINE_CLIENT_ID, MACHINE_CLIENT_SECRET};

pub(super) struct Client {
    pub(super) id: &'static str,
    /// `None` for public clients.
    secret: Option<&'static str>,
    grants: &'static [&'static str],
}

const CLIENTS: [Client; 3] = [
    Client {
        id: INTERACTIVE_CLIENT_ID,
        secret: None,
        grants: &[grant_type::AUTHORIZATION_CODE, grant_type::REFRESH_TOKEN],
    },
    Client { id: DEVICE_CLIENT_ID, secret: None, grants: &[device::GRANT_TYPE, grant_type::REFRESH_TOKEN] },
    Client {
        id: MACHINE_CLIENT_ID,
        secret: Some(MACHINE_CLIENT_SECRET),
        grants: &[grant_type::CLIENT_CREDENTIALS, grant_type::JWT_BEARER, grant_type::TOKEN_EXCHANGE],
    },
];

impl Client {
    pub(super) fn find(id: &str) -> Option<&'static Self> {
        CLIENTS.iter().find(|client| client.id == id)
    }

    /// Authenticates the client of a request by `client_secret_basic` or `client_secret_post`. For a public client, the
    /// id is sufficient (RFC 6749, section 2.3.1).
    pub(super) fn authenticate(headers: &HeaderMap, form: &Form) -> Result<&'static Self, OAuthError> {
        let invalid_client = OAuthError::new("invalid_client", "unknown client or wrong secret");
        let authorization = headers.get(header::AUTHORIZATION).map(|value| value.to_str().unwrap_or_default());
        let Some(authorization) = authorization else {
            let id = form.value("client_id").ok_or(OAuthError::new("invalid_request", "client_id is missing"))?;
            return Self::find_authenticated(id, form.value("client_secret")).ok_or(invalid_client);
        };
        if form.value("client_secret").is_some() {
            return Err(OAuthError::new("invalid_request", "the client authenticates in both the header and the form"));
        }
        let credentials = scheme_credentials(authorization, "Basic").and_then(|text| STANDARD.decode(text).ok());
        let credentials = credentials.and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default();
        let (id, secret) = credentials.split_once(':').unwrap_or_default();
        let decode_part = |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned();
        let client = Self::find_authenticated(&decode_part(id), Some(&decode_part(secret))).ok_or(invalid_client)?;
        if form.value("client_id").is_some_and(|id| id != client.id) {
            return Err(OAuthError::new("invalid_request", "the form and the header name different clients"));
        }
        Ok(client)
    }

    /// Returns the client with this id, if it is public or the secret is correct.
    fn find_authenticated(id: &str, secret: Option<&str>) -> Option<&'static Self> {
        let client = Self::find(id)?;
        match (client.secret, secret) {
            (None, _) => Some(client),
            (Some(expected), Some(presented)) if bool::from(expected.as_bytes().ct_eq(presented.as_bytes())) => {
                Some(client)
            }
            _ => None,
        }
    }

    /// Checks that the client may use a grant type.
    pub(super) fn check_grant(&self, grant: &str) -> Result<(), OAuthError> {
        if self.grants.contains(&grant) {
            return Ok(());
        }
        let is_known = CLIENTS.iter().any(|client| client.grants.contains(&grant));
        Err(if is_known {
            OAuthError::new("unauthorized_client", "the client may not use this grant")
        } else {
            OAuthError::new("unsupported_grant_type", "the grant is not known")
        })
    }

    pub(super) fn all_grants() -> Vec<&'static str> {
        let mut grants: Vec<_> = CLIENTS.iter().flat_map(|client| client.grants).copied().collect();
        grants.sort_unstable();
        grants.dedup();
        grants
    }
}

/// Returns the credentials in an `Authorization` header, if its scheme is `name`. Scheme names are case-insensitive
/// (RFC 9110, section 11.1).
pub(crate) fn scheme_credentials<'a>(authorization: &'a str, name: &str) -> Option<&'a str> {
    let (scheme, credentials) = authorization.split_once(' ')?;
    scheme.eq_ignore_ascii_case(name).then(|| credentials.trim_start())
}

/// Returns true if a redirect URI is permitted. Only loopback addresses are, with any port (RFC 8252, section 7.3).
pub(super) fn is_permitted_redirect_uri(url: &Url) -> bool {
    let is_loopback = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    is_loopback && url.scheme() == "http" && url.fragment().is_none() && url.username().is_empty()
}
