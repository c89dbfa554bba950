//! Client authentication at the token endpoint.

use std::time::SystemTime;

use auth_core::Secret;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use url::form_urlencoded::byte_serialize;

use super::assertion::PrivateKey;
use crate::OAuthError;
use crate::exchange::FormRequest;

const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// The method by which a client authenticates (`OpenID` Connect Core, section 9).
#[derive(Clone, Debug)]
pub(crate) enum Authentication {
    /// A public client.
    None,
    /// `client_secret_basic` (RFC 6749, section 2.3.1).
    SecretBasic(Secret),
    /// `client_secret_post` (RFC 6749, section 2.3.1).
    SecretPost(Secret),
    /// `private_key_jwt` (RFC 7523, section 2.2).
    PrivateKeyJwt(PrivateKey),
    /// The client certificate of the connection (RFC 8705, section 2).
    MutualTls,
}

impl Authentication {
    /// Adds the credentials of the client `id` to a request. `audience` is the audience of a signed assertion.
    pub(crate) fn authenticate(
        &self,
        form: FormRequest,
        id: &str,
        audience: &str,
        now: SystemTime,
    ) -> Result<FormRequest, OAuthError> {
        Ok(match self {
            // The id and the secret are form-encoded (RFC 6749, section 2.3.1), so that they cannot contain a colon.
            Self::SecretBasic(secret) => {
                let form_encode = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
                let credentials = STANDARD.encode(format!("{}:{}", form_encode(id), form_encode(secret.expose())));
                form.with_authorization(Secret::new(format!("Basic {credentials}")), secret)
            }
            // A client without an id is identified by the subject token alone (RFC 8693, section 2.1).
            Self::None if id.is_empty() => form,
            Self::None | Self::MutualTls => form.with("client_id", id),
            Self::SecretPost(secret) => form.with("client_id", id).with_secret("client_secret", secret),
            Self::PrivateKeyJwt(key) => form
                .with("client_id", id)
                .with("client_assertion_type", ASSERTION_TYPE)
                .with_secret("client_assertion", &key.assertion(id, id, audience, now)?),
        })
    }
}
