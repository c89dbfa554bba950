//! The private key of a binding is erased from memory.
#![cfg(target_os = "linux")]

use std::fs::{self, File};
use std::os::unix::fs::FileExt;

use agent_gateway::{CredentialSource, ServiceBinding};
use serde_json::json;
use tempfile::TempDir;

use crate::authority::Authority;

/// Returns the number of occurrences of a text in the writable memory of this process.
///
/// The argument is the reversed text. The caller thus has no copy of the text itself.
fn occurrences(reversed_text: &[u8]) -> usize {
    let needle: Vec<u8> = reversed_text.iter().rev().copied().collect();
    let memory = File::open("/proc/self/mem").unwrap();
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let mut count = 0;
    for line in maps.lines().filter(|line| line.contains(" rw-p ")) {
        let (start, end) = line.split(' ').next().unwrap().split_once('-').unwrap();
        let [start, end] = [start, end].map(|address| u64::from_str_radix(address, 16).unwrap());
        let mut part = vec![0; 1 << 16];
        let mut position = start;
        while position < end {
            let Ok(read) = memory.read_at(&mut part, position) else { break };
            // The copies in `part` and in `needle` do not count.
            let part_range = part.as_ptr() as u64..part.as_ptr() as u64 + part.len() as u64;
            let needle_address = needle.as_ptr() as u64;
            for (offset, window) in part[..read].windows(needle.len()).enumerate() {
                let address = position + offset as u64;
                if window == needle && !part_range.contains(&address) && address != needle_address {
                    count += 1;
                }
            }
            position += (read.max(needle.len()) - needle.len() + 1) as u64;
        }
        part.fill(0);
    }
    count
}

/// Writes a binding. Returns its folder and a reversed line of its key.
fn write_binding() -> (TempDir, Vec<u8>) {
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
    // The check runs in a child process, because this process has other copies of the key.
    const FOLDER_VARIABLE: &str = "AGENT_GATEWAY_TEST_FOLDER";
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    if let Ok(folder) = std::env::var(FOLDER_VARIABLE) {
        let reversed_text = fs::read(std::path::Path::new(&folder).join("needle")).unwrap();
        assert_eq!(occurrences(&reversed_text), 0);
        let credentials = runtime.block_on(ServiceBinding::at(&folder).credentials()).unwrap();
        assert_eq!(occurrences(&reversed_text), 1, "only the credentials contain the key");
        drop(credentials);
        assert_eq!(occurrences(&reversed_text), 0);
        return;
    }
    let (root, reversed_text) = write_binding();
    fs::write(root.path().join("needle"), reversed_text).unwrap();
    let test = "key_erasure::private_key_of_a_binding_is_wiped_after_use";
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    let output = command.args([test, "--exact", "--nocapture"]).env(FOLDER_VARIABLE, root.path()).output().unwrap();
    let output_text = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    assert!(output.status.success() && output_text.contains("1 passed"), "{output_text}");
}
