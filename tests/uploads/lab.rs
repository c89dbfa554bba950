//! The environment of the test: a storage, files, and processes that upload the files.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use auth_core::{Secret, TokenSource};
use auth_http::{HttpClient, Request};
use auth_oauth::{Endpoints, OAuthClient, RefreshGrant};
use fastrand::Rng;
use futures_util::TryStreamExt;
use platform_download::Crc32c;
use platform_emulator::{AUDIENCE, Config, Control, Effect, Emulator, Fault, INTERACTIVE_CLIENT_ID, Server};
use platform_resources::{Bucket, Client, Settings};
use tempfile::TempDir;
use tokio::process::Command;

use crate::variables::variables;

const USER: &str = "auth0|emulator-1";
const PART: usize = 8 << 20;

pub(crate) struct Lab {
    emulator: Emulator,
    pub(crate) control: Control,
    bucket: Bucket,
    http: HttpClient,
    token: String,
    folder: TempDir,
    /// The name and the checksum of each file.
    files: Vec<(String, Crc32c)>,
    bytes_per_file: usize,
    /// The keys of objects whose content was compared. No object is replaced.
    compared: RefCell<BTreeSet<String>>,
}

impl Lab {
    pub(crate) async fn start(files: usize, bytes_per_file: usize, random: &mut Rng) -> Self {
        let mut config = Config::default();
        config.access_token_seconds = 24 * 3600;
        let emulator = Emulator::builder().with_config(config).with_control().start().await.unwrap();
        let endpoints = Endpoints::auth0(emulator.issuer()).unwrap();
        let http = HttpClient::builder().with_plain_loopback().without_decompression().build().unwrap();
        let oauth = OAuthClient::new(http.clone(), endpoints, INTERACTIVE_CLIENT_ID).with_audience(AUDIENCE);
        let key = oauth.token_key().with_identity(USER).build();
        let secret = Secret::new(emulator.refresh_token(USER).await.unwrap());
        let tokens = TokenSource::new(key, RefreshGrant::new(oauth).with_refresh_token(secret));
        let token = tokens.token().await.unwrap().secret().expose().to_owned();
        let mut settings = Settings::at(emulator.api_root()).unwrap();
        settings.bucket.endpoint = emulator.storage().clone();
        let client = Client::builder(settings).with_tokens(tokens).build().unwrap();
        let folder = TempDir::new().unwrap();
        fs::create_dir(folder.path().join("slides")).unwrap();
        let files = (0..files).map(|number| {
            let (name, content) = (format!("{number}.tiff"), content(bytes_per_file, random));
            fs::write(folder.path().join("slides").join(&name), &content).unwrap();
            (name, Crc32c::of(&content))
        });
        let (files, bucket) = (files.collect(), client.bucket().await.unwrap());
        let control = emulator.control().unwrap();
        Self { emulator, control, bucket, http, token, folder, files, bytes_per_file, compared: RefCell::default() }
    }

    /// Returns the number of parts of all files.
    pub(crate) fn parts(&self) -> usize {
        self.files.len() * self.bytes_per_file.div_ceil(PART)
    }

    fn command(&self) -> Command {
        let home = self.folder.path();
        let mut command = Command::new(env!("CARGO_BIN_EXE_aignostics"));
        command.env_clear().env("HOME", home).envs(variables(&self.emulator));
        command.env("AIGNOSTICS_ACCESS_TOKEN", &self.token).env("AIGNOSTICS_CACHE_DIR", home.join("cache"));
        command
            .env("AIGNOSTICS_STATE_DIR", home.join("state"))
            .env("AIGNOSTICS_BUCKET_ENDPOINT", self.emulator.storage().as_str());
        command.args(["bucket", "upload", "slides", "--destination-prefix", "study"]).current_dir(home);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    }

    /// Starts a process, and kills it a while after this number of parts is confirmed. Returns false if it ended
    /// before.
    pub(crate) async fn kill_after(&self, parts: usize, milliseconds: u64) -> bool {
        let mut child = self.command().spawn().unwrap();
        loop {
            tokio::select! {
                status = child.wait() => {
                    assert!(status.unwrap().success(), "the upload failed");
                    return false;
                }
                () = pause(20) => if self.confirmed().await >= parts { break },
            }
        }
        pause(milliseconds).await;
        child.kill().await.unwrap();
        true
    }

