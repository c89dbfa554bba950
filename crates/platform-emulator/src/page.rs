//! The layout of the emulator's pages: plain, without scripts, readable on a phone.

use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};

/// The style sheet. The content security policy allows no other, and identifies it by its SHA-256.
const STYLE: &str = "body{font:1.1rem/1.5 system-ui,sans-serif;max-width:60rem;margin:auto;padding:1rem;color-scheme:light dark}\
label,button,select,input{display:block;font:inherit;margin:.5rem 0}button,select,input{padding:.6rem;min-width:14rem;max-width:100%}\
table{border-collapse:collapse;width:100%}td,th{text-align:left;padding:.3rem .6rem;border-bottom:1px solid #8886;overflow-wrap:anywhere}";

/// Returns a page; `content` is HTML, in which all external text is [`escaped`].
pub(crate) fn page(status: StatusCode, title: &str, content: &str) -> Response {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, STYLE.as_bytes());
    let style = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, digest);
    // A login redirects to the client, which may listen on [::1]. A policy cannot name that address.
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{style}'; form-action 'self' http:; frame-ancestors 'none'; base-uri 'none'"
    );
    let title = escaped(title);
    let html = format!(
        r#"<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>{title}</title><style>{STYLE}</style></head>
<body><main><h1>{title}</h1>
{content}
</main></body></html>"#
    );
    let headers = [
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CONTENT_SECURITY_POLICY, policy.as_str()),
    ];
    (status, headers, Html(html)).into_response()
}

/// Escapes text for HTML content and for attribute values in double quotes.
pub(crate) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '&' => escaped += "&amp;",
            '"' => escaped += "&quot;",
            other => escaped.push(other),
        }
    }
    escaped
}
