//! How the platform is reached, as the environment and files say it.

mod description;
mod environment;
mod reader;
mod sources;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use auth_core::Secret;
use auth_http::retry::RetryPolicy;
use url::Url;

use environment::{ENVIRONMENTS, Environment};
use reader::Reader;

pub use reader::{SettingProblem, SettingsError};
pub use sources::SettingSource;

/// How the platform is reached and treated: everything that `AIGNOSTICS_…` variables say, with the defaults of the
/// environment that the root of the API belongs to. `Debug` shows no secret.
///
/// ```
/// use platform_resources::Settings;
///
/// let settings = Settings::builder()
///     .with_home("/home/user")
///     .with_variables([("AIGNOSTICS_API_ROOT", "https://platform-staging.aignostics.com"), ("AIGNOSTICS_RUN_TIMEOUT", "60")])
///     .build()?;
/// assert_eq!(settings.environment, Some("staging"));
/// assert_eq!(settings.run.timeout.as_secs(), 60);
/// # Ok::<(), platform_resources::SettingsError>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Settings {
    /// `production`, `staging`, `dev` or `test`; `None` for a platform that is none of these, such as an emulator.
    pub environment: Option<&'static str>,
    /// The root of the API (`API_ROOT`).
    pub api_root: Url,
    /// The issuer of its tokens: scheme and authority of `AUTHORIZATION_BASE_URL`.
    pub issuer: String,
    /// Where users log in (`AUTHORIZATION_BASE_URL`).
    pub authorization_url: Url,
    /// Where tokens come from (`TOKEN_URL`).
    pub token_url: Url,
    /// Where device logins begin (`DEVICE_URL`).
    pub device_url: Url,
    /// The keys of the issuer (`JWS_JSON_URL`).
    pub jwks_url: Url,
    /// Where a browser is sent back to (`REDIRECT_URI`).
    pub redirect_url: Url,
    /// The service that tokens are meant for (`AUDIENCE`).
    pub audience: String,
    /// The scopes to ask for (`SCOPE`, separated by commas).
    pub scopes: Vec<String>,
    /// The OAuth client for browsers (`CLIENT_ID_INTERACTIVE`).
    pub client_id_interactive: String,
    /// The OAuth client for devices (`CLIENT_ID_DEVICE`); no environment has one of its own.
    pub client_id_device: Option<Secret>,
    /// The organisation to log in for (`ORGANIZATION_ID`).
    pub organization_id: Option<String>,
    /// A login that is there already (`REFRESH_TOKEN`).
    pub refresh_token: Option<Secret>,
    /// Where logins are kept (`CACHE_DIR`).
    pub cache_folder: PathBuf,
    /// The folder for records of submissions (`STATE_DIR`). Default: `aignostics` in `XDG_STATE_HOME`, or else in
    /// `~/.local/state`.
    pub state_folder: PathBuf,
    /// Where people see how the platform is (`STATUS_PAGE_URL`).
    pub status_page_url: Option<Url>,
    /// Requests to the identity provider (`AUTH_…`): only how long one may take matters, as a refresh token cannot be sent
    /// twice.
    pub auth: OperationSettings,
    /// Who the user is (`ME_…`).
    pub me: OperationSettings,
    /// Applications (`APPLICATION_…`).
    pub application: OperationSettings,
    /// Versions of applications (`APPLICATION_VERSION_…`).
    pub application_version: OperationSettings,
    /// Runs (`RUN_…`).
    pub run: OperationSettings,
    /// The limits for transient failures (`RETRY_FOR…`).
    pub retry: RetrySettings,
    /// How long the keys of the issuer are kept (`AUTH_JWK_SET_CACHE_TTL`).
    pub jwks_lifetime: Duration,
    /// The longest time for a look at the platform's health (`HEALTH_TIMEOUT`).
    pub health_timeout: Duration,
    /// The longest time for a submission (`RUN_SUBMIT_TIMEOUT`).
    pub run_submit_timeout: Duration,
    /// The longest time for a cancellation (`RUN_CANCEL_TIMEOUT`).
    pub run_cancel_timeout: Duration,
    /// The longest time to delete results (`RUN_DELETE_TIMEOUT`).
    pub run_delete_timeout: Duration,
    /// The bucket of the organisation (`BUCKET_…`).
    pub bucket: BucketSettings,
    /// What a `.env` in the working folder said and may not say, by the names of the variables.
    pub ignored: Vec<String>,
    /// The `AIGNOSTICS_…` variables that say something, known ones and others, and where each was found.
    pub sources: BTreeMap<String, SettingSource>,
}

/// How a group of operations is treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OperationSettings {
    /// The longest time for one attempt (`…_TIMEOUT`): 0.1 to 300 s, 30 s unless something is said.
    pub timeout: Duration,
    /// The maximum number of attempts (`…_RETRY_ATTEMPTS`): up to 10. Without it, [time](Settings::retry) alone is the limit.
    pub attempts: Option<u32>,
    /// The longest wait after the first failure, which doubles with every other (`…_RETRY_WAIT_MIN`): up to 600 s, 0.25 s by default.
    pub wait_min: Option<Duration>,
    /// The longest wait of all (`…_RETRY_WAIT_MAX`): up to 600 s, 30 s by default.
    pub wait_max: Option<Duration>,
    /// How long an answer is kept (`…_CACHE_TTL`): up to a week, 0 for not at all.
    pub cache_lifetime: Duration,
}

