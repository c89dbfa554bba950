//! The three servers and their sockets.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use axum::middleware;
use tokio::net::TcpListener;
use tokio::sync::watch;
use url::Url;

use crate::platform::Platform;
use crate::server::connection::ConnectionInfo;
use crate::server::gate;
use crate::server::listener::ResettableListener;
use crate::server::tls::Acceptor;
use crate::server_name::Server;

/// The sockets of the servers, and their URLs.
pub(super) struct Listeners {
    api: (TcpListener, Url),
    identity: (TcpListener, Url),
    storage: (TcpListener, Url),
}

impl Listeners {
    /// Listens on three consecutive ports starting at `port`, or on free ports if `port` is 0.
    pub(super) async fn bind(address: IpAddr, port: u16, host: Option<&str>, tls: bool) -> io::Result<Self> {
        let port_at = |offset| if port > 0 { port + offset } else { 0 };
        Ok(Self {
            api: listen(address, port_at(0), host, tls).await?,
            identity: listen(address, port_at(1), host, tls).await?,
            storage: listen(address, port_at(2), host, tls).await?,
        })
    }

    pub(super) fn api_root(&self) -> Url {
        self.api.1.clone()
    }

    /// Returns the roots of the API, the identity provider and the storage.
    pub(super) fn urls(&self) -> [Url; 3] {
        [&self.api, &self.identity, &self.storage].map(|(_, url)| url.clone())
    }
}

/// Starts the three servers. They end when the returned sender is dropped.
pub(super) fn serve(platform: &Arc<Platform>, listeners: Listeners, tls: Option<&Acceptor>) -> watch::Sender<()> {
    let (shutdown_sender, shutdown) = watch::channel(());
    for (listener, server, router) in [
        (listeners.identity.0, Server::Identity, crate::identity::router(platform.clone())),
        (listeners.api.0, Server::Api, crate::api::router(platform.clone())),
        (listeners.storage.0, Server::Storage, crate::storage::router(platform.clone())),
    ] {
        let mut shutdown = shutdown.clone();
        let router = router.layer(middleware::from_fn_with_state((platform.clone(), server), gate::check_and_handle));
        let service = router.into_make_service_with_connect_info::<ConnectionInfo>();
        let server =
            axum::serve(ResettableListener::new(listener, tls.cloned()), service).with_graceful_shutdown(async move {
                // `changed` fails when the sender is dropped, and the server then shuts down.
                let _ = shutdown.changed().await;
            });
        tokio::spawn(server.into_future());
    }
    shutdown_sender
}

async fn listen(address: IpAddr, port: u16, host: Option<&str>, tls: bool) -> io::Result<(TcpListener, Url)> {
    let address = SocketAddr::new(address, port);
    let listener = TcpListener::bind(address)
        .await
        .map_err(|error| io::Error::new(error.kind(), format!("cannot listen on {address}: {error}")))?;
    let mut local_address = listener.local_addr()?;
    match local_address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => local_address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => local_address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    let authority = host.map_or_else(|| local_address.to_string(), |host| format!("{host}:{}", local_address.port()));
    let invalid_url =
        |error| io::Error::new(io::ErrorKind::InvalidInput, format!("{authority} is not valid in a URL: {error}"));
    let scheme = if tls { "https" } else { "http" };
    let url = format!("{scheme}://{authority}/").parse().map_err(invalid_url)?;
    Ok((listener, url))
}
