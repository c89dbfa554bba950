mod child;
mod line;
mod message;
mod output;
mod printed;

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use auth_core::{AccessToken, AsyncTokenProvider, Clock, SystemClock, TokenError, TokenRequest};

use super::chain::ConfiguredProvider;
use super::error::{CredentialError, Origin};
use super::text::{check_expiry_and_audience, digest};
use child::ProgramOutput;

pub use line::command_line;
pub use printed::PrintedToken;

/// The default timeout of a program. It equals the default of Google's executable-sourced credentials.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A provider that runs a program and returns the token that the program prints.
///
/// The standard input of the program is empty. Its output may have up to 64 KiB, and is a token alone, or JSON in one
/// of these formats:
/// - an `ExecCredential` of kubectl (`client.authentication.k8s.io`),
/// - Google's executable-sourced credentials (`success`, `id_token` or `access_token`, `expiration_time`),
/// - a `credential_process` of AWS tools (`SessionToken`, `Expiration`),
/// - a token response of OAuth (`access_token`, `expires_in` or `expires_at`).
///
/// After the timeout, or if the call is canceled, the provider kills the process group of the program, which includes
/// its children. Errors contain the exit code and the last lines of stderr, without words that may be secret.
///
/// ```
/// use auth_core::{TokenKey, TokenSource};
/// use auth_oauth::{CommandProvider, command_line};
///
/// # fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let mut words = command_line("gcloud auth print-identity-token --audiences='https://platform.example'")?;
/// let provider = CommandProvider::new(words.remove(0)).with_arguments(words);
/// let source = TokenSource::new(TokenKey::new("https://issuer.example/"), provider);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct CommandProvider {
    origin: Origin,
    program: OsString,
    arguments: Vec<OsString>,
    removed_variables: Vec<OsString>,
    added_variables: Vec<(OsString, OsString)>,
    cache_variables: Vec<String>,
    timeout: Duration,
    audience: Option<String>,
    clock: Arc<dyn Clock>,
}

impl CommandProvider {
    /// Creates a provider that runs `program` without arguments. `program` is a path, or a name that is looked up in
    /// `PATH`.
    pub fn new(program: impl Into<OsString>) -> Self {
        let program = program.into();
        Self {
            origin: Origin::new("token command", program.to_string_lossy()),
            program,
            arguments: Vec::new(),
            removed_variables: Vec::new(),
            added_variables: Vec::new(),
            cache_variables: Vec::new(),
            timeout: TIMEOUT,
            audience: None,
            clock: Arc::new(SystemClock),
        }
    }

    /// Sets the arguments. They must not be secret, because other users of the machine can see them.
    pub fn with_arguments<S: Into<OsString>>(mut self, arguments: impl IntoIterator<Item = S>) -> Self {
        self.arguments = arguments.into_iter().map(Into::into).collect();
        self
    }

