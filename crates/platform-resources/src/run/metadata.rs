use std::time::Duration;

use platform_api::models::{MetadataUpdate, MetadataUpdated};
use platform_api::operations::{UpdateItemMetadata, UpdateRunMetadata};
use platform_api::{JsonObject, Operation, Patch};

use super::RunHandle;
use crate::Error;
use crate::core::Group;

/// The maximum number of attempts to edit metadata that other callers change.
const MAX_ATTEMPTS: u32 = 5;
/// The increment of the pause before each further attempt.
const PAUSE_STEP: Duration = Duration::from_millis(50);

/// The current metadata, and their checksum to detect changes.
struct CurrentMetadata {
    metadata: Option<JsonObject>,
    checksum: Option<String>,
}

impl RunHandle {
    /// Replaces the metadata of the run, or clears them with [`Patch::Null`]. `checksum` is the checksum of the
    /// metadata that the caller has read. The update fails if the metadata have changed since then. With `None`, the
    /// metadata are always replaced.
    ///
    /// # Errors
    ///
    /// [`Error::is_conflict`]: the metadata have another checksum. Otherwise the request failed.
    pub async fn update_metadata(
        &self,
        metadata: impl Into<Patch<JsonObject>>,
        checksum: Option<&str>,
    ) -> Result<MetadataUpdated, Error> {
        let update = metadata_update(metadata.into(), checksum);
        self.send_update(UpdateRunMetadata::new(self.id.as_str(), update), checksum.is_some()).await
    }

    /// Replaces or clears the metadata of an item, like [`update_metadata`](Self::update_metadata).
    ///
    /// # Errors
    ///
    /// The same as [`update_metadata`](Self::update_metadata).
    pub async fn update_item_metadata(
        &self,
        external_id: &str,
        metadata: impl Into<Patch<JsonObject>>,
        checksum: Option<&str>,
    ) -> Result<MetadataUpdated, Error> {
        let update = metadata_update(metadata.into(), checksum);
        self.send_update(UpdateItemMetadata::new(self.id.as_str(), external_id, update), checksum.is_some()).await
    }

    /// Reads the metadata of the run, changes them with `edit`, and writes them unless another caller has changed them
    /// in the meantime. After a conflict, it starts again, up to five attempts in total. A run without metadata has no
    /// checksum. A concurrent write is then not detected, and the last write wins.
    ///
    /// # Errors
    ///
    /// [`Error::is_conflict`]: other callers changed the metadata in each attempt. Otherwise a request failed.
    pub async fn edit_metadata(&self, edit: impl Fn(&mut JsonObject)) -> Result<MetadataUpdated, Error> {
        let run = self.clone().no_cache();
        let run = &run;
        let read = || async move {
            let run = run.get().await?;
            Ok(CurrentMetadata { metadata: run.custom_metadata, checksum: run.custom_metadata_checksum })
        };
        let write = |metadata: JsonObject, checksum: Option<String>| async move {
            run.update_metadata(metadata, checksum.as_deref()).await
        };
        compare_and_swap(read, edit, write).await
    }

    /// Edits the metadata of an item, like [`edit_metadata`](Self::edit_metadata).
    ///
    /// # Errors
    ///
    /// The same as [`edit_metadata`](Self::edit_metadata).
    pub async fn edit_item_metadata(
        &self,
        external_id: &str,
        edit: impl Fn(&mut JsonObject),
    ) -> Result<MetadataUpdated, Error> {
        let run = self.clone().no_cache();
        let run = &run;
        let read = || async move {
            let item = run.item(external_id).await?;
            Ok(CurrentMetadata { metadata: item.custom_metadata, checksum: item.custom_metadata_checksum })
        };
        let write = |metadata: JsonObject, checksum: Option<String>| async move {
            run.update_item_metadata(external_id, metadata, checksum.as_deref()).await
        };
        compare_and_swap(read, edit, write).await
    }

    /// Sends an update. `sends_once` is true for an update with a checksum, because a retry after a lost response would
    /// conflict with the first attempt.
    async fn send_update<O>(&self, operation: O, sends_once: bool) -> Result<MetadataUpdated, Error>
    where
        O: Operation<Output = MetadataUpdated>,
    {
        let (core, timeout) = (&self.client.core, self.client.settings().run.timeout);
        if sends_once {
            core.change_once(operation, timeout, &[Group::Run]).await
        } else {
            core.change(operation, timeout, &[Group::Run]).await
        }
    }
}

fn metadata_update(metadata: Patch<JsonObject>, checksum: Option<&str>) -> MetadataUpdate {
    let update = MetadataUpdate::new().with_custom_metadata(metadata);
    checksum.into_iter().fold(update, MetadataUpdate::with_custom_metadata_checksum)
}

/// Reads, edits and writes metadata until no other caller has changed them in the meantime.
async fn compare_and_swap<R, P>(
    read: impl Fn() -> R,
    edit: impl Fn(&mut JsonObject),
    write: impl Fn(JsonObject, Option<String>) -> P,
) -> Result<MetadataUpdated, Error>
where
    R: Future<Output = Result<CurrentMetadata, Error>>,
    P: Future<Output = Result<MetadataUpdated, Error>>,
{
    for attempt in 1..=MAX_ATTEMPTS {
        let CurrentMetadata { metadata, checksum } = read().await?;
        let mut metadata = metadata.unwrap_or_default();
        edit(&mut metadata);
        match write(metadata, checksum).await {
            Err(error) if error.is_conflict() => {
                tracing::debug!("the metadata were changed concurrently");
                // Reads lag behind writes, and other callers retry at the same time.
                pause(PAUSE_STEP.mul_f64(f64::from(attempt) + fastrand::f64())).await;
            }
            outcome => return outcome,
        }
    }
    Err(Error::contended(MAX_ATTEMPTS))
}

#[expect(clippy::disallowed_methods, reason = "concurrent changes can only be polled")]
async fn pause(time: Duration) {
    tokio::time::sleep(time).await;
}
