//! Starts an emulator with the arguments and the configuration.

use std::fs;
use std::io;
use std::path::Path;

use anyhow::{Context as _, anyhow};
use platform_emulator::{Config, Emulator, EmulatorBuilder, Fixture};

use super::Arguments;
use crate::error::CliError;
use crate::output::print_json;

pub(super) async fn start(arguments: &Arguments) -> Result<Emulator, CliError> {
    builder(arguments)?.start().await.map_err(failure)
}

/// Prints the fixture of a data folder.
pub(super) async fn export(arguments: &Arguments) -> Result<(), CliError> {
    if arguments.data_dir.is_none() {
        return Err(CliError::bad_input(anyhow!("export needs --data-dir")));
    }
    let fixture = builder(arguments)?.export().await.map_err(failure)?;
    print_json(&fixture, true)
}

fn failure(error: io::Error) -> CliError {
    match error.kind() {
        io::ErrorKind::InvalidInput => CliError::bad_input(error),
        _ => anyhow::Error::from(error).context("cannot start the emulator").into(),
    }
}

fn builder(arguments: &Arguments) -> Result<EmulatorBuilder, CliError> {
    let mut config = match &arguments.config {
        Some(path) => {
            let text = fs::read_to_string(path).with_context(|| format!("cannot read '{}'", path.display()));
            let config = text.and_then(|text| Ok(toml::from_str::<Config>(&text)?));
            let read = config.with_context(|| format!("'{}' is not a configuration of the emulator", path.display()));
            read.map_err(CliError::bad_input)?
        }
        None => Config::default(),
    };
    if let Some(speed) = arguments.speed {
        config.speed = speed;
    }
    config.announce_iss |= arguments.announce_iss;
    config.cors_origins.extend(arguments.cors_origin.iter().cloned());
    if let Some(issuer) = &arguments.issuer {
        let missing = || anyhow!("--issuer requires --config with a table [external_issuer] (audience and subjects)");
        let trusted = config.external_issuer.as_mut().ok_or_else(|| CliError::bad_input(missing()))?;
        trusted.issuer.clone_from(issuer);
    }
    let mut builder = Emulator::builder().with_config(config).with_address(arguments.address).with_port(arguments.port);
    if let Some(host) = &arguments.host {
        builder = builder.with_host(host);
    }
    if let Some(folder) = &arguments.data_dir {
        builder = builder.with_data_folder(folder);
    }
    if let Some(seed) = arguments.seed {
        builder = builder.with_seed(seed);
    }
    if arguments.control {
        builder = builder.with_control();
    }
    if let Some(file) = &arguments.tls {
        builder = builder.with_tls(file);
    }
    if let Some(path) = &arguments.fixture {
        builder = builder.with_fixture(fixture(path)?);
    }
    if arguments.no_http2 {
        builder = builder.without_http2();
    }
    builder = arguments.fault.iter().cloned().fold(builder, EmulatorBuilder::with_fault);
    Ok(builder)
}

/// Reads a fixture (JSON).
fn fixture(path: &Path) -> Result<Fixture, CliError> {
    let text =
        fs::read(path).with_context(|| format!("cannot read '{}'", path.display())).map_err(CliError::bad_input)?;
    // The message of the parser can contain a signed URL.
    serde_json::from_slice(&text).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        CliError::bad_input(anyhow!("'{}' is not a fixture: invalid at line {line}, column {column}", path.display()))
    })
}
