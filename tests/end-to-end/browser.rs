//! The emulator's pages in a real browser.

use std::io::{Read, Write};
use std::net::TcpListener;

use auth_http::{Method, Request};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use url::Url;

use crate::command::Sandbox;
use crate::emulator::{RunningEmulator, form, send, submit, token};
use crate::webdriver::Browser;

/// Returns a browser that emulates a phone. Without a browser, reports it and returns `None`.
fn start_phone_browser(sandbox: &Sandbox) -> Option<Browser> {
    let metrics = json!({ "width": 390, "height": 844, "pixelRatio": 3.0 });
    let options = json!({ "args": ["--window-size=390,844"], "mobileEmulation": { "deviceMetrics": metrics } });
    Browser::start(&sandbox.temporary(), options)
}

impl Browser {
    fn address(&self) -> Url {
        self.request(Method::Get, "/url", &Value::Null).as_str().unwrap().parse().unwrap()
    }

    fn text(&self) -> String {
        self.text_of("main")
    }

    fn script(&self, script: &str) -> Value {
        self.request(Method::Post, "/execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// Checks that the page has its style and fits a phone, and that the browser reports no errors.
    fn assert_page_is_valid(&self) {
        assert_eq!(self.script("return getComputedStyle(document.body).colorScheme"), "light dark");
        let (content_width, visible_width) =
            ("document.documentElement.scrollWidth", "document.documentElement.clientWidth");
        assert_eq!(
            self.script(&format!("return [{content_width}, {visible_width}]")),
            json!([390, 390]),
            "{}",
            self.text()
        );
        let log = self.request(Method::Post, "/se/log", &json!({ "type": "browser" }));
        // The browser reports the status of an error page as an error, too.
        let is_status_message =
            |line: &&Value| line["message"].as_str().unwrap().contains("the server responded with a status");
        let browser_errors = log.as_array().unwrap().iter().filter(|line| !is_status_message(line));
        assert_eq!(browser_errors.collect::<Vec<_>>(), Vec::<&Value>::new());
    }
}

/// Responds to one request on a free port. Returns the port, and a thread that returns the target of the request.
fn receive_callback() -> (u16, std::thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let target = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut received = Vec::new();
        while !received.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            received.extend(byte);
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 15\r\n\r\n<main>in</main>").unwrap();
        String::from_utf8(received).unwrap().split(' ').nth(1).unwrap().to_owned()
    });
    (port, target)
}

#[test]
fn login_page_logs_the_user_in() {
    let sandbox = Sandbox::new();
    let Some(browser) = start_phone_browser(&sandbox) else { return };
    let running = RunningEmulator::start(&sandbox, &[]);
    let (port, target) = receive_callback();
    let redirect = format!("http://127.0.0.1:{port}/callback");
    let client = running.interactive_client();
    let verifier = "0123456789-0123456789-0123456789-0123456789";
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(verifier));
    let mut url = running.url("issuer", "/authorize");
    url.query_pairs_mut().extend_pairs([
        ("response_type", "code"),
        ("client_id", client),
        ("redirect_uri", &redirect),
        ("scope", "openid offline_access"),
        ("state", "<b>&\"'"),
        ("code_challenge", &challenge),
        ("code_challenge_method", "S256"),
    ]);
    browser.open(&url);
    browser.assert_page_is_valid();
    browser.click("input[name=user][value='auth0|emulator-2']");
    browser.click("button[value=approve]");
    let target = target.join().unwrap();
    let callback_url = browser.address();
    assert_eq!(format!("{}?{}", callback_url.path(), callback_url.query().unwrap()), target);
    let parameter = |name| callback_url.query_pairs().find(|(other, _)| other == name).unwrap().1.into_owned();
    assert_eq!(parameter("state"), "<b>&\"'");
    let code = parameter("code");

    let fields = [
        ("grant_type", "authorization_code"),
        ("client_id", client),
        ("code", &code),
        ("redirect_uri", &redirect),
        ("code_verifier", verifier),
    ];
    let (status, tokens) = browser.runtime.block_on(send(form(running.url("issuer", "/oauth/token"), &fields)));
    assert_eq!(status, 200, "{tokens}");
    assert_eq!(browser.runtime.block_on(user_of(&running, &tokens)), "auth0|emulator-2");
}

async fn user_of(running: &RunningEmulator, tokens: &Value) -> Value {
    let bearer = format!("Bearer {}", tokens["access_token"].as_str().unwrap());
    let me = Request::get(running.url("api_root", "/api/v1/me")).with_header("authorization", bearer);
    send(me).await.1["user"]["id"].take()
}

#[test]
fn device_page_approves_a_login() {
    let sandbox = Sandbox::new();
    let Some(browser) = start_phone_browser(&sandbox) else { return };
    let running = RunningEmulator::start(&sandbox, &[]);
    let client = running.ready["env"]["AIGNOSTICS_CLIENT_ID_DEVICE"].as_str().unwrap();
    let device_request =
        form(running.url("issuer", "/oauth/device/code"), &[("client_id", client), ("scope", "openid offline_access")]);
    let (_, device) = browser.runtime.block_on(send(device_request));
    browser.open(&device["verification_uri_complete"].as_str().unwrap().parse().unwrap());
    browser.assert_page_is_valid();
    browser.click("input[name=user][value='auth0|second-1']");
    browser.click("button[value=approve]");
    // Waits for the next page, because the previous one is still visible for a moment.
    let expected_text = "Device connected\nYou can close this page and continue on the device.";
    assert_eq!(browser.text_of("main:not(:has(form))"), expected_text);
    browser.assert_page_is_valid();

    let fields = [
        ("grant_type", "urn:ietf:params:oauth:grant-type:device_code"),
        ("client_id", client),
        ("device_code", device["device_code"].as_str().unwrap()),
    ];
    let (status, tokens) = browser.runtime.block_on(send(form(running.url("issuer", "/oauth/token"), &fields)));
    assert_eq!(status, 200, "{tokens}");
    assert_eq!(browser.runtime.block_on(user_of(&running, &tokens)), "auth0|second-1");
}

#[test]
fn run_pages_lead_to_results_and_back_on_a_phone() {
    let sandbox = Sandbox::new();
    let Some(browser) = start_phone_browser(&sandbox) else { return };
    let running = RunningEmulator::start(&sandbox, &[]);
    let run = browser.runtime.block_on(async { submit(&running, &token(&running).await).await.unwrap() });
    browser.open(&running.url("api_root", "/"));
    browser.assert_page_is_valid();
    assert_eq!(browser.text_of("header .notice"), "Emulator – nothing is billed");
    browser.click(&format!("a[href='/runs/{run}']"));
    assert_eq!(browser.text_of(&format!("code[title='{run}'], dd code")), run);
    browser.assert_page_is_valid();
    browser.click("a.back");
    assert!(browser.text_of("main:has(.runs)").contains(&run[..8]), "{}", browser.text());

    browser.open(&running.url("api_root", "/runs/unknown"));
    assert!(browser.text().contains("Run not found"), "{}", browser.text());
    browser.assert_page_is_valid();
    browser.click("a.primary");
    browser.text_of("main:has(.runs)");
}
