//! Downloads, uploads and folders, with mock responses and with the emulator's storage.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod bucket;
#[cfg(unix)]
mod device;
mod download;
mod faults;
mod folder;
mod lab;
mod parts;
mod replaced;
mod resume;
mod signer;
mod storage;
#[cfg(feature = "object-store")]
mod store;
#[cfg(feature = "object-store")]
mod store_faults;
#[cfg(feature = "object-store")]
mod store_parts;
mod upload;
mod wire;

use auth_http::HttpClient;

fn http() -> HttpClient {
    HttpClient::builder().with_plain_loopback().without_decompression().build().unwrap()
}
