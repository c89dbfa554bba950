//! What an emulated platform has, and how it behaves.

use std::collections::{BTreeMap, HashSet};

use serde::Deserialize;
use url::Url;

use crate::control::Fault;

/// What an emulated platform has, and how it behaves. Everything has a default; a file (TOML) names
/// what is to be different.
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
    /// The organisations; each has a bucket.
    pub organizations: Vec<OrganizationConfig>,
    /// Who can log in.
    pub users: Vec<UserConfig>,
    /// For so many milliseconds after a submission, the run is not found.
    pub replica_lag_ms: u64,
    /// One of so many items goes back from PROCESSING to PENDING once; 0 for none.
    pub interruptions: u32,
    /// The platform cancels each run after this number of items (`CANCELED_BY_SYSTEM`), and skips the others; never by default.
    pub cancel_runs_after_items: Option<usize>,
    /// Faults that are active from the start, as the control routes take them: see [`Fault`].
    pub faults: Vec<Fault>,
    /// How many times as fast as the platform an item is processed, which takes ten minutes there.
    /// 0 does not wait at all.
    pub speed: f64,
    /// How long an access token is good for, in seconds.
    pub access_token_seconds: u64,
    /// Within this many seconds, a refresh token that was just used can be used again.
    pub refresh_grace_seconds: u64,
    /// How long after the login its refresh tokens are good, in seconds.
    pub refresh_lifetime_seconds: u64,
    /// Logs in whoever is hinted at, or the first user, without a page.
    pub automatic_login: bool,
    /// Another provider whose tokens are accepted.
    pub external_issuer: Option<ExternalIssuer>,
    /// Names beside `localhost` by which the emulator is reached; requests for others are refused.
    pub hosts: Vec<String>,
    /// The URLs by which clients reach it, where they differ from those that it listens on.
    pub public: PublicUrls,
    /// How long a device has to wait between two questions, in seconds.
    pub device_interval_seconds: u64,
}

/// The roots of the servers as clients know them, where something stands in front that they pass: a server that speaks TLS,
/// the ports of a container. The emulator itself fetches slides from its storage by the URL that is named here.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PublicUrls {
    /// The root of the API, such as `https://localhost:8443/`.
    pub api_root: Option<String>,
    /// The identity provider, and so the issuer of tokens.
    pub issuer: Option<String>,
    /// The object storage.
    pub storage: Option<String>,
}

/// An organisation.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OrganizationConfig {
    /// Its id, as tokens name it in `org_id`.
    pub id: String,
    /// Its short name; its bucket is called after it.
    pub name: String,
    /// Its name for people; the short one unless something is said.
    #[serde(default)]
    pub display_name: Option<String>,
    /// How many slides it may submit; unlimited unless something is said.
    #[serde(default)]
    pub slide_quota: Option<usize>,
}

/// Somebody who can log in.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserConfig {
    /// Their id, the `sub` of their tokens.
    pub id: String,
    /// Their address.
    pub email: String,
    /// Their name.
    pub name: String,
    /// The id of their organisation.
    pub organization: String,
    /// What they may do in it.
    #[serde(default)]
    pub role: Role,
}

/// Another provider whose tokens are accepted, by the keys that it publishes.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExternalIssuer {
    /// The issuer, exactly as its tokens spell it.
    #[serde(default)]
    pub issuer: String,
    /// The audience that its tokens must have.
    pub audience: String,
    /// The id of the user for each subject of its tokens.
    pub subjects: BTreeMap<String, String>,
}

/// What a user may do in an organisation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Sees runs of their own.
    #[default]
    Member,
    /// Sees all runs of the organisation.
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
            faults: Vec::new(),
            speed: 0.0,
            access_token_seconds: 24 * 60 * 60,
            refresh_grace_seconds: 0,
            refresh_lifetime_seconds: 30 * 24 * 60 * 60,
            automatic_login: false,
            external_issuer: None,
            hosts: Vec::new(),
            public: PublicUrls::default(),
            device_interval_seconds: 5,
        }
    }
}

