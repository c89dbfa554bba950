//! `aignostics demo`: the complete workflow through the public crates, with an emulator in this process.

mod progress;
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
use indicatif::HumanBytes;
use platform_download::{Bucket, FolderError, ResultFolder, SignError, UploadFile, Uploader};
use platform_emulator::{AUDIENCE, DEVICE_CLIENT_ID, Emulator};
use platform_resources::models::{
    ApplicationId, ApplicationVersion, InputArtifactSubmission, ItemSubmission, RunSubmission,
};
use platform_resources::{Client, Settings, validate};

use crate::error::CliError;
use crate::output::Output;
use crate::results;
use progress::DemoProgress;
use slides::Slide;

#[derive(Args)]
pub(crate) struct Arguments {
    /// Folder with slides (TIFF, BigTIFF or SVS); without it, the demo creates three small ones. Hidden files and
    /// subfolders are ignored; any other file that is not a slide is an error
    #[arg(long, value_name = "DIR")]
    slides: Option<PathBuf>,
    /// Folder for the results; files that already exist are not fetched again
    #[arg(long, value_name = "DIR", default_value = "aignostics-demo")]
    output: PathBuf,
}

pub(crate) async fn run(arguments: Arguments, output: &Output) -> Result<(), CliError> {
    let progress = DemoProgress::new(output);
    let results = open_results(&arguments.output).await?;

    let emulator = Emulator::start().await.context("cannot start the emulator")?;
    let (api, identity) = (emulator.api_root(), emulator.issuer());
    progress.step(1, &format!("emulator started: API {api}, identity provider {identity}"));
    let client = log_in(&emulator, &progress).await?;
    let (application, version) = pick_application(&client).await?;
    progress.step(3, &format!("application {application} {}", version.version_number));

    let folder = slides::Folder::new(arguments.slides)?;
    let slides = folder.read().await?;
    for slide in &slides {
        progress.step(4, &slide.to_string());
    }
    let names: Vec<_> = slides.iter().map(|slide| slide.name.as_str()).collect();
    results.reserve(&names).await.map_err(unusable)?;

    let bucket = client.bucket().await?;
    let submission = describe(&application, &version, &slides, &bucket)?;
    validate(&version, &submission, SystemClock.now()).map_err(CliError::bad_input)?;
    upload_all(&bucket, &slides, &progress).await?;
    let run = client.runs().submit(submission).await?;
    progress.step(6, &format!("all items match the schema of the application; run {} submitted", run.id()));

    progress.step(7, "following the run and downloading its results");
    let bars = progress.follow();
    let report = run.download(results).with_observer(move |event| bars.show(&event)).follow().await?;
    progress.step(8, &format!("run {} has ended", run.id()));
    results::print(&report, &arguments.output, output)
}

/// Opens the result folder, so that its errors occur before anything is uploaded or billed.
async fn open_results(path: &Path) -> Result<ResultFolder, CliError> {
    ResultFolder::open(path).await.map_err(unusable)
}

fn unusable(error: FolderError) -> CliError {
    anyhow::Error::from(error).context("cannot use the result folder; choose another with --output").into()
}

/// Logs in over HTTP with the device flow, and verifies the token.
async fn log_in(emulator: &Emulator, progress: &DemoProgress) -> Result<Client, CliError> {
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
    progress.step(2, &format!("logged in as {name} of {}; the token is verified", me.organization.id));
    Ok(client)
}

async fn pick_application(client: &Client) -> Result<(ApplicationId, ApplicationVersion), CliError> {
    let applications: Vec<_> = client.applications().list().try_collect().await?;
    let open = applications
        .into_iter()
        .find_map(|application| Some((application.application_id, application.latest_version?.number)));
    let (id, latest) = open.context("no application is available to the user")?;
    let version = client.applications().version(&id, &latest).await?;
    Ok((id, version))
}

/// Returns one run of all slides, with signed URLs of objects that are uploaded later.
fn describe(
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
async fn upload_all(bucket: &Bucket, slides: &[Slide], progress: &DemoProgress) -> Result<(), CliError> {
    let bytes = slides.iter().map(|slide| slide.metadata.bytes).sum();
    let bar = progress.upload(bytes);
    let file = |slide: &Slide| {
        // Resolves links, so that a folder of links to slides works.
        let path = slide.path.canonicalize().unwrap_or_else(|_| slide.path.clone());
        let file = UploadFile::new(path, slide.object_key()).with_content_type(slide.metadata.media_type);
        file.with_crc32c(slide.crc32c())
    };
    let observed = bar.clone();
    let uploader = Uploader::new(bucket.clone()).with_observer(move |event| observed.set_position(event.total_done));
    for upload in uploader.upload(slides.iter().map(file)).await {
        upload.result?;
    }
    bar.finish();
    progress.step(5, &format!("{} slides uploaded, {}", slides.len(), HumanBytes(bytes)));
    Ok(())
}
