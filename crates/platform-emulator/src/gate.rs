//! What every request passes, whatever server it is for: no foreign hosts, a line in the log and in the
//! journal, and whatever is to go wrong.

mod body;
mod novelty;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use url::{Host, Url};

use crate::clock::pause;
use crate::connection::Reset;
use crate::control::{self, Effect, Server};
use crate::platform::Platform;
use crate::storage;
use body::{Observed, Tampering};

/// Lets a request pass to the server that it is for.
pub(crate) async fn pass(
    State((platform, server)): State<(Arc<Platform>, Server)>,
    ConnectInfo(reset): ConnectInfo<Reset>,
    mut request: Request,
    next: Next,
) -> Response {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    // In HTTP/2, and in the absolute form, the host is part of the target (RFC 9112, section 3.2.2).
    if let Some(authority) = request.uri().authority().and_then(|authority| authority.as_str().parse().ok()) {
        request.headers_mut().insert(header::HOST, authority);
    }
    let mut response = if request.headers().get_all(header::HOST).iter().count() != 1 {
        (StatusCode::BAD_REQUEST, "a request names one host").into_response()
    } else if let Err(refusal) = check_origin(&platform, request.headers()) {
        (StatusCode::FORBIDDEN, refusal).into_response()
    } else {
        observe(&platform, server, reset, request, next).await
    };
    // By the clock of the platform, which may have been moved.
    if let Ok(date) = HeaderValue::from_str(&storage::http_date(platform.timestamp())) {
        response.headers_mut().entry(header::DATE).or_insert(date);
    }
    // Never the query, where signatures travel.
    tracing::debug!(server = server.name(), %method, path, status = response.status().as_u16(), "served");
    response
}

/// A page of somebody else in the user's browser must not reach what listens on the user's machine.
fn check_origin(platform: &Platform, headers: &HeaderMap) -> Result<(), &'static str> {
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    if let Some(host) = text(header::HOST) {
        let known = Url::parse(&format!("http://{host}/")).is_ok_and(|url| is_ours(platform, &url));
        if !known {
            return Err("the host is not one of this emulator; its configuration can name more of them");
        }
    }
    let same_origin = || text(header::HeaderName::from_static("sec-fetch-site")) == Some("same-origin");
    match text(header::ORIGIN) {
        None => Ok(()),
        // What a browser sends with a form of a page that asks for no referrer.
        Some("null") if same_origin() => Ok(()),
        Some(origin) => {
            let ours = [&platform.issuer, &platform.api_root, &platform.storage];
            let known = Url::parse(origin)
                .is_ok_and(|url| is_ours(platform, &url) && ours.iter().any(|own| own.port() == url.port()));
            if known { Ok(()) } else { Err("the origin is not one of this emulator") }
        }
    }
}

/// An address cannot be made to mean another machine; a name can, so that only known ones are ours.
fn is_ours(platform: &Platform, url: &Url) -> bool {
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

/// Answers a request, with whatever goes wrong on the way.
async fn observe(platform: &Arc<Platform>, server: Server, reset: Reset, request: Request, next: Next) -> Response {
    let controlled = platform.controls.as_ref().filter(|_| !request.uri().path().starts_with(control::PREFIX));
    let Some(controls) = controlled else { return next.run(request).await };
    let recorded = controls.journal.record(platform.timestamp(), server, &request);
    let path = request.uri().path().to_owned();
    let effects = controls.faults.strike(server, request.method().as_str(), &path, &platform.random);
    let mut answer = None;
    for effect in &effects {
        match effect {
            Effect::Latency { milliseconds } => pause(Duration::from_millis(*milliseconds)).await,
            Effect::Status { status, body } => answer = Some(stated(*status, body.clone())),
            Effect::ExpiredSignature => answer = Some(storage::Refusal::expired().into_response()),
            Effect::ReplacedObject => storage::replace(platform, &path).await,
            _ => {}
        }
    }
    let mut response = match answer {
        Some(answer) => answer,
        None => next.run(request).await,
    };
    if effects.contains(&Effect::WrongContentRange) {
        shift_content_range(response.headers_mut());
    }
    if effects.contains(&Effect::Novelty) {
        response = novelty::add(response).await;
    }
    recorded.answered(response.status().as_u16());
    // The length must be the one of before, also where less is sent.
    if let Some(length) = response.body().size_hint().exact()
        && length > 0
    {
        response.headers_mut().entry(header::CONTENT_LENGTH).or_insert_with(|| length.into());
    }
    response.map(|body| Body::new(Observed::new(body, recorded, Tampering::of(&effects), reset)))
}

fn stated(status: u16, body: Option<String>) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    match body {
        // Whoever writes JSON means it.
        Some(body) if serde_json::from_str::<serde::de::IgnoredAny>(&body).is_ok() => {
            (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
        }
        body => (status, body.unwrap_or_default()).into_response(),
    }
}

/// `bytes 5-9/10` becomes `bytes 6-10/10`.
fn shift_content_range(headers: &mut HeaderMap) {
    let shifted = headers.get(header::CONTENT_RANGE).and_then(|value| {
        let (range, size) = value.to_str().ok()?.strip_prefix("bytes ")?.split_once('/')?;
        let (first, last) = range.split_once('-')?;
        let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
        HeaderValue::from_str(&format!("bytes {}-{}/{size}", first + 1, last + 1)).ok()
    });
    if let Some(shifted) = shifted {
        headers.insert(header::CONTENT_RANGE, shifted);
    }
}
