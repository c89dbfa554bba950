//! Diagnosis of login problems.

use std::error::Error as _;
use std::fmt::Display;
use std::time::{Duration, SystemTime};

use auth_core::{Clock, LeaseOutcome, RefreshLease, SystemClock, error_chain};
use auth_http::{HttpError, Request};
use auth_oauth::{BrowserLogin, CredentialError, StoreError};
use platform_api::ApiError;
use serde::{Serialize, Serializer};
use serde_json::json;
use url::Url;

use super::Service;
use super::external::ExternalProvider;
use super::keys::token_key;
use crate::error::Error;

/// The timeout of a request that checks a server.
const SERVER_TIMEOUT: Duration = Duration::from_secs(10);
/// The maximum wait for the lock of a process that refreshes the login.
const LOCK_WAIT: Duration = Duration::from_secs(5);
/// The maximum clock skew that is tolerated for tokens.
const MAX_SKEW: Duration = Duration::from_secs(60);

/// The result of one check of [`Service::diagnose`]. It contains no secrets.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Finding {
    /// The subject of the check.
    pub name: &'static str,
    /// The result of the check.
    pub detail: String,
    /// The remedy for a problem; `None` if the check succeeded.
    pub remedy: Option<String>,
}

/// Serializes the name, the result, the detail and the remedy.
impl Serialize for Finding {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { name, detail, remedy } = self;
        json!({ "name": name, "is_ok": self.is_ok(), "detail": detail, "remedy": remedy }).serialize(serializer)
    }
}

impl Finding {
    fn ok(name: &'static str, detail: impl Display) -> Self {
        Self { name, detail: detail.to_string(), remedy: None }
    }

    fn problem(name: &'static str, detail: impl Display, remedy: impl Into<String>) -> Self {
        Self { name, detail: detail.to_string(), remedy: Some(remedy.into()) }
    }

    /// Returns true if the check succeeded.
    pub fn is_ok(&self) -> bool {
        self.remedy.is_none()
    }
}

impl Service {
    /// Checks everything that a login depends on: the settings, the connection to each server, the clock, the folder of
    /// logins and its locks, the port for the browser, and the login itself. It never prompts for a login.
    pub async fn diagnose(&self) -> Vec<Finding> {
        let settings = self.settings();
        let mut findings = vec![self.diagnose_settings()];
        let (issuer_finding, issuer_time) = self.check_server("identity provider", settings.jwks_url.clone()).await;
        findings.push(issuer_finding);
        findings.extend(issuer_time.map(diagnose_clock));
        for (name, url) in [
            ("platform", settings.api_root.join("/health").unwrap_or_else(|_| settings.api_root.clone())),
            ("storage", settings.bucket.endpoint.clone()),
        ] {
            findings.push(self.check_server(name, url).await.0);
        }
        findings.push(self.diagnose_store().await);
        findings.push(Finding::ok("credential", &settings.credential));
        if let Some(external) = &self.external {
            findings.push(diagnose_provider(external, settings.credential.source.kind()).await);
        } else {
            findings.push(self.diagnose_port());
            findings.push(self.diagnose_login().await);
        }
        if findings.last().is_some_and(Finding::is_ok) {
            findings.push(self.diagnose_access().await);
        }
        if let Some(page) = &settings.status_page_url {
            findings.push(Finding::ok("status page", page));
        }
        findings
    }

    /// Checks that the platform accepts the token.
    async fn diagnose_access(&self) -> Finding {
        let name = "access to the platform";
        let me = async { self.client()?.no_cache().me().await };
        match me.await {
            Ok(me) => Finding::ok(name, format!("{} of {}", me.user.id, me.organization.id)),
            Err(error) => Finding::problem(name, error_chain(&error), self.access_remedy(&error)),
        }
    }

