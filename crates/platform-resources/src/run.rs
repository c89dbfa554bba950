//! Handles for runs.

pub(crate) mod ended;
mod metadata;
pub(crate) mod poll;
mod wait;

use std::collections::BTreeMap;

use futures_util::stream::TryStreamExt;
use platform_api::models::{
    ArtifactId, Grant, GrantCreation, GrantRelation, Item, ItemState, ResourceType, Run, RunId, RunStatistics,
    SubjectType,
};
use platform_api::operations::{
    CancelRun, DeleteRunResults, GetArtifactFile, GetRun, GetRunItem, ListGrants, ListRunItems,
};
use platform_api::{Secret, SignedUrl};

use crate::client::Client;
use crate::core::Group;
use crate::error::Error;
use crate::outcome::{ChangeOutcome, ItemOutcome, RunOutcome};
use crate::pages::List;

pub use ended::OVERLAP;
pub use wait::RunEvent;

/// A handle for a run. Clones are cheap.
#[derive(Clone, Debug)]
pub struct RunHandle {
    pub(crate) client: Client,
    pub(crate) id: RunId,
}

/// The subject that a run is shared with.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Viewer {
    /// The user with this id.
    User(String),
    /// The user with this email address.
    UserWithEmail(String),
    /// All users of the organization with this id.
    Organization(String),
    /// The administrators of the organization with this id.
    OrganizationAdmins(String),
    /// All users who have the secret of the share token with this id.
    ShareToken(String),
}

impl Client {
    /// Returns a handle for a run, without sending a request.
    pub fn run(&self, id: impl Into<RunId>) -> RunHandle {
        RunHandle::new(self.clone(), id.into())
    }
}

impl RunHandle {
    pub(crate) fn new(client: Client, id: RunId) -> Self {
        Self { client, id }
    }

    /// Returns the id of the run.
    pub fn id(&self) -> &RunId {
        &self.id
    }

    /// Returns a handle that sends the secret of a share token with reads, in addition to the caller's token. Its
    /// responses are cached separately.
    pub fn with_share_token(mut self, secret: Secret) -> Self {
        self.client.core = self.client.core.with_mode(|mode| mode.share_token = Some(secret));
        self
    }

    /// Returns a handle that reports a missing run immediately. By default, a run that is not found is requested again
    /// for up to five seconds, because reads may lag behind the submission.
    pub fn no_wait(mut self) -> Self {
        self.client.core = self.client.core.with_mode(|mode| mode.no_wait = true);
        self
    }

    /// Returns a handle that does not use cached responses. It caches the responses that it receives.
    pub fn no_cache(mut self) -> Self {
        self.client = self.client.no_cache();
        self
    }

    /// Returns the properties and the state of the run.
    ///
    /// # Errors
    ///
    /// The request failed, or the run does not exist for the caller.
    pub async fn get(&self) -> Result<Run, Error> {
        self.client.core.read_cached(GetRun::new(self.id.as_str()), Group::Run).await
    }

    /// Returns the outcome of the run, which may be in progress.
    ///
    /// # Errors
    ///
    /// The same as [`get`](Self::get).
    pub async fn outcome(&self) -> Result<RunOutcome, Error> {
        Ok(RunOutcome::of(&self.get().await?))
    }

    /// Returns the number of items in each state.
    ///
    /// # Errors
    ///
    /// The same as [`get`](Self::get).
    pub async fn statistics(&self) -> Result<RunStatistics, Error> {
        Ok(self.get().await?.statistics)
    }

    /// Lists all items.
    pub fn items(&self) -> List<Item> {
        self.items_with(ListRunItems::new(self.id.as_str()))
    }

    /// Lists the items that match `query`, with the order and page size of the query. The run and the page number of
    /// the query are ignored.
    pub fn items_with(&self, mut query: ListRunItems) -> List<Item> {
        query.run_id = self.id.clone();
        List::of(&self.client.core, query)
    }

    /// Returns an item by its external id.
    ///
    /// # Errors
    ///
    /// The request failed, or the item does not exist.
    pub async fn item(&self, external_id: &str) -> Result<Item, Error> {
        self.client.core.read_cached(GetRunItem::new(self.id.as_str(), external_id), Group::Run).await
    }

