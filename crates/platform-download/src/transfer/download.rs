use std::io;
use std::sync::Arc;
use std::time::Duration;

use auth_core::Backoff;
use durable_fs::Identity;

use crate::checksum::Crc32c;
use crate::digest::{Digest, Sha256};
use crate::error::DownloadError;
use crate::names::target::Target;
use crate::transfer::blocking::blocking;
use crate::transfer::downloader::{Downloader, Options};
use crate::transfer::durability::Durability;
use crate::transfer::fetch::{FetchError, FetchedFile, FileInMemory, Job};
use crate::transfer::partial_file::{Opened, PartialFile};
use crate::transfer::progress::Progress;
use crate::transfer::response::Validator;
use crate::transfer::source::{Expected, SharedUrl, Source};

/// The maximum time for which a dropped download may continue to write its last block.
const LAST_BLOCK_LIMIT: Duration = Duration::from_millis(500);
/// The maximum number of times that a download restarts because the object in the storage or the local file was
/// replaced.
const MAX_RESTARTS: u32 = 3;

/// The result of a download.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Outcome {
    /// The length of the file, in bytes.
    pub bytes: u64,
    /// The computed CRC32C.
    pub crc32c: Crc32c,
    /// The computed SHA-256, unless it was [disabled](crate::DownloaderBuilder::with_sha256).
    pub sha256: Option<Sha256>,
    /// The source of the expected checksum.
    pub verification: Verification,
    /// True if a correct file already existed and nothing was downloaded.
    pub already_present: bool,
    /// The entity tag of the downloaded object (RFC 9110, section 8.8.3), if it has one.
    pub etag: Option<String>,
    /// The generation of the downloaded object (Google Cloud Storage), if it has one.
    pub generation: Option<String>,
}

/// The source of the expected checksum of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Verification {
    /// The caller declared the checksum before the download, for example because the platform's API returned it.
    /// Manifests of earlier versions contain `stated`.
    #[serde(alias = "stated")]
    Declared,
    /// The storage sent the checksum with the content, and no other checksum is known.
    Storage,
    /// No checksum is known. The length was verified if it is known.
    Unverified,
}

impl Downloader {
    /// Downloads a file to `target`, unless a correct file exists there. Missing folders are created. `observer` is
    /// called for each progress event.
    ///
    /// The parts of a large file are downloaded concurrently if the storage supports range requests. If the future is
    /// dropped or the process ends, a later call downloads only the missing parts.
    ///
    /// # Errors
    ///
    /// [`DownloadError`]: the file could not be downloaded, written or verified. A file that already existed at the
    /// target is then unchanged.
    pub async fn fetch(
        &self,
        source: &dyn Source,
        expected: Expected,
        target: &Target,
        observer: &(dyn Fn(Progress) + Sync),
    ) -> Result<Outcome, DownloadError> {
        for _ in 0..=MAX_RESTARTS {
            if let Some(outcome) = self.fetch_once(source, expected, target, observer).await? {
                return Ok(outcome);
            }
        }
        Err(DownloadError::changed_by_another_process(&target.path()))
    }