/// The limits for transient failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RetrySettings {
    /// The longest time of uninterrupted failure of a request (`RETRY_FOR`): 5 minutes by default; 0 disables retries.
    pub limit: Duration,
    /// The same while a run is followed, and for transfers (`RETRY_FOR_TRANSFERS`): 30 minutes by default.
    pub transfer_limit: Duration,
    /// The longest time for a host that has not answered since the process started (`RETRY_FOR_UNANSWERED`): 60 s by default.
    pub unanswered_limit: Duration,
}

impl RetrySettings {
    /// Returns the policy for a single request.
    pub fn for_requests(&self) -> RetryPolicy {
        RetryPolicy::default().with_limit(self.limit).with_unanswered_limit(self.unanswered_limit)
    }

    /// Returns the policy for following a run, and for transfers.
    pub fn for_transfers(&self) -> RetryPolicy {
        self.for_requests().with_limit(self.transfer_limit)
    }
}

impl OperationSettings {
    /// Adds what is set for a group of operations to a policy.
    pub(crate) fn limit(&self, policy: RetryPolicy) -> RetryPolicy {
        let policy = self.attempts.into_iter().fold(policy, RetryPolicy::with_attempts);
        if self.wait_min.is_none() && self.wait_max.is_none() {
            return policy;
        }
        let waits = policy.backoff();
        let longest = self.wait_max.unwrap_or(waits.longest().max(self.wait_min.unwrap_or_default()));
        policy.with_waits(self.wait_min.unwrap_or(waits.first()), longest)
    }
}

/// The bucket of the organisation.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct BucketSettings {
    /// What its URLs begin with: `gs` (`BUCKET_PROTOCOL`).
    pub protocol: String,
    /// Where it lies (`BUCKET_REGION_NAME`).
    pub region: String,
    /// Where the storage is spoken to (`BUCKET_ENDPOINT`).
    pub endpoint: Url,
    /// How long a URL for an upload is good where nothing else is said (`BUCKET_UPLOAD_SIGNED_URL_EXPIRATION_SECONDS`): 60 s to 7 days.
    pub upload_lifetime: Duration,
    /// How long a URL for a download is good where nothing else is said (`BUCKET_DOWNLOAD_SIGNED_URL_EXPIRATION_SECONDS`): 60 s to 7 days.
    pub download_lifetime: Duration,
}

/// Says where settings come from.
#[derive(Clone, Debug, Default)]
pub struct SettingsBuilder {
    variables: BTreeMap<String, String>,
    working_folder: Option<PathBuf>,
    home: Option<PathBuf>,
    trusts_working_folder: bool,
    /// Variables whose values are not text, without their prefix.
    garbled: Vec<String>,
}

impl Settings {
    /// As the environment of this process says, a `.env` in its working folder, and the file named by
    /// `AIGNOSTICS_ENV_FILE` or else `~/.aignostics/.env`, in this order.
    ///
    /// # Errors
    ///
    /// [`SettingsError`] with all that is wrong.
    pub fn from_env() -> Result<Self, SettingsError> {
        Self::of_this_process().build()
    }

    /// The same, where more can be said first.
    pub fn of_this_process() -> SettingsBuilder {
        let named =
            std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string())));
        let (texts, garbled): (Vec<_>, Vec<_>) = named.partition(|(_, value)| value.is_ok());
        let garbled = garbled.iter().filter_map(|(name, _)| Some(name.strip_prefix(sources::PREFIX)?.to_owned()));
        SettingsBuilder {
            variables: texts.into_iter().filter_map(|(name, value)| Some((name, value.ok()?))).collect(),
            garbled: garbled.collect(),
            working_folder: std::env::current_dir().ok(),
            home: etcetera::home_dir().ok(),
            trusts_working_folder: false,
        }
    }

    /// The settings of the platform with this API root, which nothing outside decides about. What is not known of a platform
    /// that is none of the four – where its users log in – is taken to be at its root: its tokens come from elsewhere.
    ///
    /// # Errors
    ///
    /// The root is neither https, nor http on this machine.
    pub fn at(api_root: &Url) -> Result<Self, SettingsError> {
        let home = etcetera::home_dir().unwrap_or_else(|_| PathBuf::from("."));
        let cache = home.join(".aignostics/cache").display().to_string();
        let mut variables = vec![("AIGNOSTICS_API_ROOT", api_root.to_string()), ("AIGNOSTICS_CACHE_DIR", cache)];
        if Environment::find(api_root.as_str()).is_none() {
            let at = |path: &str| api_root.join(path).map(String::from).unwrap_or_default();
            variables.extend([
                ("AIGNOSTICS_AUDIENCE", api_root.to_string()),
                ("AIGNOSTICS_AUTHORIZATION_BASE_URL", at("/authorize")),
                ("AIGNOSTICS_CLIENT_ID_INTERACTIVE", "none".to_owned()),
                ("AIGNOSTICS_DEVICE_URL", at("/oauth/device/code")),
                ("AIGNOSTICS_JWS_JSON_URL", at("/.well-known/jwks.json")),
                ("AIGNOSTICS_REDIRECT_URI", "http://localhost:8989/".to_owned()),
                ("AIGNOSTICS_TOKEN_URL", at("/oauth/token")),
            ]);
        }
        // Not with the home itself, whose file would decide.
        Self::builder().with_variables(variables).build()
    }

    /// The platforms that there are: the name of each, and the root of its API.
    pub fn environments() -> impl Iterator<Item = (&'static str, &'static str)> {
        ENVIRONMENTS.iter().map(|environment| (environment.name, environment.api_root))
    }

    /// Settings that nothing outside decides about.
    pub fn builder() -> SettingsBuilder {
        SettingsBuilder::default()
    }

    /// Whether the platform is on this machine and spoken to without encryption, as an emulator is.
    pub fn is_plain_loopback(&self) -> bool {
        self.api_root.scheme() == "http"
    }
}

