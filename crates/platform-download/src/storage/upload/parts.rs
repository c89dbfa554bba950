//! Uploads of large files in parts, several at a time.
//!
//! Difficult cases:
//! - **The process ends.** The confirmed parts are in the journal; the next process sends the others.
//! - **The upload has ended at the storage** (`NoSuchUpload`): it was completed, and the response was lost; or it was
//!   aborted, and starts again.
//! - **The file changes.** Every part checks the file before its last block, and the parts are joined only if the file
//!   is unchanged; a checksum that was required is compared with that of all parts.
//! - **The storage joins other content.** The checksum of the object is compared, and the object of this generation is
//!   deleted. Without generations, it is left and reported.

use std::collections::BTreeMap;
use std::ops::ControlFlow::Break;
use std::ops::Range;
use std::sync::Arc;

use auth_http::{Method, Request};
use futures_util::{FutureExt, StreamExt, TryStreamExt, stream};
use tokio::sync::{Mutex, Semaphore};

use super::content::Content;
use super::error::Kind;
use super::journal::{ConfirmedPart, PartJournal};
use super::local::{LocalFile, OpenFile, blocking};
use super::progress::{FileProgress, Sent};
use super::{UploadError, UploadFile};
use crate::retry::Retryable;
use crate::storage::bucket::{ErrorResponse, stated_checksum};
use crate::storage::signer::Unsigned;
use crate::{Bucket, Crc32c, ObjectAddress};

/// The minimum size of a file to upload in parts.
pub(super) const THRESHOLD: u64 = 64 << 20;
/// The default size of a part.
const PART: u64 = 8 << 20;
/// The maximum number of parts.
const MOST_PARTS: u64 = 10_000;
/// The number of parts of a file that are in flight or wait for others.
const MOST_WAITING: usize = 16;
/// The number of uploads of a file that may end at the storage before the file fails.
const STARTS: usize = 3;

/// Returns the size of the parts of a file: `least` or 8 MiB, or more whole MiB for more than 10,000 of them.
fn part_bytes(bytes: u64, least: Option<u64>) -> u64 {
    const MIB: u64 = 1 << 20;
    PART.max(least.unwrap_or_default()).max(bytes.div_ceil(MOST_PARTS).div_ceil(MIB) * MIB)
}

/// Removes the record of an upload of a file that the storage has. A process may have been killed before it did.
pub(super) async fn forget(bucket: &Bucket, local: &LocalFile, object: &ObjectAddress) -> Result<(), UploadError> {
    let mut journal = journal(bucket, local, object).await?;
    blocking(move || {
        journal.remove();
        Ok(())
    })
    .await
}

async fn journal(bucket: &Bucket, local: &LocalFile, object: &ObjectAddress) -> Result<PartJournal, UploadError> {
    let (folder, local) = (bucket.upload_journal().cloned(), local.clone());
    let (storage, object) = (bucket.signer().endpoint().to_string(), object.to_string());
    blocking(move || Ok(PartJournal::open(folder.as_deref(), &local, &storage, &object))).await
}

/// The upload of a file in parts.
pub(super) struct PartUpload<'a> {
    pub(super) bucket: &'a Bucket,
    pub(super) file: &'a UploadFile,
    pub(super) object: &'a ObjectAddress,
    pub(super) local: &'a LocalFile,
    pub(super) open: OpenFile,
    pub(super) progress: &'a Arc<FileProgress>,
    /// Bounds the number of parts in flight, of all files.
    pub(super) in_flight: &'a Semaphore,
}

/// The end of one upload at the storage.
enum End {
    Done(Crc32c),
    /// The storage refuses uploads in parts.
    Unsupported,
    /// The upload does not exist at the storage.
    Gone,
}

