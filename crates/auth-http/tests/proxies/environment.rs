//! Proxies from the environment. The test binary starts itself as a child process with other variables, because all
//! tests of a process share its environment.

use std::env;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use auth_http::HttpClient;
use tempfile::TempDir;
use url::Url;

use crate::authority::Authority;
use crate::exchange::{error_details, get};
use crate::password::CANARY;
use crate::process::RunningProxy;
use crate::program::{AUTHORITY, mitmproxy, with_password};
use crate::server::serve;

/// The test that runs in the child process, and the variables for its target URL and its output file.
const CHILD: &str = "environment::environment_proxy_is_used_except_for_no_proxy_hosts";
const TARGET: &str = "AUTH_HTTP_TEST_TARGET";
const OUTCOME: &str = "AUTH_HTTP_TEST_OUTCOME";

/// Sends a request to `url` in a process with only these variables. Returns the status, or the proxy and the error, on
/// separate lines.
pub(crate) async fn send_in_environment(variables: &[(&str, &str)], url: &Url) -> String {
    let folder = TempDir::new().unwrap();
    let outcome = folder.path().join("outcome");
    let mut command = Command::new(env::current_exe().unwrap());
    command.args([CHILD, "--exact"]).stdin(Stdio::null()).env_clear().envs(variables.iter().copied());
    command.env(TARGET, url.as_str()).env(OUTCOME, &outcome);
    // This runtime serves the child's request.
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    fs::read_to_string(outcome).unwrap()
}

/// Sends a request in the child process, and writes the result to a file.
async fn run_child(target: &str) {
    let outcome = match get(HttpClient::builder(), &target.parse().unwrap()).await {
        Ok(status) => status.to_string(),
        Err(error) => format!("{}\n{}", error.proxy().unwrap_or("no proxy"), error_details(&error)),
    };
    fs::write(env::var_os(OUTCOME).unwrap(), outcome).unwrap();
}

fn path_str(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[tokio::test]
async fn environment_proxy_is_used_except_for_no_proxy_hosts() {
    if let Ok(target) = env::var(TARGET) {
        return run_child(&target).await;
    }
    let authority = Authority::new();
    let url = serve(&authority, None).await;
    let file = authority.file();
    let trusted_roots = ("REQUESTS_CA_BUNDLE", path_str(&file));
    for program in with_password() {
        let Some(running) = RunningProxy::start(program).await else { continue };
        let proxy_url = running.shown();
        let correct_url = running.url_with("pass%2Eword").to_string();
        let wrong_url = running.url_with("canary").to_string();
        let without_scheme = wrong_url.strip_prefix("http://").unwrap().trim_end_matches('/');
        for (variables, succeeds) in [
            (vec![("HTTPS_PROXY", correct_url.as_str())], true),
            (vec![("https_proxy", &correct_url)], true),
            (vec![("ALL_PROXY", &correct_url)], true),
            (vec![("HTTPS_PROXY", &correct_url), ("NO_PROXY", "example.org")], true),
            (vec![("HTTPS_PROXY", &correct_url), ("ALL_PROXY", &wrong_url)], true),
            (vec![("HTTPS_PROXY", &wrong_url), ("NO_PROXY", "localhost")], true),
            (vec![("HTTPS_PROXY", &wrong_url), ("no_proxy", ".example.org,localhost")], true),
            // `HTTP_PROXY` does not apply to https.
            (vec![("HTTP_PROXY", &wrong_url)], true),
            (vec![("HTTPS_PROXY", &wrong_url)], false),
            (vec![("HTTPS_PROXY", without_scheme)], false),
            (vec![("HTTPS_PROXY", &wrong_url), ("NO_PROXY", "example.org")], false),
        ] {
            let outcome = send_in_environment(&[&variables[..], &[trusted_roots]].concat(), &url).await;
            let (first_line, error) = outcome.split_once('\n').unwrap_or((&outcome, ""));
            assert_eq!(first_line, if succeeds { "200" } else { &proxy_url }, "{variables:?} {error}");
            assert!(!error.contains("canary") && !error.contains(CANARY), "{error}");
        }
    }
}

#[tokio::test]
async fn environment_configures_an_intercepting_proxy() {
    let authority = Authority::new();
    let url = serve(&authority, None).await;
    let Some(running) = RunningProxy::start(mitmproxy(authority.file())).await else { return };
    let (proxy, file) = (running.url(), running.file(AUTHORITY));
    let proxy_variable = ("HTTPS_PROXY", proxy.as_str());
    for variable in ["REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"] {
        assert_eq!(
            send_in_environment(&[proxy_variable, (variable, path_str(&file))], &url).await,
            "200",
            "{variable}"
        );
    }
    let outcome = send_in_environment(&[proxy_variable], &url).await;
    assert!(outcome.starts_with(&running.shown()) && outcome.contains("not trusted by this system"), "{outcome}");
}