impl SettingsBuilder {
    /// Variables, beside those that are there.
    pub fn with_variables<N: Into<String>, V: Into<String>>(
        mut self,
        variables: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        self.variables.extend(variables.into_iter().map(|(name, value)| (name.into(), value.into())));
        self
    }

    /// The folder whose `.env` is read.
    pub fn with_working_folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.working_folder = Some(folder.into());
        self
    }

    /// The folder of the user, in which `.aignostics/.env` is read and logins are kept.
    pub fn with_home(mut self, home: impl Into<PathBuf>) -> Self {
        self.home = Some(home.into());
        self
    }

    /// Takes everything from the `.env` in the working folder, also what decides who is logged in where.
    pub fn trusting_working_folder(mut self) -> Self {
        self.trusts_working_folder = true;
        self
    }

    /// The settings.
    ///
    /// # Errors
    ///
    /// [`SettingsError`] with all that is wrong: values, files, and an unknown platform that is not described in full.
    pub fn build(self) -> Result<Settings, SettingsError> {
        let (home, working_folder) = (self.home.clone(), self.working_folder);
        let states = self.variables.get("XDG_STATE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
        let states = states.or_else(|| Some(home.as_ref()?.join(".local/state")));
        let mut reader =
            Reader::new(self.variables, working_folder, self.home, self.trusts_working_folder, self.garbled);
        let settings = read(&mut reader, home, states);
        reader.finish(settings)
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

/// Reads everything; what is wrong is noted by the reader, and something else put in its place.
fn read(reader: &mut Reader, home: Option<PathBuf>, states: Option<PathBuf>) -> Settings {
    let api_root = reader.url("API_ROOT", Some(ENVIRONMENTS[0].api_root));
    let environment = Environment::find(api_root.as_str());
    if environment.is_none() {
        reader.require_description(&api_root);
    }
    let of_issuer = |path: &str| environment.map(|known| format!("https://{}{path}", known.issuer_host));
    let authorization_url = reader.url("AUTHORIZATION_BASE_URL", of_issuer("/authorize").as_deref());
    let mut issuer = authorization_url.clone();
    issuer.set_path("/");
    issuer.set_query(None);
    let timeout = reader.seconds("REQUEST_TIMEOUT_SECONDS", 30.0, 0.1..=300.0);
    let wait = reader.optional_seconds("AUTHORIZATION_BACKOFF_SECONDS", 0.0..=600.0);
    let mut group = |name: &str, cache| reader.operation(name, timeout, wait, cache);
    let (auth, me) = (group("AUTH", 0.0), group("ME", 300.0));
    let (application, application_version) = (group("APPLICATION", 300.0), group("APPLICATION_VERSION", 300.0));
    let run = group("RUN", 15.0);
    let cache_folder = reader.folder("CACHE_DIR", home.map(|home| home.join(".aignostics/cache")));
    let state_folder = states.map_or_else(|| cache_folder.join("state"), |states| states.join("aignostics"));
    Settings {
        environment: environment.map(|known| known.name),
        issuer: issuer.into(),
        token_url: reader.url("TOKEN_URL", of_issuer("/oauth/token").as_deref()),
        device_url: reader.url("DEVICE_URL", of_issuer("/oauth/device/code").as_deref()),
        jwks_url: reader.url("JWS_JSON_URL", of_issuer("/.well-known/jwks.json").as_deref()),
        redirect_url: reader.url("REDIRECT_URI", Some("http://localhost:8989/")),
        audience: reader.text("AUDIENCE", environment.map(|known| known.audience)),
        scopes: reader.list("SCOPE", "offline_access"),
        client_id_interactive: reader.text("CLIENT_ID_INTERACTIVE", environment.map(|known| known.client_id)),
        client_id_device: reader.optional("CLIENT_ID_DEVICE").map(Secret::new),
        organization_id: reader.optional("ORGANIZATION_ID"),
        refresh_token: reader.secret("REFRESH_TOKEN", 10..=1000),
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
