//! A client for blocking callers. Each method runs the asynchronous method of the same name on a single-threaded
//! runtime that belongs to the client. Downloads of runs have no blocking variant. Inside another asynchronous runtime,
//! methods return an error ([`Error::is_inside_runtime`]), because a call would block a worker thread.
//!
//! ```no_run
//! use auth_core::async_provider_fn;
//! use platform_resources::{Settings, blocking};
//!
//! # fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let settings = Settings::at(&"https://platform.aignostics.com".parse()?)?;
//! let vault = async_provider_fn(|_request| async { Ok("from-the-vault") });
//! let client = platform_resources::Client::builder(settings).with_token_provider(vault).build()?;
//! let client = blocking::Client::new(client)?;
//! for run in client.runs().list().limit(10) {
//!     println!("{}", run?.run_id);
//! }
//! # Ok(()) }
//! ```

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use auth_core::{Secret, TokenRequest};
use auth_http::BlockingRuntime;
use futures_util::stream::{Stream, TryStreamExt};
use platform_api::models::{
    Application, ApplicationId, ApplicationSummary, ApplicationVersion, ArtifactId, Document, Grant, GrantCreation,
    GrantId, Item, ItemState, Me, MetadataUpdated, Run, RunId, RunStatistics, RunSubmission, ShareToken,
    ShareTokenCreated, ShareTokenCreation, ShareTokenId, VersionNumber, VersionSummary,
};
use platform_api::operations::{ListApplications, ListGrants, ListRunItems, ListRuns, ListShareTokens};
use platform_api::{JsonObject, Patch, SignedUrl};

use crate::{ChangeOutcome, Error, Health, ItemOutcome, RunEvent, RunOutcome, Settings, ValidatedSubmission, Viewer};

/// A client for one platform, for blocking callers. Clones are cheap.
#[derive(Clone, Debug)]
pub struct Client {
    inner: crate::Client,
    runtime: Arc<BlockingRuntime>,
}

/// An iterator over all entries of a list, in order.
#[derive(Debug)]
pub struct List<T> {
    inner: crate::List<T>,
    runtime: Arc<BlockingRuntime>,
    /// True after the last entry or an error.
    has_ended: bool,
}

/// An iterator over the events of a run.
pub struct Events {
    inner: std::pin::Pin<Box<dyn Stream<Item = Result<RunEvent, Error>> + Send>>,
    runtime: Arc<BlockingRuntime>,
    /// True after the last event or an error.
    has_ended: bool,
}

fn block_on<T>(runtime: &BlockingRuntime, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    runtime.run(work).map_err(Error::inside_runtime)?
}

impl Client {
    /// Wraps `client` for blocking callers.
    ///
    /// # Errors
    ///
    /// The thread of the runtime cannot be started.
    pub fn new(client: crate::Client) -> io::Result<Self> {
        Ok(Self { inner: client, runtime: Arc::new(BlockingRuntime::new("platform-resources")?) })
    }

    /// Returns the settings.
    pub fn settings(&self) -> &Settings {
        self.inner.settings()
    }
}

impl<T: Send + Unpin + 'static> List<T> {
    /// Sets the maximum number of entries. Pages beyond it are not requested.
    pub fn limit(mut self, limit: usize) -> Self {
        self.inner = self.inner.limit(limit);
        self
    }
}

impl<T: Send + Unpin + 'static> Iterator for List<T> {
    type Item = Result<T, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        block_on_next(&self.runtime, &mut self.inner, &mut self.has_ended)
    }
}

impl Iterator for Events {
    type Item = Result<RunEvent, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        block_on_next(&self.runtime, &mut self.inner, &mut self.has_ended)
    }
}

fn block_on_next<T>(
    runtime: &BlockingRuntime,
    stream: &mut (impl Stream<Item = Result<T, Error>> + Unpin),
    has_ended: &mut bool,
) -> Option<Result<T, Error>> {
    if *has_ended {
        return None;
    }
    let entry = block_on(runtime, stream.try_next()).transpose();
    *has_ended = !matches!(entry, Some(Ok(_)));
    entry
}

