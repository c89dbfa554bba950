//! A listener for connections that can be reset, with or without TLS.

use std::io;
use std::net::SocketAddr;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::net::TcpListener;

use super::connection::{Connection, ConnectionInfo};
use super::tls::{Acceptor, MaybeTls};

/// A listener for resettable connections.
pub(crate) struct ResettableListener {
    listener: TcpListener,
    tls: Option<Acceptor>,
    accepted_count: u64,
}

impl ResettableListener {
    pub(crate) fn new(listener: TcpListener, tls: Option<Acceptor>) -> Self {
        Self { listener, tls, accepted_count: 0 }
    }
}

impl Listener for ResettableListener {
    type Io = MaybeTls;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (MaybeTls, SocketAddr) {
        let (stream, address) = Listener::accept(&mut self.listener).await;
        // Without this option, small responses are delayed. An error is ignored, because it only causes such delays.
        let _ = stream.set_nodelay(true);
        self.accepted_count += 1;
        (MaybeTls::new(Connection::new(stream, self.accepted_count), self.tls.as_ref()), address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

impl Connected<IncomingStream<'_, ResettableListener>> for ConnectionInfo {
    fn connect_info(stream: IncomingStream<'_, ResettableListener>) -> Self {
        stream.io().info()
    }
}
