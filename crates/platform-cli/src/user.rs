//! `aignostics user`: logins.

mod asking;
mod masked;

use std::io::{self, IsTerminal, Read};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::anyhow;
use auth_core::Secret;
use clap::{Args, Subcommand};
use platform_resources::{Identity, LoggedOut, LoginMethods, Service};
use serde_json::{Value, json};

use crate::context::Context;
use crate::detached::detached;
use crate::error::CliError;
use crate::output::Output;
use crate::retries::Retries;
use asking::{DevicePrompt, SystemBrowser};

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
        how: LoginArgs,
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
        how: LoginArgs,
    },
}

impl Action {
    /// Returns the retry limits of the command.
    pub(crate) fn retries(&self) -> Retries {
        match self {
            Self::Logout => Retries::None,
            Self::Whoami { .. } => Retries::Reading,
            Self::Login { .. } => Retries::Changing,
        }
    }
}

/// In which way to log in.
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
        let device = |methods: LoginMethods| methods.with_device(Arc::new(DevicePrompt));
        let headless = auth_oauth::headless();
        match headless {
            _ if self.device => device(LoginMethods::none()),
            Some(reason) if has_device && !self.no_browser => {
                tracing::info!(reason, "no browser is available; using the device flow");
                device(LoginMethods::none())
            }
            _ => {
                let browser = SystemBrowser::new(!self.no_browser && headless.is_none());
                let methods = LoginMethods::none().with_browser(Arc::new(browser));
                if has_device { device(methods) } else { methods }
            }
        }
    }
}

pub(crate) async fn run(action: Action, context: &Context) -> Result<(), CliError> {
    let service = context.service()?;
    match action {
        Action::Login { relogin, with_refresh_token, how } => {
            let logged_in = if with_refresh_token {
                log_in_with(service, refresh_token().await?).await
            } else {
                identity(context, how.methods(service), relogin).await
            };
            // The hint is to log in.
            let logged_in =
                logged_in.map_err(|error| if error.is_login_required() { error.without_hint() } else { error })?;
            let user = &logged_in.me.user;
            let name = user.name.as_ref().or(user.email.as_ref()).unwrap_or(&user.id);
            context.output.note(format!("logged in as {name} of {}", logged_in.me.organization.id));
            context.output.one(&masked::masked(described(&logged_in)), String::new)
        }
        Action::Logout => match service.log_out().await {
            Err(error) if error.is_not_logged_in() => Err(CliError::bad_input(error)),
            Err(error) => Err(error.into()),
            Ok(LoggedOut::HereOnly(error)) => {
                let error = anyhow::Error::from(error);
                context.output.note(format!("logged out on this machine, but not at the identity provider: {error:#}"));
                Ok(())
            }
            Ok(_) => {
                context.output.note("logged out");
                Ok(())
            }
        },
        Action::Whoami { mask_secrets: _, no_mask_secrets, relogin, how } => {
            // Without a terminal, no user would see the prompt.
            let asks = relogin || how.is_set() || io::stderr().is_terminal();
            let methods = if asks { how.methods(service) } else { LoginMethods::none() };
            let identity = identity(context, methods, relogin).await?;
            let (credential, identity) = (identity.credential.to_string(), described(&identity));
            let identity = if no_mask_secrets { identity } else { masked::masked(identity) };
            context.output.or_json().one(&identity, || text(&context.output, &identity, credential))
        }
    }
}

async fn log_in_with(service: &Service, token: Secret) -> Result<Identity, CliError> {
    service.log_in_with(token).await?;
    Ok(service.identity().await?)
}

/// Reads a refresh token from stdin.
async fn refresh_token() -> Result<Secret, CliError> {
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

/// Returns the text of an identity.
fn text(output: &Output, identity: &Value, credential: String) -> String {
    let field = |path: &str| match identity.pointer(path) {
        Some(Value::String(text)) => text.clone(),
        None | Some(Value::Null) => String::new(),
        Some(other) => other.to_string(),
    };
    // Without claims, the token is not a JWT of the identity provider.
    let claim = |text: String| if text.is_empty() { "unknown".to_owned() } else { text };
    let end = identity.pointer("/token/expires_at").and_then(Value::as_u64);
    let end = end.map(|seconds| output.moment(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)));
    output.facts([
        ("user", field("/user/id")),
        ("name", field("/user/name")),
        ("e-mail", field("/user/email")),
        ("organization", field("/organization/id")),
        ("role", claim(field("/role"))),
        ("issuer", claim(field("/token/issuer"))),
        ("token expires", claim(end.unwrap_or_default())),
        ("credential", credential),
    ])
}

/// Logs in, and returns the user.
async fn identity(context: &Context, methods: LoginMethods, again: bool) -> Result<Identity, CliError> {
    let service = context.service()?;
    if again {
        Box::pin(service.log_in(methods)).await?;
    } else {
        Box::pin(service.ensure_login(methods)).await?;
    }
    Ok(service.identity().await?)
}

fn described(identity: &Identity) -> Value {
    let seconds = |moment: Option<SystemTime>| {
        moment.and_then(|moment| Some(moment.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs()))
    };
    let (user, organization) = (&identity.me.user, &identity.me.organization);
    let (claims, credential) = (identity.claims.as_ref(), &identity.credential);
    let role = claims.map(|claims| &claims.role);
    json!({
        "role": role,
        "credential": {
            "source": credential.source.kind(),
            "name": credential.name,
            "level": credential.name.as_ref().map(|_| credential.level.to_string()),
        },
        "token": {
            "issuer": claims.map(|claims| &claims.issuer),
            "issued_at": claims.and_then(|claims| seconds(claims.issued_at)),
            "expires_at": claims.and_then(|claims| seconds(claims.expires_at)),
            "scope": claims.map(|claims| &claims.scopes),
            "audience": claims.map(|claims| [&claims.audience]),
            "authorized_party": claims.and_then(|claims| claims.client_id.as_ref()),
            "org_id": claims.and_then(|claims| claims.organization_id.as_ref()),
            "role": role,
        },
        "user": {
            "id": user.id,
            "email": user.email,
            "email_verified": user.email_verified,
            "name": user.name,
            "given_name": user.given_name,
            "family_name": user.family_name,
            "nickname": user.nickname,
            "picture": user.picture,
            "updated_at": user.updated_at.as_ref().map(ToString::to_string),
        },
        "organization": {
            "id": organization.id,
            "name": organization.name,
            "display_name": organization.display_name,
            "aignostics_bucket_hmac_access_key_id": organization.aignostics_bucket_hmac_access_key_id,
            "aignostics_bucket_hmac_secret_access_key": organization.aignostics_bucket_hmac_secret_access_key.expose(),
            "aignostics_bucket_name": organization.aignostics_bucket_name,
            "aignostics_bucket_protocol": organization.aignostics_bucket_protocol,
            "aignostics_logfire_token": organization.aignostics_logfire_token.expose(),
            "aignostics_sentry_dsn": organization.aignostics_sentry_dsn.expose(),
        },
    })
}
