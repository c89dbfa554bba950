//! Uploads of the slides in a table.

use std::path::Path;

use auth_core::error_chain;
use platform_resources::{Upload, UploadFile, UploadStep, Uploaded, Uploader};
use serde::{Serialize, Serializer};
use serde_json::json;
use tokio::sync::mpsc::{self, UnboundedReceiver};
use tokio::task::spawn_blocking;

use crate::error::Error;
use crate::event::{Event, Observer};
use crate::metadata::media_types;
use crate::object_keys::{ObjectKeys, SlideLocation, upload_obstacle};
use crate::table::{CHECKSUM, SlideTable, URL};

/// The result of the upload of a slide.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SlideUpload {
    /// The id of the slide.
    pub external_id: String,
    /// The URL of the slide in the bucket.
    pub url: String,
    /// The object, or the reason why the upload failed.
    pub result: Result<Uploaded, String>,
}

/// Serializes the id, the URL of an uploaded slide, and the properties of its object or the reason of the failure.
impl Serialize for SlideUpload {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let uploaded = self.result.as_ref().ok();
        let record = json!({
            "external_id": self.external_id,
            "platform_bucket_url": uploaded.map(|_| &self.url),
            "bytes": uploaded.map(|uploaded| uploaded.bytes),
            "crc32c": uploaded.map(|uploaded| uploaded.crc32c),
            "already_present": uploaded.map(|uploaded| uploaded.already_present),
            "error": self.result.as_ref().err(),
        });
        record.serialize(serializer)
    }
}

/// The numbers of slides that were sent, and of slides that were already in the bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UploadSummary {
    /// The number of slides that were sent.
    pub sent: usize,
    /// The number of slides that were already in the bucket.
    pub already_present: usize,
}

impl UploadSummary {
    /// Counts the uploads.
    ///
    /// # Errors
    ///
    /// [`Error::is_incomplete`]: an upload failed; [`Error::details`] has a line for each failed upload.
    pub fn of(uploads: &[SlideUpload]) -> Result<Self, Error> {
        let failures: Vec<_> =
            uploads.iter().filter_map(|upload| Some(upload.result.as_ref().err()?.clone())).collect();
        if !failures.is_empty() {
            let message = format!(
                "{} of {} slides were not uploaded: repeat the command to upload the rest",
                failures.len(),
                uploads.len()
            );
            return Err(Error::incomplete(message, failures));
        }
        let already_present =
            uploads.iter().filter(|upload| upload.result.as_ref().is_ok_and(|object| object.already_present)).count();
        Ok(Self { sent: uploads.len() - already_present, already_present })
    }
}

/// Uploads the slides in `table`, and writes the URL of each slide to the file `csv` when its upload is complete. A
/// slide that is already in the bucket is not sent again.
///
/// # Errors
///
/// [`Error::is_input`]: the file of a slide cannot be read, and nothing was uploaded. Otherwise the table cannot be
/// written. A failed upload is not an error of this function: [`UploadSummary::of`] reports it.
pub async fn upload(
    csv: &Path,
    table: &SlideTable,
    keys: &ObjectKeys,
    observer: &Observer,
) -> Result<Vec<SlideUpload>, Error> {
    let (mut slides, mut files, mut problems) = (Vec::new(), Vec::new(), Vec::new());
    for (row, location) in table.rows.iter().zip(keys.locate(table)?) {
        let SlideLocation::Object(key) = location else { continue };
        let path = table.path_of(row);
        if let Some(problem) = upload_obstacle(table, row) {
            problems.push(format!("{}: {problem}", row.label()));
            continue;
        }
        // Links are resolved, so that the slides can be symbolic links.
        let path = dunce::canonicalize(&path).unwrap_or(path);
        let file = UploadFile::new(&path, &key).with_content_type(media_types(&table.path_of(row))[0]);
        let checksum = row.get(CHECKSUM).parse().ok();
        files.push(checksum.into_iter().fold(file, UploadFile::with_crc32c));
        slides.push((row.external_id().to_owned(), keys.url(&key)?));
    }
    if !problems.is_empty() {
        return Err(Error::inputs("slides cannot be read: nothing was uploaded", problems));
    }
    let uploads = send(csv, files, &slides, keys, observer).await?;
    let results = slides.into_iter().zip(uploads);
    Ok(results
        .map(|((external_id, url), Upload { result, .. })| SlideUpload {
            external_id,
            url,
            result: result.map_err(|error| error_chain(&error)),
        })
        .collect())
}

async fn send(
    csv: &Path,
    files: Vec<UploadFile>,
    slides: &[(String, String)],
    keys: &ObjectKeys,
    observer: &Observer,
) -> Result<Vec<Upload>, Error> {
    let urls: Vec<_> = files.iter().map(|file| file.key().to_owned()).zip(slides.iter().cloned()).collect();
    let (sender, uploaded_keys) = mpsc::unbounded_channel();
    let observer = observer.clone();
    let uploader = Uploader::new(keys.bucket.clone()).with_observer(move |event| {
        observer(Event::Uploading { done: event.total_done, total: event.total_bytes });
        if matches!(event.step, UploadStep::Sent | UploadStep::AlreadyPresent) {
            // Sending cannot fail, because the receiver exists until all uploads have ended.
            let _ = sender.send(event.file.key().to_owned());
        }
    });
    let uploads = async move {
        let uploads = uploader.upload(files).await;
        // Closes the channel, so that `write_urls` ends.
        drop(uploader);
        uploads
    };
    let (uploads, outcome) = tokio::join!(Box::pin(uploads), write_urls(csv, uploaded_keys, urls));
    outcome?;
    Ok(uploads)
}

/// Writes the URLs of slides to the table as they are uploaded. The table is locked and read again for each write,
/// because users and other processes may change it during the upload.
async fn write_urls(
    csv: &Path,
    mut uploaded_keys: UnboundedReceiver<String>,
    urls: Vec<(String, (String, String))>,
) -> Result<(), Error> {
    let mut keys = Vec::new();
    while uploaded_keys.recv_many(&mut keys, usize::MAX).await > 0 {
        let uploaded_slides: Vec<_> =
            urls.iter().filter(|(key, _)| keys.contains(key)).map(|(_, slide)| slide.clone()).collect();
        let csv = csv.to_owned();
        let write_error = |error| Error::io("the table cannot be written", std::io::Error::other(error));
        spawn_blocking(move || set_urls(&csv, &uploaded_slides)).await.map_err(write_error)??;
        keys.clear();
    }
    Ok(())
}

fn set_urls(csv: &Path, slides: &[(String, String)]) -> Result<(), Error> {
    let set = |table: &mut SlideTable| {
        table.ensure_column(URL);
        for (external_id, url) in slides {
            for row in table.rows.iter_mut().filter(|row| row.external_id() == external_id) {
                row.set(URL, url);
            }
        }
        Ok(())
    };
    SlideTable::update(csv, set).map(drop)
}
