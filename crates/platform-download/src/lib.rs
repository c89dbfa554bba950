//! Files over signed URLs: verified when they arrive, or not there at all.
//!
//! A file under its final name is complete and has the checksum that was stated for it: bytes go to
//! a `.part` file beside it, which is checked, synchronised and renamed. [`Downloader`] fetches what
//! a [`Source`] resolves to, a [`ResultFolder`] holds files with a manifest of them, an [`Uploader`]
//! sends files to a [`Bucket`], which lists, finds and deletes objects, and a [`UrlSigner`] signs the URLs for all that.
//!
//! This crate knows neither runs nor applications.
//!
//! # Features
//!
//! - `object-store`: `Store`, a bucket or a folder that files are fetched into without a copy on this machine.
//!
//! # Example
//!
//! ```no_run
//! use auth_http::HttpClient;
//! use platform_download::{Downloader, Expected, SignedUrl, Source};
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
//! let downloader = Downloader::new(HttpClient::builder().without_decompression().build()?);
//! let expected = Expected::new("yZRlqg==".parse()?).with_bytes(11);
//! downloader.fetch(&Fixed(signed), expected, "results/hello.txt".as_ref(), &|bytes| println!("+{bytes}")).await?;
//! # Ok(()) }
//! ```

mod bucket;
mod checksum;
mod download;
mod error;
mod folder;
mod manifest;
mod name;
mod retry;
mod signer;
#[cfg(feature = "object-store")]
mod store;
mod upload;

pub use auth_http::SignedUrl;
pub use bucket::{Bucket, BucketError, Deleted, Deletion, ObjectEntry};
pub use checksum::{Crc32c, Crc32cError};
pub use download::{Downloader, Expected, Outcome, Source};
pub use error::{DownloadError, FolderError};
pub use folder::ResultFolder;
pub use manifest::ManifestEntry;
pub use name::{escape, extension};
pub use retry::RetryPolicy;
pub use signer::{ObjectAddress, ServiceAccountError, ServiceAccountKey, SignError, UrlSigner};
#[cfg(feature = "object-store")]
pub use store::{Store, StoreError, Stored};
pub use upload::{Upload, UploadError, UploadEvent, UploadFile, UploadStep, Uploaded, Uploader};
