//! Results on a full disk. The disk is in memory, in a separate mount namespace.

use std::fs;
use std::process::Command;

use crate::command::{BINARY, CommandResult, Sandbox};
use crate::needs;

/// Runs a shell script with a small disk mounted at the results folder (`$results`). The disk is unmounted when the
/// script ends.
fn on_a_small_disk(sandbox: &Sandbox, size: &str, script: &str) -> Option<CommandResult> {
    let probe = Command::new("unshare").args(["--user", "--map-root-user", "--mount", "true"]).output();
    if !probe.is_ok_and(|output| output.status.success()) {
        needs::missing("a mount namespace", "allow unprivileged user namespaces (util-linux `unshare` uses them)");
        return None;
    }
    fs::create_dir(sandbox.output()).unwrap();
    let script = format!("set -e; mount -t tmpfs -o {size} tmpfs \"$results\"; {script}");
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c", &script]);
    command.env("results", sandbox.output()).env("aignostics", BINARY).env("TMPDIR", sandbox.temporary());
    Some(CommandResult::of(&command.output().unwrap()))
}

#[test]
fn too_small_disk_fails_early_and_a_later_call_resumes() {
    let sandbox = Sandbox::new();
    let script = r#"
        "$aignostics" --verbose demo --output "$results" >"$TMPDIR/first" && exit 99 || echo "first: $?"
        mount -o remount,size=16m tmpfs "$results"
        "$aignostics" --verbose demo --output "$results" 2>"$TMPDIR/second"
        find "$results" -type f -not -name .aignostics.lock | wc -l
    "#;
    let Some(result) = on_a_small_disk(&sandbox, "size=64k", script) else { return };
    result.assert_code(0);
    assert!(result.stdout.contains("first: 1"), "{}\n{}", result.stdout, result.stderr);
    assert!(result.stderr.contains("not enough disk space"), "{}", result.stderr);
    // If the items end one by one, the results of the first ones may fit.
    let end_together = result.error_message().contains("not enough disk space");
    assert!(!end_together || result.served("storage", "GET", "/platform-files/results/") == 0, "{}", result.stderr);
    assert!(result.row("smear.svs").starts_with("smear.svs succeeded 3/3 "), "{}", result.stdout);
    assert!(result.stdout.ends_with("10\n"), "nine results and the manifest, nothing else: {}", result.stdout);
    let second = CommandResult { stderr: fs::read_to_string(sandbox.temporary().join("second")).unwrap(), ..result };
    let fetched = second.served("storage", "GET", "/platform-files/results/");
    assert!(if end_together { fetched == 9 } else { (1..=9).contains(&fetched) }, "{fetched}");
}

#[test]
fn full_disk_is_reported_and_a_later_call_resumes() {
    let sandbox = Sandbox::new();
    let script = r#"
        "$aignostics" --verbose demo --output "$results" >"$TMPDIR/first" && exit 99 || echo "first: $?"
        mount -o remount,nr_inodes=100 tmpfs "$results"
        "$aignostics" --verbose demo --output "$results" 2>"$TMPDIR/second"
    "#;
    // There is space for bytes, but only for a few files.
    let Some(result) = on_a_small_disk(&sandbox, "size=16m,nr_inodes=11", script) else { return };
    result.assert_code(0);
    assert!(result.stdout.contains("first: 1"), "{}\n{}", result.stdout, result.stderr);
    assert!(result.error_message().contains("disk is full: free some space"), "{}", result.stderr);
    assert!(result.row("smear.svs").starts_with("smear.svs succeeded 3/3 "), "{}", result.stdout);
    let second = CommandResult { stderr: fs::read_to_string(sandbox.temporary().join("second")).unwrap(), ..result };
    let fetched = second.served("storage", "GET", "/platform-files/results/");
    assert!((1..9).contains(&fetched), "existing files were not fetched again, but {fetched} files were");
}

#[test]
fn full_disk_fails_before_submission() {
    let sandbox = Sandbox::new();
    let script = r#"
        dd if=/dev/zero of="$results/ballast" bs=1k count=64 2>/dev/null || true
        "$aignostics" --verbose demo --output "$results" && exit 99 || exit $?
    "#;
    let Some(result) = on_a_small_disk(&sandbox, "size=64k", script) else { return };
    result.assert_code(1);
    assert!(result.error_message().contains(sandbox.output().to_str().unwrap()), "{}", result.stderr);
    assert_eq!(result.served("api", "POST", "/api/v1/runs"), 0);
}
