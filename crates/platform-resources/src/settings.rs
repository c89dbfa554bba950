//! The settings of a platform, from the environment and from files.

mod activity;
mod builder;
mod credential;
mod description;
mod env_file;
mod environment;
mod file;
mod level;
mod names;
mod profile;
mod reader;
mod sources;
mod transfer;
mod trusted;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use auth_core::Secret;
use auth_http::retry::RetryPolicy;
use url::Url;

use environment::{KNOWN_PLATFORMS, KnownPlatform};
use reader::Reader;

pub use activity::Activity;
pub use builder::SettingsBuilder;
pub use credential::{ClientAuthentication, ClientCredential, CredentialSettings, CredentialSource};
pub use credential::{WorkloadCredential, WorkloadGrant, WorkloadSource};
pub use file::{SettingsFile, SettingsFileError};
pub use profile::{Profile, ProfileError, Profiles};
pub use reader::{SettingProblem, SettingsError};
pub use sources::SettingSource;
pub use transfer::{ByteSize, ByteSizeError, TransferSettings};

/// The settings of a platform: the values of all `AIGNOSTICS_…` variables. Defaults depend on the platform that the API
/// root belongs to. Names in parentheses are variables without the prefix `AIGNOSTICS_`. The `Debug` output contains no
/// secrets.
///
/// ```
/// use platform_resources::Settings;
///
/// let settings = Settings::builder()
///     .with_home("/home/user")
///     .with_variables([
///         ("AIGNOSTICS_API_ROOT", "https://platform-staging.aignostics.com"),
///         ("AIGNOSTICS_RUN_TIMEOUT", "60"),
///     ])
///     .build()?;
/// assert_eq!(settings.environment, Some("staging"));
/// assert_eq!(settings.run.timeout.as_secs(), 60);
/// # Ok::<(), platform_resources::SettingsError>(())
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct Settings {
    /// The name of the platform: `production`, `staging`, `dev` or `test`. `None` for any other platform, such as an
    /// emulator.
    pub environment: Option<&'static str>,
    /// The base URL of the API (`API_ROOT`).
    pub api_root: Url,
    /// The token issuer: the scheme and the authority of `AUTHORIZATION_BASE_URL`.
    pub issuer: String,
    /// The authorization endpoint (`AUTHORIZATION_BASE_URL`).
    pub authorization_url: Url,
    /// The token endpoint (`TOKEN_URL`).
    pub token_url: Url,
    /// The device authorization endpoint (`DEVICE_URL`).
    pub device_url: Url,
    /// The URL of the issuer's key set (`JWS_JSON_URL`).
    pub jwks_url: Url,
    /// The redirect URI of browser logins (`REDIRECT_URI`).
    pub redirect_url: Url,
    /// The audience of tokens (`AUDIENCE`).
    pub audience: String,
    /// The requested scopes (`SCOPE`, separated by commas).
    pub scopes: Vec<String>,
    /// The OAuth client for browser logins (`CLIENT_ID_INTERACTIVE`).
    pub client_id_interactive: String,
    /// The OAuth client for device logins (`CLIENT_ID_DEVICE`). It has no default.
    pub client_id_device: Option<Secret>,
    /// The organization to log in to (`ORGANIZATION_ID`).
    pub organization_id: Option<String>,
    /// The source of access tokens.
    pub credential: CredentialSettings,
    /// The selected profile (`PROFILE`, from the environment only). Its values are part of these settings.
    pub profile: Option<Profile>,
    /// The folder of stored logins (`CACHE_DIR`).
    pub cache_folder: PathBuf,
    /// The folder for journals of submissions and uploads (`STATE_DIR`). The default is `aignostics` in
    /// `XDG_STATE_HOME`, or else in `~/.local/state`.
    pub state_folder: PathBuf,
    /// The platform's public status page (`STATUS_PAGE_URL`).
    pub status_page_url: Option<Url>,
    /// The settings of requests to the identity provider (`AUTH_…`).
    pub auth: OperationSettings,
    /// The settings of requests for the user (`ME_…`).
    pub me: OperationSettings,
    /// The settings of requests for applications (`APPLICATION_…`).
    pub application: OperationSettings,
    /// The settings of requests for application versions (`APPLICATION_VERSION_…`).
    pub application_version: OperationSettings,
    /// The settings of all other requests, such as those for runs (`RUN_…`).
    pub run: OperationSettings,
    /// The limits for transient failures (`RETRY_FOR…`).
    pub retry: RetrySettings,
    /// The time for which the issuer's keys are cached (`AUTH_JWK_SET_CACHE_TTL`): up to a week. The default is a day.
    pub jwks_lifetime: Duration,
    /// The timeout of a health request (`HEALTH_TIMEOUT`): 0.1 to 300 s. The default is 30 s.
    pub health_timeout: Duration,
    /// The timeout of a submission (`RUN_SUBMIT_TIMEOUT`): 0.1 to 300 s. The default is 30 s.
    pub run_submit_timeout: Duration,
    /// The timeout of a cancellation (`RUN_CANCEL_TIMEOUT`): 0.1 to 300 s. The default is 30 s.
    pub run_cancel_timeout: Duration,
    /// The timeout of a request that deletes results (`RUN_DELETE_TIMEOUT`): 0.1 to 300 s. The default is 30 s.
    pub run_delete_timeout: Duration,
    /// The settings of the organization's bucket (`BUCKET_…`).
    pub bucket: BucketSettings,
    /// The settings of uploads and downloads (`TRANSFER_…`, `UPLOAD_READ_TIMEOUT`).
    pub transfer: TransferSettings,
    /// The names of the variables that were ignored, because the `.env` of the working folder must not set them, or
    /// because a file must not select a profile.
    pub ignored: Vec<String>,
    /// The sources of all `AIGNOSTICS_…` variables with a value, including unknown ones.
    pub sources: BTreeMap<String, SettingSource>,
}

