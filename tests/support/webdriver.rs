//! A headless Chromium, driven by the `WebDriver` protocol (W3C).

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use auth_http::{HttpClient, Method, Request};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use url::Url;

use crate::needs;

/// The maximum time to wait for an element while pages load.
const ELEMENT_TIMEOUT_MS: u32 = 20_000;
const MAX_RESPONSE_BYTES: usize = 1 << 20;

/// A browser, which exits when the value is dropped, even during a panic.
pub(crate) struct Browser {
    _driver: Driver,
    http: HttpClient,
    pub(crate) runtime: Runtime,
    session: String,
}

struct Driver(Child);

impl Browser {
    /// Starts a browser that stores its files in `folder`. `options` are those of `goog:chromeOptions`. Returns `None`
    /// and reports a missing browser.
    pub(crate) fn start(folder: &Path, mut options: Value) -> Option<Self> {
        if !needs::has("chromedriver") || !needs::has("chromium") {
            needs::missing("a browser", "apt-get install chromium chromium-driver");
            return None;
        }
        let (driver, port) = Driver::start(folder);
        let http = HttpClient::builder().with_plain_loopback().build().unwrap();
        let session = format!("http://127.0.0.1:{port}/session");
        let mut browser = Self { _driver: driver, http, runtime: Runtime::new().unwrap(), session };
        let arguments = ["--headless=new", "--no-sandbox", "--disable-dev-shm-usage"].map(Value::from);
        options["args"].as_array_mut().unwrap().extend(arguments);
        let capabilities = json!({ "alwaysMatch": {
            "goog:chromeOptions": options,
            "goog:loggingPrefs": { "browser": "ALL" },
            "timeouts": { "implicit": ELEMENT_TIMEOUT_MS },
        } });
        let session = browser.request(Method::Post, "", &json!({ "capabilities": capabilities }));
        browser.session += &format!("/{}", session["sessionId"].as_str().unwrap());
        Some(browser)
    }

    pub(crate) fn request(&self, method: Method, path: &str, body: &Value) -> Value {
        self.try_request(method, path, body).unwrap_or_else(|problem| panic!("{path}: {problem}"))
    }

    fn try_request(&self, method: Method, path: &str, body: &Value) -> Result<Value, String> {
        let request = Request::new(method, format!("{}{path}", self.session).parse().unwrap());
        let request = match method {
            Method::Post => request.with_body("application/json", body.to_string()),
            _ => request,
        };
        let response_bytes = self.runtime.block_on(async {
            let response = self.http.send(request).await?;
            response.bytes(MAX_RESPONSE_BYTES).await
        });
        let mut response_body: Value = serde_json::from_slice(&response_bytes.map_err(|error| error.to_string())?)
            .map_err(|error| error.to_string())?;
        let value = response_body["value"].take();
        if value["error"].is_null() { Ok(value) } else { Err(value.to_string()) }
    }

    pub(crate) fn open(&self, url: &Url) {
        self.request(Method::Post, "/url", &json!({ "url": url }));
    }

    /// Returns the path of an element, found by a CSS selector.
    pub(crate) fn element(&self, selector: &str) -> String {
        let element = self.request(Method::Post, "/element", &json!({ "using": "css selector", "value": selector }));
        let id = element.as_object().unwrap().values().next().unwrap();
        format!("/element/{}", id.as_str().unwrap())
    }

    pub(crate) fn click(&self, selector: &str) {
        self.request(Method::Post, &format!("{}/click", self.element(selector)), &json!({}));
    }

    /// Returns the text of an element.
    pub(crate) fn text_of(&self, selector: &str) -> String {
        let text = self.request(Method::Get, &format!("{}/text", self.element(selector)), &Value::Null);
        text.as_str().unwrap().to_owned()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Chromium ends with its session, not with the driver. A second panic would hide the first.
        let outcome = self.try_request(Method::Delete, "", &Value::Null);
        assert!(outcome.is_ok() || std::thread::panicking(), "{outcome:?}");
    }
}

impl Driver {
    /// Starts the process and returns it with its port. Tries several times, because the process ends if its port is in
    /// use for the other version of IP.
    fn start(folder: &Path) -> (Self, u16) {
        (0..10).find_map(|_| Self::try_start(folder)).unwrap()
    }

    fn try_start(folder: &Path) -> Option<(Self, u16)> {
        let mut command = Command::new("chromedriver");
        command.arg("--port=0").env("TMPDIR", folder).env("HOME", folder);
        let mut driver = Self(command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap());
        let mut output = BufReader::new(driver.0.stdout.take().unwrap());
        let port = port(&mut output)?;
        // Later output is discarded, so that it does not fill the pipe.
        std::thread::spawn(move || std::io::copy(&mut output, &mut std::io::sink()));
        Some((driver, port))
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Returns the port that the driver announces, or `None` if it ended.
fn port(output: &mut BufReader<ChildStdout>) -> Option<u16> {
    output.lines().find_map(|line| {
        let line = line.unwrap();
        let (_, port) = line.trim().split_once("successfully on port ")?;
        Some(port.trim_end_matches('.').parse().unwrap())
    })
}
