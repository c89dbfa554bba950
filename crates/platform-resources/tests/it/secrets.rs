//! Secrets in the log of all crates of this project.

use tracing_subscriber::EnvFilter;

use crate::lab::Lab;
use crate::log::Log;

#[tokio::test]
async fn log_of_a_run_contains_no_secret() {
    let log = Log::default();
    let ours = "auth_core,auth_http,auth_oauth,platform_api,platform_download,platform_emulator,platform_resources";
    let filter = EnvFilter::new(ours.split(',').map(|name| format!("{name}=trace")).collect::<Vec<_>>().join(","));
    // Logs of the whole process, because those of concurrent tests must not contain secrets, either.
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(log.clone()).with_ansi(false).init();
    let lab = Lab::open().await;
    let organization = lab.client.me().await.unwrap().organization;
    let token = lab.tokens.token().await.unwrap();
    let slides = lab.slides();
    let run = lab.client.runs().submit(lab.submission(&slides[2..]).await).await.unwrap();
    assert!(run.download(lab.results().await).follow().await.unwrap().is_complete());

    let away = platform_emulator::Effect::Status { status: 503, body: None };
    let away = platform_emulator::Fault::new(away).on(platform_emulator::Server::Api).with_path("/api/v1/me").times(1);
    lab.emulator.control().unwrap().inject(&away).await.unwrap();
    lab.client.clone().no_cache().me().await.unwrap();

    let logged = log.text();
    assert!(logged.contains("/oauth/token") && logged.contains("storage"), "the log is incomplete: {logged}");
    for part in [
        "the call failed",
        "operation=\"get_me\" attempt=2",
        "the platform responded with 503",
        "obtaining an access token",
    ] {
        assert!(logged.contains(part), "the log does not contain: {part}");
    }
    for secret in [
        token.secret().expose(),
        organization.aignostics_bucket_hmac_secret_access_key.expose(),
        "X-Amz-Signature",
        "Bearer ",
    ] {
        assert!(!logged.contains(secret), "{logged}");
    }
}
