//! The layout of the emulator's HTML pages. The pages contain no scripts and load no other resources.

pub(crate) mod format;

use std::sync::LazyLock;

use aws_lc_rs::digest;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use format::escaped;

/// The style sheet of all pages.
const STYLE: &str = include_str!("page/style.css");
/// The logo: a nucleus in its cell, in the colors of an H&E stain.
const LOGO: &str = r##"<svg class="logo" viewBox="0 0 32 32" aria-hidden="true"><circle cx="16" cy="16" r="15" fill="#e58fb6"/><circle cx="18" cy="14" r="8" fill="#5b3a9e"/></svg>"##;
/// The logo as a favicon.
const ICON: &str = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 32 32'%3E%3Ccircle cx='16' cy='16' r='15' fill='%23e58fb6'/%3E%3Ccircle cx='18' cy='14' r='8' fill='%235b3a9e'/%3E%3C/svg%3E";

/// The content security policy. It permits only the style sheet, by its SHA-256, the icon, and forms.
static POLICY: LazyLock<String> = LazyLock::new(|| {
    let style = STANDARD.encode(digest::digest(&digest::SHA256, STYLE.as_bytes()));
    // `form-action` permits all hosts, because a login redirects to the client, which may listen on [::1], and a policy
    // cannot contain an IPv6 address.
    format!(
        "default-src 'none'; style-src 'sha256-{style}'; img-src data:; form-action 'self' http:; \
         frame-ancestors 'none'; base-uri 'none'"
    )
});

pub(crate) struct Page {
    /// The URL of the list of runs.
    home: String,
    status: StatusCode,
    title: String,
    /// HTML in which all external text is [`escaped`].
    content: String,
    layout: &'static str,
    refresh: Option<u32>,
}

impl Page {
    /// Creates a page with the width of a form. `content` is HTML, in which all external text is [`escaped`].
    pub(crate) fn new(home: &str, title: impl Into<String>, content: impl Into<String>) -> Self {
        Self {
            home: escaped(home),
            status: StatusCode::OK,
            title: title.into(),
            content: content.into(),
            layout: "narrow",
            refresh: None,
        }
    }

    /// Creates a page about an error, with a link to the list of runs.
    pub(crate) fn error(home: &str, status: StatusCode, title: &str, content: &str) -> Self {
        let content = format!(
            r#"<p class="code">{}</p><h1>{}</h1>{content}<p class="actions"><a class="button primary" href="{}">Go to the runs</a></p>"#,
            status.as_u16(),
            escaped(title),
            escaped(home),
        );
        Self { status, ..Self::new(home, title, content) }
    }

    /// Creates the page for an unknown address.
    pub(crate) fn not_found(home: &str) -> Self {
        let content = "<p>The emulator has no page at this address. Check the address, or continue with the runs.</p>";
        Self::error(home, StatusCode::NOT_FOUND, "Page not found", content)
    }

    pub(crate) fn with_status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    /// Uses the full width of the window.
    pub(crate) fn with_full_width(mut self) -> Self {
        self.layout = "wide";
        self
    }

    /// Sets the number of seconds after which the browser reloads the page.
    pub(crate) fn with_refresh(mut self, seconds: Option<u32>) -> Self {
        self.refresh = seconds;
        self
    }
}

impl IntoResponse for Page {
    fn into_response(self) -> Response {
        let Self { home, status, title, content, layout, refresh } = self;
        let refresh = refresh.map(|seconds| format!(r#"<meta http-equiv="refresh" content="{seconds}">"#));
        let (refresh, title) = (refresh.unwrap_or_default(), escaped(&title));
        let html = format!(
            r#"<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">{refresh}
<title>{title} – Emulator</title><link rel="icon" href="{ICON}"><style>{STYLE}</style></head>
<body class="{layout}"><header><div>
<a class="brand" href="{home}">{LOGO}Aignostics Platform</a>
<strong class="notice">Emulator – nothing is billed</strong>
<nav aria-label="Pages"><a href="{home}">Runs</a><a href="{home}api/v1/docs">API</a></nav>
</div></header>
<main>
{content}
</main></body></html>"#
        );
        let headers = [
            (header::CACHE_CONTROL, "no-store"),
            (header::REFERRER_POLICY, "no-referrer"),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (header::CONTENT_SECURITY_POLICY, POLICY.as_str()),
        ];
        (status, headers, Html(html)).into_response()
    }
}

/// Returns true if the request accepts HTML, so that it was sent by a browser.
pub(crate) fn accepts_html(headers: &HeaderMap) -> bool {
    let accepted = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    accepted.is_some_and(|types| types.contains("text/html"))
}