    /// Removes variables from the environment that the program inherits from this process.
    pub fn without_variables<S: Into<OsString>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.removed_variables.extend(names.into_iter().map(Into::into));
        self
    }

    /// Adds a variable to the environment of the program.
    pub fn with_variable(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.added_variables.push((name.into(), value.into()));
        self
    }

    /// Sets the names of environment variables on which the principal of the token depends. Their values become part of
    /// the identity, so that processes share a token only if the values are equal.
    pub fn with_cache_variables<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.cache_variables = names.into_iter().map(Into::into).collect();
        self
    }

    /// Sets the timeout of the program. The default is 30 s.
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets the required audience. A JWT with another audience is an error.
    pub fn with_audience(mut self, audience: impl Into<String>) -> Self {
        self.audience = Some(audience.into());
        self
    }

    /// Sets the clock that determines if a token has expired. The default is the system clock.
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    async fn token(&self) -> Result<AccessToken, CredentialError> {
        let ProgramOutput { exit_code, stdout, stderr } = child::run(self).await?;
        if exit_code != Some(0) {
            let outcome =
                exit_code.map_or_else(|| "it was ended by a signal".to_owned(), |code| format!("exit code {code}"));
            let message = message::redacted_message(&String::from_utf8_lossy(&stderr));
            let reason = if message.is_empty() { outcome } else { format!("{outcome}: {message}") };
            return Err(self.origin.unusable(reason, "run it in a terminal to find the cause"));
        }
        let token = output::parse_token(&self.origin, &stdout, self.clock.now())?;
        check_expiry_and_audience(&self.origin, &token, self.clock.now(), self.audience.as_deref())?;
        Ok(token)
    }

    /// Returns the path of the program, or `None` if there is no such file.
    fn program_path(&self) -> Option<PathBuf> {
        let program = Path::new(&self.program);
        if program.components().count() > 1 {
            return std::path::absolute(program).ok().filter(|path| path.is_file());
        }
        let folders = std::env::var_os("PATH")?;
        std::env::split_paths(&folders).map(|folder| folder.join(program)).find(|path| path.is_file())
    }

    fn program_not_found(&self) -> CredentialError {
        self.origin.unusable("the program does not exist", "check its path, or PATH")
    }
}

/// Shows neither arguments nor values of variables, because they might contain a secret.
impl fmt::Debug for CommandProvider {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let added_variables: Vec<_> = self.added_variables.iter().map(|(name, _)| name).collect();
        let debug = &mut formatter.debug_struct("CommandProvider");
        let debug = debug.field("program", &self.program).field("arguments", &self.arguments.len());
        debug
            .field("removed_variables", &self.removed_variables)
            .field("added_variables", &added_variables)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl AsyncTokenProvider for CommandProvider {
    async fn fetch(&self, _request: &TokenRequest) -> Result<AccessToken, TokenError> {
        Ok(self.token().await?)
    }

    /// Returns an identity derived from the program, its arguments, the user of the system, and the values of the
    /// [cache variables](Self::with_cache_variables).
    fn identity(&self) -> Option<String> {
        let program = self.program_path().unwrap_or_else(|| PathBuf::from(&self.program));
        let mut parts = vec![program.to_string_lossy().into_owned(), user_id()];
        parts.extend(self.arguments.iter().map(|argument| argument.to_string_lossy().into_owned()));
        let variable_value = |name: &String| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned());
        parts.extend(self.cache_variables.iter().map(|name| format!("{name}={:?}", variable_value(name))));
        Some(format!("token_command {}", digest(parts.iter().map(String::as_str))))
    }

    /// Returns a number that changes when the file of the program is replaced.
    fn credential_version(&self) -> u64 {
        let mut hash = DefaultHasher::new();
        let metadata = self.program_path().and_then(|path| std::fs::metadata(path).ok());
        metadata.map(|metadata| (metadata.len(), metadata.modified().ok())).hash(&mut hash);
        hash.finish()
    }
}

impl ConfiguredProvider for CommandProvider {
    fn check_configured(&self) -> Result<(), CredentialError> {
        match self.program_path() {
            Some(_) => Ok(()),
            None => Err(self.origin.not_configured("the program does not exist", "check its path, or PATH")),
        }
    }
}

/// Returns the id or the name of the user of this process.
fn user_id() -> String {
    #[cfg(unix)]
    {
        rustix::process::getuid().as_raw().to_string()
    }
    #[cfg(not(unix))]
    {
        std::env::var("USERNAME").unwrap_or_default()
    }
}

impl CommandProvider {
    /// Returns the command that starts the program.
    fn command(&self) -> tokio::process::Command {
        let mut command = tokio::process::Command::new(&self.program);
        command.args(&self.arguments);
        for name in &self.removed_variables {
            command.env_remove(name);
        }
        command.envs(self.added_variables.iter().map(|(name, value)| (name as &OsStr, value as &OsStr)));
        command
    }
}

#[cfg(all(test, unix))]
mod tests;
