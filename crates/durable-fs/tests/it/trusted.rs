//! Files that only their user can change.
#![cfg(unix)]

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use durable_fs::trusted;

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

#[test]
fn link_is_rejected_if_its_target_or_a_folder_is_open_to_others() {
    let base = tempfile::tempdir().unwrap();
    let [near, far] = ["near", "far"].map(|name| base.path().join(name));
    let (link, target) = (near.join("link"), far.join("target"));
    for folder in [&near, &far] {
        fs::create_dir(folder).unwrap();
        chmod(folder, 0o755);
    }
    assert!(trusted::read(&link, 9).unwrap().is_none());
    symlink(&target, &link).unwrap();
    trusted::read(&link, 9).unwrap_err();
    fs::write(&target, "content").unwrap();
    chmod(&target, 0o644);
    assert_eq!(trusted::read(&link, 4).unwrap().unwrap(), b"cont");
    for (changed, mode) in [(&target, 0o664), (&target, 0o646), (&far, 0o775), (&near, 0o757)] {
        let before = fs::metadata(changed).unwrap().permissions();
        chmod(changed, mode);
        let error = trusted::read(&link, 9).unwrap_err();
        assert!(error.is_open_to_others(), "{error}");
        fs::set_permissions(changed, before).unwrap();
    }
    assert!(trusted::read(&near, 9).unwrap_err().is_not_regular());
    let fifo = near.join("fifo");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    assert!(trusted::read(&fifo, 9).unwrap_err().is_not_regular());
}
