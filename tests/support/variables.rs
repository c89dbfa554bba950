//! The variables that point a command at an emulator.

use platform_emulator::{AUDIENCE, Emulator, INTERACTIVE_CLIENT_ID};

pub(crate) fn variables(emulator: &Emulator) -> Vec<(&'static str, String)> {
    let at = |path: &str| emulator.issuer().join(path).unwrap().to_string();
    vec![
        ("AIGNOSTICS_API_ROOT", emulator.api_root().to_string()),
        ("AIGNOSTICS_AUDIENCE", AUDIENCE.to_owned()),
        ("AIGNOSTICS_AUTHORIZATION_BASE_URL", at("authorize")),
        ("AIGNOSTICS_CLIENT_ID_INTERACTIVE", INTERACTIVE_CLIENT_ID.to_owned()),
        ("AIGNOSTICS_DEVICE_URL", at("oauth/device/code")),
        ("AIGNOSTICS_JWS_JSON_URL", at(".well-known/jwks.json")),
        ("AIGNOSTICS_REDIRECT_URI", "http://127.0.0.1:0/".to_owned()),
        ("AIGNOSTICS_TOKEN_URL", at("oauth/token")),
    ]
}
