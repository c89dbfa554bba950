//! Multipart uploads of large files, with several parts at a time.
//!
//! Difficult cases:
//! - **The process ends.** The confirmed parts are in the journal. The next process sends the other parts.
//! - **The storage does not know the upload** (`NoSuchUpload`). If the upload was completed and the response was lost,
//!   the object is complete. If the upload was aborted, it starts again.
//! - **The file changes.** Before the last block of each part, and before the parts are joined, the file is checked for
//!   changes. An expected checksum is compared with the combined checksum of the parts.
//! - **The joined object has other content.** The checksum of the object is compared, and the object is deleted if it
//!   still has this generation. In a storage without generations, the object remains and an error is returned.

use std::collections::BTreeMap;
use std::ops::ControlFlow::Break;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use auth_http::{Method, Request};
use futures_util::{FutureExt, StreamExt, TryStreamExt, stream};
use tokio::sync::{Mutex, Semaphore};

use super::error::Kind;
use super::local::blocking;
use super::part_source::PartSource;
use super::progress::{FileProgress, SentBytes};
use super::{UploadError, UploadFile};
use crate::retry::Retryable;
use crate::storage::bucket::{ErrorResponse, storage_checksum};
use crate::storage::journal::{ConfirmedPart, PartJournal, UploadIdentity, combined_checksum, part_ranges};
use crate::storage::signer::UnsignedRequest;
use crate::{Bucket, Crc32c, ObjectAddress};

/// The minimum length of a file for a multipart upload, in bytes.
pub(super) const MULTIPART_THRESHOLD: u64 = 64 << 20;
/// The default and minimum length of a part, in bytes.
const DEFAULT_PART_BYTES: u64 = 8 << 20;
/// The maximum number of parts of an object (S3, Google Cloud Storage).
const MAX_PARTS: u64 = 10_000;
/// The number of parts of a file that are in flight or wait for a permit.
const MAX_QUEUED_PARTS: usize = 16;
/// The maximum number of multipart uploads that are started for a file if the storage discards them.
const MAX_STARTS: usize = 3;

/// Returns the length of the parts of a file of `bytes` bytes. It is at least 8 MiB and at least `min_bytes`. For very
/// large files it is a larger multiple of 1 MiB, so that there are at most 10,000 parts.
fn part_bytes(bytes: u64, min_bytes: Option<u64>) -> u64 {
    const MIB: u64 = 1 << 20;
    DEFAULT_PART_BYTES.max(min_bytes.unwrap_or_default()).max(bytes.div_ceil(MAX_PARTS).div_ceil(MIB) * MIB)
}

/// Removes the journal of an upload whose object exists.
pub(super) async fn forget(
    bucket: &Bucket,
    source: &impl PartSource,
    object: &ObjectAddress,
) -> Result<(), UploadError> {
    with_identity(bucket, source, object, PartJournal::forget).await
}

/// Opens the journal of the upload of a source to an object.
pub(super) async fn open_journal(
    bucket: &Bucket,
    source: &impl PartSource,
    object: &ObjectAddress,
) -> Result<PartJournal, UploadError> {
    with_identity(bucket, source, object, PartJournal::open).await
}

/// Runs `work` with the folder of journals and the identity of an upload, on a thread for blocking calls.
async fn with_identity<T: Send + 'static>(
    bucket: &Bucket,
    source: &impl PartSource,
    object: &ObjectAddress,
    work: fn(Option<&Path>, &UploadIdentity<'_>) -> T,
) -> Result<T, UploadError> {
    let (folder, source) = (bucket.upload_journal().cloned(), source.clone());
    let (storage, object) = (bucket.signer().endpoint().to_string(), object.to_string());
    blocking(move || {
        let identity = source.identity();
        Ok(work(folder.as_deref(), &UploadIdentity { source: &identity, storage: &storage, object: &object }))
    })
    .await
}

/// The multipart upload of a file.
pub(super) struct PartUpload<'a, S> {
    pub(super) bucket: &'a Bucket,
    pub(super) file: &'a UploadFile,
    pub(super) object: &'a ObjectAddress,
    pub(super) source: &'a S,
    pub(super) progress: &'a Arc<FileProgress>,
    /// Limits the number of requests in flight for all files together.
    pub(super) in_flight: &'a Semaphore,
}

/// The outcome of one multipart upload.
enum AttemptEnd {
    Done(Crc32c),
    /// The storage refuses multipart uploads.
    Unsupported,
    /// The storage has discarded the upload or parts of it.
    Discarded,
}

