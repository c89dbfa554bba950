//! Content and behavior of an emulated platform.

mod application;

use std::collections::{BTreeMap, HashSet};

use serde::{Deserialize, Serialize};
use url::Url;

use crate::fault::Fault;

pub use application::{ApplicationConfig, FileConfig, Outcome, VersionConfig};
pub(crate) use application::{is_semantic_version, released_at};

/// Content and behavior of an emulated platform. Every field has a default, so that a TOML file can omit any field.
///
/// ```
/// let config: platform_emulator::Config = toml::from_str(r#"
///     replica_lag_ms = 0
///
///     [[organizations]]
///     id = "org_1"
///     name = "laboratory"
///     slide_quota = 10
///
///     [[users]]
///     id = "auth0|1"
///     email = "ada@laboratory.test"
///     name = "Ada"
///     organization = "org_1"
/// "#).unwrap();
/// assert_eq!(config.users[0].organization, "org_1");
/// ```
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Config {
    /// The organizations. Each has a bucket.
    pub organizations: Vec<OrganizationConfig>,
    /// The users who can log in.
    pub users: Vec<UserConfig>,
    /// The time in milliseconds after a submission for which the run is not found.
    pub replica_lag_ms: u64,
    /// On average, one of this number of items returns once from PROCESSING to PENDING. 0 disables interruptions.
    pub interruptions: u32,
    /// The number of items after which the platform cancels each run (`CANCELED_BY_SYSTEM`). The remaining items are
    /// skipped. Disabled by default.
    pub cancel_runs_after_items: Option<usize>,
    /// The maximum number of items with errors in a run. When more items have errors, the platform cancels the run
    /// (`SCHEDULER.ITEMS_WITH_ERROR_THRESHOLD_REACHED`). Unlimited by default.
    pub error_threshold: Option<usize>,
    /// Applications in addition to the built-in ones.
    pub applications: Vec<ApplicationConfig>,
    /// Faults that are active from the start, in the format of the control routes: see [`Fault`].
    pub faults: Vec<Fault>,
    /// The processing speed, relative to ten minutes per item. 0 disables the delay.
    pub speed: f64,
    /// The lifetime of an access token, in seconds.
    pub access_token_seconds: u64,
    /// The time in seconds for which the previous refresh token remains valid after a refresh.
    pub refresh_grace_seconds: u64,
    /// The lifetime of refresh tokens, in seconds after the login.
    pub refresh_lifetime_seconds: u64,
    /// Logs in the user of the login hint, or the first user, without showing a page.
    pub automatic_login: bool,
    /// Another identity provider whose tokens are accepted.
    pub external_issuer: Option<ExternalIssuer>,
    /// Adds the issuer to authorization responses (RFC 9207), and announces this in the discovery document.
    pub announce_iss: bool,
    /// Origins whose pages may send requests to all servers (CORS), such as `https://app.example`; `*` permits all.
    pub cors_origins: Vec<String>,
    /// Host names of the emulator in addition to `localhost`. Requests for other hosts are rejected.
    pub hosts: Vec<String>,
    /// The public URLs, if they differ from the addresses that the emulator listens on.
    pub public: PublicUrls,
    /// The minimum polling interval of a device login, in seconds.
    pub device_interval_seconds: u64,
    /// The lifetime of an incomplete upload, multipart or resumable, in seconds. A week by default.
    pub upload_lifetime_seconds: u64,
    /// The maximum size in bytes of the parts of all incomplete multipart uploads. 1 TiB by default.
    pub incomplete_upload_bytes: u64,
}

/// The public root URLs of the servers. They are necessary if clients connect through a TLS proxy or through mapped
/// container ports. The emulator also fetches slides from its own storage through the public URL.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PublicUrls {
    /// The root of the API, such as `https://localhost:8443/`.
    pub api_root: Option<String>,
    /// The identity provider, which is also the token issuer.
    pub issuer: Option<String>,
    /// The object storage.
    pub storage: Option<String>,
}