/// The settings of a group of operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OperationSettings {
    /// The timeout of one attempt (`…_TIMEOUT`): 0.1 to 300 s. The default is 30 s.
    pub timeout: Duration,
    /// The maximum number of attempts (`…_RETRY_ATTEMPTS`): up to 10. By default, only their [time](Settings::retry) is
    /// limited.
    pub attempts: Option<u32>,
    /// The maximum pause after the first failure (`…_RETRY_WAIT_MIN`): up to 600 s. It doubles with each further
    /// failure. The default is 0.25 s.
    pub wait_min: Option<Duration>,
    /// The maximum pause after any failure (`…_RETRY_WAIT_MAX`): up to 600 s. The default is 30 s.
    pub wait_max: Option<Duration>,
    /// The time for which a response is cached (`…_CACHE_TTL`): up to a week; 0 disables the cache.
    pub cache_lifetime: Duration,
}

/// The time limits for retries of transient failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RetrySettings {
    /// The maximum time of uninterrupted failure of a request (`RETRY_FOR`): up to a week. The default is 5 minutes; 0
    /// disables retries.
    pub limit: Duration,
    /// The same limit for following a run and for transfers (`RETRY_FOR_TRANSFERS`). The default is 30 minutes.
    pub transfer_limit: Duration,
    /// The same limit for a host that has not responded since the process started (`RETRY_FOR_UNANSWERED`). The default
    /// is 60 s.
    pub unanswered_limit: Duration,
}

impl RetrySettings {
    /// Returns the policy for a single request.
    pub fn for_requests(&self) -> RetryPolicy {
        RetryPolicy::default().with_limit(self.limit).with_first_response_limit(self.unanswered_limit)
    }

    /// Returns the policy for following a run and for transfers.
    pub fn for_transfers(&self) -> RetryPolicy {
        self.for_requests().with_limit(self.transfer_limit)
    }
}

impl OperationSettings {
    /// Returns `policy` with the number of attempts and the pauses of these settings.
    pub(crate) fn apply_to(&self, policy: RetryPolicy) -> RetryPolicy {
        let policy = self.attempts.into_iter().fold(policy, RetryPolicy::with_attempts);
        if self.wait_min.is_none() && self.wait_max.is_none() {
            return policy;
        }
        let backoff = policy.backoff();
        let max_pause = self.wait_max.unwrap_or(backoff.max_bound().max(self.wait_min.unwrap_or_default()));
        policy.with_backoff(self.wait_min.unwrap_or(backoff.first_bound()), max_pause)
    }
}

/// The settings of the organization's bucket.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct BucketSettings {
    /// The protocol of object addresses: `gs` (`BUCKET_PROTOCOL`).
    pub protocol: String,
    /// The region (`BUCKET_REGION_NAME`).
    pub region: String,
    /// The endpoint of the storage (`BUCKET_ENDPOINT`).
    pub endpoint: Url,
    /// The lifetime of signed URLs for uploads (`BUCKET_UPLOAD_SIGNED_URL_EXPIRATION_SECONDS`): 60 s to 7 days. The
    /// default is 2 hours.
    pub upload_lifetime: Duration,
    /// The lifetime of signed URLs for downloads (`BUCKET_DOWNLOAD_SIGNED_URL_EXPIRATION_SECONDS`): 60 s to 7 days. The
    /// default is 7 days.
    pub download_lifetime: Duration,
}

