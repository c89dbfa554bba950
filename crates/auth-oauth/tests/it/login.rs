//! The login of a user across processes, at the emulator, and grants for callers without a runtime.

use std::error::Error;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use auth_core::{AccessToken, AsyncTokenCache, TokenError, TokenProvider, TokenRequest, TokenSource, blocking};
use auth_oauth::{
    BlockingProvider, Browser, BrowserLogin, ClientCredentials, DeviceLogin, FileTokenStore, OAuthClient, OAuthError,
    UserLogin,
};
use platform_emulator::{DEVICE_CLIENT_ID, Emulator, INTERACTIVE_CLIENT_ID, Server};
use platform_testkit::ManualClock;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use url::Url;

use crate::grants::{AutoApprovingUser, EmulatorFixture};
use crate::log::Log;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A user account on a machine. The processes of the user share the folder of the logins.
struct UserAccount {
    fixture: EmulatorFixture,
    clock: Arc<ManualClock>,
    folder: TempDir,
}

impl UserAccount {
    async fn new() -> Self {
        Log::of_process();
        let clock = Arc::new(ManualClock::default());
        let fixture = EmulatorFixture::start_with(Emulator::builder().with_control().with_clock(clock.clone())).await;
        Self { fixture, clock, folder: TempDir::new().unwrap() }
    }

    fn client(&self, id: &str) -> OAuthClient {
        let jwks = self.fixture.endpoints.jwks.clone().unwrap();
        let issuer = self.fixture.emulator.issuer().as_str();
        let verifier =
            auth_oauth::JwtVerifier::new(self.fixture.http.clone(), issuer, platform_emulator::AUDIENCE, jwks);
        let client = self.fixture.client(id).with_scopes(["offline_access"]).with_clock(self.clock.clone());
        client.with_verifier(verifier.with_clock(self.clock.clone()))
    }

    fn login(&self) -> UserLogin {
        UserLogin::new(self.client(INTERACTIVE_CLIENT_ID)).with_client(self.client(DEVICE_CLIENT_ID))
    }

    fn device_login(&self) -> UserLogin {
        let device =
            DeviceLogin::new(self.client(DEVICE_CLIENT_ID), Arc::new(AutoApprovingUser(self.fixture.http.clone())));
        self.login().with_device(device)
    }

    fn store(&self) -> FileTokenStore {
        FileTokenStore::new(self.folder.path().join("logins")).with_clock(self.clock.clone())
    }

    /// Returns a token source, as a new process would create it.
    fn source_of_new_process(&self, login: UserLogin) -> TokenSource {
        let store = Arc::new(self.store());
        let key = self.client(INTERACTIVE_CLIENT_ID).token_key().with_identity("user").build();
        let source = TokenSource::builder(key, login).with_cache(store.clone()).with_lease(store);
        source.with_clock(self.clock.clone()).build().unwrap()
    }

    /// Makes the next request for the issuer's keys fail.
    async fn fail_next_key_request(&self) {
        let outage = platform_emulator::Effect::Status { status: 503, body: None };
        let outage =
            platform_emulator::Fault::new(outage).on(Server::Identity).with_path("/.well-known/jwks.json").times(1);
        self.fixture.emulator.control().unwrap().inject(&outage).await.unwrap();
    }

    /// Returns the number of requests to the provider at this path.
    async fn request_count(&self, path: &str) -> usize {
        let journal = self.fixture.emulator.control().unwrap().journal(Server::Identity).await.unwrap();
        journal.iter().filter(|entry| entry.path == path).count()
    }
}

/// Returns the grant error that caused an error of a token source.
fn grant_error(error: &TokenError) -> &OAuthError {
    error.source().unwrap().downcast_ref().unwrap()
}

#[tokio::test]
async fn login_is_shared_and_refreshed_by_its_own_client() {
    let account = UserAccount::new().await;
    let first = account.source_of_new_process(account.device_login()).token().await.unwrap();
    // Neither the user nor the provider gets another request.
    let second = account.source_of_new_process(account.login()).token().await.unwrap();
    assert!(second.is_same(&first));
    assert_eq!(
        (account.request_count("/oauth/device/code").await, account.request_count("/oauth/token").await),
        (1, 1)
    );

    let mut previous = second;
    for day in 1..=3 {
        account.clock.advance(DAY);
        let refreshed = account.source_of_new_process(account.login()).token().await.unwrap();
        assert!(!refreshed.is_same(&previous) && refreshed.refresh_token() != previous.refresh_token());
        assert_eq!(account.fixture.user_of(&refreshed).await.as_deref(), Some("auth0|emulator-1"));
        assert_eq!(account.request_count("/oauth/token").await, 1 + day);
        previous = refreshed;
    }
}

