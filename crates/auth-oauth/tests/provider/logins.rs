//! Logins of users, who fill in the forms of the provider.

use auth_core::{AccessToken, TokenRequest};
use auth_oauth::{DeviceAuthorization, DeviceLogin, OAuthError};
use tokio::task::JoinHandle;
use url::Url;

use crate::provider::{Provider, TOKEN};
use crate::user::{NAME, User, login_channel};

const SCOPES: [&str; 3] = ["openid", "offline_access", "runs:read"];

#[test]
fn browser_login_returns_a_refresh_token_for_offline_access() {
    let Some(provider) = Provider::start() else { return };
    let Some(user) = User::start() else { return };
    let client = provider.client("native").with_scopes(SCOPES);
    let token = user.log_in(&client);
    assert!(user.browser.text_of("body").contains("You are logged in"), "the callback serves the last page");
    let claims = user.browser.runtime.block_on(provider.verifier().verify(token.secret())).unwrap();
    assert_eq!(claims.sub, NAME);
    assert!(token.refresh_token().is_some() && token.id_token().is_some());

    // Without a consent prompt, the provider issues no refresh token, even if the user allows all scopes.
    let (login, url) = user.begin(&client, |login| login);
    user.browser.open(&url);
    user.browser.allow();
    let token_without_consent = user.wait(login).unwrap();
    assert!(token_without_consent.refresh_token().is_none());
}

#[test]
fn canceled_browser_login_is_denied() {
    let Some(provider) = Provider::start() else { return };
    let Some(user) = User::start() else { return };
    let (login, url) = user.begin(&provider.client("native").with_scopes(SCOPES), |login| login);
    user.browser.open(&url);
    user.browser.click("a[href$='/abort']");
    let error = user.wait(login).unwrap_err();
    assert!(error.is_denied(), "{error}");
    assert_eq!(provider.requests(TOKEN), 0);
}

/// Starts a device login, and waits for its first poll. Returns the login and the page for its user.
fn start_device_login(provider: &Provider, user: &User) -> (JoinHandle<Result<AccessToken, OAuthError>>, Url) {
    let (sender, authorizations) = login_channel::<DeviceAuthorization>();
    let login = DeviceLogin::new(provider.client("device").with_scopes(SCOPES), sender);
    let login = user.browser.runtime.spawn(async move { login.log_in(&TokenRequest::default()).await });
    provider.wait_for(TOKEN, 1);
    let page = authorizations.try_recv().unwrap().verification_url_complete.unwrap();
    (login, page.parse().unwrap())
}

#[test]
fn approved_device_login_returns_a_token() {
    let Some(provider) = Provider::start() else { return };
    let Some(user) = User::start() else { return };
    let (login, page) = start_device_login(&provider, &user);
    user.browser.open(&page);
    user.browser.click("button[autofocus][form='op.deviceConfirmForm']");
    user.browser.sign_in();
    user.browser.allow();
    let token = user.wait(login).unwrap();
    assert!(token.refresh_token().is_some() && token.id_token().is_some());
    assert!(provider.requests(TOKEN) > 1, "the login has polled while the user was busy");
    let claims = user.browser.runtime.block_on(provider.verifier().verify(token.secret())).unwrap();
    assert_eq!(claims.sub, NAME);
}

#[test]
fn refused_device_login_is_denied() {
    let Some(provider) = Provider::start() else { return };
    let Some(user) = User::start() else { return };
    let (login, page) = start_device_login(&provider, &user);
    user.browser.open(&page);
    user.browser.click("button[name=abort]");
    let error = user.wait(login).unwrap_err();
    assert!(error.is_denied(), "{error}");
}
