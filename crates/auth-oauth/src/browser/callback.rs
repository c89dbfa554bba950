//! The loopback listener to which the provider redirects the browser (RFC 8252, section 7.3). It serves
//! requests until the valid redirect arrives.
//!
//! - The listener is bound before the login page is shown. For `localhost`, it is bound to both loopback addresses.
//!   Otherwise, another process could bind one of them and receive the code.
//! - If the port is in use, the listener tries to bind it ten times, once a second, because earlier connections may
//!   still be closing.
//! - Only a `GET` request for the exact path is accepted. Any other request, such as one for a favicon, gets a 404.
//! - The state is random, compared in constant time, and valid once. A request with another state gets a 400. The
//!   listener then keeps waiting, because a page of a third party must not be able to end the login.
//! - A request with the `iss` of another issuer also gets a 400 (RFC 9207). If the provider announces that it sends
//!   `iss`, a request with the correct state but without `iss` ends the login with an error.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use auth_core::Secret;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use url::{Host, Url};

use super::page;
use crate::OAuthError;
use crate::endpoints::Endpoints;
use crate::exchange::sanitized;

/// The maximum number of attempts to bind a port that is in use.
const MAX_BIND_ATTEMPTS: u32 = 10;
/// The pause between two attempts to bind a port.
const BIND_INTERVAL: Duration = Duration::from_secs(1);
/// The maximum duration of a connection.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(10);
/// The maximum number of connections that wait to be accepted.
const BACKLOG: u32 = 16;

/// A bound listener that waits for the redirect of a login.
pub(super) struct CallbackListener {
    listeners: Vec<TcpListener>,
    redirect: Url,
}

/// The authorization code in the redirect, or the error that the redirect reports.
type RedirectOutcome = Result<Secret, OAuthError>;

/// The expected properties of the redirect.
#[derive(Clone)]
struct ExpectedRedirect {
    path: String,
    state: Secret,
    issuer: String,
    sends_issuer: bool,
}

impl CallbackListener {
    /// Returns the loopback addresses of a redirect URL. It is an error if the host is not a loopback host, the scheme
    /// is not `http`, or the URL has a fragment.
    pub(super) fn loopback_addresses(redirect: &Url) -> Result<Vec<IpAddr>, OAuthError> {
        let (v4, v6) = (IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST));
        let addresses = match redirect.host() {
            Some(Host::Domain("localhost")) => vec![v4, v6],
            Some(Host::Ipv4(address)) if address.is_loopback() => vec![address.into()],
            Some(Host::Ipv6(address)) if address.is_loopback() => vec![address.into()],
            _ => Vec::new(),
        };
        if addresses.is_empty() || redirect.scheme() != "http" || redirect.fragment().is_some() {
            return Err(OAuthError::invalid_redirect(redirect));
        }
        Ok(addresses)
    }

    /// Binds the listener for `redirect`, and retries while the port is in use.
    pub(super) async fn bind(redirect: &Url) -> Result<Self, OAuthError> {
        let mut attempt = 1;
        loop {
            match Self::try_bind(redirect) {
                Err(error) if error.is_port_taken() && attempt < MAX_BIND_ATTEMPTS => {
                    tracing::debug!(%redirect, attempt, "the port of the redirect URL is in use");
                    attempt += 1;
                    #[expect(clippy::disallowed_methods, reason = "there is no event when a port becomes free")]
                    tokio::time::sleep(BIND_INTERVAL).await;
                }
                outcome => return outcome,
            }
        }
    }

    /// Binds the listener, without retries.
    pub(super) fn try_bind(redirect: &Url) -> Result<Self, OAuthError> {
        let addresses = Self::loopback_addresses(redirect)?;
        let port = redirect.port_or_known_default().unwrap_or(0);
        let (listeners, port) = bind_all(&addresses, port).map_err(|error| OAuthError::listen(port, error))?;
        let mut redirect = redirect.clone();
        // Setting the port of a URL with a host cannot fail.
        let _ = redirect.set_port(Some(port));
        Ok(Self { listeners, redirect })
    }

    /// Returns the redirect URL with the port that the listener is bound to.
    pub(super) fn redirect_url(&self) -> &Url {
        &self.redirect
    }

    /// Serves requests until the valid redirect arrives, and returns its authorization code.
    pub(super) async fn wait(self, state: &Secret, provider: &Endpoints, timeout: Duration) -> RedirectOutcome {
        let expected = ExpectedRedirect {
            path: self.redirect.path().to_owned(),
            state: state.clone(),
            issuer: provider.issuer.clone(),
            sends_issuer: provider.sends_issuer,
        };
        let (sender, mut outcomes) = mpsc::channel(1);
        let mut accept_tasks = JoinSet::new();
        for listener in self.listeners {
            accept_tasks.spawn(accept_connections(listener, expected.clone(), sender.clone()));
        }
        let outcome = tokio::time::timeout(timeout, outcomes.recv()).await;
        // Aborts the accept tasks and their connections, so that the port is free when this function returns.
        accept_tasks.shutdown().await;
        outcome.ok().flatten().unwrap_or_else(|| Err(OAuthError::expired()))
    }
}