impl std::fmt::Debug for Events {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Events")
    }
}

/// Implements the methods of blocking handles. A `handle` method returns another handle, a `with` method a modified
/// handle, a `list` method an iterator, and a `call` method the result of a blocking call.
macro_rules! blocking_methods {
    ($($(#[$meta:meta])* $name:ident of $asynchronous:ty {
        $(handle $handle:ident($($handle_argument:ident: $handle_type:ty),*) -> $returned_handle:ident;)*
        $(with $with:ident($($with_argument:ident: $with_type:ty),*);)*
        $(list $list:ident($($list_argument:ident: $list_type:ty),*) -> $entry:ty;)*
        $(call $call:ident($($argument:ident: $type:ty),*) -> $output:ty;)*
    })+) => {$(
        $(#[$meta])*
        impl $name {
            $(
                #[doc = concat!("See [`", stringify!($handle), "`](", stringify!($asynchronous), "::", stringify!($handle), ").")]
                pub fn $handle(&self, $($handle_argument: $handle_type),*) -> $returned_handle {
                    $returned_handle { inner: self.inner.$handle($($handle_argument),*), runtime: self.runtime.clone() }
                }
            )*
            $(
                #[doc = concat!("See [`", stringify!($with), "`](", stringify!($asynchronous), "::", stringify!($with), ").")]
                pub fn $with(mut self, $($with_argument: $with_type),*) -> Self {
                    self.inner = self.inner.$with($($with_argument),*);
                    self
                }
            )*
            $(
                #[doc = concat!("See [`", stringify!($list), "`](", stringify!($asynchronous), "::", stringify!($list), ").")]
                pub fn $list(&self, $($list_argument: $list_type),*) -> List<$entry> {
                    List { inner: self.inner.$list($($list_argument),*), runtime: self.runtime.clone(), has_ended: false }
                }
            )*
            $(
                #[doc = concat!("See [`", stringify!($call), "`](", stringify!($asynchronous), "::", stringify!($call), ").")]
                ///
                /// # Errors
                ///
                /// The errors of the asynchronous method, or [`Error::is_inside_runtime`].
                pub fn $call(&self, $($argument: $type),*) -> Result<$output, Error> {
                    block_on(&self.runtime, self.inner.$call($($argument),*))
                }
            )*
        }
    )+};
}

/// Declares blocking handles.
macro_rules! blocking_handles {
    ($($(#[$meta:meta])* $name:ident of $asynchronous:ty;)+) => {$(
        $(#[$meta])*
        #[derive(Clone, Debug)]
        pub struct $name {
            inner: $asynchronous,
            runtime: Arc<BlockingRuntime>,
        }
    )+};
}

blocking_handles! {
    /// The applications available to the caller.
    Applications of crate::Applications;
    /// The documents of an application version.
    Documents of crate::Documents;
    /// The runs of the caller.
    Runs of crate::Runs;
    /// One run.
    RunHandle of crate::RunHandle;
    /// Grants.
    Grants of crate::Grants;
    /// Share tokens.
    ShareTokens of crate::ShareTokens;
}

blocking_methods! {
    Client of crate::Client {
        handle applications() -> Applications;
        handle runs() -> Runs;
        handle run(id: impl Into<RunId>) -> RunHandle;
        handle grants() -> Grants;
        handle share_tokens() -> ShareTokens;
        with with_token_request(request: TokenRequest);
        with with_deadline(deadline: Duration);
        with no_cache();
        call me() -> Me;
        call health() -> Health;
        call health_with_retries() -> Health;
        call authenticated_health() -> Health;
    }
    Applications of crate::Applications {
        handle documents(id: &ApplicationId, version: &VersionNumber) -> Documents;
        list list() -> ApplicationSummary;
        list list_with(query: ListApplications) -> ApplicationSummary;
        call get(id: &ApplicationId) -> Application;
        call versions(id: &ApplicationId) -> Vec<VersionSummary>;
        call version(id: &ApplicationId, version: &VersionNumber) -> ApplicationVersion;
        call latest_version(id: &ApplicationId) -> VersionNumber;
    }
    Documents of crate::Documents {
        call list() -> Vec<Document>;
        call get(name: &str) -> Document;
        call file_url(name: &str) -> SignedUrl;
        call content_url(name: &str) -> SignedUrl;
    }
    Runs of crate::Runs {
        list list() -> Run;
        list list_with(query: ListRuns) -> Run;
        call dry_run(submission: RunSubmission) -> ValidatedSubmission;
    }
    RunHandle of crate::RunHandle {
        with with_share_token(secret: Secret);
        with no_wait();
        with no_cache();
        list items() -> Item;
        list items_with(query: ListRunItems) -> Item;
        list grants() -> Grant;
        call get() -> Run;
        call outcome() -> RunOutcome;
        call statistics() -> RunStatistics;
        call item(external_id: &str) -> Item;
        call item_states() -> BTreeMap<String, ItemState>;
        call item_outcomes() -> BTreeMap<String, ItemOutcome>;
        call wait(time: Option<Duration>) -> Run;
        call cancel() -> ChangeOutcome;
        call delete_results() -> ChangeOutcome;
        call artifact_url(artifact: &ArtifactId) -> SignedUrl;
        call share_with(viewer: Viewer) -> Grant;
        call update_metadata(metadata: impl Into<Patch<JsonObject>>, checksum: Option<&str>) -> MetadataUpdated;
        call update_item_metadata(external_id: &str, metadata: impl Into<Patch<JsonObject>>, checksum: Option<&str>) -> MetadataUpdated;
        call edit_metadata(edit: impl Fn(&mut JsonObject)) -> MetadataUpdated;
        call edit_item_metadata(external_id: &str, edit: impl Fn(&mut JsonObject)) -> MetadataUpdated;
    }
    Grants of crate::Grants {
        list list() -> Grant;
        list list_with(query: ListGrants) -> Grant;
        call get(id: &GrantId) -> Grant;
        call create(grant: GrantCreation) -> Grant;
        call revoke(id: &GrantId) -> ChangeOutcome;
    }
    ShareTokens of crate::ShareTokens {
        list list() -> ShareToken;
        list list_with(query: ListShareTokens) -> ShareToken;
        call get(id: &ShareTokenId) -> ShareToken;
        call create(token: ShareTokenCreation) -> ShareTokenCreated;
        call revoke(id: &ShareTokenId) -> ChangeOutcome;
    }
}

#[cfg(feature = "download")]
impl Documents {
    /// See [`read`](crate::Documents::read).
    ///
    /// # Errors
    ///
    /// The errors of the asynchronous method, or [`Error::is_inside_runtime`].
    pub fn read(&self, name: &str) -> Result<Vec<u8>, Error> {
        block_on(&self.runtime, self.inner.read(name))
    }

    /// See [`download`](crate::Documents::download).
    ///
    /// # Errors
    ///
    /// The errors of the asynchronous method, or [`Error::is_inside_runtime`].
    pub fn download(&self, name: &str, target: &std::path::Path) -> Result<crate::Outcome, Error> {
        block_on(&self.runtime, self.inner.download(name, target))
    }
}

impl Runs {
    /// See [`submit`](crate::Runs::submit).
    ///
    /// # Errors
    ///
    /// The errors of the asynchronous method, or [`Error::is_inside_runtime`]. In the latter case, nothing was
    /// submitted.
    pub fn submit(&self, submission: RunSubmission) -> Result<RunHandle, Error> {
        let inner = block_on(&self.runtime, self.inner.submit(submission))?;
        Ok(RunHandle { inner, runtime: self.runtime.clone() })
    }
}

impl RunHandle {
    /// Returns the id of the run.
    pub fn id(&self) -> &RunId {
        self.inner.id()
    }

    /// See [`watch`](crate::RunHandle::watch).
    pub fn watch(&self) -> Events {
        Events { inner: Box::pin(self.inner.watch()), runtime: self.runtime.clone(), has_ended: false }
    }
}
