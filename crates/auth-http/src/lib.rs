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
mod blocking;
mod certificate;
mod client;
mod error;
mod pools;
mod proxy;
mod request;
mod resolver;
mod response;
pub mod retry;
mod roots;

pub use auth_core::{SignedUrl, redacted};
pub use authorized::AuthorizedClient;
pub use blocking::{BlockingRuntime, InsideRuntime};
pub use certificate::{CertificateError, ClientCertificate};
pub use client::{HttpClient, HttpClientBuilder};
pub use error::{BuildError, HttpError};
pub use proxy::Proxy;
pub use request::{Method, Request};
pub use resolver::Resolver;
pub use response::Response;
