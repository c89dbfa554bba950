//! How long nothing may be heard: time is paused, and goes on when everybody waits for it.

use std::io;
use std::time::Duration;

use auth_http::{HttpClient, HttpError, Method, Request, Response};
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// Sends five bytes, each so long after the one before, to a server that answers when it has them all with `answer`,
/// and then says no more.
async fn send(pause: Duration, answer: &'static str) -> Result<Response, HttpError> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/object", listener.local_addr().unwrap()).parse().unwrap();
    tokio::spawn(async move {
        let (mut connection, _) = listener.accept().await.unwrap();
        let mut received = Vec::new();
        while !received.ends_with(b"\r\n\r\n.....") && connection.read_buf(&mut received).await.unwrap() > 0 {}
        connection.write_all(answer.as_bytes()).await.unwrap();
        std::future::pending::<()>().await;
    });
    let pieces = futures_util::stream::iter(0..5).then(move |_| async move {
        #[expect(clippy::disallowed_methods, reason = "time is paused: this is when it goes on")]
        tokio::time::sleep(pause).await;
        io::Result::Ok(Bytes::from_static(b"."))
    });
    let http = HttpClient::builder().with_plain_loopback().build().unwrap();
    http.send(Request::new(Method::Put, url).with_stream(5, pieces)).await
}

const COMPLETE: &str = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

#[tokio::test(start_paused = true)]
async fn a_body_may_take_long_as_long_as_it_moves() {
    assert_eq!(send(Duration::from_secs(20), COMPLETE).await.unwrap().status(), 200);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_stands_still_is_given_up() {
    let error = send(Duration::from_secs(40), COMPLETE).await.unwrap_err();
    assert!(error.is_timeout() && error.is_broken() && error.to_string().contains("30 s"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_says_no_more_is_given_up() {
    let error = send(Duration::from_secs(1), "").await.unwrap_err();
    assert!(error.is_timeout() && error.is_broken(), "{error}");
    let half = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n1";
    let mut response = send(Duration::from_secs(1), half).await.unwrap();
    assert_eq!(response.chunk().await.unwrap().unwrap(), "1");
    let error = response.chunk().await.unwrap_err();
    assert!(error.is_timeout() && error.is_broken(), "{error}");
}
