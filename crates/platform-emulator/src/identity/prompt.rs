//! The pages on which a user chooses an account and decides about a login.

use axum::http::StatusCode;
use url::{Position, Url};

use super::client::Client;
use super::form::Form;
use crate::account::User;
use crate::config::Role;
use crate::page::Page;
use crate::page::format::escaped;
use crate::platform::Platform;

/// Returns the login page for the request of a client.
pub(super) fn login_page(platform: &Platform, client: &Client, form: &Form, redirect_uri: &Url) -> Page {
    // The form repeats the parameters of the request in hidden fields. They are validated again when the user decides.
    let fields = form
        .iter()
        .filter(|(name, _)| !matches!(*name, "user" | "decision"))
        .map(|(name, value)| format!(r#"<input type="hidden" name="{}" value="{}">"#, escaped(name), escaped(value)));
    let accounts = account_selection(platform, form.value("organization"), form.value("login_hint"));
    let content = format!(
        r#"<h1>Log in</h1>
<p>A program on this machine, <code>{}</code>, wants to use the emulator with your account. No password is needed.</p>
<form method="post" action="/authorize">{}{accounts}
{}
<div class="actions"><button class="primary" name="decision" value="approve">Log in</button><button name="decision" value="deny" formnovalidate>Cancel</button></div>
</form>
<p class="muted">Then the browser returns to {}.</p>"#,
        escaped(client.id),
        fields.collect::<String>(),
        permission_list(form.value("scope").unwrap_or_default()),
        escaped(&redirect_uri[Position::BeforeHost..Position::AfterPort]),
    );
    Page::new(platform.api_root.as_str(), "Log in", content)
}

/// Returns a list of the permissions that a program requests.
fn permission_list(scope: &str) -> String {
    let has = |name: &str| scope.split(' ').any(|scope| scope == name);
    let mut scopes = vec!["Submit, read, cancel and share runs as you"];
    if has("openid") || has("profile") || has("email") {
        scopes.push("See your name and your email address");
    }
    if has("offline_access") {
        scopes.push("Stay logged in for a limited time without asking you again");
    }
    let scopes = scopes.join("</li><li>");
    format!(r#"<p class="label">The program will be able to:</p><ul class="scopes"><li>{scopes}</li></ul>"#)
}

/// Returns the page on which a user approves a device. `code` is the user code of a pending login.
pub(super) fn device_approval_page(platform: &Platform, code: Option<&str>) -> Page {
    let hint = match code {
        Some(_) => "Check that the device shows the same code.",
        None => "Enter the code that the device shows.",
    };
    device_form_page(platform, code.unwrap_or_default(), &format!("<p>{hint} No password is needed.</p>"))
}

/// Returns the page on which a user approves a device, with an error for an unknown code.
pub(super) fn unknown_code_page(platform: &Platform) -> Page {
    let alert = r#"<p class="alert" role="alert">The code is unknown or expired. Enter the code that the device shows, or start the login again on the device.</p>"#;
    device_form_page(platform, "", alert).with_status(StatusCode::NOT_FOUND)
}

fn device_form_page(platform: &Platform, code: &str, introduction: &str) -> Page {
    let accounts = account_selection(platform, None, None);
    let focus = if code.is_empty() { " autofocus" } else { "" };
    let content = format!(
        r#"<h1>Connect a device</h1>{introduction}
<form method="post" action="/activate">
<fieldset><label class="label" for="code">Code</label>
<input class="user-code" id="code" name="user_code" value="{code}" placeholder="XXXX-XXXX" maxlength="20" autocomplete="off" autocapitalize="characters" spellcheck="false" required{focus}></fieldset>
{accounts}
<div class="actions"><button class="primary" name="decision" value="approve">Approve</button><button name="decision" value="deny">Deny</button></div>
</form>"#
    );
    Page::new(platform.api_root.as_str(), "Connect a device", content)
}

/// Returns the page after a decision about a device.
pub(super) fn decision_page(platform: &Platform, is_approved: bool) -> Page {
    let content = if is_approved {
        "<h1>Device connected</h1><p>You can close this page and continue on the device.</p>"
    } else {
        "<h1>Login denied</h1><p>The device was not connected. You can close this page.</p>"
    };
    Page::new(platform.api_root.as_str(), if is_approved { "Device connected" } else { "Login denied" }, content)
}

/// Returns the selection of users who may log in. The user that `hint` names is preselected, or the first user if
/// `hint` names no user.
fn account_selection(platform: &Platform, organization: Option<&str>, hint: Option<&str>) -> String {
    let users: Vec<_> = platform.accounts.users_of(organization).collect();
    let preselected = users.iter().position(|user| hint.is_some_and(|hint| user.has_id_or_email(hint))).unwrap_or(0);
    let accounts: String =
        users.iter().enumerate().map(|(index, user)| account_option(platform, user, index == preselected)).collect();
    if accounts.is_empty() {
        return r#"<p class="alert" role="alert">No user belongs to the requested organization.</p>"#.to_owned();
    }
    format!(r#"<fieldset><legend>Account</legend><div class="accounts">{accounts}</div></fieldset>"#)
}

fn account_option(platform: &Platform, user: &User, is_selected: bool) -> String {
    let organization = platform.accounts.organization(&user.organization);
    let organization_name = organization.map_or("", |organization| &organization.display_name);
    let role = match user.role {
        Role::Member => "",
        Role::Admin => ", administrator",
    };
    let initials: String = user.name.split_whitespace().filter_map(|word| word.chars().next()).take(2).collect();
    format!(
        r#"<label class="account"><input type="radio" name="user" value="{}" required{}><span class="avatar" aria-hidden="true">{}</span><span>{}<small>{}</small><small>{}{role}</small></span></label>"#,
        escaped(&user.id),
        if is_selected { " checked" } else { "" },
        escaped(&initials.to_uppercase()),
        escaped(&user.name),
        escaped(&user.email),
        escaped(organization_name),
    )
}
