//! The process that encounters a fault. The test binary runs itself to download a run or to synchronize a folder.

use std::env;
use std::path::{Path, PathBuf};
use std::process::exit;

use auth_core::async_provider_fn;
use platform_download::{Downloader, Locking};
use platform_pipeline::RunSync;
use platform_resources::{Client, ResultFolder, ResultsTarget, RunReport, Settings, StoreAddress};
use tokio::process::Command;

/// The number of concurrent requests.
pub(crate) const WORKERS: u64 = 4;
/// The length of the parts of a file. It is small, because a fault can discard the parts in transfer.
pub(crate) const CHUNK: u64 = 1 << 20;
/// The number of files that are stored in a bucket concurrently.
pub(crate) const STORE_JOBS: usize = 4;

const ROOT: &str = "AIGNOSTICS_DOWNLOADS_ROOT";
const TOKEN: &str = "AIGNOSTICS_DOWNLOADS_TOKEN";
const STORAGE: &str = "AIGNOSTICS_DOWNLOADS_STORAGE";
const STATE: &str = "AIGNOSTICS_DOWNLOADS_STATE";
/// The argument that selects all runs.
const ALL: &str = "all";

/// Sets the address of the storage to which a process copies results, and the folder of its state.
pub(crate) fn with_storage(mut command: Command, storage: &str, state: &Path) -> Command {
    command.env(STORAGE, storage).env(STATE, state);
    command
}

/// Returns a process that downloads a run, or all runs if it is `None`.
pub(crate) fn command(root: &str, token: &str, run: Option<&str>, folder: &Path) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command.env(ROOT, root).env(TOKEN, token).arg(run.unwrap_or(ALL)).arg(folder).kill_on_drop(true);
    command
}

/// Returns true in a process that was started by [`command`].
pub(crate) fn is_child_process() -> bool {
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
    let mut settings = Settings::at(&root.parse().unwrap()).unwrap();
    if let Ok(storage) = env::var(STORAGE) {
        settings.bucket.endpoint = storage.parse().unwrap();
        settings.state_folder = env::var_os(STATE).unwrap().into();
    }
    let client = Client::builder(settings).with_token_provider(tokens).build().unwrap();
    let downloader = Downloader::builder(client.storage_http().unwrap().clone());
    let downloader = downloader.with_workers(usize::try_from(WORKERS).unwrap()).with_chunk(CHUNK).build().unwrap();
    let is_complete = if StoreAddress::is_like(&folder) {
        store(&client, &run, &folder).await
    } else if run == ALL {
        synchronize(RunSync::new(&client, &folder).with_downloader(downloader)).await
    } else {
        download(&client, downloader, (&run, &folder)).await
    };
    exit(i32::from(!is_complete));
}

async fn download(client: &Client, downloader: Downloader, (run, folder): (&str, &str)) -> bool {
    let results = match ResultFolder::open(PathBuf::from(folder)).await {
        Ok(results) => results,
        Err(error) => {
            eprintln!("{}", auth_core::error_chain(&error));
            return false;
        }
    };
    is_complete(&client.run(run).download(results).with_downloader(downloader).fetch().await.unwrap())
}

async fn store(client: &Client, run: &str, address: &str) -> bool {
    if run == ALL {
        // A killed process would block the next one until its lease expires.
        let sync = RunSync::to(client, &ResultsTarget::parse(address).unwrap()).await.unwrap();
        return synchronize(sync.with_locking(Locking::Off)).await;
    }
    let address = address.parse().unwrap();
    let store = client.store(&address).await.unwrap();
    is_complete(&client.run(run).download_to_store(store, address).with_jobs(STORE_JOBS).fetch().await.unwrap())
}

fn is_complete(report: &RunReport) -> bool {
    for failure in report.failures() {
        eprintln!("{}", auth_core::error_chain(failure));
    }
    if let Err(error) = &report.manifest {
        eprintln!("{}", auth_core::error_chain(error));
    }
    report.is_complete()
}

async fn synchronize(sync: RunSync) -> bool {
    match sync.execute().await {
        Ok(report) => {
            for failure in report.runs.iter().flat_map(|run| &run.failures) {
                eprintln!("{failure}");
            }
            if let Some(error) = &report.stopped {
                eprintln!("{}", auth_core::error_chain(error));
            }
            report.is_complete()
        }
        Err(error) => {
            eprintln!("{}", auth_core::error_chain(&error));
            false
        }
    }
}
