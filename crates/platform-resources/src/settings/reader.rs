//! A reader that parses values and records all problems.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use auth_core::Authority;
use url::Url;

use super::names::{self, PREFIX};
use super::sources::{ENV_FILE, Layer, SettingSource, UnusableSource};
use super::{OperationSettings, Profile, Settings};

/// The settings that are required for an unknown platform.
const REQUIRED_FOR_UNKNOWN_PLATFORM: [&str; 6] =
    ["AUDIENCE", "AUTHORIZATION_BASE_URL", "CLIENT_ID_INTERACTIVE", "DEVICE_URL", "JWS_JSON_URL", "TOKEN_URL"];

/// The message for a URL to which no secrets may be sent.
pub(super) const INVALID_URL: &str =
    "must be an https URL, or an http URL of this machine, without a user and a fragment";

/// The error of invalid settings. It contains all problems with their sources, but no values, because these may be
/// secret.
#[derive(Debug)]
pub struct SettingsError(Vec<SettingProblem>);

/// A problem with one setting.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SettingProblem {
    /// The name of the variable, or the path of the file.
    pub name: String,
    /// The source of the value.
    pub source: SettingSource,
    /// The description of the problem or of the expected value.
    pub message: String,
}

impl SettingsError {
    /// Returns all problems, in the order of the settings.
    pub fn problems(&self) -> &[SettingProblem] {
        &self.0
    }
}

impl fmt::Display for SettingsError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("invalid settings")?;
        self.0.iter().try_for_each(|problem| write!(formatter, "; {problem}"))
    }
}

impl std::error::Error for SettingsError {}

impl fmt::Display for SettingProblem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, source, message } = self;
        match source {
            SettingSource::Default => write!(formatter, "{name} {message}"),
            source => write!(formatter, "{name} (from {source}) {message}"),
        }
    }
}

/// The layers of settings in order of precedence, and the problems that were found.
pub(super) struct Reader {
    layers: Vec<Layer>,
    /// All variables of the environment, including those of other programs.
    environment: BTreeMap<String, String>,
    ignored: Vec<String>,
    problems: Vec<SettingProblem>,
}

impl Reader {
    pub(super) fn new(
        flags: BTreeMap<String, String>,
        variables: BTreeMap<String, String>,
        working_folder: Option<PathBuf>,
        home: Option<PathBuf>,
        trusts_working_folder: bool,
        not_utf8: Vec<String>,
    ) -> Self {
        let environment = variables.clone();
        let layers = vec![Layer::new(SettingSource::Flag, flags), Layer::new(SettingSource::Environment, variables)];
        let mut reader = Self { layers, environment, ignored: Vec::new(), problems: Vec::new() };
        for name in not_utf8 {
            reader.record_problem(&name, SettingSource::Environment, "is not UTF-8");
        }
        if let Some(path) = working_folder.map(|folder| folder.join(".env"))
            && let Some(mut layer) = Layer::working_folder(&path)
        {
            let untrusted = if trusts_working_folder { Vec::new() } else { layer.remove_untrusted(&path) };
            for unusable in untrusted {
                reader.record_unusable(unusable);
            }
            reader.layers.push(layer);
        }
        let env_file = reader.layers.iter().find_map(|layer| layer.get(ENV_FILE)).map(PathBuf::from);
        let file = match (env_file, home) {
            (Some(path), _) => Layer::file(&path).map(Some),
            (None, Some(home)) => Layer::trusted_file(&home.join(".aignostics/.env")),
            (None, None) => Ok(None),
        };
        match file {
            Ok(layer) => reader.layers.extend(layer),
            Err(unusable) => reader.record_unusable(unusable),
        }
        let misplaced_profiles: Vec<_> = reader.layers.iter_mut().filter_map(Layer::take_profile).collect();
        for unusable in misplaced_profiles {
            reader.record_unusable(unusable);
        }
        reader
    }

    /// Adds the settings of a profile. Flags and the environment take precedence over them.
    pub(super) fn add_profile(&mut self, profile: &Profile) {
        self.layers.insert(2, Layer::new(SettingSource::Profile(profile.name.clone()), profile.variables.clone()));
    }

    /// Removes the settings that describe other platforms, so that the servers of two platforms are never mixed. On
    /// each level below the first level with an API root, such settings are removed unless the level has the same API
    /// root. Credentials are not removed.
    pub(super) fn remove_other_platforms(&mut self) {
        let api_root = |layer: &Layer| layer.get(&format!("{PREFIX}API_ROOT")).map(normalize_root);
        let Some(first_level) = self.layers.iter().position(|layer| api_root(layer).is_some()) else { return };
        let platform = api_root(&self.layers[first_level]);
        for layer in &mut self.layers[first_level + 1..] {
            if api_root(layer) != platform {
                layer.remove_platform();
            }
        }
    }

