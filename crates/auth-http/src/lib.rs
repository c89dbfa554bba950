//! HTTP clients for credentials.
//!
//! The clients do not follow redirects, and redact URLs. They require HTTPS, except plain HTTP to loopback if enabled.
//! They send a bearer token only to the authority it was issued for.
//!
//! All other crates of the workspace use this one for network access. Root certificates, proxies and timeouts are
//! configured once for the identity provider, the API and the storage. Public signatures contain no types of the HTTP
//! library.
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
mod deadline;
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
