//! The connection to the platform, and the login.

use std::cell::OnceCell;
use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{anyhow, ensure};
use auth_core::has_redemption_without_source;
use auth_http::Proxy;
use clap::Args;
use clap::builder::PossibleValuesParser;
use platform_resources::models::RunId;
use platform_resources::{Activity, Client, Error, Service, Settings, SettingsBuilder};
use terminal::arguments::{command_line, parse_duration};
use terminal::{Output, SECTION_LIMIT, poll_while};
use url::Url;

use crate::error::{CliError, is_login_required, with_rejected_credential};
use crate::form::Form;
use crate::interruption::{EndFlag, Interruption};
use crate::transfers::AllTransferArgs;
use crate::waiting;

/// The options for the connection to the platform.
#[derive(Args, Debug)]
pub(crate) struct ConnectionArgs {
    /// Platform to use: production, staging, dev or test [default: that of `AIGNOSTICS_API_ROOT`]
    #[arg(long, value_name = "NAME", value_parser = environment_names(), global = true, hide_possible_values = true, help_heading = "Platform")]
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
    pub(crate) fn settings(&self) -> Result<Settings, CliError> {
        let settings = Settings::for_current_process();
        let settings = self.environment.as_deref().into_iter().fold(settings, SettingsBuilder::with_environment);
        let settings = if self.trust_env_file { settings.with_trusted_working_folder() } else { settings };
        let settings = self.profile.iter().fold(settings, SettingsBuilder::with_profile);
        let settings = self.token_file.iter().fold(settings, SettingsBuilder::with_token_file);
        let settings = self.token_command.iter().fold(settings, SettingsBuilder::with_token_command);
        let settings = if self.token_cache { settings.with_token_cache() } else { settings };
        settings.build().map_err(CliError::bad_input)
    }

    /// Creates the service, which holds the login and creates clients.
    fn service(&self, activity: Activity, transfers: AllTransferArgs, output: &Output) -> Result<Service, CliError> {
        let mut settings = self.settings()?;
        settings.limit_retries(activity, io::stderr().is_terminal(), self.retry_for);
        transfers.apply(&mut settings.transfer);
        let service = Service::builder(settings).with_hosts(waiting::hosts_with_notices(output));
        let service = self.ca_cert.iter().fold(service, platform_resources::ServiceBuilder::with_root_certificates);
        let proxy = self.proxy.as_deref().map(parse_proxy).transpose().map_err(CliError::bad_input)?;
        let proxy = proxy.map(|url| Proxy::new(url).with_no_proxy_from_env());
        let service = proxy.into_iter().fold(service, platform_resources::ServiceBuilder::with_proxy);
        service.build().map_err(CliError::bad_input)
    }
}

fn environment_names() -> PossibleValuesParser {
    PossibleValuesParser::new(Settings::environments().map(|(name, _)| name))
}

/// The context of all commands.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) output: Output,
    /// The value of `--format`.
    pub(crate) form: Option<Form>,
    connection: ConnectionArgs,
    service: OnceCell<Service>,
    pub(crate) interruption: Interruption,
}

impl Context {
    pub(crate) fn new(output: Output, form: Option<Form>, connection: ConnectionArgs) -> Self {
        Self { output, form, connection, service: OnceCell::new(), interruption: Interruption::default() }
    }

    pub(crate) fn settings(&self) -> Result<Settings, CliError> {
        self.connection.settings()
    }

    /// Returns the service, which holds the login and creates clients. The first call creates it for this activity.
    pub(crate) fn service(&self, activity: Activity) -> Result<&Service, CliError> {
        self.service_with(activity, AllTransferArgs::default())
    }

    fn service_with(&self, activity: Activity, transfers: AllTransferArgs) -> Result<&Service, CliError> {
        if let Some(service) = self.service.get() {
            return Ok(service);
        }
        let service = self.connection.service(activity, transfers, &self.output)?;
        Ok(self.service.get_or_init(|| service))
    }

    /// Names the configured credential that the platform rejected. Without one, returns the failure unchanged: its
    /// advice to log in helps only users of a stored login.
    pub(crate) fn name_rejected_credential(&self, failure: CliError) -> CliError {
        let Some(service) = self.service.get() else { return failure };
        let credential = &service.settings().credential;
        match &credential.name {
            Some(name) if is_login_required(&failure) => {
                with_rejected_credential(failure, credential.source.kind(), name)
            }
            _ => failure,
        }
    }

    /// Returns a client for the logged-in user, without prompts.
    pub(crate) fn client(&self, activity: Activity) -> Result<Client, CliError> {
        self.client_with(activity, AllTransferArgs::default())
    }

    /// Returns a client for a command that only reads.
    pub(crate) fn read_client(&self) -> Result<Client, CliError> {
        self.client(Activity::Reading)
    }

    /// Returns a client for a command that changes something.
    pub(crate) fn write_client(&self) -> Result<Client, CliError> {
        self.client(Activity::Changing)
    }

    /// Returns a client for a command that transfers files with these options.
    pub(crate) fn transfer_client(&self, transfers: impl Into<AllTransferArgs>) -> Result<Client, CliError> {
        self.client_with(Activity::Transferring, transfers.into())
    }

    fn client_with(&self, activity: Activity, transfers: AllTransferArgs) -> Result<Client, CliError> {
        let client = self.service_with(activity, transfers)?.client().map_err(CliError::bad_input)?;
        let client = client.with_critical_sections(&self.interruption.sections);
        Ok(self.timeout().into_iter().fold(client, Client::with_deadline))
    }

    /// Returns the value of `--timeout`.
    pub(crate) fn timeout(&self) -> Option<Duration> {
        self.connection.timeout
    }

    /// Runs `work` within the time limit of `--timeout`. An open critical section and a redemption may exceed the
    /// limit.
    pub(crate) async fn with_timeout<T>(&self, work: impl Future<Output = Result<T, CliError>>) -> Result<T, CliError> {
        let mut work = Box::pin(work);
        let Some(limit) = self.timeout() else { return work.await };
        tokio::select! {
            // Polls this timeout first. A request has the same limit but starts later, and its error would be less
            // clear.
            biased;
            _ = tokio::time::timeout(limit, std::future::pending::<()>()) => {}
            outcome = &mut work => return outcome,
        }
        let sections = &self.interruption.sections;
        sections.close();
        let deadline = tokio::time::Instant::now() + SECTION_LIMIT;
        let must_continue =
            || (sections.is_open() && tokio::time::Instant::now() < deadline) || has_redemption_without_source();
        match poll_while(work.as_mut(), must_continue).await {
            Some(outcome) => outcome,
            None => Err(CliError::timed_out(format_args!("timed out after {} s", limit.as_secs()))),
        }
    }

    /// Runs `work` in a critical section, which a signal or a timeout does not interrupt.
    pub(crate) async fn in_critical_section<T>(
        &self,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, CliError> {
        let _section = self.interruption.sections.enter()?;
        Ok(work.await?)
    }

    /// Records that the command follows a run, and that the same command line, without the arguments in `omitted`,
    /// resumes it.
    pub(crate) fn follow(&self, run: &RunId, omitted: &[&str]) -> EndFlag {
        self.interruption.follow(run, command_line("aignostics", std::env::args_os(), omitted))
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
