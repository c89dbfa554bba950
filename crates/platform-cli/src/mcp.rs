//! `aignostics mcp`: the platform for agents.

mod config;
mod serve;

use clap::Subcommand;

use crate::context::Context;
use crate::error::CliError;

#[derive(Subcommand)]
pub(crate) enum Action {
    /// Serve the platform to agents over MCP, on stdin and stdout or on a loopback port
    #[command(after_long_help = serve::HELP)]
    Serve(Box<serve::Arguments>),
    /// Print the entry that lets a program start the MCP server
    Config(config::Arguments),
}

pub(crate) async fn run(action: Action, context: &Context) -> Result<(), CliError> {
    match action {
        Action::Serve(arguments) => serve::run(*arguments, context).await,
        Action::Config(arguments) => config::run(&arguments, context),
    }
}
