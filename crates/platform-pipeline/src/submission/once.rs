//! A submission that is made only once, either per content or per key chosen by the user.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::TryStreamExt;
use platform_resources::models::{Item, Run, RunSubmission};
use platform_resources::{Client, RunHandle, SubmissionEvent, SubmissionIntent, Submitted};
use serde_json::Value;

use super::Draft;
use super::journal::{FileJournal, JournalLock, unreadable};
use super::options::RunOptions;
use super::recent::RecentSubmissions;
use crate::digest::{self, DIGEST_KEY, ItemDigest, submission_digest, submission_token};
use crate::error::Error;
use crate::event::{Event, Observer};

/// The maximum number of slides that are listed in a message.
const MAX_LISTED_SLIDES: usize = 5;

/// A submission that is made only once. A later call on any machine with the same content, or with the same key,
/// returns the earlier run and submits nothing. A submission by content does not find a submission by key, and vice
/// versa.
///
/// The content consists of the organization, the user, the application, the version that the user selected, and the
/// items: external ids, checksums and other metadata, without URLs. Options such as notes and tags are not part of it.
#[derive(Debug)]
pub struct UniqueSubmission {
    client: Client,
    draft: Draft,
    version: Option<String>,
    tags: Vec<String>,
    identity: Identity,
    digest: String,
    journal: FileJournal,
    recent: RecentSubmissions,
    _lock: JournalLock,
}

/// The part of a submission that identifies its earlier submissions.
#[derive(Debug)]
enum Identity {
    Content { resubmit: bool },
    Key { key: String, token: String },
}

impl UniqueSubmission {
    /// Prepares the submission of a draft, once per content. `version` is the version that the user selected; `None`
    /// means the latest. If `resubmit` is true, the draft is submitted and billed even if it was submitted before.
    ///
    /// # Errors
    ///
    /// [`Error::is_busy`]: another process is submitting the same content. [`Error::platform`]: the request for the
    /// user failed. Otherwise the options are not valid, or the journal cannot be used.
    pub async fn for_content(
        client: &Client,
        mut draft: Draft,
        version: Option<&str>,
        options: &RunOptions,
        resubmit: bool,
    ) -> Result<Self, Error> {
        options.apply(&mut draft.submission)?;
        let me = client.me().await?;
        let digest = submission_digest(&me, &draft.submission.application_id, version, &draft.item_digests(), None);
        let journal = FileJournal::of(client.settings())?;
        let lock = journal.lock(&submission_token(&digest, 0))?;
        let recent = RecentSubmissions::of(&journal, &me.user.id, &draft.submission.application_id);
        let (version, identity) = (version.map(str::to_owned), Identity::Content { resubmit });
        Ok(Self {
            client: client.clone(),
            draft,
            version,
            tags: options.tags(),
            identity,
            digest,
            journal,
            recent,
            _lock: lock,
        })
    }

    /// Prepares the submission of a draft, once per `key`. [`submit`](Self::submit) fails if the key was used for
    /// another content or other tags. `version` is the version that the user selected; `None` means the latest.
    ///
    /// # Errors
    ///
    /// [`Error::is_busy`]: another process is submitting under the same key. [`Error::platform`]: the request for the
    /// user failed. Otherwise the options are not valid, or the journal cannot be used.
    pub async fn for_key(
        client: &Client,
        key: &str,
        mut draft: Draft,
        version: Option<&str>,
        options: &RunOptions,
    ) -> Result<Self, Error> {
        options.apply(&mut draft.submission)?;
        let (me, tags) = (client.me().await?, options.tags());
        let token = client.runs().submission_token(key).await?;
        let (application, items) = (&draft.submission.application_id, draft.item_digests());
        let digest = submission_digest(&me, application, version, &items, Some(&tags));
        let journal = FileJournal::of(client.settings())?;
        let lock = journal.lock(&token)?;
        let recent = RecentSubmissions::of(&journal, &me.user.id, application);
        let (version, identity) = (version.map(str::to_owned), Identity::Key { key: key.to_owned(), token });
        Ok(Self { client: client.clone(), draft, version, tags, identity, digest, journal, recent, _lock: lock })
    }

    /// Submits the run, or returns the run of an earlier submission.
    ///
    /// # Errors
    ///
    /// The errors of [`Draft::check`] and [`SubmitOnce::submit`](platform_resources::SubmitOnce::submit).
    /// [`Error::is_conflict`]: the key was used for another submission; [`Error::details`] lists the differences.
    pub async fn submit(self, observer: &Observer) -> Result<Submitted, Error> {
        let Self { client, draft, digest, journal, .. } = &self;
        let (mut submission, token) = match &self.identity {
            Identity::Key { key, token } => {
                if let Some(submitted) = Box::pin(self.find_by_key(key, token, observer)).await? {
                    return Ok(submitted);
                }
                (draft.clone().check(client).await?, token.clone())
            }
            Identity::Content { resubmit } => {
                // The draft is validated first, because a draft with problems does not contain all rows.
                let submission = draft.clone().check(client).await?;
                match Box::pin(self.find_by_content(*resubmit, observer)).await? {
                    (Some(submitted), _) => return Ok(submitted),
                    (None, token) => (submission, token),
                }
            }
        };
        digest::write(&mut submission, digest);
        let once = client.runs().submit_once(&token, submission, journal).with_token(&token);
        let submitted = Box::pin(once.with_observer(observe(observer)).submit()).await?;
        // A study finds the run in the recent submissions while the run is not visible in lists. An error is ignored,
        // because the run is already submitted.
        let _ = self.recent.record_submitted(&token, submitted.run.id(), &draft.item_digests());
        Ok(submitted)
    }

