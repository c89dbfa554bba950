//! A test of the comparison of downloads, at a hundredth of its size.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "../../support/needs.rs"]
mod needs;
#[expect(dead_code, reason = "packages of npm are not used")]
#[path = "../../support/packages.rs"]
mod packages;

use std::path::Path;
use std::process::Command;

const SDK: &str = include_str!("../../peers/python-sdk/requirements.txt");
const PROGRAMS: [&str; 6] = ["python3", "openssl", "time", "curl", "aria2c", "rclone"];

#[test]
fn programs_download_the_same_files() {
    let missing = PROGRAMS.iter().find(|program| !needs::has(program));
    let missing = missing.copied().or((!Path::new("/usr/sbin/nginx").exists()).then_some("nginx-light"));
    if let Some(program) = missing {
        let package = if program == "aria2c" { "aria2" } else { program };
        return needs::missing(program, &format!("apt-get install {package}"));
    }
    let Some(python) = packages::python("python-sdk", SDK) else { return };
    let mut comparison = Command::new("python3");
    comparison.arg("transfer.py").arg(env!("CARGO_BIN_EXE_transfer")).env("PYTHON_SDK", python);
    // Compares plain connections without a delay, and TLS connections with a delay.
    comparison.env("SCALE", "0.01").env("ROUNDS", "1").env("LINKS", "15");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../benchmarks");
    let output = comparison.current_dir(folder).output().unwrap();
    let (report, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{report}{errors}");
    for program in ["platform-download", "curl", "aria2c", "rclone", "defaults", "Python SDK"] {
        let lines = report.lines().filter(|line| line.starts_with(program)).count();
        assert_eq!(lines, 7, "{program}: {report}{errors}");
    }
}