const YEAR: u64 = 365 * 24 * 60 * 60;

impl Config {
    /// What is wrong with it, if anything is: one sentence for each problem.
    pub(crate) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if self.organizations.is_empty() || self.users.is_empty() {
            problems.push("there must be at least one organization and one user".to_owned());
        }
        for (what, ids) in [
            ("organizations", self.organizations.iter().map(|organization| &organization.id).collect::<Vec<_>>()),
            ("users", self.users.iter().map(|user| &user.id).collect()),
            ("organizations by name", self.organizations.iter().map(|organization| &organization.name).collect()),
        ] {
            let mut seen = HashSet::new();
            problems.extend(ids.into_iter().filter(|id| !seen.insert(*id)).map(|id| format!("two {what} are `{id}`")));
        }
        for OrganizationConfig { name, .. } in &self.organizations {
            let fits =
                |character: char| character.is_ascii_lowercase() || character.is_ascii_digit() || character == '-';
            if name.is_empty() || name.len() > 40 || !name.chars().all(fits) {
                problems.push(format!("the name of an organization, `{name}`, must be 1 to 40 of a-z, 0-9 and `-`"));
            }
        }
        if let Some(ExternalIssuer { issuer, subjects, .. }) = &self.external_issuer {
            if issuer.is_empty() {
                problems.push("the external issuer has no `issuer`".to_owned());
            }
            for (subject, user) in
                subjects.iter().filter(|(_, user)| !self.users.iter().any(|known| known.id == **user))
            {
                problems.push(format!("the external subject `{subject}` is mapped to `{user}`, who is no user here"));
            }
        }
        for (name, url) in self.public.named() {
            if let Some(url) = url
                && root(url).is_none()
            {
                problems.push(format!("the public {name}, `{url}`, must be an http or https URL without a path"));
            }
        }
        for (name, value, most) in [
            ("replica_lag_ms", self.replica_lag_ms, YEAR * 1000),
            ("access_token_seconds", self.access_token_seconds, 10 * YEAR),
            ("refresh_grace_seconds", self.refresh_grace_seconds, 10 * YEAR),
            ("refresh_lifetime_seconds", self.refresh_lifetime_seconds, 10 * YEAR),
            ("device_interval_seconds", self.device_interval_seconds, 3600),
        ] {
            if value > most {
                problems.push(format!("{name}, {value}, must be at most {most}"));
            }
        }
        problems.extend(self.faults.iter().filter_map(|fault| fault.check().err()));
        if !(self.speed >= 0.0 && self.speed.is_finite()) {
            problems.push(format!("the speed, {}, must be 0 or more", self.speed));
        }
        for UserConfig { id, organization, .. } in &self.users {
            if !self.organizations.iter().any(|known| known.id == *organization) {
                problems.push(format!("user `{id}` belongs to `{organization}`, which is no organization here"));
            }
        }
        problems
    }
}

impl PublicUrls {
    fn named(&self) -> [(&'static str, Option<&str>); 3] {
        [("api_root", &self.api_root), ("issuer", &self.issuer), ("storage", &self.storage)]
            .map(|(name, url)| (name, url.as_deref()))
    }

    /// The API, the identity provider and the storage, as clients know those that listen there.
    pub(crate) fn of(&self, listening: [Url; 3]) -> [Url; 3] {
        let [api_root, issuer, storage] = self.named().map(|(_, url)| url.and_then(root));
        let [api, identity, objects] = listening;
        [api_root.unwrap_or(api), issuer.unwrap_or(identity), storage.unwrap_or(objects)]
    }
}

/// The root of a server, if the text is one.
fn root(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    let mut root = url.join("/").ok()?;
    let _ = (root.set_username(""), root.set_password(None));
    (root == url && matches!(url.scheme(), "http" | "https")).then_some(root)
}
