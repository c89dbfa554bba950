//! The names of all settings, without their prefix.

/// The prefix of all variables.
pub(super) const PREFIX: &str = "AIGNOSTICS_";

/// The settings with a secret value. They must not be in a profile, and token commands do not inherit them.
const SECRETS: [&str; 4] = ["ACCESS_TOKEN", "CLIENT_ID_DEVICE", "ID_TOKEN", "REFRESH_TOKEN"];

/// The settings that select the credential, or are part of it.
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

/// All other settings, except those of groups of operations.
const OTHER_SETTINGS: [&str; 34] = [
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

/// The settings that describe a platform and its identity provider.
const PLATFORM_SETTINGS: [&str; 11] = [
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

/// The groups of operations. Each of them has all [`GROUP_SETTINGS`].
const GROUPS: [&str; 5] = ["AUTH", "ME", "APPLICATION", "APPLICATION_VERSION", "RUN"];
const GROUP_SETTINGS: [&str; 5] = ["TIMEOUT", "RETRY_ATTEMPTS", "RETRY_WAIT_MIN", "RETRY_WAIT_MAX", "CACHE_TTL"];

/// The setting that selects the profile.
pub(super) const PROFILE: &str = "PROFILE";
/// The variable that is set in the environment of a token command.
pub(super) const IN_TOKEN_COMMAND: &str = "IN_TOKEN_COMMAND";

/// Returns true if there is a setting with this name.
pub(super) fn is_known(name: &str) -> bool {
    let is_group_setting = GROUPS.iter().any(|group| {
        let rest = name.strip_prefix(group).and_then(|rest| rest.strip_prefix('_'));
        rest.is_some_and(|rest| GROUP_SETTINGS.contains(&rest))
    });
    is_group_setting || CREDENTIALS.contains(&name) || OTHER_SETTINGS.contains(&name)
}

/// Returns true if the value of the setting `name` is secret. Unknown names with an ending such as `_TOKEN` are also
/// secret, because other programs of the user may set them.
pub(super) fn is_secret(name: &str) -> bool {
    let secret_suffixes = ["_TOKEN", "_SECRET", "_PASSWORD", "_PRIVATE_KEY", "_DSN"];
    SECRETS.contains(&name) || secret_suffixes.iter().any(|suffix| name.ends_with(suffix)) && !is_known(name)
}

/// Returns true for a setting that selects the credential, is part of it, or selects the profile.
pub(super) fn is_credential(name: &str) -> bool {
    CREDENTIALS.contains(&name) || name == PROFILE
}

/// Returns true for a setting that describes a platform and its identity provider.
pub(super) fn describes_platform(name: &str) -> bool {
    PLATFORM_SETTINGS.contains(&name)
}

/// Returns the names of all variables that select or contain a credential or a profile.
pub(super) fn credential_variables() -> impl Iterator<Item = String> {
    CREDENTIALS.iter().chain([&PROFILE, &IN_TOKEN_COMMAND]).map(|name| format!("{PREFIX}{name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_and_secret_names_are_recognized() {
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

    /// Variables that are read only from the environment, and are therefore not settings.
    const ONLY_IN_ENVIRONMENT: [&str; 3] = [PROFILE, "ENV_FILE", "SHARE_TOKEN"];

    #[test]
    fn document_lists_each_setting_once() {
        let document = include_str!("../../../../docs/settings.md");
        let rows = document.lines().filter_map(|line| line.strip_prefix("| `AIGNOSTICS_")?.split('`').next());
        let mut documented: Vec<_> = rows.map(|name| name.replace("GROUP_", "RUN_")).collect();
        documented.sort();
        let group_settings = GROUP_SETTINGS.iter().map(|name| format!("RUN_{name}"));
        let other_settings =
            CREDENTIALS.iter().chain(&OTHER_SETTINGS).chain(&ONLY_IN_ENVIRONMENT).map(ToString::to_string);
        let mut known: Vec<_> = group_settings.chain(other_settings).collect();
        known.sort();
        assert_eq!(documented, known);
    }
}
