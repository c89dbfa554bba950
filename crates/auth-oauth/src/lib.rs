//! Every way to a token of OAuth 2.0, as token providers, and the verification of the JWTs that they bring.
//!
//! An [`OAuthClient`] says who asks; a grant, how:
//!
//! | grant | for |
//! |---|---|
//! | [`BrowserLogin`] (RFC 6749, section 4.1; RFC 7636) | users, in the browser of this machine |
//! | [`DeviceLogin`] (RFC 8628) | users, who approve on another device |
//! | [`RefreshGrant`] (RFC 6749, section 6) | a login that goes on |
//! | [`ClientCredentials`] (RFC 6749, section 4.4) | machines, by secret, private key or certificate |
//! | [`JwtBearer`] (RFC 7523) | workloads and users whose identity somebody else has signed |
//! | [`TokenExchange`] (RFC 8693) | services that act for whoever called them |
//!
//! A [`UserLogin`] takes whichever of the ways for users there is, and [`BlockingProvider`] makes any grant one for callers
//! without a runtime.
//!
//! With a [`JwtVerifier`], a client hands out no token of another issuer or for another audience. [`FileTokenStore`]
//! keeps what was obtained for the next process of the same user.
//!
//! ```no_run
//! use std::sync::Arc;
//! use auth_core::TokenSource;
//! use auth_http::HttpClient;
//! use auth_oauth::{DeviceAuthorization, DeviceLogin, Endpoints, OAuthClient, Prompt};
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
//! let client = OAuthClient::new(HttpClient::builder().build()?, endpoints, "client-id")
//!     .with_audience("https://platform.example")
//!     .with_scopes(["offline_access"]);
//! let key = client.token_key().build();
//! let source = TokenSource::new(key, DeviceLogin::new(client, Arc::new(Terminal)));
//! # Ok(()) }
//! ```

mod blocking;
mod browser;
mod client;
mod device;
mod endpoints;
mod error;
mod exchange;
mod grant;
mod identity;
mod json;
mod jwt;
mod login;
mod revocation;
mod store;

pub use blocking::BlockingProvider;
pub use browser::{Browser, BrowserLogin, headless};
pub use client::{OAuthClient, PrivateKey, PrivateKeyError};
pub use device::{DeviceAuthorization, DeviceLogin, Prompt};
pub use endpoints::{Endpoints, MtlsEndpoints};
pub use error::OAuthError;
pub use grant::{ClientCredentials, JwtBearer, RefreshGrant, TokenExchange, TokenType};
pub use jwt::{Claims, JwtAlgorithm, JwtError, JwtProblem, JwtVerifier};
pub use login::UserLogin;
pub use store::{FileTokenStore, StoreError};
