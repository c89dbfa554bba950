//! The owner of new files and folders.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// The id of the user root.
const ROOT: u32 = 0;

/// The accepted owners of a file.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owners {
    /// The current user only.
    User,
    /// The current user and root.
    UserAndRoot,
}

/// Returns true if a file or folder has an owner other than `owners`, or if the group or others can write to it.
pub(crate) fn is_open_to_others(metadata: &fs::Metadata, owners: Owners) -> bool {
    let user = rustix::process::geteuid();
    is_open_with(metadata.uid(), metadata.mode(), user.as_raw(), owners)
}

fn is_open_with(owner: u32, mode: u32, user: u32, owners: Owners) -> bool {
    let is_accepted = owner == user || owner == ROOT && owners == Owners::UserAndRoot;
    // Root is allowed to use the files and folders of other users.
    user != ROOT && !is_accepted || mode & 0o022 != 0
}

/// Calls `change_owner` with the user id and the group id of the folder `parent`, if the current user is root and the
/// folder belongs to another user. `change_owner` returns nothing, because some file systems do not support owners.
pub(crate) fn give_to_owner_of(parent: &Path, change_owner: impl FnOnce(u32, u32)) {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    if let Some(metadata) = fs::metadata(parent).ok().filter(|metadata| metadata.uid() != 0) {
        change_owner(metadata.uid(), metadata.gid());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_open_to_others_if_the_owner_is_not_accepted_or_others_can_write() {
        let user_only = Owners::User;
        for (owner, mode, user, owners, expected) in [
            (7, 0o100_644, 7, user_only, false),
            (7, 0o040_755, 7, user_only, false),
            (8, 0o100_600, 7, user_only, true),
            (8, 0o100_600, 7, Owners::UserAndRoot, true),
            (0, 0o100_600, 7, user_only, true),
            (0, 0o100_600, 7, Owners::UserAndRoot, false),
            (8, 0o100_600, 0, user_only, false),
            (7, 0o100_620, 7, user_only, true),
            (7, 0o100_602, 7, Owners::UserAndRoot, true),
            (8, 0o100_602, 0, user_only, true),
        ] {
            assert_eq!(is_open_with(owner, mode, user, owners), expected, "{owner} {mode:o} {user}");
        }
    }
}
