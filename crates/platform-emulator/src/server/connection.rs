//! Connections that can be reset instead of closed, with or without TLS.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

use crate::server::tls::{Acceptor, MaybeTls};

/// A listener for resettable connections.
pub(crate) struct ResettableListener {
    listener: TcpListener,
    tls: Option<Acceptor>,
    accepted: u64,
}

/// A TCP connection. Dropping it closes it, or resets it after [`Reset::ask`].
pub(crate) struct Connection {
    stream: TcpStream,
    info: ConnectionInfo,
}

/// The number of a connection, and its reset handle.
#[derive(Clone)]
pub(crate) struct ConnectionInfo {
    /// Its number, from 1.
    pub(crate) id: u64,
    pub(crate) reset: Reset,
}

/// A handle that requests a connection reset.
#[derive(Clone, Default)]
pub(crate) struct Reset(Arc<AtomicBool>);

impl Reset {
    pub(crate) fn ask(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_asked(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl ResettableListener {
    pub(crate) fn new(listener: TcpListener, tls: Option<Acceptor>) -> Self {
        Self { listener, tls, accepted: 0 }
    }
}

impl Connection {
    pub(crate) fn info(&self) -> ConnectionInfo {
        self.info.clone()
    }

    /// Fails once a reset is requested: HTTP/2 would otherwise keep the connection for its other requests.
    fn check(&self) -> io::Result<()> {
        if self.info.reset.is_asked() { Err(io::ErrorKind::ConnectionReset.into()) } else { Ok(()) }
    }
}

impl Listener for ResettableListener {
    type Io = MaybeTls;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (MaybeTls, SocketAddr) {
        let (stream, address) = Listener::accept(&mut self.listener).await;
        // Without this option, small responses are delayed. The error can be ignored.
        let _ = stream.set_nodelay(true);
        self.accepted += 1;
        let info = ConnectionInfo { id: self.accepted, reset: Reset::default() };
        (MaybeTls::new(Connection { stream, info }, self.tls.as_ref()), address)
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

impl Drop for Connection {
    fn drop(&mut self) {
        if self.info.reset.is_asked() {
            // If the reset fails, the connection is closed.
            let _ = self.stream.set_zero_linger();
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check()?;
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.check()?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check()?;
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.info.reset.is_asked() {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
