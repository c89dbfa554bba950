//! One run.

mod ended;
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

use crate::core::Group;
use crate::{Client, Done, Error, ItemOutcome, List, RunOutcome};

pub use wait::RunEvent;

/// One run. Cheap to clone.
#[derive(Clone, Debug)]
pub struct RunHandle {
    pub(crate) client: Client,
    pub(crate) id: RunId,
}

/// Somebody to whom a run is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Viewer {
    /// A user, by id.
    User(String),
    /// A user, by their e-mail address.
    UserWithEmail(String),
    /// All users of an organisation, by its id.
    Organization(String),
    /// The administrators of an organisation, by its id.
    OrganizationAdmins(String),
    /// Whoever has a share token, by the id of it.
    ShareToken(String),
}

impl RunHandle {
    pub(crate) fn new(client: Client, id: RunId) -> Self {
        Self { client, id }
    }

    /// The name that the platform gave the run.
    pub fn id(&self) -> &RunId {
        &self.id
    }

    /// The same run, seen by means of a share token: reads are sent with it, beside the token of the caller, and their answers
    /// kept apart.
    pub fn with_share_token(mut self, secret: Secret) -> Self {
        self.client.core = self.client.core.with_mode(|mode| mode.share_token = Some(secret));
        self
    }

    /// The same run; where it is not found, that is said at once. Otherwise it is asked for again for up to five seconds, as
    /// reads lag behind the submission.
    pub fn no_wait(mut self) -> Self {
        self.client.core = self.client.core.with_mode(|mode| mode.no_wait = true);
        self
    }

    /// The same run, for which the platform is asked even for what is kept.
    pub fn nocache(mut self) -> Self {
        self.client = self.client.nocache();
        self
    }

    /// The run and how far it is.
    ///
    /// # Errors
    ///
    /// The platform could not be asked, or there is no such run for the caller.
    pub async fn get(&self) -> Result<Run, Error> {
        self.client.core.read(GetRun::new(self.id.as_str()), Group::Run).await
    }

    /// How it ended, or that it goes on.
    ///
    /// # Errors
    ///
    /// Those of [`get`](Self::get).
    pub async fn outcome(&self) -> Result<RunOutcome, Error> {
        Ok(RunOutcome::of(&self.get().await?))
    }

    /// How many of its items are how far.
    ///
    /// # Errors
    ///
    /// Those of [`get`](Self::get).
    pub async fn statistics(&self) -> Result<RunStatistics, Error> {
        Ok(self.get().await?.statistics)
    }

    /// All its items.
    pub fn items(&self) -> List<Item> {
        self.items_with(ListRunItems::new(self.id.as_str()))
    }

    /// Those of its items that `query` asks for, sorted as it says and in pages of its size. Its run and its page are of no
    /// account.
    pub fn items_with(&self, mut query: ListRunItems) -> List<Item> {
        query.run_id = self.id.clone();
        List::of(&self.client.core, query)
    }

    /// One of its items, by the name that its submitter gave it.
    ///
    /// # Errors
    ///
    /// The platform could not be asked, or there is no such item.
    pub async fn item(&self, external_id: &str) -> Result<Item, Error> {
        self.client.core.read(GetRunItem::new(self.id.as_str(), external_id), Group::Run).await
    }

    /// The state of each of its items, by the name that its submitter gave it.
    ///
    /// # Errors
    ///
    /// The platform could not be asked.
    pub async fn item_states(&self) -> Result<BTreeMap<String, ItemState>, Error> {
        self.items().map_ok(|item| (item.external_id, item.state)).try_collect().await
    }

    /// How each of its items ended, by the name that its submitter gave it.
    ///
    /// # Errors
    ///
    /// The platform could not be asked.
    pub async fn item_outcomes(&self) -> Result<BTreeMap<String, ItemOutcome>, Error> {
        self.items().map_ok(|item| (item.external_id.clone(), ItemOutcome::of(&item))).try_collect().await
    }

    /// Cancels it, if that was not done before, or it has ended: then it is [`Done::Before`].
    ///
    /// # Errors
    ///
    /// The platform could not be asked, or there is no such run for the caller.
    pub async fn cancel(&self) -> Result<Done, Error> {
        let timeout = self.client.settings().run_cancel_timeout;
        Done::of(self.client.core.change(CancelRun::new(self.id.as_str()), timeout, &[Group::Run]).await)
    }

    /// Deletes its results permanently. Returns [`Done::Before`] if a user or the retention rule has deleted them already
    /// (410).
    ///
    /// # Errors
    ///
    /// - The run is not terminated (409, [`Error::is_not_terminated`]): cancel it, or wait for its end.
    /// - The caller may see the run, but not delete its results (403), or there is no such run for the caller (404).
    /// - The platform could not be asked.
    pub async fn delete_results(&self) -> Result<Done, Error> {
        let timeout = self.client.settings().run_delete_timeout;
        let request = DeleteRunResults::new(self.id.as_str());
        match self.client.core.change(request, timeout, &[Group::Run]).await {
            Ok(()) => Ok(Done::Now),
            Err(error) if error.api().is_some_and(platform_api::ApiError::is_gone) => Ok(Done::Before),
            Err(error) => Err(error),
        }
    }

    /// A URL that leads to an artifact for a short time.
    ///
    /// # Errors
    ///
    /// The platform could not be asked, there is no such artifact, or it was deleted
    /// ([`ApiError::is_gone`](platform_api::ApiError::is_gone)).
    pub async fn artifact_url(&self, artifact: &ArtifactId) -> Result<SignedUrl, Error> {
        self.client.core.fetch(GetArtifactFile::new(self.id.as_str(), artifact.as_str()), Group::Run).await
    }

    /// The same run for a download, which has other files to fetch while one fails.
    #[cfg(feature = "download")]
    pub(crate) fn for_source(&self, single_limit: std::time::Duration) -> Self {
        let mut run = self.clone();
        run.client = run.client.for_transfer();
        run.client.core = run.client.core.with_mode(|mode| mode.single_limit = Some(single_limit));
        run
    }

    /// Who sees it, beside its submitter.
    pub fn grants(&self) -> List<Grant> {
        self.client
            .grants()
            .list_with(ListGrants::new().with_resource_type(ResourceType::Run).with_resource_id(self.id.as_str()))
    }

    /// Shows it to somebody.
    ///
    /// # Errors
    ///
    /// The platform could not be asked, or refused: the run is not the caller's to show.
    pub async fn share_with(&self, viewer: Viewer) -> Result<Grant, Error> {
        let grant = |kind| GrantCreation::new(ResourceType::Run, self.id.as_str(), kind, GrantRelation::Viewer);
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
