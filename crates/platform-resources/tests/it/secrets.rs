//! Secrets in the log of all crates of this project.

use tracing_subscriber::EnvFilter;

use crate::lab::Lab;
use crate::log::Log;

#[tokio::test]
async fn log_of_a_run_contains_no_secret() {
    let log = Log::default();
    let crates = "auth_core,auth_http,auth_oauth,platform_api,platform_download,platform_emulator,platform_resources";
    let filter = EnvFilter::new(crates.split(',').map(|name| format!("{name}=trace")).collect::<Vec<_>>().join(","));
    // Records the log of the whole process, because the log of concurrent tests must not contain secrets either.
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(log.clone()).with_ansi(false).init();
    let lab = Lab::open().await;
    let organization = lab.client.me().await.unwrap().organization;
    let token = lab.tokens.token().await.unwrap();
    let slides = lab.slides();
    let run = lab.client.runs().submit(lab.submission(&slides[2..]).await).await.unwrap();
    assert!(run.download(lab.results().await).follow().await.unwrap().is_complete());

    let fault = platform_emulator::Effect::Status { status: 503, body: None };
    let fault =
        platform_emulator::Fault::new(fault).on(platform_emulator::Server::Api).with_path("/api/v1/me").times(1);
    lab.emulator.control().unwrap().inject(&fault).await.unwrap();
    lab.client.clone().no_cache().me().await.unwrap();

    let log_text = log.text();
    assert!(log_text.contains("/oauth/token") && log_text.contains("storage"), "the log is incomplete: {log_text}");
    for message in [
        "the call failed",
        "operation=\"get_me\" attempt=2",
        "the platform responded with 503",
        "obtaining an access token",
    ] {
        assert!(log_text.contains(message), "the log does not contain: {message}");
    }
    for secret in [
        token.secret().expose(),
        organization.aignostics_bucket_hmac_secret_access_key.expose(),
        "X-Amz-Signature",
        "Bearer ",
    ] {
        assert!(!log_text.contains(secret), "{log_text}");
    }
}