    /// Records that the profile cannot be used.
    pub(super) fn unusable_profile(&mut self, source: SettingSource, reason: &str) {
        self.record_problem(names::PROFILE, source, format!("names a profile that cannot be used: {reason}"));
    }

    /// Returns all levels in order of precedence.
    pub(super) fn levels(&self) -> Vec<SettingSource> {
        self.layers.iter().map(|layer| layer.source.clone()).collect()
    }

    pub(super) fn text_at_level(&self, level: &SettingSource, name: &str) -> Option<String> {
        let variable = format!("{PREFIX}{name}");
        let mut layers = self.layers.iter().filter(|layer| layer.source == *level);
        layers.find_map(|layer| layer.get(&variable)).map(str::to_owned)
    }

    /// Returns an environment variable by its full name, unless it is empty.
    pub(super) fn variable(&self, name: &str) -> Option<String> {
        self.environment.get(name).filter(|value| !value.is_empty()).cloned()
    }

    /// Returns the names of the `AIGNOSTICS_…` environment variables with secrets.
    pub(super) fn secret_variables(&self) -> Vec<String> {
        let is_secret = |name: &&String| name.strip_prefix(PREFIX).is_some_and(names::is_secret);
        self.environment.keys().filter(is_secret).cloned().collect()
    }

    fn record_unusable(&mut self, unusable: UnusableSource) {
        match unusable {
            UnusableSource::File(path, reason) => {
                let message = format!("cannot be read: {reason}");
                let (name, source) = (path.display().to_string(), SettingSource::Default);
                self.problems.push(SettingProblem { name, source, message });
            }
            UnusableSource::Untrusted(name, path) => {
                tracing::warn!(name, path = %path.display(), "ignoring a setting of the working folder: only the environment or {ENV_FILE} can set it");
                self.ignored.push(name);
            }
            UnusableSource::Profile(path) => {
                let name = format!("{PREFIX}{}", names::PROFILE);
                tracing::warn!(name, path = %path.display(), "ignoring the profile in a file: only the environment or a flag can select one");
                self.ignored.push(name);
            }
        }
    }

    pub(super) fn ignored(&mut self) -> Vec<String> {
        std::mem::take(&mut self.ignored)
    }

    /// Returns the variables with a value, and for each variable the source whose value is used.
    pub(super) fn sources(&self) -> BTreeMap<String, SettingSource> {
        let mut sources = BTreeMap::new();
        for layer in self.layers.iter().rev() {
            sources.extend(layer.names().map(|name| (name.to_owned(), layer.source.clone())));
        }
        sources
    }

    pub(super) fn finish(self, settings: Settings) -> Result<Settings, SettingsError> {
        if self.problems.is_empty() { Ok(settings) } else { Err(SettingsError(self.problems)) }
    }

    fn find(&self, name: &str) -> Option<(SettingSource, String)> {
        let variable = format!("{PREFIX}{name}");
        self.layers.iter().find_map(|layer| Some((layer.source.clone(), layer.get(&variable)?.to_owned())))
    }

    pub(super) fn record_problem(&mut self, name: &str, source: SettingSource, message: impl Into<String>) {
        let name = format!("{PREFIX}{name}");
        self.problems.push(SettingProblem { name, source, message: message.into() });
    }

    /// Records the missing settings of an unknown platform.
    pub(super) fn require_platform_settings(&mut self, api_root: &Url) {
        let missing = REQUIRED_FOR_UNKNOWN_PLATFORM.iter().filter(|name| self.find(name).is_none());
        let missing: Vec<_> = missing.map(|name| format!("{PREFIX}{name}")).collect();
        if !missing.is_empty() {
            let source = self.find("API_ROOT").map_or(SettingSource::Default, |(source, _)| source);
            let host = api_root.host_str().unwrap_or_default();
            let message = format!("names the unknown platform {host}: {} must be set too", missing.join(", "));
            self.record_problem("API_ROOT", source, message);
        }
    }

    pub(super) fn optional(&self, name: &str) -> Option<String> {
        Some(self.find(name)?.1)
    }

    /// Returns a text, or an empty text if it is missing.
    /// [`require_platform_settings`](Self::require_platform_settings) reports missing texts.
    pub(super) fn text(&self, name: &str, default: Option<&str>) -> String {
        self.optional(name).or_else(|| default.map(str::to_owned)).unwrap_or_default()
    }

    /// Returns a list of values that are separated by commas or spaces.
    pub(super) fn list(&self, name: &str, default: &str) -> Vec<String> {
        split(&self.text(name, Some(default)))
    }

    pub(super) fn url(&mut self, name: &str, default: Option<&str>) -> Url {
        self.optional_url(name, default).unwrap_or_else(placeholder_url)
    }

