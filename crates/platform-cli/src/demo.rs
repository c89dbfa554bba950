//! `aignostics demo`: the complete workflow through the public crates, with an emulator in this process.

mod slides;
mod user;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use auth_core::{Clock, SystemClock, TokenSource};
use auth_http::HttpClient;
use auth_oauth::{DeviceLogin, Endpoints, JwtVerifier, OAuthClient};
use clap::Args;
use futures_util::TryStreamExt;
use platform_download::{Bucket, FolderError, ResultFolder, SignError, UploadFile, Uploader};
use platform_emulator::{AUDIENCE, DEVICE_CLIENT_ID, Emulator};
use platform_resources::models::{
    ApplicationId, ApplicationVersion, InputArtifactSubmission, ItemSubmission, RunSubmission,
};
use platform_resources::{Client, Settings, validate};
use terminal::{Output, ProgressBars, Unit};

use crate::error::CliError;
use crate::progress::RunBars;
use crate::results;
use slides::Slide;

const STEPS: u8 = 8;

#[derive(Args)]
pub(crate) struct Arguments {
    /// Folder with slides (TIFF, BigTIFF or SVS); without it, the demo creates three small ones. Hidden files and
    /// subfolders are ignored; any other file that is not a slide is an error
    #[arg(long, value_name = "DIR")]
    slides: Option<PathBuf>,
    /// Folder for the slides that the demo creates, which stay there; without it, they are deleted
    #[arg(long, value_name = "DIR", conflicts_with = "slides")]
    keep_slides: Option<PathBuf>,
    /// Folder for the results; files that already exist are not fetched again
    #[arg(long, value_name = "DIR", default_value = "aignostics-demo")]
    output: PathBuf,
}

pub(crate) async fn run(arguments: Arguments, output: &Output) -> Result<(), CliError> {
    let progress = ProgressBars::new(output);
    let results = open_results(&arguments.output).await?;

    let emulator = Emulator::start().await.context("cannot start the emulator")?;
    let (api, issuer) = (emulator.api_root(), emulator.issuer());
    step(&progress, 1, &format!("emulator started: API {api}, identity provider {issuer}"));
    let client = log_in(&emulator, &progress).await?;
    let (application, version) = pick_application(&client).await?;
    step(&progress, 3, &format!("application {application} {}", version.version_number));

    let sources = slides::Slides::open(arguments.slides, arguments.keep_slides).await?;
    let slides = sources.read().await?;
    for slide in &slides {
        step(&progress, 4, &slide.to_string());
    }
    let names: Vec<_> = slides.iter().map(|slide| slide.name.as_str()).collect();
    results.create_subfolders(&names).await.map_err(folder_error)?;

    let bucket = client.bucket().await?;
    let submission = build_submission(&application, &version, &slides, &bucket)?;
    validate(&version, &submission, SystemClock.now()).map_err(CliError::bad_input)?;
    upload_all(&bucket, &slides, &progress).await?;
    let run = client.runs().submit(submission).await?;
    step(&progress, 6, &format!("all items match the schema of the application; run {} submitted", run.id()));

    step(&progress, 7, "following the run and downloading its results");
    let bars = RunBars::new(&progress);
    let report = run.download(results).with_observer(move |event| bars.show(&event)).follow().await?;
    step(&progress, 8, &format!("run {} has ended", run.id()));
    results::print(&report, &arguments.output, output)
}

fn step(bars: &ProgressBars, number: u8, text: &str) {
    bars.note(&format!("[{number}/{STEPS}] {text}"));
}

/// Opens the result folder before anything is uploaded or billed, so that its errors cost nothing.
async fn open_results(path: &Path) -> Result<ResultFolder, CliError> {
    ResultFolder::open(path).await.map_err(folder_error)
}

fn folder_error(error: FolderError) -> CliError {
    anyhow::Error::from(error).context("cannot use the result folder; choose another with --output").into()
}

/// Logs in over HTTP with the device flow, and verifies the token.
async fn log_in(emulator: &Emulator, progress: &ProgressBars) -> Result<Client, CliError> {
    let http = HttpClient::builder().with_plain_loopback().build()?;
    let endpoints = Endpoints::auth0(emulator.issuer())?;
    let jwks = endpoints.jwks.clone().context("the emulator publishes no keys")?;
    let verifier = JwtVerifier::new(http.clone(), emulator.issuer().as_str(), AUDIENCE, jwks);
    let prompt = Arc::new(user::DemoUser::new(http.clone(), progress.clone()));
    let client = OAuthClient::new(http, endpoints, DEVICE_CLIENT_ID)
        .with_audience(AUDIENCE)
        .with_scopes(["offline_access"])
        .with_verifier(verifier);
    let tokens = TokenSource::new(client.token_key().build(), DeviceLogin::new(client, prompt));
    tokens.token().await?;
    let mut settings = Settings::at(emulator.api_root())?;
    settings.bucket.endpoint = emulator.storage().clone();
    let client = Client::builder(settings).with_tokens(tokens).build()?;
    let me = client.me().await?;
    let name = me.user.name.unwrap_or(me.user.id);
    step(progress, 2, &format!("logged in as {name} of {}; the token is verified", me.organization.id));
    Ok(client)
}

async fn pick_application(client: &Client) -> Result<(ApplicationId, ApplicationVersion), CliError> {
    let applications: Vec<_> = client.applications().list().try_collect().await?;
    let first_available = applications
        .into_iter()
        .find_map(|application| Some((application.application_id, application.latest_version?.number)));
    let (id, latest) = first_available.context("no application is available to the user")?;
    let version = client.applications().version(&id, &latest).await?;
    Ok((id, version))
}

/// Returns the submission of one run of all slides, with signed URLs of objects that are uploaded later.
fn build_submission(
    application: &ApplicationId,
    version: &ApplicationVersion,
    slides: &[Slide],
    bucket: &Bucket,
) -> Result<RunSubmission, CliError> {
    let input = version.input_artifacts.first().context("the application has no inputs")?.name.as_str();
    let item = |slide: &Slide| {
        let url = bucket.get_url(&slide.object_key(), None)?;
        let artifact = InputArtifactSubmission::new(input, url, slide.describe());
        Ok(ItemSubmission::new(slide.name.as_str(), vec![artifact]))
    };
    let items = slides.iter().map(item).collect::<Result<Vec<_>, SignError>>()?;
    Ok(RunSubmission::new(application.as_str(), items).with_version_number(version.version_number.as_str()))
}

/// Uploads the slides to the organization's bucket.
async fn upload_all(bucket: &Bucket, slides: &[Slide], progress: &ProgressBars) -> Result<(), CliError> {
    let bytes = slides.iter().map(|slide| slide.metadata.bytes).sum();
    let bar = progress.bar("uploading", Unit::Bytes, bytes);
    let file = |slide: &Slide| {
        // Resolves links, so that a folder of links to slides works.
        let path = slide.path.canonicalize().unwrap_or_else(|_| slide.path.clone());
        let file = UploadFile::new(path, slide.object_key()).with_content_type(slide.metadata.media_type);
        file.with_crc32c(slide.crc32c())
    };
    let observer_bar = bar.clone();
    let uploader =
        Uploader::new(bucket.clone()).with_observer(move |event| observer_bar.set_position(event.total_done));
    for upload in uploader.upload(slides.iter().map(file)).await {
        upload.result?;
    }
    bar.finish();
    step(progress, 5, &format!("{} slides uploaded, {}", slides.len(), terminal::bytes(bytes)));
    Ok(())
}
