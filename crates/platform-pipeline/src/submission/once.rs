//! A submission that is made once for a key of the user's.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::TryStreamExt;
use platform_resources::models::{Item, Run};
use platform_resources::{Client, RunHandle, Submitted};
use serde_json::Value;

use super::digest::{self, DIGEST, ItemDigest, submission_digest};
use super::journal::{FileJournal, JournalLock};
use crate::{Draft, Error, Event, Observer, RunOptions};

/// The number of slides that a message names.
const NAMED: usize = 5;

/// A submission that is made once for a key. The same key with another submission is an error.
#[derive(Debug)]
pub struct KeyedSubmission {
    client: Client,
    draft: Draft,
    version: Option<String>,
    tags: Vec<String>,
    key: String,
    token: String,
    digest: String,
    journal: FileJournal,
    _lock: JournalLock,
}

impl KeyedSubmission {
    /// Prepares a draft, with its options, for submission under `key`. `version` is the version as the user stated it.
    ///
    /// # Errors
    ///
    /// [`Error::is_busy`]; [`Error::platform`] if the platform cannot be asked who the user is.
    pub async fn new(
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
        let (version, key) = (version.map(str::to_owned), key.to_owned());
        Ok(Self { client: client.clone(), draft, version, tags, key, token, digest, journal, _lock: lock })
    }

    /// Finds the run that was submitted under the key. Nothing is submitted.
    ///
    /// # Errors
    ///
    /// [`Error::is_conflict`]: the run was submitted for something else; [`Error::details`] names what differs.
    /// [`Error::platform`]: among others
    /// [`is_submission_uncertain`](platform_resources::Error::is_submission_uncertain).
    pub async fn find(&self, observer: &Observer) -> Result<Option<Submitted>, Error> {
        let none = platform_resources::models::RunSubmission::new("", Vec::new());
        // An earlier version of this crate had random tokens, and this key for them.
        for key in [self.token.clone(), format!("once\n{}", self.key)] {
            let shown = observer.clone();
            let once = self.client.runs().submit_once(&key, none.clone(), &self.journal).with_token(&self.token);
            let found = Box::pin(once.with_observer(move |event| shown(Event::Submission(event))).find()).await?;
            if let Some(found) = found {
                observer(Event::RunFound { run: found.run.id().clone() });
                self.compare(&found.run).await?;
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// Checks the submission and submits it.
    ///
    /// # Errors
    ///
    /// Those of [`Draft::check`] and [`SubmitOnce::submit`](platform_resources::SubmitOnce::submit).
    pub async fn submit(self, observer: &Observer) -> Result<Submitted, Error> {
        let Self { client, draft, token, digest, journal, .. } = &self;
        let mut submission = draft.clone().check(client).await?;
        digest::write(&mut submission, digest);
        let shown = observer.clone();
        let once = client.runs().submit_once(token, submission, journal).with_token(token);
        Ok(Box::pin(once.with_observer(move |event| shown(Event::Submission(event))).submit()).await?)
    }

    /// Compares the submission of a run with this one.
    async fn compare(&self, run: &RunHandle) -> Result<(), Error> {
        let about = super::settled(run).await?;
        let metadata = about.custom_metadata.as_ref();
        match metadata.and_then(|metadata| metadata.get(DIGEST)).and_then(Value::as_str) {
            Some(digest) if digest == self.digest => return Ok(()),
            // It was submitted by an earlier version of this crate, which recorded no digest.
            None if about.application_id == self.draft.submission.application_id => return Ok(()),
            _ => {}
        }
        let items: Vec<Item> = run.clone().nocache().items().try_collect().await?;
        Err(Error::conflict(
            format!("run {} was submitted under the key '{}' for something else", run.id(), self.key),
            self.differences(&about, &items),
        ))
    }

    fn differences(&self, run: &Run, items: &[Item]) -> Vec<String> {
        let mut differences = Vec::new();
        let application = &self.draft.submission.application_id;
        if run.application_id != *application {
            differences.push(format!("the application: {}, now {application}", run.application_id));
        }
        let tags: BTreeSet<&str> = self.tags.iter().map(String::as_str).collect();
        let before = run.custom_metadata.as_ref().and_then(|metadata| metadata.get("sdk")?.get("tags")?.as_array());
        let before: BTreeSet<&str> = before.into_iter().flatten().filter_map(Value::as_str).collect();
        if tags != before {
            let list = |tags: &BTreeSet<&str>| tags.iter().copied().collect::<Vec<_>>().join(", ");
            differences.push(format!("the tags: [{}], now [{}]", list(&before), list(&tags)));
        }
        differences.extend(self.different_slides(items));
        if differences.is_empty() {
            let stated = self.version.as_deref().unwrap_or("not stated");
            differences.push(format!("the version: the run is of {}, now {stated}", run.version_number));
        }
        differences
    }

    fn different_slides(&self, items: &[Item]) -> Vec<String> {
        let before: BTreeMap<_, _> =
            items.iter().map(|item| (item.external_id.as_str(), ItemDigest::of_item(item))).collect();
        let submission = self.draft.submission.items.iter();
        let now: BTreeMap<_, _> =
            submission.map(|item| (item.external_id.as_str(), ItemDigest::of_submission(item))).collect();
        let removed = before.keys().filter(|id| !now.contains_key(*id));
        let added = now.keys().filter(|id| !before.contains_key(*id));
        let changed = now.iter().filter(|(id, digest)| before.get(*id).is_some_and(|other| other != *digest));
        [
            ("slides that are not in the run", added.copied().collect::<Vec<_>>()),
            ("slides that are only in the run", removed.copied().collect()),
            ("slides with another checksum or other metadata", changed.map(|(id, _)| *id).collect()),
        ]
        .into_iter()
        .filter(|(_, ids)| !ids.is_empty())
        .map(|(what, ids)| {
            let more = if ids.len() > NAMED { ", …" } else { "" };
            format!("{} {what}: {}{more}", ids.len(), ids[..ids.len().min(NAMED)].join(", "))
        })
        .collect()
    }
}
