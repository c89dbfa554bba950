use std::path::{Path, PathBuf};

use clap::Args;
use platform_resources::{Upload, UploadFile, UploadStep, Uploaded, Uploader};
use serde_json::{Value, json};
use tokio::sync::mpsc::{self, UnboundedReceiver};
use tokio::task::spawn_blocking;

use super::input::{Application, Force, Version};
use super::place::{self, Place, Places, Where};
use super::submission::media_types;
use super::table::{CHECKSUM, Table, URL};
use crate::access::Shell;
use crate::bars::Screen;
use crate::exit::Failure;
use crate::output::{self, Output};
use crate::results::chain;
use crate::shown::shown;

#[derive(Args)]
pub(crate) struct Arguments {
    /// The application that the slides are for.
    #[arg(value_name = "APPLICATION")]
    application: String,
    /// The table of the slides; where each lies in the bucket is written into it.
    #[arg(value_name = "CSV")]
    csv: PathBuf,
    #[command(flatten)]
    version: Version,
    #[command(flatten)]
    to: Where,
    /// For runs that go to the portal.
    #[arg(long, overrides_with = "no_onboard_to_aignostics_portal")]
    onboard_to_aignostics_portal: bool,
    /// For other runs: so it is unless something is said.
    #[arg(long, overrides_with = "onboard_to_aignostics_portal", hide = true)]
    no_onboard_to_aignostics_portal: bool,
    #[command(flatten)]
    force: Force,
}

pub(crate) async fn run(arguments: Arguments, shell: &Shell) -> Result<(), Failure> {
    let table = Table::read(&arguments.csv)?;
    let client = shell.client()?;
    let work = async {
        arguments.force.check(&client, shell).await?;
        let application = Application::find(&client, &arguments.application, &arguments.version).await?;
        let places = arguments.to.places(&client, &application, arguments.onboard_to_aignostics_portal).await?;
        upload(&arguments.csv, &table, &places, &shell.output).await
    };
    let files = shell.within(Box::pin(work)).await?;
    let shapes: Vec<_> = files.iter().map(shape).collect();
    let whole = json!({ "csv": arguments.csv.display().to_string(), "files": shapes });
    shell.output.one(&whole, || text(&files, &shell.output))?;
    judge(&files)
}

/// A slide that was to be uploaded.
pub(super) struct File {
    external_id: String,
    url: String,
    result: Result<Uploaded, String>,
}

/// Uploads the slides of a table, and writes into it where each lies as soon as it does. What is there is not sent again.
pub(super) async fn upload(csv: &Path, table: &Table, places: &Places, output: &Output) -> Result<Vec<File>, Failure> {
    let (mut slides, mut files, mut problems) = (Vec::new(), Vec::new(), Vec::new());
    for (row, place) in table.rows.iter().zip(places.of(&table.rows)?) {
        let Place::Own(key) = place else { continue };
        if let Some(problem) = place::missing(row) {
            problems.push(format!("{}: {problem}", row.named()));
            continue;
        }
        // A folder of links to slides is one of slides.
        let path = row.path().canonicalize().unwrap_or_else(|_| row.path());
        let file = UploadFile::new(path, &key).with_content_type(media_types(row.external_id())[0]);
        let checksum = row.get(CHECKSUM).parse().ok();
        files.push(checksum.into_iter().fold(file, UploadFile::with_crc32c));
        slides.push((row.external_id().to_owned(), places.url(&key)?));
    }
    if !problems.is_empty() {
        return Err(Failure::problems("slides cannot be read: nothing was uploaded", problems));
    }
    let urls: Vec<_> = files.iter().map(|file| file.key().to_owned()).zip(slides.iter().cloned()).collect();
    let (done, ready) = mpsc::unbounded_channel();
    let bar = Screen::new(output.has_bars()).upload(0);
    let shown = bar.clone();
    let uploader = Uploader::new(places.bucket.clone()).with_observer(move |event| {
        shown.set_length(event.total_bytes);
        shown.set_position(event.total_done);
        if matches!(event.step, UploadStep::Sent | UploadStep::WasThere) {
            // The other end is there until all is uploaded.
            let _ = done.send(event.file.key().to_owned());
        }
    });
    let uploading = async move {
        let uploads = uploader.upload(files).await;
        // Nothing more comes: so does the writing end.
        drop(uploader);
        uploads
    };
    let (uploads, written) = tokio::join!(Box::pin(uploading), write(csv, ready, urls));
    bar.finish_and_clear();
    written?;
    let files = slides.into_iter().zip(uploads);
    Ok(files
        .map(|((external_id, url), Upload { result, .. })| File {
            external_id,
            url,
            result: result.map_err(|error| chain(&error)),
        })
        .collect())
}