/// An organization.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct OrganizationConfig {
    /// The id, which is the `org_id` claim of tokens.
    pub id: String,
    /// The short name: 1 to 40 characters of a-z, 0-9 and `-`. The bucket is called `NAME-bucket`.
    pub name: String,
    /// The display name. The default is the short name.
    #[serde(default)]
    pub display_name: Option<String>,
    /// The maximum number of slides that the organization may submit. Unlimited by default.
    #[serde(default)]
    pub slide_quota: Option<usize>,
}

/// A user who can log in.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct UserConfig {
    /// The id, which is the `sub` claim of tokens.
    pub id: String,
    /// The email address.
    pub email: String,
    /// The display name.
    pub name: String,
    /// The id of the organization.
    pub organization: String,
    /// The role in the organization.
    #[serde(default)]
    pub role: Role,
}

/// An external identity provider. Its tokens are verified with its published keys.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExternalIssuer {
    /// The issuer URL, exactly as in the `iss` claim of the tokens.
    #[serde(default)]
    pub issuer: String,
    /// The required audience of the tokens.
    pub audience: String,
    /// The user ids of this emulator, by the subjects of the tokens.
    pub subjects: BTreeMap<String, String>,
}

/// The role of a user in an organization.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Can access only the user's own runs.
    #[default]
    Member,
    /// Can access all runs of the organization.
    Admin,
}

impl Default for Config {
    fn default() -> Self {
        let organization = |id: &str, name: &str, display_name: &str| OrganizationConfig {
            id: id.to_owned(),
            name: name.to_owned(),
            display_name: Some(display_name.to_owned()),
            slide_quota: None,
        };
        let user = |id: &str, email: &str, name: &str, organization: &str, role| UserConfig {
            id: id.to_owned(),
            email: email.to_owned(),
            name: name.to_owned(),
            organization: organization.to_owned(),
            role,
        };
        Self {
            organizations: vec![
                organization("org_emulator", "emulator", "Emulator Pathology"),
                organization("org_second", "second", "Second Laboratory"),
            ],
            users: vec![
                user("auth0|emulator-1", "ada@emulator.test", "Ada Emulator", "org_emulator", Role::Admin),
                user("auth0|emulator-2", "ben@emulator.test", "Ben Emulator", "org_emulator", Role::Member),
                user("auth0|second-1", "cleo@second.test", "Cleo Second", "org_second", Role::Member),
            ],
            replica_lag_ms: 100,
            interruptions: 16,
            cancel_runs_after_items: None,
            error_threshold: None,
            applications: Vec::new(),
            faults: Vec::new(),
            speed: 0.0,
            access_token_seconds: 24 * 60 * 60,
            refresh_grace_seconds: 0,
            refresh_lifetime_seconds: 30 * 24 * 60 * 60,
            automatic_login: false,
            external_issuer: None,
            announce_iss: false,
            cors_origins: Vec::new(),
            hosts: Vec::new(),
            public: PublicUrls::default(),
            device_interval_seconds: 5,
            upload_lifetime_seconds: 7 * 24 * 60 * 60,
            incomplete_upload_bytes: 1 << 40,
        }
    }
}

const YEAR_SECONDS: u64 = 365 * 24 * 60 * 60;

