use std::path::PathBuf;

use crate::settings::level::Level;

/// The credential of an OAuth client. Its files are read again after a change.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ClientCredential {
    /// The id of the client (`CLIENT_ID`).
    pub id: String,
    /// The method by which the client authenticates (`CLIENT_AUTH`).
    pub authentication: ClientAuthentication,
    /// The id of the private key (`CLIENT_KEY_ID`).
    pub key_id: Option<String>,
    /// True if the audience of assertions is the token endpoint instead of the issuer
    /// (`CLIENT_ASSERTION_AUDIENCE=token-endpoint`).
    pub asserts_to_token_endpoint: bool,
}

/// A method of client authentication, with its files.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClientAuthentication {
    /// A secret (`secret`).
    Secret(PathBuf),
    /// A signed assertion (`private_key_jwt`): the private key, and the certificate that identifies it.
    PrivateKeyJwt {
        /// The file with the private key (`CLIENT_KEY_FILE`).
        key: PathBuf,
        /// The file with the certificate of the key (`CLIENT_CERTIFICATE_FILE`).
        certificate: Option<PathBuf>,
    },
    /// Mutual TLS (`tls`).
    Tls {
        /// The file with the certificate chain (`CLIENT_CERTIFICATE_FILE`).
        certificate: PathBuf,
        /// The file with the private key (`CLIENT_KEY_FILE`), if it is not in the same file.
        key: Option<PathBuf>,
    },
}

/// Reads the credential of an OAuth client. Returns `None` after a problem.
pub(super) fn read(level: &mut Level<'_>) -> Option<ClientCredential> {
    let Some(id) = level.text("CLIENT_ID") else {
        level.missing("CLIENT_ID", ", because a file with the client's credential is set");
        return None;
    };
    let secret = level.path("CLIENT_SECRET_FILE");
    let key = level.path("CLIENT_KEY_FILE");
    let certificate = level.path("CLIENT_CERTIFICATE_FILE");
    let declared_method = level.text("CLIENT_AUTH");
    let method = declared_method.as_deref().unwrap_or(match (&secret, &certificate) {
        (Some(_), _) => "secret",
        (None, Some(_)) => "tls",
        (None, None) => "private_key_jwt",
    });
    let (authentication, required_setting) = match method {
        "secret" => (secret.map(ClientAuthentication::Secret), "CLIENT_SECRET_FILE"),
        "private_key_jwt" => {
            (key.map(|key| ClientAuthentication::PrivateKeyJwt { key, certificate }), "CLIENT_KEY_FILE")
        }
        "tls" => {
            (certificate.map(|certificate| ClientAuthentication::Tls { certificate, key }), "CLIENT_CERTIFICATE_FILE")
        }
        _ => {
            level.invalid("CLIENT_AUTH", "must be secret, private_key_jwt or tls");
            return None;
        }
    };
    let asserts_to_token_endpoint = match level.text("CLIENT_ASSERTION_AUDIENCE").as_deref() {
        None | Some("issuer") => false,
        Some("token-endpoint") => true,
        Some(_) => {
            level.invalid("CLIENT_ASSERTION_AUDIENCE", "must be issuer or token-endpoint");
            false
        }
    };
    let Some(authentication) = authentication else {
        let reason = if declared_method.is_some() {
            format!(", because AIGNOSTICS_CLIENT_AUTH is {method}")
        } else {
            ", or AIGNOSTICS_CLIENT_SECRET_FILE or AIGNOSTICS_CLIENT_CERTIFICATE_FILE, because AIGNOSTICS_CLIENT_ID is set"
                .to_owned()
        };
        level.missing(required_setting, &reason);
        return None;
    };
    Some(ClientCredential { id, authentication, key_id: level.text("CLIENT_KEY_ID"), asserts_to_token_endpoint })
}
