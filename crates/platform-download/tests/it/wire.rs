//! A TCP proxy that cuts connections.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use url::Url;

/// The point at which a connection is cut.
#[derive(Clone, Copy)]
pub(crate) enum CutPoint {
    /// After this number of request bytes.
    AfterRequestBytes(u64),
    /// At the first byte of a response.
    AtResponse,
}

/// Starts a proxy to the server at `url`, and returns its URL. The proxy cuts its first connections at `cuts`, in
/// order.
pub(crate) async fn start_cutting_proxy(url: &Url, cuts: impl IntoIterator<Item = CutPoint>) -> Url {
    let server = SocketAddr::new(url.host_str().unwrap().parse().unwrap(), url.port().unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy_url = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
    let mut cuts: Vec<_> = cuts.into_iter().collect();
    cuts.reverse();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let server = TcpStream::connect(server).await.unwrap();
            // The task may fail, because cut connections are expected.
            tokio::spawn(forward(client, server, cuts.pop()));
        }
    });
    proxy_url
}

async fn forward(mut client: TcpStream, mut server: TcpStream, cut: Option<CutPoint>) {
    match cut {
        None => drop(copy_bidirectional(&mut client, &mut server).await),
        Some(CutPoint::AfterRequestBytes(bytes)) => {
            let ((from_client, mut to_client), (mut from_server, mut to_server)) = (client.split(), server.split());
            let mut from_client = from_client.take(bytes);
            tokio::select! {
                _ = copy(&mut from_client, &mut to_server) => {}
                _ = copy(&mut from_server, &mut to_client) => {}
            }
        }
        Some(CutPoint::AtResponse) => {
            let ((mut from_client, _to_client), (mut from_server, mut to_server)) = (client.split(), server.split());
            tokio::select! {
                _ = copy(&mut from_client, &mut to_server) => {}
                _ = from_server.read_u8() => {}
            }
            let _ = to_server.shutdown().await;
        }
    }
}