impl Config {
    /// Returns the problems of the configuration, one sentence each.
    pub(crate) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if self.organizations.is_empty() || self.users.is_empty() {
            problems.push("there must be at least one organization and one user".to_owned());
        }
        for (kind, ids) in [
            ("organizations have the id", self.organizations.iter().map(|config| &config.id).collect::<Vec<_>>()),
            ("users have the id", self.users.iter().map(|user| &user.id).collect()),
            ("organizations have the name", self.organizations.iter().map(|organization| &organization.name).collect()),
        ] {
            let mut seen = HashSet::new();
            problems.extend(ids.into_iter().filter(|id| !seen.insert(*id)).map(|id| format!("two {kind} `{id}`")));
        }
        for OrganizationConfig { name, .. } in &self.organizations {
            let is_permitted =
                |character: char| character.is_ascii_lowercase() || character.is_ascii_digit() || character == '-';
            if name.is_empty() || name.len() > 40 || !name.chars().all(is_permitted) {
                problems.push(format!("the name of an organization, `{name}`, must be 1 to 40 of a-z, 0-9 and `-`"));
            }
        }
        if let Some(ExternalIssuer { issuer, subjects, .. }) = &self.external_issuer {
            if issuer.is_empty() {
                problems.push("the external issuer has no `issuer`".to_owned());
            }
            for (subject, user) in
                subjects.iter().filter(|(_, user)| !self.users.iter().any(|known_user| known_user.id == **user))
            {
                problems.push(format!("the external subject `{subject}` is mapped to the unknown user `{user}`"));
            }
        }
        for (name, url) in self.public.named_urls() {
            if let Some(url) = url
                && parse_root_url(url).is_none()
            {
                problems.push(format!("the public {name}, `{url}`, must be an http or https URL without a path"));
            }
        }
        for (name, value, maximum) in [
            ("replica_lag_ms", self.replica_lag_ms, YEAR_SECONDS * 1000),
            ("access_token_seconds", self.access_token_seconds, 10 * YEAR_SECONDS),
            ("refresh_grace_seconds", self.refresh_grace_seconds, 10 * YEAR_SECONDS),
            ("refresh_lifetime_seconds", self.refresh_lifetime_seconds, 10 * YEAR_SECONDS),
            ("device_interval_seconds", self.device_interval_seconds, 3600),
            ("upload_lifetime_seconds", self.upload_lifetime_seconds, 10 * YEAR_SECONDS),
        ] {
            if value > maximum {
                problems.push(format!("{name}, {value}, must be at most {maximum}"));
            }
        }
        problems.extend(self.applications.iter().flat_map(|application| application.problems(self)));
        problems.extend(self.origin_problems());
        problems.extend(self.faults.iter().filter_map(|fault| fault.check().err()));
        if !(self.speed >= 0.0 && self.speed.is_finite()) {
            problems.push(format!("the speed, {}, must be 0 or more", self.speed));
        }
        for UserConfig { id, organization, .. } in &self.users {
            if !self.organizations.iter().any(|known_organization| known_organization.id == *organization) {
                problems.push(format!("user `{id}` belongs to the unknown organization `{organization}`"));
            }
        }
        problems
    }

    fn origin_problems(&self) -> impl Iterator<Item = String> {
        let is_origin = |text: &String| Url::parse(text).is_ok_and(|url| url.origin().ascii_serialization() == *text);
        let invalid_origins = self.cors_origins.iter().filter(move |origin| *origin != "*" && !is_origin(origin));
        invalid_origins
            .map(|origin| format!("the origin `{origin}` must be `*`, or scheme and host like `https://app.example`"))
    }
}

impl PublicUrls {
    fn named_urls(&self) -> [(&'static str, Option<&str>); 3] {
        [("api_root", &self.api_root), ("issuer", &self.issuer), ("storage", &self.storage)]
            .map(|(name, url)| (name, url.as_deref()))
    }

    /// Returns the roots of the API, the identity provider and the storage for clients. A server without a public URL
    /// is reached at its listening URL.
    pub(crate) fn or_listening_urls(&self, listening_urls: [Url; 3]) -> [Url; 3] {
        let [api_root, issuer, storage] = self.named_urls().map(|(_, url)| url.and_then(parse_root_url));
        let [api_default, issuer_default, storage_default] = listening_urls;
        [api_root.unwrap_or(api_default), issuer.unwrap_or(issuer_default), storage.unwrap_or(storage_default)]
    }
}

/// Parses the root URL of a server. Returns `None` if the text is not an http or https URL without a path.
fn parse_root_url(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    let mut root = url.join("/").ok()?;
    let _ = (root.set_username(""), root.set_password(None));
    (root == url && matches!(url.scheme(), "http" | "https")).then_some(root)
}
