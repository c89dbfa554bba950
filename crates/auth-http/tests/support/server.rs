//! Servers that respond to every request with status 200 and the body `in`.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use url::Url;

use crate::authority::Authority;

/// Starts a server that offers `h2` and `http/1.1` in ALPN but always responds in HTTP/1.1. The receiver yields the
/// protocol that each connection negotiated.
#[allow(dead_code, reason = "only some tests use it")]
pub(crate) async fn serve_offering_h2(authority: &Authority) -> (Url, UnboundedReceiver<Option<Vec<u8>>>) {
    let (alpn_sender, negotiated) = unbounded_channel();
    let url = authority.serve_offering_h2(move |mut stream| {
        let alpn_sender = alpn_sender.clone();
        async move {
            alpn_sender.send(stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec)).unwrap();
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nin").await;
            let _ = stream.shutdown().await;
        }
    });
    (url.await, negotiated)
}

/// Starts a server with a certificate of `authority`. With `client_authority`, it requires a client certificate of that
/// authority.
pub(crate) async fn serve(authority: &Authority, client_authority: Option<&Authority>) -> Url {
    let respond = |mut stream: tokio_rustls::server::TlsStream<tokio::net::TcpStream>| async move {
        let _ = stream.read(&mut [0; 4096]).await;
        let response = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nin";
        let _ = stream.write_all(response).await;
        let _ = stream.shutdown().await;
    };
    authority.serve(client_authority, respond).await
}