    /// Returns a URL to which secrets may be sent: https, or http on a loopback address.
    pub(super) fn optional_url(&mut self, name: &str, default: Option<&str>) -> Option<Url> {
        let (source, text) = self.find(name).or_else(|| Some((SettingSource::Default, default?.to_owned())))?;
        let url = Self::checked_url(&text);
        if url.is_none() {
            self.record_problem(name, source, INVALID_URL);
        }
        url
    }

    /// Parses a URL. Returns `None` if it is not valid, or if secrets must not be sent to it.
    pub(super) fn checked_url(text: &str) -> Option<Url> {
        let url = Url::parse(text).ok().filter(|url| Authority::of(url).is_confidential(true))?;
        (url.username().is_empty() && url.password().is_none() && url.fragment().is_none()).then_some(url)
    }

    pub(super) fn folder(&mut self, name: &str, default: Option<PathBuf>) -> PathBuf {
        let path = self.optional(name).map(PathBuf::from).or(default);
        path.unwrap_or_else(|| {
            self.record_problem(
                name,
                SettingSource::Default,
                "must name a folder, because the user has no home folder",
            );
            PathBuf::new()
        })
    }

    /// Returns a time in seconds, possibly with a fraction.
    pub(super) fn seconds(&mut self, name: &str, default: f64, range: RangeInclusive<f64>) -> Duration {
        let value = self.number(name, range, "seconds").unwrap_or(default);
        Duration::from_secs_f64(value)
    }

    /// Returns a time in seconds, or `None` if it is not set.
    pub(super) fn optional_seconds(&mut self, name: &str, range: RangeInclusive<f64>) -> Option<Duration> {
        self.number(name, range, "seconds").map(Duration::from_secs_f64)
    }

    /// Returns a value converted by `parse`. If `parse` returns `None`, records `message` as a problem.
    pub(super) fn parsed<T>(&mut self, name: &str, message: &str, parse: impl Fn(&str) -> Option<T>) -> Option<T> {
        let (source, text) = self.find(name)?;
        let value = parse(text.trim());
        if value.is_none() {
            self.record_problem(name, source, message);
        }
        value
    }

    fn number(&mut self, name: &str, range: RangeInclusive<f64>, unit: &str) -> Option<f64> {
        let (source, text) = self.find(name)?;
        let number = text.trim().parse().ok().filter(|number| range.contains(number));
        if number.is_none() {
            self.record_problem(name, source, format!("must be {} to {} {unit}", range.start(), range.end()));
        }
        number
    }

    /// Returns the settings of a group of operations. The defaults are `timeout`, `wait_min` and
    /// `cache_seconds`, the lifetime of cached responses.
    pub(super) fn operation(
        &mut self,
        group: &str,
        timeout: Duration,
        wait_min: Option<Duration>,
        cache_seconds: f64,
    ) -> OperationSettings {
        let name = |setting: &str| format!("{group}_{setting}");
        let attempts = self.number(&name("RETRY_ATTEMPTS"), 0.0..=10.0, "attempts");
        // A fraction is truncated, and 0 counts as 1.
        let whole_number =
            |attempts| (1..=10).take_while(|attempt| f64::from(*attempt) <= attempts).last().unwrap_or(1);
        let settings = OperationSettings {
            timeout: self.seconds(&name("TIMEOUT"), timeout.as_secs_f64(), 0.1..=300.0),
            attempts: attempts.map(whole_number),
            wait_min: self.optional_seconds(&name("RETRY_WAIT_MIN"), 0.0..=600.0).or(wait_min),
            wait_max: self.optional_seconds(&name("RETRY_WAIT_MAX"), 0.0..=600.0),
            cache_lifetime: self.seconds(&name("CACHE_TTL"), cache_seconds, 0.0..=7.0 * 24.0 * 60.0 * 60.0),
        };
        if settings.wait_max.is_some_and(|max| settings.wait_min.is_some_and(|min| min > max)) {
            let source = self.find(&name("RETRY_WAIT_MAX")).map_or(SettingSource::Default, |(source, _)| source);
            self.record_problem(
                &name("RETRY_WAIT_MAX"),
                source,
                format!("must not be less than {PREFIX}{}", name("RETRY_WAIT_MIN")),
            );
        }
        settings
    }
}

/// Returns an API root in a normal form, in which equal roots are equal texts.
fn normalize_root(api_root: &str) -> String {
    let root = Url::parse(api_root).map_or_else(|_| api_root.to_owned(), String::from);
    root.trim_end_matches('/').to_owned()
}

/// Returns the values in a text that are separated by commas or spaces.
pub(super) fn split(text: &str) -> Vec<String> {
    text.split([',', ' ']).filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

/// Returns a placeholder for a missing URL. It is never used, because settings with problems are not returned.
#[expect(clippy::expect_used, reason = "the constant is a valid URL")]
fn placeholder_url() -> Url {
    Url::parse("https://placeholder.invalid/").expect("the constant is a valid URL")
}
