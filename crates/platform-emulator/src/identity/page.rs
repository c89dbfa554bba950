//! The page on which the user approves a device login.

use std::sync::Arc;

use axum::Form;
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use serde::Deserialize;

use super::device::Decision;
use crate::platform::Platform;

#[derive(Deserialize)]
pub(super) struct Code {
    user_code: Option<String>,
}

pub(super) async fn show(State(platform): State<Arc<Platform>>, Query(code): Query<Code>) -> Response {
    // Only a code of ours is shown again: nothing else of the request reaches the page.
    let known = code.user_code.filter(|code| platform.identity.devices.is_open(code, platform.now()));
    let users = platform.accounts.users().iter().map(|user| {
        format!(r#"<option value="{}">{} ({})</option>"#, escaped(&user.id), escaped(&user.name), escaped(&user.email))
    });
    let users = users.collect::<String>();
    page(
        StatusCode::OK,
        &format!(
            r#"<form method="post" action="/activate">
<label>Sign in as <select name="user">{users}</select></label>
<label>Code <input name="user_code" value="{}" autocomplete="off" required></label>
<button name="decision" value="approve">Approve</button>
<button name="decision" value="deny">Deny</button>
</form>"#,
            known.unwrap_or_default(),
        ),
    )
}

#[derive(Deserialize)]
pub(super) struct Approval {
    user_code: String,
    decision: String,
    /// The first user unless something is said.
    user: Option<String>,
}

pub(super) async fn decide(State(platform): State<Arc<Platform>>, Form(form): Form<Approval>) -> Response {
    let decision = if form.decision == "approve" { Decision::Approved } else { Decision::Denied };
    let users = platform.accounts.users();
    let user = users.iter().find(|user| form.user.as_ref().is_none_or(|id| *id == user.id));
    let Some(user) = user else {
        return page(StatusCode::NOT_FOUND, "<p>There is no such user.</p>");
    };
    if platform.identity.devices.decide(form.user_code.trim(), decision, &user.id, platform.now()) {
        page(StatusCode::OK, "<p>Done. You can close this page.</p>")
    } else {
        page(StatusCode::NOT_FOUND, "<p>There is no login with this code, or it has expired. Start it again.</p>")
    }
}

/// Text that means nothing to a browser.
fn escaped(text: &str) -> String {
    let escape = |character| match character {
        '<' => "&lt;".to_owned(),
        '>' => "&gt;".to_owned(),
        '&' => "&amp;".to_owned(),
        '"' => "&quot;".to_owned(),
        other => String::from(other),
    };
    text.chars().map(escape).collect()
}

fn page(status: StatusCode, content: &str) -> Response {
    let html = format!(
        r#"<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Device login</title></head>
<body><h1>Device login</h1>
{content}
</body></html>"#
    );
    let headers = [
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; form-action 'self'; frame-ancestors 'none'"),
    ];
    (status, headers, Html(html)).into_response()
}
