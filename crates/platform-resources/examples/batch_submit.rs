//! Submits a batch of slides in the organization's bucket exactly once, even if a response is lost: `cargo run
//! --features login,download --example batch_submit -- he-tme batch-7 a.tiff b.tiff`.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "an example prints")]

use auth_core::error_chain;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use async_trait::async_trait;
use auth_core::{Clock, SystemClock};
use platform_resources::models::{InputArtifactSubmission, ItemSubmission, RunSubmission};
use platform_resources::{Client, RunSdkMetadata, SubmissionIntent, SubmissionJournal};

/// A journal with one file per intent in a folder. Intents are synced before a run is submitted.
#[derive(Debug)]
struct FolderJournal(PathBuf);

#[async_trait]
impl SubmissionJournal for FolderJournal {
    async fn read(&self, key: &str) -> io::Result<Option<SubmissionIntent>> {
        match fs::read(self.0.join(key)) {
            Ok(intent) => Ok(Some(serde_json::from_slice(&intent)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn write(&self, key: &str, intent: Option<&SubmissionIntent>) -> io::Result<()> {
        let Some(intent) = intent else { return fs::remove_file(self.0.join(key)) };
        let path = self.0.join(format!("{key}.new"));
        fs::write(&path, serde_json::to_vec(intent)?)?;
        fs::File::open(&path)?.sync_all()?;
        fs::rename(path, self.0.join(key))?;
        fs::File::open(&self.0)?.sync_all()
    }
}

async fn run() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let mut arguments = std::env::args().skip(1);
    let (application, key) =
        arguments.next().zip(arguments.next()).ok_or("an application, a key and slides are needed")?;
    let client = Client::from_env()?;
    let bucket = client.bucket().await?;
    let mut items = Vec::new();
    for slide in arguments {
        let url = bucket.get_url(&slide, None)?;
        // Add the metadata that the application requires: see `input_artifacts` of its version.
        let metadata = serde_json::Map::new();
        items.push(ItemSubmission::new(slide, vec![InputArtifactSubmission::new("whole_slide_image", url, metadata)]));
    }
    let mut metadata = serde_json::Map::new();
    RunSdkMetadata::new("batch/1.0").with_tag(&key).write(&mut metadata, SystemClock.now())?;
    let submission = RunSubmission::new(application, items).with_custom_metadata(metadata);
    let journal = FolderJournal(PathBuf::from("."));
    match client.runs().submit_once(key, submission, &journal).submit().await {
        Ok(submitted) => println!("{}", submitted.run.id()),
        Err(error) => {
            error.problems().iter().for_each(|problem| println!("{problem}"));
            return Err(error.into());
        }
    }
    Ok(())
}

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", error_chain(&*error));
            ExitCode::FAILURE
        }
    }
}
