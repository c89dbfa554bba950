//! The private key of a binding does not stay in memory.
#![cfg(target_os = "linux")]

use std::fs::{self, File};
use std::os::unix::fs::FileExt;

use agent_gateway::{CredentialSource, ServiceBinding};
use serde_json::json;
use tempfile::TempDir;

use crate::authority::Authority;

/// Returns the number of occurrences of a text in the heap of this process, except for one in reverse.
fn occurrences(reversed: &[u8]) -> usize {
    let needle: Vec<u8> = reversed.iter().rev().copied().collect();
    let memory = File::open("/proc/self/mem").unwrap();
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let mut found = 0;
    for line in maps.lines().filter(|line| line.contains(" rw-p ")) {
        let (start, end) = line.split(' ').next().unwrap().split_once('-').unwrap();
        let [start, end] = [start, end].map(|address| u64::from_str_radix(address, 16).unwrap());
        let mut part = vec![0; 1 << 16];
        let mut at = start;
        while at < end {
            let Ok(read) = memory.read_at(&mut part, at) else { break };
            // Copies in the buffer and in the needle are not counted.
            let place = part.as_ptr() as u64..part.as_ptr() as u64 + part.len() as u64;
            let own = needle.as_ptr() as u64;
            for (offset, window) in part[..read].windows(needle.len()).enumerate() {
                let address = at + offset as u64;
                if window == needle && !place.contains(&address) && address != own {
                    found += 1;
                }
            }
            at += (read.max(needle.len()) - needle.len() + 1) as u64;
        }
        part.fill(0);
    }
    found
}

/// Writes a binding. Returns its folder, and the middle line of its key in reverse.
fn written() -> (TempDir, Vec<u8>) {
    let (certificate, key) = Authority::new().sign("machine.test");
    let root = TempDir::new().unwrap();
    let folder = root.path().join("agent");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("type"), "integration-credentials").unwrap();
    let file = File::create(folder.join("credentials")).unwrap();
    let document = json!({
        "tokenServiceUrl": "https://tokens.test/", "clientid": "c", "certificate": certificate, "privateKey": key,
        "gatewayUrl": "https://gateway.test", "integrationDependencies": [],
    });
    serde_json::to_writer(file, &document).unwrap();
    let line = key.lines().nth(1).unwrap();
    (root, line.bytes().rev().take(40).collect())
}

#[test]
fn private_key_of_a_binding_is_wiped_after_use() {
    // Runs in a separate process, because other tests and the writer of the key have copies of it.
    const FOLDER: &str = "AGENT_GATEWAY_TEST_FOLDER";
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    if let Ok(folder) = std::env::var(FOLDER) {
        let reversed = fs::read(std::path::Path::new(&folder).join("needle")).unwrap();
        assert_eq!(occurrences(&reversed), 0);
        let credentials = runtime.block_on(ServiceBinding::at(&folder).credentials()).unwrap();
        assert_eq!(occurrences(&reversed), 1, "the one in use");
        drop(credentials);
        assert_eq!(occurrences(&reversed), 0);
        return;
    }
    let (root, reversed) = written();
    fs::write(root.path().join("needle"), reversed).unwrap();
    let test = "wiped::private_key_of_a_binding_is_wiped_after_use";
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    let status = command.args([test, "--exact"]).env(FOLDER, root.path()).status().unwrap();
    assert!(status.success());
}
