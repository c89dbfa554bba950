//! Errors of logins.

use auth_core::TokenError;
use auth_oauth::{JwtError, OAuthError};
use platform_api::ApiError;

use super::{Error, Kind};

#[derive(Debug, thiserror::Error)]
pub(super) enum LoginError {
    #[error("the login failed")]
    OAuth(#[from] OAuthError),
    #[error("the login is stored and can be refreshed, but its access token cannot be used")]
    Unusable(#[source] OAuthError),
    #[error("the token of the login cannot be verified")]
    Claims(#[source] JwtError),
    #[error("not logged in")]
    NotLoggedIn,
    #[error("{0} sets the credential: unset it to log in")]
    CredentialIsSet(String),
    #[error("the device flow requires a separate OAuth client: set AIGNOSTICS_CLIENT_ID_DEVICE")]
    NoDeviceClient,
}

impl From<OAuthError> for Error {
    fn from(error: OAuthError) -> Self {
        Kind::Login(error.into()).into()
    }
}

impl Error {
    pub(crate) fn token_claims(error: JwtError) -> Self {
        Kind::Login(LoginError::Claims(error)).into()
    }

    pub(crate) fn unusable_login(error: OAuthError) -> Self {
        Kind::Login(LoginError::Unusable(error)).into()
    }

    pub(crate) fn not_logged_in() -> Self {
        Kind::Login(LoginError::NotLoggedIn).into()
    }

    pub(crate) fn credential_is_set(name: &str) -> Self {
        Kind::Login(LoginError::CredentialIsSet(name.to_owned())).into()
    }

    pub(crate) fn no_device_client() -> Self {
        Kind::Login(LoginError::NoDeviceClient).into()
    }

    /// Returns true if a login failed, or no access token is available.
    pub fn is_login(&self) -> bool {
        matches!(self.0, Kind::Login(_) | Kind::Token(..))
    }

    /// Returns true if no login is stored, or the identity provider refused it. If the user can be prompted, also
    /// returns true for an access token that failed verification.
    pub(crate) fn is_login_ended(&self, can_prompt: bool) -> bool {
        matches!(&self.0, Kind::Token(error, _)
            if error.is_refused() || can_prompt && error.is_unverified() && !error.is_transient())
    }

    /// Returns true if the user must log in again, because the login is missing, was refused or was not completed.
    pub fn is_login_required(&self) -> bool {
        let is_oauth_login_required = |error: &OAuthError| {
            error.is_login_required() || error.is_credential_refused() || error.is_denied() || error.is_expired()
        };
        self.is_not_logged_in()
            || self.api().is_some_and(ApiError::is_unauthorized)
            || std::iter::successors(Some(self as &dyn std::error::Error), |&error| error.source()).any(|error| {
                error.downcast_ref().is_some_and(TokenError::is_refused)
                    || error.downcast_ref().is_some_and(is_oauth_login_required)
            })
    }

    /// Returns true if a logout failed because no login is stored.
    pub fn is_not_logged_in(&self) -> bool {
        matches!(self.0, Kind::Login(LoginError::NotLoggedIn))
    }
}
