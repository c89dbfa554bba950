//! Pages for users: runs, results and errors.

use auth_http::{Method, Request, Response};
use platform_emulator::{Config, Emulator};
use serde_json::{Value, json};
use url::Url;

use crate::api::item;
use crate::client::{User, read};

/// The media types that a browser accepts.
const BROWSER_ACCEPT: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";

async fn user() -> User {
    user_with("").await
}

async fn user_with(config: &str) -> User {
    let config: Config = toml::from_str(&format!("replica_lag_ms = 0\n{config}")).unwrap();
    User::logged_in_to(Emulator::builder().with_config(config).start().await.unwrap()).await
}

async fn open_in_browser(user: &User, root: &Url, path: &str) -> Response {
    user.send(Request::get(root.join(path).unwrap()).with_header("accept", BROWSER_ACCEPT)).await
}

/// Opens a page of the API server, and checks the properties of all pages.
async fn api_page(user: &User, path: &str) -> (u16, String) {
    read_checked_page(open_in_browser(user, user.emulator.api_root(), path).await).await
}

async fn read_checked_page(response: Response) -> (u16, String) {
    let policy = response.header("content-security-policy").unwrap().to_owned();
    assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
    let (status, html) = read(response).await;
    let html = String::from_utf8(html).unwrap();
    assert!(html.contains("Emulator – nothing is billed"), "{html}");
    for forbidden in ["<script", " style=", " onclick=", "src="] {
        assert!(!html.contains(forbidden), "{forbidden}: {html}");
    }
    (status, html)
}

/// Returns the targets of links that start with a prefix.
fn links_with_prefix<'a>(html: &'a str, prefix: &str) -> Vec<&'a str> {
    let targets = html.split("href=\"").skip(1).filter_map(|rest| rest.split('"').next());
    targets.filter(|target| target.starts_with(prefix)).collect()
}

