//! Assertions of users, in token requests.

use auth_core::{AccessToken, TokenRequest};

/// Limits the expiry of a token: it expires no later than the assertion of its request.
pub(crate) fn with_assertion_expiry(token: AccessToken, request: &TokenRequest) -> AccessToken {
    let bounds = [token.not_after(), request.assertion().and_then(AccessToken::expires_at)];
    bounds.into_iter().flatten().min().into_iter().fold(token, AccessToken::with_not_after)
}
