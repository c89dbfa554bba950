use std::io::ErrorKind;
use std::path::PathBuf;

use anyhow::{Context as _, anyhow};
use clap::Args;
use platform_resources::{BucketTool, Client};
use terminal::arguments::choice;
use terminal::input::detached;
use terminal::{print, sanitize};

use crate::context::Context;
use crate::error::CliError;

pub(super) const HELP: &str = "\
The file contains the key of the organization, which does not expire and gives access to all of its objects. Only the current
user can read the file. `bucket exec` passes the key to one command without a file.";

#[derive(Args)]
pub(crate) struct Arguments {
    /// Tool that will use the file
    #[arg(long = "for", value_name = "TOOL", value_parser = choice(BucketTool::ALL.map(|tool| (tool.name(), tool))))]
    tool: BucketTool,
    /// File to write, readable only by its user [default: rclone.conf, s5cmd-credentials, aws-config or boto.cfg]
    #[arg(long, value_name = "FILE", conflicts_with = "show")]
    output: Option<PathBuf>,
    /// Replace the whole content of an existing file
    #[arg(long, conflicts_with = "show")]
    overwrite: bool,
    /// Print the file with its secret instead of writing it
    #[arg(long)]
    show: bool,
}

pub(super) async fn run(arguments: Arguments, client: &Client, context: &Context) -> Result<(), CliError> {
    let (tool, overwrite, access) = (arguments.tool, arguments.overwrite, client.bucket_access().await?);
    if arguments.show {
        return Ok(print(access.configuration(tool).expose().trim_end())?);
    }
    let file = arguments.output.unwrap_or_else(|| PathBuf::from(tool.file_name()));
    let path = file.clone();
    let config = match detached(move || access.write(tool, &path, overwrite)).await? {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            let remedy = "choose another file with --output, or replace it with --overwrite";
            return Err(CliError::bad_input(anyhow!("'{}' exists: {remedy}", file.display())));
        }
        result => result.with_context(|| format!("cannot write '{}'", file.display()))?,
    };
    let text = || format!("written: {}\ntry: {}", sanitize(&config.file), sanitize(&config.example));
    Ok(context.output.print_object(&config, text)?)
}
