//! Uploads of the slides in a table.

use std::path::Path;

use auth_core::error_chain;
use platform_resources::{Upload, UploadFile, UploadStep, Uploaded, Uploader};
use tokio::sync::mpsc::{self, UnboundedReceiver};
use tokio::task::spawn_blocking;

use crate::error::Error;
use crate::event::{Event, Observer};
use crate::metadata::media_types;
use crate::object_keys::{ObjectKeys, SlideLocation, upload_obstacle};
use crate::table::{CHECKSUM, SlideTable, URL};

/// The result of uploading a slide.
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

/// The numbers of slides that were sent and that were already in the bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UploadSummary {
    /// Slides that were sent.
    pub sent: usize,
    /// Slides that were already in the bucket.
    pub already_present: usize,
}

impl UploadSummary {
    /// Counts uploads.
    ///
    /// # Errors
    ///
    /// [`Error::is_incomplete`] if an upload failed, with a line for each.
    pub fn of(uploads: &[SlideUpload]) -> Result<Self, Error> {
        let failed: Vec<_> = uploads.iter().filter_map(|upload| Some(upload.result.as_ref().err()?.clone())).collect();
        if !failed.is_empty() {
            let text = format!(
                "{} of {} slides were not uploaded: repeat the command to upload the rest",
                failed.len(),
                uploads.len()
            );
            return Err(Error::incomplete(text, failed));
        }
        let already_present =
            uploads.iter().filter(|upload| upload.result.as_ref().is_ok_and(|object| object.already_present)).count();
        Ok(Self { sent: uploads.len() - already_present, already_present })
    }
}

/// Uploads the slides of a table, and writes the URL of each to the table when its upload is complete. A slide that is
/// already in the bucket is not sent again.
///
/// # Errors
///
/// [`Error::is_input`]: the file of a slide is missing, and nothing was uploaded. Otherwise the table cannot be
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
            problems.push(format!("{}: {problem}", row.named()));
            continue;
        }
        // Resolves links, so that a folder of links to slides works.
        let path = path.canonicalize().unwrap_or(path);
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
    let (done, ready) = mpsc::unbounded_channel();
    let observer = observer.clone();
    let uploader = Uploader::new(keys.bucket.clone()).with_observer(move |event| {
        observer(Event::Uploading { done: event.total_done, total: event.total_bytes });
        if matches!(event.step, UploadStep::Sent | UploadStep::WasThere) {
            // The receiver lives until all uploads have ended.
            let _ = done.send(event.file.key().to_owned());
        }
    });
    let uploading = async move {
        let uploads = uploader.upload(files).await;
        // Closes the channel.
        drop(uploader);
        uploads
    };
    let (uploads, written) = tokio::join!(Box::pin(uploading), write(csv, ready, urls));
    written?;
    Ok(uploads)
}

/// Writes the URLs of slides to the table as they are uploaded. The table is read again each time, under its lock:
/// users edit it, and other processes upload.
async fn write(
    csv: &Path,
    mut ready: UnboundedReceiver<String>,
    urls: Vec<(String, (String, String))>,
) -> Result<(), Error> {
    let mut done = Vec::new();
    while ready.recv_many(&mut done, usize::MAX).await > 0 {
        let named: Vec<_> = urls.iter().filter(|(key, _)| done.contains(key)).map(|(_, slide)| slide.clone()).collect();
        let csv = csv.to_owned();
        let failed = |error| Error::io("the table cannot be written", std::io::Error::other(error));
        spawn_blocking(move || set_urls(&csv, &named)).await.map_err(failed)??;
        done.clear();
    }
    Ok(())
}

fn set_urls(csv: &Path, slides: &[(String, String)]) -> Result<(), Error> {
    let set = |table: &mut SlideTable| {
        table.require(URL);
        for (external_id, url) in slides {
            for row in table.rows.iter_mut().filter(|row| row.external_id() == external_id) {
                row.set(URL, url);
            }
        }
        Ok(())
    };
    SlideTable::update(csv, set).map(drop)
}
