//! The page on which the user approves a device login.

use std::sync::Arc;

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;

use super::device::Decision;
use super::form::Form;
use super::login;
use crate::page::page;
use crate::platform::Platform;

const TITLE: &str = "Device login";

#[derive(Deserialize)]
pub(super) struct Code {
    user_code: Option<String>,
}

pub(super) async fn show(State(platform): State<Arc<Platform>>, Query(code): Query<Code>) -> Response {
    // Only a known code is displayed: no other input reaches the page.
    let known = code.user_code.and_then(|typed| platform.identity.devices.open_code(&typed, platform.now()));
    let users = login::options(&platform, None, None);
    let form = format!(
        r#"<form method="post" action="/activate">
<label>Sign in as <select name="user">{users}</select></label>
<label>Code <input name="user_code" value="{}" autocomplete="off" required></label>
<button name="decision" value="approve">Approve</button>
<button name="decision" value="deny">Deny</button>
</form>"#,
        known.unwrap_or_default(),
    );
    page(StatusCode::OK, TITLE, &form)
}

pub(super) async fn decide(State(platform): State<Arc<Platform>>, form: Form) -> Response {
    let decision = if form.text("decision") == Some("approve") { Decision::Approved } else { Decision::Denied };
    let wanted = form.text("user");
    // The default is the first user.
    let user = platform.accounts.people().find(|user| wanted.is_none_or(|name| login::is_called(user, name)));
    let Some(user) = user else {
        return page(StatusCode::NOT_FOUND, TITLE, "<p>There is no such user.</p>");
    };
    let code = form.text("user_code").unwrap_or_default();
    if platform.identity.devices.decide(code, decision, &user.id, platform.now()) {
        page(StatusCode::OK, TITLE, "<p>Done. You can close this page.</p>")
    } else {
        let text = "<p>The code is unknown or expired. Start the login again.</p>";
        page(StatusCode::NOT_FOUND, TITLE, text)
    }
}
