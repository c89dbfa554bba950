//! `aignostics auth`: access tokens for other tools.

use std::time::{Duration, SystemTime};

use anyhow::anyhow;
use auth_core::{AccessToken, Clock, SystemClock};
use clap::Subcommand;
use platform_resources::{Finding, Service};
use serde_json::{Value, json};

use crate::context::Context;
use crate::error::CliError;
use crate::format::Format;
use crate::output::{Output, TokenForm, print};
use crate::retries::Retries;
use crate::sanitize::sanitize;
use crate::time::parse_duration;

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

impl Action {
    /// Returns the retry limits of the command.
    pub(crate) fn retries(&self) -> Retries {
        match self {
            Self::Doctor => Retries::None,
            Self::Token { .. } => Retries::Reading,
        }
    }
}

pub(crate) async fn run(action: Action, context: &Context) -> Result<(), CliError> {
    let service = context.service()?;
    match action {
        Action::Doctor => doctor(service, &context.output).await,
        Action::Token { min_ttl, exec_credential } => {
            let least = min_ttl.unwrap_or_default();
            let token = service.token_lasting(least).await?;
            show(&token, &context.output, least, exec_credential)
        }
    }
}

async fn doctor(service: &Service, output: &Output) -> Result<(), CliError> {
    let findings = service.diagnose().await;
    let shapes: Vec<_> = findings
        .iter()
        .map(|finding| {
            let Finding { name, detail, remedy, .. } = finding;
            json!({ "name": name, "is_ok": finding.is_ok(), "detail": detail, "remedy": remedy })
        })
        .collect();
    output.several(&shapes, || {
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

fn show(token: &AccessToken, output: &Output, least: Duration, exec: bool) -> Result<(), CliError> {
    if !lasts(token, least) {
        let short = match token.stated_expiry() {
            None => anyhow!("the expiry of the token is unknown: omit --min-ttl"),
            Some(_) => anyhow!("the identity provider does not issue tokens that are valid for {} s", least.as_secs()),
        };
        return Err(short.into());
    }
    let form = if exec { Some(TokenForm::ExecCredential) } else { output.token_form() };
    if let Some(form) = form {
        return print(formed(token, form));
    }
    match output.format() {
        Format::Table => print(token.secret().expose()),
        Format::Json | Format::Jsonl => print(json!({
            "access_token": token.secret().expose(),
            "token_type": token.token_type(),
            "expires_at": moment(token),
            "scopes": token.scopes().collect::<Vec<_>>(),
        })),
    }
}

/// Returns the token in the form of another tool. An unknown expiry is left out, because it would be a guess.
fn formed(token: &AccessToken, form: TokenForm) -> Value {
    let text = token.secret().expose();
    let (mut value, path, end) = match form {
        TokenForm::ExecCredential => (
            json!({
                "apiVersion": "client.authentication.k8s.io/v1",
                "kind": "ExecCredential",
                "status": { "token": text },
            }),
            "/status",
            ("expirationTimestamp", moment(token).map(Value::from)),
        ),
        TokenForm::Google => (
            json!({
                "version": 1,
                "success": true,
                "token_type": "urn:ietf:params:oauth:token-type:jwt",
                "id_token": text,
            }),
            "",
            ("expiration_time", seconds(token).map(Value::from)),
        ),
        // AWS tools require both keys. The token is not one of AWS.
        TokenForm::Aws => (
            json!({
                "Version": 1,
                "AccessKeyId": "aignostics",
                "SecretAccessKey": "unused",
                "SessionToken": text,
            }),
            "",
            ("Expiration", moment(token).map(Value::from)),
        ),
    };
    if let ((name, Some(end)), Some(Value::Object(members))) = (end, value.pointer_mut(path)) {
        members.insert(name.to_owned(), end);
    }
    value
}

fn lasts(token: &AccessToken, least: Duration) -> bool {
    token.expires_at().is_none_or(|end| SystemClock.now() + least <= end)
}

/// Returns the stated expiry of a token (RFC 3339).
fn moment(token: &AccessToken) -> Option<String> {
    Some(jiff::Timestamp::from_second(seconds(token)?).ok()?.to_string())
}

/// Returns the stated expiry of a token in seconds since 1970.
fn seconds(token: &AccessToken) -> Option<i64> {
    let since = token.stated_expiry()?.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    i64::try_from(since.as_secs()).ok()
}