    /// Downloads a file once. Returns `None` if another process replaced the downloaded file before its publication.
    async fn fetch_once(
        &self,
        source: &dyn Source,
        expected: Expected,
        target: &Target,
        observer: &(dyn Fn(Progress) + Sync),
    ) -> Result<Option<Outcome>, DownloadError> {
        let io_error = |error| DownloadError::io(&target.path(), error);
        let part: Arc<PartialFile> = match open(target, expected, &self.options).await? {
            Opened::AlreadyPresent(digest) => {
                observer(Progress::AlreadyPresent(digest.bytes));
                return Ok(Some(Outcome::already_present(digest, Verification::Declared)));
            }
            Opened::Partial(part) => Arc::from(part),
        };
        let kept_bytes: u64 = part.object_and_pieces().1.iter().map(|piece| piece.bytes).sum();
        if kept_bytes > 0 {
            observer(Progress::AlreadyPresent(kept_bytes));
        }
        let shared_url = SharedUrl::new(source);
        let job = Job { downloader: self, shared_url, expected, part: part.clone(), target, observer };
        let mut fetched_file = download_verified(&job).await?;
        let verification = match (expected.crc32c(), fetched_file.storage_crc32c) {
            (Some(_), _) => Verification::Declared,
            (None, Some(_)) => Verification::Storage,
            (None, None) => Verification::Unverified,
        };
        if let (true, Some(digest)) = (fetched_file.already_present, fetched_file.digest) {
            blocking(move || part.discard()).await.map_err(io_error)?;
            observer(Progress::AlreadyPresent(digest.bytes));
            return Ok(Some(Outcome::already_present(digest, verification)));
        }
        let bytes = fetched_file.bytes;
        let published_digest = match fetched_file.unwritten.take() {
            Some(unwritten) => self.publish_small(part, unwritten, observer).await?,
            None => self.publish(part, &mut fetched_file).await?,
        };
        let Some(digest) = published_digest else {
            observer(Progress::Lost(bytes));
            return Ok(None);
        };
        let FetchedFile { validator: Validator { etag, generation }, worker, .. } = fetched_file;
        drop(worker);
        Ok(Some(Outcome { already_present: false, etag, generation, ..Outcome::already_present(digest, verification) }))
    }

    /// Makes the file durable and renames it. Returns the digest, or `None` if another process has replaced the file.
    async fn publish(
        &self,
        part: Arc<PartialFile>,
        fetched_file: &mut FetchedFile,
    ) -> Result<Option<Digest>, DownloadError> {
        let target = part.target().to_owned();
        let io_error = |error| DownloadError::io(&target, error);
        let read_error = |error| DownloadError::read(&target, part.path(), error);
        let identity = part.identity().map_err(read_error)?;
        let (background, read_part) = (fetched_file.background.take(), part.clone());
        // Without a SHA-256, the combined checksum of the received parts suffices, and the file is not read.
        let received = Digest { bytes: fetched_file.bytes, crc32c: fetched_file.crc32c, sha256: None };
        let known_digest = fetched_file.digest.or((!self.options.sha256).then_some(received));
        // The digest is computed while the disk syncs.
        let digest = async {
            let (digest, sync_outcome) = match background {
                Some(background) => background.finish().await,
                None => (Ok(None), Ok(())),
            };
            sync_outcome.map_err(io_error)?;
            let running = digest.map_err(read_error)?.unwrap_or_else(|| part.new_digest());
            match known_digest {
                Some(digest) => Ok(digest),
                // The file was received in several parts, so its SHA-256 must be computed from the content on disk.
                None => blocking(move || read_part.digest(running)).await.map_err(read_error),
            }
        };
        let (durability, digest) = tokio::try_join!(async { self.sync(&part).await.map_err(io_error) }, digest)?;
        if (digest.bytes, digest.crc32c) != (fetched_file.bytes, fetched_file.crc32c) {
            return Err(io_error(io::Error::other("the disk returned different bytes than were written")));
        }
        let published_part = part.clone();
        let is_published =
            blocking(move || Ok(published_part.publish(&identity, &digest, durability))).await.map_err(io_error)?;
        Ok(is_published?.then_some(digest))
    }

    /// Writes a small file, makes it durable and renames it. This is one blocking task, except for
    /// [`Durability::Batch`]. Returns the digest, or `None` if another process has replaced the file.
    async fn publish_small(
        &self,
        part: Arc<PartialFile>,
        FileInMemory { object, content }: FileInMemory,
        observer: &(dyn Fn(Progress) + Sync),
    ) -> Result<Option<Digest>, DownloadError> {
        let target = part.target().to_owned();
        let io_error = |error| DownloadError::io(&target, error);
        let (bytes, durability) = (content.bytes(), self.options.durability);
        let store = move |part: &PartialFile| {
            part.store(&object, &content)?;
            Ok((content.digest(part.has_sha256()), part.identity()?))
        };
        let publish = |part: &PartialFile, (digest, identity): (Digest, Identity), durability| {
            Ok(part.publish(&identity, &digest, durability).map(|is_published| is_published.then_some(digest)))
        };
        let published = if durability == Durability::Batch {
            let stored_part = part.clone();
            let stored = blocking(move || store(&stored_part)).await.map_err(io_error)?;
            let durability = self.sync(&part).await.map_err(io_error)?;
            blocking(move || publish(&part, stored, durability)).await
        } else {
            blocking(move || {
                let stored = store(&part)?;
                if durability == Durability::File {
                    part.sync()?;
                }
                publish(&part, stored, durability)
            })
            .await
        };
        let published = published.map_err(io_error)??;
        observer(Progress::Durable(bytes));
        Ok(published)
    }

