//! `aignostics system`: the health of the platform, and the configuration of this command.

mod config;
mod health;

use std::env::consts;

use clap::{Args, Subcommand};
use serde_json::json;

use crate::context::Context;
use crate::error::CliError;

#[derive(Subcommand)]
pub(crate) enum Action {
    /// Show the health of the platform as JSON; needs no login. Exit code 2 if it is not UP
    Health,
    /// Show the version and the configuration of this command as JSON without secrets, for support requests
    Info(Masks),
    /// Show the settings and their sources; secrets are masked
    Config {
        #[command(subcommand)]
        change: Option<config::Change>,
    },
}

/// Options of the Python tool that have no effect here.
#[derive(Args)]
pub(crate) struct Masks {
    /// Mask secrets (always on)
    #[arg(long = "mask-secrets")]
    _mask_secrets: bool,
    #[arg(long = "no-include-environ", hide = true)]
    _no_include_environ: bool,
}

pub(crate) async fn run(action: Action, context: &Context) -> Result<(), CliError> {
    match action {
        Action::Health => health::run(context).await,
        Action::Info(_) => info(context),
        Action::Config { change: None } => config::run(context),
        Action::Config { change: Some(change) } => config::change(&change, &context.output),
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
        context.output.facts([
            ("command", format!("{} {}", env!("CARGO_BIN_NAME"), env!("CARGO_PKG_VERSION"))),
            ("system", format!("{} {}", consts::OS, consts::ARCH)),
            ("platform", settings.environment.unwrap_or("another").to_owned()),
            ("API", settings.api_root.to_string()),
            ("issuer", settings.issuer.clone()),
            ("credential", settings.credential.to_string()),
            ("logins", settings.cache_folder.display().to_string()),
        ])
    };
    context.output.or_json().one(&value, text)
}