impl<S: PartSource> PartUpload<'_, S> {
    /// Uploads the file. Returns its checksum, or `None` if the storage refuses multipart uploads.
    pub(super) async fn run(&self) -> Result<Option<Crc32c>, UploadError> {
        let journal = Arc::new(Mutex::new(open_journal(self.bucket, self.source, self.object).await?));
        for _ in 0..MAX_STARTS {
            match self.attempt(&journal).await? {
                AttemptEnd::Done(crc32c) => return Ok(Some(crc32c)),
                AttemptEnd::Unsupported => return Ok(None),
                AttemptEnd::Discarded => with_journal(&journal, PartJournal::remove).await?,
            }
        }
        Err(Kind::Discarded.into())
    }

    async fn attempt(&self, journal: &Arc<Mutex<PartJournal>>) -> Result<AttemptEnd, UploadError> {
        let part_bytes = part_bytes(self.source.bytes(), self.bucket.uploads().part_bytes);
        let (id, confirmed) = match with_journal(journal, move |journal| journal.recorded_upload(part_bytes)).await? {
            Some(recorded) => recorded,
            None => match self.start_upload(journal, part_bytes).await? {
                Some(id) => (id, Vec::new()),
                None => return Ok(AttemptEnd::Unsupported),
            },
        };
        let attempt = self.progress.start_attempt(self.source.bytes());
        let ranges = part_ranges(self.source.bytes(), part_bytes);
        let confirmed_parts: BTreeMap<u32, ConfirmedPart> = confirmed
            .into_iter()
            .filter(|part| ranges.contains_key(&part.part))
            .map(|part| (part.part, part))
            .collect();
        for range in confirmed_parts.keys().filter_map(|number| ranges.get(number)) {
            SentBytes::new(self.progress, attempt).add(range.end - range.start);
        }
        let missing: Vec<_> =
            ranges.clone().into_iter().filter(|(number, _)| !confirmed_parts.contains_key(number)).collect();
        // The first error drops the requests for the other parts.
        let sent_parts: Result<Vec<ConfirmedPart>, UploadError> = stream::iter(missing)
            .map(|(number, range)| self.upload_part(journal, &id, number, range, attempt).boxed())
            .buffer_unordered(MAX_QUEUED_PARTS.max(self.bucket.uploads().jobs.unwrap_or_default()))
            .try_collect()
            .await;
        let sent_parts = match sent_parts {
            Ok(sent_parts) => sent_parts,
            Err(error) if error.is_no_such_upload() => return Ok(AttemptEnd::Discarded),
            Err(error) => return self.fail(journal, &id, error).await,
        };
        let mut parts: Vec<_> = confirmed_parts.into_values().chain(sent_parts).collect();
        parts.sort_unstable_by_key(|part| part.part);
        let crc32c = combined_checksum(&parts, &ranges);
        let unchanged_check = self.source.check_unchanged().await;
        let is_expected = self.file.crc32c().is_none_or(|expected| expected == crc32c);
        if let Err(error) = unchanged_check.and_then(|()| if is_expected { Ok(()) } else { Err(Kind::Changed.into()) })
        {
            return self.fail(journal, &id, error).await;
        }
        self.join(journal, &id, &parts, crc32c).await
    }

    /// Starts a multipart upload, and returns its id. Returns `None` if the storage refuses multipart uploads.
    async fn start_upload(
        &self,
        journal: &Arc<Mutex<PartJournal>>,
        part_bytes: u64,
    ) -> Result<Option<String>, UploadError> {
        match self.bucket.start_upload(self.file.key(), self.file.content_type()).await {
            Ok(id) => {
                let (recorded_id, source, object) = (id.clone(), self.source.location(), self.object.to_string());
                with_journal(journal, move |journal| journal.start(&recorded_id, part_bytes, source, object)).await?;
                Ok(Some(id))
            }
            Err(error) if matches!(error.status(), Some(403 | 405 | 501)) => {
                self.bucket.refuse_parts(&error);
                Ok(None)
            }
            Err(error) => Err(Kind::Multipart("cannot start a multipart upload", error.is_transient()).with(error)),
        }
    }

    /// Sends a part until the storage has confirmed it, and records the part.
    async fn upload_part(
        &self,
        journal: &Arc<Mutex<PartJournal>>,
        id: &str,
        part: u32,
        range: Range<u64>,
        attempt: u64,
    ) -> Result<ConfirmedPart, UploadError> {
        // The semaphore is never closed.
        let _permit = self.in_flight.acquire().await;
        let mut attempts = self.bucket.attempts();
        loop {
            attempts.wait_until_ready().await.map_err(UploadError::unavailable)?;
            let sent_bytes = SentBytes::new(self.progress, attempt);
            let outcome = self.send_part(id, part, range.clone(), &sent_bytes).await;
            if outcome.is_err() {
                sent_bytes.revoke();
            }
            if let Break(outcome) = attempts.evaluate(outcome) {
                let confirmed_part = outcome?;
                let recorded_part = confirmed_part.clone();
                with_journal(journal, move |journal| journal.record(&recorded_part)).await?;
                return Ok(confirmed_part);
            }
        }
    }

    async fn send_part(
        &self,
        id: &str,
        part: u32,
        range: Range<u64>,
        sent: &Arc<SentBytes>,
    ) -> Result<ConfirmedPart, UploadError> {
        let number = part.to_string();
        let query = [("partNumber", number.as_str()), ("uploadId", id)];
        let unsigned = UnsignedRequest { query: &query, ..UnsignedRequest::of(Method::Put, self.object) };
        let url = self.bucket.signer().sign_put(&unsigned).map_err(|error| Kind::Sign.with(error))?;
        let (request, limit) =
            (Request::new(Method::Put, url.expose().clone()), self.bucket.uploads().rate_limit.clone());
        let (request, outcome) = self.source.add_to(request, range, sent.clone(), limit).await?;
        let request = self.bucket.uploads().read_timeout.into_iter().fold(request, Request::with_read_timeout);
        let response = self.bucket.http().send(request).await;
        // A local error takes precedence, because it is the cause of the failed request.
        let crc32c = outcome.take().transpose()?;
        let response = response.map_err(|error| Kind::Http(error.is_transient()).with(error))?;
        if response.status() != 200 {
            return Err(Kind::Refused(ErrorResponse::read(response).await).into());
        }
        // The checksum is missing if the response arrived before all content was sent. Such a response confirms
        // nothing.
        let crc32c = crc32c.ok_or(Kind::Http(true))?;
        match storage_checksum(&response) {
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
        expected_crc32c: Crc32c,
    ) -> Result<AttemptEnd, UploadError> {
        let parts_and_etags: Vec<_> = parts.iter().map(|part| (part.part, part.etag.clone())).collect();
        let joined = match self.bucket.complete_upload(self.file.key(), id, &parts_and_etags).await {
            Ok(joined) => Some(joined),
            // An earlier request may have joined the parts, and its response was lost.
            Err(error) if error.is("NoSuchUpload") => None,
            Err(error) if error.is("InvalidPart") => {
                self.abort(id).await;
                return Ok(AttemptEnd::Discarded);
            }
            Err(error) => {
                let error = Kind::Multipart("its parts cannot be joined", error.is_transient()).with(error);
                return self.fail(journal, id, error).await;
            }
        };
        let object_crc32c = match joined.as_ref().and_then(|joined| joined.crc32c) {
            Some(object_crc32c) => Some(object_crc32c),
            None => self.stored_checksum().await?,
        };
        let Some(joined) = joined.filter(|_| object_crc32c != Some(expected_crc32c)) else {
            if object_crc32c != Some(expected_crc32c) {
                return Ok(AttemptEnd::Discarded);
            }
            with_journal(journal, PartJournal::remove).await?;
            return Ok(AttemptEnd::Done(expected_crc32c));
        };
        with_journal(journal, PartJournal::remove).await?;
        let actual = object_crc32c.ok_or(Kind::Unconfirmed)?;
        self.delete_object(joined.generation.as_deref()).await;
        Err(Kind::Corrupt { expected: expected_crc32c, actual }.into())
    }

    /// Returns the checksum of the stored object, if it has the length of the file.
    async fn stored_checksum(&self) -> Result<Option<Crc32c>, UploadError> {
        let state = self.bucket.state(self.file.key()).await;
        let state = state.map_err(|error| Kind::Query(error.is_transient()).with(error))?;
        let state = state.filter(|state| state.bytes.is_none_or(|bytes| bytes == self.source.bytes()));
        Ok(state.and_then(|state| state.crc32c))
    }

    /// Deletes the joined object if it still has this generation. Without a generation it is not deleted, because
    /// another client may have replaced it.
    async fn delete_object(&self, generation: Option<&str>) {
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

    /// Returns `error`, after aborting the upload if it cannot be resumed: the file has changed, or no journal is
    /// written.
    async fn fail(
        &self,
        journal: &Arc<Mutex<PartJournal>>,
        id: &str,
        error: UploadError,
    ) -> Result<AttemptEnd, UploadError> {
        if error.is_changed() || !with_journal(journal, |journal| journal.is_recorded()).await? {
            self.abort(id).await;
            with_journal(journal, PartJournal::remove).await?;
        }
        Err(error)
    }
}

/// Runs `work` with the journal on a thread for blocking calls.
async fn with_journal<T: Send + 'static>(
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
    fn at_most_ten_thousand_parts_cover_the_file() {
        for (bytes, size, count) in [
            (MULTIPART_THRESHOLD, DEFAULT_PART_BYTES, 8),
            (MULTIPART_THRESHOLD + 1, DEFAULT_PART_BYTES, 9),
            (78 * GIB, DEFAULT_PART_BYTES, 9984),
            (79 * GIB, 9 << 20, 8989),
            (5 << 40, 525 << 20, 9987),
        ] {
            assert_eq!((part_bytes(bytes, None), part_ranges(bytes, size).len()), (size, count), "{bytes}");
            let ranges = part_ranges(bytes, size);
            let joined = ranges.values().try_fold(0, |at, range| (range.start == at).then_some(range.end));
            assert_eq!(joined, Some(bytes));
            assert!(ranges.values().rev().skip(1).all(|range| range.end - range.start == size));
        }
    }

    #[test]
    fn configured_part_size_is_used_within_its_limits() {
        for (bytes, configured, size) in
            [(GIB, 32 << 20, 32 << 20), (GIB, 1 << 20, DEFAULT_PART_BYTES), (5 << 40, DEFAULT_PART_BYTES, 525 << 20)]
        {
            assert_eq!(part_bytes(bytes, Some(configured)), size, "{bytes} {configured}");
        }
    }
}
