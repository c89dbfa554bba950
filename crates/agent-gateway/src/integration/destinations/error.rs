use auth_core::TokenError;
use auth_http::HttpError;

use crate::credentials::CredentialError;
use crate::tenant::Tenant;

/// A failure of the Destination service, or a configuration in it that cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum ServiceError {
    #[error("the request for {description} failed")]
    Http { description: String, source: HttpError },
    #[error("the service responded with {status} to the request for {description}")]
    Status { description: String, status: u16 },
    #[error("the response with {description} is not valid: {problem}")]
    Invalid { description: String, problem: &'static str },
    #[error("no fragment of the tenant {tenant} has the label `{label}`: subscribe the tenant to the agent")]
    NoFragment { tenant: Tenant, label: &'static str },
    #[error(
        "the fragments `{first}` and `{second}` of the tenant {tenant} both have the label `{label}`: remove one of them"
    )]
    SeveralFragments { tenant: Tenant, label: &'static str, first: String, second: String },
    #[error("the service has no token for {description}: {reason}")]
    NoToken { description: String, reason: String },
    #[error("the service returned a token for {description} that cannot be sent")]
    Token { description: String, source: TokenError },
    #[error("the token endpoint of the tenant {0} cannot be derived from the binding")]
    NoTokenUrl(Tenant),
    #[error("no tenant is given: use a principal `with_tenant`")]
    NoTenant,
    /// The URL of the gateway is missing, or a fragment changes its origin.
    #[error(transparent)]
    Gateway(CredentialError),
}

impl ServiceError {
    /// Converts the error to an error of the credentials or of the directory.
    pub(super) fn into_credential_error(self) -> CredentialError {
        match self {
            Self::Gateway(error) => error,
            other => CredentialError::other("the Destination service cannot be used", other),
        }
    }

    /// Converts the error to an error of a token provider.
    pub(super) fn into_token_error(self) -> TokenError {
        let is_transient = match &self {
            Self::Http { source, .. } => source.is_transient(),
            Self::Status { status, .. } => auth_core::is_transient_status(*status),
            _ => false,
        };
        let error = match self {
            // The credential error stays a separate cause, so that callers can find it.
            Self::Gateway(error) => TokenError::provider(error),
            other => TokenError::provider(other),
        };
        if is_transient { error.into_transient() } else { error }
    }
}
