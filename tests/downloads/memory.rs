//! The memory of a download of many items.

use std::fs;
use std::process::Stdio;

use serde_json::Map;
use tempfile::TempDir;
use tokio::io::AsyncReadExt;
use tokio::process::Command;

use crate::platform::Platform;
use crate::variables::variables;

/// The maximum memory of the command in MiB, without the pages of its binary, for up to this number of items.
const LIMITS: [(usize, u64); 2] = [(10_000, 32), (100_000, 96)];

/// Downloads a run with this number of items, and again when all files exist.
pub(crate) async fn measure(items: usize) {
    let limit = LIMITS.into_iter().find(|(max_items, _)| items <= *max_items).map_or(u64::MAX, |(_, limit)| limit);
    let platform = Platform::start().await;
    let run = platform.run("outcomes", (0..items).map(|_| Map::new()), 0).await;
    let folder = TempDir::new().unwrap();
    for (moment, format) in [("at first", "table"), ("again", "json")] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_aignostics"));
        command.env_clear().env("HOME", folder.path()).env("AIGNOSTICS_CACHE_DIR", folder.path().join("cache"));
        command.envs(variables(&platform.emulator));
        command.env("AIGNOSTICS_REFRESH_TOKEN", platform.emulator.refresh_token("auth0|emulator-1").await.unwrap());
        command.args(["run", "download", run.id().as_str(), "results", "--format", format]).current_dir(folder.path());
        let (peak_mib, bytes) = measure_peak(command).await;
        println!(
            "{items} items, downloaded {moment} ({format}): at most {peak_mib} MiB of memory, {bytes} bytes of report"
        );
        assert!(bytes > items * 10, "the report has no line for an item");
        assert!(peak_mib <= limit, "{peak_mib} MiB, at most {limit} MiB are allowed");
    }
    let manifest = fs::read_to_string(folder.path().join("results/manifest.jsonl")).unwrap();
    assert_eq!(manifest.lines().count(), items);
}

/// Runs a command to its end. Returns its peak memory in MiB, without the pages of its binary, and the length of its
/// output.
async fn measure_peak(mut command: Command) -> (u64, usize) {
    let mut child = command.stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let status = format!("/proc/{}/status", child.id().unwrap());
    let mut output = child.stdout.take().unwrap();
    // The output of the command does not fit into a pipe. Therefore, the process still exists when its work is done.
    let (mut peak_mib, mut bytes, mut block) = (0, 0, vec![0; 16 << 10]);
    loop {
        match output.read(&mut block).await.unwrap() {
            0 => break,
            length => bytes += length,
        }
        let text = fs::read_to_string(&status).unwrap_or_default();
        let kib = |name: &str| -> Option<u64> {
            text.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
        };
        // The pages of the binary are shared by all processes, and depend on its size.
        let private = kib("VmHWM:").unwrap_or_default().saturating_sub(kib("RssFile:").unwrap_or_default());
        peak_mib = peak_mib.max(private.div_ceil(1024));
    }
    assert!(child.wait().await.unwrap().success());
    assert!(peak_mib > 0, "the peak memory is unknown");
    (peak_mib, bytes)
}