    fn access_remedy(&self, error: &Error) -> &'static str {
        let is_api_error = |predicate: fn(&ApiError) -> bool| error.api().is_some_and(predicate);
        let is_stored = self.settings().credential.name.is_none();
        match error {
            _ if error.is_transient() => "retry later, or check the status page of the platform",
            _ if is_api_error(ApiError::is_unauthorized) && is_stored => "log in again",
            _ if is_api_error(ApiError::is_unauthorized) => {
                "provide a token that the platform's identity provider issued for the audience of the platform"
            }
            _ if is_api_error(ApiError::is_forbidden) => {
                "request access for this user from the administrator of the organization"
            }
            _ if error.is_not_found() => "correct the address of the platform: `aignostics system config` shows it",
            _ => "report the failure with the output of `aignostics system info`",
        }
    }

    fn diagnose_settings(&self) -> Finding {
        let settings = self.settings();
        let detail = format!("{} at {}", settings.environment.unwrap_or("a custom platform"), settings.api_root);
        if settings.ignored.is_empty() {
            return Finding::ok("settings", detail);
        }
        let names = settings.ignored.join(", ");
        let detail = format!("{detail}; ignored, because a file must not set them: {names}");
        Finding::problem(
            "settings",
            detail,
            "set them in the environment, or use --profile for a profile and --trust-env-file for the `.env` of the \
             working folder",
        )
    }

    /// Checks that a server responds without a server error (5xx). Also returns the time according to the server.
    async fn check_server(&self, name: &'static str, url: Url) -> (Finding, Option<SystemTime>) {
        let host = url.host_str().unwrap_or_default().to_owned();
        match self.http.send(Request::get(url).with_timeout(SERVER_TIMEOUT)).await {
            Ok(response) if response.status() >= 500 => {
                let detail = format!("{host} responds {}", response.status());
                (
                    Finding::problem(
                        name,
                        detail,
                        "the server has an internal problem: retry later, or check its status page",
                    ),
                    response.date(),
                )
            }
            Ok(response) => (Finding::ok(name, format!("{host} responds")), response.date()),
            Err(error) => (unreachable_server(name, &error), None),
        }
    }

    async fn diagnose_store(&self) -> Finding {
        let name = "logins on this machine";
        let folder = self.settings().cache_folder.join("logins");
        match self
            .store
            .clone()
            .with_lock_timeout(LOCK_WAIT)
            .acquire(&token_key(&self.settings, &self.interactive), None)
            .await
        {
            Ok(outcome) => {
                if let LeaseOutcome::Acquired(lease) = outcome {
                    lease.release().await;
                }
                Finding::ok(name, folder.display())
            }
            Err(error) => {
                let detail = StoreError::of(&error).map_or_else(|| error.to_string(), ToString::to_string);
                if self.external.is_some() {
                    return Finding::ok(name, format!("{detail}; each process obtains its own token"));
                }
                Finding::problem(
                    name,
                    detail,
                    "make the folder writable, or set AIGNOSTICS_CACHE_DIR to another folder",
                )
            }
        }
    }

    fn diagnose_port(&self) -> Finding {
        let (name, redirect) = ("port for the browser", &self.settings().redirect_url);
        match BrowserLogin::check_redirect(redirect) {
            Ok(()) => Finding::ok(name, redirect),
            Err(error) => Finding::problem(
                name,
                error,
                "stop the process that listens on it, use the device flow, or set AIGNOSTICS_REDIRECT_URI to another URL",
            ),
        }
    }

    async fn diagnose_login(&self) -> Finding {
        let name = "login";
        let credential = &self.settings().credential;
        let log_in_remedy = match &credential.name {
            None => "log in (again)".to_owned(),
            Some(name) => format!("set {name} to a valid refresh token, or unset it to use the stored login"),
        };
        let connection_remedy = "restore the connection to the identity provider first";
        let token = match self.tokens().token().await {
            Ok(token) => token,
            Err(error) => {
                let remedy = if error.is_transient() { connection_remedy.to_owned() } else { log_in_remedy };
                return Finding::problem(name, error_chain(&error), remedy);
            }
        };
        match self.verifier.verify(token.secret()).await {
            Ok(claims) => {
                let remaining_time =
                    claims.expires_at().and_then(|expires_at| expires_at.duration_since(SystemClock.now()).ok());
                let remaining = remaining_time.map_or_else(
                    || "without expiry".to_owned(),
                    |remaining| format!("{} min left", remaining.as_secs() / 60),
                );
                let organization = claims.org_id.as_deref().unwrap_or("no organization");
                Finding::ok(name, format!("{} of {organization}, {remaining}", claims.sub))
            }
            Err(error) if error.is_transient() => Finding::problem(name, error, connection_remedy),
            Err(error) => Finding::problem(name, error, log_in_remedy),
        }
    }
}

/// Checks that a token provider returns a token, and measures the time of the call.
async fn diagnose_provider(external: &ExternalProvider, name: &'static str) -> Finding {
    let start = tokio::time::Instant::now();
    let outcome = external.call().await;
    let seconds = start.elapsed().as_secs_f64();
    match outcome {
        Ok(token) => {
            let remaining = token.specified_expiry().and_then(|end| end.duration_since(SystemClock.now()).ok());
            let remaining = remaining.map_or_else(
                || "of unknown expiry".to_owned(),
                |remaining| format!("with {} min left", remaining.as_secs() / 60),
            );
            Finding::ok(name, format!("a token {remaining}, after {seconds:.1} s"))
        }
        Err(error) => match CredentialError::of(&error) {
            Some(error) => Finding::problem(name, format!("{error}, after {seconds:.1} s"), error.remedy()),
            None => Finding::problem(name, error_chain(&error), "check the settings of the credential"),
        },
    }
}

fn unreachable_server(name: &'static str, error: &HttpError) -> Finding {
    let chain = std::iter::successors(error.source(), |&error| error.source());
    let cause = chain.last().map(|cause| format!(": {cause}")).unwrap_or_default();
    let remedy = match error.proxy() {
        _ if error.is_untrusted() => {
            "if a proxy of your network decrypts TLS, trust its certificate with --ca-cert or REQUESTS_CA_BUNDLE"
                .to_owned()
        }
        Some(proxy) => format!("check the proxy {proxy} and its password (HTTPS_PROXY), or bypass it (NO_PROXY)"),
        None if error.is_timeout() => {
            "check whether a firewall blocks the connection or a proxy is required (HTTPS_PROXY)".to_owned()
        }
        None => "check the network and the name resolution, and whether a proxy is required (HTTPS_PROXY)".to_owned(),
    };
    Finding::problem(name, format!("{error}{cause}"), remedy)
}

/// Compares the local clock with the time of the identity provider.
fn diagnose_clock(provider_time: SystemTime) -> Finding {
    let local_time = SystemClock.now();
    let skew = local_time.duration_since(provider_time).unwrap_or_else(|error| error.duration());
    let detail = format!("{} s from that of the identity provider", skew.as_secs());
    if skew <= MAX_SKEW {
        Finding::ok("clock", detail)
    } else {
        Finding::problem("clock", detail, "set the clock of this machine; tokens are refused until then")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clock_skew_of_up_to_a_minute_is_tolerated() {
        let diagnose_shifted = |seconds: i64| {
            let now = SystemClock.now();
            let shift = Duration::from_secs(seconds.unsigned_abs());
            diagnose_clock(if seconds < 0 { now - shift } else { now + shift })
        };
        for (seconds, is_ok) in [(0, true), (55, true), (-55, true), (70, false), (-70, false)] {
            assert_eq!(diagnose_shifted(seconds).is_ok(), is_ok, "{seconds}");
        }
    }
}