impl Settings {
    /// Reads the settings, in this order of precedence: from the environment of the process, the profile that it
    /// selects, the `.env` in the working folder, and the file in `AIGNOSTICS_ENV_FILE` or else `~/.aignostics/.env`.
    ///
    /// # Errors
    ///
    /// [`SettingsError`] contains all problems.
    pub fn from_env() -> Result<Self, SettingsError> {
        Self::for_current_process().build()
    }

    /// Returns a builder with the sources of [`from_env`](Self::from_env).
    pub fn for_current_process() -> SettingsBuilder {
        SettingsBuilder::for_current_process()
    }

    /// Returns the settings of the platform with this API root, without reading the environment or files. For an
    /// unknown platform, the endpoints of the identity provider are placeholders below the root. The caller must then
    /// provide the tokens.
    ///
    /// # Errors
    ///
    /// The root is neither https, nor http on a loopback address.
    pub fn at(api_root: &Url) -> Result<Self, SettingsError> {
        let home = etcetera::home_dir().unwrap_or_else(|_| PathBuf::from("."));
        let cache = home.join(".aignostics/cache").display().to_string();
        let mut variables = vec![("AIGNOSTICS_API_ROOT", api_root.to_string()), ("AIGNOSTICS_CACHE_DIR", cache)];
        if KnownPlatform::find(api_root.as_str()).is_none() {
            let endpoint = |path: &str| api_root.join(path).map(String::from).unwrap_or_default();
            variables.extend([
                ("AIGNOSTICS_AUDIENCE", api_root.to_string()),
                ("AIGNOSTICS_AUTHORIZATION_BASE_URL", endpoint("/authorize")),
                ("AIGNOSTICS_CLIENT_ID_INTERACTIVE", "none".to_owned()),
                ("AIGNOSTICS_DEVICE_URL", endpoint("/oauth/device/code")),
                ("AIGNOSTICS_JWS_JSON_URL", endpoint("/.well-known/jwks.json")),
                ("AIGNOSTICS_REDIRECT_URI", "http://localhost:8989/".to_owned()),
                ("AIGNOSTICS_TOKEN_URL", endpoint("/oauth/token")),
            ]);
        }
        // The builder has no home folder, because it would read settings from it.
        Self::builder().with_variables(variables).build()
    }

    /// Returns the names and the API roots of the known platforms.
    pub fn environments() -> impl Iterator<Item = (&'static str, &'static str)> {
        KNOWN_PLATFORMS.iter().map(|platform| (platform.name, platform.api_root))
    }

    /// Returns the refresh token, if it is the source of access tokens.
    pub fn refresh_token(&self) -> Option<&Secret> {
        match &self.credential.source {
            CredentialSource::RefreshToken(secret) => Some(secret),
            _ => None,
        }
    }

    /// Returns a builder that reads only the variables and the files that are added to it.
    pub fn builder() -> SettingsBuilder {
        SettingsBuilder::default()
    }

    /// Removes the variables that select or contain a credential, a profile or another secret from the environment of a
    /// command, such as a command for another platform.
    pub fn remove_credentials(command: &mut std::process::Command) {
        let names_in_environment = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
        let is_secret = |name: &String| name.strip_prefix(names::PREFIX).is_some_and(names::is_secret);
        for name in names_in_environment.filter(is_secret).chain(names::credential_variables()) {
            command.env_remove(name);
        }
    }

    /// Returns true if the platform is on a loopback address without encryption, like an emulator.
    pub fn is_plain_loopback(&self) -> bool {
        self.api_root.scheme() == "http"
    }
}

const DAY: f64 = 24.0 * 60.0 * 60.0;
const WEEK: f64 = 7.0 * DAY;

fn read_retry(reader: &mut Reader) -> RetrySettings {
    RetrySettings {
        limit: reader.seconds("RETRY_FOR", 300.0, 0.0..=WEEK),
        transfer_limit: reader.seconds("RETRY_FOR_TRANSFERS", 1800.0, 0.0..=WEEK),
        unanswered_limit: reader.seconds("RETRY_FOR_UNANSWERED", 60.0, 0.0..=WEEK),
    }
}

