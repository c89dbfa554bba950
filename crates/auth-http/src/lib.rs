//! HTTP clients for requests that carry credentials.
//!
//! The clients do not follow redirects, and errors and logs contain no URL queries. They require https; plain http to
//! loopback addresses can be enabled. They send a bearer token only to the authority that the token is meant for.
//!
//! All other crates of the workspace use this one for network access, so that root certificates, proxies and timeouts
//! are configured in the same way for the identity provider, the API and the storage. Public signatures contain no
//! types of the HTTP library `reqwest`.
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
mod internal;
mod metadata;
mod pools;
mod proxy;
mod request;
mod resolver;
mod response;
pub mod retry;
mod roots;

pub use auth_core::{SignedUrl, redacted};
pub use authorized::AuthorizedClient;
pub use blocking::{BlockingRuntime, InsideRuntimeError};
pub use certificate::{CertificateError, ClientCertificate};
pub use client::{HttpClient, HttpClientBuilder};
pub use error::{BuildError, HttpError};
pub use internal::{is_internal_address, is_internal_host};
pub use proxy::Proxy;
pub use request::{Method, Request};
pub use resolver::Resolver;
pub use response::Response;
