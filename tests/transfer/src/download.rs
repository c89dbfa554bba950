//! Downloads of the files of a list.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use async_trait::async_trait;
use auth_http::HttpClient;
use clap::Args;
use futures_util::stream::{self, StreamExt};
use platform_download::{Crc32c, Downloader, Durability, Expected, Queue, ResolvedUrl, SignedUrl, Source, Target};
use serde::Deserialize;

#[derive(Args)]
pub(crate) struct Arguments {
    /// Lines of JSON: `url`, `name`, `bytes`, `crc32c`
    list: PathBuf,
    folder: PathBuf,
    /// Keep the default durability and SHA-256
    #[arg(long)]
    defaults: bool,
    #[arg(long, default_value_t = 16)]
    jobs: usize,
    /// Root certificate of the server
    #[arg(long)]
    ca: Option<PathBuf>,
}

/// A line of the list.
#[derive(Deserialize)]
struct ListedFile {
    url: String,
    name: String,
    bytes: u64,
    crc32c: Crc32c,
}

/// A signed URL that needs no further request.
#[derive(Debug)]
struct ReadyUrl(SignedUrl);

#[async_trait]
impl Source for ReadyUrl {
    async fn resolve(&self) -> Result<ResolvedUrl, Box<dyn std::error::Error + Send + Sync>> {
        Ok(self.0.clone().into())
    }
}

pub(crate) async fn run(arguments: &Arguments) -> Result<()> {
    let http = HttpClient::builder().with_plain_loopback().without_decompression().with_http1();
    let http = arguments.ca.iter().fold(http, auth_http::HttpClientBuilder::with_root_certificates).build()?;
    let downloader = Downloader::builder(http).with_workers(arguments.jobs).build()?;
    let downloader =
        if arguments.defaults { downloader } else { downloader.with_durability(Durability::None).with_sha256(false) };
    let mut queue = Queue::default();
    for line in fs::read_to_string(&arguments.list)?.lines() {
        let line: ListedFile = serde_json::from_str(line)?;
        queue.push(line.bytes, line);
    }
    let files = std::iter::from_fn(|| queue.pop());
    let fetching = stream::iter(files).map(|file| {
        let downloader = &downloader;
        async move {
            let source = ReadyUrl(file.url.parse::<url::Url>().context("invalid URL")?.into());
            let expected = Expected::new(file.crc32c).with_bytes(file.bytes);
            let target = Target::within(&arguments.folder, [&file.name]);
            anyhow::Ok(downloader.fetch(&source, expected, &target, &|_| {}).await?)
        }
    });
    let mut fetching = std::pin::pin!(fetching.buffer_unordered(arguments.jobs));
    while let Some(outcome) = fetching.next().await {
        outcome?;
    }
    Ok(())
}
