use clap::{Args, Subcommand};
use platform_resources::models::{Grant, SubjectType};
use platform_resources::{Client, Viewer};
use serde_json::{Value, json};

use super::{Shared, grants};
use crate::access::Shell;
use crate::exit::Failure;
use crate::format::Format;
use crate::output::{self, Output};
use crate::shapes;
use crate::shown::shown;

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
    run: String,
    /// Id of the organization [default: that of the logged-in user]
    organization: Option<String>,
}

pub(super) async fn run(action: Action, shell: &Shell) -> Result<(), Failure> {
    match action {
        Action::List(Shared { run }) => list(&run, shell).await,
        Action::Grant(arguments) => grant(arguments, shell).await,
        Action::Revoke(arguments) => revoke(arguments, shell).await,
    }
}

async fn list(run: &str, shell: &Shell) -> Result<(), Failure> {
    let grants = grants(&shell.client()?, run, Some(SubjectType::OrganizationUser)).await?;
    print(&grants, &shell.output)
}

fn print(grants: &[Grant], output: &Output) -> Result<(), Failure> {
    if grants.is_empty() && output.format() == Format::Table {
        output.note("not shared with any organization");
        return Ok(());
    }
    let shapes = grants.iter().map(shape).collect::<Result<Vec<_>, _>>()?;
    output.several(&shapes, || {
        let mut table = output.table(["organization", "since", "granted by", "grant"]);
        for grant in grants {
            let since = output.moment(grant.created_at);
            table.add_row([shown(&grant.subject_id), since, shown(&grant.created_by), shown(&grant.grant_id)]);
        }
        output::text(&table)
    })
}

async fn grant(arguments: Arguments, shell: &Shell) -> Result<(), Failure> {
    let client = shell.client()?;
    let organization = named(arguments.organization, &client).await?;
    let run = client.run(arguments.run.as_str());
    let grant = run.share_with(Viewer::Organization(organization)).await?;
    shell.output.one(&shape(&grant)?, || {
        let (run, organization) = (shown(&arguments.run), shown(&grant.subject_id));
        format!("{run}: shared with all users of {organization} (grant {})", shown(&grant.grant_id))
    })
}

/// Returns the named organization, or that of the logged-in user.
async fn named(organization: Option<String>, client: &Client) -> Result<String, Failure> {
    match organization {
        Some(organization) => Ok(organization),
        None => Ok(client.me().await?.organization.id),
    }
}

async fn revoke(arguments: Arguments, shell: &Shell) -> Result<(), Failure> {
    let client = shell.client()?;
    let organization = named(arguments.organization, &client).await?;
    let mut revoked = Vec::new();
    for grant in grants(&client, &arguments.run, Some(SubjectType::OrganizationUser)).await? {
        if grant.subject_id == organization {
            client.grants().revoke(&grant.grant_id).await?;
            revoked.push(grant.grant_id);
        }
    }
    let shape = json!({ "run_id": arguments.run, "subject_id": organization, "revoked_grants": revoked });
    shell.output.one(&shape, || {
        let what = if revoked.is_empty() { "was not shared with" } else { "is no longer shared with" };
        format!("{}: {what} {}", shown(&arguments.run), shown(&organization))
    })
}

/// Returns a grant as JSON.
pub(super) fn shape(grant: &Grant) -> Result<Value, Failure> {
    shapes::plain(grant)
}
