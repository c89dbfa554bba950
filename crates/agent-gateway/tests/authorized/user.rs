//! A user who submits the forms of the provider over HTTP.

use std::collections::HashMap;
use std::error::Error;
use std::sync::{Arc, Mutex};

use agent_gateway::{Interaction, LoginPage};
use async_trait::async_trait;
use auth_http::{HttpClient, Method, Request, Response};
use auth_oauth::Browser;
use url::Url;

/// The maximum size of a page, in bytes.
const PAGE_LIMIT: usize = 1 << 20;
/// The maximum number of pages and redirects of a login.
const MAX_STEPS: usize = 20;

/// A user who starts a new browser session for each login.
#[derive(Debug)]
pub(crate) struct User {
    http: HttpClient,
    name: &'static str,
    pub(crate) pages: Mutex<Vec<LoginPage>>,
}

impl User {
    pub(crate) fn new(name: &'static str) -> Arc<Self> {
        let http = HttpClient::builder().with_plain_loopback().build().unwrap();
        Arc::new(Self { http, name, pages: Mutex::default() })
    }

    /// Logs in at a login page, in the background.
    fn start_login(&self, url: &Url) {
        let session = BrowserSession { http: self.http.clone(), name: self.name, cookies: HashMap::new() };
        tokio::spawn(session.log_in(url.clone()));
    }
}

#[async_trait]
impl Interaction for User {
    async fn open(&self, page: &LoginPage) -> Result<(), Box<dyn Error + Send + Sync>> {
        self.pages.lock().unwrap().push(page.clone());
        self.start_login(page.url());
        Ok(())
    }
}

/// The browser of a user, for a login without the gateway.
#[derive(Debug)]
pub(crate) struct UserBrowser(pub(crate) Arc<User>);

#[async_trait]
impl Browser for UserBrowser {
    async fn open(&self, url: &Url) -> Result<(), Box<dyn Error + Send + Sync>> {
        self.0.start_login(url);
        Ok(())
    }
}

/// A browser session.
struct BrowserSession {
    http: HttpClient,
    name: &'static str,
    cookies: HashMap<String, String>,
}

impl BrowserSession {
    /// Follows redirects and submits forms until the provider redirects to the callback listener of the client.
    async fn log_in(mut self, mut url: Url) {
        let mut form: Option<String> = None;
        for _ in 0..MAX_STEPS {
            let response = self.send(&url, form.take()).await;
            if let Some(location) = response.header("location").map(str::to_owned) {
                url = url.join(&location).unwrap();
                if url.path().starts_with("/callback") {
                    self.send(&url, None).await;
                    return;
                }
                continue;
            }
            let page = String::from_utf8(response.bytes(PAGE_LIMIT).await.unwrap().to_vec()).unwrap();
            let action = page.split("action=\"").nth(1).and_then(|rest| rest.split('"').next());
            let Some(action) = action else { panic!("no form: {page}") };
            url = url.join(action).unwrap();
            form = Some(if page.contains("name=\"login\"") {
                format!("prompt=login&login={}&password=any", self.name)
            } else {
                "prompt=consent".to_owned()
            });
        }
        panic!("the login did not end after {MAX_STEPS} steps: {url}");
    }

    async fn send(&mut self, url: &Url, form: Option<String>) -> Response {
        let method = if form.is_some() { Method::Post } else { Method::Get };
        let cookies: Vec<_> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let request = Request::new(method, url.clone()).with_header("cookie", cookies.join("; "));
        let form = form.into_iter();
        let request = form.fold(request, |request, form| request.with_body("application/x-www-form-urlencoded", form));
        let response = self.http.send(request).await.unwrap();
        for cookie in response.headers("set-cookie") {
            let (name, value) = cookie.split(';').next().unwrap().split_once('=').unwrap();
            self.cookies.insert(name.to_owned(), value.to_owned());
        }
        self.cookies.retain(|_, value| !value.is_empty());
        response
    }
}
