//! Results on file systems with limited features, which the test mounts.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::command::{BINARY, CommandResult, Sandbox};
use crate::needs;

/// The exit code of a script whose file system cannot be mounted.
const MOUNT_FAILED: i32 = 77;

/// Downloads results to a file system that `mount` mounts at `$results`, alters one, downloads again, and verifies.
fn assert_holds_results(mount: &str, programs: &[(&str, &str)], file_system: &str) {
    for (program, package) in programs {
        if !needs::has(program) && !Path::new("/usr/sbin").join(program).is_file() {
            return needs::missing(program, &format!("apt-get install {package}"));
        }
    }
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.output()).unwrap();
    let script = format!(
        r#"
        export PATH="$PATH:/usr/sbin"
        ( set -e; {mount} ) || exit {MOUNT_FAILED}
        trap 'umount "$results"' EXIT
        set -e
        cd "$TMPDIR"
        "$aignostics" demo --output "$results"
        "$aignostics" run verify "$results" --sha256sums
        altered="$(find "$results" -name '*areas.csv' | head -n 1)"
        echo altered >>"$altered"
        "$aignostics" run verify "$results" && exit 99 || echo "verify: $?"
        "$aignostics" demo --output "$results"
        "$aignostics" run verify "$results"
        (cd "$results" && sha256sum -c --quiet SHA256SUMS)
        left="$(find "$results" -name '.?*' -type f -not -name .aignostics.lock)"
        [ -z "$left" ] || {{ echo "left: $left"; exit 98; }}
        echo done
    "#
    );
    let mut command = Command::new("unshare");
    if !rustix::process::geteuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    command.args(["--mount", "sh", "-c", &script]);
    command.env("results", sandbox.output()).env("aignostics", BINARY).env("TMPDIR", sandbox.temporary());
    if !needs::has("unshare") {
        return needs::missing("unshare", "apt-get install util-linux");
    }
    let output = command.output().unwrap();
    let result = CommandResult::of(&output);
    if output.status.code() == Some(MOUNT_FAILED) || result.stderr.starts_with("unshare: ") {
        return needs::absent(file_system, &format!("it cannot be mounted here: {}", result.stderr.trim()));
    }
    result.assert_code(0);
    assert!(
        result.stdout.contains("verify: 6") && result.stdout.ends_with("\ndone\n"),
        "{}\n{}",
        result.stdout,
        result.stderr
    );
}

#[test]
fn overlay_holds_results() {
    // The results of an earlier container are in the lower layer: their inode numbers change when they are written.
    let mount = r#"
        mount -t tmpfs tmpfs "$results" && cd "$results" && mkdir lower upper work
        "$aignostics" demo --output lower >/dev/null
        mount -t overlay overlay -o lowerdir=lower,upperdir=upper,workdir=work "$results"
    "#;
    assert_holds_results(mount, &[], "overlayfs");
}

#[test]
fn fat_holds_results() {
    let mount = r#"
        truncate -s 64M "$TMPDIR/image" && mkfs.vfat "$TMPDIR/image" >/dev/null && mount -o loop "$TMPDIR/image" "$results"
    "#;
    assert_holds_results(mount, &[("mkfs.vfat", "dosfstools")], "FAT");
}

#[test]
fn exfat_holds_results() {
    // Mounted by the kernel or, without support in the kernel, by FUSE.
    let mount = r#"
        truncate -s 64M "$TMPDIR/image" && mkfs.exfat "$TMPDIR/image" >/dev/null
        mount -o loop -t exfat "$TMPDIR/image" "$results" 2>/dev/null && exit
        device="$(losetup -f --show "$TMPDIR/image")" && mount.exfat-fuse "$device" "$results" >&2
        # Takes effect after the unmount.
        losetup -d "$device"
    "#;
    assert_holds_results(mount, &[("mkfs.exfat", "exfatprogs"), ("mount.exfat-fuse", "exfat-fuse")], "exFAT");
}
