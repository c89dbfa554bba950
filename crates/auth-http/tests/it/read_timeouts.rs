//! Read timeouts. Time is paused, and advances when all tasks are idle.

use std::io;
use std::time::Duration;

use auth_http::{HttpClient, HttpError, Method, Request, Response};
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket};

/// Uploads five bytes, with `pause` between them. After the last byte, the server sends `response`, and then nothing
/// more.
async fn upload(pause: Duration, response: &'static str) -> Result<Response, HttpError> {
    upload_with_read_timeout(None, pause, response).await
}

/// Does the same as [`upload`], with a read timeout of the request.
async fn upload_with_read_timeout(
    read_timeout: Option<Duration>,
    pause: Duration,
    response: &'static str,
) -> Result<Response, HttpError> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/object", listener.local_addr().unwrap()).parse().unwrap();
    tokio::spawn(async move {
        let (mut connection, _) = listener.accept().await.unwrap();
        let mut received = Vec::new();
        while !received.ends_with(b"\r\n\r\n.....") && connection.read_buf(&mut received).await.unwrap() > 0 {}
        connection.write_all(response.as_bytes()).await.unwrap();
        std::future::pending::<()>().await;
    });
    let chunks = futures_util::stream::iter(0..5).then(move |_| async move {
        #[expect(clippy::disallowed_methods, reason = "with paused time, this takes no real time")]
        tokio::time::sleep(pause).await;
        io::Result::Ok(Bytes::from_static(b"."))
    });
    let http = HttpClient::builder().with_plain_loopback().build().unwrap();
    let request = Request::new(Method::Put, url).with_stream(5, chunks);
    http.send(read_timeout.into_iter().fold(request, Request::with_read_timeout)).await
}

const COMPLETE_RESPONSE: &str = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

#[tokio::test(start_paused = true)]
async fn slow_upload_with_progress_is_not_aborted() {
    assert_eq!(upload(Duration::from_secs(20), COMPLETE_RESPONSE).await.unwrap().status(), 200);
}

#[tokio::test(start_paused = true)]
async fn stalled_upload_is_aborted() {
    let error = upload(Duration::from_secs(40), COMPLETE_RESPONSE).await.unwrap_err();
    assert!(error.is_timeout() && error.is_transport_error() && error.to_string().contains("30 s"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn request_read_timeout_replaces_the_client_read_timeout() {
    let upload =
        |read_timeout| upload_with_read_timeout(Some(read_timeout), Duration::from_secs(40), COMPLETE_RESPONSE);
    assert_eq!(upload(Duration::from_secs(60)).await.unwrap().status(), 200);
    let error = upload(Duration::from_secs(35)).await.unwrap_err();
    assert!(error.is_timeout() && error.to_string().contains("35 s"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn missing_response_and_stalled_response_time_out() {
    let error = upload(Duration::from_secs(1), "").await.unwrap_err();
    assert!(error.is_timeout() && error.is_transport_error(), "{error}");
    let partial_response = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n1";
    let mut response = upload(Duration::from_secs(1), partial_response).await.unwrap();
    assert_eq!(response.chunk().await.unwrap().unwrap(), "1");
    let error = response.chunk().await.unwrap_err();
    assert!(error.is_timeout() && error.is_transport_error(), "{error}");
}

/// Reads a request with a body of `length` bytes, one mebibyte per second, and returns the bytes read.
async fn read_slowly(listener: TcpListener, length: usize) -> Vec<u8> {
    let (mut connection, _) = listener.accept().await.unwrap();
    let mut received = Vec::new();
    let mut end = usize::MAX;
    while received.len() < end {
        let mut buffer = vec![0; (1 << 20).min(end - received.len())];
        let read = connection.read(&mut buffer).await.unwrap();
        assert!(read > 0, "the request ends after {} bytes", received.len());
        received.extend_from_slice(&buffer[..read]);
        let head = received.windows(4).take(4096).position(|window| window == b"\r\n\r\n");
        end = head.map_or(end, |head| head + 4 + length);
        if received.len() / (1 << 20) != (received.len() - read) / (1 << 20) {
            #[expect(clippy::disallowed_methods, reason = "with paused time, this takes no real time")]
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
    connection.write_all(COMPLETE_RESPONSE.as_bytes()).await.unwrap();
    received
}

#[tokio::test(start_paused = true)]
async fn large_body_is_not_aborted_while_the_server_reads_it() {
    let socket = TcpSocket::new_v4().unwrap();
    // With a small receive buffer, most of the body stays in the client until the server reads it.
    socket.set_recv_buffer_size(64 * 1024).unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let url = format!("http://{}/object", listener.local_addr().unwrap()).parse().unwrap();
    let body: Vec<u8> = (0..64 << 20).map(|index: u32| index.to_le_bytes()[1]).collect();
    let server = tokio::spawn(read_slowly(listener, body.len()));
    let read_timeout = Duration::from_secs(20);
    let http = HttpClient::builder().with_plain_loopback().with_read_timeout(read_timeout).build().unwrap();
    let request = Request::new(Method::Put, url).with_body("application/octet-stream", body.clone());
    assert_eq!(http.send(request).await.unwrap().status(), 200);
    let received = server.await.unwrap();
    let head = String::from_utf8(received[..received.len() - body.len()].to_vec()).unwrap();
    assert!(head.contains("content-length: 67108864\r\n") && !head.contains("transfer-encoding"), "{head}");
    assert!(received.ends_with(&body), "the chunks arrive in order");
}

#[tokio::test(start_paused = true)]
async fn upload_that_the_server_does_not_read_is_aborted() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/object", listener.local_addr().unwrap()).parse().unwrap();
    let http = HttpClient::builder().with_plain_loopback().build().unwrap();
    let request = Request::new(Method::Put, url).with_body("application/octet-stream", vec![0; 64 << 20]);
    let error = http.send(request).await.unwrap_err();
    assert!(error.is_timeout() && error.is_transport_error(), "{error}");
}
