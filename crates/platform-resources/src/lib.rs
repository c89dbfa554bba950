//! A high-level client for the Aignostics Platform.
//!
//! A [`Client`] is configured with the address of the platform and a token provider (any
//! [`AsyncTokenProvider`](auth_core::AsyncTokenProvider)). It gives access to all resources.
//!
//! ```no_run
//! use auth_core::AsyncTokenProvider;
//! use futures_util::TryStreamExt;
//! use platform_resources::{Client, Settings};
//!
//! # async fn example(provider: impl AsyncTokenProvider + 'static) -> Result<(), Box<dyn std::error::Error>> {
//! let settings = Settings::at(&"https://platform.aignostics.com".parse()?)?;
//! let client = Client::builder(settings).with_token_provider(provider).build()?;
//! let applications: Vec<_> = client.applications().list().try_collect().await?;
//! for application in applications {
//!     println!("{}: {}", application.application_id, application.name);
//! }
//! # Ok(()) }
//! ```
//!
//! # Features
//!
//! - `login`: [`Service`], with user logins that all processes of the user share. It is off by default.
//! - `download`: the organization's bucket, and [`RunHandle::download`]. It is off by default.
//! - `object-store`: `RunHandle::download_to_store`, which stores results in a bucket. It is off by default. Each of
//!   `store-s3`, `store-gcs` and `store-azure` adds one kind of bucket.

mod access;
mod applications;
pub mod blocking;
#[cfg(feature = "download")]
mod bucket;
mod client;
mod core;
mod critical;
mod documents;
#[cfg(feature = "download")]
mod download;
mod effect;
mod error;
mod health;
mod outcome;
mod pages;
mod raw;
mod raw_response;
mod record;
mod retention;
mod run;
mod runs;
mod sdk;
#[cfg(feature = "login")]
mod service;
mod settings;
mod sharing;
#[cfg(feature = "download")]
mod storage;
mod token_retry;
mod validation;

pub use auth_http::retry::{Hosts, RetryEvent, RetryPolicy};
pub use platform_api::{ApiError, JsonObject, JsonValue, Patch, Timestamp, TimestampError, models, operations};

pub use access::{Grants, ShareTokens};
pub use applications::Applications;
#[cfg(feature = "download")]
pub use bucket::{BucketAccess, BucketTool, BucketToolFile};
pub use client::{Client, ClientBuilder};
pub use critical::{Creation, CriticalSection, CriticalSections};
pub use documents::Documents;
#[cfg(feature = "download")]
pub use download::{
    ArtifactReport, DeletedFiles, Event, FileEvent, FileProgress, FileStep, ItemReport, Layout, NameBy, RunDownload,
    RunProgress, RunReport, Selection, Verdict,
};
#[cfg(feature = "object-store")]
pub use download::{ResultsTarget, StoreDownload, stored_origins};
#[cfg(feature = "download")]
pub use error::UnmatchedSelection;
pub use error::{BuildError, Error, Problem, RawRequestError, UncertainSubmission};
pub use health::Health;
pub use outcome::{Actor, ArtifactOutcome, ChangeOutcome, ItemOutcome, RunOutcome};
pub use pages::List;
#[cfg(feature = "download")]
pub use platform_download::{
    Bucket, BucketError, Deleted, Deletion, DownloadError, DownloadedObject, Downloader, Durability, FolderError,
    ObjectEntry, Outcome, Pattern, ResultFolder, SelectedObjects, Shard, SignError, Totals, UnfinishedUpload, Upload,
    UploadError, UploadEvent, UploadFile, UploadFolder, UploadReport, UploadStep, Uploaded, Uploader, Verification,
};
#[cfg(feature = "object-store")]
pub use platform_download::{
    BucketCopy, CopyObject, CopySource, Store, StoreAddress, StoreAddressError, StoreError, StoreLease,
};
pub use raw::RawRequest;
pub use raw_response::RawResponse;
pub use record::{item_record, run_record};
pub use retention::{RESULTS_RETENTION, Retention, results_end, results_safe_until};
pub use run::{OVERLAP, RunEvent, RunHandle, Viewer};
pub use runs::{
    RunFilter, Runs, SubmissionEvent, SubmissionIntent, SubmissionJournal, SubmitOnce, Submitted, ValidatedSubmission,
};
pub use sdk::{Initiator, Interface, ItemSdkMetadata, Provisioning, RunSdkMetadata, SdkMetadataError};
#[cfg(feature = "login")]
pub use service::{Finding, Identity, IdentityClaims, LoggedOut, LoginMethods, Service, ServiceBuilder};
pub use settings::{
    Activity, BucketSettings, ByteSize, ByteSizeError, ClientAuthentication, ClientCredential, CredentialSettings,
    CredentialSource, OperationSettings, Profile, ProfileError, Profiles, RetrySettings, SettingProblem, SettingSource,
    Settings, SettingsBuilder, SettingsError, SettingsFile, SettingsFileError, TransferSettings, WorkloadCredential,
    WorkloadGrant, WorkloadSource,
};
pub use sharing::{AccessRight, AccessState};
pub use validation::{MAX_CALLBACK_CONTEXT_BYTES, MetadataSchema, validate};

#[cfg(doctest)]
#[cfg_attr(feature = "download", doc = include_str!("../../../README.md"))]
struct Readme;

/// Compiles the examples of the guide to the organization's bucket.
#[cfg(all(doctest, feature = "download"))]
#[doc = include_str!("../../../docs/bucket.md")]
struct BucketGuide;

/// Compiles the example of the guide to object stores.
#[cfg(all(doctest, feature = "object-store"))]
#[doc = include_str!("../../../docs/stores.md")]
struct StoreGuide;

/// Compiles the examples of the guide to machine credentials.
#[cfg(all(doctest, feature = "login"))]
#[doc = include_str!("../../../docs/machine-credentials.md")]
struct MachineGuide;

/// Compiles the examples of the guide to fleets.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/fleet.md")]
struct FleetGuide;
