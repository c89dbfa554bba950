use anyhow::anyhow;
use clap::{Args, Subcommand};
use platform_resources::Timestamp;
use platform_resources::models::{ShareToken, SubjectType};
use serde_json::json;
use terminal::{Column, Output, print, sanitize};

use super::RunIdArgs;
use crate::context::Context;
use crate::error::CliError;
use crate::run::{parse_run_id, parse_timestamp};

#[derive(Subcommand)]
pub(crate) enum Action {
    /// List the share tokens that give access to a run
    List(RunIdArgs),
    /// Create a share token for a run and print its secret
    ///
    /// The secret is shown only once. With it, any logged-in user can read the run: pass it through a pipe or a file, not as
    /// an argument.
    Create(CreateArgs),
    /// Revoke the access of a share token to a run
    Revoke(RevokeArgs),
}

#[derive(Args)]
pub(crate) struct CreateArgs {
    /// Id of the run
    #[arg(value_parser = parse_run_id)]
    run: String,
    /// Expiry date with a time zone, such as 2027-12-31T23:59:59Z. A share token without one does not expire.
    #[arg(long, value_name = "DATE", value_parser = parse_timestamp)]
    expires_at: Option<Timestamp>,
}

#[derive(Args)]
pub(crate) struct RevokeArgs {
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
        Action::List(RunIdArgs { run }) => list(&run, context).await,
        Action::Create(arguments) => create(arguments, context).await,
        Action::Revoke(arguments) => revoke(arguments, context).await,
    }
}

async fn list(run: &str, context: &Context) -> Result<(), CliError> {
    let handle = context.write_client()?.run(run);
    let tokens = handle.share_tokens_of(&handle.valid_grants(Some(SubjectType::ShareToken)).await?).await?;
    Ok(context.output.print_array_or("no share tokens found", &tokens, || token_table(&tokens, &context.output))?)
}

fn token_table(tokens: &[ShareToken], output: &Output) -> String {
    let expiry = |token: &ShareToken| match token.expires_at {
        _ if token.revoked => "revoked".to_owned(),
        Some(expires_at) => output.time(expires_at),
        None => "never".to_owned(),
    };
    let columns: [Column<'_, ShareToken>; 3] = [
        ("share token", &|token| token.share_token_id.to_string()),
        ("created", &|token| output.time(token.created_at)),
        ("expires", &expiry),
    ];
    output.table(tokens, &columns)
}

async fn create(arguments: CreateArgs, context: &Context) -> Result<(), CliError> {
    let CreateArgs { run, expires_at } = arguments;
    let handle = context.write_client()?.run(run.as_str());
    handle.get().await?;
    let token = context.in_critical_section(handle.share_by_token(expires_at)).await?;
    if context.output.is_table() {
        let expiry =
            token.expires_at.map_or_else(|| "it does not expire".to_owned(), |time| format!("it expires at {time}"));
        context.output.note(format!("share token {}; {expiry}; the secret is not shown again", token.share_token_id));
        return Ok(print(token.share_token.expose())?);
    }
    let value = json!({
        "run_id": run,
        "share_token_id": token.share_token_id,
        "share_token": token.share_token.expose(),
        "created_at": token.created_at,
        "expires_at": token.expires_at,
        "revoked": token.revoked,
    });
    Ok(context.output.print_object(&value, String::new)?)
}

async fn revoke(arguments: RevokeArgs, context: &Context) -> Result<(), CliError> {
    let RevokeArgs { run, token, everywhere } = arguments;
    let handle = context.write_client()?.run(run.as_str());
    let grants = handle.revoke_share_token(&token.as_str().into(), everywhere).await?;
    if grants.is_empty() && !everywhere {
        return Err(CliError::not_found(anyhow!("share token {token} gives no access to run {run}")));
    }
    let value =
        json!({ "run_id": run, "subject_id": token, "revoked_grants": grants, "share_token_revoked": everywhere });
    let text = || {
        let effect = if everywhere { "is revoked" } else { "no longer gives access to it" };
        format!("{}: share token {} {effect}", sanitize(&run), sanitize(&token))
    };
    Ok(context.output.print_object(&value, text)?)
}
