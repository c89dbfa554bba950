//! The known platforms.

/// An Aignostics platform, identified by its API root.
pub(super) struct KnownPlatform {
    pub(super) name: &'static str,
    pub(super) api_root: &'static str,
    pub(super) issuer_host: &'static str,
    pub(super) audience: &'static str,
    pub(super) client_id: &'static str,
    pub(super) status_page: Option<&'static str>,
}

const PRODUCTION: KnownPlatform = KnownPlatform {
    name: "production",
    api_root: "https://platform.aignostics.com",
    issuer_host: "aignostics-platform.eu.auth0.com",
    audience: "https://aignostics-platform-samia",
    client_id: "YtJ7F9lAtxx16SZGQlYPe6wcjlXB78MM",
    status_page: Some("https://status.platform.aignostics.com"),
};
const STAGING: KnownPlatform = KnownPlatform {
    name: "staging",
    api_root: "https://platform-staging.aignostics.com",
    issuer_host: "aignostics-platform-staging.eu.auth0.com",
    audience: "https://aignostics-platform-staging-samia",
    client_id: "fQkbvYzQPPVwLxc3uque5JsyFW00rJ7b",
    status_page: Some("https://status.platform-staging.aignostics.com"),
};
const DEV: KnownPlatform = KnownPlatform {
    name: "dev",
    api_root: "https://platform-dev.aignostics.ai",
    issuer_host: "dev-8ouohmmrbuh2h4vu.eu.auth0.com",
    audience: "https://dev-8ouohmmrbuh2h4vu-samia",
    client_id: "gqduveFvx7LX90drQPGzr4JGUYdh24gA",
    status_page: None,
};
const TEST: KnownPlatform = KnownPlatform { name: "test", api_root: "https://platform-test.aignostics.ai", ..DEV };

/// The known platforms. The first one is the default.
pub(super) const KNOWN_PLATFORMS: [KnownPlatform; 4] = [PRODUCTION, STAGING, DEV, TEST];

impl KnownPlatform {
    /// Returns the platform with this API root, with or without a trailing slash.
    pub(super) fn find(api_root: &str) -> Option<&'static Self> {
        KNOWN_PLATFORMS.iter().find(|platform| platform.api_root == api_root.trim_end_matches('/'))
    }
}
