//! The Aignostics Platform as a Rust user would want it.
//!
//! A [`Client`] knows where the platform is and where its tokens come from – any
//! [`AsyncTokenProvider`](auth_core::AsyncTokenProvider) will do – and everything else comes from it.
//!
//! ```no_run
//! use auth_core::TokenSource;
//! use futures_util::TryStreamExt;
//! use platform_resources::Client;
//!
//! # async fn example(tokens: TokenSource) -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::builder("https://platform.aignostics.com".parse()?, tokens).build()?;
//! let applications: Vec<_> = client.applications().list().try_collect().await?;
//! for application in applications {
//!     println!("{}: {}", application.application_id, application.name);
//! }
//! # Ok(()) }
//! ```
//!
//! # Features
//!
//! - `login`: [`Service`], logins of users that all their processes share; off by default.
//! - `download`: the bucket of the organisation, and [`RunHandle::download`]; off by default.

mod applications;
#[cfg(feature = "download")]
mod bucket;
mod client;
#[cfg(feature = "download")]
mod download;
mod error;
mod outcome;
mod pages;
mod runs;
#[cfg(feature = "login")]
mod service;
mod settings;
mod validation;

pub use platform_api::models;

pub use applications::Applications;
pub use client::{BuildError, Client, ClientBuilder};
#[cfg(feature = "download")]
pub use download::{ArtifactReport, Event, ItemReport, RunDownload, RunReport};
pub use error::Error;
pub use outcome::ItemOutcome;
#[cfg(feature = "download")]
pub use platform_download::{DownloadError, FolderError, Outcome, ResultFolder};
pub use runs::{RunHandle, Runs};
#[cfg(feature = "login")]
pub use service::{Finding, Identity, LoggedOut, LoginWays, Service, ServiceBuilder};
pub use settings::{
    BucketSettings, OperationSettings, SettingProblem, SettingSource, Settings, SettingsBuilder, SettingsError,
};
pub use validation::{Problem, validate};

#[cfg(doctest)]
#[cfg_attr(feature = "download", doc = include_str!("../../../README.md"))]
struct Readme;