/// Writes the places of slides into the table, as they are done. The table is read again each time: somebody may edit it.
async fn write(
    csv: &Path,
    mut ready: UnboundedReceiver<String>,
    urls: Vec<(String, (String, String))>,
) -> Result<(), Failure> {
    let mut done = Vec::new();
    while ready.recv_many(&mut done, usize::MAX).await > 0 {
        let named: Vec<_> = urls.iter().filter(|(key, _)| done.contains(key)).map(|(_, slide)| slide.clone()).collect();
        let csv = csv.to_owned();
        spawn_blocking(move || note(&csv, &named)).await??;
        done.clear();
    }
    Ok(())
}

fn note(csv: &Path, slides: &[(String, String)]) -> Result<(), Failure> {
    let mut table = Table::read(csv)?;
    let before = table.clone();
    table.require(URL);
    for (external_id, url) in slides {
        for row in table.rows.iter_mut().filter(|row| row.external_id() == external_id) {
            row.set(URL, url);
        }
    }
    if table == before { Ok(()) } else { table.write(csv) }
}

/// Whether all are there.
pub(super) fn judge(files: &[File]) -> Result<(), Failure> {
    let failed = files.iter().filter_map(|file| Some(file.result.as_ref().err()?.clone()));
    let failed: Vec<_> = failed.collect();
    if failed.is_empty() {
        return Ok(());
    }
    let text =
        format!("{} of {} slides were not uploaded: call again, it goes on from here", failed.len(), files.len());
    Err(Failure::several(text, failed))
}

/// How many were sent, and how many were there.
pub(super) fn summary(files: &[File]) -> String {
    let there = files.iter().filter(|file| file.result.as_ref().is_ok_and(|uploaded| uploaded.was_there)).count();
    let sent = files.iter().filter(|file| file.result.as_ref().is_ok_and(|uploaded| !uploaded.was_there)).count();
    format!("{sent} slides uploaded, {there} were there")
}

fn shape(file: &File) -> Value {
    let uploaded = file.result.as_ref();
    json!({
        "external_id": file.external_id,
        "platform_bucket_url": uploaded.ok().map(|_| &file.url),
        "bytes": uploaded.ok().map(|uploaded| uploaded.bytes),
        "crc32c": uploaded.ok().map(|uploaded| uploaded.crc32c),
        "was_there": uploaded.ok().map(|uploaded| uploaded.was_there),
        "error": uploaded.err(),
    })
}

fn text(files: &[File], output: &Output) -> String {
    let mut table = output.table(["slide", "state", "bytes", "place"]);
    for file in files {
        let (state, bytes, url) = match &file.result {
            Ok(Uploaded { was_there: true, bytes, .. }) => ("was there", bytes.to_string(), file.url.as_str()),
            Ok(uploaded) => ("uploaded", uploaded.bytes.to_string(), file.url.as_str()),
            Err(_) => ("FAILED", String::new(), ""),
        };
        table.add_row([shown(&file.external_id), state.to_owned(), bytes, shown(url)]);
    }
    output::text(&table)
}
