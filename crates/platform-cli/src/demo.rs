//! `aignostics demo`: the main job from end to end, through the crates that a user would use, on an
//! emulator in this process.

mod progress;
mod slides;
mod summary;
mod user;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use auth_core::{Secret, TokenKey, TokenSource};
use auth_http::HttpClient;
use auth_oauth::{DeviceLogin, Endpoints};
use clap::Args;
use futures_util::TryStreamExt;
use platform_download::{DownloadError, upload};
use platform_emulator::{AUDIENCE, DEVICE_CLIENT_ID, Emulator};
use platform_resources::models::{
    ApplicationSummary, InputArtifactSubmission, ItemSubmission, RunSubmission, VersionNumber,
};
use platform_resources::{Client, Error, RunHandle, RunReport};

use crate::exit::Failure;
use progress::Progress;
use slides::Slide;

/// How long a slide may take to be uploaded.
const UPLOAD_LIFETIME: Duration = Duration::from_secs(2 * 60 * 60);
/// The platform wants to fetch a slide for at least six days after the run was submitted.
const SLIDE_LIFETIME: Duration = Duration::from_secs(7 * 24 * 60 * 60);

#[derive(Args)]
pub(crate) struct Arguments {
    /// The folder with the slides (TIFF or BigTIFF, .svs too); without it, three small ones are made.
    #[arg(long, value_name = "DIR")]
    slides: Option<PathBuf>,
    /// The folder for the results. What is in it already is not fetched again.
    #[arg(long, value_name = "DIR", default_value = "aignostics-demo")]
    output: PathBuf,
}

pub(crate) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let progress = Progress::new();
    slides::check_writable(&arguments.output).await?;

    let emulator = Emulator::start().await.context("the emulator could not be started")?;
    let (api, identity) = (emulator.api_root(), emulator.issuer());
    progress.step(1, &format!("the emulator is up: API {api}, identity provider {identity}"));
    let client = log_in(&emulator, &progress).await?;
    let (application, version) = pick_application(&client).await?;
    progress.step(3, &format!("application {} {version}: {}", application.application_id, application.name));

    let folder = slides::Folder::new(arguments.slides)?;
    let slides = folder.read().await?;
    for slide in &slides {
        progress.step(4, &slide.to_string());
    }
    let urls = upload_all(&client, &slides, &progress).await?;
    let run = submit(&client, &application, &version, &slides, &urls).await?;
    progress.step(6, &format!("every item fits the schema of the application; run {} is submitted", run.id()));

    progress.step(7, "following the run and downloading what is finished");
    let bars = progress.follow();
    let report = run.download(&arguments.output).with_observer(move |event| bars.show(event)).follow().await?;
    progress.step(8, &format!("run {} has ended", run.id()));
    summary::print(&report, &arguments.output)?;
    judge(&report)
}

/// Logs in over HTTP by the device flow, and verifies the token that comes of it.
async fn log_in(emulator: &Emulator, progress: &Progress) -> Result<Client, Failure> {
    let http = HttpClient::builder().with_plain_loopback().build()?;
    let endpoints = Endpoints::of_issuer(emulator.issuer())?;
    let prompt = Arc::new(user::DemoUser::new(http.clone(), progress.clone()));
    let login = DeviceLogin::new(http, endpoints, DEVICE_CLIENT_ID, prompt)
        .with_audience(AUDIENCE)
        .with_scopes(["offline_access"]);
    let key = TokenKey::new(emulator.issuer().as_str()).with_client_id(DEVICE_CLIENT_ID).with_audience(AUDIENCE);
    let tokens = TokenSource::new(key, Arc::new(login));
    tokens.token().await?;
    let client = Client::builder(emulator.api_root().clone(), tokens).with_plain_loopback();
    let client = client.with_storage_endpoint(emulator.storage().clone()).build()?;
    let me = client.me().await?;
    let name = me.user.name.unwrap_or(me.user.id);
    progress.step(2, &format!("logged in as {name} of {}; the token is verified", me.organization.id));
    Ok(client)
}

async fn pick_application(client: &Client) -> Result<(ApplicationSummary, VersionNumber), Failure> {
    let applications: Vec<_> = client.applications().list().try_collect().await?;
    let open = applications.into_iter().find_map(|application| {
        let version = application.latest_version.as_ref()?.number.clone();
        Some((application, version))
    });
    Ok(open.context("no application is open to the user")?)
}

/// Uploads the slides to the bucket of the organisation, and makes a URL for each that the platform can fetch it from.
async fn upload_all(client: &Client, slides: &[Slide], progress: &Progress) -> Result<Vec<Secret>, Failure> {
    let bucket = client.bucket().await?;
    let bytes = slides.iter().map(|slide| slide.metadata.bytes).sum();
    let bar = progress.upload(bytes);
    let mut urls = Vec::new();
    for slide in slides {
        let key = format!("slides/{}", slide.name);
        let to = bucket.put_url(&key, UPLOAD_LIFETIME)?;
        let bar = bar.clone();
        let sent = Arc::new(move |bytes| bar.inc(bytes));
        upload(client.storage_http(), &slide.path, slide.crc32c(), slides::MEDIA_TYPE, to, sent).await?;
        urls.push(Secret::new(bucket.get_url(&key, SLIDE_LIFETIME)?));
    }
    bar.finish_and_clear();
    progress.step(5, &format!("{} slides uploaded, {bytes} bytes", slides.len()));
    Ok(urls)
}

/// Submits one run of all slides, after every item was checked against the schema of its input.
async fn submit(
    client: &Client,
    application: &ApplicationSummary,
    version: &VersionNumber,
    slides: &[Slide],
    urls: &[Secret],
) -> Result<RunHandle, Failure> {
    let input = client.applications().version(&application.application_id, version).await?.input_artifacts;
    let input = input.first().context("the application takes no input")?.name.as_str();
    let items = slides.iter().zip(urls).map(|(slide, url)| {
        let artifact = InputArtifactSubmission::new(input, url.clone(), slide.describe());
        ItemSubmission::new(slide.name.as_str(), vec![artifact])
    });
    let submission = RunSubmission::new(application.application_id.as_str(), items.collect::<Vec<_>>());
    client.runs().submit(submission.with_version_number(version.as_str())).await.map_err(explain)
}

/// Whether all of it went well; if not, whether the fault is on this side.
fn judge(report: &RunReport) -> Result<(), Failure> {
    if report.is_complete() {
        Ok(())
    } else if report.failures().any(|error| error.downcast_ref().is_some_and(DownloadError::is_local)) {
        Err(anyhow!("some results could not be written; make room and call again, it goes on from here").into())
    } else {
        Err(Failure::incomplete(anyhow!("some items or artifacts failed")))
    }
}

/// A refused submission with all of its problems.
fn explain(error: Error) -> Failure {
    let problems: Vec<_> = error.problems().iter().map(ToString::to_string).collect();
    if problems.is_empty() { error.into() } else { Failure::bad_input(anyhow!("{error}\n{}", problems.join("\n"))) }
}

/// A path as it is shown.
fn shown(path: &Path) -> String {
    path.display().to_string()
}