fn has_refresh(html: &str) -> bool {
    html.contains(r#"<meta http-equiv="refresh""#)
}

/// Submits a run with items of several outcomes, and returns its id when it has ended.
async fn submit_run_with_mixed_outcomes(user: &User) -> String {
    let items = [
        item("good <1>", &json!({})),
        item("bad", &json!({ "outcome": "USER_ERROR" })),
        item("broken", &json!({ "outcome": "SYSTEM_ERROR" })),
    ];
    let submission = json!({ "application_id": "outcomes", "items": items, "custom_metadata": { "study": "<s1>" } });
    let (status, submitted) = user.submit(&submission).await;
    assert_eq!(status, 201, "{submitted}");
    let id = submitted["run_id"].as_str().unwrap().to_owned();
    user.wait_for_end(&id).await;
    id
}

#[tokio::test]
async fn run_list_shows_outcomes_and_links_to_runs() {
    let user = user().await;
    assert!(api_page(&user, "/").await.1.contains("No runs yet"));
    let id = submit_run_with_mixed_outcomes(&user).await;
    let (status, html) = api_page(&user, "/").await;
    assert_eq!((status, links_with_prefix(&html, "/runs/")), (200, vec![format!("/runs/{id}").as_str()]));
    let short = format!(r#"<code title="{id}">{}</code>"#, &id[..8]);
    for text in [
        "1 run, 0 active",
        "Outcomes by rule",
        "Partly succeeded",
        "1 of 3 items succeeded, 2 failed",
        "by Ada Emulator",
        &short,
    ] {
        assert!(html.contains(text), "{text}: {html}");
    }
}

#[tokio::test]
async fn run_page_links_to_results_until_they_are_deleted() {
    let user = user().await;
    let id = submit_run_with_mixed_outcomes(&user).await;
    let path = format!("/runs/{id}");
    let (status, html) = api_page(&user, &path).await;
    assert_eq!(status, 200);
    for text in ["good &lt;1&gt;", "Succeeded", "User error", "System error", "just now", "&lt;s1&gt;", &id] {
        assert!(html.contains(text), "{text}: {html}");
    }
    let files = links_with_prefix(&html, "/runs/");
    assert_eq!(files.len(), 1, "{html}");
    let redirect = open_in_browser(&user, user.emulator.api_root(), files[0]).await;
    assert_eq!((redirect.status(), redirect.header("cache-control")), (307, Some("no-store")));
    let file = user.send(Request::get(redirect.header("location").unwrap().parse().unwrap())).await;
    assert_eq!(file.header("content-disposition"), Some("attachment; filename=\"good__1_-report_summary.json\""));
    let (status, content) = read(file).await;
    assert!(status == 200 && !content.is_empty());

    let delete = user.authorized(Method::Delete, &format!("/api/v1/runs/{id}/artifacts"));
    assert_eq!(user.send(delete).await.status(), 200);
    let (_, after) = api_page(&user, &path).await;
    assert_eq!(links_with_prefix(&after, "/runs/"), Vec::<&str>::new(), "{after}");
    let (status, error_page) = api_page(&user, files[0]).await;
    assert!(status == 410 && error_page.contains(r#"href="/">Go to the runs</a>"#), "{status}: {error_page}");
}

#[tokio::test]
async fn pages_refresh_automatically_while_a_run_is_active() {
    let user = user_with("speed = 0.001").await;
    let submission = json!({ "application_id": "outcomes", "items": [item("slow", &json!({}))] });
    let (_, submitted) = user.submit(&submission).await;
    let run = format!("/runs/{}", submitted["run_id"].as_str().unwrap());
    for path in ["/", &run] {
        let (_, html) = api_page(&user, path).await;
        assert!(has_refresh(&html) && links_with_prefix(&html, "?").contains(&"?page=1&amp;refresh=off"), "{html}");
        let (_, paused) = api_page(&user, &format!("{path}?refresh=off")).await;
        assert!(!has_refresh(&paused) && links_with_prefix(&paused, "?").contains(&"?page=1"), "{paused}");
    }
    let cancel = user.authorized(Method::Post, &format!("/api/v1{run}/cancel"));
    assert_eq!(user.send(cancel).await.status(), 202);
    let (_, html) = api_page(&user, &run).await;
    assert!(!has_refresh(&html) && html.contains("Canceled") && html.contains("Skipped"), "{html}");
}

#[tokio::test]
async fn long_lists_have_several_pages() {
    let user = user().await;
    let items: Vec<Value> = (0..101).map(|number| item(&format!("slide-{number:03}"), &json!({}))).collect();
    let (_, submitted) = user.submit(&json!({ "application_id": "outcomes", "items": items })).await;
    let id = submitted["run_id"].as_str().unwrap();
    user.wait_for_end(id).await;
    let run = format!("/runs/{id}");
    let (_, first) = api_page(&user, &run).await;
    assert!(
        first.contains("slide-099") && !first.contains("slide-100") && links_with_prefix(&first, "?") == ["?page=2"],
        "{first}"
    );
    for number in ["2", "9"] {
        let (_, last) = api_page(&user, &format!("{run}?page={number}")).await;
        assert!(
            last.contains("slide-100") && !last.contains("slide-099") && links_with_prefix(&last, "?") == ["?page=1"],
            "{last}"
        );
    }
}

#[tokio::test]
async fn error_pages_link_to_the_list_of_runs() {
    let user = user().await;
    let (api, issuer) = (user.emulator.api_root(), user.emulator.issuer());
    for (root, path, expected, title) in [
        (api, "/runs/unknown", 404, "Run not found"),
        (api, "/runs/00000000-0000-4000-8000-000000000000", 404, "Run not found"),
        (api, "/runs/unknown/files/unknown", 404, "File not found"),
        (api, "/nothing", 404, "Page not found"),
        (issuer, "/", 404, "Page not found"),
        (issuer, "/authorize", 400, "This login cannot start"),
        (issuer, "/authorize?client_id=a&client_id=b", 400, "This login cannot start"),
    ] {
        let (status, html) = read_checked_page(open_in_browser(&user, root, path).await).await;
        assert_eq!(status, expected, "{path}");
        let home = if root == api { "/" } else { api.as_str() };
        assert!(
            html.contains(&format!("<h1>{title}</h1>"))
                && html.contains(&format!(r#"href="{home}">Go to the runs</a>"#)),
            "{path}: {html}"
        );
    }
    // Programs get the response of the platform.
    let response = read(user.send(Request::get(api.join("/nothing").unwrap())).await).await;
    assert_eq!(response, (404, br#"{"detail":"Not Found"}"#.to_vec()));
    assert_eq!(read(user.send(Request::get(issuer.clone())).await).await, (404, Vec::new()));
    let cross_origin_request =
        Request::get(api.clone()).with_header("origin", "https://evil.example").with_header("accept", BROWSER_ACCEPT);
    let (status, html) = read_checked_page(user.send(cross_origin_request).await).await;
    assert!(status == 403 && html.contains("<h1>Request refused</h1>"), "{html}");
}

#[tokio::test]
async fn device_page_prompts_again_after_an_unknown_code() {
    let user = User::anonymous().await;
    let (status, html) = user.post_form("/activate", &[("user_code", "BBBB-BBBB"), ("decision", "approve")]).await;
    let html = String::from_utf8(html).unwrap();
    assert!(status == 404 && html.contains("unknown or expired") && html.contains(r#"name="user_code""#), "{html}");
    let (_, html) =
        read_checked_page(open_in_browser(&user, user.emulator.issuer(), "/activate?user_code=a&user_code=b").await)
            .await;
    assert!(html.contains(r#"name="user_code" value="""#), "{html}");
    let device = user.start_login().await;
    let code = device["user_code"].as_str().unwrap();
    let (status, html) = user.post_form("/activate", &[("user_code", code), ("decision", "deny")]).await;
    assert!(status == 200 && String::from_utf8(html).unwrap().contains("<h1>Login denied</h1>"));
}
