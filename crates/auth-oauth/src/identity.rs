//! The principals of tokens, and the clients that logins belong to.

use auth_core::{AccessToken, Secret};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// Returns the SHA-256 hash of a secret in hexadecimal, which identifies the secret without revealing it.
pub(crate) fn fingerprint(secret: &Secret) -> String {
    hex::encode(Sha256::digest(secret.expose()))
}

/// The unverified claims of a JWT that identify the principal and the audience (RFC 7519, section 4.1).
#[derive(Default, Deserialize)]
pub(crate) struct IdentityClaims {
    iss: Option<String>,
    sub: Option<String>,
    /// One audience, or a list of audiences.
    aud: Option<Value>,
    azp: Option<String>,
    client_id: Option<String>,
    /// The client id in tokens of Okta.
    cid: Option<String>,
    /// The client id in tokens of Microsoft.
    appid: Option<String>,
}

impl IdentityClaims {
    /// Returns the issuer, the subject and the client as one text, or `None` if the issuer or the subject is missing.
    pub(crate) fn principal(&self) -> Option<String> {
        let (issuer, subject) = (self.iss.as_deref()?, self.sub.as_deref()?);
        let client = self.azp.as_deref().or(self.client_id.as_deref()).unwrap_or_default();
        Some(format!("{issuer}\n{subject}\n{client}"))
    }

    /// Returns the audiences. The list is empty if the claim is missing or invalid.
    pub(crate) fn audiences(&self) -> Vec<&str> {
        match &self.aud {
            Some(Value::String(audience)) => vec![audience],
            Some(Value::Array(audiences)) => audiences.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        }
    }
}

/// Returns the unverified claims of a JWT. For other tokens, all claims are missing.
pub(crate) fn identity_claims(token: &Secret) -> IdentityClaims {
    let payload = token.expose().split('.').nth(1).and_then(|payload| URL_SAFE_NO_PAD.decode(payload).ok());
    payload.and_then(|payload| serde_json::from_slice(&payload).ok()).unwrap_or_default()
}

/// Returns the id of the client that a login belongs to. It is stored with the login, or else taken from the claims of
/// the access token. The claims are not verified, so use the id only to select the client that refreshes the login.
pub(crate) fn client_id_of(token: &AccessToken) -> Option<String> {
    let id_in_claims = || {
        let IdentityClaims { azp, client_id, cid, appid, .. } = identity_claims(token.secret());
        azp.or(client_id).or(cid).or(appid)
    };
    token.client_id().map(str::to_owned).or_else(id_in_claims)
}

/// Returns true if the access tokens or the ID tokens of two logins have different subjects (`OpenID` Connect Core,
/// section 12.2). An access token is not compared with an ID token, because their subjects may differ.
pub(crate) fn have_different_subjects(first: &AccessToken, second: &AccessToken) -> bool {
    subjects_differ(first.secret(), second.secret())
        || second.id_token().is_some_and(|id_token| has_other_subject(first, id_token))
}

/// Returns true if `id_token` has another subject than the ID token of `previous`.
pub(crate) fn has_other_subject(previous: &AccessToken, id_token: &Secret) -> bool {
    previous.id_token().is_some_and(|previous| subjects_differ(previous, id_token))
}

/// Returns true if both tokens have a subject, and the subjects differ.
fn subjects_differ(first: &Secret, second: &Secret) -> bool {
    identity_claims(first).sub.zip(identity_claims(second).sub).is_some_and(|(first, second)| first != second)
}
