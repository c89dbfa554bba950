//! Inactivity timeouts, with paused time that advances when all tasks are idle.

use std::io;
use std::time::Duration;

use auth_http::{HttpClient, HttpError, Method, Request, Response};
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket};

/// Sends five bytes, with `pause` between them, to a server that sends `answer` after the last one and then stays
/// silent.
async fn send(pause: Duration, answer: &'static str) -> Result<Response, HttpError> {
    send_within(None, pause, answer).await
}

/// Sends the bytes with a read timeout of the request.
async fn send_within(
    read_timeout: Option<Duration>,
    pause: Duration,
    answer: &'static str,
) -> Result<Response, HttpError> {
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
        #[expect(clippy::disallowed_methods, reason = "time is paused: this advances it")]
        tokio::time::sleep(pause).await;
        io::Result::Ok(Bytes::from_static(b"."))
    });
    let http = HttpClient::builder().with_plain_loopback().build().unwrap();
    let request = Request::new(Method::Put, url).with_stream(5, pieces);
    http.send(read_timeout.into_iter().fold(request, Request::with_read_timeout)).await
}

const COMPLETE: &str = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

#[tokio::test(start_paused = true)]
async fn slow_body_with_progress_is_not_aborted() {
    assert_eq!(send(Duration::from_secs(20), COMPLETE).await.unwrap().status(), 200);
}

#[tokio::test(start_paused = true)]
async fn stalled_body_is_aborted() {
    let error = send(Duration::from_secs(40), COMPLETE).await.unwrap_err();
    assert!(error.is_timeout() && error.is_broken() && error.to_string().contains("30 s"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn request_has_its_own_read_timeout() {
    let within = |seconds| send_within(Some(Duration::from_secs(seconds)), Duration::from_secs(40), COMPLETE);
    assert_eq!(within(60).await.unwrap().status(), 200);
    let error = within(35).await.unwrap_err();
    assert!(error.is_timeout() && error.to_string().contains("35 s"), "{error}");
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

/// Reads a request with a body of `length` bytes, one mebibyte per second, and returns the bytes read.
async fn read_slowly(listener: TcpListener, length: usize) -> Vec<u8> {
    let (mut connection, _) = listener.accept().await.unwrap();
    let mut received = Vec::new();
    let mut end = usize::MAX;
    while received.len() < end {
        let mut piece = vec![0; (1 << 20).min(end - received.len())];
        let read = connection.read(&mut piece).await.unwrap();
        assert!(read > 0, "the request breaks off after {} bytes", received.len());
        received.extend_from_slice(&piece[..read]);
        let head = received.windows(4).take(4096).position(|window| window == b"\r\n\r\n");
        end = head.map_or(end, |head| head + 4 + length);
        if received.len() / (1 << 20) != (received.len() - read) / (1 << 20) {
            #[expect(clippy::disallowed_methods, reason = "time is paused, and advances here")]
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
    connection.write_all(COMPLETE.as_bytes()).await.unwrap();
    received
}

#[tokio::test(start_paused = true)]
async fn bytes_may_take_long_while_the_server_reads_them() {
    let socket = TcpSocket::new_v4().unwrap();
    // A small buffer keeps most of the body in the client, as with a distant server.
    socket.set_recv_buffer_size(64 * 1024).unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let url = format!("http://{}/object", listener.local_addr().unwrap()).parse().unwrap();
    let body: Vec<u8> = (0..64 << 20).map(|index: u32| index.to_le_bytes()[1]).collect();
    let server = tokio::spawn(read_slowly(listener, body.len()));
    let silence = Duration::from_secs(20);
    let http = HttpClient::builder().with_plain_loopback().with_read_timeout(silence).build().unwrap();
    let request = Request::new(Method::Put, url).with_body("application/octet-stream", body.clone());
    assert_eq!(http.send(request).await.unwrap().status(), 200);
    let received = server.await.unwrap();
    let head = String::from_utf8(received[..received.len() - body.len()].to_vec()).unwrap();
    assert!(head.contains("content-length: 67108864\r\n") && !head.contains("transfer-encoding"), "{head}");
    assert!(received.ends_with(&body), "the pieces arrive in order");
}

#[tokio::test(start_paused = true)]
async fn unread_upload_is_aborted() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/object", listener.local_addr().unwrap()).parse().unwrap();
    let http = HttpClient::builder().with_plain_loopback().build().unwrap();
    let request = Request::new(Method::Put, url).with_body("application/octet-stream", vec![0; 64 << 20]);
    let error = http.send(request).await.unwrap_err();
    assert!(error.is_timeout() && error.is_broken(), "{error}");
}