    /// Makes the content of a file durable. Returns the [`Durability`] to apply to the rename.
    async fn sync(&self, part: &Arc<PartialFile>) -> io::Result<Durability> {
        let Options { durability, batches, .. } = &self.options;
        let is_done = match durability {
            Durability::None => true,
            Durability::Batch => batches.sync(part.folder()).await?,
            Durability::File => false,
        };
        if is_done {
            return Ok(*durability);
        }
        let part = part.clone();
        blocking(move || part.sync()).await?;
        Ok(Durability::File)
    }
}

/// Opens the target. Retries if it is locked, because a dropped download of the same file may still be writing its last
/// block.
async fn open(target: &Target, expected: Expected, options: &Options) -> Result<Opened, DownloadError> {
    let (locking, has_sha256) = (options.locking, options.sha256);
    let pauses = (1..5).map(|attempt| Backoff::new(LAST_BLOCK_LIMIT / 10, LAST_BLOCK_LIMIT).bound(attempt));
    for pause in pauses {
        let owned_target = target.clone();
        let outcome = blocking(move || Ok(PartialFile::open(&owned_target, &expected, locking, has_sha256))).await;
        match outcome.map_err(|error| DownloadError::io(&target.path(), error))? {
            Err(error) if error.is_locked() => wait(pause).await,
            outcome => return outcome,
        }
    }
    Err(DownloadError::locked(&target.path()))
}

#[expect(clippy::disallowed_methods, reason = "file locks can only be polled")]
async fn wait(pause: Duration) {
    tokio::time::sleep(pause).await;
}

/// Downloads a file until its content is complete and correct. Content with a wrong checksum is downloaded once more
/// from the start.
async fn download_verified(job: &Job<'_>) -> Result<FetchedFile, DownloadError> {
    let Job { target, expected, part, .. } = job;
    let (mut restarts, mut was_corrupt) = (0, false);
    loop {
        let mut unwritten = None;
        let error = match job.attempt().await {
            Ok(fetched_file) => match expected.crc32c().or(fetched_file.storage_crc32c) {
                Some(crc32c) if crc32c != fetched_file.crc32c => {
                    unwritten = fetched_file.unwritten;
                    DownloadError::checksum(&target.path(), crc32c, fetched_file.crc32c)
                }
                _ => return Ok(fetched_file),
            },
            Err(FetchError::Changed) if restarts == MAX_RESTARTS => return Err(DownloadError::changed(&target.path())),
            Err(FetchError::Changed) => {
                restarts += 1;
                tracing::debug!(file = %target.path().display(), "the object has changed: restarting the download");
                job.discard_content().await?;
                continue;
            }
            Err(FetchError::Corrupt(error)) => error,
            Err(FetchError::Error(error)) => return Err(error),
        };
        tracing::warn!(%error, again = !was_corrupt, "the checksum does not match");
        if was_corrupt {
            let part = part.clone();
            let quarantine = blocking(move || {
                if let Some(FileInMemory { object, content }) = unwritten {
                    part.store(&object, &content)?;
                }
                part.quarantine()
            });
            let path = quarantine.await;
            return Err(error.with_quarantined_file(path.map_err(|error| DownloadError::io(&target.path(), error))?));
        }
        was_corrupt = true;
        job.discard_content().await?;
    }
}

impl Outcome {
    fn already_present(digest: Digest, verification: Verification) -> Self {
        let Digest { bytes, crc32c, sha256 } = digest;
        Self { bytes, crc32c, sha256, verification, already_present: true, etag: None, generation: None }
    }
}
