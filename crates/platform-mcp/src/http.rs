//! The server over HTTP, on loopback only.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use auth_core::Secret;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::{StreamableHttpServerConfig, StreamableHttpService};
use subtle::ConstantTimeEq;
use tokio::net::TcpListener;
use uuid::Uuid;

use crate::server::PlatformServer;

/// The path of the endpoint.
const PATH: &str = "/mcp";
/// The minimum length of a token, in bytes.
const MIN_TOKEN_BYTES: usize = 16;

/// A server that listens on loopback. Every request needs the token.
#[derive(Debug)]
pub struct HttpServer {
    listener: TcpListener,
    server: PlatformServer,
    token: Secret,
}

impl HttpServer {
    /// Returns a new random token, of 64 characters.
    pub fn new_token() -> Secret {
        Secret::new(format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple()))
    }

    /// Listens on a port of 127.0.0.1; 0 selects a free port.
    ///
    /// # Errors
    ///
    /// The token is shorter than 16 bytes, or the port cannot be used.
    pub async fn bind(server: PlatformServer, port: u16, token: Secret) -> io::Result<Self> {
        if token.expose().len() < MIN_TOKEN_BYTES {
            let problem = format!("the token in AIGNOSTICS_MCP_TOKEN is shorter than {MIN_TOKEN_BYTES} bytes");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, problem));
        }
        let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await?;
        Ok(Self { listener, server, token })
    }

    /// Returns the URL of the endpoint.
    ///
    /// # Errors
    ///
    /// The address of the socket cannot be determined.
    pub fn url(&self) -> io::Result<String> {
        Ok(format!("http://{}{PATH}", self.listener.local_addr()?))
    }

    /// Serves until the future is dropped.
    ///
    /// # Errors
    ///
    /// The socket fails.
    pub async fn serve(self) -> io::Result<()> {
        let Self { listener, server, token } = self;
        // Requests with an `Origin` come from browsers and are refused. The service also refuses other `Host` headers,
        // which prevents DNS rebinding.
        let config = StreamableHttpServerConfig::default().enforce_origin_validation();
        let factory = move || Ok(server.clone());
        let service = StreamableHttpService::new(factory, Arc::new(LocalSessionManager::default()), config);
        let token_check = middleware::from_fn_with_state(Arc::new(token), require_token);
        let router = Router::new().route_service(PATH, service).layer(token_check);
        axum::serve(listener, router).await
    }
}

/// Refuses requests without the token.
async fn require_token(State(token): State<Arc<Secret>>, request: Request, next: Next) -> Response {
    let value = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let credentials = value.and_then(|value| value.split_once(' '));
    let is_authorized = credentials.is_some_and(|(scheme, secret)| {
        let is_equal: bool = secret.trim().as_bytes().ct_eq(token.expose().as_bytes()).into();
        scheme.eq_ignore_ascii_case("bearer") && is_equal
    });
    if is_authorized {
        return next.run(request).await;
    }
    let mut response = StatusCode::UNAUTHORIZED.into_response();
    response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    response
}
