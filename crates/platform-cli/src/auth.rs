//! `aignostics auth`: the token itself, for other tools.

use std::io::{self, Write};
use std::time::{Duration, SystemTime};

use anyhow::{Context, anyhow};
use auth_core::{AccessToken, Clock, SystemClock};
use clap::{Subcommand, ValueEnum};
use platform_resources::{Finding, Service};
use serde_json::json;

use crate::exit::Failure;
use crate::shown::shown;
use crate::signals::Signals;
use crate::user::Access;

#[derive(Subcommand)]
pub(crate) enum Action {
    /// Looks at all that a login depends on, and says what would mend it.
    Doctor,
    /// Prints an access token of the login. Whoever has it is the user: hand it on by a pipe, not by an argument.
    Token {
        /// How long the token must be good for at least, such as 90s, 10m or 2h.
        #[arg(long, value_name = "TIME", value_parser = parse_time)]
        min_ttl: Option<Duration>,
        /// How it is printed.
        #[arg(long, value_enum, default_value_t = Format::Raw)]
        format: Format,
    },
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Format {
    /// The token alone.
    Raw,
    /// With its end and its scopes, as JSON.
    Json,
    /// As `kubectl` and others want it of a credential plugin (`client.authentication.k8s.io/v1`).
    Exec,
}

pub(crate) async fn run(action: Action, access: &Access, signals: Signals) -> Result<(), Failure> {
    let service = access.service()?;
    signals.end_after(act(action, &service), || service.is_renewing()).await
}

async fn act(action: Action, service: &Service) -> Result<(), Failure> {
    match action {
        Action::Doctor => doctor(service).await,
        Action::Token { min_ttl, format } => token(service, min_ttl, format).await,
    }
}

async fn doctor(service: &Service) -> Result<(), Failure> {
    let findings = service.examine().await;
    let mut text = String::new();
    for Finding { name, detail, remedy, .. } in &findings {
        let verdict = if remedy.is_some() { "FAILED" } else { "ok" };
        text += &format!("{verdict:6}  {name}: {}\n", shown(detail));
        text.extend(remedy.iter().map(|remedy| format!("        to do: {remedy}\n")));
    }
    write!(io::stdout(), "{text}").context("nobody reads the findings")?;
    match findings.iter().filter(|finding| !finding.is_well()).count() {
        0 => Ok(()),
        count => Err(anyhow!("{count} of {} are not well", findings.len()).into()),
    }
}

async fn token(service: &Service, min_ttl: Option<Duration>, format: Format) -> Result<(), Failure> {
    let least = min_ttl.unwrap_or_default();
    let token = service.tokens_lasting(least).token().await.map_err(platform_resources::Error::from)?;
    if !lasts(&token, least) {
        let short = anyhow!("the identity provider gives no token that is good for {} s", least.as_secs());
        return Err(short.into());
    }
    let text = match format {
        Format::Raw => token.secret().expose().to_owned(),
        Format::Json => json!({
            "access_token": token.secret().expose(),
            "token_type": token.token_type(),
            "expires_at": moment(&token),
            "scopes": token.scopes().collect::<Vec<_>>(),
        })
        .to_string(),
        Format::Exec => json!({
            "apiVersion": "client.authentication.k8s.io/v1",
            "kind": "ExecCredential",
            "status": { "token": token.secret().expose(), "expirationTimestamp": moment(&token) },
        })
        .to_string(),
    };
    Ok(writeln!(io::stdout(), "{text}").context("nobody reads the token")?)
}

fn lasts(token: &AccessToken, least: Duration) -> bool {
    token.expires_at().is_none_or(|end| SystemClock.now() + least <= end)
}

/// When it ends (RFC 3339).
fn moment(token: &AccessToken) -> Option<String> {
    let since = token.expires_at()?.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    let seconds = i64::try_from(since.as_secs()).ok()?;
    Some(jiff::Timestamp::from_second(seconds).ok()?.to_string())
}

fn parse_time(text: &str) -> Result<Duration, String> {
    let (number, unit) = text.split_at(text.trim_end_matches(|character: char| character.is_ascii_alphabetic()).len());
    let seconds = match unit {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return Err("a time ends with s, m or h".to_owned()),
    };
    let number: u32 = number.parse().map_err(|_| "a time begins with a whole number".to_owned())?;
    Ok(Duration::from_secs(u64::from(number) * seconds))
}
