//! The process that is killed. It downloads files, and prints the number of received bytes.

use std::fs;
use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use futures_util::stream::{FuturesUnordered, StreamExt};
use platform_download::{Downloader, Expected, Progress, Queue, ResolvedUrl, SignedUrl, Source, Target};

use crate::{Orders, Wanted, http};

/// The environment variable with the path of the orders file.
pub(crate) const ORDERS: &str = "PLATFORM_DOWNLOAD_TEST_ORDERS";

#[derive(Debug)]
struct Fixed(SignedUrl);

#[async_trait]
impl Source for Fixed {
    async fn resolve(&self) -> Result<ResolvedUrl, Box<dyn std::error::Error + Send + Sync>> {
        Ok(self.0.clone().into())
    }
}

pub(crate) fn run(orders: &[u8]) {
    let orders: Orders = serde_json::from_slice(orders).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(download(orders));
    // On Linux, the line `VmHWM` is the peak memory of the process.
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    println!("{}", status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or("the memory is not known"));
}

async fn download(orders: Orders) {
    let downloader = Downloader::builder(http()).with_chunk(orders.chunk).with_workers(orders.workers).build().unwrap();
    let mut queue = Queue::default();
    for file in orders.files {
        queue.push(file.bytes, file);
    }
    let received = AtomicU64::new(0);
    let observe = |progress| {
        if let Progress::Received(bytes) = progress {
            let received = received.fetch_add(bytes, Ordering::SeqCst) + bytes;
            // The parent may have stopped reading.
            let _ = writeln!(io::stdout(), "{received}");
        }
    };
    let _ = writeln!(io::stdout(), "0");
    let (downloader, observe, folder) = (&downloader, &observe, &orders.folder);
    let fetch = async |Wanted { name, url, bytes, crc32c }: Wanted| {
        let (source, expected) =
            (Fixed(url.parse::<url::Url>().unwrap().into()), Expected::new(crc32c).with_bytes(bytes));
        downloader.fetch(&source, expected, &Target::within(folder, [name]), observe).await.unwrap();
    };
    let mut active = FuturesUnordered::new();
    loop {
        while active.len() < downloader.workers()
            && let Some(file) = queue.pop()
        {
            active.push(fetch(file));
        }
        if active.next().await.is_none() {
            return;
        }
    }
}
