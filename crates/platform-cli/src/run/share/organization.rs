use clap::{Args, Subcommand};
use platform_resources::models::{Grant, SubjectType};
use platform_resources::{Client, Viewer};
use serde_json::json;
use terminal::{Column, Output, sanitize};

use super::RunIdArgs;
use crate::context::Context;
use crate::error::CliError;
use crate::run::parse_run_id;

#[derive(Subcommand)]
pub(crate) enum Action {
    /// List the organizations that can read a run
    List(RunIdArgs),
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
        Action::List(RunIdArgs { run }) => list(&run, context).await,
        Action::Grant(arguments) => grant(arguments, context).await,
        Action::Revoke(arguments) => revoke(arguments, context).await,
    }
}

async fn list(run: &str, context: &Context) -> Result<(), CliError> {
    let grants = context.write_client()?.run(run).valid_grants(Some(SubjectType::OrganizationUser)).await?;
    print(&grants, &context.output)
}

fn print(grants: &[Grant], output: &Output) -> Result<(), CliError> {
    let columns: [Column<'_, Grant>; 4] = [
        ("organization", &|grant| grant.subject_id.clone()),
        ("since", &|grant| output.time(grant.created_at)),
        ("granted by", &|grant| grant.created_by.clone()),
        ("grant", &|grant| grant.grant_id.to_string()),
    ];
    Ok(output.print_array_or("not shared with any organization", grants, || output.table(grants, &columns))?)
}

async fn grant(arguments: Arguments, context: &Context) -> Result<(), CliError> {
    let client = context.write_client()?;
    let organization = organization_or_own(arguments.organization, &client).await?;
    let run = client.run(arguments.run.as_str());
    let grant = run.share_with(Viewer::Organization(organization)).await?;
    let text = || {
        let (run, organization) = (sanitize(&arguments.run), sanitize(&grant.subject_id));
        format!("{run}: shared with all users of {organization} (grant {})", sanitize(&grant.grant_id))
    };
    Ok(context.output.print_object(&grant, text)?)
}

/// Returns the named organization, or that of the logged-in user.
async fn organization_or_own(organization: Option<String>, client: &Client) -> Result<String, CliError> {
    match organization {
        Some(organization) => Ok(organization),
        None => Ok(client.me().await?.organization.id),
    }
}

async fn revoke(arguments: Arguments, context: &Context) -> Result<(), CliError> {
    let client = context.write_client()?;
    let organization = organization_or_own(arguments.organization, &client).await?;
    let run = client.run(arguments.run.as_str());
    let revoked_grants = run.stop_sharing_with(SubjectType::OrganizationUser, &organization).await?;
    let value = json!({ "run_id": arguments.run, "subject_id": organization, "revoked_grants": revoked_grants });
    let text = || {
        let effect = if revoked_grants.is_empty() { "was not shared with" } else { "is no longer shared with" };
        format!("{}: {effect} {}", sanitize(&arguments.run), sanitize(&organization))
    };
    Ok(context.output.print_object(&value, text)?)
}
