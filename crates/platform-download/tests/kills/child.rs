//! The process that is killed. It downloads files, and prints the number of received bytes.

use std::fs;
use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use futures_util::stream::{FuturesUnordered, StreamExt};
use platform_download::{Downloader, Expected, Progress, Queue, ResolvedUrl, SignedUrl, Source, Target};

use crate::{ChildArguments, RequestedFile, http};

/// The environment variable with the path of the file that contains the [`ChildArguments`].
pub(crate) const ARGUMENTS_VARIABLE: &str = "PLATFORM_DOWNLOAD_TEST_ORDERS";

#[derive(Debug)]
struct Fixed(SignedUrl);

#[async_trait]
impl Source for Fixed {
    async fn resolve(&self) -> Result<ResolvedUrl, Box<dyn std::error::Error + Send + Sync>> {
        Ok(self.0.clone().into())
    }
}

pub(crate) fn run(arguments: &[u8]) {
    let arguments: ChildArguments = serde_json::from_slice(arguments).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(download(arguments));
    // On Linux, the line `VmHWM` is the peak memory of the process.
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    println!("{}", status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or("the memory is unknown"));
}

async fn download(arguments: ChildArguments) {
    let downloader =
        Downloader::builder(http()).with_chunk(arguments.chunk).with_workers(arguments.workers).build().unwrap();
    let mut queue = Queue::default();
    for file in arguments.files {
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
    let (downloader, observe, folder) = (&downloader, &observe, &arguments.folder);
    let fetch = async |RequestedFile { name, url, bytes, crc32c }: RequestedFile| {
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