    /// Returns the run that was submitted under the key, if any. If the run has other content, returns an error.
    async fn find_by_key(&self, key: &str, token: &str, observer: &Observer) -> Result<Option<Submitted>, Error> {
        // An earlier version of this crate used random tokens, and stored them under `once\n{key}`.
        for entry in [token.to_owned(), format!("once\n{key}")] {
            if let Some(submitted) = self.find(&entry, token, observer).await? {
                observer(Event::RunFound { run: submitted.run.id().clone() });
                self.compare(key, &submitted.run).await?;
                return Ok(Some(submitted));
            }
        }
        Ok(None)
    }

    /// Returns the latest run with the same content, and the token of the next submission. If `resubmit` is true,
    /// returns no run.
    async fn find_by_content(&self, resubmit: bool, observer: &Observer) -> Result<(Option<Submitted>, String), Error> {
        let (mut latest, mut repetition) = (None, 0);
        loop {
            let token = submission_token(&self.digest, repetition);
            let is_used = if resubmit {
                is_token_used(&self.client, &self.journal, &token).await?
            } else {
                let submitted = self.find(&token, &token, observer).await?;
                let is_found = submitted.is_some();
                latest = submitted.or(latest);
                is_found
            };
            if !is_used {
                if let Some(latest) = &latest {
                    observer(Event::RunFound { run: latest.run.id().clone() });
                }
                return Ok((latest, token));
            }
            repetition += 1;
        }
    }

    /// Returns the run recorded in a journal entry or, without an entry, the run with the token on the platform.
    async fn find(&self, entry: &str, token: &str, observer: &Observer) -> Result<Option<Submitted>, Error> {
        let placeholder = RunSubmission::new("", Vec::new());
        let once = self.client.runs().submit_once(entry, placeholder, &self.journal).with_token(token);
        Ok(Box::pin(once.with_observer(observe(observer)).find()).await?)
    }

    /// Returns an error if the submission of `run` has other content than this submission.
    async fn compare(&self, key: &str, run: &RunHandle) -> Result<(), Error> {
        let earlier_run = super::fetch_run(run).await?;
        let metadata = earlier_run.custom_metadata.as_ref();
        match metadata.and_then(|metadata| metadata.get(DIGEST_KEY)).and_then(Value::as_str) {
            Some(digest) if digest == self.digest => return Ok(()),
            // An earlier version of this crate submitted the run without a digest, so only the application is compared.
            None if earlier_run.application_id == self.draft.submission.application_id => return Ok(()),
            _ => {}
        }
        let items: Vec<Item> = run.clone().no_cache().items().try_collect().await?;
        Err(Error::conflict(
            format!("run {} was submitted under the key '{key}' for something else", run.id()),
            self.differences(&earlier_run, &items),
        ))
    }

    fn differences(&self, run: &Run, items: &[Item]) -> Vec<String> {
        let mut differences = Vec::new();
        let application = &self.draft.submission.application_id;
        if run.application_id != *application {
            differences.push(format!("the application: {}, now {application}", run.application_id));
        }
        let tags: BTreeSet<&str> = self.tags.iter().map(String::as_str).collect();
        let run_tags = run.custom_metadata.as_ref().and_then(|metadata| metadata.get("sdk")?.get("tags")?.as_array());
        let run_tags: BTreeSet<&str> = run_tags.into_iter().flatten().filter_map(Value::as_str).collect();
        if tags != run_tags {
            let list = |tags: &BTreeSet<&str>| tags.iter().copied().collect::<Vec<_>>().join(", ");
            differences.push(format!("the tags: [{}], now [{}]", list(&run_tags), list(&tags)));
        }
        differences.extend(self.different_slides(items));
        if differences.is_empty() {
            let selected = self.version.as_deref().unwrap_or("not selected");
            differences.push(format!("the version: the run is of {}, now {selected}", run.version_number));
        }
        differences
    }

    fn different_slides(&self, items: &[Item]) -> Vec<String> {
        let run_digests: BTreeMap<_, _> =
            items.iter().map(|item| (item.external_id.as_str(), ItemDigest::of_item(item))).collect();
        let submission = self.draft.submission.items.iter();
        let draft_digests: BTreeMap<_, _> =
            submission.map(|item| (item.external_id.as_str(), ItemDigest::of_submission(item))).collect();
        let removed = run_digests.keys().filter(|id| !draft_digests.contains_key(*id));
        let added = draft_digests.keys().filter(|id| !run_digests.contains_key(*id));
        let changed = draft_digests
            .iter()
            .filter(|(id, digest)| run_digests.get(*id).is_some_and(|run_digest| run_digest != *digest));
        [
            ("slides that are not in the run", added.copied().collect::<Vec<_>>()),
            ("slides that are only in the run", removed.copied().collect()),
            ("slides with another checksum or other metadata", changed.map(|(id, _)| *id).collect()),
        ]
        .into_iter()
        .filter(|(_, ids)| !ids.is_empty())
        .map(|(description, ids)| {
            let ellipsis = if ids.len() > MAX_LISTED_SLIDES { ", …" } else { "" };
            format!("{} {description}: {}{ellipsis}", ids.len(), ids[..ids.len().min(MAX_LISTED_SLIDES)].join(", "))
        })
        .collect()
    }
}

/// Returns true if a run was submitted with a token, or may have been submitted.
pub(crate) async fn is_token_used(client: &Client, journal: &FileJournal, token: &str) -> Result<bool, Error> {
    let intent = journal.get::<SubmissionIntent>(token).map_err(unreadable)?;
    Ok(intent.is_some() || client.runs().find_submitted(token).await?.is_some())
}

/// Forwards the events of a submission.
pub(crate) fn observe(observer: &Observer) -> impl Fn(SubmissionEvent) + Send + Sync + 'static {
    let observer = observer.clone();
    move |event| observer(Event::Submission(event))
}
