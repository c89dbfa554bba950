use std::error::Error;
use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::{StreamExt, stream};
use serde::{Serialize, Serializer};

use super::{Bucket, ObjectEntry};
use crate::{
    DownloadError, Downloader, Expected, FileRecord, Outcome, Progress, ResolvedUrl, Source, Target, safe_paths,
};

/// The lifetime of a signed URL. The URL is signed right before its use, and again after it has expired.
const URL_LIFETIME: Duration = Duration::from_secs(15 * 60);

/// The result of downloading an object.
#[derive(Debug)]
#[non_exhaustive]
pub struct DownloadedObject {
    /// The key of the object.
    pub key: String,
    /// The path of its file relative to the folder, with `/` between folders.
    pub file: String,
    /// The file, or the error.
    pub result: Result<Outcome, DownloadError>,
}

/// The source of an object in a bucket.
#[derive(Debug)]
struct ObjectSource<'a> {
    bucket: &'a Bucket,
    key: &'a str,
}

#[async_trait]
impl Source for ObjectSource<'_> {
    async fn resolve(&self) -> Result<ResolvedUrl, Box<dyn Error + Send + Sync>> {
        Ok(self.bucket.get_url(self.key, URL_LIFETIME)?.into())
    }
}

/// Serializes the key, the file and the [record](FileRecord) of the file.
impl Serialize for DownloadedObject {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Members<'a> {
            key: &'a str,
            file: &'a str,
            #[serde(flatten)]
            record: FileRecord,
        }
        let record = FileRecord::of(self.result.as_ref().map_err(|error| error as &dyn Error));
        Members { key: &self.key, file: &self.file, record }.serialize(serializer)
    }
}

impl Bucket {
    /// Downloads several objects at a time into a folder. The segments of a key become subfolders; names that a file
    /// system does not accept are escaped. A file that already has the content of its object is not downloaded again.
    /// `observer` is called with the progress of all files.
    pub async fn download(
        &self,
        objects: &[ObjectEntry],
        folder: &Path,
        downloader: &Downloader,
        observer: &(dyn Fn(Progress) + Sync),
    ) -> Vec<DownloadedObject> {
        let keys: Vec<_> = objects.iter().map(|entry| entry.key.as_str()).collect();
        let targets = safe_paths(&keys).into_iter().map(|names| Target::within(folder, names));
        let downloads = objects.iter().zip(targets).map(async |(entry, target)| {
            let source = ObjectSource { bucket: self, key: &entry.key };
            let result = downloader.fetch(&source, Expected::unknown(), &target, &observer).await;
            DownloadedObject { key: entry.key.clone(), file: target.relative(), result }
        });
        stream::iter(downloads).buffered(downloader.workers()).collect().await
    }
}