    /// Returns the state of each item by its external id.
    ///
    /// # Errors
    ///
    /// The request failed.
    pub async fn item_states(&self) -> Result<BTreeMap<String, ItemState>, Error> {
        self.items().map_ok(|item| (item.external_id, item.state)).try_collect().await
    }

    /// Returns the outcome of each item by its external id.
    ///
    /// # Errors
    ///
    /// The request failed.
    pub async fn item_outcomes(&self) -> Result<BTreeMap<String, ItemOutcome>, Error> {
        self.items().map_ok(|item| (item.external_id.clone(), ItemOutcome::of(&item))).try_collect().await
    }

    /// Cancels the run. Returns [`ChangeOutcome::AlreadyApplied`] if it was canceled before or has ended.
    ///
    /// # Errors
    ///
    /// The request failed, or the run does not exist for the caller.
    pub async fn cancel(&self) -> Result<ChangeOutcome, Error> {
        let timeout = self.client.settings().run_cancel_timeout;
        ChangeOutcome::of(self.client.core.change(CancelRun::new(self.id.as_str()), timeout, &[Group::Run]).await)
    }

    /// Deletes the results permanently. Returns [`ChangeOutcome::AlreadyApplied`] if a user or the platform deleted
    /// them before (410).
    ///
    /// # Errors
    ///
    /// - The run is not terminated (409, [`Error::is_not_terminated`]): cancel it, or wait for its end.
    /// - The caller may see the run, but not delete its results (403), or the run does not exist for the caller (404).
    /// - The request failed.
    pub async fn delete_results(&self) -> Result<ChangeOutcome, Error> {
        let timeout = self.client.settings().run_delete_timeout;
        let request = DeleteRunResults::new(self.id.as_str());
        match self.client.core.change(request, timeout, &[Group::Run]).await {
            Ok(()) => Ok(ChangeOutcome::Applied),
            Err(error) if error.api().is_some_and(platform_api::ApiError::is_gone) => Ok(ChangeOutcome::AlreadyApplied),
            Err(error) => Err(error),
        }
    }

    /// Returns a short-lived URL of an artifact.
    ///
    /// # Errors
    ///
    /// The request failed, the artifact does not exist, or it was deleted
    /// ([`ApiError::is_gone`](platform_api::ApiError::is_gone)).
    pub async fn artifact_url(&self, artifact: &ArtifactId) -> Result<SignedUrl, Error> {
        self.client.core.read_uncached(GetArtifactFile::new(self.id.as_str(), artifact.as_str()), Group::Run).await
    }

    /// Returns a handle for the URL requests of a download. The retries of a request end after `request_limit`, so that
    /// the download can fetch other files first.
    #[cfg(feature = "download")]
    pub(crate) fn for_url_requests(&self, request_limit: std::time::Duration) -> Self {
        let mut run = self.clone();
        run.client = run.client.for_transfer();
        run.client.core = run.client.core.with_mode(|mode| mode.request_limit = Some(request_limit));
        run
    }

    /// Lists the grants on the run.
    pub fn grants(&self) -> List<Grant> {
        self.client
            .grants()
            .list_with(ListGrants::new().with_resource_type(ResourceType::Run).with_resource_id(self.id.as_str()))
    }

    /// Shares the run with a viewer.
    ///
    /// # Errors
    ///
    /// The request failed, or the caller may not share the run.
    pub async fn share_with(&self, viewer: Viewer) -> Result<Grant, Error> {
        let grant = |subject| GrantCreation::new(ResourceType::Run, self.id.as_str(), subject, GrantRelation::Viewer);
        self.client
            .grants()
            .create(match viewer {
                Viewer::User(id) => grant(SubjectType::User).with_subject_id(id),
                Viewer::UserWithEmail(email) => grant(SubjectType::User).with_subject_email(email),
                Viewer::Organization(id) => grant(SubjectType::OrganizationUser).with_subject_id(id),
                Viewer::OrganizationAdmins(id) => grant(SubjectType::OrganizationAdmin).with_subject_id(id),
                Viewer::ShareToken(id) => grant(SubjectType::ShareToken).with_subject_id(id),
            })
            .await
    }
}
