//! Requests of web pages: CORS, and the documentation of the API.

mod runs;

use auth_http::Request;
use platform_emulator::{Config, Emulator};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use url::Url;

use crate::client::{User, read};

const ALLOWED_ORIGIN: &str = "https://app.example";

async fn user_with(config: &str) -> User {
    let config: Config = toml::from_str(config).unwrap();
    User::logged_in_to(Emulator::builder().with_config(config).start().await.unwrap()).await
}

/// Sends a preflight request, and returns the head of the response in lower case.
async fn preflight(root: &Url, origin: &str) -> String {
    let authority = &root[url::Position::BeforeHost..url::Position::AfterPort];
    let mut stream = tokio::net::TcpStream::connect(authority).await.unwrap();
    let request = format!(
        "OPTIONS /api/v1/me HTTP/1.1\r\nhost: {authority}\r\norigin: {origin}\r\naccess-control-request-method: PUT\r\n\
         access-control-request-headers: authorization,x-goog-meta-a\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).await.unwrap();
    response.to_lowercase()
}

#[tokio::test]
async fn allowed_origin_can_send_requests_to_all_servers() {
    let user = user_with(r#"cors_origins = ["https://app.example"]"#).await;
    let roots = [user.emulator.api_root(), user.emulator.issuer(), user.emulator.storage()];
    for root in roots {
        let response = preflight(root, ALLOWED_ORIGIN).await;
        assert!(response.starts_with("http/1.1 204"), "{response}");
        for header in [
            "access-control-allow-origin: https://app.example",
            "access-control-allow-methods: get, head, post, put, delete",
            "access-control-allow-headers: authorization,x-goog-meta-a",
            "vary: origin",
        ] {
            assert!(response.contains(header), "{header}: {response}");
        }
        assert!(preflight(root, "https://evil.example").await.starts_with("http/1.1 403"));
        let response = user.send(Request::get(root.clone()).with_header("origin", ALLOWED_ORIGIN)).await;
        assert_eq!(response.header("access-control-allow-origin"), Some(ALLOWED_ORIGIN));
        assert!(response.header("access-control-expose-headers").unwrap().contains("date"));
        assert_eq!(user.send(Request::get(root.clone())).await.header("access-control-allow-origin"), None);
    }
}

#[tokio::test]
async fn other_origins_are_rejected_unless_all_are_allowed() {
    for (config, status) in [("", 403), (r#"cors_origins = ["*"]"#, 200)] {
        let user = user_with(config).await;
        let url = user.emulator.api_root().join("/health").unwrap();
        assert_eq!(user.send(Request::get(url).with_header("origin", ALLOWED_ORIGIN)).await.status(), status);
    }
    let invalid: Config = toml::from_str(r#"cors_origins = ["https://app.example/path"]"#).unwrap();
    let error = Emulator::builder().with_config(invalid).start().await.unwrap_err();
    assert!(error.to_string().contains("https://app.example/path"), "{error}");
}

#[tokio::test]
async fn documentation_needs_no_login() {
    let user = user_with("").await;
    let get = async |path: &str| user.send(Request::get(user.emulator.api_root().join(path).unwrap())).await;
    let document = get("/api/v1/openapi.json").await;
    assert_eq!((document.status(), document.header("content-type")), (200, Some("application/json")));
    let document: serde_json::Value = serde_json::from_slice(&read(document).await.1).unwrap();
    assert_eq!(document["info"]["version"], "1.8.0");
    let page = get("/api/v1/docs").await;
    assert!(page.status() == 200 && page.header("content-type").unwrap().starts_with("text/html"));
    let page = String::from_utf8(read(page).await.1).unwrap();
    assert!(page.contains("openapi.json") && page.contains("POST /api/v1/runs"), "{page}");
}

#[tokio::test]
async fn times_have_at_most_six_fractional_digits() {
    let user = user_with("replica_lag_ms = 0").await;
    let mut submission =
        serde_json::json!({ "application_id": "outcomes", "items": [crate::api::item("a", &serde_json::json!({}))] });
    submission["scheduling"] = serde_json::json!({ "deadline": "2099-01-01T00:00:00.123456789Z" });
    let (_, submitted) = user.submit(&submission).await;
    let run = user.wait_for_end(submitted["run_id"].as_str().unwrap()).await;
    assert_eq!(run["scheduling"]["deadline"], "2099-01-01T00:00:00.123456Z");
    let token = serde_json::json!({ "expires_at": "2099-01-01T00:00:00.123456789Z" });
    let (_, token) = user.send_json(auth_http::Method::Post, "/api/v1/access/share-tokens", &token).await;
    assert_eq!(token["expires_at"], "2099-01-01T00:00:00.123456Z");
    for time in [&run["submitted_at"], &run["terminated_at"], &token["created_at"]] {
        let digits = time.as_str().unwrap().rsplit_once('.').map_or(0, |(_, rest)| rest.len() - 1);
        assert!(digits <= 6, "{time}");
    }
}
