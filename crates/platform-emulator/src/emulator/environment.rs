//! The environment of clients of a running emulator.

use std::io;
use std::path::Path;

use serde_json::{Map, Value, json};

use super::Emulator;
use crate::account::{
    AUDIENCE, BUCKET_REGION, DEVICE_CLIENT_ID, INTERACTIVE_CLIENT_ID, MACHINE_CLIENT_ID, MACHINE_CLIENT_SECRET,
};

/// The variables that make common clients trust an authority: OpenSSL, curl and the command `aignostics`; Python; AWS tools.
const TRUST: [&str; 3] = ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "AWS_CA_BUNDLE"];

impl Emulator {
    /// Returns the variables that direct a platform SDK to the emulator, as its first user. One of them is a secret.
    /// Clients store logins in the folder `logins`, and trust the certificates of the file `authority` if it serves HTTPS
    /// ([`EmulatorBuilder::with_tls`](super::EmulatorBuilder::with_tls)).
    ///
    /// # Errors
    ///
    /// No user is configured, or the token cannot be stored.
    pub async fn environment(
        &self,
        logins: &Path,
        authority: Option<&Path>,
    ) -> io::Result<Vec<(&'static str, String)>> {
        let user = self.config().users.first().ok_or_else(|| io::Error::other("no user is configured"))?.id.clone();
        let refresh_token = self.refresh_token(&user).await?;
        Ok(variables(self, refresh_token, logins, authority))
    }

    /// Returns the data that a client needs: the addresses, ids, users and the variables of its
    /// [`environment`](Self::environment). It contains secrets.
    pub fn description(&self, authority: Option<&Path>, variables: &[(&str, String)]) -> Value {
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
            "ca_file": authority,
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
    logins: &Path,
    authority: Option<&Path>,
) -> Vec<(&'static str, String)> {
    let at = |path: &str| format!("{}{path}", emulator.issuer());
    let bare = |url: &str| url.trim_end_matches('/').to_owned();
    let mut variables = vec![
        ("AIGNOSTICS_API_ROOT", bare(emulator.api_root().as_str())),
        ("AIGNOSTICS_AUDIENCE", AUDIENCE.to_owned()),
        ("AIGNOSTICS_SCOPE", "offline_access".to_owned()),
        ("AIGNOSTICS_AUTHORIZATION_BASE_URL", at("authorize")),
        ("AIGNOSTICS_TOKEN_URL", at("oauth/token")),
        ("AIGNOSTICS_DEVICE_URL", at("oauth/device/code")),
        ("AIGNOSTICS_JWS_JSON_URL", at(".well-known/jwks.json")),
        ("AIGNOSTICS_REDIRECT_URI", "http://localhost:8989/".to_owned()),
        ("AIGNOSTICS_CLIENT_ID_INTERACTIVE", INTERACTIVE_CLIENT_ID.to_owned()),
        ("AIGNOSTICS_CLIENT_ID_DEVICE", DEVICE_CLIENT_ID.to_owned()),
        ("AIGNOSTICS_REFRESH_TOKEN", refresh_token),
        ("AIGNOSTICS_CACHE_DIR", logins.display().to_string()),
        ("AIGNOSTICS_STATE_DIR", logins.join("state").display().to_string()),
        ("AIGNOSTICS_STATUS_PAGE_URL", bare(emulator.api_root().as_str())),
        ("AIGNOSTICS_BUCKET_PROTOCOL", "gs".to_owned()),
        ("AIGNOSTICS_BUCKET_REGION_NAME", BUCKET_REGION.to_owned()),
        ("AIGNOSTICS_BUCKET_ENDPOINT", bare(emulator.storage().as_str())),
        ("AWS_ENDPOINT_URL_S3", bare(emulator.storage().as_str())),
    ];
    if authority.is_none() {
        // The OAuth library of the official Python SDK refuses plain HTTP without it.
        variables.push(("OAUTHLIB_INSECURE_TRANSPORT", "1".to_owned()));
    }
    variables.extend(authority.iter().flat_map(|file| TRUST.map(|name| (name, file.display().to_string()))));
    variables
}