#[tokio::test]
async fn ended_login_needs_a_prompt_to_log_in_again() {
    let account = UserAccount::new().await;
    let error = account.source_of_new_process(account.login()).token().await.unwrap_err();
    assert!(error.is_refused() && grant_error(&error).is_login_required(), "{error:?}");

    let login = account.source_of_new_process(account.device_login()).token().await.unwrap();
    account.client(DEVICE_CLIENT_ID).revoke(&login).await.unwrap();
    account.clock.advance(DAY);
    let second_login = account.source_of_new_process(account.device_login()).token().await.unwrap();
    assert_eq!(account.fixture.user_of(&second_login).await.as_deref(), Some("auth0|emulator-1"));
    assert_eq!(account.request_count("/oauth/device/code").await, 2);

    account.client(DEVICE_CLIENT_ID).revoke(&second_login).await.unwrap();
    account.clock.advance(DAY);
    let refresh_error = account.source_of_new_process(account.login()).token().await.unwrap_err();
    assert!(refresh_error.is_refused() && grant_error(&refresh_error).is_credential_refused(), "{refresh_error:?}");
    // The refused login is no longer stored, so the next process does not send it.
    let request_count = account.request_count("/oauth/token").await;
    let next_error = account.source_of_new_process(account.login()).token().await.unwrap_err();
    assert!(grant_error(&next_error).is_login_required(), "{next_error:?}");
    assert_eq!(account.request_count("/oauth/token").await, request_count);
}

#[tokio::test]
async fn rejected_token_during_an_outage_keeps_the_login() {
    let account = UserAccount::new().await;
    let source = account.source_of_new_process(account.device_login());
    let rejected_token = source.token().await.unwrap();
    let outage = platform_emulator::Effect::Status { status: 503, body: None };
    let outage = platform_emulator::Fault::new(outage).on(Server::Identity).with_path("/oauth/token").times(1);
    account.fixture.emulator.control().unwrap().inject(&outage).await.unwrap();
    source.reject(&TokenRequest::default(), &rejected_token);
    let error = source.token().await.unwrap_err();
    assert!(!error.is_refused() && grant_error(&error).is_transient(), "{error:?}");
    while AsyncTokenCache::get(&account.store(), source.key()).await.unwrap().is_some() {
        tokio::task::yield_now().await;
    }
    // The next process refreshes the login without a prompt.
    let refreshed = account.source_of_new_process(account.login()).token().await.unwrap();
    assert!(!refreshed.is_same(&rejected_token));
}

#[tokio::test]
async fn unverifiable_refresh_is_not_started() {
    let account = UserAccount::new().await;
    account.source_of_new_process(account.device_login()).token().await.unwrap();
    account.clock.advance(DAY);
    account.fail_next_key_request().await;
    let error = account.source_of_new_process(account.login()).token().await.unwrap_err();
    assert!(!error.is_refused() && grant_error(&error).is_transient(), "{error:?}");
    assert_eq!(account.request_count("/oauth/token").await, 1, "the refresh token was not spent");
    account.source_of_new_process(account.login()).token().await.unwrap();
}

#[tokio::test]
async fn unverifiable_login_causes_no_prompt() {
    let account = UserAccount::new().await;
    account.fail_next_key_request().await;
    let error = account.device_login().log_in(&TokenRequest::default()).await.unwrap_err();
    assert!(error.is_transient(), "{error:?}");
    assert_eq!(account.request_count("/oauth/device/code").await, 0);

    let redirect = "http://127.0.0.1:0/".parse().unwrap();
    account.fail_next_key_request().await;
    let browser =
        BrowserLogin::new(account.client(INTERACTIVE_CLIENT_ID), redirect, Arc::new(UnopenableBrowser)).unwrap();
    let error = browser.log_in(&TokenRequest::default()).await.unwrap_err();
    assert!(error.is_transient(), "no browser is opened: {error:?}");
}

