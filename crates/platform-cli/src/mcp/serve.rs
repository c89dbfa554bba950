use std::path::{self, Path, PathBuf};
use std::{env, io, time::Duration};

use anyhow::anyhow;
use auth_core::Secret;
use clap::Args;
use platform_mcp::{HttpServer, Limits, PlatformServer, PlatformServerBuilder};
use platform_pipeline::system_user;
use serde_json::json;
use terminal::{arguments::parse_duration, print_json};

use crate::context::Context;
use crate::error::CliError;

/// The variable with the token of the HTTP server.
const TOKEN_VARIABLE: &str = "AIGNOSTICS_MCP_TOKEN";

pub(super) const HELP: &str = "\
Without --allow-submit, all tools only read. With it, submissions are limited by a budget, which is recorded in a file and
shared by all servers of the user. No tool deletes or shares anything, or returns a signed URL or a credential.

With --http, clients need the token in AIGNOSTICS_MCP_TOKEN. Without the variable, a token is created and printed.";

#[derive(Args)]
pub(crate) struct Arguments {
    /// Listen on this port of 127.0.0.1 instead of stdin; 0 is a free port
    #[arg(long, value_name = "PORT")]
    http: Option<u16>,
    #[command(flatten)]
    server: ServerArgs,
}

/// The options of the server. `mcp config` prints them for the program that starts the server.
#[derive(Args)]
pub(crate) struct ServerArgs {
    /// Folder whose files the tools may read [default: the working folder]. Can be repeated
    #[arg(long = "folder", value_name = "DIR")]
    folders: Vec<PathBuf>,
    /// Offer the submission of runs, within a budget
    #[arg(long, requires_all = ["max_slides", "max_runs", "applications"])]
    allow_submit: bool,
    /// Maximum number of slides to submit in total
    #[arg(long, value_name = "N", requires = "allow_submit")]
    max_slides: Option<u64>,
    /// Maximum number of runs to submit in total
    #[arg(long, value_name = "N", requires = "allow_submit")]
    max_runs: Option<u64>,
    /// Applications that may be used, separated by commas
    #[arg(long, value_name = "IDS", value_delimiter = ',', requires = "allow_submit")]
    applications: Vec<String>,
    /// File that records how much of the budget is used [default: in the state folder of the user]
    #[arg(long, value_name = "FILE", requires = "allow_submit")]
    budget_file: Option<PathBuf>,
    /// Maximum time that the user has to confirm a submission [default: 10m]
    #[arg(long, value_name = "TIME", value_parser = parse_duration, requires = "allow_submit")]
    confirm_timeout: Option<Duration>,
}

impl ServerArgs {
    /// Returns the limits of the budget, if submission is allowed.
    pub(super) fn limits(&self) -> Result<Option<Limits>, CliError> {
        let (true, Some(max_slides), Some(max_runs)) = (self.allow_submit, self.max_slides, self.max_runs) else {
            return Ok(None);
        };
        let applications = self.applications.iter().map(|id| id.trim().to_owned()).collect::<Vec<_>>();
        let is_valid = !applications.iter().any(String::is_empty);
        let limits = is_valid.then_some(Limits { max_slides, max_runs, applications });
        limits.map(Some).ok_or_else(|| CliError::bad_input(anyhow!("--applications contains an empty id")))
    }

    /// Returns the options as command-line arguments. Paths are absolute, because the program that starts the server may
    /// have another working folder.
    pub(super) fn to_arguments(&self) -> io::Result<Vec<String>> {
        let mut arguments = Vec::new();
        let absolute = |path: &Path| Ok::<_, io::Error>(path::absolute(path)?.display().to_string());
        let folders = if self.folders.is_empty() { vec![env::current_dir()?] } else { self.folders.clone() };
        let mut push_option = |name: &str, value: String| arguments.extend([name.to_owned(), value]);
        for folder in &folders {
            push_option("--folder", absolute(folder)?);
        }
        if let (true, Some(slides), Some(runs)) = (self.allow_submit, self.max_slides, self.max_runs) {
            push_option("--max-slides", slides.to_string());
            push_option("--max-runs", runs.to_string());
            push_option("--applications", self.applications.join(","));
            if let Some(file) = &self.budget_file {
                push_option("--budget-file", absolute(file)?);
            }
            arguments.push("--allow-submit".to_owned());
            arguments.extend(self.confirm_timeout.map(|timeout| format!("--confirm-timeout={}s", timeout.as_secs())));
        }
        Ok(arguments)
    }
}

pub(super) async fn run(arguments: Arguments, context: &Context) -> Result<(), CliError> {
    let Arguments { http, server } = arguments;
    let builder = PlatformServer::builder(context.write_client()?).with_bucket_user(system_user());
    let builder = server.limits()?.into_iter().fold(builder, PlatformServerBuilder::with_limits);
    let builder = server.folders.iter().fold(builder, PlatformServerBuilder::with_folder);
    let builder = server.budget_file.iter().fold(builder, PlatformServerBuilder::with_ledger);
    let builder = builder.with_confirmation_timeout(server.confirm_timeout);
    let server = builder.build().map_err(CliError::bad_input)?;
    let Some(port) = http else { return server.serve_stdio().await.map_err(|error| CliError::from(anyhow!(error))) };
    let (token, is_new) = server_token();
    let server = HttpServer::bind(server, port, token.clone()).await.map_err(CliError::bad_input)?;
    let url = server.url().map_err(CliError::bad_input)?;
    print_json(&json!({ "url": url, "token": is_new.then(|| token.expose()) }), false)?;
    server.serve().await.map_err(|error| CliError::from(anyhow!(error)))
}

/// Returns the token of the HTTP server, and true if it was just created.
fn server_token() -> (Secret, bool) {
    match std::env::var(TOKEN_VARIABLE).ok().filter(|token| !token.trim().is_empty()) {
        Some(token) => (Secret::new(token.trim()), false),
        None => (HttpServer::new_token(), true),
    }
}
