//! Logins of users, who fill in the forms of the provider.

use auth_core::{AccessToken, TokenRequest};
use auth_oauth::{DeviceAuthorization, DeviceLogin, OAuthError};
use tokio::task::JoinHandle;
use url::Url;

use crate::provider::{Provider, TOKEN};
use crate::user::{NAME, User, asking};

const SCOPES: [&str; 3] = ["openid", "offline_access", "runs:read"];

#[test]
fn a_user_logs_in_with_the_browser_and_allows_access_while_away() {
    let Some(provider) = Provider::start() else { return };
    let Some(user) = User::start() else { return };
    let client = provider.client("native").with_scopes(SCOPES);
    let token = user.log_in(&client);
    assert!(user.browser.text_of("body").contains("You are logged in"), "the last page is that of the call-back");
    let claims = user.browser.runtime.block_on(provider.verifier().verify(token.secret())).unwrap();
    assert_eq!(claims.sub, NAME);
    assert!(token.refresh_token().is_some() && token.id_token().is_some());

    // Without a consent prompt, the provider issues no refresh token, whatever the user allows.
    let (login, url) = user.begin(&client, |login| login);
    user.browser.open(&url);
    user.browser.allow();
    let again = user.wait(login).unwrap();
    assert!(again.refresh_token().is_none());
}

#[test]
fn a_user_who_cancels_has_denied_the_login() {
    let Some(provider) = Provider::start() else { return };
    let Some(user) = User::start() else { return };
    let (login, url) = user.begin(&provider.client("native").with_scopes(SCOPES), |login| login);
    user.browser.open(&url);
    user.browser.click("a[href$='/abort']");
    let error = user.wait(login).unwrap_err();
    assert!(error.is_denied(), "{error}");
    assert_eq!(provider.requests(TOKEN), 0);
}

/// Starts a device login that has polled once without success, and returns it with the page for its user.
fn device(provider: &Provider, user: &User) -> (JoinHandle<Result<AccessToken, OAuthError>>, Url) {
    let (told, shown) = asking::<DeviceAuthorization>();
    let login = DeviceLogin::new(provider.client("device").with_scopes(SCOPES), told);
    let login = user.browser.runtime.spawn(async move { login.log_in(&TokenRequest::default()).await });
    provider.wait_for(TOKEN, 1);
    let page = shown.try_recv().unwrap().verification_url_complete.unwrap();
    (login, page.parse().unwrap())
}

#[test]
fn a_user_approves_a_device() {
    let Some(provider) = Provider::start() else { return };
    let Some(user) = User::start() else { return };
    let (login, page) = device(&provider, &user);
    user.browser.open(&page);
    user.browser.click("button[autofocus][form='op.deviceConfirmForm']");
    user.browser.sign_in();
    user.browser.allow();
    let token = user.wait(login).unwrap();
    assert!(token.refresh_token().is_some() && token.id_token().is_some());
    assert!(provider.requests(TOKEN) > 1, "it has waited for the user");
    let claims = user.browser.runtime.block_on(provider.verifier().verify(token.secret())).unwrap();
    assert_eq!(claims.sub, NAME);
}

#[test]
fn a_user_refuses_a_device() {
    let Some(provider) = Provider::start() else { return };
    let Some(user) = User::start() else { return };
    let (login, page) = device(&provider, &user);
    user.browser.open(&page);
    user.browser.click("button[name=abort]");
    let error = user.wait(login).unwrap_err();
    assert!(error.is_denied(), "{error}");
}
