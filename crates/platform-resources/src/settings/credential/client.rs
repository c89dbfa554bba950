use std::path::PathBuf;

use crate::settings::reader::Reader;
use crate::settings::sources::SettingSource;

/// The credential of an OAuth client. Its files are read again after a change.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ClientCredential {
    /// The id of the client (`CLIENT_ID`).
    pub id: String,
    /// The method by which it authenticates (`CLIENT_AUTH`).
    pub authentication: ClientAuthentication,
    /// The id of its private key (`CLIENT_KEY_ID`).
    pub key_id: Option<String>,
    /// Its assertions are for the token endpoint instead of the issuer (`CLIENT_ASSERTION_AUDIENCE=token-endpoint`).
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
        /// The file with its certificate (`CLIENT_CERTIFICATE_FILE`).
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

/// Reads the credential of a client; `None` after a problem.
pub(super) fn read(reader: &mut Reader) -> Option<ClientCredential> {
    let Some(id) = reader.optional("CLIENT_ID") else {
        reader.problem(
            "CLIENT_ID",
            SettingSource::Default,
            "must be set, because a file with the client's credential is",
        );
        return None;
    };
    let secret = reader.path("CLIENT_SECRET_FILE");
    let key = reader.path("CLIENT_KEY_FILE");
    let certificate = reader.path("CLIENT_CERTIFICATE_FILE");
    let method = reader.optional("CLIENT_AUTH").unwrap_or_else(|| {
        let method = if secret.is_some() {
            "secret"
        } else if certificate.is_some() {
            "tls"
        } else {
            "private_key_jwt"
        };
        method.to_owned()
    });
    let (authentication, missing) = match method.as_str() {
        "secret" => (secret.map(ClientAuthentication::Secret), "CLIENT_SECRET_FILE"),
        "private_key_jwt" => {
            (key.map(|key| ClientAuthentication::PrivateKeyJwt { key, certificate }), "CLIENT_KEY_FILE")
        }
        "tls" => {
            (certificate.map(|certificate| ClientAuthentication::Tls { certificate, key }), "CLIENT_CERTIFICATE_FILE")
        }
        _ => {
            reader.wrong("CLIENT_AUTH", "must be secret, private_key_jwt or tls");
            return None;
        }
    };
    let asserts_to_token_endpoint = match reader.optional("CLIENT_ASSERTION_AUDIENCE").as_deref() {
        None | Some("issuer") => false,
        Some("token-endpoint") => true,
        Some(_) => {
            reader.wrong("CLIENT_ASSERTION_AUDIENCE", "must be issuer or token-endpoint");
            false
        }
    };
    let Some(authentication) = authentication else {
        let reason = if reader.optional("CLIENT_AUTH").is_some() {
            format!("must be set, because AIGNOSTICS_CLIENT_AUTH is {method}")
        } else {
            "must be set, or AIGNOSTICS_CLIENT_SECRET_FILE or AIGNOSTICS_CLIENT_CERTIFICATE_FILE, because \
             AIGNOSTICS_CLIENT_ID is"
                .to_owned()
        };
        reader.problem(missing, SettingSource::Default, reason);
        return None;
    };
    Some(ClientCredential { id, authentication, key_id: reader.optional("CLIENT_KEY_ID"), asserts_to_token_endpoint })
}
