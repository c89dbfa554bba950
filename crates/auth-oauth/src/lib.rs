//! OAuth 2.0 logins as token providers, and the verification of the JWTs that they bring.
//!
//! [`DeviceLogin`] is the device authorization grant (RFC 8628): the user approves on another
//! device, and the access token is verified by a [`JwtVerifier`] before it is handed out.
//!
//! ```no_run
//! use std::sync::Arc;
//! use auth_core::{TokenKey, TokenSource};
//! use auth_http::HttpClient;
//! use auth_oauth::{DeviceAuthorization, DeviceLogin, Endpoints, Prompt};
//!
//! #[derive(Debug)]
//! struct Terminal;
//!
//! #[async_trait::async_trait]
//! impl Prompt for Terminal {
//!     async fn show(&self, device: &DeviceAuthorization) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
//!         println!("open {} and enter {}", device.verification_url, device.user_code);
//!         Ok(())
//!     }
//! }
//!
//! # fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let endpoints = Endpoints::of_issuer(&"https://issuer.example/".parse()?)?;
//! let login = DeviceLogin::new(HttpClient::builder().build()?, endpoints, "client-id", Arc::new(Terminal))
//!     .with_audience("https://platform.example");
//! let source = TokenSource::new(TokenKey::new("https://issuer.example/"), login);
//! # Ok(()) }
//! ```

mod device;
mod endpoints;
mod error;
mod jwt;
mod wire;

pub use device::{DeviceAuthorization, DeviceLogin, Prompt};
pub use endpoints::Endpoints;
pub use error::OAuthError;
pub use jwt::{Claims, JwtError, JwtVerifier};
