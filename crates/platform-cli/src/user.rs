//! `aignostics user`: logins.

mod prompt;

use std::io::{self, IsTerminal, Read};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::anyhow;
use auth_core::Secret;
use clap::{Args, Subcommand};
use platform_resources::{Activity, Identity, LoggedOut, LoginMethods, Service};
use serde_json::Value;
use terminal::Output;
use terminal::input::detached;

use crate::context::Context;
use crate::error::{CliError, is_login_required};
use prompt::{DevicePrompt, SystemBrowser};

/// The maximum size of a refresh token, in bytes.
const MAX_TOKEN_BYTES: u64 = 64 * 1024;

#[derive(Subcommand)]
pub(crate) enum Action {
    /// Log in, if not logged in
    Login {
        /// Log in again; the old login stays valid until the new one succeeds
        #[arg(long)]
        relogin: bool,
        /// Log in with a refresh token from standard input instead of a prompt
        #[arg(long, conflicts_with_all = ["relogin", "device", "no_browser"])]
        with_refresh_token: bool,
        #[command(flatten)]
        method: LoginArgs,
    },
    /// Log out, here and at the identity provider
    Logout,
    /// Show the current user as JSON; on a terminal, log in if necessary
    Whoami {
        /// Show secrets as `***MASKED(length)***`
        #[arg(long, overrides_with = "no_mask_secrets")]
        mask_secrets: bool,
        /// Show secrets in plain text
        #[arg(long)]
        no_mask_secrets: bool,
        /// Log in again first
        #[arg(long)]
        relogin: bool,
        #[command(flatten)]
        method: LoginArgs,
    },
}

/// The options for the login method.
#[derive(Args)]
pub(crate) struct LoginArgs {
    /// Log in on another device, with a code
    #[arg(long)]
    device: bool,
    /// Print the login URL instead of opening a browser
    #[arg(long)]
    no_browser: bool,
    #[arg(long = "no-relogin", hide = true)]
    _no_relogin: bool,
}

impl LoginArgs {
    fn is_set(&self) -> bool {
        self.device || self.no_browser
    }

    fn methods(&self, service: &Service) -> LoginMethods {
        let has_device = service.settings().client_id_device.is_some();
        let with_device = |methods: LoginMethods| methods.with_device(Arc::new(DevicePrompt));
        let headless_reason = auth_oauth::headless_reason();
        match headless_reason {
            _ if self.device => with_device(LoginMethods::none()),
            Some(reason) if has_device && !self.no_browser => {
                tracing::info!(reason, "no browser is available; using the device flow");
                with_device(LoginMethods::none())
            }
            _ => {
                let browser = SystemBrowser::new(!self.no_browser && headless_reason.is_none());
                let methods = LoginMethods::none().with_browser(Arc::new(browser));
                if has_device { with_device(methods) } else { methods }
            }
        }
    }
}

pub(crate) async fn run(action: Action, context: &Context) -> Result<(), CliError> {
    let service = context.service(match action {
        Action::Logout => Activity::Diagnosing,
        Action::Whoami { .. } => Activity::Reading,
        Action::Login { .. } => Activity::Changing,
    })?;
    match action {
        Action::Login { relogin, with_refresh_token, method } => {
            let new_identity = if with_refresh_token {
                log_in_with_refresh_token(service, read_refresh_token().await?).await
            } else {
                log_in_and_identify(service, method.methods(service), relogin).await
            };
            // The hint of this error is to log in, which has just failed.
            let new_identity =
                new_identity.map_err(|error| if is_login_required(&error) { error.without_hint() } else { error })?;
            let user = &new_identity.me.user;
            let name = user.name.as_ref().or(user.email.as_ref()).unwrap_or(&user.id);
            context.output.note(format!("logged in as {name} of {}", new_identity.me.organization.id));
            Ok(context.output.print_object(&new_identity.describe(), String::new)?)
        }
        Action::Logout => match service.log_out().await {
            Err(error) if error.is_not_logged_in() => Err(CliError::bad_input(error)),
            Err(error) => Err(error.into()),
            Ok(outcome) => {
                context.output.note(match outcome {
                    LoggedOut::LocalOnly(error) => format!(
                        "logged out on this machine, but not at the identity provider: {:#}",
                        anyhow::Error::from(error)
                    ),
                    _ => "logged out".to_owned(),
                });
                Ok(())
            }
        },
        Action::Whoami { mask_secrets: _, no_mask_secrets, relogin, method } => {
            // Without a terminal, no user would see the prompt.
            let prompts = relogin || method.is_set() || io::stderr().is_terminal();
            let methods = if prompts { method.methods(service) } else { LoginMethods::none() };
            let identity = log_in_and_identify(service, methods, relogin).await?;
            let credential = identity.credential.to_string();
            let identity = if no_mask_secrets { identity.describe_with_secrets() } else { identity.describe() };
            Ok(context.output.or_json().print_object(&identity, || table(&context.output, &identity, credential))?)
        }
    }
}

async fn log_in_with_refresh_token(service: &Service, token: Secret) -> Result<Identity, CliError> {
    service.log_in_with(token).await?;
    Ok(service.identity().await?)
}

/// Reads a refresh token from stdin.
async fn read_refresh_token() -> Result<Secret, CliError> {
    let read = detached(|| {
        let mut text = String::new();
        io::stdin().take(MAX_TOKEN_BYTES).read_to_string(&mut text).map(|_| text)
    });
    let text = read.await?.map_err(|error| anyhow!("cannot read standard input: {error}"))?;
    match text.trim() {
        "" => Err(CliError::bad_input(anyhow!("standard input is empty: pass the refresh token through a pipe"))),
        text => Ok(Secret::new(text)),
    }
}

fn table(output: &Output, identity: &Value, credential: String) -> String {
    let field = |path: &str| match identity.pointer(path) {
        Some(Value::String(text)) => text.clone(),
        None | Some(Value::Null) => String::new(),
        Some(other) => other.to_string(),
    };
    // A token that is not a JWT has no claims.
    let claim_or_unknown = |text: String| if text.is_empty() { "unknown".to_owned() } else { text };
    let expiry = identity.pointer("/token/expires_at").and_then(Value::as_u64);
    let expiry = expiry.map(|seconds| output.time(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)));
    output.fields([
        ("user", field("/user/id")),
        ("name", field("/user/name")),
        ("e-mail", field("/user/email")),
        ("organization", field("/organization/id")),
        ("role", claim_or_unknown(field("/role"))),
        ("issuer", claim_or_unknown(field("/token/issuer"))),
        ("token expires", claim_or_unknown(expiry.unwrap_or_default())),
        ("credential", credential),
    ])
}

/// Logs in, if necessary or with `is_relogin`, and returns the user.
async fn log_in_and_identify(service: &Service, methods: LoginMethods, is_relogin: bool) -> Result<Identity, CliError> {
    if is_relogin {
        Box::pin(service.log_in(methods)).await?;
    } else {
        Box::pin(service.ensure_login(methods)).await?;
    }
    Ok(service.identity().await?)
}
