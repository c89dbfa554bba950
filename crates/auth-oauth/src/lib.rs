//! OAuth 2.0 grants as token providers, and verification of JWT access tokens.
//!
//! An [`OAuthClient`] describes the client. A grant describes how the client obtains tokens:
//!
//! | grant | for |
//! |---|---|
//! | [`BrowserLogin`] (RFC 6749, section 4.1; RFC 7636) | users with a browser on this machine |
//! | [`DeviceLogin`] (RFC 8628) | users who approve on another device |
//! | [`RefreshGrant`] (RFC 6749, section 6) | refreshing a login |
//! | [`ClientCredentials`] (RFC 6749, section 4.4) | machines with a secret, a private key or a certificate |
//! | [`JwtBearer`] (RFC 7523) | workloads and users whose identity a third party has signed |
//! | [`TokenExchange`] (RFC 8693) | services that act for their callers |
//!
//! [`UserLogin`] combines the grants for users. [`BlockingProvider`] adapts any grant for callers without a runtime.
//!
//! Providers of tokens and credentials from outside of the process:
//!
//! | provider | for |
//! |---|---|
//! | [`EnvToken`], [`FileToken`] | tokens that another program provides in a variable or a file |
//! | [`CommandProvider`] | programs that print a token |
//! | [`WorkloadIdentity`] | the OIDC token of a pod, a CI job or a virtual machine, which is exchanged for an access token |
//! | [`FileClient`] | clients whose secret, key or certificate is in files that are rotated |
//! | [`ProviderChain`] | several providers, of which the first configured one is used |
//!
//! With a [`JwtVerifier`], a client returns only tokens of the expected issuer for the expected audience. A
//! [`FileTokenStore`] stores tokens for all processes of a user.
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
//! let endpoints = Endpoints::auth0(&"https://issuer.example/".parse()?)?;
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
mod external;
mod grant;
mod identity;
mod json;
mod jwt;
mod limits;
mod login;
mod revocation;
mod store;

pub use blocking::BlockingProvider;
pub use browser::{Browser, BrowserLogin, headless_reason};
pub use client::{AssertionAudience, OAuthClient, PrivateKey, PrivateKeyError};
pub use device::{DeviceAuthorization, DeviceLogin, Prompt};
pub use endpoints::{Endpoints, MtlsEndpoints};
pub use error::OAuthError;
pub use external::{
    ClientFiles, CommandProvider, ConfiguredProvider, CredentialError, EnvToken, FileClient, FileClientProvider,
    FileToken,
};
pub use external::{
    KnownExpiryProvider, KnownExpiryStore, PrintedToken, ProviderChain, WorkloadIdentity, command_line,
};
pub use grant::{ClientCredentials, JwtBearer, RefreshGrant, TokenExchange, TokenType};
pub use jwt::{Claims, JwtAlgorithm, JwtError, JwtProblem, JwtVerifier};
pub use login::UserLogin;
pub use store::{BlockingFileTokenStore, FileTokenStore, StoreError};
