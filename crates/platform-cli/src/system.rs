//! `aignostics system`: the health of the platform, and the configuration of this command.

use std::env::consts;

use anyhow::anyhow;
use clap::{Args, Subcommand};
use platform_resources::{Activity, Health, SettingsFile};
use serde_json::json;
use terminal::{Output, print};

use crate::context::Context;
use crate::error::{CliError, UNHEALTHY};

#[derive(Subcommand)]
pub(crate) enum Action {
    /// Show the health of the platform as JSON; needs no login. Exit code 2 if it is not UP
    Health,
    /// Show the version and the configuration of this command as JSON without secrets, for support requests
    Info(PythonCompatArgs),
    /// Show the settings and their sources; secrets are masked
    Config {
        #[command(subcommand)]
        change: Option<Change>,
    },
}

/// A change of the file that `AIGNOSTICS_ENV_FILE` names, or else of `~/.aignostics/.env`.
#[derive(Subcommand)]
pub(crate) enum Change {
    /// Print the value of a setting in the settings file
    Get {
        /// Name of the setting, such as `run_timeout` or `AIGNOSTICS_RUN_TIMEOUT`
        key: String,
    },
    /// Write a setting to the settings file; secrets are refused
    Set {
        /// Name of the setting
        key: String,
        /// Value
        value: String,
    },
    /// Remove a setting from the settings file
    Unset {
        /// Name of the setting
        key: String,
    },
}

/// Options of the Python tool that have no effect here.
#[derive(Args)]
pub(crate) struct PythonCompatArgs {
    /// Mask secrets (always on)
    #[arg(long = "mask-secrets")]
    _mask_secrets: bool,
    #[arg(long = "no-include-environ", hide = true)]
    _no_include_environ: bool,
}

pub(crate) async fn run(action: Action, context: &Context) -> Result<(), CliError> {
    match action {
        Action::Health => health(context).await,
        Action::Info(_) => info(context),
        Action::Config { change: None } => config(context),
        Action::Config { change: Some(change) } => change_setting(&change, &context.output),
    }
}

fn info(context: &Context) -> Result<(), CliError> {
    let settings = context.settings()?;
    let value = json!({
        "name": env!("CARGO_BIN_NAME"),
        "version": env!("CARGO_PKG_VERSION"),
        "system": { "os": consts::OS, "architecture": consts::ARCH },
        "settings": settings.describe(),
    });
    let text = || {
        context.output.fields([
            ("command", format!("{} {}", env!("CARGO_BIN_NAME"), env!("CARGO_PKG_VERSION"))),
            ("system", format!("{} {}", consts::OS, consts::ARCH)),
            ("platform", settings.environment.unwrap_or("another").to_owned()),
            ("API", settings.api_root.to_string()),
            ("issuer", settings.issuer.clone()),
            ("credential", settings.credential.to_string()),
            ("logins", settings.cache_folder.display().to_string()),
        ])
    };
    Ok(context.output.or_json().print_object(&value, text)?)
}

async fn health(context: &Context) -> Result<(), CliError> {
    let client = context.client(Activity::Diagnosing)?;
    let health = client.health().await?;
    let (status, reason) = match &health {
        Health::Up => ("UP", None),
        Health::Degraded(reason) => ("DEGRADED", reason.as_deref()),
        Health::Down(reason) => ("DOWN", reason.as_deref()),
        Health::Unknown(status) => (status.as_str(), None),
        _ => ("UNKNOWN", None),
    };
    let value = json!({ "status": status, "reason": reason });
    let text = || {
        context
            .output
            .non_empty_fields([("status", status.to_owned()), ("reason", reason.unwrap_or_default().to_owned())])
    };
    context.output.or_json().print_object(&value, text)?;
    match (status, reason) {
        ("UP", _) => Ok(()),
        (status, Some(reason)) => Err(CliError::new(UNHEALTHY, anyhow!("the platform is {status}: {reason}"))),
        (status, None) => Err(CliError::new(UNHEALTHY, anyhow!("the platform is {status}"))),
    }
}

fn change_setting(change: &Change, output: &Output) -> Result<(), CliError> {
    let file = SettingsFile::for_current_user().map_err(CliError::bad_input)?;
    let path = file.path().display();
    match change {
        Change::Get { key } => match file.get(key).map_err(CliError::bad_input)? {
            Some(value) => Ok(print(value)?),
            None => Err(CliError::not_found(anyhow!("'{path}' does not set '{key}'"))),
        },
        Change::Set { key, value } => {
            file.set(key, value).map_err(CliError::bad_input)?;
            output.note(format!("written to {path}"));
            Ok(())
        }
        Change::Unset { key } => {
            let was_set = file.unset(key).map_err(CliError::bad_input)?;
            output.note(if was_set { format!("removed from {path}") } else { format!("{path} does not set it") });
            Ok(())
        }
    }
}

fn config(context: &Context) -> Result<(), CliError> {
    let settings = context.settings()?;
    let description = settings.describe();
    let variables = settings.sources.iter().map(|(name, source)| {
        let mut variable = json!(source);
        variable["name"] = json!(name);
        variable
    });
    let value = json!({ "settings": description, "variables": variables.collect::<Vec<_>>() });
    let text = || {
        let fields = context.output.json_fields(&description);
        if settings.sources.is_empty() {
            return fields;
        }
        let sources: Vec<_> = settings.sources.iter().collect();
        let table = context.output.table(
            &sources,
            &[("variable", &|(name, _)| (*name).clone()), ("from", &|(_, source)| source.to_string())],
        );
        format!("{fields}\n\n{table}")
    };
    Ok(context.output.print_object(&value, text)?)
}
