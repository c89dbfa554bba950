//! The process that meets a fault: it downloads a run. This test runs itself as one.

use std::env;
use std::path::{Path, PathBuf};
use std::process::exit;

use auth_core::async_provider_fn;
use platform_download::Downloader;
use platform_resources::{Client, ResultFolder, Settings};
use tokio::process::Command;

/// The number of requests at a time, and the length of the parts of a file: small, so that a fault costs little.
pub(crate) const WORKERS: u64 = 4;
pub(crate) const CHUNK: u64 = 1 << 20;

const ROOT: &str = "AIGNOSTICS_DOWNLOADS_ROOT";
const TOKEN: &str = "AIGNOSTICS_DOWNLOADS_TOKEN";

pub(crate) fn command(root: &str, token: &str, run: &str, folder: &Path) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command.env(ROOT, root).env(TOKEN, token).arg(run).arg(folder).kill_on_drop(true);
    command
}

pub(crate) fn is_wanted() -> bool {
    env::var_os(ROOT).is_some()
}

#[tokio::main]
#[expect(clippy::exit, reason = "it is a program")]
pub(crate) async fn run() {
    let [root, token] = [ROOT, TOKEN].map(|name| env::var(name).unwrap());
    let [run, folder] = [1, 2].map(|number| env::args().nth(number).unwrap());
    let tokens = async_provider_fn(move |_| {
        let token = token.clone();
        async move { Ok(token) }
    });
    let client =
        Client::builder(Settings::at(&root.parse().unwrap()).unwrap()).with_token_provider(tokens).build().unwrap();
    let downloader = Downloader::builder(client.storage_http().unwrap().clone());
    let downloader = downloader.with_workers(usize::try_from(WORKERS).unwrap()).with_chunk(CHUNK).build().unwrap();
    let results = match ResultFolder::open(PathBuf::from(folder)).await {
        Ok(results) => results,
        Err(error) => {
            eprintln!("{}", auth_core::error_chain(&error));
            exit(1);
        }
    };
    let report = client.run(run).download(results).with_downloader(downloader).fetch().await.unwrap();
    for failure in report.failures() {
        eprintln!("{}", auth_core::error_chain(failure));
    }
    if let Err(error) = &report.manifest {
        eprintln!("{}", auth_core::error_chain(error));
    }
    exit(i32::from(!report.is_complete()));
}