impl PartUpload<'_> {
    /// Uploads the file, and returns its checksum, or `None` if the storage refuses uploads in parts.
    pub(super) async fn run(&self) -> Result<Option<Crc32c>, UploadError> {
        let journal = Arc::new(Mutex::new(journal(self.bucket, self.local, self.object).await?));
        for _ in 0..STARTS {
            match self.attempt(&journal).await? {
                End::Done(crc32c) => return Ok(Some(crc32c)),
                End::Unsupported => return Ok(None),
                End::Gone => with(&journal, PartJournal::remove).await?,
            }
        }
        Err(Kind::Ended.into())
    }

    async fn attempt(&self, journal: &Arc<Mutex<PartJournal>>) -> Result<End, UploadError> {
        let part_bytes = part_bytes(self.local.bytes(), self.bucket.uploads().part_bytes);
        let (id, confirmed) = match with(journal, move |journal| journal.recorded(part_bytes)).await? {
            Some(recorded) => recorded,
            None => match self.start(journal, part_bytes).await? {
                Some(id) => (id, Vec::new()),
                None => return Ok(End::Unsupported),
            },
        };
        let counter = self.progress.begin(self.local.bytes());
        let ranges = ranges(self.local.bytes(), part_bytes);
        let known: BTreeMap<u32, ConfirmedPart> = confirmed
            .into_iter()
            .filter(|part| ranges.contains_key(&part.part))
            .map(|part| (part.part, part))
            .collect();
        for range in known.keys().filter_map(|number| ranges.get(number)) {
            Sent::of(self.progress, counter).add(range.end - range.start);
        }
        let missing: Vec<_> = ranges.clone().into_iter().filter(|(number, _)| !known.contains_key(number)).collect();
        // The semaphore bounds the parts in flight. After an error, the others are dropped.
        let sent: Result<Vec<ConfirmedPart>, UploadError> = stream::iter(missing)
            .map(|(number, range)| self.part(journal, &id, number, range, counter).boxed())
            .buffer_unordered(MOST_WAITING.max(self.bucket.uploads().jobs.unwrap_or_default()))
            .try_collect()
            .await;
        let sent = match sent {
            Ok(sent) => sent,
            Err(error) if error.is_no_such_upload() => return Ok(End::Gone),
            Err(error) => return self.failed(journal, &id, error).await,
        };
        let mut parts: Vec<_> = known.into_values().chain(sent).collect();
        parts.sort_unstable_by_key(|part| part.part);
        let length = |part: &ConfirmedPart| ranges.get(&part.part).map_or(0, |range| range.end - range.start);
        let crc32c = parts.iter().fold(Crc32c::default(), |crc, part| crc.combine(part.crc32c, length(part)));
        let open = self.open.clone();
        let unchanged = blocking(move || open.check_unchanged()).await;
        let expected = self.file.crc32c().is_none_or(|expected| expected == crc32c);
        if let Err(error) = unchanged.and_then(|()| if expected { Ok(()) } else { Err(Kind::Changed.into()) }) {
            return self.failed(journal, &id, error).await;
        }
        self.join(journal, &id, &parts, crc32c).await
    }

    /// Starts an upload. Returns `None` if the storage refuses it.
    async fn start(&self, journal: &Arc<Mutex<PartJournal>>, part_bytes: u64) -> Result<Option<String>, UploadError> {
        match self.bucket.start_upload(self.file.key(), self.file.content_type()).await {
            Ok(id) => {
                let (recorded, local, object) = (id.clone(), self.local.clone(), self.object.to_string());
                with(journal, move |journal| journal.start(&recorded, part_bytes, &local, &object)).await?;
                Ok(Some(id))
            }
            Err(error) if matches!(error.status(), Some(403 | 405 | 501)) => {
                self.bucket.refuse_parts(&error);
                Ok(None)
            }
            Err(error) => Err(Kind::Parts("cannot start an upload in parts", error.is_transient()).with(error)),
        }
    }

    /// Sends a part until the storage has confirmed it, and records it.
    async fn part(
        &self,
        journal: &Arc<Mutex<PartJournal>>,
        id: &str,
        part: u32,
        range: Range<u64>,
        counter: u64,
    ) -> Result<ConfirmedPart, UploadError> {
        // The semaphore is never closed.
        let _permit = self.in_flight.acquire().await;
        let mut attempts = self.bucket.attempts();
        loop {
            attempts.ready().await.map_err(UploadError::unavailable)?;
            let sent = Sent::of(self.progress, counter);
            let outcome = self.send(id, part, range.clone(), &sent).await;
            if outcome.is_err() {
                sent.revoke();
            }
            if let Break(outcome) = attempts.judge(outcome) {
                let line = outcome?;
                let part = line.clone();
                with(journal, move |journal| journal.record(&line)).await?;
                return Ok(part);
            }
        }
    }

    async fn send(
        &self,
        id: &str,
        part: u32,
        range: Range<u64>,
        sent: &Arc<Sent>,
    ) -> Result<ConfirmedPart, UploadError> {
        let content = Content::of(self.open.clone(), range, None, sent.clone())?;
        let content = content.with_rate_limit(self.bucket.uploads().rate_limit.clone());
        let (length, outcome) = (content.bytes(), content.outcome());
        let number = part.to_string();
        let query = [("partNumber", number.as_str()), ("uploadId", id)];
        let unsigned = Unsigned { query: &query, ..Unsigned::of(Method::Put, self.object) };
        let url = self.bucket.signer().sign_put(&unsigned).map_err(|error| Kind::Sign.with(error))?;
        let request = Request::new(Method::Put, url.expose().clone()).with_stream(length, content.into_stream());
        let request = self.bucket.uploads().read_timeout.into_iter().fold(request, Request::with_read_timeout);
        let answer = self.bucket.http().send(request).await;
        // A local error is the reason why the request failed.
        let crc32c = outcome.take().transpose()?;
        let response = answer.map_err(|error| Kind::Http(error.is_transient()).with(error))?;
        if response.status() != 200 {
            return Err(Kind::Refused(ErrorResponse::read(response).await).into());
        }
        // A response before the end of the content does not confirm it.
        let crc32c = crc32c.ok_or(Kind::Http(true))?;
        match stated_checksum(&response) {
            Some(actual) if actual != crc32c => Err(Kind::Corrupt { expected: crc32c, actual }.into()),
            _ => {
                let etag = response.header("etag").ok_or(Kind::Unconfirmed)?.to_owned();
                Ok(ConfirmedPart { part, etag, crc32c })
            }
        }
    }

    /// Joins the parts, and compares the checksum of the object.
    async fn join(
        &self,
        journal: &Arc<Mutex<PartJournal>>,
        id: &str,
        parts: &[ConfirmedPart],
        crc32c: Crc32c,
    ) -> Result<End, UploadError> {
        let list: Vec<_> = parts.iter().map(|part| (part.part, part.etag.clone())).collect();
        let joined = match self.bucket.join_parts(self.file.key(), id, &list).await {
            Ok(joined) => Some(joined),
            // It may have been joined by a request whose response was lost.
            Err(error) if error.is("NoSuchUpload") => None,
            Err(error) if error.is("InvalidPart") => {
                self.abort(id).await;
                return Ok(End::Gone);
            }
            Err(error) => {
                let error = Kind::Parts("its parts cannot be joined", error.is_transient()).with(error);
                return self.failed(journal, id, error).await;
            }
        };
        let stated = match joined.as_ref().and_then(|joined| joined.crc32c) {
            Some(stated) => Some(stated),
            None => self.stored().await?,
        };
        let Some(joined) = joined.filter(|_| stated != Some(crc32c)) else {
            if stated != Some(crc32c) {
                return Ok(End::Gone);
            }
            with(journal, PartJournal::remove).await?;
            return Ok(End::Done(crc32c));
        };
        with(journal, PartJournal::remove).await?;
        let actual = stated.ok_or(Kind::Unconfirmed)?;
        self.delete(joined.generation.as_deref()).await;
        Err(Kind::Corrupt { expected: crc32c, actual }.into())
    }

    /// Returns the checksum of the stored object, if it has the length of the file.
    async fn stored(&self) -> Result<Option<Crc32c>, UploadError> {
        let state = self.bucket.state(self.file.key()).await;
        let state = state.map_err(|error| Kind::Look(error.is_transient()).with(error))?;
        let state = state.filter(|state| state.bytes.is_none_or(|bytes| bytes == self.local.bytes()));
        Ok(state.and_then(|state| state.crc32c))
    }

    /// Deletes the joined object, if the storage has stated its generation. Another one may have replaced it.
    async fn delete(&self, generation: Option<&str>) {
        if let Some(generation) = generation
            && let Err(error) = self.bucket.delete_generation(self.file.key(), generation).await
        {
            tracing::warn!(error = &error as &dyn std::error::Error, "a corrupt object was not deleted");
        }
    }

    async fn abort(&self, id: &str) {
        if let Err(error) = self.bucket.abort_upload(self.file.key(), id).await {
            tracing::warn!(error = &error as &dyn std::error::Error, "an upload was not aborted");
        }
    }

    /// Returns the error. An upload that cannot be continued is aborted: its file has changed, or it is not recorded.
    async fn failed(
        &self,
        journal: &Arc<Mutex<PartJournal>>,
        id: &str,
        error: UploadError,
    ) -> Result<End, UploadError> {
        if error.is_changed() || !with(journal, |journal| journal.is_recorded()).await? {
            self.abort(id).await;
            with(journal, PartJournal::remove).await?;
        }
        Err(error)
    }
}

