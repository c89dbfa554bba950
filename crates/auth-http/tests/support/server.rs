//! A server that says 200 and `in`, whatever is asked.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use url::Url;

use crate::authority::Authority;

/// With a certificate of `authority`; with `clients`, only for those whose certificate is from there.
pub(crate) async fn serve(authority: &Authority, clients: Option<&Authority>) -> Url {
    let answer = |mut stream: tokio_rustls::server::TlsStream<tokio::net::TcpStream>| async move {
        let _ = stream.read(&mut [0; 4096]).await;
        let answer = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nin";
        let _ = stream.write_all(answer).await;
        let _ = stream.shutdown().await;
    };
    authority.serve(clients, answer).await
}
