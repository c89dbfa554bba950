use anyhow::anyhow;
use clap::{Args, Subcommand};
use platform_resources::Timestamp;
use platform_resources::models::{ShareToken, ShareTokenCreated, ShareTokenCreation, SubjectType};
use platform_resources::{Client, Error, Viewer};
use serde_json::json;

use super::{Shared, grants, tokens};
use crate::context::Context;
use crate::error::CliError;
use crate::format::Format;
use crate::json;
use crate::output::{self, Output, print};
use crate::run::parse_run_id;
use crate::sanitize::sanitize;
use crate::time::parse_timestamp;

#[derive(Subcommand)]
pub(crate) enum Action {
    /// List the share tokens that give access to a run
    List(Shared),
    /// Create a share token for a run and print its secret
    ///
    /// The secret is shown only once. With it, any logged-in user can read the run: pass it through a pipe or a file, not as
    /// an argument.
    Create(Create),
    /// Revoke the access of a share token to a run
    Revoke(Revoke),
}

#[derive(Args)]
pub(crate) struct Create {
    /// Id of the run
    #[arg(value_parser = parse_run_id)]
    run: String,
    /// Expiry date with a time zone, such as 2027-12-31T23:59:59Z. A share token without one does not expire.
    #[arg(long, value_name = "DATE", value_parser = parse_timestamp)]
    expires_at: Option<Timestamp>,
}

#[derive(Args)]
pub(crate) struct Revoke {
    /// Id of the run
    #[arg(value_parser = parse_run_id)]
    run: String,
    /// Id of the share token, not its secret
    token: String,
    /// Revoke the share token itself, for all runs
    #[arg(long)]
    everywhere: bool,
}

pub(super) async fn run(action: Action, context: &Context) -> Result<(), CliError> {
    match action {
        Action::List(Shared { run }) => list(&run, context).await,
        Action::Create(arguments) => create(arguments, context).await,
        Action::Revoke(arguments) => revoke(arguments, context).await,
    }
}

async fn list(run: &str, context: &Context) -> Result<(), CliError> {
    let client = context.client()?;
    let grants = grants(&client, run, Some(SubjectType::ShareToken)).await?;
    let tokens = tokens(&client, run, &grants).await?;
    if tokens.is_empty() && context.output.format() == Format::Table {
        context.output.note("no share tokens found");
        return Ok(());
    }
    let shapes = tokens.iter().map(json::plain).collect::<Result<Vec<_>, _>>()?;
    context.output.several(&shapes, || table(&tokens, &context.output))
}

fn table(tokens: &[ShareToken], output: &Output) -> String {
    let mut table = output.table(["share token", "created", "expires"]);
    for token in tokens {
        let end = match token.expires_at {
            _ if token.revoked => "revoked".to_owned(),
            Some(end) => output.moment(end),
            None => "never".to_owned(),
        };
        table.add_row([sanitize(&token.share_token_id), output.moment(token.created_at), end]);
    }
    output::text(&table)
}

async fn create(arguments: Create, context: &Context) -> Result<(), CliError> {
    let Create { run, expires_at } = arguments;
    let client = context.client()?;
    client.run(run.as_str()).get().await?;
    let token = context.in_critical_section(async { Ok(opening(&client, &run, expires_at).await?) }).await?;
    if context.output.format() == Format::Table {
        let end =
            token.expires_at.map_or_else(|| "it does not expire".to_owned(), |end| format!("it expires at {end}"));
        context.output.note(format!("share token {}; {end}; the secret is not shown again", token.share_token_id));
        return print(token.share_token.expose());
    }
    let shape = json!({
        "run_id": run,
        "share_token_id": token.share_token_id,
        "share_token": token.share_token.expose(),
        "created_at": token.created_at,
        "expires_at": token.expires_at,
        "revoked": token.revoked,
    });
    context.output.one(&shape, String::new)
}

/// Creates a share token for the run. It is revoked if its grant cannot be created.
async fn opening(client: &Client, run: &str, end: Option<Timestamp>) -> Result<ShareTokenCreated, Error> {
    let wanted = end.into_iter().fold(ShareTokenCreation::new(), ShareTokenCreation::with_expires_at);
    let token = client.share_tokens().create(wanted).await?;
    let id = token.share_token_id.clone();
    match client.run(run).share_with(Viewer::ShareToken(id.to_string())).await {
        Ok(_) => Ok(token),
        Err(error) => {
            if let Err(error) = client.share_tokens().revoke(&id).await {
                tracing::warn!(%error, token = %id, "cannot revoke an unused share token");
            }
            Err(error)
        }
    }
}

async fn revoke(arguments: Revoke, context: &Context) -> Result<(), CliError> {
    let Revoke { run, token, everywhere } = arguments;
    let client = context.client()?;
    let mut grants = grants(&client, &run, Some(SubjectType::ShareToken)).await?;
    grants.retain(|grant| grant.subject_id == token);
    if grants.is_empty() && !everywhere {
        return Err(CliError::not_found(anyhow!("share token {token} gives no access to run {run}")));
    }
    if everywhere {
        client.share_tokens().revoke(&token.as_str().into()).await?;
    }
    for grant in &grants {
        client.grants().revoke(&grant.grant_id).await?;
    }
    let revoked: Vec<_> = grants.iter().map(|grant| &grant.grant_id).collect();
    let shape =
        json!({ "run_id": run, "subject_id": token, "revoked_grants": revoked, "share_token_revoked": everywhere });
    context.output.one(&shape, || {
        let where_else = if everywhere { "is revoked" } else { "no longer gives access to it" };
        format!("{}: share token {} {where_else}", sanitize(&run), sanitize(&token))
    })
}
