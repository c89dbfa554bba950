//! `aignostics auth`: access tokens for other tools.

use std::time::Duration;

use anyhow::anyhow;
use auth_core::{AccessToken, Clock, SystemClock};
use auth_oauth::PrintedToken;
use clap::Subcommand;
use platform_resources::{Activity, Finding, Service};
use terminal::arguments::parse_duration;
use terminal::{Output, print, sanitize};

use crate::context::Context;
use crate::error::CliError;
use crate::form::Form;

#[derive(Subcommand)]
pub(crate) enum Action {
    /// Diagnose login problems and print a remedy for each
    Doctor,
    /// Print an access token of the login
    ///
    /// Anyone who has the token can act as the user: pass it through a pipe, not as an argument.
    ///
    /// `--format exec-credential` prints an `ExecCredential` of kubectl, `--format google` Google's executable-sourced
    /// credentials, and `--format aws` the output of a `credential_process` of AWS tools.
    Token {
        /// Minimum remaining lifetime of the token, such as 90s, 10m or 2h
        #[arg(long, value_name = "TIME", value_parser = parse_duration)]
        min_ttl: Option<Duration>,
        /// Print an `ExecCredential`, like `--format exec-credential`
        #[arg(long)]
        exec_credential: bool,
    },
}

pub(crate) async fn run(action: Action, context: &Context) -> Result<(), CliError> {
    match action {
        Action::Doctor => doctor(context.service(Activity::Diagnosing)?, &context.output).await,
        Action::Token { min_ttl, exec_credential } => {
            let service = context.service(Activity::Reading)?;
            let min_remaining = min_ttl.unwrap_or_default();
            let token = service.token_with_min_remaining(min_remaining).await?;
            let form = if exec_credential { Some(Form::ExecCredential) } else { context.form };
            print_token(&token, min_remaining, form.unwrap_or(Form::Table))
        }
    }
}

async fn doctor(service: &Service, output: &Output) -> Result<(), CliError> {
    let findings = service.diagnose().await;
    output.print_array(&findings, || {
        let mut lines = Vec::new();
        for Finding { name, detail, remedy, .. } in &findings {
            let verdict = if remedy.is_some() { "FAILED" } else { "ok" };
            lines.push(format!("{verdict:6}  {name}: {}", sanitize(detail)));
            lines.extend(remedy.iter().map(|remedy| format!("        hint: {remedy}")));
        }
        lines.join("\n")
    })?;
    match findings.iter().filter(|finding| !finding.is_ok()).count() {
        0 => Ok(()),
        count => Err(anyhow!("{count} of {} checks failed", findings.len()).into()),
    }
}

fn print_token(token: &AccessToken, min_remaining: Duration, form: Form) -> Result<(), CliError> {
    let is_long_enough = token.expires_at().is_none_or(|expiry| SystemClock.now() + min_remaining <= expiry);
    if !is_long_enough {
        let error = match token.specified_expiry() {
            None => anyhow!("the expiry of the token is unknown: omit --min-ttl"),
            Some(_) => {
                anyhow!("the identity provider does not issue tokens that are valid for {} s", min_remaining.as_secs())
            }
        };
        return Err(error.into());
    }
    let form = match form {
        Form::Table => return Ok(print(token.secret().expose())?),
        Form::Json | Form::Jsonl => PrintedToken::Response,
        Form::ExecCredential => PrintedToken::ExecCredential,
        Form::Google => PrintedToken::Google,
        Form::Aws => PrintedToken::Aws("aignostics"),
    };
    Ok(print(form.value(token))?)
}
