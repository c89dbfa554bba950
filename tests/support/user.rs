//! A user who fills in the pages of the provider in a real browser.

use std::error::Error;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use async_trait::async_trait;
use auth_core::{AccessToken, TokenRequest};
use auth_http::Method;
use auth_oauth::{BrowserLogin, DeviceAuthorization, OAuthClient, OAuthError, Prompt};
use serde_json::json;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use url::Url;

use crate::provider::TIMEOUT;
use crate::webdriver::Browser;

pub(crate) const NAME: &str = "ada";

pub(crate) struct User {
    pub(crate) browser: Browser,
    // This field is dropped after the browser, which stores its files in the folder.
    _folder: TempDir,
}

impl User {
    /// Starts a browser for the user. Returns `None` and reports it on a machine without a browser.
    pub(crate) fn start() -> Option<Self> {
        let folder = TempDir::new().unwrap();
        // The pages of the provider load fonts from other servers.
        let loopback = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1";
        let browser = Browser::start(folder.path(), json!({ "args": [loopback] }))?;
        Some(Self { browser, _folder: folder })
    }

    /// Logs in and consents to the request of `client`.
    pub(crate) fn log_in(&self, client: &OAuthClient) -> AccessToken {
        let (login, url) = self.begin(client, |login| login.with_prompt("consent"));
        self.browser.open(&url);
        self.browser.sign_in();
        self.browser.allow();
        self.wait(login).unwrap()
    }

    /// Starts a login and returns it with the URL for the user.
    pub(crate) fn begin(
        &self,
        client: &OAuthClient,
        change: impl FnOnce(BrowserLogin) -> BrowserLogin,
    ) -> (JoinHandle<Result<AccessToken, OAuthError>>, Url) {
        let (sender, url) = login_channel();
        let redirect = "http://127.0.0.1:0/callback".parse().unwrap();
        let login = BrowserLogin::new(client.clone(), redirect, sender).unwrap().with_timeout(TIMEOUT);
        let login = change(login);
        let login = self.browser.runtime.spawn(async move { login.log_in(&TokenRequest::default()).await });
        (login, url.recv_timeout(TIMEOUT).unwrap())
    }

    pub(crate) fn wait<T>(&self, task: JoinHandle<T>) -> T {
        self.browser.runtime.block_on(async { tokio::time::timeout(TIMEOUT, task).await }).unwrap().unwrap()
    }
}

impl Browser {
    /// Fills in the login form of the provider, which accepts every password.
    pub(crate) fn sign_in(&self) {
        self.fill("input[name=login]", NAME);
        self.fill("input[name=password]", "any");
        self.click("form:has(input[name=login]) button[type=submit]");
    }

    /// Submits the consent form of the provider.
    pub(crate) fn allow(&self) {
        self.click("form:has(input[name=prompt][value=consent]) button[type=submit]");
    }

    fn fill(&self, selector: &str, text: &str) {
        let path = format!("{}/value", self.element(selector));
        self.request(Method::Post, &path, &json!({ "text": text }));
    }
}

/// A browser and a prompt that send what they show to the test.
#[derive(Debug)]
pub(crate) struct LoginMessages<T>(Sender<T>);

/// Returns a browser and prompt for a login, and the receiver of their messages.
pub(crate) fn login_channel<T>() -> (Arc<LoginMessages<T>>, Receiver<T>) {
    let (sender, receiver) = channel();
    (Arc::new(LoginMessages(sender)), receiver)
}

#[async_trait]
impl auth_oauth::Browser for LoginMessages<Url> {
    async fn open(&self, url: &Url) -> Result<(), Box<dyn Error + Send + Sync>> {
        Ok(self.0.send(url.clone())?)
    }
}

#[async_trait]
impl Prompt for LoginMessages<DeviceAuthorization> {
    async fn show(&self, device: &DeviceAuthorization) -> Result<(), Box<dyn Error + Send + Sync>> {
        Ok(self.0.send(device.clone())?)
    }
}
