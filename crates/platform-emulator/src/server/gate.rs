//! Middleware for every request to any server: host check, log, journal, and faults.

mod answer;
mod body;
mod cors;
mod request_body;
mod unknown_fields;
mod unread;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use url::{Host, Url};

use crate::clock::{monotonic_now, pause};
use crate::control;
use crate::fault::Effect;
use crate::journal::RecordedRequest;
use crate::page::{self, Page};
use crate::platform::Platform;
use crate::server::connection::ConnectionInfo;
use crate::server_name::Server;
use crate::storage;
use body::{BodyChanges, ObservedBody};
use cors::AllowedOrigin;
use unread::UnreadBody;

/// Checks the host and the origin of a request, handles the request, and logs the response.
pub(crate) async fn check_and_handle(
    State((platform, server)): State<(Arc<Platform>, Server)>,
    ConnectInfo(connection): ConnectInfo<ConnectionInfo>,
    mut request: Request,
    next: Next,
) -> Response {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    // In HTTP/2, and in the absolute form of HTTP/1.1, the target contains the host (RFC 9112, section 3.2.2).
    if let Some(authority) = request.uri().authority().and_then(|authority| authority.as_str().parse().ok()) {
        request.headers_mut().insert(header::HOST, authority);
    }
    let (request, unread_body) = UnreadBody::share(request);
    let reset = connection.reset.clone();
    let allowed_origin = AllowedOrigin::of_request(&platform.config, request.headers());
    let preflight = allowed_origin.as_ref().and_then(|_| AllowedOrigin::preflight_response(&method, request.headers()));
    let mut response = if request.headers().get_all(header::HOST).iter().count() != 1 {
        rejection(&platform, request.headers(), StatusCode::BAD_REQUEST, "a request must have exactly one Host header")
    } else if let Err(reason) = check_origin(&platform, request.headers(), allowed_origin.is_some()) {
        rejection(&platform, request.headers(), StatusCode::FORBIDDEN, reason)
    } else if let Some(response) = preflight {
        response
    } else {
        handle_with_faults(&platform, server, connection, request, next).await
    };
    if (response.status().is_client_error() || response.status().is_server_error()) && !reset.is_requested() {
        unread_body.drain().await;
    }
    // The date is set from the platform's clock, which may be shifted.
    if let Ok(date) = HeaderValue::from_str(&storage::http_date(platform.timestamp())) {
        response.headers_mut().entry(header::DATE).or_insert(date);
    }
    // RFC 9110, section 15.5.2.
    if response.status() == StatusCode::UNAUTHORIZED {
        let challenge = HeaderValue::from_static("Bearer realm=\"emulator\"");
        response.headers_mut().entry(header::WWW_AUTHENTICATE).or_insert(challenge);
    }
    if let Some(allowed_origin) = allowed_origin {
        allowed_origin.add_headers(response.headers_mut());
    }
    // The query is not logged, because it can contain signatures.
    tracing::debug!(server = server.name(), %method, path, status = response.status().as_u16(), "served");
    response
}

/// Returns the response to a rejected request: an HTML page for a browser, otherwise text.
fn rejection(platform: &Platform, headers: &HeaderMap, status: StatusCode, reason: &'static str) -> Response {
    if page::accepts_html(headers) {
        let content = format!("<p>The emulator refused this request: {reason}.</p>");
        return Page::error(platform.api_root.as_str(), status, "Request refused", &content).into_response();
    }
    (status, reason).into_response()
}