#[tokio::test]
async fn login_of_a_removed_client_is_refreshed() {
    let account = UserAccount::new().await;
    let login = account.source_of_new_process(account.device_login()).token().await.unwrap();
    account.clock.advance(DAY);
    let login_without_the_client = UserLogin::new(account.client(INTERACTIVE_CLIENT_ID));
    let refreshed = account.source_of_new_process(login_without_the_client).token().await.unwrap();
    assert!(!refreshed.is_same(&login));
}

#[tokio::test]
async fn server_error_never_revokes_a_login() {
    let account = UserAccount::new().await;
    account.source_of_new_process(account.device_login()).token().await.unwrap();
    account.clock.advance(DAY);
    for status in [500, 429] {
        let body = Some(r#"{"error":"invalid_grant"}"#.to_owned());
        let fault = platform_emulator::Effect::Status { status, body };
        let fault = platform_emulator::Fault::new(fault).on(Server::Identity).with_path("/oauth/token").times(1);
        account.fixture.emulator.control().unwrap().inject(&fault).await.unwrap();
        let error = account.source_of_new_process(account.login()).token().await.unwrap_err();
        assert!(!error.is_refused() && grant_error(&error).is_transient(), "{error:?}");
    }
    account.source_of_new_process(account.login()).token().await.unwrap();
}

/// A browser that cannot be opened.
#[derive(Debug)]
struct UnopenableBrowser;

#[async_trait]
impl Browser for UnopenableBrowser {
    async fn open(&self, _url: &Url) -> Result<(), Box<dyn Error + Send + Sync>> {
        Err("no browser is available".into())
    }
}

/// Skips the nine seconds in which a login waits for a port that is in use. After that, time is real.
async fn with_skipped_port_wait<T>(login: impl Future<Output = T>) -> T {
    tokio::time::pause();
    let resume_time = async {
        tokio::time::timeout(Duration::from_secs(9), std::future::pending::<()>()).await.unwrap_err();
        tokio::time::resume();
    };
    tokio::join!(login, resume_time).0
}

#[tokio::test]
async fn device_flow_follows_a_failed_browser_login() {
    let account = UserAccount::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let redirect = format!("http://127.0.0.1:{}/", listener.local_addr().unwrap().port());
    for (redirect, reason) in [(redirect.as_str(), "PortTaken"), ("http://127.0.0.1:0/", "no browser is available")] {
        let interactive = account.client(INTERACTIVE_CLIENT_ID);
        let browser = BrowserLogin::new(interactive, redirect.parse().unwrap(), Arc::new(UnopenableBrowser)).unwrap();
        let browser_only = account.login().with_browser(browser.clone());
        let error = with_skipped_port_wait(browser_only.log_in(&TokenRequest::default())).await.unwrap_err();
        assert!(format!("{error:?}").contains(reason), "{error:?}");
        let browser_and_device = account.device_login().with_browser(browser);
        let token: AccessToken =
            with_skipped_port_wait(browser_and_device.log_in(&TokenRequest::default())).await.unwrap();
        assert!(token.refresh_token().is_some());
    }
    let log = Log::of_process().text();
    assert!(log.contains("the browser login failed"), "{log}");
}

#[test]
fn blocking_caller_gets_tokens_from_each_grant() {
    let runtime = Runtime::new().unwrap();
    let fixture = runtime.block_on(EmulatorFixture::start_with(Emulator::builder()));
    let client = fixture.machine_client();
    let provider = BlockingProvider::new(ClientCredentials::new(client.clone())).unwrap();
    let source = blocking::TokenSource::new(client.token_key().build(), provider);
    let token = source.token().unwrap();
    assert!(runtime.block_on(fixture.user_of(&token)).is_some());
    assert!(source.token().unwrap().is_same(&token));

    let provider = BlockingProvider::new(ClientCredentials::new(client)).unwrap();
    runtime.block_on(async move {
        let error = provider.fetch(&TokenRequest::default()).unwrap_err();
        assert!(grant_error(&error).is_inside_runtime(), "{error:?}");
        // The provider is dropped here. It must not panic.
    });
}
