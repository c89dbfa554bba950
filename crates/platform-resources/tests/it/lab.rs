//! A client that is logged in to an emulator.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use auth_core::{TokenSource, async_provider_fn};
use auth_http::{HttpClient, Method, Request};
use auth_oauth::{DeviceAuthorization, DeviceLogin, Endpoints, OAuthClient, Prompt};
use platform_download::{Crc32c, UploadFile, Uploader};
use platform_emulator::{AUDIENCE, DEVICE_CLIENT_ID, Emulator, EmulatorBuilder, samples};
use platform_resources::models::{InputArtifactSubmission, ItemSubmission, RunSubmission};
use platform_resources::{Client, ResultFolder, Settings};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A test environment: an emulator, a client that is logged in to it, and a temporary folder.
pub(crate) struct Lab {
    pub(crate) emulator: Emulator,
    pub(crate) client: Client,
    pub(crate) tokens: TokenSource,
    pub(crate) folder: TempDir,
}

/// A device prompt that approves each login immediately.
#[derive(Debug)]
pub(crate) struct ApproveAll(pub(crate) HttpClient);

#[async_trait]
impl Prompt for ApproveAll {
    async fn show(&self, device: &DeviceAuthorization) -> Result<(), Box<dyn Error + Send + Sync>> {
        let form = format!("user_code={}&decision=approve", device.user_code);
        let approval = Request::new(Method::Post, device.verification_url.parse()?);
        self.0.send(approval.with_body("application/x-www-form-urlencoded", form)).await?;
        Ok(())
    }
}

impl Lab {
    pub(crate) async fn open() -> Self {
        Self::at(Emulator::builder().with_control()).await
    }

    pub(crate) async fn at(builder: EmulatorBuilder) -> Self {
        let emulator = builder.start().await.unwrap();
        let http = HttpClient::builder().with_plain_loopback().build().unwrap();
        let endpoints = Endpoints::auth0(emulator.issuer()).unwrap();
        let client = OAuthClient::new(http.clone(), endpoints, DEVICE_CLIENT_ID).with_audience(AUDIENCE);
        let key = client.token_key().with_identity("user").build();
        let login = DeviceLogin::new(client, Arc::new(ApproveAll(http)));
        let tokens = crate::redis::build_token_source(TokenSource::builder(key, login)).await;
        let client = Client::builder(settings(&emulator)).with_tokens(tokens.clone()).build().unwrap();
        Self { emulator, client, tokens, folder: TempDir::new().unwrap() }
    }

    pub(crate) fn slides(&self) -> Vec<PathBuf> {
        samples::write(&self.folder.path().join("slides")).unwrap()
    }

    pub(crate) async fn results(&self) -> ResultFolder {
        ResultFolder::open(self.output()).await.unwrap()
    }

    pub(crate) fn output(&self) -> PathBuf {
        self.folder.path().join("results")
    }

    /// Uploads a slide, and returns an item with the correct metadata of the slide.
    pub(crate) async fn item(&self, slide: &Path) -> ItemSubmission {
        let name = slide.file_name().unwrap().to_str().unwrap();
        let bucket = self.client.bucket().await.unwrap();
        let crc32c = Crc32c::of(&fs::read(slide).unwrap());
        let file = UploadFile::new(slide, name).with_content_type("image/tiff").with_crc32c(crc32c);
        Uploader::new(bucket.clone()).upload([file]).await.remove(0).result.unwrap();
        let url = bucket.get_url(name, None).unwrap();
        let slide_properties = slide_metadata::read(slide).unwrap();
        let metadata = metadata(&crc32c.to_string(), slide_properties.width, slide_properties.height);
        ItemSubmission::new(name, vec![InputArtifactSubmission::new("whole_slide_image", url, metadata)])
    }

    pub(crate) async fn submission(&self, slides: &[PathBuf]) -> RunSubmission {
        let mut items = Vec::new();
        for slide in slides {
            items.push(self.item(slide).await);
        }
        RunSubmission::new("tissue", items)
    }
}

pub(crate) fn metadata(checksum: &str, width: u32, height: u32) -> serde_json::Map<String, Value> {
    let metadata = json!({
        "checksum_base64_crc32c": checksum, "width_px": width, "height_px": height,
        "resolution_mpp": 0.5, "media_type": "image/tiff",
    });
    metadata.as_object().unwrap().clone()
}

/// Returns a client for a mock platform.
pub(crate) fn mock_client(root: &str) -> Client {
    let mut settings = Settings::at(&root.parse().unwrap()).unwrap();
    shorten_retries(&mut settings);
    Client::builder(settings).with_token_provider(async_provider_fn(|_| async { Ok("external") })).build().unwrap()
}

/// Returns the settings for an emulator, with short retries.
pub(crate) fn settings(emulator: &Emulator) -> Settings {
    let mut settings = Settings::at(emulator.api_root()).unwrap();
    settings.bucket.endpoint = emulator.storage().clone();
    shorten_retries(&mut settings);
    settings
}

/// Shortens the pauses and limits of retries.
fn shorten_retries(settings: &mut Settings) {
    for group in [&mut settings.me, &mut settings.application, &mut settings.application_version, &mut settings.run] {
        group.wait_min = Some(Duration::from_millis(1));
        group.wait_max = Some(Duration::from_millis(100));
        group.attempts = Some(4);
    }
    settings.retry.transfer_limit = Duration::from_secs(3);
}