    pub(crate) async fn finish(&self) {
        let output = self.command().output().await.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Returns the number of confirmed parts: the recorded parts, and the parts of complete objects.
    pub(crate) async fn confirmed(&self) -> usize {
        let recorded_parts = recorded_part_count(self.folder.path().join("state/uploads"));
        let parts_of_objects = self.objects().await.len() * self.bytes_per_file.div_ceil(PART);
        recorded_parts + parts_of_objects
    }

    async fn objects(&self) -> Vec<String> {
        self.bucket.list("study/").map_ok(|entry| entry.key).try_collect().await.unwrap()
    }

    /// Returns the number of requests for parts.
    pub(crate) async fn part_requests(&self) -> usize {
        let requests = self.control.journal(Server::Storage).await.unwrap();
        let is_part_number = |name: &String| name == "partNumber";
        requests.iter().filter(|entry| entry.method == "PUT" && entry.parameters.iter().any(is_part_number)).count()
    }

    /// Injects faults for the next parts. Returns the number of requests that they affect.
    pub(crate) async fn fail_some(&self, random: &mut Rng) -> usize {
        let (after_bytes, times) = (random.u64(0..PART as u64), random.u32(1..4));
        let effect = match random.u8(0..5) {
            0 => Effect::Status { status: 503, body: None },
            1 => Effect::Status { status: 403, body: None },
            2 => Effect::ResetRequest { after_bytes },
            3 => Effect::Reset { after_bytes: 0 },
            _ => Effect::Latency { milliseconds: 300 },
        };
        // The command gives up after two consecutive 403 responses.
        let times = if matches!(effect, Effect::Status { status: 403, .. }) { 1 } else { times };
        let fault = Fault::new(effect).on(Server::Storage).with_method("PUT").after(random.u32(0..6)).times(times);
        self.control.inject(&fault).await.unwrap();
        times as usize
    }

    /// Checks that every new object is one of the files.
    pub(crate) async fn assert_no_wrong_object(&self) {
        for key in self.objects().await {
            if !self.compared.borrow_mut().insert(key.clone()) {
                continue;
            }
            let (_, crc32c) = self.files.iter().find(|(name, _)| format!("study/{name}") == key).unwrap();
            let url = self.bucket.get_url(&key, None).unwrap();
            let response = self.http.send(Request::get(url.expose().clone())).await.unwrap();
            let content = response.bytes(self.bytes_per_file + 1).await.unwrap();
            assert_eq!(Crc32c::of(&content), *crc32c, "{key}");
        }
    }

    /// Returns the number of unfinished uploads. They remain if a process is killed before it records the id of an
    /// upload.
    pub(crate) async fn unfinished(&self) -> usize {
        self.bucket.unfinished_uploads("").try_collect::<Vec<_>>().await.unwrap().len()
    }

    pub(crate) async fn assert_all_objects(&self) {
        assert_eq!(self.objects().await.len(), self.files.len());
        self.compared.borrow_mut().clear();
        self.assert_no_wrong_object().await;
        assert_eq!(recorded_part_count(self.folder.path().join("state/uploads")), 0, "upload records still exist");
    }
}

fn content(bytes: usize, random: &mut Rng) -> Vec<u8> {
    let mut content = vec![0; bytes];
    random.fill(&mut content);
    content
}

/// Returns the number of confirmed parts in the records of a folder.
fn recorded_part_count(folder: PathBuf) -> usize {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    let journals = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "jsonl"));
    journals.map(|path| fs::read_to_string(path).unwrap_or_default().matches(r#""part":"#).count()).sum()
}

#[expect(clippy::disallowed_methods, reason = "the moment of a kill is arbitrary")]
async fn pause(milliseconds: u64) {
    tokio::time::sleep(Duration::from_millis(milliseconds)).await;
}
