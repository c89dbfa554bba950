//! Sharing of runs.

mod organization;
mod token;

use auth_core::{Clock, SystemClock};
use clap::{Args, Subcommand};
use platform_resources::AccessRight;
use platform_resources::models::{Grant, RunId, SubjectType};
use serde_json::{Value, json};
use terminal::Column;

use super::parse_run_id;
use crate::context::Context;
use crate::error::CliError;

#[derive(Subcommand)]
pub(crate) enum Action {
    /// Show who can read a run besides its submitter
    Status(RunIdArgs),
    /// Share a run with all users of an organization
    #[command(subcommand)]
    Organization(organization::Action),
    /// Share a run by share token
    #[command(subcommand)]
    Token(token::Action),
    /// List all grants of a run, or all visible grants, including expired and revoked grants and unused share tokens
    Audit(AuditArgs),
}

/// The argument that names a run.
#[derive(Args)]
pub(crate) struct RunIdArgs {
    /// Id of the run
    #[arg(value_parser = parse_run_id)]
    run: String,
}

#[derive(Args)]
pub(crate) struct AuditArgs {
    /// Id of a run [default: all runs]
    #[arg(value_parser = parse_run_id)]
    run: Option<String>,
}

pub(crate) async fn run(action: Action, context: &Context) -> Result<(), CliError> {
    match action {
        Action::Status(arguments) => status(&arguments.run, context).await,
        Action::Organization(action) => organization::run(action, context).await,
        Action::Token(action) => token::run(action, context).await,
        Action::Audit(arguments) => audit(arguments, context).await,
    }
}

async fn status(run: &str, context: &Context) -> Result<(), CliError> {
    let handle = context.read_client()?.run(run);
    let grants = handle.valid_grants(None).await?;
    let tokens = handle.share_tokens_of(&grants).await?;
    let to = |is: fn(&SubjectType) -> bool| grants.iter().filter(|grant| is(&grant.subject_type)).collect::<Vec<_>>();
    let value = json!({
        "run_id": run,
        "organization_grants": to(|kind| *kind == SubjectType::OrganizationUser),
        "other_grants": to(|kind| !matches!(kind, SubjectType::OrganizationUser | SubjectType::ShareToken)),
        "share_tokens": tokens,
    });
    let output = &context.output;
    let expiry = |grant: &Grant| {
        let token = tokens.iter().find(|token| token.share_token_id.as_str() == grant.subject_id);
        token.and_then(|token| token.expires_at)
    };
    let columns: [Column<'_, Grant>; 4] = [
        ("reader", &|grant| subject_text(&grant.subject_type)),
        ("id", &|grant| grant.subject_id.clone()),
        ("since", &|grant| output.time(grant.created_at)),
        ("until", &|grant| output.time_or_empty(expiry(grant))),
    ];
    let text = || if grants.is_empty() { "only its submitter".to_owned() } else { output.table(&grants, &columns) };
    Ok(output.print_object(&value, text)?)
}

async fn audit(arguments: AuditArgs, context: &Context) -> Result<(), CliError> {
    let run = arguments.run.map(|run| RunId::from(run.as_str()));
    let rights = context.read_client()?.access_rights(run.as_ref()).await?;
    let (now, output) = (SystemClock.now(), &context.output);
    let state = |right: &AccessRight| right.state(now).to_string();
    let run =
        |right: &AccessRight| right.grant.as_ref().map_or_else(|| "none".to_owned(), |grant| grant.resource_id.clone());
    let columns: [Column<'_, AccessRight>; 6] = [
        ("run", &run),
        ("reader", &|right| subject_text(&right.subject_type())),
        ("id", &|right| right.subject_id().to_owned()),
        ("state", &state),
        ("since", &|right| output.time_or_empty(right.created_at())),
        ("until", &|right| output.time_or_empty(right.expires_at())),
    ];
    let values: Vec<_> = rights.iter().map(|right| to_json(right, &state(right))).collect();
    Ok(output.print_array_or("no grants found", &values, || output.table(&rights, &columns))?)
}

fn to_json(right: &AccessRight, state: &str) -> Value {
    let grant = right.grant.as_ref();
    json!({
        "run_id": grant.map(|grant| &grant.resource_id),
        "subject_type": right.subject_type(),
        "subject_id": right.subject_id(),
        "relation": grant.map(|grant| &grant.relation),
        "state": state,
        "created_at": right.created_at(),
        "created_by": grant.map(|grant| &grant.created_by),
        "expires_at": right.expires_at(),
        "grant_id": grant.map(|grant| &grant.grant_id),
    })
}

/// Returns the description of a subject.
fn subject_text(kind: &SubjectType) -> String {
    match kind {
        SubjectType::User => "user".to_owned(),
        SubjectType::OrganizationUser => "organization".to_owned(),
        SubjectType::OrganizationAdmin => "administrators".to_owned(),
        SubjectType::ShareToken => "share token".to_owned(),
        other => other.to_string(),
    }
}
