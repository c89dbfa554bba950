//! Approval of a device login by the user.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::http::StatusCode;

use super::device::Decision;
use super::form::Form;
use super::prompt;
use crate::page::Page;
use crate::platform::Platform;

pub(super) async fn show(State(platform): State<Arc<Platform>>, RawQuery(query): RawQuery) -> Page {
    let form = Form::from_query(&query.unwrap_or_default()).ok();
    let typed_code = form.as_ref().and_then(|form| form.value("user_code"));
    // Only the code of a pending login is displayed, so that no other input is inserted into the page.
    let pending_code =
        typed_code.and_then(|typed_code| platform.identity.devices.pending_user_code(typed_code, platform.now()));
    prompt::device_approval_page(&platform, pending_code.as_deref())
}

pub(super) async fn decide(State(platform): State<Arc<Platform>>, form: Form) -> Page {
    let decision = if form.value("decision") == Some("approve") { Decision::Approved } else { Decision::Denied };
    let requested_user = form.value("user");
    // Without a requested user, the first user decides.
    let user =
        platform.accounts.human_users().find(|user| requested_user.is_none_or(|name| user.has_id_or_email(name)));
    let Some(user) = user else {
        let text = "<p>The configuration of the emulator has no such user.</p>";
        return Page::error(platform.api_root.as_str(), StatusCode::NOT_FOUND, "User not found", text);
    };
    let code = form.value("user_code").unwrap_or_default();
    if platform.identity.devices.decide(code, decision, &user.id, platform.now()) {
        prompt::decision_page(&platform, decision == Decision::Approved)
    } else {
        prompt::unknown_code_page(&platform)
    }
}
