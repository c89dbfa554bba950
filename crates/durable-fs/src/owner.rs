//! The owner of new files and folders.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Calls `give` with the owner and the group of the parent of a new file or folder, if root created it in a folder of
/// another user. Best effort: some file systems have no owners.
pub(crate) fn give_to_owner_of(parent: &Path, give: impl FnOnce(u32, u32)) {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    if let Some(about) = fs::metadata(parent).ok().filter(|about| about.uid() != 0) {
        give(about.uid(), about.gid());
    }
}
