//! The variables and the ready line of a running emulator.

use std::path::Path;

use anyhow::Context as _;
use platform_emulator::Emulator;
use serde_json::json;

use crate::error::CliError;

/// The variables that make common clients trust an authority: OpenSSL, curl and this command; Python; AWS tools.
const TRUST: [&str; 3] = ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "AWS_CA_BUNDLE"];

/// Returns the variables that direct a platform SDK to the emulator, as its first user.
pub(super) async fn variables(
    emulator: &Emulator,
    logins: &Path,
    authority: Option<&Path>,
) -> Result<Vec<(&'static str, String)>, CliError> {
    let user = emulator.config().users.first().context("no user is configured")?.id.clone();
    let refresh_token = emulator.refresh_token(&user).await?;
    let at = |path: &str| format!("{}{path}", emulator.issuer());
    let bare = |url: &str| url.trim_end_matches('/').to_owned();
    let mut variables = vec![
        ("AIGNOSTICS_API_ROOT", bare(emulator.api_root().as_str())),
        ("AIGNOSTICS_AUDIENCE", platform_emulator::AUDIENCE.to_owned()),
        ("AIGNOSTICS_SCOPE", "offline_access".to_owned()),
        ("AIGNOSTICS_AUTHORIZATION_BASE_URL", at("authorize")),
        ("AIGNOSTICS_TOKEN_URL", at("oauth/token")),
        ("AIGNOSTICS_DEVICE_URL", at("oauth/device/code")),
        ("AIGNOSTICS_JWS_JSON_URL", at(".well-known/jwks.json")),
        ("AIGNOSTICS_REDIRECT_URI", "http://localhost:8989/".to_owned()),
        ("AIGNOSTICS_CLIENT_ID_INTERACTIVE", platform_emulator::INTERACTIVE_CLIENT_ID.to_owned()),
        ("AIGNOSTICS_CLIENT_ID_DEVICE", platform_emulator::DEVICE_CLIENT_ID.to_owned()),
        ("AIGNOSTICS_REFRESH_TOKEN", refresh_token),
        ("AIGNOSTICS_CACHE_DIR", logins.display().to_string()),
        ("AIGNOSTICS_STATE_DIR", logins.join("state").display().to_string()),
        ("AIGNOSTICS_STATUS_PAGE_URL", bare(emulator.api_root().as_str())),
        ("AIGNOSTICS_BUCKET_PROTOCOL", "gs".to_owned()),
        ("AIGNOSTICS_BUCKET_REGION_NAME", platform_emulator::BUCKET_REGION.to_owned()),
        ("AIGNOSTICS_BUCKET_ENDPOINT", bare(emulator.storage().as_str())),
        ("AWS_ENDPOINT_URL_S3", bare(emulator.storage().as_str())),
    ];
    if authority.is_none() {
        // The OAuth library of the official Python SDK refuses plain HTTP without it.
        variables.push(("OAUTHLIB_INSECURE_TRANSPORT", "1".to_owned()));
    }
    variables.extend(authority.iter().flat_map(|file| TRUST.map(|name| (name, file.display().to_string()))));
    Ok(variables)
}

/// Returns the ready line with all data that a client needs.
pub(super) fn ready(emulator: &Emulator, authority: Option<&Path>, variables: &[(&str, String)]) -> serde_json::Value {
    let config = emulator.config();
    let users = config.users.iter().map(
        |user| json!({ "id": user.id, "email": user.email, "name": user.name, "organization": user.organization }),
    );
    let organizations =
        config.organizations.iter().map(|organization| json!({ "id": organization.id, "name": organization.name }));
    json!({
        "status": "ready",
        "api_root": emulator.api_root().as_str(),
        "issuer": emulator.issuer().as_str(),
        "storage": emulator.storage().as_str(),
        "ca_file": authority,
        "audience": platform_emulator::AUDIENCE,
        "client_ids": {
            "interactive": platform_emulator::INTERACTIVE_CLIENT_ID,
            "device": platform_emulator::DEVICE_CLIENT_ID,
            "machine": platform_emulator::MACHINE_CLIENT_ID,
        },
        "machine_client_secret": platform_emulator::MACHINE_CLIENT_SECRET,
        "users": users.collect::<Vec<_>>(),
        "organizations": organizations.collect::<Vec<_>>(),
        "control": emulator.control_token().map(|token| json!({ "url": format!("{}_control", emulator.api_root()), "token": token })),
        "env": variables.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect::<serde_json::Map<_, _>>(),
    })
}
