//! A server that responds with 200 and `in` to every request.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use url::Url;

use crate::authority::Authority;

/// Starts a server that responds in HTTP/1.1 whatever is negotiated, and returns the negotiated protocol.
#[allow(dead_code, reason = "only some tests use it")]
pub(crate) async fn serve_both_versions(authority: &Authority) -> (Url, UnboundedReceiver<Option<Vec<u8>>>) {
    let (told, negotiated) = unbounded_channel();
    let url = authority.serve_both_versions(move |mut stream| {
        let told = told.clone();
        async move {
            told.send(stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec)).unwrap();
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nin").await;
            let _ = stream.shutdown().await;
        }
    });
    (url.await, negotiated)
}

/// Starts a server with a certificate of `authority`. With `clients`, it requires a client certificate of that
/// authority.
pub(crate) async fn serve(authority: &Authority, clients: Option<&Authority>) -> Url {
    let answer = |mut stream: tokio_rustls::server::TlsStream<tokio::net::TcpStream>| async move {
        let _ = stream.read(&mut [0; 4096]).await;
        let answer = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nin";
        let _ = stream.write_all(answer).await;
        let _ = stream.shutdown().await;
    };
    authority.serve(clients, answer).await
}
