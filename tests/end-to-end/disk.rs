//! A full disk, in memory in a separate mount namespace.

use std::fs;
use std::process::Command;

use crate::command::{BINARY, Ended, Lab};
use crate::needs;

/// Runs a shell script with a small disk mounted at the results folder (`$results`). The disk ends with the script.
fn on_a_small_disk(lab: &Lab, size: &str, script: &str) -> Option<Ended> {
    let probe = Command::new("unshare").args(["--user", "--map-root-user", "--mount", "true"]).output();
    if !probe.is_ok_and(|output| output.status.success()) {
        needs::missing("a mount namespace", "allow unprivileged user namespaces (util-linux `unshare` uses them)");
        return None;
    }
    fs::create_dir(lab.output()).unwrap();
    let script = format!("set -e; mount -t tmpfs -o {size} tmpfs \"$results\"; {script}");
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c", &script]);
    command.env("results", lab.output()).env("aignostics", BINARY).env("TMPDIR", lab.temporary());
    Some(Ended::of(&command.output().unwrap()))
}

#[test]
fn too_small_disk_fails_early_and_a_later_call_resumes() {
    let lab = Lab::new();
    let script = r#"
        "$aignostics" --verbose demo --output "$results" >"$TMPDIR/first" && exit 99 || echo "first: $?"
        mount -o remount,size=16m tmpfs "$results"
        "$aignostics" --verbose demo --output "$results" 2>"$TMPDIR/second"
        find "$results" -type f -not -name .aignostics.lock | wc -l
    "#;
    let Some(ended) = on_a_small_disk(&lab, "size=64k", script) else { return };
    ended.assert_code(0);
    assert!(ended.stdout.contains("first: 1"), "{}\n{}", ended.stdout, ended.stderr);
    assert!(ended.stderr.contains("not enough disk space"), "{}", ended.stderr);
    // If the items end one by one, the first ones may fit.
    let are_together = ended.told().contains("not enough disk space");
    assert!(!are_together || ended.served("storage", "GET", "/platform-files/results/") == 0, "{}", ended.stderr);
    assert!(ended.row("smear.svs").starts_with("smear.svs succeeded 3/3 "), "{}", ended.stdout);
    assert!(ended.stdout.ends_with("10\n"), "nine results and the manifest, nothing else: {}", ended.stdout);
    let second = Ended { stderr: fs::read_to_string(lab.temporary().join("second")).unwrap(), ..ended };
    let fetched = second.served("storage", "GET", "/platform-files/results/");
    assert!(if are_together { fetched == 9 } else { (1..=9).contains(&fetched) }, "{fetched}");
}

#[test]
fn full_disk_is_reported_and_a_later_call_resumes() {
    let lab = Lab::new();
    let script = r#"
        "$aignostics" --verbose demo --output "$results" >"$TMPDIR/first" && exit 99 || echo "first: $?"
        mount -o remount,nr_inodes=100 tmpfs "$results"
        "$aignostics" --verbose demo --output "$results" 2>"$TMPDIR/second"
    "#;
    // There is space for bytes, but only for a few files.
    let Some(ended) = on_a_small_disk(&lab, "size=16m,nr_inodes=11", script) else { return };
    ended.assert_code(0);
    assert!(ended.stdout.contains("first: 1"), "{}\n{}", ended.stdout, ended.stderr);
    assert!(ended.told().contains("disk is full: free some space"), "{}", ended.stderr);
    assert!(ended.row("smear.svs").starts_with("smear.svs succeeded 3/3 "), "{}", ended.stdout);
    let second = Ended { stderr: fs::read_to_string(lab.temporary().join("second")).unwrap(), ..ended };
    let fetched = second.served("storage", "GET", "/platform-files/results/");
    assert!((1..9).contains(&fetched), "existing files were not fetched again, but {fetched} files were");
}

#[test]
fn full_disk_fails_before_submission() {
    let lab = Lab::new();
    let script = r#"
        dd if=/dev/zero of="$results/ballast" bs=1k count=64 2>/dev/null || true
        "$aignostics" --verbose demo --output "$results" && exit 99 || exit $?
    "#;
    let Some(ended) = on_a_small_disk(&lab, "size=64k", script) else { return };
    ended.assert_code(1);
    assert!(ended.told().contains(lab.output().to_str().unwrap()), "{}", ended.stderr);
    assert_eq!(ended.served("api", "POST", "/api/v1/runs"), 0);
}