/// Reads all settings. The reader records problems, and returns placeholders for invalid values.
fn read(reader: &mut Reader, home: Option<PathBuf>, state_home: Option<PathBuf>, profile: Option<Profile>) -> Settings {
    let api_root = reader.url("API_ROOT", Some(KNOWN_PLATFORMS[0].api_root));
    let environment = KnownPlatform::find(api_root.as_str());
    if environment.is_none() {
        reader.require_platform_settings(&api_root);
    }
    let issuer_url = |path: &str| environment.map(|known| format!("https://{}{path}", known.issuer_host));
    let authorization_url = reader.url("AUTHORIZATION_BASE_URL", issuer_url("/authorize").as_deref());
    let mut issuer = authorization_url.clone();
    issuer.set_path("/");
    issuer.set_query(None);
    let timeout = reader.seconds("REQUEST_TIMEOUT_SECONDS", 30.0, 0.1..=300.0);
    let wait = reader.optional_seconds("AUTHORIZATION_BACKOFF_SECONDS", 0.0..=600.0);
    let mut group = |name: &str, cache_seconds| reader.operation(name, timeout, wait, cache_seconds);
    let (auth, me) = (group("AUTH", 0.0), group("ME", 300.0));
    let (application, application_version) = (group("APPLICATION", 300.0), group("APPLICATION_VERSION", 300.0));
    let run = group("RUN", 15.0);
    let cache_folder = reader.folder("CACHE_DIR", home.map(|home| home.join(".aignostics/cache")));
    let state_folder =
        state_home.map_or_else(|| cache_folder.join("state"), |state_home| state_home.join("aignostics"));
    Settings {
        environment: environment.map(|known| known.name),
        issuer: issuer.into(),
        token_url: reader.url("TOKEN_URL", issuer_url("/oauth/token").as_deref()),
        device_url: reader.url("DEVICE_URL", issuer_url("/oauth/device/code").as_deref()),
        jwks_url: reader.url("JWS_JSON_URL", issuer_url("/.well-known/jwks.json").as_deref()),
        redirect_url: reader.url("REDIRECT_URI", Some("http://localhost:8989/")),
        audience: reader.text("AUDIENCE", environment.map(|known| known.audience)),
        scopes: reader.list("SCOPE", "offline_access"),
        client_id_interactive: reader.text("CLIENT_ID_INTERACTIVE", environment.map(|known| known.client_id)),
        client_id_device: reader.optional("CLIENT_ID_DEVICE").map(Secret::new),
        organization_id: reader.optional("ORGANIZATION_ID"),
        credential: credential::read(reader),
        profile,
        state_folder: reader.folder("STATE_DIR", Some(state_folder)),
        cache_folder,
        status_page_url: reader.optional_url("STATUS_PAGE_URL", environment.and_then(|known| known.status_page)),
        retry: read_retry(reader),
        jwks_lifetime: reader.seconds("AUTH_JWK_SET_CACHE_TTL", DAY, 0.0..=WEEK),
        health_timeout: reader.seconds("HEALTH_TIMEOUT", 30.0, 0.1..=300.0),
        run_submit_timeout: reader.seconds("RUN_SUBMIT_TIMEOUT", 30.0, 0.1..=300.0),
        run_cancel_timeout: reader.seconds("RUN_CANCEL_TIMEOUT", 30.0, 0.1..=300.0),
        run_delete_timeout: reader.seconds("RUN_DELETE_TIMEOUT", 30.0, 0.1..=300.0),
        bucket: BucketSettings {
            protocol: reader.text("BUCKET_PROTOCOL", Some("gs")),
            region: reader.text("BUCKET_REGION_NAME", Some("EUROPE-WEST3")),
            endpoint: reader.url("BUCKET_ENDPOINT", Some("https://storage.googleapis.com")),
            upload_lifetime: reader.seconds("BUCKET_UPLOAD_SIGNED_URL_EXPIRATION_SECONDS", 7200.0, 60.0..=WEEK),
            download_lifetime: reader.seconds("BUCKET_DOWNLOAD_SIGNED_URL_EXPIRATION_SECONDS", WEEK, 60.0..=WEEK),
        },
        transfer: transfer::read(reader),
        ignored: reader.ignored(),
        sources: reader.sources(),
        api_root,
        authorization_url,
        auth,
        me,
        application,
        application_version,
        run,
    }
}
