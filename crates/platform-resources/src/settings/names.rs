//! The names of the settings, without their prefix.

/// The prefix of the variables of all settings.
pub(super) const PREFIX: &str = "AIGNOSTICS_";

/// Settings that contain a secret. They are never in a profile, and token commands do not inherit them.
const SECRETS: [&str; 4] = ["ACCESS_TOKEN", "CLIENT_ID_DEVICE", "ID_TOKEN", "REFRESH_TOKEN"];

/// Settings that select the credential, or that it consists of.
const CREDENTIALS: [&str; 21] = [
    "ACCESS_TOKEN",
    "ACCESS_TOKEN_FILE",
    "CLIENT_ASSERTION_AUDIENCE",
    "CLIENT_AUTH",
    "CLIENT_CERTIFICATE_FILE",
    "CLIENT_ID",
    "CLIENT_KEY_FILE",
    "CLIENT_KEY_ID",
    "CLIENT_SECRET_FILE",
    "ID_TOKEN",
    "REFRESH_TOKEN",
    "TOKEN_CACHE",
    "TOKEN_COMMAND",
    "TOKEN_COMMAND_CACHE_ENV",
    "WORKLOAD_IDENTITY",
    "WORKLOAD_IDENTITY_AUDIENCE",
    "WORKLOAD_IDENTITY_FILE",
    "WORKLOAD_IDENTITY_GRANT",
    "WORKLOAD_IDENTITY_SCOPE",
    "WORKLOAD_IDENTITY_SUBJECT_TOKEN_TYPE",
    "WORKLOAD_IDENTITY_TOKEN_URL",
];

/// Other settings.
const OTHERS: [&str; 34] = [
    "API_ROOT",
    "AUDIENCE",
    "AUTHORIZATION_BACKOFF_SECONDS",
    "AUTHORIZATION_BASE_URL",
    "AUTH_JWK_SET_CACHE_TTL",
    "BUCKET_DOWNLOAD_SIGNED_URL_EXPIRATION_SECONDS",
    "BUCKET_ENDPOINT",
    "BUCKET_PROTOCOL",
    "BUCKET_REGION_NAME",
    "BUCKET_UPLOAD_SIGNED_URL_EXPIRATION_SECONDS",
    "CACHE_DIR",
    "CLIENT_ID_DEVICE",
    "CLIENT_ID_INTERACTIVE",
    "DEVICE_URL",
    "HEALTH_TIMEOUT",
    "JWS_JSON_URL",
    "ORGANIZATION_ID",
    "REDIRECT_URI",
    "REQUEST_TIMEOUT_SECONDS",
    "RETRY_FOR",
    "RETRY_FOR_TRANSFERS",
    "RETRY_FOR_UNANSWERED",
    "RUN_CANCEL_TIMEOUT",
    "RUN_DELETE_TIMEOUT",
    "RUN_SUBMIT_TIMEOUT",
    "SCOPE",
    "STATE_DIR",
    "STATUS_PAGE_URL",
    "TOKEN_URL",
    "TRANSFER_CHUNK_SIZE",
    "TRANSFER_JOBS",
    "TRANSFER_LIMIT_RATE",
    "TRANSFER_SHA256",
    "UPLOAD_READ_TIMEOUT",
];

/// Settings that describe a platform and its identity provider.
const OF_PLATFORM: [&str; 11] = [
    "API_ROOT",
    "AUDIENCE",
    "AUTHORIZATION_BASE_URL",
    "BUCKET_ENDPOINT",
    "CLIENT_ID_DEVICE",
    "CLIENT_ID_INTERACTIVE",
    "DEVICE_URL",
    "JWS_JSON_URL",
    "REDIRECT_URI",
    "STATUS_PAGE_URL",
    "TOKEN_URL",
];

/// Settings of each group of operations.
const GROUPS: [&str; 5] = ["AUTH", "ME", "APPLICATION", "APPLICATION_VERSION", "RUN"];
const OF_GROUPS: [&str; 5] = ["TIMEOUT", "RETRY_ATTEMPTS", "RETRY_WAIT_MIN", "RETRY_WAIT_MAX", "CACHE_TTL"];

/// The variable with the name of the profile.
pub(super) const PROFILE: &str = "PROFILE";
/// The variable that a token command finds in its environment.
pub(super) const IN_TOKEN_COMMAND: &str = "IN_TOKEN_COMMAND";

/// Returns true for a setting with this name without its prefix.
pub(super) fn is_known(name: &str) -> bool {
    let of_group = GROUPS.iter().any(|group| {
        let rest = name.strip_prefix(group).and_then(|rest| rest.strip_prefix('_'));
        rest.is_some_and(|rest| OF_GROUPS.contains(&rest))
    });
    of_group || CREDENTIALS.contains(&name) || OTHERS.contains(&name)
}

/// Returns true for a setting with a secret value, by its name without its prefix. Unknown names that end like those of
/// secrets count, because other programs of this user may set them.
pub(super) fn is_secret(name: &str) -> bool {
    let ends = ["_TOKEN", "_SECRET", "_PASSWORD", "_PRIVATE_KEY", "_DSN"];
    SECRETS.contains(&name) || ends.iter().any(|end| name.ends_with(end)) && !is_known(name)
}

/// Returns true for a setting that selects the credential, or that it consists of.
pub(super) fn is_credential(name: &str) -> bool {
    CREDENTIALS.contains(&name) || name == PROFILE
}

/// Returns true for a setting that describes a platform and its identity provider.
pub(super) fn is_of_platform(name: &str) -> bool {
    OF_PLATFORM.contains(&name)
}

/// Returns the names of all variables that select or contain a credential, and that of the profile.
pub(super) fn credentials() -> impl Iterator<Item = String> {
    CREDENTIALS.iter().chain([&PROFILE, &IN_TOKEN_COMMAND]).map(|name| format!("{PREFIX}{name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_groups_and_secrets_are_known() {
        for name in ["RUN_TIMEOUT", "APPLICATION_VERSION_CACHE_TTL", "TOKEN_URL", "ACCESS_TOKEN"] {
            assert!(is_known(name), "{name}");
        }
        for name in ["RUN_", "RUN_TIMEOUTS", "TIMEOUT", "ENV_FILE"] {
            assert!(!is_known(name), "{name}");
        }
        for (name, expected) in [
            ("ACCESS_TOKEN", true),
            ("SHARE_TOKEN", true),
            ("LOGFIRE_TOKEN", true),
            ("ACCESS_TOKEN_FILE", false),
            ("TOKEN_URL", false),
        ] {
            assert_eq!(is_secret(name), expected, "{name}");
        }
    }
}
