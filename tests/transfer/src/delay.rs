//! A proxy that delays the forwarded data, and limits the rate of each connection.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, sleep_until};

/// The maximum number of bytes in flight on a connection, like the window of TCP.
const WINDOW_BYTES: usize = 16 << 20;
/// The maximum length of a piece.
const MAX_PIECE_BYTES: usize = 64 << 10;

/// The properties of a connection.
#[derive(Clone, Copy)]
struct Link {
    one_way: Duration,
    /// 0 if unlimited.
    bytes_per_second: u64,
}

pub(crate) async fn run(to: SocketAddr, round_trip: Duration, bytes_per_second: u64) -> Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    writeln!(io::stdout(), "{}", listener.local_addr()?.port())?;
    io::stdout().flush()?;
    let link = Link { one_way: round_trip / 2, bytes_per_second };
    loop {
        let (client, _) = listener.accept().await?;
        tokio::spawn(async move {
            // The handshake of TCP takes a round trip, too.
            sleep_until(Instant::now() + 2 * link.one_way).await;
            if let Ok(server) = TcpStream::connect(to).await {
                let _ = (client.set_nodelay(true), server.set_nodelay(true));
                let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
                tokio::spawn(forward(from_client, to_server, link));
                forward(from_server, to_client, link).await;
            }
        });
    }
}

async fn forward(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, link: Link) {
    let (sender, mut receiver) = mpsc::unbounded_channel::<(Instant, BytesMut)>();
    let window = Semaphore::new(WINDOW_BYTES / MAX_PIECE_BYTES);
    let read = async {
        loop {
            let Ok(permit) = window.acquire().await else { break };
            permit.forget();
            let mut piece = BytesMut::with_capacity(MAX_PIECE_BYTES);
            match from.read_buf(&mut piece).await {
                Ok(1..) if sender.send((Instant::now() + link.one_way, piece)).is_ok() => {}
                _ => break,
            }
        }
        drop(sender);
    };
    let write = async {
        let mut next = Instant::now();
        while let Some((due, piece)) = receiver.recv().await {
            next = next.max(due);
            sleep_until(next).await;
            if to.write_all(&piece).await.is_err() {
                break;
            }
            window.add_permits(1);
            if link.bytes_per_second > 0 {
                next += Duration::from_secs(1) * u32::try_from(piece.len()).unwrap_or(u32::MAX)
                    / u32::try_from(link.bytes_per_second).unwrap_or(u32::MAX);
            }
        }
        let _ = to.shutdown().await;
    };
    let mut write = std::pin::pin!(write);
    tokio::select! {
        () = &mut write => {}
        () = read => write.await,
    }
}
