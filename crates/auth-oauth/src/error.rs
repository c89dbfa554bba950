use std::error::Error;

use auth_http::HttpError;

use crate::JwtError;

/// Why a login brought no token. It never shows a code, a secret or a token.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct OAuthError(#[from] Kind);

#[derive(Debug, thiserror::Error)]
enum Kind {
    #[error("the identity provider could not be asked")]
    Http(#[source] HttpError),
    #[error("the identity provider refused: {code}{}", description.as_deref().map(|text| format!(" ({text})")).unwrap_or_default())]
    Refused { code: String, description: Option<String> },
    #[error("the login was denied by the user")]
    Denied,
    #[error("the login was not approved in time: start it again")]
    Expired,
    #[error("the answer of the identity provider is not understood: {0}")]
    Malformed(String),
    #[error("the user could not be asked to approve the login")]
    Prompt(#[source] Box<dyn Error + Send + Sync>),
    #[error("the identity provider issued a token that does not verify")]
    Jwt(#[source] JwtError),
}

impl OAuthError {
    pub(crate) fn http(source: HttpError) -> Self {
        Kind::Http(source).into()
    }

    pub(crate) fn refused(code: String, description: Option<String>) -> Self {
        match code.as_str() {
            "access_denied" => Kind::Denied.into(),
            "expired_token" => Kind::Expired.into(),
            _ => Kind::Refused { code, description }.into(),
        }
    }

    pub(crate) fn malformed(reason: impl Into<String>) -> Self {
        Kind::Malformed(reason.into()).into()
    }

    pub(crate) fn prompt(source: Box<dyn Error + Send + Sync>) -> Self {
        Kind::Prompt(source).into()
    }

    pub(crate) fn jwt(source: JwtError) -> Self {
        Kind::Jwt(source).into()
    }

    /// The provider refuses the client or what it presents (`invalid_client`, `invalid_grant`,
    /// `unauthorized_client`): asking again is in vain.
    pub fn is_credential_refused(&self) -> bool {
        matches!(&self.0, Kind::Refused { code, .. } if matches!(code.as_str(), "invalid_client" | "invalid_grant" | "unauthorized_client"))
    }

    /// The user said no (`access_denied`).
    pub fn is_denied(&self) -> bool {
        matches!(self.0, Kind::Denied)
    }

    /// The user did not say anything in time (`expired_token`).
    pub fn is_expired(&self) -> bool {
        matches!(self.0, Kind::Expired)
    }

    /// A token came, but it is not what was asked for: see its [`JwtError`] as the source.
    pub fn is_unverified(&self) -> bool {
        matches!(self.0, Kind::Jwt(_))
    }
}
