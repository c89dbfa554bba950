//! Sharing of runs.

mod audit;
mod organization;
mod status;
mod token;

use clap::{Args, Subcommand};
use futures_util::TryStreamExt;
use platform_resources::models::{Grant, ResourceType, ShareToken, SubjectType};
use platform_resources::operations::{ListGrants, ListShareTokens};
use platform_resources::{Client, Error};

use crate::context::Context;
use crate::error::CliError;
use crate::run::parse_run_id;

#[derive(Subcommand)]
pub(crate) enum Action {
    /// Show who can read a run besides its submitter
    Status(Shared),
    /// Share a run with all users of an organization
    #[command(subcommand)]
    Organization(organization::Action),
    /// Share a run by share token
    #[command(subcommand)]
    Token(token::Action),
    /// List all grants of a run, or all visible grants, including expired and revoked grants and unused share tokens
    Audit(audit::Arguments),
}

/// Which run.
#[derive(Args)]
pub(crate) struct Shared {
    /// Id of the run
    #[arg(value_parser = parse_run_id)]
    run: String,
}

pub(crate) async fn run(action: Action, context: &Context) -> Result<(), CliError> {
    match action {
        Action::Status(shared) => status::run(&shared.run, context).await,
        Action::Organization(action) => organization::run(action, context).await,
        Action::Token(action) => token::run(action, context).await,
        Action::Audit(arguments) => audit::run(arguments, context).await,
    }
}

/// Returns the valid grants of a run. A missing run is an error; the platform would return an empty list.
async fn grants(client: &Client, run: &str, to: Option<SubjectType>) -> Result<Vec<Grant>, Error> {
    let client = client.clone().no_cache();
    client.run(run).get().await?;
    let mut query = ListGrants::new().with_resource_type(ResourceType::Run).with_resource_id(run).with_revoked(false);
    query.subject_type = to;
    let grants: Vec<Grant> = client.grants().list_with(query).try_collect().await?;
    Ok(grants.into_iter().filter(|grant| !grant.revoked).collect())
}

/// Returns the share tokens of these grants of a run.
async fn tokens(client: &Client, run: &str, grants: &[Grant]) -> Result<Vec<ShareToken>, Error> {
    let query = ListShareTokens::new().with_run_id(run);
    let tokens: Vec<ShareToken> = client.clone().no_cache().share_tokens().list_with(query).try_collect().await?;
    let is_open = |token: &ShareToken| grants.iter().any(|grant| grant.subject_id == token.share_token_id.as_str());
    Ok(tokens.into_iter().filter(is_open).collect())
}