/// Rejects requests of web pages of other origins. `is_allowed` is true if the configuration allows the origin.
fn check_origin(platform: &Platform, headers: &HeaderMap, is_allowed: bool) -> Result<(), &'static str> {
    let header_text = |name| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    if let Some(host) = header_text(header::HOST) {
        let is_known = Url::parse(&format!("http://{host}/")).is_ok_and(|url| is_emulator_url(platform, &url));
        if !is_known {
            return Err(
                "the host does not belong to this emulator; `hosts` in its configuration can name additional hosts",
            );
        }
    }
    let same_origin = || header_text(header::HeaderName::from_static("sec-fetch-site")) == Some("same-origin");
    match header_text(header::ORIGIN) {
        None => Ok(()),
        Some(_) if is_allowed => Ok(()),
        // A browser sends the origin `null` with forms on pages with the referrer policy `no-referrer`.
        Some("null") if same_origin() => Ok(()),
        Some(origin) => {
            let own_urls = [&platform.issuer, &platform.api_root, &platform.storage];
            let is_known = Url::parse(origin).is_ok_and(|url| {
                is_emulator_url(platform, &url) && own_urls.iter().any(|own_url| own_url.port() == url.port())
            });
            if is_known { Ok(()) } else { Err("the origin does not belong to this emulator") }
        }
    }
}

/// Returns true if the host of a URL belongs to this emulator. Other host names are rejected to prevent DNS rebinding,
/// in which the name of an attacker's server resolves to this machine.
fn is_emulator_url(platform: &Platform, url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => is_own_address(platform, address.into()),
        Some(Host::Ipv6(address)) => is_own_address(platform, address.into()),
        Some(Host::Domain(name)) => {
            let urls = [&platform.api_root, &platform.issuer, &platform.storage];
            let is_own_host = urls.iter().any(|url| url.host_str() == Some(name));
            is_own_host
                || platform.config.hosts.iter().any(|host| host == name)
                || name == "localhost"
                || name.ends_with(".localhost")
        }
        None => false,
    }
}

fn is_own_address(platform: &Platform, address: IpAddr) -> bool {
    address.is_loopback() || !platform.address.is_loopback()
}

/// Handles a request, with the effects of the active faults.
async fn handle_with_faults(
    platform: &Arc<Platform>,
    server: Server,
    connection: ConnectionInfo,
    request: Request,
    next: Next,
) -> Response {
    let is_observed = platform.controls.is_some() || !platform.faults.is_empty();
    if !is_observed || request.uri().path().starts_with(control::PREFIX) {
        return next.run(request).await;
    }
    let recorded = Arc::new(RecordedRequest::new(platform.timestamp(), server, connection.id, &request));
    if let Some(controls) = &platform.controls {
        controls.journal.add(recorded.clone());
    }
    let (method, path) = (request.method().to_string(), request.uri().path().to_owned());
    let effects = platform.faults.effects_on((server, &method, &path), &platform.random, monotonic_now());
    let mut response = match apply_early_effects(platform, &effects, &path).await {
        Some(replacement) => replacement,
        None => next.run(request.map(|body| request_body::interrupt(body, &effects, &connection.reset))).await,
    };
    if effects.contains(&Effect::WrongContentRange) {
        answer::shift_content_range(response.headers_mut());
    }
    if effects.contains(&Effect::Novelty) {
        response = unknown_fields::add(response).await;
    }
    let effects_without_response = [Effect::Reset { after_bytes: 0 }, Effect::ResetRequest { after_bytes: 0 }];
    if effects.iter().any(|effect| effects_without_response.contains(effect)) {
        connection.reset.request();
    }
    recorded.set_status(response.status().as_u16());
    // The header contains the length of the whole body, even if a fault interrupts the body.
    if let Some(length) = response.body().size_hint().exact()
        && length > 0
    {
        response.headers_mut().entry(header::CONTENT_LENGTH).or_insert_with(|| length.into());
    }
    response.map(|body| Body::new(ObservedBody::new(body, recorded, BodyChanges::of(&effects), connection.reset)))
}

/// Applies the effects that occur before the server receives the request. Returns a response if an effect replaces the
/// response. In this case, the server does not receive the request.
async fn apply_early_effects(platform: &Arc<Platform>, effects: &[Effect], path: &str) -> Option<Response> {
    let mut replacement = None;
    for effect in effects {
        match effect {
            Effect::Latency { milliseconds } => pause(Duration::from_millis(*milliseconds)).await,
            Effect::ReplacedObject => storage::replace_object(platform, path).await,
            _ => {}
        }
        replacement = answer::replacement(effect, platform.timestamp()).or(replacement);
    }
    replacement
}
