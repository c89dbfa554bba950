use clap::{Args, Subcommand};
use platform_resources::models::{Grant, SubjectType};
use platform_resources::{Client, Viewer};
use serde_json::{Value, json};

use super::{Shared, grants};
use crate::context::Context;
use crate::error::CliError;
use crate::format::Format;
use crate::json;
use crate::output::{self, Output};
use crate::run::parse_run_id;
use crate::sanitize::sanitize;

#[derive(Subcommand)]
pub(crate) enum Action {
    /// List the organizations that can read a run
    List(Shared),
    /// Share a run with all users of an organization
    Grant(Arguments),
    /// Stop sharing a run with an organization
    Revoke(Arguments),
}

#[derive(Args)]
pub(crate) struct Arguments {
    /// Id of the run
    #[arg(value_parser = parse_run_id)]
    run: String,
    /// Id of the organization [default: that of the logged-in user]
    organization: Option<String>,
}

pub(super) async fn run(action: Action, context: &Context) -> Result<(), CliError> {
    match action {
        Action::List(Shared { run }) => list(&run, context).await,
        Action::Grant(arguments) => grant(arguments, context).await,
        Action::Revoke(arguments) => revoke(arguments, context).await,
    }
}

async fn list(run: &str, context: &Context) -> Result<(), CliError> {
    let grants = grants(&context.client()?, run, Some(SubjectType::OrganizationUser)).await?;
    print(&grants, &context.output)
}

fn print(grants: &[Grant], output: &Output) -> Result<(), CliError> {
    if grants.is_empty() && output.format() == Format::Table {
        output.note("not shared with any organization");
        return Ok(());
    }
    let shapes = grants.iter().map(shape).collect::<Result<Vec<_>, _>>()?;
    output.several(&shapes, || {
        let mut table = output.table(["organization", "since", "granted by", "grant"]);
        for grant in grants {
            let since = output.moment(grant.created_at);
            table.add_row([sanitize(&grant.subject_id), since, sanitize(&grant.created_by), sanitize(&grant.grant_id)]);
        }
        output::text(&table)
    })
}

async fn grant(arguments: Arguments, context: &Context) -> Result<(), CliError> {
    let client = context.client()?;
    let organization = named(arguments.organization, &client).await?;
    let run = client.run(arguments.run.as_str());
    let grant = run.share_with(Viewer::Organization(organization)).await?;
    context.output.one(&shape(&grant)?, || {
        let (run, organization) = (sanitize(&arguments.run), sanitize(&grant.subject_id));
        format!("{run}: shared with all users of {organization} (grant {})", sanitize(&grant.grant_id))
    })
}

/// Returns the named organization, or that of the logged-in user.
async fn named(organization: Option<String>, client: &Client) -> Result<String, CliError> {
    match organization {
        Some(organization) => Ok(organization),
        None => Ok(client.me().await?.organization.id),
    }
}

async fn revoke(arguments: Arguments, context: &Context) -> Result<(), CliError> {
    let client = context.client()?;
    let organization = named(arguments.organization, &client).await?;
    let mut revoked = Vec::new();
    for grant in grants(&client, &arguments.run, Some(SubjectType::OrganizationUser)).await? {
        if grant.subject_id == organization {
            client.grants().revoke(&grant.grant_id).await?;
            revoked.push(grant.grant_id);
        }
    }
    let shape = json!({ "run_id": arguments.run, "subject_id": organization, "revoked_grants": revoked });
    context.output.one(&shape, || {
        let what = if revoked.is_empty() { "was not shared with" } else { "is no longer shared with" };
        format!("{}: {what} {}", sanitize(&arguments.run), sanitize(&organization))
    })
}

/// Returns a grant as JSON.
pub(super) fn shape(grant: &Grant) -> Result<Value, CliError> {
    json::plain(grant)
}
