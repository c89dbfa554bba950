//! The connection to the platform, and the login.

use std::cell::OnceCell;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{anyhow, ensure};
use auth_core::is_redeeming;
use auth_http::Proxy;
use clap::Args;
use clap::builder::PossibleValuesParser;
use platform_resources::models::RunId;
use platform_resources::{Client, Service, Settings, SettingsBuilder};
use url::Url;

use crate::command_line::command_line;
use crate::error::CliError;
use crate::interruption::{FollowedRun, Interruption};
use crate::output::Output;
use crate::retries::{self, Retries};
use crate::signals::{SECTION_LIMIT, hold};
use crate::time::parse_duration;
use crate::transfers::Transfers;

/// The options for the connection to the platform.
#[derive(Args, Debug)]
pub(crate) struct ConnectionArgs {
    /// Platform to use: production, staging, dev or test [default: that of `AIGNOSTICS_API_ROOT`]
    #[arg(long, value_name = "NAME", value_parser = names(), global = true, hide_possible_values = true, help_heading = "Platform")]
    environment: Option<String>,
    /// File with additional trusted certificates (PEM). Can be repeated
    #[arg(long, value_name = "FILE", global = true, help_heading = "Platform")]
    ca_cert: Vec<PathBuf>,
    /// Proxy for HTTPS requests, except those to the hosts in `NO_PROXY` [env: `HTTPS_PROXY`]
    #[arg(long, value_name = "URL", global = true, help_heading = "Platform")]
    proxy: Option<String>,
    /// Maximum time for the whole command, such as 90s, 10m, 2h or 1d
    #[arg(long, value_name = "TIME", value_parser = parse_duration, global = true, help_heading = "Platform")]
    timeout: Option<Duration>,
    /// Maximum duration of an outage before a request fails; 0s disables retries [default: 5m; 30m for `run wait`, `run
    /// watch` and transfers; 30s on a terminal for commands that only read]
    #[arg(long, value_name = "TIME", value_parser = parse_duration, global = true, help_heading = "Platform")]
    retry_for: Option<Duration>,
    #[arg(skip)]
    retries: Retries,
    #[arg(skip)]
    transfers: Transfers,
    /// Accept every setting of the `.env` file in the working folder, including those of the login
    #[arg(long, global = true, help_heading = "Platform")]
    trust_env_file: bool,
    /// Profile in `~/.aignostics/profiles.toml` to use [env: `AIGNOSTICS_PROFILE`]
    #[arg(long, value_name = "NAME", global = true, help_heading = "Platform")]
    profile: Option<String>,
    /// File with the access token to use [env: `AIGNOSTICS_ACCESS_TOKEN_FILE`]
    #[arg(long, value_name = "FILE", global = true, help_heading = "Credential")]
    token_file: Option<PathBuf>,
    /// Command that prints the access token to use, without secret arguments [env: `AIGNOSTICS_TOKEN_COMMAND`]
    #[arg(long, value_name = "CMD", global = true, help_heading = "Credential")]
    token_command: Option<String>,
    /// Share the token that `--token-command` prints with other processes until it expires [env:
    /// `AIGNOSTICS_TOKEN_CACHE`]
    #[arg(long, global = true, help_heading = "Credential")]
    token_cache: bool,
}

impl ConnectionArgs {
    /// Returns the options with the retry limits of the command.
    pub(crate) fn with_retries(self, retries: Retries) -> Self {
        Self { retries, ..self }
    }

    /// Returns the options with those of the transfers of the command.
    pub(crate) fn with_transfers(self, transfers: Transfers) -> Self {
        Self { transfers, ..self }
    }

    pub(crate) fn settings(&self) -> Result<Settings, CliError> {
        let settings = Settings::of_this_process();
        let settings = self.environment.as_deref().into_iter().fold(settings, SettingsBuilder::with_environment);
        let settings = if self.trust_env_file { settings.trusting_working_folder() } else { settings };
        let settings = self.profile.iter().fold(settings, SettingsBuilder::with_profile);
        let settings = self.token_file.iter().fold(settings, SettingsBuilder::with_token_file);
        let settings = self.token_command.iter().fold(settings, SettingsBuilder::with_token_command);
        let settings = if self.token_cache { settings.with_token_cache() } else { settings };
        settings.build().map_err(CliError::bad_input)
    }

    /// Creates the service, which holds the login and creates clients.
    fn service(&self, output: &Output) -> Result<Service, CliError> {
        let mut settings = self.settings()?;
        self.retries.apply(self.retry_for, &mut settings);
        self.transfers.apply(&mut settings.transfer);
        let service = Service::builder(settings).with_hosts(retries::observed(output));
        let service = self.ca_cert.iter().fold(service, platform_resources::ServiceBuilder::with_root_certificates);
        let proxy = self.proxy.as_deref().map(parse_proxy).transpose().map_err(CliError::bad_input)?;
        let proxy = proxy.map(|url| Proxy::new(url).with_no_proxy_from_env());
        let service = proxy.into_iter().fold(service, platform_resources::ServiceBuilder::with_proxy);
        service.build().map_err(CliError::bad_input)
    }
}

