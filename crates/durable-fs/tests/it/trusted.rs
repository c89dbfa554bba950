//! Files that no other user can change.
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
    let [link_folder, target_folder] = ["near", "far"].map(|name| base.path().join(name));
    let (link, target) = (link_folder.join("link"), target_folder.join("target"));
    for folder in [&link_folder, &target_folder] {
        fs::create_dir(folder).unwrap();
        chmod(folder, 0o755);
    }
    assert!(trusted::read(&link, 9).unwrap().is_none());
    symlink(&target, &link).unwrap();
    trusted::read(&link, 9).unwrap_err();
    fs::write(&target, "content").unwrap();
    chmod(&target, 0o644);
    assert_eq!(trusted::read(&link, 4).unwrap().unwrap(), b"cont");
    for (changed_path, mode) in [(&target, 0o664), (&target, 0o646), (&target_folder, 0o775), (&link_folder, 0o757)] {
        let original_permissions = fs::metadata(changed_path).unwrap().permissions();
        chmod(changed_path, mode);
        let error = trusted::read(&link, 9).unwrap_err();
        assert!(error.is_open_to_others(), "{error}");
        fs::set_permissions(changed_path, original_permissions).unwrap();
    }
    assert!(trusted::read(&link_folder, 9).unwrap_err().is_not_regular());
    let fifo = link_folder.join("fifo");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    assert!(trusted::read(&fifo, 9).unwrap_err().is_not_regular());
}