/// Returns the ranges of the parts, by number.
fn ranges(bytes: u64, part_bytes: u64) -> BTreeMap<u32, Range<u64>> {
    let starts = (0..bytes).step_by(usize::try_from(part_bytes).unwrap_or(usize::MAX));
    (1..).zip(starts.map(|start| start..(start + part_bytes).min(bytes))).collect()
}

/// Uses the journal on a blocking thread.
async fn with<T: Send + 'static>(
    journal: &Arc<Mutex<PartJournal>>,
    work: impl FnOnce(&mut PartJournal) -> T + Send + 'static,
) -> Result<T, UploadError> {
    let mut journal = journal.clone().lock_owned().await;
    blocking(move || Ok(work(&mut journal))).await
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    #[test]
    fn parts_cover_the_file_and_are_at_most_ten_thousand() {
        for (bytes, size, count) in [
            (THRESHOLD, PART, 8),
            (THRESHOLD + 1, PART, 9),
            (78 * GIB, PART, 9984),
            (79 * GIB, 9 << 20, 8989),
            (5 << 40, 525 << 20, 9987),
        ] {
            assert_eq!((part_bytes(bytes, None), ranges(bytes, size).len()), (size, count), "{bytes}");
            let ranges = ranges(bytes, size);
            let joined = ranges.values().try_fold(0, |at, range| (range.start == at).then_some(range.end));
            assert_eq!(joined, Some(bytes));
            assert!(ranges.values().rev().skip(1).all(|range| range.end - range.start == size));
        }
    }

    #[test]
    fn parts_have_the_size_that_is_set_if_it_is_permitted() {
        for (bytes, least, size) in [(GIB, 32 << 20, 32 << 20), (GIB, 1 << 20, PART), (5 << 40, PART, 525 << 20)] {
            assert_eq!(part_bytes(bytes, Some(least)), size, "{bytes} {least}");
        }
    }
}
