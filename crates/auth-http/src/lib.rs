//! HTTP for credentials: clients that follow no redirect, speak https (plain http only to this
//! machine, and only if told), show no secret of a URL, and send a bearer token to the one
//! authority that it was made for.
//!
//! All other crates of the workspace reach the network through this one, so that roots, proxies
//! and time-outs are set up once for the identity provider, the API and the storage. No type of
//! the HTTP library below is in its signatures.
//!
//! ```no_run
//! use auth_http::{HttpClient, Request};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let client = HttpClient::builder().build()?;
//! let response = client.send(Request::get("https://platform.example/health".parse()?)).await?;
//! println!("{} {:?}", response.status(), response.bytes(64 * 1024).await?);
//! # Ok(()) }
//! ```

mod authorized;
mod client;
mod error;
mod proxy;
mod redact;
mod request;
mod response;
mod roots;
mod signed;

pub use authorized::AuthorizedClient;
pub use client::{HttpClient, HttpClientBuilder};
pub use error::{BuildError, HttpError};
pub use proxy::Proxy;
pub use redact::redacted;
pub use request::{Method, Request};
pub use response::Response;
pub use signed::SignedUrl;
