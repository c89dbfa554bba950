//! The principals for which grants obtain tokens.

use auth_core::{AccessToken, Secret};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// Returns the SHA-256 hash of a secret in hexadecimal, which names the secret without revealing it.
pub(crate) fn fingerprint(secret: &Secret) -> String {
    hexadecimal(&Sha256::digest(secret.expose()))
}

pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

/// The claims of a JWT that identify the principal and the audience (RFC 7519, section 4.1). They are not verified.
#[derive(Default, Deserialize)]
pub(crate) struct Stated {
    iss: Option<String>,
    sub: Option<String>,
    /// One audience, or several.
    aud: Option<Value>,
    azp: Option<String>,
    client_id: Option<String>,
    /// The client id of Okta.
    cid: Option<String>,
    /// The client id of Microsoft.
    appid: Option<String>,
}

impl Stated {
    /// Returns the issuer, the subject and the client.
    pub(crate) fn principal(&self) -> Option<String> {
        let (issuer, subject) = (self.iss.as_deref()?, self.sub.as_deref()?);
        let client = self.azp.as_deref().or(self.client_id.as_deref()).unwrap_or_default();
        Some(format!("{issuer}\n{subject}\n{client}"))
    }

    /// Returns the audiences; none if the claim is missing or invalid.
    pub(crate) fn audiences(&self) -> Vec<&str> {
        match &self.aud {
            Some(Value::String(audience)) => vec![audience],
            Some(Value::Array(audiences)) => audiences.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        }
    }
}

/// Returns the claims of a JWT, or none for other tokens.
pub(crate) fn stated(token: &Secret) -> Stated {
    let payload = token.expose().split('.').nth(1).and_then(|payload| URL_SAFE_NO_PAD.decode(payload).ok());
    payload.and_then(|payload| serde_json::from_slice(&payload).ok()).unwrap_or_default()
}

/// Returns the client of a login: the recorded one, or the one that the access token names. It only selects the client
/// that refreshes the login.
pub(crate) fn client_of(token: &AccessToken) -> Option<String> {
    let named = || {
        let Stated { azp, client_id, cid, appid, .. } = stated(token.secret());
        azp.or(client_id).or(cid).or(appid)
    };
    token.client_id().map(str::to_owned).or_else(named)
}

/// Returns true if the access tokens or the ID tokens of both name different subjects (`OpenID` Connect Core, section
/// 12.2). An access token is not compared with an ID token, because their subjects may differ.
pub(crate) fn are_of_different_subjects(one: &AccessToken, other: &AccessToken) -> bool {
    differ(one.secret(), other.secret()) || other.id_token().is_some_and(|id| names_another(one, id))
}

/// Returns true if an ID token names another subject than the ID token of `former`.
pub(crate) fn names_another(former: &AccessToken, id_token: &Secret) -> bool {
    former.id_token().is_some_and(|former| differ(former, id_token))
}

fn differ(one: &Secret, other: &Secret) -> bool {
    stated(one).sub.zip(stated(other).sub).is_some_and(|(one, other)| one != other)
}
