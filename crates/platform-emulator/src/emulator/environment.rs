//! The environment of clients of a running emulator.

use std::io;
use std::path::Path;

use serde_json::{Map, Value, json};

use super::Emulator;
use crate::account::{
    AUDIENCE, BUCKET_REGION, DEVICE_CLIENT_ID, INTERACTIVE_CLIENT_ID, MACHINE_CLIENT_ID, MACHINE_CLIENT_SECRET,
};

/// The variables that name a trusted certificate: for OpenSSL, curl and the command `aignostics`; for Python; for AWS
/// tools.
const TRUST_VARIABLES: [&str; 3] = ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "AWS_CA_BUNDLE"];

impl Emulator {
    /// Returns the variables that direct a platform SDK to the emulator, as its first user. They contain a secret.
    /// Clients store logins in `login_folder`. If the emulator serves https
    /// ([`EmulatorBuilder::with_tls`](super::EmulatorBuilder::with_tls)), clients trust the certificate in
    /// `authority_file`.
    ///
    /// # Errors
    ///
    /// No user is configured, or the token cannot be stored.
    pub async fn environment(
        &self,
        login_folder: &Path,
        authority_file: Option<&Path>,
    ) -> io::Result<Vec<(&'static str, String)>> {
        let user = self.config().users.first().ok_or_else(|| io::Error::other("no user is configured"))?.id.clone();
        let refresh_token = self.refresh_token(&user).await?;
        Ok(variables(self, refresh_token, login_folder, authority_file))
    }

    /// Returns the data that a client needs: the URLs, the clients, the users and the variables of the
    /// [`environment`](Self::environment). The data contain secrets.
    pub fn description(&self, authority_file: Option<&Path>, variables: &[(&str, String)]) -> Value {
        let config = self.config();
        let users = config.users.iter().map(
            |user| json!({ "id": user.id, "email": user.email, "name": user.name, "organization": user.organization }),
        );
        let organizations =
            config.organizations.iter().map(|organization| json!({ "id": organization.id, "name": organization.name }));
        let control = self.control_token();
        json!({
            "status": "ready",
            "api_root": self.api_root().as_str(),
            "issuer": self.issuer().as_str(),
            "storage": self.storage().as_str(),
            "ca_file": authority_file,
            "audience": AUDIENCE,
            "client_ids": {
                "interactive": INTERACTIVE_CLIENT_ID,
                "device": DEVICE_CLIENT_ID,
                "machine": MACHINE_CLIENT_ID,
            },
            "machine_client_secret": MACHINE_CLIENT_SECRET,
            "users": users.collect::<Vec<_>>(),
            "organizations": organizations.collect::<Vec<_>>(),
            "control": control.map(|token| json!({ "url": format!("{}_control", self.api_root()), "token": token })),
            "env": variables.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect::<Map<_, _>>(),
        })
    }
}

fn variables(
    emulator: &Emulator,
    refresh_token: String,
    login_folder: &Path,
    authority_file: Option<&Path>,
) -> Vec<(&'static str, String)> {
    let issuer_url = |path: &str| format!("{}{path}", emulator.issuer());
    let without_trailing_slash = |url: &str| url.trim_end_matches('/').to_owned();
    let mut variables = vec![
        ("AIGNOSTICS_API_ROOT", without_trailing_slash(emulator.api_root().as_str())),
        ("AIGNOSTICS_AUDIENCE", AUDIENCE.to_owned()),
        ("AIGNOSTICS_SCOPE", "offline_access".to_owned()),
        ("AIGNOSTICS_AUTHORIZATION_BASE_URL", issuer_url("authorize")),
        ("AIGNOSTICS_TOKEN_URL", issuer_url("oauth/token")),
        ("AIGNOSTICS_DEVICE_URL", issuer_url("oauth/device/code")),
        ("AIGNOSTICS_JWS_JSON_URL", issuer_url(".well-known/jwks.json")),
        ("AIGNOSTICS_REDIRECT_URI", "http://localhost:8989/".to_owned()),
        ("AIGNOSTICS_CLIENT_ID_INTERACTIVE", INTERACTIVE_CLIENT_ID.to_owned()),
        ("AIGNOSTICS_CLIENT_ID_DEVICE", DEVICE_CLIENT_ID.to_owned()),
        ("AIGNOSTICS_REFRESH_TOKEN", refresh_token),
        ("AIGNOSTICS_CACHE_DIR", login_folder.display().to_string()),
        ("AIGNOSTICS_STATE_DIR", login_folder.join("state").display().to_string()),
        ("AIGNOSTICS_STATUS_PAGE_URL", without_trailing_slash(emulator.api_root().as_str())),
        ("AIGNOSTICS_BUCKET_PROTOCOL", "gs".to_owned()),
        ("AIGNOSTICS_BUCKET_REGION_NAME", BUCKET_REGION.to_owned()),
        ("AIGNOSTICS_BUCKET_ENDPOINT", without_trailing_slash(emulator.storage().as_str())),
        ("AWS_ENDPOINT_URL_S3", without_trailing_slash(emulator.storage().as_str())),
    ];
    if authority_file.is_none() {
        // Without this variable, the OAuth library of the official Python SDK rejects plain HTTP.
        variables.push(("OAUTHLIB_INSECURE_TRANSPORT", "1".to_owned()));
    }
    variables
        .extend(authority_file.iter().flat_map(|file| TRUST_VARIABLES.map(|name| (name, file.display().to_string()))));
    variables
}
