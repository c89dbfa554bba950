//! Downloads and uploads through signed URLs, with verification.
//!
//! A file under its final name is complete and has the expected checksum: content is written to a `.part` file,
//! verified, synced and renamed. A [`Downloader`] downloads files from a [`Source`] in concurrent parts, and resumes
//! interrupted downloads. A [`ResultFolder`] contains files and a manifest of their checksums; [`verify()`] compares
//! them. An [`Uploader`] sends files to a [`Bucket`], which also lists, finds and deletes objects. A [`UrlSigner`]
//! signs all URLs.
//!
//! This crate does not depend on the platform's API: it knows nothing of runs and applications.
//!
//! # Features
//!
//! - `object-store`: `Store`, which transfers files into a bucket or a folder without a temporary local copy.
//!
//! # Example
//!
//! ```no_run
//! use auth_http::HttpClient;
//! use platform_download::{Downloader, Expected, ResolvedUrl, SignedUrl, Source, Target};
//!
//! #[derive(Debug)]
//! struct Fixed(SignedUrl);
//!
//! #[async_trait::async_trait]
//! impl Source for Fixed {
//!     async fn resolve(&self) -> Result<ResolvedUrl, Box<dyn std::error::Error + Send + Sync>> {
//!         Ok(self.0.clone().into())
//!     }
//! }
//!
//! # async fn example(signed: SignedUrl) -> Result<(), Box<dyn std::error::Error>> {
//! let http = HttpClient::builder().without_decompression().build()?;
//! let downloader = Downloader::builder(http).with_workers(8).build()?;
//! let expected = Expected::new("yZRlqg==".parse()?).with_bytes(11);
//! let target = Target::within("results", ["hello.txt"]);
//! let outcome = downloader.fetch(&Fixed(signed), expected, &target, &|progress| println!("{progress:?}")).await?;
//! println!("{} bytes, {:?}, CRC32C {}", outcome.bytes, outcome.verification, outcome.crc32c);
//! # Ok(()) }
//! ```

mod checksum;
mod digest;
mod error;
mod names;
mod rate_limit;
mod results;
mod retry;
mod shard;
mod storage;
mod transfer;

pub use auth_http::SignedUrl;
pub use checksum::{Crc32c, Crc32cError};
pub use digest::{Sha256, Sha256Error};
pub use durable_fs::Locking;
pub use error::{DownloadError, FolderError, SourceUnavailable};
pub use names::name::{Siblings, disambiguate, escape, extension, fold, safe_names, unescape};
pub use names::path::safe_paths;
pub use names::pattern::{Pattern, PatternError};
pub use names::target::Target;
pub use rate_limit::RateLimit;
pub use results::clean::{Leftover, LeftoverKind};
pub use results::folder::{FolderOptions, ResultFolder};
pub use results::forget::forget;
pub use results::manifest::{ManifestEntry, Origin, Provenance};
pub use results::recorded::recorded_origins;
pub use results::verify::{FileCheck, FileState, FolderCheck, verify};
pub use retry::RetryPolicy;
pub use shard::{Shard, ShardError};
pub use storage::bucket::{
    Bucket, BucketError, Deleted, Deletion, DownloadedObject, ObjectEntry, ObjectReader, SelectedObjects,
    UnfinishedUpload,
};
pub use storage::signer::{ObjectAddress, ServiceAccountError, ServiceAccountKey, SignError, UrlSigner};
#[cfg(feature = "object-store")]
pub use storage::store::{Store, StoreAddress, StoreAddressError, StoreError, StoreLease, Stored, StoredContent};
#[cfg(feature = "object-store")]
pub use storage::upload::{BucketCopy, CopyObject, CopySource};
pub use storage::upload::{
    Upload, UploadError, UploadEvent, UploadFile, UploadFolder, UploadPathError, UploadRecord, UploadReport,
    UploadStep, Uploaded, Uploader,
};
pub use transfer::download::{Outcome, Verification};
pub use transfer::downloader::{Downloader, DownloaderBuilder, DownloaderError};
pub use transfer::durability::Durability;
pub use transfer::plan::Queue;
pub use transfer::progress::{Meter, Progress, Totals};
pub use transfer::record::FileRecord;
pub use transfer::source::{Expected, ResolvedUrl, Source};