/// Binds a listener to each address, all with the same port. Returns the listeners and the port.
fn bind_all(addresses: &[IpAddr], port: u16) -> io::Result<(Vec<TcpListener>, u16)> {
    let mut listeners: Vec<TcpListener> = Vec::new();
    let mut port = port;
    for address in addresses {
        match bind_one(SocketAddr::new(*address, port)) {
            Ok(listener) => {
                port = listener.local_addr()?.port();
                listeners.push(listener);
            }
            // A machine without IPv6 does not have the second address.
            Err(error)
                if !listeners.is_empty()
                    && matches!(error.kind(), io::ErrorKind::AddrNotAvailable | io::ErrorKind::Unsupported) => {}
            Err(error) => return Err(error),
        }
    }
    Ok((listeners, port))
}

fn bind_one(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // On Windows, this option would allow other processes to listen at the same port.
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

async fn accept_connections(
    listener: TcpListener,
    expected: ExpectedRedirect,
    outcomes: mpsc::Sender<RedirectOutcome>,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                if let Ok((stream, _)) = accepted {
                    connections.spawn(serve_connection(stream, expected.clone(), outcomes.clone()));
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Serves one request. If it is the valid redirect, sends its outcome to `outcomes` after the response.
async fn serve_connection(stream: TcpStream, expected: ExpectedRedirect, outcomes: mpsc::Sender<RedirectOutcome>) {
    let (outcome_sender, mut outcome_receiver) = mpsc::channel(1);
    let service = service_fn(|request: Request<Incoming>| {
        let (outcome, response) = respond(&expected, &request);
        if let Some(outcome) = outcome {
            // Sending cannot fail, because the channel has room for the only request of this connection.
            let _ = outcome_sender.try_send(outcome);
        }
        std::future::ready(Ok::<_, Infallible>(response))
    });
    let connection = http1::Builder::new().keep_alive(false).serve_connection(TokioIo::new(stream), service);
    // There may be an outcome even if the connection fails or times out.
    let _ = tokio::time::timeout(CONNECTION_TIMEOUT, connection).await;
    if let Ok(outcome) = outcome_receiver.try_recv() {
        // If the channel is full, another connection has already sent an outcome.
        let _ = outcomes.try_send(outcome);
    }
}

/// Returns the response to a request, and the outcome of the login if the request ends it.
fn respond(expected: &ExpectedRedirect, request: &Request<Incoming>) -> (Option<RedirectOutcome>, Response<String>) {
    if request.method() != Method::GET || request.uri().path() != expected.path {
        return (None, page::html_page(StatusCode::NOT_FOUND, "Not found."));
    }
    let query: Vec<(String, String)> =
        url::form_urlencoded::parse(request.uri().query().unwrap_or_default().as_bytes()).into_owned().collect();
    let parameter = |name: &str| query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    let state_matches = parameter("state").is_some_and(|state| Secret::new(state) == expected.state);
    let issuer_matches = parameter("iss").is_none_or(|issuer| issuer == expected.issuer);
    if !state_matches || !issuer_matches {
        let message = "This page belongs to another login. Continue in the window of the current login.";
        return (None, page::html_page(StatusCode::BAD_REQUEST, message));
    }
    if expected.sends_issuer && parameter("iss").is_none() {
        let error =
            OAuthError::malformed("the redirect has no `iss`, although the provider announces that it sends one");
        return (Some(Err(error)), page::html_page(StatusCode::BAD_REQUEST, "The provider did not identify itself."));
    }
    match (parameter("code"), parameter("error")) {
        (Some(code), None) => (
            Some(Ok(Secret::new(code))),
            page::html_page(StatusCode::OK, "You are logged in. You can close this page."),
        ),
        (_, Some(error)) => {
            let description = parameter("error_description").map(sanitized);
            let message = format!("The login failed: {}", description.as_deref().unwrap_or(error));
            (Some(Err(OAuthError::refused(sanitized(error), description))), page::html_page(StatusCode::OK, &message))
        }
        (None, None) => {
            let error = OAuthError::malformed("the redirect has no code");
            (Some(Err(error)), page::html_page(StatusCode::BAD_REQUEST, "The provider sent no code."))
        }
    }
}