fn names() -> PossibleValuesParser {
    PossibleValuesParser::new(Settings::environments().map(|(name, _)| name))
}

/// Returns the user's folder in the bucket: the name of the system user, or else the user id, as in containers without
/// `USER`.
pub(crate) fn bucket_user() -> String {
    let names = ["USER", "LOGNAME", "USERNAME"];
    let user = names.into_iter().find_map(|name| std::env::var(name).ok().filter(|user| !user.is_empty()));
    user.map_or_else(unnamed_user, |user| user.replace(['/', '\\'], "_"))
}

#[cfg(unix)]
fn unnamed_user() -> String {
    format!("uid-{}", rustix::process::getuid().as_raw())
}

#[cfg(not(unix))]
fn unnamed_user() -> String {
    "user".to_owned()
}

/// The context of all commands.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) output: Output,
    connection: ConnectionArgs,
    service: OnceCell<Service>,
    pub(crate) interruption: Interruption,
}

impl Context {
    pub(crate) fn new(output: Output, connection: ConnectionArgs) -> Self {
        Self { output, connection, service: OnceCell::new(), interruption: Interruption::default() }
    }

    /// Returns the settings of the platform.
    pub(crate) fn settings(&self) -> Result<Settings, CliError> {
        self.connection.settings()
    }

    /// Returns the service, which holds the login and creates clients. It is created on the first call.
    pub(crate) fn service(&self) -> Result<&Service, CliError> {
        if self.service.get().is_none() {
            // It is not set, as checked above.
            let _ = self.service.set(self.connection.service(&self.output)?);
        }
        Ok(self.service.get().ok_or_else(|| anyhow!("the service was not created"))?)
    }

    /// If the platform rejected a configured credential, replaces the advice to log in, which would not help, with the
    /// name of the credential.
    pub(crate) fn name_rejected_credential(&self, failure: CliError) -> CliError {
        let Some(service) = self.service.get() else { return failure };
        let credential = &service.settings().credential;
        match &credential.name {
            Some(name) if failure.is_login_required() => failure.rejected(credential.source.kind(), name),
            _ => failure,
        }
    }

    /// Returns a client for the logged-in user, without prompts.
    pub(crate) fn client(&self) -> Result<Client, CliError> {
        let client = self.service()?.client().map_err(CliError::bad_input)?;
        let client = client.with_critical_sections(&self.interruption.sections);
        Ok(self.timeout().into_iter().fold(client, Client::with_deadline))
    }

    /// Returns the time limit of the user.
    pub(crate) fn timeout(&self) -> Option<Duration> {
        self.connection.timeout
    }

    /// Runs `work` within the user's time limit. A creating request or a refresh finishes before the command ends.
    pub(crate) async fn within<T>(&self, work: impl Future<Output = Result<T, CliError>>) -> Result<T, CliError> {
        let mut work = Box::pin(work);
        let Some(time) = self.timeout() else { return work.await };
        tokio::select! {
            // `biased`, so that this limit is reported first: the requests have the same limit but start later.
            biased;
            _ = tokio::time::timeout(time, std::future::pending::<()>()) => {}
            outcome = &mut work => return outcome,
        }
        let sections = &self.interruption.sections;
        sections.close();
        let end = tokio::time::Instant::now() + SECTION_LIMIT;
        let is_held = || (sections.is_open() && tokio::time::Instant::now() < end) || is_redeeming();
        match hold(work.as_mut(), is_held).await {
            Some(outcome) => outcome,
            None => Err(CliError::time_out(anyhow!("timed out after {} s", time.as_secs()))),
        }
    }

    /// Runs `work` in a critical section, so that it is not interrupted.
    pub(crate) async fn in_critical_section<T>(
        &self,
        work: impl Future<Output = Result<T, CliError>>,
    ) -> Result<T, CliError> {
        let _section = self.interruption.sections.enter()?;
        work.await
    }

    /// Records that the command follows a run, and that the same command line, without the arguments in `left_out`,
    /// resumes it.
    pub(crate) fn follow(&self, run: &RunId, left_out: &[&str]) -> FollowedRun {
        self.interruption.follow(run, command_line(std::env::args_os(), left_out))
    }
}

/// Parses the proxy here and not in clap, whose errors would print the URL and a password in it.
fn parse_proxy(text: &str) -> anyhow::Result<Url> {
    let url: Url = text.parse().map_err(|_| anyhow!("--proxy expects a URL, such as http://proxy.example:3128"))?;
    ensure!(
        url.username().is_empty() && url.password().is_none(),
        "--proxy does not accept a user or a password, because other users of this machine could read them: \
         set HTTPS_PROXY in the environment instead"
    );
    Ok(url)
}
