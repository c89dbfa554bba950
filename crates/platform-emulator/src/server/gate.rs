//! Middleware for every request to any server: host check, log, journal, and faults.

mod answer;
mod body;
mod cors;
mod novelty;
mod request_body;
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

use crate::clock::{monotonic, pause};
use crate::control;
use crate::fault::Effect;
use crate::journal::Recorded;
use crate::page::{self, Page};
use crate::platform::Platform;
use crate::server::connection::ConnectionInfo;
use crate::server_name::Server;
use crate::storage;
use body::{BodyChanges, ObservedBody};
use cors::AllowedOrigin;
use unread::Unread;

/// Checks a request, passes it to the server, and logs the response.
pub(crate) async fn pass(
    State((platform, server)): State<(Arc<Platform>, Server)>,
    ConnectInfo(connection): ConnectInfo<ConnectionInfo>,
    mut request: Request,
    next: Next,
) -> Response {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    // In HTTP/2, and in the absolute form, the host is part of the target (RFC 9112, section 3.2.2).
    if let Some(authority) = request.uri().authority().and_then(|authority| authority.as_str().parse().ok()) {
        request.headers_mut().insert(header::HOST, authority);
    }
    let (request, unread) = Unread::of(request);
    let reset = connection.reset.clone();
    let permitted = AllowedOrigin::of(&platform.config, request.headers());
    let preflight = permitted.as_ref().and_then(|_| AllowedOrigin::preflight(&method, request.headers()));
    let mut response = if request.headers().get_all(header::HOST).iter().count() != 1 {
        refuse(&platform, request.headers(), StatusCode::BAD_REQUEST, "a request names one host")
    } else if let Err(refusal) = check_origin(&platform, request.headers(), permitted.is_some()) {
        refuse(&platform, request.headers(), StatusCode::FORBIDDEN, refusal)
    } else if let Some(response) = preflight {
        response
    } else {
        handle(&platform, server, connection, request, next).await
    };
    if (response.status().is_client_error() || response.status().is_server_error()) && !reset.is_requested() {
        unread.drain().await;
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
    if let Some(permitted) = permitted {
        permitted.permit(response.headers_mut());
    }
    // The query is not logged, because it can contain signatures.
    tracing::debug!(server = server.name(), %method, path, status = response.status().as_u16(), "served");
    response
}

/// Returns the response to a rejected request: an HTML page for a browser, otherwise text.
fn refuse(platform: &Platform, headers: &HeaderMap, status: StatusCode, reason: &'static str) -> Response {
    if page::is_wanted(headers) {
        let content = format!("<p>The emulator refused this request: {reason}.</p>");
        return Page::error(platform.api_root.as_str(), status, "Request refused", &content).into_response();
    }
    (status, reason).into_response()
}

/// Rejects requests of web pages from other origins, unless the configuration permits the origin. `permitted` is true
/// if it does.
fn check_origin(platform: &Platform, headers: &HeaderMap, permitted: bool) -> Result<(), &'static str> {
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    if let Some(host) = text(header::HOST) {
        let known = Url::parse(&format!("http://{host}/")).is_ok_and(|url| is_emulator_url(platform, &url));
        if !known {
            return Err("the host is not one of this emulator; its configuration can name more of them");
        }
    }
    let same_origin = || text(header::HeaderName::from_static("sec-fetch-site")) == Some("same-origin");
    match text(header::ORIGIN) {
        None => Ok(()),
        Some(_) if permitted => Ok(()),
        // A browser sends the origin `null` with forms on pages with the referrer policy `no-referrer`.
        Some("null") if same_origin() => Ok(()),
        Some(origin) => {
            let ours = [&platform.issuer, &platform.api_root, &platform.storage];
            let known = Url::parse(origin)
                .is_ok_and(|url| is_emulator_url(platform, &url) && ours.iter().any(|own| own.port() == url.port()));
            if known { Ok(()) } else { Err("the origin is not one of this emulator") }
        }
    }
}

/// Returns true if the host of a URL belongs to this emulator. Only known host names are accepted, to prevent DNS
/// rebinding: an attacker can make any other name resolve to this machine.
fn is_emulator_url(platform: &Platform, url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => is_bound(platform, address.into()),
        Some(Host::Ipv6(address)) => is_bound(platform, address.into()),
        Some(Host::Domain(name)) => {
            let urls = [&platform.api_root, &platform.issuer, &platform.storage];
            let named = urls.iter().any(|url| url.host_str() == Some(name));
            named
                || platform.config.hosts.iter().any(|host| host == name)
                || name == "localhost"
                || name.ends_with(".localhost")
        }
        None => false,
    }
}

fn is_bound(platform: &Platform, address: IpAddr) -> bool {
    address.is_loopback() || !platform.address.is_loopback()
}

/// Handles a request, with the effects of the faults that apply to it.
async fn handle(
    platform: &Arc<Platform>,
    server: Server,
    connection: ConnectionInfo,
    request: Request,
    next: Next,
) -> Response {
    let watched = platform.controls.is_some() || !platform.faults.is_empty();
    if !watched || request.uri().path().starts_with(control::PREFIX) {
        return next.run(request).await;
    }
    let recorded = Arc::new(Recorded::new(platform.timestamp(), server, connection.id, &request));
    if let Some(controls) = &platform.controls {
        controls.journal.add(recorded.clone());
    }
    let (method, path) = (request.method().to_string(), request.uri().path().to_owned());
    let effects = platform.faults.effects_on((server, &method, &path), &platform.random, monotonic());
    let mut response = match before(platform, &effects, &path).await {
        Some(replacement) => replacement,
        None => next.run(request.map(|body| request_body::interrupt(body, &effects, &connection.reset))).await,
    };
    if effects.contains(&Effect::WrongContentRange) {
        answer::shift_content_range(response.headers_mut());
    }
    if effects.contains(&Effect::Novelty) {
        response = novelty::add(response).await;
    }
    let nothing = [Effect::Reset { after_bytes: 0 }, Effect::ResetRequest { after_bytes: 0 }];
    if effects.iter().any(|effect| nothing.contains(effect)) {
        connection.reset.request();
    }
    recorded.answered(response.status().as_u16());
    // The header must contain the length of the whole body, even if a fault sends fewer bytes.
    if let Some(length) = response.body().size_hint().exact()
        && length > 0
    {
        response.headers_mut().entry(header::CONTENT_LENGTH).or_insert_with(|| length.into());
    }
    response.map(|body| Body::new(ObservedBody::new(body, recorded, BodyChanges::of(&effects), connection.reset)))
}

/// Applies the effects that occur before the server receives the request. If an effect replaces the response, returns
/// that response, and the server does not receive the request.
async fn before(platform: &Arc<Platform>, effects: &[Effect], path: &str) -> Option<Response> {
    let mut replacement = None;
    for effect in effects {
        match effect {
            Effect::Latency { milliseconds } => pause(Duration::from_millis(*milliseconds)).await,
            Effect::ReplacedObject => storage::replace(platform, path).await,
            _ => {}
        }
        replacement = answer::replacement(effect, platform.timestamp()).or(replacement);
    }
    replacement
}
