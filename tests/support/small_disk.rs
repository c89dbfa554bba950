//! A small disk in memory, in a mount namespace that ends with the test.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::needs;

/// The environment variable of the child process, which runs the same test again.
const DISK: &str = "AIGNOSTICS_TEST_DISK";

/// Runs `body` with a disk that has the mount `options`, such as `size=64k`. `test` is the full name of the calling
/// test. The test binary runs itself again inside the namespace.
pub(crate) fn on_small_disk(test: &str, options: &str, body: impl FnOnce(&Path)) {
    let script = format!("mount -t tmpfs -o mode=0700,{options} tmpfs \"${DISK}\" && exec \"$0\" \"$@\"");
    in_namespace(test, &script, body);
}

/// Runs `body` in a separate mount namespace, with an empty folder on which `script` mounts a file system before it
/// executes its arguments.
pub(crate) fn in_namespace(test: &str, script: &str, body: impl FnOnce(&Path)) {
    if let Some(disk) = std::env::var_os(DISK) {
        return body(&PathBuf::from(disk));
    }
    let unshare = || {
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--mount"]);
        command
    };
    if !needs::has("unshare") || !unshare().arg("true").output().is_ok_and(|output| output.status.success()) {
        needs::missing("a mount namespace", "allow unprivileged user namespaces (util-linux `unshare` uses them)");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut command = unshare();
    command.args(["sh", "-c", script]).arg(std::env::current_exe().unwrap()).args([test, "--exact", "--nocapture"]);
    let output = command.env(DISK, folder.path()).output().unwrap();
    let printed = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    assert!(output.status.success() && printed.contains("1 passed"), "{printed}");
}

/// Fills the disk of `folder` until `free` bytes are left, rounded down to pages.
pub(crate) fn fill(folder: &Path, free: u64) {
    let mut ballast = File::create(folder.join("ballast")).unwrap();
    while ballast.write(&[1; 4096]).is_ok_and(|written| written > 0) {}
    let size = ballast.metadata().unwrap().len();
    ballast.set_len(size - free).unwrap();
}
