//! Downloads and uploads through signed URLs, with verification.
//!
//! A file under its final name is complete and has its stated checksum: content is written to a `.part` file, verified,
//! synced and renamed. A [`Downloader`] downloads from a [`Source`] in concurrent parts, and resumes after
//! interruptions. A [`ResultFolder`] contains files and their manifest, which [`verify()`] checks. An [`Uploader`]
//! sends files to a [`Bucket`], which lists, finds and deletes objects. A [`UrlSigner`] signs all URLs.
//!
//! This crate is independent of runs and applications.
//!
//! # Features
//!
//! - `object-store`: `Store`, a bucket or a folder to download files into without a local copy.
//!
//! # Example
//!
//! ```no_run
//! use auth_http::HttpClient;
//! use platform_download::{Downloader, Expected, SignedUrl, Source, Target};
//!
//! #[derive(Debug)]
//! struct Fixed(SignedUrl);
//!
//! #[async_trait::async_trait]
//! impl Source for Fixed {
//!     async fn resolve(&self) -> Result<SignedUrl, Box<dyn std::error::Error + Send + Sync>> {
//!         Ok(self.0.clone())
//!     }
//! }
//!
//! # async fn example(signed: SignedUrl) -> Result<(), Box<dyn std::error::Error>> {
//! let http = HttpClient::builder().without_decompression().build()?;
//! let downloader = Downloader::builder(http).with_workers(8).build()?;
//! let expected = Expected::new("yZRlqg==".parse()?).with_bytes(11);
//! let target = Target::within("results", ["hello.txt"]);
//! let outcome = downloader.fetch(&Fixed(signed), expected, &target, &|progress| println!("{progress:?}")).await?;
//! println!("{} bytes, {:?}, SHA-256 {}", outcome.bytes, outcome.verification, outcome.sha256);
//! # Ok(()) }
//! ```

mod ahead;
mod answer;
mod bucket;
mod checksum;
mod clean;
mod digest;
mod download;
mod durability;
mod error;
mod fetch;
mod folder;
mod forget;
mod manifest;
mod name;
mod part;
mod path;
mod pattern;
mod plan;
mod progress;
mod retry;
mod shard;
mod signer;
mod source;
#[cfg(feature = "object-store")]
mod store;
mod target;
mod upload;
mod verify;
mod writer;

pub use auth_http::SignedUrl;
pub use bucket::{Bucket, BucketError, Deleted, Deletion, ObjectEntry};
pub use checksum::{Crc32c, Crc32cError};
pub use clean::{Leftover, LeftoverKind};
pub use digest::{Sha256, Sha256Error};
pub use download::{Downloader, DownloaderBuilder, DownloaderError, Outcome, Verification};
pub use durability::Durability;
pub use durable_fs::Locking;
pub use error::{DownloadError, FolderError};
pub use folder::{FolderOptions, ResultFolder};
pub use forget::forget;
pub use manifest::{ManifestEntry, Origin, Provenance};
pub use name::{Siblings, apart, escape, extension, fold, safe_names, unescape};
pub use path::safe_paths;
pub use pattern::{Pattern, PatternError};
pub use plan::Queue;
pub use progress::{Meter, Progress, Totals};
pub use retry::RetryPolicy;
pub use shard::{Shard, ShardError};
pub use signer::{ObjectAddress, ServiceAccountError, ServiceAccountKey, SignError, UrlSigner};
pub use source::{Expected, Source, SourceUnavailable};
#[cfg(feature = "object-store")]
pub use store::{Store, StoreError, Stored};
pub use target::Target;
pub use upload::{Upload, UploadError, UploadEvent, UploadFile, UploadStep, Uploaded, Uploader};
pub use verify::{FileCheck, FileState, FolderCheck, verify};
